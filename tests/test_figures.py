"""The first figures: the right series, no text over data, the same bytes twice, and the command that draws them."""

from __future__ import annotations

import functools
import json
import re
import shutil
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from sharpening import cli
from sharpening.commands.figures import FIGURES, REDRAWN
from sharpening.figures import render
from sharpening.figures.drawing import bandits as bandit_figures
from sharpening.figures.drawing import comparisons as comparison_figures
from sharpening.figures.drawing import theory as theory_figures
from sharpening.figures.style import LOOKS, STYLE
from sharpening.storage import store
from tests import pages
from tests.tolerances import FLOAT64

SEEN, FEW_POINTS = 0.1, 1e-3  # of a colour; of a figure
ROUNDED = 1e-3  # relative: SVG files have three to six digits
FEW = {"num_steps": 40, "num_runs": 4, "record_every": 1}
SMALL: dict[str, dict] = {  # of simulations: their rows are tested elsewhere
    "theory_and_simulation": FEW,
    "universality": FEW,
    "two_biases": {"group_sizes": [2, 8, 32], "num_groups": 500},
}


def has_figures_of_rows(path: Path) -> bool:
    """Whether `figures --of` draws a committed run."""
    config = json.loads((path / "config.json").read_text())["config"]
    return config.get("command") in REDRAWN and any(path.glob("*.png"))


def settings_of(name: str) -> dict:
    return {**FIGURES[name].settings, **SMALL.get(name, {})}


@pytest.fixture(scope="module")
def rows() -> dict[str, list]:
    return {name: list(figure.rows(**settings_of(name))) for name, figure in FIGURES.items()}


