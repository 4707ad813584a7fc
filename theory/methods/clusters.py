"""Group advantages that weigh a sample by how many of its group have the same answer: clusters without a judge.

Inputs are float arrays (..., group_size) of any array-API library; `answer` holds integers. The methods were published
for clusters that a model finds among long solutions; here a cluster is an answer, which is what `answer` tells apart.

Departures: (1) clusters are equal answers; (2) groups without signal are kept.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from sharpening.theory.methods import baselines, diversity

Array = Any  # an array of NumPy, torch or any array-API library


def cue_grpo(
    *,
    reward: Array,
    correct: Array,
    answer: Array,
    exponent: float = 0.8,
    least_weight: float = 0.3,
    most_weight: float = 3.0,
    ddof: int = 0,
    epsilon: float = 1e-6,
) -> Array:
    """GRPO with correct samples weighed by (samples of their answer)^-exponent, of mean 1, clipped; wrong untouched.

    Shapes:   (..., group_size) each, group_size >= 2; answer: integer ids. Returns the same shape.
    Requires: 0 <= least_weight <= most_weight.      Raises ValueError otherwise.
    Source:   arXiv 2608.03467 (exponent .8, clipped to [.3, 3]), by a re-implementation.
    """
    if not 0 <= least_weight <= most_weight:
        raise ValueError(f"least_weight is {least_weight!r}: it must lie between 0 and most_weight, {most_weight!r}")
    xp = array_namespace(reward)
    share = correct * diversity.at_least_one(cluster_sizes(answer, correct)) ** -exponent
    total, num_correct = (xp.sum(values, axis=-1, keepdims=True) for values in (share, correct))
    weight = xp.clip(share * num_correct / diversity.at_least_one(total), min=least_weight, max=most_weight)
    advantage = baselines.grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    return advantage * xp.where(correct > 0, weight, xp.ones_like(weight))


def uarl(*, reward: Array, answer: Array, exponent: float = 1.0, ddof: int = 0, epsilon: float = 1e-6) -> Array:
    """GRPO over (samples of the same answer in the group)^exponent, on correct and wrong samples alike.

    Shapes:   (..., group_size) each, group_size >= 2; answer: integer ids. Returns the same shape.
    Source:   arXiv 2601.08763, by secondary sources; exponent ours.
    """
    xp = array_namespace(reward)
    sizes = cluster_sizes(answer, xp.ones_like(reward))
    return baselines.grpo(reward=reward, ddof=ddof, epsilon=epsilon) / sizes**exponent


def edas(
    *,
    reward: Array,
    correct: Array,
    answer: Array,
    spread_strength: float = 0.4,
    collapse_strength: float = 0.2,
    cap: float = 2.0,
    ddof: int = 0,
    epsilon: float = 1e-6,
) -> Array:
    """GRPO with a term on wrong samples: rare errors are pushed down less than frequent ones.

    With S the mean size of the wrong samples' advantages, I = -ln(share of the wrong samples that give this answer) and
    H the mean of I, a wrong sample gets spread_strength S (I - H)/ln(number of wrong samples), and -collapse_strength S
    where all wrong samples give one answer; at most the size of its advantage over `cap`, of either sign.

    Shapes:   (..., group_size) each, group_size >= 2; answer: integer ids. Returns the same shape.
    Requires: cap > 0.      Raises ValueError otherwise.
    Source:   arXiv 2605.17333 (.4, .2 and 2).
    """
    if not cap > 0:
        raise ValueError(f"cap is {cap!r}: it must be above 0")
    xp = array_namespace(reward)
    advantage = baselines.grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    wrong = 1 - correct
    num_wrong = xp.sum(wrong, axis=-1, keepdims=True)  # (..., 1)
    size = xp.sum(wrong * xp.abs(advantage), axis=-1, keepdims=True) / diversity.at_least_one(num_wrong)
    own = diversity.at_least_one(wrong * cluster_sizes(answer, wrong))
    rarity = xp.log(diversity.at_least_one(num_wrong)) - xp.log(own)
    entropy = xp.sum(wrong * rarity, axis=-1, keepdims=True) / diversity.at_least_one(num_wrong)
    log_num = xp.log(xp.where(num_wrong > 1, num_wrong, 2 * xp.ones_like(num_wrong)))
    is_one = xp.zeros_like(reward) + xp.max(wrong * own, axis=-1, keepdims=True) >= num_wrong
    term = xp.where(is_one, -collapse_strength * size, spread_strength * size * (rarity - entropy) / log_num)
    most = xp.abs(advantage) / cap
    return advantage + wrong * xp.minimum(xp.maximum(term, -most), most)


def cluster_sizes(answer: Array, counted: Array) -> Array:
    """How many of the counted samples of the group have the answer of each sample.

    Shapes:   (..., group_size) each; counted is 0 or 1. Returns the same shape.

    >>> import numpy as np
    >>> cluster_sizes(np.array([0, 0, 1]), np.array([1.0, 0.0, 1.0]))
    array([1., 1., 1.])
    """
    xp = array_namespace(answer)
    is_same = xp.expand_dims(answer, axis=-1) == xp.expand_dims(answer, axis=-2)
    return xp.sum(xp.astype(is_same, counted.dtype) * xp.expand_dims(counted, axis=-2), axis=-1)
