"""An advantage function that is diagnosed: what it gives at each group size, how precisely, and what it fails at.

Groups are drawn at every size from the least one that the function takes to one above the largest that the flow uses:
a third with probabilities of a policy as the flow meets them, a third shallow, a third with log-probabilities down to
-2,000 nats; members by chance, and every composition of three answers. Samples of one answer agree in everything.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.theory import policies
from sharpening.theory.groups import expected_flow
from sharpening.theory.groups.expected_flow import Function
from sharpening.theory.methods import user_functions
from sharpening.theory.policies import Floats

Inputs = Mapping[str, Any]
Breaks = Callable[[dict[str, Any]], str]  # what is wrong with a group, "" if nothing is

SHOWN = policies.problem_from_probabilities([0.3, 0.1, 0.4, 0.2], [1, 1, 0, 0])
NUM_DRAWN, MADE_UP = 96, 120  # groups of chance at each size, and at least of compositions of three answers
NUM_ANSWERS, SHORT_TEXT, LONGEST_TEXT = 4, 20, 10_000
SHALLOW, DEEP, DEEPEST = 2, 60, 2000.0  # nats; many formulas have their edge near 0, and long answers lie far below
CREDITS = (0.0, 0.25, -0.5, -1.0, 100.0)  # of a reward beyond correctness, in every fourth group
MORE_SAMPLES = 2  # above the least size, where no largest one is given
EQUAL = 1e-9  # relative to the largest advantage of the group: float64 in another order of summation
ROUNDINGS = 64  # units in the last place of a coarser precision: a sum over a group, in another order
MOST_TRIES = 300  # to make a counterexample small


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found about one property: the verdict, the reason, the smallest counterexample, and numbers."""

    property: str
    verdict: str
    detail: str = ""
    counterexample: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def is_unbroken(self) -> bool:
        """Whether groups were tried and none broke the property."""
        return self.verdict.startswith("no counterexample")


@dataclasses.dataclass(frozen=True)
class Tried:
    """The groups drawn at one size, (num_groups, group_size) each, and their advantages in one call.

    Groups on which the function raises are left out; `found` is None, and `fault` says why, where none is left.
    `raised` is one of those left out.
    """

    group_size: int
    inputs: dict[str, Any]
    found: Floats | None
    fault: str = ""
    raised: dict[str, Any] | None = None


@dataclasses.dataclass(frozen=True)
class Subject:
    """An advantage function with its parameters, the smallest and the largest group, and the seed of the searches."""

    function: Function
    parameters: Mapping[str, Any]
    least_group_size: int
    seed: int = 0
    largest_group_size: int | None = None

    def __call__(self, inputs: Inputs, **changed: Any) -> Floats:
        """The advantages as a NumPy array; raises ValueError if the shape is not that of the inputs."""
        return np.asarray(self.as_given(inputs, **changed), dtype=np.float64)

    def as_given(self, inputs: Inputs, **changed: Any) -> NDArray[Any]:
        """The advantages in the type that the function gives, from copies of the inputs, which it may change."""
        copies = {name: values.copy() for name, values in inputs.items()}
        found = np.asarray(expected_flow.call(self.function, copies, {**self.parameters, **changed}))
        expected_flow.require_shape(found, inputs["reward"])
        return found

    def with_groups(self, tried: tuple[Tried, ...]) -> Subject:
        """The same function, with these groups to be tried."""
        changed = dataclasses.replace(self)
        vars(changed)["tried"] = tried
        return changed

    @property
    def sizes(self) -> range:
        """The group sizes that are tried."""
        largest = self.largest_group_size or self.least_group_size + MORE_SAMPLES
        return range(self.least_group_size, largest + 2)

    @functools.cached_property
    def tried(self) -> tuple[Tried, ...]:
        """The drawn groups of every size and their advantages."""
        rng = np.random.default_rng(self.seed)
        return tuple(self._try(size, drawn(rng, size)) for size in self.sizes)

    def _try(self, group_size: int, inputs: dict[str, Any]) -> Tried:
        try:
            return Tried(group_size, inputs, self(inputs))
        except Exception as error:  # whatever the user's function raises is its answer
            fault = user_functions.failure(self.function, error)
        kept: list[int] = []
        raised: dict[str, Any] | None = None
        for place in range(len(inputs["reward"])):
            one = rows(inputs, [place])
            try:
                self(one)
                kept.append(place)
            except Exception:
                raised = one if raised is None else raised
        if not kept or raised is None:
            return Tried(group_size, inputs, None, fault, raised)
        taken = rows(inputs, kept)
        try:
            return Tried(group_size, taken, self(taken), fault, raised)
        except Exception:  # alone they are taken, together they are not
            return Tried(group_size, inputs, None, fault, inputs)

    @functools.cached_property
    def epsilon(self) -> float:
        """The rounding unit of its numbers: that of their type, or of single precision if all are single numbers."""
        units = [float(np.finfo(np.float64).eps)]
        for each in self.tried[:3]:
            if each.found is None:
                continue
            found = self.as_given(each.inputs)
            if found.dtype.kind == "f":
                units.append(float(np.finfo(found.dtype).eps))
            with np.errstate(all="ignore"):
                known = each.found[np.isfinite(each.found)]
                is_single = bool((known == known.astype(np.float32)).all())
                is_short = bool((known == known.astype(np.float16)).all())
            if is_single and not is_short:
                units.append(float(np.finfo(np.float32).eps))
        return (
            max(units) if max(units) > min(units) or not self._rounds_as_single() else float(np.finfo(np.float32).eps)
        )

    def _rounds_as_single(self) -> bool:
        """Whether in another order its advantages differ, and in no group by more than single precision explains."""
        worst = 0.0
        for each in self.tried:
            if each.found is None or each.group_size == 1:
                continue
            try:
                moved = self(columns(each.inputs, np.arange(each.group_size)[::-1]))[:, ::-1]
            except Exception:  # reported by the property itself
                continue
            with np.errstate(all="ignore"):
                gap = np.nan_to_num(np.abs(moved - each.found), nan=0.0).max(axis=1)
            worst = max(worst, float((gap / (_largest(each.found) + _depth(each.inputs) + self.unit)).max()))
        return EQUAL < worst < ROUNDINGS * float(np.finfo(np.float32).eps)

    @functools.cached_property
    def unit(self) -> float:
        """The size of an ordinary advantage: the median over groups of the largest one of each."""
        sizes = np.concatenate([_largest(each.found) for each in self.tried if each.found is not None] or [np.ones(1)])
        sizes = sizes[sizes > 0]
        return float(np.median(sizes)) if sizes.size else 1.0

    @property
    def is_double(self) -> bool:
        """Whether its numbers are double."""
        return self.epsilon < EQUAL / ROUNDINGS

    def slack(self, want: Floats, inputs: Inputs) -> Floats:
        """The difference of two advantages that rounding explains, (num_groups, 1).

        In a coarser type it grows with the log-probabilities, of which the function takes sums.
        """
        scale = np.maximum(_largest(want), self.unit)
        if self.is_double:
            return np.asarray(EQUAL * scale[:, None])
        return np.asarray(ROUNDINGS * self.epsilon * (scale + _depth(inputs))[:, None])

    def unequal(self, found: Floats, want: Floats, inputs: Inputs) -> NDArray[np.bool_]:
        """In which groups advantages differ beyond rounding; equal ones that are not finite are equal."""
        with np.errstate(all="ignore"):
            gap = np.abs(found - want)
        if gap.max(initial=0.0) <= EQUAL * self.unit:  # the least slack of any group; not so where one is NaN
            return np.zeros(len(want), dtype=bool)
        same = (found == want) | (np.isnan(found) & np.isnan(want))
        return np.asarray((~same & ~(gap <= self.slack(want, inputs))).any(axis=-1))


