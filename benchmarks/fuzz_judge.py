"""An independent, slow judge of Countdown completions, for benchmarks/fuzz.py; it shares no code with the verifier.

It states the rules in the module text of llm/countdown/verifier.py by other means: pieces between split tags, braces
matched from the right, recursive descent on characters with Fraction for infix, and rewriting of the first reducible
triple for postfix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

ASCII_DIGITS = "0123456789"


class NotAnExpression(Exception):
    """The text is no expression of the grammar."""


def judge(text: str, numbers: Sequence[int], target: int, notation: str, operators: str) -> tuple[bool, bool]:
    """Whether a completion is correct, and whether it is well-formed."""
    answer = answer_in(text)
    if answer is None or len(answer) > 1024:
        return False, False
    read = _Infix if notation == "infix" else _Postfix
    try:
        value, used, signs = read(answer, target).whole()
    except NotAnExpression:
        return False, False
    is_well_formed = sorted(used) == sorted(numbers) and all(sign in operators for sign in signs)
    return is_well_formed and value == target, is_well_formed


def answer_in(text: str) -> str | None:
    """The last box in the last block, and where there is no box or no block, in the whole."""
    pieces = text.split("</think>")[-1].split("<think>")[0][-8192:].split("<answer>")
    blocks = [piece.split("</answer>")[0] for piece in pieces[1:] if "</answer>" in piece]
    place = blocks[-1] if blocks else "<answer>".join(pieces)
    ends: list[int] = []
    boxes: list[tuple[int, int]] = []
    for at in reversed([at for at, char in enumerate(place) if char in "{}"]) if "\\boxed{" in place else ():
        if place[at] == "}":
            ends.append(at)
        elif ends:
            end = ends.pop()
            if place[:at].endswith("\\boxed"):
                boxes.append((end, at + 1))
    if boxes:
        place = place[max(boxes)[1] : max(boxes)[0]]
    elif not blocks and len(place) > 1024:
        return None
    return place.strip(" \t\n\r")


class Reading(NamedTuple):
    """An expression's value (None: undefined), the numbers in it and its operators."""

    value: Fraction | None
    used: list[int]
    signs: str

    def joined(self, sign: str, right: Reading) -> Reading:
        """This, the sign, and another."""
        a, b = self.value, right.value
        value = None
        if a is not None and b is not None and not (sign == "/" and b == 0):
            value = {"+": a.__add__, "-": a.__sub__, "*": a.__mul__, "/": a.__truediv__}[sign](b)
        return Reading(value, self.used + right.used, self.signs + right.signs + sign)


def natural(digits: str) -> Reading:
    """A number as the grammar has it."""
    if not digits or digits.strip(ASCII_DIGITS) or (digits[0] == "0" and digits != "0"):
        raise NotAnExpression
    return Reading(Fraction(int(digits)), [int(digits)], "")


@dataclass
class _Infix:
    text: str
    target: int
    at: int = 0

    def whole(self) -> Reading:
        found = self.sum(0)
        if self.takes("="):
            sign = "-" if self.takes("-", "−") else ""  # noqa: RUF001
            if sign + self.text[self.at :].lstrip(" \t\n\r") != str(self.target):
                raise NotAnExpression
        elif self.at < len(self.text):
            raise NotAnExpression
        return found

    def takes(self, *spellings: str) -> bool:
        """Whether one of the spellings comes next, after blanks; it is then passed."""
        while self.at < len(self.text) and self.text[self.at] in " \t\n\r":
            self.at += 1
        found = next((each for each in spellings if self.text.startswith(each, self.at)), "")
        self.at += len(found)
        return bool(found)

    def sum(self, depth: int) -> Reading:
        found = self.product(depth)
        while True:
            if self.takes("+"):
                found = found.joined("+", self.product(depth))
            elif self.takes("-", "−"):  # noqa: RUF001
                found = found.joined("-", self.product(depth))
            else:
                return found

    def product(self, depth: int) -> Reading:
        found = self.atom(depth)
        while True:
            if self.takes("*", "×", "·", "\\times", "\\cdot"):  # noqa: RUF001
                found = found.joined("*", self.atom(depth))
            elif self.takes("/", "÷", "\\div"):
                found = found.joined("/", self.atom(depth))
            else:
                return found

    def atom(self, depth: int) -> Reading:
        if depth > 32:
            raise NotAnExpression
        if self.takes("(", "\\left("):
            found = self.sum(depth + 1)
            self.wants(")", "\\right)")
        elif self.takes("\\frac{", "\\dfrac{"):
            above = self.sum(depth + 1)
            self.wants("}{")
            found = above.joined("/", self.sum(depth + 1))
            self.wants("}")
        else:
            begin = self.at
            while self.at < len(self.text) and self.text[self.at] in ASCII_DIGITS:
                self.at += 1
            found = natural(self.text[begin : self.at])
        return found

    def wants(self, *spellings: str) -> None:
        if not self.takes(*spellings):
            raise NotAnExpression


@dataclass
class _Postfix:
    text: str
    target: int

    def whole(self) -> Reading:
        words = self.text.replace("\t", " ").replace("\n", " ").replace("\r", " ").split(" ")
        row = [word if word in ("+", "-", "*", "/") else natural(word) for word in words if word]
        while len(row) > 1:
            for at, (left, right, sign) in enumerate(zip(row, row[1:], row[2:], strict=False)):
                if isinstance(left, Reading) and isinstance(right, Reading) and isinstance(sign, str):
                    row[at : at + 3] = [left.joined(sign, right)]
                    break
            else:
                raise NotAnExpression
        if not row or isinstance(row[0], str):
            raise NotAnExpression
        return row[0]
