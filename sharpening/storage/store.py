"""The result store: one folder a run, named by what determines its rows, and whole or absent.

A run is `results/<layer>/<id>/`: `rows.csv`, `config.json`, `provenance.json`, artefacts, and, written last,
`manifest.json` (size and SHA-256 of every other file). `<id>` begins the SHA-256 of the canonical JSON of
{layer, RESULT_VERSION of the layer, configuration}, which is what `config.json` holds. The bytes of
`rows.csv` and `config.json` are the same on every re-run.

Decisions:
(1) A run that is there, verifies and has the artefacts asked for is returned as it is, and `rows` is not even
    started; `overwrite` writes it again. A damaged run is always written again.
(2) A run is built in a folder `.tmp-*` beside its final name and renamed. Replacing first moves the old
    run aside: for that moment nothing is there, so a kill leaves a run that verifies or none, never half of
    one. Nothing reads the `.tmp-*` that a kill leaves, and the next writer removes them.
(3) In `rows.csv` a string is quoted and nothing else is, so each cell carries its type: 1, 1.0, True, "1".
(4) Writers of one layer's folder take turns (a lock on it, which the system drops with the process);
    of two that made the same run the second keeps the first's. POSIX only.
"""

import contextlib
import csv
import fcntl
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import resource
import secrets
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

# Raise a layer's number when the same configuration gives other rows than before: a changed formula, order of
# random draws, default, column or rounding. Old runs keep their folders; new ones get new names.
RESULT_VERSION: dict[str, int] = {"theory": 1, "bandits": 2, "llm": 1, "samples": 2}

RESULTS = Path("results")
RUN_FILES = ("rows.csv", "config.json", "provenance.json")
MANIFEST = "manifest.json"
ID_LENGTH = 12  # 48 bits: two of 10,000 runs share a name with probability 2e-7
PACKAGES = ("numpy", "scipy", "sympy", "matplotlib", "hypothesis", "pydantic")
PACKAGES_IF_IMPORTED = ("torch", "transformers")
ARTEFACT_NAME = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._-]*")
CSV_CELL = re.compile(r'("[^"]*(?:""[^"]*)*"|[^",\n]*)([,\n])')
INTEGER = re.compile(r"-?[0-9]+")

ARGUMENTS: list[str] = []  # of the command that this process runs, if it is the command line: kept in provenance

Cell = bool | int | float | str


class StoreError(Exception):
    """A file could not be written or read; the text is one line that names it and the reason."""


@contextlib.contextmanager
def _failure_named(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {action} {str(path)!r}: {error.strerror or error}") from error


def _checked_cell(value: object, index: int, column: str) -> Cell:
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, Cell) and type(plain) in (bool, int, float, str):
        return plain
    kind = type(value).__name__
    raise ValueError(f"row {index}, column {column!r}: {value!r} is {kind}, must be bool, int, float or str")


