"""Edges of formulas in `theory/` that a mutation campaign found without a test."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from sharpening.llm.training.options import grpo_options
from sharpening.theory import estimators, policies
from sharpening.theory.diagnosis import motion
from sharpening.theory.estimators import ROUND_OFF
from sharpening.theory.flow import smoothing
from sharpening.theory.groups import expected_flow, sampling
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import baselines, calls, clusters, spelling, terms, token_weights
from sharpening.theory.methods.table import METHODS
from sharpening.theory.rows import figures as figure_rows
from sharpening.theory.rows import prediction
from tests.tolerances import FLOAT64

LEFT = 1e-3  # what float64 keeps of 1 less a number that is 1e-13 below it
SERIES = 2e-12  # what Stirling's series of three terms leaves at 10
PROBLEM = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])


# estimators


@pytest.mark.parametrize("x", [10.0, 12.0, 33.0, 500.0])
def test_the_tail_of_stirlings_series_is_that_of_the_log_factorial(x):
    with mpmath.workdps(40):
        exact = mpmath.loggamma(x + 1) - (x + 0.5) * mpmath.log(x) + x - mpmath.log(2 * mpmath.pi) / 2
    assert abs(estimators._stirling_tail(np.array([x]))[0] - float(exact)) < SERIES


def test_many_correct_and_many_drawn_that_overlap_by_more_than_half():
    wanted = 1 - Fraction(math.comb(50, 45), math.comb(100, 45))
    failure = 1 - estimators.pass_at_k(100, 50, 45)
    assert failure == pytest.approx(float(1 - wanted), rel=LEFT)
    log_ratio = estimators._log_ratio_by_series(*(np.array([value]) for value in (100.0, 45.0, 50.0)))
    assert log_ratio[0] == pytest.approx(math.log(math.comb(50, 45) / math.comb(100, 45)), rel=FLOAT64)


def test_a_probability_may_leave_its_range_by_rounding_and_is_cut():
    for given, wanted in ((1 + ROUND_OFF, 1.0), (-ROUND_OFF, 0.0)):
        assert estimators._probabilities(given, "x") == wanted
    for given in (1 + 3 * ROUND_OFF, -3 * ROUND_OFF):
        with pytest.raises(ValueError, match="it must be a probability"):
            estimators._probabilities(given, "x")


def test_the_fewest_samples_that_a_hill_number_takes():
    assert estimators.hill_number_from_counts([1], 1.0) == 1
    assert estimators.hill_number_from_counts([2], 2, is_corrected=True) == 1
    with pytest.raises(ValueError, match="at least 2"):
        estimators.hill_number_from_counts([1], 2, is_corrected=True)


# flows and groups


def test_the_turning_strength_is_where_the_log_ratio_stands_still():
    for weight, factor, bracket, charge in ((0.7, 1.0, 1.6, 0.0), (1.4, 0.6, 0.8, 0.2), (0.3, 1.3, 2.1, 0.05)):
        turning = smoothing.turning_strength(0.35, weight, bracket, factor=factor, charge=charge)
        assert 0.65 * weight + charge - turning * factor * bracket == pytest.approx(0, abs=FLOAT64)
    assert smoothing.turning_strength(0.35, 1.0, -0.1) == math.inf


def test_rates_come_with_the_size_of_the_largest_advantage():
    flow = ExpectedFlow(terms.ds, PROBLEM, {"gamma_correct": 0.5})
    several = policies.log_softmax(np.random.default_rng(0).normal(size=(3, 4)))
    rates, sizes = flow.rates_and_sizes(several)
    assert sizes.shape == (3,)
    for place, log_policy in enumerate(several):
        np.testing.assert_allclose(rates[place], flow.rates(log_policy), rtol=FLOAT64, atol=FLOAT64)
        assert sizes[place] == pytest.approx(np.abs(flow.advantages(log_policy)).max(), rel=FLOAT64)


def test_the_corners_are_each_answer_alone_and_pairs_of_a_side_at_three_ratios():
    depth = 600.0
    found = expected_flow._corners(PROBLEM, depth)
    ratios = [(-300.0, 0), (0.0, 0), (300.0, 0), (-300.0, 2), (0.0, 2), (300.0, 2)]
    assert found.shape == (4 + len(ratios), 4)
    np.testing.assert_allclose(found[:4].max(axis=1), 0, atol=FLOAT64)
    assert found[:4].argmax(axis=1).tolist() == [0, 1, 2, 3]
    for row, (ratio, first) in zip(found[4:], ratios, strict=True):
        assert row[first + 1] - row[first] == pytest.approx(ratio)
        others = [arm for arm in range(4) if arm not in (first, first + 1)]
        np.testing.assert_allclose(row[others] - row.max(), -depth)
    assert expected_flow.corner_of(1e6) == 1e3


def test_a_tail_that_is_too_large_is_refused_wherever_it_stands():
    for correctness, tail in (([0.5, 0.5], [0.1, 0.6]), ([0.5, 1.2], [0.1, 0.1])):
        with pytest.raises(ValueError, match="want 0 <= tail_mass"):
            sampling.tail_miss(correctness, tail, 4)
    with pytest.raises(ValueError, match="group_size"):
        sampling.tail_miss(0.5, 0.1, np.array([4, 0.5]))


@pytest.mark.parametrize(
    ("is_right", "centre", "width"), [(False, 0.555, 0.0056), (True, 0.739, 0.0049), (True, 0.2, 0.02)]
)
def test_a_smooth_bump_of_one_probability_leaves_the_class(is_right, centre, width):
    """Found whatever is drawn; without the bump nothing is."""

    def bumped(reward: np.ndarray, correct: np.ndarray, log_prob: np.ndarray, size: float = 3.0) -> np.ndarray:
        chosen = correct if is_right else 1 - correct
        return reward + size * chosen * np.exp(-(((np.exp(log_prob) - centre) / width) ** 2))

    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert motion.outside_the_class(ExpectedFlow(bumped, PROBLEM, {}), rng) is not None
        assert motion.outside_the_class(ExpectedFlow(bumped, PROBLEM, {"size": 0.0}), rng) is None


# methods


def test_uniform_groups_have_no_advantage_without_epsilon():
    rewards = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(baselines.qae(reward=rewards, epsilon=0.0), 0 * rewards)


def test_a_cap_below_one_is_a_cap():
    inputs = {"reward": np.array([[1.0, 0.0, 0.0, 0.0]]), "correct": np.array([[1.0, 0.0, 0.0, 0.0]])}
    strong = {"answer": np.array([[0, 1, 2, 2]]), "spread_strength": 9.0}
    plain = baselines.grpo(reward=inputs["reward"])
    moved = clusters.edas(**inputs, **strong, cap=0.5) - plain
    assert np.abs(moved[0, 1:]).max() == pytest.approx(2 * np.abs(plain[0, 1]), rel=FLOAT64)


def test_ties_go_to_the_earlier_token():
    keys = np.zeros((1, 100))
    picked = token_weights.is_first(keys, 0.3, np.ones_like(keys))
    assert picked[0].tolist() == [True] * 30 + [False] * 70


def test_at_most_three_names_are_offered():
    known = [f"gamma_{kind}" for kind in ("correct", "incorrect", "other", "last")]
    assert spelling.suggestion("gama", known) == f"did you mean {' or '.join(known[:3])}? "


def test_what_the_table_says_of_baselines_and_groups():
    assert {name for name in ("grpo", "dr_grpo", "ds", "maxrl", "pkpo") if METHODS[name].keeps_baseline} == {
        "grpo", "dr_grpo", "ds",
    }  # fmt: skip
    assert METHODS["reinforce"].least_group_size == 1
    assert grpo_options("cispo", {"clip_high": 0.3})["epsilon_high"] == 1.3


def test_an_error_of_the_toolkit_is_not_said_to_be_a_function_of_the_user():
    reward = np.array([[1.0, 0.0]])
    with pytest.raises(ValueError, match=r"^k is 3: it must lie between"):
        calls.group_advantages(METHODS["pkpo"], {"correct": reward}, {"k": 3})


def test_rewards_that_a_method_is_not_made_for_are_refused():
    reward = np.array([[-1.0, 1.0]])
    with pytest.raises(ValueError, match="is made for"):
        calls.group_advantages(METHODS["maxrl"], {"reward": reward, "correct": np.array([[0.0, 1.0]])})


# rows


def test_wrong_answers_share_alike_what_a_bonus_leaves_them():
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.3, 0.2, 0.1], [1, 1, 0, 0, 0])
    (end,) = figure_rows.possible_ends(problem, "entropy_bonus", 0.5)
    assert end.sum() == pytest.approx(1)
    assert end[2:].tolist() == [pytest.approx(end[2])] * 3


def test_a_power_law_problem_has_the_correctness_that_is_asked_for():
    problem = figure_rows.power_law_problem(4, 6, 0.3, 1.0, 1.5)
    policy = np.exp(problem.base_log_policy)
    assert policy.sum() == pytest.approx(1)
    assert policy[:4].sum() == pytest.approx(0.3)
    np.testing.assert_allclose(policy[0] / policy[:4], [1, 2, 3, 4])


def test_a_flow_that_begins_at_a_level_or_never_comes_there_has_no_first_time():
    times = np.array([0.0, 1.0, 2.0])

    def summaries(*logits: float) -> list[dict[str, float]]:
        return [{"logit_correctness": logit, "solution_diversity": 2.0} for logit in logits]

    assert prediction._first_at(0.5, times, summaries(0.0, 1.0, 2.0)) == {}
    assert prediction._first_at(0.5, times, summaries(-2.0, -1.0, -0.5)) == {}
    assert prediction._first_at(0.5, times, summaries(-2.0, -1.0, 0.0))["time"] == 2
    assert prediction._first_at(0.5, times, summaries(-1.0, 1.0, 2.0))["time"] == 0.5
