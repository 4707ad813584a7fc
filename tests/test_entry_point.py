"""Both commands as a stranger runs them: good input, bad input, full disks, closed pipes, interrupts.

Bad input is tried in-process, which is fast; `test_in_process_and_subprocess_agree` shows that this stands for both.
"""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sharpening import cli
from sharpening.figures.tables import theory as tables
from sharpening.storage import store
from sharpening.theory import claims
from tests.tolerances import FLOAT64

pytestmark = pytest.mark.slow  # a process for every command


ROOT = Path(__file__).resolve().parent.parent
FULL = Path("/dev/full")
JSON_KEYS = ["id", "statement", "source", "kind", "status", "instances", "worst_margin", "tolerance", "seconds"]
GOOD = "answer,count,correct\nlikely,6,1\nwrong,8,0\nrare,1,1\nother,1,0\n"
WEIGHED = "answer,probability,correct\nlikely,0.375,1\nwrong,0.5,0\nrare,0.0625,1\nother,0.0625,0\n"
PARTS_OF_A2 = [claim.id for claim in claims.select(("A2",))]
needs_full = pytest.mark.skipif(not FULL.exists(), reason="this platform has no /dev/full")


class Done(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Done]


def execute(*words: str, folder: Path, **variables: str) -> Done:
    """Run the entry point in a folder, with nothing of this session's settings."""
    session = ("PYTHON", "HYPOTHESIS", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(session)}
    command = [sys.executable, str(ROOT / "paper_repro.py"), *words]
    done = subprocess.run(
        command, cwd=folder, env=environment | variables, capture_output=True, text=True, timeout=120, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its bytes, hidden and temporary ones too; None for a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture(autouse=True)
def _devices_stay_devices() -> Iterator[None]:
    """Written to as root, a careless rename would replace a device by a file, for the whole machine."""
    assert not FULL.exists() or stat.S_ISCHR(FULL.stat().st_mode)
    yield
    assert not FULL.exists() or stat.S_ISCHR(FULL.stat().st_mode)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with good tables, a folder and a regular file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.csv").write_text(GOOD)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The entry point in-process."""

    def in_process(*words: str) -> Done:
        try:
            status = cli.main(words)
        except SystemExit as error:
            status = int(str(error.code))
        return Done(status, *capsys.readouterr())

    return in_process


@pytest.fixture
def refused(here: Path, run: Run) -> Callable[..., str]:
    """Runs bad input: exit status 2, one line on stderr, every file as before. Returns the line."""

    def refuse(*words: str) -> str:
        before = contents(here)
        done = run(*words)
        assert done.status == 2
        assert re.fullmatch(r"sharpening( \w+)?: .+\n", done.err)
        assert contents(here) == before
        return done.err.partition(": ")[2].rstrip("\n")

    return refuse


# Good input.


class Predicted(NamedTuple):
    done: Done
    run: Path
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def predicted(tmp_path_factory: pytest.TempPathFactory) -> Predicted:
    """`predict` in another folder, by an absolute path, with the default store."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "good.csv").write_text(GOOD)
    done = execute("predict", "good.csv", "--details", "--json", "good.json", folder=folder)
    (found,) = store.list_runs(folder / "results")
    assert {path.name for path in folder.iterdir()} == {"good.csv", "good.json", "results"}
    return Predicted(done, found, store.read_rows(found / "rows.csv"))


def test_predict_prints_its_report_and_says_where_rows_and_figure_are(predicted: Predicted) -> None:
    assert (predicted.done.status, predicted.done.err) == (0, "")
    assert predicted.done.out.endswith("\njson:   good.json\n")
    for name in ("rows.csv", "prediction.png"):
        assert f"results/theory/{predicted.run.name}/{name}" in predicted.done.out
    report = (predicted.run / "report.txt").read_text()  # longer than what is printed, and of another width
    assert predicted.done.out.split()[:20] == report.split()[:20]
    for heading in ("BASE POLICY", "SHARPENING PATH", "OPTIMUM", "DOMINANCE", "GLOBAL ENTROPY TERM", "SELECTION BIAS"):
        assert heading in report
    assert "'likely'" in predicted.done.out
    assert predicted.done.out.startswith("On this prompt alone plain RL ends on 'likely': of ")


def test_predict_stores_a_run_that_verifies(predicted: Predicted) -> None:
    assert store.verify_run(predicted.run) == []
    assert not list(predicted.run.parent.glob(".tmp-*"))
    assert (predicted.run / "prediction.png").read_bytes().startswith(b"\x89PNG")
    assert (predicted.run / "prediction.pdf").read_bytes().startswith(b"%PDF")
    assert predicted.run.name in (predicted.run / "prediction.txt").read_text()


def test_predict_writes_what_it_stores_as_json(predicted: Predicted) -> None:
    written = json.loads((predicted.run.parents[2] / "good.json").read_text())
    assert list(written) == ["config", "rows"]
    assert written["config"] == json.loads((predicted.run / "config.json").read_text())["config"]
    assert written["rows"] == predicted.rows
    sections = {"base", "optimum", "global_term", "dominance", "path", "matched", "milestone", "selection"}
    assert {row["section"] for row in predicted.rows} == sections


def test_a_second_run_of_predict_in_the_clone_gives_the_same_bytes(predicted: Predicted, tmp_path: Path) -> None:
    """Run in the clone's folder into another store: rows, configuration, report, figure and caption are equal."""
    (tmp_path / "good.csv").write_text(GOOD)
    before = store.list_runs(ROOT / "results")
    done = execute("predict", str(tmp_path / "good.csv"), "--out", str(tmp_path / "store"), folder=ROOT)
    assert (done.status, done.err) == (0, "")
    assert store.list_runs(ROOT / "results") == before
    assert not (ROOT / ".hypothesis").exists()
    (found,) = store.list_runs(tmp_path / "store")
    assert found.name == predicted.run.name
    first, second = contents(predicted.run), contents(found)
    measured = {"provenance.json", "manifest.json"}
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name] and name not in measured] == []


