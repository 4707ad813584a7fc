"""`simulate`: a bandit of one's own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import Field, ValidationError
from tqdm import tqdm

from sharpening.bandits import analysis
from sharpening.bandits.specification import Specification
from sharpening.commands.options import NonEmpty, Options
from sharpening.figures.tables import theory as tables
from sharpening.storage import files, store
from sharpening.theory.methods import calls


class SimulateOptions(Options):
    """Simulate a bandit of your own, with the theory's prediction beside every number there is one for."""

    spec: NonEmpty = Field(description="JSON specification of the bandit, the method and the run")
    out: NonEmpty = Field("results/simulation", description="folder that gets rows.csv and summary.json")


def simulate(options: SimulateOptions) -> int:
    """Reads a specification, simulates, prints the last record, and writes rows and summary."""
    specification = _specification(Path(options.spec))
    files.refuse_as_folder("out", options.out)
    for caveat in calls.caveats(calls.resolve(specification.method), specification.parameters):
        print(f"note: {caveat}", file=sys.stderr)
    rows = list(tqdm(analysis.simulate(specification), unit=" rows", disable=None, leave=False))
    summary = {**analysis.summary(specification, rows), "specification": specification.model_dump(mode="json")}
    folder = Path(options.out)
    store.make_folder(folder)
    store.write_text_atomically(folder / "rows.csv", store.rows_to_csv(rows))
    store.write_text_atomically(folder / "summary.json", files.json_text(summary))
    print(tables.simulation_report(rows, specification.num_runs))
    print(f"rows:    {folder / 'rows.csv'}\nsummary: {folder / 'summary.json'}")
    return 0


def _specification(path: Path) -> Specification:
    """The specification in a JSON file; one line names the field that is wrong."""
    text, _ = files.read(path)
    try:
        return Specification.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} line {error.lineno}: it is not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: it is nested too deeply for a specification") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        shown = f"{field}: {files.shortened(repr(first['input']))}: " if field else ""
        raise ValueError(f"{path}: {shown}{reason}") from None


COMMAND = (SimulateOptions, simulate)
