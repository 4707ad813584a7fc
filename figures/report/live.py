"""The page of a training that goes on: its curves so far, its alarms and its last numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sharpening.figures.drawing.training import draw_training
from sharpening.figures.report.blocks import svg
from sharpening.figures.report.keys import Row, shown
from sharpening.figures.report.page import rendered
from sharpening.figures.tables import alarms, training


def live(rows: Sequence[Row], *, name: str, num_steps: int, seconds: float) -> str:
    """The page, which loads itself again every so many seconds; 0 for a training at its end, which does not."""
    last: dict[str, Any] = {row["quantity"]: row for row in rows}
    held_out = {name: name.replace(training.HELD_OUT, "held-out ") for name in last if training.HELD_OUT in name}
    numbers = [
        (label, shown(last[quantity]["value"]), last[quantity]["step"])
        for quantity, label in {**training.SHOWN, **held_out}.items()
        if quantity in last
    ]
    return rendered(
        "live.html",
        name=name,
        step=max((row["step"] for row in rows), default=0),
        num_steps=num_steps,
        seconds=seconds,
        alarms=alarms.ringing(rows),
        numbers=numbers,
        figure=svg("training", "live", lambda: draw_training(rows)) if rows else None,
    )


def line(rows: Sequence[Row], step: int, num_steps: int) -> str:
    """What one update came to, in a line."""
    found = {row["quantity"]: row["value"] for row in rows if row["step"] == step}
    told = {
        "method/correct": "correct",
        "method/bonus_ratio": "ratio",
        "entropy": "entropy",
        "frac_reward_zero_std": "uniform",
        "held_out/pass@1": "held-out pass@1",
        "held_out/pass@8": "pass@8",
        "held_out/sharpening_slope": "slope",
    }
    parts = [f"{label} {shown(found[quantity])}" for quantity, label in told.items() if quantity in found]
    return f"step {step} of {num_steps}: {', '.join(parts)}"
