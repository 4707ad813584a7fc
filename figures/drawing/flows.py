"""Figures of exact flows: the phase portrait of sharpening and the flow lines of four methods on a triangle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharpening.figures.drawing.theory import label_correctness, select
from sharpening.figures.style import LOOKS, PAGE

Row = Mapping[str, Any]
Array = np.ndarray[Any, np.dtype[np.float64]]

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, sqrt(3) / 2]])
FIELD_COLOR = "0.62"
SMOOTHING_AREA = "#F6D9C6"  # a tint of the colour of DS


def draw_phase_portrait(rows: Sequence[Row]) -> Figure:
    """Log-ratio of the two correct answers against correctness: the field and the flow from the shown policy.

    Shapes:   rows of `theory.rows.figures.phase_portrait`. Returns a page-wide figure, a panel a strength.
    """
    figure = Figure(figsize=(PAGE[0], 0.62 * PAGE[1]), layout="constrained")
    strengths = list(dict.fromkeys(row["strength"] for row in rows))
    panels = np.atleast_1d(figure.subplots(1, len(strengths), sharey=True))
    for letter, panel, strength in zip("abcdef", panels, strengths, strict=False):
        _draw_plane(panel, select(rows, strength=strength))
        name = "vanilla" if strength == 0 else f"DS, strength {strength:g}"
        panel.text(0.0, 1.03, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")
        panel.text(0.12, 1.03, name, transform=panel.transAxes)
    panels[0].set_ylabel("log-ratio log(p1/p2) of the\ntwo correct answers (nats)")
    return figure


def _draw_plane(panel: Axes, rows: Sequence[Row]) -> None:
    field, onset, path = (select(rows, section=section) for section in ("field", "onset", "path"))
    look = LOOKS[path[0]["method"]]
    across, up = (sorted({row[name] for row in field}) for name in ("logit_correctness", "log_ratio"))
    rates = np.array([[row["logit_rate"], row["log_ratio_rate"]] for row in field]).reshape(len(across), len(up), 2)
    u, v = np.moveaxis(rates, -1, 0)
    panel.set(xlim=(across[0], across[-1]), ylim=(up[0] - 0.15, up[-1]), xlabel="correctness Q (logit scale)")
    if onset:
        edge = [row["logit_correctness"] for row in onset]
        height = [row["log_ratio"] for row in onset]
        panel.fill_betweenx(height, edge, across[-1], color=SMOOTHING_AREA, linewidth=0)
        panel.plot(edge, height, color=look.color, linewidth=0.8, linestyle=":")
    panel.streamplot(
        np.array(across), np.array(up), u.T, v.T, color=FIELD_COLOR, linewidth=0.5, density=0.75, arrowsize=0.6
    )
    x, y = ([row[name] for row in path] for name in ("logit_correctness", "log_ratio"))
    panel.plot(x, y, color=look.color, linestyle=look.linestyle, linewidth=1.6)
    panel.plot(x[0], y[0], color=look.color, marker=look.marker, markersize=5, markeredgecolor="white")
    label_correctness(panel)


def phase_portrait_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `phase_portrait`."""
    start = select(rows, section="path", strength=0.0)[0]
    return f"""
        Phase portrait of sharpening: exact softmax flow of large groups without KL, in the plane of correctness Q and
        the log-ratio of the two correct answers; upwards is sharpening, 0 is equal shares. Thick: the flow from the
        shown policy (.3, .1 | .4, .2), two correct and two wrong answers, where d log(p1/p2)/dt =
        {start["log_ratio_rate"]:.3f} for vanilla. Grey: the field where the wrong answers have the shares of the shown
        policy, so that the thick line, along which they even out, can cross it slightly. Shaded: where DS smooths the
        pair (claim E3); no strength moves its edge to the left of the shown policy, so DS sharpens at first and smooths
        later. No sampling, so no intervals; run {run}. Claims B1, B6, E3. Asks, as summarised, whether plain RL
        sharpens and differential smoothing does not (arXiv 2511.19942).
    """


