"""Expectations over groups of sampled answers, and the one number a correctness-only method is made of.

A group is `group_size` independent draws from the policy; X counts its correct draws. A method with advantage
f(r, X) is a table (2, group_size + 1), and its expected on-policy step is c_G(Q) p_i (r_i - Q) for every
answer: `prompt_weight` is c_G. Float correctness goes through SciPy's binomial (group sizes up to thousands);
Fractions and SymPy symbols go through the exact formula, in object arrays.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.stats import binom

from sharpening.theory.methods import baselines

Number = Any  # float, Fraction or SymPy expression
SMALLEST = 1e-300  # SciPy's binomial raises OverflowError from about 1e-304 down, depending on the group size
Table = Any  # array (2, group_size + 1) of floats, Fractions or SymPy expressions


def binomial_weights(num_draws: int, correctness: Number) -> Any:
    """The probabilities that 0, 1, ..., num_draws of the draws are correct.

    Shapes:   correctness: (...). Returns (..., num_draws + 1), objects for a Fraction or a SymPy symbol.
    Requires: 0 <= correctness <= 1, else ValueError; a float below 1e-300 counts as 0.
    Source:   textbook (binomial distribution).

    >>> binomial_weights(2, Fraction(1, 3)).tolist()
    [Fraction(4, 9), Fraction(4, 9), Fraction(1, 9)]
    """
    if np.asarray(correctness).dtype == object:
        terms = [
            math.comb(num_draws, count) * correctness**count * (1 - correctness) ** (num_draws - count)
            for count in range(num_draws + 1)
        ]
        return np.array(terms, dtype=object)
    mass = np.asarray(correctness, dtype=np.float64)
    if not np.all((mass >= 0) & (mass <= 1)):
        raise ValueError(f"correctness is {correctness!r}: it must lie between 0 and 1")
    mass = np.where(mass < SMALLEST, 0.0, mass)
    return binom.pmf(np.arange(num_draws + 1), num_draws, mass[..., None])


def advantage_table(
    advantage: Callable[..., Any], group_size: int, *, is_exact: bool = False, **parameters: Any
) -> Table:
    """The advantage f(r, X) of a wrong sample (row 0) and of a correct one (row 1), X correct in the group.

    X counts the sample itself, so f(1, 0) and f(0, group_size) do not exist and are NaN. `is_exact` feeds the
    method Fractions, which the methods without a square root return.

    Shapes:   returns (2, group_size + 1).
    Requires: an advantage of `reward` and `correct` only; else ValueError.

    >>> advantage_table(baselines.dr_grpo, 2)
    array([[ 0. , -0.5,  nan],
           [ nan,  0.5,  0. ]])
    """
    needs = baselines.required_inputs(advantage)
    if not set(needs) <= {"reward", "correct"}:
        raise ValueError(f"advantage needs {', '.join(needs)}: a table has reward and correct only")
    correct = np.tri(group_size + 1, group_size, -1)  # (group_size + 1, group_size): row X has X ones first
    if is_exact:
        correct = np.vectorize(Fraction, otypes=[object])(correct.astype(np.int64).astype(object))
    values = advantage(**dict.fromkeys(needs, correct), **parameters)
    table = np.full((2, group_size + 1), np.nan, dtype=values.dtype)
    table[0, :-1] = values[:-1, -1]
    table[1, 1:] = values[1:, 0]
    return table


def expected_advantages(table: Table, correctness: Number) -> tuple[Any, Any]:
    """The expected advantage of a correct sample and of a wrong sample.

    Shapes:   table: (2, group_size + 1), correctness: (...). Returns two of (...).
    Source:   claims B4 and C3: the other group_size - 1 draws are binomial.
    """
    table = np.asarray(table)
    weights = binomial_weights(table.shape[1] - 2, correctness)
    return weights @ table[1, 1:], weights @ table[0, :-1]


def prompt_weight(table: Table, correctness: Number) -> Any:
    """The weight c_G(Q) of a prompt: E f(1, 1 + Bin(G-1, Q)) - E f(0, Bin(G-1, Q)).

    Shapes:   table: (2, group_size + 1), correctness: (...). Returns (...).
    Source:   claims B4 and E1, ours.

    >>> prompt_weight(advantage_table(baselines.dr_grpo, 4), 0.3).round(12).item()
    0.75
    """
    given_correct, given_wrong = expected_advantages(table, correctness)
    return given_correct - given_wrong


def expected_step(policy: Any, correct: Any, table: Table) -> Any:
    """The expected logit step of a correctness-only method at learning rate 1: c_G(Q) p_i (r_i - Q).

    Shapes:   policy, correct: (num_arms,), table: (2, group_size + 1). Returns (num_arms,).
    Source:   claim B4, ours.
    """
    correctness = (policy * correct).sum()
    return prompt_weight(table, correctness) * policy * (correct - correctness)


def centred_expected_step(policy: Any, reward: Any, group_size: Number) -> Any:
    """The expected logit step of group-mean centring at learning rate 1, for any rewards.

    Shapes:   policy, reward: (num_arms,). Returns (num_arms,).
    Source:   claim C4.
    """
    return dr_grpo_weight(group_size) * policy * (reward - (policy * reward).sum())


def grpo_expected_advantages(correctness: Number, group_size: int, ddof: int = 0) -> tuple[Any, Any]:
    """GRPO's expected advantage of a correct and of a wrong sample, epsilon 0; uniform groups count 0.

    Shapes:   correctness: (...). Returns two of (...).
    Source:   claim C3.

    >>> [round(float(value), 12) for value in grpo_expected_advantages(0.5, 2)]
    [0.5, -0.5]
    """
    count = np.arange(group_size)  # correct samples among the others
    weights = binomial_weights(group_size - 1, correctness)
    scale = math.sqrt((group_size - ddof) / group_size)
    given_correct = weights @ np.sqrt((group_size - 1 - count) / (count + 1))
    given_wrong = weights @ np.sqrt(count / (group_size - count))
    return scale * given_correct, -scale * given_wrong


def reinforce_weight() -> int:
    """The prompt weight of REINFORCE, RLOO, PSR and NSR, whatever the correctness and the group size.

    Source:   claim B4.
    """
    return 1


def w_reinforce_weight(positive_weight: Number) -> Number:
    """The prompt weight of W-REINFORCE.

    Source:   claim B4.
    """
    return 1 + positive_weight


def dr_grpo_weight(group_size: Number) -> Number:
    """The prompt weight of group-mean centring.

    Source:   claims B4 and C4.
    """
    return 1 - 1 / group_size


def grpo_weight(correctness: Number, group_size: int, ddof: int = 0) -> Any:
    """The prompt weight of GRPO with epsilon 0; a_C - a_W, which is a_C/(1-Q) where Q < 1.

    Shapes:   correctness: (...). Returns (...).
    Source:   claims B4 and C3.
    """
    given_correct, given_wrong = grpo_expected_advantages(correctness, group_size, ddof)
    return given_correct - given_wrong


def pkpo_weight(correctness: Number, k: int) -> Number:
    """The prompt weight of PKPO, the slope of pass@k: k (1-Q)^(k-1).

    Shapes:   correctness: (...). Returns (...).
    Source:   claims B4 and C5.
    """
    return k * (1 - correctness) ** (k - 1)


def mixture_weight(correctness: Number, k: int, share: Number) -> Number:
    """The prompt weight of a share of REINFORCE and the rest PKPO: the slope of share pass@1 + (1 - share) pass@k.

    Shapes:   correctness: (...). Returns (...).
    Source:   claim F4, ours.
    """
    return share * reinforce_weight() + (1 - share) * pkpo_weight(correctness, k)


def maxrl_weight(correctness: Number, group_size: int) -> Any:
    """The prompt weight of MaxRL with epsilon 0: (1-(1-Q)^(G-1))/Q, summed as a geometric series.

    The series keeps its digits for small Q and has the limit group_size - 1 at Q = 0.

    Shapes:   correctness: (...). Returns (...).
    Source:   claim B4.

    >>> maxrl_weight(0.0, 8)
    7.0
    """
    return sum((1 - correctness) ** power for power in range(group_size - 1))


def f_grpo_weight_ends(group_size: int, gamma: float) -> tuple[float, float]:
    """The prompt weight of F-GRPO with epsilon 0 at Q = 0 and at Q = 1.

    Source:   claim E1.
    """
    spread = math.sqrt(group_size - 1)
    return spread * (1 - 1 / group_size) ** gamma, spread / group_size**gamma
