"""`results`: what lies in a result store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures.tables import store as store_tables
from sharpening.storage import files, store


class ResultsOptions(Options):
    """List, show, verify or clean the runs of a result store."""

    action: Literal["list", "show", "verify", "clean"] = Field(description="list, show ID, verify or clean")
    id: NonEmpty | None = Field(
        None, description="the run to show or verify, or how its name begins", json_schema_extra=OPTIONAL_WORD
    )
    pieces: bool = Field(False, description="list also the pieces of sweeps, which other runs are made of")
    out: NonEmpty = Field("results", description="folder of the result store")

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> ResultsOptions:
        if self.action == "show" and self.id is None:
            raise ValueError("ID: want the run to show: see 'results list'")
        if self.action in ("list", "clean") and self.id is not None:
            raise ValueError(f"ID: {self.id!r}: {self.action} takes none")
        return self


def results(options: ResultsOptions) -> int:
    """Prints what was asked for; 1 if `verify` finds a damaged run."""
    files.refuse_as_folder("out", options.out)
    if options.action == "verify" and "out" in options.model_fields_set and not Path(options.out).is_dir():
        raise ValueError(f"--out: {options.out!r}: there is no such folder: want a result store")
    if options.action == "clean":
        removed = store.clean(options.out)
        print(store_tables.cleaned(removed))
        return 0
    if options.id is not None:
        runs = [named("ID", options.id, options.out)]
    else:
        runs = [described(path) for path in store.list_runs(options.out)]
    if options.action == "show":
        print(store_tables.shown(runs[0]))
        return 0
    if options.action == "verify":
        print(store_tables.verified(runs))
        return 1 if any(run["problems"] for run in runs) else 0
    print(store_tables.listed(runs, printed_width(), is_long=options.pieces))
    return 0


def named(field: str, begin: str, out: str) -> dict[str, Any]:
    """The run of a store whose name begins so; ValueError naming the field if there is none or more than one."""
    paths = [path for path in store.list_runs(out) if path.name.startswith(begin)]
    if len(paths) != 1:
        count = "no run begins so" if not paths else f"{len(paths)} runs begin so"
        raise ValueError(f"{field}: {begin!r}: {count} under {out!r}: see 'results list'")
    return described(paths[0])


def described(path: Path) -> dict[str, Any]:
    """What is known of a run, as plain data; `state` is `ok`, `damaged`, or `older code` (another RESULT_VERSION)."""
    identity, made = _json_or_empty(path / "config.json"), _json_or_empty(path / "provenance.json")
    problems, layer = store.verify_run(path), path.parent.name
    is_older = identity.get("result_version") != store.RESULT_VERSION.get(layer)
    return {
        "id": path.name,
        "path": str(path),
        "layer": layer,
        "state": "damaged" if problems else "older code" if is_older else "ok",
        "problems": problems,
        "config": identity.get("config", {}),
        "files": sorted(entry.name for entry in path.iterdir()),
        "commit": str(made.get("commit", "unknown")),
        "is_dirty": made.get("is_dirty", "unknown"),
        "arguments": made.get("arguments", []),
        "started": str(made.get("started", "unknown")),
        "seconds": made.get("seconds"),
    }


def _json_or_empty(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


COMMAND = (ResultsOptions, results)
