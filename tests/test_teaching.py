"""`warm-start --model`: a pretrained model taught Countdown: losses by a second route, resuming, adapters, refusals."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm.audit import exact
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import checkpoints, teaching
from sharpening.llm.training.teaching import Teaching
from tests import command_line
from tests.command_line import Run, only_run
from tests.language_models import pretrained_like, saved
from tests.tolerances import FLOAT32_SUM

SETTINGS = countdown.Settings(num_numbers=2, largest_number=12, max_target=30, operators="+-*")
CONFIG = Teaching(problems=SETTINGS, pool=40, steps=6, batch=8, micro_batch=3, learning_rate=1e-3, save_every=2)
WORDS = ("--set", "steps=4", "batch=4", "pool=20", "save_every=1", "problems.num_numbers=2")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


def fresh() -> LanguageModel:
    """A copy of the small model, to be changed."""
    lm = pretrained_like()
    return lm._replace(model=copy.deepcopy(lm.model))


def trained(config: Teaching, folder: Path, num_rows: int | None = None) -> tuple[Any, list[dict[str, Any]]]:
    """The model and the rows after so many rows, or at the end."""
    lm = fresh()
    model = teaching.prepared(lm, config)
    rows = []
    for row in teaching.train(lm, model, config, folder):
        rows.append(row)
        if len(rows) == num_rows:
            break
    return model, rows


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: one.detach().clone() for name, one in model.named_parameters()}


@pytest.mark.parametrize("text_format", ["compact", "chat"])
def test_the_loss_is_that_of_the_answers_as_they_are_scored_elsewhere(text_format: Any) -> None:
    lm, config = pretrained_like(), CONFIG.model_copy(update={"text_format": text_format})
    batch = teaching.examples(lm, config, teaching.make_pool(config), 0)
    assert len({len(one.prompt) for one in batch}) > 1
    with torch.no_grad():
        found = teaching.negative_log_prob(lm, lm.model, batch)
    wanted = [-scoring.score(lm, one.prompt, [one.answer]).log_prob[0] for one in batch]
    np.testing.assert_allclose(found.numpy(), wanted, rtol=FLOAT32_SUM)


@pytest.mark.parametrize("text_format", ["compact", "chat"])
def test_what_is_taught_is_a_correct_answer_that_the_audit_lists(text_format: Any) -> None:
    """The prompt is that of a problem in its own order of numbers, and the tokens are among the audit's spellings."""
    lm, config = pretrained_like(), CONFIG.model_copy(update={"text_format": text_format})
    pool = teaching.make_pool(config)
    for one in teaching.examples(lm, config, pool, 3)[:3]:
        prompt = lm.tokenizer.decode(one.prompt)
        orders = [
            countdown.Problem(numbers, problem.target)
            for problem in pool.problems
            for numbers in (problem.numbers, problem.numbers[::-1])
        ]
        tasks = [CountdownTask([problem], operators="+-*", text_format=text_format) for problem in orders]
        (place, *_) = [
            place
            for place, task in enumerate(tasks)
            if lm.tokenizer.decode(models.prompt_ids(lm.tokenizer, task.prompts[0])) == prompt
        ]
        text = lm.tokenizer.decode(one.answer[:-1])
        assert tasks[place].marks([0], [text], [True])[0].correct == 1
        assert text.startswith(" ") == (text_format == "compact")
        audited = exact.audit(lm, orders[place], operators="+-*", text_format=text_format, only_correct=True)
        assert one.answer in audited.rows


def test_batches_are_those_of_their_step() -> None:
    lm, pool = pretrained_like(), teaching.make_pool(CONFIG)
    first, second = (teaching.examples(lm, CONFIG, pool, step) for step in (0, 1))
    assert first == teaching.examples(lm, CONFIG, pool, 0) != second


def test_a_step_is_the_same_in_parts_of_any_size(tmp_path: Path) -> None:
    """In float32 up to rounding."""
    found = []
    for size in (1, 3, 8):
        model, rows = trained(CONFIG.model_copy(update={"micro_batch": size, "steps": 1}), tmp_path / str(size))
        found.append((rows[0]["loss"], weights(model)["model.norm.weight"].numpy()))
    for loss, norm in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=FLOAT32_SUM)
        np.testing.assert_allclose(norm, found[0][1], rtol=FLOAT32_SUM)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("num_rows", [1, 3, 5])
def test_a_run_that_was_stopped_ends_with_the_same_weights(rank: int, num_rows: int, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"lora_rank": rank})
    whole, rows = trained(config, tmp_path / "whole")
    trained(config, tmp_path / "stopped", num_rows)
    last, _ = checkpoints.last(tmp_path / "stopped")
    assert (checkpoints.step_of(last) if last else 0) == num_rows // 2 * 2
    again, rows_again = trained(config, tmp_path / "stopped")
    assert rows_again == rows
    for name, one in weights(whole).items():
        assert torch.equal(one, weights(again)[name]), name


