"""Policies in log-space: what is refused and in which words, extremes, and round trips."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from tests.strategies import logits, problems
from tests.tolerances import FLOAT64, LARGE_LOG, ROUND_OFF

EXTREME_LOGITS = (
    [-800.0, 800.0],
    [-700.0, 700.0],
    [700.0, 700.0, -700.0],
    [-700.0, -700.0],
    [0.0, -700.0, 20.0],
    [700.0],
)


@pytest.mark.parametrize(
    ("base_policy", "correct", "message"),
    [
        ([0.5, np.nan, 0.5], [1, 0, 0], "base_policy[1] is nan: it must be a finite number"),
        ([0.5, 0.5, np.inf], [1, 0, 0], "base_policy[2] is inf: it must be a finite number"),
        ([1.25, -0.25], [1, 0], "base_policy[1] is -0.25: it must be at least 0"),
        ([1.0, 0.0], [1, 0], "base_policy[1] is 0: it must be above 0"),
        ([0.5, 0.5], [1, 0.5], "correct[1] is 0.5: it must be 0 or 1"),
        ([0.5, 0.5], [1, np.nan], "correct[1] is nan: it must be 0 or 1"),
        ([0.5, 0.4], [1, 0], "base_policy sums to 0.9: it must sum to 1 within 2e-06"),
        ([0.5, 0.5], [1, 1], "correct has only correct answers: at least one correct and one wrong answer"),
        ([0.5, 0.5], [0, 0], "correct has no correct answers: at least one correct and one wrong answer"),
        ([0.5, 0.5], [1], "base_policy has shape (2,) and correct (1,): want the same (num_arms,)"),
        ([[0.5, 0.5]], [[1, 0]], "base_policy has shape (1, 2) and correct (1, 2): want the same (num_arms,)"),
    ],
)
def test_refuses_with_index_value_and_what_is_allowed(base_policy, correct, message):
    with pytest.raises(ValueError, match=r"base_policy|correct") as caught:
        policies.problem_from_probabilities(base_policy, correct)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(("total", "is_accepted"), [(1 + 1.9e-6, True), (1 - 1.9e-6, True), (1 + 3e-6, False)])
def test_six_printed_digits_count_as_normalised(total, is_accepted):
    """Within 1e-6 per answer, 2e-6 for these two, the probabilities are normalised; beyond, they are refused."""
    probabilities = [0.25 * total, 0.75 * total]
    if not is_accepted:
        with pytest.raises(ValueError, match="base_policy sums to"):
            policies.problem_from_probabilities(probabilities, [1, 0])
        return
    problem = policies.problem_from_probabilities(probabilities, [1, 0])
    np.testing.assert_allclose(np.exp(problem.base_log_policy), [0.25, 0.75], rtol=FLOAT64)


def test_refuse_names_the_place_in_any_shape():
    """No index for a scalar, two for a matrix, and the first bad entry of several."""
    with pytest.raises(ValueError, match=r"^gamma is -1: it must be at least 0$"):
        policies.refuse(-1.0, True, "gamma", "at least 0")
    values = np.array([[1.0, 2.0], [-0.5, -3.0]])
    with pytest.raises(ValueError, match=r"^weights\[1, 0\] is -0.5: it must be at least 0$"):
        policies.refuse(values, values < 0, "weights", "at least 0")
    policies.refuse(values, values > 5, "weights", "at most 5")


@pytest.mark.parametrize("values", EXTREME_LOGITS)
def test_logits_beyond_the_exponent_range_raise_no_flag_but_underflow(values):
    """Overflow, division by zero and invalid are errors here; underflow to 0 is what a softmax means."""
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        log_policy = policies.log_softmax(values)
        assert np.isfinite(log_policy).all()
        np.testing.assert_allclose(np.diff(log_policy), np.diff(values), atol=LARGE_LOG)
        np.testing.assert_allclose(np.exp(log_policy).sum(), 1.0, rtol=FLOAT64)
        assert 0 <= policies.entropy(log_policy) <= np.log(len(values)) + ROUND_OFF


def test_probabilities_of_1e_300_keep_their_digits():
    """No flag is raised, underflow included, and logs, odds and conditionals keep ten digits."""
    with np.errstate(all="raise"):
        problem = policies.problem_from_probabilities([1e-300, 3e-300, 0.5, 0.5], [1, 1, 0, 0])
        log_policy, correct = problem.base_log_policy, problem.correct
        logit, mass = policies.logit_correctness(log_policy, correct), policies.correctness(log_policy, correct)
        inside = policies.conditional(log_policy, correct, given_correct=True)
        entropy = policies.entropy(log_policy)
    np.testing.assert_allclose(np.exp(log_policy[:2]), [1e-300, 3e-300], rtol=FLOAT64)
    np.testing.assert_allclose(logit, np.log(4e-300), rtol=FLOAT64)
    np.testing.assert_allclose(mass, 4e-300, rtol=FLOAT64)
    np.testing.assert_allclose(np.exp(inside), [0.25, 0.75], rtol=FLOAT64)
    np.testing.assert_allclose(entropy, np.log(2), rtol=FLOAT64)


def test_odds_survive_where_one_minus_q_rounds_to_nothing():
    """At 1 - Q = e^-800, below the smallest float, the logit is still 800; Q itself is 1."""
    log_policy = policies.log_softmax([0.0, -800.0])
    correct = np.array([1.0, 0.0])
    np.testing.assert_allclose(policies.logit_correctness(log_policy, correct), 800.0, rtol=FLOAT64)
    assert policies.correctness(log_policy, correct) == 1.0


def test_softmax_normalises_the_last_axis_only():
    values = np.array([[[0.0, 1.0], [2.0, 2.0]], [[-700.0, 700.0], [5.0, 0.0]]])
    together = policies.log_softmax(values)
    assert together.shape == values.shape
    for index in np.ndindex(2, 2):
        np.testing.assert_array_equal(together[index], policies.log_softmax(values[index]))
    np.testing.assert_allclose(policies.entropy(together)[0, 1], np.log(2), rtol=FLOAT64)


@given(problem=problems(), logit=st.floats(-600.0, 600.0))
def test_compose_and_conditional_are_inverse(problem, logit):
    """Odds and conditionals put together give them back, and a policy taken apart gives itself back."""
    parts = [
        policies.conditional(problem.base_log_policy, problem.correct, given_correct=side) for side in (True, False)
    ]
    composed = policies.compose(logit, *parts, problem.correct)
    np.testing.assert_allclose(policies.logit_correctness(composed, problem.correct), logit, atol=LARGE_LOG)
    for side, part in zip((True, False), parts, strict=True):
        again = policies.conditional(composed, problem.correct, given_correct=side)
        np.testing.assert_allclose(again, part, atol=LARGE_LOG)
    own = policies.logit_correctness(problem.base_log_policy, problem.correct)
    whole = policies.compose(own, *parts, problem.correct)
    np.testing.assert_allclose(whole, problem.base_log_policy, atol=LARGE_LOG)


def test_compose_takes_integer_labels():
    """Integer labels do not truncate the log-probabilities."""
    composed = policies.compose(0.0, np.zeros(1), np.zeros(1), np.array([1, 0]))
    np.testing.assert_allclose(composed, [-np.log(2)] * 2, rtol=FLOAT64)


@given(logits=logits(), exponent=st.floats(0.0, 1.0))
def test_tempering_never_lowers_entropy(logits, exponent):
    """An exponent in [0, 1] flattens; the inverse exponent sharpens back."""
    log_policy = policies.log_softmax(logits)
    flatter = policies.tempered(log_policy, exponent)
    assert policies.entropy(flatter) >= policies.entropy(log_policy) - ROUND_OFF
    if exponent > 0.1:
        np.testing.assert_allclose(policies.tempered(flatter, 1 / exponent), log_policy, atol=LARGE_LOG)


def test_tempering_by_hand():
    """Exponent 0 is uniform, 2 squares the odds, -1 inverts them; the likelier has less surprisal."""
    log_policy = np.log([0.75, 0.25])
    for exponent, expected in ((0, [0.5, 0.5]), (1, [0.75, 0.25]), (2, [0.9, 0.1]), (-1, [0.25, 0.75])):
        np.testing.assert_allclose(np.exp(policies.tempered(log_policy, exponent)), expected, rtol=FLOAT64)
    np.testing.assert_allclose(np.exp(policies.log_partition(log_policy, 2)), 0.625, rtol=FLOAT64)
    np.testing.assert_allclose(
        policies.mean_surprisal(log_policy, 2), -(0.9 * log_policy[0] + 0.1 * log_policy[1]), rtol=FLOAT64
    )


def test_problem_is_frozen_and_its_mask_is_boolean():
    problem = policies.problem_from_probabilities([0.5, 0.5], [True, False])
    assert problem.is_correct.tolist() == [True, False]
    assert problem.correct.dtype == np.float64
    with pytest.raises(AttributeError):
        problem.correct = np.zeros(2)
