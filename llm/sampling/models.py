"""Opening a causal language model and its tokenizer: safetensors only, and no code that comes with a model.

A model is a folder that `save_pretrained` wrote, a hub name, or the folder of an adapter, whose base is one of these.
"""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import huggingface_hub
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedConfig
from transformers.models.auto.tokenization_auto import get_tokenizer_config

from sharpening.llm.sampling import adapters
from sharpening.llm.tasks import Prompt

Dtype = Literal["float32", "bfloat16", "float16"]
BYTES_AT_ONCE = 2**22
HUB_SECONDS = 5  # to wait for a hub
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "*.model", "*.txt")  # what a model folder's identity is made of


class LanguageModel(NamedTuple):
    """A model in evaluation mode, its tokenizer, and the device that it is on."""

    model: Any
    tokenizer: Any
    device: torch.device


def load(name: str, *, dtype: Dtype = "float32", device: str = "auto", merge: bool = True) -> LanguageModel:
    """The model and tokenizer of a folder that `save_pretrained` wrote, of a hub name, or of an adapter's folder.

    `device` is `cpu`, `cuda`, `cuda:1`, or `auto`: the GPU if there is one. An adapter is merged into the weights of
    its base in float32; without `merge` it stays beside them, trainable. Raises ValueError, one line, for a model that
    brings its own code, has no tokenizer, lacks weights, or has its weights in pickle files only.
    """
    chosen, base = _device(device), adapters.base_of(name)
    tokenizer = load_tokenizer(name)
    merges, wanted = base is not None and merge, getattr(torch, dtype)
    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            base or name,
            dtype=torch.float32 if merges else wanted,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ValueError(f"model: {name!r}: its weights could not be read: {_first_line(error)}") from None
    if missing := sorted(report["missing_keys"]):
        raise ValueError(f"model: {name!r}: its files lack {len(missing)} weights, such as {missing[0]}: want them all")
    model.generation_config = plain_sampling(model.generation_config.eos_token_id, tokenizer)
    if base is not None:
        model = adapters.attached(model, name, merge=merge)
    broken = next((key for key, weights in model.named_parameters() if not weights.isfinite().all()), None)
    if broken is not None:
        raise ValueError(f"model: {name!r}: {broken} holds NaN or infinity: want finite weights")
    try:
        model = (model.to(wanted) if merges else model).to(chosen).eval()
    except RuntimeError as error:
        raise ValueError(f"model: {name!r}: it could not be put on {chosen}: {_first_line(error)}") from None
    return LanguageModel(model, tokenizer, chosen)


