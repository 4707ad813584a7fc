"""The specification of a simulated bandit: one pydantic model gives the schema, the defaults and the error lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from theory import methods, policies
from theory.policies import Problem

Finite = Annotated[float, Field(allow_inf_nan=False)]
COMMAND = "simulate"


class Specification(BaseModel):
    """One prompt, one method and how long to train: what `simulate` reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    base_policy: tuple[Finite, ...] | None = Field(None, description="probabilities of the answers, summing to 1")
    base_logits: tuple[Finite, ...] | None = Field(None, description="instead of base_policy: logits of the answers")
    correct: tuple[Literal[0, 1], ...] = Field(description="1 for each correct answer, 0 for each wrong one")
    method: str = Field(description="a method id, or FILE.py:FUNCTION")
    parameters: Mapping[str, int | float | str] = Field({}, description="the method's own parameters")
    group_size: int = Field(8, ge=1, le=1_000_000, description="completions per step")
    learning_rate: float = Field(0.1, gt=0, allow_inf_nan=False, description="step size of the optimizer")
    optimizer: Literal["sgd", "adam"] = Field("sgd", description="sgd, or adam (.9, .999, 1e-8)")
    num_steps: int = Field(1000, ge=1, le=10_000_000, description="updates")
    num_runs: int = Field(64, ge=2, le=1_000_000, description="independent runs, for means and standard errors")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of all runs")
    record_every: int = Field(100, ge=1, description="updates between two records; the last step is recorded too")

    @model_validator(mode="after")
    def _is_a_problem(self) -> Specification:
        problem_of(self)
        method = methods.resolve(self.method)
        methods.refuse_level(method, ("group", "loss"), COMMAND, self.parameters)
        methods.parameter_values(method, self.parameters)
        missing = [name for name in methods.needs(method, self.parameters) if name not in PROVIDED]
        if missing:
            raise ValueError(f"method: {self.method} needs {missing[0]}: {COMMAND} has {', '.join(PROVIDED)}")
        if self.group_size < method.least_group_size:
            raise ValueError(f"group_size: {self.group_size}: {method.id} has a group baseline and needs at least 2")
        return self


PROVIDED = ("reward", "correct", "log_prob", "base_log_prob", "num_tokens", "answer")


def problem_of(specification: Specification) -> Problem:
    """The base policy and the correct set of a specification.

    Raises:   ValueError naming the field, the arm's index and its value.
    """
    if (specification.base_policy is None) == (specification.base_logits is None):
        raise ValueError("base_policy: give exactly one of base_policy and base_logits")
    if specification.base_policy is not None:
        return policies.problem_from_probabilities(specification.base_policy, specification.correct)
    logits = np.asarray(specification.base_logits, dtype=np.float64)
    correct = np.asarray(specification.correct, dtype=np.float64)
    if logits.shape != correct.shape:
        raise ValueError(f"base_logits: {logits.size} values, and correct has {correct.size}: want as many")
    if correct.all() or not correct.any():
        raise ValueError("correct: at least one correct and one wrong answer are needed")
    return Problem(policies.log_softmax(logits), correct)
