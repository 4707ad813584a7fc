"""`study --preset pretrained`: a given model with a byte-pair tokenizer, trained by adapters that are kept."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from sharpening.llm.audit import exact
from sharpening.llm.sampling import models
from sharpening.llm.studies import protocol, runs
from sharpening.storage import store
from tests import command_line, training
from tests.language_models import pretrained_like, saved
from tests.tolerances import FLOAT32_MASS, OTHER_MASS

pytestmark = training.QUIET
BONUS = "entropy bonus"
SMALL = replace(
    protocol.PRETRAINED,
    setting=protocol.PRETRAINED.setting.model_copy(
        update=dict(prompts_per_step=4, group_size=8, steps=4, pool=20, max_tokens=6, num_with_wrong=2)
    ),
    contestants=(
        protocol.PRETRAINED.contestants[0],
        protocol.Contestant(BONUS, "entropy_bonus", "strength", (0.3,)),  # it moves also where no answer is correct
    ),
    rates=(0.05,),
    plain_rates=(0.05,),
    num_test=4,
    seeds=MappingProxyType({1: 1}),
)


@pytest.mark.slow
def test_its_rows_are_those_of_the_adapters_it_keeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    """Each adapter on the model gives the pass@1 of its run, and that of no other; a second call trains nothing."""
    monkeypatch.setattr(protocol, "PROTOCOLS", {"pretrained": SMALL})
    run = command_line.runner(capfd)
    base, taught, out = saved(pretrained_like()), str(tmp_path / "taught"), str(tmp_path / "results")
    words = (
        "--set",
        "steps=150",
        "batch=16",
        "pool=20",
        "learning_rate=3e-3",
        "problems.num_numbers=2",
        "problems.largest_number=6",
    )
    run("warm-start", "--model", str(base), "--folder", taught, *words, "--out", out)
    command = ("study", "--preset", "pretrained", "--model", taught, "--jobs", "1", "--out", out)
    code, said, _ = run(*command)
    assert code == 0
    assert "After training" in said
    (kept,) = {path.parent.parent for path in Path(out).glob("llm/*/*/adapter_model.safetensors")}
    assert store.verify_run(kept) == []
    rows = store.read_rows(kept / "rows.csv")
    names = {"plain": "dr_grpo-100", BONUS: "entropy_bonus-0.3-100"}
    asked = runs.held_out(taught, "test", 4, 1)
    found = {"": of_model(taught, asked)} | {
        name: of_model(str(kept / folder), asked) for name, folder in names.items()
    }
    for name, value in found.items():
        step = SMALL.setting.steps if name else 0
        written = {
            row["value"]
            for row in rows
            if (row["quantity"], row["at"], row["step"]) == ("pass_at_k", 1, step) and name in ("", row["contestant"])
        }
        np.testing.assert_allclose(list(written), [value], rtol=FLOAT32_MASS)
    assert abs(found[BONUS] / found[""] - 1) > OTHER_MASS
    monkeypatch.setattr(runs, "rows_of", None)
    shutil.rmtree(Path(out) / "adapters")  # a second call has them from the stored run
    assert run(*command)[0] == 0
    assert {path.parent.name for path in kept.glob("*/adapter_model.safetensors")} == set(names.values())


def of_model(name: str, asked: tuple) -> float:
    """The exact mean correctness of a model, or of an adapter."""
    lm = models.load(name, device="cpu")
    audits = [exact.audit(lm, one, operators="+-*", only_correct=True) for one in asked]
    assert not audits[0].is_exact
    return float(np.mean([exact.problem_row(one)["correctness"] for one in audits]))
