"""A task of one's own: prompts and answers from JSON Lines, and a verifier that is a Python function.

The verifier `FILE.py:FUNCTION` takes a completion and the answer, both text, and returns True, False, or None where the
completion cannot be scored. What it raises stops the run, with the prompt's line. It runs in processes of its own: a
completion on which it hangs or crashes could not be scored, and what it prints is dropped.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from sharpening.llm.tasks import Mark, Message, Prompt
from sharpening.llm.workers import Workers
from sharpening.theory.methods import user_functions

Verifier = Callable[..., object]
INPUTS = ("completion", "answer")
SECONDS = 10.0  # for one completion; the file itself may take longer to load


class OwnTask:
    """Prompts, their answers and the user's verifier."""

    def __init__(
        self,
        prompts: Sequence[Prompt],
        answers: Sequence[str],
        verifier: Verifier | LimitedVerifier,
        solutions: Sequence[str] = (),
    ) -> None:
        """Takes prompts with distinct ids; `solutions` has a correct completion of each, "" where none is known.

        A verifier that is a plain function is called in this process, without a limit of time.
        """
        self.prompts = list(prompts)
        self.answers = list(answers)
        self.solutions = list(solutions)
        self.verifier = verifier

    def first(self, count: int | None) -> OwnTask:
        """The task of the first prompts; of all for None."""
        return OwnTask(self.prompts[:count], self.answers[:count], self.verifier, self.solutions[:count])

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion, also of those that were cut off; well-formed is what could be scored."""
        pairs = [(text, self.answers[place]) for place, text in zip(places, completions, strict=True)]
        if isinstance(self.verifier, LimitedVerifier):
            found = self.verifier.verdicts(pairs)
        else:
            found = [_verdict(self.verifier, *pair) for pair in pairs]
        return [
            _mark(self.prompts[place].id, text, verdict)
            for place, text, verdict in zip(places, completions, found, strict=True)
        ]

    def check_solutions(self, most: int) -> int:
        """The number of the first known solutions that were tried; raises ValueError where one is not accepted."""
        known = [place for place, text in enumerate(self.solutions) if text][:most]
        texts = [self.solutions[place] for place in known]
        for place, mark in zip(known, self.marks(known, texts, [True] * len(known)), strict=True):
            if mark.correct != 1:
                raise ValueError(
                    f"verifier: it does not accept the known solution of prompt {self.prompts[place].id!r}, "
                    f"{self.solutions[place][:80]!r}: {mark.reason}"
                )
        return len(known)


class Verdict(NamedTuple):
    """What a verifier returned, what is wrong with that, and why it returned nothing."""

    correct: bool | None
    fault: str = ""
    failure: str = ""


def _verdict(verifier: Verifier, completion: str, answer: str) -> Verdict:
    try:
        found = verifier(completion=completion, answer=answer)
    except (Exception, SystemExit) as error:
        return Verdict(None, f"it raised {type(error).__name__}: {error}")
    if found is None:
        return Verdict(None)
    if not isinstance(found, int | float | np.bool_) or found not in (True, False):
        return Verdict(None, f"it returned {found!r}: want True, False or None")
    return Verdict(bool(found))


def _mark(prompt: str, completion: str, verdict: Verdict) -> Mark:
    if verdict.fault:
        raise ValueError(f"verifier: prompt {prompt}: {verdict.fault}")
    if verdict.correct is None:
        return Mark(float("nan"), False, verdict.failure or "unscorable", "")
    return Mark(float(verdict.correct), True, "" if verdict.correct else "wrong", completion)


class LimitedVerifier:
    """The function of FILE.py:FUNCTION, with a limit of time for each completion."""

    def __init__(self, spec: str, seconds: float = SECONDS) -> None:
        """Loads the file here too, for its errors; raises ValueError, one line, where the function is none."""
        user_functions.load(spec, INPUTS)
        self._spec = spec
        self._workers = Workers(_loaded, (spec,), seconds)

    def verdicts(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """What it says of pairs of a completion and an answer."""
        found = self._workers.run(_verdict_in_worker, [(self._spec, *pair) for pair in pairs])
        return [verdict or Verdict(None, failure=failure) for verdict, failure in found]

    def __enter__(self) -> Self:
        """The verifier itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Ends its processes; a later call starts others."""
        self._workers.close()


@functools.cache
def _function(spec: str) -> Verifier:
    return user_functions.load(spec, INPUTS)


def _loaded(spec: str) -> None:
    _function(spec)


def _verdict_in_worker(spec: str, completion: str, answer: str) -> Verdict:
    return _verdict(_function(spec), completion, answer)


def load_verifier(spec: str, seconds: float = SECONDS) -> LimitedVerifier:
    """The function of FILE.py:FUNCTION, whose arguments are `completion` and `answer`."""
    return LimitedVerifier(spec, seconds)


def load(
    path: Path,
    prompt_column: str,
    answer_column: str,
    verifier: Verifier | LimitedVerifier,
    *,
    solution_column: str = "",
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
            raise ValueError(f"{where}: no column {column!r}: want it, found {found}")
    prompt = row[prompt_column]
    if isinstance(prompt, list) and prompt and all(_is_message(part) for part in prompt):
        return row, tuple(prompt)
    if not isinstance(prompt, str) or not prompt:
        shown = json.dumps(prompt)[:80]
        raise ValueError(f"{where}: {prompt_column} is {shown}: want text, or messages with role and content")
    return row, prompt


def _is_message(part: object) -> bool:
    return isinstance(part, dict) and all(isinstance(part.get(key), str) for key in ("role", "content"))
