"""The rows of `predict`: their form, the options they respect, extremes, and numbers against the theory recomputed."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from sharpening.samples import answers
from sharpening.theory import policies
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.optimum import divergences, dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.rows import prediction
from tests.tolerances import FLOAT64, INTEGRATOR, LARGE_LOG, PATH_TIME, ROUND_OFF

EXAMPLE = Path(__file__).parent.parent / "examples" / "countdown_answers.csv"
PROBLEM = policies.problem_from_probabilities([0.25, 0.1, 0.03, 0.01, 0.01, 0.3, 0.2, 0.1], [1, 1, 1, 1, 1, 0, 0, 0])
ROWS = list(prediction.predict(PROBLEM, (0.3, 2.0)))
MAY_BE_INFINITE = ("time_to_",)
CASES = {
    "plain": ([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0]),
    "one correct answer": ([0.2, 0.3, 0.5], [1, 0, 0]),
    "one wrong answer": ([0.2, 0.3, 0.5], [1, 1, 0]),
    "Q near 1": ([0.7, 0.3 - 2e-13, 1e-13, 1e-13], [1, 1, 0, 0]),
    "Q near 0": ([1e-13, 2e-13, 0.6, 0.4 - 3e-13], [1, 1, 0, 0]),
    "ties for the top": ([0.2, 0.2, 0.1, 0.3, 0.2], [1, 1, 1, 0, 0]),
    "all tied": ([0.2] * 5, [1, 1, 1, 0, 0]),
    "a correct answer at 1e-300": ([1e-300, 0.5, 0.5], [1, 1, 0]),
    "the only correct answer at 1e-300": ([1e-300, 1.0], [1, 0]),
    "the only wrong answer at 1e-300": ([1.0, 1e-300], [1, 0]),
}


def only(section, quantity, **where):
    """The values of the matching rows, in order."""
    return [
        row["value"]
        for row in ROWS
        if row["section"] == section and row["quantity"] == quantity and all(row[k] == v for k, v in where.items())
    ]


@pytest.mark.parametrize("name", CASES)
def test_every_row_has_the_columns_and_a_number(name):
    """The same columns in the same order; finite except for times never reached; no pair of rows contradicts."""
    problem = policies.problem_from_probabilities(*CASES[name])
    rows = list(prediction.predict(problem, (0.02, 1.0, 1000.0)))
    for row in rows:
        assert tuple(row) == prediction.COLUMNS
        assert isinstance(row["value"], float)
        is_allowed = np.isfinite(row["value"]) or (
            row["value"] == np.inf and row["quantity"].startswith(MAY_BE_INFINITE)
        )
        assert is_allowed, row
        if row["quantity"] in ("correctness", "top_share", "ds_correctness") or row["quantity"].startswith("inclusion"):
            assert 0 <= row["value"] <= 1, row
        if row["quantity"] == "solution_diversity":
            assert 1 - LARGE_LOG <= row["value"] <= problem.correct.sum() * (1 + LARGE_LOG), row
    places = [tuple(row.values())[:-1] for row in rows]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("kl_strengths", [(), (0.5,), (3.0, 0.1, 0.5)])
def test_kl_strengths_are_those_asked_for_in_their_order(kl_strengths):
    """One block of optima, slopes and dominance for each; the other sections have no KL term."""
    rows = list(prediction.predict(PROBLEM, kl_strengths))
    for section in ("optimum", "global_term", "dominance"):
        found = dict.fromkeys(row["kl_strength"] for row in rows if row["section"] == section)
        assert tuple(found) == kl_strengths
    assert all(row["kl_strength"] == 0 for row in rows if row["section"] in ("base", "path", "milestone", "selection"))


def test_strength_ratios_stop_where_a_fixed_point_would_not_exist():
    """Penalty and charge with sampling reference need a strength below the KL strength; base reference does not."""
    for row in ROWS:
        if row["section"] == "optimum" and row["reference"] == "sampling":
            is_bounded = row["method"] in ("entropy_penalty", "ds_with_charge")
            assert not is_bounded or row["strength"] < row["kl_strength"]
    assert len(only("optimum", "correctness", method="vanilla")) == 2
    assert max(row["strength"] for row in ROWS if row["method"] == "entropy_penalty") == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("method", "reference", "optimum", "signs"),
    [
        ("entropy_bonus", "base", optima.base_optimum, (1, -1)),
        ("entropy_bonus", "sampling", optima.sampling_optimum, (1, -1)),
        ("entropy_penalty", "base", optima.base_optimum, (-1, 1)),
        ("entropy_penalty", "sampling", optima.sampling_optimum, (-1, 1)),
        ("ds", "base", optima.base_optimum, (1, 0)),
        ("ds", "sampling", optima.sampling_optimum, (1, 0)),
        ("ds_with_charge", "base", optima.base_optimum, (1, 1)),
        ("ds_with_charge", "sampling", optima.sampling_optimum, (1, 1)),
    ],
)
def test_optima_are_those_of_the_theory(method, reference, optimum, signs):
    """Correctness, diversity, top share and cost at half the KL strength of 2, recomputed."""
    log_policy = optimum(PROBLEM, 2.0, Strengths(*(float(sign) for sign in signs)))
    inside = np.exp(log_policy[PROBLEM.is_correct]) / np.exp(log_policy[PROBLEM.is_correct]).sum()
    expected = {
        "correctness": np.exp(log_policy[PROBLEM.is_correct]).sum(),
        "solution_diversity": np.exp(-(inside * np.log(inside)).sum()),
        "top_share": inside.max(),
        "kl_to_base": (np.exp(log_policy) * (log_policy - PROBLEM.base_log_policy)).sum(),
    }
    for quantity, value in expected.items():
        found = only("optimum", quantity, method=method, reference=reference, kl_strength=2.0, strength=1.0)
        np.testing.assert_allclose(found, [value], rtol=FLOAT64)


def test_vanilla_optima_move_the_odds_only():
    (base,) = only("base", "logit_correctness")
    for kl_strength in (0.3, 2.0):
        (found,) = only("optimum", "logit_correctness", method="vanilla", kl_strength=kl_strength)
        np.testing.assert_allclose(found, base + 1 / kl_strength, rtol=FLOAT64)
        shares = only("optimum", "top_share", method="vanilla", kl_strength=kl_strength)
        np.testing.assert_allclose(shares, only("base", "top_share"), rtol=FLOAT64)


def test_paths_are_those_of_the_flows():
    """Vanilla by its closed path, smoothing and the bonus by the integrator without the classes of tied answers."""
    times = np.array([0.0, *prediction.TIMES])
    pairs = {("vanilla", 0.0): (0.0, 0.0), ("ds", 1.0): (1.0, 0.0), ("entropy_bonus", 0.1): (0.1, -0.1)}
    for (method, strength), pair in pairs.items():
        path = dynamics.integrate(
            PROBLEM.base_log_policy,
            lambda log, pair=pair: dynamics.smoothing_advantage(log, PROBLEM.correct, *pair),
            times,
        )
        expected = np.exp(path)[:, PROBLEM.is_correct].sum(axis=1)
        found = only("path", "correctness", method=method, strength=strength)
        np.testing.assert_allclose(found, expected, atol=INTEGRATOR)
        assert only("path", "correctness", method=method, strength=strength, at=0.0) == found[:1]


def test_matched_rows_lie_on_the_line_between_two_times_of_the_path():
    """Time and diversity at a correctness, read off the path's own rows by NumPy along logit Q, which only rises."""
    found = [row for row in ROWS if row["section"] == "matched"]
    assert {row["method"] for row in found} == {"vanilla", "ds", "entropy_bonus"}
    for row in found:
        where = {"method": row["method"], "strength": row["strength"]}
        logits = only("path", "logit_correctness", **where)
        last = next(step for step, logit in enumerate(logits) if logit >= np.log(row["at"] / (1 - row["at"]))) + 1
        times = [0.0, *prediction.TIMES]
        curve = times if row["quantity"] == "time" else only("path", "solution_diversity", **where)
        wanted = np.interp(np.log(row["at"] / (1 - row["at"])), logits[last - 2 : last], curve[last - 2 : last])
        np.testing.assert_allclose(row["value"], wanted, rtol=FLOAT64)


