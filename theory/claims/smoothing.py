"""Claim E3: when differential smoothing reverses sharpening, and when it cannot."""

from __future__ import annotations

import itertools
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory import policies
from sharpening.theory.claims import instances, ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, PRINTED, Evidence, Mutant
from sharpening.theory.flow import dynamics, smoothing
from sharpening.theory.groups import expectations
from sharpening.theory.methods import baselines
from sharpening.theory.policies import Problem

OURS = "ours"

EXAMPLE = Problem(np.log([0.3, 0.1, 0.4, 0.2]), np.array([1.0, 1.0, 0.0, 0.0]))
NEARBY = 0.01  # in logits of Q: how near the onset the sign is tested


@ledger.claim(
    "E3.1",
    "Bonus added after the baseline: d log(p_i/p_j)/dt = (p_i-p_j) {(1-Q) c_G + g_w H_W - "
    "g_c [Q H + L_ij + (1-Q) log Q]}.",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=(p_i-p_j)\{(1-Q)c_G+g_wH_W-g_c[QH+L_{ij}+(1-Q)\log Q]\}",
    hypotheses="softmax gradient, reference sampling, no KL; i, j correct, q = p_C, H = H(q), "
    "H_W = -sum_W p log p, L_ij = (q_i log q_i - q_j log q_j)/(q_i - q_j)",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.smoothing:added_bracket", "(1 - correctness)", "correctness"),
)
def added_bonus_moves_the_ratio(rng: np.random.Generator) -> Evidence:
    """The expected advantage is c_G r - g_c r log p + g_w (1-r) log p up to a constant.

    So dz_i - dz_j is (p_i - p_j)(c_G - mean A) - g_c (p_i log p_i - p_j log p_j); write p = Q q on C, which
    gives sum_C p log p = Q (log Q - H) and p_i log p_i - p_j log p_j = (p_i - p_j)(log Q + L_ij), and
    collect. Two correct and two wrong answers, logarithms as independent symbols.
    """
    gap, p2, p3, weight, g_c, g_w = sp.symbols("d p2 p3 c g_c g_w", positive=True)
    p1 = p2 + gap
    log_policy = np.array(sp.symbols("l1:5", real=True), dtype=object)
    policy = np.array([p1, p2, p3, 1 - p1 - p2 - p3], dtype=object)
    correct = np.array([1, 1, 0, 0], dtype=object)
    rate = dynamics.softmax_flow(
        policy, weight * correct - g_c * correct * log_policy + g_w * (1 - correct) * log_policy
    )
    mass, log_mass = p1 + p2, sp.Symbol("logQ", real=True)
    share, log_share = policy[:2] / mass, log_policy[:2] - log_mass
    slope = (share[0] * log_share[0] - share[1] * log_share[1]) / (share[0] - share[1])
    bracket = smoothing.added_bracket(-(share * log_share).sum(), slope, mass, log_mass)
    charge = -g_w * (policy[2:] * log_policy[2:]).sum()
    claimed = smoothing.log_ratio_rate(p1 - p2, mass, weight, g_c, bracket, charge=charge)
    return ledger.symbolic([rate[0] - rate[1] - claimed], rng)


@ledger.claim(
    "E3.2",
    "Bonus centred within the group's correct samples: d log(p_i/p_j)/dt = (p_i-p_j) "
    "{(1-Q) c_G - g_c psi [H + L_ij]}, psi = 1 - (1-(1-Q)^G)/(G Q).",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=(p_i-p_j)\{(1-Q)c_G-g_c\psi[H+L_{ij}]\}",
    hypotheses="as E3.1 with g_w = 0; groups of G independent samples",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.smoothing:centring_factor", "range(group_size - 1)", "range(group_size)[1:]"),
)
def centred_bonus_moves_the_ratio(rng: np.random.Generator) -> Evidence:
    """Given X correct samples, drawn from q, answer a collects -g_c (X-1) q_a (log q_a + H) in the mean.

    The bonus adds up to 0 over the group, so the score's -p term drops out, and E (X-1)^+/G = Q -
    (1-(1-Q)^G)/G = Q psi. All groups of 1 to 4 samples over two correct and one wrong answer are listed in
    Fractions; log p enters the bonus linearly, so any Fractions may stand for it. The reward has a
    group-mean baseline, c_G = 1 - 1/G.
    """
    violations = []
    for group_size in (1, 2, 3, 4):
        policy, log_policy = _fractions(rng, 3), np.array([*_fractions(rng, 2), Fraction(0)], dtype=object)
        policy, gamma = policy / policy.sum(), Fraction(int(rng.integers(1, 9)), 5)
        step = _centred_group_step(policy, log_policy, group_size, gamma)
        mass = policy[0] + policy[1]
        share = policy[:2] / mass
        entropy = -(share * log_policy[:2]).sum()
        slope = (share[0] * log_policy[0] - share[1] * log_policy[1]) / (share[0] - share[1])
        claimed = smoothing.log_ratio_rate(
            policy[0] - policy[1],
            mass,
            expectations.dr_grpo_weight(Fraction(group_size)),
            gamma,
            smoothing.centred_bracket(entropy, slope),
            factor=smoothing.centring_factor(mass, group_size),
        )
        violations.append(abs(float(step[0] - step[1] - claimed)))
    return ledger.worst(violations)


