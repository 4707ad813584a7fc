"""Advantages of a method for a batch as training engines hold it: completions in any order, padded, groups unequal.

Engines name the group of a completion and hand over numbers of single tokens. Here they become the whole groups that
`theory.methods.calls` takes: a group that is smaller than the largest is filled up with unscorable completions, which
no method sees. So the numbers are those of TRL's trainer and of the simulator.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from sharpening.theory.methods import calls, table
from sharpening.theory.methods.table import Method

GROUP_LEVEL: tuple[table.Level, ...] = ("group",)


class Settings(BaseModel):
    """What an engine's configuration says of the method."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: str = Field(description="id of a method, a preset of ds, or FILE.py:FUNCTION")
    parameters: dict[str, int | float | str] = Field(default_factory=dict, description="parameters of the method")
    correct_above: float | None = Field(None, description="rewards above are correct; without it they are 0 and 1")


class Choice(NamedTuple):
    """A method of group level with all its parameters."""

    method: Method
    values: Mapping[str, Any]

    @property
    def is_by_token(self) -> bool:
        """Whether every token has a term of its own."""
        return bool(self.method.strengths) and self.values["reduction"] == "token"

    @property
    def reads_tokens(self) -> bool:
        """Whether anything that is told by all of a completion's tokens enters."""
        read = table.named(self.method.advantage, table.INPUTS) if self.method.is_own else self.needs
        return self.is_by_token or bool({"log_prob", "base_log_prob", "num_tokens", "answer"} & set(read))

    @property
    def needs(self) -> tuple[str, ...]:
        """The inputs that the method needs."""
        return calls.needs(self.method, self.values)


class Batch(NamedTuple):
    """Completions in any order, as far as an engine knows them.

    Shapes:   group, reward, correct, answer: (num_completions,); is_own, log_prob, base_log_prob: (num_completions,
              num_positions). Those of one group have equal names in `group`, equal answers are equal in `answer`.
    Units:    `is_own` is 1 for tokens that the model wrote; what log-probabilities are elsewhere is of no account.
    """

    group: Sequence[Hashable]
    reward: Tensor
    correct: Tensor
    is_own: Tensor
    log_prob: Tensor | None = None
    base_log_prob: Tensor | None = None
    answer: Sequence[Hashable] | None = None


class Advantages(NamedTuple):
    """Without the method's term and with it, of each completion; and as they enter a loss, 0 on padding.

    Shapes:   plain, shaped: (num_completions,); by_token: (num_completions, num_positions).
    """

    plain: Tensor
    shaped: Tensor
    by_token: Tensor


def settings_of(given: Mapping[str, Any] | None, section: str) -> Settings:
    """The settings in a section of an engine's configuration; raises ValueError, one line, that names the field."""
    if not given:
        raise ValueError(f"{section}: {given}: want {section}.method, as ds_reward")
    try:
        return Settings(**{**given, "parameters": dict(given.get("parameters") or {})})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, (section, *first["loc"])))
        raise ValueError(f"{field}: {first['input']!r}: {first['msg']}") from None


def choose(spec: str, parameters: Mapping[str, Any], engine: str) -> Choice:
    """The method of an id, a preset or FILE.py:FUNCTION; raises ValueError for one that is not of group level."""
    method = calls.resolve(spec)
    values = calls.parameter_values(method, parameters)
    calls.refuse_level(method, GROUP_LEVEL, engine, values)
    return Choice(method, values)


