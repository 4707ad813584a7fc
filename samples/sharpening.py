"""Did training sharpen a model: gains of log-probability of correct answers against where they started.

An answer's gain is its log-probability after training less that before. Claim B1 says that plain RL lets likelier
correct answers gain more; here are the measures that show it in a trained model, for answers weighed by the base
policy: a list of all answers with their probabilities as weights, or samples of the base model with weight 1, which
estimate the same (a problem without a correct sample drops out). A problem counts by its weights, so one that the base
solves often counts more.

Intervals are 95% and over problems. A ratio of sums takes the jackknife and Student's t with the effective number of
problems: with unequal weights a bootstrap covers too little (ours, three simulated populations, 40 problems: the
bootstrap 84 to 90%, this 90 to 97%). What has a least and a largest value takes `intervals.bounded_interval`.

Source: claims B1 and E2; rank uplift, arXiv 2506.02355, as its notebook has it; the rise of NLL of rare trajectories,
arXiv 2602.06717, as summarised. The within-problem slope is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student

from sharpening.samples import intervals
from sharpening.theory import policies
from sharpening.theory.flow import matched
from sharpening.theory.policies import Floats, Problem

Row = dict[str, str | float | int | bool]

NUM_BINS = 8  # of the curve of gains and of ranks
RARE_SHARE = 0.01  # of the correct trajectories, those of largest base NLL per token
TAIL = 0.025  # on either side of an interval
FEWEST_PROBLEMS = 5  # below it no interval is given,
FEWEST_EFFECTIVE = 2.0  # nor below this effective number, (sum of weights)^2 over the sum of their squares
LEAST_SPREAD = 1e-12  # squared nats: correct answers of a problem that are all equally likely show no slope


@dataclass(frozen=True)
class Gains:
    """Answers with their log-probabilities before and after training, sums over tokens in nats.

    Shapes:   all (num_answers,). `problem` is a place from 0, `correct` 1 or 0, `weight` >= 0, `num_tokens` >= 1.
    """

    problem: NDArray[np.int64]
    start: Floats
    end: Floats
    correct: Floats
    weight: Floats
    num_tokens: Floats

    def __post_init__(self) -> None:
        """Refuses other lengths, log-probabilities that are not finite, and marks other than 0 and 1."""
        for name in ("start", "end", "correct", "weight", "num_tokens"):
            values = np.asarray(getattr(self, name))
            if values.shape != self.problem.shape:
                raise ValueError(f"{name} has shape {values.shape}: want {self.problem.shape}, that of problem")
            policies.refuse(values, ~np.isfinite(values), name, "finite")
        policies.refuse(self.correct, (self.correct != 0) & (self.correct != 1), "correct", "0 or 1")

    @property
    def gain(self) -> Floats:
        """Log-probability after training less that before, in nats."""
        return np.asarray(self.end - self.start)

    def only(self, is_chosen: NDArray[np.bool_]) -> Gains:
        """The chosen answers."""
        return Gains(*(getattr(self, name)[is_chosen] for name in self.__dataclass_fields__))


def rows(gains: Gains, *, rng: np.random.Generator) -> Iterator[Row]:
    """Every measure as tidy rows: `quantity`, `at` (nats, a rank from 0 to 1, or 0), value and interval.

    Raises ValueError if no answer is correct.
    """
    correct = gains.only(gains.correct == 1)
    if not len(correct.problem):
        raise ValueError("correct: no answer is marked 1: want at least one correct answer")
    for quantity, part in (("mean_gain_correct", correct), ("mean_gain_wrong", gains.only(gains.correct == 0))):
        if len(part.problem):
            yield ratio_row(quantity, 0.0, part.problem, part.weight * part.gain, part.weight)
    yield slope_row(correct)
    yield from curve_rows(correct)
    yield from uplift_rows(gains, rng=rng)
    yield rare_row(correct)


def centred(values: Floats, problem: NDArray[np.int64], weight: Floats) -> Floats:
    """The values less the weighted mean of their problem.

    Shapes:   all (num_answers,). Returns the same shape.
    """
    totals = np.bincount(problem, weight)
    means = np.bincount(problem, weight * values) / np.where(totals > 0, totals, 1.0)
    return np.asarray(values - means[problem])


def slope_row(correct: Gains, *, quantity: str = "sharpening_slope") -> Row:
    """How many nats more a correct answer gains per nat that it started likelier than its problem's others.

    Above 0 training sharpened the correct set, below 0 it smoothed it; 0 keeps every ratio. The weighted least-squares
    slope of gain on start inside problems. NaN where no problem has two correct answers of different probability.
    """
    return ratio_row(quantity, 0.0, *slope_parts(correct))


def slope_parts(correct: Gains) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Problem, numerator and denominator of the slope of each answer whose problem has a spread; sums give the slope.

    Shapes:   three of (num_answers,).
    """
    inside = _with_spread(correct)
    start = centred(inside.start, inside.problem, inside.weight)
    gain = centred(inside.gain, inside.problem, inside.weight)
    return inside.problem, inside.weight * start * gain, inside.weight * start**2


