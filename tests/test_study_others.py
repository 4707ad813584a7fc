"""The methods of a study that run once from every warm start, and what `check-shaper` foresees of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from sharpening.figures.tables import studies as study_tables
from sharpening.figures.tables.text import number
from sharpening.llm.studies import analysis, confirm
from tests.study_rows import STEPS, rows_of, summary

PRINTED = 1e-5  # of numbers with six digits


def with_slopes(rows: list[dict[str, Any]], factor: float, noise: float = 0.002) -> list[dict[str, Any]]:
    """Runs that sharpen by so many times what each problem alone would."""
    found = []
    for place, row in enumerate(row for row in rows if row["quantity"] == "slope"):
        found += [{**row, "quantity": "expected_slope", "value": 0.3}]
        found += [{**row, "quantity": "matched_slope", "value": 0.3 * factor + noise * (place % 3 - 1)}]
    return found


@pytest.mark.parametrize(
    ("of_class", "gentle", "of_ds", "verdicts"),
    [
        (2.05, 1.5, 1.5, ["agrees", "agrees"]),
        (2.05, 1.5, 2.06, ["not enough data", "agrees"]),  # DS is no rival then
        (1.5, 2.5, 1.5, ["differs", "differs"]),
        (2.24, 1.99, 1.5, ["not enough data", "not enough data"]),
    ],
)
def test_other_methods_are_held_against_what_check_shaper_foresees(of_class, gentle, of_ds, verdicts):
    """Those that see correctness alone sharpen as plain RL, two others less; edas and clip belong to neither."""
    rows = [*with_slopes(rows_of("plain", 0.0, 0.0), 2.0, 0.02), *with_slopes(rows_of("ds", 0.0, 0.0), of_ds)]
    others = {"grpo": of_class, "psr": of_class, "uarl": gentle, "mara": gentle, "edas": 9.0, "clip": 9.0}
    for name, factor in others.items():
        rows += with_slopes(rows_of(name, 0.0, 0.0, stage="others", number=3), factor)
    found = [one for one in confirm.rows_of(rows, STEPS) if one["claim"] in ("B4", "`check-shaper`")]
    assert [(one["claim"], one["num_runs"], one["verdict"]) for one in found] == [
        ("B4", 6, verdicts[0]),
        ("`check-shaper`", 6, verdicts[1]),
    ]
    assert [one["value"] for one in found] == pytest.approx([of_class - 2, gentle - 2])


def test_runs_that_are_no_pairs_have_welch_s_interval():
    """By the formula of a textbook: degrees of freedom between the smaller sample's and both together's."""
    ours, theirs = np.array([1.0, 2.0, 3.0, 6.0]), np.array([0.0, 0.1, 0.3])
    parts = np.array([np.var(values, ddof=1) / len(values) for values in (ours, theirs)])
    freedom = parts.sum() ** 2 / (parts**2 / [3, 2]).sum()
    reach = student.isf(0.025, freedom) * np.sqrt(parts.sum())
    middle = ours.mean() - theirs.mean()
    assert analysis.apart(ours, theirs) == pytest.approx((middle, middle - reach, middle + reach, 4))


def test_what_is_foreseen_is_plain_rl_s_for_methods_that_see_correctness_alone():
    ratios = {name: confirm.foreseen(name, 8) for name in ("grpo", "nsr", "ds", "uarl", "clip")}
    assert ratios == {
        "grpo": pytest.approx(1.0),
        "nsr": pytest.approx(1.0),
        "ds": pytest.approx((0.1062643 / 0.2856913) / (0.105 / 0.2479167), rel=PRINTED),  # as check-shaper prints them
        "uarl": pytest.approx((0.0581965 / 0.237583) / (0.105 / 0.2479167), rel=PRINTED),
        "clip": None,
    }


def test_other_methods_have_a_table_with_what_is_foreseen_of_them():
    """On its way uarl sharpens by half of plain RL, clip as much; nothing is foreseen of clip. G is 4."""
    rows: list[dict[str, Any]] = []
    for name, factor, stage in (("plain", 2.0, "comparison"), ("uarl", 1.0, "others"), ("clip", 2.0, "others")):
        rows += (own := rows_of(name, 0.1, 0.0, stage=stage))
        rows += with_slopes(own, factor)
    table = study_tables.others_markdown(summary(rows), confirm.others(rows, STEPS)).splitlines()
    uarl = f"{number(confirm.foreseen('uarl', 4))} |"
    assert [line.split(" | ")[-2:] for line in table[2:]] == [["1.000", "1.000 |"], [".500", uarl], ["1.000", "- |"]]
    assert [line.split(" | ")[0] for line in table[2:]] == ["| plain", "| uarl", "| clip"]


def test_nothing_is_foreseen_of_a_method_that_does_not_raise_correctness(monkeypatch):
    def against(*, reward):
        return reward.mean(axis=-1, keepdims=True) - reward

    own = dataclasses.replace(confirm.METHODS["grpo"], advantage=against)
    monkeypatch.setattr(confirm, "METHODS", {**confirm.METHODS, "grpo": own})
    assert confirm.foreseen("grpo", 4) is None
    assert confirm.foreseen("rloo", 4) == pytest.approx(1.0)


def test_others_have_a_row_and_no_outcome():
    rows = [*rows_of("plain", 0.0, 0.01), *rows_of("ds", 0.05, 0.01)]
    rows += rows_of("grpo", 0.1, 0.01, number=3, stage="others")
    told = analysis.outcomes(summary(rows), rows, STEPS)
    assert all(one["contestant"] != "grpo" for one in told)
    table = study_tables.standings_markdown(rows, summary(rows))
    assert "| ds |" in table
    assert "| DS |" in (short := study_tables.short_markdown(rows, summary(rows)))
    assert "grpo" not in table + short
    compared, others = study_tables.report(rows, summary(rows), told, [], 120).split(study_tables.OTHERS)
    assert "grpo" in others
    assert "grpo" not in compared
    assert table.splitlines()[2].startswith("| base | before training | .400 ± .000 |")