def advantages(choice: Choice, batch: Batch) -> Advantages:
    """What the method gives every completion of a batch.

    Raises ValueError where an input is missing or invalid, and for a result that is not finite.
    """
    method, values = choice
    rows, slots = _places(batch.group)
    shape = int(rows.max()) + 1, int(slots.max()) + 1
    is_own = batch.is_own.double()
    tokens = {"log_prob": batch.log_prob, "base_log_prob": batch.base_log_prob}
    own = {name: torch.where(is_own > 0, one, 0.0).double() for name, one in tokens.items() if one is not None}
    inputs = {
        "reward": batch.reward.double(),
        "correct": torch.where(batch.reward.isnan(), torch.nan, batch.correct.double()),
        "num_tokens": is_own.sum(1).long().clamp(min=1),
        **{name: one.sum(1) for name, one in own.items()},
    }
    if batch.answer is not None:
        numbers: dict[Hashable, int] = {}
        inputs["answer"] = torch.tensor([numbers.setdefault(one, len(numbers)) for one in batch.answer])
    named = (*table.named(method.advantage, table.INPUTS), "reward", "correct")  # the last two also mark what is scored
    grouped = {name: _grouped(one, rows, slots, shape) for name, one in inputs.items() if name in named}
    place = rows * shape[1] + slots
    shaped = calls.group_advantages(method, grouped, values).reshape(-1)[place]
    plain = shaped
    if method.strengths:
        none = {**values, **dict.fromkeys(method.strengths, 0.0)}
        plain = calls.group_advantages(method, grouped, none).reshape(-1)[place]
    by_token = shaped[:, None] * is_own
    if choice.is_by_token:
        by_token = plain[:, None] * is_own + token_terms(choice, grouped["correct"], place, own)
    if not by_token.isfinite().all():
        raise ValueError(f"{method.id}: it gave an advantage that is NaN or infinite: want finite numbers")
    return Advantages(plain, shaped, by_token)


def token_terms(choice: Choice, correct: Tensor, place: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """The term of every token by its own log-probability: the advantages of one-token completions without reward.

    `place` is where the completions are in their groups; one of a group with too few scorable ones has no term.
    Shapes:   correct: (num_groups, group_size), place: (num_completions,), own: (num_completions, num_positions) each.
              Returns the last.
    """
    method, values = choice
    num_scorable = (~correct.isnan()).sum(1, keepdim=True)
    marks = torch.where(num_scorable < calls.least_group_size(method, values), torch.nan, correct).reshape(-1)[place]
    named = table.named(method.advantage, table.INPUTS)
    log_probs = {name: one for name, one in own.items() if name in ("log_prob", "base_log_prob") and name in named}
    shape = next(iter(log_probs.values())).shape
    marks = marks[:, None].expand(shape)
    given = {"reward": torch.where(marks.isnan(), torch.nan, 0.0), "correct": marks, **log_probs}
    flat = {name: tokens.reshape(-1) for name, tokens in given.items()}
    found: Tensor = calls.group_advantages(method, flat, {**values, "reduction": "sum", "normalise": "none"})
    return found.view(shape)


def marks_of(reward: Tensor, correct_above: float | None, field: str) -> Tensor:
    """1 for correct and 0 for wrong by an engine's single number a completion; NaN stays.

    Raises ValueError, naming the field for the threshold, where there is none and the numbers are not marks.
    """
    if correct_above is not None:
        return torch.where(reward.isnan(), torch.nan, (reward > correct_above).double())
    is_bad = ~(reward.isnan() | (reward == 0) | (reward == 1))
    if is_bad.any():
        raise ValueError(
            f"{field}: None: a completion has reward {reward[is_bad][0].item():g}: want rewards of 0 and 1, or the "
            "number above which a completion is correct"
        )
    return reward.double()


def _places(group: Sequence[Hashable]) -> tuple[Tensor, Tensor]:
    """The number of each completion's group, by first appearance, and its place in it."""
    numbers: dict[Hashable, int] = {}
    counts: list[int] = []
    rows, slots = [], []
    for name in group:
        row = numbers.setdefault(name, len(counts))
        if row == len(counts):
            counts.append(0)
        rows.append(row)
        slots.append(counts[row])
        counts[row] += 1
    return torch.tensor(rows), torch.tensor(slots)


def _grouped(values: Tensor, rows: Tensor, slots: Tensor, shape: tuple[int, int]) -> Tensor:
    """Numbers of completions in the shape of the groups; NaN, or 0 for integers, where a group is smaller."""
    found = values.new_full(shape, torch.nan if values.dtype.is_floating_point else 0)
    found[rows, slots] = values
    return found
