"""Experiments: every one agrees with the theory, and not with a theory that has one sign or factor turned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sharpening.bandits import experiments, instances, measures, simulator
from sharpening.bandits.experiments import framework
from sharpening.bandits.experiments.framework import Finding, Outcome, Scale, Task
from sharpening.bandits.rollouts import Rollouts
from sharpening.bandits.specification import Specification
from sharpening.theory import policies
from sharpening.theory.claims.ledger import Mutant
from tests.mutation import applied
from tests.tolerances import FLOAT64

SMALL = Scale("test", 1, 2)
MUTANTS = {
    "reinforcement_bias": ("flow.vanilla_path:logits_at_rise", "right + gain", "right - gain"),
    "universality": (
        "groups.expectations:prompt_weight",
        "return given_correct - given_wrong",
        "return 2 * (given_correct - given_wrong)",
    ),
    "natural_gradient": ("flow.vanilla_path:logits_at_rise", "right + gain", "right - gain"),
    "smoothing_limit": ("shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
    "selection_bias": ("groups.sampling:absence_ratio", "log_absent_rarer - ", "log_absent_rarer + "),
    "tail_miss": ("groups.sampling:tail_miss", "- smaller**size", "+ smaller**size"),
    "drift": ("groups.sampling:drift", "- 2) - 2 *", "- 2) + 2 *"),
    "potential": ("flow.dynamics:smoothing_potential", "gain - gamma_incorrect", "gain + gamma_incorrect"),
    "entropy_ceiling": ("flow.dynamics:entropy_ceiling", "boost + num_wrong", "boost - num_wrong"),
    "base_reference": ("flow.dynamics:base_reference_limit", "np.inf).argmin()", "-np.inf).argmax()"),
    "equivalence": ("optimum.dominance:equivalent_inverse_strength", "* multiplier", "* 0"),
    "first_effect": ("flow.dynamics:global_term_effect", "in_correct - in_wrong", "in_wrong - in_correct"),
    "prompt_weights": ("flow.strategies:stationary_odds", "share / (1 - share)", "(1 - share) / share"),
    "pass_at_k_falls": ("flow.strategies:shared_advantage", "[:, None] * solves", "[:, None] * (1 - solves)"),
    "matched_q": (
        "flow.matched:log_policy_at_logit",
        "np.asarray(vanilla_path.log_policy_at_rise(problem, ",
        "np.asarray(vanilla_path.log_policy_at_rise(problem, 2 * ",
    ),
    "collapse_speed": ("flow.matched:collapse_exponent", "num_wrong / (", "num_top / ("),
    "turning_point": ("flow.smoothing:smoothing_onset", "- failure *", "- 2 * failure *"),
    "centring": ("flow.smoothing:log_ratio_rate", "- gamma_correct", "+ gamma_correct"),
    "noisy_verifier": ("flow.smoothing:noisy_advantage", "- (1 - marked)", "+ (1 - marked)"),
    "smoothing_against_drift": ("flow.smoothing:consensus_factor", "1 - ", "1 + "),
    "convergence": ("groups.expectations:dr_grpo_weight", "1 - 1", "1 + 1"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_an_experiment_agrees_with_the_theory_and_not_with_a_mutant(name: str):
    """The same rows that agree with a prediction reject it once one sign or factor of the theory is turned."""
    (experiment,) = experiments.select((name,))
    outcomes = [Outcome(task, list(framework.rows_of(task))) for task in experiment.tasks(SMALL, 0)]
    findings = list(experiment.analyse(outcomes))
    assert [finding.label for finding in findings if finding.status == "differs"] == []
    assert len({finding.label for finding in findings}) == len(findings)
    function, original, mutated = MUTANTS[name]
    with applied(Mutant(f"sharpening.theory.{function}", original, mutated)):
        assert framework.verdict(list(experiment.analyse(outcomes))) == "differs"


@pytest.mark.parametrize(
    ("observed", "standard_error", "allowed", "status"),
    [
        (1.03, 0.008, 0.0, "agrees"),
        (1.05, 0.008, 0.0, "differs"),
        (1.05, 0.008, 0.02, "agrees"),
        (1.04, 0.02, 0.0, "not resolved"),  # too noisy for its distance from the rival
        (1.5, 0.0, 0.6, "not resolved"),  # so much is allowed that the rival fits too
        (2.0, 0.0, 0.0, "differs"),
        (math.nan, 0.0, 0.0, "differs"),
    ],
)
def test_status_of_a_finding(observed: float, standard_error: float, allowed: float, status: str):
    """Prediction 1, rival 2."""
    assert Finding("x", observed, standard_error, 1.0, 2.0, allowed).status == status


def test_a_verdict_is_that_of_the_worst_finding():
    good, vague, bad = (Finding("x", value, 0.0, 1.0, 2.0, allowed) for value, allowed in ((1, 0), (1, 2), (2, 0)))
    assert framework.verdict([good, good]) == "agrees"
    assert framework.verdict([good, vague]) == "not resolved"
    assert framework.verdict([good, vague, bad]) == "differs"
    assert framework.verdict([]) == "not resolved"


def test_ids_are_unique_and_every_experiment_is_tested():
    ids = [experiment.id for experiment in experiments.EXPERIMENTS]
    assert len(set(ids)) == len(ids)
    assert set(ids) >= set(MUTANTS)
    with pytest.raises(ValueError, match="only: 'luck' is no experiment"):
        experiments.select(("luck",))


def test_measures_of_rollouts():
    """Two runs of two groups: who is drawn, and who is missed where there is something to learn."""
    arms = np.array([[[0, 2, 2], [0, 0, 1]], [[2, 2, 2], [0, 1, 2]]])
    rollouts = Rollouts(arms, (arms < 2).astype(float), np.full((2, 2), 0.5))
    np.testing.assert_array_equal(measures.is_drawn(rollouts, 1), [0.5, 0.5])
    np.testing.assert_array_equal(measures.is_missed(rollouts, 1), [0.5, 0.0])


def test_rows_of_rollouts_are_those_of_the_first_batch():
    specification = Specification(instance="two_correct_arms", method="dr_grpo", num_runs=50, num_steps=3)
    task = Task(specification=specification, measures=("is_drawn:1", "correctness"))
    rows = list(framework.rows_of(task))
    arms = simulator.first_batch(specification).rollouts.arms
    assert rows[0]["mean"] == (arms == 1).any(axis=-1).mean()
    assert [row["step"] for row in rows] == [0, 0, 3]
    again = simulator.first_batch(specification.model_copy(update={"num_steps": 1}))
    other = simulator.first_batch(specification.model_copy(update={"seed": 1}))
    np.testing.assert_array_equal(arms, again.rollouts.arms)
    assert (arms != other.rollouts.arms).any()


def test_logit_of_correctness_is_that_of_theory():
    bandit = instances.two_correct_arms()
    log_policy = policies.log_softmax(np.random.default_rng(0).normal(0, 9, (20, 4)))
    found = measures.evaluate("logit_correctness", bandit, log_policy)
    wanted = [policies.logit_correctness(row, bandit.problem.correct) for row in log_policy]
    np.testing.assert_allclose(found, wanted, rtol=FLOAT64)


@pytest.mark.parametrize("name", ["luck", "log_ratio:a:b", "log_ratio:-1:0"])
def test_an_unknown_measure_is_named(name: str):
    with pytest.raises(ValueError, match=f"measure: '{name}': want one of correctness"):
        measures.parsed(name)
