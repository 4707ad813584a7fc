"""What the runs of a study say: means, paired differences, and the outcome by rules that were fixed before.

Rows of a study are those of `runs` with the labels of `stages`. Intervals are 95%, of Student's t: of a mean over the
runs of a contestant, of a difference over pairs with the same warm start and seed. Runs count as independent: intervals
are for these few warm starts, and say nothing of others. Before training a warm start is one value, where samples were
drawn the mean over its runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student
from scipy.stats import ttest_ind

from sharpening.llm.studies.protocol import DS, NOT_WORSE, PLAIN

Row = Mapping[str, Any]
Floats = NDArray[np.float64]
Values = dict[tuple[int, int], float]  # of a warm start and a seed
TAIL = 0.025
BY_PROBLEM = "problem_"  # begins the name of what is measured of single problems
SECONDARY = (("pass_at_k", 8), ("effective_answers", 0))  # of DS against plain RL, with Holm's correction


class Interval(NamedTuple):
    """A mean with its 95% interval and the number of runs or pairs."""

    value: float
    low: float
    high: float
    number: int


def interval(values: Floats) -> Interval:
    """The mean of values that are alike, with Student's interval; of a single one without.

    Shapes:   values: (number,), at least one.
    """
    mean, number = float(np.mean(values)), len(values)
    if number == 1:
        return Interval(mean, np.nan, np.nan, number)
    reach = float(student.isf(TAIL, number - 1) * np.std(values, ddof=1) / np.sqrt(number))
    return Interval(mean, mean - reach, mean + reach, number)


def apart(ours: Floats, theirs: Floats) -> Interval:
    """The difference of the means of runs that are no pairs, with Welch's interval; the number is that of ours.

    Shapes:   each (number,), two or more.
    """
    found = ttest_ind(ours, theirs, equal_var=False).confidence_interval(1 - 2 * TAIL)
    return Interval(float(np.mean(ours) - np.mean(theirs)), float(found.low), float(found.high), len(ours))


def values_of(rows: Sequence[Row], stage: str, contestant: str, quantity: str, at: float, step: int) -> Values:
    """One measure of the runs of a contestant, by warm start and seed."""
    return {
        (row["warm_start"], row["seed"]): float(row["value"])
        for row in rows
        if (row["stage"], row["contestant"]) == (stage, contestant)
        and (row["quantity"], row["at"], row["step"]) == (quantity, at, step)
    }


def paired(ours: Values, theirs: Values) -> Floats:
    """The differences of runs with the same warm start and seed.

    Shapes:   returns (num_pairs,).
    """
    return np.array([ours[pair] - theirs[pair] for pair in sorted(ours.keys() & theirs.keys())])


def summary(rows: Sequence[Row], num_steps: int) -> Iterator[dict[str, Any]]:
    """Of every contestant of the comparison: means before and after, and differences from plain RL and from DS.

    Columns: contestant, against ("" for a mean, "before" for the model before training), quantity, at, value, low,
    high, num_runs. NaN bounds where there is one run.
    """
    in_stage = [row for row in rows if row["stage"] in ("comparison", "others")]
    in_stage = [row for row in in_stage if not row["quantity"].startswith(BY_PROBLEM)]
    stage_of = {row["contestant"]: row["stage"] for row in in_stage}
    keys = sorted({(row["quantity"], row["at"]) for row in in_stage if row["step"] == num_steps})
    of: dict[tuple[str, str, float], Values] = defaultdict(dict)
    base: dict[tuple[str, float], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in in_stage:
        run, value = (row["warm_start"], row["seed"]), float(row["value"])
        if row["step"] == num_steps:
            of[row["contestant"], row["quantity"], row["at"]][run] = value
        elif row["step"] == 0:
            base[row["quantity"], row["at"]][row["warm_start"]].append(value)
    for quantity, at in sorted(base):
        starts = [found[0] if len(set(found)) == 1 else float(np.mean(found)) for found in base[quantity, at].values()]
        yield _row("", "before", quantity, at, interval(np.array(starts)))
    for name in stage_of:
        for quantity, at in keys:
            mine = of[name, quantity, at]
            if not mine:
                continue
            yield _row(name, "", quantity, at, interval(np.array(list(mine.values()))))
            for other in (PLAIN, DS):
                pairs = paired(mine, of[other, quantity, at]) if other != name else np.zeros(0)
                if len(pairs):
                    yield _row(name, other, quantity, at, interval(pairs))


def _row(contestant: str, against: str, quantity: str, at: float, found: Interval) -> dict[str, Any]:
    return {
        "contestant": contestant,
        "against": against,
        "quantity": quantity,
        "at": float(at),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "has_interval": found.number > 1,
        "num_runs": found.number,
    }


def outcome(found: Sequence[Row], contestant: str, against: str) -> str:
    """What one contestant did to another, by the rule: `wins`, `loses` or `undecided`.

    It wins if the lower end of the difference of pass@64 is above 0 and that of pass@1 above -`NOT_WORSE`; it loses if
    the upper end of the former is below 0 or that of the latter below -`NOT_WORSE`.
    """
    bounds = {
        row["at"]: (row["low"], row["high"])
        for row in found
        if (row["contestant"], row["against"], row["quantity"]) == (contestant, against, "pass_at_k")
    }
    if bounds[64][0] > 0 and bounds[1][0] > -NOT_WORSE:
        return "wins"
    return "loses" if bounds[64][1] < 0 or bounds[1][1] < -NOT_WORSE else "undecided"


def outcomes(found: Sequence[Row], rows: Sequence[Row], num_steps: int) -> list[dict[str, Any]]:
    """What every contestant of the comparison did to plain RL and to DS, and whether DS's secondary gains are apart.

    Columns: contestant, against, outcome. That of a secondary measure stands after `against`: plain: pass_at_k 8.
    """
    compared = {row["contestant"] for row in rows if row["stage"] == "comparison"} - {PLAIN}
    pairs = [
        (row["contestant"], row["against"])
        for row in found
        if (row["quantity"], row["at"]) == ("pass_at_k", 64) and row["against"] in (PLAIN, DS) and row["num_runs"] > 1
        if row["contestant"] in compared
    ]
    told = [
        {"contestant": one, "against": other, "outcome": outcome(found, one, other)}
        for one, other in dict.fromkeys(pairs)
    ]
    differences = [
        paired(*(values_of(rows, "comparison", one, *measure, num_steps) for one in (DS, PLAIN)))
        for measure in SECONDARY
    ]
    if min(map(len, differences)) < 2:
        return told
    for (quantity, at), values, is_apart in zip(SECONDARY, differences, holm(differences), strict=True):
        word = ("higher" if np.mean(values) > 0 else "lower") if is_apart else "undecided"
        told.append({"contestant": DS, "against": f"{PLAIN}: {quantity} {at}", "outcome": word})
    return told


def holm(pairs: Sequence[Floats], level: float = 2 * TAIL) -> list[bool]:
    """Which of several mean differences are apart from 0 at the level over all, by Holm's steps of t tests.

    Shapes:   each (num_pairs,), two pairs or more.
    """
    p_values = [_p_value(values) for values in pairs]
    apart = [False] * len(p_values)
    for rank, place in enumerate(np.argsort(p_values, kind="stable").tolist()):
        if p_values[place] > level / (len(p_values) - rank):
            break
        apart[place] = True
    return apart


def _p_value(values: Floats) -> float:
    """Of a mean of 0, two-sided; 1 for zeros alone."""
    size, spread = abs(float(np.mean(values))), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return float(2 * student.sf(size / spread, len(values) - 1)) if spread else float(size == 0)
