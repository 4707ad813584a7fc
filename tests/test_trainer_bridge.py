"""One step of TRL on a model of K logits equals one step of the simulator, for every method that both can run.

The sampling policy is dyadic and the group holds every arm as often as the policy says, so that means over the group
are exact expectations, also in the second update, where ratios carry the weights. The base policy is another one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import tokenizers
import torch
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput

from sharpening.bandits import simulator
from sharpening.bandits.specification import Specification
from sharpening.bandits.state import initial_state
from sharpening.llm.training import trainer
from sharpening.theory import shaping
from sharpening.theory.methods import calls, table
from tests import reference_advantages as loops
from tests import training
from tests.reference_advantages import Group
from tests.tolerances import BRIDGE

pytestmark = training.QUIET
POLICY = (1 / 2, 1 / 4, 1 / 8, 1 / 8)
BASE = (0.3, 0.1, 0.2, 0.4)
ARMS = (0, 0, 0, 0, 1, 1, 2, 3)
CORRECT = (0, 1, 1, 0)
UNIFORM = tuple((5 * place + 3) % 8 / 8 for place in range(8))  # for the method that draws
LEARNING_RATE = 2.0


class Ones(torch.nn.Module):
    """A backbone that says 1 at every position."""

    def forward(self, input_ids: torch.Tensor, **_: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=torch.ones(*input_ids.shape, 1))


class Tabular(PreTrainedModel):  # type: ignore[misc]
    """A language model whose only parameters are one logit for each token, the same at every position."""

    config_class = PreTrainedConfig
    base_model_prefix = "model"

    def __init__(self, policy: tuple[float, ...]) -> None:
        super().__init__(PreTrainedConfig(vocab_size=len(policy)))
        self.model = Ones()
        self.lm_head = torch.nn.Linear(1, len(policy), bias=False)
        self.lm_head.weight.data = torch.tensor(policy).log()[:, None]
        self.generation_config = GenerationConfig()

    def get_output_embeddings(self) -> torch.nn.Module:
        return self.lm_head

    def forward(self, input_ids: torch.Tensor, logits_to_keep: int = 0, **_: Any) -> CausalLMOutput:
        hidden = self.model(input_ids).last_hidden_state
        return CausalLMOutput(logits=self.lm_head(hidden[:, -logits_to_keep:]))


def tokenizer() -> PreTrainedTokenizerFast:
    """A word for each arm, and those of the prompt beyond the model's."""
    words = ["a", "b", "c", "d", "prompt", "<eos>", "<pad>", "<unk>"]
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: at for at, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def is_correct(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [float(CORRECT[ids[0]]) for ids in completion_ids]


def by_trl(method: str, parameters: dict[str, Any], folder: Any, monkeypatch: Any) -> torch.Tensor:
    """The logits after two updates with the group."""
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: Tabular(BASE))
    options = dict(loss_type="dr_grpo", epsilon=table.OPEN, epsilon_high=table.OPEN)
    arguments = {
        **dict(per_device_train_batch_size=8, num_generations=8, max_completion_length=1, temperature=1.0),
        **dict(num_iterations=2, max_steps=2, optim="sgd", learning_rate=LEARNING_RATE, max_grad_norm=0.0),
        **(options | trainer.grpo_options(method, parameters)),
    }
    made = training.make(
        method,
        folder,
        parameters,
        model=Tabular(BASE),
        functions=[is_correct],
        replay=[[arm] for arm in ARMS],
        processing_class=tokenizer(),
        **arguments,
    )
    made.model.lm_head.weight.data = torch.tensor(POLICY).log()[:, None]
    monkeypatch.setattr(torch, "rand_like", lambda like: uniforms(made.seen[-1]["completion_ids"]).reshape(like.shape))
    made.train()
    assert made.state.global_step == 2
    assert len(made.seen) == 2
    assert made.seen[0]["completion_mask"].shape == (8, 1)
    return made.model.lm_head.weight.detach()[:, 0]


def uniforms(completion_ids: torch.Tensor) -> torch.Tensor:
    """To every row the draw of a completion with its arm."""
    left = {arm: [draw for draw, other in zip(UNIFORM, ARMS, strict=True) if other == arm] for arm in ARMS}
    return torch.tensor([left[arm].pop(0) for arm in completion_ids[:, 0].tolist()])


