"""The closed path of the vanilla softmax flow, by the scalar reduction of claim B2.

Along dz_i/dt = c(Q) p_i (r_i - Q) the differences of exp(-z) are constant inside C and inside W, and the sum of z is
constant. So one number fixes the whole policy: the rise of the logit of the most likely correct answer. For a given
rise the logits on C are explicit, those on W follow from one root, and time is an integral over the rise. Every
method whose expected step is c(Q) p_i (r_i - Q) (claim B4) follows the same path at its own speed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import elementwise
from scipy.special import logsumexp

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

PromptWeight = Callable[[Floats], Floats]  # correctness -> c(Q) > 0, elementwise
CELL = 0.25  # width in rise of one quadrature cell; the integrand is analytic within pi of the real line
STEEPEST = 1.0  # nats by which the pace, time per rise, may change inside a cell
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)
TO_POLYNOMIAL = np.linalg.inv(np.polynomial.legendre.legvander(NODES, NODES.size - 1)).T
CELLS_PER_CHUNK = 32
TINY = 1e-290  # share of a cell: the lower end of the bracket inside it, above 0
LOG_STILL = -600.0  # log share of the first cell: a smaller rise moves no float and counts as 0
MAX_RISE = 3000.0  # logits: beyond any time a float can hold


def inverse_growth(gap: Any, remaining: Any) -> Any:
    """exp(z_i(0) - z_i) of a correct answer when that of the most likely correct one is `remaining`.

    gap = 1 - p_i(0) / p_top(0). The reciprocal weights of all correct answers fall by the same amount.
    Shapes:   equal shapes or scalars. Returns the same shape, in (0, 1].
    Source:   claim B2, ours.
    """
    return gap + (1 - gap) * remaining


def logits_at_rise(problem: Problem, rise: ArrayLike) -> Floats:
    """Logits on the vanilla path when the logit of the most likely correct answer has risen by `rise` >= 0.

    Shapes:   rise: (num_points,). Returns (num_points, num_arms); at rise 0 the base log-probabilities.
    Source:   claim B2, ours.
    """
    rises = np.atleast_1d(np.asarray(rise, dtype=np.float64))
    right = problem.base_log_policy[problem.is_correct]  # (num_correct,)
    wrong = problem.base_log_policy[~problem.is_correct]  # (num_wrong,)
    gap = -np.expm1(right - right.max())
    behind = -np.log(inverse_growth(np.where(gap > 0, gap, 1.0), np.exp(-rises)[:, None]))
    gain = np.where(gap > 0, behind, rises[:, None])  # (num_points, num_correct); exact for ties at any rise
    loss = _losses(wrong, gain.sum(axis=1))  # (num_points, num_wrong)
    logits = np.empty((rises.size, problem.correct.size))
    logits[:, problem.is_correct] = right + gain
    logits[:, ~problem.is_correct] = wrong - loss
    return logits


def _losses(wrong: Floats, total: Floats) -> Floats:
    """Falls of the wrong logits that add up to `total`, (num_points, num_wrong): one root per point."""
    if wrong.size == 1:
        return total[:, None]
    moves = total > 0
    share = np.where(moves, total, 1.0) / wrong.size
    middle = share + np.log(-np.expm1(-share))  # log(expm1(share)): the root if all wrong answers were tied

    def excess(log_shift: Floats, target: Floats) -> Floats:
        falls = np.logaddexp(0.0, log_shift[..., None] + wrong)
        return np.asarray(np.log(falls.sum(axis=-1)) - np.log(target))

    bracket = (middle - wrong.max() - 1e-6, middle - wrong.min() + 1e-6)
    root = elementwise.find_root(excess, bracket, args=(share * wrong.size,))
    _require_found(root.success)
    return np.where(moves[:, None], np.logaddexp(0.0, root.x[:, None] + wrong), 0.0)


def log_policy_at_rise(problem: Problem, rise: ArrayLike) -> Floats:
    """Policies on the vanilla path at the given rises of the top correct logit.

    Shapes:   rise: (num_points,). Returns (num_points, num_arms), log-probabilities in nats.
    Source:   claim B2, ours.
    """
    return policies.log_softmax(logits_at_rise(problem, rise))


def vanilla_path(problem: Problem, times: ArrayLike, prompt_weight: PromptWeight | None = None) -> Floats:
    """Policies along the exact vanilla flow, or along that of any method of claim B4 given its c(Q).

    Shapes:   times: (num_times,), >= 0, any order. Returns (num_times, num_arms), log-probabilities in nats.
    Units:    time in steps times the learning rate.
    Source:   claims B2, B4 and E2, ours.
    Raises:   ValueError naming the first time that is negative or not finite.

    >>> problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    >>> path = np.exp(vanilla_path(problem, [0, 10, 1e4]))
    >>> [round(float(p[0] / p[1]), 2) for p in path]
    [3.0, 10.79, 1618.6]
    """
    at = np.atleast_1d(np.asarray(times, dtype=np.float64))
    policies.refuse(at, ~(np.isfinite(at) & (at >= 0)), "times", "finite and at least 0")
    return log_policy_at_rise(problem, rises_at(problem, at, prompt_weight))


def rises_at(problem: Problem, times: Floats, prompt_weight: PromptWeight | None = None) -> Floats:
    """The rise of the top correct logit at each time: quadrature over cells, then one root inside a cell.

    Shapes:   (num_times,) -> (num_times,).
    """
    log_times = np.log(np.where(times > 0, times, 1.0))
    edges, log_elapsed, log_pace = np.zeros(1), np.full(1, -np.inf), np.empty((0, NODES.size))
    while log_elapsed[-1] < log_times.max() and edges[-1] < MAX_RISE:
        width, log_cells, log_paces = _chunk(problem, edges[-1], MAX_RISE, prompt_weight)
        log_elapsed = np.append(log_elapsed, np.logaddexp.accumulate(np.append(log_elapsed[-1], log_cells))[1:])
        edges = np.append(edges, edges[-1] + width * np.arange(1, CELLS_PER_CHUNK + 1))
        log_pace = np.append(log_pace, log_paces, axis=0)
    moves = (times > 0) & (log_times - log_elapsed[1] > LOG_STILL)
    cell = np.clip(np.searchsorted(log_elapsed, log_times, side="right") - 1, 0, edges.size - 2)
    span = np.diff(edges)[cell]  # (num_times,)

    def lateness(share: Floats, index: Floats) -> Floats:
        time = index.astype(int)
        inside = share[:, None] * (NODES + 1) - 1  # nodes of a part of the cell, in the cell's [-1, 1]
        pace = np.polynomial.legendre.legval(inside, polynomial[:, time, None], tensor=False)
        log_part = np.log(share * span[time] / 2) + logsumexp(np.log(WEIGHTS) + pace, axis=1)
        return np.asarray(np.logaddexp(log_elapsed[cell[time]], log_part) - log_times[time])

    with np.errstate(invalid="ignore"):  # an infinite pace leads to no root
        polynomial = (log_pace[cell] @ TO_POLYNOMIAL).T  # (num_nodes, num_times): the log pace inside the cell
        bracket = (np.full_like(times, TINY), np.full_like(times, 1.0 + 1e-9))
        root = elementwise.find_root(lateness, bracket, args=(np.arange(times.size, dtype=np.float64),))
    _require_found(root.success | ~moves)
    return np.where(moves, edges[cell] + root.x * span, 0.0)


def time_at(problem: Problem, rise: float, prompt_weight: PromptWeight | None = None) -> float:
    """The time at which the top correct logit has risen by `rise`; inf where no float holds it.

    Source:   claim B2, ours.

    >>> problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    >>> time_at(problem, float(rises_at(problem, np.array([10.0]))[0]))
    10.0
    """
    at, log_time = 0.0, -np.inf
    while at < rise:
        width, log_cells, _ = _chunk(problem, at, rise, prompt_weight)
        at, log_time = at + width * CELLS_PER_CHUNK, float(logsumexp(np.append(log_cells, log_time)))
    with np.errstate(over="ignore"):
        return float(np.exp(log_time))


def _chunk(
    problem: Problem, start: float, end: float, prompt_weight: PromptWeight | None
) -> tuple[float, Floats, Floats]:
    """The next cells, at most up to `end`: their width, log times and log paces.

    While the top correct logit rises by 1 the likeliest wrong one falls by the ratio of its share of W to the top's
    share of C, which only shrinks; cells are narrow enough for that fall, and for the prompt weight.
    """
    log_policy = log_policy_at_rise(problem, start)[0]
    top_wrong, top_correct = (
        policies.conditional(log_policy, problem.correct, given_correct=side).max() for side in (False, True)
    )
    steps = np.arange(CELLS_PER_CHUNK, dtype=np.float64)
    width = min(CELL, CELL * float(np.exp(top_correct - top_wrong)), (end - start) / CELLS_PER_CHUNK)
    log_cells, log_paces = _log_time(problem, start + width * steps, width, prompt_weight)
    change = float(np.ptp(log_paces[np.isfinite(log_cells)], axis=1).max(initial=0.0))
    if change > STEEPEST:
        width *= STEEPEST / change
        log_cells, log_paces = _log_time(problem, start + width * steps, width, prompt_weight)
    return width, log_cells, log_paces


def _require_found(is_found: NDArray[np.bool_]) -> None:
    if not is_found.all():
        raise ArithmeticError("no root in its bracket: the vanilla path is not computable for this problem and time")


def _log_time(
    problem: Problem, starts: Floats, widths: float, prompt_weight: PromptWeight | None
) -> tuple[Floats, Floats]:
    """Log of the time that the rises starts..starts + widths take: the integral of the pace 1 / (c(Q) p_top (1 - Q)).

    Shapes:   starts: (num_cells,). Returns (num_cells,), and the log pace at the nodes, (num_cells, num_nodes).
    """
    half = widths / 2
    nodes = starts[:, None] + half * (NODES + 1)  # (num_cells, num_nodes)
    log_policy = log_policy_at_rise(problem, nodes.ravel())
    log_top = log_policy[:, int(np.where(problem.is_correct, problem.base_log_policy, -np.inf).argmax())]
    log_speed = log_top + logsumexp(log_policy[:, ~problem.is_correct], axis=1)
    if prompt_weight is not None:
        correctness = np.exp(logsumexp(log_policy[:, problem.is_correct], axis=1))
        with np.errstate(divide="ignore"):  # a weight of 0 stops the path
            log_speed = log_speed + np.log(prompt_weight(correctness))
    log_pace = -log_speed.reshape(nodes.shape)
    return np.asarray(np.log(half) + logsumexp(np.log(WEIGHTS) + log_pace, axis=1)), log_pace
