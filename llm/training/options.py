"""What of TRL a method can work with: the options that it asks for, the loss of the trainer, the verifier's name."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Mapping
from typing import Any

from sharpening.theory.methods import calls
from sharpening.theory.methods.table import Method

Values = Mapping[str, Any]
GRPO_TRAINER, LOSSES = ("trl.trainer.grpo_trainer", "GRPOTrainer"), ("compute_loss", "_compute_loss")
CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # TRL's loss types that clip ratios


def grpo_options(method: str | Method, parameters: Values = calls.NO_PARAMETERS) -> dict[str, Any]:
    """The arguments of GRPOConfig that a method asks for; others are the user's to choose.

    >>> grpo_options("clip_higher")["epsilon_high"], grpo_options("ds")["scale_rewards"]
    (0.28, 'none')
    """
    chosen = calls.resolve(method) if isinstance(method, str) else method
    values = calls.parameter_values(chosen, parameters)
    scale = "group" if chosen.is_normalised(values) else "none"
    options: dict[str, Any] = {"scale_rewards": scale, "multi_objective_aggregation": "sum_then_normalize"}
    if "base_log_prob" in calls.needs(chosen, parameters):
        options["sync_ref_model"] = False
    if calls.level_of(chosen, parameters) != "group":
        options |= {name: wanted(values) if callable(wanted) else wanted for name, wanted in chosen.trl.items()}
    return options


def require_base(base: type) -> type:
    """The GRPOTrainer that a class is made from; refuses a class whose loss never asks for that of its parent."""
    above = above_trl(base)
    if above == base.__mro__:
        raise ValueError(f"base is {base.__name__}: want trl.GRPOTrainer or a subclass of it")
    of_trl = base.__mro__[len(above)]
    for one in above:
        for name in LOSSES:
            function = inspect.unwrap(one.__dict__[name]) if name in one.__dict__ else None
            if inspect.isfunction(function) and not set(LOSSES) & set(function.__code__.co_names):
                raise ValueError(
                    f"base is {base.__name__}: {one.__name__} has a loss of its own, and no method here was made "
                    "for it: want trl.GRPOTrainer or a subclass that keeps its loss"
                )
    return of_trl


def above_trl(base: type) -> tuple[type, ...]:
    """A class and its parents, as far as they stand before TRL's GRPOTrainer."""
    return tuple(itertools.takewhile(lambda one: (one.__module__, one.__name__) != GRPO_TRAINER, base.__mro__))


def require_options(method: Method, values: Values, found: Any) -> None:
    """Raises ValueError naming the first argument of GRPOConfig that the method cannot work with."""
    fixed = grpo_options(method, values)
    for name, wanted in fixed.items():
        value = getattr(found, name)
        if name == "epsilon_high" and value is None:
            value = found.epsilon
        if value != wanted:
            raise ValueError(
                f"{name} is {value!r}: {method.id} wants {wanted!r}: see llm.training.trainer.grpo_options"
            )
    if method.no_kl and calls.level_of(method, values) != "group" and found.beta and "beta" not in fixed:
        raise ValueError(f"beta is {found.beta!r}: {method.no_kl}: {method.id} wants 0")
    if method.level == "token" and "loss_type" not in fixed and found.loss_type not in CLIPPED:
        raise ValueError(f"loss_type is {found.loss_type!r}: {method.id} wants one of {', '.join(CLIPPED)}")


def place_of(correct: str | None, names: list[str]) -> int:
    """Where the verifier is among the reward functions; raises ValueError where that is not clear."""
    if correct is None and len(names) == 1:
        return 0
    if correct is None or names.count(correct) != 1:
        raise ValueError(f"correct is {correct!r}: want the name of exactly one of the reward functions {names}")
    return names.index(correct)