def test_teaching_lowers_the_loss_and_raises_what_the_audit_lists(tmp_path: Path) -> None:
    """From next to nothing to more than half of the probability, in tokens that audit and training cut alike."""
    config = CONFIG.model_copy(update={"steps": 120, "pool": 4, "micro_batch": 8, "learning_rate": 1e-2})
    model, rows = trained(config.model_copy(update={"save_every": 1000}), tmp_path)
    assert rows[-1]["loss"] < rows[0]["loss"] / 5
    lm, (problem, *_) = pretrained_like(), teaching.make_pool(config).problems
    before, after = (
        np.exp(exact.audit(one, problem, operators="+-*").log_prob).sum() for one in (lm, lm._replace(model=model))
    )
    assert before < 0.001
    assert after > 0.5


def test_the_command_teaches_finds_again_and_goes_on(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after a checkpoint it ends with the same files; then nothing is left but the run."""
    monkeypatch.chdir(tmp_path)
    source = str(saved(pretrained_like()))
    done = run("warm-start", "--model", source, *WORDS, "--folder", "taught", "--out", "whole")
    assert (done.status, done.err) == (0, "")
    assert done.out.endswith("after 4 steps\nmodel: taught\n")
    written = checkpoints.write

    def stopped(folder: Path, step: int, *rest: Any) -> None:
        written(folder, step, *rest)
        if step == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "write", stopped)
        with pytest.raises(KeyboardInterrupt):
            run("warm-start", "--model", source, *WORDS, "--folder", "again", "--out", "parts")
    assert not (tmp_path / "again").exists()
    assert run("warm-start", "--model", source, *WORDS, "--folder", "again", "--out", "parts").status == 0
    files = [{path.name: path.read_bytes() for path in Path(name).iterdir()} for name in ("taught", "again")]
    assert files[0] == files[1]
    assert (only_run(tmp_path / "whole") / "rows.csv").read_bytes() == (
        only_run(tmp_path / "parts") / "rows.csv"
    ).read_bytes()
    assert not list(tmp_path.glob("*/llm/.*"))
    monkeypatch.setattr(teaching, "train", None)
    assert run("warm-start", "--model", source, *WORDS, "--folder", "taught", "--out", "whole").status == 0
    assert models.settings_of("taught")["num_numbers"] == 2


def test_adapters_are_saved_in_the_weights_or_alone(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = str(saved(pretrained_like()))
    for name, merges in (("merged", "true"), ("alone", "false")):
        more = ("lora_rank=2", f"merge_adapters={merges}", "learning_rate=1e-2", "steps=2")
        assert run("warm-start", "--model", source, *WORDS, *more, "--folder", name).status == 0
    assert not (tmp_path / "alone" / "model.safetensors").exists()
    one, other = (models.load(name, device="cpu").model for name in ("merged", "alone"))
    for name, weight in weights(one).items():
        np.testing.assert_allclose(weight.numpy(), weights(other)[name].numpy(), rtol=FLOAT32_SUM, atol=FLOAT32_SUM)
    assert any(not torch.equal(weight, weights(one)[name]) for name, weight in weights(pretrained_like().model).items())


def test_bfloat16_where_the_processor_lacks_it_is_told(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(models, "has_bfloat16", lambda: False)
    done = run("warm-start", "--model", str(saved(pretrained_like())), *WORDS, "dtype=bfloat16", "steps=1")
    assert done.status == 0
    assert done.err == "note: dtype=bfloat16: this processor does not have it: float32 is faster here\n"
    assert models.load(str(only_run(tmp_path / "results") / "model")).model.dtype == torch.float32


REFUSED = [
    (("--preset", "smoke"), "--preset: it means nothing with --model: want one of them"),
    (("--set", "width=16"), "--set: width: '16': Extra inputs are not permitted: want one of problems, text_format, "),
    (("--set", "merge_adapters=false"), "--set: merge_adapters: False: want lora_rank, or true"),
    (("--set", "problems.split=test"), "--set: problems.split: 'test': want train, the others are for measuring"),
    (("--set", "pool=100000"), "pool: 100000: "),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("warm-start", "--model", str(saved(pretrained_like())), *words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"sharpening: {message}"), done.err
    assert done.err.count("\n") == 1


def test_a_format_without_a_model_and_a_model_that_is_not_there_are_refused(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("warm-start", "--format", "chat").err == (
        "sharpening: --format: it means nothing without --model: want both\n"
    )
    assert run("warm-start", "--model", "./none").err.startswith("sharpening: model: './none': there is no such folder")
