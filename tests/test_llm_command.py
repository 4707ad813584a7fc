"""`llm` as a stranger runs it: good input, bad input, a second time, stopped and damaged runs, several processes."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from sharpening.commands import llm as llm_command
from sharpening.figures.tables import training as training_tables
from sharpening.llm.sampling import evaluate, models
from sharpening.llm.tasks import Prompt
from sharpening.llm.training import configs, preflight, trainer
from sharpening.llm.training import run as train
from sharpening.storage import store
from tests import command_line, training
from tests.command_line import Run, only_run
from tests.language_models import byte_model, saved, saved_model

ROOT = Path(__file__).resolve().parent.parent
MATH = ROOT / "examples" / "math_problems.jsonl"
pytestmark = training.QUIET
RUN: dict[str, Any] = {
    **dict(model="model", parameters={"gamma_correct": 0.2}, num_problems=20, group_size=4, prompts_per_step=4),
    **dict(micro_batch=16, steps=4, save_every=2, evaluate_every=2, evaluation_problems=3, max_tokens=6),
    **dict(learning_rate=1e-3),
}
OWN: dict[str, Any] = {**RUN, "task": "own", "problems": "own.jsonl", "problem_column": "prompt"}
OWN |= {"verifier": "verifier.py:even", "solution_column": "solution"}
VERIFIERS = """
def even(completion, answer):
    return None if not completion else len(completion) % 2 == 0
def fails(completion, answer):
    return 1 / 0
def three(completion, answer):
    return 3
def word(completion, answer):
    return "True"
def leaves(completion, answer):
    raise SystemExit(3)
def nan(reward):
    return reward * float("nan")
def never(completion, answer):
    return False
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, configurations, data and verifiers."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_model(), tmp_path / "model")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(RUN))
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(OWN))
    lines = [{"prompt": f"numbers 1 2 target {n}", "answer": n, "solution": "1 2 "} for n in range(1, 9)]
    (tmp_path / "own.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    others = [{"prompt": f"numbers 2 1 target {n}", "answer": n} for n in range(1, 5)]
    (tmp_path / "others.jsonl").write_text("\n".join(map(json.dumps, others)))
    (tmp_path / "verifier.py").write_text(VERIFIERS)
    (tmp_path / "file").write_text("kept")
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd, "llm")


def weights(folder: str) -> bytes:
    return (Path(folder) / "model" / "model.safetensors").read_bytes()


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}


# good input


def test_a_run_is_stored_once_with_the_same_bytes_wherever_it_is_run(here, run, monkeypatch) -> None:
    done = run("run.yaml", "--folder", "first")
    assert (done.status, done.err) == (0, "")
    stored = only_run(here / "results")
    assert done.out.startswith("BEFORE TRAINING, A COMPLETION OF EACH OF THE FIRST PROMPTS\n")
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
    assert (found.status, found.err) == (0, "")
    assert found.out == done.out[done.out.index("\n" + 20 * " ") + 1 :]


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
    before = names(here)
    done = run("run.yaml", "--dry-run", "--set", "steps=8", "parameters.gamma_incorrect=1e-2", "--seed", "3")
    assert (done.status, done.err) == (0, "")
    plan, _, text = done.out.partition("\n\n")
    assert "20 prompts of at most 6 tokens; 128 completions of at most 6 tokens in 8 updates" in plan
    assert "the verifier on 20 known solutions" in plan
    assert names(here) == before
    (here / "printed.yaml").write_text(text)
    config = configs.named_or_read("printed.yaml", {})
    assert (config.steps, config.seed, config.parameters) == (8, 3, {"gamma_correct": 0.2, "gamma_incorrect": 0.01})


def test_the_named_configurations_are_listed(run) -> None:
    done = run("--list")
    assert (done.status, done.out) == (0, training_tables.listing(configs.CONFIGS, configs.NOT_TRIED) + "\n")


# stopped and damaged runs


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


def test_a_run_asked_to_end_exits_with_143_and_goes_on_to_the_same_rows(here, run) -> None:
    words = ("run.yaml", "--set", "steps=40", "save_every=10", "evaluate_every=20", "--folder", "stopped")
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    process = subprocess.Popen(
        [sys.executable, ROOT / "paper_repro.py", "llm", *words], env=environment, stdout=-1, stderr=-1, text=True
    )
    while not (here / "stopped" / "checkpoint-10" / "checksums.json").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    (step,) = re.findall(r"^sharpening: stopped after (\d+) of 40 steps: the same command goes on from there$", err)
    assert not (here / "results").exists()
    done = run(*words)
    assert (done.status, done.err) == (0, f"note: goes on from stopped/checkpoint-{step}\n")
    assert run(*words[:-1], "whole", "--out", "other").status == 0
    assert (only_run(here / "results") / "rows.csv").read_bytes() == (
        only_run(here / "other") / "rows.csv"
    ).read_bytes()
    assert weights("stopped") == weights("whole")


