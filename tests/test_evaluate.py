"""Samples: the same for the same seed, through stops and memory that runs out, and marked as the verifier says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sharpening.figures.tables import evaluation as evaluation_tables
from sharpening.llm.countdown import problems, verifier
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import evaluate, scoring
from sharpening.llm.sampling.evaluate import Completion, Done, Event, Halved, Sampler, Settings
from sharpening.llm.tasks import Mark, Prompt
from tests.language_models import SETTINGS, small_model
from tests.tolerances import MONTE_CARLO_Z, PADDED

PROBLEMS = problems.distinct(SETTINGS.model_copy(update={"split": "test"}), np.random.default_rng(0), 7)
TASK = CountdownTask(PROBLEMS, operators="+-*")
DRAW = Settings(n=5, max_tokens=6, temperature=1.5, batch=16, slice_size=2, seed=3)
CPU_MESSAGE = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"


def events(sampler: Sampler, settings: Settings = DRAW, so_far: Any = (), task: Any = TASK) -> Iterator[Event]:
    return evaluate.evaluate(sampler, small_model().tokenizer, task, settings, so_far=so_far)


def lines(found: list[Event]) -> list[str]:
    return [json.dumps(row) for event in found if isinstance(event, Done) for row in event.rows]


def as_journal(found: list[Event]) -> list[tuple[int, int, bool]]:
    return [(event.slice, event.batch, isinstance(event, Done)) for event in found]


def needing(largest: dict[int, int], error: Exception) -> Sampler:
    """The small model's sampler; the call of that number, from 0, needs batches of at most that size."""
    plain, calls = evaluate.transformers_sampler(small_model()), []

    def sampler(prompts: list[list[int]], settings: Settings, batch: int, seed: int) -> list[list[Completion]]:
        index = next((place for place, known in enumerate(calls) if known == seed), len(calls))
        if index == len(calls):
            calls.append(seed)
        if batch > largest.get(index, batch):
            raise error
        return plain(prompts, settings, batch, seed)

    return sampler


@pytest.fixture(scope="module")
def whole() -> list[Event]:
    return list(events(evaluate.transformers_sampler(small_model())))


def test_every_problem_has_its_samples_in_order(whole: list[Event]) -> None:
    assert as_journal(whole) == [(0, 16, True), (1, 16, True), (2, 16, True), (3, 16, True)]
    rows = [json.loads(line) for line in lines(whole)]
    expected = [(problem.id, number) for problem in PROBLEMS for number in range(5)]
    assert [(row["problem"], row["sample"]) for row in rows] == expected


def test_marks_and_numbers_are_those_of_the_completions(whole: list[Event]) -> None:
    lm, of_id = small_model(), {problem.id: problem for problem in PROBLEMS}
    rows = [row for event in whole for row in event.rows]
    for row in rows:
        problem = of_id[row["problem"]]
        mark = verifier.verify(row["completion"], problem.numbers, problem.target, notation="postfix", operators="+-*")
        assert (row["correct"], row["well_formed"], row["reason"], row["answer"]) == (mark.correct == 1, *mark[1:])
        tokens = lm.tokenizer(row["completion"])["input_ids"] + [lm.tokenizer.eos_token_id] * row["is_finished"]
        assert row["num_tokens"] == len(tokens)
        assert row["completion_ids"] == tokens  # this tokenizer has one spelling of every text
        scores = scoring.score(lm, lm.tokenizer(row["prompt"])["input_ids"], [tokens], temperature=1.5)
        np.testing.assert_allclose(row["log_prob"], scores.log_prob[0], rtol=PADDED)
        np.testing.assert_allclose(row["entropy"], scores.entropy[0], rtol=PADDED)
    assert {row["is_finished"] for row in rows} == {True, False}
    assert all(row["num_tokens"] == 6 for row in rows if not row["is_finished"])


def test_prompts_of_different_lengths_are_padded_without_a_trace() -> None:
    """Three numbers and two in one batch: each gets its own likeliest token as often as it should."""
    lm = small_model()
    prompts = [lm.tokenizer(text)["input_ids"] for text in ("numbers 3 1 2 target 6", "numbers 3 2 target 6")]
    settings = Settings(n=2_000, max_tokens=1, batch=4_000)
    for prompt, drawn in zip(prompts, evaluate.transformers_sampler(lm)(prompts, settings, 4_000, 0), strict=True):
        with torch.no_grad():
            policy = torch.softmax(lm.model(torch.tensor([prompt])).logits[0, -1].double(), 0).numpy()
        token = int(policy.argmax())
        share = np.mean([one.tokens == (token,) for one in drawn])
        assert abs(share - policy[token]) < MONTE_CARLO_Z * np.sqrt(policy[token] * (1 - policy[token]) / 2_000)


def test_the_seed_decides_and_nothing_else_does(whole: list[Event]) -> None:
    sampler = evaluate.transformers_sampler(small_model())
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert lines(list(events(sampler))) == lines(whole)
    assert torch.equal(torch.get_rng_state(), before)
    other = lines(list(events(sampler, DRAW.model_copy(update={"seed": 4}))))
    assert len(set(other) & set(lines(whole))) < len(other) / 2


