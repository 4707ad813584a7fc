"""The diagnosis of methods, of renamed copies of them and of functions never seen, against the claims it rests on."""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import time

import numpy as np
import pytest
from scipy.special import expit

from sharpening.theory import policies
from sharpening.theory.diagnosis import diagnose, ends, motion
from sharpening.theory.diagnosis import flow as diagnosis_flow
from sharpening.theory.diagnosis.subject import Subject
from sharpening.theory.flow import smoothing
from sharpening.theory.groups import expectations
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import baselines, calls, terms
from tests.tolerances import FLOAT64

SEARCHED = 1e-9  # a root in logit Q to 1e-12, or a strength to a relative 1e-12
NATURAL_END = 1e-6  # a rest point that LSODA approaches at a relative tolerance of 1e-9 in logarithms
EVENED = 1e-5  # MARA's anchor is that of each group, which leaves a little of the base policy's order
BISECTED = 2e-4  # a noise rate by bisection to 1e-4
MOTION_NAMES = diagnosis_flow.MOTIONS
LONGEST_SECONDS = 15.0

pytestmark = pytest.mark.slow  # a diagnosis takes seconds

COPIES = '''
"""Copies in other words, with other names, and functions that no table has."""
import numpy as np

def centred(values):
    return values - values.mean(axis=-1, keepdims=True)

def first(*, reward, ddof: int = 0, epsilon: float = 1e-6):
    spread = reward.std(axis=-1, keepdims=True)
    return centred(reward) / np.where(spread > 0, spread + epsilon, 1.0)

def second(*, reward, correct, log_prob, a: float = 0.1, b: float = 0.0):
    return centred(reward) - a * correct * log_prob + b * (1 - correct) * log_prob

def third(*, reward, log_prob, weight: float = 0.1):
    return centred(reward) - weight * log_prob

def fourth(*, reward, correct, base_log_prob, a: float = 0.1):
    return centred(reward) - a * correct * base_log_prob

def ranks(*, reward, correct, log_prob, bonus: float = 0.5):
    likelier = (log_prob[..., None, :] > log_prob[..., :, None]).sum(axis=-1)
    equal = (log_prob[..., None, :] == log_prob[..., :, None]).sum(axis=-1)
    return centred(reward) + bonus * correct * (likelier + (equal - 1) / 2) / reward.shape[-1]

def flat(*, reward, value: float = 1.0):
    return 0 * reward + value

def wrong_sign(*, reward, correct, log_prob, a: float = 0.1):
    return centred(reward) + a * correct * log_prob
'''


def flow_of(function, parameters=None, **changes) -> ExpectedFlow:
    return dataclasses.replace(ExpectedFlow(function, diagnose.SHOWN, parameters or {}), **changes)


@functools.cache
def diagnosed(spec: str, parameters: tuple[tuple[str, object], ...] = (), group_size: int = 8) -> diagnose.Diagnosis:
    method = calls.resolve(spec)
    values = calls.parameter_values(method, dict(parameters))
    return diagnose.diagnose(method.advantage, values, group_size=group_size)


def subject_of(function, least_group_size: int = 2, **parameters) -> Subject:
    return Subject(function, {**diagnose.own_defaults(function), **parameters}, least_group_size)


