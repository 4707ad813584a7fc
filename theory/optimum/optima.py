"""Closed-form optima of KL-regularised RL for every shaper family.

The objective is F(p) = E_p[shaped reward] - beta KL(p||b), beta = `kl_strength`. Every family is differential
smoothing with some pair of strengths: vanilla (0, 0), a global bonus g (g, -g), a global penalty g (-g, g). Two
references: with the base policy the shaped reward is a fixed number per answer and the optimum is explicit; with the
sampling policy (no gradient) the optimum is a fixed point with one unknown. The H form of the bonus (g times the
entropy added to the objective) has the fixed point of the bonus with sampling reference.

Departs: (1) the reward gap between correct and wrong answers is a parameter (1 in the paper, as summarised), because
claim A7 is false without it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import logsumexp

from sharpening.theory import policies, shaping
from sharpening.theory.policies import Floats, Problem


class Strengths(NamedTuple):
    """Strengths of a family written as differential smoothing, in reward per nat."""

    gamma_correct: Any
    gamma_incorrect: Any


class Exponents(NamedTuple):
    """The optimum restricted to C is proportional to b^correct, restricted to W to b^wrong."""

    correct: Any
    wrong: Any


def vanilla_strengths() -> Strengths:
    """Plain RL as differential smoothing."""
    return Strengths(0, 0)


def bonus_strengths(strength: Any) -> Strengths:
    """A global bonus (a penalty where the strength is negative) as differential smoothing.

    Source:   claim A3.
    """
    return Strengths(strength, -strength)


def optimum_log_weights(base_log_policy: Any, shaped_reward: Any, kl_strength: Any) -> Any:
    """Unnormalised log-probabilities of the maximiser of E_p[shaped_reward] - kl_strength KL(p||b).

    Shapes:   base_log_policy, shaped_reward: (num_arms,) or scalars; SymPy symbols are welcome.
    Source:   Gibbs' variational principle; claim A1.
    """
    return base_log_policy + shaped_reward / kl_strength


def base_exponents(kl_strength: Any, strengths: Strengths) -> Exponents:
    """Exponents on C and on W at the optimum with the base policy as reference.

    Source:   claim A3 (as summarised for the paper's reward form; for the global terms ours).
    """
    return Exponents(1 - strengths.gamma_correct / kl_strength, 1 + strengths.gamma_incorrect / kl_strength)


def sampling_exponents(kl_strength: Any, strengths: Strengths) -> Exponents:
    """Exponents on C and on W at the fixed point with the sampling policy as reference.

    Requires: gamma_incorrect < kl_strength and -gamma_correct < kl_strength.
    Source:   claim A3.
    """
    return Exponents(
        kl_strength / (kl_strength + strengths.gamma_correct),
        kl_strength / (kl_strength - strengths.gamma_incorrect),
    )


def base_optimum(problem: Problem, kl_strength: float, strengths: Strengths, gap: float = 1.0) -> Floats:
    """The optimum of shaped, KL-regularised RL with the base policy as reference.

    Shapes:   returns (num_arms,), log-probabilities in nats.
    Requires: kl_strength > 0; gap is the reward of a correct answer.       Raises ValueError otherwise.
    Source:   arXiv 2511.19942, Eq. 4 (as summarised); claims A1, A3.
    """
    require_positive(kl_strength, "kl_strength")
    shaped_reward = shaping.differential_smoothing(
        gap * problem.correct, problem.base_log_policy, problem.correct, **strengths._asdict()
    )
    return policies.log_softmax(optimum_log_weights(problem.base_log_policy, shaped_reward, kl_strength))


def sampling_optimum(problem: Problem, kl_strength: float, strengths: Strengths, gap: float = 1.0) -> Floats:
    """The unique fixed point of shaped, KL-regularised RL with the sampling policy as reference.

    The stationarity condition A_i = mu reads (beta + gamma_correct) log p = beta log b + gap - mu on C and
    (beta - gamma_incorrect) log p = beta log b - mu on W; mu is the one number that normalises p.

    Shapes:   returns (num_arms,), log-probabilities in nats.
    Requires: kl_strength > 0, -gamma_correct < kl_strength, gamma_incorrect < kl_strength; else ValueError.
    Source:   claim A3; the fixed point and its uniqueness are ours.
    """
    return sampling_fixed_point(problem, kl_strength, strengths, gap)[0]


def sampling_fixed_point(
    problem: Problem, kl_strength: float, strengths: Strengths, gap: float = 1.0
) -> tuple[Floats, float]:
    """The fixed point of `sampling_optimum` and its multiplier mu, the common value of all advantages.

    Shapes:   returns ((num_arms,) log-probabilities in nats, scalar).
    Source:   claims A3 and A8.
    """
    require_positive(kl_strength, "kl_strength")
    scale_correct = kl_strength + strengths.gamma_correct
    scale_wrong = kl_strength - strengths.gamma_incorrect
    require_positive(scale_correct, "kl_strength + gamma_correct")
    require_positive(scale_wrong, "kl_strength - gamma_incorrect")
    scale = np.where(problem.is_correct, scale_correct, scale_wrong)  # (num_arms,)
    offset = kl_strength * problem.base_log_policy + gap * problem.correct  # (num_arms,)

    def log_total(multiplier: float) -> float:
        return float(logsumexp((offset - multiplier) / scale))

    start = log_total(0.0)
    ends = sorted((start * min(scale_correct, scale_wrong), start * max(scale_correct, scale_wrong)))
    slack = 1e-9 * (1.0 + abs(start)) * max(scale_correct, scale_wrong)  # the bracket may be a point
    multiplier = float(brentq(log_total, ends[0] - slack, ends[1] + slack, xtol=1e-15, rtol=1e-15, maxiter=500))
    return policies.log_softmax((offset - multiplier) / scale), multiplier


def require_positive(value: float, name: str) -> None:
    """Raises ValueError unless the value is a finite number above 0."""
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} is {float(value)!r}: it must be a finite number above 0")


def logit_gain_base(problem: Problem, exponents: Exponents) -> float:
    """Logit Q of the optimum minus logit Q of vanilla, base reference, from the exponents alone.

    Shapes:   returns a scalar; >= 0 whenever exponents.correct <= 1 <= exponents.wrong.
    Source:   claim A5.
    """
    right = problem.base_log_policy[problem.is_correct]
    wrong = problem.base_log_policy[~problem.is_correct]
    gain_correct = policies.log_partition(right, exponents.correct) - policies.log_partition(right)
    gain_wrong = policies.log_partition(wrong) - policies.log_partition(wrong, exponents.wrong)
    return gain_correct + gain_wrong


def logit_gain_sampling(problem: Problem, log_policy: Floats, kl_strength: float, strengths: Strengths) -> float:
    """Logit Q of the fixed point minus logit Q of vanilla, sampling reference, given the fixed point.

    Shapes:   log_policy: (num_arms,), nats. Returns a scalar; >= 0 for non-negative strengths.
    Source:   claim A5, ours.
    """
    inside, outside = problem.is_correct, ~problem.is_correct
    right, wrong = problem.base_log_policy[inside], problem.base_log_policy[outside]
    tilt_correct = right - strengths.gamma_correct / kl_strength * log_policy[inside]
    tilt_wrong = wrong + strengths.gamma_incorrect / kl_strength * log_policy[outside]
    gain_correct = logsumexp(tilt_correct) - policies.log_partition(right)
    return float(gain_correct + policies.log_partition(wrong) - logsumexp(tilt_wrong))


def global_term_slope(surprisal_correct: Any, surprisal_wrong: Any, kl_strength: Any, strength: Any) -> Any:
    """D logit Q / d strength of a global bonus in reward form with base reference.

    The surprisals are means of -log b under the optimum's conditionals on C and on W, nats.
    Source:   claim A4, ours.
    """
    return (surprisal_correct - surprisal_wrong) / kl_strength


def entropy_form_slope(surprisal_correct: Any, surprisal_wrong: Any, kl_strength: Any, strength: Any) -> Any:
    """D logit Q / d strength of a global bonus in H form (entropy added to the objective).

    The surprisals are means of -log b under the optimum's conditionals on C and on W, nats.
    Source:   claim A4, ours.
    """
    difference = kl_strength * (surprisal_correct - surprisal_wrong)
    return (difference - 1) / (kl_strength + strength) ** 2


def smoothing_slope(surprisal_correct: Any, kl_strength: Any) -> Any:
    """D logit Q / d gamma_correct of differential smoothing with base reference; never negative.

    The surprisal is the mean of -log b under the optimum's conditional on C, nats.
    Source:   claim A5, differentiated; ours.
    """
    return surprisal_correct / kl_strength


def surprisal_gap_from_entropies(entropy_correct: Any, entropy_wrong: Any, logit: Any) -> Any:
    """S_C - S_W at strength 0, from the entropies of b_C and b_W and the base's logit of correctness.

    Source:   claim A4: solution multiplicity enters through the entropy of b_C. Ours.
    """
    return entropy_correct - entropy_wrong - logit


def cheapest_at(problem: Problem, log_policy: Floats) -> Floats:
    """The policy closest to the base among those with the same Q and p_C: its wrong answers follow the base.

    Shapes:   log_policy: (num_arms,), nats. Returns (num_arms,).
    Source:   claim A6.
    """
    wrong = problem.base_log_policy[~problem.is_correct]
    return policies.compose(
        policies.logit_correctness(log_policy, problem.correct),
        policies.conditional(log_policy, problem.correct, given_correct=True),
        policies.tempered(wrong, 1),
        problem.correct,
    )
