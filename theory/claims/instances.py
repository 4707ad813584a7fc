"""Random problems for the checks, chosen to be hard: near-deterministic, very rare answers, ties, m = 1, w = 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

SMALLEST = 1e-12  # the rarest answer of the log-uniform instances


def smooth(rng: np.random.Generator, num_arms: int) -> Floats:
    """Log-probabilities of a Dirichlet(1) draw, (num_arms,)."""
    return policies.log_softmax(np.log(rng.dirichlet(np.ones(num_arms)) + 1e-300))


def log_uniform(rng: np.random.Generator, num_arms: int) -> Floats:
    """Log-probabilities with weights spread over twelve orders of magnitude, (num_arms,)."""
    return policies.log_softmax(rng.uniform(np.log(SMALLEST), 0.0, num_arms))


def near_deterministic(rng: np.random.Generator, num_arms: int) -> Floats:
    """Log-probabilities with nearly all mass on one arm, (num_arms,)."""
    logits = rng.normal(size=num_arms)
    logits[rng.integers(num_arms)] += rng.uniform(5.0, 25.0)
    return policies.log_softmax(logits)


def tied(rng: np.random.Generator, num_arms: int) -> Floats:
    """Log-probabilities that take at most three distinct values, (num_arms,)."""
    return policies.log_softmax(rng.choice(rng.normal(scale=2.0, size=3), size=num_arms))


SHAPES: tuple[Callable[[np.random.Generator, int], Floats], ...] = (
    smooth,
    log_uniform,
    near_deterministic,
    tied,
)


def problems(rng: np.random.Generator, count: int, *, max_arms: int = 12, min_correct: int = 1) -> Iterator[Problem]:
    """A stream of hard problems that cycles through the shapes and includes m = `min_correct` and w = 1.

    Shapes:   each problem has between min_correct + 1 and max_arms arms.
    """
    for index in range(count):
        num_arms = int(rng.integers(min_correct + 1, max_arms + 1))
        num_correct = int(rng.integers(min_correct, num_arms))
        if index % 5 == 0:
            num_correct = min_correct if index % 2 else num_arms - 1
        correct = np.zeros(num_arms)
        correct[rng.permutation(num_arms)[:num_correct]] = 1.0
        yield Problem(SHAPES[index % len(SHAPES)](rng, num_arms), correct)


def kl_strengths(rng: np.random.Generator) -> float:
    """A log-uniform draw from .02 to 1,000."""
    return float(np.exp(rng.uniform(np.log(0.02), np.log(1000.0))))
