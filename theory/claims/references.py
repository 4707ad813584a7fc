"""Claim A8: how the sampling and the base reference of differential smoothing correspond."""

from __future__ import annotations

import numpy as np
import sympy as sp

from sharpening.theory import policies
from sharpening.theory.claims import instances, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.flow import dynamics
from sharpening.theory.optimum import dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Problem

OURS = "ours"


@ledger.claim(
    "A8.1",
    "Exponents of the two references agree iff 1 - g_c'/beta' = beta/(beta+g_c) and 1 + g_w'/beta' = beta/(beta-g_w).",
    latex=r"1-g_c'/\beta'=\frac{\beta}{\beta+g_c},\quad 1+g_w'/\beta'=\frac{\beta}{\beta-g_w}",
    hypotheses="g_w < beta",
    source="our reading of App. B.3 of arXiv 2511.19942",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.dominance:exponents_correspond",
        "ours.wrong - theirs.wrong",
        "ours.wrong + theirs.wrong",
    ),
)
def exponents_of_references(rng: np.random.Generator) -> Evidence:
    """Two linear equations, one solution.

    Solve the two vanishing differences for the primed strengths: g_c' = beta' g_c/(beta+g_c), g_w' = beta'
    g_w/(beta-g_w), one solution each.
    """
    beta, beta_2, g_c, g_w, c_2, w_2 = sp.symbols("beta beta_2 g_c g_w c_2 w_2", positive=True)
    differences = dominance.exponents_correspond(beta, Strengths(g_c, g_w), beta_2, Strengths(c_2, w_2))
    solved = sp.solve(differences, [c_2, w_2], dict=True)[0]
    return ledger.symbolic([solved[c_2] - beta_2 * g_c / (beta + g_c), solved[w_2] - beta_2 * g_w / (beta - g_w)], rng)


@ledger.claim(
    "A8.2",
    "The policies of the two references are equal iff moreover 1/beta' = (s + (t-s) lambda)/beta, lambda = E_p[A].",
    latex=r"1/\beta'=(s+(t-s)\lambda)/\beta,\quad\lambda=E_p[A]",
    hypotheses="p the sampling fixed point, A its advantage including the KL term; exists iff the right side is above "
    "0",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.optimum.dominance:equivalent_inverse_strength",
        "(exponents.wrong - exponents.correct) * multiplier",
        "0",
    ),
)
def references_are_equivalent(rng: np.random.Generator) -> Evidence:
    """Compare the constants of the two closed forms.

    At the fixed point log p = s log b + s (1-mu)/beta on C and t log b - t mu/beta on W, with mu = E_p[A] the
    common advantage; the difference of the constants is the tilt 1/beta' of the base form. The check takes lambda
    from the advantages and the tilt from Q, whatever its sign; it asks for a twin exactly where the tilt is positive,
    and compares the policies there.
    """

    def violation(problem: Problem) -> float:
        strength = instances.kl_strengths(rng)
        sampling = Strengths(float(rng.exponential()) * strength, float(rng.uniform(0.0, 0.8)) * strength)
        left = optima.sampling_optimum(problem, strength, sampling)
        advantage = dynamics.smoothing_advantage(left, problem.correct, *sampling)
        mean = float((np.exp(left) * (advantage - strength * (left - problem.base_log_policy))).sum())
        s, t = optima.sampling_exponents(strength, sampling)
        parts = [
            policies.log_partition(problem.base_log_policy[mask], exponent)
            for mask, exponent in ((problem.is_correct, s), (~problem.is_correct, t))
        ]
        tilt = policies.logit_correctness(left, problem.correct) - parts[0] + parts[1]
        claimed = dominance.equivalent_inverse_strength(optima.Exponents(s, t), mean, strength)
        scale = 1 + float(np.abs(parts).sum())
        error = float(abs(claimed - tilt)) / scale
        found = dominance.equivalent_base(problem, strength, sampling)
        if abs(tilt) / scale > FLOAT64 and (found is None) != (tilt < 0):
            return 1.0
        if found is None:
            return error
        right = optima.base_optimum(problem, *found)
        return float(max(error, np.abs(np.exp(left) - np.exp(right)).max()))

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200))


@ledger.claim(
    "A8.3",
    "The two families overlap and neither contains the other: sampling with g_w = 0 lies inside base.",
    latex=r"\{g_w=0,\text{sampling}\}\subset\text{base},\quad\text{neither}\subset\text{the other}",
    hypotheses="strengths >= 0, beta > 0; two explicit instances",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.optimum.dominance:equivalent_base", "inverse <= 0", "inverse <= 1e9"),
)
def neither_family_contains_the_other(rng: np.random.Generator) -> Evidence:
    """With g_w = 0, t = 1 and mu >= 0 (Z_C(s) >= Z_C(1)), so 1/beta' > 0.

    Sampling exponents on C are positive, so base DS with g_c > beta has no sampling twin; and for b = (.034,
    .802 | .074, .09), beta 15, g_c 1.66, g_w 14 the needed 1/beta' is negative. The margin counts failures.
    """
    inside = []
    for problem in instances.problems(rng, 100):
        strength = instances.kl_strengths(rng)
        sampling = Strengths(float(rng.exponential()) * strength, 0.0)
        inside.append(float(dominance.equivalent_base(problem, strength, sampling) is None))
    outside = policies.problem_from_probabilities([0.034, 0.802, 0.074, 0.09], [1, 1, 0, 0])
    has_twin = dominance.equivalent_base(outside, 15.0, Strengths(1.66, 14.0)) is not None
    inverted = optima.base_exponents(1.0, Strengths(1.5, 0.0)).correct
    reachable = min(optima.sampling_exponents(1.0, Strengths(c, 0.0)).correct for c in (0.0, 1.0, 1e6))
    return ledger.worst([*inside, float(has_twin), float(not inverted < 0 < reachable)])
