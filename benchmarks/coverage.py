"""Coverage of the 95% intervals of `samples`, over simulated data sets whose truth is known.

    PYTHONPATH=. python benchmarks/coverage.py [--data-sets 2000] [--only 1 3]

Each data set draws problems anew: a base rate from a Beta distribution (some problems have rate 0), the other model's
rate from it by a shift and a scale of its logit with noise, and n = 64 samples of each. The target is the mean over
the population of problems, of 1 - (1 - p)^k for pass@k. In brackets: a plain percentile bootstrap, without the unseen
problem. One line a setting and quantity: coverage in percent (its own standard error is .5 at 2,000 data sets), mean
width, truth. Then how often each verdict was given; in setting 2, where the rates are equal, `not resolved` is right.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from tqdm import tqdm

from sharpening.samples import comparison, intervals, verdict
from sharpening.samples.tally import Samples
from sharpening.theory import estimators

Floats = NDArray[np.float64]
N = 64
KS = (1, 8, 64)
POPULATION = 1_000_000
NUM_RESAMPLES = 2000


class Setting(NamedTuple):
    """How problems and the two models' rates on them are drawn."""

    num_problems: int
    beta: tuple[float, float]
    share_unsolvable: float
    scale: float
    shift: float
    noise: float


SETTINGS = (
    Setting(200, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 0: sharpened, rates from 0 to 1
    Setting(200, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 1: hard problems, sharpened
    Setting(200, (0.5, 1.0), 0.3, 1.0, 0.0, 0.0),  # 2: three in ten unsolvable, equal rates
    Setting(500, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 3: as 1, more problems
    Setting(100, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 4: as 0, fewer problems
    Setting(30, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 5: as 0, as few as one AIME year
    Setting(50, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 6: as 1, fewer problems
    Setting(200, (2.0, 2.0), 0.0, 1.5, 0.5, 0.5),  # 7: nearly all solved at k = 64
)


def rates(setting: Setting, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rates of the base and the other model on problems drawn at random."""
    base = rng.beta(*setting.beta, size=size) * (rng.random(size) >= setting.share_unsolvable)
    noise = setting.shift + setting.noise * rng.standard_normal(size)
    if setting[3:] == (1.0, 0.0, 0.0):  # exactly equal
        return base, base
    with np.errstate(divide="ignore"):
        return base, expit(setting.scale * logit(base) + noise)


def drawn(name: str, rate: Floats, rng: np.random.Generator) -> Samples:
    """The counts of 64 samples of every problem."""
    correct = rng.binomial(N, rate)[:, None]
    return Samples(name, tuple(map(str, range(len(rate)))), ("",), np.full_like(correct, N), correct)


def truth(setting: Setting, rng: np.random.Generator) -> dict[tuple[str, int], float]:
    """The quantities in the population, from a million problems."""
    base, other = rates(setting, POPULATION, rng)
    found = {("pass_at_k", k): float(estimators.exact_pass_at_k(base, k).mean()) for k in range(1, N + 1)}
    change = {k: float(estimators.exact_pass_at_k(other, k).mean()) - found["pass_at_k", k] for k in range(1, N + 1)}
    found = {key: value for key, value in found.items() if key[1] in KS}
    found |= {("pass_at_k_difference", k): change[k] for k in KS}
    before, after = rng.binomial(N, base), rng.binomial(N, other)
    found["improvement", 0] = float((np.sign(after - before).mean() + 1) / 2)
    found["support_retention", 0] = float((after[before > 0] > 0).mean())
    below = [k for k in range(1, N + 1) if change[k] * change[1] < 0]
    if any(change.values()):
        found["crossing_k", 0] = float(below[0]) if below else np.inf
    return found


def plain(base: Samples, other: Samples, rng: np.random.Generator) -> dict[tuple[str, int], tuple[float, float]]:
    """The percentile bootstrap of the same quantities."""
    curves = [samples.pass_at_k(KS)[:, 0] for samples in (base, other)]
    columns = np.concatenate([curves[0], curves[1] - curves[0]], axis=1)
    problems = rng.integers(len(columns), size=(NUM_RESAMPLES, len(columns)))
    counts = np.stack([np.bincount(row, minlength=len(columns)) for row in problems]) / len(columns)
    low, high = np.quantile(counts @ columns, (0.025, 0.975), axis=0)
    keys = [(quantity, k) for quantity in ("pass_at_k", "pass_at_k_difference") for k in KS]
    return dict(zip(keys, zip(low.tolist(), high.tolist(), strict=True), strict=True))


def judged(
    base: Samples, other: Samples, rng: np.random.Generator
) -> tuple[dict[tuple[str, int], tuple[float, float]], str]:
    """The intervals that `samples` gives, and its verdict."""
    rows = [*comparison.file_rows(base, rng=rng), *comparison.pair_rows(base, other, rng=rng)]
    (found,) = verdict.verdicts(
        rows, verdict.PASS_AT_K, verdict.OF_SAMPLES, base=base.name, between=lambda other, model: ()
    )
    bounds = {(row["quantity"], row["k"]): (row["low"], row["high"]) for row in rows if row["has_interval"]}
    return bounds, found.outcome


def report(number: int, num_data_sets: int) -> None:
    """Simulates one setting and prints a line a quantity."""
    setting, rng = SETTINGS[number], np.random.default_rng(number)
    target = truth(setting, rng)
    hits = {key: np.zeros(2) for key in target}
    widths = {key: np.zeros(2) for key in target}
    outcomes: Counter[str] = Counter()
    for _ in tqdm(range(num_data_sets), disable=None, leave=False):
        base, other = (
            drawn(name, rate, rng) for name, rate in zip("ab", rates(setting, setting.num_problems, rng), strict=True)
        )
        bounds, outcome = judged(base, other, rng)
        outcomes[outcome] += 1
        for place, found in enumerate((bounds, plain(base, other, rng))):
            for key in target.keys() & found.keys():
                low, high = found[key]
                hits[key][place] += low <= target[key] <= high
                widths[key][place] += high - low
    print(f"{number}: {setting._asdict()}")
    for key, value in target.items():
        (share, beside), (width, _) = 100 * hits[key] / num_data_sets, widths[key] / num_data_sets
        shown = f" [{beside:5.1f}]" if beside else " " * 8
        name = f"{key[0]} {key[1] or ''}"
        print(f"   {name:<26}{share:6.1f}{shown}  width {width:.4f}  truth {value:+.4f}", flush=True)
    print("   verdicts: " + ", ".join(f"{name} {count}" for name, count in outcomes.most_common()), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the coverage of every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=2000)
    parser.add_argument("--only", type=int, nargs="+", default=range(len(SETTINGS)))
    given = parser.parse_args(arguments)
    print(f"{given.data_sets} data sets a setting, 95% intervals, unseen problem {intervals.UNSEEN_WEIGHT}")
    for number in given.only:
        report(number, given.data_sets)


if __name__ == "__main__":
    main()