def test_dominance_rows_meet_at_the_budget():
    """At ds_correctness a policy of the bonus's p_C and the base's p_W costs exactly kl_to_base."""
    for strength in (0.03 * 2.0, 2.0, 6.0):
        where = {"kl_strength": 2.0, "strength": strength}
        (mass,), (budget,), (saving,) = (
            only("dominance", q, **where) for q in ("ds_correctness", "kl_to_base", "saving")
        )
        bonus = optima.sampling_optimum(PROBLEM, 2.0, Strengths(strength, -strength))
        right = policies.conditional(bonus, PROBLEM.correct, given_correct=True)
        wrong = policies.conditional(PROBLEM.base_log_policy, PROBLEM.correct, given_correct=False)
        twin = policies.compose(np.log(mass / (1 - mass)), right, wrong, PROBLEM.correct)
        np.testing.assert_allclose(divergences.kl(twin, PROBLEM.base_log_policy), budget, rtol=LARGE_LOG)
        assert mass >= only("dominance", "correctness", **where)[0]
        wasted = divergences.kl_parts(bonus, PROBLEM.base_log_policy, PROBLEM.correct).inside_wrong
        np.testing.assert_allclose(saving, wasted, atol=ROUND_OFF)
        for reference in ("base", "sampling"):
            exponent = dominance.bonus_exponent(2.0, strength, "entropy")
            slack = dominance.literal_slack(PROBLEM, exponent, 1 / (2.0 + strength), reference)
            assert only("dominance", f"literal_slack_{reference}", **where) == [slack]


