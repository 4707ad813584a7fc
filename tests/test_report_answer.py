"""What the report answers of the study, and what it names as differing, by rows that are changed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup

from sharpening.commands import report as command
from sharpening.figures.report import account, trained
from sharpening.storage import store
from tests.pages import REFERENCE
from tests.test_report import page_without_figures, standing


@pytest.mark.parametrize(("low", "is_named"), [(0.1, True), (-0.1, False)])
def test_a_common_shift_that_predicts_worse_is_named(low: float, is_named: bool) -> None:
    """Of the committed public run, with another lower end."""
    run = next(one for one in command.both(str(REFERENCE), str(REFERENCE))[0] if one.name == "rates_public")
    rows = [{**row, "low": low} if (row["law"], row["quantity"]) == ("common", "behind") else row for row in run.rows]
    found = account.differences([dataclasses.replace(run, read=lambda: rows)], {}, [])
    assert [str(one.what) for one in found] == ["one common shift in log-odds (claim A2.2)"] * is_named


@pytest.mark.parametrize(("after", "said"), [(0.4, "none keeps"), (0.6, "some keep")])
def test_the_answer_says_whether_any_method_keeps_what_the_model_had(tmp_path: Path, after: float, said: str) -> None:
    rows = [standing("", 8, 0.5, "before"), standing("plain", 8, 0.3), standing("ds", 8, after)]
    about = {"command": "study", "preset": "full"}
    store.write_run("llm", {**about, "table": "summary"}, rows, root=tmp_path)
    outcome = [{"contestant": "ds", "against": "x", "outcome": "wins"}]
    store.write_run("llm", {**about, "table": "outcomes"}, outcome, root=tmp_path)
    text = page_without_figures(tmp_path, tmp_path / "none")
    (section,) = re.findall(r'<section id="answer".*?</section>', text, flags=re.DOTALL)
    words = " ".join(re.sub("<[^>]+>", "", section).split())
    assert f"In that study {said} the pass@8 that the model had before, .500: the most is {after:.3f}".replace(
        " 0.", " ."
    ) in words  # fmt: skip


def test_differences_are_lines_of_text_for_a_terminal() -> None:
    """Those of the committed runs, of which some are links on the page."""
    found = account.differences(*command.both(str(REFERENCE / "none"), str(REFERENCE)))
    assert any(isinstance(one.how, Markup) for one in found)
    assert not any("<" in str(one) for one in found)
    assert str(account.Difference("a < b > c", "1 < 2 > 1", None)) == "a < b > c: 1 < 2 > 1"
    assert any(re.search(r"by \.\d+ \[\.\d+, \.\d+\] nats \(", str(one)) for one in found)


def test_the_study_and_audits_of_the_pretrained_model_stand_under_its_name() -> None:
    """And not among the small transformers, whose audits list every spelling."""
    runs, *_ = command.both(str(REFERENCE / "none"), str(REFERENCE))
    small, large = trained.transformers(runs), trained.pretrained(runs)
    shown = [
        {run.name for run in runs if any(run.id in str(table.caption) for table in one.tables)}
        for one in (small, large)
    ]
    assert {"taught_audit", "names_audit", "pretrained_summary", "pretrained_predictions"} <= shown[1]
    assert "laptop_audit" in shown[0]
    assert not shown[0] & shown[1]


def stored(root: Path, preset: str, table: str, rows: list[dict[str, Any]], **about: Any) -> None:
    store.write_run("llm", {"command": "study", "preset": preset, "table": table, **about}, rows, root=root)


def section_of(root: Path) -> str:
    (section,) = re.findall(r'<section id="study".*?</section>', page_without_figures(root, root / "none"), re.DOTALL)
    return " ".join(re.sub("<[^>]+>", " ", section).split())


def test_the_tables_of_the_study_are_those_of_one_study(tmp_path: Path) -> None:
    """A newer run of the first stage alone has no comparison, and does not take the place of the study's own rows."""
    labels = {"stage": "comparison", "contestant": "ds", "strength": 0.7, "learning_rate": 0.003}
    stored(tmp_path, "full", "runs", [{**labels, "quantity": "x"}], until="others")
    stored(tmp_path, "full", "summary", [standing("ds", 1)], until="others")
    stored(tmp_path, "full", "runs", [{**labels, "stage": "tuning", "strength": 0.9, "quantity": "x"}], until="setting")
    words = section_of(tmp_path)
    assert "ds .700 .003" in words
    assert ".900" not in words


def test_methods_that_ran_once_stand_apart_and_decide_nothing(tmp_path: Path) -> None:
    """One of them keeps all of pass@8: said is what those that were compared keep."""
    labels = {"strength": 0.0, "learning_rate": 0.003, "quantity": "x"}
    stages = {"plain": "comparison", "ds": "comparison", "nsr": "others"}
    stored(tmp_path, "full", "runs", [{**labels, "stage": stage, "contestant": one} for one, stage in stages.items()])
    means = {"": 0.9, "plain": 0.7, "ds": 0.8, "nsr": 0.95}
    rows = [standing(name, 8, value, "" if name else "before") for name, value in means.items()]
    rows += [standing("ds", k, 0.1, "plain") for k in (1, 8, 64)]
    stored(tmp_path, "full", "summary", rows)
    stored(tmp_path, "full", "outcomes", [{"contestant": "ds", "against": "plain", "outcome": "wins"}])
    compared, others = section_of(tmp_path).split("Other methods, as published")
    assert "nsr - .003" in others.split("no ranking")[1]  # a strength of 0 is none
    assert "nsr" not in compared
    assert "none keeps the pass@8 that the model had before" in _page_words(tmp_path)


def _page_words(root: Path) -> str:
    return " ".join(re.sub("<[^>]+>", "", page_without_figures(root, root / "none")).split())


@pytest.mark.parametrize(("preset", "is_told"), [("smoke", True), ("laptop", False), ("full", False), ("", False)])
def test_a_study_is_called_a_trial_where_it_is_one(tmp_path: Path, preset: str, is_told: bool) -> None:
    if preset:
        stored(tmp_path, preset, "summary", [standing("ds", 1)])
    assert ("decides nothing" in section_of(tmp_path)) is is_told


@pytest.mark.parametrize("preset", ["full", "one-rate", "ablations", "pretrained"])
def test_a_prediction_of_any_study_that_failed_is_named(tmp_path: Path, preset: str) -> None:
    row = {"claim": "B1", "prediction": "it rains", "value": 0.0, "low": 0.0, "high": 0.0, "verdict": "differs"}
    stored(tmp_path, preset, "predictions", [row])
    runs, *_ = command.both(str(tmp_path), str(tmp_path / "none"))
    assert str(account.differences(runs, {}, [])[0]).startswith("it rains: differs (")


def test_rows_without_a_finite_number_are_compared_too() -> None:
    own, other = [{"a": float("nan"), "b": 1.0}], [{"a": float("inf"), "b": 1.0}]
    assert account.compared(own, own) == ""
    assert account.compared(own, other) == "1 of 1 rows other than in the committed run"


@pytest.mark.parametrize(("preset", "name"), [("one-rate", "one_rate"), ("ablations", "ablation")])
def test_a_study_in_which_nothing_is_tuned_has_a_section_of_its_own(preset: str, name: str) -> None:
    runs, *_ = command.both(str(REFERENCE / "none"), str(REFERENCE))
    study, own = (
        {table.caption for table in one.tables} for one in (trained.study(runs), trained.untuned(runs, preset))
    )
    summary = next(run.id for run in runs if run.name == f"{name}_summary")
    assert any(summary in caption for caption in own)
    assert not any(summary in caption for caption in study)
