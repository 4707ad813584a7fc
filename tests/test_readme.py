"""The README's commands run, its claims table is current, and its numbers come from the committed run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import paper_repro
import store
from figures import tables
from theory import claims, methods

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results" / "reference"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


COMMANDS = [
    line for block in _blocks("bash") for line in block.splitlines() if line.startswith("python paper_repro.py")
]


def test_the_commands_were_found():
    """There is something to test, for both sub-commands."""
    assert {line.split()[2] for line in COMMANDS} == {
        "bandits",
        "check",
        "check-shaper",
        "predict",
        "preview",
        "results",
        "simulate",
    }


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_runs(line: str, tmp_path: Path):
    """Pasted into a folder with the example, each command exits with 0 and prints no error."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    words = line.split()
    command = [sys.executable, str(ROOT / "paper_repro.py"), *words[2:]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", "\n".join(_blocks("bash")), flags=re.MULTILINE))
def test_every_make_target_exists(target: str):
    """`make repro` and `make test` are in the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("code", _blocks("python"))
def test_the_python_example_runs_from_another_folder(code: str, tmp_path: Path):
    """With PYTHONPATH at the clone the snippet runs as a script of somebody else's folder."""
    script = tmp_path / "my_script.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_claims_table_is_current():
    """The table between the markers is what `check --markdown` writes when every claim holds."""
    written = re.search(r"<!-- claims:.*?-->\n(.*?)<!-- end of claims -->", README, flags=re.DOTALL)
    fields = ("id", "statement", "source", "kind")
    rows = [{**{name: getattr(claim, name) for name in fields}, "status": "holds"} for claim in claims.CLAIMS]
    assert written is not None
    assert written.group(1) == tables.claims_markdown(rows)


def test_the_table_of_presets_is_current():
    """The table between the markers is `methods.preset_table()`, and the shown specification is the example's."""
    assert f"<!-- presets -->\n{methods.preset_table()}\n<!-- end of presets -->" in README
    assert (ROOT / "examples" / "bandit.json").read_text(encoding="utf-8") in README


def test_the_excerpt_of_preview_is_current(capsys: pytest.CaptureFixture[str]):
    """Every line between the markers is printed for the example, in that order."""
    block = re.search(r"<!-- preview (\S+) -->\n```text\n(.*?)```\n<!-- end of preview -->", README, flags=re.DOTALL)
    assert block is not None
    assert paper_repro.main(["preview", str(ROOT / block[1])]) == 0
    printed = iter(capsys.readouterr().out.splitlines())
    assert [line for line in block[2].splitlines() if line not in printed] == []


def test_the_figure_and_the_numbers_come_from_the_committed_run():
    """The run that the README shows verifies, and the table at equal correctness has its numbers."""
    (picture,) = re.findall(r"\((results/reference/\S+\.png)\)", README)
    run = (ROOT / picture).parent
    assert store.verify_run(run) == []
    assert tables.matched_markdown(store.read_rows(run / "rows.csv")) in README
