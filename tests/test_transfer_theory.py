"""The formulas of shared parameters against small steps of policies and against whole matrices of gradients."""

from __future__ import annotations

import numpy as np
import pytest

from sharpening.samples import sharpening
from sharpening.theory import policies
from sharpening.theory.claims.ledger import Mutant
from sharpening.theory.flow import transfer
from sharpening.theory.policies import Floats, Problem
from tests.mutation import applied
from tests.tolerances import DIFFERENCE, DIFFERS, FLOAT64

STEP = 1e-5
HOME = "sharpening.theory.flow.transfer"


def problem(rng: np.random.Generator) -> Problem:
    """Seven answers, three or four of them correct, and no two equally likely."""
    return Problem(policies.log_softmax(2 * rng.normal(size=7)), np.array([1, 1, 0, 1, 0, rng.integers(2), 0.0]))


def measured_slope(before: Problem, gain: Floats) -> float:
    """The slope of these gains as `audit` measures it."""
    start, inside = before.base_log_policy, before.is_correct
    given = sharpening.Gains(
        np.zeros(len(start), np.int64), start, start + gain, before.correct, np.exp(start), np.ones(len(start))
    )
    return float(sharpening.slope_row(given.only(inside))["value"])


def moved(before: Problem, logit_step: Floats) -> tuple[float, float]:
    """Slope and change of logit Q per step, by central differences in the logits."""
    after = [policies.log_softmax(before.base_log_policy + sign * STEP * logit_step) for sign in (1, -1)]
    up, down = (policies.logit_correctness(one, before.correct) for one in after)
    return measured_slope(before, (after[0] - after[1]) / (2 * STEP)), (up - down) / (2 * STEP)


def errors(rng: np.random.Generator) -> Floats:
    """The largest relative error of the weights against a step in a random direction, and of the moves of a table."""
    before, weight = problem(rng), 1.7
    direction = rng.normal(size=7)
    gain = direction - np.exp(before.base_log_policy) @ direction
    slope, rise = moved(before, direction)
    table_slope, table_rise = moved(before, np.array([weight * step for step in policy_gradient(before)]))
    tabular = transfer.tabular_moves(before, lambda _: weight)
    pairs = [
        (transfer.slope_weights(before) @ gain / transfer.spread(before), slope),
        (transfer.logit_weights(before) @ gain, rise),
        (tabular.slope / transfer.spread(before), table_slope),
        (tabular.logit, table_rise),
        (
            transfer.training_weight(before, lambda _: weight) * transfer.logit_weights(before)[0],
            weight * np.exp(before.base_log_policy[0]),  # grad Q = sum of p_i grad log p_i
        ),
    ]
    return np.array([abs(found / wanted - 1) for found, wanted in pairs])


def policy_gradient(before: Problem) -> list[float]:
    """dQ/dz by central differences."""
    units = STEP * np.eye(7)
    return [
        float(
            policies.correctness(policies.log_softmax(before.base_log_policy + unit), before.correct)
            - policies.correctness(policies.log_softmax(before.base_log_policy - unit), before.correct)
        )
        / (2 * STEP)
        for unit in units
    ]


def shared_errors(rng: np.random.Generator, num_prompts: int = 6, num_parameters: int = 40) -> Floats:
    """Predictions from transfers against the mean of all gradients, on prompts trained on and on others."""
    common = rng.normal(size=num_parameters)
    slopes, logits, others = rng.normal(size=(3, num_prompts, num_parameters)) + common
    weights, spreads = rng.uniform(0.1, 0.3, num_prompts), rng.uniform(1, 2, num_prompts)
    found = []
    for trained, size in ((logits, num_prompts), (others, np.inf)):
        step = (weights[:, None] * trained).mean(axis=0)
        own = transfer.Moves((weights * (slopes * logits).sum(1)).mean(), (weights * (logits**2).sum(1)).mean())
        by_mean = transfer.Moves((slopes @ step).mean(), (logits @ step).mean())
        if np.isinf(size):
            cross = [
                np.mean([[weights[j] * one @ others[j] for j in range(6)] for one in rows]) for rows in (slopes, logits)
            ]
        else:
            cross = [
                np.mean([weights[j] * rows[i] @ logits[j] for i in range(6) for j in range(6) if i != j])
                for rows in (slopes, logits)
            ]
        taus = [
            transfer.transfer(mine, transfer.cross(mine, mean, size)) for mine, mean in zip(own, by_mean, strict=True)
        ]
        rate = transfer.slope_per_logit(own, spreads.mean()) * transfer.amplification(*taus, size)
        wanted = (slopes @ step).sum() / spreads.sum() / (logits @ step).mean()
        found += [
            rate / wanted - 1,
            *(tau * mine / other - 1 for tau, mine, other in zip(taus, own, cross, strict=True)),
        ]
    return np.abs(found)


