"""Figures of a study of tuned methods on a small language model."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from sharpening.figures.style import PAGE, TUNED

Row = Mapping[str, Any]
GREY = "#777777"
AGAIN = "plain gentler"  # a contestant that tries the settings of plain RL, by another rule
PASS_AT_1 = ("pass_at_k", 1)
FRONTIER = (("pass_at_k", 8, "pass@8"), ("effective_answers", 0, "correct answers alive"))
MOST = 7  # curves in a panel,
FIRST = ("plain", "ds")  # these in each
FALLEN = 0.05  # of pass@1: a setting that loses more is not drawn
_LEFT_OUT = f"Settings that lost more than {FALLEN:.2g} of the model's pass@1 are left out."


def draw_path(rows: Sequence[Row]) -> Figure:
    """pass@8 against pass@1 along training, a marker a look; and pass@k after it less before."""
    of = dict(_contestants(rows))
    fig, grid = _pairs(_parts(list(of)))
    for (left, right), names in grid:
        for name in names:
            own, look = of[name], TUNED[name]
            steps = sorted({row["step"] for row in own if row["quantity"] == "path_pass_at_k"})
            left.plot(*(_means(own, "path_pass_at_k", k, steps) for k in (1, 8)), label=look.label, **look.line())
            ks = sorted({row["at"] for row in own if row["quantity"] == "pass_at_k"})
            gains = [np.diff(_means(own, "pass_at_k", k, (steps[0], steps[-1])))[0] for k in ks]
            right.plot(ks, gains, label=look.label, **look.line())
        left.set_xlabel("pass@1")
        left.set_ylabel("pass@8")
        right.axhline(0, color=GREY, linewidth=0.6)
        right.set_xscale("log", base=2)
        right.set_xlabel("k")
        right.set_ylabel("pass@k after training less before")
    return _with_legend(fig)


def draw_curves(rows: Sequence[Row]) -> Figure:
    """The sharpening curve of every contestant, and that of plain RL had it moved each problem on its own."""
    found = _contestants(rows)
    num_columns = min(3, len(found))
    num_rows = -(-len(found) // num_columns)
    fig = Figure(figsize=(PAGE[0], 2.1 * num_rows), layout="constrained")
    grid = fig.subplots(num_rows, num_columns, sharex=True, sharey=True, squeeze=False)
    for ax, (name, own) in zip(grid.flat, found, strict=False):
        look = TUNED[name]
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.plot(*_curve(own, "expected_relative_gain"), color=GREY, label="plain RL, each alone")
        ax.plot(*_curve(own, "matched_relative_gain"), label="measured", **look.line())
        ax.set_title(look.label)
    for ax in grid.flat[len(found) :]:
        ax.set_axis_off()
    for ax in grid.flat[max(0, len(found) - num_columns) : len(found)]:
        ax.tick_params(labelbottom=True)  # also above a place that stays empty
    grid[0, 0].legend()
    fig.supxlabel("log-probability before, less the problem's mean (nats)", size="medium")
    fig.supylabel("gain, less the problem's mean (nats)", size="medium")
    return fig


def draw_strengths(rows: Sequence[Row]) -> Figure:
    """Validation pass@1 and pass@64 by strength, at the middle learning rate, first runs; plain RL as a line."""
    ends, _ = _first_runs(rows)
    rate = _middle_rate(ends)
    ends = [row for row in ends if row["learning_rate"] == rate]
    fig, grid = _pairs(_parts(_tuned(ends)))
    for axes, names in grid:
        for ax, k in zip(axes, (1, 64), strict=True):
            for name in names:
                look, keys = TUNED[name], sorted(key for key in _settings(ends) if key[0] == name)
                values = [_own(ends, key, "pass_at_k", k) for key in keys]
                if keys[-1][1] == 0:
                    ax.axhline(values[0], label=look.label, color=look.color, linestyle=look.linestyle)
                else:
                    ax.plot([strength for _, strength, _ in keys], values, label=look.label, **look.line())
            ax.set_xscale("log")
            ax.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
            ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
            ax.xaxis.set_minor_locator(NullLocator())
            ax.set_xlabel(f"strength, at learning rate {rate:g}")
            ax.set_ylabel(f"pass@{k}, validation")
    return _with_legend(fig)


def draw_frontier(rows: Sequence[Row]) -> Figure:
    """pass@8 and answers alive against pass@1: of each method the settings that none of its own exceeds in both."""
    ends, start = _first_runs(rows)
    fig, grid = _pairs(_parts(_tuned(ends)))
    for axes, names in grid:
        for ax, (quantity, at, heading) in zip(axes, FRONTIER, strict=True):
            for name in names:
                look, keys = TUNED[name], [key for key in _settings(ends) if key[0] == name]
                points = [(_own(ends, key, *PASS_AT_1), _own(ends, key, quantity, at)) for key in keys]
                kept = sorted(one for one in points if not any(o[0] > one[0] and o[1] > one[1] for o in points))
                ax.plot(*zip(*kept, strict=True), label=look.label, **look.line())
            before = [[row["value"] for row in start if _is(row, *one)][:1] for one in (PASS_AT_1, (quantity, at))]
            ax.plot(*before, marker="*", linestyle="none", color=GREY, label="before training")
            ax.set_xlabel("pass@1, validation")
            ax.set_ylabel(heading)
        axes[1].set_yscale("log")
        for part in (axes[1].yaxis.set_major_formatter, axes[1].yaxis.set_minor_formatter):
            part(StrMethodFormatter("{x:g}"))
    return _with_legend(fig)


def path_caption(preset: str, run: str) -> str:
    """The caption of `draw_path`."""
    return (
        "Methods on a small language model: left pass@8 against pass@1 along training, exact values on some "
        "of the held-out problems, from the models before training, where lines begin; right pass@k on all held-out "
        f"problems after training less before. Means over runs with fresh seeds. Study {preset}, table {run}."
    )


def curves_caption(preset: str, run: str) -> str:
    """The caption of `draw_curves`."""
    return (
        "Sharpening, answer by answer: how many nats a correct answer gained against the others of its problem, by how "
        "much likelier it started. A rising line is sharpening. Grey: what plain RL would give had it moved every "
        "problem on its own to the correctness it has after training; problems where that fell are in neither. Exact "
        f"values on held-out problems, means over runs. Study {preset}, table {run}."
    )


def frontier_caption(preset: str, run: str) -> str:
    """The caption of `draw_frontier`."""
    return (
        "What tuning saw, one run a setting from one warm start: exact pass@8 and correct answers alive (exp of their "
        "entropy) against pass@1, on validation problems. Of each method the settings of strength and learning rate "
        "that no other of its own exceeds in both; up and to the right is better. Star: the model before training. "
        f"{_LEFT_OUT} Study {preset}, table {run}."
    )


def strengths_caption(preset: str, run: str) -> str:
    """The caption of `draw_strengths`."""
    return (
        "What strength does at one learning rate, one run a setting from one warm start: exact pass@1 and pass@64 on "
        "validation problems, at the middle one of the rates that were tried; lines are methods without a strength. "
        f"{_LEFT_OUT} Study {preset}, table {run}."
    )


def _names(rows: Sequence[Row]) -> list[str]:
    return [name for name in TUNED if any(row["contestant"] == name for row in rows)]


def _tuned(rows: Sequence[Row]) -> list[str]:
    """The contestants with settings of their own in tuning: one has plain RL's, chosen by another rule."""
    return [name for name in _names(rows) if name != AGAIN]