def rows_to_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    r"""CSV text of the rows, from which `read_rows` restores every value and its type exactly.

    Requires: the first row names the columns (identifiers), every row has just these; values are bool, int,
    float, str or NumPy scalars of these kinds. Raises ValueError naming the row (from 0) and the column.

    >>> rows_to_csv([{"arm": 1, "policy": 0.1, "answer": "1", "is_tied": False}])
    'arm,policy,answer,is_tied\n1,0.1,"1",False\n'
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    columns: list[str] = []
    for index, row in enumerate(rows):
        if index == 0:
            columns = list(row)
            for column in columns:
                if not (isinstance(column, str) and column.isidentifier()):
                    raise ValueError(f"row 0: column name {column!r} must be an identifier")
            stream.write(",".join(columns) + "\n")
        for column in sorted(set(columns).symmetric_difference(row), key=str):
            fault = "not a column of row 0" if column in row else "missing"
            raise ValueError(f"row {index}: column {column!r} is {fault}; must be {', '.join(columns)}")
        writer.writerow([_checked_cell(row[column], index, column) for column in columns])
    if not columns:
        raise ValueError("rows: no row, or a first row without columns; must have at least one of each")
    return stream.getvalue()


def _value_of(cell: str) -> Cell:
    if cell.startswith('"'):
        return cell[1:-1].replace('""', '"')
    if cell in ("True", "False"):
        return cell == "True"
    return int(cell) if INTEGER.fullmatch(cell) else float(cell)


def read_rows(path: str | Path, *, is_growing: bool = False) -> list[dict[str, Cell]]:
    """The rows of a `rows.csv`, values and types as written (csv.reader drops the quotes that tell them).

    Of a file that is growing, what follows its last whole line is left out. Raises StoreError naming the file, if it
    cannot be read or is not as `rows_to_csv` writes it.
    """
    try:
        with _failure_named("read", Path(path)):
            text = Path(path).read_bytes().decode()
        if is_growing:
            text = text[: text.rfind("\n") + 1]
            if not text:
                return []
        if not text.endswith("\n"):
            raise ValueError("the last line has no end")
        cells, ends = zip(*CSV_CELL.findall(text), strict=True)
        width = ends.index("\n") + 1
        expected_ends = ("," * (width - 1) + "\n") * (len(cells) // width)
        if sum(map(len, cells)) + len(ends) < len(text) or "".join(ends) != expected_ends:
            raise ValueError("a quote is not closed or a line has more or fewer cells than the first")
        lines = [cells[start : start + width] for start in range(0, len(cells), width)]
        return [dict(zip(lines[0], map(_value_of, line), strict=True)) for line in lines[1:]]
    except ValueError as error:
        raise StoreError(f"cannot read {str(path)!r}: not rows of this store: {error}") from error


def _identity(layer: str, config: Mapping[str, Any]) -> dict[str, Any]:
    if layer not in RESULT_VERSION:
        raise ValueError(f"layer: {layer!r} must be one of {', '.join(RESULT_VERSION)}")
    return {"layer": layer, "result_version": RESULT_VERSION[layer], "config": dict(config)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _json_bytes(content: object) -> bytes:
    return (json.dumps(content, sort_keys=True, indent=2) + "\n").encode()


def _id_of(identity: object) -> str:
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return _sha256(canonical.encode())[:ID_LENGTH]


def run_id(layer: str, config: Mapping[str, Any]) -> str:
    """The name of the run of this layer and configuration, whatever the order of the keys.

    Requires: config is JSON-able with finite numbers, as `model_dump(mode="json")` gives it, and holds what
    the rows depend on: the seed, the content or hash of an input file (1 and 1.0 differ). Raises ValueError.
    """
    identity = _identity(layer, config)
    try:
        return _id_of(identity)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: {error}; must be JSON-able with finite numbers") from error


@functools.cache
def _commit() -> dict[str, str | bool]:
    """Commit of the clone this file lies in when first asked: what was imported, not what is there now."""
    clone = Path(__file__).resolve().parents[2]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    git = functools.partial(
        subprocess.check_output, cwd=clone, env=environment, text=True, stderr=subprocess.DEVNULL, timeout=30
    )
    try:
        top, commit = git(["git", "rev-parse", "--show-toplevel", "HEAD"]).splitlines()
        if Path(top).resolve() == clone:  # not a copy without .git inside somebody else's repository
            changes = git(["git", "--no-optional-locks", "status", "--porcelain"])
            return {"commit": commit, "is_dirty": bool(changes)}
    except (OSError, ValueError, subprocess.SubprocessError):
        pass
    return {"commit": "unknown", "is_dirty": "unknown"}


@dataclass(frozen=True)
class Clock:
    """When, and on which commit, the work on a run began: make one before it, hand it to `write_run`."""

    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    ticks: float = field(default_factory=time.perf_counter)
    commit: Mapping[str, str | bool] = field(default_factory=_commit)
    arguments: Sequence[str] = field(default_factory=lambda: tuple(ARGUMENTS))


def provenance(clock: Clock) -> dict[str, Any]:
    """Versions, platform, vector instructions, commit, command, start (UTC), seconds since, peak memory by now."""
    names = [*PACKAGES, *(name for name in PACKAGES_IF_IMPORTED if name in sys.modules)]
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # else KiB
    measured = {"seconds": time.perf_counter() - clock.ticks, "peak_memory_bytes": peak}
    vectors = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    place = {"versions": versions, "platform": platform.platform(), "vector_extensions": vectors, **clock.commit}
    return {**place, "arguments": list(clock.arguments), "started": clock.started, **measured}


def _temporary_beside(path: Path) -> Path:
    return path.parent / f".tmp-{secrets.token_hex(8)}"


def _write_file(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _replace_folder(target: Path, files: Mapping[str, bytes]) -> None:
    """Write the files, in order, into a new folder that then takes the target's name; for who holds its lock."""
    new, old = _temporary_beside(target), _temporary_beside(target)
    try:
        new.mkdir()
        for name, data in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            _write_file(new / name, data)
        for folder in {(new / name).parent for name in files}:
            _sync_folder(folder)
        if target.exists():
            target.rename(old)
        new.rename(target)
        _sync_folder(target.parent)
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        for folder in target.parent.glob(".tmp-*"):  # the lock is held: these are new and old, or a killed writer's
            shutil.rmtree(folder, ignore_errors=True)


