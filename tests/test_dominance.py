"""The budget frontier, the literal conditions at their boundary, and the map between references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.optimum.optima import Strengths
from tests.strategies import problems
from tests.tolerances import BROKEN, FLOAT64, LARGE_LOG, ROUND_OFF

every_convex = pytest.mark.parametrize("name", divergences.STRICTLY_CONVEX)
# every wrong answer of this one is equally likely, so no bonus wastes anything on W; the bonus lowers Q
NOTHING_TO_SAVE = policies.problem_from_probabilities([0.9, 0.05, 0.01, 0.02, 0.02], [1, 1, 1, 0, 0])


def at_logit(problem, log_policy, logit):
    """The policy with the p_C of `log_policy`, p_W = b_W, and the given odds."""
    right = policies.conditional(log_policy, problem.correct, given_correct=True)
    wrong = policies.conditional(problem.base_log_policy, problem.correct, given_correct=False)
    return policies.compose(logit, right, wrong, problem.correct)


@every_convex
@given(problem=problems(max_arms=5), kl_strength=st.floats(0.2, 3.0), ratio=st.floats(0.05, 3.0))
@settings(max_examples=25)
def test_the_frontier_has_the_budget_and_one_step_further_costs_more(name, problem, kl_strength, ratio):
    """At the returned odds the cost is the bonus's; at slightly higher odds it is above; never below the bonus's Q."""
    distance = divergences.STRICTLY_CONVEX[name]
    log_policy = dominance.bonus_optimum(problem, kl_strength, ratio * kl_strength, "entropy")
    own = policies.logit_correctness(log_policy, problem.correct)
    logit = dominance.logit_at_budget(problem, log_policy, distance)
    budget = distance(log_policy, problem.base_log_policy)
    assert logit >= own
    if np.isinf(logit):
        surest = at_logit(problem, log_policy, dominance.LARGEST_LOGIT)
        assert distance(surest, problem.base_log_policy) <= budget
        return
    costs = [distance(at_logit(problem, log_policy, at), problem.base_log_policy) for at in (logit, logit + 0.1)]
    np.testing.assert_allclose(costs[0], budget, rtol=LARGE_LOG, atol=LARGE_LOG)
    assert costs[1] >= costs[0] - ROUND_OFF * (1 + costs[0])


@every_convex
def test_the_frontier_is_the_largest_odds_even_where_nothing_is_saved(name):
    """The cost falls before it rises: equal cost has two solutions, of which the bonus may sit on the lower."""
    distance = divergences.STRICTLY_CONVEX[name]
    problem = NOTHING_TO_SAVE
    log_policy = dominance.bonus_optimum(problem, 0.5, 5.0, "entropy")
    logit = dominance.logit_at_budget(problem, log_policy, distance)
    budget = distance(log_policy, problem.base_log_policy)
    grid = np.linspace(0.0, 12.0, 1201)
    costs = np.array([distance(at_logit(problem, log_policy, at), problem.base_log_policy) for at in grid])
    affordable = grid[costs <= budget].max(initial=0.0)
    assert min(logit, grid[-1]) >= affordable - ROUND_OFF
    assert min(logit, grid[-1]) <= affordable + np.diff(grid)[0] or affordable == 0


def test_a_policy_on_the_frontier_stays_where_it_is():
    """Vanilla's optimum wastes nothing and lies beyond the cheapest odds."""
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    vanilla = optima.base_optimum(problem, 1.0, optima.vanilla_strengths())
    own = policies.logit_correctness(vanilla, problem.correct)
    np.testing.assert_allclose(dominance.logit_at_budget(problem, vanilla), own, rtol=LARGE_LOG)


def test_a_budget_that_pays_for_certainty_is_infinite_odds():
    """A bonus that leaves the base far enough costs more than being right for sure."""
    problem = policies.problem_from_probabilities([0.6, 0.3, 0.1 - 1e-9, 1e-9], [1, 1, 0, 0])
    log_policy = dominance.bonus_optimum(problem, 0.1, 10.0, "entropy")
    assert dominance.logit_at_budget(problem, log_policy) == np.inf