def drawn(name: str, rows: dict[str, list]) -> Figure:
    with matplotlib.rc_context(STYLE):
        return FIGURES[name].draw(rows[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_files_are_the_same_bytes_twice(name: str, rows: dict[str, list]) -> None:
    caption = FIGURES[name].caption(rows[name], settings_of(name), "0123456789ab")
    first, second = (render.render(name, lambda: FIGURES[name].draw(rows[name]), caption) for _ in range(2))
    assert first == second
    assert list(first) == [f"{name}.pdf", f"{name}.png", f"{name}.txt"]
    text = first[f"{name}.txt"].decode()
    assert "run 0123456789ab" in text.lower()
    assert "\n" not in text.rstrip("\n")


def sizes(data: bytes) -> tuple[float, float, set[float]]:
    """Width and height of an SVG file in inches, and the sizes of its text in points."""
    text = data.decode()
    width, height = (float(each) / 72 for each in re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', text).groups())
    return width, height, {float(each) for each in re.findall(r"font: ([\d.]+)px", text)}


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("width", [3.0, 13.5])
def test_a_width_makes_the_whole_figure_larger_text_and_all(name: str, width: float, rows: dict[str, list]) -> None:
    """Height and every size of text go with the width; the same SVG twice; without a width it is as drawn."""

    def made(inches: float | None) -> bytes:
        with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text, so that its size can be read
            return render.render(name, lambda: FIGURES[name].draw(rows[name]), "", formats=("svg",), width=inches)[
                f"{name}.svg"
            ]

    assert made(width) == made(width)
    native, scaled = sizes(made(None)), sizes(made(width))
    factor = width / native[0]
    np.testing.assert_allclose(scaled[:2], [width, factor * native[1]], rtol=ROUNDED)
    np.testing.assert_allclose(sorted(scaled[2]), [factor * size for size in sorted(native[2])], rtol=ROUNDED)


@pytest.mark.slow
def test_every_size_of_text_follows_the_one_in_the_style(rows: dict[str, list]) -> None:
    """No figure sets a size in points: with font.size doubled every text is twice as large (ticks may be others)."""
    for name, figure in FIGURES.items():
        small, large = {}, {}
        for size, found in ((8, small), (16, large)):
            with matplotlib.rc_context({**STYLE, "font.size": size}):
                found |= {text.get_text(): text.get_fontsize() for text in figure.draw(rows[name]).findobj(Text)}
        shared = sorted((small.keys() & large.keys()) - {""})
        assert len(shared) > 5
        np.testing.assert_allclose([large[text] for text in shared], [2 * small[text] for text in shared], rtol=FLOAT64)


@pytest.mark.parametrize("name", FIGURES)
def test_axes_say_what_they_show(name: str, rows: dict[str, list]) -> None:
    """A label on every outer axis, no title, log axes with their base, and sizes of a column or a page."""
    figure = drawn(name, rows)
    assert 3.25 <= figure.get_size_inches()[0] <= 6.75
    for panel in figure.axes:
        assert panel.get_title() == ""
        if panel.axison and panel.get_label() != "<colorbar>":
            assert panel.get_xlabel()
            for axis in (panel.xaxis, panel.yaxis):
                if axis.get_scale() == "log" and axis.get_label_text():
                    assert re.search(r"log base (2|10)\b", axis.get_label_text())


def test_the_portrait_has_a_panel_a_strength(rows: dict[str, list]) -> None:
    figure = drawn("phase_portrait", rows)
    for panel, strength in zip(figure.axes, (0.0, 0.1, 1.0), strict=True):
        look = LOOKS["ds" if strength else "vanilla"]
        path = [row for row in rows["phase_portrait"] if row["section"] == "path" and row["strength"] == strength]
        line = max(panel.lines, key=lambda line: line.get_linewidth() * (len(line.get_xdata()) > 1))
        assert line.get_color() == look.color
        np.testing.assert_allclose(line.get_ydata(), [row["log_ratio"] for row in path], rtol=FLOAT64)
        edges = [line for line in panel.lines if line.get_linestyle() == ":"]
        assert len(edges) == (strength > 0)


def test_the_triangles_have_the_looks_of_their_methods(rows: dict[str, list]) -> None:
    figure = drawn("ternary_flows", rows)
    for panel, method in zip(figure.axes, ("vanilla", "entropy_bonus", "entropy_penalty", "ds"), strict=True):
        colors = {line.get_color() for line in panel.lines}
        assert colors == {"black", LOOKS[method].color}
        (ends,) = [line for line in panel.lines if line.get_markerfacecolor() == "none"]
        assert len(ends.get_xdata()) == {"vanilla": 2, "entropy_penalty": 3}.get(method, 1)


def test_the_frontier_is_pale_where_gap_1_does_not_get_there(rows: dict[str, list]) -> None:
    left, right = drawn("dominance_frontier", rows).axes
    assert {line.get_label() for line in left.lines} == {
        LOOKS[name].label for name in ("vanilla", "entropy_bonus", "entropy_penalty", "ds", "ds_with_charge")
    }
    within = [row for row in rows["dominance_frontier"] if row["section"] == "frontier" and row["needed_tilt"] > 0]
    full = [line for line in right.lines if line.get_alpha() is None]
    assert sum(len(line.get_xdata()) for line in full) == len(within)
    assert 0 < len(within) < sum(len(line.get_xdata()) for line in right.lines)


def test_the_sign_change_is_drawn_for_the_bonus_alone(rows: dict[str, list]) -> None:
    figure = drawn("multiplicity", rows)
    texts = [{text.get_text() for text in panel.texts} for panel in figure.axes[:3]]
    assert ["bonus raises Q" in found for found in texts] == [True, True, False]


def test_points_and_curves_are_those_of_the_rows(rows: dict[str, list]) -> None:
    """The thin line is the prediction, the dashed one the rival; every marker is a simulated mean."""
    panel = drawn("theory_and_simulation", rows).axes[0]
    chosen = [
        row for row in rows["theory_and_simulation"] if row["quantity"] == "correctness" and row["method"] == "ds"
    ]
    curves = [line for line in panel.lines if line.get_color() == LOOKS["ds"].color]
    exact = next(line for line in curves if line.get_linestyle() == "-")
    np.testing.assert_allclose(exact.get_ydata(), [row["predicted"] for row in chosen[1:]], rtol=FLOAT64)
    points = next(line for line in curves if line.get_marker() == LOOKS["ds"].marker)
    assert set(points.get_ydata()) <= {row["mean"] for row in chosen}


def test_methods_of_equal_weight_share_a_line(rows: dict[str, list]) -> None:
    together = comparison_figures.equal_weights(rows["prompt_weights"])
    assert ["reinforce", "rloo", "psr", "nsr"] in together
    assert ["grpo", "dapo"] in together
    panels = drawn("prompt_weights", rows).axes
    assert [len(panel.lines) for panel in panels] == [7, 4]
    assert len(together) == 11
    assert {name for names in together for name in names} == {row["method"] for row in rows["prompt_weights"]}


@pytest.mark.parametrize("ends", [(28.0, 107.0), (2.4, 3.0), (1.0, 116.0), (0.05, 10.0)])
def test_a_log_axis_has_plain_decimals(ends: tuple[float, float]) -> None:
    """No powers of ten, and at least two labels, also where the axis is shorter than a decade."""
    figure = Figure()
    panel = figure.subplots()
    panel.plot(ends, ends)
    panel.set(xscale="log", xlim=ends)
    theory_figures.plain_decimals(panel.xaxis)
    figure.canvas.draw()
    shown = [text.get_text() for text in panel.get_xticklabels() if ends[0] <= text.get_position()[0] <= ends[1]]
    assert len([text for text in shown if text]) >= 2
    assert not any("^" in text or "e" in text for text in shown)


# the command


def test_list_prints_the_names_and_draws_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["figures", "--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == list(FIGURES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_figure_is_a_run_of_the_store_that_repeats(tmp_path: Path, capsys) -> None:
    """Rows, PDF, PNG and caption in a run that verifies; again, the same bytes but for the provenance."""
    words = ["figures", "--only", "prompt_weights", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    (run,) = store.list_runs(tmp_path)
    first = {path: path.read_bytes() for path in run.iterdir()}
    assert cli.main(words) == 0
    for path, data in first.items():
        assert path.read_bytes() == data or path.name in ("provenance.json", "manifest.json")
    assert store.verify_run(run) == []
    config = json.loads((run / "config.json").read_text())["config"]
    assert config == {"command": "figures", "figure": "prompt_weights", **FIGURES["prompt_weights"].settings}
    assert out == f"prompt_weights: {run / 'prompt_weights.png'} (and .pdf, caption in prompt_weights.txt)\n"
    assert run.name in (run / "prompt_weights.txt").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "nope"], "--only: 'nope' is not a figure: want some of phase_portrait, "),
        (["--list", "--only", "nope"], "--only: 'nope' is not a figure"),
        (["--only", "prompt_weights", "--out", "pyproject.toml/x"], "--out: 'pyproject.toml/x'"),
        (["--format", "gif"], "--format: 'gif': Input should be 'pdf', 'png' or 'svg'"),
        (["--width", "0.5"], "--width: '0.5': Input should be greater than or equal to 1"),
        (["--width", "nan"], "--width: 'nan': Input should be"),
        (["--of", "nope"], "--of: 'nope': no run begins so under 'results'"),
        (["--of", "nope", "--only", "prompt_weights"], "--of: it draws stored runs: want it without --only and --list"),
        (["--of", "nope", "--list"], "--of: it draws stored runs: want it without --only and --list"),
        (
            ["--of", "85751f81ea7f", "--out", "results/reference"],
            "--of: '85751f81ea7f': a run of rates: want a whole run of audit, bandits, study",
        ),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, monkeypatch, capsys) -> None:
    monkeypatch.chdir(Path(cli.__file__).parents[1])
    assert cli.main(["figures", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def copied(run: Path, store_: Path) -> Path:
    """A committed run in a store of its own."""
    return Path(shutil.copytree(run, store_ / run.parent.name / run.name))


def test_a_stored_run_is_drawn_again_in_its_place_from_its_rows(tmp_path: Path, capsys) -> None:
    """As SVG, at a width: beside the files that it had, with its rows and its provenance."""
    (committed,) = (path for path in store.list_runs(pages.REFERENCE) if path.name == "cc1dbfeddc5c")
    run = copied(committed, tmp_path)
    words = ["figures", "--of", "cc1d", "--out", str(tmp_path)]
    assert cli.main([*words, "--format", "svg", "--width", "3"]) == 0
    assert capsys.readouterr().out.startswith(f"frontier_single: {run / 'frontier_single.svg'} (caption in ")
    assert 'width="216pt"' in (run / "frontier_single.svg").read_text()
    assert {path.name for path in run.iterdir()} - {path.name for path in committed.iterdir()} == {
        "frontier_single.svg"
    }
    for name in ("rows.csv", "provenance.json", "config.json", "frontier_single.png"):
        assert (run / name).read_bytes() == (committed / name).read_bytes()
    assert store.verify_run(run) == []
    (run / "rows.csv").write_text("damaged")
    assert cli.main(words) == 2
    assert "--of: 'cc1d': damaged: want a whole run of audit, bandits, study" in capsys.readouterr().err


def test_a_file_does_not_depend_on_the_others_that_are_made(tmp_path: Path) -> None:
    """Saving a figure moves what is laid out: each is saved once."""
    draw = functools.partial(bandit_figures.draw_phase_diagram, pages.rows_of("phase_diagram"))
    made, alone = (render.render("phase", draw, "", formats=formats) for formats in (("pdf", "png"), ("png",)))
    assert made["phase.png"] == alone["phase.png"]


@pytest.mark.slow
@pytest.mark.parametrize("run", [path for path in store.list_runs(pages.REFERENCE) if has_figures_of_rows(path)])
def test_committed_figures_are_those_that_this_code_draws(run: Path, tmp_path: Path) -> None:
    """Their points, but for how a processor rounds them: no committed figure is older than its code."""
    made = copied(run, tmp_path)
    assert cli.main(["figures", "--of", run.name, "--format", "png", "--out", str(tmp_path)]) == 0
    for path in run.glob("*.png"):
        ours, theirs = (matplotlib.image.imread(folder / path.name) for folder in (made, run))
        assert ours.shape == theirs.shape
        assert np.mean(np.abs(ours - theirs).max(axis=-1) > SEEN) < FEW_POINTS
        assert (made / f"{path.stem}.txt").read_bytes() == (run / f"{path.stem}.txt").read_bytes()


def test_no_figure_stays_open_after_it_is_drawn() -> None:
    """pyplot keeps what it opens, and warns at the 21st; a Figure of one's own is gone with its last name."""
    drawing = sorted(Path(render.__file__).parent.rglob("*.py"))
    assert len(drawing) > 20
    assert [path.name for path in drawing if "pyplot" in path.read_text()] == []
