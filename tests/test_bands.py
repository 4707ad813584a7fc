"""Bands that hold at all k at once, what they prove, and what it would take: by enumeration, theory and simulation."""

from __future__ import annotations

from dataclasses import asdict
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom, norm

from sharpening.figures.drawing import samples as figures
from sharpening.figures.tables import samples as tables
from sharpening.figures.tables import verdicts as words
from sharpening.samples import budgets, comparison, intervals, verdict
from sharpening.samples.tally import Samples
from sharpening.theory import estimators
from tests.tolerances import MONTE_CARLO_Z

SHARE = 0.012  # of 95%, known from 4,000 resamples: 3.5 standard errors, theirs and those of the fresh ones
FACTOR = 0.04  # relative; quantiles of 4,000 resamples: 3 standard errors of a ratio of two
UNSEEN = (
    0.1  # relative; a 97.5% quantile of 4,000 resamples, 3 standard errors, and a difference of 1/64 of one problem
)
POWER_OF_150 = 0.13  # of 80%: 4 standard errors of 150 data sets


def drawn(name: str, rates: np.ndarray, n: int, rng: np.random.Generator) -> Samples:
    correct = rng.binomial(n, rates)[:, None]
    return Samples(name, tuple(map(str, range(len(rates)))), ("",), np.full_like(correct, n), correct)


def pair(num_problems: int, n: int, rng: np.random.Generator) -> tuple[Samples, Samples]:
    """A base and a model that sharpened."""
    base, sharp = rates_of(num_problems, rng)
    return drawn("base", base, n, rng), drawn("sharp", sharp, n, rng)


