"""Experiments as data: tasks to simulate, and an analysis that turns their rows into findings and a verdict.

A finding compares one observed number with the theory's prediction and with a named rival prediction. It agrees if it
lies within 5 standard errors of the prediction, plus what the step size or the integration is allowed to add, and the
same margin rejects the rival. Verdicts are computed, never written down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from sharpening.bandits import analysis, measures, simulator
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.policies import Floats

MARGIN = 5.0  # standard errors, either way
PRECISE = 0.01  # the standard error is at most this share of the prediction or of its distance from the rival
Row = dict[str, Any]


@dataclass(frozen=True)
class Scale:
    """How much to compute: runs of a sampled task are multiples of `num_seeds`."""

    name: str
    num_seeds: int
    num_strengths: int

    @property
    def is_smoke(self) -> bool:
        """Whether this is the smallest: surveys then take one instance, 2 x 2 settings and fewer steps."""
        return self.name == "smoke"


PRESETS: Mapping[str, Scale] = MappingProxyType(
    {
        "smoke": Scale("smoke", 4, 3),
        "laptop": Scale("laptop", 16, 6),
        "full": Scale("full", 64, 12),
    }
)


class Task(BaseModel):
    """One simulation and what to measure in it; it alone determines the rows, and so names the run in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "simulation"  # in the names of stored runs, as in the other kinds of task

    specification: Specification
    measures: tuple[str, ...]

    def rows(self) -> Iterator[Row]:
        """Mean and standard error over runs of every measure at every record."""
        return measured(self.specification, self.measures)


def measured(specification: Specification, names: Sequence[str]) -> Iterator[Row]:
    """Mean and standard error over runs: of a measure of the policy at every record, of the rollouts at step 0."""
    bandit = bandit_of(specification)
    of_rollouts = [name for name in names if measures.parsed(name)[0] in measures.OF_ROLLOUTS]
    of_policy = [name for name in names if name not in of_rollouts]
    if of_rollouts:
        batch = simulator.first_batch(specification).rollouts
        for name in of_rollouts:
            word, numbers = measures.parsed(name)
            yield _row(0, name, measures.OF_ROLLOUTS[word](batch, *numbers))
    if of_policy:
        for step, log_policy in simulator.run(specification):
            for name in of_policy:
                yield _row(step, name, measures.evaluate(name, bandit, log_policy))


def _row(step: int, name: str, values: Floats) -> Row:
    mean, error = float(values.mean()), analysis.standard_error(values)
    return {"step": step, "measure": name, "mean": mean, "standard_error": error}


def rows_of(task: Any) -> Iterator[Row]:
    """The rows of a task; a function of a module, so that another process finds it."""
    rows: Iterator[Row] = task.rows()
    return rows


@dataclass(frozen=True)
class Finding:
    """One number against its prediction and a rival's; `allowed` is the systematic part of the margin."""

    label: str
    observed: float
    standard_error: float
    predicted: float
    rival: float
    allowed: float = 0.0

    @property
    def margin(self) -> float:
        """The largest distance that still agrees."""
        return MARGIN * self.standard_error + self.allowed

    @property
    def is_precise(self) -> bool:
        """Whether the standard error is small beside the prediction or its distance from the rival."""
        scale = max(abs(self.predicted), abs(self.predicted - self.rival))
        return self.standard_error <= PRECISE * scale

    @property
    def status(self) -> str:
        """`agrees`, `differs` (the prediction is rejected) or `not resolved` (the rival is not, or too noisy)."""
        if not abs(self.observed - self.predicted) <= self.margin:  # NaN differs
            return "differs"
        is_rejected = abs(self.observed - self.rival) > self.margin
        return "agrees" if is_rejected and self.is_precise else "not resolved"


@dataclass(frozen=True)
class Outcome:
    """A task with its rows."""

    task: Task
    rows: Sequence[Row]

    def at(self, measure: str, step: int | None = None) -> tuple[float, float]:
        """Mean and standard error of a measure at a step; the last one if none is given."""
        wanted = self.task.specification.num_steps if step is None else step
        row = next(row for row in self.rows if row["step"] == wanted and row["measure"] == measure)
        return float(row["mean"]), float(row["standard_error"])


@dataclass(frozen=True)
class Experiment:
    """A question, what the theory predicts, a rival prediction, and how to find out.

    `tasks` takes the scale and the seed. `analyse` gets the outcomes in the order of the tasks.
    """

    id: str
    claims: tuple[str, ...]
    question: str
    prediction: str
    rival: str
    tasks: Callable[[Scale, int], Iterable[Task]]
    analyse: Callable[[Sequence[Outcome]], Iterable[Finding]]


def verdict(findings: Sequence[Finding]) -> str:
    """`agrees` if every finding does, `differs` if any does, else `not resolved`."""
    statuses = {finding.status for finding in findings}
    return "differs" if "differs" in statuses else "agrees" if statuses == {"agrees"} else "not resolved"


def finding_rows(experiment: Experiment, findings: Sequence[Finding]) -> list[Row]:
    """The findings as rows, with the experiment's verdict on each."""
    overall = verdict(findings)
    return [
        {
            "experiment": experiment.id,
            "verdict": overall,
            "label": finding.label,
            "status": finding.status,
            "observed": finding.observed,
            "standard_error": finding.standard_error,
            "predicted": finding.predicted,
            "rival": finding.rival,
            "allowed": finding.allowed,
        }
        for finding in findings
    ]