def _depth(inputs: Inputs) -> Floats:
    """The largest surprisal of each group."""
    return np.asarray(np.maximum(np.abs(inputs["log_prob"]), np.abs(inputs["base_log_prob"])).max(axis=-1))


def _largest(found: Floats) -> Floats:
    """The largest finite size of an advantage of each group."""
    return np.asarray(np.where(np.isfinite(found), np.abs(found), 0.0).max(axis=-1, initial=0.0))


def rows(inputs: Inputs, places: Sequence[int] | NDArray[np.int64]) -> dict[str, Any]:
    """The groups at these places."""
    return {name: values[np.asarray(places)] for name, values in inputs.items()}


def columns(inputs: Inputs, order: NDArray[np.int64]) -> dict[str, Any]:
    """The groups with their samples in another order."""
    return {name: values[:, order] for name, values in inputs.items()}


def drawn(rng: np.random.Generator, group_size: int) -> dict[str, Any]:
    """Groups of one size as inputs (num_groups, group_size); see the head of this module."""
    num_used = rng.integers(1, NUM_ANSWERS + 1, (NUM_DRAWN, 1))  # distinct answers of a group, at most
    by_chance = np.floor(rng.random((NUM_DRAWN, group_size)) * num_used).astype(np.int64)
    order = rng.permuted(np.tile(np.arange(NUM_ANSWERS), (NUM_DRAWN, 1)), axis=1)
    made_up = compositions(group_size)
    made_up = np.repeat(made_up, max(2, MADE_UP // len(made_up)), axis=0)
    pairs = rng.permuted(np.array([[0, 1], [2, 3]] * len(made_up)).reshape(-1, 2), axis=1).reshape(-1, 4)
    third = np.where(rng.random((len(made_up), 1)) < 0.5, pairs[:, 1:2], pairs[:, 3:])
    answer = np.concatenate(
        [
            np.take_along_axis(order, by_chance, axis=1),
            np.take_along_axis(np.hstack([pairs[:, ::2], third]), rng.permuted(made_up, axis=1), axis=1),
        ]
    )
    table = _answers(rng, len(answer))
    return {name: np.take_along_axis(values, answer, axis=1) for name, values in table.items()} | {"answer": answer}


@functools.cache
def compositions(group_size: int) -> NDArray[np.int64]:
    """Every group of a right answer, a wrong one and a third, as multisets (num_groups, group_size)."""
    return np.array(list(itertools.combinations_with_replacement(range(3), group_size)), dtype=np.int64)


def _answers(rng: np.random.Generator, num_groups: int) -> dict[str, Floats]:
    """The answers that each group is drawn from, (num_groups, 4); those of compositions are two right, two wrong."""
    shape, places = (num_groups, NUM_ANSWERS), np.arange(num_groups)[:, None]
    kind = places % 3
    is_pair = (kind == 0) | (places >= NUM_DRAWN)
    correct = np.where(is_pair, SHOWN.correct, rng.integers(0, 2, shape)).astype(np.float64)
    log_probs = [np.where(kind == 0, _of_policies(rng, num_groups), _surprises(rng, kind)) for _ in range(2)]
    log_probs[0][0] = SHOWN.base_log_policy
    log_probs[1] = np.where((kind == 0) & (rng.random((num_groups, 1)) < 0.7), SHOWN.base_log_policy, log_probs[1])
    long = np.floor(np.exp(rng.uniform(0, np.log(LONGEST_TEXT), shape)))
    is_credited = (places % 4 == 3) & (places < NUM_DRAWN)
    return {
        "reward": correct + np.where(is_credited, rng.choice(CREDITS, shape), 0.0),
        "correct": correct,
        "log_prob": log_probs[0],
        "base_log_prob": log_probs[1],
        "num_tokens": np.where(rng.random(shape) < 0.5, rng.integers(1, SHORT_TEXT + 1, shape), long),
    }


def _of_policies(rng: np.random.Generator, num_groups: int) -> Floats:
    """Log-probabilities of policies with any correctness and shares, (num_groups, 4)."""
    mass = 1 / (1 + np.exp(rng.uniform(-7, 7, num_groups)))
    right, wrong = rng.uniform(0.001, 0.999, (2, num_groups))
    table = [mass * right, mass * (1 - right), (1 - mass) * wrong, (1 - mass) * (1 - wrong)]
    return np.asarray(np.log(np.stack(table, axis=1)))


def _surprises(rng: np.random.Generator, kind: NDArray[np.int64]) -> Floats:
    """Log-probabilities of answers, shallow (kind 1) or deep (kind 2), (num_groups, 4)."""
    shape = (len(kind), NUM_ANSWERS)
    most = np.where(rng.random(shape) < 1 / 3, SHALLOW, DEEP)
    shallow = np.floor(rng.random(shape) * (most + 1))
    deep = np.where(rng.random(shape) < 1 / 6, DEEPEST, np.exp(rng.uniform(np.log(0.1), np.log(DEEPEST), shape)))
    return np.asarray(-np.where(kind == 1, shallow, deep))


def random_groups(group_size: int, rng: np.random.Generator, num_groups: int = 200) -> dict[str, Any]:
    """Ordinary groups with both correct and wrong samples on the average, as inputs (num_groups, group_size)."""
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


def simplified(group: dict[str, Any], breaks: Breaks, least: int) -> tuple[dict[str, Any], str]:
    """A group that breaks a property made small, and what is wrong with it: fewer samples, answers and digits.

    Each simpler group is kept if it breaks the property too, until none does or `MOST_TRIES` were tried.
    """
    best, words, num_tries = group, breaks(group), 0
    is_changed = True
    while is_changed and num_tries < MOST_TRIES:
        is_changed = False
        for simpler in _simpler(best, least):
            num_tries += 1
            found = breaks(simpler)
            if found:
                best, words, is_changed = simpler, found, True
                break
            if num_tries >= MOST_TRIES:
                break
    return best, words


def _simpler(group: dict[str, Any], least: int) -> Iterator[dict[str, Any]]:
    """Simpler groups, the boldest first; none of them can be made into the first again."""
    answer = group["answer"][0]
    size, kinds = answer.size, np.unique(answer)
    for place in range(size) if size > least else ():
        yield columns(group, np.delete(np.arange(size), place))
    for kind in kinds[1:]:
        for other in kinds[kinds < kind]:
            source = np.where(answer == kind, int(np.flatnonzero(answer == other)[0]), np.arange(size))
            yield columns(group, source)
    for kind in kinds:
        is_kind = group["answer"] == kind
        for name, simple in _simple_values(group, is_kind):
            changed = np.where(is_kind, simple, group[name])
            if not np.array_equal(changed, group[name]):
                yield {**group, name: changed}
        if group["correct"][is_kind].any():
            nothing = np.where(is_kind, 0.0, group["correct"])
            yield {**group, "correct": nothing, "reward": group["reward"] - group["correct"] + nothing}
    order = np.argsort(-group["correct"][0], kind="stable")
    if (order != np.arange(size)).any():
        yield columns(group, order)


def _simple_values(group: dict[str, Any], is_kind: NDArray[np.bool_]) -> Iterator[tuple[str, Any]]:
    """Names and simpler values of one answer."""
    yield "reward", group["correct"]
    yield "num_tokens", 1.0
    for name in ("base_log_prob", "log_prob"):
        value = float(group[name][is_kind][0])
        yield from ((name, simple) for simple in (0.0, -1.0, np.ceil(value)) if abs(simple) < abs(value))
