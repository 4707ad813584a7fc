"""`rates`: what it prints, stores and refuses; counts during training."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit

from sharpening.cli import main
from sharpening.figures.tables import rates as rate_tables
from sharpening.samples.rates import training
from sharpening.samples.tally import Samples
from sharpening.storage import store

N = 40
HEADER = "problem,visit,n,c\n"
SPREAD, DOWN = 0.3, 0.08  # of a spread and a share of 80 problems that are estimated
COARSE, SMALL_SLOPE = 0.02, 0.05  # of derivatives by differences


def counts(shift: float, slope: float, num: int = 100) -> tuple[Samples, Samples]:
    """Samples of problems before and after a line in the log-odds moved them, with spread .9."""
    rng = np.random.default_rng(0)
    before = 2.5 * rng.standard_normal(num) - 0.5
    after = before * (1 + slope) + shift + 0.9 * rng.standard_normal(num)
    problems, total = tuple(f"p{place}" for place in range(num)), np.full((num, 1), N)
    return (
        Samples("base.csv", problems, ("",), total, rng.binomial(N, expit(before))[:, None]),
        Samples("rl.csv", problems, ("",), total, rng.binomial(N, expit(after))[:, None]),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with sample files before and after, and with a field that names parts."""
    path = tmp_path_factory.mktemp("rates")
    for samples in counts(1.0, 0.8):
        lines = [
            f"{problem},{N},{correct},{'hard' if place % 4 else 'easy'}"
            for place, (problem, correct) in enumerate(zip(samples.problems, samples.num_correct[:, 0], strict=True))
        ]
        (path / samples.name).write_text("\n".join(["problem,n,c,source", *lines]) + "\n")
    return path


@pytest.fixture(scope="module")
def done(folder: Path) -> tuple[str, Path]:
    """What the command printed, and the folder of its run."""
    words = [str(folder / "base.csv"), str(folder / "rl.csv"), "--part", "source", "--json", str(folder / "rates.json")]
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["rates", *words, "--out", str(folder / "results"), "--format", "svg"]) == 0
    (run,) = (folder / "results" / "samples").iterdir()
    return printed.getvalue(), run


@pytest.mark.slow
def test_the_command(folder: Path, done: tuple[str, Path]) -> None:
    printed, run = done
    assert printed.startswith("VERDICT\n  Log-odds of success moved by ")
    for heading in ("LAWS", "CHANGE OF PASS@K", "PARTS under affine", "WHAT THIS DOES NOT SHOW"):
        assert heading in printed
    assert max(map(len, (run / "report.txt").read_text().splitlines())) <= 100
    assert {path.name for path in run.iterdir()} >= {"rows.csv", "report.txt", "rates.svg", "rates.txt"}
    assert store.verify_run(run) == []
    stored = json.loads((folder / "rates.json").read_text())["rows"]
    assert [row["value"] for row in stored if row["quantity"] == "num_problems"] == [100, 25, 75]
    assert len(stored) == len(store.read_rows(run / "rows.csv"))


@pytest.mark.slow
def test_sentences_follow_the_rows(done: tuple[str, Path]) -> None:
    """Other rows give other sentences: a slope below 0, no spread."""
    rows = store.read_rows(done[1] / "rows.csv")
    assert rate_tables.chosen_law(rows) == "affine"
    words = {row["law"]: "words" for row in rows}
    (moved, *_, spread, loss) = rate_tables.verdict_sentences(rows, words)
    assert "rarely solved problems gained least" in moved
    turned = [
        row | {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
        if row["quantity"] == "parameter slope"
        else row | {"low": 0.0, "high": 0.3}
        if row["quantity"] == "spread"
        else row
        for row in rows
    ]
    (moved, *_, alike, _) = rate_tables.verdict_sentences(turned, words)
    assert "gained least" not in moved
    assert "moved differently" in spread
    assert "moved alike: a spread of 0 is not rejected, of more than 0.30 is" in alike
    assert loss.startswith(f"pass@{N} changed by ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["base.csv"], "FILES: 1 files: want two, before and after training, or --training or --curves"),
        (["base.csv", "rl.csv", "--part", "level"], "field 'level' is missing"),
        (["base.csv", "rl.csv", "--part", "c"], "--part: 'c' has "),
        (["base.csv", "few.csv"], "few.csv: 29 problems in common with base.csv: want at least 30"),
        (["base.csv", "short.csv"], "short.csv: 3 samples of problem 'p0': want 4 or more"),
        (["named.csv", "rl.csv", "--part", "source", "--problem", "task"], "rl.csv line 2: field 'task' is missing"),
        (["other.jsonl", "another.jsonl", "--part", "source"], "names no problem by 'problem': want --problem"),
        (["--training", "base.csv"], "field 'visit' is missing: want problem, visit, n, c"),
        (["--training", "base.csv", "--part", "source"], "--part: 'source': want two FILES"),
        (["--group-size", "2", "base.csv", "rl.csv"], "group-size"),
    ],
)
def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    lines = (folder / "rl.csv").read_text().splitlines()
    (folder / "few.csv").write_text("\n".join(lines[:30]) + "\n")
    (folder / "short.csv").write_text("\n".join([lines[0], "p0,3,1,easy", *lines[2:]]) + "\n")
    (folder / "named.csv").write_text("\n".join([lines[0].replace("problem", "task"), *lines[1:]]) + "\n")
    for name in ("other.jsonl", "another.jsonl"):
        each = ({"task_id": f"t{place // 4}", "passed": place % 3 == 0, "source": name} for place in range(160))
        (folder / name).write_text(
            "".join(json.dumps(row | {"completion": f"{place}"}) + "\n" for place, row in enumerate(each))
        )
    given = [str(folder / word) if "." in word else word for word in words]
    assert main(["rates", *given, "--out", str(folder / "none")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (folder / "none").exists()


def during_training(slope: float, spread: float) -> list[tuple[int, int, int, int]]:
    """Rows of 80 problems at 10 visits, 16 samples each: a curve that rises evenly to 1.5."""
    rng = np.random.default_rng(1)
    first, own = 2 * rng.standard_normal(80), rng.standard_normal(80)
    progress = np.clip(np.arange(10) - 1, 0, None) / 8
    log_odds = first[:, None] * (1 + slope * progress) + progress * (1.5 + spread * own[:, None])
    found = rng.binomial(16, expit(log_odds))
    return [(problem, visit, 16, int(found[problem, visit])) for problem in range(80) for visit in range(10)]


def written(path: Path, rows: list[tuple[int, int, int, int]]) -> Path:
    path.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows))
    return path


