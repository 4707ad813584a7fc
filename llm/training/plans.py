"""The plan of a run from its model's published sizes, on one GPU and on many: nothing is opened, nothing was measured.

Memory is that of `llm.training.memory`. Time is arithmetic: an update takes 2 operations a weight and token for each
pass forward and twice that backward; a drawn token takes one reading of the weights and of its cache. GPUs are H100
with 80 GB, of whose peak an assumed share is reached. All completions are taken to be as long as they may be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from sharpening.llm.training import memory, preflight, published
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.memory import Memory

GPU_BYTES = 80 * 10**9
OPERATIONS, OPERATIONS_SHARE = 989e12, 0.4  # a second in bfloat16; the share is assumed
READ, READ_SHARE = 3.35e12, 0.5  # bytes a second; the share is assumed
GPUS = (1, 4, 8, 16)  # 16: two nodes
LONGEST_PROMPT = {"countdown": 256, "lists": 256, "math": 1024, "own": 1024}  # tokens, where no prompts can be counted


class Plan(NamedTuple):
    """What a number of GPUs means for a run: memory of each, and seconds of an update's two parts."""

    gpus: int
    parts: Memory
    fits: bool
    sampling_seconds: float
    update_seconds: float


def of_published(config: RunConfig) -> tuple[int, int, list[Plan]]:
    """Weights, trained weights, and a plan for each number of GPUs among which the completions of a step can be split.

    Raises KeyError for a model whose sizes are not among those of `llm.training.published`.
    """
    model = published.ARCHITECTURES[config.model]
    with torch.device("meta"):
        sizes = AutoConfig.for_model(model.kind, **model.sizes)
        skeleton = AutoModelForCausalLM.from_config(sizes, trust_remote_code=False)
    num_weights = sum(weight.numel() for weight in skeleton.parameters())
    num_trained = preflight.num_lora_weights(skeleton, config.lora_rank) if config.lora_rank else num_weights
    shape, longest = memory.shape_of(sizes), LONGEST_PROMPT[config.task]
    found = []
    for gpus in _splits(config):
        parts = memory.estimate(
            config,
            shape,
            num_weights=num_weights,
            num_trained=num_trained,
            longest_prompt=longest,
            num_processes=gpus,
            is_sharded=gpus > 1,
            gpu=GPU_BYTES,
        )
        found.append(Plan(gpus, parts, parts.peak < GPU_BYTES, *_seconds(config, shape, num_weights, longest, gpus)))
    return num_weights, num_trained, found


def _splits(config: RunConfig) -> Sequence[int]:
    completions = config.group_size * config.prompts_per_step
    parts = [gpus * config.mini_batches for gpus in GPUS]
    return [
        gpus
        for gpus, part in zip(GPUS, parts, strict=True)
        if completions % part == 0 and completions // part % config.micro_batch == 0
    ]


def _seconds(config: RunConfig, shape: memory.Shape, num_weights: int, longest: int, gpus: int) -> tuple[float, float]:
    completions = config.group_size * config.prompts_per_step
    tokens = completions * (longest + config.max_tokens)
    passes = 3 * config.updates_per_batch  # forward, and twice as much backward
    passes += config.updates_per_batch * config.gradient_checkpointing + memory.has_copy(config)
    passes += config.vllm or config.updates_of_a_batch > 1  # those of the policy that sampled, before the first update
    update = tokens * 2 * num_weights * passes / (gpus * OPERATIONS * OPERATIONS_SHARE)
    cache = 2 * memory.HALF * shape.key * shape.layers * (longest + config.max_tokens / 2) * completions / gpus
    sampling = config.max_tokens * (memory.HALF * num_weights + cache) / (READ * READ_SHARE)
    return sampling / config.updates_of_a_batch, update / config.updates_of_a_batch
