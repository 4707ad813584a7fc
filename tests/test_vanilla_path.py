"""The closed vanilla path: reference numbers, LSODA, its end, extremes, sizes, and weights per prompt."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.policies import Problem
from tests.strategies import problems
from tests.tolerances import FLOAT64, INTEGRATOR, LARGE_LOG, PATH_END, PATH_TIME

WORKED = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
# worked out for the reference text by RK4: time, p1/p2, Q and the wrong ratio as printed
PRINTED = (
    (0.0, "3.000", "0.400", "2.000"),
    (10.0, "10.79", "0.8789", "1.314"),
    (100.0, "69.78", "0.99247", "1.104"),
    (1e3, "345.2", "0.99932", "1.045"),
    (1e4, "1618.6", "0.999933", "1.0205"),
)
TIMES = (0.0, 1e-9, 0.1, 1.0, 30.0, 1e3, 1e5)


def as_printed(value, text):
    return f"{value:.{len(text.partition('.')[2])}f}"


def test_reference_numbers_at_printed_precision():
    """Q at the positive times is claim B3.3; here are both ratios too, and the start."""
    path = np.exp(vanilla_path.vanilla_path(WORKED, [row[0] for row in PRINTED]))
    for policy, (_, *texts) in zip(path, PRINTED, strict=True):
        values = (policy[0] / policy[1], policy[0] + policy[1], policy[2] / policy[3])
        assert [as_printed(value, text) for value, text in zip(values, texts, strict=True)] == texts


def evenly(num_correct, num_wrong):
    """All answers equally likely."""
    return Problem(
        policies.log_softmax(np.zeros(num_correct + num_wrong)), np.repeat([1.0, 0.0], [num_correct, num_wrong])
    )


UNEVEN = {
    "worked example": WORKED,
    "three hundred correct, one wrong": evenly(300, 1),
    "three hundred wrong, one correct": evenly(1, 300),
    "many correct, one likely wrong among rare ones": Problem(
        policies.log_softmax(np.concatenate([np.zeros(300), [6.0], np.full(99, -20.0)])),
        np.repeat([1.0, 0.0], [300, 100]),
    ),
    "correct answers over four orders of magnitude": Problem(
        policies.log_softmax(np.concatenate([-np.linspace(0.0, 10.0, 50), [0.0, -11.0]])),
        np.repeat([1.0, 0.0], [50, 2]),
    ),
}


@pytest.mark.parametrize("name", UNEVEN)
def test_agrees_with_the_integrator_for_any_mixture(name):
    """Also where one wrong answer falls for hundreds of correct ones, hundreds of logits per logit of rise."""
    problem = UNEVEN[name]
    exact = vanilla_path.vanilla_path(problem, TIMES)
    stepped = dynamics.integrate(problem.base_log_policy, lambda _: problem.correct, TIMES, labels=problem.correct)
    np.testing.assert_allclose(np.exp(exact), np.exp(stepped), atol=INTEGRATOR)


@pytest.mark.parametrize("end", [1e20, 1e100, 1e300])
@pytest.mark.parametrize(("num_correct", "num_wrong"), [(1, 1), (30, 1), (1000, 1), (3, 2), (1, 200), (1000, 10)])
def test_the_end_is_right_to_1e300(num_correct, num_wrong, end):
    """T (1 - Q) tends to m w/(m + w) for m tied correct answers, whatever their number."""
    problem = evenly(num_correct, num_wrong)
    logit = policies.logit_correctness(vanilla_path.vanilla_path(problem, [end])[0], problem.correct)
    constant = num_correct * num_wrong / (num_correct + num_wrong)
    np.testing.assert_allclose(logit, np.log(end) - np.log(constant), atol=PATH_END)


EXTREME = {
    "the only correct answer at 1e-300": ([1e-300, 1.0], [1, 0]),
    "the only wrong answer at 1e-300": ([1.0, 1e-300], [1, 0]),
    "two wrong answers far below rounding": ([0.5, 0.5, 1e-300, 1e-200], [1, 1, 0, 0]),
    "both kinds at 1e-300": ([1e-300, 0.5, 0.5, 1e-300], [1, 1, 0, 0]),
    "nearly deterministic, wrong": ([1 - 1e-12, 1e-12], [0, 1]),
    "ties everywhere": ([0.25] * 4, [1, 1, 0, 0]),
    "one wrong answer": ([0.2, 0.3, 0.5], [1, 1, 0]),
    "one correct answer": ([0.2, 0.3, 0.5], [1, 0, 0]),
}


@pytest.mark.parametrize("name", EXTREME)
def test_extremes_are_finite_and_correctness_only_rises(name):
    problem = policies.problem_from_probabilities(*EXTREME[name])
    path = vanilla_path.vanilla_path(problem, [0.0, 1e-300, 1e-9, 1.0, 1e3, 1e100, 1e300])
    assert np.isfinite(path).all()
    np.testing.assert_array_equal(path[0], policies.log_softmax(problem.base_log_policy))
    np.testing.assert_allclose(path[1], problem.base_log_policy, rtol=FLOAT64)  # 1e-300 moves nothing
    logits = [policies.logit_correctness(log_policy, problem.correct) for log_policy in path]
    assert (np.diff(logits) >= -LARGE_LOG).all()
    assert logits[-1] > logits[0]
    np.testing.assert_allclose(np.exp(path).sum(axis=1), 1.0, rtol=FLOAT64)


def test_early_times_follow_the_gradient():
    """At t = 1e-9 the logits have moved by t p_i (r_i - Q), to seven digits."""
    start = WORKED.base_log_policy
    moved = vanilla_path.logits_at_rise(WORKED, vanilla_path.rises_at(WORKED, np.array([1e-9])))[0] - start
    expected = 1e-9 * np.exp(start) * (WORKED.correct - 0.4)
    np.testing.assert_allclose(moved, expected, atol=np.abs(expected).max() * 1e-6)


@pytest.mark.slow
@given(problem=problems(), shuffle=st.permutations(range(4)))
@settings(max_examples=15)
def test_neither_order_nor_company_of_times_matters(problem, shuffle):
    """A time gives the same policy alone, in any order, and beside later ones."""
    times = np.array([3.0, 1e4, 0.0, 0.2])
    path = vanilla_path.vanilla_path(problem, times)
    shuffled = vanilla_path.vanilla_path(problem, times[list(shuffle)])
    np.testing.assert_allclose(shuffled, path[list(shuffle)], rtol=FLOAT64)
    for time_alone, log_policy in zip(times, path, strict=True):
        alone = vanilla_path.vanilla_path(problem, time_alone)[0]
        np.testing.assert_allclose(alone, log_policy, rtol=LARGE_LOG, atol=LARGE_LOG)


@given(problem=problems(), rise=st.floats(0.0, 500.0))
@settings(max_examples=50)
def test_logits_keep_their_sum_and_the_order_of_the_arms_is_free(problem, rise):
    """What C gains W loses; permuting the answers permutes the policy."""
    logits = vanilla_path.logits_at_rise(problem, rise)[0]
    scale = 1 + np.abs(logits).sum()
    assert abs(logits.sum() - problem.base_log_policy.sum()) <= LARGE_LOG * scale
    backwards = Problem(problem.base_log_policy[::-1], problem.correct[::-1])
    np.testing.assert_allclose(vanilla_path.logits_at_rise(backwards, rise)[0][::-1], logits, atol=LARGE_LOG)


@given(problem=problems(), log_time=st.floats(-5.0, 200.0))
@settings(max_examples=25)
def test_time_and_rise_are_inverse(problem, log_time):
    """`time_at` undoes `rises_at`, unless the rise is too small for a float to hold its digits."""
    wanted = np.array([np.exp(log_time)])
    rise = float(vanilla_path.rises_at(problem, wanted)[0])
    np.testing.assert_allclose(vanilla_path.time_at(problem, rise), wanted[0], rtol=PATH_TIME * (1 + rise))


@pytest.mark.slow
def test_time_of_no_rise_and_of_a_rise_beyond_all_times():
    assert vanilla_path.time_at(WORKED, 0.0) == 0.0
    assert vanilla_path.time_at(WORKED, vanilla_path.MAX_RISE) == np.inf


WEIGHTS = {
    "a constant": lambda q: 0.75 + 0 * q,
    "PKPO of order 4": lambda q: 4 * (1 - q) ** 3,
    "PKPO of order 64": lambda q: 64 * (1 - q) ** 63,
    "MaxRL in groups of 8": lambda q: (1 - (1 - q) ** 7) / q,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_prompt_weights_change_the_clock_as_the_integrator_says(name):
    """The flow of c(Q) p (r - Q), integrated, against the same path at its own speed, from Q = .01 to near 1."""
    problem = policies.problem_from_probabilities([0.006, 0.004, 0.6, 0.39], [1, 1, 0, 0])
    weight, times = WEIGHTS[name], [0.0, 1.0, 30.0, 1e3, 1e6]

    def advantage_of(log_policy):
        return weight(policies.correctness(log_policy, problem.correct)) * problem.correct

    weighted = vanilla_path.vanilla_path(problem, times, weight)
    stepped = dynamics.integrate(problem.base_log_policy, advantage_of, times)
    np.testing.assert_allclose(np.exp(weighted), np.exp(stepped), atol=INTEGRATOR)
    assert np.abs(weighted - vanilla_path.vanilla_path(problem, times)).max() > 1e3 * INTEGRATOR


def test_cells_are_narrow_enough_for_a_steep_weight(monkeypatch):
    """PKPO of order 64 at late times, where the pace grows by 25 nats over a full cell: sixteenths change nothing."""
    problem = policies.problem_from_probabilities([0.006, 0.004, 0.6, 0.39], [1, 1, 0, 0])
    arguments = (problem, np.array([1e3, 1e10, 1e30, 1e60]), WEIGHTS["PKPO of order 64"])
    rises = vanilla_path.rises_at(*arguments)
    monkeypatch.setattr(vanilla_path, "CELL", vanilla_path.CELL / 16)
    np.testing.assert_allclose(rises, vanilla_path.rises_at(*arguments), rtol=PATH_TIME)


def test_inside_a_cell_a_steep_weight_changes_by_at_most_one_nat():
    """Each chunk is tried twice, as its first cells are too wide; a cell has eight nodes."""
    problem = policies.problem_from_probabilities([0.006, 0.004, 0.6, 0.39], [1, 1, 0, 0])
    asked = []

    def weight(q):
        asked.append(q.reshape(-1, 8))
        return 64 * (1 - q) ** 63

    vanilla_path.rises_at(problem, np.array([1e60]), weight)
    kept = [63 * np.ptp(np.log1p(-chunk), axis=1).max() for chunk in asked[1::2]]
    assert 0.5 < max(kept) < 1


def test_a_constant_weight_divides_the_time():
    quick = vanilla_path.vanilla_path(WORKED, [7.0], lambda q: 3.0 + 0 * q)
    np.testing.assert_allclose(quick, vanilla_path.vanilla_path(WORKED, [21.0]), rtol=FLOAT64)


def test_a_path_stopped_by_its_weight_is_an_error_and_not_a_number():
    """A weight that is 0 beyond Q = .9 stops the flow there: earlier times are fine, later ones have no answer."""

    def weight(q):
        return np.where(q > 0.9, 0.0, 1.0)

    early = vanilla_path.vanilla_path(WORKED, [1.0], weight)
    np.testing.assert_allclose(early, vanilla_path.vanilla_path(WORKED, [1.0]), rtol=FLOAT64)
    with pytest.raises(ArithmeticError, match="not computable"):
        vanilla_path.vanilla_path(WORKED, [1e6], weight)


@pytest.mark.parametrize(("times", "message"), [([1.0, -2.0], r"times\[1\] is -2"), ([np.inf], r"times\[0\] is inf")])
def test_names_the_time_it_refuses(times, message):
    with pytest.raises(ValueError, match=f"^{message}: it must be finite and at least 0$"):
        vanilla_path.vanilla_path(WORKED, times)


@pytest.mark.slow
def test_twenty_thousand_answers_fit_in_memory(record_property):
    """Sixty times over 20,000 answers need some arrays of that length: a square of them would be 3.2 GB."""
    rng = np.random.default_rng(0)
    correct = np.zeros(20_000)
    correct[rng.permutation(correct.size)[:100]] = 1.0
    problem = Problem(policies.log_softmax(rng.uniform(np.log(1e-6), 0.0, correct.size)), correct)
    tracemalloc.start()
    start = time.perf_counter()
    path = vanilla_path.vanilla_path(problem, np.logspace(-1, 5, 60))
    seconds, gigabytes = time.perf_counter() - start, tracemalloc.get_traced_memory()[1] / 1e9
    tracemalloc.stop()
    record_property("summary", f"vanilla path, 20,000 answers, 60 times: {seconds:.1f} s, {gigabytes:.2f} GB")
    assert np.isfinite(path).all()
    assert gigabytes < 1
