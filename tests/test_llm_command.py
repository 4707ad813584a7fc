"""`llm` as a stranger runs it: good input, bad input, a second time, stopped and damaged runs, several processes."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import yaml

from sharpening.commands import llm as llm_command
from sharpening.figures.tables import training as training_tables
from sharpening.llm.sampling import models
from sharpening.llm.tasks import Prompt
from sharpening.llm.training import checkpoints, configs, folder_lock, problems, trainer
from sharpening.llm.training import run as train
from sharpening.storage import store
from tests import command_line, llm_folder, training
from tests.command_line import Run, only_run
from tests.language_models import byte_model, saved

ROOT = Path(__file__).resolve().parent.parent
MATH = ROOT / "examples" / "math_problems.jsonl"
SMALL = "parameters.gamma_correct=0.01"  # a term below the advantage: a process of its own would say so
pytestmark = training.QUIET


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, configurations, data and verifiers."""
    monkeypatch.chdir(tmp_path)
    return llm_folder.fill(tmp_path)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd, "llm")


def weights(folder: str) -> bytes:
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


# good input


@pytest.mark.slow
def test_a_run_is_stored_once_with_the_same_bytes_wherever_it_is_run(here, run, monkeypatch) -> None:
    done = run("run.yaml", "--folder", "first")
    assert (done.status, done.err) == (0, "")
    stored = only_run(here / "results")
    assert done.out.startswith("log-probabilities of the sampling policy: the loss's own, at no cost: the term of")
    assert "\n\nBEFORE TRAINING, A COMPLETION OF EACH OF THE FIRST PROMPTS\n" in done.out
    assert done.out.endswith(f"\nrows:  {stored.relative_to(here) / 'rows.csv'}\nmodel: first/model\n")
    assert re.search(r"^ *held-out pass@8 +0 +\S+ +4 +\S+$", done.out, re.MULTILINE)
    assert {path.name for path in stored.iterdir()} >= {"rows.csv", "timing.csv", "config.yaml", "provenance.json"}
    assert configs.named_or_read(str(stored / "config.yaml"), {}) == configs.named_or_read("run.yaml", {})
    assert (stored / "config.yaml").read_text().startswith(f"# run {stored.name}\n")
    other = run("run.yaml", "--out", "elsewhere")
    again = only_run(here / "elsewhere")
    assert (other.status, again.name) == (0, stored.name)
    assert (again / "rows.csv").read_bytes() == (stored / "rows.csv").read_bytes()
    assert weights("first") == weights(f"runs/{stored.name}")
    monkeypatch.setattr(train, "make_trainer", None)
    found = run("run.yaml", "--folder", "first")
    assert (found.status, found.err) == (0, "note: this run is stored: nothing was trained\n")
    assert found.out == done.out[done.out.index("\n" + 20 * " ") + 1 :]
    monkeypatch.undo()
    monkeypatch.chdir(here)
    shutil.rmtree("first")
    lost = run("run.yaml", "--folder", "first")
    said = "note: this run is stored, but first/model is not there: it is trained again\n"
    assert (lost.status, lost.err) == (0, said)
    assert weights("first") == weights(f"runs/{stored.name}")


@pytest.mark.slow
def test_files_of_the_user_are_part_of_what_names_a_run(here, run) -> None:
    method = here / "method.py"
    method.write_text("def mine(reward, correct):\n    return reward - reward.mean(-1)[..., None]\n")
    words = ("own.yaml", "--method", "method.py:mine", "--set", "steps=2")
    done = run(*words)
    assert (done.status, done.err) == (0, "")
    assert "mean |term|" not in done.out
    for path in (method, here / "verifier.py", here / "own.jsonl"):
        path.write_text(path.read_text() + "\n")
        assert run(*words).status == 0
    assert len(store.list_runs(here / "results")) == 4


def test_a_dry_run_prints_a_plan_and_the_whole_configuration_and_writes_nothing(here, run) -> None:
    before = llm_folder.names(here)
    done = run("run.yaml", "--dry-run", "--set", "steps=8", "parameters.gamma_incorrect=1e-2", "--seed", "3")
    assert (done.status, done.err) == (0, "")
    plan, _, text = done.out.partition("\n\n")
    assert "20 prompts of at most 6 tokens; 128 completions of at most 6 tokens in 8 updates" in plan
    assert "the verifier on 20 known solutions" in plan
    assert llm_folder.names(here) == before
    (here / "printed.yaml").write_text(text)
    config = configs.named_or_read("printed.yaml", {})
    assert (config.steps, config.seed, config.parameters) == (8, 3, {"gamma_correct": 0.2, "gamma_incorrect": 0.01})


