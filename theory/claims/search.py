"""Searches that try to break a claim: Hypothesis generates instances and climbs towards a violation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings, target
from hypothesis import strategies as st

from sharpening.theory import hypothesis_storage, policies
from sharpening.theory.claims import ledger
from sharpening.theory.claims.ledger import Evidence
from sharpening.theory.policies import Floats, Problem

Instance = TypeVar("Instance")


def search(
    violation: Callable[[Instance], float],
    instances: st.SearchStrategy[Instance],
    rng: np.random.Generator,
    num_instances: int = 200,
) -> Evidence:
    """The largest violation that Hypothesis can find in `num_instances` tries, steered by the violation itself.

    `violation` may return negative numbers for a margin that is kept: they give the search a slope to climb.
    """
    seen: list[float] = []

    @seed(int(rng.integers(2**32)))
    @settings(
        max_examples=num_instances,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.target),
        suppress_health_check=list(HealthCheck),
    )
    @given(instances)
    def climb(instance: Instance) -> None:
        value = float(violation(instance))
        seen.append(value)
        target(value if np.isfinite(value) else 1e9)

    with hypothesis_storage.storage_elsewhere():
        climb()
    return ledger.worst(seen)


@st.composite
def problems(draw: st.DrawFn, *, max_arms: int = 6, min_correct: int = 1) -> Problem:
    """A strategy of problems whose logits lie in [-20, 20]."""
    num_arms = draw(st.integers(min_correct + 1, max(max_arms, min_correct + 1)))
    num_correct = draw(st.integers(min_correct, num_arms - 1))
    logits = [draw(st.floats(-20.0, 20.0)) for _ in range(num_arms)]
    correct = np.array([1.0] * num_correct + [0.0] * (num_arms - num_correct))
    return Problem(policies.log_softmax(logits), correct)


@st.composite
def problems_with_strengths(draw: st.DrawFn) -> tuple[Problem, float, float, float]:
    """A strategy of (problem, kl_strength, gamma_correct / kl_strength, gamma_incorrect / kl_strength)."""
    problem = draw(problems())
    log_strength = draw(st.floats(np.log(0.02), np.log(1000.0)))
    ratios = [draw(st.one_of(st.just(0.0), st.floats(1e-3, 3.0))) for _ in range(2)]
    return problem, float(np.exp(log_strength)), ratios[0], ratios[1]


@st.composite
def problems_with_policies(draw: st.DrawFn) -> tuple[Problem, Floats]:
    """A strategy of (problem, another policy over its answers)."""
    problem = draw(problems())
    logits = [draw(st.floats(-20.0, 20.0)) for _ in range(problem.correct.size)]
    return problem, policies.log_softmax(logits)
