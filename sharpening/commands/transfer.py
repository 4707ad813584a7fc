"""`audit --transfer`: its options, its training prompts, and its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pydantic import Field
from tqdm import tqdm

from sharpening.commands import language_models
from sharpening.commands.language_models import ModelOptions
from sharpening.commands.options import NonEmpty
from sharpening.llm.countdown import problems as countdown
from sharpening.theory.groups import expectations
from sharpening.theory.methods import calls, table

if TYPE_CHECKING:
    from sharpening.llm.audit.exact import Audited

Row = dict[str, Any]
NUM_DRAWN = 500  # training prompts
ONLY_WITH_TRANSFER = ("train", "train_limit", "train_method", "group_size")
ALL = ("transfer", *ONLY_WITH_TRANSFER)


class TransferOptions(ModelOptions):
    """Options about the training prompts whose gradients predict sharpening."""

    transfer: bool = Field(
        False,
        description="also predict, from exact gradients of the first model, how much training sharpens per nat of "
        "log-odds, and hold the other models against it",
    )
    train: NonEmpty | None = Field(
        None, description="with --transfer: file of training prompts, beside --problems; else they are drawn"
    )
    train_limit: int | None = Field(
        None,
        ge=2,
        description=f"with --transfer: number of training prompts; else {NUM_DRAWN} drawn ones, or the whole file",
    )
    train_method: NonEmpty = Field(
        "dr_grpo", description="with --transfer: method whose expected step is taken: one that sees correctness only"
    )
    group_size: int = Field(16, ge=2, le=4096, description="with --transfer: samples of a prompt, for that method")


class Training(NamedTuple):
    """The training prompts, what stands for them and the method in a stored configuration, and c_G(Q)."""

    problems: list[countdown.Problem]
    about: dict[str, Any]
    prompt_weight: Callable[[float], float]


def training(
    options: TransferOptions, made_for: dict[str, Any], problems: Sequence[countdown.Problem]
) -> Training | None:
    """What is trained on, apart from the problems of the audit; None without --transfer.

    Raises ValueError, one line, for what does not fit together.
    """
    if not options.transfer:
        for name in ONLY_WITH_TRANSFER:
            if name in options.model_fields_set:
                raise ValueError(f"--{name.replace('_', '-')}: it means nothing without --transfer: want both")
        return None
    if (options.train is None) != (options.problems is None):
        raise ValueError(f"--train: {options.train!r}: want a file beside --problems, and none without it")
    if options.problems is None and options.split == "train":
        raise ValueError("--split: 'train': --transfer draws its training prompts there: want validation or test")
    if options.dtype != "float32":
        raise ValueError(f"--dtype: {options.dtype!r}: want float32 with --transfer, whose gradients are exact")
    weight = _prompt_weight(options)
    source: dict[str, Any] = {"problems": options.train, "limit": options.train_limit}
    if options.train is None:
        source["split"] = "train"
    chosen, _, about = language_models.countdown_problems(options.model_copy(update=source), made_for, NUM_DRAWN)
    known = {one.id for one in problems}
    for one in chosen:
        if one.id in known:
            raise ValueError(f"--train: problem {one.id!r} is one of --problems, too: want problems of its own")
    about = {"train": about, "train_method": options.train_method, "group_size": options.group_size}
    return Training(chosen, about, weight)


def _prompt_weight(options: TransferOptions) -> Callable[[float], float]:
    """c_G(Q) of the method at its default parameters."""
    allowed: tuple[table.Level, ...] = ("group",)
    try:
        method = calls.resolve(options.train_method)
        calls.refuse_level(method, allowed, "--transfer")
        values = calls.parameter_values(method)
        needs = calls.needs(method, values)
        if not set(needs) <= {"reward", "correct"}:
            raise ValueError(f"{method.id} needs {', '.join(needs)}: want a method that sees correctness only")
        advantages = expectations.advantage_table(method.advantage, options.group_size, **values)
    except ValueError as error:
        raise ValueError(f"--train-method: {error}") from None
    return lambda correctness: float(expectations.prompt_weight(advantages, correctness))


def rows(
    options: TransferOptions,
    operators: str,
    audits: Mapping[str, Sequence[Audited]],
    training: Training,
    rng: np.random.Generator,
) -> list[Row]:
    """Both passes over the first model's gradients, and the rows of all models.

    Predictions for prompts trained on are made from as many of them as there are problems.
    """
    from sharpening.llm.audit import exact, transfer, transfer_rows
    from sharpening.llm.sampling import models

    lm = models.load(options.folders[0], dtype=options.dtype, device=options.device, merge=False)
    batch = min(options.batch, transfer.LARGEST_BATCH)
    of = transfer.Differentiated(lm, operators, options.text_format, options.temperature, batch)
    first = next(iter(audits))

    def audited(problems: Sequence[countdown.Problem], what: str, *, only_correct: bool) -> Iterator[Audited]:
        for problem in tqdm(problems, unit=" problems", desc=what, disable=None, leave=False):
            yield exact.audit(
                lm,
                problem,
                operators=operators,
                text_format=options.text_format,
                temperature=options.temperature,
                batch=options.batch,
                only_correct=only_correct,
            )

    mean, num_prompts = transfer.mean_gradient(
        of, audited(training.problems, "mean gradient", only_correct=True), training.prompt_weight
    )
    some = training.problems[: len(audits[first])]
    trained_on = list(audited(some, "training prompts", only_correct=False))
    found: list[Row] = []
    for given, size in ((audits, np.inf), ({first: trained_on}, num_prompts)):
        bar = tqdm(given[first], unit=" problems", desc="transfer", disable=None, leave=False)
        each = [transfer.transfer_of(of, one, mean, training.prompt_weight) for one in bar]
        found += transfer_rows.rows(given, each, size, rng=rng)
    return found
