"""The verdict: every outcome by hand and against a second route, on committed runs, and the same in both commands."""

from __future__ import annotations

from dataclasses import asdict
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.figures.tables import verdicts as words
from sharpening.samples import verdict
from sharpening.storage import store

REFERENCE = Path(__file__).parents[1] / "results" / "reference"
Bounds = list[tuple[float, float]]


def rows_of(bounds: Bounds, name: str = "new", columns: verdict.Columns = verdict.OF_SAMPLES) -> list[dict]:
    """Changes at k = 1, 2, 4, ... with these intervals, as the rows of a command."""
    return [
        {
            columns.model: name,
            columns.k: 2**place,
            "quantity": verdict.PASS_AT_K,
            "value": (low + high) / 2,
            "low": low,
            "high": high,
            "has_interval": True,
        }
        for place, (low, high) in enumerate(bounds)
    ]


def judged(rows: list[dict], columns: verdict.Columns = verdict.OF_SAMPLES, between=lambda *_: ()):
    return verdict.verdicts(rows, verdict.PASS_AT_K, columns, base="old", between=between)


UP, EVEN, DOWN = (0.1, 0.2), (-0.05, 0.05), (-0.2, -0.1)
BARELY_DOWN, WIDE, UP_LITTLE = (-0.1, -0.02), (-0.3, 0.1), (0.01, 0.05)


@pytest.mark.parametrize(
    ("bounds", "outcome", "small", "large"),
    [
        ([UP, EVEN, DOWN], "sharpened", 1, 4),
        ([EVEN, EVEN, DOWN], "sharpened", 1, 4),  # nothing is gained, and the loss is that of many samples
        ([EVEN, UP, DOWN], "sharpened", 2, 4),  # a gain before what is not resolved
        ([UP, DOWN, EVEN], "sharpened", 1, 2),  # with very many samples both models solve everything
        ([UP, DOWN, UP], "sharpened", 1, 2),
        ([EVEN, DOWN, BARELY_DOWN], "sharpened", 1, 2),  # the last interval is not wholly below the first
        ([DOWN, EVEN, UP], "smoothed", 1, 4),
        ([DOWN, DOWN, (-0.4, -0.3)], "worse", 1, 4),  # a weaker model may lose more with many samples
        ([EVEN, BARELY_DOWN, BARELY_DOWN], "worse", 1, 4),
        ([WIDE, WIDE, DOWN], "worse", 1, 4),
        ([DOWN, EVEN, EVEN], "worse", 1, 4),
        ([DOWN, DOWN, EVEN], "worse", 1, 2),
        ([UP, UP, UP], "improved", 1, 4),
        ([UP, UP, EVEN], "improved", 1, 4),
        ([EVEN, EVEN, UP], "improved", 1, 4),
        ([UP_LITTLE, EVEN, WIDE], "not resolved", 1, 4),  # a loss larger than the gain fits
        ([WIDE, EVEN, UP], "not resolved", 1, 4),
        ([EVEN, EVEN, EVEN], "not resolved", 1, 4),
        ([UP], "not resolved", 1, 1),
        ([DOWN], "worse", 1, 1),
    ],
)
def test_every_outcome_and_the_ks_that_show_it(bounds: Bounds, outcome: str, small: int, large: int):
    (found,) = judged(rows_of(bounds))
    ends = {found.small.k, found.large.k}
    assert (found.outcome, min(ends), max(ends)) == (outcome, small, large)
    assert found.better_at == tuple(2**place for place, (low, _) in enumerate(bounds) if low > 0)
    assert found.worse_at == tuple(2**place for place, (_, high) in enumerate(bounds) if high < 0)


ENDS = (
    st.tuples(*[st.integers(-6, 6)] * 2).filter(lambda ends: ends[0] != ends[1]).map(lambda ends: tuple(sorted(ends)))
)


@given(bounds=st.lists(ENDS, min_size=1, max_size=5))
def test_the_outcome_is_that_of_the_definition(bounds: Bounds):
    """The five sentences of the module's head, read as quantifiers over pairs of k; no tie is left to order."""
    pairs = list(combinations(bounds, 2))  # at a smaller and at a larger k
    holds = {
        "sharpened": any(b[1] < 0 and a[1] >= 0 and a[0] > b[1] for a, b in pairs),
        "smoothed": any(a[1] < 0 and b[0] > 0 for a, b in pairs),
        "worse": any(high < 0 for _, high in bounds),
        "improved": any(low > 0 and all(other > -low for other, _ in bounds) for low, _ in bounds) and len(bounds) > 1,
        "not resolved": True,
    }
    (found,) = judged(rows_of(bounds))
    assert found.outcome == next(outcome for outcome, is_so in holds.items() if is_so)


@given(bounds=st.lists(ENDS, min_size=1, max_size=5))
def test_the_words_never_contradict_the_numbers(bounds: Bounds):
    """A pass@k that rose has an interval above 0, one that fell below; a sentence names at least one k."""
    (found,) = judged(rows_of(bounds))
    (told,) = words.sentences([asdict(found)], {"new": "new", "old": "old"})
    at = {2**place: ends for place, ends in enumerate(bounds)}
    said = {sign: [k for k in at if f"pass@{k} {word} (" in told] for sign, word in ((1, "rose"), (-1, "fell"))}
    assert all(at[k][0] > 0 for k in said[1])
    assert all(at[k][1] < 0 for k in said[-1])
    assert "pass@" in told
    assert ("sharpened:" in told) == (found.outcome == "sharpened")


