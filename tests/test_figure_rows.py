"""Rows of the first figures against independent theory; each check also rejects a named wrong prediction."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from sharpening.bandits import figure_rows as bandit_rows
from sharpening.commands.figures import FIGURES, SHOWN
from sharpening.theory import policies
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.groups import expectations, expected_flow
from sharpening.theory.methods import baselines
from sharpening.theory.optimum import divergences, optima
from sharpening.theory.rows import figures as figure_rows
from tests.tolerances import DIFFERENCE, DIFFERS, FLOAT64, INTEGRATOR, MONTE_CARLO_Z, PRINTED_THREE, ROUND_OFF

PROBLEM = policies.problem_from_probabilities(SHOWN["base_policy"], SHOWN["correct"])
THREE = policies.problem_from_probabilities([0.3, 0.15, 0.55], [1, 1, 0])
FAR = 1e5  # a time after which the flow is within `ARRIVED` of its end
ARRIVED = 1e-2  # vanilla sheds the rarer answer like 1 over the root of time
STEP = 1e-5  # of a strength


def select(rows, **where):
    return [row for row in rows if all(row[name] == value for name, value in where.items())]


@pytest.fixture(scope="module")
def plane():
    return list(figure_rows.phase_portrait(PROBLEM, (0.0, 0.1, 1.0)))


@pytest.fixture(scope="module")
def triangle():
    return list(figure_rows.ternary_flows(THREE, 0.5))


@pytest.fixture(scope="module")
def frontier():
    settings = FIGURES["dominance_frontier"].settings
    return list(FIGURES["dominance_frontier"].rows(**settings))


# phase portrait


@pytest.mark.slow
def test_the_portrait_starts_with_the_rates_of_e3(plane):
    """.120, .121, .133 at strengths 0, .1 and 1 (claim E3.4); a bonus centred within C would reverse the last."""
    for strength, rate in ((0.0, 0.120), (0.1, 0.121), (1.0, 0.133)):
        start = select(plane, section="path", strength=strength, time=0.0)[0]
        assert start["log_ratio_rate"] == pytest.approx(rate, abs=PRINTED_THREE)
        assert start["log_ratio_rate"] > 0
        assert start["log_ratio"] == pytest.approx(np.log(3))


@pytest.mark.slow
def test_the_rates_are_the_slopes_of_the_path(plane):
    """Differences along each path, by the trapezium rule; half of the rates is refused."""
    for strength in (0.0, 0.1, 1.0):
        path = select(plane, section="path", strength=strength)
        for quantity, rate in (("logit_correctness", "logit_rate"), ("log_ratio", "log_ratio_rate")):
            time, value, slope = (np.array([row[name] for row in path]) for name in ("time", quantity, rate))
            moved = np.diff(value)
            want = np.diff(time) * (slope[1:] + slope[:-1]) / 2
            early = time[1:] < 5
            np.testing.assert_allclose(moved[early], want[early], atol=DIFFERS)
            assert np.abs(moved - want / 2)[early].max() > DIFFERS


def test_vanilla_in_the_plane_is_the_closed_path(plane):
    path = select(plane, section="path", strength=0.0)
    closed = vanilla_path.vanilla_path(PROBLEM, [row["time"] for row in path])
    np.testing.assert_allclose([row["log_ratio"] for row in path], closed[:, 0] - closed[:, 1], atol=INTEGRATOR)


def test_the_edge_of_smoothing_is_where_the_field_changes_sign(plane):
    """The rate of log(p1/p2) vanishes on the edge; left of it DS sharpens, right of it it smooths, vanilla never."""
    for strength in (0.1, 1.0):
        edge = {row["log_ratio"]: row for row in select(plane, section="onset", strength=strength)}
        assert max(abs(row["log_ratio_rate"]) for row in edge.values()) < ROUND_OFF
        onsets = np.array([row["logit_correctness"] for row in edge.values()])
        heights = np.array(list(edge))
        for row in select(plane, section="field", strength=strength):
            gap = row["logit_correctness"] - np.interp(row["log_ratio"], heights, onsets)
            if row["log_ratio"] > 0 and abs(gap) > DIFFERS:
                assert np.sign(row["log_ratio_rate"]) == -np.sign(gap)
        assert onsets.min() > policies.logit_correctness(PROBLEM.base_log_policy, PROBLEM.correct)
    assert min(row["log_ratio_rate"] for row in select(plane, section="field", strength=0.0)) >= -ROUND_OFF


def test_the_field_is_the_expected_step_of_large_groups(plane):
    """In groups of G the reward's part is 1 - 1/G of the field: G = 8 misses it, the factor taken back meets it."""
    flow = expected_flow.ExpectedFlow(baselines.dr_grpo, PROBLEM, group_size=8)
    rate = float(expected_flow.log_ratio_rate(flow, PROBLEM.base_log_policy, (0, 1)))
    start = select(plane, section="path", strength=0.0, time=0.0)[0]["log_ratio_rate"]
    assert rate / expectations.dr_grpo_weight(8) == pytest.approx(start, rel=FLOAT64)
    assert abs(rate - start) > DIFFERS


