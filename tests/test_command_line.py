"""The command line itself: help that answers, names that are nearly right, examples that run, Ctrl-C at any time."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sharpening
from sharpening import cli, stop
from sharpening.__main__ import main
from sharpening.commands import catalogue
from sharpening.theory.rows import prediction

ROOT = Path(__file__).resolve().parent.parent
INTERRUPTED = (128 + signal.SIGINT, b"sharpening: interrupted\n")
RUN_HERE = {"samples", "preview", "simulate", "figures", "results"}  # seconds altogether


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.parametrize(("words", "status"), [((), 2), (("--help",), 0), (("-h",), 0)])
def test_without_a_command_the_help_has_every_command_in_four_groups(words, status, wide, capsys) -> None:
    """Each command on a line of its own below one of four titles, each group with an example; not an error's text."""
    assert cli.main(words) == status
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    titles = [line for line in lines if re.fullmatch(r"[a-z ]+:", line)]
    assert titles == ["your model:", "your method:", "train:", "paper:"]
    assert [line.split()[0] for line in lines if re.match(r"  [a-z-]+ +\w", line) and "e.g." not in line] == list(
        cli.COMMANDS
    )
    assert sum(line.startswith("  e.g. sharpening ") for line in lines) == len(titles)
    assert max(map(len, lines)) < 100


def test_the_help_imports_no_command() -> None:
    code = "import sys; from sharpening import cli; cli.main(['--help']); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_version_is_that_of_the_package(capsys) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"sharpening {sharpening.__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_a_command_ends_with_examples_and_shows_every_default(name: str, wide, capsys) -> None:
    """The examples are those of the catalogue, whole lines; a default of 0 is shown as any other."""
    with pytest.raises(SystemExit) as left:
        cli.main([name, "--help"])
    assert left.value.code == 0
    out = capsys.readouterr().out
    examples = [f"  sharpening {example}" for example in catalogue.COMMANDS[name].examples]
    assert out.splitlines()[-len(examples) :] == examples
    model, _ = cli.command_of(name)
    told = " ".join(out.split())
    for key, field in model.model_fields.items():
        if not field.is_required() and isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert re.search(rf"--{(field.alias or key).replace('_', '-')} .*?\(default: {field.default}\)", told)


def test_examples_name_the_script_where_it_was_called(capsys, monkeypatch) -> None:
    """From a clone without installation there is no `sharpening` to call."""
    monkeypatch.setattr(sys, "argv", ["somewhere/paper_repro.py"])
    cli.main(["--help"])
    assert "  e.g. python paper_repro.py check-shaper ds\n" in capsys.readouterr().out


EXAMPLES = [example for command in catalogue.COMMANDS.values() for example in command.examples]
QUICK = [example for example in EXAMPLES if example.split()[0] in RUN_HERE or example.endswith("--list")]


@pytest.mark.parametrize("example", QUICK)
def test_the_quick_examples_run(example: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """Pasted in a folder that has the clone's examples: exit status 0 and no error line."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "base.jsonl").write_text('{"problem": 1, "correct": 1}\n{"problem": 1, "correct": 0}\n')
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(example)) == 0
    assert "sharpening:" not in capsys.readouterr().err


@pytest.mark.parametrize("example", [example for example in EXAMPLES if example not in QUICK])
def test_the_other_examples_are_valid_and_name_files_that_are_there(example: str) -> None:
    """Their options are accepted, and what they read is in the clone; other tests run the commands."""
    name, *words = shlex.split(example)
    cli.command_of(name)[0](**vars(cli.parser_of(name).parse_args(words)))
    for word in words:
        if word.startswith(("examples/", "results/")):
            assert (ROOT / word.partition(":")[0]).exists()


NEARLY = {
    ("chek",): "'chek' is no command: did you mean check? want one of samples, ",
    ("shaper", "ds"): "'shaper' is no command: did you mean check-shaper? ",
    ("--seed", "1", "check"): "'--seed' is no option before a command: want one of ",
    ("zzz",): "'zzz' is no command: want one of ",
    ("predict", "x.csv", "--jsn", "y"): "unrecognized arguments: --jsn y: did you mean --json? see ",
    ("predict", "x.csv", "y.csv"): "unrecognized arguments: y.csv: see sharpening predict --help",
    ("check-shaper", "ds", "--gamma-correct=.3"): (
        "unrecognized arguments: --gamma-correct=.3: a parameter is given by --set gamma_correct=.3; see "
    ),
    ("check-shaper", "dr-grpo"): "'dr-grpo' is not a method: did you mean dr_grpo? want FILE.py:FUNCTION or one of ",
    ("check-shaper", "DS"): "'DS' is not a method: did you mean ds? ",
    ("check-shaper", "ds", "--set", "gamma_corect=1"): (
        "'gamma_corect' is not a parameter of ds: did you mean gamma_correct? it has gamma_correct, "
    ),
    ("check-shaper", "ds", "--set", "reference=bse"): "reference is 'bse': did you mean base? it must be one of ",
    ("bandits", "--only", "drfit"): "--only: 'drfit' is no experiment: did you mean drift? want some of ",
    ("figures", "--only", "phase-portrait"): (
        "--only: 'phase-portrait' is not a figure: did you mean phase_portrait? want some of "
    ),
}


@pytest.mark.parametrize(("words", "message"), NEARLY.items(), ids=[" ".join(words) for words in NEARLY])
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(words, message: str, capsys) -> None:
    try:
        status = cli.main(words)
    except SystemExit as error:
        status = error.code
    out, err = capsys.readouterr()
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.partition(": ")[2].startswith(message)


# Ctrl-C


@pytest.fixture
def _handler_comes_back() -> Iterator[None]:
    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook


@pytest.mark.usefixtures("_handler_comes_back")
def test_an_interrupt_is_one_line_and_leaves_no_file(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt(*_: Any) -> Iterator[Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(prediction, "predict", interrupt)
    monkeypatch.setattr(sys, "argv", ["sharpening", "predict", str(ROOT / "examples" / "countdown_answers.csv")])
    monkeypatch.chdir(tmp_path)
    assert main() == INTERRUPTED[0]
    assert capsys.readouterr() == ("", INTERRUPTED[1].decode())
    assert list(tmp_path.iterdir()) == []


SWALLOWS = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
except BaseException:
    pass
"""


def test_an_interrupt_while_modules_are_imported_is_one_line_even_if_one_of_them_swallows_it(tmp_path: Path) -> None:
    """A module of the standard library that the command line imports is replaced by one that is interrupted."""
    (tmp_path / "textwrap.py").write_text(SWALLOWS)
    command = [sys.executable, "-c", "import sys; from sharpening.__main__ import main; sys.exit(main())"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == INTERRUPTED


DROPPED = """
import gc, os, signal, sys, time
from sharpening import stop
stop.at_once()
stop.by_exception()
def callback(phase, info):
    gc.callbacks.remove(callback)
    os.kill(os.getpid(), signal.SIGINT)
    sum(range(1000))
gc.callbacks.append(callback)
try:
    gc.collect()
    time.sleep(20)
except KeyboardInterrupt:
    sys.exit(stop.end())
"""


def test_an_interrupt_that_python_has_to_drop_comes_again() -> None:
    """An exception in a callback of the garbage collector is dropped: Hypothesis has one, and one in four was lost."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", DROPPED], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == INTERRUPTED
    assert time.monotonic() - start < 15


def test_a_process_that_ignores_interrupts_goes_on_doing_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under nohup, or in a shell's background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stop.at_once()
        stop.by_exception()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
