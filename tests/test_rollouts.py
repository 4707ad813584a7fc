"""Reading rollouts: groups, fields and what is refused, from JSON lines and from parquet."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharpening.samples import lines as rows_of_files
from sharpening.samples import rollouts

parquet = pytest.importorskip("pyarrow.parquet")
GOOD = {"prompt": "p", "reward": 1.0, "correct": True, "log_prob": -3.0, "num_tokens": 2}


def lines(*records: Mapping[str, Any]) -> str:
    return "\n".join(map(json.dumps, records))


def table(path: Path, columns: Mapping[str, list[Any]]) -> Path:
    """A parquet file, whatever its name."""
    import pyarrow

    parquet.write_table(pyarrow.table(dict(columns)), path / "file")
    return path / "file"


def test_a_group_is_the_completions_of_a_prompt_wherever_they_stand():
    """Interleaved prompts, two sizes, an empty line: groups of one size together, the smaller first, order kept."""
    rows = [{**GOOD, "prompt": prompt, "log_prob": -float(i)} for i, prompt in enumerate("abaca")]
    found = rollouts.read_jsonl("\n\n" + lines(*rows) + "\n", "f")
    assert found.shapes == ((2, 1), (1, 3))
    assert found.inputs["log_prob"].tolist() == [-1, -3, 0, -2, -4]
    assert found.lines.tolist() == [4, 6, 3, 5, 7]
    assert found.group.tolist() == [0, 1, 2, 2, 2]
    assert [block["log_prob"].tolist() for block in found.blocks()] == [[[-1], [-3]], [[0, -2, -4]]]


def test_a_prompt_that_comes_back_at_another_step_is_another_group():
    rows = [{**GOOD, "step": step} for step in (1, 2, 1, 2)]
    assert rollouts.read_jsonl(lines(*rows), "f").shapes == ((2, 2),)


def test_token_log_probs_give_the_sum_and_the_number_of_tokens():
    bare = {key: GOOD[key] for key in ("prompt", "reward", "correct")}
    for extra in ({}, {"num_tokens": 3}, {"log_prob": -3.5}):
        found = rollouts.read_jsonl(lines({**bare, **extra, "token_log_probs": [-1, 0, -2.5]}), "f").inputs
        assert (found["log_prob"].tolist(), found["num_tokens"].tolist()) == ([-3.5], [3.0])


def test_completions_are_numbered_within_their_group_and_an_answer_goes_first():
    texts = [("a", "x"), ("a", "y"), ("b", "y"), ("a", "x"), ("b", "z")]
    rows = [{**GOOD, "prompt": prompt, "completion": text} for prompt, text in texts]
    assert rollouts.read_jsonl(lines(*rows), "f").inputs["answer"].tolist() == [0, 1, 0, 1, 0]
    with_answer = [{**row, "answer": 7} for row in rows]
    assert rollouts.read_jsonl(lines(*with_answer), "f").inputs["answer"].tolist() == [0] * 5


@pytest.mark.parametrize("fault", [{"reward": None}, {"correct": None}, {"reward": math.nan}, {"correct": math.nan}])
def test_null_and_nan_are_unscorable(fault: dict[str, Any]):
    found = rollouts.read_jsonl(lines(GOOD, {**GOOD, **fault}), "f")
    assert found.is_scorable.tolist() == [True, False]
    assert (found.is_correct | found.is_wrong).tolist() == [True, False]


def test_several_rewards_are_summed_and_those_that_are_null_left_out():
    """As TRL sums its reward functions; a completion with none is unscorable."""
    rows = [{"prompt": "p", "right": r, "form": f, "correct": 0} for r, f in ((1, 0.5), (1, None), (None, None))]
    found = rollouts.read_jsonl(lines(*rows), "f", rollouts.Columns(("right", "form")))
    np.testing.assert_array_equal(found.inputs["reward"], [1.5, 1.0, math.nan])


def test_line_separators_and_carriage_returns_are_json():
    text = (
        '{"prompt": "p\u2028q", "reward": 0, "reward": 0, "correct": 0}\r\n{"prompt": "p", "reward": 1, "correct": 1}'
    )
    assert rollouts.read_jsonl(text, "f").shapes == ((2, 1),)


BAD: dict[str, str] = {
    "f: the file is empty": "\n \n",
    "f line 2: it is not JSON (Expecting value at column 1)": lines(GOOD) + "\nnot json",
    "f line 1: it is nested too deeply": '{"prompt": ' + "[" * 100_000,
    "f line 1: a number cannot be read": '{"prompt": "p", "reward": ' + "9" * 5000 + "}",
    "f item 1: it is 1: want an object": "[1]",
    "f line 2: it is 3: want an object": lines(GOOD) + "\n3",
    "f line 1: prompt is None: want": lines({"reward": 1, "correct": 1}),
    "f line 1: prompt is True: want": lines({**GOOD, "prompt": True}),
    "f: there is no field 'correct': say which is, with --correct (numeric fields: reward, other)": lines(
        {"prompt": "p", "reward": 1, "other": 2}
    ),
    "f line 2: reward is 'high': want a finite number, or null": lines(GOOD, {**GOOD, "reward": "high"}),
    "f line 2: reward is 'missing': want a finite number": lines(GOOD, {**GOOD, "reward": "missing"}),
    "f line 1: reward is inf: want a finite number": lines({**GOOD, "reward": math.inf}),
    "f line 1: reward is 1000": '{"prompt": "p", "reward": 1' + "0" * 400 + ', "correct": 1}',
    "f line 1: correct is 0.5: want 0, 1, true, false, or null": lines({**GOOD, "correct": 0.5}),
    "f line 1: log_prob is 0.1: want a log-probability in nats, at most 0": lines({**GOOD, "log_prob": 0.1}),
    "f line 1: log_prob is nan: want a finite number": lines({**GOOD, "log_prob": math.nan}),
    "f line 1: log_prob is -inf: want a finite number": lines({**GOOD, "log_prob": -math.inf}),
    "f line 1: log_prob is False: want a finite number": lines({**GOOD, "log_prob": False}),
    "f line 1: base_log_prob is 2.0: want": lines({**GOOD, "base_log_prob": 2}),
    "f line 2: there is no log_prob, and f line 1 has one": lines(GOOD, {**GOOD, "log_prob": None}),
    "f line 1: there is no answer, and f line 2 has one": lines(GOOD, {**GOOD, "completion": "x"}),
    "f line 1: num_tokens is 0: want an integer of at least 1": lines({**GOOD, "num_tokens": 0}),
    "f line 1: num_tokens is 2.5: want an integer of at least 1": lines({**GOOD, "num_tokens": 2.5}),
    "f line 1: num_tokens is 2: want 3, the length of token_log_probs": lines({**GOOD, "token_log_probs": [-1] * 3}),
    "f line 1: log_prob is -3.0: want -2, the sum of token_log_probs": lines({**GOOD, "token_log_probs": [-1] * 2}),
    "f line 1: token_log_probs is a list: want a list of at least one": lines({**GOOD, "token_log_probs": []}),
    "f line 1: token_log_probs is -1: want a list": lines({**GOOD, "token_log_probs": -1}),
    "f line 1: token_log_probs[1] is 0.5: want a log-prob": lines({**GOOD, "token_log_probs": [-1, 0.5]}),
    "f line 1: token_log_probs[0] is None: want a finite number": lines({**GOOD, "token_log_probs": [None, 0.5]}),
    "f: every completion has null in reward or correct": lines({**GOOD, "reward": None}, {**GOOD, "correct": None}),
}


@pytest.mark.parametrize(("message", "text"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_line_is_named(message: str, text: str):
    """One line that names the file, the line, the field, its value and what is allowed."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is compared below
        rollouts.read_jsonl(text, "f")
    found = str(caught.value)
    assert found.startswith(message)
    assert "\n" not in found
    assert len(found) < 250


