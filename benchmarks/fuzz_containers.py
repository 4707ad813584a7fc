"""Trees of Python objects written as JSON, JSON lines, CSV, parquet, zip and gzip, for benchmarks/fuzz_formats.py."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from typing import Any

import pyarrow
from pyarrow import parquet

from benchmarks.fuzz_completions import Dice

AGAIN = "@@again"  # ends a key that is written as if it did not: the object has the key twice


class Unwritable(Exception):
    """The document cannot be stored in its container: a column of parquet has one type."""


def written(tree: Any, container: str, dice: Dice) -> bytes:
    """The file's bytes."""
    is_ascii = bool(dice.below(2))
    if container == "parquet":
        return _parquet(tree)
    if container == "csv":
        return _csv(tree)
    if container == "zip":
        return _zip(tree)
    if container == "jsonl":
        return "".join(_json(row, is_ascii=is_ascii) + "\n" for row in tree).encode("utf-8", "surrogatepass")
    return _json(tree, dice.pick((None, 4)), is_ascii=is_ascii).encode("utf-8", "surrogatepass")


def _json(tree: Any, indent: int | None = None, *, is_ascii: bool = True) -> str:
    return json.dumps(tree, ensure_ascii=is_ascii, indent=indent).replace(f'{AGAIN}"', '"')


def _parquet(rows: Any) -> bytes:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unwritable
    keys = dict.fromkeys(key for row in rows for key in row)
    buffer = io.BytesIO()
    try:
        parquet.write_table(pyarrow.table({key: [row.get(key) for row in rows] for key in keys}), buffer)
    except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError, TypeError):
        raise Unwritable from None
    return buffer.getvalue()


def _csv(rows: Any) -> bytes:
    """As csv.DictWriter and pandas write it: null is empty."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unwritable
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[key.replace(AGAIN, "") for key in keys]]
    for row in rows:
        cells = [row.get(key) for key in keys]
        lines.append(["" if cell is None else cell if isinstance(cell, str) else str(cell) for cell in cells])
    return "".join(",".join(map(_quoted, line)) + "\n" for line in lines).encode("utf-8", "surrogatepass")


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell


def _zip(tree: Any) -> bytes:
    if not isinstance(tree, dict) or not isinstance(tree.get("samples"), list):
        raise Unwritable
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("header.json", json.dumps({key: tree[key] for key in tree if key != "samples"}))
        for place, sample in enumerate(tree["samples"]):
            fields = sample if isinstance(sample, dict) else {}
            name = f"{fields.get('id')}_epoch_{fields.get('epoch')}".replace("/", "_").replace("\n", " ")
            known = {info.filename for info in archive.infolist()}
            path = f"samples/{name[:80]}.json"
            archive.writestr(path if path not in known else f"samples/{place}_{name[:80]}.json", _json(sample))
    return buffer.getvalue()


def compressed(content: bytes) -> bytes:
    """The bytes as gzip writes them."""
    return gzip.compress(content, compresslevel=1, mtime=0)
