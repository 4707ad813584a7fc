from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import partial

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.groups import expectations, sampling
from sharpening.theory.methods import baselines
from tests import reference_groups as reference
from tests.tolerances import FLOAT64, FROM_RATIONALS, PRINTED_BALANCE, PRINTED_DIGITS

CORRECTNESS = (Fraction(1, 97), Fraction(1, 2), Fraction(9, 10))
HALF = Fraction(1, 2)
# our method, its parameters, the loop over the samples of one group
METHODS = (
    (baselines.reinforce, {}, reference.reinforce),
    (baselines.rloo, {}, reference.rloo),
    (baselines.dr_grpo, {}, reference.dr_grpo),
    (baselines.psr, {}, reference.psr),
    (baselines.nsr, {}, reference.nsr),
    (baselines.w_reinforce, {}, partial(reference.w_reinforce, positive_weight=Fraction(1, 10))),
    (baselines.maxrl, {"epsilon": 0}, reference.maxrl),
    (baselines.pkpo, {"k": 2}, partial(reference.pkpo, k=2)),
    (baselines.grpo, {"epsilon": 0}, reference.grpo),
    (baselines.grpo, {}, partial(reference.grpo, epsilon=Fraction(1, 10**6))),
    (baselines.grpo, {"ddof": 1, "epsilon": 0}, partial(reference.grpo, ddof=1)),
    (baselines.dapo, {"epsilon": 0}, reference.dapo),
    (baselines.f_grpo, {"gamma": 0.5, "epsilon": 0}, partial(reference.f_grpo, gamma=HALF)),
    (
        baselines.pass_at_k_training,
        {"k": 2, "epsilon": 0},
        partial(reference.pass_at_k_training, k=2),
    ),
)
NAMES = [f"{method.__name__}{list(parameters.values())}" for method, parameters, _ in METHODS]
RATIONAL = METHODS[:8]  # no square root
POLICY = [Fraction(3, 10), Fraction(1, 10), Fraction(4, 10), Fraction(2, 10)]
CORRECT = [1, 1, 0, 0]


@pytest.mark.parametrize(("method", "parameters", "loop"), METHODS, ids=NAMES)
@pytest.mark.parametrize("group_size", range(2, 9))
def test_expectations_agree_with_loops_over_fractions(method, parameters, loop, group_size):
    """All 2^G reward vectors, weighted in Fractions."""
    table = expectations.advantage_table(method, group_size, **parameters)
    for mass in CORRECTNESS:
        exact = [float(value) for value in reference.expected_advantages(loop, group_size, mass)]
        observed = expectations.expected_advantages(table, float(mass))
        np.testing.assert_allclose(observed, exact, rtol=FROM_RATIONALS, atol=FROM_RATIONALS)
        weight = expectations.prompt_weight(table, float(mass))
        assert weight == pytest.approx(exact[0] - exact[1], rel=FROM_RATIONALS, abs=FROM_RATIONALS)


@pytest.mark.parametrize(("method", "parameters", "loop"), RATIONAL, ids=NAMES[:8])
def test_exact_tables_and_expectations_are_fractions(method, parameters, loop):
    if method is baselines.w_reinforce:
        parameters = {"positive_weight": Fraction(1, 10)}
    table = expectations.advantage_table(method, 5, is_exact=True, **parameters)
    for mass in CORRECTNESS:
        assert expectations.expected_advantages(table, mass) == reference.expected_advantages(loop, 5, mass)


@pytest.mark.parametrize(("method", "parameters", "loop"), METHODS, ids=NAMES)
@pytest.mark.parametrize("group_size", [2, 4])
def test_the_expected_step_is_the_mean_over_all_groups(method, parameters, loop, group_size):
    table = expectations.advantage_table(method, group_size, **parameters)
    exact = reference.expected_step(loop, group_size, POLICY, CORRECT)
    observed = expectations.expected_step(np.array(POLICY, float), np.array(CORRECT, float), table)
    np.testing.assert_allclose(observed, np.array(exact, float), rtol=FROM_RATIONALS, atol=FROM_RATIONALS)


