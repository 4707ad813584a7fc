"""Valid sample files for benchmarks/fuzz_formats.py: random problems, samples, marks and answers, as tools write them.

A document is what lies in a file before it is written: rows, or the one object of a JSON file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.fuzz_completions import Dice
from benchmarks.reference_values import Said


class Problem(NamedTuple):
    """A problem, the marks of its samples, their answers and the gold answer."""

    name: str | int
    marks: list[bool]
    answers: list[str]
    gold: str


class Document(NamedTuple):
    """What is in a file, how it is stored, what the user says about it, and what it holds in truth.

    `marks` names the fields that say which samples are correct, `others` the rest of those that a reader may use.
    """

    tool: str
    tree: Any
    container: str
    marks: tuple[str, ...]
    others: tuple[str, ...]
    problems: list[Problem]
    said: Said = Said()


NAMES: tuple[Callable[[int], str | int], ...] = (
    *(lambda place: place, lambda place: 7 * place + 3, lambda place: f"p{place}", lambda place: f"HumanEval/{place}"),
    *(
        lambda place: f"Wie groß ist ½ · {place}, \u2028 wenn „x“ = {place}? 👩‍🔬",
        lambda place: f"What is {place} + 1?\nSay why.",
    ),
    *(lambda place: f'a, "b" {place}', lambda place: f"{place}.0", lambda place: f"problem {place} " + "x" * 300),
)


def drawn_problems(dice: Dice, *, is_text: bool = False, least: int = 1) -> list[Problem]:
    """A few problems with samples, as many each or not."""
    name, most = dice.pick(NAMES), dice.pick((1, 2, 3, 4, 4, 8))
    is_even, is_hard = bool(dice.below(4)), 1 + dice.below(4)
    problems = []
    for place in range(dice.pick((1, 2, 3, 4, 6))):
        num_samples = max(least, most if is_even else 1 + dice.below(most))
        marks = [dice.below(is_hard + 1) == 0 for _ in range(num_samples)]
        gold = dice.pick(("42", "1/2", "x^2", str(place)))
        answers = [gold if mark else f"w{dice.below(3)}" for mark in marks]
        text = name(place)
        problems.append(
            Problem(f"question {text}" if is_text and isinstance(text, int) else text, marks, answers, gold)
        )
    return problems


def each(problems: list[Problem]) -> list[tuple[Problem, int, bool, str]]:
    """Every sample of every problem: problem, place, mark, answer."""
    return [
        (problem, place, mark, answer)
        for problem in problems
        for place, (mark, answer) in enumerate(zip(problem.marks, problem.answers, strict=True))
    ]


def spelling(dice: Dice) -> Callable[[bool], Any]:
    """One of the ways to write marks."""
    return dice.pick((bool, bool, int, float, str))


def own_rows(dice: Dice) -> Document:
    """One's own rows, a sample each, in JSON lines, CSV or parquet."""
    problems, spelled = drawn_problems(dice), spelling(dice)
    problem_field = dice.pick(("problem", "problem", "problem", "problem_id", "question"))
    mark_field = dice.pick(("correct", "correct", "correct", "canonical_correct", "reward"))
    answer_field = dice.pick(("answer", "answer", "prediction", ""))
    has_place, is_scored, is_seeded = dice.below(2), dice.below(8) == 0, dice.below(6) == 0
    rows = [
        {
            problem_field: problem.name,
            **({"sample": place} if has_place and not is_seeded else {}),
            **({"seed": place % 2} if is_seeded else {}),
            mark_field: (0.25 + 0.5 * mark if is_scored else spelled(mark)),
            **({answer_field: answer} if answer_field else {}),
            "completion": f"so {place}",
        }
        for problem, place, mark, answer in each(problems)
    ]
    said = Said(
        metric=mark_field if mark_field != "correct" or dice.below(8) == 0 else None,
        answer=answer_field if answer_field == "prediction" else None,
        threshold=dice.pick((0.5, 0.75)) if is_scored else None,
        problem=problem_field if problem_field != "problem" else None,
    )
    container = dice.pick(("jsonl", "jsonl", "jsonl", "csv", "parquet", "json"))
    others = (problem_field, "sample", "seed", answer_field or "completion")
    return Document("own_rows", rows, container, (mark_field,), others, problems, said)


def own_counts(dice: Dice) -> Document:
    """Counts, a row a problem, in JSON lines or CSV."""
    problems = drawn_problems(dice)
    field = dice.pick(("problem", "problem", "problem_id", "id"))
    rows = [
        {
            field: problem.name,
            "dataset": "gsm8k",
            "n": len(problem.marks),
            "c": sum(problem.marks),
            "candidates": list(range(len(problem.marks))),
            "pass_at_1": sum(problem.marks) / len(problem.marks),
        }
        for problem in problems
    ]
    return Document("own_counts", rows, dice.pick(("jsonl", "csv")), ("n", "c"), (field, "pass_at_1"), problems)


def own_lists(dice: Dice) -> Document:
    """One's own rows, a problem each, with lists."""
    problems, spelled = drawn_problems(dice), spelling(dice)
    has_answer = dice.below(3)
    rows = [
        {
            "problem": problem.name,
            "correct": [spelled(mark) for mark in problem.marks],
            **({"answer": list(problem.answers)} if has_answer else {}),
        }
        for problem in problems
    ]
    container = dice.pick(("jsonl", "jsonl", "json", "parquet"))
    return Document("own_lists", rows, container, ("correct",), ("problem", "answer"), problems)
