"""Advantages of batches as verl and slime hold them, without either: against loops over groups, and the refusals."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from sharpening.llm import engine_batch, slime_hook, verl_plugin
from sharpening.llm.engine_batch import Batch
from tests import engine_batches
from tests.engine_batches import CASES, NUM_POSITIONS, STRONG, Made
from tests.tolerances import ADVANTAGE32, ADVANTAGE64

ROOT = Path(__file__).resolve().parent.parent


def batch(rows: Made) -> Batch:
    tensors = (
        torch.tensor(one) for one in (rows.correct, rows.correct, rows.mask, rows.log_probs, rows.base_log_probs)
    )
    return Batch(rows.group, *tensors, answer=rows.answer)


def verl_data(rows: Made, **more: torch.Tensor) -> Any:
    """As verl has it, names of groups as an array of objects."""
    return SimpleNamespace(
        batch=engine_batches.verl_tensors(rows) | more, non_tensor_batch={"uid": np.array(rows.group, object)}
    )


def algorithm(method: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"sharpening": {"method": method, "parameters": parameters or {}, **more}}


# --- any engine -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", CASES)
def test_advantages_are_those_of_loops_over_the_groups(case: str, seed: int) -> None:
    """Shuffled groups of three sizes; what padding holds is of no account."""
    method, parameters, advantage = CASES[case]
    rows = engine_batches.made(seed)
    found = engine_batch.advantages(engine_batch.choose(method, parameters, "a test"), batch(rows))
    wanted = engine_batches.by_loops(advantage, rows)
    np.testing.assert_allclose(found.shaped, wanted, rtol=ADVANTAGE64, atol=ADVANTAGE64)
    np.testing.assert_allclose(found.by_token, wanted[:, None] * rows.mask, rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_every_token_has_its_own_term_and_padding_none() -> None:
    rows = engine_batches.made()
    found = engine_batch.advantages(engine_batch.choose("ds_token", STRONG, "a test"), batch(rows))
    wanted = engine_batches.by_token(rows)
    np.testing.assert_allclose(found.by_token, wanted, rtol=ADVANTAGE64, atol=ADVANTAGE64)
    np.testing.assert_allclose(
        found.shaped, wanted.sum(1) / rows.mask.sum(1), rtol=ADVANTAGE64, atol=ADVANTAGE64
    )  # the mean over tokens


@pytest.mark.parametrize("method", ["ds", "ds_token", "unlikeliness"])
def test_what_is_not_scored_gets_nothing_and_the_others_as_if_it_was_not_drawn(method: str) -> None:
    rows = engine_batches.made()
    parameters = STRONG if method != "unlikeliness" else {}
    choice = engine_batch.choose(method, parameters, "a test")
    left_out = np.array([name == "c" and kind == 1 for name, kind in zip(rows.group, rows.answer, strict=True)])
    some = batch(rows)._replace(reward=torch.tensor(np.where(left_out, np.nan, rows.correct)))
    found = engine_batch.advantages(choice, some).by_token.numpy()
    kept = Made(*(np.array(one)[~left_out].tolist() if isinstance(one, list) else one[~left_out] for one in rows))
    assert left_out.sum() == 3
    assert np.array_equal(found[left_out], np.zeros((3, NUM_POSITIONS)))
    alone = engine_batch.advantages(choice, batch(kept)).by_token.numpy()
    np.testing.assert_allclose(found[~left_out], alone, rtol=ADVANTAGE64, atol=ADVANTAGE64)
    assert np.abs(alone).max() > 0


def test_one_completion_alone_has_no_term_either() -> None:
    """By token as elsewhere: a group with fewer than the method can work with gets 0."""
    rows = engine_batches.made()
    first = rows.group.index("a")
    some = batch(rows)._replace(group=["alone" if at == first else name for at, name in enumerate(rows.group)])
    for method in ("ds", "ds_token"):
        found = engine_batch.advantages(engine_batch.choose(method, STRONG, "a test"), some)
        assert found.by_token[first].abs().max() == 0
        assert found.by_token.abs().max() > 0


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("clip_cov", r"verl's plugin cannot run clip_cov: it is a token-level method \("),
        ("nothing", "'nothing' is not a method: want FILE.py:FUNCTION or one of"),
    ],
)
def test_a_method_that_an_engine_cannot_run_is_one_line(method: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        verl_plugin.chosen(verl_plugin.settings_of(algorithm(method)))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (None, r"algorithm.sharpening: None: want algorithm.sharpening.method, as ds_reward"),
        ({"method": "ds", "gamma": 1}, "algorithm.sharpening.gamma: 1: Extra inputs are not permitted"),
        ({"parameters": {}, "correct_above": 0}, "algorithm.sharpening.method: {.*}: Field required"),
        (
            {"method": "ds", "correct_above": "x"},
            "algorithm.sharpening.correct_above: 'x': Input should be a valid",
        ),
    ],
)
def test_a_section_that_is_wrong_is_one_line(given: Any, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        verl_plugin.settings_of({"sharpening": given})


def test_an_advantage_that_is_not_finite_is_refused(tmp_path: Any) -> None:
    file = tmp_path / "mine.py"
    file.write_text("def bad(reward):\n    return reward / 0\n")
    with pytest.raises(ValueError, match="it gave an advantage that is NaN or infinite: want finite numbers"):
        engine_batch.advantages(engine_batch.choose(f"{file}:bad", {}, "a test"), batch(engine_batches.made()))


@pytest.mark.slow
def test_beside_another_engine_torch_and_three_small_packages_are_enough() -> None:
    """verl and slime pin versions of their own of what else the extra `llm` brings."""
    code = "import sys; import sharpening.llm.verl_plugin, sharpening.llm.slime_hook; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert {"torch", "pydantic", "array_api_compat", "numpy"} <= loaded
    assert not {"trl", "transformers", "accelerate", "datasets", "peft", "scipy", "matplotlib", "verl"} & loaded


# --- verl -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [*CASES, "ds_token"])
def test_verls_batch_gets_the_advantages_in_its_own_order(case: str) -> None:
    method, parameters, _ = CASES.get(case, ("ds_token", STRONG, None))
    rows = engine_batches.made()
    data = verl_data(rows)
    done = verl_plugin.with_advantages(data, algorithm(method, parameters), num_repeat=6)
    assert done is data
    if case == "ds_token":
        wanted = engine_batches.by_token(rows)
    else:
        wanted = engine_batches.by_loops(CASES[case][2], rows)[:, None] * rows.mask
    assert data.batch["advantages"].dtype == torch.float32
    np.testing.assert_allclose(data.batch["advantages"], wanted, rtol=ADVANTAGE32, atol=ADVANTAGE32)
    assert torch.equal(data.batch["returns"], data.batch["advantages"])
    assert data.batch["returns"] is not data.batch["advantages"]


def test_a_term_larger_than_the_advantage_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for strength in (1e-4, 100.0):
        verl_plugin.with_advantages(
            verl_data(engine_batches.made()), algorithm("ds", {"gamma_correct": strength}), num_repeat=6
        )
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "ds: mean |advantage| 0.1538 without the term, mean |term| " in caplog.text


def test_correct_is_said_by_the_score_before_the_penalty_or_above_a_number() -> None:
    rows = engine_batches.made()
    data = verl_data(rows)
    plain = verl_plugin.batch_of(data, None, 6)
    data.batch["token_level_rewards"] = data.batch["token_level_scores"] - 0.1 * data.batch["response_mask"]
    penalised = verl_plugin.batch_of(data, None, 6)
    assert torch.equal(penalised.correct, plain.correct)
    np.testing.assert_allclose(
        penalised.reward, plain.reward.numpy() - 0.1 * rows.mask.sum(1), rtol=ADVANTAGE32, atol=ADVANTAGE32
    )
    del data.batch["token_level_scores"]
    data.batch["token_level_rewards"] = 2 * plain.reward[:, None] - 1
    assert torch.equal(verl_plugin.batch_of(data, 0.0, 6).correct, plain.correct)
    with pytest.raises(ValueError, match=r"algorithm.sharpening.correct_above: None: a completion has reward -1: want"):
        verl_plugin.batch_of(data, None, 6)


def test_several_outputs_of_a_session_are_refused() -> None:
    data = verl_data(engine_batches.made())
    with pytest.raises(ValueError, match=r"actor_rollout_ref.rollout.n: 4: prompt c has 6 outputs: sessions of"):
        verl_plugin.batch_of(data, None, 4)
    data.batch["response_mask"] = torch.zeros_like(data.batch["response_mask"])  # as of what verl pads a batch with
    assert len(verl_plugin.batch_of(data, None, 4).group) == len(data.non_tensor_batch["uid"])
    verl_plugin.require_single_outputs(["a_b_0_0", "a_b_1_0", "a_b_2_1"])
    with pytest.raises(ValueError, match="session a_b_1 has 2 outputs: sessions of several outputs are not supported"):
        verl_plugin.require_single_outputs(["a_b_0_0", "a_b_1_0", "a_b_1_1"])


def test_hidden_tokens_are_refused_where_nothing_was_validated() -> None:
    section = algorithm("ds", STRONG) | {"rollout_correction": {"rollout_rs": "token_k1"}}
    with pytest.raises(ValueError, match="rollout_rs: 'token_k1': it hides tokens, and ds needs the whole"):
        verl_plugin.with_advantages(verl_data(engine_batches.made()), section, num_repeat=6)


def test_a_function_that_names_no_reward_sees_no_filler_either(tmp_path: Any) -> None:
    """A group of 2 beside one of 3: its numbers are those that it has alone."""
    file = tmp_path / "mine.py"
    file.write_text("def mine(log_prob):\n    return log_prob - log_prob.mean(-1, keepdims=True)\n")
    choice = engine_batch.choose(f"{file}:mine", {}, "a test")
    log_prob = torch.tensor([[-1.0], [-2.0], [-6.0], [-1.0], [-2.0]])
    marks = torch.tensor([1.0, 0.0, 1.0, 1.0, 0.0])
    whole = Batch(["a", "a", "a", "b", "b"], marks, marks, torch.ones(5, 1), log_prob)
    alone = Batch(["b", "b"], marks[3:], marks[3:], torch.ones(2, 1), log_prob[3:])
    found = engine_batch.advantages(choice, whole).shaped[3:]
    assert found.tolist() == engine_batch.advantages(choice, alone).shaped.tolist() == [0.5, -0.5]


def test_only_the_named_estimator_is_ours() -> None:
    def compute_advantage(data: Any, adv_estimator: str, num_repeat: int = 1, config: Any = None) -> str:
        return f"{adv_estimator} {num_repeat}"

    wrapped = verl_plugin.wrapped_advantage(compute_advantage)
    assert wrapped(None, "grpo", num_repeat=3) == "grpo 3"
    data = verl_data(engine_batches.made())
    assert wrapped(data, adv_estimator="sharpening", config=algorithm("grpo")) is data
    assert "advantages" in data.batch
    with pytest.raises(ValueError, match=r"compute_advantage of verl takes batch: want verl 0\.9"):
        verl_plugin.wrapped_advantage(lambda batch: batch)


def configuration(method: str, parameters: dict[str, Any] | None = None, **changes: Any) -> Any:
    """What is read of a whole configuration of verl, with some of it changed."""
    settings: dict[str, Any] = {
        "n": 8,
        "use_kl_loss": False,
        "in_reward": False,
        "use_v1": True,
        "rollout_rs": None,
        "enable": False,
    }
    settings |= changes
    parts = algorithm(method, parameters) | {
        "rollout_correction": {"rollout_rs": settings["rollout_rs"]},
        "filter_groups": {"enable": settings["enable"]},
    }
    fields = {"use_kl_in_reward": settings["in_reward"], "kl_ctrl": SimpleNamespace(kl_coef=0.002)}
    named = type("Algorithm", (dict,), {**fields, "adv_estimator": "sharpening"})
    return SimpleNamespace(
        algorithm=named(parts),
        trainer=SimpleNamespace(use_v1=settings["use_v1"]),
        actor_rollout_ref=SimpleNamespace(
            rollout=SimpleNamespace(n=settings["n"]),
            actor=SimpleNamespace(use_kl_loss=settings["use_kl_loss"], kl_loss_coef=0.001),
        ),
    )


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (configuration("grpo", n=1), "actor_rollout_ref.rollout.n: 1: grpo wants 2 or more"),
        (configuration("pkpo", {"k": 4}, n=3), "actor_rollout_ref.rollout.n: 3: pkpo wants 4 or more"),
        (configuration("mara"), "actor_rollout_ref.actor.use_kl_loss: False: mara needs the policy before training"),
        (configuration("ips"), "trainer.use_v1: True: ips counts answers, which that trainer hides: want false"),
        (configuration("ds", rollout_rs="x"), "algorithm.rollout_correction.rollout_rs: 'x': it hides tokens, and ds "),
        (
            configuration("ips", use_v1=False, rollout_rs="x"),
            "rollout_rs: 'x': it hides tokens, and ips needs the whole",
        ),
        (
            configuration("maxrl", in_reward=True),
            "algorithm.use_kl_in_reward: True: it makes rewards negative, which maxrl",
        ),
        (
            configuration("entropy_bonus", {"form": "loss"}),
            "verl's plugin cannot run entropy_bonus: it is a loss",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_starts(config: Any, line: str) -> None:
    called = []
    validate = verl_plugin.wrapped_validation(lambda config, use_critic: called.append(use_critic))
    with pytest.raises(ValueError, match=line):
        validate(config, use_critic=False)
    assert called == [False]


def test_what_can_work_is_not_refused_and_caveats_are_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for config in (
            configuration("grpo", rollout_rs="x"),
            configuration("mara", {"strength": 0.001}, use_kl_loss=True),
            configuration("ips", use_v1=False),
            configuration("ds_token", {"gamma_correct": 0.0, "gamma_incorrect": 0.0}),
            configuration("mara", {"strength": 0.002}, in_reward=True),  # the penalty there is in the reward
        ):
            verl_plugin.require_possible(config)
    with pytest.warns(UserWarning, match="dynamic sampling"):
        verl_plugin.require_possible(configuration("ds", STRONG, enable=True))
    with pytest.warns(UserWarning, match=r"gamma_incorrect 0\.5 is not below kl_strength 0\.001"):
        verl_plugin.require_possible(configuration("ds", STRONG, use_kl_loss=True))


# --- slime ------------------------------------------------------------------------------------------------------


def sample(rows: Made, at: int, **changes: Any) -> Any:
    """A completion as slime has it: prompt and completion in one list of tokens, no padding."""
    length = int(rows.mask[at].sum())
    given = dict(
        group_index=ord(rows.group[at]),
        index=at,
        tokens=[1, 2, 3, *rows.tokens[at, :length].tolist()],
        response_length=length,
        reward=float(rows.correct[at]),
        loss_mask=None,
        rollout_log_probs=rows.log_probs[at, :length].tolist(),
    )
    made = SimpleNamespace(**given | changes)
    made.get_reward_value = lambda _: made.reward
    return made


def arguments(method: str, parameters: dict[str, Any] | None = None, **changes: Any) -> Any:
    given = dict(advantage_estimator="grpo", normalize_advantages=False, reward_key="")
    return SimpleNamespace(**algorithm(method, parameters) | given | changes)


@pytest.mark.parametrize("case", [case for case in CASES if "base" not in case and case not in ("mara", "kl_penalty")])
def test_slimes_hook_returns_the_advantages_in_the_order_of_the_samples(case: str) -> None:
    method, parameters, advantage = CASES[case]
    rows = engine_batches.made()
    samples = [sample(rows, at) for at in range(len(rows.group))]
    raw, shaped = slime_hook.rewards(arguments(method, parameters), samples)
    assert raw == rows.correct.tolist()
    np.testing.assert_allclose(shaped, engine_batches.by_loops(advantage, rows), rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_slimes_hook_says_what_the_ledger_warns_of() -> None:
    rows = engine_batches.made()
    samples = [sample(rows, at) for at in range(len(rows.group))]
    with pytest.warns(UserWarning, match=r"gamma_incorrect 0\.5 is not below kl_strength 0\.001"):
        slime_hook.rewards(arguments("ds", STRONG, use_kl_loss=True, kl_loss_coef=0.001), samples)


def test_tokens_outside_the_loss_mask_do_not_count_and_no_reward_is_not_scored() -> None:
    rows = engine_batches.made()
    samples = [sample(rows, at) for at in range(len(rows.group))]
    _, before = slime_hook.rewards(arguments("ds", STRONG), samples)
    longer = [
        sample(
            rows,
            at,
            tokens=[*one.tokens, 9, 9],
            response_length=one.response_length + 2,
            loss_mask=[1] * one.response_length + [0, 0],
            rollout_log_probs=[*one.rollout_log_probs, -3.0, -4.0],
        )
        for at, one in enumerate(samples)
    ]
    np.testing.assert_allclose(slime_hook.rewards(arguments("ds", STRONG), longer)[1], before, rtol=ADVANTAGE64)
    mixed = rows.group.index("b")
    samples[mixed].reward = None
    raw, shaped = slime_hook.rewards(arguments("ds", STRONG), samples)
    assert np.isnan(raw[mixed])
    assert shaped[mixed] == 0
    others = [at for at, name in enumerate(rows.group) if name == "b" and at != mixed]
    assert all(shaped[at] != before[at] for at in others)  # the group's mean is another


@pytest.mark.parametrize(
    ("changed", "of_sample", "line"),
    [
        ({"sharpening": None}, {}, "sharpening: None: want sharpening.method, as ds_reward"),
        (
            {"sharpening": {"method": "ds_token"}},
            {},
            "sharpening.parameters.reduction: 'token': slime takes one",
        ),
        ({"sharpening": {"method": "mara"}}, {}, "mara needs base_log_prob: the caller has reward, correct"),
        ({"advantage_estimator": "ppo"}, {}, "advantage_estimator: 'ppo': want one of grpo, gspo, cispo"),
        ({"normalize_advantages": True}, {}, "normalize_advantages: True: it would change what the method gave"),
        ({}, {"group_index": None}, "group_index: None: sample 4 names no group: want the number of its prompt"),
        ({}, {"rollout_log_probs": [-1.0]}, "rollout_log_probs: 1 of sample 4: want one for each of its . tokens"),
        ({}, {"rollout_log_probs": None}, "ds needs log_prob: the caller has reward, correct"),
        ({}, {"reward": -1.0}, "sharpening.correct_above: None: a completion has reward -1: want rewards of 0 and 1"),
    ],
)
def test_slimes_hook_refuses_in_one_line(changed: dict[str, Any], of_sample: dict[str, Any], line: str) -> None:
    rows = engine_batches.made()
    samples = [sample(rows, at, **(of_sample if at == 4 else {})) for at in range(len(rows.group))]
    with pytest.raises(ValueError, match=line):
        slime_hook.rewards(arguments("ds", **changed), samples)