def test_printed_numbers_of_the_method_summaries():
    policy, correct = np.array(POLICY, float), np.array(CORRECT, float)
    step = partial(expectations.expected_step, policy, correct)
    grpo = step(expectations.advantage_table(baselines.grpo, 4, epsilon=0.0)) / policy
    np.testing.assert_allclose(grpo, [0.97240, 0.97240, -0.64827, -0.64827], atol=PRINTED_DIGITS)
    pairs = step(expectations.advantage_table(baselines.pkpo, 4, k=2))
    np.testing.assert_allclose(pairs, [0.216, 0.072, -0.192, -0.096], atol=FLOAT64)
    triples = step(expectations.advantage_table(baselines.pkpo, 4, k=3))
    np.testing.assert_allclose(triples, [0.1944, 0.0648, -0.1728, -0.0864], atol=FLOAT64)


@pytest.mark.parametrize("group_size", [2, 64, 1024])
@pytest.mark.parametrize("mass", [1e-300, 1e-9, 0.37, 1 - 1e-9])
def test_large_groups_agree_with_fifty_digits(group_size, mass):
    with mpmath.workdps(50):
        others, chance = group_size - 1, mpmath.mpf(mass)
        terms = [mpmath.binomial(others, k) * chance**k * (1 - chance) ** (others - k) for k in range(group_size)]
        given_correct = mpmath.fsum(t * mpmath.sqrt((others - k) / mpmath.mpf(k + 1)) for k, t in enumerate(terms))
        given_wrong = -mpmath.fsum(t * mpmath.sqrt(k / mpmath.mpf(group_size - k)) for k, t in enumerate(terms))
        exact = [float(given_correct), float(given_wrong)]
    closed = expectations.grpo_expected_advantages(mass, group_size)
    tabled = expectations.expected_advantages(
        expectations.advantage_table(baselines.grpo, group_size, epsilon=0.0), mass
    )
    np.testing.assert_allclose(closed, exact, rtol=FROM_RATIONALS)
    np.testing.assert_allclose(tabled, exact, rtol=FROM_RATIONALS)


def test_a_group_of_64_agrees_with_an_exact_rational_sum():
    mass = Fraction(5, 7)
    for method, parameters in ((baselines.maxrl, {"epsilon": 0}), (baselines.pkpo, {"k": 7})):
        exact_table = expectations.advantage_table(method, 64, is_exact=True, **parameters)
        exact = expectations.prompt_weight(exact_table, mass)
        observed = expectations.prompt_weight(expectations.advantage_table(method, 64, **parameters), float(mass))
        assert observed == pytest.approx(float(exact), rel=FROM_RATIONALS)
        closed = expectations.maxrl_weight(mass, 64) if method is baselines.maxrl else expectations.pkpo_weight(mass, 7)
        assert closed == exact


def test_every_method_is_finite_in_groups_of_1024_at_every_correctness():
    mass = np.array([0.0, 1e-300, 1e-12, 0.5, 1 - 1e-12, 1.0])
    for method, parameters, _ in METHODS:
        table = expectations.advantage_table(method, 1024, **parameters)
        weight = expectations.prompt_weight(table, mass)
        assert weight.shape == mass.shape
        assert np.isfinite(weight).all()
        assert (weight >= 0).all()


def test_closed_forms_at_the_ends():
    table = expectations.advantage_table(baselines.f_grpo, 8, gamma=0.5, epsilon=0.0)
    ends = expectations.prompt_weight(table, np.array([0.0, 1.0]))
    np.testing.assert_allclose(expectations.f_grpo_weight_ends(8, 0.5), ends, rtol=FROM_RATIONALS)
    assert expectations.grpo_weight(1.0, 8) == pytest.approx(math.sqrt(7), rel=FROM_RATIONALS)
    assert expectations.maxrl_weight(0.0, 8) == 7
    assert expectations.maxrl_weight(1.0, 8) == 1


@given(mass=st.floats(0, 1), num_draws=st.integers(0, 1023))
def test_binomial_weights_are_a_distribution(mass, num_draws):
    weights = expectations.binomial_weights(num_draws, mass)
    assert weights.shape == (num_draws + 1,)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1, rel=FROM_RATIONALS)


@pytest.mark.parametrize("mass", [-0.1, 1.5, float("nan")])
def test_binomial_weights_refuse_what_is_no_probability(mass):
    with pytest.raises(ValueError, match="correctness is"):
        expectations.binomial_weights(3, mass)


def test_binomial_weights_accept_symbols_and_arrays():
    mass = sp.Symbol("Q")
    assert sp.expand(expectations.binomial_weights(3, mass).sum()) == 1
    assert expectations.binomial_weights(3, np.full((2, 5), 0.25)).shape == (2, 5, 4)


