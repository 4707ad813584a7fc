"""What any group-level advantage function does: one verdict per property, with the smallest counterexample found.

`diagnose` is given the function and its parameters and never a name: a renamed copy gets the same verdicts. The flow
is exact, on the shown policy (.3, .1 | .4, .2) of two correct and two wrong answers unless said, with that policy as
base. "undecided" and "not applicable" are verdicts.

Left out: sampling noise, momentum, clipping, shared parameters between prompts (claim E1's curve is among the
numbers of the class of B4), answers of several tokens.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.theory.diagnosis import flow as diagnosis_flow
from sharpening.theory.diagnosis import properties as diagnosis_properties
from sharpening.theory.diagnosis import subject as diagnosis_subject
from sharpening.theory.diagnosis.subject import Subject, Verdict
from sharpening.theory.groups.expected_flow import ROUND_OFF, ExpectedFlow, Function, WrongShapeError
from sharpening.theory.methods import table, user_functions

SHOWN = diagnosis_subject.SHOWN
MEAN_ROUNDINGS = 8  # units in the last place of a mean advantage, where those of single ones are coarser than double


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """All verdicts about one advantage function, and the line that sums them up."""

    headline: str
    verdicts: tuple[Verdict, ...]
    parameters: Mapping[str, Any]
    strengths: tuple[str, ...]
    group_size: int

    def __getitem__(self, name: str) -> Verdict:
        """The verdict about a property."""
        return next(verdict for verdict in self.verdicts if verdict.property == name)


def diagnose(
    function: Function,
    parameters: Mapping[str, Any] | None = None,
    *,
    group_size: int = 8,
    kl_strength: float = 0.0,
    as_tensor: Callable[[Any], Any] | None = None,
    seed: int = 0,
) -> Diagnosis:
    """The verdicts about an advantage function.

    Shapes:   function takes keyword arguments (num_groups, group_size) out of the inputs of a method that its
              signature names, and its parameters; it returns that shape. `as_tensor` makes a tensor of a NumPy array
              where torch is installed.
    Requires: a function that accepts groups of `group_size`.      Raises ValueError otherwise, with what it raised.
    """
    values = {**own_defaults(function), **(parameters or {})}
    subject = Subject(function, values, least_group_size(function, values, group_size), seed, group_size)
    rng = np.random.default_rng(seed)
    strengths = diagnosis_properties.strengths_of(subject, rng)
    found = diagnosis_properties.structure(subject, as_tensor, strengths, rng)
    flow = flow_of(subject, found, kl_strength)
    if flow is None:
        moved = diagnosis_flow.undecided("the expected step needs groups that are apart, and calls that agree")
    else:
        moved = diagnosis_flow.motions(flow, subject.least_group_size, strengths, rng)
    words = {verdict.property: verdict for verdict in moved}
    end = words["end"].verdict.split(" (a correct answer that starts")[0]
    return Diagnosis(f"{words['correct set'].verdict}, ends {end}", (*found, *moved), values, strengths, group_size)


def flow_of(subject: Subject, structure: Sequence[Verdict], kl_strength: float = 0.0) -> ExpectedFlow | None:
    """The exact flow of a function from its verdicts on single groups; None if groups of a batch are not apart."""
    found = {verdict.property: verdict for verdict in structure}
    if not found["each group on its own"].is_unbroken:
        return None
    return ExpectedFlow(
        subject.function,
        SHOWN,
        subject.parameters,
        subject.sizes[-2],
        is_ordered=not found["permutes with the group"].is_unbroken,
        kl_strength=kl_strength,
        round_off=ROUND_OFF if subject.is_double else MEAN_ROUNDINGS * subject.epsilon,
    )


def own_defaults(function: Function) -> dict[str, Any]:
    """The parameters of a function that are no input, with their defaults."""
    return {
        name: argument.default
        for name, argument in inspect.signature(function).parameters.items()
        if name not in table.INPUTS and argument.default is not argument.empty
    }


def least_group_size(function: Function, parameters: Mapping[str, Any], largest: int) -> int:
    """The smallest group that a function is for: it takes it, and gives finite advantages in some of them.

    Raises:   ValueError with what the function raised, and where, if there is none up to `largest`.
    """
    refusal: Exception = ValueError("no advantage is finite")
    for size in range(1, largest + 1):
        inputs = diagnosis_subject.drawn(np.random.default_rng(0), size)
        try:
            if np.isfinite(Subject(function, parameters, size)(inputs)).all(axis=1).any():
                return size
        except Exception as error:  # whatever the user's function raises is its answer
            refusal = error
            if _takes_some(Subject(function, parameters, size), inputs):
                return size
    why = user_functions.failure(function, refusal)
    if isinstance(refusal, WrongShapeError):
        why = f"its result has the {refusal}"
    sizes = f"groups of 1 to {largest} samples"
    if isinstance(refusal, ValueError):  # the word for a value that is not taken, which a size may be
        raise ValueError(f"it refuses {sizes}: {why}: want a larger group_size if that is what it asks for")
    raise ValueError(f"it raises {why}: a fault of the function, in {sizes} alike")


def _takes_some(subject: Subject, inputs: diagnosis_subject.Inputs) -> bool:
    """Whether some groups give finite advantages where all together raise."""
    for place in range(len(inputs["reward"])):
        try:
            if np.isfinite(subject(diagnosis_subject.rows(inputs, [place]))).all():
                return True
        except Exception:
            continue
    return False


def report_lines(diagnosis: Diagnosis) -> list[dict[str, str]]:
    """The verdicts as rows of text: property, verdict, detail, counterexample (JSON, empty if there is none)."""
    return [
        {
            "property": verdict.property,
            "verdict": verdict.verdict,
            "detail": verdict.detail,
            "counterexample": json.dumps(verdict.counterexample) if verdict.counterexample else "",
        }
        for verdict in diagnosis.verdicts
    ]


def summary(diagnosis: Diagnosis) -> dict[str, str]:
    """One cell for each property, for a table of methods."""
    return {verdict.property: verdict.verdict for verdict in diagnosis.verdicts}


def as_data(diagnosis: Diagnosis) -> dict[str, Any]:
    """The diagnosis as plain data that JSON can hold."""
    return {
        "headline": diagnosis.headline,
        "parameters": dict(diagnosis.parameters),
        "strengths": list(diagnosis.strengths),
        "group_size": diagnosis.group_size,
        "verdicts": [
            {**dataclasses.asdict(verdict), "numbers": dict(verdict.numbers)} for verdict in diagnosis.verdicts
        ],
    }
