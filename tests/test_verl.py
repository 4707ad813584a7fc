"""The plugin inside verl itself, which imports it by VERL_USE_EXTERNAL_MODULES: `make test-verl`, in its environment.

What verl's own functions then do is compared with loops over groups, and with TRL's trainer on the same completions.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

os.environ["VERL_USE_EXTERNAL_MODULES"] = "sharpening.llm.verl_plugin"
verl = pytest.importorskip("verl")
from hydra import compose, initialize_config_module  # noqa: E402
from omegaconf import OmegaConf  # noqa: E402
from tensordict import TensorDict  # noqa: E402
from verl.trainer.ppo import core_algos, ray_trainer  # noqa: E402
from verl.trainer.ppo.utils import need_critic, need_reference_policy  # noqa: E402
from verl.utils import config as verl_config  # noqa: E402

from tests import engine_batches, training  # noqa: E402
from tests.engine_batches import CASES, STRONG, Made  # noqa: E402
from tests.test_trainer import completions  # noqa: E402
from tests.tolerances import ADVANTAGE32, FLOAT32_GRADIENT, TRAINED  # noqa: E402

pytestmark = pytest.mark.verl
CLIP_LOW, CLIP_HIGH, DUAL = 0.2, 0.28, 3.0  # of verl's loss; the last where advantages are negative


class Actor(dict[str, Any]):
    """What verl's policy loss reads of an actor's configuration."""

    clip_ratio, clip_ratio_low, clip_ratio_high, global_batch_info = 0.2, CLIP_LOW, CLIP_HIGH, {}


def data_of(rows: Made) -> Any:
    """verl's own container."""
    made = engine_batches.verl_tensors(rows)
    return verl.DataProto(
        batch=TensorDict(made, [len(rows.group)]), non_tensor_batch={"uid": np.array(rows.group, object)}
    )


def algorithm(method: str, parameters: dict[str, Any]) -> Any:
    section = {"method": method, "parameters": parameters}
    return OmegaConf.create({"adv_estimator": "sharpening", "norm_adv_by_std_in_grpo": True, "sharpening": section})


def computed(rows: Made, method: str, parameters: dict[str, Any]) -> Any:
    """As verl's trainers call it."""
    return ray_trainer.compute_advantage(
        data_of(rows),
        adv_estimator="sharpening",
        gamma=1.0,
        lam=1.0,
        num_repeat=6,
        norm_adv_by_std_in_grpo=True,
        config=algorithm(method, parameters),
    ).batch["advantages"]


def wanted(case: str, rows: Made) -> np.ndarray:
    if case == "ds_token":
        return engine_batches.by_token(rows)
    return engine_batches.by_loops(CASES[case][2], rows)[:, None] * rows.mask


def test_verl_is_that_of_the_plugin_and_has_imported_it() -> None:
    assert verl.__version__.startswith("0.9.")
    assert ray_trainer.compute_advantage.__wrapped__ is not ray_trainer.compute_advantage
    assert verl_config.validate_config.__wrapped__ is not verl_config.validate_config
    from sharpening.llm import verl_plugin

    before = ray_trainer.compute_advantage
    verl_plugin.install()  # again
    assert ray_trainer.compute_advantage is before


@pytest.mark.parametrize("case", [*CASES, "ds_token"])
@pytest.mark.parametrize("seed", range(2))
def test_advantages_in_verl_are_those_of_loops_over_the_groups(case: str, seed: int) -> None:
    method, parameters, _ = CASES.get(case, ("ds_token", STRONG, None))
    rows = engine_batches.made(seed)
    found = computed(rows, method, parameters)
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found, wanted(case, rows), rtol=ADVANTAGE32, atol=ADVANTAGE32)


def test_the_trainer_of_version_1_comes_through_here_too() -> None:
    utils = pytest.importorskip("verl.trainer.ppo.v1.utils")
    rows = engine_batches.made()
    keys = [f"{name}_{at}_0" for at, name in enumerate(rows.group)]
    found = utils.compute_advantage_for_multi_trajectories(
        data_of(rows), batch_keys=keys, adv_estimator="sharpening", num_repeat=6, config=algorithm("ds_token", STRONG)
    )
    np.testing.assert_allclose(found.batch["advantages"], wanted("ds_token", rows), rtol=ADVANTAGE32, atol=ADVANTAGE32)
    with pytest.raises(ValueError, match="sessions of several outputs are not supported"):
        utils.compute_advantage_for_multi_trajectories(
            data_of(rows), batch_keys=keys, adv_estimator="sharpening", num_repeat=4, config=algorithm("ds", {})
        )


