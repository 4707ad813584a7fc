"""Adapters, such as LoRA's, as peft writes them: a folder with weights that belong to a base model, named in it.

A checkpoint of a run with `lora_rank` is one. Only safetensors are read, and the base is opened as every model is.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

LONGEST_REASON = 300  # characters
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def base_of(name: str) -> str | None:
    """The name of the base model of an adapter's folder; None for everything else.

    Raises ValueError, one line, for a folder that is an adapter and more, or less.
    """
    folder = Path(name)
    if not (folder / CONFIG).is_file():
        return None
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        base = config["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise ValueError(f"model: {name!r}: {CONFIG} has no base_model_name_or_path: want the folder or name of one")
    if (Path(base) / CONFIG).is_file():
        raise ValueError(f"model: {name!r}: its base {base!r} is an adapter: want a model")
    if config.get("megatron_config"):
        raise ValueError(f"model: {name!r}: {CONFIG} has a megatron_config, which names code to import: refused")
    if any(folder.glob("model*.safetensors")):
        raise ValueError(f"model: {name!r}: it has weights of a model and {CONFIG}: want one of them")
    if not (folder / WEIGHTS).is_file():
        pickles = sorted(path.name for path in folder.glob("*.bin"))
        found = f"its weights are pickle files ({', '.join(pickles)}), which can run code: refused"
        raise ValueError(f"model: {name!r}: {found if pickles else 'it has no weights'}: want {WEIGHTS}")
    return base


def lora(rank: int) -> Any:
    """The settings of new LoRA adapters: in all linear layers, as strong as twice their rank says."""
    from peft import LoraConfig

    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the warning that peft causes as it asks transformers by an old name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def added(base: Any, rank: int, seed: int) -> Any:
    """The base model with new LoRA adapters, which change nothing yet."""
    from peft import get_peft_model

    with torch.random.fork_rng(), _quiet():
        torch.manual_seed(seed)
        return get_peft_model(base, lora(rank))


def attached(base: Any, name: str, *, merge: bool) -> Any:
    """The base model with the adapter of a folder: in its weights, or beside them and free to be trained.

    Raises ValueError, one line, for an adapter that does not fit the base or cannot be merged.
    """
    try:
        from peft import PeftConfig, PeftModelForCausalLM
    except ModuleNotFoundError:
        raise ValueError(f"model: {name!r}: an adapter needs peft: want `pip install '.[llm]'` first") from None
    try:
        config = PeftConfig.from_pretrained(name)
        if config.is_prompt_learning:
            raise ValueError(
                f"{config.peft_type.value} puts tokens of its own before the prompt: want LoRA or its like"
            )
        config.inference_mode = merge
        with _quiet():
            model = PeftModelForCausalLM(base, config)
        report = model.load_adapter(name, "default", is_trainable=not merge)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:LONGEST_REASON]
        raise ValueError(f"model: {name!r}: the adapter could not be read: {reason}") from None
    for what, keys in (("lack", report.missing_keys), ("have", report.unexpected_keys)):
        if keys:
            fault = f"{what} {len(keys)} weights{' that the base has no place for' * (what == 'have')}"
            raise ValueError(f"model: {name!r}: the adapter's files {fault}, such as {sorted(keys)[0]}: want its own")
    try:
        return model.merge_and_unload() if merge else model
    except (AttributeError, NotImplementedError):  # some kinds lack the method, others have it and no more
        kind = config.peft_type.value
        raise ValueError(f"model: {name!r}: {kind} cannot be merged into weights: want LoRA or its like") from None
