"""Mathematics answers: which are right, which are not, and workers that hang, crash, err or run out of memory."""

from __future__ import annotations

import contextlib
import functools
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

from sharpening.llm.mathematics import answers
from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.mathematics.answers import LOOKED_AT, Answer
from sharpening.llm.mathematics.scorer import CRASHED, SCORER_ERROR, TIME_LIMIT, Attempt, MathScorer
from sharpening.llm.tasks import Mark

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = [json.loads(line) for line in (ROOT / "examples/math_problems.jsonl").read_text("utf-8").splitlines()]
PATIENT_SECONDS = 60.0  # for answers that are to be marked, however busy the machine is
SHORT_SECONDS = 1.5  # for answers that hang: the others that wait with them take milliseconds
TERMINATION_SECONDS = 3.0  # after which pebble kills a process that does not end when asked
HOSTILE_SECONDS = 30.0  # 9 hostile completions, 2 workers, SHORT_SECONDS each, and starts of workers

MISSES = [  # gold, answer, what the scorer says with math-verify 0.9, why it is not what a reader says
    ("x > 3", "3x > 9", 0.0, "inequalities are compared by the difference of their sides, unscaled"),
    (r"\emptyset", r"\varnothing", 0.0, "the second is the name of a variable"),
    (r"90^\circ", r"\frac{\pi}{2}", 0.0, "degrees are units, and units are dropped"),
    ("5 cm", "5 km", 1.0, "likewise"),
    (r"\ln 6", r"\ln 2+\ln 3", 1.0, "logarithms are not put together"),
    (r"50\%", "50", 1.0, "a percentage may leave out its sign"),
    ("1", "1, 1, 1", 1.0, "a list is a set"),
    ("(1, 2)", r"\{1, 2\}", 1.0, "a pair may be an open interval, and that may be a set of two"),
    ("2x + 3", "y = 2x + 3", 1.0, "what an equation assigns counts"),
    (r"\frac{1}{3}", "0.333333", 1.0, "six decimals are compared"),
    ("x", "X", 1.0, "capitals do not matter"),
    ("101_2", "101", 1.0, "the base of a number is dropped"),
    ("1000000", "10^6", 0.0, "a power is not worked out"),
    (r"\sqrt{6}", r"\sqrt{2}\sqrt{3}", 0.0, "nor is a product of roots"),
    ("\\frac{1}{2}", "^1/_2", 0.0, "a fraction of raised and lowered numbers is none to it"),
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


def misbehaving(problem: str, gold: str, answer: Answer) -> Mark:
    """In a worker: what the answer says, or the mark by math-verify."""
    match answer.text:
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
            return misbehaving(problem, gold, answer)
        case str(text) if text.startswith("clock"):
            return Mark(1.0, True, "", str(time.monotonic()))
        case str(text) if text.startswith("process"):
            return Mark(1.0, True, "", str(os.getpid()))
    return math_scorer.math_verdict(problem, gold, answer)


def ended(gold: str, completion: str, problem: str = "What is it?") -> Attempt:
    return Attempt(problem, gold, completion, True)


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


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "correct", "least"), [("right", 1.0, 110), ("wrong", 0.0, 120), ("refused", 0.0, 17)])
def test_the_examples_are_marked_as_a_reader_would(scorer: MathScorer, kind: str, correct: float, least: int) -> None:
    """What is refused is equal to the gold answer, but to be worked out, what the problem says, or in another form."""
    found = [
        ended(example["answer"], box(answer), example["problem"])
        for example in EXAMPLES
        for answer in example.get(kind, ())
    ]
    marks = scorer.score(found)
    assert len(found) >= least
    assert [(one, mark) for one, mark in zip(found, marks, strict=True) if mark.correct != correct] == []
    if kind == "refused":
        reasons = {math_scorer.NOT_WORKED_OUT, math_scorer.OF_PROBLEM, math_scorer.OTHER_FORM}
        assert {mark.reason for mark in marks} == reasons


@pytest.mark.slow
def test_every_gold_answer_of_the_examples_marks_itself(scorer: MathScorer) -> None:
    golds = [example["answer"] for example in EXAMPLES]
    assert scorer.gold_faults(golds) == [""] * len(golds)
    marks = scorer.score([ended(example["answer"], box(example["answer"]), example["problem"]) for example in EXAMPLES])
    assert all(mark.correct == 1.0 for mark in marks)


