"""Which way an advantage function moves a policy: direction inside C, where it turns, correctness, and claim B4.

Everything is read off the exact expected step (`theory/groups/expected_flow.py`) on a problem with two correct answers,
the first the likelier at the shown policy. A rate below the flow's round-off times the largest advantage counts as 0.
What is said along Q, or of all policies, is said of the policies probed. Between them sign changes are hunted: at local
minima of a rate, and inside windows of one answer's probability in which an advantage jumps or dips.

Left out: what happens in the long run, which is `theory/diagnosis/ends.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.ndimage import median_filter
from scipy.optimize import brentq, minimize_scalar
from scipy.special import expit

from sharpening.theory import policies
from sharpening.theory.diagnosis import thresholds
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import table, terms
from sharpening.theory.policies import Floats

SAME = 1e-9  # relative: advantages that differ by less are equal
FARTHEST_LOGIT = 20.0  # of correctness, where turning points are searched
MOST_LOGITS, FEW_LOGITS, LEAST_LOGITS = 801, 201, 25
MOST_ROWS = 150_000  # groups of all policies of one search, about
MANY_GROUPS = 2_000  # of one policy: a search looks at few policies then
MOST_TURNS = 40  # of one line, each found by bisection
JUMP, WIDE, MOST_WINDOWS = 30.0, 101, 12  # times the median change over so many probabilities; windows looked into
NUM_DRAWN = 24  # random policies beside the base policy
SINGLE = (
    0.99,
    0.01,
    0.97,
    0.9,
    0.5,
    0.1,
    0.001,
    0.999,
)  # probabilities of one answer, which random policies seldom have
DEPTHS = (20.0, 60.0, 200.0, 600.0, 2000.0)  # nats below 0 at which a single answer may lie
LENGTHS = (3.0, 11.0, 7.0, 2.0)  # numbers of tokens of the four answers
FINE = 2_000  # probabilities, and as many log-probabilities, at which an advantage is looked at for windows
NUM_STRETCHES, STRETCH, LEAST_SHARE = 20, 201, 0.001  # probabilities among which each peak is the farthest out
REFINED = 40  # policies on the way to a counterexample, each round
TOP_SHARES = (0.55, 0.9, 0.99, 0.999)  # of the likelier correct answer, beside the shown policy's
SCALES = np.concatenate([[0.0], np.logspace(-3.0, 4.0, 57)])  # of the strengths, where a turning strength is searched
WEIGHT_GRID = (0.001, 0.01, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 0.999)


@dataclasses.dataclass(frozen=True)
class Onset:
    """At which correctness the direction inside C turns, for one share of the likelier correct answer.

    `sign` is the direction at the smallest correctness: 1 sharpens, -1 smooths, 0 leaves the shares alone. It changes
    at every entry of `turns`, in rising order. `num_policies` were probed.
    """

    top_share: float
    sign: int
    turns: tuple[float, ...]
    num_policies: int = 0

    @property
    def last_sign(self) -> int:
        """The direction at the largest correctness."""
        return -self.sign if len(self.turns) % 2 else self.sign


def sharpening_rate(flow: ExpectedFlow, log_policy: Floats) -> Floats:
    """The rate d log(p_i/p_j)/dt of the two correct answers, i listed before j; 0 within round-off.

    Shapes:   log_policy: (..., num_arms). Returns (...).
    """
    first, second = np.flatnonzero(flow.problem.is_correct)[:2]
    rates, sizes = flow.rates_and_sizes(log_policy)
    return _above_round_off(flow, rates[..., first] - rates[..., second], sizes)


def correctness_rate(flow: ExpectedFlow, log_policy: Floats) -> Floats:
    """The rate d logit Q/dt; 0 within round-off.

    Shapes:   log_policy: (..., num_arms). Returns (...).
    """
    rates, sizes = flow.rates_and_sizes(log_policy)
    return _above_round_off(flow, expected_flow.correctness_of(rates, log_policy, flow.problem.is_correct), sizes)


def _above_round_off(flow: ExpectedFlow, rate: Floats, size: Floats) -> Floats:
    """The rate, 0 within round-off of the largest advantage; NaN stays NaN."""
    return np.where(np.abs(rate) <= flow.round_off * size, 0.0, rate)


def with_shares(flow: ExpectedFlow, logit: float, top_share: float, top_wrong_share: float | None = None) -> Floats:
    """The policy with the given odds of correctness and share of the first correct answer among the two.

    Shapes:   returns (num_arms,). The wrong answers keep the base policy's shares unless the first of two has one.
    """
    inside = np.log([top_share, 1 - top_share])
    outside = policies.conditional(flow.problem.base_log_policy, flow.problem.correct, given_correct=False)
    if top_wrong_share is not None:
        outside = np.log([top_wrong_share, 1 - top_wrong_share])
    return policies.compose(logit, inside, outside, flow.problem.correct)


def top_share(flow: ExpectedFlow) -> float:
    """The base policy's share of the first correct answer among the correct ones."""
    inside = policies.conditional(flow.problem.base_log_policy, flow.problem.correct, given_correct=True)
    return float(np.exp(inside[0]))


