"""What the diagnosis says of a function, in the words of the search: a state and a counterexample for each property.

A state is "unbroken", "broken" or "undecided"; `Claims` are signs of motion at policies and along Q.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sharpening.theory import policies
from sharpening.theory.diagnosis import diagnose, motion, properties
from sharpening.theory.diagnosis.subject import Subject, Verdict
from sharpening.theory.groups.expected_flow import ExpectedFlow

Function = Callable[..., Any]
WORDS = {
    "finite": "finite",
    "permutes": "permutes with the group",
    "apart": "each group on its own",
    "length": "same at any length",
    "ordered": "wrong never above correct",
}
TOP_SHARE = 0.75  # of the first correct answer, along which the turning point is read


class Said(NamedTuple):
    """The state of a property and the counterexample that goes with it."""

    state: str
    example: Mapping[str, Any]


class Claims(NamedTuple):
    """Signs that the diagnosis gives: at policies, along Q (sign, turns), and everywhere for correctness (or None)."""

    sharpening: Any
    correctness: Any
    first_sign: int
    turns: tuple[float, ...]
    everywhere: float | None


def structure(function: Function, group_size: int) -> dict[str, Said]:
    """The verdicts on single groups; the words of what is raised under "least" where no size is taken."""
    try:
        subject, found = _structure(function, group_size)
    except ValueError as error:
        return {"least": Said("undecided", {"raised": str(error)})}
    verdicts = {one.property: one for one in found}
    said = {name: Said(state_of(verdicts[words]), verdicts[words].counterexample) for name, words in WORDS.items()}
    is_repeatable = verdicts[WORDS["apart"]].detail != properties.REPEATABLE
    said |= {"least": Said(str(subject.least_group_size), {})}
    said |= {"repeats": Said("unbroken" if is_repeatable else "broken", {})}
    flow = diagnose.flow_of(subject, found)
    return said if flow is None else said | {"class": _class(flow)}


def _structure(function: Function, group_size: int) -> tuple[Subject, tuple[Verdict, ...]]:
    values = diagnose.own_defaults(function)
    least = diagnose.least_group_size(function, values, group_size)
    subject = Subject(function, values, least, 0, group_size)
    return subject, properties.structure(subject, None, (), np.random.default_rng(0))


def state_of(verdict: Verdict) -> str:
    """The state that a verdict about single groups stands for."""
    return "unbroken" if verdict.is_unbroken else {"fails": "broken"}.get(verdict.verdict, "undecided")


def _class(flow: ExpectedFlow) -> Said:
    try:
        outside = motion.outside_the_class(flow, np.random.default_rng(0))
    except Exception as error:
        return Said("undecided", {"raised": str(error)})
    return Said("unbroken", {}) if outside is None else Said("broken", {"policy": np.exp(outside.log_policy).tolist()})


def claims(function: Function, group_size: int, at: Any) -> Claims:
    """The signs of motion at policies (num_policies, 4), along Q, and whether correctness has one sign everywhere.

    Raises whatever the diagnosis would call undecided.
    """
    flow = diagnose.flow_of(*_structure(function, group_size))
    if flow is None:
        raise ValueError("groups are not apart")
    log_policies = policies.log_softmax(np.log(at))
    (onset,) = motion.onsets(flow, (TOP_SHARE,))
    sign = float(np.sign(motion.correctness_rate(flow, diagnose.SHOWN.base_log_policy)))
    against, _ = motion.lowers_correctness_at(flow, sign, np.random.default_rng(0))
    return Claims(
        np.sign(motion.sharpening_rate(flow, log_policies)),
        np.sign(motion.correctness_rate(flow, log_policies)),
        onset.sign,
        onset.turns,
        sign if against is None else None,
    )


def whole(function: Function, group_size: int) -> dict[str, Any]:
    """A whole diagnosis: verdict, numbers and counterexample of each property, and the headline."""
    found = diagnose.diagnose(function, group_size=group_size)
    return {"headline": found.headline} | {one.property: one for one in found.verdicts}
