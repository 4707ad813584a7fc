"""Many prompts, one policy over strategies: what shared parameters show that a single prompt cannot.

A strategy j solves prompt x or it does not (`solves[x, j]`), and one policy over strategies serves all
prompts. On one prompt pass@k is a function of Q, so it cannot fall while Q rises (claim D1); here it can
(claim D2), and methods that no single prompt tells apart go to different policies (claim E1).

Left out: sampling noise, and prompts of unequal weight. Finite-group prompt weights are those of
`theory.groups.expectations`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharpening.theory import estimators, policies
from sharpening.theory.policies import Floats

PromptWeight = Callable[[Any], Any]  # correctness (num_prompts,) -> c_G(Q) (num_prompts,)

# methods with c_G(Q) = c_G(1 - Q): they do not prefer unsolved prompts
FLAT_METHODS = ("reinforce", "rloo", "dr_grpo", "grpo", "dapo", "psr", "nsr", "w_reinforce")


def require_solves(solves: ArrayLike) -> Floats:
    """The success matrix as floats.

    Shapes:   (num_prompts, num_strategies). Returns the same shape.
    Raises:   ValueError unless it is a non-empty matrix of 0 and 1.
    """
    labels = np.asarray(solves, dtype=np.float64)
    if labels.ndim != 2 or labels.size == 0:
        raise ValueError(f"solves has shape {labels.shape}: want (num_prompts, num_strategies), not empty")
    policies.refuse(labels, (labels != 0) & (labels != 1), "solves", "0 or 1")
    return labels


def correctness(policy: Any, solves: Any) -> Any:
    """Q of every prompt: the probability that the drawn strategy solves it.

    Shapes:   policy: (num_strategies,), solves: (num_prompts, num_strategies). Returns (num_prompts,).
    Source:   claim D2, ours.
    """
    return (solves * policy).sum(axis=-1)


def pass_at_k(policy: Any, solves: Any, k: ArrayLike) -> Floats:
    """The mean over prompts of pass@k, 1 - (1 - Q_x)^k.

    Shapes:   policy: (num_strategies,), solves: (num_prompts, num_strategies), k: (...). Returns (...).
    Source:   claim D2, ours.

    >>> pass_at_k(np.array([0.5, 0.5]), np.eye(2), [1, 2])
    array([0.5 , 0.75])
    """
    per_prompt = estimators.exact_pass_at_k(correctness(policy, solves), np.asarray(k)[..., None])
    return np.asarray(per_prompt.mean(axis=-1))[()]


def shared_step(prompt_weights: Any, correctness_gradients: Any) -> Any:
    """The expected step of a correctness-only method on shared parameters: mean over x of c_G(Q_x) grad Q_x.

    It ascends the mean over prompts of Phi(Q_x), where Phi' = c_G.
    Shapes:   prompt_weights: (num_prompts,), correctness_gradients: (num_prompts, num_parameters).
              Returns (num_parameters,), at learning rate 1.
    Source:   claim E1, ours.
    """
    return (prompt_weights[:, None] * correctness_gradients).mean(axis=0)


def shared_advantage(policy: Any, solves: Any, prompt_weight: PromptWeight | None = None) -> Any:
    """The advantage whose softmax flow is the expected step: mean over prompts of c_G(Q_x) solves.

    Shapes:   policy: (num_strategies,), solves: (num_prompts, num_strategies). Returns (num_strategies,).
              Without a prompt weight (vanilla) it is the mean success.
    Source:   claims D2 and E1, ours.
    """
    if prompt_weight is None:
        return solves.mean(axis=0)
    return (prompt_weight(correctness(policy, solves))[:, None] * solves).mean(axis=0)


def limit_strategy(base_policy: ArrayLike, solves: ArrayLike) -> int:
    """The strategy that takes all mass under the vanilla flow: largest mean success, a tie to the likelier.

    Strategies equal in both share the mass equally; the first of them is returned.
    Shapes:   base_policy: (num_strategies,), solves: (num_prompts, num_strategies).
    Source:   claim D2, ours.

    >>> limit_strategy([0.2, 0.5, 0.3], [[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    1
    """
    num_solved = require_solves(solves).sum(axis=0)
    return int(np.where(num_solved == num_solved.max(), base_policy, -np.inf).argmax())


def first_losing_k(base_policy: ArrayLike, solves: ArrayLike) -> int | None:
    """The first k whose base pass@k exceeds what the vanilla flow ends at; None if there is none.

    The end is the largest mean success. The base exceeds it once the expected number of solvable prompts that
    k draws miss is below the number of solvable prompts that the best strategy misses; k is found by doubling
    and bisection. An exact tie at some k is decided by rounding. If all strategies
    have the same mean success the exact flow does not move; sampled training drifts to one of them, and for
    its end the answer holds.

    Shapes:   base_policy: (num_strategies,), all above 0; solves: (num_prompts, num_strategies).
    Raises:   ValueError naming the entry of base_policy that is not above 0.
    Source:   claim D2, ours.

    >>> first_losing_k([0.9, 0.1], [[1, 0], [1, 0], [0, 1]])
    2
    """
    labels, policy = require_solves(solves), np.asarray(base_policy, dtype=np.float64)
    policies.refuse(policy, ~(policy > 0), "base_policy", "above 0: a strategy never drawn is no strategy")
    solvable = labels[labels.any(axis=1)]
    if not solvable.size or solvable.all(axis=0).any():
        return None
    num_missed = len(solvable) - solvable.sum(axis=0).max()
    with np.errstate(divide="ignore"):  # log 0 = -inf is a prompt that every strategy solves
        log_failure = np.log1p(-np.minimum(correctness(policy, solvable), 1.0))  # (num_solvable,)
    low, high = 1, 2  # at k = 1 no policy beats the largest mean success
    while np.exp(high * log_failure).sum() >= num_missed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        loses = np.exp(middle * log_failure).sum() < num_missed
        low, high = (low, middle) if loses else (middle, high)
    return high


def balance_order(method: str, *, k: int = 2, gamma: float = 1.0) -> float:
    """The h of c(Q)/c(1-Q) -> ((1-Q)/Q)^h as the group grows: how much a method prefers unsolved prompts.

    Source:   claim E1, ours. MaxRL and F-GRPO reach it as the group grows; PKPO and those with h = 0 have it
              exactly.
    Raises:   ValueError naming a method without a closed form.

    >>> balance_order("pkpo", k=4)
    3.0
    """
    orders = {"pkpo": k - 1, "maxrl": 1, "f_grpo": gamma, **dict.fromkeys(FLAT_METHODS, 0)}
    if method not in orders:
        raise ValueError(f"method is {method!r}: it must be one of {', '.join(orders)}")
    return float(orders[method])


def stationary_odds(share: float, order: float) -> float:
    """Odds p_1/p_2 at which two strategies rest; a share of prompts needs the first, the rest the second.

    Infinite at order 0: all mass ends on the first.
    Requires: 1/2 < share < 1, order >= 0 (see `balance_order`).      Raises ValueError otherwise.
    Source:   claim E1, ours.

    >>> stationary_odds(0.8, 2)
    2.0
    """
    policies.refuse(share, not 0.5 < share < 1, "share", "above 1/2 and below 1")
    policies.refuse(order, not order >= 0, "order", "at least 0")
    return float((share / (1 - share)) ** (1 / order)) if order else float("inf")