def test_a_table_needs_a_method_of_reward_and_correct_only():
    def likelihood(*, log_prob):
        return log_prob

    with pytest.raises(ValueError, match="advantage needs log_prob"):
        expectations.advantage_table(likelihood, 4)


def test_group_mean_centring_of_any_rewards():
    rewards = [Fraction(3), Fraction(-1, 2), Fraction(0), Fraction(7, 3)]
    mean = [Fraction(0)] * 4
    for answers in itertools.product(range(4), repeat=3):
        weight = math.prod(POLICY[answer] for answer in answers)
        baseline = sum(rewards[answer] for answer in answers) / 3
        for answer, arm in itertools.product(answers, range(4)):
            mean[arm] += weight * (rewards[answer] - baseline) * ((arm == answer) - POLICY[arm]) / 3
    observed = expectations.centred_expected_step(np.array(POLICY), np.array(rewards), Fraction(3))
    assert observed.tolist() == mean


def test_tail_miss_published_value_and_activity():
    assert sampling.tail_miss(0.64, 6.3e-5, 131072) == pytest.approx(2.6e-4, abs=PRINTED_BALANCE)
    assert sampling.tail_miss(0.64, 6.3e-5, 131072) < 1e-3
    assert sampling.tail_miss(0.3, 0.0, 7) == pytest.approx(1 - 0.3**7 - 0.7**7, rel=FLOAT64)


@pytest.mark.parametrize("mass", [Fraction(1, 10**9), Fraction(2, 3), 1 - Fraction(1, 2**40)])
@pytest.mark.parametrize("share", [Fraction(1, 10**12), Fraction(1, 3), Fraction(1)])
@pytest.mark.parametrize("group_size", [2, 3, 17, 1024])
def test_tail_miss_keeps_its_digits(mass, share, group_size):
    tail = Fraction(float(mass * share)) if share < 1 else Fraction(float(mass))
    total = Fraction(float(mass))
    exact = (1 - tail) ** group_size - (total - tail) ** group_size - (1 - total) ** group_size
    observed = sampling.tail_miss(float(total), float(tail), group_size)
    assert observed == pytest.approx(float(exact), rel=FLOAT64, abs=0)


@given(mass=st.floats(0, 1), share=st.floats(0, 1), group_size=st.integers(1, 10**6))
def test_tail_miss_is_a_probability(mass, share, group_size):
    tail = mass * share
    if tail < 1:
        observed = sampling.tail_miss(mass, tail, group_size)
        assert 0 <= observed <= (1 - tail) ** group_size * (1 + FLOAT64)
        assert sampling.tail_miss(mass, tail, 1) <= FLOAT64


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((0.5, 0.6, 4), "tail_mass"),
        ((0.5, -0.1, 4), "tail_mass"),
        ((1.0, 1.0, 4), "tail_mass"),
        ((float("nan"), 0.1, 4), "tail_mass"),
        ((0.5, 0.1, 0.5), "group_size"),
    ],
)
def test_tail_miss_refuses_what_is_no_probability(arguments, name):
    with pytest.raises(ValueError, match=name):
        sampling.tail_miss(*arguments)


def test_inclusion_and_absence_at_the_extremes():
    rare = math.log(1e-300)
    assert sampling.inclusion_probability(rare, 1024) == pytest.approx(1024e-300, rel=FLOAT64)
    assert sampling.inclusion_probability(0.0, 3) == 1
    assert sampling.absence_ratio(math.log(0.3), math.log(0.1), 4) == pytest.approx((0.9 / 0.7) ** 4, rel=FLOAT64)


def test_the_sampled_step_is_the_mean_of_advantage_times_score():
    answers, values = (0, 2, 2, 1, 0), np.array([1.5, -0.25, 0.5, 3.0])
    policy = np.array(POLICY, float)
    mean = sum(values[answer] * (np.eye(4)[answer] - policy) for answer in answers) / 5
    counts = np.bincount(answers, minlength=4)
    np.testing.assert_allclose(sampling.sampled_step(policy, counts, values), mean, atol=FLOAT64)
    batch = sampling.sampled_step(policy, np.stack([counts, counts]), values)
    np.testing.assert_allclose(batch, [mean, mean], atol=FLOAT64)


