"""Group advantages that share out what correct samples get, rare ones more: claims F2, F5 and G1 to G6, ours.

Inputs are float arrays (..., group_size) of any array-API library; log-probabilities are those of the whole answer
under the sampling policy, in nats, and carry no gradient. In the table of methods is `rarity_maxrl` alone.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from sharpening.theory.methods import baselines, diversity

Array = Any  # an array of NumPy, torch or any array-API library


def evened(*, reward: Array, correct: Array, log_prob: Array, num_solutions: float, strength: float = 2.0) -> Array:
    """The reward minus the mean B of the others, plus strength (1 - B)/(num_solutions p) on correct samples.

    At strength 1 its expected step keeps all ratios among correct answers; from there to num_solutions/(num_solutions -
    1) it evens them out and raises Q, at every policy. Its variance grows like 1/p.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: num_solutions, the number of correct answers that there are.
    Source:   claim F2, ours.
    """
    xp = array_namespace(reward)
    plain = baselines.rloo(reward=reward)
    others = reward - plain  # (..., group_size): the mean reward of the other samples
    return plain + strength * correct * (1 - others) * xp.exp(-log_prob) / num_solutions


def shared_out(*, reward: Array, correct: Array, log_prob: Array, exponent: float = 1.0) -> Array:
    """The reward times p^-exponent over its mean among the group's correct samples, minus the group mean.

    Correct samples get what they get under `dr_grpo`, shared out anew; at exponent 0 it is `dr_grpo`. The weights are
    at most the number of correct samples, and no correct sample falls to a wrong one.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   claim F5, ours.
    """
    return baselines.dr_grpo(reward=reward * rarity_weight(correct, log_prob, exponent))


def rarity_maxrl(
    *,
    reward: Array,
    correct: Array,
    log_prob: Array,
    strength: float = 0.3,
    difficulty: float = 0.6,
    least_spread: float = 1.0,
    epsilon: float = 1e-6,
) -> Array:
    """MaxRL whose correct samples share the group's reward by p^-a, a = strength/(spread of log p among them).

    The spread is their standard deviation in nats, and `least_spread` where that is less, so that a strength means the
    same for answers of 7 tokens and of 700, and correct samples that are alike get alike. Weights have mean 1: no
    correct sample falls to a wrong one, none is above group_size - 1, and a group that is all correct and all alike
    gives 0. With reward 1 and 0, difficulty 1: group_size times the softmax of -a log p among the correct, minus 1.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: least_spread > 0, epsilon >= 0; difficulty 1 divides by the mean reward, as MaxRL, 0 by nothing, as
              Dr. GRPO.      Raises ValueError otherwise.
    Source:   claims G1 to G6, ours.

    >>> import numpy as np
    >>> group = {"reward": np.array([1.0, 1, 0, 0]), "log_prob": np.array([-3.0, -1, -1, -2])}
    >>> rarity_maxrl(**group, correct=group["reward"], strength=1.0, difficulty=1.0, epsilon=0.0).round(3)
    array([ 2.523, -0.523, -1.   , -1.   ])
    """
    if not least_spread > 0:
        raise ValueError(f"least_spread is {least_spread!r}: it must be above 0")
    baselines.require_non_negative(epsilon, "epsilon")
    xp = array_namespace(reward)
    exponent = strength / xp.clip(correct_spread(correct, log_prob), min=least_spread)
    advantage = baselines.dr_grpo(reward=reward * rarity_weight(correct, log_prob, exponent))
    scale = xp.mean(reward, axis=-1, keepdims=True) + epsilon
    return advantage / xp.where(scale > 0, scale, xp.ones_like(scale)) ** difficulty


def correct_spread(correct: Array, log_prob: Array) -> Array:
    """The standard deviation of log_prob among the group's correct samples; 0 if there is none.

    Shapes:   (..., group_size) each. Returns (..., 1), nats.

    >>> import numpy as np
    >>> correct_spread(np.array([1.0, 1.0, 0.0]), np.array([-1.0, -4.0, -9.0]))
    array([1.5])
    """
    xp = array_namespace(correct)
    num_correct = diversity.at_least_one(xp.sum(correct, axis=-1, keepdims=True))
    mean = xp.sum(correct * log_prob, axis=-1, keepdims=True) / num_correct
    return xp.sqrt(xp.sum(correct * (log_prob - mean) ** 2, axis=-1, keepdims=True) / num_correct)


def rarity_weight(correct: Array, log_prob: Array, exponent: Array | float) -> Array:
    """p^-exponent over its mean among the group's correct samples; 1 on wrong samples.

    Shapes:   (..., group_size) each, exponent (..., 1) or a number. Returns (..., group_size).
    Source:   claim F5, ours.

    >>> import numpy as np
    >>> rarity_weight(np.array([1.0, 1.0, 0.0]), np.log(np.array([0.1, 0.3, 0.2])), 1.0).round(3)
    array([1.5, 0.5, 1. ])
    """
    xp = array_namespace(correct)
    is_correct = correct > 0
    lowest = xp.max(log_prob, axis=-1, keepdims=True)
    rarest = xp.min(xp.where(is_correct, log_prob, lowest), axis=-1, keepdims=True)
    below = xp.where(is_correct, rarest - log_prob, xp.zeros_like(log_prob))
    weight = correct * xp.exp(exponent * below)
    num_correct, total = (xp.sum(values, axis=-1, keepdims=True) for values in (correct, weight))
    share = weight / xp.where(total > 0, total, xp.ones_like(total))
    return xp.where(is_correct, num_correct * share, xp.ones_like(share))
