"""What the commands do with files before and after the work: reading, refusing, standard JSON."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path
from typing import Any

STDIN = Path("-")
LONGEST_SHOWN = 80  # characters of an answer in the report


def read(path: Path) -> tuple[str, str]:
    """The text of a file, without the byte order mark that spreadsheets write, and the SHA-256 of its bytes.

    `STDIN` is standard input.
    """
    if path == STDIN and sys.stdin.isatty():
        raise ValueError("-: standard input is a terminal: want a pipe, or the name of a file")
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{named(path)} line {line}: it is not UTF-8 text ({error.reason}): save it as UTF-8"
        ) from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a file of any kind; raises ValueError for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def named(path: Path) -> str:
    """What messages call a file that is read."""
    return "standard input" if path == STDIN else str(path)


def shortened(answer: str) -> str:
    """An answer of at most `LONGEST_SHOWN` characters."""
    return answer if len(answer) <= LONGEST_SHOWN else answer[: LONGEST_SHOWN - 3] + "..."


def refuse_as_file(flag: str, name: str | None, source: Path | None = None) -> None:
    """Before the work: refuses a file that cannot be written, or that is what the command reads."""
    if name is None:
        return
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        fault = "is a folder" if path.is_dir() else f"{str(path.parent)!r} is not a folder"
        raise ValueError(f"--{flag}: {name!r}: {fault}: want the name of a file in a folder that exists")
    if source and path.is_file() and path.samefile(source):
        raise ValueError(f"--{flag}: {name!r}: this is the input: want the name of another file")


def refuse_as_folder(flag: str, name: str) -> None:
    """Before the work: refuses a folder that cannot be made."""
    nearest = next(path for path in (Path(name), *Path(name).absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"--{flag}: {name!r}: {str(nearest)!r} is not a folder: want a folder, there or to be made")


def json_text(data: Any) -> str:
    """Standard JSON, which has no infinity and no NaN: they become null."""
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
