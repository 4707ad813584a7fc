"""The experiment on convergence: how the gap to the exact flow shrinks with the group and with the step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.experiments import tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.flow import dynamics

TIME = 4.0
GROUP_SIZES = (4, 8, 16)
STEPS = (0.2, 0.1, 0.05)
SMALL_STEP = 0.02  # its own gap is a hundredth of that of a group of 16
NEXT_ORDER = 0.1  # in the fitted order: a relative 1/G or step of the smaller gaps, and the noise of a baseline of 8
SHOWN: tuple[tuple[str, Mapping[str, Any]], ...] = (("dr_grpo", {}), ("ds", {"gamma_correct": 0.5}))
LEVEL: Mapping[str, Any] = {"instance": None, "base_policy": (0.2, 0.2, 0.4, 0.2), "correct": (1, 1, 0, 0)}
SAMPLED_GROUPS, SAMPLED_STEPS = (8, 16, 32), (0.4, 0.2, 0.1)


def _tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for method, parameters in SHOWN:
        fields = {"method": method, "parameters": parameters}
        for group_size in GROUP_SIZES:
            yield _exact(fields, group_size, SMALL_STEP)
        for step in STEPS:
            yield _exact(fields, GROUP_SIZES[0], step)
    for group_size, step in (*((size, STEPS[0]) for size in SAMPLED_GROUPS), *((8, step) for step in SAMPLED_STEPS)):
        sampled: dict[str, Any] = {**LEVEL, "method": "rloo", "group_size": group_size, "learning_rate": step}
        measures = ("squared_log_ratio_change:0:1",)
        yield tasks.sampled(scale, seed, measures, 1536, **sampled, num_steps=round(TIME / step))


def _exact(fields: Mapping[str, Any], group_size: int, step: float) -> Task:
    own = {"group_size": group_size, "learning_rate": step}
    return tasks.exact(("log_ratio_change:0:1",), **fields, **own, num_steps=round(TIME / step))


def _findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    triples = [outcomes[at : at + 3] for at in range(0, len(outcomes), 3)]
    for triple in triples:
        specifications = [outcome.task.specification for outcome in triple]
        by_group = len({specification.group_size for specification in specifications}) > 1
        sizes = [1 / each.group_size if by_group else each.learning_rate for each in specifications]
        against, method = "1/G" if by_group else "step", specifications[0].method
        if not specifications[0].mean_field:
            squares, errors = zip(*(outcome.at("squared_log_ratio_change:0:1") for outcome in triple), strict=True)
            order, noise = _order(sizes, squares, errors)
            yield Finding(f"{method}, mean square against {against}", order, noise, 1.0, 2.0, NEXT_ORDER)
            continue
        found = [outcome.at("log_ratio_change:0:1")[0] for outcome in triple]
        exact = [_large_group(each) if by_group else _exact_flow(each) for each in specifications]
        gaps = [abs(value - other) for value, other in zip(found, exact, strict=True)]
        order, _ = _order(sizes, gaps, [0.0] * 3)
        yield Finding(f"{method}, gap against {against}", order, 0.0, 1.0, 0.5, NEXT_ORDER)


def _order(sizes: Sequence[float], gaps: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """The least-squares slope of log gap in log size, and its standard error."""
    at = np.log(sizes) - np.log(sizes).mean()
    pull = at / (at @ at)
    relative = np.asarray(errors) / np.asarray(gaps)
    return float(pull @ np.log(gaps)), float(np.sqrt((pull**2) @ relative**2))


def _exact_flow(specification: Specification) -> float:
    """The change of the log-ratio along the exact flow of groups of this size."""
    path, _ = analysis.predicted_path(specification, [specification.num_steps])
    assert path is not None
    return _change(specification, path[0])


def _large_group(specification: Specification) -> float:
    """The same in the limit of large groups, where centring by the group's mean costs nothing."""
    problem = bandit_of(specification).problem
    gamma = float(specification.parameters.get("gamma_correct", 0.0))

    def advantage_of(log_policy: Any) -> Any:
        return dynamics.smoothing_advantage(log_policy, problem.correct, gamma, 0.0)

    return _change(specification, dynamics.integrate(problem.base_log_policy, advantage_of, [0.0, TIME])[-1])


def _change(specification: Specification, log_policy: Any) -> float:
    start = bandit_of(specification).base_log_policy
    return float((log_policy[0] - log_policy[1]) - (start[0] - start[1]))


EXPERIMENTS = (
    Experiment(
        "convergence",
        ("B1", "B6", "C4", "C6"),
        "How does the gap to the exact flow shrink?",
        "the mean field's as 1/G and as the step; the mean square of sampled runs as 1/G and as the step",
        "as their square roots; the mean square as their squares",
        _tasks,
        _findings,
    ),
)
