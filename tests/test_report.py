"""The report: every number is what its rows say, hostile text stays text, and nothing that is missing looks present."""

from __future__ import annotations

import dataclasses
import functools
import re
import shutil
import xml.etree.ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sharpening.commands import report as command
from sharpening.figures.report import account, answer, ledger, page
from sharpening.figures.report.keys import Run
from sharpening.storage import store
from sharpening.theory import claims
from tests import report_page
from tests.command_line import runner
from tests.pages import REFERENCE, ROOT, run_of
from tests.report_page import Page

WCAG_TEXT = 4.5  # least contrast of text, WCAG 2.2, success criterion 1.4.3
HOSTILE = "<script>alert(1)</script><b title='\"&"
EXTERNAL = re.compile(r"""(?:src|href)=["']?(?:https?:)?//|url\(["']?(?:https?:)?//|@import|<link|<iframe|<img""")
SHOWN_IN_SHORT = ("deepscaler", "laptop_audit", "laptop_plain_0", "motion", "external", "tuned_matched", "rates_curves")


def page_without_figures(*stores: Path) -> str:
    """The page of an own store and of committed runs, without drawing anything."""
    runs, twins, broken = command.both(*map(str, stores))
    bare = [dataclasses.replace(run, pictures=()) for run in runs]
    return page.report(bare, twins, broken, version="0", title="title")


@pytest.fixture(scope="module")
def whole() -> str:
    """The page of the committed runs."""
    return page_without_figures(REFERENCE / "none", REFERENCE)


@pytest.fixture(scope="module")
def read(whole: str) -> Page:
    return Page(whole)


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A store of one's own with copies of some committed runs."""
    for name in SHOWN_IN_SHORT:
        run = run_of(name)
        shutil.copytree(run, tmp_path / "own" / run.parent.name / run.name)
    shutil.copy(REFERENCE / command.INDEX, tmp_path / "own")  # as among committed runs
    return tmp_path / "own"


# Numbers.


@pytest.mark.slow
def test_every_number_of_the_committed_runs_is_what_its_rows_say(read: Page) -> None:
    kinds = {key.split(":")[1].partition("?")[0] for key, _ in read.keyed}
    assert kinds >= {"mean", "count", "distinct", "made", "0"}
    assert len(read.keyed) > 1_000
    cached = functools.cache(report_page.rows_of)
    original, report_page.rows_of = report_page.rows_of, cached
    try:
        assert report_page.faults(read.keyed, [REFERENCE]) == []
    finally:
        report_page.rows_of = original


def test_a_changed_row_is_found_among_twenty_numbers_at_random(copied: Path, tmp_path: Path) -> None:
    """The page was made before; then every number of every row is another one."""
    keyed = [pair for pair in Page(page_without_figures(tmp_path, copied)).keyed if re.search(r"\d", pair[1])]
    cells = [(key, text) for key, text in keyed if re.fullmatch(r"[+-]?\d*\.\d+", text)]
    rng = np.random.default_rng(21)
    chosen = [cells[place] for place in rng.choice(len(cells), size=20, replace=False)]
    assert report_page.faults(chosen, [copied]) == []
    for path in copied.glob("*/*/rows.csv"):
        path.write_text(re.sub(r"(?<=,)(-?)(\d+)\.(\d)", r"\g<1>\g<2>9.\g<3>", path.read_text()))
    assert len(report_page.faults(chosen, [copied])) == 20


@pytest.mark.parametrize(
    ("text", "value", "is_right"),
    [
        (".604", "0.60352", True),
        (".604", "0.60452", False),
        ("-.020", "-0.0198", True),
        ("1,200", "1200", True),
        ("5.6e-16", "5.551e-16", True),
        ("5.6e-16", "5.7e-16", False),
        ("yes", "True", True),
        ("no", "True", False),
    ],
)
def test_the_comparison_is_at_the_printed_precision(text: str, value: str, is_right: bool) -> None:
    assert report_page.agrees(text, value) is is_right


