"""Coverage of the 95% intervals and bands of `samples`, over simulated data sets whose truth is known.

    PYTHONPATH=. python benchmarks/coverage.py [--data-sets 2000] [--only 1 3]

Each data set draws problems anew: a base rate from a Beta distribution (some problems have rate 0), the other model's
rate from it by a shift and a scale of its logit with noise, and n = 64 samples of each; of several seeds each is a
checkpoint with a shift of its own. The target is the mean over the population of problems (and seeds), of
1 - (1 - p)^k for pass@k. One line a setting and quantity: coverage in percent (its own standard error is .5 at 2,000
data sets), mean width, truth. A band covers where it holds the whole curve, k = 1 to 64; beside ours the symmetric band
of a Gaussian multiplier bootstrap, in units of the standard error. Then how often each verdict was given, in brackets
by the intervals of single k; in settings 2 and 8, where the rates are equal, `not resolved` is right.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from tqdm import tqdm

from sharpening.samples import comparison, intervals, verdict
from sharpening.samples.tally import Answers, Samples
from sharpening.theory import estimators

Floats = NDArray[np.float64]
Key = tuple[str, int]
N = 64
KS = (1, 8, 64)
GRID = np.arange(1, N + 1)
POPULATION = 400_000
NUM_VOTES = 100_000  # problems whose votes are drawn for the truth of maj@k
WRONG = np.array([0.5, 0.25, 0.15, 0.1])  # shares of four wrong answers
CURVES = LEVEL, CHANGE = ("pass_at_k", "pass_at_k_difference")


class Setting(NamedTuple):
    """How problems and the two models' rates on them are drawn."""

    num_problems: int
    beta: tuple[float, float]
    share_unsolvable: float
    scale: float
    shift: float
    noise: float
    num_seeds: int = 1
    seed_noise: float = 0.0  # standard deviation of the logits of a checkpoint, one number for all problems
    has_answers: bool = False


