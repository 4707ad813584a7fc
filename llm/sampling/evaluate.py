"""Samples of a model on a task: n completions a problem, marked, with log-probabilities, entropies and lengths.

Problems are taken in fixed slices, each with random numbers of its own, so that a run that was stopped goes on at the
next slice and ends with the same samples. Where memory runs out the batch is halved, from this slice on, and the slice
is drawn anew: what was drawn depends on the batch, so the halving is an event that a resumed run is told of, too.
Scoring what was drawn halves by itself and draws nothing anew.

Departs: (1) torch's sampler has no generator argument: each slice is drawn under a fork of torch's global state.
(2) Models with the states of a recurrence draw in batches of prompts of one length: some of them take padding for text.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Task

Row = dict[str, Any]
T = TypeVar("T")


class Settings(BaseModel):
    """How a model is sampled; together with the model and the task it determines the samples."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n: int = Field(64, ge=1, le=100_000, description="samples a problem")
    temperature: float = Field(1.0, gt=0, le=100, description="temperature of sampling; there is no top-p and no top-k")
    max_tokens: int = Field(64, ge=1, description="most tokens of a completion")
    batch: int = Field(256, ge=1, description="completions drawn at once; halved where memory runs out")
    slice_size: int = Field(8, ge=1, description="problems that share random numbers, the unit that is resumed")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the samples")


class Share(NamedTuple):
    """Which slices a process draws of an evaluation that several share: one of as many as there are, from `rank` on.

    Where the model itself is divided among them (FSDP, ZeRO) they go `in_step`: every one calls `generate` as often as
    the others do, if need be for nothing, as each call takes all of them.
    """

    rank: int = 0
    num_processes: int = 1
    in_step: bool = False


ALONE = Share()


class Completion(NamedTuple):
    """The tokens that a model wrote, with the end token if it came; log_prob and mean entropy of its tokens in nats.

    The entropy is NaN where the engine does not tell it.
    """

    tokens: tuple[int, ...]
    is_finished: bool
    log_prob: float
    entropy: float


class Halved(NamedTuple):
    """Memory ran out in this slice: it is drawn again with this batch."""

    slice: int
    batch: int


class Done(NamedTuple):
    """A slice with its rows, one a sample."""

    slice: int
    batch: int
    rows: list[Row]


Event = Halved | Done
Sampler = Callable[[list[list[int]], Settings, int, int], list[list[Completion]]]  # prompts, settings, batch, seed


def evaluate(
    sampler: Sampler,
    tokenizer: Any,
    task: Task,
    settings: Settings,
    *,
    so_far: Iterable[tuple[int, int, bool]] = (),
    share: Share = ALONE,
) -> Iterator[Event]:
    """Draws and marks the slices of a process that are not done yet, in order.

    `so_far` are the events of an earlier run of the same configuration: slice, batch, and whether it was done.
    Raises ValueError where memory runs out for one completion.
    """
    start, batch = share.rank, settings.batch
    for index, used, is_done in so_far:
        start, batch = (index + 1 if is_done else start), used
    for index in range(start, num_slices(len(task.prompts), settings), share.num_processes):
        places = range(index * settings.slice_size, min((index + 1) * settings.slice_size, len(task.prompts)))
        ids = [models.prompt_ids(tokenizer, task.prompts[place]) for place in places]
        seed = int(np.random.SeedSequence([settings.seed, index]).generate_state(1)[0])
        while (completions := _if_it_fits(sampler, ids, settings, batch, seed)) is None:
            if share.in_step and batch > 1:
                raise ValueError(
                    f"memory ran out for {batch} completions at once, and processes that share weights cannot go on "
                    "with fewer: want fewer evaluation_samples, or a smaller max_tokens"
                )
            if batch == 1:
                raise ValueError(
                    "--batch: memory ran out for 1 completion at once: want a smaller --max-tokens or model"
                )
            batch //= 2
            yield Halved(index, batch)
        yield Done(index, batch, _marked(tokenizer, task, places, completions))


def _if_it_fits(function: Callable[..., T], *arguments: Any) -> T | None:
    """What the function returns; None if memory runs out, by then with nothing of it held."""
    try:
        return function(*arguments)
    except (MemoryError, RuntimeError) as error:  # torch's own is a RuntimeError
        if not is_out_of_memory(error):
            raise
        return None


