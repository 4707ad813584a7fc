"""Claims A7.1.6 and A7.3: what does not rescue the literal reward, and where DS fails to dominate."""

from __future__ import annotations

import numpy as np
import sympy as sp
from scipy.optimize import minimize, minimize_scalar

from sharpening.theory import policies, shaping
from sharpening.theory.claims import ledger
from sharpening.theory.claims.ledger import EXACT, PRINTED, Evidence, Mutant
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.policies import Floats, Problem

OURS = "ours; our reading of Theorem 3.4 of arXiv 2511.19942"
EXPONENT, TILT = 0.379, 0.167  # of the bonus of A7.3: its s and 1/beta_eff


def _hard_case() -> tuple[Problem, Floats]:
    """The problem of A7.3 and its bonus optimum."""
    problem = policies.problem_from_probabilities([0.173, 0.313, 0.206, 0.308], [1, 1, 0, 0])
    return problem, policies.log_softmax(EXPONENT * problem.base_log_policy + TILT * problem.correct)


@ledger.claim(
    "A7.1.6",
    "A baseline over the whole group leaves the optimum and its gap alone; only a shift a of C against W adds a/beta "
    "to logit Q.",
    latex=r"p^*[s-B]=p^*[s],\quad\operatorname{logit}Q[s+a1_C]=\operatorname{logit}Q[s]+a/\beta",
    hypotheses="base reference; B the same number for every answer of the group",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.optima:optimum_log_weights",
        "shaped_reward / kl_strength",
        "shaped_reward**2 / kl_strength",
    ),
)
def group_baselines_do_not_change_the_gap(rng: np.random.Generator) -> Evidence:
    """Log p* is log b + s/beta up to a constant, and a number added to all scores is such a constant.

    Added to the scores of C alone, a multiplies every ratio of a correct to a wrong answer by e^(a/beta), and so the
    odds. This is why A7.1.1 needs a gap that can be adjusted, and A7.2 a condition where it cannot.
    """
    beta, g_c, g_w, shift, baseline = sp.symbols("beta g_c g_w a B", positive=True)
    l_i, l_j = sp.symbols("l_i l_j", real=True)

    def log_odds(gap: sp.Expr, subtracted: sp.Expr) -> sp.Expr:
        scores = [
            shaping.differential_smoothing(reward, log, right, gamma_correct=g_c, gamma_incorrect=g_w) - subtracted
            for reward, log, right in ((gap, l_i, 1), (0, l_j, 0))
        ]
        weights = [optima.optimum_log_weights(log, s, beta) for log, s in zip((l_i, l_j), scores, strict=True)]
        return weights[0] - weights[1]

    plain = log_odds(sp.Integer(1), sp.Integer(0))
    moved = log_odds(1 + shift, sp.Integer(0))
    return ledger.symbolic([log_odds(sp.Integer(1), baseline) - plain, moved - plain - shift / beta], rng)


@ledger.claim(
    "A7.3.1",
    "Outside A7.2 dominance can fail: b = (.173, .313 | .206, .308), s .379, 1/beta_eff .167 costs .0172, the "
    "cheapest literal DS .0987.",
    latex=r"\min_{DS:\,Q\ge Q_g,\ \sigma\ge\sigma_g}\mathrm{KL}(p\|b)=.0987>.0172",
    hypotheses="gap 1, base reference, any g_w >= 0, at least the bonus's Q and spread on C",
    source=OURS,
    kind="numeric",
    tolerance=PRINTED,
    mutant=Mutant("sharpening.theory.optimum.dominance:needed_tilt_base", "logit - policies", "-logit - policies"),
)
def literal_dominance_can_fail(rng: np.random.Generator) -> Evidence:
    """Two correct answers: at least the bonus's spread means |s'| <= s for every symmetric concave diversity.

    Literal DS has exponents (s', t >= 1) and tilt x = 1/beta > 0. The bonus needs x = -.672 < 0, so none has
    its Q; the minimum of KL over the three numbers, by SLSQP from many starts, is at x -> 0, s' = s, t = 1.
    """
    problem, bonus = _hard_case()
    base, s = problem.base_log_policy, EXPONENT
    logit = policies.logit_correctness(bonus, problem.correct)
    budget = float(divergences.kl(bonus, base))
    needed = dominance.needed_tilt_base(problem, logit, s)

    def smooth(parameters: Floats) -> Floats:
        inside, outside, x = parameters
        return policies.log_softmax(np.where(problem.is_correct, inside * base + x, outside * base))

    found = [
        minimize(
            lambda v: float(divergences.kl(smooth(v), base)),
            [rng.uniform(-s, s), rng.uniform(1, 3), rng.uniform(0, 1)],
            method="SLSQP",
            bounds=[(-s, s), (1.0, 20.0), (0.0, 20.0)],
            constraints={
                "type": "ineq",
                "fun": lambda v: policies.logit_correctness(smooth(v), problem.correct) - logit,
            },
        )
        for _ in range(12)
    ]
    cheapest = min(result.fun for result in found if result.success)
    margins = [abs(budget - 0.0172), abs(cheapest - 0.0987), abs(needed + 0.672), max(0.0, needed)]
    return ledger.worst(margins, f"bonus {budget:.4f}, cheapest literal DS {cheapest:.4f}, 1/beta needed {needed:.3f}")


