"""What shared parameters predict of sharpening per nat of log-odds, and what training did, as tidy rows.

Of the first model: the transfers, and the slope per nat of logit Q of single prompts and of all prompts together. Of
each other model: the measured slope, per nat that logit Q rose on average, and over the slope of single prompts at the
correctness reached (claim E2, on problems whose Q did not fall). Predictions are also, by a suffix, those for prompts
that are trained on.

Intervals are 95%, by the Bayesian bootstrap over problems, the mean gradient held fixed. A ratio has none where its
denominator has both signs in the resamples; differences, on which verdicts rest, always have one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.llm.audit.transfer import Transfer
from sharpening.samples import intervals, sharpening
from sharpening.theory import policies
from sharpening.theory.flow import transfer
from sharpening.theory.flow.transfer import Moves
from sharpening.theory.policies import Floats

Row = dict[str, Any]
IN_TRAINING = "_in_training"  # of quantities on the training prompts
Sums = Mapping[str, Any]  # sums over problems: scalars, or (num_resamples,)


class _Quotient(NamedTuple):
    """A number, and what it was divided by that may have either sign."""

    value: Any
    divisor: Any = 1.0


def rows(
    audits: Mapping[str, Sequence[Audited]],
    found: Sequence[Transfer | None],
    num_prompts: float,
    *,
    rng: np.random.Generator,
) -> Iterator[Row]:
    """The rows of all models on one set of problems, of which `found` has the transfer under the first model.

    num_prompts is infinity where the problems are not trained on, else their number.
    """
    first, *others = audits
    suffix = "" if np.isinf(num_prompts) else IN_TRAINING
    known = [place for place, one in enumerate(found) if one is not None]
    before = [audits[first][place] for place in known]
    columns = _columns([one for one in found if one is not None])
    yield from _rows(first, suffix, _predicted, columns, num_prompts, rng)
    for name in others:
        measured = columns | _measured_columns(before, [audits[name][place] for place in known])
        yield from _rows(name, suffix, _measured, measured, num_prompts, rng)


def _columns(found: Sequence[Transfer]) -> dict[str, Floats]:
    moves = {"own": [one.own for one in found], "by_mean": [one.by_mean for one in found]}
    moves["tabular"] = [one.tabular for one in found]
    columns = {"one": np.ones(len(found)), "spread": np.array([one.spread for one in found])}
    for kind, given in moves.items():
        columns[f"{kind}_slope"], columns[f"{kind}_logit"] = np.array(given).reshape(-1, 2).T
    return columns


def _measured_columns(before: Sequence[Audited], after: Sequence[Audited]) -> dict[str, Floats]:
    rise = [_logit(new) - _logit(old) for old, new in zip(before, after, strict=True)]
    gains = exact.gains(before, after)
    columns = {"rise": np.array(rise)}
    for kind, given in (("slope", gains.only(gains.correct == 1)), ("matched", exact.expected_gains(before, after))):
        for part in ("top", "bottom"):
            columns[f"{kind}_{part}"] = np.zeros(len(before))  # as where Q fell everywhere
        if given is not None:
            problem, top, bottom = sharpening.slope_parts(given)
            np.add.at(columns[f"{kind}_top"], problem, top)
            np.add.at(columns[f"{kind}_bottom"], problem, bottom)
    return columns


def _logit(audited: Audited) -> float:
    table = exact.as_table(audited)
    return policies.logit_correctness(table.base_log_policy, table.correct) if table is not None else np.nan


def _predicted(sums: Sums, num_prompts: float) -> dict[str, _Quotient]:
    """Of the first model, from sums over problems."""
    means = {name: total / sums["one"] for name, total in sums.items()}
    own, by_mean, tabular = (
        Moves(means[f"{kind}_slope"], means[f"{kind}_logit"]) for kind in ("own", "by_mean", "tabular")
    )
    of_slope, of_logit = (
        transfer.transfer(mine, transfer.cross(mine, mean, num_prompts))
        for mine, mean in zip(own, by_mean, strict=True)
    )
    factor = transfer.amplification(of_slope, of_logit, num_prompts)
    rate = transfer.slope_per_logit(own, means["spread"])
    of_table = transfer.slope_per_logit(tabular, means["spread"])
    return {
        "transfer_slope": _Quotient(of_slope, own.slope),
        "transfer_logit": _Quotient(of_logit),
        "amplification": _Quotient(factor, own.slope * by_mean.logit),
        "slope_per_nat_own": _Quotient(rate),
        "slope_per_nat_tabular": _Quotient(of_table),
        "slope_per_nat_shared": _Quotient(rate * factor, by_mean.logit),
        "shared_over_tabular": _Quotient(rate * factor / of_table, by_mean.logit),
    }


def _measured(sums: Sums, num_prompts: float) -> dict[str, _Quotient]:
    """Of a trained model, from sums over problems: what was measured, and less what was predicted."""
    predicted = _predicted(sums, num_prompts)
    rise, slope = sums["rise"] / sums["one"], sums["slope_top"] / sums["slope_bottom"]
    matched = sums["matched_top"] / sums["matched_bottom"]
    own, tabular, shared = (predicted[f"slope_per_nat_{kind}"] for kind in ("own", "tabular", "shared"))
    factor = predicted["shared_over_tabular"]
    return {
        "logit_rise": _Quotient(rise),
        "slope_per_nat_measured": _Quotient(slope / rise, rise),
        "slope_over_matched": _Quotient(slope / matched, matched),
        "slope_less_own": _Quotient(slope - own.value * rise),
        "slope_less_tabular": _Quotient(slope - tabular.value * rise),
        "slope_less_shared": _Quotient(slope - shared.value * rise, shared.divisor),
        "slope_less_matched": _Quotient(slope - matched),
        "slope_less_matched_shared": _Quotient(slope - factor.value * matched, factor.divisor),
    }


def _rows(
    name: str,
    suffix: str,
    statistics: Callable[[Sums, float], dict[str, _Quotient]],
    columns: Mapping[str, Floats],
    num_prompts: float,
    rng: np.random.Generator,
) -> Iterator[Row]:
    data = np.column_stack(list(columns.values()))
    resampled = intervals.resampled_sums(data, rng=rng).T
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = statistics(dict(zip(columns, data.sum(axis=0), strict=True)), num_prompts)
        drawn = statistics(dict(zip(columns, resampled, strict=True)), num_prompts)
    for quantity, one in whole.items():
        values, divisor = drawn[quantity]
        is_bounded = len(data) >= sharpening.FEWEST_PROBLEMS and bool(np.isfinite(values).all())
        has_interval = is_bounded and bool(np.all(divisor > 0) or np.all(divisor < 0))
        low, high = np.quantile(values, (sharpening.TAIL, 1 - sharpening.TAIL)) if has_interval else (np.nan, np.nan)
        yield {
            "model": name,
            "quantity": quantity + suffix,
            "at": 0.0,
            "value": float(one.value),
            "low": float(low),
            "high": float(high),
            "has_interval": has_interval,
            "num_problems": len(data),
        }
