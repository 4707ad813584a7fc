"""The figure of sharpening by size: its numbers are those of the committed runs, worked out here once more."""

from __future__ import annotations

import csv
import statistics
from pathlib import Path

import pytest

from sharpening import cli
from sharpening.commands import by_size, figures
from sharpening.commands.figures import FIGURES
from sharpening.figures.drawing import by_size as drawing
from tests.pages import ROOT
from tests.tolerances import FLOAT64

SETTINGS = FIGURES["by_size"].settings
RUNS = {name: ROOT / SETTINGS["reference"] / path / "rows.csv" for name, path in SETTINGS["runs"].items()}


@pytest.fixture(scope="module")
def rows() -> dict[tuple, dict]:
    found = by_size.rows(reference=str(ROOT / SETTINGS["reference"]), runs=SETTINGS["runs"])
    return {(row["model"], row["method"], row["quantity"], row["k"]): row for row in found}


def read(name: str) -> list[dict[str, str]]:
    with RUNS[name].open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_small_model_is_compared_with_its_own_warm_start(rows: dict[tuple, dict]) -> None:
    """16 runs, each less its own warm start; another method, k or stage has another mean."""

    def mean(contestant: str, k: str, stage: str = "comparison") -> float:
        chosen = [
            row
            for row in read("study")
            if (row["stage"], row["contestant"], row["quantity"], row["at"]) == (stage, contestant, "pass_at_k", k)
        ]
        ends = {(row["warm_start"], row["seed"], int(row["step"])): float(row["value"]) for row in chosen}
        last = max(step for *_, step in ends)
        runs = {key[:2] for key in ends}
        return statistics.fmean(ends[*run, last] - ends[*run, 0] for run in runs)

    for method in ("plain", "ds", "rarity_maxrl"):
        for k in (1, 256):
            found = rows["165 thousand, Countdown", method, by_size.PASS, k]
            assert found["value"] == pytest.approx(mean(method, f"{k}.0"), rel=FLOAT64)
            assert found["low"] < found["value"] < found["high"]
    assert mean("plain", "1.0") != pytest.approx(mean("plain", "1.0", "tuning"), rel=FLOAT64)


def test_published_numbers_are_differences_of_their_curves(rows: dict[tuple, dict]) -> None:
    for part, model in by_size.CURVES.items():
        values = {
            (row["quantity"], int(row["k"])): float(row["value"])
            for row in read("curves")
            if (row["part"], row["law"]) == (part, "") and row["quantity"] in ("before", "after")
        }
        largest = max(k for _, k in values)
        for k in (1, largest):
            found = rows[model, "plain", by_size.PASS, k]
            assert found["value"] == pytest.approx(values["after", k] - values["before", k], rel=FLOAT64)
            assert not found["has_interval"]
    (first, last) = (row for key, row in rows.items() if key[0] == "1.5B, four benchmarks")
    assert (first["k"], last["k"]) == (1, 128)
    assert first["low"] > 0 > last["high"]


def test_the_pretrained_model_is_the_audit_of_its_held_out_questions(rows: dict[tuple, dict]) -> None:
    audited = {(row["model"], row["quantity"], float(row["at"])): row for row in read("pretrained")}
    for model, method in (("plain_rl", "plain"), ("ds", "ds")):
        for quantity, at in ((by_size.PASS, 1.0), (by_size.SLOPE, 0.0)):
            found = rows["135 million, names", method, quantity, int(at)]
            assert found["value"] == float(audited[model, quantity, at]["value"])


def test_outside_a_clone_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--only: 'by_size': .* is not there: want the folder of a clone"):
        list(by_size.rows(reference=str(tmp_path), runs=SETTINGS["runs"]))


def test_without_the_committed_runs_the_other_figures_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(figures, "FIGURES", {name: FIGURES[name] for name in ("prompt_weights", "by_size")})
    assert cli.main(["figures", "--out", "results", "--format", "png"]) == 0
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == ["prompt_weights"]
    assert printed.err == "note: by_size is left out: it needs the committed runs of a clone\n"


def test_every_model_has_a_line_and_a_change_of_both(rows: dict[tuple, dict]) -> None:
    figure = drawing.draw_by_size(list(rows.values()))
    left, right = figure.axes
    assert len(left.get_yticks()) == 9
    changes = [row["value"] for (*_, quantity, _), row in rows.items() if quantity == by_size.PASS]
    drawn = [line.get_xdata()[0] for line in left.lines if line.get_marker() not in ("None", "|", "")]
    assert sorted(drawn) == sorted(changes)
    ticks = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "|"]
    assert sorted(ticks) == sorted(row["value"] for key, row in rows.items() if key[2] == by_size.EXPECTED)
