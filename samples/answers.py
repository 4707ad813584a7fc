"""Reading a model's answers to one prompt: a table of answers, how likely each is, and whether it is correct.

From a CSV of the answers, or counted from samples: the answer of a sample is what its file calls so, else its text.
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sharpening.samples.tally import Record
from sharpening.theory import policies
from sharpening.theory.methods import spelling
from sharpening.theory.policies import Problem

WEIGHT_COLUMNS = ("probability", "count")
LABELS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0}
NO_ANSWER = "(no answer)"
MOST_LISTED = 6  # problems in an error line
HEADER = "a header of the columns answer, correct, and probability or count, separated by commas"


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
              within 1e-6 per answer, or positive integer counts. Raises ValueError with one line that names the file,
              the line or arm, the column, the value and what is allowed.

    >>> table = read_answers(["answer,count,correct", "a,1,0", "b,3,1"], "example")
    >>> table.answers, np.exp(table.problem.base_log_policy).round(2).tolist()
    (('b', 'a'), [0.75, 0.25])
    """
    rows = _rows(lines, name)
    place, header = next(rows)
    if header[0].lstrip().startswith("{"):
        raise ValueError(f"{place}: it is JSON, as samples are: want --samples {name} --problem ID, or {HEADER}")
    header = [column.strip() for column in header]
    weight_column = _weight_column(header, place)
    records: dict[str, tuple[float, float]] = {}
    for place, row in rows:
        answer, weight, label = _record(row, header, weight_column, place)
        if answer in records:
            raise ValueError(f"{place}: answer {answer!r} is there before: want one row per distinct answer")
        records[answer] = weight, label
    return _made(records, weight_column, name)


def counted(samples: Iterable[Record], name: str, problem: str | None) -> tuple[AnswerTable, list[str]]:
    """The table of the answers to one problem in samples, and what is doubtful about it.

    Without a problem the samples have to be of one. A sample that could not be scored is left out; an answer that is
    marked correct in one sample and wrong in another has the mark of most.
    Raises:   ValueError naming the file, and the problems that it has.
    """
    num_given: dict[str, int] = {}
    num_right: dict[str, int] = {}
    problems: dict[str, None] = {}
    num_unscorable, kept = 0, []
    for sample in samples:
        problems[sample.problem] = None
        if sample.problem != (problem or next(iter(problems))):
            continue
        if sample.num_correct is None:
            num_unscorable += sample.num_samples
            continue
        kept.append(sample)
    has_answers, num_without = any(sample.answer for sample in kept), 0
    for sample in kept:
        answer = sample.answer or sample.text or (NO_ANSWER if has_answers and sample.answer is not None else None)
        num_without += sample.num_samples * (has_answers and not sample.answer)
        if answer is None:
            raise ValueError(f"{name} {sample.unit} {sample.line}: it has no answer and no text: want one of them")
        num_given[answer] = num_given.get(answer, 0) + sample.num_samples
        num_right[answer] = num_right.get(answer, 0) + (sample.num_correct or 0)
    _refuse_problem(problem, problems, name)
    notes = [f"{num_unscorable} samples could not be scored and are left out"] if num_unscorable else []
    notes += [f"{num_without} samples have no answer: each other text of them counts as one"] if num_without else []
    if num_mixed := sum(0 < num_right[answer] < count for answer, count in num_given.items()):
        notes.append(f"{num_mixed} answers are marked correct in one sample and wrong in another: most marks count")
    records = {answer: (count, float(2 * num_right[answer] > count)) for answer, count in num_given.items()}
    return _made(records, "count", name), notes


def _refuse_problem(problem: str | None, known: Collection[str], name: str) -> None:
    shown = ", ".join(repr(one) for one in list(known)[:MOST_LISTED]) + (", ..." if len(known) > MOST_LISTED else "")
    if problem is None and len(known) > 1:
        raise ValueError(f"--problem: missing: {name} has {len(known)} problems: want one of {shown}")
    if problem is not None and problem not in known:
        near = spelling.suggestion(problem, known)
        raise ValueError(f"--problem: {problem!r}: {name} has no samples of it: {near}want one of {shown}")


def _made(records: Mapping[str, tuple[float, float]], weight_column: str, name: str) -> AnswerTable:
    """The table of answers with their weights and labels."""
    num_correct = sum(label == 1 for _, label in records.values())
    if not 0 < num_correct < len(records):
        raise ValueError(
            f"{name}: column correct marks {num_correct} of {len(records)} answers: want at least one correct and one "
            "wrong answer"
        )
    weights = np.array([weight for weight, _ in records.values()])
    total = weights.sum() if weight_column == "count" else 1.0
    labels = np.array([label for _, label in records.values()])
    try:
        problem = policies.problem_from_probabilities(weights / total, labels)
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).replace('base_policy', weight_column)}") from None
    order = np.argsort(-problem.base_log_policy, kind="stable")
    answers = list(records)
    return AnswerTable(
        tuple(answers[arm] for arm in order),
        Problem(problem.base_log_policy[order], problem.correct[order]),
        int(total) if weight_column == "count" else None,
        int((weights == 1).sum()) if weight_column == "count" else 0,
    )


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[str, list[str]]]:
    """Places ("FILE line 2") and fields of the non-empty rows; the first is the header."""
    reader = csv.reader(lines, strict=True)
    is_empty = True
    while True:
        place = f"{name} line {reader.line_num + 1}"
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise ValueError(f"{place}: malformed CSV: {error}: want every quote closed, and doubled inside") from None
        if row is None:
            break
        if any("\0" in field for field in row):
            raise ValueError(f"{place}: it has a null byte: want UTF-8 text")
        if row:
            is_empty = False
            yield place, row
    if is_empty:
        raise ValueError(f"{name}: the file is empty: want {HEADER}")


def _weight_column(header: list[str], place: str) -> str:
    for column in header:
        if column not in ("answer", *WEIGHT_COLUMNS, "correct"):
            raise ValueError(f"{place}: unknown column {column!r}: want {HEADER}")
        if header.count(column) > 1:
            raise ValueError(f"{place}: column {column!r} is there twice: want {HEADER}")
    for column in ("answer", "correct"):
        if column not in header:
            raise ValueError(f"{place}: no column {column!r}: want {HEADER}")
    found = [column for column in header if column in WEIGHT_COLUMNS]
    if len(found) != 1:
        fault = "both columns 'probability' and" if found else "neither column 'probability' nor"
        raise ValueError(f"{place}: {fault} 'count': want one of them")
    return found[0]


def _record(row: list[str], header: list[str], weight_column: str, place: str) -> tuple[str, float, float]:
    if len(row) != len(header):
        hint = " (an answer that has a comma needs quotes)" if len(row) > len(header) else ""
        raise ValueError(f"{place}: {len(row)} fields: want {len(header)}, one for each of {', '.join(header)}{hint}")
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
    if column == "probability" and value > 1 + policies.SUM_TOLERANCE:
        raise ValueError(f"{place}: probability is {text!r}: want at most 1 (for counts name the column count)")
    return value
