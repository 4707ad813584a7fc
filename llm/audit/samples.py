"""Samples of a model before training, scored before and after: the audit for any model and any task.

The samples of each problem are drawn from the first model and marked by a verifier, as `evaluate` writes them. Their
log-probabilities under every model, sums over tokens at one temperature, show what training did to the answers that the
model used to give. Departs: (1) texts are tokenized again; where that gives other tokens than the model wrote, the
log-probability is that of another spelling. (2) A sample that could not be scored, `correct` null, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Prompt
from sharpening.samples import sharpening
from sharpening.theory.policies import Floats

SAME = 0.01  # nats by which the file's log-probabilities may differ, on average, from those of the first model


class Sample(NamedTuple):
    """One line of the file."""

    problem: str
    prompt: str | tuple[dict[str, str], ...]
    completion: str
    correct: bool
    is_finished: bool
    log_prob: float
    sample: str = ""  # its number or name within the problem, if the file has any


class Samples(NamedTuple):
    """The samples in a file, and of each the place of its problem."""

    samples: list[Sample]
    problem: NDArray[np.int64]
    num_unscorable: int

    @property
    def num_problems(self) -> int:
        """The number of problems."""
        return int(self.problem.max()) + 1


class Scored(NamedTuple):
    """Of each sample its log-probability in nats and its number of tokens, the end token included."""

    log_prob: Floats
    num_tokens: Floats


def read(text: str, name: str, limit: int | None = None) -> Samples:
    """The samples in JSON lines, of at most the first `limit` problems that have samples with marks.

    Raises ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    samples: list[Sample] = []
    places: dict[str, int] = {}
    prompts: dict[str, Any] = {}
    problem: list[int] = []
    seen: set[tuple[str, str]] = set()
    num_unscorable = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        one = _sample(line, f"{name} line {number}")
        if one is None:
            num_unscorable += 1
            continue
        if one.sample and (one.problem, one.sample) in seen:
            raise ValueError(f"{name} line {number}: sample {one.sample} of problem {one.problem!r} is there before")
        seen.add((one.problem, one.sample))
        if one.problem not in places and limit is not None and len(places) == limit:
            continue
        if prompts.setdefault(one.problem, one.prompt) != one.prompt:
            raise ValueError(
                f"{name} line {number}: prompt differs from that of problem {one.problem!r} above: want one"
            )
        problem.append(places.setdefault(one.problem, len(places)))
        samples.append(one)
    if not samples:
        raise ValueError(f"{name}: it has no sample with a mark: want at least one")
    return Samples(samples, np.array(problem), num_unscorable)


def _sample(line: str, where: str) -> Sample | None:
    """One line, or None for a sample that has no mark."""
    try:
        row = json.loads(line)
        json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise ValueError(f"{where}: it is not JSON: want one object per line, in UTF-8") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: it is no object: want fields problem, prompt, completion and correct")
    for field in ("problem", "prompt", "completion", "correct"):
        if field not in row:
            raise ValueError(f"{where}: field {field!r} is missing: want problem, prompt, completion and correct")
    row = {"is_finished": True, "log_prob": None, "sample": "", **row}
    for field, (is_allowed, wanted) in FIELDS.items():
        if not is_allowed(row[field]):
            raise ValueError(f"{where}: {field} is {json.dumps(row[field])[:80]}: want {wanted}")
    if row["correct"] is None:
        return None
    prompt = row["prompt"] if isinstance(row["prompt"], str) else tuple(row["prompt"])
    log_prob = np.nan if row["log_prob"] is None else float(row["log_prob"])
    is_correct, is_finished = bool(row["correct"]), bool(row["is_finished"])
    return Sample(str(row["problem"]), prompt, row["completion"], is_correct, is_finished, log_prob, str(row["sample"]))


def _is_prompt(value: Any) -> bool:
    if isinstance(value, list) and value:
        return all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in value
        )
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "problem": (lambda value: isinstance(value, str) or _is_number(value), "a name or a number"),
    "prompt": (_is_prompt, "text, or messages with role and content"),
    "completion": (lambda value: isinstance(value, str), "text"),
    "correct": (
        lambda value: value is None or (isinstance(value, int | float) and value in (0, 1)),
        "true, false or null",
    ),
    "is_finished": (lambda value: isinstance(value, bool), "true or false"),
    "log_prob": (lambda value: value is None or _is_number(value), "a number or null"),
}


def score(
    lm: LanguageModel,
    samples: Samples,
    *,
    temperature: float,
    batch: int,
    on_problem: Callable[[], object] = lambda: None,
) -> Scored:
    """Every sample under one model; equal samples are scored once.

    Raises ValueError where no sample is correct: there is then nothing that training could have sharpened.
    """
    if not any(one.correct for one in samples.samples):
        raise ValueError(f"--samples: none of {len(samples.samples)} samples is correct: want at least one")
    log_prob, num_tokens = np.empty(len(samples.samples)), np.empty(len(samples.samples))
    for place in range(samples.num_problems):
        mine = np.flatnonzero(samples.problem == place)
        texts: dict[tuple[str, bool], list[int]] = {}
        for index in mine:
            one = samples.samples[index]
            texts.setdefault((one.completion, one.is_finished), []).append(int(index))
        tokens = [_tokens(lm, completion, is_finished) for completion, is_finished in texts]
        prompt = models.prompt_ids(lm.tokenizer, Prompt("", samples.samples[mine[0]].prompt))
        found = scoring.score(lm, prompt, tokens, temperature=temperature, batch=batch)
        for indices, row, value in zip(texts.values(), tokens, found.log_prob, strict=True):
            log_prob[indices], num_tokens[indices] = value, len(row)
        on_problem()
    return Scored(log_prob, num_tokens)


def _tokens(lm: LanguageModel, completion: str, is_finished: bool) -> list[int]:
    ids = list(lm.tokenizer(completion, add_special_tokens=False)["input_ids"])
    return [*ids, lm.tokenizer.eos_token_id] if is_finished or not ids else ids


def rows(samples: Samples, scores: Mapping[str, Scored], *, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The tidy rows of `samples.sharpening` for every model but the first, against the first."""
    first, *others = scores
    for name in others:
        gains = sharpening.Gains(
            problem=samples.problem,
            start=scores[first].log_prob,
            end=scores[name].log_prob,
            correct=np.array([float(one.correct) for one in samples.samples]),
            weight=np.ones(len(samples.samples)),
            num_tokens=scores[first].num_tokens,
        )
        for row in sharpening.rows(gains, rng=rng):
            yield {"model": name, **row}


def warnings_about(samples: Samples, first: Scored) -> list[str]:
    """What a reader has to know: samples of another model than the first, samples left out."""
    found = []
    if samples.num_unscorable:
        found.append(f"{samples.num_unscorable} samples could not be scored by their verifier and are left out")
    known = np.array([one.log_prob for one in samples.samples])
    has = np.isfinite(known)
    if has.any():
        difference = float(np.abs(known[has] - first.log_prob[has]).mean())
        if difference > SAME:
            found.append(
                f"the file's log_prob differs by {difference:.3g} nats on average from that under the first model: the "
                "samples come from another model or temperature, or their texts tokenize in another way"
            )
    return found
