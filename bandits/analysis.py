"""From simulated policies to rows and a summary, with the theory's prediction beside each number where there is one."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from bandits import simulator
from bandits.specification import Specification, problem_of
from theory import divergences, dynamics, estimators, groups, method_table, methods, policies, vanilla_path
from theory.policies import Floats, Problem

SCHEMA_VERSION = 1
PASS_AT_K = tuple(2**power for power in range(9))
QUANTITIES = ("correctness", "solution_diversity", "entropy", "kl_to_base", "retained_mass")
COLUMNS = ("step", "quantity", "k", "mean", "standard_error", "predicted", "prediction_source")
CORRECTNESS_ONLY = "exact flow of claims B2 and B4: many runs, small learning rate"
SMOOTHED = "exact flow of claim B6 with the baseline's factor: many runs, small learning rate"
PLAIN_TERM = {"placement": "advantage", "centre": "none", "normalise": "none", "reference": "sampling"}
Row = dict[str, Any]


def measure(problem: Problem, log_policy: Floats) -> dict[tuple[str, int], Floats]:
    """Every quantity of each policy, keyed by name and k (0 where there is no k).

    Shapes:   log_policy: (num_policies, num_arms), nats. Values (num_policies,).
    """
    policy = np.exp(log_policy)
    mass = policy[:, problem.is_correct].sum(axis=1)
    base = np.exp(problem.base_log_policy)
    values = {
        "correctness": mass,
        "solution_diversity": estimators.solution_diversity(log_policy, problem.correct),
        "entropy": policies.entropy(log_policy),
        "kl_to_base": divergences.kl(log_policy, problem.base_log_policy),
        "retained_mass": estimators.retained_mass(base, policy, problem.correct),
    }
    found = {(name, 0): np.asarray(value) for name, value in values.items()}
    return found | {
        ("pass_at_k", k): np.asarray(estimators.exact_pass_at_k(np.minimum(mass, 1.0), k)) for k in PASS_AT_K
    }


def predicted_path(specification: Specification, num_updates: list[int]) -> tuple[Floats | None, str | None]:
    """The theory's policies after the given updates and where they come from; (None, None) where there is no theory.

    Shapes:   returns (num_records, num_arms), log-probabilities in nats.
    Source:   claims B2, B4, B6; ours.
    """
    problem, method = problem_of(specification), methods.resolve(specification.method)
    values = methods.parameter_values(method, specification.parameters)
    times = specification.learning_rate * np.array(num_updates, dtype=np.float64)
    if specification.optimizer != "sgd" or methods.level_of(method, specification.parameters) != "group":
        return None, None
    if (
        set(methods.needs(method, specification.parameters)) <= {"reward", "correct"}
        and method.id in method_table.METHODS
    ):
        weight = _prompt_weight(specification, method)
        return vanilla_path.vanilla_path(problem, times, weight), CORRECTNESS_ONLY
    pair = plain_term(method.id, values)
    if pair is None:
        return None, None
    centred_reward = groups.dr_grpo_weight(specification.group_size) * problem.correct
    smooth = functools.partial(
        dynamics.smoothing_advantage, correct=problem.correct, gamma_correct=pair[0], gamma_incorrect=pair[1]
    )

    def advantage_of(log_policy: Floats) -> Floats:
        return np.asarray(smooth(log_policy) - problem.correct + centred_reward)

    return dynamics.integrate(problem.base_log_policy, advantage_of, times), SMOOTHED


def _prompt_weight(specification: Specification, method: method_table.Method) -> Callable[[Floats], Floats]:
    """c_G(Q) of a method of correctness only, from its own table f(r, X)."""
    call = functools.partial(methods.group_advantages, method, parameters=specification.parameters)

    def advantage(*, reward: Floats, correct: Floats) -> Floats:
        return np.asarray(call({"reward": reward, "correct": correct}))

    table = groups.advantage_table(advantage, specification.group_size)
    return lambda correctness: np.asarray(groups.prompt_weight(table, correctness))


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
    num_updates = sorted({*range(0, specification.num_steps, specification.record_every), specification.num_steps})
    path, source = predicted_path(specification, num_updates)
    problem = problem_of(specification)
    expected = measure(problem, path) if path is not None else {}
    for place, (steps, log_policy) in enumerate(records):
        for (quantity, k), values in measure(problem, log_policy).items():
            claimed = expected.get((quantity, k))
            yield {
                "step": steps,
                "quantity": quantity,
                "k": k,
                "mean": float(values.mean()),
                "standard_error": float(values.std(ddof=1) / np.sqrt(values.size)),
                "predicted": float("nan") if claimed is None else float(claimed[place]),
                "prediction_source": source or "",
            }


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
        "num_runs": specification.num_runs,
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
