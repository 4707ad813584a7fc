"""The figure of `audit`: pass@k of each model, and how much its correct answers gained by where they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, ScalarFormatter

from sharpening.figures.drawing.samples import labels, letter_panels, looks_of
from sharpening.figures.drawing.theory import select
from sharpening.figures.style import COLUMN, PAGE, Look

Row = Mapping[str, Any]
THIN: Any = {"linewidth": 0.6}


def models_of(rows: Sequence[Row]) -> list[str]:
    """The models in the order of the command line; without pass@k the one before training has no rows."""
    return list(dict.fromkeys(row["model"] for row in rows))


def is_lower_bound(rows: Sequence[Row]) -> bool:
    """Whether some model's answers have spellings that were not listed."""
    return any(select(rows, quantity=quantity) for quantity in ("unlisted_mass", "other_mass"))


def draw_audit(rows: Sequence[Row]) -> Figure:
    """pass@k against k for each model; of two or more, also the gains of correct answers against their start.

    Shapes:   tidy rows of `audit`. Rows without pass@k (an audit of samples) give the second panel alone.
    """
    names = models_of(rows)
    has_curves = bool(select(rows, quantity="pass_at_k"))
    has_gains = bool(select(rows, quantity="relative_gain"))
    looks, label = looks_of(names, is_first_before=has_curves), labels(names)
    size = (PAGE[0], 0.62 * PAGE[1]) if has_curves and has_gains else COLUMN
    figure = Figure(figsize=size, layout="constrained")
    panels = list(figure.subplots(1, has_curves + has_gains, squeeze=False)[0])
    if has_curves:
        _draw_pass_at_k(panels[0], rows, looks, label)
    if has_gains:
        _draw_gains(panels[-1], rows, looks, label, names_models=not has_curves)
    letter_panels(panels)
    return figure


def _draw_pass_at_k(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look], label: Mapping[str, str]) -> None:
    for name, look in looks.items():
        found = select(rows, model=name, quantity="pass_at_k")
        panel.plot([row["at"] for row in found], [row["value"] for row in found], **look.line(), label=label[name])
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


def _draw_gains(
    panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look], label: Mapping[str, str], *, names_models: bool
) -> None:
    """Gains with bars; the legend says what the thin lines are, and names the models if no other panel does."""
    panel.axhline(0, color="0.5", linewidth=0.6)
    shown: list[Line2D] = []
    for name, look in looks.items():
        if found := select(rows, model=name, quantity="relative_gain"):
            ends = [row["at"] for row in found], [row["value"] for row in found]
            drawn = panel.plot(*ends, **look.line(), label=label[name])
            shown += drawn if names_models else []
        for row in found:
            if row["has_interval"]:
                panel.vlines(row["at"], row["low"], row["high"], color=look.color, linewidth=0.8)
        if expected := select(rows, model=name, quantity="expected_relative_gain"):
            ends = [row["at"] for row in expected], [row["value"] for row in expected]
            panel.plot(*ends, color=look.color, **THIN)
    panel.set(xlabel="log-probability before, centred (nats)", ylabel="its gain, centred (nats)")
    if select(rows, quantity="expected_relative_gain"):
        shown.append(Line2D([], [], color="0.3", **THIN, label="thin: plain RL, each prompt alone"))
    if shown:
        panel.legend(handles=shown, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)  # bars may be anywhere below


def audit_caption(rows: Sequence[Row], told: Sequence[str], about: str, run: str) -> str:
    """The caption of the figure of `audit`, which begins with the verdict."""
    names = models_of(rows)
    label = labels(names)
    where = [f"{label[name]} ({name})" if label[name] != name else name for name in names]
    has_curves, has_gains = (bool(select(rows, quantity=quantity)) for quantity in ("pass_at_k", "relative_gain"))
    first, second = ("(a) ", "(b) ") if has_curves and has_gains else ("", "")
    parts = [*told, f"Audit of {', '.join(where)} on {about}. Bands and bars: 95% intervals over problems."]
    if has_curves:
        kind = "a lower bound of Q (not every spelling is listed)" if is_lower_bound(rows) else "the exact Q"
        parts.append(
            f"{first}Mean over problems of pass@k = 1 - (1-Q)^k with {kind}, the chance that a sample is correct."
        )
    if has_gains:
        base = label[names[0]] if has_curves else "the model before training"
        parts.append(
            f"{second}How much training raised the log-probability of correct answers, against that log-probability "
            f"under {base}, both centred, that is less the mean of the problem, in bins of equal mass. Rising "
            "to the right: likely correct answers gained most, the correct set sharpened (claim B1); falling: it was "
            "smoothed; level: every ratio was kept."
        )
    if select(rows, quantity="expected_relative_gain"):
        parts.append(
            "Thin lines: what plain RL would do to each prompt on its own on the way to the same Q, on the problems "
            "whose Q did not fall (claims B2, E2)."
        )
    return " ".join([*parts, f"Run {run}."])
