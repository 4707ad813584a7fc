"""Training that can be stopped: checkpoints that count, resumption, kills, signals, looks, adapters."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from sharpening.figures.tables import training as training_tables
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.own_task import OwnTask
from sharpening.llm.sampling import models
from sharpening.llm.tasks import Prompt
from sharpening.llm.training import arguments, callbacks, checkpoints, run
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.problems import Problems
from tests import training
from tests.language_models import SETTINGS, saved_model

ROOT = Path(__file__).resolve().parent.parent
NUM_KILLS = 10
PARAMETERS = {"gamma_correct": 0.2, "gamma_incorrect": 0.1}  # few are correct: without the latter few updates move
pytestmark = [*training.QUIET, pytest.mark.filterwarnings("ignore:.*_pytree.*")]


def config_of(**changes: Any) -> RunConfig:
    given = {
        **dict(model=str(saved_model()), method="ds", parameters=PARAMETERS, group_size=4),
        **dict(prompts_per_step=2, micro_batch=4, updates_per_batch=2, steps=6, save_every=2, learning_rate=1e-3),
        **dict(max_tokens=6, evaluate_every=2, evaluation_samples=3),
    }
    return RunConfig(**(given | changes))


@functools.cache
def problems(held_out: str = "exact") -> Problems:
    """Five prompts to train on, so that an epoch ends within a batch, and four held out."""
    drawn = countdown.distinct(SETTINGS, np.random.default_rng(0), 9)
    task, other = (CountdownTask(part, operators=SETTINGS.operators) for part in (drawn[:5], drawn[5:]))
    sampled = OwnTask([Prompt(one.id, one.text) for one in other.prompts], [""] * 4, lambda completion, answer: True)
    return Problems(task, {"exact": other, "sampled": sampled}.get(held_out), [])


def made(config: RunConfig, folder: Path, held_out: str = "exact") -> Any:
    return run.make_trainer(config, config.model, problems(held_out), folder)


def ran(config: RunConfig, folder: Path, held_out: str = "exact", last: Path | None = None) -> Any:
    trained = made(config, folder, held_out)
    run.run(trained, config, last)
    return trained


def checkpoint(folder: Path, step: int, *, counts: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "shards").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(bytes(range(200)))
    (path / "shards" / "0.bin").write_bytes(b"of several processes")
    if counts:
        checkpoints.complete(path)
    return path


def flipped(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[100] ^= 1
    (path / "model.safetensors").write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "model.safetensors differs from its checksum": flipped,
    "shards/0.bin differs from its checksum": lambda path: os.truncate(path / "shards" / "0.bin", 3),
    "checksums.json is missing": lambda path: (path / "checksums.json").unlink(),
    "model.safetensors is missing": lambda path: (path / "model.safetensors").unlink(),
    "checksums.json cannot be read": lambda path: os.truncate(path / "checksums.json", 30),
    "checksums.json is empty": lambda path: (path / "checksums.json").write_text("{}"),
}


@pytest.mark.parametrize("fault", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(fault: str, tmp_path: Path) -> None:
    good, bad = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    (tmp_path / "checkpoint-old").mkdir()
    assert checkpoints.last(tmp_path) == (bad, [])
    DAMAGES[fault](bad)
    assert checkpoints.last(tmp_path) == (good, [f"checkpoint-10 does not count: {fault}"])
    DAMAGES[fault](good)
    assert checkpoints.last(tmp_path)[0] is None
    assert checkpoints.last(tmp_path / "nowhere") == (None, [])


def test_an_older_checkpoint_goes_only_when_a_newer_one_counts(tmp_path: Path) -> None:
    older, good = checkpoint(tmp_path, 8), checkpoint(tmp_path, 9)
    torn, later = checkpoint(tmp_path, 10, counts=False), checkpoint(tmp_path, 30, counts=False)
    new = checkpoint(tmp_path, 20, counts=False)
    assert all(path.exists() for path in (older, good, torn, later))
    assert checkpoints.last(tmp_path)[0] == good
    checkpoints.complete(new)
    assert {path for path in tmp_path.iterdir() if path.is_dir()} == {good, new}
    assert checkpoints.last(tmp_path) == (new, [])


@pytest.mark.slow
def test_a_run_that_dies_before_the_manifest_has_the_checkpoint_before(tmp_path, monkeypatch) -> None:
    complete = checkpoints.complete

    def dying(path: Path) -> None:
        if path.name == "checkpoint-6":
            raise RuntimeError("killed")
        complete(path)

    monkeypatch.setattr(checkpoints, "complete", dying)
    with pytest.raises(RuntimeError, match="killed"):
        ran(config_of(), tmp_path)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    last, faults = checkpoints.last(tmp_path)
    assert last == tmp_path / "checkpoint-4"
    assert faults == ["checkpoint-6 does not count: checksums.json is missing"]


# going on


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor, list[dict[str, Any]]]:
    """A copy of every checkpoint of a run of two updates a batch and two passes an update, its weights and its rows."""
    folder = tmp_path_factory.mktemp("undisturbed")
    complete = checkpoints.complete

    def copying(path: Path) -> None:
        complete(path)
        shutil.copytree(path, folder / "kept" / path.name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoints, "complete", copying)
        trained = ran(config_of(), folder)
    return folder / "kept", training.weights(trained), training_tables.rows(trained.state.log_history)


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 4, 6])
def test_a_run_resumed_from_any_checkpoint_has_the_same_weights_and_rows(undisturbed, step: int, tmp_path) -> None:
    kept, weights, rows = undisturbed
    trained = ran(config_of(), tmp_path, last=kept / f"checkpoint-{step}")
    assert torch.equal(training.weights(trained), weights)
    assert training_tables.rows(trained.state.log_history) == rows


def test_rows_have_every_step_once_and_looks_at_their_steps(undisturbed) -> None:
    _, _, rows = undisturbed
    assert [row["step"] for row in rows if row["quantity"] == "loss"] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in rows if row["quantity"] == "method/correct"] == [1, 3, 5]  # once a batch
    assert [row["step"] for row in rows if row["quantity"] == "held_out/pass@8"] == [0, 2, 4, 6]
    assert len({(row["step"], row["quantity"]) for row in rows}) == len(rows)
    assert not [row for row in rows if "time" in row["quantity"] or "second" in row["quantity"]]


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_weights_of_an_undisturbed_one(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = ["-m", "tests.killed_training", str(saved_model()), str(tmp_path), str(NUM_KILLS)]
    done = subprocess.run([sys.executable, *words], env=environment, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    first, *starts, num_hits = done.stdout.split()
    assert first == starts[0] == "start"
    assert int(num_hits) >= NUM_KILLS - 2
    assert len(set(starts)) >= 3, starts
    whole, killed = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()


# signals


class Signals(TrainerCallback):
    """Sends this process signals at the beginning of the third step."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = numbers

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 2:
            for number in self.numbers:
                os.kill(os.getpid(), number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_at_the_next_boundary_with_a_checkpoint_that_counts(number, undisturbed, tmp_path) -> None:
    _, weights, _ = undisturbed
    before = signal.getsignal(number)
    config = config_of(save_every=6)
    trained = made(config, tmp_path)
    trained.add_callback(Signals(number))
    run.run(trained, config, None)
    assert (run.signal_of(trained), trained.state.global_step) == (number, 4)
    last = tmp_path / "checkpoint-4"
    assert checkpoints.last(tmp_path) == (last, [])
    assert signal.getsignal(number) is before
    assert torch.equal(training.weights(ran(config, tmp_path, last=last)), weights)


def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    config = config_of()
    trained = made(config, tmp_path)
    trained.add_callback(Signals(signal.SIGINT, signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        run.run(trained, config, None)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert trained.state.global_step == 2


def test_a_signal_that_comes_while_others_are_asked_counts_at_the_next_boundary() -> None:
    control = SimpleNamespace(should_save=False, should_training_stop=False)
    stopper = callbacks.Stopper(SimpleNamespace(device="cpu"), 1)

    def gather(received: torch.Tensor) -> torch.Tensor:
        stopper.received = signal.SIGTERM
        return received

    stopper.accelerator.gather = gather
    for stops in (False, True):
        stopper.on_step_end(None, SimpleNamespace(global_step=1), control)
        assert (stopper.received, control.should_training_stop, control.should_save) == (signal.SIGTERM, stops, stops)


def test_torchrun_may_send_a_signal_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "0")
    trained = made(config_of(), tmp_path)
    trained.add_callback(Signals(signal.SIGTERM, signal.SIGTERM))
    run.run(trained, config_of(), None)
    assert (run.signal_of(trained), trained.state.global_step) == (signal.SIGTERM, 4)


# looks, options, adapters


def test_dropout_is_off_and_no_card_of_trl_is_written(tmp_path: Path) -> None:
    trained = ran(config_of(steps=2), tmp_path, "none")
    assert trained.args.disable_dropout
    assert not list(tmp_path.rglob("README.md"))


def test_passes_in_bfloat16_move_weights_in_float32(tmp_path: Path) -> None:
    """A float32 update of 1e-7 is seen, which a bfloat16 weight, of three digits, would not hold."""
    config = config_of(dtype="bfloat16", steps=2, learning_rate=1e-7)
    trained, passes = made(config, tmp_path, "none"), set()
    layer = next(part for part in trained.model.modules() if isinstance(part, torch.nn.Linear))
    layer.register_forward_hook(lambda _, given, output: passes.add(output.dtype))
    run.run(trained, config, None)
    assert passes == {torch.bfloat16}
    moments = trained.optimizer.state_dict()["state"].values()
    numbers = [*trained.model.parameters(), *(value["exp_avg"] for value in moments)]
    assert {value.dtype for value in numbers} == {torch.float32}
    before = training.weights(made(config_of(), tmp_path / "other"))
    moved = (training.weights(trained) - before).abs()
    assert 0 < moved.max() < 1e-6
    assert (before.bfloat16() == training.weights(trained).bfloat16()).float().mean() > 0.99


class Told(TrainerCallback):
    """Keeps what callbacks are told of held-out problems."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float], **_: Any) -> None:
        self.values += [value for name, value in logs.items() if name == "held_out/pass@1"]


@pytest.mark.slow
def test_looking_at_held_out_problems_and_completions_changes_no_weight(tmp_path: Path) -> None:
    found = []
    config = config_of(updates_per_batch=1, steps=2, save_every=2, evaluate_every=1)
    for held_out in ("none", "exact", "sampled"):
        trained, told = made(config, tmp_path / held_out, held_out), Told()
        trained.add_callback(told)
        if held_out != "none":
            shown: list[dict[str, Any]] = []
            trained.add_callback(callbacks.FirstCompletions(trained, problems().train, config, shown.extend))
        run.run(trained, config, None)
        if held_out != "none":
            assert [row["problem"] for row in shown] == [one.id for one in problems().train.prompts[:4]]
        looks = [entry["held_out/pass@1"] for entry in trained.state.log_history if "held_out/pass@1" in entry]
        assert looks == told.values  # what W&B and the like are told
        assert len(looks) == (0 if held_out == "none" else 3)
        assert held_out != "sampled" or looks == [1, 1, 1]
        found.append(training.weights(trained))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("processes", "micro_batch", "expected"), [(1, 32, (32, 4)), (4, 16, (16, 2)), (2, 128, (64, 1))]
)
def test_a_step_is_divided_among_processes(monkeypatch, tmp_path, processes, micro_batch, expected) -> None:
    monkeypatch.setattr(arguments, "GRPOConfig", SimpleNamespace)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    config = config_of(group_size=8, prompts_per_step=16, micro_batch=micro_batch)
    found = arguments.grpo_config(config, tmp_path)
    assert (found.per_device_train_batch_size, found.gradient_accumulation_steps) == expected


@pytest.mark.parametrize(("processes", "micro_batch"), [(7, 1), (2, 24)])
def test_a_step_that_cannot_be_divided_is_refused(monkeypatch, tmp_path, processes, micro_batch) -> None:
    monkeypatch.setattr(arguments, "GRPOConfig", SimpleNamespace)
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    config = config_of(group_size=8, prompts_per_step=15, micro_batch=micro_batch)
    with pytest.raises(ValueError, match=f"^micro_batch: {micro_batch}: want .* processes, {processes}$"):
        arguments.grpo_config(config, tmp_path)


def test_memory_that_runs_out_is_one_line_and_other_faults_are_not_hidden(tmp_path, monkeypatch) -> None:
    trained = made(config_of(), tmp_path)
    for text, wanted in (("CUDA out of memory", "^micro_batch: 4: memory ran out: "), ("another", "^another$")):

        def fails(said: str = text, **_: Any) -> None:
            raise RuntimeError(said)

        monkeypatch.setattr(trained, "train", fails)
        with pytest.raises((ValueError, RuntimeError), match=wanted):
            run.run(trained, config_of(), None)


@pytest.mark.slow
def test_adapters_are_drawn_from_the_seed_resume_and_are_saved_merged(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = config_of(lora_rank=2, steps=4)
    whole = ran(config, tmp_path / "whole")
    torch.manual_seed(99)
    fresh = ran(config, tmp_path / "fresh")
    again = ran(config, tmp_path / "again", last=tmp_path / "whole" / "checkpoint-2")
    other = ran(config.model_copy(update={"seed": 1}), tmp_path / "other")
    assert torch.equal(training.weights(whole), training.weights(fresh))
    assert torch.equal(training.weights(whole), training.weights(again))
    assert not torch.equal(training.weights(whole), training.weights(other))
    ids = torch.arange(4, 10)[None]
    with torch.no_grad():
        expected = whole.model.eval()(input_ids=ids).logits
        run.save(whole, tmp_path / "model")
        lm = models.load(str(tmp_path / "model"), device="cpu")
        torch.testing.assert_close(lm.model(input_ids=ids).logits, expected)


def test_a_reward_is_the_mark_and_credit_for_form() -> None:
    task = OwnTask([Prompt("a", "p")], ["x"], lambda completion, answer: {"x": True, "y": False}.get(completion))
    answers = {"of an earlier batch": "1"}
    functions = run.reward_functions(task, 0.25, answers, {1})
    assert [one.__name__ for one in functions] == ["correct", "well_formed"]
    given = {"completions": ["x ", [{"role": "assistant", "content": "y"}], "?"], "place": [0, 0, 0]}
    given["completion_ids"] = [[5, 1], [5, 1], [5, 1]]
    assert [one(**given) for one in functions] == [[1.0, 0.0, None], [0.25, 0.25, 0.0]]
    assert answers == {"x": "x", "y": "y", "?": "?"}
    assert len(run.reward_functions(task, 0.0, {}, {1})) == 1


def test_the_verifier_is_told_of_what_trl_counts_as_clipped(tmp_path: Path, monkeypatch) -> None:
    told: list[bool] = []
    plain = CountdownTask.marks

    def marks(self: CountdownTask, places: Any, texts: Any, is_finished: Any) -> Any:
        told.extend(is_finished)
        return plain(self, places, texts, is_finished)

    monkeypatch.setattr(CountdownTask, "marks", marks)
    trained = ran(config_of(steps=2, temperature=1.5), tmp_path, "none")
    clipped = next(row["completions/clipped_ratio"] for row in trained.state.log_history)
    assert len(told) == 8
    assert 0 < clipped == 1 - np.mean(told) < 1


def test_a_method_that_counts_answers_gets_those_of_the_verifier_and_not_the_reasoning(tmp_path: Path) -> None:
    (problem,) = countdown.distinct(SETTINGS, np.random.default_rng(0), 1)
    task = CountdownTask([problem], operators=SETTINGS.operators, text_format="chat")
    trained = run.make_trainer(
        config_of(method="ips", parameters={}), str(saved_model()), Problems(task, None, []), tmp_path
    )
    texts = [f"<think>{thought}</think> <answer>1 + {number}</answer>" for thought, number in ("a2", "b2", "c3")]
    trained.reward_funcs[0](texts, [[1], [1], [1]], [0, 0, 0])
    same, also, other = map(trained.answer_of, texts)
    assert same == also != other
    assert trained.answer_of(" no answer ") == "no answer"
