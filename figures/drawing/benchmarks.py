"""How the cost of a simulated step grows, drawn from the rows of the benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from sharpening.figures.style import PAGE

Row = Mapping[str, Any]
LOOKS = {
    "plain": {"label": "plain NumPy", "color": "#000000", "marker": "o", "linestyle": "-"},
    "untied": {"label": "simulator, no two arms alike", "color": "#0072B2", "marker": "s", "linestyle": "--"},
    "tied": {"label": "simulator, arms alike at first", "color": "#D55E00", "marker": "^", "linestyle": "-"},
}
PANELS = {
    "arms": ("num_arms", "number of arms (log base 10)"),
    "group size": ("group_size", "group size G (log base 10)"),
}
GROWTH_CAPTION = (
    "CPU time of one step of one run with Adam and Dr. GRPO, one thread, medians of up to 20 steps near the start. (a) "
    "Against the number of arms, G = 256. (b) Against the group size, 100,000 arms. Plain NumPy: dense updates, fresh "
    "arrays, a search over all cumulative sums for each draw. The simulator keeps arms that have moved alike once, "
    "from 20,000 arms and 32 arms for each draw on. Asks whether simulations of 128,000 answers (arXiv 2602.06717, "
    "Appendix J) are cheap enough to repeat."
)


def draw_growth(rows: Sequence[Row]) -> Figure:
    """Milliseconds a step against the number of arms, and against the group size.

    Shapes:   rows with over, num_arms, group_size, who, ms. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.75 * PAGE[1]), layout="constrained")
    for letter, panel, (over, (column, label)) in zip("ab", figure.subplots(1, 2), PANELS.items(), strict=True):
        for who, look in LOOKS.items():
            chosen = [row for row in rows if row["over"] == over and row["who"] == who]
            panel.plot([row[column] for row in chosen], [row["ms"] for row in chosen], **look)
        panel.set(xscale="log", yscale="log", xlabel=label, ylabel="CPU time of a step (ms, log base 10)")
        panel.text(-0.16, 1.02, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")
    figure.axes[0].legend(loc="upper left")
    return figure