def test_the_known_misses_are_still_missed(scorer: MathScorer) -> None:
    """A miss that a later math-verify mends fails here: then it moves to the examples."""
    marks = scorer.score([ended(gold, box(answer)) for gold, answer, _, _ in MISSES])
    assert [mark.correct for mark in marks] == [said for _, _, said, _ in MISSES]


def test_a_gold_answer_that_marks_nothing_is_named(scorer: MathScorer) -> None:
    assert dict(zip(GOLD_FAULTS, scorer.gold_faults(list(GOLD_FAULTS)), strict=True)) == GOLD_FAULTS


def test_a_mark_says_what_was_read_and_why_it_does_not_count(scorer: MathScorer) -> None:
    wanted = {
        r"First \boxed{4}, then \boxed{5}.": Mark(1.0, True, "", "5"),
        r"First \boxed{5}, then \boxed{4}.": Mark(0.0, True, math_scorer.DIFFERENT, "4"),
        r"It is \boxed{4} or \boxed{5}.": Mark(0.0, True, math_scorer.DIFFERENT, "4, 5"),
        r"It is \boxed{5}, not 4.": Mark(1.0, True, "", "5"),
        r"It is not \boxed{5}.": Mark(0.0, True, answers.DENIED, ""),
        r"\boxed{\text{not }5}": Mark(0.0, True, answers.DENIED, r"\text{not }5"),
        r"\boxed{9-4}": Mark(0.0, True, math_scorer.NOT_WORKED_OUT, "9-4"),
        "The answer is $5$.": Mark(0.0, False, answers.NO_BOX, ""),
        r"The answer is \boxed{5": Mark(0.0, False, answers.OPEN_BOX, ""),
        r"\boxed{(((}": Mark(0.0, True, math_scorer.NOT_WORKED_OUT, "((("),
        r"\boxed{ }": Mark(0.0, True, answers.NO_ANSWER, ""),
        "": Mark(0.0, False, answers.NO_BOX, ""),
    }
    marks = scorer.score([ended("5", completion) for completion in wanted])
    assert dict(zip(wanted, marks, strict=True)) == wanted


def test_nothing_in_a_completion_that_was_cut_off_counts(scorer: MathScorer) -> None:
    attempts = [Attempt("What is 10 - 4?", "6", text, False) for text in (r"\boxed{6}", "so 10 - 4 = ", "6")]
    assert scorer.score(attempts) == [Mark(0.0, False, math_scorer.CUT_OFF, "")] * 3


def test_leniency_takes_an_answer_without_a_box_but_no_other_rule_away() -> None:
    wanted = {
        "The answer is $5$.": Mark(1.0, False, "", "5"),
        "The answer is 4": Mark(0.0, False, math_scorer.DIFFERENT, "4"),
        r"\boxed{5}": Mark(1.0, True, "", "5"),
        "The answer is not $5$.": Mark(0.0, False, answers.DENIED, "5"),
        "The answer is $9 - 4$.": Mark(0.0, False, math_scorer.NOT_WORKED_OUT, "9 - 4"),
        r"The answer is \boxed{5": Mark(0.0, False, answers.OPEN_BOX, ""),
        "I do not know.": Mark(0.0, False, answers.NO_ANSWER, ""),
    }
    with MathScorer(1, PATIENT_SECONDS, is_lenient=True) as lenient:
        assert dict(zip(wanted, lenient.score([ended("5", text) for text in wanted]), strict=True)) == wanted
        assert lenient.score([Attempt("?", "5", "It is 5.", False)]) == [Mark(0.0, False, math_scorer.CUT_OFF, "")]


@pytest.mark.slow
def test_what_hangs_crashes_or_errs_is_unscorable_and_the_rest_is_marked(broken_scorer: MathScorer) -> None:
    """In order, with one worker lost after the other."""
    marks = broken_scorer.score([ended("5", box(answer)) for answer in FAILURES])
    assert {answer: mark.reason for answer, mark in zip(FAILURES, marks, strict=True)} == FAILURES
    assert [mark.answer for mark in marks] == list(FAILURES)
    assert [math.isnan(mark.correct) for mark in marks] == [mark.reason in UNSCORABLE for mark in marks]
    assert math_scorer.unscorable(marks) == {TIME_LIMIT: 2, CRASHED: 1, SCORER_ERROR: 2}