def test_predict_agrees_for_counts_and_probabilities(predicted: Predicted, here: Path, run: Run) -> None:
    """The same distribution as probabilities, with a byte order mark and Windows line ends."""
    (here / "weighed.csv").write_bytes(b"\xef\xbb\xbf" + WEIGHED.replace("\n", "\r\n").encode())
    done = run("predict", "weighed.csv")
    assert (done.status, done.err) == (0, "")
    assert "samples;" not in done.out
    (found,) = store.list_runs(here / "results")
    rows = store.read_rows(found / "rows.csv")
    assert [{**row, "value": 0} for row in rows] == [{**row, "value": 0} for row in predicted.rows]
    values, expected = ([float(row["value"]) for row in table] for table in (rows, predicted.rows))
    np.testing.assert_allclose(values, expected, rtol=FLOAT64, atol=FLOAT64)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Done, Path]:
    """`check` of a symbolic, a numeric and a searched claim, on two processes, with every output."""
    folder = tmp_path_factory.mktemp("checked")
    outputs = ("--json", "c.json", "--latex", "c.tex", "--markdown", "c.md")
    return execute("check", "--only", "A2", "D4", "--jobs", "2", *outputs, folder=folder), folder


def test_check_prints_a_line_for_each_claim_and_leaves_no_other_file(checked: tuple[Done, Path]) -> None:
    done, folder = checked
    assert (done.status, done.err) == (0, "")
    header, *lines, last = done.out.splitlines()[:-3]
    assert done.out.splitlines()[-3:] == ["json:   c.json", "latex:  c.tex", "markdown: c.md"]
    assert header == tables.OUTCOME_HEADER
    assert [line.split()[:2] for line in lines] == [[id, "holds"] for id in (*PARTS_OF_A2, "D4")]
    assert last == f"{len(lines)} of {len(lines)} claims hold"
    assert {path.name for path in folder.iterdir()} == {"c.json", "c.tex", "c.md"}


