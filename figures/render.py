"""Turns a drawn figure into the bytes of its files: PDF, PNG and caption. Writing them is the result store's task."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from sharpening.figures.style import STYLE

PNG_DPI = 200
NO_DATE = {"pdf": {"CreationDate": None}, "png": {"Software": None}}  # byte-identical on re-run


def render(name: str, draw: Callable[[], Figure], caption: str) -> Mapping[str, bytes]:
    """The files of one figure: NAME.pdf, NAME.png and NAME.txt, the caption.

    The same rows give the same bytes on one platform and set of versions. The caption becomes one line.
    """
    with matplotlib.rc_context(STYLE):
        figure = draw()
        files = {f"{name}.{kind}": _saved(figure, kind, metadata) for kind, metadata in NO_DATE.items()}
    return {**files, f"{name}.txt": (" ".join(caption.split()) + "\n").encode()}


def _saved(figure: Figure, kind: str, metadata: Mapping[str, Any]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=PNG_DPI, metadata=metadata)
    return buffer.getvalue()
