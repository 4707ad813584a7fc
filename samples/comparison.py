"""What samples of one model show, and of two models on the same problems: rows with 95% intervals.

The target of every interval is the mean over the population that the problems were drawn from: problems are resampled,
together for both models, and seeds within each model where a file has several. That covers the noise of the samples
too, since new problems come with new samples. Intervals [low, high] are for each k on its own; of pass@k and its
differences [band_low, band_high] holds at all k at once. Each bound adds half an unseen problem
(`intervals.bounded_band`), for a difference one as far from 0 as the farthest seen, and for pass@k k/n at least.

Definitions: the first of two models is the base. Kept, lost, gained: problems with a correct sample in both files, in
the base's only, in the other's only; SRR = kept/(kept + lost), NDR = gained/(kept + gained) (arXiv 2507.14843, as
summarised). Lost by chance: expected number if at each problem both models had the same rate, from the pooled samples.
Improvement: chance that on a problem drawn at random the share of correct samples is above the base's, ties half
(after arXiv 2108.13264, problems in place of tasks). Crossing: first k where the difference has not the sign it has at
k = 1; infinite if none; its interval is the percentiles over resamples, with that sign kept. What the band proves,
and what it would take to prove more, is in `samples.budgets`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sharpening.samples import budgets, intervals
from sharpening.samples.intervals import Band
from sharpening.samples.tally import Samples
from sharpening.theory import estimators

Floats = NDArray[np.float64]
Range = tuple[float, float] | tuple[Floats, Floats] | None
Row = dict[str, Any]

MOST_KS = 1024  # every k up to here; above, as many spaced evenly in log k
HILL_ORDERS = (0, 1, 2)
FEWEST_PROBLEMS, FEWEST_SEEDS = 30, 10  # with fewer, intervals are rough
SHARE = (0.0, 1.0)  # the range of a share
NUM_RESAMPLES = 4000  # so that the ends of the first loss move by a few k at most from seed to seed
MISSED = 0.05  # chance of missing a problem at the detection threshold


def ks_up_to(largest_k: int, wanted: Iterable[int] = ()) -> NDArray[np.int64]:
    """Every k from 1 to largest_k; above 1,024, as many spaced evenly in log k, and the ones wanted."""
    if largest_k <= MOST_KS:
        return np.arange(1, largest_k + 1)
    spaced = np.geomspace(1, largest_k, MOST_KS).round().astype(np.int64)
    return np.unique([*spaced, *vote_sizes(largest_k), *wanted])


def vote_sizes(largest_k: int) -> list[int]:
    """The k of maj@k: powers of two, and the largest."""
    return sorted({*(2**power for power in range(largest_k.bit_length())), largest_k})


def detection_threshold(num_samples: int) -> float:
    """The rate at which a problem is missed in all of n samples with probability 5%: 1 - .05^(1/n), about 3/n."""
    return float(-np.expm1(np.log(MISSED) / num_samples))


class _Resampled:
    """Named columns of values per problem, and their weighted sums over resampled problems."""

    def __init__(self, columns: Mapping[str, Floats], rng: np.random.Generator) -> None:
        self.rng = rng
        values = np.concatenate(list(columns.values()), axis=1)
        sums = intervals.resampled_sums(values, rng=rng, num_resamples=NUM_RESAMPLES)
        ends = np.cumsum([column.shape[1] for column in columns.values()])[:-1]
        self.sums = dict(zip(columns, np.split(sums, ends, axis=1), strict=True))

    def band(self, sums: Floats, estimate: Floats, ends: tuple[Any, Any]) -> Band:
        """Interval and band of a curve that every problem has."""
        one = self.sums["one"]
        return intervals.bounded_band(sums, one, estimate, rng=self.rng, low_end=ends[0], high_end=ends[1])

    def bounds(self, sums: Floats, totals: Floats, ends: Range) -> tuple[Floats, Floats]:
        """Low and high ends of the interval; plain percentiles where the range has no ends."""
        if ends is not None:
            return intervals.bounded_interval(sums, totals, rng=self.rng, low_end=ends[0], high_end=ends[1])
        low, high = np.quantile(sums / totals, (0.025, 0.975), axis=0)
        return low, high


def _row(
    file: str,
    base: str,
    quantity: str,
    value: float,
    *,
    k: int = 0,
    bounds: tuple[float, float] | None,
    band: tuple[float, float] = (np.nan, np.nan),
) -> Row:
    low, high = bounds or (value, value)
    return {
        "file": file,
        "base": base,
        "quantity": quantity,
        "k": int(k),
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "has_interval": bounds is not None,
        "band_low": float(band[0]),
        "band_high": float(band[1]),
    }


def rows(tables: Sequence[Samples], wanted: Iterable[int] = (), *, seed: int = 0) -> list[Row]:
    """Every table's rows, then every later table's against the first; each part with random numbers of its own."""
    ks = tuple(wanted)
    found = [row for table in tables for row in file_rows(table, ks, rng=_rng(seed, table.name))]
    return [*found, *(row for other in tables[1:] for row in rows_between(tables[0], other, ks, seed=seed))]


def rows_between(base: Samples, other: Samples, wanted: Iterable[int] = (), *, seed: int = 0) -> list[Row]:
    """The rows of a table against another, as `rows` has them where that one is the first."""
    return list(pair_rows(base, other, wanted, rng=_rng(seed, f"{base.name} {other.name}")))


def _rng(seed: int, part: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, crc32(part.encode())]))


def file_rows(samples: Samples, wanted: Iterable[int] = (), *, rng: np.random.Generator) -> Iterator[Row]:
    """Counts, avg@k (which is pass@1 at every k), pass@k, maj@k and Hill numbers of one file."""
    ks = ks_up_to(samples.largest_k, wanted)
    curves = samples.pass_at_k(ks)  # (num_problems, num_seeds, num_ks)
    columns = {"one": np.ones((len(samples.problems), 1)), "curve": _flat(curves)}
    measures = _answer_measures(samples, rng)
    columns |= {name: _masked(values) for name, values in measures.items()}
    resampled = _Resampled(columns, rng)
    for quantity, count in _file_counts(samples).items():
        yield _row(samples.name, "", quantity, count, bounds=None)
    mean = curves.mean(axis=(0, 1))
    band = resampled.band(_over_seeds(resampled.sums["curve"], curves.shape[1:], rng), mean, SHARE)
    yield from _curve_rows((samples.name, "", "pass_at_k"), ks, mean, band if len(samples.problems) > 1 else None)
    for name, values in measures.items():
        yield from _mean_row(samples.name, "", name, values, resampled, SHARE if name.startswith("maj") else None)


def _curve_rows(names: tuple[str, str, str], ks: NDArray[np.int64], values: Floats, band: Band | None) -> Iterator[Row]:
    """A row a k of a curve, with interval and band if it has any."""
    columns = np.stack(band, axis=1).tolist() if band else []
    for place, (k, value) in enumerate(zip(ks.tolist(), values.tolist(), strict=True)):
        if band:
            low, high, *ends = columns[place]
            yield _row(*names, value, k=k, bounds=(low, high), band=(ends[0], ends[1]))
        else:
            yield _row(*names, value, k=k, bounds=None)


def _file_counts(samples: Samples) -> dict[str, float]:
    num_samples = samples.num_samples.sum(axis=1)
    return {
        "num_problems": len(samples.problems),
        "num_seeds": len(samples.seeds),
        "num_samples": int(num_samples.sum()),
        "least_samples_per_problem": int(samples.num_samples.min()),
        "most_samples_per_problem": int(samples.num_samples.max()),
        "num_never_solved": int((samples.num_correct.sum(axis=1) == 0).sum()),
        "detection_threshold": detection_threshold(int(num_samples.min())),
    }


def _answer_measures(samples: Samples, rng: np.random.Generator) -> dict[str, Floats]:
    """Values per problem of maj@k and Hill numbers; NaN where a problem does not count."""
    if samples.answers is None:
        return {}
    ks = vote_sizes(samples.largest_k)
    votes = {f"maj_at_k {k}": vote for k, vote in zip(ks, samples.maj_at_k(ks, rng=rng).T, strict=True)}
    return votes | {f"hill_number_{order}": samples.hill_number(order) for order in HILL_ORDERS}


def _flat(curves: Floats) -> Floats:
    return curves.reshape(len(curves), -1)


def _masked(values: Floats) -> Floats:
    """Two columns: the values with 0 for NaN, and 1 where there is a value.

    Shapes:   values: (num_problems,). Returns (num_problems, 2).
    """
    is_there = ~np.isnan(values)
    return np.stack([np.where(is_there, values, 0.0), is_there.astype(np.float64)], axis=1)


def _over_seeds(sums: Floats, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Weighted means over resampled seeds.

    Shapes:   sums: (num_resamples, num_seeds * num_ks). Returns (num_resamples, num_ks).
    """
    if shape[0] == 1:
        return sums
    weights = rng.standard_exponential((len(sums), shape[0]))
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray(np.einsum("rs,rsk->rk", weights, sums.reshape(-1, *shape)))


