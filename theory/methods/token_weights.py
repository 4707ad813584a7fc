"""Token weights: what multiplies grad log pi at each token, and the exact gradients of terms that sit in a loss.

A weight function takes arrays of any array-API library, one number a token, shape (..., num_completions,
num_positions); the last two axes are one batch, leading axes are independent runs. A simulator of one-token answers
passes (num_runs, group_size, 1). `ratio` is current over sampling probability of the token, `advantage` is that of the
completion, broadcast (num_positions may be 1 there), `is_token` is 1.0 on tokens the model wrote and 0.0 on padding
(all ones if left out). The step is the mean over a completion's tokens of weight times grad log pi; a loss that
aggregates tokens otherwise rescales all weights of a completion alike.

On the first update after sampling every ratio is 1: then `clip`, `clip_higher`, `gspo`, `cispo` and `kl_cov` return
the advantage itself, and with one token an answer `entropy_advantage` only rescales it.

Left out: SimKO's part on correct completions (arXiv 2510.14807). It moves a share of the push from the sampled token to
the most likely tokens at that position, and a weight of the sampled token cannot push other tokens. Its part on wrong
completions is `simko_penalty`. Draws are an argument (`uniform`), so nothing here is random.

Departures: (1) KL-Cov and Clip-Cov pick at least one token, as their code does, but none where the share is 0; ties in
KL-Cov go to the earlier token.
"""

from __future__ import annotations

import math
from typing import Any

from array_api_compat import array_namespace

from sharpening.theory.methods import baselines

Array = Any  # an array of NumPy, torch or any array-API library


def clip(*, ratio: Array, advantage: Array, clip_low: float = 0.2, clip_high: float = 0.2) -> Array:
    """Ratio times advantage, or 0 where the ratio has left [1 - clip_low, 1 + clip_high] on the rewarded side.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape.
    Requires: 0 <= clip_low, 0 <= clip_high.      Raises ValueError otherwise.
    Source:   the gradient of min(ratio A, clip(ratio) A); the range is a convention, arXiv 2402.03300 has none.

    >>> import numpy as np
    >>> clip(ratio=np.array([[1.5, 1.5, 0.5]]), advantage=np.array([[1.0, -1.0, -1.0]]))
    array([[ 0. , -1.5,  0. ]])
    """
    baselines.require_non_negative(clip_low, "clip_low")
    baselines.require_non_negative(clip_high, "clip_high")
    xp = array_namespace(ratio)
    is_above, is_below = ratio > 1 + clip_high, ratio < 1 - clip_low
    is_clipped = (is_above & (advantage > 0)) | (is_below & (advantage < 0))
    pushed = ratio * advantage
    return xp.where(is_clipped, xp.zeros_like(pushed), pushed)


def clip_higher(*, ratio: Array, advantage: Array, clip_low: float = 0.2, clip_high: float = 0.28) -> Array:
    """`clip` with more room upwards.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape.
    Source:   arXiv 2503.14476 (DAPO).
    """
    return clip(ratio=ratio, advantage=advantage, clip_low=clip_low, clip_high=clip_high)


def gspo(
    *, ratio: Array, advantage: Array, is_token: Array = None, clip_low: float = 3e-4, clip_high: float = 4e-4
) -> Array:
    """`clip` of the completion's ratio: the geometric mean of its tokens' ratios, the same on every token.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape.
    Source:   arXiv 2507.18071; the gradient of its log-ratio is the mean over tokens of grad log pi.
    """
    xp = array_namespace(ratio)
    mask = token_mask(ratio, is_token)
    log_ratio = xp.log(xp.where(mask > 0, ratio, xp.ones_like(ratio)))
    mean_log_ratio = xp.sum(log_ratio, axis=-1, keepdims=True) / at_least_one(xp.sum(mask, axis=-1, keepdims=True))
    return mask * clip(ratio=xp.exp(mean_log_ratio), advantage=advantage, clip_low=clip_low, clip_high=clip_high)


def cispo(*, ratio: Array, advantage: Array, clip_low: float = 1.0, clip_high: float = 5.0) -> Array:
    """The ratio, held within [1 - clip_low, 1 + clip_high], times the advantage: no token is ever dropped.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape.
    Requires: 0 <= clip_low, 0 <= clip_high.      Raises ValueError otherwise.
    Source:   arXiv 2506.13585; the range as arXiv 2602.06717 ran it.
    """
    baselines.require_non_negative(clip_low, "clip_low")
    baselines.require_non_negative(clip_high, "clip_high")
    return array_namespace(ratio).clip(ratio, min=1 - clip_low, max=1 + clip_high) * advantage


