"""Samples that are scored under two models: what the reader refuses, what is scored, and what a reader is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from benchmarks import spellings
from sharpening.llm.audit import samples as audit_samples
from sharpening.llm.sampling import models, scoring
from sharpening.llm.tasks import Prompt
from sharpening.theory import policies
from tests.language_models import byte_model, small_model
from tests.tolerances import FLOAT32_SUM

PROMPT = "numbers 1 2 3 target 6"


def line(**changes) -> str:
    """One good line as `evaluate` writes it, with changes; a value of ... leaves a field out."""
    row = {"problem": "a", "prompt": PROMPT, "completion": "1 2 + 3 +", "correct": True, "is_finished": True}
    return json.dumps({key: value for key, value in {**row, **changes}.items() if value is not ...})


def read(*lines: str, limit: int | None = None) -> audit_samples.Samples:
    return audit_samples.read("\n".join(lines), "f.jsonl", limit)


BAD = {
    "not JSON": ("{", "it is not JSON: want one object per line, in UTF-8"),
    "deep": ("[" * 100_000, "it is not JSON: want one object per line, in UTF-8"),
    "half a character": (line(completion="\ud800"), "it is not JSON: want one object per line, in UTF-8"),
    "no object": ("[1]", "it is no object: want fields problem, prompt, completion and correct"),
    "no completion": (
        line(completion=...),
        "field 'completion' is missing: want problem, prompt, completion and correct",
    ),
    "no correct": (line(correct=...), "field 'correct' is missing: want problem, prompt, completion and correct"),
    "problem": (line(problem=None), "problem is null: want a name or a number"),
    "prompt": (line(prompt=3), "prompt is 3: want text, or messages with role and content"),
    "no messages": (line(prompt=[]), "prompt is []: want text, or messages with role and content"),
    "message": (
        line(prompt=[{"role": "user"}]),
        'prompt is [{"role": "user"}]: want text, or messages with role and content',
    ),
    "content": (
        line(prompt=[{"role": "user", "content": 1}]),
        'prompt is [{"role": "user", "content": 1}]: want text, or messages with role and content',
    ),
    "completion": (line(completion=["1"]), 'completion is ["1"]: want text'),
    "correct": (line(correct="yes"), 'correct is "yes": want true, false or null'),
    "correct 2": (line(correct=2), "correct is 2: want true, false or null"),
    "is_finished": (line(is_finished="no"), 'is_finished is "no": want true or false'),
    "log_prob": (line(log_prob="-1"), 'log_prob is "-1": want a number or null'),
    "num_tokens": (line(num_tokens=0), "num_tokens is 0: want an integer from 1, or null"),
    "num_tokens 1.5": (line(num_tokens=1.5), "num_tokens is 1.5: want an integer from 1, or null"),
    "completion_ids": (line(completion_ids="5 6"), 'completion_ids is "5 6": want a list of integers from 0, or null'),
    "no ids": (line(completion_ids=[]), "completion_ids is []: want a list of integers from 0, or null"),
    "ids of other kinds": (line(completion_ids=[5, True]), "completion_ids is [5, true]: want a list of integers from"),
    "ids below 0": (line(completion_ids=[5, -1]), "completion_ids is [5, -1]: want a list of integers from 0, or null"),
    "another number": (
        line(completion_ids=[5, 1], num_tokens=3),
        "num_tokens is 3: want 2, the number of completion_ids",
    ),
    "other prompt": (line(prompt="numbers 1 2 target 3"), "prompt differs from that of problem 'a' above: want one"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_named(name):
    bad, message = BAD[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        read(line(), "", bad)
    assert str(caught.value).startswith(f"f.jsonl line 3: {message}")


def test_a_sample_that_is_there_twice_is_named():
    assert len(read(line(), line(), line(sample=0), line(sample=1), line(problem="q", sample=0)).samples) == 5
    with pytest.raises(ValueError, match=r"^f\.jsonl line 3: sample 0 of problem 'p' is there before: want it once$"):
        read(line(problem="p", sample=0), line(problem="p", sample=1), line(problem="p", sample=0))


@pytest.mark.parametrize("lines", [[""], [line(correct=None)]])
def test_a_file_without_marks_is_refused(lines):
    with pytest.raises(ValueError, match=r"^f\.jsonl: it has no sample with a mark: want at least one$"):
        read(*lines)


def test_samples_without_a_correct_one_are_refused_before_they_are_scored():
    samples = read(line(correct=False), line(correct=0))
    with pytest.raises(ValueError, match=r"^--samples: none of 2 samples is correct: want at least one$"):
        audit_samples.score(small_model(), samples, temperature=1.0, batch=4)


def test_lines_are_read_as_written():
    """Marks as numbers, line separators inside of texts, an unscorable sample, optional fields left out."""
    samples = read(
        line(correct=1, completion="1\u20282", log_prob=-2.5).replace("\\u2028", "\u2028"),
        line(correct=None),
        line(problem=7, correct=False, is_finished=...),
        line(is_finished=False),
    )
    assert [one.problem for one in samples.samples] == ["a", "7", "a"]
    assert samples.problem.tolist() == [0, 1, 0]
    assert (samples.num_problems, samples.num_unscorable) == (2, 1)
    assert samples.samples[0].completion == "1\u20282"
    assert [one.correct for one in samples.samples] == [True, False, True]
    assert [one.is_finished for one in samples.samples] == [True, True, False]
    assert samples.samples[0].log_prob == -2.5
    assert np.isnan(samples.samples[1].log_prob)


def test_the_limit_counts_problems():
    samples = read(line(), line(problem="b"), line(problem="c"), line(problem="b"), limit=2)
    assert [one.problem for one in samples.samples] == ["a", "b", "b"]


def test_samples_are_scored_with_their_end_and_equal_ones_once(monkeypatch):
    lm, sizes = small_model(), []
    score = scoring.score

    def counted(lm, prompt, rows, **options):
        sizes.append(len(rows))
        return score(lm, prompt, rows, **options)

    monkeypatch.setattr(audit_samples.scoring, "score", counted)
    samples = read(
        line(),
        line(problem="b", prompt="numbers 2 2 1 target 5", completion="2 2 + 1 +"),
        line(is_finished=False),
        line(),
        line(completion="", correct=False),
    )
    seen = []
    found = audit_samples.score(lm, samples, temperature=0.7, batch=2, on_problem=lambda: seen.append(1))
    assert (sizes, len(seen)) == ([3, 1], 2)
    assert found.num_tokens.tolist() == [6, 6, 5, 6, 1]
    assert found.log_prob[0] == found.log_prob[3]
    prompt = lm.tokenizer(PROMPT)["input_ids"]
    ids = lm.tokenizer("1 2 + 3 +")["input_ids"]
    end = lm.tokenizer.eos_token_id
    wanted = score(lm, prompt, [[*ids, end], ids, [end]], temperature=0.7).log_prob
    np.testing.assert_allclose(found.log_prob[[0, 2, 4]], wanted, atol=FLOAT32_SUM)
    assert wanted[0] < wanted[1]


def test_messages_are_prompts():
    """In a file they are lists; without a chat template their contents are joined."""
    messages = [{"role": "user", "content": PROMPT}]
    samples = read(line(prompt=messages), line(prompt=messages, completion="1 2 3 + +"))
    found = audit_samples.score(small_model(), samples, temperature=1.0, batch=8)
    plain = audit_samples.score(small_model(), read(line()), temperature=1.0, batch=8)
    assert samples.samples[0].prompt == tuple(messages)
    assert models.prompt_ids(small_model().tokenizer, Prompt("", samples.samples[0].prompt))
    assert found.log_prob[0] == pytest.approx(plain.log_prob[0], abs=FLOAT32_SUM)


def test_rows_compare_every_model_with_the_first():
    """By hand: of two correct answers the likelier gains 1 nat and the other loses 1; 2 nats apart, slope 1."""
    samples = read(line(), line(completion="3 2 1 + +"), line(completion="1", correct=False))
    first = audit_samples.Scored(np.array([-1.0, -3.0, -2.0]), np.array([6.0, 6.0, 2.0]))
    moved = first._replace(log_prob=np.array([0.0, -4.0, -2.5]))
    rows = list(audit_samples.rows(samples, {"a": first, "b": moved, "c": first}, rng=np.random.default_rng(0)))
    found = {(row["model"], row["quantity"]): row["value"] for row in rows if row["at"] == 0}
    assert found["b", "sharpening_slope"] == pytest.approx(1.0)
    assert found["b", "mean_gain_wrong"] == pytest.approx(-0.5)
    assert found["b", "rare_nll_rise"] == pytest.approx(1 / 6)
    assert found["c", "sharpening_slope"] == pytest.approx(0.0)
    assert {model for model, _ in found} == {"b", "c"}
    between = audit_samples.row_between(samples, {"a": first, "b": moved, "c": first}, "b", "c")
    assert (between["model"], between["quantity"]) == ("c", "sharpening_slope")
    assert between["value"] == pytest.approx(-1.0)


BYTES = {"prompt": "1 2 3", "completion": "1 2 +", "is_finished": False}


def byte_ids(*texts: str) -> list[int]:
    """Tokens of the byte model, by their texts."""
    lm = byte_model()
    of_text = {lm.tokenizer.decode([token]): token for token in range(len(lm.tokenizer))}
    return [of_text[text] for text in texts]


def test_the_tokens_of_the_file_are_scored_and_not_another_spelling():
    """Against passes of prompt and tokens together, without a cache; a text alone is the tokenizer's own spelling."""
    lm = byte_model()
    end = lm.tokenizer.eos_token_id
    ways = [byte_ids("1 2 ", "+"), byte_ids("1 ", "2 ", "+"), byte_ids("1 ", "2", " ", "+"), byte_ids(*"1 2 +")]
    ways = [*ways, [*ways[1], end]]
    lines = [line(**BYTES | {"completion_ids": ids, "is_finished": ids[-1] == end}) for ids in ways]
    found = audit_samples.score(lm, read(*lines, line(**BYTES)), temperature=1.0, batch=2)
    wanted = [plain_log_prob(lm, "1 2 3", ids) for ids in ways]
    np.testing.assert_allclose(found.log_prob, [*wanted, wanted[0]], atol=FLOAT32_SUM)
    assert found.num_tokens.tolist() == [2, 3, 4, 5, 4, 2]
    assert len(set(np.round(wanted, 2))) == 5


