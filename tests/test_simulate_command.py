"""`simulate` as a command: what it writes and says, what it replaces, and settings that no flow can be followed at."""

from __future__ import annotations

import json
import time
from pathlib import Path

import matplotlib
import numpy as np
import pytest

from sharpening import cli
from sharpening.bandits import analysis
from sharpening.bandits.specification import Specification
from sharpening.figures.drawing import simulation as simulation_figures
from sharpening.figures.style import LOOKS, STYLE
from sharpening.figures.tables import theory as tables
from sharpening.storage import store
from sharpening.theory.flow import dynamics
from tests.tolerances import FLOAT64

SPEC = {
    "base_policy": [0.3, 0.1, 0.4, 0.2],
    "correct": [1, 1, 0, 0],
    "method": "ds",
    "parameters": {"gamma_correct": 0.3},
    "num_steps": 40,
    "num_runs": 4,
    "record_every": 20,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def simulated(*words: str, **changes: object) -> int:
    Path("spec.json").write_text(json.dumps({**SPEC, **changes}))
    return cli.main(["simulate", "spec.json", *words])


def test_it_says_what_happened_first_and_where_everything_is(here: Path, capsys) -> None:
    """The first line has the first and the last record; rows, summary, figure and JSON are there."""
    assert simulated("--json", "all.json", "--format", "png", "svg") == 0
    out, err = capsys.readouterr()
    rows = store.read_rows("results/simulation/rows.csv")
    means = [row["mean"] for row in rows if row["quantity"] == "correctness"]
    assert out.startswith(f"Correctness went from {means[0]:.3g} to {means[-1]:.3g} and solution diversity went from ")
    assert err == ""
    assert out.endswith(
        "rows:   results/simulation/rows.csv\n"
        "figure: results/simulation/simulation.png (and .svg, caption in simulation.txt)\n"
        "summary: results/simulation/summary.json\njson:   all.json\n"
    )
    assert {path.name for path in Path("results/simulation").iterdir()} == {
        *("rows.csv", "summary.json", "simulation.png", "simulation.svg", "simulation.txt")
    }
    written = json.loads(Path("all.json").read_text())
    assert written == {"summary": json.loads(Path("results/simulation/summary.json").read_text()), "rows": rows}


@pytest.mark.slow
def test_another_simulation_is_replaced_with_a_note_and_the_same_one_without(here: Path, capsys) -> None:
    assert [simulated(), simulated()] == [0, 0]
    assert capsys.readouterr().err == ""
    assert simulated(seed=1) == 0
    assert capsys.readouterr().err == (
        "note: results/simulation had another simulation, which is replaced: --out keeps both\n"
    )


def test_the_figure_has_the_rows_and_their_prediction() -> None:
    """Markers are means, bars two standard errors, the thin line the prediction; none where there is none."""
    specification = Specification(**SPEC)
    rows = list(analysis.simulate(specification))
    with matplotlib.rc_context(STYLE):
        figure = simulation_figures.draw_simulation(rows, "ds")
    chosen = [row for row in rows if row["quantity"] == "correctness"]
    (bars,) = figure.axes[0].containers
    points, _, (lines,) = bars
    np.testing.assert_allclose([*points.get_ydata()], [row["mean"] for row in chosen], rtol=FLOAT64)
    assert points.get_color() == LOOKS["ds"].color
    heights = [end[1] - start[1] for start, end in lines.get_segments()]
    np.testing.assert_allclose(heights, [4 * row["standard_error"] for row in chosen], rtol=FLOAT64, atol=FLOAT64)
    thin = next(line for line in figure.axes[0].lines if line.get_linewidth() < 1)
    np.testing.assert_allclose([*thin.get_ydata()], [row["predicted"] for row in chosen], rtol=FLOAT64)
    without = [{**row, "predicted": float("nan"), "prediction_source": ""} for row in rows]
    with matplotlib.rc_context(STYLE):
        bare = simulation_figures.draw_simulation(without, "ds").axes[0]
    assert all(line.get_linewidth() >= 1 for line in bare.lines)
    assert "There is no prediction" in simulation_figures.simulation_caption(without, "ds", 4, 8, 0.1)


@pytest.mark.parametrize("width", [60, 100, 160])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = list(analysis.simulate(Specification(**SPEC)))
    assert max(map(len, tables.simulation_report(rows, 4, width).splitlines())) <= width


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"num_step": 3},
            "num_step: 3: it is no field: did you mean num_steps? want some of base_policy, ",
        ),
        ({"zzz": 3}, "zzz: 3: it is no field: want some of base_policy, base_logits, "),
        ({"parameters": {"gamma_correct": 1e300}}, "gamma_correct is 1e+300: it must be from -1e+06 to 1e+06"),
        ({"parameters": {"gamma_correct": 10**400}}, "gamma_correct is 1"),
        ({"learning_rate": 1e300}, "learning_rate: 1e+300: Input should be less than or equal to 1000000"),
        ({"kl_strength": 1e300}, "kl_strength: 1e+300: Input should be less than or equal to 1000000"),
        ({"format_credit": [1e300, 0, 0, 0]}, "format_credit.0: 1e+300: Input should be less than or equal to 1000000"),
        ({"method": "mine.py:broken"}, "mine.py:broken raises ZeroDivisionError in line 3 of its file: "),
        ({"method": "mine.py:value"}, "mine.py:value raises ValueError in line 6 of its file: not today"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(changes: dict, message: str, here: Path, capsys) -> None:
    """Fields with what was meant, numbers with their bounds, a user's function with the line where it broke."""
    Path("mine.py").write_text(
        "def broken(reward):\n    x = 0\n    return reward / (1 // x)\n\n"
        "def value(reward):\n    raise ValueError('not today')\n"
    )
    changes = {"parameters": {}, **changes} if "method" in changes else changes
    assert simulated(**changes) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not Path("results").exists()


def test_a_flow_that_is_too_stiff_has_no_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank is a discontinuity that the flow slides along: the simulation goes on without a prediction."""
    stiff = {"method": "unlikeliness", "parameters": {"rank_strength": 10.0}, "learning_rate": 10.0, "num_steps": 200}
    monkeypatch.setattr(dynamics, "MAX_EVALUATIONS", 2_000)
    start = time.process_time()
    rows = list(analysis.simulate(Specification(**{**SPEC, **stiff})))
    assert time.process_time() - start < 60
    assert {row["prediction_source"] for row in rows} == {""}
    gentle = {**stiff, "parameters": {"rank_strength": 0.25}, "learning_rate": 0.02}
    rows = list(analysis.simulate(Specification(**{**SPEC, **gentle})))
    assert {row["prediction_source"] for row in rows} == {analysis.LISTED}


def test_the_strongest_term_that_is_allowed_is_simulated_in_seconds() -> None:
    """At the bound of a million the exact flow is still followed: it ends on the likelier correct answer."""
    specification = Specification(**{**SPEC, "parameters": {"gamma_correct": 1e6}, "learning_rate": 0.02})
    start = time.process_time()
    rows = list(analysis.simulate(specification))
    assert time.process_time() - start < 60
    assert {row["prediction_source"] for row in rows} == {analysis.SMOOTHED}
