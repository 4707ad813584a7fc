"""`simulate`: a bandit of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from tqdm import tqdm

from sharpening.bandits import analysis
from sharpening.bandits.specification import Specification
from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures import render
from sharpening.figures.drawing import simulation as simulation_figures
from sharpening.figures.tables import theory as tables
from sharpening.storage import files, store
from sharpening.theory.methods import calls, spelling

FIGURE = "simulation"


class SimulateOptions(Options):
    """Simulate a bandit of your own, with the theory's prediction beside every number there is one for."""

    spec: NonEmpty = Field(description="JSON specification of bandit, method and run; - is standard input")
    json_file: NonEmpty | None = Field(None, alias="json", description="write rows and summary as JSON to this file")
    formats: tuple[Format, ...] = FORMATS
    width: float | None = WIDTH
    out: NonEmpty = Field("results/simulation", description="folder that gets rows.csv, summary.json and the figure")


def simulate(options: SimulateOptions) -> int:
    """Reads a specification, simulates, prints what happened, and writes rows, summary and figure."""
    path = Path(options.spec)
    specification = _specification(path)
    files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    for caveat in calls.caveats(calls.resolve(specification.method), specification.parameters):
        print(f"note: {caveat}", file=sys.stderr)
    rows = list(tqdm(analysis.simulate(specification), unit=" rows", disable=None, leave=False))
    summary = {**analysis.summary(specification, rows), "specification": specification.model_dump(mode="json")}
    folder = Path(options.out)
    made = {
        "rows.csv": store.rows_to_csv(rows).encode(),
        "summary.json": files.json_text(summary).encode(),
        **_drawn(rows, specification, options),
    }
    if (folder / "rows.csv").exists() and (folder / "rows.csv").read_bytes() != made["rows.csv"]:
        print(f"note: {folder} had another simulation, which is replaced: --out keeps both", file=sys.stderr)
    store.make_folder(folder)
    for name, data in made.items():
        store.write_bytes_atomically(folder / name, data)
    print(tables.simulation_report(rows, specification.num_runs, printed_width()))
    print(f"rows:   {folder / 'rows.csv'}\n{figure_line(folder, FIGURE, options.formats)}")
    print(f"summary: {folder / 'summary.json'}")
    if options.json_file is not None:
        write_named("json", options.json_file, files.json_text({"summary": summary, "rows": rows}))
    return 0


def _drawn(
    rows: Sequence[Mapping[str, Any]], specification: Specification, options: SimulateOptions
) -> Mapping[str, bytes]:
    """The files of the figure."""
    method = calls.resolve(specification.method).id
    caption = simulation_figures.simulation_caption(
        rows, method, specification.num_runs, specification.group_size, specification.learning_rate
    )
    return render.render(
        FIGURE,
        lambda: simulation_figures.draw_simulation(rows, method),
        caption,
        formats=options.formats,
        width=options.width,
    )


def _specification(path: Path) -> Specification:
    """The specification in a JSON file; one line names the field that is wrong."""
    text, _ = files.read(path)
    name = files.named(path)
    try:
        return Specification.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"{name} line {error.lineno}: it is not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{name}: it is nested too deeply for a specification") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = Specification.model_fields
            reason = f"it is no field: {spelling.suggestion(field, known)}want some of {', '.join(known)}"
        shown = f"{field}: {files.shortened(repr(first['input']))}: " if field else ""
        raise ValueError(f"{name}: {shown}{reason}") from None


COMMAND = (SimulateOptions, simulate)
