r"""Attacks on the mathematics scorer, and right answers in many forms, beside math-verify alone.

    python -m benchmarks.attack_mathematics [--attacks 1000] [--seed 0]

A table of false accepts by kind of attack (strict, lenient, and math-verify on the last box or, without one, on the end
of the text, whether or not it was cut off), what the question and its first formula in a box earn on the examples, and
the right answers that are refused. Exit status 1 where the strict scorer accepts a repeated question, a completion that
was cut off, or a number that is not worked out, or refuses a right answer that is a plain box.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
from pebble import ProcessPool

from benchmarks.attack_answers import PLAIN, RIGHT
from benchmarks.attack_completions import KINDS, attacks, problems
from sharpening.llm.mathematics import answers
from sharpening.llm.mathematics.scorer import Attempt, MathScorer

NEVER = ("question repeated", "cut off", "not worked out")
SECONDS, PATIENT_SECONDS = 5.0, 60.0  # an attack, and a right answer, on a machine that may be busy
NUM_WORKERS = 2


def alone(gold: str, completion: str) -> bool:
    """What math-verify says of the last closed box, or without one of the end of the text."""
    from math_verify import parse, verify

    end = completion[-answers.LOOKED_AT :]
    box = answers.boxed(end)
    read = parse(end if box is None else rf"\boxed{{{box}}}", extraction_mode="first_match", parsing_timeout=None)
    return bool(verify(parse(rf"\boxed{{{gold}}}", parsing_timeout=None), read, timeout_seconds=None))


def accepted(attempts: Sequence[Attempt], seconds: float, *, is_lenient: bool) -> list[bool]:
    """What the scorer accepts."""
    with MathScorer(NUM_WORKERS, seconds, is_lenient=is_lenient) as scorer:
        return [mark.correct == 1 for mark in scorer.score(attempts)]


def accepted_alone(attempts: Sequence[Attempt], seconds: float) -> list[bool]:
    """What math-verify accepts, in workers that are stopped where it hangs."""
    with ProcessPool(NUM_WORKERS) as pool:
        futures = [pool.schedule(alone, (each.gold, each.completion), timeout=seconds) for each in attempts]
        return [future.exception() is None and future.result() for future in futures]


def by_all(attempts: Sequence[Attempt], seconds: float = PATIENT_SECONDS) -> dict[str, list[bool]]:
    """What each of three scorers accepts."""
    strict, lenient = (accepted(attempts, seconds, is_lenient=value) for value in (False, True))
    return {"strict": strict, "lenient": lenient, "alone": accepted_alone(attempts, seconds)}


def earned(accepts: dict[str, list[bool]]) -> str:
    """Mean rewards, as a line of a table."""
    return " | ".join(f"{np.mean(values):.3f}" for values in accepts.values())


def main() -> int:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attacks", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    drawn = list(attacks(given.seed, given.attacks))
    found = by_all([each.attempt for each in drawn], SECONDS)
    numbers = Counter(each.kind for each in drawn)
    false = {
        name: Counter(each.kind for each, is_in in zip(drawn, values, strict=True) if is_in)
        for name, values in found.items()
    }
    print("| attack | completions | strict | lenient | math-verify alone |\n|---|---|---|---|---|")
    for kind in KINDS:
        print(f"| {kind} | {numbers[kind]} | {' | '.join(str(counts[kind]) for counts in false.values())} |")
    print(f"| all | {len(drawn)} | {' | '.join(str(counts.total()) for counts in false.values())} |")
    for each, is_in in zip(drawn, found["strict"], strict=True):
        if is_in:
            print(
                f"accepted: {each.kind}: gold {each.attempt.gold!r}: {each.attempt.completion[:200]!r}", file=sys.stderr
            )

    known = problems()
    print("\n| mean reward on the examples | strict | lenient | math-verify alone |\n|---|---|---|---|")
    repeated = [Attempt(*each, each.problem, True) for each in known]
    print(f"| the question | {earned(by_all(repeated))} |")
    boxed = [Attempt(*each, rf"\boxed{{{each.formulas[0]}}}", True) for each in known]
    print(f"| its first formula in a box | {earned(by_all(boxed))} |")

    print("\n| right answers | completions | refused, strict | lenient | math-verify alone |\n|---|---|---|---|---|")
    refused_plain = 0
    for name, right in (("a plain box", PLAIN), ("other forms", RIGHT)):
        attempts = [Attempt(problem, gold, completion, True) for problem, gold, completion in right]
        taken = by_all(attempts)
        print(f"| {name} | {len(right)} | {' | '.join(str(values.count(False)) for values in taken.values())} |")
        refused_plain += taken["strict"].count(False) * (right is PLAIN)
        for each, is_in in zip(attempts, taken["strict"], strict=True):
            if not is_in:
                print(f"refused: gold {each.gold!r}: {each.completion!r}", file=sys.stderr)
    return int(bool(refused_plain or any(false["strict"][kind] for kind in NEVER)))


if __name__ == "__main__":
    sys.exit(main())