def clip_cov(
    *,
    ratio: Array,
    advantage: Array,
    token_log_prob: Array,
    uniform: Array,
    is_token: Array = None,
    share: float = 2e-4,
    covariance_low: float = 1.0,
    covariance_high: float = 5.0,
    clip_low: float = 1.0,
    clip_high: float = 1.0,
) -> Array:
    """`clip`, with a few tokens of high covariance between advantage and log-probability dropped at random.

    Among tokens whose covariance lies strictly between the bounds and that `clip` keeps, those with the smallest
    `uniform` are dropped: `share` of all tokens of the batch, rounded down, at least one.

    Shapes:   (..., num_completions, num_positions) each; uniform: draws in [0, 1). Returns the same shape.
    Source:   arXiv 2505.22617 (share 2e-4, bounds 1 and 5, clipping opened to 1).
    """
    xp = array_namespace(ratio)
    mask = token_mask(ratio, is_token)
    weight = clip(ratio=ratio, advantage=advantage, clip_low=clip_low, clip_high=clip_high)
    covariance = token_covariance(advantage, token_log_prob, mask)
    is_clipped = (weight == 0) & (advantage != 0)
    is_eligible = (covariance > covariance_low) & (covariance < covariance_high) & (mask > 0) & ~is_clipped
    is_dropped = is_eligible & is_first(xp.where(is_eligible, uniform, xp.full_like(uniform, 2.0)), share, mask)
    return mask * weight * xp.astype(~is_dropped, weight.dtype)


def kl_cov(
    *,
    ratio: Array,
    advantage: Array,
    token_log_prob: Array,
    is_token: Array = None,
    share: float = 2e-3,
    strength: float = 1.0,
) -> Array:
    """Ratio times advantage, minus strength times the sign of log ratio on the tokens of highest covariance.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape.
    Source:   arXiv 2505.22617: coefficient times |log ratio| on a share of 2e-3 (7B) or 2e-4 (32B) of the batch's
              tokens, rounded down, at least one; no clipping.
    """
    xp = array_namespace(ratio)
    mask = token_mask(ratio, is_token)
    covariance = token_covariance(advantage, token_log_prob, mask)
    is_picked = is_first(xp.where(mask > 0, -covariance, xp.full_like(covariance, math.inf)), share, mask)
    pull = xp.astype(ratio > 1, ratio.dtype) - xp.astype(ratio < 1, ratio.dtype)
    return mask * (ratio * advantage - strength * pull * xp.astype(is_picked, ratio.dtype))


