"""Claims A1 to A6: the KL-regularised optimum of every shaper family."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp
from scipy.optimize import minimize

from theory import divergences, dynamics, optima, policies, shaping
from theory.claims import instances, ledger, search
from theory.claims.ledger import EXACT, FLOAT64, OPTIMISER, PRINTED, Evidence, Mutant
from theory.optima import Strengths
from theory.policies import Floats, Problem

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
    mutant=Mutant("theory.optima:optimum_log_weights", "score / kl_strength", "score * kl_strength"),
)
def tilt_is_the_optimum(rng: np.random.Generator) -> Evidence:
    """Write log p* = w - log Z with w = log b + s/beta. Then beta KL(p||p*) = beta sum p (log p - w) + beta log Z and
    F(p) = -beta sum p (log p - w), so F(p) + beta KL(p||p*) = beta log Z = F(p*) for every p; KL >= 0 does the rest.
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
    "A general-purpose optimiser started anywhere finds the same p* and no larger F.",
    latex=r"\arg\max_p F(p)=p^*",
    hypotheses="as A1.1; scores normal, beta in [.02, 1000]",
    source=TEXTBOOK,
    kind="numeric",
    tolerance=OPTIMISER,
    mutant=Mutant("theory.optima:optimum_log_weights", "score / kl_strength", "score * kl_strength"),
)
def optimiser_agrees(rng: np.random.Generator) -> Evidence:
    """The optimiser works on logits with the gradient p (s - beta (log p - log b) - mean); the margin is the amount
    by which it beats F(p*), or F(p*) beats it at its end, per unit of beta + spread of s.
    """

    def violation(problem: Problem) -> float:
        strength, score = instances.kl_strengths(rng), rng.normal(size=problem.correct.size)

        def objective_and_slope(logits: Floats) -> tuple[float, Floats]:
            log_policy = policies.log_softmax(logits)
            value = score - strength * (log_policy - problem.base_log_policy)
            policy = np.exp(log_policy)
            return float(-(policy * value).sum()), -policy * (value - (policy * value).sum())

        claimed = optima.optimum_log_weights(problem.base_log_policy, score, strength)
        start = rng.normal(size=score.size)
        options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-12}
        found = minimize(objective_and_slope, start, jac=True, method="L-BFGS-B", options=options)
        return abs(found.fun - objective_and_slope(claimed)[0]) / (strength + np.ptp(score))

    smooth = (Problem(instances.smooth(rng, 6), np.ones(6)) for _ in range(60))
    return ledger.worst(violation(problem) for problem in smooth)


