"""Hostile completions of Countdown problems: the verifier against an independent, slow judge.

    python -m benchmarks.fuzz [--completions 1000000] [--seed 0]

One line a kind of completion: how many, how many are well-formed and correct, disagreements with the judge, exceptions,
completions that take more than 10 ms, and CPU time of this thread in the verifier, with the collector of cyclic garbage
off (its pauses belong to the whole program). Exit status 1, and the offending completions, where there is any
disagreement, exception or slow completion.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks.fuzz_completions import Case, completions
from benchmarks.fuzz_judge import judge
from sharpening.llm.countdown.verifier import verify
from sharpening.llm.tasks import Mark

MOST_SECONDS = 0.010  # per completion
FAULTS = ("disagreement", "exception", "slow")
SHOWN = 300  # characters of an offending completion
MOST_SHOWN = 20

Verifier = Callable[..., Mark]


class Call(NamedTuple):
    """What one call of the verifier gave; `fault` is one of FAULTS or ""."""

    mark: Mark
    seconds: float
    fault: str
    detail: str


@dataclass
class Tally:
    """What many calls gave."""

    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    worst: float = 0.0

    def add(self, call: Call) -> None:
        """Counts one call."""
        self.counts.update(["number", call.fault])
        self.counts.update(well_formed=call.mark.well_formed, correct=int(call.mark.correct == 1))
        self.seconds += call.seconds
        self.worst = max(self.worst, call.seconds)


def examined(case: Case, verifier: Verifier = verify) -> Call:
    """Marks one completion, times that, and compares it with the judge."""
    numbers, target, notation, operators, _ = case.puzzle
    problem = ""
    gc.disable()
    begin = time.thread_time()
    try:
        mark = verifier(case.text, numbers, target, notation=notation, operators=operators)
    except Exception as error:
        mark, problem = Mark(float("nan"), False, "", ""), repr(error)
    seconds = time.thread_time() - begin
    gc.enable()
    if problem:
        return Call(mark, seconds, "exception", problem)
    is_correct, is_well_formed = judge(case.text, numbers, target, notation, operators)
    if (mark.correct, mark.well_formed) != (is_correct, is_well_formed):
        judged = "correct" if is_correct else "well-formed" if is_well_formed else "ill-formed"
        return Call(mark, seconds, "disagreement", f"{mark.reason or 'correct'}, judged {judged}")
    if seconds > MOST_SECONDS:
        return Call(mark, seconds, "slow", f"{1e3 * seconds:.1f} ms")
    return Call(mark, seconds, "", "")


def tallies(cases: Iterable[Case], verifier: Verifier = verify) -> tuple[dict[str, Tally], list[str]]:
    """The calls by kind and of "all", and one line for each of the first offences."""
    found: defaultdict[str, Tally] = defaultdict(Tally)
    offences: list[str] = []
    for case in cases:
        call = examined(case, verifier)
        found[case.kind].add(call)
        found["all"].add(call)
        if call.fault and len(offences) < MOST_SHOWN:
            shown = f"{case.text[:SHOWN]!r}, {len(case.text)} characters, {case.puzzle}"
            offences.append(f"{case.kind}: {call.fault}: {call.detail}: {shown}")
    return found, offences


def main(words: Sequence[str] | None = None) -> int:
    """Prints the table and the offences; 1 if there is any."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--completions", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    cases = islice(completions(np.random.default_rng(given.seed)), given.completions)
    found, offences = tallies(tqdm(cases, total=given.completions, mininterval=10))
    columns = ("number", "well_formed", "correct", *FAULTS)
    print(("{:<9}" + "{:>13}" * 8).format("kind", *columns, "mean us", "worst ms"))
    for kind, tally in sorted(found.items(), key=lambda pair: (pair[0] == "all", pair[0])):
        times = (f"{1e6 * tally.seconds / tally.counts['number']:.1f}", f"{1e3 * tally.worst:.2f}")
        print(("{:<9}" + "{:>13}" * 8).format(kind, *(tally.counts[column] for column in columns), *times))
    for offence in offences:
        print(offence)
    return int(bool(offences))


if __name__ == "__main__":
    sys.exit(main())
