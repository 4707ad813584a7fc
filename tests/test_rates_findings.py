"""What README and the page on rates say is built from the committed runs, and compared with the text."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sharpening.figures.tables import rates as rate_tables
from sharpening.figures.tables.text import number
from tests import pages

ROWS = {name: pages.rows_of(name) for name in ("rates_public", "rates_training")}


def words(page: str) -> str:
    """A page in one line."""
    return " ".join(re.sub(r"\]\([^)]*\)|\[(?=[A-Z])", "", pages.text(page)).split())


def one(name: str, quantity: str, law: str = "affine", **where: Any) -> dict[str, Any]:
    return dict(rate_tables.one(ROWS[name], quantity, law, **where))


def short(value: float, digits: int = 2) -> str:
    """As the pages write it: without a leading zero."""
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def bounds(row: dict[str, Any]) -> str:
    return f"{short(row['value'])} [{short(row['low'])}, {short(row['high'])}]"


def change(value: float) -> str:
    return number(value, "+")


def phrases() -> list[tuple[str, str]]:
    """Pages, and what they have to say."""
    public, training = "rates_public", "rates_training"
    shift, slope = one(public, "parameter shift"), one(public, "parameter slope")
    still = rate_tables.rate(-shift["value"] / slope["value"])
    seen = one(public, "observed_difference", "", k=128)
    implied, plain, never = (
        one(public, f"implied_{which}", k=128)["value"] for which in ("difference", "without_spread", "never_solved")
    )
    behind = [one(public, "behind", law) for law in ("threshold", "proportional")]
    gains = {
        row["law"]: row["value"]
        for row in ROWS[training]
        if row["part"] == "training" and row["quantity"] == "log_likelihood"
    }
    page = "docs/rates.md"
    return [
        ("README.md", f"by {short(shift['value'])} at a rate of 1/2, and {bounds(slope)} more"),
        ("README.md", f"solved less than {still} of the time became harder"),
        (page, f"moved by +{bounds(shift)} at a rate of 1/2, and by {bounds(slope)} more for every unit"),
        (page, f"raised to the power {1 + slope['value']:.2f} and multiplied by"),
        (page, f"solved less than {still} of the time"),
        (page, f"with standard deviation {bounds(one(public, 'spread'))}"),
        (page, " and ".join(f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]" for row in behind)),
        (page, f"changed by {number(seen['value'])} [{number(seen['low'])}, {number(seen['high'])}]"),
        (page, f"The fitted law gives {change(implied)}, half of it"),
        (page, f"the same law without its spread {change(plain)}. Of the law's {change(implied)}"),
        (page, f"Of the law's {change(implied)}, {change(never)} comes from problems without a correct sample before"),
        (page, f"raised pass@128 by {number(one(public, 'implied_difference', 'common', k=128)['value'])}"),
        (
            page,
            "the slope is "
            + " and ".join(
                short(one(public, "parameter slope", part=part)["value"]) for part in ("gaokao2023en", "olympiadbench")
            ),
        ),
        (page, f"slope {bounds(one(training, 'parameter slope'))}"),
        (page, f"(p = {short(one(training, 'misfit_p', 'threshold')['value'])})"),
        (page, f"by {gains['a spread'] - gains['one curve']:,.0f} nats, and than one with a line, by"),
        (page, f"with a line, by {gains['a line'] - gains['one curve']:.0f}."),
    ]


@pytest.mark.parametrize(("page", "phrase"), phrases())
def test_a_page_says_what_the_run_shows(page: str, phrase: str) -> None:
    assert phrase in words(page)


def test_one_law_of_eleven_is_not_rejected() -> None:
    """On the public pair: the line; on the training rates a threshold is not either, and a common shift is."""
    kept = {
        name: {row["law"] for row in rows if row["quantity"] == "misfit_p" and row["value"] >= rate_tables.LEVEL}
        for name, rows in ROWS.items()
    }
    assert kept == {"rates_public": {"affine"}, "rates_training": {"affine", "threshold"}}
    assert len(rate_tables.laws_of(ROWS["rates_public"])) == 11
    assert {rate_tables.chosen_law(rows) for rows in ROWS.values()} == {"affine"}


@pytest.mark.parametrize("name", ROWS)
def test_the_second_likelihood_is_within_half_a_standard_error(name: str) -> None:
    for quantity in ("parameter shift", "parameter slope", "spread"):
        row, second = one(name, quantity), one(name, f"second {quantity}")
        assert abs(second["value"] - row["value"]) < (row["high"] - row["low"]) / (2 * 1.96) / 2
