"""`check-shaper`: verdicts of a user's file equal those of the method it copies, and bad input is one line."""

from __future__ import annotations

import json

import pytest

import paper_repro

COPY = """
def mine(*, reward, log_prob, correct, strength=-0.1):
    return reward - reward.mean(axis=-1, keepdims=True) + correct * strength * log_prob
"""


def _verdicts(method: str, tmp_path) -> dict:
    target = tmp_path / "verdicts.json"
    assert paper_repro.main(["check-shaper", method, "--json", str(target), "--group-size", "4"]) == 0
    (found,) = json.loads(target.read_text()).values()
    return found


def test_a_renamed_copy_of_ds_gets_its_headline(tmp_path, capsys):
    """The verdict comes from behaviour: a file with ds's formula says what ds says, with the sign wrong it sharpens."""
    (tmp_path / "mine.py").write_text(COPY, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(COPY.replace("-0.1", "0.1"), encoding="utf-8")
    ours, copy = (_verdicts(name, tmp_path) for name in ("ds", f"{tmp_path / 'mine.py'}:mine"))
    assert ours["headline"] == copy["headline"] == "smooths in the end, ends uniform on C"
    assert _verdicts(f"{tmp_path / 'wrong.py'}:mine", tmp_path)["headline"].startswith("sharpens")
    assert "turning point" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clip"], "check-shaper cannot run clip: it is a token-level method"),
        (["ds", "--set", "gamma_correct"], "--set: 'gamma_correct': want NAME=VALUE"),
        (["ds", "--set", "gamma_correct=x"], "--set: 'gamma_correct=x': want a number"),
        (["ds", "--set", "gama=1"], "'gama' is not a parameter of ds"),
        (["all", "--set", "k=1"], "--set: 'k=1': want no parameters beside the method 'all'"),
        (["nope"], "'nope' is not a method"),
        (["missing.py:f"], "missing.py"),
        (["ds", "--group-size", "1"], "--group-size"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys):
    """Exit status 2 and one line that names what is wrong."""
    assert paper_repro.main(["check-shaper", *words]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
