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
from sharpening.samples.formats.readers import Fields
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
            "completion": "    return 1\n",
            "result": results[mark],
            "passed": bool(mark),
        }
        for problem, mark in EACH
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
            resps=[[f"so {mark}" for mark in marks]],
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
            "output": f"Answer: {mark}",
            "gts": "1",
            "score": 1.0 if mark else -1.0,
            "step": 100,
            "reward": 1.0 if mark else -1.0,
            "acc": bool(mark),
            "pred": str(mark),
        }
        for problem, mark in EACH
    ]


def jsonl_rows(**rest: Any) -> list[dict[str, Any]]:
    return [{"problem": problem, "correct": mark, **rest} for problem, mark in EACH]


CSV = "problem,n,c\n" + "".join(f"{problem},{n},{c}\n" for problem, (n, c) in COUNTS.items())


def write_trl(path: Path, **rest: Any) -> None:
    """What GRPOTrainer writes with log_completions: one column a reward function, then the advantage."""
    table = {
        "step": [str(100)] * len(EACH),
        "prompt": [f"problem {problem}" for problem, _ in EACH],
        "completion": [f"so {mark}" for _, mark in EACH],
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
    "jsonl": ("jsonl", lines(jsonl_rows())),
    "jsonl with true and a byte order mark": ("jsonl", "\ufeff" + lines(jsonl_rows()).replace(": 1}", ": true}")),
    "csv": ("csv", CSV),
    "csv from a spreadsheet": ("csv", "\ufeffn,note,problem,c\r\n4,,0,3\r\n4,x,1,0\r\n4,,2,4\r\n"),
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
    write_trl(path, format_reward=[1.0] * len(EACH), solution=["1"] * len(EACH))
    with pytest.raises(ValueError, match=r"file line 1: several fields could be the reward column \(accuracy_reward, "):
        sample_files.read(path, "file", None, Fields())
    found, _ = sample_files.read(path, "file", "trl", Fields(metric="accuracy_reward", answer="solution"))
    assert counts(found) == list(COUNTS.values())
    assert found.answers is not None
    write_trl(path, format_reward=[None, *[1.0] * (len(EACH) - 1)])
    with pytest.raises(ValueError, match="file line 1: format_reward is null: want 0, 1, true or false"):
        sample_files.read(path, "file", None, Fields(metric="format_reward"))


def test_trl_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trl(tmp_path / "x.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^file: reading parquet needs pyarrow: want `pip install pyarrow` first$"):
        sample_files.read(tmp_path / "x.parquet", "file", None, Fields())


def test_a_broken_parquet_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(ValueError, match=r"^file: it is not a readable parquet file: [^\n]+$"):
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
    with pytest.raises(ValueError, match=r"several fields could be the metric \(acc, acc_norm\)"):
        read(lines(rows))
    assert counts(read(lines(rows), metric="acc")) == [(1, 1)] * 3


def test_answers_are_counted_per_problem(read: Read) -> None:
    for samples in (read(lines(lm_eval_lists())), read(lines(verl_rows()))):
        assert samples.answers is not None
        (first,) = samples.answers[0]
        assert dict(zip(first.counts.tolist(), first.correct.tolist(), strict=True)) == {3: 1.0, 1: 0.0}
    assert read(lines(human_eval_rows())).answers is None
    rows = jsonl_rows(answer="7" * 1000)
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


GOOD = lines(jsonl_rows())
ONE = '{"problem": "a", "correct": 1, "sample": 5}\n'
HUMAN_EVAL_LINE = '{"task_id": "a", "completion": "", "passed": true, "completion_id": 0}\n'
LM_EVAL_LINE = '{"doc_id": 1, "resps": 1, "filtered_resps": 1, "metrics": 1, "acc": 1, "f1": 1}\n'
BAD_TEXTS: dict[str, str | bytes] = {
    ": the file is empty: want at least one sample": "",
    ": the file is empty: want": "problem,n,c\n",
    ": the file is empty: want at": "\n \n",
    " line 1: unknown format, fields a, b: want those of a format (human_eval: ": '{"a": 1, "b": 1}',
    " line 1: unknown format, columns a, b: want problem, n, c, or JSON Lines": "a,b\n1,2\n",
    " line 1: it begins a JSON list: want JSON Lines": "[" + ONE + "]",
    " line 13: field 'correct' is missing: want it in every line": GOOD + '{"problem": "a"}\n',
    " line 13: field 'problem' is missing": GOOD + '{"correct": 1}\n',
    " line 14: it is not JSON: ": GOOD + "\n{",
    " line 13: it is 5: want an object": GOOD + "5\n",
    " line 13: correct is NaN: want 0, 1, true or false": GOOD + '{"problem": "a", "correct": NaN}\n',
    ' line 13: correct is "yes": want 0, 1, true or false': GOOD + '{"problem": "a", "correct": "yes"}\n',
    ": correct is null in every line: want samples that could be scored": '{"problem": "a", "correct": null}\n',
    " line 1: acc is null: want 0, 1": lines(verl_rows()).replace("true", "null").replace("false", "null"),
    " line 13: correct is 0.5: want 0, 1, true or false; for other": GOOD + '{"problem": "a", "correct": 0.5}\n',
    " line 13: problem is null: want a name": GOOD + '{"problem": null, "correct": 1}\n',
    " line 2: sample '5' of problem 'a' is there before: want it once": ONE + ONE,
    " line 1: it is not JSON: Exceeds the limit": '{"problem": ' + "1" * 5000 + "}",
    " line 2: sample '0' of problem 'a' is there": HUMAN_EVAL_LINE * 2,
    " line 1: several fields could be the metric (acc, f1)": LM_EVAL_LINE,
    " line 1: field 'passed' is missing": '{"task_id": "a", "completion": "b"}\n',
    " line 4: sample 0 of problem '0' is there before": lines(lm_eval_first()[:3] + lm_eval_first()[:1]),
    " line 1: pass@1 is 0.3: want a share of 4 generations": lines(lm_eval_shares()[:1]).replace("0.75", "0.3"),
    " line 1: field 'resps' is missing": '{"doc_id": 1, "filtered_resps": ["a"], "acc": 1.0}\n',
    " line 3: c is 5, n is 4: want c at most n": CSV.replace("1,4,0", "1,4,5"),
    " line 3: problem '0' is there before: want it once": CSV.replace("1,4,0", "0,4,0"),
    " line 3: c is 'nan': want an integer from 0": CSV.replace("1,4,0", "1,4,nan"),
    " line 3: n is '0': want an integer from 1": CSV.replace("1,4,0", "1,0,0"),
    " line 3: c is '-1': want an integer from 0": CSV.replace("1,4,0", "1,4,-1"),
    " line 3: c is '0.5': want an integer": CSV.replace("1,4,0", "1,4,0.5"),
    " line 3: 2 fields: want 3, as in the header": CSV.replace("1,4,0", "1,4"),
    " line 3: malformed CSV: ": CSV.replace("1,4,0", '"1,4,0'),
    " line 1: want one column 'n' in the header": CSV.replace("problem,n", "problem,n,n"),
    " line 13: it is not UTF-8 text (": GOOD.encode() + b"\xff\n",
}


@pytest.mark.parametrize(("message", "text"), BAD_TEXTS.items(), ids=list(BAD_TEXTS))
def test_a_bad_file_is_one_line(message: str, text: str | bytes, read: Read) -> None:
    with pytest.raises(ValueError, match=r"^file") as caught:
        read(text)
    assert str(caught.value).startswith("file" + message)
    assert "\n" not in str(caught.value)


def test_a_named_format_must_fit(read: Read, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file line 1: field 'passed' is missing"):
        read(GOOD, "human_eval")
    with pytest.raises(ValueError, match="file: it is not a parquet file, as --format trl says"):
        read(GOOD, "trl")
    write_trl(tmp_path / "x")
    with pytest.raises(ValueError, match="it is a parquet file: want --format trl, or none, not csv"):
        sample_files.read(tmp_path / "x", "file", "csv", Fields())


def test_deep_nesting_is_one_line(read: Read) -> None:
    with pytest.raises(ValueError, match="file line 1: it is not JSON: maximum recursion depth exceeded"):
        read('{"problem": ' + "[" * 100_000)
