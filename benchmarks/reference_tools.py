"""What each tool's sample file says, for benchmarks/reference_reader.py: samples as objects, doubts as refusals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.reference_values import (
    Refused,
    Row,
    Said,
    Sample,
    answered,
    field,
    listed,
    lists,
    marked,
    meant,
    named,
    number_in,
    only,
    text_of,
)


def qwen_math(rows: list[Row], said: Said) -> list[Sample]:
    """Lists, a row a problem; `answer` is the gold answer."""
    found = []
    for row in rows:
        marks = lists(row, said.metric or "score", "pred", "code", *([said.answer] if said.answer else []))
        name = named(field(row, said.problem or "idx"))
        document = "" if said.problem else text_of(row.get("question"))
        samples = listed(name, marks, row.get(said.answer or "pred"), said.threshold)
        found += [sample._replace(document=document) for sample in samples]
    return found


def limo(rows: list[Row], said: Said) -> list[Sample]:
    """Lists, a row a problem; `is_correct` says whether any is."""
    found = []
    for row in rows:
        answer = said.answer or "generated_answers"
        marks = lists(row, said.metric or "answers_correctness", "generated_answers", "generated_responses", answer)
        found += listed(named(field(row, said.problem or "question")), marks, row.get(answer), said.threshold)
    return found


def livecodebench(rows: list[Row], said: Said) -> list[Sample]:
    """Lists, a row a problem."""
    found = []
    for row in rows:
        others = ("output_list", "code_list", *([said.answer] if said.answer else []))
        marks = lists(row, said.metric or "graded_list", *others)
        answers = row.get(said.answer) if said.answer else None
        found += listed(named(field(row, said.problem or "question_id")), marks, answers, said.threshold)
    return found


def own(rows: list[Row], said: Said) -> list[Sample]:
    """A row a sample, or a row a problem with lists or with counts."""
    metric, answer = said.metric or "correct", said.answer or "answer"
    is_counts = said.metric is None and not any(metric in row for row in rows)
    names = ["problem", "problem_id", *(["id"] if is_counts else [])]
    problem = said.problem or next((name for name in names if any(name in row for row in rows)), "problem")
    if is_counts:
        return [Sample(named(field(row, problem)), counts=counted(row)) for row in rows]
    found = []
    for row in rows:
        name, value = named(field(row, problem)), field(row, metric)
        seed = named(row["seed"]) if "seed" in row else ""
        if isinstance(value, list):
            samples = listed(name, lists(row, metric, answer, "completion"), row.get(answer), said.threshold)
            found += [sample._replace(seed=seed) for sample in samples]
            continue
        place = named(row["sample"]) if "sample" in row else None
        found.append(Sample(name, marked(value, said.threshold), answered(row, answer), place, seed))
    return found


def counted(row: Row) -> tuple[int, int]:
    """Samples and correct ones of a row of counts."""
    numbers = []
    for value in (field(row, "n"), field(row, "c")):
        number = number_in(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1e9:
            raise Refused(f"count {value!r}")
        if number != int(number):
            raise Refused(f"count {value!r}")
        numbers.append(int(number))
    n, c = numbers
    if not (n >= 1 and c <= n):
        raise Refused(f"counts {n} and {c}")
    return n, c


def row_each(problem: str, metric: str, answer: str | None = None, place: str | None = None) -> Reader:
    """The reader of a format with a row a sample."""

    def read(rows: list[Row], said: Said) -> list[Sample]:
        return [
            Sample(
                named(field(row, said.problem or problem)),
                marked(field(row, said.metric or metric), said.threshold),
                answered(row, said.answer or answer),
                named(row[place]) if place in row else None,
            )
            for row in rows
        ]

    return read


def verl(rows: list[Row], said: Said) -> list[Sample]:
    """A row a sample; the mark is acc where there is one, else the score."""
    return row_each("input", "acc" if any("acc" in row for row in rows) else "score", "pred")(rows, said)


def trl(rows: list[Row], said: Said) -> list[Sample]:
    """A row a sample; the mark is the one column of numbers that is a reward."""
    columns = {key for row in rows for key in row} - {"step", "prompt", "completion", "advantage", "mode"}
    numeric = [name for name in columns if all(isinstance(row.get(name), int | float | None) for row in rows)]
    rewards = [name for name in numeric if any(row.get(name) is not None for row in rows)]
    if not said.metric and len(rewards) != 1:
        raise Refused(f"rewards {sorted(rewards)}")
    return row_each("prompt", said.metric or rewards[0])(rows, said)


PASS_AT = re.compile(r"pass(?:@|_at_)([0-9]+)")


def lm_eval(rows: list[Row], said: Said) -> list[Sample]:
    """A row a document under one filter; a list of scores, one score, or pass@k of all generations."""
    metric, _, wanted = (said.metric or "").partition(",")
    filters = {str(row.get("filter", "")) for row in rows}
    if len(filters) > 1 and not wanted:
        raise Refused(f"filters {sorted(filters)}")
    chosen = [row for row in rows if not wanted or str(row.get("filter", "")) == wanted]
    if not chosen:
        raise Refused(f"no filter {wanted}")
    names = [metric] if metric else list(dict.fromkeys(name for row in chosen for name in metrics_of(row)))
    if not names or (len(names) > 1 and not all(map(PASS_AT.fullmatch, names))):
        raise Refused(f"metrics {names}")
    return [sample for row in chosen for sample in of_document(row, names, said)]


def of_document(row: Row, names: list[str], said: Said) -> list[Sample]:
    """The samples of one document of lm-eval: by all its pass@k, or by its one score."""
    name = named(field(row, said.problem or "doc_id"))
    document = "" if said.problem else text_of(row.get("doc_hash"))
    if all(map(PASS_AT.fullmatch, names)):
        if said.threshold is not None:
            raise Refused("a threshold on pass@k")
        n = len(generations(row))
        shares = [each for each in row if PASS_AT.fullmatch(each)]
        if not set(names) & set(shares):
            raise Refused(f"no {names}")
        return [Sample(name, counts=correct_behind(row, shares, n), document=document, place="all")]
    value = field(row, names[0])
    kept = unnested(row.get("filtered_resps"))
    if isinstance(value, list) and len(value) not in (len(generations(row)), len(kept)):
        raise Refused(f"{len(value)} scores of {len(generations(row))} generations")
    if names[0].startswith("inst_level"):
        raise Refused("scores of instructions")
    answers = unnested(row.get(said.answer or "filtered_resps"))
    samples = listed(name, value if isinstance(value, list) else [value], answers, said.threshold)
    return [sample._replace(place=str(place), document=document) for place, sample in enumerate(samples)]


def metrics_of(row: Row) -> list[str]:
    """The names of the scores: those listed, or every field of a number that is not lm-eval's own."""
    if isinstance(row.get("metrics"), list) and row["metrics"]:
        return list(dict.fromkeys(name for name in row["metrics"] if isinstance(name, str) and name in row))
    own = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
    own |= {"doc_hash", "prompt_hash", "target_hash"}
    scores = {name: value[0] if isinstance(value, list) and value else value for name, value in row.items()}
    return [name for name, value in scores.items() if name not in own and isinstance(value, int | float)]


