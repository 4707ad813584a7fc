"""mutmut, in its own environment, mutates the code that tests import and sees the mutants killed (`make test-all`).

It mutates `sharpening/theory`, which is a link: were it to mutate what nothing imports, every mutant would survive.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.other_package

ROOT = Path(__file__).parents[1]
FORMULA = "sharpening.theory.shaping.x_differential_smoothing*"


def test_mutants_of_the_formula_of_ds_are_killed(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "environment"], check=True)
    python = tmp_path / "environment" / "bin" / "python"
    places = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        check=True,
        capture_output=True,
        text=True,
    )
    Path(places.stdout.strip(), "ours.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-compile", "mutmut==3.8.1"], check=True)
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)
    settings = clone / "pyproject.toml"
    before, rest = settings.read_text().split("only_mutate = [", 1)
    others = rest.split("\n]\n", 2)
    few = '"sharpening/theory/shaping.py"]\n' + others[1].split("pytest_add_cli_args_test_selection")[0]
    few += 'pytest_add_cli_args_test_selection = ["tests/test_shaping.py"]\n'
    settings.write_text(f"{before}only_mutate = [{few}{others[2]}")
    environment = os.environ | {"PYTHONPATH": ""}
    for words in (["run", FORMULA], ["results", "--all", "true"]):
        done = subprocess.run(
            [python, "-m", "mutmut", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    told = re.findall(r"x_differential_smoothing__mutmut_\d+: (\w+)", done.stdout)
    assert len(told) >= 5
    assert set(told) == {"killed"}
