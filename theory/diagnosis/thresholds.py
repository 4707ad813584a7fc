"""From which surprisal on a wrong answer gets more than a correct one, and groups along all probabilities of an answer.

Both look at one answer whose log-probability moves while the others stay: what changes inside a narrow window of
probabilities, or far down, is not met by groups that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sharpening.theory.diagnosis import subject as diagnosis_subject
from sharpening.theory.diagnosis.subject import Inputs, Subject, Tried
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods import table as method_table
from sharpening.theory.policies import Floats

POLICIES = {"log_prob": "sampling policy", "base_log_prob": "base policy"}
FARTHEST = 1e4  # nats: surprisals beyond are not searched for a threshold
ROUNDS, NEAREST, CHANGES_EACH = 6, 12, 12  # of groups that come close to breaking a property
ANYWHERE, NEAR = 0.4, 0.3  # shares of the changes: a log-probability from the grid, a near one; else a member copied
STEP = 0.3  # standard deviation of the logarithm of a surprisal that goes to a near one
Nearness = Callable[[Inputs, Floats], Floats]  # of each group, how near it is to breaking a property
FINE = 500  # probabilities, evenly spaced, and as many log-probabilities


def probabilities(fine: int = FINE) -> Floats:
    """Log-probabilities from 0 to -2,000: evenly spaced probabilities, then evenly spaced logarithms of surprisals."""
    even = np.log(np.linspace(1, 0, fine, endpoint=False))
    return np.sort(np.concatenate([even, -np.geomspace(1e-3, diagnosis_subject.DEEPEST, fine)]))


def one_moving(group_size: int, log_probs: Floats, *, is_correct: bool) -> dict[str, Any]:
    """Groups of one moving answer, a correct and two wrong ones that stay, as often as a group needs.

    Shapes:   log_probs: (num_groups,). Returns inputs (num_groups, group_size).
    """
    answer = np.tile(np.arange(group_size) % 4, (len(log_probs), 1))
    correct = np.where(answer == 0, float(is_correct), np.where(answer == 2, 1.0, 0.0))
    stays = np.array([0.0, -1.0, -2.0, -3.0])[answer]
    return {
        "reward": correct,
        "correct": correct.copy(),
        "log_prob": np.where(answer == 0, log_probs[:, None], stays),
        "base_log_prob": np.where(answer == 0, -1.5, stays),
        "num_tokens": np.ones_like(correct),
        "answer": answer,
    }


def along_probabilities(subject: Subject) -> Subject:
    """The subject with such groups as those that are tried, at the largest size."""
    size, log_probs = subject.sizes[-2] if len(subject.sizes) > 1 else subject.sizes[-1], probabilities()
    parts = [one_moving(size, log_probs, is_correct=is_correct) for is_correct in (True, False)]
    inputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    try:
        return subject.with_groups((Tried(size, inputs, subject(inputs)),))
    except Exception:  # reported by "finite"
        return subject


def worse(subject: Subject, each: Tried, measures: Sequence[Nearness], rng: np.random.Generator) -> Tried:
    """Groups near those that come closest to breaking a property, climbing from them.

    `measures` say how near a group is, the larger the nearer. `ROUNDS` times the nearest by each are kept, and changed:
    one answer gets other log-probabilities, or one sample becomes a copy of another.
    """
    inputs, found = dict(each.inputs), each.found
    assert found is not None
    for _ in range(ROUNDS):
        by_each = [np.argsort(-measure(inputs, found), kind="stable") for measure in measures]
        nearest = np.concatenate([order[: NEAREST // len(measures)] for order in by_each])
        kept = diagnosis_subject.rows(inputs, nearest)
        changed = _changed(diagnosis_subject.rows(inputs, np.repeat(nearest, CHANGES_EACH - 1)), rng)
        inputs = {name: np.concatenate([kept[name], changed[name]]) for name in kept}
        found = subject(inputs)
    return Tried(each.group_size, inputs, found)


def _changed(inputs: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Every group changed once.

    Shapes:   inputs: (num_groups, group_size) each.
    """
    number, size = inputs["answer"].shape
    kind = rng.random((number, 1))
    from_, to = rng.integers(size, size=(2, number, 1))
    is_copied = (kind >= ANYWHERE + NEAR) & (np.arange(size) == to)
    copied = {
        name: np.where(is_copied, np.take_along_axis(values, from_, 1), values) for name, values in inputs.items()
    }
    is_moved = copied["answer"] == np.take_along_axis(copied["answer"], to, 1)
    grid = probabilities()
    for name in POLICIES:
        near = copied[name] * np.exp(STEP * rng.standard_normal((number, 1)))
        moved = np.where(kind < ANYWHERE, rng.choice(grid, (number, 1)), near)
        is_chosen = is_moved & (kind < ANYWHERE + NEAR) & (rng.random((number, 1)) < 2 / 3)
        copied[name] = np.where(is_chosen, np.maximum(moved, -diagnosis_subject.DEEPEST), copied[name])
    return copied


def thresholds(subject: Subject) -> Iterator[tuple[str, float]]:
    """By how much one answer of a group has to be rarer, the others being certain, in nats.

    The group is one correct answer and a wrong one, as often as a group needs; where that says nothing, two correct
    ones and a wrong one.
    """
    names = [name for name in expected_flow.named_inputs(subject.function) if name in POLICIES]
    groups = ((1, (0, 1), ("correct answer", "wrong answer")), (2, (1,), ("", "other correct answer")))
    is_found = False
    for num_correct, rarer, words in groups:
        for name in names if not is_found else ():
            for member in rarer:
                try:
                    nats = _threshold(subject, name, num_correct, member)
                except Exception:  # a size at which it fails, which "finite" reports, or a jump without a root
                    nats = None
                if nats is not None:
                    is_found = True
                    yield f"{words[member]} is rarer under the {POLICIES[name]}", nats


def _threshold(subject: Subject, name: str, num_correct: int, rarer: int) -> float | None:
    """The surprisal of a member from which on the last, wrong one is above the first, correct one; None if none."""
    group_size = max(num_correct + 1, subject.least_group_size)
    correct = (np.arange(group_size) < num_correct).astype(np.float64)[None]
    is_rarer = (np.arange(group_size) >= num_correct if rarer == num_correct else np.arange(group_size) == rarer)[None]
    group = dict.fromkeys(method_table.INPUTS, np.zeros((1, group_size)))
    group |= {"reward": correct, "correct": correct, "num_tokens": np.ones((1, group_size))}
    group["answer"] = np.minimum(np.arange(group_size), num_correct)[None]

    def excesses(nats: Floats) -> Floats:
        inputs = {key: np.repeat(values, nats.size, axis=0) for key, values in group.items()}
        found = subject({**inputs, name: -nats[:, None] * is_rarer})
        return np.asarray(found[:, -1] - found[:, 0])

    def excess(nats: float) -> float:
        return float(excesses(np.array([nats]))[0])

    steps = np.concatenate([[0.0], np.geomspace(1e-3, FARTHEST, 71)])
    values = excesses(steps)
    least = diagnosis_subject.EQUAL if subject.is_double else diagnosis_subject.ROUNDINGS * subject.epsilon
    first = next((index for index, value in enumerate(values) if value > least * max(1.0, subject.unit)), None)
    if first is None:
        return None
    if first == 0 or not values[first - 1] < 0:
        return float(steps[max(first - 1, 0)])
    return float(brentq(excess, steps[first - 1], steps[first], xtol=1e-12))
