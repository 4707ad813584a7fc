"""Text that fits: tables in parts, chosen k's, whole numbers, and the width of the terminal or a stable one."""

from __future__ import annotations

import os
import shutil
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.commands import terminal
from sharpening.figures.tables import text

CELLS = st.text("abc.[]", min_size=1, max_size=20)


@given(data=st.data(), num_columns=st.integers(2, 7), width=st.integers(50, 120))
def test_a_table_fits_and_loses_nothing(data: st.DataObject, num_columns: int, width: int):
    """Every line within the width; in every part the first column; all cells once, in their order."""
    rows = data.draw(st.lists(st.lists(CELLS, min_size=num_columns, max_size=num_columns), min_size=1, max_size=4))
    drawn = text.table(rows[0], rows[1:], width)
    assert max(map(len, drawn.splitlines())) <= width
    parts = [[line.split() for line in part.splitlines()] for part in drawn.split("\n\n")]
    assert all([line[0] for line in part] == [row[0] for row in rows] for part in parts)
    for place, row in enumerate(rows):
        assert [cell for part in parts for cell in part[place][1:]] == row[1:]


def test_a_table_that_fits_is_in_one_part():
    assert text.table(["", "a", "bb"], [["x", "1", "2"]], 10) == "     a  bb\n  x  1   2"
    assert text.table(["", "a", "bb"], [["x", "1", "2"]], 9) == "     a\n  x  1\n\n     bb\n  x   2"


@given(
    ks=st.sets(st.integers(1, 1000), min_size=1, max_size=12).map(sorted),
    needed=st.sets(st.integers(1, 1000), max_size=3),
    width=st.integers(40, 200),
)
def test_the_chosen_ks_fit_and_have_what_is_needed(ks: list[int], needed: set[int], width: int):
    """Both ends and the needed ones, whatever the room; beyond those no more than fit, and all where all fit."""
    chosen = text.spread(ks, ["name"], width, needed)
    kept = {ks[0], ks[-1], *needed}
    assert chosen == sorted(set(chosen))
    assert kept <= set(chosen) <= {*ks, *needed}
    header, row = ["", *map(str, chosen)], ["name", *[text.CELL] * len(chosen)]
    is_one_part = "\n\n" not in text.table(header, [row], width)
    assert is_one_part or len(chosen) <= max(2, len(kept))
    everything = ["name", *[text.CELL] * len(ks)]
    if needed <= set(ks) and "\n\n" not in text.table([""] * len(everything), [everything], width):
        assert chosen == ks


@pytest.mark.parametrize("width", range(30, 70))
def test_a_number_is_not_torn_from_its_interval(width: int):
    told = text.paragraph(
        "against base pass@64 fell (-.325 [-.391, -.255]) and pass@1 rose (+.087 [+.050, +.117])", width
    )
    assert "(-.325 [-.391, -.255])" in told
    assert "(+.087 [+.050, +.117])" in told
    assert max(map(len, told.splitlines())) <= width


def test_prose_is_no_wider_than_one_can_read():
    assert max(map(len, text.paragraph("word " * 100, 300).splitlines())) <= text.WIDEST_PROSE


@pytest.mark.parametrize(
    ("value", "sign", "wanted"),
    [
        (0.5, "", ".500"),
        (-0.0625, "+", "-.062"),
        (0.9996, "", "1.000"),
        (-0.9996, "+", "-1.000"),
        (10.04, "+", "+10.040"),
        (-20.5, "", "-20.500"),
        (float("nan"), "", "nan"),
    ],
)
def test_numbers_have_three_decimals(value: float, sign: str, wanted: str):
    assert text.number(value, sign) == wanted


@pytest.mark.parametrize(
    ("is_terminal", "columns", "wanted"), [(True, 80, 80), (True, 20, 60), (True, 250, 250), (False, 80, 100)]
)
def test_the_width_is_the_terminal_s_or_stable(is_terminal: bool, columns: int, wanted: int, monkeypatch: Any):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda: os.terminal_size((columns, 50)))
    assert terminal.printed_width() == wanted
