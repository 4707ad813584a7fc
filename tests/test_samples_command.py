"""`samples` as a stranger runs it: the reading in opposite cases, files, JSON, warnings, bad options."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.figures.tables import samples as sample_tables
from sharpening.samples import comparison
from sharpening.samples import tally as samples
from sharpening.storage import store

N = 64
RATES = np.random.default_rng(0).beta(0.5, 0.8, 150)
SHARP = RATES**4 / (RATES**4 + (0.8 * (1 - RATES)) ** 4)


def write(name: str, rates: np.ndarray, n: int = N, seed: int = 0) -> str:
    """A CSV of n samples at the given rates, in the working folder."""
    counts = np.random.default_rng(seed).binomial(n, rates)
    Path(name).write_text("problem,n,c\n" + "".join(f"p{row},{n},{c}\n" for row, c in enumerate(counts)))
    return name


def table_of(counts: np.ndarray, name: str) -> samples.Samples:
    return samples.tally([samples.Record(0, f"p{row}", N, int(c)) for row, c in enumerate(counts)], name)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read(*words: str, name: str = "x.json") -> dict:
    assert cli.main(["samples", *words, "--json", name]) == 0
    return json.loads(Path(name).read_text())


def reading(*words: str) -> str:
    (paragraph,) = read(*words)["reading"]
    return paragraph


def test_sharpening_and_its_opposite(capsys):
    """Better at 1 and worse at 64, with the crossing; in swapped order the opposite."""
    base, sharp = write("base.csv", RATES), write("sharp.csv", np.clip(SHARP + 0.05, 0, 1) * (RATES > 0.15), seed=1)
    forth, back = reading(base, sharp), reading(sharp, base)
    assert forth.startswith("sharp.csv is better than base.csv at k = 1 (+")
    assert "and worse at k = 64 (-" in forth
    assert "This is the pattern of sharpening" in forth
    assert "The estimated curves cross at k = " in forth
    assert back.startswith("base.csv is worse than sharp.csv at k = 1 (-")
    assert "and better at k = 64 (+" in back
    assert "This is the opposite of sharpening" in back
    assert capsys.readouterr().err == ""


def test_equal_rates_are_not_called_equal_and_seldom_different():
    """Samples at the same rates, twice: nothing resolved at either end in most of 20 pairs, and then no pattern named.

    Each of the two intervals misses 0 in 5% of pairs: 7 of 20 pairs or more would happen in 1 of 400 such tests.
    """
    tables = [table_of(np.random.default_rng(seed).binomial(N, RATES), f"t{seed}") for seed in range(40)]
    paragraphs = []
    for base, again in zip(tables[::2], tables[1::2], strict=True):
        rows = [row for table in (base, again) for row in comparison.file_rows(table, rng=np.random.default_rng(0))]
        rows += comparison.pair_rows(base, again, rng=np.random.default_rng(0))
        paragraphs += sample_tables.reading(rows)
    unresolved = [paragraph for paragraph in paragraphs if paragraph.startswith("No difference between ")]
    assert len(unresolved) >= 14
    for paragraph in unresolved:
        assert "That does not show that the two are equal" in paragraph
        assert "pattern" not in paragraph
        assert "cross" not in paragraph
    assert not any("This is the pattern of sharpening" in paragraph for paragraph in paragraphs)


def test_the_same_samples_twice_are_not_called_equal():
    paragraph = reading(write("a.csv", RATES), write("b.csv", RATES))
    assert "is resolved at k = 1 (+0.000 [-0." in paragraph
    assert "That does not show that the two are equal" in paragraph


def test_too_few_samples_show_nothing():
    """Six problems, four samples of each, of the very models that 150 problems tell apart: not resolved, and said."""
    sharp = np.clip(SHARP + 0.05, 0, 1) * (RATES > 0.15)
    found = read(write("base.csv", RATES[:6], 4), write("sharp.csv", sharp[:6], 4, seed=1))
    (paragraph,) = found["reading"]
    assert paragraph.startswith("No difference between sharp.csv and base.csv is resolved at k = 1 (")
    assert "These 6 problems could resolve a difference of about " in paragraph
    assert "pattern" not in paragraph
    assert "base.csv: 6 problems: with fewer than 30 the intervals are rough" in found["warnings"]


def test_one_sample_a_problem_says_nothing_of_collapse():
    better, worse = np.full(150, 0.9), np.full(150, 0.3)
    paragraph = reading(write("base.csv", worse, 1), write("new.csv", better, 1, seed=1))
    assert paragraph.startswith("new.csv is better than base.csv at k = 1 (+")
    assert "With n = 1 nothing is known of larger k: a collapse is neither shown nor excluded." in paragraph
    again = reading(write("base.csv", worse, 1), write("new.csv", worse, 1, seed=1))
    assert again.startswith("At k = 1 no difference between new.csv and base.csv is resolved (")


def test_better_everywhere_and_worse_everywhere():
    """A uniformly better model is not called collapsed, and a uniformly worse one not sharpened."""
    high, low = write("high.csv", 0.3 + 0.3 * RATES), write("low.csv", 0.02 * RATES, seed=1)
    forth, back = reading(low, high), reading(high, low)
    assert "is better than low.csv at k = 1" in forth
    assert "and also better at k = 64" in forth
    assert "show no collapse up to there" in forth
    assert "do not cross up to k = 64" in forth
    assert "and also worse at k = 64" in back
    assert "not the pattern of sharpening" in back


def row(quantity: str, k: int, value: float, half: float) -> dict:
    interval = {"value": value, "low": value - half, "high": value + half, "has_interval": True}
    return {"file": "new", "base": "old", "quantity": quantity, "k": k, **interval}


@pytest.mark.parametrize(
    ("differences", "wanted", "banned"),
    [
        ((0.1, 0.02, 0.0), ["better than old at k = 1", "a loss of up to 0.050 and a gain"], "pattern"),
        ((0.0, 0.02, -0.1), ["worse than old at k = 4", "so a gain there, the other half"], "This is the"),
        ((0.0, 0.02, 0.1), ["better than old at k = 4", "so a loss there, the other half"], "This is the"),
        ((0.0, -0.2, 0.0), ["No difference", "it is resolved to be worse for some k from 2 to 2"], "pattern"),
        ((0.1, -0.2, 0.1), ["and also better at k = 4", "resolved to be worse for some k from 2 to 2"], "no collapse"),
    ],
)  # fmt: skip
def test_the_words_for_unresolved_ends(differences: tuple[float, ...], wanted: list[str], banned: str):
    """Rows made by hand: ends of which one is not resolved, and differences in between that the ends do not show."""
    rows = [row("pass_at_k_difference", k, value, 0.05) for k, value in zip((1, 2, 4), differences, strict=True)]
    rows += [row("crossing_k", 0, 3.0, 1.0), row("crossing_share", 0, 0.5, 0), row("improvement", 0, 0.5, 0.1)]
    counts = ("common_problems", "kept", "lost", "gained", "lost_by_chance", "gained_by_chance")
    rows += [{**row(f"num_{name}", 0, 9, 0), "has_interval": False} for name in counts]
    rows.append(row("detection_threshold", 0, 0.5, 0))
    rows = [{**row("num_seeds", 0, 1, 0), "file": name, "base": ""} for name in ("old", "new")] + rows
    (paragraph,) = sample_tables.reading(rows)
    for text in wanted:
        assert text in paragraph
    assert banned not in paragraph


def test_one_file_is_described_and_not_judged():
    paragraph = reading(write("base.csv", RATES))
    assert "One file cannot show a collapse" in paragraph
    assert f"below {1 - 0.05 ** (1 / N):.2%}, not that it is 0" in paragraph


def test_the_run_verifies_repeats_and_holds_what_json_holds(capsys):
    """Rows, report and picture in the store; same bytes again; another seed, another run; JSON with the same rows."""
    words = [write("base.csv", RATES[:40], 8), write("new.csv", SHARP[:40], 8, seed=1)]
    found = read(*words)
    (run,) = store.list_runs("results")
    assert store.verify_run(run) == []
    assert found["schema_version"] == 1
    stored = store.read_rows(run / "rows.csv")
    assert [{key: None if value == np.inf else value for key, value in row.items()} for row in stored] == found["rows"]
    assert {path.name for path in run.iterdir()} >= {"pass_at_k.png", "pass_at_k.pdf", "pass_at_k.txt", "report.txt"}
    assert (run / "report.txt").read_text() in capsys.readouterr().out
    assert "95% bootstrap intervals" in (run / "pass_at_k.txt").read_text()
    assert read(*words, "--out", "again")["rows"] == found["rows"]
    (again,) = store.list_runs("again")
    assert again.name == run.name
    for name in ("rows.csv", "pass_at_k.png", "report.txt"):
        assert (again / name).read_bytes() == (run / name).read_bytes()
    assert read(*words, "--seed", "1")["rows"] != found["rows"]
    assert len(store.list_runs("results")) == 2


def test_answers_reach_the_tables(capsys):
    lines = [
        json.dumps({"problem": problem, "correct": sample % 3 > 0, "answer": f"{sample % 3}"}) + "\n"
        for problem in range(40)
        for sample in range(8)
    ]
    for name in ("a.jsonl", "b.jsonl"):
        Path(name).write_text("".join(lines))
    found = read("a.jsonl", "b.jsonl")
    quantities = {row["quantity"] for row in found["rows"]}
    assert {"maj_at_k", "maj_at_k_difference", "hill_number_0", "hill_number_2_difference"} <= quantities
    out = capsys.readouterr().out
    assert "maj@8" in out
    assert "distinct correct answers" in out


def test_files_of_one_name_are_told_apart():
    Path("one").mkdir()
    Path("two").mkdir()
    found = read(write("one/s.csv", RATES[:30], 4), write("two/s.csv", RATES[:30], 4, seed=1))
    assert {row["file"] for row in found["rows"]} == {"one/s.csv", "two/s.csv"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a.csv", "a.csv"], "FILES: 'a.csv': given twice: want distinct files"),
        (["a.csv", "b.csv", "c", "d", "e", "f"], "FILES: 6 files: want at most 5"),
        (["missing.csv"], "missing.csv: cannot be read: No such file or directory"),
        (["sub"], "sub: no file in this folder holds samples: want files of samples directly in it"),
        (["a.csv+missing.csv"], "missing.csv: cannot be read: No such file or directory"),
        (["a.csv+a.csv"], "FILES: 'a.csv+a.csv': 'a.csv' is there twice: want distinct files, joined by +"),
        (["a.csv+"], "FILES: 'a.csv+': a name is empty: want distinct files, joined by +"),
        (["a.csv+b.csv", "b.csv"], "FILES: 'b.csv': given twice: want distinct files"),
        (["sub/../other.csv", "--metric", "x"], "sub/../other.csv line 2: field 'x' is missing: want it in every line"),
        (["a.csv", "--k", "1", "9"], "--k: 9: want 1 to 8, the fewest samples that a.csv has of a problem"),
        (["a.csv", "b.csv", "--k", "5"], "--k: 5: want 1 to 4, the fewest samples that b.csv has of a problem"),
        (["a.csv", "--k", "0"], "--k: 0: want 1 to 8"),
        (["a.csv", "--k", "2", "2"], "--k: 2: given twice"),
        (["a.csv", "--format", "xml"], "--format: 'xml': Input should be 'own', 'human_eval', 'lm_eval', 'trl'"),
        (["a.csv", "--format", "verl"], "a.csv line 2: field 'score' is missing"),
        (["a.csv", "--json", "a.csv"], "--json: 'a.csv': this is the input"),
        (["a.csv", "--json", "none/x"], "--json: 'none/x': 'none' is not a folder"),
        (["a.csv", "--out", "b.csv"], "--out: 'b.csv': "),
        (["a.csv", "--threshold", "nan"], "--threshold: 'nan': Input should be a finite number"),
        (["a.csv", "--seed", "-1"], "--seed: '-1': Input should be greater than or equal to 0"),
        (["a.csv", "other.csv"], "other.csv: no problem in common with a.csv"),
        (["empty.csv"], "empty.csv: the file is empty"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys):
    """Exit status 2, one line, nothing written."""
    write("a.csv", RATES[:30], 8)
    write("b.csv", RATES[:30], 4)
    Path("sub").mkdir()
    Path("other.csv").write_text("problem,n,c\nq0,4,1\nq1,4,2\n")
    Path("empty.csv").write_text("")
    assert cli.main(["samples", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"sharpening: {message}")
    assert error.count("\n") == 1
    assert not Path("results").exists()
