"""Countdown problems: how they are drawn, split, read from files, and written as prompts and answers."""

import ast
import itertools
import json
import sys
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from sharpening.llm.countdown import files, formats, solver, verifier
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.problems import Problem, Settings
from tests.tolerances import MONTE_CARLO_Z

EASY = Settings(num_numbers=3, largest_number=9)
COUNTED = Settings(num_numbers=4, largest_number=9, min_solutions=3, max_solutions=5, split="test")
MOST_BYTES = 1_000_000  # a batch and its arrays take half of it; ten thousand problems in a list twice as much


def drawn(settings: Settings, seed: int, count: int) -> list[Problem]:
    return list(itertools.islice(countdown.problems(settings, np.random.default_rng(seed)), count))


def test_the_seed_decides_what_is_drawn() -> None:
    assert drawn(EASY, 0, 500) == drawn(EASY, 0, 500)
    assert drawn(EASY, 0, 500) != drawn(EASY, 1, 500)


@pytest.mark.parametrize(
    "settings",
    [
        EASY,
        COUNTED,
        Settings(num_numbers=2, smallest_number=0, largest_number=3, operators="/*", max_target=0, min_target=0),
        Settings(
            num_numbers=5, smallest_number=10, largest_number=20, operators="+-*/", min_target=500, max_target=900
        ),
        Settings(num_numbers=6, operators="+-", split="validation"),
    ],
)
def test_drawn_problems_are_solvable_and_as_asked(settings: Settings) -> None:
    problems = drawn(settings, 0, 60)
    for problem in problems:
        assert len(problem.numbers) == settings.num_numbers
        assert all(settings.smallest_number <= number <= settings.largest_number for number in problem.numbers)
        assert settings.min_target <= problem.target <= settings.max_target
        assert countdown.split_of(problem) == settings.split
    counts = solver.num_canonical_solutions(problems, settings.operators)
    assert (counts >= settings.min_solutions).all()
    assert settings.max_solutions is None or (counts <= settings.max_solutions).all()


def test_both_ends_of_the_ranges_are_drawn() -> None:
    problems = drawn(EASY, 0, 20_000)
    assert {number for problem in problems for number in problem.numbers} == set(range(1, 10))
    assert {problem.target for problem in problems} >= {EASY.min_target, EASY.max_target}
    assert set(solver.num_canonical_solutions(drawn(COUNTED, 0, 60), "+-*").tolist()) == {3, 4, 5}


def test_drawing_takes_no_more_memory_the_longer_it_goes() -> None:
    tracemalloc.start()
    for _ in itertools.islice(countdown.problems(EASY, np.random.default_rng(0)), 10_000):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MOST_BYTES


def test_neither_order_nor_seed_moves_a_problem_to_another_split() -> None:
    for problem in drawn(EASY, 0, 50):
        for numbers in itertools.permutations(problem.numbers):
            assert countdown.split_of(Problem(numbers, problem.target)) == "train"
            assert Problem(numbers, problem.target).id == problem.id
    held_out = {problem.id for problem in drawn(EASY.model_copy(update={"split": "test"}), 1, 2_000)}
    assert held_out.isdisjoint(problem.id for problem in drawn(EASY, 2, 20_000))


def test_splits_have_their_shares_and_stay_where_they_were() -> None:
    problems = [Problem((1, 2, number), target) for number in range(100) for target in range(100)]
    counts = Counter(map(countdown.split_of, problems))
    for split, share in (("test", 0.1), ("validation", 0.1), ("train", 0.8)):
        error = (len(problems) * share * (1 - share)) ** 0.5
        assert abs(counts[split] - share * len(problems)) < MONTE_CARLO_Z * error
    assert [countdown.split_of(Problem((1, 2, 0), target)) for target in (2, 3, 10)] == ["train", "test", "validation"]


def test_an_id_forgets_the_order_of_the_numbers_only() -> None:
    assert Problem((9, 10, 1, 5), 25).id == "1,5,9,10=25"
    assert Problem((9, 10, 1, 5), 24).id != Problem((9, 10, 1, 5), 25).id


def test_distinct_problems_are_the_first_ones_without_repeats() -> None:
    found = countdown.distinct(EASY, np.random.default_rng(3), 300)
    first: dict[str, Problem] = {}
    for problem in countdown.problems(EASY, np.random.default_rng(3)):
        first.setdefault(problem.id, problem)
        if len(first) == 300:
            break
    assert found == list(first.values())


