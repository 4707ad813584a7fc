"""Trainers that are not plain: subclasses with advantages or a loss of their own, adapters trained before, completions
that are cut off, responses that are parsed, and terms that are too large."""

from __future__ import annotations

import math
import re
import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from sharpening.llm.training import log_probs, trainer
from tests import reference_advantages as loops
from tests import training
from tests.test_trainer import completions, expected, in_the_loss, ran, token_log_probs
from tests.tolerances import TRAINED

pytestmark = training.QUIET
LONG = 5  # tokens
PRINTED = 0.05  # of numbers with two and three digits


class Zeroed(training.Recorded):
    """Gives long completions no advantage."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        is_long = batch["completion_mask"].sum(1) >= LONG
        return {**batch, "advantages": torch.where(is_long, 0.0, batch["advantages"])}


class ByToken(training.Recorded):
    """Twice the advantage on every token but the first."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch = super()._generate_and_score_completions(inputs)
        width = batch["completion_ids"].size(1)
        return {**batch, "advantages": batch["advantages"][:, None] * torch.tensor([1.0] + [2.0] * (width - 1))}


# subclasses


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        *(("dr_grpo", {}), ("grpo", {}), ("clip_higher", {})),
        *(("ds", {"gamma_correct": strength}) for strength in (0.0, 1e-9, 0.1)),
        ("ds", {"gamma_correct": 0.1, "normalise": "std"}),
    ],
)
def test_what_a_subclass_zeroes_has_the_term_alone_under_every_method(tmp_path, method, parameters) -> None:
    zeroed, prompts = in_the_loss(ran(method, parameters, tmp_path, base=Zeroed))
    whole, _ = in_the_loss(ran(method, parameters, tmp_path))
    wanted = dict.fromkeys(whole, 0.0)
    if parameters.get("gamma_correct"):
        strength = parameters["gamma_correct"]
        of_term = expected(prompts, lambda group: loops.ds(group, gamma_correct=strength), 2)
        of_none = expected(prompts, lambda group: loops.ds(group, gamma_correct=0.0), 2)
        wanted = {ids: of_term[ids] - of_none[ids] for ids in whole}
    for ids, value in zeroed.items():
        is_long = len(ids) >= LONG and whole[ids] != 0
        assert value.item() == pytest.approx(wanted[ids] if is_long else whole[ids].item(), rel=TRAINED, abs=TRAINED)
    assert sum(len(ids) >= LONG and abs(whole[ids]) > 0.1 for ids in whole) >= 4


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["sum", "token"])
def test_a_subclass_with_a_number_for_each_token_keeps_them_under_the_term(tmp_path, reduction: str) -> None:
    parameters = {"gamma_correct": 0.1, "reduction": reduction}
    by_token, _ = in_the_loss(ran("ds", parameters, tmp_path, base=ByToken))
    whole, _ = in_the_loss(ran("ds", parameters, tmp_path))
    plain, _ = in_the_loss(ran("dr_grpo", {}, tmp_path))
    for ids, values in by_token.items():
        wanted = whole[ids] - plain[ids] + plain[ids] * torch.tensor([1.0] + [2.0] * (len(ids) - 1))
        torch.testing.assert_close(values, wanted, rtol=TRAINED, atol=TRAINED)


@pytest.mark.parametrize("method", ["maxrl", "rloo", "mara", "unlikeliness"])
def test_a_method_that_would_replace_the_advantages_of_a_subclass_is_refused(tmp_path, method: str) -> None:
    with warnings.catch_warnings(action="ignore"), pytest.raises(ValueError, match=f"which {method} would replace"):
        ran(method, {}, tmp_path, base=Zeroed)


def test_a_base_whose_loss_is_its_own_is_refused_before_a_model_is_loaded() -> None:
    from trl.experimental.gmpo import GMPOTrainer

    class Own(training.Recorded):
        def compute_loss(self, *_: Any, **__: Any) -> torch.Tensor:
            return torch.zeros(())

    class Below(Own):
        pass

    for base, named in ((GMPOTrainer, "GMPOTrainer"), (Own, "Own"), (Below, "Own")):
        for method in ("ds", "ds_token", "kl_cov", "entropy_advantage"):
            with pytest.raises(ValueError, match=f"base is {base.__name__}: {named} has a loss of its own"):
                trainer.with_method(base, method)
    with pytest.raises(ValueError, match=r"base is object: want trl\.GRPOTrainer or a subclass of it"):
        trainer.with_method(object, "ds")


def test_a_loss_that_only_seems_to_be_that_of_trl_is_refused_before_an_update(tmp_path) -> None:
    class Seems(training.Recorded):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            return super()._compute_loss(model, inputs) if len(inputs) == 1 else torch.zeros((), requires_grad=True)

    made = training.make("ds", tmp_path, base=Seems)
    with pytest.raises(ValueError, match="its loss does not come from TRL's"):
        made.train()
    assert torch.equal(training.weights(made), training.weights(training.make("ds", tmp_path)))


# adapters


