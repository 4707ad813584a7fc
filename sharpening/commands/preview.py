"""`preview`: what methods would do to one's own rollouts."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from sharpening.commands import assignments
from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures.tables import preview as preview_table
from sharpening.samples import preview, rollouts
from sharpening.samples.preview import Effect
from sharpening.storage import files, store
from sharpening.theory.methods import calls

SCHEMA_VERSION = 1


class PreviewOptions(Options):
    """Say what methods would do to your rollouts, and how strong to make them: no training, no torch."""

    rollouts: NonEmpty = Field(description="one completion a line: JSON lines, TRL's parquet, or verl's dump")
    method: tuple[NonEmpty, ...] = Field(
        (), description="method ids, presets of ds or FILE.py:FUNCTION; a selection that the file serves if not given"
    )
    set: tuple[NonEmpty, ...] = Field((), description="parameters of the one --method, e.g. gamma_correct=0.001")
    reward: tuple[NonEmpty, ...] = Field((), description="fields whose sum is the reward; 'reward' if not given")
    correct: str = Field("", description="field that says whether it is correct; 'correct' if not given")
    json_file: NonEmpty | None = Field(None, alias="json", description="write all numbers as JSON to this file")
    advantages: NonEmpty | None = Field(None, description="write every completion's advantages as CSV to this file")


def show_preview(options: PreviewOptions) -> int:
    """Reads rollouts, computes every method's advantages on them, and prints tables and advice."""
    path = Path(options.rollouts)
    if options.set and len(options.method) != 1:
        raise ValueError(f"--set: {options.set[0]!r}: want exactly one --method beside it")
    for name in options.method:
        if options.method.count(name) > 1:
            raise ValueError(f"--method: {name!r}: given twice: want distinct methods")
    files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_file("advantages", options.advantages, path)
    found = rollouts.read(path, options.rollouts, rollouts.Columns(options.reward, options.correct))
    effects: list[Effect] = []
    left_out: dict[str, str] = {}
    for name in options.method or preview.DEFAULT_METHODS:
        try:
            effects.append(_effect(found, name, options.set, is_asked_for=bool(options.method)))
        except ValueError as error:
            if options.method:
                raise
            left_out[name] = str(error)
    facts = {"file": path.name, **dataclasses.asdict(found.columns), **preview.facts(found)}
    rows = [{key: value for key, value in dataclasses.asdict(one).items() if key != "advantage"} for one in effects]
    print(preview_table.report(facts, rows, left_out, printed_width(), is_asked_for=bool(options.method)))
    if options.advantages is not None:
        write_named("advantages", options.advantages, store.rows_to_csv(_advantage_rows(found, effects)))
    if options.json_file is not None:
        data = {"schema_version": SCHEMA_VERSION, "rollouts": facts, "methods": rows, "left_out": left_out}
        write_named("json", options.json_file, files.json_text(data))
    return 0


def _effect(found: rollouts.Rollouts, name: str, words: tuple[str, ...], *, is_asked_for: bool) -> Effect:
    method = calls.resolve(name)
    given = dict(assignments.assigned(text, method) for text in words)
    effect = preview.effect(found, method, given)
    for caveat in calls.caveats(method, given) if is_asked_for else ():
        print(f"note: {caveat}", file=sys.stderr)
    return effect


def _advantage_rows(found: rollouts.Rollouts, effects: list[Effect]) -> Iterator[dict[str, Any]]:
    """One row for every completion and method, in the order of the file."""
    for index in found.lines.argsort():
        for effect in effects:
            where = {"line": int(found.lines[index]), "group": int(found.group[index])}
            yield {**where, "method": effect.method, "advantage": float(effect.advantage[index])}


COMMAND = (PreviewOptions, show_preview)
