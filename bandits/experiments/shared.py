"""Experiments on shared strategies: where prompt weights lead, and pass@1 that rises while pass@k falls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.experiments import tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.specification import bandit_of
from sharpening.theory import estimators
from sharpening.theory.flow import strategies

MANY = 32  # completions a group where a claim is a limit of large groups
FEW_LEFT = 0.01  # what the losing strategy, which dies out as 1/t, may still hold at the end
TWO_STRATEGIES: Mapping[str, Any] = {
    "instance": None,
    "base_policy": (0.5, 0.5),
    "solves": ((1, 0), (1, 0), (1, 0), (0, 1)),
}
BALANCED: tuple[tuple[str, Mapping[str, float], int], ...] = (
    ("pkpo", {"k": 2}, tasks.GROUP_SIZE),
    ("pkpo", {"k": 3}, tasks.GROUP_SIZE),
    ("pkpo", {"k": 4}, tasks.GROUP_SIZE),
    ("maxrl", {}, MANY),
    ("f_grpo", {"gamma": 0.5}, MANY),
    ("f_grpo", {"gamma": 1.0}, MANY),
    ("f_grpo", {"gamma": 2.0}, MANY),
)
FLAT = ("reinforce", "rloo", "dr_grpo", "grpo")
PER_LOGIT = float(np.exp(-1))  # pass@k moves by at most that share of what logit Q moves
SOME_K = (1, 2, 8, 64)
FIRST_K = tuple(range(1, 9))


def _weights_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    share = ("probability:0",)
    for method, parameters, group_size in BALANCED:
        fields = {**TWO_STRATEGIES, "method": method, "parameters": parameters, "learning_rate": 0.5}
        yield tasks.exact(share, **fields, group_size=group_size, num_steps=250)
    for method in FLAT:
        yield tasks.exact(share, **TWO_STRATEGIES, method=method, learning_rate=2.0, num_steps=400)
    pkpo = {**TWO_STRATEGIES, "method": "pkpo", "parameters": {"k": 3}}
    yield tasks.sampled(scale, seed, share, 16, **pkpo, num_steps=3000)


def _weights_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        share = float(bandit_of(specification).solves[:, 0].mean())
        known = specification.parameters
        k, gamma = int(known.get("k", 2)), float(known.get("gamma", 1.0))
        order = strategies.balance_order(specification.method, k=k, gamma=gamma)
        odds = strategies.stationary_odds(share, order)
        label = ", ".join([specification.method, *(f"{name} {value}" for name, value in known.items())])
        observed, error = outcome.at("probability:0")
        if specification.method in FLAT:
            yield Finding(label, observed, error, 1 / (1 + 1 / odds), share, FEW_LEFT)
            continue
        allowed = 1 / specification.group_size if specification.group_size == MANY else tasks.SETTLED
        if not specification.mean_field:
            label, allowed = f"{label}, sampled", tasks.STEP_BIAS * specification.learning_rate
        yield Finding(label, observed, error, odds / (1 + odds), 1.0, allowed)


def _falling_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    shared = {"instance": "generalist_and_specialists"}
    measures = tuple(f"pass_at_k:{k}" for k in SOME_K)
    for method in ("dr_grpo", "grpo"):
        fields = {**shared, "method": method, "learning_rate": 0.05}
        yield tasks.sampled(scale, seed, measures, 16, **fields, num_steps=600)
    measures = ("probability:0", *(f"pass_at_k:{k}" for k in FIRST_K))
    yield tasks.exact(measures, **shared, method="grpo", learning_rate=2.0, num_steps=700)


def _falling_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    *runs, long = outcomes
    for outcome in runs:
        specification = outcome.task.specification
        path, _ = analysis.predicted_path(specification, [specification.num_steps])
        assert path is not None
        solves = bandit_of(specification).solves
        base = float(outcome.at("pass_at_k:1", 0)[0])
        later = {k: float(strategies.pass_at_k(np.exp(path[0]), solves, k)) for k in SOME_K}
        for k in SOME_K:
            observed, error = outcome.at(f"pass_at_k:{k}")
            rival = float(estimators.exact_pass_at_k(later[1], k)) if k > 1 else base
            allowed = PER_LOGIT * tasks.STEP_BIAS * specification.learning_rate
            yield Finding(f"{specification.method}, pass@{k}", observed, error, later[k], rival, allowed)
    yield from _ends(long)


def _ends(outcome: Outcome) -> Iterator[Finding]:
    """The strategy that is left, and the first k at which the end is worse than the base."""
    bandit = bandit_of(outcome.task.specification)
    base = np.exp(bandit.base_log_policy)
    left = strategies.limit_strategy(base, bandit.solves)
    share = bandit.solves[:, left].mean() / bandit.solves.mean(axis=0).sum()
    yield Finding(
        "share of the strategy that is left", outcome.at("probability:0")[0], 0.0, float(left == 0), share, 0.01
    )
    worse = [k for k in FIRST_K if outcome.at(f"pass_at_k:{k}")[0] < outcome.at(f"pass_at_k:{k}", 0)[0]]
    first = strategies.first_losing_k(base, bandit.solves)
    yield Finding("first k that loses", float(min(worse)), 0.0, float(first or 0), 2.0, 0.5)


EXPERIMENTS = (
    Experiment(
        "prompt_weights",
        ("E1",),
        "Which mix of two strategies do methods end on, if most prompts need the first and the rest the second?",
        "PKPO, MaxRL and F-GRPO keep both, at odds (a/(1-a))^(1/h); plain RL keeps the first only",
        "these end on the first strategy too; plain RL keeps the share of prompts",
        _weights_tasks,
        _weights_findings,
    ),
    Experiment(
        "pass_at_k_falls",
        ("D2", "D1"),
        "Can pass@k fall while pass@1 rises?",
        "yes, on shared strategies: all mass goes to the generalist, and every k from k* on loses",
        "pass@k follows from pass@1 as on one prompt; pass@1 keeps its value; every k from 2 on loses",
        _falling_tasks,
        _falling_findings,
    ),
)
