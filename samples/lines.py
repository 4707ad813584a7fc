"""Rows of a file, each with its place for error lines: JSON Lines, one JSON document, CSV, parquet; also within gzip.

What a file is shows its first bytes, never its name. A JSON document is a list of objects, each a row, or one object,
the only row. In CSV a column without a name is left out. A zip archive is read as Inspect's log: each `samples/*.json`
is a row, after the log's header.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import itertools
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

LONGEST = 2**31 - 1  # bytes of a line, of a document, of a member of an archive
LONGEST_ERROR = 500  # characters: names in a file may be of any length
ROWS_AT_ONCE = 16_384
BLANK = " \t\r\n\v\f\ufeff"  # before the rows of JSON Lines; files with byte order marks may have been joined
PARQUET, GZIP = b"PAR1", b"\x1f\x8b"
ZIP = (b"PK\x03\x04", b"PK\x05\x06")
HEADERS = ("header.json", "results.json")  # of an Inspect archive that is whole, and of an old one
NO_ROWS = {b"\x89PNG": "a picture (PNG)", b"%PDF": "a document (PDF)", b"\x93NUM": "an array (NumPy)"}
OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
TOO_DEEP = "it is nested too deeply: want an object of numbers and texts"


class _Twice(ValueError):
    """A key that is there twice, with values that differ."""


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, of which no key has two values."""
    found = dict(pairs)
    if len(found) < len(pairs):
        for key, value in pairs:
            if repr(found[key]) != repr(value):
                raise _Twice(f"field {shown(key)} has two values")
    return found


JSON = json.JSONDecoder(object_pairs_hook=_once_each)


class NotSamples(ValueError):
    """The file holds no samples with marks: another file, or one from before the evaluation."""


class Row(NamedTuple):
    """An object of a file, and where it stands: line 3, row 3 of a table, item 3 of a list."""

    unit: str
    number: int
    fields: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Where the row stands, for an error line."""
        return f"{self.unit} {self.number}"

    def fault(self, text: str) -> ValueError:
        """An error that names the place."""
        return ValueError(f"{self.place}: {text}")


@dataclass(frozen=True)
class Table:
    """The rows of a file, what it is, in words, and its columns where these are known before the first row."""

    kind: str
    rows: Iterator[Row]
    columns: tuple[str, ...] = ()


class Source:
    """A file that is open, with the SHA-256 of its bytes once its rows are read.

    Raises ValueError, one line without the file's name, where the bytes are not what they begin as.
    """

    def __init__(self, stream: BinaryIO) -> None:
        """Begins at the start of the stream."""
        self.digest = hashlib.sha256()
        self.stream = io.BufferedReader(_Hashed(stream, self.digest))

    def table(self) -> Table:
        """The rows of the file, read as they are asked for."""
        start = self.stream.peek(len(PARQUET))
        if start.startswith(GZIP):
            return _table(gzip.GzipFile(fileobj=self.stream), ", gzipped")
        return _table(self.stream)

    def sha256(self) -> str:
        """The digest of the whole file, also of what no row came from."""
        while self.stream.read(1 << 20):
            pass
        return self.digest.hexdigest()


@contextmanager
def opened(path: Path, name: str) -> Iterator[Source]:
    """A file; errors while its rows are read are one line that begins with the name.

    Raises:   ValueError, or NotSamples where that was raised.
    """
    try:
        with path.open("rb") as stream:
            yield Source(stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: it is not readable gzip: {error}: want the whole file") from None
    except OSError as error:
        raise ValueError(f"{name}: cannot be read: {error.strerror or error}") from None
    except RecursionError:
        raise ValueError(f"{name}: {TOO_DEEP}") from None
    except ValueError as error:
        raise named(error, name) from None


def named(error: ValueError, name: str) -> ValueError:
    """The error as one line, of the file's name and the place, or of the name and what is wrong with the whole file."""
    text = " ".join(str(error).splitlines())
    kind = NotSamples if isinstance(error, NotSamples) else ValueError
    return kind(f"{name}{'' if text.startswith(':') else ' '}{text[:LONGEST_ERROR]}")


class _Hashed(io.RawIOBase):
    """A stream that is read once, from its beginning, and hashed on the way."""

    def __init__(self, stream: BinaryIO, digest: Any) -> None:
        self.stream, self.digest = stream, digest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.stream.read(len(buffer))
        self.digest.update(data)
        buffer[: len(data)] = data
        return len(data)


