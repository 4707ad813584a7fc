"""Every page is followed by pasting: its commands and its code run, its links lead somewhere, its parts are current.

The commands of all pages run in one folder, each once, in the order of the pages (`make test-all`): a model that one
page teaches is there for the next.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from joblib.externals.loky import get_reusable_executor

from sharpening import cli
from sharpening.llm import own_task
from sharpening.llm.training import configs
from sharpening.storage import store
from tests import command_line, pages
from tests.pages import PAGES, REFERENCE, ROOT, RUNS, text

pytestmark = [  # what transformers says of its own options
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]
LARGEST, LARGEST_README, WITHOUT_LIMIT = 20_480, 12_288, "docs/theory.md"
LINES = list(
    dict.fromkeys(line for page in PAGES for block in pages.blocks(page, "bash") for line in block.splitlines())
)
OURS = [line for line in LINES if line.startswith("sharpening ")]
RUN_ELSEWHERE = (  # tests/test_entry_point.py reads every line of the first, `make repro` is the second
    "sharpening check",
    "sharpening all --preset smoke",
)
PLACEHOLDERS = ("sharpening samples before.csv after.csv",)  # the README's first: files of the reader
A_STEP = "steps=1 prompts_per_step=1 group_size=2 micro_batch=2"
SHORTER = {  # what takes an hour with a pretrained model, made small
    "sharpening warm-start --model models/smollm2 --folder models/taught": "--set steps=2 batch=4 pool=40",
    "sharpening evaluate models/smollm2 --task lists --n 64": "--limit 2 --n 2",
    "sharpening study --preset pretrained --model models/taught": "--dry-run",
    "sharpening llm examples/countdown_smollm2.yaml --method dr_grpo --folder models/taught_plain": f"--set {A_STEP}",
    "sharpening llm examples/countdown_smollm2.yaml --folder models/taught_ds": f"--set {A_STEP}",
    # after two steps of teaching it is refused, as it should be: listed answers have next to no probability
    "sharpening audit models/taught models/taught_plain/model models/taught_ds/model --limit 50": "--help",
    "sharpening llm examples/names_smollm2.yaml --method dr_grpo --folder models/plain_rl": f"--set {A_STEP}",
    "sharpening llm examples/names_smollm2.yaml --folder models/ds": f"--set {A_STEP}",
    "sharpening audit models/smollm2 models/plain_rl/model models/ds/model --task lists --split test": "--limit 1",
}
RUN = [line for line in OURS if line not in RUN_ELSEWHERE + PLACEHOLDERS]
SPANS = sorted({span for page in PAGES for span in re.findall(r"`(sharpening [a-z-]+ [^`]*)`", text(page))})
PRINTED = re.compile(r"<!-- printed by: (.+) -->\n```text\n(.*?)```", flags=re.DOTALL)
TINY = """
import datasets
from examples.own_verifier import is_correct

def your_reward(completions, answer, **_):
    return [float(is_correct(*pair)) for pair in zip(completions, answer)]

def small(**given):
    return GRPOConfig(**given, use_cpu=True, bf16=False, max_steps=2, logging_steps=1, per_device_train_batch_size=16,
                      max_completion_length=8, learning_rate=1e-3, top_k=0, save_strategy="no")

