"""What the diagnosis says of a function, in the words of the search: a state and a counterexample for each property.

A state is "unbroken", "broken" or "undecided"; `Claims` are signs of motion at policies and along Q.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from sharpening.theory import policies
from sharpening.theory.diagnosis import diagnose, motion, properties
from sharpening.theory.diagnosis.properties import Subject
from sharpening.theory.groups.expected_flow import ExpectedFlow

Function = Callable[..., Any]
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
    values = diagnose.own_defaults(function)
    try:
        least = diagnose.least_group_size(function, values, group_size)
    except ValueError as error:
        return {"least": Said("undecided", {"raised": str(error)})}
    subject = Subject(function, values, least, 0)
    apart = _tried(properties.keeps_groups_apart, subject)
    is_repeatable = "second call" not in apart.detail
    permutes = _tried(properties.permutes, subject)
    found = {
        "least": Said(str(least), {}),
        "finite": _said(_tried(properties.finite, subject)),
        "permutes": _said(permutes),
        "apart": _said(apart),
        "repeats": Said("unbroken" if is_repeatable else "broken", {}),
        "ordered": _said(_tried(properties.wrong_never_above_correct, subject)),
    }
    flow = flow_of(function, group_size, permutes.verdict != "holds")
    return found | {"class": _class(flow)}


def _tried(verdict_of: Callable[[Subject], properties.Verdict], subject: Subject) -> properties.Verdict:
    try:
        return verdict_of(subject)
    except Exception as error:
        return properties.Verdict("", "undecided", f"raises {error}", {"raised": str(error)})


def _said(verdict: properties.Verdict) -> Said:
    return Said(state_of(verdict), verdict.counterexample)


def state_of(verdict: properties.Verdict) -> str:
    """The state that a verdict about single groups stands for."""
    return {"holds": "unbroken", "fails": "broken"}.get(verdict.verdict, "undecided")


def _class(flow: ExpectedFlow) -> Said:
    try:
        outside = motion.outside_the_class(flow, np.random.default_rng(0))
    except Exception as error:
        return Said("undecided", {"raised": str(error)})
    return Said("unbroken", {}) if outside is None else Said("broken", {"policy": np.exp(outside[0]).tolist()})


def flow_of(function: Function, group_size: int, is_ordered: bool) -> ExpectedFlow:
    """The flow that the diagnosis looks at."""
    return ExpectedFlow(function, diagnose.SHOWN, diagnose.own_defaults(function), group_size, is_ordered)


def claims(function: Function, group_size: int, at: Any) -> Claims:
    """The signs of motion at policies (num_policies, 4), along Q, and whether correctness has one sign everywhere.

    Raises whatever the diagnosis would call undecided.
    """
    values = diagnose.own_defaults(function)
    least = diagnose.least_group_size(function, values, group_size)
    is_ordered = properties.permutes(Subject(function, values, least, 0)).verdict != "holds"
    flow = flow_of(function, group_size, is_ordered)
    log_policies = policies.log_softmax(np.log(at))
    (onset,) = motion.onsets(flow, (TOP_SHARE,))
    sign = float(np.sign(motion.correctness_rate(flow, diagnose.SHOWN.base_log_policy)))
    against = motion.lowers_correctness_at(flow, sign)
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
