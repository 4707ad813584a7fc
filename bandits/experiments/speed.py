"""Experiments on speed: methods of correctness only at matched Q, and how fast answers and errors die out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.experiments import flow, tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.specification import bandit_of
from sharpening.theory.flow import matched

SMALL_STEP = 0.01
TIES = ((1, 1), (1, 3), (2, 1), (1, 2), (2, 2), (1, 4), (3, 1), (2, 3), (3, 2), (1, 5), (3, 3), (2, 4))
LAST = 1000  # steps
LATE = 0.1  # in log(1-Q): the power laws' next order, of relative size p_j/p_top, .05 for the slowest
LATE_SLOPE = 0.05  # in a slope: what that changes over the second half of the steps, and less

LATE_METHODS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("reinforce", {}),
    ("grpo", {}),
    ("dr_grpo", {}),
    ("maxrl", {}),
    ("pkpo", {"k": 2}),
    ("pkpo", {"k": 3}),
)


def _matched_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    measures = ("log_ratio:0:1", "logit_correctness")
    for method, parameters in flow.OF_CORRECTNESS.items():
        fields = {"method": method, "parameters": parameters, "learning_rate": SMALL_STEP}
        yield tasks.exact(measures, **fields, num_steps=600)


def _matched_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        problem = bandit_of(specification).problem
        (observed, _), (logit, _) = (outcome.at(name) for name in ("log_ratio:0:1", "logit_correctness"))
        same_q = matched.log_policy_at_logit(problem, logit)
        same_steps = flow.path_of(specification, "grpo" if specification.method != "grpo" else "reinforce")
        predicted, rival = (float(policy[0] - policy[1]) for policy in (same_q, same_steps))
        yield Finding(specification.method, observed, 0.0, predicted, rival, tasks.STEP_BIAS * SMALL_STEP)


def _instance(num_top: int, num_wrong: int) -> Mapping[str, Any]:
    """Tied likely correct answers, one rarer correct answer after them, and wrong answers."""
    policy = np.repeat([0.3, 0.05, 0.3], [num_top, 1, num_wrong])
    correct = np.repeat([1, 1, 0], [num_top, 1, num_wrong])
    return {"instance": None, "base_policy": tuple(policy / policy.sum()), "correct": tuple(correct)}


def _collapse_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for num_top, num_wrong in TIES[: scale.num_strengths]:
        measures = (f"log_ratio:{num_top}:0", "logit_correctness")
        fields = {**_instance(num_top, num_wrong), "method": "rloo", "group_size": 2, "learning_rate": 4.0}
        yield tasks.exact(measures, **fields, num_steps=LAST, record_every=LAST // 2)
    for method, parameters in LATE_METHODS:
        fields = {"method": method, "parameters": parameters, "learning_rate": 4.0}
        yield tasks.exact(("logit_correctness",), **fields, num_steps=LAST)


def _log_failure(outcome: Outcome, step: int | None = None) -> float:
    return float(-np.logaddexp(0.0, outcome.at("logit_correctness", step)[0]))


def _collapse_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        correct = bandit_of(specification).solves[0]
        num_wrong = int((1 - correct).sum())
        if specification.group_size == 2:
            num_top = int(correct.sum()) - 1
            name = outcome.task.measures[0]
            fall = outcome.at(name)[0] - outcome.at(name, LAST // 2)[0]
            slope = fall / (_log_failure(outcome) - _log_failure(outcome, LAST // 2))
            predicted = float(matched.collapse_exponent(num_top, num_wrong))
            yield Finding(f"slope, {num_top} tied, {num_wrong} wrong", slope, 0.0, predicted, 1.0, LATE_SLOPE)
            continue
        order = int(specification.parameters.get("k", 1)) - 1
        scale_at_end = order + 1 if order else analysis.prompt_weight(specification)(np.ones(1))[0]
        time = specification.learning_rate * specification.num_steps
        predicted = float(np.log(matched.late_failure(time, 1, num_wrong, scale_at_end, order)))
        rival = -float(np.log(scale_at_end * time))
        label = f"log(1-Q), {specification.method}" + (f" of order {order + 1}" if order else "")
        yield Finding(label, _log_failure(outcome), 0.0, predicted, rival, LATE)


EXPERIMENTS = (
    Experiment(
        "matched_q",
        ("E2",),
        "Do methods of correctness only differ at equal correctness?",
        "no: the log-ratio of two correct answers is a function of Q alone",
        "it is that of another method after equally many steps",
        _matched_tasks,
        _matched_findings,
    ),
    Experiment(
        "collapse_speed",
        ("E2", "B3"),
        "How fast do rarer correct answers and errors die out?",
        "p_j/p_top as (1-Q)^(w/(w+k)); 1-Q as (k w/(k+w))/(c_G(1) t), with PKPO of order K as t^(-1/K)",
        "p_j/p_top as 1-Q; 1-Q as 1/(c t)",
        _collapse_tasks,
        _collapse_findings,
    ),
)
