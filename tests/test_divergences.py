"""Divergences against hand-computed rationals, their order and zeros, extremes, and KL estimators by enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.claims import instances
from sharpening.theory.optimum import divergences
from tests.strategies import policy_pairs
from tests.tolerances import DIFFERENCE_STEP, DIFFERS, FINITE_DIFFERENCE, FLOAT64, LARGE_LOG, ROUND_OFF, SEPARATED

P, B = np.log([0.5, 0.25, 0.25]), np.log([0.25, 0.25, 0.5])
ORDERS = (0.1, 0.5, 0.9, 1.0, 1.1, 2.0, 5.0, np.inf)
AFFINITY = 0.25 + 2 * math.sqrt(0.125)  # sum of sqrt(p b)
BY_HAND = {
    "KL(p||b)": 0.25 * math.log(2),  # log 2 / 2 - log 2 / 4
    "KL(b||p)": 0.25 * math.log(2),
    "chi2(p||b)": 3 / 8,  # 1 + 1/4 + 1/8 - 1
    "chi2(b||p)": 3 / 8,
    "Jensen-Shannon": 0.5 * math.log(4 / 3) + 0.25 * math.log(2 / 3),
    "squared Hellinger": 1 - AFFINITY,
    "Renyi 1/2": -2 * math.log(AFFINITY),
    "Renyi 2 (p, b)": math.log(11 / 8),
    "Renyi 2 (b, p)": math.log(11 / 8),
    "total variation": 1 / 4,
    "Renyi inf (p, b)": math.log(2),
    "Renyi inf (b, p)": math.log(2),
}
every_divergence = pytest.mark.parametrize("name", divergences.DIVERGENCES)


@every_divergence
def test_reference_values_by_hand(name):
    np.testing.assert_allclose(divergences.DIVERGENCES[name](P, B), BY_HAND[name], rtol=FLOAT64)


def test_asymmetric_reference_values():
    """p = (1/2, 1/2) against b = (1/4, 3/4) tells the two directions apart."""
    p, b = np.log([0.5, 0.5]), np.log([0.25, 0.75])
    found = {name: float(distance(p, b)) for name, distance in divergences.DIVERGENCES.items()}
    assert found["KL(p||b)"] == pytest.approx(0.5 * math.log(4 / 3), rel=FLOAT64)
    assert found["KL(b||p)"] == pytest.approx(0.75 * math.log(3) - math.log(2), rel=FLOAT64)
    assert found["chi2(p||b)"] == pytest.approx(1 / 3, rel=FLOAT64)
    assert found["chi2(b||p)"] == pytest.approx(1 / 4, rel=FLOAT64)
    assert found["Renyi inf (p, b)"] == pytest.approx(math.log(2), rel=FLOAT64)
    assert found["Renyi inf (b, p)"] == pytest.approx(math.log(3 / 2), rel=FLOAT64)
    assert divergences.reverse_kl(p, b) == divergences.kl(b, p)


@given(pair=policy_pairs())
def test_never_negative_and_zero_only_for_equal_policies(pair):
    """Zero at p = p; above zero once a probability differs."""
    p, b = pair
    differs = np.abs(np.exp(p) - np.exp(b)).max() > DIFFERS
    for distance in divergences.DIVERGENCES.values():
        value = distance(p, b)
        assert value >= -ROUND_OFF
        assert abs(distance(p, p)) <= ROUND_OFF
        assert not differs or value > SEPARATED


@given(pair=policy_pairs())
def test_renyi_grows_with_its_order(pair):
    """From near 0 through KL at order 1 to the log of the largest ratio."""
    values = [float(divergences.renyi(*pair, order)) for order in ORDERS]
    assert all(low <= high + ROUND_OFF * (1 + high) for low, high in itertools.pairwise(values))
    np.testing.assert_allclose(values[-1], (pair[0] - pair[1]).max(), rtol=FLOAT64)


def test_renyi_is_continuous_at_order_one():
    near = [divergences.renyi(P, B, 1 + step) for step in (-1e-6, 1e-6)]
    np.testing.assert_allclose(near, [divergences.kl(P, B)] * 2, rtol=DIFFERENCE_STEP)


@pytest.mark.parametrize("order", [0.0, -1.0, np.nan])
def test_renyi_names_its_bad_order(order):
    with pytest.raises(ValueError, match=rf"^order is {order}: it must be above 0$"):
        divergences.renyi(P, B, order)


@given(pair=policy_pairs())
def test_chi_squared_is_the_textbook_sum(pair):
    p, b = np.exp(pair[0]), np.exp(pair[1])
    np.testing.assert_allclose(1 + divergences.chi_squared(*pair), (p**2 / b).sum(), rtol=LARGE_LOG)


@every_divergence
def test_answers_of_probability_1e_300(name):
    """Finite, never NaN, and right where it can be said by hand: nearly disjoint policies."""
    first = policies.problem_from_probabilities([1e-300, 1.0], [1, 0]).base_log_policy
    second = first[::-1]
    value = float(divergences.DIVERGENCES[name](first, second))
    far = 300 * math.log(10)
    expected = {
        "chi2(p||b)": 1e300,
        "chi2(b||p)": 1e300,
        "Jensen-Shannon": math.log(2),
        "squared Hellinger": 1.0,
        "total variation": 1.0,
    }.get(name, far)
    if name == "Renyi 1/2":
        expected = far - 2 * math.log(2)  # sum of sqrt(p b) is 2e-150
    np.testing.assert_allclose(value, expected, rtol=LARGE_LOG)


def test_chi_squared_beyond_the_floats_is_infinite():
    assert divergences.chi_squared(np.log([0.5, 0.5]), policies.log_softmax([0.0, -1500.0])) == np.inf


@every_divergence
def test_takes_stacks_of_policies(name):
    """Leading axes are kept and broadcast."""
    distance = divergences.DIVERGENCES[name]
    stacked = distance(np.stack([P, B, P]), B)
    np.testing.assert_allclose(stacked, [distance(P, B), 0.0, distance(P, B)], atol=ROUND_OFF)


def test_kl_parts_add_up_on_hard_instances():
    """Near-deterministic, twelve orders of magnitude, ties, m = 1, w = 1; each part is non-negative."""
    rng = np.random.default_rng(11)
    for problem in instances.problems(rng, 200):
        other = policies.log_softmax(instances.SHAPES[int(rng.integers(4))](rng, problem.correct.size))
        for p, b in ((other, problem.base_log_policy), (problem.base_log_policy, other)):
            parts = divergences.kl_parts(p, b, problem.correct)
            np.testing.assert_allclose(sum(parts), divergences.kl(p, b), rtol=FLOAT64, atol=ROUND_OFF)
            assert min(parts) >= -ROUND_OFF


def test_kl_parts_by_hand():
    """Odds 1 to 1 against 1 to 3; p_C = (1/2, 1/2) against (1/4, 3/4); p_W equal."""
    correct = np.array([1.0, 1.0, 0.0, 0.0])
    p, b = np.log([1 / 4, 1 / 4, 1 / 4, 1 / 4]), np.log([1 / 16, 3 / 16, 3 / 8, 3 / 8])
    half = 0.5 * math.log(4 / 3)
    found = divergences.kl_parts(p, b, correct)
    np.testing.assert_allclose(found, [half, 0.5 * half, 0.0], rtol=FLOAT64, atol=ROUND_OFF)


@given(pair=policy_pairs(), shift=st.integers(0, 3))
def test_kl_estimators_are_unbiased_by_enumeration(pair, shift):
    """The sum over all answers of p times k1, or k3, is KL(p||b); k3 is never negative, k1 is."""
    p, b = pair
    log_ratio = np.roll(b, shift) - p
    expected = float((np.exp(p) * (p - np.roll(b, shift))).sum())
    for estimator in (divergences.k1, divergences.k3):
        mean = (np.exp(p) * estimator(np.exp(log_ratio), log_ratio)).sum()
        np.testing.assert_allclose(mean, expected, rtol=LARGE_LOG, atol=ROUND_OFF)
    assert divergences.k3(np.exp(log_ratio), log_ratio).min() >= -ROUND_OFF


def test_kl_estimators_by_hand():
    assert divergences.k1(2.0, math.log(2)) == -math.log(2)
    assert divergences.k3(2.0, math.log(2)) == pytest.approx(1 - math.log(2), rel=FLOAT64)
    assert divergences.k3(1.0, 0.0) == 0


def test_score_weights_have_the_gradient_of_their_divergence():
    """sum p w grad log p in softmax logits against differences of KL(p||b) and KL(b||p); k1 as a loss gives none."""
    logits, log_base = np.array([0.3, -1.0, 0.4]), policies.log_softmax([0.0, 0.5, -0.7])

    def forward(z):
        return float(divergences.kl(policies.log_softmax(z), log_base))

    def reverse(z):
        return float(divergences.kl(log_base, policies.log_softmax(z)))

    log_policy = policies.log_softmax(logits)
    policy, log_ratio = np.exp(log_policy), log_base - log_policy
    placements = {"k3_loss": reverse, "k3_times_ratio": forward, "k1_reward": forward, "k1_loss": lambda _: 0.0}
    for placement, value in placements.items():
        weight = divergences.kl_score_weight(placement, np.exp(log_ratio), log_ratio)
        found = policy * (weight - policy @ weight)
        steps = 1e-6 * np.eye(3)
        wanted = [(value(logits + step) - value(logits - step)) / 2e-6 for step in steps]
        np.testing.assert_allclose(found, wanted, atol=FINITE_DIFFERENCE)
