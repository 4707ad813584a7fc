"""Where the exact flow of an advantage function ends: candidates by stationarity and stability, then by integration.

The flow can need times of p^-(1 + w/k), k rivals and w wrong answers alike, to bring back an answer that starts at a
share p, so a finite integration alone decides nothing; `recovery` measures that time. Candidates:
the rest points on the edge between the two correct answers, on the edge between the two wrong ones (single answers
included), and one with both, which the natural flow finds, as it has the same rest points and reaches them fast. A
candidate attracts if it is stable along its edge and no absent answer gains there in the limit of probability 0;
where that limit is a tie, as it is for every method of claim B4 at Q = 1, the next order decides, from a small mass
of the others. If several attract, the integration from the start says which.

Requires: two correct and two wrong answers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from scipy.optimize import brentq

from sharpening.theory import policies
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.policies import Floats

NEAR_MASSES = (1e-6, 1e-4, 1e-2, 0.1)  # of the other answers, where the limit is a tie
TIE = 1e-10  # relative: a pull below it is a tie
LONG, LONG_NATURAL = 1e10, 1e5  # times of the softmax and of the natural flow
EVEN = 1e-3  # log-ratio below which two shares count as equal
CLOSE = 0.05  # total variation to the candidate where the integration stopped
NUM_LOG_RATIOS = 60  # of one sign, evenly spaced in size, along an edge; and as many evenly spaced below 6
RARE_SHARES = (1e-2, 1e-3, 1e-4)  # of the correct answers' mass, from which a recovery is timed
RECOVERED = 0.25  # the share at which a rare answer counts as back; the last part of the way is fast
AT_REST = 1e-6  # relative pull of a rest point that the integrator has reached
STEP = 1e-4  # of central differences


@dataclasses.dataclass(frozen=True)
class End:
    """Where a flow ends: the words for it, the policy if it is one, and what speaks for it.

    `kind`: "uniform on C", "one mode", "rarest", "correct", "mixture", "wrong", "still" or "undecided". `furthest` has
    the largest log(p1/p2) on the way, of the two correct answers, and the correctness there.
    """

    kind: str
    words: str
    log_policy: Floats | None = None
    evidence: str = ""
    furthest: tuple[float, float] | None = None


def end_of(flow: ExpectedFlow, log_policy: Floats) -> End:
    """The end of the flow from a start; "undecided" if no candidate or more than one fits.

    Shapes:   log_policy: (num_arms,).
    Source:   claims B3, B6, B7, B8 for the methods they name.
    """
    if _is_still(flow, log_policy):
        return End("still", "where it starts", log_policy, "the expected step is 0")
    time, reached, furthest = _followed(flow, log_policy)
    found = list(candidates(flow, reached if time == LONG else None))
    close = [point for point in found if total_variation(point, reached) < CLOSE]
    where = f"the softmax flow was at p = {shown(reached)} at t = {time:.3g}"
    if len(found) == 1 and not close and _is_still_moving(flow, reached):
        close = found
    if len(close) != 1:
        return End("undecided", "undecided", None, f"{len(found)} candidates attract, {len(close)} fit; {where}")
    end = describe(flow, log_policy, close[0], f"{len(found)} of the candidates attract; {where}")
    return dataclasses.replace(end, furthest=furthest)


def _followed(flow: ExpectedFlow, log_policy: Floats) -> tuple[float, Floats, tuple[float, float]]:
    """The time and the policy that the integration reached, and the largest log(p1/p2) on the way with its Q."""
    first, second = edges(flow)[0]
    furthest = (-np.inf, 0.0)
    last = 0.0, log_policy
    for last in expected_flow.path(flow, log_policy, LONG):
        ratio = float(last[1][first] - last[1][second])
        if ratio > furthest[0]:
            furthest = ratio, policies.correctness(last[1], flow.problem.correct)
    return *last, furthest


def recovery(flow: ExpectedFlow) -> list[tuple[float, float | None]]:
    """Times until a correct answer that starts rare has a quarter of the correct mass, by its share at the start.

    The correctness and the wrong answers are those of the base policy. None where it is not back by `LONG`, the last
    one given. An answer that has outgrown its start comes back so fast then that the integrator may stop there, at a
    time that is the same to a thousandth; where it stops otherwise, that time is left out with all later ones.
    Source:   claim F7: e^-(1 + w/k) up to logarithms, for differential smoothing.
    """
    first, second = edges(flow)[0]
    base, correct = flow.problem.base_log_policy, flow.problem.correct
    wrong = policies.conditional(base, correct, given_correct=False)
    found: list[tuple[float, float | None]] = []
    for share in RARE_SHARES:
        inside = np.log([1 - share, share])
        start = policies.compose(policies.logit_correctness(base, correct), inside, wrong, correct)
        last = 0.0, start
        for last in expected_flow.path(flow, start, LONG):
            if last[1][second] - last[1][first] > np.log(RECOVERED / (1 - RECOVERED)):
                break
        has_grown = last[1][second] - last[1][first] > start[second] - start[first]
        if has_grown or last[0] >= LONG:
            found.append((share, last[0] if has_grown else None))
        if not has_grown:
            break
    return found


def recovery_words(times: list[tuple[float, float | None]]) -> str:
    """The times in words."""
    parts = [f"{share:g}: {f'not by {LONG:g}' if time is None else f't = {time:.2g}'}" for share, time in times]
    parts = parts or [f"{RARE_SHARES[0]:g}: not known"]
    return f"a correct answer that starts with a share of {', '.join(parts)}"


def _is_still(flow: ExpectedFlow, log_policy: Floats) -> bool:
    scale = np.abs(flow.advantages(log_policy)).max()
    return bool(np.abs(flow.rates(log_policy)).max() <= flow.round_off * scale)


def candidates(flow: ExpectedFlow, start: Floats | None) -> Iterator[Floats]:
    """The rest points that attract, as policies; a mixture of correct and wrong answers is sought from the start.

    Without a start it is not sought: where a flow slides along a discontinuity the integrator cannot settle.
    Shapes:   start: (num_arms,). Yields (num_arms,).
    """
    for face in edges(flow):
        for log_ratio in stable_log_ratios(flow, face):
            if is_closed(flow, face, log_ratio):
                yield on_edge(flow, face, log_ratio, flow.depth)
    mixture = None if start is None else mixture_from(flow, start)
    if mixture is not None:
        yield mixture


def edges(flow: ExpectedFlow) -> tuple[tuple[int, int], tuple[int, int]]:
    """The two correct answers and the two wrong ones, as indices."""
    right, wrong = np.flatnonzero(flow.problem.is_correct), np.flatnonzero(~flow.problem.is_correct)
    return (int(right[0]), int(right[1])), (int(wrong[0]), int(wrong[1]))


def on_edge(flow: ExpectedFlow, face: tuple[int, int], log_ratio: float, depth: float) -> Floats:
    """The policy with log(p_i/p_j) = log_ratio on an edge and the others at a log-probability of about -depth.

    Shapes:   returns (num_arms,).
    """
    logits = np.full(flow.problem.correct.size, -depth)
    logits[list(face)] = policies.log_softmax([log_ratio, 0.0])
    return policies.log_softmax(logits)


def stable_log_ratios(flow: ExpectedFlow, face: tuple[int, int]) -> list[float]:
    """The log-ratios at which the flow along an edge comes to rest; plus or minus `corner` for a single answer.

    A jump of the rate from positive to negative, as a rank makes it, is a rest point too.
    """
    sizes = np.unique([*np.geomspace(1e-3, flow.corner, NUM_LOG_RATIOS), *np.linspace(0.05, 6.0, NUM_LOG_RATIOS)])
    log_ratios = np.concatenate([-sizes[::-1], sizes])
    rates = edge_rates(flow, face, log_ratios)
    stable = [-flow.corner] if rates[0] < 0 else []
    for left, right in zip(range(rates.size - 1), range(1, rates.size), strict=True):
        if rates[left] > 0 > rates[right]:
            stable.append(_root(flow, face, log_ratios[left], log_ratios[right]))
    return [*stable, flow.corner] if rates[-1] > 0 else stable


def edge_rates(flow: ExpectedFlow, face: tuple[int, int], log_ratios: Floats) -> Floats:
    """The direction of log(p_i/p_j) along an edge: a_i - a_j without the others, at ties d log(p_i/p_j)/dt near it.

    Shapes:   log_ratios: (num_points,). Returns the same shape; the sign counts, 0 is a tie at every order tried.
    """
    points = np.array([on_edge(flow, face, ratio, flow.depth) for ratio in log_ratios])
    advantages = flow.advantages(points)[:, list(face)]
    gaps = advantages[:, 0] - advantages[:, 1]
    unit = size_of(flow)
    rates = np.where(np.abs(gaps) > _tie(flow) * np.maximum(np.abs(advantages).max(axis=1), unit), gaps, 0.0)
    for mass in NEAR_MASSES:
        tied = np.flatnonzero(rates == 0)  # a capped term ties at some points, a window unties some
        if not tied.size:
            break
        near = np.array([on_edge(flow, face, ratio, -np.log(mass)) for ratio in log_ratios[tied]])
        slower = expected_flow.log_ratio_rate(flow, near, face)
        rates[tied] = np.where(np.abs(slower) > max(TIE * mass, flow.round_off) * unit, slower, 0.0)
    return np.asarray(rates)


def _tie(flow: ExpectedFlow) -> float:
    """The relative pull below which two answers tie: more where the function's numbers are coarse."""
    return max(TIE, flow.round_off)


