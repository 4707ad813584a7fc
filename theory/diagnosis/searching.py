"""The search for a group that breaks a property: all drawn groups of every size at once, then one made small."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.theory.diagnosis import subject as diagnosis_subject
from sharpening.theory.diagnosis.subject import Breaks, Inputs, Subject, Tried, Verdict
from sharpening.theory.groups import expected_flow
from sharpening.theory.policies import Floats

Broken = Callable[[Tried, Floats], NDArray[np.bool_]]  # which of the groups tried at a size break a property


def numbers(sizes: Sequence[int]) -> str:
    """Group sizes in words.

    >>> numbers([2, 3, 4]), numbers([2, 4]), numbers([6])
    ('G = 2 to 4', 'G = 2, 4', 'G = 6')
    """
    if len(sizes) > 1 and list(sizes) == list(range(sizes[0], sizes[-1] + 1)):
        return f"G = {sizes[0]} to {sizes[-1]}"
    return f"G = {', '.join(map(str, sizes))}"


def unbroken(name: str, sizes: Sequence[int], num_groups: int, detail: str = "") -> Verdict:
    """The verdict where no group breaks the property."""
    return Verdict(name, f"no counterexample in {num_groups:,} groups at {numbers(sizes)}", detail)


def searched(name: str, subject: Subject, broken: Broken, breaks: Breaks) -> Verdict:
    """The verdict about a property of single groups: "fails" with the sizes and a small counterexample, or unbroken.

    `broken` is asked of all groups of a size at once, `breaks` of one group while it is made small.
    """
    failing: dict[int, dict[str, Any]] = {}
    sizes, num_groups = [], 0
    for each in subject.tried:
        if each.found is None:
            continue
        sizes.append(each.group_size)
        num_groups += len(each.found)
        is_broken = broken(each, each.found)
        if is_broken.any():
            failing[each.group_size] = diagnosis_subject.rows(each.inputs, [int(is_broken.argmax())])
    if not sizes:
        return Verdict(name, "undecided", "it gives no advantages")
    if not failing:
        return unbroken(name, sizes, num_groups)
    least = min(failing)
    group, words = diagnosis_subject.simplified(failing[least], _quietly(breaks), subject.least_group_size)
    words = words or "seen in a batch of groups, not in this one alone"
    return Verdict(name, "fails", f"{words}; at {numbers(list(failing))}", as_lists(subject, group))


def _quietly(breaks: Breaks) -> Breaks:
    """A group on which the function raises breaks nothing but `finite`."""

    def quiet(group: dict[str, Any]) -> str:
        try:
            return breaks(group)
        except Exception:
            return ""

    return quiet


def as_lists(subject: Subject, group: Inputs) -> dict[str, Any]:
    """The inputs of one group that the function names, as lists, and its advantages where there are any."""
    names = [name for name in expected_flow.named_inputs(subject.function) if name in group]
    shown: dict[str, Any] = {name: np.asarray(group[name])[0].tolist() for name in names}
    try:
        return shown | {"advantage": subject(group)[0].tolist()}
    except Exception:  # reported by the property itself
        return shown


def lowest(group: Mapping[str, Any]) -> float:
    """The lowest log-probability of a group, of the sampling or the base policy."""
    return float(min(group["log_prob"].min(), group["base_log_prob"].min()))


def depth(group: dict[str, Any], is_bad: Callable[[dict[str, Any]], Any], ordinary: float) -> float:
    """Where the log-probabilities of a bad group have to end for it not to be bad, by bisection; at most `ordinary`."""

    def ends_at(floor: float) -> Any:
        names = ("log_prob", "base_log_prob")
        return is_bad(group | {name: np.maximum(group[name], floor) for name in names})

    if ends_at(ordinary):
        return ordinary
    bad, good = lowest(group), ordinary
    while good - bad > 1:
        middle = (bad + good) / 2
        bad, good = (middle, good) if ends_at(middle) else (bad, middle)
    return bad
