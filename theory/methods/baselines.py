"""Group advantages that depend on correctness only: one formula, one function per method.

Those that also see log-probabilities, ranks or frequencies are in `theory/methods/terms.py` and
`theory/methods/diversity.py`; `theory/methods/calls.py` lists all of them.

A function takes keyword arguments out of `reward` (verifier output) and `correct` (0.0 or 1.0), float arrays
(num_groups, group_size) of any array-API library, and returns advantages of the same shape. What it needs is
what its signature asks for without a default (`required_inputs`). With reward = correct every advantage is a
function f(r, X) of the sample's correctness and the number X of correct samples in its group: claim B4.

The methods without a square root use + - * / only, so object arrays of Fractions give exact tables.

Left out: clipping, KL terms and sums over tokens (they multiply the gradient, not the advantage), and DAPO's
resampling until a batch is full, which needs a sampler; its filter alone is here.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from array_api_compat import array_namespace

Array = Any  # an array of NumPy, torch or any array-API library
Advantage = Callable[..., Array]
ROUNDING = 1e-12  # relative: a share times a group size is not rounded up beyond its integer


def required_inputs(advantage: Advantage) -> tuple[str, ...]:
    """The names of the arrays that an advantage function needs: its parameters without a default.

    >>> required_inputs(f_grpo)
    ('reward', 'correct')
    """
    parameters = inspect.signature(advantage).parameters.values()
    return tuple(parameter.name for parameter in parameters if parameter.default is inspect.Parameter.empty)


def reinforce(*, reward: Array) -> Array:
    """The reward itself, without a baseline.

    Shapes:   (..., group_size). Returns the same shape.
    Source:   textbook (REINFORCE). Claim B4: prompt weight 1.
    """
    return reward


def rloo(*, reward: Array) -> Array:
    """The reward minus the mean reward of the other samples of the group.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Source:   textbook (leave-one-out baseline), A = G/(G-1) (r - mean). Claim B4: prompt weight 1.
    """
    group_size = reward.shape[-1]
    return dr_grpo(reward=reward) * group_size / (group_size - 1)


def dr_grpo(*, reward: Array) -> Array:
    """The reward minus the mean of its group, not divided by anything.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Source:   arXiv 2503.20783. Claim C4: prompt weight 1 - 1/G.
    """
    require_baseline(reward)
    return reward - array_namespace(reward).mean(reward, axis=-1, keepdims=True)


def grpo(*, reward: Array, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """The reward minus the mean of its group, over its standard deviation; 0 in groups of equal rewards.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Requires: ddof 0 (population) or 1 (sample), epsilon >= 0.      Raises ValueError otherwise.
    Source:   arXiv 2402.03300, A = (r - mean)/(std + epsilon). Claim C3.

    >>> import numpy as np
    >>> grpo(reward=np.array([[1.0, 0.0, 0.0, 0.0, 0.0]]), epsilon=0.0)
    array([[ 2. , -0.5, -0.5, -0.5, -0.5]])
    """
    if ddof not in (0, 1):
        raise ValueError(f"ddof is {ddof!r}: it must be 0 (population) or 1 (sample)")
    require_non_negative(epsilon, "epsilon")
    xp = array_namespace(reward)
    centred = dr_grpo(reward=reward)
    spread = xp.std(reward, axis=-1, correction=ddof, keepdims=True)  # (..., 1)
    has_signal = xp.max(reward, axis=-1, keepdims=True) > xp.min(reward, axis=-1, keepdims=True)
    scale = xp.where(has_signal, spread + epsilon, xp.ones_like(spread))
    return xp.where(has_signal, centred / scale, xp.zeros_like(centred))


def dapo(*, reward: Array, correct: Array, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO in groups with at least one correct and one wrong sample, 0 in all others.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   arXiv 2503.14476, dynamic sampling. Departs: filtered groups are not drawn again; drawing again
              divides the expected step by the chance that a group passes (`sampling.tail_miss` at mass 0).
    """
    xp = array_namespace(correct)
    num_correct = xp.sum(correct, axis=-1, keepdims=True)  # (..., 1)
    is_kept = (num_correct > 0) & (num_correct < correct.shape[-1])
    advantage = grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    return xp.where(is_kept, advantage, xp.zeros_like(advantage))


