"""Samples of a model before training, scored before and after: the audit for any model and any task.

The samples of each problem are drawn from the first model and marked by a verifier, as `evaluate` writes them. Their
log-probabilities under every model, sums over tokens at one temperature, show what training did to the answers that the
model used to give.

A text has many spellings in tokens, and one that a model hardly uses can have nats or tens of nats less than what it
wrote. So what is scored are the tokens that the file has, `completion_ids`, where they are tokens of the model and mean
the text. Departs: (1) without them texts are tokenized again; where that gives another text back, or other than
`num_tokens` tokens, they are not what the model wrote. (2) A sample that does not match under one of the models, or
that could not be scored, `correct` null, is left out, and counted.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Prompt
from sharpening.samples import sharpening
from sharpening.theory.policies import Floats

SAME = 0.01  # nats by which the file's log-probabilities may differ from those of the first model
LEAST_KEPT = 0.5  # share of the samples that has to match


class Sample(NamedTuple):
    """One line of the file."""

    problem: str
    prompt: str | tuple[dict[str, str], ...]
    completion: str
    correct: bool
    is_finished: bool
    log_prob: float
    sample: str = ""  # its number or name within the problem, if the file has any
    num_tokens: int | None = None  # with the end token
    completion_ids: tuple[int, ...] | None = None  # the same


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
    """Of each sample its log-probability in nats and its number of tokens, with the end; NaN where none match."""

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
            raise ValueError(
                f"{name} line {number}: sample {one.sample} of problem {one.problem!r} is there before: want it once"
            )
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
    row = {"is_finished": True, "log_prob": None, "sample": "", "num_tokens": None, "completion_ids": None, **row}
    for field, (is_allowed, wanted) in FIELDS.items():
        if not is_allowed(row[field]):
            raise ValueError(f"{where}: {field} is {json.dumps(row[field])[:80]}: want {wanted}")
    if row["correct"] is None:
        return None
    prompt = row["prompt"] if isinstance(row["prompt"], str) else tuple(row["prompt"])
    ids, num_tokens = row["completion_ids"], row["num_tokens"]
    if ids is not None and num_tokens not in (None, len(ids)):
        raise ValueError(f"{where}: num_tokens is {num_tokens}: want {len(ids)}, the number of completion_ids")
    return Sample(
        str(row["problem"]),
        prompt,
        row["completion"],
        bool(row["correct"]),
        bool(row["is_finished"]),
        np.nan if row["log_prob"] is None else float(row["log_prob"]),
        str(row["sample"]),
        num_tokens,
        None if ids is None else tuple(ids),
    )


def _is_prompt(value: Any) -> bool:
    if isinstance(value, list) and value:
        return all(
            isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
            for one in value
        )
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


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
    "num_tokens": (lambda value: value is None or (_is_count(value) and value > 0), "an integer from 1, or null"),
    "completion_ids": (
        lambda value: value is None or (isinstance(value, list) and value != [] and all(map(_is_count, value))),
        "a list of integers from 0, or null",
    ),
}


def score(
    lm: LanguageModel,
    samples: Samples,
    *,
    temperature: float,
    batch: int,
    on_problem: Callable[[], object] = lambda: None,
) -> Scored:
    """Every sample under one model; equal samples are scored once, those whose tokens do not match have NaN.

    Raises ValueError where no sample is correct: there is then nothing that training could have sharpened.
    """
    if not any(one.correct for one in samples.samples):
        raise ValueError(f"--samples: none of {len(samples.samples)} samples is correct: want at least one")
    log_prob, num_tokens = np.full((2, len(samples.samples)), np.nan)
    for place in range(samples.num_problems):
        alike: dict[tuple[int, ...], list[int]] = {}
        mine = np.flatnonzero(samples.problem == place).tolist()
        for index, row in zip(mine, _tokens(lm, [samples.samples[index] for index in mine]), strict=True):
            if row is not None:
                alike.setdefault(tuple(row), []).append(index)
        prompt = models.prompt_ids(lm.tokenizer, Prompt("", samples.samples[mine[0]].prompt))
        found = scoring.score(lm, prompt, list(alike), temperature=temperature, batch=batch)
        for (ids, indices), value in zip(alike.items(), found.log_prob, strict=True):
            log_prob[indices], num_tokens[indices] = value, len(ids)
        on_problem()
    return Scored(log_prob, num_tokens)


def _tokens(lm: LanguageModel, samples: Sequence[Sample]) -> list[list[int] | None]:
    """The tokens of each sample, None where they are not the model's or not what it wrote."""
    again = lm.tokenizer([one.completion for one in samples], add_special_tokens=False)["input_ids"]
    ends, size = models.end_tokens(lm), lm.model.get_input_embeddings().num_embeddings
    rows: list[list[int] | None] = []
    inside = []
    for one, spelled in zip(samples, again, strict=True):
        end = [lm.tokenizer.eos_token_id] * one.is_finished
        row: list[int] = [*spelled, *end] if one.completion_ids is None else list(one.completion_ids)
        is_ended = not one.is_finished or row[-1] in ends
        fits = bool(row) and max(row) < size and is_ended and one.num_tokens in (None, len(row))
        rows.append(row if fits else None)
        inside.append(row[: len(row) - one.is_finished] if fits else [])
    texts = lm.tokenizer.batch_decode(inside, clean_up_tokenization_spaces=False)
    return [row if text == one.completion else None for one, row, text in zip(samples, rows, texts, strict=True)]


