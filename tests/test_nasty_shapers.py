"""Functions that fooled an earlier diagnosis, each with what is true of it, and renamed copies of them."""

from __future__ import annotations

import functools
import inspect
import runpy
import types

import numpy as np
import pytest

from benchmarks import search_diagnosis, search_truth, search_whole
from benchmarks.search_functions import Case
from sharpening.theory import policies
from sharpening.theory.diagnosis import diagnose, ends, motion, properties
from sharpening.theory.diagnosis import flow as diagnosis_flow
from sharpening.theory.diagnosis.subject import Subject, Verdict
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import terms
from tests.test_diagnosis import SEARCHED, flow_of
from tests.tolerances import FLOAT64

FUNCTIONS = {
    name: value
    for name, value in runpy.run_path(str(search_whole.NASTY)).items()
    if inspect.isfunction(value) and not name.startswith("_")
}
GROUP_SIZE = 8
PRINTED = 5.001e-4  # half a unit of the last digit of what another reader found
REFUSED = ("wrong_shape",)


@functools.cache
def structure_of(name: str, group_size: int = GROUP_SIZE) -> tuple[Subject, tuple[Verdict, ...]]:
    return structure(FUNCTIONS[name], group_size)


def structure(function, group_size: int = GROUP_SIZE) -> tuple[Subject, tuple[Verdict, ...]]:
    values = diagnose.own_defaults(function)
    least = diagnose.least_group_size(function, values, group_size)
    subject = Subject(function, values, least, 0, group_size)
    return subject, properties.structure(subject, None, (), np.random.default_rng(0))


def verdict_of(name: str, words: str) -> Verdict:
    return next(one for one in structure_of(name)[1] if one.property == words)


def flow_named(name: str, group_size: int = GROUP_SIZE) -> ExpectedFlow:
    flow = diagnose.flow_of(*structure_of(name, group_size))
    assert flow is not None
    return flow


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_property_is_what_listing_finds(name: str):
    precision = "float32" if name.startswith("float32") else "float64"
    found, _ = search_diagnosis.of_structure(Case(name, "", FUNCTIONS[name], 5, precision), 0)
    assert [one for one in found if one.outcome in ("wrong", "undecided")] == []


@pytest.mark.parametrize("name", ["half_baseline", "cyclic_bonus", "running_baseline", "float32_ucorr", "tokens"])
def test_a_renamed_copy_gets_the_same_verdicts(name: str):
    function = FUNCTIONS[name]
    copy = types.FunctionType(function.__code__, function.__globals__, "mine", function.__defaults__)
    told = [[(one.property, one.verdict) for one in found] for _, found in (structure(copy, 6), structure_of(name, 6))]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("name", "sharpening", "correctness"), [("half_baseline", 0.0375, 0.144), ("sharpens_large_g", None, None)]
)
def test_the_motion_of_ordered_groups_is_that_of_all_of_them(name: str, sharpening, correctness):
    """A first look said -.125 for half_baseline and that Q falls: it saw groups of five."""
    flow = flow_named(name)
    start = diagnose.SHOWN.base_log_policy
    step, _ = search_truth.steps(FUNCTIONS[name], GROUP_SIZE, np.exp(start))
    rates = float(motion.sharpening_rate(flow, start)), float(motion.correctness_rate(flow, start))
    assert rates[0] == pytest.approx(step[0, 0] - step[0, 1], rel=FLOAT64)
    assert flow.is_ordered == (name == "half_baseline")
    if sharpening is not None:
        assert rates == pytest.approx((sharpening, correctness), abs=PRINTED)


def test_what_takes_too_many_ordered_groups_is_undecided_and_says_so():
    end = diagnosis_flow._end(flow_named("half_baseline"))
    assert end.kind == "undecided"
    assert "65,536 groups a policy are too many" in end.evidence


@pytest.mark.parametrize(
    ("name", "words", "detail"),
    [
        ("nan_large", "finite", "an advantage is NaN; at G = 6 to 9"),
        ("shape_large", "finite", "its result has the shape (1, 3) for inputs of shape (1, 6); at G = 6 to 9"),
        ("broadcast_shape", "finite", "its result has the shape (1, 1) for inputs of shape (1, 2); at G = 2 to 9"),
        ("half_baseline", "permutes with the group", "; at G = 6 to 9"),
        ("cyclic_bonus", "permutes with the group", "; at G = 4 to 9"),
        ("running_baseline", "each group on its own", "beside another group"),
        ("first_group_differs", "each group on its own", "beside another group"),
        ("stochastic", "each group on its own", properties.REPEATABLE),
        ("rarely_stochastic", "each group on its own", properties.REPEATABLE),
        ("tokens", "same at any length", " tokens they are "),
        ("weak_bonus", "wrong never above correct", "by more than 100 nats"),
        ("weak_kl", "wrong never above correct", "by more than 100 nats"),
        ("inverse_probability", "finite", "an advantage is NaN; at G = 1 to 9, only with a log-probability of -7"),
    ],
)
def test_what_is_broken_is_named_with_its_sizes(name: str, words: str, detail: str):
    found = verdict_of(name, words)
    assert found.verdict == "fails"
    assert detail in found.detail


