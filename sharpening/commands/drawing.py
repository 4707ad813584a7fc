"""The two options of every command that draws, and the line that says where the figure is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from sharpening.figures import render

Format = Literal["pdf", "png", "svg"]
FILES, SIZE = "files of the figure: pdf, png, svg", "inches, with its text and lines; as made for a paper if not given"
FORMATS: Any = Field(render.FORMATS, alias="format", min_length=1, description=FILES)
FIGURE_FORMATS: Any = Field(render.FORMATS, min_length=1, description=FILES)  # where --format means another thing
WIDTH: Any = Field(None, ge=1, le=40, allow_inf_nan=False, description=f"width of the figure in {SIZE}")


def figure_line(folder: Path, name: str, formats: Sequence[str]) -> str:
    """Where the figure is: the file that a reader opens first, the others, and the caption."""
    first, *others = sorted(dict.fromkeys(formats), key=("png", "svg", "pdf").index)
    also = f"and {', '.join(f'.{kind}' for kind in others)}, " if others else ""
    return f"figure: {folder / name}.{first} ({also}caption in {name}.txt)"
