"""What happens to sample files on the way, for benchmarks/fuzz_formats.py: their schema changed, or their bytes.

A change of the schema names a field and is made in every object that has the field, or in one of them.
"""

from __future__ import annotations

import copy
import gzip
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from benchmarks.fuzz_completions import Dice
from benchmarks.fuzz_containers import AGAIN, Unwritable, compressed, written
from benchmarks.fuzz_files import Document
from benchmarks.fuzz_tools import TOOLS
from benchmarks.reference_values import Said

FIELDS = (  # of all the tools, and near them
    *("problem", "problem_id", "id", "idx", "question", "question_id", "task_id", "doc_id", "prompt", "input", "name"),
    *("correct", "is_correct", "score", "acc", "passed", "reward", "symbolic_correct", "judge_correct", "graded_list"),
    *("answers_correctness", "base_status", "plus_status", "accuracy_reward", "exact_match", "pass@1", "pass@10", "c"),
    *("answer", "pred", "prediction", "predicted_answer", "gold_answer", "target", "seed", "sample", "epoch", "n"),
    *("generation", "completion", "output", "metric", "metrics", "filter", "eval", "samples", "scores", "uid", "level"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 2, -1, 0.0, 1.0, 0.5, 1e400, float("nan"), 10**30, "", " ", "True", "False", "true"),
    *("false", "TRUE", "0", "1", "1.0", "yes", "pass", "fail", "C", "I", "N", "P", "null", "None", "nan", "correct"),
    *([], [True], [None], [[True]], {}, {"value": 1}, {"value": "C"}, "\ud800", "😀", "\u0661", "x" * 100_000),
)
CONVERSIONS: tuple[Callable[[Any], Any], ...] = (
    *(str, lambda value: [value], lambda value: {"value": value}, lambda value: str(value).lower(), repr),
    *(lambda value: float(value) if isinstance(value, bool | int) else value,),
    *(lambda value: int(value) if isinstance(value, bool | float) and value == value else value,),
    *(bool, lambda value: None, lambda value: float("nan"), lambda value: not value, lambda value: value),
)
FORMATS = {  # what is another word there than here
    **{"own_rows": "own", "own_counts": "own", "own_lists": "own", "nemo": "nemo_skills", "inspect_ai": "inspect"},
    **{"evalplus_new": "evalplus", "evalplus_old": "evalplus", "bigcodebench": "evalplus"},
}


class Variant(NamedTuple):
    """Files of one model, how they were made, and what the user says."""

    tool: str
    container: str
    changes: tuple[str, ...]
    contents: tuple[bytes, ...]
    said: Said


