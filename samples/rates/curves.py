"""Laws of shifts fitted to curves of pass@k before and after training, where no counts of single problems are known.

The curves are moments of the counts: at every k the mean of an unbiased estimator over problems, and the share of
problems that both models solved. Their covariance follows from the binomial noise and the spread between problems, so
laws are fitted by generalised least squares, with log-odds before from any distribution (a mixture on the same grid).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, nnls
from scipy.stats import chi2

from sharpening.samples.rates.curve_file import Curves
from sharpening.samples.rates.fit import LARGEST_VARIANCE, NORMAL_95, grid_of
from sharpening.samples.rates.laws import Law
from sharpening.samples.rates.spread import Spread, binomial
from sharpening.theory import estimators

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STARTS = (0.1, 2.0, 9.0)  # of the variance: the misfit has several minima
ROUNDS = 4  # of the covariance, which depends on what is fitted
START_WEIGHT = 1e3  # of the condition that weights add up to 1, in the units of whitened moments
LEAST_EIGENVALUE = 1e-12  # of the covariance, relative: directions below are rounding
APART = 0.02  # of the differences that give the curvature


class Moments(NamedTuple):
    """Moments of a problem at every point of the grid, and their derivatives by parameters and variance.

    Shapes:   value: (num_moments, num_points); slopes: (num_parameters + 1, num_moments, num_points).
    """

    value: Floats
    slopes: Floats


@dataclass(frozen=True)
class CurveFit:
    """The best parameters and variance of the spread; the weights; the misfit, in squared standard errors."""

    law: Law
    parameters: Floats
    variance: float
    weights: Floats
    distance: float
    covariance: Floats

    @property
    def spread(self) -> float:
        """Standard deviation of the shifts between problems of the same rate."""
        return float(np.sqrt(self.variance))


class Problem:
    """The curves on a grid of log-odds before."""

    def __init__(self, curves: Curves) -> None:
        """For one set of problems."""
        self.curves = curves
        correct = np.arange(curves.num_samples + 1)
        self.outcomes = np.full_like(correct, curves.num_samples), correct
        self.points = grid_of(curves.num_samples, curves.num_samples)
        estimates = estimators.pass_at_k(self.outcomes[0], correct, curves.ks[:, None])
        self.functions = np.append(estimates, [correct > 0], axis=0)  # (num_ks + 1, num_samples + 1)
        self.pairs = np.triu_indices(len(curves.ks))
        products = estimates[self.pairs[0]] * estimates[self.pairs[1]]
        chances = binomial(*self.outcomes, self.points)
        self.before, self.squares_before = self.functions @ chances, products @ chances
        self.spread, self.squares = Spread(*self.outcomes, self.functions), Spread(*self.outcomes, products)

    def moments(self, law: Law, at: Floats) -> Moments:
        """The moments under a law with parameters and variance `at`."""
        shifts, by_parameter = law.shift(self.points, at[:-1])
        after = self.spread(self.points + shifts, float(at[-1]))
        changes = [*(after.by_mean * slope for slope in by_parameter), after.by_variance]
        value = np.concatenate([self.before[:-1], after.value[:-1], self.before[-1:] * after.value[-1:]])
        slopes = [
            np.concatenate([np.zeros_like(change[:-1]), change[:-1], self.before[-1:] * change[-1:]])
            for change in changes
        ]
        return Moments(value, np.stack(slopes))

    def whitener(self, law: Law, at: Floats, weights: Floats) -> Floats:
        """The matrix that makes errors of the moments uncorrelated, with variance 1; (num_moments, num_moments)."""
        num = len(self.curves.ks)
        shifted = self.points + law.shift(self.points, at[:-1])[0]
        means = self.before, self.spread(shifted, float(at[-1])).value
        squares = self.squares_before, self.squares(shifted, float(at[-1])).value
        covariance = np.zeros((2 * num + 1, 2 * num + 1))
        for place, (mean, square) in enumerate(zip(means, squares, strict=True)):
            second = np.zeros((num, num))
            second[self.pairs] = second.T[self.pairs] = square @ weights
            inside = slice(place * num, (place + 1) * num)
            covariance[inside, inside] = second - (mean[:-1] * weights) @ mean[:-1].T
            with_both = mean[:-1] * (1 - mean[-1]) * means[1 - place][-1] @ weights
            covariance[inside, -1] = covariance[-1, inside] = with_both
        both = means[0][-1] * means[1][-1]
        covariance[-1, -1] = (both * (1 - both)) @ weights
        values, vectors = np.linalg.eigh(covariance / self.curves.num_problems)
        return np.asarray((vectors / np.sqrt(np.maximum(values, LEAST_EIGENVALUE * values[-1]))).T)

    def best_weights(self, whitener: Floats, moments: Moments) -> tuple[Floats, Floats]:
        """The weights on the grid that fit best, and the whitened misfit, (num_moments,)."""
        left = np.append(whitener @ moments.value, np.full((1, len(self.points)), START_WEIGHT), axis=0)
        weights, _ = nnls(left, np.append(whitener @ self.curves.moments, START_WEIGHT))
        weights = weights / weights.sum()
        return weights, whitener @ (self.curves.moments - moments.value @ weights)

    def loss(self, law: Law, at: Floats, whitener: Floats) -> tuple[float, Floats]:
        """The squared misfit with the best weights, and its gradient by parameters and variance."""
        moments = self.moments(law, at)
        weights, misfit = self.best_weights(whitener, moments)
        return float(misfit @ misfit), -2 * (moments.slopes @ weights) @ (whitener.T @ misfit)


def fit(problem: Problem, law: Law) -> CurveFit:
    """A law fitted to the curves of a set: the best of fits that begin at several spreads."""
    return min((_fit_from(problem, law, variance) for variance in STARTS), key=lambda found: found.distance)


def _fit_from(problem: Problem, law: Law, variance: float) -> CurveFit:
    at, unit = np.append(law.start, variance), np.append(np.abs(law.start) + 0.3, 1.0)
    weights = np.full(len(problem.points), 1 / len(problem.points))
    bounds = [(None, None)] * len(law.start) + [(0.0, LARGEST_VARIANCE)]
    for _ in range(ROUNDS):
        whitener = problem.whitener(law, at, weights)

        def loss(scaled: Floats, whitener: Floats = whitener) -> tuple[float, Floats]:
            distance, slope = problem.loss(law, scaled * unit, whitener)
            return distance, slope * unit

        best = minimize(loss, at / unit, jac=True, method="L-BFGS-B", bounds=bounds)
        at = best.x * unit
        weights, _ = problem.best_weights(whitener, problem.moments(law, at))
    return CurveFit(law, at[:-1], float(at[-1]), weights, float(best.fun), _covariance(problem, law, at, whitener))


def _covariance(problem: Problem, law: Law, at: Floats, whitener: Floats) -> Floats:
    """Twice the inverse of the curvature of the squared misfit; 0 for a variance of 0."""
    free = list(range(len(at) if at[-1] > 0 else len(at) - 1))
    curvature = []
    for place in free:
        step = np.zeros(len(at))
        step[place] = APART if place < len(at) - 1 else APART * min(1.0, at[-1])
        up, down = (problem.loss(law, at + sign * step, whitener)[1] for sign in (1, -1))
        curvature.append((up - down)[free] / (2 * step[place]))
    found = np.zeros((len(at), len(at)))
    found[np.ix_(free, free)] = 2 * np.linalg.pinv((np.array(curvature) + np.array(curvature).T) / 2)
    return found


def misfit(problem: Problem, fitted: CurveFit) -> float:
    """p-value of a law: the squared misfit is chi-squared; the curve before is used up by the mixture."""
    freedom = len(problem.curves.ks) + 1 - len(fitted.parameters) - 1
    return float(chi2.sf(fitted.distance, freedom))


def spread_interval(fitted: CurveFit) -> tuple[float, float]:
    """95% interval of the spread, on the scale of the variance; from 0 where that is not above 0 by so much."""
    reach = NORMAL_95 * float(np.sqrt(max(fitted.covariance[-1, -1], 0.0)))
    low, high = fitted.variance - reach, fitted.variance + reach
    return float(np.sqrt(max(low, 0.0))), float(np.sqrt(high))
