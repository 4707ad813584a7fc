"""Claims F2, F3 and F5: updates that even out correct answers, what they cost, and what noise leaves of it."""

from __future__ import annotations

import itertools

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.claims import ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.flow import dynamics, evening, smoothing
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods import sharing, terms
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
SMALL = 1e-4  # log-ratio at which a first order is taken, from both sides
FIRST_ORDER = 1e-6  # relative; what the second order leaves of that
LARGE_GROUPS = (64, 128)
EXTRAPOLATED = 5e-3  # what two groups of that size leave of a limit whose error falls as 1/G


def drawn(rng: np.random.Generator, num_correct: int, num_wrong: int, least: float) -> Problem:
    """A random policy, correct answers first, none rarer than `least`."""
    share = rng.dirichlet(np.ones(num_correct + num_wrong))
    policy = least + (1 - least * share.size) * share
    return policies.problem_from_probabilities(policy, [1] * num_correct + [0] * num_wrong)


@ledger.claim(
    "F2.1",
    "A_i = r_i - B + rho 1_C (1-B)/(m p_i), B the mean of the others, has at every G >= 2 d log(p_i/p_j)/dt = "
    "-(rho-1)(1-Q)(p_i-p_j) on C, d logit Q/dt = (1-Q)(rho/m - (rho-1) E_C p) + E_W p (Q + rho (1-Q)).",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=-(\rho-1)(1-Q)(p_i-p_j),\ \tfrac{d}{dt}\operatorname{logit}Q=(1-Q)"
    r"\bigl(\tfrac\rho m-(\rho-1)E_Cp\bigr)+E_Wp\,(Q+\rho(1-Q))",
    hypotheses="expected first-order step, softmax gradient; m the number of correct answers, known",
    source=OURS,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.methods.sharing:evened", "(1 - others)", "(1 - reward)"),
)
def evened_steps(rng: np.random.Generator) -> Evidence:
    """The others are independent of a sample's answer, so E B = Q and a_i = r_i - Q + rho r_i (1-Q)/(m p_i).

    Their mean under p is rho (1-Q). Thus dz_i = (1-Q) (rho/m - (rho-1) p_i) on C and -p_i (Q + rho (1-Q)) on W; the
    differences on C, and E_C dz - E_W dz, are the claimed. All groups of 2 to 4 samples are listed with the method's
    own function, for rho from 0 to 3; the margin is relative to the largest rate of the policy.
    """
    violations = []
    for group_size, num_correct in itertools.product((2, 3, 4), (2, 3)):
        problem = drawn(rng, num_correct, 2, 1e-3)
        policy, mass = np.exp(problem.base_log_policy), policies.correctness(problem.base_log_policy, problem.correct)
        strength = float(rng.uniform(0.0, 3.0))
        parameters = {"num_solutions": num_correct, "strength": strength}
        flow = expected_flow.ExpectedFlow(sharing.evened, problem, parameters, group_size)
        scale = np.abs(flow.rates(problem.base_log_policy)).max()
        ratio = expected_flow.log_ratio_rate(flow, problem.base_log_policy, (0, 1))
        claimed = evening.evened_log_ratio_rate(policy[0], policy[1], mass, strength)
        logit = expected_flow.correctness_rate(flow, problem.base_log_policy)
        rise = evening.evened_logit_rate(policy, problem.correct, strength)
        violations += [abs(float(ratio) - claimed) / scale, abs(float(logit) - rise) / scale]
    return ledger.worst(violations)


@ledger.claim(
    "F2.2",
    "At rho = 1 it keeps every ratio on C; for 1 < rho <= m/(m-1) every pair of correct answers evens out and Q rises, "
    "at every policy.",
    latex=r"1<\rho\le\tfrac m{m-1}\Rightarrow\tfrac{d}{dt}\log\tfrac{p_i}{p_j}<0<\tfrac{d}{dt}\operatorname{logit}Q"
    r"\quad(p_i>p_j)",
    hypotheses="as F2.1, m >= 2; the variance of a step grows like 1/p, so this is no verdict on sampled training",
    source=OURS,
    kind="search",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.evening:largest_evening_strength", "(num_correct - 1)", "(num_correct - 1.9)"
    ),
)
def both_axes_rise(rng: np.random.Generator) -> Evidence:
    """E_C p < 1, so rho/m - (rho-1) E_C p > rho/m - (rho-1) >= 0 iff rho (1 - 1/m) <= 1; the part of W only adds.

    The search looks for a policy and a rho at which a rate has the wrong sign, and for rho = 1 for a ratio that moves.
    """
    instances = st.tuples(search.problems(min_correct=2), st.floats(0.0, 1.0))

    def violation(instance: tuple[Problem, float]) -> float:
        problem, place = instance
        policy, mass = np.exp(problem.base_log_policy), policies.correctness(problem.base_log_policy, problem.correct)
        highest = evening.largest_evening_strength(problem.correct.sum())
        strength = 1 + (highest - 1) * max(place, 1e-3)
        top, rare = np.sort(policy[problem.is_correct])[[-1, 0]]
        rise = evening.evened_logit_rate(policy, problem.correct, strength)
        move = evening.evened_log_ratio_rate(top, rare, mass, strength)
        kept = evening.evened_log_ratio_rate(top, rare, mass, 1)
        return float(max(-rise, move if top > rare and mass < 1 else 0.0, abs(kept)))

    return search.search(violation, instances, rng)


