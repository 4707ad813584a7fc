"""The test session: Hypothesis profiles and storage, and the lines that tests add to the summary."""

import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from typing import TypeVar

import pytest
from hypothesis import settings

# `deterministic` draws the same examples in every run. `pytest --hypothesis-profile explore` looks further.
settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.register_profile("explore", max_examples=2_000, database=None, deadline=None)
settings.load_profile("deterministic")

# Every worker has one core: torch takes all of them otherwise, in its threads and in those of every command it starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks a hub

# Hypothesis keeps constants of our modules and tables of Unicode even where it has no database of examples.
_storage = tempfile.TemporaryDirectory(prefix="hypothesis-")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = _storage.name

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a script; tests interrupt what they start
    signal.signal(signal.SIGINT, signal.default_int_handler)

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)
NO_SKIPS = bool(os.environ.get("NO_SKIPS"))  # a test that is skipped has failed: where all that tests need is there
collect_ignore = [] if importlib.util.find_spec("verl") else ["test_verl.py"]


def judged(report: Report) -> Report:
    """The report, a failed one for a skipped one with NO_SKIPS=1."""
    if NO_SKIPS and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"NO_SKIPS is set, and it was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With NO_SKIPS=1 a skipped test is a failed one."""
    return judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same of a whole file."""
    return judged((yield))


def pytest_unconfigure() -> None:
    """Remove what Hypothesis stored."""
    _storage.cleanup()


@pytest.fixture(scope="session", autouse=True)
def only_names_under_sharpening() -> Iterator[None]:
    """After the last test of every worker: no module was loaded a second time, under a generic name."""
    yield
    layers = ("theory", "samples", "bandits", "llm", "figures")
    assert [name for name in sys.modules if name.split(".")[0] in layers] == []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded with `record_property("summary", line)`, sorted, above the closing line."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    lines = {str(value) for report in reports for key, value in report.user_properties if key == "summary"}
    if lines:
        terminalreporter.section("what the tests measured")
    for line in sorted(lines):
        terminalreporter.write_line(line)
