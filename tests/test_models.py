"""A model folder is opened by its safetensors, runs no code of its own, and is refused in one line otherwise."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from sharpening.llm.sampling import evaluate, models
from sharpening.llm.tasks import Prompt
from tests.language_models import saved_model, small_model

SAMPLES = 4_000
LEAST_P = 1e-4  # of a chi-squared test whose seed is fixed
WORDS = "numbers 3 1 2 target 6"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a saved model, to be spoilt."""
    shutil.copytree(saved_model(), tmp_path / "model")
    return tmp_path / "model"


class Marks:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def refusal(folder: Path | str, **options: Any) -> str:
    with pytest.raises(ValueError, match=r"^(model|--device): ") as caught:
        models.load(str(folder), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"model: {str(folder)!r}: ")


def test_a_saved_model_is_the_one_that_was_saved(folder: Path) -> None:
    lm = models.load(str(folder), device="cpu")
    assert not lm.model.training
    ids = torch.tensor([models.prompt_ids(lm.tokenizer, Prompt("", WORDS))])
    with torch.no_grad():
        assert torch.equal(lm.model(ids).logits, small_model().model(ids).logits)
    assert models.settings_of(str(folder))["largest_number"] == 6


def test_code_of_a_model_is_refused_and_not_run(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "modeling_own.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    rewrite(folder / "config.json", auto_map={"AutoModelForCausalLM": "modeling_own.Own"}, model_type="own")
    assert refusal(folder).startswith("it wants trust_remote_code, to run code of its own on this machine: refused")
    for reading in (models.identity, models.settings_of, models.load_tokenizer):
        with pytest.raises(ValueError, match="trust_remote_code"):
            reading(str(folder))
    assert not marker.exists()


def test_code_of_a_tokenizer_is_refused_and_not_run(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "tokenization_own.py").write_text(f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    changes = {"auto_map": {"AutoTokenizer": ["tokenization_own.Own", None]}, "tokenizer_class": "Own"}
    rewrite(folder / "tokenizer_config.json", **changes)
    assert refusal(folder).startswith("it wants trust_remote_code, ")
    assert not marker.exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth"])
def test_pickled_weights_are_refused_and_not_opened(folder: Path, name: str) -> None:
    marker = folder / "ran"
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Marks(marker)))
    assert refusal(folder).startswith(f"its weights are pickle files ({name}), which can run code: refused: want safe")
    assert not marker.exists()


def test_of_both_kinds_of_weights_the_safetensors_are_used(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(marker)))
    lm = models.load(str(folder), device="cpu")
    mine, saved = lm.model.state_dict(), small_model().model.state_dict()
    assert all(torch.equal(mine[name], saved[name]) for name in saved)
    assert not marker.exists()


def test_pickled_weights_beside_other_safetensors_are_not_opened(folder: Path) -> None:
    marker = folder / "ran"
    (folder / "model.safetensors").rename(folder / "other.safetensors")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Marks(marker)))
    assert refusal(folder).startswith("its weights could not be read: ")
    assert not marker.exists()


def drop_end_token(folder: Path) -> None:
    text = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in text.items() if k != "eos_token"}))


def drop_a_weight(folder: Path) -> None:
    from safetensors import torch as safe

    weights = safe.load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    safe.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def spoil_a_weight(folder: Path) -> None:
    from safetensors import torch as safe

    weights = safe.load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][0, 0] = torch.nan
    safe.save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def remove(pattern: str) -> Callable[[Path], None]:
    return lambda folder: [path.unlink() for path in folder.glob(pattern)] and None


SPOILT: dict[str, Callable[[Path], None]] = {
    "it has no config.json: want a folder that save_pretrained wrote": remove("config.json"),
    "neither a readable folder nor a model that can be had": lambda folder: (
        (folder / "config.json").write_text("{") and None
    ),
    "it has no weights: want safetensors": remove("*.safetensors"),
    "it has no tokenizer: want tokenizer.json beside config.json": remove("tokenizer*"),
    "neither a readable folder nor a model that can be had from a hub: Expecting": lambda folder: (
        (folder / "tokenizer_config.json").write_text("{") and None
    ),
    "no tokenizer could be read: ": lambda folder: (folder / "tokenizer.json").write_text("{}") and None,
    "its tokenizer has no end token: want one with eos_token": drop_end_token,
    "its weights could not be read: ": lambda folder: (folder / "model.safetensors").write_bytes(b"\7" * 99) and None,
    "its weights could not be read: Error while": lambda folder: (
        (folder / "model.safetensors").write_bytes(b"") and None
    ),
    "its files lack 1 weights, such as model.layers.1.mlp.up_proj.weight: want them all": drop_a_weight,
    "model.layers.1.mlp.up_proj.weight holds NaN or infinity: want finite weights": spoil_a_weight,
    "its weights could not be read: You set": lambda folder: rewrite(folder / "config.json", hidden_size=64),
    "its weights could not be read: Unrecognized": lambda folder: rewrite(folder / "config.json", model_type="t5"),
}


