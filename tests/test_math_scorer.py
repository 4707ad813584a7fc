"""Mathematics answers: which are right, which are not, and workers that hang, crash, err or run out of memory."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.mathematics.scorer import CRASHED, LOOKED_AT, SCORER_ERROR, TIME_LIMIT, MathScorer, boxed, looked_at
from sharpening.llm.tasks import Mark

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [json.loads(line) for line in (ROOT / "examples/math_problems.jsonl").read_text("utf-8").splitlines()]
PATIENT_SECONDS = 60.0  # for answers that are to be marked, however busy the machine is
SHORT_SECONDS = 1.5  # for answers that hang: the others that wait with them take milliseconds
TERMINATION_SECONDS = 3.0  # after which pebble kills a process that does not end when asked
HOSTILE_SECONDS = 30.0  # 6 hostile completions, 2 workers, SHORT_SECONDS each, and starts of workers

MISSES = [  # gold, answer, what math-verify 0.9 says, why it is not what a reader says
    ("12345", r"12\,345", 0.0, "a thin space is no thousands separator to it: it reads 12 + 345"),
    ("11 - 10i", r"11-10\,i", 0.0, "the same thin space before a letter"),
    (r"3 \pm \sqrt{2}", r"\frac{6\pm\sqrt{8}}{2}", 0.0, "a sign pair inside a fraction cannot be read"),
    ("x > 3", "2x > 6", 0.0, "inequalities are compared by the difference of their sides, unscaled"),
    ("[1, 2]", r"1 \le x \le 2", 0.0, "a relation is read as an interval only where the gold answer is one"),
    ("5", "5.", 0.0, "a full stop inside the box cannot be read"),
    ("A", r"\textbf{(A)}\ 5", 0.0, "a letter with its value is a product"),
    (r"\emptyset", r"\varnothing", 0.0, "the second is the name of a variable"),
    (r"90^\circ", r"\frac{\pi}{2}", 0.0, "degrees are units, and units are dropped"),
    (r"50\%", "50", 1.0, "a percentage may leave out its sign"),
    ("1", "1, 1, 1", 1.0, "a list is a set"),
    ("(1, 2)", r"\{1, 2\}", 1.0, "a pair may be an open interval, and that may be a set of two"),
    ("2x + 3", "y = 2x + 3", 1.0, "what an equation assigns counts"),
    (r"\frac{1}{3}", "0.333333", 1.0, "six decimals are compared"),
    ("x", "X", 1.0, "capitals do not matter"),
    ("101_2", "101", 1.0, "the base of a number is dropped"),
]
GOLD_FAULTS = {
    "foo bar(": "math-verify cannot read it",
    "???": "math-verify cannot read it",
    "": "math-verify cannot read it",
    "7" * (LOOKED_AT + 1): f"it has {LOOKED_AT + 1} characters, more than {LOOKED_AT}",
    "$5$": "",
    r"the answer is \boxed{\frac{1}{2}}": "",
}
UNSCORABLE = {TIME_LIMIT, CRASHED, SCORER_ERROR}
FAILURES = {
    "5.0": "",
    "hang": TIME_LIMIT,
    "kill": CRASHED,
    "memory": SCORER_ERROR,
    "recursion": SCORER_ERROR,
    "4": math_scorer.DIFFERENT,
    "x = 5": "",
    "hang, deaf": TIME_LIMIT,
    "5": "",
}


def misbehaving(gold: str, completion: str) -> Mark:
    """In a worker: what the answer says, or the mark by math-verify."""
    match boxed(completion):
        case "hang":
            time.sleep(1_000)
        case "hang, deaf":  # a loop in C that looks at no signal
            sum(range(10**13))
        case "nap":
            time.sleep(0.1)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            return Mark(float(len(bytearray(8 << 30)) > 0), True, "", "")
        case "recursion":
            return misbehaving(gold, completion)
        case str(answer) if answer.startswith("clock"):
            return Mark(1.0, True, "", str(time.monotonic()))
        case str(answer) if answer.startswith("process"):
            return Mark(1.0, True, "", str(os.getpid()))
    return math_scorer.math_verdict(gold, completion)


def box(answer: str) -> str:
    return f"So it is $\\boxed{{{answer}}}$."


def is_gone(group: int) -> bool:
    """Whether all processes of a group end within 10 seconds."""
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.fixture(scope="module")
def scorer() -> Iterator[MathScorer]:
    with MathScorer(2, PATIENT_SECONDS) as opened:
        yield opened


@pytest.fixture(scope="module")
def broken_scorer() -> Iterator[MathScorer]:
    with MathScorer(2, SHORT_SECONDS, misbehaving) as opened:
        yield opened


@pytest.mark.parametrize(("kind", "correct"), [("right", 1.0), ("wrong", 0.0)])
def test_the_examples_are_marked_as_a_reader_would(scorer: MathScorer, kind: str, correct: float) -> None:
    pairs = [(example["answer"], answer) for example in EXAMPLES for answer in example[kind]]
    marks = scorer.score([(gold, box(answer)) for gold, answer in pairs])
    assert len(pairs) > 2 * len(EXAMPLES)
    assert [(pair, mark) for pair, mark in zip(pairs, marks, strict=True) if mark.correct != correct] == []


def test_every_gold_answer_of_the_examples_marks_itself(scorer: MathScorer) -> None:
    golds = [example["answer"] for example in EXAMPLES]
    assert scorer.gold_faults(golds) == [""] * len(golds)
    assert all(mark.correct == 1.0 for mark in scorer.score([(gold, box(gold)) for gold in golds]))


def test_the_known_misses_are_still_missed(scorer: MathScorer) -> None:
    """A miss that a later math-verify mends fails here: then it moves to the examples."""
    marks = scorer.score([(gold, box(answer)) for gold, answer, _, _ in MISSES])
    assert [mark.correct for mark in marks] == [said for _, _, said, _ in MISSES]


def test_a_gold_answer_that_marks_nothing_is_named(scorer: MathScorer) -> None:
    assert dict(zip(GOLD_FAULTS, scorer.gold_faults(list(GOLD_FAULTS)), strict=True)) == GOLD_FAULTS


def test_a_mark_says_what_was_read_and_why_it_does_not_count(scorer: MathScorer) -> None:
    wanted = {
        r"First \boxed{4}, then \boxed{5}.": Mark(1.0, True, "", "5"),
        r"First \boxed{5}, then \boxed{4}.": Mark(0.0, True, math_scorer.DIFFERENT, "4"),
        r"It is \boxed{5}, not 4.": Mark(1.0, True, "", "5"),
        "The answer is $5$.": Mark(1.0, False, "", "5"),
        "The answer is 4": Mark(0.0, False, math_scorer.DIFFERENT, "4"),
        r"\boxed{(((}": Mark(0.0, True, math_scorer.UNREADABLE, "((("),
        r"\boxed{ }": Mark(0.0, True, math_scorer.NO_ANSWER, ""),
        "": Mark(0.0, False, math_scorer.NO_ANSWER, ""),
        "I do not know.": Mark(0.0, False, math_scorer.NO_ANSWER, ""),
    }
    marks = scorer.score([("5", completion) for completion in wanted])
    assert dict(zip(wanted, marks, strict=True)) == wanted


def test_only_the_end_of_a_completion_is_looked_at() -> None:
    assert looked_at(r"\boxed{5}" + " " * (LOOKED_AT - 9)) == r"\boxed{5}"
    assert looked_at(r"\boxed{5}" + " " * (LOOKED_AT - 8)) == "boxed{5}" + " " * (LOOKED_AT - 8)
    assert looked_at("a" * 10**6) == "a" * LOOKED_AT


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{1} \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"} { \boxed {3}", "3"),
        (r"\boxed{\boxed{4}}", r"\boxed{4}"),
        (r"\boxed{5} \boxed{6", "5"),
        (r"\boxed{\frac{7}{8}", None),
        (r"\\boxed{9}", None),
        (r"\boxed{}", ""),
        ("10", None),
    ],
)
def test_the_last_closed_box_is_found(text: str, content: str | None) -> None:
    assert boxed(text) == content


def test_what_hangs_crashes_or_errs_is_unscorable_and_the_rest_is_marked(broken_scorer: MathScorer) -> None:
    """In order, with one worker lost after the other."""
    marks = broken_scorer.score([("5", box(answer)) for answer in FAILURES])
    assert {answer: mark.reason for answer, mark in zip(FAILURES, marks, strict=True)} == FAILURES
    assert [mark.answer for mark in marks] == list(FAILURES)
    assert [math.isnan(mark.correct) for mark in marks] == [mark.reason in UNSCORABLE for mark in marks]
    assert math_scorer.unscorable(marks) == {TIME_LIMIT: 2, CRASHED: 1, SCORER_ERROR: 2}


def test_an_answer_that_hangs_delays_no_other(broken_scorer: MathScorer) -> None:
    processes: set[str] = set()
    while len(processes) < 2:  # both workers are there
        processes |= {mark.answer for mark in broken_scorer.score([("5", box(f"process {i}")) for i in range(9)])}
        time.sleep(0.1)
    start = time.monotonic()
    answers = ["hang, deaf", *(f"clock {i}" for i in range(50))]
    marks = broken_scorer.score([("5", box(answer)) for answer in answers])
    assert time.monotonic() - start < SHORT_SECONDS + TERMINATION_SECONDS
    assert marks[0].reason == TIME_LIMIT
    assert max(float(mark.answer) for mark in marks[1:]) < start + SHORT_SECONDS


def test_equal_pairs_are_marked_once(broken_scorer: MathScorer) -> None:
    """100 naps of .1 s take two workers 5 s."""
    start = time.monotonic()
    marks = broken_scorer.score([("5", box("nap")), ("5", "Thus \\boxed{ nap }!")] * 50)
    assert time.monotonic() - start < 100 * 0.1 / 2
    assert len(marks) == 100
    assert set(marks) == {Mark(0.0, True, math_scorer.DIFFERENT, "nap")}


def test_a_pool_whose_idle_workers_were_killed_is_opened_again(broken_scorer: MathScorer) -> None:
    marks = broken_scorer.score([("5", box(f"process {i}")) for i in range(50)])
    for process in {int(mark.answer) for mark in marks}:
        with contextlib.suppress(ProcessLookupError):  # it had its share of answers
            os.kill(process, signal.SIGKILL)
    time.sleep(0.5)
    assert [mark.correct for mark in broken_scorer.score([("5", box("5")), ("5", box("4"))])] == [1.0, 0.0]


def test_hostile_completions_are_bounded_in_time(broken_scorer: MathScorer) -> None:
    hostile = [
        box("10^{10^{10}}"),
        box("{" * 900 + "1" + "}" * 900),
        "{" * 100_000 + "}" * 100_000,
        r"\boxed{" * 100_000,
        "final answer is $ or " * 50_000,
        "\0" * 10_000 + "\ud800" + box("\0"),
    ]
    start = time.monotonic()
    marks = broken_scorer.score([("5", completion) for completion in hostile])
    assert time.monotonic() - start < HOSTILE_SECONDS
    assert all(mark.correct != 1.0 for mark in marks)
    assert marks[0].reason == TIME_LIMIT


def test_an_interrupt_stops_the_workers() -> None:
    code = (
        "from tests.test_math_scorer import *\n"
        "with MathScorer(1, 600.0, misbehaving) as scorer:\n"
        "    scorer.score([('5', box('5'))])\n"
        "    print('ready', flush=True)\n"
        "    scorer.score([(str(number), box('hang') + ' ' * 500) for number in range(3_000)])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            time.sleep(0.3)
            os.killpg(process.pid, signal.SIGINT)
            _, errors = process.communicate(timeout=30)
            assert errors.rstrip().endswith(b"KeyboardInterrupt")
            assert is_gone(process.pid)
        finally:
            with contextlib.suppress(ProcessLookupError):  # as it should be
                os.killpg(process.pid, signal.SIGKILL)


def test_bad_arguments_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="num_workers is 0: want an integer from 1"):
        MathScorer(0)
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match=r"seconds_per_answer is .*: want a positive number"):
            MathScorer(1, seconds)
    with pytest.raises(ValueError, match="the scorer is closed: want its calls in a `with` block"):
        MathScorer(1).score([("5", "5")])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pebble" else name)
    with pytest.raises(ValueError, match=r"marking mathematics needs pebble: want `pip install '.\[math\]'` first"):
        MathScorer()
