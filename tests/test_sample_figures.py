"""Labels and looks of models in the figures of `samples` and `audit`: one look a method, none taken for another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from sharpening.figures.drawing import samples as figures
from sharpening.figures.style import LOOKS
from sharpening.samples import comparison, tally

NAMES = st.lists(st.text("abg_-./ ", min_size=1, max_size=30), min_size=1, max_size=5, unique=True)


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["samples_base.csv", "samples_grpo.csv", "samples_ds.csv"], ["base", "grpo", "ds"]),
        (["runs/a/x.jsonl", "runs/b/x.jsonl"], ["a", "b"]),
        (["Qwen2.5-Math-1.5B.jsonl.gz", "Qwen2.5-Math-1.5B-GRPO.jsonl"], ["1.5B", "1.5B-GRPO"]),
        (["a.csv", "a.jsonl"], ["a.csv", "a.jsonl"]),
        (["x_a.csv", "x_a_a.csv"], ["a", "a_a"]),
        (["x_.csv", "x_b.csv"], ["x_", "x_b"]),
        (["out/samples_base.csv"], ["samples_base"]),
        (["a" * 40 + "b", "c" * 40 + "d"], ["a" * 8 + "..." + "a" * 12 + "b", "c" * 8 + "..." + "c" * 12 + "d"]),
        (["before", "plain_rl", "ds"], ["before", "plain_rl", "ds"]),
    ],
)
def test_labels_are_what_tells_names_apart(names: list[str], wanted: list[str]):
    assert list(figures.labels(names).values()) == wanted


@given(names=NAMES)
def test_labels_differ_as_names_do(names: list[str]):
    told = figures.labels(names)
    assert list(told) == names
    assert len(set(told.values())) == len(names)
    assert all(told.values())


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("samples_ds.csv", "ds"),
        ("runs/Qwen-DS-GRPO/seed0.jsonl", "ds"),
        ("dr_grpo", "dr_grpo"),
        ("f-grpo.step 100.parquet", "f_grpo"),
        ("w_reinforce", "w_reinforce"),
        ("plain_rl", "vanilla"),
        ("grpo_and_dapo", None),
        ("odds.csv", None),
        ("base", None),
    ],
)
def test_a_name_may_tell_a_method(name: str, method: str | None):
    assert figures.method_in(name) == method


def test_a_method_has_one_colour_wherever_it_stands():
    """DS as the second of two, as the third of three, alone after a base, and as the first."""
    for names in (["base", "ds"], ["base", "grpo", "ds"], ["x", "y", "z", "ds"], ["ds", "grpo"]):
        assert figures.looks_of(names)["ds"] == LOOKS["ds"]
    assert figures.looks_of(["base", "ds"])["base"] == figures.BEFORE
    assert figures.looks_of(["a", "b"], is_first_before=False)["a"] != figures.BEFORE


WORDS = st.lists(st.sampled_from(["base", "x", *LOOKS]), min_size=5, max_size=5)


@given(words=WORDS, number=st.integers(1, 5))
def test_no_two_models_of_a_figure_look_alike(words: list[str], number: int):
    """Also where several are of one method, or of methods that share a look; a nameless one has no method's colour."""
    names = [f"{word}.{place}" for place, word in enumerate(words[:number])]
    looks = figures.looks_of(names)
    assert len({look[1:] for look in looks.values()}) == number
    told = {name: figures.method_in(name) for name in names}
    colours = {looks[name].color for name, method in told.items() if method}
    assert not any(looks[name].color in colours for name, method in told.items() if not method)
    assert all(looks[name].color == LOOKS[method].color for name, method in told.items() if method)


@pytest.fixture
def figure() -> Figure:
    """A base and a model that crosses it."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.5, 0.8, 150)
    moved = np.clip(rates**4 / (rates**4 + (0.8 * (1 - rates)) ** 4) + 0.05, 0, 1) * (rates > 0.15)
    tables = [
        tally.tally([tally.Record(0, f"p{row}", 64, int(c)) for row, c in enumerate(rng.binomial(64, chances))], name)
        for name, chances in (("run_base.csv", rates), ("run_ds.csv", moved))
    ]
    rows = [row for table in tables for row in comparison.file_rows(table, rng=rng)]
    rows += comparison.pair_rows(*tables, rng=rng)
    assert "run_ds.csv" in figures.pass_at_k_caption(rows, ["ds sharpened."], "0123")
    return figures.draw_pass_at_k(rows)


def test_the_figure_explains_its_bar_and_names_models_shortly(figure: Figure):
    levels, changes = figure.axes
    assert [text.get_text() for text in levels.get_legend().get_texts()] == ["base", "ds"]
    assert [text.get_text() for text in changes.get_legend().get_texts()] == ["first k of loss, 95%"]
    assert changes.get_ylabel() == "change of pass@k from base"
    assert [text.get_text() for panel in figure.axes for text in panel.texts] == ["a", "b"]
    colours = {str(line.get_label()): line.get_color() for line in levels.get_lines()}
    assert colours == {"base": figures.BEFORE.color, "ds": LOOKS["ds"].color}
