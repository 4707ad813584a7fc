"""What readers of samples and rollouts refuse beside the tests of each format: one line with place and value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharpening import cli
from sharpening.samples import files, lines, rollouts
from sharpening.samples.formats.fields import Fields
from tests import test_sample_files as made
from tests import test_sample_formats as formats
from tests.test_sample_marks import lighteval_row

SCORED = {"id": 1, "epoch": 1, "scores": {"match": {"value": "C"}}}
STATUS = {"task_id": "a", "solution": "x", "base_status": "pass"}


def log(*samples: Any) -> str:
    """An Inspect log with these samples."""
    return json.dumps({"status": "success", "samples": list(samples)})


def lighteval(score: str = "math_pass@1:4_samples", **changes: Any) -> str:
    return json.dumps({**lighteval_row("a", {score: 0.75}), **changes})


BAD_FILES: dict[str, tuple[str, Fields]] = {
    ": the log holds no samples: want one that was written with them": (log(), Fields()),
    ": no sample has a score: want a log that was scored": (log({**SCORED, "scores": {}}), Fields()),
    ' line 1: samples is "none": want a list': ('{"status": "success", "samples": "none"}', Fields()),
    " line 1: sample 2 is 3: want an object": (log(SCORED, 3), Fields()),
    " sample 1: scores is 3: want an object with the scores of each scorer": (log({**SCORED, "scores": 3}), Fields()),
    " sample 1: match is 3: want an object with value": (log({**SCORED, "scores": {"match": 3}}), Fields()),
    ": --problem is 'x': want none for a file of EvalPlus": ('{"eval": {}}', Fields(problem="x")),
    ": --metric is 'x': want base or plus for a file of EvalPlus": ('{"eval": {}}', Fields(metric="x")),
    " task 'a', sample 1: it is 3: want an object": (json.dumps({"eval": {"a": [STATUS, 3]}}), Fields()),
    ": the file is empty: want at least one sample": ('{"eval": {}}', Fields()),
    " line 1: --threshold with math_pass@1:4_samples, which is no score of a sample: want none": (
        lighteval(),
        Fields(threshold=0.5),
    ),
    ' line 1: model_response.text is "x": want the list of the generations': (
        lighteval(model_response={"text": "x"}),
        Fields(),
    ),
    " line 1: metric is 3: want an object": (lighteval(metric=3), Fields()),
    " line 1: no field could be the metric: want its name after --metric": (lighteval(metric={}), Fields()),
    " line 2: field 'correct' is here, and rows before have only n and c: want one of them in every row": (
        '{"problem": 1, "n": 2, "c": 1}\n{"problem": 2, "correct": 1}',
        Fields(),
    ),
    " line 1: pass@1 is 1.5: want a number from 0 to 1": (
        formats.lines(formats.lm_eval_shares()[:1]).replace("0.75", "1.5"),
        Fields(),
    ),
    " line 1: no field could be the metric": (
        '{"doc_id": 1, "resps": [["a"]], "filtered_resps": ["a"], "filter": "none"}',
        Fields(),
    ),
    ": no field could be the reward column: want its name after --metric": (
        '{"step": 1, "prompt": "a", "completion": "b", "right": "x", "advantage": 0.1}',
        Fields(),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("message", "text", "fields"), [(key, *value) for key, value in BAD_FILES.items()], ids=range(len(BAD_FILES))
)
def test_a_file_that_does_not_fit_its_format_is_one_line(
    message: str, text: str, fields: Fields, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(ValueError, match=rf"^file{re.escape(message)}[^\n]*$"):
        files.read(tmp_path / "file", "file", None, fields)


def test_a_name_that_no_file_can_have_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"^name: cannot be read: File name too long$"):
        files.read(Path("x" * 300), "name", None, Fields())
    assert cli.main(["samples", "x" * 300]) == cli.BAD_INPUT
    assert re.fullmatch(r"sharpening: x+: (cannot be read: )?File name too long\n", capfd.readouterr().err)


LONG = '{"problem": "a", "correct": 1, "completion": "' + 80 * "x" + '"}\n'
TOO_LONG: dict[str, str | bytes] = {
    " line 2: it is longer than 100 bytes: want shorter lines": formats.lines([{"problem": "b", "correct": 1}]) + LONG,
    ": it is one JSON document of more than 100 characters: want JSON Lines": "[\n" + 40 * "{},\n" + "{}]",
    " samples/1.json: it is longer than 100 bytes: want shorter samples": made.zipped({"samples/1.json": LONG}),
}


@pytest.mark.parametrize(("message", "text"), TOO_LONG.items(), ids=range(len(TOO_LONG)))
def test_what_does_not_fit_into_memory_is_refused(
    message: str, text: str | bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the limit the same files are read, or refused for what they hold."""
    (tmp_path / "file").write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setattr(lines, "LONGEST", 1000)
    with lines.opened(tmp_path / "file", "file") as source:
        assert len(list(source.table().rows)) in (1, 2, 41)
    monkeypatch.setattr(lines, "LONGEST", 100)
    with pytest.raises(ValueError, match=rf"^file{message}$"), lines.opened(tmp_path / "file", "file") as source:
        list(source.table().rows)


def counted(text: str, path: Path) -> None:
    path.write_text(text)
    files.read(path, "file", None, Fields())


def grouped(text: str, _: Path) -> None:
    rollouts.read_jsonl(text, "file")


@pytest.mark.parametrize(
    ("row", "read"),
    [
        ('{"problem": %s, "correct": 1}', counted),
        ('{"problem": 1, "correct": 1, "answer": %s}', counted),
        ('{"prompt": %s, "completion": "a", "reward": 1, "correct": 1}', grouped),
        ('{"prompt": "a", "completion": %s, "reward": 1, "correct": 1}', grouped),
    ],
)
def test_a_value_that_can_be_read_and_not_be_written_is_nested_too_deeply(
    row: str, read: Callable[[str, Path], None], tmp_path: Path
) -> None:
    """Each depth at which the parser gives up, and those below, at which only what shows the value may."""
    outcomes = []
    for depth in range(800, 1000):
        try:
            read(row % ("[" * depth + "]" * depth), tmp_path / "file")
            outcomes.append("read")
        except ValueError as error:
            outcomes.append(str(error))
    assert set(outcomes) <= {"read", f"file: {lines.TOO_DEEP}", f"file line 1: {lines.TOO_DEEP}"}
    assert outcomes == sorted(outcomes, key=lambda outcome: (outcome != "read", outcome != f"file: {lines.TOO_DEEP}"))
