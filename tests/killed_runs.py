"""Runs `evaluate` again and again in children that kill themselves at a named moment; called with a model and a folder.

Writes a line for each child: the moment, how it ended, the runs listed afterwards, and what it said on stderr. The
parent imports what is slow to import and computes nothing, so that a forked child starts at once.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import Qwen3ForCausalLM, generation  # noqa: F401 - imported once, for all children

from sharpening import cli
from sharpening.commands import evaluate  # noqa: F401
from sharpening.llm.sampling import evaluate as sampling  # noqa: F401
from sharpening.llm.sampling import models  # noqa: F401
from sharpening.storage import store
from sharpening.storage.journal import Journal

Patch = Callable[[], None]


def die(*_: Any, **__: Any) -> None:
    """The end of this process, which nothing can catch."""
    os.kill(os.getpid(), signal.SIGKILL)


def in_entry(number: int, *, share: float) -> Patch:
    """Die in the entry of that number, from 0, once that share of its bytes is in the file."""

    def patch() -> None:
        add, left = Journal.add, [number]

        def dying(self: Journal, entry: Any) -> None:
            if left[0] == 0:
                data = (json.dumps(entry) + "\n").encode()
                self._stream.write(data[: int(share * len(data))])
                self._stream.flush()
                die()
            left[0] -= 1
            add(self, entry)

        Journal.add = dying  # type: ignore[method-assign]

    return patch


def at(owner: Any, name: str) -> Patch:
    """Die where this function would be called."""
    return lambda: setattr(owner, name, die)


MOMENTS: dict[str, Patch] = {
    "before the first entry": in_entry(0, share=0),
    "after the first entry": in_entry(0, share=1),
    "in the third entry": in_entry(1, share=0.5),
    "in the fourth entry, but for its end": in_entry(1, share=0.9999),
    "before the run is stored": at(store, "write_run"),
    "while the run is stored": at(store, "_sync_folder"),
    "before the journal goes": at(Journal, "remove"),
    "never": lambda: None,
}


def run(words: list[str], out: Path, patch: Patch) -> dict[str, Any]:
    """One child; what became of it."""
    with Path(out / "stderr").open("w+") as stderr:
        child = os.fork()
        if child == 0:
            os.dup2(stderr.fileno(), 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            torch.set_num_threads(1)
            patch()
            os._exit(cli.main([*words, "--out", str(out)]))
        _, status = os.waitpid(child, 0)
        stderr.seek(0)  # the child's writing moved it
        runs = store.list_runs(out)
        faults = [fault for path in runs for fault in store.verify_run(path)]
        return {"status": status, "runs": len(runs), "faults": faults, "stderr": stderr.read()}


def main(model: str, out: Path) -> None:
    """An uninterrupted run, and one that is killed at every moment in turn."""
    words = ["evaluate", model, "--limit", "9", "--n", "3", "--slice-size", "2", "--device", "cpu"]
    for folder, moment in [("whole", "never"), *(("killed", moment) for moment in MOMENTS)]:
        (out / folder).mkdir(exist_ok=True)
        sys.stdout.write(json.dumps({"moment": moment, **run(words, out / folder, MOMENTS[moment])}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