def entropy_advantage(
    *,
    ratio: Array,
    advantage: Array,
    token_entropy: Array,
    strength: float = 0.4,
    kappa: float = 2.0,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Array:
    """`clip` with min(strength * token entropy, |advantage|/kappa) added to the advantage.

    Shapes:   (..., num_completions, num_positions) each; token_entropy in nats, no gradient. Returns the same shape.
    Requires: kappa > 0 (above 1 the advantage keeps its sign).      Raises ValueError otherwise.
    Source:   arXiv 2506.14758 (strength .4 and kappa 2 with GRPO).
    """
    if not kappa > 0:
        raise ValueError(f"kappa is {kappa!r}: it must be above 0")
    xp = array_namespace(ratio)
    bonus = xp.minimum(strength * token_entropy, xp.abs(advantage) / kappa)
    return clip(ratio=ratio, advantage=advantage + bonus, clip_low=clip_low, clip_high=clip_high)


def simko_penalty(
    *,
    ratio: Array,
    advantage: Array,
    token_entropy: Array,
    is_top_token: Array,
    is_token: Array = None,
    quantile: float = 0.8,
    penalty: float = 1.1,
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> Array:
    """`clip` with the advantage of wrong completions times `penalty` on forking tokens that were the most likely.

    Forking tokens are those whose entropy is above the completion's quantile. It is one half of SimKO: the other half
    spreads the push of correct completions over tokens that were not sampled, which no weight can do.

    Shapes:   (..., num_completions, num_positions) each; is_top_token: 1.0 where the sampled token was the most
              likely. Returns the same shape.
    Requires: 0 <= quantile <= 1.      Raises ValueError otherwise.
    Source:   arXiv 2510.14807 (quantile .8, penalty 1.1); wrong is advantage < 0.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile is {quantile!r}: it must lie between 0 and 1")
    xp = array_namespace(ratio)
    mask = token_mask(ratio, is_token)
    is_forking = token_entropy > entropy_quantile(token_entropy, mask, quantile)
    is_charged = is_forking & (is_top_token > 0) & (advantage < 0)
    scale = 1 + (penalty - 1) * xp.astype(is_charged, ratio.dtype)
    return mask * clip(ratio=ratio, advantage=advantage * scale, clip_low=clip_low, clip_high=clip_high)


def entropy_gradient(log_policy: Array) -> Array:
    """The exact gradient of a policy's entropy in softmax logits: p (-log p - H).

    Shapes:   (..., num_arms), nats. Returns the same shape; it sums to 0.
    Source:   textbook; the loss form of `entropy_bonus` times its strength, of `entropy_penalty` times minus that.
    """
    return logit_gradient(log_policy, -log_policy)


def kl_gradient(log_policy: Array, base_log_policy: Array) -> Array:
    """The exact gradient of KL(p||b) in softmax logits: p (log p/b - KL).

    Shapes:   (..., num_arms), nats. Returns the same shape; it sums to 0.
    Source:   textbook; claim B12. The loss form of `kl_penalty` times minus its strength.
    """
    return logit_gradient(log_policy, log_policy - base_log_policy)


def logit_gradient(log_policy: Array, weight: Array) -> Array:
    """The mean under the policy of weight times grad log p, in softmax logits: p (weight - mean weight).

    Shapes:   (..., num_arms) each. Returns the same shape.
    """
    xp = array_namespace(log_policy)
    policy = xp.exp(log_policy)
    return policy * (weight - xp.sum(policy * weight, axis=-1, keepdims=True))


def token_covariance(advantage: Array, token_log_prob: Array, mask: Array) -> Array:
    """Each token's (advantage - mean)(log-probability - mean), means over the tokens of the batch; 0 on padding.

    Shapes:   (..., num_completions, num_positions) each, advantage broadcast. Returns the same shape.
    Source:   arXiv 2505.22617; minus its mean is the first-order change of entropy (claim B10).
    """
    xp = array_namespace(mask)
    num_tokens = at_least_one(xp.sum(mask, axis=(-2, -1), keepdims=True))  # (..., 1, 1)
    parts = []
    for values in (advantage + xp.zeros_like(mask), token_log_prob):
        known = xp.where(mask > 0, values, xp.zeros_like(values))
        parts.append(mask * (known - xp.sum(known, axis=(-2, -1), keepdims=True) / num_tokens))
    return parts[0] * parts[1]


def is_first(keys: Array, share: float, mask: Array) -> Array:
    """Whether a token's key is among the smallest `share` of the batch's tokens, rounded down, or one.

    Shapes:   (..., num_completions, num_positions) each. Returns the same shape; ties go to the earlier token.
    Requires: 0 <= share <= 1.      Raises ValueError otherwise.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share!r}: it must lie between 0 and 1")
    xp = array_namespace(keys)
    flat = xp.reshape(keys, (*keys.shape[:-2], -1))
    rank = xp.reshape(xp.argsort(xp.argsort(flat, axis=-1, stable=True), axis=-1), keys.shape)
    num_picked = xp.floor(share * xp.sum(mask, axis=(-2, -1), keepdims=True))
    return xp.astype(rank, mask.dtype) < (at_least_one(num_picked) if share else num_picked)


def entropy_quantile(token_entropy: Array, mask: Array, quantile: float) -> Array:
    """The quantile of each completion's token entropies, interpolated linearly between order statistics.

    Shapes:   (..., num_completions, num_positions) each. Returns (..., num_completions, 1).
    """
    xp = array_namespace(token_entropy)
    ordered = xp.sort(xp.where(mask > 0, token_entropy, xp.full_like(token_entropy, math.inf)), axis=-1)
    last = at_least_one(xp.sum(mask, axis=-1, keepdims=True)) - 1  # index of the largest, (..., 1)
    place = quantile * last
    index = xp.cumulative_sum(xp.ones_like(ordered), axis=-1) - 1
    low, high = (
        xp.sum(xp.where(index == at, ordered, xp.zeros_like(ordered)), axis=-1, keepdims=True)
        for at in (xp.floor(place), xp.ceil(place))
    )
    return low + (place - xp.floor(place)) * (high - low)  # exactly `low` where the two are equal


def token_mask(ratio: Array, is_token: Array) -> Array:
    """The mask given, or ones.

    Shapes:   (..., num_completions, num_positions). Returns the shape of ratio.
    """
    return array_namespace(ratio).ones_like(ratio) if is_token is None else is_token


def at_least_one(count: Array) -> Array:
    """The count, or 1 where it is below 1.

    Shapes:   any. Returns the same shape.
    """
    return array_namespace(count).clip(count, min=1)