def test_another_run_in_the_folder_is_refused_and_left_alone(here, run) -> None:
    assert run("run.yaml", "--folder", "first", "--set", "steps=2").status == 0
    before = {path: path.read_bytes() for path in (here / "first").rglob("*") if path.is_file()}
    done = run("run.yaml", "--folder", "first")
    assert done.status == 2
    assert done.err == (
        "sharpening: --folder: 'first': another run is there, see its config.yaml, or a file that it names has "
        "changed: want a new folder\n"
    )
    assert {path: path.read_bytes() for path in (here / "first").rglob("*") if path.is_file()} == before
    with llm_command._alone_in(here / "first"):  # as another process that trains there
        done = run("run.yaml", "--folder", "first", "--set", "steps=2", "--out", "elsewhere")
    assert (done.status, done.out) == (2, "")
    assert done.err == "sharpening: first: another process is at work on this run: want to wait for it\n"


def test_a_process_that_is_not_the_first_prints_and_stores_nothing(here, run, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    done = run("run.yaml", "--folder", "first", "--set", "steps=2")
    assert done == (0, "", "")
    assert not (here / "results").exists()


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

    def spy(self: Any, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
        rows = zip(batch["prompt_ids"], batch["prompt_mask"], strict=True)
        seen.update(tuple(ids[mask > 0].tolist()) for ids, mask in rows)
        return forward(self, batch)

    def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
        ids = plain(tokenizer, prompt)
        wanted.add(tuple(ids))
        return ids

    plain = models.prompt_ids
    monkeypatch.setattr(trainer._WithMethod, "_token_log_probs", spy)
    monkeypatch.setattr(models, "prompt_ids", prompt_ids)
    given = {**RUN, "model": "bytes", "evaluation_samples": 2, "steps": 2, "num_problems": 6, **of_task[task]}
    (here / "bytes.yaml").write_text(yaml.safe_dump(given))
    done = run("bytes.yaml")
    assert (done.status, done.err) == (0, "")
    assert "held-out pass@2" in done.out
    assert len(seen) >= 4
    assert seen <= wanted
    shown = lm.tokenizer.decode(next(iter(seen)))
    assert shown.startswith("[") == shown.endswith(">") == (template is not None)


# bad input


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "CONFIG: want a YAML file or one of smoke, "),
        (("nothing",), "CONFIG: 'nothing': want a YAML file or one of smoke, "),
        (("none.yaml",), "none.yaml: cannot be read: "),
        (("run.yaml", "--set", "steps"), "--set: 'steps': want FIELD=VALUE, e.g. "),
        (("run.yaml", "--set", "step=3"), "run.yaml: step: '3': Extra inputs are not permitted: want one of model"),
        (("run.yaml", "--set", "steps=x"), "run.yaml: steps: 'x': "),
        (("run.yaml", "--set", "micro_batch=7"), "run.yaml: micro_batch: 7: want a divisor of "),
        (("run.yaml", "--set", "parameters.gama=7"), "run.yaml: 'gama' is not a parameter of ds: "),
        (("run.yaml", "--method", "missing.py:f"), "run.yaml: missing.py:f: there is no file 'missing.py'"),
        (("run.yaml", "--set", "countdown.nums=7"), "--set: 'nums=7': want NAME=VALUE with one of "),
        (("run.yaml", "--set", "model=gone"), "model: 'gone': "),
        (("run.yaml", "--set", "problems=gone.jsonl"), "gone.jsonl: cannot be read: "),
        (("run.yaml", "--set", "method=pkpo", "parameters.k=5"), "run.yaml: group_size: 4: pkpo wants 5 or more"),
        (("run.yaml", "--folder", "file"), "--folder: 'file': "),
        (("run.yaml", "--out", "file"), "--out: 'file': "),
        (("own.yaml", "--set", "verifier=gone.py:f"), "gone.py: cannot be read: "),
        (("own.yaml", "--set", "verifier=verifier.py:g"), "verifier.py:g: the file has no function 'g', it has even"),
        (("own.yaml", "--set", "verifier=verifier.py:fails"), "verifier: prompt line 1: it raised ZeroDivisionError: "),
        (("own.yaml", "--set", "verifier=verifier.py:three"), "verifier: prompt line 1: it returned 3: want True, "),
        (("own.yaml", "--set", "verifier=verifier.py:three", "solution_column="), "verifier: prompt line 1: it "),
        (("own.yaml", "--set", "verifier=verifier.py:word"), "verifier: prompt line 1: it returned 'True': want True"),
        (("own.yaml", "--set", "verifier=verifier.py:never"), "verifier: it does not accept the known solution of "),
        (("run.yaml", "--folder", "model"), "--folder: 'model': it has files that are not of a run: want a new or "),
        (("own.yaml", "--set", "verifier=verifier.py:leaves"), "verifier: prompt line 1: it raised SystemExit: 3"),
        (("run.yaml", "--method", "verifier.py:nan"), "method: verifier.py:nan: it gave an advantage that is NaN "),
        (("own.yaml", "--set", "held_out=gone.jsonl"), "gone.jsonl: cannot be read: "),
        (("own.yaml", "--set", "held_out=own.jsonl"), "held_out: 'line 1': it is 'line 1' of problems: want prompts "),
        (("own.yaml", "--set", "problem_column=text"), "own.jsonl line 1: no column 'text': found prompt, answer"),
        (("own.yaml", "--set", "solution_column=text"), "own.jsonl: solution_column: 'text': no line has it: want one"),
        (("own.yaml", "--set", "problems=verifier.py"), "verifier.py line 2: it is not JSON: want one object per line"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(here, run, words: tuple[str, ...], message: str) -> None:
    before = names(here)
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"sharpening: {message}")
    assert done.err.count("\n") == 1
    assert names(here) == before


def break_tokenizer(here: Path, _: pytest.MonkeyPatch) -> None:
    path = here / "model" / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] = {("n" if word == "numbers" else word): at for word, at in _vocab(content).items()}
    path.write_text(json.dumps(content))


