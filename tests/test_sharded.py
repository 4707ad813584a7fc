"""A model divided over two processes with gloo (FSDP2), in the environment that accelerate makes of the example file.

accelerate divides models over GPUs only: here it is told that the two processes have some. No GPU was there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.sampling import evaluate, models
from sharpening.llm.training import run
from sharpening.llm.training.configs import RunConfig
from tests import training
from tests.language_models import saved_model
from tests.test_train import config_of, problems
from tests.test_trainer_processes import ENVIRONMENT, ROOT
from tests.tolerances import PADDED, TRAINED

pytestmark = [*training.QUIET, pytest.mark.slow]
CONFIG = ROOT / "examples" / "accelerate" / "fsdp2.yaml"
KINDS: dict[str, dict[str, Any]] = {"all weights": {}, "adapters": {"lora_rank": 2}}
LOOKS = ("exact", "sampled")


def config(kind: str, model: str) -> RunConfig:
    """Four updates, with looks at held-out problems on the way and a checkpoint after two."""
    return config_of(
        **KINDS[kind], model=model, updates_per_batch=1, steps=4, group_size=4, prompts_per_step=2, micro_batch=4
    )


def environment(**more: str) -> dict[str, str]:
    """What accelerate sets for the processes that it launches with the example file."""
    launch = pytest.importorskip("accelerate.commands.launch")
    from accelerate.utils.launch import prepare_multi_gpu_env

    arguments = launch.launch_command_parser().parse_args(["--config_file", str(CONFIG), "paper_repro.py"])
    arguments, *_ = launch._validate_launch_command(arguments)
    made = prepare_multi_gpu_env(arguments)
    chosen = {name: value for name, value in made.items() if name.startswith(("FSDP_", "ACCELERATE_"))}
    return os.environ | chosen | ENVIRONMENT | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"} | more


def launched(folder: Path, *arguments: str, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run([*command, *arguments], cwd=folder, env=given, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes trained: divided, divided and resumed, and each with all weights."""
    made = tmp_path_factory.mktemp("sharded")
    (made / "train.py").write_text(
        "import sys\nfrom pathlib import Path\n\nfrom tests import test_sharded\n\n"
        "test_sharded.train_all(Path(sys.argv[1]), sys.argv[2])\n"
    )
    for name, given in (("divided", environment()), ("whole", environment(ACCELERATE_USE_FSDP="false"))):
        (made / name).mkdir()
        done = launched(made, "train.py", name, str(saved_model()), given=given)
        assert done.returncode == 0, done.stderr[-4000:]
    return made


def divide_on_cpus() -> None:
    """Has accelerate take processes with gloo for processes with a GPU each, while all stays on CPUs."""
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    begin = PartialState.__init__

    def begun(state: Any, *given: Any, **named: Any) -> None:
        begin(state, *given, **named)
        if state.distributed_type == DistributedType.MULTI_CPU:
            state.distributed_type = DistributedType.MULTI_GPU

    PartialState.__init__ = begun


def train_all(folder: Path, model: str) -> None:
    """Trains, evaluates, saves and resumes every kind in this process, one of two; keeps what can be compared."""
    if folder.name == "divided":
        divide_on_cpus()
    for kind in KINDS:
        for look in LOOKS:
            first: list[evaluate.Row] = []
            chosen = config(kind, model)
            place = folder / f"{kind} {look}"
            trained = run.make_trainer(chosen, model, problems(look), place, first.extend)
            assert trained.is_fsdp_enabled == (folder.name == "divided")
            run.run(trained, chosen, None)
            assert min(row["grad_norm"] for row in trained.state.log_history if "grad_norm" in row) > 0
            run.save(trained, place / "model")
            looks = [row for row in trained.state.log_history if any(name.startswith("held_out") for name in row)]
            texts = [row["completion"] for row in first]
            (folder / f"{kind} {look} {os.environ['RANK']}.json").write_text(json.dumps([looks, texts]))
        if kind == "adapters":
            run.save(trained, folder / "alone", merges=False)
        place = folder / f"{kind} exact"
        again = run.make_trainer(chosen, model, problems("exact"), folder / f"{kind} again")
        run.run(again, chosen, place / "checkpoint-2")
        run.save(again, folder / f"{kind} again" / "model")


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(models.load(str(path), device="cpu").model.named_parameters())


def looks_of(folder: Path, kind: str, look: str, rank: int = 0) -> Any:
    return json.loads((folder / f"{kind} {look} {rank}.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_divided_model_ends_with_the_weights_of_a_whole_one(folder: Path, kind: str) -> None:
    divided, whole = (weights_of(folder / name / f"{kind} exact" / "model") for name in ("divided", "whole"))
    start = weights_of(saved_model())
    assert any(not torch.equal(divided[name], start[name]) for name in start)
    for name, values in whole.items():
        torch.testing.assert_close(divided[name], values, rtol=0, atol=TRAINED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_divided_model_goes_on_from_a_checkpoint(folder: Path, kind: str) -> None:
    resumed = weights_of(folder / "divided" / f"{kind} again" / "model")
    for name, values in weights_of(folder / "divided" / f"{kind} exact" / "model").items():
        torch.testing.assert_close(resumed[name], values, rtol=0, atol=TRAINED)


def test_adapters_of_a_divided_model_are_saved_alone(folder: Path) -> None:
    alone, merged = (weights_of(folder / "divided" / name) for name in ("alone", "adapters sampled/model"))
    for name, values in merged.items():
        torch.testing.assert_close(alone[name], values, rtol=0, atol=TRAINED)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_process_knows_the_same_of_held_out_problems_as_one_alone(folder: Path, kind: str, look: str) -> None:
    both = [looks_of(folder / name, kind, look, rank) for name in ("divided", "whole") for rank in (0, 1)]
    assert len(both[0][0]) == 3  # before, after two updates, and after the last
    for looks, texts in both[1:]:
        assert texts == both[0][1]
        for one, other in zip(looks, both[0][0], strict=True):
            assert one == pytest.approx(other, rel=PADDED)
