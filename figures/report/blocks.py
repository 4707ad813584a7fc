"""What sections of the report are made of: paragraphs, tables and figures, from the rows of runs."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from sharpening.figures import render
from sharpening.figures.report.keys import Keyed, Run

NOT_RUN = "not run"
REFERENCES = re.compile(r'(\bid="|href="#|url\(#)')
PROLOGUE = re.compile(r"^.*?(?=<svg )|<metadata>.*?</metadata>|\s(?:width|height)=\"[\d.]+pt\"", re.DOTALL)
Cell = str | Keyed | Markup


@dataclass(frozen=True)
class Table:
    """A table with a caption; its first column names the rows."""

    caption: str | Markup
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Figure:
    """A drawing with its caption and the run that it shows."""

    name: str
    svg: Markup
    caption: Markup


@dataclass
class Section:
    """A section of the page; what it lacks is named together with the command that makes it."""

    id: str
    title: str
    paragraphs: list[Markup] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)

    def say(self, words: str, *values: Any) -> None:
        """Adds a paragraph; values are escaped, keyed ones become links."""
        self.paragraphs.append(told(words, *values))

    def lack(self, what: str, command: str) -> None:
        """Says that something was not run, and what would run it."""
        self.missing.append((what, command))


def told(words: str, *values: Any, **named: Any) -> Markup:
    """A sentence with values in it."""
    return Markup(words).format(*values, **named)


def figures_of(run: Run) -> list[Figure]:
    """The figures of a run, drawn from its rows."""
    made = []
    for picture in run.pictures:
        drawn = svg(picture.name, run.id, functools.partial(picture.draw, run.rows))
        caption = told("{caption} {link}", caption=picture.caption or picture.name, link=link(run))
        made.append(Figure(picture.name, drawn, caption))
    return made


def link(run: Run) -> Markup:
    """A link to a run in the list of runs."""
    return Markup('<a class="run" href="#run-{}">{}</a>').format(run.id, run.name or run.id)


def svg(name: str, run: str, draw: Callable[[], Any]) -> Markup:
    """The drawing as an element of the page: as wide as there is room, its ids its own."""
    text = render.render(name, draw, "", formats=("svg",))[f"{name}.svg"].decode()
    text = REFERENCES.sub(rf"\g<1>{name}-{run}-", PROLOGUE.sub("", text))
    return Markup(text.replace("<svg ", f'<svg role="img" aria-label="{name.replace("_", " ")}" ', 1))


def whole_table(run: Run, caption: str | Markup, most: int = 60) -> Table:
    """The rows of a run as they are, at most so many."""
    columns = list(run.rows[0])
    body = [[run.cell(place, column) for column in columns] for place in range(min(most, len(run.rows)))]
    left = f" The first {most} of {len(run.rows):,} rows." if len(run.rows) > most else ""
    return Table(caption + left, [column.replace("_", " ") for column in columns], body)


def direction(low: float, high: float, up: str, down: str, level: str) -> str:
    """The word for a change whose interval is above 0, below it, or has it inside."""
    return up if low > 0 else down if high < 0 else level