# flow lines on the triangle


def test_the_field_on_the_triangle_is_the_flow(triangle):
    """Its rates sum to 0 and are those of a short integration; the field of another method is not."""
    for method in ("vanilla", "entropy_bonus", "entropy_penalty", "ds"):
        rows = select(triangle, section="field", method=method)[::97]
        for row in rows:
            policy, rates = (np.array([row[f"{name}_{arm}"] for arm in range(3)]) for name in ("policy", "rate"))
            assert abs(rates.sum()) < ROUND_OFF
            after = np.exp(
                dynamics.integrate(np.log(policy), figure_rows.advantage_of(THREE, method, 0.5), [0.0, STEP])
            )
            np.testing.assert_allclose((after[1] - after[0]) / STEP, rates, atol=DIFFERENCE * 10)
    one, other = (select(triangle, section="field", method=method)[500] for method in ("ds", "entropy_bonus"))
    assert one["policy_0"] == other["policy_0"]
    assert abs(one["rate_2"] - other["rate_2"]) > DIFFERS


@pytest.mark.parametrize(
    ("method", "start", "end"),
    [
        ("vanilla", [0.2, 0.15, 0.65], 0),
        ("vanilla", [0.1, 0.15, 0.75], 1),
        ("entropy_bonus", [0.2, 0.15, 0.65], 0),
        ("entropy_penalty", [0.2, 0.15, 0.65], 0),
        ("entropy_penalty", [0.02, 0.03, 0.95], 2),
        ("ds", [0.2, 0.15, 0.65], 0),
    ],
)
def test_the_flow_ends_on_one_of_the_rings(triangle, method, start, end):
    """From each start the flow reaches the ring that is named, and none of another method's that is elsewhere."""
    advantage = figure_rows.advantage_of(THREE, method, 0.5)
    last = np.exp(dynamics.integrate(np.log(start), advantage, [0.0, FAR])[-1])
    ends = [[row[f"policy_{arm}"] for arm in range(3)] for row in select(triangle, section="end", method=method)]
    np.testing.assert_allclose(last, ends[end], atol=ARRIVED)
    others = {"vanilla": "ds", "entropy_bonus": "ds", "entropy_penalty": "ds", "ds": "entropy_bonus"}
    for row in select(triangle, section="end", method=others[method]):
        assert np.abs(last - [row[f"policy_{arm}"] for arm in range(3)]).max() > 5 * ARRIVED


# the dominance frontier


def test_smoothing_pays_less_by_the_wrong_part(frontier):
    """At equal Q and p_C the bonus pays (1-Q) KL(p_W||b_W) more (A7.1.2), and never less; without 1-Q it would miss."""
    for exponent in dict.fromkeys(row["exponent"] for row in select(frontier, section="frontier")):
        pairs = (
            select(frontier, section="frontier", exponent=exponent, method=name) for name in ("ds", "entropy_bonus")
        )
        problem = figure_rows.power_law_problem(20, 60, 0.3, 1.0, 1.5)
        wrong = policies.conditional(problem.base_log_policy, problem.correct, given_correct=False)
        spread = float(divergences.kl(policies.tempered(wrong, exponent), wrong))
        for ours, theirs in zip(*pairs, strict=True):
            saved = theirs["kl_to_base"] - ours["kl_to_base"]
            assert ours["solution_diversity"] == pytest.approx(theirs["solution_diversity"])
            assert saved == pytest.approx(expit(-ours["logit_correctness"]) * spread, rel=DIFFERENCE)
            assert saved >= 0
            if ours["logit_correctness"] > -0.5:
                assert abs(saved - spread) > DIFFERS


def test_a_needed_tilt_reaches_the_policy(frontier):
    """The optimum of the literal reward at KL strength 1/tilt is the row's; the bonus's tilt without its own exponent
    on W gives another policy."""
    problem = figure_rows.power_law_problem(20, 60, 0.3, 1.0, 1.5)
    for method in ("ds", "entropy_bonus"):
        for row in select(frontier, section="frontier", method=method, exponent=0.7)[40::10]:
            strength = 1 / row["needed_tilt"]
            pair = figure_rows.strengths_of(method, (1 - row["exponent"]) * strength)
            reached = optima.base_optimum(problem, strength, pair)
            assert policies.logit_correctness(reached, problem.correct) == pytest.approx(row["logit_correctness"])
            assert float(divergences.kl(reached, problem.base_log_policy)) == pytest.approx(row["kl_to_base"])
            wrong_pair = figure_rows.strengths_of("entropy_penalty", (1 - row["exponent"]) * strength)
            missed = optima.base_optimum(problem, strength, wrong_pair)
            assert abs(policies.logit_correctness(missed, problem.correct) - row["logit_correctness"]) > DIFFERS