@ledger.claim(
    "E3.3",
    "The centred bracket H + L_ij is never negative where i is the most likely correct answer.",
    latex=r"H+L_{ij}\ge0\quad(q_i=\max q)",
    hypotheses="at least two correct answers, ties included (L is then its limit 1 + log q_i)",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.flow.smoothing:centred_bracket", "entropy + secant", "entropy / 2 + secant"),
)
def centred_bracket_is_not_negative(rng: np.random.Generator) -> Evidence:
    """H >= -log max q = -log q_i, and L_ij = log q_i + q_j (log q_i - log q_j)/(q_i - q_j) >= log q_i.

    The search has logits in [-20, 20]; L is also compared with its quotient where q_i and q_j differ by more
    than a tenth.
    """

    def violation(problem: Problem) -> float:
        log_share = policies.conditional(problem.base_log_policy, problem.correct, given_correct=True)
        entropy, top = float(policies.entropy(log_share)), int(log_share.argmax())
        worst = -np.inf
        for other in (arm for arm in range(log_share.size) if arm != top):
            slope = smoothing.secant(log_share[top], log_share[other])
            worst = max(worst, -float(smoothing.centred_bracket(entropy, slope)))
            share, gap = np.exp(log_share), float(np.exp(log_share[top]) - np.exp(log_share[other]))
            if gap > 0.1:
                quotient = (share[top] * log_share[top] - share[other] * log_share[other]) / gap
                worst = max(worst, abs(slope - quotient))
        return worst

    return search.search(violation, search.problems(min_correct=2), rng, num_instances=100)


@ledger.claim(
    "E3.4",
    "At p = (.3,.1|.4,.2) no g_c smooths an uncentred bonus: .120, .121, .133, .246 at g_c = 0, .1, 1, 10; "
    "a centred one does above .728.",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_1}{p_2}=.120,.121,.133,.246\ (g_c=0,.1,1,10);\quad g_c^*=.728\text{ centred}",
    hypotheses="c_G = 1 and psi = 1, i.e. groups large enough; g_w = 0",
    source=OURS,
    kind="numeric",
    tolerance=PRINTED,
    mutant=Mutant("sharpening.theory.flow.smoothing:turning_strength", "(1 - correctness)", "correctness"),
)
def uncentred_bonus_can_sharpen(rng: np.random.Generator) -> Evidence:
    """Here Q = .4, q = (.75, .25), H = .562 and L = .262.

    The uncentred bracket is .225 + .262 - .550 < 0, so a larger g_c sharpens more; centred, the strength is
    .6/(.562 + .262). The rates are those of the flow itself, the turning strengths come from the policy
    alone, and at 1.01 and .99 times the centred one the sign of the exact rate must change.
    """
    added, centred = smoothing.turning_strengths(
        EXAMPLE.base_log_policy, EXAMPLE.correct, (0, 1), prompt_weight=1.0, group_size=10**4
    )
    printed = {0.0: 0.120, 0.1: 0.121, 1.0: 0.133, 10.0: 0.246}
    rates = [_added_rate(EXAMPLE, gamma) for gamma in printed]
    violations = [abs(rate - value) for rate, value in zip(rates, printed.values(), strict=True)]
    violations += [abs(centred - 0.728), float(np.isfinite(added))]
    log_share = policies.conditional(EXAMPLE.base_log_policy, EXAMPLE.correct, given_correct=True)
    for factor in (1.01, 0.99):
        bonus = -factor * centred * np.append(log_share - (np.exp(log_share) @ log_share), [0.0, 0.0])
        policy = np.exp(EXAMPLE.base_log_policy)
        rate = dynamics.softmax_flow(policy, EXAMPLE.correct) + policy * bonus
        violations.append(float((rate[0] < rate[1]) != (factor > 1)))
    return ledger.worst(violations)


