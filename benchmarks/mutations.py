"""Mutants of `theory/` outside claims and diagnosis: one edit at a time, and whether the tests of that module see it.

    PYTHONPATH=. python -m benchmarks.mutations [--count 1500] [--minutes 25] [--again] [--out mutations.jsonl]

A mutant changes one operator, comparison, number, truth value, condition or name (min for max, any for all, ...), or
leaves out one call that is a statement. All mutants are listed, in the order of a hash, and the first `--count` are
tried. One line of JSON a mutant is appended to `--out`, so a campaign that was stopped goes on; `--again` tries those
that survived once more, after tests were added. A mutant is known by file, function, edit and its number among equal
edits there, not by its line. `benchmarks/equivalent_mutants.csv` names those that change nothing, with an argument.

A mutant runs in a child of a process that has imported the libraries but nothing of ours, with the mutated module in
the place of the file; Hypothesis does not shrink. Where the tests of the module pass, the claims run whose check names
the function. A mutant that takes four times as long as the tests, and a minute, counts as seen.

Left out: strings, type annotations, arguments of decorators; tests that alone take over `LONGEST` seconds.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import hashlib
import importlib.abc
import importlib.machinery
import inspect
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import Phase, settings
from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]
EQUIVALENTS = ROOT / "benchmarks" / "equivalent_mutants.csv"
OUT = "mutations.jsonl"
LONGEST = 8.0  # seconds of a test that is left out
PATIENCE, LEAST_PATIENCE = 4.0, 60.0  # times the seconds of the tests, and seconds
TESTS = {
    "estimators.py": ("estimators", "samples", "theory_details"),
    "policies.py": ("policies",),
    "shaping.py": ("shaping",),
    "flow/dynamics.py": ("dynamics",),
    "flow/matched.py": ("strategies", "sharpening"),
    "flow/rarity.py": ("evening",),
    "flow/rate_path.py": ("rates",),
    "flow/evening.py": ("evening",),
    "flow/smoothing.py": ("smoothing", "theory_details"),
    "flow/strategies.py": ("strategies",),
    "flow/styles.py": ("evening",),
    "flow/transfer.py": ("transfer_theory",),
    "flow/vanilla_path.py": ("vanilla_path",),
    "groups/expectations.py": ("groups",),
    "groups/expected_flow.py": ("expected_flow", "theory_details"),
    "groups/sampling.py": ("groups", "theory_details"),
    "methods/baselines.py": ("advantages", "shaped_advantages", "method_details", "methods", "theory_details"),
    "methods/calls.py": ("methods", "method_details", "user_functions", "token_weights", "theory_details"),
    "methods/caveats.py": ("methods",),
    "methods/clusters.py": ("shaped_advantages", "methods", "theory_details"),
    "methods/diversity.py": ("shaped_advantages", "method_details"),
    "methods/origins.py": ("methods",),
    "methods/scorable.py": ("methods",),
    "methods/sharing.py": ("evening",),
    "methods/spelling.py": ("spellings", "methods", "theory_details"),
    "methods/table.py": ("methods", "method_details", "token_weights", "theory_details"),
    "methods/terms.py": ("shaped_advantages", "method_details"),
    "methods/token_weights.py": ("token_weights", "method_details", "theory_details"),
    "methods/user_functions.py": ("user_functions",),
    "optimum/divergences.py": ("divergences",),
    "optimum/dominance.py": ("dominance",),
    "optimum/optima.py": ("optima",),
    "rows/figures.py": ("figure_rows", "theory_details"),
    "rows/prediction.py": ("prediction", "theory_details"),
}
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    **{ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Pow: ast.Mult},
    **{ast.FloorDiv: ast.Div, ast.Mod: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd},
    **{ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq},
    **{ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And},
}
_PAIRS = (("min", "max"), ("argmin", "argmax"), ("minimum", "maximum"), ("any", "all"), ("floor", "ceil"))
NAMES = {
    **dict(_PAIRS),
    **{second: first for first, second in _PAIRS},
    **{"expm1": "exp", "log1p": "log", "zeros_like": "ones_like", "ones_like": "zeros_like"},
}


@dataclass(frozen=True)
class Mutant:
    """One edit of a file below `theory/`: what the mutant is known by, and the source with it, if asked for."""

    file: str
    key: str
    source: str


def _edited(node: ast.AST) -> Iterator[ast.AST]:
    """The node with one edit, for every edit that it allows."""
    new: Any = copy.copy(node)
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) | ast.BoolOp(op=op) if type(op) in OPERATORS:
            new.op = OPERATORS[type(op)]()
            yield new
        case ast.Compare(ops=[op, *rest]):
            new.ops = [OPERATORS[type(op)](), *rest]
            yield new
        case ast.UnaryOp(op=ast.USub() | ast.Not() | ast.Invert(), operand=operand):
            yield operand
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.Constant(value=float() as value):
            yield ast.Constant(2 * value if value else 1.0)
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name], node.ctx)
        case ast.Attribute(attr=name) if name in NAMES:
            new.attr = NAMES[name]
            yield new
        case ast.IfExp(test=test) | ast.If(test=test) if not isinstance(test, ast.Compare):
            new.test = ast.UnaryOp(ast.Not(), test)
            yield new
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()


def _places(node: ast.AST, function: str = "") -> Iterator[tuple[ast.AST, str, int | None, ast.AST, str]]:
    """Every (parent, field, index, child, function around it) that may be edited."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        function = f"{function}.{node.name}".lstrip(".")
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "type_comment"):
            continue
        for index, child in enumerate(value) if isinstance(value, list) else ((None, value),):
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield node, field, index, child, function
                yield from _places(child, function)


