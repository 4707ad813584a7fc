"""`samples` as a stranger runs it: the reading in opposite cases, files, JSON, warnings, bad options."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from sharpening import cli
from sharpening.figures.tables import samples as sample_tables
from sharpening.samples import comparison, verdict
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


def sentence(*words: str) -> str:
    """The one verdict, in words."""
    return read(*words)["reading"][0]


@pytest.mark.slow
def test_sharpening_and_its_opposite(capsys):
    """Better at 1 and worse at 64, with the crossing; in swapped order the opposite. The verdict is printed first."""
    base, sharp = write("base.csv", RATES), write("sharp.csv", np.clip(SHARP + 0.05, 0, 1) * (RATES > 0.15), seed=1)
    forth = sentence(base, sharp)
    out = capsys.readouterr().out
    assert out.startswith("VERDICT\n  sharp sharpened: against base pass@1 rose (+.")
    assert re.search(r"\n  sharp +1( to \d+)? +\d+ to 64 +\d+ \[\d+, \d+\] +\.\d{3} \[", out)
    back = sentence(sharp, base)
    assert forth.startswith("sharp sharpened: against base pass@1 rose (+")
    assert " and pass@64 fell (-" in forth
    assert back.startswith("base smoothed, the opposite of sharpening: against sharp pass@1 fell (-")
    assert " and pass@64 rose (+" in back
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_a_third_model_that_sharpened_less_is_told_with_its_price():
    """The pair of trained models is that of `samples OTHER FILE`; the stored rows have no more for it."""
    lost = np.clip(SHARP + 0.05, 0, 1) * (RATES > 0.15)
    words = write("base.csv", RATES), write("much.csv", lost, seed=1), write("less.csv", (lost + RATES) / 2, seed=2)
    found = read(*words)
    much, less = found["verdicts"]
    assert (much["outcome"], much["mitigates"]) == ("sharpened", [])
    (mitigation,) = less["mitigates"]
    assert (mitigation["other"], mitigation["large"]["k"], mitigation["has_price"]) == ("much.csv", 64, True)
    pair = read("much.csv", "less.csv")["rows"]
    (last,) = (row for row in pair if row["quantity"] == "pass_at_k_difference" and row["k"] == 64)
    assert [last[key] for key in ("k", "value", "band_low", "band_high")] == list(mitigation["large"].values())
    wanted = " It sharpened less than much at a price: against much pass@1 is lower (-"
    assert wanted in found["reading"][1]
    assert " and pass@64 is higher (+" in found["reading"][1]
    assert {row["base"] for row in found["rows"]} == {"", "base.csv"}


@pytest.mark.slow
def test_equal_rates_are_not_called_equal_and_seldom_different():
    """Samples at the same rates, twice: most of 20 pairs are resolved at no k, and then no outcome is named.

    The band misses 0 at some k in 5% of pairs: of 20, 5 or more would be resolved in 1 of 400 such tests.
    """
    tables = [table_of(np.random.default_rng(seed).binomial(N, RATES), f"t{seed}") for seed in range(40)]
    sentences = []
    for base, again in zip(tables[::2], tables[1::2], strict=True):
        rows = [row for table in (base, again) for row in comparison.file_rows(table, rng=np.random.default_rng(0))]
        rows += comparison.pair_rows(base, again, rng=np.random.default_rng(0))
        sentences += sample_tables.verdict_sentences(rows, judged(rows))
    unresolved = [sentence for sentence in sentences if "no change of pass@1 is resolved" in sentence]
    unresolved = [sentence for sentence in unresolved if "no change of pass@64 is resolved" in sentence]
    assert len(unresolved) >= 16
    for sentence in unresolved:
        assert sentence.startswith("Whether t")
        assert sentence.endswith("That does not show that the two are equal.")
    assert not any("rose" in sentence and "fell" in sentence for sentence in sentences)


def judged(rows: list[dict]) -> list[dict]:
    """The verdicts on rows of a base and one other file."""
    base = rows[0]["file"]
    found = verdict.verdicts(rows, verdict.PASS_AT_K, verdict.OF_SAMPLES, base=base, between=lambda *_: ())
    return [asdict(one) for one in found]


def test_the_same_samples_twice_are_not_called_equal():
    told = sentence(write("a.csv", RATES), write("b.csv", RATES))
    assert told.startswith("Whether b sharpened is not resolved: against a no change of pass@1 is resolved (+.000 [-.0")
    assert "That does not show that the two are equal" in told


def test_too_few_samples_show_nothing():
    """Six problems, four samples of each, of the very models that 150 problems tell apart: not resolved, and said."""
    sharp = np.clip(SHARP + 0.05, 0, 1) * (RATES > 0.15)
    found = read(write("base.csv", RATES[:6], 4), write("sharp.csv", sharp[:6], 4, seed=1))
    told, reach, limits = found["reading"]
    assert told.startswith("Whether sharp sharpened is not resolved: against base no change of pass@1 is resolved (")
    assert reach.startswith("sharp: 6 problems with 4 samples of each resolve a change of about .")
    assert " at k = 2 four times in five; one of the size seen there, ." in reach
    assert limits.startswith("Anything above k = 4; what another training run would do")
    assert "base.csv: 6 problems: with fewer than 30 the intervals are rough" in found["warnings"]


@pytest.mark.slow
def test_one_sample_a_problem_says_nothing_of_collapse():
    better, worse = np.full(150, 0.9), np.full(150, 0.3)
    told = sentence(write("base.csv", worse, 1), write("new.csv", better, 1, seed=1))
    assert told.startswith("Whether new sharpened is not resolved: against base pass@1 rose (+")
    assert told.endswith(", and of other k nothing is known.")
    told = sentence("new.csv", "base.csv")
    assert told.startswith("base is worse: against new pass@1 fell (-")
    assert told.endswith("; of other k nothing is known.")
    again = sentence("base.csv", write("new.csv", worse, 1, seed=1))
    assert again.startswith("Whether new sharpened is not resolved: against base no change of pass@1 is resolved (")


@pytest.mark.slow
def test_better_everywhere_and_worse_everywhere():
    """A uniformly better model is not called sharpened, nor a uniformly worse one."""
    high, low = write("high.csv", 0.3 + 0.3 * RATES), write("low.csv", 0.02 * RATES, seed=1)
    forth, back = sentence(low, high), sentence(high, low)
    assert forth.startswith("high improved: against low pass@1 rose (+")
    assert " and pass@64 rose (+" in forth
    assert back.startswith("low is worse: against high pass@1 fell (-")
    assert back.endswith("; a weaker model, and no sharpening.")


def row(quantity: str, k: int, value: float, half: float) -> dict:
    interval = {"value": value, "low": value - half, "high": value + half, "has_interval": True}
    return {"file": "new", "base": "old", "quantity": quantity, "k": k, **interval}


@pytest.mark.parametrize(
    ("differences", "wanted"),
    [
        (
            (0.1, 0.02, 0.0),
            "Whether new sharpened is not resolved: against old pass@1 rose (+.100 [+.050, +.150]), but at k = 4 a "
            "loss of up to .050 fits too (+.000 [-.050, +.050]), so sharpening is neither shown nor excluded.",
        ),
        (
            (0.0, 0.02, 0.1),
            "Whether new sharpened is not resolved: against old pass@4 rose (+.100 [+.050, +.150]), but at k = 1 a "
            "loss of up to .050 fits too (+.000 [-.050, +.050]), so the opposite of sharpening is neither shown nor "
            "excluded.",
        ),
        (
            (0.2, 0.02, 0.0),
            "new improved: against old pass@1 rose (+.200 [+.150, +.250]) and no change of pass@4 is resolved (+.000 "
            "[-.050, +.050]), and a loss as large as the gain is excluded.",
        ),
        (
            (0.02, 0.0, -0.07),
            "new is worse: against old pass@4 fell (-.070 [-.120, -.020]) and no change of pass@1 is resolved (+.020 "
            "[-.030, +.070]); by sharpening or as a weaker model.",
        ),
        (
            (0.0, 0.02, -0.2),
            "new sharpened: against old pass@4 fell (-.200 [-.250, -.150]) and no change of pass@1 is resolved (+.000 "
            "[-.050, +.050]).",
        ),
    ],
)
def test_the_words_for_unresolved_ends(differences: tuple[float, ...], wanted: str):
    """Rows made by hand, of which one end is not resolved."""
    rows = [row("pass_at_k_difference", k, value, 0.05) for k, value in zip((1, 2, 4), differences, strict=True)]
    rows = [{**row("num_seeds", 0, 1, 0), "file": name, "base": ""} for name in ("old", "new")] + rows
    assert sample_tables.verdict_sentences(rows, judged(rows)) == [wanted]


def test_one_file_is_described_and_not_judged():
    told, seldom = read(write("base.csv", RATES))["reading"]
    assert told.startswith("base has pass@1 .")
    assert "One file cannot show whether training sharpened" in told
    assert f"below {1 - 0.05 ** (1 / N):.2%}, not that it is 0" in seldom


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_report_is_as_wide_as_it_is_asked_to_be(width: int):
    """No line is longer, with five files and answers; every k is there where it is wanted, and in one part of 160."""
    rng = np.random.default_rng(0)
    records = [samples.Record(0, f"p{row}", 1, 1, sample=f"{s}", answer="7") for row in range(30) for s in range(16)]
    tables = [samples.tally(records, f"runs/long_name_of_a_model_{place}.jsonl") for place in range(5)]
    rows = [row for table in tables for row in comparison.file_rows(table, rng=rng)]
    rows += [row for table in tables[1:] for row in comparison.pair_rows(tables[0], table, rng=rng)]
    warnings = comparison.warnings_about(tables)
    ks = [1, 2, 3, 5, 8, 16]
    for is_every_k_shown in (False, True):
        text = sample_tables.report(rows, ks, warnings, judged(rows), width=width, is_every_k_shown=is_every_k_shown)
        assert max(map(len, text.splitlines())) <= width
        shown = set(map(int, re.findall(r"pass@(\d+)", text)))
        assert shown >= ({*ks} if is_every_k_shown or width == 160 else {1, 16})
        assert "maj@16" in text
        assert "inverse Simpson" in text


@pytest.mark.slow
def test_the_run_verifies_repeats_and_holds_what_json_holds(capsys):
    """Rows, report and picture in the store; same bytes again; another seed, another run; JSON with the same rows."""
    words = [write("base.csv", RATES[:40], 8), write("new.csv", SHARP[:40], 8, seed=1)]
    found = read(*words)
    (run,) = store.list_runs("results")
    assert store.verify_run(run) == []
    assert found["schema_version"] == 1
    stored = store.read_rows(run / "rows.csv")
    finite = [
        {key: value if isinstance(value, str) or np.isfinite(value) else None for key, value in row.items()}
        for row in stored
    ]
    assert finite == found["rows"]
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


def test_without_a_figure_the_run_is_the_same(capsys):
    """The same name and rows, no picture, no line that names one; JSON has null for the end of a loss not shown."""
    words = [write("base.csv", RATES[:40], 4), write("new.csv", RATES[:40], 4, seed=1)]
    found = read(*words, "--no-figure", "--out", "without")
    assert "figure" not in capsys.readouterr().out
    (run,) = store.list_runs("without")
    assert {path.suffix for path in run.iterdir()} == {".csv", ".json", ".txt"}
    assert found["verdicts"][0]["first_loss"] == [1, None]
    assert read(*words)["rows"] == found["rows"]
    (with_figure,) = store.list_runs("results")
    assert (with_figure.name, (with_figure / "pass_at_k.png").exists()) == (run.name, True)


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
    assert re.search(r"\n +distinct +exp of entropy +inverse Simpson\n  a +2\.000 \[2\.000, 2\.000\]", out)


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
        (["a.csv", "sub/../a.csv"], "FILES: 'sub/../a.csv': given twice, also as 'a.csv': want distinct files"),
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
