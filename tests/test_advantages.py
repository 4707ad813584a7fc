from __future__ import annotations

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.theory.methods import baselines, calls
from tests import reference_groups as reference
from tests.tolerances import ADVANTAGE32, ADVANTAGE64

EPSILON = Fraction(1, 10**6)
HALF = Fraction(1, 2)
SIZES = range(2, 9)

# name -> (our function with its parameters, the loop over one group's rewards)
CASES = {
    "reinforce": (baselines.reinforce, reference.reinforce),
    "rloo": (baselines.rloo, reference.rloo),
    "dr_grpo": (baselines.dr_grpo, reference.dr_grpo),
    "grpo": (baselines.grpo, partial(reference.grpo, epsilon=EPSILON)),
    "grpo exact": (partial(baselines.grpo, epsilon=0.0), reference.grpo),
    "grpo sample std": (partial(baselines.grpo, ddof=1, epsilon=0.0), partial(reference.grpo, ddof=1)),
    "dapo": (baselines.dapo, partial(reference.dapo, epsilon=EPSILON)),
    "f_grpo": (baselines.f_grpo, partial(reference.f_grpo, gamma=Fraction(1), epsilon=EPSILON)),
    "f_grpo half": (
        partial(baselines.f_grpo, gamma=0.5),
        partial(reference.f_grpo, gamma=HALF, epsilon=EPSILON),
    ),
    "maxrl": (baselines.maxrl, partial(reference.maxrl, epsilon=EPSILON)),
    "maxrl exact": (partial(baselines.maxrl, epsilon=0.0), reference.maxrl),
    "psr": (baselines.psr, reference.psr),
    "nsr": (baselines.nsr, reference.nsr),
    "w_reinforce": (baselines.w_reinforce, partial(reference.w_reinforce, positive_weight=Fraction(1, 10))),
    "pass_at_k_training": (
        baselines.pass_at_k_training,
        partial(reference.pass_at_k_training, k=2, epsilon=EPSILON),
    ),
    "pkpo": (baselines.pkpo, partial(reference.pkpo, k=2)),
    "pkpo 1": (partial(baselines.pkpo, k=1), partial(reference.pkpo, k=1)),
}
BASELINES = ("rloo", "dr_grpo", "grpo", "dapo", "f_grpo", "maxrl", "pass_at_k_training")


def all_groups(group_size: int) -> list[tuple[int, ...]]:
    return list(itertools.product((0, 1), repeat=group_size))


def evaluate(method, rewards):
    needs = baselines.required_inputs(method)
    return method(**dict.fromkeys(needs, rewards))


def expected(loop, group_size: int) -> np.ndarray:
    return np.array([[float(value) for value in loop(rewards)] for rewards in all_groups(group_size)])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("group_size", SIZES)
def test_agrees_with_the_loop_over_fractions_for_every_reward_vector(name, group_size):
    method, loop = CASES[name]
    rewards = np.array(all_groups(group_size), dtype=np.float64)
    observed = evaluate(method, rewards)
    assert observed.shape == rewards.shape
    np.testing.assert_allclose(observed, expected(loop, group_size), rtol=ADVANTAGE64, atol=ADVANTAGE64)


@pytest.mark.parametrize("group_size", SIZES)
def test_orders_above_two_agree_with_the_loop_over_fractions(group_size):
    rewards = np.array(all_groups(group_size), dtype=np.float64)
    for k in range(1, group_size + 1):
        pairs = (
            (baselines.pkpo(correct=rewards, k=k), partial(reference.pkpo, k=k)),
            (
                baselines.pass_at_k_training(correct=rewards, k=k, epsilon=0.0),
                partial(reference.pass_at_k_training, k=k),
            ),
        )
        for observed, loop in pairs:
            np.testing.assert_allclose(observed, expected(loop, group_size), rtol=ADVANTAGE64, atol=ADVANTAGE64)


def test_pkpo_credits_every_subset_to_its_members():
    for rewards in all_groups(5):
        for k in range(1, 6):
            assert reference.pkpo(rewards, k) == reference.pkpo_by_subsets(rewards, k)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(
    ("library", "dtype", "tolerance"),
    [
        ("array_api_strict", "float64", ADVANTAGE64),
        ("array_api_strict", "float32", ADVANTAGE32),
        ("torch", "float64", ADVANTAGE64),
        ("torch", "float32", ADVANTAGE32),
    ],
)
def test_other_array_libraries_give_the_same_numbers(name, library, dtype, tolerance):
    xp = pytest.importorskip(library)
    method, loop = CASES[name]
    for group_size in (2, 5):
        rewards = np.array(all_groups(group_size), dtype=np.float64)
        observed = evaluate(method, xp.asarray(rewards.tolist(), dtype=getattr(xp, dtype)))
        assert observed.dtype == getattr(xp, dtype)
        np.testing.assert_allclose(np.from_dlpack(observed), expected(loop, group_size), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CASES)
