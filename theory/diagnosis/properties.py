"""Properties of an advantage function, group by group: 300 are drawn, Hypothesis makes what breaks one small.

A group is drawn as a table of up to four answers (correct or not, log-probabilities, tokens, format credit) and a
choice among them, so that samples of one answer agree in everything. Which parameters are strengths is found by
trying, never by name: a float parameter whose 0 is accepted and changes advantages by more than a thousandth.

Left out: what follows from the flow, which is in `theory/diagnosis/motion.py` and `theory/diagnosis/ends.py`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import hypothesis
import numpy as np
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample
from numpy.typing import NDArray
from scipy.optimize import brentq

from sharpening.theory import hypothesis_storage
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import Function
from sharpening.theory.methods import baselines
from sharpening.theory.methods import table as method_table
from sharpening.theory.policies import Floats

Inputs = Mapping[str, Any]
Breaks = Callable[[dict[str, Any]], str]  # what is wrong with a group, "" if nothing is

NUM_GROUPS = 300  # that are drawn for each property
MOST_TRIES = 10_000  # of Hypothesis, to find one that breaks it again and make it small
SHALLOW = 2  # nats: a third of the log-probabilities are this close to 0, where many formulas have their edge
LONGEST_TEXT, MOST_ANSWERS, MORE_SAMPLES = 20, 4, 3
EQUAL = 1e-9  # relative to the largest advantage of the group: float64 in another order of summation
MATERIAL = 1e-3  # a strength set to 0 changes some advantage by more than this, relative
FARTHEST = 1e4  # nats: surprisals beyond are not searched for a threshold
POLICIES = {"log_prob": "sampling policy", "base_log_prob": "base policy"}
BASELINES: Mapping[str, Function] = MappingProxyType(
    {
        "the reward": baselines.reinforce,
        "the reward minus its group mean": baselines.dr_grpo,
        "the reward minus its group mean, over the population standard deviation": baselines.grpo,
        "the reward minus its group mean, over the sample standard deviation": lambda reward: baselines.grpo(
            reward=reward, ddof=1
        ),
    }
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found about one property: the verdict, the reason, the smallest counterexample, and numbers."""

    property: str
    verdict: str
    detail: str = ""
    counterexample: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Subject:
    """An advantage function with its parameters, the smallest group it takes, and the seed of the searches."""

    function: Function
    parameters: Mapping[str, Any]
    least_group_size: int
    seed: int = 0

    def __call__(self, inputs: Inputs, **changed: Any) -> Floats:
        """The advantages as a NumPy array; raises ValueError if the shape is not that of the inputs."""
        found = np.asarray(expected_flow.call(self.function, inputs, {**self.parameters, **changed}))
        if found.shape != inputs["reward"].shape:
            raise ValueError(f"shape {found.shape} for inputs of shape {inputs['reward'].shape}")
        return np.asarray(found, dtype=np.float64)


class Groups(NamedTuple):
    """What is drawn: the least size, the least log-probability, and credits of a reward beyond correctness."""

    least_size: int
    deepest: int = 60
    credits: tuple[float, ...] = (0.0,)


def drawn_group(rng: np.random.Generator, groups: Groups) -> dict[str, Any]:
    """One group as inputs (1, group_size)."""
    num_answers = rng.integers(2, MOST_ANSWERS + 1)
    deepest = np.where(rng.random((num_answers, 2)) < 1 / 3, SHALLOW, groups.deepest)
    table = np.column_stack(
        [
            rng.integers(0, 2, num_answers),
            rng.choice(groups.credits, num_answers),
            -rng.integers(0, deepest + 1),
            rng.integers(1, LONGEST_TEXT + 1, num_answers),
        ]
    )
    group_size = rng.integers(groups.least_size, groups.least_size + MORE_SAMPLES + 1)
    return _inputs(table, rng.integers(0, num_answers, (1, group_size)))


