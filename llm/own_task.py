"""A task of one's own: prompts and answers from JSON Lines, and a verifier that is a Python function.

The verifier `FILE.py:FUNCTION` takes a completion and the answer, both text, and returns True, False, or None where the
completion cannot be scored. What it raises stops the run, with the prompt's line. What it prints is shown once, as a
warning, and then dropped. It has no limit of time of ours.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharpening.llm.tasks import Mark, Message, Prompt
from sharpening.theory.methods import user_functions

Verifier = Callable[..., object]
MOST_SHOWN = 80  # characters of what a verifier prints


class OwnTask:
    """Prompts, their answers and the user's verifier."""

    def __init__(
        self, prompts: Sequence[Prompt], answers: Sequence[str], verifier: Verifier, solutions: Sequence[str] = ()
    ) -> None:
        """Takes prompts with distinct ids; `solutions` has a correct completion of each, "" where none is known."""
        self.prompts = list(prompts)
        self.answers = list(answers)
        self.solutions = list(solutions)
        self.verifier = verifier
        self._has_printed = False

    def first(self, count: int) -> OwnTask:
        """The task of the first prompts."""
        return OwnTask(self.prompts[:count], self.answers[:count], self.verifier, self.solutions[:count])

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion, also of those that were cut off; well-formed is what could be scored."""
        return [self._mark(place, completion) for place, completion in zip(places, completions, strict=True)]

    def _mark(self, place: int, completion: str) -> Mark:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                found = self.verifier(completion=completion, answer=self.answers[place])
        except (Exception, SystemExit) as error:
            where = f"prompt {self.prompts[place].id}"
            raise ValueError(f"verifier: {where}: it raised {type(error).__name__}: {error}") from error
        if printed.getvalue() and not self._has_printed:
            self._has_printed = True
            shown = printed.getvalue()[:MOST_SHOWN]
            logging.getLogger(__name__).warning("verifier: it printed %r: no more of it is shown", shown)
        if found is None:
            return Mark(float("nan"), False, "unscorable", "")
        if not isinstance(found, int | float | np.bool_) or found not in (True, False):
            raise ValueError(
                f"verifier: prompt {self.prompts[place].id}: it returned {found!r}: want True, False or None"
            )
        return Mark(float(found), True, "" if found else "wrong", completion)


def load_verifier(spec: str) -> Verifier:
    """The function of FILE.py:FUNCTION, whose arguments are `completion` and `answer`."""
    return user_functions.load(spec, ("completion", "answer"))


def load(
    path: Path, prompt_column: str, answer_column: str, verifier: Verifier, *, solution_column: str = ""
) -> OwnTask:
    """The prompts in a file of JSON Lines: text, or messages with role and content.

    Lines may lack the column of solutions, but not all of them, if one is named.
    Raises ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}: want JSON Lines") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not UTF-8 text ({error.reason}): want JSON Lines") from None
    prompts: list[Prompt] = []
    answers: list[str] = []
    solutions: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            row, prompt = _row(f"{path} line {number}", line, prompt_column, answer_column)
            prompts.append(Prompt(f"line {number}", prompt))
            answers.append(str(row[answer_column]))
            solutions.append(str(row.get(solution_column, "")))
    if not prompts:
        raise ValueError(f"{path}: the file is empty: want at least one prompt")
    if solution_column and not any(solutions):
        raise ValueError(f"{path}: solution_column: {solution_column!r}: no line has it: want one that has, or none")
    return OwnTask(prompts, answers, verifier, solutions)


def _row(
    where: str, line: str, prompt_column: str, answer_column: str
) -> tuple[dict[str, Any], str | tuple[Message, ...]]:
    """The object of a line, and its prompt."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{where}: it is not JSON: want one object per line") from None
    for column in (prompt_column, answer_column):
        if not isinstance(row, dict) or column not in row:
            found = ", ".join(row)[:80] if isinstance(row, dict) else "no object"
            raise ValueError(f"{where}: no column {column!r}: found {found}")
    prompt = row[prompt_column]
    if isinstance(prompt, list) and prompt and all(_is_message(part) for part in prompt):
        return row, tuple(prompt)
    if not isinstance(prompt, str) or not prompt:
        shown = json.dumps(prompt)[:80]
        raise ValueError(f"{where}: {prompt_column} is {shown}: want text, or messages with role and content")
    return row, prompt


def _is_message(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(key), str) for key in ("role", "content"))
