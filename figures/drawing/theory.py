"""Figures of the exact theory, drawn from the rows of `predict`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log, log10
from typing import Any

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter, NullLocator

from sharpening.figures.style import LOOKS, PAGE

Row = Mapping[str, Any]
MARKER_RATIO = 1.3  # of the times of two neighbouring markers on a log axis
SHORT_AXIS = 20.0  # a log axis whose ends are closer than this factor has hardly a decade to label
CORRECTNESS_TICKS = {
    "1%": 0.01,
    "10%": 0.1,
    "50%": 0.5,
    "90%": 0.9,
    "99%": 0.99,
    "99.9%": 0.999,
    "99.99%": 0.9999,
    "99.999%": 0.99999,
}


def select(rows: Iterable[Row], **where: Any) -> list[Row]:
    """The rows whose columns equal the given values, in their order."""
    return [row for row in rows if all(row[column] == value for column, value in where.items())]


def series(rows: Iterable[Row], over: str, **where: Any) -> tuple[list[float], list[float]]:
    """The column `over` and the values of the selected rows, as two lists."""
    chosen = select(rows, **where)
    return [row[over] for row in chosen], [row["value"] for row in chosen]


def draw_prediction(rows: Sequence[Row]) -> Figure:
    """Four panels for one base policy: the flows, the optima, dominance at equal budget, and selection.

    Shapes:   rows of `predict`, tidy. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 1.45 * PAGE[1]), layout="constrained")
    panels = figure.subplots(2, 2)
    kl_strength = max(row["kl_strength"] for row in select(rows, section="optimum"))
    _draw_path(panels[0, 0], rows)
    _draw_optima(panels[0, 1], rows, kl_strength)
    _draw_dominance(panels[1, 0], rows, kl_strength)
    _draw_selection(panels[1, 1], rows)
    for letter, panel in zip("abcd", panels.flat, strict=True):
        panel.text(-0.16, 1.02, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")
    return figure


def _draw_path(panel: Axes, rows: Sequence[Row]) -> None:
    """Solution diversity against correctness along each exact flow, with dots one decade of time apart."""
    drawn = {(row["method"], row["strength"]): None for row in select(rows, section="path")}
    strongest = max(strength for _, strength in drawn)
    for method, strength in drawn:
        where = {"section": "path", "method": method, "strength": strength}
        times, logit = series(rows, "at", quantity="logit_correctness", **where)
        _, diversity = series(rows, "at", quantity="solution_diversity", **where)
        look = LOOKS[method]
        weight = 1.0 if method == "vanilla" or strength == strongest else 0.45
        label = look.label if method == "vanilla" else f"{look.label}, {strength:g}"
        decades = [k for k, time in enumerate(times) if k == 0 or abs(log10(time) - round(log10(time))) < 1e-9]
        panel.plot(logit, diversity, **look.line(), markevery=decades, alpha=weight, label=label)
    label_correctness(panel)
    panel.set(xlabel="correctness Q (logit scale)", ylabel="solution diversity (exp nats)", yscale="log")
    plain_decimals(panel.yaxis)
    legend_below(panel)


def _draw_optima(panel: Axes, rows: Sequence[Row], kl_strength: float) -> None:
    """Diversity against correctness of the KL-regularised optima as the strength grows, sampling reference."""
    for method in dict.fromkeys(row["method"] for row in select(rows, section="optimum")):
        look = LOOKS[method]
        reference = "none" if method == "vanilla" else "sampling"
        where = {"section": "optimum", "method": method, "reference": reference, "kl_strength": kl_strength}
        _, logit = series(rows, "strength", quantity="logit_correctness", **where)
        _, diversity = series(rows, "strength", quantity="solution_diversity", **where)
        panel.plot(logit, diversity, **look.line(), label=look.label)
    label_correctness(panel)
    panel.set(xlabel="correctness Q (logit scale)", ylabel="solution diversity (exp nats)", yscale="log")
    plain_decimals(panel.yaxis)
    legend_below(panel, f"optima at KL strength {kl_strength:g}")


def _draw_dominance(panel: Axes, rows: Sequence[Row], kl_strength: float) -> None:
    """Correctness of the bonus, and of smoothing with the same p_C at the same KL, against the diversity they share."""
    where = {"section": "dominance", "kl_strength": kl_strength}
    _, diversity = series(rows, "strength", quantity="solution_diversity", **where)
    _, slack = series(rows, "strength", quantity="literal_slack_base", **where)
    for quantity, method, label in (
        ("correctness", "entropy_bonus", "entropy bonus"),
        ("ds_correctness", "ds", "DS"),
    ):
        _, q = series(rows, "strength", quantity=quantity, **where)
        panel.plot(diversity, q, **LOOKS[method].line(), label=label)
    fails = [x for x, s in zip(diversity, slack, strict=True) if s <= 0]
    if fails:
        panel.axvspan(min(fails), max(fails), color="0.85", linewidth=0, label="not reached with reward gap 1")
    panel.set(xlabel="solution diversity (exp nats)", ylabel="correctness Q", xscale="log")
    plain_decimals(panel.xaxis)
    legend_below(panel, f"optima at KL strength {kl_strength:g}, equal KL(p||b)")


def _draw_selection(panel: Axes, rows: Sequence[Row]) -> None:
    """How often a group holds the likeliest, middle and rarest correct answer, and how often it misses the tail."""
    curves = (
        ("inclusion_top", "likeliest correct drawn", LOOKS["vanilla"]),
        ("inclusion_middle", "middle correct drawn", LOOKS["entropy_bonus"]),
        ("inclusion_rarest", "rarest correct drawn", LOOKS["ds"]),
        ("tail_miss", "rare tenth missed", LOOKS["entropy_penalty"]),
    )
    for quantity, label, look in curves:
        group_sizes, probability = series(rows, "at", section="selection", quantity=quantity)
        panel.plot(group_sizes, probability, **look.line(), label=label)
    panel.set(xlabel="group size G (log base 2)", ylabel="probability", ylim=(-0.02, 1.05))
    panel.set_xscale("log", base=2)
    legend_below(panel)


def legend_below(panel: Axes, title: str | None = None, ncols: int = 2) -> None:
    """Puts the legend under the panel, off the data."""
    panel.legend(
        loc="upper center",
        bbox_to_anchor=(0.45, -0.2),
        ncols=ncols,
        title=title,
        columnspacing=1.0,
    )


def spread(rows: Sequence[Row]) -> list[Row]:
    """The rows from the first update on whose times are at least `MARKER_RATIO` apart."""
    chosen: list[Row] = []
    for row in rows:
        if row["time"] > 0 and (not chosen or row["time"] >= MARKER_RATIO * chosen[-1]["time"]):
            chosen.append(row)
    return chosen


def letters(panels: Sequence[Axes], x: float) -> None:
    """Names panels a, b, ... at their upper left corner; x is in shares of their width."""
    for letter, panel in zip("abcdef", panels, strict=False):
        panel.text(x, 1.03, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")


def plain_decimals(axis: Axis) -> None:
    """Labels a log axis with plain decimals: decades, or on a short axis round numbers in between."""
    low, high = sorted(axis.get_view_interval())
    if high < SHORT_AXIS * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def label_correctness(panel: Axes, *, is_vertical: bool = False) -> None:
    """Labels a logit axis with correctness, cut at the largest tick, without labels that touch."""
    odds = {label: log(q / (1 - q)) for label, q in CORRECTNESS_TICKS.items()}
    low, high = panel.get_ylim() if is_vertical else panel.get_xlim()
    high = min(high, max(odds.values()))
    shown: dict[str, float] = {}
    for label, place in odds.items():
        if low <= place <= high and all(place - other > 0.13 * (high - low) for other in shown.values()):
            shown[label] = place
    if is_vertical:
        panel.set_ylim(low, high)
        panel.set_yticks(list(shown.values()), list(shown))
    else:
        panel.set_xlim(low, high)
        panel.set_xticks(list(shown.values()), list(shown))


def prediction_caption(name: str, kl_strengths: Sequence[float], run: str) -> str:
    """The caption of the figure of `predict`."""
    return f"""
        Exact predictions for the answer distribution in {name}; run {run}; no sampling, so no intervals. (a) Solution
        diversity against correctness along the exact softmax flow without KL (B1-B3, B6, B7); markers at t = 0, .1, 1,
        10, ..., 1e5 updates x learning rate; number = strength. (b) KL-regularised optima at KL strength
        {max(kl_strengths):g} as the strength grows from .03 to 3 times it, sampling reference (A3). (c) Correctness of
        each entropy bonus and of DS with the same diversity at the same KL to the base (A7); grey: with the literal
        reward gap of 1, DS has this diversity only at a larger Q than the bonus, and can need a larger KL. (d)
        Probability that a group of G samples holds a given correct answer, and that it has a signal but misses the tail
        (C1, C2). Asks, as summarised, whether differential smoothing keeps diversity where plain RL and global terms
        lose it or correctness (arXiv 2511.19942).
    """
