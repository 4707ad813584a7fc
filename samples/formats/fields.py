"""What all formats share: how a mark, a problem, an answer and a list of them are read, and how errors name them.

A mark is true or false, 0 or 1, or one of these as text ("True" from `json.dumps(..., default=str)`, "1.0" from CSV).
Null, NaN and an empty text say that a sample could not be scored. A list with an entry a sample has as many entries
as there are marks. No field is guessed from one row where other rows can contradict it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sharpening.samples.lines import NotSamples, Row, shown
from sharpening.samples.tally import Record

WORDS = {"true": True, "false": False, "": None, "nan": None}
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII)
MARKS = "0, 1, true or false"
LARGEST_COUNT = 10**9
SAYS_SO = re.compile(r"(?<![a-z])(acc|correct|exact|grade|judge|match|pass|reward|score|solved|success|verif)", re.I)
MOST_LISTED, LONGEST_LIST = 12, 200


@dataclass(frozen=True)
class Fields:
    """What the user says about a file: fields by name, and the least score that is correct."""

    metric: str | None = None
    answer: str | None = None
    threshold: float | None = None
    problem: str | None = None


@dataclass
class Found:
    """What a reader finds out about a file: its format, what it takes as the mark, the steps of training, and notes."""

    file_format: str = ""
    metric: str = ""
    notes: list[str] = field(default_factory=list)
    steps: set[str] = field(default_factory=set)

    def add_step(self, row: Row) -> None:
        """Adds the step of training that a row names, if it does."""
        if row.fields.get("step") is not None:
            self.steps.add(as_text(row.fields["step"]))


def value_of(row: Row, name: str) -> Any:
    """A field that has to be there."""
    try:
        return row.fields[name]
    except KeyError:
        unit = row.unit.rpartition(" ")[2]
        raise row.fault(
            f"field {name!r} is missing: want it in every {unit} (here are {listed(row.fields) or 'none'})"
        ) from None


def scalar(value: Any) -> Any:
    """A value, where a text that holds a truth value or a number is that, and null, NaN and an empty text are None."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in WORDS:
            return WORDS[text]
        return float(text) if NUMBER.fullmatch(text) else value
    return None if isinstance(value, float) and math.isnan(value) else value


def mark(row: Row, name: str, value: Any, threshold: float | None) -> int | None:
    """1 for a correct sample, 0 for a wrong one, None for one that could not be scored."""
    found = scalar(value)
    if found is None or isinstance(found, bool):
        return None if found is None else int(found)
    if not isinstance(found, int | float) or found in (math.inf, -math.inf):
        raise row.fault(f"{name} is {shown(value)}: want {MARKS}")
    if threshold is not None:
        return int(found >= threshold)
    if found not in (0, 1):
        hint = "; for other scores say with --threshold from which one on a sample is correct"
        raise row.fault(f"{name} is {shown(value)}: want {MARKS}{hint}")
    return int(found)


def marked(row: Row, fields: Fields, default: str) -> Any:
    """The value of the mark, in the field that the user names or the default; where it is missing others are told."""
    name = fields.metric or default
    if name not in row.fields and fields.metric is None:
        candidates = [name for name, value in row.fields.items() if _is_mark(value)]
        if candidates:
            raise row.fault(
                f"field {name!r} is missing: want --metric with the field that says what is correct ({MARKS} here: "
                f"{listed(candidates)})"
            )
    return value_of(row, name)


def evaluated(rows: Iterable[Row], fields: Fields, metric: str, wanted: str) -> Iterator[Row]:
    """The rows; raises NotSamples where none has the mark: the file is from before the evaluation."""
    rest = iter(rows)
    first = next(rest)
    if fields.metric is None and metric not in first.fields and not any(metric in row.fields for row in rest):
        raise NotSamples(
            f"{first.place}: field {metric!r} is missing, these are samples before evaluation: want {wanted}"
        )
    yield first  # without the mark it is refused, as others have it
    yield from rest


def _is_mark(value: Any) -> bool:
    """Whether a value is a mark, or a list of marks."""
    values = value if isinstance(value, list) and value else [value]
    return all(isinstance(each := scalar(one), int | float) and each in (0, 1) for one in values)