def test_an_adapter_to_start_from_is_named_by_its_bytes(here, run) -> None:
    model = models.load("model", device="cpu").model
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules="all-linear")).save_pretrained("adapter")
    done = run("run.yaml", "--set", "adapter=adapter", "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert "adapter: adapter" in done.out
    config = configs.named_or_read("run.yaml", {"adapter": "adapter"})
    first = llm_command._files(config)
    path = here / "adapter" / "adapter_model.safetensors"
    assert first == {"adapter": hashlib.sha256(path.read_bytes()).hexdigest()}


def test_the_named_configurations_are_listed(run) -> None:
    done = run("--list")
    assert (done.status, done.out) == (0, training_tables.listing(configs.CONFIGS, configs.NOT_TRIED) + "\n")


@pytest.mark.slow
def test_a_script_without_the_command_trains_the_same_model(here, run) -> None:
    assert run("run.yaml", "--folder", "by_command").status == 0
    config, folder = configs.named_or_read("run.yaml", {}), here / "by_script"
    folder.mkdir()
    with problems.opened(config, "model") as found, folder_lock.alone_in(folder):
        trained = train.make_trainer(config, "model", found, folder)
        train.run(trained, config, checkpoints.last(folder)[0])
        train.save(trained, folder / "model")
    assert weights("by_script") == weights("by_command")
    assert [len(one.prompts) for one in (found.train, found.held_out)] == [20, 3]


def test_without_a_number_all_problems_that_exist_are_trained_on(here) -> None:
    with problems.opened(configs.named_or_read("run.yaml", {"num_problems": 20}), "model") as found:
        assert len(found.train.prompts) == 20
    given = "".join(line for line in (here / "run.yaml").read_text().splitlines(True) if "num_problems" not in line)
    (here / "few.yaml").write_text(given)
    with problems.opened(configs.named_or_read("few.yaml", {}), "model") as found:
        num = len(found.train.prompts)
    assert 20 < num < 2000
    config = configs.named_or_read("few.yaml", {"num_problems": 2000})
    with (
        pytest.raises(ValueError, match=f"^num_problems: 2000: found {num} distinct"),
        problems.opened(config, "model"),
    ):
        pass


# stopped and damaged runs


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_run_ends_with_the_same_bytes(here, run) -> None:
    assert run("run.yaml", "--folder", "first").status == 0
    stored = only_run(here / "results")
    rows, model = (stored / "rows.csv").read_bytes(), weights("first")
    shutil.rmtree(stored)
    shutil.rmtree("first/model")
    os.truncate("first/checkpoint-4/optimizer.pt", 100)
    done = run("run.yaml", "--folder", "first")
    assert done.status == 0
    assert done.err == (
        "note: first: checkpoint-4 does not count: optimizer.pt differs from its checksum\n"
        "note: goes on from first/checkpoint-2\n"
    )
    assert (stored / "rows.csv").read_bytes() == rows
    assert weights("first") == model


@pytest.mark.slow
def test_a_run_asked_to_end_exits_with_143_and_goes_on_to_the_same_rows(here, run) -> None:
    words = ("run.yaml", "--set", "steps=40", "save_every=10", "evaluate_every=20", SMALL, "--folder", "stopped")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "paper_repro.py", "llm", *words], env=environment, stdout=-1, stderr=-1, text=True
    )
    while not (here / "stopped" / "checkpoint-10" / "checksums.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    (step,) = re.findall(r"^sharpening: stopped after (\d+) of 40 steps: the same command goes on from there$", err)
    shown, rows = out, store.read_rows(here / "stopped" / "rows.csv")
    assert re.search(rf"^ *reward +1 +\S+ +{step} +\S+$", shown, re.MULTILINE)
    assert shown.endswith("\nrows:  stopped/rows.csv\n")
    assert not (here / "results").exists()
    done = run(*words)
    assert (done.status, done.err) == (0, f"note: goes on from stopped/checkpoint-{step}\n")
    assert run(*words[:-1], "whole", "--out", "other").status == 0
    assert (only_run(here / "results") / "rows.csv").read_bytes() == (
        only_run(here / "other") / "rows.csv"
    ).read_bytes()
    assert weights("stopped") == weights("whole")
    whole = store.read_rows(here / "whole" / "rows.csv")
    assert rows == [row for row in whole if row["step"] <= int(step)]
    assert store.read_rows(here / "stopped" / "rows.csv") == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("--set", "learning_rate=1e-4"), "learning_rate is 0.001 there and 0.0001 here"),
        (
            ("--set", "parameters.gamma_correct=.1", "--seed", "3"),
            "parameters.gamma_correct is 0.2 there and 0.1 here, as 1",
        ),
        (("processes",), "num_processes is 1 there and 2 here"),
        (("own.jsonl",), "files.problems has changed"),
        (("model/extra.json",), "weights.sha256 has changed"),
    ],
)
def test_another_run_in_the_folder_is_named_and_left_alone(here, run, monkeypatch, changes, message: str) -> None:
    words = ("own.yaml", "--folder", "first", "--set", "steps=2")
    assert run(*words).status == 0
    before = {path: path.read_bytes() for path in (here / "first").rglob("*") if path.is_file()}
    if changes == ("processes",):
        monkeypatch.setenv("WORLD_SIZE", "2")
        monkeypatch.setattr(train, "make_trainer", None)
    elif len(changes) == 1:
        with (here / changes[0]).open("a") as stream:
            stream.write("\n")
    done = run(*words, *(changes if len(changes) > 1 else ()))
    assert done.status == 2
    assert done.err.startswith(f"sharpening: --folder: 'first': another run is there: {message}")
    assert done.err.endswith(": want a new folder\n")
    assert {path: path.read_bytes() for path in (here / "first").rglob("*") if path.is_file()} == before


