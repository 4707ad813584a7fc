"""What `evaluate` and `audit` share: options that choose a model's numbers, device and problems, and the problems."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.lists import task as lists

if TYPE_CHECKING:
    from sharpening.llm.sampling.models import LanguageModel
    from sharpening.llm.tasks import Prompt

DEFAULT_LIMIT = 200


class ModelOptions(Options):
    """Options about models and Countdown problems."""

    models: tuple[NonEmpty, ...] = Field(
        (),
        description="folders of models or adapters that save_pretrained wrote, or hub names; of several the first is "
        "the one before training",
        json_schema_extra=OPTIONAL_WORD,
    )
    model: tuple[NonEmpty, ...] = Field((), description="models, as words or after this flag")
    problems: NonEmpty | None = Field(
        None, description="file of problems, JSON lines or parquet; without it Countdown problems are drawn"
    )
    split: Literal["train", "validation", "test"] = Field(
        "test",
        description="which drawn problems: train, validation or test; warm-start and RL see train only. Of lists train "
        "or test, without it all questions",
    )
    set: tuple[NonEmpty, ...] = Field(
        (),
        description="kind of drawn problems, NAME=VALUE such as num_numbers=3 operators=+-*/; without it the kind that "
        "warm-start made the first model for",
    )
    problem_seed: int = Field(0, ge=0, lt=2**32, description="seed of drawn problems")
    limit: int | None = Field(
        None, ge=1, description=f"number of problems; without it up to {DEFAULT_LIMIT} drawn ones, or the whole file"
    )
    text_format: Literal["compact", "chat"] = Field(
        "compact",
        alias="format",
        description="how Countdown is put: compact, postfix for models of warm-start, or chat, infix in <answer> after "
        "<think>, for models that follow instructions",
    )
    temperature: float = Field(1.0, gt=0, le=100, allow_inf_nan=False, description="softmax temperature")
    top_p: float | None = Field(None, description="refused: it would give rare correct answers probability 0")
    top_k: int | None = Field(None, description="refused, as --top-p")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="numbers of the model: float32, bfloat16 or float16"
    )
    device: NonEmpty = Field("auto", description="auto (the GPU if there is one), cpu, cuda or cuda:N")
    batch: int = Field(1024, ge=1, description="completions in memory at once")
    out: NonEmpty = Field("results", description="folder of the result store")

    @model_validator(mode="after")
    def _refuses_cuts(self) -> ModelOptions:
        for flag, value in (("--top-p", self.top_p), ("--top-k", self.top_k)):
            if value is not None:
                raise ValueError(
                    f"{flag}: {value!r}: a cut distribution gives rare correct answers probability 0: want none, "
                    "only --temperature"
                )
        return self

    @property
    def folders(self) -> tuple[str, ...]:
        """The models, in the order given: words first."""
        return (*self.models, *self.model)


def need_torch() -> None:
    """Refuses to start without the packages of the language-model layer, and keeps them quiet."""
    try:
        import torch  # noqa: F401
        import transformers
    except ModuleNotFoundError as error:
        raise ValueError(f"this needs {error.name}: want `pip install '.[llm]'` first") from None
    transformers.utils.logging.disable_progress_bar()
    for name in ("transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)


def refuse_beside(options: Options, what: str, names: Iterable[str]) -> None:
    """Refuses options that are given and would mean nothing beside another one."""
    for name in names:
        if name in options.model_fields_set:
            flag = type(options).model_fields[name].alias or name.replace("_", "-")
            raise ValueError(f"--{flag}: it means nothing with {what}: want one of them")


def opened(name: str, options: ModelOptions) -> LanguageModel:
    """The model of that name."""
    from sharpening.llm.sampling import models

    return models.load(name, dtype=options.dtype, device=options.device)


def note_doubts(name: str, tokenizer: Any, prompts: Sequence[Prompt], max_tokens: int) -> None:
    """Says on stderr what makes samples or an audit of these prompts doubtful."""
    from sharpening.llm.sampling import models

    for doubt in models.doubts(name, tokenizer, prompts, max_tokens):
        print(f"note: {name}: {doubt}", file=sys.stderr)


def countdown_problems(
    options: ModelOptions, made_for: dict[str, Any], num_drawn: int = DEFAULT_LIMIT
) -> tuple[list[countdown.Problem], str, dict[str, Any]]:
    """The Countdown problems asked for, their operators, and what stands for them in a stored configuration.

    Without a limit up to `num_drawn` are drawn.
    """
    if options.problems is None:
        settings = problem_settings(options.set, {**made_for, "split": options.split})
        rng = np.random.default_rng(np.random.SeedSequence([options.problem_seed]))
        if options.limit is None:
            chosen = countdown.up_to(settings, rng, num_drawn)
        else:
            chosen = countdown.distinct(settings, rng, options.limit, name="--limit")
        drawn = {"num_problems": len(chosen), "problem_seed": options.problem_seed}
        return chosen, settings.operators, {**settings.model_dump(mode="json"), **drawn}
    from sharpening.llm.countdown import files

    refuse_beside(options, "--problems", ("split", "problem_seed"))
    for text in options.set:
        if not text.startswith("operators="):
            raise ValueError(f"--set: {text!r}: want only operators=... beside --problems")
    operators = problem_settings(options.set, made_for).operators
    found, num_repeated = files.load(Path(options.problems))
    if num_repeated:
        print(f"note: {num_repeated} rows repeat a problem and are left out", file=sys.stderr)
    chosen = found[: options.limit]
    about = {"problems": digest([[one.numbers, one.target] for one in chosen]), "operators": operators}
    return chosen, operators, about


def questions(options: ModelOptions) -> list[lists.Question]:
    """The questions of lists that are asked: those that llm trains on, those that it holds out, or all."""
    if "split" not in options.model_fields_set:
        return lists.questions()[: options.limit]
    if options.split == "validation":
        raise ValueError("--split: 'validation': want train or test with --task lists")
    return lists.split(held_out=options.split == "test")[: options.limit]


def digest(problems: Iterable[Any]) -> str:
    """The SHA-256 that stands for problems from a file in a stored configuration."""
    return hashlib.sha256(json.dumps(list(problems)).encode()).hexdigest()


def problem_settings(words: tuple[str, ...], defaults: dict[str, Any]) -> countdown.Settings:
    """The kind of problems, NAME=VALUE over the defaults; one line names what is wrong."""
    given: dict[str, Any] = {}
    for text in words:
        name, equals, value = text.partition("=")
        if not equals or name not in countdown.Settings.model_fields:
            names = ", ".join(countdown.Settings.model_fields)
            raise ValueError(f"--set: {text!r}: want NAME=VALUE with one of {names}")
        given[name] = value
    try:
        return countdown.Settings(**{**defaults, **given})
    except ValidationError as error:
        first = error.errors()[0]
        where = f"{first['loc'][0]}={first['input']}" if first["loc"] else " ".join(words)
        raise ValueError(f"--set: {where!r}: {first['msg'].removeprefix('Value error, ')}") from None