@pytest.mark.parametrize(("message", "spoil"), SPOILT.items(), ids=list(SPOILT))
def test_a_spoilt_folder_is_one_line(message: str, spoil: Callable[[Path], None], folder: Path) -> None:
    spoil(folder)
    assert refusal(folder).startswith(message)


def test_a_name_that_is_nowhere_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for name in ("no-such-model", "no/such"):
        wanted = "there is no such folder, none in the hub's cache, and HF_HUB_OFFLINE is set: want a folder"
        assert refusal(name) == wanted
    assert refusal("no/such/folder at all") == "there is no such folder: want one with a model"


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for device in ("cuda", "cuda:1"):
        message = refusal(saved_model(), device=device)
        assert message == f"--device: {device!r}: torch sees 0 GPUs: want cpu or auto"
    for device in ("gpu", "meta", "cuda:x", "cpu:0", ""):
        assert refusal(saved_model(), device=device) == f"--device: {device!r}: want auto, cpu, cuda or cuda:N"
    assert models.load(str(saved_model()), device="auto").device == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = refusal(saved_model(), device="cuda:1")
    assert message == "--device: 'cuda:1': torch sees 1 GPUs: want one of them, cpu or auto"


def test_sampling_is_plain_whatever_the_folder_recommends(folder: Path) -> None:
    """The first token's frequencies are softmax(logits / temperature); those that the folder recommends are not."""
    recommended = {"do_sample": True, "top_k": 5, "top_p": 0.8, "repetition_penalty": 1.3, "temperature": 0.5}
    rewrite(folder / "generation_config.json", **recommended, min_new_tokens=3)
    lm = models.load(str(folder), device="cpu")
    ids = models.prompt_ids(lm.tokenizer, Prompt("", WORDS))
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0, -1].double()
    settings = evaluate.Settings(n=SAMPLES, temperature=1.5, max_tokens=1, batch=SAMPLES)
    (drawn,) = evaluate.transformers_sampler(lm)([ids], settings, SAMPLES, 0)
    counts = np.bincount([one.tokens[0] for one in drawn], minlength=len(logits))

    def p_value(temperature: float) -> float:
        expected = SAMPLES * torch.softmax(logits / temperature, 0).numpy()
        is_seen = expected >= 5
        pooled = [np.append(each[is_seen], each[~is_seen].sum()) for each in (counts, expected)]
        return float(stats.chisquare(*pooled).pvalue)

    assert p_value(1.5) > LEAST_P
    assert p_value(1.0) < LEAST_P


def test_a_completion_ends_at_every_end_token_that_the_folder_names(folder: Path) -> None:
    plain = models.load(str(folder), device="cpu")
    assert plain.model.generation_config.eos_token_id == [plain.tokenizer.eos_token_id]
    plus = plain.tokenizer.convert_tokens_to_ids("+")
    rewrite(folder / "generation_config.json", eos_token_id=[plus])
    lm = models.load(str(folder), device="cpu")
    assert lm.model.generation_config.eos_token_id == sorted([plain.tokenizer.eos_token_id, plus])
    settings = evaluate.Settings(n=50, max_tokens=16)
    (drawn,) = evaluate.transformers_sampler(lm)([models.prompt_ids(lm.tokenizer, Prompt("", WORDS))], settings, 50, 0)
    assert {one.tokens[-1] for one in drawn if one.is_finished} == {plus, plain.tokenizer.eos_token_id}


def test_what_names_a_model_is_what_is_in_its_folder(folder: Path) -> None:
    same = models.identity(str(saved_model()))
    (folder / "README.md").write_text("about it")
    assert models.identity(str(folder)) == same
    rewrite(folder / "generation_config.json", eos_token_id=[3])
    assert models.identity(str(folder)) != same


def test_messages_without_a_chat_template_are_plain_text() -> None:
    tokenizer = small_model().tokenizer
    message = Prompt("", ({"role": "user", "content": WORDS},))
    assert models.prompt_ids(tokenizer, message) == models.prompt_ids(tokenizer, Prompt("", WORDS))


def test_prompts_that_the_model_cannot_read_or_has_no_room_for_are_told(folder: Path) -> None:
    tokenizer = models.load_tokenizer(str(folder))
    good, strange = Prompt("a", WORDS), Prompt("b", WORDS + " 77")
    assert models.doubts(str(folder), tokenizer, [good], 8) == []
    (unknown,) = models.doubts(str(folder), tokenizer, [good, strange], 8)
    assert unknown.startswith("the tokenizer does not know every word of 1 of 2 prompts, 'b' for one")
    rewrite(folder / "config.json", max_position_embeddings=13)
    assert models.doubts(str(folder), tokenizer, [good], 7) == []  # six words
    (room,) = models.doubts(str(folder), tokenizer, [good], 8)
    assert room == "prompts and completions take up to 14 tokens, the model was made for 13"


def test_a_device_that_has_no_room_for_the_model_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nSee the documentation")

    monkeypatch.setattr("transformers.PreTrainedModel.to", full)
    assert refusal(saved_model()).startswith(
        "it could not be put on cpu: CUDA out of memory. Tried to allocate 2.00 GiB"
    )