def test_slopes_are_those_of_the_optima_and_of_the_flows():
    """Differences of logit Q: of the optima at strength 0, and of the flow of the bonus alone at time 0."""
    step = 1e-4
    forms = {"reward_form_slope": optima.base_optimum, "entropy_form_slope": optima.sampling_optimum}
    for quantity, optimum in forms.items():
        ends = [
            policies.logit_correctness(optimum(PROBLEM, 2.0, optima.bonus_strengths(g)), PROBLEM.correct)
            for g in (-step, step)
        ]
        np.testing.assert_allclose(
            only("global_term", quantity, kl_strength=2.0), [(ends[1] - ends[0]) / (2 * step)], atol=INTEGRATOR
        )
    for geometry in ("softmax", "natural"):
        flow = getattr(dynamics, f"{geometry}_flow")(np.exp(PROBLEM.base_log_policy), -PROBLEM.base_log_policy)
        ends = [policies.logit_correctness(PROBLEM.base_log_policy + g * flow, PROBLEM.correct) for g in (-step, step)]
        np.testing.assert_allclose(
            only("global_term", f"no_kl_{geometry}_slope", kl_strength=2.0),
            [(ends[1] - ends[0]) / (2 * step)],
            atol=INTEGRATOR,
        )


@pytest.mark.slow
def test_milestones_are_where_the_path_crosses():
    """The path at each time has the level; levels that the base has passed, or no time reaches, are left out or inf."""
    for level in (0.9, 0.99):
        (found,) = only("milestone", f"time_to_correctness_{level}")
        log_policy = vanilla_path.vanilla_path(PROBLEM, [found])[0]
        np.testing.assert_allclose(policies.correctness(log_policy, PROBLEM.correct), level, rtol=PATH_TIME)
    assert only("milestone", "num_top") == [1.0]
    np.testing.assert_allclose(only("milestone", "collapse_constant"), [3 / 4], rtol=FLOAT64)

    def milestones(name):
        rows = prediction.predict(policies.problem_from_probabilities(*CASES[name]), ())
        return {row["quantity"]: row["value"] for row in rows if row["section"] == "milestone"}

    assert not any(quantity.startswith("time_to_c") for quantity in milestones("Q near 1"))
    assert milestones("the only correct answer at 1e-300")["time_to_correctness_0.9"] == np.inf
    tied = milestones("all tied")
    assert tied["num_top"] == 3
    assert tied["time_to_half_diversity"] == np.inf  # three tied solutions stay three


