"""The small model: its tokenizer, its size, and the skewed distribution of solutions that it is taught."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from scipy import stats
from transformers import AutoTokenizer

from sharpening.llm.countdown import formats, problems, solver, verifier
from sharpening.llm.tasks import Prompt
from sharpening.llm.training import warm_start
from sharpening.llm.training.warm_start import Pool, WarmStart
from tests.language_models import CONFIG, SETTINGS, saved_model, small_model
from tests.tolerances import FLOAT64

FOUR = problems.Settings(num_numbers=4, largest_number=10, operators="+-*", max_target=60)
SHORT = CONFIG.model_copy(update={"steps": 3, "pool": 20, "batch": 8})
DRAWS = 20_000
LEAST_P = 1e-4  # of a chi-squared test whose seed is fixed


def trained(config: WarmStart) -> dict[str, torch.Tensor]:
    torch.set_num_threads(1)
    lm = warm_start.make_model(config)
    rows = list(warm_start.train(lm, config))
    assert [row["step"] for row in rows] == [config.steps]
    assert not lm.model.training
    return dict(lm.model.state_dict())


def pool_of(config: WarmStart) -> tuple[Pool, dict[int, str]]:
    token_of = warm_start.make_tokenizer(60).get_vocab()
    pool = warm_start.make_pool(config, np.random.default_rng(0), token_of)
    return pool, {token: word for word, token in token_of.items()}


def style_weight(text: str, numbers: tuple[int, ...], skew: float) -> float:
    """The weight of one postfix text, read off its words."""
    words = text.split()
    score = -sum({"-": 0.7, "*": 1.0, "/": 1.4}.get(word, 0.0) for word in words)
    operands = [int(word) for word in words if word.isdigit()]
    score += 0.7 * sum(left >= right for left, right in itertools.pairwise(operands))
    shape = "".join("n" if word.isdigit() else "o" for word in words)
    score += 1.4 * (shape == "nn" + "on" * (len(numbers) - 2) + "o")
    return math.exp(skew * score)


@pytest.mark.slow
def test_the_tokenizer_loads_as_any_other(tmp_path: Path) -> None:
    tokenizer = warm_start.make_tokenizer(60)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = f"{formats.compact_prompt((9, 10, 1, 5), 60)} 9 10 - 1 * 5 + /{warm_start.END} 61 x"
    ids = tokenizer(text)["input_ids"]
    assert loaded(text)["input_ids"] == ids
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert ids[-3:] == [loaded.eos_token_id, loaded.unk_token_id, loaded.unk_token_id]
    assert loaded.pad_token_id not in ids
    assert loaded.decode(ids[7:14]) == "9 10 - 1 * 5 +"
    assert AutoTokenizer.from_pretrained(saved_model()).get_vocab() == small_model().tokenizer.get_vocab()


def test_the_laptop_model_has_165_thousand_parameters() -> None:
    for architecture, num_norms in (("qwen3", 2 * 64 + 2 * 16), ("llama", 2 * 64)):  # Qwen3 normalises queries and keys
        lm = warm_start.make_model(WarmStart(problems=FOUR, architecture=architecture))
        layer = 4 * 64 * 64 + 3 * 64 * 192 + num_norms
        assert lm.model.num_parameters() == len(lm.tokenizer) * 64 + 3 * layer + 64  # embeddings and head are one
        assert round(lm.model.num_parameters(), -3) == 165_000
        assert type(lm.model).__name__.lower().startswith(architecture)


def test_every_answer_of_the_pool_is_a_solution_and_none_is_missing() -> None:
    pool, word_of = pool_of(CONFIG.model_copy(update={"problems": FOUR, "pool": 60}))
    assert len({problem.id for problem in pool.problems}) == 60
    for place, problem in enumerate(pool.problems):
        assert problems.split_of(problem) == "train"
        rows = pool.tokens[pool.first[place] : pool.first[place + 1]]
        texts = {" ".join(word_of[token] for token in row) for row in rows.tolist()}
        assert len(texts) == len(rows)
        for text in texts:
            verdict = verifier.verify(text, problem.numbers, problem.target, notation="postfix", operators="+-*")
            assert verdict.correct == 1.0
        assert len(texts) == solver.num_raw_solutions(problem, "+-*")


@pytest.mark.parametrize("skew", [0.0, 1.0, 2.0])
def test_weights_follow_the_styles(skew: float) -> None:
    operators = "+-*/"
    settings = FOUR.model_copy(update={"operators": operators})
    pool, word_of = pool_of(CONFIG.model_copy(update={"problems": settings, "pool": 20, "skew": skew}))
    for place, problem in enumerate(pool.problems):
        answers = range(pool.first[place], pool.first[place + 1])
        texts = [" ".join(word_of[token] for token in pool.tokens[answer].tolist()) for answer in answers]
        weights = np.array([style_weight(text, problem.numbers, skew) for text in texts])
        found = np.diff(pool.cumulative[pool.first[place] : pool.first[place + 1] + 1])
        np.testing.assert_allclose(found, weights / weights.sum(), rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("skew", [0.0, 1.0])
def test_batches_follow_the_weights(skew: float) -> None:
    pool, _ = pool_of(CONFIG.model_copy(update={"pool": 4, "skew": skew}))
    chosen, answers = warm_start.drawn_batch(pool, DRAWS, np.random.default_rng(1))
    assert ((pool.first[chosen] <= answers) & (answers < pool.first[chosen + 1])).all()
    counts = np.bincount(answers, minlength=len(pool.tokens))
    weights = np.diff(pool.cumulative) / 4
    uniform = np.repeat(1 / np.diff(pool.first) / 4, np.diff(pool.first))
    p_value, p_uniform = (stats.chisquare(counts, DRAWS * each).pvalue for each in (weights, uniform))
    assert p_value > LEAST_P
    assert (p_uniform > LEAST_P) == (skew == 0)


def test_the_configuration_decides_the_weights() -> None:
    state = torch.get_rng_state()
    first, again = trained(SHORT), trained(SHORT)
    assert all(torch.equal(first[name], again[name]) for name in first)
    other = trained(SHORT.model_copy(update={"seed": 1}))
    assert not any(torch.equal(first[name], other[name]) for name in first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.slow
def test_the_loss_falls_and_is_that_of_answers_alone() -> None:
    """An untrained model is at the logarithm of its vocabulary; the prompt, which cannot be learnt, does not count."""
    for architecture in ("qwen3", "llama"):
        config = CONFIG.model_copy(update={"steps": 100, "architecture": architecture})
        lm = warm_start.make_model(config)
        first, last = warm_start.train(lm, config)
        assert last["loss"] < 1.5 < first["loss"] < math.log(len(lm.tokenizer))


def test_a_batch_is_prompt_answer_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, seen = warm_start.make_model(SHORT), []
    forward = lm.model.forward

    def noted(ids: torch.Tensor, labels: torch.Tensor) -> object:
        seen.append((ids, labels))
        return forward(ids, labels=labels)

    monkeypatch.setattr(lm.model, "forward", noted)
    list(warm_start.train(lm, SHORT))
    ids, labels = (torch.cat(each) for each in zip(*seen, strict=True))
    for row, label in zip(ids.tolist(), labels.tolist(), strict=True):
        words = lm.tokenizer.decode(row).split()
        numbers, target = tuple(map(int, words[1:4])), int(words[5])
        prompt = Prompt("", formats.compact_prompt(numbers, target))
        assert lm.tokenizer(prompt.text)["input_ids"] == row[:6]
        text = " ".join(words[6:]).removesuffix(warm_start.END).strip()
        assert verifier.verify(text, numbers, target, notation="postfix", operators="+-*").correct == 1.0
        assert row[-1] == lm.tokenizer.eos_token_id
        assert label == [warm_start.IGNORED] * 6 + row[6:]


def test_the_learning_rate_rises_and_falls() -> None:
    shares = [warm_start.schedule(step, 100) for step in range(100)]
    assert shares[:6] == [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    assert all(later <= earlier for earlier, later in itertools.pairwise(shares[4:]))
    assert 0 < shares[-1] < 0.001
    assert warm_start.schedule(0, 1) == 1.0


BAD: dict[str, dict[str, object]] = {
    "width": {"width": 40},
    "nonsense": {"nonsense": 1},
    "architecture": {"architecture": "gpt2"},
    "steps": {"steps": 0},
    "problems.num_numbers: 6: want at most 5": {"problems": {"num_numbers": 6}},
    "problems.max_target: 1000: want at most 999": {"problems": {"max_target": 1000}},
    "problems.largest_number: 1000: want at most 999": {"problems": {"largest_number": 1000}},
    "problems.split: 'test': want train, the others are for measuring": {"problems": {"split": "test"}},
    "problems.split: 'validation': want train": {"problems": {"split": "validation"}},
    "min_target: 9: want at most max_target, 5": {"problems": {"min_target": 9, "max_target": 5}},
}


@pytest.mark.parametrize(("message", "fields"), BAD.items(), ids=list(BAD))
def test_a_bad_configuration_is_refused(message: str, fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        WarmStart(**{"problems": SETTINGS, **fields})
    (error,) = caught.value.errors()
    assert message in f"{error['loc']} {error['msg']}"


def test_a_pool_that_is_too_large_is_one_line() -> None:
    config = CONFIG.model_copy(update={"pool": 5_000})
    with pytest.raises(ValueError, match=r"^pool: 5000: found \d+ distinct problems: want fewer, or wider"):
        next(warm_start.train(warm_start.make_model(config), config))
