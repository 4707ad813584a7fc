"""Countdown problems: numbers of which each is used exactly once, and a target that an expression of them has to reach.

A problem is the numbers in the order shown and the target. Its id forgets that order, since the order changes no
solution.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm.countdown_arithmetic import OPERATORS as OPERATORS


@dataclass(frozen=True)
class Problem:
    """The numbers in the order in which they are shown, and the target."""

    numbers: tuple[int, ...]
    target: int

    @property
    def id(self) -> str:
        """A key that the order of the numbers does not change, such as 1,5,9,10=25."""
        return f"{','.join(map(str, sorted(self.numbers)))}={self.target}"