def generations(row: Row) -> list[Any]:
    """What the model said to the one request, or one if it is another kind of request."""
    requests = field(row, "resps")
    is_sampled = isinstance(requests, list) and len(requests) == 1 and isinstance(requests[0], list)
    return requests[0] if is_sampled and requests[0] else [None]


def unnested(answers: Any) -> list[Any]:
    """A list of answers, from the list of one request's."""
    found = answers if isinstance(answers, list) else []
    return found[0] if len(found) == 1 and isinstance(found[0], list) else found


def correct_behind(row: Row, metrics: list[str], n: int) -> tuple[int, int] | None:
    """The counts of n samples that all pass@k of the row agree with, with n - 1 or n correct the latter; or None."""
    fitting = set(range(n + 1))
    if all(meant(field(row, name)) is None for name in metrics):
        return None
    for name in metrics:
        value, k = meant(row[name]), int(name.removeprefix("pass@").removeprefix("pass_at_"))
        if value is None:
            continue
        if not isinstance(value, int | float) or not 1 <= k <= n:
            raise Refused(f"{name} is {value!r} of {n}")
        fitting &= {c for c in fitting if abs(1 - math.comb(n - c, k) / math.comb(n, k) - value) < 1e-6}
    if len(fitting) == 1 or fitting == {n - 1, n}:
        return n, max(fitting)
    raise Refused(f"{metrics}: {len(fitting)} numbers of correct samples fit")