@given(problem=problems(max_arms=5), exponent=st.floats(0.05, 0.95))
@settings(max_examples=60)
def test_literal_slack_is_zero_exactly_where_the_needed_tilt_is(problem, exponent):
    """The bonus at inverse strength = growth (1 +- 1e-6): its twin of gap 1 exists just above and not just below.

    The bonus with exponent s and odds e^(x) Z_C(s)/Z_W(s) is matched at needed tilt x - slack terms; the twin's
    1 / kl_strength must be above 0.
    """
    for reference, tilt in (
        ("base", dominance.needed_tilt_base),
        ("sampling", dominance.needed_tilt_sampling),
    ):
        boundary = -dominance.literal_slack(problem, exponent, 0.0, reference)
        for side in (-1, 1):
            inverse = boundary + side * BROKEN * (1 + abs(boundary))
            right, wrong = (
                policies.log_partition(problem.base_log_policy[mask], exponent)
                for mask in (problem.is_correct, ~problem.is_correct)
            )
            assert np.sign(dominance.literal_slack(problem, exponent, inverse, reference)) == side
            assert np.sign(tilt(problem, inverse + right - wrong, exponent)) == side


@given(problem=problems(), exponent=st.floats(0.05, 1.0))
def test_the_vanishing_reward_multiplier_solves_its_equation(problem, exponent):
    multiplier = dominance.vanishing_reward_multiplier(problem, exponent)
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    total = np.exp(exponent * (right - multiplier)).sum() + np.exp(wrong - multiplier).sum()
    np.testing.assert_allclose(total, 1.0, rtol=LARGE_LOG)
    assert multiplier >= -LARGE_LOG  # Z_C(s) is at least Z_C(1)


@pytest.mark.parametrize(("strength", "is_modest"), [(0.99, True), (1.01, False), (0.0, True)])
def test_a_modest_bonus_cannot_outbid_the_reward(strength, is_modest):
    """With w / (1 - Q_b) = e the boundary is g = 1."""
    assert dominance.is_bonus_modest(strength, 2, 1 - 2 / np.e) is is_modest


@given(problem=problems(), kl_strength=st.floats(0.1, 100.0), right=st.floats(0.0, 3.0), wrong=st.floats(0.0, 0.9))
@settings(max_examples=60)
def test_the_twin_in_the_base_family_is_the_same_policy(problem, kl_strength, right, wrong):
    """Where it exists it has the same optimum and non-negative strengths; where not, the inverse strength is <= 0."""
    sampling = Strengths(right * kl_strength, wrong * kl_strength)
    twin = dominance.equivalent_base(problem, kl_strength, sampling)
    fixed, multiplier = optima.sampling_fixed_point(problem, kl_strength, sampling)
    if twin is None:
        exponents = optima.sampling_exponents(kl_strength, sampling)
        assert exponents.correct + (exponents.wrong - exponents.correct) * multiplier <= 0
        return
    strength, strengths = twin
    assert strength > 0
    assert min(strengths) >= 0
    np.testing.assert_allclose(
        np.exp(optima.base_optimum(problem, strength, strengths)), np.exp(fixed), rtol=LARGE_LOG, atol=LARGE_LOG
    )
    apart = dominance.exponents_correspond(kl_strength, sampling, strength, strengths)
    np.testing.assert_allclose(apart, 0.0, atol=LARGE_LOG)


def test_without_smoothing_the_twin_is_vanilla_itself():
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    strength, strengths = dominance.equivalent_base(problem, 0.7, Strengths(0.0, 0.0))
    np.testing.assert_allclose([strength, *strengths], [0.7, 0.0, 0.0], atol=FLOAT64)


@pytest.mark.parametrize("form", ["reward", "entropy"])
def test_bonus_exponent_is_that_of_its_optimum(form):
    """The optimum's conditionals are the base's to that power."""
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    exponent = dominance.bonus_exponent(0.8, 0.3, form)
    assert exponent == pytest.approx({"reward": 1 - 0.3 / 0.8, "entropy": 0.8 / 1.1}[form], rel=FLOAT64)
    log_policy = dominance.bonus_optimum(problem, 0.8, 0.3, form)
    np.testing.assert_allclose(log_policy[0] - log_policy[1], exponent * np.log(3), rtol=FLOAT64)
    np.testing.assert_allclose(log_policy[2] - log_policy[3], exponent * np.log(2), rtol=FLOAT64)


def test_a_distance_that_never_exceeds_the_budget_allows_every_correctness():
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    assert dominance.logit_at_budget(problem, problem.base_log_policy, lambda p, b: np.float64(0.0)) == np.inf
