"""Comparisons of methods under one budget of steps: many variants of one specification in one task.

Every comparison has the reviewer's baselines: vanilla stopped early (every record is one), vanilla at a third of the
learning rate, vanilla with KL, and the entropy bonus swept over as many strengths as differential smoothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from sharpening.bandits.experiments import framework
from sharpening.bandits.specification import Specification

Row = dict[str, Any]
VANILLA = "vanilla"
STOPPED = "vanilla stopped early"  # its strengths are numbers of steps
NOTICED = 2.0  # standard errors of a difference


class Variant(BaseModel):
    """One method at one strength: the fields of the specification that it sets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    strength: float
    fields: Mapping[str, Any]


class Comparison(BaseModel):
    """Variants of one specification and what to measure in each; it alone determines the rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "comparison"

    common: Mapping[str, Any]
    variants: tuple[Variant, ...]
    measures: tuple[str, ...]

    def specification(self, variant: Variant) -> Specification:
        """The common fields with those of a variant."""
        return Specification.model_validate({**self.common, **variant.fields})

    def rows(self) -> Iterator[Row]:
        """Mean and standard error of every measure at every record of every variant."""
        for variant in self.variants:
            for row in framework.measured(self.specification(variant), self.measures):
                yield {"variant": variant.name, "strength": variant.strength, **row}


@dataclass(frozen=True)
class Family:
    """A method with one strength to sweep: the strengths at 0 and 1 of the sweep, and the fields at a strength."""

    name: str
    low: float
    high: float
    fields: Callable[[float], dict[str, Any]]

    def variants(self, num_strengths: int) -> tuple[Variant, ...]:
        """The method at strengths spaced evenly in their logarithm; once if there is nothing to sweep."""
        if self.low == self.high:
            return (Variant(name=self.name, strength=self.low, fields=self.fields(self.low)),)
        swept = np.geomspace(self.low, self.high, num_strengths)
        return tuple(Variant(name=self.name, strength=float(s), fields=self.fields(float(s))) for s in swept)


def _named(method: str, *names: str, **fixed: Any) -> Callable[[float], dict[str, Any]]:
    """Fields that set the method's parameters of these names to the strength."""
    return lambda strength: {"method": method, "parameters": {**dict.fromkeys(names, strength), **fixed}}


def families(learning_rate: float) -> tuple[Family, ...]:
    """Every method of the comparisons; vanilla is the group mean as baseline, without a standard deviation."""
    once = 1.0
    return (
        Family(VANILLA, once, once, lambda _: {"method": "dr_grpo"}),
        Family("vanilla at rate / 3", once, once, lambda _: {"method": "dr_grpo", "learning_rate": learning_rate / 3}),
        Family("vanilla with KL", 0.01, 1.0, lambda strength: {"method": "dr_grpo", "kl_strength": strength}),
        Family("grpo", once, once, lambda _: {"method": "grpo"}),
        Family("entropy bonus", 0.01, 1.0, _named("entropy_bonus", "strength")),
        Family("entropy penalty", 0.01, 1.0, _named("entropy_penalty", "strength")),
        Family("ds", 0.01, 1.0, _named("ds", "gamma_correct")),
        Family("ds on both sides", 0.01, 1.0, _named("ds", "gamma_correct", "gamma_incorrect")),
        Family("ds centred", 0.01, 1.0, _named("ds", "gamma_correct", centre="correct_only")),
        Family(
            "mara with KL", 0.01, 1.0, lambda s: {"method": "mara", "parameters": {"strength": s}, "kl_strength": s}
        ),
        Family("unlikeliness", 0.1, 1.0, _named("unlikeliness", "rank_strength", ddof=0)),
        Family("ucpo", 0.1, 1.0, _named("ucpo", "uniform_weight")),
        Family("ips", 0.1, 2.0, _named("ips", "exponent")),
        Family("f_grpo", 0.25, 2.0, _named("f_grpo", "gamma")),
        Family("maxrl", once, once, lambda _: {"method": "maxrl"}),
        Family("pkpo", 2.0, 8.0, lambda strength: {"method": "pkpo", "parameters": {"k": round(strength)}}),
    )


@dataclass(frozen=True)
class End:
    """Where a variant ends, against vanilla.

    `is_above` says whether it ends above vanilla in correctness and in the other measure, beyond two standard errors
    of each difference. `gain` is the other measure over that of vanilla stopped at the same correctness (at vanilla's
    end if the variant went further).
    """

    variant: str
    strength: float
    correctness: float
    other: float
    is_above: bool
    gain: float


def ends(rows: Sequence[Row], first: str, other: str) -> list[End]:
    """Where every variant ends in two measures, after every early stop of vanilla."""
    means = {(row["variant"], row["strength"], row["measure"], row["step"]): row for row in rows}
    steps = sorted({row["step"] for row in rows})
    points = list(dict.fromkeys((row["variant"], row["strength"]) for row in rows))
    at = next(point for point in points if point[0] == VANILLA)
    stops = [[means[(*at, measure, step)]["mean"] for measure in (first, other)] for step in steps]
    path = np.array(sorted(stops))  # by correctness, as np.interp wants it
    found = [End(STOPPED, float(step), q, value, False, 1.0) for step, (q, value) in zip(steps, stops, strict=True)]
    for variant, strength in points:
        own, vanilla = ([means[(*point, m, steps[-1])] for m in (first, other)] for point in ((variant, strength), at))
        above = [
            mine["mean"] - its["mean"] > NOTICED * np.hypot(mine["standard_error"], its["standard_error"])
            for mine, its in zip(own, vanilla, strict=True)
        ]
        correctness, value = own[0]["mean"], own[1]["mean"]
        stopped = float(np.interp(correctness, path[:, 0], path[:, 1]))
        found.append(End(variant, strength, correctness, value, all(above), value / stopped))
    return found


def frontier(found: Sequence[End]) -> list[End]:
    """The ends that no other one exceeds in both measures, by falling correctness."""
    kept = [
        end
        for end in found
        if not any(rival.correctness > end.correctness and rival.other > end.other for rival in found)
    ]
    return sorted(kept, key=lambda end: -end.correctness)
