"""Tasks of the experiments: sampled runs in numbers that grow with the scale, and exact mean fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sharpening.bandits.experiments.framework import Scale, Task
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.groups import expectations
from sharpening.theory.policies import Floats

GROUP_SIZE, LISTED_SIZE = 8, 4
LEARNING_RATE = 0.02
STEP_BIAS = 2.0  # a step adds at most about this many times its size to a log-ratio of order 1
SETTLED = 1e-6  # what a mean field that rests may still be away from its rest point
COPIES = 16
ONLY_ENDS = 10_000_000  # steps between two records: the first and the last
USUAL: Mapping[str, object] = {"instance": "two_correct_arms", "group_size": GROUP_SIZE, "record_every": ONLY_ENDS}


def sampled(scale: Scale, seed: int, measures: tuple[str, ...], runs_per_seed: int = 64, **fields: Any) -> Task:
    """A task of `runs_per_seed` runs a seed of the scale; `fields` are those of the specification."""
    usual = {**USUAL, "learning_rate": LEARNING_RATE, "seed": seed, "num_runs": runs_per_seed * scale.num_seeds}
    return Task(specification=Specification.model_validate({**usual, **fields}), measures=measures)


def exact(measures: tuple[str, ...], **fields: Any) -> Task:
    """A task of one exact mean field, by default with small groups, which are quickly listed."""
    usual = {**USUAL, "group_size": LISTED_SIZE, "mean_field": True}
    return Task(specification=Specification.model_validate({**usual, **fields}), measures=measures)


def copies(base_policy: tuple[float, ...] = (0.3, 0.1, 0.4, 0.2), num_correct: int = 2) -> dict[str, Any]:
    """The fields of one prompt given `COPIES` times: so many groups a step from one random stream."""
    correct = tuple(int(arm < num_correct) for arm in range(len(base_policy)))
    return {"instance": None, "base_policy": base_policy, "solves": (correct,) * COPIES}


def centred(specification: Specification) -> float:
    """The share of a reward's expected pull that centring by the group's mean leaves."""
    return float(expectations.dr_grpo_weight(specification.group_size))


def base_policy(specification: Specification) -> tuple[Floats, Floats, Floats]:
    """Probabilities, log-probabilities (nats) and correctness of the first prompt's arms, (num_arms,) each."""
    bandit = bandit_of(specification)
    return np.exp(bandit.base_log_policy), bandit.base_log_policy, bandit.solves[0]
