"""What a configuration trains on: its task, read or drawn, held-out problems apart from it, known solutions."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from sharpening.llm import own_task
from sharpening.llm.countdown import files, formats, solver
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.lists import task as lists
from sharpening.llm.mathematics import problems as math_problems
from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.sampling import models
from sharpening.llm.tasks import InChat, Task
from sharpening.llm.training.configs import RunConfig

HELD_OUT_SEED, TRAIN_SEED = 1, 2
NUM_SOLUTIONS = 20  # most known solutions that the verifier has to accept before a run


class Problems(NamedTuple):
    """What is trained on and evaluated on, and what the reward is made of."""

    train: Task
    held_out: Task | None
    solutions: Sequence[str]  # a known correct completion of some training prompts, "" where none is known
    num_left_out: int = 0  # problems of a file that belong to held-out splits

    def known(self) -> dict[int, str]:
        """The places of the first prompts with a known solution, and the solutions."""
        return dict([(place, text) for place, text in enumerate(self.solutions) if text][:NUM_SOLUTIONS])


@contextlib.contextmanager
def opened(config: RunConfig, model: str) -> Iterator[Problems]:
    """Training and held-out problems, and known solutions of some; a verifier's processes end with the block.

    Raises ValueError, one line, for files that cannot be read and for held-out problems that are trained on.
    """
    with contextlib.ExitStack() as stack:
        if config.task == "own":
            found = _own(config, stack.enter_context(own_task.load_verifier(config.verifier)))
        elif config.task == "math":
            found = _mathematics(config, stack.enter_context(math_scorer.MathScorer(is_lenient=config.lenient)))
        elif config.task == "lists":
            found = _lists(config)
        else:
            found = _countdown(config, model)
        yield _in_chat(config, found) if config.system_prompt or config.chat_template else found


def _in_chat(config: RunConfig, found: Problems) -> Problems:
    """The same problems with the system message and the arguments of the chat template."""
    train = InChat(found.train, config.system_prompt, config.chat_template)
    held_out = None
    if found.held_out is not None:
        held_out = InChat(found.held_out, config.system_prompt, config.chat_template)
    return found._replace(train=train, held_out=held_out)


def _own(config: RunConfig, verifier: own_task.LimitedVerifier) -> Problems:
    columns = (config.problem_column, config.answer_column)
    task = own_task.load(Path(config.problems), *columns, verifier, solution_column=config.solution_column)
    held_out = None
    if config.held_out and config.evaluation_problems:
        held_out = own_task.load(Path(config.held_out), *columns, verifier).first(config.evaluation_problems)
    return Problems(task, _apart(task, held_out), task.solutions)


def _mathematics(config: RunConfig, scorer: math_scorer.MathScorer) -> Problems:
    named = math_problems.Columns(config.problem_column, config.answer_column)
    given = math_problems.load(Path(config.problems), named)
    others = math_problems.load(Path(config.held_out), named)[: config.evaluation_problems] if config.held_out else []
    math_problems.check_gold([*given, *others], scorer)
    solutions = [rf"\boxed{{{problem.answer}}}" for problem in given[:NUM_SOLUTIONS]]
    task = math_problems.MathTask(given, scorer)
    return Problems(task, _apart(task, math_problems.MathTask(others, scorer)), solutions)


def _lists(config: RunConfig) -> Problems:
    asked = lists.split(held_out=False)
    held_out = lists.split(held_out=True)[: config.evaluation_problems]
    solutions = [min(one.correct) for one in asked]
    return Problems(lists.ListTask(asked), _apart(lists.ListTask(asked), lists.ListTask(held_out)), solutions)


def _countdown(config: RunConfig, model: str) -> Problems:
    """Problems of the training split, of a file or drawn, and drawn ones of the validation split."""
    settings = {split: _settings(config, model, split) for split in ("train", "validation")}
    left_out = 0
    if config.problems:
        found, _ = files.load(Path(config.problems))
        train = [problem for problem in found if countdown.split_of(problem) == "train"]
        left_out = len(found) - len(train)
        if not train:
            raise ValueError(f"problems: {config.problems!r}: all {left_out} belong to held-out splits: want others")
    else:
        rng = np.random.default_rng([config.seed, TRAIN_SEED])
        if "num_problems" in config.model_fields_set:
            train = countdown.distinct(settings["train"], rng, config.num_problems, name="num_problems")
        else:  # as many as there are, up to the default
            train = countdown.up_to(settings["train"], rng, config.num_problems)
    held_out = None
    if config.evaluation_problems:
        rng, number = np.random.default_rng([config.seed, HELD_OUT_SEED]), config.evaluation_problems
        drawn = countdown.distinct(settings["validation"], rng, number, name="evaluation_problems")
        held_out = CountdownTask(drawn, operators=settings["validation"].operators, text_format=config.text_format)
    operators = settings["train"].operators
    solutions = []
    for problem in train[:NUM_SOLUTIONS]:
        texts = solver.canonical_solutions(problem, operators)
        solutions.append(formats.answer(texts[0], config.text_format) if texts else "")
    task = CountdownTask(train, operators=operators, text_format=config.text_format)
    return Problems(task, held_out, solutions, left_out)


def _settings(config: RunConfig, model: str, split: str) -> countdown.Settings:
    """The kind of problems: the model's own, with what the configuration changes."""
    if "split" in config.countdown:
        raise ValueError(f"countdown.split: {config.countdown['split']!r}: want none: a run trains on the split train")
    try:
        return countdown.Settings(**{**models.settings_of(model), **config.countdown, "split": split})
    except ValidationError as error:
        first = error.errors()[0]
        name, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            message = f"unknown: want one of {', '.join(countdown.Settings.model_fields)}"
        where = f"countdown.{name}: {first['input']!r}" if name else "countdown"
        raise ValueError(f"{where}: {message}") from None


def _apart(train: Task, held_out: Task | None) -> Task | None:
    """The held-out problems if there are any; refuses those that are trained on."""
    if held_out is None or not held_out.prompts:
        return None
    known = {json.dumps(prompt.text): prompt.id for prompt in train.prompts}
    for prompt in held_out.prompts:
        if (trained := known.get(json.dumps(prompt.text))) is not None:
            raise ValueError(f"held_out: {prompt.id!r}: it is {trained!r} of problems: want prompts of its own")
    return held_out
