"""The figure of `audit`: pass@k of each model, and how much its correct answers gained by where they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from figures.sample_figures import LOOKS_OF_FILES
from figures.style import COLUMN, PAGE, Look
from figures.theory_figures import select

Row = Mapping[str, Any]


def models_of(rows: Sequence[Row]) -> list[str]:
    """The models in the order of the command line."""
    return list(dict.fromkeys(row["model"] for row in rows))


def draw_audit(rows: Sequence[Row]) -> Figure:
    """pass@k against k for each model; of two or more, also the gains of correct answers against their start.

    Shapes:   tidy rows of `audit`. Rows without pass@k (an audit of samples) give the second panel alone.
    """
    names = models_of(rows)
    looks = dict(zip(names, LOOKS_OF_FILES, strict=False))
    has_curves = bool(select(rows, quantity="pass_at_k"))
    has_gains = bool(select(rows, quantity="relative_gain"))
    size = (PAGE[0], 0.62 * PAGE[1]) if has_curves and has_gains else COLUMN
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(1, has_curves + has_gains, squeeze=False)[0])
    if has_curves:
        _draw_pass_at_k(panels[0], rows, looks)
    if has_gains:
        _draw_gains(panels[-1], rows, looks)
    return figure


def _draw_pass_at_k(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
    for name, look in looks.items():
        found = select(rows, model=name, quantity="pass_at_k")
        _draw(panel, found, look, name)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    ticks = [row["at"] for row in found]
    panel.set_xticks(ticks if len(ticks) <= 9 else ticks[::2])
    panel.set(xlabel="k, samples per problem (log base 2)", ylabel="exact pass@k (mean over problems)", ylim=(0, 1.02))
    panel.legend(loc="best")


def _draw_gains(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
    panel.axhline(0, color="0.5", linewidth=0.6)
    for name, look in looks.items():
        if found := select(rows, model=name, quantity="relative_gain"):
            _draw(panel, found, look, name)
        if expected := select(rows, model=name, quantity="expected_relative_gain"):
            ends = [row["at"] for row in expected], [row["value"] for row in expected]
            panel.plot(*ends, color=look.color, linewidth=0.7, label=f"{name}: plain RL on each prompt alone, same Q")
    panel.set(xlabel="log-probability before training (nats)", ylabel="gain less the problem's mean (nats)")
    panel.legend(loc="best")


def _draw(panel: Axes, rows: Sequence[Row], look: Look, label: str) -> None:
    panel.plot([row["at"] for row in rows], [row["value"] for row in rows], **look.line(), label=label)
    if all(row["has_interval"] for row in rows):
        ends = [row["low"] for row in rows], [row["high"] for row in rows]
        panel.fill_between([row["at"] for row in rows], *ends, color=look.color, alpha=0.18, linewidth=0)


def audit_caption(rows: Sequence[Row], about: str, run: str) -> str:
    """The caption of the figure of `audit`."""
    names = models_of(rows)
    parts = [f"Audit of {', '.join(names)} on {about}; run {run}. Bands: 95% bootstrap intervals over problems."]
    if select(rows, quantity="pass_at_k"):
        parts.append("pass@k is 1 - (1-Q)^k of the exact Q of each problem.")
    if select(rows, quantity="relative_gain"):
        parts.append(
            "Gains: log-probability of correct answers after training less before, less the mean of their problem, in "
            "bins of equal mass under the first model. Rising to the right is sharpening (claim B1), falling smoothing."
        )
    if select(rows, quantity="expected_relative_gain"):
        parts.append(
            "Thin lines: what plain RL would do to each prompt on its own on the way to the same correctness, where it "
            "rose (claims B2, E2)."
        )
    return " ".join(parts)
