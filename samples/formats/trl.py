"""TRL's GRPOTrainer with `log_completions`: `completions_STEP.parquet`, a row a sample; a folder of steps is one model.

| column | type | meaning |
|---|---|---|
| prompt | text, messages | the problem |
| completion | text, messages | the sample |
| (a reward function's name) | number, null | its reward: the mark; null where it could not be scored |
| step | number | the training step: of several it is told that they are pooled |
| advantage, mode | | not read |

Other columns are those of the data set. The reward is the only column that holds a number or null in every row; of
several the user names it. There is no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"prompt", "completion"},)
OTHERS = frozenset({"step", "prompt", "completion", "advantage", "mode"})


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    if fields.metric is None:
        rows = list(rows)
        found.metric = _reward(rows)
        found.notes += shared.guessed(found.metric)
    else:
        found.metric = fields.metric
    for row in rows:
        found.add_step(row)
        correct = shared.mark(row, found.metric, shared.value_of(row, found.metric), fields.threshold)
        problem = shared.name_of(row, fields.problem or "prompt")
        answer, text = shared.answer_of(row, fields.answer), shared.text_of(row, "completion")
        yield Record(row.number, problem, 1, correct, "", None, answer, text, None, row.unit)


def _reward(rows: Sequence[Row]) -> str:
    """The only column of numbers and nulls."""
    names = dict.fromkeys(name for row in rows for name in row.fields if name not in OTHERS)
    numeric = [name for name in names if all(isinstance(row.fields.get(name), int | float | None) for row in rows)]
    try:
        return shared.only(numeric, "reward column")
    except ValueError as error:
        hint = "; what methods would do to rollouts says preview" if {"reward", "correct"} <= names.keys() else ""
        raise ValueError(f": {error}{hint}") from None
