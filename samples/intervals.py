"""Bootstrap intervals for evaluation results: over problems, and over problems and training seeds together.

Which one to use: problems are always a sample, so every number averaged over problems takes
`bootstrap_over_problems`. When several training seeds were each evaluated on the same problems, the seeds
are a second sample, crossed with the first: use `bootstrap_over_problems_and_seeds`. Averaging over seeds
first and resampling problems alone answers a narrower question (these very checkpoints), and its interval
is too short for a claim about the method. To compare two methods on the same problems pass the differences:
that pairs them. Where many quantities are averaged over the same problems, or lie near an end of their range (as
pass@k does for large k), use `resampled_sums` and `bounded_interval`, and `bounded_band` for a curve as a whole.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharpening.theory import policies

Floats = NDArray[np.float64]
Statistic = Callable[..., Any]  # called as statistic(values, axis=...), reducing the axis or axes

BATCH_ENTRIES = 2_000_000  # resampled values held at once: 16 MB
UNSEEN_WEIGHT = 0.5  # of the unseen problem, in problems; chosen by benchmarks/coverage.py


@dataclass(frozen=True)
class Interval:
    """A statistic of the data with its bootstrap interval and standard error; all four of the same shape."""

    estimate: Floats
    low: Floats
    high: Floats
    standard_error: Floats


def bootstrap_over_problems(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2000,
    method: Literal["BCa", "percentile"] = "BCa",
) -> Interval:
    """Bootstrap interval of a statistic of independent problems.

    All leading rows share the same resamples, so a whole pass@k curve moves together. Where every resample
    gives the same number (all problems solved, say) the interval is that point.

    Shapes:   values: (..., num_problems); statistic(values, axis=-1) -> (...). Returns arrays of shape (...).
    Requires: finite values, two problems or more, 0 < confidence < 1, num_resamples >= 2. Raises ValueError
              also where BCa does not exist because all resamples lie on one side of the estimate.
    Source:   Efron and Tibshirani 1993, chapters 13 and 14, as implemented in SciPy.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap  # takes longer than all that `samples` computes

    data = _checked(values, num_axes=1, confidence=confidence, num_resamples=num_resamples)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)  # constant rows: treated below
        result = bootstrap(
            (data,),
            lambda sample, axis: statistic(sample, axis=axis),
            axis=-1,
            n_resamples=num_resamples,
            batch=max(1, BATCH_ENTRIES // data.size),
            vectorized=True,
            confidence_level=confidence,
            method=method,
            rng=rng,
        )
    estimate = np.asarray(statistic(data, axis=-1), dtype=np.float64)
    is_point = np.ptp(result.bootstrap_distribution, axis=-1) == 0
    low = np.where(is_point, estimate, result.confidence_interval.low)
    high = np.where(is_point, estimate, result.confidence_interval.high)
    policies.refuse(
        low,
        np.isnan(low + high),
        "the bound of row",
        "finite: BCa is undefined here, use method='percentile'",
    )
    return Interval(estimate, low, high, np.asarray(result.standard_error))


def bootstrap_over_problems_and_seeds(
    values: ArrayLike,
    statistic: Statistic = np.mean,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> Interval:
    """Percentile interval that resamples problems and seeds independently of each other, for crossed data.

    Every resample draws problems and draws seeds, with replacement, and keeps the cells where they meet. No
    bootstrap of crossed data is exact; for the mean this one counts the noise of single cells three times, so
    it errs on the long side. The seed part of the variance shrinks by (num_seeds - 1)/num_seeds, and the
    percentiles of few seeds are rough: where seeds dominate, a 90 % interval covered 63 % with 2, 73 % with 5
    and 84 % with 10 seeds (ours, simulated). Report the number of seeds.

    Shapes:   values: (..., num_problems, num_seeds), seed s being one checkpoint evaluated on every problem;
              statistic(values, axis=(-2, -1)) -> (...). Returns arrays of shape (...).
    Requires: finite values, two problems and two seeds or more, 0 < confidence < 1, num_resamples >= 2.
    Source:   Owen and Eckles, arXiv 1106.2125 (its bias; McCullagh 2000 for why none is exact).
    """
    data = _checked(values, num_axes=2, confidence=confidence, num_resamples=num_resamples)
    num_problems, num_seeds = data.shape[-2:]
    problems = rng.integers(num_problems, size=(num_resamples, num_problems, 1))
    seeds = rng.integers(num_seeds, size=(num_resamples, 1, num_seeds))
    num_batches = min(num_resamples, 1 + num_resamples * data.size // BATCH_ENTRIES)
    batches = np.array_split(np.arange(num_resamples), num_batches)
    drawn = [statistic(data[..., problems[rows], seeds[rows]], axis=(-2, -1)) for rows in batches]
    resampled = np.concatenate(drawn, axis=-1)  # (..., num_resamples)
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2], axis=-1)
    estimate = np.asarray(statistic(data, axis=(-2, -1)), dtype=np.float64)
    return Interval(estimate, np.asarray(low), np.asarray(high), np.asarray(resampled.std(axis=-1, ddof=1)))


def _checked(values: ArrayLike, *, num_axes: int, confidence: float, num_resamples: int) -> Floats:
    """The values as float64, refused if a resampled axis is shorter than 2 or an entry is not finite."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim < num_axes or min(data.shape[-num_axes:]) < 2:
        raise ValueError(f"values has shape {data.shape}: its last {num_axes} axes must have length 2 or more")
    policies.refuse(data, ~np.isfinite(data), "values", "finite")
    policies.refuse(confidence, not 0 < confidence < 1, "confidence", "between 0 and 1, exclusive")
    policies.refuse(num_resamples, num_resamples < 2, "num_resamples", "at least 2")
    return data


def resampled_sums(columns: ArrayLike, *, rng: np.random.Generator, num_resamples: int = 2000) -> Floats:
    """Sums over problems with independent standard exponential weights: the Bayesian bootstrap, not yet normalised.

    All columns share the weights, so a ratio of two of these sums is a resampled weighted mean, and the difference
    of two such means is paired.

    Shapes:   columns: (num_problems, num_columns). Returns (num_resamples, num_columns).
    Source:   Rubin 1981, The Bayesian bootstrap.
    """
    data = np.asarray(columns, dtype=np.float64)
    num_batches = min(num_resamples, 1 + num_resamples * len(data) // BATCH_ENTRIES)
    sizes = [len(rows) for rows in np.array_split(np.arange(num_resamples), num_batches)]
    return np.concatenate([rng.standard_exponential((size, len(data))) @ data for size in sizes])


class Band(NamedTuple):
    """Bounds at each k on its own, and wider ones that hold at all k at once; all four of shape (num_ks,)."""

    low: Floats
    high: Floats
    band_low: Floats
    band_high: Floats


def bounded_interval(
    sums: Floats,
    totals: Floats,
    *,
    rng: np.random.Generator,
    low_end: ArrayLike,
    high_end: ArrayLike,
    confidence: float = 0.95,
) -> tuple[Floats, Floats]:
    """Interval for the mean of a quantity that lies in [low_end, high_end], from `resampled_sums`.

    Each bound adds half a problem that was not seen, at the worse end of the range. So an interval does not shrink to
    a point where all problems are alike (all solved, say), where a plain bootstrap covers nothing. With a whole unseen
    problem this is Gaffke's bound, which for zeros and ones is that of Clopper and Pearson and covers too often; the
    half was chosen by simulation (benchmarks/coverage.py).

    Shapes:   sums: (num_resamples, ...), weighted sums of the quantity; totals: the weights' sums, broadcasting to it;
              low_end, high_end: broadcast to (...). Returns two arrays (...).
    Source:   Gaffke 2005; Learned-Miller and Thomas, arXiv 1905.06208; the half is ours.
    """
    return _ends(*_with_the_unseen(sums, totals, rng, low_end, high_end), confidence)


def bounded_band(
    sums: Floats,
    totals: Floats,
    estimate: Floats,
    *,
    rng: np.random.Generator,
    low_end: ArrayLike,
    high_end: ArrayLike,
    confidence: float = 0.95,
) -> Band:
    """The `bounded_interval` of each k, and a band around the whole curve: those intervals, all widened by one factor.

    The factor is the least with which that share of the resampled curves lies within at every k, each curve with half
    an unseen problem on either side. This is a sup-t band whose unit at each k is, on either side, the distance from
    the estimate to the bound there, in place of the standard error: so it keeps the skewness of the interval, and a
    width where the standard error goes to 0. It stays in the range.

    Shapes:   sums: (num_resamples, num_ks); totals broadcasts to it; estimate: (num_ks,), inside its interval.
    Source:   sup-t: Montiel Olea and Plagborg-Moller 2019 (doi 10.1002/jae.2656); the units are ours.
    """
    lower, upper = _with_the_unseen(sums, totals, rng, low_end, high_end)
    low, high = _ends(lower, upper, confidence)
    below, above = np.maximum(estimate - low, 0.0), np.maximum(high - estimate, 0.0)
    beyond = np.maximum(_in_units(estimate - lower, below), _in_units(upper - estimate, above)).max(axis=1)
    factor = max(1.0, float(np.quantile(beyond, confidence)))
    band_low = np.maximum(estimate - factor * below, low_end)
    return Band(low, high, band_low, np.minimum(estimate + factor * above, high_end))


def _with_the_unseen(
    sums: Floats, totals: Floats, rng: np.random.Generator, low_end: ArrayLike, high_end: ArrayLike
) -> tuple[Floats, Floats]:
    """The resampled means with half an unseen problem at the low end, and at the high end."""
    unseen = rng.standard_gamma(UNSEEN_WEIGHT, size=len(sums)).reshape(-1, *[1] * (sums.ndim - 1))
    lower, upper = ((sums + unseen * np.asarray(end)) / (totals + unseen) for end in (low_end, high_end))
    return lower, upper


def _ends(lower: Floats, upper: Floats, confidence: float) -> tuple[Floats, Floats]:
    tail = (1 - confidence) / 2
    return np.asarray(np.quantile(lower, tail, axis=0)), np.asarray(np.quantile(upper, 1 - tail, axis=0))


def _in_units(distance: Floats, unit: Floats) -> Floats:
    """The distance in units; 0 where the unit is 0, as no resample lies farther there."""
    return np.divide(distance, unit, out=np.zeros_like(distance), where=unit > 0)