def _table(stream: io.BufferedReader[Any] | gzip.GzipFile, suffix: str = "") -> Table:
    start = stream.peek(len(PARQUET))
    for magic, name in OTHERS.items():
        if start.startswith(magic):
            raise ValueError(f": it is compressed with {name}: want it unpacked, or gzip")
    for magic, name in NO_ROWS.items():
        if start.startswith(magic):
            raise NotSamples(f": it is {name}: want samples")
    if start.startswith(GZIP):
        raise ValueError(": it is gzip within gzip: want it unpacked")
    if start.startswith(PARQUET):
        return Table(f"parquet{suffix}", _parquet_rows(io.BytesIO(stream.read())))
    if start.startswith(ZIP):
        return Table(f"a zip archive{suffix}", _zip_rows(io.BytesIO(stream.read())))
    table = text_table(stream)
    return replace(table, kind=f"{table.kind}{suffix}")


def text_table(stream: BinaryIO | io.BufferedIOBase) -> Table:
    """The rows of a text; raises ValueError that names the line."""
    lines = _lines(stream)
    first = next((pair for pair in lines if pair[1].strip(BLANK)), None)
    if first is None:
        return Table("an empty file", iter(()))
    number, text = first[0], first[1].lstrip(BLANK)
    if text[0] == "{" and _is_json(text):
        second = next((pair for pair in lines if pair[1].strip(BLANK)), None)
        if second is None and (columns := _columns(parsed(text, f"line {number}"))):
            return _column_table(columns)
        return Table("JSON Lines", _json_rows(itertools.chain([first], [second] if second else [], lines)))
    second = next(lines, None)
    whole = itertools.chain([first], [second] if second else [], lines)
    is_next_json = second is not None and second[1].lstrip(BLANK).startswith("{")
    if (text[0] == "{" and second is None) or (text[0] not in "{[" and is_next_json):
        return Table("JSON Lines", _json_rows(whole))  # of which the first line is none
    if text[0] not in "{[":
        return _csv_table(whole)
    document = _document(whole)
    if isinstance(document, list):
        items = (Row("item", n, _object(each, f"item {n}")) for n, each in enumerate(document, start=1))
        return Table("a JSON list of objects", items)
    if columns := _columns(document):
        return _column_table(columns)
    return Table("a JSON document", iter([Row("line", number, document)]))


def _columns(document: Any) -> dict[str, list[Any]]:
    """The columns of a table as pandas writes it, more than one row of lists or of objects by row; else none."""
    if not isinstance(document, dict) or not document:
        return {}
    columns = list(document.values())
    if all(isinstance(one, list) for one in columns) and len(columns[0]) > 1 and len(set(map(len, columns))) == 1:
        return document
    is_by_row = all(isinstance(one, dict) and one.keys() == columns[0].keys() for one in columns)
    if is_by_row and len(columns[0]) > 1 and all(name.isdecimal() for name in columns[0]):
        return {name: list(one.values()) for name, one in document.items()}
    return {}


def _column_table(columns: Mapping[str, list[Any]]) -> Table:
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return Table("a JSON table by columns", (Row("item", n, row) for n, row in enumerate(rows, start=1)))


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(stream: BinaryIO | io.BufferedIOBase) -> Iterator[tuple[int, str]]:
    """The lines with their numbers, without a byte order mark."""
    for number, line in enumerate(iter(lambda: stream.readline(LONGEST), b""), start=1):
        if len(line) == LONGEST:
            raise ValueError(f"line {number}: it is longer than {LONGEST} bytes: want shorter lines")
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"line {number}: it is not UTF-8 text ({error.reason}): save it as UTF-8") from None


def parsed(text: str, place: str) -> Any:
    """The value in a JSON text; raises ValueError that names the place."""
    try:
        return _loaded(text, place)
    except json.JSONDecodeError as error:
        raise ValueError(f"{place}: it is not JSON ({error.msg} at column {error.colno}): want one object") from None


def _loaded(text: str, place: str) -> Any:
    try:
        return JSON.decode(text)
    except json.JSONDecodeError:
        raise
    except _Twice as error:
        raise ValueError(f"{place}: {error}: want it once") from None
    except RecursionError:
        raise ValueError(f"{place}: {TOO_DEEP}") from None
    except ValueError as error:  # an integer of more digits than Python converts
        raise ValueError(f"{place}: a number cannot be read ({str(error).split(':')[0]}): want fewer digits") from None