class Matched(NamedTuple):
    """The samples whose tokens match under every model, their scores, and the share of those left out."""

    samples: Samples
    scores: dict[str, Scored]
    share_left_out: float


def matched(samples: Samples, scores: Mapping[str, Scored]) -> Matched:
    """The samples that can be compared; raises ValueError where a model matches less than half of them."""
    for name, scored in scores.items():
        share = np.isfinite(scored.log_prob).mean()
        if share < LEAST_KEPT:
            raise ValueError(
                f"--samples: the tokens of {share:.0%} of {len(samples.samples)} samples are {name}'s own: want at "
                f"least {LEAST_KEPT:.0%}, as of a model with the tokenizer that the samples were drawn with"
            )
    keeps = np.all([np.isfinite(scored.log_prob) for scored in scores.values()], axis=0)
    kept = [one for one, is_kept in zip(samples.samples, keeps, strict=True) if is_kept]
    if not any(one.correct for one in kept):
        raise ValueError(f"--samples: no correct sample has tokens of all {len(scores)} models: want at least one")
    _, problem = np.unique(samples.problem[keeps], return_inverse=True)
    chosen = {name: Scored(scored.log_prob[keeps], scored.num_tokens[keeps]) for name, scored in scores.items()}
    return Matched(Samples(kept, problem, samples.num_unscorable), chosen, 1 - len(kept) / len(keeps))


def rows(samples: Samples, scores: Mapping[str, Scored], *, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    """The tidy rows of `samples.sharpening` for every model but the first, against the first."""
    _, *others = scores
    for name in others:
        for row in sharpening.rows(_gains(samples, scores, name), rng=rng):
            yield {"model": name, **row}


def left_out_row(found: Matched, name: str) -> dict[str, Any]:
    """The share of the samples that is left out of the comparison of a model with the first, as a tidy row."""
    plain = {"low": np.nan, "high": np.nan, "has_interval": False, "num_problems": found.samples.num_problems}
    return {"model": name, "quantity": "share_left_out", "at": 0.0, "value": found.share_left_out, **plain}


def row_between(samples: Samples, scores: Mapping[str, Scored], base: str, name: str) -> dict[str, Any]:
    """By how much the slope of a trained model differs from that of another trained one."""
    gains = (_gains(samples, scores, model) for model in (base, name))
    return {"model": name, **sharpening.slope_difference_row(*gains)}


def _gains(samples: Samples, scores: Mapping[str, Scored], name: str) -> sharpening.Gains:
    """From the first model to the named one."""
    first = next(iter(scores.values()))
    return sharpening.Gains(
        problem=samples.problem,
        start=first.log_prob,
        end=scores[name].log_prob,
        correct=np.array([float(one.correct) for one in samples.samples]),
        weight=np.ones(len(samples.samples)),
        num_tokens=first.num_tokens,
    )


def warnings_about(found: Matched, first: str) -> list[str]:
    """What a reader has to know: samples left out, spellings that are not known, samples of another model."""
    samples, told = found.samples, []
    if samples.num_unscorable:
        told.append(f"{samples.num_unscorable} samples could not be scored by their verifier and are left out")
    if found.share_left_out:
        total = round(len(samples.samples) / (1 - found.share_left_out))
        told.append(
            f"{total - len(samples.samples)} of {total} samples ({found.share_left_out:.2%}) are left out: their "
            "tokens are not those of every model, or not those that the model wrote"
        )
    if again := sum(one.completion_ids is None for one in samples.samples):
        told.append(
            f"{again} samples have no completion_ids: their texts are tokenized again, which may be another spelling "
            "than the model wrote, less likely by nats: evaluate writes the tokens"
        )
    difference = np.abs(np.array([one.log_prob for one in samples.samples]) - found.scores[first].log_prob)
    if (is_other := difference > SAME).any():
        told.append(
            f"the file's log_prob differs by more than {SAME:g} nats from that under {first} for {is_other.sum()} of "
            f"{np.isfinite(difference).sum()} samples, by {difference[is_other].mean():.3g} on average: they come from "
            "another model, temperature, dtype or chat template, or their texts tokenize in another way"
        )
    return told
