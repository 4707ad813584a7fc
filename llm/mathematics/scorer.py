"""Mathematics answers marked by math-verify, in worker processes with a hard limit of time and memory per answer.

An answer on which the scorer hangs, crashes or errs is unscorable (NaN, with the reason), never wrong and never lost,
and no other answer waits for it longer than its limit.

Departures from a plain call of math-verify:
1. An answer stands in a closed box of a completion that ended, see `answers`; with `is_lenient` what math-verify finds
   in the last 2,000 characters counts where no box is shown. Nothing in a completion that was cut off counts.
2. What is equal to the gold answer is no answer where it is a number that is still to be worked out, a formula of the
   problem, an equation for another quantity or not in the form asked for: see `notation`, `expressions` and `sides`.
   Both are read in each way in which they can be: see `readings`.
3. Its own time limits (signal.alarm) are off: they do not stop what hangs in C code, and the pool's limit does.
4. Errors of a comparison reach us. Those that SymPy or math-verify swallow inside a step do not: an answer that runs
   out of memory in such a step is wrong, as one that cannot be read.
5. Letters are not looked for outside a box (`StringExtractionConfig`): in "so B halves the 7 of side A" it finds "A".
   In a box, "(A)" and "A" are equal without it.

Linux and macOS; the memory limit holds on Linux only. Workers come from a fork server that has imported math-verify
and nothing else of the program, so that a replaced worker starts at once.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import multiprocessing
import re
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from sharpening.llm.mathematics import answers, denials, notation, readings, sides
from sharpening.llm.mathematics.answers import Answer
from sharpening.llm.tasks import Mark

DECIMALS = 6  # that are compared, after the zeros that the gold answer has there
ROUNDED_DECIMALS = 2  # of an answer that is repeated after the box
LONGEST_SHOWN = 200  # characters of an answer that a mark keeps
SECONDS_PER_ANSWER = 5.0
MEMORY_BYTES = 2 << 30  # address space of a worker beyond what it starts with
ANSWERS_PER_WORKER = 1_000  # then it is replaced: SymPy's caches grow
MOST_STARTS = 3  # of the pool for one call, should all its workers die outside an answer

CUT_OFF = "cut off"
UNREADABLE = "unreadable answer"
DIFFERENT = "different answer"
NOT_WORKED_OUT = "number not worked out"
OF_PROBLEM = "formula of the problem"
OTHER_QUANTITY = "another quantity"
OTHER_FORM = "not the form asked for"
TIME_LIMIT = "time limit"
CRASHED = "worker crashed"
SCORER_ERROR = "scorer error"

_UNITS = re.compile(r"\\(?:text|mathrm|mbox)\s*\{[^{}]*\}|\\\$")  # on the left side of an equation
_UNREAD = re.compile(
    r"\\(?:[bp]?mod|circ)(?![a-z])"
)  # which math-verify drops from the value of a left side of numbers

Verdict = Callable[[str, str, Answer], Mark]  # problem, gold answer, answer
T = TypeVar("T")


class Attempt(NamedTuple):
    """A completion, whether it ended by itself, and the problem and gold answer that it is marked by."""

    problem: str
    gold: str
    completion: str
    is_finished: bool


def math_verdict(problem: str, gold: str, answer: Answer) -> Mark:
    """The mark of what a completion answers, by math-verify, in this process and without limits."""
    if answer.is_boxed:
        mark = _verdict(problem, gold, answer.text)
        is_taken_back = mark.correct and answer.later and _is_another(problem, gold, answer.later)
        return mark._replace(correct=0.0, reason=answers.TAKEN_BACK) if is_taken_back else mark
    found = next((each for each in _parsed(answer.text) if isinstance(each, str)), "")
    start = answer.text.rfind(found)
    if found and denials.is_denied_around(answer.text, start, start + len(found)):
        return Mark(0.0, False, answers.DENIED, found[:LONGEST_SHOWN])
    return _verdict(problem, gold, found)._replace(well_formed=False)


def _verdict(problem: str, gold: str, text: str) -> Mark:
    """The mark of an answer, read in each way in which it can be read."""
    gold_text, cleaned = notation.cleaned(answers.boxed(gold) or gold), notation.cleaned(text)
    reason = _fault(gold_text, cleaned)
    if not reason:
        found = (_compared(problem, *read) for read in readings.readings(gold_text, cleaned, problem))
        reason = next(found)
        reason = reason and ("" if "" in found else reason)
    return Mark(float(not reason), True, reason, text[:LONGEST_SHOWN])


def _fault(gold: str, text: str) -> str:
    """Why a cleaned answer is none, whatever its value is; "" where it is one."""
    if not text:
        return answers.NO_ANSWER
    if notation.has_foreign_digits(text):
        return UNREADABLE
    return answers.DENIED if denials.is_denied_within(text, gold) else ""


def _compared(problem: str, gold: str, text: str) -> str:
    """Why a cleaned answer does not count; what math-verify takes for equal is asked how it is written."""
    from math_verify import verify

    from sharpening.llm.mathematics import expressions

    side, lefts = sides.compared(text, gold)
    side, gold = readings.both_signs(side), readings.both_signs(gold)
    gold_number, number = notation.written_out(gold), notation.written_out(side)
    if gold_number and not number:
        return NOT_WORKED_OUT
    if gold_number and number and gold_number.count("=") != 1:
        gold_number, number = notation.unnamed(gold_number), notation.unnamed(number)
    if gold_number and number and "%" not in gold_number:
        number = notation.without_percent(number)
    known, found = _read(gold_number or gold), _read(number or side)
    decimals = DECIMALS + notation.zeros_after_point(gold_number or "")
    if not verify(known, found, decimals, allow_set_relation_comp=True, timeout_seconds=None, raise_on_error=True):
        return DIFFERENT if any(not isinstance(each, str) for each in found) else UNREADABLE
    if not all(_names_answer(left, problem, gold) for left in lefts):
        return OTHER_QUANTITY
    tree, gold_tree = _tree(number or side), _tree(gold_number or gold)
    if tree is not None and gold_tree is not None:
        if not number and not expressions.is_worked_out(side, tree, gold, gold_tree):
            return NOT_WORKED_OUT
        if expressions.is_of_problem(problem, side, gold, tree, gold_tree, _tree):
            return OF_PROBLEM
        if not expressions.has_form_asked(problem, tree, gold_tree):
            return OTHER_FORM
    return ""


def _names_answer(left: str, problem: str, gold: str) -> bool:
    """Whether an equation with this left side says what the answer is."""
    from sharpening.llm.mathematics import expressions

    if sides.is_name(left, problem) or expressions.is_formula_of(problem, left):
        return True
    if _UNREAD.search(left) and not re.search("[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", left)):
        return True
    with contextlib.suppress(Exception):  # of SymPy and its reader: such a left side has no value
        return _is_equal(gold, _UNITS.sub(" ", left))
    return False


def _is_another(problem: str, gold: str, later: str) -> bool:
    """Whether what is named after a box can be read and has another value than the gold answer, also when rounded."""
    cleaned = notation.cleaned(later)
    is_read = any(not isinstance(each, str) for each in _read(notation.written_out(cleaned) or cleaned))
    return is_read and not _is_equal(notation.cleaned(answers.boxed(gold) or gold), cleaned, problem, ROUNDED_DECIMALS)


def _is_equal(gold: str, text: str, problem: str = "", decimals: int = DECIMALS) -> bool:
    """Whether two cleaned answers have one value, however they are written."""
    from math_verify import verify

    side, _ = sides.compared(text, gold)
    for pair in readings.readings(gold, side, problem):
        known, found = (_read(notation.written_out(text) or text) for text in map(readings.both_signs, pair))
        if verify(known, found, decimals, timeout_seconds=None, raise_on_error=True):
            return True
    return False


def gold_fault(gold: str) -> str:
    """Why a gold answer cannot mark anything; "" where it can."""
    if len(gold) > answers.LOOKED_AT:
        return f"it has {len(gold)} characters, more than {answers.LOOKED_AT}"
    from math_verify import verify

    cleaned = notation.cleaned(answers.boxed(gold) or gold)
    text = readings.both_signs(next(readings.readings(cleaned, cleaned, ""))[0])
    read = [each for each in _read(notation.written_out(text) or text) if not isinstance(each, str)]
    if not read:
        return "math-verify cannot read it"
    is_itself = verify(read, read, timeout_seconds=None, raise_on_error=True)
    return "" if is_itself else "math-verify does not find it equal to itself"


@lru_cache(maxsize=1_024)
def _read(answer: str) -> list[Any]:
    return _parsed(f"\\boxed{{{answer}}}")


def _tree(answer: str) -> Any:
    """SymPy's expression of an answer; None where there is none."""
    from sympy import MatrixBase

    found = next((each for each in _read(answer) if not isinstance(each, str)), None)
    return found.as_immutable() if isinstance(found, MatrixBase) else found


