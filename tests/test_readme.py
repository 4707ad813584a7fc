"""The README's commands run, its claims table is current, and its numbers come from the committed run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sharpening import cli
from sharpening.figures.tables import samples as sample_tables
from sharpening.figures.tables import theory as tables
from sharpening.storage import store
from sharpening.theory import claims
from sharpening.theory.diagnosis import diagnose
from sharpening.theory.methods import calls
from sharpening.theory.methods import table as method_table

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
REFERENCE = ROOT / "results" / "reference"
PICTURES = re.findall(r"\((results/reference/\S+\.png)\)", README)


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


BLOCKS = [
    commands
    for block in _blocks("bash")
    if (commands := [line for line in block.splitlines() if line.startswith("python paper_repro.py")])
]
RUN_ELSEWHERE = ("python paper_repro.py check",)  # tests/test_entry_point.py runs it and reads every line


def test_the_commands_were_found():
    """There is something to test, for every command."""
    assert {line.split()[2] for block in BLOCKS for line in block} == set(cli.COMMANDS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader pastes every block, one after the other: a model that one block teaches is there for the next."""
    made = tmp_path_factory.mktemp("readme")
    (made / "examples").symlink_to(ROOT / "examples")
    (made / "results").mkdir()
    (made / "results" / "reference").symlink_to(REFERENCE)
    return made


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block[0].removeprefix("python paper_repro.py "))
def test_every_command_runs(block: list[str], folder: Path):
    """Pasted where the examples are, the commands exit with 0 and print no error."""
    for line in block:
        if line not in RUN_ELSEWHERE:
            command = [sys.executable, str(ROOT / "paper_repro.py"), *line.split()[2:]]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            assert (line, done.returncode, done.stderr) == (line, 0, "")


@pytest.mark.parametrize("target", re.findall(r"^make (\w+)", "\n".join(_blocks("bash")), flags=re.MULTILINE))
def test_every_make_target_exists(target: str):
    """`make repro` and `make test` are in the Makefile."""
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("code", _blocks("python"))
def test_the_python_example_runs_from_another_folder(code: str, tmp_path: Path):
    """With PYTHONPATH at the clone the snippet runs as a script of somebody else's folder."""
    script = tmp_path / "my_script.py"
    script.write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_claims_table_is_current():
    """The table between the markers is what `check --markdown` writes when every claim holds."""
    written = re.search(r"<!-- claims:.*?-->\n(.*?)<!-- end of claims -->", README, flags=re.DOTALL)
    fields = ("id", "statement", "source", "kind")
    rows = [{**{name: getattr(claim, name) for name in fields}, "status": "holds"} for claim in claims.CLAIMS]
    assert written is not None
    assert written.group(1) == tables.claims_markdown(rows)


def test_the_table_of_presets_is_current():
    """The table between the markers is `calls.preset_table()`, and the shown specification is the example's."""
    assert f"<!-- presets -->\n{calls.preset_table()}\n<!-- end of presets -->" in README
    assert (ROOT / "examples" / "bandit.json").read_text(encoding="utf-8") in README


def test_the_excerpt_of_preview_is_current(capsys: pytest.CaptureFixture[str]):
    """Every line between the markers is printed for the example, in that order."""
    block = re.search(r"<!-- preview (\S+) -->\n```text\n(.*?)```\n<!-- end of preview -->", README, flags=re.DOTALL)
    assert block is not None
    assert cli.main(["preview", str(ROOT / block[1])]) == 0
    printed = iter(capsys.readouterr().out.splitlines())
    assert [line for line in block[2].splitlines() if line not in printed] == []


@pytest.mark.parametrize("method", ["rloo", "pass_at_k_training", "ds"])
def test_the_table_of_verdicts_is_current(method: str):
    """The line of each of three unlike methods is diagnosed again; every group-level method has one, in their order."""
    written = re.search(r"<!-- verdicts:.*?-->\n(.*?)<!-- end of verdicts -->", README, flags=re.DOTALL)
    assert written is not None
    head, rule, *lines = written.group(1).splitlines()
    known = [name for name, entry in method_table.METHODS.items() if entry.level == "group"]
    assert [re.match(r"\| `(\w+)` ", line)[1] for line in lines] == known
    found = diagnose.diagnose(method_table.METHODS[method].advantage)
    want = tables.verdicts_markdown({method: diagnose.summary(found)}).splitlines()
    assert [head, rule, lines[known.index(method)]] == want


def test_the_pictures_and_the_numbers_come_from_committed_runs():
    """The runs that the README shows verify and came from a clean tree, and its tables have their numbers."""
    runs = {Path(picture).stem: (ROOT / picture).parent for picture in PICTURES}
    assert {"prediction", "pass_at_k"} < set(runs)
    for run in runs.values():
        assert store.verify_run(run) == []
        assert json.loads((run / "provenance.json").read_text(encoding="utf-8"))["is_dirty"] is False
    assert tables.matched_markdown(store.read_rows(runs["prediction"] / "rows.csv")) in README
    assert sample_tables.pass_at_k_markdown(store.read_rows(runs["pass_at_k"] / "rows.csv"), (1, 8, 64)) in README