def test_without_an_interval_nothing_is_resolved():
    rows = [row | {"has_interval": False, "low": row["value"], "high": row["value"]} for row in rows_of([UP, DOWN])]
    (found,) = judged(rows)
    assert (found.outcome, found.better_at, found.worse_at) == ("not resolved", (), ())
    (told,) = words.sentences([asdict(found)], {"new": "new", "old": "old"})
    assert "one problem in common gives no interval" in told
    assert "inf" not in told


def test_both_commands_judge_alike():
    """The same changes as rows of `samples` and of `audit`, in any order of k, give one verdict."""
    bounds = [(-0.06, 0.07), (-0.1, 0.04), (-0.345, -0.061)]
    (of_samples,), (of_audit,) = (
        judged(rows_of(bounds, columns=columns)[::-1], columns) for columns in (verdict.OF_SAMPLES, verdict.OF_AUDIT)
    )
    assert of_samples == of_audit
    assert of_samples.outcome == "sharpened"


@pytest.mark.parametrize(
    ("between", "wanted"),
    [
        ([EVEN, UP, UP], ("first", 1, 4, False)),
        ([EVEN, EVEN, UP], ("first", 1, 4, False)),
        ([DOWN, EVEN, UP], ("first", 1, 4, True)),
        ([UP, EVEN, EVEN], None),  # better where the other did not lose
        ([EVEN, EVEN, EVEN], None),
        ([], None),  # no problem in common
    ],
)
def test_a_model_mitigates_where_it_is_better_where_another_lost(between: Bounds, wanted: tuple | None):
    """The first model sharpened at k = 4, the second was worse at all k, the third is compared with the first alone."""
    rows = [*rows_of([UP, EVEN, DOWN], "first"), *rows_of([DOWN, DOWN, DOWN], "second"), *rows_of([EVEN] * 3, "third")]
    asked = []

    def compared(other: str, model: str) -> list[dict]:
        asked.append((other, model))
        return rows_of(between if model == "third" else [], model)

    *others, third = judged(rows, between=compared)
    assert asked == [("first", "second"), ("first", "third")]
    assert [one.mitigates for one in others] == [(), ()]
    found = [(one.other, one.small.k, one.large.k, one.has_price) for one in third.mitigates]
    assert found == ([wanted] if wanted else [])
    (told,) = words.sentences([asdict(third)], {name: name for name in ("first", "third", "old")})
    assert ("It mitigated the sharpening of first: against first " in told) == bool(wanted and not wanted[3])
    assert ("It sharpened less than first at a price: against first pass@1 is lower (" in told) == bool(
        wanted and wanted[3]
    )


def slope_rows(name: str, low: float, high: float) -> list[dict]:
    interval = {"value": (low + high) / 2, "low": low, "high": high, "has_interval": np.isfinite(low)}
    return [{"model": name, "at": 0.0, "quantity": verdict.SLOPE, **interval}]


@pytest.mark.parametrize(
    ("slope", "outcome"), [(UP, "sharpened"), (EVEN, "not resolved"), (DOWN, "not resolved"), (None, "not resolved")]
)
def test_without_pass_at_k_the_slope_decides(slope: tuple[float, float] | None, outcome: str):
    """A slope below 0 may be noise; one that is smaller than another's mitigates it."""
    rows = [*slope_rows("much", 0.5, 0.7), *slope_rows("new", *(slope or (np.nan, np.nan)))]

    def between(other: str, model: str) -> list[dict]:
        assert other == "much" or outcome == "sharpened"
        return slope_rows(model, -0.4, -0.2) if other == "much" else slope_rows(model, 0.2, 0.4)

    much, new = verdict.verdicts(rows, verdict.SLOPE, verdict.OF_AUDIT, base="old", between=between)
    assert (much.outcome, much.mitigates, new.outcome) == ("sharpened", (), outcome)
    assert [(one.other, one.large.high) for one in new.mitigates] == [("much", -0.2)]
    told = words.sentences([asdict(much), asdict(new)], {"much": "much", "new": "new"})
    assert told[0].startswith("much sharpened: of two correct answers to a problem the likelier gained +.600 [+.500, ")
    assert told[1].endswith("against much the slope is lower by .300 [.200, .400].")
    meant = words.meanings([asdict(new)], told)
    assert "sharpened: likely correct answers gained more than rare ones" in meant
    assert "samples" not in meant


def test_the_verdicts_on_committed_runs():
    """GRPO and DS of the picture of `samples`, the second against the first, and plain RL and DS of that of `audit`."""
    rows = store.read_rows(REFERENCE / "samples" / "534e3d43538d" / "rows.csv")
    pair = store.read_rows(REFERENCE / "samples" / "d4cff2b901a3" / "rows.csv")
    found = judged(
        rows, between=lambda other, model: pair if (other, model) == ("samples_grpo.csv", "samples_ds.csv") else ()
    )
    grpo, ds = found
    assert (grpo.outcome, grpo.better_at, grpo.worse_at) == ("sharpened", (), tuple(range(2, 65)))
    assert (ds.outcome, ds.better_at, ds.worse_at) == ("sharpened", (1,), tuple(range(3, 65)))
    (mitigation,) = ds.mitigates
    assert (mitigation.other, mitigation.has_price, mitigation.large.k) == ("samples_grpo.csv", False, 64)
    assert f"{mitigation.large.low:.3f} {mitigation.large.high:.3f}" == "0.085 0.230"
    audited = store.read_rows(REFERENCE / "llm" / "3c5ca306fba7" / "rows.csv")
    for one in judged(audited, verdict.OF_AUDIT):
        assert (one.outcome, one.small.k, one.large.k) == ("sharpened", 1, 256)
