"""Every `raise` of the layers and of sharpening/, and the test that provokes it: tests/refusals.csv.

    python -m tests.refusals [TEST_FILE ...] [-n 2 --dist loadfile]

runs these tests, or all, and writes the table anew; what other tests provoked when they last ran stays. A row is a
file, a function in it, the message with {} for what is filled in, a number that tells equal ones of a function apart,
and a test. Of several tests it names the one whose text has the most of the message; where no test gets there, none.
As the modules are imported, a call that notes the running test is put before each `raise`: forked processes note too.
"""

from __future__ import annotations

import ast
import builtins
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from functools import cache
from importlib import machinery
from pathlib import Path
from types import CodeType, ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "refusals.csv"
LAYERS = ("theory", "samples", "bandits", "llm", "figures", "sharpening")
LOG = "REFUSALS_LOG"  # the environment variable that names the file to note in
NOTE = "_note_refusal"


class Refusal(NamedTuple):
    """A `raise`, found again whatever its line is."""

    file: str
    function: str
    message: str
    number: int


COLUMNS = (*Refusal._fields, "test")


def in_text(text: str, file: str) -> dict[tuple[int, int], Refusal]:
    """Every `raise` of a text, by line and column."""
    found: dict[tuple[int, int], Refusal] = {}
    seen: Counter[tuple[str, str]] = Counter()

    def visit(node: ast.AST, function: str) -> None:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            function = f"{function}.{node.name}".lstrip(".")
        if isinstance(node, ast.Raise):
            place = function, message_of(node)
            seen[place] += 1
            found[node.lineno, node.col_offset] = Refusal(file, *place, seen[place])
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, ast.expr):
                visit(child, function)

    visit(ast.parse(text), "")
    return found


def message_of(node: ast.Raise) -> str:
    """The text that is raised, with {} for what is filled in; the statement, where its first argument is no text."""
    match node.exc:
        case ast.Call(args=[ast.Constant(value=str(text)), *_]):
            return text
        case ast.Call(args=[ast.JoinedStr(values=parts), *_]):
            return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in parts)
    return ast.unparse(node)


@cache
def of_the_tree() -> list[Refusal]:
    """Every `raise` of the layers and of sharpening/, by file and line."""
    paths = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return [one for file, text in texts.items() if "raise" in text for one in in_text(text, file).values()]


@cache
def tests_of(file: str) -> Mapping[str, str]:
    """The tests of a file and the text of each, with its decorators; none of a file that is not there."""
    path = ROOT / file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    lines = text.splitlines()
    return {
        node.name: "\n".join(lines[min(each.lineno for each in (node, *node.decorator_list)) - 1 : node.end_lineno])
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


@cache
def text_of(test: str) -> str:
    """The text of a test and of the tables of its file that it uses, pieces of a text over several lines joined."""
    file, _, name = test.partition("::")
    text, whole = tests_of(file)[name], (ROOT / file).read_text(encoding="utf-8")
    tables = [node for node in ast.parse(whole).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    named = set(re.findall(r"\w+", text))
    used = [table for node in tables if re.split(r"\W", table := ast.get_source_segment(whole, node) or "")[0] in named]
    return re.sub(r"[rf]?\"\s*\n\s*[rf]?\"", "", "\n".join([text, *used]))


def exists(test: str) -> bool:
    """Whether a test is there, by its file and function."""
    file, _, name = test.partition("::")
    return name in tests_of(file)


# While tests run: `pytest -p tests.refusals`.


def with_notes(text: str, file: str) -> ast.Module:
    """The syntax tree with a call before each `raise`, which is given the refusal."""
    found = in_text(text, file)

    class Noting(ast.NodeTransformer):
        def visit_Raise(self, node: ast.Raise) -> list[ast.stmt]:
            refusal = ast.Constant(tuple(found[node.lineno, node.col_offset]))
            call = ast.Expr(ast.Call(ast.Name(NOTE, ast.Load()), [refusal], []))
            return [ast.copy_location(call, node), node]

    tree: ast.Module = Noting().visit(ast.parse(text))
    return ast.fix_missing_locations(tree)


class _Loader(machinery.SourceFileLoader):
    """Compiles the text itself: what Python stores of compiled modules has no notes, and gets none."""

    def get_code(self, fullname: str) -> CodeType:
        file = Path(self.path).resolve().relative_to(ROOT).as_posix()
        return compile(with_notes(Path(self.path).read_text(encoding="utf-8"), file), self.path, "exec")


class _Finder:
    """Finds the modules of this project, to be loaded with notes."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> object:
        if name.split(".")[0] != "sharpening":
            return None
        spec = machinery.PathFinder.find_spec(name, path, target)
        if spec and spec.origin:
            spec.loader = _Loader(name, spec.origin)
        return spec


_noted: set[tuple[tuple[str, ...], str]] = set()


def _note(refusal: tuple[str, ...]) -> None:
    test = re.split(r"[\[ ]", os.environ.get("PYTEST_CURRENT_TEST", ""))[0]
    if test.startswith("tests/") and (refusal, test) not in _noted:
        _noted.add((refusal, test))
        with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
            log.write(json.dumps([*refusal, test]) + "\n")


if LOG in os.environ:
    setattr(builtins, NOTE, _note)
    sys.meta_path.insert(0, _Finder)


# The table.


def read() -> dict[Refusal, str]:
    """The committed table: the test of each refusal, empty for none."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {Refusal(*row[:3], int(row[3])): row[4] for row in list(csv.reader(file))[1:]}


def write(tests: Mapping[Refusal, str]) -> None:
    """Writes the table: every refusal of the tree in its order, and its test."""
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([*one, tests.get(one, "")] for one in of_the_tree())


def share_in(refusal: Refusal, text: str) -> int:
    """How many characters of a message a text has in one piece."""
    return SequenceMatcher(None, text, refusal.message, autojunk=False).find_longest_match().size


def best(refusal: Refusal, tests: set[str]) -> str:
    """Of tests that provoke a refusal the one whose text has the most of its message; of equal ones the shortest."""

    def worth(test: str) -> tuple[int, int]:
        return share_in(refusal, text_of(test)), -len(text_of(test))

    return max(sorted(filter(exists, tests)), key=worth, default="")


def observed(log: Path) -> Iterator[tuple[Refusal, str]]:
    """What was noted: a refusal and a test that provoked it."""
    for file, function, message, number, test in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
        yield Refusal(file, function, message, number), test


def main(words: Sequence[str]) -> int:
    """Runs the tests and writes the table; returns the status of pytest."""
    ran = tuple(word for word in words if word.endswith(".py")) or ("tests/",)
    tests: defaultdict[Refusal, set[str]] = defaultdict(set)
    for refusal, test in read().items():
        if not test.startswith(ran):
            tests[refusal].add(test)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        log.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.refusals", *([] if words else ["tests"]), *words]
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, LOG: str(log)}, check=False).returncode
        for refusal, test in observed(log):
            tests[refusal].add(test)
    write({refusal: best(refusal, found) for refusal, found in tests.items()})
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