def test_the_fisher_matrix_maps_the_natural_step_to_the_softmax_step():
    policy, counts, values = np.array(POLICY, float), np.array([2, 1, 2, 0]), np.array([1.5, -0.25, 0.5, 3.0])
    fisher = np.diag(policy) - np.outer(policy, policy)
    natural = sampling.natural_sampled_step(policy, counts, values)
    np.testing.assert_allclose(fisher @ natural, sampling.sampled_step(policy, counts, values), atol=FLOAT64)


@pytest.mark.parametrize("is_natural", [False, True])
def test_drift_agrees_with_every_group_drawn_in_order(is_natural):
    group_size, mass = 4, POLICY[0] + POLICY[1]
    moments = [Fraction(0), Fraction(0)]
    for answers in itertools.product(range(4), repeat=group_size):
        weight = math.prod(POLICY[answer] for answer in answers)
        values = reference.dr_grpo(tuple(CORRECT[answer] for answer in answers))
        move = Fraction(0)
        for answer, value in zip(answers, values, strict=True):
            direction = (answer == 0) - (answer == 1)
            if is_natural:
                move += value * direction / POLICY[answer] / group_size
            else:
                move += value * (direction - (POLICY[0] - POLICY[1])) / group_size
        moments[0] += weight * move
        moments[1] += weight * move**2
    formula = sampling.natural_drift if is_natural else sampling.drift
    rate = Fraction(2, 5)
    observed = formula(POLICY[0], POLICY[1], mass, Fraction(group_size), rate)
    assert observed == (rate * moments[0], rate**2 * (moments[1] - moments[0] ** 2))


@pytest.mark.parametrize("sampled", [(1, 0, 1, 0), (0, 0, 1, 1), (1, 1, 1, 1), (0, 1, 0, 0)])
def test_mass_balance_is_the_slope_of_the_mass(sampled):
    policy, correct, is_sampled = (np.array(values, float) for values in (POLICY, CORRECT, sampled))
    step = sampling.surrogate_step(policy, is_sampled, np.where(correct == 1, 0.8, -0.6), 16)
    balance = sampling.mass_balance(
        policy, correct, is_sampled, reward_correct=0.8, reward_wrong=-0.6, group_size=16, learning_rate=0.3
    )
    for members, change in zip((correct, correct * (1 - is_sampled)), balance, strict=True):
        masses = [
            (np.exp(policies.log_softmax(np.log(policy) + sign * 1e-4 * 0.3 * step)) * members).sum()
            for sign in (1, -1)
        ]
        assert change == pytest.approx((masses[0] - masses[1]) / 2e-4, abs=FLOAT64)
        assert change == pytest.approx(0.3 * sampling.first_order_mass_change(policy, members, step), abs=FLOAT64)


def test_distinct_correct_mass_agrees_with_every_sequence_of_draws():
    right, mass = np.array([Fraction(1, 5), Fraction(1, 10), Fraction(3, 10)]), Fraction(3, 5)
    for k in range(5):
        expected = Fraction(0)
        for draws in itertools.product(range(3), repeat=k):
            weight = math.prod(right[draw] / mass for draw in draws)
            expected += weight * sum(right[draw] for draw in set(draws))
        assert sampling.distinct_correct_mass(right, mass, k) == expected


def test_presence_bounds_enclose_the_ratio():
    low, high = sampling.presence_ratio_bounds(0.01, 0.002, 32)
    chance = sampling.inclusion_probability(np.log([0.002, 0.01]), 32)
    assert low < chance[0] / chance[1] < high


def test_expected_share_shift_vanishes_at_one_half_and_favours_the_rarer():
    assert sampling.expected_share_shift(0.5, 1.0) == 0
    assert sampling.expected_share_shift(0.2, 1.0) > 0 > sampling.expected_share_shift(0.8, 1.0)


def test_natural_steps_at_full_correctness_have_neither_mean_nor_noise():
    assert sampling.natural_drift(0.6, 0.4, 1.0, 8, 0.1) == (0.0, 0.0)


def test_a_mixture_weighs_like_its_parts():
    """A third of REINFORCE and the rest PKPO of order 3, from the tables of both, in Fractions."""
    share, mass = Fraction(1, 3), Fraction(2, 5)
    parts = [
        expectations.prompt_weight(expectations.advantage_table(method, 5, is_exact=True, **own), mass)
        for method, own in ((baselines.reinforce, {}), (baselines.pkpo, {"k": 3}))
    ]
    assert expectations.mixture_weight(mass, 3, share) == share * parts[0] + (1 - share) * parts[1]
