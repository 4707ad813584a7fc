"""The figure of `rates --curves`: the change of pass@k on every set, seen and by two laws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from sharpening.figures.drawing.rates import LOOKS
from sharpening.figures.drawing.theory import select
from sharpening.figures.style import PAGE

Row = Mapping[str, Any]
COLUMNS = 3


def sets_of(rows: Sequence[Row]) -> list[str]:
    """The sets, in their order."""
    return list(dict.fromkeys(str(row["part"]) for row in rows))


def nearest_law(rows: Sequence[Row], part: str) -> str:
    """The law that is nearest to the curves of a set."""
    return next(str(row["law"]) for row in select(rows, part=part, quantity="is_nearest") if row["value"])


def change(rows: Sequence[Row], part: str, k: int, law: str = "") -> float:
    """The change of pass@k on a set: as seen, or as a law implies it."""
    after = select(rows, part=part, law=law, k=k, quantity="implied_after" if law else "after")[0]["value"]
    return float(after - select(rows, part=part, law="", quantity="before", k=k)[0]["value"])


def last_k(rows: Sequence[Row], part: str) -> int:
    """The largest k of a set."""
    return max(int(row["k"]) for row in select(rows, part=part, quantity="after"))


def draw_curves(rows: Sequence[Row]) -> Figure:
    """A panel for every set."""
    names = sets_of(rows)
    columns = min(COLUMNS, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(PAGE[0], 0.45 * PAGE[1] * lines), layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for panel, part in zip(panels, names, strict=False):
        ks = [int(row["k"]) for row in select(rows, part=part, quantity="after")]
        panel.plot(ks, [change(rows, part, k) for k in ks], color="black", marker="o", linestyle="none", label="seen")
        nearest = nearest_law(rows, part)
        looks = {"common": LOOKS["common"]} | {nearest: LOOKS["chosen"]}
        for law, look in looks.items():
            panel.plot(ks, [change(rows, part, k, law) for k in ks], label=law, **look)
        panel.axhline(0, color="0.5", linewidth=0.6)
        panel.set_xscale("log", base=2)
        panel.set_xticks(ks[::2], [str(k) for k in ks[::2]])
        panel.minorticks_off()
        panel.set_title(part)
        panel.legend(loc="best")
    for panel in panels[len(names) :]:
        panel.remove()
    figure.supxlabel("k")
    figure.supylabel("change of pass@k")
    return figure


def curves_caption(rows: Sequence[Row], words: Mapping[str, str], run: str) -> str:
    """The caption of the figure of `rates --curves`."""
    nearest = {nearest_law(rows, part): "" for part in sets_of(rows)}
    laws = {law: words[law] for law in {"common": "", **nearest}}
    told = "; ".join(f"{law}: {text}" for law, text in laws.items())
    return (
        "The change of pass@k in training, seen on each set of problems, by the nearest law and by a common shift, "
        "each with a spread between problems, fitted to the curves and to the share of problems that both "
        f"models solved. Laws: {told}. Run {run}."
    )