def test_check_writes_json_latex_and_markdown(checked: tuple[Done, Path]) -> None:
    _, folder = checked
    outcomes = json.loads((folder / "c.json").read_text())
    known = {claim.id: claim for claim in claims.CLAIMS}
    assert [outcome["id"] for outcome in outcomes] == [*PARTS_OF_A2, "D4"]
    for outcome in outcomes:
        assert list(outcome) == JSON_KEYS
        for key in ("statement", "source", "kind", "tolerance"):
            assert outcome[key] == getattr(known[outcome["id"]], key)
        assert outcome["status"] == "holds"
        assert 0 <= outcome["worst_margin"] <= outcome["tolerance"]
        assert outcome["instances"] >= 1
        assert outcome["seconds"] > 0
        assert f"| {outcome['id']} | " in (folder / "c.md").read_text()
        assert f"{outcome['id']} & ${known[outcome['id']].latex}$" in (folder / "c.tex").read_text()


def test_the_seed_decides_the_json_except_the_seconds(here: Path, run: Run) -> None:
    def results(seed: str) -> list[Mapping[str, Any]]:
        assert run("check", "--only", "A2", "--jobs", "1", "--seed", seed, "--json", "c.json").status == 0
        return [{**outcome, "seconds": 0} for outcome in json.loads((here / "c.json").read_text())]

    assert results("7") == results("7")
    assert results("7") != results("8")


def test_json_to_standard_output_comes_last(here: Path) -> None:
    done = execute("check", "--only", "A2", "--jobs", "1", "--json", "/dev/stdout", folder=here)
    assert (done.status, done.err) == (0, "")
    assert [outcome["id"] for outcome in json.loads(done.out[done.out.index("\n[") :])] == PARTS_OF_A2


def test_explain_prints_every_part_of_a_claim(here: Path, run: Run) -> None:
    done = run("check", "--explain", "A7")
    assert (done.status, done.err) == (0, "")
    for claim in claims.select(("A7",)):
        for text in (f"{claim.id}  {claim.statement}", f"${claim.latex}$", claim.hypotheses, claim.derivation):
            assert "".join(text.split()) in "".join(done.out.split())
        module, function = claim.formula.split(":")
        assert f"{module.replace('.', '/')}.py, {function}" in done.out


def test_an_infinite_time_is_null_in_json(here: Path, run: Run) -> None:
    (here / "rare.csv").write_text("answer,probability,correct\na,1e-300,1\nb,1,0\n")
    done = run("predict", "rare.csv", "--beta", "1", "--json", "rare.json")
    assert (done.status, done.err) == (0, "")
    text = (here / "rare.json").read_text()
    assert not re.search("NaN|Infinity", text)
    assert None in [row["value"] for row in json.loads(text)["rows"]]


# Bad input.


@needs_full
def test_in_process_and_subprocess_agree(here: Path, run: Run) -> None:
    for words in (
        ("predict", "missing.csv"),
        ("check", "--only", "A2", "--jobs", "0"),
        ("predict", "good.csv", "--beta", "1", "--json", str(FULL)),
    ):
        before = contents(here)
        assert execute(*words, folder=here) == run(*words)
        assert contents(here) == before