@pytest.mark.slow
@pytest.mark.parametrize("limits", [{}, {1: 5}, {0: 3, 2: 1}, {3: 2}])
def test_a_run_that_is_stopped_after_any_event_ends_with_the_same_samples(limits: dict[int, int]) -> None:
    """Also where memory ran out before the stop: the batch goes on as it was left."""
    error = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB")
    complete = list(events(needing(limits, error)))
    assert [event.batch for event in complete if isinstance(event, Halved)] == [
        *(batch for batch in (8, 4, 2, 1) if limits and 2 * batch > min(limits.values()))
    ]
    for stop in range(len(complete) + 1):
        so_far = as_journal(complete[:stop])
        done = sum(is_done for *_, is_done in so_far)
        later = {index - done: most for index, most in limits.items()}
        rest = list(events(needing(later, error), so_far=so_far))
        assert complete[:stop] + rest == complete


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("x"), RuntimeError(CPU_MESSAGE), RuntimeError("CUDA error: out of memory"), MemoryError()],
    ids=lambda error: f"{type(error).__name__}: {error}"[:40],
)
def test_where_memory_runs_out_the_batch_is_halved_for_good(error: Exception) -> None:
    found = list(events(needing({1: 5}, error)))
    assert as_journal(found) == [
        (0, 16, True),
        (1, 8, False),
        (1, 4, False),
        (1, 4, True),
        (2, 4, True),
        (3, 4, True),
    ]
    small = list(events(evaluate.transformers_sampler(small_model()), DRAW.model_copy(update={"batch": 4})))
    assert lines(found)[10:] == lines(small)[10:]


def test_memory_that_never_suffices_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^--batch: memory ran out for 1 completion at once: want a smaller"):
        list(events(needing({0: 0}, torch.OutOfMemoryError("x"))))


def test_processes_that_share_the_weights_do_not_go_on_with_fewer() -> None:
    sampler, share = needing({0: 3}, torch.OutOfMemoryError("x")), evaluate.Share(0, 2, in_step=True)
    with pytest.raises(ValueError, match=r"^memory ran out for 16 completions at once, and .*: want fewer"):
        list(evaluate.evaluate(sampler, small_model().tokenizer, TASK, DRAW, share=share))


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="device-side assert"):
        list(events(needing({0: 0}, RuntimeError("CUDA error: device-side assert triggered"))))


class Fixed(NamedTuple):
    """A task of one prompt, whose marks are given."""

    given: list[Mark]
    prompts: tuple[Prompt, ...] = (Prompt("a", ({"role": "user", "content": "numbers 3 1 2 target 6"},)),)

    def marks(self, places: list[int], completions: list[str], is_finished: list[bool]) -> list[Mark]:
        assert places == [0] * len(completions)
        assert is_finished == [True, False, True]
        return self.given


def test_an_unscorable_sample_is_neither_correct_nor_wrong() -> None:
    """A row's counts are of scored samples; an engine that tells no entropy leaves it out."""
    marks = [Mark(np.nan, True, "time limit", "9"), Mark(1.0, True, "", "6"), Mark(0.0, False, "no answer", "")]
    completions = [
        Completion((5, 1), True, -1.0, np.nan),
        Completion((5, 6), False, -2.0, 1.0),
        Completion((1,), True, -3.0, 2.0),
    ]
    draw = DRAW.model_copy(update={"n": 3})
    (done,) = events(lambda *_: [completions], draw, task=Fixed(marks))
    assert [row["correct"] for row in done.rows] == [None, True, False]
    assert [row["entropy"] for row in done.rows] == [None, 1.0, 2.0]
    assert [row["num_tokens"] for row in done.rows] == [2, 2, 1]
    assert [row["completion_ids"] for row in done.rows] == [[5, 1], [5, 6], [1]]
    assert done.rows[2]["completion"] == ""
    assert done.rows[0]["prompt"] == Fixed(marks).prompts[0].text
    (row,) = evaluate.problem_rows(done.rows)
    assert {**row, "mean_entropy": None} == {
        "problem": "a",
        "n": 2,
        "c": 1,
        "num_unscorable": 1,
        "num_well_formed": 2,
        "num_unfinished": 1,
        "num_distinct_correct": 1,
        "mean_tokens": 5 / 3,
        "mean_entropy": None,
        "mean_log_prob": -2.0,
    }
    assert np.isnan(row["mean_entropy"])
    assert "num_correct_unboxed" not in row


def test_correct_answers_without_a_box_are_counted_where_none_is_needed() -> None:
    marks = [Mark(1.0, True, "", "6"), Mark(1.0, False, "", "6"), Mark(0.0, False, "no answer", "")]
    completions = [Completion((5, 1), is_finished, -1.0, 0.5) for is_finished in (True, False, True)]
    (done,) = events(lambda *_: [completions], DRAW.model_copy(update={"n": 3}), task=Fixed(marks))
    (row,) = evaluate.problem_rows(done.rows, is_lenient=True)
    assert (row["c"], row["num_correct_unboxed"]) == (2, 1)
    assert evaluation_tables.summary([row]).endswith("\nlenient: 1 of the correct have no box (0.5000)")


def test_bad_settings_are_refused() -> None:
    for name, value in {"n": 0, "temperature": 0.0, "max_tokens": 0, "batch": 0, "slice_size": 0, "seed": -1}.items():
        with pytest.raises(ValidationError, match=name):
            Settings(**{name: value})
