"""The store keeps values, types and bytes exactly, and a run is whole or absent whatever interrupts it."""

import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharpening.storage import store

CLONE = Path(store.__file__).resolve().parents[2]
CONFIG = {"instance": "long_tail", "kl_strength": 0.25, "seed": 0}
ROWS = [
    {"arm": 0, "policy": 1e-300, "answer": 'a "quoted", one', "is_correct": True},
    {"arm": -(2**70), "policy": -0.0, "answer": "two\nlines\r\nand,", "is_correct": False},
    {"arm": 3, "policy": float("nan"), "answer": "héé 数 🙂", "is_correct": True},
    {"arm": 4, "policy": float("inf"), "answer": "", "is_correct": False},
    {"arm": 5, "policy": -float("inf"), "answer": "inf", "is_correct": True},
    {"arm": 6, "policy": 0.1 + 0.2, "answer": "True", "is_correct": True},
    {"arm": 7, "policy": 5e-324, "answer": '"', "is_correct": True},
]
NUM_KILLS = 15
LONGEST_LIFE_SECONDS = 0.04  # several writes of the loop below, so that kills fall into every part of one

# repr tells 1 from 1.0 from True from "1", and -0.0 from 0.0, and repr of a float gives all its digits
cells = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
)


def python(code, *arguments, stdout=subprocess.PIPE, clone=CLONE):
    """Start code in a fresh interpreter, in another folder, that imports the store of the clone."""
    own = {"PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": ""}
    environment = {**os.environ, **own}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=stdout, text=True, cwd=tempfile.gettempdir())


def names_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_rows_come_back_with_their_types(tmp_path):
    run = store.write_run("theory", CONFIG, ROWS, root=tmp_path)
    assert repr(store.read_rows(run / "rows.csv")) == repr(ROWS)


@settings(database=None, deadline=None, derandomize=True, max_examples=200)
@given(rows=st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[cells] * width), min_size=1)))
def test_any_rows_come_back_with_their_types(rows):
    written = [{f"column_{number}": value for number, value in enumerate(row)} for row in rows]
    with tempfile.TemporaryDirectory() as folder:
        store.write_text_atomically(Path(folder, "rows.csv"), store.rows_to_csv(written))
        assert repr(store.read_rows(Path(folder, "rows.csv"))) == repr(written)


def test_numpy_scalars_become_python_values():
    third = np.float32(1) / np.float32(3)
    row = {"a": np.float64(0.1), "b": third, "c": np.int64(7), "d": np.bool_(True), "e": np.str_("x")}
    assert store.rows_to_csv([row]) == f'a,b,c,d,e\n0.1,{float(third)!r},7,True,"x"\n'


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"a": 1, "b": 2}, {"a": 1}], "row 1: column 'b' is missing"),
        ([{"a": 1}, {"a": 1, "c": 2}], "row 1: column 'c' is not a column of row 0"),
        ([{"pass@1": 1.0}], "row 0: column name 'pass@1' must be an identifier"),
        ([{"a": 1}, {"a": None}], "row 1, column 'a': None is NoneType, must be bool, int, float or str"),
        ([{"a": np.zeros(2)}], "row 0, column 'a': .* is ndarray"),
        ([], "rows: no row"),
        ([{}], "rows: no row, or a first row without columns"),
    ],
)
def test_wrong_rows_are_named_and_nothing_is_written(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        store.write_run("theory", CONFIG, rows, root=tmp_path)
    assert names_under(tmp_path) == set()


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n2", "a,b\n1\n2,3\n", "a\nx\n", 'a\n"x\n', 'a\n"x"y\n', "a\n1\n\n", "a\n1,2\n"],
)
def test_a_file_that_is_not_rows_is_refused_by_name(tmp_path, text):
    path = tmp_path / "broken.csv"
    path.write_text(text)
    with pytest.raises(store.StoreError, match=r"cannot read .*broken\.csv.*: not rows of this store"):
        store.read_rows(path)


