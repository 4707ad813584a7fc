"""Divergences between policies, their split into correctness, C and W parts, and KL estimators on samples.

All take log-probabilities (nats) over the last axis and return nats, or the dimensionless value where the divergence
has no unit. Log inputs keep ratios of probabilities far below 1e-300 finite.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import logsumexp

from sharpening.theory import policies
from sharpening.theory.policies import Floats

Divergence = Callable[[Floats, Floats], Any]
KLPlacement = Literal["k3_loss", "k3_times_ratio", "k1_reward", "k1_loss"]


def kl(log_policy: Floats, log_other: Floats) -> Any:
    """KL(p||q) = E_p[log p - log q], nats.

    Shapes:   (..., num_arms) each -> (...).
    """
    return (np.exp(log_policy) * (log_policy - log_other)).sum(axis=-1)


def reverse_kl(log_policy: Floats, log_other: Floats) -> Any:
    """KL(q||p): the divergence with its arguments exchanged, nats.

    Shapes:   (..., num_arms) each -> (...).
    """
    return kl(log_other, log_policy)


def renyi(log_policy: Floats, log_other: Floats, order: float) -> Any:
    """Renyi divergence of p from q, nats; order 1 is KL(p||q), order inf the log of the largest ratio.

    Shapes:   (..., num_arms) each -> (...).
    Requires: order > 0; raises ValueError otherwise.
    """
    if not order > 0:
        raise ValueError(f"order is {float(order)!r}: it must be above 0")
    if order == 1:
        return kl(log_policy, log_other)
    if np.isinf(order):
        return (log_policy - log_other).max(axis=-1)
    return logsumexp(order * log_policy + (1 - order) * log_other, axis=-1) / (order - 1)


def chi_squared(log_policy: Floats, log_other: Floats) -> Any:
    """chi2(p||q) = sum p^2/q - 1; inf where no float holds it.

    Shapes:   (..., num_arms) each -> (...).
    """
    with np.errstate(over="ignore"):
        return np.expm1(renyi(log_policy, log_other, 2.0))


def total_variation(log_policy: Floats, log_other: Floats) -> Any:
    """Half the sum of |p - q|, in [0, 1].

    Shapes:   (..., num_arms) each -> (...).
    """
    return 0.5 * np.abs(np.exp(log_policy) - np.exp(log_other)).sum(axis=-1)


def jensen_shannon(log_policy: Floats, log_other: Floats) -> Any:
    """Mean KL of p and q from their even mixture, in [0, log 2] nats.

    Shapes:   (..., num_arms) each -> (...).
    """
    log_mixture = np.logaddexp(log_policy, log_other) - np.log(2.0)
    return 0.5 * (kl(log_policy, log_mixture) + kl(log_other, log_mixture))


def hellinger_squared(log_policy: Floats, log_other: Floats) -> Any:
    """1 - sum of sqrt(p q), in [0, 1].

    Shapes:   (..., num_arms) each -> (...).
    """
    return -np.expm1(-0.5 * renyi(log_policy, log_other, 0.5))


STRICTLY_CONVEX: dict[str, Divergence] = {
    "KL(p||b)": kl,
    "KL(b||p)": reverse_kl,
    "chi2(p||b)": chi_squared,
    "chi2(b||p)": lambda p, b: chi_squared(b, p),
    "Jensen-Shannon": jensen_shannon,
    "squared Hellinger": hellinger_squared,
    "Renyi 1/2": lambda p, b: renyi(p, b, 0.5),
    "Renyi 2 (p, b)": lambda p, b: renyi(p, b, 2.0),
    "Renyi 2 (b, p)": lambda p, b: renyi(b, p, 2.0),
}
DIVERGENCES: dict[str, Divergence] = {
    **STRICTLY_CONVEX,
    "total variation": total_variation,
    "Renyi inf (p, b)": lambda p, b: renyi(p, b, np.inf),
    "Renyi inf (b, p)": lambda p, b: renyi(b, p, np.inf),
}


class KLParts(NamedTuple):
    """KL(p||b) split by the chain rule; the three weighted parts add up to it. Nats."""

    of_correctness: Any
    inside_correct: Any
    inside_wrong: Any


def chain_rule(correctness: Any, kl_correctness: Any, kl_correct: Any, kl_wrong: Any) -> KLParts:
    """The parts of KL(p||b): kl(Q||Q_b), Q KL(p_C||b_C), (1 - Q) KL(p_W||b_W).

    Shapes:   scalars or equal shapes. Nats.
    Source:   textbook; claim A6.
    """
    return KLParts(kl_correctness, correctness * kl_correct, (1 - correctness) * kl_wrong)


def kl_parts(log_policy: Floats, log_base: Floats, correct: Floats) -> KLParts:
    """The chain rule for two policies over the same answers.

    Shapes:   (num_arms,) each -> three scalars, nats.
    Source:   claim A6.
    """
    conditionals = [
        kl(*(policies.conditional(log, correct, given_correct=side) for log in (log_policy, log_base)))
        for side in (True, False)
    ]
    binary = [_log_odds_pair(log, correct) for log in (log_policy, log_base)]
    return chain_rule(policies.correctness(log_policy, correct), kl(*binary), *conditionals)


def _log_odds_pair(log_policy: Floats, correct: Floats) -> Floats:
    """Log Q and log(1 - Q), (2,)."""
    logit = policies.logit_correctness(log_policy, correct)
    return np.asarray(-np.logaddexp(0.0, np.array([-logit, logit])), dtype=np.float64)


def wrong_part_saving(correctness: Any, base_correctness: Any, wrong: dict[str, Any]) -> dict[str, Any]:
    """What replacing p_W by b_W saves at fixed Q and p_C, from divergences between p_W and b_W.

    `wrong` maps "KL(p||b)", "KL(b||p)" and "chi2(p||b)" to the divergence of the conditionals on W.
    Source:   claim A7.1, ours.
    """
    return {
        "KL(p||b)": (1 - correctness) * wrong["KL(p||b)"],
        "KL(b||p)": (1 - base_correctness) * wrong["KL(b||p)"],
        "chi2(p||b)": (1 - correctness) ** 2 / (1 - base_correctness) * wrong["chi2(p||b)"],
    }


def k1(base_ratio: Any, log_base_ratio: Any) -> Any:
    """The plain estimator of KL(p||b) from a sample of p: -log(b/p).

    Shapes:   equal shapes; base_ratio = b/p, log_base_ratio its log in nats.
    """
    return -log_base_ratio


def k3(base_ratio: Any, log_base_ratio: Any) -> Any:
    """The non-negative estimator of KL(p||b) from a sample of p: b/p - log(b/p) - 1.

    Shapes:   equal shapes; base_ratio = b/p, log_base_ratio its log in nats.
    Source:   the estimator in the loss of arXiv 2402.03300.
    """
    return base_ratio - log_base_ratio - 1


def kl_score_weight(placement: KLPlacement, base_ratio: Any, log_base_ratio: Any) -> Any:
    """What multiplies grad log p, on-policy and up to a baseline, when a KL estimator is placed in the objective.

    `k3_loss` follows KL(b||p); `k3_times_ratio` and `k1_reward` follow KL(p||b); `k1_loss` follows nothing.
    Shapes:   equal shapes; base_ratio = b/p, log_base_ratio its log in nats.
    Source:   claim B12.
    """
    if placement == "k3_loss":
        return 1 - base_ratio
    if placement == "k1_loss":
        return 1 + 0 * base_ratio
    return -log_base_ratio
