"""The report as one HTML file: nothing is loaded from elsewhere, and the same runs give the same bytes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from sharpening.figures.report import account, answer, ledger, samples, simulated, trained
from sharpening.figures.report.keys import Run

TEMPLATES = Path(__file__).parent / "templates"


def rendered(template: str, **values: Any) -> str:
    """A template of this room with values, which are escaped, and the style sheet of the pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))
    return environment.get_template(template).render(style=style, **values)


def report(
    runs: Sequence[Run], twins: Mapping[str, Run], broken: Sequence[tuple[str, str]], *, version: str, title: str
) -> str:
    """The page of the runs of a store; pieces of sweeps are counted only, the others get a card each.

    `twins` and `broken` are as in `account.differs`.
    """
    whole = [run for run in runs if not run.is_piece]
    pieces = [run for run in runs if run.is_piece]
    first, claims = ledger.ledger(whole)
    sections = [
        samples.public_models(whole),
        trained.transformers(whole),
        trained.study(whole),
        *(trained.untuned(whole, preset) for preset in trained.UNTUNED_TITLES),
        trained.pretrained(whole),
        simulated.surveys(whole),
        ledger.verdicts(whole),
        simulated.theory(whole),
        simulated.simulations(whole),
        simulated.published(whole),
        samples.own_samples(whole),
    ]
    ran = account.ran(whole, pieces)
    return rendered(
        "report.html",
        title=title,
        version=version,
        answer=answer.answer(whole),
        sections=[ran, *sections, account.differs(whole, twins, broken), account.not_run([ran, *sections, first])],
        ledger=first,
        groups=[list(group) for _, group in itertools.groupby(claims, key=lambda claim: claim.id[0])],
        kinds=sorted({claim.kind for claim in claims}),
        cards=account.cards(whole),
        script=Markup((TEMPLATES / "page.js").read_text(encoding="utf-8")),
    )
