"""What is checked before a run spends a minute, and what the run will take.

Departs: where no correct completion is known the verifier is only called, on an empty one. What the memory estimate is
worth: `llm.training.memory`.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from safetensors import safe_open
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.integrations import is_tensorboard_available, is_trackio_available, is_wandb_available

from sharpening.llm.sampling import models
from sharpening.llm.tasks import Task
from sharpening.llm.training import arguments, checkpoints, memory
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.memory import Memory
from sharpening.theory.methods import calls, table, user_functions

BYTES_PER_WEIGHT_ON_DISK = 12  # weight and the two moments
CHECKPOINTS = 3  # two are kept while a third is written
LOGGERS = {"tensorboard": is_tensorboard_available, "wandb": is_wandb_available, "trackio": is_trackio_available}


class Plan(NamedTuple):
    """Sizes of a run, and what is there: counts, bytes."""

    num_weights: int
    num_trained: int
    num_prompts: int
    longest_prompt: int
    num_solutions: int
    parts: Memory
    memory: int
    memory_there: int
    disk: int
    disk_there: int


def check(config: RunConfig, model: str, task: Task, solutions: Mapping[int, str], folder: Path) -> Plan:
    """The plan of a run; raises ValueError, one line, where the run cannot work.

    `solutions` has a completion that is known to be correct for some places of the task's prompts.
    """
    checkpoints.require_writable(folder)
    _require_packages(config)
    arguments.require_free(config)  # the rest would start the processes' group
    _try_method(config)
    longest = _longest_prompt(model, task)
    _try_verifier(task, solutions)
    with torch.device("meta"):
        skeleton = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model), trust_remote_code=False)
    num_weights = sum(weight.numel() for weight in skeleton.parameters())
    num_trained = num_lora_weights(skeleton, config.lora_rank) if config.lora_rank else num_weights
    if config.adapter:
        num_trained = num_adapter_weights(config.adapter)
    parts = memory.estimate(
        config,
        memory.shape_of(skeleton.config.get_text_config()),
        num_weights=num_weights,
        num_trained=num_trained,
        longest_prompt=longest,
        num_processes=int(os.environ.get("WORLD_SIZE", "1")),
        is_sharded=is_sharded(),
        gpu=_gpu_memory(),
    )
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    plan = Plan(
        num_weights,
        num_trained,
        len(task.prompts),
        longest,
        len(solutions),
        parts,
        parts.peak,
        memory_there(),
        CHECKPOINTS * num_trained * BYTES_PER_WEIGHT_ON_DISK + 4 * num_weights,
        shutil.disk_usage(nearest).free,
    )
    for what, needed, there in (("memory", plan.memory, plan.memory_there), ("disk", plan.disk, plan.disk_there)):
        if needed > there:
            smaller = "a smaller micro_batch, group_size or max_tokens, lora_rank" if what == "memory" else "lora_rank"
            raise ValueError(
                f"{what}: the run needs about {needed / 2**30:.1f} GiB, there are {there / 2**30:.1f}: want {smaller}, "
                "or a larger machine"
            )
    return plan


def is_sharded() -> bool:
    """Whether accelerate was told to divide the weights: by DeepSpeed's stage 3, or by FSDP."""
    if os.environ.get("ACCELERATE_USE_DEEPSPEED") == "true":
        return os.environ.get("ACCELERATE_DEEPSPEED_ZERO_STAGE") == "3"
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def _require_packages(config: RunConfig) -> None:
    if config.log_to in LOGGERS and not LOGGERS[config.log_to]():
        raise ValueError(f"log_to: {config.log_to!r}: it is not installed: want `pip install {config.log_to}`, or none")
    if config.vllm and importlib.util.find_spec("vllm") is None:
        raise ValueError("vllm: True: it is not installed: want `pip install vllm`, or false")


