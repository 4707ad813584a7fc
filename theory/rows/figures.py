"""Rows of the first figures, from exact theory: one function a figure, each a generator of tidy dictionaries.

Claimed: B1, B3, B6, B7 and E3 (flows), A3, A6 and A7 (the dominance frontier), A4 and A5 (multiplicity), B4 and E1
(prompt weights). Flows are the exact gradient of large groups; nothing is sampled.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.theory import estimators, policies
from sharpening.theory.flow import dynamics, smoothing
from sharpening.theory.groups import expectations
from sharpening.theory.methods import calls
from sharpening.theory.methods import table as method_table
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats, Problem

Row = dict[str, Any]

FIELD_LOGITS, FIELD_LOG_RATIOS = np.linspace(-3.0, 7.0, 41), np.linspace(0.0, 5.0, 31)
PATH_TIMES = np.array([0.0, *np.logspace(-2.0, 5.0, 141)])
LEANS, WRONG_SHARES = np.linspace(0.0, 1.0, 81), np.linspace(0.0, 1.0, 71)
LINE_TIMES = np.array([0.0, *np.logspace(-1.5, 4.0, 111)])
FRONTIER_RISES = np.linspace(0.0, 8.0, 81)  # of logit Q above the base policy's
SLOPE_LOGITS = np.linspace(-4.6, 4.6, 47)
MULTIPLICITIES = np.logspace(0.0, 3.0, 46)
RATIOS = (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.5, 2.0, 3.0)  # of the strength to the KL strength
WEIGHT_GRID = np.linspace(0.0, 1.0, 101)
SIGNS: Mapping[str, tuple[float, float]] = {
    "vanilla": (0.0, 0.0),
    "entropy_bonus": (1.0, -1.0),
    "entropy_penalty": (-1.0, 1.0),
    "ds": (1.0, 0.0),
    "ds_with_charge": (1.0, 1.0),
}


def strengths_of(method: str, strength: float) -> Strengths:
    """A method of one strength as the pair of differential smoothing that it is.

    Source:   claim A3.
    """
    return Strengths(*(sign * strength for sign in SIGNS[method]))


def advantage_of(problem: Problem, method: str, strength: float) -> Callable[[Floats], Floats]:
    """The advantage of each answer under a method with the sampling policy as reference, as a function of log p.

    Shapes:   maps (num_arms,) to (num_arms,).
    """
    pair = strengths_of(method, strength)
    return functools.partial(dynamics.smoothing_advantage, correct=problem.correct, **pair._asdict())


def phase_portrait(problem: Problem, strengths: Sequence[float]) -> Iterator[Row]:
    """The exact flow in the plane of logit Q and log(p1/p2), vanilla (strength 0) and differential smoothing.

    Sections: `field`, the rates on a grid where the wrong answers have the base policy's shares; `onset`, the
    correctness above which log(p1/p2) falls, from claim E3; `path`, the flow from the base policy.
    Requires: two correct answers.
    Source:   claims B1, B6 and E3.
    """
    wrong = policies.conditional(problem.base_log_policy, problem.correct, given_correct=False)
    for strength in strengths:
        method = "ds" if strength > 0 else "vanilla"
        advantage = advantage_of(problem, method, strength)
        place = functools.partial(_plane_row, problem, advantage, method=method, strength=strength)
        for logit in FIELD_LOGITS:
            for log_ratio in FIELD_LOG_RATIOS:
                right = policies.log_softmax([log_ratio, 0.0])
                log_policy = policies.compose(float(logit), right, wrong, problem.correct)
                exact = {"logit_correctness": float(logit), "log_ratio": float(log_ratio)}  # a grid without round-off
                yield place(log_policy, section="field", time=0.0) | exact
        for log_ratio in FIELD_LOG_RATIOS if strength > 0 else ():
            right = policies.log_softmax([log_ratio, 0.0])
            onset = smoothing.smoothing_onset(right, (0, 1), strength, lambda _: 1.0)
            yield place(policies.compose(onset, right, wrong, problem.correct), section="onset", time=0.0)
        path = dynamics.integrate(problem.base_log_policy, advantage, PATH_TIMES)
        for time, log_policy in zip(PATH_TIMES, path, strict=True):
            yield place(log_policy, section="path", time=float(time))


def _plane_row(
    problem: Problem, advantage: Callable[[Floats], Floats], log_policy: Floats, **where: str | float
) -> Row:
    first, second = np.flatnonzero(problem.is_correct)
    policy = np.exp(log_policy)
    rates = dynamics.softmax_flow(policy, advantage(log_policy))
    inside, outside = (np.where(problem.is_correct == side, policy, 0.0) for side in (True, False))
    return {
        **where,
        "logit_correctness": policies.logit_correctness(log_policy, problem.correct),
        "log_ratio": float(log_policy[first] - log_policy[second]),
        "logit_rate": float((inside * rates).sum() / inside.sum() - (outside * rates).sum() / outside.sum()),
        "log_ratio_rate": float(rates[first] - rates[second]),
    }


def ternary_flows(problem: Problem, strength: float) -> Iterator[Row]:
    """The exact flow of vanilla, bonus, penalty and differential smoothing over three answers, two of them correct.

    Sections: `field`, probabilities and their rates on a grid of p_wrong and of p_second + p_wrong / 2, which is even
    on a triangle of equal sides; `path`, the flow from the base policy; `end`, where a flow can end.
    Source:   claims B3, B6 and B7; that a penalty can end on any single answer is ours.
    """
    for method in ("vanilla", "entropy_bonus", "entropy_penalty", "ds"):
        advantage = advantage_of(problem, method, strength)
        for wrong in WRONG_SHARES:
            for lean in LEANS:
                policy = np.array([1 - lean - wrong / 2, lean - wrong / 2, wrong])
                if policy.min() > 0:
                    yield _triangle_row(policy, advantage, section="field", method=method, time=0.0)
        path = dynamics.integrate(problem.base_log_policy, advantage, LINE_TIMES)
        for time, log_policy in zip(LINE_TIMES, path, strict=True):
            yield _triangle_row(np.exp(log_policy), advantage, section="path", method=method, time=float(time))
        for policy in possible_ends(problem, method, strength):
            yield _triangle_row(policy, None, section="end", method=method, time=np.inf)


def _triangle_row(policy: Floats, advantage: Callable[[Floats], Floats] | None, **where: str | float) -> Row:
    """Probabilities and their rates, which are 0 at an end."""
    rates = np.zeros_like(policy)
    if advantage is not None:
        moved = dynamics.softmax_flow(policy, advantage(np.log(policy)))
        rates = policy * (moved - (policy * moved).sum())
    shares = {f"policy_{index}": float(value) for index, value in enumerate(policy)}
    return {**where, **shares, **{f"rate_{index}": float(rate) for index, rate in enumerate(rates)}}


def possible_ends(problem: Problem, method: str, strength: float) -> list[Floats]:
    """The policies on which the exact flow without KL can end, for three answers or more.

    Shapes:   each (num_arms,), probabilities.
    Source:   claims B3 (vanilla), B6 (smoothing), B7 (bonus); the penalty's corners are ours: an absent answer's
              advantage there tends to minus infinity.
    """
    corners = np.eye(problem.correct.size)
    if method == "entropy_penalty":
        return list(corners)
    if method == "vanilla":
        return list(corners[problem.is_correct])
    num_correct = int(problem.correct.sum())
    mass = 1.0
    if method == "entropy_bonus":
        num_wrong = problem.correct.size - num_correct
        mass = float(dynamics.entropy_ceiling(num_correct, num_wrong, np.exp(1 / strength)))
    return [np.where(problem.is_correct, mass / num_correct, (1 - mass) / (problem.correct.size - num_correct))]


def power_law_problem(
    num_correct: int, num_wrong: int, correctness: float, correct_power: float, wrong_power: float
) -> Problem:
    """A base policy whose correct and wrong answers have shares like 1 / rank^power, with the given correctness."""
    kinds = ((num_correct, correct_power, correctness), (num_wrong, wrong_power, 1 - correctness))
    logs = [policies.log_softmax(-power * np.log(np.arange(1, size + 1))) + np.log(mass) for size, power, mass in kinds]
    return Problem(np.concatenate(logs), np.repeat([1.0, 0.0], [num_correct, num_wrong]))


def dominance_frontier(problem: Problem, kl_strength: float, exponents: Sequence[float]) -> Iterator[Row]:
    """Correctness against diversity at optima, and against KL at equal diversity.

    Sections: `optimum` at a KL strength with the sampling policy as reference, as the strength grows; `frontier`, at
    each exponent of b_C: every correctness with the KL to the base that smoothing (p_W = b_W) and the bonus (the same
    exponent on W) pay for it. `needed_tilt` is the reward gap over the KL strength that gets there: the gap of 1
    does iff it is above 0.
    Source:   claims A3, A6 and A7.
    """
    for method in SIGNS:
        for ratio in RATIOS:
            is_beyond = method in ("entropy_penalty", "ds_with_charge") and ratio >= 1
            if is_beyond or (ratio > 0 and method == "vanilla"):
                continue
            pair = strengths_of(method, ratio * kl_strength)
            log_policy = optima.sampling_optimum(problem, kl_strength, pair)
            exponent = optima.sampling_exponents(kl_strength, pair).correct
            yield _cost_row(problem, log_policy, 1 / kl_strength, "optimum", method, exponent, ratio * kl_strength)
    right, wrong = (
        policies.conditional(problem.base_log_policy, problem.correct, given_correct=side) for side in (True, False)
    )
    base_logit = policies.logit_correctness(problem.base_log_policy, problem.correct)
    for exponent in exponents:
        for method, spread in (("ds", 1.0), ("entropy_bonus", exponent)):
            for logit in base_logit + FRONTIER_RISES:
                inside, outside = policies.tempered(right, exponent), policies.tempered(wrong, spread)
                log_policy = policies.compose(float(logit), inside, outside, problem.correct)
                tilt = dominance.needed_tilt_base(problem, float(logit), exponent)
                if method == "entropy_bonus":  # its own exponent on W, in the place of 1
                    base_wrong = problem.base_log_policy[~problem.is_correct]
                    tilt += policies.log_partition(base_wrong, exponent) - policies.log_partition(base_wrong)
                yield _cost_row(problem, log_policy, tilt, "frontier", method, exponent, 0.0)


def _cost_row(
    problem: Problem, log_policy: Floats, tilt: float, section: str, method: str, exponent: float, strength: float
) -> Row:
    return {
        "section": section,
        "method": method,
        "exponent": float(exponent),
        "strength": float(strength),
        "logit_correctness": policies.logit_correctness(log_policy, problem.correct),
        "solution_diversity": float(estimators.solution_diversity(log_policy, problem.correct)),
        "kl_to_base": float(divergences.kl(log_policy, problem.base_log_policy)),
        "needed_tilt": float(tilt),
    }


def multiplicity(num_wrong: int, kl_strength: float) -> Iterator[Row]:
    """Slopes of logit Q in a small strength against solution multiplicity exp H(b_C) and the base correctness.

    They depend on the base policy through H(b_C), H(b_W) and Q_b alone, as S_C = H(b_C) - log Q_b and S_W = H(b_W) -
    log(1 - Q_b); exp H(b_W) is `num_wrong`.
    Source:   claims A4.1 (reward form), A4.2 (H form), A4.3, and A5 (smoothing, base reference).
    """
    for inside in MULTIPLICITIES:
        for logit in SLOPE_LOGITS:
            yield from slopes_at(float(inside), num_wrong, float(logit), kl_strength)


def slopes_at(num_correct: float, num_wrong: float, logit: float, kl_strength: float) -> Iterator[Row]:
    """The slopes of `multiplicity` for effective numbers of correct and wrong answers and a logit of Q_b."""
    log_mass, log_failure = -np.logaddexp(0.0, -logit), -np.logaddexp(0.0, logit)
    surprisals = np.log(num_correct) - log_mass, np.log(num_wrong) - log_failure
    slopes = {
        ("entropy_bonus", "reward"): optima.global_term_slope(*surprisals, kl_strength, 0.0),
        ("entropy_bonus", "entropy"): optima.entropy_form_slope(*surprisals, kl_strength, 0.0),
        ("ds", "reward"): optima.smoothing_slope(surprisals[0], kl_strength),
    }
    for (method, form), slope in slopes.items():
        where: Row = {"method": method, "form": form, "multiplicity": num_correct, "logit_correctness": logit}
        yield where | {"slope": float(slope)}


def prompt_weights(group_size: int) -> Iterator[Row]:
    """The prompt weight c_G(Q) of every method of the table whose advantage is a function of correctness alone.

    Methods at their default parameters.
    Source:   claims B4 and E1, ours.
    """
    for method in method_table.METHODS.values():
        asks_for = set(inspect.signature(method.advantage).parameters) & set(method_table.INPUTS)
        if method.level != "group" or not asks_for <= {"reward", "correct"}:
            continue
        values = calls.parameter_values(method)
        table = expectations.advantage_table(method.advantage, group_size, **values)
        for mass, weight in zip(WEIGHT_GRID, expectations.prompt_weight(table, WEIGHT_GRID), strict=True):
            yield {"method": method.id, "correctness": float(mass), "prompt_weight": float(weight)}
