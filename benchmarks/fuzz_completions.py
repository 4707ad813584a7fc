"""Hostile Countdown completions, for benchmarks/fuzz.py: right answers, and what models and cheats make of them.

In a pattern, @ stands for an answer, or a number of it.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple, TypeVar

import numpy as np

from sharpening.llm.countdown.verifier import Notation

Item = TypeVar("Item")

WRAPS = (
    *("@", "@", " @\n", "<answer>@</answer>", "<answer>@</answer>", "<answer> @\n</answer>", "\\boxed{@}"),
    *("So it is $\\boxed{ @ }$.", "<answer>\\boxed{@}</answer>", "so...</think>\n@", "\\boxed{2} \\boxed{@}"),
    "<think>Say <answer>1+1</answer></think>\n<answer>@</answer> I hope",
    "<answer>1+1</answer> no <answer>@</answer>",
)
SPOILED_WRAPS = (
    *("<answer>@", "@</answer>", "\\boxed{@", "<think>@", "<answer>@</think></answer>", "It is @", "@.", "@ @", "@\n@"),
    *("<answer>@</answer><answer></answer>", "\\boxed{\\boxed{@}}", "<answer>@ or @</answer>", "{@}", "\\boxed{@}}"),
    *("<answer><answer>@</answer></answer>", "<answer>@</answer>@", "\\boxed{@}\\boxed{", "\\boxed{{@}", "<b>@</b>"),
    *("<ANSWER>@</ANSWER>", "<answer>@</answer><think>", "\\boxed{@}</think>", "<answer>@=</answer>", "@=@", "@\0"),
)
SPELLINGS = (
    *(("*", "×"), ("*", "\\times "), ("*", "·"), ("*", "\\cdot"), ("/", "÷"), ("/", "\\div"), ("-", "−"), ("(", "( ")),  # noqa: RUF001
    *(("(", "\\left("), (")", "\\right)"), ("+", " + "), ("-", "\n-\t"), ("*", " *"), ("/", "/\r"), (" ", "  ")),
    *(("\\frac", "\\dfrac"), ("\\frac", "\\frac ")),
)
OTHER_DIGITS = tuple("".join(chr(zero + digit) for digit in range(10)) for zero in (0x660, 0xFF10, 0x2080, 0x1D7CE))
FORMS = (  # other ways to write a number
    *("@.0", "@.", "0@", "+@", "-@", "--@", "@e0", "@L", "@j", "@**1", "@//1", "@!", "@%", "0x@", "0_@", "@ 0"),
    *("int(@)", "@\u200f", "\u00a0@", "@\u2009", "@\u00b9", "@ #", "{@}", "@ = @", "\ufeff@", "@9**9**9", "@,000"),
)
TRICKS: tuple[tuple[Callable[[int, int], int], tuple[str, ...]], ...] = (
    (lambda a, b: 10 * a + b, ("ab", "a_b", "a.b*10")),  # what a lenient reader sees in texts over a and b
    (lambda a, b: a * 10**b, ("aeb",)),
    (lambda a, b: b - a, ("-a+b",)),
    (lambda a, b: a, ("a,b", "a or b", "a/b*b/b*b", "a/(b-b)")),
    (operator.add, ("a--b", "a+b#", "0xa+b", "a b+", "a b +", "a*1+b")),
    (operator.mul, ("a(b)", "(a)b", "axb", "a\u2217b")),
    *((operator.pow, ("a**b",)), (operator.floordiv, ("a//b",)), (operator.mod, ("a%b",))),
    *((operator.xor, ("a^b",)), (operator.lshift, ("a<<b",))),
)
NOTATIONS: tuple[Notation, ...] = ("infix", "infix", "postfix")
BRACKETS = (("(", ")"), ("(", ")"), ("\\frac{", "}{1}"), ("{", "}"), ("\\boxed{", "}"), ("<answer>", "</answer>"))
FILLERS = (" ", "\n", "9", "(", "{", "}", "\\boxed{", "<answer>", "</think>", "+1", "**9", "\u0663", "a", "\0")
TAGS = ("<answer>", "</answer>", "<think>", "</think>", *("\\boxed{", "}") * 2, "{", "@", "@", "1 + 1", " ", "so")
WORDS = (*"0123456789+-*/()+-*/() \n=.x", "\u00d7", "\u2212", " ", "\\frac{", "}{", "\\times", *TAGS)
ALPHABET = "".join(WORDS) + "^%,_e\0\t\u0663\u200f\u00a0\ufeff\u00b2\U0001d7d7"


@dataclass
class Dice:
    """Draws out of blocks: a million completions take some tens of millions of them."""

    rng: np.random.Generator
    block: list[float] = field(default_factory=list)

    def below(self, end: int) -> int:
        """An integer from 0 to end - 1."""
        if not self.block:
            self.block = self.rng.random(8192).tolist()
        return int(self.block.pop() * end)

    def pick(self, items: Sequence[Item]) -> Item:
        """One of the items."""
        return items[self.below(len(items))]


class Expression(NamedTuple):
    """An expression in both notations, its value, for which x / 0 counts as 0, and how strongly the infix binds."""

    infix: str
    postfix: str
    value: Fraction
    rank: int = 3  # 1 a sum, 2 a product, 3 a number or a fraction

    def within(self, rank: int, dice: Dice) -> str:
        """The infix as an operand, in brackets where they are needed and in one of four other places."""
        return f"({self.infix})" if self.rank < rank or not dice.below(4) else self.infix


def expression(numbers: Sequence[int], operators: str, dice: Dice) -> Expression:
    """A random expression that uses the numbers."""
    parts = [Expression(str(number), str(number), Fraction(number)) for number in numbers]
    while len(parts) > 1:
        left, right = parts.pop(dice.below(len(parts))), parts.pop(dice.below(len(parts)))
        sign, gap = dice.pick(operators), dice.pick(("", " "))
        a, b, rank = left.value, right.value, 1 if sign in "+-" else 2
        quotient = a / b if b else Fraction(0)
        value = {"+": a + b, "-": a - b, "*": a * b, "/": quotient}[sign]
        infix = f"{left.within(rank, dice)}{gap}{sign}{gap}{right.within(rank + 1, dice)}"
        if sign == "/" and not dice.below(3):
            infix, rank = f"\\frac{{{left.infix}}}{{{right.infix}}}", 3
        parts.append(Expression(infix, f"{left.postfix} {right.postfix} {sign}", value, rank))
    return parts[0]


class Puzzle(NamedTuple):
    """A problem and an answer, right unless its value is undefined or a fraction."""

    numbers: tuple[int, ...]
    target: int
    notation: Notation
    operators: str
    answer: str


class Case(NamedTuple):
    """A completion, how it was made, and the problem that it belongs to."""

    kind: str
    text: str
    puzzle: Puzzle


def drawn_puzzle(dice: Dice) -> Puzzle:
    """A problem whose target is the value of a random expression, in rare cases cut to an integer."""
    operators, notation = dice.pick(("+-*/", "+-*/", "+-*", "+-")), dice.pick(NOTATIONS)
    largest = dice.pick((9, 99, 99))
    numbers = tuple(1 + dice.below(largest) for _ in range(dice.pick((1, 2, 3, 3, 4, 4, 4, 5, 6))))
    found = expression(numbers, operators, dice)
    while found.value.denominator != 1 and dice.below(10):
        found = expression(numbers, operators, dice)
    return Puzzle(numbers, int(found.value), notation, operators, found.infix if notation == "infix" else found.postfix)


def right(puzzle: Puzzle, dice: Dice) -> str:
    """The right answer in one of its spellings."""
    answer = puzzle.answer
    if puzzle.notation == "infix":
        for _ in range(dice.below(4)):
            answer = answer.replace(*dice.pick(SPELLINGS))
        tail = dice.pick(("", "", "", "=", " = "))
        answer = dice.pick(("@", "@", "(@)")).replace("@", answer) + (tail and f"{tail}{puzzle.target}")
    return dice.pick(WRAPS).replace("@", answer)


def other(puzzle: Puzzle, dice: Dice) -> str:
    """An expression over the numbers, or over other numbers, with any operators."""
    numbers = list(puzzle.numbers)
    if dice.below(2):
        numbers[dice.below(len(numbers)) :] = [dice.pick(numbers) for _ in range(dice.below(3))]
    found = expression(numbers or [0], "+-*/", dice)
    return dice.pick(WRAPS).replace("@", found.infix if puzzle.notation == "infix" else found.postfix)


def spoiled(puzzle: Puzzle, dice: Dice) -> str:
    """A right answer in a wrapping that is wrong, or right for a reason worth a look."""
    return dice.pick(SPOILED_WRAPS).replace("@", puzzle.answer)


def mutated(puzzle: Puzzle, dice: Dice) -> str:
    """A right completion with one to three characters inserted, deleted, replaced or exchanged, or a part repeated."""
    text = right(puzzle, dice)
    for _ in range(1 + dice.below(3)):
        at, end = sorted((dice.below(len(text) + 1), dice.below(len(text) + 1)))
        new = dice.pick(("", dice.pick(ALPHABET), text[at:end], text[at : at + 2][::-1]))
        text = text[:at] + new + text[at + dice.below(3) :]
    return text


def formed(puzzle: Puzzle, dice: Dice) -> str:
    """The right answer with one number written in another way."""
    number = str(dice.pick(puzzle.numbers))
    digits = str.maketrans("0123456789", dice.pick(OTHER_DIGITS))
    form = dice.pick(FORMS).replace("@", number) if dice.below(4) else number.translate(digits)
    return dice.pick(WRAPS).replace("@", puzzle.answer.replace(number, form, 1))


def deep(puzzle: Puzzle, dice: Dice) -> str:
    """The right answer in up to 100,000 brackets, perhaps not all of them closed."""
    opener, closer = dice.pick(BRACKETS)
    depth = dice.pick((1, 2, 30, 31, 32, 32, 33, 100, 1_000, 100_000))
    missing = dice.pick((0, 0, 0, 1, depth))
    return dice.pick(WRAPS).replace("@", opener * depth + puzzle.answer + closer * (depth - missing))


def long(puzzle: Puzzle, dice: Dice) -> str:
    """A right completion with one character or word repeated inside, often up to a bound."""
    text, filler = right(puzzle, dice), dice.pick(FILLERS)
    length = dice.pick((64, 1024, 1024, 8192, 8192, 100_000))
    short_of_it = dice.pick((0, len(text), len(puzzle.answer), dice.below(64)))
    num_fillers = (length - short_of_it) // len(filler) + dice.below(3)
    at = dice.pick((0, len(text), dice.below(len(text))))
    return text[:at] + filler * num_fillers + text[at:]


def tags(puzzle: Puzzle, dice: Dice) -> str:
    """Tags, boxes and right answers in any order."""
    return "".join(dice.pick(TAGS) for _ in range(1 + dice.below(9))).replace("@", puzzle.answer)


def soup(puzzle: Puzzle, dice: Dice) -> str:
    """Words of answers in any order."""
    words = [dice.pick(WORDS) for _ in range(dice.pick((1, 3, 5, 9, 20, 60)))]
    return dice.pick(("", "", " ")).join(words).replace("@", puzzle.answer)


def noise(puzzle: Puzzle, dice: Dice) -> str:
    """Random bytes, decoded."""
    content = dice.rng.bytes(dice.pick((1, 4, 16, 64, 1000)))
    errors = dice.pick(("replace", "ignore", "surrogateescape"))
    return dice.pick(("@", "@", *WRAPS)).replace("@", content.decode("utf-8", errors))


def tricked(dice: Dice) -> Case:
    """A problem of its own, with the target that a lenient reader sees in the completion."""
    (value, patterns), a, b = dice.pick(TRICKS), 1 + dice.below(9), 1 + dice.below(9)
    pattern = dice.pick(patterns)
    text = dice.pick(WRAPS).replace("@", pattern.replace("a", str(a)).replace("b", str(b)))
    numbers = (a, b, 10) if "10" in pattern else (a, b)
    return Case("tricked", text, Puzzle(numbers, value(a, b), dice.pick(NOTATIONS), "+-*/", ""))


SHARES = {right: 26, other: 10, spoiled: 10, mutated: 20, formed: 8, deep: 3, long: 3, tags: 5, soup: 5, noise: 5}
KINDS = tuple(kind for kind, share in SHARES.items() for _ in range(share))


def completions(rng: np.random.Generator) -> Iterator[Case]:
    """Completions without end, each of a problem of its own; one in twenty is a trick."""
    dice = Dice(rng)
    while True:
        if dice.below(20):
            kind, puzzle = dice.pick(KINDS), drawn_puzzle(dice)
            yield Case(kind.__name__, kind(puzzle, dice), puzzle)
        else:
            yield tricked(dice)
