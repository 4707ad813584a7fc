"""Whole diagnoses against the truth: direction, correctness, class and end, also of what fooled an earlier one."""

from __future__ import annotations

import inspect
import runpy
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import search_truth, search_verdicts
from benchmarks.search_functions import Case

Row = tuple[str, str, str]
NASTY = Path(__file__).resolve().parent.parent / "tests" / "data" / "nasty_shapers.py"
ENDS = {
    "uniform on C": ("uniform",),
    "one mode": ("1",),
    "rarest": ("2",),
    "correct": ("1", "2", "open"),
    "mixture": ("mixture", "uniform", "1", "2", "wrong", "open"),  # Q may be anything between 0 and 1 there
    "wrong": ("wrong",),
    "still": ("still",),
}


def of_whole(one: Case, seed: int) -> tuple[list[Row], float]:
    """The verdicts of a whole diagnosis of a generated function, judged."""
    return judged(one.function, one.group_size, one.precision, seed)


def judged(function: Callable[..., Any], group_size: int, precision: str, seed: int) -> tuple[list[Row], float]:
    """The verdicts of a whole diagnosis, judged, and its seconds."""
    begin = time.process_time()
    least = search_truth.least_size(function, group_size)
    try:
        said = search_verdicts.whole(function, group_size)
    except Exception as error:
        outcome = "right" if least is None and isinstance(error, ValueError) else "wrong"
        return [
            ("refusal", outcome, f"{type(error).__name__} {error}, least size {least}")
        ], time.process_time() - begin
    seconds = time.process_time() - begin
    truth = search_truth.structure(function, group_size, precision, seed)
    rows = list(_structure(function, precision, said, truth))
    if not all(truth.get(name) for name in ("repeats", "apart")):
        if truth.get("repeats") is False or truth.get("apart") is False:
            is_told = said["correct set"].verdict == "undecided"
            rows.append(("motion", "right" if is_told else "wrong", f"no motion, but {said['headline']}"))
        return rows, seconds
    try:
        signs = search_truth.motion(function, group_size, search_truth.SHOWN, precision)
    except ValueError:
        signs = (np.array([np.inf]), np.array([np.inf]))  # no motion in groups of this size
    for name, sign in (("correct set", signs[0]), ("correctness", signs[1])):
        rows.append(_direction(name, said[name], float(sign[0])))
    if np.isfinite(signs[0]).all():
        reached = search_truth.end(function, group_size) if group_size <= 4 else "open"
        rows.append(_end(said["end"], reached))
        is_inside = search_truth.is_of_the_class(function, group_size, precision, seed) if group_size <= 5 else None
        state = {"inside": True, "outside": False}.get(said["class of B4"].verdict)
        rows.append(_class(state, is_inside, said["class of B4"].verdict))
    return rows, seconds


def _structure(function: Any, precision: str, said: Any, truth: dict[str, bool | None]) -> Iterator[Row]:
    for name, words in search_verdicts.WORDS.items():
        if truth.get(name) is None:
            continue
        verdict = said[words]
        state = search_verdicts.state_of(verdict)
        if state == "undecided":
            yield words, "undecided", verdict.detail
        elif (state == "unbroken") == truth[name]:
            yield words, "right", ""
        else:
            is_shown = state == "broken" and "reward" in verdict.counterexample
            is_shown = is_shown and search_truth.breaks(name, function, verdict.counterexample, precision)
            yield words, "right" if is_shown else "wrong", f"{verdict.verdict}: {verdict.detail}"[:300]


def _direction(name: str, verdict: Any, sign: float) -> Row:
    """The sign of the rate at the shown policy; with none, the verdict has to be open."""
    if "rate" not in verdict.numbers:
        return name, "right" if np.isinf(sign) else "open" if np.isnan(sign) else "undecided", verdict.detail
    said = float(np.sign(verdict.numbers["rate"]))
    if np.isnan(sign):
        return name, "open", ""
    return name, "right" if said == sign else "wrong", f"{said:+g} said, {sign:+g} true at the shown policy"


def _end(verdict: Any, truth: str) -> Row:
    kind = str(verdict.numbers.get("kind", "undecided"))
    if kind == "undecided":
        return "end", "undecided", verdict.detail[:200]
    if truth == "open":
        return "end", "open", ""
    return "end", "right" if truth in ENDS[kind] else "wrong", f"{verdict.verdict}, integrated: {truth}"


def _class(state: bool | None, truth: bool | None, words: str) -> Row:
    if truth is None:
        return "class of B4", "open", ""
    if state is None:
        return "class of B4", "undecided", words
    return "class of B4", "right" if state is truth else "wrong", f"{words}, but inside is {truth}"


def of_nasty(group_size: int = 8) -> Iterator[tuple[str, list[Row], float]]:
    """The functions that fooled an earlier diagnosis, each and a renamed copy of it, in groups of 8."""
    functions = {name: value for name, value in runpy.run_path(str(NASTY)).items() if inspect.isfunction(value)}
    for name, function in functions.items():
        if function.__code__.co_filename == str(NASTY) and not name.startswith("_"):
            precision = "float32" if name.startswith("float32") else "float64"
            rows, seconds = judged(function, group_size, precision, 0)
            yield name, rows, seconds
