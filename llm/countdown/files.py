"""Countdown problems from files: JSON Lines or parquet with `nums` or `numbers`, and `target`.

Countdown-Tasks-3to4 says `nums`. A problem that comes again, its numbers in any order, counts once; an `id`, where
there is one, may not come again. Other fields are left alone. A problem without a solution is allowed; it is known by
`countdown_solver.num_canonical_solutions`, which is 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from sharpening.llm.countdown import arithmetic
from sharpening.llm.countdown.problems import Problem

PARQUET = b"PAR1"
ROWS_AT_ONCE = 16_384
MOST_NUMBERS = 6
LONGEST_SHOWN = 60

Row = tuple[str, Mapping[str, Any]]  # line 3 or row 3, fields


def load(path: Path) -> tuple[list[Problem], int]:
    """The distinct problems in a file, in its order, and how many rows repeat one.

    Raises ValueError: one line that names the file, the line or row, the field, its value and what is allowed.
    """
    try:
        with path.open("rb") as stream:
            is_parquet = stream.peek(len(PARQUET))[: len(PARQUET)] == PARQUET
            return _problems(_parquet_rows(stream) if is_parquet else _json_rows(stream))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _problems(rows: Iterator[Row]) -> tuple[list[Problem], int]:
    found: dict[str, Problem] = {}
    place_of_id: dict[str, str] = {}
    num_rows = 0
    for place, row in rows:
        num_rows += 1
        problem = _problem(place, row)
        found.setdefault(problem.id, problem)
        if "id" in row and place_of_id.setdefault(json.dumps(row["id"], default=str), place) != place:
            first = place_of_id[json.dumps(row["id"], default=str)]
            raise ValueError(f"{place}: id {_shown(str(row['id']))} is in {first} too: want distinct ids")
    if not found:
        raise ValueError("the file is empty: want at least one problem")
    return list(found.values()), num_rows - len(found)


def _problem(place: str, row: Mapping[str, Any]) -> Problem:
    field = "nums" if "nums" in row else "numbers"
    for name in (field, "target"):
        if name not in row:
            wanted = "nums or numbers" if name == field else name
            raise ValueError(f"{place}: no field {wanted}: want it, found {_shown(', '.join(row))}")
    numbers, target = row[field], row["target"]
    if not isinstance(numbers, list) or not 1 <= len(numbers) <= MOST_NUMBERS or not all(map(_is_natural, numbers)):
        wanted = f"a list of 1 to {MOST_NUMBERS} integers from 0"
        raise ValueError(f"{place}: {field} is {_shown(json.dumps(numbers, default=str))}: want {wanted}")
    if not _is_natural(target):
        raise ValueError(f"{place}: target is {_shown(json.dumps(target, default=str))}: want an integer from 0")
    try:
        arithmetic.check_sizes([numbers], [target])
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None
    return Problem(tuple(numbers), target)


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _shown(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _json_rows(stream: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        place = f"line {number}"
        try:
            text = line.decode()
            row = json.loads(text) if text.strip() else None
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: byte {error.start + 1} is not UTF-8: want UTF-8 text") from None
        except (ValueError, RecursionError):
            raise ValueError(f"{place}: not JSON: want one object a line, found {_shown(text.strip())}") from None
        if not text.strip():
            continue
        if not isinstance(row, dict):
            raise ValueError(f"{place}: want one JSON object a line, found {_shown(text.strip())}")
        yield place, row


def _parquet_rows(stream: BinaryIO) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError("reading parquet needs pyarrow: want `pip install pyarrow` first") from None
    number = 0
    try:
        for batch in parquet.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE):
            for row in batch.to_pylist():
                number += 1
                yield f"row {number}", row
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"it is not a readable parquet file: {reason}: want the whole file") from None