def test_a_global_term_trades_and_smoothing_gains(frontier):
    """As the strength grows, the bonus loses Q and gains diversity, the penalty the reverse, DS gains both (A4, A5)."""
    signs = {"entropy_bonus": (-1, 1), "entropy_penalty": (1, -1), "ds": (1, 1), "ds_with_charge": (1, 1)}
    for method, (of_logit, of_diversity) in signs.items():
        rows = select(frontier, section="optimum", method=method)
        logit, diversity = (
            np.array([row[name] for row in rows]) for name in ("logit_correctness", "solution_diversity")
        )
        assert (of_logit * np.diff(logit) > 0).all()
        assert (of_diversity * np.diff(diversity) > 0).all()


# multiplicity


def test_slopes_are_differences_of_optima():
    """Central differences of logit Q at 3 correct of 33 answers, for an uneven base policy of the same entropies."""
    base = np.array([0.35, 0.1, 0.05, 0.3, 0.15, 0.05])
    problem = policies.problem_from_probabilities(base, [1, 1, 1, 0, 0, 0])
    inside, outside = (
        policies.conditional(problem.base_log_policy, problem.correct, given_correct=side) for side in (True, False)
    )
    num_correct, num_wrong = (float(np.exp(policies.entropy(side))) for side in (inside, outside))
    kl_strength, logit = 2.0, policies.logit_correctness(problem.base_log_policy, problem.correct)
    slopes = {
        (row["method"], row["form"]): row["slope"]
        for row in figure_rows.slopes_at(num_correct, num_wrong, logit, kl_strength)
    }
    found = {}
    for (method, form), optimum in (
        (("entropy_bonus", "reward"), optima.base_optimum),
        (("entropy_bonus", "entropy"), optima.sampling_optimum),
        (("ds", "reward"), optima.base_optimum),
    ):
        ends = [
            policies.logit_correctness(
                optimum(problem, kl_strength, figure_rows.strengths_of(method, strength)), problem.correct
            )
            for strength in (-STEP, STEP)
        ]
        found[method, form] = (ends[1] - ends[0]) / (2 * STEP)
    assert slopes == pytest.approx(found, abs=DIFFERENCE)
    assert abs(slopes["ds", "reward"] - found["entropy_bonus", "reward"]) > DIFFERS


def test_the_sign_turns_where_multiplicities_are_equal():
    """At Q = 1/2 a bonus in reward form helps above H(b_W), not below; DS always does."""
    rows = list(figure_rows.multiplicity(30, 1.0))
    middle = min((abs(row["logit_correctness"]), row["logit_correctness"]) for row in rows)[1]
    assert middle == pytest.approx(0, abs=ROUND_OFF)
    for row in select(rows, method="entropy_bonus", form="reward", logit_correctness=middle):
        assert (row["slope"] > 0) == (row["multiplicity"] > 30)
    assert min(row["slope"] for row in select(rows, method="ds")) >= 0


# prompt weights


def test_prompt_weights_are_the_closed_forms():
    """Those of claim B4, for the fifteen methods of correctness only; Dr. GRPO's without 1/G is another."""
    rows = list(figure_rows.prompt_weights(8))
    mass = figure_rows.WEIGHT_GRID
    found = {
        name: np.array([row["prompt_weight"] for row in select(rows, method=name)])
        for name in dict.fromkeys(row["method"] for row in rows)
    }
    closed = {
        **dict.fromkeys(("reinforce", "rloo", "psr", "nsr"), np.ones_like(mass)),
        "w_reinforce": expectations.w_reinforce_weight(0.1) * np.ones_like(mass),
        "dr_grpo": expectations.dr_grpo_weight(8) * np.ones_like(mass),
        "pkpo": expectations.pkpo_weight(mass, 2),
        **dict.fromkeys(("grpo", "dapo"), expectations.grpo_weight(mass, 8)),
        "maxrl": expectations.maxrl_weight(mass, 8),
        "entropic": expectations.grpo_weight(mass, 8) * (1 + 0.1 * (1 - 2 * mass)),
    }
    assert set(found) == {*closed, "f_grpo", "pass_at_k_training", "qae", "a_grae"}
    for name, want in closed.items():
        rounding = FLOAT64 if name in ("pkpo", "dr_grpo", "rloo", "reinforce") else 1e5 * FLOAT64  # epsilon of 1e-6
        np.testing.assert_allclose(found[name], want, rtol=rounding, atol=ROUND_OFF)
    assert np.abs(found["dr_grpo"] - 1).min() > DIFFERS
    ends = expectations.f_grpo_weight_ends(8, 1.0)
    np.testing.assert_allclose(found["f_grpo"][[0, -1]], ends, rtol=1e5 * FLOAT64)