def size_of(flow: ExpectedFlow) -> float:
    """The largest mean advantage at the base policy: the unit that ties are measured in.

    At a rest point the mean advantages themselves may vanish, as under a group baseline with a noisy verifier.
    """
    return float(np.abs(flow.advantages(flow.problem.base_log_policy)).max())


def _root(flow: ExpectedFlow, face: tuple[int, int], low: float, high: float) -> float:
    def rate(log_ratio: float) -> float:
        return float(edge_rates(flow, face, np.array([log_ratio]))[0])

    return float(brentq(rate, low, high, xtol=1e-12))


def is_closed(flow: ExpectedFlow, face: tuple[int, int], log_ratio: float) -> bool:
    """Whether every answer that is not on the edge loses there, in the limit or, at a tie, next to it."""
    absent = [arm for arm in range(flow.problem.correct.size) if arm not in face]
    unit = size_of(flow)
    for depth in (flow.depth, *(-float(np.log(mass)) for mass in NEAR_MASSES)):
        point = on_edge(flow, face, log_ratio, depth)
        pulls = flow.pulls(point)
        scale = max(unit, float(np.abs(flow.advantages(point)[list(face)]).max()))
        if np.abs(pulls[absent]).max() > _tie(flow) * scale:
            return bool((pulls[absent] < _tie(flow) * scale).all())
    return False


