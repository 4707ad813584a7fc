"""`warm-start`, `evaluate` and `audit` as a stranger runs them: good input, bad input, kills, and what they print."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sharpening import cli
from sharpening.commands import evaluate as evaluate_command
from sharpening.llm.mathematics.problems import MathTask
from sharpening.llm.sampling import evaluate
from sharpening.llm.sampling.evaluate import Completion
from sharpening.llm.tasks import Mark
from sharpening.llm.training import warm_start
from sharpening.storage import store
from tests import command_line
from tests.command_line import Done, Run, only_run
from tests.language_models import saved_model

ROOT = Path(__file__).resolve().parent.parent
MATH = ROOT / "examples" / "math_problems.jsonl"
QUICK = ("--limit", "5", "--n", "3", "--slice-size", "2", "--device", "cpu")
TINY = (
    *("--preset", "smoke", "--set", "width=16", "layers=1", "pool=20", "steps=2", "batch=4"),
    *("problems.largest_number=6", "problems.max_target=20"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a model, its own copy, and problems."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(saved_model(), tmp_path / "model")
    (tmp_path / "problems.jsonl").write_text('{"nums": [3, 1, 2], "target": 6}\n{"nums": [4, 1, 2], "target": 9}\n')
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    shutil.copy(MATH, tmp_path / "math.jsonl")
    return tmp_path


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """The command line."""
    return command_line.runner(capfd)


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


# warm-start


@pytest.mark.slow
def test_warm_start_trains_once_and_finds_its_model_again(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run("warm-start", *TINY)
    assert (first.status, first.err) == (0, "")
    model = only_run(here / "results") / "model"
    assert re.fullmatch(rf"loss \d\.\d+ nats a token after 2 steps\nmodel: {model.relative_to(here)}\n", first.out)
    monkeypatch.setattr(warm_start, "make_model", None)
    again = run("warm-start", *TINY, "--folder", "copied/here")
    assert (again.status, again.err) == (0, "")
    assert contents(here / "copied" / "here") == contents(model)
    next((here / "copied" / "here").iterdir()).unlink()
    assert run("warm-start", *TINY, "--folder", "copied/here").status == 0
    assert contents(here / "copied" / "here") == contents(model)
    (here / "copied" / "here" / "config.json").write_text("{}")
    refused = run("warm-start", *TINY, "--folder", "copied/here")
    assert refused.err == "sharpening: --folder: 'copied/here': another config.json is there: want a new folder\n"
    assert run("evaluate", str(model), *QUICK).status == 0


# evaluate


def test_evaluate_writes_samples_that_samples_reads(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    done = run("evaluate", "model", *QUICK, "--samples", "s.jsonl")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("5 problems, 15 samples: ")
    stored = only_run(here / "results")
    assert (here / "s.jsonl").read_bytes() == (stored / "samples.jsonl").read_bytes()
    assert len(store.read_rows(stored / "rows.csv")) == 5
    assert not list(stored.parent.glob(".*"))
    monkeypatch.setattr(evaluate_command, "_sample", None)
    again = run("evaluate", "model", *QUICK, "--samples", "s.jsonl")
    assert again == done
    read = run("samples", "s.jsonl")
    assert (read.status, read.err) == (0, "")
    assert re.search(r"problems +samples +seeds +never solved\n +s +s\.jsonl +5 +15 +1 ", read.out)


@pytest.mark.parametrize("words", [("--seed", "1"), ("--temperature", "1.1"), ("--problem-seed", "1"), ("--n", "4")])
def test_what_decides_the_samples_decides_the_run(words: tuple[str, ...], here: Path, run: Run) -> None:
    for more in ((), words):
        assert run("evaluate", "model", *QUICK, *more).status == 0
    assert len({(path / "samples.jsonl").read_bytes() for path in store.list_runs(here / "results")}) == 2


def test_the_order_of_the_numbers_in_a_file_is_part_of_the_problem(here: Path, run: Run) -> None:
    """Two files with the same ids and other prompts are two runs."""
    (here / "turned.jsonl").write_text('{"nums": [2, 1, 3], "target": 6}\n{"nums": [4, 1, 2], "target": 9}\n')
    for name in ("problems.jsonl", "turned.jsonl"):
        assert run("evaluate", "model", "--problems", name, "--n", "2", "--device", "cpu").status == 0
    prompts = {(path / "samples.jsonl").read_text().split('"prompt": ')[1][:17] for path in store.list_runs("results")}
    assert prompts == {'"numbers 3 1 2 ta', '"numbers 2 1 3 ta'}


def test_where_memory_runs_out_it_says_so_and_goes_on(here: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = evaluate.transformers_sampler

    def small_memory(lm: Any) -> evaluate.Sampler:
        def sampler(prompts: Any, settings: Any, batch: int, seed: int) -> list[list[Completion]]:
            if batch > 2:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return plain(lm)(prompts, settings, batch, seed)

        return sampler

    monkeypatch.setattr(evaluate, "transformers_sampler", small_memory)
    done = run("evaluate", "model", *QUICK, "--batch", "8")
    assert done.status == 0
    assert done.err == "".join(f"note: memory ran out: from here on {size} completions at once\n" for size in (4, 2))
    only_run(here / "results")


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_ends_as_one_that_is_not(tmp_path: Path) -> None:
    """The killed run goes on where it stopped, and what is listed is whole; normal runs print nothing on stderr."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "tests.killed_runs"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    done = subprocess.run(
        [*command, str(saved_model()), str(tmp_path)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    whole, *killed = map(json.loads, done.stdout.splitlines())
    assert whole == {"moment": "never", "status": 0, "runs": 1, "faults": [], "stderr": ""}
    there = [None, None, 1, 2, 3, 5, 5, None]
    for found, number in zip(killed, there, strict=True):
        said = "" if number is None else f"note: {number} of 5 slices are there already\n"
        assert found["stderr"] == said, found["moment"]
        assert found["faults"] == [], found["moment"]
    assert [found["status"] for found in killed] == [9] * 7 + [0]
    assert [found["runs"] for found in killed] == [0] * 6 + [1, 1]
    (first,), (second,) = (store.list_runs(tmp_path / name) for name in ("whole", "killed"))
    assert first.name == second.name
    for name in ("samples.jsonl", "rows.csv", "config.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


class Speller:
    """A tokenizer of single characters, for a task that needs letters."""

    chat_template = unk_token_id = None

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": list(map(ord, text))}

    def batch_decode(self, rows: list[tuple[int, ...]], clean_up_tokenization_spaces: bool) -> list[str]:
        return ["".join(map(chr, row)) for row in rows]


def test_mathematics_is_marked_and_what_cannot_be_scored_is_null(
    here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (r"\boxed{399}.", r"so it is $399$..", r"\boxed{399}")  # one that ended has an end token

    def sampler(prompts: Any, *_: Any) -> list[list[Completion]]:
        return [[Completion(tuple(map(ord, text)), text[-1] == ".", -1.0, 0.5) for text in texts] for _ in prompts]

    monkeypatch.setattr(evaluate_command, "_engine", lambda options: (Speller(), sampler))
    words = ("evaluate", "model", "--task", "math", "--problems", "math.jsonl", "--limit", "2", "--n", "3")
    done = run(*words, "--samples", "s.jsonl")
    assert done.status == 0
    assert re.fullmatch(r"note: model: prompts and completions take up to \d+ tokens, .* made for 64\n", done.err)
    rows = [json.loads(line) for line in (here / "s.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in rows] == [True, False, False, False, False, False]
    assert [row["reason"] for row in rows[:3]] == ["", "no box", "cut off"]
    assert "tray" in rows[0]["prompt"][0]["content"]
    assert "lenient" not in done.out

    done = run(*words, "--lenient", "--samples", "s.jsonl")
    rows = [json.loads(line) for line in (here / "s.jsonl").read_text().splitlines()]
    assert [row["correct"] for row in rows] == [True, True, False, False, False, False]
    assert done.out.splitlines()[3] == "lenient: 1 of the correct have no box (0.5000)"

    plain = MathTask.marks

    def hung(self: MathTask, places: Any, completions: Any, is_finished: Any) -> list[Mark]:
        return [*plain(self, places, completions, is_finished)[:-1], Mark(np.nan, True, "time limit", "1")]

    monkeypatch.setattr(MathTask, "marks", hung)
    done = run(*words, "--seed", "1", "--samples", "s.jsonl")
    assert "could not be scored 0.1667" in done.out
    assert json.loads((here / "s.jsonl").read_text().splitlines()[-1])["correct"] is None
    read = run("samples", "s.jsonl")
    assert read.status == 0
    assert "1 samples could not be scored (correct is null) and are left out" in read.out + read.err


def test_a_dry_run_shows_columns_and_problems_and_leaves_nothing(here: Path, run: Run) -> None:
    before = contents(here)
    done = run("evaluate", "model", "--task", "math", "--problems", "math.jsonl", "--dry-run", "--n", "9")
    assert done.status == 0
    assert re.fullmatch(r"note: model: the tokenizer does not know .*\nnote: model: prompts and .*\n", done.err)
    assert done.out.startswith(
        "45 rows; expected columns:\n  problem in 'problem': found\n  answer in 'answer': found\n"
    )
    assert "\n45 problems, 9 samples each\n" in done.out
    assert re.search(
        r"\none completion of '1': '.*'\n  \d+ tokens, log-probability -[\d.]+ nats, not correct", done.out
    )
    done = run("evaluate", "model", "--task", "math", "--problems", "math.jsonl", "--dry-run", "--preset", "amc23")
    assert done.status == 2
    assert "problem in 'question': MISSING" in done.out
    assert "found columns, with the first row:\n  problem: " in done.out
    assert done.err.startswith("sharpening: math.jsonl: line 1: no column question, id: want it, found problem, answer")
    done = run("evaluate", "model", "--problems", "problems.jsonl", "--dry-run")
    assert (done.status, done.err) == (0, "")
    assert "2 problems, 64 samples each\n" in done.out
    assert "  max_tokens: 16\n" in done.out
    assert re.search(r"\none completion of '1,2,3=6': '.*'\n  \d+ tokens, log-.*; nothing was kept\n$", done.out)
    assert contents(here) == before


# audit


def test_a_list_may_be_given_in_parts() -> None:
    parser = cli.parser_of("audit")
    parts = parser.parse_args(["--model", "A", "--k", "1", "--model", "B", "--k", "2", "3"])
    assert parts == parser.parse_args(["--model", "A", "B", "--k", "1", "2", "3"])


def test_evaluate_and_audit_agree_through_files(here: Path, run: Run) -> None:
    """The samples of a model are held against its audit: the counts are those of the file."""
    words = ("--limit", "8", "--device", "cpu")
    assert run("evaluate", "model", *words, "--n", "40", "--samples", "s.jsonl").status == 0
    done = run("audit", "--model", "model", *words, "--check", "s.jsonl", "--out", "audits", "--json", "a.json")
    assert done.err == ""
    marks = [json.loads(line)["correct"] for line in (here / "s.jsonl").read_text().splitlines()]
    assert done.out.startswith("SAMPLES AGAINST THE AUDIT\n  The two agree\n")
    assert f"  Correct: {sum(marks)} of 320, expected" in done.out
    (stored,) = store.list_runs(here / "audits")
    assert store.verify_run(stored) == []
    assert json.loads((here / "a.json").read_text())["rows"][0]["model"] == "model"


def test_without_a_limit_the_problems_that_there_are_are_taken_and_doubts_are_told(here: Path, run: Run) -> None:
    """Sums of two of 1 to 3 are fewer than the usual 200 problems, and the model was not made for targets above 20."""
    few = ("--set", "num_numbers=2", "largest_number=3", "--split", "train", "--device", "cpu")
    done = run("audit", "--model", "model", *few)
    assert (done.status, done.err) == (0, "")
    number = int(re.match(r"VERDICT on (\d+) Countdown problems, temperature 1\n", done.out)[1])
    assert 5 < number < 30
    assert f"{number} problems: with fewer than 30 the intervals are rough" in done.out
    (here / "far.jsonl").write_text('{"nums": [6, 5, 3], "target": 27}\n')
    for command in (("evaluate", "model", "--n", "2"), ("audit", "--model", "model")):
        done = run(*command, "--problems", "far.jsonl", "--device", "cpu")
        assert (done.status, done.err.count("\n")) == (0, 1)
        assert done.err.startswith("note: model: the tokenizer does not know every word of 1 of 1 prompts, '3,5,6=27'")


# Bad input.

EVALUATE = ("evaluate", "model", "--limit", "5")
AUDIT = ("audit", "--limit", "5", "--model", "model")
BOTH = (*AUDIT, "model2")
BAD: dict[tuple[str, ...], str] = {
    ("evaluate",): "--model: given 0: want 1, as a word or after the flag",
    ("evaluate", "model", "--model", "model2"): "--model: given 2: want 1, as a word or after the flag",
    ("evaluate", "folder"): "model: 'folder': it has no config.json: want a folder that save_pretrained wrote",
    ("evaluate", "file"): "model: 'file': it has no config.json",
    ("audit", "--model", "folder"): "model: 'folder': it has no config.json",
    (*AUDIT, "folder"): "model: 'folder': it has no config.json",
    ("audit",): "--model: given 0: want 1 to 5, the first before training",
    ("audit", "model", "--model", "model"): "--model: 'model': given twice: want distinct models",
    ("audit", "--model", "model", "--samples", "file"): "--model: given 1: want 2 to 5 with --samples",
    (*AUDIT, "--check", "no.jsonl"): "no.jsonl: cannot be read: No such file or directory",
    (*AUDIT, "--k", "0"): "--k: 0: want an integer from 1 to 1e9",
    (*BOTH, "--check", "s.jsonl"): "--check: 's.jsonl': want one --model, and no --samples beside it",
    (*BOTH, "--samples", "file", "--split", "test"): "--split: it means nothing with --samples: want one of them",
    (*BOTH, "--samples", "file", "--json", "file"): "--json: 'file': this is the input: want the name of another file",
    (*EVALUATE, "--top-p", "0.9"): "--top-p: 0.9: a cut distribution gives rare correct answers probability 0",
    (*AUDIT, "--top-k", "20"): "--top-k: 20: a cut distribution gives rare correct answers",
    (*EVALUATE, "--temperature", "0"): "--temperature: '0': Input should be greater than 0",
    (*EVALUATE, "--n", "0"): "--n: '0': Input should be greater than or equal to 1",
    (*EVALUATE, "--device", "gpu"): "--device: 'gpu': want auto, cpu, cuda or cuda:N",
    (*EVALUATE, "--engine", "vllm"): "--engine: 'vllm': it is not installed: want `pip install vllm`, or transformers",
    (*EVALUATE, "--problems", "no.jsonl"): "no.jsonl: cannot be read: No such file or directory",
    (*EVALUATE, "--problems", "math.jsonl"): "math.jsonl: line 1: no field nums or numbers: want it, found problem",
    (*EVALUATE, "--problems", "file"): "file: line 1: not JSON: want one object a line, found kept",
    (*EVALUATE, "--problems", "problems.jsonl", "--split", "test"): "--split: it means nothing with --problems",
    (
        *EVALUATE,
        "--problems",
        "problems.jsonl",
        "--set",
        "num_numbers=2",
    ): "--set: 'num_numbers=2': want only operators",
    (*EVALUATE, "--problems", "math.jsonl", "--samples", "math.jsonl"): "--samples: 'math.jsonl': this is the input",
    (*EVALUATE, "--set", "num_numbers=9"): "--set: 'num_numbers=9': Input should be less than or equal to 6",
    (*EVALUATE, "--set", "numbers=3"): "--set: 'numbers=3': want NAME=VALUE with one of num_numbers, ",
    (*EVALUATE, "--set", "operators=^"): "--set: 'operators=^': ",
    (*EVALUATE, "--limit", "4000"): "--limit: 4000: found ",
    (*EVALUATE, "--preset", "amc23"): "--preset: it means nothing with --task countdown",
    (*EVALUATE, "--task", "math"): "--task: 'math': which problems? want --problems FILE, or --preset",
    (*EVALUATE, "--task", "math", "--format", "chat"): "--format: it means nothing with --task math",
    (*EVALUATE, "--lenient"): "--lenient: it means nothing with --task countdown",
    (*EVALUATE, "--task", "math", "--preset", "gsm"): "--preset: 'gsm': want one of math500, aime24, ",
    (*EVALUATE, "--task", "math", "--problems", "problems.jsonl"): "problems.jsonl: line 1: no column problem, answer",
    (*EVALUATE, "--samples", "none/s.jsonl"): "--samples: 'none/s.jsonl': 'none' is not a folder",
    (*EVALUATE, "--out", "file"): "--out: 'file': 'file' is not a folder: want a folder",
    ("warm-start", "--preset", "huge"): "--preset: 'huge': Input should be 'smoke' or 'laptop'",
    ("warm-start", "--set", "steps"): "--set: 'steps': want NAME=VALUE, e.g. steps=200",
    (
        "warm-start",
        "--set",
        "widht=32",
    ): "--set: widht: '32': Extra inputs are not permitted: want one of architecture, ",
    ("warm-start", "--set", "width=40"): "--set: width: '40': Input should be a multiple of 16",
    (
        "warm-start",
        "--set",
        "problems.numbers=3",
    ): "--set: problems.numbers: '3': Extra inputs are not permitted: want one",
    (
        "warm-start",
        "--set",
        "problems.split=test",
    ): "--set: problems.split: 'test': want train, the others are for meas",
    ("warm-start", "--set", "problems.min_target=90"): "--set: problems.min_target: 90: want at most max_target, 60",
    ("warm-start", "--set", "problems=3"): "--set: problems: '3': Input should be a valid dictionary",
    ("warm-start", *TINY, "pool=5000"): "pool: 5000: found ",
    ("warm-start", "--folder", "file"): "--folder: 'file': 'file' is not a folder",
    ("warm-start", "--folder", "model"): "--folder: 'model': another config.json is there: want a new folder",
    ("warm-start", "--out", "file"): "--out: 'file': 'file' is not a folder",
}


@pytest.mark.parametrize(("words", "message"), BAD.items(), ids=[" ".join(words) for words in BAD])
def test_bad_input_is_one_line_and_leaves_no_trace(words: tuple[str, ...], message: str, here: Path, run: Run) -> None:
    before = contents(here)
    done = run(*words)
    assert (done.status, done.out) == (2, "")
    assert re.fullmatch(r"sharpening( [\w-]+)?: .+\n", done.err)
    assert done.err.partition(": ")[2].startswith(message)
    assert contents(here) == before


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_without_torch_it_says_what_to_install(
    missing: str, here: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    before = contents(here)
    for words in (("warm-start",), ("evaluate", "model"), ("audit", "--model", "model")):
        assert run(*words) == Done(2, "", f"sharpening: this needs {missing}: want `pip install '.[llm]'` first\n")
    assert contents(here) == before


def test_the_command_line_waits_for_no_torch() -> None:
    """No command imports it, or what is slow beside it, before its options are valid."""
    names = ("torch", "transformers", "math_verify", "pebble", "pyarrow")
    code = (
        f"import sys; from sharpening import cli; [cli.parser_of(name) for name in cli.COMMANDS]; "
        f"print([m for m in {names} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_another_number_of_problems_is_another_run(here: Path, run: Run) -> None:
    for limit in ("3", "2"):
        assert run("audit", "--model", "model", "--limit", limit).status == 0
        assert run("evaluate", "model", "--n", "2", "--limit", limit, "--samples", f"{limit}.jsonl").status == 0
        assert len((here / f"{limit}.jsonl").read_text().splitlines()) == 2 * int(limit)
    runs = store.list_runs("results")
    assert len(runs) == 4
    found = [run / "problems.csv" for run in runs if (run / "problems.csv").exists()]
    assert sorted(len(store.read_rows(path)) for path in found) == [2, 3]
