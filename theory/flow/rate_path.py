"""The path of a success rate whose speed depends on the rate alone, on the scale of log-odds.

Along the softmax flow of a method that sees correctness only, with prompt weight c(Q) (claim B4), d logit Q/dt =
c(Q) Q(1-Q) kappa, where kappa = sum_C (p_i/Q)^2 + sum_W (p_i/(1-Q))^2 says how concentrated the answers are on
either side. Where kappa is the same at all times, time times kappa is the only unknown. Along the natural gradient,
d logit Q/dt = c(Q).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import CubicHermiteSpline
from scipy.special import expit

from sharpening.theory.policies import Floats

Rate = Callable[[Floats], Floats]
FARTHEST = 30.0  # log-odds: a path ends there
CELL = 0.02  # of the table, in log-odds
SLOWEST = 1e-250  # per unit of time: slower is still
NODES, WEIGHTS = np.polynomial.legendre.leggauss(5)


def softmax_speed(prompt_weight: Rate) -> Rate:
    """The speed of log-odds along the softmax flow with kappa 1, as a function of the log-odds.

    Source:   claim B4, ours.
    """
    return lambda log_odds: prompt_weight(expit(log_odds)) * expit(log_odds) * expit(-log_odds)


def natural_speed(prompt_weight: Rate) -> Rate:
    """The speed of log-odds along the natural gradient, as a function of the log-odds.

    Source:   claims B4 and B5.
    """
    return lambda log_odds: prompt_weight(expit(log_odds))


class RatePath:
    """The solution of d logit Q/dt = v(logit Q) from every start: time is the integral of 1/v, a path its inverse.

    >>> path = RatePath(softmax_speed(np.ones_like))
    >>> later, _ = path.after(np.array([0.0]), path.time_between(0.0, 1.5))
    >>> later.round(9), round(path.time_between(0.0, 1.5) - 2 * float(np.sinh(1.5)), 9)
    (array([1.5]), 3.0)
    """

    def __init__(self, speed: Rate) -> None:
        """Tabulates the times between log-odds for a speed v > 0."""
        self.speed: Rate = lambda log_odds: np.maximum(speed(log_odds), SLOWEST)
        half = CELL * np.arange(round(FARTHEST / CELL) + 1)
        edges = np.concatenate([-half[:0:-1], half])
        inside = edges[:-1, None] + CELL * (NODES + 1) / 2
        spent = CELL / 2 * (1 / self.speed(inside) @ WEIGHTS)  # (num_cells,)
        below, above = spent[: len(half) - 1], spent[len(half) - 1 :]
        times = np.concatenate([-np.cumsum(below[::-1])[::-1], [0.0], np.cumsum(above)])  # from log-odds 0: exact there
        moves = np.append(np.diff(times) > 0, True)
        self._time = CubicHermiteSpline(edges, times, 1 / self.speed(edges))
        self._log_odds = CubicHermiteSpline(times[moves], edges[moves], self.speed(edges[moves]))

    def time_between(self, start: float, end: float) -> float:
        """The time that the log-odds take from `start` to `end`."""
        return float(self._time(end) - self._time(start))

    def after(self, start: ArrayLike, time: float) -> tuple[Floats, Floats]:
        """Log-odds a time after the given ones, or before where it is negative, and the speed there.

        Shapes:   start: (...). Returns two of (...).
        """
        since = self._time(np.clip(start, -FARTHEST, FARTHEST)) + time
        there = np.asarray(self._log_odds(np.clip(since, self._log_odds.x[0], self._log_odds.x[-1])))
        return there, self.speed(there)