def f_grpo(*, reward: Array, correct: Array, gamma: float = 1.0, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO times (share of wrong samples in the group)^gamma.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: gamma >= 0 (published: .5, 1 and 2).      Raises ValueError otherwise.
    Source:   arXiv 2602.06717, A = (1 - mean)^gamma A_GRPO. Claim E1.
    """
    require_non_negative(gamma, "gamma")
    xp = array_namespace(correct)
    share_wrong = 1 - xp.mean(correct, axis=-1, keepdims=True)  # (..., 1)
    return share_wrong**gamma * grpo(reward=reward, ddof=ddof, epsilon=epsilon)


def maxrl(*, reward: Array, epsilon: float = 1e-6) -> Array:
    """The reward minus the mean of its group, over that mean; 0 where all rewards are 0.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Requires: epsilon >= 0.      Raises ValueError otherwise.
    Source:   arXiv 2602.02710, A = (r - mean)/(mean + epsilon), epsilon as in its code.
              Claim B4: prompt weight (1-(1-Q)^(G-1))/Q.
    """
    require_non_negative(epsilon, "epsilon")
    xp = array_namespace(reward)
    scale = xp.mean(reward, axis=-1, keepdims=True) + epsilon  # (..., 1)
    return dr_grpo(reward=reward) / xp.where(scale != 0, scale, xp.ones_like(scale))


def psr(*, correct: Array) -> Array:
    """1 on correct samples, 0 on wrong ones.

    Shapes:   (..., group_size). Returns the same shape.
    Source:   arXiv 2506.01347 (positive sample reinforcement). Claim B4: prompt weight 1.
    """
    return correct


def nsr(*, correct: Array) -> Array:
    """0 on correct samples, -1 on wrong ones.

    Shapes:   (..., group_size). Returns the same shape.
    Source:   arXiv 2506.01347 (negative sample reinforcement). Claim B4: prompt weight 1.
    """
    return correct - 1


def w_reinforce(*, correct: Array, positive_weight: float = 0.1) -> Array:
    """`positive_weight` on correct samples, -1 on wrong ones.

    Shapes:   (..., group_size). Returns the same shape.
    Source:   arXiv 2506.01347 (recommended weight .1). Claim B4: prompt weight 1 + positive_weight.
    """
    return positive_weight * correct - (1 - correct)


def pass_at_k_training(*, correct: Array, k: int = 2, epsilon: float = 1e-6) -> Array:
    """The analytic advantage of a sample in a random subset of k whose reward is its pass@k.

    With R the group's pass@k and s = sqrt(R (1-R)): (1-R)/s on correct samples and (1-R-M)/s on wrong ones, M
    the chance that k-1 further samples are all wrong. At k = 1 it is GRPO.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Requires: 1 <= k <= group_size (no default is published; 2 is the least that differs from GRPO).
              Raises ValueError otherwise.
    Source:   arXiv 2508.10751, analytic form; s + epsilon guards the division.
    """
    require_baseline(correct)
    require_non_negative(epsilon, "epsilon")
    xp = array_namespace(correct)
    group_size = correct.shape[-1]
    require_order(k, group_size)
    num_wrong = group_size - xp.sum(correct, axis=-1, keepdims=True)  # (..., 1)
    failure = all_wrong(num_wrong, group_size, k)  # 1 - R
    companions = all_wrong(num_wrong - 1, group_size - 1, k - 1)  # M, for a wrong sample
    spread = xp.sqrt(failure * (1 - failure)) + epsilon
    scale = xp.where(spread > 0, spread, xp.ones_like(spread))
    has_signal = xp.zeros_like(correct) + failure * (1 - failure) > 0
    advantage = (failure - (1 - correct) * companions) / scale
    return xp.where(has_signal, advantage, xp.zeros_like(advantage))


def pkpo(*, correct: Array, k: int = 2) -> Array:
    """The unbiased estimate of the pass@k gradient: k on correct samples, k times a pass@(k-1) on wrong ones.

    The pass@(k-1) is that of the other G-1 samples, X of which are correct. The published weights k/G are for
    a sum over the group; here they are multiplied by G, as an advantage is averaged over the group. Of the
    variants in use this is the one without a baseline. Weights C(G-X,k-1)/C(G-1,k-1) on correct samples and 0
    on wrong ones have the mean of this one divided by k.

    Shapes:   (..., group_size). Returns the same shape.
    Requires: 1 <= k <= group_size (no default is published; 2 is the least that differs from REINFORCE).
              Raises ValueError otherwise.
    Source:   arXiv 2505.15201. Claim C5: prompt weight k (1-Q)^(k-1).
    """
    group_size = correct.shape[-1]
    require_order(k, group_size)
    num_wrong = group_size - array_namespace(correct).sum(correct, axis=-1, keepdims=True)  # (..., 1)
    return k * (1 - (1 - correct) * all_wrong(num_wrong - 1, group_size - 1, k - 1))


def qae(*, reward: Array, quantile: float = 0.4, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO with a quantile of the group in place of its mean.

    While at most a share 1 - quantile is correct it reinforces the correct samples alone, above it pushes down the
    wrong ones alone.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Requires: 0 < quantile <= 1.      Raises ValueError otherwise.
    Source:   arXiv 2509.22611, by secondary sources; the quantile is the least reward that a share of at least
              `quantile` of the group does not exceed.
    """
    require_baseline(reward)
    require_non_negative(epsilon, "epsilon")
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile is {quantile!r}: it must be above 0 and at most 1")
    xp = array_namespace(reward)
    place = math.ceil(quantile * reward.shape[-1] * (1 - ROUNDING)) - 1
    baseline = xp.sort(reward, axis=-1)[..., place : place + 1]
    spread = xp.std(reward, axis=-1, correction=ddof, keepdims=True)  # (..., 1)
    scale = spread + epsilon
    return (reward - baseline) / xp.where(scale > 0, scale, xp.ones_like(scale))


def a_grae(*, reward: Array, batch_mean: float = 0.5, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO times a mean of .5/sqrt(mu) and .5/(1 - sqrt(mu)), mu the group's mean; positives times the batch's mean.

    The first factor has the weight of the batch's mean reward, the second the rest. That mean belongs to a batch of
    many prompts; here it is a parameter.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    Requires: rewards from 0 to 1, 0 <= batch_mean <= 1.      Raises ValueError otherwise.
    Source:   code of A-GRAE (Yu7-code/A-GRAE), as summarised.
    """
    if not 0 <= batch_mean <= 1:
        raise ValueError(f"batch_mean is {batch_mean!r}: it must lie between 0 and 1")
    advantage = grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    xp = array_namespace(reward)
    root = xp.sqrt(xp.mean(reward, axis=-1, keepdims=True))  # (..., 1)
    has_signal = (root > 0) & (root < 1)
    inside = xp.where(has_signal, root, xp.ones_like(root) / 2)
    factor = 0.5 * (batch_mean / inside + (1 - batch_mean) / (1 - inside))
    scaled = xp.where(has_signal, factor, xp.ones_like(factor)) * advantage
    return xp.where(scaled > 0, batch_mean * scaled, scaled)


def entropic(*, reward: Array, correct: Array, control: float = 0.1, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO times 1 + control on correct samples and 1 - control on wrong ones.

    The method's controller sets `control` anew at every step, from the policy's entropy and a target; here it is fixed.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   arXiv 2511.15248.
    """
    return grpo(reward=reward, ddof=ddof, epsilon=epsilon) * (1 + control * (2 * correct - 1))


def all_wrong(num_wrong: Array, num_total: int, num_drawn: int) -> Array:
    """The chance that a random subset of the samples has no correct one: C(wrong, drawn)/C(total, drawn).

    Shapes:   num_wrong: any. Returns the same shape; exactly 0 where 0 <= num_wrong < num_drawn.
    Requires: 0 <= num_drawn <= num_total.        Raises ValueError otherwise.
    """
    require_order(num_drawn + 1, num_total + 1)
    chance = 0 * num_wrong + 1
    for drawn in range(num_drawn):
        chance = chance * (num_wrong - drawn) / (num_total - drawn)
    return chance


def require_baseline(values: Array) -> None:
    """Raises ValueError for groups of one sample, which have no baseline."""
    if values.shape[-1] < 2:
        raise ValueError(f"group_size is {values.shape[-1]}: a group baseline needs at least 2 samples")


def require_order(k: int, group_size: int) -> None:
    """Raises ValueError unless 1 <= k <= group_size."""
    if not 1 <= k <= group_size:
        raise ValueError(f"k is {k!r}: it must lie between 1 and the group size {group_size}")


def require_non_negative(value: float, name: str) -> None:
    """Raises ValueError unless the value is at least 0."""
    if not value >= 0:
        raise ValueError(f"{name} is {value!r}: it must be at least 0")
