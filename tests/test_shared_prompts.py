"""Prompts that are read once: the same log-probabilities, gradients and completions as when each is read anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm.training import arguments
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.shared_prompts import SharedPrompts
from tests import training
from tests.tolerances import TRAINED

pytestmark = training.QUIET
PLAIN = training.trl.GRPOTrainer
BATCH = dict(per_device_train_batch_size=40)  # five prompts of four lengths, eight completions each


def made(folder: Path, base: type, **options: Any) -> Any:
    """A trainer of DS and the numbers of tokens that its model has been given at each call."""
    trained = training.make("ds", folder, {"gamma_correct": 0.5}, base=base, **BATCH, **options)
    trained.num_read = []
    inner = trained.accelerator.unwrap_model(trained.model).get_input_embeddings()
    inner.register_forward_hook(lambda _, ids, __: trained.num_read.append(ids[0].numel()))
    return trained


def drawn(trained: Any) -> list[list[int]]:
    """Completions of the five prompts."""
    ids = [row for row in training.language_model().tokenizer(training.PROMPTS)["input_ids"] for _ in range(8)]
    torch.manual_seed(0)
    found: list[list[int]] = trained._generate_single_turn(ids, None, {}, 8)[0]
    return found


def test_sampling_reads_a_prompt_once(tmp_path: Path):
    """The same completions from the same seed, from fewer tokens; and generate is the model's own afterwards."""
    plain, shared = made(tmp_path / "a", PLAIN), made(tmp_path / "b", SharedPrompts)
    assert drawn(shared) == drawn(plain)
    longest = max(len(prompt.split()) for prompt in training.PROMPTS)
    assert plain.num_read[0] == 40 * longest
    assert shared.num_read[:2] == [5 * (longest - 1), 40]
    assert "generate" not in vars(shared.accelerator.unwrap_model(shared.model))


@pytest.mark.parametrize("rank", [0, 2])
def test_a_step_is_the_same(tmp_path: Path, rank: int):
    """Weights after three updates are those of TRL's own passes, of all weights and of adapters; a step less is not."""
    ended = []
    for name, base, steps in (("a", PLAIN, 3), ("b", SharedPrompts, 3), ("c", SharedPrompts, 2)):
        lora = None
        if rank:
            from sharpening.llm.sampling import adapters

            lora = adapters.lora(rank)
        trained = made(tmp_path / name, base, max_steps=steps, peft_config=lora, learning_rate=0.1, optim="sgd")
        trained.train()
        weights = [one.detach().numpy().ravel() for one in trained.model.parameters() if one.requires_grad]
        ended.append(np.concatenate(weights))
    plain, shared, earlier = ended
    np.testing.assert_allclose(shared, plain, rtol=0, atol=TRAINED)
    assert np.abs(earlier - plain).max() > 100 * np.abs(shared - plain).max()


def test_log_probabilities_and_entropies_of_mixed_micro_batches(tmp_path: Path):
    """Rows in any order, prompts of one token among them."""
    plain, shared = made(tmp_path / "a", PLAIN), made(tmp_path / "b", SharedPrompts)
    rng = np.random.default_rng(0)
    for width in (1, 4):
        prompts = torch.from_numpy(rng.integers(5, 20, (3, width)))[rng.integers(0, 3, 12)]
        mask = torch.ones_like(prompts)
        if width > 1:
            mask[prompts[:, 1] == prompts[0, 1], : width - 1] = 0  # a prompt of one token, padded
        ids = torch.cat([prompts, torch.from_numpy(rng.integers(5, 20, (12, 5)))], dim=1)
        whole = torch.cat([mask, torch.ones(12, 5, dtype=torch.long)], dim=1)
        options = dict(batch_size=6, compute_entropy=True)
        wanted = plain._get_per_token_logps_and_entropies(plain.model, ids, whole, 5, **options)
        found = shared._get_per_token_logps_and_entropies(shared.model, ids, whole, 5, **options)
        for one, other in zip(found[:2], wanted[:2], strict=True):
            np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=0, atol=TRAINED)


def test_what_it_cannot_be_used_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    with pytest.raises(ValueError, match="share_prompts: True: want gradient_checkpointing and vllm false"):
        RunConfig(model="m", share_prompts=True, gradient_checkpointing=True)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=r"share_prompts: True: want one process, or share_prompts false \(found 2\)"):
        arguments.grpo_config(RunConfig(model="m", share_prompts=True), tmp_path)
