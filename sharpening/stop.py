"""Ctrl-C at any time is one line: while modules are imported the process ends at once, later the work is left in order.

Nothing is imported here but the standard library.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType

INTERRUPTED = 128 + signal.SIGINT
AGAIN_SECONDS = 0.01
LINE = "sharpening: interrupted\n"


def at_once() -> None:
    """From now on Ctrl-C ends the process: an import may swallow an exception, and there is no work yet to save.

    Where the process ignores Ctrl-C, as under nohup, it goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)


def by_exception() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, and again where Python has to drop it, as in a callback of gc."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = _again


def end() -> int:
    """Says that the work was interrupted; a second Ctrl-C does not disturb what is cleaned up. The exit status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.write(LINE)
    return INTERRUPTED


def _again(dropped: sys.UnraisableHookArgs) -> None:
    if dropped.exc_type is KeyboardInterrupt:
        main = threading.main_thread().ident
        threading.Timer(AGAIN_SECONDS, signal.pthread_kill, (main, signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(dropped)


def _leave(_number: int, _frame: FrameType | None) -> None:
    os.write(2, LINE.encode())
    os._exit(INTERRUPTED)