def test_no_decimal_number_of_a_section_is_without_a_key(read: Page) -> None:
    """In sentences and cells; captions of figures, thresholds in headers and names of rows are texts."""
    bare = [
        text
        for tags, text in read.texts
        if tags[-1:] in (("p",), ("td",)) and re.search(r"(?<![\w.])\d*\.\d+(?![\w.])", text)
    ]
    assert [text for text in bare if "turns at Q" not in text] == []  # what columns of verdicts mean


def standing(contestant: str, at: int, value: float = 0.5, against: str = "") -> dict[str, Any]:
    """A row of the study's summary."""
    row = {"contestant": contestant, "against": against, "quantity": "pass_at_k", "at": float(at), "value": value}
    return {**row, "low": value - 0.01, "high": value + 0.01, "has_interval": True, "num_runs": 3}


def test_the_study_shows_every_contestant_at_its_own_k(tmp_path: Path) -> None:
    """Differences from others, which the same table has, are no standings."""
    rows = [standing(name, k, value + k / 100) for name, value in (("plain", 0.1), ("ds", 0.2)) for k in (1, 8, 64)]
    rows += [standing("ds", 8, 0.77, "plain"), standing("", 8, 0.66, "before")]
    store.write_run("llm", {"command": "study", "table": "summary", "preset": "laptop"}, rows, root=tmp_path)
    for other in ("one-rate", "ablations", "pretrained"):  # nothing is tuned there
        about = {"command": "study", "table": "summary", "preset": other}
        store.write_run("llm", about, [standing("ds, changed", 1, 0.99)], root=tmp_path)
    text = page_without_figures(tmp_path, tmp_path / "none")
    (section,) = re.findall(r'<section id="study".*?</section>', text, flags=re.DOTALL)
    lines = [re.sub("<[^>]+>", " ", line).split() for line in re.findall("<tr>.*?</tr>", section, flags=re.DOTALL)]
    of = {line[0]: line for line in lines if line[0] in ("plain", "ds", "before")}
    assert of["ds"][1:3] == ["-", "-"]  # the table of runs, which has the settings, is not there
    assert of["ds"][3:12] == [".210", "[", ".200", ",", ".220", "]", ".280", "[", ".270"]
    assert ".660" in of["before"]
    assert ".770" not in section
    assert report_page.faults(Page(text).keyed, [tmp_path]) == []


# What is missing, and what is hostile.


def test_predictions_from_gradients_stand_beside_what_was_measured(whole: str) -> None:
    """The numbers that docs/findings.md has of them."""
    (section,) = re.findall(r'<section id="transformers".*?</section>', whole, flags=re.DOTALL)
    (table,) = re.findall(
        r"<caption>Sharpening slope per nat[^\n]*transfer_measured.*?</table>", section, flags=re.DOTALL
    )
    lines = [re.sub("<[^>]+>", " ", line).split() for line in re.findall("<tr>.*?</tr>", table, flags=re.DOTALL)]
    of = {line[0]: line[1:] for line in lines[1:]}
    assert {".405", ".772"} <= set(of["before"])
    assert {"2.46", "1.88", "1.69"} <= set(of["seed_3"])


def study_of(preset: str, tmp_path: Path) -> str:
    """The answer on a page of a store that has a study of that preset."""
    rows = [standing("ds", k, 0.01 * k, "plain") for k in (1, 8, 64)]
    about = {"command": "study", "preset": preset}
    store.write_run("llm", {**about, "table": "summary"}, rows, root=tmp_path)
    outcome = [{"contestant": "ds", "against": "plain", "outcome": "undecided" if preset == "full" else "wins"}]
    store.write_run("llm", {**about, "table": "outcomes"}, outcome, root=tmp_path)
    text = page_without_figures(tmp_path, tmp_path / "none")
    (section,) = re.findall(r'<section id="answer".*?</section>', text, flags=re.DOTALL)
    return re.sub("<[^>]+>", "", section)


