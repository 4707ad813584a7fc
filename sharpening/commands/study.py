"""`study`: every contestant tuned alike on a small language model, then compared on fresh seeds and problems."""

from __future__ import annotations

import functools
import hashlib
import itertools
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from sharpening.commands import language_models, llm, warm_start
from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.results import described
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.figures import render
from sharpening.figures.drawing import studies as study_figures
from sharpening.figures.tables import studies as study_tables
from sharpening.storage import files, store, sweep

if TYPE_CHECKING:
    from sharpening.llm.studies.protocol import Contestant, Protocol
    from sharpening.llm.studies.runs import StudyRun
    from sharpening.llm.studies.stages import Labelled

Row = dict[str, Any]
COMMITTED = ("results/reference",)  # stores that have warm starts and runs, beside the user's
OWN_COLUMNS = ("quantity", "step", "at", "value")  # of a run; the others label it

FIGURES = {  # and the stage and the quantity that each shows
    "study_path": (study_figures.draw_path, study_figures.path_caption, "comparison", "path_pass_at_k"),
    "study_curves": (study_figures.draw_curves, study_figures.curves_caption, "comparison", "matched_relative_gain"),
    "study_frontier": (study_figures.draw_frontier, study_figures.frontier_caption, "tuning", "pass_at_k"),
    "study_strengths": (study_figures.draw_strengths, study_figures.strengths_caption, "tuning", "pass_at_k"),
}


class StudyOptions(Options):
    """Tune methods alike on a small language model, compare them on fresh seeds: who wins? Goes on where it stopped."""

    preset: Literal["smoke", "laptop", "full", "one-rate", "ablations", "pretrained"] = Field(
        "smoke",
        description="what to compute: smoke (a minute or two), laptop (20 minutes: four contestants, small grids, "
        "three runs), full (many hours), one-rate (an hour: at the same learning rate, not tuned), ablations (an hour: "
        "DS with one change at a time, not tuned) or pretrained (hours: a larger model, not tuned)",
    )
    model: NonEmpty | None = Field(None, description="with pretrained: folder of the model, taught Countdown")
    until: Literal["setting", "tuning", "comparison", "others"] = Field("others", description="last stage to run")
    only: tuple[NonEmpty, ...] = Field(
        (), description="contestants beside plain RL, and no other methods; all if not given"
    )
    jobs: int | None = Field(
        None, ge=1, le=1024, description="runs at once, one thread each (default: 2; in smoke, of short runs, 1)"
    )
    afresh: bool = Field(False, description="also make the runs that committed studies of the same protocol have")
    dry_run: bool = Field(False, description="print the plan and what it costs, and stop")
    formats: tuple[Format, ...] = FORMATS
    width: float | None = WIDTH
    out: NonEmpty = Field("results", description="folder of the result store")


def study(options: StudyOptions) -> int:
    """Runs the stages in order, prints and stores what they say; 1 if a run failed."""
    files.refuse_as_folder("out", options.out)
    if (options.model is None) == (options.preset == "pretrained") and not options.dry_run:
        raise ValueError(f"--model: {options.model!r}: want the folder of a model with --preset pretrained, only there")
    language_models.need_torch()
    llm.need_trl()
    from sharpening.llm.studies import analysis, confirm, protocol, stages, tuning

    plan = protocol.PROTOCOLS[options.preset]
    contestants = _contestants(plan, options.only)
    until = min(map(protocol.STAGES.index, (options.until, "comparison" if options.only else "others")))
    costs = protocol.costs(plan, contestants)[: until + 1]
    print(study_tables.plan(costs, options.preset, printed_width()), flush=True)
    if options.dry_run:
        return 0
    work = _Work(plan, options)
    runs = stages.Runs(plan, work.weights)
    work.compute(list(runs.setting()))
    if until >= 1:
        chosen = tuning.tuned(runs, contestants, work.compute)
    if until >= 2:
        work.compute(runs.comparison([(one, chosen[one.name]) for one in contestants]))
    if until >= 3:
        work.compute(list(runs.others(chosen[protocol.PLAIN].learning_rate)))
    found = list(analysis.summary(work.rows, plan.setting.steps))
    outcomes = analysis.outcomes(found, work.rows, plan.setting.steps)
    transferred = confirm.TRANSFERRED if plan.preset == "laptop" else None  # of that warm start's gradients
    predictions = confirm.rows_of(work.rows, plan.setting.steps, transferred)
    say = functools.partial(study_tables.report, work.rows, found, outcomes, predictions)
    print(say(printed_width()))
    if work.rows:
        text = say(STABLE_WIDTH).encode()
        kept = {name: path.read_bytes() for name, path in work.adapters().items()}
        config = work.config("runs")
        made = drawn(config, work.rows, store.run_id("llm", config), options.formats, options.width)
        _store(work, "runs", work.rows, {"report.txt": text, **made, **kept})
        for table, rows in (("summary", found), ("outcomes", outcomes), ("predictions", predictions)):
            if rows:
                _store(work, table, rows, {})
    return int(work.num_failed > 0)


def drawn(
    config: Mapping[str, Any], rows: Sequence[Row], run: str, formats: Sequence[str], width: float | None
) -> dict[str, bytes]:
    """The figures of the stages that the rows of a stored table have, as files."""
    made: dict[str, bytes] = {}
    for figure, (draw, caption, stage, needed) in FIGURES.items():
        if config["table"] == "runs" and any(row["stage"] == stage and row["quantity"] == needed for row in rows):
            draws = functools.partial(draw, rows)
            made |= render.render(figure, draws, caption(config["preset"], run), formats=formats, width=width)
    return made


