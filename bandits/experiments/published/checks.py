"""External checks: published simulations re-run, published numbers recomputed, and what agrees.

`tasks` lists independent computations, each makes its rows, `compare` sets all rows against the published
numbers of `external_table`. A status is computed: `agrees`, `differs`, or `not comparable` where nothing was published
or nothing can be held against it.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from sharpening.bandits import measures, simulator
from sharpening.bandits.experiments.framework import Row, Scale
from sharpening.bandits.experiments.published import closed_forms, outcomes
from sharpening.bandits.experiments.published.outcomes import Measured
from sharpening.bandits.experiments.published.table import CHECKS, ZONE
from sharpening.bandits.experiments.surveys import Survey
from sharpening.bandits.specification import Specification, bandit_of

RESOLVED = 5.0  # standard errors
SEEDS = 25  # sampled runs of 3.1 for each seed of the scale
GROUP_SIZES = {"smoke": (), "laptop": (2, 32, 512, 8192, 131_072), "full": tuple(2**power for power in range(1, 18))}
CATEGORICAL_RUNS = {"smoke": 2, "laptop": 2, "full": 4}
COLLAPSE, CONSENSUS = ("0", "0.25", "0.5", "1"), (4, 8, 16, 32, 64)
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "plain": {"method": "dr_grpo"},
    "gamma_0": {"method": "f_grpo", "parameters": {"gamma": 0.0}},
    "gamma_1": {"method": "f_grpo", "parameters": {"gamma": 1.0}},
    "ds": {"method": "ds", "parameters": {"gamma_correct": 0.1}},
    "plain_sgd": {"method": "dr_grpo", "optimizer": "sgd"},
}


class Task(BaseModel):
    """One computation; it alone determines the rows, and so names the run in the store."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "published"

    part: Literal["flows", "collapse", "consensus", "categorical", "tail_miss", "kl_modes", "pass_at_n", "uplift"]
    variant: str = ""  # exponent, group size or name within the part
    num_runs: int = 0  # independent runs of `collapse` and `consensus`
    seed: int = 0
    specification: Specification | None = None

    def rows(self) -> Iterator[Row]:
        """What the task measures: rows of quantity and value."""
        for quantity, value in _measured(self):
            yield {"quantity": quantity, "value": float(value)}


def tasks(scale: Scale, seed: int) -> list[Task]:
    """The computations at a scale; smoke leaves out what takes more than a second."""
    listed = [Task(part="flows"), Task(part="pass_at_n")]
    listed += [Task(part="tail_miss", seed=seed), Task(part="kl_modes", seed=seed)]
    listed += [
        Task(part="uplift", seed=seed, specification=_uplift(method, seed)) for method in ("grpo", "unlikeliness")
    ]
    if not GROUP_SIZES[scale.name]:
        return listed
    num_runs = SEEDS * scale.num_seeds
    listed += [Task(part="collapse", variant=exponent, num_runs=num_runs, seed=seed) for exponent in COLLAPSE]
    listed += [Task(part="consensus", variant=str(size), num_runs=num_runs, seed=seed) for size in CONSENSUS]
    for name in VARIANTS:
        for size in (8192,) if name == "plain_sgd" else GROUP_SIZES[scale.name]:
            specification = _categorical(name, size, CATEGORICAL_RUNS[scale.name], seed)
            listed.append(Task(part="categorical", variant=name, seed=seed, specification=specification))
    return listed


def _categorical(name: str, group_size: int, num_runs: int, seed: int) -> Specification:
    """Appendix J as published, with the optimiser that it does not name: Adam."""
    usual = {"instance": "categorical_128k", "learning_rate": 1e-2, "optimizer": "adam", "num_steps": 1000}
    sizes = {"group_size": group_size, "num_runs": num_runs, "seed": seed, "record_every": 1000}
    return Specification.model_validate({**usual, **sizes, **VARIANTS[name]})


def _uplift(method: str, seed: int) -> Specification:
    usual = {"instance": "many_solutions", "group_size": closed_forms.NUM_DRAWS, "learning_rate": 0.1}
    sizes = {"num_steps": 100, "num_runs": 400, "record_every": 100, "seed": seed}
    return Specification.model_validate({**usual, **sizes, "method": method, "parameters": {"ddof": 0}})


