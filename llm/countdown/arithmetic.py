"""What all of the Countdown modules share: the operators, the range of exact arithmetic, and ways to split a set."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

Integers = NDArray[np.int64]
Pair = tuple[Integers, Integers]  # numerators and denominators

OPERATORS = "+-*/"
LARGEST = int(np.iinfo(np.int64).max)


def check_operators(operators: str) -> None:
    """Refuse what is not a choice of + - * / in which + comes with - and * with /.

    Canonical forms need the partner: a/(b/c) is a*c/b, and only with * can it be written so that c may be 0.
    """
    if not operators or set(operators) - set(OPERATORS) or len(set(operators)) < len(operators):
        raise ValueError(f"operators is {operators!r}: want distinct characters of {OPERATORS}, at least one")
    for inverse, operator in ("-+", "/*"):
        if inverse in operators and operator not in operators:
            raise ValueError(f"operators is {operators!r}: want {operator} with {inverse}")


def check_sizes(numbers: ArrayLike, targets: ArrayLike) -> None:
    """Refuse numbers whose expressions could leave 64 bits, or could once multiplied by the target.

    Every numerator and denominator of an expression of n numbers is at most 2**(n-1) times the product of the numbers.

    Shapes:   numbers: (num_problems, n); targets: (num_problems,).
    """
    for row, target in zip(np.asarray(numbers).tolist(), np.asarray(targets).tolist(), strict=True):
        bound = math.prod(max(1, abs(number)) for number in (*row, target)) << (len(row) - 1)
        if bound > LARGEST:
            raise ValueError(f"numbers {row} and target {target}: want 2**(n-1) times their product below 2**63")


def splits(places: int) -> Iterator[tuple[int, int]]:
    """The places of a left and of a right operand, in every way; sets of places are binary numbers."""
    for left in range(1, places):
        if left & places == left:
            yield left, places ^ left
