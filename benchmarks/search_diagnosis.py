"""A search for errors of check-shaper: functions made by chance, the truth by listing ordered groups.

    python -m benchmarks.search_diagnosis [--structure 20000] [--motion 2000] [--whole 300] [--seed 0] [--first 0]

(a) structural properties at group sizes 2 to 8; (b) signs of the exact motion at group sizes 2 to 5; (c) whole
diagnoses, and those of tests/data/nasty_shapers.py in groups of 8. A verdict is wrong if listing contradicts it: a
property said to be unbroken that is broken, one said to be broken whose counterexample is none, a sign that is another.
Prints a table a part and a line for each wrong one, from whose number `--only` makes it again. Ctrl-C ends a part with
the table of what was tried; `--first` goes on from a number. Exit status 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import search_truth, search_verdicts, search_whole
from benchmarks.search_functions import KINDS, LISTED, MOVING, Case, case

PARTS = ("structure", "motion", "whole")
SIZES = {"structure": (2, 3, 4, 4, 5, 5, 6, 8), "motion": (2, 3, 4, 5), "whole": (2, 3, 4)}
NUM_POLICIES, NUM_Q, NUM_ANYWHERE = 8, 120, 60
OF_A_GROUP = ("finite", "permutes", "ordered", "length")  # properties whose counterexample is one group


class Judged(NamedTuple):
    """What was found about one verdict: its property, "right", "wrong", "undecided" or "open", and why."""

    property: str
    outcome: str
    why: str = ""


def drawn(part: str, index: int, seed: int) -> Case:
    """The function of a number: the kinds in turn."""
    rng = np.random.default_rng([seed, PARTS.index(part), index])
    kinds = MOVING if part == "motion" else KINDS
    return case(rng, kinds[index % len(kinds)], int(rng.choice(SIZES[part])))


def judged(name: str, said: search_verdicts.Said, truth: bool | None, is_shown: Callable[[], bool]) -> Judged:
    """Compares a state with the truth; `is_shown` says whether the counterexample is one."""
    if said.state == "undecided":
        return Judged(name, "open" if truth is None else "undecided", str(said.example)[:200])
    if said.state == "unbroken":
        return Judged(name, "wrong" if truth is False else "right", "unbroken, but it is broken")
    if truth is True and not is_shown():
        return Judged(name, "wrong", f"broken, but it holds: {dict(said.example)}"[:300])
    return Judged(name, "right")


def of_structure(one: Case, seed: int) -> tuple[list[Judged], float]:
    """The verdicts on single groups, judged, and the seconds of the diagnosis."""
    begin = time.process_time()
    said = search_verdicts.structure(one.function, one.group_size)
    seconds = time.process_time() - begin
    truth = search_truth.structure(one.function, one.group_size, one.precision, seed)
    least = search_truth.least_size(one.function, one.group_size)
    found = [_least(said["least"], least)]
    for name, state in said.items():
        if name in truth:
            example = state.example

            def is_shown(name: str = name, example: Any = example) -> bool:
                is_group = name in OF_A_GROUP and "reward" in example
                return is_group and search_truth.breaks(name, one.function, example, one.precision)

            found.append(judged(name, state, truth[name], is_shown))
    if "class" in said and one.group_size <= 5 and all(truth.get(name) for name in ("finite", "repeats", "apart")):
        policy = said["class"].example.get("policy", ())
        is_inside = search_truth.is_of_the_class(one.function, one.group_size, one.precision, seed, policy)
        found.append(judged("class", said["class"], is_inside, lambda: False))
    return found, seconds


def _least(said: search_verdicts.Said, least: int | None) -> Judged:
    if least is None or said.state == "undecided":
        is_right = least is None and said.state == "undecided"
        return Judged("least", "right" if is_right else "wrong", f"least {said}, but it is {least}")
    return Judged("least", "right" if int(said.state) == least else "wrong", f"least {said.state}, but it is {least}")


def of_motion(one: Case, seed: int) -> tuple[list[Judged], float]:
    """The signs of motion, judged; a function without a motion (not finite, groups not apart) is passed over."""
    rng = np.random.default_rng(seed)
    inside = np.sort(rng.dirichlet(np.ones(4), NUM_POLICIES) * 0.98 + 0.005, axis=1)[:, [3, 0, 2, 1]]
    at = np.concatenate([search_truth.SHOWN[None], inside])
    try:
        truth = search_truth.motion(one.function, one.group_size, at, one.precision)
    except ValueError:
        return [], 0.0
    begin = time.process_time()
    try:
        claims = search_verdicts.claims(one.function, one.group_size, at)
    except Exception as error:
        return [Judged("motion", "undecided", f"raises {type(error).__name__}: {error}")], time.process_time() - begin
    seconds = time.process_time() - begin
    found = [
        _signs("direction", claims.sharpening, truth[0], at),
        _signs("correctness", claims.correctness, truth[1], at),
    ]
    mass = rng.uniform(0.01, 0.99, NUM_Q)
    share = search_verdicts.TOP_SHARE
    line = np.column_stack([mass * share, mass * (1 - share), (1 - mass) * 2 / 3, (1 - mass) / 3])
    want = search_truth.motion(one.function, one.group_size, line, one.precision)[0]
    signs = np.array([claims.first_sign * (-1) ** sum(turn < value for turn in claims.turns) for value in mass])
    found.append(_signs("turning point", signs, want, line))
    if claims.everywhere is not None:
        anywhere = rng.dirichlet(np.full(4, 0.7), NUM_ANYWHERE) * 0.996 + 0.001
        want = search_truth.motion(one.function, one.group_size, anywhere, one.precision)[1]
        against = claims.everywhere * np.nan_to_num(want) < 0
        why = f"{claims.everywhere:+g} everywhere, but not at {anywhere[against][:1].round(4).tolist()}"
        found.append(Judged("everywhere", "wrong" if against.any() else "right", why))
    return found, seconds


def _signs(name: str, said: Any, truth: Any, at: Any) -> Judged:
    known = ~np.isnan(truth)
    off = known & (np.nan_to_num(truth) != said)
    if not off.any():
        return Judged(name, "right")
    place = int(np.flatnonzero(off)[0])
    return Judged(name, "wrong", f"{said[place]:+g} said, {truth[place]:+g} true at {at[place].round(4).tolist()}")


OF_PART = {"structure": of_structure, "motion": of_motion, "whole": search_whole.of_whole}


def searched(part: str, indices: Sequence[int], seed: int) -> Iterator[tuple[int, Case, list[Judged], float]]:
    """The judged verdicts about each function of a part."""
    for index in indices:
        one = drawn(part, index, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, seconds = OF_PART[part](one, index)
        yield index, one, [Judged(*each) for each in found], seconds


class Tally:
    """Counts of functions and verdicts by kind."""

    def __init__(self) -> None:
        """Nothing counted."""
        self.functions: Counter[str] = Counter()
        self.verdicts: Counter[tuple[str, str]] = Counter()
        self.wrong: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.lines: list[str] = []

    def add(self, label: str, kind: str, words: str, found: Sequence[Judged], seconds: float) -> None:
        """Counts one function."""
        self.functions[kind] += 1
        self.seconds.append(seconds)
        for one in found:
            self.verdicts[kind, one.outcome] += 1
            if one.outcome in ("wrong", "undecided"):
                self.lines.append(f"{label} {one.outcome}: {kind}: {one.property}: {one.why}: {words}")
        self.wrong[kind] += any(one.outcome == "wrong" for one in found)
        self.open[kind] += any(one.outcome == "undecided" for one in found)

    def print(self, part: str, shown: int) -> None:
        """The table by kind and the lines of what is wrong."""
        print(f"\n{part}: {sum(self.functions.values())} functions")
        print(f"{'kind':<14}{'functions':>10}{'verdicts':>10}{'wrong':>7}{'undecided':>11}{'functions wrong':>17}")
        for kind in (*self.functions, "all"):
            kinds = list(self.functions) if kind == "all" else [kind]
            right, wrong, is_open = (
                sum(self.verdicts[each, outcome] for each in kinds) for outcome in ("right", "wrong", "undecided")
            )
            bad = sum(self.wrong[each] for each in kinds)
            number = sum(self.functions[each] for each in kinds)
            print(f"{kind:<14}{number:>10}{right + wrong + is_open:>10}{wrong:>7}{is_open:>11}{bad:>17}")
        undecided = sum(self.open.values()) / max(1, sum(self.functions.values()))
        print(f"functions with an undecided verdict: {100 * undecided:.1f}%")
        seconds = np.array(self.seconds or [0.0])
        print(f"seconds of the diagnosis: mean {seconds.mean():.3f}, largest {seconds.max():.3f}")
        for line in self.lines[:shown]:
            print(line)


def main(words: Sequence[str] | None = None) -> int:
    """Prints a table a part; 1 if anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for part, number in (("structure", 20_000), ("motion", 2_000), ("whole", 300)):
        parser.add_argument(f"--{part}", type=int, default=number)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first function of each part")
    parser.add_argument("--only", nargs=2, metavar=("PART", "NUMBER"), help="one function again")
    parser.add_argument("--shown", type=int, default=60, help="lines of wrong and undecided verdicts")
    given = parser.parse_args(words)
    is_wrong = False
    for part in PARTS:
        indices: Sequence[int] = range(given.first, vars(given)[part])
        if given.only:
            indices = [int(given.only[1])] if given.only[0] == part else []
        tally = Tally()
        todo = searched(part, indices, given.seed)
        with contextlib.suppress(KeyboardInterrupt):
            for index, one, found, seconds in tqdm(todo, total=len(indices), mininterval=10):
                tally.add(f"{part} {index}", one.kind, f"G = {one.group_size}: {one.recipe}", found, seconds)
        if part == "whole" and not given.only and indices:
            for name, found, seconds in search_whole.of_nasty():
                tally.add(name, "nasty", name, [Judged(*each) for each in found], seconds)
        if indices:
            tally.print(part, given.shown)
            missed = [kind for kind in LISTED if tally.wrong[kind]]
            print(f"of the {len(LISTED)} kinds listed, wrong verdicts on {len(missed)}: {', '.join(missed) or 'none'}")
        is_wrong = is_wrong or bool(sum(tally.wrong.values()))
    return int(is_wrong)


if __name__ == "__main__":
    sys.exit(main())
