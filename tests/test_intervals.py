"""Bootstrap intervals: reproducible, of the right width, and honest about which population they speak of."""

import numpy as np
import pytest
from scipy.stats import norm

from sharpening.samples import intervals
from tests.tolerances import FLOAT64, MONTE_CARLO_Z

CONFIDENCE = 0.9
NUM_DATA_SETS = 200  # enough to tell 0.9 from 0.75 by five standard errors
NUM_RESAMPLES = 300
BOOTSTRAP_SD = 0.1  # relative; bounds and standard errors from 2,000 resamples scatter by 2 to 3 %


@pytest.fixture
def rng():
    return np.random.default_rng(20251119)


def is_covered(interval, truth):
    return (interval.low <= truth) & (truth <= interval.high)


def standard_errors_below(share, target):
    """By how many binomial standard errors a covered share lies below its target."""
    return (target - share) / np.sqrt(target * (1 - target) / NUM_DATA_SETS)


@pytest.fixture
def curves(rng):
    return rng.random((3, 40))


@pytest.mark.parametrize(
    ("function", "shape"),
    [(intervals.bootstrap_over_problems, (30,)), (intervals.bootstrap_over_problems_and_seeds, (12, 4))],
)
def test_same_seed_same_interval_other_seed_another(function, shape, rng):
    values = rng.random(shape)
    first, again, other = (function(values, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    for field in ("estimate", "low", "high", "standard_error"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert (first.low, first.high) != (other.low, other.high)


@pytest.mark.parametrize("method", ["BCa", "percentile"])
def test_interval_over_problems_holds_the_estimate_and_the_usual_standard_error(curves, method, rng):
    interval = intervals.bootstrap_over_problems(curves, rng=rng, method=method)
    assert interval.low.shape == interval.high.shape == (3,)
    np.testing.assert_allclose(interval.estimate, curves.mean(axis=-1), rtol=FLOAT64)
    assert ((interval.low < interval.estimate) & (interval.estimate < interval.high)).all()
    usual = curves.std(axis=-1, ddof=1) / np.sqrt(40)
    np.testing.assert_allclose(interval.standard_error, usual, rtol=BOOTSTRAP_SD)


def test_other_statistics_and_confidences(curves, rng):
    median = intervals.bootstrap_over_problems(curves, np.median, rng=rng, method="percentile")
    np.testing.assert_array_equal(median.estimate, np.median(curves, axis=-1))
    narrow, wide = (
        intervals.bootstrap_over_problems(curves, rng=np.random.default_rng(0), confidence=level)
        for level in (0.5, 0.99)
    )
    assert (wide.low < narrow.low).all()
    assert (narrow.high < wide.high).all()


def test_rows_share_their_resamples(rng):
    """A row and twice the row move together: exactly twice the bounds."""
    row = rng.random(25)
    interval = intervals.bootstrap_over_problems(np.stack([row, 2 * row]), rng=rng)
    assert interval.high[1] == pytest.approx(2 * interval.high[0], rel=FLOAT64)


def test_batches_do_not_change_the_result(monkeypatch, curves):
    whole, crossed = (
        intervals.bootstrap_over_problems(curves, rng=np.random.default_rng(5)),
        intervals.bootstrap_over_problems_and_seeds(curves, rng=np.random.default_rng(5)),
    )
    monkeypatch.setattr(intervals, "BATCH_ENTRIES", 1000)
    split = intervals.bootstrap_over_problems(curves, rng=np.random.default_rng(5))
    np.testing.assert_allclose(split.low, whole.low, rtol=FLOAT64)
    split = intervals.bootstrap_over_problems_and_seeds(curves, rng=np.random.default_rng(5))
    np.testing.assert_allclose(split.low, crossed.low, rtol=FLOAT64)


def test_constant_rows_give_a_point_and_undefined_bca_is_refused(rng):
    interval = intervals.bootstrap_over_problems([[1.0, 1.0, 1.0], [0.0, 0.5, 1.0]], rng=rng)
    assert interval.low[0] == interval.high[0] == 1
    assert interval.low[1] < interval.high[1]
    with pytest.raises(ValueError, match="method='percentile'"):
        intervals.bootstrap_over_problems([1.0, 2.0, 3.0], one_sided_statistic, rng=rng)


def one_sided_statistic(values, axis):
    """1 for the sample as given (already sorted) and 0 for every resample but the identical one."""
    return np.where((np.diff(values, axis=axis) > 0).all(axis=axis), 1.0, values.mean(axis=axis) - 9)


@pytest.mark.parametrize("function", [intervals.bootstrap_over_problems, intervals.bootstrap_over_problems_and_seeds])
def test_bad_input_is_named(function, rng):
    values = rng.random((4, 5))
    values[2, 3] = np.nan
    with pytest.raises(ValueError, match=r"values\[2, 3\] is nan"):
        function(values, rng=rng)
    with pytest.raises(ValueError, match=r"values has shape \(4, 1\)"):
        function(np.ones((4, 1)), rng=rng)
    with pytest.raises(ValueError, match=r"values has shape \(\)"):
        function(1.0, rng=rng)
    with pytest.raises(ValueError, match="confidence is 1"):
        function(np.ones((4, 5)), rng=rng, confidence=1)
    with pytest.raises(ValueError, match="num_resamples is 1"):
        function(np.ones((4, 5)), rng=rng, num_resamples=1)


def test_interval_over_problems_covers_the_mean_at_its_rate(rng):
    """Skewed solve rates, 40 problems: within five standard errors of 90 %, and far above 75 %."""
    values = rng.beta(0.5, 2.0, size=(NUM_DATA_SETS, 40))
    interval = intervals.bootstrap_over_problems(values, rng=rng, confidence=CONFIDENCE, num_resamples=NUM_RESAMPLES)
    share = is_covered(interval, 0.2).mean()
    assert abs(standard_errors_below(share, CONFIDENCE)) < MONTE_CARLO_Z
    assert standard_errors_below(share, 0.75) < -MONTE_CARLO_Z / 2


def test_crossed_interval_covers_where_problems_alone_do_not(rng):
    """Seeds that matter: the crossed interval keeps its rate, the seed-averaged one misses it by far."""
    shape = (NUM_DATA_SETS, 30, 20)
    seeds = rng.normal(size=(NUM_DATA_SETS, 1, 20))
    values = 0.5 * rng.normal(size=(NUM_DATA_SETS, 30, 1)) + seeds + 0.5 * rng.normal(size=shape)
    options = {"rng": rng, "confidence": CONFIDENCE, "num_resamples": NUM_RESAMPLES}
    crossed = intervals.bootstrap_over_problems_and_seeds(values, **options)
    alone = intervals.bootstrap_over_problems(values.mean(axis=-1), **options)
    assert abs(standard_errors_below(is_covered(crossed, 0.0).mean(), CONFIDENCE)) < MONTE_CARLO_Z
    assert standard_errors_below(is_covered(alone, 0.0).mean(), CONFIDENCE) > 2 * MONTE_CARLO_Z


def test_crossed_interval_counts_cell_noise_three_times(rng):
    """With pure cell noise the bootstrap variance of the mean is three times the true one."""
    values = rng.normal(size=(60, 60))
    interval = intervals.bootstrap_over_problems_and_seeds(values, rng=rng, num_resamples=8000)
    assert interval.standard_error == pytest.approx(np.sqrt(3) / 60, rel=BOOTSTRAP_SD)
    reach = norm.ppf(0.975) * interval.standard_error
    assert interval.high - interval.estimate == pytest.approx(reach, rel=BOOTSTRAP_SD)
    assert interval.estimate - interval.low == pytest.approx(reach, rel=BOOTSTRAP_SD)
