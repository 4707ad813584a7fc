"""`report`: one HTML page of all that is stored, in one's own store and among the committed runs."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

import sharpening
from sharpening.commands import bandits, results, study
from sharpening.commands import figures as first_figures
from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty, Options
from sharpening.figures.drawing import audit as audit_figures
from sharpening.figures.drawing import rate_curves as curve_figures
from sharpening.figures.drawing import rates as rate_figures
from sharpening.figures.drawing import samples as sample_figures
from sharpening.figures.drawing import theory as theory_figures
from sharpening.figures.report import page
from sharpening.figures.report.keys import Picture, Run
from sharpening.storage import files, store

REFERENCE = "results/reference"
INDEX = "runs.json"  # beside committed runs: name, line and command of each
TITLE = "Does RL sharpen a language model, and can it be prevented?"
Draw = Callable[[list[dict[str, Any]]], Any]
DRAWN: Mapping[str, Mapping[str, Draw]] = {  # by command; those of `bandits` and `figures` are in their modules
    "audit": {"audit": audit_figures.draw_audit},
    "predict": {"prediction": theory_figures.draw_prediction},
    "samples": {"pass_at_k": sample_figures.draw_pass_at_k},
    "bandits": {name: draw for name, (draw, _) in bandits.DRAWN.items()},
    "study": {name: draw for name, (draw, *_) in study.FIGURES.items()},
    "figures": {name: figure.draw for name, figure in first_figures.FIGURES.items()},
}


class ReportOptions(Options):
    """Put everything that is stored on one HTML page: the answer first, and every number with its run."""

    to: NonEmpty = Field("report.html", description="the HTML file to write")
    out: NonEmpty = Field("results", description="folder of the result store")
    reference: NonEmpty = Field(REFERENCE, description="folder of committed runs; none if it is not there")


def report(options: ReportOptions) -> int:
    """Reads both stores, writes the page, and says where it is."""
    files.refuse_as_file("to", options.to)
    files.refuse_as_folder("out", options.out)
    write_named("to", options.to, page_of(options.out, options.reference))
    return 0


def page_of(out: str, reference: str) -> str:
    """The page of a store and of the committed runs; a run that both have is shown as one's own."""
    return page.report(*both(out, reference), version=sharpening.__version__, title=TITLE)


def both(out: str, reference: str) -> tuple[list[Run], dict[str, Run], list[tuple[str, str]]]:
    """The runs of a store and the committed ones, the committed by their ids, and those that are left out, and why."""
    index = Path(reference) / INDEX
    known = json.loads(index.read_text(encoding="utf-8")) if index.is_file() else {}
    own, broken = stored(out, known, is_own=True)
    committed, broken_too = stored(reference, known, is_own=False)
    runs = {run.id: run for run in [*committed, *own]}
    return list(runs.values()), {run.id: run for run in committed}, [*broken, *broken_too]


def stored(
    root: str, known: Mapping[str, Mapping[str, str]], *, is_own: bool
) -> tuple[list[Run], list[tuple[str, str]]]:
    """The runs under a folder that are whole and of today's code, and the others with what is wrong with them.

    `known` has name, line and command of committed runs, by id.
    """
    runs, broken = [], []
    for path in store.list_runs(root):
        told = results.described(path)
        if told["state"] != "ok":
            broken.append((str(path), told["state"]))
            continue
        made = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
        note = known.get(path.name, {})
        runs.append(
            Run(
                path.name,
                path.parent.name,
                str(path),
                told["config"],
                made,
                functools.partial(store.read_rows, path / "rows.csv"),
                is_own,
                note.get("name", ""),
                note.get("what", ""),
                note.get("command", "") or _again(made),
                tuple(_pictures(path, told["config"])),
            )
        )
    return runs, broken


def _again(made: Mapping[str, Any]) -> str:
    """The command that made a run, where its provenance has it."""
    words = made.get("arguments", [])
    return f"sharpening {shlex.join(words)}" if words else ""


def _pictures(path: Path, config: Mapping[str, Any]) -> Iterator[Picture]:
    """The figures of a run: those that its command draws and that it has a caption of."""
    drawn = dict(DRAWN.get(str(config.get("command")), {}))
    if config.get("command") == "rates":
        is_of_curves = config.get("kind") == "curves"
        drawn["rates"] = curve_figures.draw_curves if is_of_curves else rate_figures.draw_rates
    for name, draw in drawn.items():
        caption = path / f"{name}.txt"
        if caption.is_file():
            yield Picture(name, caption.read_text(encoding="utf-8").strip(), draw)


COMMAND = (ReportOptions, report)
