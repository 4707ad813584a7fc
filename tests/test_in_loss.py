"""Advantages made inside the loss: as with a pass of its own, in every case that takes them from there."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm.training import in_loss
from sharpening.theory.methods import calls, table
from tests import training
from tests.test_trainer import STRONG, completions
from tests.test_trainer_processes import ENVIRONMENT, ROOT
from tests.tolerances import TRAINED

pytestmark = [*training.QUIET, pytest.mark.filterwarnings("ignore:`gradient_checkpointing_:FutureWarning")]
UPDATES = 5
BASE = training.trl.GRPOTrainer
Case = tuple[str, dict[str, Any], str]  # method, parameters, and where the log-probabilities come from
TERMS: dict[str, Case] = {
    "ds": ("ds", STRONG, "own"),
    "by token": ("ds", STRONG | dict(reduction="token"), "own"),
    "two members": ("ds", STRONG | dict(least_members=2, spread="per_token_share"), "own"),
    "entropy bonus": ("entropy_bonus", dict(strength=0.3), "own"),
    "kl by token": ("kl_penalty", dict(kl_strength=0.3, reduction="token"), "own"),
    "in the reward": ("ds", STRONG | dict(placement="reward", normalise="std"), "group"),
    "centred": ("ds", STRONG | dict(centre="correct_only"), "group"),
    "unlikeliness": ("unlikeliness", {}, "group"),
}
TWO = ["ds", "by token", "centred", "unlikeliness"]


class Replayed(BASE):  # type: ignore[misc, valid-type, name-defined]
    """GRPOTrainer that is told what it generates, another order of the same groups at every batch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.replay: list[list[int]] = []
        self.num_batches = 0
        super().__init__(*args, **kwargs)

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        groups = np.array(self.replay, object).reshape(-1, training.GROUP_SIZE)
        rows = np.roll(groups, self.num_batches, axis=0).reshape(-1).tolist()
        self.num_batches += 1
        first = self.accelerator.process_index * len(prompt_ids)
        return [list(one) for one in rows[first : first + len(prompt_ids)]], None


class Looking(Replayed):
    """The same with a method that could look at advantages before the loss: it has to have a pass of its own."""

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        return super().training_step(*args, **kwargs)


def ran(case: str, folder: Path, base: type, **options: Any) -> Any:
    """A trainer after some updates on the five groups, and the table of advantages of each."""
    method, parameters, _ = TERMS[case]
    options = dict(per_device_train_batch_size=40, max_steps=UPDATES, learning_rate=1e-3) | options
    functions = [training.correct, training.credit]
    made = training.make(method, folder, parameters, base=base, functions=functions, replay=completions(), **options)
    made.advantages = []
    kept = made._log

    def log(plain: torch.Tensor, shaped: torch.Tensor) -> None:
        kept(plain, shaped)
        made.advantages.append(shaped)

    made._log = log
    made.train()
    return made


def logged(made: Any) -> list[dict[str, float]]:
    left_out = ("runtime", "per_second", "step_time")
    return [
        {name: value for name, value in training.numbers(row).items() if not any(word in name for word in left_out)}
        for row in made.state.log_history
    ]


def assert_alike(late: Any, early: Any) -> None:
    assert max(one.abs().max() for one in late.advantages) > 0
    for one, other in zip(late.advantages, early.advantages, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=TRAINED)
    torch.testing.assert_close(training.weights(late), training.weights(early), rtol=0, atol=TRAINED)
    assert list(late._logs["advantages"]) == pytest.approx(list(early._logs["advantages"]), abs=TRAINED)
    for one, other in zip(logged(late), logged(early), strict=True):
        assert one == pytest.approx(other, rel=10 * TRAINED, abs=TRAINED, nan_ok=True)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "accumulation"), [*((one, 4) for one in TERMS), *((one, 1) for one in TWO)])
def test_the_loss_gives_what_a_pass_of_its_own_gives(tmp_path: Path, case: str, accumulation: int) -> None:
    options = dict(gradient_accumulation_steps=accumulation, gradient_checkpointing=accumulation > 1)
    if accumulation > 1 and TERMS[case][2] == "own":
        options |= dict(per_device_train_batch_size=10)
    elif accumulation > 1:  # a group in each micro-batch; the last of the five is an update alone
        options |= dict(per_device_train_batch_size=training.GROUP_SIZE, steps_per_generation=1)
    late = ran(case, tmp_path, Replayed, **options)
    early = ran(case, tmp_path, Looking, **options)
    assert (late.source.kind, early.source.kind) == (TERMS[case][2], "pass")
    assert (late.policies.source, early.policies.source) == ("", "forward")
    assert (training.weights(late) - torch.cat([one.flatten() for one in training.fresh_model().parameters()])).norm()
    assert_alike(late, early)


@pytest.mark.parametrize("case", ["ds", "by token", "centred"])
def test_a_batch_that_outlives_an_update_has_a_pass_of_its_own(tmp_path: Path, case: str) -> None:
    class Sometimes(in_loss.Window):
        """Holds every other batch."""

        num_asked = 0

        def holds_a_batch(self) -> bool:
            self.num_asked += 1
            return super().holds_a_batch() and self.num_asked % 2 == 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_loss, "Window", Sometimes)
        late = ran(case, tmp_path, Replayed)
    assert (late._window.num_asked, late.policies.source) == (UPDATES, "forward")
    assert_alike(late, ran(case, tmp_path, Looking))


