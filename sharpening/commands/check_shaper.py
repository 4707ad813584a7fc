"""`check-shaper`: verdicts about an advantage function."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from pydantic import Field
from tqdm import tqdm

from sharpening.commands import assignments
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.figures import render
from sharpening.figures.drawing import comparisons as comparison_figures
from sharpening.figures.tables import theory as tables
from sharpening.storage import files, store
from sharpening.theory.diagnosis import diagnose
from sharpening.theory.diagnosis.diagnose import Diagnosis
from sharpening.theory.methods import calls, table

EVERY = "all"


class CheckShaperOptions(Options):
    """Say what a method does to correct answers, likely and rare: a verdict per property, by enumeration of groups."""

    method: NonEmpty | None = Field(
        None, json_schema_extra=OPTIONAL_WORD, description="a method id, a preset of ds, FILE.py:FUNCTION, or all"
    )
    all: bool = Field(False, description="every group-level method, and a table of verdicts; the same as METHOD all")
    set: tuple[NonEmpty, ...] = Field((), description="parameters of the method, e.g. gamma_correct=0.3")
    group_size: int = Field(8, ge=2, le=16, description="completions per group; every group is enumerated")
    kl_strength: float = Field(0.0, ge=0, le=1e3, description="strength of a KL term to the base policy")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=256, description="processes, for more than one method")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the verdicts as JSON to this file")
    markdown: NonEmpty | None = Field(None, description="write the table of verdicts as Markdown to this file")
    figure: NonEmpty | None = Field(None, description="draw the prompt weight c_G(Q) of one method to this PNG or PDF")


def check_shaper(options: CheckShaperOptions) -> int:
    """Diagnoses one method, or every group-level one, and prints its verdicts."""
    started = time.perf_counter()
    names = _names(options)
    for flag, name in (("json", options.json_file), ("markdown", options.markdown), ("figure", options.figure)):
        files.refuse_as_file(flag, name)
    diagnoses: dict[str, Diagnosis] = {}
    for name, found in tqdm(_diagnoses(names, options), total=len(names), disable=None, leave=False):
        diagnoses[name] = found
        print(tables.diagnosis_report(name, found.headline, diagnose.report_lines(found)), flush=True)
    verdicts = {name: diagnose.summary(found) for name, found in diagnoses.items()}
    if len(names) > 1:
        print(tables.verdicts_table(verdicts))
        print(f"{len(names)} methods in {time.perf_counter() - started:.0f} s")
    if options.json_file is not None:
        text = files.json_text({name: diagnose.as_data(found) for name, found in diagnoses.items()})
        store.write_text_atomically(Path(options.json_file), text)
    if options.markdown is not None:
        store.write_text_atomically(Path(options.markdown), tables.verdicts_markdown(verdicts))
    if options.figure is not None:
        print(_drawn(names[0], diagnoses[names[0]], Path(options.figure)))
    return 0


def _names(options: CheckShaperOptions) -> list[str]:
    """The methods asked for; raises ValueError for options that do not go together."""
    if options.method is None and not options.all:
        raise ValueError("METHOD: missing: want a method id, a preset of ds, FILE.py:FUNCTION, or --all")
    if options.all and options.method not in (None, EVERY):
        raise ValueError(f"METHOD: {options.method!r}: want no method beside --all")
    is_every = options.all or options.method == EVERY
    if is_every and options.set:
        raise ValueError(f"--set: {options.set[0]!r}: want no parameters beside the method 'all'")
    if options.figure is not None and (is_every or Path(options.figure).suffix not in (".png", ".pdf")):
        raise ValueError(f"--figure: {options.figure!r}: want one method and a name that ends in .png or .pdf")
    if not is_every:
        return [str(options.method)]
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
    return diagnose.diagnose(
        method.advantage,
        calls.parameter_values(method, given),
        group_size=options.group_size,
        kl_strength=options.kl_strength,
        as_tensor=as_tensor(),
    )


def as_tensor() -> Callable[[Any], Any] | None:
    """What makes a torch tensor of an array; None where torch is not installed. It is imported only here."""
    if importlib.util.find_spec("torch") is None:
        return None
    found: Callable[[Any], Any] = importlib.import_module("torch").as_tensor
    return found


def _drawn(name: str, found: Diagnosis, path: Path) -> str:
    """Draws the prompt weight of a method of the class of B4; returns what was done, in words."""
    verdict = found["class of B4"]
    if "prompt_weight" not in verdict.numbers:
        return f"figure: none, {name} is {verdict.verdict} the class of B4, which alone has a prompt weight"
    drawn = render.render(
        path.stem, lambda: comparison_figures.draw_prompt_weight(verdict.numbers["prompt_weight"], name), ""
    )
    store.write_bytes_atomically(path, drawn[path.name])
    return f"figure: {path}"


COMMAND = (CheckShaperOptions, check_shaper)
