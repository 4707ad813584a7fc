"""The exact expected step of an advantage function of one group at a time, by listing all groups, and its flow.

A group is `group_size` independent draws from the policy. The expected logit step at learning rate 1 is
p_i (a_i - sum_j p_j a_j), where a_i is the mean advantage of a sample given that its answer is i. Each group of the
list is counted with its probability given one member, so a_i keeps its digits however rare the answer is. One call of
the advantage function serves all groups, and all policies, at once.

A function that permutes with the group is asked for every multiset of answers; any other for every ordered group.
On a bandit every answer has one token; the reward is the verifier's mark, which noise may turn (claim E4).

Left out: sampling noise, momentum and clipping: the first-order on-policy step alone.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import LSODA
from scipy.special import gammaln

from sharpening.theory import policies
from sharpening.theory.flow import smoothing
from sharpening.theory.methods.table import INPUTS
from sharpening.theory.policies import Floats, Problem

Function = Callable[..., Any]
Geometry = str  # "softmax" | "natural"

MAX_ROWS = 200_000  # groups that one call is given: about 100 MB of inputs
MAX_STEPS = 2_000  # of the integrator
STALLED_STEPS, STALLED_GROWTH = 100, 1e-3  # time grows by less where the flow slides along a discontinuity
DEEPEST = 1e5  # surprisal above which an answer is extinct and the integration may stop
DEPTHS = (1e6, 1e4, 600.0, 300.0, 80.0, 30.0)  # nats: how far below the others an absent answer may be put
ROUND_OFF = 1e-12  # of a rate, relative to the largest advantage: sums of a few hundred float64 products
RELATIVE_TOLERANCE = 1e-7  # of the integrator, per step: ends are decided by candidates, mixtures contract errors
ABSOLUTE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Groups:
    """All groups of `group_size` samples from `num_symbols` symbols.

    Shapes:   members: (num_groups, group_size), integers; counts: (num_groups, num_symbols), how often each occurs;
              is_member: (num_groups, group_size, num_symbols), 1.0 where a sample is that symbol;
              log_ways: (num_groups,), log of what multiplies p^counts / p_i in the mean given a member i.
    """

    members: NDArray[np.int64]
    counts: Floats
    is_member: Floats
    log_ways: Floats


@functools.lru_cache(maxsize=16)
def all_groups(num_symbols: int, group_size: int, is_ordered: bool = False) -> Groups:
    """Every multiset of symbols, or every ordered group.

    Raises:   ValueError if there are more than `MAX_ROWS`.

    >>> all_groups(2, 2).members.tolist()
    [[0, 0], [0, 1], [1, 1]]
    """
    symbols = range(num_symbols)
    listed: Iterator[tuple[int, ...]] = (
        itertools.product(symbols, repeat=group_size)
        if is_ordered
        else itertools.combinations_with_replacement(symbols, group_size)
    )
    members = np.array(list(itertools.islice(listed, MAX_ROWS + 1)), dtype=np.int64)
    if len(members) > MAX_ROWS:
        raise ValueError(f"group_size is {group_size}: groups of {num_symbols} symbols are more than {MAX_ROWS}")
    is_member = (members[:, :, None] == np.arange(num_symbols)).astype(np.float64)
    counts = is_member.sum(axis=1)
    if is_ordered:
        log_ways = np.full(len(members), -np.log(group_size))
    else:
        log_ways = gammaln(group_size) - gammaln(counts + 1).sum(axis=1)  # (G-1)! over the factorials of the counts
    return Groups(members, counts, is_member, log_ways)


@dataclass(frozen=True)
class ExpectedFlow:
    """An advantage function on a bandit: `advantages` and `rates` are exact for groups of `group_size`.

    `problem` holds the base policy and the correct answers. The verifier marks wrong answers correct at
    `false_positive_rate` and correct ones wrong at `false_negative_rate`, each sample on its own. `kl_strength` adds
    the exact gradient of -kl_strength KL(p||b). Answers have one token unless `num_tokens` gives each its number. A
    rate below `round_off` times the largest advantage is 0; a function of single precision has a coarser one.
    """

    function: Function
    problem: Problem
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    group_size: int = 8
    is_ordered: bool = False
    false_positive_rate: float = 0.0
    false_negative_rate: float = 0.0
    kl_strength: float = 0.0
    num_tokens: tuple[float, ...] | None = None
    round_off: float = ROUND_OFF

    @property
    def num_groups(self) -> int:
        """How many groups one policy takes."""
        return len(all_groups(self.symbols[0].size, self.group_size, self.is_ordered).members)

    @functools.cached_property
    def depth(self) -> float:
        """How far below the others an absent answer may be put: the most of `DEPTHS` where advantages are finite.

        Inverse probabilities overflow at 709 nats, where no policy goes.
        """
        for depth in DEPTHS:
            if np.isfinite(self.advantages(_corners(self.problem, depth))).all():
                return depth
        return DEPTHS[-1]

    @property
    def corner(self) -> float:
        """The log-ratio that stands for a single answer."""
        return corner_of(self.depth)

    @functools.cached_property
    def symbols(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """The (answer, mark) pairs that can occur: answers, marks and log-chances of the mark, (num_symbols,) each."""
        marked = smoothing.marked_correct(self.problem.correct, self.false_positive_rate, self.false_negative_rate)
        arms = np.tile(np.arange(marked.size), 2)
        chances = np.concatenate([marked, 1 - marked])
        marks = np.repeat([1.0, 0.0], marked.size)
        occurs = chances > 0
        return arms[occurs], marks[occurs], np.log(chances[occurs])

    def group_inputs(self, log_policy: Floats) -> dict[str, Any]:
        """What the advantage function is given, every group of every policy.

        Shapes:   log_policy: (num_policies, num_arms). Returns arrays (num_policies * num_groups, group_size).
        """
        arms, marks, _ = self.symbols
        members = all_groups(arms.size, self.group_size, self.is_ordered).members
        answer = np.tile(arms[members], (len(log_policy), 1))
        correct = np.tile(marks[members], (len(log_policy), 1))
        log_prob = log_policy[:, arms[members]].reshape(answer.shape)
        return {
            "reward": correct,
            "correct": correct.copy(),
            "log_prob": log_prob,
            "base_log_prob": self.problem.base_log_policy[answer],
            "num_tokens": np.ones_like(correct) if self.num_tokens is None else np.array(self.num_tokens)[answer],
            "answer": answer,
        }

    def advantages(self, log_policy: Floats) -> Floats:
        """The mean advantage of a sample given its answer.

        Shapes:   log_policy: (..., num_arms), normalised, nats. Returns the same shape.
        """
        flat = log_policy.reshape(-1, log_policy.shape[-1])
        arms, _, log_chances = self.symbols
        groups = all_groups(arms.size, self.group_size, self.is_ordered)
        rows_at_once = max(1, MAX_ROWS // len(groups.members))
        parts = [self._given_symbol(flat[at : at + rows_at_once], groups) for at in range(0, len(flat), rows_at_once)]
        given_symbol = np.concatenate(parts)  # (num_policies, num_symbols)
        to_arm = np.exp(log_chances)[:, None] * (arms[:, None] == np.arange(flat.shape[1]))
        mean = given_symbol @ to_arm
        if self.kl_strength:
            mean = mean - self.kl_strength * (flat - self.problem.base_log_policy)
        return np.asarray(mean.reshape(log_policy.shape), dtype=np.float64)

    def _given_symbol(self, flat: Floats, groups: Groups) -> Floats:
        """The mean advantage of a sample given its answer and mark, (num_policies, num_symbols)."""
        arms, _, log_chances = self.symbols
        inputs = self.group_inputs(flat)
        advantage = np.asarray(call(self.function, inputs, self.parameters), dtype=np.float64)
        require_shape(advantage, inputs["answer"])
        by_group = advantage.reshape(len(flat), *groups.members.shape)
        log_symbol = flat[:, arms] + log_chances  # (num_policies, num_symbols)
        log_weight = log_symbol @ groups.counts.T + groups.log_ways  # (num_policies, num_groups)
        total = np.einsum("pgn,gns->pgs", by_group, groups.is_member)
        given = np.where(groups.counts > 0, log_weight[:, :, None] - log_symbol[:, None, :], -np.inf)
        with np.errstate(invalid="ignore"):  # 0 times infinity, where a function overflows: NaN, which is asked for
            return np.asarray((np.exp(given) * total).sum(axis=1))

    def pulls(self, log_policy: Floats) -> Floats:
        """a_i - sum_j p_j a_j, summed as differences so that near-ties keep their digits.

        Shapes:   (..., num_arms). Returns the same shape.
        """
        return pulls_of(self.advantages(log_policy), log_policy)

    def rates(self, log_policy: Floats) -> Floats:
        """dz/dt: the expected logit step at learning rate 1, in softmax logits.

        Shapes:   (..., num_arms). Returns the same shape.
        Source:   policy-gradient theorem; claim B4.
        """
        return np.asarray(np.exp(log_policy) * self.pulls(log_policy))

    def rates_and_sizes(self, log_policy: Floats) -> tuple[Floats, Floats]:
        """The rates, and the largest mean advantage of each policy, which their round-off is relative to.

        Shapes:   (..., num_arms). Returns the same shape, and (...).
        """
        mean = self.advantages(log_policy)
        return np.asarray(np.exp(log_policy) * pulls_of(mean, log_policy)), np.asarray(np.abs(mean).max(axis=-1))


def pulls_of(mean: Floats, log_policy: Floats) -> Floats:
    """What `ExpectedFlow.pulls` makes of mean advantages.

    Shapes:   (..., num_arms). Returns the same shape.
    """
    gaps = mean[..., :, None] - mean[..., None, :]
    return np.asarray((gaps * np.exp(log_policy)[..., None, :]).sum(axis=-1))


def corner_of(depth: float) -> float:
    """The log-ratio that stands for a single answer, well above the depth of an absent one."""
    return min(1e3, depth / 2)


def _corners(problem: Problem, depth: float) -> Floats:
    """Policies of one answer, and of a right or a wrong pair at several log-ratios, the others at a depth."""
    size = problem.correct.size
    logits = [np.where(np.arange(size) == arm, 0.0, -depth) for arm in range(size)]
    for mask in (problem.is_correct, ~problem.is_correct):
        pair = np.flatnonzero(mask)[:2]
        for ratio in (-corner_of(depth), 0.0, corner_of(depth)):
            point = np.full(size, -depth)
            point[pair] = 0.0, min(ratio, 0.0)
            point[pair[0]] = -max(ratio, 0.0)
            logits.append(point)
    return policies.log_softmax(np.array(logits))


def call(function: Function, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
    """The function's result on those of the inputs that its signature names; floating-point warnings are silent."""
    with np.errstate(all="ignore"):
        return function(**{name: inputs[name] for name in named_inputs(function)}, **parameters)