@ledger.claim(
    "F2.3",
    "Neither end can be moved: for rho < 1 the likelier of two correct answers gains at every policy, and for "
    "rho > m/(m-1) there are policies at which Q falls.",
    latex=r"\rho>\tfrac m{m-1}\Rightarrow\exists p:\tfrac{d}{dt}\operatorname{logit}Q<0",
    hypotheses="as F2.1; those policies have nearly all mass on one correct answer, and many wrong answers",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.evening:evened_logit_rate", "- (strength - 1)", "- strength"),
)
def the_ends_are_sharp(rng: np.random.Generator) -> Evidence:
    """As one correct answer takes all mass and wrong ones are many, the rate over 1-Q tends to rho/m - (rho-1).

    For m = 2 to 6 at 1.01 and .99 times m/(m-1), with 1e-6 of the correct mass elsewhere and 2,000 equal wrong answers;
    the margin counts wrong signs, of ratios at rho = .9 as well.
    """
    violations = []
    for num_correct in range(2, 7):
        mass = 1 - 10 ** float(rng.uniform(-6, -4))
        right = mass * np.append(1 - 1e-6, np.full(num_correct - 1, 1e-6 / (num_correct - 1)))
        wrong = np.full(2000, (1 - mass) / 2000)
        policy, correct = np.append(right, wrong), np.repeat([1.0, 0.0], [num_correct, 2000])
        limit = evening.largest_evening_strength(num_correct)
        signs = [evening.evened_logit_rate(policy, correct, factor * limit) > 0 for factor in (0.99, 1.01)]
        violations.append(float(signs != [True, False]))
        violations.append(float(not evening.evened_log_ratio_rate(right[0], right[1], mass, 0.9) > 0))
    return ledger.worst(violations)


@ledger.claim(
    "F3.1",
    "At Q = 1 and uniform on C every sampled step of DS is exactly 0 if the bonus is centred within the correct "
    "samples; uncentred it has the variance of E5.2.",
    latex=r"\Delta z=0\ \text{(centred)},\quad\operatorname{Var}(\Delta(z_i-z_j))=\frac{2\eta^2A^2}{Gm},\ A=g_c\log m",
    hypotheses="reference sampling, group baseline on the reward; below Q = 1 the reward's own noise is left (C6)",
    source=OURS,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.methods.terms:centred", "term - correct * total", "term + correct * total"),
)
def centred_noise_vanishes(rng: np.random.Generator) -> Evidence:
    """All samples are correct and equally likely: the reward less its mean is 0, and so is a bonus less its mean.

    All groups of 2 to 4 samples from 2 to 4 answers are listed with the method's own function, centred and not.
    """
    violations = []
    for num_correct, group_size in itertools.product((2, 3, 4), (2, 3, 4)):
        gamma, log_policy = float(rng.uniform(0.1, 3.0)), np.full(num_correct, -np.log(num_correct))
        moves = {centre: _steps(log_policy, group_size, gamma, centre)[:, :2] for centre in ("none", "correct_only")}
        differences = moves["none"][:, 0] - moves["none"][:, 1]
        claimed = smoothing.consensus_noise(1.0, gamma * np.log(num_correct), group_size, num_correct)
        violations += [float(np.abs(moves["correct_only"]).max()), abs(float((differences**2).mean()) / claimed - 1)]
    return ledger.worst(violations)


def _steps(log_policy: Floats, group_size: int, gamma: float, centre: str) -> Floats:
    """The logit step of every ordered group of correct answers, equally likely groups, (num_groups, num_arms)."""
    arms = np.array(list(itertools.product(range(log_policy.size), repeat=group_size)))
    ones = np.ones(arms.shape)
    advantage = terms.ds(
        reward=ones, correct=ones, log_prob=log_policy[arms], gamma_correct=gamma, centre=centre, normalise="none"
    )
    drawn = (arms[:, :, None] == np.arange(log_policy.size)).astype(float)
    total = np.einsum("gs,gsa->ga", advantage, drawn) / group_size
    return np.asarray(total - np.exp(log_policy) * total.sum(axis=1, keepdims=True))


