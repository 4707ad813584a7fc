"""Mathematics problems: what files may hold, what a bad one is told, and the task."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from sharpening.llm.mathematics import problems as math_problems
from sharpening.llm.mathematics.problems import PRESETS, Columns, MathProblem, MathTask
from sharpening.llm.mathematics.scorer import MathScorer

EXAMPLES = Path(__file__).resolve().parent.parent / "examples/math_problems.jsonl"
BAD_FILES = [  # bytes, columns, what the message says
    (b"", Columns(), "the file is empty: want at least one problem"),
    (b"\n \n", Columns(), "the file is empty"),
    (b'{"problem": "1+1", "answer": "2"}\n{"problem": ', Columns(), "line 2: it is not JSON: want one object per line"),
    (b"[" * 100_000, Columns(), "line 1: it is not JSON"),
    (b'["1+1", "2"]', Columns(), 'line 1: it is ["1+1", "2"]: want one object per line'),
    (b'{"problem": "\xff"}', Columns(), "line 1: it is not UTF-8 text (invalid start byte): save it as UTF-8"),
    (
        b'{"question": "1+1", "result": 2}',
        Columns(),
        "line 1: no column problem, answer: want it, found question, result",
    ),
    (b"{}", Columns(), "line 1: no column problem, answer: want it, found none"),
    (
        b'{"problem": "1+1", "answer": "2"}',
        Columns(id="key"),
        "line 1: no column key: want it, found problem, answer",
    ),
    (b'{"problem": ["a"], "answer": "2"}', Columns(), 'line 1: problem is ["a"]: want text that is not empty, or an'),
    (b'{"problem": "1+1", "answer": " "}', Columns(), 'line 1: answer is " ": want text that is not empty'),
    (b'{"problem": "1+1", "answer": null}', Columns(), "line 1: answer is null: want text"),
    (b'{"problem": "1+1", "answer": 2.5}', Columns(), "line 1: answer is 2.5: want text"),
    (b'{"problem": "1+1", "answer": true}', Columns(), "line 1: answer is true: want text"),
    (b'{"problem": "1+1", "answer": ["2", "3"]}', Columns(), 'line 1: answer is ["2", "3"]: want text'),
    (
        b'\n{"problem": "1+1", "answer": 2, "key": 7}\n{"problem": "2+2", "answer": 4, "key": "7"}',
        Columns(id="key"),
        'line 3: key is "7", as in line 2: want each id once',
    ),
    (b"PAR1 and no more", Columns(), "it is not a readable parquet file: "),
]


def written(folder: Path, content: bytes) -> Path:
    path = folder / "problems.jsonl"
    path.write_bytes(content)
    return path


def table(folder: Path, columns: dict[str, list[Any]]) -> Path:
    path = folder / "problems.parquet"
    parquet.write_table(pyarrow.table(columns), path)
    return path


@pytest.mark.parametrize(("content", "columns", "message"), BAD_FILES)
def test_a_bad_file_is_told_in_one_line_what_is_wanted(
    tmp_path: Path, content: bytes, columns: Columns, message: str
) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ValueError, match="problems") as error:
        math_problems.load(path, columns)
    assert str(error.value).startswith(f"{path}: {message}")
    assert "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for read in (math_problems.load, lambda path, columns: math_problems.expected_and_found(columns, path)):
        with pytest.raises(ValueError, match=r"absent\.jsonl: cannot be read: No such file"):
            read(tmp_path / "absent.jsonl", Columns())


def test_lines_are_problems_numbered_from_one(tmp_path: Path) -> None:
    content = '\ufeff{"problem": " 1+1", "answer": 2}\n\n{"problem": "é", "answer": ["x"], "more": []}\n'
    path = written(tmp_path, content.encode())
    assert math_problems.load(path, Columns()) == [MathProblem("1", "1+1", "2"), MathProblem("2", "é", "x")]


def test_rows_of_parquet_are_problems_under_the_columns_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, {"question": ["a", "b"], "final_answer": [["1"], ["2"]], "id": [30, 10]})
    columns = Columns("question", "final_answer", "id")
    assert math_problems.load(path, columns) == [MathProblem("30", "a", "1"), MathProblem("10", "b", "2")]
    with pytest.raises(
        ValueError,
        match=r"problems\.parquet: row 1: no column problem, answer: want it, found question, final",
    ):
        math_problems.load(path, Columns())


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = table(tmp_path, {"problem": ["a"], "answer": ["1"]})
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match="reading parquet needs pyarrow: want `pip install pyarrow` first"):
        math_problems.load(path, Columns())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ValueError, match="MATH-500: reading from a hub needs datasets: want `pip install datasets`"):
        math_problems.load_hub(PRESETS["math500"])


def test_a_dry_run_says_what_is_expected_and_what_is_there(tmp_path: Path) -> None:
    rows = [{"question": "x" * 200, "answer": 4}, {"question": "b", "answer": 5}]
    path = written(tmp_path, "\n".join(map(json.dumps, rows)).encode())
    assert math_problems.expected_and_found(Columns(id="key"), path) == {
        "expected": {"problem": "problem", "answer": "answer", "id": "key"},
        "found": ["question", "answer"],
        "missing": ["problem", "key"],
        "first_row": {"question": '"' + "x" * 79 + "...", "answer": "4"},
        "num_rows": 2,
    }
    empty = math_problems.expected_and_found(Columns(), written(tmp_path, b""))
    assert (empty["num_rows"], empty["found"], empty["missing"]) == (0, [], ["problem", "answer"])


def test_every_preset_is_whole_and_marked_as_untried() -> None:
    assert set(PRESETS) == {"math500", "aime24", "aime25", "amc23", "olympiadbench", "minerva"}
    for preset in PRESETS.values():
        assert preset.hub_name.count("/") == 1
        assert all(preset.columns.named().values())
        assert preset.split in ("train", "test")
        assert preset.status == "not tried here"


def test_a_hub_gives_rows_like_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a stand-in for the library `datasets`."""

    class Datasets:
        @staticmethod
        def load_dataset(name: str, config: str | None, *, split: str) -> list[dict[str, Any]]:
            if config is None:
                raise ConnectionError("no network\nat all")
            return [{"question": f"{name} {config} {split}", "final_answer": ["7"], "id": 3}]

    monkeypatch.setitem(sys.modules, "datasets", Datasets)
    preset = PRESETS["olympiadbench"]
    text = f"{preset.hub_name} {preset.config} {preset.split}"
    assert math_problems.load_hub(preset) == [MathProblem("3", text, "7")]
    with pytest.raises(ValueError, match="OlympiadBench: row 1: no column problem, answer: want it, found question"):
        math_problems.load_hub(dataclasses.replace(preset, columns=Columns()))
    with pytest.raises(ValueError, match="aime_2024: cannot be loaded: no network: want a hub name, config and split"):
        math_problems.load_hub(PRESETS["aime24"])