def onsets(flow: ExpectedFlow, shares: tuple[float, ...], most: int = MOST_LOGITS) -> list[Onset]:
    """At which correctness the direction inside C turns, for each share of the likelier correct answer.

    At most so many odds of correctness are probed, evenly spaced, and a few more inside windows.
    Requires: two correct answers.
    Source:   claim E3 for differential smoothing, where there is at most one.
    """
    found = windows(flow) if shares else np.array([])
    return [_onset(flow, share, _logits(flow, share, found, most)) for share in shares]


def _logits(flow: ExpectedFlow, share: float, found: Floats, most: int) -> Floats:
    """Where the line of a share is probed: an even grid, and where an answer's probability lies in a window."""
    number = int(np.clip(MOST_ROWS // flow.num_groups, LEAST_LOGITS, most))
    wrong = np.exp(policies.conditional(flow.problem.base_log_policy, flow.problem.correct, given_correct=False))
    masses = np.concatenate([found / share, found / (1 - share), *(1 - found / part for part in wrong)])
    masses = masses[(masses > 0) & (masses < 1)]
    inside = np.log(masses) - np.log1p(-masses)
    even = np.linspace(-FARTHEST_LOGIT, FARTHEST_LOGIT, number)
    return np.unique(np.concatenate([even, inside[np.abs(inside) < FARTHEST_LOGIT]]))


def _onset(flow: ExpectedFlow, share: float, logits: Floats) -> Onset:
    rates = sharpening_rate(flow, _line(flow, logits, share))
    if not np.isfinite(rates).any():
        raise ValueError("no rate is finite along Q")
    known = np.flatnonzero(np.isfinite(rates) & (rates != 0))
    if not known.size:
        return Onset(share, 0, (), len(logits))
    places, signs = logits[known], np.sign(rates[known])
    hunted = _hunted(flow, share, places, rates[known])
    if hunted:
        places, signs = np.concatenate([places, hunted]), np.concatenate([signs, _signs_at(flow, share, hunted)])
        order = np.argsort(places)
        places, signs = places[order], signs[order]
    changes = np.flatnonzero(signs[:-1] != signs[1:])
    if changes.size > MOST_TURNS:
        raise ValueError(f"the direction turns {changes.size} times along Q: want at most {MOST_TURNS}")
    turns = [_turn(flow, share, places[at], places[at + 1]) for at in changes]
    return Onset(share, int(signs[0]), tuple(turns), len(logits) + len(hunted))


def _line(flow: ExpectedFlow, logits: Floats, share: float) -> Floats:
    """Policies of the given odds of correctness and one share, (num_logits, num_arms)."""
    unit = with_shares(flow, 0.0, share)
    shift = np.where(flow.problem.is_correct, logits[:, None], 0.0)
    return policies.log_softmax(unit + shift)


def _signs_at(flow: ExpectedFlow, share: float, logits: list[float]) -> list[float]:
    return [float(np.sign(_rate_at(flow, logit, share))) for logit in logits]


def _hunted(flow: ExpectedFlow, share: float, logits: Floats, rates: Floats) -> list[float]:
    """Logits between neighbours of one sign at which the rate has the other: looked for where its size is least."""
    size, sign = np.abs(rates), np.sign(rates)
    low = (size[1:-1] < size[:-2]) & (size[1:-1] <= size[2:]) & (sign[1:-1] == sign[:-2]) & (sign[1:-1] == sign[2:])
    found = []
    for at in np.flatnonzero(low)[:MOST_TURNS] + 1:
        best = minimize_scalar(
            lambda logit, sign=sign[at]: sign * _rate_at(flow, float(logit), share),
            bounds=(logits[at - 1], logits[at + 1]),
            method="bounded",
            options={"maxiter": 15},
        )
        if best.fun < 0:
            found.append(float(best.x))
    return found


def _turn(flow: ExpectedFlow, share: float, low: float, high: float) -> float:
    return float(expit(brentq(lambda logit: _rate_at(flow, logit, share), low, high, xtol=1e-12)))


def _rate_at(flow: ExpectedFlow, logit: float, share: float) -> float:
    return float(sharpening_rate(flow, with_shares(flow, logit, share)))


def windows(flow: ExpectedFlow) -> Floats:
    """Probabilities of one answer inside windows in which an advantage of its group jumps or dips.

    One answer of a group moves from probability 1 to e^-2000, finely, and what changes much faster than nearby is an
    edge; the middles between neighbouring edges are given, the narrowest first.

    Shapes:   returns (num_windows,), at most `MOST_WINDOWS`.
    """
    log_probs = thresholds.probabilities(FINE)
    found: list[tuple[float, float]] = []
    for is_correct in (True, False):
        inputs = thresholds.one_moving(flow.group_size, log_probs, is_correct=is_correct)
        values = np.asarray(expected_flow.call(flow.function, inputs, flow.parameters), dtype=np.float64)
        expected_flow.require_shape(values, inputs["answer"])
        with np.errstate(all="ignore"):
            change = np.abs(np.diff(values, axis=0)).max(axis=1) / np.diff(log_probs)
            floor = SAME * np.abs(values).max() / np.diff(log_probs)
            change = np.where(np.isfinite(change), change, 0.0)
            edges = np.flatnonzero((change > JUMP * median_filter(change, WIDE)) & (change > floor))
        middles = [(log_probs[left + 1] + log_probs[right]) / 2 for left, right in itertools.pairwise(edges)]
        widths = [log_probs[right] - log_probs[left + 1] for left, right in itertools.pairwise(edges)]
        found += [(width, float(np.exp(middle))) for width, middle in zip(widths, middles, strict=True) if middle > -40]
    return np.array([middle for _, middle in sorted(found)[:MOST_WINDOWS]])


def peaks(flow: ExpectedFlow) -> Floats:
    """Probabilities of one answer at which an advantage of its group stands out most, one a stretch.

    A smooth bump has no edge that `windows` would see: what counts is the distance from the median over a stretch.

    Shapes:   returns (2 * NUM_STRETCHES,), correct answers first.
    """
    shares = np.linspace(LEAST_SHARE, 1 - LEAST_SHARE, NUM_STRETCHES * STRETCH)
    found = []
    for is_correct in (True, False):
        inputs = thresholds.one_moving(flow.group_size, np.log(shares), is_correct=is_correct)
        values = np.asarray(expected_flow.call(flow.function, inputs, flow.parameters), dtype=np.float64)
        with np.errstate(all="ignore"):
            apart = np.abs(values - median_filter(values, (STRETCH, 1))).max(axis=1).reshape(NUM_STRETCHES, STRETCH)
        places = np.argmax(np.where(np.isfinite(apart), apart, 0.0), axis=1)
        found.append(shares.reshape(NUM_STRETCHES, STRETCH)[np.arange(NUM_STRETCHES), places])
    return np.concatenate(found)


def turning_scale(flow_at: Callable[[float], ExpectedFlow], log_policy: Floats) -> float | None:
    """The smallest multiple of the strengths at which the direction inside C turns at one policy; None up to 1e4.

    `flow_at` gives the flow at a multiple of the strengths.
    Source:   claim E3 for differential smoothing.
    """

    def rate(scale: float) -> float:
        return float(sharpening_rate(flow_at(scale), log_policy))

    rates = [rate(float(scale)) for scale in SCALES]
    known = np.flatnonzero(rates)
    for left, right in itertools.pairwise(known):
        if rates[left] * rates[right] < 0:
            return float(brentq(rate, SCALES[left], SCALES[right], xtol=1e-12))
    return None


def centred_function(function: Callable[..., Any], strengths: tuple[str, ...]) -> Callable[..., Any]:
    """The function with the term that its strengths add centred within the correct samples of each group.

    The term is the difference to the function at strengths 0.
    Source:   claim E3, ours.
    """

    def centred(correct: Any, **rest: Any) -> Any:
        parameters = {name: value for name, value in rest.items() if name not in table.INPUTS}
        inputs = {name: value for name, value in rest.items() if name not in parameters} | {"correct": correct}
        plain = expected_flow.call(function, inputs, parameters | dict.fromkeys(strengths, 0.0))
        term = expected_flow.call(function, inputs, parameters) - plain
        return plain + terms.centred(term, correct, "correct_only")

    return centred


def lowers_correctness_at(flow: ExpectedFlow, sign: float, rng: np.random.Generator) -> tuple[Floats | None, int]:
    """The policy nearest to the base policy, of those probed, where correctness moves against `sign`; None if none.

    Probed are a grid, random policies, such with an answer inside a window, and what a search downhill meets from the
    lowest of them. Near is the largest difference of log-probabilities. Returns also how many were probed.
    Requires: two correct and two wrong answers.
    """
    probed = _anywhere(flow, rng)
    rates = correctness_rate(flow, probed) * sign
    for spread in (0.5, 0.2, 0.05) if flow.num_groups <= MANY_GROUPS else ():
        if (rates < 0).any():
            break
        lowest = np.argsort(rates / _motion_unit(probed, flow))[: REFINED // 4]
        near = np.repeat(probed[lowest], 4, axis=0)
        near = policies.log_softmax(near + spread * rng.normal(size=near.shape))
        probed, rates = np.concatenate([probed, near]), np.concatenate([rates, correctness_rate(flow, near) * sign])
    against = probed[rates < 0]
    if not len(against):
        return None, len(probed)
    return against[np.abs(against - flow.problem.base_log_policy).max(axis=-1).argmin()], len(probed)


def _motion_unit(log_policy: Floats, flow: ExpectedFlow) -> Floats:
    """What a rate of the odds of correctness is proportional to at a corner: the shares squared."""
    mass = np.exp(log_policy)
    return np.asarray((mass**2).sum(axis=-1) * np.maximum(np.abs(flow.advantages(log_policy)).max(axis=-1), 1e-300))


def _anywhere(flow: ExpectedFlow, rng: np.random.Generator) -> Floats:
    """Policies all over: a grid of correctness and shares, random ones, and such with an answer inside a window."""
    shares = (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999)
    grid = [
        with_shares(flow, logit, right, wrong)
        for logit in np.linspace(-7.0, 7.0, 15)
        for right in shares
        for wrong in shares
    ]
    drawn = np.log(rng.dirichlet(np.full(4, 0.7), 4 * MOST_LOGITS // 5) * 0.996 + 0.001)
    inside = np.array([_with_one_at(rng, mass, arm) for mass in windows(flow) for arm in range(4) for _ in range(8)])
    found = np.concatenate([np.array(grid), drawn, *([inside] if inside.size else [])])
    most = max(LEAST_LOGITS, 2 * MOST_ROWS // flow.num_groups)
    return policies.log_softmax(found if len(found) <= most else rng.permutation(found)[:most])


def _with_one_at(rng: np.random.Generator, mass: float, arm: int) -> Floats:
    """Log-probabilities of a policy with one answer at a probability, the others drawn."""
    others = rng.dirichlet(np.ones(3)) * (1 - mass)
    return np.asarray(np.log(np.insert(others, arm, mass) + 1e-12))


@dataclasses.dataclass(frozen=True)
class Outside:
    """A policy at which a step is not of the class of claim B4, the advantages there, and lengths if they do it."""

    log_policy: Floats
    advantages: Floats
    num_tokens: tuple[float, ...] | None = None


def outside_the_class(flow: ExpectedFlow, rng: np.random.Generator) -> Outside | None:
    """A policy at which the step is not c(Q) p_i (r_i - Q); None if none was found.

    The class is that of claim B4: one advantage for all correct answers and one for all wrong ones, their difference
    a function of Q alone, whatever the lengths. The base policy comes first, then random policies of logits up to 3
    spreads apart, then such with an answer inside a window or with a probability near an end, the first ones with
    answers of several lengths, last the base policy with one answer as rare as long answers are.
    """
    number = NUM_DRAWN if flow.num_groups <= MANY_GROUPS else 4
    drawn = policies.log_softmax(3 * rng.normal(size=(number, len(LENGTHS))))
    right, wrong = np.split(peaks(flow), 2)
    places = [(mass, arm) for mass in (*windows(flow), *SINGLE) for arm in (0, 2)]
    places += [(mass, arm) for masses, arm in ((right, 0), (wrong, 2)) for mass in masses]
    repeated = 2 if number == NUM_DRAWN else 1  # once, another answer may happen to lie in the same window
    inside = [_with_one_at(rng, mass, arm) for mass, arm in places for _ in range(repeated)][: 4 * number * repeated]
    tried = np.array([flow.problem.base_log_policy, *drawn, *map(policies.log_softmax, inside)])
    base = flow.problem.base_log_policy
    rare = [np.where(np.arange(len(base)) == arm, -depth, base) for depth in DEPTHS for arm in (0, 2)]
    for num_tokens, policies_tried in (
        (None, tried),
        (LENGTHS, tried[:3]),
        (None, policies.log_softmax(np.array(rare))),
    ):
        found = _outside(dataclasses.replace(flow, num_tokens=num_tokens), policies_tried)
        if found is not None:
            return found
    return None


def _outside(flow: ExpectedFlow, tried: Floats) -> Outside | None:
    even = np.empty_like(tried)  # of the same correctness
    for mask in (flow.problem.is_correct, ~flow.problem.is_correct):
        even[:, mask] = np.logaddexp.reduce(tried[:, mask], axis=1, keepdims=True) - np.log(mask.sum())
    found, want = flow.advantages(tried), flow.advantages(even)
    if not (np.isfinite(found).all() and np.isfinite(want).all()):
        raise ValueError("an advantage is not finite")
    same = max(SAME, 10 * flow.round_off)
    for log_policy, here, there in zip(tried, found, want, strict=True):
        size = max(np.abs(here).max(), np.abs(there).max())
        is_of_q = np.abs(_gaps(here) - _gaps(there)).max() <= same * size
        if not (is_of_q and _is_one_factor(here, flow.problem.is_correct, same)):
            return Outside(log_policy, here, flow.num_tokens)
    return None


def _gaps(advantages: Floats) -> Floats:
    return np.asarray(advantages - advantages[..., :1])


def _is_one_factor(advantages: Floats, is_right: Any, same: float) -> bool:
    spread = max(np.ptp(advantages[is_right]), np.ptp(advantages[~is_right]))
    return bool(spread <= same * np.abs(advantages).max())


def prompt_weights(flow: ExpectedFlow) -> Iterator[tuple[float, float]]:
    """(Q, c_G(Q)) on a grid, for a flow of the class of claim B4.

    Source:   claim E1, ours.
    """
    grid = np.array([with_shares(flow, float(np.log(mass / (1 - mass))), 0.5) for mass in WEIGHT_GRID])
    advantages = flow.advantages(grid)
    is_right = flow.problem.is_correct
    weights = advantages[:, is_right].mean(axis=1) - advantages[:, ~is_right].mean(axis=1)
    weights = np.where(np.abs(weights) > flow.round_off * np.abs(advantages).max(), weights, 0.0)
    yield from zip(WEIGHT_GRID, (float(weight) for weight in weights), strict=True)
