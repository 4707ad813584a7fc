"""The figure of the benchmark shows the rows that it is given."""

from __future__ import annotations

import pytest

from sharpening.figures import render
from sharpening.figures.drawing import benchmarks as benchmark_figures

ROWS = [
    {"over": over, "num_arms": num_arms, "group_size": group_size, "who": who, "ms": ms * num_arms}
    for over, num_arms, group_size in (("arms", 100, 256), ("arms", 1_000, 256), ("group size", 10, 2))
    for who, ms in (("tied", 1.0), ("untied", 2.0), ("plain", 4.0))
]


def test_every_row_is_a_point():
    """Each panel has a line for each who, at its own column and milliseconds."""
    figure = benchmark_figures.draw_growth(ROWS)
    for panel, over, column in zip(figure.axes, ("arms", "group size"), ("num_arms", "group_size"), strict=True):
        assert len(panel.lines) == 3
        for who, line in zip(benchmark_figures.LOOKS, panel.lines, strict=True):
            chosen = [row for row in ROWS if (row["over"], row["who"]) == (over, who)]
            assert list(line.get_xdata()) == [row[column] for row in chosen]
            assert list(line.get_ydata()) == [row["ms"] for row in chosen]


@pytest.mark.slow
def test_it_renders_to_the_same_bytes():
    """PDF, PNG and caption, byte for byte on a second time."""
    first, again = (
        render.render("growth", lambda: benchmark_figures.draw_growth(ROWS), benchmark_figures.GROWTH_CAPTION)
        for _ in range(2)
    )
    assert first == again
    assert sorted(first) == ["growth.pdf", "growth.png", "growth.txt"]


def test_a_row_without_a_number_is_refused():
    """A missing column is an error and no empty line."""
    with pytest.raises(KeyError):
        benchmark_figures.draw_growth([{"over": "arms", "who": "plain", "num_arms": 1}])
