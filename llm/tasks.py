"""What a verifiable task gives to the rest of the layer: problems with prompts, and marks of completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

Message = dict[str, str]  # role and content, as chat templates take them


class Mark(NamedTuple):
    """What a verifier says of one completion.

    `correct` is 1.0, 0.0, or NaN where the completion could not be scored; `answer` is the text that was taken as the
    answer ("" where there is none), and `reason` says why a completion is not correct ("" where it is).
    """

    correct: float
    well_formed: bool
    reason: str
    answer: str


@dataclass(frozen=True)
class Prompt:
    """One problem as a model sees it: plain text, or messages for the tokenizer's chat template and its arguments."""

    id: str
    text: str | tuple[Message, ...]
    template: tuple[tuple[str, Any], ...] = ()


class Task(Protocol):
    """Problems and their verifier."""

    @property
    def prompts(self) -> Sequence[Prompt]:
        """The prompts of all problems, with distinct ids, in a fixed order."""

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion; `places` says to which of the prompts it belongs, `is_finished` whether it ended.

        A completion that did not end by itself was cut off; whether it can be correct is for the verifier to say.
        """


class InChat:
    """A task whose prompts begin with a system message, and are written with arguments of the chat template."""

    def __init__(self, task: Task, system: str, template: Mapping[str, Any]) -> None:
        """Takes the task; raises ValueError for prompts that are plain text or have a system message."""
        self.task = task
        self.prompts = [_in_chat(prompt, system, template) for prompt in task.prompts]

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """The marks of the task."""
        return self.task.marks(places, completions, is_finished)


def _in_chat(prompt: Prompt, system: str, template: Mapping[str, Any]) -> Prompt:
    field = f"system_prompt: {system!r}" if system else f"chat_template: {dict(template)}"
    if isinstance(prompt.text, str):
        raise ValueError(f"{field}: prompt {prompt.id!r} is plain text: want messages, as with text_format chat")
    if system and prompt.text[0]["role"] == "system":
        raise ValueError(f"{field}: prompt {prompt.id!r} has a system message: want that or this")
    first = ({"role": "system", "content": system},) if system else ()
    return Prompt(prompt.id, (*first, *prompt.text), tuple(template.items()))
