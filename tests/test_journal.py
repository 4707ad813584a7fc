"""The journal keeps whole entries through kills, and one process at a time; artefacts may lie in a folder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sharpening.storage import store
from sharpening.storage.journal import Journal

CONFIG = {"seed": 0}


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    with Journal(tmp_path, "llm", CONFIG) as journal:
        journal.add({"slice": 0})
        journal.add({"slice": 1})
    with Journal(tmp_path, "llm", CONFIG) as journal:
        assert journal.entries == [{"slice": 0}, {"slice": 1}]
        journal.remove()
    with Journal(tmp_path, "llm", CONFIG) as journal:
        assert journal.entries == []


@pytest.mark.parametrize("torn", [b'{"slice"', b'{"slice": 2}', b"\xff\xfe"])
def test_a_torn_last_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    with Journal(tmp_path, "llm", CONFIG) as journal:
        journal.add({"slice": 0})
        path = journal.path
    with path.open("ab") as stream:
        stream.write(torn)
    with Journal(tmp_path, "llm", CONFIG) as journal:
        journal.add({"slice": 1})
    with Journal(tmp_path, "llm", CONFIG) as journal:
        assert journal.entries == [{"slice": 0}, {"slice": 1}]


def test_another_configuration_has_another_journal(tmp_path: Path) -> None:
    with Journal(tmp_path, "llm", CONFIG) as journal, Journal(tmp_path, "llm", {"seed": 1}) as other:
        journal.add(1)
        assert other.entries == []


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with Journal(tmp_path, "llm", CONFIG) as journal:
        with pytest.raises(ValueError, match=re.escape(f"{journal.path}: another process is at work on this run")):
            Journal(tmp_path, "llm", CONFIG)
        journal.add(0)
    with Journal(tmp_path, "llm", CONFIG) as journal:
        assert journal.entries == [0]


def test_a_journal_is_no_run(tmp_path: Path) -> None:
    with Journal(tmp_path, "llm", CONFIG) as journal:
        journal.add(0)
        assert store.list_runs(tmp_path) == []


def test_an_artefact_may_lie_in_a_folder_and_is_verified_there(tmp_path: Path) -> None:
    artefacts = {"model/config.json": b"{}"}
    run = store.write_run("llm", CONFIG, [{"step": 1}], root=tmp_path, artefacts=artefacts)
    assert (run / "model" / "config.json").read_bytes() == b"{}"
    assert store.verify_run(run) == []
    (run / "model" / "config.json").write_bytes(b"[]")
    assert store.verify_run(run) == ["model/config.json: differs from its checksum"]
