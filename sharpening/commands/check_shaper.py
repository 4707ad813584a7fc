"""`check-shaper`: verdicts about an advantage function."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from joblib import Parallel, delayed
from pydantic import Field
from tqdm import tqdm

from sharpening.commands import assignments
from sharpening.commands.drawing import WIDTH, Format
from sharpening.commands.named_files import write_named
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures import render
from sharpening.figures.drawing import comparisons as comparison_figures
from sharpening.figures.tables import shapers
from sharpening.storage import files, store
from sharpening.theory.diagnosis import diagnose
from sharpening.theory.diagnosis.diagnose import Diagnosis
from sharpening.theory.methods import calls, table
from sharpening.theory.methods.user_functions import is_file_spec

EVERY = "all"
STORED_COLUMNS = ("method", *(name.replace(" ", "_") for name in shapers.COLUMNS))


class CheckShaperOptions(Options):
    """Say what methods do to correct answers, likely and rare, where training ends, and what to do about it."""

    method: tuple[NonEmpty, ...] = Field(
        (), json_schema_extra=OPTIONAL_WORD, description="method ids, presets of ds, FILE.py:FUNCTION, or all"
    )
    all: bool = Field(False, description="every group-level method; the same as METHOD all")
    set: tuple[NonEmpty, ...] = Field((), description="parameters of the one method, e.g. gamma_correct=0.3")
    group_size: int = Field(8, ge=2, le=16, description="completions per group; every group is enumerated")
    kl_strength: float = Field(0.0, ge=0, le=1e3, description="strength of a KL term to the base policy")
    details: bool = Field(False, description="also every property of every method, its numbers and a counterexample")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=256, description="processes, for more than one method")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the verdicts as JSON to this file")
    markdown: NonEmpty | None = Field(None, description="write the table of verdicts as Markdown to this file")
    figure: NonEmpty | None = Field(None, description="draw the prompt weight c_G(Q) of one method to this file")
    width: float | None = WIDTH
    out: NonEmpty | None = Field(None, description="keep the verdicts in this result store, where report reads them")


def check_shaper(options: CheckShaperOptions) -> int:
    """Diagnoses methods and prints what they do: one of them property by property, several as a table."""
    started = time.perf_counter()
    names = _names(options)
    for flag, name in (("json", options.json_file), ("markdown", options.markdown), ("figure", options.figure)):
        files.refuse_as_file(flag, name)
    if options.out is not None:
        files.refuse_as_folder("out", options.out)
    clock = store.Clock()
    bar = tqdm(_diagnoses(names, options), total=len(names), unit=" methods", disable=None, leave=False)
    found = {name: diagnose.as_data(diagnosis) for name, diagnosis in bar}
    width, policy = printed_width(), np.exp(diagnose.SHOWN.base_log_policy).tolist()
    if len(names) > 1:
        print(shapers.comparison(found, width))
        print(f"{len(names)} methods in {time.perf_counter() - started:.0f} s")
    for name, data in found.items() if len(names) == 1 or options.details else ():
        print(shapers.report(name, data, policy, width, is_long=options.details))
    if options.json_file is not None:
        write_named("json", options.json_file, files.json_text(found))
    if options.markdown is not None:
        write_named("markdown", options.markdown, shapers.markdown(found))
    if options.figure is not None:
        print(_drawn(names[0], found[names[0]], Path(options.figure), options.width))
    if options.out is not None:
        rows = [dict(zip(STORED_COLUMNS, cells, strict=True)) for cells in shapers.table_rows(found)]
        run = store.write_run("theory", identity(options), rows, clock=clock, root=options.out, overwrite=True)
        print(f"rows:   {run / 'rows.csv'}")
    return 0


def identity(options: CheckShaperOptions) -> dict[str, Any]:
    """What determines the stored verdicts: the methods, their parameters, and the SHA-256 of files of the user's."""
    names = _names(options)
    user_files = {name: files.read(Path(name.rpartition(":")[0]))[1] for name in names if is_file_spec(name)}
    chosen = {"methods": names, "parameters": list(options.set), "files": user_files}
    return {"command": "check-shaper", **chosen, "group_size": options.group_size, "kl_strength": options.kl_strength}