@ledger.claim(
    "F3.2",
    "Near it, log-ratios shrink by 1 - eta g_c (1-1/G)/m a step in the mean; of two answers the mean square "
    "x^2 shrinks by 1 - 2h (1-1/G) + h^2 (1 - 2/G + (3G-2)/G^3), h = eta g_c/2, below 1 for every h < 1: no floor.",
    latex=r"E[\Delta x]=-\tfrac{\eta g_c}m(1-\tfrac1G)x,\quad E[x'^2]/x^2=1-2h(1-\tfrac1G)"
    r"+h^2\bigl(1-\tfrac2G+\tfrac{3G-2}{G^3}\bigr),\ h=\eta g_c/2",
    hypotheses="as F3.1, first order in the log-ratios; for the square m = 2",
    source=OURS,
    kind="enumeration",
    tolerance=FIRST_ORDER,
    mutant=Mutant(
        "sharpening.theory.flow.evening:centred_consensus_factor", "(1 - 1 / group_size)", "(1 + 1 / group_size)"
    ),
)
def centred_bonus_has_no_floor(rng: np.random.Generator) -> Evidence:
    """With d_i = log p_i + log m the step is -(eta g_c/G) n_i (d_i - mean d over the draws), linear in d.

    E n_i (d_i - mean) = (G-1) d_i/m. For m = 2 the log-ratio is multiplied by 1 - h (1 - v), v = ((2n-G)/G)^2 with E v
    = 1/G and E v^2 = (3G-2)/G^3, so by a number in [1-h, 1]. Groups of 2 to 6 are listed at small log-ratios of either
    sign. The margin holds the excess over 1 of the factor for h up to .999 as well.
    """
    violations = []
    for num_correct, group_size in itertools.product((2, 3), (2, 3, 6)):
        gamma, rate = float(rng.uniform(0.1, 1.5)), float(rng.uniform(0.1, 1.0))
        slope, square = [], []
        for sign in (1, -1):
            log_policy = policies.log_softmax(sign * SMALL * (np.arange(num_correct) == 0))
            arms = np.array(list(itertools.product(range(num_correct), repeat=group_size)))
            chance = np.exp(log_policy[arms].sum(axis=1))
            moves = rate * _steps(log_policy, group_size, gamma, "correct_only")
            factor = 1 + (moves[:, 0] - moves[:, 1]) / (log_policy[0] - log_policy[1])
            slope.append(chance @ factor)
            square.append(chance @ factor**2)
        claimed = evening.centred_consensus_factor(rate, gamma, num_correct, group_size)
        violations.append(abs(float(np.mean(slope)) - claimed))
        if num_correct == 2:
            violations.append(abs(float(np.mean(square)) - evening.centred_square_factor(rate, gamma, group_size)))
        worst = max(evening.centred_square_factor(h, 2.0, group_size) for h in np.linspace(1e-3, 0.999, 99))
        violations.append(float(worst >= 1))
    return ledger.worst(violations)


