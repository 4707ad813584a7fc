"""Options of TRL that a configuration passes through, and those that it cannot."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.training import arguments, configs, memory
from sharpening.llm.training.configs import RunConfig
from tests import training
from tests.test_train import config_of, made, ran

pytestmark = [*training.QUIET, pytest.mark.filterwarnings("ignore:.*_pytree.*")]


def found(folder: Path, given: dict[str, Any], **changes: Any) -> Any:
    return arguments.grpo_config(config_of(trl=given, **changes), folder)


@pytest.mark.slow
def test_an_option_reaches_trl_and_changes_what_is_trained(tmp_path: Path) -> None:
    args = found(tmp_path, {"max_grad_norm": 0.2, "epsilon_high": 0.28, "weight_decay": "1e-2"})
    assert (args.max_grad_norm, args.epsilon_high, args.weight_decay) == (0.2, 0.28, 0.01)
    both = ({}, {"optim": "sgd"})
    adam, sgd = (ran(config_of(steps=2, trl=one), tmp_path / str(len(one)), "none") for one in both)
    assert (training.weights(adam) - training.weights(sgd)).norm() > 0


def test_clipping_is_free_with_ds_and_fixed_by_clip_higher(tmp_path: Path) -> None:
    assert found(tmp_path, {"epsilon_high": 0.4}).epsilon_high == 0.4
    with pytest.raises(ValueError, match=r"^trl.epsilon_high: 0.4: clip_higher wants 0.28: want that or nothing$"):
        found(tmp_path, {"epsilon_high": 0.4}, method="clip_higher", parameters={})
    assert found(tmp_path, {"epsilon_high": 0.28}, method="clip_higher", parameters={}).epsilon_high == 0.28


REFUSED = {
    "max_gradnorm": (1, "trl.max_gradnorm: 1: there is no such option: want one of GRPOConfig of TRL"),
    "temperature": (0.7, "trl.temperature: 0.7: temperature says it: want it there and not here"),
    "num_generations": (4, "trl.num_generations: 4: group_size says it"),
    "steps_per_generation": (4, "trl.steps_per_generation: 4: mini_batches says it"),
    "top_p": (0.9, "trl.top_p: 0.9: log-probabilities and held-out samples are those of the whole"),
    "disable_dropout": (False, "trl.disable_dropout: False: without it no pass has"),
    "scale_rewards": ("group", "trl.scale_rewards: 'group': ds wants 'none': want that or nothing"),
    "max_grad_norm": ("small", "trl.max_grad_norm: 'small': want a number"),
    "mask_truncated_completions": (1, "trl.mask_truncated_completions: 1: want true or false"),
    "importance_sampling_level": (2, "trl.importance_sampling_level: 2: want a word"),
    "lr_scheduler_type": ("none", "trl: {'lr_scheduler_type': 'none'}: TRL refuses it: none is not a valid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_option_that_is_not_free_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    value, words = REFUSED[name]
    with pytest.raises(ValueError, match=rf"\A{re.escape(words)}.*\Z"):  # a dot is no end of line
        found(tmp_path, {name: value})


def test_every_name_that_is_fixed_is_an_option_and_what_says_it_a_field() -> None:
    there = {field.name for field in dataclasses.fields(arguments.GRPOConfig)}
    assert there >= {*arguments.SAID_BY, *arguments.FIXED}
    assert {*RunConfig.model_fields, "--folder"} >= {*arguments.SAID_BY.values()}


def test_flags_give_numbers_and_words_and_a_run_without_options_keeps_its_name() -> None:
    words = {"trl": {"max_grad_norm": ".2", "mask_truncated_completions": "true", "delta": "null", "optim": "sgd"}}
    config = configs.named_or_read("smoke", words)
    assert config.trl == {"max_grad_norm": 0.2, "mask_truncated_completions": True, "delta": None, "optim": "sgd"}
    assert config.identity()["trl"] == config.trl
    assert "trl" not in configs.named_or_read("smoke", {}).identity()


def test_moments_in_8_bits_and_the_share_of_vllm_are_in_the_estimate() -> None:
    shape = memory.Shape(layers=1, hidden=8, query=8, key=8, inner=8, vocabulary=30)
    sizes = dict(num_weights=10**6, num_trained=10**6, longest_prompt=4, gpu=100)
    small = memory.estimate(config_of(trl={"optim": "adamw_8bit"}), shape, **sizes)
    assert small.moments == 2 * 10**6
    assert memory.estimate(config_of(trl={"vllm_gpu_memory_utilization": 0.5}, vllm=True), shape, **sizes).vllm == 50


@pytest.mark.slow
def test_cut_off_completions_are_left_out_of_the_loss_and_count_in_their_groups(tmp_path: Path) -> None:
    """At two tokens nearly all are cut off: what is left moves the model less, and differently."""
    chosen = dict(max_tokens=2, steps=2, updates_per_batch=1, parameters={"gamma_incorrect": 0.2})
    runs = [
        ran(config_of(**chosen, trl={"mask_truncated_completions": mask}), tmp_path / str(mask), "none")
        for mask in (False, True)
    ]
    start = training.weights(made(config_of(), tmp_path / "start", "none"))
    moved = [(training.weights(one) - start).norm() for one in runs]
    assert moved[0] > moved[1]
    assert [one.source.kind for one in runs] == ["own", "pass"]
    logged = [[row["method/plain_advantage"] for row in one.state.log_history if "reward" in row] for one in runs]
    assert logged[0][0] == pytest.approx(logged[1][0])  # the first batch: same completions, marks and groups
    assert torch.isfinite(training.weights(runs[1])).all()
