"""Reading the sample files of other tools, line by line: what each writes, and which fields say what.

| format | written by | problem | correct | answer |
|---|---|---|---|---|
| human_eval | human-eval's `evaluate_functional_correctness` | task_id | passed | - |
| lm_eval | lm-evaluation-harness with `--log_samples` | doc_id | the metric | filtered_resps |
| trl | TRL's GRPOTrainer with `log_completions` (parquet) | prompt | the reward column | - |
| verl | verl's validation and rollout dumps | input | acc, else score | pred |
| jsonl | anyone | problem | correct | answer |
| csv | anyone: counts | problem | n and c | - |

In jsonl a sample whose correct is null could not be scored: it is left out, and said so.
A line of lm_eval is a document; it has several samples if its metric is a list, or is pass@1 of all its generations.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sharpening.samples import tally as samples
from sharpening.samples.tally import Record, Samples

Row = tuple[int, Mapping[str, Any]]  # line or row number, fields

LM_EVAL_FIELDS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash"}
)
TRL_FIELDS = frozenset({"step", "prompt", "completion", "advantage", "mode"})
LARGEST_COUNT = 1e9
SHARE_ROUNDING = 1e-4  # shares are floats: c/n times n is an integer but for rounding


@dataclass(frozen=True)
class Fields:
    """What the user says about the fields of a file: metric and answer by name, and the least score that is correct."""

    metric: str | None = None
    answer: str | None = None
    threshold: float | None = None


def read(lines: Iterable[bytes], name: str, fields: Fields, file_format: str | None = None) -> Samples:
    """The counts in the lines of a text file of a known format, or of the one that its first line shows.

    Raises ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    filled = _filled(lines)
    notes: list[str] = []
    try:
        first = next(filled, None)
        if first is None:
            raise ValueError(": the file is empty: want at least one sample")
        whole = itertools.chain([first], filled)
        chosen = file_format or recognised(first[1])
        if chosen == "csv":
            return samples.tally(_csv(whole), name)
        if chosen not in JSON_FORMATS:
            raise ValueError(f": format {chosen} is not text: want one of csv, {', '.join(JSON_FORMATS)}")
        return samples.tally(JSON_FORMATS[chosen](_objects(whole), fields, notes), name, notes)
    except ValueError as error:
        raise _named(error, name) from None


def read_table(rows: Iterable[Mapping[str, Any]], name: str, fields: Fields) -> Samples:
    """The counts in the rows of TRL's completions table."""
    try:
        return samples.tally(_trl(enumerate(rows, start=1), fields), name)
    except ValueError as error:
        raise _named(error, name) from None


def recognised(first: str) -> str:
    """The format of a text file, from its first line that is not empty."""
    if first.lstrip().startswith("["):
        raise ValueError("line 1: it begins a JSON list: want JSON Lines, one object per line")
    if not first.lstrip().startswith("{"):
        columns = [column.strip() for column in first.split(",")]
        if {"problem", "n", "c"} <= set(columns):
            return "csv"
        raise ValueError(f"line 1: unknown format, columns {_listed(columns)}: want problem, n, c, or JSON Lines")
    keys = _object(1, first).keys()
    for name, needed in RECOGNISED_BY.items():
        if needed <= keys:
            return name
    known = "; ".join(f"{name}: {_listed(sorted(needed))}" for name, needed in RECOGNISED_BY.items())
    raise ValueError(f"line 1: unknown format, fields {_listed(list(keys))}: want those of a format ({known})")


def _named(error: ValueError, name: str) -> ValueError:
    text = str(error)
    return ValueError(text if text.startswith(name) else f"{name}{'' if text.startswith(':') else ' '}{text}")


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return shown if len(shown) <= 200 else shown[:197] + "..."


def _filled(lines: Iterable[bytes]) -> Iterator[tuple[int, str]]:
    """The lines that are not empty, as text, with their numbers."""
    for number, line in enumerate(lines, start=1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}: it is not UTF-8 text ({error.reason}): save it as UTF-8") from None
        if not text.isspace() and text:
            yield number, text


