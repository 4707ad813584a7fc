from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sharpening.theory import policies, shaping
from sharpening.theory.flow import dynamics, smoothing
from sharpening.theory.groups import expectations
from sharpening.theory.policies import Floats
from tests.tolerances import FLOAT64, PRINTED_THREE, SECOND_ORDER

LOG_POLICY = np.log([0.3, 0.1, 0.4, 0.2])
CORRECT = np.array([1.0, 1.0, 0.0, 0.0])
logits = st.lists(st.floats(-20.0, 20.0), min_size=4, max_size=4)


def _rate(log_policy: Floats, gamma_correct: float, gamma_incorrect: float = 0.0) -> float:
    advantage = dynamics.smoothing_advantage(log_policy, CORRECT, gamma_correct, gamma_incorrect)
    rate = dynamics.softmax_flow(np.exp(log_policy), advantage)
    return float(rate[0] - rate[1])


@given(st.floats(-20.0, 0.0), st.floats(-20.0, 0.0))
def test_the_secant_is_symmetric_and_lies_between_its_tangents(first, second):
    """x log x has the slope 1 + log x, which rises: the secant is between the slopes at its ends."""
    slope = smoothing.secant(first, second)
    assert slope == pytest.approx(smoothing.secant(second, first), rel=FLOAT64, abs=FLOAT64)
    assert min(first, second) + 1 - FLOAT64 <= slope <= max(first, second) + 1 + FLOAT64


@pytest.mark.parametrize("mass", [Fraction(1, 3), Fraction(1), Fraction(1, 10**12)])
@pytest.mark.parametrize("group_size", [1, 2, 5, 16])
def test_the_centring_factor_is_its_closed_form(mass, group_size):
    closed = 1 - (1 - (1 - mass) ** group_size) / (group_size * mass)
    assert smoothing.centring_factor(mass, group_size) == closed
    assert smoothing.centring_factor(float(mass), group_size) == pytest.approx(float(closed), rel=FLOAT64)


@given(st.floats(0.1, 6.0), st.floats(-10.0, 10.0), st.floats(-10.0, 10.0), st.floats(0.0, 2.0))
def test_the_flow_of_a_pair_turns_at_its_turning_strength(gap, first_wrong, second_wrong, gamma_incorrect):
    log_policy = policies.log_softmax([0.0, -gap, first_wrong, second_wrong])
    turning, _ = smoothing.turning_strengths(log_policy, CORRECT, (0, 1), 1.0, 8, gamma_incorrect)
    if np.isfinite(turning):
        assume(turning < 1e4)  # beyond, the rate at 1% from it is lost to rounding
        assert _rate(log_policy, 1.01 * turning, gamma_incorrect) < 0
        assert _rate(log_policy, 0.99 * turning, gamma_incorrect) > 0
    else:
        assert _rate(log_policy, 1e6, gamma_incorrect) > 0


def test_no_strength_smooths_the_example_unless_the_bonus_is_centred():
    added, centred = smoothing.turning_strengths(LOG_POLICY, CORRECT, (0, 1), 1.0, 10**4)
    assert added == np.inf
    assert centred == pytest.approx(0.728, abs=PRINTED_THREE)
    assert [round(_rate(LOG_POLICY, gamma), 3) for gamma in (0.0, 0.1, 1.0, 10.0)] == [0.120, 0.121, 0.133, 0.246]


def test_small_groups_need_more_strength_to_smooth_when_centred():
    strengths = [
        smoothing.turning_strengths(LOG_POLICY, CORRECT, (0, 1), expectations.dr_grpo_weight(size), size)[1]
        for size in (2, 4, 8, 64)
    ]
    assert strengths == sorted(strengths, reverse=True)


def test_smoothing_sharpens_before_its_onset_and_smooths_after_it():
    path = dynamics.integrate(
        LOG_POLICY,
        lambda log_policy: dynamics.smoothing_advantage(log_policy, CORRECT, 0.2, 0.0),
        np.linspace(0.0, 200.0, 2001),
    )
    log_ratio = path[:, 0] - path[:, 1]
    turn = int(log_ratio.argmax())
    log_share = policies.conditional(path[turn], CORRECT, given_correct=True)
    onset = smoothing.smoothing_onset(log_share, (0, 1), 0.2, lambda _: 1.0)
    reached = [policies.logit_correctness(path[step], CORRECT) for step in (turn - 1, turn + 1)]
    assert 0 < turn < len(path) - 1
    assert reached[0] < onset < reached[1]
    assert log_ratio[-1] < log_ratio[0]


