"""Countdown problems: numbers of which each is used exactly once, and a target that an expression of them has to reach.

A problem is the numbers in the order shown and the target. Its id forgets that order, since the order changes no
solution.

Drawn problems are solvable by construction: the numbers are independent and uniform, an expression of them is built by
joining two random parts by a random operator until one part is left, and its value becomes the target if it is an
integer in the range. A target that more expressions reach, by this way of drawing them, is thus more frequent, and no
claim is made beyond that.

A problem belongs to one split, train (for the warm start and for RL), validation or test. A keyed hash of its id says
to which, so neither a seed nor the order of the numbers can move a test problem into training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sharpening.llm.countdown import arithmetic, classes
from sharpening.llm.countdown.arithmetic import OPERATORS as OPERATORS
from sharpening.llm.countdown.arithmetic import Integers

Split = Literal["train", "validation", "test"]

SPLIT_KEY = b"countdown splits"
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.1
BATCH = 1024  # draws at once
FORMS_AT_ONCE = 2**22  # fewer draws at once where solutions are counted over more forms than this
MOST_DRAWS = 2**18  # without one problem
MOST_COUNTED = 10_000  # problems whose number of solutions was out of range, without one in range; but
MOST_FORMS = 50_000_000  # at most this many forms of them, and always a hundred
REPEATS = 1_000, 10  # so many, and this for each problem found, in a row: the distinct problems have run out


@dataclass(frozen=True)
class Problem:
    """The numbers in the order in which they are shown, and the target."""

    numbers: tuple[int, ...]
    target: int

    @property
    def id(self) -> str:
        """A key that the order of the numbers does not change, such as 1,5,9,10=25."""
        return f"{','.join(map(str, sorted(self.numbers)))}={self.target}"


class Settings(BaseModel):
    """Which problems are drawn; solutions are counted as classes, as `countdown_forms` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_numbers: int = Field(default=4, ge=2, le=6, description="numbers of a problem")
    smallest_number: int = Field(default=1, ge=0, description="smallest number")
    largest_number: int = Field(default=10, ge=1, description="largest number")
    operators: str = Field(default="+-*", description="allowed operators, of + - * /; + with - and * with /")
    min_target: int = Field(default=1, ge=0, description="smallest target")
    max_target: int = Field(default=100, ge=0, description="largest target")
    min_solutions: int = Field(default=1, ge=1, description="least number of canonical solutions")
    max_solutions: int | None = Field(
        default=None, ge=1, description="largest number of canonical solutions; any if left out"
    )
    split: Split = Field(default="train", description="train, validation or test")

    @model_validator(mode="after")
    def _is_possible(self) -> Settings:
        arithmetic.check_operators(self.operators)
        if self.smallest_number > self.largest_number:
            raise ValueError(
                f"smallest_number: {self.smallest_number}: want at most largest_number, {self.largest_number}"
            )
        if self.min_target > self.max_target:
            raise ValueError(f"min_target: {self.min_target}: want at most max_target, {self.max_target}")
        if self.max_solutions is not None and self.min_solutions > self.max_solutions:
            raise ValueError(f"min_solutions: {self.min_solutions}: want at most max_solutions, {self.max_solutions}")
        largest = [self.largest_number] * self.num_numbers
        try:
            arithmetic.check_sizes([largest], [self.max_target])
        except ValueError as error:
            raise ValueError(f"largest_number: {self.largest_number}: {error}") from None
        return self

    @property
    def counts_solutions(self) -> bool:
        """Whether the number of solutions decides about a problem."""
        return self.min_solutions > 1 or self.max_solutions is not None


