"""Named bandits as data: a base policy over arms, and which arms solve each prompt.

A single prompt is the case of one row. Shared strategies are many prompts with one policy (claim D2): arm j is a
strategy, and it solves prompt x or it does not.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sharpening.theory import policies
from sharpening.theory.flow import strategies
from sharpening.theory.policies import Floats, Problem


@dataclass(frozen=True)
class Bandit:
    """One policy over arms for all prompts.

    Shapes:   base_log_policy: (num_arms,), nats, normalised; solves: (num_prompts, num_arms), 1.0 where an arm solves
              a prompt.
    """

    base_log_policy: Floats
    solves: Floats

    @property
    def problem(self) -> Problem:
        """The single prompt. Raises ValueError if there are several."""
        if len(self.solves) != 1:
            raise ValueError(f"solves has {len(self.solves)} prompts: want one")
        return Problem(self.base_log_policy, self.solves[0])


def single_prompt(base_policy: ArrayLike, correct: ArrayLike) -> Bandit:
    """A bandit of one prompt.

    Raises:   ValueError naming the argument, the arm's index and its value.
    """
    problem = policies.problem_from_probabilities(base_policy, correct)
    return Bandit(problem.base_log_policy, problem.correct[None, :])


def shared_strategies(base_logits: ArrayLike, solves: ArrayLike) -> Bandit:
    """A bandit of many prompts.

    Shapes:   base_logits: (num_strategies,), finite; solves: (num_prompts, num_strategies), 0 or 1.
    Raises:   ValueError unless the shapes agree, some strategy solves a prompt and some fails one.
    """
    logits, matrix = np.asarray(base_logits, dtype=np.float64), strategies.require_solves(solves)
    if logits.shape != matrix.shape[1:]:
        raise ValueError(f"base policy of shape {logits.shape}: want one value for each of {matrix.shape[1]} arms")
    policies.refuse(logits, ~np.isfinite(logits), "base_logits", "finite: an arm of probability 0 is left out instead")
    if matrix.all() or not matrix.any():
        raise ValueError("solves is the same everywhere: want at least one 1 and at least one 0")
    return Bandit(policies.log_softmax(logits), matrix)


def two_correct_arms() -> Bandit:
    """The shown policy of claim B3: (.3, .1 | .4, .2)."""
    return single_prompt([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])


def solutions(
    num_correct: int = 8,
    num_wrong: int = 8,
    correctness: float = 0.3,
    exponent: float = 1.0,
    exponent_wrong: float = 1.0,
) -> Bandit:
    """Correct and wrong answers whose probabilities fall as powers of their rank; exponent 0 makes them equal.

    Raises:   ValueError naming the parameter that is out of range.
    """
    for name, count in (("num_correct", num_correct), ("num_wrong", num_wrong)):
        policies.refuse(count, not (isinstance(count, int) and 1 <= count <= 1_000_000), name, "from 1 to 1,000,000")
    policies.refuse(correctness, not 0 < correctness < 1, "correctness", "above 0 and below 1")
    parts = []
    for name, count, power, mass in (
        ("exponent", num_correct, exponent, correctness),
        ("exponent_wrong", num_wrong, exponent_wrong, 1 - correctness),
    ):
        policies.refuse(power, not 0 <= power <= 50, name, "from 0 to 50")
        parts.append(np.log(mass) + policies.log_softmax(-power * np.log(np.arange(1, count + 1))))
    correct = np.repeat([1.0, 0.0], [num_correct, num_wrong])
    return Bandit(policies.log_softmax(np.concatenate(parts)), correct[None, :])


def long_tail(num_correct: int = 32, num_wrong: int = 16, correctness: float = 0.3, exponent: float = 2.0) -> Bandit:
    """Most of the correct mass on few answers, and many rare ones."""
    return solutions(num_correct, num_wrong, correctness, exponent)


def uniform_wrong(num_correct: int = 4, num_wrong: int = 64, correctness: float = 0.3) -> Bandit:
    """Many equally likely wrong answers: what a global entropy bonus pays for."""
    return solutions(num_correct, num_wrong, correctness, 1.0, 0.0)


def many_solutions(num_correct: int = 32, num_wrong: int = 8, correctness: float = 0.3) -> Bandit:
    """High solution multiplicity."""
    return solutions(num_correct, num_wrong, correctness)


def few_solutions(num_correct: int = 2, num_wrong: int = 38, correctness: float = 0.3) -> Bandit:
    """Low solution multiplicity, as many answers as `many_solutions`."""
    return solutions(num_correct, num_wrong, correctness)


def categorical_128k(num_arms: int = 128_000, num_correct: int = 10_000) -> Bandit:
    """One likely correct arm (logit 5), other correct arms at logit 3, wrong arms at 0.

    Source:   arXiv 2602.06717, Appendix J.
    Raises:   ValueError unless 2 <= num_correct < num_arms.
    """
    policies.refuse(num_correct, not 2 <= num_correct < num_arms, "num_correct", "from 2 to num_arms - 1")
    logits = np.repeat([5.0, 3.0, 0.0], [1, num_correct - 1, num_arms - num_correct])
    correct = np.repeat([1.0, 0.0], [num_correct, num_arms - num_correct])
    return Bandit(policies.log_softmax(logits), correct[None, :])


def generalist_and_specialists(
    num_specialists: int = 4,
    prompts_per_specialist: int = 4,
    generalist_share: float = 0.6,
    generalist_mass: float = 0.4,
    failing_mass: float = 0.3,
) -> Bandit:
    """One strategy that solves a share of all prompts, specialists that solve a block of prompts each, one that fails.

    Of each block the generalist solves the first `generalist_share`, rounded; the block's specialist solves all of it.
    Plain RL ends on the generalist: pass@1 rises and pass@k for large k falls (claim D2).
    Raises:   ValueError naming the parameter that is out of range.
    """
    for name, count in (("num_specialists", num_specialists), ("prompts_per_specialist", prompts_per_specialist)):
        policies.refuse(count, not (isinstance(count, int) and 1 <= count <= 10_000), name, "from 1 to 10,000")
    policies.refuse(generalist_share, not 0 <= generalist_share <= 1, "generalist_share", "from 0 to 1")
    policies.refuse(generalist_mass, not 0 < generalist_mass < 1, "generalist_mass", "above 0 and below 1")
    left = 1 - generalist_mass - failing_mass
    policies.refuse(failing_mass, not (failing_mass > 0 and left > 0), "failing_mass", "above 0, below 1 - the other")
    block = np.arange(num_specialists * prompts_per_specialist) // prompts_per_specialist
    place = np.arange(block.size) % prompts_per_specialist
    general = place < round(generalist_share * prompts_per_specialist)
    special = block[:, None] == np.arange(num_specialists)
    solves = np.column_stack([general, special, np.zeros(block.size)])
    masses = [generalist_mass, *[left / num_specialists] * num_specialists, failing_mass]
    return shared_strategies(np.log(masses), solves)


INSTANCES: Mapping[str, Callable[..., Bandit]] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            two_correct_arms,
            solutions,
            long_tail,
            uniform_wrong,
            many_solutions,
            few_solutions,
            categorical_128k,
            generalist_and_specialists,
        )
    }
)


def build(name: str, parameters: Mapping[str, Any]) -> Bandit:
    """A named instance.

    Raises:   ValueError naming what is unknown and what there is.
    """
    if name not in INSTANCES:
        raise ValueError(f"instance: {name!r}: want one of {', '.join(INSTANCES)}")
    known = inspect.signature(INSTANCES[name]).parameters
    for parameter in parameters:
        if parameter not in known:
            raise ValueError(f"instance_parameters: {parameter!r}: {name} has {', '.join(known) or 'none'}")
    return INSTANCES[name](**parameters)
