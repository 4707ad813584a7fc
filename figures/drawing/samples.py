"""The figure of `samples`: pass@k of each file, and the differences to the first. Names and looks of models.

A model whose name tells a method, as in `samples_ds.csv`, has the look of that method. Else the first one, from before
training, is grey, and the others have the looks that are left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from math import isfinite
from pathlib import PurePath
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator, ScalarFormatter

from sharpening.figures.drawing.theory import select
from sharpening.figures.style import COLUMN, LOOKS, PAGE, Look

Row = Mapping[str, Any]
BEFORE = Look("before training", "#7F7F7F", "o", ":")
LOOKS_OF_FILES = tuple(  # of models whose names tell no method
    Look("", *look)
    for look in (
        ("#0072B2", "s", "--"),
        ("#CC79A7", "v", ":"),
        ("#E69F00", "*", "-"),
        ("#56B4E9", "X", "--"),
        ("#009E73", "D", "-."),
    )
)
AGAIN = ((">", "--"), ("<", "-."), ("P", ":"), ("8", "-"))  # markers and lines of more models of one method
ALSO = {"ds_grpo": "ds", "grpo_ds": "ds", "plain_rl": "vanilla"}  # what people call a method
ENDING = re.compile(r"(\.(csv|gz|jsonl?|parquet|zip))+$")
BETWEEN_WORDS = re.compile(r"([/\\\s_-]+)")
BAR: Any = {"linewidth": 3.5, "alpha": 0.6, "solid_capstyle": "butt"}
TICK: Any = {"marker": "|", "markersize": 12, "zorder": 5}
LONGEST_LABEL = 24  # characters


def file_names(rows: Iterable[Row]) -> list[str]:
    """The files in the order of the command line."""
    return list(dict.fromkeys(row["file"] for row in rows))


def labels(names: Sequence[str]) -> dict[str, str]:
    """Short labels of models: their names without ending, and without the words that all begin or end with.

    >>> labels(["out/samples_base.csv", "out/samples_ds.csv"])
    {'out/samples_base.csv': 'base', 'out/samples_ds.csv': 'ds'}
    """
    stems = [ENDING.sub("", name) for name in names]
    if len(set(stems)) < len(names) or not all(stems):
        stems = list(names)
    parts = [BETWEEN_WORDS.split(stem) for stem in stems]  # words at even places, what is between them at odd ones
    for _ in range(2 if len(names) > 1 else 0):  # from the left, then from the right
        alike = takewhile(lambda words: len(set(words)) == 1, zip(*parts, strict=False))
        shared = min(sum(1 for _ in alike), min(map(len, parts)) - 1) // 2 * 2
        parts = [part[shared:][::-1] for part in parts]
    told = ["".join(part) for part in parts]
    chosen = told if all(told) else stems
    if len(names) == 1:
        chosen = [PurePath(stems[0]).name or stems[0]]
    short = [text if len(text) <= LONGEST_LABEL else f"{text[:8]}...{text[11 - LONGEST_LABEL :]}" for text in chosen]
    return dict(zip(names, short if len(set(short)) == len(names) else chosen, strict=True))


def method_in(name: str) -> str | None:
    """The method that the name of a model tells, if it is one.

    >>> method_in("runs/Qwen-DS-seed0.jsonl"), method_in("grpo_and_dapo.csv")
    ('ds', None)
    """
    words = f"_{re.sub('[^a-z0-9]+', '_', name.lower())}_"
    found = [known for known in (*LOOKS, *ALSO) if f"_{known}_" in words]
    methods = {ALSO.get(one, one) for one in found if not any(one != other and one in other for other in found)}
    return methods.pop() if len(methods) == 1 else None


def looks_of(names: Sequence[str], *, is_first_before: bool = True) -> dict[str, Look]:
    """The look of every model, the first of which may be the one before training."""
    looks: dict[str, Look] = {}
    for name in names:
        if method := method_in(name):
            own = LOOKS[method]
            variants = (own, *(own._replace(marker=marker, linestyle=linestyle) for marker, linestyle in AGAIN))
            drawn = {look[1:] for look in looks.values()}
            looks[name] = next(look for look in variants if look[1:] not in drawn)
    taken = {look.color for look in looks.values()}
    free = iter(look for look in LOOKS_OF_FILES if look.color not in taken)
    for name in names:
        if name not in looks:
            looks[name] = BEFORE if is_first_before and name == names[0] else next(free)
    return {name: looks[name] for name in names}


def draw_pass_at_k(rows: Sequence[Row]) -> Figure:
    """pass@k against k for each file, and the paired differences to the first file with their crossings.

    Shapes:   rows of `samples`, tidy. One file gives one panel, more give two.
    """
    names = file_names(rows)
    looks, label = looks_of(names), labels(names)
    figure = Figure(figsize=COLUMN if len(names) == 1 else (PAGE[0], 0.62 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 1 if len(names) == 1 else 2, squeeze=False)[0]
    for name, look in looks.items():
        _draw_curve(panels[0], select(rows, file=name, quantity="pass_at_k"), look, label[name])
    label_k(panels[0], rows)
    panels[0].set(ylabel="mean pass@k", ylim=(0, 1.02))
    panels[0].legend(loc="best")
    if len(names) > 1:
        _draw_differences(panels[1], rows, looks, label)
    letter_panels(panels)
    return figure


def letter_panels(panels: Sequence[Axes]) -> None:
    """Writes a and b above two panels, nothing above one."""
    for letter, panel in zip("ab" if len(panels) > 1 else "", panels, strict=False):
        panel.text(-0.14, 1.02, letter, transform=panel.transAxes, fontweight="bold", fontsize="large")


def has_band(rows: Sequence[Row]) -> bool:
    """Whether these rows have bounds that hold at all k at once: rows stored before there was a band have none."""
    return all(isfinite(row.get("band_low", float("nan"))) for row in rows)


def _draw_curve(panel: Axes, rows: Sequence[Row], look: Look, label: str) -> None:
    ks = [row["k"] for row in rows]
    marked = [place for place, k in enumerate(ks) if k & (k - 1) == 0 or place == len(ks) - 1]
    panel.plot(ks, [row["value"] for row in rows], **look.line(), markevery=marked, label=label)
    if rows[0]["has_interval"]:
        ends = [row["low"] for row in rows], [row["high"] for row in rows]
        panel.fill_between(ks, *ends, color=look.color, alpha=0.18, linewidth=0)
    if has_band(rows):
        ends = [row["band_low"] for row in rows], [row["band_high"] for row in rows]
        panel.fill_between(ks, *ends, color=look.color, alpha=0.12, linewidth=0)


def _draw_differences(panel: Axes, rows: Sequence[Row], looks: Mapping[str, Look], label: Mapping[str, str]) -> None:
    """Differences with bands; on the zero line the first k of loss, where there surely is one."""
    base, *others = looks
    panel.axhline(0, color="0.5", linewidth=0.6)
    num_losses = 0
    for name in others:
        found = select(rows, file=name, quantity="pass_at_k_difference")
        _draw_curve(panel, found, looks[name], label[name])
        for row in select(rows, file=name, quantity="first_loss_k"):
            if isfinite(row["high"]):
                panel.plot([row["low"], row["high"]], [0, 0], color=looks[name].color, **BAR)
                panel.plot([row["value"]], [0], color=looks[name].color, **TICK)
                num_losses += 1
    label_k(panel, rows)
    panel.set(ylabel=f"change of pass@k from {label[base]}")
    if num_losses:
        bar, tick = Line2D([], [], color="0.5", **BAR), Line2D([], [], color="0.5", **TICK)
        panel.legend([(bar, tick)], ["first k of loss, 95%"], loc="best")


def label_k(panel: Axes, rows: Sequence[Row]) -> None:
    """Axis of k, powers of two."""
    largest = max(row["k"] for row in rows)
    panel.set_xscale("log", base=2)
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(ScalarFormatter())
    ticks = [2**power for power in range(largest.bit_length())]
    panel.set_xticks(ticks if len(ticks) <= 9 else ticks[::2])
    panel.set(xlabel="k, samples per problem (log base 2)")


def pass_at_k_caption(rows: Sequence[Row], told: Sequence[str], run: str) -> str:
    """The caption of the figure of `samples`, which begins with the verdict."""
    counts = []
    label = labels(file_names(rows))
    for name, short in label.items():
        found = {row["quantity"]: int(row["value"]) for row in select(rows, file=name, base="", k=0)}
        least, most = found["least_samples_per_problem"], found["most_samples_per_problem"]
        seeds = f", {found['num_seeds']} seeds" if found["num_seeds"] > 1 else ""
        of_file = "" if short == name else f" ({name})"
        each = least if least == most else f"{least} to {most}"
        counts.append(f"{short}{of_file}: {each} samples of each of {found['num_problems']} problems{seeds}")
    parts = [
        *told,
        f"pass@k, the chance that one of k samples of a problem is correct, without bias. {'; '.join(counts)}.",
        "Bands: 95% bootstrap intervals over problems, dark for each k on its own, light for all k at once.",
    ]
    if len(counts) > 1:
        parts.append(
            "(a) Each model. (b) What changed from the first, on the problems that both have; below 0 is worse. A bar "
            "on the zero line holds, at 95%, the first k at which a model solves fewer problems than the first; its "
            "tick is the estimate; it is drawn where the band shows that there is such a k."
        )
    return " ".join([*parts, f"Run {run}."])