def test_the_answer_has_the_outcome_of_a_whole_study_and_of_no_trial(tmp_path: Path) -> None:
    assert "both tuned" not in study_of("smoke", tmp_path)
    said = study_of("full", tmp_path)
    assert "DS against plain RL, both tuned, 3 pairs of runs: undecided by the rule fixed before, pass@1 +.010" in said
    assert "pass@8 +.080 [+.070, +.090], pass@64 +.640" in said


def test_an_empty_store_says_not_run_everywhere(tmp_path: Path) -> None:
    text = page_without_figures(tmp_path, tmp_path)
    empty = Page(text)
    assert empty.keyed == []
    sections = re.findall(r'<section id="([\w-]+)".*?</section>', text, flags=re.DOTALL)
    bodies = dict(re.findall(r'<section id="([\w-]+)"(.*?)</section>', text, flags=re.DOTALL))
    assert len(sections) > 12
    assert {name for name in sections if "not run" not in bodies[name]} == {"differs"}
    assert bodies["answer"].count("not run") == 4
    assert "Nothing that is stored differs" in bodies["differs"]


def test_hostile_text_of_rows_and_configurations_stays_text(tmp_path: Path) -> None:
    finding = {"experiment": HOSTILE, "verdict": HOSTILE, "label": HOSTILE, "status": "differs", "observed": 1.0}
    store.write_run("bandits", {"command": "bandits", "table": "findings", "x": HOSTILE}, [finding], root=tmp_path)
    outcome = {"contestant": HOSTILE, "against": f"{HOSTILE}: {HOSTILE}", "outcome": HOSTILE}
    store.write_run("llm", {"command": "study", "table": "outcomes"}, [outcome], root=tmp_path)
    store.write_run("llm", {"command": "study", "table": "summary"}, [standing(HOSTILE, 1)], root=tmp_path)
    claim = {"id": HOSTILE, "statement": HOSTILE, "latex": r"x<y\text{<script>alert(1)</script>}", "status": "holds"}
    rest = {"hypotheses": HOSTILE, "source": HOSTILE, "kind": HOSTILE, "instances": 1}
    margins = {"worst_margin": 0.0, "tolerance": 0.0}
    store.write_run("theory", {"command": "check", "only": []}, [claim | rest | margins], root=tmp_path)
    text = page_without_figures(tmp_path, tmp_path / "none")
    found = Page(text)
    assert [tag for tag, _ in found.tags].count("script") == 1
    assert "b" not in {tag for tag, _ in found.tags}
    assert text.count("<script>") == 1
    assert "alert(1)" in text
    assert found.faults == []
    assert report_page.faults([(key, value) for key, value in found.keyed], [tmp_path]) == []


def test_what_differs_from_the_committed_run_is_named(copied: Path) -> None:
    """The same rows are no difference; a run of the same configuration with another row is one."""
    runs, twins, broken = command.both(str(copied), str(REFERENCE))
    assert "rows other" not in "".join(map(str, account.differences(runs, twins, broken)))
    mine = run_of("motion")
    rows = store.read_rows(mine / "rows.csv")
    config = next(run for run in runs if run.id == mine.name).config
    digits, other = rows[0]["sharpens"] * (1 + 1e-12), 0.25
    for value, why in ((digits, ", in the last digits, as on another processor"), (other, "")):
        rows[0]["sharpens"] = value
        store.write_run("bandits", config, rows, root=copied, overwrite=True)
        found = account.differences(*command.both(str(copied), str(REFERENCE)))
        how = f"1 of {len(rows)} rows other than in the committed run{why}"
        assert f"your run of motion: {how} ({copied / 'bandits' / mine.name})" in map(str, found)
    (copied / "bandits" / mine.name / "rows.csv").write_text("damaged\n")
    found = account.differences(*command.both(str(copied), str(REFERENCE)))
    assert f"{copied / 'bandits' / mine.name}: damaged" in map(str, found)


