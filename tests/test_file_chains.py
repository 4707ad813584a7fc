"""Files that chain: samples into `predict` and `preview`, standard input; rollouts are no samples."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.storage import store
from tests.tolerances import FLOAT64

ROOT = Path(__file__).resolve().parent.parent
ANSWERS = {"a": (6, True), "w": (8, False), "b": (1, True), "x": (1, False)}  # answer: how often, correct


def samples(problem: str, answers: dict[str, tuple[int, bool | None]]) -> list[dict]:
    """Rows with the fields that `evaluate` writes; an answer that begins with ! is only a text."""
    return [
        {
            "problem": problem,
            "sample": number,
            "correct": correct,
            "well_formed": not answer.startswith("!"),
            "reason": "",
            "answer": "" if answer.startswith("!") else answer,
            "prompt": f"solve {problem}",
            "completion": f"so {answer}",
            "is_finished": True,
            "num_tokens": 3,
            "log_prob": -float(len(answer) + number % 2),
            "entropy": 0.5,
        }
        for number, (answer, correct) in enumerate(
            (answer, correct) for answer, (count, correct) in answers.items() for _ in range(count)
        )
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rows = samples("p", ANSWERS) + samples("q", {"a": (2, False), "!1": (1, False), "!2": (1, False), "c": (3, True)})
    Path("s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Path("a.csv").write_text("answer,count,correct\n" + "".join(f"{k},{n},{int(c)}\n" for k, (n, c) in ANSWERS.items()))
    return tmp_path


def run(*words: str) -> list[dict]:
    """The rows of the only run that a command stores."""
    folder = Path(f"out{len(list(Path().glob('out*')))}")
    assert cli.main([*words, "--beta", "1", "--out", str(folder)]) == 0
    (found,) = store.list_runs(folder)
    return store.read_rows(found / "rows.csv")


@pytest.mark.slow
def test_samples_are_counted_as_a_table_of_their_answers(here: Path, capsys) -> None:
    """The predictions are those of the table that was counted by hand."""
    found, want = run("predict", "--samples", "s.jsonl", "--problem", "p"), run("predict", "a.csv")
    assert [{**row, "value": 0} for row in found] == [{**row, "value": 0} for row in want]
    np.testing.assert_allclose([row["value"] for row in found], [row["value"] for row in want], rtol=FLOAT64)
    assert "note:" not in capsys.readouterr().err


@pytest.mark.slow
def test_completions_without_an_answer_are_told_apart_by_their_text(here: Path) -> None:
    (row,) = [
        row for row in run("predict", "--samples", "s.jsonl", "--problem", "q") if row["quantity"] == "num_answers"
    ]
    assert row["value"] == 4


@pytest.mark.slow
def test_what_could_not_be_scored_and_what_is_marked_both_ways_is_told(here: Path, capsys) -> None:
    rows = samples("p", {**ANSWERS, "n": (2, None)}) + samples("p", {"a": (1, False)})
    for number, row in enumerate(rows):
        row["sample"] = number
    Path("t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = run("predict", "--samples", "t.jsonl")
    err = capsys.readouterr().err
    assert "note: 2 samples could not be scored and are left out\n" in err
    assert "note: 1 answers are marked correct in one sample and wrong in another: most marks count\n" in err
    (mass,) = [row["value"] for row in found if row["section"] == "base" and row["quantity"] == "correctness"]
    np.testing.assert_allclose(mass, 8 / 17, rtol=FLOAT64)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--samples", "s.jsonl"), "--problem: missing: s.jsonl has 2 problems: want one of 'p', 'q'"),
        (
            ("--samples", "s.jsonl", "--problem", "z"),
            "--problem: 'z': s.jsonl has no samples of it: want one of 'p', 'q'",
        ),
        (("s.jsonl",), "s.jsonl line 1: it is JSON, as samples are: want --samples s.jsonl --problem ID, or a header"),
        (
            ("--samples", "bare.jsonl"),
            "bare.jsonl line 1: it has no answer and no text: want one of them",
        ),
        (("--samples", "a.csv"), "a.csv: it is CSV with the fields answer, count, correct: that is no known format"),
    ],
)
def test_what_is_no_table_and_no_samples_is_one_line(words, message: str, here: Path, capsys) -> None:
    Path("bare.jsonl").write_text('{"problem": "p", "correct": true}\n{"problem": "p", "correct": false}\n')
    assert cli.main(["predict", *words]) == 2
    assert capsys.readouterr().err.startswith(f"sharpening: {message}")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["predict", "simulate"])
def test_a_hyphen_is_standard_input(command: str, here: Path, monkeypatch, capsys) -> None:
    """The same output as from the file, but for the name in the store; a terminal and bad text are refused."""
    source = {"predict": Path("a.csv"), "simulate": Path("b.json")}[command]
    Path("b.json").write_text(
        json.dumps({"base_policy": [0.5, 0.5], "correct": [1, 0], "method": "ds", "num_steps": 2})
    )

    class Given(io.TextIOWrapper):
        def isatty(self) -> bool:
            return False

    monkeypatch.setattr(sys, "stdin", Given(io.BytesIO(source.read_bytes())))
    assert cli.main([command, "-", "--out", "piped"]) == 0
    piped = capsys.readouterr().out
    assert cli.main([command, str(source), "--out", "named"]) == 0
    assert piped.split("\nr")[0] == capsys.readouterr().out.split("\nr")[0]
    monkeypatch.setattr(sys, "stdin", Given(io.BytesIO(b"caf\xe9")))
    assert cli.main([command, "-"]) == 2
    assert capsys.readouterr().err.startswith("sharpening: standard input line 1: it is not UTF-8 text")
    monkeypatch.setattr(Given, "isatty", lambda self: True)
    assert cli.main([command, "-"]) == 2
    assert "standard input is a terminal" in capsys.readouterr().err


def test_samples_are_previewed_with_correct_as_the_reward(here: Path, capsys) -> None:
    """As with a reward that equals it, number for number; the output says so."""
    rows = [json.loads(line) for line in Path("s.jsonl").read_text().splitlines()]
    Path("r.jsonl").write_text("".join(json.dumps({**row, "reward": float(row["correct"])}) + "\n" for row in rows))
    outputs = []
    for name in ("s", "r"):
        assert cli.main(["preview", f"{name}.jsonl", "--method", "ds", "ips", "--json", f"{name}.json"]) == 0
        outputs.append((capsys.readouterr().out, json.loads(Path(f"{name}.json").read_text())))
    assert outputs[0][1]["methods"] == outputs[1][1]["methods"]
    assert "The reward is the field 'correct'." in outputs[0][0]
    assert "The reward is the field" not in outputs[1][0]


def test_a_file_with_another_reward_still_has_to_say_which(here: Path, capsys) -> None:
    rows = [{"prompt": "p", "correct": c, "my_reward": c, "format_reward": 1} for c in (0, 1)]
    Path("r.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["preview", "r.jsonl"]) == 2
    assert "there is no field 'reward': say which is, with --reward" in capsys.readouterr().err


def test_every_method_that_is_asked_for_gets_advice(here: Path, capsys) -> None:
    """One without a term is told to have none; without --method the advice is about ds alone."""
    assert cli.main(["preview", "s.jsonl", "--method", "grpo", "entropy_bonus", "ds"]) == 0
    advice = capsys.readouterr().out.partition("ADVICE\n")[2]
    assert "  grpo: it has no term, so there is no strength to choose." in advice
    for name in ("entropy_bonus with strength=0.1", "ds with gamma_correct=0.1"):
        assert f"  {name} sum: the bonus is " in advice
    assert " ".join(advice.split()).count("To start, a bonus of a tenth of the advantage: ") == 2
    assert cli.main(["preview", "s.jsonl"]) == 0
    advice = capsys.readouterr().out.partition("ADVICE\n")[2]
    assert "ds with gamma_correct" in advice
    assert "entropy_bonus with" not in advice


def test_rollouts_are_no_samples_and_the_error_names_preview(here: Path, capsys) -> None:
    assert cli.main(["samples", str(ROOT / "examples" / "rollouts.jsonl")]) == 2
    assert "what methods would do to rollouts says preview" in capsys.readouterr().err
