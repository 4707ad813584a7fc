"""What the trainer refuses, what it warns of, and how it is used: functions, subclasses, evaluation, single tokens."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm.training import options, trainer
from sharpening.theory.methods import calls
from tests import training
from tests.test_trainer import STRONG, TRL_OWN, completions, in_the_loss, plain_models, ran, token_log_probs
from tests.tolerances import TRAINED

pytestmark = training.QUIET


@pytest.mark.parametrize(
    ("method", "parameters", "options", "message"),
    [
        (
            "ds",
            {},
            {"scale_rewards": "group"},
            "scale_rewards is 'group': ds wants 'none': see llm.training.trainer",
        ),
        ("grpo", {}, {"scale_rewards": "batch"}, "scale_rewards is 'batch': grpo wants 'group'"),
        ("ds", {}, {"multi_objective_aggregation": "normalize_then_sum"}, "ds wants 'sum_then_normalize'"),
        ("clip_higher", {}, {"epsilon_high": None}, r"epsilon_high is 0.2: clip_higher wants 0.28"),
        ("clip", {}, {"delta": 2.0}, "delta is 2.0: clip wants None"),
        ("gspo", {}, {"importance_sampling_level": "token"}, "gspo wants 'sequence'"),
        ("kl_cov", {}, {"loss_type": "sapo"}, "loss_type is 'sapo': kl_cov wants one of grpo, bnpo, dr_grpo, dapo"),
        ("cispo", {}, {"loss_type": "dapo"}, "loss_type is 'dapo': cispo wants 'cispo'"),
        ("entropy_bonus", {"form": "loss"}, {"entropy_coef": 0.2}, "entropy_coef is 0.2: entropy_bonus wants 0.1"),
        ("kl_penalty", {"form": "loss"}, {"beta": 0.1}, "beta is 0.1: kl_penalty wants 0.04"),
        ("mara", {}, {"sync_ref_model": True}, "sync_ref_model is True: mara wants False"),
        ("pkpo", {"k": 9}, {}, "num_generations is 8: pkpo wants 9 or more"),
    ],
)
def test_arguments_that_a_method_cannot_work_with_are_refused_in_one_line(
    tmp_path, monkeypatch, method, parameters, options, message
):
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: training.fresh_model())
    monkeypatch.setattr("trl.trainer.grpo_trainer.SyncRefModelCallback", lambda **_: None)
    with pytest.raises(ValueError, match=message) as error:
        training.make(
            method, tmp_path, parameters, **({"beta": 0.04} if "sync_ref_model" in options else {}), **options
        )
    assert "\n" not in str(error.value)


def test_a_range_that_trl_fills_in_is_not_refused(tmp_path):
    training.make("clip", tmp_path, epsilon_high=None)


def test_the_verifier_is_named_where_there_are_several_functions(tmp_path):
    def build(correct: str | None, functions: list[Any]) -> Any:
        base = trainer.with_method(training.Recorded, "ds", correct=correct)
        return training.make(None, tmp_path, base=base, functions=functions, scale_rewards="none")

    both = [training.credit, training.correct]
    assert build("correct", both)._verifier == 1
    assert build(None, [training.credit])._verifier == 0
    for name, functions in ((None, both), ("right", both), ("correct", [training.correct] * 2)):
        with pytest.raises(ValueError, match=rf"correct is {name!r}: want the name of exactly one of .*\['cr?"):
            build(name, functions)


def test_unknown_methods_and_parameters_are_refused_before_a_model_is_loaded():
    with pytest.raises(ValueError, match="'grop' is not a method"):
        trainer.with_method(training.Recorded, "grop")
    with pytest.raises(ValueError, match="'gamma' is not a parameter of ds"):
        trainer.with_method(training.Recorded, "ds", {"gamma": 1.0})
    with pytest.raises(ValueError, match=r"clip_low is 0.2: TRL's CISPO has no lower bound: want 1"):
        trainer.with_method(training.Recorded, "cispo", {"clip_low": 0.2})


def test_marks_other_than_0_and_1_are_refused(tmp_path):
    def graded(completions: list[str], **_: Any) -> list[float]:
        return [0.5] * len(completions)

    with pytest.raises(ValueError, match=r"correct has 16 values of scorable completions that are not 0.0 or 1.0"):
        training.make("ds", tmp_path, functions=[graded]).train()


def test_what_the_theory_warns_of_is_said_once_at_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: training.fresh_model())
    with pytest.warns(UserWarning, match=r"gamma_incorrect 0.05 is not below kl_strength 0.01.*claim A3"):
        training.make("ds", tmp_path, STRONG, beta=0.01)


@pytest.mark.slow
def test_where_log_probabilities_come_from_does_not_matter(tmp_path):
    forward = in_the_loss(ran("ds", {}, tmp_path))[0]
    made = ran("ds", {}, tmp_path, num_iterations=2, max_steps=2)
    assert made.policies.source == "trl"
    for ids, value in in_the_loss(made)[0].items():
        assert value.item() == pytest.approx(forward[ids].item(), rel=TRAINED, abs=TRAINED)


@pytest.mark.slow
def test_a_base_policy_that_trl_holds_gives_what_the_frozen_copy_gives(tmp_path, monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.create_model_from_path", lambda *_, **__: training.fresh_model())
    copied = in_the_loss(ran("kl_penalty", {}, tmp_path))[0]
    held = ran("kl_penalty", {}, tmp_path, beta=0.04)
    assert held.policies._base is held.ref_model
    for ids, value in in_the_loss(held)[0].items():
        assert value.item() == pytest.approx(copied[ids].item(), rel=TRAINED, abs=TRAINED)


def test_numbers_that_are_not_finite_and_a_term_that_is_no_kl_are_refused(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("def nan(reward):\n    return reward * float('nan')\n")
    with pytest.raises(ValueError, match="it gave an advantage that is NaN or infinite"):
        ran(f"{path}:nan", {}, tmp_path)
    gspo = calls.resolve("gspo")
    given = SimpleNamespace(**trainer.grpo_options(gspo), beta=0.04, loss_type="grpo")
    with pytest.raises(ValueError, match=r"beta is 0\.04: TRL's term for ratios of sequences"):
        options.require_options(gspo, calls.parameter_values(gspo, {}), given)


def test_a_loss_that_asks_for_no_log_probabilities_is_not_taken_for_the_method_s(tmp_path, monkeypatch):
    monkeypatch.setattr(training.trl.GRPOTrainer, "_compute_loss", lambda self, model, inputs: torch.zeros(()))
    with pytest.raises(ValueError, match="kl_cov: this loss of TRL's asks for no log-probabilities"):
        ran("kl_cov", {}, tmp_path)


@pytest.mark.slow
def test_a_function_in_a_file_trains_and_gets_what_it_names(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def mine(*, reward, correct, log_prob, num_tokens=None, scale: float = 1.0):\n"
        "    return scale * (reward - reward.mean(-1, keepdims=True)) - 0.1 * correct * log_prob / num_tokens\n"
    )
    made = ran(f"{tmp_path / 'mine.py'}:mine", {"scale": 2.0}, tmp_path, functions=[training.always_scored])
    same = {"gamma_correct": 0.05, "reduction": "mean"}
    wanted = in_the_loss(ran("ds", same, tmp_path, functions=[training.always_scored]))[0]
    for ids, value in in_the_loss(made)[0].items():
        assert value.item() == pytest.approx(2 * wanted[ids].item(), rel=TRAINED, abs=TRAINED)


def test_a_subclass_of_ones_own_keeps_its_overrides(tmp_path):
    class Mine(training.Recorded):
        def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
            return 0.0 * super()._compute_loss(model, inputs)

    made = training.make("ds", tmp_path, base=Mine, optim="sgd")
    made.train()
    assert isinstance(made, Mine)
    assert torch.equal(training.weights(made), training.weights(training.make("ds", tmp_path)))
    assert made.state.log_history[0]["method/bonus_ratio"] > 0


def test_evaluation_has_metrics_of_its_own_and_small_groups_there_are_no_error(tmp_path):
    for num_generations_eval, is_shaped in ((8, True), (1, False)):
        made = training.make("ds", tmp_path, num_generations_eval=num_generations_eval, per_device_eval_batch_size=8)
        found = made.evaluate(made.train_dataset)
        assert ("eval_method/correct" in found, found["eval_method/shaped_advantage"] > 0) == (True, is_shaped)
        assert "method/correct" not in made._metrics["train"]


@pytest.mark.parametrize(("num_prompts", "num_kept"), [(1, 8), (5, 16)])
def test_the_table_holds_the_advantages_of_its_completions_once(tmp_path, num_prompts, num_kept):
    made = training.make("ds", tmp_path, per_device_eval_batch_size=40)  # the table has 16 places
    made.evaluate(made.train_dataset.select(range(num_prompts)))
    assert len(made._logs["completion"]) == num_kept
    want = made.seen[-1]["advantages"][-num_kept:].tolist()
    assert list(made._logs["advantages"]) == pytest.approx(want, rel=TRAINED)


@pytest.mark.slow
def test_metrics_are_the_sizes_of_what_was_used(tmp_path):
    made = ran("ds", STRONG, tmp_path)
    logged, observed = made.state.log_history[0], in_the_loss(made)[0]
    bare = in_the_loss(ran("dr_grpo", {}, tmp_path))[0]
    size = np.mean([abs(value.item()) for value in bare.values()])
    bonus = np.mean([abs(observed[ids].item() - bare[ids].item()) for ids in bare])
    marks = [training.correct([ids])[0] for ids in completions()]
    of_wrong = [abs(observed[ids].item() - bare[ids].item()) for ids in bare if training.correct([ids])[0] == 0]
    want = {
        "method/plain_advantage": size,
        "method/shaped_advantage": np.mean([abs(value.item()) for value in observed.values()]),
        "method/bonus_ratio": bonus / size,
        "method/correct": np.mean([mark for mark in marks if mark is not None]),
        "method/unscorable": marks.count(None) / len(marks),
        "method/wrong_share": sum(of_wrong) / (bonus * len(bare)),
    }
    assert {name: logged[name] for name in want} == pytest.approx(want, rel=TRAINED)


@pytest.mark.slow
def test_truncated_completions_out_of_the_loss_stay_in_their_group(tmp_path):
    made = ran("ds", TRL_OWN | STRONG, tmp_path, mask_truncated_completions=True)
    rows = [
        (batch["completion_ids"][row], batch["completion_mask"][row], batch["advantages"][row])
        for batch in made.seen
        for row in range(8)
    ]
    untouched = in_the_loss(ran("ds", TRL_OWN | STRONG, tmp_path))[0]
    num_masked = 0
    for ids, mask, value in rows:
        num_masked += not mask.any()
        key = next(key for key in untouched if [*key] == ids.tolist()[: len(key)] and not any(ids.tolist()[len(key) :]))
        assert value.item() == pytest.approx(untouched[key].item(), rel=TRAINED, abs=TRAINED)
    assert 10 < num_masked < 40


@pytest.mark.slow
def test_tokens_that_the_model_did_not_write_do_not_count(tmp_path):
    class WithTools(training.Recorded):
        def _generate(self, prompts: list[str]) -> Any:
            prompt_ids, completion_ids, _, *rest = super()._generate(prompts)
            masks = [[int(place != 1) for place in range(len(ids))] for ids in completion_ids]
            return prompt_ids, completion_ids, masks, *rest

    parameters = {"gamma_correct": 0.1, "reduction": "mean"}
    observed, prompts = in_the_loss(ran("ds", parameters, tmp_path, base=WithTools, functions=[training.always_scored]))
    bare, _ = in_the_loss(ran("dr_grpo", {}, tmp_path, functions=[training.always_scored]))
    for ids, value in observed.items():
        own = token_log_probs(plain_models()[0], prompts[ids], [*ids])
        del own[1:2]
        term = -0.1 * math.fsum(own) / len(own) * training.always_scored([[*ids]])[0]
        assert value.item() == pytest.approx(bare[ids].item() + term, rel=TRAINED, abs=TRAINED)


def weighed(method: str, advantage: float, entropies: list[float], is_top: list[bool]) -> list[float]:
    """The weights of a completion's tokens on the first update, from the formulas."""
    if method == "entropy_advantage":
        return [advantage + min(0.4 * entropy, abs(advantage) / 2) for entropy in entropies]
    threshold = np.quantile(entropies, 0.8)
    return [
        advantage * (1.1 if advantage < 0 and top and entropy > threshold else 1.0)
        for entropy, top in zip(entropies, is_top, strict=True)
    ]


