"""The audit of models whose tokenizers cut a text in several ways: what is summed, what is refused, what is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from sharpening.figures.tables import doubts
from sharpening.llm.audit import check, exact, unlisted
from sharpening.llm.audit import samples as audit_samples
from sharpening.llm.audit.exact import Audited
from sharpening.llm.countdown import formats
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import evaluate, scoring, tokenizations
from sharpening.llm.sampling.models import LanguageModel
from sharpening.theory import policies
from tests import command_line
from tests.language_models import SPELLED, saved, spelling_model
from tests.test_audit import pair_model
from tests.test_audit import spellings as cuts
from tests.test_audit_tables import row
from tests.tolerances import FLOAT32_MASS, OTHER_MASS

OPERATORS = "+-*"
SPACED, PLAIN, BLANKS = " {} {} {}", "{} {} {}", "{}  {} {}"
NONE = {"operators": OPERATORS, "text_format": "compact"}


def mass(
    lm: LanguageModel, prompt: str, bodies: Iterable[Sequence[int]], ends: Sequence[int], temperature: float
) -> float:
    """The probability of tokens, with each end, from passes without a cache, in float64."""
    start, total = lm.tokenizer(prompt)["input_ids"], 0.0
    for body in bodies:
        for end in ends:
            ids = [*body, end]
            with torch.no_grad():
                logits = lm.model(torch.tensor([start + ids]), use_cache=False).logits[0, len(start) - 1 : -1]
            log_policy = policies.log_softmax(logits.double().numpy() / temperature)
            total += float(np.exp(log_policy[np.arange(len(ids)), ids].sum()))
    return total


def every_cut(lm: LanguageModel, texts: Iterable[str]) -> list[list[int]]:
    """All tokenizations of texts, by trying every token of the vocabulary."""
    vocabulary = {lm.tokenizer.decode([token]): token for token in range(1, len(lm.tokenizer))}
    return [row for text in texts for row in cuts(text, vocabulary)]


def audits(lm: LanguageModel, temperature: float = 1.0) -> list[Audited]:
    return [exact.audit(lm, problem, operators=OPERATORS, temperature=temperature) for problem in SPELLED]


@pytest.mark.slow
@pytest.mark.parametrize("spelling", [SPACED, PLAIN])
@pytest.mark.parametrize("temperature", [1.0, 1.5])
def test_an_answer_with_and_without_the_space_before_it_is_counted(spelling: str, temperature: float) -> None:
    """The model taught with the space hardly ever writes it without: one spelling alone has Q below .01."""
    lm = spelling_model(spelling)
    for problem, one in zip(SPELLED, audits(lm, temperature), strict=True):
        assert not one.is_exact
        texts = lm.tokenizer.batch_decode([ids[:-1] for ids in one.tokens])
        prompt, end = formats.compact_prompt(problem.numbers, problem.target), [lm.tokenizer.eos_token_id]
        wanted = [mass(lm, prompt, every_cut(lm, [text, f" {text}"]), end, temperature) for text in texts]
        np.testing.assert_allclose(np.exp(one.log_prob), wanted, rtol=FLOAT32_MASS)
        alone = mass(lm, prompt, every_cut(lm, np.array(texts)[one.correct == 1].tolist()), end, temperature)
        assert exact.problem_row(one)["correctness"] > 0.7
        assert (alone < 0.01) == (spelling == SPACED)


@pytest.mark.slow
def test_ten_thousand_samples_agree_with_the_audit() -> None:
    """Of a model that writes half of its answers in other tokens than its tokenizer: with those alone they do not."""
    lm, temperature = spelling_model(SPACED, is_cut=True), 1.2
    task = CountdownTask(SPELLED, operators=OPERATORS)
    settings = evaluate.Settings(n=2500, temperature=temperature, max_tokens=8, batch=2500)
    events = evaluate.evaluate(evaluate.transformers_sampler(lm), lm.tokenizer, task, settings)
    lines = [json.dumps(one) for event in events if isinstance(event, evaluate.Done) for one in event.rows]
    samples = audit_samples.read("\n".join(lines), "samples.jsonl")
    found = audits(lm, temperature)
    texts = [exact.answer_texts(lm, one.tokens) for one in found]
    checked = check.compare(found, texts, samples)
    assert checked.num_samples == 10_000
    assert checked.agrees, (checked.z, checked.p_value)
    own = []
    for problem, one, mine in zip(SPELLED, found, texts, strict=True):
        prompt, end = formats.compact_prompt(problem.numbers, problem.target), [lm.tokenizer.eos_token_id]
        alone = [mass(lm, prompt, lm.tokenizer([text, f" {text}"])["input_ids"], end, temperature) for text in mine]
        own.append(one._replace(log_prob=np.log(alone)))
    assert not check.compare(own, texts, samples).agrees


def test_the_walk_is_the_same_in_parts_and_without_a_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, given = spelling_model(SPACED, is_cut=True), {"operators": OPERATORS}
    whole, parts = (exact.audit(lm, SPELLED[0], batch=size, **given) for size in (1024, 3))
    monkeypatch.setattr(scoring, "is_repeatable", lambda _: False)
    without = exact.audit(lm, SPELLED[0], **given)
    for other in (parts, without):
        assert sorted(other.rows) == sorted(whole.rows)
        np.testing.assert_allclose(other.log_prob, whole.log_prob, rtol=FLOAT32_MASS)


def test_what_is_not_followed_is_told() -> None:
    """With a coarse limit less is found, by no more than is told; with none nothing is left out."""
    lm = spelling_model(SPACED, is_cut=True)
    found, usual, coarse = {}, tokenizations.LEAST_SHARE, 0.05
    for least in (0.0, usual, coarse):
        one = exact.audit(lm, SPELLED[0], operators=OPERATORS, least_share=least)
        found[least] = float(np.exp(one.log_prob).sum()), one.pruned, len(one.rows)
    whole, told, most = found[0.0]
    assert told == 0
    for mass_found, pruned, num_rows in list(found.values())[1:]:
        assert num_rows < most
        assert 0 < whole - mass_found <= pruned * (1 + FLOAT32_MASS)
    assert found[coarse][1] > found[usual][1]


def test_every_end_token_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each text has one tokenization: a completion may end at any of them."""
    lm = pair_model()
    end, other = lm.tokenizer.eos_token_id, lm.tokenizer.unk_token_id
    monkeypatch.setattr(lm.model.generation_config, "eos_token_id", [end, other])
    one = exact.audit(lm, Problem((3, 1), 2), operators=OPERATORS)
    assert one.is_exact
    texts, prompt = lm.tokenizer.batch_decode([ids[:-1] for ids in one.tokens]), "numbers 3 1 target 2"
    bodies = [[lm.tokenizer(text)["input_ids"]] for text in texts]
    both, alone = ([mass(lm, prompt, one, ends, 1.0) for one in bodies] for ends in ([end, other], [end]))
    np.testing.assert_allclose(np.exp(one.log_prob), both, rtol=FLOAT32_MASS)
    assert not np.allclose(np.exp(one.log_prob), alone, rtol=OTHER_MASS)


