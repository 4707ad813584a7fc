"""What RL did to models of several sizes: changes of pass@1 and of pass@k at the largest k, and sharpening slopes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sharpening.figures.drawing.theory import select
from sharpening.figures.style import PAGE, TUNED

Row = Mapping[str, Any]
GREY = "0.5"
APART = 0.13  # half of what is between the lines of two methods of one model
LINE = 0.24  # inches of a model


def draw_by_size(rows: Sequence[Row]) -> Figure:
    """A line a model, smallest first: filled pass@1, open pass@k at the largest k; on the right slopes and theory's."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    figure = Figure(figsize=(PAGE[0], 1.1 + LINE * len(models)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(2, 1))
    for place, model in enumerate(models):
        here = [name for name in methods if select(rows, model=model, method=name)]
        for number, method in enumerate(here):
            height = -place - APART * (2 * number - len(here) + 1)
            own = select(rows, model=model, method=method)
            first, last = sorted(select(own, quantity="pass_at_k_difference"), key=lambda row: row["k"])
            look = TUNED[method]
            _mark(left, first, height, look.color, look.marker, is_filled=True)
            _mark(left, last, height, look.color, look.marker, is_filled=False)
            for row in select(own, quantity="sharpening_slope"):
                _mark(right, row, height, look.color, look.marker, is_filled=True)
            for row in select(own, quantity="expected_slope"):
                right.plot(row["value"], height, marker="|", color=look.color, markersize=9)
    for panel in (left, right):
        panel.axvline(0, color=GREY, linewidth=0.6)
    largest = [max(row["k"] for row in select(rows, model=model)) for model in models]
    names = [f"{model} (k = {k})" for model, k in zip(models, largest, strict=True)]
    left.set_yticks([-place for place in range(len(models))], names)
    left.set_xlabel("pass@k after RL less before")
    right.set_xlabel("sharpening slope (nats a nat)")
    shown = [Line2D([], [], **TUNED[name].points(), label=TUNED[name].label) for name in methods]
    shown += [
        Line2D([], [], color=GREY, marker="o", linestyle="none", label="pass@1, slope"),
        Line2D([], [], color=GREY, marker="o", linestyle="none", fillstyle="none", label="pass@k"),
        Line2D([], [], color=GREY, marker="|", markersize=9, linestyle="none", label="theory, each prompt alone"),
    ]
    figure.legend(handles=shown, loc="outside upper center", ncols=len(shown))
    return figure


def _mark(panel: Axes, row: Row, height: float, color: str, marker: str, *, is_filled: bool) -> None:
    """A value with its interval, if it has one."""
    if row["has_interval"]:
        panel.hlines(height, row["low"], row["high"], color=color, linewidth=0.8)
    fill: Any = "full" if is_filled else "none"
    panel.plot(row["value"], height, marker=marker, color=color, fillstyle=fill, linestyle="none")


def by_size_caption(rows: Sequence[Row], _: Row, run: str) -> str:
    """The caption of `by_size`."""
    sets = ", ".join(dict.fromkeys(row["model"] for row in rows if not row["has_interval"]))
    return f"""
        What RL with verifiable rewards did to models of several sizes; models, tasks and training differ from line to
        line, so no line is drawn between them. Left: filled pass@1, open pass@k at the largest k that was measured, k
        beside the name. Plain RL that moved each prompt alone would lower neither (claim D1). Right: how many nats more
        a correct answer gained for each nat that it started likelier (B1: above 0 is sharpening), and | what plain RL
        would do to each prompt alone on the way to the same correctness. 165 thousand and 135 million weights were
        trained here and measured on held-out problems: in Countdown correct answers are listed, with 135 million
        weights in nearly all their spellings (bars: 95% intervals over runs, there three), of names most spellings of
        the correct ones, lower bounds (over questions, one run a method). 1.5B and 7B were trained by others, by plain
        RL alone, and measured by others (examples/public); on which problems they were trained is not known; bars over
        problems, none published for {sets}. Run {run}.
    """