@pytest.mark.parametrize("estimator", ["grpo", "rloo", "reinforce_plus_plus"])
def test_other_estimators_are_verls_own(estimator: str) -> None:
    config = OmegaConf.create({"adv_estimator": estimator, "gamma": 1.0, "norm_adv_by_std_in_grpo": True})
    rows = engine_batches.made()
    both = [
        function(data_of(rows), adv_estimator=estimator, num_repeat=6, config=config).batch["advantages"]
        for function in (ray_trainer.compute_advantage, ray_trainer.compute_advantage.__wrapped__)
    ]
    assert torch.equal(*both)
    assert both[0].abs().max() > 0


@pytest.mark.parametrize("case", ["grpo", "ds", "ds_token", "ds_reward", "unlikeliness", "mara"])
def test_the_gradient_of_verls_loss_is_that_of_the_method(case: str) -> None:
    """By hand, token by token: clipped above and below, and twice where the advantage is negative."""
    method, parameters, _ = CASES.get(case, ("ds_token", STRONG, None))
    rows = engine_batches.made()
    mask = torch.tensor(rows.mask, dtype=torch.float32)
    old = torch.where(mask > 0, torch.tensor(rows.log_probs, dtype=torch.float32), 0.0)
    now = (old + 0.4 * torch.randn(old.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    loss, _ = core_algos.get_policy_loss_fn("vanilla")(
        old_log_prob=old,
        log_prob=now,
        advantages=computed(rows, method, parameters),
        response_mask=mask,
        loss_agg_mode="token-mean",
        config=Actor(),
    )
    loss.backward()
    by_hand = np.zeros(rows.mask.shape)
    advantage, ratios = wanted(case, rows), np.exp((now - old).detach().double().numpy())
    clipped = 0
    for row, column in zip(*np.nonzero(rows.mask), strict=True):
        value, ratio = advantage[row, column], ratios[row, column]
        is_open = ratio < 1 + CLIP_HIGH if value > 0 else 1 - CLIP_LOW < ratio < DUAL
        by_hand[row, column] = -value * ratio * is_open / rows.mask.sum()
        clipped += not is_open
    assert 0 < clipped < rows.mask.sum()
    np.testing.assert_allclose(now.grad, by_hand, rtol=FLOAT32_GRADIENT, atol=TRAINED)


@pytest.mark.parametrize("case", ["ds", "ds_token", "ds_reward", "unlikeliness", "maxrl"])
def test_verl_and_trl_make_the_same_step_of_the_same_completions(case: str, tmp_path: Path) -> None:
    """Groups mixed, all correct and all wrong, one not scored; a step of gradient descent on a model's weights."""
    parameters = STRONG if case.startswith("ds") else {}
    options = dict(num_iterations=2, max_steps=2, optim="sgd", learning_rate=1.0, max_grad_norm=0.0)
    options |= dict(per_device_train_batch_size=40, loss_type="bnpo", save_strategy="no", temperature=1.0)
    scored = [training.correct]
    made = training.make(case, tmp_path, parameters, functions=scored, replay=completions(), **options)
    first: list[torch.Tensor] = []
    made.add_callback(training_callback(lambda: first.append(training.weights(made).clone())))
    start = training.weights(made).clone()
    made.train()
    inputs = made.seen[0]
    mask, ids = inputs["completion_mask"].float(), inputs["completion_ids"]
    whole = [row[own > 0].tolist() for row, own in zip(ids, mask, strict=True)]
    marks = [np.nan if one is None else one for one in training.correct(whole)]
    rewards = torch.zeros_like(mask)
    rewards[torch.arange(len(mask)), mask.sum(1).long() - 1] = torch.tensor(marks, dtype=torch.float32)
    data = verl.DataProto(
        batch=TensorDict(
            {"token_level_rewards": rewards, "response_mask": mask, "old_log_probs": inputs["old_per_token_logps"]},
            [len(mask)],
        ),
        non_tensor_batch={"uid": np.array([str(one.tolist()) for one in inputs["prompt_ids"]], object)},
    )
    done = ray_trainer.compute_advantage(
        data, adv_estimator="sharpening", num_repeat=training.GROUP_SIZE, config=algorithm(case, parameters)
    ).batch["advantages"]
    given = inputs["advantages"]
    theirs = given if given.dim() == 2 else given[:, None] * mask
    np.testing.assert_allclose(done, theirs * mask, rtol=ADVANTAGE32, atol=ADVANTAGE32)
    model = training.fresh_model()
    whole_ids = torch.cat([inputs["prompt_ids"], ids], dim=1)
    both = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    logits = model(input_ids=whole_ids, attention_mask=both).logits[:, -ids.size(1) - 1 : -1].log_softmax(-1)
    now = logits.gather(2, ids[..., None])[..., 0]
    loss, _ = core_algos.get_policy_loss_fn("vanilla")(
        old_log_prob=now.detach(), log_prob=now, advantages=done, response_mask=mask, config=Actor()
    )
    loss.backward()
    step = -torch.cat([one.grad.flatten() for one in model.parameters()])
    assert step.norm() > FLOAT32_GRADIENT
    moved = first[0] - start
    assert (moved - step).norm() / step.norm() < FLOAT32_GRADIENT


def training_callback(called: Any) -> Any:
    from sharpening.llm.training import callbacks

    return callbacks.on_step(lambda _: called())


OVERRIDES = [
    "algorithm.adv_estimator=sharpening",
    "+algorithm.sharpening.method=ds_reward",
    "+algorithm.sharpening.parameters.gamma_correct=0.05",
    "+algorithm.sharpening.parameters.gamma_incorrect=1e-3",
    "+algorithm.sharpening.correct_above=0",
    "actor_rollout_ref.rollout.n=6",
    "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
    "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=4",
    "data.train_batch_size=256",
]


def composed(*more: str) -> Any:
    with initialize_config_module("verl.trainer.config", version_base=None):
        return compose("ppo_trainer", [*OVERRIDES, *more])


def validated(config: Any) -> None:
    """As `python -m verl.trainer.main_ppo` does before anything starts."""
    verl_config.validate_config(
        config=config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config)
    )


def test_verls_configuration_takes_the_settings_and_they_reach_the_advantages() -> None:
    config = composed()
    validated(config)
    rows = engine_batches.made()
    data = data_of(rows)
    found = ray_trainer.compute_advantage(
        data, adv_estimator=config.algorithm.adv_estimator, num_repeat=6, config=config.algorithm
    ).batch["advantages"]
    parameters = {"gamma_correct": 0.05, "gamma_incorrect": 1e-3}
    np.testing.assert_allclose(found, computed(rows, "ds_reward", parameters), rtol=ADVANTAGE32, atol=ADVANTAGE32)
    assert not torch.equal(found, computed(rows, "ds_reward", {}))


@pytest.mark.parametrize(
    ("override", "line"),
    [
        (
            "~algorithm.sharpening.parameters algorithm.sharpening.method=clip_cov",
            "verl's plugin cannot run clip_cov: it is a token-level method",
        ),
        ("algorithm.sharpening.method=ips", "'gamma_correct' is not a parameter of ips"),
        ("+algorithm.sharpening.strength=1", "algorithm.sharpening.strength: 1: Extra inputs are not permitted"),
        ("algorithm.sharpening=null", "algorithm.sharpening: None: want algorithm.sharpening.method, as ds_reward"),
        ("actor_rollout_ref.rollout.n=1", "actor_rollout_ref.rollout.n: 1: ds_reward wants 2 or more"),
        ("+algorithm.sharpening.parameters.reference=base", "use_kl_loss: False: ds_reward needs the policy before"),
        ("algorithm.rollout_correction.rollout_rs=token_k1", "rollout_rs: 'token_k1': it hides tokens, and ds_reward"),
    ],
)
def test_what_cannot_work_is_refused_with_the_whole_configuration(override: str, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        validated(composed(*override.split()))


def test_a_worker_of_ray_finds_the_plugin_by_itself() -> None:
    """By the environment alone: one without the variable does not know the estimator."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, configure_logging=False)

    def there(data: Any, section: dict[str, Any]) -> tuple[Any, int]:
        from verl.trainer.ppo import ray_trainer as of_worker

        done = of_worker.compute_advantage(data, adv_estimator="sharpening", num_repeat=6, config=section)
        return done.batch["advantages"].numpy(), os.getpid()

    try:
        rows = engine_batches.made()
        given = data_of(rows), {"sharpening": {"method": "ds", "parameters": STRONG}}
        worker = ray.remote(there)
        found, process = ray.get(worker.remote(*given))
        assert process != os.getpid()
        np.testing.assert_allclose(found, wanted("ds", rows), rtol=ADVANTAGE32, atol=ADVANTAGE32)
        without = worker.options(runtime_env={"env_vars": {"VERL_USE_EXTERNAL_MODULES": ""}})
        with pytest.raises(ray.exceptions.RayTaskError, match="Unknown advantage estimator"):
            ray.get(without.remote(*given))
    finally:
        ray.shutdown()
