"""verl's validation dump and rollout dump `STEP.jsonl`: a row a sample.

| field | type | meaning |
|---|---|---|
| input | text | the prompt: the problem |
| output | text | the sample |
| score | number | the reward: the mark if there is no `acc` |
| acc | mark, "True", "False", null | whether the sample is correct; null: it could not be scored |
| pred | text | the final answer |
| step | number | the training step: of several it is told that they are pooled |
| gts, reward, uid | | not read: `uid` is another for every sample |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"input", "output"},)
METRICS = ("acc", "score")


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    for row in rows:
        metric = fields.metric or shared.first_there(row, METRICS, found.metric or None)
        found.metric = metric
        found.add_step(row)
        correct = shared.mark(row, metric, shared.marked(row, fields, metric), fields.threshold)
        problem = shared.name_of(row, fields.problem or "input")
        answer, text = shared.answer_of(row, fields.answer or "pred"), shared.text_of(row, "output")
        yield Record(row.number, problem, 1, correct, "", None, answer, text, None, row.unit)
