"""The chance of every outcome after training where the log-odds of success are normal around a mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, log_expit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FARTHEST = 26.0  # log-odds: no rate beyond is told from 0 or 1 by any number of samples
LARGEST_MEAN = 16.0  # log-odds: so far from 0 no spread that can be seen matters
NIL = (
    1e-140  # chances below are 0: products of two are then normal numbers, with which processors are many times faster
)
FINENESS = 0.8  # spacing of the grid, in standard errors of the log-odds at rate 1/2
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()


def binomial(num_samples: Ints, num_correct: Ints, log_odds: Floats) -> Floats:
    """Binomial probabilities of outcomes at log-odds of success.

    Shapes:   (num_outcomes,) twice, and (...). Returns (num_outcomes, ...).
    """
    shape = (-1,) + (1,) * log_odds.ndim
    total, correct = (np.asarray(count, dtype=np.float64).reshape(shape) for count in (num_samples, num_correct))
    choices = gammaln(total + 1) - gammaln(correct + 1) - gammaln(total - correct + 1)
    return np.asarray(np.exp(choices + correct * log_expit(log_odds) + (total - correct) * log_expit(-log_odds)))


def nil_as_zero(chances: Floats) -> Floats:
    """The chances, those that are next to nothing 0."""
    return np.where(chances < NIL, 0.0, chances)


class Chances(NamedTuple):
    """Chances of the outcomes, and their derivatives by the mean and by the variance, all (num_outcomes, num_means).

    Or means of functions of the outcome, (num_functions, num_means), see `Spread`.
    """

    value: Floats
    by_mean: Floats
    by_variance: Floats


class Spread:
    """Chances of given outcomes under log-odds that are normal, for any mean and variance.

    From a standard deviation of one step of a grid on, sums over the grid, which for smooth functions are as good as
    integrals; below, Gauss-Hermite quadrature, which is exact there. The derivative by the variance is half the second
    one by the mean, at variance 0 too.
    """

    def __init__(self, num_samples: Ints, num_correct: Ints, functions: Floats | None = None) -> None:
        """For distinct outcomes, (num_outcomes,) each; or for functions of them, (num_functions, num_outcomes)."""
        self.outcomes, self.functions = (num_samples, num_correct), functions
        self.step = FINENESS * 2 / np.sqrt(num_samples.max())
        self.points = np.arange(-FARTHEST, FARTHEST, self.step)
        on_points = nil_as_zero(binomial(num_samples, num_correct, self.points))
        self.on_points = on_points if functions is None else functions @ on_points

    def __call__(self, mean: Floats, variance: float) -> Chances:
        """The chances at every mean.

        Shapes:   mean: (num_means,).
        """
        mean = np.clip(mean, -LARGEST_MEAN, LARGEST_MEAN)
        return self._by_grid(mean, variance) if variance >= self.step**2 else self._by_nodes(mean, variance)

    def _by_grid(self, mean: Floats, variance: float) -> Chances:
        apart = (self.points[:, None] - mean) / np.sqrt(variance)  # (num_points, num_means)
        density = nil_as_zero(np.exp(-(apart**2) / 2))
        density /= density.sum(axis=0)
        return Chances(
            self.on_points @ density,
            self.on_points @ (density * apart) / np.sqrt(variance),
            self.on_points @ (density * (apart**2 - 1)) / (2 * variance),
        )

    def _by_nodes(self, mean: Floats, variance: float) -> Chances:
        num_samples, num_correct = (np.asarray(count)[:, None, None] for count in self.outcomes)
        at = mean[:, None] + np.sqrt(variance) * NODES  # (num_means, num_nodes)
        chance = binomial(*self.outcomes, at)  # (num_outcomes, num_means, num_nodes)
        excess = num_correct - num_samples * np.exp(log_expit(at))
        noise = num_samples * np.exp(log_expit(at) + log_expit(-at))
        found = Chances(
            chance @ NODE_WEIGHTS,
            (chance * excess) @ NODE_WEIGHTS,
            (chance * (excess**2 - noise)) @ NODE_WEIGHTS / 2,
        )
        return found if self.functions is None else Chances(*(self.functions @ each for each in found))
