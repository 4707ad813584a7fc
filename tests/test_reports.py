"""What `predict`, `bandits`, `results` and `check` print: the conclusion first, and no line wider than the terminal."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.commands import check, check_shaper, terminal
from sharpening.figures.tables import experiments as experiment_tables
from sharpening.figures.tables import store as store_tables
from sharpening.figures.tables import theory as tables
from sharpening.theory import policies
from sharpening.theory.rows import prediction

ROOT = Path(__file__).resolve().parent.parent
WIDTHS = (60, 80, 100, 160)
FINDING = {
    "experiment": "drift",
    "verdict": "not resolved",
    "label": "natural, group of 4, and a long label that says which of many numbers this one is",
    "status": "not resolved",
    "observed": 0.8,
    "standard_error": 0.01,
    "predicted": 0.81,
    "rival": 0.5,
    "allowed": 0.0,
}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    base = np.array([0.3, 0.1, 0.05, 0.35, 0.2])
    return list(prediction.predict(policies.problem_from_probabilities(base, [1, 1, 1, 0, 0]), (0.3,)))


def longest(text: str) -> int:
    return max(map(len, text.splitlines()))


@pytest.mark.parametrize("width", WIDTHS)
def test_the_report_of_predict_fits_and_begins_with_its_conclusion(width: int, rows: list[dict]) -> None:
    """In one sentence, of numbers that are in the rows; without `is_long` the first sections alone."""
    report = tables.prediction_report(rows, "x + y", 100, 2, width)
    assert longest(report) <= width
    short = tables.prediction_report(rows, "x + y", 100, 2, width, is_long=False)
    assert report.startswith(short.rstrip("\n"))
    assert "OPTIMUM" not in short
    first = " ".join(report.partition("\n\n")[0].split())
    assert first.count(". ") == 0
    found = {
        (row["method"], row["strength"], row["quantity"]): row["value"]
        for row in rows
        if row["section"] == "matched" and row["at"] == 0.9
    }
    left, kept = (found[method, strength, "solution_diversity"] for method, strength in (("vanilla", 0.0), ("ds", 1.0)))
    share = np.array([0.3, 0.1, 0.05]) / 0.45
    alive = f"{np.exp(-(share * np.log(share)).sum()):.3g}"
    assert first.startswith(f"On this prompt alone plain RL ends on 'x + y': of {alive} correct answers alive now")
    assert f"{left:.3g} are left when that reaches 0.9" in first
    assert f"{kept:.3g} (strength 1)" in first


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base_policy", "correct", "words"),
    [
        ([0.5, 0.5], [1, 0], "There is one correct answer, 'a': training can only make it likelier."),
        ([0.4995, 0.4995, 0.001], [1, 1, 0], "correctness starts beyond where flows are compared."),
        ([0.2, 0.2, 0.6], [1, 1, 0], "ends on the 2 tied likeliest correct answers, 'a' among them: of 2 correct"),
    ],
)
def test_the_conclusion_at_the_edge(base_policy: list[float], correct: list[int], words: str) -> None:
    found = list(prediction.predict(policies.problem_from_probabilities(base_policy, correct), (0.3,)))
    assert words in tables.conclusion(found, "a")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_verdicts_of_bandits_fit_and_say_what_is_not_resolved(width: int) -> None:
    """Two experiments without a verdict are named, with the reason and the preset that has more runs."""
    verdicts = {"drift": "not resolved", "universality": "agrees", "speed": "not resolved"}
    told = [
        experiment_tables.verdict_header(width),
        experiment_tables.verdict_line([FINDING], 1.0, width),
        experiment_tables.closing_line(verdicts, "smoke", width),
    ]
    assert max(map(longest, told)) <= width
    assert f"{FINDING['observed']:.4g}" in told[1]
    text = " ".join(told[2].split())
    assert text.startswith("1 of 3 experiments agree with the theory, 0 differ, 2 are not resolved (drift, speed): ")
    assert "preset smoke has too few runs" in text
    assert text.endswith("--preset laptop has more.")
    assert "has more" not in experiment_tables.closing_line(verdicts, "full", width)
    assert "not resolved" not in experiment_tables.closing_line({"drift": "agrees"}, "smoke", width)


def stored(number: int, config: dict, state: str = "ok", layer: str = "bandits") -> dict:
    return {
        "id": f"{number:012x}",
        "layer": layer,
        "state": state,
        "config": config,
        "commit": "0123456789",
        "is_dirty": False,
        "started": f"2026-01-0{number}T10:20:30+00:00",
        "seconds": 1.5,
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_pieces_of_sweeps_are_one_line(width: int) -> None:
    """With what they are and their seconds; a damaged piece is a line of its own, and all are with `is_long`."""
    runs = [stored(n, {"task": "simulation", "specification": {"seed": n}}) for n in (1, 2, 3)]
    runs += [stored(4, {"task": "comparison"}), stored(5, {"task": "comparison"}, "damaged")]
    runs += [stored(6, {"command": "llm", "task": "own", "method": "ds", "steps": 5}, layer="llm")]
    lines = store_tables.listed(runs, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) == 4
    if width == 160:
        assert lines[1].endswith("DAMAGED: comparison")
        assert lines[2].endswith("  llm ds, steps 5")
        assert lines[3].startswith("...           2026-01-01 10:20       6.0  0123456")
        assert lines[3].endswith("4 pieces of sweeps (--pieces): simulation 3, comparison 1")
    assert len(store_tables.listed(runs, width, is_long=True).splitlines()) == 7


def test_a_run_is_told_by_its_command_and_what_sets_it_apart() -> None:
    """Names of files and not their hashes; a hash by its first characters; parameters with their values."""
    what = store_tables.what_of
    files = [{"file": "a.csv", "sha256": "f" * 64}, {"file": "b.csv", "sha256": "e" * 64}]
    assert what({"command": "samples", "files": files, "seed": 0}, "samples") == "samples a.csv b.csv, seed 0"
    assert what({"command": "audit", "models": {"before": "a" * 64, "ds": "b" * 64}}, "llm") == "audit before ds"
    config = {"command": "llm", "model": "c" * 64, "method": "ds", "parameters": {"gamma_correct": 0.1}}
    assert what(config, "llm") == "llm model ccccccc, ds, gamma_correct=0.1"
    assert what({}, "theory") == "theory"


def test_claims_are_cut_in_a_terminal_and_whole_in_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A line a claim in both; `check --explain` fits too."""
    monkeypatch.setattr(check, "printed_width", lambda: 70)
    monkeypatch.setattr(check.sys.stdout, "isatty", lambda: True, raising=False)
    assert cli.main(["check", "--only", "A1.1", "--jobs", "1"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert (len(line), line[-3:]) == (70, "...")
    monkeypatch.setattr(check.sys.stdout, "isatty", lambda: False, raising=False)
    assert cli.main(["check", "--only", "A1.1", "--jobs", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()[1]) > 100
    assert cli.main(["check", "--explain", "A1"]) == 0
    assert longest(re.sub(r"A1.*", "", capsys.readouterr().out)) <= 70


def test_the_width_is_that_of_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a narrow one at least 60, and of no terminal a stable one, whatever COLUMNS says."""
    for columns, is_terminal, want in (("72", True, 72), ("20", True, 60), ("72", False, terminal.STABLE_WIDTH)):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr(terminal.sys.stdout, "isatty", lambda shown=is_terminal: shown, raising=False)
        assert check_shaper.printed_width() == want