@st.composite
def strategy_of(draw: st.DrawFn, groups: Groups) -> dict[str, Any]:
    """A strategy of such groups, which Hypothesis makes small."""
    num_answers = draw(st.integers(2, MOST_ANSWERS))
    log_prob = st.integers(-groups.deepest, 0)
    row = st.tuples(
        st.sampled_from((0.0, 1.0)), st.sampled_from(groups.credits), log_prob, log_prob, st.integers(1, LONGEST_TEXT)
    )
    table = np.array(draw(st.lists(row, min_size=num_answers, max_size=num_answers)), dtype=np.float64)
    group_size = draw(st.integers(groups.least_size, groups.least_size + MORE_SAMPLES))
    members = st.lists(st.integers(0, num_answers - 1), min_size=group_size, max_size=group_size)
    return _inputs(table, np.array([draw(members)]))


def _inputs(table: Floats, answer: NDArray[np.int64]) -> dict[str, Any]:
    """The group of these answers; a row of the table is an answer."""
    correct, credit, log_probs, base_log_probs, num_tokens = np.moveaxis(table[answer], -1, 0)
    return {
        "reward": correct + credit,
        "correct": correct,
        "log_prob": log_probs,
        "base_log_prob": base_log_probs,
        "num_tokens": num_tokens,
        "answer": answer,
    }


def smallest(breaks: Breaks, groups: Groups, seed: int) -> tuple[dict[str, Any], str] | None:
    """A group that breaks a property, as small as Hypothesis makes it, and what is wrong; None if none was found."""
    rng = np.random.default_rng(seed)
    group = next((drawn for drawn in (drawn_group(rng, groups) for _ in range(NUM_GROUPS)) if breaks(drawn)), None)
    if group is None:
        return None
    limits = hypothesis.settings(max_examples=MOST_TRIES, database=None, deadline=None, derandomize=False)
    with hypothesis_storage.storage_elsewhere(), contextlib.suppress(NoSuchExample):
        group = hypothesis.find(
            strategy_of(groups), lambda drawn: bool(breaks(drawn)), settings=limits, random=random.Random(seed)
        )
    return group, breaks(group)


def searched(name: str, subject: Subject, breaks: Breaks, groups: Groups) -> Verdict:
    """The verdict "holds" if no group that breaks the property was found, else "fails" with the smallest."""
    found = smallest(_without_exceptions(breaks), groups, subject.seed)
    if found is None:
        return Verdict(name, "holds", f"no counterexample in {NUM_GROUPS} groups")
    return Verdict(name, "fails", found[1], as_lists(subject, found[0]))


def _without_exceptions(breaks: Breaks) -> Breaks:
    def reported(group: dict[str, Any]) -> str:
        try:
            return breaks(group)
        except Exception as error:  # whatever the user's function raises is its answer
            return f"raises {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"

    return reported


def as_lists(subject: Subject, group: Inputs) -> dict[str, Any]:
    """The inputs of one group that the function names, as lists, and its advantages where there are any."""
    names = [name for name in expected_flow.named_inputs(subject.function) if name in group]
    shown: dict[str, Any] = {name: np.asarray(group[name])[0].tolist() for name in names}
    try:
        return shown | {"advantage": subject(group)[0].tolist()}
    except Exception:  # reported by the property itself
        return shown


def unequal(found: Floats, want: Floats) -> bool:
    """Whether two arrays of advantages differ beyond the order of summation; two NaN are equal."""
    scale = np.nanmax(np.abs(want), initial=1.0)
    return not np.allclose(found, want, rtol=0, atol=EQUAL * float(scale), equal_nan=True)


def finite(subject: Subject) -> Verdict:
    """Finite advantages for finite inputs, log-probabilities down to -10,000 and any format credit."""

    def breaks(group: dict[str, Any]) -> str:
        return "" if np.isfinite(subject(group)).all() else "an advantage is not finite"

    groups = Groups(subject.least_group_size, 10_000, (0.0, 0.1, -0.5, 100.0))
    return searched("finite", subject, breaks, groups)


