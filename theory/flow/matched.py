"""Comparison at matched correctness: on one prompt Q alone fixes the policy of a correctness-only method.

All methods of claim B4 follow the path of `theory.flow.vanilla_path`, each at its own speed, so a comparison at
equal steps shows speed and a comparison at equal Q shows nothing. Near Q = 1 the path is a power law, whose
exponents are here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import brentq

from sharpening.theory import policies
from sharpening.theory.flow import vanilla_path
from sharpening.theory.policies import Floats, Problem


def log_policy_at_logit(problem: Problem, logit: float) -> Floats:
    """The policy of every correctness-only method at the moment its correctness has the given logit.

    Shapes:   returns (num_arms,), log-probabilities in nats.
    Requires: logit at least that of the base policy.      Raises ValueError otherwise.
    Source:   claim E2, ours.

    >>> problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    >>> np.exp(log_policy_at_logit(problem, 2.0)).round(3).tolist()
    [0.807, 0.074, 0.068, 0.052]
    """
    start = policies.logit_correctness(problem.base_log_policy, problem.correct)
    if not logit >= start:
        raise ValueError(f"logit is {logit!r}: the path starts at {start!r} and rises")

    def lateness(rise: float) -> float:
        log_policy = vanilla_path.log_policy_at_rise(problem, rise)[0]
        return policies.logit_correctness(log_policy, problem.correct) - logit

    high = 1.0
    while lateness(high) < 0:
        high *= 2.0
    rise = 0.0 if logit == start else float(brentq(lateness, 0.0, high, xtol=1e-14, rtol=1e-14))
    return np.asarray(vanilla_path.log_policy_at_rise(problem, rise)[0])


def collapse_exponent(num_top: Any, num_wrong: Any) -> Any:
    """The a of p_j/p_top ~ (1-Q)^a as Q -> 1, j a correct answer outside the num_top tied most likely ones.

    Source:   claim E2, ours.
    """
    return num_wrong / (num_wrong + num_top)


def late_failure(time: Any, num_top: Any, num_wrong: Any, weight_scale: Any, weight_order: Any = 0) -> Any:
    """1 - Q at late times for a method whose prompt weight is weight_scale (1-Q)^weight_order near Q = 1.

    weight_order 0 and weight_scale c_G(1) for most methods; k - 1 and k for PKPO, whose 1 - Q falls as
    t^(-1/k).
    Shapes:   scalars or equal shapes; time in steps times the learning rate, large.
    Source:   claim E2, ours.
    """
    power = weight_order + 1
    return (num_top * num_wrong / ((num_top + num_wrong) * power * weight_scale * time)) ** (1 / power)
