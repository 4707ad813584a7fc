"""Batched simulation of bandits: many runs of one method on a tabular softmax policy, or its exact mean field.

A step draws the groups of every run (or lists them all), asks `theory.methods.calls` for the advantages, and climbs
the score-function gradient once or several times. Run i has its own random stream, made from the seed and i: it gives
the same numbers however many runs are simulated together, and in however many processes.

Departs: (1) one completion is one token; (2) the KL term and the terms of loss level enter by their exact gradient;
(3) prompts of a step are drawn with replacement.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.bandits import rollouts, ties
from sharpening.bandits.rollouts import Rollouts, Setup
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.bandits.state import Softmax, State, initial_state
from sharpening.theory import policies
from sharpening.theory.methods import calls, table, token_weights
from sharpening.theory.policies import Floats

DRAWN_AT_ONCE = 1 << 21  # uniforms that all runs together hold: 16 MB


@dataclass(frozen=True)
class StepInfo:
    """What one step saw.

    Shapes:   log_prob (under the policy that drew them, nats), advantage: (num_runs, num_groups, group_size).
    """

    rollouts: Rollouts
    log_prob: Floats
    advantage: Floats


@dataclass(frozen=True)
class Hits:
    """Where the completions' arms are in the flat arrays; of the arms that share a cell one counts, if any do.

    Shapes:   places: (num_runs, num_groups, group_size); is_leading: (num_draws,).
    """

    places: NDArray[np.int64]
    is_leading: NDArray[np.bool_] | None = None

    @property
    def leading(self) -> NDArray[np.int64]:
        """The places of the draws that count."""
        places = self.places.ravel()
        return places if self.is_leading is None else places[self.is_leading]


def setup_of(specification: Specification) -> Setup:
    """The fixed parts of a specification."""
    bandit = bandit_of(specification)
    num_prompts = len(bandit.solves)
    return Setup(
        bandit,
        calls.resolve(specification.method),
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
        None if specification.format_credit is None else np.array(specification.format_credit),
        specification.mean_field,
    )


def ties_of(setup: Setup) -> ties.Ties | None:
    """The arms that start alike, if the update treats them alike and it pays to keep them once."""
    is_elementwise = setup.method.token_weight is None and not setup.kl_strength and setup.format_credit is None
    if not is_elementwise or setup.is_mean_field or calls.level_of(setup.method, setup.parameters) == "loss":
        return None
    num_draws = setup.num_groups * setup.group_size
    return ties.find(setup.bandit.base_log_policy, setup.bandit.solves, num_draws)


def run_streams(seed: int, runs: Sequence[int]) -> list[np.random.Generator]:
    """One random stream per run; run i's depends on the seed and on i only."""
    return [np.random.default_rng(np.random.SeedSequence([seed, run])) for run in runs]


def advantages(setup: Setup, log_prob: Floats, batch: Rollouts) -> Floats:
    """The advantage of every completion under the policy that drew it; a user's function sees one run at a time.

    Shapes:   log_prob: (num_runs, num_groups, group_size), nats. Returns the same shape.
    """
    made: Mapping[str, Callable[[], Any]] = {
        "reward": lambda: batch.marks if setup.format_credit is None else batch.marks + setup.format_credit[batch.arms],
        "correct": lambda: batch.marks,
        "log_prob": lambda: log_prob,
        "base_log_prob": lambda: setup.bandit.base_log_policy[batch.arms],
        "num_tokens": lambda: np.ones_like(batch.marks),
        "answer": lambda: batch.arms,
    }
    names = table.named(setup.method.advantage, table.INPUTS)
    inputs = {name: made[name]() for name in names}
    if not setup.method.is_own:
        return np.asarray(calls.group_advantages(setup.method, inputs, setup.parameters))
    each = [{name: values[run] for name, values in inputs.items()} for run in range(len(log_prob))]
    found = np.stack([calls.group_advantages(setup.method, one, setup.parameters) for one in each])
    if bad := int((~np.isfinite(found)).sum()):
        raise ValueError(f"method: {setup.method.id}: it gave {bad} advantages that are NaN or infinite")
    return found


def gradient(setup: Setup, now: Softmax, hits: Hits, pushed: Floats, climb: Floats) -> None:
    """Writes the gradient in logits of one batch per run, with the exact ones of the KL term and a loss-level term.

    Shapes:   pushed, what multiplies each grad log p: (num_runs, num_draws); climb: the shape of now.logits.
    """
    # `sampling.pushed_step`, without an array of what is pushed to each arm
    np.multiply(now.weights, -pushed.sum(axis=1, keepdims=True) / now.total, out=climb)
    leading = pushed.ravel() if hits.is_leading is None else pushed.ravel()[hits.is_leading]
    np.add.at(climb.reshape(-1), hits.leading, leading)
    base = setup.bandit.base_log_policy[None, :]
    if setup.kl_strength:
        climb -= setup.kl_strength * token_weights.kl_gradient(now.log_policy, base)
    if calls.level_of(setup.method, setup.parameters) == "loss":
        climb += calls.loss_gradient(setup.method, now.log_policy, base, setup.parameters)
    if setup.optimizer == "natural":
        climb /= now.weights / now.total


