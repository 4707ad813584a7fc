"""When differential smoothing dominates a global entropy bonus, and the maps between the two references of DS.

A bonus has one exponent s on all answers; DS with gamma_incorrect = 0 has s on C and 1 on W. At the same Q and p_C the
two differ only on W, where the bonus pays for a spread that buys nothing (claim A6). What a DS run can reach depends
on the reward gap: adjustable, any Q; the literal gap 1, only under a condition (claim A7.2).

Departs: (1) the paper's K_rho and sigma are not known to us; any f- or Renyi divergence and any functional of p_C are
meant instead.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from scipy.optimize import brentq, minimize_scalar

from sharpening.theory import policies
from sharpening.theory.optimum import divergences, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

Reference = Literal["base", "sampling"]
Form = Literal["reward", "entropy"]
LARGEST_LOGIT = 690.0  # 1 - Q = 1e-300
SEARCHED = 30.0  # logits above the base within which the cheapest correctness is looked for


def bonus_optimum(problem: Problem, kl_strength: float, strength: float, form: Form) -> Floats:
    """The optimum of a global bonus: reward form with base reference, or H form.

    Shapes:   returns (num_arms,), log-probabilities in nats.
    Source:   claim A3.
    """
    optimum = optima.base_optimum if form == "reward" else optima.sampling_optimum
    return optimum(problem, kl_strength, optima.bonus_strengths(strength))


def bonus_exponent(kl_strength: float, strength: float, form: Form) -> float:
    """The exponent s of a global bonus.

    Source:   claim A3.
    """
    exponents = optima.base_exponents if form == "reward" else optima.sampling_exponents
    return float(exponents(kl_strength, optima.bonus_strengths(strength)).correct)


def needed_tilt_base(problem: Problem, logit: float, exponent: float) -> float:
    """Gap / kl_strength at which DS with base reference and g_w = 0 has the given logit Q and exponent on C.

    With the literal gap 1 this is 1 / kl_strength and must be above 0; otherwise any kl_strength does.
    Shapes:   returns a scalar, nats.
    Source:   claims A7.1 and A7.2, ours.
    """
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    return logit - policies.log_partition(right, exponent) + policies.log_partition(wrong)


def needed_tilt_sampling(problem: Problem, logit: float, exponent: float) -> float:
    """1 / kl_strength at which DS with sampling reference and g_w = 0 has the given logit Q and exponent on C.

    Shapes:   returns a scalar, nats; the literal policy exists iff it is above 0.
    Requires: exponent > 0.
    Source:   claim A7.2, ours.
    """
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    log_correct, log_wrong = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
    pull = (log_correct - policies.log_partition(right, exponent)) / exponent
    return float(pull + policies.log_partition(wrong) - log_wrong)


def literal_slack(problem: Problem, exponent: float, inverse_strength: float, reference: Reference) -> float:
    """How far the condition of A7.2 is met: literal DS reaches the bonus's Q and p_C iff this is above 0.

    Shapes:   exponent: the bonus's s in (0, 1]; inverse_strength: 1 / beta_eff, beta_eff being kl_strength in
              reward form and kl_strength + strength in H form. Returns a scalar, nats.
    Source:   claim A7.2, ours.
    """
    wrong = problem.base_log_policy[~problem.is_correct]
    growth = policies.log_partition(wrong, exponent) - policies.log_partition(wrong)
    if reference == "sampling":
        growth += (1 - exponent) * vanishing_reward_multiplier(problem, exponent)
    return inverse_strength - growth


def vanishing_reward_multiplier(problem: Problem, exponent: float) -> float:
    """The mu that solves Z_C(s) e^(-s mu) + Z_W(1) e^(-mu) = 1: the fixed point as kl_strength grows, over kl_strength.

    Source:   claim A7.2, ours.
    """
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    log_right, log_wrong = policies.log_partition(right, exponent), policies.log_partition(wrong)

    def excess(multiplier: float) -> float:
        return float(np.logaddexp(log_right - exponent * multiplier, log_wrong - multiplier))

    start = excess(0.0)
    ends = sorted((start, start / exponent))
    return float(brentq(excess, ends[0] - 1e-9, ends[1] + 1e-9, xtol=1e-15, rtol=1e-15))


def is_bonus_modest(strength: float, num_wrong: int, base_correctness: float) -> bool:
    """Whether the bonus cannot outbid the reward: g log(w / (1 - Q_b)) < 1, sufficient for A7.2.

    Source:   claim A7.2, ours.
    """
    return bool(strength * np.log(num_wrong / (1 - base_correctness)) < 1)


def centred_logit(problem: Problem, log_policy: Floats, inverse_strength: float) -> float:
    """Logit Q of DS with base reference whose log b is centred under p_C, with the p_C of `log_policy`.

    Shapes:   log_policy: (num_arms,), nats; inverse_strength: 1 / kl_strength > 0. Returns a scalar.
    Source:   claim A7.1, ours.
    """
    inside = _kl_inside_correct(problem, log_policy)
    return policies.logit_correctness(problem.base_log_policy, problem.correct) + inverse_strength - inside


def centred_inverse_strength(problem: Problem, log_policy: Floats, smallest: float) -> float:
    """1 / kl_strength with which centred DS keeps the p_C of a policy and has at least its Q; never below `smallest`.

    Source:   claim A7.1, ours.
    """
    gain = policies.logit_correctness(log_policy, problem.correct) - centred_logit(problem, log_policy, 0.0)
    return max(gain, smallest)


def _kl_inside_correct(problem: Problem, log_policy: Floats) -> float:
    pair = [
        policies.conditional(log, problem.correct, given_correct=True) for log in (log_policy, problem.base_log_policy)
    ]
    return float(divergences.kl(*pair))


def logit_at_budget(problem: Problem, log_policy: Floats, distance: divergences.Divergence = divergences.kl) -> float:
    """The largest logit Q of a policy with the p_C of `log_policy`, p_W = b_W and at most its distance from the base.

    Shapes:   log_policy: (num_arms,), nats. Returns a scalar, inf where even Q -> 1 costs no more.
    Source:   claim A7.1, ours: the dominance frontier at equal budget.
    """
    budget = distance(log_policy, problem.base_log_policy)
    right = policies.conditional(log_policy, problem.correct, given_correct=True)
    wrong = policies.conditional(problem.base_log_policy, problem.correct, given_correct=False)

    def excess(logit: float) -> float:
        return float(distance(policies.compose(logit, right, wrong, problem.correct), problem.base_log_policy) - budget)

    lowest = policies.logit_correctness(log_policy, problem.correct)
    if excess(LARGEST_LOGIT) <= 0:
        return float(np.inf)
    start = lowest
    if excess(lowest) >= 0:  # nothing was saved on W: there is room only where the cost falls before it rises
        highest = max(lowest, policies.logit_correctness(problem.base_log_policy, problem.correct)) + SEARCHED
        start = float(minimize_scalar(excess, bounds=(lowest, highest), method="bounded").x)
    return lowest if excess(start) >= 0 else float(brentq(excess, start, LARGEST_LOGIT, xtol=1e-13))


def exponents_correspond(
    kl_strength: Any, sampling: Strengths, other_strength: Any, base: Strengths
) -> tuple[Any, Any]:
    """The two differences that vanish iff DS with sampling and with base reference have the same exponents.

    Source:   claim A8.
    """
    ours, theirs = (
        optima.sampling_exponents(kl_strength, sampling),
        optima.base_exponents(other_strength, base),
    )
    return ours.correct - theirs.correct, ours.wrong - theirs.wrong


def equivalent_inverse_strength(exponents: optima.Exponents, multiplier: Any, kl_strength: Any) -> Any:
    """1 / beta' of the base-reference DS equal to a sampling-reference fixed point; it exists iff this is above 0.

    multiplier = E_p[A] at the fixed point, A including the KL term.
    Source:   claim A8, ours.
    """
    return (exponents.correct + (exponents.wrong - exponents.correct) * multiplier) / kl_strength


def equivalent_base(problem: Problem, kl_strength: float, sampling: Strengths) -> tuple[float, Strengths] | None:
    """The (kl_strength, strengths) of base-reference DS with the same optimum as sampling-reference DS, if any.

    Requires: as `optima.sampling_fixed_point`.
    Source:   claim A8, ours.
    """
    _, multiplier = optima.sampling_fixed_point(problem, kl_strength, sampling)
    exponents = optima.sampling_exponents(kl_strength, sampling)
    inverse = equivalent_inverse_strength(exponents, multiplier, kl_strength)
    if inverse <= 0:
        return None
    return 1 / inverse, Strengths((1 - exponents.correct) / inverse, (exponents.wrong - 1) / inverse)