def _store(work: _Work, table: str, rows: Sequence[Row], artefacts: Mapping[str, bytes]) -> None:
    """Stores a table, and says where it is, and its figures."""
    config, out = work.config(table), work.options.out
    run = store.write_run("llm", config, rows, clock=work.clock, artefacts=artefacts, root=out, overwrite=True)
    print(f"{table + ':':12} {run / 'rows.csv'}")
    for figure in FIGURES:
        if f"{figure}.txt" in artefacts:
            print(figure_line(run, figure, work.options.formats))


class _Work:
    """Computes runs, or finds them in the store, and keeps their rows with labels."""

    def __init__(self, plan: Protocol, options: StudyOptions) -> None:
        from sharpening.llm.sampling import models

        self.options, self.clock, self.plan = options, store.Clock(), plan
        self.rows: list[Row] = []
        self.tasks: list[StudyRun] = []
        self.num_failed = 0
        self.known: set[tuple[Any, ...]] = set()
        self.folder = Path(options.out) / "adapters"
        seeds = plan.warm_starts[:1] if options.until == "setting" else plan.warm_starts
        if plan.preset:
            trained = functools.partial(warm_start.model_of, plan.preset, options.out, stores=COMMITTED)
            self.model_of = {seed: str(trained(seed=seed)) for seed in seeds}
        else:
            self.model_of = {seed: str(options.model) for seed in seeds}
        self.weights = {seed: str(models.identity(folder)["sha256"]) for seed, folder in self.model_of.items()}
        self.committed = {} if options.afresh else self._committed()
        if self.committed:
            stores = ", ".join(COMMITTED)
            print(f"note: {len(self.committed)} runs are those of {stores}; --afresh makes them again", file=sys.stderr)

    def _committed(self) -> dict[tuple[Any, ...], list[Row]]:
        """The rows that committed studies of this protocol and these warm starts have, by the labels of the run."""
        wanted = {key: value for key, value in self.config("runs").items() if key in ("command", "table", "protocol")}
        found: dict[tuple[Any, ...], list[Row]] = {}
        for path in itertools.chain.from_iterable(map(store.list_runs, COMMITTED)):
            about = described(path)
            if about["state"] == "ok" and wanted.items() <= about["config"].items():
                theirs = about["config"]["weights"]
                same = {seed for seed, name in self.weights.items() if theirs.get(str(seed)) == name}
                rows = [row for row in store.read_rows(path / "rows.csv") if row["warm_start"] in same]
                for key, own in itertools.groupby(rows, _labels):
                    found[key] = list(own)
        return found

    def adapters(self) -> dict[str, Path]:
        """The files of the runs' adapters by the names they are stored under: as made here, else as stored before."""
        stored = Path(self.options.out) / "llm" / store.run_id("llm", self.config("runs"))
        return {
            f"{task.name}/{path.name}": path
            for task in self.tasks
            for folder in (stored / task.name, self.folder / _key(task))
            for path in sorted(folder.glob("adapter_*"))
        }

    def config(self, table: str) -> dict[str, Any]:
        """What determines a table."""
        options = self.options
        weights = {str(seed): name for seed, name in self.weights.items()}
        about = {"preset": options.preset, "until": options.until, "only": list(options.only), "weights": weights}
        plan = hashlib.sha256(repr(self.plan).encode()).hexdigest()[:12]
        return {"command": "study", "table": table, "protocol": plan, **about}

    def compute(self, runs: Sequence[Labelled]) -> list[Sequence[Row]]:
        """The rows of every run; none of one that failed."""
        labels = [tuple(run.labels().values()) for run in runs]
        tasks: list[Any] = [run.task for run, key in zip(runs, labels, strict=True) if key not in self.committed]
        made = sweep.run(
            tasks,
            functools.partial(rows_of, self.model_of, self.folder),
            root=self.options.out,
            jobs=self.options.jobs or (1 if self.options.preset == "smoke" else min(2, os.cpu_count() or 1)),
            backend="loky",
            layer="llm",
            goes_on=True,
        )
        computed = iter(made)
        found = [self.committed[key] if key in self.committed else next(computed) for key in labels]
        for run, key, rows in zip(runs, labels, found, strict=True):
            if key not in self.known:
                self.known.add(key)
                self.num_failed += not rows
                self.tasks.append(run.task)
                self.rows += [{**run.labels(), **row, "at": float(row["at"])} for row in rows]
        return found


def _labels(row: Row) -> tuple[Any, ...]:
    return tuple(value for name, value in row.items() if name not in OWN_COLUMNS)


def _key(task: StudyRun) -> str:
    """What a run's adapters are kept under until they are stored: another learning rate has others."""
    return hashlib.sha256(task.model_dump_json().encode()).hexdigest()[: store.ID_LENGTH]


def rows_of(model_of: Mapping[int, str], adapters: Path, task: StudyRun) -> list[Row]:
    """The rows of a run, in a process that may have just begun."""
    language_models.need_torch()
    llm.need_trl()
    from sharpening.llm.studies import runs
    from sharpening.llm.training import run, trainer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trainer.MethodWarning)  # strengths are tried, large ones among them
        return runs.rows_of(task, model_of, lambda trained: run.save(trained, adapters / _key(task), merges=False))


def _contestants(plan: Protocol, only: Sequence[str]) -> list[Contestant]:
    """Plain RL and those that are named, or all."""
    from sharpening.llm.studies import protocol

    names = [one.name for one in plan.contestants]
    for name in only:
        if name not in names:
            raise ValueError(f"--only: {name!r}: want some of {', '.join(names)}")
    return [one for one in plan.contestants if not only or one.name in (protocol.PLAIN, *only)]


COMMAND = (StudyOptions, study)
