"""Opening a causal language model and its tokenizer: safetensors only, and no code that comes with a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedConfig

from llm.tasks import Prompt

Dtype = Literal["float32", "bfloat16", "float16"]
BATCH_OF_BYTES = 2**22
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")  # what a model folder's identity is made of


class LanguageModel(NamedTuple):
    """A model in evaluation mode, its tokenizer, and the device that it is on."""

    model: Any
    tokenizer: Any
    device: torch.device


def load(name: str, *, dtype: Dtype = "float32", device: str = "auto") -> LanguageModel:
    """The model and tokenizer of a folder that `save_pretrained` wrote, or of a hub name.

    `device` is `cpu`, `cuda`, `cuda:1`, or `auto`: the GPU if there is one. Raises ValueError, one line, for a model
    that brings its own code, has no tokenizer, or has its weights in pickle files only.
    """
    tokenizer = load_tokenizer(name)
    chosen = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device: {device!r}: torch sees no GPU: want cpu, or auto")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=getattr(torch, dtype), use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ValueError(f"MODEL: {name!r}: its weights could not be read: {_first_line(error)}") from None
    model.generation_config = plain_sampling(model.generation_config.eos_token_id, tokenizer)
    return LanguageModel(model.to(chosen).eval(), tokenizer, chosen)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model that is safe to open; raises ValueError as `load` does."""
    _refuse_unsafe(name)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"MODEL: {name!r}: no tokenizer could be read: {_first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise ValueError(f"MODEL: {name!r}: its tokenizer has no end token: want one with eos_token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def plain_sampling(ends: int | list[int] | None, tokenizer: Any) -> GenerationConfig:
    """Sampling from softmax(logits / temperature) and nothing else, whatever a model's folder recommends.

    A completion ends at the tokenizer's end token and at those that the model's own generation settings name.
    """
    named = ends if isinstance(ends, list) else [] if ends is None else [ends]
    is_end = sorted({tokenizer.eos_token_id, *named})
    return GenerationConfig(
        do_sample=True, top_k=0, top_p=1.0, temperature=1.0, eos_token_id=is_end, pad_token_id=tokenizer.pad_token_id
    )


def _refuse_unsafe(name: str) -> None:
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        raise ValueError(f"MODEL: {name!r}: it has no config.json: want a folder that save_pretrained wrote")
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"MODEL: {name!r}: neither a model folder nor a model that can be had from a hub: {_first_line(error)}"
        ) from None
    if "auto_map" in config:
        raise ValueError(
            f"MODEL: {name!r}: it wants trust_remote_code, to run code of its own on this machine: refused: want a "
            "model whose architecture transformers has"
        )
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        found = (
            f"its weights are pickle files ({', '.join(pickles)}), which can run code: refused"
            if pickles
            else ("it has no weights")
        )
        raise ValueError(f"MODEL: {name!r}: {found}: want safetensors")
    if folder.is_dir() and not any(folder.glob("tokenizer*")):
        raise ValueError(f"MODEL: {name!r}: it has no tokenizer: want tokenizer.json beside config.json")


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]


def identity(name: str) -> dict[str, Any]:
    """What names a model in a stored configuration: the SHA-256 over a folder's files, or the hub's commit."""
    folder = Path(name)
    if not folder.is_dir():
        config, _ = PreTrainedConfig.get_config_dict(name)
        return {"model": name, "commit": str(config.get("_commit_hash"))}
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)}):
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            while block := stream.read(BATCH_OF_BYTES):
                digest.update(block)
    return {"sha256": digest.hexdigest()}


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The tokens of a prompt: the chat template of messages, the plain text otherwise."""
    if isinstance(prompt.text, str):
        return list(tokenizer(prompt.text)["input_ids"])
    messages = [dict(message) for message in prompt.text]
    if tokenizer.chat_template is None:
        return list(tokenizer("\n\n".join(message["content"] for message in messages))["input_ids"])
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def settings_of(name: str) -> dict[str, Any]:
    """The Countdown problems that a model of `llm.tiny` was made for, as its configuration keeps them; else empty."""
    config, _ = PreTrainedConfig.get_config_dict(name)
    found = config.get("countdown", {})
    return dict(found) if isinstance(found, dict) else json.loads(found)
