"""All solutions of Countdown problems, raw and canonical, and the values of templates, against a slow solver."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from sharpening.llm.countdown import classes, formats, solver
from sharpening.llm.countdown.forms import Forms
from sharpening.llm.countdown.problems import OPERATORS, Problem
from tests import reference_countdown

OPERATOR_SETS = ("+-*/", "+-*", "*/", "+*/", "+-", "+*", "+", "*", "/*-+")
NUM_CLASSES = {1: 1, 2: 6, 3: 68, 4: 1170, 5: 27142, 6: 793002}
NUM_PROBLEMS = 60  # 1,000 were compared once: seeds 0 to 999 of `compare`


def exact(text: str) -> Fraction | None:
    """The value of a postfix text."""
    stack: list[Fraction | None] = []
    for token in text.split(" "):
        if token in OPERATORS:
            right, left = stack.pop(), stack.pop()
            stack.append(reference_countdown.apply(token, left, right))
        else:
            stack.append(Fraction(token))
    (whole,) = stack
    return whole


def random_problem(rng: np.random.Generator, num_numbers: int, operators: str) -> Problem:
    """A problem with small numbers, zeros and equal ones among them; most have a solution."""
    numbers = tuple(rng.integers(0, 10, num_numbers).tolist())
    tops, bottoms = solver.values(np.array([numbers]), operators)
    values = [top // bottom for top, bottom in zip(tops[0], bottoms[0], strict=True) if bottom and top % bottom == 0]
    return Problem(numbers, int(rng.choice(values)))


def compare(seed: int) -> None:
    """One random problem of up to four numbers, against the slow solver."""
    rng = np.random.default_rng(seed)
    operators = OPERATOR_SETS[seed % len(OPERATOR_SETS)] if seed % 2 else OPERATORS
    problem = random_problem(rng, int(rng.integers(1, 5)) if seed % 4 else 4, operators)
    expected = reference_countdown.solutions(problem.numbers, problem.target, operators)
    raw = solver.raw_solutions(problem, operators)
    assert sorted(raw) == sorted(expected)
    assert solver.num_raw_solutions(problem, operators) == len(expected)
    canonical = solver.canonical_solutions(problem, operators)
    assert sorted(expected[text] for text in canonical) == sorted(set(expected.values()))
    assert solver.num_canonical_solutions([problem], operators).tolist() == [len(canonical)]
    rows = solver.templates(len(problem.numbers), operators)
    rows = rows[solver.correct_templates([problem], operators)[0]]
    places = solver.template_classes(problem, operators)
    for row, place in zip(rows, places, strict=True):
        assert expected[formats.postfix(row, problem.numbers, operators)] == expected[canonical[place]]


@pytest.mark.parametrize("seed", range(NUM_PROBLEMS))
def test_solutions_are_those_of_the_slow_solver(seed: int) -> None:
    compare(seed)


@pytest.mark.parametrize(("numbers", "target"), [((1, 3, 4, 6, 9), 24), ((2, 2, 5, 5, 0), 10)])
def test_five_numbers_are_counted_as_by_the_slow_solver(numbers: tuple[int, ...], target: int) -> None:
    problem = Problem(numbers, target)
    expected = reference_countdown.solutions(numbers, target, "+-*")
    assert solver.num_raw_solutions(problem, "+-*") == len(expected)
    assert solver.num_canonical_solutions([problem], "+-*")[0] == len(set(expected.values()))


def test_the_one_well_known_solution_is_found() -> None:
    assert [formats.infix(text) for text in solver.raw_solutions(Problem((1, 3, 4, 6), 24))] == ["6 / (1 - 3 / 4)"]


@pytest.mark.parametrize("num_numbers", NUM_CLASSES)
def test_there_are_as_many_forms_as_published(num_numbers: int) -> None:
    assert len(Forms(num_numbers)) == NUM_CLASSES[num_numbers]


@pytest.mark.parametrize("num_numbers", NUM_CLASSES)
def test_no_two_forms_have_the_same_residues(num_numbers: int) -> None:
    index = np.arange(NUM_CLASSES[num_numbers])
    assert len(np.unique(classes.form_residues(num_numbers, OPERATORS, index))) == len(index)


@pytest.mark.parametrize("operators", OPERATOR_SETS)
def test_forms_are_the_classes_of_all_expressions(operators: str) -> None:
    numbers = (101, 103, 107, 109)
    every = [expression for expression, _ in reference_countdown.expressions(numbers, operators)]
    assert len(Forms(4, operators)) == len({reference_countdown.class_of(each, numbers) for each in every})


@pytest.mark.parametrize("operators", OPERATOR_SETS)
def test_the_text_of_a_form_has_its_value_and_uses_what_is_allowed(operators: str) -> None:
    numbers = (101, 103, 107, 109)
    listed = Forms(4, operators)
    tops, bottoms = listed.values(np.array([numbers]))
    for index, (top, bottom) in enumerate(zip(tops[0].tolist(), bottoms[0].tolist(), strict=True)):
        text = listed.postfix(index, numbers)
        assert exact(text) == Fraction(top, bottom)
        tokens = text.split(" ")
        assert sorted(set(tokens) - set(operators)) == sorted(map(str, numbers))
        assert len(tokens) == 2 * len(numbers) - 1


def test_a_form_beyond_the_last_has_no_text() -> None:
    with pytest.raises(IndexError, match="6"):
        Forms(2).postfix(6, (1, 2))


@pytest.mark.parametrize(
    ("numbers", "target"),
    [((3, 3, 5, 1), 5), ((5, 5, 5, 5), 5), ((4, 3, 5, 0), 0), ((2, 0, 0, 1), 1), ((0, 0, 0, 0), 0), ((7, 7), 1)],
)
def test_equal_numbers_and_zeros_are_counted_as_by_the_slow_solver(numbers: tuple[int, ...], target: int) -> None:
    problem = Problem(numbers, target)
    expected = reference_countdown.solutions(numbers, target, OPERATORS)
    assert solver.num_raw_solutions(problem) == len(expected)
    assert len(solver.canonical_solutions(problem)) == len(set(expected.values()))


def test_six_numbers_are_counted() -> None:
    problem = Problem((3, 7, 25, 50, 75, 100), 952)
    texts = solver.canonical_solutions(problem)
    assert solver.num_canonical_solutions([problem]).tolist() == [len(texts)]
    for text in texts:
        assert exact(text) == 952
        assert Counter(text.split(" ")) >= Counter(map(str, problem.numbers))


def test_six_numbers_have_as_many_texts_as_their_expressions_with_one_operator() -> None:
    num_trees = math.factorial(6) * 42  # orders of the numbers times ways to set parentheses
    assert solver.num_raw_solutions(Problem((1, 2, 3, 4, 5, 6), 21), "+") == num_trees
    assert solver.num_raw_solutions(Problem((1, 1, 1, 4, 4, 6), 17), "+") == num_trees // (6 * 2)
    assert solver.num_canonical_solutions([Problem((1, 1, 1, 4, 4, 6), 17)], "+").tolist() == [1]


@pytest.mark.parametrize("operators", OPERATOR_SETS)
def test_values_are_exact_and_undefined_after_a_division_by_zero(operators: str) -> None:
    numbers = np.array([[3, 0, 2, 2], [4, 1, 3, 1], [-1, 2, 0, 7]])
    tops, bottoms = solver.values(numbers, operators)
    for row, top, bottom in zip(numbers, tops, bottoms, strict=True):
        texts = (formats.postfix(each, row, operators) for each in solver.templates(4, operators))
        for text, a, b in zip(texts, top.tolist(), bottom.tolist(), strict=True):
            assert exact(text) == (Fraction(a, b) if b else None)
            assert b or not a


@pytest.mark.parametrize(
    ("num_numbers", "operators", "count"),
    [(1, "+", 1), (2, "+-", 4), (3, "+-*/", 192), (4, "+-*", 3240), (4, "+-*/", 7680), (5, "+-*/", 430080)],
)
def test_templates_are_all_there_and_distinct(num_numbers: int, operators: str, count: int) -> None:
    rows = solver.templates(num_numbers, operators)
    assert rows.shape == (count, 2 * num_numbers - 1)
    assert len({row.tobytes() for row in rows}) == count
    assert (np.sort(np.where(rows < num_numbers, rows, 99), axis=1)[:, :num_numbers] == np.arange(num_numbers)).all()


def test_templates_keep_their_order() -> None:
    assert solver.templates(2, "+-").tolist() == [[0, 1, 2], [0, 1, 3], [1, 0, 2], [1, 0, 3]]
    assert solver.templates(3, "*").tolist()[:3] == [[0, 1, 2, 3, 3], [0, 2, 1, 3, 3], [1, 0, 2, 3, 3]]
    with pytest.raises(ValueError, match="read-only"):
        solver.templates(2, "+-")[0, 0] = 1


@pytest.mark.parametrize("num_numbers", [4, 5])  # forty of five numbers are done in two parts
def test_problems_of_one_batch_do_not_touch_each_other(num_numbers: int) -> None:
    rng = np.random.default_rng(5)
    numbers = rng.integers(0, 10, (40, num_numbers)).tolist()
    problems = [Problem(tuple(row), target) for target, row in enumerate(numbers)]
    together = solver.correct_templates(problems[:10], "+-*")
    for problem, row in zip(problems, together, strict=False):
        np.testing.assert_array_equal(row, solver.correct_templates([problem], "+-*")[0])
    counts = solver.num_canonical_solutions(problems)
    assert counts.tolist() == [len(solver.canonical_solutions(problem)) for problem in problems]


@pytest.mark.parametrize("numbers", [(1, 2), (1, 2, 3, 4, 5)])
def test_a_problem_without_solution_has_none(numbers: tuple[int, ...]) -> None:
    problem = Problem(numbers, 1_000_003)
    assert solver.num_canonical_solutions([problem]).tolist() == [0]
    assert solver.num_raw_solutions(problem) == 0
    assert solver.raw_solutions(problem) == solver.canonical_solutions(problem) == []
    assert solver.template_classes(problem).tolist() == []


def test_large_numbers_are_exact_to_the_bound_and_refused_beyond_it() -> None:
    largest = 2**31 - 1
    assert solver.num_raw_solutions(Problem((largest, largest), 1)) == 1
    for call in (solver.raw_solutions, solver.num_raw_solutions, solver.template_classes):
        with pytest.raises(ValueError, match=r"numbers \[2147483647, 2147483647\] and target 5: want .* below 2\*\*63"):
            call(Problem((largest, largest), 5))
    with pytest.raises(ValueError, match=r"want .* below"):
        solver.values(np.array([[2**31, 2**31]]))


@pytest.mark.parametrize(
    ("num_numbers", "operators", "message"),
    [
        (6, "+", "num_numbers is 6: want an integer from 1 to 5"),
        (0, "+", "num_numbers is 0: want an integer from 1 to 5"),
        (2, "", "operators is '': want distinct characters"),
        (2, "++", "want distinct characters"),
        (2, "+^", "want distinct characters"),
        (2, "*-", r"operators is '\*-': want \+ with -"),
        (2, "+/", r"want \* with /"),
    ],
)
def test_what_cannot_be_listed_is_refused(num_numbers: int, operators: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        solver.templates(num_numbers, operators)
    if num_numbers:
        with pytest.raises(ValueError, match=message):
            solver.values(np.ones((1, num_numbers), np.int64), operators)


def test_forms_of_seven_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="num_numbers is 7: want an integer from 1 to 6"):
        Forms(7)


def test_problems_of_different_sizes_are_refused_together() -> None:
    with pytest.raises(ValueError, match=r"problems of \[1, 2\] numbers: want .* equally many"):
        solver.correct_templates([Problem((1,), 1), Problem((1, 2), 3)])
