"""All groups that a policy can draw, with their exact probabilities: Fractions or SymPy symbols."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp


def exact(*values: Any) -> Any:
    """An object array: integers, Fractions and symbols keep their type in it."""
    return np.array(values, dtype=object)


def rational_policy(rng: np.random.Generator, num_arms: int) -> Any:
    """A random policy in Fractions, (num_arms,), with no two arms equal."""
    weights = [int(weight) for weight in rng.permutation(40)[:num_arms] + 1]
    return exact(*(Fraction(weight, sum(weights)) for weight in weights))


def symbolic_policy(num_arms: int) -> Any:
    """A policy of free symbols p1, p2, ..., (num_arms,); the last arm has the rest of the mass."""
    free = sp.symbols(f"p1:{num_arms}", positive=True)
    return exact(*free, 1 - sum(free))


def outcomes(policy: Any, group_size: int) -> Iterator[tuple[Any, Any]]:
    """Every vector of counts (num_arms,) with its multinomial probability."""
    arms = range(len(policy))
    for draws in itertools.combinations_with_replacement(arms, group_size):
        counts = exact(*(draws.count(arm) for arm in arms))
        orders = math.factorial(group_size) // math.prod(math.factorial(count) for count in counts)
        yield counts, orders * (policy**counts).prod()


def expectation(policy: Any, group_size: int, value: Callable[[Any], Any]) -> Any:
    """The exact mean of a function of the counts over all groups."""
    return sum(probability * value(counts) for counts, probability in outcomes(policy, group_size))


def advantages_of(table: Any, correct: Any, counts: Any) -> Any:
    """The advantage f(r, X) of each arm, (num_arms,), in a group with these counts; 0 if not drawn."""
    num_correct = int((correct * counts).sum())
    return exact(*(table[label, num_correct] if drawn else 0 for label, drawn in zip(correct, counts, strict=True)))
