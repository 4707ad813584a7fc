"""From simulated policies to rows and a summary, with the theory's prediction beside each number where there is one."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from sharpening.bandits import measures, simulator
from sharpening.bandits.instances import Bandit
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.flow import dynamics, strategies, vanilla_path
from sharpening.theory.groups import expectations
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import calls
from sharpening.theory.methods import table as method_table
from sharpening.theory.policies import Floats, Problem

SCHEMA_VERSION = 1
PASS_AT_K = tuple(2**power for power in range(9))
QUANTITIES = ("correctness", "solution_diversity", "entropy", "kl_to_base", "retained_mass")
COLUMNS = ("step", "quantity", "k", "mean", "standard_error", "predicted", "prediction_source")
CORRECTNESS_ONLY = "exact flow of claims B2 and B4: many runs, small learning rate"
SHARED = "exact flow of claims D2 and E1: many runs, small learning rate"
LISTED = "exact flow of all groups, listed: many runs, small learning rate"
SMOOTHED = "exact flow of claim B6 with the baseline's factor: many runs, small learning rate"
METHOD_IDS = (*method_table.METHODS, *method_table.PRESETS)  # a function of the user may not permute with the group
FEW_GROUPS = 5_000  # listed at every evaluation of a flow
PLAIN_TERM = {
    **{"placement": "advantage", "centre": "none", "normalise": "none", "reference": "sampling"},
    "least_members": 1,
}
Row = dict[str, Any]


def measure(bandit: Bandit, log_policy: Floats) -> dict[tuple[str, int], Floats]:
    """Every quantity of each policy, a mean over prompts, keyed by name and k (0 where there is no k).

    Shapes:   log_policy: (num_policies, num_arms), nats. Values (num_policies,).
    """
    found = {(name, 0): measures.evaluate(name, bandit, log_policy) for name in QUANTITIES}
    return found | {("pass_at_k", k): measures.pass_at_k(bandit, log_policy, k) for k in PASS_AT_K}


def predicted_path(specification: Specification, num_steps: list[int]) -> tuple[Floats | None, str | None]:
    """The theory's policies after the given steps and where they come from; (None, None) where there is no theory.

    Shapes:   returns (num_records, num_arms), log-probabilities in nats.
    Source:   claims B2, B4, B6, D2, E1; ours.
    """
    bandit, method = bandit_of(specification), calls.resolve(specification.method)
    times = specification.learning_rate * np.array(num_steps, dtype=np.float64)
    is_group = calls.level_of(method, specification.parameters) == "group" and method.id in METHOD_IDS
    if specification.optimizer == "adam" or specification.updates_per_batch > 1 or not is_group:
        return None, None
    is_plain = specification.optimizer == "sgd" and not any(
        (
            specification.kl_strength,
            specification.false_positive_rate,
            specification.false_negative_rate,
            specification.format_credit,
        )
    )
    of_correctness = set(calls.needs(method, specification.parameters)) <= {"reward", "correct"}
    if is_plain and of_correctness:
        weight = prompt_weight(specification)
        if len(bandit.solves) == 1:
            return vanilla_path.vanilla_path(bandit.problem, times, weight), CORRECTNESS_ONLY

        def shared(log_policy: Floats) -> Floats:
            return np.asarray(strategies.shared_advantage(np.exp(log_policy), bandit.solves, weight))

        return dynamics.integrate(bandit.base_log_policy, shared, times), SHARED
    if len(bandit.solves) > 1 or specification.format_credit is not None:
        return None, None
    values = calls.parameter_values(method, specification.parameters)
    pair = plain_term(method.id, values)
    if is_plain and pair is not None:
        return _smoothed_path(specification, bandit.problem, pair, times), SMOOTHED
    flow = ExpectedFlow(
        method.advantage,
        bandit.problem,
        values,
        specification.group_size,
        False,
        specification.false_positive_rate,
        specification.false_negative_rate,
        specification.kl_strength,
    )
    if math.comb(flow.symbols[0].size + flow.group_size - 1, flow.group_size) > FEW_GROUPS:
        return None, None
    geometry: dynamics.Geometry = "natural" if specification.optimizer == "natural" else "softmax"
    return dynamics.integrate(bandit.base_log_policy, flow.advantages, times, geometry), LISTED


def _smoothed_path(specification: Specification, problem: Problem, pair: tuple[float, float], times: Floats) -> Floats:
    """The exact flow of a reward centred by a group baseline and a term added as it is."""
    centred_reward = expectations.dr_grpo_weight(specification.group_size) * problem.correct
    smooth = functools.partial(
        dynamics.smoothing_advantage, correct=problem.correct, gamma_correct=pair[0], gamma_incorrect=pair[1]
    )

    def advantage_of(log_policy: Floats) -> Floats:
        return np.asarray(smooth(log_policy) - problem.correct + centred_reward)

    return dynamics.integrate(problem.base_log_policy, advantage_of, times)


def prompt_weight(specification: Specification) -> Callable[[Floats], Floats]:
    """c_G(Q) of a method of correctness only, from its own table f(r, X)."""
    method = calls.resolve(specification.method)
    call = functools.partial(calls.group_advantages, method, parameters=specification.parameters)

    def advantage(*, reward: Floats, correct: Floats) -> Floats:
        return np.asarray(call({"reward": reward, "correct": correct}))

    table = expectations.advantage_table(advantage, specification.group_size)
    return lambda correctness: np.asarray(expectations.prompt_weight(table, correctness))


def plain_term(method_id: str, values: Mapping[str, Any]) -> tuple[float, float] | None:
    """The strengths of a term that is added to a centred reward as it is; None for every other setting."""
    if any(values.get(name, word) != word for name, word in PLAIN_TERM.items()):
        return None
    if method_id in ("ds", *method_table.PRESETS):
        return float(values["gamma_correct"]), float(values["gamma_incorrect"])
    if method_id in ("entropy_bonus", "entropy_penalty"):
        strength = float(values["strength"]) * (1 if method_id == "entropy_bonus" else -1)
        return strength, -strength
    return None


def rows(specification: Specification, records: Iterable[tuple[int, Floats]]) -> Iterator[Row]:
    """Mean and standard error over runs of every quantity at every record, with the prediction beside it.

    `records` are those of `simulator.run`.
    """
    num_steps = sorted({*range(0, specification.num_steps, specification.record_every), specification.num_steps})
    try:
        path, source = predicted_path(specification, num_steps)
    except RuntimeError:  # the exact flow is too stiff to be followed
        path, source = None, None
    bandit = bandit_of(specification)
    expected = measure(bandit, path) if path is not None else {}
    for place, (steps, log_policy) in enumerate(records):
        for (quantity, k), values in measure(bandit, log_policy).items():
            claimed = expected.get((quantity, k))
            yield {
                "step": steps,
                "quantity": quantity,
                "k": k,
                "mean": float(values.mean()),
                "standard_error": standard_error(values),
                "predicted": float("nan") if claimed is None else float(claimed[place]),
                "prediction_source": source or "",
            }


def standard_error(values: Floats) -> float:
    """That of the mean over runs; 0 for the mean field, which is one exact run."""
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else 0.0


def simulate(specification: Specification) -> Iterator[Row]:
    """The rows of a simulation."""
    yield from rows(specification, simulator.run(specification))


def summary(specification: Specification, found: list[Row]) -> dict[str, Any]:
    """The last record as nested objects: quantity -> mean, standard_error, predicted, prediction_source."""
    last = [row for row in found if row["step"] == specification.num_steps]
    entries = {(row["quantity"], row["k"]): _entry(row) for row in last}
    return {
        "schema_version": SCHEMA_VERSION,
        "num_steps": specification.num_steps,
        "num_runs": 1 if specification.mean_field else specification.num_runs,
        **{name: entries[name, 0] for name in QUANTITIES},
        "pass_at_k": {str(k): entries["pass_at_k", k] for k in PASS_AT_K},
    }


def _entry(row: Row) -> dict[str, Any]:
    has_prediction = bool(row["prediction_source"])
    return {
        "mean": row["mean"],
        "standard_error": row["standard_error"],
        "predicted": row["predicted"] if has_prediction else None,
        "prediction_source": row["prediction_source"] if has_prediction else None,
    }
