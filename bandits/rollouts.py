"""One batch of groups: drawn for every run, or, in the mean field, every group there is with its probability.

Both give the same `Rollouts`; everything after it is one code. A run's draws come from its own row of uniforms. With
several updates a batch the mean field is the limit of many groups a batch, and not the mean over batches of one group.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.bandits import drawing, ties
from sharpening.bandits.instances import Bandit
from sharpening.theory.flow import smoothing
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods.table import Method
from sharpening.theory.policies import Floats

FEW_ARMS = 64  # up to here comparing with every arm is faster than a search in each run


@dataclass(frozen=True)
class Setup:
    """What stays fixed during a simulation; `format_credit` is (num_arms,), or None for no credit."""

    bandit: Bandit
    method: Method
    parameters: Mapping[str, Any]
    group_size: int
    learning_rate: float
    optimizer: str
    num_groups: int
    draws_prompts: bool
    updates_per_batch: int
    kl_strength: float
    false_positive_rate: float
    false_negative_rate: float
    format_credit: Floats | None
    is_mean_field: bool

    @property
    def is_noisy(self) -> bool:
        """Whether the verifier errs."""
        return self.false_positive_rate > 0 or self.false_negative_rate > 0

    @property
    def draws_per_step(self) -> int:
        """How many uniforms a run takes for one step."""
        completions = self.num_groups * self.group_size
        weighing = self.updates_per_batch * completions if "uniform" in self.method.token_needs else 0
        return completions * (1 + self.is_noisy) + self.num_groups * self.draws_prompts + weighing


@dataclass(frozen=True)
class Rollouts:
    """The groups of every run.

    Shapes:   arms, marks (the verifier's 1.0 or 0.0): (num_runs, num_groups, group_size); weight: (num_runs,
              num_groups), summing to 1 in a run; uniform, for a method that draws: the shape of arms with
              updates_per_batch before it.
    """

    arms: NDArray[np.int64]
    marks: Floats
    weight: Floats
    uniform: Floats | None = None
    drawn: ties.Drawn | None = None

    @property
    def cells(self) -> NDArray[np.int64]:
        """Where the state keeps the arms: their own numbers, unless ties are kept once. The shape of arms."""
        return self.arms if self.drawn is None else self.drawn.cells.reshape(self.arms.shape)


def draw(setup: Setup, weights: Floats, total: Floats, uniforms: Floats, tied: ties.Ties | None = None) -> Rollouts:
    """One sampled batch of every run, from policies that need not be normalised.

    Shapes:   weights: (num_runs, num_arms), or (1, num_cells) with ties; total, their sum: (num_runs, 1); uniforms:
              (num_runs, draws_per_step) in [0, 1).
    """
    num_runs = len(weights)
    shape = (num_runs, setup.num_groups, setup.group_size)
    num_prompts, num_arms = setup.bandit.solves.shape
    prompts, rest = np.arange(num_prompts)[None, :], uniforms
    if setup.draws_prompts:
        prompts = np.asarray(uniforms[:, : setup.num_groups] * num_prompts, dtype=np.int64)  # (num_runs, num_groups)
        rest = uniforms[:, setup.num_groups :]
    size = setup.num_groups * setup.group_size
    reached = rest[:, :size] * total
    drawn = None if tied is None else tied.draw(weights[0], reached[0])
    arms = (draw_arms(weights, reached, setup.num_groups == 1) if drawn is None else drawn.arms).reshape(shape)
    marks = setup.bandit.solves.take(arms if num_prompts == 1 else prompts[:, :, None] * num_arms + arms)
    rest = rest[:, size:]
    if setup.is_noisy:
        chance = smoothing.marked_correct(marks, setup.false_positive_rate, setup.false_negative_rate)
        marks = (rest[:, :size].reshape(shape) < chance).astype(np.float64)
        rest = rest[:, size:]
    uniform = None
    if rest.shape[1]:
        uniform = np.moveaxis(rest.reshape(num_runs, setup.updates_per_batch, *shape[1:]), 1, 0)
    return Rollouts(arms, marks, np.full(shape[:2], 1 / setup.num_groups), uniform, drawn)


def draw_arms(weights: Floats, reached: Floats, is_one_group: bool = False) -> NDArray[np.int64]:
    """Arms by inversion of each run's own cumulative sums; many draws of one group come in the order of arms.

    Shapes:   weights: (num_runs, num_arms); reached: (num_runs, num_draws), uniforms times the sum of the weights.
              Returns the shape of reached.
    """
    if weights.shape[1] > FEW_ARMS:
        find = drawing.sorted_places if is_one_group and reached.shape[1] >= drawing.MANY_DRAWS else drawing.places
        found = [find(*pair) for pair in zip(weights, reached, strict=True)]
        return np.stack(found) if len(found) > 1 else found[0][None, :]
    cumulative = np.cumsum(weights, axis=1)
    found = (cumulative[:, None, :] <= reached[:, :, None]).sum(axis=-1)
    return np.asarray(np.minimum(found, weights.shape[1] - 1), dtype=np.int64)


def every_group(setup: Setup, log_policy: Floats) -> Rollouts:
    """Every group of every prompt, weighted by its probability: the expectation over draws, noise included.

    Requires: a method that permutes with the group.      Raises ValueError if there are too many groups.
    Shapes:   log_policy: (1, num_arms), nats.
    """
    arm_of, mark_of, log_chance = _symbols(setup)
    groups = expected_flow.all_groups(arm_of.size, setup.group_size)
    num_prompts, num_rows = len(mark_of), len(mark_of) * len(groups.members)
    if num_rows > expected_flow.MAX_ROWS:
        raise ValueError(f"mean_field: {num_rows} groups in all: want at most {expected_flow.MAX_ROWS}")
    log_ways = groups.log_ways + np.log(setup.group_size)  # multinomial coefficients, (num_groups,)
    log_symbol = log_policy[0, arm_of] + log_chance  # (num_prompts, num_symbols)
    with np.errstate(invalid="ignore"):  # 0 times -inf: a mark that cannot occur and does not
        terms = np.where(groups.counts > 0, groups.counts * log_symbol[:, None, :], 0.0)
    weight = np.exp(terms.sum(axis=-1) + log_ways) / num_prompts  # (num_prompts, num_groups)
    shape = (1, num_rows, setup.group_size)
    arms = np.broadcast_to(arm_of[groups.members], (num_prompts, *groups.members.shape))
    return Rollouts(arms.reshape(shape), mark_of[:, groups.members].reshape(shape), weight.reshape(1, -1))


def _symbols(setup: Setup) -> tuple[NDArray[np.int64], Floats, Floats]:
    """The pairs of arm and mark: arms (num_symbols,), marks and log-chances of the mark (num_prompts, num_symbols)."""
    solves = setup.bandit.solves
    arms = np.arange(solves.shape[1])
    if not setup.is_noisy:
        return arms, solves, np.zeros_like(solves)
    marked = smoothing.marked_correct(solves, setup.false_positive_rate, setup.false_negative_rate)
    marks = np.concatenate([np.ones_like(solves), np.zeros_like(solves)], axis=1)
    with np.errstate(divide="ignore"):  # a mark that cannot occur
        return np.tile(arms, 2), marks, np.log(np.concatenate([marked, 1 - marked], axis=1))
