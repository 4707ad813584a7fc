"""`all`: every layer runs, one that fails does not stop the others, and what is stored is not run again."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest

from sharpening.commands import everything
from sharpening.commands.catalogue import COMMANDS
from sharpening.commands.everything import ANSWERS, BANDIT, COUNTS, PRESETS, Step
from tests.command_line import Run, runner
from tests.pages import ROOT

FAILING = Step(("predict", "nowhere.csv"))
GOOD = Step(("predict", ANSWERS), (ANSWERS,))
LAST = Step(("samples", *COUNTS, "--k", "1"), COUNTS)


@pytest.fixture
def run(tmp_path: Path, monkeypatch, capfd) -> Run:
    """`all` of three layers, of which the second fails, in a folder that has a clone's examples."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(PRESETS, "smoke", (GOOD, FAILING, LAST))
    return runner(capfd, "all", "--preset", "smoke")


@pytest.mark.slow
def test_a_layer_that_fails_stops_no_other_and_what_is_stored_is_not_run_again(run: Run, tmp_path: Path) -> None:
    first = run()
    assert first.status == 1
    assert states(first.out) == ["ran", "FAILED (2)", "ran"]
    assert "nowhere.csv: cannot be read" in first.err
    assert first.out.endswith("\n1 failed\nreport: report.html\n")
    assert "not run" in (tmp_path / "report.html").read_text()
    second = run()
    assert second.status == 1
    assert states(second.out) == ["stored", "FAILED (2)", "stored"]
    assert (tmp_path / "report.html").exists()
    (damaged,) = (tmp_path / "results" / "theory").glob("*/rows.csv")
    damaged.write_text("damaged\n")
    assert states(run("--core").out) == ["ran", "FAILED (2)", "stored"]


def states(out: str) -> list[str]:
    """How each step ended, as the closing table says."""
    return [found.strip() for found in re.findall(r"^  (stored|ran|FAILED \(\d+\)) +\d+ s  ", out, re.MULTILINE)]


@pytest.mark.slow
def test_a_step_is_run_again_when_what_it_reads_was_changed(run: Run, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(PRESETS, "smoke", (Step(("predict", "mine.csv"), ("mine.csv",)),))
    mine = tmp_path / "mine.csv"
    mine.write_text((ROOT / ANSWERS).read_text())
    os.utime(mine, (0, 0))
    assert states(run("--core").out) == ["ran"]
    assert states(run("--core").out) == ["stored"]
    os.utime(mine, (time.time() + 60, time.time() + 60))
    assert states(run("--core").out) == ["ran"]


def test_elsewhere_than_in_a_clone_it_is_refused(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    done = runner(capfd)("all")
    assert (done.status, done.err) == (
        2,
        f"sharpening: all: {ANSWERS} is not there: want to be called in the folder of a clone\n",
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_every_step_is_a_command_whose_options_are_valid_and_whose_files_are_there(preset: str) -> None:
    from sharpening import cli

    made: set[str] = set()
    for step in PRESETS[preset]:
        name, *words = everything._words(step, "results")
        assert name in COMMANDS
        cli.command_of(name)[0](**vars(cli.parser_of(name).parse_args(words)))
        for path in step.reads:
            assert path in made or (ROOT / path).exists(), path
        made |= set(step.leaves)
    assert [step.needs_torch for step in PRESETS[preset]] == sorted(step.needs_torch for step in PRESETS[preset])


def test_the_core_of_a_preset_has_the_claims_first_and_no_language_model() -> None:
    core = [step.words[0] for step in PRESETS["smoke"] if not step.needs_torch]
    assert core == ["check", "predict", "check-shaper", "simulate", "figures", "bandits"]
    assert [step.words[0] for step in PRESETS["smoke"] if step.needs_torch] == [
        "warm-start",
        "llm",
        "llm",
        "audit",
        "study",
    ]
    assert (ROOT / BANDIT).exists()
