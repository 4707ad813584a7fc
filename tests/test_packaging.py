"""What installing brings, what is pinned, and what `import llm` takes in a folder that is not the clone."""

import os
import re
import shutil
import subprocess
import sys
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
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LAYERS = ("theory", "bandits", "llm", "figures")
PRINT_FILES = f"import {', '.join(LAYERS)}\nfor layer in ({', '.join(LAYERS)}): print(layer.__file__)"


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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel of a copy of the tree, built without a package index."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "__pycache__", "build", "results", "*.egg-info")
    shutil.copytree(ROOT, folder / "clone", ignore=ignored)
    options = ("--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", folder)
    done = run("-m", "pip", "wheel", *options, folder / "clone", folder=folder)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_installing_brings_no_top_level_name(wheel: zipfile.ZipFile) -> None:
    assert [name for name in wheel.namelist() if ".dist-info/" not in name] == []


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


# A package that is published as `llm` is installed in `site`; a user's script lies in `user`.


@pytest.fixture
def user(tmp_path: Path) -> Path:
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


@pytest.fixture
def python_with_published_llm(tmp_path: Path) -> Path:
    """An environment without our dependencies that has a package `llm` installed."""
    venv.create(tmp_path / "site", with_pip=False, symlinks=True)
    folder = next((tmp_path / "site").glob("lib/python*/site-packages")) / "llm"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Published."""\n')
    return tmp_path / "site" / "bin" / "python"


def test_a_script_in_another_folder_gets_our_layers(user: Path, python_with_published_llm: Path) -> None:
    (user / "script.py").write_text(PRINT_FILES)
    done = run("script.py", folder=user, pythonpath=ROOT, python=python_with_published_llm)
    assert done.stdout.split() == [str(ROOT / layer / "__init__.py") for layer in LAYERS]
    assert done.stderr == ""


def test_the_published_llm_is_named_where_it_comes_first(user: Path, python_with_published_llm: Path) -> None:
    (user / "script.py").write_text(f"import sys\nsys.path.append({str(ROOT)!r})\nimport theory\n")
    done = run("script.py", folder=user, python=python_with_published_llm)
    published = next(python_with_published_llm.parent.parent.glob("lib/*/site-packages/llm/__init__.py"))
    assert done.returncode == 0, done.stderr
    assert f"`import llm` takes {published}, not {ROOT}" in done.stderr
    assert "script.py:3: RuntimeWarning" in done.stderr


def test_an_imported_llm_is_named_even_if_ours_comes_first_by_now(user: Path, python_with_published_llm: Path) -> None:
    script = f"import sys\nimport llm\nsys.path.insert(0, {str(ROOT)!r})\nimport theory\n"
    (user / "script.py").write_text(script)
    done = run("script.py", folder=user, python=python_with_published_llm)
    assert "`import llm` takes" in done.stderr


@pytest.mark.parametrize("layer", ["bandits", "figures", "llm"])
def test_a_module_of_the_user_with_the_name_of_a_layer_is_named(user: Path, layer: str) -> None:
    (user / f"{layer}.py").write_text("")
    (user / "script.py").write_text("import theory\n")
    done = run("-W", "error::RuntimeWarning", "script.py", folder=user, pythonpath=ROOT)
    assert done.returncode == 1
    assert f"`import {layer}` takes {user / layer}.py, not {ROOT / layer}" in done.stderr.splitlines()[-1]


def test_the_clone_itself_and_theory_alone_give_no_warning(user: Path) -> None:
    assert run("-W", "error", "-c", "import theory", folder=ROOT).stderr == ""
    shutil.copytree(ROOT / "theory", user / "theory")
    (user / "figures.py").write_text("")
    assert run("-W", "error", "-c", "import theory", folder=user).stderr == ""
