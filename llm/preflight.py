"""What is checked before a run spends a minute, and what the run will take."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from llm import models
from llm.configs import RunConfig
from llm.tasks import Task

BYTES_PER_WEIGHT = 16  # float32 weight, gradient and the two moments of AdamW
BYTES_PER_LOGIT = 8  # logits and their gradient in float32, the largest activations of a small batch
CHECKPOINTS = 3  # two are kept while a third is written
BYTES_PER_WEIGHT_ON_DISK = 12  # weight and the two moments


class Plan(NamedTuple):
    """Sizes of a run, and what is there: counts, bytes."""

    num_weights: int
    num_trained: int
    num_prompts: int
    longest_prompt: int
    memory: int
    memory_there: int
    disk: int
    disk_there: int


def check(config: RunConfig, model: str, task: Task, solutions: dict[int, str], folder: Path) -> Plan:
    """The plan of a run; raises ValueError, one line, where the run cannot work.

    `solutions` has a completion that is known to be correct for some places of the task's prompts.
    """
    tokenizer = models.load_tokenizer(model)
    lengths = [len(models.prompt_ids(tokenizer, prompt)) for prompt in task.prompts]
    first = task.prompts[0]
    text = first.text if isinstance(first.text, str) else first.text[-1]["content"]
    if text not in tokenizer.decode(models.prompt_ids(tokenizer, first)):
        raise ValueError(f"model: {model!r}: its tokenizer does not give back prompt {first.id!r} as it was")
    if solutions:
        marks = task.marks(list(solutions), list(solutions.values()))
        for place, mark in zip(solutions, marks, strict=True):
            if mark.correct != 1:
                raise ValueError(
                    f"verifier: it does not accept a known solution of prompt {task.prompts[place].id!r}: {mark.reason}"
                )
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model), trust_remote_code=False)
    num_weights = sum(weight.numel() for weight in skeleton.parameters())
    num_trained = _num_lora_weights(skeleton, config.lora_rank) if config.lora_rank else num_weights
    logits = config.micro_batch * (config.max_tokens + 1) * skeleton.config.vocab_size * BYTES_PER_LOGIT
    frozen = 4 * (num_weights - num_trained if config.lora_rank else num_weights * bool(config.kl_strength))
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    plan = Plan(
        num_weights,
        num_trained,
        len(task.prompts),
        max(lengths),
        num_trained * BYTES_PER_WEIGHT + frozen + logits,
        memory_there(),
        CHECKPOINTS * num_trained * BYTES_PER_WEIGHT_ON_DISK + 4 * num_weights,
        shutil.disk_usage(nearest).free,
    )
    for what, needed, there in (("memory", plan.memory, plan.memory_there), ("disk", plan.disk, plan.disk_there)):
        if needed > there:
            raise ValueError(
                f"{what}: the run needs about {needed / 2**30:.1f} GiB, there are {there / 2**30:.1f}: want a smaller "
                "micro_batch or max_tokens, lora_rank, or a larger machine"
            )
    return plan


def memory_there() -> int:
    """Free bytes on the GPU, or of the machine where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _num_lora_weights(skeleton: Any, rank: int) -> int:
    """Weights of adapters on every linear layer but the head."""
    layers = [
        layer for name, layer in skeleton.named_modules() if isinstance(layer, torch.nn.Linear) and "head" not in name
    ]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)
