"""The verdict on trained models against the one before training: one definition for `samples` and `audit`.

It rests on the change of pass@k, trained model less base on the same problems, at every k that is known, and on bounds
[low, high] of it: those of the 95% band that holds at all k at once where the rows have one (`band_low`, `band_high`:
`samples`), else the 95% interval of each k on its own (`audit`, and rows stored before there was a band). At a k with
low > 0 a model is better, with high < 0 worse, else the k is not resolved. The first of these that holds:

sharpened:    worse at some k, and at a smaller one not worse, with an interval wholly above that of the loss;
smoothed:     worse at some k and better at a larger one: the opposite;
worse:        worse at some k;
improved:     better at some k, and at none does a loss fit as large as the best gain surely is: every low is above -1
              times the largest low. One k says nothing of others, so it takes two;
not resolved: all else, which does not show that two models are equal.

`sharpened` needs no gain at small k: a model that loses at 64 what it does not lose at 1 gives fewer distinct answers.
`improved` asks for more than `worse`, since a loss is what the verdict is there to find. With a band, all that is said
of several k rests on one event, that it holds the whole curve, which has a probability of 95%. Of 2,000 pairs of
simulated samples at equal rates, 64 of each of 200 problems, 1,967 were not resolved, 30 worse, 2 sharpened and 1
improved, where the intervals of single k had 128, 17 and 11; of 2,000 that had sharpened, of 100 problems, 1,535 were
called so, 463 were not resolved and 2 worse (benchmarks/coverage.py).

A model mitigated the sharpening of another if, against that one on the same problems, it is better at some k where that
one is worse than the base, and worse at none; if it is worse at some, it lost less at a price.

Where pass@k is not known, as of answers scored under several models, the slope of their gains stands in: `sharpened`
where it is above 0, else not resolved, as noise alone gives slopes below 0 (`samples.sharpening`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

Row = Mapping[str, Any]
Outcome = Literal["sharpened", "smoothed", "worse", "improved", "not resolved"]
PASS_AT_K, SLOPE = "pass_at_k_difference", "sharpening_slope"  # what a verdict may rest on
FIRST_LOSS = "first_loss_k"
NO_INTERVAL = (float("-inf"), float("inf"))
BAND, INTERVAL = ("band_low", "band_high"), ("low", "high")


class Columns(NamedTuple):
    """The columns of the rows that name the model and the k."""

    model: str
    k: str


OF_SAMPLES, OF_AUDIT = Columns("file", "k"), Columns("model", "at")


@dataclass(frozen=True)
class Change:
    """A change of pass@k at one k, or a slope at k = 0, and its bounds; without an interval they are -inf and inf."""

    k: int
    value: float
    low: float
    high: float

    @property
    def sign(self) -> int:
        """1 where it is above 0, -1 below, 0 where that is not resolved."""
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


@dataclass(frozen=True)
class Mitigation:
    """A model that sharpened more: the changes from it, at a small and a large k, and whether one is for the worse."""

    other: str
    small: Change
    large: Change
    has_price: bool


@dataclass(frozen=True)
class Verdict:
    """What training did to a model, the two changes that show it, and every k at which a change is resolved."""

    model: str
    base: str
    quantity: str
    outcome: Outcome
    small: Change
    large: Change
    better_at: tuple[int, ...] = ()
    worse_at: tuple[int, ...] = ()
    mitigates: tuple[Mitigation, ...] = ()
    first_loss: tuple[float, float] | None = None  # the k that it lies between, if rows say it
    is_simultaneous: bool = False  # whether the bounds hold at all k at once


def verdicts(
    rows: Iterable[Row], quantity: str, columns: Columns, *, base: str, between: Callable[[str, str], Iterable[Row]]
) -> list[Verdict]:
    """A verdict on every model that has rows of the quantity, which are against the base, in their order.

    `between(other, model)` gives the same rows of a model against another trained one, or none; it is asked about each
    other that sharpened.
    """
    known = list(rows)
    chosen = [row for row in known if row["quantity"] == quantity]
    losses = {row[columns.model]: (row["low"], row["high"]) for row in known if row["quantity"] == FIRST_LOSS}
    is_simultaneous = any(BAND[0] in row for row in chosen)
    judge = _by_slope if quantity == SLOPE else _by_pass_at_k
    models = dict.fromkeys(row[columns.model] for row in chosen)
    found = [judge(model, base, _changes(chosen, quantity, columns, model)) for model in models]

    def mitigated(one: Verdict) -> tuple[Mitigation, ...]:
        others = [other for other in found if other.outcome == "sharpened" and other is not one]
        told = [_changes(between(other.model, one.model), quantity, columns, one.model) for other in others]
        return tuple(filter(None, map(_mitigation, others, told)))

    return [
        replace(one, mitigates=mitigated(one), first_loss=losses.get(one.model), is_simultaneous=is_simultaneous)
        for one in found
    ]


def _changes(rows: Iterable[Row], quantity: str, columns: Columns, model: str) -> list[Change]:
    chosen = [row for row in rows if row["quantity"] == quantity and row[columns.model] == model]
    return [
        Change(int(row[columns.k]), row["value"], *_bounds(row))
        for row in sorted(chosen, key=lambda row: float(row[columns.k]))
    ]


def _bounds(row: Row) -> tuple[float, float]:
    if not row["has_interval"]:
        return NO_INTERVAL
    low, high = BAND if BAND[0] in row else INTERVAL
    return row[low], row[high]


def _by_slope(model: str, base: str, changes: Sequence[Change]) -> Verdict:
    (slope,) = changes
    if slope.sign > 0:
        return Verdict(model, base, SLOPE, "sharpened", slope, slope, worse_at=(slope.k,))
    return Verdict(model, base, SLOPE, "not resolved", slope, slope)


def _by_pass_at_k(model: str, base: str, changes: Sequence[Change]) -> Verdict:
    """The first outcome that holds; of the changes that show it the outermost, one that is resolved before others."""
    first, last = changes[0], changes[-1]
    better, worse = ([change for change in changes if change.sign == sign] for sign in (1, -1))
    kept = [change for change in changes if change.sign >= 0 and any(_is_sharpening(change, loss) for loss in worse)]
    outcome: Outcome = "not resolved"
    small, large = first, last
    if kept:
        outcome, small = "sharpened", max(kept, key=lambda change: (change.sign, -change.k))
        large = [loss for loss in worse if _is_sharpening(small, loss)][-1]
    elif worse and better:
        outcome, small, large = "smoothed", worse[0], better[-1]
    elif worse:
        outcome, large = "worse", worse[-1] if worse[-1] is not first else last
    elif better:
        gain, least = max(better, key=lambda change: change.low), min(changes, key=lambda change: change.low)
        if len(changes) > 1 and least.low > -gain.low:
            outcome, small = "improved", better[0] if better[0] is not last else first
        else:
            small, large = better[0], least
    better_at, worse_at = (tuple(change.k for change in side) for side in (better, worse))
    return Verdict(model, base, PASS_AT_K, outcome, small, large, better_at, worse_at)


def _is_sharpening(kept: Change, loss: Change) -> bool:
    return kept.k < loss.k and kept.low > loss.high


def _mitigation(other: Verdict, changes: Sequence[Change]) -> Mitigation | None:
    """What these changes from a model that sharpened are, if they are for the better where it lost."""
    sign = -1 if other.quantity == SLOPE else 1  # a smaller slope is the better one
    better = [change for change in changes if sign * change.sign > 0 and change.k in other.worse_at]
    if not better:
        return None
    worse = [change for change in changes if sign * change.sign < 0]
    return Mitigation(other.model, (worse or changes)[0], better[-1], bool(worse))
