"""`bandits`: the experiments, theory against simulation."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

import store
from bandits import experiments
from bandits.experiments import framework
from bandits.experiments.framework import Experiment, Outcome, Scale
from commands import files, sweep
from commands.options import NonEmpty, Options
from figures import experiment_tables


class BanditsOptions(Options):
    """Run the bandit experiments: one verdict a line, theory against simulation, with a rival prediction rejected."""

    only: tuple[NonEmpty, ...] = Field((), description="experiments to run, see --list; all if not given")
    preset: Literal["smoke", "laptop", "full"] = Field(
        "laptop", description="how much to compute: smoke, laptop or full"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all runs")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=1024, description="processes")
    backend: NonEmpty = Field("loky", description="joblib back end: loky, dask, threading, ...")
    out: NonEmpty = Field("results", description="folder of the result store")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the findings as JSON to this file")
    list_only: bool = Field(False, alias="list", description="print the experiments and stop")


def bandits(options: BanditsOptions) -> int:
    """Runs the experiments and prints a verdict for each; 1 if a prediction is rejected."""
    try:
        chosen = experiments.select(options.only)
    except ValueError as error:
        raise ValueError(f"--{error}") from None
    if options.list_only:
        print(experiment_tables.listing([_described(experiment) for experiment in chosen]))
        return 0
    files.refuse_as_file("json", options.json_file)
    files.refuse_as_folder("out", options.out)
    scale = framework.PRESETS[options.preset]
    clock = store.Clock()
    print(experiment_tables.VERDICT_HEADER)
    rows: list[dict[str, Any]] = []
    for experiment in chosen:
        start = time.perf_counter()
        found = _findings(experiment, scale, options)
        rows += found
        print(experiment_tables.verdict_line(found, time.perf_counter() - start), flush=True)
    config = {"command": "bandits", "preset": options.preset, "seed": options.seed, "only": list(options.only)}
    run = store.write_run("bandits", config, rows, clock=clock, root=options.out, overwrite=True)
    verdicts = {row["experiment"]: row["verdict"] for row in rows}
    print(experiment_tables.closing_line(list(verdicts.values())))
    print(f"findings: {run / 'rows.csv'}")
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), files.json_text({"config": config, "findings": rows}))
    return 1 if "differs" in verdicts.values() else 0


def _findings(experiment: Experiment, scale: Scale, options: BanditsOptions) -> list[dict[str, Any]]:
    tasks = list(experiment.tasks(scale, options.seed))
    found = sweep.run(tasks, framework.rows_of, root=options.out, jobs=options.jobs, backend=options.backend)
    outcomes = [Outcome(task, rows) for task, rows in zip(tasks, found, strict=True)]
    findings = tuple(experiment.analyse(outcomes))
    return framework.finding_rows(experiment, findings)


def _described(experiment: Experiment) -> dict[str, Any]:
    fields = ("id", "claims", "question", "prediction", "rival")
    return {name: getattr(experiment, name) for name in fields}
