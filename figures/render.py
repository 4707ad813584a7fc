"""Turns a drawn figure into the bytes of its files: pictures and caption. Writing them is the result store's task."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from sharpening.figures.style import STYLE, scaled

PNG_DPI = 200
NO_DATE: Mapping[str, Any] = {  # byte-identical on re-run
    "pdf": {"CreationDate": None},
    "png": {"Software": None},
    "svg": {"Date": None},
}
FORMATS = ("pdf", "png")


def render(
    name: str,
    draw: Callable[[], Figure],
    caption: str,
    *,
    formats: Sequence[str] = FORMATS,
    width: float | None = None,
) -> Mapping[str, bytes]:
    """The files of one figure: NAME.pdf, NAME.png (or the formats asked for) and NAME.txt, the caption.

    The same rows give the same bytes on one platform and set of versions. The caption becomes one line. A width, in
    inches, makes the whole figure larger or smaller, text and lines with it.
    """
    factor = 1.0
    if width is not None:
        with matplotlib.rc_context(STYLE):
            factor = width / draw().get_figwidth()
    with matplotlib.rc_context(scaled(factor)):
        files = {f"{name}.{kind}": _saved(draw(), kind, factor) for kind in formats}
    return {**files, f"{name}.txt": (" ".join(caption.split()) + "\n").encode()}


def _saved(figure: Figure, kind: str, factor: float) -> bytes:
    """A figure that was not saved before: saving one moves what is laid out, and the next file would be another."""
    texts = figure.findobj(Text, include_self=False)  # which makes all ticks
    of_ticks = _tick_labels(figure)
    for text in texts:
        if text not in of_ticks:  # a name of a file may hold any sign
            text.set_parse_math(False)
    figure.set_size_inches(figure.get_figwidth() * factor, figure.get_figheight() * factor)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=NO_DATE[kind])
    return buffer.getvalue()


def _tick_labels(figure: Figure) -> set[Text]:
    """The labels of ticks, which write powers of ten as mathematics."""
    ticks = (
        tick for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in (*axis.majorTicks, *axis.minorTicks)
    )
    return {label for tick in ticks for label in (tick.label1, tick.label2)}