def draw_ternary_flows(rows: Sequence[Row]) -> Figure:
    """Flow lines on the triangle of three answers, a panel a method; the thick line starts at the shown policy.

    Shapes:   rows of `theory.rows.figures.ternary_flows`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.42 * PAGE[1]), layout="constrained")
    names = list(dict.fromkeys(row["method"] for row in rows))
    for letter, panel, method in zip("abcdef", figure.subplots(1, len(names)), names, strict=False):
        _draw_triangle(panel, select(rows, method=method))
        panel.text(0.0, 1.02, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")
        panel.text(0.12, 1.02, LOOKS[method].label, transform=panel.transAxes)
    return figure


def _on_page(rows: Sequence[Row], what: str = "policy") -> Array:
    """Places, or rates, on the page for correct 1 at the bottom left, correct 2 at the bottom right, wrong on top."""
    return np.asarray(np.array([[row[f"{what}_{index}"] for index in range(3)] for row in rows]) @ CORNERS)


def _draw_triangle(panel: Axes, rows: Sequence[Row]) -> None:
    look = LOOKS[rows[0]["method"]]
    panel.plot(*CORNERS[[0, 1, 2, 0]].T, color="black", linewidth=0.6)
    _draw_field(panel, select(rows, section="field"))
    path = _on_page(select(rows, section="path"))
    panel.plot(*path.T, color=look.color, linestyle=look.linestyle, linewidth=1.8, zorder=3)
    panel.plot(*path[0], color=look.color, marker=look.marker, markersize=5, markeredgecolor="white", zorder=4)
    ends = _on_page(select(rows, section="end"))
    panel.plot(*ends.T, color=look.color, marker="o", markersize=6, linestyle="none", markerfacecolor="none", zorder=5)
    for place, name in zip(CORNERS, ("correct 1", "correct 2", "wrong"), strict=True):
        is_below = place[1] == 0
        side = "center" if not is_below else "left" if place[0] == 0 else "right"
        panel.annotate(
            name,
            place,
            (0, -6 if is_below else 5),
            textcoords="offset points",
            ha=side,
            va="top" if is_below else "bottom",
            fontsize="small",
        )
    panel.set(xlim=(-0.06, 1.06), ylim=(-0.14, 1.0), aspect="equal")
    panel.axis("off")


def _draw_field(panel: Axes, rows: Sequence[Row]) -> None:
    """Evenly spaced flow lines on the grid of the rows, which is even on the page."""
    places, rates = _on_page(rows), _on_page(rows, "rate")
    across, up = (np.unique(places[:, axis].round(9)) for axis in (0, 1))
    grid = np.full((2, up.size, across.size), np.nan)
    grid[:, np.searchsorted(up, places[:, 1].round(9)), np.searchsorted(across, places[:, 0].round(9))] = rates.T
    x, y = (np.linspace(edges[0], edges[-1], edges.size) for edges in (across, up))
    u, v = np.ma.masked_invalid(grid)
    panel.streamplot(x, y, u, v, color=FIELD_COLOR, linewidth=0.5, density=0.8, arrowsize=0.5, zorder=1)


def ternary_flows_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `ternary_flows`."""
    start = select(rows, section="path", method="vanilla")[0]
    bonus = select(rows, section="end", method="entropy_bonus")[0]
    shown = ", ".join(f"{start[f'policy_{index}']:.2g}" for index in range(3))
    return f"""
        Exact softmax flows of large groups without KL over three answers, two correct and one wrong; strength .5 for
        (b) entropy bonus, (c) entropy penalty and (d) DS, sampling reference. Thick: the flow from ({shown}); rings:
        where a flow can end. (a) Vanilla ends on the correct answer that was likelier at the start (B3). (b) The bonus
        ends on even shares but keeps {100 * bonus["policy_2"]:.1f}% on the wrong answer (B7). (c) The penalty ends on
        any single answer, also on the wrong one. (d) DS ends on even shares of the correct answers (B6). No sampling,
        so no intervals; run {run}. Asks, as summarised, whether differential smoothing keeps diversity without giving
        up correctness (arXiv 2511.19942).
    """
