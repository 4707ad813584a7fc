"""Claims C6 and C7: the noise of one sampled step, and where its probability mass goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory.claims import enumeration, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.groups import sampling

OURS = "ours"
BRORL = "arXiv 2510.01180 and arXiv 2602.06717 (as summarised)"

R_c, R_w, eta, t = sp.symbols("R_c R_w eta t")


def _centred_moments(policy: Any, correct: Any, group_size: Any, step: Callable[..., Any]) -> tuple[Any, Any]:
    """Exact mean and variance of the step of z_0 - z_1 with group-mean centring."""

    def move(counts: Any) -> Any:
        change = step(policy, counts, correct - (counts * correct).sum() / group_size)
        return enumeration.exact(change[0] - change[1], (change[0] - change[1]) ** 2)

    mean, square = enumeration.expectation(policy, int(group_size), move)
    return mean, square - mean**2


def _drift_residuals(step: Callable[..., Any], formula: Callable[..., Any], sizes: tuple[int, ...]) -> list[Any]:
    p_i, p_j, error = sp.symbols("p_i p_j R", positive=True)
    policy, correct = enumeration.exact(p_i, p_j, 1 - p_i - p_j - error, error), enumeration.exact(1, 1, 1, 0)
    residuals: list[Any] = []
    for size in map(sp.Integer, sizes):
        claimed = formula(p_i, p_j, 1 - error, size, eta)
        mean, variance = _centred_moments(policy, correct, size, step)
        observed = eta * mean, eta**2 * variance
        residuals += [sp.expand(a - b) for a, b in zip(observed, claimed, strict=True)]
    return residuals


@ledger.claim(
    "C6.1",
    "With group-mean centring z_i - z_j (i, j in C) moves per step by mean eta (1-1/G) R d and variance "
    "eta^2 (G-1) R/G^3 {sig [1+(G-2) R] + d^2 [(G-2) - 2(2G-3) R]}.",
    latex=r"\mathrm{Var}=\eta^2\tfrac{(G-1)R}{G^3}\big\{\sigma[1+(G-2)R]+d^2[(G-2)-2(2G-3)R]\big\}",
    hypotheses="d = p_i-p_j, sig = p_i+p_j, R = 1-Q; free p_i, p_j, R for G = 2 to 4",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.sampling:drift", "(2 * group_size - 3)", "(2 * group_size - 1)"),
)
def softmax_drift(rng: np.random.Generator) -> Evidence:
    """Centred advantages sum to 0 over the group, so dz_i - dz_j = (eta/G)(1-X/G)(n_i - n_j).

    Given X the counts are multinomial with p_i/Q, p_j/Q: E[(n_i-n_j)^2 | X] = X sig/Q + X(X-1) d^2/Q^2. The
    factorial moments of X and of G - X give E[X(G-X)^2] = Q R G(G-1)[1+(G-2)R] and the like; collecting terms
    gives the formula.
    """
    return ledger.symbolic(_drift_residuals(sampling.sampled_step, sampling.drift, (2, 3, 4)), rng)


@ledger.claim(
    "C6.2",
    "With the natural gradient the mean is 0 and the variance eta^2 (G-1) R [1+(G-2) R] (1/p_i+1/p_j)/G^3.",
    latex=r"\mathrm{Var}=\eta^2\tfrac{(G-1)R}{G^3}[1+(G-2)R]\,(1/p_i+1/p_j)",
    hypotheses="as C6.1",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:natural_drift", "1 / policy_i + 1 / policy_j", "1 / (policy_i + policy_j)"
    ),
)
def natural_gradient_drift(rng: np.random.Generator) -> Evidence:
    """Now dz_i - dz_j = (eta/G)(1-X/G)(n_i/p_i - n_j/p_j).

    Given X the bracket has mean 0 and mean square (X/Q)(1/p_i + 1/p_j): the cross terms X(X-1)(1 - 2 + 1)/Q^2
    cancel. E[X(G-X)^2] as in C6.1.
    """
    return ledger.symbolic(_drift_residuals(sampling.natural_sampled_step, sampling.natural_drift, (2, 3, 4)), rng)


@ledger.claim(
    "C6.3",
    "Both drift formulas hold for larger groups.",
    latex=r"G\in\{6,9,12\}",
    hypotheses="as C6.1; random policies in Fractions, exact equality",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:drift", "1 + (group_size - 2) * error", "1 + (group_size - 1) * error"
    ),
)
def drift_in_larger_groups(rng: np.random.Generator) -> Evidence:
    """All groups of 6, 9 and 12 draws from two correct answers, the rest of C and W."""
    violations: list[Any] = []
    kinds = ((sampling.sampled_step, sampling.drift), (sampling.natural_sampled_step, sampling.natural_drift))
    correct = enumeration.exact(1, 1, 1, 0)
    for size in map(Fraction, (6, 9, 12)):
        policy = enumeration.rational_policy(rng, 4)
        for step, formula in kinds:
            observed = _centred_moments(policy, correct, size, step)
            claimed = formula(policy[0], policy[1], 1 - policy[3], size, Fraction(1))
            violations += [abs(a - b) / (abs(b) + 1) for a, b in zip(observed, claimed, strict=True)]
    return ledger.worst(violations)


@ledger.claim(
    "C6.4",
    "Where the mean is 0 the variance is positive while R > 0, and 0 at R = 0: drift alone, until Q = 1.",
    latex=r"d=0:\ \mathrm{mean}=0,\ \mathrm{Var}>0\ (R>0),\quad \mathrm{Var}\to0\ (R\to0)",
    hypotheses="p_i = p_j > 0, G >= 2; softmax and natural gradient",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:drift", "(group_size - 1) * error", "(group_size - 1)"),
)
def drift_alone_spreads(rng: np.random.Generator) -> Evidence:
    """At d = 0 the variance is eta^2 (G-1) R/G^3 times a positive bracket.

    It is 2p [1+(G-2)R] or its natural counterpart, at least its value 2p (or 2/p) at G = 2; the whole is
    proportional to R. The check also asks a vanishing variance at R = 0.
    """

    def violations() -> Iterator[float]:
        size, rate = int(2 ** rng.uniform(1, 10)), float(rng.uniform(0.01, 1.0))
        error = 2.0 ** -int(rng.integers(2, 40))  # 1 - error is exact
        policy = (1 - error) * float(10 ** rng.uniform(-9, -0.4))
        for formula, least in ((sampling.drift, 2 * policy), (sampling.natural_drift, 2 / policy)):
            moved, still = (formula(policy, policy, 1 - chance, size, rate) for chance in (error, 0.0))
            floor = rate**2 * (size - 1) / size**3 * least
            yield max(abs(moved.mean), 1 - moved.variance / (floor * error), still.variance / floor)

    return ledger.worst(value for _ in range(100) for value in violations())


def _balance_symbols() -> tuple[Any, Any, Any]:
    """A policy over 6 answers, what is correct, and what was sampled: every kind is there."""
    return (
        enumeration.symbolic_policy(6),
        enumeration.exact(1, 1, 0, 1, 0, 0),
        enumeration.exact(1, 1, 1, 0, 0, 1),
    )


@ledger.claim(
    "C7.1",
    "One-step mass balance of the surrogate step dz_i = (eta/N) p_i (R_i - S_R): dQ and dQ_unsampled.",
    latex=r"dQ=\tfrac{\eta}{N}\big[(R_c-S_R)(1-Q)A_2+(S_R-R_w)QB_2+S_R(QU^-_2-(1-Q)U^+_2)\big]",
    hypotheses="each sampled answer counts once, R = 0 if unsampled; first order; free p, R_c, R_w",
    source=BRORL,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.sampling:mass_balance", "- gain_wrong * mass", "+ gain_wrong * mass"),
)
def surrogate_mass_balance(rng: np.random.Generator) -> Evidence:
    """A logit step moves a set's mass M by sum_M p dz - M sum p dz to first order.

    Insert dz_i = (eta/N) p_i (R_i - S_R) and collect the sums of p^2 over sampled and unsampled, correct and
    wrong answers. The check differentiates the masses of p exp(t dz)/sum at t = 0, for free dz and for this one.
    """
    policy, correct, is_sampled = _balance_symbols()
    num_draws = sp.Symbol("N")
    reward = R_c * correct + R_w * (1 - correct)
    step = eta * sampling.surrogate_step(policy, is_sampled, reward, num_draws)
    claimed = sampling.mass_balance(
        policy,
        correct,
        is_sampled,
        reward_correct=R_c,
        reward_wrong=R_w,
        group_size=num_draws,
        learning_rate=eta,
    )
    moved = policy * enumeration.exact(*(sp.exp(t * value) for value in sp.symbols("d1:7")))
    residuals = []
    for members, change in zip((correct, correct * (1 - is_sampled)), claimed, strict=True):
        slope = sp.diff((moved * members).sum() / moved.sum(), t).subs(t, 0)
        free = enumeration.exact(*sp.symbols("d1:7"))
        residuals.append(sp.expand(sp.cancel(slope) - sampling.first_order_mass_change(policy, members, free)))
        substituted = slope.subs(dict(zip(free, step, strict=True)))
        residuals.append(sp.expand(sp.cancel(substituted) - change))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "C7.2",
    "The balance is false for the score-function step, even when every sampled answer was drawn once.",
    latex=r"dQ_{\mathrm{score}}\ne dQ_{\mathrm{balance}}",
    hypotheses="reward 1 and -1; policies in Fractions; the step of methods that weight grad log p",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:sampled_step", "counts * advantage", "policy * counts * advantage"
    ),
)
def score_step_breaks_the_balance(rng: np.random.Generator) -> Evidence:
    """The score grad log p has no factor p_i: a rare sampled answer is pushed as much as a likely one.

    So dQ contains sums of p where the balance has sums of p^2. The check asks that they differ by more than
    1% of the larger; with the factor p_i restored (the mutant) the score step is the surrogate step and they
    agree.
    """
    violations = []
    _, correct, is_sampled = _balance_symbols()
    for _ in range(5):
        policy = enumeration.rational_policy(rng, 6)
        step = sampling.sampled_step(policy, is_sampled, 2 * correct - 1)
        observed = sampling.first_order_mass_change(policy, correct, step)
        size = Fraction(int(is_sampled.sum()))
        balance = sampling.mass_balance(
            policy,
            correct,
            is_sampled,
            reward_correct=1,
            reward_wrong=-1,
            group_size=size,
            learning_rate=1,
        )
        larger = max(abs(observed), abs(balance.correct))
        violations.append(1.0 if abs(observed - balance.correct) < larger / 100 else 0.0)
    return ledger.worst(violations)
