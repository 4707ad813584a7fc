"""The fuzz of the Countdown verifier: clean on 50,000 completions, and what is wrong with broken verifiers is found."""

from __future__ import annotations

import math
import re
import time
import unicodedata
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.fuzz_completions import SHARES, Case, Puzzle, completions
from benchmarks.fuzz_judge import judge
from sharpening.llm.countdown import verifier as countdown_verifier
from sharpening.llm.countdown.verifier import find_answer, verify
from sharpening.llm.tasks import Mark
from tests.test_countdown_verifier import ACCEPTED, NUMBERS, OTHER_PROBLEMS, REFUSED, REFUSED_POSTFIX, TARGET

NUM_COMPLETIONS = 50_000


def drawn(num_completions: int) -> Iterator[Case]:
    return islice(completions(np.random.default_rng(0)), num_completions)


@pytest.mark.slow
def test_the_verifier_agrees_with_the_judge_and_is_fast():
    found, offences = fuzz.tallies(drawn(NUM_COMPLETIONS))
    assert not offences, "\n".join(offences)
    assert set(found) == {"all", "tricked", *(kind.__name__ for kind in SHARES)}
    assert found["all"].counts["number"] == NUM_COMPLETIONS
    assert NUM_COMPLETIONS / 4 < found["all"].counts["correct"] < found["all"].counts["well_formed"]
    assert found["all"].worst <= fuzz.MOST_SECONDS


def test_the_judge_agrees_with_the_tables():
    """Which were written by hand for the verifier."""
    for text in (text for texts in ACCEPTED.values() for text in texts):
        assert judge(text, NUMBERS, TARGET, "infix", "+-*/") == (True, True), text
    for numbers, target, text in OTHER_PROBLEMS:
        assert judge(text, numbers, target, "infix", "+-*/") == (True, True), text
    for notation, table in (("infix", REFUSED), ("postfix", REFUSED_POSTFIX)):
        for reason, text in ((reason, text) for reason, texts in table.items() for text in texts):
            is_well_formed = reason in ("division by zero", "another value")
            assert judge(text, NUMBERS, TARGET, notation, "+-*/") == (False, is_well_formed), text


def lenient(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """Numbers by a regular expression and the value by Python, after a look at the characters."""
    answer = find_answer(text)
    if answer.count("**") > 1 or not re.fullmatch(r"[\d+\-*/(). ]+", answer):
        return Mark(0.0, False, "", "")
    try:
        used = sorted(map(int, re.findall(r"\d+", answer)))
        is_correct = used == sorted(numbers) and bool(math.isclose(eval(answer, {"__builtins__": {}}), target))
    except Exception:
        is_correct = False
    return Mark(float(is_correct), is_correct, "", "")


def any_digits(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """Digits of all scripts, as int() takes them."""
    return verify("".join(str(unicodedata.digit(char, char)) for char in text), numbers, target, **rest)


def no_dots(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """3.4 is read as 3 and 4."""
    return verify(text.replace(".", " "), numbers, target, **rest)


def any_numbers(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """Whatever numbers are there are those of the problem."""
    used = re.findall(r"[1-9][0-9]{0,9}", find_answer(text))
    return verify(text, tuple(map(int, used)), target, **rest)


def each_number_at_least_once(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """A set, where a multiset is asked for."""
    used = tuple(map(int, re.findall(r"[1-9][0-9]{0,9}", find_answer(text))))
    return verify(text, used if set(used) == set(numbers) else numbers, target, **rest)


def first_block(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """Of several blocks the first."""
    return verify(text.partition("</answer>")[0] + "</answer>" * ("</answer>" in text), numbers, target, **rest)


def any_operators(text: str, numbers: tuple[int, ...], target: int, *, notation: str, operators: str) -> Mark:
    """Operators that the problem does not allow."""
    return verify(text, numbers, target, notation=notation)


def thoughts_count(text: str, numbers: tuple[int, ...], target: int, **rest: str) -> Mark:
    """An answer that is only in the thought."""
    return verify(text.replace("think>", ">"), numbers, target, **rest)


BROKEN = (
    lenient,
    any_digits,
    no_dots,
    any_numbers,
    each_number_at_least_once,
    first_block,
    any_operators,
    thoughts_count,
)


def disagreements(verifier: Callable[..., Mark]) -> Iterator[Mark]:
    calls = (fuzz.examined(case, verifier) for case in drawn(NUM_COMPLETIONS))
    return (call.mark for call in calls if call.fault == "disagreement")


@pytest.mark.parametrize("verifier", BROKEN, ids=lambda verifier: verifier.__name__)
def test_a_lenient_verifier_is_caught_accepting_what_is_wrong(verifier):
    assert any(mark.correct == 1 for mark in disagreements(verifier))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("DEEPEST", lambda bound: bound + 1),
        ("DEEPEST", lambda bound: bound - 1),
        ("LONGEST_ANSWER", lambda bound: bound + 8),
        ("LONGEST_ANSWER", lambda bound: bound - 8),
        ("LONGEST_TEXT", lambda bound: bound + 8),
        ("LONGEST_TEXT", lambda bound: bound - 8),
        ("_RANKS", lambda ranks: ranks | {"-": 2}),
        ("_SPELLINGS", lambda spellings: spellings | {"x": "*", "^": "*", ".": "*"}),
        ("_BRACE", lambda _: re.compile(r"\\boxed\{|\}")),
        ("_last_box", lambda _: lambda text: None),
    ],
)
def test_one_change_in_the_verifier_is_caught(monkeypatch, name, change):
    monkeypatch.setattr(countdown_verifier, name, change(getattr(countdown_verifier, name)))
    assert any(disagreements(verify))


def test_exceptions_and_slow_calls_are_faults():
    case = Case("right", "7+6", Puzzle((7, 6), 13, "infix", "+", "7+6"))

    def slow(*problem: object, **rest: str) -> Mark:
        begin = time.thread_time()
        while time.thread_time() <= begin + 2 * fuzz.MOST_SECONDS:
            pass
        return Mark(1.0, True, "", "7+6")

    def failing(*problem: object, **rest: str) -> Mark:
        raise RecursionError

    found, offences = fuzz.tallies([case], slow)
    assert found["right"].counts == found["all"].counts
    assert found["all"].counts == {"number": 1, "slow": 1, "well_formed": 1, "correct": 1}
    assert found["all"].worst > 2 * fuzz.MOST_SECONDS
    assert "'7+6', 3 characters" in offences[0]
    assert fuzz.tallies([case], failing)[0]["all"].counts["exception"] == 1
    assert fuzz.examined(case).fault == ""


def test_the_command_prints_a_table_and_says_whether_it_is_clean(capsys, monkeypatch):
    assert fuzz.main(["--completions", "300", "--seed", "5"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[-1].split()[:2] == ["all", "300"]
    monkeypatch.setattr(countdown_verifier, "_last_box", lambda text: None)
    assert fuzz.main(["--completions", "300", "--seed", "5"]) == 1
    assert "disagreement: no answer, judged correct: " in capsys.readouterr().out
