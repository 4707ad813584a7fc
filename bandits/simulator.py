"""Batched simulation of one prompt: many runs of one method on a tabular softmax policy.

A step draws one group per run, asks `theory/methods.py` for the advantages, and climbs the score-function gradient.
Run i has its own random stream, made from the seed and i: it gives the same numbers however many runs are simulated.

Departs: (1) one completion is one token, so ratios are 1 and clipping never acts; (2) the KL and entropy terms of loss
level enter by their exact gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits.specification import Specification, problem_of
from theory import methods, policies, sampling
from theory.method_table import Method
from theory.policies import Floats, Problem

ADAM_DECAY = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Setup:
    """What stays fixed during a simulation."""

    problem: Problem
    method: Method
    parameters: Mapping[str, Any]
    group_size: int
    learning_rate: float
    optimizer: str


@dataclass(frozen=True)
class State:
    """Logits and moments of every run, (num_runs, num_arms) each, and the number of updates made."""

    logits: Floats
    first_moment: Floats
    second_moment: Floats
    num_updates: int = 0


@dataclass(frozen=True)
class StepInfo:
    """What one step saw: log-probabilities before the update (num_runs, num_arms) and the sampled arms."""

    log_policy: Floats
    arms: NDArray[np.int64]


def setup_of(specification: Specification) -> Setup:
    """The fixed parts of a specification."""
    return Setup(
        problem_of(specification),
        methods.resolve(specification.method),
        dict(specification.parameters),
        specification.group_size,
        specification.learning_rate,
        specification.optimizer,
    )


def initial_state(problem: Problem, num_runs: int) -> State:
    """Every run at the base policy.

    Shapes:   logits (num_runs, num_arms).
    """
    logits = np.tile(problem.base_log_policy, (num_runs, 1))
    return State(logits, np.zeros_like(logits), np.zeros_like(logits))


def run_streams(seed: int, num_runs: int) -> list[np.random.Generator]:
    """One random stream per run; run i's depends on the seed and on i only."""
    return [np.random.default_rng(np.random.SeedSequence([seed, run])) for run in range(num_runs)]


def draw_arms(log_policy: Floats, uniforms: Floats) -> NDArray[np.int64]:
    """Arms by inversion, one group per run.

    Shapes:   log_policy: (num_runs, num_arms); uniforms: (num_runs, group_size) in [0, 1). Returns the shape of
              uniforms. The rows' cumulative sums are laid end to end, so that one search serves all runs.
    """
    num_runs, num_arms = log_policy.shape
    cumulative = np.cumsum(np.exp(log_policy), axis=1)
    run = np.arange(num_runs)[:, None]
    ladder = cumulative / cumulative[:, -1:] + run  # (num_runs, num_arms), increasing along the flattened array
    found = np.searchsorted(ladder.ravel(), (uniforms + run).ravel(), side="right").reshape(uniforms.shape)
    return np.asarray(np.clip(found - num_arms * run, 0, num_arms - 1), dtype=np.int64)


def gradient(setup: Setup, log_policy: Floats, arms: NDArray[np.int64]) -> Floats:
    """The sampled gradient in logits of one group per run, plus the exact gradient of a loss-level term.

    Shapes:   log_policy: (num_runs, num_arms); arms: (num_runs, group_size). Returns (num_runs, num_arms).
    """
    correct = setup.problem.correct[arms]
    inputs = {
        "reward": correct,
        "correct": correct,
        "log_prob": np.take_along_axis(log_policy, arms, axis=1),
        "base_log_prob": setup.problem.base_log_policy[arms],
        "num_tokens": np.ones_like(correct),
        "answer": arms,
    }
    advantage = methods.group_advantages(setup.method, inputs, setup.parameters)  # (num_runs, group_size)
    num_runs, num_arms = log_policy.shape
    place = (arms + num_arms * np.arange(num_runs)[:, None]).ravel()
    pushed = np.bincount(place, weights=advantage.ravel(), minlength=num_runs * num_arms).reshape(log_policy.shape)
    climb = np.asarray(sampling.pushed_step(np.exp(log_policy), pushed, arms.shape[1]))
    if methods.level_of(setup.method, setup.parameters) != "loss":
        return climb
    base = setup.problem.base_log_policy[None, :]
    return np.asarray(climb + methods.loss_gradient(setup.method, log_policy, base, setup.parameters))


def step(state: State, setup: Setup, uniforms: Floats) -> tuple[State, StepInfo]:
    """One update of every run.

    Shapes:   uniforms: (num_runs, group_size) in [0, 1), one row from each run's stream.
    """
    log_policy = policies.log_softmax(state.logits)
    arms = draw_arms(log_policy, uniforms)
    climb = gradient(setup, log_policy, arms)
    moved = replace(state, num_updates=state.num_updates + 1)
    if setup.optimizer == "sgd":
        moved = replace(moved, logits=state.logits + setup.learning_rate * climb)
    else:
        moved = _adam(moved, state, setup.learning_rate, climb)
    return moved, StepInfo(log_policy, arms)


def _adam(moved: State, state: State, learning_rate: float, climb: Floats) -> State:
    fast, slow = ADAM_DECAY
    first = fast * state.first_moment + (1 - fast) * climb
    second = slow * state.second_moment + (1 - slow) * climb**2
    unbiased = first / (1 - fast**moved.num_updates)
    scale = np.sqrt(second / (1 - slow**moved.num_updates)) + ADAM_EPSILON
    return replace(
        moved, logits=state.logits + learning_rate * unbiased / scale, first_moment=first, second_moment=second
    )


def run(specification: Specification) -> Iterator[tuple[int, Floats]]:
    """The number of updates made and the policies of all runs, at every record and at the end.

    Shapes:   yields (num_updates, log-probabilities (num_runs, num_arms), nats).
    """
    setup = setup_of(specification)
    streams = run_streams(specification.seed, specification.num_runs)
    state = initial_state(setup.problem, specification.num_runs)
    for num_updates in range(specification.num_steps):
        if num_updates % specification.record_every == 0:
            yield num_updates, policies.log_softmax(state.logits)
        uniforms = np.stack([stream.random(specification.group_size) for stream in streams])
        state, _ = step(state, setup, uniforms)
    yield specification.num_steps, policies.log_softmax(state.logits)
