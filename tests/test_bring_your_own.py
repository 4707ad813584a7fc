"""The page `examples/bring_your_own.md`, followed by pasting: its commands in one folder, its script in another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sharpening.llm import own_task
from sharpening.storage import store

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "examples" / "bring_your_own.md").read_text(encoding="utf-8")
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
FOLLOW = """
import shlex, sys
from sharpening import cli
for line in sys.stdin:
    program, script, *words = shlex.split(line)
    assert (program, script) == ("python", "paper_repro.py")
    print("$", line, end="", flush=True)
    status = cli.main(words)
    assert status == 0, (line, status)
"""
TINY = """
import datasets
from examples.own_verifier import is_correct

def your_reward(completions, answer, **_):
    return [float(is_correct(*pair)) for pair in zip(completions, answer)]

def small(**given):
    return GRPOConfig(**given, use_cpu=True, bf16=False, max_steps=2, logging_steps=1, per_device_train_batch_size=16,
                      max_completion_length=8, learning_rate=1e-3, top_k=0, save_strategy="no")

your_dataset = datasets.load_dataset("json", data_files=DATA, split="train")
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("bash") for line in block.splitlines() if not line.startswith("pip ")]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which every command was run, in the order of the page, and what they printed."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "examples").symlink_to(ROOT / "examples")
    command = [sys.executable, "-c", FOLLOW]
    text = "".join(f"{line}\n" for line in COMMANDS)
    text = text.replace("--preset smoke", "--preset smoke --set steps=60 batch=96")  # the only change: less time
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-2000:] + done.stderr[-2000:]
    return folder, done.stdout


def test_every_command_of_the_page_runs_and_prints_no_error(followed) -> None:
    folder, said = followed
    assert {line.split()[2] for line in COMMANDS} == {"warm-start", "check-shaper", "preview", "llm", "audit"}
    assert [line[2:] for line in said.splitlines() if line.startswith("$ ")][1:] == COMMANDS[1:]
    assert all(not store.verify_run(run) for run in store.list_runs(folder / "results"))
    assert (folder / "runs" / "own" / "model" / "model.safetensors").is_file()


def test_the_dry_run_says_what_the_page_promises(followed) -> None:
    _, said = followed
    plan = said.partition("llm examples/own_run.yaml --dry-run\n")[2].partition("\n$ ")[0]
    for words in (
        "the verifier on 20 known solutions",
        "\nmemory: about ",
        "\ndisk: about ",
        "\nverifier: examples/own_",
    ):
        assert words in plan


def test_the_line_of_data_on_the_page_is_in_the_file_and_its_solutions_are_correct() -> None:
    path = ROOT / "examples" / "own_prompts.jsonl"
    assert blocks("text")[0].strip() in path.read_text(encoding="utf-8").splitlines()
    verifier = own_task.load_verifier(f"{ROOT / 'examples' / 'own_verifier.py'}:is_correct")
    task = own_task.load(path, "prompt", "answer", verifier, solution_column="solution")
    assert {mark.correct for mark in task.marks(range(64), task.solutions)} == {1.0}
    assert {mark.correct for mark in task.marks(range(64), task.solutions[1:] + task.solutions[:1])} == {0.0}


def test_the_script_of_the_page_trains_from_another_folder(followed, tmp_path: Path) -> None:
    (script,) = blocks("python")
    model, data = followed[0] / "models" / "smoke", ROOT / "examples" / "own_prompts.jsonl"
    assert "GRPOConfig(output_dir" in script
    assert '"your/model"' in script
    script = script.replace("GRPOConfig(output_dir", "small(output_dir").replace('"your/model"', f'"{model}"')
    (tmp_path / "script.py").write_text(
        f"DATA = {str(data)!r}\n{TINY}\n{script}\n"
        "trainer.train()\nprint(sum('method/bonus_ratio' in entry for entry in trainer.state.log_history), 'steps')\n"
    )
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.endswith("\n2 steps\n")
