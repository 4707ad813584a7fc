"""What `llm` refuses: one line that names the field, its value and what is allowed, before anything is written."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.sampling import evaluate
from sharpening.llm.training import preflight
from tests import command_line, llm_folder, training
from tests.command_line import Run
from tests.llm_folder import names

ROOT = Path(__file__).resolve().parent.parent
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "CONFIG: want a YAML file or one of smoke, "),
        (("nothing",), "CONFIG: 'nothing': want a YAML file or one of smoke, "),
        (("none.yaml",), "none.yaml: cannot be read: "),
        (("run.yaml", "--set", "steps"), "--set: 'steps': want FIELD=VALUE, e.g. "),
        (("run.yaml", "--set", "step=3"), "run.yaml: step: '3': there is no such field: did you mean steps? want "),
        (("run.yaml", "--set", "steps=x"), "run.yaml: steps: 'x': "),
        (("run.yaml", "--set", "micro_batch=7"), "run.yaml: micro_batch: 7: want a divisor of "),
        (("run.yaml", "--set", "parameters.gama=7"), "run.yaml: 'gama' is not a parameter of ds: "),
        (("run.yaml", "--method", "missing.py:f"), "run.yaml: missing.py:f: there is no file 'missing.py'"),
        (("run.yaml", "--set", "countdown.nums=7"), "countdown.nums: 7: unknown: want one of num_numbers, "),
        (("run.yaml", "--set", "countdown.split=test"), "countdown.split: 'test': want none: a run trains on the "),
        (("run.yaml", "--set", "problems=tests.jsonl"), "problems: 'tests.jsonl': all 1 belong to held-out splits: "),
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
        (
            ("run.yaml", "--method", "verifier.py:divides"),
            "method: verifier.py:divides: it gave an advantage that is NaN ",
        ),
        (("run.yaml", "--dry-run", "--method", "verifier.py:divides_by_likelihood"), "method: verifier.py:divides_by_"),
        (
            ("run.yaml", "--method", "verifier.py:breaks"),
            "verifier.py:breaks raises AttributeError in line 20 of its file: 'Tensor'",
        ),
        (
            ("run.yaml", "--set", "gamma_correct=.1"),
            "run.yaml: gamma_correct: '.1': there is no such field: it is a pa",
        ),
        (("run.yaml", "--set", "model=./modl"), "model: './modl': there is no such folder: did you mean model?"),
        (("run.yaml", "--set", "model=model/x"), "model: 'model/x': there is no such folder: want one with a model"),
        (("run.yaml", "--set", "model=who/knows"), "model: 'who/knows': there is no such folder, none in the hub's c"),
        (("run.yaml", "--folder", "/proc/nothing"), "--folder: '/proc/nothing': nothing can be written there: "),
        (("run.yaml", "--set", "adapter=model"), "adapter: 'model': want a folder with adapter_config.json and adap"),
        (("run.yaml", "--set", "adapter=a", "lora_rank=2"), "run.yaml: lora_rank: 2: want 0 with adapter, which has a"),
        (("run.yaml", "--set", "merge_adapters=false"), "run.yaml: merge_adapters: False: want lora_rank or adapter"),
        (("own.yaml", "--set", "held_out=gone.jsonl"), "gone.jsonl: cannot be read: "),
        (("own.yaml", "--set", "held_out=own.jsonl"), "held_out: 'line 1': it is 'line 1' of problems: want prompts "),
        (
            ("own.yaml", "--set", "problem_column=text"),
            "own.jsonl line 1: no column 'text': want it, found prompt, answer",
        ),
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
        (break_tokenizer, "model: 'model': its tokenizer gives back prompt "),
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
    def sampler(_: object, **__: object) -> Callable[..., Any]:
        def draws(*_: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

        return draws

    monkeypatch.setattr(evaluate, "transformers_sampler", sampler)
    done = run("run.yaml")
    assert done.status == 2
    *notes, last = [line.partition(":")[0] for line in done.err.splitlines()]
    assert (set(notes) <= {"note"}, last) == (True, "sharpening")  # a note where the term was large in what was drawn


def test_an_interruption_while_packages_are_imported_is_no_traceback(tmp_path) -> None:
    (tmp_path / "pydantic.py").write_text(
        "raise KeyboardInterrupt\n"
    )  # the first package that the command line imports
    command = [sys.executable, str(ROOT / "paper_repro.py"), "llm", "--list"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (128 + signal.SIGINT, "sharpening: interrupted\n")


def test_training_without_trl_is_one_line(here, run, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "trl", None)
    done = run("run.yaml")
    assert (done.status, done.err) == (2, "sharpening: this needs trl: want `pip install '.[llm]'` first\n")
