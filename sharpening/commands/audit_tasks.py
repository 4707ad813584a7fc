"""What `audit` can ask: problems of Countdown, or questions whose correct answers are names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sharpening.commands import language_models
from sharpening.commands.language_models import ModelOptions
from sharpening.llm.lists import task as lists

if TYPE_CHECKING:
    from sharpening.llm.audit.exact import Audited
    from sharpening.llm.sampling.models import LanguageModel
    from sharpening.llm.tasks import Prompt


class Asked(NamedTuple):
    """The problems, and how a model's answers to them are listed, named and checked.

    `about` stands for them in a stored configuration; `refuse` raises ValueError for audits that say too little;
    `texts` are the answers of one audit, and `spellings` what is listed of one of them.
    """

    noun: str
    problems: Sequence[Any]
    prompts: Sequence[Prompt]
    operators: str
    about: dict[str, Any]
    audit: Callable[[LanguageModel, Any], Audited]
    refuse: Callable[[str, LanguageModel, Sequence[Audited]], None]
    texts: Callable[[LanguageModel, Audited], Sequence[str]]
    spellings: Callable[[str], Sequence[str]]


def _countdown(options: ModelOptions, made_for: dict[str, Any]) -> Asked:
    from sharpening.llm.audit import exact, unlisted
    from sharpening.llm.countdown.task import CountdownTask

    problems, operators, about = language_models.countdown_problems(options, made_for)
    of_format: dict[str, Any] = {"operators": operators, "text_format": options.text_format}
    given = {**of_format, "temperature": options.temperature}
    return Asked(
        noun="Countdown problems",
        problems=problems,
        prompts=CountdownTask(problems, **of_format).prompts,
        operators=operators,
        about={"problems": about, "format": options.text_format},
        audit=lambda lm, problem: exact.audit(lm, problem, **given, batch=options.batch),
        refuse=lambda name, lm, audits: unlisted.refuse(name, lm, audits, **given),
        texts=lambda lm, one: exact.answer_texts(lm, one.tokens),
        spellings=exact.spellings,
    )


def _lists(options: ModelOptions, _: dict[str, Any]) -> Asked:
    from sharpening.llm.audit import listed

    asked = language_models.questions(options)
    told = [[one.text, listed.names(one)] for one in asked]
    return Asked(
        noun="questions",
        problems=asked,
        prompts=lists.ListTask(asked).prompts,
        operators="",
        about={"task": "lists", "problems": language_models.digest(told)},
        audit=lambda lm, one: listed.audit(lm, one, temperature=options.temperature, batch=options.batch),
        refuse=lambda *_: None,
        texts=lambda _, one: listed.names(one.problem),
        spellings=lists.spellings,
    )


OPENED: dict[str, Callable[[ModelOptions, dict[str, Any]], Asked]] = {"countdown": _countdown, "lists": _lists}
