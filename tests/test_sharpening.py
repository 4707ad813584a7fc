"""Measures of sharpening on flows whose answer is known, on cases done by hand, and the coverage of their intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sharpening.samples import sharpening
from sharpening.samples.sharpening import Gains
from sharpening.theory import policies
from sharpening.theory.flow import dynamics, matched
from sharpening.theory.policies import Problem
from tests.tolerances import COVERAGE_OF_400, FLOAT64, INTEGRATOR, MONTE_CARLO_Z, PATH_LIMIT, ROUND_OFF


def drawn_problems(number: int, seed: int = 0) -> list[Problem]:
    """Problems of 3 to 6 correct and 2 to 6 wrong answers."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(number):
        correct = np.repeat([1.0, 0.0], [rng.integers(3, 7), rng.integers(2, 7)])
        found.append(Problem(policies.log_softmax(rng.normal(scale=1.2, size=correct.size)), correct))
    return found


def gains_of(problems: list[Problem], moved: list[np.ndarray]) -> Gains:
    """All answers of the problems, weighed by the base policy."""
    start = np.concatenate([one.base_log_policy for one in problems])
    return Gains(
        problem=np.repeat(np.arange(len(problems)), [one.correct.size for one in problems]),
        start=start,
        end=np.concatenate(moved),
        correct=np.concatenate([one.correct for one in problems]),
        weight=np.exp(start),
        num_tokens=np.full(start.size, 4.0),
    )


def flowed(problem: Problem, time: float, gamma: float = 0.0, geometry: dynamics.Geometry = "softmax") -> np.ndarray:
    """The policy at a time of the exact flow of plain RL, or of differential smoothing where gamma is not 0."""

    def advantage(log_policy: np.ndarray) -> np.ndarray:
        return np.asarray(dynamics.smoothing_advantage(log_policy, problem.correct, gamma, 0.0))

    return dynamics.integrate(problem.base_log_policy, advantage, [0.0, time], geometry)[-1]


def simple(start, gain, *, problem=None, correct=None, weight=None, num_tokens=None) -> Gains:
    """Answers given by hand; one problem, all correct, of weight and length 1 if nothing else is said."""
    size = len(start)
    filled = [np.ones(size) if each is None else np.array(each, float) for each in (correct, weight, num_tokens)]
    places = np.zeros(size, np.int64) if problem is None else np.array(problem)
    return Gains(places, np.array(start, float), np.array(start, float) + np.array(gain, float), *filled)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def slope(gains: Gains) -> dict:
    return sharpening.slope_row(gains.only(gains.correct == 1))


def test_plain_rl_sharpens_and_its_gains_are_those_expected_at_its_correctness():
    """The integrator's flow against the closed path at the same Q (claims B1, B2, E2)."""
    problems = drawn_problems(12)
    moved = [flowed(one, 3.0) for one in problems]
    found = slope(gains_of(problems, moved))
    assert found["low"] > 0
    expected = []
    for one, policy in zip(problems, moved, strict=True):
        gain = sharpening.expected_gain(one, policies.logit_correctness(policy, one.correct))
        np.testing.assert_allclose(gain, (policy - one.base_log_policy)[one.is_correct], atol=INTEGRATOR)
        log_policy = one.base_log_policy.copy()
        log_policy[one.is_correct] += gain
        expected.append(log_policy)
    assert slope(gains_of(problems, expected))["value"] == pytest.approx(found["value"], abs=INTEGRATOR)


def test_gains_of_the_wrong_sign_are_called_smoothing():
    problems = drawn_problems(12)
    flipped = [2 * one.base_log_policy - flowed(one, 3.0) for one in problems]
    assert slope(gains_of(problems, flipped))["high"] < 0


def test_the_natural_gradient_has_slope_zero():
    """It keeps every ratio inside the correct set (claim B5)."""
    problems = drawn_problems(8)
    moved = [flowed(one, 2.0, geometry="natural") for one in problems]
    found = slope(gains_of(problems, moved))
    assert max(policies.correctness(policy, one.correct) for one, policy in zip(problems, moved, strict=True)) > 0.5
    for key in ("value", "low", "high"):
        assert found[key] == pytest.approx(0.0, abs=INTEGRATOR)


