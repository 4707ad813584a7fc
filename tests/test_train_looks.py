"""A run as it is seen: failures of its disk, lines about how far it is, adapters alone, a verifier that prints."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sharpening.llm.training import callbacks, checkpoints, preflight, run
from tests import training
from tests.test_train import config_of, made, pytestmark, ran

__all__ = ["pytestmark"]


@pytest.mark.slow
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed")])
def test_a_checkpoint_that_cannot_be_written_is_one_line_and_the_one_before_counts(
    tmp_path, monkeypatch, error
) -> None:
    write = torch.save

    def full(content: Any, path: Any, *rest: Any, **named: Any) -> None:
        if "checkpoint-4" in str(path):
            raise error
        write(content, path, *rest, **named)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(
        ValueError, match=rf"{tmp_path}: a checkpoint could not be written: .*{error.args[-1]}.*goes on"
    ):
        ran(config_of(), tmp_path)
    monkeypatch.setattr(torch, "save", write)
    assert checkpoints.last(tmp_path)[0] == tmp_path / "checkpoint-2"


def test_checksums_that_cannot_be_written_are_one_line(tmp_path, monkeypatch) -> None:
    def full(_: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "complete", full)
    saved = callbacks.Checksums(SimpleNamespace(wait_for_everyone=lambda: None))
    state = SimpleNamespace(is_world_process_zero=True, global_step=4)
    with pytest.raises(
        ValueError, match=rf"^{tmp_path}: a checkpoint could not be written: .*No space left.*: want room"
    ):
        saved.on_save(SimpleNamespace(output_dir=tmp_path), state, None)


def test_how_far_a_run_is_is_said_at_intervals() -> None:
    said: list[str] = []
    progress = callbacks.Progress(said.append, seconds=30, clock=lambda: now)
    now = 100.0
    progress.on_train_begin(None, SimpleNamespace(global_step=10, max_steps=40), None)
    for step, seconds in ((10, 40), (11, 110), (12, 131), (13, 150), (14, 170)):
        now = float(seconds if step > 10 else 140)
        logs = {"reward": step / 100} | ({"held_out/pass@1": 0.5} if step == 13 else {})
        progress.on_log(None, SimpleNamespace(global_step=step, max_steps=40), None, logs=logs)
    assert said == [
        "step 12 of 40, reward 0.120, about 7 min left",
        "step 14 of 40, reward 0.140, held-out pass@1 0.500, about 8 min left",
    ]


@pytest.mark.slow
def test_adapters_go_on_from_a_folder_that_has_them_alone(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    config = config_of(lora_rank=2, steps=2, parameters={"gamma_correct": 0.05, "reference": "base"})
    with pytest.warns(UserWarning, match="claim B8"):
        first = ran(config, tmp_path / "first")
    run.save(first, tmp_path / "adapters", merges=False)
    assert not list((tmp_path / "adapters").glob("model*.safetensors"))
    again = config.model_copy(update={"lora_rank": 0, "adapter": str(tmp_path / "adapters"), "merge_adapters": False})
    with pytest.warns(UserWarning, match="claim B8"):
        trained = made(again, tmp_path / "second")
    ids = torch.arange(4, 10)[None]
    with torch.no_grad():
        wanted = first.model.eval()(input_ids=ids).logits
        torch.testing.assert_close(trained.model.eval()(input_ids=ids).logits, wanted)
    before = training.weights(trained).clone()
    run.run(trained, again, None)
    assert not torch.equal(training.weights(trained), before)
    with torch.no_grad(), trained.policies._before_training(trained.model):
        torch.testing.assert_close(trained.model.eval()(input_ids=ids).logits, wanted)
    assert preflight.num_adapter_weights(again.adapter) == sum(
        one.numel() for one in trained.model.parameters() if one.requires_grad
    )
