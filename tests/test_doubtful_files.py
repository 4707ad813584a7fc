"""Sample files in which a number could be silently wrong: what is guessed is told, and what cannot be meant refused."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sharpening.samples import comparison, files
from sharpening.samples.formats.fields import Fields
from sharpening.samples.tally import Samples
from tests.command_line import runner

Rows = list[dict[str, Any]]
Written = Callable[..., str]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Written:
    """Writes rows as JSON Lines into the working folder, and says the name."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, rows: Rows) -> str:
        Path(name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        return name

    return write


def read(name: str, **fields: Any) -> Samples:
    return files.pooled({name: Path(name)}, name, None, Fields(**fields))[0]


def told(*names: str) -> str:
    return "\n".join(comparison.warnings_about([read(name) for name in names]))


def marked(field: str, **more: Any) -> Rows:
    """Three problems with four samples, of which the first has one correct, the second two."""
    return [
        {"prompt": f"p{problem}", "completion": f"{problem} {n}", field: int(n <= problem), **more}
        for problem in range(3)
        for n in range(4)
    ]


def test_what_is_correct_only_by_elimination_is_named(written: Written) -> None:
    assert 'correct is taken from "truncated", the only' in told(written("a.jsonl", marked("truncated")))
    assert "taken from" not in told(written("b.jsonl", marked("accuracy_reward")))
    assert "taken from" not in "".join(read("a.jsonl", metric="truncated").notes)


def of_lm_eval(metric: str, **more: Any) -> Rows:
    return [{"doc_id": n, "doc": {"q": n}, "resps": [["x"]], "filtered_resps": ["x"], metric: 1, **more} for n in "abc"]


def test_a_lone_score_of_lm_eval_is_named_and_one_written_as_text_is_a_score(written: Written) -> None:
    assert 'taken from "bypass"' in told(written("a.jsonl", of_lm_eval("bypass")))
    assert "taken from" not in told(written("b.jsonl", of_lm_eval("bypass", metrics=["bypass"])))
    written("c.jsonl", of_lm_eval("bypass", exact_match="1.0"))
    with pytest.raises(ValueError, match=r"several fields could be the metric \(bypass, exact_match\)"):
        read("c.jsonl")


def test_other_marks_before_and_after_are_told(written: Written) -> None:
    both = [{"input": "p", "output": str(n), "score": 1.0, "acc": n % 2} for n in range(4)]
    names = written("before.jsonl", both), written("after.jsonl", [{**row, "acc": 1 - row["acc"]} for row in both])
    assert "correct is" not in told(*names)
    later = [{key: value for key, value in row.items() if key != "acc"} for row in both]
    said = "correct is the field acc in before.jsonl, score in later.jsonl: one for both is named by --metric"
    assert said in told("before.jsonl", written("later.jsonl", later))
    own = [{"problem": "p", "correct": 1}]
    assert "correct is" not in told("before.jsonl", written("own.jsonl", own))  # another format has its own names


def test_documents_of_lm_eval_without_a_hash_are_told_apart_by_themselves(written: Written) -> None:
    """And are those of a file with hashes, which lm-eval takes of the same text."""
    rows = of_lm_eval("acc")
    hashed = [
        {**row, "doc_hash": hashlib.sha256(json.dumps(row["doc"], indent=2).encode()).hexdigest()} for row in rows
    ]
    written("old.jsonl", rows)
    old, new = read("old.jsonl"), read(written("new.jsonl", hashed))
    assert comparison.common_problems(old, new) == ["a", "b", "c"]
    other = read(written("other.jsonl", [{**row, "doc": {"q": "z"}} for row in rows]))
    with pytest.raises(ValueError, match="are others, by their hash or text"):
        comparison.common_problems(old, other)
    Path("tasks").mkdir()
    for name, doc in (("gsm8k", "x"), ("math", "y")):
        written(f"tasks/{name}.jsonl", [{**row, "doc": doc} for row in rows])
    with pytest.raises(ValueError, match="problem 'a' is another one than before"):
        files.pooled({"tasks": Path("tasks")}, "tasks", None, Fields())


def test_several_texts_under_one_name_are_told(written: Written) -> None:
    rows = [{"problem": n % 3, "question": f"q{n}", "correct": n % 2} for n in range(6)]
    assert "3 problems have several texts under one name" in told(written("a.jsonl", rows))
    rows = [{**row, "question": f"q{row['problem']}"} for row in rows]
    assert "several texts" not in told(written("b.jsonl", rows))


def test_a_table_by_columns_is_read_as_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line or several, with lists or as pandas writes it with an object a column; lists of a problem stay."""
    monkeypatch.chdir(tmp_path)
    lists = {"problem": ["a", "a", "b", "b"], "correct": [1, 0, 1, 1]}
    objects = {name: {str(n): value for n, value in enumerate(values)} for name, values in lists.items()}
    for place, (columns, indent) in enumerate([(lists, None), (lists, 1), (objects, None), (objects, 1)]):
        Path(f"{place}.json").write_text(json.dumps(columns, indent=indent))
        found = read(f"{place}.json")
        assert (found.problems, found.num_correct.tolist()) == (("a", "b"), [[1], [2]])
    Path("one.json").write_text(json.dumps({"problem": "a", "correct": [1, 0, 1]}))
    assert (read("one.json").problems, read("one.json").num_samples.tolist()) == (("a",), [[3]])


def test_a_repeated_sample_among_seeds_is_told(written: Written) -> None:
    rows = [{"problem": p, "seed": seed, "correct": seed % 2} for p in range(5) for seed in range(8)]
    assert read(written("a.jsonl", rows)).largest_k == 8
    assert "1 of 40 pairs of a problem and a seed have several samples, all others one" in told(
        written("b.jsonl", [*rows, rows[0]])
    )


def test_counts_under_the_name_of_marks_are_refused(written: Written) -> None:
    rows = [{"problem": p, "n": 16, "correct": p % 2} for p in range(4)]
    with pytest.raises(
        ValueError, match="each problem is there once, with correct 0 or 1 and n up to 16: want the num"
    ):
        read(written("a.jsonl", rows))
    samples = [{**row, "n": 16} for row in rows for _ in range(2)]  # n may also be how many were asked for
    assert read(written("b.jsonl", samples)).num_samples.tolist() == [[2]] * 4


@pytest.mark.parametrize("sizes", [(8, 4), (4, 8), (6, 5), (12, 16)])
def test_files_with_answers_may_differ_in_how_many_samples_they_have(written: Written, capfd, sizes) -> None:
    for name, size in zip("ab", sizes, strict=True):
        written(
            f"{name}.jsonl", [{"problem": p, "correct": n % 2, "answer": n % 3} for p in range(9) for n in range(size)]
        )
    done = runner(capfd)("samples", "a.jsonl", "b.jsonl", "--no-figure")
    assert (done.status, done.err) == (0, "")
    assert "MAJ@K" in done.out


def test_a_name_of_a_file_is_no_mathematics(written: Written, capfd) -> None:
    rows = [{"problem": p, "correct": n % 2} for p in range(5) for n in range(4)]
    names = [written(f"{end}$\\frac{{1$.jsonl", [*rows, {"problem": end, "correct": 1}]) for end in ("a", "b")]
    done = runner(capfd)("samples", *names, "--figure-format", "svg")
    assert (done.status, done.err) == (0, "")


def test_samples_without_an_answer_are_answers_of_predict_by_their_text(written: Written, capfd) -> None:
    rows = [{"problem": "p", "completion": f"t{n}", "answer": "5" if n < 3 else None, "score": n / 9} for n in range(9)]
    written("a.jsonl", [{**row, "correct": int(row["answer"] == "5")} for row in rows])
    done = runner(capfd)("predict", "--samples", "a.jsonl")
    note = "note: 6 samples have no answer: each other text of them counts as one\n"
    assert (done.status, done.err) == (0, note)
    assert "7 distinct answers, 1 of them correct; correctness Q = 0.333" in done.out
    written("b.jsonl", [{key: value for key, value in row.items() if key != "completion"} for row in rows])
    without = runner(capfd)("predict", "--samples", "b.jsonl", "--metric", "score", "--threshold", "0.4")
    assert "There is one correct answer, '(no answer)'" in without.out
    by_score = runner(capfd)("predict", "--samples", "a.jsonl", "--metric", "score", "--threshold", "0.4")
    assert by_score.status == 0
    assert "5 tied likeliest correct answers, 't4' among them" in by_score.out
    assert runner(capfd)("predict", "b.csv", "--metric", "x").err.endswith("it means nothing without --samples\n")


def test_parts_of_rates_name_problems_as_the_counts_do(written: Written, capfd) -> None:
    """A number is one problem whether it is written with a point or without."""
    rows = [{"problem": n, "n": 8, "c": 1 + n % 6, "source": "ab"[n % 2]} for n in range(40)]
    after = written("after.jsonl", [{**row, "c": row["c"] + 1} for row in rows])
    runs = []
    for name, kind in (("whole.jsonl", int), ("mixed.jsonl", lambda n: float(n) if n % 3 else n)):
        before = written(name, [{**row, "problem": kind(row["problem"])} for row in rows])
        done = runner(capfd)("rates", before, after, "--part", "source")
        assert (done.status, done.err) == (0, "")
        runs.append([line.split() for line in done.out.splitlines() if re.match(" +[ab] +20 ", line)])
    assert len(runs[0]) >= 2
    assert runs[0] == runs[1]


def test_rates_of_problems_that_were_all_solved_or_never_are_drawn(written: Written, capfd) -> None:
    before = written("before.jsonl", [{"problem": n, "n": 8, "c": 8} for n in range(30)])
    after = written("after.jsonl", [{"problem": n, "n": 8, "c": 0} for n in range(30)])
    done = runner(capfd)("rates", before, after)
    assert (done.status, done.err) == (0, "")