def _device(text: str) -> torch.device:
    num_gpus = torch.cuda.device_count()
    if text == "auto":
        return torch.device("cuda" if num_gpus else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", text):
        raise ValueError(f"--device: {text!r}: want auto, cpu, cuda or cuda:N")
    if text != "cpu" and int(text[5:] or 0) >= num_gpus:
        raise ValueError(
            f"--device: {text!r}: torch sees {num_gpus} GPUs: want {'one of them, ' * bool(num_gpus)}cpu or auto"
        )
    return torch.device(text)


def has_bfloat16() -> bool:
    """Whether this machine has bfloat16: other processors take several times as long with it as in float32."""
    return torch.cuda.is_available() or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model that is safe to open, or of an adapter's base; raises ValueError as `load` does."""
    safe_config(name)
    base = adapters.base_of(name)
    has_own = base is None or any(Path(name).glob("tokenizer*"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name if has_own else base, trust_remote_code=False)
    except Exception as error:  # of many libraries: the kind depends on the kind of tokenizer
        raise ValueError(f"model: {name!r}: no tokenizer could be read: {_first_line(error)}") from None
    if tokenizer.eos_token_id is None:
        raise ValueError(f"model: {name!r}: its tokenizer has no end token: want one with eos_token")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def plain_sampling(ends: int | list[int] | None, tokenizer: Any) -> GenerationConfig:
    """Sampling from softmax(logits / temperature) and nothing else, whatever a model's folder recommends.

    A completion ends at the tokenizer's end token and at those that the model's own generation settings name.
    """
    return GenerationConfig(
        do_sample=True,
        top_k=0,
        top_p=1.0,
        temperature=1.0,
        eos_token_id=_ends(ends, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )


def end_tokens(lm: LanguageModel) -> list[int]:
    """The tokens at each of which a completion of the model ends."""
    return _ends(lm.model.generation_config.eos_token_id, lm.tokenizer)


def _ends(named: int | list[int] | None, tokenizer: Any) -> list[int]:
    return sorted({tokenizer.eos_token_id, *(named if isinstance(named, list) else [] if named is None else [named])})


def safe_config(name: str) -> dict[str, Any]:
    """The configuration of a model that is safe to open, of an adapter that of its base.

    Raises ValueError, one line, for any other.
    """
    folder = Path(name)
    require_model(name)
    if (base := adapters.base_of(name)) is not None:
        try:
            config = safe_config(base)
        except ValueError as error:
            raise ValueError(f"model: {name!r}: its base {str(error).removeprefix('model: ')}") from None
        _refuse_code(name, get_tokenizer_config(name) if any(folder.glob("tokenizer*")) else {})
        return config
    if folder.exists() and not (folder / "config.json").is_file():
        raise ValueError(f"model: {name!r}: it has no config.json: want a folder that save_pretrained wrote")
    try:
        config, _ = PreTrainedConfig.get_config_dict(name)
        tokenizer_config = get_tokenizer_config(name)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"model: {name!r}: neither a readable folder nor a model that can be had from a hub: {_first_line(error)}"
        ) from None
    _refuse_code(name, {**tokenizer_config, **config})
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        found = f"its weights are pickle files ({', '.join(pickles)}), which can run code: refused"
        raise ValueError(f"model: {name!r}: {found if pickles else 'it has no weights'}: want safetensors")
    if folder.is_dir() and not any(folder.glob("tokenizer*")):
        raise ValueError(f"model: {name!r}: it has no tokenizer: want tokenizer.json beside config.json")
    return dict(config)


def require_model(name: str) -> None:
    """Raises ValueError, within seconds, for a model that is no folder, nor to be had from a hub."""
    path = Path(name)
    if path.exists():
        return
    if name[:1] in (".", "/", "~") or len(path.parts) > 2 or (len(path.parts) == 2 and path.parent.is_dir()):
        there = [str(one) for one in path.parent.iterdir() if one.is_dir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(name, there, n=1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"model: {name!r}: there is no such folder: {meant}want one with a model")
    if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str):
        return
    why = "HF_HUB_OFFLINE is set"
    if not huggingface_hub.constants.HF_HUB_OFFLINE:
        try:
            huggingface_hub.get_session().head(huggingface_hub.constants.ENDPOINT, timeout=HUB_SECONDS)
        except Exception as error:  # of the library for requests that it has
            why = f"{huggingface_hub.constants.ENDPOINT} cannot be reached: {(str(error).splitlines() or [''])[0]}"
        else:
            return
    raise ValueError(f"model: {name!r}: there is no such folder, none in the hub's cache, and {why}: want a folder")


def _refuse_code(name: str, config: Mapping[str, Any]) -> None:
    if "auto_map" in config:
        raise ValueError(
            f"model: {name!r}: it wants trust_remote_code, to run code of its own on this machine: refused: want a "
            "model whose architecture transformers has"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]


def identity(name: str) -> dict[str, Any]:
    """What names a model in a stored configuration: the SHA-256 over a folder's files, or the hub's commit.

    For an adapter that of its folder, and what names its base.
    """
    config, folder, base = safe_config(name), Path(name), adapters.base_of(name)
    if not folder.is_dir():
        return {"model": name, "commit": str(config.get("_commit_hash"))}
    digest = hashlib.sha256()
    for path in sorted({path for pattern in MODEL_FILES for path in folder.glob(pattern)}):
        digest.update(path.name.encode())
        with path.open("rb") as stream:
            while block := stream.read(BYTES_AT_ONCE):
                digest.update(block)
    return {"sha256": digest.hexdigest(), **({"base": identity(base)} if base else {})}


def text_or_messages(tokenizer: Any, prompt: Prompt) -> str | list[dict[str, str]]:
    """The prompt as the tokenizer can take it: messages become plain text where it has no chat template."""
    if isinstance(prompt.text, str):
        return prompt.text
    if tokenizer.chat_template is None:
        return "\n\n".join(message["content"] for message in prompt.text)
    return [dict(message) for message in prompt.text]


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The tokens of a prompt: the chat template of messages, the plain text otherwise."""
    given = text_or_messages(tokenizer, prompt)
    if isinstance(given, str):
        return list(tokenizer(given)["input_ids"])
    template = dict(prompt.template)
    text = tokenizer.apply_chat_template(given, tokenize=False, add_generation_prompt=True, **template)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def doubts(name: str, tokenizer: Any, prompts: Sequence[Prompt], max_tokens: int) -> list[str]:
    """What makes samples of a model on these prompts doubtful: words its tokenizer does not know, too little room."""
    rows = [prompt_ids(tokenizer, prompt) for prompt in prompts]
    unknown = [prompt for prompt, row in zip(prompts, rows, strict=True) if tokenizer.unk_token_id in row]
    found = []
    if unknown:
        found.append(
            f"the tokenizer does not know every word of {len(unknown)} of {len(prompts)} prompts, {unknown[0].id!r} "
            "for one: the model does not see them as they are"
        )
    room, needed = safe_config(name).get("max_position_embeddings"), max(map(len, rows)) + max_tokens
    if isinstance(room, int) and needed > room:
        found.append(f"prompts and completions take up to {needed} tokens, the model was made for {room}")
    return found


def settings_of(name: str) -> dict[str, Any]:
    """The Countdown problems that a warm start's model was made for, as its configuration keeps them; else empty."""
    found = safe_config(name).get("countdown")
    return found if isinstance(found, dict) else {}
