"""Group advantages that divide what correct samples get by their probability: claims F2 and F5, ours.

Inputs are float arrays (..., group_size) of any array-API library; log-probabilities are those of the whole answer
under the sampling policy, in nats, and carry no gradient. Neither function is in the table of methods.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from sharpening.theory.methods import baselines

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
    xp = array_namespace(reward)
    is_correct = correct > 0
    lowest = xp.max(log_prob, axis=-1, keepdims=True)
    rarest = xp.min(xp.where(is_correct, log_prob, lowest), axis=-1, keepdims=True)
    below = xp.where(is_correct, rarest - log_prob, xp.zeros_like(log_prob))
    weight = correct * xp.exp(exponent * below)
    num_correct, total = (xp.sum(values, axis=-1, keepdims=True) for values in (correct, weight))
    share = weight / xp.where(total > 0, total, xp.ones_like(total))
    return baselines.dr_grpo(reward=xp.where(is_correct, reward * num_correct * share, reward))
