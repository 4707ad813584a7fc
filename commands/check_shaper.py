"""`check-shaper`: verdicts about an advantage function."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field
from tqdm import tqdm

import store
from commands import assignments, files
from commands.options import NonEmpty, Options
from figures import tables
from theory import diagnosis, method_table, methods


class CheckShaperOptions(Options):
    """Say what a method does to correct answers, likely and rare: a verdict per property, by enumeration of groups."""

    method: NonEmpty = Field(description="a method id, a preset of ds, FILE.py:FUNCTION, or all")
    set: tuple[NonEmpty, ...] = Field((), description="parameters of the method, e.g. gamma_correct=0.3")
    group_size: int = Field(8, ge=2, le=16, description="completions per group; every group is enumerated")
    kl_strength: float = Field(0.0, ge=0, le=1e3, description="strength of a KL term to the base policy")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the verdicts as JSON to this file")


def check_shaper(options: CheckShaperOptions) -> int:
    """Diagnoses one method, or every group-level one, and prints its verdicts."""
    files.refuse_as_file("json", options.json_file)
    if options.method == "all" and options.set:
        raise ValueError(f"--set: {options.set[0]!r}: want no parameters beside the method 'all'")
    ids = [name for name in method_table.METHODS if method_table.METHODS[name].level == "group"]
    diagnoses = {}
    for name in tqdm(ids if options.method == "all" else [options.method], disable=None, leave=False):
        diagnoses[name] = _diagnosed(name, options)
        print(tables.diagnosis_report(name, diagnoses[name].headline, diagnosis.report_lines(diagnoses[name])))
    if options.json_file is not None:
        found = {name: diagnosis.as_data(verdicts) for name, verdicts in diagnoses.items()}
        store.write_text_atomically(Path(options.json_file), files.json_text(found))
    return 0


def _diagnosed(name: str, options: CheckShaperOptions) -> diagnosis.Diagnosis:
    method = methods.resolve(name)
    given = dict(assignments.assigned(text, method) for text in options.set)
    allowed: tuple[method_table.Level, ...] = ("group",)
    methods.refuse_level(method, allowed, "check-shaper", given)
    for caveat in methods.caveats(method, given, kl_strength=options.kl_strength):
        print(f"note: {caveat}", file=sys.stderr)
    values = methods.parameter_values(method, given)
    return diagnosis.diagnose(method.advantage, values, group_size=options.group_size, kl_strength=options.kl_strength)