@pytest.mark.slow
@pytest.mark.parametrize("name", ["float32_ucorr", "float32_ds", "float32_grpo"])
def test_single_precision_breaks_nothing_by_rounding(name: str):
    assert verdict_of(name, "permutes with the group").is_unbroken
    flow = flow_named(name, 4)
    double = ExpectedFlow(lambda **given: FUNCTIONS[name](**given), diagnose.SHOWN)
    assert flow.round_off > double.round_off
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    assert end.kind == ("one mode" if name == "float32_grpo" else "uniform on C")


def test_the_least_size_of_a_method_for_pairs_is_found():
    subject, found = structure_of("mixture")
    assert (subject.least_group_size, subject.sizes) == (2, range(2, 10))
    assert all(one.is_unbroken for one in found[:3])
    assert motion.outside_the_class(flow_named("mixture"), np.random.default_rng(0)) is None


@pytest.mark.parametrize("depth", [15.0, 30.0, 100.0, 500.0])
def test_what_pays_only_very_rare_correct_answers_is_outside_the_class(depth: float):
    """The answer is rarer than any that random policies have."""

    def pays_the_rarest(reward, correct, log_prob):
        return reward - reward.mean(-1)[..., None] + 2.0 * correct * (log_prob < -depth)

    flow = flow_of(pays_the_rarest)
    outside = motion.outside_the_class(flow, np.random.default_rng(0))
    assert outside is not None
    assert outside.log_policy.min() < -depth


def test_what_depends_on_length_alone_is_outside_the_class():
    outside = motion.outside_the_class(flow_named("tokens"), np.random.default_rng(0))
    assert outside is not None
    assert outside.num_tokens == motion.LENGTHS
    verdict = diagnosis_flow.universality(flow_named("tokens"), outside)
    assert (verdict.verdict, verdict.counterexample["num_tokens"]) == ("outside", list(motion.LENGTHS))


def test_the_turns_at_a_window_between_coarse_probes_are_found():
    (onset,) = motion.onsets(flow_named("window", 4), (0.75,))
    assert onset.sign == 1
    assert onset.turns == pytest.approx([0.4725 / 0.75, 0.4875 / 0.75], rel=SEARCHED)


@pytest.mark.parametrize("width", [3e-3, 1e-3])
def test_a_window_narrower_than_the_grid_is_looked_into(width: float):
    def narrow(reward, correct, log_prob):
        inside = np.abs(np.exp(log_prob) - 0.3217) < width / 2
        return reward - reward.mean(1, keepdims=True) - 5 * correct * inside

    (onset,) = motion.onsets(flow_of(narrow, group_size=3), (0.75,))
    want = np.array([0.3217 - width / 2, 0.3217 + width / 2]) / 0.75
    assert onset.turns == pytest.approx(want, rel=SEARCHED)


def test_a_smooth_dip_below_zero_between_probes_is_hunted(monkeypatch):
    """Wider than what the windows see and narrower than a coarse grid: the least rate is looked for."""
    monkeypatch.setattr(motion, "MOST_LOGITS", 41)
    monkeypatch.setattr(motion, "windows", lambda _: np.array([]))

    def dips(reward, correct, log_prob):
        bump = np.exp(-(((log_prob - np.log(0.4)) / 0.2) ** 2))
        return reward - reward.mean(1, keepdims=True) - correct * bump

    flow = flow_of(dips, group_size=3)
    (onset,) = motion.onsets(flow, (0.75,))
    masses = np.linspace(0.2, 0.95, 400)
    line = np.column_stack([0.75 * masses, 0.25 * masses, (1 - masses) * 2 / 3, (1 - masses) / 3])
    signs = search_truth.motion(dips, 3, line, "float64")[0]
    assert (signs < 0).any()
    assert [sum(turn < mass for turn in onset.turns) % 2 for mass in masses] == (signs < 0).astype(int).tolist()


def test_an_inverse_probability_method_is_diagnosed():
    flow = flow_named("inverse_probability", 4)
    assert flow.depth < 709
    start = diagnose.SHOWN.base_log_policy
    step, _ = search_truth.steps(FUNCTIONS["inverse_probability"], 4, np.exp(start))
    assert float(motion.sharpening_rate(flow, start)) == pytest.approx(step[0, 0] - step[0, 1], rel=FLOAT64)
    assert ends.end_of(flow, start).kind != "undecided"