def plain_log_prob(lm, prompt: str, ids: list[int]) -> float:
    start = lm.tokenizer(prompt)["input_ids"]
    with torch.no_grad():
        logits = lm.model(torch.tensor([start + ids]), use_cache=False).logits[0, len(start) - 1 : -1]
    return float(policies.log_softmax(logits.double().numpy())[np.arange(len(ids)), ids].sum())


def strangers() -> dict[str, str]:
    """Lines whose tokens are not those of the byte model, or not those that it wrote."""
    ids, end = byte_ids("1 ", "2 ", "+"), byte_model().tokenizer.eos_token_id
    return {
        "another text": line(**BYTES | {"completion_ids": byte_ids("1 ", "2 ", "-")}),
        "beyond the vocabulary": line(**BYTES | {"completion_ids": [*ids, 10_000]}),
        "no end": line(**BYTES | {"completion_ids": ids, "is_finished": True}),
        "an end that is not told": line(**BYTES | {"completion_ids": [*ids, end]}),
        "another length": line(**BYTES | {"num_tokens": 40}),
        "no tokens": line(**BYTES | {"completion": ""}),
    }


@pytest.mark.parametrize("name", strangers())
def test_tokens_that_do_not_match_are_left_out_of_every_model(name):
    """The stranger comes between two of three problems' samples; the others' numbers are as without it."""
    good = [line(**BYTES | {"problem": problem, "completion": text}) for problem, text in (("b", "1"), ("c", "2"))]
    samples = read(good[0], strangers()[name] if name else "", line(**BYTES), good[1])
    found = audit_samples.score(byte_model(), samples, temperature=1.0, batch=2)
    assert np.isnan(found.log_prob).tolist() == np.isnan(found.num_tokens).tolist() == [False, True, False, False]
    other = audit_samples.Scored(np.arange(4.0), np.ones(4))
    matched = audit_samples.matched(samples, {"first": other, "second": found})
    assert matched.share_left_out == 0.25
    assert [one.completion for one in matched.samples.samples] == ["1", "1 2 +", "2"]
    assert matched.samples.problem.tolist() == [0, 1, 2]
    assert matched.scores["first"].log_prob.tolist() == [0, 2, 3]
    assert matched.scores["second"].log_prob.tolist() == found.log_prob[[0, 2, 3]].tolist()
    assert audit_samples.left_out_row(matched, "second")["value"] == 0.25
    (told, again) = audit_samples.warnings_about(matched, "second")
    assert told.startswith("1 of 4 samples (25.00%) are left out: their tokens are not those of every model")
    assert again.startswith("3 samples have no completion_ids: their texts are tokenized again")


