"""Canonical forms: the expressions of n numbers, each used once, of which no two are equal as rational functions.

Two expressions belong to one class if one becomes the other by
(1) commutativity and associativity of + and *;
(2) a-(b+c) = (a-b)-c and a-(b-c) = (a-b)+c, and a/(b*c) = (a/b)/c and a/(b/c) = (a/b)*c;
(3) moving a sign: (a-b)*(c-d) = (b-a)*(d-c), the same for quotients, and x+(a-b)*c = x-(b-a)*c;
(4) exchanging equal numbers, for 3+5-3 is one text whichever 3 comes first.
Identities of particular numbers do not count: 5*1 and 5/1, or 5+3-3 and 5*3/3, are different.

So a form is a sum of signed terms or a product of factors with exponents 1 and -1. Terms are numbers and products,
factors are numbers and sums. A sum is listed up to its sign, with the term of the lowest place positive; its negative
is an expression too where some term is subtracted or itself has a negative. A product is listed likewise.
There are 1, 6, 68, 1170, 27142 and 793002 forms of 1 to 6 numbers with + - * /.

A form counts as correct where it is defined, with all its divisions at once: (5/1)*(3-3) is 0 although 5/(1/(3-3)) of
the same class divides by zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharpening.llm.countdown import arithmetic
from sharpening.llm.countdown.arithmetic import OPERATORS, Integers, Pair

Bools = NDArray[np.bool_]
Key = tuple[str, int]  # sum, ratio or product, and the set of places as a binary number
Part = tuple[int, Key, Key]  # sign (or exponent) of the right operand; every left with every right form

MOST_NUMBERS = 6


class _Node(NamedTuple):
    """Forms over a set of places: how they are built, which have a negative, and which ratios an inverse."""

    parts: tuple[Part, ...]
    flips: Bools
    inverts: Bools


class Forms:
    """All forms of n numbers: first products, then sums, then the negatives of those that have one."""

    def __init__(self, num_numbers: int, operators: str = OPERATORS) -> None:
        """Requires 1 <= num_numbers <= 6, + with -, and * with /."""
        arithmetic.check_operators(operators)
        if not 1 <= num_numbers <= MOST_NUMBERS:
            raise ValueError(f"num_numbers is {num_numbers}: want an integer from 1 to {MOST_NUMBERS}")
        self._signs = {"sum": (1, -1) if "-" in operators else (1,), "ratio": (1, -1) if "/" in operators else (1,)}
        self._nodes: dict[Key, _Node] = {}
        for places in range(1, 1 << num_numbers):
            if places.bit_count() == 1:
                self._nodes["product", places] = _Node((), np.zeros(1, bool), np.zeros(1, bool))
                continue
            if "+" in operators:
                self._add("sum", places, ("product",), ("product", "sum"))
            if "*" in operators:
                self._add("ratio", places, ("factor",), ("factor", "ratio"))
                ratio = self._nodes["ratio", places]
                flips = np.concatenate([ratio.flips, ratio.flips[ratio.inverts]])
                self._nodes["product", places] = _Node((), flips, np.zeros_like(flips))
        self._whole = [key for key in (("product", places), ("sum", places)) if key in self._nodes]
        flips = np.concatenate([self._nodes[key].flips for key in self._whole])
        self._index = np.concatenate([np.arange(len(flips)), np.flatnonzero(flips)])
        self._num_positive = len(flips)

    def __len__(self) -> int:
        """The number of forms."""
        return len(self._index)

    def _keys(self, kinds: tuple[str, ...], places: int) -> list[Key]:
        """The lists of forms of these kinds over the places; a factor is a number or a sum."""
        is_number = places.bit_count() == 1
        names = {"factor": "product" if is_number else "sum"}
        keys = [(names.get(kind, kind), places) for kind in kinds]
        return [key for key in keys if key in self._nodes]

    def _add(self, kind: str, places: int, left_kinds: tuple[str, ...], right_kinds: tuple[str, ...]) -> None:
        """Every sum or ratio: the part with the lowest place, and a sum or ratio (or a single part) of the rest."""
        lowest = places & -places
        parts = tuple(
            (sign, left, right)
            for left_places, right_places in arithmetic.splits(places)
            if left_places & lowest
            for left in self._keys(left_kinds, left_places)
            for right in self._keys(right_kinds, right_places)
            for sign in self._signs[kind]
        )
        flips, inverts = [], []
        for sign, left_key, right_key in parts:
            left, right = self._nodes[left_key], self._nodes[right_key]
            is_inverse = sign < 0
            flips.append(left.flips[:, None] | right.flips | (is_inverse and kind == "sum"))
            inverts.append(np.broadcast_to(right.inverts | (is_inverse and kind == "ratio"), flips[-1].shape))
        if parts:
            joined = (np.concatenate([each.ravel() for each in lists]) for lists in (flips, inverts))
            self._nodes[kind, places] = _Node(parts, *joined)

    def values(self, numbers: Integers, modulus: int | None = None) -> Pair:
        """Numerators and denominators of all forms, not reduced; both are 0 where a form divides by zero.

        With a modulus below 2**31 they are residues.

        Shapes:   numbers: (num_problems, n). Returns (num_problems, len(self)) twice.
        Requires: `check_sizes`, or a modulus.
        """
        pairs: dict[Key, Pair] = {}
        for (kind, places), node in self._nodes.items():
            if places.bit_count() == 1:
                column = numbers[:, [places.bit_length() - 1]].astype(np.int64)
                pairs[kind, places] = column, np.ones_like(column)
            elif kind == "product":
                top, bottom = pairs["ratio", places]
                inverts = self._nodes["ratio", places].inverts
                tops, bottoms = np.hstack([top, bottom[:, inverts]]), np.hstack([bottom, top[:, inverts]])
                pairs[kind, places] = tops * (bottoms != 0), bottoms
            else:
                parts = [_joined(kind, sign, pairs[left], pairs[right], modulus) for sign, left, right in node.parts]
                pairs[kind, places] = np.hstack([top for top, _ in parts]), np.hstack([bottom for _, bottom in parts])
        top, bottom = (np.hstack([pairs[key][side] for key in self._whole])[:, self._index] for side in (0, 1))
        top[:, self._num_positive :] *= -1
        return top, bottom

    def postfix(self, index: int, numbers: tuple[int, ...]) -> str:
        """The form as an expression in postfix."""
        sign, place = 1 if index < self._num_positive else -1, int(self._index[index])
        first, last = self._whole[0], self._whole[-1]
        num_first = len(self._nodes[first].flips)
        key, row = (first, place) if place < num_first else (last, place - num_first)
        return self._text(key, row, sign, numbers)

    def _text(self, key: Key, index: int, sign: int, numbers: tuple[int, ...]) -> str:
        """A form, or its negative where the sign says so."""
        kind, places = key
        if places.bit_count() == 1:
            return str(numbers[places.bit_length() - 1])
        if kind == "sum":
            operands = list(self._operands(kind, key, index, sign))
            must_flip = all(outer < 0 for outer, _, _ in operands)  # one term then takes the sign in
        else:
            ratio = self._nodes["ratio", places]
            num_ratios = len(ratio.flips)
            is_inverse = index >= num_ratios
            row = int(np.flatnonzero(ratio.inverts)[index - num_ratios]) if is_inverse else index
            operands = list(self._operands("ratio", ("ratio", places), row, -1 if is_inverse else 1))
            must_flip = sign < 0  # one factor then takes the sign in
        texts = []
        for outer, part, row in operands:
            is_flipped = must_flip and bool(self._nodes[part].flips[row])
            must_flip = must_flip and not is_flipped
            exponent = 1 if is_flipped and kind == "sum" else outer
            texts.append((exponent, self._text(part, row, -1 if is_flipped else 1, numbers)))
        texts.sort(key=lambda operand: -operand[0])
        names = {1: "+", -1: "-"} if kind == "sum" else {1: "*", -1: "/"}
        return " ".join([texts[0][1], *(f"{text} {names[exponent]}" for exponent, text in texts[1:])])

    def _operands(self, kind: str, key: Key, index: int, sign: int) -> Iterator[tuple[int, Key, int]]:
        """Terms of a sum with their signs, or factors of a ratio with their exponents."""
        if key[0] != kind:
            yield sign, key, index
            return
        for outer, left, right in self._nodes[key].parts:
            num_right = len(self._nodes[right].flips)
            size = len(self._nodes[left].flips) * num_right
            if index < size:
                yield sign, left, index // num_right
                yield from self._operands(kind, right, index % num_right, sign * outer)
                return
            index -= size


def _joined(kind: str, sign: int, left: Pair, right: Pair, modulus: int | None) -> Pair:
    """Every left form plus or times every right one, or its negative or inverse."""
    a, b = (each[:, :, None] for each in left)
    c, d = (each[:, None, :] for each in right)
    if kind == "sum":
        top, bottom = a * d + sign * (b * c), b * d
    else:
        top, bottom = (a * c, b * d) if sign > 0 else (a * d, b * c)
    if modulus:
        top, bottom = top % modulus, bottom % modulus
    return top.reshape(len(top), -1), bottom.reshape(len(top), -1)
