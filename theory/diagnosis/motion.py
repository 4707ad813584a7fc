"""Which way an advantage function moves a policy: direction inside C, where it turns, correctness, and claim B4.

Everything is read off the exact expected step (`theory/groups/expected_flow.py`) on a problem with two correct answers,
the first the likelier at the shown policy. A rate below `ROUND_OFF` times the largest advantage counts as 0.

Left out: what happens in the long run, which is `theory/diagnosis/ends.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from sharpening.theory import policies
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import table, terms
from sharpening.theory.policies import Floats

ROUND_OFF = 1e-12  # of a rate, relative to the largest advantage: sums of a few hundred float64 products
SAME = 1e-9  # relative: advantages that differ by less are equal
LOGITS = np.linspace(-20.0, 20.0, 81)  # of correctness, where turning points are searched
TOP_SHARES = (0.55, 0.9, 0.99, 0.999)  # of the likelier correct answer, beside the shown policy's
SCALES = np.concatenate([[0.0], np.logspace(-3.0, 4.0, 57)])  # of the strengths, where a turning strength is searched
WEIGHT_GRID = (0.001, 0.01, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.99, 0.999)


@dataclasses.dataclass(frozen=True)
class Onset:
    """At which correctness the direction inside C turns, for one share of the likelier correct answer.

    `sign` is the direction at the smallest correctness: 1 sharpens, -1 smooths, 0 leaves the shares alone. It changes
    at every entry of `turns`, in rising order.
    """

    top_share: float
    sign: int
    turns: tuple[float, ...]

    @property
    def last_sign(self) -> int:
        """The direction at the largest correctness."""
        return -self.sign if len(self.turns) % 2 else self.sign


def sharpening_rate(flow: ExpectedFlow, log_policy: Floats) -> Floats:
    """The rate d log(p_i/p_j)/dt of the two correct answers, i listed before j; 0 within round-off.

    Shapes:   log_policy: (..., num_arms). Returns (...).
    """
    first, second = np.flatnonzero(flow.problem.is_correct)[:2]
    rate = expected_flow.log_ratio_rate(flow, log_policy, (int(first), int(second)))
    return _above_round_off(flow, log_policy, rate)


def correctness_rate(flow: ExpectedFlow, log_policy: Floats) -> Floats:
    """The rate d logit Q/dt; 0 within round-off.

    Shapes:   log_policy: (..., num_arms). Returns (...).
    """
    return _above_round_off(flow, log_policy, expected_flow.correctness_rate(flow, log_policy))


def _above_round_off(flow: ExpectedFlow, log_policy: Floats, rate: Floats) -> Floats:
    scale = np.abs(flow.advantages(log_policy)).max(axis=-1)
    return np.where(np.abs(rate) > ROUND_OFF * scale, rate, 0.0)


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


def onsets(flow: ExpectedFlow, shares: tuple[float, ...]) -> list[Onset]:
    """At which correctness the direction inside C turns, for each share of the likelier correct answer.

    Requires: two correct answers; turns closer than half a unit of logit Q are missed.
    Source:   claim E3 for differential smoothing, where there is at most one.
    """
    grid = np.array([[with_shares(flow, logit, share) for logit in LOGITS] for share in shares])
    signs = np.sign(sharpening_rate(flow, grid))  # (num_shares, num_logits)
    return [_onset(flow, share, row) for share, row in zip(shares, signs, strict=True)]


def _onset(flow: ExpectedFlow, share: float, signs: Floats) -> Onset:
    known = np.flatnonzero(signs)
    if not known.size:
        return Onset(share, 0, ())
    turns = [
        expit(brentq(lambda logit: _rate_at(flow, logit, share), LOGITS[left], LOGITS[right], xtol=1e-12))
        for left, right in itertools.pairwise(known)
        if signs[left] != signs[right]
    ]
    return Onset(share, int(signs[known[0]]), tuple(float(turn) for turn in turns))


def _rate_at(flow: ExpectedFlow, logit: float, share: float) -> float:
    return float(sharpening_rate(flow, with_shares(flow, logit, share)))


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


def lowers_correctness_at(flow: ExpectedFlow, sign: float) -> Floats | None:
    """The policy nearest to the base policy, on a grid, where correctness moves against `sign`; None if none.

    Near is the largest difference of log-probabilities. Requires: two correct and two wrong answers.
    """
    shares = (0.001, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999)
    grid = np.array(
        [
            with_shares(flow, logit, right, wrong)
            for logit in np.linspace(-7.0, 7.0, 15)
            for right in shares
            for wrong in shares
        ]
    )
    against = grid[correctness_rate(flow, grid) * sign < 0]
    if not len(against):
        return None
    return np.asarray(against[np.abs(against - flow.problem.base_log_policy).max(axis=-1).argmin()])


def outside_the_class(flow: ExpectedFlow, rng: np.random.Generator) -> tuple[Floats, Floats] | None:
    """A policy at which the step is not c(Q) p_i (r_i - Q), and the advantages there; None if none was found.

    The class is that of claim B4: one advantage for all correct answers and one for all wrong ones, their difference
    a function of Q alone. The base policy comes first, then 24 random policies of logits up to 3 spreads apart.
    """
    drawn = policies.log_softmax(3 * rng.normal(size=(24, flow.problem.correct.size)))
    tried = np.concatenate([flow.problem.base_log_policy[None], drawn])
    logits = [policies.logit_correctness(log_policy, flow.problem.correct) for log_policy in tried]
    even = np.array([with_shares(flow, logit, 0.5, 0.5) for logit in logits])
    found, want = flow.advantages(tried), flow.advantages(even)
    for log_policy, here, there in zip(tried, found, want, strict=True):
        if np.abs(_gaps(here) - _gaps(there)).max() > SAME * max(np.abs(here).max(), np.abs(there).max()):
            return log_policy, here
        if not _is_one_factor(here, flow.problem.is_correct):
            return log_policy, here
    return None


def _gaps(advantages: Floats) -> Floats:
    return np.asarray(advantages - advantages[..., :1])


def _is_one_factor(advantages: Floats, is_right: Any) -> bool:
    spread = max(np.ptp(advantages[is_right]), np.ptp(advantages[~is_right]))
    return bool(spread <= SAME * np.abs(advantages).max())


def prompt_weights(flow: ExpectedFlow) -> Iterator[tuple[float, float]]:
    """(Q, c_G(Q)) on a grid, for a flow of the class of claim B4.

    Source:   claim E1, ours.
    """
    grid = np.array([with_shares(flow, float(np.log(mass / (1 - mass))), 0.5) for mass in WEIGHT_GRID])
    advantages = flow.advantages(grid)
    is_right = flow.problem.is_correct
    weights = advantages[:, is_right].mean(axis=1) - advantages[:, ~is_right].mean(axis=1)
    weights = np.where(np.abs(weights) > ROUND_OFF * np.abs(advantages).max(), weights, 0.0)
    yield from zip(WEIGHT_GRID, (float(weight) for weight in weights), strict=True)