def slope_difference_row(base: Gains, other: Gains) -> Row:
    """By how much the slope of one trained model differs from that of another, both from the same start.

    The slope is linear in the gains, so this is the slope of their differences, with the interval of pairs.
    """
    correct = base.correct == 1
    return slope_row(replace(base, end=base.start + (other.end - base.end)).only(correct))


def _with_spread(correct: Gains) -> Gains:
    """The answers of problems whose answers are not all equally likely."""
    start = centred(correct.start, correct.problem, correct.weight)
    spread = np.bincount(correct.problem, correct.weight * start**2)
    has_spread = spread > LEAST_SPREAD * np.bincount(correct.problem, correct.weight)
    return correct.only(has_spread[correct.problem])


def curve_rows(correct: Gains, *, quantity: str = "relative_gain") -> Iterator[Row]:
    """Mean gain of correct answers in bins of equal weight of their start, both less the problem's mean.

    `at` is the mean start of the bin, less the problem's mean, in nats; problems without a slope are left out.
    """
    inside = _with_spread(correct)
    start = centred(inside.start, inside.problem, inside.weight)
    gain = centred(inside.gain, inside.problem, inside.weight)
    for is_in in _bins(start, inside.weight):
        at = float(np.average(start[is_in], weights=inside.weight[is_in]))
        weight = inside.weight * is_in
        yield ratio_row(quantity, at, inside.problem, weight * gain, weight)


def uplift_rows(gains: Gains, *, rng: np.random.Generator) -> Iterator[Row]:
    """The share of correct answers whose log-probability rose, by rank of the start among the problem's answers.

    `at` is the middle of a bin of the rank, from 0, the rarest of the problem's answers, to 1, the likeliest; equal
    starts share their mean rank. In a list, completions that are not listed have no rank; among samples all have one.
    Source:   the uplift rate of arXiv 2506.02355, there for 32 samples a problem.
    """
    rank = _ranks(gains.start, gains.problem, gains.weight)
    for place in range(NUM_BINS):
        low, high = place / NUM_BINS, (place + 1) / NUM_BINS
        is_in = (gains.correct == 1) & (rank >= low) & ((rank < high) | (place == NUM_BINS - 1))
        if is_in.any():
            weight = gains.weight * is_in
            at = (low + high) / 2
            yield bounded_row("rank_uplift", at, gains.problem, weight * (gains.gain > 0), weight, (0.0, 1.0), rng)


def rare_row(correct: Gains) -> Row:
    """How much the NLL per token rose of the rare correct answers: the 1% of largest NLL per token before training.

    Source:   dNLL_rare of arXiv 2602.06717, as summarised.
    """
    surprisal = -correct.start / correct.num_tokens
    order = np.argsort(-surprisal, kind="stable")
    before = np.cumsum(correct.weight[order]) - correct.weight[order]
    is_rare = np.zeros(len(order), bool)
    is_rare[order] = before < RARE_SHARE * correct.weight.sum()
    weight = correct.weight * is_rare
    return ratio_row("rare_nll_rise", 0.0, correct.problem, weight * -correct.gain / correct.num_tokens, weight)


def expected_gain(problem: Problem, logit: float) -> Floats:
    """Gains of the correct answers if plain RL had moved this prompt alone to a correctness of the given logit.

    Shapes:   returns (num_correct,); NaN if the logit is below that of the base policy, where plain RL does not go.
    Source:   claims B2 and E2: every correctness-only method follows one path, on which Q fixes the policy.
    """
    if not logit >= policies.logit_correctness(problem.base_log_policy, problem.correct):
        return np.full(int(problem.correct.sum()), np.nan)
    moved = matched.log_policy_at_logit(problem, logit) - problem.base_log_policy
    return np.asarray(moved[problem.is_correct])


