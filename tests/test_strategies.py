from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.flow import dynamics, matched, strategies
from sharpening.theory.groups import expectations
from sharpening.theory.methods import baselines
from sharpening.theory.policies import Floats
from tests.tolerances import FLOAT64, PATH_LIMIT, ROOT, SECOND_ORDER

LATE = 1e8  # steps times the learning rate


@st.composite
def bandits(draw: st.DrawFn) -> tuple[Floats, Floats]:
    num_prompts, num_strategies = draw(st.integers(1, 5)), draw(st.integers(2, 5))
    logits = [draw(st.floats(-20.0, 20.0)) for _ in range(num_strategies)]
    cells = [draw(st.sampled_from([0.0, 1.0])) for _ in range(num_prompts * num_strategies)]
    return np.exp(policies.log_softmax(logits)), np.reshape(cells, (num_prompts, num_strategies))


@given(bandits())
def test_pass_at_k_rises_with_k_from_pass_at_1_to_the_share_of_solvable_prompts(bandit):
    policy, success = bandit
    policy = (policy + 1 / policy.size) / 2  # so that the last k is late for every strategy
    curve = strategies.pass_at_k(policy, success, [1, 2, 3, 10, 100, 1000])
    assert (np.diff(curve) >= -FLOAT64).all()
    np.testing.assert_allclose(curve[0], policy @ success.mean(axis=0), rtol=FLOAT64)
    np.testing.assert_allclose(curve[-1], success.any(axis=1).mean(), rtol=FLOAT64)


@given(bandits())
def test_first_losing_k_is_where_the_base_passes_the_end(bandit):
    policy, success = bandit
    best = success.mean(axis=0).max()
    k = strategies.first_losing_k(policy, success)
    if k is None:
        assert strategies.pass_at_k(policy, success, 2**50) <= best + FLOAT64
    else:
        before, after = strategies.pass_at_k(policy, success, [k - 1, k])
        assert k >= 2
        assert before <= best + FLOAT64
        assert after >= best - FLOAT64


def test_a_rare_strategy_gives_a_large_k_without_walking_there():
    policy = np.array([1 - 1e-12, 1e-12])
    k = strategies.first_losing_k(policy, [[1, 0], [1, 0], [0, 1]])
    assert k == 2  # any draw of the rare strategy gains a prompt that the best one misses, and none is lost
    k = strategies.first_losing_k(policy, [[0, 1], [0, 1], [1, 0]])
    assert k is not None
    assert k == pytest.approx(
        np.log(2) / 1e-12, rel=SECOND_ORDER
    )  # half of the two prompts' failures gone: 2 e^(-kp) < 1


def test_nothing_is_lost_where_one_strategy_solves_all_that_can_be_solved():
    assert strategies.first_losing_k([0.2, 0.8], [[1, 0], [1, 1], [0, 0]]) is None
    assert strategies.first_losing_k([0.2, 0.8], [[0, 0], [0, 0]]) is None


@given(bandits(), st.sampled_from([2, 4, 8]))
def test_the_shared_advantage_and_the_shared_step_are_the_same_step(bandit, group_size):
    policy, success = bandit
    table = expectations.advantage_table(baselines.grpo, group_size)

    def weight(mass: Floats) -> Floats:
        return expectations.prompt_weight(table, np.clip(mass, 0.0, 1.0))

    mass = strategies.correctness(policy, success)
    slopes = policy * (success - mass[:, None])  # dQ_x/dz_j of a softmax, (num_prompts, num_strategies)
    step = strategies.shared_step(weight(mass), slopes)
    flow = dynamics.softmax_flow(policy, strategies.shared_advantage(policy, success, weight))
    np.testing.assert_allclose(flow, step, atol=FLOAT64)


def test_the_flow_ends_where_limit_strategy_says_and_loses_pass_at_k():
    policy = np.array([0.2, 0.3, 0.5])
    success = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 0]], dtype=np.float64)
    assert strategies.limit_strategy(policy, success) == 1  # tied with the first in success, and likelier
    advantage = strategies.shared_advantage(policy, success)
    end = np.exp(dynamics.integrate(np.log(policy), lambda _: advantage, [0.0, LATE])[-1])
    assert end[1] > 1 - PATH_LIMIT
    k = strategies.first_losing_k(policy, success)
    assert k is not None
    before, after = strategies.pass_at_k(policy, success, k), strategies.pass_at_k(end, success, k)
    assert after < before
    assert strategies.pass_at_k(end, success, 1) > strategies.pass_at_k(policy, success, 1)


