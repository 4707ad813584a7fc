"""Models that keep states of a recurrence or a convolution: scored, sampled and audited as attention is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from sharpening.llm.sampling import evaluate, scoring
from sharpening.llm.sampling.evaluate import Settings
from sharpening.theory import policies
from tests import command_line
from tests.command_line import only_run
from tests.language_models import RECURRENT, byte_model, recurrent_model, saved
from tests.tolerances import FLOAT32_SUM

SAMPLES = 1_000
LEAST_P = 1e-4  # of a chi-squared test whose seed is fixed
PROMPT = [3, 12, 10, 13, 4, 20]
COMPLETIONS = [[5, 6, 7, 8, 1], [5, 6, 1], [7], [5, 6, 7, 1], [9] * 12]


@torch.no_grad()
def log_policies(kind: str, tokens: list[int]) -> policies.Floats:
    """Of every token the distribution after it, from a pass without a cache and without padding, in float64."""
    logits = recurrent_model(kind).model(torch.tensor([tokens]), use_cache=False).logits[0]
    return policies.log_softmax(logits.double().numpy())


@pytest.mark.parametrize("kind", RECURRENT)
def test_scores_are_those_of_passes_without_cache_and_padding(kind: str) -> None:
    lm = recurrent_model(kind)
    assert not scoring.repeats_cache(lm)
    wanted, entropy = [], []
    for row in COMPLETIONS:
        log_policy = log_policies(kind, PROMPT + row)[len(PROMPT) - 1 : -1]
        wanted.append(log_policy[np.arange(len(row)), row].sum())
        entropy.append(-(np.exp(log_policy) * log_policy).sum(axis=1).mean())
    for batch in (1, 2, 64):
        found = scoring.score(lm, PROMPT, COMPLETIONS, batch=batch)
        np.testing.assert_allclose(found.log_prob, wanted, atol=FLOAT32_SUM)
        np.testing.assert_allclose(found.entropy, entropy, atol=FLOAT32_SUM)
        np.testing.assert_allclose(scoring.score_tree(lm, PROMPT, COMPLETIONS, batch=batch), wanted, atol=FLOAT32_SUM)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECURRENT)
def test_prompts_of_different_lengths_leave_no_trace_on_each_other(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first tokens come as often as without padding, which RWKV takes for text from the start, MiniMax later."""
    lm, masks = recurrent_model(kind), []
    generate = lm.model.generate

    def noted(ids: torch.Tensor, **options: Any) -> torch.Tensor:
        masks.append(options["attention_mask"])
        return generate(ids, **options)

    monkeypatch.setattr(lm.model, "generate", noted)
    prompts = [PROMPT[:4], PROMPT + [13] * 9, PROMPT[:4]]
    settings, batch = Settings(n=SAMPLES, max_tokens=1), 4 * SAMPLES
    for prompt, drawn in zip(prompts, evaluate.transformers_sampler(lm)(prompts, settings, batch, 0), strict=True):
        expected = SAMPLES * np.exp(log_policies(kind, prompt)[-1])
        counts = np.bincount([one.tokens[0] for one in drawn], minlength=len(expected))
        cell = np.where(expected >= 5, np.arange(len(expected)), expected.argmax())  # rare ones with the likeliest
        seen, wanted = (np.bincount(cell, each)[np.unique(cell)] for each in (counts, expected))
        assert stats.chisquare(seen, wanted).pvalue > LEAST_P
    assert [tuple(mask.shape) for mask in masks] == [(SAMPLES, 4), (SAMPLES, 15), (SAMPLES, 4)]
    assert all(mask.all() for mask in masks)


def test_attention_alone_repeats_its_cache() -> None:
    assert scoring.repeats_cache(byte_model())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mamba", "falcon_h1"])
def test_the_commands_work(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Samples through a file, and the audit against a pass of its own for one answer."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").symlink_to(saved(recurrent_model(kind)))
    (tmp_path / "problems.jsonl").write_text('{"nums": [3, 1, 2], "target": 6}\n{"nums": [4, 1], "target": 5}\n')
    run = command_line.runner(capfd)
    words = ("--problems", "problems.jsonl", "--set", "operators=+-", "--device", "cpu")
    done = run("evaluate", "model", *words, "--n", "3", "--samples", "s.jsonl")
    assert (done.status, done.err) == (0, "")
    assert len([json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]) == 6
    done = run("audit", "--model", "model", *words, "--out", "audits")
    assert (done.status, done.err) == (0, "")
    rows = (only_run(tmp_path / "audits") / "answers.csv").read_text().splitlines()
    (found,) = (float(row.rpartition(",")[2]) for row in rows if '"4 1 +"' in row)
    tokenizer = recurrent_model(kind).tokenizer
    prompt, answer = (tokenizer(text)["input_ids"] for text in ("numbers 4 1 target 5", "4 1 +"))
    answer = [*answer, tokenizer.eos_token_id]
    log_policy = log_policies(kind, prompt + answer)[len(prompt) - 1 : -1]
    assert found == pytest.approx(log_policy[np.arange(4), answer].sum(), abs=FLOAT32_SUM)