def adapted() -> Any:
    """The model with adapters that were trained before."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj", "down_proj"], task_type="CAUSAL_LM")
    model = peft.get_peft_model(training.fresh_model(), lora)
    return with_noise(model, 0.3)


def with_noise(model: Any, size: float) -> Any:
    with torch.no_grad():
        for name, values in model.named_parameters():
            if "lora_B.default" in name:
                values += size * torch.randn(values.shape, generator=torch.Generator().manual_seed(1))
    return model


@pytest.mark.slow
@pytest.mark.parametrize("beta", [0.0, 0.04])
def test_the_base_policy_of_adapters_is_the_model_with_them_as_they_were(tmp_path, monkeypatch, beta: float) -> None:
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: training.fresh_model())
    options = dict(per_device_train_batch_size=40, functions=[training.always_scored], replay=completions(), beta=beta)
    made = training.make("kl_penalty", tmp_path, {"kl_strength": 0.1}, model=adapted(), **options)
    with_noise(made.model, 0.2)
    made.train()
    observed, prompts = in_the_loss(made)
    bare, _ = in_the_loss(ran("dr_grpo", {}, tmp_path, functions=[training.always_scored]))
    before, now = adapted().eval(), with_noise(adapted(), 0.2).eval()
    apart = []
    for ids, value in observed.items():
        own, first = (math.fsum(token_log_probs(model, prompts[ids], [*ids])) for model in (now, before))
        assert value.item() == pytest.approx(bare[ids].item() - 0.1 * (own - first), rel=TRAINED, abs=TRAINED)
        apart.append(abs(first - math.fsum(token_log_probs(training.fresh_model().eval(), prompts[ids], [*ids]))))
    assert max(apart) > 1  # what the model without adapters would have said


# completions that are cut off, and parsed


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:strength .* is above kl_strength:UserWarning")
@pytest.mark.parametrize("more", [{}, {"num_iterations": 2, "max_steps": 2}])
@pytest.mark.parametrize("method", ["ds_reward", "unlikeliness", "ucpo", "mara"])
def test_completions_out_of_the_loss_have_their_true_log_probability(tmp_path, method: str, more: Any) -> None:
    whole, _ = in_the_loss(ran(method, {}, tmp_path))
    made = ran(method, {}, tmp_path, mask_truncated_completions=True, **more)
    num_masked = 0
    for batch in made.seen[:5]:
        for ids, mask, value in zip(
            *(batch[name] for name in ("completion_ids", "completion_mask", "advantages")), strict=True
        ):
            key = next(key for key in whole if [*key] == ids.tolist()[: len(key)] and not any(ids.tolist()[len(key) :]))
            assert value.item() == pytest.approx(whole[key].item(), rel=TRAINED, abs=TRAINED)
            num_masked += not mask.any()
    assert 10 < num_masked < 40


def test_answers_are_those_of_the_text_that_rewards_see(tmp_path) -> None:
    class Parsed(training.Recorded):
        """As with a response template: rewards see the first character, and the rest was thought."""

        def _generate(self, prompts: list[str]) -> Any:
            found = list(super()._generate(prompts))
            found[3] = [[{"role": "assistant", "content": text[:1]}] for text in found[3]]
            return tuple(found)

    options = dict(per_device_train_batch_size=8, gradient_accumulation_steps=5, functions=[training.correct])
    made = training.make("ips", tmp_path, base=Parsed, replay=completions(), **options)
    made.train()
    observed, prompts = in_the_loss(made)
    for ids, value in expected(prompts, loops.ips, 2).items():
        assert observed[ids].item() == pytest.approx(value, rel=TRAINED, abs=TRAINED)


# terms that are too large

SIZE = re.compile(r"the term of ds is (\S+) times as large .*about gamma_correct (\S+) would make it 0\.3(.*)")


@pytest.mark.slow
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_term_larger_than_the_advantage_is_said_once_with_a_strength_that_fits(tmp_path, reduction: str) -> None:
    def said(strength: float) -> tuple[list[re.Match[str]], float]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made = ran("ds", {"gamma_correct": strength, "reduction": reduction}, tmp_path, max_steps=3)
        found = [SIZE.match(str(one.message)) for one in caught]
        return [one for one in found if one], made.state.log_history[0]["method/bonus_ratio"]

    (warning,), ratio = said(2.0)
    assert float(warning[1]) == pytest.approx(ratio, rel=PRINTED)
    assert ratio > 1
    assert ("grows with length" in warning[3]) == (reduction == "sum")
    warned, smaller = said(float(warning[2]))
    assert not warned
    assert smaller == pytest.approx(0.3, rel=PRINTED)


def test_a_loss_of_another_version_of_trl_is_refused_before_an_update(tmp_path, monkeypatch) -> None:
    """It asks for no log-probabilities, so the weights of single tokens would be lost."""
    monkeypatch.setattr("trl.GRPOTrainer._compute_loss", lambda *_: torch.zeros((), requires_grad=True))
    made = training.make("entropy_advantage", tmp_path)
    with pytest.raises(ValueError, match=r"^entropy_advantage: this loss of TRL's asks for no log-probabilities: want"):
        made.train()


@pytest.mark.parametrize("has_adapters", [False, True])
def test_of_shards_no_copy_of_the_policy_before_training_is_made(has_adapters: bool) -> None:
    """With beta above 0 TRL keeps one. Adapters that were never trained change nothing: their base will do."""
    model = adapted() if has_adapters else torch.nn.Linear(1, 1)
    sharded = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda one: one),
        is_fsdp_enabled=True,
        is_deepspeed_enabled=False,
        beta=0.1,
        ref_model=None,
    )
    log_probs.Policies(sharded, needs_base=True, needs_top_token=False)
    sharded.beta = 0
    if has_adapters:
        for name, values in model.named_parameters():
            values.data *= "lora_B" not in name
        log_probs.Policies(sharded, needs_base=True, needs_top_token=False)
        with_noise(model, 1.0)
    with pytest.raises(ValueError, match=r"^beta is 0: .*: want beta above 0$"):
        log_probs.Policies(sharded, needs_base=True, needs_top_token=False)


def test_prompts_with_images_are_refused_by_a_pass_of_its_own() -> None:
    with pytest.raises(ValueError, match=r"^prompt holds images: a pass of its own reads text only: want prompts with"):
        log_probs.sequences({"num_images": [1]}, torch.ones(1, 1))