def mixture_from(flow: ExpectedFlow, start: Floats) -> Floats | None:
    """The rest point with correct and wrong answers that the natural flow reaches from a start, if it is stable.

    Shapes:   (num_arms,). Returns the same shape, or None.
    """
    _, point = expected_flow.follow(flow, start, LONG_NATURAL, "natural")
    is_right = flow.problem.is_correct
    if min(point[is_right].max(), point[~is_right].max()) < -flow.corner:
        return None
    pulls = np.abs(flow.pulls(point)[point > -flow.corner])
    is_at_rest = pulls.max() <= max(AT_REST, 10 * flow.round_off) * max(
        size_of(flow), float(np.abs(flow.advantages(point)).max())
    )
    return point if is_at_rest and _is_attracting(flow, point) else None


def _is_attracting(flow: ExpectedFlow, point: Floats) -> bool:
    """Whether the rest point attracts under the softmax and the natural flow.

    With B the derivative of the pulls and D = diag(p) the softmax flow has the derivative D B. If the symmetric part
    of sqrt(D) B / sqrt(D) is negative off the direction sqrt(p), which shifts all logits, both attract (Lyapunov).
    """
    present = np.flatnonzero(point > -flow.corner)
    if (flow.pulls(point)[point <= -flow.corner] >= 0).any():
        return False
    derivative = np.empty((present.size, present.size))
    for column, arm in enumerate(present):
        shift = STEP * np.eye(point.size)[arm]
        rise, fall = (flow.pulls(policies.log_softmax(point + sign * shift)) for sign in (1, -1))
        derivative[:, column] = (rise - fall)[present] / (2 * STEP)
    root = np.exp(point[present] / 2)
    scaled = root[:, None] * derivative / root
    size = np.abs(scaled).max()
    off = np.eye(present.size) - np.outer(root, root)
    symmetric = off @ (scaled + scaled.T) @ off / 2 - size * np.outer(root, root)
    return bool(np.linalg.eigvalsh(symmetric).max() < -EVEN * STEP * size)


def _is_still_moving(flow: ExpectedFlow, reached: Floats) -> bool:
    """Whether the integration stopped short of a rest point, so that it does not speak against a candidate."""
    return bool(np.abs(flow.pulls(reached)).max() > _tie(flow) * np.abs(flow.advantages(reached)).max())


def total_variation(log_policy: Floats, other: Floats) -> float:
    """The total variation between two policies."""
    return float(np.abs(np.exp(log_policy) - np.exp(other)).sum() / 2)


