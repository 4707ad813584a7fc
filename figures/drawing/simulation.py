"""The figure of `simulate`: a bandit's correctness and diversity on the way, and pass@k before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from sharpening.figures.drawing.theory import select
from sharpening.figures.style import LOOKS, PAGE, Look

Row = Mapping[str, Any]
OTHER = Look("", "#0072B2", "o", "-")  # a method without a look of its own
CURVES = {"correctness": "correctness Q", "solution_diversity": "solution diversity (exp nats)"}
SHOWN_K = 9  # labels on the axis of k


def draw_simulation(rows: Sequence[Row], method: str) -> Figure:
    """Three panels: correctness and diversity against updates, and pass@k at the first and the last record.

    Markers with bars are means and two standard errors over runs, the thin line is the theory's prediction.
    Shapes:   tidy rows of `simulate`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.55 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 3)
    look = LOOKS.get(method, OTHER)
    for panel, (quantity, label) in zip(panels, CURVES.items(), strict=False):
        _draw(panel, select(rows, quantity=quantity), "step", look)
        panel.set(xlabel="updates", ylabel=label)
    first, last = (end(row["step"] for row in rows) for end in (min, max))
    panel = panels[2]
    for step, shown in ((first, LOOKS["vanilla"]._replace(color="0.5")), (last, look)):
        _draw(panel, select(rows, quantity="pass_at_k", step=step), "k", shown, f"after {step} updates")
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    ks = sorted({row["k"] for row in select(rows, quantity="pass_at_k")})
    panel.set_xticks(ks if len(ks) < SHOWN_K else ks[::2])
    panel.set(xlabel="k, samples (log base 2)", ylabel="pass@k", ylim=(None, 1.02))
    panel.legend(loc="lower right")
    return figure


def _draw(panel: Axes, rows: Sequence[Row], over: str, look: Look, label: str = "") -> None:
    """Means with bars of two standard errors, and the prediction through them where there is one."""
    at = [row[over] for row in rows]
    bars = [2 * row["standard_error"] for row in rows]
    panel.errorbar(at, [row["mean"] for row in rows], bars, **look.points(), label=label, elinewidth=0.8)
    predicted = [(place, row["predicted"]) for place, row in zip(at, rows, strict=True) if isfinite(row["predicted"])]
    if predicted:
        panel.plot(*zip(*predicted, strict=True), color=look.color, linewidth=0.6)


def simulation_caption(rows: Sequence[Row], method: str, num_runs: int, group_size: int, learning_rate: float) -> str:
    """The caption of the figure of `simulate`."""
    source = rows[0]["prediction_source"]
    line = f"Thin line: the {source}" if source else "There is no prediction for these settings"
    return f"""
        Simulation of {method}, groups of {group_size}, learning rate {learning_rate:g}; markers: means over {num_runs}
        runs, bars: two standard errors. Left: correctness; middle: solution diversity, the exponential of the entropy
        among correct answers; right: pass@k at the first and the last record. {line}.
    """
