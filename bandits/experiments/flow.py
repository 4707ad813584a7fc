"""Experiments on the exact flows: reinforcement bias, universality, the natural gradient, where smoothing ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.experiments.tasks import LEARNING_RATE, STEP_BIAS, sampled
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.policies import Floats

MANY_RUNS = 1024  # a seed: the drift is large beside a mean that is 0
OF_CORRECTNESS: Mapping[str, Mapping[str, float]] = {
    "reinforce": {},
    "rloo": {},
    "grpo": {},
    "dr_grpo": {},
    "maxrl": {},
    "nsr": {},
    "pkpo": {"k": 3},
    "f_grpo": {"gamma": 0.5},
    "pass_at_k_training": {"k": 3},
}


def path_of(specification: Specification, weighted_as: str | None = None) -> Floats:
    """The exact policy at the end of a task of a correctness-only method.

    Shapes:   returns log-probabilities (num_arms,). `weighted_as` takes another method's prompt weight.
    """
    if weighted_as:
        specification = specification.model_copy(update={"method": weighted_as, "parameters": {}})
    path, _ = analysis.predicted_path(specification, [specification.num_steps])
    assert path is not None
    return np.asarray(path[0])


PAIRS = {"correct answers": (0, 1), "wrong answers": (2, 3)}


def _bias_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for num_steps in (100, 500):
        pairs = tuple(f"log_ratio_change:{i}:{j}" for i, j in PAIRS.values())
        yield sampled(scale, seed, pairs, method="dr_grpo", num_steps=num_steps)


def _bias_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        end, start = path_of(specification), bandit_of(specification).base_log_policy
        for label, (i, j) in PAIRS.items():
            observed, error = outcome.at(f"log_ratio_change:{i}:{j}")
            predicted = float((end[i] - end[j]) - (start[i] - start[j]))
            yield Finding(
                f"{label}, {specification.num_steps} steps", observed, error, predicted, 0.0, STEP_BIAS * LEARNING_RATE
            )


def _universality_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for method, parameters in OF_CORRECTNESS.items():
        measures = ("log_ratio_change:0:1", "correctness")
        yield sampled(scale, seed, measures, method=method, parameters=parameters, num_steps=300)


def _universality_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        start = bandit_of(specification).base_log_policy
        other = "grpo" if specification.method != "grpo" else "reinforce"
        own, rival = path_of(specification), path_of(specification, other)
        observed, error = outcome.at("log_ratio_change:0:1")
        predicted, other_speed = (float((end[0] - end[1]) - (start[0] - start[1])) for end in (own, rival))
        yield Finding(specification.method, observed, error, predicted, other_speed, STEP_BIAS * LEARNING_RATE)


def _natural_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for optimizer in ("natural", "sgd"):
        measures = ("log_ratio_change:0:1",)
        yield sampled(scale, seed, measures, MANY_RUNS, method="dr_grpo", num_steps=100, optimizer=optimizer)


def _natural_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    natural, plain = outcomes
    end, start = path_of(plain.task.specification), bandit_of(plain.task.specification).base_log_policy
    sharpened = float((end[0] - end[1]) - (start[0] - start[1]))
    observed, error = natural.at("log_ratio_change:0:1")
    yield Finding("natural gradient", observed, error, 0.0, sharpened)
    observed, error = plain.at("log_ratio_change:0:1")
    yield Finding("softmax gradient", observed, error, sharpened, 0.0, STEP_BIAS * LEARNING_RATE)


def _limit_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for gammas in ({"gamma_correct": 0.5}, {"gamma_correct": 0.5, "gamma_incorrect": 0.2}):
        measures = ("log_ratio:0:1", "correctness")
        yield sampled(scale, seed, measures, method="ds", parameters=gammas, num_steps=3_000)


def _limit_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        path, _ = analysis.predicted_path(specification, [specification.num_steps])
        assert path is not None
        plain = path_of(specification.model_copy(update={"method": "dr_grpo", "parameters": {}}))
        label = ", ".join(f"{name} {value}" for name, value in specification.parameters.items())
        observed, error = outcome.at("log_ratio:0:1")
        predicted, rival = (float(log_policy[0] - log_policy[1]) for log_policy in (path[0], plain))
        yield Finding(f"log-ratio, {label}", observed, error, predicted, rival, STEP_BIAS * LEARNING_RATE)


EXPERIMENTS = (
    Experiment(
        "reinforcement_bias",
        ("B1", "B2", "B3"),
        "Does plain RL change the ratio of two correct, and of two wrong, answers?",
        "the likelier correct answer gains on the other, two wrong ones draw level, along the exact path",
        "ratios keep their values, as at the KL-regularised optimum",
        _bias_tasks,
        _bias_findings,
    ),
    Experiment(
        "universality",
        ("B4",),
        "Do methods whose advantage is a function of correctness only differ in what they do to correct answers?",
        "each follows the one path at its own speed c_G(Q)",
        "each at GRPO's speed (GRPO at REINFORCE's)",
        _universality_tasks,
        _universality_findings,
    ),
    Experiment(
        "natural_gradient",
        ("B5",),
        "Does the sharpening come from the parameterisation?",
        "natural gradient leaves the expected log-ratio of correct answers alone",
        "it sharpens as the softmax gradient does",
        _natural_tasks,
        _natural_findings,
    ),
    Experiment(
        "smoothing_limit",
        ("B6",),
        "Does differential smoothing bring correct answers level?",
        "their log-ratio follows the exact flow towards 0",
        "it follows plain RL's",
        _limit_tasks,
        _limit_findings,
    ),
)
