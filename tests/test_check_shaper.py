"""`check-shaper`: verdicts of a user's file equal those of the method it copies, and bad input is one line."""

from __future__ import annotations

import functools
import importlib.util
import json
import re

import pytest

from sharpening import cli
from sharpening.commands import check_shaper
from sharpening.figures.tables import shapers
from sharpening.theory.diagnosis import diagnose
from sharpening.theory.diagnosis.diagnose import Diagnosis
from sharpening.theory.methods import table

COPY = """
def mine(*, reward, log_prob, correct, strength=-0.1):
    return reward - reward.mean(axis=-1, keepdims=True) + correct * strength * log_prob
"""


def _verdicts(method: str, tmp_path) -> dict:
    target = tmp_path / "verdicts.json"
    assert cli.main(["check-shaper", method, "--json", str(target), "--group-size", "4"]) == 0
    (found,) = json.loads(target.read_text()).values()
    return found


@pytest.mark.slow
def test_a_renamed_copy_of_ds_gets_its_headline(tmp_path, capsys):
    """The verdict comes from behaviour: a file with ds's formula says what ds says, with the sign wrong it sharpens."""
    (tmp_path / "mine.py").write_text(COPY, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(COPY.replace("-0.1", "0.1"), encoding="utf-8")
    ours, copy = (_verdicts(name, tmp_path) for name in ("ds", f"{tmp_path / 'mine.py'}:mine"))
    assert ours["headline"] == copy["headline"] == "smooths in the end, ends uniform on C"
    assert _verdicts(f"{tmp_path / 'wrong.py'}:mine", tmp_path)["headline"].startswith("sharpens")
    assert "  turns " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip"], "check-shaper cannot run clip: it is a token-level method"),
        (["ds", "--set", "gamma_correct"], "--set: 'gamma_correct': want NAME=VALUE"),
        (["ds", "--set", "gamma_correct=x"], "--set: 'gamma_correct=x': want a number"),
        (["ds", "--set", "gama=1"], "'gama' is not a parameter of ds"),
        (["all", "--set", "k=1"], "--set: 'k=1': want exactly one method beside it"),
        (["ds", "rloo", "--set", "k=1"], "--set: 'k=1': want exactly one method beside it"),
        (["ds", "rloo", "ds"], "METHOD: 'ds': given twice: want distinct methods"),
        (["ds", "all"], "METHOD: 'ds': want no method beside all of them"),
        (["ds", "--set", "gamma_correct=1e300"], "gamma_correct is 1e+300: it must be from -1e+06 to 1e+06"),
        (["nope"], "'nope' is not a method"),
        (["missing.py:f"], "missing.py"),
        (["ds", "--group-size", "1"], "--group-size"),
        ([], "METHOD: missing: want method ids, presets of ds, FILE.py:FUNCTION, or --all"),
        ([""], "METHOD: '': String should have at least 1 character"),
        (["ds", "--all"], "METHOD: 'ds': want no method beside all of them"),
        (
            ["rloo", "--figure", "x.gif"],
            "--figure: 'x.gif': want one method and a name that ends in .png, .pdf or .svg",
        ),
        (["--all", "--figure", "x.png"], "--figure: 'x.png': want one method"),
        (["rloo", "--figure", "missing/x.png"], "--figure: 'missing/x.png': 'missing' is not a folder"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys):
    """Exit status 2 and one line that names what is wrong."""
    assert cli.main(["check-shaper", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error


@functools.cache
def _in_groups_of_three(name: str) -> Diagnosis:
    return check_shaper.diagnosed(name, check_shaper.CheckShaperOptions(method=(name,), group_size=3))


@pytest.fixture
def quick(monkeypatch):
    """Each method is diagnosed once for the tests that look at what is made of the verdicts."""
    once = {name: _in_groups_of_three(name) for name in ("rloo", "ds")}
    monkeypatch.setattr(check_shaper, "diagnosed", lambda name, _: once[name])


@pytest.mark.slow
@pytest.mark.parametrize("words", [["all"], ["--all"], ["rloo", "ds"]])
@pytest.mark.usefixtures("quick")
def test_of_several_methods_a_table_comes_first_in_plain_words(words: list[str], tmp_path, monkeypatch, capsys):
    """A line a method, in the words of the Markdown file and within the width; token-level methods are left out."""
    few = {name: table.METHODS[name] for name in ("rloo", "ds", "clip")}
    monkeypatch.setattr(table, "METHODS", few)
    monkeypatch.setattr(check_shaper, "printed_width", lambda: 200)
    target = tmp_path / "verdicts.md"
    assert cli.main(["check-shaper", *words, "--jobs", "1", "--markdown", str(target)]) == 0
    head, rloo, ds, *rest = capsys.readouterr().out.splitlines()
    lines = target.read_text().splitlines()
    assert len(lines) == 4
    for shown, line in zip((head, rloo, ds), (lines[0], *lines[2:]), strict=True):
        cells = [cell.strip("`") for cell in line.strip("| ").split(" | ")]
        assert shown.split("  ")[1] == cells[0]
        assert [cell for cell in cells if cell not in shown] == []
    assert "the likeliest correct answer" in rloo
    assert "all correct answers alike" in ds
    assert rest.index("WHAT TO DO") > 5
    assert rest[-2:] == [rest[-2], f"markdown: {target}"]
    assert rest[-2].startswith("2 methods in ")
    assert not any(words in line for line in rest for words in ("uniform on C", "class of B4"))


@pytest.mark.parametrize("width", [60, 80, 130])
@pytest.mark.parametrize("details", [[], ["--details"]])
@pytest.mark.usefixtures("quick")
def test_no_line_is_wider_than_the_terminal(width: int, details: list[str], monkeypatch, capsys):
    """Of one method and of several, in words and in numbers."""
    monkeypatch.setattr(check_shaper, "printed_width", lambda: width)
    for names in (["ds"], ["rloo", "ds"]):
        assert cli.main(["check-shaper", *names, "--jobs", "1", *details]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= width
        assert ("DETAILS" in lines) == bool(details)


def test_what_is_said_of_ds_are_its_numbers():
    """The turning point and the strength of the centred term, from the diagnosis; no digits of round-off."""
    found = _in_groups_of_three("ds")
    data = diagnose.as_data(found)
    told = " ".join(shapers.report("ds", data, [0.3, 0.1, 0.4, 0.2], 100, is_long=True).split())
    (turn,) = found["turning point"].numbers["onsets"][0]["turns"]
    assert f"sharpens below Q = {turn:.3g}, smooths above" in told
    strength = 0.1 * found["centring"].numbers["turning_scale"]
    assert f"at the start it smooths from gamma_correct = {strength:.3g} on" in told
    assert "at first the likelier gains, in the end the rarer catches up; training ends with all correct" in told
    assert not re.search(r"[1-9]\.?\d{4}\.?\d|\.0*[1-9]\d{4}|e-(1[3-9]|[2-9]\d)", told)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("on one mode, the correct answer likeliest at the start", "the likeliest correct answer"),
        ("on one mode, a correct answer", "one answer, a correct answer"),
        ("on the rarest correct answer of the base policy", "the rarest correct answer"),
        ("sharpens, smooths above Q = 0.91981", "smooths above 0.92"),
        ("smooths, sharpens above Q = 0.00006", "sharpens above 6e-05"),
        ("keeps its end under any rate of false positives, any rate of false negatives", "any noise"),
        ("keeps its end under no false positives, any rate of false negatives", "no FP, any FN"),
        ("keeps its end under up to 58.3% false positives, no false negatives", "up to 58.3% FP, no FN"),
        ("undecided", "undecided"),
        ("smooths at all 801 Q probed", "never"),
    ],
)
def test_verdicts_are_shortened(verdict: str, words: str):
    """For the table alone; a verdict that no rule knows stays as it is."""
    assert shapers.shortened_verdict(verdict) == words


@pytest.mark.parametrize(("kind", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
@pytest.mark.usefixtures("quick")
def test_the_prompt_weight_is_drawn_for_a_method_of_the_class(kind: str, start: bytes, tmp_path, capsys):
    """A picture, the same bytes twice; for a method outside the class the reason and no file."""
    target = tmp_path / f"weight.{kind}"
    pictures = []
    for _ in range(2):
        assert cli.main(["check-shaper", "rloo", "--figure", str(target)]) == 0
        assert capsys.readouterr().out.endswith(f"figure: {target}\n")
        pictures.append(target.read_bytes())
    assert pictures[0] == pictures[1]
    assert pictures[0].startswith(start)
    target.unlink()
    assert cli.main(["check-shaper", "ds", "--figure", str(target)]) == 0
    assert "figure: none, ds is outside the class of B4" in capsys.readouterr().out
    assert not target.exists()


PARTIAL = """
def plain(*, reward):
    return reward - reward.mean(-1, keepdims=True)

def numpy_only(*, reward):
    return reward - reward.mean(axis=-1, keepdims=True) * (1 if type(reward).__name__ == "ndarray" else 2)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "verdict"), [("plain", "no counterexample"), ("numpy_only", "fails")])
def test_torch_is_compared_where_it_is_installed(name: str, verdict: str, tmp_path):
    """The same formula passes; one that doubles the baseline of anything but NumPy arrays is caught."""
    pytest.importorskip("torch")
    (tmp_path / "mine.py").write_text(PARTIAL, encoding="utf-8")
    found = {row["property"]: row for row in _verdicts(f"{tmp_path / 'mine.py'}:{name}", tmp_path)["verdicts"]}
    assert found["same numbers in NumPy and torch"]["verdict"].startswith(verdict)


def test_without_torch_the_comparison_is_not_applicable(tmp_path, monkeypatch):
    """The verdict says so, and nothing is imported."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    assert check_shaper.as_tensor() is None
    found = {row["property"]: row for row in _verdicts("rloo", tmp_path)["verdicts"]}
    assert found["same numbers in NumPy and torch"]["verdict"] == "not applicable"
    assert found["same numbers in NumPy and torch"]["detail"] == "torch is not installed"


BUGS = """
import numpy as np

def typo(reward):
    baseline = reward.mean(-1, keepdims=True)
    return reward - basline

def wants_sixteen(reward):
    if reward.shape[-1] < 16:
        raise ValueError("give me 16")
    return reward - reward.mean(-1)[..., None]

def flat(reward):
    return reward.mean(-1)

def one_group(reward):
    return reward - reward.mean()

def numpy_alone(reward):
    return reward - reward.mean(-1, keepdims=True).astype(float)
"""


@pytest.fixture
def bugs(tmp_path) -> str:
    (tmp_path / "bugs.py").write_text(BUGS, encoding="utf-8")
    return str(tmp_path / "bugs.py")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("typo", "it raises NameError in line 6 of its file: name 'basline' is not defined: a fault of the function"),
        ("wants_sixteen", "it refuses groups of 1 to 8 samples: ValueError in line 10 of its file: give me 16: want a"),
        (
            "flat",
            "it refuses groups of 1 to 8 samples: its result has the shape (186,) for inputs of shape",
        ),
    ],
)
def test_a_bug_of_the_function_is_not_blamed_on_the_group_size(name: str, words: str, bugs: str, capsys):
    """The exception, the line of the file, and a size only where the function itself refuses one."""
    assert cli.main(["check-shaper", f"{bugs}:{name}"]) == 2
    assert capsys.readouterr().err.startswith(f"sharpening: {bugs}:{name}: {words}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("one_group", "take means over the last axis"),
        ("numpy_alone", "llm and a TRL script hand it torch tensors"),
    ],
)
def test_what_is_wrong_with_a_function_is_said_with_what_to_do(name: str, advice: str, bugs: str, capsys):
    """A fault is in the report, with what to do about it; where there is no flow nothing is said of the end."""
    if name == "numpy_alone":
        pytest.importorskip("torch")
    assert cli.main(["check-shaper", f"{bugs}:{name}", "--group-size", "3"]) == 0
    out = capsys.readouterr().out
    assert "  FAILS " in out
    assert advice in " ".join(out.split())
    assert ("noisy verifier" in out) == (name == "numpy_alone")
    assert ("no expected step before it is mended" in " ".join(out.split())) == (name != "numpy_alone")