PASSES = ("pass", "success")
STATUSES = (*PASSES, "fail", "failed", "timeout")


def evalplus(rows: list[Row], said: Said) -> list[Sample]:
    """A status a sample; plus counts where base passes too."""
    documents = [field(row, "eval") for row in rows]
    if said.metric not in (None, "base", "plus") or said.answer or said.problem:
        raise Refused("options that the format has not")
    if not all(isinstance(tasks, dict) and tasks for tasks in documents):
        raise Refused("no tasks")
    results = [pair for tasks in documents for pair in tasks.items()]
    pairs = [(named(task), *pair) for task, found in results for pair in statuses(found)]
    has_plus = [plus is not None for _, _, plus in pairs]
    if any(has_plus) and not all(has_plus) and said.metric != "base":
        raise Refused("plus for some samples only")
    is_base = said.metric == "base" or (said.metric is None and not any(has_plus))
    found = []
    for task, *both in pairs:
        read = both[:1] if is_base else both
        if any(status not in (*STATUSES, None) for status in read):
            raise Refused(f"statuses {read!r}")
        is_scored = None not in read
        found.append(Sample(task, all(status in PASSES for status in read) if is_scored else None))
    return found


def statuses(results: Any) -> list[tuple[Any, Any]]:
    """Base and plus of every sample of a task; null where there is none."""
    if isinstance(results, list) and results and all(isinstance(each, dict) for each in results):
        if all("status" in each and "base_status" not in each for each in results):
            return [(each["status"], None) for each in results]
        return [(field(each, "base_status"), each.get("plus_status")) for each in results]
    if not isinstance(results, dict):
        raise Refused("neither a list of samples nor an object")
    base, plus = field(results, "base"), results.get("plus") or []
    if not isinstance(base, list) or not isinstance(plus, list) or not base:
        raise Refused("no list of statuses")
    if len(base) != results.get("nfiles", len(base)) or (plus and len(plus) != len(base)):
        raise Refused("base, plus and nfiles differ")
    return list(zip(map(status_of, base), map(status_of, plus or [None] * len(base)), strict=True))


def status_of(result: Any) -> Any:
    """The status itself, or the first of a list."""
    return result[0] if isinstance(result, list) and result else result


def inspect_ai(rows: list[Row], said: Said) -> list[Sample]:
    """The samples of a log; an epoch is the name of a sample."""
    samples = field(only(rows), "samples") if "samples" in rows[0] else rows
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise Refused("samples is no list of objects")
    if not all(isinstance(sample.get("scores") or {}, dict) for sample in samples):
        raise Refused("scores is no object")
    scorers = {scorer for sample in samples for scorer in (sample.get("scores") or {})}
    if not said.metric and len(scorers) != 1:
        raise Refused(f"scorers {sorted(scorers)}")
    scorer = said.metric or next(iter(scorers))
    found = []
    for sample in samples:
        scores = sample.get("scores") or {scorer: {"value": None}}
        score = field(scores, scorer)
        if not isinstance(score, dict):
            raise Refused("no score")
        value = field(score, "value")
        mark = marked({"C": 1, "I": 0, "N": 0, "P": 0.5}.get(str(value), value), said.threshold)
        name, place = named(field(sample, said.problem or "id")), named(sample["epoch"]) if "epoch" in sample else None
        document = "" if said.problem else text_of(sample.get("input"))
        found.append(Sample(name, mark, answered(score, said.answer or "answer"), place, document=document))
    return found


