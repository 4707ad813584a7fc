"""Properties of an advantage function, group by group, at every size that the flow uses and one above.

"no counterexample in N groups at G = ..." says how hard it was tried, and no more; a broken one has the smallest
counterexample found and the sizes at which it is broken. Which parameters are strengths is found by trying, never by
name: a float parameter whose 0 is accepted and changes advantages by more than a thousandth.

Left out: what follows from the flow, which is in `theory/diagnosis/motion.py` and `theory/diagnosis/ends.py`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.theory.diagnosis import searching, thresholds
from sharpening.theory.diagnosis import subject as diagnosis_subject
from sharpening.theory.diagnosis.subject import Inputs, Subject, Tried, Verdict
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import Function
from sharpening.theory.methods import baselines
from sharpening.theory.policies import Floats

MATERIAL = 1e-3  # a strength set to 0 changes some advantage by more than this, relative
ORDERS = 2  # random orders of a group that are tried beside all exchanges of neighbours
OFTEN = 8  # the flow calls with many groups, many of them alike
FEW = 6  # groups that are called alone, and in twos and threes, at each size
ORDINARY = -60.0  # nats: a fault below this alone is one of where no policy goes
REPEATABLE = "a second call gives other advantages"
TOGETHER = "the groups of a batch are not apart"
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


def finite(subject: Subject) -> Verdict:
    """Finite advantages of the right shape for finite inputs, log-probabilities to -2,000, and any format credit."""
    name = "finite"
    faults: dict[int, tuple[str, dict[str, Any] | None]] = {}
    shallowest = -np.inf  # of what fails: its rarest sample
    for each in subject.tried:
        bad = [] if each.raised is None else [each.raised]
        if each.found is not None:
            is_bad = ~np.isfinite(each.found).all(axis=1)
            bad += [diagnosis_subject.rows(each.inputs, [place]) for place in np.flatnonzero(is_bad).tolist()]
        if each.found is None or bad:
            faults[each.group_size] = (each.fault, bad[0] if bad else None)
            depths = [searching.depth(one, lambda other: _not_finite(subject, other), ORDINARY) for one in bad[:1]]
            shallowest = max([shallowest, *map(searching.lowest, bad[1:]), *(depths or [0.0])])
    if not faults:
        return searching.unbroken(name, list(subject.sizes), sum(len(each.inputs["reward"]) for each in subject.tried))
    least = min(faults)
    fault, group = faults[least]
    if group is None or (fault and not _not_finite(subject, group)):
        return Verdict(name, "fails", f"{fault}; at {searching.numbers(list(faults))}", {}, {"sizes": list(faults)})
    group, words = diagnosis_subject.simplified(group, lambda one: _not_finite(subject, one), subject.least_group_size)
    deep = f", only with a log-probability of {shallowest:.4g} or less" if shallowest < ORDINARY else ""
    shown = searching.as_lists(subject, group)
    found = {"sizes": list(faults), "below": shallowest if deep else None}
    return Verdict(name, "fails", f"{words}; at {searching.numbers(list(faults))}{deep}", shown, found)


def _not_finite(subject: Subject, group: dict[str, Any]) -> str:
    try:
        found = subject(group)[0]
    except expected_flow.WrongShapeError as error:
        return f"its result has the {error}"
    except Exception as error:
        return f"raises {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    if np.isfinite(found).all():
        return ""
    return "an advantage is NaN" if np.isnan(found).any() else "an advantage is infinite"


def is_repeatable(subject: Subject) -> bool:
    """Whether three calls on the same groups give the same advantages, at every size."""
    calls = [each for each in subject.tried if each.found is not None] * 2
    return not any(_differs(subject, each.inputs, each) for each in calls)


def _differs(subject: Subject, inputs: Inputs, want: Tried) -> bool:
    try:
        found = subject(inputs)
    except Exception:  # it took them before
        return True
    return want.found is None or bool(subject.unequal(found, want.found, want.inputs).any())


def permutes(subject: Subject) -> Verdict:
    """Exchanging two neighbours of a group exchanges their advantages, and so with any order."""
    rng = np.random.default_rng(subject.seed)

    def moved_apart(inputs: dict[str, Any], want: Floats, order: NDArray[np.int64]) -> NDArray[np.bool_]:
        moved = subject(diagnosis_subject.columns(inputs, order))
        return subject.unequal(moved, want[:, order], inputs)

    def broken(each: Tried, want: Floats) -> NDArray[np.bool_]:
        found = np.zeros(len(want), dtype=bool)
        for order in _orders(each.group_size, rng):
            found |= moved_apart(each.inputs, want, order)
        return found

    def breaks(group: dict[str, Any]) -> str:
        want = subject(group)
        for order in _orders(want.shape[-1], np.random.default_rng(0)):
            if moved_apart(group, want, order).any():
                moved = subject(diagnosis_subject.columns(group, order))
                return f"in another order the advantages are {moved[0].tolist()}"
        return ""

    return searching.searched("permutes with the group", subject, broken, breaks)


def _orders(group_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    places = np.arange(group_size)
    for place in range(group_size - 1):
        order = places.copy()
        order[[place, place + 1]] = place + 1, place
        yield order
    if group_size > 2:
        yield places[::-1].copy()
        yield from (rng.permutation(places) for _ in range(ORDERS))


def keeps_groups_apart(subject: Subject) -> Verdict:
    """The advantages of a group are the same alone, in any place of any batch, and on a second call."""
    name = "each group on its own"
    if not is_repeatable(subject):
        example = next(each for each in subject.tried if each.found is not None)
        return Verdict(
            name, "fails", REPEATABLE, searching.as_lists(subject, diagnosis_subject.rows(example.inputs, [0]))
        )
    rng = np.random.default_rng(subject.seed)

    def broken(each: Tried, want: Floats) -> NDArray[np.bool_]:
        found = np.zeros(len(want), dtype=bool)
        for places in _batches(len(want), rng):
            part = diagnosis_subject.rows(each.inputs, places)
            np.logical_or.at(found, places, subject.unequal(subject(part), want[places], part))
        return found

    def breaks(group: dict[str, Any]) -> str:
        alone = subject(group)
        other = {key: values[:, ::-1] for key, values in group.items()}
        other["correct"], other["reward"] = 1 - other["correct"], 1 - other["reward"]
        for batch, place in (((group, other), 0), ((other, group), 1), ((other, group, other), 1)):
            beside = subject({key: np.concatenate([one[key] for one in batch]) for key in group})[place : place + 1]
            if subject.unequal(beside, alone, group).any():
                return f"beside another group they are {beside[0].tolist()}"
        return ""

    return searching.searched(name, subject, broken, breaks)


def _batches(number: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Places of groups that make up other batches: other orders, many times all, half, single ones, twos and threes."""
    places = np.arange(number)
    yield np.tile(places, OFTEN)
    yield places[::-1].copy()
    yield rng.permutation(places)
    yield places[number // 2 :]
    yield from (places[:1], places[-1:])
    for size in (1, 2, 3):
        yield from (rng.permutation(places)[:size] for _ in range(FEW // size))


def strengths_of(subject: Subject, rng: np.random.Generator) -> tuple[str, ...]:
    """The parameters that are strengths: floats, not 0, whose 0 is accepted and changes advantages materially.

    One that changes nothing once the others are 0, as a floor under what they weigh, is left out.
    """
    sizes = sorted({min(subject.least_group_size + 3, subject.sizes[-1]), subject.sizes[-1]})
    drawn = [diagnosis_subject.random_groups(size, rng) for size in sizes]
    named = [name for name, value in subject.parameters.items() if isinstance(value, float) and value != 0]
    found = [name for name in named if any(_changes(subject, inputs, (), (name,)) for inputs in drawn)]
    for name in tuple(found):
        others = tuple(other for other in found if other != name)
        if others and not any(_changes(subject, inputs, others, (*others, name)) for inputs in drawn):
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


def zero_strength(subject: Subject, strengths: tuple[str, ...], rng: np.random.Generator) -> Verdict:
    """With all strengths 0 the reward alone counts: a higher one never gets less, and nothing else matters.

    First with reward = correct, then with format credit beside correctness.
    """
    name = "zero strength is the identity"
    if not strengths:
        return Verdict(name, "not applicable", "no parameter is a strength")
    zeros = dict.fromkeys(strengths, 0.0)

    def wrongs(inputs: dict[str, Any]) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_]]:
        found = subject(inputs, **zeros)
        plain = {key: np.ones_like(values) for key, values in inputs.items()}
        bare = subject({**plain, "reward": inputs["reward"], "correct": inputs["correct"]}, **zeros)
        order = np.argsort(inputs["reward"] + inputs["correct"], axis=1, kind="stable")
        falls = np.diff(np.take_along_axis(found, order, axis=1), axis=1) < -subject.slack(found, inputs)
        return found, subject.unequal(bare, found, inputs), np.asarray(falls.any(axis=1))

    def breaks(group: dict[str, Any]) -> str:
        found, depends, falls = wrongs(group)
        if depends.any():
            return f"at strength 0 the advantages {found[0].tolist()} depend on more than the reward"
        return "at strength 0 a higher reward gets less" if falls.any() else ""

    verdicts = []
    for is_credited in (False, True):
        changed = subject.with_groups(tuple(_rewarded(each, is_credited=is_credited) for each in subject.tried))
        verdicts.append(
            searching.searched(name, changed, lambda each, _: np.logical_or(*wrongs(each.inputs)[1:]), breaks)
        )
    plain, graded = verdicts
    if not plain.is_unbroken:
        return plain
    what = f"{', '.join(strengths)} = 0 gives {_baseline_at_zero(subject, zeros, rng)}"
    if not graded.is_unbroken:
        words = f"{plain.verdict}, if reward = correct"
        return dataclasses.replace(graded, verdict=words, detail=f"{what}; else {graded.detail}")
    return dataclasses.replace(plain, detail=what)


def _rewarded(each: Tried, *, is_credited: bool) -> Tried:
    """The groups with the reward of correctness alone, or with a quarter more for some samples of one answer."""
    reward = each.inputs["correct"] + (0.25 * (each.inputs["answer"] % 2) if is_credited else 0.0)
    return dataclasses.replace(each, inputs={**each.inputs, "reward": reward})


def _baseline_at_zero(subject: Subject, zeros: Mapping[str, float], rng: np.random.Generator) -> str:
    inputs = diagnosis_subject.random_groups(min(subject.least_group_size + 3, subject.sizes[-1]), rng)
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

    def in_tensors(inputs: dict[str, Any]) -> Floats:
        tensors = {key: as_tensor(values.copy()) for key, values in inputs.items()}
        return np.asarray(expected_flow.call(subject.function, tensors, subject.parameters))

    def broken(each: Tried, want: Floats) -> NDArray[np.bool_]:
        try:
            return subject.unequal(in_tensors(each.inputs), want, each.inputs)
        except Exception:  # reported by the group that is shown
            return np.ones(len(want), dtype=bool)

    def breaks(group: dict[str, Any]) -> str:
        try:
            found = in_tensors(group)
        except Exception as error:
            return f"raises {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return f"tensors give {found[0].tolist()}" if subject.unequal(found, subject(group), group).any() else ""

    return searching.searched(name, subject, broken, breaks)


def same_at_any_length(subject: Subject) -> Verdict:
    """The advantages are the same whatever the numbers of tokens."""

    def others(inputs: Inputs) -> Iterator[dict[str, Any]]:
        tokens = inputs["num_tokens"]
        for changed in (
            np.ones_like(tokens),
            tokens[:, ::-1],
            tokens + np.arange(1, 1 + tokens.shape[1]),
            100 * tokens,
        ):
            yield {**inputs, "num_tokens": changed}

    def broken(each: Tried, want: Floats) -> NDArray[np.bool_]:
        parts = (subject.unequal(subject(other), want, each.inputs) for other in others(each.inputs))
        return np.asarray(np.any(list(parts), axis=0))

    def breaks(group: dict[str, Any]) -> str:
        want = subject(group)
        for other in others(group):
            found = subject(other)
            if subject.unequal(found, want, group).any():
                return f"with {other['num_tokens'][0].astype(int).tolist()} tokens they are {found[0].tolist()}"
        return ""

    return searching.searched("same at any length", subject, broken, breaks)


def wrong_never_above_correct(subject: Subject) -> Verdict:
    """No wrong sample of a group has a larger advantage than a correct one; else from which surprisal on."""
    name = "wrong never above correct"
    rng = np.random.default_rng(subject.seed)

    def above(inputs: Inputs, found: Floats) -> Floats:
        """By how much the best wrong sample is above the worst correct one; -inf if unknown."""
        is_right = inputs["correct"] == 1.0
        is_known = (inputs["reward"] == inputs["correct"]).all(axis=1) & np.isfinite(found).all(axis=1)
        top = np.where(is_right, -np.inf, found).max(axis=1)
        low = np.where(is_right, found, np.inf).min(axis=1)
        is_known &= np.isfinite(top) & np.isfinite(low)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(is_known, top - low, -np.inf))

    def excess(inputs: Inputs, found: Floats) -> Floats:
        """The same beyond rounding, relative to it."""
        return above(inputs, found) / subject.slack(found, inputs)[:, 0] - 1

    def breaks(group: dict[str, Any]) -> str:
        is_above = (excess(group, subject(group)) > 0).any()
        return "a wrong answer is above a correct one" if is_above else ""

    def broken(each: Tried, want: Floats) -> NDArray[np.bool_]:
        return np.asarray(excess(each.inputs, want) > 0)

    def nearer() -> Iterator[Tried]:
        for each in subject.tried:
            if each.found is not None:
                yield thresholds.worse(subject, each, (excess, above), rng)

    more: list[Callable[[], tuple[Tried, ...]]] = [
        lambda: subject.tried,
        lambda: thresholds.along_probabilities(subject).tried,
        lambda: tuple(nearer()),
    ]
    tried: list[Tried] = []
    for groups in more:
        changed = subject.with_groups(groups())
        verdict = searching.searched(name, changed, broken, breaks)
        tried += [each for each in changed.tried if each.found is not None]
        if not verdict.is_unbroken:
            break
    else:
        sizes = [each.group_size for each in subject.tried if each.found is not None]
        return searching.unbroken(name, sizes, sum(len(each.inputs["reward"]) for each in tried))
    if verdict.verdict != "fails":
        return verdict
    found = dict(thresholds.thresholds(subject))
    when = "; ".join(f"where the {words} by more than {nats:.6g} nats" for words, nats in found.items())
    return dataclasses.replace(verdict, detail=f"{verdict.detail}{'; ' if when else ''}{when}", numbers=found)


