"""Flows to very late times, for the checks: SciPy's integrator on all logits, in the logarithm of time.

No closed path enters. Velocities are sums of differences, dz_i/dt = p_i sum_j p_j (A_i - A_j), so they keep their
digits where 1 - Q, or the share of a correct answer, is far below rounding.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import LSODA, solve_ivp

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

EARLY = -30.0  # log time at which the integration begins: nothing has moved by more than 1e-13
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-10, 1e-12  # of the integrator, per step
LOOSER = (1, 10, 100)
ALIKE = 1e-9  # of advantages, relative: arms so near are alike
Advantage = Callable[[Floats], Floats]  # log-probabilities -> advantages, (num_arms,) each
Distance = Callable[[Floats], float]  # log-probabilities -> how far they are from where they should go


def fixed(advantage: Floats) -> Advantage:
    """An advantage that does not depend on the policy."""
    return lambda log_policy: advantage


def late_flow(log_policy: Floats, advantage_of: Advantage, log_times: ArrayLike) -> Floats:
    """Log-probabilities along the exact softmax flow of an advantage, at increasing logarithms of time.

    Arms that are alike at the start, in probability and advantage, are integrated as one: rounding would part them, and
    the flow widens what is apart. Where the integrator fails, ten times its tolerance is tried. Raises RuntimeError if
    it fails with that too, or if at the end their advantages are apart: then they were not alike.

    Shapes:   log_policy: (num_arms,), log_times: (num_times,). Returns (num_times, num_arms), nats.
    """
    at, rate = np.asarray(log_times, dtype=np.float64), _rate(advantage_of)
    kinds = np.stack([log_policy, advantage_of(log_policy)])
    _, first, kind = np.unique(kinds, axis=1, return_index=True, return_inverse=True)

    def rate_of_kinds(log_time: float, logits: Floats) -> Floats:
        return rate(log_time, logits[kind])[first]

    for looser in LOOSER:
        tolerances = {"rtol": looser * RELATIVE_TOLERANCE, "atol": looser * ABSOLUTE_TOLERANCE}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of LSODA, that it fails: it says so itself
            solution = solve_ivp(
                rate_of_kinds, (EARLY, at[-1]), log_policy[first], t_eval=at, method="LSODA", **tolerances
            )
        if solution.success:
            path = policies.log_softmax(solution.y.T[:, kind])
            advantage = advantage_of(path[-1])
            if not np.allclose(advantage, advantage[first][kind], rtol=ALIKE, atol=ALIKE):
                raise RuntimeError("arms with one probability and advantage at the start have several at the end")
            return path
    raise RuntimeError(f"the integrator stopped before a log time of {at[-1]:g}: {solution.message}")


def until(
    log_policy: Floats, advantage_of: Advantage, latest: float, distance: Distance, within: float = 0.0
) -> tuple[float, Floats]:
    """The log time at which the flow has come within that distance, and the policy at the end of that step.

    Infinite, and the policy at the log time `latest`, if it does not come so far.
    """
    tolerances = {"rtol": RELATIVE_TOLERANCE, "atol": ABSOLUTE_TOLERANCE}
    solver = LSODA(_rate(advantage_of), EARLY, np.array(log_policy), latest, **tolerances)
    log_time, left = EARLY, distance(log_policy) - within
    while solver.status == "running" and left > 0:
        before, was = solver.t, left
        solver.step()
        left = distance(policies.log_softmax(solver.y)) - within
        log_time = before + (solver.t - before) * was / (was - left) if left <= 0 else float("inf")
    if solver.status == "failed":
        raise RuntimeError(f"the integrator stopped at a log time of {solver.t:g}")
    return float(log_time), policies.log_softmax(solver.y)


def _rate(advantage_of: Advantage) -> Callable[[float, Floats], Floats]:
    """The velocity of the logits in the logarithm of time."""

    def rate(log_time: float, logits: Floats) -> Floats:
        now = policies.log_softmax(logits)
        advantage = advantage_of(now)
        pull = ((advantage[:, None] - advantage) * np.exp(now)).sum(axis=1)  # no @: it may round equal rows differently
        return np.asarray(np.exp(now + log_time) * pull)

    return rate


def vanilla_at_logit(problem: Problem, logit: float) -> Floats:
    """The policy of the vanilla flow at a logit of Q, integrated with that logit in the place of time, (num_arms,)."""

    def rate(_: float, logits: Floats) -> Floats:
        now = policies.log_softmax(logits)
        log_mass = [policies.log_partition(now[problem.is_correct == side]) for side in (True, False)]
        speed = np.exp(now) * np.where(problem.is_correct, np.exp(log_mass[1]), -np.exp(log_mass[0]))
        share = np.exp(now - np.where(problem.is_correct, *log_mass))
        return np.asarray(speed / (share @ np.where(problem.is_correct, speed, -speed)))

    start = policies.logit_correctness(problem.base_log_policy, problem.correct)
    tolerances = {"rtol": RELATIVE_TOLERANCE, "atol": ABSOLUTE_TOLERANCE}
    solution = solve_ivp(rate, (start, logit), np.array(problem.base_log_policy), method="DOP853", **tolerances)
    return policies.log_softmax(solution.y[:, -1])
