"""Maximum likelihood of a law of shifts, with binomial noise on both sides and rates before training that are latent.

A problem has log-odds x before training, drawn from any distribution: a mixture on a grid, whose weights are fitted
with every law. After it has x + s(x) + e, with the law's shift s and a spread e between problems, normal with standard
deviation `spread`. The counts are binomial. So noise in the counts before is no regression to the mean after.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import chi2

from sharpening.samples import comparison
from sharpening.samples.rates.laws import Law, extended
from sharpening.samples.rates.mixture import likeliest_weights
from sharpening.samples.rates.spread import Chances, Spread, binomial
from sharpening.samples.tally import Samples

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST_VARIANCE, START_VARIANCE = 25.0, 0.5
FINENESS = 1.4  # spacing of the grid, in standard errors of both sides' log-odds at rate 1/2: sums are like integrals
FLAT = 6.5  # beyond these log-odds few counts tell rates apart, and the grid is coarse
COARSE = (7.25, 8.25, 9.5, 12.0)
LEAST_GAIN = 1e-9  # of the log-likelihood, relative, in one step
NEWTON_STEPS = 2
APART = 0.01  # of the differences that give the curvature
NORMAL_95 = 1.959964
SCALE = 4.0  # log-odds: unit of the powers that a law is extended with
MOST = 1.5  # of that unit: powers are flat beyond


@dataclass(frozen=True)
class Counts:
    """Number of samples and of correct ones of every problem, before training and after; all (num_problems,)."""

    before: tuple[Ints, Ints]
    after: tuple[Ints, Ints]

    def chosen(self, which: NDArray[Any]) -> Counts:
        """The counts of some of the problems."""
        (n, c), (m, d) = self.before, self.after
        return Counts((n[which], c[which]), (m[which], d[which]))


@dataclass(frozen=True)
class Data:
    """Counts as the likelihood wants them: each pair of outcomes once, with how often it was seen.

    Shapes:   points: (num_points,), log-odds before; place: (num_problems,), the pair of each; before: (num_pairs,
              num_points), chances of the outcome; after: (num_pairs,), which of the outcomes of `spread`.
    """

    points: Floats
    place: Ints
    before: Floats
    after: Ints
    spread: Spread

    @cached_property
    def multiplicity(self) -> Floats:
        """How often each pair was seen, (num_pairs,)."""
        return self.counted(np.ones(len(self.place), dtype=bool))

    def counted(self, which: NDArray[np.bool_]) -> Floats:
        """The same for some of the problems."""
        return np.bincount(self.place[which], minlength=len(self.before)).astype(np.float64)


def counts_of(before: Samples, after: Samples) -> Counts:
    """The counts of the problems that two models have in common, seeds added up; ValueError if there is none."""
    common = comparison.common_problems(before, after)
    tables = [samples.restricted(common) for samples in (before, after)]
    n, m = (table.num_samples.sum(axis=1) for table in tables)
    c, d = (table.num_correct.sum(axis=1) for table in tables)
    return Counts((n, c), (m, d))


def grid_of(most_before: int, most_after: int) -> Floats:
    """Log-odds before training on which the mixture may put weight, for the largest numbers of samples."""
    num_cells = 2 * int(np.ceil(FLAT / (FINENESS * 2 / np.sqrt(most_before + most_after))))
    return np.concatenate([-np.array(COARSE[::-1]), np.linspace(-FLAT, FLAT, num_cells + 1), COARSE])


def prepared(counts: Counts) -> Data:
    """The counts on a grid."""
    points = grid_of(int(counts.before[0].max()), int(counts.after[0].max()))
    before, first = np.unique(np.stack(counts.before), axis=1, return_inverse=True)
    after, second = np.unique(np.stack(counts.after), axis=1, return_inverse=True)
    pairs, place = np.unique(np.stack([first.ravel(), second.ravel()]), axis=1, return_inverse=True)
    return Data(
        points, place.ravel(), binomial(before[0], before[1], points)[pairs[0]], pairs[1], Spread(after[0], after[1])
    )


class Value(NamedTuple):
    """The log-likelihood at given parameters, its gradient, the weights, and log-probabilities of the pairs."""

    log_likelihood: float
    gradient: Floats
    weights: Floats
    log_chances: Floats


@dataclass(frozen=True)
class Fit:
    """The likeliest parameters and variance of the spread, the weights on the grid, the log-likelihood."""

    law: Law
    parameters: Floats
    variance: float
    weights: Floats
    log_likelihood: float

    @property
    def spread(self) -> float:
        """Standard deviation of the shifts between problems of the same rate."""
        return float(np.sqrt(self.variance))

    def shifts(self, points: Floats) -> Floats:
        """The law's shifts at log-odds before."""
        return self.law.shift(points, self.parameters)[0]

    @property
    def at(self) -> Floats:
        """Parameters and variance."""
        return np.append(self.parameters, self.variance)


