"""Which law fits counts that its parameters have not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpening.samples.rates import fit as fitting
from sharpening.samples.rates.fit import Data, Fit

Floats = NDArray[np.float64]
NUM_FOLDS = 5


@dataclass(frozen=True)
class Choice:
    """The chosen law's place, and held-out log-probabilities of every law and problem, in nats.

    Shapes:   held_out: (num_laws, num_problems).
    """

    chosen: int
    held_out: Floats

    def margin(self, place: int) -> tuple[float, float]:
        """How far a law is behind the chosen one: the mean over problems and its standard error."""
        return mean_and_error(self.held_out[self.chosen] - self.held_out[place])


def mean_and_error(values: Floats) -> tuple[float, float]:
    """The mean of values and its standard error."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def choose(data: Data, fits: Sequence[Fit], *, rng: np.random.Generator) -> Choice:
    """The law with the highest held-out log-probability, or one with fewer parameters within a standard error of it.

    Every problem is held out once, in one of five parts; the law, the spread and the mixture are fitted to the others.
    """
    part = rng.permutation(len(data.place)) % NUM_FOLDS
    held_out = np.stack([_held_out(data, fitted, part) for fitted in fits])
    best = int(held_out.mean(axis=1).argmax())
    near = [place for place in range(len(fits)) if _is_near(held_out[best] - held_out[place])]
    fewest = min(len(fits[place].parameters) for place in near)
    simplest = [place for place in near if len(fits[place].parameters) == fewest]
    return Choice(max(simplest, key=lambda place: held_out[place].mean()), held_out)


def _is_near(behind: Floats) -> bool:
    mean, error = mean_and_error(behind)
    return mean <= error


def _held_out(data: Data, fitted: Fit, part: NDArray[np.int64]) -> Floats:
    found = np.empty(len(data.place))
    inverse, _ = fitting.inverse_curvature(data, fitted)
    for fold in range(NUM_FOLDS):
        seen = data.counted(part != fold)
        other = fitting.fit_near(data, fitted, inverse, seen)
        found[part == fold] = fitting.log_chances(data, other)[data.place[part == fold]]
    return found
