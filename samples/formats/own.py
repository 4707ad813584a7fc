"""Samples of anyone's own: rows of JSON Lines, CSV or parquet, a sample each, a problem each with lists, or counts.

| field | type | meaning |
|---|---|---|
| problem, or problem_id, or --problem | text, number | the problem |
| correct, or --metric | mark, or list of marks | whether the sample, or each in the list, is correct |
| answer, or --answer | anything; a list beside a list | the final answer (one value beside a list is not read) |
| seed | text, number | the trained checkpoint |
| sample | text, number | the sample's id: not twice in a file; counts only where correct is one mark |
| completion, generation, response, output | text | the sample itself, to notice texts that are there twice |
| question, prompt | text | to notice problems of one name that are different ones |
| n, c | integers | counts of samples and of correct ones, if there is no correct; the problem may be `id` here |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from sharpening.samples import tally
from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

PROBLEMS = ("problem", "problem_id")
QUESTIONS = ("question", "prompt")
TEXTS = ("completion", "generation", "response", "output")


def is_certain(row: Mapping[str, Any]) -> bool:
    """Whether a row has the fields that only this format has."""
    return ("correct" in row and any(name in row for name in PROBLEMS)) or _has_counts(row)


def is_likely(row: Mapping[str, Any], fields: Fields) -> bool:
    """Whether a row that is of no tool could be of this format."""
    return fields.problem is not None or any(name in row for name in PROBLEMS)


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    metric, answer = fields.metric or "correct", fields.answer or "answer"
    found.metric, has_counts, problem = metric, None, None
    doubts = _Doubts()
    for row in rows:
        if has_counts is None:
            has_counts = fields.metric is None and "correct" not in row.fields and {"n", "c"} <= row.fields.keys()
            found.metric = "c" if has_counts else metric
        names = (*PROBLEMS, "id") if has_counts else PROBLEMS
        problem = fields.problem or shared.first_there(row, [*names, PROBLEMS[0]], problem)
        if has_counts and "correct" in row.fields:
            raise row.fault("field 'correct' is here, and rows before have only n and c: want one of them in every row")
        if has_counts:
            yield _counts(row, problem)
        else:
            yield from doubts.passed(row, _samples(row, problem, metric, answer, fields))
    found.notes += doubts.notes()


class _Doubts:
    """What can only be seen of all rows: whether a problem has one text, and whether marks are counts."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.others: set[str] = set()
        self.num_rows: Counter[str] = Counter()
        self.largest_n = 0.0

    def passed(self, row: Row, records: Iterable[Record]) -> Iterator[Record]:
        """The records of a row, once it is looked at."""
        text = shared.text_of(row, *QUESTIONS)
        for record in records:
            if text is not None and self.texts.setdefault(record.problem, short := tally.digest(text)) != short:
                self.others.add(record.problem)
            self.num_rows[record.problem] += 1
            number = shared.scalar(row.fields.get("n"))
            self.largest_n = max(self.largest_n, number if isinstance(number, int | float) else 0)
            yield record

    def notes(self) -> Iterator[str]:
        """What to look at; raises ValueError where counts were read as marks."""
        if self.largest_n > 1 and set(self.num_rows.values()) == {1}:
            raise ValueError(
                f": each problem is there once, with correct 0 or 1 and n up to {self.largest_n:g}: want the number of "
                "correct ones named c, or no n beside marks"
            )
        if self.others:
            yield (
                f"{len(self.others)} problems have several texts under one name: if they are different ones, say with "
                "--problem what tells them apart"
            )


def _has_counts(row: Mapping[str, Any]) -> bool:
    return {"n", "c"} <= row.keys() and any(name in row for name in (*PROBLEMS, "id"))


def _counts(row: Row, problem: str) -> Record:
    name = shared.name_of(row, problem)
    num_samples, num_correct = shared.count_of(row, "n", 1), shared.count_of(row, "c", 0)
    if num_correct > num_samples:
        raise row.fault(f"c is {num_correct}, n is {num_samples}: want c at most n")
    return Record(row.number, name, num_samples, num_correct, "", tally.WHOLE, unit=row.unit)


def _samples(row: Row, problem: str, metric: str, answer: str, fields: Fields) -> Iterator[Record]:
    value, name = shared.marked(row, fields, "correct"), shared.name_of(row, problem)
    seed = shared.name_of(row, "seed") if "seed" in row.fields else ""
    if isinstance(value, list):
        marks = shared.marks_of(row, metric, value, fields.threshold)
        texts = [shared.beside(row, text, marks) for text in TEXTS]
        yield from shared.list_records(
            row,
            name,
            marks,
            answers=shared.beside(row, answer, marks),
            texts=next((each for each in texts if each), None),
            seed=seed,
        )
        return
    sample = shared.name_of(row, "sample") if "sample" in row.fields else None
    correct = shared.mark(row, metric, value, fields.threshold)
    text = shared.text_of(row, *TEXTS)
    yield Record(row.number, name, 1, correct, seed, sample, shared.answer_of(row, answer), text, None, row.unit)