def value(data: Data, law: Law, at: Floats, start: Floats, multiplicity: Floats) -> Value:
    """The likelihood at parameters and variance, with the likeliest weights, which are sought from `start`.

    The gradient is that at fixed weights, which at the likeliest weights is that of the maximum over them.
    """
    shifts, slopes = law.shift(data.points, at[:-1])
    chances = data.spread(data.points + shifts, float(at[-1]))
    both = data.before * chances.value[data.after]
    weights = likeliest_weights(both, multiplicity, start)
    fitted = both @ weights
    gradient = slope(data, chances, slopes, weights, multiplicity / fitted)
    return Value(float(multiplicity @ np.log(fitted)), gradient, weights, np.log(fitted))


def slope(data: Data, chances: Chances, slopes: Floats, weights: Floats, inverse: Floats) -> Floats:
    """The gradient of the log-likelihood by parameters and variance, at fixed weights."""
    share = data.before * (inverse[:, None] * weights)
    by_mean = (share * chances.by_mean[data.after]).sum(axis=0)
    return np.append(slopes @ by_mean, (share * chances.by_variance[data.after]).sum())


def fit(
    data: Data,
    law: Law,
    start: Fit | None = None,
    *,
    variance: float | None = None,
    multiplicity: Floats | None = None,
) -> Fit:
    """The likeliest law, from another fit of it where one is given; with the variance given or sought."""
    counted = data.multiplicity if multiplicity is None else multiplicity
    at, unit = np.append(law.start, START_VARIANCE), np.append(np.abs(law.start) + 0.3, 1.0)
    weights = np.full(len(data.points), 1 / len(data.points))
    if start is not None:
        at, weights = np.append(start.parameters, start.variance), start.weights
    bounds: list[tuple[float | None, float | None]] = [(None, None)] * len(law.start)
    bounds.append((0.0, LARGEST_VARIANCE) if variance is None else (variance, variance))
    at[-1] = at[-1] if variance is None else variance

    def loss(scaled: Floats) -> tuple[float, Floats]:
        nonlocal weights
        found = value(data, law, scaled * unit, weights, counted)
        weights = found.weights
        return -found.log_likelihood, -found.gradient * unit

    best = minimize(loss, at / unit, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": LEAST_GAIN})
    found = value(data, law, best.x * unit, weights, counted)
    at = best.x * unit
    return Fit(law, at[:-1], float(at[-1]), found.weights, found.log_likelihood)


def log_chances(data: Data, fitted: Fit) -> Floats:
    """Log-probabilities of the pairs of outcomes under a fit, (num_pairs,)."""
    chances = data.spread(data.points + fitted.shifts(data.points), fitted.variance)
    return np.asarray(np.log((data.before * chances.value[data.after]) @ fitted.weights))


def covariance(data: Data, fitted: Fit) -> Floats:
    """Covariance of parameters and variance: of the maximum over the weights, whether or not the law is true.

    It is the sandwich of the curvature and the scatter of the problems' scores, by differences along the likeliest
    weights. Where the variance is 0, its row and column are 0 and the others as if it were known.

    Shapes:   returns (num_parameters + 1, num_parameters + 1).
    """
    inverse, scores = inverse_curvature(data, fitted)
    return np.asarray(inverse @ (scores * data.multiplicity @ scores.T) @ inverse)


def inverse_curvature(data: Data, fitted: Fit) -> tuple[Floats, Floats]:
    """The inverse curvature of the log-likelihood, the weights maximised over, and the scores of the pairs.

    Both are by differences, and 0 for a variance of 0.

    Shapes:   returns (num_parameters + 1, num_parameters + 1) and (num_parameters + 1, num_pairs).
    """
    at = fitted.at
    free = list(range(len(at) if fitted.variance > 0 else len(at) - 1))
    curvature, scores = [], np.zeros((len(at), len(data.before)))
    for place in free:
        step = APART * (1.0 if place < len(at) - 1 else min(1.0, fitted.variance))
        ends = [replace_at(at, place, at[place] + sign * step) for sign in (1, -1)]
        up, down = (value(data, fitted.law, end, fitted.weights, data.multiplicity) for end in ends)
        curvature.append((down.gradient - up.gradient)[free] / (2 * step))
        scores[place] = (up.log_chances - down.log_chances) / (2 * step)
    inverse = np.zeros((len(at), len(at)))
    inverse[np.ix_(free, free)] = np.linalg.pinv((np.array(curvature) + np.array(curvature).T) / 2)
    return inverse, scores


def fit_near(data: Data, fitted: Fit, inverse: Floats, multiplicity: Floats) -> Fit:
    """The likeliest law for most of the problems, from a fit to all of them and its inverse curvature.

    Two Newton steps with the curvature of all problems, scaled: what is left of the way is the square of the share by
    which the curvature differs. A fit from scratch where they do not raise the likelihood.
    """
    scaled = inverse * data.multiplicity.sum() / multiplicity.sum()
    at, weights = fitted.at, fitted.weights
    steps = []
    for _ in range(NEWTON_STEPS + 1):
        found = value(data, fitted.law, at, weights, multiplicity)
        steps.append((found.log_likelihood, at, found.weights))
        weights, at = found.weights, at + scaled @ found.gradient
        at[-1] = min(max(at[-1], 0.0), LARGEST_VARIANCE)
    log_likelihood, at, weights = steps[-1]
    if not log_likelihood >= steps[0][0]:
        return fit(data, fitted.law, fitted, multiplicity=multiplicity)
    return Fit(fitted.law, at[:-1], float(at[-1]), weights, log_likelihood)


def replace_at(at: Floats, place: int, new: float) -> Floats:
    """A copy with one entry changed."""
    changed = at.copy()
    changed[place] = new
    return changed


def spread_interval(data: Data, fitted: Fit, variance_error: float) -> tuple[float, float]:
    """95% interval of the spread; from 0 where a spread of 0 is not rejected at 5%.

    At 0 twice the gain in log-likelihood is 0 or chi-squared, each half of the time.
    """
    at_zero = fit(data, fitted.law, fitted, variance=0.0)
    is_there = 2 * (fitted.log_likelihood - at_zero.log_likelihood) > chi2.isf(0.1, 1)
    if fitted.variance == 0.0:
        return 0.0, upper_end(data, at_zero)
    reach = NORMAL_95 * variance_error / (2 * fitted.spread)  # of the spread, by the delta method
    return (max(fitted.spread - reach, 0.0) if is_there else 0.0), fitted.spread + reach


def upper_end(data: Data, at_zero: Fit) -> float:
    """The spread at which the log-likelihood has fallen by as much as 95% allows, from a maximum at 0."""
    aim, low, high = at_zero.log_likelihood - chi2.isf(0.1, 1) / 2, 0.0, 0.01
    while high < LARGEST_VARIANCE and fit(data, at_zero.law, at_zero, variance=high).log_likelihood > aim:
        low, high = high, 2 * high
    for _ in range(6):
        middle = (low + high) / 2
        is_in = fit(data, at_zero.law, at_zero, variance=middle).log_likelihood > aim
        low, high = (middle, high) if is_in else (low, middle)
    return float(np.sqrt(high))


def misfit(data: Data, fitted: Fit) -> float:
    """p-value of the law within an extension of it by two functions: the first powers of the log-odds that it lacks.

    Powers are of log-odds in units of 4 and flat beyond 6. Twice the gain in log-likelihood is chi-squared with 2
    degrees of freedom if the law is true and the spread normal.
    """
    own = fitted.law.shift(data.points, fitted.parameters)[1].T  # (num_points, num_parameters)
    powers = []
    for power in range(4):
        column = bounded(data.points) ** power
        left = column - own @ np.linalg.lstsq(own, column)[0]
        if np.abs(left).max() > 0.05 * np.abs(column).max():
            powers.append(power)
    more = tuple(lambda at, power=power: bounded(at) ** power for power in powers[:2])
    wider = extended(fitted.law, more)
    start = replace(fitted, law=wider, parameters=np.append(fitted.parameters, np.zeros(len(more))))
    gain = fit(data, wider, start).log_likelihood - fitted.log_likelihood
    return float(chi2.sf(2 * max(gain, 0.0), len(more)))


def bounded(log_odds: Floats) -> Floats:
    """Log-odds in units of 4, flat beyond 6."""
    return np.clip(log_odds / SCALE, -MOST, MOST)
