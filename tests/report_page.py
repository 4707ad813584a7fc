"""A report as tests read it: its elements, its keyed numbers, and what a key means, from the CSV files alone.

Nothing of the report is imported here: keys are resolved a second time, by the standard library.
"""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

VOID = {"meta", "input", "br", "link", "img", "hr"}


class Page(HTMLParser):
    """The elements of a page: tags with attributes, texts of keyed numbers, and what is not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.keyed: list[tuple[str, str]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []  # the open tags, and the text in them
        self.faults: list[str] = []
        self._open: list[str] = []
        self._key: str | None = None
        self.feed(text)
        self.close()
        self.faults += [f"<{tag}> is not closed" for tag in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.tags.append((tag, found))
        if tag not in VOID:
            self._open.append(tag)
        if "data-row" in found:
            self._key = found["data-row"]
            self.keyed.append((self._key, ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing")
        if tag == "a":
            self._key = None

    def handle_data(self, data: str) -> None:
        if self._key is not None:
            key, text = self.keyed.pop()
            self.keyed.append((key, text + data))
        self.texts.append((tuple(self._open), data))

    def values(self, name: str) -> list[str]:
        """The values of an attribute, of all elements."""
        return [found[name] for _, found in self.tags if name in found]


def folder_of(run: str, stores: Iterable[Path]) -> Path:
    """The folder of a run: in the first store that has it."""
    return next(path for store in stores for path in sorted(store.glob(f"*/{run}")))


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The rows of a run as the text of their cells."""
    with (folder / "rows.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def resolved(key: str, stores: Iterable[Path]) -> str:
    """The text of what a key stands for."""
    run, what, *rest = key.split(":", 2)
    folder = folder_of(run, stores)
    if what == "made":
        return str(json.loads((folder / "provenance.json").read_text())[rest[0]])
    if what == "config":
        value = json.loads((folder / "config.json").read_text())["config"]
        for name in rest[0].split("/"):
            value = value[name]
        return str(value)
    where = key.partition("?")[2]
    wanted = [tuple(map(unquote, pair.split("="))) for pair in where.split("&")] if where else []
    rows = [row for row in rows_of(folder) if all(row[name] == value for name, value in wanted)]
    column = rest[0].partition("?")[0] if rest else ""
    if what.startswith("count"):
        return str(len(rows))
    if what == "distinct":
        return str(len({row[column] for row in rows}))
    if what == "mean":
        known = [float(row[column]) for row in rows if math.isfinite(float(row[column]))]
        return str(sum(known) / len(known) if known else math.nan)
    return rows_of(folder)[int(what)][column]


def agrees(text: str, value: str) -> bool:
    """Whether a text of the page is the value at the precision that the page prints."""
    if text == value or (text, value) in (("yes", "True"), ("no", "False"), ("-", "nan")):
        return True
    shown = text.replace(",", "")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]\d+)?", shown):
        return False
    digits, _, power = shown.partition("e")
    unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
    return abs(float(shown) - float(value)) <= 0.5000001 * unit


def faults(keyed: Iterable[tuple[str, str]], stores: Iterable[Path]) -> list[str]:
    """The keyed texts that are not what their rows say."""
    places = list(stores)
    found = []
    for key, text in keyed:
        value = resolved(key, places)
        if not agrees(text, value):
            found.append(f"{key} is {value}, and the page says {text}")
    return found