def split_of(problem: Problem) -> Split:
    """The split that a problem belongs to: 80% train, 10% validation, 10% test."""
    digest = blake2b(problem.id.encode(), digest_size=8, key=SPLIT_KEY).digest()
    place = int.from_bytes(digest) / 2**64
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def problems(settings: Settings, rng: np.random.Generator) -> Iterator[Problem]:
    """Problems without end, drawn as the module says; one may come again.

    Raises ValueError where a bounded number of draws gives no problem.
    """
    batch, most_counted = BATCH, 0
    if settings.counts_solutions:
        num_forms = len(classes.forms(settings.num_numbers, settings.operators))
        batch = max(16, min(BATCH, FORMS_AT_ONCE // num_forms))
        most_counted = max(100, min(MOST_COUNTED, MOST_FORMS // num_forms))
    num_draws = num_counted = 0
    while True:
        found = [problem for problem in _solvable(settings, batch, rng) if split_of(problem) == settings.split]
        num_draws += batch
        if found and settings.counts_solutions:
            num_counted += len(found)
            found = _with_solutions(found, settings)
        if found:
            num_draws = num_counted = 0
            yield from found
        elif num_draws >= MOST_DRAWS or num_counted > most_counted:
            raise ValueError(_why_none(settings, num_draws, num_counted))


def _solvable(settings: Settings, batch: int, rng: np.random.Generator) -> Iterator[Problem]:
    """Numbers with the value of a random expression of them, where it is an integer in the range."""
    shape = batch, settings.num_numbers
    numbers = rng.integers(settings.smallest_number, settings.largest_number, shape, endpoint=True)
    tops, bottoms = _random_values(numbers, settings.operators, rng)
    divisor = np.where(bottoms == 0, 1, bottoms)
    targets = tops // divisor
    is_target = (bottoms != 0) & (tops == targets * divisor)
    is_target &= (settings.min_target <= targets) & (targets <= settings.max_target)
    for row, target in zip(numbers[is_target].tolist(), targets[is_target].tolist(), strict=True):
        yield Problem(tuple(row), target)


def _random_values(numbers: Integers, operators: str, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """The exact value of one random expression of each row."""
    tops, bottoms = numbers.copy(), np.ones_like(numbers)
    rows = np.arange(len(numbers))
    for num_parts in range(numbers.shape[1], 1, -1):
        left, right = rng.integers(num_parts, size=len(rows)), rng.integers(num_parts - 1, size=len(rows))
        right += right >= left
        a, b, c, d = tops[rows, left], bottoms[rows, left], tops[rows, right], bottoms[rows, right]
        of_operator = {
            "+": (a * d + b * c, b * d),
            "-": (a * d - b * c, b * d),
            "*": (a * c, b * d),
            "/": (a * d * (c != 0), b * c),
        }
        values = np.array([of_operator[operator] for operator in operators])
        tops[rows, left], bottoms[rows, left] = values[rng.integers(len(operators), size=len(rows)), :, rows].T
        tops[rows, right], bottoms[rows, right] = tops[:, num_parts - 1], bottoms[:, num_parts - 1]
    return tops[:, 0], bottoms[:, 0]


def _with_solutions(found: list[Problem], settings: Settings) -> list[Problem]:
    """The problems whose number of canonical solutions is in the range."""
    numbers = np.array([problem.numbers for problem in found])
    targets = np.array([problem.target for problem in found])
    counts = classes.counts(numbers, targets, settings.operators)
    most = np.inf if settings.max_solutions is None else settings.max_solutions
    is_chosen = (settings.min_solutions <= counts) & (counts <= most)
    return [problem for problem, chosen in zip(found, is_chosen, strict=True) if chosen]


def _why_none(settings: Settings, num_draws: int, num_counted: int) -> str:
    if num_counted:
        wanted = f"min_solutions: {settings.min_solutions}, max_solutions: {settings.max_solutions}"
        return f"{wanted}: none of {num_counted} drawn problems has so many: want a wider range"
    wanted = f"min_target: {settings.min_target}, max_target: {settings.max_target}"
    return f"{wanted}: none of {num_draws} expressions has such a value: want a wider range, or other numbers"


def up_to(settings: Settings, rng: np.random.Generator, count: int) -> list[Problem]:
    """The first `count` drawn problems with distinct ids; fewer where no new one comes for long."""
    found: dict[str, Problem] = {}
    num_repeats = 0
    drawn = problems(settings, rng)
    while len(found) < count:
        problem = next(drawn)
        num_repeats = num_repeats + 1 if problem.id in found else 0
        found.setdefault(problem.id, problem)
        if num_repeats > REPEATS[0] + REPEATS[1] * len(found):
            break
    return list(found.values())


def distinct(settings: Settings, rng: np.random.Generator, count: int, *, name: str = "count") -> list[Problem]:
    """The same, `count` of them. Raises ValueError, by the name of the count, where there are fewer."""
    found = up_to(settings, rng, count)
    if len(found) < count:
        raise ValueError(f"{name}: {count}: found {len(found)} distinct problems: want fewer, or wider settings")
    return found