def test_every_nesting_depth_is_read_or_refused_in_one_line():
    """Also where the parser still manages and what comes after it does not."""
    outcomes = set()
    for depth in (*range(5, 3000, 60), 100_000):
        record = '{"prompt": ' + "[" * depth + "]" * depth + ', "reward": 1, "correct": 1}'
        try:
            outcomes.add(str(rollouts.read_jsonl(record, "f").shapes))
        except ValueError as error:
            outcomes.add(str(error))
    assert outcomes == {"((1, 1),)", f"f line 1: {rows_of_files.TOO_DEEP}"}


TRL: dict[str, list[Any]] = {
    "step": [5] * 4,
    "prompt": [[{"role": "user", "content": text}] for text in "aabb"],
    "completion": [[{"role": "assistant", "content": text}] for text in "xyxx"],
    "right": [1.0, 0.0, None, 1.0],
    "form": [0.1, 0.1, 0.1, 0.0],
    "note": ["x", "", "", ""],
    "advantage": [0.7, -0.7, 0.0, 0.0],
}


def test_trl_completions_are_read(tmp_path: Path):
    """Messages as prompts, one named correctness, rewards summed, no log-probability."""
    found = rollouts.read(table(tmp_path, TRL), "f", rollouts.Columns(("right", "form"), "right"))
    assert found.shapes == ((2, 2),)
    np.testing.assert_array_equal(found.inputs["reward"], [1.1, 0.1, 0.1, 1.0])
    np.testing.assert_array_equal(found.inputs["correct"], [1, 0, math.nan, 1])
    assert found.inputs["answer"].tolist() == [0, 1, 0, 0]
    assert set(found.inputs) == {"reward", "correct", "answer"}