@torch.no_grad()
def positions(prompt: list[int], ids: tuple[int, ...]) -> tuple[list[float], list[bool]]:
    """Entropy at every token at the sampling temperature, and whether the token was the likeliest."""
    logits = plain_models()[0](input_ids=torch.tensor([[*prompt, *ids]])).logits[0, len(prompt) - 1 : -1].double()
    log_policy = (logits / training.TEMPERATURE).log_softmax(-1)
    entropies = -(log_policy.exp() * log_policy).sum(-1)
    return entropies.tolist(), [int(row.argmax()) == token for row, token in zip(logits, ids, strict=True)]


@pytest.mark.parametrize("method", ["entropy_advantage", "simko_penalty"])
def test_single_tokens_are_weighed_by_their_own_entropy_and_rank(tmp_path, method):
    made = ran(method, {}, tmp_path)
    plain, prompts = in_the_loss(made)
    num_changed = 0
    for batch, used in zip(made.seen, made.used, strict=True):
        for row in range(8):
            is_token = batch["completion_mask"][row] > 0
            ids = tuple(batch["completion_ids"][row][is_token].tolist())
            want = weighed(method, plain[ids].item(), *positions(prompts[ids], ids))
            np.testing.assert_allclose(used[row][is_token], want, rtol=TRAINED, atol=TRAINED)
            num_changed += sum(not math.isclose(value, plain[ids].item(), abs_tol=TRAINED) for value in want)
    assert num_changed > 0


def test_options_are_those_of_the_methods_of_the_table():
    assert trainer.grpo_options("reinforce") == {
        "scale_rewards": "none",
        "multi_objective_aggregation": "sum_then_normalize",
    }
    assert trainer.grpo_options("entropy_penalty", {"form": "loss", "strength": 0.3})["entropy_coef"] == -0.3
    assert trainer.grpo_options(calls.resolve("cispo"), {"clip_high": 0.5})["epsilon_high"] == 1.5