your_dataset = datasets.load_dataset("json", data_files=DATA, split="train")
"""


# Pages.


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_short(page: str) -> None:
    size = PAGES[page].stat().st_size
    assert page == WITHOUT_LIMIT or size <= (LARGEST_README if page == "README.md" else LARGEST)


@pytest.mark.parametrize("page", [*PAGES, "results/reference/README.md", "examples/public/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    """Files exist, and a heading of that name is in the page where a link has one."""
    words = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", words):
        name, _, heading = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE) if heading else []
        anchors = [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]
        assert not heading or heading in anchors, target


def test_every_page_is_found_from_the_first() -> None:
    assert {page for page in PAGES if f"({page})" not in text("README.md")} == {"README.md"}


@pytest.mark.parametrize("page", PAGES)
def test_generated_parts_are_current(page: str) -> None:
    """All but the table of verdicts, which takes a minute; `python -m tests.pages` writes them."""
    for name, part in pages.parts(page).items():
        assert name == "verdicts" or part == pages.generated(name), f"{page}, {name}: want python -m tests.pages"


def test_every_part_that_can_be_generated_is_somewhere() -> None:
    found = [name for page in PAGES for name in pages.parts(page) if not name.startswith("file ")]
    assert sorted(found) == sorted(pages.GENERATED)


@pytest.mark.slow
def test_the_table_of_verdicts_is_current() -> None:
    """The line of DS is diagnosed again; every group-level method has one, in their order."""
    head, rule, *lines = pages.parts("docs/methods.md")["verdicts"].splitlines()
    assert re.findall(r"^\| `(\w+)` ", "\n".join(lines), flags=re.MULTILINE) == pages.GROUP_LEVEL
    assert [head, rule, lines[pages.GROUP_LEVEL.index("ds")]] == pages.verdicts(["ds"]).splitlines()


# Commands.


def test_the_commands_were_found() -> None:
    """There is something to test, for every command; what is made smaller is on a page."""
    assert set(SHORTER) <= set(RUN)
    assert {line.split()[1] for line in OURS} == set(cli.COMMANDS)


@pytest.mark.parametrize("line", [line for line in LINES if line not in OURS])
def test_every_other_line_is_of_a_known_kind(line: str) -> None:
    """`make` has the target, pip the extra; nothing else is asked of a reader."""
    words = shlex.split(line, comments=True)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    if words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    else:
        assert words[:2] == ["pip", "install"]
        assert set(re.findall(r"\[(\w+)\]", words[2])) <= set(extras)


@pytest.mark.parametrize("span", SPANS)
def test_a_command_in_a_sentence_has_options_that_exist(span: str) -> None:
    """Its files and runs need not be there."""
    model, _ = cli.command_of(span.split()[1])
    name, *options = shlex.split(span)[1:]
    given = vars(cli.parser_of(name).parse_args(options))
    assert set(given) <= {field.alias or key for key, field in model.model_fields.items()} | set(model.model_fields)


def test_a_benchmark_in_a_sentence_is_there() -> None:
    every = "\n".join(map(text, PAGES))
    modules = re.findall(r"python -m ((?:benchmarks|tests)\.\w+)", every)
    scripts = re.findall(r"python (benchmarks/\w+\.py)", every)
    assert len(modules) > 2
    assert all(importlib.util.find_spec(name) for name in modules)
    assert all((ROOT / name).is_file() for name in scripts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader pastes every command: the examples and the committed runs are there, as in a clone."""
    made = tmp_path_factory.mktemp("clone")
    (made / "examples").symlink_to(ROOT / "examples")
    (made / "results").mkdir()
    (made / "results" / "reference").symlink_to(REFERENCE)
    return made


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """What every command printed."""
    return {}


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That folder, as the working folder; a command leaves no processes to the next one, which a user starts anew."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    yield folder
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.slow
@pytest.mark.parametrize("line", RUN, ids=lambda line: line.removeprefix("sharpening "))
def test_every_command_runs(line: str, here: Path, said: dict[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    """Pasted, it exits with 0 and prints no error."""
    done = command_line.runner(capfd)(*shlex.split(f"{line} {SHORTER.get(line, '')}", comments=True)[1:])
    assert (done.status, done.err) == (0, ""), done.out[-2000:]
    said[line] = done.out


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if PRINTED.search(text(page))])
def test_quoted_output_is_current(page: str, said: dict[str, str]) -> None:
    """Every quoted line is printed by the command, in that order."""
    for line, quoted in PRINTED.findall(text(page)):
        printed = iter(said[line].splitlines())
        assert [row for row in quoted.splitlines() if row not in printed] == []


@pytest.mark.slow
def test_what_the_commands_stored_is_whole_and_has_the_ids_of_the_committed_runs(folder: Path) -> None:
    """A command of a page makes a committed run again, where the index says that this command does."""
    found = store.list_runs(folder / "results")
    assert [problem for run in found for problem in store.verify_run(run)] == []
    again = {id for id, run in RUNS.items() if run["command"] in RUN}
    assert len(again) > 2
    assert again <= {run.name for run in found}


@pytest.mark.slow
def test_the_dry_run_says_what_the_page_promises(said: dict[str, str]) -> None:
    plan = said["sharpening llm examples/own_run.yaml --dry-run"]
    for words in (
        "the verifier on 20 known solutions",
        "\nmemory: about ",
        "\ndisk: about ",
        "\nverifier: examples/own_",
    ):
        assert words in plan


@pytest.mark.slow
def test_the_trained_model_is_where_the_page_says(folder: Path) -> None:
    assert (folder / "runs" / "own" / "model" / "model.safetensors").is_file()


# Code.


