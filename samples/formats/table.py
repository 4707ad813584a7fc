"""The formats by name, and which of them a file is: the fields of its first row say it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from sharpening.samples.formats import (
    evalplus,
    human_eval,
    inspect,
    lighteval,
    limo,
    livecodebench,
    lm_eval,
    nemo_skills,
    own,
    qwen_math,
    trl,
    verl,
)
from sharpening.samples.formats.fields import Fields, Found, listed
from sharpening.samples.lines import NotSamples, Table
from sharpening.samples.tally import EMPTY, Record

Reader = Callable[..., Iterator[Record]]


@dataclass(frozen=True)
class Format:
    """A tool's format: it is that of a row that has all fields of one of these sets."""

    needed: Sequence[Set[str]]
    records: Reader


FORMATS = {  # in the order in which they are tried; own comes first where nothing else can be meant, and last
    "inspect": Format(inspect.NEEDED, inspect.records),
    "evalplus": Format(evalplus.NEEDED, evalplus.records),
    "livecodebench": Format(livecodebench.NEEDED, livecodebench.records),
    "limo": Format(limo.NEEDED, limo.records),
    "qwen_math": Format(qwen_math.NEEDED, qwen_math.records),
    "lighteval": Format(lighteval.NEEDED, lighteval.records),
    "lm_eval": Format(lm_eval.NEEDED, lm_eval.records),
    "nemo_skills": Format(nemo_skills.NEEDED, nemo_skills.records),
    "human_eval": Format(human_eval.NEEDED, human_eval.records),
    "verl": Format(verl.NEEDED, verl.records),
    "trl": Format(trl.NEEDED, trl.records),
    "own": Format((), own.records),
}


def records(table: Table, file_format: str | None, fields: Fields, found: Found) -> Iterator[Record]:
    """The records of a file, of the format given or of the one that its columns or first row show.

    Raises:   ValueError, one line without the file's name; NotSamples where no format is recognised.
    """
    chosen = file_format or (_recognised(table.kind, table.columns, fields) if table.columns else None)
    first = next(table.rows, None)
    if first is None:
        raise ValueError(EMPTY)
    found.file_format = chosen or _recognised(table.kind, first.fields, fields)
    yield from FORMATS[found.file_format].records(itertools.chain([first], table.rows), fields, found)


def _recognised(kind: str, names: Iterable[str], fields: Fields) -> str:
    there = dict.fromkeys(names)
    if own.is_certain(there):
        return "own"
    for name, one in FORMATS.items():
        if any(needed <= there.keys() for needed in one.needed):
            return name
    if own.is_likely(there, fields):
        return "own"
    raise _unknown(kind, there.keys())


def _unknown(kind: str, names: Set[str]) -> ValueError:
    """What the file is, which format is nearest and what it lacks, and what to do; NotSamples where none is near."""
    sets = [(name, needed) for name, one in FORMATS.items() for needed in one.needed]
    nearest, needed = max(sets, key=lambda pair: len(pair[1] & names) / len(pair[1]))
    plural = "s" if len(names) > 1 else ""
    what = f": it is {kind} with {f'the field{plural} {listed(names)}' if names else 'no fields'}"
    advice = "for samples of your own say --problem FIELD and --metric FIELD"
    if not names:
        return ValueError(f"{what}: want those of a sample")
    if 2 * len(needed & names) >= len(needed):
        return ValueError(f"{what}: for {nearest} it lacks {listed(sorted(needed - names))}; {advice}")
    return NotSamples(f"{what}: that is no known format: {advice}")
