"""From which surprisal on a wrong answer gets more than a correct one, and groups along all probabilities of an answer.

Both look at one answer whose log-probability moves while the others stay: what changes inside a narrow window of
probabilities, or far down, is not met by groups that are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
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
ROUNDS, NEAREST, CHANGES_EACH = 2, 12, 12  # of groups that come close to breaking a property
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


def worse(subject: Subject, each: Tried, excess: Callable[[Inputs, Floats], Floats], rng: Any) -> Tried:
    """Groups near those that come closest to breaking a property: one answer of each has other log-probabilities.

    `excess` says how near a group is, the larger the nearer. They are changed `ROUNDS` times, the nearest first.
    """
    inputs, found = each.inputs, each.found
    grid = probabilities()
    for _ in range(ROUNDS):
        assert found is not None
        nearest = np.argsort(-excess(inputs, found))[:NEAREST]
        inputs = diagnosis_subject.rows(inputs, np.repeat(nearest, CHANGES_EACH))
        is_changed = inputs["answer"] == rng.permuted(inputs["answer"], axis=1)[:, :1]
        changed = {}
        for name in POLICIES:
            moved = np.where(is_changed, rng.choice(grid, (len(is_changed), 1)), inputs[name])
            changed[name] = np.where(rng.random((len(is_changed), 1)) < 2 / 3, moved, inputs[name])
        inputs = {**inputs, **changed}
        found = subject(inputs)
    return Tried(each.group_size, inputs, found)


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
