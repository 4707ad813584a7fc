"""The table of refusals is that of the tree, and in samples and llm every refusal has a test that provokes it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests import refusals
from tests.refusals import Refusal

ANEW = "`python -m tests.refusals`, with the files of the tests that provoke what is new, writes the table anew"
COVERED = ("samples/", "llm/")
SAMPLE = '''
class Shelf:
    """raise nothing"""

    def check(self, size, color):
        if size > 5:
            raise ValueError(f"size is {size!r}: want 1 "
                             f"to {5}")
        if color:
            if size: raise ValueError("color: want none")
            else: raise ValueError("color: want none")
        def inner():
            try:
                int("x")
            except ValueError as error:
                raise error
        inner()

try:
    async def late():
        raise
finally:
    pass
'''
FOUND = [
    Refusal("x.py", "Shelf.check", "size is {}: want 1 to {}", 1),
    Refusal("x.py", "Shelf.check", "color: want none", 1),
    Refusal("x.py", "Shelf.check", "color: want none", 2),
    Refusal("x.py", "Shelf.check.inner", "raise error", 1),
    Refusal("x.py", "late", "raise", 1),
]
SAYS_WHAT_IS_ALLOWED = re.compile(r"\b(want|wants|must|needs|say|save it as|refused|only with)\b")
WRAPS = re.compile(r"raise\b.*|.*(: | base )\{\}|[{}: ]*")  # raised again, or the reason of a system or a library
CAUGHT = ("samples/lines.py _once_each", "llm/countdown/verifier.py ")  # what callers complete, and what makes a mark


def test_every_raise_of_a_text_is_found() -> None:
    assert list(refusals.in_text(SAMPLE, "x.py").values()) == FOUND


@pytest.mark.parametrize(("size", "color", "index"), [(7, "", 0), (1, "red", 1), (0, "red", 2), (1, "", 3)])
def test_the_raise_that_is_reached_is_noted(size: int, color: str, index: int) -> None:
    noted: list[tuple[str, ...]] = []
    made: dict[str, Callable[..., None]] = {refusals.NOTE: noted.append}
    exec(compile(refusals.with_notes(SAMPLE, "x.py"), "x.py", "exec"), made)  # our own text
    with pytest.raises(ValueError, match=r"size is 7: want 1 to 5|color|invalid literal"):
        made["Shelf"]().check(size, color)
    assert [Refusal(*one) for one in noted] == FOUND[index : index + 1]


def test_of_several_tests_the_one_with_the_message_is_named() -> None:
    this = "tests/test_refusals.py::test_"
    tests = {f"{this}every_raise_of_a_text_is_found", f"{this}the_raise_that_is_reached_is_noted", f"{this}gone"}
    message = Refusal("x.py", "f", "size is 7: want 1 to 5", 1)
    assert refusals.best(message, tests) == f"{this}the_raise_that_is_reached_is_noted"
    assert refusals.best(message, {f"{this}gone"}) == ""


def test_the_table_has_every_raise_and_no_other() -> None:
    assert list(refusals.read()) == refusals.of_the_tree(), ANEW


def test_every_test_of_the_table_is_there() -> None:
    gone = {test for test in refusals.read().values() if test and not refusals.exists(test)}
    assert gone == set(), ANEW


@pytest.mark.parametrize("room", COVERED)
def test_no_refusal_is_without_a_test(room: str) -> None:
    table = {one: test for one, test in refusals.read().items() if one.file.startswith(room)}
    assert len(table) > 100
    assert [one for one, test in table.items() if not test] == [], ANEW


@pytest.mark.parametrize("room", COVERED)
def test_every_message_says_what_is_allowed(room: str) -> None:
    without = [
        one
        for one in refusals.of_the_tree()
        if one.file.startswith(room)
        and not f"{one.file} {one.function}".startswith(CAUGHT)
        and not WRAPS.fullmatch(one.message)
        and not SAYS_WHAT_IS_ALLOWED.search(one.message)
    ]
    assert without == []
