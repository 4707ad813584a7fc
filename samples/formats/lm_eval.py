"""lm-evaluation-harness with `--log_samples`: `samples_TASK_DATE.jsonl`, a row a document under one filter.

| field | type | meaning |
|---|---|---|
| doc_id | number | the problem |
| doc_hash | text | what the document is: another hash under the same doc_id is another task |
| doc | any | the document, where there is no doc_hash |
| resps | list of lists | a list a request; with one request it holds the generations |
| filtered_resps | list | what the filter left of them: the answers |
| filter | text | its name (not in old files): METRIC,FILTER is how lm-eval itself names a score |
| metrics | list of text | the names of the scores (not in old files), each a field of its own |

A score is one number for the document (one sample), a list with a number a generation, or pass@k over all generations,
from which the number correct follows where only one number fits. A list of another length, as the instructions of
ifeval are, is no list of samples.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from sharpening.samples import tally
from sharpening.samples.formats import fields as shared
from sharpening.samples.formats import shares
from sharpening.samples.formats.fields import Fields, Found
from sharpening.samples.lines import Row
from sharpening.samples.tally import Record

NEEDED = ({"doc_id", "filtered_resps"}, {"doc_id", "resps"})
OTHERS = frozenset(
    {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    | {"doc_hash", "prompt_hash", "target_hash"}
)
PASS_AT_K = re.compile(r"pass(?:@|_at_)([1-9]\d{0,5})", re.ASCII)
NO_FILTER = "no field 'filter' (lm-eval did not log one then)"


def records(rows: Iterable[Row], fields: Fields, found: Found) -> Iterator[Record]:
    """The records of the rows under one filter."""
    reader = _Reader(fields, found)
    for row in rows:
        if reader.is_wanted(row):
            yield from reader.read(row)
    reader.finish()


class _Reader:
    """What is known of the file so far."""

    def __init__(self, fields: Fields, found: Found) -> None:
        self.fields, self.found = fields, found
        self.metric, _, self.filter = (fields.metric or "").partition(",")
        self.filters: dict[str, None] = {}
        self.documents: set[str] = set()
        self.num_unscored, self.num_open, self.share_of_one = 0, 0, 0.0

    def is_wanted(self, row: Row) -> bool:
        """Whether the row is under the filter; raises ValueError where that is not told."""
        if "filter" not in row.fields:
            name = shared.name_of(row, "doc_id")
            if name in self.documents:
                raise row.fault(
                    f"doc_id {name} again, {NO_FILTER}: want two blocks of the same documents in a file each"
                )
            if self.filter:
                raise row.fault(
                    f"{NO_FILTER}: want --metric {self.metric} without a filter, and two blocks of the same documents "
                    "in a file each"
                )
            self.documents.add(name)
        name = shared.as_text(row.fields.get("filter", ""))
        self.filters[name] = None
        if len(self.filters) > 1 and not self.filter:
            raise row.fault(f"several filters ({shared.listed(self.filters)}): want --metric METRIC,FILTER")
        return name == self.filter or not self.filter

    def read(self, row: Row) -> Iterator[Record]:
        """The samples of a document."""
        names = _pass_at_k(row)
        if self.fields.metric is None:
            metric = _only_metric(row, names)
            if not self.metric and not isinstance(row.fields.get("metrics"), list):
                self.found.notes += shared.guessed(metric)
            if metric != (self.metric or metric):
                raise row.fault(f"the metric is {metric}, in rows before {self.metric}: want its name after --metric")
            self.metric = metric
        self.found.metric = self.metric
        problem, value = shared.name_of(row, self.fields.problem or "doc_id"), shared.value_of(row, self.metric)
        document = _document(row) if self.fields.problem is None else None
        num_generations = _num_generations(row)
        if PASS_AT_K.fullmatch(self.metric):
            self._refuse_threshold(row)
            values = {k: shared.value_of(row, name) for k, name in names.items()}
            correct, is_open = shares.number_correct(row, names, values, num_generations)
            if is_open:
                self.num_open += 1
                self.share_of_one = max(self.share_of_one, 1 / num_generations)
            size = num_generations if correct is not None else 1
            yield Record(row.number, problem, size, correct, "", tally.WHOLE, None, None, document, row.unit)
            return
        texts, answers = _kept(row, "resps"), _kept(row, self.fields.answer or "filtered_resps")
        if isinstance(value, list):
            self._refuse_other_lists(row, value, {num_generations, len(answers)})
        scores = value if isinstance(value, list) else [value]
        self.num_unscored = max(self.num_unscored, num_generations - len(scores))
        for place, each in enumerate(scores):
            correct = shared.mark(row, self.metric, each, self.fields.threshold)
            answer = shared.answer_text(answers[place]) if len(answers) == len(scores) else None
            text = shared.as_text(texts[place]) if len(texts) == len(scores) else None
            yield Record(row.number, problem, 1, correct, "", place, answer, text, document, row.unit)

    def _refuse_threshold(self, row: Row) -> None:
        if self.fields.threshold is not None:
            raise row.fault(f"--threshold with {self.metric}, which is no score of a sample: want none")

    def _refuse_other_lists(self, row: Row, value: list[Any], sizes: set[int]) -> None:
        if len(value) not in sizes or self.metric.startswith("inst_level"):
            size = " or ".join(map(str, sorted(sizes - {0})))
            raise row.fault(
                f"{self.metric} has {len(value)} scores, the document {size} generations: they are not one "
                "a sample: want another --metric"
            )

    def finish(self) -> None:
        """Refuses a filter that no row has, and notes what the reader of the numbers should know."""
        if self.filter and self.filter not in self.filters:
            raise ValueError(f": no line has the filter {self.filter!r}: want one of {shared.listed(self.filters)}")
        if self.num_unscored:
            self.found.notes.append(
                f"lm-eval logged up to {self.num_unscored} more generations per document than it scored, and only "
                "scored ones count here: for pass@k use a metric that returns a list, or pass@1 over all"
            )
        if self.num_open:
            self.found.notes.append(
                f"{self.num_open} documents may have one correct generation less than all: the file has no pass@1, and "
                f"pass@2 is 1 for both: all is taken, which makes their pass@1 up to {self.share_of_one:.4f} too high"
            )


def _document(row: Row) -> str | None:
    """The hash of the document; where old files have none, what lm-eval makes it of."""
    if row.fields.get("doc_hash") is None and row.fields.get("doc") is not None:
        text = json.dumps(row.fields["doc"], indent=2, ensure_ascii=False)
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
    return shared.text_of(row, "doc_hash")


def _pass_at_k(row: Row) -> dict[int, str]:
    """The fields that are pass@k, by k: those that are there and those that are told."""
    told = row.fields.get("metrics")
    names = [*row.fields, *(name for name in told if isinstance(name, str))] if isinstance(told, list) else row.fields
    return {int(found[1]): name for name in names if (found := PASS_AT_K.fullmatch(name))}


def _only_metric(row: Row, names: dict[int, str]) -> str:
    """The name of the score; of several pass@k the first."""
    told = row.fields.get("metrics")
    if isinstance(told, list):
        candidates = [shared.as_text(name) for name in told]
    else:
        candidates = [name for name, value in row.fields.items() if name not in OTHERS and _is_score(value)]
    if names and all(PASS_AT_K.fullmatch(name) for name in candidates):
        return names[min(names)]
    try:
        return shared.only(candidates, "metric")
    except ValueError as error:
        raise row.fault(str(error)) from None


def _is_score(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return all(isinstance(shared.scalar(each), int | float | None) for each in values)


def _num_generations(row: Row) -> int:
    """How often the document was sampled: with one request, `resps` is a list of one list."""
    shared.value_of(row, "resps")
    return max(1, len(_kept(row, "resps")))


def _kept(row: Row, name: str) -> list[Any]:
    """The generations of the one request, or what a filter left of them."""
    found = row.fields.get(name)
    if not isinstance(found, list):
        return []
    is_sampled = len(found) == 1 and isinstance(found[0], list)
    return found[0] if is_sampled else [] if name == "resps" else found
