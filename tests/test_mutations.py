"""The campaign of mutants: what it edits, that edits reach the tests, and that its list of equivalents is not stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import mutations

ROOT = Path(__file__).parents[1]
SOURCE = '''"""Doc 1."""

LEVEL = 0.5


def f(x: int = 1) -> float:
    """Twice 2."""
    if x < 2 and not x:
        g(x)
    return min(x, 2.0) ** 2


class A:
    def h(self) -> bool:
        return f"{1}" == "1"
'''


def test_every_edit_of_a_small_file() -> None:
    """Numbers, operators, conditions, names and lone calls; no word, no annotation, nothing inside a formatted word."""
    found = list(mutations.mutants("a.py", SOURCE))
    assert [mutant.key for mutant in found] == [
        "a.py: : 0.5 -> 1.0 #0",
        "a.py: f: 1 -> 2 #0",
        "a.py: f: x < 2 and (not x) -> not (x < 2 and (not x)) #0",
        "a.py: f: x < 2 and (not x) -> x < 2 or not x #0",
        "a.py: f: x < 2 -> x <= 2 #0",
        "a.py: f: 2 -> 3 #0",
        "a.py: f: not x -> x #0",
        "a.py: f: g(x) -> pass #0",
        "a.py: f: min(x, 2.0) ** 2 -> min(x, 2.0) * 2 #0",
        "a.py: f: min -> max #0",
        "a.py: f: 2.0 -> 4.0 #0",
        "a.py: f: 2 -> 3 #1",
        "a.py: A.h: f'{1}' == '1' -> f'{1}' != '1' #0",
    ]
    sources = [
        next(one.source for one in mutations.mutants("a.py", SOURCE, mutant.key) if one.source) for mutant in found
    ]
    assert len(set(sources)) == len(found)
    assert "if x <= 2 and (not x):" in sources[4]
    assert all("Twice 2." in source for source in sources)


def test_every_file_of_theory_outside_claims_and_diagnosis_is_mutated() -> None:
    files = {str(path.relative_to(ROOT / "theory")) for path in (ROOT / "theory").rglob("*.py")}
    outside = {name for name in files if not name.startswith(("claims/", "diagnosis/")) and "__init__" not in name}
    assert outside - {"hypothesis_storage.py"} == set(mutations.TESTS)
    for names in mutations.TESTS.values():
        assert all((ROOT / "tests" / f"test_{name}.py").exists() for name in names)


def test_every_equivalent_is_a_mutant_of_today_and_has_an_argument() -> None:
    known = mutations.equivalents()
    assert set(known) <= {mutant.key for mutant in mutations.all_mutants()}
    assert all(len(argument) > 10 for argument in known.values())


@pytest.mark.slow
def test_edits_reach_the_tests_and_a_campaign_goes_on(tmp_path: Path) -> None:
    """Of `shaping.py` every mutant is seen, each once, however often the campaign is started."""
    script = (
        "import sys; from benchmarks import mutations as m; m.TESTS = {'shaping.py': ('shaping',)}; "
        f"sys.argv = ['x', '--out', {str(tmp_path / 'm.jsonl')!r}, '--count', COUNT]; m.main()"
    )
    for count, lines in (("2", 2), ("4", 4)):
        done = subprocess.run(
            [sys.executable, "-c", script.replace("COUNT", repr(count))],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        assert len((tmp_path / "m.jsonl").read_text().splitlines()) == lines
    assert "without equivalents: 4 of 4 mutants seen, 100.0%" in done.stdout