def _vocab(content: dict[str, Any]) -> dict[str, int]:
    return dict[str, int](content["model"]["vocab"])


def drop_weights(here: Path, _: pytest.MonkeyPatch) -> None:
    (here / "model" / "model.safetensors").rename(here / "model" / "pytorch_model.bin")


def drop_one_weight(here: Path, _: pytest.MonkeyPatch) -> None:
    from safetensors.torch import load_file, save_file

    path = here / "model" / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def no_memory(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(preflight, "memory_there", lambda: 2**20)


def no_disk(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(2**20, 2**20, 2**10))


def no_wandb(_: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setitem(preflight.LOGGERS, "wandb", lambda: False)


@pytest.mark.parametrize(
    ("breaks", "message"),
    [
        (break_tokenizer, "model: 'model': its tokenizer does not give back prompt "),
        (drop_weights, "model: 'model': its weights are pickle files (pytorch_model.bin), which can run code: refused"),
        (drop_one_weight, "model: 'model': its files lack 1 weights, such as model.norm.weight: want them all"),
        (no_memory, "memory: the run needs about 1.0 GiB, there are 0.0: want a smaller micro_batch, "),
        (no_disk, "disk: the run needs about 0.0 GiB, there are 0.0: want lora_rank, or a larger machine"),
        (no_wandb, "log_to: 'wandb': it is not installed: want `pip install wandb`, or none"),
    ],
)
def test_what_the_machine_or_the_model_lacks_is_said_before_anything_is_written(
    here, run, monkeypatch, breaks: Callable[[Path, pytest.MonkeyPatch], None], message: str
) -> None:
    breaks(here, monkeypatch)
    before = names(here)
    done = run("run.yaml", "--set", f"log_to={'wandb' if breaks is no_wandb else 'none'}")
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"sharpening: {message}")
    assert done.err.count("\n") == 1
    assert names(here) == before


def test_vllm_that_is_not_there_is_refused(here, run, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run("run.yaml", "--set", "vllm=true")
    assert (done.status, done.err) == (
        2,
        "sharpening: vllm: True: it is not installed: want `pip install vllm`, or false\n",
    )


def test_a_verifier_that_raises_in_training_stops_the_run_with_one_line(here, run) -> None:
    (here / "verifier.py").write_text("def f(completion, answer):\n    return completion in ('', '1 2') or 1 / 0\n")
    done = run("own.yaml", "--set", "verifier=verifier.py:f")
    assert done.status == 2
    assert re.fullmatch(
        r"sharpening: verifier: prompt line \d: it raised ZeroDivisionError: division by zero\n", done.err
    )


def test_memory_that_runs_out_in_the_first_completions_is_no_traceback(here, run, monkeypatch) -> None:
    def sampler(_: object) -> Callable[..., Any]:
        def draws(*_: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        return draws

    monkeypatch.setattr(evaluate, "transformers_sampler", sampler)
    done = run("run.yaml")
    assert done.status == 2
    assert done.err.count("\n") == 1
