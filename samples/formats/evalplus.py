"""EvalPlus's and BigCodeBench's `*_eval_results.json`: one JSON document, a list entry a sample.

| field | type | meaning |
|---|---|---|
| eval | object | a task_id: its samples; the key is the problem |
| - new | list of objects | solution (the sample); base_status, plus_status: pass, fail, timeout, null if not run |
| - old | object | base and plus: nfiles times [status, details]: success, failed, timeout; plus is [] if not run |
| - BigCodeBench | list of objects | solution, status: pass, fail, timeout |
| date, hash | | not read |

The mark is `--metric base` or `--metric plus`: plus is correct where both pass, and is taken where it was run. There is
no answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from sharpening.samples.formats import fields as shared
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row, shown
from sharpening.samples.tally import Record

NEEDED = ({"eval"},)
STATUSES = {"pass": 1, "success": 1, "fail": 0, "failed": 0, "timeout": 0, None: None}
METRICS = ("base", "plus")


class _Sample(NamedTuple):
    row: Row
    problem: str
    base: int | None
    plus: int | None
    text: str | None


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the document."""
    for name, value, want in (
        ("metric", fields.metric, METRICS),
        ("problem", fields.problem, ()),
        ("answer", fields.answer, ()),
    ):
        if value is not None and value not in want:
            raise ValueError(f": --{name} is {value!r}: want {' or '.join(want) or 'none'} for a file of EvalPlus")
    samples = [sample for row in rows for sample in _samples(row)]
    num_plus = sum(sample.plus is not None for sample in samples)
    has_plus = num_plus > 0
    if 0 < num_plus < len(samples) and fields.metric != "base":
        raise ValueError(f": plus tests were run on {num_plus} of {len(samples)} samples: want all, or --metric base")
    found.metric = fields.metric or METRICS[has_plus]
    if fields.metric is None and has_plus:
        found.notes.append(
            "correct is what passes EvalPlus's base and plus tests; --metric base counts the base tests alone"
        )
    for row, problem, base, plus, text in samples:
        both = None if base is None or plus is None else base * plus
        yield Record(row.number, problem, 1, base if found.metric == "base" else both, text=text, unit=row.unit)


def _samples(row: Row) -> Iterator[_Sample]:
    tasks = shared.value_of(row, "eval")
    if not isinstance(tasks, dict):
        raise row.fault(f"eval is {shown(tasks)}: want an object with the samples of each task")
    for task, found in tasks.items():
        inside = Row(f"task {task!r}, sample", 0, {})
        if isinstance(found, dict):
            found = _as_objects(found, inside)
        if not isinstance(found, list) or not found:
            raise ValueError(f"task {task!r}: its samples are {shown(found)}: want a list of at least one")
        for number, each in enumerate(found):
            if not isinstance(each, dict):
                raise ValueError(f"task {task!r}, sample {number}: it is {shown(each)}: want an object")
            place = inside._replace(number=number, fields=each)
            base = "base_status" if "base_status" in each or "status" not in each else "status"
            plus = _status(place, "plus_status") if each.get("plus_status") is not None else None
            yield _Sample(place, task, _status(place, base), plus, shared.text_of(place, "solution"))


def _as_objects(found: Mapping[str, Any], row: Row) -> list[dict[str, Any]]:
    """The old form of a task's samples in the new one."""
    row = row._replace(fields=found)
    base, plus = shared.value_of(row, "base"), found.get("plus") or []
    are_lists = isinstance(base, list) and isinstance(plus, list)
    if not are_lists or len(plus) not in (0, len(base)) or found.get("nfiles", len(base)) != len(base):
        raise ValueError(
            f"{row.unit.removesuffix(', sample')}: base is {shown(base)}, plus {shown(plus)}: want nfiles entries each"
        )
    return [
        {"base_status": _first(b), "plus_status": _first(p)}
        for b, p in zip(base, plus or [None] * len(base), strict=True)
    ]


def _first(result: Any) -> Any:
    return result[0] if isinstance(result, list) and result else result


def _status(row: Row, name: str) -> int | None:
    value = shared.value_of(row, name)
    if value is not None and not (isinstance(value, str) and value in STATUSES):
        raise row.fault(f"{name} is {shown(value)}: want {', '.join(filter(None, STATUSES))}")
    return STATUSES[value]
