"""Experiments on single groups: who is in one, what it misses, and how far one step drifts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from sharpening.bandits.experiments import tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.theory.groups import sampling

NUM_RUNS = 1024  # a seed, of many groups each: probabilities of order .2 to 1%
NUM_STEPPED = 2048  # a seed: variances of one step to 1%
RARE = (0.15, 0.05, 0.5, 0.3)  # a tail of mass .05, Q = .2
PAIR = 2  # the smallest group with a baseline


def _group_sizes(scale: Scale, smallest: int, largest: int) -> list[int]:
    return [int(size) for size in np.linspace(smallest, largest, scale.num_strengths).round()]


def _selection_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for group_size in _group_sizes(scale, PAIR, 16):
        fields = {**tasks.copies(), "method": "dr_grpo", "group_size": group_size, "num_steps": 1}
        yield tasks.sampled(scale, seed, ("is_drawn:0", "is_drawn:1"), NUM_RUNS, **fields)


def _selection_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        group_size = outcome.task.specification.group_size
        policy, log_policy, _ = tasks.base_policy(outcome.task.specification)
        likelier, rarer = (float(sampling.inclusion_probability(log_policy[arm], group_size)) for arm in (0, 1))
        drawn, error = outcome.at("is_drawn:1", 0)
        in_proportion = likelier * float(policy[1] / policy[0])
        yield Finding(f"rarer present, group of {group_size}", drawn, error, rarer, in_proportion)
        ratio = float(sampling.absence_ratio(log_policy[0], log_policy[1], group_size))
        yield Finding(f"rarer absent, group of {group_size}", 1 - drawn, error, ratio * (1 - likelier), 1 - likelier)


def _tail_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for group_size in _group_sizes(scale, PAIR, 16):
        fields = {**tasks.copies(RARE), "method": "dr_grpo", "group_size": group_size, "num_steps": 1}
        yield tasks.sampled(scale, seed, ("is_missed:1",), NUM_RUNS, **fields)


def _tail_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        group_size = outcome.task.specification.group_size
        policy, log_policy, correct = tasks.base_policy(outcome.task.specification)
        predicted = float(sampling.tail_miss((policy * correct).sum(), policy[1], group_size))
        absent = 1 - float(sampling.inclusion_probability(log_policy[1], group_size))
        yield Finding(f"group of {group_size}", *outcome.at("is_missed:1", 0), predicted=predicted, rival=absent)


def _drift_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for optimizer in ("sgd", "natural"):
        for group_size in _group_sizes(scale, 2 * PAIR, 32):
            fields = {"method": "dr_grpo", "group_size": group_size, "optimizer": optimizer}
            measures = ("squared_log_ratio_change:0:1",)
            yield tasks.sampled(scale, seed, measures, NUM_STEPPED, num_steps=1, learning_rate=1.0, **fields)


def _drift_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        policy, _, correct = tasks.base_policy(specification)
        moments_of = sampling.natural_drift if specification.optimizer == "natural" else sampling.drift
        known = (policy[0], policy[1], (policy * correct).sum())
        moments, smallest = (moments_of(*known, size, 1.0) for size in (specification.group_size, PAIR))
        halved = smallest.variance * PAIR / specification.group_size
        predicted, rival = (float(variance + moments.mean**2) for variance in (moments.variance, halved))
        observed, error = outcome.at("squared_log_ratio_change:0:1")
        yield Finding(
            f"{specification.optimizer}, group of {specification.group_size}", observed, error, predicted, rival
        )


EXPERIMENTS = (
    Experiment(
        "selection_bias",
        ("C1",),
        "How often does a group hold the rarer of two correct answers?",
        "with probability 1 - (1-p)^G, and it is absent ((1-p_j)/(1-p_i))^G times as often as the likelier",
        "present in proportion to its probability; absent as often as the likelier",
        _selection_tasks,
        _selection_findings,
    ),
    Experiment(
        "tail_miss",
        ("C2",),
        "How often does a group that teaches something miss the rare correct answer?",
        "seldom in small groups, most often in middling ones: (1-tau)^G - (Q-tau)^G - (1-Q)^G",
        "whenever the rare answer is absent: (1-tau)^G, falling from the first",
        _tail_tasks,
        _tail_findings,
    ),
    Experiment(
        "drift",
        ("C6",),
        "How far does the log-ratio of two correct answers move in one sampled step?",
        "mean square of claim C6, which falls more slowly than 1/G in small groups",
        "as 1/G from a group of 2",
        _drift_tasks,
        _drift_findings,
    ),
)
