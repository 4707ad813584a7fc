"""What the theory predicts for one base policy, as tidy rows that tables and figures read.

A row has the columns of `COLUMNS`; `at` is a time (steps times learning rate), a group size, or 0. Claimed: A3-A5
(optima), A4 and B11 (global terms), A7 (dominance at equal budget), B1-B3 (sharpening path), C1 and C2 (selection).
Left out: sampling noise, shared parameters between prompts, and answers that the base policy was never seen to give.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from sharpening.theory import estimators, policies
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.groups import sampling
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

COLUMNS = ("section", "method", "reference", "kl_strength", "strength", "at", "quantity", "value")
Row = dict[str, str | float]

STRENGTH_RATIOS = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)  # of the KL strength
GROUP_SIZES = tuple(2**power for power in range(2, 11))
TIMES = tuple(float(time) for time in np.logspace(-1, 5, 97))
SAME = 1e-12  # of a correctness or its logit: a base so near to a level stands there, however a processor rounds it
MATCHED_LEVELS = (0.8, 0.9, 0.95, 0.99)  # correctness at which flows are compared (claim E2)
LATEST = 1e100  # later milestones are inf
FLOW_STRENGTHS = (0.1, 1.0)  # of the smoothing and the bonus that are followed beside vanilla
TAIL_SHARE = 0.1  # the tail is the rarest correct answers that together hold at most this share of correct mass


@dataclass(frozen=True)
class Family:
    """A shaper family with one strength, and its exact optimum."""

    method: str
    reference: str
    optimum: Callable[[Problem, float, Strengths], Floats]
    strengths: Callable[[float], Strengths]
    largest_ratio: float = np.inf  # of strength to KL strength, exclusive


FAMILIES = (
    Family("vanilla", "none", optima.base_optimum, lambda _: optima.vanilla_strengths(), 0.01),
    Family("entropy_bonus", "base", optima.base_optimum, optima.bonus_strengths),
    Family("entropy_bonus", "sampling", optima.sampling_optimum, optima.bonus_strengths),
    Family("entropy_penalty", "base", optima.base_optimum, lambda g: optima.bonus_strengths(-g)),
    Family("entropy_penalty", "sampling", optima.sampling_optimum, lambda g: optima.bonus_strengths(-g), 1.0),
    Family("ds", "base", optima.base_optimum, lambda g: Strengths(g, 0.0)),
    Family("ds", "sampling", optima.sampling_optimum, lambda g: Strengths(g, 0.0)),
    Family("ds_with_charge", "base", optima.base_optimum, lambda g: Strengths(g, g)),
    Family("ds_with_charge", "sampling", optima.sampling_optimum, lambda g: Strengths(g, g), 1.0),
)


def predict(problem: Problem, kl_strengths: tuple[float, ...]) -> Iterator[Row]:
    """Every prediction for a problem, in tidy rows.

    Shapes:   kl_strengths: any number of positive floats, for the sections that have a KL term.
    Source:   the claims named in the module docstring.
    """
    yield from _base(problem)
    for kl_strength in kl_strengths:
        yield from _optima(problem, kl_strength)
        yield from _global_term(problem, kl_strength)
        yield from _dominance(problem, kl_strength)
    yield from _path(problem)
    yield from _milestones(problem)
    yield from _selection(problem)


def _row(section: str, quantity: str, value: float, **where: str | float) -> Row:
    defaults: Row = {"method": "base", "reference": "none", "kl_strength": 0.0, "strength": 0.0, "at": 0.0}
    filled = {**defaults, **where, "section": section, "quantity": quantity, "value": float(value)}
    return {column: filled[column] for column in COLUMNS}


def _summary(log_policy: Floats, correct: Floats) -> dict[str, float]:
    inside = policies.conditional(log_policy, correct, given_correct=True)
    return {
        "correctness": policies.correctness(log_policy, correct),
        "logit_correctness": policies.logit_correctness(log_policy, correct),
        "solution_diversity": float(estimators.solution_diversity(log_policy, correct)),
        "top_share": float(np.exp(inside.max())),
    }


def _base(problem: Problem) -> Iterator[Row]:
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    values = {
        "num_answers": problem.correct.size,
        "num_correct": right.size,
        **_summary(problem.base_log_policy, problem.correct),
        "surprisal_correct": policies.mean_surprisal(right),
        "surprisal_wrong": policies.mean_surprisal(wrong),
        "entropy": float(policies.entropy(problem.base_log_policy)),
    }
    for quantity, value in values.items():
        yield _row("base", quantity, value)


def _optima(problem: Problem, kl_strength: float) -> Iterator[Row]:
    for family in FAMILIES:
        for ratio in STRENGTH_RATIOS:
            if ratio >= family.largest_ratio or (ratio == 0) != (family.method == "vanilla"):
                continue
            strength = ratio * kl_strength
            log_policy = family.optimum(problem, kl_strength, family.strengths(strength))
            cost = float(divergences.kl(log_policy, problem.base_log_policy))
            where: Row = {"method": family.method, "reference": family.reference, "kl_strength": kl_strength}
            for quantity, value in {**_summary(log_policy, problem.correct), "kl_to_base": cost}.items():
                yield _row("optimum", quantity, value, strength=strength, **where)


def _global_term(problem: Problem, kl_strength: float) -> Iterator[Row]:
    """Slopes of logit Q in the strength of a bonus at strength 0 (A4), and without KL at the base policy (B11)."""
    right, wrong = problem.base_log_policy[problem.is_correct], problem.base_log_policy[~problem.is_correct]
    surprisals = policies.mean_surprisal(right), policies.mean_surprisal(wrong)
    slopes = {
        "reward_form_slope": optima.global_term_slope(*surprisals, kl_strength, 0.0),
        "entropy_form_slope": optima.entropy_form_slope(*surprisals, kl_strength, 0.0),
        "no_kl_softmax_slope": dynamics.global_term_effect(
            np.exp(problem.base_log_policy), problem.base_log_policy, problem.correct, 1.0
        ),
        "no_kl_natural_slope": dynamics.global_term_effect(
            np.exp(problem.base_log_policy), problem.base_log_policy, problem.correct, 1.0, "natural"
        ),
    }
    for quantity, value in slopes.items():
        yield _row("global_term", quantity, value, method="entropy_bonus", kl_strength=kl_strength)


def _dominance(problem: Problem, kl_strength: float) -> Iterator[Row]:
    """Each bonus against differential smoothing of the same p_C at the same KL budget, and whether gap 1 allows it."""
    for ratio in STRENGTH_RATIOS[1:]:
        strength = ratio * kl_strength
        log_policy = dominance.bonus_optimum(problem, kl_strength, strength, "entropy")
        exponent = dominance.bonus_exponent(kl_strength, strength, "entropy")
        inverse = 1 / (kl_strength + strength)
        cheap = optima.cheapest_at(problem, log_policy)
        budget = divergences.kl(log_policy, problem.base_log_policy)
        logit = dominance.logit_at_budget(problem, log_policy)
        values = {
            **_summary(log_policy, problem.correct),
            "kl_to_base": budget,
            "saving": budget - divergences.kl(cheap, problem.base_log_policy),
            "ds_correctness": float(np.exp(-np.logaddexp(0.0, -logit))),
            "literal_slack_base": dominance.literal_slack(problem, exponent, inverse, "base"),
            "literal_slack_sampling": dominance.literal_slack(problem, exponent, inverse, "sampling"),
        }
        for quantity, value in values.items():
            where: Row = {"method": "entropy_bonus", "reference": "sampling", "kl_strength": kl_strength}
            yield _row("dominance", quantity, value, strength=strength, **where)


def _path(problem: Problem) -> Iterator[Row]:
    """The exact flows without KL: vanilla by its closed path, smoothing and the bonus by the integrator."""
    times = np.array([0.0, *TIMES])
    paths = {("vanilla", 0.0): vanilla_path.vanilla_path(problem, times)}
    for strength in FLOW_STRENGTHS:
        for method, strengths in (
            ("ds", Strengths(strength, 0.0)),
            ("entropy_bonus", Strengths(strength, -strength)),
        ):
            paths[method, strength] = dynamics.integrate(
                problem.base_log_policy,
                functools.partial(dynamics.smoothing_advantage, correct=problem.correct, **strengths._asdict()),
                times,
                labels=problem.correct,
            )
    for (method, strength), path in paths.items():
        reference = "none" if method == "vanilla" else "sampling"
        where: Row = {"method": method, "reference": reference, "strength": strength}
        summaries = [_summary(log_policy, problem.correct) for log_policy in path]
        for time, summary in zip(times, summaries, strict=True):
            for quantity, value in summary.items():
                yield _row("path", quantity, value, at=float(time), **where)
        for level in MATCHED_LEVELS:
            for quantity, value in _first_at(level, times, summaries).items():
                yield _row("matched", quantity, value, at=level, **where)


def _first_at(level: float, times: Floats, summaries: list[dict[str, float]]) -> dict[str, float]:
    """Time and diversity where a flow first rises to a correctness, interpolated in logit Q; empty if it never does."""
    logits = np.array([summary["logit_correctness"] for summary in summaries])
    goal = np.log(level / (1 - level))
    if logits[0] > goal - SAME or logits.max() < goal:
        return {}
    step = int(np.argmax(logits >= goal))
    share = (goal - logits[step - 1]) / (logits[step] - logits[step - 1])
    diversity = [summary["solution_diversity"] for summary in summaries[step - 1 : step + 1]]
    return {
        "time": float(times[step - 1] + share * (times[step] - times[step - 1])),
        "solution_diversity": diversity[0] + share * (diversity[1] - diversity[0]),
    }


def _milestones(problem: Problem) -> Iterator[Row]:
    """Times at which vanilla reaches a correctness or loses half of its solutions, and how it ends (B3)."""
    start = _summary(problem.base_log_policy, problem.correct)
    for level in (0.9, 0.99):
        if start["correctness"] < level - SAME:
            yield _row("milestone", f"time_to_correctness_{level}", _time_to(problem, "correctness", level))
    if start["solution_diversity"] > 2:
        half = start["solution_diversity"] / 2
        yield _row("milestone", "time_to_half_diversity", _time_to(problem, "solution_diversity", half))
    right = problem.base_log_policy[problem.is_correct]
    num_top = int((right == right.max()).sum())
    num_wrong = problem.correct.size - right.size
    yield _row("milestone", "num_top", num_top)
    yield _row("milestone", "collapse_constant", dynamics.collapse_constant(num_top, num_wrong))


def _time_to(problem: Problem, quantity: str, level: float) -> float:
    """The time at which a monotone quantity of the vanilla path crosses a level; inf beyond `LATEST`."""

    def excess(rise: float) -> float:
        log_policy = vanilla_path.log_policy_at_rise(problem, rise)[0]
        return _summary(log_policy, problem.correct)[quantity] - level

    last = vanilla_path.MAX_RISE
    if excess(0.0) * excess(last) > 0:
        return float(np.inf)
    time = vanilla_path.time_at(problem, float(brentq(excess, 0.0, last, xtol=1e-14, rtol=1e-12)))
    return time if time < LATEST else float(np.inf)


def _selection(problem: Problem) -> Iterator[Row]:
    """How often one group holds the likeliest, the middle and the rarest correct answer, and misses the tail."""
    right = np.sort(problem.base_log_policy[problem.is_correct])[::-1]
    ranks = {"top": 0, "middle": right.size // 2, "rarest": right.size - 1}
    mass = policies.correctness(problem.base_log_policy, problem.correct)
    tail = tail_mass(right)
    for group_size in GROUP_SIZES:
        values = {
            f"inclusion_{name}": float(sampling.inclusion_probability(right[rank], group_size))
            for name, rank in ranks.items()
        }
        values["coverage"] = float(estimators.coverage(np.exp(right), group_size))
        if tail > 0:
            values["tail_miss"] = float(sampling.tail_miss(mass, tail, group_size))
        for quantity, value in values.items():
            yield _row("selection", quantity, value, at=float(group_size))
    yield _row("selection", "tail_mass", tail)


def tail_mass(log_policy_correct: Floats) -> float:
    """The mass of the rarest correct answers that together hold at most a tenth of the correct mass.

    Shapes:   log_policy_correct: (num_correct,), nats, not renormalised. Returns a scalar, 0 where there is no tail.
    """
    rising = np.sort(np.exp(log_policy_correct))
    cumulative = np.cumsum(rising)
    inside = cumulative[cumulative <= TAIL_SHARE * cumulative[-1]]
    return float(inside[-1]) if inside.size else 0.0
