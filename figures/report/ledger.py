"""Sections about the theory: the ledger of claims with its mathematics as MathML, and the verdicts of all methods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from latex2mathml.converter import convert
from markupsafe import Markup

from sharpening.figures.report.blocks import Cell, Section, Table, link, told
from sharpening.figures.report.keys import Keyed, Run, best
from sharpening.figures.tables import shapers

GROUPS = {
    "A": "The optimum with a KL penalty",
    "B": "Exact gradient flows",
    "C": "Finite groups",
    "D": "From answers to pass@k",
    "E": "What tells methods apart",
    "F": "Shared parameters, and what evens answers out",
    "G": "Sharing the reward by rarity, and what no method can do",
}
BIG = re.compile(r"\\[bB]igg?[lr]?\\(?=[{}])")


MATHML = "{http://www.w3.org/1998/Math/MathML}"
ELEMENTS = frozenset({"math", "mfrac", "mi", "mn", "mo", "mover", "mrow", "mspace", "msqrt", "mstyle", "mtext"})
SCRIPTS = frozenset({"msub", "msup", "msubsup", "munder", "munderover"})
STYLES = frozenset(
    {"accent", "display", "displaystyle", "fence", "form", "linethickness", "mathvariant", "scriptlevel"}
)
SIZES = frozenset({"maxsize", "minsize", "stretchy", "width"})
DRAWN = ELEMENTS | SCRIPTS | STYLES | SIZES  # names of elements and attributes that formulas become


@dataclass(frozen=True)
class Claim:
    """A line of the ledger as the page shows it."""

    id: str
    kind: str
    status: str
    formula: Markup
    cells: Mapping[str, Keyed]

    @property
    def group(self) -> str:
        """What the claims of its letter are about."""
        return GROUPS.get(self.id[0], "Others")


def mathematics(latex: str) -> Markup:
    r"""A formula as MathML, which browsers draw by themselves; as it was written where something else would come out.

    latex2mathml knows neither \arg nor \big\{, and does not escape what stands in \text.
    """
    text = convert(BIG.sub(r"\\", latex).replace(r"\arg", r"\operatorname{arg}"))
    try:
        elements = list(ElementTree.fromstring(text).iter())
    except ElementTree.ParseError:
        elements = []
    names = {name for element in elements for name in (element.tag.removeprefix(MATHML), *element.attrib)}
    return Markup(text) if elements and names <= DRAWN else Markup("<code>{}</code>").format(latex)


def ledger_run(runs: Sequence[Run]) -> Run | None:
    """The run of `check` that has the whole ledger."""
    return best((run for run in runs if not run.config.get("only")), command="check")


def ledger(runs: Sequence[Run]) -> tuple[Section, list[Claim]]:
    """The section about the claims, and the claims."""
    section = Section("ledger", "The theory, as claims that can fail")
    run = ledger_run(runs)
    if run is None:
        section.lack("the ledger of claims", "sharpening check --out results")
        return section, []
    section.say(
        "Each of {} claims was checked by symbols, by listing all groups, by numbers or by a search: {} hold and {} "
        "fail ({}). The margin is the largest violation met; a claim holds if it is at most the tolerance. In "
        "formulas Q is the correctness, b the policy before RL, C and W are the correct and the wrong answers.",
        run.count(),
        run.count(status="holds"),
        run.count(status="fails"),
        link(run),
    )
    section.say(
        "To check one, and to read its derivation: <code>sharpening check --only C1.4</code>, <code>sharpening check "
        "--explain C1.4</code>"
    )
    columns = ("statement", "hypotheses", "source", "kind", "status", "instances", "worst_margin", "tolerance")
    claims = []
    for place, row in enumerate(run.rows):
        cells = {name: run.cell(place, name) for name in columns}
        claims.append(Claim(row["id"], row["kind"], row["status"], mathematics(row["latex"]), cells))
    return section, claims


def verdicts(runs: Sequence[Run]) -> Section:
    """What every method does to correct answers, by `check-shaper --all`."""
    section = Section("verdicts", "What every method does")
    whole = [run for run in runs if run.config.get("command") == "check-shaper"]
    run = max(whole, key=lambda run: (len(run.rows), run.is_own, str(run.made.get("started"))), default=None)
    if run is None:
        section.lack("verdicts of all methods", "sharpening check-shaper --all --out results")
        return section
    section.say(
        "{} methods, each at its own default strength, by exact expected steps ({}). {}",
        run.count(),
        link(run),
        " ".join(shapers.LEGEND),
    )
    columns = list(run.rows[0])[1:]  # in the order of the printed table
    rows: list[list[Cell]] = [
        [row["method"], *(run.cell(place, name) for name in columns)] for place, row in enumerate(run.rows)
    ]
    section.tables.append(Table(told("Verdicts ({}).", link(run)), ["method", *shapers.COLUMNS.values()], rows))
    return section
