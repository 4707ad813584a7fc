"""README.md and docs/*.md as tests read them, and their generated parts, which `python -m tests.pages` writes.

A generated part lies between `<!-- begin NAME -->` and `<!-- end NAME -->`. A part `file PATH` is that file, fenced.
The index of the committed runs, results/reference/README.md, is generated whole: from the runs, from the pages that
name them, and from results/reference/runs.json, where a new run gets its name, a line and its command.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sharpening.bandits.experiments import contests
from sharpening.figures.tables import contests as contest_tables
from sharpening.figures.tables import samples as sample_tables
from sharpening.figures.tables import shapers
from sharpening.figures.tables import studies as study_tables
from sharpening.figures.tables import theory as tables
from sharpening.llm.studies import confirm, protocol
from sharpening.llm.training.configs import RunConfig
from sharpening.storage import store
from sharpening.theory import claims
from sharpening.theory.diagnosis import diagnose
from sharpening.theory.methods import calls
from sharpening.theory.methods.table import METHODS, Method

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "results" / "reference"
INDEX = REFERENCE / "README.md"
PAGES = {str(path.relative_to(ROOT)): path for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
PART = re.compile(r"(<!-- begin (.+) -->\n)(.*?)(<!-- end \2 -->)", flags=re.DOTALL)
FENCE = {".json": "json", ".yaml": "yaml", ".py": "python"}
RUNS: Mapping[str, Mapping[str, str]] = json.loads((REFERENCE / "runs.json").read_text(encoding="utf-8"))
GROUP_LEVEL = [name for name, method in METHODS.items() if method.level == "group"]


def text(page: str) -> str:
    """The text of a page, by its path from the root."""
    return PAGES[page].read_text(encoding="utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```", text(page), flags=re.MULTILINE | re.DOTALL)


def parts(page: str) -> dict[str, str]:
    """The generated parts of a page, by name, as they stand there."""
    return {found[2]: found[3] for found in PART.finditer(text(page))}


@cache
def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of a committed run, by its name in runs.json."""
    return store.read_rows(run_of(name) / "rows.csv")


def run_of(name: str) -> Path:
    """The folder of a committed run, by its name in runs.json."""
    (id,) = (id for id, run in RUNS.items() if run["name"] == name)
    (path,) = (path for path in store.list_runs(REFERENCE) if path.name == id)
    return path


# what is generated


def ledger() -> str:
    """The table that `check --markdown` writes when every claim holds, which tests/test_claims.py asks."""
    fields = ("id", "statement", "source", "kind")
    rows = [{**{name: getattr(claim, name) for name in fields}, "status": "holds"} for claim in claims.CLAIMS]
    return tables.claims_markdown(rows)


def verdicts(names: list[str]) -> str:
    """The table that `check-shaper --all --markdown` writes, of some methods."""
    found = {name: diagnose.diagnose(METHODS[name].advantage) for name in names}
    return shapers.markdown({name: diagnose.as_data(one) for name, one in found.items()})


def methods(level: str) -> str:
    """A table of the methods of a level: the first line of each one's function, its defaults and its source."""
    chosen = [method for method in METHODS.values() if (method.level == "token") is (level == "token")]
    head = "| method | what it is | parameters | source |\n|---|---|---|---|\n"
    return head + "".join(_method_line(method) for method in chosen)


def _method_line(method: Method) -> str:
    function = method.token_weight or method.advantage
    own = inspect.signature(function).parameters
    values = [
        f"`{name}={parameter.default}`"
        for name, parameter in method.parameters.items()
        if name in own and parameter.choices[:1] != (parameter.default,)  # the page says which word is the default
    ]
    what = (inspect.getdoc(function) or "").splitlines()[0].replace("|", r"\|")
    return f"| `{method.id}` | {what} | {', '.join(values) or '-'} | {method.source} |\n"


def run_fields() -> str:
    """A table of the fields of a training configuration."""
    lines = ["| field | default | what it says |\n|---|---|---|\n"]
    for name, field in RunConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = f"`{json.dumps(default)}`" if default not in ("", {}) else "-"
        lines.append(f"| `{name}` | {shown} | {str(field.description).replace('|', chr(92) + '|')} |\n")
    return "".join(lines)


