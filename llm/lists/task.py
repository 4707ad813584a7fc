"""Questions such as "Name a country in Africa.", whose correct answers are listed, and the verifier of their answers.

An answer is the whole completion, which has to end by itself: Niger that was cut off may have been on the way to
Nigeria. Blanks around it, one full stop at its end, an article `the` before it, and capital or small letters make no
difference; anything else does. So a name is never found within another name, or within a sentence.

The prompt is a chat: two questions of other collections with their answers show that a name alone is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sharpening.llm.lists import collections
from sharpening.llm.tasks import Mark, Message, Prompt

FEWEST = 3  # correct answers of a question
HELD_OUT_EVERY = 4
ARTICLE = "the "
SHOWN = (("Name an ocean.", "Atlantic"), ("Name a planet.", "Mars"), ("Name a day of the week.", "Tuesday"))


@dataclass(frozen=True)
class Question:
    """A question, its collection, and the members of it that are correct."""

    id: str
    text: str
    listed: tuple[str, ...]
    correct: frozenset[str]


def questions() -> list[Question]:
    """All questions, in a fixed order: by continent, by first letter, by number of days."""
    countries = tuple(name for names in collections.COUNTRIES.values() for name in names)
    found = [
        Question(f"country in {place}", f"Name a country in {place}.", countries, frozenset(names))
        for place, names in collections.COUNTRIES.items()
    ]
    states = collections.STATES
    found.append(Question("state", "Name a state of the United States.", states, frozenset(states)))
    for what, names in (("country", countries), ("state of the United States", states)):
        for letter in sorted({name[0] for name in names}):
            text = f"Name a {what} that begins with the letter {letter}."
            chosen = frozenset(name for name in names if name[0] == letter)
            found.append(Question(f"{what.split()[0]} with {letter}", text, names, chosen))
    months = tuple(collections.MONTHS)
    found.append(Question("month", "Name a month of the year.", months, frozenset(months)))
    for days in (30, 31):
        chosen = frozenset(name for name, number in collections.MONTHS.items() if number == days)
        found.append(Question(f"month with {days}", f"Name a month that has {days} days.", months, chosen))
    return [one for one in found if len(one.correct) >= FEWEST]


def split(held_out: bool) -> list[Question]:
    """The questions to train on, or every fourth, which is kept for measuring."""
    return [one for place, one in enumerate(questions()) if (place % HELD_OUT_EVERY == 0) == held_out]


def member(text: str, listed: Sequence[str]) -> str:
    """The member of a collection that a text names; "" where it names none.

    >>> member(" the gambia.", ("Gambia", "Niger", "Nigeria"))
    'Gambia'
    >>> member("Niger, in Africa", ("Gambia", "Niger", "Nigeria"))
    ''
    """
    wanted = _plain(text)
    named = {_plain(name): name for name in listed}
    others = {_plain(name): same for name, same in collections.OTHER_NAMES.items() if same in listed}
    return {**others, **named}.get(wanted, "")


def _plain(text: str) -> str:
    return text.strip().removesuffix(".").strip().casefold().removeprefix(ARTICLE)


def spellings(name: str) -> tuple[str, ...]:
    """The texts that an audit lists for a member: it and its other names, with and without a full stop and a space."""
    names = [name, *(other for other, same in collections.OTHER_NAMES.items() if same == name)]
    return tuple(f"{space}{one}{stop}" for one in names for space in ("", " ") for stop in ("", "."))


class ListTask:
    """Questions as prompts, and marks of completions."""

    def __init__(self, asked: Sequence[Question]) -> None:
        """Takes questions with distinct ids."""
        self.questions = tuple(asked)
        self.prompts = [Prompt(one.id, _messages(one)) for one in asked]

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion; well-formed is what names a member of the collection and ended by itself."""
        return [
            _mark(self.questions[place], text, is_whole)
            for place, text, is_whole in zip(places, completions, is_finished, strict=True)
        ]


def _messages(question: Question) -> tuple[Message, ...]:
    shown = [
        message
        for asked, name in SHOWN
        for message in ({"role": "user", "content": asked}, {"role": "assistant", "content": name})
    ]
    return (*shown, {"role": "user", "content": question.text})


def _mark(question: Question, text: str, is_finished: bool) -> Mark:
    if not is_finished:
        return Mark(0.0, False, "cut off", "")
    name = member(text, question.listed)
    if not name:
        return Mark(0.0, False, "not listed", "")
    return Mark(float(name in question.correct), True, "" if name in question.correct else "wrong", name)
