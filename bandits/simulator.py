"""Batched simulation of bandits: many runs of one method on a tabular softmax policy, or its exact mean field.

A step draws the groups of every run (or lists them all), asks `theory/methods.py` for the advantages, and climbs the
score-function gradient once or several times. Run i has its own random stream, made from the seed and i: it gives the
same numbers however many runs are simulated together, and in however many processes.

Departs: (1) one completion is one token; (2) the KL term and the terms of loss level enter by their exact gradient;
(3) prompts of a step are drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bandits import rollouts
from bandits.rollouts import Rollouts, Setup
from bandits.specification import Specification, bandit_of
from theory import methods, policies, sampling, token_weights
from theory.policies import Floats

ADAM_DECAY = (0.9, 0.999)
ADAM_EPSILON = 1e-8
DRAWN_AT_ONCE = 1 << 22  # uniforms that all runs together hold: 32 MB


@dataclass(frozen=True)
class State:
    """Logits and moments of every run, (num_runs, num_arms) each, and the number of updates made."""

    logits: Floats
    first_moment: Floats
    second_moment: Floats
    num_updates: int = 0


@dataclass(frozen=True)
class StepInfo:
    """What one step saw.

    Shapes:   log_policy: (num_runs, num_arms), before the updates; advantage: that of the rollouts' completions.
    """

    log_policy: Floats
    rollouts: Rollouts
    advantage: Floats


def setup_of(specification: Specification) -> Setup:
    """The fixed parts of a specification."""
    bandit = bandit_of(specification)
    num_prompts, num_arms = bandit.solves.shape
    return Setup(
        bandit,
        methods.resolve(specification.method),
        dict(specification.parameters),
        specification.group_size,
        specification.learning_rate,
        specification.optimizer,
        specification.prompts_per_step or num_prompts,
        specification.prompts_per_step is not None,
        specification.updates_per_batch,
        specification.kl_strength,
        specification.false_positive_rate,
        specification.false_negative_rate,
        np.asarray(specification.format_credit or np.zeros(num_arms), dtype=np.float64),
        specification.mean_field,
    )


def initial_state(base_log_policy: Floats, num_runs: int) -> State:
    """Every run at the base policy.

    Shapes:   logits (num_runs, num_arms).
    """
    logits = np.tile(base_log_policy, (num_runs, 1))
    return State(logits, np.zeros_like(logits), np.zeros_like(logits))


def run_streams(seed: int, runs: Sequence[int]) -> list[np.random.Generator]:
    """One random stream per run; run i's depends on the seed and on i only."""
    return [np.random.default_rng(np.random.SeedSequence([seed, run])) for run in runs]


def advantages(setup: Setup, log_policy: Floats, batch: Rollouts) -> Floats:
    """The advantage of every completion under the policy that drew it.

    Shapes:   log_policy: (num_runs, num_arms), nats. Returns (num_runs, num_groups, group_size).
    """
    inputs = {
        "reward": batch.marks + setup.format_credit[batch.arms],
        "correct": batch.marks,
        "log_prob": at_arms(log_policy, batch),
        "base_log_prob": setup.bandit.base_log_policy[batch.arms],
        "num_tokens": np.ones_like(batch.marks),
        "answer": batch.arms,
    }
    return np.asarray(methods.group_advantages(setup.method, inputs, setup.parameters))


def at_arms(values: Floats, batch: Rollouts) -> Floats:
    """Each run's values of the sampled arms.

    Shapes:   values: (num_runs, num_arms). Returns (num_runs, num_groups, group_size).
    """
    runs = np.arange(len(values))[:, None, None]
    return np.asarray(values[runs, batch.arms])


def gradient(
    setup: Setup, log_policy: Floats, sampling_log_policy: Floats, batch: Rollouts, advantage: Floats, update: int = 0
) -> Floats:
    """The gradient in logits of one batch per run, plus the exact gradients of the KL term and of a loss-level term.

    Shapes:   log_policy (now), sampling_log_policy: (num_runs, num_arms). Returns (num_runs, num_arms).
    """
    policy = np.exp(log_policy)
    weight = _completion_weights(setup, log_policy, sampling_log_policy, batch, advantage, update)
    num_runs, num_arms = log_policy.shape
    place = batch.arms + num_arms * np.arange(num_runs)[:, None, None]
    weighted = (batch.weight[:, :, None] * weight).ravel()
    pushed = np.bincount(place.ravel(), weights=weighted, minlength=num_runs * num_arms).reshape(log_policy.shape)
    climb = np.asarray(sampling.pushed_step(policy, pushed, setup.group_size))
    base = setup.bandit.base_log_policy[None, :]
    if setup.kl_strength:
        climb = climb - setup.kl_strength * token_weights.kl_gradient(log_policy, base)
    if methods.level_of(setup.method, setup.parameters) == "loss":
        climb = climb + methods.loss_gradient(setup.method, log_policy, base, setup.parameters)
    return np.asarray(climb / policy if setup.optimizer == "natural" else climb)


