"""The exact expected step: against loops over ordered groups, closed forms, sampled groups and the known flows."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.flow import dynamics, smoothing
from sharpening.theory.groups import expectations, expected_flow
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import baselines, diversity, terms
from tests.tolerances import FINITE_DIFFERENCE, FLOAT64, MONTE_CARLO_Z

PROBLEM = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
OTHER_POLICY = np.log([0.05, 0.25, 0.1, 0.6])
INTEGRATED = 1e-6  # two runs of LSODA at relative tolerances 1e-9 and 1e-10 over a hundred units of time
FUNCTIONS = {
    "grpo": (baselines.grpo, {}),
    "ds": (terms.ds, {"gamma_incorrect": 0.2, "normalise": "std", "centre": "correct_only"}),
    "mara": (diversity.mara, {}),
    "ips": (diversity.ips, {}),
    "ucpo": (diversity.ucpo, {}),
    "unlikeliness": (diversity.unlikeliness, {}),
}


def flow_of(function, parameters=None, **changes) -> ExpectedFlow:
    return dataclasses.replace(ExpectedFlow(function, PROBLEM, parameters or {}), **changes)


def step_by_loops(flow: ExpectedFlow, log_policy: np.ndarray) -> np.ndarray:
    """The mean of A (e_a - p) over the samples of a group, over all ordered groups and all marks, one by one."""
    policy, is_right = np.exp(log_policy), flow.problem.is_correct
    right_chance = np.where(is_right, 1 - flow.false_negative_rate, flow.false_positive_rate)
    total = np.zeros(policy.size)
    for arms in itertools.product(range(policy.size), repeat=flow.group_size):
        for marks in itertools.product((0.0, 1.0), repeat=flow.group_size):
            pairs = list(zip(arms, marks, strict=True))
            chance = np.prod([policy[a] * (right_chance[a] if mark else 1 - right_chance[a]) for a, mark in pairs])
            if chance == 0:
                continue
            index = np.array([arms])
            inputs = {
                "reward": np.array([marks]),
                "correct": np.array([marks]),
                "log_prob": log_policy[index],
                "base_log_prob": flow.problem.base_log_policy[index],
                "num_tokens": np.ones((1, flow.group_size)),
                "answer": index,
            }
            advantage = expected_flow.call(flow.function, inputs, flow.parameters)[0]
            for arm, value in zip(arms, advantage, strict=True):
                total += chance * value * (np.eye(policy.size)[arm] - policy) / flow.group_size
    return total


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("noise", [(0.0, 0.0), (0.3, 0.1)])
def test_the_step_is_that_of_all_ordered_groups_and_marks(name, noise):
    function, parameters = FUNCTIONS[name]
    flow = flow_of(function, parameters, group_size=3, false_positive_rate=noise[0], false_negative_rate=noise[1])
    want = step_by_loops(flow, OTHER_POLICY)
    np.testing.assert_allclose(flow.rates(OTHER_POLICY), want, rtol=0, atol=FLOAT64)
    ordered = dataclasses.replace(flow, is_ordered=True)
    np.testing.assert_allclose(ordered.rates(OTHER_POLICY), want, rtol=0, atol=FLOAT64)


def test_a_function_of_the_place_needs_ordered_groups():
    def by_place(*, reward):
        return reward * np.arange(reward.shape[-1])

    flow = flow_of(by_place, group_size=3, is_ordered=True)
    want = step_by_loops(flow, OTHER_POLICY)
    np.testing.assert_allclose(flow.rates(OTHER_POLICY), want, rtol=0, atol=FLOAT64)


@pytest.mark.parametrize("function", [baselines.grpo, baselines.dr_grpo, baselines.maxrl, baselines.reinforce])
def test_methods_of_the_class_have_their_closed_step(function):
    flow = flow_of(function)
    table = expectations.advantage_table(function, flow.group_size)
    want = expectations.expected_step(np.exp(OTHER_POLICY), PROBLEM.correct, table)
    np.testing.assert_allclose(flow.rates(OTHER_POLICY), want, rtol=0, atol=FLOAT64)


@given(st.lists(st.floats(-20, 20), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_smoothing_keeps_its_digits_at_any_policy(logits, gamma_correct, gamma_incorrect):
    log_policy = policies.log_softmax(logits)
    gammas = {"gamma_correct": gamma_correct, "gamma_incorrect": gamma_incorrect}
    found = flow_of(terms.ds, gammas).advantages(log_policy)
    term = dynamics.smoothing_advantage(log_policy, PROBLEM.correct, **gammas) - PROBLEM.correct
    mass = policies.correctness(log_policy, PROBLEM.correct)
    want = expectations.dr_grpo_weight(8) * (PROBLEM.correct - mass) + term
    np.testing.assert_allclose(found, want, rtol=FLOAT64, atol=FLOAT64)


def test_a_noisy_verifier_gives_the_advantage_of_e4():
    flow = flow_of(baselines.reinforce, group_size=4, false_positive_rate=0.3, false_negative_rate=0.1)
    marked = smoothing.marked_correct(PROBLEM.correct, 0.3, 0.1)
    np.testing.assert_allclose(flow.advantages(OTHER_POLICY), marked, rtol=FLOAT64)
    gammas = {"gamma_correct": 0.5, "gamma_incorrect": 0.2}

    def without_baseline(*, reward, correct, log_prob):
        return terms.shaping.differential_smoothing(reward, log_prob, correct, **gammas)

    shaped = dataclasses.replace(flow, function=without_baseline)
    want = smoothing.noisy_advantage(OTHER_POLICY, marked, 0.5, 0.2)
    np.testing.assert_allclose(shaped.advantages(OTHER_POLICY), want, rtol=FLOAT64)


def test_an_extinct_answer_keeps_its_advantage():
    log_policy = policies.log_softmax([0.0, -1e6, -1e6, -1e6])
    found = flow_of(terms.ds, {"gamma_correct": 0.5}).advantages(log_policy)
    np.testing.assert_allclose(found, [0.0, 5e5, -7 / 8, -7 / 8], rtol=FLOAT64, atol=FLOAT64)


def test_the_depth_is_tried_where_two_right_or_two_wrong_answers_share_all():
    """A function that overflows where two answers of one side are tied on all the mass, and there alone."""
    for side in (1.0, 0.0):

        def fails(reward: np.ndarray, correct: np.ndarray, log_prob: np.ndarray, side: float = side) -> np.ndarray:
            is_tied = (np.abs(log_prob + np.log(2)) < FLOAT64) & (correct == side)
            return np.where(is_tied, np.inf, reward)

        assert flow_of(fails).depth == expected_flow.DEPTHS[-1]
    assert flow_of(baselines.dr_grpo).depth == expected_flow.DEPTHS[0]


def test_sampled_groups_have_the_step_as_their_mean():
    flow = flow_of(diversity.ips, group_size=5)
    rng = np.random.default_rng(0)
    policy = np.exp(OTHER_POLICY)
    answer = rng.choice(policy.size, size=(40_000, 5), p=policy)
    advantage = diversity.ips(reward=PROBLEM.correct[answer], answer=answer)
    scores = np.eye(policy.size)[answer] - policy
    steps = (advantage[:, :, None] * scores).mean(axis=1)
    errors = steps.std(axis=0, ddof=1) / np.sqrt(len(steps))
    assert np.abs((steps.mean(axis=0) - flow.rates(OTHER_POLICY)) / errors).max() < MONTE_CARLO_Z


def test_many_policies_at_once_are_each_alone(monkeypatch):
    flow = flow_of(terms.ds)
    stack = np.stack([OTHER_POLICY, PROBLEM.base_log_policy, OTHER_POLICY[::-1]])
    alone = np.stack([flow.advantages(row) for row in stack])
    np.testing.assert_allclose(flow.advantages(stack), alone, rtol=FLOAT64)
    monkeypatch.setattr(expected_flow, "MAX_ROWS", 400)  # two policies a call
    np.testing.assert_allclose(flow.advantages(stack[None])[0], alone, rtol=FLOAT64)


def test_a_kl_term_adds_its_exact_gradient():
    plain, term = flow_of(baselines.dr_grpo), flow_of(baselines.dr_grpo, kl_strength=0.3)
    policy = np.exp(OTHER_POLICY)
    ratio = OTHER_POLICY - PROBLEM.base_log_policy
    want = -0.3 * policy * (ratio - (policy * ratio).sum())
    np.testing.assert_allclose(term.rates(OTHER_POLICY) - plain.rates(OTHER_POLICY), want, rtol=0, atol=FLOAT64)


def test_the_two_rates_are_those_of_the_policy_along_the_flow():
    flow = flow_of(terms.ds)
    step = 1e-7
    there = policies.log_softmax(OTHER_POLICY + step * flow.rates(OTHER_POLICY))
    moved = (there[0] - there[1] - OTHER_POLICY[0] + OTHER_POLICY[1]) / step
    logits = [policies.logit_correctness(each, PROBLEM.correct) for each in (OTHER_POLICY, there)]
    assert expected_flow.log_ratio_rate(flow, OTHER_POLICY, (0, 1)) == pytest.approx(moved, rel=FINITE_DIFFERENCE)
    rise = (logits[1] - logits[0]) / step
    assert expected_flow.correctness_rate(flow, OTHER_POLICY) == pytest.approx(rise, rel=FINITE_DIFFERENCE)


@pytest.mark.parametrize("geometry", ["softmax", "natural"])
def test_the_flow_is_that_of_the_known_advantage(geometry):
    flow = flow_of(terms.ds, {"gamma_correct": 0.4})

    def advantage_of(log_policy):
        term = dynamics.smoothing_advantage(log_policy, PROBLEM.correct, 0.4, 0.0) - PROBLEM.correct
        return expectations.dr_grpo_weight(8) * PROBLEM.correct + term

    time, found = expected_flow.follow(flow, OTHER_POLICY, 100.0, geometry)
    want = dynamics.integrate(OTHER_POLICY, advantage_of, [0.0, 100.0], geometry)[-1]
    assert time == 100.0
    np.testing.assert_allclose(found, want, rtol=INTEGRATED)


def test_the_flow_stops_where_it_slides_along_a_jump():
    def by_rank(*, correct, log_prob):
        return correct * diversity.average_rank(-log_prob)

    time, found = expected_flow.follow(flow_of(by_rank), PROBLEM.base_log_policy, 1e10)
    assert time < 1e4
    assert found[0] == pytest.approx(found[1], abs=INTEGRATED)


def test_lists_of_groups_are_complete_and_bounded():
    listed = expected_flow.all_groups(3, 4)
    assert len({tuple(row) for row in listed.members.tolist()}) == len(listed.members) == 15
    assert len(expected_flow.all_groups(3, 4, is_ordered=True).members) == 81
    with pytest.raises(ValueError, match="group_size is 40: groups of 8 symbols are more than"):
        expected_flow.all_groups(8, 40)


def test_a_flow_stops_where_an_answer_is_extinct():
    """The natural gradient sheds wrong answers by a nat per unit of time: at -1e5 nats there is no more to follow."""
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    time, end = expected_flow.follow(
        ExpectedFlow(baselines.reinforce, problem, group_size=2), problem.base_log_policy, 1e9, "natural"
    )
    assert 1e5 < time < 1e8
    assert end.min() < expected_flow.DEEPEST
