"""Inspect's logs: `.json`, one document, or `.eval`, a zip archive with `samples/ID_epoch_N.json` and `header.json`.

| field | type | meaning |
|---|---|---|
| status | text | of the log: "success", or why samples may be missing |
| samples | list of objects | the samples, each with: |
| - id, epoch | text, number | the problem, and the number of the sample of it |
| - input | text, messages | the problem's text: another text under the same id is another task |
| - scores | object, null | a scorer's name: its value (C, I, N, P or a mark) and answer; null or {}: not scored |
| - output | object | completion: the sample |

C is correct, I incorrect, N no answer (wrong), P half right, which needs --threshold. Of several scorers --metric
names one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row, shown
from sharpening.samples.tally import Record

NEEDED = ({"status", "samples"}, {"status", "eval"}, {"id", "epoch", "scores"})
LETTERS = {"C": 1, "I": 0, "N": 0, "P": 0.5}


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the log."""
    samples = [sample for row in rows for sample in _samples(row, found)]
    scorers = dict.fromkeys(name for sample in samples for name in _scores(sample))
    if not samples:
        raise ValueError(": the log holds no samples: want one that was written with them")
    if fields.metric is None and not scorers:
        raise ValueError(": no sample has a score: want a log that was scored")
    try:
        found.metric = fields.metric or shared.only([*scorers], "scorer")
    except ValueError as error:
        raise ValueError(f": {error}") from None
    for sample in samples:
        yield _record(sample, fields, found.metric)


def _samples(row: Row, found: Found) -> Iterator[Row]:
    """The samples of a log, or the one that the row is."""
    status = row.fields.get("status")
    if "scores" not in row.fields and "status" in row.fields:
        if status != "success":
            found.notes.append(f"the log's status is {shown(status)}: samples may be missing")
        samples = row.fields.get("samples") or []
        if not isinstance(samples, list):
            raise row.fault(f"samples is {shown(samples)}: want a list")
        for number, each in enumerate(samples, start=1):
            if not isinstance(each, dict):
                raise row.fault(f"sample {number} is {shown(each)}: want an object")
            yield Row("sample", number, each)
    else:
        yield row


def _scores(row: Row) -> dict[str, Any]:
    scores = row.fields.get("scores") or {}
    if not isinstance(scores, dict):
        raise row.fault(f"scores is {shown(scores)}: want an object with the scores of each scorer")
    return scores


def _record(row: Row, fields: Fields, metric: str) -> Record:
    problem = shared.name_of(row, fields.problem or "id")
    epoch = shared.name_of(row, "epoch") if "epoch" in row.fields else None
    document = shared.text_of(row, "input") if fields.problem is None else None
    output = row.fields.get("output")
    text = shared.text_of(row._replace(fields=output), "completion") if isinstance(output, dict) else None
    correct, answer = None, None
    if scores := _scores(row):
        score = shared.value_of(row._replace(fields=scores), metric)
        if not isinstance(score, dict):
            raise row.fault(f"{metric} is {shown(score)}: want an object with value")
        inside = row._replace(fields=score)
        value = shared.value_of(inside, "value")
        value = LETTERS.get(value, value) if isinstance(value, str) else value
        correct = shared.mark(row, f"the value of {metric}", value, fields.threshold)
        answer = shared.answer_of(inside, fields.answer or "answer")
    return Record(row.number, problem, 1, correct, "", epoch, answer, text, document, row.unit)