def test_rerun_gives_the_same_folder_and_bytes(tmp_path):
    shuffled = dict(reversed(CONFIG.items()))
    one = store.write_run("theory", CONFIG, ROWS, root=tmp_path / "one")
    two = store.write_run("theory", shuffled, iter(ROWS), root=tmp_path / "two")
    assert one.name == two.name == store.run_id("theory", CONFIG)
    for name in ("rows.csv", "config.json"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    stored = {"layer": "theory", "result_version": store.RESULT_VERSION["theory"], "config": CONFIG}
    assert json.loads((one / "config.json").read_text()) == stored


def test_id_depends_on_layer_configuration_and_version(monkeypatch):
    ids = {store.run_id("theory", CONFIG), store.run_id("bandits", CONFIG), store.run_id("theory", {})}
    monkeypatch.setitem(store.RESULT_VERSION, "theory", store.RESULT_VERSION["theory"] + 1)
    ids.add(store.run_id("theory", CONFIG))
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("layer", "config", "message"),
    [
        ("figures", CONFIG, "layer: 'figures' must be one of theory, bandits, llm, samples"),
        ("theory", {"beta": float("nan")}, "config: .* must be JSON-able with finite numbers"),
        ("theory", {"path": Path("x")}, "config: .*PosixPath.* must be JSON-able"),
    ],
)
def test_wrong_identity_is_named(layer, config, message):
    with pytest.raises(ValueError, match=message):
        store.run_id(layer, config)


def test_existing_run_is_kept_unless_overwritten_damaged_or_short_of_an_artefact(tmp_path):
    calls = []

    def rows():
        calls.append(1)
        yield from ROWS

    def write(**options):
        return store.write_run("theory", CONFIG, rows(), root=tmp_path, **options)

    run = write()
    write()
    assert len(calls) == 1
    write(overwrite=True)
    assert len(calls) == 2
    write(artefacts={"figure.pdf": b"%PDF"})
    write(artefacts={"figure.pdf": b"%PDF"})
    assert len(calls) == 3
    (run / "rows.csv").write_text("a\n1\n")
    write()
    assert (len(calls), store.verify_run(run)) == (4, [])
    assert names_under(tmp_path / "theory") == {run.name, *(f"{run.name}/{name}" for name in os.listdir(run))}


def test_provenance_is_measured(tmp_path):
    began = time.perf_counter()
    clock = store.Clock()
    block = np.ones(2_000_000)
    time.sleep(0.05)
    run = store.write_run("bandits", CONFIG, [{"total": block.sum()}], clock=clock, root=tmp_path)
    origin = json.loads((run / "provenance.json").read_text())
    assert 0.05 <= origin["seconds"] <= time.perf_counter() - began
    assert origin["peak_memory_bytes"] > block.nbytes
    assert origin["versions"]["numpy"] == np.__version__
    assert platform.machine() != "x86_64" or set(origin["vector_extensions"]) & {"X86_V3", "X86_V4", "AVX2"}
    assert ("torch" in origin["versions"]) == ("torch" in sys.modules)
    assert origin["started"].endswith("+00:00")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_is_of_the_clone_and_unknown_elsewhere(tmp_path):
    code = "from sharpening.storage import store; c = store.Clock().commit; print(c['commit'], c['is_dirty'])"
    (tmp_path / "inner").mkdir()
    for folder in (tmp_path, tmp_path / "inner"):
        shutil.copytree(CLONE / "sharpening" / "storage", folder / "sharpening" / "storage")

    def seen_from(folder):
        return python(code, clone=folder).communicate()[0].split()

    assert seen_from(tmp_path) == ["unknown", "unknown"]
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    for step in ("init -q", "add -A", "commit -q -m first"):
        subprocess.run([*git, *step.split()], cwd=tmp_path, check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], cwd=tmp_path, text=True).strip()
    assert seen_from(tmp_path) == [commit, "False"]
    assert seen_from(tmp_path / "inner") == ["unknown", "unknown"]
    (tmp_path / "changed.py").touch()
    assert seen_from(tmp_path) == [commit, "True"]


DAMAGE = {
    "rows.csv: differs from its checksum": lambda run: os.truncate(run / "rows.csv", 3),
    "figure.png: differs from its checksum": lambda run: (run / "figure.png").write_bytes(b"\x89PNG\n\r"),
    "config.json: No such file or directory": lambda run: (run / "config.json").unlink(),
    "manifest.json: No such file or directory": lambda run: (run / "manifest.json").unlink(),
    "manifest.json: is not a manifest": lambda run: (run / "manifest.json").write_text("[]"),
    "rows.csv: is not in the manifest": lambda run: (run / "manifest.json").write_text('{"files": {}}'),
}


