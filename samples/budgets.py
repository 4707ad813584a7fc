"""What a band of changes of pass@k proves: where the loss begins, how large gain and loss surely are, what it takes.

Of a band that holds at all k at once these follow together. The first k of loss, the least k at which the other model
solves fewer problems, lies between the least k at which the band reaches below 0 and the least at which it lies below
0; where it nowhere does, there may be no loss. The sure gain is the highest that the band's lower bound comes above 0,
at the k where it does: at that k the change is at least this. The sure loss likewise.

What it takes to resolve a change: the reach of the band towards 0 and the standard error shrink with the root of the
number of problems. The variance of a problem's estimated change is that between problems and the noise of its samples,
and n >= 2k samples tell how much is noise: the square of an estimate of (1 - p)^k less an unbiased one of (1 - p)^2k.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharpening.samples.intervals import Band
from sharpening.samples.tally import Samples

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Z_POWER = 0.8416212335729143  # the 80% quantile of a standard normal: what is resolved four times in five


class Finding(NamedTuple):
    """A quantity with its value, at one k or at none (0), and the set that it lies in where there is one."""

    quantity: str
    k: int
    value: float
    bounds: tuple[float, float] | None = None


def first_below(ks: Counts, curves: Floats) -> Floats:
    """The first k at which a curve is below 0, or infinity.

    Shapes:   ks: (num_ks,); curves: (num_curves, num_ks). Returns (num_curves,).
    """
    is_below = curves < 0
    return np.where(is_below.any(axis=1), ks[is_below.argmax(axis=1)], np.inf)


def proven(ks: Counts, difference: Floats, band: Band) -> Iterator[Finding]:
    """The first k of loss with its 95% set, and the sure gain and loss: 0 at k = 0 where there is none.

    Shapes:   all (num_ks,).
    """
    value, low, high = first_below(ks, np.stack([difference, band.band_low, band.band_high])).tolist()
    yield Finding("first_loss_k", 0, value, (low, high))
    for quantity, sure in (("sure_gain", band.band_low), ("sure_loss", -band.band_high)):
        place = int(sure.argmax())
        yield Finding(quantity, *((int(ks[place]), float(sure[place])) if sure[place] > 0 else (0, 0.0)))


def needed(base: Samples, other: Samples, ks: Counts, band: Band, wanted: Sequence[int]) -> Iterator[Finding]:
    """The change that these problems would resolve four times in five, and how much of its noise more samples remove.

    At each k that is wanted: `resolvable_change`, the reach of the band towards 0 and .84 standard errors; where both
    files have 2k samples `sampling_noise_share`, the share of the variance of a problem's estimated change that is the
    noise of its samples. So a change d takes (resolvable/d)^2 times as many problems, and no fewer than 1 - share of
    those with any number of samples.

    Requires: one seed in each file, two problems or more; wanted among ks.
    """
    twice = [2 * k for k in wanted if 2 * k <= min(base.largest_k, other.largest_k)]
    sizes = [*wanted, *twice]
    fails = [dict(zip(sizes, 1 - samples.pass_at_k(sizes)[:, 0].T, strict=True)) for samples in (base, other)]
    for k in wanted:
        changes = fails[0][k] - fails[1][k]
        change, variance = float(changes.mean()), float(changes.var(ddof=1))
        (place,) = np.flatnonzero(ks == k)
        below, above = change - band.band_low[place], band.band_high[place] - change
        reach = float(below if change > 0 else above if change < 0 else max(below, above))
        yield Finding("resolvable_change", k, reach + Z_POWER * (variance / len(changes)) ** 0.5)
        if 2 * k in twice:
            noise = sum(float((fail[k] ** 2 - fail[2 * k]).mean()) for fail in fails)  # unbiased, so it may be below 0
            yield Finding("sampling_noise_share", k, min(max(noise / variance, 0.0), 1.0) if variance else 1.0)
