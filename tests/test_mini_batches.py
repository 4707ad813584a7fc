"""Several updates with parts of one batch of completions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.training import arguments, checkpoints, run
from tests import training
from tests.test_train import config_of, made, ran
from tests.tolerances import FLOAT32_SUM

pytestmark = [*training.QUIET, pytest.mark.filterwarnings("ignore:.*_pytree.*")]
TWO = dict(mini_batches=2, updates_per_batch=1, micro_batch=2, steps=4)


def watched(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> tuple[Any, list[int], list[Any]]:
    """A trained run, the update before which each batch was drawn, and what entered each loss."""
    config = config_of(**TWO | changes)
    trained = made(config, folder, "none")
    drawn: list[int] = []
    entered: list[Any] = []
    generate, compute = trained._generate, trained._compute_loss
    monkeypatch.setattr(
        trained, "_generate", lambda *args, **more: drawn.append(trained.state.global_step) or generate(*args, **more)
    )

    def compute_loss(model: Any, inputs: dict[str, Any]) -> Any:
        entered.append((trained.state.global_step, {name: one.clone() for name, one in inputs.items()}))
        return compute(model, inputs)

    monkeypatch.setattr(trained, "_compute_loss", compute_loss)
    run.run(trained, config, None)
    return trained, drawn, entered


def test_every_part_has_an_update_and_the_parts_are_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 completions in parts of 4, in micro-batches of 2; log-probabilities are those before the first update."""
    trained, drawn, entered = watched(tmp_path, monkeypatch)
    assert drawn == [0, 2]
    assert [update for update, _ in entered] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert trained.source.kind == "trl"
    for first in (0, 4):
        batch = [one for _, one in entered[first : first + 4]]
        assert [len(one["completion_ids"]) for one in batch] == [2] * 4
        prompts = [tuple(ids[mask > 0].tolist()) for one in batch for ids, mask in rows_of(one)]
        assert sorted(prompts.count(one) for one in set(prompts)) == [4, 4]  # both groups, whole


def rows_of(inputs: dict[str, torch.Tensor]) -> Any:
    return zip(inputs["prompt_ids"], inputs["prompt_mask"], strict=True)


def test_the_terms_of_the_last_part_are_of_the_policy_that_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is correct and the strength is that of wrong completions: an advantage is the log-probability itself."""
    chosen = dict(parameters={"gamma_correct": 0.0, "gamma_incorrect": 1.0}, learning_rate=0.1, max_tokens=2)
    _, _, entered = watched(tmp_path, monkeypatch, **chosen)
    fresh = made(config_of(**TWO), tmp_path / "fresh", "none").model
    for _, inputs in entered[2:4]:  # after the first update
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], dim=1)
        mask = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
        width = inputs["completion_ids"].size(1)
        with torch.no_grad():
            logits = fresh(input_ids=ids, attention_mask=mask).logits[:, -width - 1 : -1].log_softmax(-1)
        own = logits.gather(2, inputs["completion_ids"][..., None])[..., 0] * inputs["completion_mask"]
        torch.testing.assert_close(inputs["advantages"], own.sum(1), rtol=FLOAT32_SUM, atol=FLOAT32_SUM)


@pytest.mark.slow
def test_a_run_goes_on_between_batches_and_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole = ran(config_of(**TWO), tmp_path / "whole", "none")
    ran(config_of(**TWO | dict(steps=2)), tmp_path / "part", "none")
    last, _ = checkpoints.last(tmp_path / "part")
    again = ran(config_of(**TWO), tmp_path / "part", "none", last)
    assert again.state.global_step == 4
    assert torch.equal(training.weights(whole), training.weights(again))
    one = ran(config_of(**TWO | dict(mini_batches=1, steps=4)), tmp_path / "one", "none")
    assert not torch.equal(training.weights(whole), training.weights(one))


def test_what_trl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_of(**TWO | dict(updates_per_batch=2, save_every=4))
    args = arguments.grpo_config(config, tmp_path)
    told = dataclasses.asdict(args)
    names = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "num_iterations")
    assert [told[name] for name in names] == [2, 2, 4, 2]
    assert config.updates_of_a_batch == 4
    monkeypatch.setenv("WORLD_SIZE", "3")
    line = r"^micro_batch: 2: want a divisor of group_size times prompts_per_step over mini_batches over the number of"
    with pytest.raises(ValueError, match=line):
        arguments.grpo_config(config_of(**TWO), tmp_path)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (dict(mini_batches=3), "mini_batches: 3: want a divisor of group_size times prompts_per_step, 8"),
        (
            dict(micro_batch=8),
            "micro_batch: 8: want a divisor of group_size times prompts_per_step over mini_batches, 4",
        ),
        (
            dict(save_every=1),
            "mini_batches: 2: want, times updates_per_batch, a divisor of steps and save_every: check",
        ),
        (dict(steps=5), "mini_batches: 2: want, times updates_per_batch, a divisor of steps and save_every: check"),
    ],
)
def test_parts_that_do_not_come_out_even_are_refused(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        config_of(**TWO | changes)