def test_a_prediction_that_differs_and_a_claim_that_fails_are_named() -> None:
    """Rows say so, and the list of differences does."""
    failing = fake({"command": "check", "only": []}, [{"id": "A1", "status": "fails"}, {"id": "A2", "status": "holds"}])
    labels = [{"label": "slope", "status": "differs"}, {"label": "end", "status": "agrees"}]
    differing = fake({"command": "bandits", "table": "findings"}, labels)
    predictions = [{"prediction": "B1", "verdict": "differs"}, {"prediction": "F1", "verdict": "not enough data"}]
    told = fake({"command": "study", "table": "predictions"}, predictions)
    found = [str(one) for one in account.differences([failing, differing, told], {}, [])]
    assert found == [
        "A1: fails (results/x/0)",
        "slope: differs (results/x/0)",
        "B1: differs (results/x/0)",
        "F1: not enough data (results/x/0)",
    ]


def fake(config: Mapping[str, Any], rows: list[dict[str, Any]]) -> Run:
    """A run that lies nowhere."""
    return Run("0", "x", "results/x/0", config, {}, lambda: rows, True)


# The words of the answer.


def audited(plain: tuple[float, float], ds: tuple[float, float]) -> Run:
    """An audit in which plain RL and DS have slopes with these intervals."""
    rows = []
    for model, (low, high) in (("plain_rl", plain), ("ds", ds)):
        slope = {"quantity": "sharpening_slope", "at": 0.0, "value": (low + high) / 2, "low": low, "high": high}
        rows.append({"model": model, **slope, "has_interval": True})
        rows.append({"model": model, **slope, "quantity": "pass_at_k_difference", "at": 1.0, "has_interval": True})
    models = {"before": {}, "plain_rl": {}, "ds": {}}
    return fake({"command": "audit", "models": models}, rows)


@pytest.mark.parametrize(
    ("plain", "ds", "did", "verdict"),
    [
        ((0.9, 1.1), (0.4, 0.5), "more", "It weakens it and does not prevent it"),
        ((0.4, 1.1), (0.4, 0.5), "more", "Not here, and whether it weakens it is not resolved"),
        ((0.9, 1.1), (-0.5, -0.2), "more", "Yes, here: it does the opposite"),
        ((-0.3, -0.1), (-0.1, 0.2), "less", "Here no sharpening is left that could be told from none"),
        ((-0.1, 0.1), (0.4, 0.5), "about as much", "Not here, and whether it weakens it is not resolved"),
    ],
)
def test_the_words_of_the_answer_follow_from_the_intervals(plain, ds, did: str, verdict: str) -> None:
    said = " ".join(answer.answer([audited(plain, ds)]).paragraphs)
    assert f"so the likelier gained {did} (" in said
    assert f"</strong> {verdict}" in said


def test_the_answer_of_the_committed_runs_is_that_of_the_findings(whole: str) -> None:
    """The numbers that docs/findings.md has, each by its run, in the section itself."""
    (section,) = re.findall(r'<section id="answer".*?</section>', whole, flags=re.DOTALL)
    known = Page(section).keyed
    shown = {(key.split(":")[0], text) for key, text in known}
    deepscaler, audit = run_of("deepscaler").name, run_of("laptop_audit").name
    assert shown >= {(deepscaler, text) for text in (".604", ".680", ".891", ".871")}
    assert shown >= {(audit, text) for text in ("1.03", ".469")}
    assert not {run for run, _ in shown} & {run_of("names_audit").name, run_of("names_audit_train").name}


# The page itself.


