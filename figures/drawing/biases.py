"""Figures of the two biases: who is in a group and what it gains, and the one path of methods that see correctness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sharpening.figures.drawing.theory import label_correctness, letters, plain_decimals, select, spread
from sharpening.figures.style import LOOKS, PAGE, Look

Row = Mapping[str, Any]
ANSWERS = {"likely": Look("likely", "#D55E00", "^", "-"), "rare": Look("rare", "#0072B2", "s", "-")}
RATIOS = {
    "drawn": Look("selection", "#009E73", "D", "-"),
    "gain": Look("reinforcement", "#CC79A7", "v", "-"),
    "both": Look("both", "#000000", "o", "-"),
}
RIVAL: Any = {"linewidth": 0.6, "linestyle": (0, (2, 2))}
TICKS = ((0.05, 0.1, 0.2, 0.5, 1.0), (0.01, 0.02, 0.05, 0.1, 0.2), (0.1, 0.2, 0.5, 1.0))
PATH: Any = {"color": "0.6", "linewidth": 2.5}


def draw_two_biases(rows: Sequence[Row]) -> Figure:
    """By group size: the chance to be drawn, the gain once drawn, and both of a rare answer over those of a likely one.

    Shapes:   rows of `bandits.figure_rows.two_biases`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.72 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 3)
    labels = {"drawn": "chance to be in a group\n(log base 10)", "gain": "logit step once drawn\n(log base 10)"}
    for panel, (quantity, label) in zip(panels, labels.items(), strict=False):
        for answer, look in ANSWERS.items():
            own = select(rows, quantity=quantity, answer=answer)
            sizes, mean, error, predicted, rival = ([row[name] for row in own] for name in _COLUMNS)
            panel.plot(sizes, predicted, color=look.color, linewidth=0.8)
            panel.plot(sizes, rival, color=look.color, **RIVAL)
            bars = [2 * value for value in error]
            panel.errorbar(sizes, mean, bars, **look.points(), elinewidth=0.8, label=look.label)
        panel.set(ylabel=label, yscale="log")
    sizes = [row["group_size"] for row in select(rows, quantity="drawn", answer="rare")]
    both = {"predicted": [1.0] * len(sizes), "mean": [1.0] * len(sizes)}
    for quantity in ("drawn", "gain"):
        rare, likely = (select(rows, quantity=quantity, answer=answer) for answer in ("rare", "likely"))
        for column, product in both.items():
            ratios = [one[column] / other[column] for one, other in zip(rare, likely, strict=True)]
            both[column] = [a * b for a, b in zip(product, ratios, strict=True)]
            _draw_ratio(panels[2], quantity, column, sizes, ratios)
    for column, product in both.items():
        _draw_ratio(panels[2], "both", column, sizes, product)
    panels[2].set(ylabel="rare over likely (log base 10)", yscale="log")
    for panel in panels:
        panel.set_xscale("log", base=2)
        panel.set_xlabel("group size G (log base 2)")
    for panel, ticks in zip(panels, TICKS, strict=True):
        panel.set_yticks(ticks, [f"{value:g}" for value in ticks])
        panel.yaxis.set_minor_locator(NullLocator())
    panels[0].plot([], [], color="0.3", **RIVAL, label="wrong")
    handles, names = ([*a, *b] for a, b in zip(*(panels[at].get_legend_handles_labels() for at in (0, 2)), strict=True))
    figure.legend(handles, names, loc="outside lower center", ncols=6)
    letters(panels, -0.3)
    return figure


_COLUMNS = ("group_size", "mean", "standard_error", "predicted", "rival")


def _draw_ratio(panel: Any, name: str, column: str, sizes: Sequence[int], values: Sequence[float]) -> None:
    look = RATIOS[name]
    if column == "predicted":
        panel.plot(sizes, values, color=look.color, linewidth=0.8)
    else:
        panel.plot(sizes, values, **look.points(), label=look.label)


def two_biases_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `two_biases`."""
    likely, rare = (next(row["probability"] for row in rows if row["answer"] == name) for name in ("likely", "rare"))
    worst = max(abs(row["mean"] - row["predicted"]) / row["standard_error"] for row in rows if row["standard_error"])
    missed = max(abs(row["mean"] - row["rival"]) / row["standard_error"] for row in rows if row["standard_error"])
    return f"""
        Two correct answers, of probability {likely:g} and {rare:g}, in one group of plain RL (reward less the group's
        mean): (a) selection, the chance that an answer is in the group; (b) reinforcement, the step of its logit where
        it is, at learning rate 1; without it the step is 0. Lines: exact; markers: {settings["num_groups"]:,} groups,
        bars of 2 standard errors. Dashed: a chance of p G, and a step that did not depend on being drawn, both wrong.
        (c) The rare answer over the likely one. Larger groups take the bias from selection to reinforcement; the
        product stays {rare / likely:.2g}. Markers are at most {worst:.2g} standard errors from the exact value, up to
        {missed:.0f} from the wrong ones. Run {run}. Claims C1, C4 (our reading of the biases of arXiv 2511.19942).
    """


def draw_universality(rows: Sequence[Row]) -> Figure:
    """Diversity of simulated methods by updates, and by correctness, where those of one class lie on one curve.

    Shapes:   rows of `bandits.figure_rows.universality`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.72 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    path = sorted((row["logit_correctness"], row["on_path"]) for row in rows)
    panels[1].plot(*zip(*path, strict=True), **PATH, label="the one path, exact")
    for method in dict.fromkeys(row["method"] for row in rows):
        look, own = LOOKS[method], spread(select(rows, method=method))
        values = [row["solution_diversity"] for row in own]
        panels[0].plot([row["time"] for row in own], values, label=look.label, **look.line())
        panels[1].plot([row["logit_correctness"] for row in own], values, **look.points())
    panels[0].set(xscale="log", xlabel="updates x learning rate (log base 10)", ylabel="solution diversity (exp nats)")
    plain_decimals(panels[0].xaxis)
    panels[1].set_xlabel("correctness Q (logit scale)")
    label_correctness(panels[1])
    handles, names = ([*a, *b] for a, b in zip(*(panel.get_legend_handles_labels() for panel in panels), strict=True))
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    letters(panels, -0.12)
    return figure


def universality_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `universality`."""
    far = [max(abs(row["distance"]) for row in rows if (row["method"] == "ds") == is_ds) for is_ds in (False, True)]
    names = [LOOKS[method].label for method in dict.fromkeys(row["method"] for row in rows) if method != "ds"]
    return f"""
        {", ".join(names)}, whose advantages depend on correctness alone, and DS ({settings["strength"]:g}), simulated
        from (.3, .1 | .4, .2) with groups of {settings["group_size"]}: means over {settings["num_runs"]} runs at
        learning rate {settings["learning_rate"]:g}. (a) By updates each loses diversity among correct answers at its
        own speed. (b) By correctness the {len(names)} lie on one curve, computed without simulation: at most
        {far[0]:.2g} off it, DS up to {far[1]:.2g}. Which of them is used decides how fast a policy sharpens, and not
        how much by the time that it is as correct. Run {run}. Claims B2, B4 and E2, ours.
    """
