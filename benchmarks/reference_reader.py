"""An independent, slow reader of sample files, for benchmarks/fuzz_formats.py; it shares no code with the toolkit.

It states what the formats mean by other means: the file whole, as plain Python objects; every sample as an object; and
a refusal wherever the file is broken or two readings are possible. A mark is true, false, 0, 1 or a text of those; null
and NaN are samples that could not be scored, which are left out and counted.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from pyarrow import ArrowException, parquet

from benchmarks.reference_tools import TOOLS
from benchmarks.reference_values import Refused, Row, Said, Sample


class Cell(NamedTuple):
    """Samples of a problem and a seed; answers with their marks."""

    num_samples: int
    num_correct: int
    answers: Counter[tuple[str, bool]]


class Reading(NamedTuple):
    """The cells by problem and seed, how many samples were left out, and whether every sample has an answer.

    A file of several is left out if none of its rows has a mark: it is from before the evaluation.
    """

    cells: dict[tuple[str, str], Cell]
    num_left_out: int
    has_answers: bool
    num_files_left_out: int = 0


def read(contents: Iterable[bytes], said: Said) -> Reading:
    """The counts in the files of one model: by the first of the formats whose fields are there and that can be read."""
    files = [rows_in(content) for content in contents]
    if not all(files):
        raise Refused("empty")
    keys = {key for rows in files for row in rows for key in row}
    reasons = []
    for name, tool in TOOLS.items():
        is_told = name == said.file_format or (name == "own" and said.problem and said.file_format is None)
        if is_told or (said.file_format is None and tool.fits(keys)):
            try:
                marks = (said.metric or tool.mark).split()
                marked = [rows for rows in files if not marks or any(row.keys() & set(marks) for row in rows)]
                samples = [tool.read(rows, said) for rows in marked or files]
                for each in samples:
                    refuse_twice(each)
                found = [sample for each in samples for sample in each]
                if said.answer and all(sample.answer is None for sample in found):
                    raise Refused(f"no {said.answer}")
                return reading_of(found)._replace(num_files_left_out=len(files) - len(samples))
            except Refused as reason:
                reasons.append(f"{name}: {reason}")
    raise Refused("; ".join(reasons) or f"unknown fields {sorted(keys)}")


def refuse_twice(samples: list[Sample]) -> None:
    """No sample that has a place, and no problem that has counts, is there twice."""
    places = Counter((sample.problem, sample.seed, sample.place) for sample in samples if sample.place is not None)
    places.update((sample.problem, sample.seed, "") for sample in samples if sample.counts)
    if twice := [place for place, count in places.items() if count > 1]:
        raise Refused(f"twice: {twice[0]}")


def reading_of(samples: list[Sample]) -> Reading:
    """Cells by problem and seed; a seed that no problem has twice is a sample; problems that lack a seed are out."""
    scored = [sample for sample in samples if sample.mark is not None or sample.counts]
    if not scored:
        raise Refused("nothing scored")
    documents: dict[str, str] = {}
    for sample in samples:
        if sample.document and documents.setdefault(sample.problem, sample.document) != sample.document:
            raise Refused(f"two documents of problem {sample.problem}")
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in scored:
        groups.setdefault((sample.problem, sample.seed), []).append(sample)
    seeds = {seed for _, seed in groups}
    if len(seeds) > 1 and all(len(group) == 1 and not group[0].counts for group in groups.values()):
        pooled: dict[tuple[str, str], list[Sample]] = {}
        for sample in scored:
            pooled.setdefault((sample.problem, ""), []).append(sample)
        groups, seeds = pooled, {""}
    problems = {problem for problem, _ in groups}
    complete = {problem for problem in problems if all((problem, seed) in groups for seed in seeds)}
    if not complete:
        raise Refused("no problem has every seed")
    cells = {key: cell_of(group) for key, group in groups.items() if key[0] in complete}
    kept = [sample for sample in scored if sample.problem in complete]
    has_answers = all(sample.answer is not None for sample in kept) and not is_gold(kept)
    return Reading(cells, len(samples) - len(scored), has_answers)


def cell_of(group: list[Sample]) -> Cell:
    """The counts of a group."""
    counts = [sample.counts or (1, int(bool(sample.mark))) for sample in group]
    answers = Counter((sample.answer or "", bool(sample.mark)) for sample in group)
    return Cell(sum(n for n, _ in counts), sum(c for _, c in counts), answers)


def is_gold(samples: list[Sample]) -> bool:
    """Whether what is called answer is that of the problem: one a problem, though the marks of some differ."""
    answers: dict[str, set[str | None]] = {}
    marks: dict[str, set[bool | None]] = {}
    for sample in samples:
        answers.setdefault(sample.problem, set()).add(sample.answer)
        marks.setdefault(sample.problem, set()).add(sample.mark)
    return all(len(each) == 1 for each in answers.values()) and any(len(each) == 2 for each in marks.values())


# What is in a file


def rows_in(content: bytes) -> list[Row]:
    """The objects of a file: its lines, its rows, or the one that it is."""
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise Refused(f"gzip: {error}") from None
    if content.startswith(b"PAR1"):
        try:
            return list(parquet.ParquetFile(io.BytesIO(content)).read(use_threads=False).to_pylist())
        except (ArrowException, ValueError, OSError) as error:
            raise Refused(f"parquet: {error}") from None
    if content.startswith(b"PK"):
        return zipped(content)
    try:
        text = re.sub("^\ufeff+", "", content.decode(), flags=re.MULTILINE)  # marks of files one after the other
    except UnicodeDecodeError as error:
        raise Refused(f"text: {error}") from None
    return objects(text) if text.lstrip()[:1] in ("{", "[") else table(text)


def zipped(content: bytes) -> list[Row]:
    """inspect_ai's samples, a file each."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
        names = [name for name in archive.namelist() if name.startswith("samples/") and name.endswith(".json")]
        return [{"samples": [loaded(archive.read(name).decode()) for name in names]}]
    except (zipfile.BadZipFile, OSError, ValueError, EOFError) as error:
        raise Refused(f"zip: {error}") from None