def rates_of(num_problems: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    base = rng.beta(0.5, 0.8, num_problems)
    return base, base**1.6 / (base**1.6 + 0.7 * (1 - base) ** 1.6)


def rows_of(base: Samples, other: Samples, seed: int = 0) -> list[dict]:
    tables_of = [base, other]
    return comparison.rows(tables_of, seed=seed)


def changes(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["quantity"] == verdict.PASS_AT_K]


def band_of(values: np.ndarray, rng: np.random.Generator, reach: float = 20.0) -> intervals.Band:
    """Of the means of columns, (num_problems, num_ks)."""
    sums = intervals.resampled_sums(np.column_stack([values, np.ones(len(values))]), rng=rng, num_resamples=4000)
    ends = {"low_end": -reach, "high_end": reach}
    return intervals.bounded_band(sums[:, :-1], sums[:, -1:], values.mean(axis=0), rng=rng, **ends)


@pytest.mark.parametrize("num_columns", [1, 5, 40])
def test_the_factor_is_that_of_independent_normal_means(num_columns: int):
    """For independent columns the band is 1/1.96 times the quantile of the largest of so many normal numbers.

    The rival is the interval itself, which is the band of columns that are all the same.
    """
    values = np.random.default_rng(0).standard_normal((4000, num_columns))
    found = band_of(values, np.random.default_rng(1))
    expected = norm.ppf((1 + 0.95 ** (1 / num_columns)) / 2) / norm.ppf(0.975)
    factor = (found.band_high - found.band_low) / (found.high - found.low)
    np.testing.assert_allclose(factor, expected, rtol=FACTOR)
    same = band_of(np.repeat(values[:, :1], num_columns, axis=1), np.random.default_rng(1))
    np.testing.assert_allclose((same.band_high - same.band_low) / (same.high - same.low), 1.0, rtol=FACTOR)


def test_the_band_holds_95_percent_of_fresh_curves_and_the_intervals_fewer():
    """Curves of other weights, with half a problem at the worse end, lie within the band at every k in 95%."""
    rng = np.random.default_rng(2)
    base, other = pair(80, 16, rng)
    ks = np.arange(1, 17)
    values = (other.pass_at_k(ks) - base.pass_at_k(ks))[:, 0]
    found = band_of(values, rng, reach=1.0)
    weights = rng.standard_exponential((40_000, 80))
    unseen = rng.standard_gamma(0.5, (40_000, 1))
    totals = weights.sum(axis=1, keepdims=True) + unseen
    lowest, highest = ((weights @ values + unseen * end) / totals for end in (-1, 1))

    def share(low: np.ndarray, high: np.ndarray) -> float:
        return float(((lowest >= low) & (highest <= high)).all(axis=1).mean())

    assert share(found.band_low, found.band_high) == pytest.approx(0.95, abs=SHARE)
    assert share(found.low, found.high) < 0.95 - 3 * SHARE


def test_a_band_stays_in_the_range_and_is_no_point_where_all_problems_are_alike():
    same = Samples("a", tuple(map(str, range(50))), ("",), np.full((50, 1), 8), np.full((50, 1), 8))
    rows = rows_of(same, same)
    for row in rows:
        if row["quantity"] == "pass_at_k":
            assert 0.9 < row["band_low"] <= row["low"] < row["band_high"] == 1
    for row in changes(rows):
        assert -1 < row["band_low"] <= row["low"] < 0 < row["high"] <= row["band_high"] < 1


def test_what_no_problem_shows_may_still_be_where_many_samples_solve_it():
    """30 problems of which one hardly differs: at k = 63 of 64 an unseen one may differ by 63/64, not by what was seen.

    The other differences are 0, so the lower bound is that share of a quantile of Beta(1/2, 30).
    """
    counts = np.array([[2], *[[64]] * 29]), np.array([[1], *[[64]] * 29])
    base, other = (
        Samples(name, tuple(map(str, range(30))), ("",), np.full((30, 1), 64), each)
        for name, each in zip("ab", counts, strict=True)
    )
    found = changes(rows_of(base, other))
    expected = beta.ppf(0.975, 0.5, 30)
    assert found[62]["low"] == pytest.approx(-expected * 63 / 64, rel=UNSEEN)
    assert found[63]["low"] == pytest.approx(-expected, rel=UNSEEN)


def test_rows_have_bands_that_contain_the_intervals():
    """Every row has the columns; a number where there is a curve with an interval, else none."""
    rows = rows_of(*pair(60, 16, np.random.default_rng(3)))
    for row in rows:
        if row["quantity"].startswith("pass_at_k"):
            assert row["band_low"] <= row["low"] <= row["value"] <= row["high"] <= row["band_high"]
        else:
            assert np.isnan([row["band_low"], row["band_high"]]).all()
    one = rows_of(*(samples.restricted(["0"]) for samples in pair(3, 4, np.random.default_rng(4))))
    assert all(np.isnan(row["band_low"]) and not row["has_interval"] for row in changes(one))
    assert not any(row["quantity"] in ("first_loss_k", "sure_gain", "resolvable_change") for row in one)


@pytest.mark.slow
def test_bands_cover_whole_curves_at_their_rate_and_intervals_do_not():
    """100 data sets of 100 problems: the truth at all of k = 1 to 16 lies in 90 bands or more, in fewer intervals."""
    rng = np.random.default_rng(5)
    base, sharp = rates_of(200_000, rng)
    ks = np.arange(1, 17)
    truth = np.array([(estimators.exact_pass_at_k(sharp, k) - estimators.exact_pass_at_k(base, k)).mean() for k in ks])
    hits = np.zeros(2)
    for _ in range(100):
        found = changes(list(comparison.pair_rows(*pair(100, 16, rng), rng=rng)))
        for place, prefix in enumerate(("band_", "")):
            low, high = (np.array([row[f"{prefix}{end}"] for row in found]) for end in ("low", "high"))
            hits[place] += bool(((low <= truth) & (truth <= high)).all())
    assert hits[0] >= 90
    assert hits[1] <= hits[0] - 3


ENDS = st.tuples(*[st.integers(-4, 4)] * 2).map(sorted)


@given(bounds=st.lists(ENDS, min_size=1, max_size=6), wanted=st.integers(-4, 4))
def test_what_a_band_proves_is_true_of_every_curve_within(bounds: list[list[int]], wanted: int):
    """All integer curves in the band are enumerated: their first losses fill the set, no sure change is exceeded."""
    ks = 2 ** np.arange(len(bounds))
    low, high = (np.array(side, dtype=float) for side in zip(*bounds, strict=True))
    band = intervals.Band(low, high, low, high)
    middle = np.clip(np.full(len(bounds), float(wanted)), low, high)
    found = {finding.quantity: finding for finding in budgets.proven(ks, middle, band)}
    curves = np.array(list(product(*(range(int(a), int(b) + 1) for a, b in bounds))), dtype=float)
    first = np.array([next((k for k, value in zip(ks, curve, strict=True) if value < 0), np.inf) for curve in curves])
    assert found["first_loss_k"].bounds == (first.min(), first.max())
    assert found["first_loss_k"].value in first
    for quantity, sign in (("sure_gain", 1), ("sure_loss", -1)):
        least = (sign * curves).min(axis=0).max()  # what the worst curve still has at the best k
        assert found[quantity].value == max(least, 0)
        if least > 0:
            assert (sign * curves[:, list(ks).index(found[quantity].k)]).min() == least
        else:
            assert found[quantity].k == 0


def test_the_noise_of_samples_is_that_of_binomial_counts():
    """Over repeated samples of fixed problems, against sums over all counts; at 2k = n, where it is estimated last."""
    rng, n, k = np.random.default_rng(6), 16, 8
    rates = rates_of(400, rng)
    counts = np.arange(n + 1)
    fail = 1 - estimators.pass_at_k(n, counts, k)
    exact = 0.0
    for rate in np.concatenate(rates):
        chances = binom.pmf(counts, n, rate)
        exact += (chances @ fail**2 - (chances @ fail) ** 2) / 400
    found = []
    for _ in range(200):
        base, other = (drawn(name, each, n, rng) for name, each in zip("ab", rates, strict=True))
        ks = np.array([k])
        band = intervals.Band(*(np.full(1, end) for end in (-1.0, 1.0, -1.0, 1.0)))
        change = (other.pass_at_k([k]) - base.pass_at_k([k]))[:, 0, 0]
        findings = {one.quantity: one.value for one in budgets.needed(base, other, ks, band, [k])}
        found.append(findings["sampling_noise_share"] * change.var(ddof=1))
    error = np.std(found, ddof=1) / np.sqrt(len(found))
    assert abs(np.mean(found) - exact) < MONTE_CARLO_Z * error
    assert exact > 2 * MONTE_CARLO_Z * error  # so that no noise, or the half of it, would be rejected


@pytest.mark.slow
def test_so_many_problems_resolve_the_change_four_times_in_five():
    """A study of 1,500 problems says how many it takes; 150 of that size resolve it in 80%, and of a third in few."""
    rng, k = np.random.default_rng(7), 8
    rows = rows_of(*pair(1500, 16, rng))
    row_of = {(row["quantity"], row["k"]): row["value"] for row in rows if row["base"]}
    seen, resolvable = row_of["pass_at_k_difference", k], row_of["resolvable_change", k]
    needed = int(np.ceil(1500 * (resolvable / seen) ** 2))
    assert 50 < needed < 1500

    def share(num_problems: int) -> float:
        found = []
        for _ in range(150):
            sides = changes(list(comparison.pair_rows(*pair(num_problems, 16, rng), rng=rng)))
            found.append(sides[k - 1]["band_high"] < 0)
        return float(np.mean(found))

    assert seen < 0
    assert share(needed) == pytest.approx(0.8, abs=POWER_OF_150)
    assert share(needed // 3) < 0.8 - 2 * POWER_OF_150


def test_a_verdict_rests_on_the_band_where_there_is_one():
    """Intervals alone resolve a loss; the band does not, so neither does the verdict. Without a band they count."""
    ends = {1: (-0.02, 0.03), 2: (-0.05, -0.01)}
    rows = [
        {"file": "new", "quantity": verdict.PASS_AT_K, "k": k, "value": (low + high) / 2, "low": low, "high": high}
        | {"has_interval": True, "band_low": low - 0.02, "band_high": high + 0.02}
        for k, (low, high) in ends.items()
    ]
    older = [{key: value for key, value in row.items() if not key.startswith("band")} for row in rows]
    judged = [
        verdict.verdicts(each, verdict.PASS_AT_K, verdict.OF_SAMPLES, base="old", between=lambda *_: ())[0]
        for each in (rows, older)
    ]
    assert [one.outcome for one in judged] == ["not resolved", "worse"]
    assert [one.is_simultaneous for one in judged] == [True, False]
    assert (judged[0].large.low, judged[0].large.high) == (-0.07, 0.01)
    meant = [words.meanings([asdict(one)], []) for one in judged]
    assert meant == ["[ ]: 95% band, which holds at all k at once.", "[ ]: 95% interval."]


@pytest.fixture(scope="module")
def compared() -> list[dict]:
    return rows_of(*pair(400, 16, np.random.default_rng(8)))


def test_the_report_says_what_is_proven_and_what_it_takes(compared: list[dict]):
    (found,) = verdict.verdicts(compared, verdict.PASS_AT_K, verdict.OF_SAMPLES, base="base", between=lambda *_: ())
    (first,) = (row for row in compared if row["quantity"] == "first_loss_k")
    assert found.first_loss == (first["low"], first["high"])
    assert (found.outcome, found.worse_at[0]) == ("sharpened", first["high"])
    text = tables.report(compared, [1, 4, 16], [], [asdict(found)], width=100)
    assert f"; the loss begins at a k in [{first['low']:.0f}, {first['high']:.0f}].\n" in text
    last = changes(compared)[-1]
    pattern = f"[{last['band_low']:+.3f}, {last['band_high']:+.3f}]".replace("0.", ".")
    (line,) = (line for line in text.splitlines() if line.startswith("    band "))
    assert line.endswith(pattern)
    sure = {row["quantity"]: row for row in compared if row["quantity"].startswith("sure")}
    for row in sure.values():
        assert (f"{row['value']:.3f} at {row['k']}".removeprefix("0") if row["k"] else "none") in text
    (size,) = (row for row in compared if row["quantity"] == "resolvable_change" and row["k"] == 8)
    wrapped = " ".join(text.split())
    assert f"400 problems with 16 samples of each resolve a change of about {size['value']:.3f}"[:-5] in wrapped
    assert "such problems, and with any number of samples no fewer than" in wrapped


def test_rows_without_a_band_are_still_read(compared: list[dict]):
    """As they were stored before: no columns of a band, none of the rows that rest on it."""
    new = ("first_loss_k", "sure_gain", "sure_loss", "resolvable_change", "sampling_noise_share")
    older = [
        {key: value for key, value in row.items() if not key.startswith("band")}
        for row in compared
        if row["quantity"] not in new
    ]
    judged = [
        asdict(one)
        for one in verdict.verdicts(older, verdict.PASS_AT_K, verdict.OF_SAMPLES, base="base", between=lambda *_: ())
    ]
    text = tables.report(older, [1, 4, 16], [], judged, width=100)
    assert "  band" not in text
    assert "first loss" not in text
    assert [len(panel.collections) for panel in figures.draw_pass_at_k(older).axes] == [2, 1]
    assert [len(panel.collections) for panel in figures.draw_pass_at_k(compared).axes] == [4, 2]


def test_the_same_seed_gives_the_same_band_and_another_another():
    base, other = pair(40, 8, np.random.default_rng(9))
    assert repr(rows_of(base, other, 1)) == repr(rows_of(base, other, 1))
    assert repr(rows_of(base, other, 1)) != repr(rows_of(base, other, 2))


def test_two_digits_of_a_number_of_problems_are_enough():
    assert [tables._rounded(count) for count in (1467.2, 34.4, 0.3, 96_000)] == ["1500", "34", "2", "96000"]
