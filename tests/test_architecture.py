"""Rules of the tree, read from the syntax of its files. Every rule is shown offences that it has to name."""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = {"theory", "samples", "bandits", "llm", "figures"}
CODE = LAYERS | {"sharpening", "benchmarks", "tests"}
THEORY = {"theory/shaping", "theory/policies", "theory/estimators", "theory/hypothesis_storage"}
MATHEMATICS = THEORY | {"theory/methods", "theory/optimum", "theory/flow", "theory/groups"}
MAY_IMPORT = {  # the most of the tree that each room may import, itself aside; the longest name that fits a file counts
    "theory": set(),
    "theory/policies": set(),
    "theory/shaping": set(),
    "theory/estimators": {"theory/policies"},
    "theory/methods": {"theory/shaping"},
    "theory/optimum": {"theory/shaping", "theory/policies"},
    "theory/flow": {"theory/shaping", "theory/policies", "theory/estimators"},
    "theory/groups": {"theory/methods", "theory/flow", "theory/policies"},
    "theory/diagnosis": MATHEMATICS,
    "theory/claims": MATHEMATICS,
    "theory/rows": MATHEMATICS,
    "samples": {"theory"},
    "samples/formats": {"samples/tally", "samples/lines", "theory/estimators"},
    "samples/rates": {"theory", "samples/tally", "samples/lines", "samples/comparison"},
    "bandits": {"theory", "samples"},
    "llm": {"theory", "samples"},
    "llm/tasks": set(),
    "llm/countdown": {"llm/tasks"},
    "llm/lists": {"llm/tasks"},
    "llm/mathematics": {"llm/tasks"},
    "llm/sampling": {"theory", "samples", "llm/tasks"},
    "llm/audit": {"theory", "samples", "llm/tasks", "llm/countdown", "llm/lists", "llm/sampling"},
    "figures": set(),
    "figures/drawing": {"figures/style"},
    "figures/tables": {"figures/drawing"},
    "figures/report": {"figures/drawing", "figures/tables", "figures/render"},
    "sharpening": LAYERS | {"sharpening"},
    "sharpening/storage": set(),
    "benchmarks": LAYERS | {"sharpening"},
    "benchmarks/reference_values": set(),  # a reader of sample files that shares nothing with ours, to compare with
    "benchmarks/reference_tools": {"benchmarks/reference_values"},
    "benchmarks/reference_reader": {"benchmarks/reference_values", "benchmarks/reference_tools"},
    "benchmarks/search_defects": set(),  # what a diagnosis is tried on, and the truth, share nothing with it
    "benchmarks/search_functions": {"benchmarks/search_defects"},
    "benchmarks/search_truth": set(),
    "tests": CODE,
}
MAX_FILE_LINES = 400
MAX_BODY_LINES = 60
TEXT_SUFFIXES = {".cff", ".csv", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
TEXT_NAMES = {"Makefile", "run"}

# The column "do not use" of the glossary: one word for one thing. Two words of it mean another thing here and stay
# allowed: num_samples, draws per problem and not per group, and success, the matrix of the shared-strategy bandit.
BANNED_ARGUMENTS = frozenset(
    {"T", "acc", "alpha", "avg_logp", "behaviour", "coef", "collapse", "dist", "diversity", "episode"}
    | {"episodes", "final", "generations", "init", "kl_coef", "lambda_", "length", "logp", "mode", "modified"}
    | {"normalised_reward", "old", "outcome", "pi", "probs", "query", "ref", "response"}
    | {"score", "tau", "trajectory"}
)
FILE_WRITERS = frozenset(
    {"dump", "makedirs", "mkdir", "rmdir", "rmtree", "save", "savetxt", "savez", "savez_compressed", "symlink_to"}
    | {"to_csv", "to_json", "to_parquet", "tofile", "touch", "unlink", "write_bytes", "write_text"}
)
FILE_MOVERS = {"os.remove", "os.rename", "os.replace", "shutil.copy", "shutil.copyfile", "shutil.move"}
MAY_OPEN = {PurePath("llm/training/folder_lock.py"), PurePath("llm/workers.py")}  # a lock, and nowhere
CHECKPOINTS = PurePath("llm/training/checkpoints.py")  # the one exception: a trainer writes its checkpoints itself
MACHINE_PATH = re.compile(r"(?<![\w.~>}])/(?:home|root|tmp|Users|work)/\w|\b[A-Z]:\\\\?Users\b")


@dataclass(frozen=True)
class File:
    """A file of the tree, or a made-up one: its path below the root and its text."""

    path: PurePath
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @property
    def home(self) -> str:
        """The layer, or the top-level module, that the file belongs to."""
        return self.path.parts[0].removesuffix(".py")

    def calls(self) -> Iterator[tuple[ast.Call, str]]:
        """Every call with the dotted name of what is called."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield node, ast.unparse(node.func)

    def public_definitions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
        """Functions, classes and methods whose name has no underscore first."""
        pending: list[ast.stmt] = list(self.tree.body)
        while pending:
            node = pending.pop(0)
            if isinstance(node, ast.If | ast.Try):
                pending += node.body + node.orelse
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            if node.name.startswith("_"):
                continue
            yield node
            if isinstance(node, ast.ClassDef):
                pending += node.body


def room_of(path: PurePath) -> str:
    """The longest name of MAY_IMPORT that begins the path; sharpening for what is no room."""
    names = (name for name in MAY_IMPORT if path.parts[: len(PurePath(name).parts)] == PurePath(name).parts)
    return max(names, key=len, default="sharpening")


def imported(file: File) -> Iterator[str]:
    """Every imported name, with dots; a relative import begins with one."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + str(node.module or "")
            yield from (f"{module}.{alias.name}" for alias in node.names)


def imports_follow_the_arrows(file: File) -> Iterator[str]:
    here = room_of(file.path.with_suffix(""))
    allowed = {here, *MAY_IMPORT[here]}
    for name in imported(file):
        first, *rest = name.split(".")
        if first in ("", *LAYERS, "paper_repro"):
            yield f"imports {name}: want sharpening. before the name of a layer"
        if first in ("tests", "benchmarks"):
            rest = [first, *rest]
        elif first != "sharpening":
            continue
        there = PurePath(*rest) if rest[:1] and rest[0] in CODE else PurePath("sharpening", *rest)
        if not any(there.parts[: len(PurePath(room).parts)] == PurePath(room).parts for room in allowed):
            yield f"imports {name}"
    if file.home in LAYERS:
        yield from (name for _, name in file.calls() if name.endswith(("import_module", "__import__")))


def theory_imports_modules_not_functions(file: File) -> Iterator[str]:
    """Types and constants may go by name; a function may not: a mutant replaces it in its module for all."""
    for node in ast.walk(file.tree):
        if file.home == "theory" and isinstance(node, ast.ImportFrom) and str(node.module).startswith("sharpening"):
            folder = ROOT.joinpath(*str(node.module).split("."))
            for name in (alias.name for alias in node.names):
                is_module = (folder / name).is_dir() or (folder / f"{name}.py").exists()
                if not is_module and not name[0].isupper():
                    yield f"from {node.module} import {name}"


def only_the_entry_point_and_the_store_write_files(file: File) -> Iterator[str]:
    if file.home not in LAYERS or file.path == CHECKPOINTS or file.path in MAY_OPEN:
        return
    for call, name in file.calls():
        last = name.split(".")[-1]
        mode_index = 1 if name == "open" else 0
        modes = [call.args[mode_index]] if len(call.args) > mode_index else []
        modes += [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
        opened_to_write = last == "open" and any(set(ast.unparse(mode)) - set("'rbt\"") for mode in modes)
        saved_to_disk = last == "savefig" and [ast.unparse(value) for value in call.args[:1]] != ["buffer"]
        if last in FILE_WRITERS or name in FILE_MOVERS or opened_to_write or saved_to_disk:
            yield name


def every_public_name_has_a_docstring(file: File) -> Iterator[str]:
    if file.home == "tests":
        return
    for node in (file.tree, *file.public_definitions()):
        lines = (ast.get_docstring(node) or "").splitlines()
        name = "the module" if isinstance(node, ast.Module) else node.name
        if not lines:
            yield f"{name} has no docstring"
        elif file.home == "theory" and not lines[0].endswith("."):
            yield f"{name}: the docstring's first line is not a sentence"


def layers_do_not_print(file: File) -> Iterator[str]:
    if file.home in LAYERS:
        yield from (name for _, name in file.calls() if re.match(r"p?print$|sys\.(stdout|stderr)\.", name))


def randomness_is_an_argument(file: File) -> Iterator[str]:
    for node in ast.walk(file.tree):
        match node:
            case ast.Attribute():
                drawn = re.fullmatch(r"(?:np\.|numpy\.)?random\.([a-z]\w*)", ast.unparse(node))
                if drawn and drawn[1] not in ("default_rng", "bit_generator"):
                    yield drawn[0]
            case ast.ImportFrom(module="random" | "numpy.random"):
                names = {alias.name for alias in node.names} - {"default_rng"}
                yield from (name for name in names if name[0].islower())
    for call, name in file.calls():
        if name.endswith("default_rng") and not call.args and not call.keywords:
            yield "default_rng() without a seed"
        if name.endswith(".rvs") and "random_state" not in (keyword.arg for keyword in call.keywords):
            yield f"{name} without random_state"


def one_word_for_one_thing(file: File) -> Iterator[str]:
    if file.home == "tests":
        return
    for node in file.public_definitions():
        if not isinstance(node, ast.ClassDef):
            arguments = {node.arg for node in ast.walk(node.args) if isinstance(node, ast.arg)}
            yield from (f"{node.name}({name})" for name in sorted(arguments & BANNED_ARGUMENTS))


def files_and_functions_are_short(file: File) -> Iterator[str]:
    num_lines = len(file.text.splitlines())
    if num_lines > MAX_FILE_LINES:
        yield f"{num_lines} lines"
    for node in ast.walk(file.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            num_lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if num_lines > MAX_BODY_LINES:
                yield f"{node.name} has a body of {num_lines} lines"


def tolerances_have_names(file: File) -> Iterator[str]:
    if file.home != "tests":
        return
    for call, name in file.calls():
        for keyword in call.keywords:
            is_number = isinstance(keyword.value, ast.Constant) and keyword.value.value not in (0, None)
            if keyword.arg in ("abs", "atol", "rel", "rtol") and is_number:
                yield f"{name}({ast.unparse(keyword)})"


def no_path_of_one_machine(file: File) -> Iterator[str]:
    yield from MACHINE_PATH.findall(file.text)


Rule = Callable[[File], Iterator[str]]
Sample = tuple[str, str]  # a path and a text
HEADED = '"""Module."""\n'
OFFENCES: dict[Rule, list[Sample]] = {
    imports_follow_the_arrows: [
        ("theory/x.py", "from sharpening.bandits import simulator"),
        ("theory/claims/x.py", "from sharpening.storage import store"),
        ("theory/x.py", "def f():\n    import sharpening.llm.audit"),
        ("theory/x.py", "importlib.import_module('bandits')"),
        ("theory/x.py", "from . import policies"),
        ("theory/x.py", "from theory import policies"),
        ("theory/flow/x.py", "from sharpening.theory.claims import ledger"),
        ("theory/methods/x.py", "from sharpening.theory import policies"),
        ("samples/x.py", "from sharpening.llm.audit import exact"),
        ("samples/formats/x.py", "from sharpening.samples import comparison"),
        ("samples/rates/x.py", "from sharpening.samples.formats import table"),
        ("bandits/x.py", "from sharpening.llm.countdown import problems"),
        ("bandits/x.py", "import paper_repro"),
        ("llm/x.py", "from sharpening.bandits import simulator"),
        ("llm/countdown/x.py", "from sharpening.llm.sampling import models"),
        ("llm/audit/x.py", "from sharpening.llm.training import run"),
        ("figures/x.py", "from sharpening.theory import policies"),
        ("figures/drawing/x.py", "from sharpening.figures.tables import audit"),
        ("sharpening/storage/x.py", "from sharpening.theory import policies"),
        ("benchmarks/x.py", "from tests.tolerances import FLOAT64"),
        ("benchmarks/reference_reader.py", "from sharpening.samples import files"),
        ("benchmarks/reference_values.py", "from benchmarks import fuzz_formats"),
    ],
    theory_imports_modules_not_functions: [
        ("theory/x.py", "from sharpening.theory.policies import softmax"),
        ("theory/claims/x.py", "from sharpening.theory.claims.flow import path as p"),
    ],
    only_the_entry_point_and_the_store_write_files: [
        ("theory/x.py", "open(path, 'w')"),
        ("theory/x.py", "open(path, mode='rb+')"),
        ("llm/x.py", "path.open(mode)"),
        ("llm/x.py", "os.replace(a, b)"),
        ("bandits/x.py", "Path('rows').write_text(rows)"),
        ("bandits/x.py", "np.save(path, rows)"),
        ("figures/x.py", "figure.savefig(path)"),
    ],
    every_public_name_has_a_docstring: [
        ("figures/x.py", "x = 1"),
        ("sharpening/storage/store.py", HEADED + "def f(): pass"),
        ("llm/x.py", HEADED + "class A: x = 1"),
        ("llm/x.py", HEADED + 'class A:\n    """A."""\n    def f(self): pass'),
        ("theory/x.py", HEADED + 'def f():\n    """No full stop"""'),
    ],
    layers_do_not_print: [
        ("theory/x.py", "print(1)"),
        ("llm/x.py", "sys.stderr.write('x')"),
    ],
    randomness_is_an_argument: [
        ("theory/x.py", "np.random.normal(size=3)"),
        ("theory/x.py", "np.random.default_rng()"),
        ("theory/x.py", "scipy.stats.norm.rvs(size=3)"),
        ("bandits/x.py", "random.shuffle(arms)"),
        ("llm/x.py", "from random import choice"),
        ("llm/x.py", "from numpy.random import rand"),
        ("tests/test_x.py", "np.random.seed(0)"),
    ],
    one_word_for_one_thing: [
        ("theory/x.py", "def f(probs): pass"),
        ("llm/x.py", "class A:\n    def f(self, *, kl_coef=0): pass"),
    ],
    files_and_functions_are_short: [
        ("theory/x.py", "\n" * (MAX_FILE_LINES + 1)),
        ("theory/x.py", "def f():\n" + "    x = 1\n" * (MAX_BODY_LINES + 1)),
    ],
    tolerances_have_names: [
        ("tests/test_x.py", "np.testing.assert_allclose(a, b, rtol=1e-9)"),
        ("tests/test_x.py", "assert a == pytest.approx(b, abs=1e-9)"),
    ],
    no_path_of_one_machine: [
        ("theory/x.py", "DATA = '/" + "home/me/data.csv'"),
        ("sharpening/storage/store.py", "results = Path('/" + "tmp/results')"),
        ("README.md", "cd C:\\" + "Users\\me"),
    ],
}
GOOD_CODE: dict[Rule, list[Sample]] = {
    imports_follow_the_arrows: [
        (
            "llm/x.py",
            "import numpy as np\nfrom sharpening.theory import shaping\nfrom sharpening.llm.audit import exact",
        ),
        ("sharpening/commands/x.py", "from sharpening.storage import store\nfrom sharpening.theory import claims"),
    ],
    theory_imports_modules_not_functions: [
        ("theory/x.py", "from sharpening.theory import policies\nfrom sharpening.theory.policies import Problem"),
    ],
    only_the_entry_point_and_the_store_write_files: [
        ("llm/x.py", "open(path)\npath.open('rb')\ntext.replace('a', 'b')"),
        ("figures/x.py", "figure.savefig(buffer, format='pdf')"),
        ("sharpening/storage/store.py", "open(path, 'w')"),
    ],
    every_public_name_has_a_docstring: [
        ("theory/x.py", HEADED + 'def _f(): pass\ndef f():\n    """F.\n\n    More"""'),
    ],
    randomness_is_an_argument: [
        ("theory/x.py", "def f(rng: np.random.Generator): return rng.random(3)"),
        ("tests/test_x.py", "np.random.default_rng(0)\nnp.random.SeedSequence([0, 1])"),
    ],
    one_word_for_one_thing: [("theory/x.py", "def pass_at_k(n, k): pass\ndef _f(probs): pass")],
    files_and_functions_are_short: [
        ("theory/x.py", "def f():\n" + "    x = 1\n" * MAX_BODY_LINES),
        ("theory/x.py", 'def f():\n    """F.' + "\n" * MAX_BODY_LINES + '    """'),
    ],
    tolerances_have_names: [("tests/test_x.py", "assert_allclose(a, b, rtol=FLOAT64, atol=0)")],
    no_path_of_one_machine: [("README.md", "--json out/x, /dev/full, https://example.org/home/x, and/or/tmp")],
}


def files_of_the_tree() -> list[File]:
    """The text files at the root and in the project's own folders, whether git knows them yet or not."""
    folders = [ROOT / name for name in (*CODE, ".ci", "docs", "examples", "results/reference")]
    paths = [*ROOT.iterdir(), *(path for folder in folders for path in folder.rglob("*"))]
    texts = [path for path in paths if path.suffix in TEXT_SUFFIXES or path.name in TEXT_NAMES]
    return [File(path.relative_to(ROOT), path.read_text(encoding="utf-8")) for path in sorted(texts)]


FILES = files_of_the_tree()


def each_sample(samples: dict[Rule, list[Sample]]) -> pytest.MarkDecorator:
    """Run a test on every pair of a rule and one of its samples."""
    rows = [
        pytest.param(rule, File(PurePath(path), text), id=f"{rule.__name__}-{number}")
        for rule, pairs in samples.items()
        for number, (path, text) in enumerate(pairs)
    ]
    return pytest.mark.parametrize(("rule", "sample"), rows)


@pytest.mark.parametrize("rule", OFFENCES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps_the_rule(rule: Rule) -> None:
    files = [file for file in FILES if file.path.suffix == ".py" or rule is no_path_of_one_machine]
    offences = [f"{file.path}: {offence}" for file in files for offence in rule(file)]
    assert not offences, "\n".join(offences)


@each_sample(OFFENCES)
def test_the_rule_names_an_offence(rule: Rule, sample: File) -> None:
    assert list(rule(sample))


@each_sample(GOOD_CODE)
def test_the_rule_leaves_good_code_alone(rule: Rule, sample: File) -> None:
    assert not list(rule(sample))


def test_the_rules_see_every_layer() -> None:
    homes = {file.home for file in FILES if file.path.suffix == ".py"}
    assert homes >= CODE | {"paper_repro"}