class WrongShapeError(ValueError):
    """Advantages that have not the shape of the groups."""


def require_shape(found: NDArray[Any], like: NDArray[Any]) -> None:
    """Raises WrongShapeError, naming both, unless the advantages have the shape of the groups."""
    if found.shape != like.shape:
        raise WrongShapeError(f"shape {found.shape} for inputs of shape {like.shape}")


@functools.lru_cache(maxsize=64)
def named_inputs(function: Function) -> tuple[str, ...]:
    """The inputs that a function's signature names; all of them if it takes any keyword."""
    arguments = inspect.signature(function).parameters
    if any(argument.kind is argument.VAR_KEYWORD for argument in arguments.values()):
        return INPUTS
    return tuple(name for name in arguments if name in INPUTS)


def log_ratio_rate(flow: ExpectedFlow, log_policy: Floats, arms: tuple[int, int]) -> Floats:
    """The rate d log(p_i/p_j)/dt of two answers.

    Shapes:   log_policy: (..., num_arms). Returns (...), nats per unit of steps times the learning rate.
    """
    rates = flow.rates(log_policy)
    return np.asarray(rates[..., arms[0]] - rates[..., arms[1]])


def correctness_rate(flow: ExpectedFlow, log_policy: Floats) -> Floats:
    """The rate d logit Q/dt.

    Shapes:   log_policy: (..., num_arms). Returns (...).
    """
    return correctness_of(flow.rates(log_policy), log_policy, flow.problem.is_correct)