def _measured(task: Task) -> Measured:
    name = zlib.crc32(f"{task.part} {task.variant}".encode())
    rng = np.random.default_rng(np.random.SeedSequence([task.seed, name]))
    match task.part:
        case "flows":
            return outcomes.flows()
        case "collapse":
            return outcomes.collapse(task.variant, task.num_runs, rng)
        case "consensus":
            return outcomes.consensus(int(task.variant), task.num_runs, rng)
        case "tail_miss":
            return closed_forms.tail_miss(rng)
        case "kl_modes":
            return closed_forms.kl_modes(rng)
        case "pass_at_n":
            return closed_forms.pass_at_n()
    assert task.specification is not None
    if task.part == "uplift":
        return closed_forms.uplift(task.specification, rng)
    return categorical(task.variant, task.specification)


def categorical(name: str, specification: Specification) -> Measured:
    """Q and the retained mass at the end, means over runs."""
    *_, (_, log_policy) = simulator.run(specification)
    bandit, size = bandit_of(specification), "" if name == "plain_sgd" else f"_{specification.group_size}"
    yield f"{name}_correctness{size}", float(measures.correctness(bandit, log_policy).mean())
    yield f"{name}_retained{size}", float(measures.retained_mass(bandit, log_policy).mean())


def compare(found: Iterable[Sequence[Row]]) -> list[Row]:
    """The table: one row for each published number that the rows of the tasks have a value for."""
    measured = {row["quantity"]: float(row["value"]) for rows in found for row in rows}
    measured |= derived(measured)
    table = []
    for check in CHECKS.values():
        if check.id in measured:
            ours = measured[check.id]
            table.append(
                {
                    "quantity": check.quantity,
                    "published": check.published,
                    "ours": ours,
                    "tolerance": math.nan if check.tolerance is None else check.tolerance,
                    "reason": check.reason,
                    "source": check.source,
                    "status": status(check.published, ours, check.tolerance),
                }
            )
    return table


def status(published: float, ours: float, tolerance: float | None) -> str:
    """`agrees` within the tolerance, `differs` outside or where ours is no number, `not comparable` without one."""
    if tolerance is None:
        return "not comparable"
    return "agrees" if abs(ours - published) <= tolerance else "differs"


def derived(measured: Mapping[str, float]) -> dict[str, float]:
    """Numbers that several tasks are needed for, as far as they are there."""
    found = {}
    times = {size: measured[f"consensus_{size}"] for size in CONSENSUS if f"consensus_{size}" in measured}
    if len(times) == len(CONSENSUS) and np.isfinite(list(times.values())).all():
        found["consensus_exponent"] = float(np.polyfit(np.log(list(times)), np.log(list(times.values())), 1)[0])
    zone = [size for size in ZONE if all(f"{name}_retained_{size}" in measured for name in ("gamma_0", "gamma_1"))]
    if zone:
        more = [measured[f"gamma_1_retained_{size}"] > measured[f"gamma_0_retained_{size}"] for size in zone]
        found["gamma_retains_more"] = sum(more) / len(zone)
    for size in ZONE:
        if all(f"{name}_retained_{size}" in measured for name in ("plain", "ds")):
            found[f"ds_gain_{size}"] = measured[f"ds_retained_{size}"] / measured[f"plain_retained_{size}"]
            found[f"ds_cost_{size}"] = measured[f"plain_correctness_{size}"] - measured[f"ds_correctness_{size}"]
    gaps = {name: measured.get(f"uplift_gap_{name}") for name in ("grpo", "unlikeliness")}
    if gaps["grpo"] is not None:
        found["uplift_grpo"] = _sign(gaps["grpo"], measured["uplift_error_grpo"])
        if gaps["unlikeliness"] is not None:
            errors = (measured["uplift_error_grpo"], measured["uplift_error_unlikeliness"])
            found["uplift_unlikeliness"] = _sign(gaps["unlikeliness"] - gaps["grpo"], math.hypot(*errors))
    return found


def _sign(value: float, error: float) -> float:
    """1 or -1, or 0 within 5 standard errors of 0."""
    return math.copysign(1.0, value) if abs(value) > RESOLVED * error else 0.0


def _summary(_: Sequence[Task], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    table = compare(found)
    counts = {word: sum(row["status"] == word for row in table) for word in ("agrees", "differs", "not comparable")}
    sentences = [", ".join(f"{count} of {len(table)} {word}" for word, count in counts.items())]
    for row in table:
        near = "" if math.isnan(row["tolerance"]) else f" (+- {row['tolerance']:.2g})"
        published = "nothing" if math.isnan(row["published"]) else f"{row['published']:.6g}{near}"
        sentences.append(f"{row['status']}: {row['quantity']}: published {published}, ours {row['ours']:.6g}")
    return table, sentences


SURVEYS = (Survey("external", "Do published simulations and numbers come out again?", tasks, _summary),)