def test_the_numbers_about_the_samples_are_those_of_the_committed_runs():
    """Each difference with its interval that the prose states is in one of the two runs, as printed there."""
    text = README[README.index("GRPO collapsed: ") : README.index("The format is recognised")]
    rows = [
        row
        for run in store.list_runs(REFERENCE)
        if run.parent.name == "samples"
        for row in store.read_rows(run / "rows.csv")
    ]
    known = {
        tuple(f"{abs(value):.3f}"[1:] for value in (row["value"], *sorted((abs(row["low"]), abs(row["high"])))))
        for row in rows
        if row["quantity"] == "pass_at_k_difference"
    }
    stated = re.findall(r"[+-]?(\.\d{3})[^\[.]*\[-?(\.\d{3}), -?(\.\d{3})\]", text.replace("\n", " "))
    assert len(stated) == 5
    for value, *ends in stated:
        assert (value, *sorted(ends)) in known


def survey_rows(run: str) -> list[dict]:
    """The table of a survey that the README names."""
    assert f"`{run}`" in README
    return store.read_rows(REFERENCE / "bandits" / run / "rows.csv")


def test_what_the_readme_says_for_and_against_ds_is_in_the_tables():
    """Counts and numbers of the six sentences, from the rows that they name."""
    ends = {(row["instance"], row["variant"], f"{row['strength']:.3g}"): row for row in survey_rows("cc1dbfeddc5c")}
    for variant, counts in (("ds on both sides", {2, 3, 5, 10}), ("entropy bonus", {0})):
        above = [
            [row["is_above"] for key, row in ends.items() if key[:2] == (i, variant)] for i in {k[0] for k in ends}
        ]
        assert {sum(flags) for flags in above} == counts
    ds, bonus = ends["many_solutions", "ds", "0.658"], ends["many_solutions", "entropy bonus", "0.285"]
    assert (f"{ds['correctness']:.3f}", f"{ds['other']:.1f}") == ("0.994", "30.4")
    assert (f"{bonus['correctness']:.3f}", f"{ds['other'] / ds['gain']:.1f}") == ("0.957", "1.1")
    ranks, other = ends["many_solutions", "unlikeliness", "0.433"], ends["many_solutions", "ds", "0.433"]
    assert (f"{ranks['correctness']:.3f}", f"{ranks['other']:.1f}") == ("0.992", "32.0")
    assert (f"{other['correctness']:.3f}", f"{other['other']:.1f}") == ("0.991", "30.7")
    cells = survey_rows("ad8ae42430db")
    won = [row["winner"] for row in cells]
    assert (len(won), won.count("ds"), won.count("entropy bonus")) == (64, 35, 0)
    assert {row["num_correct"] for row in cells if row["winner"] in ("entropy penalty", "unlikeliness")} == {1}
    assert f"{max(row['lead'] for row in cells if row['winner'] == 'ds'):.2f}" == "0.23"
    shared = survey_rows("ef01e8a0c7d3")
    pass_at_64 = {(row["variant"], row["strength"]): row["other"] for row in shared if row["measure"] == "pass_at_k:64"}
    assert f"{pass_at_64['ds on both sides', 1.0]:.3f} {pass_at_64['vanilla', 1.0]:.3f}" == "0.504 0.568"
    at_8 = [row for row in shared if row["measure"] == "pass_at_k:8"]
    gains = [max(row["gain"] for row in at_8 if row["variant"] == name) for name in ("pkpo", "ips", "ds")]
    assert [f"{gain:.2f}" for gain in gains] == ["1.25", "1.24", "1.20"]
    assert not any(row["is_above"] for row in shared)
    findings = survey_rows("09b16030b553")
    assert (len(findings), {row["status"] for row in findings}) == (389, {"agrees"})
    table = [row["status"] for row in survey_rows("dbc5a7c24ae5")]
    assert [table.count(word) for word in ("agrees", "differs", "not comparable")] == [69, 1, 15]


def test_what_the_readme_says_of_trained_models_is_in_the_runs():
    """Every number of the table of seeds, of the slopes and of the samples against the audit, from the runs named."""
    table = re.findall(r"^\| (\d) \| (.+) \| `(\w+)`, `(\w+)` \|$", README, flags=re.MULTILINE)
    assert [row[0] for row in table] == ["0", "1", "2"]
    for _, cells, *runs in table:
        rows = [store.read_rows(REFERENCE / "llm" / run / "rows.csv") for run in runs]
        found = []
        for name, digits in (("pass@1", 3), ("pass@8", 3), ("pass@64", 3), ("solution_diversity", 1)):
            mine = [[row["value"] for row in run if row["quantity"] == f"held_out/{name}"] for run in rows]
            found.append(
                ", ".join(f"{value:.{digits}f}".lstrip("0") for value in (mine[0][0], mine[0][-1], mine[1][-1]))
            )
            assert mine[0][0] == mine[1][0]
        assert cells == " | ".join(found)
    slopes = {
        (row["model"], row["quantity"]): row["value"]
        for row in store.read_rows(REFERENCE / "llm" / "3c5ca306fba7" / "rows.csv")
    }
    shown = [slopes[name, f"{kind}_slope"] for kind in ("sharpening", "expected") for name in ("plain_rl", "ds")]
    assert [f"{value:.2f}" for value in shown] == ["1.03", "0.47", "0.52", "0.40"]
    for run, z in (("839dd5dd66ba", "+0.30"), ("c7a60561f378", "+10.09")):
        checked = {row["quantity"]: row["value"] for row in store.read_rows(REFERENCE / "llm" / run / "rows.csv")}
        expected, error = checked["check_expected"], checked["check_standard_error"]
        assert f"(`{run}`) | {expected:,.1f} +- {error:.1f} | {checked['check_observed']:,.0f} | {z} |" in README
        assert f"{checked['check_z']:+.2f}" == z