def test_a_window_counts_the_losses_since_the_last_update() -> None:
    trained = SimpleNamespace(
        state=SimpleNamespace(global_step=0),
        current_gradient_accumulation_steps=4,
        args=SimpleNamespace(steps_per_generation=2),
        num_iterations=1,
    )
    window = in_loss.Window(trained)
    held = []
    for loss in range(10):  # updates after 4, then after 3 and 3: 2 losses a batch
        trained.state.global_step, trained.current_gradient_accumulation_steps = (
            (0, 4) if loss < 4 else (1, 3) if loss < 7 else (2, 3)
        )
        if loss % 2 == 0:
            held.append(window.holds_a_batch())
        window.count()
    assert held == [True, True, True, False, True]


ON = dict(gradient_accumulation_steps=4, per_device_train_batch_size=10)
DECISIONS = {
    "terms over the group in parts of a batch": ("unlikeliness", ON, "pass", "compares a group's"),
    "cut off completions that are masked": ("ds", dict(mask_truncated_completions=True), "pass", "mask_truncated"),
    "two updates a batch": ("ds", dict(num_iterations=2), "trl", "ratios"),
    "half a batch an update": (
        "ds",
        dict(gradient_accumulation_steps=1, steps_per_generation=2, per_device_train_batch_size=20),
        "trl",
        "ratios",
    ),
    "two iterations in one update": (
        "ds",
        dict(gradient_accumulation_steps=2, steps_per_generation=1, num_iterations=2),
        "own",
        "needs no other's",
    ),
    "rewards only": ("dr_grpo", ON, "none", "not needed"),
    "answers only": ("ips", {}, "none", "not needed"),
    "a term of strength 0": ("ds", dict(parameters=dict(gamma_correct=0.0)), "own", "needs no other's"),
}


@pytest.mark.parametrize("case", DECISIONS)
def test_every_run_says_where_its_log_probabilities_come_from(tmp_path: Path, case: str, caplog: Any) -> None:
    method, options, kind, words = DECISIONS[case]
    options = dict(per_device_train_batch_size=40) | options
    with caplog.at_level("INFO", logger="sharpening"):
        made = training.make(method, tmp_path, options.pop("parameters", {}), base=BASE, **options)
    assert made.source.kind == kind
    assert words in made.source.line
    said = [record.getMessage() for record in caplog.records if "log-probabilities" in record.getMessage()]
    assert said == [f"log-probabilities of the sampling policy: {made.source.line}"]


def test_a_base_that_may_look_at_advantages_sees_the_right_ones(tmp_path: Path) -> None:
    made = training.make("ds", tmp_path, STRONG)
    assert made.source == ("pass", "a pass of its own: Recorded has a _compute_loss of its own")


def variants() -> list[tuple[str, dict[str, Any]]]:
    """Every method that needs log-probabilities, and every way to place and centre a term."""
    found = []
    for name, method in table.METHODS.items():
        choices = {one: method.parameters[one].choices for one in ("placement", "centre") if one in method.parameters}
        for values in itertools.product(*choices.values()):
            found.append((name, dict(zip(choices, values, strict=True))))
    return [(name, values) for name, values in found if "log_prob" in calls.needs(calls.resolve(name), values)]


@pytest.mark.parametrize(("name", "values"), variants())
def test_what_is_said_of_a_methods_terms_holds_when_others_log_probabilities_move(
    name: str, values: dict[str, Any]
) -> None:
    method = calls.resolve(name)
    rng = np.random.default_rng(0)
    marks = (rng.random((50, 6)) < 0.5).astype(float)
    inputs = {
        "reward": marks,
        "correct": marks,
        "num_tokens": rng.integers(1, 9, marks.shape),
        "answer": marks.astype(int),
    }
    inputs |= {one: -5 * rng.random(marks.shape) for one in ("log_prob", "base_log_prob")}
    known = {one: inputs[one] for one in table.named(method.advantage, table.INPUTS)}
    before = calls.group_advantages(method, known, values)
    known["log_prob"] = np.concatenate([known["log_prob"][:, :1], -5 * rng.random((50, 5))], axis=1)
    is_same = np.array_equal(before[:, 0], calls.group_advantages(method, known, values)[:, 0])
    assert is_same == method.reads_own_log_prob_only(calls.parameter_values(method, values))


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes with gloo kept of every case, late and early."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "train.py").write_text(
        "from pathlib import Path\n\nfrom tests import test_in_loss\n\ntest_in_loss.write_both(Path())\n"
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "train.py"]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, *launch], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("case", TWO)
def test_two_processes_that_share_groups_make_the_same_inside_the_loss(of_two_processes: Path, case: str) -> None:
    found = [torch.load(of_two_processes / f"{rank}.pt", weights_only=False)[case] for rank in (0, 1)]
    for rank in found:
        assert rank["kinds"] == (TERMS[case][2], "pass")
        for late, early in zip(*rank["advantages"], strict=True):
            torch.testing.assert_close(late, early, rtol=0, atol=TRAINED)
        torch.testing.assert_close(*rank["weights"], rtol=0, atol=TRAINED)
        for one, other in zip(*rank["logged"], strict=True):
            assert one == pytest.approx(other, rel=10 * TRAINED, abs=TRAINED, nan_ok=True)
    assert torch.equal(found[0]["weights"][0], found[1]["weights"][0])


def write_both(folder: Path) -> None:
    """What this process, one of two, has after a run with late and with early advantages, of every case."""
    found = {}
    for case in TWO:
        with tempfile.TemporaryDirectory() as scratch:
            own = TERMS[case][2] == "own"
            options = dict(per_device_train_batch_size=5 if own else 20, gradient_accumulation_steps=4 if own else 1)
            runs = [ran(case, Path(scratch), base, **options) for base in (Replayed, Looking)]
        found[case] = {
            "kinds": tuple(made.source.kind for made in runs),
            "advantages": [made.advantages for made in runs],
            "weights": [training.weights(made) for made in runs],
            "logged": [logged(made) for made in runs],
        }
    torch.save(found, folder / f"{os.environ['RANK']}.pt")
