"""Samples that repeat a text are told."""

from __future__ import annotations

from pathlib import Path

from sharpening.samples import files
from tests.test_sample_formats import lines


def test_repeated_texts_are_told_where_they_are_many_or_all_of_a_problem(tmp_path: Path) -> None:
    def read(text: str) -> tuple[str, ...]:
        (tmp_path / "file").write_text(text)
        return files.read(tmp_path / "file", "file", None, files.NO_FIELDS)[0].notes

    def notes(*texts: str) -> tuple[str, ...]:
        rows = [{"problem": n, "correct": 1, "completion": text} for n, each in enumerate(texts) for text in each]
        return read(lines(rows))

    assert notes("ab", "cd") == ()
    assert notes(*["abcdefghij"] * 9, "abcdefghii") == ()  # 1 of 100
    assert notes("aabb", "abcd")[0].startswith(
        "2 of 8 samples are the same text as another of their problem (0 problems"
    )
    assert notes("aa", *["ab"] * 40)[0].startswith("1 of 82 samples are the same text")
    assert "all samples of each problem are the same text" in notes("aaa", "bb")[0]
    differing = [{"problem": 1, "correct": mark, "completion": "..."} for mark in (0, 1, 1)]
    assert read(lines(differing)) == ()  # the text is not what was marked