def test_selection_by_hand():
    """Inclusion 1 - (1 - p)^G of the likeliest, middle and rarest correct answer, and the tail's mass."""
    for name, p in (("top", 0.25), ("middle", 0.03), ("rarest", 0.01)):
        np.testing.assert_allclose(only("selection", f"inclusion_{name}", at=8.0), [1 - (1 - p) ** 8], rtol=FLOAT64)
    even = policies.problem_from_probabilities([0.2, 0.15, 0.1, 0.05, 0.5], [1, 1, 1, 1, 0])
    rows = prediction.predict(even, ())
    middle = [row["value"] for row in rows if row["quantity"] == "inclusion_middle" and row["at"] == 4.0]
    np.testing.assert_allclose(middle, [1 - 0.9**4], rtol=FLOAT64)  # of four the third, .1
    np.testing.assert_allclose(only("selection", "tail_mass"), [0.02], rtol=FLOAT64)  # .03 more would be over a tenth
    missed = (1 - 0.02) ** 8 - (0.4 - 0.02) ** 8 - (1 - 0.4) ** 8
    np.testing.assert_allclose(only("selection", "tail_miss", at=8.0), [missed], rtol=FLOAT64)
    assert prediction.tail_mass(np.log([0.25, 0.1])) == 0  # the rarer of the two is no tail


def test_the_shipped_example_is_predicted_in_seconds(record_property):
    """571 answers: measured 0.8 s on one core (9 s before ties were integrated once and times found by rise)."""
    table = answers.read_answers(EXAMPLE.read_text().splitlines(keepends=True), EXAMPLE.name)
    start = time.perf_counter()
    rows = list(prediction.predict(table.problem, (0.3, 1.0)))
    seconds = time.perf_counter() - start
    record_property("summary", f"predict, {table.problem.correct.size} answers: {len(rows)} rows in {seconds:.1f} s")
    assert len(rows) > 2000
    assert seconds < 20


def test_the_strengths_are_those_of_the_page():
    found = dict.fromkeys(row["strength"] / 2.0 for row in ROWS if row["method"] == "ds" and row["kl_strength"] == 2.0)
    np.testing.assert_allclose(list(found), [0.03, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0], rtol=FLOAT64)


def test_half_of_the_solutions_are_lost_when_the_path_says_so():
    """2.6 answers alive at the start, 1.3 then; and a correctness that is all but reached is reached soon."""
    (time_to_half,) = only("milestone", "time_to_half_diversity")
    start, half = (
        float(np.exp(policies.entropy(policies.conditional(log_policy, PROBLEM.correct, given_correct=True))))
        for log_policy in vanilla_path.vanilla_path(PROBLEM, [0.0, time_to_half])
    )
    assert half == pytest.approx(start / 2, rel=LARGE_LOG)
    near = policies.problem_from_probabilities([0.5, 0.3995, 0.1005], [1, 1, 0])
    rows = {row["quantity"]: row["value"] for row in prediction.predict(near, ()) if row["section"] == "milestone"}
    reached = vanilla_path.vanilla_path(near, [rows["time_to_correctness_0.9"]])[0]
    assert policies.correctness(reached, near.correct) == pytest.approx(0.9, rel=LARGE_LOG)
    assert rows["time_to_correctness_0.9"] < 0.1


def test_a_level_where_the_base_stands_is_not_reached_later():
    """At Q = .9 and at Q = .8, and within rounding below them, there is no row for that level."""
    for below in (0.0, 1e-15, 1e-13):
        rows = prediction.predict(policies.problem_from_probabilities([0.45, 0.45 - below, 0.1 + below], [1, 1, 0]), ())
        assert "time_to_correctness_0.9" not in {row["quantity"] for row in rows}
        rows = prediction.predict(policies.problem_from_probabilities([0.4, 0.4 - below, 0.2 + below], [1, 1, 0]), ())
        levels = {row["at"] for row in rows if (row["section"], row["method"]) == ("matched", "vanilla")}
        assert levels == {0.9, 0.95, 0.99}