def permutes(subject: Subject) -> Verdict:
    """Reversing and rotating a group reverses and rotates its advantages."""

    def breaks(group: dict[str, Any]) -> str:
        want = subject(group)
        for order in (slice(None, None, -1), np.roll(np.arange(want.shape[-1]), 1)):
            moved = subject({name: values[:, order] for name, values in group.items()})
            if unequal(moved, want[:, order]):
                return f"in another order the advantages are {moved[0].tolist()}"
        return ""

    return searched("permutes with the group", subject, breaks, Groups(subject.least_group_size))


def keeps_groups_apart(subject: Subject) -> Verdict:
    """The advantages of a group are the same alone, beside another group, and on a second call."""

    def breaks(group: dict[str, Any]) -> str:
        want = subject(group)
        other = {name: values[:, ::-1] for name, values in group.items()}
        other["correct"], other["reward"] = 1 - other["correct"], 1 - other["reward"]
        beside = subject({name: np.concatenate([group[name], other[name]]) for name in group})[:1]
        if unequal(subject(group), want):
            return "a second call gives other advantages"
        return f"beside another group they are {beside[0].tolist()}" if unequal(beside, want) else ""

    return searched("each group on its own", subject, breaks, Groups(subject.least_group_size))


def strengths_of(subject: Subject, rng: np.random.Generator) -> tuple[str, ...]:
    """The parameters that are strengths: floats, not 0, whose 0 is accepted and changes advantages materially.

    One that changes nothing once the others are 0, as a floor under what they weigh, is left out.
    """
    inputs = random_groups(subject.least_group_size + 3, rng)
    named = [name for name, value in subject.parameters.items() if isinstance(value, float) and value != 0]
    found = [name for name in named if _changes(subject, inputs, (), (name,))]
    for name in tuple(found):
        others = tuple(other for other in found if other != name)
        if others and not _changes(subject, inputs, others, (*others, name)):
            found.remove(name)
    return tuple(found)


def _changes(subject: Subject, inputs: Inputs, zeros: tuple[str, ...], more_zeros: tuple[str, ...]) -> bool:
    """Whether the advantages differ materially between two sets of parameters at 0, and the second is accepted."""
    try:
        want, found = (subject(inputs, **dict.fromkeys(names, 0.0)) for names in (zeros, more_zeros))
    except Exception:  # refused, in whatever way
        return False
    change = np.abs(found - want).max()
    return bool(np.isfinite(change) and change > MATERIAL * np.abs(want).max())


def random_groups(group_size: int, rng: np.random.Generator, num_groups: int = 200) -> dict[str, Any]:
    """Groups with both correct and wrong samples on the average, as inputs (num_groups, group_size)."""
    shape = (num_groups, group_size)
    correct = (rng.random(shape) < 0.5).astype(np.float64)
    return {
        "reward": correct,
        "correct": correct.copy(),
        "log_prob": -rng.exponential(5.0, shape),
        "base_log_prob": -rng.exponential(5.0, shape),
        "num_tokens": rng.integers(1, 20, shape).astype(np.float64),
        "answer": rng.integers(0, 3, shape) + 3 * correct.astype(np.int64),
    }


