"""Claim A7: when differential smoothing dominates a global bonus, and when it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from scipy.special import expit

from sharpening.theory import policies
from sharpening.theory.claims import instances, ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

OURS = "ours; our reading of Theorem 3.4 of arXiv 2511.19942"
NEARBY = 1e-6  # nats: how near the boundary of A7.2 the condition is tried


class Bonus(NamedTuple):
    """A drawn bonus: its problem, parameters, exponent, effective inverse strength and optimum."""

    problem: Problem
    kl_strength: float
    strength: float
    form: dominance.Form
    exponent: float
    inverse_strength: float
    log_policy: Floats

    @property
    def logit(self) -> float:
        """Logit Q of the optimum."""
        return policies.logit_correctness(self.log_policy, self.problem.correct)


def _bonus(problem: Problem, kl_strength: float, strength: float, form: dominance.Form) -> Bonus:
    log_policy = dominance.bonus_optimum(problem, kl_strength, strength, form)
    effective = kl_strength + (strength if form == "entropy" else 0.0)
    exponent = dominance.bonus_exponent(kl_strength, strength, form)
    return Bonus(problem, kl_strength, strength, form, exponent, 1 / effective, log_policy)


@st.composite
def bonuses(draw: st.DrawFn) -> Bonus:
    """A strategy of bonuses with exponents from 1 down to -1 (reward form) or to .05 (H form)."""
    problem, kl_strength, ratio, _ = draw(search.problems_with_strengths())
    if draw(st.booleans()):
        return _bonus(problem, kl_strength, min(ratio, 2.0) * kl_strength, "reward")
    return _bonus(problem, kl_strength, 6.0 * ratio * kl_strength, "entropy")


def _random_bonuses(rng: np.random.Generator, count: int) -> list[Bonus]:
    forms: tuple[dominance.Form, ...] = ("reward", "entropy")
    return [
        _bonus(problem, strength, strength * float(rng.uniform(0.05, 0.95)), forms[index % 2])
        for index, problem in enumerate(instances.problems(rng, count))
        for strength in [instances.kl_strengths(rng)]
    ]


@ledger.claim(
    "A7.1.1",
    "With an adjustable reward gap, DS with g_w = 0 has the bonus's Q and p_C, p_W = b_W, and costs no more "
    "in 12 divergences.",
    latex=r"Q_{DS}=Q,\ p_C^{DS}=p_C,\ p_W^{DS}=b_W,\ D(p^{DS}\|b)\le D(p\|b)",
    hypotheses="bonus g >= 0 in reward or H form; gap of any size; every f- and Renyi divergence, both orders",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.optimum.dominance:needed_tilt_base", "- policies.log_p", "+ policies.log_p"),
)
def adjustable_gap_dominates(rng: np.random.Generator) -> Evidence:
    """Choose g_DS/beta = 1 - s and gap/beta = logit Q - log Z_C(s) + log Z_W(1).

    The DS optimum, computed from its shaped reward, then has the bonus's Q and p_C with p_W = b_W, and A6.2
    says that nothing is cheaper. (A centred or adjustable gap is needed: A7.3. A baseline over the whole group
    shifts C and W alike and does not change the gap.)
    """

    def violation(bonus: Bonus) -> float:
        gap = dominance.needed_tilt_base(bonus.problem, bonus.logit, bonus.exponent)
        smooth = optima.base_optimum(bonus.problem, 1.0, Strengths(1 - bonus.exponent, 0.0), gap)
        wanted = optima.cheapest_at(bonus.problem, bonus.log_policy)
        distances = [
            d(np.array([smooth, bonus.log_policy]), bonus.problem.base_log_policy)
            for d in divergences.DIVERGENCES.values()
        ]
        excess = max((d[0] - d[1]) / (1 + abs(d[1])) for d in distances)
        return float(max(np.abs(smooth - wanted).max() / (1 + np.abs(wanted).max()), excess))

    return search.search(violation, bonuses(), rng)


@ledger.claim(
    "A7.1.2",
    "The saving is (1-Q) KL(p_W||b_W), (1-Q_b) KL(b_W||p_W), (1-Q)^2/(1-Q_b) chi2(p_W||b_W) in KL(p||b), "
    "KL(b||p), chi2(p||b).",
    latex=r"(1-Q)\mathrm{KL}(p_W\|b_W),\ (1-Q_b)\mathrm{KL}(b_W\|p_W),\ \tfrac{(1-Q)^2}{1-Q_b}\chi^2(p_W\|b_W)",
    hypotheses="same Q and p_C, p_W replaced by b_W",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.divergences:wrong_part_saving",
        "(1 - correctness) ** 2 / (1",
        "(1 - correctness) / (1",
    ),
)
def savings(rng: np.random.Generator) -> Evidence:
    """Only the W part of each sum changes. With p_W = (y, 1-y), b_W = (z, 1-z): write both sums out and subtract."""
    q, q_b, y, z = sp.symbols("Q Q_b y z", positive=True)
    p_wrong, b_wrong = (y, 1 - y), (z, 1 - z)

    def part(
        term: Callable[[sp.Expr, sp.Expr], sp.Expr], left: tuple[sp.Expr, ...], right: tuple[sp.Expr, ...]
    ) -> sp.Expr:
        return sum(term((1 - q) * p, (1 - q_b) * b) for p, b in zip(left, right, strict=True))

    terms: dict[str, Callable[[sp.Expr, sp.Expr], sp.Expr]] = {
        "KL(p||b)": lambda p, b: p * (sp.log(p) - sp.log(b)),
        "KL(b||p)": lambda p, b: b * (sp.log(b) - sp.log(p)),
        "chi2(p||b)": lambda p, b: p**2 / b,
    }
    inside = {name: sum(term(p, b) for p, b in zip(p_wrong, b_wrong, strict=True)) for name, term in terms.items()}
    inside["chi2(p||b)"] -= 1
    claimed = divergences.wrong_part_saving(q, q_b, inside)
    return ledger.symbolic(
        [part(term, p_wrong, b_wrong) - part(term, b_wrong, b_wrong) - claimed[name] for name, term in terms.items()],
        rng,
    )


@ledger.claim(
    "A7.1.3",
    "At equal budget the saving buys strictly more Q in every strictly convex divergence; for total variation it can "
    "be 0.",
    latex=r"D\ \text{strictly convex},\ p_W\ne b_W\Rightarrow Q_{DS}>Q\ \text{at equal}\ D(\cdot\|b)",
    hypotheses="bonus g > 0 with b_W not constant, Q <= .9999",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.optimum.optima:cheapest_at", "tempered(wrong, 1)", "tempered(wrong, 0.2)"),
)
def savings_buy_correctness(rng: np.random.Generator) -> Evidence:
    """The cost is continuous in Q at fixed p_C and p_W = b_W, and below the budget at the bonus's Q (A6.3).

    The margin counts bonuses and divergences for which the cheap policy saves nothing, the frontier at equal
    budget has no larger Q, or its policy does not cost the budget; plus the saving in total variation of one
    bonus whose wrong answers all lose mass.
    """

    def broken(bonus: Bonus) -> float:
        cheap, base = optima.cheapest_at(bonus.problem, bonus.log_policy), bonus.problem.base_log_policy
        return float(sum(not _gains(bonus, cheap, d, base) for d in divergences.STRICTLY_CONVEX.values()))

    problems = [Problem(instances.smooth(rng, 5), np.array([1.0, 1.0, 0.0, 0.0, 0.0])) for _ in range(12)]
    forms: tuple[dominance.Form, ...] = ("entropy", "reward")
    drawn = [_bonus(problem, 1.0, float(rng.uniform(0.2, 0.8)), form) for problem in problems for form in forms]
    even = policies.problem_from_probabilities([0.5, 0.3, 0.2], [1, 0, 0])
    tie = _bonus(even, 0.5, 0.05, "reward")
    cheap = optima.cheapest_at(even, tie.log_policy)
    gap = divergences.total_variation(np.array([tie.log_policy, cheap]), even.base_log_policy)
    is_tied = abs(gap[0] - gap[1]) < FLOAT64
    return ledger.worst([*(broken(bonus) for bonus in drawn), float(not is_tied)])


def _gains(bonus: Bonus, cheap: Floats, distance: divergences.Divergence, base: Floats) -> bool:
    """Whether the cheap policy saves, and the frontier has a larger Q at the same budget (or Q -> 1 within it)."""
    budget = distance(bonus.log_policy, base)
    logit = dominance.logit_at_budget(bonus.problem, bonus.log_policy, distance)
    right, wrong = (policies.conditional(cheap, bonus.problem.correct, given_correct=side) for side in (True, False))
    top = min(logit, dominance.LARGEST_LOGIT)
    spent = distance(policies.compose(top, right, wrong, bonus.problem.correct), base)
    is_spent = abs(spent - budget) < FLOAT64 * (1 + budget) if np.isfinite(logit) else spent <= budget
    return bool(distance(cheap, base) < budget and logit > bonus.logit and is_spent)


@ledger.claim(
    "A7.1.4",
    "Centring log b by its mean under p_C gives logit Q = logit Q_b + 1/beta - KL(p_C||b_C), and still "
    "dominates in KL(p||b).",
    latex=r"\operatorname{logit}Q=\operatorname{logit}Q_b+1/\beta-\mathrm{KL}(p_C\|b_C)",
    hypotheses="base reference, gap 1, g_w = 0, beta free; same p_C",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.optimum.dominance:centred_logit", "- inside", "+ inside"),
)
def centring_dominates_in_kl(rng: np.random.Generator) -> Evidence:
    """Centring makes the tilt minus the KL inside C.

    Centring adds g sum p_C log b to the gap, which turns log Z_C(s) into H(p_C) - S_C = -KL(p_C||b_C) + log
    Q_b. At that Q the KL cost at given p_C is least for 1/beta -> 0. So if the bonus's Q is above it, some beta
    > 0 gives the same Q; if below, 1/beta -> 0 gives a larger Q at the least cost (here 1/beta = 1e-8, whose
    square is what it costs more).
    """

    def violation(bonus: Bonus) -> float:
        problem = bonus.problem
        inverse = dominance.centred_inverse_strength(problem, bonus.log_policy, 1e-8)
        logit = dominance.centred_logit(problem, bonus.log_policy, inverse)
        right = problem.base_log_policy[problem.is_correct]
        gap = 1 - (1 - bonus.exponent) / inverse * policies.mean_surprisal(right, bonus.exponent)
        strengths = Strengths((1 - bonus.exponent) / inverse, 0.0)
        smooth = optima.base_optimum(problem, 1 / inverse, strengths, gap)
        found = policies.logit_correctness(smooth, problem.correct)
        cost = divergences.kl(np.array([smooth, bonus.log_policy]), problem.base_log_policy)
        scale = 1 + abs(logit) + np.abs(right).max()
        return float(max(abs(found - logit), bonus.logit - logit, cost[0] - cost[1]) / scale)

    return search.search(violation, bonuses(), rng)


@ledger.claim(
    "A7.1.5",
    "Centring does not always dominate in chi-squared: b = (.94, .01 | .02, .03), H form, beta .9, g 9.",
    latex=r"\chi^2(p^{DS}_{\text{centred}}\|b)>\chi^2(p\|b)\ \text{for every}\ \beta'>0",
    hypotheses="as A7.1.4; one explicit instance, every beta' > 0",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.optimum.dominance:centred_logit", "+ inverse_strength", "- inverse_strength"),
)
def centring_can_fail_in_chi_squared(rng: np.random.Generator) -> Evidence:
    """The centred policy has at least the Q that is cheapest in KL, which is far from the cheapest in chi-squared.

    By A7.1.4 its logit Q is that at beta' -> infinity plus 1/beta', so every beta' > 0 gives a Q above Q_0, that of
    beta' -> infinity. At given p_C, with p_W = b_W, chi-squared is a parabola in Q, sum_C p_C^2/b Q^2 + (1-Q)^2/(1-Q_b)
    - 1, so the cheapest is at Q_0 or at its vertex, whichever is larger. The margin is by how much that stays below the
    bonus's cost (0: not), and 1 where parabola and divergence differ, or a 1/beta' of 1 adds no 1 to logit Q.
    """
    problem = policies.problem_from_probabilities([0.94, 0.01, 0.02, 0.03], [1, 1, 0, 0])
    bonus = _bonus(problem, 0.9, 9.0, "entropy")
    right = policies.conditional(bonus.log_policy, problem.correct, given_correct=True)
    wrong = policies.conditional(problem.base_log_policy, problem.correct, given_correct=False)
    budget = divergences.chi_squared(bonus.log_policy, problem.base_log_policy)
    base_right = np.exp(problem.base_log_policy[problem.is_correct])
    curvature, failure = float((np.exp(2 * right) / base_right).sum()), float(1 - base_right.sum())

    def parabola(mass: float) -> float:
        return mass**2 * curvature + (1 - mass) ** 2 / failure - 1

    least, later = (dominance.centred_logit(problem, bonus.log_policy, x) for x in (0.0, 1.0))
    gaps = []
    for logit in (least, later):
        policy = policies.compose(logit, right, wrong, problem.correct)
        gaps.append(abs(divergences.chi_squared(policy, problem.base_log_policy) / parabola(float(expit(logit))) - 1))
    cheapest = parabola(max(float(expit(least)), 1 / (1 + curvature * failure)))
    beyond = [float(not gap < FLOAT64) for gap in (*gaps, abs(later - least - 1))]
    return ledger.worst([budget - cheapest, *beyond], f"bonus {budget:.3f}, cheapest centred DS above {cheapest:.3f}")


@ledger.claim(
    "A7.2.1",
    "With gap 1, DS (g_w = 0) reaches the bonus's Q and p_C iff e^(1/beta_eff) > Z_W(s)/Z_W(1), base "
    "reference; then it dominates.",
    latex=r"e^{1/\beta_{eff}}>Z_W(s)/Z_W(1)",
    hypotheses="s in (0, 1]; beta_eff = beta (reward form) or beta + g (H form); beta_DS free",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.optimum.dominance:literal_slack", "inverse_strength - growth", "inverse_strength"),
)
def literal_base_condition(rng: np.random.Generator) -> Evidence:
    """Equal Q and p_C force 1/beta_DS = 1/beta_eff - log Z_W(s)/Z_W(1).

    Where that is positive the optimum of the literal reward is computed and compared; where it is not, the
    whole range of beta_DS misses Q from above.
    """
    drawn = _random_bonuses(rng, 150)
    return ledger.worst(_literal_violation(bonus, "base") for bonus in drawn)


@ledger.claim(
    "A7.2.2",
    "With sampling reference the condition is e^(1/beta_eff) > e^((1-s) mu) Z_W(s)/Z_W(1), Z_C(s) e^(-s mu) + "
    "Z_W(1) e^(-mu) = 1.",
    latex=r"e^{1/\beta_{eff}}>e^{(1-s)\mu}Z_W(s)/Z_W(1),\quad Z_C(s)e^{-s\mu}+Z_W(1)e^{-\mu}=1",
    hypotheses="as A7.2.1; it needs more than base reference because mu >= 0",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.dominance:literal_slack", "growth += (1 - exponent)", "growth -= (1 - exponent)"
    ),
)
def literal_sampling_condition(rng: np.random.Generator) -> Evidence:
    """At the fixed point log p = s (log b + 1/beta - mu) on C and log b - mu on W.

    Q rises with 1/beta at fixed s, from the Q of 1/beta = 0, whose mu solves the second equation: the bonus's Q
    must be larger. That the condition is never weaker than that of A7.2.1 is in the margin.
    """
    drawn = _random_bonuses(rng, 150)
    references: tuple[dominance.Reference, ...] = ("base", "sampling")
    slacks = [
        [dominance.literal_slack(b.problem, b.exponent, b.inverse_strength, reference) for b in drawn]
        for reference in references
    ]
    easier = np.subtract(slacks[1], slacks[0]).max()  # sampling minus base
    return ledger.worst([*(_literal_violation(bonus, "sampling") for bonus in drawn), float(easier)])


def _literal_violation(bonus: Bonus, reference: dominance.Reference) -> float:
    """0 if the slack's sign tells whether the literal policy exists, and the policy is as claimed where it does.

    The sign is also tried on either side of the boundary at which the slack vanishes.
    """
    problem, s = bonus.problem, bonus.exponent
    slack = dominance.literal_slack(problem, s, bonus.inverse_strength, reference)
    is_base = reference == "base"
    optimum = optima.base_optimum if is_base else optima.sampling_optimum
    needed = dominance.needed_tilt_base if is_base else dominance.needed_tilt_sampling
    for offset in (-NEARBY, NEARBY):  # the same problem and exponent, on either side of the boundary
        tilt = bonus.inverse_strength - slack + offset
        moved = policies.log_softmax(s * problem.base_log_policy + tilt * problem.correct)
        if (needed(problem, policies.logit_correctness(moved, problem.correct), s) > 0) != (offset > 0):
            return 1.0
    if abs(slack) < NEARBY:
        return 0.0

    def policy_at(inverse: float) -> Floats:
        ratio = (1 - s) if is_base else (1 / s - 1)
        return optimum(problem, 1 / inverse, Strengths(ratio / inverse, 0.0))

    if slack < 0:
        smallest = policies.logit_correctness(policy_at(1e-7), problem.correct)
        return max(0.0, bonus.logit - smallest)
    inverse = needed(problem, bonus.logit, s)
    if inverse <= 0:  # the condition promises a policy that does not exist
        return float(1 - inverse)
    smooth = policy_at(inverse)
    wanted = optima.cheapest_at(problem, bonus.log_policy)
    return float(np.abs(np.exp(smooth) - np.exp(wanted)).max())


@ledger.claim(
    "A7.2.3",
    "Sufficient: g log(w/(1-Q_b)) < 1, the bonus cannot outbid the reward; in H form for g >= 0, in reward "
    "form for g <= beta.",
    latex=r"g\log\frac{w}{1-Q_b}<1\Rightarrow e^{1/\beta_{eff}}>Z_W(s)/Z_W(1)",
    hypotheses="0 <= g (g <= beta in reward form), base reference",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.dominance:is_bonus_modest", "base_correctness)) < 1", "base_correctness)) < 3"
    ),
)
def modest_bonus_suffices(rng: np.random.Generator) -> Evidence:
    """A power mean bounds the growth of Z_W.

    By concavity Z_W(s)/Z_W(1) <= (w/(1-Q_b))^(1-s), equal for tied wrong answers; 1 - s is g/beta or
    g/(beta+g). Half of the drawn strengths sit just inside the condition, half at random; ties come from the
    search.
    """

    def violation(drawn: tuple[Problem, float, float, float]) -> float:
        problem, kl_strength, ratio, closeness = drawn
        num_wrong = int((problem.correct == 0).sum())
        base_correctness = policies.correctness(problem.base_log_policy, problem.correct)
        if base_correctness > 1 - 1e-9:
            return 0.0
        price = float(np.log(num_wrong / (1 - base_correctness)))
        edge = 2.9 if closeness > 1 else 0.999  # a weaker condition would let the first through
        worst = 0.0
        limits: tuple[tuple[dominance.Form, float], ...] = (("reward", kl_strength), ("entropy", np.inf))
        for form, most in limits:
            strength = min(ratio * kl_strength if closeness > 2 else edge / max(price, 1e-9), most, 1e6)
            is_modest = dominance.is_bonus_modest(strength, num_wrong, base_correctness)
            if not is_modest and strength * price < 0.9995:
                return 1.0  # a condition that is never met would hold of everything
            if not is_modest:
                continue
            exponent = dominance.bonus_exponent(kl_strength, strength, form)
            effective = kl_strength + (strength if form == "entropy" else 0.0)
            slack = dominance.literal_slack(problem, exponent, 1 / effective, "base")
            worst = max(worst, -slack * effective)
        return worst

    return search.search(violation, search.problems_with_strengths(), rng)