def _objects(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, text in lines:
        yield number, _object(number, text)


def _object(number: int, text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(":")[0]
        raise ValueError(f"line {number}: it is not JSON: {reason}: want one object per line") from None
    if not isinstance(found, dict):
        raise ValueError(f"line {number}: it is {_shown(found)}: want an object")
    return found


def _shown(value: Any) -> str:
    text = "NaN" if value != value else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _field(number: int, row: Mapping[str, Any], name: str) -> Any:
    try:
        return row[name]
    except KeyError:
        raise ValueError(f"line {number}: field {name!r} is missing: want it in every line") from None


def _mark(number: int, name: str, value: Any, threshold: float | None) -> int:
    """1 for a correct sample, 0 for a wrong one."""
    if value is True or value is False:
        return int(value)
    if not isinstance(value, int | float) or value != value:
        raise ValueError(f"line {number}: {name} is {_shown(value)}: want 0, 1, true or false")
    if threshold is not None:
        return int(value >= threshold)
    if value not in (0, 1):
        hint = "; for other scores say with --threshold from which one on a sample is correct"
        raise ValueError(f"line {number}: {name} is {_shown(value)}: want 0, 1, true or false{hint}")
    return int(value)


def _name(number: int, row: Mapping[str, Any], field: str) -> str:
    """A problem or seed as text: 3 and "3" are the same."""
    value = _field(number, row, field)
    if value is None or value == "" or value != value:
        raise ValueError(f"line {number}: {field} is {_shown(value)}: want a name or a number")
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _answer(row: Mapping[str, Any], field: str) -> str | None:
    """The answer as text, "" where it is null, None where there is no such field."""
    value = row.get(field, _answer)
    if value is _answer:
        return None
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)


def _human_eval(rows: Iterator[Row], fields: Fields, _: list[str]) -> Iterator[Record]:
    metric = fields.metric or "passed"
    for number, row in rows:
        correct = _mark(number, metric, _field(number, row, metric), fields.threshold)
        answer = _answer(row, fields.answer) if fields.answer else None
        sample = _name(number, row, "completion_id") if "completion_id" in row else None
        yield Record(number, _name(number, row, "task_id"), 1, correct, "", sample, answer)


def _verl(rows: Iterator[Row], fields: Fields, _: list[str]) -> Iterator[Record]:
    metric, answer = fields.metric, fields.answer or "pred"
    for number, row in rows:
        metric = metric or ("acc" if "acc" in row else "score")
        correct = _mark(number, metric, _field(number, row, metric), fields.threshold)
        yield Record(number, _name(number, row, "input"), 1, correct, "", None, _answer(row, answer))


def _jsonl(rows: Iterator[Row], fields: Fields, notes: list[str]) -> Iterator[Record]:
    metric, answer = fields.metric or "correct", fields.answer or "answer"
    num_unscorable, unscorable, scored = 0, set(), set()
    for number, row in rows:
        value, problem = _field(number, row, metric), _name(number, row, "problem")
        if value is None:
            num_unscorable += 1
            unscorable.add(problem)
            continue
        scored.add(problem)
        correct = _mark(number, metric, value, fields.threshold)
        seed = _name(number, row, "seed") if "seed" in row else ""
        sample = _name(number, row, "sample") if "sample" in row else None
        yield Record(number, problem, 1, correct, seed, sample, _answer(row, answer))
    if num_unscorable:
        notes.append(f"{num_unscorable} samples could not be scored ({metric} is null) and are left out")
    if unscorable and not scored:
        raise ValueError(f": {metric} is null in every line: want samples that could be scored")
    if lost := unscorable - scored:
        notes.append(f"{len(lost)} problems have no sample that could be scored and are left out")


def _trl(rows: Iterator[Row], fields: Fields) -> Iterator[Record]:
    metric = fields.metric
    for number, row in rows:
        if metric is None:
            numeric = [name for name, value in row.items() if isinstance(value, int | float) and name not in TRL_FIELDS]
            metric = _only(number, numeric, "reward column")
        correct = _mark(number, metric, _field(number, row, metric), fields.threshold)
        answer = _answer(row, fields.answer) if fields.answer else None
        yield Record(number, _name(number, row, "prompt"), 1, correct, "", None, answer)


def _only(number: int, names: list[str], what: str) -> str:
    if len(names) != 1:
        found = f"several fields could be the {what}" if names else f"no field could be the {what}"
        raise ValueError(f"line {number}: {found} ({_listed(names)}): want its name after --metric")
    return names[0]


def _lm_eval(rows: Iterator[Row], fields: Fields, notes: list[str]) -> Iterator[Record]:
    """A line is a document under one filter; METRIC,FILTER is how lm-eval itself names a score."""
    metric, _, wanted = (fields.metric or "").partition(",")
    filters: dict[str, None] = {}
    num_unscored = 0
    for number, row in rows:
        found = str(row.get("filter", ""))
        filters[found] = None
        if wanted and found != wanted:
            continue
        if len(filters) > 1 and not wanted:
            raise ValueError(f"line {number}: several filters ({_listed(list(filters))}): want --metric METRIC,FILTER")
        metric = metric or _only(number, _lm_eval_metrics(row), "metric")
        problem, value = _name(number, row, "doc_id"), _field(number, row, metric)
        num_generations = _num_generations(number, row)
        answers = _listed_answers(row, fields.answer or "filtered_resps")
        if metric.startswith("pass@1") and num_generations > 1:
            num_correct = _number_correct(number, metric, value, num_generations)
            yield Record(number, problem, num_generations, num_correct, "", samples.WHOLE)
            continue
        scores = value if isinstance(value, list) else [value]
        num_unscored = max(num_unscored, num_generations - len(scores))
        for place, each in enumerate(scores):
            correct = _mark(number, metric, each, fields.threshold)
            answer = answers[place] if len(answers) == len(scores) else None
            yield Record(number, problem, 1, correct, "", place, answer)
    if wanted and wanted not in filters:
        raise ValueError(f": no line has the filter {wanted!r}: want one of {_listed(list(filters))}")
    if num_unscored:
        notes.append(
            f"lm-eval logged up to {num_unscored} more generations per document than it scored, and only scored ones "
            "count here: for pass@k use a metric that returns a list, or pass@1 over all"
        )


def _lm_eval_metrics(row: Mapping[str, Any]) -> list[str]:
    if isinstance(row.get("metrics"), list):
        return [str(name) for name in row["metrics"]]
    return [
        name
        for name, value in row.items()
        if name not in LM_EVAL_FIELDS
        and isinstance(value[0] if isinstance(value, list) and value else value, int | float)
    ]


def _num_generations(number: int, row: Mapping[str, Any]) -> int:
    """How often the document was sampled: with one request, `resps` is a list of one list."""
    requests = _field(number, row, "resps")
    is_sampled = isinstance(requests, list) and len(requests) == 1 and isinstance(requests[0], list)
    return max(1, len(requests[0])) if is_sampled else 1


def _listed_answers(row: Mapping[str, Any], field: str) -> list[str]:
    found = row.get(field, [])
    inner = found[0] if isinstance(found, list) and len(found) == 1 and isinstance(found[0], list) else found
    return [each if isinstance(each, str) else json.dumps(each) for each in inner] if isinstance(inner, list) else []


def _number_correct(number: int, metric: str, value: Any, num_generations: int) -> int:
    """The correct samples behind a share of them."""
    share = value if isinstance(value, int | float) else float("nan")
    if not abs(share * num_generations - round(share * num_generations if share == share else 0)) < SHARE_ROUNDING:
        raise ValueError(f"line {number}: {metric} is {_shown(value)}: want a share of {num_generations} generations")
    return round(share * num_generations)


def _csv(lines: Iterator[tuple[int, str]]) -> Iterator[Record]:
    number, first = next(lines)
    header = [column.strip() for column in next(csv.reader([first]))]
    for column in ("problem", "n", "c"):
        if header.count(column) != 1:
            raise ValueError(f"line {number}: want one column {column!r} in the header, found {_listed(header)}")
    for number, text in lines:
        try:
            (row,) = csv.reader([text], strict=True)  # a line is a row: no line breaks in names
        except csv.Error as error:
            raise ValueError(f"line {number}: malformed CSV: {error}") from None
        if len(row) != len(header):
            raise ValueError(f"line {number}: {len(row)} fields: want {len(header)}, as in the header")
        cells = dict(zip(header, row, strict=True))
        problem = _name(number, cells, "problem")
        num_samples, num_correct = _count(number, "n", cells["n"], 1), _count(number, "c", cells["c"], 0)
        if num_correct > num_samples:
            raise ValueError(f"line {number}: c is {num_correct}, n is {num_samples}: want c at most n")
        yield Record(number, problem, num_samples, num_correct, "", samples.WHOLE)


def _count(number: int, column: str, text: str, least: int) -> int:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not (least <= value <= LARGEST_COUNT and value == int(value)):
        raise ValueError(f"line {number}: {column} is {text!r}: want an integer from {least}")
    return int(value)


JSON_FORMATS: dict[str, Callable[[Iterator[Row], Fields, list[str]], Iterator[Record]]] = {
    "human_eval": _human_eval,
    "lm_eval": _lm_eval,
    "verl": _verl,
    "jsonl": _jsonl,
}
RECOGNISED_BY = {
    "human_eval": {"task_id", "completion"},
    "lm_eval": {"doc_id", "filtered_resps"},
    "verl": {"input", "output"},
    "jsonl": {"problem"},
}