SETTINGS = (
    Setting(200, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 0: sharpened, rates from 0 to 1
    Setting(200, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 1: hard problems, sharpened
    Setting(200, (0.5, 1.0), 0.3, 1.0, 0.0, 0.0),  # 2: three in ten unsolvable, equal rates
    Setting(500, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 3: as 1, more problems
    Setting(100, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 4: as 0, fewer problems
    Setting(30, (0.5, 0.5), 0.0, 1.5, 0.5, 0.5),  # 5: as 0, as few as one AIME year
    Setting(50, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 6: as 1, fewer problems
    Setting(200, (2.0, 2.0), 0.0, 1.5, 0.5, 0.5),  # 7: nearly all solved at k = 64
    Setting(100, (0.5, 1.0), 0.3, 1.0, 0.0, 0.0),  # 8: as 2, fewer problems
    Setting(100, (0.3, 1.5), 0.0, 1.5, 1.0, 1.0),  # 9: as 1, fewer problems
    Setting(100, (0.5, 1.0), 0.0, 1.5, 0.5, 0.5, has_answers=True),  # 10: votes
    Setting(100, (0.5, 1.0), 0.0, 1.5, 0.5, 0.5, 3, 0.3),  # 11: three seeds
    Setting(100, (0.5, 1.0), 0.0, 1.5, 0.5, 0.5, 10, 0.3),  # 12: ten seeds
)


def rates(setting: Setting, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rates of the base and the other model on problems drawn at random.

    Shapes:   returns two arrays (size, num_seeds).
    """
    base = rng.beta(*setting.beta, size=size) * (rng.random(size) >= setting.share_unsolvable)
    if setting[3:6] == (1.0, 0.0, 0.0):  # exactly equal
        return base[:, None], base[:, None]
    with np.errstate(divide="ignore"):
        start = logit(base)
    moved = setting.scale * start + setting.shift + setting.noise * rng.standard_normal(size)
    own = setting.seed_noise * rng.standard_normal((2, setting.num_seeds))
    return expit(start[:, None] + own[0]), expit(moved[:, None] + own[1])


def drawn(name: str, rate: Floats, rng: np.random.Generator, *, has_answers: bool) -> Samples:
    """The counts of 64 samples of every problem and seed, where wanted with answers: the right one and four wrong."""
    problems, seeds = tuple(map(str, range(len(rate)))), tuple(map(str, range(rate.shape[1])))
    if not has_answers:
        correct = rng.binomial(N, rate)
        return Samples(name, problems, seeds, np.full_like(correct, N), correct)
    counts = rng.multinomial(N, chances(rate))
    is_right = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    answers = tuple(tuple(Answers(cell[cell > 0], is_right[cell > 0]) for cell in row) for row in counts)
    return Samples(name, problems, seeds, np.full(rate.shape, N), counts[..., 0], answers)


def chances(rate: Floats) -> Floats:
    """Probabilities of the right answer and of four wrong ones.

    Shapes:   rate: (...). Returns (..., 5).
    """
    return np.concatenate([rate[..., None], (1 - rate[..., None]) * WRONG], axis=-1)


def truth(setting: Setting, rng: np.random.Generator) -> tuple[dict[str, Floats], dict[Key, float]]:
    """The curves of pass@k and of its change in the population, and the other quantities."""
    base, other = (rate[:, 0] for rate in rates(setting._replace(num_seeds=1, seed_noise=0.0), POPULATION, rng))
    if setting.num_seeds > 1:  # a checkpoint of its own for every problem: the same mean
        base, other = (
            expit(logit(rate) + setting.seed_noise * rng.standard_normal(POPULATION)) for rate in (base, other)
        )
    before, after = (
        np.array([estimators.exact_pass_at_k(rate, k).mean() for k in GRID.tolist()]) for rate in (base, other)
    )
    change = after - before
    found = {(LEVEL, k): float(before[k - 1]) for k in KS}
    found |= {(CHANGE, k): float(change[k - 1]) for k in KS}
    if setting.num_seeds == 1:
        seen, seen_after = rng.binomial(N, base), rng.binomial(N, other)
        found["improvement", 0] = float((np.sign(seen_after - seen).mean() + 1) / 2)
        found["support_retention", 0] = float((seen_after[seen > 0] > 0).mean())
        found["discovery", 0] = float((seen[seen_after > 0] == 0).mean())
    if change.any():
        crossed, lost = change * change[0] < 0, change < 0
        found["crossing_k", 0] = float(GRID[crossed.argmax()]) if crossed.any() else np.inf
        found["first_loss_k", 0] = float(GRID[lost.argmax()]) if lost.any() else np.inf
    if setting.has_answers:
        found |= {("maj_at_k", k): vote(base[:NUM_VOTES], k, rng) for k in KS}
        found |= {("maj_at_k_difference", k): vote(other[:NUM_VOTES], k, rng) - found["maj_at_k", k] for k in KS}
    return dict(zip(CURVES, (before, change), strict=True)), found


def vote(rate: Floats, k: int, rng: np.random.Generator) -> float:
    """The share of problems that a vote of k samples gets right, ties divided."""
    counts = rng.multinomial(k, chances(rate))
    is_top = counts == counts.max(axis=1, keepdims=True)
    return float((is_top[:, 0] / is_top.sum(axis=1)).mean())


def symmetric_band(base: Samples, other: Samples, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """The band of a Gaussian multiplier bootstrap over problems, in units of the standard error, of the change."""
    before, after = (samples.pass_at_k(GRID).mean(axis=1) for samples in (base, other))
    values = after - before
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    units = (values - mean) / (len(values) * np.maximum(error, 1e-12))
    beyond = np.abs(rng.standard_normal((comparison.NUM_RESAMPLES, len(values))) @ units)
    factor = np.quantile(beyond.max(axis=1), 0.95)
    return mean - factor * error, mean + factor * error


def judged(base: Samples, other: Samples, rng: np.random.Generator) -> tuple[list[dict[str, Any]], list[str]]:
    """The rows that `samples` gives, and the verdict by the band and by the intervals."""
    rows = [*comparison.file_rows(base, rng=rng), *comparison.pair_rows(base, other, rng=rng)]
    without = [{key: value for key, value in row.items() if not key.startswith("band")} for row in rows]
    found = [
        verdict.verdicts(each, verdict.PASS_AT_K, verdict.OF_SAMPLES, base=base.name, between=lambda *_: ())[0].outcome
        for each in (rows, without)
    ]
    return rows, found


class Tally:
    """How often a quantity was covered, and how wide its bounds were."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.hits = self.width = 0.0

    def add(self, target: Floats | float, low: Floats | float, high: Floats | float) -> None:
        """One data set, whose bounds cover if they do everywhere."""
        self.hits += bool(np.all((low <= target) & (target <= high)))
        self.width += float(np.mean(np.subtract(high, low)))

    def line(self, name: str, num: int, shown: str) -> str:
        """Coverage and mean width; widths of sets of k that have no end are left out."""
        width = f"width {self.width / num:.4f}" if np.isfinite(self.width) else "width -"
        return f"   {name:<26}{100 * self.hits / num:6.1f}  {width}  {shown}"


def report(number: int, num_data_sets: int) -> Iterator[str]:
    """Simulates one setting; a line a quantity."""
    setting, rng = SETTINGS[number], np.random.default_rng(number)
    curves, target = truth(setting, rng)
    single = {key: Tally() for key in target}
    whole = {name: Tally() for name in CURVES}
    outcomes: list[Counter[str]] = [Counter(), Counter()]
    rivals = 0
    for _ in tqdm(range(num_data_sets), disable=None, leave=False):
        base, other = (
            drawn(name, rate, rng, has_answers=setting.has_answers)
            for name, rate in zip("ab", rates(setting, setting.num_problems, rng), strict=True)
        )
        rows, found = judged(base, other, rng)
        for counter, outcome in zip(outcomes, found, strict=True):
            counter[outcome] += 1
        for row in rows:
            key = row["quantity"], row["k"]
            if key in target and row["has_interval"]:
                single[key].add(target[key], row["low"], row["high"])
        low, high = symmetric_band(base, other, rng)
        rivals += bool(np.all((low <= curves[CHANGE]) & (curves[CHANGE] <= high)))
        for name, tally in whole.items():
            ends = [[row[end] for row in rows if row["quantity"] == name] for end in ("band_low", "band_high")]
            tally.add(curves[name], np.array(ends[0]), np.array(ends[1]))
    yield f"{number}: {setting._asdict()}"
    for name, tally in whole.items():
        shown = f"truth {curves[name][0]:+.4f} to {curves[name][-1]:+.4f}"
        yield tally.line(f"band of {name}", num_data_sets, shown)
    yield f"   symmetric band of the change {100 * rivals / num_data_sets:5.1f}"
    for key, tally in single.items():
        yield tally.line(f"{key[0]} {key[1] or ''}", num_data_sets, f"truth {target[key]:+.4f}")
    by_band, by_interval = outcomes
    counts = (f"{name} {by_band[name]} [{by_interval[name]}]" for name in by_band | by_interval)
    yield f"   verdicts: {', '.join(counts)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the coverage of every setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-sets", type=int, default=2000)
    parser.add_argument("--resamples", type=int, default=1000, help="fewer than the command has, to be quick")
    parser.add_argument("--only", type=int, nargs="+", default=range(len(SETTINGS)))
    given = parser.parse_args(arguments)
    comparison.NUM_RESAMPLES = given.resamples
    print(f"{given.data_sets} data sets a setting, 95%, unseen problem {intervals.UNSEEN_WEIGHT}")
    for number in given.only:
        for line in report(number, given.data_sets):
            print(line, flush=True)


if __name__ == "__main__":
    main()