def objects(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a tree, the tree itself first."""
    if isinstance(tree, dict):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from objects(child)


def chosen(document: Document, dice: Dice) -> tuple[str, list[dict[str, Any]]]:
    """A field, most often one that matters, and the objects to change it in: all that have it, or one."""
    there = list(dict.fromkeys(key for each in objects(document.tree) for key in each))
    key = dice.pick(dice.pick((document.marks, document.marks, document.others, there or document.others)))
    holders = [each for each in objects(document.tree) if key in each]
    return key, holders if not holders or dice.below(2) else [dice.pick(holders)]


def renamed(document: Document, dice: Dice) -> Document:
    """A field has another name, in its place; in some cases the user says so."""
    key, holders = chosen(document, dice)
    new = dice.pick((dice.pick(FIELDS), dice.pick(FIELDS), key.upper(), key + "s", f" {key}", key.replace("_", "")))
    for holder in holders:
        pairs = [(new if name == key else name, value) for name, value in holder.items()]
        holder.clear()
        holder.update(pairs)
    said = document.said
    if dice.below(2) and key in document.marks:
        said = said._replace(metric=new)
    elif dice.below(2) and key in ("problem", "problem_id", "question", "task_id", "id", "input", "prompt"):
        said = said._replace(problem=new)
    return document._replace(said=said)


def dropped(document: Document, dice: Dice) -> Document:
    """A field is not there."""
    key, holders = chosen(document, dice)
    for holder in holders:
        del holder[key]
    return document


def reordered(document: Document, dice: Dice) -> Document:
    """Fields and rows are in another order."""
    for each in objects(document.tree):
        pairs = shuffled(list(each.items()), dice)
        each.clear()
        each.update(pairs)
    if isinstance(document.tree, list):
        document.tree[:] = shuffled(document.tree, dice)
    return document


def shuffled(items: list[Any], dice: Dice) -> list[Any]:
    """The items in a random order."""
    rest, found = list(items), []
    while rest:
        found.append(rest.pop(dice.below(len(rest))))
    return found


def null(document: Document, dice: Dice) -> Document:
    """A value is null, or one in its list."""
    return _replaced(document, dice, lambda value: None)


def retyped(document: Document, dice: Dice) -> Document:
    """A value is another one, of any type."""
    new = dice.pick(VALUES)
    return _replaced(document, dice, lambda value: copy.deepcopy(new))


def converted(document: Document, dice: Dice) -> Document:
    """A value is said in another type."""
    return _replaced(document, dice, dice.pick(CONVERSIONS))


def _replaced(document: Document, dice: Dice, change: Callable[[Any], Any]) -> Document:
    key, holders = chosen(document, dice)
    is_inner, is_one = dice.below(3), dice.below(2)
    for holder in holders:
        value = holder[key]
        if not (isinstance(value, list) and value and is_inner):
            holder[key] = change(value)
        elif is_one:
            value[dice.below(len(value))] = change(copy.deepcopy(dice.pick(value)))
        else:
            value[:] = [change(each) for each in value]
    return document


def resized(document: Document, dice: Dice) -> Document:
    """A list is longer or shorter than the others, or empty."""
    lists = [(each, key) for each in objects(document.tree) for key in each if isinstance(each[key], list)]
    if not lists:
        return document
    holder, key = dice.pick(lists)
    same = [each for each, name in lists if name == key]
    kind = dice.below(5)
    for each in same if dice.below(2) else [holder]:
        value = each[key]
        longer = (value[:-1], value + value[-1:], value * 2, [], [*value, None])[kind]
        each[key] = [copy.deepcopy(entry) for entry in longer]
    return document


def swapped(document: Document, dice: Dice) -> Document:
    """Two fields have each other's values."""
    key, holders = chosen(document, dice)
    other = dice.pick(list(holders[0])) if holders else key
    for holder in holders:
        if other in holder:
            holder[key], holder[other] = holder[other], holder[key]
    return document


def added(document: Document, dice: Dice) -> Document:
    """A field more, of the name of one that matters elsewhere."""
    _, holders = chosen(document, dice)
    key = dice.pick(FIELDS)
    is_mark, new = dice.below(2), dice.pick(VALUES)
    for holder in holders:
        pair = {key: bool(dice.below(2)) if is_mark else copy.deepcopy(new)}
        pairs = holder | pair if dice.below(2) else pair | holder
        if key not in holder:
            holder.clear()
            holder.update(pairs)
    return document


def repeated(document: Document, dice: Dice) -> Document:
    """A row, a sample or a problem is there twice, as it was or with another value."""
    lists = [child for child in _lists(document.tree) if child and isinstance(child[0], dict)]
    if not lists:
        return document
    rows = dice.pick(lists)
    new = copy.deepcopy(dice.pick(rows))
    rows.insert(dice.below(len(rows) + 1), new)
    key = dice.pick((*document.marks, *document.others))
    if dice.below(2) and isinstance(new, dict) and key in new:
        new[key] = copy.deepcopy(dice.pick(VALUES))
    return document


def _lists(tree: Any) -> Iterator[list[Any]]:
    if isinstance(tree, list):
        yield tree
    for child in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
        yield from _lists(child)


def removed(document: Document, dice: Dice) -> Document:
    """A row, a sample or a problem is not there."""
    lists = [child for child in _lists(document.tree) if child and isinstance(child[0], dict)]
    if lists:
        rows = dice.pick(lists)
        del rows[dice.below(len(rows))]
    return document


def keyed_twice(document: Document, dice: Dice) -> Document:
    """An object has a key twice, with the same value or another."""
    key, holders = chosen(document, dice)
    new = dice.pick(VALUES)
    is_same = dice.below(3) == 0
    for holder in holders:
        holder[key + AGAIN] = copy.deepcopy(holder[key] if is_same else new)
    return document


def misnamed(document: Document, dice: Dice) -> Document:
    """The user names a field or a format that may not be right."""
    field = dice.pick((*document.marks, *document.others, *FIELDS))
    name = dice.pick((document.tool, document.tool, *(tool.__name__ for tool in TOOLS)))
    tool = FORMATS.get(name, name)
    choices = ({"metric": field}, {"answer": field}, {"problem": field}, {"threshold": 0.5}, {"file_format": tool})
    return document._replace(said=document.said._replace(**dice.pick(choices)))


def contained(document: Document, dice: Dice) -> Document:
    """Stored in another way."""
    return document._replace(container=dice.pick(("jsonl", "json", "csv", "parquet", "zip")))


# Changes of bytes


def truncated(content: bytes, dice: Dice) -> bytes:
    """The end is not there."""
    return content[: dice.below(len(content))]


def torn(content: bytes, dice: Dice) -> bytes:
    """A line lacks its end."""
    lines = content.split(b"\n")
    place = dice.below(len(lines))
    lines[place] = lines[place][: dice.below(len(lines[place]) + 1)]
    return b"\n".join(lines)


def spaced(content: bytes, dice: Dice) -> bytes:
    """A line more without anything in it, or with something."""
    lines = content.split(b"\n")
    new = dice.pick(
        (b"", b"", b"  ", b"\t\r", b"null", b"[]", b"{}", b"3", b"#", b",,", b"\x00", b"\xff", b"\xef\xbb\xbf")
    )
    lines.insert(dice.below(len(lines) + 1), new)
    return b"\n".join(lines)


def lined_twice(content: bytes, dice: Dice) -> bytes:
    """A line is there twice."""
    lines = content.split(b"\n")
    place = dice.below(len(lines))
    lines.insert(dice.below(len(lines) + 1), lines[place])
    return b"\n".join(lines)


def marked(content: bytes, dice: Dice) -> bytes:
    """A byte order mark first."""
    return dice.pick((b"\xef\xbb\xbf", b"\xef\xbb\xbf", b"\xff\xfe")) + content


def ended(content: bytes, dice: Dice) -> bytes:
    """Lines end in another way."""
    return content.replace(b"\n", dice.pick((b"\r\n", b"\r\n", b"\r", b"\n\n"))).removesuffix(dice.pick((b"", b"\n")))


def zipped(content: bytes, dice: Dice) -> bytes:
    """Compressed by gzip, in rare cases twice or not to the end."""
    found = compressed(content)
    return dice.pick((found, found, found, gzip.compress(found), found[:-9], found + found))


def encoded(content: bytes, dice: Dice) -> bytes:
    """In another encoding."""
    try:
        return content.decode().encode(dice.pick(("utf-16", "latin-1", "utf-8-sig")))
    except UnicodeError:
        return content


SCHEMA = (
    *(renamed, renamed, renamed, dropped, dropped, reordered, reordered, null, null, retyped, retyped, retyped),
    *(converted, converted, converted, resized, resized, swapped, added, added, repeated, repeated, removed),
    *(keyed_twice, misnamed, misnamed, contained),
)
BYTES = (truncated, torn, spaced, spaced, lined_twice, lined_twice, marked, ended, ended, zipped, zipped, encoded)


def variant(dice: Dice) -> Variant:
    """Valid files of one model with up to three changes; of those that cannot be stored another is drawn."""
    while True:
        document = dice.pick(TOOLS)(dice)
        changes = []
        for _ in range(dice.pick((0, 1, 1, 1, 1, 1, 2, 2, 3))):
            change = dice.pick(SCHEMA)
            if change is keyed_twice and document.container not in ("jsonl", "json", "zip"):
                continue
            document = change(document, dice)
            changes.append(change.__name__)
        try:
            contents = [written(tree, document.container, dice) for tree in parted(document.tree, dice)]
        except Unwritable:
            continue
        if len(contents) > 1:
            changes.append(parted.__name__)
        is_text = document.container in ("jsonl", "json", "csv")
        for edit in [dice.pick(BYTES) for _ in range(dice.pick((0, 0, 0, 0, 1, 1, 2)))]:
            place = dice.below(len(contents))
            if contents[place] and (is_text or edit is truncated):
                contents[place] = edit(contents[place], dice)
                changes.append(edit.__name__)
        return Variant(document.tool, document.container, tuple(changes), tuple(contents), document.said)


def parted(tree: Any, dice: Dice) -> list[Any]:
    """The rows in several files, of one model."""
    if not isinstance(tree, list) or len(tree) < 2 or dice.below(10):
        return [tree]
    num_files = dice.pick((2, 2, 3))
    parts: list[list[Any]] = [[] for _ in range(num_files)]
    for place, row in enumerate(tree):
        parts[place % num_files].append(row)
    return [part for part in parts if part]