def test_paths_of_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A spread that is there is found, and one that is not adds next to nothing."""
    monkeypatch.setattr(training, "NUM_RESAMPLES", 20)
    gains = {}
    for spread in (0.0, 1.2):
        windows, _ = training.read(written(tmp_path / f"{spread}.csv", during_training(0.0, spread)), "file")
        assert windows.num_samples.sum() == 80 * 10 * 16
        single, other = (training.fit(windows, name) for name in ("one curve", "a spread"))
        gains[spread] = other.log_likelihood - single.log_likelihood
        if spread == 0:
            errors = training.curve_errors(windows, single, rng=np.random.default_rng(0))
            assert abs(single.curve[-1] - 1.5) < 4 * errors[-1] < 0.5
        else:
            assert other.spread[-1] == pytest.approx(1.2, abs=SPREAD)
            assert training.share_down(other)[-1] == pytest.approx(0.11, abs=DOWN)
            assert training.share_down(single)[-1] == 0
    assert gains[0.0] < 8
    assert gains[1.2] > 40


def test_the_gradient_of_paths(tmp_path: Path) -> None:
    windows, _ = training.read(written(tmp_path / "file.csv", during_training(0.2, 0.5)), "file")
    model = training.Model(windows, "a line and a spread")
    at = np.linspace(0.1, 0.6, 3 * training.NUM_LATER)
    flat, counted = np.full(len(training.POINTS), 1 / len(training.POINTS)), np.ones(80)
    _, gradient, weights = model.value(at, flat, counted)
    for place in (0, 9, 20):
        step = 1e-4 * np.eye(len(at))[place]
        up, down = (model.value(at + sign * step, weights, counted)[0] for sign in (1, -1))
        assert gradient[place] == pytest.approx((up - down) / 2e-4, rel=COARSE, abs=SMALL_SLOPE)


@pytest.mark.slow
def test_the_command_on_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "NUM_RESAMPLES", 3)
    path = written(tmp_path / "file.csv", during_training(0.3, 0.5))
    assert main(["rates", "--training", str(path), "--out", str(tmp_path / "results"), "--format", "png"]) == 0
    printed = capsys.readouterr().out
    assert "in the 160 samples of training" in " ".join(printed.split())
    assert "TRAINING: one curve alone, then a line and a spread" in printed


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + "3,4,16,2\n", "line 802: visit 4 of problem '3' is there twice"),
        (
            lambda text: text.replace("3,4,16", "3,four,16", 1),
            "field 'visit' is \"four\": want a whole number from 0 on",
        ),
        (lambda text: text + "3,400,8,9\n", "field 'c' is 9 of n = 8: want 0 to n, and n at least 1"),
        (lambda text: text + "3,400,0,0\n", "field 'c' is 0 of n = 0: want 0 to n, and n at least 1"),
        (lambda text: "\n".join(text.splitlines()[:9]), "8 visits: want at least 10"),
        (lambda text: HEADER, "the file is empty: want a line a problem and visit"),
    ],
)
def test_refusals_of_training(tmp_path: Path, change: Callable[[str], str], message: str) -> None:
    path = written(tmp_path / "file.csv", during_training(0.0, 0.0))
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"^file") as caught:
        training.read(path, "file")
    assert message in str(caught.value)
