"""TRL's arguments for a run: what its configuration says, what its method needs, and other options of TRL's.

What a field of the configuration says has no second place: `trl` takes what there is no field for. What the method
needs and what the project relies on is fixed.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig

from sharpening.llm.training import options
from sharpening.llm.training.configs import RunConfig

SAID_BY = {  # TRL's name, and the field of a configuration that says it
    "per_device_train_batch_size": "micro_batch",
    "gradient_accumulation_steps": "micro_batch",
    "generation_batch_size": "prompts_per_step",
    "steps_per_generation": "mini_batches",
    "num_generations": "group_size",
    "num_iterations": "updates_per_batch",
    "max_completion_length": "max_tokens",
    "max_steps": "steps",
    "num_train_epochs": "steps",
    "learning_rate": "learning_rate",
    "warmup_steps": "rise",
    "temperature": "temperature",
    "beta": "kl_strength",
    "loss_type": "loss",
    "bf16": "dtype",
    "fp16": "dtype",
    "gradient_checkpointing": "gradient_checkpointing",
    "use_vllm": "vllm",
    "save_steps": "save_every",
    "eval_steps": "evaluate_every",
    "report_to": "log_to",
    "seed": "seed",
    "chat_template_kwargs": "chat_template",
    "output_dir": "--folder",
}
CUT = "log-probabilities and held-out samples are those of the whole distribution"
FIXED = {  # TRL's name, and why nothing else works
    **dict.fromkeys(("top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs"), CUT),
    "disable_dropout": "without it no pass has the log-probabilities of the policy that sampled",
    "use_cpu": "a GPU is used where there is one",
    "data_seed": "the order of prompts follows the seed",
    "shuffle_dataset": "the order of prompts follows the seed",
    **dict.fromkeys(("save_strategy", "save_total_limit", "save_only_model"), "a run has to be able to go on"),
    **dict.fromkeys(("logging_steps", "logging_strategy", "disable_tqdm"), "every update is a row"),
    **dict.fromkeys(("do_eval", "eval_strategy"), "held_out and evaluate_every look at held-out problems"),
    **dict.fromkeys(("push_to_hub", "resume_from_checkpoint", "model_init_kwargs"), "it has no effect here"),
}


def grpo_config(config: RunConfig, folder: Path) -> GRPOConfig:
    """TRL's arguments for a configuration, split over the processes that were launched.

    Raises ValueError, one line, for a step that cannot be split, and for an option that does not exist, is said
    elsewhere or is fixed.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    completions, rest = divmod(config.group_size * config.prompts_per_step, processes * config.mini_batches)
    if rest or completions % min(config.micro_batch, completions):
        parts = " over mini_batches" if config.mini_batches > 1 else ""
        raise ValueError(
            f"micro_batch: {config.micro_batch}: want a divisor of group_size times prompts_per_step{parts} over the "
            f"number of processes, {processes}"
        )
    if config.share_prompts and processes > 1:
        raise ValueError(f"share_prompts: True: want one process, or share_prompts false (found {processes})")
    of_method = require_free(config)
    given: dict[str, Any] = {
        "beta": config.kl_strength,
        "use_bias_correction_kl": True,
        "loss_type": config.loss,
        "epsilon": 0.2,
        "lr_scheduler_type": "constant_with_warmup",
        "vllm_mode": "colocate",
        "vllm_enable_sleep_mode": config.vllm,
        **config.trl,
        **of_method,
    }
    try:
        return _made(config, folder, completions, given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"trl: {config.trl}: TRL refuses it: {' '.join(str(error).split())}") from None


def require_free(config: RunConfig) -> dict[str, Any]:
    """What the method asks of TRL; raises ValueError for an option in `trl` that cannot be chosen."""
    of_method = options.grpo_options(config.method, config.parameters)
    for name, value in config.trl.items():
        _require_free(name, value, config.method, of_method)
    return of_method


def _made(config: RunConfig, folder: Path, completions: int, given: dict[str, Any]) -> GRPOConfig:
    """TRL's arguments, where so many completions of each process make an update."""
    accumulation = max(1, completions // config.micro_batch)
    return GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=min(config.micro_batch, completions),
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * config.mini_batches,
        num_generations=config.group_size,
        num_iterations=config.updates_per_batch,
        max_completion_length=config.max_tokens,
        max_steps=config.steps,
        learning_rate=config.learning_rate,
        warmup_steps=config.rise,
        temperature=config.temperature,
        chat_template_kwargs=config.chat_template or None,
        top_p=1.0,
        top_k=0,
        bf16=config.dtype == "bfloat16",
        disable_dropout=True,  # else no pass has the log-probabilities of the policy that sampled
        gradient_checkpointing=config.gradient_checkpointing,
        use_vllm=config.vllm,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="steps",
        save_steps=config.save_every,
        save_total_limit=None,  # TRL would remove an older one before the new one counts
        logging_steps=1,
        report_to=config.log_to,
        disable_tqdm=True,  # the command has a bar of its own
        seed=config.seed,
        **given,
    )


def _require_free(name: str, value: object, method: str, of_method: dict[str, Any]) -> None:
    """Raises ValueError unless an option is TRL's, of the kind of its default, and free to be chosen."""
    there = {field.name: field for field in dataclasses.fields(GRPOConfig)}
    shown = f"trl.{name}: {value!r}"
    if name not in there:
        raise ValueError(f"{shown}: there is no such option: want one of GRPOConfig of TRL")
    if name in SAID_BY:
        raise ValueError(f"{shown}: {SAID_BY[name]} says it: want it there and not here")
    if name in FIXED:
        raise ValueError(f"{shown}: {FIXED[name]}: want it left out")
    if name in of_method and value != of_method[name]:
        raise ValueError(f"{shown}: {method} wants {of_method[name]!r}: want that or nothing")
    default = there[name].default
    kinds = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}.get(type(default))
    if kinds and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
        wanted = {bool: "true or false", int: "an integer", float: "a number", str: "a word"}[type(default)]
        raise ValueError(f"{shown}: want {wanted}")