def test_samples_that_are_hardly_the_model_s_are_refused():
    samples = read(line(correct=False), line(correct=False), line())
    scored = audit_samples.Scored(np.array([-1.0, np.nan, -1.0]), np.ones(3))
    with pytest.raises(ValueError, match=r"^--samples: the tokens of 33% of 3 samples are b's own: want at least 50%"):
        audit_samples.matched(samples, {"a": scored, "b": scored._replace(log_prob=np.array([np.nan, np.nan, 1.0]))})
    with pytest.raises(
        ValueError, match=r"^--samples: no correct sample has tokens of all 2 models: want at least one"
    ):
        audit_samples.matched(samples, {"a": scored, "b": scored._replace(log_prob=np.array([-1.0, -1.0, np.nan]))})


def test_a_reader_is_told_of_other_log_probabilities_and_of_samples_left_out():
    def told(*lines: str, log_prob: tuple[float, ...] = (-5.0, -6.0)) -> list[str]:
        scored = audit_samples.Scored(np.array(log_prob), np.full(len(log_prob), 6.0))
        return audit_samples.warnings_about(audit_samples.matched(read(*lines), {"m": scored}), "m")

    known = {"completion_ids": [1, 2, 3, 4, 5, 6]}
    same = [line(**known, log_prob=-5.001), line(**known, log_prob=-6.0), line(correct=None, log_prob=-99.0)]
    assert told(*same) == ["1 samples could not be scored by their verifier and are left out"]
    (other,) = told(line(**known, log_prob=-5.5), line(**known, log_prob=-6.0))
    assert other.startswith(
        "the file's log_prob differs by more than 0.01 nats from that under m for 1 of 2 samples, by 0.5"
    )
    assert told(line(**known), line(**known)) == []


def test_the_tokens_of_what_a_byte_pair_model_wrote_have_the_log_probability_that_it_was_drawn_with():
    """Of 64 samples of up to 32 tokens none differs by 1e-3 nats and none is left out; most of their texts alone do."""
    rng = np.random.default_rng(0)
    lm = spellings.make_model(rng, vocabulary=400)
    rows = spellings.drawn(lm, rng, num_samples=64, num_tokens=32)
    found = spellings.audited(lm, rows, 32)
    assert (found.num_samples, found.share_left_out, found.share_differs) == (64, 0, 0)
    assert found.num_longest > 32
    assert spellings.largest_of_third_pass(lm, rows) < spellings.SAME
    assert spellings.audited(lm, rows, 32, "completion_ids", "num_tokens").share_differs > 0.5
    assert spellings.audited(lm, rows, 32, "completion_ids").share_left_out > 0.5