def test_a_folder_that_another_process_trains_in_is_refused(here, run) -> None:
    assert run("run.yaml", "--folder", "first", "--set", "steps=2").status == 0
    with folder_lock.alone_in(here / "first"):  # as another process that trains there
        done = run("run.yaml", "--folder", "first", "--set", "steps=2", "--out", "elsewhere")
    assert (done.status, done.out) == (2, "")
    assert done.err.endswith("sharpening: first: another process is at work on this run: want to wait for it\n")


@pytest.mark.slow
@pytest.mark.parametrize("often", [(), ("--set", "evaluate_every=4")])
def test_a_run_that_ended_goes_on_to_more_steps_and_to_no_fewer(here, run, often) -> None:
    """The look after what was its last step is forgotten where a run of more steps would not have looked."""
    assert run("run.yaml", "--folder", "longer", "--set", "steps=2", *often[1:]).status == 0
    done = run("run.yaml", "--folder", "longer", *often)
    assert (done.status, done.err) == (0, "note: goes on from longer/checkpoint-2\n")
    assert run("run.yaml", "--folder", "at_once", "--out", "elsewhere", *often).status == 0
    assert weights("longer") == weights("at_once")
    assert (here / "longer" / "rows.csv").read_bytes() == (here / "at_once" / "rows.csv").read_bytes()
    fewer = run("run.yaml", "--folder", "longer", "--set", "steps=2", *often[1:], "--out", "third")
    assert (fewer.status, fewer.err) == (
        2,
        "sharpening: steps: 2: longer has made 4: want as many or more, or a new folder\n",
    )


def test_a_run_whose_rate_falls_to_its_end_does_not_go_on_to_more_steps(here, run) -> None:
    words = ("run.yaml", "--folder", "first", "--set", "trl.lr_scheduler_type=linear")
    assert run(*words, "steps=2").status == 0
    done = run(*words)
    assert done.status == 2
    assert "--folder: 'first': another run is there: steps is 2 there and 4 here: want a new folder" in done.err


