"""Optima of KL-regularised RL on extremes, their stationarity, and slopes against differences of the optima."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies, shaping
from sharpening.theory.optimum import optima
from sharpening.theory.optimum.optima import Strengths
from tests.strategies import problems
from tests.tolerances import DIFFERENCE, FLOAT64, LARGE_LOG, ROUND_OFF

EXTREME = {
    "the only correct answer at 1e-300": ([1e-300, 1.0], [1, 0]),
    "the only wrong answer at 1e-300": ([1.0, 1e-300], [1, 0]),
    "both kinds at 1e-300": ([1e-300, 0.5, 0.5, 1e-300], [1, 1, 0, 0]),
    "one correct answer": ([0.2, 0.3, 0.5], [1, 0, 0]),
    "one wrong answer": ([0.2, 0.3, 0.5], [1, 1, 0]),
    "nearly deterministic": ([1 - 3e-12, 1e-12, 1e-12, 1e-12], [0, 1, 1, 0]),
}
NEAR_BOUND = 1 - 1e-6
RATIOS = ((0.0, 0.0), (1.0, 0.0), (100.0, 0.5), (1.0, NEAR_BOUND), (-NEAR_BOUND, NEAR_BOUND), (5.0, -5.0))
KL_STRENGTHS = (0.02, 1.0, 1000.0)
extremes = pytest.mark.parametrize(
    ("problem", "kl_strength"),
    [
        pytest.param(policies.problem_from_probabilities(*case), strength, id=f"{name}, {strength:g}")
        for (name, case), strength in itertools.product(EXTREME.items(), KL_STRENGTHS)
    ],
)


def advantages(problem, log_policy, kl_strength, strengths, reference):
    """Shaped reward minus the KL term, all answers: constant at an optimum."""
    shaped = shaping.differential_smoothing(problem.correct, reference, problem.correct, **strengths._asdict())
    return shaped - kl_strength * (log_policy - problem.base_log_policy)


def largest_term(problem, log_policy, kl_strength, strengths):
    """The scale of rounding in `advantages`."""
    largest = max(np.abs(log_policy).max(), np.abs(problem.base_log_policy).max())
    return 1 + (kl_strength + max(map(abs, strengths))) * largest


@extremes
@pytest.mark.parametrize("ratios", RATIOS, ids=str)
def test_optima_are_stationary_on_extremes(problem, kl_strength, ratios):
    """All answers have the same advantage, for both references, without overflow or NaN."""
    strengths = Strengths(*(ratio * kl_strength for ratio in ratios))
    for is_sampling in (True, False):
        optimum = optima.sampling_optimum if is_sampling else optima.base_optimum
        log_policy = optimum(problem, kl_strength, strengths)
        assert np.isfinite(log_policy).all()
        np.testing.assert_allclose(np.exp(log_policy).sum(), 1.0, rtol=FLOAT64)
        reference = log_policy if is_sampling else problem.base_log_policy
        spread = np.ptp(advantages(problem, log_policy, kl_strength, strengths, reference))
        assert spread <= ROUND_OFF * largest_term(problem, log_policy, kl_strength, strengths)


@given(
    problem=problems(),
    log_strength=st.floats(np.log(0.02), np.log(1000.0)),
    ratio_correct=st.floats(-0.99, 20.0),
    ratio_wrong=st.floats(-20.0, 0.99),
    gap=st.floats(0.0, 5.0),
)
def test_the_fixed_point_is_stationary_and_its_multiplier_is_the_common_advantage(
    problem, log_strength, ratio_correct, ratio_wrong, gap
):
    kl_strength = float(np.exp(log_strength))
    strengths = Strengths(ratio_correct * kl_strength, ratio_wrong * kl_strength)
    log_policy, multiplier = optima.sampling_fixed_point(problem, kl_strength, strengths, gap)
    found = advantages(problem, log_policy, kl_strength, strengths, log_policy) + (gap - 1) * problem.correct
    scale = gap + largest_term(problem, log_policy, kl_strength, strengths)
    assert np.abs(found - multiplier).max() <= 10 * ROUND_OFF * scale
    np.testing.assert_array_equal(log_policy, optima.sampling_optimum(problem, kl_strength, strengths, gap))


@given(problem=problems(), kl_strength=st.floats(0.5, 5.0), ratio=st.floats(-0.9, 0.9))
def test_slopes_of_the_bonus_are_those_of_the_optima(problem, kl_strength, ratio):
    """Central differences of logit Q of the optimum itself against the slopes from mean surprisals."""
    strength, step = ratio * kl_strength, 1e-4
    for optimum, exponents, slope in (
        (optima.base_optimum, optima.base_exponents, optima.global_term_slope),
        (optima.sampling_optimum, optima.sampling_exponents, optima.entropy_form_slope),
    ):

        def logit(g, optimum=optimum):
            log_policy = optimum(problem, kl_strength, optima.bonus_strengths(g))
            return policies.logit_correctness(log_policy, problem.correct)

        measured = (logit(strength + step) - logit(strength - step)) / (2 * step)
        tilt = exponents(kl_strength, optima.bonus_strengths(strength))
        surprisals = (
            policies.mean_surprisal(problem.base_log_policy[problem.is_correct], tilt.correct),
            policies.mean_surprisal(problem.base_log_policy[~problem.is_correct], tilt.wrong),
        )
        # the third derivative is bounded by the cube of the range of log b over that of kl_strength + strength
        third = ((1 + np.ptp(problem.base_log_policy)) / (kl_strength + min(strength, 0.0))) ** 3
        allowed = DIFFERENCE * (1 + abs(measured)) + third * step**2
        assert abs(measured - slope(*surprisals, kl_strength, strength)) <= allowed


@extremes
def test_gains_over_vanilla_are_those_of_the_optima(problem, kl_strength):
    """Both identities of claim A5, where 1 - Q or Q is far below rounding."""
    strengths = Strengths(0.5 * kl_strength, 0.25 * kl_strength)
    vanilla = policies.logit_correctness(problem.base_log_policy, problem.correct) + 1 / kl_strength
    base = optima.base_optimum(problem, kl_strength, strengths)
    gain = optima.logit_gain_base(problem, optima.base_exponents(kl_strength, strengths))
    measured = policies.logit_correctness(base, problem.correct) - vanilla
    np.testing.assert_allclose(measured, gain, rtol=LARGE_LOG, atol=LARGE_LOG)
    fixed = optima.sampling_optimum(problem, kl_strength, strengths)
    gain = optima.logit_gain_sampling(problem, fixed, kl_strength, strengths)
    measured = policies.logit_correctness(fixed, problem.correct) - vanilla
    np.testing.assert_allclose(measured, gain, rtol=LARGE_LOG, atol=LARGE_LOG)


def test_the_published_comparison_of_references():
    """b = (.2,.1,.05 | .3,.2,.1,.05), beta .5, g_c .2, g_w .1: exponents and Q as worked out for the reference text."""
    problem = policies.problem_from_probabilities([0.2, 0.1, 0.05, 0.3, 0.2, 0.1, 0.05], [1, 1, 1, 0, 0, 0, 0])
    smoothing = Strengths(0.2, 0.1)
    assert [f"{value:.4f}" for value in optima.sampling_exponents(0.5, smoothing)] == ["0.7143", "1.2500"]
    assert [f"{value:.4f}" for value in optima.base_exponents(0.5, smoothing)] == ["0.6000", "1.2000"]
    found = [
        optima.sampling_optimum(problem, 0.5, smoothing),
        optima.base_optimum(problem, 0.5, smoothing),
        optima.sampling_optimum(problem, 0.5, optima.bonus_strengths(0.2)),
    ]
    assert [f"{policies.correctness(log, problem.correct):.3f}" for log in found] == ["0.929", "0.926", "0.714"]


@given(problem=problems(), kl_strength=st.floats(0.02, 1000.0), gap=st.floats(0.0, 5.0))
def test_the_gap_moves_the_odds_and_nothing_else(problem, kl_strength, gap):
    """Base reference: logit Q grows by (gap - 1) / kl_strength; conditionals stay."""
    strengths = Strengths(0.3 * kl_strength, 0.2 * kl_strength)
    narrow, wide = (optima.base_optimum(problem, kl_strength, strengths, reward) for reward in (1.0, gap))
    shift = policies.logit_correctness(wide, problem.correct) - policies.logit_correctness(narrow, problem.correct)
    np.testing.assert_allclose(shift, (gap - 1) / kl_strength, rtol=LARGE_LOG, atol=LARGE_LOG)
    for side in (True, False):
        pair = [policies.conditional(log, problem.correct, given_correct=side) for log in (narrow, wide)]
        np.testing.assert_allclose(*pair, atol=LARGE_LOG)


@given(problem=problems())
def test_cheapest_keeps_odds_and_correct_answers_and_takes_wrong_ones_from_the_base(problem):
    """And a policy whose wrong answers already follow the base is returned as it is."""
    log_policy = optima.sampling_optimum(problem, 1.0, optima.bonus_strengths(0.7))
    cheap = optima.cheapest_at(problem, log_policy)
    pairs = [
        [policies.logit_correctness(log, problem.correct) for log in (cheap, log_policy)],
        [policies.conditional(log, problem.correct, given_correct=True) for log in (cheap, log_policy)],
        [policies.conditional(log, problem.correct, given_correct=False) for log in (cheap, problem.base_log_policy)],
        [optima.cheapest_at(problem, cheap), cheap],
    ]
    for found, expected in pairs:
        np.testing.assert_allclose(found, expected, atol=LARGE_LOG)


@pytest.mark.parametrize(
    ("optimum", "kl_strength", "strengths", "message"),
    [
        (optima.base_optimum, 0.0, (0, 0), "kl_strength is 0.0"),
        (optima.base_optimum, np.float64(-1), (0, 0), "kl_strength is -1.0"),
        (optima.base_optimum, np.nan, (0, 0), "kl_strength is nan"),
        (optima.sampling_optimum, np.inf, (0, 0), "kl_strength is inf"),
        (optima.sampling_optimum, 1.0, (-1.5, 0), "kl_strength + gamma_correct is -0.5"),
        (optima.sampling_optimum, 1.0, (0, 1.0), "kl_strength - gamma_incorrect is 0.0"),
        (optima.sampling_optimum, 1.0, (np.nan, 0), "kl_strength + gamma_correct is nan"),
    ],
)
def test_errors_name_the_argument_its_value_and_what_is_allowed(optimum, kl_strength, strengths, message):
    problem = policies.problem_from_probabilities([0.5, 0.5], [1, 0])
    with pytest.raises(ValueError, match="kl_strength") as caught:
        optimum(problem, kl_strength, Strengths(*strengths))
    assert str(caught.value) == f"{message}: it must be a finite number above 0"


def test_the_gap_is_one_unless_another_is_given():
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    strengths = Strengths(0.3, 0.2)
    usual, multiplier = optima.sampling_fixed_point(problem, 0.5, strengths)
    advantage = (
        problem.correct - np.where(problem.is_correct, 0.3, -0.2) * usual - 0.5 * (usual - problem.base_log_policy)
    )  # reward 1 on C, the term of DS, the KL term: one number at the fixed point
    np.testing.assert_allclose(advantage, multiplier, rtol=LARGE_LOG)
    assert optima.sampling_fixed_point(problem, 0.5, strengths, 2.0)[1] - multiplier > 0.1
