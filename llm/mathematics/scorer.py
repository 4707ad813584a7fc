"""Mathematics answers marked by math-verify, in worker processes with a hard limit of time and memory per answer.

An answer on which the scorer hangs, crashes or errs is unscorable (NaN, with the reason), never wrong and never lost,
and no other answer waits for it longer than its limit.

Departures from a plain call of math-verify:
1. Only the last 2,000 characters of a completion are looked at, and of these the last closed box alone, if there is
   one; without a box, what math-verify finds in them. Nothing before that box is a second try.
2. Its own time limits (signal.alarm) are off: they do not stop what hangs in C code, and the pool's limit does.
3. Errors of a comparison reach us. Those that SymPy or math-verify swallow inside a step do not: an answer that runs
   out of memory in such a step is wrong, as one that cannot be read.
4. Letters are not looked for outside a box (`StringExtractionConfig`): in "so B halves the 7 of side A" it finds "A".
   In a box, "(A)" and "A" are equal without it.

Linux and macOS; the memory limit holds on Linux only. Workers come from a fork server that has imported math-verify
and nothing else of the program, so that a replaced worker starts at once.
"""

from __future__ import annotations

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
from typing import Any, Self, TypeVar

from sharpening.llm.tasks import Mark

LOOKED_AT = 2_000  # characters at the end of a completion; a gold answer may have as many
LONGEST_SHOWN = 200  # characters of an answer that a mark keeps
SECONDS_PER_ANSWER = 5.0
MEMORY_BYTES = 2 << 30  # address space of a worker beyond what it starts with
ANSWERS_PER_WORKER = 1_000  # then it is replaced: SymPy's caches grow
MOST_STARTS = 3  # of the pool for one call, should all its workers die outside an answer

NO_ANSWER = "no answer"
UNREADABLE = "unreadable answer"
DIFFERENT = "different answer"
TIME_LIMIT = "time limit"
CRASHED = "worker crashed"
SCORER_ERROR = "scorer error"

Verdict = Callable[[str, str], Mark]
T = TypeVar("T")

_BRACES = re.compile(r"(?P<box>\\boxed\s*\{)|\\.|[{}]", re.DOTALL)  # \{ and \} are no braces


def boxed(text: str) -> str | None:
    r"""What is in the last \boxed{...} that is closed; None where there is none.

    >>> boxed(r"\boxed{1}, no: \boxed{\frac{1}{2}} \boxed{3")
    '\\frac{1}{2}'
    """
    found = None
    starts: list[int | None] = []  # of the open braces; None for those that open no box
    for brace in _BRACES.finditer(text):
        if brace["box"] or brace[0] == "{":
            starts.append(brace.end() if brace["box"] else None)
        elif brace[0] == "}" and starts:
            start = starts.pop()
            found = found if start is None else text[start : brace.start()].strip()
    return found


def looked_at(completion: str) -> str:
    r"""The part of a completion that is marked: the last closed box near its end, else the end.

    >>> looked_at(r"It is 4. \boxed{4} I hope that helps.")
    '\\boxed{4}'
    """
    end = completion[-LOOKED_AT:]
    box = boxed(end)
    return end if box is None else f"\\boxed{{{box}}}"


def math_verdict(gold: str, completion: str) -> Mark:
    """The mark of one completion by math-verify, in this process and without limits."""
    from math_verify import verify

    text = looked_at(completion)
    box = boxed(text)
    found = _parsed(text)
    answer = box or next((each for each in found if isinstance(each, str)), "")
    if verify(_gold(gold), found, timeout_seconds=None, raise_on_error=True):
        return Mark(1.0, box is not None, "", answer[:LONGEST_SHOWN])
    is_read = any(not isinstance(each, str) for each in found)
    reason = DIFFERENT if is_read else UNREADABLE if answer else NO_ANSWER
    return Mark(0.0, box is not None, reason, answer[:LONGEST_SHOWN])


def gold_fault(gold: str) -> str:
    """Why a gold answer cannot mark anything; "" where it can."""
    from math_verify import verify

    if len(gold) > LOOKED_AT:
        return f"it has {len(gold)} characters, more than {LOOKED_AT}"
    read = [each for each in _gold(gold) if not isinstance(each, str)]
    if not read:
        return "math-verify cannot read it"
    is_itself = verify(read, read, timeout_seconds=None, raise_on_error=True)
    return "" if is_itself else "math-verify does not find it equal to itself"


@lru_cache(maxsize=1_024)
def _gold(gold: str) -> list[Any]:
    return _parsed(gold if boxed(gold) is not None else f"\\boxed{{{gold}}}")


def _parsed(text: str) -> list[Any]:
    """SymPy expressions, then the text that was read; only that text where it cannot be read; empty without any."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    kinds = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    found: list[Any] = parse(text, kinds, extraction_mode="first_match", parsing_timeout=None, raise_on_error=True)
    return found


class MathScorer:
    """A pool of workers that mark completions; use it in a `with` block.

    A worker is a process: start one scorer per run and not one per call. `verdict` marks one completion in a worker;
    it is a function of a module, since workers import it.
    """

    def __init__(
        self, num_workers: int = 2, seconds_per_answer: float = SECONDS_PER_ANSWER, verdict: Verdict = math_verdict
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

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Mark]:
        """The marks of pairs of a gold answer and a completion, in their order; equal pairs are marked once."""
        keys = [(gold, looked_at(completion)) for gold, completion in pairs]
        distinct = list(dict.fromkeys(keys))
        marks = {}
        for key, (mark, failure) in zip(distinct, self._run(self._verdict, distinct), strict=True):
            box = boxed(key[1])
            marks[key] = mark or Mark(math.nan, box is not None, failure, (box or "")[:LONGEST_SHOWN])
        return [marks[key] for key in keys]

    def gold_faults(self, golds: Sequence[str]) -> list[str]:
        """Why each gold answer cannot mark anything; "" where it can."""
        outcomes = self._run(gold_fault, [(gold,) for gold in golds])
        return [failure if fault is None else fault for fault, failure in outcomes]

    def _run(self, function: Callable[..., T], calls: Sequence[tuple[str, ...]]) -> list[tuple[T | None, str]]:
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
        raise RuntimeError(f"the workers of the scorer died {MOST_STARTS} times outside an answer: see their messages")

    def _scheduled(
        self, function: Callable[..., T], calls: Sequence[tuple[str, ...]], done: Iterable[int]
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

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            limit = int(file.read().split()[0]) * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
