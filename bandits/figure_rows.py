"""Rows of the figures that lay simulated points on exact curves, and on ones that have to miss them."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from scipy.special import logit

from sharpening.bandits import analysis
from sharpening.bandits.analysis import Row
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory import estimators, policies
from sharpening.theory.flow import dynamics, matched
from sharpening.theory.groups import sampling
from sharpening.theory.methods import baselines, calls
from sharpening.theory.policies import Floats

SHOWN = ("correctness", "solution_diversity")
STRENGTHS = {"dr_grpo": None, "entropy_bonus": "strength", "ds": "gamma_correct"}
CLASS = ("reinforce", "grpo", "maxrl", "pkpo")  # some that see correctness alone


def theory_and_simulation(*, strength: float, **setting: Any) -> Iterator[Row]:
    """The records of vanilla, bonus and smoothing, with the prediction and a rival that forgets the factor 1 - 1/G.

    `setting` is a specification without method, parameters and seed; method i has the seed i. `standard_errors` is
    the distance of the mean from the prediction, `rival_standard_errors` that from the rival; 0 at the start, where all
    runs agree.
    """
    for seed, (method, name) in enumerate(STRENGTHS.items()):
        parameters = {name: strength} if name else {}
        yield from _records(Specification(method=method, parameters=parameters, seed=seed, **setting))


def universality(*, strength: float, **setting: Any) -> Iterator[Row]:
    """Simulated correctness and diversity of methods that see correctness alone, and of DS, beside the one path.

    `setting` is a specification without method, parameters and seed; method i has the seed i. `on_path` is the
    diversity of the exact path at that correctness (claim B4), `distance` that of the simulated mean from it.
    """
    for seed, method in enumerate((*CLASS, "ds")):
        parameters = {"gamma_correct": strength} if method == "ds" else {}
        specification = Specification(method=method, parameters=parameters, seed=seed, **setting)
        problem = bandit_of(specification).problem
        means = {(row["quantity"], row["step"]): row["mean"] for row in analysis.simulate(specification)}
        for quantity, step in means:
            if quantity == SHOWN[0]:
                mass, diversity = means[quantity, step], means[SHOWN[1], step]
                start = policies.logit_correctness(problem.base_log_policy, problem.correct)
                on_path = matched.log_policy_at_logit(problem, max(start, float(logit(mass))))
                wanted = float(estimators.solution_diversity(on_path, problem.is_correct))
                yield {
                    "method": method,
                    "time": specification.learning_rate * step,
                    "step": step,
                    "correctness": mass,
                    "logit_correctness": float(logit(mass)),
                    "solution_diversity": diversity,
                    "on_path": wanted,
                    "distance": diversity - wanted,
                }


def two_biases(
    *, base_policy: Sequence[float], correct: Sequence[int], group_sizes: Sequence[int], num_groups: int, seed: int
) -> Iterator[Row]:
    """Selection and reinforcement of the likeliest and the rarest correct answer, by group size, drawn and exact.

    Quantities: `drawn`, whether an answer is in a group (its rival: p G, at most 1), and `gain`, the step of its logit
    where it is (its rival: the step of a group of any kind). Plain RL, one step at learning rate 1. Claim C1.
    """
    problem = policies.problem_from_probabilities(base_policy, correct)
    policy, mass = np.exp(problem.base_log_policy), policies.correctness(problem.base_log_policy, problem.correct)
    inside = np.flatnonzero(problem.is_correct)
    shown = {"likely": int(inside[np.argmax(policy[inside])]), "rare": int(inside[np.argmin(policy[inside])])}
    for size in group_sizes:
        arms = np.random.default_rng([seed, size]).choice(policy.size, size=(num_groups, size), p=policy)
        is_arm = arms[:, :, None] == np.arange(policy.size)
        pushed = (baselines.dr_grpo(reward=problem.correct[arms])[:, :, None] * is_arm).sum(axis=1)
        steps = sampling.pushed_step(policy, pushed, size)
        for answer, arm in shown.items():
            p, is_drawn = float(policy[arm]), is_arm[:, :, arm].any(axis=1)
            chance = float(sampling.inclusion_probability(problem.base_log_policy[arm], size))
            gain = float(sampling.gain_when_drawn(p, mass, size))
            found = {
                "drawn": (is_drawn.astype(float), chance, min(1.0, p * size)),
                "gain": (steps[is_drawn, arm], gain, chance * gain),
            }
            for quantity, (values, predicted, rival) in found.items():
                error = float(np.std(values, ddof=1) / np.sqrt(values.size))
                labels = {"group_size": size, "answer": answer, "probability": p, "quantity": quantity}
                ends = {"mean": float(np.mean(values)), "standard_error": error}
                yield {**labels, **ends, "predicted": predicted, "rival": rival}


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