@ledger.claim(
    "A2.1",
    "Vanilla RL leaves p_C = b_C at its exact optimum, for every beta: the optimum does not sharpen inside C.",
    latex=r"p^*_i/p^*_j=b_i/b_j\quad(i,j\in C)",
    hypotheses="beta > 0, at least two correct answers, b not constant on C",
    source="arXiv 2510.20817, Remark 4.3 as summarised",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("theory.shaping:vanilla", "return reward", "return reward - log_prob * correct / 10"),
)
def vanilla_keeps_the_correct_conditional(rng: np.random.Generator) -> Evidence:
    """log p*_i - log p*_j = log b_i - log b_j + (r_i - r_j)/beta, and r_i = r_j = 1 on C."""
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
    mutant=Mutant("theory.optima:base_optimum", "gap * problem.correct", "gap * problem.correct / 2"),
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
    "Base reference: p* ~ b^(1 - g_c/beta) on C and b^(1 + g_w/beta) on W; bonus g is (g, -g), penalty its negative.",
    latex=r"p^*_C\propto b^{1-g_c/\beta},\quad p^*_W\propto b^{1+g_w/\beta}",
    hypotheses="beta > 0; reward form with the base policy as reference",
    source=PAPER + " (exponents as summarised for DS; global terms ours)",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("theory.optima:base_exponents", "1 - strengths.gamma_correct", "1 + strengths.gamma_correct"),
)
def base_reference_tempers(rng: np.random.Generator) -> Evidence:
    """log p* = log b + s(log b)/beta + const and s is affine in log b, so the ratio of two answers of the same kind is
    the exponent times their log b ratio. Every shaper is put through the same line.
    """
    i, j = sp.symbols("lb_i lb_j", real=True)
    residuals = []
    for shaper, strengths in _symbolic_shapers():
        exponents = optima.base_exponents(beta, strengths)
        for correct, exponent in ((1, exponents.correct), (0, exponents.wrong)):
            ratio = _log_weight(shaper(i, correct), i) - _log_weight(shaper(j, correct), j)
            residuals.append(ratio - exponent * (i - j))
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
        "theory.optima:sampling_exponents", "(kl_strength - strengths.gamma_i", "(kl_strength + strengths.gamma_i"
    ),
)
def sampling_reference_tempers(rng: np.random.Generator) -> Evidence:
    """At the fixed point the advantage s(log p) - beta (log p - log b) equals one number mu for all answers. Solve the
    equation for log p and subtract two answers of the same kind. The H form adds -g log p - g to the slope of the
    objective, which is the bonus up to a constant.
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
    mutant=Mutant("theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def strong_base_smoothing_inverts(rng: np.random.Generator) -> Evidence:
    """The exponent 1 - g_c/beta is negative exactly when g_c > beta. The margin counts wrongly ordered pairs."""

    def violation(problem: Problem) -> float:
        strength = instances.kl_strengths(rng)
        ratio = float(rng.choice([rng.uniform(0.0, 0.9), rng.uniform(1.1, 3.0)]))
        policy = optima.base_optimum(problem, strength, Strengths(ratio * strength, 0.0))
        before, after = (np.subtract.outer(log[problem.is_correct], log[problem.is_correct]) for log in
                         (problem.base_log_policy, policy))
        is_clear = before > 1e-6  # closer pairs are ties in float64
        return float(((after > 0) != (ratio < 1.0))[is_clear].sum())

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200, min_correct=2))


@ledger.claim(
    "A3.4",
    "For g_w < beta the fixed point of DS with sampling reference is the unique global maximum of its potential.",
    latex=r"\Phi(p)-\beta\,\mathrm{KL}(p\|b)\ \text{strictly concave},\ \nabla=0\text{ at }p^*",
    hypotheses="g_c >= 0, 0 <= g_w < beta, sampling reference",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("theory.optima:sampling_fixed_point", "+ gap * problem.correct", "+ 2 * gap * problem.correct"),
)
def sampling_fixed_point_is_the_maximum(rng: np.random.Generator) -> Evidence:
    """The update follows the gradient of the potential of B6 minus beta KL. On W its curvature is -(beta - g_w)/p, on C
    -(beta + g_c)/p: strictly concave, so a stationary point is the one maximum. Checked: all advantages equal at p*,
    and no nearer or farther competitor has a larger potential.
    """

    def violation(problem: Problem) -> float:
        strength, weight, fraction = instances.kl_strengths(rng), rng.exponential(), rng.uniform(0.0, 0.95)
        strengths = Strengths(weight, fraction * strength)
        log_policy = optima.sampling_optimum(problem, strength, strengths)
        advantage = dynamics.smoothing_advantage(log_policy, problem.correct, *strengths)
        advantage = advantage - strength * (log_policy - problem.base_log_policy)
        best = _regularised_potential(log_policy, problem, strength, strengths)
        scale = strength + weight + np.abs(advantage).max() + strength * np.abs(problem.base_log_policy).max()
        rivals = [policies.log_softmax(log_policy + size * rng.normal(size=log_policy.size))
                  for size in (1e-3, 0.1, 1.0, 10.0)]
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
        "theory.dynamics:smoothing_potential", "gain - gamma_incorrect", "gain + gamma_incorrect"
    ),
)
def strong_charges_destabilise(rng: np.random.Generator) -> Evidence:
    """Move mass x from wrong answer j to wrong answer i: the second derivative of the potential minus beta KL is
    (g_w - beta)(1/p_i + 1/p_j), positive for g_w > beta, so no interior point is a maximum of the ascended function.
    """
    p_i, p_j, x, lb_i, lb_j = sp.symbols("p_i p_j x lb_i lb_j", positive=True)
    moved = np.array([p_i + x, p_j - x])
    logs = np.array([sp.log(p_i + x), sp.log(p_j - x)])
    potential = dynamics.smoothing_potential(moved, logs, np.array([0, 0]), g_c, g_w)
    cost = beta * (moved * (logs - np.array([lb_i, lb_j]))).sum()
    curvature = sp.diff(potential - cost, x, 2).subs(x, 0)
    return ledger.symbolic([curvature - (g_w - beta) * (1 / p_i + 1 / p_j)], rng)


@ledger.claim(
    "A4.1",
    "Bonus g in reward form, base reference: d logit Q/dg = (S_C - S_W)/beta, S under the tilted conditionals.",
    latex=r"\frac{d\operatorname{logit}Q}{dg}=\frac{S_C-S_W}{\beta}",
    hypotheses="beta > 0; S mean of -log b under p_C and p_W at that g; a bonus raises Q iff S_C > S_W",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "theory.optima:global_term_slope", "surprisal_correct - surprisal_wrong",
        "surprisal_wrong - surprisal_correct",
    ),
)
def bonus_slope(rng: np.random.Generator) -> Evidence:
    """logit Q = 1/beta + log Z_C(s) - log Z_W(s) with s = 1 - g/beta, and d log Z/ds = -S: differentiate."""
    return ledger.symbolic([_slope_residual(optima.base_exponents, 1 / beta, optima.global_term_slope)], rng)


@ledger.claim(
    "A4.2",
    "Bonus g in H form: d logit Q/dg = (beta (S_C - S_W) - 1)/(beta + g)^2.",
    latex=r"\frac{d\operatorname{logit}Q}{dg}=\frac{\beta(S_C-S_W)-1}{(\beta+g)^2}",
    hypotheses="beta > 0, g > -beta; a bonus raises Q iff S_C - S_W > 1/beta",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("theory.optima:entropy_form_slope", "(difference - 1)", "(difference + 1)"),
)
def entropy_form_slope(rng: np.random.Generator) -> Evidence:
    """logit Q = 1/(beta+g) + log Z_C(s) - log Z_W(s) with s = beta/(beta+g): differentiate."""
    return ledger.symbolic(
        [_slope_residual(optima.sampling_exponents, 1 / (beta + g), optima.entropy_form_slope)], rng
    )


@ledger.claim(
    "A4.3",
    "At g = 0: S_C - S_W = H(b_C) - H(b_W) - logit Q_b; solution multiplicity enters as H(b_C).",
    latex=r"S_C-S_W=H(b_C)-H(b_W)-\operatorname{logit}Q_b",
    hypotheses="b > 0",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("theory.optima:surprisal_gap_from_entropies", "- logit", "+ logit"),
)
def surprisal_gap(rng: np.random.Generator) -> Evidence:
    """-log b = -log b_C - log Q_b on C; take the mean under b_C, and the same on W."""

    def violation(problem: Problem) -> float:
        right, wrong = (problem.base_log_policy[mask] for mask in (problem.is_correct, ~problem.is_correct))
        gap = policies.mean_surprisal(right) - policies.mean_surprisal(wrong)
        entropies = [float(policies.entropy(policies.log_softmax(part))) for part in (right, wrong)]
        claimed = optima.surprisal_gap_from_entropies(*entropies, _logit(problem.base_log_policy, problem))
        return abs(gap - claimed) / (1 + abs(gap))

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200))


@ledger.claim(
    "A4.4",
    "The sign can change with g: b = (.49, 10 x .001 | .25, .25), beta 1 has Q = .731, .721, .734, .903 at g = 0, .1, .5, .9.",
    latex=r"Q(g)=.731,.721,.734,.903\ \text{at}\ g=0,.1,.5,.9",
    hypotheses="reward form, base reference",
    source=OURS,
    kind="numeric",
    tolerance=PRINTED,
    mutant=Mutant("theory.optima:bonus_strengths", "Strengths(strength, -strength)", "Strengths(strength, strength)"),
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
    mutant=Mutant("theory.optima:base_exponents", "1 + strengths.gamma_incorrect", "1 - strengths.gamma_incorrect"),
)
def base_smoothing_raises_correctness(rng: np.random.Generator) -> Evidence:
    """Z_C(s) falls and Z_W(t) rises as the exponent goes up, because every b is below 1. The search draws s and t."""

    def violation(drawn: tuple[Problem, float, float, float]) -> float:
        problem, strength, ratio_c, ratio_w = drawn
        strengths = Strengths(ratio_c * strength, ratio_w * strength)
        gain = optima.logit_gain_base(problem, optima.base_exponents(strength, strengths))
        after = _logit(optima.base_optimum(problem, strength, strengths), problem)
        before = _logit(problem.base_log_policy, problem) + 1 / strength
        error = abs(after - before - gain) / (1 + abs(after) + abs(before))
        return max(error, 0.0 if max(ratio_c, ratio_w) == 0.0 else -gain)

    return search.search(violation, search.problems_with_strengths(), rng)


@ledger.claim(
    "A5.2",
    "DS with sampling reference: the gain over vanilla is log [sum_C b p^(-g_c/beta) / Z_C] + log [Z_W / sum_W b p^(g_w/beta)] >= 0.",
    latex=r"\log\frac{\sum_C b\,p^{-g_c/\beta}}{Z_C(1)}+\log\frac{Z_W(1)}{\sum_W b\,p^{g_w/\beta}}\ge 0",
    hypotheses="g_c >= 0, 0 <= g_w < beta; p the fixed point",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "theory.optima:logit_gain_sampling", "right - strengths.gamma_correct", "right + strengths.gamma_correct"
    ),
)
def sampling_smoothing_raises_correctness(rng: np.random.Generator) -> Evidence:
    """At the fixed point p = b exp((1-mu)/beta) p^(-g_c/beta) on C and p = b exp(-mu/beta) p^(g_w/beta) on W: sum each,
    divide. Every p is below 1, so both logs are at least 0.
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
    mutant=Mutant("theory.optima:bonus_strengths", "Strengths(strength, -strength)", "Strengths(strength, 3 * strength)"),
)
def smoothing_beats_the_bonus(rng: np.random.Generator) -> Evidence:
    """The exponents on C agree (A3); on W the bonus has an exponent below 1 and DS one of at least 1, and Z_W falls with
    the exponent. With sampling reference the same comparison holds at the fixed point.
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


@ledger.claim(
    "A6.1",
    "KL(p||b) = kl(Q||Q_b) + Q KL(p_C||b_C) + (1-Q) KL(p_W||b_W).",
    latex=r"\mathrm{KL}(p\|b)=\mathrm{kl}(Q\|Q_b)+Q\,\mathrm{KL}(p_C\|b_C)+(1-Q)\,\mathrm{KL}(p_W\|b_W)",
    hypotheses="p, b > 0; two answers of each kind in the symbolic check",
    source=TEXTBOOK,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "theory.divergences:chain_rule", "correctness * kl_correct, (1 - correctness) * kl_wrong",
        "(1 - correctness) * kl_correct, correctness * kl_wrong",
    ),
)
def chain_rule_holds(rng: np.random.Generator) -> Evidence:
    """log p = log Q + log p_C on C and log(1-Q) + log p_W on W; collect. Q + (1-Q) = 1 is put in by parametrising with
    a mass per kind and conditionals (x, 1-x).
    """
    q, q_b, x, y, x_b, y_b = sp.symbols("Q Q_b x y x_b y_b", positive=True)

    def binary(a: sp.Expr, b: sp.Expr) -> sp.Expr:
        return a * (sp.log(a) - sp.log(b)) + (1 - a) * (sp.log(1 - a) - sp.log(1 - b))

    p = [q * x, q * (1 - x), (1 - q) * y, (1 - q) * (1 - y)]
    b = [q_b * x_b, q_b * (1 - x_b), (1 - q_b) * y_b, (1 - q_b) * (1 - y_b)]
    whole = sum(p_i * (sp.log(p_i) - sp.log(b_i)) for p_i, b_i in zip(p, b, strict=True))
    parts = divergences.chain_rule(q, binary(q, q_b), binary(x, x_b), binary(y, y_b))
    return ledger.symbolic([whole - sum(parts)], rng)


@ledger.claim(
    "A6.2",
    "At given Q and p_C nothing is cheaper than p_W = b_W, in twelve f- and Renyi divergences, in either order.",
    latex=r"D(p\|b)\ge D\big((Q,p_C,b_W)\,\|\,b\big)",
    hypotheses="p, b > 0; every f-divergence and every Renyi divergence",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("theory.optima:cheapest_at", "tempered(wrong, 1)", "tempered(wrong, 0.5)"),
)
def base_conditional_is_cheapest(rng: np.random.Generator) -> Evidence:
    """By Jensen: the W part of an f-divergence is a b-weighted mean of f(p/b), at least f of the mean, which p_W = b_W
    attains; Renyi divergences are monotone in such a mean.
    """

    def violation(drawn: tuple[Problem, Floats]) -> float:
        problem, log_policy = drawn
        cheap = optima.cheapest_at(problem, log_policy)
        pairs = [(distance(cheap, problem.base_log_policy), distance(log_policy, problem.base_log_policy))
                 for distance in divergences.DIVERGENCES.values()]
        return float(max((low - high) / (1 + abs(low)) for low, high in pairs))

    return search.search(violation, search.problems_with_policies(), rng)


@ledger.claim(
    "A6.3",
    "p_W = b_W is the only cheapest for strictly convex f; for total variation and Renyi infinity others cost the same.",
    latex=r"f\ \text{strictly convex},\ p_W\ne b_W\Rightarrow D(p\|b)>D\big((Q,p_C,b_W)\,\|\,b\big)",
    hypotheses="p_W visibly different from b_W; two explicit ties for the exceptions",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("theory.optima:cheapest_at", "tempered(wrong, 1)", "tempered(wrong, 0.5)"),
)
def cheapest_is_unique(rng: np.random.Generator) -> Evidence:
    """Strict Jensen. The ties: b = (.5 | .25, .25) and p = (.2 | .42, .38) has every wrong ratio above 1, so total
    variation is 1 - the lost correct mass either way; p = (.6 | .19, .21) has its largest ratio p/b on C.
    The margin counts broken strictness among random instances, plus the cost differences of the two ties.
    """

    def broken(problem: Problem) -> float:
        log_policy = policies.log_softmax(problem.base_log_policy + rng.normal(size=problem.correct.size))
        cheap = optima.cheapest_at(problem, log_policy)
        return float(sum(not distance(log_policy, problem.base_log_policy) > distance(cheap, problem.base_log_policy)
                         for distance in divergences.STRICTLY_CONVEX.values()))

    tie = policies.problem_from_probabilities([0.5, 0.25, 0.25], [1, 0, 0])
    exceptions = ((divergences.total_variation, [0.2, 0.42, 0.38]), (_renyi_infinity, [0.6, 0.19, 0.21]))
    gaps = [abs(distance(np.log(p), tie.base_log_policy)
                - distance(optima.cheapest_at(tie, np.log(p)), tie.base_log_policy)) for distance, p in exceptions]
    rounded = [0.0 if gap < FLOAT64 else gap for gap in gaps]
    return ledger.worst([*(broken(problem) for problem in _two_wrong(rng, 60)), *rounded])


def _two_wrong(rng: np.random.Generator, count: int) -> Iterator[Problem]:
    for _ in range(count):
        yield Problem(instances.smooth(rng, 5), np.array([1.0, 1.0, 0.0, 0.0, 0.0]))


def _renyi_infinity(log_policy: Floats, log_base: Floats) -> float:
    return float(divergences.renyi(log_policy, log_base, np.inf))


def _logit(log_policy: Floats, problem: Problem) -> float:
    return policies.logit_correctness(log_policy, problem.correct)


def _correctness(log_policy: Floats, problem: Problem) -> float:
    return policies.correctness(log_policy, problem.correct)


def _regularised_potential(log_policy: Floats, problem: Problem, strength: float, strengths: Strengths) -> float:
    potential = dynamics.smoothing_potential(np.exp(log_policy), log_policy, problem.correct, *strengths)
    return float(potential - strength * divergences.kl(log_policy, problem.base_log_policy))


def _log_weight(score: sp.Expr, log_base: sp.Expr) -> sp.Expr:
    return optima.optimum_log_weights(log_base, score, beta)


def _symbolic_shapers() -> list[tuple]:
    """Every shaper as a function (log-probability, correct) -> score, with its strengths as differential smoothing."""
    return [
        (lambda log, right: shaping.vanilla(right, log, right), optima.vanilla_strengths()),
        (lambda log, right: shaping.entropy_bonus(right, log, right, strength=g), optima.bonus_strengths(g)),
        (lambda log, right: shaping.entropy_penalty(right, log, right, strength=g), optima.bonus_strengths(-g)),
        (
            lambda log, right: shaping.differential_smoothing(
                right, log, right, gamma_correct=g_c, gamma_incorrect=g_w
            ),
            Strengths(g_c, g_w),
        ),
    ]


def _slope_residual(exponents_of, gap: sp.Expr, slope_of) -> sp.Expr:
    """d logit Q/dg of two correct and two wrong answers, differentiated, minus the claimed slope."""
    logs = sp.symbols("lb1:5", real=True)
    s = exponents_of(beta, optima.bonus_strengths(g)).correct
    sums = [sp.exp(s * logs[0]) + sp.exp(s * logs[1]), sp.exp(s * logs[2]) + sp.exp(s * logs[3])]
    means = [-(logs[k] * sp.exp(s * logs[k]) + logs[k + 1] * sp.exp(s * logs[k + 1])) / total
             for k, total in zip((0, 2), sums, strict=True)]
    derived = sp.diff(gap + sp.log(sums[0]) - sp.log(sums[1]), g)
    return derived - slope_of(*means, beta, g)
