"""Properties of single groups: each broken one is found, with its smallest counterexample and its reason."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

from sharpening.theory.diagnosis import diagnose, flow, properties, searching
from sharpening.theory.diagnosis.subject import Subject
from sharpening.theory.methods import baselines, calls, terms
from tests.test_diagnosis import SEARCHED, flow_of, subject_of
from tests.tolerances import FLOAT64

pytestmark = pytest.mark.slow  # a diagnosis takes seconds


@pytest.mark.slow
def test_each_broken_property_has_its_smallest_counterexample():
    def divides(reward):
        return (reward - reward.mean(axis=-1, keepdims=True)) / reward.std(axis=-1, keepdims=True)

    def by_place(reward):
        return reward * np.arange(reward.shape[-1])

    def of_the_batch(reward):
        return reward - reward.mean()

    finite = properties.finite(subject_of(divides))
    assert (finite.verdict, finite.counterexample["reward"]) == ("fails", [0.0, 0.0])
    permuted = properties.permutes(subject_of(by_place))
    assert (permuted.verdict, permuted.counterexample["reward"]) == ("fails", [1.0, 1.0])
    apart = properties.keeps_groups_apart(subject_of(of_the_batch))
    assert (apart.verdict, apart.counterexample["reward"]) == ("fails", [0.0, 0.0])


def test_a_function_that_draws_is_not_repeatable():
    rng = np.random.default_rng(0)
    found = properties.keeps_groups_apart(subject_of(lambda reward: reward + rng.random(reward.shape)))
    assert (found.verdict, found.detail) == ("fails", properties.REPEATABLE)


def test_a_function_that_mixes_groups_has_no_flow():
    found = diagnose.diagnose(lambda reward: reward - reward.mean())
    assert found.headline == "undecided, ends undecided"
    assert {found[name].verdict for name in flow.MOTIONS} == {"undecided"}


def test_a_function_of_the_place_is_diagnosed_on_ordered_groups():
    found = diagnose.diagnose(lambda reward: reward * np.arange(reward.shape[-1]), group_size=4)
    assert found["permutes with the group"].verdict == "fails"
    assert found["class of B4"].verdict == "inside"
    assert found["class of B4"].numbers["prompt_weight"][0][1] == pytest.approx(1.5, rel=FLOAT64)  # mean of 0..3


def test_an_exception_is_a_counterexample_or_an_open_verdict():
    def refuses_rare(reward, log_prob):
        if (log_prob < -500).any():
            raise OverflowError("too rare")
        return reward

    found = properties.finite(subject_of(refuses_rare))
    assert found.verdict == "fails"
    assert found.detail.startswith("raises OverflowError: too rare; at G = 2 to 5, only with a log-probability of -5")
    end = flow._end(flow_of(refuses_rare))
    assert (end.kind, end.evidence) == ("undecided", "raises OverflowError: too rare")
    with pytest.raises(ValueError, match=r"groups of 1 to 3 samples: ValueError in line \d+ of its file: k is 5"):
        diagnose.diagnose(baselines.pkpo, {"k": 5}, group_size=3)


@pytest.mark.parametrize(("edge", "least", "most"), [(-500.0, -501.0, -500.0), (-20.0, -60.0, -60.0)])
def test_the_depth_of_a_fault_is_found_where_no_policy_goes_and_is_ordinary_elsewhere(edge, least, most):
    group = {"log_prob": np.array([[-2000.0, -1.0]]), "base_log_prob": np.array([[-3.0, -1.0]])}
    found = searching.depth(group, lambda one: (one["log_prob"] < edge).any(), -60.0)
    assert least <= found <= most


def test_strengths_are_found_by_what_they_do():
    def shaped(*, reward, correct, log_prob, x: float = 0.2, y: float = 0.0, guard: float = 1e-6, order: int = 1):
        return reward - x * correct * np.minimum(log_prob, -guard) ** order

    rng = np.random.default_rng(0)
    assert properties.strengths_of(subject_of(shaped), rng) == ("x",)
    for spec, want in {
        "ucpo": ("uniform_weight",),
        "ips": ("exponent",),
        "grpo": (),
        "f_grpo": ("gamma",),
        "mara": ("strength",),
        "ds_paper": ("gamma_correct", "gamma_incorrect"),
    }.items():
        method = calls.resolve(spec)
        subject = Subject(method.advantage, calls.parameter_values(method), 2)
        assert properties.strengths_of(subject, np.random.default_rng(0)) == want


@pytest.mark.slow
def test_zero_strength_is_checked_and_its_baseline_named():
    rng = np.random.default_rng(0)

    def leaky(*, reward, log_prob, x: float = 0.2):
        return reward - (x + 0.1) * log_prob

    def flipped(*, reward, x: float = 0.2):
        return (x - 0.1) * reward

    for function in (leaky, flipped):
        assert properties.zero_strength(subject_of(function), ("x",), rng).verdict == "fails"
    found = properties.zero_strength(subject_of(terms.ds), ("gamma_correct",), rng)
    assert found.is_unbroken
    assert found.detail == "gamma_correct = 0 gives the reward minus its group mean"
    mara = calls.resolve("mara")
    found = properties.zero_strength(subject_of(mara.advantage), ("strength",), rng)
    assert found.verdict.endswith(", if reward = correct")
    assert max(found.counterexample["reward"]) == 1.25


def test_tensors_of_another_library_give_the_same_numbers_or_a_counterexample():
    found = properties.same_in_tensors(subject_of(terms.ds), array_api_strict.asarray)
    assert found.is_unbroken

    def of_numpy(reward):
        return reward - reward.mean(axis=-1, keepdims=True)

    found = properties.same_in_tensors(subject_of(of_numpy), array_api_strict.asarray)
    assert found.verdict == "fails"
    assert found.detail.startswith("raises AttributeError")
    assert properties.same_in_tensors(subject_of(of_numpy), None).verdict == "not applicable"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "parameters", "want"),
    [
        ("entropy_penalty", {}, {"correct answer is rarer under the sampling policy": 10.0}),
        ("ds", {"gamma_correct": -0.2}, {"correct answer is rarer under the sampling policy": 5.0}),
        ("ds", {"centre": "correct_only"}, {"other correct answer is rarer under the sampling policy": 20.0}),
        (
            "kl_penalty",
            {},
            {
                "wrong answer is rarer under the sampling policy": 25.0,
                "correct answer is rarer under the base policy": 25.0,
            },
        ),
    ],
)
def test_from_which_surprisal_on_a_wrong_answer_is_above(spec, parameters, want):
    method = calls.resolve(spec)
    subject = Subject(method.advantage, calls.parameter_values(method, parameters), 2)
    found = properties.wrong_never_above_correct(subject)
    assert found.verdict == "fails"
    assert found.numbers == pytest.approx(want, rel=SEARCHED)