def name_of(row: Row, name: str) -> str:
    """A problem, seed or sample as text: 3, 3.0 and "3" are the same."""
    value = value_of(row, name)
    if value is None or value == "" or value != value:
        raise row.fault(f"{name} is {shown(value)}: want a name or a number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return as_text(value)


def as_text(value: Any) -> str:
    """A text as it is, another value as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def answer_text(value: Any) -> str:
    """An answer as text, "" where it is null."""
    return "" if value is None or value != value else as_text(value)


def text_of(row: Row, *names: str) -> str | None:
    """The completion: the first of the fields that the row has, or None."""
    return next((as_text(row.fields[name]) for name in names if row.fields.get(name) is not None), None)


def answer_of(row: Row, name: str | None) -> str | None:
    """The answer in a field; None where there is no such field."""
    return answer_text(row.fields[name]) if name is not None and name in row.fields else None


def marks_of(row: Row, name: str, value: Any, threshold: float | None) -> list[int | None]:
    """A mark an entry of a list; a null list is one sample that could not be scored."""
    if value is None:
        return [None]
    if not isinstance(value, list) or not value:
        raise row.fault(f"{name} is {shown(value)}: want a list with a mark a sample")
    return [mark(row, name, each, threshold) for each in value]


def beside(row: Row, name: str | None, marks: Sequence[int | None]) -> list[Any] | None:
    """The list in a field, one entry a mark; None where there is none."""
    found = row.fields.get(name) if name else None
    if not isinstance(found, list):
        return None
    if len(found) != len(marks) and marks != [None]:
        raise row.fault(f"{name} has {len(found)} entries: want {len(marks)}, one a sample")
    return found if len(found) == len(marks) else None


def list_records(
    row: Row,
    problem: str,
    marks: Sequence[int | None],
    *,
    answers: Sequence[Any] | None,
    texts: Sequence[Any] | None,
    document: str | None = None,
    seed: str = "",
) -> Iterator[Record]:
    """A record for each mark in the lists of a row."""
    for place, each in enumerate(marks):
        answer = answer_text(answers[place]) if answers else None
        text = as_text(texts[place]) if texts and texts[place] is not None else None
        yield Record(row.number, problem, 1, each, seed, None, answer, text, None if place else document, row.unit)


def list_format(
    rows: Iterable[Row],
    fields: Fields,
    found: Found,
    *,
    problem: str,
    metric: str,
    answer: str | None,
    texts: Sequence[str],
    document: str | None = None,
) -> Iterator[Record]:
    """The records of a format with a row a problem and a list of marks in it."""
    found.metric = fields.metric or metric
    for row in rows:
        marks = marks_of(row, found.metric, marked(row, fields, metric), fields.threshold)
        lists = [beside(row, name, marks) for name in texts]
        yield from list_records(
            row,
            name_of(row, fields.problem or problem),
            marks,
            answers=beside(row, fields.answer or answer, marks),
            texts=next((each for each in lists if each), None),
            document=text_of(row, document) if document and fields.problem is None else None,
        )


def first_there(row: Row, names: Sequence[str], chosen: str | None) -> str:
    """The first of the names that the first row has; a later row that has an earlier name is refused.

    Without any it is the last: what reads it says that it is missing.
    """
    there = next((name for name in names if name in row.fields), names[-1])
    if chosen is None or names.index(there) >= names.index(chosen):
        return chosen or there
    raise row.fault(f"field {there!r} is here, and rows before have only {chosen!r}: want one of them in every row")


def guessed(name: str) -> list[str]:
    """A note where the one field that could be the mark has a name that does not say that it is."""
    if SAYS_SO.search(name):
        return []
    return [f"correct is taken from {shown(name)}, the only field of numbers: if it is another, name it with --metric"]


def only(names: Sequence[str], what: str) -> str:
    """The one name; raises ValueError where there are several or none."""
    if len(names) == 1:
        return names[0]
    if names:
        raise ValueError(f"several fields could be the {what} ({listed(names)}): want its name after --metric")
    raise ValueError(f"no field could be the {what}: want its name after --metric")


def count_of(row: Row, name: str, least: int) -> int:
    """An integer in a field."""
    value = value_of(row, name)
    number = scalar(value)
    is_number = isinstance(number, int | float) and not isinstance(number, bool)
    if not is_number or not least <= number <= LARGEST_COUNT or number != int(number):
        raise row.fault(f"{name} is {shown(value)}: want an integer from {least} to {LARGEST_COUNT}")
    return int(number)


def listed(names: Iterable[str]) -> str:
    """Names for an error line, shortened."""
    given = [name if name.isprintable() else repr(name) for name in names]
    text = ", ".join(given[:MOST_LISTED]) + (", ..." if len(given) > MOST_LISTED else "")
    return text if len(text) <= LONGEST_LIST else text[: LONGEST_LIST - 3] + "..."