def _completion_weights(
    setup: Setup, log_policy: Floats, sampling_log_policy: Floats, batch: Rollouts, advantage: Floats, update: int
) -> Floats:
    """What multiplies grad log p of every completion: its token weight, else ratio times advantage."""
    if setup.method.token_weight is None and log_policy is sampling_log_policy:
        return advantage
    log_prob = at_arms(log_policy, batch)
    ratio = np.exp(log_prob - at_arms(sampling_log_policy, batch))
    if setup.method.token_weight is None:
        return np.asarray(ratio * advantage)
    num_batches = batch.weight.size if setup.is_mean_field else len(log_policy)  # a listed group is a batch of its own
    inputs = {"ratio": ratio, "advantage": advantage}
    if "token_log_prob" in setup.method.token_needs:
        inputs["token_log_prob"] = log_prob
    if "token_entropy" in setup.method.token_needs:
        entropy = policies.entropy(log_policy)
        inputs["token_entropy"] = np.broadcast_to(entropy[:, None, None], ratio.shape)
    if "is_top_token" in setup.method.token_needs:
        is_top = batch.arms == sampling_log_policy.argmax(axis=1)[:, None, None]
        inputs["is_top_token"] = is_top.astype(np.float64)
    if batch.uniform is not None:
        inputs["uniform"] = batch.uniform[update]
    shaped = {name: values.reshape(num_batches, -1, 1) for name, values in inputs.items()}
    return np.asarray(methods.weigh_tokens(setup.method, shaped, setup.parameters)).reshape(ratio.shape)


def step(state: State, setup: Setup, uniforms: Floats | None) -> tuple[State, StepInfo]:
    """One batch, and one or several updates of every run with it.

    Shapes:   uniforms: (num_runs, draws_per_step) in [0, 1), one row from each run's stream; None in the mean field.
    """
    sampled = log_policy = policies.log_softmax(state.logits)
    batch = rollouts.every_group(setup, sampled) if uniforms is None else rollouts.draw(setup, sampled, uniforms)
    advantage = advantages(setup, sampled, batch)
    for update in range(setup.updates_per_batch):
        climb = gradient(setup, log_policy, sampled, batch, advantage, update)
        state = climbed(state, setup, climb)
        if update + 1 < setup.updates_per_batch:
            log_policy = policies.log_softmax(state.logits)
    return state, StepInfo(sampled, batch, advantage)


def climbed(state: State, setup: Setup, climb: Floats) -> State:
    """The state after one update of the optimizer.

    Shapes:   climb: (num_runs, num_arms).
    """
    num_updates = state.num_updates + 1
    if setup.optimizer != "adam":
        return replace(state, logits=state.logits + setup.learning_rate * climb, num_updates=num_updates)
    fast, slow = ADAM_DECAY
    first = fast * state.first_moment + (1 - fast) * climb
    second = slow * state.second_moment + (1 - slow) * climb**2
    unbiased = first / (1 - fast**num_updates)
    scale = np.sqrt(second / (1 - slow**num_updates)) + ADAM_EPSILON
    return State(state.logits + setup.learning_rate * unbiased / scale, first, second, num_updates)


def run(specification: Specification, runs: Sequence[int] | None = None) -> Iterator[tuple[int, Floats]]:
    """The number of steps made and the policies of the runs (all, or those named), at every record and at the end.

    Shapes:   yields (num_steps, log-probabilities (num_runs, num_arms), nats); one run in the mean field.
    """
    setup = setup_of(specification)
    chosen = range(1 if setup.is_mean_field else specification.num_runs) if runs is None else runs
    state = initial_state(setup.bandit.base_log_policy, len(chosen))
    draws = None if setup.is_mean_field else _uniforms(setup, specification, chosen)
    for num_steps in range(specification.num_steps):
        if num_steps % specification.record_every == 0:
            yield num_steps, policies.log_softmax(state.logits)
        state, _ = step(state, setup, None if draws is None else next(draws))
    yield specification.num_steps, policies.log_softmax(state.logits)


def first_batch(specification: Specification) -> StepInfo:
    """What the first step of every run sees, under the base policy.

    Requires: mean_field false.
    """
    setup, chosen = setup_of(specification), range(specification.num_runs)
    state = initial_state(setup.bandit.base_log_policy, specification.num_runs)
    return step(state, setup, next(_uniforms(setup, specification, chosen)))[1]


def _uniforms(setup: Setup, specification: Specification, runs: Sequence[int]) -> Iterator[Floats]:
    """The uniforms of every step, (num_runs, draws_per_step), drawn for several steps at once."""
    streams = run_streams(specification.seed, runs)
    most = min(256, specification.num_steps, DRAWN_AT_ONCE // (len(streams) * setup.draws_per_step))
    while True:
        drawn = np.stack([stream.random((max(1, most), setup.draws_per_step)) for stream in streams], axis=1)
        yield from drawn