CELL = "wrong,0.5,0\n"
NOT_TABLES = {
    "line 2: malformed CSV: unexpected end of data": WEIGHED.replace("likely", '"likely'),
    "line 3: 2 fields: want 3": WEIGHED.replace(CELL, "wrong,0.5\n"),
    "line 3: 4 fields: want 3": WEIGHED.replace(CELL, "wro,ng,0.5,0\n"),
    "line 3: it has a null byte": WEIGHED.replace("wrong", "wro\0ng"),
    "line 1: unknown column 'label'": WEIGHED.replace("correct", "label"),
    "line 1: both columns 'probability' and 'count'": "answer,probability,count,correct\na,0.5,1,1\nb,0.5,1,0\n",
    "probability sums to 0.9": WEIGHED.replace("0.5", "0.4"),
    "line 3: probability is '-0.5': want a finite number above 0": WEIGHED.replace("0.5", "-0.5"),
    "line 3: probability is 'nan': want a finite number above 0": WEIGHED.replace("0.5", "nan"),
    "line 3: probability is 'inf': want a finite number above 0": WEIGHED.replace("0.5", "inf"),
    "line 3: probability is '0': want a finite number above 0": WEIGHED.replace("0.5", "0"),
    "column correct marks 0 of 4 answers": WEIGHED.replace(",1\n", ",0\n"),
    "column correct marks 4 of 4 answers": WEIGHED.replace(",0\n", ",1\n"),
    "column correct marks 1 of 1 answers": "answer,count,correct\na,3,1\n",
    "the file is empty: want a header": "",
    "column correct marks 0 of 0 answers": "answer,count,correct\n",
    "line 3: answer 'likely' is there before": WEIGHED.replace("wrong", "likely"),
    "line 3: correct is '2': want 0, 1, true or false": WEIGHED.replace(CELL, "wrong,0.5,2\n"),
}


@pytest.mark.parametrize(("message", "text"), NOT_TABLES.items(), ids=list(NOT_TABLES))
def test_a_bad_table_is_refused(message: str, text: str, here: Path, refused: Callable[..., str]) -> None:
    (here / "bad.csv").write_text(text)
    assert re.match(rf"bad\.csv:? {re.escape(message)}", refused("predict", "bad.csv"))


@pytest.mark.parametrize(
    ("data", "line"),
    [(GOOD.encode() + b"caf\xe9,1,0\n", 6), (GOOD.encode("utf-16"), 1), (b"\x89PNG\r\n", 1)],
)
def test_a_file_that_is_not_utf8_is_refused(data: bytes, line: int, here: Path, refused: Callable[..., str]) -> None:
    (here / "bad.csv").write_bytes(data)
    assert re.fullmatch(
        rf"bad\.csv line {line}: it is not UTF-8 text \(.+\): save it as UTF-8", refused("predict", "bad.csv")
    )


