"""Which of the known names was meant by one that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

CLOSE = 0.7  # of difflib's ratio: a letter or two apart
MOST = 3  # names that are offered


def suggestion(name: str, known: Iterable[str]) -> str:
    """`did you mean NAME? `, with what is nearest among the known names or their words; empty if nothing is near.

    >>> suggestion("gama", ("gamma_correct", "gamma_incorrect", "reference"))
    'did you mean gamma_correct or gamma_incorrect? '
    >>> suggestion("DR-GRPO", ("grpo", "dr_grpo")), suggestion("x", ("grpo", "ds"))
    ('did you mean dr_grpo? ', '')
    """
    wholes = {_spelled(one): [one] for one in known}
    words: dict[str, list[str]] = {}
    for text, (one,) in wholes.items():
        for word in re.split(r"[_.]", text):
            words.setdefault(word, []).append(one)
    spelled = words | wholes  # a whole name before a word of others
    near = difflib.get_close_matches(_spelled(name), spelled, n=1, cutoff=CLOSE)
    return f"did you mean {' or '.join(spelled[near[0]][:MOST])}? " if near else ""


def _spelled(name: str) -> str:
    return name.lower().replace("-", "_")
