"""What installing brings, what is pinned, and that it works beside packages of generic names."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("theory", "samples", "bandits", "llm", "figures")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def run(
    *arguments: str | Path, folder: Path, pythonpath: Path | str = "", python: str | Path = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with nothing of this session's settings but the given PYTHONPATH."""
    session = ("PYTHON", "HYPOTHESIS", "PYTEST")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(session)}
    command = [str(argument) for argument in (python, *arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONPATH": str(pythonpath)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the tree, built without a package index."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "results", "*.egg-info")
    shutil.copytree(ROOT, folder / "clone", symlinks=True, ignore=ignored)
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    done = run("-m", "pip", "wheel", *options, folder / "clone", folder=folder)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


@pytest.mark.slow
def test_installing_brings_one_top_level_name_and_every_module(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in names} == {"sharpening"}
    ours = {f"sharpening/{path.relative_to(ROOT)}" for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    ours |= {str(path.relative_to(ROOT)) for path in (ROOT / "sharpening").rglob("*.py")}
    assert {name for name in names if name.endswith(".py")} == ours
    assert "sharpening/py.typed" in names
    templates = {path.relative_to(ROOT) for path in (ROOT / "figures" / "report" / "templates").iterdir()}
    assert {f"sharpening/{path}" for path in templates} <= set(names)


def test_installing_brings_the_dependencies(wheel: zipfile.ZipFile) -> None:
    metadata = wheel.read(next(name for name in wheel.namelist() if name.endswith("/METADATA"))).decode()
    required = map(Requirement, re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE))
    core = {requirement for requirement in required if not requirement.marker}
    assert core == {Requirement(text) for text in PROJECT["dependencies"]}


@pytest.mark.parametrize("text", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]])
def test_what_make_installs_is_pinned_to_a_version_that_is_allowed(text: str) -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned_requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    pins = {canonicalize_name(pin.name): pin.specifier for pin in pinned_requirements}
    requirement = Requirement(text)
    pinned = pins[canonicalize_name(requirement.name)]
    assert str(pinned).startswith("==")
    assert requirement.specifier.contains(str(pinned).removeprefix("=="))


def test_this_python_is_one_of_those_that_are_supported() -> None:
    supported = SpecifierSet(PROJECT["requires-python"])
    assert [minor for minor in range(20) if supported.contains(f"3.{minor}.5")] == [11, 12, 13]
    assert supported.contains(".".join(map(str, sys.version_info[:3])))


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@given(st.text())
def test_hypothesis_stores_nothing_in_the_clone(text: str) -> None:
    """Drawing text is what makes Hypothesis write its tables; a folder of an earlier run must go too."""
    assert not (ROOT / ".hypothesis").exists()


# A package that is published as `llm` is installed beside the wheel; the user's script lies in a folder of its own.

SCRIPT = """
import sys, time
began = time.perf_counter()
import sharpening
assert time.perf_counter() - began < SECONDS, time.perf_counter() - began
assert not {"torch", "numpy"} & set(sys.modules)
import llm
assert llm.__doc__ == "Published."
from trl import GRPOConfig, GRPOTrainer
from sharpening.llm.training import trainer
Trainer = trainer.with_method(GRPOTrainer, "ds", {"gamma_correct": 0.1})
print(Trainer.__name__, trainer.grpo_options("ds")["scale_rewards"], sharpening.__file__)
print([name for name in sys.modules if name.split(".")[0] in ("theory", "samples", "bandits", "figures")])
"""


@pytest.fixture(scope="module")
def installed(wheel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has the wheel, the published `llm`, and this session's dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel_file).extractall(site)
    (site / "llm").mkdir()
    (site / "llm" / "__init__.py").write_text('"""Published."""\n')
    ours = sysconfig.get_paths()["purelib"]  # after the site's own, and without the clone that .pth files there name
    (site / "dependencies.pth").write_text(f"{ours}\n")
    return folder / "bin" / "python"


@pytest.mark.slow
def test_the_wheel_works_beside_a_published_llm(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("SECONDS", "0.3"))
    done = run("-W", "ignore", "script.py", folder=tmp_path, python=installed)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("GRPOTrainerWithMethod none ")
    assert "site-packages" in first
    assert str(ROOT) not in first
    assert second == "[]"


@pytest.mark.slow
def test_commands_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "counts.csv").write_text("problem,n,c\na,4,1\nb,4,4\n")
    for words in (("check", "--only", "A2.1", "--jobs", "1"), ("samples", "counts.csv")):
        done = run("-m", "sharpening", *words, folder=tmp_path, python=installed)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert run("-m", "sharpening", "check", "--only", "Z", folder=tmp_path, python=installed).returncode == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_clone_in_a_folder_with_a_space_and_a_hyphen_works(tmp_path: Path) -> None:
    """Links survive git, and joblib's processes find the modules."""
    clone, origin = tmp_path / "a space-and a hyphen", tmp_path / "origin"
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "results", "tests", "*.egg-info")
    shutil.copytree(ROOT, origin, symlinks=True, ignore=ignored)
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for step in ("init -q", "add -A", "commit -q -m first"):
        subprocess.run([*git, *step.split()], cwd=origin, check=True)
    subprocess.run(["git", "clone", "-q", origin, clone], check=True)
    words = ("bandits", "--only", "reinforcement_bias", "--preset", "smoke", "--jobs", "2", "--out", "out")
    done = run("paper_repro.py", *words, folder=clone)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_clone_warns_of_nothing_and_loads_no_generic_name() -> None:
    code = "import sys; from sharpening.theory import claims; print([n for n in sys.modules if n.startswith('theory')])"
    done = run("-W", "error", "-c", code, folder=ROOT)
    assert (done.stdout, done.stderr) == ("[]\n", "")
