"""Stored runs as the report sees them, and values that carry the key of the rows they come from.

A key is `RUN:ROW:COLUMN`, a cell, rows counted from 0; `RUN:mean:COLUMN?NAME=VALUE&...`, the mean of a column over the
rows with these values; `RUN:count?NAME=VALUE&...`, the number of such rows; `RUN:distinct:COLUMN`, the number of
different values; `RUN:made:NAME`, an entry of the run's provenance; `RUN:config:NAME/NAME`, one of its configuration.
Names and values are quoted as in an address.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

Row = Mapping[str, Any]
PRESETS = ("smoke", "laptop", "full")
UNTUNED = ("one-rate", "ablations", "pretrained")  # studies: at one rate, of single parts of DS, of a larger model


@dataclass(frozen=True)
class Keyed:
    """A text of the page with the key of what it is made from."""

    text: str
    key: str

    def __html__(self) -> str:
        """A link to the run in the list of runs."""
        run = self.key.partition(":")[0]
        return Markup('<a class="n" href="#run-{}" data-row="{}">{}</a>').format(run, self.key, self.text)


@dataclass(frozen=True)
class Picture:
    """A figure of a run: what draws it from the rows, and its caption."""

    name: str
    caption: str
    draw: Callable[[list[dict[str, Any]]], Any]


@dataclass(frozen=True)
class Run:
    """A stored run; `name` and `what` are of committed runs, `again` is the command that makes it again."""

    id: str
    layer: str
    path: str
    config: Mapping[str, Any]
    made: Mapping[str, Any]
    read: Callable[[], list[dict[str, Any]]]
    is_own: bool
    name: str = ""
    what: str = ""
    again: str = ""
    pictures: tuple[Picture, ...] = ()

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The rows, read when first asked for."""
        return self.read()

    @property
    def is_piece(self) -> bool:
        """Whether it is a piece of a sweep, which other runs are made of."""
        return "task" in self.config and "command" not in self.config

    def where(self, **values: Any) -> list[int]:
        """The places of the rows that have these values."""
        return [place for place, row in enumerate(self.rows) if all(row[name] == values[name] for name in values)]

    def place(self, **values: Any) -> int:
        """The place of the one row that has these values."""
        (found,) = self.where(**values)
        return found

    def cell(self, place: int, column: str, sign: str = "") -> Keyed:
        """A cell as the page shows it."""
        return Keyed(shown(self.rows[place][column], sign), f"{self.id}:{place}:{column}")

    def estimate(self, place: int, ends: tuple[str, str] = ("low", "high"), sign: str = "") -> Markup:
        """The value of a row with its interval, if it has one."""
        value, low, high = (self.cell(place, column, sign) for column in ("value", *ends))
        row = self.rows[place]
        if not (row["has_interval"] and all(math.isfinite(row[end]) for end in ends)):
            return Markup("{}").format(value)
        return Markup("{} [{}, {}]").format(value, low, high)

    def mean(self, column: str, **values: Any) -> Keyed:
        """The mean of a column over the rows that have these values and a number there."""
        return Keyed(shown(self.mean_value(column, **values)), f"{self.id}:mean:{column}{_asked(values)}")

    def mean_value(self, column: str, **values: Any) -> float:
        """The same as a number; NaN where there is none."""
        found = [float(self.rows[place][column]) for place in self.where(**values)]
        known = [value for value in found if math.isfinite(value)]
        return math.fsum(known) / len(known) if known else math.nan

    def count(self, **values: Any) -> Keyed:
        """How many rows have these values."""
        return Keyed(shown(len(self.where(**values))), f"{self.id}:count{_asked(values)}")

    def distinct(self, column: str) -> Keyed:
        """How many different values a column has."""
        return Keyed(shown(len({row[column] for row in self.rows})), f"{self.id}:distinct:{column}")

    def configured(self, *names: str) -> Keyed:
        """An entry of the configuration, of an entry of it for more than one name."""
        value: Any = self.config
        for name in names:
            value = value[name]
        return Keyed(shown(value), f"{self.id}:config:{'/'.join(names)}")

    def provenance(self, name: str) -> Keyed:
        """An entry of the provenance."""
        return Keyed(shown(self.made.get(name, "unknown")), f"{self.id}:made:{name}")


def _asked(values: Mapping[str, Any]) -> str:
    pairs = "&".join(f"{quote(name, safe='')}={quote(str(value), safe='')}" for name, value in values.items())
    return f"?{pairs}" if pairs else ""


def shown(value: Any, sign: str = "") -> str:
    """A cell as text: three decimals below 1, fewer above; small numbers with two digits, or by their power of ten.

    >>> shown(0.6038), shown(-0.0198, "+"), shown(12.345), shown(8e-4), shown(5e-16), shown(1200), shown(True)
    ('.604', '-.020', '12.3', '.0008', '5.0e-16', '1,200', 'yes')
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:{sign},}"
    if not math.isfinite(value):
        return "-" if math.isnan(value) else f"{value}"
    value += 0.0  # no minus before 0
    size = abs(value)
    if 0 < size < 5e-4:
        return f"{value:{sign}.1e}"
    if 0 < size < 5e-3:
        return f"{value:{sign}.2g}".replace("0.", ".", 1)
    if size < 1:
        return f"{value:{sign}.3f}".replace("0.", ".", 1)
    if value == int(value):
        return f"{value:{sign},.0f}"
    return f"{value:{sign},.{2 if size < 10 else 1 if size < 1000 else 0}f}"


def best(runs: Iterable[Run], **wanted: Any) -> Run | None:
    """Of the runs with these values in their configuration the largest preset, one's own first, the newest."""

    def order(run: Run) -> tuple[int, bool, str, str]:
        preset = run.config.get("preset")
        size = PRESETS.index(preset) if preset in PRESETS else len(PRESETS)
        return (size, run.is_own, str(run.made.get("started", "")), run.id)

    found = (run for run in runs if all(run.config.get(name) == value for name, value in wanted.items()))
    return max(found, key=order, default=None)


def of_tuned(runs: Iterable[Run]) -> list[Run]:
    """All but the studies in which nothing is tuned."""
    return [run for run in runs if run.config.get("preset") not in UNTUNED]


def named(runs: Iterable[Run], name: str) -> Run | None:
    """The run that has this name among the committed ones, if it is there."""
    return next((run for run in runs if run.name == name), None)