def test_weights_and_tables_are_those_of_a_small_step() -> None:
    rng = np.random.default_rng(0)
    assert max(errors(rng).max() for _ in range(20)) < DIFFERENCE


def test_transfers_predict_what_the_mean_gradient_does() -> None:
    rng = np.random.default_rng(0)
    assert max(shared_errors(rng).max() for _ in range(20)) < FLOAT64


def test_without_transfer_shared_parameters_change_nothing() -> None:
    assert transfer.amplification(0.0, 0.0, 200) == 1.0
    assert transfer.cross(3.0, 3.0 / 200, 200) == 0.0


MUTANTS = [
    Mutant(f"{HOME}:logit_weights", "- np.logaddexp(0.0, -logit)", "+ 0.0"),
    Mutant(f"{HOME}:logit_weights", "-np.logaddexp(0.0, logit)", "0.0"),
    Mutant(f"{HOME}:slope_weights", "centred = problem.base_log_policy - mean", "centred = problem.base_log_policy"),
    Mutant(f"{HOME}:slope_weights", "np.exp(problem.base_log_policy) * centred", "centred"),
    Mutant(f"{HOME}:spread", "@ problem.base_log_policy[inside]", "@ slope_weights(problem)[inside]"),
    Mutant(f"{HOME}:training_weight", "* (1 - correctness)", ""),
    Mutant(f"{HOME}:training_weight", "prompt_weight(correctness) * ", ""),
    Mutant(f"{HOME}:tabular_moves", "prompt_weight(correctness) * ", ""),
    Mutant(f"{HOME}:tabular_moves", " - policy @ logit_rate", ""),
    Mutant(f"{HOME}:tabular_moves", "dynamics.softmax_flow", "dynamics.natural_flow"),
    Mutant(f"{HOME}:cross", "by_mean - own", "by_mean"),
    Mutant(f"{HOME}:cross", "/ (num_prompts - 1)", "/ num_prompts"),
    Mutant(f"{HOME}:cross", "by_mean if np.isinf(num_prompts)", "own if np.isinf(num_prompts)"),
    Mutant(f"{HOME}:transfer", "cross / own", "own / cross"),
    Mutant(f"{HOME}:amplification", "return transfer_slope / transfer_logit", "return transfer_logit / transfer_slope"),
    Mutant(f"{HOME}:amplification", "(1 + (num_prompts - 1) * transfer_slope)", "(1 + num_prompts * transfer_slope)"),
    Mutant(
        f"{HOME}:amplification", "/ (1 + (num_prompts - 1) * transfer_logit)", "/ (1 + num_prompts * transfer_logit)"
    ),
    Mutant(f"{HOME}:amplification", "/ (1 + (num_prompts - 1) * transfer_logit)", ""),
    Mutant(f"{HOME}:slope_per_logit", "/ spread", ""),
    Mutant(f"{HOME}:slope_per_logit", "/ moves.logit", ""),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: f"{one.function.split(':')[1]}: {one.mutated}")
def test_mutants_are_killed(mutant: Mutant) -> None:
    rng = np.random.default_rng(0)
    with applied(mutant):
        assert max(errors(rng).max(), shared_errors(rng).max()) > DIFFERS
