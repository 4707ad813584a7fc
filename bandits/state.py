"""Logits, moments and working arrays of simulated runs, changed in place by the optimizer."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpening.bandits.rollouts import Rollouts
from sharpening.bandits.ties import Drawn, Split, Ties
from sharpening.theory.policies import Floats

ADAM_DECAY = (0.9, 0.999)
ADAM_EPSILON = 1e-8


@dataclass(frozen=True)
class Softmax:
    """The policy of a state while its logits stay: weights of any sum, their total, and what makes logits logs.

    Shapes:   logits, weights: (num_runs, num_arms), or the cells; total, log_total: (num_runs, 1).
    """

    logits: Floats
    weights: Floats
    total: Floats
    log_total: Floats

    @property
    def log_policy(self) -> Floats:
        """Log-probabilities, nats; with ties of one arm of every cell."""
        return np.asarray(self.logits - self.log_total)

    def places(self, batch: Rollouts) -> NDArray[np.int64]:
        """Where the sampled arms are in the flat arrays, (num_runs, num_groups, group_size)."""
        num_runs, num_cells = self.logits.shape
        return batch.cells if num_runs == 1 else batch.cells + num_cells * np.arange(num_runs)[:, None, None]

    def at(self, places: NDArray[np.int64]) -> Floats:
        """The log-probabilities at the places."""
        return np.asarray(self.logits.take(places) - self.log_total[:, :, None])


@dataclass
class State:
    """Logits and moments of every run, (num_runs, num_arms) each, and the number of updates made.

    With ties it is one run's, and the first `num_cells` columns stand for the arms. `weights` and `climb` are working
    arrays: the weights of the last softmax, and the next gradient.
    """

    logits: Floats
    first_moment: Floats
    second_moment: Floats
    weights: Floats
    climb: Floats
    num_updates: int = 0
    tied: Ties | None = None

    def in_use(self, values: Floats) -> Floats:
        """The columns of an array that stand for arms, a view."""
        return values if self.tied is None else values[:, : self.tied.num_cells]

    def copy(self) -> State:
        """A state of its own, with the same numbers."""
        return copy.deepcopy(self)

    def softmax(self) -> Softmax:
        """The policy now."""
        logits, weights = self.in_use(self.logits), self.in_use(self.weights)
        shift = logits.max(axis=1, keepdims=True)
        np.subtract(logits, shift, out=weights)
        np.exp(weights, out=weights)
        if self.tied is None:
            total = weights.sum(axis=1, keepdims=True)
        else:
            total = np.array([[self.tied.masses(weights[0]).sum()]])
        return Softmax(logits, weights, total, shift + np.log(total))

    def log_policy(self) -> Floats:
        """Log-probabilities of all arms, (num_runs, num_arms), nats."""
        cells = self.softmax().log_policy
        return cells if self.tied is None else self.tied.of_arms(cells)

    def untie(self) -> None:
        """Gives every arm a cell of its own, in their order, once that costs little."""
        if self.tied is None or self.tied.is_worth_it:
            return
        for values in (self.logits, self.first_moment, self.second_moment):
            values[:] = self.tied.of_arms(self.in_use(values))
        self.tied = None

    def split(self, drawn: Drawn, pushed: Floats, now: Softmax) -> tuple[Softmax, Split]:
        """Gives the drawn arms cells of their own, with the numbers of the cells that they leave; the policy with them.

        Shapes:   pushed: (num_draws,).
        """
        assert self.tied is not None
        old = self.tied.num_cells
        split = self.tied.split(drawn, pushed)
        for values in (self.logits, self.first_moment, self.second_moment, self.weights):
            values[:, old : self.tied.num_cells] = values[:, split.origins]
        return Softmax(self.in_use(self.logits), self.in_use(self.weights), now.total, now.log_total), split

    def move(self, learning_rate: float, is_adam: bool) -> None:
        """One update along `climb`, by SGD or Adam; spoils `climb` and `weights`."""
        arrays = (self.logits, self.first_moment, self.second_moment, self.weights, self.climb)
        logits, first, second, spare, climb = map(self.in_use, arrays)
        self.num_updates += 1
        if not is_adam:
            climb *= learning_rate
            logits += climb
            return
        fast, slow = ADAM_DECAY
        first *= fast
        np.multiply(climb, 1 - fast, out=spare)
        first += spare
        second *= slow
        np.square(climb, out=climb)
        climb *= 1 - slow
        second += climb
        unbias = np.sqrt(1 - slow**self.num_updates)  # both corrections of the bias, kept out of the arrays
        np.sqrt(second, out=spare)
        spare += ADAM_EPSILON * unbias
        np.divide(first, spare, out=spare)
        spare *= learning_rate * unbias / (1 - fast**self.num_updates)
        logits += spare


def initial_state(base_log_policy: Floats, num_runs: int, tied: Ties | None = None) -> State:
    """Every run at the base policy; one run only with ties.

    Shapes:   logits (num_runs, num_arms).
    """
    logits = np.tile(base_log_policy, (num_runs, 1))
    if tied is not None:
        logits[:, : tied.num_cells] = base_log_policy[tied.order[tied.starts[: tied.num_cells]]]
    first, second, weights, climb = (np.zeros_like(logits) for _ in range(4))
    return State(logits, first, second, weights, climb, tied=tied)