# theory through simulated points


def test_simulated_points_lie_on_the_curve_and_off_the_rival():
    """Small and quick: within five standard errors of the prediction, and far from the flow without 1 - 1/G."""
    setting = {"group_size": 2, "learning_rate": 0.02, "num_steps": 400, "num_runs": 48, "record_every": 100}
    rows = list(bandit_rows.theory_and_simulation(**SHOWN, strength=0.1, **setting))
    assert list(dict.fromkeys(row["method"] for row in rows)) == ["dr_grpo", "entropy_bonus", "ds"]
    assert max(abs(row["standard_errors"]) for row in rows) < MONTE_CARLO_Z
    for method in ("dr_grpo", "entropy_bonus", "ds"):
        last = select(rows, method=method, step=400, quantity="correctness")[0]
        assert abs(last["rival_standard_errors"]) > 2 * MONTE_CARLO_Z
    again = list(bandit_rows.theory_and_simulation(**SHOWN, strength=0.1, **setting))
    assert again == rows


def test_the_grids_are_those_of_the_captions():
    """Ends and steps of every grid that a figure is drawn on."""
    grids = {
        "FIELD_LOGITS": (-3.0, 7.0, 41), "FIELD_LOG_RATIOS": (0.0, 5.0, 31), "LEANS": (0.0, 1.0, 81),
        "WRONG_SHARES": (0.0, 1.0, 71), "FRONTIER_RISES": (0.0, 8.0, 81), "SLOPE_LOGITS": (-4.6, 4.6, 47),
        "WEIGHT_GRID": (0.0, 1.0, 101),
    }  # fmt: skip
    for name, (first, last, number) in grids.items():
        np.testing.assert_allclose(
            getattr(figure_rows, name), first + (last - first) / (number - 1) * np.arange(number)
        )
    logarithmic = {"MULTIPLICITIES": (0.0, 3.0, 46), "PATH_TIMES": (-2.0, 5.0, 141), "LINE_TIMES": (-1.5, 4.0, 111)}
    for name, (first, last, number) in logarithmic.items():
        grid = getattr(figure_rows, name)
        assert name == "MULTIPLICITIES" or grid[0] == 0
        wanted = 10 ** (first + (last - first) / (number - 1) * np.arange(number))
        np.testing.assert_allclose(grid[grid > 0], wanted)
    assert figure_rows.RATIOS == (0.0, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0, 1.5, 2.0, 3.0)


def test_optima_ask_for_the_gap_of_one_over_the_kl_strength(frontier):
    """And methods whose fixed point needs a strength below that of the KL term have none beyond it."""
    rows = select(list(figure_rows.dominance_frontier(PROBLEM, 0.25, (0.5,))), section="optimum")
    assert {row["needed_tilt"] for row in rows} == {4.0}
    reached = {method: max(row["strength"] for row in select(rows, method=method)) for method in figure_rows.SIGNS}
    assert reached["vanilla"] == 0
    assert reached["ds"] == reached["entropy_bonus"] == 0.75
    assert reached["entropy_penalty"] == reached["ds_with_charge"] == pytest.approx(0.85 * 0.25)


def test_rates_on_the_triangle_are_those_of_the_flow():
    """Of one policy, worked out by hand: p_i (z_i' - sum p z'), z_i' = p_i (r_i - Q) without a term."""
    policy = np.array([0.5, 0.2, 0.3])
    row = figure_rows._triangle_row(policy, lambda _: np.array([1.0, 1.0, 0.0]), section="field", time=0.0)
    moved = [0.5 * 0.3, 0.2 * 0.3, -0.3 * 0.7]
    mean = 0.5 * moved[0] + 0.2 * moved[1] + 0.3 * moved[2]
    wanted = [share * (move - mean) for share, move in zip(policy, moved, strict=True)]
    np.testing.assert_allclose([row[f"rate_{arm}"] for arm in range(3)], wanted, rtol=FLOAT64)


def test_a_field_has_no_time(triangle):
    assert {row["time"] for row in triangle if row["section"] == "field"} == {0.0}
