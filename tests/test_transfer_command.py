"""`audit --transfer` as a stranger runs it: what it prints and stores, and what it refuses."""

from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path

import peft
import pytest
import torch

from sharpening.llm.sampling import models
from sharpening.storage import store
from tests import command_line
from tests.command_line import Run, only_run
from tests.language_models import saved, saved_model, small_model

TRANSFER = ("audit", "model", "--limit", "6", "--device", "cpu", "--transfer", "--train-limit", "7")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, another one near it, and problems."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_model(), tmp_path / "model")
    lm = small_model()._replace(model=copy.deepcopy(small_model().model))
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for weight in lm.model.parameters():
            weight.mul_(1 + 0.02 * torch.randn_like(weight))
    shutil.copytree(saved(lm), tmp_path / "other")
    (tmp_path / "problems.jsonl").write_text('{"nums": [3, 1, 2], "target": 6}\n{"nums": [4, 1, 2], "target": 9}\n')
    (tmp_path / "train.jsonl").write_text('{"nums": [5, 1, 2], "target": 8}\n{"nums": [4, 3, 2], "target": 9}\n')
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


@pytest.mark.slow
def test_predicted_and_measured_slopes_are_printed_and_stored(here: Path, run: Run) -> None:
    done = run(*TRANSFER, "--model", "other")
    assert (done.status, done.err) == (0, "")
    assert "SHARED PARAMETERS: SLOPE PER NAT OF LOG-ODDS\n  other, slope per nat of log-odds: " in done.out
    stored = only_run(here / "results")
    assert store.verify_run(stored) == []
    rows = store.read_rows(stored / "rows.csv")
    found = {(row["model"], row["quantity"]): row for row in rows}
    assert found["model", "transfer_slope"]["num_problems"] == 6
    assert found["model", "transfer_slope_in_training"]["num_problems"] == 6
    assert found["other", "slope_per_nat_measured"]["num_problems"] == 6
    shared = found["model", "slope_per_nat_shared"]["value"]
    assert shared == pytest.approx(
        found["model", "slope_per_nat_own"]["value"] * found["model", "amplification"]["value"]
    )
    assert re.search(r"\n  all prompts together +-?\d*\.\d{3} ?", done.out)


def test_without_it_the_run_is_what_it_was(here: Path, run: Run) -> None:
    run("audit", "model", "--limit", "3", "--device", "cpu")
    assert "transfer" not in (only_run(here / "results") / "config.json").read_text()


@pytest.mark.slow
def test_a_method_weighs_its_training_prompts(here: Path, run: Run) -> None:
    """Of problems from files; MaxRL prefers those that are rarely solved."""
    given = (
        "audit",
        "model",
        "--problems",
        "problems.jsonl",
        "--train",
        "train.jsonl",
        "--transfer",
        "--device",
        "cpu",
    )
    found = []
    for method in ("dr_grpo", "rloo", "maxrl"):
        assert run(*given, "--train-method", method, "--out", method).status == 0
        rows = store.read_rows(only_run(here / method) / "rows.csv")
        found.append({row["quantity"]: row["value"] for row in rows}["slope_per_nat_shared"])
    assert found[0] == pytest.approx(found[1])
    assert found[0] != pytest.approx(found[2])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's own
def test_of_an_adapter_only_its_own_weights_are_trained(here: Path, run: Run) -> None:
    config = peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = peft.get_peft_model(models.load("model", device="cpu").model, config)
    model.peft_config["default"].base_model_name_or_path = "model"
    model.save_pretrained(here / "adapter")
    weights = {"adapter": ("adapter",), "whole": ("model",)}
    found = {}
    for name, words in weights.items():
        done = run("audit", *words, *TRANSFER[2:], "--out", name)
        assert done.status == 0, done.err
        rows = store.read_rows(only_run(here / name) / "rows.csv")
        found[name] = {row["quantity"]: row["value"] for row in rows}["slope_per_nat_own"]
    assert found["adapter"] != pytest.approx(found["whole"])


BAD: dict[tuple[str, ...], str] = {
    ("audit", "model", "--train-limit", "5"): "--train-limit: it means nothing without --transfer: want both",
    ("audit", "model", "--group-size", "8"): "--group-size: it means nothing without --transfer: want both",
    (*TRANSFER, "--train", "train.jsonl"): "--train: 'train.jsonl': want a file beside --problems, and none without",
    (*TRANSFER, "--problems", "problems.jsonl"): "--train: None: want a file beside --problems, and none without it",
    (
        *TRANSFER,
        *("--problems", "problems.jsonl", "--train", "problems.jsonl"),
    ): "--train: problem '1,2,3=6' is one of --problems, too: want problems of its own",
    (*TRANSFER, "--split", "train"): "--split: 'train': --transfer draws its training prompts there: want validation",
    (*TRANSFER, "--dtype", "bfloat16"): "--dtype: 'bfloat16': want float32 with --transfer, whose gradients are exact",
    (*TRANSFER, "--train-method", "ds"): "--train-method: ds needs reward, correct, log_prob: want a method",
    (*TRANSFER, "--train-method", "grpoo"): "--train-method: 'grpoo' is not a method: did you mean",
    (*TRANSFER, "--train-method", "clip_higher"): "--train-method: --transfer cannot run clip_higher: it is a token",
    (*TRANSFER, "--train-limit", "1"): "--train-limit: '1': Input should be greater than or equal to 2",
    (
        *("audit", "model", "other", "--samples", "problems.jsonl", "--transfer"),
    ): "--transfer: it means nothing with --samples: want one of them",
}


@pytest.mark.parametrize(("words", "message"), BAD.items(), ids=[" ".join(words) for words in BAD])
def test_bad_input_is_one_line(words: tuple[str, ...], message: str, here: Path, run: Run) -> None:
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"sharpening( [\w-]+)?: .+\n", done.err)
    assert done.err.partition(": ")[2].startswith(message)
    assert not (here / "results").exists()
