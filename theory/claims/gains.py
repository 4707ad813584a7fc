"""Claims A4 and A5: what a global term and differential smoothing do to correctness at the optimum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory import policies
from sharpening.theory.claims import instances, ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, PRINTED, Evidence, Mutant
from sharpening.theory.optimum import optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
PAPER = "our reading of arXiv 2511.19942"
TEXTBOOK = "textbook"

beta, g, g_c, g_w = sp.symbols("beta g g_c g_w", positive=True)


@ledger.claim(
    "A4.1",
    "Bonus g in reward form, base reference: d logit Q/dg = (S_C - S_W)/beta, S under the tilted conditionals.",
    latex=r"\frac{d\operatorname{logit}Q}{dg}=\frac{S_C-S_W}{\beta}",
    hypotheses="beta > 0; S mean of -log b under p_C and p_W at that g; a bonus raises Q iff S_C > S_W",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:global_term_slope",
        "surprisal_correct - surprisal_wrong",
        "surprisal_wrong - surprisal_correct",
    ),
)
def bonus_slope(rng: np.random.Generator) -> Evidence:
    """Logit Q = 1/beta + log Z_C(s) - log Z_W(s) with s = 1 - g/beta, and d log Z/ds = -S: differentiate."""
    return ledger.symbolic([_slope_residual(optima.base_exponents, 1 / beta, optima.global_term_slope)], rng)


@ledger.claim(
    "A4.2",
    "Bonus g in H form: d logit Q/dg = (beta (S_C - S_W) - 1)/(beta + g)^2.",
    latex=r"\frac{d\operatorname{logit}Q}{dg}=\frac{\beta(S_C-S_W)-1}{(\beta+g)^2}",
    hypotheses="beta > 0, g > -beta; a bonus raises Q iff S_C - S_W > 1/beta",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.optimum.optima:entropy_form_slope", "(difference - 1)", "(difference + 1)"),
)
def entropy_form_slope(rng: np.random.Generator) -> Evidence:
    """Logit Q = 1/(beta+g) + log Z_C(s) - log Z_W(s) with s = beta/(beta+g): differentiate."""
    return ledger.symbolic([_slope_residual(optima.sampling_exponents, 1 / (beta + g), optima.entropy_form_slope)], rng)


@ledger.claim(
    "A4.3",
    "At g = 0: S_C - S_W = H(b_C) - H(b_W) - logit Q_b; solution multiplicity enters as H(b_C).",
    latex=r"S_C-S_W=H(b_C)-H(b_W)-\operatorname{logit}Q_b",
    hypotheses="b > 0",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.optimum.optima:surprisal_gap_from_entropies", "- logit", "+ logit"),
)
def surprisal_gap(rng: np.random.Generator) -> Evidence:
    """-log b = -log b_C - log Q_b on C; take the mean under b_C, and the same on W."""

    def violation(problem: Problem) -> float:
        right, wrong = (problem.base_log_policy[mask] for mask in (problem.is_correct, ~problem.is_correct))
        gap = policies.mean_surprisal(right) - policies.mean_surprisal(wrong)
        entropies = [float(policies.entropy(policies.log_softmax(part))) for part in (right, wrong)]
        logit = _logit(problem.base_log_policy, problem)
        claimed = optima.surprisal_gap_from_entropies(entropies[0], entropies[1], logit)
        return float(abs(gap - claimed) / (1 + abs(gap)))

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200))


@ledger.claim(
    "A4.4",
    "The sign can change with g: b = (.49, 10 x .001 | .25, .25), beta 1 has Q = .731, .721, .734, .903 at g "
    "= 0, .1, .5, .9.",
    latex=r"Q(g)=.731,.721,.734,.903\ \text{at}\ g=0,.1,.5,.9",
    hypotheses="reward form, base reference",
    source=OURS,
    kind="numeric",
    tolerance=PRINTED,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:bonus_strengths",
        "Strengths(strength, -strength)",
        "Strengths(strength, strength)",
    ),
)
def sign_change_example(rng: np.random.Generator) -> Evidence:
    """The rare correct answers gain weight as b^(1-g): at first the wrong answers gain more, later the ten of them."""
    problem = policies.problem_from_probabilities([0.49, *[0.001] * 10, 0.25, 0.25], [1] * 11 + [0] * 2)
    pairs = ((0.0, 0.731), (0.1, 0.721), (0.5, 0.734), (0.9, 0.903))
    found = [_correctness(optima.base_optimum(problem, 1.0, optima.bonus_strengths(g)), problem) for g, _ in pairs]
    text = "Q = " + ", ".join(f"{value:.4f}" for value in found)
    return ledger.worst((abs(value - q) for value, (_, q) in zip(found, pairs, strict=True)), text)


@ledger.claim(
    "A5.1",
    "DS with base reference: logit Q - logit Q_vanilla = log Z_C(s)/Z_C(1) + log Z_W(1)/Z_W(t), and it is above 0.",
    latex=r"\operatorname{logit}Q_{DS}-\operatorname{logit}Q=\log\frac{Z_C(s)}{Z_C(1)}+\log\frac{Z_W(1)}{Z_W(t)}>0",
    hypotheses="s <= 1 <= t (g_c, g_w >= 0), not both 1; equality only at s = t = 1",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:base_exponents",
        "1 + strengths.gamma_incorrect",
        "1 - strengths.gamma_incorrect",
    ),
)
def base_smoothing_raises_correctness(rng: np.random.Generator) -> Evidence:
    """Z_C and Z_W fall as the exponent goes up, because every b is below 1. The search draws s and t.

    Strictly: log Z is convex with slope -S, so its tangents give a gain of at least (1-s) S_C(1) + (t-1) S_W(t),
    which is 0 only at s = t = 1. The margin includes this bound.
    """

    def violation(drawn: tuple[Problem, float, float, float]) -> float:
        problem, strength, ratio_c, ratio_w = drawn
        strengths = Strengths(ratio_c * strength, ratio_w * strength)
        exponents = optima.base_exponents(strength, strengths)
        gain = optima.logit_gain_base(problem, exponents)
        right, wrong = (problem.base_log_policy[mask] for mask in (problem.is_correct, ~problem.is_correct))
        least = ratio_c * policies.mean_surprisal(right) + ratio_w * policies.mean_surprisal(wrong, 1 + ratio_w)
        after = _logit(optima.base_optimum(problem, strength, strengths), problem)
        before = _logit(problem.base_log_policy, problem) + 1 / strength
        return max(abs(after - before - gain), least - gain) / (1 + abs(after) + abs(before))

    return search.search(violation, search.problems_with_strengths(), rng)


@ledger.claim(
    "A5.2",
    "DS with sampling reference: the gain over vanilla is log [sum_C b p^(-g_c/beta) / Z_C] + log [Z_W / "
    "sum_W b p^(g_w/beta)] >= 0.",
    latex=r"\log\frac{\sum_C b\,p^{-g_c/\beta}}{Z_C(1)}+\log\frac{Z_W(1)}{\sum_W b\,p^{g_w/\beta}}\ge 0",
    hypotheses="g_c >= 0, 0 <= g_w < beta; p the fixed point",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:logit_gain_sampling",
        "right - strengths.gamma_correct",
        "right + strengths.gamma_correct",
    ),
)
def sampling_smoothing_raises_correctness(rng: np.random.Generator) -> Evidence:
    """Sum the stationarity condition over C and over W.

    At the fixed point p = b exp((1-mu)/beta) p^(-g_c/beta) on C and p = b exp(-mu/beta) p^(g_w/beta) on W: sum
    each, divide. Every p is below 1, so both logs are at least 0.
    """

    def violation(drawn: tuple[Problem, float, float, float]) -> float:
        problem, strength, ratio_c, ratio_w = drawn
        strengths = Strengths(ratio_c * strength, min(ratio_w, 0.9) * strength)
        log_policy = optima.sampling_optimum(problem, strength, strengths)
        gain = optima.logit_gain_sampling(problem, log_policy, strength, strengths)
        after, before = _logit(log_policy, problem), _logit(problem.base_log_policy, problem) + 1 / strength
        return max(abs(after - before - gain) / (1 + abs(after) + abs(before)), -gain)

    return search.search(violation, search.problems_with_strengths(), rng)


@ledger.claim(
    "A5.3",
    "At the same (beta, g, reference), DS with g_c = g >= 0 has the p_C of the bonus and at least its Q.",
    latex=r"g_c=g\Rightarrow p_C^{DS}=p_C^{bonus},\ Q_{DS}\ge Q_{bonus}",
    hypotheses="g >= 0, g_w >= 0 (below beta with sampling reference); the budgets KL(p||b) differ",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:bonus_strengths",
        "Strengths(strength, -strength)",
        "Strengths(strength / 2, -strength)",
    ),
)
def smoothing_beats_the_bonus(rng: np.random.Generator) -> Evidence:
    """Equal exponents on C, a larger one on W.

    The exponents on C agree (A3); on W the bonus has an exponent below 1 and DS one of at least 1, and Z_W
    falls with the exponent. With sampling reference the same comparison holds at the fixed point.
    """

    def violation(drawn: tuple[Problem, float, float, float]) -> float:
        problem, strength, ratio_c, ratio_w = drawn
        bonus = optima.bonus_strengths(ratio_c * strength)
        worst = 0.0
        for optimum, most in ((optima.base_optimum, np.inf), (optima.sampling_optimum, 0.9)):
            smooth = Strengths(ratio_c * strength, min(ratio_w, most) * strength)
            left, right = optimum(problem, strength, smooth), optimum(problem, strength, bonus)
            scale = 1 + abs(_logit(left, problem)) + abs(_logit(right, problem))
            conditionals = [policies.conditional(log, problem.correct, given_correct=True) for log in (left, right)]
            change = float(np.abs(np.exp(conditionals[0]) - np.exp(conditionals[1])).max())
            worst = max(worst, change, (_logit(right, problem) - _logit(left, problem)) / scale)
        return worst

    return search.search(violation, search.problems_with_strengths(), rng)


def _logit(log_policy: Floats, problem: Problem) -> float:
    return policies.logit_correctness(log_policy, problem.correct)


def _correctness(log_policy: Floats, problem: Problem) -> float:
    return policies.correctness(log_policy, problem.correct)


def _slope_residual(
    exponents_of: Callable[[Any, optima.Strengths], optima.Exponents], gap: sp.Expr, slope_of: Callable[..., Any]
) -> sp.Expr:
    """D logit Q/dg of two correct and two wrong answers, differentiated, minus the claimed slope."""
    logs = sp.symbols("lb1:5", real=True)
    s = exponents_of(beta, optima.bonus_strengths(g)).correct
    sums = [sp.exp(s * logs[0]) + sp.exp(s * logs[1]), sp.exp(s * logs[2]) + sp.exp(s * logs[3])]
    means = [
        -(logs[k] * sp.exp(s * logs[k]) + logs[k + 1] * sp.exp(s * logs[k + 1])) / total
        for k, total in zip((0, 2), sums, strict=True)
    ]
    derived = sp.diff(gap + sp.log(sums[0]) - sp.log(sums[1]), g)
    return derived - slope_of(*means, beta, g)