def test_too_few_distinct_problems_are_counted() -> None:
    few = Settings(num_numbers=2, largest_number=5, operators="+")
    pairs = itertools.combinations_with_replacement(range(1, 6), 2)
    available = [pair for pair in pairs if countdown.split_of(Problem(pair, sum(pair))) == "train"]
    assert len(countdown.distinct(few, np.random.default_rng(0), len(available))) == len(available)
    assert len(countdown.up_to(few, np.random.default_rng(0), 16)) == len(available)
    with pytest.raises(ValueError, match=f"count: 16: found {len(available)} distinct problems"):
        countdown.distinct(few, np.random.default_rng(0), 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Settings(operators="+", min_target=90), "min_target: 90, max_target: 100: none of 262144 expressions"),
        (Settings(num_numbers=2, operators="+", min_solutions=2), "min_solutions: 2, max_solutions: None: none of"),
    ],
)
def test_settings_that_give_nothing_are_refused(settings: Settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        drawn(settings, 0, 1)


def test_rare_problems_are_drawn_as_long_as_they_come(monkeypatch: pytest.MonkeyPatch) -> None:
    rare = Settings(operators="+", min_target=37, split="test")  # one batch in three has one
    monkeypatch.setattr(countdown, "MOST_DRAWS", 40 * countdown.BATCH)
    assert len(drawn(rare, 0, 60)) == 60
    counted = COUNTED.model_copy(update={"min_solutions": 8, "max_solutions": 10})
    monkeypatch.setattr(countdown, "MOST_COUNTED", 300)
    assert len(drawn(counted, 0, 60)) == 60


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"operators": "+/"}, r"operators is '\+/': want \* with /"),
        ({"operators": "+^"}, "want distinct characters"),
        ({"smallest_number": 11}, "smallest_number: 11: want at most largest_number, 10"),
        ({"min_target": 101}, "min_target: 101: want at most max_target, 100"),
        ({"min_solutions": 3, "max_solutions": 2}, "min_solutions: 3: want at most max_solutions, 2"),
        ({"largest_number": 10**6}, r"largest_number: 1000000: .* below 2\*\*63"),
        ({"max_target": 10**16}, r"largest_number: 10: .* target 10000000000000000: want .* below 2\*\*63"),
        ({"num_numbers": 7}, "num_numbers"),
        ({"smallest_number": -1}, "smallest_number"),
        ({"split": "all"}, "split"),
        ({"targets": 3}, "targets"),
    ],
)
def test_impossible_settings_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings(**fields)


def written(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    expected = [Problem((44, 19, 35), 98), Problem((1, 1), 5)]
    public = written(tmp_path / "a.jsonl", {"target": 98, "nums": [44, 19, 35], "id": 7}, {"nums": [1, 1], "target": 5})
    ours = tmp_path / "b.jsonl"
    ours.write_text('{"numbers": [44, 19, 35], "target": 98}\n\n{"numbers": [1, 1], "target": 5}')
    assert files.load(public) == files.load(ours) == (expected, 0)
    assert solver.num_canonical_solutions(expected[1:]).tolist() == [0]


def test_parquet_files_are_read(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "problems.parquet"
    parquet.write_table(pyarrow.table({"target": [98, 5], "nums": [[44, 19, 35], [1, 1]]}), path)
    assert files.load(path) == ([Problem((44, 19, 35), 98), Problem((1, 1), 5)], 0)
    parquet.write_table(pyarrow.table({"target": [98, 5], "nums": [[44, 19, 35], [1, -1]]}), path)
    with pytest.raises(ValueError, match=r"problems.parquet: row 2: nums is \[1, -1\]: want a list of 1 to 6 integers"):
        files.load(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a readable parquet file"):
        files.load(path)


GOOD = b'{"nums": [1, 2], "target": 3}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "the file is empty: want at least one problem"),
        (b"\n \n", "the file is empty"),
        (GOOD + b'{"nums": [1, 2]}', "line 2: no field target: want it, found nums"),
        (b'{"target": 3}', "line 1: no field nums or numbers: want it, found target"),
        (b'{"nums": [1, 2.0], "target": 3}', r"line 1: nums is \[1, 2.0\]: want a list of 1 to 6 integers from 0"),
        (b'{"numbers": [1, true], "target": 3}', r"line 1: numbers is \[1, true\]: want"),
        (b'{"nums": [1, "2"], "target": 3}', r'line 1: nums is \[1, "2"\]: want'),
        (b'{"nums": [1, -2], "target": 3}', r"line 1: nums is \[1, -2\]: want"),
        (b'{"nums": [], "target": 3}', r"line 1: nums is \[\]: want"),
        (b'{"nums": [1, 2, 3, 4, 5, 6, 7], "target": 3}', "line 1: nums is .*: want a list of 1 to 6"),
        (b'{"nums": "12", "target": 3}', 'line 1: nums is "12": want'),
        (b'{"nums": [1, 2], "target": null}', "line 1: target is null: want an integer from 0"),
        (b'{"nums": [1, 2], "target": false}', "line 1: target is false: want"),
        (b'{"nums": [1, 2], "target": 3.5}', "line 1: target is 3.5: want"),
        (b'{"nums": [1, 2], "target": NaN}', "line 1: target is NaN: want"),
        (b'{"nums": [4294967296, 4294967296], "target": 3}', r"line 1: numbers .* want .* below 2\*\*63"),
        (
            b'{"id": 1, "nums": [1, 2], "target": 3}\n{"id": 1, "nums": [1, 2], "target": 2}',
            "line 2: id 1 is in line 1 too",
        ),
        (GOOD + b"nums", "line 2: not JSON: want one object a line, found nums"),
        (b"[" * 100_000, "line 1: not JSON: want one object a line"),
        (b'{"nums": [1, 2], "target": ' + b"9" * 5_000 + b"}", "line 1: not JSON"),
        (b"[1, 2]", r"line 1: want one JSON object a line, found \[1, 2\]"),
        (b'{"nums": [1, 2], "target": "\xff"}', "line 1: byte 29 is not UTF-8: want UTF-8 text"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=message) as caught:
        files.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value).removeprefix(str(path))) < 200
    assert "\n" not in str(caught.value)


def test_a_repeated_problem_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_bytes(GOOD + b'{"nums": [2, 1], "target": 3}\n{"nums": [2, 1], "target": 2}\n')
    assert files.load(path) == ([Problem((1, 2), 3), Problem((2, 1), 2)], 1)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"absent.jsonl: cannot be read: No such file"):
        files.load(tmp_path / "absent.jsonl")


