"""The same gradient however a batch is split: over two processes with a group on both, or over accumulation steps.

The two processes run a script as a user would write it, in a folder of its own with PYTHONPATH at the clone, which then
calls `write_gradients`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from tests import training
from tests.test_trainer import STRONG, completions
from tests.tolerances import SPLIT

pytestmark = training.QUIET
ROOT = Path(__file__).parents[1]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "grpo": ("grpo", {}),
    "ds": ("ds", STRONG | dict(normalise="std", placement="reward")),
    "by token": ("ds", STRONG | dict(reduction="token")),
    "answers": ("ips", {}),
}
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}


class Gradient(TrainerCallback):
    """Keeps the gradient of the last step."""

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        self.found = torch.cat([values.grad.flatten() for values in model.parameters()]).clone()


def gradient(case: str, folder: Path, per_device: int, accumulation: int) -> dict[str, Any]:
    """The gradient of one step on the 40 completions, the advantages in TRL's table and the logged metrics."""
    method, parameters = CASES[case]
    options = dict(per_device_train_batch_size=per_device, gradient_accumulation_steps=accumulation, max_grad_norm=0.0)
    options |= dict(functions=[training.correct, training.credit], replay=completions())
    made = training.make(method, folder, parameters, answer=lambda text: text[:1], **options)
    kept = Gradient()
    made.add_callback(kept)
    made.train()
    first = training.numbers(made.state.log_history[0])
    logged = {name: value for name, value in first.items() if name.startswith("method/")}
    return {"gradient": kept.found, "advantages": list(made._logs["advantages"]), "logged": logged}


def assert_same(observed: dict[str, Any], want: dict[str, Any]) -> None:
    assert want["gradient"].norm() > 0
    assert (observed["gradient"] - want["gradient"]).norm() < SPLIT * want["gradient"].norm()
    assert observed["advantages"] == pytest.approx(want["advantages"], rel=SPLIT, abs=SPLIT)
    assert observed["logged"] == pytest.approx(want["logged"], rel=SPLIT, abs=SPLIT, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_accumulation_gives_the_gradient_of_one_batch(tmp_path, case):
    assert_same(gradient(case, tmp_path, 8, 5), gradient(case, tmp_path, 40, 1))


FIVE_LINES = """
from sharpening.llm.training.trainer import grpo_options, with_method
options = grpo_options("ds")
Trainer = with_method(GRPOTrainer, "ds", {"gamma_correct": 0.05})
trainer = Trainer(model=model, reward_funcs=mark, args=GRPOConfig(**own, **options), train_dataset=data,
                  processing_class=tokenizer)
trainer.train()
"""
BEFORE = """
import torch
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
torch.set_num_threads(1)
model = "model"
tokenizer = AutoTokenizer.from_pretrained(model)
data = Dataset.from_list([{"prompt": "numbers 1 2 target 3"}] * 4)
own = dict(output_dir="out", use_cpu=True, bf16=False, max_steps=1, max_completion_length=4, logging_steps=1,
           per_device_train_batch_size=6, num_generations=4)

def mark(completions, **_):
    return [float("1" in text) for text in completions]
"""
AFTER = """
import os
from pathlib import Path
Path(f"logged-{os.environ['RANK']}.txt").write_text(" ".join(trainer.state.log_history[0]))
from tests.test_trainer_processes import write_gradients
write_gradients(Path())
"""


@pytest.fixture(scope="module")
def folder_of_two_processes(tmp_path_factory):
    """What a user's script in another folder leaves under torchrun, and after it the gradients."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "train.py").write_text(BEFORE + FIVE_LINES + AFTER)
    training.fresh_model().save_pretrained(folder / "model")
    training.language_model().tokenizer.save_pretrained(folder / "model")
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "train.py"]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *launch], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
def test_five_lines_in_a_script_of_ones_own_train_from_another_folder(folder_of_two_processes):
    logged = (folder_of_two_processes / "logged-0.txt").read_text().split()
    assert {"method/bonus_ratio", "method/correct", "entropy", "frac_reward_zero_std"} <= set(logged)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_that_share_a_group_give_the_gradient_of_one(folder_of_two_processes, tmp_path, case):
    first, second = (torch.load(folder_of_two_processes / f"{rank}.pt")[case] for rank in (0, 1))
    assert first["num_processes"] == 2
    assert torch.equal(first["gradient"], second["gradient"])
    assert_same(first, gradient(case, tmp_path, 40, 1))


def write_gradients(folder: Path) -> None:
    """What `gradient` gives in this process, one of several, for every case."""
    found = {}
    for case in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            found[case] = gradient(case, Path(scratch), 4, 5) | {"num_processes": int(os.environ["WORLD_SIZE"])}
    torch.save(found, folder / f"{os.environ['RANK']}.pt")
