"""Reading a model's answers to one prompt: a table of answers, how likely each is, and whether it is correct."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from theory import policies
from theory.policies import Problem

WEIGHT_COLUMNS = ("probability", "count")
LABELS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0}
MAX_FIELD = 100_000  # characters: longer ones are not answers


@dataclass(frozen=True)
class AnswerTable:
    """The answers to one prompt, likeliest first, and the problem they make.

    num_samples is the sum of the counts (None where probabilities were given), num_singletons how many answers were
    seen once.
    """

    answers: tuple[str, ...]
    problem: Problem
    num_samples: int | None
    num_singletons: int

    @property
    def likeliest_correct(self) -> str:
        """The most likely correct answer."""
        return self.answers[int(np.argmax(self.problem.correct))]


def read_answers(lines: Iterable[str], name: str) -> AnswerTable:
    """The table in CSV lines with the columns answer, correct, and probability or count.

    Requires: distinct answers; correct 0, 1, true or false with both present; probabilities above 0 that sum to 1
              within 1e-6, or positive integer counts. Raises ValueError with one line that names the file, the line
              or arm, the column, the value and what is allowed.

    >>> table = read_answers(["answer,count,correct", "a,1,0", "b,3,1"], "example")
    >>> table.answers, np.exp(table.problem.base_log_policy).round(2).tolist()
    (('b', 'a'), [0.75, 0.25])
    """
    reader = _rows(lines, name)
    header = next(reader)[1]
    weight_column = _weight_column(header, name)
    records = [_record(row, header, weight_column, f"{name} line {number}") for number, row in reader]
    _refuse_repeats([answer for answer, _, _ in records], name)
    if len(records) < 2:
        raise ValueError(f"{name}: it has {len(records)} answers: at least one correct and one wrong are needed")
    weights = np.array([weight for _, weight, _ in records])
    total = weights.sum() if weight_column == "count" else 1.0
    labels = np.array([label for _, _, label in records])
    try:
        problem = policies.problem_from_probabilities(weights / total, labels)
    except ValueError as error:
        raise ValueError(f"{name}: {error}".replace("base_policy", weight_column)) from None
    order = np.argsort(-problem.base_log_policy, kind="stable")
    return AnswerTable(
        tuple(records[arm][0] for arm in order),
        Problem(problem.base_log_policy[order], problem.correct[order]),
        int(total) if weight_column == "count" else None,
        int((weights == 1).sum()) if weight_column == "count" else 0,
    )


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and fields of the non-empty rows; the first is the header."""
    csv.field_size_limit(MAX_FIELD)
    reader = csv.reader(lines, strict=True)
    is_empty = True
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{name} line {reader.line_num}: malformed CSV: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{name}: byte {error.start} is not UTF-8 text: {error.reason}") from None
        if row is None:
            break
        if row:
            is_empty = False
            yield reader.line_num, row
    if is_empty:
        raise ValueError(f"{name}: the file is empty: want the columns answer, correct, and probability or count")


def _weight_column(header: list[str], name: str) -> str:
    allowed = ("answer", *WEIGHT_COLUMNS, "correct")
    for column in header:
        if column not in allowed:
            raise ValueError(f"{name}: unknown column {column!r}: want {', '.join(allowed)}")
    for column in ("answer", "correct"):
        if header.count(column) != 1:
            raise ValueError(f"{name}: column {column!r} occurs {header.count(column)} times: want exactly once")
    found = [column for column in header if column in WEIGHT_COLUMNS]
    if len(found) != 1:
        raise ValueError(f"{name}: weight columns {found}: want exactly one of {' and '.join(WEIGHT_COLUMNS)}")
    return found[0]


def _record(row: list[str], header: list[str], weight_column: str, place: str) -> tuple[str, float, float]:
    if len(row) != len(header):
        raise ValueError(f"{place}: {len(row)} fields: want {len(header)}, one for each of {', '.join(header)}")
    fields = dict(zip(header, row, strict=True))
    label = fields["correct"].strip().lower()
    if label not in LABELS:
        raise ValueError(f"{place}: correct is {fields['correct']!r}: want 0, 1, true or false")
    return fields["answer"], _weight(fields[weight_column], weight_column, place), LABELS[label]


def _weight(text: str, column: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{place}: {column} is {text!r}: want a number") from None
    if not np.isfinite(value) or value <= 0:
        reason = " (drop answers of probability zero)" if value == 0 else ""
        raise ValueError(f"{place}: {column} is {text!r}: want a finite number above 0{reason}")
    if column == "count" and (value != int(value) or value > 2**53):
        raise ValueError(f"{place}: count is {text!r}: want an integer up to 2**53")
    return value


def _refuse_repeats(answers: list[str], name: str) -> None:
    seen: set[str] = set()
    for answer in answers:
        if answer in seen:
            raise ValueError(f"{name}: answer {answer!r} occurs twice: want one row per distinct answer")
        seen.add(answer)
