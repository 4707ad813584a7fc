"""The figure of `samples`: pass@k of each file, and the differences to the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, ScalarFormatter

from sharpening.figures.drawing.theory import select
from sharpening.figures.style import COLUMN, LOOKS, PAGE, Look

Row = Mapping[str, Any]
LOOKS_OF_FILES = tuple(LOOKS[name] for name in ("vanilla", "entropy_bonus", "ds", "ds_with_charge", "entropy_penalty"))
LONGEST_LABEL = 32  # characters


def file_names(rows: Iterable[Row]) -> list[str]:
    """The files in the order of the command line."""
    return list(dict.fromkeys(row["file"] for row in rows))


def draw_pass_at_k(rows: Sequence[Row]) -> Figure:
    """pass@k against k for each file, and the paired differences to the first file with their crossings.

    Shapes:   rows of `samples`, tidy. One file gives one panel, more give two.
    """
    names = file_names(rows)
    looks = dict(zip(names, LOOKS_OF_FILES, strict=False))
    figure = Figure(figsize=COLUMN if len(names) == 1 else (PAGE[0], 0.62 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 1 if len(names) == 1 else 2, squeeze=False)[0]
    for name, look in looks.items():
        _draw_curve(panels[0], select(rows, file=name, quantity="pass_at_k"), look, _short(name))
    _label_k(panels[0], rows)
    panels[0].set(ylabel="pass@k (mean over problems)", ylim=(0, 1.02))
    panels[0].legend(loc="best")
    if len(names) > 1:
        _draw_differences(panels[1], rows, looks)
    return figure


def _draw_curve(panel: Axes, rows: Sequence[Row], look: Look, label: str) -> None:
    ks = [row["k"] for row in rows]
    marked = [place for place, k in enumerate(ks) if k & (k - 1) == 0 or place == len(ks) - 1]
    panel.plot(ks, [row["value"] for row in rows], **look.line(), markevery=marked, label=label)
    if rows[0]["has_interval"]:
        ends = [row["low"] for row in rows], [row["high"] for row in rows]
        panel.fill_between(ks, *ends, color=look.color, alpha=0.18, linewidth=0)


def _draw_differences(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look]) -> None:
    """Differences with bands; on the zero line the first crossing, where the sign at k = 1 is resolved."""
    base, *others = looks
    panel.axhline(0, color="0.5", linewidth=0.6)
    for name in others:
        found = select(rows, file=name, quantity="pass_at_k_difference")
        _draw_curve(panel, found, looks[name], _short(name))
        is_resolved = found[0]["has_interval"] and found[0]["low"] * found[0]["high"] > 0
        for row in select(rows, file=name, quantity="crossing_k"):
            if isfinite(row["value"]) and is_resolved:
                ends = [row["low"], min(row["high"], found[-1]["k"])]
                panel.plot(ends, [0, 0], color=looks[name].color, linewidth=3.5, alpha=0.6, solid_capstyle="butt")
                panel.plot([row["value"]], [0], color=looks[name].color, marker="|", markersize=12, zorder=5)
    _label_k(panel, rows)
    panel.set(ylabel=f"pass@k less that of {_short(base)}")


def _label_k(panel: Axes, rows: Sequence[Row]) -> None:
    largest = max(row["k"] for row in rows)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    ticks = [2**power for power in range(largest.bit_length())]
    panel.set_xticks(ticks if len(ticks) <= 9 else ticks[::2])
    panel.set(xlabel="k, samples per problem (log base 2)")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_LABEL else "..." + name[3 - LONGEST_LABEL :]


def pass_at_k_caption(rows: Sequence[Row], run: str) -> str:
    """The caption of the figure of `samples`."""
    counts = []
    for name in file_names(rows):
        found = {row["quantity"]: int(row["value"]) for row in select(rows, file=name, base="", k=0)}
        least, most = found["least_samples_per_problem"], found["most_samples_per_problem"]
        seeds = f", {found['num_seeds']} seeds" if found["num_seeds"] > 1 else ""
        counts.append(
            f"{name}: {found['num_problems']} problems, n = {least if least == most else f'{least} to {most}'}{seeds}"
        )
    first = (
        f"Unbiased pass@k of the samples in {'; '.join(counts)}; run {run}. Bands: 95% bootstrap intervals over "
        "problems, for each k on its own."
    )
    if len(counts) == 1:
        return first
    return (
        f"{first} Left: each file. Right: paired difference to the first file on their common problems; a bar on the "
        "zero line is the 95% interval of the k at which the curves first cross (drawn where the sign at k = 1 is "
        "resolved). Asks, as summarised, whether RL "
        "raises pass@1 and lowers pass@k for large k (arXiv 2511.19942)."
    )