def num_slices(num_problems: int, settings: Settings) -> int:
    """The number of slices of so many problems."""
    return -(-num_problems // settings.slice_size)


def is_out_of_memory(error: Exception) -> bool:
    """Whether it says that memory ran out, on a GPU or on the CPU, where torch has no class of its own for it."""
    is_named = "can't allocate memory" in str(error) or "out of memory" in str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or is_named


def _marked(tokenizer: Any, task: Task, places: Sequence[int], completions: list[list[Completion]]) -> list[Row]:
    """A row for each completion; the end token is one of its tokens and no part of its text, as others are."""
    flat = [(place, one) for place, mine in zip(places, completions, strict=True) for one in mine]
    tokens = [one.tokens[: len(one.tokens) - one.is_finished] for _, one in flat]
    texts = tokenizer.batch_decode(tokens, clean_up_tokenization_spaces=False)
    marks = task.marks([place for place, _ in flat], texts, [one.is_finished for _, one in flat])
    numbers = [number for mine in completions for number in range(len(mine))]
    return [
        {
            "problem": task.prompts[place].id,
            "sample": number,
            "correct": None if np.isnan(mark.correct) else bool(mark.correct),
            "well_formed": mark.well_formed,
            "reason": mark.reason,
            "answer": mark.answer,
            "prompt": task.prompts[place].text,
            "completion": text,
            "is_finished": one.is_finished,
            "num_tokens": len(one.tokens),
            "log_prob": one.log_prob,
            "entropy": None if np.isnan(one.entropy) else one.entropy,
            "completion_ids": list(one.tokens),
        }
        for (place, one), number, text, mark in zip(flat, numbers, texts, marks, strict=True)
    ]


def transformers_sampler(lm: LanguageModel, *, scores: bool = True) -> Sampler:
    """Sampling with `generate`, from softmax(logits / temperature) alone, and one more pass that scores what came.

    Without `scores` there is no such pass, and log-probabilities and entropies are NaN.
    """
    may_pad = scoring.repeats_cache(lm)

    def sampler(prompts: list[list[int]], settings: Settings, batch: int, seed: int) -> list[list[Completion]]:
        owners = [prompt for prompt in prompts for _ in range(settings.n)]
        alike = [owners] if may_pad else [list(group) for _, group in itertools.groupby(owners, key=len)]
        with torch.random.fork_rng(devices=[lm.device] if lm.device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(seed)
            written = [
                row
                for group in alike
                for begin in range(0, len(group), batch)
                for row in _generated(lm, group[begin : begin + batch], settings)
            ]
        found = []
        for place, prompt in enumerate(prompts):
            mine = written[place * settings.n : (place + 1) * settings.n]
            if not scores:
                found.append([Completion(*row, math.nan, math.nan) for row in mine])
                continue
            scored = _scored(lm, prompt, [tokens for tokens, _ in mine], settings.temperature, batch)
            pairs = zip(mine, scored.log_prob.tolist(), scored.entropy.tolist(), strict=True)
            found.append([Completion(*row, log_prob, entropy) for row, log_prob, entropy in pairs])
        return found

    return sampler


def draw_nothing(lm: LanguageModel, num_calls: int) -> None:
    """Calls `generate` so often for one token, while other processes draw with parts of the model that lie here."""
    for _ in range(num_calls):
        lm.model.generate(torch.tensor([[lm.tokenizer.eos_token_id]], device=lm.device), max_new_tokens=1)


def _scored(
    lm: LanguageModel, prompt: list[int], completions: list[tuple[int, ...]], temperature: float, batch: int
) -> scoring.Scores:
    """Scores, of fewer completions at once where memory runs out: what was drawn stays."""
    score = functools.partial(scoring.score, lm, prompt, completions, temperature=temperature)
    while batch > 1:
        if (found := _if_it_fits(lambda size: score(batch=size), batch)) is not None:
            return found
        batch //= 2
    return score(batch=1)


def _generated(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], settings: Settings
) -> list[tuple[tuple[int, ...], bool]]:
    """One completion of each prompt, and whether it ended by itself."""
    longest = max(map(len, prompts))
    widths = [longest - len(prompt) for prompt in prompts]
    ids = [[lm.tokenizer.pad_token_id] * width + list(prompt) for width, prompt in zip(widths, prompts, strict=True)]
    mask = [[0] * width + [1] * (longest - width) for width in widths]
    written = lm.model.generate(
        torch.tensor(ids, device=lm.device),
        attention_mask=torch.tensor(mask, device=lm.device),
        temperature=settings.temperature,
        max_new_tokens=settings.max_tokens,
    )
    is_end = set(models.end_tokens(lm))
    rows = []
    for row in written[:, longest:].tolist():
        end = next((place + 1 for place, token in enumerate(row) if token in is_end), None)
        rows.append((tuple(row[:end]), end is not None))
    return rows


def problem_rows(rows: Iterable[Row], *, is_lenient: bool = False) -> list[Row]:
    """One row a problem, of the rows of its samples: counts, and means of length, entropy and log-probability.

    n and c count scored samples; the others are `num_unscorable`. With `is_lenient`, where an answer needs no box,
    those of c that have none are counted as well.
    """
    of_problem: dict[str, list[Row]] = {}
    for row in rows:
        of_problem.setdefault(row["problem"], []).append(row)
    return [
        {
            "problem": problem,
            "n": sum(row["correct"] is not None for row in mine),
            "c": sum(row["correct"] is True for row in mine),
            "num_unscorable": sum(row["correct"] is None for row in mine),
            "num_well_formed": sum(row["well_formed"] for row in mine),
            "num_unfinished": sum(not row["is_finished"] for row in mine),
            "num_distinct_correct": len({row["answer"] for row in mine if row["correct"]}),
            **({"num_correct_unboxed": sum(_is_unboxed(row) for row in mine)} if is_lenient else {}),
            "mean_tokens": float(np.mean([row["num_tokens"] for row in mine])),
            "mean_entropy": float(np.mean([np.nan if row["entropy"] is None else row["entropy"] for row in mine])),
            "mean_log_prob": float(np.mean([row["log_prob"] for row in mine])),
        }
        for problem, mine in of_problem.items()
    ]


def _is_unboxed(row: Row) -> bool:
    return bool(row["correct"]) and not row["well_formed"]
