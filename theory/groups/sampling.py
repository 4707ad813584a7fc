"""What one sampled group does to a policy: steps, who is in the group, drift, and one-step mass balance.

Notation: G = group_size draws, n_i counts of answer i, A_i its advantage. The steps, drifts and balances use
+ - * / and ** only, so that floats, Fractions and SymPy symbols (in object arrays) share the line; the three
probabilities of who is in a group are written for float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sharpening.theory.policies import Floats

Number = Any  # float, Fraction or SymPy expression


class Moments(NamedTuple):
    """Mean and variance of one step."""

    mean: Any
    variance: Any


class MassChange(NamedTuple):
    """First-order changes of probability mass in one step."""

    correct: Any
    unsampled_correct: Any


def sampled_step(policy: Any, counts: Any, advantage: Any) -> Any:
    """The logit step of one group at learning rate 1: the mean over draws of advantage times score.

    Shapes:   all (..., num_arms): counts of each answer in the group, advantage of each answer.
              Returns the same shape; it sums to 0.
    Source:   textbook (softmax policy gradient, on-policy).

    >>> sampled_step(np.array([0.5, 0.5]), np.array([1, 3]), np.array([1.0, 0.0]))
    array([ 0.125, -0.125])
    """
    pushed = counts * advantage
    return pushed_step(policy, pushed, counts.sum(-1, keepdims=True))


def pushed_step(policy: Any, pushed: Any, group_size: Any) -> Any:
    """The logit step at learning rate 1, given the sum of the advantages of each answer's draws.

    Shapes:   policy, pushed: (..., num_arms); group_size: a number or (..., 1). Returns (..., num_arms).
    Source:   textbook (softmax policy gradient, on-policy).
    """
    return (pushed - policy * pushed.sum(-1, keepdims=True)) / group_size


def natural_sampled_step(policy: Any, counts: Any, advantage: Any) -> Any:
    """The natural-gradient step of one group at learning rate 1, up to a constant shift of all logits.

    Shapes:   all (..., num_arms). Returns the same shape.
    Source:   claim B5: the Fisher matrix diag(p) - p p^T maps it to `sampled_step`.
    """
    return counts * advantage / (policy * counts.sum(-1, keepdims=True))


def surrogate_step(policy: Any, is_sampled: Any, reward: Any, group_size: Number) -> Any:
    """The logit step at learning rate 1 of a surrogate that counts each sampled answer once.

    The surrogate is (1/G) times the sum of p_i R_i over sampled answers.

    Shapes:   policy, is_sampled (0 or 1), reward: (num_arms,). Returns (num_arms,).
    Source:   arXiv 2510.01180, as summarised. Claim C7.
    """
    credited = is_sampled * reward
    return policy * (credited - (policy * credited).sum()) / group_size


def first_order_mass_change(policy: Any, is_member: Any, step: Any) -> Any:
    """The change of the mass of a set of answers under a small logit step, to first order.

    Shapes:   all (num_arms,), is_member 0 or 1. Returns a scalar.
    Source:   textbook (derivative of the softmax). Claim C7.
    """
    return (policy * is_member * step).sum() - (policy * is_member).sum() * (policy * step).sum()


def inclusion_probability(log_policy: ArrayLike, group_size: float) -> Floats:
    """The probability that an answer is drawn at least once in a group: 1 - (1-p)^G.

    Shapes:   (...) log-probabilities in nats. Returns (...), accurate down to p = 1e-300.
    Source:   claim C1.

    >>> inclusion_probability(np.log([1e-300, 0.5]), 2)
    array([2.0e-300, 7.5e-001])
    """
    with np.errstate(divide="ignore"):  # a certain answer
        return np.asarray(-np.expm1(group_size * np.log1p(-np.exp(log_policy))))


def absence_ratio(log_policy_likelier: ArrayLike, log_policy_rarer: ArrayLike, group_size: float) -> Floats:
    """How many times as often the rarer of two answers is absent from a group: ((1-p_j)/(1-p_i))^G.

    Shapes:   (...) each, log-probabilities in nats. Returns (...).
    Source:   claim C1.
    """
    log_absent_likelier = np.log1p(-np.exp(log_policy_likelier))
    log_absent_rarer = np.log1p(-np.exp(log_policy_rarer))
    return np.asarray(np.exp(group_size * (log_absent_rarer - log_absent_likelier)))


def presence_ratio_bounds(likelier: Number, rarer: Number, group_size: Number) -> tuple[Number, Number]:
    """Bounds on how many times as often the rarer of two answers is in a group; equal as G p goes to 0.

    Shapes:   probabilities of the two answers, scalars or (...).
    Requires: rarer <= likelier and (group_size - 1) * likelier < 2 for the upper bound.
    Source:   claim C1, ours.
    """
    ratio = rarer / likelier
    return ratio, ratio / (1 - (group_size - 1) * likelier / 2)


def gain_when_drawn(policy: Number, correctness: Number, group_size: Number) -> Number:
    """The mean logit step of a correct answer at learning rate 1, given that its group has it; without it, it is 0.

    With the group's mean as baseline, whose advantages sum to 0. Times the probability of being drawn this is
    (1 - 1/G) p (1 - Q): how the two biases share p_j/p_i depends on the group size, their product does not.

    Shapes:   scalars or (...): probability of the answer, of all correct ones, and draws. Returns the same shape.
    Source:   claim C1, ours.

    >>> gain_when_drawn(0.25, 0.5, 2)
    0.14285714285714285
    """
    return (1 - 1 / group_size) * policy * (1 - correctness) / (1 - (1 - policy) ** group_size)


def tail_miss(correctness: ArrayLike, tail_mass: ArrayLike, group_size: ArrayLike) -> Floats:
    """The probability that a group has a signal (0 < X < G) and misses a set of correct answers.

    It is (1-tau)^G - (Q-tau)^G - (1-Q)^G = a^G (1 - s^G - (1-s)^G) with a = 1-tau; s is the smaller of
    (Q-tau)/a and (1-Q)/a, so that no digit is lost where the three powers nearly cancel. At tail mass 0 it is
    the probability that a group has a signal.

    Shapes:   broadcast together, (...). Returns (...).
    Requires: 0 <= tail_mass <= correctness <= 1, tail_mass < 1, group_size >= 1; else ValueError.
    Source:   arXiv 2602.06717, Lemma 3.1 (as summarised). Claim C2.

    >>> f"{tail_miss(0.64, 6.3e-5, 131072):.1e}"
    '2.6e-04'
    """
    mass, tail, size = (np.asarray(value, dtype=np.float64) for value in (correctness, tail_mass, group_size))
    if not np.all((tail >= 0) & (tail <= mass) & (mass <= 1) & (tail < 1)):
        raise ValueError(f"tail_mass is {tail_mass!r}: want 0 <= tail_mass <= correctness <= 1, tail_mass < 1")
    if not np.all(size >= 1):
        raise ValueError(f"group_size is {group_size!r}: it must be at least 1")
    smaller = np.minimum(mass - tail, 1 - mass) / (1 - tail)
    mixed = -np.expm1(size * np.log1p(-smaller)) - smaller**size
    return np.asarray(np.exp(size * np.log1p(-tail)) * np.maximum(mixed, 0.0))


def drift(
    policy_i: Number, policy_j: Number, correctness: Number, group_size: Number, learning_rate: Number
) -> Moments:
    """Mean and variance of one step of z_i - z_j, i and j correct, with group-mean centring.

    Shapes:   scalars or (...).
    Source:   claim C6, ours.

    >>> drift(0.25, 0.25, 0.5, 4, 1.0)
    Moments(mean=0.0, variance=0.0234375)
    """
    error = 1 - correctness
    difference, total = policy_i - policy_j, policy_i + policy_j
    mean = learning_rate * (1 - 1 / group_size) * error * difference
    noise = total * (1 + (group_size - 2) * error)
    spread = difference**2 * ((group_size - 2) - 2 * (2 * group_size - 3) * error)
    return Moments(mean, learning_rate**2 * (group_size - 1) * error / group_size**3 * (noise + spread))


def natural_drift(
    policy_i: Number, policy_j: Number, correctness: Number, group_size: Number, learning_rate: Number
) -> Moments:
    """Mean and variance of one natural-gradient step of z_i - z_j, i and j correct, with group-mean centring.

    Shapes:   scalars or (...).
    Source:   claim C6, ours.
    """
    error = 1 - correctness
    noise = (1 + (group_size - 2) * error) * (1 / policy_i + 1 / policy_j)
    return Moments(0 * error, learning_rate**2 * (group_size - 1) * error * noise / group_size**3)


def expected_share_shift(share: Number, variance: Number) -> Number:
    """The expected change of a share s when log(s/(1-s)) moves by a small step of mean 0, to second order.

    Shapes:   scalars or (...).
    Source:   claim B5, ours: half the curvature of the logistic function times the variance.
    """
    return share * (1 - share) * (1 - 2 * share) * variance / 2


def mass_balance(
    policy: Any,
    correct: Any,
    is_sampled: Any,
    *,
    reward_correct: Number,
    reward_wrong: Number,
    group_size: Number,
    learning_rate: Number,
) -> MassChange:
    """First-order change of the correct and of the unsampled correct mass in one `surrogate_step`.

    Shapes:   policy, correct, is_sampled: (num_arms,), the last two 0 or 1. Returns scalars.
    Source:   arXiv 2510.01180 (correct mass) and arXiv 2602.06717 (unsampled mass), as summarised. Claim C7.
    """
    square, unsampled = policy**2, 1 - is_sampled
    hit_correct = (square * correct * is_sampled).sum()  # A2
    hit_wrong = (square * (1 - correct) * is_sampled).sum()  # B2
    missed_correct = (square * correct * unsampled).sum()  # Upos2
    missed_wrong = (square * (1 - correct) * unsampled).sum()  # Uneg2
    mass, unsampled_mass = (policy * correct).sum(), (policy * correct * unsampled).sum()
    mean_reward = (policy * is_sampled * (reward_correct * correct + reward_wrong * (1 - correct))).sum()  # S_R
    gain_correct, gain_wrong = reward_correct - mean_reward, reward_wrong - mean_reward
    total = gain_correct * hit_correct + gain_wrong * hit_wrong - mean_reward * (missed_correct + missed_wrong)
    leak = mean_reward * (mass * missed_wrong - (1 - mass) * missed_correct)
    rate = learning_rate / group_size
    return MassChange(
        rate * (gain_correct * (1 - mass) * hit_correct - gain_wrong * mass * hit_wrong + leak),
        rate * (-mean_reward * missed_correct - unsampled_mass * total),
    )


def distinct_correct_mass(policy_correct: Any, correctness: Number, num_correct: int) -> Any:
    """The expected mass of the distinct correct answers in a group with `num_correct` correct draws.

    Shapes:   policy_correct: (m,), the probabilities of the correct answers (they sum to correctness).
    Source:   arXiv 2602.06717, Lemma H.1 (as summarised). Claim C8.
    """
    return (policy_correct * (1 - (1 - policy_correct / correctness) ** num_correct)).sum()
