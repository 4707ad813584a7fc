"""Text of a given width: wrapped paragraphs, and tables that fit. Strings from values, no files.

A table that is too wide goes below itself in parts, its first column before each. Columns that nobody asked for by name
are left out instead, see `spread`.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import isfinite, log
from typing import Any

WIDEST_PROSE = 120  # longer lines are hard to read
INDENT = GAP = "  "
ESTIMATE = re.compile(r"\S*\d \[[^\]]*\]")
NO_BREAK = "\xa0"
CELL = "+.000 [-.000, +.000]"  # the widest of a table of pass@k


def paragraph(text: str, width: int, *, first: str = INDENT, later: str = INDENT) -> str:
    """The text in lines of at most `width` characters; names are not broken, nor a number from its interval."""
    whole = ESTIMATE.sub(lambda found: found[0].replace(" ", NO_BREAK), text)
    lines = textwrap.fill(
        whole,
        min(width, WIDEST_PROSE),
        initial_indent=first,
        subsequent_indent=later,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines.replace(NO_BREAK, " ")


def section(heading: str, body: Iterable[str], width: int) -> str:
    """A heading and what stands below it."""
    return "\n".join([paragraph(heading, width, first="", later=""), *body])


def notes(texts: Iterable[str], width: int) -> list[str]:
    """Paragraphs below a heading or a table."""
    return [paragraph(text, width) for text in texts]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> str:
    """Columns, the first to the left and the others to the right, in as many parts as the width asks for."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(header))]
    room = width - len(INDENT) - widths[0]
    parts: list[list[int]] = [[]]
    for place in range(1, len(header)):
        if parts[-1] and sum(len(GAP) + widths[k] for k in (*parts[-1], place)) > room:
            parts.append([])
        parts[-1].append(place)
    return "\n\n".join(
        "\n".join(
            INDENT + GAP.join([row[0].ljust(widths[0]), *(row[place].rjust(widths[place]) for place in part)])
            for row in cells
        )
        for part in parts
    )


def spread(ks: Sequence[int], first: Iterable[str], width: int, needed: Collection[int] = ()) -> list[int]:
    """As many k's as columns of estimates fit beside a first column: evenly, with both ends and those that are needed.

    >>> spread([1, 2, 4, 8, 16, 32, 64], ["base", "ds"], 80)
    [1, 8, 64]
    >>> spread([1, 2, 4, 8, 16, 32, 64], ["base", "ds"], 80, needed=[4])
    [1, 4, 64]
    """
    room = (width - len(INDENT) - max(map(len, first))) // (len(GAP) + len(CELL))
    most = min(len(ks), max(2, room))
    chosen = [ks[round(place * (len(ks) - 1) / max(1, most - 1))] for place in range(most)]
    kept = {ks[0], ks[-1], *needed}
    for k in sorted(kept.difference(chosen)):
        if free := [one for one in chosen if one not in kept]:
            chosen.remove(min(free, key=lambda one: abs(log(one / k))))
        chosen.append(k)
    return sorted(chosen)


def number(value: float, sign: str = "") -> str:
    """Three decimals without a leading zero; `sign` is "+" where gains show theirs too.

    >>> number(0.5), number(-0.0625, "+"), number(0.0625, "+"), number(28.5)
    ('.500', '-.062', '+.062', '28.500')
    """
    text = f"{value:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def estimate(value: float, low: float, high: float, sign: str = "") -> str:
    """A value with its interval in brackets, unless that is infinite."""
    if not (isfinite(low) and isfinite(high)):
        return number(value, sign)
    return f"{number(value, sign)} [{number(low, sign)}, {number(high, sign)}]"


def cell(rows: Sequence[Mapping[str, Any]], sign: str = "") -> str:
    """The value of the one row that there is, with its interval if it has one; else a dash."""
    if not rows:
        return "-"
    (row,) = rows
    return estimate(row["value"], row["low"], row["high"], sign) if row["has_interval"] else number(row["value"], sign)