def _mean_row(file: str, base: str, name: str, values: Floats, resampled: _Resampled, ends: Range) -> Iterator[Row]:
    """The mean of a quantity over the problems where it is there, if it is anywhere."""
    num_there = int((~np.isnan(values)).sum())
    if num_there == 0:
        return
    bounds = None
    if num_there > 1:
        sums, totals = resampled.sums[name].T
        low, high = resampled.bounds(sums, totals, ends)
        bounds = (float(low), float(high))
    quantity, _, k = name.partition(" ")
    yield _row(file, base, quantity, float(np.nanmean(values)), k=int(k or 0), bounds=bounds)


def common_problems(base: Samples, other: Samples) -> list[str]:
    """The problems of both files, in the order of the first; raises ValueError if there is none.

    Problems of one name whose documents are known and differ are not the same.
    """
    named, common = _named_alike(base, other)
    if named and not common:
        raise ValueError(
            f"{other.name}: its {len(named)} problems named as in {base.name} ({named[0][:60]!r}, ...) are others, by "
            "their hash or text: want samples of the same problems, or --problem with the field that names them"
        )
    if not common:
        raise ValueError(
            f"{other.name}: no problem in common with {base.name} ({other.problems[0][:60]!r} here, "
            f"{base.problems[0][:60]!r} there): want samples of the same problems"
        )
    return common