def _try_method(config: RunConfig) -> None:
    """Calls a method of the user's own on groups of every kind; raises ValueError where advantages are not finite."""
    chosen = calls.resolve(config.method)
    if not user_functions.is_file_spec(config.method):
        return
    size = config.group_size
    place = torch.arange(size, dtype=torch.float64)
    groups = {"half of it correct": (place % 2 == 0).double(), "one correct": (place == 0).double()}
    groups |= {"all of it correct": torch.ones_like(place), "none correct": torch.zeros_like(place)}
    for what, correct in groups.items():
        for log_prob, kind in ((-1 - place / 10, "different"), (-1 - 0 * place, "equal")):
            example = {"reward": correct, "correct": correct, "log_prob": log_prob, "base_log_prob": 1.5 * log_prob}
            example |= {"num_tokens": torch.full((size,), 8), "answer": (place * (kind == "different")).long()}
            given = {name: example[name][None] for name in table.named(chosen.advantage, table.INPUTS)}
            if not calls.group_advantages(chosen, given, config.parameters).isfinite().all():
                raise ValueError(
                    f"method: {config.method}: it gave an advantage that is NaN or infinite to a group with {what} and "
                    f"{kind} log-probabilities: want finite numbers"
                )


def _longest_prompt(model: str, task: Task) -> int:
    """The most tokens of a prompt; refuses a tokenizer that does not give the first one back."""
    tokenizer = models.load_tokenizer(model)
    first = task.prompts[0]
    _require_template(model, tokenizer, dict(first.template))
    text = first.text if isinstance(first.text, str) else first.text[-1]["content"]
    shown = tokenizer.decode(models.prompt_ids(tokenizer, first), clean_up_tokenization_spaces=False)
    if text.strip() not in shown:
        raise ValueError(
            f"model: {model!r}: its tokenizer gives back prompt {first.id!r} as {shown[:80]!r}: want one that keeps it"
        )
    return max(len(models.prompt_ids(tokenizer, prompt)) for prompt in task.prompts)


def _require_template(model: str, tokenizer: Any, given: Mapping[str, Any]) -> None:
    """Raises ValueError for arguments of which the chat template says nothing: it would be silent about them."""
    if given and tokenizer.chat_template is None:
        raise ValueError(f"chat_template: {given}: the tokenizer of {model!r} has no chat template: want none")
    for name, value in given.items():
        own = inspect.signature(tokenizer.apply_chat_template).parameters
        if name in own or not re.search(rf"\b{re.escape(name)}\b", str(tokenizer.chat_template)):
            raise ValueError(
                f"chat_template.{name}: {value!r}: the chat template of {model!r} has no such argument: want one it "
                "names"
            )


def _try_verifier(task: Task, solutions: Mapping[int, str]) -> None:
    task.marks([0], [""], [True])
    marks = task.marks(list(solutions), list(solutions.values()), [True] * len(solutions))
    for place, mark in zip(solutions, marks, strict=True):
        if mark.correct != 1:
            raise ValueError(
                f"verifier: it does not accept the known solution of prompt {task.prompts[place].id!r}, "
                f"{solutions[place][:80]!r}: {mark.reason}"
            )


def memory_there() -> int:
    """Free bytes on the GPU, or those of the machine that can be had where there is none."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))[0])
    return int(psutil.virtual_memory().available)


def _gpu_memory() -> int:
    """Bytes of this process's GPU; 0 where there is none."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.mem_get_info(int(os.environ.get("LOCAL_RANK", "0")))[1])


def num_lora_weights(skeleton: Any, rank: int) -> int:
    """Weights of adapters on every linear layer but the head."""
    layers = [
        layer for name, layer in skeleton.named_modules() if isinstance(layer, torch.nn.Linear) and "head" not in name
    ]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def num_adapter_weights(folder: str) -> int:
    """Weights of stored adapters; raises ValueError where the folder has none that are safe to open."""
    path = Path(folder) / "adapter_model.safetensors"
    if not path.is_file() or not (Path(folder) / "adapter_config.json").is_file():
        raise ValueError(f"adapter: {folder!r}: want a folder with adapter_config.json and adapter_model.safetensors")
    with safe_open(path, "pt") as stored:
        return sum(math.prod(stored.get_slice(name).get_shape()) for name in stored.keys())  # noqa: SIM118