def _parts(names: Sequence[str]) -> list[list[str]]:
    """The contestants of every row of panels: all if they are few, else some, each time beside plain RL and DS."""
    first = [name for name in names if name in FIRST]
    others = [name for name in names if name not in FIRST]
    num_parts = max(1, -(-len(others) // (MOST - len(FIRST))))
    size = -(-len(others) // num_parts)
    return [first + others[size * part : size * (part + 1)] for part in range(num_parts)]


def _pairs(parts: Sequence[list[str]]) -> tuple[Figure, list[tuple[Any, list[str]]]]:
    """A figure with a row of two panels for each of these, with what it is for."""
    fig = Figure(figsize=(PAGE[0], PAGE[1] * (0.15 + 0.85 * len(parts))), layout="constrained")
    return fig, list(zip(fig.subplots(len(parts), 2, squeeze=False, sharex="col", sharey="col"), parts, strict=True))


def _with_legend(fig: Figure) -> Figure:
    """The figure with one legend above all panels, each label once, and what x is below the last ones."""
    for ax in fig.axes:
        if (place := ax.get_subplotspec()) and not place.is_last_row():
            ax.set_xlabel("")
    of = {label: line for ax in fig.axes for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    fig.legend(list(of.values()), list(of), loc="outside upper center", ncols=4)
    return fig


def _middle_rate(ends: Sequence[Row]) -> float:
    """The middle one of the learning rates that were tried with a strength, the lower of two; of all if none was."""
    rates = {row["learning_rate"] for row in ends if row["strength"]} or {row["learning_rate"] for row in ends}
    return float(statistics.median_low(sorted(rates)))


def _first_runs(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Of tuning's first seed, the last rows of each setting that did not break down; and the rows before training."""
    found = [row for row in rows if row["stage"] == "tuning"]
    first = min((row["seed"] for row in found), default=0)
    ends = [row for row in found if row["seed"] == first and row["step"] == row["num_steps"]]
    start = [row for row in found if row["step"] == 0 and row["seed"] == first]
    least = next(row["value"] for row in start if _is(row, *PASS_AT_1)) - FALLEN
    kept = {_settings([row])[0] for row in ends if _is(row, *PASS_AT_1) and row["value"] >= least}
    return [row for row in ends if _settings([row])[0] in kept], start


def _contestants(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """The contestants of the comparison with their rows; plain RL once where both its rules chose one setting."""
    fresh = [row for row in rows if row["stage"] == "comparison"]
    found = [(name, [row for row in fresh if row["contestant"] == name]) for name in _names(fresh)]
    rate = {name: own[0]["learning_rate"] for name, own in found}
    return [one for one in found if one[0] != AGAIN or rate[one[0]] != rate.get("plain")]


def _means(rows: Sequence[Row], quantity: str, at: float, steps: Sequence[int]) -> list[float]:
    """The mean over runs at each step."""
    found: dict[int, list[float]] = {step: [] for step in steps}
    for row in rows:
        if (row["quantity"], row["at"]) == (quantity, at) and row["step"] in found:
            found[row["step"]].append(row["value"])
    return [float(np.mean(found[step])) for step in steps]


def _curve(rows: Sequence[Row], quantity: str) -> tuple[list[float], list[float]]:
    """The curve's points, bin by bin, means over runs."""
    runs: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        if row["quantity"] == quantity:
            runs.setdefault((row["warm_start"], row["seed"]), []).append(row)
    bins = list(zip(*(sorted(one, key=lambda row: float(row["at"])) for one in runs.values()), strict=False))
    at, value = ([float(np.mean([row[column] for row in one])) for one in bins] for column in ("at", "value"))
    return at, value


Key = tuple[str, float, float]


def _settings(rows: Sequence[Row]) -> list[Key]:
    return list(dict.fromkeys((row["contestant"], row["strength"], row["learning_rate"]) for row in rows))


def _is(row: Row, quantity: str, at: float) -> bool:
    return (row["quantity"], row["at"]) == (quantity, at)


def _own(rows: Sequence[Row], key: Key, quantity: str, at: float) -> float:
    """The value of a setting that has one run."""
    (value,) = (row["value"] for row in rows if _settings([row])[0] == key and _is(row, quantity, at))
    return float(value)