def _named_alike(base: Samples, other: Samples) -> tuple[list[str], list[str]]:
    """The problems of one name in both files, and those of them whose documents do not differ."""
    there = set(other.problems)
    named = [problem for problem in base.problems if problem in there]
    documents = [dict(zip(samples.problems, samples.documents, strict=False)) for samples in (base, other)]
    return named, [name for name in named if len({each.get(name) for each in documents} - {None}) < 2]


def pair_rows(base: Samples, other: Samples, wanted: Iterable[int] = (), *, rng: np.random.Generator) -> Iterator[Row]:
    """The differences of another file to the base, on their common problems."""
    common = common_problems(base, other)
    base, other = base.restricted(common), other.restricted(common)
    ks = ks_up_to(min(base.largest_k, other.largest_k), wanted)
    curves = [samples.pass_at_k(ks) for samples in (base, other)]
    measures = _pair_measures(base, other, rng)
    columns = {"one": np.ones((len(common), 1)), "base": _flat(curves[0]), "other": _flat(curves[1])}
    resampled = _Resampled(columns | {name: _masked(values) for name, (values, _) in measures.items()}, rng)
    names = other.name, base.name
    for quantity, count in _support(base, other).items():
        yield _row(*names, quantity, count, bounds=None)
    before, after = (
        _over_seeds(resampled.sums[name], curve.shape[1:], rng)
        for name, curve in zip(("base", "other"), curves, strict=True)
    )
    difference = curves[1].mean(axis=(0, 1)) - curves[0].mean(axis=(0, 1))
    band = resampled.band(after - before, difference, _reach(curves[1].mean(1) - curves[0].mean(1), ks / ks[-1]))
    has_interval = len(common) > 1
    yield from _curve_rows((*names, "pass_at_k_difference"), ks, difference, band if has_interval else None)
    yield from _crossing_rows(names, ks, difference, after - before, has_interval=has_interval)
    if has_interval:
        found = [*budgets.proven(ks, difference, band)]
        if len(base.seeds) == len(other.seeds) == 1:
            found += budgets.needed(base, other, ks, band, vote_sizes(int(ks[-1])))
        for quantity, k, value, bounds in found:
            yield _row(*names, quantity, value, k=k, bounds=bounds)
    for name, (values, ends) in measures.items():
        yield from _mean_row(*names, name, values, resampled, ends)