SIZED = (
    re.compile(r"(.*pass@(?P<k>[0-9]+)):(?P<n>[0-9]+)_samples"),
    re.compile(r"(.*pass@k):k=(?P<k>[0-9]+)&n=(?P<n>[0-9]+)"),
    re.compile(r"(.*avg@n):n=(?P<n>[0-9]+)(?P<k>)"),
)


def lighteval(rows: list[Row], said: Said) -> list[Sample]:
    """A row a problem: the share of correct samples, their number in the name of the metric, or the mark of one."""
    metrics = [field(row, "metric") for row in rows]
    if not all(isinstance(metric, dict) for metric in metrics):
        raise Refused("metric is no struct")
    names = list(dict.fromkeys(name for metric in metrics for name in metric if said.metric in (None, name)))
    sized = [match for name in names for match in [form.fullmatch(name) for form in SIZED] if match]
    most = max((int(match["n"]) for match in sized), default=0)
    largest = [match for match in sized if int(match["n"]) == most]
    if len(largest) > 1 or not (largest or len(names) == 1):
        raise Refused(f"metrics {names}")
    match = largest[0] if largest else None
    n, name, k = (int(match["n"]), match[0], f"pass@{match['k'] or 1}") if match else (1, names[0], "")
    found = []
    for row, metric in zip(rows, metrics, strict=True):
        doc, response = field(row, "doc"), field(row, "model_response")
        texts = response.get("text") if isinstance(response, dict) else None
        if not isinstance(doc, dict) or not isinstance(texts, list) or len(texts) < n or said.answer:
            raise Refused(f"no doc, fewer than {n} samples, or options that the format has not")
        if not match and len(texts) != 1:
            raise Refused(f"{name} of {len(texts)} samples")
        mark = None if match else marked(field(metric, name), said.threshold)
        if match and said.threshold is not None:
            raise Refused("a threshold on shares")
        counts = correct_behind({k: field(metric, name)}, [k], n) if match else None
        problem = named(field(doc, said.problem or "id"))
        document = "" if said.problem else text_of(doc.get("query"))
        found.append(Sample(problem, mark, counts=counts, document=document, place="all"))
    return found


Reader = Callable[[list[Row], Said], list[Sample]]


class Tool(NamedTuple):
    """How a tool's rows are read, fields that they have (one set of these, a|b for either), and fields of the mark."""

    read: Reader
    fields: tuple[str, ...]
    mark: str = ""

    def fits(self, keys: set[str]) -> bool:
        """Whether the fields are all there."""
        return any(all(keys & set(name.split("|")) for name in each.split()) for each in self.fields)


NEMO = row_each("problem", "symbolic_correct", "predicted_answer")
HUMAN_EVAL = row_each("task_id", "passed", place="completion_id")
TOOLS = {
    "own exactly": Tool(own, ("problem|problem_id correct", "problem|problem_id|id n c"), "correct n c"),
    "inspect": Tool(inspect_ai, ("status samples", "status eval", "id epoch scores", "samples")),
    "evalplus": Tool(evalplus, ("eval",)),
    "livecodebench": Tool(livecodebench, ("question_id graded_list|output_list|code_list",), "graded_list"),
    "limo": Tool(limo, ("question answers_correctness",), "answers_correctness"),
    "qwen_math": Tool(qwen_math, ("idx|question pred score",), "score"),
    "lighteval": Tool(lighteval, ("doc model_response metric",)),
    "lm_eval": Tool(lm_eval, ("doc_id filtered_resps|resps",)),
    "nemo_skills": Tool(NEMO, ("problem expected_answer generation|predicted_answer",), "symbolic_correct"),
    "human_eval": Tool(HUMAN_EVAL, ("task_id completion|solution|passed",), "passed"),
    "verl": Tool(verl, ("input output",), "acc score"),
    "trl": Tool(trl, ("prompt completion",)),
    "own": Tool(own, ("problem|problem_id",), "correct n c"),
}