@pytest.fixture(scope="module")
def copies(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("shapers") / "mine.py"
    path.write_text(COPIES)
    return str(path)


# --- the verdicts that were asked for -------------------------------------------------------------------------------


def test_grpo_sharpens_to_one_mode():
    found = diagnosed("grpo")
    assert found.headline == "sharpens, ends on one mode, the correct answer likeliest at the start"
    assert found["turning point"].verdict == "sharpens at all 801 Q probed"
    assert found["correctness"].verdict == "raises"
    assert found["centring"].verdict == "not applicable"


def test_differential_smoothing_smooths_in_the_end_from_the_point_of_e3_on():
    found = diagnosed("ds")
    assert found.headline == "smooths in the end, ends uniform on C"
    weight = expectations.dr_grpo_weight(8)
    log_share = policies.conditional(diagnose.SHOWN.base_log_policy, diagnose.SHOWN.correct, given_correct=True)
    want = expit(smoothing.smoothing_onset(log_share, (0, 1), 0.1, lambda _: weight))
    (onset, *_) = found["turning point"].numbers["onsets"]
    assert onset["turns"] == pytest.approx([want], rel=SEARCHED)
    assert onset["sign"] == 1
    added, centred = smoothing.turning_strengths(
        diagnose.SHOWN.base_log_policy, diagnose.SHOWN.correct, (0, 1), weight, 8
    )
    assert added == np.inf
    assert found["turning point"].numbers["turning_scale"] is None
    assert found["centring"].numbers["turning_scale"] == pytest.approx(centred / 0.1, rel=SEARCHED)
    want = expit(smoothing.smoothing_onset(log_share, (0, 1), 0.1, lambda _: weight, group_size=8))
    assert found["centring"].numbers["onset"]["turns"] == pytest.approx([want], rel=SEARCHED)


@pytest.mark.slow
def test_an_entropy_bonus_ends_where_b7_says():
    found = diagnosed("entropy_bonus")
    assert found.headline.startswith("smooths in the end, ends on a mixture with wrong answers (Q = 0.99984")
    boost = np.exp(expectations.dr_grpo_weight(8) / 0.1)
    failure = sum(found["end"].numbers["policy"][2:])
    assert failure == pytest.approx(2 / (2 * boost + 2), rel=NATURAL_END)
    assert found["wrong never above correct"].verdict == "fails"
    assert list(found["wrong never above correct"].numbers.values()) == pytest.approx([10.0], rel=SEARCHED)


def test_a_strong_entropy_bonus_smooths_from_the_start():
    flow = flow_of(terms.entropy_bonus, {"strength": 1.0})
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    assert diagnosis_flow.correct_set(flow, end).verdict == "smooths"
    assert end.words.startswith("on a mixture with wrong answers (Q = 0.7057")


def test_base_reference_ends_on_the_rarest_correct_answer():
    found = diagnosed("ds", (("reference", "base"),))
    assert found.headline == "inverts in the end, ends on the rarest correct answer of the base policy"
    assert not found["end"].counterexample


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "parameters", "name"),
    [
        ("grpo", (), "first"),
        ("ds", (), "second"),
        ("entropy_bonus", (), "third"),
        ("ds", (("reference", "base"),), "fourth"),
    ],
)
def test_a_copy_under_another_name_gets_the_same_verdicts(copies, spec, parameters, name):
    original, copy = diagnosed(spec, parameters, 4), diagnosed(f"{copies}:{name}", (), 4)
    assert copy.headline == original.headline
    tried = r" in [\d,]+ groups at G = [\d, to]+"  # a function of one's own is tried on groups of one, too
    verdicts = [
        {key: re.sub(tried, "", said) for key, said in diagnose.summary(one).items()} for one in (copy, original)
    ]
    assert verdicts[0] == verdicts[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("ranks", "smooths in the end, ends uniform on C"),
        ("flat", "preserves, ends where it starts"),
        ("wrong_sign", "sharpens, ends on one mode, the correct answer likeliest at the start"),
    ],
)
def test_functions_never_seen(copies, name, headline):
    assert diagnosed(f"{copies}:{name}").headline == headline