def test_differential_smoothing_ends_with_slope_minus_one():
    """Its end is uniform on the correct answers (claim B6): gain = constant - start."""
    problems = drawn_problems(6)
    early = slope(gains_of(problems, [flowed(one, 20.0, gamma=1.0) for one in problems]))
    late = slope(gains_of(problems, [flowed(one, 1e5, gamma=1.0) for one in problems]))
    assert early["high"] < 0
    assert late["value"] == pytest.approx(-1.0, abs=PATH_LIMIT)


def test_tempering_by_s_has_slope_s_minus_one():
    """Whatever the weights, lengths and correctness: start times s plus a constant of the problem."""
    problems = drawn_problems(7)
    moved = [policies.tempered(one.base_log_policy, 1.7) for one in problems]
    found = slope(gains_of(problems, moved))
    for key in ("value", "low", "high"):
        assert found[key] == pytest.approx(0.7, rel=FLOAT64)


def test_plain_rl_does_not_go_back():
    (problem,) = drawn_problems(1)
    logit = policies.logit_correctness(problem.base_log_policy, problem.correct)
    assert np.isnan(sharpening.expected_gain(problem, logit - 0.1)).all()
    np.testing.assert_allclose(sharpening.expected_gain(problem, logit), 0.0, atol=ROUND_OFF)
    up = sharpening.expected_gain(problem, logit + 1.0)
    np.testing.assert_allclose(
        up, (matched.log_policy_at_logit(problem, logit + 1.0) - problem.base_log_policy)[problem.is_correct]
    )


def test_samples_of_the_base_policy_and_the_weighed_list_estimate_the_same():
    """Slope, mean gain and uplift: 20 sets of samples with weight 1 around the values of the list."""
    problems = drawn_problems(6)
    whole = gains_of(problems, [flowed(one, 3.0) for one in problems])
    draw = np.random.default_rng(1)
    listed = {(row["quantity"], row["at"]): row["value"] for row in sharpening.rows(whole, rng=rng())}
    found: dict[tuple, list[float]] = {}
    for _ in range(20):
        picked = np.concatenate(
            [
                draw.choice(np.flatnonzero(whole.problem == place), size=2000, p=whole.weight[whole.problem == place])
                for place in range(len(problems))
            ]
        )
        parts = (getattr(whole, name)[picked] for name in ("problem", "start", "end", "correct"))
        samples = Gains(*parts, np.ones(picked.size), whole.num_tokens[picked])
        for row in sharpening.rows(samples, rng=rng()):
            found.setdefault((row["quantity"], row["at"]), []).append(row["value"])
    for key in (("sharpening_slope", 0.0), ("mean_gain_correct", 0.0), ("mean_gain_wrong", 0.0)):
        error = np.std(found[key], ddof=1) / np.sqrt(20)
        assert abs(np.mean(found[key]) - listed[key]) < MONTE_CARLO_Z * error
        assert abs(-np.mean(found[key]) - listed[key]) > MONTE_CARLO_Z * error


def test_the_difference_of_slopes_is_paired():
    """Two models with one part of their gains in common: its noise is in both slopes and not in their difference."""
    rng = np.random.default_rng(1)
    problems = drawn_problems(60)
    noise = [rng.normal(scale=2.0, size=one.correct.size) for one in problems]
    one, other = (
        gains_of(
            problems, [problem.base_log_policy * scale + part for problem, part in zip(problems, noise, strict=True)]
        )
        for scale in (1.5, 1.2)
    )
    found = sharpening.slope_difference_row(one, other)
    assert found["value"] == pytest.approx(-0.3, rel=FLOAT64)
    assert found["value"] == pytest.approx(slope(other)["value"] - slope(one)["value"], rel=FLOAT64)
    assert found["high"] < 0
    assert slope(other)["high"] > slope(one)["low"]  # apart, the two intervals overlap


def test_the_slope_leaves_out_problems_whose_correct_answers_are_alike():
    """By hand: in problem 0 gains rise by 3 over 2 nats, with weights 1 and 1; problems 1 and 2 say nothing."""
    found = slope(simple([-4, -2, -1, -3, -3], [0, 3, 7, 1, 5], problem=[0, 0, 1, 2, 2]))
    assert found["value"] == pytest.approx(1.5, rel=FLOAT64)
    assert (found["num_problems"], found["has_interval"]) == (1, False)
    nothing = slope(simple([-3.3, -3.3, -3.3], [1, 2, 3], weight=[0.1, 0.2, 0.3]))
    assert np.isnan(nothing["value"])
    assert nothing["num_problems"] == 0


