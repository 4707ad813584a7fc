"""Countdown problems as prompts, and their answers as text.

Compact format: the prompt is `numbers 9 10 1 5 target 25`, an answer is postfix with single spaces, `9 5 1 * 10 + +`.
Chat format: one message that states the rules, asks for the reasoning in <think> and for an infix answer in <answer>.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from sharpening.llm.countdown.problems import OPERATORS, Problem
from sharpening.llm.tasks import Message, Prompt

Format = Literal["compact", "chat"]
PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


def compact_prompt(numbers: Sequence[int], target: int) -> str:
    """The prompt of the compact format, numbers in the order given."""
    return f"numbers {' '.join(map(str, numbers))} target {target}"


def chat_prompt(numbers: Sequence[int], target: int, operators: str = OPERATORS) -> tuple[Message, ...]:
    """The messages of the chat format, for the tokenizer's chat template."""
    listed = ", ".join(map(str, numbers))
    text = (
        f"Write an arithmetic expression whose value is exactly {target}. It has to use each of the numbers {listed} "
        "exactly once (a number that is listed twice, twice) and no other number. "
        f"Allowed are the operators {' '.join(operators)} and parentheses; fractions on the way are fine. "
        "First reason step by step between <think> and </think>. Then give the expression alone, without an equals "
        "sign, between <answer> and </answer>."
    )
    return ({"role": "user", "content": text},)


def prompt(problem: Problem, text_format: Format, operators: str = OPERATORS) -> Prompt:
    """The prompt of a problem in a format, under the problem's id."""
    if text_format == "compact":
        return Prompt(problem.id, compact_prompt(problem.numbers, problem.target))
    return Prompt(problem.id, chat_prompt(problem.numbers, problem.target, operators))


def postfix(template: Sequence[int], numbers: Sequence[int], operators: str = OPERATORS) -> str:
    """The postfix text of a row of `countdown_solver.templates`.

    >>> postfix([0, 3, 2, 6, 1, 4, 4], (9, 10, 1, 5), "+-*")
    '9 5 1 * 10 + +'
    """
    words = [*map(str, numbers), *operators]
    return " ".join(words[entry] for entry in template)


def answer(text: str, text_format: Format) -> str:
    """A postfix text as a completion in a format: as it is, or in infix as an answer without reasoning."""
    return text if text_format == "compact" else f"<answer>{infix(text)}</answer>"


def spelled(text: str, text_format: Format) -> str:
    """An answer as a model is taught to write it after a prompt: after a space in the compact format."""
    return f" {text}" if text_format == "compact" else text


def infix(text: str, *, is_full: bool = False) -> str:
    """The infix text of a postfix one, with the fewest parentheses that keep the order of operations, or with all.

    >>> infix("9 5 1 * 10 + +")
    '9 + (5 * 1 + 10)'
    >>> infix("9 5 1 * 10 + +", is_full=True)
    '(9 + ((5 * 1) + 10))'
    """
    stack: list[tuple[str, int]] = []  # text and precedence of its top operator; numbers bind strongest
    for token in text.split(" "):
        if token not in PRECEDENCE:
            stack.append((token, 3))
            continue
        (right, right_binds), (left, left_binds) = stack.pop(), stack.pop()
        binds = PRECEDENCE[token]
        if not is_full and left_binds < binds:
            left = f"({left})"
        if not is_full and right_binds <= binds:
            right = f"({right})"
        joined = f"{left} {token} {right}"
        stack.append((f"({joined})" if is_full else joined, binds))
    ((whole, _),) = stack
    return whole