def _document(lines: Iterable[tuple[int, str]]) -> Any:
    size, numbers, texts = 0, [], []
    for number, text in lines:
        size += len(text)
        if size > LONGEST:
            raise ValueError(f": it is one JSON document of more than {LONGEST} characters: want JSON Lines")
        numbers.append(number)
        texts.append(text)
    try:
        return _loaded("".join(texts), f"line {numbers[0]} and on")
    except json.JSONDecodeError as error:
        number = numbers[min(error.lineno, len(numbers)) - 1]
        reason = f"{error.msg} at column {error.colno}"
        raise ValueError(f"line {number}: it is not JSON ({reason}): want one object a line, or one document") from None


def _json_rows(lines: Iterable[tuple[int, str]]) -> Iterator[Row]:
    for number, text in lines:
        if bare := text.lstrip(BLANK):
            place = f"line {number}"
            yield Row("line", number, _object(parsed(bare, place), place))


def _object(value: Any, place: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{place}: it is {shown(value)}: want an object")
    return value


def _csv_table(lines: Iterable[tuple[int, str]]) -> Table:
    """The rows below the header; a text in quotes may hold line breaks."""
    cells = _cells(lines)
    number, header = next(cells, (1, []))
    columns = tuple(column.strip() for column in header)
    return Table("CSV", _csv_rows(cells, columns, number), tuple(filter(None, columns)))


def _csv_rows(cells: Iterator[tuple[int, list[str]]], columns: tuple[str, ...], header: int) -> Iterator[Row]:
    _refuse_twice(columns, f"line {header}: ")
    for number, texts in cells:
        if len(texts) != len(columns):
            raise ValueError(f"line {number}: {len(texts)} fields: want {len(columns)}, as in the header")
        yield Row("line", number, {column: cell for column, cell in zip(columns, texts, strict=True) if column})


def _refuse_twice(columns: Sequence[str], place: str) -> None:
    for column in filter(None, columns):
        if columns.count(column) > 1:
            raise ValueError(f"{place}column {column!r} is there twice: want it once")


def _cells(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    """The cells of every row that is not blank, with the line where it begins."""
    numbered = iter(lines)
    first, text = next(numbered)
    reader = csv.reader(itertools.chain([text], (text for _, text in numbered)), strict=True)
    while True:
        number = first + reader.line_num
        limit = csv.field_size_limit(LONGEST)  # it belongs to the process: completions are longer, and others go on
        try:
            texts = next(reader, None)
        except csv.Error as error:
            raise ValueError(
                f"line {number}: malformed CSV: {error}: want every quote closed, and doubled inside"
            ) from None
        finally:
            csv.field_size_limit(limit)
        if texts is None:
            return
        if any(cell.strip() for cell in texts):
            yield number, texts


def _parquet_rows(stream: BinaryIO) -> Iterator[Row]:
    """The rows of a parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError(": reading parquet needs pyarrow: want `pip install pyarrow` first") from None
    try:
        file = parquet.ParquetFile(stream)
        _refuse_twice(file.schema_arrow.names, ": ")
        batches = file.iter_batches(batch_size=ROWS_AT_ONCE)
        rows = itertools.chain.from_iterable(batch.to_pylist() for batch in batches)
        for number, row in enumerate(rows, start=1):
            yield Row("row", number, row)
    except (pyarrow.ArrowException, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f": it is not a readable parquet file: {reason}: want the whole file") from None


def _zip_rows(stream: BinaryIO) -> Iterator[Row]:
    """The header of an Inspect log and its samples; other members are read, too: a damaged name could be a sample's."""
    number = 0
    try:
        with zipfile.ZipFile(stream) as archive:
            for name in sorted(archive.namelist(), key=lambda name: (name not in HEADERS, name)):
                if archive.getinfo(name).file_size > LONGEST:
                    raise ValueError(f"{name}: it is longer than {LONGEST} bytes: want shorter samples")
                data = archive.read(name)
                is_sample = name.startswith("samples/") and name.endswith(".json")
                if is_sample or name in HEADERS:
                    number += is_sample
                    yield Row(f"{name}, sample", number, _object(parsed(data.decode("utf-8-sig"), name), name))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f": it is not a readable zip archive: {reason}: want the whole file") from None
    if not number:
        raise ValueError(": it is a zip archive without samples/*.json, so no log of Inspect: want it unpacked")


def shown(value: Any) -> str:
    """A value for an error line, shortened."""
    text = "NaN" if value != value else json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