def _put(parent: ast.AST, field: str, index: int | None, child: ast.AST) -> None:
    if index is None:
        setattr(parent, field, child)
    else:
        vars(parent)[field][index] = child


def _words(node: ast.AST) -> str:
    """The node in one line: of an `if`, its condition."""
    shown = node.test if isinstance(node, ast.If) else node
    return ast.unparse(ast.fix_missing_locations(copy.deepcopy(shown)))


def mutants(file: str, source: str, wanted: str = "") -> Iterator[Mutant]:
    """Every mutant of a file, in the order of the text; the one of the key that is wanted with its source."""
    tree, seen = ast.parse(source), dict[tuple[str, str], int]()
    for parent, field, index, child, function in list(_places(tree)):
        for edited in _edited(child):
            edit = f"{_words(child)} -> {_words(edited)}"
            number = seen[function, edit] = seen.get((function, edit), -1) + 1
            key, text = f"{file}: {function}: {edit} #{number}", ""
            if key == wanted:
                _put(parent, field, index, edited)
                text = ast.unparse(ast.fix_missing_locations(tree))
                _put(parent, field, index, child)
            yield Mutant(file, key, text)


def _source(file: str) -> str:
    return (ROOT / "theory" / file).read_text(encoding="utf-8")


def all_mutants() -> list[Mutant]:
    """The mutants of every file that has tests, in the order in which a campaign tries them."""
    found = [mutant for file in TESTS for mutant in mutants(file, _source(file))]
    return sorted(found, key=lambda mutant: hashlib.sha256(mutant.key.encode()).digest())


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from another source."""

    def __init__(self, module: str, source: str) -> None:
        self.module, self.source = module, source

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name != self.module:
            return None
        file = str(ROOT / "sharpening" / f"{'/'.join(name.split('.')[1:])}.py")
        spec = importlib.machinery.ModuleSpec(name, self, origin=file)
        spec.has_location = True
        return spec

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(module.__file__), "exec"), vars(module))  # our own text, with one edit


class _Session:
    """A plugin of pytest: the mutated module, no shrinking, and the seconds of every test."""

    def __init__(self, finders: list[_Mutated]) -> None:
        self.finders = finders
        self.seconds: dict[str, float] = {}

    def pytest_collection(self) -> None:
        sys.meta_path[:0] = self.finders  # before pytest's own, which takes files that are named in its arguments
        settings.register_profile("campaign", settings(phases=(Phase.explicit, Phase.generate)))
        settings.load_profile("campaign")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration


def _run_tests(file: str, mutant: Mutant | None, left_out: Sequence[str], notes: Path | None) -> int:
    """In a child: the tests of a file, with its source replaced, and the claims; the exit status."""
    module = "sharpening.theory." + file.removesuffix(".py").replace("/", ".")
    plugin = _Session([] if mutant is None else [_Mutated(module, mutant.source)])
    paths = [f"sharpening/theory/{file}", *(f"tests/test_{name}.py" for name in TESTS[file])]
    words = ["-x", "-q", "-m", "not other_package", "-p", "no:cacheprovider", "-p", "no:xdist"]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    status = int(pytest.main([*words, *(f"--deselect={id}" for id in left_out), *paths], plugins=[plugin]))
    if notes is not None:
        notes.write_text(json.dumps(plugin.seconds))
    return status or (mutant is not None and not _claims_hold(module, mutant.key.split(": ")[1].split(".")[0]))


def _claims_hold(module: str, function: str) -> bool:
    """Whether the claims hold whose check names the function; without one, those whose formulas the module has."""
    from sharpening.theory import claims
    from sharpening.theory.claims import ledger

    named = [one for one in claims.CLAIMS if function and function in inspect.getsource(one.check)]
    own = named or [one for one in claims.CLAIMS if one.formula.startswith(f"{module}:")]
    return all(ledger.run(one, 0).holds for one in own)


def in_child(
    file: str, mutant: Mutant | None, patience: float, left_out: Sequence[str] = (), notes: Path | None = None
) -> tuple[str, float]:
    """What a forked child says of the tests: `killed`, `survived` or `late`, and its seconds."""
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            os._exit(_run_tests(file, mutant, left_out, notes))
        except BaseException:
            os._exit(9)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        seconds = time.monotonic() - start
        if done:
            return ("survived" if os.waitstatus_to_exitcode(status) == 0 else "killed"), seconds
        if seconds > patience:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "late", seconds
        time.sleep(0.01)


def baseline(file: str, notes: Path) -> tuple[list[str], float]:
    """The tests of an unchanged file that are too long, and the seconds of the others; raises if one fails."""
    said, seconds = in_child(file, None, 600.0, (), notes)
    if said != "survived":
        raise RuntimeError(f"{file}: its tests fail without an edit")
    too_long = {id: spent for id, spent in json.loads(notes.read_text()).items() if spent > LONGEST}
    return list(too_long), seconds - sum(too_long.values())


def equivalents() -> dict[str, str]:
    """The argument for every mutant that changes nothing, by key."""
    with EQUIVALENTS.open(encoding="utf-8", newline="") as lines:
        return {row["mutant"]: row["argument"] for row in csv.DictReader(lines)}


def summary(said: dict[str, str]) -> str:
    """The share that was seen, with its 95% interval, with and without the equivalents."""
    known = equivalents()
    counted = {key: word for key, word in said.items() if key not in known}
    lines = []
    for words, chosen in (("all", said), ("without equivalents", counted)):
        seen = sum(word != "survived" for word in chosen.values())
        if chosen:
            ends = binomtest(seen, len(chosen)).proportion_ci(method="wilson")
            share = f"{100 * seen / len(chosen):.1f}% [{100 * ends.low:.1f}, {100 * ends.high:.1f}]"
            lines.append(f"{words}: {seen} of {len(chosen)} mutants seen, {share}")
    return "\n".join([*lines, *sorted(f"survived: {key}" for key, word in counted.items() if word == "survived")])


def main() -> None:
    """Tries mutants until the count or the minutes are spent, then says what was seen."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--out", type=Path, default=Path(OUT))
    given = parser.parse_args()
    said: dict[str, str] = {}
    if given.out.exists():
        said = {row["mutant"]: row["said"] for row in map(json.loads, given.out.read_text().splitlines())}
    chosen = all_mutants()[: given.count]
    left = {key for key, word in said.items() if word == "survived"} - set(equivalents())
    todo = [mutant for mutant in chosen if (mutant.key in left if given.again else mutant.key not in said)]
    stop, notes, cache = time.monotonic() + 60 * given.minutes, *(given.out.with_suffix(e) for e in (".one", ".tests"))
    known: dict[str, tuple[list[str], float]] = json.loads(cache.read_text()) if cache.exists() else {}
    for mutant in todo:
        if time.monotonic() > stop:
            break
        if mutant.file not in known:
            known[mutant.file] = baseline(mutant.file, notes)
            cache.write_text(json.dumps(known))
        left_out, seconds = known[mutant.file]
        edited = next(one for one in mutants(mutant.file, _source(mutant.file), mutant.key) if one.source)
        word, spent = in_child(mutant.file, edited, PATIENCE * seconds + LEAST_PATIENCE, left_out)
        said[mutant.key] = word
        with given.out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"mutant": mutant.key, "said": word, "seconds": round(spent, 2)}) + "\n")
    notes.unlink(missing_ok=True)
    print(summary({m.key: said[m.key] for m in chosen if m.key in said}))


if __name__ == "__main__":
    for library in (
        "array_api_strict",
        *(f"scipy.{part}" for part in ("optimize", "integrate", "stats")),
        "torch",
        "sympy",
    ):
        try:
            importlib.import_module(library)
        except ImportError:
            print(f"{library} is missing: tests that need it are skipped")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
