"""Rows of the figure that lays simulated points on the exact curve, and on one that has to miss them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.analysis import Row
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.flow import dynamics
from sharpening.theory.methods import calls
from sharpening.theory.policies import Floats

SHOWN = ("correctness", "solution_diversity")
STRENGTHS = {"dr_grpo": None, "entropy_bonus": "strength", "ds": "gamma_correct"}


def theory_and_simulation(*, strength: float, **setting: Any) -> Iterator[Row]:
    """The records of vanilla, bonus and smoothing, with the prediction and a rival that forgets the factor 1 - 1/G.

    `setting` is a specification without method, parameters and seed; method i has the seed i. `standard_errors` is
    the distance of the mean from the prediction, `rival_standard_errors` that from the rival; 0 at the start, where all
    runs agree.
    """
    for seed, (method, name) in enumerate(STRENGTHS.items()):
        parameters = {name: strength} if name else {}
        yield from _records(Specification(method=method, parameters=parameters, seed=seed, **setting))


def _records(specification: Specification) -> Iterator[Row]:
    found = [row for row in analysis.simulate(specification) if row["quantity"] in SHOWN]
    steps = sorted({row["step"] for row in found})
    rival = analysis.measure(bandit_of(specification), uncentred_path(specification, steps))
    for row in found:
        claimed = float(rival[row["quantity"], 0][steps.index(row["step"])])
        error = row["standard_error"] if row["step"] else np.inf  # all runs start alike
        yield {
            "method": specification.method,
            "time": specification.learning_rate * row["step"],
            **{name: row[name] for name in ("step", "quantity", "mean", "standard_error", "predicted")},
            "standard_errors": (row["mean"] - row["predicted"]) / error,
            "rival": claimed,
            "rival_standard_errors": (row["mean"] - claimed) / error,
        }


def uncentred_path(specification: Specification, num_updates: Sequence[int]) -> Floats:
    """The exact flow without the factor 1 - 1/G that a group's own baseline takes from the reward (claim C4).

    Shapes:   returns (num_records, num_arms), log-probabilities in nats.
    """
    problem, method = bandit_of(specification).problem, calls.resolve(specification.method)
    values = calls.parameter_values(method, specification.parameters)
    pair = analysis.plain_term(method.id, values) or (0.0, 0.0)
    smooth = functools.partial(
        dynamics.smoothing_advantage, correct=problem.correct, gamma_correct=pair[0], gamma_incorrect=pair[1]
    )
    return dynamics.integrate(problem.base_log_policy, smooth, specification.learning_rate * np.asarray(num_updates))
