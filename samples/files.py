"""Reading sample files: one file, or several files or a folder of one model, and the SHA-256 of what was read."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from sharpening.samples import answers
from sharpening.samples.answers import AnswerTable
from sharpening.samples.formats import table
from sharpening.samples.formats.fields import Fields, Found, listed
from sharpening.samples.lines import NotSamples, named, opened
from sharpening.samples.tally import Samples, Tally

NO_FIELDS = Fields()


def paths_of(word: str) -> dict[str, Path]:
    """The files and folders of one model, by the names that were given: one, or several joined by +."""
    parts = [word] if Path(word).exists() else word.split("+")
    for part, count in Counter(parts).items():
        if not part or count > 1:
            fault = f"{part!r} is there twice" if part else "a name is empty"
            raise ValueError(f"FILES: {word!r}: {fault}: want distinct files, joined by +")
    return {part: Path(part) for part in parts}


def read_models(
    words: Sequence[str], file_format: str | None = None, fields: Fields = NO_FIELDS
) -> list[tuple[Samples, str]]:
    """The counts of every model, and the SHA-256 of what was read; a word is what `paths_of` reads.

    The models are called by their files' names without the way to them, or by the words where two names are the same.

    Raises:   ValueError as `pooled`; also where a file is given twice.
    """
    models = [paths_of(word) for word in words]
    first: dict[Path, Path] = {}
    for path in (path for paths in models for path in paths.values()):
        if (real := path.resolve()) in first:
            other = f", also as {str(first[real])!r}" if first[real] != path else ""
            raise ValueError(f"FILES: {str(path)!r}: given twice{other}: want distinct files")
        first[real] = path
    names = ["+".join(path.name or word for word, path in paths.items()) for paths in models]
    shown = names if len(set(names)) == len(names) else words
    read = [pooled(paths, word, file_format, fields) for word, paths in zip(words, models, strict=True)]
    return [(dataclasses.replace(table, name=name), sha256) for (table, sha256), name in zip(read, shown, strict=True)]


def read(path: Path, name: str, file_format: str | None, fields: Fields) -> tuple[Samples, str]:
    """The counts in a file, or in all files of a folder as those of one model; and the SHA-256 of its bytes.

    Raises:   ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    return pooled({name: path}, name, file_format, fields)


def pooled(paths: Mapping[str, Path], name: str, file_format: str | None, fields: Fields) -> tuple[Samples, str]:
    """The counts of one model in several files and folders, by the names that errors have for them.

    In a folder, files that hold no samples are left out and noted. The SHA-256 of several files is that of theirs.

    Raises:   ValueError as `read`; also where two files are the same, or take different fields as the mark.
    """
    files = {label: path for word, given in paths.items() for label, path in _inside(word, given).items()}
    is_folder = any(path.is_dir() for path in paths.values())
    tally, found = Tally(), Found()
    digests: dict[str, str] = {}
    left_out: list[str] = []
    for label, path in files.items():
        mine = Found()
        try:
            sha256 = _counted(path, label, file_format, fields, tally, mine)
        except NotSamples as error:
            if not is_folder:
                raise ValueError(str(error)) from None
            left_out.append(path.name)
            continue
        if sha256 in digests:
            raise ValueError(f"{label}: it is the same as {digests[sha256]}: want the samples of a model once")
        if digests and (mine.file_format, mine.metric) != (found.file_format, found.metric):
            raise ValueError(
                f"{label}: it is {mine.file_format} with {mine.metric} for correct, files before are "
                f"{found.file_format} with {found.metric}: want one --format and one --metric"
            )
        digests[sha256] = label
        mine.notes = list(dict.fromkeys([*found.notes, *mine.notes]))
        mine.steps |= found.steps
        found = mine
    if not digests:
        raise ValueError(f"{name}: no file in this folder holds samples: want files of samples directly in it")
    if len(found.steps) > 1:
        found.notes.append(f"the samples of {len(found.steps)} steps of training count as those of one model")
    if left_out:
        found.notes.insert(0, f"{len(left_out)} files hold no samples and are left out: {listed(left_out)}")
    if is_folder or len(digests) > 1:
        found.notes.insert(0, f"{len(digests)} files pooled as one model")
    together = next(iter(digests)) if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
    try:
        samples = tally.samples(name, found.metric, found.notes)
    except ValueError as error:
        raise named(error, name) from None
    mark = None if found.file_format == "own" else (found.file_format, found.metric)
    samples = dataclasses.replace(samples, mark=mark)
    if fields.answer is not None and not tally.has_answers:
        raise ValueError(f"{name}: no sample has the field {fields.answer!r}: want another --answer, or none")
    return samples, together


def answers_of(
    path: Path, name: str, problem: str | None, fields: Fields = NO_FIELDS
) -> tuple[AnswerTable, list[str], str]:
    """The answers to one problem in a file of samples, what is doubtful about them, and the SHA-256 of the file."""
    found = Found()
    with opened(path, name) as source:
        records = list(table.records(source.table(), None, fields, found))
        sha256 = source.sha256()
    counts, notes = answers.counted(records, name, problem)
    return counts, [*found.notes, *notes], sha256


def _inside(word: str, path: Path) -> dict[str, Path]:
    """A file, or the files of a folder, by what errors call them."""
    try:
        if not path.is_dir():
            return {word: path}
        found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    except OSError as error:
        raise ValueError(f"{word}: cannot be read: {error.strerror or error}") from None
    return {f"{word.rstrip('/')}/{each.name}": each for each in found}


def _counted(path: Path, label: str, file_format: str | None, fields: Fields, tally: Tally, found: Found) -> str:
    """Counts a file; returns its SHA-256."""
    with opened(path, label) as source:
        tally.add(table.records(source.table(), file_format, fields, found))
        return source.sha256()