@given(rewards=st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=24), order=st.randoms())
def test_permuting_a_group_permutes_the_advantages(name, rewards, order):
    permutation = list(range(len(rewards)))
    order.shuffle(permutation)
    group = np.array([rewards])
    moved = evaluate(CASES[name][0], group[:, permutation])
    np.testing.assert_allclose(
        moved, evaluate(CASES[name][0], group)[:, permutation], rtol=ADVANTAGE64, atol=ADVANTAGE64
    )


@given(rewards=st.lists(st.floats(-10, 10), min_size=2, max_size=24), shift=st.sampled_from([-4.0, 0.5, 8.0]))
def test_centred_advantages_sum_to_zero_and_ignore_reward_shifts(rewards, shift):
    group = np.array([rewards])
    centred = baselines.dr_grpo(reward=group)
    assert abs(centred.sum()) < ADVANTAGE64 * (1 + np.abs(group).sum())
    np.testing.assert_allclose(baselines.dr_grpo(reward=group + shift), centred, atol=ADVANTAGE64 * (20 + abs(shift)))
    assert abs(baselines.grpo(reward=group).sum()) < ADVANTAGE32


def test_grpo_is_zero_where_all_rewards_are_equal_even_if_their_mean_is_rounded():
    reward = np.full((1, 3), 0.1)
    assert reward.mean() - 0.1 != 0  # the trap: centred rewards and standard deviation are about 1e-17, not 0
    assert baselines.grpo(reward=reward, epsilon=0.0).tolist() == [[0.0, 0.0, 0.0]]


def test_dapo_filters_on_correctness_not_on_reward():
    reward = np.array([[0.1, 0.0], [1.0, 0.1]])  # format credit
    observed = baselines.dapo(reward=reward, correct=np.array([[0.0, 0.0], [1.0, 0.0]]), epsilon=0.0)
    np.testing.assert_allclose(observed, [[0.0, 0.0], [1.0, -1.0]], rtol=ADVANTAGE64)


@pytest.mark.parametrize("name", BASELINES)
def test_a_group_of_one_is_refused_by_methods_with_a_baseline(name):
    with pytest.raises(ValueError, match="group_size is 1"):
        evaluate(getattr(baselines, name), np.ones((3, 1)))


@pytest.mark.parametrize("name", ["reinforce", "psr", "nsr", "w_reinforce"])
def test_a_group_of_one_is_accepted_without_a_baseline(name):
    assert evaluate(getattr(baselines, name), np.ones((3, 1))).shape == (3, 1)


@pytest.mark.parametrize("k", [0, 5])
@pytest.mark.parametrize("method", [baselines.pkpo, baselines.pass_at_k_training])
def test_an_order_outside_the_group_is_refused(method, k):
    with pytest.raises(ValueError, match=r"k is|between"):
        method(correct=np.ones((1, 4)), k=k)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (partial(baselines.grpo, ddof=2), "ddof is 2"),
        (partial(baselines.grpo, epsilon=-1.0), "epsilon is -1.0"),
        (partial(baselines.maxrl, epsilon=float("nan")), "epsilon is nan"),
    ],
)
def test_bad_parameters_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(reward=np.ones((1, 4)))


def test_a_negative_gamma_is_refused():
    with pytest.raises(ValueError, match="gamma is -1"):
        baselines.f_grpo(reward=np.ones((1, 4)), correct=np.ones((1, 4)), gamma=-1.0)


def test_required_inputs_are_the_parameters_without_a_default():
    assert baselines.required_inputs(baselines.grpo) == ("reward",)
    assert baselines.required_inputs(baselines.dapo) == ("reward", "correct")


@pytest.mark.parametrize("spec", ["maxrl", "a_grae", "unlikeliness", "rarity_maxrl"])
def test_rewards_that_turn_a_formula_upside_down_are_refused(spec: str) -> None:
    """A mean of -.5 that divides would pay the wrong answers; what is not scored may be anything."""
    method = calls.resolve(spec)
    reward = np.array([[1.0, -1.0, -1.0, -1.0]])
    inputs = {"reward": reward, "correct": np.maximum(reward, 0.0), "log_prob": -np.array([[1.0, 2.0, 3.0, 4.0]])}
    inputs |= {"num_tokens": np.full((1, 4), 5)}
    named = {name: inputs[name] for name in calls.needs(method)}
    with pytest.raises(ValueError, match=f"reward has 3 values that are not .*, which is what {spec} is made for"):
        calls.group_advantages(method, named)
    not_scored = {"reward": np.array([[1.0, 0.0, 0.0, -9.0]]), "correct": np.array([[1.0, 0.0, 0.0, np.nan]])}
    found = calls.group_advantages(method, {**named, **not_scored})
    assert found[0, 0] > 0 >= found[0, 1:].max()
