"""Figures of the bandit surveys, drawn from their tables alone."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from sharpening.figures.style import LOOKS, PAGE, TUNED, Look

Row = Mapping[str, Any]
STOPPED = "vanilla stopped early"
NEAR_ONE = (0.02, 1e-4)  # 1 - Q at the end of what a contest shows: beyond it all methods keep one answer
TITLE = 27  # characters of a line of a title
CLOSE = 0.9  # correctness from which on its distance from 1 is what matters
FAMILIES = {
    STOPPED: Look(STOPPED, "#000000", "", "-"),
    "vanilla": LOOKS["vanilla"],
    "entropy bonus": LOOKS["entropy_bonus"],
    "entropy penalty": LOOKS["entropy_penalty"],
    "ds": LOOKS["ds"],
    "ds on both sides": Look("DS on both sides", "#009E73", "D", "-."),
    "ds centred": Look("DS centred", "#E69F00", "v", "-"),
    "mara with KL": Look("MARA with KL", "#56B4E9", "P", "--"),
    "unlikeliness": TUNED["unlikeliness"],
    "ips": TUNED["ips"],
    "pkpo": Look("PKPO", "#CC79A7", "X", ":"),
}
CONTESTANTS = {  # as many as a panel bears
    name: TUNED[name] for name in ("plain", "entropy bonus", "ds", "ds centred", "unlikeliness", "ips", "rarity_maxrl")
}
DRAWN = (STOPPED, "entropy bonus", "ds", "ds on both sides", "ds centred", "ips")  # of a frontier, and one by measure
ALSO_DRAWN = {"solution_diversity": "unlikeliness"}
AXES = {"solution_diversity": "solution diversity", "pass_at_k:8": "pass@8", "pass_at_k:64": "pass@64"}
AXES |= {"pass_at_k:256": "pass@256"}


def draw_frontier(rows: Sequence[Row]) -> Figure:
    """One panel for each instance and measure: where every method ends, a line through its strengths.

    Right is better: where correctness comes close to 1 the axis is 1 - Q, logarithmic and reversed.
    """
    panels = list(dict.fromkeys((row["instance"], row["measure"]) for row in rows))
    num_columns = 2 if len(panels) > 1 else 1
    is_close = max(row["correctness"] for row in rows) > CLOSE
    num_rows = -(-len(panels) // num_columns)
    fig = Figure(figsize=(PAGE[0], 2.3 * num_rows), layout="constrained")
    grid = fig.subplots(num_rows, num_columns, squeeze=False)
    for ax, (instance, measure) in zip(grid.flat, panels, strict=False):
        own = [row for row in rows if (row["instance"], row["measure"]) == (instance, measure)]
        for name in (*DRAWN, ALSO_DRAWN.get(measure, "pkpo")):
            points = sorted(
                (row["strength"], row["correctness"], row["other"]) for row in own if row["variant"] == name
            )
            if points:
                _, correctness, other = zip(*points, strict=True)
                place = 1 - np.array(correctness) if is_close else correctness
                ax.plot(place, other, label=FAMILIES[name].label, **FAMILIES[name].line())
        where = f", {instance.replace('_', ' ')}" if len({row["instance"] for row in rows}) > 1 else ""
        ax.set(ylabel=f"{AXES[measure]}{where}", xlabel="1 - correctness" if is_close else "correctness (pass@1)")
        if is_close:
            ax.set_xscale("log")
            ax.invert_xaxis()
    for ax in grid.flat[len(panels) :]:
        ax.set_axis_off()
    handles, labels = grid.flat[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside right upper")
    return fig


def draw_phase_diagram(rows: Sequence[Row]) -> Figure:
    """The winner of each cell, and its lead over the second where there is one."""
    widths = sorted({row["num_correct"] for row in rows})
    heights = sorted({row["base_correctness"] for row in rows})
    counts = [row["winner"] for row in rows]
    winners = sorted(dict.fromkeys(counts), key=lambda name: -counts.count(name))
    colors = ["#FFFFFF" if name == "tie" else FAMILIES[name].color for name in winners]
    fig = Figure(figsize=(PAGE[0] * 0.75, PAGE[1] * 0.85), layout="constrained")
    ax = fig.subplots()
    codes = np.full((len(heights), len(widths)), np.nan)
    for row in rows:
        x, y = widths.index(row["num_correct"]), heights.index(row["base_correctness"])
        codes[y, x] = winners.index(row["winner"])
        ax.annotate(f"{row['lead']:.2f}", (x, y), ha="center", va="center", fontsize="x-small")
    ax.imshow(codes, origin="lower", cmap=ListedColormap(colors), vmin=-0.5, vmax=len(winners) - 0.5, alpha=0.45)
    ax.set(xlabel="number of correct answers m", ylabel="correctness of the base policy")
    ax.set_xticks(range(len(widths)), [str(value) for value in widths])
    ax.set_yticks(range(len(heights)), [f"{value:g}" for value in heights])
    labels = [name if name == "tie" else FAMILIES[name].label for name in winners]
    handles = [
        Patch(facecolor=color, alpha=0.45, edgecolor="black", linewidth=0.4, label=label)
        for color, label in zip(colors, labels, strict=True)
    ]
    fig.legend(handles=handles, loc="outside right upper")
    return fig


def draw_contest(rows: Sequence[Row]) -> Figure:
    """One panel an instance: of each method the settings that no other of its own exceeds in both measures.

    On single prompts answers at Q = .99 against Q at the end, on shared strategies pass@8 against pass@1.
    """
    tuned = [row for row in rows if row["stage"] == "tuning"]
    instances = list(dict.fromkeys(row["instance"] for row in tuned))
    across, up = ("pass_at_1", "pass_at_8") if "pass_at_1" in tuned[0] else ("correctness", "answers_at_99")
    num_columns = min(3, len(instances))
    num_rows = -(-len(instances) // num_columns)
    size = (PAGE[0], 2.3 * num_rows) if len(instances) > 1 else (PAGE[0] * 0.8, PAGE[1])
    fig = Figure(figsize=size, layout="constrained")
    grid = fig.subplots(num_rows, num_columns, squeeze=False)
    for ax, instance in zip(grid.flat, instances, strict=False):
        for name, look in CONTESTANTS.items():
            own = [row for row in tuned if (row["instance"], row["contestant"]) == (instance, name)]
            points = [(row[across], row[up]) for row in own if np.isfinite(row[up])]
            kept = sorted(one for one in points if not any(o[0] > one[0] and o[1] > one[1] for o in points))
            if not kept:
                continue
            x, y = np.array(kept).T
            ax.plot(1 - x if across == "correctness" else x, y, label=look.label, **look.line())
        ax.set_title(textwrap.fill(instance, TITLE))
        ax.set_ylabel("pass@8 at the end" if up == "pass_at_8" else "answers at Q = .99")
        ax.set_xlabel("pass@1 at the end" if across == "pass_at_1" else "1 - Q at the end")
        if across == "correctness":
            ax.set_xscale("log")
            ax.set_xlim(*NEAR_ONE)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    empty = grid.flat[len(instances) :]
    for ax in empty:
        ax.set_axis_off()
    if len(empty):
        empty[0].legend(handles, labels, loc="center")
    else:
        fig.legend(handles, labels, loc="outside right upper")
    return fig


def contest_caption(preset: str, run: str) -> str:
    """The caption of `draw_contest`."""
    return (
        "Every method at its own strengths and learning rates: the settings that none of its own exceeds in both "
        "measures, means over tuning seeds after the same number of steps; right and up is better. Plain RL is seen "
        "only where it comes short of Q = .9999; it keeps one or two answers. "
        f"Preset {preset}, table {run}."
    )


def frontier_caption(preset: str, run: str) -> str:
    """The caption of `draw_frontier`."""
    return (
        "Where every method ends after the same number of steps, a marker for each strength, joined in their order; "
        "right and up is better. Means of sampled runs of groups of 8, the same seeds for all methods. The black line "
        "is vanilla (group mean as baseline) stopped early. DS on both sides charges rare wrong answers as much as it "
        "pays rare correct ones; DS centred takes the mean off the bonus within the correct answers. The table has "
        "other methods too. "
        f"Preset {preset}, table {run}."
    )


def phase_caption(preset: str, run: str) -> str:
    """The caption of `draw_phase_diagram`."""
    return (
        "Who reaches the largest share of m correct answers with m samples after 60 steps of the exact mean field "
        "(groups of 4, learning rate 1, 4 wrong answers, probabilities falling as 1/rank). Every method at its best "
        "strength; vanilla at its best stop, at a third of the rate, or with KL. The number is the "
        "lead over the second best; a tie is a lead below .005. "
        f"Preset {preset}, table {run}."
    )
