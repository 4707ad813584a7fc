"""The entry point in-process, for tests of commands: its status, what it printed, and what it stored."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from sharpening import cli
from sharpening.storage import store


class Done(NamedTuple):
    """How a command ended, and all that it and its libraries printed."""

    status: int
    out: str
    err: str


Run = Callable[..., Done]


def runner(capfd: pytest.CaptureFixture[str], *first: str) -> Run:
    """A function that runs the words given after the first ones."""

    def run(*words: str) -> Done:
        try:
            status = cli.main((*first, *words))
        except SystemExit as error:
            status = int(str(error.code))
        return Done(status, *capfd.readouterr())

    return run


def only_run(folder: Path) -> Path:
    """The one run that is stored in a folder, whole."""
    (found,) = store.list_runs(folder)
    assert store.verify_run(found) == []
    return found
