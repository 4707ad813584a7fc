"""A journal: the finished parts of a long run, one JSON line each, so that a run killed at any moment goes on."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from sharpening.storage import store


class Journal:
    """Lines beside the run that they lead to: `.journal-ID.jsonl` in the layer's folder; one process at a time.

    An entry counts once its line is whole; what a kill left after the last whole line is cut off.
    """

    def __init__(self, root: str | Path, layer: str, config: dict[str, Any]) -> None:
        """Opens the journal of the run that the configuration names; raises ValueError if another process has it."""
        self.path = Path(root) / layer / f".journal-{store.run_id(layer, config)}.jsonl"
        store.make_folder(self.path.parent)
        self._stream = self.path.open("ab+")
        try:
            fcntl.flock(self._stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._stream.close()
            raise ValueError(f"{self.path}: another process is at work on this run: want to wait for it") from None
        self.entries: list[Any] = []
        whole = 0
        self._stream.seek(0)
        for line in self._stream:
            if not line.endswith(b"\n"):
                break
            self.entries.append(json.loads(line))
            whole += len(line)
        self._stream.truncate(whole)

    def add(self, entry: Any) -> None:
        """Appends an entry, which is on the disk when this returns."""
        self._stream.write((json.dumps(entry) + "\n").encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.entries.append(entry)

    def remove(self) -> None:
        """Removes the journal, once its run is stored."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        """The journal itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the journal and lets others have it."""
        self._stream.close()
