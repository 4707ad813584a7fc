"""LIMO's evaluation and its many forks: a row a problem, a list entry a sample.

| field | type | meaning |
|---|---|---|
| question | text | the problem |
| generated_responses | list of text | the samples |
| generated_answers | list of text | their final answers |
| gold_answer | text | the right answer (not read) |
| answers_correctness | list of marks | whether each is correct |
| is_correct | mark | whether any is correct, which is pass@n (not read) |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"question", "answers_correctness"},)


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    return shared.list_format(
        rows,
        fields,
        found,
        problem="question",
        metric="answers_correctness",
        answer="generated_answers",
        texts=("generated_responses",),
    )
