"""The figure of `audit`: pass@k of each model, and how much its correct answers gained by where they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from sharpening.figures.drawing.samples import LOOKS_OF_FILES
from sharpening.figures.drawing.theory import select
from sharpening.figures.style import COLUMN, PAGE, Look

Row = Mapping[str, Any]


def models_of(rows: Sequence[Row]) -> list[str]:
    """The models in the order of the command line."""
    return list(dict.fromkeys(row["model"] for row in rows))


def is_lower_bound(rows: Sequence[Row]) -> bool:
    """Whether some model's answers have spellings that were not listed."""
    return bool(select(rows, quantity="unlisted_mass"))


def draw_audit(rows: Sequence[Row]) -> Figure:
    """pass@k against k for each model; of two or more, also the gains of correct answers against their start.

    Shapes:   tidy rows of `audit`. Rows without pass@k (an audit of samples) give the second panel alone.
    """
    names = models_of(rows)
    looks = dict(zip(names, LOOKS_OF_FILES, strict=False))
    has_curves = bool(select(rows, quantity="pass_at_k"))
    has_gains = bool(select(rows, quantity="relative_gain"))
    size = (PAGE[0], 0.68 * PAGE[1]) if has_curves and has_gains else COLUMN
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
        panel.plot([row["at"] for row in found], [row["value"] for row in found], **look.line(), label=name)
        if all(row["has_interval"] for row in found):
            ends = [row["low"] for row in found], [row["high"] for row in found]
            panel.fill_between([row["at"] for row in found], *ends, color=look.color, alpha=0.18, linewidth=0)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    kind = "lower bound of" if is_lower_bound(rows) else "exact"
    ticks = [row["at"] for row in found]
    panel.set_xticks(ticks if len(ticks) <= 9 else ticks[::2])
    panel.set(xlabel="k, samples per problem (log base 2)", ylabel=f"{kind} mean pass@k", ylim=(0, 1.02))
    panel.legend(loc="best")


def _draw_gains(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
    panel.axhline(0, color="0.5", linewidth=0.6)
    label = "thin: plain RL on each prompt, same Q"
    for name, look in looks.items():
        if found := select(rows, model=name, quantity="relative_gain"):
            panel.plot([row["at"] for row in found], [row["value"] for row in found], **look.line(), label=name)
        for row in found:
            if row["has_interval"]:
                panel.vlines(row["at"], row["low"], row["high"], color=look.color, linewidth=0.8)
        if expected := select(rows, model=name, quantity="expected_relative_gain"):
            ends = [row["at"] for row in expected], [row["value"] for row in expected]
            panel.plot(*ends, color=look.color, linewidth=0.6, label=label)
            label = "_"  # once in the legend
    mean = "less its problem's mean (nats)"
    panel.set(xlabel=f"log-probability before training,\n{mean}", ylabel=f"gain of log-probability,\n{mean}")
    panel.legend(loc="lower left", bbox_to_anchor=(0, 1))  # above the panel: bars may be anywhere


def audit_caption(rows: Sequence[Row], about: str, run: str) -> str:
    """The caption of the figure of `audit`."""
    names = models_of(rows)
    parts = [f"Audit of {', '.join(names)} on {about}; run {run}. Bands and bars: 95% intervals over problems."]
    if select(rows, quantity="pass_at_k"):
        kind = "a lower bound of Q (one spelling of each answer)" if is_lower_bound(rows) else "the exact correctness Q"
        parts.append(f"pass@k is the mean over problems of 1 - (1-Q)^k with {kind}.")
    if select(rows, quantity="relative_gain"):
        base = names[0] if select(rows, quantity="pass_at_k") else "the model before it"  # samples: no rows of its own
        parts.append(
            f"Gains: by how much training raised the log-probability of correct answers from that under {base}, "
            "against that log-probability, each less the mean of its problem, in bins of equal mass. Rising to the "
            "right is sharpening (claim B1), falling is smoothing, level keeps every ratio."
        )
    if select(rows, quantity="expected_relative_gain"):
        parts.append(
            "Thin lines: what plain RL would do to each prompt on its own on the way to the same correctness, on the "
            "problems whose correctness did not fall (claims B2, E2)."
        )
    return " ".join(parts)