def _open_stream(path: Path) -> BinaryIO | None:
    """The device, pipe or standard stream that the path names, opened; None for a regular or a new file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    for standard in (sys.stdout, sys.stderr):  # may be a regular file that the shell opened: share its offset
        with contextlib.suppress(OSError, ValueError, AttributeError):  # replaced, closed or None
            if os.path.samestat(status, os.fstat(standard.fileno())):
                standard.flush()
                return open(standard.fileno(), "wb", closefd=False)
    return None if stat.S_ISREG(status.st_mode) else path.open("wb")


def write_text_atomically(path: str | Path, text: str) -> None:
    """Write a text as `write_bytes_atomically` writes bytes, in UTF-8."""
    write_bytes_atomically(path, text.encode())


def write_bytes_atomically(path: str | Path, data: bytes) -> None:
    """Write a file the user named: all of the data is there under that name, or what was there before.

    A symbolic link is followed; a device, pipe or standard stream is written to directly. Raises StoreError.
    """
    with _failure_named("write", Path(path)):
        if stream := _open_stream(Path(path)):
            with stream:
                stream.write(data)
            return
        target = Path(os.path.realpath(path))
        temporary = _temporary_beside(target)
        try:
            _write_file(temporary, data)
            temporary.rename(target)
            _sync_folder(target.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def make_folder(path: str | Path) -> None:
    """Make a folder that the user named, and its parents; one that is there stays as it is. Raises StoreError."""
    with _failure_named("write", Path(path)):
        Path(path).mkdir(parents=True, exist_ok=True)


def write_run(
    layer: str,
    config: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    *,
    clock: Clock | None = None,
    artefacts: Mapping[str, bytes] | None = None,
    root: str | Path = RESULTS,
    overwrite: bool = False,
    made: bytes | None = None,
) -> Path:
    """Write a run in one step and return its folder; decisions (1) and (2) of the module say what is kept.

    Requires: config as in `run_id`; rows as in `rows_to_csv` (a generator is timed as it is used up); artefacts by
    name, "figure.pdf" or "model/config.json"; made: provenance of rows made before. Raises ValueError, StoreError.
    """
    artefacts = artefacts or {}
    for name in artefacts:
        if not ARTEFACT_NAME.fullmatch(name) or name in (*RUN_FILES, MANIFEST):
            taken = ", ".join((*RUN_FILES, MANIFEST))
            raise ValueError(f"artefacts: {name!r} must be a file name, at most one folder deep, other than {taken}")
    target = Path(root) / layer / run_id(layer, config)
    if not overwrite and not verify_run(target) and all((target / name).is_file() for name in artefacts):
        return target
    clock = clock or Clock()
    files = {"rows.csv": rows_to_csv(rows).encode(), "config.json": _json_bytes(_identity(layer, config))}
    files |= {"provenance.json": made or _json_bytes(provenance(clock)), **artefacts}
    sums = {name: {"bytes": len(data), "sha256": _sha256(data)} for name, data in files.items()}
    files[MANIFEST] = _json_bytes({"files": sums})
    with _failure_named("write", target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent):
            if overwrite or verify_run(target) or not all((target / name).is_file() for name in artefacts):
                _replace_folder(target, files)
    return target


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Alone among all processes that write in this folder."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def verify_run(path: str | Path) -> list[str]:
    """What is wrong with a run, a line each: no manifest, missing or changed files, another's name."""
    run = Path(path)
    try:
        listed = json.loads((run / MANIFEST).read_bytes())["files"]
        sums = {str(name): (entry["bytes"], entry["sha256"]) for name, entry in listed.items()}
    except OSError as error:
        return [f"{MANIFEST}: {error.strerror}"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return [f"{MANIFEST}: is not a manifest"]
    problems = [f"{name}: is not in the manifest" for name in RUN_FILES if name not in sums]
    for name, expected in sums.items():
        try:
            data = (run / name).read_bytes()
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
            continue
        if (len(data), _sha256(data)) != expected:
            problems.append(f"{name}: differs from its checksum")
    if not problems and _id_of(json.loads((run / "config.json").read_bytes())) != run.resolve().name:
        problems.append("config.json: belongs to a run of another name")
    return problems


def list_runs(root: str | Path = RESULTS) -> list[Path]:
    """The folders of all runs under the root, damaged ones included, by layer and name."""
    pattern = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")
    folders = [Path(root) / layer for layer in RESULT_VERSION]
    runs = [run for folder in folders if folder.is_dir() for run in sorted(folder.iterdir())]
    return [run for run in runs if pattern.fullmatch(run.name) and run.is_dir()]


def clean(root: str | Path = RESULTS) -> list[str]:
    """Remove damaged runs and what interrupted writers left; returns the folders removed. Raises StoreError."""
    removed = []
    for layer in RESULT_VERSION:
        folder = Path(root) / layer
        if not folder.is_dir():
            continue
        with _failure_named("clean", folder), _locked(folder):
            damaged = [run for run in list_runs(root) if run.parent == folder and verify_run(run)]
            for path in (*damaged, *sorted(folder.glob(".tmp-*"))):
                shutil.rmtree(path)
                removed.append(str(path))
    return removed