def test_the_only_reward_function_is_reward_and_correctness(tmp_path: Path):
    found = rollouts.read(table(tmp_path, {key: TRL[key] for key in TRL if key != "form"}), "f")
    np.testing.assert_array_equal(found.inputs["reward"], found.inputs["correct"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            rollouts.Columns(),
            "f: there is no field 'reward': say which is, with --reward (numeric fields: right, form)",
        ),
        (rollouts.Columns(("right",)), "f: there is no field 'correct': say which is, with --correct"),
        (
            rollouts.Columns(("rigth",), "right"),
            "f: there is no field 'rigth': want one of step, prompt, completion, right",
        ),
        (rollouts.Columns(("right",), "form"), "f row 1: form is 0.1: want 0, 1, true, false"),
        (rollouts.Columns(("note",), "right"), "f row 1: note is 'x': want a finite number"),
    ],
)
def test_columns_that_do_not_fit_are_named(columns: rollouts.Columns, message: str, tmp_path: Path):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 the text is compared below
        rollouts.read(table(tmp_path, TRL), "f", columns)
    assert str(caught.value).startswith(message)


def test_a_missing_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = table(tmp_path, TRL)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^f: reading parquet needs pyarrow: want `pip install pyarrow` first$"):
        rollouts.read(path, "f")


def test_the_dump_of_verl_is_read(tmp_path: Path):
    """Its newest form has an id a sample: groups are by prompt and step; null acc is unscorable, text is read."""
    rows = [
        {"input": text, "output": f"{n}", "gts": "1", "score": float(n % 2), "step": 1, "uid": f"{text}{n}"}
        for text in "ab"
        for n in range(4)
    ]
    path = tmp_path / "1.jsonl"
    path.write_text(lines(*rows))
    found = rollouts.read(path, "f")
    assert found.shapes == ((2, 4),)
    np.testing.assert_array_equal(found.inputs["correct"], found.inputs["reward"])
    assert found.inputs["answer"].tolist() == [0, 1, 2, 3] * 2
    for row, mark in zip(rows, ("True", "False", None, 1, "1.0", 0, True, False), strict=True):
        row["acc"] = mark
    path.write_text(lines(*rows))
    np.testing.assert_array_equal(rollouts.read(path, "f").inputs["correct"], [1, 0, math.nan, 1, 1, 0, 1, 0])
    path.write_text(lines(*rows, {**rows[0], "acc": "maybe"}))
    with pytest.raises(ValueError, match=r"^f line 9: acc is 'maybe': want a finite number, or null if unscorable$"):
        rollouts.read(path, "f", rollouts.Columns(correct="acc"))
