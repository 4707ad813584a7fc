"""Which canonical forms reach a target, and how many classes they are where numbers are equal.

Forms are told apart by their residues: their values, modulo a prime, at two fixed points. No two forms of up to six
numbers have the same (tests/test_countdown_solver.py), so looking one up finds the right one, exactly. Exchanging two
equal numbers maps the correct forms to correct forms; a class is what such exchanges connect.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from sharpening.llm.countdown import arithmetic
from sharpening.llm.countdown.arithmetic import OPERATORS, Integers, Pair
from sharpening.llm.countdown.forms import Forms

PRIME = 2**31 - 1  # products of two residues fit into 64 bits, and so does the sum of two products
POINTS = np.random.default_rng(0).integers(1, PRIME, (2, 6))
MOST_AT_ONCE = 2**20  # values

Swap = tuple[int, int]

forms = lru_cache(maxsize=16)(Forms)


def correct_forms(numbers: Integers, targets: Integers, operators: str = OPERATORS) -> Iterator[Integers]:
    """For each problem, the forms whose value is the target.

    Shapes:   numbers: (num_problems, n); targets: (num_problems,).
    """
    arithmetic.check_sizes(numbers, targets)
    listed = forms(numbers.shape[1], operators)
    step = max(1, MOST_AT_ONCE // len(listed))
    for begin in range(0, len(numbers), step):
        tops, bottoms = listed.values(numbers[begin : begin + step])
        is_correct = (tops == targets[begin : begin + step, None] * bottoms) & (bottoms != 0)
        yield from (np.flatnonzero(row) for row in is_correct)


def counts(numbers: Integers, targets: Integers, operators: str = OPERATORS) -> Integers:
    """The number of classes of correct expressions of each problem.

    Shapes:   numbers: (num_problems, n); targets: (num_problems,). Returns (num_problems,).
    """
    found = zip(numbers, correct_forms(numbers, targets, operators), strict=True)
    return np.array([len(np.unique(classes(correct, row, operators))) for row, correct in found], dtype=np.int64)


def classes(correct: Integers, numbers: Integers, operators: str = OPERATORS) -> Integers:
    """The class of each correct form: the place in `correct` of the first form of its class.

    Shapes:   correct: (num_correct,), all forms that reach some target; numbers: (n,). Returns (num_correct,).
    """
    label = np.arange(len(correct))
    order = np.argsort(numbers, kind="stable").tolist()
    swaps = [(first, second) for first, second in itertools.pairwise(order) if numbers[first] == numbers[second]]
    if not swaps or not len(correct):
        return label
    own = form_residues(len(numbers), operators, correct)
    by_residue = np.argsort(own)
    images = []
    for swap in swaps:
        image = form_residues(len(numbers), operators, correct, swap)
        images.append(by_residue[np.searchsorted(own[by_residue], image)])
    while True:  # every exchange undoes itself, so labels fall until they are the least of the class
        least = label.copy()
        for image in images:
            least = np.minimum(least, least[image])
        if np.array_equal(least, label):
            return label
        label = least


def form_residues(num_numbers: int, operators: str, index: Integers, swap: Swap | None = None) -> Integers:
    """The residues of some forms, at the points or where two of their coordinates are exchanged.

    Shapes:   index: (num_chosen,). Returns (num_chosen,).
    """
    return residues(_at_points(num_numbers, operators, swap), index)


@lru_cache(maxsize=32)
def _at_points(num_numbers: int, operators: str, swap: Swap | None) -> Pair:
    """All forms at the two points, of which two coordinates may be exchanged."""
    points = POINTS[:, :num_numbers].copy()
    if swap:
        points[:, swap] = points[:, swap[::-1]]
    return forms(num_numbers, operators).values(points, PRIME)


def residues(values: Pair, index: Integers) -> Integers:
    """One integer from the values of some forms (or templates) at the two points.

    Shapes:   values: (2, num_forms) twice; index: (num_chosen,). Returns (num_chosen,).
    """
    top, bottom = (each[:, index] % PRIME for each in values)
    inverse = np.ones_like(bottom)
    for bit in f"{PRIME - 2:b}":  # a power by squaring: the inverse modulo a prime
        inverse = inverse * inverse % PRIME
        if bit == "1":
            inverse = inverse * bottom % PRIME
    high, low = top * inverse % PRIME
    return np.asarray(high << 31 | low)
