"""Adapters are models: read from safetensors with their base, merged or kept beside it, sampled and audited."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file

from sharpening.llm.sampling import engines, models
from sharpening.storage import store
from tests import command_line
from tests.command_line import only_run
from tests.language_models import byte_model, recurrent_model, saved
from tests.test_models import Marks
from tests.tolerances import FLOAT32_SUM

IDS = torch.tensor([[49, 50, 51, 60, 33]])
RANK, ALPHA = 2, 6
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base") / "base"
    shutil.copytree(saved(byte_model()), folder)
    return folder


@pytest.fixture(scope="module")
def whole(base: Path) -> Path:
    """A LoRA adapter that is far from its base, as peft saves it."""
    config = peft.LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(models.load(str(base), device="cpu").model, config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(base.parent / "adapter")
    return base.parent / "adapter"


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy of the adapter, to be spoilt."""
    shutil.copytree(whole, tmp_path / "adapter")
    return tmp_path / "adapter"


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    found: torch.Tensor = model(IDS).logits
    return found


def by_hand(base: Path, folder: Path) -> torch.Tensor:
    """Logits of the base whose weights are W + alpha/r B A, from the numbers in the two files."""
    model, weights = models.load(str(base), device="cpu").model, load_file(folder / "adapter_model.safetensors")
    for name, weight in model.named_parameters():
        key = f"base_model.model.{name.removesuffix('.weight')}"
        if f"{key}.lora_A.weight" in weights:
            down, up = (weights[f"{key}.lora_{part}.weight"].double() for part in "AB")
            weight.data = (weight.double() + ALPHA / RANK * up @ down).float()
    return logits(model)


def test_an_adapter_is_its_base_with_its_weights_added(base: Path, whole: Path) -> None:
    wanted = by_hand(base, whole)
    merged = models.load(str(whole), device="cpu")
    kept = models.load(str(whole), device="cpu", merge=False)
    torch.testing.assert_close(logits(merged.model), wanted, atol=FLOAT32_SUM, rtol=0)
    torch.testing.assert_close(logits(kept.model), wanted, atol=FLOAT32_SUM, rtol=0)
    assert (logits(models.load(str(base), device="cpu").model) - wanted).abs().max() > 1000 * FLOAT32_SUM
    assert type(merged.model).__name__ == "Qwen3ForCausalLM"
    assert not any(weight.requires_grad == ("lora" not in name) for name, weight in kept.model.named_parameters())
    assert not kept.model.training
    assert models.end_tokens(kept) == models.end_tokens(merged) == [merged.tokenizer.eos_token_id]
    assert models.load_tokenizer(str(whole))("1 2")["input_ids"] == byte_model().tokenizer("1 2")["input_ids"]


def test_an_adapter_is_merged_before_it_is_rounded(base: Path, whole: Path) -> None:
    merged = models.load(str(whole), device="cpu", dtype="bfloat16").model
    exact = models.load(str(whole), device="cpu").model
    for name, weight in merged.named_parameters():
        assert torch.equal(weight, exact.get_parameter(name).bfloat16()), name


def test_what_names_an_adapter_is_in_its_folder_and_in_its_base(base: Path, folder: Path) -> None:
    before = models.identity(str(folder))
    assert before["base"] == models.identity(str(base))
    rewrite(folder, lora_alpha=7)
    assert models.identity(str(folder))["sha256"] != before["sha256"]


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(change: Callable[[dict[str, torch.Tensor], str], dict[str, torch.Tensor]]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        weights = load_file(folder / "adapter_model.safetensors")
        save_file(change(weights, min(weights)), folder / "adapter_model.safetensors")

    return spoil


def as_pickle(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Marks(folder / "ran")))


def as_prompt(folder: Path) -> None:
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    kind = peft.PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM", base_model_name_or_path=base)
    kind.save_pretrained(folder)


SPOILT: dict[str, Callable[[Path], object]] = {
    "adapter_config.json has no base_model_name_or_path: want the folder or name of one": lambda folder: rewrite(
        folder, base_model_name_or_path=None
    ),
    "adapter_config.json has no base_model_name_or_path": lambda folder: (
        (folder / "adapter_config.json").write_text("{") and None
    ),
    "its base 'no/such': there is no such folder, none in the hub's cache, and ": lambda folder: rewrite(
        folder, base_model_name_or_path="no/such"
    ),
    "its base '": lambda folder: (
        (folder / "empty").mkdir(),
        rewrite(folder, base_model_name_or_path=str(folder / "empty")),
    ),
    "it has weights of a model and adapter_config.json: want one of them": lambda folder: shutil.copy(
        folder / "adapter_model.safetensors", folder / "model.safetensors"
    ),
    "its weights are pickle files (adapter_model.bin), which can run code: refused: want adapter_model": as_pickle,
    "it has no weights: want adapter_model.safetensors": lambda folder: (folder / "adapter_model.safetensors").unlink(),
    "adapter_config.json has a megatron_config, which names code to import: refused": lambda folder: rewrite(
        folder, megatron_config={"a": 1}, megatron_core="antigravity"
    ),
    "the adapter could not be read: 'NONSENSE'": lambda folder: rewrite(folder, peft_type="NONSENSE"),
    "the adapter could not be read: PROMPT_TUNING puts tokens of its own before the prompt: want": as_prompt,
    "the adapter could not be read: Target modules {'nothing'} not found": lambda folder: rewrite(
        folder, target_modules=["nothing"]
    ),
    "the adapter could not be read: Error(s) in loading state_dict for PeftModelForCausalLM: size mis": lambda folder: (
        rewrite(folder, r=4)
    ),
    "the adapter could not be read: Error while deserializing header": lambda folder: (
        (folder / "adapter_model.safetensors").write_bytes(b"\7" * 99) and None
    ),
    "the adapter's files lack 1 weights, such as base_model.": change_weights(
        lambda weights, first: {key: value for key, value in weights.items() if key != first}
    ),
    "the adapter's files have 1 weights that the base has no place for, such as base_model.model.x": change_weights(
        lambda weights, _: weights | {"base_model.model.x.lora_A.weight": torch.ones(2)}
    ),
    "model.layers.0.mlp.down_proj.weight holds NaN or infinity: want finite weights": change_weights(
        lambda weights, first: weights | {first: weights[first] * torch.nan}
    ),
}