def _bins(values: Floats, weight: Floats) -> Iterator[NDArray[np.bool_]]:
    """Masks of at most `NUM_BINS` bins of about equal weight; equal values share a bin. None of no values."""
    if not len(values):
        return
    order = np.argsort(values, kind="stable")
    middle = np.cumsum(weight[order]) - weight[order] / 2
    edges = values[order][
        np.searchsorted(middle, weight.sum() * np.arange(1, NUM_BINS) / NUM_BINS).clip(max=len(order) - 1)
    ]
    place = np.searchsorted(np.unique(edges), values, side="right")
    yield from (place == each for each in np.unique(place))


def _ranks(values: Floats, problem: NDArray[np.int64], weight: Floats) -> Floats:
    """The weighted share of the problem's values below each, plus half that of its equals; in (0, 1)."""
    order = np.lexsort((values, problem))
    ranks = np.empty(len(values))
    for places in np.split(order, np.flatnonzero(np.diff(problem[order])) + 1):
        _, group = np.unique(values[places], return_inverse=True)
        mass = np.bincount(group, weight[places])
        ranks[places] = ((np.cumsum(mass) - mass / 2) / mass.sum())[group]
    return ranks


def ratio_row(quantity: str, at: float, problem: NDArray[np.int64], top: ArrayLike, bottom: ArrayLike) -> Row:
    """The sum of top over the sum of bottom as a tidy row, with the interval of that ratio over problems.

    NaN where there is no problem; no interval of fewer than five, or where one holds most of the weight.
    Shapes:   problem, top, bottom: (num_entries,), bottom >= 0. Problems whose bottom is 0 do not count.
    """
    tops, bottoms = _sums(problem, top, bottom)
    number = len(tops)
    if not number:
        return _row(quantity, at, np.nan, None, 0)
    value = float(tops.sum() / bottoms.sum())
    effective = float(bottoms.sum() ** 2 / (bottoms**2).sum())
    if number < FEWEST_PROBLEMS or effective < FEWEST_EFFECTIVE:
        return _row(quantity, at, value, None, number)
    without = (tops.sum() - tops) / (bottoms.sum() - bottoms)
    reach = float(student.ppf(1 - TAIL, effective - 1) * np.sqrt((number - 1) * without.var()))
    return _row(quantity, at, value, (value - reach, value + reach), number)


def bounded_row(
    quantity: str,
    at: float,
    problem: NDArray[np.int64],
    top: ArrayLike,
    bottom: ArrayLike,
    ends: tuple[float, float],
    rng: np.random.Generator,
) -> Row:
    """The same where `ends` are the least and the largest ratio of a problem: the interval stays between them."""
    tops, bottoms = _sums(problem, top, bottom)
    row = ratio_row(quantity, at, np.arange(len(tops)), tops, bottoms)
    if len(tops) < FEWEST_PROBLEMS:
        return row
    columns = np.stack([tops, bottoms], axis=1) / bottoms.mean()
    sums, totals = intervals.resampled_sums(columns, rng=rng).T
    low, high = intervals.bounded_interval(sums, totals, rng=rng, low_end=ends[0], high_end=ends[1])
    return _row(quantity, at, float(row["value"]), (float(low), float(high)), len(tops))


def _sums(problem: NDArray[np.int64], top: ArrayLike, bottom: ArrayLike) -> tuple[Floats, Floats]:
    """The sums of every problem whose bottom is above 0."""
    tops = np.bincount(problem, np.asarray(top)).astype(np.float64)
    bottoms = np.bincount(problem, np.asarray(bottom)).astype(np.float64)
    return tops[bottoms > 0], bottoms[bottoms > 0]


def _row(quantity: str, at: float, value: float, bounds: tuple[float, float] | None, num_problems: int) -> Row:
    low, high = bounds or (np.nan, np.nan)
    return {
        "quantity": quantity,
        "at": float(at),
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "has_interval": bounds is not None,
        "num_problems": num_problems,
    }
