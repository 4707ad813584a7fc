"""What is true of an advantage function, by listing ordered groups: its properties, its exact motion, where it ends.

Every property is asked of all ordered groups of a few symbols (tables of answers), at every size up to one above that
of the diagnosis, under exchanges of two places and in batches of several orders. The motion is the mean over all
ordered groups of the score-function gradient. Where a difference is neither round-off nor material, nothing is judged
(None).

Shares nothing with the toolkit.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy.integrate import solve_ivp

Function = Callable[..., Any]
Floats = Any
Inputs = dict[str, Any]
CORRECT = np.array([1.0, 1.0, 0.0, 0.0])
SHOWN = np.array([0.3, 0.1, 0.4, 0.2])
MOST_SYMBOLS = {1: 4, 2: 4, 3: 4, 4: 4, 5: 3, 6: 2, 7: 2, 8: 2, 9: 2}  # at most 512 ordered groups
NUM_TABLES = 3
MOST_EXCHANGES = 6  # of two places, of all, at each table
DEEPEST = 2000.0
POLICIES_AT_ONCE = 100
MOST_CALLS = 30_000  # of the rate, in one integration
SWEPT = np.arange(0.0025, 1, 0.0025)  # windows are at least twice as wide
MATERIAL, ROUND_OFF = 3e-4, 1e-8  # relative differences: above the first one counts, below the second none does
DOUBLE = 1e-12  # of sums of some hundred terms of float64, relative
SINGLE = 1e-6  # of a log-probability: what single precision may add to a difference


@functools.lru_cache(maxsize=64)
def ordered(num_symbols: int, group_size: int) -> Any:
    """All ordered groups, (num_symbols^group_size, group_size)."""
    return np.array(list(itertools.product(range(num_symbols), repeat=group_size)))


def table(rng: np.random.Generator, num_symbols: int, place: int) -> Inputs:
    """Answers, (num_symbols,) each: those of the shown policy first, then drawn, one in three of them deep."""
    correct = np.arange(num_symbols) % 2 == 0
    if place == 0:
        chosen = [0, 2, 1, 3][:num_symbols]
        return {
            "reward": CORRECT[chosen],
            "correct": CORRECT[chosen],
            "log_prob": np.log(SHOWN[chosen]),
            "base_log_prob": np.log(SHOWN[chosen]),
            "num_tokens": np.ones(num_symbols),
        }
    correct = rng.permutation(correct).astype(float)
    shallow = np.log(rng.dirichlet(np.full(num_symbols, 0.7)) + 1e-12)
    depth = rng.choice([1.0, 30.0, 300.0, DEEPEST], num_symbols)
    drawn = [np.where(rng.random(num_symbols) < 1 / 3, -depth * rng.random(num_symbols), shallow) for _ in range(2)]
    if place == 1:
        drawn[0][rng.integers(num_symbols)] = -DEEPEST
    credit = rng.choice([0.0, 0.25], num_symbols) if place == 2 else np.zeros(num_symbols)
    return {
        "reward": correct + credit,
        "correct": correct,
        "log_prob": drawn[0],
        "base_log_prob": drawn[1],
        "num_tokens": rng.integers(1, 20, num_symbols).astype(float),
    }


def groups_of(answers: Mapping[str, Any], members: Any) -> Inputs:
    """The groups of these members as inputs."""
    return {name: values[members] for name, values in answers.items()} | {"answer": members.copy()}


def called(function: Function, inputs: Inputs) -> Any:
    """The advantages, or None if it raises or gives another shape; the inputs are its own to change."""
    named = _named(function)
    with np.errstate(all="ignore"):
        try:
            found = np.asarray(function(**{name: values.copy() for name, values in inputs.items() if name in named}))
        except Exception:
            return None
    return found.astype(np.float64) if found.shape == inputs["reward"].shape else None


@functools.lru_cache(maxsize=64)
def _named(function: Function) -> frozenset[str]:
    """The inputs that a function takes: those that it names, or all."""
    arguments = inspect.signature(function).parameters
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return frozenset(("reward", "correct", "log_prob", "base_log_prob", "num_tokens", "answer"))
    return frozenset(arguments)


class Differences:
    """The worst difference seen, relative to the size of the advantages of its group."""

    def __init__(self) -> None:
        """None yet."""
        self.worst = 0.0

    def add(self, found: Floats, want: Floats, inputs: Inputs) -> None:
        """Compares advantages; two that are not finite and equal are equal."""
        if found is None or want is None:
            self.worst = self.worst if found is want else np.inf
            return
        with np.errstate(all="ignore"):
            gap = np.abs(found - want)
        same = (found == want) | (np.isnan(found) & np.isnan(want))
        gap = np.where(same, 0.0, np.where(np.isfinite(gap), gap, np.inf))
        known = np.where(np.isfinite(want), np.abs(want), 0.0).max(axis=-1, initial=0.0)
        room = np.maximum(known, 1.0) + SINGLE / MATERIAL * np.abs(inputs["log_prob"]).max(axis=-1)
        self.worst = max(self.worst, float((gap.max(axis=-1) / room).max(initial=0.0)))

    def hold(self, precision: str) -> bool | None:
        """True where nothing differs, False where something does, None between."""
        if self.worst > MATERIAL:
            return False
        return True if self.worst < ROUND_OFF or precision == "float32" else None


def least_size(function: Function, group_size: int) -> int | None:
    """The smallest group that it takes and gives a finite advantage to all samples of some group."""
    for size in range(1, group_size + 1):
        num_symbols = MOST_SYMBOLS[size]
        answers = table(np.random.default_rng(0), num_symbols, 0)
        found = called(function, groups_of(answers, ordered(num_symbols, size)))
        if found is not None and np.isfinite(found).all(axis=1).any():
            return size
    return None


def batches(group_size: int, rng: np.random.Generator) -> Iterator[Inputs]:
    """All ordered groups of a table, each table a batch, in an order drawn."""
    for place in range(NUM_TABLES):
        num_symbols = MOST_SYMBOLS[group_size]
        members = rng.permutation(ordered(num_symbols, group_size))
        yield groups_of(table(rng, num_symbols, place), members)


def structure(function: Function, group_size: int, precision: str, seed: int) -> dict[str, bool | None]:
    """Which properties hold at sizes from the least one to one above the group size."""
    rng = np.random.default_rng(seed)
    least = least_size(function, group_size)
    if least is None:
        return {}
    is_finite, excess = True, -np.inf
    order, repeats, apart, length = Differences(), Differences(), Differences(), Differences()
    for size in range(least, group_size + 2):
        for inputs in batches(size, rng):
            want = called(function, inputs)
            is_finite = is_finite and want is not None and bool(np.isfinite(want).all())
            if want is None:
                continue
            repeats.add(called(function, inputs), want, inputs)
            pairs = np.array(list(itertools.combinations(range(size), 2))).reshape(-1, 2)
            for one, other in rng.permutation(pairs)[:MOST_EXCHANGES]:
                places = np.arange(size)
                places[[one, other]] = other, one
                moved = called(function, {name: values[:, places] for name, values in inputs.items()})
                order.add(moved, want[:, places], inputs)
            _apart(function, inputs, want, apart)
            length.add(called(function, {**inputs, "num_tokens": rng.permuted(inputs["num_tokens"] + 3)}), want, inputs)
            if (inputs["reward"] == inputs["correct"]).all():
                excess = max(excess, _excess(inputs, want, precision))
    found = {"finite": is_finite, "repeats": repeats.hold(precision)}
    if not found["repeats"]:
        return {**found, "apart": None}
    found |= {"permutes": order.hold(precision), "apart": apart.hold(precision), "length": length.hold(precision)}
    if found["apart"]:
        found["ordered"] = excess <= ROUND_OFF if excess <= ROUND_OFF or excess > MATERIAL else None
    return found


def _apart(function: Function, inputs: Inputs, want: Floats, apart: Differences) -> None:
    """Groups alone, in pairs, and the batch backwards, in parts and ten times over."""
    number = len(want)
    for rows in (
        np.tile(np.arange(number), 10),
        np.arange(number)[::-1],
        np.arange(number // 2, number),
        np.array([0]),
        np.array([number - 1]),
    ):
        part = {name: values[rows] for name, values in inputs.items()}
        apart.add(called(function, part), want[rows], part)
    for first in range(0, number, max(1, number // 4)):
        for rows in (np.array([(first + 1) % number, first]), np.array([first, (first + 5) % number])):
            part = {name: values[rows] for name, values in inputs.items()}
            apart.add(called(function, part), want[rows], part)


def _excess(inputs: Inputs, found: Floats, precision: str) -> float:
    """By how much a wrong sample exceeds a correct one of its group.

    Relative to the group's advantages where they are so large that float64 rounds what is looked for.
    """
    is_right = inputs["correct"] == 1
    known = np.isfinite(found).all(axis=1) & is_right.any(axis=1) & ~is_right.all(axis=1)
    wrong, right = np.where(is_right, -np.inf, found)[known], np.where(is_right, found, np.inf)[known]
    size = np.abs(found[known]).max(axis=1, initial=0.0)
    room = np.maximum(size if precision == "float32" else size * DOUBLE / ROUND_OFF, 1.0)
    if precision == "float32":
        room = room + SINGLE / MATERIAL * np.abs(inputs["log_prob"][known]).max(axis=1, initial=0.0)
    return float(((wrong.max(axis=1) - right.min(axis=1)) / room).max(initial=-np.inf))


def breaks(name: str, function: Function, group: Mapping[str, Any], precision: str) -> bool:
    """Whether a group that a diagnosis names as a counterexample is one."""
    filled = {"num_tokens": 1.0, "base_log_prob": 0.0, "log_prob": 0.0, "answer": 0}
    size = len(group["reward"])
    inputs = {key: np.array([group.get(key, [default] * size)]) for key, default in filled.items()}
    inputs |= {"reward": np.array([group["reward"]]), "correct": np.array([group.get("correct", group["reward"])])}
    found, gaps = called(function, inputs), Differences()
    if name == "finite":
        return found is None or not np.isfinite(found).all()
    if found is None:
        return False
    if name == "ordered":
        return _excess(inputs, found, precision) > ROUND_OFF
    if name == "length":
        changed = (np.ones_like(inputs["num_tokens"]), np.arange(1.0, size + 1)[None], 100 * inputs["num_tokens"])
        for tokens in changed:
            gaps.add(called(function, {**inputs, "num_tokens": tokens}), found, inputs)
    if name == "permutes":
        for places in itertools.islice(itertools.permutations(range(size)), 1, 720):
            order = np.array(places)
            gaps.add(
                called(function, {key: values[:, order] for key, values in inputs.items()}), found[:, order], inputs
            )
    return gaps.worst > MATERIAL


def steps(function: Function, group_size: int, policies: Floats, tokens: Floats | None = None) -> tuple[Floats, Floats]:
    """The expected logit step of each answer at each policy, and the sum of the sizes of what it is summed from.

    `policies` are probabilities (num_policies, 4), the first two answers correct. Returns two of the same shape.
    """
    policies = np.atleast_2d(policies)
    members = ordered(4, group_size)
    answers = {"reward": CORRECT, "correct": CORRECT, "base_log_prob": np.log(SHOWN)}
    answers["num_tokens"] = np.ones(4) if tokens is None else tokens
    many = np.tile(members, (len(policies), 1))
    inputs = groups_of(answers, many) | {"log_prob": np.log(policies)[:, members].reshape(many.shape)}
    found = called(function, inputs)
    if found is None:
        raise ValueError("the function fails on groups of a policy")
    advantage = found.reshape(len(policies), *members.shape)
    weight = policies[:, members].prod(axis=2) / group_size  # (num_policies, num_groups)
    weighted = (weight[:, :, None] * advantage).reshape(len(policies), -1)
    is_answer = (members.reshape(-1, 1) == np.arange(4)).astype(np.float64)
    total, absolute = weighted.sum(axis=1, keepdims=True), np.abs(weighted)
    own = absolute @ is_answer  # the score of answer a at a sample of answer b is 1[a = b] - p_a
    size = own * (1 - policies) + (absolute.sum(axis=1, keepdims=True) - own) * policies
    return weighted @ is_answer - policies * total, size


def motion(function: Function, group_size: int, policies: Floats, precision: str) -> tuple[Any, Any]:
    """Signs of d log(p1/p2)/dt and of d logit Q/dt at each policy, the first correct answer over the second.

    Returns two of (num_policies,): -1, 0, 1, and NaN where a rate is neither material nor round-off.
    """
    policies = np.atleast_2d(policies)
    step, size = steps(function, group_size, policies)
    inside, outside = (np.where(mask, policies, 0) for mask in (CORRECT == 1, CORRECT == 0))
    inside, outside = (part / part.sum(axis=1, keepdims=True) for part in (inside, outside))
    rates = (step[:, 0] - step[:, 1], (step * (inside - outside)).sum(axis=1))
    scales = (size[:, 0] + size[:, 1], (size * (inside + outside)).sum(axis=1))
    floor, least = (3e-7, 1e-3) if precision == "float32" else (1e-12, 1e-8)
    return tuple(  # type: ignore[return-value]
        np.where(np.abs(rate) > least * scale, np.sign(rate), np.where(np.abs(rate) < floor * scale, 0.0, np.nan))
        for rate, scale in zip(rates, scales, strict=True)
    )


def is_of_the_class(function: Function, group_size: int, precision: str, seed: int, more: Any = ()) -> bool | None:
    """Whether the step is one factor of Q times p_i (r_i - Q), whatever the lengths of the answers."""
    rng = np.random.default_rng(seed)
    drawn = [SHOWN, *rng.dirichlet(np.full(4, 0.6), 8) * (1 - 1e-6) + 2.5e-7, *np.atleast_2d(more).reshape(-1, 4)]
    for place in (0, 2):  # a change in a window of one probability, correct or wrong, shows at some of these
        drawn += [np.where(np.arange(4) == place, share, (1 - share) / 3) for share in SWEPT]
    paired = [policy / policy.sum() for policy in drawn]
    for policy in tuple(paired):
        mass = policy[:2].sum()
        paired.append(np.array([mass / 2, mass / 2, (1 - mass) / 2, (1 - mass) / 2]))
    policies, worst = np.array(paired).reshape(2, -1, 4), 0.0  # as drawn, and evened to the same mass
    parts = np.array_split(policies, -(-policies.shape[1] // (POLICIES_AT_ONCE // 2)), axis=1)
    for tokens, part in itertools.product((np.ones(4), np.array([3.0, 11.0, 7.0, 2.0])), parts):
        at = part.reshape(-1, 4)
        mass = at[:, :2].sum(axis=1, keepdims=True)
        factor = steps(function, group_size, at, tokens)[0] / (at * (CORRECT - mass))
        size = np.abs(factor).max(axis=1) + 1e-9
        as_drawn, evened = factor.reshape(2, -1, 4)
        gaps = np.ptp(factor, axis=1) / size, np.abs(as_drawn - evened[:, :1]).max(axis=1) / size[: len(as_drawn)]
        worst = max(worst, *(float(gap.max()) for gap in gaps))
        if worst > 1e-2:
            return False
    return True if worst < (1e-3 if precision == "float32" else 1e-6) else None


def end(function: Function, group_size: int, start: Floats = SHOWN, time: float = 1e10) -> str:
    """What the exact flow is near at two late times: "uniform", "1", "2", "wrong", "mixture", "still" or "open"."""
    calls = itertools.count()

    def rate(_: float, logits: Floats) -> Floats:
        if next(calls) > MOST_CALLS:  # it slides along a jump
            raise RuntimeError("too many steps")
        weight = np.exp(logits - logits.max())
        return steps(function, group_size, np.maximum(weight / weight.sum(), 1e-250))[0][0]

    if np.abs(rate(0.0, np.log(start))).max() < 1e-13:
        return "still"
    times = [time / 1e3, time]
    try:
        found = solve_ivp(rate, (0, time), np.log(start), method="LSODA", t_eval=times, rtol=1e-6, atol=1e-9)
    except RuntimeError:
        return "open"
    if found.y.shape[1] < 2:
        return "open"
    names = {_near(np.exp(logits - np.logaddexp.reduce(logits))) for logits in found.y.T}
    return names.pop() if len(names) == 1 else "open"


def _near(policy: Floats) -> str:
    mass = policy[:2].sum()
    if mass < 0.02:
        return "wrong"
    if mass < 0.98:
        return "mixture"
    share = policy[0] / mass
    return "uniform" if abs(share - 0.5) < 0.02 else "1" if share > 0.98 else "2" if share < 0.02 else "open"
