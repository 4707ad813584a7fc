"""A task of one's own: prompts and answers from JSON Lines, and a verifier that is a Python function.

The verifier `FILE.py:FUNCTION` takes a completion and the answer, both text, and returns True, False, or None where the
completion cannot be scored. What it raises stops the run, with the prompt's line.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from llm.tasks import Mark, Prompt
from theory import user_functions

Verifier = Callable[..., object]


class OwnTask:
    """Prompts, their answers and the user's verifier."""

    def __init__(self, prompts: Sequence[Prompt], answers: Sequence[str], verifier: Verifier) -> None:
        """Takes prompts with distinct ids."""
        self.prompts = list(prompts)
        self.answers = list(answers)
        self.verifier = verifier

    def marks(self, places: Sequence[int], completions: Sequence[str]) -> list[Mark]:
        """A mark of each completion; well-formed is what could be scored."""
        return [self._mark(place, completion) for place, completion in zip(places, completions, strict=True)]

    def _mark(self, place: int, completion: str) -> Mark:
        try:
            found = self.verifier(completion=completion, answer=self.answers[place])
        except Exception as error:
            where = f"prompt {self.prompts[place].id}"
            raise ValueError(f"verifier: {where}: it raised {type(error).__name__}: {error}") from error
        if found not in (True, False, None):
            raise ValueError(
                f"verifier: prompt {self.prompts[place].id}: it returned {found!r}: want True, False or None"
            )
        if found is None:
            return Mark(float("nan"), False, "unscorable", "")
        return Mark(float(found), True, "" if found else "wrong", completion)


def load_verifier(spec: str) -> Verifier:
    """The function of FILE.py:FUNCTION, whose arguments are `completion` and `answer`."""
    return user_functions.load(spec, ("completion", "answer"))


def load(path: Path, prompt_column: str, answer_column: str, verifier: Verifier) -> OwnTask:
    """The prompts in a file of JSON Lines: text, or messages with role and content.

    Raises ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None
    prompts: list[Prompt] = []
    answers: list[str] = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            prompt, answer = _row(f"{path} line {number}", line, prompt_column, answer_column)
            prompts.append(Prompt(f"line {number}", prompt))
            answers.append(answer)
    if not prompts:
        raise ValueError(f"{path}: the file is empty: want at least one prompt")
    return OwnTask(prompts, answers, verifier)


def _row(where: str, line: str, prompt_column: str, answer_column: str) -> tuple[str | tuple[dict[str, str], ...], str]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError(f"{where}: it is not JSON: want one object per line") from None
    for column in (prompt_column, answer_column):
        if not isinstance(row, dict) or column not in row:
            found = ", ".join(row)[:80] if isinstance(row, dict) else "no object"
            raise ValueError(f"{where}: no column {column!r}: found {found}")
    prompt, answer = row[prompt_column], row[answer_column]
    if isinstance(prompt, list) and prompt and all(_is_message(part) for part in prompt):
        return tuple(prompt), str(answer)
    if not isinstance(prompt, str) or not prompt:
        shown = json.dumps(prompt)[:80]
        raise ValueError(f"{where}: {prompt_column} is {shown}: want text, or messages with role and content")
    return prompt, str(answer)


def _is_message(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(key), str) for key in ("role", "content"))
