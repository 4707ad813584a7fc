"""The specification of a simulated bandit: one pydantic model gives the schema, the defaults and the error lines."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sharpening.bandits import instances
from sharpening.bandits.instances import Bandit
from sharpening.theory import policies
from sharpening.theory.methods import calls, table

Finite = Annotated[float, Field(allow_inf_nan=False)]
Size = Annotated[float, Field(ge=-table.LARGEST, le=table.LARGEST, allow_inf_nan=False)]
Rate = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Bit = Literal[0, 1]
RANDOM_METHODS = ("clip_cov",)  # they draw which tokens to drop
BATCH_METHODS = ("clip_cov", "kl_cov")  # their weights depend on the whole batch


class Specification(BaseModel):
    """A bandit, one method and how long to train: what `simulate` reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_policy: tuple[Finite, ...] | None = Field(None, description="probabilities of the arms, summing to 1")
    base_logits: tuple[Size, ...] | None = Field(None, description="instead of base_policy: logits of the arms")
    correct: tuple[Bit, ...] | None = Field(None, description="1 for each correct answer, 0 for each wrong one")
    solves: tuple[tuple[Bit, ...], ...] | None = Field(
        None, description="instead of correct: one row a prompt, 1 where a strategy solves it"
    )
    solves_file: str | None = Field(
        None, description="instead of correct: CSV of solves, a header, then one row a prompt"
    )
    instance: str | None = Field(None, description="instead of all these: a named bandit")
    instance_parameters: Mapping[str, int | float] = Field({}, description="parameters of the named bandit")
    method: str = Field(description="a method id, or FILE.py:FUNCTION")
    parameters: Mapping[str, int | float | str] = Field({}, description="the method's own parameters")
    group_size: int = Field(8, ge=1, le=1_000_000, description="completions per group")
    learning_rate: Size = Field(0.1, gt=0, description="step size of the optimizer")
    optimizer: Literal["sgd", "adam", "natural"] = Field("sgd", description="sgd, adam (.9, .999, 1e-8) or natural")
    updates_per_batch: int = Field(1, ge=1, le=1000, description="updates made with one batch: above 1 clipping acts")
    prompts_per_step: int | None = Field(None, ge=1, description="prompts drawn for a step; every prompt if left out")
    kl_strength: Size = Field(0.0, ge=0, description="strength of an exact KL term to the base")
    false_positive_rate: Rate = Field(0.0, description="chance that the verifier marks a wrong answer correct")
    false_negative_rate: Rate = Field(0.0, description="chance that the verifier marks a correct answer wrong")
    format_credit: tuple[Size, ...] | None = Field(None, description="added to the reward of each arm, not to correct")
    mean_field: bool = Field(False, description="the exact expected step of all groups instead of sampled runs")
    num_steps: int = Field(1000, ge=1, le=10_000_000, description="batches")
    num_runs: int = Field(64, ge=2, le=1_000_000, description="independent runs, for means and standard errors")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all runs")
    record_every: int = Field(100, ge=1, description="steps between two records; the last step is recorded too")

    @model_validator(mode="after")
    def _is_a_bandit(self) -> Specification:
        bandit = bandit_of(self)
        num_prompts, num_arms = bandit.solves.shape
        method = calls.resolve(self.method)
        calls.parameter_values(method, self.parameters)
        if self.group_size < method.least_group_size:
            raise ValueError(f"group_size: {self.group_size}: {method.id} has a group baseline and needs at least 2")
        if self.format_credit is not None and len(self.format_credit) != num_arms:
            raise ValueError(f"format_credit: {len(self.format_credit)} values: want one for each of {num_arms} arms")
        if self.prompts_per_step is not None and self.prompts_per_step > num_prompts:
            raise ValueError(f"prompts_per_step: {self.prompts_per_step}: there are {num_prompts} prompts")
        self._refuse_mean_field(method.id, num_prompts)
        return self

    def _refuse_mean_field(self, method: str, num_prompts: int) -> None:
        if not self.mean_field:
            return
        if method in RANDOM_METHODS or (method in BATCH_METHODS and num_prompts > 1):
            raise ValueError(f"mean_field: true: {method} weighs the tokens of a whole batch: want false")
        if self.prompts_per_step is not None:
            raise ValueError("prompts_per_step: mean_field takes every prompt: leave it out")


def bandit_of(specification: Specification) -> Bandit:
    """The base policy and the success matrix of a specification.

    Raises:   ValueError naming the field, the arm's index and its value.
    """
    given = {name: getattr(specification, name) for name in ("correct", "solves", "solves_file", "instance")}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise ValueError(f"correct: give exactly one of {', '.join(given)}")
    has_policy = [specification.base_policy is not None, specification.base_logits is not None]
    if chosen == ["instance"]:
        if any(has_policy):
            raise ValueError("base_policy: an instance has its own: leave base_policy and base_logits out")
        return instances.build(given["instance"], specification.instance_parameters)
    if specification.instance_parameters:
        raise ValueError("instance_parameters: there is no instance: leave them out")
    if sum(has_policy) != 1:
        raise ValueError("base_policy: give exactly one of base_policy and base_logits")
    if given["correct"] is not None and specification.base_policy is not None:
        return instances.single_prompt(specification.base_policy, given["correct"])
    if specification.base_policy is not None:
        base_policy = np.asarray(specification.base_policy)
        policies.refuse(base_policy, base_policy <= 0, "base_policy", "above 0: leave the arm out instead")
        if abs(base_policy.sum() - 1) > policies.SUM_TOLERANCE * base_policy.size:
            raise ValueError(f"base_policy sums to {float(base_policy.sum())!r}: it must sum to 1")
        logits = np.log(base_policy)
    else:
        logits = np.asarray(specification.base_logits, dtype=np.float64)
    if given["correct"] is not None:
        if logits.size != len(given["correct"]):
            raise ValueError(
                f"base_logits: {logits.size} values, and correct has {len(given['correct'])}: want as many"
            )
        if len(set(given["correct"])) < 2:
            raise ValueError("correct: at least one correct and one wrong answer are needed")
        return instances.shared_strategies(logits, [given["correct"]])
    matrix = given["solves"] if given["solves"] is not None else read_solves(Path(given["solves_file"]))
    if len({len(row) for row in matrix}) > 1:
        raise ValueError("solves: rows of different lengths: want one entry for each strategy in every row")
    return instances.shared_strategies(logits, matrix)


def read_solves(path: Path) -> list[list[float]]:
    """The success matrix in a CSV file: a header with one name for each strategy, then 0 or 1, one row a prompt.

    Raises:   ValueError naming file, line, column and value.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise ValueError(f"solves_file: {str(path)!r}: want a CSV file with a header and rows: {error}") from None
    for number, line in enumerate(lines, start=2):
        if len(line) != len(header):
            raise ValueError(f"solves_file: {path} line {number}: {len(line)} values: want {len(header)}")
        for name, value in zip(header, line, strict=True):
            if value.strip() not in ("0", "1"):
                raise ValueError(f"solves_file: {path} line {number}: {name} is {value!r}: want 0 or 1")
    return [[float(value) for value in line] for line in lines]
