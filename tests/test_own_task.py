"""A verifier of one's own, in processes of its own: what hangs, crashes or prints harms its own completion alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sharpening.llm import own_task
from sharpening.llm.own_task import LimitedVerifier, OwnTask
from sharpening.llm.tasks import Mark, Prompt
from sharpening.llm.workers import Workers
from sharpening.theory.methods import user_functions

SECONDS = 15.0  # on a busy machine a call that crashes is looked at seconds later
VERIFIERS = """
import os, sys, time

with open("words.txt") as file:  # of the folder that the program runs in
    KNOWN = file.read().split()

def judged(completion, answer):
    if completion == "hang":
        while True:
            pass
    if completion == "hang in C":
        sum(range(10**15))
    if completion == "die":
        os.kill(os.getpid(), 9)
    if completion == "leave":
        os._exit(1)
    if completion == "flood":
        for stream in (sys.stdout, sys.stderr):
            stream.write("x" * 10**7)
        os.write(1, b"y" * 10**6)
    if completion == "raise":
        raise KeyError("gone")
    if completion == "exit":
        sys.exit(3)
    if completion == "three":
        return 3
    if completion == "none":
        return None
    return completion == answer or completion in KNOWN
"""
UNSCORABLE = {"hang": "time limit", "hang in C": "time limit", "die": "worker crashed", "leave": "worker crashed"}


@pytest.fixture
def verifier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LimitedVerifier]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "verifiers.py").write_text(VERIFIERS)
    (tmp_path / "words.txt").write_text("known flood\n")
    with own_task.load_verifier("verifiers.py:judged", SECONDS) as found:
        yield found


def task_of(verifier: own_task.Verifier | LimitedVerifier, *solutions: str) -> OwnTask:
    return OwnTask([Prompt("line 1", "p"), Prompt("line 2", "q")], ["yes", "no"], verifier, solutions)


@pytest.mark.slow
def test_what_hangs_or_crashes_could_not_be_scored_and_the_others_are(verifier: LimitedVerifier) -> None:
    completions = ["yes", "hang", "no", "die", "known", "hang in C", "leave", "none", "yes"]
    start = time.monotonic()
    marks = task_of(verifier).marks([0] * 9, completions, [True] * 9)
    assert time.monotonic() - start < 120  # nothing waits for what never ends
    for text, mark in zip(completions, marks, strict=True):
        if reason := {**UNSCORABLE, "none": "unscorable"}.get(text):
            assert (np.isnan(mark.correct), *mark[1:]) == (True, False, reason, "")
        else:
            is_correct = text in ("yes", "known")
            assert mark == Mark(float(is_correct), True, "" if is_correct else "wrong", text)


def test_what_it_prints_is_dropped(verifier: LimitedVerifier, capfd: pytest.CaptureFixture[str]) -> None:
    assert [mark.correct for mark in task_of(verifier).marks([0, 1], ["flood", "no"], [True, True])] == [1.0, 1.0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("completion", ["yes", "no", "none", "three", "raise", "exit"])
def test_it_says_what_it_says_in_this_process(completion: str, verifier: LimitedVerifier) -> None:
    """Marks and errors are those of the plain function."""
    plain = user_functions.load("verifiers.py:judged", own_task.INPUTS)
    said = []
    for one in (verifier, plain):
        try:
            said.append(repr(task_of(one).marks([1], [completion], [True])))
        except ValueError as error:
            said.append(str(error))
    assert said[0] == said[1]
    assert ("verifier: prompt line 2: it r" in said[0]) == (completion in ("three", "raise", "exit"))


def test_it_can_be_used_again_after_its_end(verifier: LimitedVerifier) -> None:
    for _ in range(2):
        with verifier:
            assert [mark.correct for mark in task_of(verifier).marks([0, 1], ["yes", "yes"], [True, True])] == [
                1.0,
                0.0,
            ]


def test_a_file_without_the_function_is_refused_before_any_process(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    with pytest.raises(ValueError, match=r"empty\.py:f: the file has no function 'f', it has none$"):
        own_task.load_verifier(f"{tmp_path / 'empty.py'}:f")


def test_known_solutions_have_to_be_accepted() -> None:
    def equal(completion: str, answer: str) -> bool:
        return completion == answer

    assert task_of(equal, "yes", "").check_solutions(20) == 1
    assert task_of(equal, "", "").check_solutions(20) == 0
    assert task_of(equal, "yes", "never").check_solutions(1) == 1
    with pytest.raises(ValueError, match=r"^verifier: it does not accept the known solution of prompt 'line 2', 'yes'"):
        task_of(equal, "yes", "yes").check_solutions(2)


def test_a_file_on_whose_loading_every_process_dies_is_one_line(tmp_path: Path) -> None:
    """Here it loads, for its errors; a time limit needs pebble; what a call raises is raised here."""
    (tmp_path / "dies.py").write_text(
        "import multiprocessing, os\n"
        "if multiprocessing.parent_process():\n    os._exit(1)\n"
        "def f(completion, answer):\n    return True\n"
    )
    with own_task.load_verifier(f"{tmp_path / 'dies.py'}:f") as verifier:  # noqa: SIM117
        with pytest.raises(ValueError, match=r"^verifier: its processes died 3 times outside a call: want a file that"):
            task_of(verifier).marks([0], ["yes"], [True])
    with Workers(str, (), 5) as workers, pytest.raises(ValueError, match=r"invalid literal for int\(\) .* 'x'"):
        workers.run(int, [("7",), ("x",)])


def test_without_pebble_a_verifier_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^verifier: its limit of time needs pebble: want `pip install '.\[llm\]'` f"):
        Workers(str, (), 5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, ": cannot be read: No such file or directory: want JSON Lines"),
        (b"\xff", ": it is not UTF-8 text (invalid start byte): want JSON Lines"),
        (b"\n \n", ": the file is empty: want at least one prompt"),
        (b'\n{"q": "", "a": 1}', ' line 2: q is "": want text, or messages with role and content'),
        (b'{"q": [{"role": "user"}], "a": 1}', ' line 1: q is [{"role": "user"}]: want text, or messages with role'),
        (b'{"q": "x"}', " line 1: no column 'a': want it, found q"),
        (b"[1]", " line 1: no column 'q': want it, found no object"),
        (b"{", " line 1: it is not JSON: want one object per line"),
        (b'{"q": "x", "a": 1}', ": solution_column: 's': no line has it: want one that has, or none"),
    ],
)
def test_prompts_that_cannot_be_read_are_one_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{path}{re.escape(message)}[^\n]*$"):
        own_task.load(path, "q", "a", lambda **_: True, solution_column="s")