def test_a_model_that_writes_another_spelling_is_refused_with_it() -> None:
    lm = spelling_model(BLANKS)
    with pytest.raises(
        ValueError, match=r"^--model: 'm': the listed answers have 0\.00\d of its probability"
    ) as caught:
        unlisted.refuse("m", lm, audits(lm), temperature=1.0, **NONE)
    said = str(caught.value)
    assert "(mean over 4 problems): want at least 0.5. Of 64 samples of " in said
    assert any(f"the most frequent is '{one.numbers[0]}  {one.numbers[1]} " in said for one in SPELLED)
    assert "'<eos>']. audit --samples scores what a model writes" in said


def test_a_model_that_writes_no_answers_is_refused_with_what_it_writes() -> None:
    lm = spelling_model(PLAIN)
    with pytest.raises(ValueError, match=r"samples of '.*' \d are well-formed, 0 of them in a spelling that is"):
        unlisted.refuse("m", lm, audits(lm, 3.0), temperature=3.0, **NONE)


def test_listed_answers_and_exact_audits_are_not_refused() -> None:
    lm = spelling_model(PLAIN)
    unlisted.refuse("m", lm, audits(lm), temperature=1.0, **NONE)
    unlisted.refuse("m", lm, audits(lm, 1.5), temperature=1.5, **NONE)
    bound = audits(lm, 3.0)
    unlisted.refuse("m", lm, [one._replace(is_exact=True) for one in bound], temperature=3.0, **NONE)


def test_what_is_not_listed_or_left_out_stands_at_the_top() -> None:
    rows = [row("a", "unlisted_mass", 0.11), row("b", "unlisted_mass", 0.1), row("c", "ill_formed_mass", 0.9)]
    (told,) = doubts.of_audit(rows)
    assert told.startswith("WARNING: a gives 0.110 of its probability to completions that are not listed")
    (told,) = doubts.of_audit([row("b", "share_left_out", 0.2), row("c", "share_left_out", 0.1)])
    assert told.startswith("WARNING: 20.0% of the samples are left out of the comparison with b: their tokens are not")


@pytest.mark.slow
def test_the_command_counts_warns_and_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [f'{{"nums": {list(one.numbers)}, "target": {one.target}}}\n' for one in SPELLED]
    (tmp_path / "problems.jsonl").write_text("".join(lines))
    for name, spelling in (("spaced", SPACED), ("blanks", BLANKS)):
        shutil.copytree(saved(spelling_model(spelling)), tmp_path / name)
    run = command_line.runner(capfd, "audit", "--problems", "problems.jsonl", "--set", "operators=+-*")
    done = run("--model", "spaced")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("VERDICT on 4 Countdown problems, lower bounds, temperature 1\n")
    done = run("--model", "spaced", "--temperature", "1.5")
    assert done.status == 0
    assert done.out.startswith("WARNING: spaced gives 0.2")
    before = sorted(path for path in tmp_path.rglob("*"))
    done = run("--model", "spaced", "blanks")
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("sharpening: --model: 'blanks': the listed answers have 0.0")
    assert sorted(path for path in tmp_path.rglob("*")) == before
