"""The figure of `rates`: shifts of log-odds by the rate before, and the change of pass@k, seen and by laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sharpening.figures.drawing.samples import label_k, letter_panels
from sharpening.figures.drawing.theory import select
from sharpening.figures.style import PAGE

Row = Mapping[str, Any]
WHOLE = "all"
TICKS = (0.002, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.998)
SEEN: Any = {"color": "black", "marker": "o", "linestyle": "none", "capsize": 2, "linewidth": 0.8}
LOOKS: Any = {
    "chosen": {"color": "#0072B2", "linestyle": "-", "marker": "s"},
    "common": {"color": "#D55E00", "linestyle": "--", "marker": "v"},
    "softmax_grpo": {"color": "#009E73", "linestyle": ":", "marker": "D"},
}


def drawn_laws(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """The laws in the figure with their looks: the chosen one, the common shift, GRPO's softmax flow."""
    chosen = next(str(row["law"]) for row in select(rows, part=WHOLE, quantity="is_chosen") if row["value"])
    looks = {chosen: LOOKS["chosen"] | {"label": chosen}}
    for law in ("common", "softmax_grpo"):
        looks.setdefault(law, LOOKS[law] | {"label": law})
    return looks


def draw_rates(rows: Sequence[Row]) -> Figure:
    """Two panels from the rows of `rates`."""
    figure = Figure(figsize=(PAGE[0], 0.62 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 2)
    looks = drawn_laws(rows)
    _draw_shifts(panels[0], rows, looks)
    _draw_changes(panels[1], rows, looks)
    letter_panels(panels)
    return figure


def _draw_shifts(panel: Axes, rows: Sequence[Row], looks: Mapping[str, dict[str, Any]]) -> None:
    before = {row["k"]: row["value"] for row in select(rows, part=WHOLE, law="", quantity="bin_before")}
    seen = select(rows, part=WHOLE, law="", quantity="bin_shift")
    values = np.array([row["value"] for row in seen])
    ends = abs(np.array([[row[end] for row in seen] for end in ("low", "high")]) - values)
    panel.errorbar([before[row["k"]] for row in seen], values, ends, label="seen", **SEEN)
    for law, look in looks.items():
        found = [row for row in select(rows, part=WHOLE, law=law, quantity="bin_shift") if row["k"] in before]
        panel.plot([before[row["k"]] for row in found], [row["value"] for row in found], **look)
    panel.axhline(0, color="0.5", linewidth=0.6)
    reach = min(before.values(), default=0.0) - 0.5, max(before.values(), default=0.0) + 0.5
    shown = [rate for rate in TICKS if reach[0] <= np.log(rate / (1 - rate)) <= reach[1]]
    panel.set_xticks([np.log(rate / (1 - rate)) for rate in shown], [f"{rate:g}" for rate in shown], rotation=45)
    panel.set(xlabel="success rate before (log-odds scale)", ylabel="shift of log-odds", xlim=reach)
    panel.legend(loc="best")


def _draw_changes(panel: Axes, rows: Sequence[Row], looks: Mapping[str, dict[str, Any]]) -> None:
    seen = select(rows, part=WHOLE, law="", quantity="observed_difference")
    ks = [row["k"] for row in seen]
    panel.plot(ks, [row["value"] for row in seen], color="black", label="seen")
    panel.fill_between(ks, [row["low"] for row in seen], [row["high"] for row in seen], color="0.8", linewidth=0)
    marked = [place for place, k in enumerate(ks) if k & (k - 1) == 0]
    for law, look in looks.items():
        implied = select(rows, part=WHOLE, law=law, quantity="implied_difference")
        panel.plot([row["k"] for row in implied], [row["value"] for row in implied], **look, markevery=marked)
    panel.axhline(0, color="0.5", linewidth=0.6)
    label_k(panel, seen)
    panel.set(ylabel="change of pass@k")


def rates_caption(rows: Sequence[Row], words: Mapping[str, str], names: Sequence[str], run: str) -> str:
    """The caption of the figure of `rates`."""
    laws = "; ".join(f"{law}: {words[law]}" for law in drawn_laws(rows))
    (num,) = select(rows, part=WHOLE, law="", quantity="num_problems")
    return (
        f"How the success rates of {num['value']:.0f} problems moved from {names[0]} to {names[1]}. (a) Problems are "
        "sorted by one half of the samples before, and measured on the other half and after, averaged over all halves; "
        "bars: 95% over problems. Lines: what fitted laws have in the same bins. A bin is an average over problems of "
        "many rates: compare points with lines, and read no problem's shift off them; a common shift is not flat. (b) "
        "The change of pass@k, with its 95% interval for each k on its own, and what the laws imply. "
        f"Laws: {laws}. Run {run}."
    )