def _parsed(text: str) -> list[Any]:
    """SymPy expressions, then the text that was read; only that text where it cannot be read; empty without any."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    kinds = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    found: list[Any] = parse(text, kinds, extraction_mode="first_match", parsing_timeout=None, raise_on_error=True)
    return found


class MathScorer:
    """A pool of workers that mark completions; use it in a `with` block.

    A worker is a process: start one scorer per run and not one per call. With `is_lenient` an answer needs no box.
    `verdict` marks one answer in a worker; it is a function of a module, since workers import it.
    """

    def __init__(
        self,
        num_workers: int = 2,
        seconds_per_answer: float = SECONDS_PER_ANSWER,
        verdict: Verdict = math_verdict,
        *,
        is_lenient: bool = False,
    ) -> None:
        """Check the arguments; the workers start with the first call."""
        if num_workers < 1:
            raise ValueError(f"num_workers is {num_workers}: want an integer from 1")
        if not 0 < seconds_per_answer < math.inf:
            raise ValueError(f"seconds_per_answer is {seconds_per_answer}: want a positive number of seconds")
        for module in ("math_verify", "pebble"):
            if importlib.util.find_spec(module) is None:
                raise ValueError(f"marking mathematics needs {module}: want `pip install '.[math]'` first")
        self._num_workers = num_workers
        self._seconds = seconds_per_answer
        self._verdict = verdict
        self._is_lenient = is_lenient
        self._pool: Any = None

    def __enter__(self) -> Self:
        """Open the pool."""
        self._pool = _opened(self._num_workers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the workers, whatever they do: after an interrupt too."""
        _close(self._pool)
        self._pool = None

    def score(self, attempts: Sequence[Attempt]) -> list[Mark]:
        """The marks of completions, in their order; equal answers to a problem are marked once."""
        found = [answers.answer_of(each.completion, is_lenient=self._is_lenient) for each in attempts]
        keys = [
            (each.problem, each.gold, answer)
            for each, answer in zip(attempts, found, strict=True)
            if each.is_finished and not answer.reason
        ]
        distinct = list(dict.fromkeys(keys))
        marks = {}
        for key, (mark, failure) in zip(distinct, self._run(self._verdict, distinct), strict=True):
            answer = key[-1]
            shown = answer.text[:LONGEST_SHOWN] if answer.is_boxed else ""
            marks[key] = mark or Mark(math.nan, answer.is_boxed, failure, shown)
        in_order = iter(keys)
        return [
            Mark(0.0, each.is_finished and answer.is_boxed, answer.reason if each.is_finished else CUT_OFF, "")
            if answer.reason or not each.is_finished
            else marks[next(in_order)]
            for each, answer in zip(attempts, found, strict=True)
        ]

    def gold_faults(self, golds: Sequence[str]) -> list[str]:
        """Why each gold answer cannot mark anything; "" where it can."""
        outcomes = self._run(gold_fault, [(gold,) for gold in golds])
        return [failure if fault is None else fault for fault, failure in outcomes]

    def _run(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> list[tuple[T | None, str]]:
        """What each call returns, or None and why it did not return."""
        if self._pool is None:
            raise ValueError("the scorer is closed: want its calls in a `with` block")
        outcomes: dict[int, tuple[T | None, str]] = {}
        for _ in range(MOST_STARTS):
            for place, future in self._scheduled(function, calls, outcomes.keys()):
                error = future.exception()
                if not isinstance(error, BrokenProcessPool):
                    outcomes[place] = (None, _failure(error)) if error else (future.result(), "")
            if len(outcomes) == len(calls):
                return [outcomes[place] for place in range(len(calls))]
            _close(self._pool)
            self._pool = _opened(self._num_workers)
        raise ValueError(f"the workers of the scorer died {MOST_STARTS} times outside an answer: want more memory")

    def _scheduled(
        self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]], done: Iterable[int]
    ) -> list[tuple[int, Any]]:
        places = sorted(set(range(len(calls))) - set(done))
        try:
            return [(place, self._pool.schedule(function, calls[place], timeout=self._seconds)) for place in places]
        except RuntimeError:  # idle workers were killed: the pool takes no calls and has to be opened again
            return []


def unscorable(marks: Iterable[Mark]) -> dict[str, int]:
    """How many marks are NaN, by reason.

    >>> unscorable([Mark(1.0, True, "", "4"), Mark(math.nan, True, "time limit", "9^{9^9}")])
    {'time limit': 1}
    """
    return dict(Counter(mark.reason for mark in marks if math.isnan(mark.correct)))


def _opened(num_workers: int) -> Any:
    from pebble import ProcessPool

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["math_verify"])
    return ProcessPool(num_workers, max_tasks=ANSWERS_PER_WORKER, initializer=_prepare_worker, context=context)


def _close(pool: Any) -> None:
    pool.stop()
    pool.join()


def _failure(error: BaseException) -> str:
    from pebble import ProcessExpired

    if isinstance(error, TimeoutError):
        return TIME_LIMIT
    return CRASHED if isinstance(error, ProcessExpired) else SCORER_ERROR


def _prepare_worker() -> None:
    """Limit the memory, let SIGTERM end the process even inside C code, and keep the libraries quiet."""
    import resource

    import math_verify  # noqa: F401 - so that no answer pays for the import

    from sharpening.llm.mathematics import expressions  # noqa: F401 - likewise

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
