"""How wide text is printed: as wide as the terminal, or of a stable width."""

from __future__ import annotations

import shutil
import sys

STABLE_WIDTH = 100  # of stored reports, and of what is printed to no terminal
NARROWEST = 60  # a terminal that is narrower breaks the lines itself


def printed_width() -> int:
    """The width of the terminal that is printed to, or the stable one."""
    return max(NARROWEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else STABLE_WIDTH
