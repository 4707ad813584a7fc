"""Settings at 1 to 8 billion weights: built from published sizes, planned, and every value with its source."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sharpening import cli
from sharpening.llm.training import configs, memory, plans, published
from tests import training

pytestmark = training.QUIET
RATIO = 2.0  # of two readings of the same arithmetic, one of them rounded by hand


@pytest.mark.parametrize("model", published.ARCHITECTURES)
def test_a_model_built_from_its_sizes_has_the_weights_that_its_page_says(model: str) -> None:
    known = published.ARCHITECTURES[model]
    with torch.device("meta"):
        built = AutoModelForCausalLM.from_config(AutoConfig.for_model(known.kind, **known.sizes))
    assert sum(weight.numel() for weight in built.parameters()) == known.num_weights
    assert known.source


@pytest.mark.parametrize("preset", published.PRESETS)
def test_every_value_of_a_preset_has_a_source_and_fits(preset: str) -> None:
    config = configs.named_or_read(preset, {})
    assert set(published.PRESETS[preset]) == config.model_fields_set
    for value, source in published.PRESETS[preset].values():
        assert value is not None
        assert "ours" in source or "not known" in source
    assert preset in configs.NOT_TRIED
    assert config.model in published.ARCHITECTURES
    assert configs.named_or_read(preset, {"steps": 8}).steps == 8


@pytest.mark.parametrize("preset", published.PRESETS)
def test_a_dry_run_plans_a_model_that_is_not_there(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert cli.main(["llm", preset, "--dry-run"]) == 0
    said = capsys.readouterr().out
    known = published.ARCHITECTURES[configs.named_or_read(preset, {}).model]
    assert f"{known.num_weights:,} weights by its published sizes" in said
    for words in ("NOT RUN", "fits 80 GB", "WHERE THE VALUES COME FROM", "not known, ours", "moments"):
        assert words in said
    assert not list(tmp_path.iterdir())
    assert cli.main(["llm", preset]) == 2  # to train it has to be there


def test_questions_of_lists_are_planned_too_with_their_held_out_ones() -> None:
    config = configs.named_or_read("math-qwen2.5-math-7b", {})
    lists = config.model_copy(update={"task": "lists", "problems": "", "evaluation_problems": 8})
    of_none = lists.model_copy(update={"evaluation_problems": 0})
    shape = memory.shape_of(AutoConfig.for_model("qwen2", **published.ARCHITECTURES["Qwen/Qwen2.5-Math-7B"].sizes))
    assert plans.of_published(lists)[2]
    assert memory._scoring(lists, shape, 300) > memory._scoring(of_none, shape, 300) == 0


def test_seven_billion_weights_fit_eight_gpus_and_not_one() -> None:
    """16 bytes a weight are 122 GB; an eighth of them, a share of 24 GB for vLLM and a gathered layer fit into 80."""
    config = configs.named_or_read("math-qwen2.5-math-7b", {})
    num_weights, num_trained, found = plans.of_published(config)
    assert num_weights == num_trained
    assert {plan.gpus: plan.fits for plan in found} == {1: False, 4: True, 8: True, 16: True}
    lora = plans.of_published(config.model_copy(update={"lora_rank": 64, "base_dtype": "bfloat16"}))[2]
    assert lora[0].fits  # 15 GB of weights, which was said to need 262 GiB
    assert lora[0].parts.at_rest < 20 * 2**30


def test_the_time_of_an_update_is_its_operations_over_those_of_the_gpus() -> None:
    """256 completions of 3,072 tokens, 7.6e9 weights: 2.4e16 operations a pass and five passes, at 4e14 a second."""
    plan = plans.of_published(configs.named_or_read("math-qwen2.5-math-7b", {}))[2]
    by_hand = 5 * 2 * 7.6e9 * 256 * 3072 / 4e14
    assert 1 / RATIO < plan[0].update_seconds / by_hand < RATIO
    assert plan[2].update_seconds == pytest.approx(plan[0].update_seconds / 8)
    weights_alone = 2048 * 2 * 7.6e9 / 1.7e12  # every token reads all weights once
    assert plan[-1].sampling_seconds > weights_alone / RATIO
    assert math.isfinite(plan[-1].sampling_seconds)
    assert (
        memory.shape_of(AutoConfig.for_model("qwen2", **published.ARCHITECTURES["Qwen/Qwen2.5-Math-7B"].sizes)).key
        == 512
    )