def test_the_compact_prompt_is_words() -> None:
    problem = Problem((9, 10, 1, 5), 25)
    prompt = formats.prompt(problem, "compact")
    assert (prompt.id, prompt.text) == ("1,5,9,10=25", "numbers 9 10 1 5 target 25")


def test_the_chat_prompt_states_the_rules() -> None:
    prompt = formats.prompt(Problem((9, 10, 1, 5), 25), "chat", "+-")
    (message,) = prompt.text
    assert isinstance(message, dict)
    assert message["role"] == "user"
    for part in ("exactly 25", "9, 10, 1, 5", "exactly once", "operators + - and", "<think>", "<answer>", "</answer>"):
        assert part in message["content"]
    assert "*" not in message["content"]


@pytest.mark.parametrize("seed", range(20))
def test_infix_keeps_the_order_of_operations_with_the_fewest_parentheses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row = rng.choice(solver.templates(5))
    text = formats.postfix(row, (2, 3, 5, 7, 11))
    short, full = formats.infix(text), formats.infix(text, is_full=True)
    assert ast.dump(ast.parse(short)) == ast.dump(ast.parse(full))
    assert full.count("(") == 4
    for opened in (place for place, character in enumerate(short) if character == "("):
        depth = np.cumsum([(character == "(") - (character == ")") for character in short[opened:]])
        closed = opened + int(np.flatnonzero(depth == 0)[0])
        without = short[:opened] + short[opened + 1 : closed] + short[closed + 1 :]
        assert ast.dump(ast.parse(without)) != ast.dump(ast.parse(full))


@pytest.mark.parametrize("operators", ["+-*", "+-*/"])
def test_the_verifier_accepts_the_solutions_in_both_formats_and_nothing_else(operators: str) -> None:
    problem = Problem((3, 3, 8, 2), 10)
    correct = set(solver.raw_solutions(problem, operators))
    rows = solver.templates(4, operators)[::7]
    texts = {formats.postfix(row, problem.numbers, operators) for row in rows} | correct
    for text in texts:
        for text_format, notation in (("compact", "postfix"), ("chat", "infix")):
            answer = formats.answer(text, text_format)
            mark = verifier.verify(answer, problem.numbers, problem.target, notation=notation, operators=operators)
            assert mark.well_formed
            assert mark.correct == (text in correct)


def test_parquet_without_pyarrow_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "problems").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"problems: reading parquet needs pyarrow: want `pip install pyarrow` first$"):
        files.load(tmp_path / "problems")