@pytest.mark.slow
def test_an_answer_that_hangs_delays_no_other(broken_scorer: MathScorer) -> None:
    processes: set[str] = set()
    while len(processes) < 2:  # both workers are there
        processes |= {mark.answer for mark in broken_scorer.score([ended("5", box(f"process {i}")) for i in range(9)])}
        time.sleep(0.1)
    start = time.monotonic()
    answers = ["hang, deaf", *(f"clock {i}" for i in range(50))]
    marks = broken_scorer.score([ended("5", box(answer)) for answer in answers])
    assert time.monotonic() - start < SHORT_SECONDS + TERMINATION_SECONDS
    assert marks[0].reason == TIME_LIMIT
    assert max(float(mark.answer) for mark in marks[1:]) < start + SHORT_SECONDS


def test_equal_pairs_are_marked_once(broken_scorer: MathScorer) -> None:
    """100 naps of .1 s take two workers 5 s."""
    broken_scorer.score([ended("5", box("5"))])  # the workers are there
    start = time.monotonic()
    marks = broken_scorer.score([ended("5", box("nap")), ended("5", "Thus \\boxed{ nap }!")] * 50)
    assert time.monotonic() - start < 100 * 0.1 / 2
    assert len(marks) == 100
    assert set(marks) == {Mark(0.0, True, math_scorer.NOT_WORKED_OUT, "nap")}


def test_a_pool_whose_idle_workers_were_killed_is_opened_again(broken_scorer: MathScorer) -> None:
    marks = broken_scorer.score([ended("5", box(f"process {i}")) for i in range(50)])
    for process in {int(mark.answer) for mark in marks}:
        with contextlib.suppress(ProcessLookupError):  # it had its share of answers
            os.kill(process, signal.SIGKILL)
    time.sleep(0.5)
    assert [mark.correct for mark in broken_scorer.score([ended("5", box("5")), ended("5", box("4"))])] == [1.0, 0.0]


@pytest.mark.slow
def test_hostile_completions_are_bounded_in_time(broken_scorer: MathScorer) -> None:
    hostile = [
        box("10^{10^{10}}+x"),
        box("10^{10^{10}}"),
        box("1" + "!" * 500),
        box("(" * 500 + "5" + ")" * 500),
        box("{" * 900 + "1" + "}" * 900),
        "{" * 100_000 + "}" * 100_000,
        r"\boxed{" * 100_000,
        "final answer is $ or " * 50_000,
        "\0" * 10_000 + "\ud800" + box("\0"),
    ]
    start = time.monotonic()
    marks = broken_scorer.score([ended("2x" if "x" in text[-9:] else "5", text) for text in hostile])
    assert time.monotonic() - start < HOSTILE_SECONDS
    assert all(mark.correct != 1.0 for mark in marks)
    assert [mark.reason for mark in marks[:2]] == [TIME_LIMIT, math_scorer.NOT_WORKED_OUT]


@pytest.mark.slow
def test_an_interrupt_stops_the_workers() -> None:
    code = (
        "from tests.test_math_scorer import *\n"
        "with MathScorer(1, 600.0, misbehaving) as scorer:\n"
        "    scorer.score([ended('5', box('5'))])\n"
        "    print('ready', flush=True)\n"
        "    scorer.score([ended(str(number), box('hang') + ' ' * 500) for number in range(3_000)])\n"
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
        MathScorer(1).score([ended("5", box("5"))])
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pebble" else name)
    with pytest.raises(ValueError, match=r"marking mathematics needs pebble: want `pip install '.\[math\]'` first"):
        MathScorer()


def test_workers_that_all_die_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_scorer, "_prepare_worker", functools.partial(os._exit, 1))
    with MathScorer(1) as dying:  # noqa: SIM117
        with pytest.raises(
            ValueError, match=r"^the workers of the scorer died 3 times outside an answer: want more mem"
        ):
            dying.gold_faults(["1"])