GENERATED: Mapping[str, Callable[[], str]] = {
    "claims": ledger,
    "verdicts": lambda: verdicts(GROUP_LEVEL),
    "group methods": lambda: methods("group"),
    "token methods": lambda: methods("token"),
    "presets": lambda: f"{calls.preset_table()}\n",
    "run fields": run_fields,
    "prediction": lambda: tables.matched_markdown(rows_of("countdown_prediction")),
    "matched prompts": lambda: contest_tables.standings_markdown(contests.standings(rows_of("tuned_matched"))),
    "matched tables": lambda: contest_tables.standings_markdown(contests.standings(rows_of("tuned_shared_matched"))),
    "tuned prompts": lambda: contest_tables.measure_markdown(
        contests.standings(rows_of("tuned_single")), "answers_at_99"
    ),
    "tuned tables": lambda: contest_tables.standings_markdown(contests.standings(rows_of("tuned_shared"))),
    "motion": lambda: contest_tables.motions_markdown(rows_of("motion")),
    "strengths": lambda: contest_tables.strengths_markdown(contests.by_strength(rows_of("tuned_single"))),
    "study settings": lambda: study_tables.settings_markdown(rows_of("study_setting")),
    "study standings": lambda: study_tables.standings_markdown(rows_of("study_runs"), rows_of("study_summary")),
    "pretrained study": lambda: study_tables.standings_markdown(
        rows_of("pretrained_runs"), rows_of("pretrained_summary")
    ),
    "one rate": lambda: study_tables.standings_markdown(rows_of("one_rate_runs"), rows_of("one_rate_summary")),
    "one rate predictions": lambda: study_tables.predictions_markdown(rows_of("one_rate_predictions")),
    "ablations": lambda: study_tables.standings_markdown(rows_of("ablation_runs"), rows_of("ablation_summary")),
    "study short": lambda: study_tables.short_markdown(rows_of("study_runs"), rows_of("study_summary")),
    "study others": lambda: study_tables.others_markdown(
        rows_of("study_summary"), confirm.others(rows_of("study_runs"), protocol.FULL.setting.steps)
    ),
    "study frontier": lambda: study_tables.frontier_markdown(rows_of("study_runs")),
    "study predictions": lambda: study_tables.predictions_markdown(rows_of("study_predictions")),
    "study tuning": lambda: study_tables.tuning_markdown(rows_of("study_runs")),
    "pass@k": lambda: sample_tables.pass_at_k_markdown(rows_of("three_models"), (1, 8, 64)),
}


def generated(name: str) -> str:
    """What a part has to be."""
    if name.startswith("file "):
        path = ROOT / name.removeprefix("file ")
        return f"```{FENCE[path.suffix]}\n{path.read_text(encoding='utf-8')}```\n"
    return GENERATED[name]()


def index() -> str:
    """The page results/reference/README.md: what each committed run is, where it is shown, and how to make it again."""
    shown = {page: text(page) for page in PAGES}
    lines = [
        "# Committed runs\n\nWritten by `python -m tests.pages`. `results verify --out results/reference` checks each\n"
        "file, and `results show ID --out results/reference` prints a run's configuration. A command makes its run\n"
        "again under `results/`, with the same id; seconds are those of the committed run, on two shared cores.\n"
    ]
    for layer in store.RESULT_VERSION:
        lines.append(
            f"\n## {layer}\n\n| name | run | what it is | shown in | command | seconds |\n|---|---|---|---|---|---|\n"
        )
        for path in (path for path in store.list_runs(REFERENCE) if path.parent.name == layer):
            run = RUNS[path.name]
            made = json.loads((path / "provenance.json").read_text(encoding="utf-8"))
            where = [f"[{Path(page).stem}](../../{page})" for page, words in shown.items() if path.name in words]
            cells = (run["name"], f"[`{path.name}`]({layer}/{path.name})", run["what"], ", ".join(where) or "-")
            lines.append(f"| {' | '.join(cells)} | `{run['command']}` | {made['seconds']:.0f} |\n")
    return "".join(lines)


def main(names: list[str]) -> None:
    """Writes the named parts, all if none is named, and the index; the verdicts take two minutes."""

    def renewed(found: re.Match[str]) -> str:
        return f"{found[1]}{generated(found[2])}{found[4]}" if found[2] in names or not names else found[0]

    for page, path in PAGES.items():
        path.write_text(PART.sub(renewed, text(page)), encoding="utf-8")
    INDEX.write_text(index(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