@ledger.claim(
    "A7.3.2",
    "There it fails in all 12 divergences: every literal DS policy of at least the bonus's Q and spread costs over "
    "1.5 times as much.",
    latex=r"\min_{DS:\,Q\ge Q_g,\ \sigma\ge\sigma_g}D(p\|b)>1.5\,D(p_g\|b)",
    hypotheses="as A7.3.1; every s' in [-s, s], t >= 1 and 1/beta >= 0",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.dominance:literal_slack", "inverse_strength - growth", "inverse_strength + growth"
    ),
)
def literal_dominance_fails_in_every_divergence(rng: np.random.Generator) -> Evidence:
    """With two correct answers Shannon, Simpson and the smallest probability all fall with |s'|, so |s'| <= s.

    A7.2.1 says that the bonus's Q and p_C are out of reach here (its slack is negative). Z_W(t) <= Z_W(1) for t >= 1,
    so Z_C(s') e^x/Z_W(t) >= Z_C(s')/Z_W(1): the logit of Q is at least that of t = 1, x = 0, and by A6.2 the policy
    costs at least the one of its Q and p_C with p_W = b_W. Along Q at given p_C the cost is quasi-convex, so its
    least is found by a bounded scalar search; what is left is one number, s', on a grid of 31 whose neighbours differ
    by less than what is to spare. The margin counts divergences in which the least over the grid, less the largest
    step, is not 1.5 times the bonus's budget, and 1 more if the condition of A7.2.1 held.
    """
    problem, bonus = _hard_case()
    base, right = problem.base_log_policy, problem.base_log_policy[problem.is_correct]
    wrong = policies.conditional(base, problem.correct, given_correct=False)
    wanted = policies.logit_correctness(bonus, problem.correct)
    ratios = {}
    for name, divergence in divergences.DIVERGENCES.items():
        costs = []
        for exponent in np.linspace(-EXPONENT, EXPONENT, 31):
            inside = policies.tempered(right, exponent)
            lowest = policies.log_partition(right, exponent) - policies.log_partition(base[~problem.is_correct])

            def cost(logit: float, inside: Floats = inside, divergence: divergences.Divergence = divergence) -> float:
                return float(divergence(policies.compose(logit, inside, wrong, problem.correct), base))

            start = max(lowest, wanted)
            found = minimize_scalar(cost, bounds=(start, start + 20.0), method="bounded")
            costs.append(min(cost(start), found.fun) / float(divergence(bonus, base)))
        ratios[name] = min(costs) - float(np.abs(np.diff(costs)).max())
    slack = dominance.literal_slack(problem, EXPONENT, TILT, "base")
    least = min(ratios, key=lambda name: ratios[name])
    seen = f"cheapest literal DS costs at least {ratios[least]:.2f} times the bonus ({least})"
    return ledger.worst([*(float(not ratio > 1.5) for ratio in ratios.values()), float(not slack < 0)], seen)