def test_recovery_takes_the_time_of_f7():
    """In large groups DS 1 at Q = .5 comes back after 158, 1.6e4, 4.2e6 from 1e-2, 1e-3, 1e-4; in fours sooner."""
    problem = policies.problem_from_probabilities([0.25, 0.25, 0.3, 0.2], [1, 1, 0, 0])
    flow = ExpectedFlow(terms.ds, problem, {"gamma_correct": 1.0}, 4)
    times = dict(ends.recovery(flow))
    assert list(times) == list(ends.RARE_SHARES)
    slopes = -np.diff(np.log(list(times.values()))) / np.diff(np.log(list(times)))
    assert 1 < slopes[0] < slopes[1] < 3  # e^-(1 + w/k) up to logarithms, w = 2 and k = 1
    assert 100 < times[1e-2] < 158
    assert "0.01: t = 1.2e+02" in ends.recovery_words(list(times.items()))


def test_a_recovery_that_the_integrator_leaves_at_its_last_fast_step_is_timed():
    """From a share of 1e-4 it is back before 1e10: the exponents rise towards 3, as F7 says."""
    times = dict(ends.recovery(flow_of(terms.ds, {"gamma_correct": 0.1}, group_size=4)))
    assert None not in times.values()
    assert 2 < np.log10(times[1e-3] / times[1e-2]) < np.log10(times[1e-4] / times[1e-3]) < 3


def test_how_far_it_sharpens_first_is_the_largest_ratio_on_the_way():
    flow = flow_of(terms.ds, {"gamma_correct": 0.3}, group_size=4)
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    found = diagnosis_flow.correct_set(flow, end)
    ratio, mass = found.numbers["furthest"], found.numbers["furthest_at"]
    there = policies.compose(
        np.log(mass / (1 - mass)),
        policies.log_softmax([ratio, 0.0]),
        policies.conditional(diagnose.SHOWN.base_log_policy, diagnose.SHOWN.correct, given_correct=False),
        diagnose.SHOWN.correct,
    )
    rate, first = (abs(float(motion.sharpening_rate(flow, at))) for at in (there, diagnose.SHOWN.base_log_policy))
    assert ratio > np.log(3)
    assert rate < first / 10  # it turns there


def test_what_has_no_motion_or_turns_too_often_is_refused():
    never = flow_of(lambda reward: reward * np.nan, group_size=2)
    with pytest.raises(ValueError, match="no rate is finite along Q"):
        motion.onsets(never, (0.75,))
    with pytest.raises(ValueError, match="an advantage is not finite"):
        motion.outside_the_class(never, np.random.default_rng(0))
    with pytest.raises(ValueError, match="the rate at the shown policy is nan"):
        diagnosis_flow.correct_set(never, ends.End("undecided", ""))
    wild = flow_of(lambda correct, log_prob: correct * np.sin(9 * log_prob), group_size=2)
    with pytest.raises(ValueError, match=r"turns .* times along Q: want at most 40"):
        motion.onsets(wild, (0.75,))
    with pytest.raises(ValueError, match=r"shape \(10, 1\) for inputs of shape \(10, 2\)"):
        flow_of(lambda reward: reward[:, :1], group_size=2).advantages(np.log([[1.0, 1e-9, 1e-9, 1e-9]]))


def test_centring_what_does_not_turn_says_that_it_does_not():
    """The two are probed at different numbers of Q, which makes no difference."""

    def pays_the_likely(reward, correct, log_prob, s):
        return reward - reward.mean(1, keepdims=True) + s * correct * np.exp(log_prob)

    flow = flow_of(pays_the_likely, {"s": 0.5}, group_size=3)
    end = ends.end_of(flow, diagnose.SHOWN.base_log_policy)
    (first,) = motion.onsets(flow, (0.75,))
    found = diagnosis_flow.centring(flow, ("s",), end, first)
    assert (first.turns, found.verdict) == ((), "the same turning point")


@pytest.mark.parametrize(
    ("name", "kind", "truth"), [("window", "one mode", "1"), ("capped", "uniform on C", "uniform")]
)
def test_where_some_log_ratios_tie_the_next_order_decides_at_those_alone(name: str, kind: str, truth: str):
    """Inside the window correct answers differ in the limit, elsewhere only beside it."""
    flow = flow_named(name, 3)
    assert ends.end_of(flow, diagnose.SHOWN.base_log_policy).kind == kind
    assert search_truth.end(FUNCTIONS[name], 3) == truth
