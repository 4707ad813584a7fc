"""NeMo-Skills' `output-rsN.jsonl`: a row a sample, a file a random seed; several files are one model.

| field | type | meaning |
|---|---|---|
| problem | text | the problem |
| expected_answer | text | the right answer (not read) |
| generation | text | the sample |
| predicted_answer | text, null | the final answer |
| symbolic_correct | mark | whether the sample is correct |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"problem", "expected_answer", "generation"}, {"problem", "expected_answer", "predicted_answer"})


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    metric = found.metric = fields.metric or "symbolic_correct"
    for row in rows:
        correct = shared.mark(row, metric, shared.marked(row, fields, metric), fields.threshold)
        problem = shared.name_of(row, fields.problem or "problem")
        answer, text = shared.answer_of(row, fields.answer or "predicted_answer"), shared.text_of(row, "generation")
        yield Record(row.number, problem, 1, correct, "", None, answer, text, None, row.unit)