def _pair_measures(base: Samples, other: Samples, rng: np.random.Generator) -> dict[str, tuple[Floats, Range]]:
    """Values per problem, NaN where a problem does not count, and the ends of their range."""
    shares = [samples.num_correct.sum(axis=1) / samples.num_samples.sum(axis=1) for samples in (base, other)]
    before, after = (share > 0 for share in shares)
    improvement = (np.sign(shares[1] - shares[0]) + 1) / 2
    measures: dict[str, tuple[Floats, Range]] = {
        "improvement": (improvement, SHARE),
        "support_retention": (np.where(before, after, np.nan), SHARE),
        "discovery": (np.where(after, ~before, np.nan), SHARE),
    }
    if base.answers is not None and other.answers is not None:
        ks = vote_sizes(min(base.largest_k, other.largest_k))
        changes = other.maj_at_k(ks, rng=rng) - base.maj_at_k(ks, rng=rng)
        low, high = _reach(changes)
        for place, k in enumerate(ks):
            measures[f"maj_at_k_difference {k}"] = (changes[:, place], (low[place], high[place]))
        for order in HILL_ORDERS:
            change = other.hill_number(order) - base.hill_number(order)
            measures[f"hill_number_{order}_difference"] = (change, None)
    return measures


def _reach(changes: Floats, least: Floats | float = 0.0) -> tuple[Floats, Floats]:
    """The range of a difference on an unseen problem: the farthest seen at any k up to this, 1 from where none is.

    At least k/n of pass@k, the difference of a problem that one model solved once and the other never: with few
    problems none may show what many would.

    Shapes:   changes: (num_problems, num_ks). Returns two arrays (num_ks,).
    """
    farthest = np.abs(changes).max(axis=0)
    reach = np.maximum.accumulate(np.maximum(np.where(farthest > 0, farthest, 1.0), least))
    return -reach, reach


def _support(base: Samples, other: Samples) -> dict[str, float]:
    """Problems kept, lost, gained and never solved, and what equal rates would show by chance."""
    (n_base, c_base), (n_other, c_other) = (
        (samples.num_samples.sum(axis=1), samples.num_correct.sum(axis=1)) for samples in (base, other)
    )
    pooled, correct = n_base + n_other, c_base + c_other
    return {
        "num_common_problems": len(base.problems),
        "num_kept": int(((c_base > 0) & (c_other > 0)).sum()),
        "num_lost": int(((c_base > 0) & (c_other == 0)).sum()),
        "num_gained": int(((c_base == 0) & (c_other > 0)).sum()),
        "num_solved_by_neither": int((correct == 0).sum()),
        "num_lost_by_chance": _missed_by_chance(pooled, correct, n_other),
        "num_gained_by_chance": _missed_by_chance(pooled, correct, n_base),
        "detection_threshold": detection_threshold(int(min(n_base.min(), n_other.min()))),
    }


