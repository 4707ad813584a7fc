"""Files of any kind and any harm: what holds the rows is told by content, and what is wrong is one line."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pyarrow
import pytest
from pyarrow import parquet

from sharpening.commands.samples import FormatName
from sharpening.samples import files as sample_files
from sharpening.samples import lines
from sharpening.samples.formats.fields import Fields
from sharpening.samples.formats.table import FORMATS
from sharpening.samples.tally import Samples
from tests import test_sample_formats as made

GOOD = made.lines(made.jsonl_rows())
ONE = '{"problem": "a", "correct": 1, "sample": 5}\n'
HUMAN_EVAL_LINE = '{"task_id": "a", "completion": "", "passed": true, "completion_id": 0}\n'
LM_EVAL_LINE = '{"doc_id": 1, "resps": 1, "filtered_resps": 1, "metrics": 1, "acc": 1, "f1": 1}\n'
SCORES = ("exact_match", "f1")
OWN_ADVICE = "for samples of your own say --problem FIELD and --metric FIELD"

Read = Callable[..., Samples]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_bytes(text: str | bytes, file_format: str | None = None, **fields: Any) -> Samples:
        (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
        return sample_files.read(tmp_path / "file", "file", file_format, Fields(**fields))[0]

    return read_bytes


def zipped(members: dict[str, str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return stream.getvalue()


def in_parquet(rows: list[dict[str, Any]]) -> bytes:
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), stream)
    return stream.getvalue()


def eval_log(status: str = "success") -> bytes:
    """An Inspect log as `.eval`: the header, and a file a sample."""
    samples = {f"samples/{one['id']}_epoch_{one['epoch']}.json": json.dumps(one) for one in made.inspect_samples()}
    header = {"version": 2, "status": status, "eval": {"task": "t"}}
    return zipped({"_journal/start.json": "{}", "header.json": json.dumps(header), **samples, "summaries.json": "[]"})


CONTAINERS: dict[str, bytes] = {
    "gzip": gzip.compress(GOOD.encode()),
    "two files with byte order marks": b"\xef\xbb\xbf" + GOOD[:93].encode() + b"\xef\xbb\xbf" + GOOD[93:].encode(),
    "gzip in two parts": gzip.compress(GOOD[:100].encode()) + gzip.compress(GOOD[100:].encode()),
    "gzip of CSV": gzip.compress(made.CSV.encode()),
    "gzip of a document": gzip.compress(json.dumps(made.jsonl_rows(), indent=1).encode()),
    "gzip of parquet": gzip.compress(in_parquet(made.jsonl_rows())),
    "parquet, a sample a row": in_parquet(made.jsonl_rows()),
    "parquet, a list a problem": in_parquet(
        [{"problem": name, "correct": marks} for name, marks in made.MARKS.items()]
    ),
    "a tool's rows in parquet": in_parquet(made.human_eval_rows()),
    "a tool's rows in a JSON list": json.dumps(made.verl_rows(), indent=4).encode(),
    "an Inspect archive": eval_log(),
}


@pytest.mark.parametrize("data", CONTAINERS.values(), ids=list(CONTAINERS))
def test_what_holds_the_rows_does_not_matter(data: bytes, read: Read) -> None:
    samples = read(data)
    assert made.counts(samples) == list(made.COUNTS.values())
    assert samples.notes == ()


def test_a_log_that_broke_off_says_so(read: Read) -> None:
    assert read(eval_log("error")).notes == ('the log\'s status is "error": samples may be missing',)


BAD_TEXTS: dict[str, str | bytes] = {
    ": the file is empty: want at least one sample": "",
    ": the file is empty: want": "problem,n,c\n",
    ": the file is empty: want at": "\n \n",
    ": the file is empty: want at least": "[]",
    ": it is JSON Lines with the fields a, b: that is no known format: " + OWN_ADVICE: '{"a": 1, "b": 1}',
    ": it is a JSON list of objects with the field a: that is no known": '[{"a": 1}]',
    ": it is CSV with the fields a, b: that is no known format": "a,b\n1,2\n",
    ": it is JSON Lines with the fields idx, score: for qwen_math it lacks pred; " + OWN_ADVICE: (
        '{"idx": 1, "score": 1}'
    ),
    ": it is JSON Lines with no fields: want those of a sample": "{}",
    " line 1: it is 3: want an object": "3\n" + GOOD,
    " line 2: sample '1' of problem 'a' is there before: want it once": (
        '{"problem": "a", "correct": null, "sample": 1}\n{"problem": "a", "correct": 1, "sample": 1}\n'
    ),
    " line 2: the metric is f1, in rows before exact_match: want its name after --metric": made.lines(
        [{**row, "f1": 1.0, "metrics": [name]} for row, name in zip(made.lm_eval_lists()[:2], SCORES, strict=True)]
    ),
    " line 1: field 'pass@8' is missing": made.lines([{**made.lm_eval_shares()[0], "metrics": ["pass@1", "pass@8"]}]),
    ": it is JSON Lines with the field 'a\\nb': that is": '{"a\\nb": 1}',
    " item 1: it is 1: want an object": "[1]",
    " item 2: it is null: want an object": json.dumps([{"problem": 1, "correct": 1}, None]),
    " line 13: field 'correct' is missing: want it in every line (here are problem)": GOOD + '{"problem": "a"}\n',
    " line 13: field 'problem' is missing": GOOD + '{"correct": 1}\n',
    " line 1: field 'correct' is missing: want --metric with the field that says what is correct (0, 1, true or false "
    "here: right, last)": '{"problem": "a", "right": [true, false], "last": "False", "size": 3}\n',
    " line 14: it is not JSON (": GOOD + "\n{",
    " line 1: it is not JSON (Invalid control character": '{"problem": 1, "corr\n' + GOOD,
    " line 3: it is not JSON (Extra data": '{"a":\n1}\n{"a":\n2}',
    " line 13: it is 5: want an object": GOOD + "5\n",
    ' line 13: field "correct" has two values: want it once': GOOD + '{"problem": 1, "correct": 1, "correct": 0}\n',
    ' line 1 and on: field "correct" has two values: want it once': '[\n{"problem": 1, "correct": 1, "correct": 0}]\n',
    " line 13: correct is Infinity: want 0, 1, true or false": GOOD + '{"problem": "a", "correct": Infinity}\n',
    ' line 13: correct is "yes": want 0, 1, true or false': GOOD + '{"problem": "a", "correct": "yes"}\n',
    ": correct is null in every line: want samples that could be scored": '{"problem": "a", "correct": null}\n',
    ": acc is null in every line: want samples": made.lines([{**row, "acc": None} for row in made.verl_rows()]),
    " line 13: correct is 0.5: want 0, 1, true or false; for other": GOOD + '{"problem": "a", "correct": 0.5}\n',
    " line 13: correct is 1000": GOOD + '{"problem": "a", "correct": 1' + "0" * 400 + "}\n",
    " line 13: problem is null: want a name": GOOD + '{"problem": null, "correct": 1}\n',
    " line 13: problem is NaN: want a name": GOOD + '{"problem": NaN, "correct": 1}\n',
    " line 13: correct is []: want a list with a mark a sample": GOOD + '{"problem": "a", "correct": []}\n',
    " line 1: answer has 1 entries: want 2, one a sample": '{"problem": "a", "correct": [1, 0], "answer": ["x"]}\n',
    " line 2: sample '5' of problem 'a' is there before: want it once": ONE + ONE,
    " line 1: a number cannot be read (Exceeds the limit": '{"problem": ' + "1" * 5000 + "}",
    " line 2: sample '0' of problem 'a' is there": HUMAN_EVAL_LINE * 2,
    " line 1: several fields could be the metric (acc, f1)": LM_EVAL_LINE,
    " line 1: field 'passed' is missing, these are samples before evaluation: want the *_results.jsonl": (
        '{"task_id": "a", "completion": "b"}\n'
    ),
    " item 1: field 'graded_list' is missing, these are samples before evaluation": (
        '[{"question_id": 1, "code_list": []}]'
    ),
    " line 4: sample 0 of problem '0' is there before": made.lines(made.lm_eval_first()[:3] + made.lm_eval_first()[:1]),
    " line 1: pass@1 is 0.3: want a share of 4 generations": (
        made.lines(made.lm_eval_shares()[:1]).replace("0.75", "0.3")
    ),
    " line 1: field 'resps' is missing": '{"doc_id": 1, "filtered_resps": ["a"], "acc": 1.0}\n',
    " line 3: c is 5, n is 4: want c at most n": made.CSV.replace("1,4,0", "1,4,5"),
    " line 3: problem '0' is there before: want it once": made.CSV.replace("1,4,0", "0,4,0"),
    ' line 3: c is "nan": want an integer from 0': made.CSV.replace("1,4,0", "1,4,nan"),
    ' line 3: n is "0": want an integer from 1': made.CSV.replace("1,4,0", "1,0,0"),
    ' line 3: c is "-1": want an integer from 0': made.CSV.replace("1,4,0", "1,4,-1"),
    ' line 3: c is "0.5": want an integer': made.CSV.replace("1,4,0", "1,4,0.5"),
    ' line 3: n is "true": want an integer': made.CSV.replace("1,4,0", "1,true,0"),
    " line 3: 2 fields: want 3, as in the header": made.CSV.replace("1,4,0", "1,4"),
    " line 3: malformed CSV: ": made.CSV.replace("1,4,0", '"1,4,0'),
    " line 1: column 'n' is there twice: want it once": made.CSV.replace("problem,n", "problem,n,n"),
    " line 13: it is not UTF-8 text (": GOOD.encode() + b"\xff\n",
    " line 1: it is not UTF-8 text (invalid start byte): save": GOOD.encode("utf-16"),
    " line 1: it is nested too deeply": '{"problem": ' + "[" * 100_000,
    " line 1 and on: it is nested too deeply": "[" * 100_000,
    ": it is compressed with bzip2: want it unpacked, or gzip": b"BZh91AY",
    ": it is gzip within gzip: want it unpacked": gzip.compress(gzip.compress(b"x")),
    ": it is not readable gzip: Compressed file ended": gzip.compress(GOOD.encode())[:-10],
    ": it is not a readable zip archive: ": b"PK\x03\x04 and nothing else",
    ": it is a zip archive without samples/*.json, so no log of Inspect: want it unpacked": zipped({"x.jsonl": GOOD}),
    " samples/1.json: it is not JSON (": zipped({"samples/1.json": "{"}),
    " samples/1.json, sample 1: id is null: want a name": zipped(
        {"samples/1.json": '{"id": null, "scores": {"m": {"value": "C"}}, "epoch": 1}'}
    ),
    ": it is not a readable parquet file: ": b"PAR1 and nothing else",
}  # fmt: skip


@pytest.mark.parametrize(("message", "text"), BAD_TEXTS.items(), ids=range(len(BAD_TEXTS)))
def test_a_bad_file_is_one_line(message: str, text: str | bytes, read: Read) -> None:
    with pytest.raises(ValueError, match=r"^file[^\n]+$") as caught:
        read(text)
    assert str(caught.value).startswith("file" + message)


def test_every_nesting_depth_is_read_or_refused_in_one_line(read: Read) -> None:
    """In a field that is not read, in the problem, in the mark, in the answer; also where the parser still manages."""
    rows = (
        '{"problem": 1, "correct": 1, "x": %s}',
        '{"problem": %s, "correct": 1}',
        '{"problem": 1, "correct": %s}',
        '{"problem": 1, "correct": 1, "answer": %s}',
    )
    outcomes = set()
    for row in rows:
        for depth in (*range(800, 1100, 20), 100_000):
            try:
                outcomes.add(str(made.counts(read(row % ("[" * depth + "]" * depth)))))
            except ValueError as error:
                outcomes.add(str(error)[:60])
    assert outcomes <= {
        "[(1, 1)]",
        f"file line 1: {lines.TOO_DEEP}"[:60],
        f"file: {lines.TOO_DEEP}"[:60],  # where the parser manages, and writing it as text does not
        "file line 1: correct is " + "[" * 36,
    }
    assert len(outcomes) >= 3


def test_every_damage_of_an_archive_is_one_line(read: Read) -> None:
    """Each sixteenth byte flipped in turn: the same numbers, or one line."""
    whole = eval_log()
    for place in range(0, len(whole), 16):
        try:
            outcome = str(made.counts(read(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])))
        except ValueError as error:
            outcome = str(error)
        assert re.fullmatch(r"file[^\n]+|\[\(4, 3\), \(4, 0\), \(4, 4\)\]", outcome), outcome


def test_a_named_format_must_fit(read: Read, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file line 1: field 'passed' is missing"):
        read(GOOD, "human_eval")
    with pytest.raises(
        ValueError, match=r"file line 1: field 'prompt' is missing: want it in every line \(here are pro"
    ):
        read(GOOD, "trl", metric="correct")
    made.write_trl(tmp_path / "x")
    with pytest.raises(
        ValueError, match=r"file row 1: field 'correct' is missing: want --metric with .*: accuracy_rew"
    ):
        sample_files.read(tmp_path / "x", "file", "own", Fields())


def test_the_command_knows_every_format() -> None:
    assert set(get_args(FormatName)) == set(FORMATS)


def test_parquet_without_pyarrow_is_one_line(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    data = in_parquet(made.jsonl_rows())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"^file: reading parquet needs pyarrow: want `pip install pyarrow` first$"):
        read(data)


def test_a_column_that_is_there_twice_is_refused(read: Read) -> None:
    names = ["problem", "correct", "correct"]
    stream = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_arrays([pyarrow.array([1])] * 3, names=names), stream)
    with pytest.raises(ValueError, match=r"^file: column 'correct' is there twice: want it once$"):
        read(stream.getvalue())


def test_files_of_one_model_are_pooled(tmp_path: Path) -> None:
    """Ids of samples are of a file; the same file again, another metric and another format are refused."""
    rows = made.human_eval_rows()
    for name, part in (("a", rows[:6]), ("b", rows[6:])):
        (tmp_path / name).write_text(made.lines([{**row, "completion_id": n % 6} for n, row in enumerate(part)]))
    paths = {name: tmp_path / name for name in "ab"}
    together, digest = sample_files.pooled(paths, "m", None, Fields())
    assert dict(zip(together.problems, made.counts(together), strict=True)) == {
        f"HumanEval/{problem}": counts for problem, counts in made.COUNTS.items()
    }
    assert together.notes == ("2 files pooled as one model",)
    in_folder, same = sample_files.read(tmp_path, "m", None, Fields())
    assert made.counts(in_folder) == made.counts(together)
    assert same == digest
    (tmp_path / "c").write_bytes((tmp_path / "a").read_bytes())
    with pytest.raises(ValueError, match=r"^m/c: it is the same as m/a: want the samples of a model once$"):
        sample_files.read(tmp_path, "m/", None, Fields())
    (tmp_path / "c").write_text(GOOD)
    with pytest.raises(
        ValueError, match=r"^m/c: it is own with correct for correct, files before are human_eval with pas"
    ):
        sample_files.read(tmp_path, "m", None, Fields())


def test_in_a_folder_what_holds_no_samples_is_left_out_and_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    with pytest.raises(
        ValueError, match=r"^m: no file in this folder holds samples: want files of samples directly in"
    ):
        sample_files.read(tmp_path, "m", None, Fields())
    (tmp_path / "1.jsonl").write_text(GOOD)
    (tmp_path / "log.txt").write_text("started, at 12:00\nended\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "samples.jsonl").write_text('{"task_id": "a", "completion": "b"}\n')
    (tmp_path / ".hidden").write_text("{")
    found, _ = sample_files.read(tmp_path, "m", None, Fields())
    assert made.counts(found) == list(made.COUNTS.values())
    assert found.notes == (
        "1 files pooled as one model",
        "3 files hold no samples and are left out: log.txt, picture.png, samples.jsonl",
    )
    some = [{"task_id": "a", "completion": "b"}, {"task_id": "a", "completion": "b", "passed": True}]
    for data, message in (
        (GOOD.encode() + b"{", "line 13: it is not JSON"),
        (GOOD.encode("utf-16"), "line 1: it is not UTF-8 text"),
        (b"3\n" + GOOD.encode(), "line 1: it is 3: want an object"),
        (made.lines(some).encode(), "line 1: field 'passed' is missing: want it in every line"),
        (b'{"input": "q", "score": 1}', ": it is JSON Lines with the fields input, score: for verl it lacks output"),
        (b"{}\n" + GOOD.encode(), ": it is JSON Lines with no fields"),
        (b"", ": the file is empty"),
    ):
        (tmp_path / "2.jsonl").write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(str(lines.named(ValueError(message), "m/2.jsonl")))):
            sample_files.read(tmp_path, "m", None, Fields())


def test_the_digest_is_that_of_all_bytes(tmp_path: Path) -> None:
    for data in (GOOD.encode(), *CONTAINERS.values()):
        (tmp_path / "x").write_bytes(data)
        assert sample_files.read(tmp_path / "x", "x", None, Fields())[1] == hashlib.sha256(data).hexdigest()
