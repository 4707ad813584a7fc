"""The estimate of memory: its parts against counts by hand, and what each option of a run changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sharpening.llm.sampling import models
from sharpening.llm.training import memory, preflight, run
from sharpening.llm.training.configs import RunConfig
from tests import training
from tests.test_train import config_of, made
from tests.tolerances import PADDED

pytestmark = training.QUIET
SHAPE = memory.Shape(layers=28, hidden=3584, query=3584, key=512, inner=18944, vocabulary=152064)
NUM_WEIGHTS = 7_615_616_512  # of Qwen2.5-7B with its bias terms, as its card rounds to 7.62B


def parts(shape: memory.Shape = SHAPE, *, trained: int = NUM_WEIGHTS, **changes: Any) -> memory.Memory:
    to_estimate = {name: changes.pop(name) for name in ("num_processes", "is_sharded", "gpu") if name in changes}
    fields = {"model": "m", "evaluation_problems": 0, "group_size": 8, "prompts_per_step": 32, "micro_batch": 4}
    config = RunConfig(**(fields | {"max_tokens": 1024} | changes))
    return memory.estimate(
        config, shape, num_weights=NUM_WEIGHTS, num_trained=trained, longest_prompt=1024, **to_estimate
    )


def test_all_weights_take_16_bytes_each_and_shards_divide_them() -> None:
    whole, shard = parts(), parts(num_processes=8, is_sharded=True)
    assert (whole.weights, whole.gradients, whole.moments) == (4 * NUM_WEIGHTS, 4 * NUM_WEIGHTS, 8 * NUM_WEIGHTS)
    assert shard.weights + shard.gradients + shard.moments == 16 * NUM_WEIGHTS // 8
    assert parts(num_processes=8).weights == whole.weights  # every process has all of them


def test_adapters_leave_the_base_without_gradients_and_bfloat16_halves_it() -> None:
    lora = parts(trained=10**6, lora_rank=64, dtype="bfloat16")
    halved = parts(trained=10**6, lora_rank=64, dtype="bfloat16", base_dtype="bfloat16")
    assert (lora.frozen, halved.frozen) == (4 * NUM_WEIGHTS, 2 * NUM_WEIGHTS)
    assert lora.gradients == halved.gradients == 4 * 10**6
    assert halved.at_rest < 16 * 2**30  # 15 GB of weights, which was counted as 262 GiB


def test_grouped_queries_keep_a_seventh_of_the_cache() -> None:
    """256 completions of 2,048 positions: two numbers of every key head and layer for each."""
    rows, length, logits = 256, 2048, memory.LOGIT_COPIES * SHAPE.vocabulary
    grouped = parts().sampling - 4 * rows * logits
    full = parts(SHAPE._replace(key=SHAPE.query)).sampling - 4 * rows * logits
    assert grouped == 4 * rows * length * 28 * 2 * 4 * 128
    assert full == 7 * grouped


def test_checkpointing_and_bfloat16_keep_less_of_a_pass() -> None:
    whole, half = parts().backward, parts(dtype="bfloat16").backward
    few = parts(gradient_checkpointing=True).backward
    copies = 2 * SHAPE.layers * SHAPE.weights_of_a_layer  # autocast's, during a pass
    assert 0.4 * whole < half - copies < 0.7 * whole
    assert few < 0.1 * whole


def test_vllm_takes_its_share_of_the_gpu_and_no_cache_of_ours() -> None:
    assert parts(vllm=True, gpu=80 * 2**30).vllm == int(0.3 * 80 * 2**30)
    assert parts(vllm=True).sampling == 0


def test_the_shape_of_a_model_counts_its_key_heads() -> None:
    from transformers import GPT2Config, Qwen3Config

    given = Qwen3Config(hidden_size=64, num_attention_heads=8, num_key_value_heads=2, head_dim=16, num_hidden_layers=3)
    shape = memory.shape_of(given)
    assert (shape.query, shape.key, shape.hidden, shape.layers) == (128, 32, 64, 3)
    assert memory.shape_of(GPT2Config(n_embd=48, n_head=4))[1:5] == (48, 48, 48, 192)


def test_the_weights_of_layers_are_most_of_a_model() -> None:
    num_layers = SHAPE.layers * SHAPE.weights_of_a_layer + 2 * SHAPE.vocabulary * SHAPE.hidden
    assert num_layers == pytest.approx(NUM_WEIGHTS, rel=PADDED)  # bias terms and norms are left out


def test_a_frozen_base_in_bfloat16_trains_float32_adapters(tmp_path: Path) -> None:
    config = config_of(lora_rank=2, dtype="bfloat16", base_dtype="bfloat16", steps=2, learning_rate=1e-2)
    trained = made(config, tmp_path, "none")
    of_base, before = {}, {}
    for name, weights in trained.model.named_parameters():
        (before if weights.requires_grad else of_base)[name] = weights.detach().clone()
    assert {weights.dtype for weights in of_base.values()} == {torch.bfloat16}
    assert {weights.dtype for weights in before.values()} == {torch.float32}
    run.run(trained, config, None)
    now = dict(trained.model.named_parameters())
    assert all(torch.equal(now[name], weights) for name, weights in of_base.items())
    assert any(not torch.equal(now[name], weights) for name, weights in before.items())
    num_adapters = preflight.num_lora_weights(models.load(config.model, device="cpu").model, 2)
    assert sum(weights.numel() for weights in before.values()) == num_adapters


def test_half_a_base_is_for_adapters_whose_passes_are_in_bfloat16() -> None:
    for changes in ({"dtype": "bfloat16"}, {"lora_rank": 2}):
        with pytest.raises(ValueError, match=r"base_dtype: 'bfloat16': want lora_rank or adapter, and dtype bfloat16"):
            config_of(base_dtype="bfloat16", **changes)


@pytest.mark.parametrize(
    ("method", "parameters", "copies"), [("ds", {}, 0), ("mara", {}, 1), ("kl_penalty", {"form": "loss"}, 1)]
)
def test_the_memory_estimate_counts_the_frozen_first_policy(method: str, parameters: dict, copies: int) -> None:
    sizes = dict(num_weights=10**6, num_trained=10**6, longest_prompt=4)
    shape = memory.Shape(layers=1, hidden=8, query=8, key=8, inner=8, vocabulary=30)
    config = config_of(method=method, parameters=parameters)
    without = memory.estimate(config_of(method="dr_grpo", parameters={}), shape, **sizes)
    assert memory.estimate(config, shape, **sizes).peak - without.peak == copies * 4 * 10**6


@pytest.mark.parametrize(
    ("given", "is_divided"),
    [
        ({}, False),
        ({"ACCELERATE_USE_FSDP": "true"}, True),
        ({"ACCELERATE_USE_FSDP": "false"}, False),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}, True),
        ({"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, False),
    ],
)
def test_weights_are_divided_where_accelerate_was_told_so(
    given: dict[str, str], is_divided: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert preflight.is_sharded() == is_divided
