"""lighteval's details parquet: a row a document, in structs.

| column | type | meaning |
|---|---|---|
| doc | struct | id: the problem; query: its text: another text under the same id is another task |
| model_response | struct | text: list of the generations |
| metric | struct | a score a name, as `math_pass@1:4_samples`, `pass@k:k=1&n=4` or `avg@n:n=4` |

A score of n samples says how many are correct (the largest n is taken), another is that of the one sample. Where fewer
than n were drawn it is divided by the wrong number: such a row is refused, as is one score of several. There is no
answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sharpening.samples import tally
from sharpening.samples.formats import fields as shared
from sharpening.samples.formats import shares
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row, shown
from sharpening.samples.tally import Record

NEEDED = ({"doc", "model_response", "metric"},)
NUMBER = r"([1-9]\d{0,5})"
PASS_AT_K = re.compile(rf"(.*)pass@{NUMBER}:{NUMBER}_samples|(.*)pass@k:k={NUMBER}&n={NUMBER}", re.ASCII)
AVERAGE = re.compile(rf"(.*)avg@([nk]):\2={NUMBER}", re.ASCII)
Kind = tuple[str, int, int]  # what comes before, k, n


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows."""
    for row in rows:
        scores = _struct(row, "metric")
        if not found.metric:
            found.metric = fields.metric or _only_metric(scores)
        value, kind = shared.value_of(scores, found.metric), _kind(found.metric)
        doc = _struct(row, "doc")
        problem = shared.name_of(doc, fields.problem or "id")
        document = shared.text_of(doc, "query") if fields.problem is None else None
        _refuse_other_sizes(row, found.metric, kind)
        if kind is None:
            correct, num_samples = shared.mark(row, found.metric, value, fields.threshold), 1
        elif fields.threshold is not None:
            raise row.fault(f"--threshold with {found.metric}, which is no score of a sample: want none")
        else:
            correct, num_samples = _number_correct(row, found.metric, value, kind)
        yield Record(row.number, problem, num_samples, correct, "", tally.WHOLE, None, None, document, row.unit)


def _refuse_other_sizes(row: Row, metric: str, kind: Kind | None) -> None:
    drawn = shared.value_of(_struct(row, "model_response"), "text")
    if not isinstance(drawn, list):
        raise row.fault(f"model_response.text is {shown(drawn)}: want the list of the generations")
    if kind and len(drawn) < kind[2]:
        raise row.fault(f"{metric} is of {kind[2]} samples, model_response.text has {len(drawn)}: want all")
    if not kind and len(drawn) != 1:
        raise row.fault(
            f"{metric} is one score, model_response.text has {len(drawn)}: want a score that names its samples"
        )


def _struct(row: Row, name: str) -> Row:
    value = shared.value_of(row, name)
    if not isinstance(value, dict):
        raise row.fault(f"{name} is {shown(value)}: want an object")
    return row._replace(fields=value)


def _kind(name: str) -> Kind | None:
    """What a score of n samples is, None for another."""
    if found := PASS_AT_K.fullmatch(name):
        before, k, n = found.groups()[:3] if found[2] else found.groups()[3:]
        return before, int(k), int(n)
    found = AVERAGE.fullmatch(name)
    return (found[1], 1, int(found[3])) if found else None


def _only_metric(scores: Row) -> str:
    """The score of the most samples; where there is none of samples, the only number."""
    kinds = {name: kind for name in scores.fields if (kind := _kind(name))}
    most = max((n for _, _, n in kinds.values()), default=0)
    largest = [name for name, (_, _, n) in kinds.items() if n == most]
    if len({kinds[name][0] for name in largest}) == 1:
        return min(largest, key=lambda name: kinds[name][1])
    names = largest or [name for name, value in scores.fields.items() if isinstance(value, int | float | None)]
    try:
        return shared.only(names, "metric")
    except ValueError as error:
        raise scores.fault(str(error)) from None


def _number_correct(row: Row, metric: str, value: Any, kind: Kind) -> tuple[int | None, int]:
    """The number correct, and of how many; None and 1 where the document was not scored."""
    _, k, num_samples = kind
    correct, _ = shares.number_correct(row, {k: metric}, {k: value}, num_samples)
    return correct, num_samples if correct is not None else 1