def structure(
    subject: Subject, as_tensor: Callable[[Any], Any] | None, strengths: tuple[str, ...], rng: np.random.Generator
) -> tuple[Verdict, ...]:
    """The verdicts about single groups; where calls or groups do not agree, what needs that is undecided."""
    apart = keeps_groups_apart(subject)
    is_alike = apart.detail != REPEATABLE
    why = "" if apart.is_unbroken else TOGETHER if is_alike else REPEATABLE
    steps: dict[str, Callable[[], Verdict]] = {
        "zero strength is the identity": lambda: zero_strength(subject, strengths, rng),
        "same numbers in NumPy and torch": lambda: same_in_tensors(subject, as_tensor),
        "same at any length": lambda: same_at_any_length(subject),
        "wrong never above correct": lambda: wrong_never_above_correct(subject),
    }
    order = permutes(subject) if is_alike else Verdict("permutes with the group", "undecided", REPEATABLE)
    in_a_batch = ("same at any length",) if is_alike else ()  # may be asked of groups that are not apart
    rest = (
        Verdict(name, "undecided", why) if why and name not in in_a_batch else _guarded(name, step)
        for name, step in steps.items()
    )
    return tuple(itertools.chain((finite(subject), order, apart), rest))


def _guarded(name: str, step: Callable[[], Verdict]) -> Verdict:
    try:
        return step()
    except Exception as error:  # the user's function, at a size or at strengths 0
        return Verdict(name, "undecided", f"raises {type(error).__name__}: {error}")
