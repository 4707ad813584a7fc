"""Checkpoints that count: a folder with a manifest of its files' checksums, written last by one rename, that verifies.

The one before the newest is removed only when a newer one counts, so that at every moment one is there to go on from.
One process at a time works in a folder: `llm.training.folder_lock`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

MANIFEST = "checksums.json"
TENSORS, ROWS = "state.safetensors", "rows.json"
PREFIX = "checkpoint-"  # transformers' name


def require_writable(folder: Path) -> None:
    """Raises ValueError where nothing can be written into a folder, or beside it where it is still to be made."""
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise ValueError(
            f"--folder: {str(folder)!r}: nothing can be written there: {error.strerror}: want another folder"
        ) from None


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raises ValueError, one line, where a checkpoint in the folder cannot be written."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:  # torch's writer has the last
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{folder}: a checkpoint could not be written: {reason}: want room there; the same command then goes on "
            "from the checkpoint before"
        ) from error


def step_of(checkpoint: Path) -> int:
    """The number of updates that a checkpoint has behind it."""
    return int(checkpoint.name.removeprefix(PREFIX))


def last(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that counts, and a line about each newer one that does not."""
    faults: list[str] = []
    for path in reversed(_all(folder)):
        fault = fault_of(path)
        if not fault:
            return path, faults
        faults.append(f"{path.name} does not count: {fault}")
    return None, faults


def fault_of(checkpoint: Path) -> str:
    """What is wrong with a checkpoint, in a few words; empty if it counts."""
    try:
        sums = json.loads((checkpoint / MANIFEST).read_text())
        for name, wanted in sums.items():
            if _sum(checkpoint / name) != wanted:
                return f"{name} differs from its checksum"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except (OSError, ValueError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return "" if sums else f"{MANIFEST} is empty"


def complete(checkpoint: Path) -> None:
    """Makes a checkpoint whose files are all written count; of the others keeps the newest earlier one that did."""
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file() and path != checkpoint / MANIFEST]
    sums = {str(path.relative_to(checkpoint)): _sum(path) for path in files}
    new = checkpoint.parent / f".{MANIFEST}"
    with new.open("w") as stream:
        json.dump(sums, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    new.rename(checkpoint / MANIFEST)
    others = [path for path in _all(checkpoint.parent) if path != checkpoint]
    earlier = [path for path in others if step_of(path) < step_of(checkpoint) and (path / MANIFEST).is_file()]
    for path in others:
        if path not in earlier[-1:]:
            shutil.rmtree(path)


def write(folder: Path, step: int, tensors: dict[str, Tensor], rows: Sequence[Mapping[str, Any]]) -> None:
    """A checkpoint of tensors and rows that counts, of a loop of our own; raises ValueError as `writing` does."""
    checkpoint = folder / f"{PREFIX}{step}"
    with writing(folder):
        shutil.rmtree(checkpoint, ignore_errors=True)
        checkpoint.mkdir(parents=True)
        save_file(tensors, checkpoint / TENSORS)
        (checkpoint / ROWS).write_text(json.dumps(rows))
        complete(checkpoint)


def read(checkpoint: Path) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The tensors and rows that `write` wrote."""
    return load_file(checkpoint / TENSORS), json.loads((checkpoint / ROWS).read_text())


def _all(folder: Path) -> list[Path]:
    """Folders of checkpoints, whole or not, oldest first."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if path.name.removeprefix(PREFIX).isdigit()), key=step_of)


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