def test_a_diagnosis_is_quick_repeatable_and_leaves_no_folder(copies, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    method = calls.resolve(f"{copies}:ranks")
    begin = time.process_time()
    found = diagnose.diagnose(method.advantage, calls.parameter_values(method))
    assert time.process_time() - begin < LONGEST_SECONDS
    assert diagnose.as_data(found) == diagnose.as_data(diagnosed(f"{copies}:ranks"))
    assert list(tmp_path.iterdir()) == []


def test_rows_and_data_are_plain():
    found = diagnosed("entropy_bonus")
    rows = diagnose.report_lines(found)
    assert [row["property"] for row in rows[-7:]] == list(MOTION_NAMES)
    assert {type(value) for row in rows for value in row.values()} == {str}
    example = next(row for row in rows if row["property"] == "wrong never above correct")["counterexample"]
    assert json.loads(example)["correct"] == [1.0, 0.0]
    data = json.loads(json.dumps(diagnose.as_data(found)))
    assert data["strengths"] == ["strength"]
    assert len(data["verdicts"]) == len(rows)


# --- the flow: class, ends, noise, KL -------------------------------------------------------------------------------


@pytest.mark.parametrize("function", [baselines.grpo, baselines.pkpo, baselines.maxrl, baselines.f_grpo])
def test_the_class_of_b4_and_its_weight(function):
    flow = flow_of(function)
    assert motion.outside_the_class(flow, np.random.default_rng(0)) is None
    table = expectations.advantage_table(function, 8)
    grid, weights = (np.array(column) for column in zip(*motion.prompt_weights(flow), strict=True))
    np.testing.assert_allclose(weights, expectations.prompt_weight(table, grid), rtol=FLOAT64, atol=FLOAT64)


def test_what_is_outside_the_class_has_a_counterexample():
    outside = motion.outside_the_class(flow_of(terms.ds), np.random.default_rng(0))
    np.testing.assert_array_equal(outside.log_policy, diagnose.SHOWN.base_log_policy)
    assert outside.advantages[1] - outside.advantages[0] == pytest.approx(0.1 * np.log(3), rel=FLOAT64)
    only_q = flow_of(lambda reward, log_prob: reward * np.exp(log_prob).mean(axis=-1, keepdims=True))
    assert motion.outside_the_class(only_q, np.random.default_rng(0)) is not None


def test_random_policies_of_the_class_test_follow_the_generator():
    def unequal_far_away(*, reward, log_prob):
        return reward * np.where(log_prob < np.log(0.05), 2.0, 1.0)

    flow = flow_of(unequal_far_away)
    drawn = [motion.outside_the_class(flow, np.random.default_rng(seed)) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(drawn[0].log_policy, drawn[1].log_policy)
    assert np.abs(drawn[0].log_policy - drawn[2].log_policy).max() > 0


@pytest.mark.parametrize(("gamma_correct", "gamma_incorrect"), [(0.1, 0.05), (0.2, 0.3)])
def test_noise_is_borne_up_to_the_window_of_e4(gamma_correct, gamma_incorrect):
    gammas = {"gamma_correct": gamma_correct, "gamma_incorrect": gamma_incorrect}
    flow = flow_of(terms.ds, gammas, group_size=4)
    uniform = ends.End("uniform on C", "", ends.on_edge(flow, (0, 1), 0.0, flow.depth))
    positive, negative = (
        ends.largest_noise(flow, uniform, is_false_positive=is_positive) for is_positive in (True, False)
    )
    ratio = gamma_incorrect / gamma_correct
    assert positive == pytest.approx(ratio / (1 + ratio), abs=BISECTED)
    assert negative == pytest.approx(1 / (1 + ratio), abs=BISECTED)
    for rates in ((0.2, 0.3), (0.1, 0.6), (0.32, 0.2), (0.4, 0.3)):
        low, high = smoothing.gamma_window(*rates)
        noisy = dataclasses.replace(flow, false_positive_rate=rates[0], false_negative_rate=rates[1])
        assert ends.attracts(noisy, uniform) == (low <= ratio < high)


def test_a_charge_on_wrong_answers_bears_false_positives():
    flow = flow_of(terms.ds, {"gamma_incorrect": 0.05}, group_size=4)
    uniform = ends.End("uniform on C", "", ends.on_edge(flow, (0, 1), 0.0, flow.depth))
    found = diagnosis_flow.noisy_verifier(flow, uniform)
    assert found.verdict == "keeps its end under up to 33.3% false positives, up to 66.7% false negatives"
    assert diagnosed("ds")["noisy verifier"].verdict.startswith("keeps its end under no false positives")


def test_the_end_of_smoothing_is_decided_where_integration_is_too_short(monkeypatch):
    monkeypatch.setattr(ends, "LONG", 30.0)
    flow = flow_of(terms.ds, {"gamma_correct": 1e-3})
    end = ends.end_of(flow, policies.log_softmax([8.0, 0.0, 1.0, 1.0]))
    assert end.kind == "uniform on C"


def test_a_tie_of_candidates_that_the_flow_does_not_settle_is_undecided(monkeypatch):
    monkeypatch.setattr(ends, "LONG", 1.0)
    end = ends.end_of(flow_of(baselines.grpo), diagnose.SHOWN.base_log_policy)
    assert (end.kind, end.log_policy) == ("undecided", None)


def test_with_a_kl_term_of_its_strength_mara_evens_out_the_correct_answers():
    mara = calls.resolve("mara")
    flow = flow_of(mara.advantage, calls.parameter_values(mara), kl_strength=0.1 * 7 / 8)
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    assert end.kind == "mixture"
    assert end.log_policy[0] == pytest.approx(end.log_policy[1], rel=EVENED)


def test_negative_reward_ends_on_the_likeliest_wrong_answer():
    flow = flow_of(lambda reward: -reward)
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    assert end.kind == "wrong"
    assert np.exp(end.log_policy).round(3).tolist() == [0.0, 0.0, 1.0, 0.0]
    assert diagnosis_flow.correct_set(flow, end).verdict == "smooths at the shown policy"
    assert diagnosis_flow.correctness(flow, np.random.default_rng(0)).verdict == "lowers"


def test_lowering_correctness_has_a_counterexample_near_the_shown_policy():
    found = diagnosis_flow.correctness(flow_of(terms.ds), np.random.default_rng(0))
    assert found.verdict == "raises at the shown policy, not everywhere"
    flow = flow_of(terms.ds)
    there = policies.log_softmax(np.log(found.counterexample["policy"]))
    assert motion.correctness_rate(flow, there) < 0
