"""Rows of `rates`: every law's fit, which is chosen, and what it implies beside what was seen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.samples import comparison
from sharpening.samples.rates import choice, implied, laws, training
from sharpening.samples.rates import fit as fitting
from sharpening.samples.rates.fit import Counts, Data, Fit
from sharpening.samples.rates.second import second_opinion
from sharpening.samples.rates.training import Windows
from sharpening.samples.tally import Samples

Floats = NDArray[np.float64]
Row = dict[str, Any]

WHOLE = "all"  # the part of a benchmark that is all of it
FEWEST_PROBLEMS = 30  # of a part, and of the whole
FEWEST_SAMPLES = 4  # of a problem, before and after: with fewer a spread is noise


def row(part: str, law: str, quantity: str, value: float, *, k: int = 0, error: float | None = None) -> Row:
    """A row: a quantity of a law on a part of the problems, with its 95% interval where its standard error is given."""
    reach = 0.0 if error is None else fitting.NORMAL_95 * error
    return {
        "part": part,
        "law": law,
        "quantity": quantity,
        "k": int(k),
        "value": float(value),
        "low": float(value - reach),
        "high": float(value + reach),
        "has_interval": error is not None,
    }


def rows(
    before: Samples,
    after: Samples,
    parts: Mapping[str, Sequence[str]] = {},
    *,
    group_size: int = laws.GROUP_SIZE,
    num_draws: int | None = None,
    seed: int = 0,
) -> list[Row]:
    """All laws on the problems that two models have in common, then every part of them under the chosen law.

    parts: names of parts, each with its problems. group_size and num_draws as in `laws.all_laws`. Raises ValueError if
    there are fewer than 30 problems in common, or fewer than 4 samples of one.
    """
    rng = np.random.default_rng(seed)
    common = comparison.common_problems(before, after)
    pair = before.restricted(common), after.restricted(common)
    counts = fitting.counts_of(*pair)
    _refuse_few(counts, pair)
    data = fitting.prepared(counts)
    fits = [fitting.fit(data, law) for law in laws.all_laws(group_size, num_draws)]
    chosen = choice.choose(data, fits, rng=rng)
    found = list(_facts(WHOLE, counts))
    for place, fitted in enumerate(fits):
        found += _of_law(WHOLE, data, fitted)
        behind, error = chosen.margin(place)
        found.append(row(WHOLE, fitted.law.name, "held_out", chosen.held_out[place].mean()))
        found.append(row(WHOLE, fitted.law.name, "behind", behind, error=error))
        found.append(row(WHOLE, fitted.law.name, "misfit_p", fitting.misfit(data, fitted)))
        found.append(row(WHOLE, fitted.law.name, "is_chosen", place == chosen.chosen))
        found += _implied(WHOLE, data, fitted, counts)
    best = fits[chosen.chosen]
    for place in dict.fromkeys((chosen.chosen, 0)):
        found += _second(WHOLE, second_opinion(data, fits[place]))
    found += _seen(WHOLE, pair, counts, seed)
    for part, problems in parts.items():
        found += _of_part(part, pair, problems, best, seed)
    return found


def _refuse_few(counts: Counts, pair: tuple[Samples, Samples]) -> None:
    num = len(counts.before[0])
    if num < FEWEST_PROBLEMS:
        raise ValueError(
            f"{pair[1].name}: {num} problems in common with {pair[0].name}: want at least {FEWEST_PROBLEMS}"
        )
    for samples, (total, _) in zip(pair, (counts.before, counts.after), strict=True):
        if total.min() < FEWEST_SAMPLES:
            problem = samples.problems[int(total.argmin())]
            raise ValueError(
                f"{samples.name}: {total.min()} samples of problem {problem[:60]!r}: want {FEWEST_SAMPLES} or more"
            )


def _facts(part: str, counts: Counts) -> Iterator[Row]:
    (n, c), (m, d) = counts.before, counts.after
    yield row(part, "", "num_problems", len(n))
    yield row(part, "", "num_never_solved_before", int((c == 0).sum()))
    yield row(part, "", "num_never_solved_after", int((d == 0).sum()))
    yield row(part, "", "least_samples", min(n.min(), m.min()))


def _of_law(part: str, data: Data, fitted: Fit) -> Iterator[Row]:
    """The parameters, the mean shift and the spread with intervals, and the log-likelihood."""
    name = fitted.law.name
    spread_of = fitting.covariance(data, fitted)
    errors = np.sqrt(np.diag(spread_of))
    for parameter, value, error in zip(fitted.law.parameters, fitted.parameters, errors, strict=False):
        yield row(part, name, f"parameter {parameter}", value, error=error)
    shifts, slopes = fitted.law.shift(data.points, fitted.parameters)
    slope = slopes @ fitted.weights
    error = float(np.sqrt(slope @ spread_of[:-1, :-1] @ slope))
    yield row(part, name, "mean_shift", float(shifts @ fitted.weights), error=error)
    low, high = fitting.spread_interval(data, fitted, float(errors[-1]))
    yield row(part, name, "spread", fitted.spread) | {"low": low, "high": high, "has_interval": True}
    yield row(part, name, "log_likelihood", fitted.log_likelihood)


def _second(part: str, second: Fit) -> Iterator[Row]:
    """The parameters and the spread if the log-odds before are a mixture of three normals."""
    for parameter, value in zip(second.law.parameters, second.parameters, strict=True):
        yield row(part, second.law.name, f"second parameter {parameter}", value)
    yield row(part, second.law.name, "second spread", second.spread)
    yield row(part, second.law.name, "second log_likelihood", second.log_likelihood)


def _ks(counts: Counts) -> NDArray[np.int64]:
    return comparison.ks_up_to(int(min(counts.before[0].min(), counts.after[0].min())))


def _implied(part: str, data: Data, fitted: Fit, counts: Counts) -> Iterator[Row]:
    """The change of pass@k and its parts at every k, and shifts in bins of the rate before."""
    name, ks = fitted.law.name, _ks(counts)
    change = implied.change_of_pass_at_k(data, fitted, counts, ks)
    for quantity, values in change._asdict().items():
        for k, value in zip(ks, values, strict=True):
            yield row(part, name, f"implied_{quantity}", value, k=k)
    before, after = implied.implied_bins(data, fitted, counts)
    for number, shift in enumerate(after - before):
        if np.isfinite(shift):
            yield row(part, name, "bin_shift", shift, k=number)


def _seen(part: str, pair: tuple[Samples, Samples], counts: Counts, seed: int) -> Iterator[Row]:
    """The observed change of pass@k with its interval, and rates in bins."""
    for other in comparison.rows_between(*pair, seed=seed):
        if other["quantity"] == "pass_at_k_difference":
            kept = {key: other[key] for key in ("k", "value", "low", "high", "has_interval")}
            yield {"part": part, "law": "", "quantity": "observed_difference"} | kept
    found = implied.bins(counts)
    for number, (num, before, after, error) in enumerate(
        zip(found.num_problems, found.before, found.after, found.errors, strict=True)
    ):
        yield row(part, "", "bin_problems", num, k=number)
        if np.isfinite([before, after, error]).all():
            yield row(part, "", "bin_before", before, k=number)
            yield row(part, "", "bin_shift", after - before, k=number, error=error)


def _of_part(part: str, pair: tuple[Samples, Samples], problems: Sequence[str], whole: Fit, seed: int) -> Iterator[Row]:
    """The chosen law on a part of the problems, if it has enough."""
    there = set(problems)
    inside = [problem for problem in pair[0].problems if problem in there]
    yield row(part, "", "num_problems", len(inside))
    if len(inside) < FEWEST_PROBLEMS:
        return
    few = pair[0].restricted(inside), pair[1].restricted(inside)
    counts = fitting.counts_of(*few)
    data = fitting.prepared(counts)
    fitted = fitting.fit(data, whole.law)
    yield from list(_facts(part, counts))[1:]
    yield from _of_law(part, data, fitted)
    yield from _implied(part, data, fitted, counts)
    yield from _seen(part, few, counts, seed)


def training_rows(windows: Windows, *, seed: int = 0) -> Iterator[Row]:
    """The paths of training: the terms of every model at the last visit of each window, and its log-likelihood.

    The curve alone has intervals, over problems. `share_down` is the share of problems whose log-odds are below their
    first.
    """
    part, rng = "training", np.random.default_rng([seed, 1])
    yield row(part, "", "num_problems", len(windows.num_samples))
    for name in training.TERMS:
        fitted = training.fit(windows, name)
        yield row(part, name, "log_likelihood", fitted.log_likelihood)
        errors = training.curve_errors(windows, fitted, rng=rng) if name == "one curve" else None
        down = training.share_down(fitted)
        for place, last in enumerate(windows.last):
            error = None if errors is None else float(errors[place])
            yield row(part, name, "curve", fitted.curve[place], k=last, error=error)
            yield row(part, name, "line", fitted.line[place], k=last)
            yield row(part, name, "spread", fitted.spread[place], k=last)
            yield row(part, name, "share_down", down[place], k=last)


def samples_of_training(windows: Windows) -> tuple[Samples, Samples]:
    """The first and the last window as samples of two models, of the problems that both have."""
    has_both = (windows.num_samples[:, [0, -1]] > 0).all(axis=1)
    problems = tuple(map(str, np.flatnonzero(has_both)))
    first, last = (
        Samples(
            name, problems, ("",), windows.num_samples[has_both][:, [place]], windows.num_correct[has_both][:, [place]]
        )
        for name, place in (("the first visits", 0), ("the last visits", -1))
    )
    return first, last
