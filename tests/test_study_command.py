"""What a study says of its runs, and the command that runs it."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from pydantic import BaseModel
from scipy.stats import t as student
from scipy.stats import ttest_rel

from sharpening import cli
from sharpening.commands.study import StudyOptions
from sharpening.figures.tables import studies as study_tables
from sharpening.figures.tables.text import number
from sharpening.llm.studies import analysis, confirm
from sharpening.storage import store, sweep
from tests import pages
from tests.study_rows import MADE_UP, STEPS, rows_of, summary
from tests.tolerances import FLOAT64


def test_a_difference_is_that_of_pairs_with_its_own_interval():
    """Six runs whose common noise is ten times their own: pairs see a shift that two means do not."""
    ds, plain = rows_of("ds", 0.05, 0.01), rows_of("plain", 0.0, 0.01)
    found = {(row["contestant"], row["against"], row["quantity"], row["at"]): row for row in summary(ds, plain)}
    values = [
        [row["value"] for row in part if (row["quantity"], row["step"], row["at"]) == ("pass_at_k", STEPS, 8)]
        for part in (ds, plain)
    ]
    want = ttest_rel(*values).confidence_interval(0.95)
    row = found["ds", "plain", "pass_at_k", 8.0]
    np.testing.assert_allclose((row["low"], row["high"]), want, rtol=FLOAT64)
    assert row["low"] > 0
    assert row["num_runs"] == 6
    mean = found["ds", "", "pass_at_k", 8.0]
    half = student.ppf(0.975, 5) * np.std(values[0], ddof=1) / np.sqrt(6)
    np.testing.assert_allclose((mean["low"], mean["high"]), np.mean(values[0]) + half * np.array([-1, 1]), rtol=FLOAT64)
    before = found["", "before", "pass_at_k", 8.0]
    assert (before["value"], before["num_runs"]) == (pytest.approx(0.4), 3)  # a warm start is one value
    assert found["plain", "ds", "pass_at_k", 8.0]["value"] == pytest.approx(-row["value"])


def test_what_was_drawn_before_training_is_the_mean_over_the_runs_of_a_warm_start():
    rows = rows_of("plain", 0.0, 0.0)
    rows = [{**row, "value": 0.1 * (row["seed"] - 100)} if not row["step"] else row for row in rows]
    before = next(row for row in summary(rows) if row["against"] == "before" and row["at"] == 8)
    assert (before["value"], before["num_runs"]) == (pytest.approx(0.25), 3)  # seeds 100 to 105


def test_pairs_are_runs_with_the_same_warm_start_and_seed_alone():
    ds, plain = rows_of("ds", 0.05, 0.0), rows_of("plain", 0.0, 0.0)
    shuffled = [row for row in reversed(plain) if row["seed"] != 103]
    row = next(row for row in summary(ds, shuffled) if (row["against"], row["quantity"]) == ("plain", "pass_at_k"))
    assert (row["num_runs"], row["value"]) == (5, pytest.approx(0.05))
    assert row["high"] - row["low"] < 1e-12


@pytest.mark.parametrize(
    ("of_64", "of_1", "wanted"),
    [
        ((0.01, 0.03), (-0.01, 0.01), "wins"),
        ((0.01, 0.03), (-0.03, 0.01), "undecided"),  # pass@1 may be too low
        ((-0.01, 0.03), (0.1, 0.2), "undecided"),  # more pass@1 alone does not win
        ((-0.03, -0.01), (0.1, 0.2), "loses"),
        ((0.01, 0.03), (-0.09, -0.021), "loses"),
        ((0.01, 0.03), (-0.0199, 0.01), "wins"),
    ],
)
def test_the_outcome_follows_the_rule(of_64, of_1, wanted):
    found = [
        {"contestant": "ds", "against": "plain", "quantity": "pass_at_k", "at": at, "low": low, "high": high}
        for at, (low, high) in ((64.0, of_64), (1.0, of_1))
    ]
    assert analysis.outcome(found, "ds", "plain") == wanted


def test_holm_asks_more_of_the_smallest_and_stops_at_the_first_that_fails():
    """p-values .02 and .04 are both apart; .03 and .04 neither, though each is below .05."""

    def with_p(p_value: float, number: int = 10) -> np.ndarray:
        rest = np.linspace(-1, 1, number)
        rest -= rest.mean()
        return rest + student.isf(p_value / 2, number - 1) * np.std(rest, ddof=1) / np.sqrt(number)

    assert analysis.holm([with_p(0.04), with_p(0.02)]) == [True, True]
    assert analysis.holm([with_p(0.04), with_p(0.03)]) == [False, False]
    assert analysis.holm([with_p(0.02), with_p(0.06)]) == [True, False]
    assert analysis.holm([np.zeros(4), np.ones(4)]) == [False, True]


def test_outcomes_name_every_rival_and_the_secondary_measures():
    rows = [*rows_of("plain", 0.0, 0.01), *rows_of("ds", 0.05, 0.01), *rows_of("ips", -0.1, 0.01)]
    told = {
        (one["contestant"], one["against"]): one["outcome"] for one in analysis.outcomes(summary(rows), rows, STEPS)
    }
    assert told == {
        ("ds", "plain"): "wins",
        ("ips", "plain"): "loses",
        ("ips", "ds"): "loses",
        ("ds", "plain: pass_at_k 8"): "higher",
        ("ds", "plain: effective_answers 0"): "higher",
    }
    outcomes, predicted = analysis.outcomes(summary(rows), rows, STEPS), confirm.rows_of(rows, STEPS)
    text = study_tables.report(rows, summary(rows), outcomes, predicted, 100)
    assert "ds against plain wins: more pass@64" in text
    assert "ips against ds loses" in text
    assert "ds against plain, pass@8: higher (Holm)" in text
    assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [
        ((1.5, 3.0), "agrees"),
        ((0.9, 1.2), "differs"),
        ((1.2, 3.0), "not enough data"),
        ((1.5, 4.0), "not enough data"),
        ((0.5, 2.0), "not enough data"),
    ],
)
def test_a_prediction_agrees_only_where_its_rival_is_rejected(interval, verdict):
    found = analysis.Interval(np.mean(interval), *interval, 5)
    assert confirm.Prediction("F1", "", (1.39, 3.47), (1.0, 1.0), found).verdict == verdict
    if verdict == "agrees":  # the same runs with a rival inside them
        assert confirm.Prediction("F1", "", (1.39, 3.47), (2.0, 2.0), found).verdict == "not enough data"


@pytest.mark.parametrize(("gap", "verdict"), [(-1.0, "agrees"), (1.0, "differs")])
def test_the_sign_of_a_global_term_is_that_of_the_surprisal_gap(gap, verdict):
    """The bonus lowers pass@1 by .05 at the same learning rate and seed; at others there is nothing to pair."""
    rows = [*rows_of("plain", 0.0, 0.0, stage="tuning"), *rows_of("entropy bonus", -0.05, 0.001, stage="tuning")]
    rows += [{**row, "strength": 1.0} for row in rows_of("entropy bonus", -0.05, 0.001, stage="tuning", seed=0)]
    rows += [{**row, "learning_rate": 1.0, "value": 9.0} for row in rows_of("entropy bonus", 0.0, 0.0, stage="tuning")]
    rows.append({**rows[0], "stage": "comparison", "quantity": "surprisal_gap", "step": 0, "at": 100.0, "value": gap})
    (found,) = [one for one in confirm.rows_of(rows, STEPS) if one["claim"] == "B11"]
    assert (found["verdict"], found["num_runs"]) == (verdict, 6)
    assert found["value"] == pytest.approx(-0.05, abs=MADE_UP)


def test_theory_is_held_against_the_runs_with_their_own_expected_slopes():
    """Plain RL sharpens twice as much as alone; MaxRL as much as that; PKPO and DS by half."""
    rows = []
    for name, factor in (("plain", 2.0), ("maxrl", 2.0), ("pkpo", 1.0), ("ds", 1.0)):
        for place, row in enumerate(rows_of(name, 0.0, 0.0)):
            if row["quantity"] == "slope":
                rows.append({**row, "value": 0.3 * factor + 0.001 * (place % 7)})
                rows.append({**row, "quantity": "expected_slope", "value": 0.3})
                rows.append({**rows[-2], "quantity": "matched_slope"})
    said = [(one["claim"], one["prediction"].split(",")[0], one["verdict"]) for one in confirm.rows_of(rows, STEPS)]
    assert [one for one in said if one[0] == "E2"] == [("E2", "MaxRL", "agrees"), ("E2", "PKPO", "differs")]
    rows = [row for row in rows if row["contestant"] != "pkpo"]
    found = {one["claim"]: one for one in confirm.rows_of(rows, STEPS)}
    assert {claim: one["verdict"] for claim, one in found.items()} == dict.fromkeys(("B1", "A3", "F1", "E2"), "agrees")
    assert found["F1"]["value"] == pytest.approx(2.0, abs=MADE_UP)
    assert found["A3"]["value"] == pytest.approx(-0.3, abs=MADE_UP)
    without = [row for row in rows if row["contestant"] != "ds"]  # what E2 has to tell MaxRL from
    assert "E2" not in {one["claim"] for one in confirm.rows_of(without, STEPS)}


def test_every_setting_that_was_tried_has_a_line_with_its_means():
    rows = [*rows_of("plain", 0.0, 0.0, stage="tuning"), *rows_of("ds", 0.1, 0.0, stage="tuning", number=3)]
    rows += [{**row, "strength": 1.0} for row in rows_of("ds", 0.2, 0.0, stage="tuning", number=1)]
    lines = study_tables.tuning_markdown([*rows, *rows_of("ds", 0.0, 0.0)]).splitlines()[2:]
    assert [line.split(" | ")[:4] for line in lines] == [
        ["| plain", "-", "0.001", "6"],
        ["| ds", "0.3", "0.001", "3"],
        ["| ds", "1", "0.001", "1"],
    ]
    want = np.mean([row["value"] for row in rows[: len(rows)] if key_of(row) == ("ds", 0.3, "pass_at_k", 8.0, STEPS)])
    assert lines[1].split(" | ")[5] == number(want)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("contestant", "strength", "quantity", "at", "step"))


@pytest.mark.parametrize(
    ("present", "after", "entropy", "verdicts"),
    [
        (0.61, 0.35, 0.9, {"C1": "agrees", "D2": "agrees", "B6": "agrees"}),
        (0.75, 0.45, 0.6, {"C1": "differs", "D2": "differs", "B6": "differs"}),
    ],
)
def test_what_answers_do_is_held_against_the_runs(present, after, entropy, verdicts):
    """Plain RL draws answers as expected, or as if none came twice; loses pass@64, or not; has less H_C, or more."""
    rows = [
        {**row, "value": after} if (row["quantity"], row["at"], row["step"]) == ("pass_at_k", 64.0, STEPS) else row
        for row in (*rows_of("plain", 0.0, 0.0), *rows_of("ds", 0.02, 0.0))
    ]
    for row in list(rows):
        if row["quantity"] == "slope":
            of_presence = {"present": present, "expected_present": 0.6, "proportional_present": 0.75}
            rows += [{**row, "step": 0, "quantity": name, "value": value} for name, value in of_presence.items()]
            value = entropy if row["contestant"] == "ds" else 0.75
            rows.append({**row, "quantity": "correct_entropy", "at": 0.0, "value": value})
    found = {one["claim"]: one for one in confirm.rows_of(rows, STEPS)}
    assert {claim: found[claim]["verdict"] for claim in verdicts} == verdicts
    pairs = [row["value"] for row in rows if (row["quantity"], row["at"], row["step"]) == ("pass_at_k", 1.0, STEPS)]
    assert found["B6"]["value"] == pytest.approx(
        1.3 * (np.mean(pairs[6:]) - np.mean(pairs[:6])) + 0.3 * (entropy - 0.75)
    )


def test_the_page_says_of_the_first_stage_what_its_rows_say():
    rows = [row for row in pages.rows_of("study_setting") if row["stage"] == "setting"]
    page = " ".join(pages.text("docs/study.md").split())

    def ends(quantity: str, at: float | None, schedule: str, prompts: int, step: int | None = None) -> list[float]:
        return [
            row["value"]
            for row in rows
            if (row["quantity"], row["schedule"], row["learning_rate"]) == (quantity, schedule, 2e-4)
            and (row["prompts_per_step"], row["group_size"], row["num_steps"]) == (prompts, 256 // prompts, 150)
            and row["step"] == (row["num_steps"] if step is None else step)
            and (at is None or row["at"] == at)
        ]

    constant, falling = (ends("pass_at_k", 1, schedule, 16) for schedule in ("constant_with_warmup", "linear"))
    slopes = [np.mean(ends("slope", None, schedule, 16)) for schedule in ("constant_with_warmup", "linear")]
    before = [ends("pass_at_k", k, "linear", 16, step=0)[0] for k in (1, 8, 64)]
    chosen = ends("pass_at_k", 1, "linear", 32)
    said = (
        f"pass@1 {number(before[0])}, pass@8 {number(before[1])}, pass@64 {number(before[2])} on the 100 validation",
        f"ended at pass@1 {number(np.mean(constant))} with seeds {np.std(constant, ddof=1):.2f}".replace("0.", ".")
        + " apart",
        f"it ends at {number(np.mean(falling))} with seeds less than .01 apart",
        f"its slope is {slopes[1]:.2f} instead of {slopes[0]:.2f}".replace(" 0.", " ."),
        f"reached is {number(np.mean(chosen) - before[0])} and {number(np.std(chosen, ddof=1))} at 38,400",
    )
    assert [one for one in said if one not in page] == []
    assert np.std(falling, ddof=1) < 0.01


class Fails(BaseModel):
    kind: ClassVar[str] = "fails"
    number: int


def rows_or_fails(task: Fails) -> list[dict[str, int]]:
    if task.number == 1:
        raise RuntimeError("no\nmemory")
    return [{"number": task.number}]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_sweep_that_goes_on_names_what_failed_and_stores_the_rest(tmp_path: Path, capsys, jobs: int):
    tasks: list[Any] = [Fails(number=number) for number in range(3)]
    options: dict[str, Any] = {"root": str(tmp_path), "jobs": jobs, "backend": "threading"}
    found = sweep.run(tasks, rows_or_fails, goes_on=True, **options)
    assert [list(rows) for rows in found] == [[{"number": 0}], [], [{"number": 2}]]
    assert "note: number=1: it failed: RuntimeError: no memory" in capsys.readouterr().err
    assert len(list(tmp_path.rglob("rows.csv"))) == 2
    with pytest.raises(RuntimeError, match="memory"):
        sweep.run(tasks, rows_or_fails, **options)


def process_of(task: Fails) -> list[dict[str, int]]:
    time.sleep(0.05)  # so that both processes have one
    return [{"number": task.number, "process": os.getpid()}]


@pytest.mark.slow
def test_processes_end_with_a_sweep_that_goes_on(tmp_path: Path):
    """A sweep that stops at a failure leaves them to the next one."""

    def processes(first: int, goes_on: bool) -> set[Any]:
        tasks: list[Any] = [Fails(number=number) for number in range(first, first + 8)]
        found = sweep.run(tasks, process_of, root=str(tmp_path), jobs=2, backend="loky", goes_on=goes_on)
        return {row["process"] for rows in found for row in rows}

    ended = processes(10, True)
    left = processes(20, False)
    assert not ended & left
    assert left & processes(30, False)


def test_the_plan_is_printed_and_a_wrong_name_refused(capsys):
    for preset in get_args(StudyOptions.model_fields["preset"].annotation):
        assert cli.main(["study", "--preset", preset, "--dry-run"]) == 0
        assert "core hours" in capsys.readouterr().out
    assert cli.main(["study", "--until", "tuning", "--dry-run"]) == 0
    assert "comparison" not in capsys.readouterr().out
    assert cli.main(["study", "--preset", "full", "--only", "ds", "--dry-run"]) == 0
    assert re.findall(r"^  (\w+) +\d", capsys.readouterr().out, flags=re.MULTILINE) == [
        "setting",
        "tuning",
        "comparison",
    ]
    assert cli.main(["study", "--only", "nobody"]) == 2
    assert "--only: 'nobody': want some of plain, ds" in capsys.readouterr().err
    for words in (("--preset", "pretrained"), ("--model", "here")):
        assert cli.main(["study", *words]) == 2
        assert "want the folder of a model with --preset pretrained, only there" in capsys.readouterr().err


@pytest.mark.slow
def test_the_smoke_study_runs_and_a_second_one_finds_all_of_it(tmp_path: Path, capsys):
    command = ["study", "--preset", "smoke", "--out", str(tmp_path)]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    assert "ds against plain" in first
    runs = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.rglob("rows.csv")}
    assert cli.main(command) == 0
    assert capsys.readouterr().out == first
    again = {path.parent.name: path.stat().st_mtime_ns for path in tmp_path.rglob("rows.csv")}
    tables = re.findall(r"^\w+: +\S+/(\w+)/rows.csv$", first, flags=re.MULTILINE)
    assert {name for name in runs if again[name] != runs[name]} == set(tables)
    assert len(tables) == 4
    assert not [fault for path in tmp_path.glob("llm/*") for fault in store.verify_run(path)]