@pytest.mark.parametrize("code", pages.blocks("docs/architecture.md", "python"))
def test_the_python_example_runs_from_another_folder(code: str, tmp_path: Path) -> None:
    (tmp_path / "my_script.py").write_text(code, encoding="utf-8")
    done = ran_in(tmp_path, "my_script.py")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_lines_for_trl_are_the_same_on_both_pages_and_train(folder: Path, tmp_path: Path) -> None:
    """Five lines around a user's own, in a folder of the user's: two steps, with the ratio in the log."""
    (script,) = pages.blocks("README.md", "python")
    assert script in pages.blocks("docs/train.md", "python")
    model, data = folder / "models" / "smoke", ROOT / "examples" / "own_prompts.jsonl"
    assert "GRPOConfig(output_dir" in script
    assert '"your/model"' in script
    script = script.replace("GRPOConfig(output_dir", "small(output_dir").replace('"your/model"', f'"{model}"')
    (tmp_path / "script.py").write_text(
        f"DATA = {str(data)!r}\n{TINY}\n{script}\n"
        "trainer.train()\nprint(*sorted({name for entry in trainer.state.log_history for name in entry}))\n"
    )
    done = ran_in(tmp_path, "script.py")
    assert done.returncode == 0, done.stderr[-3000:]
    logged = set(done.stdout.splitlines()[-1].split())
    page = re.findall(r"^\| `(method/\w+)` \|", text("docs/train.md"), flags=re.MULTILINE)
    assert {name for name in logged if name.startswith("method/")} == set(page)


def ran_in(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, script], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_the_line_of_data_on_the_page_is_in_the_file_and_its_solutions_are_correct() -> None:
    path = ROOT / "examples" / "own_prompts.jsonl"
    assert pages.blocks("docs/train.md", "text")[0].strip() in path.read_text(encoding="utf-8").splitlines()
    verifier = own_task.load_verifier(f"{ROOT / 'examples' / 'own_verifier.py'}:is_correct")
    task = own_task.load(path, "prompt", "answer", verifier, solution_column="solution")
    assert {mark.correct for mark in task.marks(range(64), task.solutions, [True] * 64)} == {1.0}
    others = task.solutions[1:] + task.solutions[:1]
    assert {mark.correct for mark in task.marks(range(64), others, [True] * 64)} == {0.0}


def test_the_messages_that_are_explained_are_ones_that_the_code_has() -> None:
    """The longest piece of each between dots and names in capitals, but those of a shell, make or pip."""
    cells = re.findall(r"^\| `([^`]+)`", text("docs/troubleshooting.md"), flags=re.MULTILINE)
    ours = [cell for cell in cells if not cell.startswith(("sharpening: command not found", "PYTHON="))]
    layers = ("sharpening", "theory", "samples", "bandits", "llm", "figures")
    code = "\n".join(path.read_text(encoding="utf-8") for layer in layers for path in (ROOT / layer).rglob("*.py"))
    whole = re.sub(r'"\s*\n\s*f?"', "", code)  # a text over several lines
    pieces = {cell: max(re.split(r"\.\.\.|\b[A-Z]{4,}\b", cell), key=len).strip(": ") for cell in ours}
    assert len(pieces) > 8
    assert [cell for cell, piece in pieces.items() if piece not in whole] == []


# The index of committed runs.


def test_the_index_is_current() -> None:
    """Every committed run has a name, a line and a command; `python -m tests.pages` writes the page."""
    assert sorted(RUNS) == sorted(path.name for path in store.list_runs(REFERENCE))
    assert len({run["name"] for run in RUNS.values()}) == len(RUNS)
    assert pages.INDEX.read_text(encoding="utf-8") == pages.index()


@pytest.mark.parametrize("id", RUNS)
def test_the_command_of_a_committed_run_makes_its_configuration(id: str) -> None:
    """The options that it gives, or that are the command's defaults, are those that are stored."""
    path = pages.run_of(RUNS[id]["name"])
    stored = json.loads((path / "config.json").read_text(encoding="utf-8"))["config"]
    words = shlex.split(RUNS[id]["command"])[1:]
    assert words[0] == stored["command"]
    model, _ = cli.command_of(words[0])
    given = vars(cli.parser_of(words[0]).parse_args(words[1:]))
    options = model(**given).model_dump(mode="json", by_alias=True)
    if words[0] == "llm":
        changes = {key: given[key] for key in ("method", "seed") if key in given}
        changes |= dict(text.split("=") for text in given.get("set", ()))
        options = configs.named_or_read(given["config"], changes).model_dump(mode="json")
    if words[0] in ("samples", "rates"):
        options["files"] += [options.pop(key) for key in ("training", "curves") if options.get(key)]
        assert [Path(name).name for name in options.pop("files")] == [one["file"] for one in stored["files"]]
    if words[0] == "figures":
        assert options["only"] == [stored["figure"]]
    if words[0] == "bandits" and stored["table"] != "findings":
        assert options["only"] == [stored["table"]]
    if words[0] == "audit":
        assert sorted([*options.pop("models"), *options["model"]]) == sorted(stored["models"])
        assert bool(options.pop("check")) == ("check" in stored)
        assert options.pop("problems") is None  # drawn: what is stored is their kind
        trained = stored.get("transfer")
        assert options.pop("transfer") == (trained is not None)
        assert trained is None or all(options[name] == trained[name] for name in ("train_method", "group_size"))
    shared = options.keys() & stored.keys()
    assert {key: options[key] for key in shared} == {key: stored[key] for key in shared}
