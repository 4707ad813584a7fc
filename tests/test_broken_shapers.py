"""A sign of `theory/shaping.py` that is flipped by hand makes `check` exit with status 1."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

SIGNS = {
    "return reward - strength * log_prob": "return reward + strength * log_prob",
    "return reward + strength * log_prob": "return reward - strength * log_prob",
    "= -gamma_correct * log_prob": "= gamma_correct * log_prob",
    "= gamma_incorrect * log_prob": "= -gamma_incorrect * log_prob",
    "reward + correct * bonus_if_correct": "reward - correct * bonus_if_correct",
    "+ (1 - correct) * charge_if_wrong": "- (1 - correct) * charge_if_wrong",
    "(1 - correct)": "(1 + correct)",
    "return reward - strength * (log_prob": "return reward + strength * (log_prob",
    "log_prob / num_tokens": "log_prob * num_tokens",
}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    for room in ("theory", "samples", "bandits", "figures", "sharpening"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / room, folder / room, symlinks=True, ignore=ignored)
    shutil.copy(ROOT / "paper_repro.py", folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("line", "broken"), SIGNS.items(), ids=list(SIGNS))
def test_a_flipped_sign_in_the_shapers_makes_check_fail(line: str, broken: str, clone: Path) -> None:
    source = (ROOT / "theory" / "shaping.py").read_text(encoding="utf-8")
    assert source.count(line) == 1
    (clone / "theory" / "shaping.py").write_text(source.replace(line, broken), encoding="utf-8")
    words = ["check", "--only", "A3.1", "B12.2", "E6", "--jobs", "1", "--json", "c.json"]
    done = subprocess.run(
        [sys.executable, "paper_repro.py", *words], cwd=clone, capture_output=True, text=True, timeout=120, check=False
    )
    failed = [entry for entry in json.loads((clone / "c.json").read_text()) if entry["status"] == "fails"]
    assert (done.returncode, done.stderr, bool(failed)) == (1, "", True)
    (conclusion,) = [line for line in done.stdout.splitlines() if "claims hold" in line]
    assert all(f"; {entry['id']} fails" in conclusion for entry in failed)
