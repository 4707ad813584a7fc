"""The integrator of exact flows against a plain Runge-Kutta scheme, its invariances and its errors."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.flow import dynamics
from tests.strategies import problems
from tests.tolerances import FINITE_DIFFERENCE, FLOAT64, INTEGRATOR, ROUND_OFF

PROBLEM = policies.problem_from_probabilities([0.28, 0.02, 0.1, 0.35, 0.2, 0.05], [1, 1, 1, 0, 0, 0])
TIMES = [0.0, 0.5, 2.0, 5.0]
FAMILIES = {
    "vanilla": (0.0, 0.0),
    "smoothing": (0.4, 0.0),
    "smoothing with charge": (0.4, 0.3),
    "bonus": (0.4, -0.4),
    "penalty": (-0.4, 0.4),
}


def family_advantage(name, correct):
    """Reward and strengths put together here, not by the shaper."""
    right, wrong = FAMILIES[name]
    return lambda log_policy: correct * (1 - right * log_policy) + (1 - correct) * wrong * log_policy


def runge_kutta(logits, advantage_of, times, is_natural, step=0.01):
    """Classical fourth-order Runge-Kutta on dz_i = p_i (A_i - mean A), or dz_i = A_i for the natural gradient."""

    def rate(z):
        policy = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        advantage = advantage_of(np.log(policy))
        return advantage if is_natural else policy * (advantage - policy @ advantage)

    z, path = np.array(logits), [np.array(logits)]
    for span in np.diff(times):
        for _ in range(round(span / step)):
            a = rate(z)
            b = rate(z + step / 2 * a)
            c = rate(z + step / 2 * b)
            z = z + step / 6 * (a + 2 * b + 2 * c + rate(z + step * c))
        path.append(z)
    return policies.log_softmax(np.array(path))


@pytest.mark.parametrize("geometry", ["softmax", "natural"])
@pytest.mark.parametrize("family", FAMILIES)
def test_integrator_agrees_with_runge_kutta(family, geometry):
    advantage_of = family_advantage(family, PROBLEM.correct)
    found = dynamics.integrate(PROBLEM.base_log_policy, advantage_of, TIMES, geometry)
    expected = runge_kutta(PROBLEM.base_log_policy, advantage_of, TIMES, geometry == "natural")
    assert found.shape == (len(TIMES), PROBLEM.correct.size)
    np.testing.assert_allclose(found[0], PROBLEM.base_log_policy, atol=ROUND_OFF)
    np.testing.assert_allclose(found, expected, atol=INTEGRATOR)
    assert np.abs(found[-1] - found[0]).max() > 0.1  # the flow has moved


@pytest.mark.parametrize("family", FAMILIES)
def test_smoothing_advantage_is_every_family(family):
    """A pair of strengths names each family, a global bonus g being (g, -g)."""
    log_policy = PROBLEM.base_log_policy
    found = dynamics.smoothing_advantage(log_policy, PROBLEM.correct, *FAMILIES[family])
    np.testing.assert_allclose(found, family_advantage(family, PROBLEM.correct)(log_policy), atol=ROUND_OFF)


@given(problem=problems(), shift=st.floats(-10.0, 10.0))
def test_a_constant_added_to_the_advantage_moves_nothing(problem, shift):
    """Neither a baseline nor a constant of the logits can be seen in the flow, in either geometry."""
    policy, advantage = np.exp(problem.base_log_policy), problem.correct - 0.1 * problem.base_log_policy
    for flow in (dynamics.softmax_flow, dynamics.natural_flow):
        velocity = flow(policy, advantage)
        np.testing.assert_allclose(flow(policy, advantage + shift), velocity, atol=FLOAT64)
    assert abs(dynamics.softmax_flow(policy, advantage).sum()) <= ROUND_OFF * 10  # no probability is created
    assert abs((policy * dynamics.natural_flow(policy, advantage)).sum()) <= ROUND_OFF * 10


def test_paths_do_not_see_a_shift_of_reward_or_of_logits():
    advantage_of = family_advantage("smoothing", PROBLEM.correct)
    plain = dynamics.integrate(PROBLEM.base_log_policy, advantage_of, TIMES)
    shifted = dynamics.integrate(PROBLEM.base_log_policy + 7.0, lambda log: advantage_of(log) - 3.0, TIMES)
    np.testing.assert_allclose(shifted, plain, atol=INTEGRATOR)


def test_integrated_logits_keep_their_sum():
    """Under the softmax gradient the sum of the logits is a constant; log-probabilities have none."""
    logits = dynamics.integrate_logits(PROBLEM.base_log_policy, lambda _: PROBLEM.correct, TIMES)
    np.testing.assert_allclose(logits.sum(axis=1), PROBLEM.base_log_policy.sum(), rtol=INTEGRATOR)
    assert np.ptp(policies.log_softmax(logits).sum(axis=1)) > 0.1


@pytest.mark.parametrize("geometry", ["softmax", "natural"])
@pytest.mark.parametrize("family", FAMILIES)
def test_integrating_ties_once_changes_nothing(family, geometry):
    """Equal answers of one label stay equal: integrated once or each for itself, in any order of the arms."""
    base = np.log([0.1, 0.2, 0.1, 0.1, 0.2, 0.05, 0.05, 0.2])
    correct = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0])
    advantage_of = family_advantage(family, correct)
    each = dynamics.integrate(base, advantage_of, TIMES, geometry)
    once = dynamics.integrate(base, advantage_of, TIMES, geometry, labels=correct)
    np.testing.assert_allclose(once, each, atol=INTEGRATOR)
    np.testing.assert_array_equal(once[:, 0], once[:, 2])  # both correct at .1
    assert abs(once[-1, 0] - once[-1, 3]) > 0.1  # the wrong one at .1 went its own way


def test_labels_shrink_the_integrator_s_state(monkeypatch):
    """A thousand answers of three kinds are three unknowns; without labels they are a thousand."""
    sizes = []
    solve = dynamics.solve_ivp

    def counted(rate, span, start, **options):
        sizes.append(start.size)
        return solve(rate, span, start, **options)

    monkeypatch.setattr(dynamics, "solve_ivp", counted)
    base = policies.log_softmax(np.repeat([0.0, -1.0], [10, 990]))
    correct = np.repeat([1.0, 0.0, 0.0], [5, 5, 990])
    for labels in (correct, None):
        dynamics.integrate(base, lambda _: correct, [0.0, 1.0], labels=labels)
    assert sizes == [3, 1000]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([0.0, 2.0, 1.0], "times[2] is 1: it must be finite and increasing from 0"),
        ([1.0, 1.0], "times[1] is 1: it must be finite and increasing from 0"),
        ([-1.0, 1.0], "times[0] is -1: it must be finite and increasing from 0"),
        ([0.0, np.nan], "times[1] is nan: it must be finite and increasing from 0"),
        ([0.0, np.inf], "times[1] is inf: it must be finite and increasing from 0"),
        ([0.0], "times is [0.0]: want (num_times,), the last above 0"),
        ([], "times is []: want (num_times,), the last above 0"),
        (3.0, "times is 3.0: want (num_times,), the last above 0"),
    ],
)
def test_names_the_time_it_refuses(times, message):
    with pytest.raises(ValueError, match="times") as caught:
        dynamics.integrate(PROBLEM.base_log_policy, lambda _: PROBLEM.correct, times)
    assert str(caught.value) == message


def test_an_integrator_that_gives_up_is_an_error(monkeypatch):
    """Its message is passed on, and no half path is returned."""
    failed = types.SimpleNamespace(success=False, message="step size too small", y=np.zeros((6, 1)))
    monkeypatch.setattr(dynamics, "solve_ivp", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"stopped before t = 5\.0: step size too small"):
        dynamics.integrate(PROBLEM.base_log_policy, lambda _: PROBLEM.correct, TIMES)


@pytest.mark.parametrize("geometry", ["softmax", "natural"])
def test_the_effect_of_a_global_term_is_a_difference_of_logits(geometry):
    """Move the logits along what the term adds, by 1e-6 to either side: unequal answers on both sides."""
    log_policy, correct = np.log([0.35, 0.05, 0.4, 0.15, 0.05]), np.array([1.0, 1.0, 0.0, 0.0, 0.0])
    flow = getattr(dynamics, f"{geometry}_flow")
    moved = 0.7 * flow(np.exp(log_policy), -log_policy)
    ends = [policies.logit_correctness(log_policy + step * moved, correct) for step in (-1e-6, 1e-6)]
    found = dynamics.global_term_effect(np.exp(log_policy), log_policy, correct, 0.7, geometry)
    assert found == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=FINITE_DIFFERENCE)


def test_graded_limits_share_among_the_likeliest_of_the_best():
    log_policy = policies.log_softmax([0.0, 0.0, -1.0, 3.0])
    found = dynamics.graded_limit(log_policy, np.array([0.7, 0.7, 0.7, 0.2]))
    assert found.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert dynamics.graded_limit(log_policy, np.array([0.1, 0.2, 0.3, 0.0])).tolist() == [0.0, 0.0, 1.0, 0.0]