@given(st.floats(0.01, 10.0), st.floats(0.01, 5.0))
def test_a_stronger_bonus_sets_in_earlier_and_a_centred_one_earlier_still(gamma, gap):
    log_share = policies.log_softmax([gap, 0.0])
    onset = smoothing.smoothing_onset(log_share, (0, 1), gamma, lambda _: 1.0)
    assert smoothing.smoothing_onset(log_share, (0, 1), 2 * gamma, lambda _: 1.0) < onset
    assert smoothing.smoothing_onset(log_share, (0, 1), gamma, lambda _: 1.0, group_size=1000) < onset


def test_an_onset_beyond_all_floats_is_infinite():
    log_share = policies.log_softmax([0.0, -1.0])
    assert smoothing.smoothing_onset(log_share, (0, 1), 1e-310, lambda _: 1.0) == np.inf


@given(logits, st.floats(0.0, 0.4), st.floats(0.0, 0.4), st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_noise_mixes_the_shaped_rewards_of_both_marks(values, positive, negative, g_c, g_w):
    log_policy = policies.log_softmax(values)
    marked = smoothing.marked_correct(CORRECT, positive, negative)
    strengths = {"gamma_correct": g_c, "gamma_incorrect": g_w}
    mixture = marked * shaping.differential_smoothing(1.0, log_policy, 1.0, **strengths)
    mixture += (1 - marked) * shaping.differential_smoothing(0.0, log_policy, 0.0, **strengths)
    claimed = smoothing.noisy_advantage(log_policy, marked, g_c, g_w)
    np.testing.assert_allclose(claimed, mixture, rtol=FLOAT64, atol=FLOAT64)


@given(st.floats(0.0, 0.999), st.floats(0.001, 1.0))
def test_the_window_is_empty_once_the_verifier_is_a_coin(positive, negative):
    assume(abs(positive + negative - 1) > FLOAT64)
    low, high = smoothing.gamma_window(positive, negative)
    assert (low < high) == (positive + negative < 1)


def test_a_verifier_without_errors_allows_every_strength():
    assert smoothing.gamma_window(0.0, 0.0) == (0.0, np.inf)


def test_the_variance_blows_up_at_the_largest_stable_learning_rate_and_has_its_small_step_limit():
    edge = smoothing.largest_stable_learning_rate(0.5, 3)
    assert smoothing.consensus_factor(edge, 0.5, 3) == -1.0
    exact = smoothing.stationary_variance(0.999 * edge, 0.5, 3, 8, 1.0)
    assert exact > 100 * smoothing.small_step_variance(0.999 * edge, 0.5, 8, 1.0)
    rates = np.array([1e-9, 1e-3])
    ratio = smoothing.stationary_variance(rates, 0.5, 3, 8, 1.0) / smoothing.small_step_variance(rates, 0.5, 8, 1.0)
    np.testing.assert_allclose(ratio - 1, rates * 0.5 / 3 / 2, rtol=SECOND_ORDER)


def test_length_effects():
    sums = smoothing.log_ratio_change((-6.0, -2.0), (30, 5), 0.25, is_token_mean=False)
    assert sums == pytest.approx(0.25 * 4.0, rel=FLOAT64)  # the rarer answer gains a quarter of the gap
    strength = smoothing.token_mean_strength(0.25, 10)
    means = smoothing.log_ratio_change((-6.0, -2.0), (10, 10), strength, is_token_mean=True)
    assert means == pytest.approx(sums, rel=FLOAT64)
    pushed = smoothing.log_ratio_change((-6.0, -2.0), (30, 5), 0.25, is_token_mean=True)
    assert pushed < 0  # longer, rarer, and fewer nats per token: pushed further down


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smoothing.gamma_window(1.0, 0.1), "false_positive_rate is 1:"),
        (lambda: smoothing.gamma_window(0.1, -0.1), "false_negative_rate is -0.1"),
        (lambda: smoothing.gamma_window(float("nan"), 0.1), "false_positive_rate is nan"),
        (lambda: smoothing.smoothing_onset(np.log([0.6, 0.4]), (0, 1), 0.0, lambda _: 1.0), "gamma_correct is 0:"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_marks_are_lost_and_given_at_the_two_rates():
    assert smoothing.marked_correct(np.array([1.0, 0.0]), 0.2, 0.1).tolist() == [0.9, 0.2]
