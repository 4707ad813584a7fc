"""What values in sample files mean, for benchmarks/reference_reader.py: marks, names, answers, and lists of them."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple

Row = dict[str, Any]


class Refused(Exception):
    """The file is broken, or it can be read in two ways."""


class Said(NamedTuple):
    """What the user says: the fields of mark, answer and problem, the least score that is correct, the format."""

    metric: str | None = None
    answer: str | None = None
    threshold: float | None = None
    problem: str | None = None
    file_format: str | None = None


class Sample(NamedTuple):
    """A sample, or n of a problem with c correct; mark None: not scored; answer None: no field of it.

    `place` is the sample's own name within the problem, `document` what the problem's name stands for.
    """

    problem: str
    mark: bool | None = None
    answer: str | None = None
    place: str | None = None
    seed: str = ""
    counts: tuple[int, int] | None = None
    document: str = ""


def field(row: Row, name: str) -> Any:
    """A value that has to be there."""
    if name not in row:
        raise Refused(f"no {name}")
    return row[name]


def only(rows: list[Row]) -> Row:
    """The one object of a file."""
    if len(rows) != 1:
        raise Refused(f"{len(rows)} objects")
    return rows[0]


def named(value: Any) -> str:
    """A problem's name: 3, 3.0 and "3" are the same."""
    if value is None or value == "" or value != value:
        raise Refused(f"name {value!r}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def number_in(text: str) -> float | None:
    """The number that a text is, if it is one of ASCII digits."""
    text = text.strip()
    return float(text) if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) else None


def meant(value: Any) -> Any:
    """The truth value or the number that a text is; None for null, NaN and an empty text."""
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("", "nan", "true", "false"):
            return {"true": True, "false": False}.get(text)
        return value if number_in(text) is None else number_in(text)
    return None if value != value else value


def marked(value: Any, threshold: float | None) -> bool | None:
    """Whether a sample is correct; None: it could not be scored."""
    value = meant(value)
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, int | float) or math.isinf(value):
        raise Refused(f"mark {value!r}")
    if threshold is not None:
        return value >= threshold
    if value not in (0, 1):
        raise Refused(f"mark {value!r}")
    return value == 1


def answered(row: Row, name: str | None) -> str | None:
    """The answer as text, "" where it is null."""
    if name is None or name not in row:
        return None
    value = row[name]
    return (
        value if isinstance(value, str) else "" if value is None or value != value else json.dumps(value, default=str)
    )


def lists(row: Row, mark: str, *others: str) -> list[Any]:
    """A list of marks, as long as the other lists that are there; null in its place is one sample not scored."""
    marks = field(row, mark)
    if marks is None:
        return [None]
    if not isinstance(marks, list) or not marks:
        raise Refused(f"{mark} is no list, or an empty one")
    for name in others:
        if isinstance(row.get(name), list) and len(row[name]) != len(marks):
            raise Refused(f"{name} is not as long as {mark}")
    return marks


def listed(problem: str, marks: list[Any], answers: Any, threshold: float | None) -> list[Sample]:
    """The samples of a problem; answers count where they are a list of as many."""
    texts: list[str | None] = [None] * len(marks)
    if isinstance(answers, list) and len(answers) == len(marks):
        texts = [answered({"": answer}, "") for answer in answers]
    return [Sample(problem, marked(mark, threshold), text) for mark, text in zip(marks, texts, strict=True)]


def text_of(value: Any) -> str:
    """A document as text; "" where there is none."""
    return "" if value is None else json.dumps(value, sort_keys=True, default=str)
