"""How well the laws of `rates` are told apart, and whether their intervals cover, on simulated counts of known truth.

    python -m benchmarks.rates coverage [--data-sets 1000] [--only 0 2] [--problems 1060] [--law affine]
    python -m benchmarks.rates confusion [--data-sets 200] [--only common affine] [--problems 4240]

Counts have the shape of the public ones: 1,060 problems with 128 samples before and after, log-odds before drawn from
the mixture that was fitted to the public model, smoothed by .2 nats. `coverage`: of 95% intervals of parameters and
spread, and how often the true law is rejected at 5%, under the common law with a shift of 1.2 (with --law: under
another one, as fitted to the public model), for normal spreads of 0, .5 and 1, and for some that are not normal.
`confusion`: how often each law is chosen where each is true, as fitted to the public model, with spread 1.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from tqdm import tqdm

from sharpening.samples import files
from sharpening.samples.rates import choice, laws
from sharpening.samples.rates import fit as fitting
from sharpening.samples.rates.fit import Counts, Fit

Floats = NDArray[np.float64]
PUBLIC = Path(__file__).resolve().parent.parent / "examples" / "public"
NUM_PROBLEMS, NUM_SAMPLES = 1060, 128
SMOOTHING, SHIFT = 0.2, 1.2


class Setting(NamedTuple):
    """A spread between problems: its standard deviation, and standardised draws of it."""

    words: str
    spread: float
    draw: Callable[[np.random.Generator, int], Floats]


def two_sided(rng: np.random.Generator, size: int) -> Floats:
    """Draws of mean 0 and variance 1: a tenth of the problems does not move, the others do."""
    return np.asarray(np.where(rng.random(size) < 0.1, -3.0, 1 / 3))


SETTINGS = (
    Setting("normal spread 0", 0.0, lambda rng, size: np.zeros(size)),
    Setting("normal spread .5", 0.5, lambda rng, size: rng.standard_normal(size)),
    Setting("normal spread 1", 1.0, lambda rng, size: rng.standard_normal(size)),
    Setting("exponential spread 1", 1.0, lambda rng, size: rng.standard_exponential(size) - 1),
    Setting("one in ten apart, spread .4", 0.4, two_sided),
)


def public_fits() -> dict[str, Fit]:
    """Every law fitted to the public model of 1.5B, by name."""
    names = [str(PUBLIC / f"deepscaler_1.5b_{name}.csv") for name in ("base", "rl")]
    (before, _), (after, _) = files.read_models(names)
    data = fitting.prepared(fitting.counts_of(before, after))
    return {law.name: fitting.fit(data, law) for law in laws.all_laws()}


def simulated(
    start: Fit,
    points: Floats,
    shifts: Callable[[Floats], Floats],
    setting: Setting,
    rng: np.random.Generator,
    num_problems: int = NUM_PROBLEMS,
) -> Counts:
    """Counts of problems with rates like those of the public model, moved by shifts and a spread."""
    at = rng.choice(points, p=start.weights / start.weights.sum(), size=num_problems)
    at = at + SMOOTHING * rng.standard_normal(num_problems)
    after = at + shifts(at) + setting.spread * setting.draw(rng, num_problems)
    total = np.full(num_problems, NUM_SAMPLES)
    return Counts((total, rng.binomial(total, expit(at))), (total, rng.binomial(total, expit(after))))


def coverage(
    fits: dict[str, Fit], points: Floats, true: str, number: int, num_data_sets: int, num_problems: int
) -> None:
    """Prints a line on one setting."""
    setting, rng = SETTINGS[number], np.random.default_rng([7, number])
    law, parameters = fits[true].law, np.array([SHIFT]) if true == "common" else fits[true].parameters
    hits = np.zeros(len(parameters) + 2)
    found = np.empty((num_data_sets, len(parameters) + 1))
    for place in tqdm(range(num_data_sets), disable=None, leave=False):
        shifts = functools.partial(_shifts, law, parameters)
        counts = simulated(fits["affine"], points, shifts, setting, rng, num_problems)
        data = fitting.prepared(counts)
        fitted = fitting.fit(data, law)
        errors = np.sqrt(np.diag(fitting.covariance(data, fitted)))
        low, high = fitting.spread_interval(data, fitted, errors[-1])
        is_covered = np.abs(fitted.parameters - parameters) <= fitting.NORMAL_95 * errors[:-1]
        hits += (*is_covered, low <= setting.spread <= high, fitting.misfit(data, fitted) < 0.05)
        found[place] = *fitted.parameters, fitted.spread
    shares = 100 * hits / num_data_sets
    told = [
        f"{name} covered {share:5.1f}%, mean {mean:.3f} (sd {sd:.3f})"
        for name, share, mean, sd in zip(
            (*law.parameters, "spread"), shares, found.mean(axis=0), found.std(axis=0), strict=False
        )
    ]
    about = f"true law rejected {shares[-1]:4.1f}%  {num_data_sets} data sets"
    print(f"{true:<10} {setting.words:<28} {'  '.join(told)}  {about}", flush=True)


def _shifts(law: laws.Law, parameters: Floats, log_odds: Floats) -> Floats:
    return law.shift(log_odds, parameters)[0]


def confusion(fits: dict[str, Fit], points: Floats, true: str, num_data_sets: int, num_problems: int) -> None:
    """Prints how often each law is chosen where one is true."""
    rng = np.random.default_rng([11, list(fits).index(true)])
    chosen: Counter[str] = Counter()
    for _ in tqdm(range(num_data_sets), disable=None, leave=False):
        counts = simulated(fits["affine"], points, fits[true].shifts, SETTINGS[2], rng, num_problems)
        data = fitting.prepared(counts)
        found = [fitting.fit(data, fitted.law) for fitted in fits.values()]
        chosen[found[choice.choose(data, found, rng=rng).chosen].law.name] += 1
    shares = ", ".join(f"{name} {100 * count / num_data_sets:.1f}%" for name, count in chosen.most_common())
    print(f"{true:<16} {shares}", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("coverage", "confusion"))
    parser.add_argument("--data-sets", type=int)
    parser.add_argument("--only", nargs="+")
    parser.add_argument("--problems", type=int, default=NUM_PROBLEMS)
    parser.add_argument("--law", default="common", help="true law of `coverage`")
    given = parser.parse_args(arguments)
    fits = public_fits()
    points = fitting.grid_of(NUM_SAMPLES, NUM_SAMPLES)
    if given.what == "coverage":
        for number in map(int, given.only or range(len(SETTINGS))):
            coverage(fits, points, given.law, number, given.data_sets or 1000, given.problems)
    else:
        for name in given.only or fits:
            confusion(fits, points, name, given.data_sets or 200, given.problems)
    return 0


if __name__ == "__main__":
    sys.exit(main())
