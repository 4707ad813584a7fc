"""What a fitted law implies for quantities that are seen: pass@k, and rates after by the rate before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import binom, hypergeom

from sharpening.samples.rates.fit import Counts, Data, Fit
from sharpening.samples.rates.spread import Spread
from sharpening.theory import estimators

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Shares of correct samples in one half of those before training; the first and the last stand for none and all.
EDGES = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
NUM_BINS = len(EDGES) + 2


class Change(NamedTuple):
    """The change of pass@k that a law implies, and parts of it, all (num_ks,).

    `without_spread` has the same shifts and no spread. `never_solved` is what problems contribute of which none of the
    samples before was correct; the rest comes from the others.
    """

    difference: Floats
    without_spread: Floats
    never_solved: Floats


def change_of_pass_at_k(data: Data, fitted: Fit, counts: Counts, ks: Ints) -> Change:
    """The expected change of pass@k at every k, over problems drawn as these were."""
    missed = Spread(ks, np.zeros_like(ks))
    after = data.points + fitted.shifts(data.points)
    rates = expit(data.points)
    before = estimators.exact_pass_at_k(rates, ks[:, None])  # (num_ks, num_points)
    gain = 1 - missed(after, fitted.variance).value - before
    unseen = 1 - estimators.exact_pass_at_k(rates, counts.before[0][:, None]).mean(axis=0)
    return Change(
        gain @ fitted.weights,
        (1 - missed(after, 0.0).value - before) @ fitted.weights,
        gain @ (fitted.weights * unseen),
    )


@dataclass(frozen=True)
class Bins:
    """Problems by their rate in one half of the samples before; rates in the other half, and after, on log-odds.

    Shapes:   all (num_bins,); `errors` are standard errors of the shifts over problems.
    """

    num_problems: Floats
    before: Floats
    after: Floats
    errors: Floats


def _bin(num_correct: Ints, half: int) -> Ints:
    inside = 1 + np.searchsorted(EDGES[1:], num_correct / half, side="left")
    return np.where(num_correct == 0, 0, np.where(num_correct == half, NUM_BINS - 1, inside))


def bins(counts: Counts) -> Bins:
    """Rates in bins, averaged over all ways to halve the samples before: sorting by a half, measuring on the other."""
    (n, c), (m, d) = counts.before, counts.after
    half = int(n.min() // 2)
    drawn = np.arange(half + 1)
    chance = hypergeom.pmf(drawn, n[:, None], c[:, None], half)  # (num_problems, half + 1)
    member = np.eye(NUM_BINS)[_bin(drawn, half)]  # (half + 1, num_bins)
    weight = chance @ member
    rest = (chance * (c[:, None] - drawn)) @ member / (n - half)[:, None]
    later = weight * (d / m)[:, None]
    total = weight.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rates = [part.sum(axis=0) / total for part in (rest, later)]
        effects = [
            (part - rate * weight) / (total * rate * (1 - rate))
            for part, rate in zip((rest, later), rates, strict=True)
        ]
        errors = np.sqrt(((effects[1] - effects[0]) ** 2).sum(axis=0))
        return Bins(total, logit(rates[0]), logit(rates[1]), errors)


def implied_bins(data: Data, fitted: Fit, counts: Counts) -> tuple[Floats, Floats]:
    """Log-odds of the mean rates before and after in the same bins, as the law has them."""
    half = int(counts.before[0].min() // 2)
    drawn = np.arange(half + 1)
    member = np.eye(NUM_BINS)[_bin(drawn, half)]
    weight = fitted.weights[:, None] * (binom.pmf(drawn, half, expit(data.points)[:, None]) @ member)
    one = np.ones(1, dtype=np.int64)
    later = Spread(one, one)(data.points + fitted.shifts(data.points), fitted.variance).value[0]
    with np.errstate(invalid="ignore"):  # of bins that no problem is in
        before, after = (rate @ weight / weight.sum(axis=0) for rate in (expit(data.points), later))
    return logit(before), logit(after)