def of_the_store(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a run's folder without those that `live` alone reads."""
    return [row for row in rows if row["quantity"] != "method/wrong_share"]


@pytest.mark.slow
def test_how_far_a_run_is_is_said_without_a_terminal_and_its_rows_are_there_at_once(here, run, monkeypatch) -> None:
    monkeypatch.setattr(llm_command, "SECONDS", 0.0)
    seen = []

    def completed(path: Path) -> None:
        rows = store.read_rows(path.parent / "rows.csv")
        seen.append(max(row["step"] for row in rows if row["quantity"] == "reward"))
        complete(path)

    complete = checkpoints.complete
    monkeypatch.setattr(checkpoints, "complete", completed)
    done = run("run.yaml", "--folder", "first")
    assert done.status == 0
    lines = re.findall(
        r"^step (\d) of 4, reward (\S+), held-out pass@1 (\S+), about \d+ s left$", done.err, re.MULTILINE
    )
    rows = store.read_rows(only_run(here / "results") / "rows.csv")
    rewards = {row["step"]: f"{row['value']:.3f}" for row in rows if row["quantity"] == "reward"}
    assert {int(step): reward for step, reward, _ in lines} == rewards
    assert of_the_store(store.read_rows(here / "first" / "rows.csv")) == rows
    assert seen == [2, 4]


def test_a_process_that_is_not_the_first_prints_and_stores_nothing(here, run, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    done = run("run.yaml", "--folder", "first", "--set", "steps=2")
    assert done == (0, "", "")
    assert not (here / "results").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "ks"), [(16, (1, 8, 16)), (3, (1, 3))])
def test_held_out_prompts_of_ones_own_are_sampled(here, run, number: int, ks: tuple[int, ...]) -> None:
    words = ("--set", "held_out=others.jsonl", f"evaluation_samples={number}", "evaluation_problems=3")
    done = run("own.yaml", *words)
    assert (done.status, done.err) == (0, "")
    rows = store.read_rows(only_run(here / "results") / "rows.csv")
    found = {(row["step"], row["quantity"]): row["value"] for row in rows if row["quantity"].startswith("held_out/")}
    assert set(found) == {(step, f"held_out/pass@{k}") for step in (0, 2, 4) for k in ks}
    assert all(0 <= value <= 1 for value in found.values())
    assert [found[0, f"held_out/pass@{k}"] for k in ks] == sorted(found[0, f"held_out/pass@{k}"] for k in ks)
    shown = [line.split()[1] for line in done.out.splitlines() if "held-out" in line]
    assert shown == [f"pass@{k}" for k in ks]


@pytest.mark.slow
@pytest.mark.parametrize("template", [None, "{% for part in messages %}[{{ part['content'] }}]{% endfor %}>"])
@pytest.mark.parametrize("task", ["math", "chat"])
def test_messages_are_the_same_tokens_in_training_and_evaluation(here, run, monkeypatch, task: str, template) -> None:
    """Mathematics and chat Countdown in bytes, with and without a chat template."""
    lm = byte_model()
    monkeypatch.setattr(lm.tokenizer, "chat_template", template)
    shutil.copytree(saved(lm), here / "bytes")
    rows = MATH.read_text().splitlines()
    (here / "train.jsonl").write_text("\n".join(rows[:6]))
    (here / "others.jsonl").write_text("\n".join(rows[6:8]))
    of_task = {
        "math": dict(task="math", problems="train.jsonl", held_out="others.jsonl"),
        "chat": dict(text_format="chat", countdown=dict(num_numbers=2, operators="+")),
    }
    seen, wanted = set(), set()
    forward = trainer._WithMethod._token_log_probs

    def spy(self: Any, batch: dict[str, Any], *more: Any, **named: Any) -> dict[str, torch.Tensor]:
        rows = zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
        seen.update(tuple(ids[mask > 0].tolist()) for ids, mask in rows)
        return forward(self, batch, *more, **named)

    def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
        ids = plain(tokenizer, prompt)
        wanted.add(tuple(ids))
        return ids

    plain = models.prompt_ids
    monkeypatch.setattr(trainer._WithMethod, "_token_log_probs", spy)
    monkeypatch.setattr(models, "prompt_ids", prompt_ids)
    given = {
        **llm_folder.RUN,
        "model": "bytes",
        "evaluation_samples": 2,
        "steps": 2,
        "num_problems": 6,
        **of_task[task],
    }
    (here / "bytes.yaml").write_text(yaml.safe_dump(given))
    done = run("bytes.yaml")
    assert (done.status, done.err) == (0, "")
    assert "held-out pass@2" in done.out
    assert len(seen) >= 4
    assert seen <= wanted
    shown = lm.tokenizer.decode(next(iter(seen)))
    assert shown.startswith("[") == shown.endswith(">") == (template is not None)