def _missed_by_chance(pooled: NDArray[np.int64], correct: NDArray[np.int64], drawn: NDArray[np.int64]) -> float:
    """Expected number of solved problems of which none of the `drawn` out of all samples is correct."""
    return float((1 - estimators.pass_at_k(pooled, correct, drawn))[correct > 0].sum())


def _crossing_rows(
    names: tuple[str, str], ks: NDArray[np.int64], difference: Floats, resampled: Floats, *, has_interval: bool
) -> Iterator[Row]:
    """The k of the first crossing with its interval, and in which share of the resamples there is one."""
    side = np.sign(difference[0]) or 1.0
    crossing = budgets.first_below(ks, side * difference[None])[0]
    crossings = budgets.first_below(ks, side * resampled)
    bounds = None
    if has_interval and difference[0] != 0:
        low, high = np.quantile(crossings, (0.025, 0.975), axis=0, method="inverted_cdf")
        bounds = (float(low), float(high))
    yield _row(*names, "crossing_k", crossing if difference[0] else np.inf, bounds=bounds)
    if bounds:
        yield _row(*names, "crossing_share", float(np.isfinite(crossings).mean()), bounds=None)


def warnings_about(files: Sequence[Samples]) -> list[str]:
    """What a reader of the numbers must know first: few or differing samples, differing problems."""
    found = [warning for samples in files for warning in _file_warnings(samples)]
    for n in dict.fromkeys(samples.largest_k for samples in files):
        names = ", ".join(samples.name for samples in files if samples.largest_k == n)
        if n == 1:
            found.append(f"n = 1: {names}: one sample a problem shows pass@1 and nothing of larger k")
            continue
        found.append(
            f"n < 2k above k = {n // 2} (n = {n}: {names}): unbiased, but there a problem counts as nearly 0 or 1, and "
            "one correct sample more or less moves it far"
        )
    for other in files[1:]:
        found += _pair_warnings(files[0], other)
    return found


def _file_warnings(samples: Samples) -> Iterator[str]:
    name, n = samples.name, samples.largest_k
    yield from (f"{name}: {note}" for note in samples.notes)
    if samples.num_samples.max() > n:
        fewer = int((samples.num_samples < samples.num_samples.max()).any(axis=1).sum())
        most = samples.num_samples.max()
        yield f"{name}: n runs from {n} to {most} ({fewer} problems below {most}): pass@k is given up to k = {n}"
    if len(samples.problems) < FEWEST_PROBLEMS:
        yield f"{name}: {len(samples.problems)} problems: with fewer than {FEWEST_PROBLEMS} the intervals are rough"
    if 1 < len(samples.seeds) < FEWEST_SEEDS:
        yield f"{name}: {len(samples.seeds)} seeds: with fewer than {FEWEST_SEEDS} the intervals are too short"


def _pair_warnings(base: Samples, other: Samples) -> Iterator[str]:
    common = common_problems(base, other)
    if num_others := len(_named_alike(base, other)[0]) - len(common):
        yield (
            f"{num_others} problems of {other.name} are others than those of the same name in {base.name}, by their "
            "hash or text: they are left out of the comparison"
        )
    if base.mark and other.mark and base.mark != other.mark and base.mark[0] == other.mark[0]:
        fields = f"{base.mark[1]} in {base.name}, {other.mark[1]} in {other.name}"
        yield f"correct is the field {fields}: one for both is named by --metric"
    if not len(common) == len(base.problems) == len(other.problems):
        yield (
            f"{base.name} has {len(base.problems)} problems, {other.name} {len(other.problems)}: they are compared on "
            f"the {len(common)} in common"
        )
    chosen = [samples.restricted(common) for samples in (base, other)]
    if not np.array_equal(*(samples.num_samples.sum(axis=1) for samples in chosen)):
        least = [samples.largest_k for samples in chosen]
        yield (
            f"{base.name} and {other.name} differ in n (least {least[0]} and {least[1]}): they are compared up to "
            f"k = {min(least)}; more samples find more problems, so compare lost and gained with chance only"
        )
