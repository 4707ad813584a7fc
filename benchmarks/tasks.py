"""Speed of the Countdown solver and verifier, beside plain references in the same run.

    python -m benchmarks.tasks [--problems 2000]

The reference of the solver is a recursion over Fractions that lists every expression of four numbers and keeps the
correct texts; it merges no classes. That of the verifier is Python's own parser and a walk over its tree in Fractions.
Six numbers run in a process of their own, for the peak memory.
"""

from __future__ import annotations

import argparse
import ast
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sharpening.llm.countdown import formats, solver, verifier
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.problems import Problem, Settings

ROOT = Path(__file__).resolve().parent.parent
OPERATORS = "+-*/"
NUM_REFERENCE = 10  # problems that a reference solves
SIX = """
from sharpening.llm.countdown import solver
from sharpening.llm.countdown.problems import Problem
problem = Problem({numbers}, {target})
print(solver.num_canonical_solutions([problem])[0], solver.num_raw_solutions(problem))
"""
NODES = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/"}
SIX_NUMBERS = {"different": ((3, 7, 25, 50, 75, 100), 952), "all equal": ((1,) * 6, 1)}


def applied(operator: str, left: Fraction, right: Fraction) -> Fraction:
    """The exact value of an operator between two."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


def listed(numbers: tuple[int, ...]) -> Iterator[tuple[str, Fraction]]:
    """Every postfix expression of the numbers that is defined, and its value."""
    if len(numbers) == 1:
        yield str(numbers[0]), Fraction(numbers[0])
    for places in range(1, (1 << len(numbers)) - 1):
        left = tuple(number for place, number in enumerate(numbers) if places >> place & 1)
        right = tuple(number for place, number in enumerate(numbers) if not places >> place & 1)
        rights = list(listed(right))
        for first, a in listed(left):
            for second, b in rights:
                for operator in OPERATORS:
                    if operator != "/" or b:
                        yield f"{first} {second} {operator}", applied(operator, a, b)


def solved(problems: list[Problem]) -> list[int]:
    """The number of correct texts of each problem, by the reference."""
    return [len({text for text, value in listed(each.numbers) if value == each.target}) for each in problems]


def walked(node: Any) -> Fraction:
    """The value of a parsed expression."""
    if isinstance(node, ast.BinOp):
        return applied(NODES[type(node.op)], walked(node.left), walked(node.right))
    return Fraction(node.value)


def parsed(answers: list[tuple[str, Problem]]) -> list[bool]:
    """Whether each expression has the target as its value, by the reference, which checks nothing else."""
    return [walked(ast.parse(text, mode="eval").body) == problem.target for text, problem in answers]


def verified(answers: list[tuple[str, Problem]]) -> list[float]:
    """Marks of infix answers."""
    return [
        verifier.verify(text, problem.numbers, problem.target, notation="infix").correct for text, problem in answers
    ]


def rate(function: Callable[[Any], Any], items: Any, count: int) -> float:
    """How many of `count` things a second the function does, best of three."""
    seconds = []
    for _ in range(3):
        before = time.perf_counter()
        function(items)
        seconds.append(time.perf_counter() - before)
    return count / min(seconds)


def six_numbers(numbers: tuple[int, ...], target: int) -> tuple[str, float, float]:
    """Counts, canonical and raw, with seconds and peak memory in GB of a process that starts, counts and ends."""
    before = time.perf_counter()
    program = SIX.format(numbers=numbers, target=target)
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        counts = child.stdout.read().strip()
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit("six numbers: the process failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return counts, time.perf_counter() - before, usage.ru_maxrss * unit / 1e9


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=2000)
    num_problems = parser.parse_args().problems
    settings = Settings(operators=OPERATORS)
    problems = countdown.distinct(settings, np.random.default_rng(0), num_problems)
    few = problems[:NUM_REFERENCE]
    numbers = np.array([problem.numbers for problem in problems[:256]])
    pairs = [(text, problem) for problem in problems[:100] for text in solver.raw_solutions(problem)]
    answers = [(formats.infix(text), problem) for text, problem in pairs]

    print(f"{'':44}{'per second':>12}{'reference':>12}{'ratio':>8}")
    plain = rate(solved, few, len(few))
    rows = [
        ("solver: canonical counts, 4 numbers", rate(solver.num_canonical_solutions, problems, num_problems)),
        ("solver: values of templates, 4 numbers + - * /", rate(solver.values, numbers, len(numbers))),
    ]
    for name, own in rows:
        print(f"{name:44}{own:12.0f}{plain:12.1f}{own / plain:8.0f}")
    own, plain = rate(verified, answers, len(answers)), rate(parsed, answers, len(answers))
    print(f"{'verifier: infix completions':44}{own:12.0f}{plain:12.0f}{own / plain:8.2f}")
    drawing = rate(partial(countdown.distinct, settings, np.random.default_rng(0)), num_problems, num_problems)
    print(f"{'generator: distinct problems':44}{drawing:12.0f}")
    for name, (shown, target) in SIX_NUMBERS.items():
        counts, seconds, peak = six_numbers(shown, target)
        print(f"six numbers, {name}: canonical and raw {counts}: {seconds:.2f} s with start-up, peak {peak:.2f} GB")


if __name__ == "__main__":
    main()
