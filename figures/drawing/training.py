"""Learning curves of a training, from its rows, as far as it has come."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from sharpening.figures.style import PAGE

Row = Mapping[str, Any]
PANELS: Mapping[str, Mapping[str, str]] = {  # label of the axis -> quantity -> label of the curve
    "held-out pass@k": {"held_out/pass@1": "pass@1", "held_out/pass@8": "pass@8", "held_out/pass@64": "pass@64"},
    "correct, in training": {"method/correct": "correct"},
    "term over advantage": {"method/bonus_ratio": "ratio"},
    "entropy, nats a token": {"entropy": "entropy"},
    "share of uniform groups": {"frac_reward_zero_std": "uniform"},
    "correct answers alive": {"held_out/solution_diversity": "answers"},
    "sharpening slope": {"held_out/sharpening_slope": "slope"},
}
COLUMNS = 3
LOOKS = (("#000000", "o", "-"), ("#D55E00", "^", "--"), ("#0072B2", "s", ":"))
FEW = 12  # points from which on they have no markers


def draw_training(rows: Sequence[Row]) -> Figure:
    """A panel for each kind of quantity that the rows have, against the number of updates."""
    curves = {panel: _curves(rows, quantities) for panel, quantities in PANELS.items()}
    shown = {panel: found for panel, found in curves.items() if found}
    lines = max(1, -(-len(shown) // COLUMNS))
    figure = Figure(figsize=(PAGE[0], 0.4 * PAGE[1] * lines), layout="constrained")
    panels = figure.subplots(lines, COLUMNS, squeeze=False).ravel()
    for panel, (label, found) in zip(panels, shown.items(), strict=False):
        for (name, points), (color, marker, line) in zip(found.items(), LOOKS, strict=False):
            look: dict[str, Any] = {"color": color, "linestyle": line, "marker": marker if len(points) < FEW else ""}
            panel.plot(*zip(*points, strict=True), label=name, **look)
        panel.set(ylabel=label, xlabel="updates")
        if len(found) > 1:
            panel.legend(loc="best")
    for panel in panels[len(shown) :]:
        panel.remove()
    return figure


def _curves(rows: Sequence[Row], quantities: Mapping[str, str]) -> dict[str, list[tuple[int, float]]]:
    found = {
        label: [
            (row["step"], row["value"]) for row in rows if row["quantity"] == quantity and math.isfinite(row["value"])
        ]
        for quantity, label in quantities.items()
    }
    return {label: points for label, points in found.items() if points}
