"""Countdown as a task: prompts in one of the formats, and the verifier that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sharpening.llm.countdown import formats, verifier
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.tasks import Mark, Prompt

Format = Literal["compact", "chat"]
NOTATION: dict[Format, Literal["postfix", "infix"]] = {"compact": "postfix", "chat": "infix"}


class CountdownTask:
    """Countdown problems as prompts, and marks of completions."""

    def __init__(self, problems: Sequence[Problem], *, operators: str, text_format: Format = "compact") -> None:
        """Takes problems with distinct ids."""
        self.problems = tuple(problems)
        self.operators = operators
        self.text_format: Format = text_format
        self.prompts: list[Prompt] = [formats.prompt(problem, text_format, operators) for problem in problems]

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion, also of those that were cut off; `places` says to which problems they belong."""
        notation = NOTATION[self.text_format]
        pairs = ((self.problems[place], text) for place, text in zip(places, completions, strict=True))
        return [
            verifier.verify(text, problem.numbers, problem.target, notation=notation, operators=self.operators)
            for problem, text in pairs
        ]