def objects(text: str) -> list[Row]:
    """The text as one JSON value, or a line each."""
    try:
        whole = loaded(text)
    except json.JSONDecodeError:
        lines = [line.strip(" \t\r\v\f") for line in text.split("\n")]
        try:
            whole = [loaded(line) for line in lines if line]
        except json.JSONDecodeError as error:
            raise Refused(f"JSON: {error}") from None
    rows = whole if isinstance(whole, list) else [whole]
    if not all(isinstance(row, dict) for row in rows):
        raise Refused("not all are objects")
    return rows


def loaded(text: str) -> Any:
    """JSON in which no object has two values for one key."""
    try:
        return json.loads(text, object_pairs_hook=paired)
    except json.JSONDecodeError:
        raise
    except (RecursionError, ValueError) as error:
        raise Refused(f"JSON: {error}") from None


def paired(pairs: list[tuple[str, Any]]) -> Row:
    """An object, refused if it has two values for one key."""
    row: Row = {}
    for key, value in pairs:
        if repr(row.get(key, value)) != repr(value):
            raise Refused(f"key {key!r} has two values")
        row[key] = value
    return row


def table(text: str) -> list[Row]:
    """CSV with a header; an empty cell is null."""
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if any(map(str.strip, line))]
    except csv.Error as error:
        raise Refused(f"CSV: {error}") from None
    if not lines:
        raise Refused("empty")
    header = [cell.strip() for cell in lines[0]]
    if len(set(header)) < len(header) or any(len(line) != len(header) for line in lines):
        raise Refused("CSV: not as the header")
    return [dict(zip(header, (cell or None for cell in line), strict=True)) for line in lines[1:]]
