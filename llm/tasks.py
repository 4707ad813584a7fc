"""What a verifiable task gives to the rest of the layer: problems with prompts, and marks of completions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

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
    """One problem as a model sees it: plain text, or messages for the tokenizer's chat template."""

    id: str
    text: str | tuple[Message, ...]


class Task(Protocol):
    """Problems and their verifier."""

    @property
    def prompts(self) -> Sequence[Prompt]:
        """The prompts of all problems, with distinct ids, in a fixed order."""

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion; `places` says to which of the prompts it belongs, `is_finished` whether it ended.

        A completion that did not end by itself was cut off; whether it can be correct is for the verifier to say.
        """
