"""Sweeps: the same rows from any back end and after any interruption; damaged runs are named; two writers get along."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.bandits import experiments
from sharpening.bandits.experiments import framework
from sharpening.storage import store, sweep

ROOT = Path(__file__).resolve().parent.parent
SMALL = framework.Scale("small", 1, 2)
INTERRUPTED_SECONDS = 10.0  # Ctrl-C is asked to take 2 s; a loaded machine gets more
NUM_KILLS = 2


def small_tasks() -> list[framework.Task]:
    """Tasks of two experiments, two runs a task of a few milliseconds."""
    (first, second) = experiments.select(("reinforcement_bias", "universality"))
    return [*first.tasks(SMALL, 0), *second.tasks(SMALL, 0)]


def contents(root: Path) -> dict[str, bytes]:
    """The bytes of all rows and configurations under a root, by path."""
    names = ("rows.csv", "config.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*")) if path.name in names}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    sweep.run(small_tasks(), framework.rows_of, root=str(root), jobs=1, backend="loky")
    return contents(root)


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "jobs"), [("loky", 2), ("threading", 2), ("dask", 2)])
def test_every_back_end_gives_the_same_bytes(backend: str, jobs: int, undisturbed: dict, tmp_path: Path):
    """Two processes, two threads and a local dask cluster write the rows that one process writes."""
    if backend == "dask":
        pytest.importorskip("distributed")
    sweep.run(small_tasks(), framework.rows_of, root=str(tmp_path), jobs=jobs, backend=backend)
    assert contents(tmp_path) == undisturbed


@pytest.mark.slow
def test_finished_runs_are_read_and_not_computed(undisturbed: dict, tmp_path: Path):
    """A second sweep calls nothing; a run of another seed is computed."""
    tasks = small_tasks()
    first = sweep.run(tasks, framework.rows_of, root=str(tmp_path), jobs=1, backend="loky")

    def refuse(task: framework.Task) -> list:
        raise AssertionError(f"computed {task}")

    assert sweep.run(tasks, refuse, root=str(tmp_path), jobs=1, backend="loky") == first
    other = [task.model_copy(update={"measures": ("correctness",)}) for task in tasks[:1]]
    with pytest.raises(AssertionError, match="computed"):
        sweep.run(other, refuse, root=str(tmp_path), jobs=1, backend="loky")


def test_a_damaged_run_is_named_and_computed_again(undisturbed: dict, tmp_path: Path, capsys):
    """One changed byte: the note names the file, the rows come back, and `results verify` finds it before."""
    tasks = small_tasks()[:2]
    sweep.run(tasks, framework.rows_of, root=str(tmp_path), jobs=1, backend="loky")
    rows = next(tmp_path.rglob("rows.csv"))
    rows.write_bytes(rows.read_bytes().replace(b"1", b"2", 1))
    assert cli.main(["results", "verify", "--out", str(tmp_path)]) == 1
    assert "rows.csv: differs from its checksum" in capsys.readouterr().out
    sweep.run(tasks, framework.rows_of, root=str(tmp_path), jobs=1, backend="loky")
    error = capsys.readouterr().err
    assert f"note: {rows.parent}: rows.csv: differs from its checksum: it is computed again" in error
    assert set(contents(tmp_path).items()) <= set(undisturbed.items())
    assert cli.main(["results", "verify", "--out", str(tmp_path)]) == 0
    assert cli.main(["results", "verify", "--out", str(tmp_path / "nowhere")]) == 2
    assert "nowhere': there is no such folder: want a result store" in capsys.readouterr().err


COMMAND = [sys.executable, str(ROOT / "paper_repro.py"), "bandits", "--only", "reinforcement_bias", "universality"]


@pytest.mark.slow
def test_killed_sweeps_resume_to_the_same_bytes(tmp_path: Path):
    """SIGKILL at random moments, then the command again: every row as in an undisturbed sweep.

    benchmarks/interruptions.py does it 50 times.
    """
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = [*COMMAND, "--preset", "smoke", "--jobs", "2"]
    start = time.monotonic()
    subprocess.run([*command, "--out", str(whole)], check=True, capture_output=True)
    seconds = time.monotonic() - start
    for moment in np.random.default_rng(0).uniform(0.4, 1.0, NUM_KILLS):
        process = subprocess.Popen(
            [*command, "--out", str(killed)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(moment * seconds)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run([*command, "--out", str(killed)], check=True, capture_output=True)
    assert contents(killed) == contents(whole)
    assert [store.verify_run(path) for path in store.list_runs(killed)] == [[]] * len(store.list_runs(killed))


@pytest.mark.slow
def test_control_c_ends_at_once_and_keeps_what_is_finished(tmp_path: Path):
    """SIGINT to the whole group, as a terminal sends it: exit status 130, one line, and no damaged run."""
    process = subprocess.Popen(
        [*COMMAND, "--preset", "full", "--jobs", "2", "--out", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not store.list_runs(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    start = time.monotonic()
    _, error = process.communicate(timeout=60)
    assert time.monotonic() - start < INTERRUPTED_SECONDS
    assert process.returncode == 128 + signal.SIGINT
    assert error.strip().splitlines()[-1] == "sharpening: interrupted"
    runs = store.list_runs(tmp_path)
    assert runs
    assert all(store.verify_run(run) == [] for run in runs)


@pytest.mark.slow
def test_two_writers_of_one_store_do_not_disturb_each_other(tmp_path: Path):
    """Two commands with the same runs at the same time: both succeed, every run verifies, nothing is left over."""
    command = [*COMMAND, "--preset", "smoke", "--jobs", "1", "--out", str(tmp_path)]
    pair = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    assert [process.communicate()[1] for process in pair] == [b"", b""]
    assert [process.returncode for process in pair] == [0, 0]
    assert all(store.verify_run(run) == [] for run in store.list_runs(tmp_path))
    assert not list(tmp_path.rglob(".tmp-*"))


def test_results_lists_shows_and_cleans(tmp_path: Path, capsys):
    """A run of an older RESULT_VERSION is listed as such; clean removes what a killed writer left and damaged runs."""
    tasks = small_tasks()[:2]
    sweep.run(tasks, framework.rows_of, root=str(tmp_path), jobs=1, backend="loky")
    first, second = store.list_runs(tmp_path)
    assert cli.main(["results", "list", "--out", str(tmp_path)]) == 0
    _, pieces = capsys.readouterr().out.splitlines()
    assert pieces.endswith("  2 pieces of sweeps (--pieces): simulation 2")
    assert cli.main(["results", "list", "--pieces", "--out", str(tmp_path)]) == 0
    _, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [first.name, second.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(store.RESULT_VERSION, "bandits", store.RESULT_VERSION["bandits"] + 1)
        cli.main(["results", "list", "--out", str(tmp_path)])
        assert capsys.readouterr().out.count("  OLDER CODE: ") == 2
    assert cli.main(["results", "show", first.name[:6], "--out", str(tmp_path)]) == 0
    assert first.name in capsys.readouterr().out
    (second / "rows.csv").unlink()
    (second.parent / ".tmp-left").mkdir()
    assert cli.main(["results", "clean", "--out", str(tmp_path)]) == 0
    assert "2 folders removed" in capsys.readouterr().out
    assert store.list_runs(tmp_path) == [first]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results", "show"], "ID: want the run to show"),
        (["results", "show", "zz"], "ID: 'zz': no run begins so"),
        (["results", "list", "zz"], "ID: 'zz': list takes none"),
        (["results", "burn"], "ACTION: 'burn'"),
        (["bandits", "--only", "nope"], "--only: 'nope' is no experiment"),
        (["bandits", "--preset", "huge"], "--preset: 'huge'"),
        (["bandits", "--jobs", "0"], "--jobs: '0'"),
        (["bandits", "--backend", "nope", "--preset", "smoke", "--jobs", "2"], "--backend: 'nope'"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, tmp_path: Path, capsys):
    """Exit status 2 and one line that names what is wrong."""
    assert cli.main([*words, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


def test_the_list_names_claims_and_rivals():
    """Each experiment is listed with its claims, its prediction and its rival; nothing is computed."""
    with contextlib.redirect_stdout(io.StringIO()) as text:
        assert cli.main(["bandits", "--list"]) == 0
    for experiment in experiments.EXPERIMENTS:
        assert f"{experiment.id} ({', '.join(experiment.claims)})" in text.getvalue()


def test_a_back_end_that_is_not_installed_is_refused(monkeypatch, capsys, tmp_path) -> None:
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    monkeypatch.chdir(tmp_path)
    words = ["--only", "convergence", "--preset", "smoke", "--jobs", "2", "--backend", "dask"]
    assert cli.main(["bandits", *words]) == cli.BAD_INPUT
    message = "--backend: 'dask': it is not installed: want `pip install '.[cluster]'`, or loky"
    assert message in capsys.readouterr().err
