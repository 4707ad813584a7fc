"""`evaluate` on a task of one's own, and the models of `evaluate` and `audit` as words or after a flag."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sharpening.storage import store
from tests import command_line
from tests.command_line import Run, only_run
from tests.language_models import byte_model, recurrent_model, saved

QUICK = ("--limit", "2", "--n", "3", "--device", "cpu")
OWN = ("evaluate", "model", "--task", "own", "--problems", "own.jsonl")
OWN_ROWS = [
    {"problem": "numbers 3 1 2 target 6", "answer": "6", "solution": "3 1 2 + +"},
    {"problem": [{"role": "user", "content": "numbers 4 1 2 target 9"}], "answer": "9", "solution": ""},
    {"problem": "numbers 2 2 target 4", "answer": "4"},
]
OWN_VERIFIERS = """
import time

def is_right(completion, answer):
    print("of no interest " * 1000)
    return None if not completion else len(completion) % 2 == 1

def hangs(completion, answer):
    time.sleep(0 if answer == "6" else 1000)
    return True

def never(completion, answer):
    return False

def fails(completion, answer):
    return 1 / 0
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, its own copy, problems and verifiers."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved(byte_model()), tmp_path / "model")
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in OWN_ROWS))
    (tmp_path / "own.py").write_text(OWN_VERIFIERS)
    (tmp_path / "problems.jsonl").write_text('{"nums": [3, 1, 2], "target": 6}\n{"nums": [4, 1, 2], "target": 9}\n')
    (tmp_path / "file").write_text("kept")
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


@pytest.mark.slow
def test_a_task_of_one_s_own_is_sampled_with_its_verifier(here: Path, run: Run) -> None:
    """Marks are those of the function on the completions in the file, whose prompts may be messages."""
    words = (*OWN, "--verifier", "own.py:is_right", "--max-tokens", "6", "--n", "8", "--device", "cpu")
    done = run(*words, "--samples", "s.jsonl")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("3 problems, 24 samples: ")
    rows = [json.loads(line) for line in (here / "s.jsonl").read_text().splitlines()]
    assert [row["problem"] for row in rows] == [f"line {number}" for number in (1, 2, 3) for _ in range(8)]
    assert rows[8]["prompt"] == OWN_ROWS[1]["problem"]
    for row in rows:
        assert row["correct"] == (len(row["completion"]) % 2 == 1 if row["completion"] else None)
    read = run("samples", "s.jsonl")
    assert (read.status, "  s  s.jsonl         3 " in read.out) == (0, True)
    shutil.copytree(here / "model", here / "other")
    done = run("audit", "model", "--model", "other", "--samples", "s.jsonl", "--out", "audits")
    assert (done.status, done.err) == (0, "")
    (here / "own.py").write_text(OWN_VERIFIERS + "\n")
    assert run(*words).status == 0
    assert len(list((here / "results" / "llm").iterdir())) == 2  # another file of the verifier is another run


@pytest.mark.slow
def test_a_verifier_that_hangs_leaves_its_completions_unscored(here: Path, run: Run) -> None:
    words = (
        "--verifier",
        "own.py:hangs",
        "--verifier-seconds",
        "2",
        "--max-tokens",
        "6",
        "--n",
        "1",
        "--device",
        "cpu",
    )
    done = run(*OWN, *words, "--limit", "2", "--samples", "s.jsonl")
    assert done.status == 0
    assert "could not be scored 0.5000" in done.out
    rows = [json.loads(line) for line in (here / "s.jsonl").read_text().splitlines()]
    assert [(row["correct"], row["reason"]) for row in rows] == [(True, ""), (None, "time limit")]


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_verifier_that_fails_or_rejects_a_known_solution_is_one_line(dry: tuple[str], here: Path, run: Run) -> None:
    words = ("--solution-column", "solution", "--device", "cpu", *dry)
    done = run(*OWN, "--verifier", "own.py:never", *words)
    assert done.status == 2
    assert done.err == (
        "sharpening: verifier: it does not accept the known solution of prompt 'line 1', '3 1 2 + +': wrong\n"
    )
    done = run(*OWN, "--verifier", "own.py:fails", *words)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert done.err.startswith("sharpening: verifier: prompt line 1: it raised ZeroDivisionError: division by zero")
    assert not store.list_runs(here / "results")


@pytest.mark.slow
def test_models_are_words_or_come_after_the_flag(here: Path, run: Run) -> None:
    for name in ("before", "after"):
        shutil.copytree(saved(recurrent_model("lfm2")), here / name)
    few = ("--problems", "problems.jsonl", "--device", "cpu")
    ways = [("before", "after", *few), ("--model", "before", "after", *few), (*few, "before", "--model", "after")]
    done = [run("audit", *models, "--out", f"audits{number}") for number, models in enumerate(ways)]
    assert [one.status for one in done] == [0, 0, 0]
    assert len({one.out.replace(f"audits{number}", "") for number, one in enumerate(done)}) == 1
    for models in (("before",), ("--model", "before")):
        assert run("evaluate", *models, *QUICK, "--problems", "problems.jsonl").status == 0
    only_run(here / "results")


EVALUATE = ("evaluate", "model", "--limit", "2")
BAD = {
    (*EVALUATE, "--task", "own"): "--task: 'own': want --problems FILE and --verifier FILE.py:FUNCTION",
    (*EVALUATE, "--task", "own", "--problems", "own.jsonl"): "--task: 'own': want --problems FILE and --verifier",
    (*EVALUATE, "--task", "own", "--split", "test"): "--split: it means nothing with --task own",
    (*EVALUATE, "--task", "own", "--preset", "amc23"): "--preset: it means nothing with --task own",
    (*EVALUATE, "--verifier", "own.py:f"): "--verifier: it means nothing with --task countdown",
    (*EVALUATE, "--task", "math", "--solution-column", "a"): "--solution-column: it means nothing with --task math",
    (*OWN, "--verifier", "own.py:gone"): "own.py:gone: the file has no function 'gone', it has",
    (*OWN, "--verifier", "gone.py:f"): "gone.py:f: there is no file 'gone.py'",
    (*OWN, "--verifier", "own.py:hangs", "--verifier-seconds", "0"): "--verifier-seconds: '0': Input should be greater",
    (
        *OWN,
        "--verifier",
        "own.py:is_right",
        "--answer-column",
        "a",
    ): "own.jsonl line 1: no column 'a': want it, found problem, ",
    (*OWN, "--verifier", "own.py:is_right", "--samples", "own.py"): "--samples: 'own.py': this is the input",
}


@pytest.mark.parametrize(("words", "message"), BAD.items(), ids=[" ".join(words) for words in BAD])
def test_bad_input_is_one_line_and_leaves_no_trace(words: tuple[str, ...], message: str, here: Path, run: Run) -> None:
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    done = run(*words)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.partition(": ")[2].startswith(message)
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before
