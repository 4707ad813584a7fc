r"""Every method of group level in verl 0.9, which is left as it is: `algorithm.adv_estimator=sharpening`.

verl imports the modules that the environment variable VERL_USE_EXTERNAL_MODULES names, in every process. Imported by
verl, this one wraps `compute_advantage`, which sees whole groups with the log-probabilities of the policy that
sampled, before every trainer and policy loss of verl; what calls it in verl's newer trainer, where a session may have
several outputs; and `validate_config`, so that what cannot work is refused before anything starts. Any other
estimator goes through as before.

    VERL_USE_EXTERNAL_MODULES=sharpening.llm.verl_plugin python -m verl.trainer.main_ppo \
        algorithm.adv_estimator=sharpening \
        +algorithm.sharpening.method=ds_reward +algorithm.sharpening.parameters.gamma_correct=0.05 ...

Correct is a completion whose score before any KL penalty is 1, or above `correct_above`; scores that are NaN count as
not scored and get advantage 0. Log-probabilities are verl's `old_log_probs`: the trained model's at the sampling
temperature, or, with `rollout_correction.bypass_mode`, the engine's.

Departs: (1) answers, for methods that count them, are equal where the tokens are, not the texts. (2) verl's
`norm_adv_by_std_in_grpo` has no say: a method's own parameters have. (3) Methods of token level and terms of form loss
are refused: verl has losses of its own (`actor.policy_loss.loss_mode`, `clip_ratio_high`, `entropy_coeff`).
"""

from __future__ import annotations

import functools
import inspect
import logging
import math
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sharpening.llm import engine_batch
from sharpening.llm.engine_batch import Batch, Choice, Settings
from sharpening.theory.methods import calls

NAME, SECTION = "sharpening", "algorithm.sharpening"
ARGUMENTS = ("data", "adv_estimator", "num_repeat", "config")  # of verl's function, those that are read here
log = logging.getLogger(__name__)


def settings_of(algorithm: Mapping[str, Any]) -> Settings:
    """The settings in verl's section `algorithm`."""
    return engine_batch.settings_of(algorithm.get(NAME), SECTION)


def chosen(settings: Settings) -> Choice:
    """The method of the settings; raises ValueError for one that verl cannot run."""
    return engine_batch.choose(settings.method, settings.parameters, "verl's plugin")


def require_possible(config: Any) -> None:
    """Raises ValueError, one line, where a whole configuration of verl cannot work with its method; warns otherwise."""
    choice = chosen(settings_of(config.algorithm))
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    method, values = choice
    least = calls.least_group_size(method, values)
    if rollout.n < least:
        raise ValueError(f"actor_rollout_ref.rollout.n: {rollout.n}: {method.id} wants {least} or more")
    if "base_log_prob" in choice.needs and not (actor.use_kl_loss or config.algorithm.use_kl_in_reward):
        raise ValueError(
            f"actor_rollout_ref.actor.use_kl_loss: False: {method.id} needs the policy before training, which verl "
            "then leaves out: want true, with kl_loss_coef=0 for no KL term"
        )
    if "answer" in choice.needs and config.trainer.use_v1:
        raise ValueError(f"trainer.use_v1: True: {method.id} counts answers, which that trainer hides: want false")
    require_whole(choice, config.algorithm)
    if config.algorithm.use_kl_in_reward and method.rewards[0] > -math.inf:
        raise ValueError(
            f"algorithm.use_kl_in_reward: True: it makes rewards negative, which {method.id} is not made for: want "
            "false, with actor.use_kl_loss for a KL term"
        )
    filters = config.algorithm.get("filter_groups") or {}
    in_loss = float(actor.kl_loss_coef) if actor.use_kl_loss else 0.0
    strength = in_loss + (float(config.algorithm.kl_ctrl.kl_coef) if config.algorithm.use_kl_in_reward else 0.0)
    is_filtered = bool(filters.get("enable"))
    for line in calls.caveats(method, values, kl_strength=strength, is_dynamic_sampling=is_filtered):
        warnings.warn(line, stacklevel=2)


def require_whole(choice: Choice, algorithm: Mapping[str, Any]) -> None:
    """Raises ValueError where verl hides tokens from a method that reads whole completions."""
    correction = algorithm.get("rollout_correction") or {}
    if choice.reads_tokens and correction.get("rollout_rs"):
        raise ValueError(
            f"algorithm.rollout_correction.rollout_rs: {correction['rollout_rs']!r}: it hides tokens, and "
            f"{choice.method.id} needs the whole completion's: want null"
        )


def require_single_outputs(batch_keys: Sequence[str]) -> None:
    """Raises ValueError where a session has several outputs, whose advantages verl itself gives to the last alone.

    A key of verl's names prompt, session and output.
    """
    session, most = Counter(key.rpartition("_")[0] for key in batch_keys).most_common(1)[0]
    if most > 1:
        raise ValueError(
            f"session {session} has {most} outputs: sessions of several outputs are not supported: want one of each"
        )


