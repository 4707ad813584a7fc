"""Every way to write an expression that uses each of n numbers exactly once, its exact value, and all solutions.

A template is such an expression with places for the numbers. Over a set of places the templates come in this order: by
the places of the left operand, whose sets are counted as binary numbers (place i is the bit 2**i); then by the operator
at the top; then by the template of the left operand, and last by that of the right one.

Solutions are counted in two ways. Raw: expressions that differ as text, in the order of their operands or in their
parentheses; with equal numbers several templates give one text. Canonical: classes of expressions that are equal for
generic operands; `countdown_forms` says which those are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from sharpening.llm.countdown import arithmetic, classes, formats
from sharpening.llm.countdown.arithmetic import OPERATORS, Integers, Pair
from sharpening.llm.countdown.problems import Problem

MOST_NUMBERS = 5  # with 4 operators 430,080 templates; for six numbers they would be 31 million


@lru_cache(maxsize=16)
def templates(num_numbers: int, operators: str = OPERATORS) -> NDArray[np.int8]:
    """Every postfix expression that uses each of n places exactly once, in the order of this module's docstring.

    Entry i < n is the number at place i and entry n + j is operators[j]. There are n! Catalan(n-1) times
    len(operators)**(n-1) of them: 3,240 for four numbers and three operators, 7,680 with four.

    Shapes:   returns (num_templates, 2 n - 1), which cannot be written to.
    Requires: 1 <= num_numbers <= 5.
    """
    _check(num_numbers, operators)
    rows: dict[int, NDArray[np.int8]] = {}
    for places in range(1, 1 << num_numbers):
        if places.bit_count() == 1:
            rows[places] = np.full((1, 1), places.bit_length() - 1, np.int8)
            continue
        parts = [
            _joined(rows[left], rows[right], num_numbers + operator)
            for left, right in arithmetic.splits(places)
            for operator in range(len(operators))
        ]
        rows[places] = np.concatenate(parts)
    rows[places].flags.writeable = False
    return rows[places]


def _check(num_numbers: int, operators: str) -> None:
    arithmetic.check_operators(operators)
    if not 1 <= num_numbers <= MOST_NUMBERS:
        raise ValueError(f"num_numbers is {num_numbers}: want an integer from 1 to {MOST_NUMBERS}")


def _joined(left: NDArray[np.int8], right: NDArray[np.int8], entry: int) -> NDArray[np.int8]:
    """Every left row followed by every right row and the operator."""
    last = np.full((len(left) * len(right), 1), entry, np.int8)
    return np.hstack([np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1)), last])


def values(numbers: Integers, operators: str = OPERATORS) -> Pair:
    """Numerator and denominator of the exact value of every template, for every problem.

    They need not be reduced, and a denominator may be negative. A division by zero makes a value undefined, and so are
    all values computed from it: both numbers are 0.

    Shapes:   numbers: (num_problems, n). Returns (num_problems, num_templates) twice.
    Requires: 1 <= n <= 5; 2**(n-1) times the product of the numbers of a problem (zeros left out) below 2**63.
    """
    numbers = np.asarray(numbers)
    _check(numbers.shape[1], operators)
    arithmetic.check_sizes(numbers, np.ones(len(numbers), np.int64))
    return _values(numbers, operators)


def _values(numbers: Integers, operators: str, modulus: int | None = None) -> Pair:
    """Exact values, or residues modulo a number below 2**31."""
    table: dict[int, Pair] = {}
    for places in range(1, 1 << numbers.shape[1]):
        if places.bit_count() == 1:
            column = numbers[:, [places.bit_length() - 1]].astype(np.int64)
            table[places] = column, np.ones_like(column)
            continue
        splits = arithmetic.splits(places)
        parts = [_combined(table[left], table[right], operators, modulus) for left, right in splits]
        table[places] = np.hstack([top for top, _ in parts]), np.hstack([bottom for _, bottom in parts])
    return table[places]


def _combined(left: Pair, right: Pair, operators: str, modulus: int | None = None) -> Pair:
    """Every operator between every left and every right value."""
    a, b = (each[:, :, None] for each in left)
    c, d = (each[:, None, :] for each in right)
    ad, bc, bd = (a * d, b * c, b * d) if "/" in operators else (a, c, b[:, :1])  # all denominators are then 1
    tops, bottoms = np.empty((2, len(a), len(operators), a.shape[1], c.shape[2]), np.int64)
    for place, operator in enumerate(operators):
        bottoms[:, place] = bc if operator == "/" else bd
        match operator:
            case "+":
                np.add(ad, bc, out=tops[:, place])
            case "-":
                np.subtract(ad, bc, out=tops[:, place])
            case "*":
                np.multiply(a, c, out=tops[:, place])
            case "/":
                np.multiply(ad, c != 0, out=tops[:, place])
    if modulus:
        tops, bottoms = tops % modulus, bottoms % modulus
    return tops.reshape(len(a), -1), bottoms.reshape(len(a), -1)


def correct_templates(problems: Sequence[Problem], operators: str = OPERATORS) -> NDArray[np.bool_]:
    """Which templates have the target as their value, for problems of equally many numbers.

    Shapes:   returns (num_problems, num_templates).
    """
    numbers, targets = arrays(problems)
    arithmetic.check_sizes(numbers, targets)
    tops, bottoms = values(numbers, operators)
    return np.asarray((tops == targets[:, None] * bottoms) & (bottoms != 0))


def arrays(problems: Sequence[Problem]) -> tuple[Integers, Integers]:
    """The numbers, (num_problems, n), and the targets, (num_problems,)."""
    sizes = {len(problem.numbers) for problem in problems}
    if len(sizes) != 1:
        raise ValueError(f"problems of {sorted(sizes)} numbers: want at least one problem, all of equally many numbers")
    return np.array([problem.numbers for problem in problems]), np.array([problem.target for problem in problems])


def raw_solutions(problem: Problem, operators: str = OPERATORS) -> list[str]:
    """All correct expressions that differ as text, in postfix; for up to five numbers."""
    rows = templates(len(problem.numbers), operators)[correct_templates([problem], operators)[0]]
    return list(dict.fromkeys(formats.postfix(row, problem.numbers, operators) for row in rows))


def num_raw_solutions(problem: Problem, operators: str = OPERATORS) -> int:
    """The number of correct expressions that differ as text, for up to six numbers.

    Expressions over the places are counted by their value, over every set of places; a text belongs to as many of them
    as there are ways to exchange equal numbers.
    """
    numbers, targets = arrays([problem])
    arithmetic.check_operators(operators)
    arithmetic.check_sizes(numbers, targets)
    whole = (1 << len(problem.numbers)) - 1
    table: dict[int, tuple[Integers, Integers, Integers]] = {}
    for places in range(1, whole + 1):
        if places.bit_count() == 1:
            number = problem.numbers[places.bit_length() - 1]
            table[places] = np.array([number]), np.array([1]), np.array([1])
            continue
        parts = [_counted(table[left], table[right], operators) for left, right in arithmetic.splits(places)]
        tops, bottoms, counts = (np.concatenate([part[column] for part in parts]) for column in range(3))
        table[places] = (tops, bottoms, counts) if places == whole else _merged(tops, bottoms, counts)
    tops, bottoms, counts = table[whole]
    num_trees = int(counts[(tops == problem.target * bottoms) & (bottoms != 0)].sum())
    return num_trees // math.prod(map(math.factorial, Counter(problem.numbers).values()))


def _counted(
    left: tuple[Integers, Integers, Integers], right: tuple[Integers, Integers, Integers], operators: str
) -> tuple[Integers, Integers, Integers]:
    """Values of every operator between the values, and how many expressions have them."""
    tops, bottoms = _combined((left[0][None], left[1][None]), (right[0][None], right[1][None]), operators)
    return tops[0], bottoms[0], np.tile(np.outer(left[2], right[2]).ravel(), len(operators))


def _merged(tops: Integers, bottoms: Integers, counts: Integers) -> tuple[Integers, Integers, Integers]:
    """The same with each defined value once, in lowest terms."""
    is_defined = bottoms != 0
    tops, bottoms, counts = tops[is_defined], bottoms[is_defined], counts[is_defined]
    divisor = np.gcd(tops, bottoms) * np.sign(bottoms)
    tops, bottoms = tops // divisor, bottoms // divisor
    order = np.lexsort((bottoms, tops))
    tops, bottoms, counts = tops[order], bottoms[order], counts[order]
    first = np.flatnonzero(np.append(True, (np.diff(tops) != 0) | (np.diff(bottoms) != 0)))
    return tops[first], bottoms[first], np.add.reduceat(counts, first)


def canonical_solutions(problem: Problem, operators: str = OPERATORS) -> list[str]:
    """One correct expression of every class, in postfix; for up to six numbers."""
    numbers, targets = arrays([problem])
    (correct,) = classes.correct_forms(numbers, targets, operators)
    chosen = correct[np.unique(classes.classes(correct, numbers[0], operators))]
    listed = classes.forms(len(problem.numbers), operators)
    return [listed.postfix(int(index), problem.numbers) for index in chosen]


def num_canonical_solutions(problems: Sequence[Problem], operators: str = OPERATORS) -> Integers:
    """The number of classes of correct expressions, for problems of equally many numbers, up to six.

    Shapes:   returns (num_problems,).
    """
    return classes.counts(*arrays(problems), operators)


def template_classes(problem: Problem, operators: str = OPERATORS) -> Integers:
    """The class of each correct template, in order: a place in the list of `canonical_solutions`.

    Shapes:   returns (num_correct_templates,).
    """
    numbers, targets = arrays([problem])
    (correct,) = classes.correct_forms(numbers, targets, operators)
    label = classes.classes(correct, numbers[0], operators)
    own = classes.form_residues(len(problem.numbers), operators, correct)
    rows = np.flatnonzero(correct_templates([problem], operators)[0])
    points = classes.POINTS[:, : len(problem.numbers)]
    found = classes.residues(_values(points, operators, classes.PRIME), rows)
    by_residue = np.argsort(own)
    form = by_residue[np.searchsorted(own[by_residue], found)]
    return np.searchsorted(np.unique(label), label[form])