def test_problems_count_by_their_weights():
    """By hand: slopes 1 and -1 with spreads 2 w and 2 w."""
    found = slope(simple([-2, 0, -2, 0], [0, 2, 2, 0], problem=[0, 0, 1, 1], weight=[3, 3, 1, 1]))
    assert found["value"] == pytest.approx(0.5, rel=FLOAT64)


def test_the_curve_has_bins_of_equal_weight_around_the_mean_of_the_problem():
    """By hand: 16 equal weights give 8 bins of two; starts and gains are taken less their means."""
    start, gain = np.arange(16.0) - 20, np.arange(16.0) ** 2
    rows = list(sharpening.curve_rows(simple(start, gain)))
    np.testing.assert_allclose([row["at"] for row in rows], np.arange(8) * 2 + 0.5 - 7.5)
    np.testing.assert_allclose([row["value"] for row in rows], gain.reshape(8, 2).mean(axis=1) - gain.mean())
    shifted = simple(np.concatenate([start, start + 5]), np.concatenate([gain, gain - 9]), problem=[0] * 16 + [1] * 16)
    for one, both in zip(rows, sharpening.curve_rows(shifted), strict=True):
        assert both["at"] == pytest.approx(one["at"], rel=FLOAT64)
        assert both["value"] == pytest.approx(one["value"], rel=FLOAT64)


def test_equal_starts_share_a_bin_and_no_answers_give_no_curve():
    rows = list(sharpening.curve_rows(simple([-1, -1, -1, -1, -5], [0, 0, 0, 0, 1])))
    assert [row["value"] for row in rows] == pytest.approx([0.8, -0.2], rel=FLOAT64)
    assert list(sharpening.curve_rows(simple([-1, -1], [0, 1]))) == []


def test_the_uplift_is_the_share_of_risen_correct_answers_by_rank():
    """By hand: 16 answers, two to a bin; the odd ones are correct and fell below place 8, the others do the reverse."""
    start = np.arange(16.0) - 16
    correct = np.arange(16) % 2
    gain = np.where((np.arange(16) < 8) == (correct == 1), -1.0, 1.0)
    order = np.random.default_rng(0).permutation(16)
    found = list(sharpening.uplift_rows(simple(start[order], gain[order], correct=correct[order]), rng=rng()))
    assert [row["at"] for row in found] == [(2 * place + 1) / 16 for place in range(8)]
    assert [row["value"] for row in found] == [0] * 4 + [1] * 4


def test_ranks_are_weighed_shared_by_equals_and_of_each_problem():
    """By hand: weights 1, 2, 1 give middles .125, .5, .875; equals share (0 + 1)/2; a lone answer is in the middle."""
    one = simple([-3, -2, -1, -5, -5, -9], [1] * 6, problem=[0, 0, 0, 1, 1, 2], weight=[1, 2, 1, 1, 1, 4])
    rows = list(sharpening.uplift_rows(one, rng=rng()))
    assert [(row["at"], row["num_problems"]) for row in rows] == [(0.1875, 1), (0.5625, 3), (0.9375, 1)]


def test_the_rare_answers_are_those_of_largest_nll_per_token():
    """By hand: of 200 correct answers two are rare; per token, not per answer."""
    start, num_tokens = np.full(200, -10.0), np.full(200, 10.0)
    start[[7, 9]] = -8.0, -6.0
    num_tokens[[7, 9]] = 2.0, 2.0  # 4 and 3 nats a token, the others 1
    gain = np.zeros(200)
    gain[[7, 9]] = -1.0, -3.0
    row = sharpening.rare_row(simple(start, gain, num_tokens=num_tokens))
    assert row["value"] == pytest.approx((0.5 + 1.5) / 2, rel=FLOAT64)
    assert row["num_problems"] == 1


@pytest.mark.parametrize(("number", "has_interval"), [(4, False), (5, True)])
def test_fewer_than_five_problems_give_no_interval(number, has_interval):
    rows = list(
        sharpening.rows(gains_of(drawn_problems(number), [flowed(x, 1.0) for x in drawn_problems(number)]), rng=rng())
    )
    chosen = [row for row in rows if row["num_problems"] == number]
    assert {row["quantity"] for row in chosen} >= {"sharpening_slope", "mean_gain_correct", "mean_gain_wrong"}
    assert all(row["has_interval"] == has_interval for row in chosen)
    assert all(np.isnan(row["low"]) != has_interval for row in chosen)