def _names(options: CheckShaperOptions) -> list[str]:
    """The methods asked for; raises ValueError for options that do not go together."""
    if not options.method and not options.all:
        raise ValueError("METHOD: missing: want method ids, presets of ds, FILE.py:FUNCTION, or --all")
    is_every = options.all or EVERY in options.method
    if is_every and set(options.method) - {EVERY}:
        other = next(name for name in options.method if name != EVERY)
        raise ValueError(f"METHOD: {other!r}: want no method beside all of them")
    for name in options.method:
        if options.method.count(name) > 1:
            raise ValueError(f"METHOD: {name!r}: given twice: want distinct methods")
    is_one = len(options.method) == 1 and not is_every
    if options.set and not is_one:
        raise ValueError(f"--set: {options.set[0]!r}: want exactly one method beside it")
    if options.figure is not None and not (is_one and Path(options.figure).suffix[1:] in get_args(Format)):
        raise ValueError(f"--figure: {options.figure!r}: want one method and a name that ends in .png, .pdf or .svg")
    if not is_every:
        return list(options.method)
    return [name for name, method in table.METHODS.items() if method.level == "group"]


def _diagnoses(names: Sequence[str], options: CheckShaperOptions) -> Iterator[tuple[str, Diagnosis]]:
    """Names and diagnoses in the order of the names, as they come in."""
    for name in names:
        method, given = _method(name, options)
        for caveat in calls.caveats(method, given, kl_strength=options.kl_strength):
            whose = f"{name}: " if len(names) > 1 else ""
            print(f"note: {whose}{caveat}", file=sys.stderr)
    work = (delayed(diagnosed)(name, options) for name in names)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ tasks (which|have)", UserWarning)  # after `| head`
        yield from zip(names, Parallel(n_jobs=min(options.jobs, len(names)), return_as="generator")(work), strict=True)


def _method(name: str, options: CheckShaperOptions) -> tuple[table.Method, dict[str, int | float | str]]:
    """The method and the parameters that were given for it; raises ValueError if it cannot be run."""
    method = calls.resolve(name)
    given = dict(assignments.assigned(text, method) for text in options.set)
    allowed: tuple[table.Level, ...] = ("group",)
    calls.refuse_level(method, allowed, "check-shaper", given)
    return method, given


def diagnosed(name: str, options: CheckShaperOptions) -> Diagnosis:
    """The diagnosis of one method, as another process can make it too."""
    method, given = _method(name, options)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the user's function on the smallest groups: verdicts say what matters
            return diagnose.diagnose(
                method.advantage,
                calls.parameter_values(method, given),
                group_size=options.group_size,
                kl_strength=options.kl_strength,
                as_tensor=as_tensor(),
            )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def as_tensor() -> Callable[[Any], Any] | None:
    """What makes a torch tensor of an array; None where torch is not installed. It is imported only here."""
    if importlib.util.find_spec("torch") is None:
        return None
    found: Callable[[Any], Any] = importlib.import_module("torch").as_tensor
    return found


def _drawn(name: str, data: Mapping[str, Any], path: Path, width: float | None) -> str:
    """Draws the prompt weight of a method of the class of B4; returns what was done, in words."""
    verdict = shapers.verdict_of(data, "class of B4")
    if "prompt_weight" not in verdict["numbers"]:
        return f"figure: none, {name} is {verdict['verdict']} the class of B4, which alone has a prompt weight"
    weights = verdict["numbers"]["prompt_weight"]
    drawn = render.render(
        path.stem,
        lambda: comparison_figures.draw_prompt_weight(weights, name),
        "",
        formats=(path.suffix[1:],),
        width=width,
    )
    store.write_bytes_atomically(path, drawn[path.name])
    return f"figure: {path}"


COMMAND = (CheckShaperOptions, check_shaper)
