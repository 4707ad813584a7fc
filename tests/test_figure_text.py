"""What is written in figures: names as they are, and powers of ten."""

from __future__ import annotations

import io

import matplotlib
from matplotlib.figure import Figure

from sharpening.figures import render, style


def test_names_are_no_mathematics_and_powers_are() -> None:
    """A figure without a dollar sign is what matplotlib makes of it, on log axes that panels share too."""

    def draw(label: str = "a") -> Figure:
        fig = Figure(layout="constrained")
        for row in fig.subplots(2, 2, sharex="col"):
            row[0].semilogx([1, 1e3, 1e6], [1, 2, 3], label=label)
            row[0].legend()
            row[1].plot([1, 2, 256], [1, 2, 3])
            row[1].set_xscale("log", base=2)
        return fig

    made = render.render("x", draw, "caption", formats=("png",))["x.png"]
    with matplotlib.rc_context(style.scaled(1.0)):
        buffer = io.BytesIO()
        draw().savefig(buffer, format="png", dpi=render.PNG_DPI, metadata=render.NO_DATE["png"])
    assert made == buffer.getvalue()
    render.render("x", lambda: draw(r"$\frac{1$"), "caption", formats=("png",))