@ledger.claim(
    "E3.5",
    "At a given p_C an uncentred bonus sharpens the top pair below one correctness Q* < 1 and smooths it above.",
    latex=r"\exists!\,Q^*\in(0,1):\ \operatorname{sign}\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=\operatorname{sign}(Q^*-Q)",
    hypotheses="g_c > 0, g_w = 0, i the likeliest correct answer, p_i > p_j; (1-Q) c_G(Q) not "
    "increasing in Q and 0 at Q = 1, as for REINFORCE, GRPO, F-GRPO (gamma >= 0), MaxRL and PKPO",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.smoothing:smoothing_onset", "failure * prompt_weight", "mass * prompt_weight"
    ),
)
def smoothing_sets_in_at_one_correctness(rng: np.random.Generator) -> Evidence:
    """The bracket increases with Q, since its derivative is H - log Q + (1-Q)/Q > 0.

    It rises from -infinity to H + L_ij > 0 (E3.3), while (1-Q) c_G falls to 0: they cross once. Where the
    advantages of every group add up to 0, (1-Q) c_G = a_C = E f(1, 1+B), which falls in Q if f(1, X) falls in X:
    so for GRPO, for F-GRPO with any gamma >= 0 and for MaxRL. The hypothesis is tried on a grid of Q for each weight;
    then at logits of Q around the claimed one, from .01 to 5 away, the sign of the exact flow is taken. The margin
    counts wrong signs and increases.
    """
    gamma = float(rng.uniform(0.0, 3.0))
    focal = expectations.advantage_table(baselines.f_grpo, 8, gamma=gamma, epsilon=0.0)
    weights = (
        lambda _: 1.0,
        lambda q: expectations.grpo_weight(q, 8),
        lambda q: expectations.maxrl_weight(q, 8),
        lambda q: expectations.pkpo_weight(q, 3),
        lambda q: expectations.prompt_weight(focal, q),
    )
    masses = np.linspace(0.0, 1.0, 201)
    scaled = [[(1 - mass) * float(weight(mass)) for mass in masses] for weight in weights]
    violations = [float(np.diff(values).max() > FLOAT64 or abs(values[-1]) > FLOAT64) for values in scaled]
    for index, weight in enumerate(weights * 4):
        log_share = np.sort(instances.smooth(rng, 2 + index % 4))[::-1]
        gamma = float(np.exp(rng.uniform(-3.0, 2.0)))
        onset = smoothing.smoothing_onset(log_share, (0, 1), gamma, weight)
        log_wrong = instances.smooth(rng, 3)
        correct = np.array([1.0] * log_share.size + [0.0] * 3)
        for offset in (-5.0, -1.0, -NEARBY, NEARBY, 1.0, 5.0):
            log_policy = policies.compose(onset + offset, log_share, log_wrong, correct)
            rate = _added_rate(Problem(log_policy, correct), gamma, weight)
            violations.append(float((rate < 0) != (offset > 0)))
    return ledger.worst(violations)


def _fractions(rng: np.random.Generator, count: int) -> Any:
    """Distinct positive Fractions, (count,)."""
    return np.array([Fraction(int(value), 30) for value in rng.permutation(29)[:count] + 1], dtype=object)


def _centred_group_step(policy: Any, log_policy: Any, group_size: int, gamma: Fraction) -> Any:
    """The expected logit step with arms 0 and 1 correct, reward and bonus centred; all groups listed, (num_arms,)."""
    total = 0 * policy
    for arms in itertools.product(range(3), repeat=group_size):
        hits = [arm for arm in arms if arm < 2]
        mean_log = sum(log_policy[arm] for arm in hits) / max(len(hits), 1)
        for arm in arms:
            advantage = int(arm < 2) - Fraction(len(hits), group_size)
            if arm < 2:
                advantage -= gamma * (log_policy[arm] - mean_log)
            score = np.array([int(arm == other) for other in range(3)], dtype=object) - policy
            total = total + np.prod(policy[list(arms)]) * advantage * score / group_size
    return total


def _added_rate(problem: Problem, gamma: float, weight: Any = None) -> float:
    """The rate d log(p_0/p_1)/dt of the exact flow with the bonus added after the baseline and gamma_incorrect 0."""
    log_policy, correct = problem.base_log_policy, problem.correct
    prompt_weight = 1.0 if weight is None else float(weight(policies.correctness(log_policy, correct)))
    advantage = dynamics.smoothing_advantage(log_policy, correct, gamma, 0.0) + (prompt_weight - 1) * correct
    rate = dynamics.softmax_flow(np.exp(log_policy), advantage)
    return float(rate[0] - rate[1])