def _completion_weights(
    setup: Setup, now: Softmax, log_prob: Floats, info: StepInfo, is_top: NDArray[np.bool_] | None, update: int
) -> Floats:
    """What multiplies grad log p of every completion: its token weight, else ratio times advantage."""
    batch, advantage = info.rollouts, info.advantage
    if setup.method.token_weight is None and update == 0:
        return advantage
    ratio = np.exp(log_prob - info.log_prob)
    if setup.method.token_weight is None:
        return np.asarray(ratio * advantage)
    num_batches = batch.weight.size if setup.is_mean_field else len(ratio)  # a listed group is a batch of its own
    inputs = {"ratio": ratio, "advantage": advantage}
    if "token_log_prob" in setup.method.token_needs:
        inputs["token_log_prob"] = log_prob
    if "token_entropy" in setup.method.token_needs:
        entropy = policies.entropy(now.log_policy)
        inputs["token_entropy"] = np.broadcast_to(entropy[:, None, None], ratio.shape)
    if is_top is not None:
        inputs["is_top_token"] = is_top.astype(np.float64)
    if batch.uniform is not None:
        inputs["uniform"] = batch.uniform[update]
    shaped = {name: values.reshape(num_batches, -1, 1) for name, values in inputs.items()}
    return np.asarray(calls.weigh_tokens(setup.method, shaped, setup.parameters)).reshape(ratio.shape)


def step(state: State, setup: Setup, uniforms: Floats | None) -> tuple[State, StepInfo]:
    """One batch, and one or several updates of every run with it; the state given stays as it is.

    Shapes:   uniforms: (num_runs, draws_per_step) in [0, 1), one row from each run's stream; None in the mean field.
    """
    moved = state.copy()
    return moved, advance(moved, setup, uniforms)


def advance(state: State, setup: Setup, uniforms: Floats | None) -> StepInfo:
    """`step`, in place."""
    state.untie()
    now = state.softmax()
    if uniforms is None:
        batch = rollouts.every_group(setup, now.log_policy)
    else:
        batch = rollouts.draw(setup, now.weights, now.total, uniforms, state.tied)
    hits = Hits(now.places(batch))
    log_prob = now.at(hits.places)
    info = StepInfo(batch, log_prob, advantages(setup, log_prob, batch))
    share = batch.weight[:, :, None] / setup.group_size
    if batch.drawn is not None:
        now, split = state.split(batch.drawn, (share * info.advantage).ravel(), now)
        hits = Hits(split.cells.reshape(batch.arms.shape), split.is_leading)
    needs_top = "is_top_token" in setup.method.token_needs
    is_top = batch.arms == now.logits.argmax(axis=1)[:, None, None] if needs_top else None
    for update in range(setup.updates_per_batch):
        if update:
            now = state.softmax()
            log_prob = now.at(hits.places)
        weight = _completion_weights(setup, now, log_prob, info, is_top, update)
        gradient(setup, now, hits, (share * weight).reshape(len(weight), -1), state.in_use(state.climb))
        state.move(setup.learning_rate, setup.optimizer == "adam")
    return info


def run(specification: Specification, runs: Sequence[int] | None = None) -> Iterator[tuple[int, Floats]]:
    """The number of steps made and the policies of the runs (all, or those named), at every record and at the end.

    Shapes:   yields (num_steps, log-probabilities (num_runs, num_arms), nats); one run in the mean field.
    """
    setup = setup_of(specification)
    chosen = range(1 if setup.is_mean_field else specification.num_runs) if runs is None else runs
    tied = ties_of(setup)
    batches = [chosen] if tied is None else [[run] for run in chosen]  # with ties every run has cells of its own
    states = [initial_state(setup.bandit.base_log_policy, len(batch), copy.deepcopy(tied)) for batch in batches]
    draws = [
        _uniforms(setup, run_streams(specification.seed, batch), len(chosen), specification.num_steps)
        for batch in batches
    ]
    for num_steps in range(specification.num_steps):
        if num_steps % specification.record_every == 0:
            yield num_steps, np.concatenate([state.log_policy() for state in states])
        for state, uniforms in zip(states, draws, strict=True):
            advance(state, setup, None if setup.is_mean_field else next(uniforms))
    yield specification.num_steps, np.concatenate([state.log_policy() for state in states])


def first_batch(specification: Specification) -> StepInfo:
    """What the first step of every run sees, under the base policy.

    Requires: mean_field false.
    """
    setup, num_runs = setup_of(specification), specification.num_runs
    state = initial_state(setup.bandit.base_log_policy, num_runs)
    return step(state, setup, next(_uniforms(setup, run_streams(specification.seed, range(num_runs)), num_runs, 1)))[1]


def _uniforms(setup: Setup, streams: Sequence[np.random.Generator], num_runs: int, num_steps: int) -> Iterator[Floats]:
    """The uniforms of every step, (num_streams, draws_per_step), drawn for several steps at once."""
    steps_at_once = max(1, min(256, num_steps, DRAWN_AT_ONCE // (num_runs * setup.draws_per_step)))
    while True:
        drawn = np.stack([stream.random((steps_at_once, setup.draws_per_step)) for stream in streams], axis=1)
        yield from drawn
