"""What a method does to random policies at once: the exact expected step, all groups listed, before any noise.

For each method and strength: at how many policies the likelier of two correct answers gains on the rarer, at how many
Q falls, and how much sharpening comes with a unit of logit Q where it rises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from sharpening.bandits.experiments.framework import Row, Scale
from sharpening.theory import policies
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods import calls

NUM_POLICIES, GROUP_SIZE = 300, 8
FEW = {"num_policies": 20, "group_size": 4}
LOWEST = -6.0  # logits of two correct and two wrong answers are drawn from there to 0
SWEPT: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("dr_grpo", "", (0.0,)),
    ("ds", "gamma_correct", (0.1, 0.3, 1.0, 3.0)),
    ("rarity_maxrl", "strength", (0.1, 0.3, 1.0, 3.0)),
)


class Motion(BaseModel):
    """One method at one strength, at policies that the seed alone decides; it determines the row."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "motion"

    method: str
    parameters: Mapping[str, float]
    num_policies: int
    group_size: int
    seed: int

    def rows(self) -> Iterator[Row]:
        """One row: shares of the policies, and the median of sharpening over the rise of logit Q where that rises."""
        method = calls.resolve(self.method)
        values = calls.parameter_values(method, self.parameters)
        rng = np.random.default_rng(self.seed)
        gaps, rises = [], []
        for _ in range(self.num_policies):
            drawn = np.exp(rng.uniform(LOWEST, 0.0, 4))
            problem = policies.problem_from_probabilities(drawn / drawn.sum(), [1, 1, 0, 0])
            flow = expected_flow.ExpectedFlow(method.advantage, problem, values, self.group_size)
            likelier, rarer = np.argsort(problem.base_log_policy[:2])[::-1]
            arms = (int(likelier), int(rarer))
            gaps.append(float(expected_flow.log_ratio_rate(flow, problem.base_log_policy, arms)))
            rises.append(float(expected_flow.correctness_rate(flow, problem.base_log_policy)))
        gap, rise = np.array(gaps), np.array(rises)
        yield {
            "method": self.method,
            "strength": max(self.parameters.values(), default=0.0),
            "num_policies": self.num_policies,
            "sharpens": float((gap > 0).mean()),
            "lowers_correctness": float((rise < 0).mean()),
            "sharpening_per_logit": float(np.median((gap / rise)[rise > 0])),
        }


def tasks(scale: Scale, seed: int) -> Iterator[Motion]:
    """Every method at every strength; few policies and small groups in the smoke preset."""
    sizes = FEW if scale.is_smoke else {"num_policies": NUM_POLICIES, "group_size": GROUP_SIZE}
    for method, name, strengths in SWEPT:
        for strength in strengths:
            yield Motion(method=method, parameters={name: strength} if name else {}, seed=seed, **sizes)


def summarise(tasks: Sequence[Motion], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    """All rows, and a sentence each."""
    rows: list[dict[str, Any]] = [row for own in found for row in own]
    return rows, [
        f"{row['method']} {row['strength']:g}: sharpens at {row['sharpens']:.0%} of "
        f"{row['num_policies']} policies, lowers Q at {row['lowers_correctness']:.0%}; where Q rises, "
        f"{row['sharpening_per_logit']:.2f} nats of sharpening per unit of logit Q"
        for row in rows
    ]
