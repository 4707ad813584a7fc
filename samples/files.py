"""Opening sample files: lines of text or rows of parquet, with the SHA-256 of what was read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from sharpening.samples.formats import readers
from sharpening.samples.tally import Samples

PARQUET = b"PAR1"
ROWS_AT_ONCE = 16_384
NO_FIELDS = readers.Fields()


def names(paths: Sequence[Path]) -> list[str]:
    """The files' names, or what was given where two have the same name."""
    found = [path.name for path in paths]
    return found if len(set(found)) == len(found) else [str(path) for path in paths]


def read(
    path: Path, name: str, file_format: str | None = None, fields: readers.Fields = NO_FIELDS
) -> tuple[Samples, str]:
    """The counts in a file and the SHA-256 of its bytes; a text file is read once, line by line."""
    try:
        with path.open("rb") as stream:
            is_parquet = stream.peek(len(PARQUET))[: len(PARQUET)] == PARQUET
            if is_parquet and file_format not in (None, "trl"):
                raise ValueError(f"{name}: it is a parquet file: want --format trl, or none, not {file_format}")
            if file_format == "trl" and not is_parquet:
                raise ValueError(f"{name}: it is not a parquet file, as --format trl says: want none, or another")
            if is_parquet:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                return readers.read_table(_parquet_rows(stream, name), name, fields), sha256
            digest = hashlib.sha256()
            return readers.read(_hashed(stream, digest), name, fields, file_format), digest.hexdigest()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def _hashed(stream: BinaryIO, digest: Any) -> Iterator[bytes]:
    for line in stream:
        digest.update(line)
        yield line


def _parquet_rows(stream: BinaryIO, name: str) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError(f"{name}: reading parquet needs pyarrow: want `pip install pyarrow` first") from None
    try:
        for batch in parquet.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"{name}: it is not a readable parquet file: {reason}") from None