BELOW = "'file' is not a folder: want the name of a file in a folder that exists"
BAD_OPTIONS: dict[tuple[str, ...], str] = {
    ("predict", "missing.csv"): "missing.csv: cannot be read: No such file or directory",
    ("predict", "folder"): "folder: cannot be read: Is a directory",
    ("predict", "file/base.csv"): "file/base.csv: cannot be read: Not a directory",
    ("predict", "two\nlines.csv"): r"two\nlines.csv: cannot be read: No such file or directory",
    ("predict", ""): "BASE: '': String should have at least 1 character",
    ("predict",): "BASE: missing: want a CSV of answers, or --samples FILE instead",
    ("predict", "good.csv", "--samples", "x.jsonl"): "BASE: 'good.csv': want a CSV of answers, or --samples FILE",
    ("predict", "good.csv", "--problem", "p"): "--problem: 'p': it means nothing without --samples",
    ("predict", "good.csv", "--format", "gif"): "--format: 'gif': Input should be 'pdf', 'png' or 'svg'",
    ("predict", "good.csv", "--width", "0"): "--width: '0': Input should be greater than or equal to 1",
    ("predict", "good.csv", "--json", "file/x.json"): f"--json: 'file/x.json': {BELOW}",
    ("predict", "good.csv", "--json", "folder"): "--json: 'folder': is a folder: want the name of a file",
    ("predict", "good.csv", "--json", "none/x"): "--json: 'none/x': 'none' is not a folder: want the name of a file",
    ("predict", "good.csv", "--json", "folder/../good.csv"): "--json: 'folder/../good.csv': this is the input",
    ("predict", "good.csv", "--out", "file"): "--out: 'file': 'file' is not a folder: want a folder",
    ("predict", "good.csv", "--out", "file/store", "--json", "x.json"): "--out: 'file/store': ",
    ("predict", "good.csv", "--out", ""): "--out: '': String should have at least 1 character",
    ("predict", "good.csv", "--out", "/dev/full"): "--out: '/dev/full': '/dev/full' is not a folder: want a folder",
    **{
        ("predict", "good.csv", "--beta", "1", text): f"--beta: {shown}: want KL strengths from 0.001 to 1e6"
        for text, shown in {"0": "0.0", "-1": "-1.0", "nan": "nan", "inf": "inf", "1e-9": "1e-09"}.items()
    },
    ("predict", "good.csv", "--beta", "abc"): "--beta: 'abc': Input should be a valid number",
    ("predict", "good.csv", "--beta", "1", "1.0"): "--beta: 1.0: given twice: want distinct KL strengths",
    ("predict", "good.csv", "--beta"): "argument --beta: expected at least one argument",
    ("predict", "good.csv", "--seed", "1"): "unrecognized arguments: --seed 1",
    ("check", "--seed", "-1"): "--seed: '-1': Input should be greater than or equal to 0",
    ("check", "--seed", "4294967296"): "--seed: '4294967296': Input should be less than 4294967296",
    ("check", "--seed", "abc"): "--seed: 'abc': Input should be a valid integer",
    ("check", "--jobs", "0"): "--jobs: '0': Input should be greater than or equal to 1",
    ("check", "--only", "A2", "Z9"): "--only: 'Z9' is not a claim: want A to G, one of A1, A2, ",
    ("check", "--explain", "Z9"): "--explain: 'Z9' is not a claim: want A to G, one of ",
    ("check", "--explain", "A2", "--json", "x.json"): "--explain: 'A2': want no other option beside it",
    **{
        ("check", "--only", "A2", flag, "file/x"): f"{flag}: 'file/x': {BELOW}"
        for flag in ("--json", "--latex", "--markdown")
    },
    ("check", "--nonsense\nx"): r"unrecognized arguments: --nonsense\nx",
    ("chek",): "'chek' is no command: did you mean check? want one of samples, rates, audit, ",
}


@pytest.mark.parametrize(("words", "message"), BAD_OPTIONS.items(), ids=[" ".join(words) for words in BAD_OPTIONS])
def test_a_bad_option_is_refused(words: tuple[str, ...], message: str, refused: Callable[..., str]) -> None:
    if "/dev/full" in " ".join(words) and not FULL.exists():
        pytest.skip("this platform has no /dev/full")
    assert refused(*words).startswith(message)


@needs_full
def test_a_full_disk_is_named_after_the_claims_were_printed(refused: Callable[..., str]) -> None:
    message = refused("check", "--only", "A2.1", "--jobs", "1", "--json", str(FULL))
    assert message == f"cannot write '{FULL}': No space left on device"


# The terminal.


def test_a_reader_that_leaves_early_sees_no_error(here: Path) -> None:
    """The pipe is closed before the first line is printed, as the end of `| head -0` would."""
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, str(ROOT / "paper_repro.py"), "predict", "good.csv", "--beta", "1"]
    done = subprocess.run(command, cwd=here, stdout=writing, stderr=subprocess.PIPE, timeout=120, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")
    assert [store.verify_run(path) for path in store.list_runs(here / "results")] == [[]]


@needs_full
def test_a_full_standard_output_is_one_line(here: Path) -> None:
    command = [sys.executable, str(ROOT / "paper_repro.py"), "check", "--explain", "A2"]
    with FULL.open("wb") as full:
        done = subprocess.run(command, cwd=here, stdout=full, stderr=subprocess.PIPE, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (2, b"sharpening: standard output: No space left on device\n")


def test_answers_in_any_script_are_printed_on_an_ascii_terminal(here: Path) -> None:
    (here / "good.csv").write_text(GOOD.replace("likely", "½" * 100).replace("ra", "ra\u2028"), encoding="utf-8")
    done = execute("predict", "good.csv", "--beta", "1", folder=here, PYTHONIOENCODING="ascii")
    assert (done.status, done.err) == (0, "")
    assert r"\xbd" * 77 + "...'" in done.out
