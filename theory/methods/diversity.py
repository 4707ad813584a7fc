"""Group advantages that tell correct answers apart by rank, likelihood or frequency: the rivals of smoothing.

Inputs are float arrays (..., group_size) of any array-API library (`answer` holds integers); log-probabilities are in
nats and carry no gradient. None of these is a function of correctness and its count alone, so claim B4 does not hold.

Departures: (1) unlikeliness gives tied samples the average of their ranks, as its source leaves ties open; groups
without signal are not dropped; (2) MARA's set of high reward is `correct`, and its anchor is taken within the group,
not within the batch; anchors that tie share their mean reward; (3) IPS has the group mean as its baseline, as its GRPO
form has, where the flow of its theory has none.
"""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from sharpening.theory import shaping
from sharpening.theory.methods import baselines

Array = Any  # an array of NumPy, torch or any array-API library


def unlikeliness(
    *,
    reward: Array,
    log_prob: Array,
    num_tokens: Array,
    rank_strength: float = 0.25,
    ddof: int = 1,
    epsilon: float = 1e-6,
) -> Array:
    """GRPO of the reward times 1 - rank_strength rank / group_size, rank 0 for the least likely completion.

    Ranks go by mean log-probability per token and count all samples of the group, so of the correct ones the likely
    lose most; ties get the average of their ranks.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   arXiv 2506.02355 (strength .25; its code divides by the sample standard deviation).
    """
    likelihood = shaping.per_answer_log_prob(log_prob, num_tokens, is_token_mean=True)
    discount = 1 - rank_strength * average_rank(likelihood) / reward.shape[-1]
    return baselines.grpo(reward=reward * discount, ddof=ddof, epsilon=epsilon)


def average_rank(values: Array) -> Array:
    """The rank of each value among the last axis, 0 for the smallest; equal values share the mean of their ranks.

    Shapes:   (..., group_size). Returns the same shape.

    >>> import numpy as np
    >>> average_rank(np.array([3.0, 1.0, 3.0]))
    array([1.5, 0. , 1.5])
    """
    xp = array_namespace(values)
    own, other = xp.expand_dims(values, axis=-1), xp.expand_dims(values, axis=-2)
    num_below = xp.sum(xp.astype(other < own, values.dtype), axis=-1)
    num_equal = xp.sum(xp.astype(other == own, values.dtype), axis=-1)
    return num_below + (num_equal - 1) / 2


def ucpo(
    *,
    reward: Array,
    correct: Array,
    log_prob: Array,
    num_tokens: Array,
    uniform_weight: float = 0.2,
    floor: float = 1e-6,
    ddof: int = 1,
    epsilon: float = 1e-6,
) -> Array:
    """GRPO with the advantage of correct samples shared out anew, in part by how unlikely they are.

    With q the softmax of the mean log-probabilities per token over the group's correct samples and v = 1/max(q,
    floor), a correct sample gets num_correct ((1 - uniform_weight)/num_correct + uniform_weight v/sum v) times its
    advantage. The total is kept, wrong samples are untouched, and one correct sample alone keeps what it has, which is
    the rule of its code to share out among two or more.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   arXiv 2605.00365 (weight .2, sample std).
    """
    xp = array_namespace(reward)
    likelihood = shaping.per_answer_log_prob(log_prob, num_tokens, is_token_mean=True)
    num_correct = at_least_one(xp.sum(correct, axis=-1, keepdims=True))  # (..., 1)
    lowest = xp.min(likelihood, axis=-1, keepdims=True)
    of_correct = xp.where(correct > 0, likelihood, lowest)  # a wrong sample is never above the correct ones
    weight = correct * xp.exp(of_correct - xp.max(of_correct, axis=-1, keepdims=True))
    total = xp.sum(weight, axis=-1, keepdims=True)
    share = weight / xp.where(total > 0, total, xp.ones_like(total))
    unlikely = correct / xp.clip(share, min=floor)
    unlikely_total = xp.sum(unlikely, axis=-1, keepdims=True)
    unlikely_share = unlikely / xp.where(unlikely_total > 0, unlikely_total, xp.ones_like(unlikely_total))
    scale = (1 - uniform_weight) + uniform_weight * num_correct * unlikely_share
    advantage = baselines.grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    return advantage * xp.where(correct > 0, scale, xp.ones_like(scale))


def mara(
    *,
    reward: Array,
    correct: Array,
    base_log_prob: Array,
    strength: float = 0.1,
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
) -> Array:
    """The group advantage of a reward that makes up for the base policy's preference among correct samples.

    A correct sample's reward becomes R(z) + strength (log b(z) - log b), z the group's correct sample that is most
    likely under the base policy b. With a KL term of the same strength the optimum is uniform on the correct answers.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Source:   arXiv 2510.20817: `ds` with reference base, gamma_correct = strength and an offset. Claims A3, B8.
    """
    xp = array_namespace(reward)
    is_correct = correct > 0
    lowest = xp.min(base_log_prob, axis=-1, keepdims=True)
    top = xp.max(xp.where(is_correct, base_log_prob, lowest), axis=-1, keepdims=True)  # (..., 1)
    is_anchor = correct * xp.astype(base_log_prob == top, correct.dtype)
    num_anchors = at_least_one(xp.sum(is_anchor, axis=-1, keepdims=True))
    anchor_reward = xp.sum(is_anchor * reward, axis=-1, keepdims=True) / num_anchors
    augmented = xp.where(is_correct, anchor_reward + strength * (top - base_log_prob), reward)
    return mean_baseline(augmented, normalise, ddof, epsilon)


def ips(
    *,
    reward: Array,
    answer: Array,
    exponent: float = 1.0,
    floor: float = 1e-6,
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
) -> Array:
    """The group advantage of the reward over (share of the group with the same answer)^exponent.

    Shapes:   (..., group_size) each, group_size >= 2; answer: integer ids. Returns the same shape.
    Requires: floor > 0; shares below it count as `floor`.      Raises ValueError otherwise.
    Source:   arXiv 2601.21669 (exponent 1; its flow's rest point is p proportional to r^(1/exponent)).

    >>> import numpy as np
    >>> ips(reward=np.array([[1.0, 1.0, 1.0, 0.0]]), answer=np.array([[0, 0, 1, 2]]))
    array([[ 0.,  0.,  2., -2.]])
    """
    if not floor > 0:
        raise ValueError(f"floor is {floor!r}: it must be above 0")
    xp = array_namespace(reward)
    is_same = xp.expand_dims(answer, axis=-1) == xp.expand_dims(answer, axis=-2)
    frequency = xp.mean(xp.astype(is_same, reward.dtype), axis=-1)
    scaled = reward / xp.clip(frequency, min=floor) ** exponent
    return mean_baseline(scaled, normalise, ddof, epsilon)


def mean_baseline(reward: Array, normalise: str, ddof: int, epsilon: float) -> Array:
    """The reward minus its group mean (normalise none), divided by its standard deviation (std).

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    """
    if normalise == "none":
        return baselines.dr_grpo(reward=reward)
    if normalise == "std":
        return baselines.grpo(reward=reward, ddof=ddof, epsilon=epsilon)
    raise ValueError(f"normalise is {normalise!r}: it must be one of none, std")


def at_least_one(count: Array) -> Array:
    """The count, or 1 where it is 0.

    Shapes:   any. Returns the same shape.
    """
    xp = array_namespace(count)
    return xp.where(count > 0, count, xp.ones_like(count))
