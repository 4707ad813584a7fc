"""Figures and tables of a study, from made-up rows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from sharpening.figures import render
from sharpening.figures.drawing import studies as study_figures
from sharpening.figures.style import TUNED
from sharpening.figures.tables import studies as study_tables
from tests.study_rows import STEPS, rows_of
from tests.tolerances import FLOAT64


def of_setting(strength: float, rate: float, at_1: float, at_8: float) -> list[dict[str, Any]]:
    """The first runs of a setting of DS: pass@1 and all else after training."""
    of = {"strength": strength, "learning_rate": rate}
    rows = [{**row, **of} for row in rows_of("ds", 0.0, 0.0, stage="tuning")]
    return [{**row, "value": at_1 if row["at"] == 1 else at_8} if row["step"] else row for row in rows]


def test_strengths_are_compared_at_the_middle_rate_by_first_runs():
    """A later seed, and a setting at another rate, are not drawn."""
    rows = [*of_setting(0.3, 1e-3, 0.6, 0.7), *of_setting(1.0, 2e-3, 0.5, 0.8), *of_setting(0.3, 2e-3, 0.55, 0.75)]
    rows += [*of_setting(0.3, 4e-3, 0.4, 0.4)]
    rows += [{**row, "learning_rate": 2e-3} for row in rows_of("plain", 0.0, 0.0, stage="tuning")]
    fig = study_figures.draw_strengths([row for row in rows if (row["strength"], row["seed"]) != (1.0, 105)])
    lines = {line.get_label(): line for line in fig.axes[0].lines}
    np.testing.assert_allclose(lines["DS"].get_xydata(), [[0.3, 0.55], [1.0, 0.5]], rtol=FLOAT64)
    first = [row["value"] for row in rows_of("plain", 0.0, 0.0) if row["step"] and row["at"] == 1]
    np.testing.assert_allclose(lines["plain RL"].get_ydata(), first[0], rtol=FLOAT64)
    assert fig.axes[0].get_xlabel() == "strength, at learning rate 0.002"


def test_a_method_without_a_setting_at_the_middle_rate_is_left_out():
    rows = [*rows_of("plain", 0.0, 0.0, stage="tuning"), *of_setting(0.3, 2e-3, 0.55, 0.75)]
    assert [line.get_label() for line in study_figures.draw_strengths(rows).axes[0].lines] == ["DS"]


def test_the_frontier_joins_settings_that_no_other_exceeds_in_both():
    rows = [*of_setting(0.3, 1e-3, 0.6, 0.7), *of_setting(1.0, 1e-3, 0.5, 0.8), *of_setting(1.0, 2e-3, 0.49, 0.75)]
    rows += rows_of("plain", 0.0, 0.0, stage="tuning")
    fig = study_figures.draw_frontier(rows[::-1])
    lines = {line.get_label(): line for line in fig.axes[0].lines}
    np.testing.assert_allclose(lines["DS"].get_xydata(), [[0.5, 0.8], [0.6, 0.7]], rtol=FLOAT64)
    assert list(lines) == ["plain RL", "DS", "before training"]


def test_tuning_figures_leave_out_plain_rl_by_another_rule_and_settings_that_broke_down():
    rows = [*rows_of("plain", 0.0, 0.0, stage="tuning"), *rows_of("plain gentler", 0.0, 0.0, stage="tuning")]
    rows += of_setting(1.0, 1e-3, 0.2, 0.9)
    for draw in (study_figures.draw_frontier, study_figures.draw_strengths):
        labels = [line.get_label() for line in draw(rows).axes[0].lines]
        assert "plain RL" in labels
        assert not {"plain RL, gentler", "DS"} & set(labels)


@pytest.mark.slow
def test_figures_draw_the_rows_that_there_are():
    rows = [*rows_of("plain", 0.0, 0.01), *rows_of("ds", 0.05, 0.01), *rows_of("ds", 0.02, 0.01, stage="tuning")]
    rows += rows_of("plain", 0.0, 0.01, stage="tuning")
    for draw in (study_figures.draw_path, study_figures.draw_curves, study_figures.draw_strengths):
        first, again = (render.render("x", functools.partial(draw, rows), "caption")["x.png"] for _ in range(2))
        assert first == again
    fig = study_figures.draw_path(rows)
    last = {line.get_label(): line.get_xydata()[-1] for line in fig.axes[0].lines}
    want = np.mean(
        [
            row["value"]
            for row in rows
            if row["contestant"] == "ds"
            and row["stage"] == "comparison"
            and (row["quantity"], row["step"], row["at"]) == ("path_pass_at_k", STEPS, 8)
        ]
    )
    assert last["DS"][1] == pytest.approx(want)


def test_the_most_of_a_measure_is_among_settings_with_that_share_of_the_gain_of_plain_rl():
    """Before training .4; plain RL at .6 gained .2, so three quarters are .55."""
    plain = [{**row, "contestant": "plain", "strength": 0.0} for row in of_setting(0.0, 1e-3, 0.6, 0.7)]
    rows = [*plain, *of_setting(0.3, 1e-3, 0.56, 0.8), *of_setting(0.3, 2e-3, 0.52, 0.85)]
    rows += [*of_setting(0.3, 4e-3, 0.7, 0.6), *rows_of("plain gentler", 0.0, 0.0, stage="tuning")]
    table = [line.split(" | ") for line in study_tables.frontier_markdown(rows).splitlines()]
    assert table[0][:5] == ["| method", "settings", "pass@8 at 50%", "pass@8 at 75%", "pass@8 at 90%"]
    assert [line[:5] for line in table[2:]] == [
        ["| plain", "1", ".700", ".700", ".700"],
        ["| ds", "3", ".850", ".800", ".600"],
    ]


def test_more_contestants_than_a_panel_holds_stand_in_rows_each_beside_plain_rl_and_ds():
    names = [name for name in TUNED if name != "plain gentler"]
    rows = [row for name in names for row in rows_of(name, 0.0, 0.0)]
    rows += [{**row, "stage": "tuning", "strength": 0.3} for row in rows]
    for draw in (study_figures.draw_path, study_figures.draw_frontier, study_figures.draw_strengths):
        fig = draw(rows)
        shown = [[line.get_label() for line in ax.lines if not line.get_label().startswith("_")] for ax in fig.axes]
        shown = [[label for label in one if label != "before training"] for one in shown]
        assert len(shown) > 2
        assert all(one[:2] == ["plain RL", "DS"] and len(one) <= study_figures.MOST for one in shown)
        others = [label for one in shown[::2] for label in one[2:]]
        assert sorted(others) == sorted(TUNED[name].label for name in names if name not in ("plain", "ds"))
        (legend,) = fig.legends
        told = [text.get_text() for text in legend.get_texts()]
        assert len(set(told)) == len(told) >= len(names)