def test_nothing_moves_where_all_strategies_succeed_equally_often():
    """Claim D2 as first written left this case out."""
    policy = np.array([0.3, 0.7])
    rate = dynamics.softmax_flow(policy, strategies.shared_advantage(policy, np.eye(2)))
    np.testing.assert_allclose(rate, 0.0, atol=FLOAT64)


@pytest.mark.parametrize(("group_size", "is_inner"), [(3, False), (8, True)])
def test_maxrl_keeps_both_strategies_only_in_groups_above_the_odds(group_size, is_inner):
    share = 0.8  # odds 4 against c_G(0)/c_G(1) = G - 1
    at_corner = expectations.maxrl_weight(np.array([1.0, 0.0]), group_size)
    assert (share * at_corner[0] < (1 - share) * at_corner[1]) == is_inner


def test_methods_have_the_odds_of_claim_e1():
    assert strategies.stationary_odds(0.8, strategies.balance_order("maxrl")) == pytest.approx(4.0, rel=FLOAT64)
    assert strategies.stationary_odds(0.8, strategies.balance_order("pkpo", k=3)) == pytest.approx(2.0, rel=FLOAT64)
    f_grpo = strategies.balance_order("f_grpo", gamma=0.5)
    assert strategies.stationary_odds(0.8, f_grpo) == pytest.approx(16.0, rel=FLOAT64)
    for method in strategies.FLAT_METHODS:
        assert strategies.stationary_odds(0.8, strategies.balance_order(method)) == np.inf


@pytest.mark.parametrize("method", strategies.FLAT_METHODS)
def test_flat_methods_weigh_q_and_its_mirror_image_alike(method):
    table = expectations.advantage_table(getattr(baselines, method), 6)
    mass = np.linspace(0.0, 1.0, 11)
    weight = expectations.prompt_weight(table, mass)
    np.testing.assert_allclose(weight, weight[::-1], rtol=FLOAT64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strategies.require_solves([1, 0]), r"solves has shape \(2,\)"),
        (lambda: strategies.require_solves([[1, 0.5]]), r"solves\[0, 1\] is 0.5"),
        (lambda: strategies.first_losing_k([1.0, 0.0], [[1, 0]]), r"base_policy\[1\] is 0"),
        (lambda: strategies.balance_order("ucpo"), "method is 'ucpo'"),
        (lambda: strategies.stationary_odds(0.5, 1.0), "share is 0.5"),
        (lambda: strategies.stationary_odds(0.8, -1.0), "order is -1"),
        (lambda: strategies.stationary_odds(0.8, float("nan")), "order is nan"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


PROBLEM = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])


@settings(max_examples=25)  # each solves for one or two roots of the path
@given(st.floats(0.0, 500.0))
def test_the_matched_policy_has_the_asked_correctness(rise):
    logit = policies.logit_correctness(PROBLEM.base_log_policy, PROBLEM.correct) + rise
    log_policy = matched.log_policy_at_logit(PROBLEM, logit)
    assert policies.logit_correctness(log_policy, PROBLEM.correct) == pytest.approx(logit, abs=ROOT)


@settings(max_examples=25)
@given(st.floats(0.0, 50.0), st.floats(0.0, 50.0))
def test_the_matched_policy_sharpens_as_correctness_rises(first, second):
    assume(first < second)
    start = policies.logit_correctness(PROBLEM.base_log_policy, PROBLEM.correct)
    before, after = (matched.log_policy_at_logit(PROBLEM, start + rise) for rise in (first, second))
    assert after[0] - after[1] >= before[0] - before[1] - FLOAT64


def test_the_matched_policy_starts_at_the_base_and_not_below():
    start = policies.logit_correctness(PROBLEM.base_log_policy, PROBLEM.correct)
    np.testing.assert_allclose(matched.log_policy_at_logit(PROBLEM, start), PROBLEM.base_log_policy, rtol=FLOAT64)
    with pytest.raises(ValueError, match=r"logit is -5\.0"):
        matched.log_policy_at_logit(PROBLEM, -5.0)


def test_balance_orders_have_their_published_defaults():
    assert (strategies.balance_order("f_grpo"), strategies.balance_order("pkpo")) == (1.0, 1.0)
