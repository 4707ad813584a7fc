"""Functions called in processes of their own, each call with a hard limit of time: for code that may hang or crash.

A call that hangs or crashes loses its process and nothing else; no other call waits for it longer than its limit.
Processes come from a fork server and inherit nothing of the program, its GPU included. Linux and macOS.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self, TypeVar

TIME_LIMIT = "time limit"
CRASHED = "worker crashed"
NUM_WORKERS = 2
MOST_STARTS = 3  # of the processes for the calls of one `run`, should all of them die outside a call

T = TypeVar("T")


class Workers:
    """Processes that start with the first call and end with the `with` block, or with the program.

    `prepare` is called in each with its arguments before any call, without a limit; what a process prints is dropped.
    """

    def __init__(self, prepare: Callable[..., None], arguments: Sequence[Any], seconds: float) -> None:
        """Takes functions of a module, since processes import it, and the limit of a call in seconds."""
        if importlib.util.find_spec("pebble") is None:
            raise ValueError("verifier: its limit of time needs pebble: want `pip install '.[llm]'` first")
        self.seconds = seconds
        self._initial = (os.getcwd(), prepare, *arguments)
        self._pool: Any = None

    def run(self, function: Callable[..., T], calls: Sequence[Sequence[Any]]) -> list[tuple[T | None, str]]:
        """What each call returns, or None and why it did not return; raises what it raises."""
        outcomes: dict[int, tuple[T | None, str]] = {}
        for _ in range(MOST_STARTS):
            futures = self._scheduled(
                function, {place: calls[place] for place in range(len(calls)) if place not in outcomes}
            )
            for place, future in futures.items():
                error = future.exception()
                if not isinstance(error, BrokenProcessPool):
                    outcomes[place] = (None, _failure(error)) if error else (future.result(), "")
            if len(outcomes) == len(calls):
                return [outcomes[place] for place in range(len(calls))]
            self.close()
        raise ValueError(
            f"verifier: its processes died {MOST_STARTS} times outside a call: want a file that loads there"
        )

    def _scheduled(self, function: Callable[..., Any], calls: dict[int, Sequence[Any]]) -> dict[int, Any]:
        from pebble import ProcessPool

        if self._pool is None:
            context = multiprocessing.get_context("forkserver")
            self._pool = ProcessPool(NUM_WORKERS, initializer=_prepared, initargs=self._initial, context=context)
        try:
            return {place: self._pool.schedule(function, given, timeout=self.seconds) for place, given in calls.items()}
        except RuntimeError:  # idle processes were killed: the pool takes no calls and has to be opened again
            return {}

    def close(self) -> None:
        """Ends the processes, whatever they do; the next call starts others."""
        if self._pool is not None:
            self._pool.stop()
            self._pool.join()
            self._pool = None

    def __enter__(self) -> Self:
        """The workers themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends the processes: after an interrupt too."""
        self.close()


def _failure(error: BaseException) -> str:
    from pebble import ProcessExpired

    if isinstance(error, TimeoutError):
        return TIME_LIMIT
    if isinstance(error, ProcessExpired):
        return CRASHED
    raise error


def _prepared(folder: str, prepare: Callable[..., None], *arguments: Any) -> None:
    """In the folder of the program, silent, and so that SIGTERM ends the process even inside C code."""
    os.chdir(folder)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(os.devnull, "rb+", buffering=0) as nowhere:
        for standard in (1, 2):
            os.dup2(nowhere.fileno(), standard)
    prepare(*arguments)