@ledger.claim(
    "F5.1",
    "Correct samples share the reward in proportion to p^-a. In large groups d log(p_i/p_j)/dt = Q (s_i - s_j) - "
    "Q (p_i - p_j), s the share in p^(1-a): vanilla at a = 0, and for a >= 1 every pair evens out.",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=Q(s_i-s_j)-Q(p_i-p_j),\quad s_i=p_i^{1-a}/\textstyle\sum_Cp^{1-a}",
    hypotheses="the group mean as baseline, G -> infinity at given p; softmax gradient, reference sampling",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.evening:shared_out_log_ratio_rate", "- correctness * policy_gap", "- policy_gap"
    ),
)
def shares_of_the_reward(rng: np.random.Generator) -> Evidence:
    """The weight of a correct sample tends to w_i = p_i^-a over its mean on C, which is Q p_i^-a/sum_C p^(1-a).

    So p_i w_i = Q s_i and E_p[r w] = Q: dz_i = Q s_i - Q p_i on C. At a = 0, s = p_C; for a >= 1 a likelier answer has
    no larger share, so both terms are against it. Two correct and two wrong answers, a = 0, 1/2, 1, 2 and free.
    """
    p = sp.symbols("p1:4", positive=True)
    policy = np.array([*p, 1 - sum(p)], dtype=object)
    mass, residuals = policy[0] + policy[1], []
    for exponent in (0, sp.Rational(1, 2), 1, 2, sp.Symbol("a", positive=True)):
        share = evening.escort_share(policy[:2], exponent)
        weight = mass * share / policy[:2]
        flow = dynamics.softmax_flow(policy, np.array([*(weight - mass), -mass, -mass], dtype=object))
        claimed = evening.shared_out_log_ratio_rate(share[0] - share[1], policy[0] - policy[1], mass)
        residuals.append(flow[0] - flow[1] - claimed)
        if exponent == 0:
            residuals.append(claimed - dynamics.vanilla_log_ratio_rate(policy[0], policy[1], mass, 1))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "F5.2",
    "The exact step of the method tends to that rate like 1/G; at finite G a lone correct sample keeps its reward, so "
    "even a = 1 sharpens below some Q: .35 at G = 8 and p_C = (3/4, 1/4).",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}\Big|_G=Q(s_i-s_j)-Q(p_i-p_j)+O(1/G)",
    hypotheses="every answer above .12; groups of 64 and 128, extrapolated in 1/G",
    source=OURS,
    kind="numeric",
    tolerance=EXTRAPOLATED,
    mutant=Mutant("sharpening.theory.methods.sharing:rarity_weight", "rarest - log_prob", "log_prob - rarest"),
)
def shares_in_finite_groups(rng: np.random.Generator) -> Evidence:
    """The mean weight over the drawn correct samples differs from that on C by order 1/sqrt(G), in the mean by 1/G.

    All multisets of 64 and of 128 samples from two correct and one wrong answer are listed with the method's own
    function, and 2 r_128 - r_64 compared with the claimed rate. The turning point at G = 8 lies between Q = .345 and
    .355.
    """
    violations = []
    for exponent in (0.3, 1.0, 1.7):
        problem = drawn(rng, 2, 1, 0.12)
        policy = np.exp(problem.base_log_policy)
        rates = [_rate(problem, exponent, group_size) for group_size in LARGE_GROUPS]
        share = evening.escort_share(policy[:2], exponent)
        mass = float(policy[:2].sum())
        claimed = evening.shared_out_log_ratio_rate(share[0] - share[1], policy[0] - policy[1], mass)
        violations.append(abs(2 * rates[1] - rates[0] - claimed))
    turns = [
        _rate(policies.problem_from_probabilities([0.75 * mass, 0.25 * mass, 1 - mass], [1, 1, 0]), 1.0, 8)
        for mass in (0.345, 0.355)
    ]
    return ledger.worst([*violations, float(not turns[0] > 0 > turns[1])])


def _rate(problem: Problem, exponent: float, group_size: int) -> float:
    """The rate d log(p_0/p_1)/dt of the method's exact step."""
    flow = expected_flow.ExpectedFlow(sharing.shared_out, problem, {"exponent": exponent}, group_size)
    return float(expected_flow.log_ratio_rate(flow, problem.base_log_policy, (0, 1)))


@ledger.claim(
    "F5.3",
    "It is bounded: in every group the correct samples' weights are at most their number and have mean 1, and no wrong "
    "sample is above a correct one.",
    latex=r"0\le w_i\le X,\ \textstyle\sum_{C}w_i=X\Rightarrow A_i\ge-\tfrac XG=A_j\quad(i\in C,\ j\in W)",
    hypotheses="any log-probabilities, exponent >= 0",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.methods.sharing:rarity_weight", "num_correct * share,", "share,"),
)
def shares_are_bounded(rng: np.random.Generator) -> Evidence:
    """The weights are X times shares that are at least 0 and add up to 1; the group mean is X/G whatever they are."""
    samples = st.tuples(st.booleans(), st.floats(-2000.0, 0.0))
    instances = st.tuples(st.lists(samples, min_size=2, max_size=8), st.floats(0.0, 3.0))

    def violation(instance: tuple[list[tuple[bool, float]], float]) -> float:
        marks, log_prob = (np.array([column]) for column in zip(*instance[0], strict=True))
        correct = marks.astype(np.float64)
        advantage = sharing.shared_out(reward=correct, correct=correct, log_prob=log_prob, exponent=instance[1])
        number = float(correct.sum())
        weights = (advantage + number / correct.size)[correct > 0]
        above = float(advantage[correct == 0].max(initial=-np.inf) - advantage[correct > 0].min(initial=np.inf))
        mean = abs(weights.mean() - 1) if number else 0.0
        return float(max(above, mean, weights.max(initial=0.0) - number, -weights.min(initial=0.0)))

    return search.search(violation, instances, rng, num_instances=100)
