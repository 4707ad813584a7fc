"""Claims A1 to A3: the KL-regularised optimum and the exponents of every shaper family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp
from scipy.optimize import minimize

from sharpening.theory import policies, shaping
from sharpening.theory.claims import instances, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, OPTIMISER, Evidence, Mutant
from sharpening.theory.flow import dynamics
from sharpening.theory.optimum import divergences, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
PAPER = "our reading of arXiv 2511.19942"
TEXTBOOK = "textbook"

beta, g, g_c, g_w = sp.symbols("beta g g_c g_w", positive=True)


@ledger.claim(
    "A1.1",
    "F(p) = E_p[s] - beta KL(p||b) has the unique maximiser p* ~ b exp(s/beta), and F(p) = F(p*) - beta KL(p||p*).",
    latex=r"F(p)=F(p^*)-\beta\,\mathrm{KL}(p\|p^*),\quad p^*\propto b\,e^{s/\beta}",
    hypotheses="beta > 0, b > 0, finitely many answers; three answers in the symbolic check",
    source=TEXTBOOK,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:optimum_log_weights", "reward / kl_strength", "reward * kl_strength"
    ),
)
def tilt_is_the_optimum(rng: np.random.Generator) -> Evidence:
    """Write log p* = w - log Z with w = log b + s/beta.

    Then beta KL(p||p*) = beta sum p (log p - w) + beta log Z and F(p) = -beta sum p (log p - w), so F(p) + beta
    KL(p||p*) = beta log Z = F(p*) for every p; KL >= 0 does the rest.
    """
    log_p, log_b, scores = (sp.symbols(f"{name}1:4", real=True) for name in ("lp", "lb", "s"))
    free = sp.symbols("p1:3", positive=True)
    p = [*free, 1 - sum(free)]
    log_z = sp.Symbol("logZ", real=True)
    log_star = [optima.optimum_log_weights(b, s, beta) - log_z for b, s in zip(log_b, scores, strict=True)]
    objective = sum(p_i * (s - beta * (lp - b)) for p_i, s, lp, b in zip(p, scores, log_p, log_b, strict=True))
    distance = sum(p_i * (lp - star) for p_i, lp, star in zip(p, log_p, log_star, strict=True))
    return ledger.symbolic([sp.expand(objective - (beta * log_z - beta * distance))], rng)


@ledger.claim(
    "A1.2",
    "A general-purpose optimiser from four starts finds F(p*), and never more.",
    latex=r"\arg\max_p F(p)=p^*",
    hypotheses="as A1.1; scores normal, beta in [.02, 1000]",
    source=TEXTBOOK,
    kind="numeric",
    tolerance=OPTIMISER,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:optimum_log_weights", "reward / kl_strength", "reward * kl_strength"
    ),
)
def optimiser_agrees(rng: np.random.Generator) -> Evidence:
    """L-BFGS on logits from the base and three random starts; some stop at a vertex, where softmax logits saturate.

    The optimiser works on logits with the gradient p (s - beta (log p - log b) - mean); the margin is the
    amount by which it beats F(p*), or F(p*) beats it at its end, per unit of F(p*) - F(b), what there is to gain.
    """

    def violation(problem: Problem) -> float:
        strength, score = instances.kl_strengths(rng), rng.normal(size=problem.correct.size)

        def objective_and_slope(logits: Floats) -> tuple[float, Floats]:
            log_policy = policies.log_softmax(logits)
            value = score - strength * (log_policy - problem.base_log_policy)
            policy = np.exp(log_policy)
            return float(-(policy * value).sum()), -policy * (value - (policy * value).sum())

        claimed = optima.optimum_log_weights(problem.base_log_policy, score, strength)
        starts = [problem.base_log_policy, *rng.normal(size=(3, score.size))]
        options = {"maxiter": 200, "ftol": 1e-14, "gtol": 1e-12}
        ends = [minimize(objective_and_slope, start, jac=True, method="L-BFGS-B", options=options) for start in starts]
        best, untouched = (objective_and_slope(at)[0] for at in (claimed, problem.base_log_policy))
        return float(abs(min(end.fun for end in ends) - best) / abs(untouched - best))

    smooth = (Problem(instances.smooth(rng, 6), np.ones(6)) for _ in range(30))
    return ledger.worst(violation(problem) for problem in smooth)


@ledger.claim(
    "A2.1",
    "Vanilla RL leaves p_C = b_C at its exact optimum, for every beta: the optimum does not sharpen inside C.",
    latex=r"p^*_i/p^*_j=b_i/b_j\quad(i,j\in C)",
    hypotheses="beta > 0, at least two correct answers, b not constant on C",
    source="arXiv 2510.20817, Remark 4.3 as summarised",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:vanilla", "return reward", "return reward - log_prob * correct / 10"),
)
def vanilla_keeps_the_correct_conditional(rng: np.random.Generator) -> Evidence:
    """Log p*_i - log p*_j = log b_i - log b_j + (r_i - r_j)/beta, and r_i = r_j = 1 on C."""
    i, j = sp.symbols("lb_i lb_j", real=True)
    ratio = _log_weight(shaping.vanilla(1, i, 1), i) - _log_weight(shaping.vanilla(1, j, 1), j)
    return ledger.symbolic([ratio - (i - j)], rng)


@ledger.claim(
    "A2.2",
    "Vanilla RL moves correctness only: logit Q = logit Q_b + 1/beta.",
    latex=r"\operatorname{logit}Q=\operatorname{logit}Q_b+1/\beta",
    hypotheses="beta > 0",
    source=TEXTBOOK,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:base_optimum", "gap * problem.correct", "gap * problem.correct / 2"
    ),
)
def vanilla_moves_correctness(rng: np.random.Generator) -> Evidence:
    """Z_C e^(1/beta) / Z_W. Relative to 1 + |logit|, which reaches 1/beta = 50."""

    def violation(problem: Problem) -> float:
        strength = instances.kl_strengths(rng)
        after = _logit(optima.base_optimum(problem, strength, optima.vanilla_strengths()), problem)
        wanted = _logit(problem.base_log_policy, problem) + 1 / strength
        return abs(after - wanted) / (1 + abs(wanted)) / min(1.0, 1 / strength)

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200))


@ledger.claim(
    "A3.1",
    "Base reference: p* ~ e^(1/beta) b^(1 - g_c/beta) on C, b^(1 + g_w/beta) on W; bonus (g, -g), penalty (-g, g).",
    latex=r"p^*\propto e^{1/\beta}b^{1-g_c/\beta}\text{ on }C,\quad b^{1+g_w/\beta}\text{ on }W",
    hypotheses="beta > 0; reward form with the base policy as reference",
    source=PAPER + " (exponents as summarised for DS; global terms ours)",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:base_exponents", "1 - strengths.gamma_correct", "1 + strengths.gamma_correct"
    ),
)
def base_reference_tempers(rng: np.random.Generator) -> Evidence:
    """The shaped reward is affine in log b.

    log p* = log b + s(log b)/beta + const and s is affine in log b, so the ratio of two answers of the same
    kind is the exponent times their log b ratio; the gap of 1 between C and W adds 1/beta. Every shaper is put through
    the same lines.
    """
    i, j = sp.symbols("lb_i lb_j", real=True)
    residuals = []
    for shaper, strengths in _symbolic_shapers():
        exponents = optima.base_exponents(beta, strengths)
        for correct, exponent in ((1, exponents.correct), (0, exponents.wrong)):
            ratio = _log_weight(shaper(i, correct), i) - _log_weight(shaper(j, correct), j)
            residuals.append(ratio - exponent * (i - j))
        odds = _log_weight(shaper(i, 1), i) - _log_weight(shaper(j, 0), j)
        residuals.append(odds - (1 / beta + exponents.correct * i - exponents.wrong * j))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "A3.2",
    "Sampling reference: the fixed point has p ~ b^(beta/(beta+g_c)) on C and b^(beta/(beta-g_w)) on W.",
    latex=r"p^*_C\propto b^{\beta/(\beta+g_c)},\quad p^*_W\propto b^{\beta/(\beta-g_w)}",
    hypotheses="-g_c < beta, g_w < beta; every shaper, the bonus and its H form being (g, -g) with g > -beta",
    source=PAPER + " (re-parameterisation as summarised); global terms ours",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:sampling_exponents",
        "(kl_strength - strengths.gamma_i",
        "(kl_strength + strengths.gamma_i",
    ),
)
def sampling_reference_tempers(rng: np.random.Generator) -> Evidence:
    """At the fixed point the advantage s(log p) - beta (log p - log b) equals one number mu for all answers.

    Solve the equation for log p and subtract two answers of the same kind. The H form adds -g log p - g to the
    slope of the objective, which is the bonus up to a constant.
    """
    lb_i, lb_j, lp, mu = sp.symbols("lb_i lb_j lp mu", real=True)
    residuals = []
    for shaper, strengths in _symbolic_shapers():
        exponents = optima.sampling_exponents(beta, strengths)
        for correct, exponent in ((1, exponents.correct), (0, exponents.wrong)):
            solved = [sp.solve(shaper(lp, correct) - beta * (lp - lb) - mu, lp)[0] for lb in (lb_i, lb_j)]
            residuals.append(solved[0] - solved[1] - exponent * (lb_i - lb_j))
    p = sp.Symbol("p", positive=True)
    entropy_slope = sp.diff(-g * p * sp.log(p), p)
    residuals.append(entropy_slope - (shaping.entropy_bonus(0, sp.log(p), 0, strength=g) - g))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "A3.3",
    "DS with base reference inverts the order of the correct answers exactly when g_c > beta.",
    latex=r"g_c>\beta\iff(b_i>b_j\Rightarrow p^*_i<p^*_j\text{ on }C)",
    hypotheses="beta > 0, g_c != beta, answers not tied",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def strong_base_smoothing_inverts(rng: np.random.Generator) -> Evidence:
    """The exponent 1 - g_c/beta is negative exactly when g_c > beta. The margin counts wrongly ordered pairs."""

    def violation(problem: Problem) -> float:
        strength = instances.kl_strengths(rng)
        ratio = float(rng.choice([0.999, 1.001, rng.uniform(0.0, 0.999), rng.uniform(1.001, 3.0)]))
        policy = optima.base_optimum(problem, strength, Strengths(ratio * strength, 0.0))
        before, after = (
            np.subtract.outer(log[problem.is_correct], log[problem.is_correct])
            for log in (problem.base_log_policy, policy)
        )
        is_clear = before > 1e-6  # closer pairs are ties in float64
        return float(((after > 0) != (ratio < 1.0))[is_clear].sum())

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200, min_correct=2))


@ledger.claim(
    "A3.4",
    "For g_w < beta, g_c > -beta the sampling-reference fixed point is the unique global maximum of its potential.",
    latex=r"\Phi(p)-\beta\,\mathrm{KL}(p\|b)\ \text{strictly concave},\ \nabla=0\text{ at }p^*",
    hypotheses="sampling reference; DS, and global terms (g, -g) with g > -beta",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:sampling_fixed_point",
        "+ gap * problem.correct",
        "+ 2 * gap * problem.correct",
    ),
)
def sampling_fixed_point_is_the_maximum(rng: np.random.Generator) -> Evidence:
    """The update follows the gradient of the potential of B6 minus beta KL.

    On W its curvature is -(beta - g_w)/p, on C -(beta + g_c)/p: strictly concave, so a stationary point is the
    one maximum. Checked: all advantages equal at p*, and no nearer or farther competitor has a larger
    potential.
    """

    def violation(problem: Problem) -> float:
        strength, weight = instances.kl_strengths(rng), float(rng.exponential())
        lowered = float(rng.choice([weight, -rng.uniform(0.0, 0.95) * strength]))  # below 0: a penalty
        strengths = Strengths(lowered, float(rng.uniform(-2.0, 0.95)) * strength)
        log_policy = optima.sampling_optimum(problem, strength, strengths)
        advantage = dynamics.smoothing_advantage(log_policy, problem.correct, *strengths)
        advantage = advantage - strength * (log_policy - problem.base_log_policy)
        best = _regularised_potential(log_policy, problem, strength, strengths)
        scale = strength + weight + np.abs(advantage).max() + strength * np.abs(problem.base_log_policy).max()
        rivals = [
            policies.log_softmax(log_policy + size * rng.normal(size=log_policy.size))
            for size in (1e-3, 0.1, 1.0, 10.0)
        ]
        gains = [_regularised_potential(rival, problem, strength, strengths) - best for rival in rivals]
        return float(max(np.ptp(advantage), *gains) / scale)

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 120))


@ledger.claim(
    "A3.5",
    "For g_w > beta and at least two wrong answers, DS with sampling reference has no stable full-support point.",
    latex=r"\partial^2_{e_i-e_j}(\Phi-\beta\,\mathrm{KL})=(g_w-\beta)(1/p_i+1/p_j)>0\quad(i,j\in W)",
    hypotheses="g_w > beta, w >= 2, sampling reference",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:smoothing_potential", "gain - gamma_incorrect", "gain + gamma_incorrect"
    ),
)
def strong_charges_destabilise(rng: np.random.Generator) -> Evidence:
    """Moving mass between two wrong answers gains at second order.

    Move mass x from wrong answer j to wrong answer i: the second derivative of the potential minus beta KL is
    (g_w - beta)(1/p_i + 1/p_j), positive for g_w > beta, so no interior point is a maximum of the ascended
    function.
    """
    p_i, p_j, x, lb_i, lb_j = sp.symbols("p_i p_j x lb_i lb_j", positive=True)
    moved = np.array([p_i + x, p_j - x])
    logs = np.array([sp.log(p_i + x), sp.log(p_j - x)])
    potential = dynamics.smoothing_potential(moved, logs, np.array([0, 0]), g_c, g_w)
    cost = beta * (moved * (logs - np.array([lb_i, lb_j]))).sum()
    curvature = sp.diff(potential - cost, x, 2).subs(x, 0)
    return ledger.symbolic([curvature - (g_w - beta) * (1 / p_i + 1 / p_j)], rng)


def _logit(log_policy: Floats, problem: Problem) -> float:
    return policies.logit_correctness(log_policy, problem.correct)


def _regularised_potential(log_policy: Floats, problem: Problem, strength: float, strengths: Strengths) -> float:
    potential = dynamics.smoothing_potential(np.exp(log_policy), log_policy, problem.correct, *strengths)
    return float(potential - strength * divergences.kl(log_policy, problem.base_log_policy))


def _log_weight(score: sp.Expr, log_base: sp.Expr) -> sp.Expr:
    return optima.optimum_log_weights(log_base, score, beta)


def _symbolic_shapers() -> list[tuple[Callable[[Any, Any], Any], Strengths]]:
    """Every shaper as a function (log-probability, correct) -> score, with its strengths as differential smoothing."""
    return [
        (lambda log, right: shaping.vanilla(right, log, right), optima.vanilla_strengths()),
        (lambda log, right: shaping.entropy_bonus(right, log, right, strength=g), optima.bonus_strengths(g)),
        (
            lambda log, right: shaping.entropy_penalty(right, log, right, strength=g),
            optima.bonus_strengths(-g),
        ),
        (
            lambda log, right: shaping.differential_smoothing(
                right, log, right, gamma_correct=g_c, gamma_incorrect=g_w
            ),
            Strengths(g_c, g_w),
        ),
    ]
