"""What the page of findings says of shared parameters is in the committed runs, and was predicted before them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sharpening.figures.tables import transfer as tables
from sharpening.storage import store
from tests import pages

WORDS = " ".join(pages.text("docs/findings.md").split())
PREDICTION, MEASURED = "transfer_prediction", "transfer_measured"
FRESH = {"seed_3": "seed 3", "half_rate": "learning rate 1e-4", "psr": "`psr`"}


def rows(name: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["model"], row["quantity"]): row for row in pages.rows_of(name)}


def short(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"


def stated(row: dict[str, Any], digits: int = 3) -> str:
    if not row["has_interval"]:
        return short(row["value"], digits)
    return f"{short(row['value'], digits)} [{short(row['low'], digits)}, {short(row['high'], digits)}]"


@pytest.mark.parametrize("quantity", tables.PREDICTED)
def test_predictions_stand_as_they_were_written(quantity: str) -> None:
    found = rows(PREDICTION)
    line = " | ".join(stated(found["before", quantity + suffix]) for suffix in tables.SETS)
    assert f"| {line} |" in WORDS
    assert rows(MEASURED)["before", quantity]["value"] == pytest.approx(found["before", quantity]["value"])


@pytest.mark.parametrize("model", FRESH)
def test_what_was_measured_and_whether_it_hits(model: str) -> None:
    found, predicted = rows(MEASURED), rows(PREDICTION)
    over, rise, per_nat = (
        found[model, quantity] for quantity in ("slope_over_matched", "logit_rise", "slope_per_nat_measured")
    )
    cells = [FRESH[model]]
    for row, bounds in (
        (over, predicted["before", "shared_over_tabular"]),
        (per_nat, predicted["before", "slope_per_nat_shared"]),
    ):
        is_hit = bounds["low"] <= row["value"] <= bounds["high"]
        cells.append(f"{stated(row, 2)}, {'hit' if is_hit else 'miss'}")
    cells.insert(2, stated(rise, 2))
    assert f"| {' | '.join(cells)} |" in WORDS
    outcome = tables.outcome([found[model, quantity] for quantity in tables.SCALES["over that of prompts alone (*)"]])
    assert f"| {' | '.join(cells)} | {outcome.partition(',')[0].partition(' with')[0]} |" in WORDS


def test_the_prediction_is_older_than_the_runs_and_all_are_of_clean_trees() -> None:
    names = [PREDICTION, MEASURED, "laptop_plain_3", "laptop_half_rate", "laptop_psr"]
    found = [json.loads((pages.run_of(name) / "provenance.json").read_text(encoding="utf-8")) for name in names]
    assert not any(one["is_dirty"] for one in found)
    assert all(one["started"] > found[0]["started"] for one in found[1:])
    assert all(store.verify_run(pages.run_of(name)) == [] for name in names)