def test_a_share_of_one_keeps_room_below():
    """Where all problems are alike the jackknife gives a point; with ends the interval keeps its length."""
    ones = np.ones(12)
    plain = sharpening.ratio_row("x", 0, np.arange(12), ones, ones)
    bounded = sharpening.bounded_row("x", 0, np.arange(12), ones, ones, (0, 1), rng())
    scaled = sharpening.bounded_row("x", 0, np.arange(12), 1e-9 * ones, 1e-9 * ones, (0, 1), rng())
    assert (plain["low"], plain["high"]) == pytest.approx((1, 1), abs=ROUND_OFF)
    assert 0.6 < bounded["low"] < 0.95
    assert bounded["high"] == pytest.approx(1, abs=ROUND_OFF)
    assert scaled["low"] == pytest.approx(bounded["low"], rel=FLOAT64)


def test_with_equal_weights_the_interval_is_student_s():
    values = np.array([1.0, 4.0, 2.0, 8.0, 5.0, 7.0])
    row = sharpening.ratio_row("x", 0, np.arange(6), values, np.ones(6))
    reach = stats.t.ppf(0.975, 5) * values.std(ddof=1) / np.sqrt(6)
    assert (row["low"], row["high"]) == pytest.approx((4.5 - reach, 4.5 + reach), rel=FLOAT64)


def test_with_unequal_weights_the_interval_is_a_jackknife_with_as_many_degrees_as_problems_count():
    """By a loop over the problems left out; Kish's effective number of problems, less one, is 4.2 and not 5."""
    values, weight = [1.0, 4.0, 2.0, 8.0, 5.0, 7.0], [1.0, 2.0, 1.0, 3.0, 2.0, 2.0]
    row = sharpening.ratio_row("x", 0, np.arange(6), np.multiply(values, weight), weight)
    ratios = []
    for left_out in range(6):
        kept = [place for place in range(6) if place != left_out]
        ratios.append(sum(values[i] * weight[i] for i in kept) / sum(weight[i] for i in kept))
    mean = sum(ratios) / 6
    spread = (5 / 6 * sum((ratio - mean) ** 2 for ratio in ratios)) ** 0.5
    reach = stats.t.ppf(0.975, sum(weight) ** 2 / sum(each**2 for each in weight) - 1) * spread
    value = sum(np.multiply(values, weight)) / sum(weight)
    assert (row["low"], row["high"]) == pytest.approx((value - reach, value + reach), rel=FLOAT64)


def test_one_problem_with_nearly_all_the_weight_gives_no_interval():
    weight = np.array([1e9, 1, 1, 1, 1, 1])
    row = sharpening.ratio_row("x", 0, np.arange(6), weight * 0.3, weight)
    assert row["value"] == pytest.approx(0.3, rel=FLOAT64)
    assert (row["has_interval"], row["num_problems"]) == (False, 6)


def test_the_interval_of_the_slope_covers_its_value():
    """400 data sets of 40 problems, spreads unequal, slopes larger where the spread is; a bootstrap covers 87%."""
    draw = np.random.default_rng(3)
    truth = 0.3 * 6 / 4  # .3 E[s^3]/(4 E[s^2]) for a gamma of shape 4
    covered = []
    for _ in range(400):
        spread = draw.gamma(4.0, size=40)
        slopes = 0.3 * spread / 4 + draw.normal(scale=0.5, size=40)
        start = np.stack([-spread, spread], axis=1) / 2
        row = slope(simple(start.ravel(), (start * slopes[:, None]).ravel(), problem=np.repeat(np.arange(40), 2)))
        covered.append(row["low"] <= truth <= row["high"])
    assert abs(np.mean(covered) - 0.95) < COVERAGE_OF_400


def test_bad_gains_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"^end\[1\] is nan: it must be finite$"):
        simple([-1, -2], [0, np.nan])
    with pytest.raises(ValueError, match=r"^correct\[0\] is 2: it must be 0 or 1$"):
        simple([-1], [0], correct=[2])
    with pytest.raises(ValueError, match=r"^weight has shape \(3,\): want \(2,\), that of problem$"):
        simple([-1, -2], [0, 0], weight=[1, 1, 1])
    with pytest.raises(ValueError, match=r"^correct: no answer is marked 1: want at least one correct answer$"):
        list(sharpening.rows(simple([-1], [0], correct=[0]), rng=rng()))
