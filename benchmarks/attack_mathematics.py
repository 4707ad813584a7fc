r"""Attacks on the mathematics scorer, and right answers in many forms, beside math-verify alone.

    python -m benchmarks.attack_mathematics [--attacks 1000] [--seed 0]

A table of false accepts by kind of attack (strict, lenient, and math-verify on the last box or, without one, on the end
of the text, whether or not it was cut off), what the question and its first formula in a box earn on the examples, and
the right answers that are refused. Then the same of the cases by two readers who had not read the scorer: one wrote
after it was frozen (benchmarks/attack_second_reader.py), one after it was fixed (benchmarks/attack_third_reader.py).
Exit status 1 where the strict scorer accepts a repeated question, a completion that was cut off, or a number that is
not worked out, or refuses a right answer that is a plain box.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from math_verify import parse, verify
from pebble import ProcessPool

from benchmarks import attack_answers, attack_second_answers, attack_second_reader, attack_third_reader
from benchmarks.attack_completions import attacks, problems
from sharpening.llm.mathematics import answers
from sharpening.llm.mathematics.scorer import Attempt, MathScorer

NEVER = ("question repeated", "cut off", "not worked out")
Right = Sequence[tuple[str, str, str]]  # problem, gold answer, completion
READERS = (  # title, attacks, right answers in plain boxes, in other forms
    (
        "By a second reader, after the scorer was frozen:",
        attack_second_reader.attacks,
        attack_second_answers.PLAIN,
        attack_second_answers.RIGHT,
    ),
    (
        "By a third reader, after the fixes:",
        attack_third_reader.attacks,
        attack_third_reader.PLAIN,
        attack_third_reader.RIGHT,
    ),
)
SECONDS = 20.0  # an answer, on a machine that may be busy
NUM_WORKERS = 2


def alone(gold: str, completion: str) -> float:
    """What math-verify says of the last closed box, or without one of the end of the text."""
    end = completion[-answers.LOOKED_AT :]
    box = answers.boxed(end)
    read = parse(end if box is None else rf"\boxed{{{box}}}", extraction_mode="first_match", parsing_timeout=None)
    return float(verify(parse(rf"\boxed{{{gold}}}", parsing_timeout=None), read, timeout_seconds=None))


def marks(attempts: Sequence[Attempt]) -> dict[str, np.ndarray]:
    """1, 0, or NaN where it took too long, by the strict scorer, the lenient one and math-verify alone."""
    found = {}
    for name in ("strict", "lenient"):
        with MathScorer(NUM_WORKERS, SECONDS, is_lenient=name == "lenient") as scorer:
            found[name] = np.array([mark.correct for mark in scorer.score(attempts)])
    with ProcessPool(NUM_WORKERS) as pool:
        futures = [pool.schedule(alone, (each.gold, each.completion), timeout=SECONDS) for each in attempts]
        found["alone"] = np.array([math.nan if future.exception() else future.result() for future in futures])
    return found


def line(name: str, *values: object) -> str:
    """A line of a table."""
    return f"| {' | '.join(map(str, (name, *values)))} |"


def attack_table(drawn: Sequence[tuple[str, Attempt]]) -> tuple[str, bool]:
    """False accepts by kind, and whether any is of a kind that is never to be accepted."""
    kinds = np.array([kind for kind, _ in drawn])
    found = marks([attempt for _, attempt in drawn])
    for (kind, attempt), mark in zip(drawn, found["strict"], strict=True):
        if mark == 1:
            print(f"accepted: {kind}: {attempt.gold!r}: {attempt.completion[:200]!r}", file=sys.stderr)
    false = {name: Counter(kinds[values == 1].tolist()) for name, values in found.items()}
    unscorable = Counter(kinds[np.isnan(found["strict"])].tolist())
    rows = [
        line(kind, int((kinds == kind).sum()), *(counts[kind] for counts in false.values()), unscorable[kind])
        for kind in dict.fromkeys(kinds.tolist())
    ]
    rows += [line("all", len(drawn), *(counts.total() for counts in false.values()), unscorable.total())]
    head = (
        "| attack | completions | strict | lenient | math-verify alone | strict: too slow |\n|---|---|---|---|---|---|"
    )
    return "\n".join([head, *rows]), any(false["strict"][kind] for kind in NEVER)


def example_table() -> str:
    """What the question and its first formula in a box earn on average."""
    known = problems()
    repeated = marks([Attempt(*each, each.problem, True) for each in known])
    boxed = marks([Attempt(*each, rf"\boxed{{{each.formulas[0]}}}", True) for each in known])
    rows = [
        line(name, *(f"{np.nanmean(values):.3f}" for values in found.values()))
        for name, found in (("the question", repeated), ("its first formula in a box", boxed))
    ]
    return "\n".join(
        ["| mean reward on the examples | strict | lenient | math-verify alone |\n|---|---|---|---|", *rows]
    )


def right_table(plain: Right, other: Right) -> tuple[str, bool]:
    """Right answers that are refused, and whether any is a plain box."""
    rows, is_plain_refused = [], False
    for name, right in (("in a plain box", plain), ("in other forms", other)):
        found = marks([Attempt(problem, gold, completion, True) for problem, gold, completion in right])
        rows.append(line(name, len(right), *(int((values != 1).sum()) for values in found.values())))
        is_plain_refused |= right is plain and bool((found["strict"] != 1).any())
        for (_, gold, completion), mark in zip(right, found["strict"], strict=True):
            if mark != 1:
                print(f"refused: {gold!r}: {completion!r}", file=sys.stderr)
    head = "| right answers | completions | refused, strict | lenient | math-verify alone |\n|---|---|---|---|---|"
    return "\n".join([head, *rows]), is_plain_refused


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    right, is_refused = right_table(attack_answers.PLAIN, attack_answers.RIGHT)
    attack, is_accepted = attack_table([(each.kind, each.attempt) for each in attacks(given.seed, given.attacks)])
    print(attack, example_table(), right, sep="\n\n")
    failures = [is_refused, is_accepted]
    for title, made, plain, other in READERS:
        right, is_refused = right_table(plain, other)
        attack, is_accepted = attack_table([(kind, Attempt(*attempt)) for kind, *attempt in made()])
        print(f"\n{title}", attack, right, sep="\n\n")
        failures += [is_refused, is_accepted]
    return int(any(failures))


if __name__ == "__main__":
    sys.exit(main())