def describe(flow: ExpectedFlow, start: Floats, point: Floats, evidence: str) -> End:
    """The words for a rest point: what it holds, and which answer of the start or of the base policy it is."""
    correct, is_right = flow.problem.correct, flow.problem.is_correct
    inside, outside = float(point[is_right].max()), float(point[~is_right].max())
    if min(inside, outside) > -flow.corner:
        mass = policies.correctness(point, correct)
        failure = small(policies.log_partition(point[~is_right]))
        words = f"on a mixture with wrong answers (Q = {mass:.6g}, 1 - Q = {failure})"
        return End("mixture", words, point, evidence)
    if outside > inside:
        return End("wrong", f"on wrong answers, p = {shown(point)}", point, evidence)
    right = np.flatnonzero(is_right)
    shares = policies.log_softmax(point[right])
    if np.ptp(shares) < EVEN:
        return End("uniform on C", "uniform on C", point, evidence)
    winner = right[shares.argmax()]
    if shares.max() < -EVEN:
        return End("correct", f"on the correct answers with shares {shown(shares)}", point, evidence)
    if winner == right[start[right].argmax()]:
        return End("one mode", "on one mode, the correct answer likeliest at the start", point, evidence)
    if winner == right[flow.problem.base_log_policy[right].argmin()]:
        return End("rarest", "on the rarest correct answer of the base policy", point, evidence)
    return End("correct", f"on one correct answer, p = {shown(point)}", point, evidence)


def small(log_value: float) -> str:
    """The exponential of a logarithm with four digits, also where a float cannot hold it.

    >>> small(-2000.0)
    '2.573e-869'
    """
    power = int(np.floor(log_value / np.log(10)))
    return f"{np.exp(log_value):.4g}" if power > -300 else f"{10 ** (log_value / np.log(10) - power):.4g}e{power}"


def shown(log_policy: Floats) -> str:
    """The probabilities with three digits, for a line of text."""
    return "(" + ", ".join(f"{value:.3g}" for value in np.exp(log_policy)) + ")"


def largest_noise(flow: ExpectedFlow, end: End, *, is_false_positive: bool, accuracy: float = 1e-4) -> float:
    """The largest false positive (or false negative) rate, the other being 0, at which an end still attracts.

    By bisection, for an end on an edge.
    Source:   claim E4 for differential smoothing: gamma_incorrect/(gamma_correct + gamma_incorrect) and
              gamma_correct/(gamma_correct + gamma_incorrect).
    """

    def holds(rate: float) -> bool:
        positive, negative = (rate, 0.0) if is_false_positive else (0.0, rate)
        return attracts(dataclasses.replace(flow, false_positive_rate=positive, false_negative_rate=negative), end)

    low, high = 0.0, 1 - accuracy
    if holds(high):
        return 1.0
    while high - low > accuracy:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def attracts(flow: ExpectedFlow, end: End) -> bool:
    """Whether an end on an edge attracts under another flow of the same problem."""
    if end.log_policy is None or end.kind in ("mixture", "still", "undecided"):
        raise ValueError(f"end is {end.kind!r}: it must lie on the edge of the correct or of the wrong answers")
    face = edges(flow)[1 if end.kind == "wrong" else 0]
    log_ratio = float(end.log_policy[face[0]] - end.log_policy[face[1]])
    beside = (
        np.array([log_ratio - EVEN, log_ratio + EVEN]) if abs(log_ratio) < flow.corner / 2 else np.array([log_ratio])
    )
    rates = edge_rates(flow, face, beside)
    is_stable = rates[0] > 0 > rates[1] if rates.size == 2 else rates[0] * log_ratio > 0
    return bool(is_stable) and is_closed(flow, face, log_ratio)


def end_of_more(flow: ExpectedFlow, time: float = LONG) -> End:
    """The end from the base policy of a problem with more answers, where a long integration comes near one.

    Without candidates it decides less than `end_of`: the state must be within `CLOSE` of a policy that can be named.
    """
    start, is_right = flow.problem.base_log_policy, flow.problem.is_correct
    if _is_still(flow, start):
        return End("still", "where it starts", start, "the expected step is 0")
    reached_time, reached = expected_flow.follow(flow, start, time)
    where = f"p = {shown(reached)} at t = {reached_time:.3g}"
    mixture = mixture_from(flow, reached) if reached_time == time else None
    if mixture is not None:
        return describe(flow, start, mixture, where)
    named = [np.where(is_right, -np.log(is_right.sum()), -flow.depth)]
    named += [np.where(np.arange(reached.size) == arm, 0.0, -flow.depth) for arm in range(reached.size)]
    close = [point for point in named if total_variation(point, reached) < CLOSE]
    if reached_time < time or not close:
        return End("undecided", "undecided", None, where)
    return describe(flow, start, close[0], where)
