"""Teacher forcing against a plain forward of prompt and completion together, one completion at a time."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import transformers

from sharpening.llm.sampling import evaluate, scoring
from sharpening.llm.sampling.models import LanguageModel
from tests.language_models import small_model
from tests.tolerances import FLOAT32_SUM, TRAINED

PROMPT = [3, 12, 10, 13, 4, 20]


def completions(number: int, seed: int = 0) -> list[list[int]]:
    """Ragged random tokens, 1 to 9 of them, of a few words so that prefixes are shared; some twice."""
    rng = np.random.default_rng(seed)
    found = [rng.integers(5, 9, size=rng.integers(1, 10)).tolist() for _ in range(number)]
    return [*found, [1], found[0], [*found[1], 1]]


@torch.no_grad()
def plain(completion: list[int], temperature: float) -> tuple[float, float]:
    """Log-probability and mean entropy from the logits of the concatenated tokens, in float64 and without a cache."""
    lm = small_model()
    logits = lm.model(torch.tensor([PROMPT + completion]), use_cache=False).logits[0].double().numpy() / temperature
    log_policy = logits - np.log(np.exp(logits - logits.max()).sum(axis=1, keepdims=True)) - logits.max()
    rows = log_policy[len(PROMPT) - 1 : -1]
    entropies = -(np.exp(rows) * rows).sum(axis=1)
    return float(rows[np.arange(len(completion)), completion].sum()), float(entropies.mean())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("batch", [1, 3, 100])
def test_scores_are_those_of_a_plain_forward(batch, temperature):
    wanted = completions(20)
    found = scoring.score(small_model(), PROMPT, wanted, temperature=temperature, batch=batch)
    tree = scoring.score_tree(small_model(), PROMPT, wanted, temperature=temperature, batch=batch)
    log_prob, entropy = zip(*(plain(one, temperature) for one in wanted), strict=True)
    np.testing.assert_allclose(found.log_prob, log_prob, atol=FLOAT32_SUM)
    np.testing.assert_allclose(found.entropy, entropy, atol=FLOAT32_SUM)
    np.testing.assert_allclose(tree, log_prob, atol=FLOAT32_SUM)


def test_padding_changes_nothing():
    """A short completion beside a long one and alone."""
    short, long = [6, 7], [5] * 30
    alone = scoring.score(small_model(), PROMPT, [short])
    beside = scoring.score(small_model(), PROMPT, [long, short])
    assert beside.log_prob[1] == pytest.approx(alone.log_prob[0], abs=FLOAT32_SUM)
    assert beside.entropy[1] == pytest.approx(alone.entropy[0], abs=FLOAT32_SUM)
    assert scoring.score_tree(small_model(), PROMPT, [long, short])[1] == pytest.approx(
        alone.log_prob[0], abs=FLOAT32_SUM
    )


def test_a_shared_prefix_is_run_once(monkeypatch):
    """Positions that the model sees: the prompt, then every distinct prefix that goes on."""
    lm, seen = small_model(), []
    forward = lm.model.forward

    def counted(ids, **options):
        seen.append(ids.numel())
        return forward(ids, **options)

    monkeypatch.setattr(lm.model, "forward", counted)
    scoring.score_tree(lm, PROMPT, [[5, 6, 7], [5, 6, 8], [5, 7, 7], [5, 6, 7]])
    assert seen == [len(PROMPT), 1, 2]


def test_no_completions_have_no_scores_and_no_prompt_is_refused():
    assert scoring.score(small_model(), PROMPT, []).log_prob.shape == (0,)
    assert scoring.score_tree(small_model(), PROMPT, []).shape == (0,)
    for score in (scoring.score, scoring.score_tree):
        with pytest.raises(ValueError, match=r"^prompt: it has no tokens: want at least one"):
            score(small_model(), [], [[5]])


@pytest.mark.parametrize("at_once", [1, 100, 1_000, 10_000])
def test_places_run_some_at_a_time_score_as_all_at_once(at_once, monkeypatch):
    """With 21 words: one completion and place at a time, a few of each, and all."""
    wanted = completions(20)
    whole = scoring.score(small_model(), PROMPT, wanted)
    monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", at_once)
    sizes = logits_held(monkeypatch)
    found = scoring.score(small_model(), PROMPT, wanted)
    np.testing.assert_allclose(found.log_prob, whole.log_prob, rtol=TRAINED, atol=TRAINED)
    np.testing.assert_allclose(found.entropy, whole.entropy, rtol=TRAINED, atol=TRAINED)
    assert max(sizes) <= max(at_once, small_model().model.config.vocab_size)
    assert len(sizes) > 1


def logits_held(monkeypatch) -> list[int]:
    """The number of logits of every pass of the model."""
    lm, sizes = small_model(), []
    forward = lm.model.forward

    @functools.wraps(forward)
    def noted(*ids, **options):
        found = forward(*ids, **options)
        sizes.append(found.logits.numel())
        return found

    monkeypatch.setattr(lm.model, "forward", noted)
    return sizes


def test_a_sliding_window_and_prompts_of_many_tokens_score_the_same_in_parts(monkeypatch):
    config = transformers.MistralConfig(
        vocab_size=30, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, sliding_window=4,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.MistralForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 5
    lm = LanguageModel(model, None, torch.device("cpu"))
    prompt, rows = list(range(3, 20)), [[5, 6, 7] * 5, [8, 9, 10, 11, 12, 13]]
    with torch.no_grad():
        logits = [model(torch.tensor([prompt + row]), use_cache=False).logits[0].double() for row in rows]
    wanted = [
        float(one.log_softmax(-1)[len(prompt) - 1 : -1][range(len(row)), row].sum())
        for one, row in zip(logits, rows, strict=True)
    ]
    for at_once in (1, 150, 10**6):
        monkeypatch.setattr(scoring, "LOGITS_AT_ONCE", at_once)
        np.testing.assert_allclose(scoring.score(lm, prompt, rows).log_prob, wanted, atol=FLOAT32_SUM)


def test_scoring_that_runs_out_of_memory_takes_fewer_at_once_and_draws_nothing_anew(monkeypatch):
    lm, asked, drawn = small_model(), [], []
    score, generate = scoring.score, lm.model.generate

    def refused(*given, batch, **options):
        asked.append(batch)
        if batch > 4:
            raise torch.OutOfMemoryError("out of memory")
        return score(*given, batch=batch, **options)

    monkeypatch.setattr(scoring, "score", refused)
    monkeypatch.setattr(lm.model, "generate", lambda *ids, **options: drawn.append(1) or generate(*ids, **options))
    settings = evaluate.Settings(n=16, max_tokens=8, batch=16)
    found = evaluate.transformers_sampler(lm)([PROMPT], settings, 16, 0)
    assert (len(found[0]), asked, len(drawn)) == (16, [16, 8, 4], 1)