@pytest.mark.parametrize(("message", "spoil"), SPOILT.items(), ids=list(SPOILT))
def test_a_spoilt_adapter_is_one_line(message: str, spoil: Callable[[Path], object], folder: Path) -> None:
    spoil(folder)
    with pytest.raises(ValueError, match=r"^model: '") as caught:
        models.load(str(folder), device="cpu")
    assert str(caught.value).startswith(f"model: {str(folder)!r}: {message}")
    assert "\n" not in str(caught.value)
    assert not (folder / "ran").exists()


def test_an_adapter_of_an_adapter_is_refused(whole: Path, folder: Path) -> None:
    rewrite(folder, base_model_name_or_path=str(whole))
    with pytest.raises(ValueError, match=r"^model: '.*': its base '.*' is an adapter: want a model$"):
        models.load(str(folder), device="cpu")


def test_an_adapter_that_cannot_be_merged_is_named_as_such(base: Path, tmp_path: Path) -> None:
    """One of peft's kinds has the method that merges, and it is not implemented."""
    config = peft.PolyConfig(r=2, n_tasks=1, target_modules=["q_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(models.load(str(base), device="cpu").model, config)
    model.peft_config["default"].base_model_name_or_path = str(base)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"^model: '.*': POLY cannot be merged into weights: want LoRA or its like$"):
        models.load(str(tmp_path), device="cpu")


def test_an_adapter_without_peft_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"^model: '.*': an adapter needs peft: want `pip install '.\[llm\]'` first$"):
        models.load(str(folder), device="cpu")


def test_code_of_a_base_or_a_tokenizer_is_refused(folder: Path, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "base")
    rewrite(folder, base_model_name_or_path=str(tmp_path / "base"))
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["own.Own", null]}}')
    with pytest.raises(ValueError, match="it wants trust_remote_code"):
        models.load(str(folder), device="cpu")
    (folder / "tokenizer_config.json").unlink()
    config = json.loads((tmp_path / "base" / "config.json").read_text())
    (tmp_path / "base" / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "own.Own"}}))
    with pytest.raises(ValueError, match=r": its base '.*/base': it wants trust_remote_code"):
        models.settings_of(str(folder))


def test_vllm_takes_no_adapter(whole: Path) -> None:
    with pytest.raises(ValueError, match=r"^--engine: 'vllm': '.*' is an adapter: want transformers, or the merged"):
        engines.vllm_sampler(str(whole), "float32")


RUN = """
model: base
task: own
method: dr_grpo
problems: prompts.jsonl
verifier: verifier.py:odd
lora_rank: 2
group_size: 4
prompts_per_step: 2
micro_batch: 8
steps: 2
save_every: 1
learning_rate: 0.05
max_tokens: 6
evaluation_problems: 0
"""


@pytest.mark.slow
def test_a_run_s_own_checkpoint_is_sampled_and_audited_as_the_model_that_it_ends_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(saved(recurrent_model("lfm2")))
    prompts = ["numbers 3 1 2 target 6", "numbers 4 1 2 target 9"]
    rows = [{"problem": prompt, "answer": ""} for prompt in prompts]
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "verifier.py").write_text("def odd(completion, answer):\n    return len(completion) % 2 == 1\n")
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "countdown.jsonl").write_text('{"nums": [3, 1, 2], "target": 6}\n')
    run = command_line.runner(capfd)
    done = run("llm", "run.yaml", "--folder", "runs/lora")
    assert done.status == 0, done.err
    words = ("--problems", "countdown.jsonl", "--set", "operators=+-*", "--device", "cpu", "--out", "audits")
    done = run("audit", "--model", "base", "runs/lora/checkpoint-2", "runs/lora/model", *words)
    assert (done.status, done.err) == (0, "")
    found = store.read_rows(only_run(tmp_path / "audits") / "answers.csv")
    names = ("base", "checkpoint-2", "lora")
    start, checkpoint, end = (np.array([row["log_prob"] for row in found if row["model"] == name]) for name in names)
    np.testing.assert_allclose(checkpoint, end, atol=FLOAT32_SUM)
    assert np.abs(start - end).max() > 100 * FLOAT32_SUM
    done = run("evaluate", "runs/lora/checkpoint-2", *words, "--n", "2", "--samples", "s.jsonl")
    assert (done.status, done.err) == (0, "")
    assert len((tmp_path / "s.jsonl").read_text().splitlines()) == 2