def zero_strength(subject: Subject, strengths: tuple[str, ...], rng: np.random.Generator) -> Verdict:
    """With all strengths 0 the reward alone counts: a higher one never gets less, and nothing else matters.

    First with format credit beside correctness; if that fails, with reward = correct.
    """
    name = "zero strength is the identity"
    if not strengths:
        return Verdict(name, "not applicable", "no parameter is a strength")
    zeros = dict.fromkeys(strengths, 0.0)

    def breaks(group: dict[str, Any]) -> str:
        found = subject(group, **zeros)
        plain = {key: np.ones_like(values) for key, values in group.items()}
        if unequal(subject({**plain, "reward": group["reward"], "correct": group["correct"]}, **zeros), found):
            return f"at strength 0 the advantages {found[0].tolist()} depend on more than the reward"
        order = np.argsort(group["reward"][0] + group["correct"][0], kind="stable")
        return "at strength 0 a higher reward gets less" if (np.diff(found[0][order]) < -EQUAL).any() else ""

    credited = Groups(subject.least_group_size, credits=(0.0, 0.25))
    graded = searched(name, subject, breaks, credited)
    plain = searched(name, subject, breaks, Groups(subject.least_group_size))
    what = f"{', '.join(strengths)} = 0 gives {_baseline_at_zero(subject, zeros, rng)}"
    if plain.verdict == "fails":
        return plain
    if graded.verdict == "fails":
        return dataclasses.replace(graded, verdict="holds if reward = correct", detail=f"{what}; else {graded.detail}")
    return dataclasses.replace(plain, detail=what)


def _baseline_at_zero(subject: Subject, zeros: Mapping[str, float], rng: np.random.Generator) -> str:
    inputs = random_groups(subject.least_group_size + 3, rng)
    found = subject(inputs, **zeros)
    if not found.any():
        return "0"
    for words, baseline in BASELINES.items():
        if np.allclose(found, baseline(reward=inputs["reward"]), atol=1e-5):  # epsilon is of that order
            return words
    return "a function of correctness alone"


def same_in_tensors(subject: Subject, as_tensor: Callable[[Any], Any] | None) -> Verdict:
    """The same numbers from the tensors of another library, `as_tensor` making them of NumPy arrays."""
    name = "same numbers in NumPy and torch"
    if as_tensor is None:
        return Verdict(name, "not applicable", "torch is not installed")

    def breaks(group: dict[str, Any]) -> str:
        want = subject(group)
        tensors = {key: as_tensor(values) for key, values in group.items()}
        found = np.asarray(expected_flow.call(subject.function, tensors, subject.parameters))
        return f"tensors give {found[0].tolist()}" if unequal(found, want) else ""

    return searched(name, subject, breaks, Groups(subject.least_group_size))


def wrong_never_above_correct(subject: Subject) -> Verdict:
    """No wrong sample of a group has a larger advantage than a correct one; else from which surprisal on."""

    def breaks(group: dict[str, Any]) -> str:
        is_right = group["correct"][0] == 1.0
        if is_right.all() or not is_right.any():
            return ""
        found = subject(group)[0]
        excess = found[~is_right].max() - found[is_right].min()
        return "a wrong answer is above a correct one" if excess > EQUAL * max(1.0, np.abs(found).max()) else ""

    verdict = searched("wrong never above correct", subject, breaks, Groups(subject.least_group_size))
    if verdict.verdict == "holds":
        return verdict
    thresholds = dict(_thresholds(subject))
    when = "; ".join(f"where the {words} by more than {nats:.6g} nats" for words, nats in thresholds.items())
    detail = f"{verdict.detail}{': ' if when else ''}{when}"
    return dataclasses.replace(verdict, detail=detail, numbers=thresholds)


def _thresholds(subject: Subject) -> Iterator[tuple[str, float]]:
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
                nats = _threshold(subject, name, num_correct, member)
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

    def excess(nats: float) -> float:
        found = subject({**group, name: -nats * is_rarer})[0]
        return float(found[-1] - found[0])

    steps = np.concatenate([[0.0], np.geomspace(1e-3, FARTHEST, 71)])
    values = [excess(float(nats)) for nats in steps]
    first = next((index for index, value in enumerate(values) if value > EQUAL), None)
    if first is None:
        return None
    if first == 0 or values[first - 1] >= 0:
        return float(steps[max(first - 1, 0)])
    return float(brentq(excess, steps[first - 1], steps[first], xtol=1e-12))
