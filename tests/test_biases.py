"""The figures of the two biases and of the one path: simulated rows against exact values, and against rivals."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from sharpening.bandits import figure_rows
from sharpening.commands.figures import FIGURES
from sharpening.figures.drawing import biases
from sharpening.figures.drawing.theory import select
from sharpening.figures.style import STYLE
from sharpening.theory import policies
from sharpening.theory.flow import dynamics, vanilla_path
from tests.tolerances import FLOAT64

STANDARD_ERRORS = 5.0  # one false alarm in 1.7 million
SMALL_GROUPS = 0.3  # relative noise of a product of two ratios, of which one is of a chance of .06
NEAR, OFF = 0.03, 0.15  # of diversity, from the path: noise and steps of finite size; DS
BIASES = {**FIGURES["two_biases"].settings, "group_sizes": [2, 8, 64], "num_groups": 8000}


@pytest.fixture(scope="module")
def two():
    return list(figure_rows.two_biases(**BIASES))


@pytest.fixture(scope="module")
def path():
    settings = {**FIGURES["universality"].settings, "num_steps": 1500, "num_runs": 48, "record_every": 300}
    return list(figure_rows.universality(**settings))


def test_drawn_groups_have_the_chances_and_steps_of_c1_and_not_those_of_its_rivals(two):
    for quantity in ("drawn", "gain"):
        rows = select(two, quantity=quantity)
        distances, missed = (
            [abs(row["mean"] - row[name]) for row in rows if row["standard_error"]] for name in ("predicted", "rival")
        )
        errors = [row["standard_error"] for row in rows if row["standard_error"]]
        assert max(np.divide(distances, errors)) < STANDARD_ERRORS
        assert max(np.divide(missed, errors)) > 4 * STANDARD_ERRORS


def test_the_two_biases_multiply_to_the_ratio_of_probabilities_at_every_group_size(two):
    for size in BIASES["group_sizes"]:
        of = {(row["quantity"], row["answer"]): row["predicted"] for row in select(two, group_size=size)}
        ratios = {name: of[name, "rare"] / of[name, "likely"] for name in ("drawn", "gain")}
        assert ratios["drawn"] * ratios["gain"] == pytest.approx(0.03 / 0.3, rel=FLOAT64)
        assert (ratios["drawn"] < 0.2) == (size == 2)
        assert (ratios["gain"] < 0.2) == (size == 64)


def test_the_gain_of_all_groups_is_the_rate_of_the_flow(two):
    problem = policies.problem_from_probabilities(BIASES["base_policy"], BIASES["correct"])
    policy = np.exp(problem.base_log_policy)
    rates = dynamics.softmax_flow(policy, problem.correct)
    for size in BIASES["group_sizes"]:
        for answer, arm in (("likely", 0), ("rare", 1)):
            drawn, gain = (select(two, group_size=size, answer=answer, quantity=name)[0] for name in ("drawn", "gain"))
            assert drawn["predicted"] * gain["predicted"] == pytest.approx((1 - 1 / size) * rates[arm], rel=FLOAT64)


def test_methods_that_see_correctness_alone_lie_on_one_path_at_their_own_speeds_and_ds_does_not(path):
    problem = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
    exact = vanilla_path.vanilla_path(problem, np.geomspace(0.01, 1e4, 2000))
    mass = np.exp(exact[:, :2]).sum(axis=1)
    share = np.exp(exact[:, 0]) / mass
    diversity = np.exp(-share * np.log(share) - (1 - share) * np.log(1 - share))
    for method in dict.fromkeys(row["method"] for row in path):
        rows = select(path, method=method)
        wanted = np.interp([row["correctness"] for row in rows], mass, diversity)
        np.testing.assert_allclose([row["on_path"] for row in rows], wanted, atol=NEAR / 10)
        far = max(abs(row["distance"]) for row in rows)
        for row in rows:
            assert row["distance"] == pytest.approx(row["solution_diversity"] - row["on_path"])
        assert far > OFF if method == "ds" else far < NEAR
    last = [rows[-1]["solution_diversity"] for rows in (select(path, method=name) for name in figure_rows.CLASS)]
    assert np.ptp(last) > 2 * NEAR


def test_the_drawings_show_the_rows(two, path):
    with matplotlib.rc_context(STYLE):
        figure, other = biases.draw_two_biases(two), biases.draw_universality(path)
    both = [line for line in figure.axes[2].lines if line.get_label() == "both"]
    assert len(both[0].get_ydata()) == len(BIASES["group_sizes"])
    np.testing.assert_allclose(both[0].get_ydata(), 0.1, rtol=SMALL_GROUPS)
    on_curve = {line.get_label(): line.get_ydata() for line in other.axes[0].lines}
    want = [row["solution_diversity"] for row in select(path, method="ds") if row["time"] > 0]
    np.testing.assert_allclose(on_curve["DS"], want[: len(on_curve["DS"])], rtol=FLOAT64)