@pytest.mark.parametrize("problem", DAMAGE)
def test_damage_is_found_and_the_run_still_listed(tmp_path, problem):
    run = store.write_run("llm", CONFIG, ROWS, root=tmp_path, artefacts={"figure.png": b"\x89PNG\r\n"})
    assert store.verify_run(run) == []
    DAMAGE[problem](run)
    assert problem in store.verify_run(run)
    assert store.list_runs(tmp_path) == [run]


def test_run_under_another_name_is_found(tmp_path):
    run = store.write_run("llm", CONFIG, ROWS, root=tmp_path)
    moved = run.rename(run.with_name(store.run_id("llm", {})))
    assert store.verify_run(moved) == ["config.json: belongs to a run of another name"]


def test_list_has_every_run_and_nothing_else(tmp_path):
    assert store.list_runs(tmp_path / "nowhere") == []
    seeds = [{"seed": 0}, {"seed": 1}]
    llm = sorted(store.write_run("llm", config, ROWS, root=tmp_path) for config in seeds)
    theory = sorted(store.write_run("theory", config, ROWS, root=tmp_path) for config in seeds)
    for other in ("llm/.tmp-0123456789abcdef", "theory/notes", "reference/theory/0123456789ab"):
        (tmp_path / other).mkdir(parents=True)
    assert store.list_runs(tmp_path) == theory + llm


@pytest.mark.parametrize("name", ["../figure.pdf", "a/b/c", "a/../b", "/a", ".hidden", "", "rows.csv", "manifest.json"])
def test_artefact_names_are_short_and_free(tmp_path, name):
    with pytest.raises(ValueError, match=r"artefacts: .* must be a file name, at most one folder deep, other than"):
        store.write_run("theory", CONFIG, ROWS, root=tmp_path, artefacts={name: b""})
    assert names_under(tmp_path) == set()


WRITER = """
import itertools, sys; from sharpening.storage import store
artefacts = {f"parts/{number}.bin": bytes(20_000) for number in range(6)}
options = {"root": sys.argv[1], "artefacts": artefacts, "overwrite": True}
for count in itertools.count():
    store.write_run("theory", {"seed": 0}, [{"count": count}], **options)
    if count == 0:
        print("ready", flush=True)
"""


@pytest.mark.slow
def test_a_kill_leaves_a_whole_run_or_none(tmp_path):
    final = tmp_path / "theory" / store.run_id("theory", {"seed": 0})
    delays, leftovers = random.Random(0), []
    for _ in range(NUM_KILLS):
        with python(WRITER, tmp_path) as writer:
            assert writer.stdout.readline() == "ready\n"
            time.sleep(delays.uniform(0, LONGEST_LIFE_SECONDS))
            writer.send_signal(signal.SIGKILL)
        assert writer.returncode == -signal.SIGKILL
        assert not final.exists() or store.verify_run(final) == []
        assert store.list_runs(tmp_path) == ([final] if final.exists() else [])
        leftovers += [path for path in final.parent.iterdir() if path != final]
    assert {path.name[:5] for path in leftovers} == {".tmp-"}, "empty: no kill fell into a write, nothing was shown"
    (final.parent / ".tmp-0").mkdir()
    assert store.verify_run(store.write_run("theory", {"seed": 1}, ROWS, root=tmp_path)) == []
    assert not list(final.parent.glob(".tmp-*")), "the next writer removes what killed ones left"


def interrupt_call(monkeypatch, owner, name, number):
    """Let the call with this number (from 1) of owner.name raise KeyboardInterrupt in place of its work."""
    original, calls = getattr(owner, name), []

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == number:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, interrupted)


# four files and the new folder are synced, the old run moved aside, the new one in, then the parent is synced
@pytest.mark.parametrize(
    ("owner", "name", "number", "is_new"),
    [(os, "fsync", number, number == 6) for number in range(1, 7)]
    + [(Path, "rename", 1, False), (Path, "rename", 2, False), (Path, "mkdir", 2, False)],
)
def test_an_interrupt_keeps_one_whole_run(tmp_path, monkeypatch, owner, name, number, is_new):
    run = store.write_run("theory", CONFIG, [{"version": "old"}], root=tmp_path)
    interrupt_call(monkeypatch, owner, name, number)
    with pytest.raises(KeyboardInterrupt):
        store.write_run("theory", CONFIG, [{"version": "new"}], root=tmp_path, overwrite=True)
    monkeypatch.undo()
    assert os.listdir(run.parent) == [run.name]
    assert store.verify_run(run) == []
    assert store.read_rows(run / "rows.csv") == [{"version": "new" if is_new else "old"}]


