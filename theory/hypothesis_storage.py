"""Where Hypothesis keeps its files while a command of ours searches: nowhere that lasts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import configuration


@contextmanager
def storage_elsewhere() -> Iterator[None]:
    """Keeps Hypothesis from leaving a folder of its own where the user works."""
    with tempfile.TemporaryDirectory(prefix="hypothesis-") as folder:
        configuration.set_hypothesis_home_dir(folder)
        try:
            yield
        finally:
            configuration.set_hypothesis_home_dir(None)