def test_the_examples_are_a_task_that_marks_completions() -> None:
    problems = math_problems.load(EXAMPLES, Columns())
    assert len(problems) >= 40
    with MathScorer(1, 60.0) as scorer:
        math_problems.check_gold(problems[:3], scorer)
        task = MathTask(problems[:3], scorer)
        places = [2, 0, 0]
        texts = [rf"\boxed{{{problems[2].answer}}}", r"\boxed{399}", r"\boxed{400}"]
        marks = task.marks(places, texts, [True, True, True])
        cut_off = task.marks(places, texts, [False, False, True])
        repeated = task.marks([0, 1, 2], [problem.problem for problem in task.problems], [True] * 3)
        unreadable = [MathProblem(str(number), "?", f"foo{number} bar(") for number in range(7)]
        with pytest.raises(ValueError, match="problem") as error:
            math_problems.check_gold([*problems[:3], *unreadable], scorer)
    assert [mark.correct for mark in marks] == [1.0, 1.0, 0.0]
    assert [mark.correct for mark in cut_off + repeated] == [0.0] * 6
    assert [prompt.id for prompt in task.prompts] == ["1", "2", "3"]
    (message,) = task.prompts[0].text
    assert isinstance(message, dict)
    assert message["role"] == "user"
    assert r"\boxed{}" in message["content"]
    assert message["content"].endswith(problems[0].problem)
    assert str(error.value).startswith('problem "0": answer is "foo0 bar(": math-verify cannot read it; problem "1"')
    assert str(error.value).endswith("; and 2 more: want final answers in LaTeX")


def test_columns_of_a_file_that_cannot_be_read_are_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none: cannot be read: No such file or directory$"):
        math_problems.expected_and_found(Columns(), tmp_path / "none")
    path = written(tmp_path, b'{"problem": "1+1", "answer": 2}\nnot')
    with pytest.raises(
        ValueError, match=r'problems.jsonl: line 2: it is not JSON: want one object per line, found "not"$'
    ):
        math_problems.expected_and_found(Columns(), path)