def test_files_are_synced_before_the_name_and_the_manifest_last(tmp_path, monkeypatch):
    final = tmp_path / "theory" / store.run_id("theory", CONFIG)
    synced = []
    original = os.fsync

    def watched(descriptor):
        synced.append((os.fstat(descriptor).st_ino, final.exists()))
        original(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    run = store.write_run("theory", CONFIG, ROWS, root=tmp_path, artefacts={"figure.pdf": b"%PDF"})
    order = [run / name for name in (*store.RUN_FILES, "figure.pdf", "manifest.json")] + [run, run.parent]
    assert synced == [(path.stat().st_ino, path == run.parent) for path in order]


def test_text_replaces_the_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    link = tmp_path / "link"
    link.symlink_to(path)
    store.write_text_atomically(path, "old é\n")
    assert path.read_bytes() == "old é\n".encode()
    interrupt_call(monkeypatch, os, "fsync", 1)
    with pytest.raises(KeyboardInterrupt):
        store.write_text_atomically(path, "new\n")
    assert path.read_text() == "old é\n"
    store.write_text_atomically(link, "new\n")
    assert path.read_text() == "new\n"
    assert link.is_symlink()
    assert names_under(tmp_path) == {"out.json", "link"}


REFUSALS = {
    "file/out.json": "Not a directory",
    "none/out.json": "No such file or directory",
    "": "Is a directory",
    "x" * 300: "File name too long",
    "/dev/full": "No space left on device",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refused_path_is_one_line_with_its_reason(tmp_path, monkeypatch, name):
    path = tmp_path / name
    if name == "/dev/full" and not path.is_char_device():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "file").touch()
    monkeypatch.delattr(Path, "rename")  # a wrong store, run by root, would replace the device
    with pytest.raises(store.StoreError) as caught:
        store.write_text_atomically(path, "text")
    assert str(caught.value) == f"cannot write {str(path)!r}: {REFUSALS[name]}"
    assert names_under(tmp_path) == {"file"}


def test_run_below_a_regular_file_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(store.StoreError, match=r"^cannot write '.*file/theory/\w{12}': Not a directory$"):
        store.write_run("theory", CONFIG, ROWS, root=tmp_path / "file")
    assert names_under(tmp_path) == {"file"}


FILE_TOO_LARGE = """
import resource, sys; from sharpening.storage import store
resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, 5_000))
for write in (lambda: store.write_text_atomically(sys.argv[1] + "/out.json", "x" * 9_000),
              lambda: store.write_run("theory", {"seed": 0}, [{"a": "x" * 9_000}], root=sys.argv[1])):
    try:
        write()
    except store.StoreError as error:
        print(error)
"""


def test_a_write_that_breaks_off_in_the_middle_leaves_nothing(tmp_path):
    """Root may write anywhere, so the kernel's limit on file size stands for a full or forbidden disk."""
    lines = python(FILE_TOO_LARGE, tmp_path).communicate()[0].splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["File too large"] * 2
    assert names_under(tmp_path) == {"theory"}


def test_pipe_is_written_directly(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    store.write_text_atomically(pipe, "text")
    assert os.read(reader, 100) == b"text"
    os.close(reader)
    assert pipe.is_fifo()


TO_STANDARD_OUTPUT = """
import sys; from sharpening.storage import store
sys.stdout.write("before ")
store.write_text_atomically("/dev/stdout", "text")
sys.stdout.write(" after")
"""


def test_standard_output_keeps_what_is_around_the_text(tmp_path):
    path = tmp_path / "out.txt"
    with path.open("w") as stream:
        assert python(TO_STANDARD_OUTPUT, stdout=stream).wait() == 0
    assert path.read_text() == "before text after"
    assert python(TO_STANDARD_OUTPUT).communicate()[0] == "before text after"
