"""Claim B3: where plain RL ends, and how slowly."""

from __future__ import annotations

import itertools

import numpy as np

from sharpening.theory import policies
from sharpening.theory.claims import late, ledger
from sharpening.theory.claims.ledger import Evidence, Mutant
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
END = 1e-4  # what slower answers still hold then, relative, gaps of 10% included


@ledger.claim(
    "B3.1",
    "Vanilla: all mass ends on the most likely correct answer; ties share equally.",
    latex=r"p_{top}\to 1/k,\quad k\ \text{tied most likely correct answers}",
    hypotheses="exact softmax flow, no KL, full support; checked at t = 1e12 to 1e42 with gaps of at least 10%",
    source=OURS,
    kind="numeric",
    tolerance=END,
    mutant=Mutant("sharpening.theory.flow.vanilla_path:logits_at_rise", "gap > 0, behind", "gap < 0, behind"),
)
def mass_ends_on_the_likeliest(rng: np.random.Generator) -> Evidence:
    """Only the top reciprocal weight goes to 0.

    By B2 the others keep a finite e^(-z) above 0 while that of the top goes to 0. p_j/p_top falls like
    t^(-w/(w+k)) and wrong answers even out like t^(-k/(w+k)), so the time is 1e6 to the power (w+k)/min(w, k). All
    logits are integrated, without the closed path; the margin is the distance from the uniform law on the top, and
    that of the closed path, in nats per nat.
    """

    def violation(num_top: int, num_rest: int, num_wrong: int) -> float:
        problem = _with_ties(rng, num_top, num_rest, num_wrong)
        final, closed, _ = _late(problem, num_top, num_wrong)
        target = np.where(np.arange(final.size) < num_top, 1 / num_top, 0.0)
        return float(max(np.abs(np.exp(final) - target).max(), (np.abs(final - closed) / (1 - final)).max()))

    shapes = itertools.product((1, 3), (0, 2), (1, 2, 6))
    return ledger.worst(violation(*shape) for shape in shapes)


@ledger.claim(
    "B3.2",
    "The end is slow: 1 - Q ~ (k w/(k+w))/t for k tied most likely correct answers and w wrong ones.",
    latex=r"1-Q\sim\frac{kw}{k+w}\,\frac1t",
    hypotheses="as B3.1",
    source=OURS,
    kind="numeric",
    tolerance=END,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:collapse_constant", "(num_top + num_wrong)", "(num_top + num_wrong + 1)"
    ),
)
def collapse_rate(rng: np.random.Generator) -> Evidence:
    """Near the end p_top = 1/k and p_W = (1-Q)/w, so d log(p_W/p_top)/dt = -(1-Q)(1/w + 1/k).

    The margin is the relative error of t (1-Q) at a time at which the slower answers are gone, all logits integrated.
    """

    def violation(num_top: int, num_rest: int, num_wrong: int) -> float:
        problem = _with_ties(rng, num_top, num_rest, num_wrong)
        final, _, log_time = _late(problem, num_top, num_wrong)
        log_product = log_time - np.logaddexp(0.0, policies.logit_correctness(final, problem.correct))
        return float(abs(np.exp(log_product) / dynamics.collapse_constant(num_top, num_wrong) - 1))

    shapes = itertools.product((1, 3), (0, 2), (1, 2, 6))
    return ledger.worst(violation(*shape) for shape in shapes)


def _late(problem: Problem, num_top: int, num_wrong: int) -> tuple[Floats, Floats, float]:
    """The vanilla flow at 1e6 to the power (w+k)/min(w, k): integrated, by its closed path, and the log time."""
    log_time = float(np.log(1e6) * (num_wrong + num_top) / min(num_wrong, num_top))
    closed = vanilla_path.vanilla_path(problem, [np.exp(log_time)])[0]
    return late.late_flow(problem.base_log_policy, lambda _: problem.correct, [log_time])[0], closed, log_time


def _with_ties(rng: np.random.Generator, num_top: int, num_rest: int, num_wrong: int) -> Problem:
    """Tied most likely correct answers first, then rarer ones by at least 10%, then wrong ones."""
    rest = -rng.uniform(0.1, 2.0, num_rest)
    logits = np.concatenate([np.zeros(num_top), rest, rng.normal(size=num_wrong)])
    correct = np.array([1.0] * (num_top + num_rest) + [0.0] * num_wrong)
    return Problem(policies.log_softmax(logits), correct)


@ledger.claim(
    "B3.3",
    "From (.3, .1 | .4, .2), Q = .8789, .99247, .99932, .999933 at t = 10, 100, 1e3, 1e4.",
    latex=r"Q=.8789,.99247,.99932,.999933",
    hypotheses="exact vanilla softmax flow",
    source=OURS,
    kind="numeric",
    tolerance=1.0,
    mutant=Mutant("sharpening.theory.flow.vanilla_path:_log_time", "half = widths / 2", "half = widths"),
)
def worked_example(rng: np.random.Generator) -> Evidence:
    """Computed by the scalar reduction; the margin is in units of half the last printed digit."""
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    printed = {10.0: (0.8789, 5e-5), 100.0: (0.99247, 5e-6), 1e3: (0.99932, 5e-6), 1e4: (0.999933, 5e-7)}
    path = vanilla_path.vanilla_path(problem, list(printed))
    found = [policies.correctness(log_policy, problem.correct) for log_policy in path]
    margins = [abs(value - q) / half for value, (q, half) in zip(found, printed.values(), strict=True)]
    return ledger.worst(margins, "Q = " + ", ".join(f"{value:.6f}" for value in found))
