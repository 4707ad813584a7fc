"""Every way to write an expression that uses each of n numbers exactly once, and its exact value.

A template is such an expression with places for the numbers. Over a set of places the templates come in this order: by
the places of the left operand, whose sets are counted as binary numbers (place i is the bit 2**i); then by the operator
at the top; then by the template of the left operand, and last by that of the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from llm.countdown import OPERATORS, Problem

Integers = NDArray[np.int64]

MOST_NUMBERS = 5  # with 4 operators 430,080 templates; for six numbers they would be 31 million
LARGEST = int(np.iinfo(np.int64).max)


def checked_operators(operators: str) -> str:
    """The same operators, or an error where they are not distinct ones of + - * /."""
    if not operators or set(operators) - set(OPERATORS) or len(set(operators)) < len(operators):
        raise ValueError(f"operators is {operators!r}: want distinct characters of {OPERATORS}, at least one")
    return operators


def splits(places: int) -> Iterator[tuple[int, int]]:
    """The places of the left operand and of the right one, in every way; sets of places are binary numbers."""
    for left in range(1, places):
        if left & places == left:
            yield left, places ^ left


@lru_cache(maxsize=16)
def templates(num_numbers: int, operators: str = OPERATORS) -> NDArray[np.int8]:
    """Every postfix expression that uses each of n places exactly once, in the order of this module's docstring.

    Entry i < n is the number at place i and entry n + j is operators[j]. There are n! Catalan(n-1) times
    len(operators)**(n-1) of them: 3,240 for four numbers and three operators, 7,680 with four.

    Shapes:   returns (num_templates, 2 n - 1), which cannot be written to.
    Requires: 1 <= num_numbers <= 5.
    """
    checked_operators(operators)
    if not 1 <= num_numbers <= MOST_NUMBERS:
        raise ValueError(f"num_numbers is {num_numbers}: want an integer from 1 to {MOST_NUMBERS}")
    rows = {1 << place: np.full((1, 1), place, np.int8) for place in range(num_numbers)}
    for places in range(1, 1 << num_numbers):
        if places not in rows:
            rows[places] = np.concatenate(
                [
                    _joined(rows[left], rows[right], num_numbers + operator)
                    for left, right in splits(places)
                    for operator in range(len(operators))
                ]
            )
    rows[places].flags.writeable = False
    return rows[places]


def _joined(left: NDArray[np.int8], right: NDArray[np.int8], entry: int) -> NDArray[np.int8]:
    """Every left row followed by every right row and the operator."""
    last = np.full((len(left) * len(right), 1), entry, np.int8)
    return np.hstack([np.repeat(left, len(right), axis=0), np.tile(right, (len(left), 1)), last])


def values(numbers: Integers, operators: str = OPERATORS) -> tuple[Integers, Integers]:
    """Numerator and denominator of the exact value of every template, for every problem.

    They need not be reduced, and a denominator may be negative. A division by zero makes a value undefined, and so are
    all values computed from it: both numbers are 0.

    Shapes:   numbers: (num_problems, n). Returns (num_problems, num_templates) twice; the second cannot be written to.
    Requires: 1 <= n <= 5; 2**(n-1) times the product of the numbers of a problem (zeros left out) below 2**63.
    """
    numbers = np.asarray(numbers)
    checked_operators(operators)
    num_problems, num_numbers = numbers.shape
    if not 1 <= num_numbers <= MOST_NUMBERS:
        raise ValueError(f"num_numbers is {num_numbers}: want an integer from 1 to {MOST_NUMBERS}")
    check_sizes(numbers, np.ones(num_problems, np.int64))
    table: dict[int, tuple[Integers, Integers]] = {}
    for places in range(1, 1 << num_numbers):
        if places.bit_count() == 1:
            column = numbers[:, [places.bit_length() - 1]].astype(np.int64)
            table[places] = column, np.ones_like(column)
            continue
        parts = [_combined(table[left], table[right], operators) for left, right in splits(places)]
        tops = np.concatenate([top for top, _ in parts], axis=1)
        if "/" in operators:
            table[places] = tops, np.concatenate([bottom for _, bottom in parts], axis=1)
        else:
            table[places] = tops, np.broadcast_to(np.int64(1), tops.shape)
    return table[places]


def _combined(
    left: tuple[Integers, Integers], right: tuple[Integers, Integers], operators: str
) -> tuple[Integers, Integers]:
    """Every operator between every left and every right value; without division all denominators are 1."""
    (a, b), (c, d) = ((top[:, :, None], bottom[:, :, None]) for top, bottom in (left, right))
    c, d = c.swapaxes(1, 2), d.swapaxes(1, 2)
    shape = len(a), len(operators), a.shape[1], c.shape[2]
    tops, bottoms = np.empty(shape, np.int64), np.empty(shape if "/" in operators else 0, np.int64)
    if "/" not in operators:
        for place, operator in enumerate(operators):
            {"+": np.add, "-": np.subtract, "*": np.multiply}[operator](a, c, out=tops[:, place])
        return tops.reshape(len(a), -1), bottoms
    ad, cb, bd = a * d, c * b, b * d
    for place, operator in enumerate(operators):
        bottoms[:, place] = b * c * (d != 0) if operator == "/" else bd
        match operator:
            case "+":
                np.add(ad, cb, out=tops[:, place])
            case "-":
                np.subtract(ad, cb, out=tops[:, place])
            case "*":
                np.multiply(a, c, out=tops[:, place])
            case "/":
                np.multiply(ad, c != 0, out=tops[:, place])
    return tops.reshape(len(a), -1), bottoms.reshape(len(a), -1)


def check_sizes(numbers: NDArray[np.integer], targets: NDArray[np.integer]) -> None:
    """Refuse numbers whose expressions could leave 64 bits, or could once multiplied by the target.

    Every numerator and denominator of an expression of n numbers is at most 2**(n-1) times the product of the numbers.
    """
    for row, target in zip(numbers.tolist(), targets.tolist(), strict=True):
        bound = max(1, abs(target)) << (len(row) - 1)
        for number in row:
            bound *= max(1, abs(number))
        if bound > LARGEST:
            raise ValueError(
                f"numbers is {row} and target {target}: want 2**(n-1) times the product of all of them below 2**63"
            )


def correct_templates(problems: Sequence[Problem], operators: str = OPERATORS) -> NDArray[np.bool_]:
    """Which templates have the target as their value, for problems of equally many numbers.

    Shapes:   returns (num_problems, num_templates).
    """
    numbers, targets = arrays(problems)
    check_sizes(numbers, targets)
    tops, bottoms = values(numbers, operators)
    return np.asarray((tops == targets[:, None] * bottoms) & (bottoms != 0))


def arrays(problems: Sequence[Problem]) -> tuple[Integers, Integers]:
    """The numbers, (num_problems, n), and the targets, (num_problems,)."""
    sizes = {len(problem.numbers) for problem in problems}
    if len(sizes) != 1:
        raise ValueError(f"problems of {sorted(sizes)} numbers: want at least one problem, all of equally many numbers")
    return np.array([problem.numbers for problem in problems]), np.array([problem.target for problem in problems])
