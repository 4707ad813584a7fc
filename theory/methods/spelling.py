"""Which of the known names was meant by one that is not known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

CLOSE, CLOSE_WORD = 0.6, 0.7  # of difflib's ratio: for a whole name, and for a word of one
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
    for spelled, close in ((wholes, CLOSE), (words, CLOSE_WORD)):
        if near := difflib.get_close_matches(_spelled(name), spelled, n=1, cutoff=close):
            return f"did you mean {' or '.join(spelled[near[0]][:MOST])}? "
    return ""


def _spelled(name: str) -> str:
    return name.lower().replace("-", "_")
