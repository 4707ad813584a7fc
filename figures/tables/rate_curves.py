"""What `rates --curves` prints: which laws the curves of each set allow. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.rate_curves import change, last_k, nearest_law, sets_of
from sharpening.figures.drawing.theory import select
from sharpening.figures.tables.rates import LEVEL, chance
from sharpening.figures.tables.text import cell, notes, number, section, table

Row = Mapping[str, Any]
LIMITS = (
    "Curves are means over problems: a wide spread between problems and a shift that grows with the rate can give "
    "nearly the same curves, so laws that fit are allowed, not shown. Counts of every problem tell them apart better "
    "(rates BEFORE AFTER).",
    "p is for one law on one set, and approximate: the squared misfit taken as chi-squared. Models that were trained "
    "in another way than by plain RL are described by these laws, not explained.",
)


def report(rows: Sequence[Row], words: Mapping[str, str], width: int) -> str:
    """The verdict, a line a set, the laws on every set, and what this does not show."""
    names = sets_of(rows)
    laws = list(dict.fromkeys(str(row["law"]) for row in rows if row["law"]))
    meanings = [f"{law}: {words[law]}." for law in laws]
    return (
        "\n\n".join(
            [
                section("VERDICT", notes([_sentence(rows, part) for part in names], width), width),
                section("CHANGE OF PASS@K, seen and implied", [_changes(rows, names, width)], width),
                section(
                    "LAWS: p on every set, small where a law does not fit",
                    [_laws(rows, names, laws, width), "", *notes([" ".join(meanings)], width)],
                    width,
                ),
                section("WHAT THIS DOES NOT SHOW", notes(LIMITS, width), width),
            ]
        )
        + "\n"
    )


def _sentence(rows: Sequence[Row], part: str) -> str:
    name, k = nearest_law(rows, part), last_k(rows, part)
    p = {row["law"]: row["value"] for row in select(rows, part=part, quantity="misfit_p")}
    spread = select(rows, part=part, law=name, quantity="spread")[0]
    allowed = [law for law, value in p.items() if value >= LEVEL]
    changes = " and ".join(f"pass@{k} by {number(change(rows, part, k), '+')}" for k in (1, k))
    fits = f"{len(allowed)} of {len(p)} laws fit" if allowed else f"none of {len(p)} laws fits"
    common = "fits" if "common" in allowed else "does not"
    return (
        f"{part}: training changed {changes}. {fits[0].upper()}{fits[1:]}, the common shift {common}; nearest: {name} "
        f"({chance(p[name])}), with a spread between problems of {cell([spread])}."
    )


def _changes(rows: Sequence[Row], names: Sequence[str], width: int) -> str:
    body = []
    for part in names:
        k, name = last_k(rows, part), nearest_law(rows, part)
        size = [
            select(rows, part=part, law="", quantity=which)[0]["value"] for which in ("num_problems", "num_samples")
        ]
        body.append(
            [
                part,
                f"{size[0]:.0f} x {size[1]:.0f}",
                *(" / ".join(number(change(rows, part, k, law), "+") for law in ("", name, "common")) for k in (1, k)),
                " / ".join(
                    f"{select(rows, part=part, law=law, quantity=which)[0]['value']:.3f}"
                    for law, which in (("", "solved_by_both"), (name, "implied_both"), ("common", "implied_both"))
                ),
            ]
        )
    header = ["set", "problems x samples", "k = 1: seen / nearest / common", "largest k: the same", "solved by both"]
    return table(header, body, width)


def _laws(rows: Sequence[Row], names: Sequence[str], laws: Sequence[str], width: int) -> str:
    body = []
    for law in laws:
        cells = []
        for part in names:
            p = select(rows, part=part, law=law, quantity="misfit_p")[0]["value"]
            mean = select(rows, part=part, law=law, quantity="mean_shift")[0]["value"]
            spread = select(rows, part=part, law=law, quantity="spread")[0]["value"]
            told = chance(p).removeprefix("p ").removeprefix("= ")
            cells.append(f"{told}; {mean:+.1f}, {spread:.1f}" if p >= LEVEL else told)
        body.append([law, *cells])
    return table(["law (mean shift, spread)", *names], body, width)
