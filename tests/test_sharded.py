"""A model divided over two processes with gloo, by FSDP2 and by DeepSpeed, as accelerate reads its example files.

By FSDP2 accelerate divides models over GPUs only: it is told that the two processes have some. No GPU was there.
DeepSpeed is in an environment of its own: `make test-deepspeed`.
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
from transformers.integrations.deepspeed import unset_hf_deepspeed_config

from sharpening.llm.sampling import evaluate, models
from sharpening.llm.training import run
from sharpening.llm.training.configs import RunConfig
from tests import training
from tests.language_models import saved_model
from tests.test_train import config_of, problems
from tests.test_trainer_processes import ENVIRONMENT, ROOT
from tests.tolerances import PADDED, TRAINED

pytestmark = [*training.QUIET, pytest.mark.slow]
CONFIGS = ROOT / "examples" / "accelerate"
ENGINES = ("fsdp2", pytest.param("zero3", marks=pytest.mark.deepspeed))
KINDS: dict[str, dict[str, Any]] = {
    "all weights": {"trl": {"adam_epsilon": 1e-5}},  # less, and Adam makes a step of the rounding of a gradient near 0
    "adapters": {"lora_rank": 2},
    "by SGD, in parts": {"micro_batch": 2, "learning_rate": 0.1, "trl": {"optim": "sgd", "max_grad_norm": 0.3}},
}
ADAM = ("all weights", "adapters")  # torch cannot divide the state of SGD, which has none
LOOKS = ("exact", "sampled")


def config(kind: str, model: str) -> RunConfig:
    """Four updates, with looks at held-out problems on the way and a checkpoint after two."""
    common = dict(model=model, updates_per_batch=1, steps=4, group_size=4, prompts_per_step=2, micro_batch=4)
    return config_of(**(common | KINDS[kind]))


def environment(engine: str) -> dict[str, str]:
    """What accelerate sets for the processes that it launches with an example file; of no engine, with none."""
    given = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    if engine == "whole":
        return given | {"ACCELERATE_USE_CPU": "true"}
    launch = pytest.importorskip("accelerate.commands.launch")
    from accelerate.utils import launch as environments

    file = ["--config_file", str(CONFIGS / f"{engine}.yaml"), "--main_process_port", "0", "paper_repro.py"]
    arguments, defaults, _ = launch._validate_launch_command(launch.launch_command_parser().parse_args(file))
    if engine == "zero3":
        arguments.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        made, more = environments.prepare_deepspeed_cmd_env(arguments)[1], {"DS_ACCELERATOR": "cpu"}
    else:  # by this accelerate would not ask DeepSpeed
        made, more = environments.prepare_multi_gpu_env(arguments), {"ACCELERATE_USE_CPU": "true"}
    chosen = {name: value for name, value in made.items() if name.startswith(("FSDP_", "ACCELERATE_"))}
    return given | chosen | more


def launched(folder: Path, *arguments: str, given: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    return subprocess.run([*command, *arguments], cwd=folder, env=given, capture_output=True, text=True, check=False)


def trained_in(made: Path, engine: str) -> Path:
    """Where two processes trained with an engine, also after a stop."""
    (made / "train.py").write_text(
        "import sys\nfrom pathlib import Path\n\nfrom tests import test_sharded\n\n"
        "test_sharded.train_all(Path(sys.argv[1]), sys.argv[2])\n"
    )
    (made / engine).mkdir()
    done = launched(made, "train.py", engine, str(saved_model()), given=environment(engine))
    assert done.returncode == 0, done.stderr[-4000:]
    return made / engine


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where each of two processes had all weights."""
    return trained_in(tmp_path_factory.mktemp("sharded"), "whole")


@pytest.fixture(scope="module", params=ENGINES)
def divided(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where they were divided."""
    return trained_in(tmp_path_factory.mktemp("sharded"), request.param)


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
    if folder.name == "fsdp2":
        divide_on_cpus()
    for kind in KINDS:
        for look in LOOKS:
            first: list[evaluate.Row] = []
            chosen = config(kind, model)
            place = folder / f"{kind} {look}"
            trained = made_anew(chosen, look, place, first.extend)
            run.run(trained, chosen, None)
            assert is_divided(trained) == (folder.name != "whole")
            assert min(row["grad_norm"] for row in trained.state.log_history if "grad_norm" in row) > 0
            run.save(trained, place / "model")
            looks = [row for row in trained.state.log_history if any(name.startswith("held_out") for name in row)]
            texts = [row["completion"] for row in first]
            (folder / f"{kind} {look} {os.environ['RANK']}.json").write_text(json.dumps([looks, texts]))
        if kind == "adapters":
            run.save(trained, folder / "alone", merges=False)
        for name, last in (("again", 2), ("opened", 4)) if kind in ADAM else ():
            again = made_anew(chosen, "exact", folder / f"{kind} {name}")
            run.run(again, chosen, folder / f"{kind} exact" / f"checkpoint-{last}")
            run.save(again, folder / f"{kind} {name}" / "model")


def made_anew(config: RunConfig, look: str, folder: Path, show: Any = None) -> Any:
    """A trainer as in a process of its own: transformers remembers ZeRO-3 and would load the next model in parts."""
    unset_hf_deepspeed_config()
    return run.make_trainer(config, config.model, problems(look), folder, show)


def is_divided(trained: Any) -> bool:
    """Whether this process holds a part of the weights."""
    weights = [*trained.accelerator.unwrap_model(trained.model).parameters()]
    held = (getattr(one, "ds_tensor", one.to_local() if hasattr(one, "to_local") else one) for one in weights)
    return sum(one.numel() for one in held) < sum(getattr(one, "ds_numel", one.numel()) for one in weights)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return dict(models.load(str(path), device="cpu").model.named_parameters())


def looks_of(folder: Path, kind: str, look: str, rank: int = 0) -> Any:
    return json.loads((folder / f"{kind} {look} {rank}.json").read_text())


def assert_equal(found: Path, wanted: Path) -> None:
    given = weights_of(found)
    for name, values in weights_of(wanted).items():
        torch.testing.assert_close(given[name], values, rtol=0, atol=TRAINED)


@pytest.mark.parametrize("kind", KINDS)
def test_a_divided_model_ends_with_the_weights_of_a_whole_one(divided: Path, whole: Path, kind: str) -> None:
    found, start = weights_of(divided / f"{kind} exact" / "model"), weights_of(saved_model())
    assert any(not torch.equal(found[name], start[name]) for name in start)
    assert_equal(divided / f"{kind} exact" / "model", whole / f"{kind} exact" / "model")


@pytest.mark.parametrize("name", ["again", "opened"])
@pytest.mark.parametrize("kind", ADAM)
def test_a_divided_model_goes_on_from_a_checkpoint_or_is_saved_at_its_end(divided: Path, kind: str, name: str) -> None:
    assert_equal(divided / f"{kind} {name}" / "model", divided / f"{kind} exact" / "model")


def test_adapters_of_a_divided_model_are_saved_alone(divided: Path) -> None:
    assert_equal(divided / "alone", divided / "adapters sampled" / "model")


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_process_knows_the_same_of_held_out_problems_as_one_alone(
    divided: Path, whole: Path, kind: str, look: str
) -> None:
    both = [looks_of(folder, kind, look, rank) for folder in (divided, whole) for rank in (0, 1)]
    assert len(both[0][0]) == 3  # before, after two updates, and after the last
    for looks, texts in both[1:]:
        assert texts == both[0][1]
        for one, other in zip(looks, both[0][0], strict=True):
            assert one == pytest.approx(other, rel=PADDED)