def correctness_of(rates: Floats, log_policy: Floats, is_right: NDArray[np.bool_]) -> Floats:
    """The rate d logit Q/dt that rates of the logits make.

    Shapes:   rates, log_policy: (..., num_arms). Returns (...).
    """
    inside = np.exp(policies.log_softmax(log_policy[..., is_right]))
    outside = np.exp(policies.log_softmax(log_policy[..., ~is_right]))
    return np.asarray((inside * rates[..., is_right]).sum(axis=-1) - (outside * rates[..., ~is_right]).sum(axis=-1))


def path(
    flow: ExpectedFlow, log_policy: Floats, time: float, geometry: Geometry = "softmax"
) -> Iterator[tuple[float, Floats]]:
    """Times and policies along the flow, the start first and every step of SciPy's LSODA.

    The natural geometry moves logits by the pulls alone: the same rest points, reached exponentially fast. It stops
    early after `MAX_STEPS` steps, where it slides along a discontinuity, where a step fails, and as soon as an answer
    has a surprisal above 1e5, or above what the function takes.
    Shapes:   log_policy: (num_arms,). Yields (time, (num_arms,)).
    """
    move = flow.rates if geometry == "softmax" else flow.pulls

    def rate(_: float, logits: Floats) -> Floats:
        return move(policies.log_softmax(logits))

    solver = LSODA(rate, 0.0, np.array(log_policy), time, rtol=RELATIVE_TOLERANCE, atol=ABSOLUTE_TOLERANCE)
    times = [0.0]
    yield 0.0, policies.log_softmax(solver.y)
    deepest = -min(DEEPEST, flow.depth)
    while solver.status == "running" and len(times) <= MAX_STEPS and policies.log_softmax(solver.y).min() > deepest:
        solver.step()
        if not np.isfinite(solver.y).all():
            return
        times.append(solver.t)
        yield float(solver.t), policies.log_softmax(solver.y)
        if len(times) > STALLED_STEPS and times[-1] < (1 + STALLED_GROWTH) * times[-STALLED_STEPS]:
            break


def follow(flow: ExpectedFlow, log_policy: Floats, time: float, geometry: Geometry = "softmax") -> tuple[float, Floats]:
    """The policy after `time` along the flow, and the time that was reached: the end of its `path`.

    Shapes:   log_policy: (num_arms,). Returns (time, (num_arms,)).
    """
    *_, last = path(flow, log_policy, time, geometry)
    return last