def batch_of(data: Any, correct_above: float | None, num_repeat: int) -> Batch:
    """Groups and numbers of tokens from verl's batch.

    Raises ValueError for a score that says neither correct nor wrong, and for more completions of a prompt than were
    asked for: those are several outputs of one session, whose advantages verl itself gives to the last alone.
    """
    tensors, others = data.batch, data.non_tensor_batch
    there = set(tensors.keys())
    group = [str(one) for one in others["uid"]]
    mask = tensors["response_mask"]
    written = [name for name, is_any in zip(group, mask.any(-1).tolist(), strict=True) if is_any]  # others are padding
    prompt, most = Counter(written or [""]).most_common(1)[0]
    if most > num_repeat > 1:
        raise ValueError(
            f"actor_rollout_ref.rollout.n: {num_repeat}: prompt {prompt} has {most} outputs: sessions of several "
            "outputs are not supported: want one of each"
        )
    score = tensors["token_level_scores" if "token_level_scores" in there else "token_level_rewards"].sum(-1)
    answer = None
    if "responses" in there:
        answer = [tuple(ids[is_own].tolist()) for ids, is_own in zip(tensors["responses"], mask.bool(), strict=True)]
    return Batch(
        group=group,
        reward=tensors["token_level_rewards"].sum(-1),
        correct=engine_batch.marks_of(score, correct_above, f"{SECTION}.correct_above"),
        is_own=mask,
        log_prob=tensors["old_log_probs"] if "old_log_probs" in there else None,
        base_log_prob=tensors["ref_log_prob"] if "ref_log_prob" in there else None,
        answer=answer,
    )


def with_advantages(data: Any, algorithm: Mapping[str, Any], num_repeat: int) -> Any:
    """Puts the method's advantages into verl's batch, and the same as returns.

    Their sizes are logged, as a warning where the term is larger than the advantage without it.
    """
    settings = settings_of(algorithm)
    choice = chosen(settings)
    require_whole(choice, algorithm)  # a trainer of verl's may not validate its configuration
    found = engine_batch.advantages(choice, batch_of(data, settings.correct_above, num_repeat))
    entering = found.by_token.to(data.batch["token_level_rewards"].dtype)
    data.batch["advantages"], data.batch["returns"] = entering, entering.clone()
    plain, term = found.plain.abs().mean().item(), (found.shaped - found.plain).abs().mean().item()
    level = logging.WARNING if term > plain else logging.INFO
    log.log(level, "%s: mean |advantage| %.4g without the term, mean |term| %.4g", settings.method, plain, term)
    return data


def wrapped_advantage(original: Callable[..., Any]) -> Callable[..., Any]:
    """The `compute_advantage` of verl that knows one estimator more; raises ValueError for one unlike that of 0.9."""
    signature = inspect.signature(original)
    if not set(ARGUMENTS) <= set(signature.parameters):
        raise ValueError(f"compute_advantage of verl takes {', '.join(signature.parameters)}: want verl 0.9")

    @functools.wraps(original)
    def compute_advantage(*args: Any, **given: Any) -> Any:
        bound = signature.bind(*args, **given)
        bound.apply_defaults()
        data, estimator, num_repeat, algorithm = (bound.arguments[name] for name in ARGUMENTS)
        if estimator != NAME:
            return original(*args, **given)
        return with_advantages(data, algorithm, num_repeat)

    return compute_advantage


def wrapped_trajectories(original: Callable[..., Any]) -> Callable[..., Any]:
    """The `compute_advantage_for_multi_trajectories` of verl, which refuses what it would take for single ones."""
    signature = inspect.signature(original)

    @functools.wraps(original)
    def compute_advantage_for_multi_trajectories(*args: Any, **given: Any) -> Any:
        named = signature.bind(*args, **given).arguments
        if named["adv_estimator"] == NAME:
            require_single_outputs(named["batch_keys"])
        return original(*args, **given)

    return compute_advantage_for_multi_trajectories


def wrapped_validation(original: Callable[..., None]) -> Callable[..., None]:
    """The `validate_config` of verl, which also refuses what cannot work with the method."""

    @functools.wraps(original)
    def validate_config(config: Any, *args: Any, **given: Any) -> None:
        original(config, *args, **given)
        if config.algorithm.adv_estimator == NAME:
            require_possible(config)

    return validate_config


def install() -> None:
    """Puts the wrappers wherever a module of verl has the function; a second call changes nothing."""
    from verl.trainer.ppo import ray_trainer
    from verl.trainer.ppo.v1 import utils
    from verl.utils import config

    for module, name, wrapped in (
        (ray_trainer, "compute_advantage", wrapped_advantage),
        (utils, "compute_advantage_for_multi_trajectories", wrapped_trajectories),
        (config, "validate_config", wrapped_validation),
    ):
        original = getattr(module, name)
        if hasattr(original, "__wrapped__"):
            continue
        new = wrapped(original)
        for loaded in [one for key, one in sys.modules.items() if key.startswith("verl.")]:
            if vars(loaded).get(name) is original:
                setattr(loaded, name, new)


if "verl" in sys.modules:  # verl imports this; anyone else looks at the functions
    install()