def by_simulator(method: str, parameters: dict[str, Any]) -> Any:
    """The logits after two updates with the group."""
    specification = Specification(
        base_policy=BASE,
        correct=CORRECT,
        method=method,
        parameters=parameters,
        group_size=8,
        learning_rate=LEARNING_RATE,
        updates_per_batch=2,
    )
    setup = simulator.setup_of(specification)
    state = initial_state(np.log(POLICY), 1)
    draws = [*((np.arange(8) + 0.5) / 8), *(UNIFORM * 2 if method == "clip_cov" else ())]
    after, info = simulator.step(state, setup, np.array([draws]))
    assert info.rollouts.arms.ravel().tolist() == list(ARMS)
    return after.logits[0]


NARROW = dict(clip_low=0.2, clip_high=0.2)
PARAMETERS: dict[str, dict[str, Any]] = {
    "cispo": dict(clip_high=0.2),
    "clip_cov": dict(share=0.25, covariance_low=0.0) | NARROW,
    "kl_cov": dict(share=0.25),
    "simko_penalty": dict(quantile=0.0, penalty=2.0),
}
CASES = [
    *((id, PARAMETERS.get(id, {})) for id in table.METHODS),
    *((id, {}) for id in table.PRESETS),
    ("ds", dict(gamma_incorrect=0.2, reference="base")),
    ("entropy_bonus", dict(form="loss")),
    ("entropy_penalty", dict(form="loss")),
    ("kl_penalty", dict(form="loss", kl_strength=0.5)),
]


@pytest.mark.filterwarnings("ignore:gamma_correct .* is not below kl_strength:UserWarning")
@pytest.mark.filterwarnings("ignore:strength .* is above kl_strength:UserWarning")
@pytest.mark.parametrize(("method", "parameters"), CASES)
def test_a_step_of_trl_is_a_step_of_the_simulator(tmp_path, monkeypatch, method, parameters):
    observed = by_trl(method, parameters, tmp_path, monkeypatch)
    want = by_simulator(method, parameters)
    np.testing.assert_allclose(observed, want, rtol=0, atol=BRIDGE)
    assert np.abs(want - np.log(POLICY)).max() > 1000 * BRIDGE
    if table.METHODS.get(method, calls.resolve("ds")).level == "token":  # its weights are not plain ratios
        assert np.abs(want - by_simulator("grpo", {})).max() > 1000 * BRIDGE


def by_hand() -> list[float]:
    """Two updates of differential smoothing with gammas .1 and .2, in plain floats."""
    logits = [math.log(share) for share in POLICY]
    log_probs = tuple(logits[arm] for arm in ARMS)
    group = Group(tuple(CORRECT[arm] for arm in ARMS), log_probs, log_probs, (1,) * 8, ARMS)
    advantages = loops.ds(group, gamma_correct=0.1, gamma_incorrect=0.2)
    for _ in range(2):
        weights = [math.exp(value) for value in logits]
        policy = [weight / sum(weights) for weight in weights]
        pushes = [policy[arm] / POLICY[arm] * value / 8 for arm, value in zip(ARMS, advantages, strict=True)]
        logits = [
            logits[arm]
            + LEARNING_RATE
            * (sum(push for push, other in zip(pushes, ARMS, strict=True) if other == arm) - policy[arm] * sum(pushes))
            for arm in range(4)
        ]
    return logits


def test_a_step_of_differential_smoothing_is_that_of_plain_sums(tmp_path, monkeypatch):
    parameters = dict(gamma_correct=0.1, gamma_incorrect=0.2)
    np.testing.assert_allclose(by_trl("ds", parameters, tmp_path, monkeypatch), by_hand(), rtol=0, atol=BRIDGE)
    right = shaping.differential_smoothing
    monkeypatch.setattr(shaping, "differential_smoothing", lambda *given, **named: -right(*given, **named))
    mutant = by_trl("ds", parameters, tmp_path, monkeypatch)
    assert np.abs(np.asarray(mutant) - by_hand()).max() > 1000 * BRIDGE
