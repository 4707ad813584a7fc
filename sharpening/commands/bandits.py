"""`bandits`: the experiments, theory against simulation."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure
from pydantic import Field

from sharpening.bandits import experiments
from sharpening.bandits.experiments import framework
from sharpening.bandits.experiments.framework import Experiment, Outcome, Row, Scale
from sharpening.bandits.experiments.surveys import Survey
from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures import render
from sharpening.figures.drawing import bandits as bandit_figures
from sharpening.figures.tables import experiments as experiment_tables
from sharpening.storage import files, store, sweep


class BanditsOptions(Options):
    """Run the bandit experiments: theory against simulation, a verdict a line, then who wins where."""

    only: tuple[NonEmpty, ...] = Field((), description="experiments and surveys to run, see --list; all if not given")
    preset: Literal["smoke", "laptop", "full"] = Field(
        "laptop", description="how much to compute: smoke, laptop or full"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all runs")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=1024, description="processes")
    backend: NonEmpty = Field("loky", description="joblib back end: loky, dask, threading, ...")
    formats: tuple[Format, ...] = FORMATS
    width: float | None = WIDTH
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
        print(experiment_tables.listing([_described(experiment) for experiment in chosen], printed_width()))
        return 0
    files.refuse_as_file("json", options.json_file)
    files.refuse_as_folder("out", options.out)
    scale = framework.PRESETS[options.preset]
    rows = _verdicts([entry for entry in chosen if isinstance(entry, Experiment)], scale, options)
    sentences = _answers([entry for entry in chosen if isinstance(entry, Survey)], scale, options)
    if options.json_file is not None:
        text = files.json_text({"preset": options.preset, "seed": options.seed, "findings": rows, "surveys": sentences})
        write_named("json", options.json_file, text)
    return 1 if any(row["verdict"] == "differs" for row in rows) else 0


def _verdicts(chosen: Sequence[Experiment], scale: Scale, options: BanditsOptions) -> list[Row]:
    """Runs the experiments, prints a line for each, stores and returns the findings."""
    if not chosen:
        return []
    clock, width = store.Clock(), printed_width()
    print(experiment_tables.verdict_header(width))
    rows: list[Row] = []
    for experiment in chosen:
        start = time.perf_counter()
        tasks = list(experiment.tasks(scale, options.seed))
        pairs = zip(tasks, _computed(tasks, options), strict=True)
        found = framework.finding_rows(experiment, tuple(experiment.analyse([Outcome(*pair) for pair in pairs])))
        rows += found
        print(experiment_tables.verdict_line(found, time.perf_counter() - start, width), flush=True)
    verdicts = {row["experiment"]: row["verdict"] for row in rows}
    print(experiment_tables.closing_line(verdicts, options.preset, width))
    print(f"findings: {_stored('findings', rows, clock, options)}\n")
    return rows


def _answers(chosen: Sequence[Survey], scale: Scale, options: BanditsOptions) -> dict[str, list[str]]:
    """Runs the surveys, prints the sentences of each, stores its table; returns the sentences."""
    answers = {}
    for survey in chosen:
        clock, start = store.Clock(), time.perf_counter()
        tasks = list(survey.tasks(scale, options.seed))
        rows, sentences = survey.summarise(tasks, _computed(tasks, options))
        answers[survey.id] = sentences
        seconds = time.perf_counter() - start
        print(experiment_tables.answer(survey.id, survey.question, sentences, seconds, printed_width()))
        run = _stored(survey.id, rows, clock, options)
        drawn = f"\n  {figure_line(run.parent, survey.id, options.formats)}" if survey.id in DRAWN else ""
        print(f"  table: {run}{drawn}\n", flush=True)
    return answers


def _computed(tasks: Sequence[Any], options: BanditsOptions) -> list[Sequence[Row]]:
    return sweep.run(tasks, framework.rows_of, root=options.out, jobs=options.jobs, backend=options.backend)


def _stored(what: str, rows: Sequence[Row], clock: store.Clock, options: BanditsOptions) -> Path:
    """Stores a table under what determines it, besides the tasks' own runs."""
    config: dict[str, Any] = {"command": "bandits", "table": what, "preset": options.preset, "seed": options.seed}
    if what == "findings":
        config["only"] = list(options.only)
    artefacts = drawn(config, rows, store.run_id("bandits", config), options.formats, options.width)
    run = store.write_run("bandits", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    return run / "rows.csv"


def drawn(
    config: Mapping[str, Any], rows: Sequence[Row], run: str, formats: Sequence[str], width: float | None
) -> dict[str, bytes]:
    """The figure of a stored table, if it has one, as files."""
    if (what := str(config["table"])) not in DRAWN:
        return {}
    draw, caption = DRAWN[what]
    text = caption(config["preset"], run)
    return dict(render.render(what, lambda: draw(rows), text, formats=formats, width=width))


DRAWN: Mapping[str, tuple[Callable[[Sequence[Row]], Figure], Callable[[str, str], str]]] = {
    "frontier_single": (bandit_figures.draw_frontier, bandit_figures.frontier_caption),
    "frontier_shared": (bandit_figures.draw_frontier, bandit_figures.frontier_caption),
    "phase_diagram": (bandit_figures.draw_phase_diagram, bandit_figures.phase_caption),
    "tuned_single": (bandit_figures.draw_contest, bandit_figures.contest_caption),
    "tuned_shared": (bandit_figures.draw_contest, bandit_figures.contest_caption),
}


def _described(entry: Experiment | Survey) -> dict[str, Any]:
    return {field.name: getattr(entry, field.name) for field in dataclasses.fields(entry)}


COMMAND = (BanditsOptions, bandits)
