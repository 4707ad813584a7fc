"""Flows to very late times: against the closed path, and what is said where the integrator gives up."""

from __future__ import annotations

import types

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from sharpening.theory import policies
from sharpening.theory.claims import late
from sharpening.theory.flow import vanilla_path
from tests.tolerances import INSIDE_A_STEP, INTEGRATOR

WORKED = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])


def test_late_flows_are_the_closed_path():
    log_times = np.log([1.0, 1e4, 1e12, 1e40])
    found = late.late_flow(WORKED.base_log_policy, late.fixed(WORKED.correct), log_times)
    closed = vanilla_path.vanilla_path(WORKED, np.exp(log_times))
    np.testing.assert_allclose(found, closed, rtol=INTEGRATOR, atol=INTEGRATOR)
    logit = policies.logit_correctness(closed[1], WORKED.correct)
    np.testing.assert_allclose(late.vanilla_at_logit(WORKED, logit), closed[1], rtol=INTEGRATOR)


def test_a_flow_is_followed_until_it_is_near():
    """1 - Q is 1e-3 at a time that the closed path confirms; what is never reached has no time."""

    def failure(log_policy):
        return float(np.exp(log_policy[2:]).sum())

    log_time, end = late.until(WORKED.base_log_policy, late.fixed(WORKED.correct), 50.0, failure, 1e-3)
    assert failure(end) <= 1e-3
    there = vanilla_path.vanilla_path(WORKED, [np.exp(log_time)])[0]
    assert failure(there) == pytest.approx(1e-3, rel=INSIDE_A_STEP)
    never, _ = late.until(WORKED.base_log_policy, late.fixed(WORKED.correct), 5.0, failure, 1e-6)
    assert never == np.inf


def test_an_integrator_that_gives_up_is_an_error(monkeypatch):
    failed = types.SimpleNamespace(success=False, message="enough")
    monkeypatch.setattr(late, "solve_ivp", lambda *_, **__: failed)
    with pytest.raises(RuntimeError, match=r"^the integrator stopped before a log time of 7: enough$"):
        late.late_flow(WORKED.base_log_policy, late.fixed(WORKED.correct), [7.0])
    monkeypatch.setattr(late, "LSODA", lambda *_, **__: types.SimpleNamespace(status="failed", t=3.5))
    with pytest.raises(RuntimeError, match=r"^the integrator stopped at a log time of 3\.5$"):
        late.until(WORKED.base_log_policy, late.fixed(WORKED.correct), 7.0, lambda _: 1.0)


def test_a_looser_tolerance_is_tried_where_the_integrator_gives_up(monkeypatch):
    asked = []

    def sometimes(*args, rtol, **options):
        asked.append(rtol)
        if len(asked) == 1:
            return types.SimpleNamespace(success=False, message="enough")
        return solve_ivp(*args, rtol=rtol, **options)

    want = late.late_flow(WORKED.base_log_policy, late.fixed(WORKED.correct), [7.0])
    monkeypatch.setattr(late, "solve_ivp", sometimes)
    found = late.late_flow(WORKED.base_log_policy, late.fixed(WORKED.correct), [7.0])
    assert asked == [late.RELATIVE_TOLERANCE, 10 * late.RELATIVE_TOLERANCE]
    np.testing.assert_allclose(found, want, rtol=INTEGRATOR)


def test_arms_alike_stay_alike_and_those_that_only_seem_so_are_an_error():
    """Two correct answers of one probability at any time; and two whose advantages part as soon as the third moves."""
    log_policy = np.log([0.3, 0.3, 0.4])
    end = late.late_flow(log_policy, late.fixed(np.array([1.0, 1.0, 0.0])), [400.0])[0]
    assert end[0] == end[1]

    def parting(now):
        moved = now[2] - log_policy[2]
        return np.array([1.0, 1.0 + moved, 0.0])

    with pytest.raises(RuntimeError, match="one probability and advantage at the start have several at the end"):
        late.late_flow(log_policy, parting, [2.0])
