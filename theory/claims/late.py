"""Flows to very late times, for the checks: SciPy's integrator on all logits, in the logarithm of time.

No closed path enters. Velocities are sums of differences, dz_i/dt = p_i sum_j p_j (A_i - A_j), so they keep their
digits where 1 - Q, or the share of a correct answer, is far below rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

EARLY = -30.0  # log time at which the integration begins: nothing has moved by more than 1e-13
RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE = 1e-10, 1e-12  # of the integrator, per step
Advantage = Callable[[Floats], Floats]  # log-probabilities -> advantages, (num_arms,) each
Distance = Callable[[Floats], float]  # log-probabilities -> how far they are from where they should go


def _never(log_policy: Floats) -> float:
    """The distance of a policy that goes nowhere in particular."""
    return 1.0


def late_flow(log_policy: Floats, advantage_of: Advantage, log_times: ArrayLike, distance: Distance = _never) -> Floats:
    """Log-probabilities along the exact softmax flow of an advantage, at increasing logarithms of time.

    With a `distance` of a policy from where it should go, only the first policy at which it is 0 or less, or the last.
    Shapes:   log_policy: (num_arms,), log_times: (num_times,). Returns (num_times, num_arms), nats.
    """
    return _followed(log_policy, advantage_of, np.asarray(log_times, dtype=np.float64), distance)[1]


def log_time_until(log_policy: Floats, advantage_of: Advantage, latest: float, distance: Distance) -> float:
    """The logarithm of the time at which the distance has come down to 0; infinite if not by `latest`."""
    return _followed(log_policy, advantage_of, np.array([latest]), distance)[0]


def _followed(
    log_policy: Floats, advantage_of: Advantage, log_times: Floats, distance: Distance
) -> tuple[float, Floats]:
    """The log time at which the distance was 0, infinite if it never was, and the policies."""

    def rate(log_time: float, logits: Floats) -> Floats:
        now = policies.log_softmax(logits)
        advantage = advantage_of(now)
        pull = (advantage[:, None] - advantage) @ np.exp(now)
        return np.asarray(np.exp(now + log_time) * pull)

    def there(_: float, logits: Floats) -> float:
        return distance(policies.log_softmax(logits))

    there.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(
        *(rate, (EARLY, log_times[-1]), np.array(log_policy)),
        **{"t_eval": log_times, "method": "LSODA", "events": there},
        **{"rtol": RELATIVE_TOLERANCE, "atol": ABSOLUTE_TOLERANCE},
    )
    if not solution.success:
        raise RuntimeError(f"the integrator stopped before a log time of {log_times[-1]:g}: {solution.message}")
    if len(solution.t_events[0]):
        return float(solution.t_events[0][-1]), policies.log_softmax(solution.y_events[0][-1:])
    return float("inf"), policies.log_softmax(solution.y.T if distance is _never else solution.y.T[-1:])


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
