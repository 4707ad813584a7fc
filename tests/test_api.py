"""The stable functions from Python give the rows of the commands, and the tour runs without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import sharpening
from sharpening import cli
from sharpening.storage import store

ROOT = Path(__file__).resolve().parent.parent
BANDIT: dict[str, Any] = {
    "base_policy": [0.3, 0.1, 0.4, 0.2],
    "correct": [1, 1, 0, 0],
    "method": "ds",
    "num_steps": 20,
    "num_runs": 4,
    "record_every": 10,
}
FILES = [str(ROOT / "examples" / name) for name in ("samples_base.csv", "samples_ds.csv")]


def stored(folder: Path) -> list[dict[str, Any]]:
    (run,) = store.list_runs(folder)
    return store.read_rows(run / "rows.csv")


@pytest.mark.slow
def test_compare_gives_the_rows_of_samples(tmp_path: Path) -> None:
    assert cli.main(["samples", *FILES, "--k", "1", "8", "--out", str(tmp_path)]) == 0
    assert repr(sharpening.compare(FILES, k=(1, 8))) == repr(stored(tmp_path))
    assert repr(sharpening.samples.compare(FILES, k=(1, 8), seed=1)) != repr(stored(tmp_path))


@pytest.mark.slow
def test_predict_gives_the_rows_of_the_command_from_a_file_or_from_rows(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text('answer,count,correct\n"a, b",3,1\nc,5,0\nd,1,true\n')
    assert cli.main(["predict", str(path), "--beta", "1", "--out", str(tmp_path / "out")]) == 0
    table = [
        {"answer": "a, b", "count": 3, "correct": 1},
        {"answer": "c", "count": 5, "correct": False},
        {"answer": "d", "count": 1, "correct": True},
    ]
    from_file, from_rows = sharpening.predict(path, kl_strengths=[1.0]), sharpening.predict(table, kl_strengths=[1.0])
    assert repr(from_file) == repr(from_rows) == repr(stored(tmp_path / "out"))


@pytest.mark.slow
def test_diagnose_gives_the_verdicts_of_check_shaper(tmp_path: Path) -> None:
    def renamed(reward: Any, gain: float = 2.0) -> Any:
        return gain * (reward - reward.mean(-1)[..., None])

    path = tmp_path / "verdicts.json"
    words = ["check-shaper", "dr_grpo", "--group-size", "4", "--json", str(path)]
    assert cli.main(words) == 0
    verdicts = {one["property"]: one["verdict"] for one in json.loads(path.read_text())["dr_grpo"]["verdicts"]}
    found = {row["property"]: row["verdict"] for row in sharpening.diagnose("dr_grpo", group_size=4)}
    in_torch = "same numbers in NumPy and torch"
    assert {**found, in_torch: ""} == {**verdicts, in_torch: ""}
    mine = {row["property"]: row["verdict"] for row in sharpening.diagnose(renamed, group_size=4)}
    assert mine["correct set"] == found["correct set"]


@pytest.mark.slow
def test_a_sweep_is_every_simulation_of_the_grid_in_its_order() -> None:
    grid = {"parameters.gamma_correct": [0.1, 0.3], "learning_rate": [0.02, 0.2]}
    rows = sharpening.sweep(BANDIT, grid, jobs=2)
    points = [(strength, rate) for strength in grid["parameters.gamma_correct"] for rate in grid["learning_rate"]]
    alone = [
        {"parameters.gamma_correct": strength, "learning_rate": rate, **row}
        for strength, rate in points
        for row in sharpening.simulate({**BANDIT, "parameters": {"gamma_correct": strength}, "learning_rate": rate})
    ]
    assert repr(rows) == repr(alone)


def test_bad_input_is_refused_before_anything_runs() -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        sharpening.sweep({**BANDIT, "num_steps": 10_000_000}, {"learning_rate": [0.1, -1]})
    with pytest.raises(ValueError, match=r"missing.csv: cannot be read"):
        sharpening.predict("missing.csv")
    with pytest.raises(ValueError, match=r"diagnose cannot run gspo: it is a token-level method"):
        sharpening.diagnose("gspo")
    with pytest.raises(AttributeError, match="no attribute 'compair'"):
        _ = sharpening.compair  # type: ignore[attr-defined]


@pytest.mark.slow
def test_the_tour_runs_without_torch() -> None:
    code = (
        f"import runpy, sys; runpy.run_path({str(ROOT / 'examples' / 'tour.py')!r}); sys.exit('torch' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    told = {line.split(":")[0]: line for line in done.stdout.splitlines()}
    assert told["B3.1 holds"]
    lines = done.stdout.splitlines()
    alive = [float(line.split()[-1]) for line in lines if "alive" in line]
    assert alive[0] < 1.2 < 1.8 < min(alive[1:])  # plain RL keeps one answer, smoothing both
    assert sum(line.startswith("pass@") for line in lines) == 3