def test_the_page_is_one_valid_file_that_loads_nothing(whole: str, read: Page) -> None:
    assert whole.startswith("<!DOCTYPE html>\n<html lang=")
    assert read.faults == []
    assert EXTERNAL.search(whole) is None
    ids = read.values("id")
    assert len(ids) == len(set(ids))
    assert {link.removeprefix("#") for link in read.values("href")} <= set(ids)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [found for _, found in read.tags]
    headings = [tag for tag, _ in read.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) <= {"h2", "h3"}
    tables = [tag for tag, _ in read.tags if tag in ("table", "caption")]
    assert tables == ["table", "caption"] * (len(tables) // 2)


@pytest.mark.parametrize("text", ["<p>a</b></p>", "<p><b>a</p></b>", "<div>"])
def test_a_page_that_is_not_valid_is_found(text: str) -> None:
    assert Page(text).faults


def test_colours_have_enough_contrast_in_light_and_dark() -> None:
    style = (Path(page.TEMPLATES) / "style.css").read_text(encoding="utf-8")
    pairs = re.findall(r"--(\w+): light-dark\(#(\w{6}), #(\w{6})\)", style)
    colours = {name: values for name, *values in pairs}
    assert set(colours) == {"page", "text", "quiet", "link", "good", "bad", "panel", "line"}
    for ink in ("text", "quiet", "link", "good", "bad"):
        for ground in ("page", "panel"):
            for mode in (0, 1):
                assert contrast(colours[ink][mode], colours[ground][mode]) >= WCAG_TEXT, (ink, ground, mode)
    assert set(re.findall(r"var\(--(\w+)\)", style)) <= set(colours)


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours by WCAG 2.2."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_contrast_is_that_of_the_standard() -> None:
    assert contrast("000000", "ffffff") == pytest.approx(21)
    assert contrast("777777", "ffffff") < WCAG_TEXT < contrast("767676", "ffffff")


@pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
def test_every_formula_becomes_mathml(claim) -> None:
    """Well formed, and no command is left as it was written."""
    element = xml.etree.ElementTree.fromstring(ledger.mathematics(claim.latex))
    assert element.tag == "{http://www.w3.org/1998/Math/MathML}math"
    assert "\\" not in "".join(element.itertext())


# The commands.


@pytest.mark.slow
def test_the_command_draws_writes_and_repeats_itself(tmp_path: Path, monkeypatch, capfd) -> None:
    """A claim, a verdict and a figure, stored by their commands; the page twice, byte for byte."""
    monkeypatch.chdir(tmp_path)
    run = runner(capfd)
    assert run("check", "--only", "A1", "--out", "results").status == 0
    assert run("check-shaper", "grpo", "--out", "results").status == 0
    assert run("figures", "--only", "prompt_weights").status == 0
    assert run("report", "--to", "a.html") == (0, "to:     a.html\n", "")
    assert run("report", "--to", "b.html").status == 0
    text = Path("a.html").read_text()
    assert text == Path("b.html").read_text()
    found = Page(text)
    assert found.faults == []
    assert EXTERNAL.search(text) is None
    assert len(found.values("id")) == len(set(found.values("id")))
    assert {link.removeprefix("#") for link in found.values("href")} <= set(found.values("id"))
    assert "sharpening figures --only prompt_weights" in text
    assert "sharpening check-shaper grpo --out results" in text
    drawn = [found for tag, found in found.tags if tag == "svg"]
    assert [one["aria-label"] for one in drawn] == ["prompt weights"]
    assert "sharpens" in text
    assert report_page.faults(found.keyed, [tmp_path / "results"]) == []


@pytest.mark.slow
def test_the_whole_page_has_every_figure_and_is_one_valid_file(tmp_path: Path) -> None:
    text = command.page_of(str(tmp_path), str(REFERENCE))
    found = Page(text)
    assert found.faults == []
    assert EXTERNAL.search(text) is None
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    drawn = {found["aria-label"] for tag, found in found.tags if tag == "svg"}
    captions = {path.stem.replace("_", " ") for path in REFERENCE.glob("*/*/*.txt")} - {"report"}
    assert drawn >= captions
    assert (ROOT / "figures").is_dir()


def test_a_page_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "page_of", None)
    done = runner(capfd)("report", "--to", "missing/a.html")
    assert done.status == 2
    said = "'missing' is not a folder: want the name of a file in a folder that exists"
    assert done.err == f"sharpening: --to: 'missing/a.html': {said}\n"
