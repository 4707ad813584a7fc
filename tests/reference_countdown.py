"""A slow solver for Countdown that shares nothing with the fast one: recursion, Fractions, evaluation at points."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

Expression = tuple[int | str, ...]  # postfix over places
PRIME = 2**61 - 1
POINTS = [[pow(base, 10**6 + 7 * point, PRIME) for base in (2, 3, 5, 7, 11, 13)] for point in range(2)]


def apply(operator: str, left: Fraction | None, right: Fraction | None) -> Fraction | None:
    """The exact value, None where it is undefined."""
    if left is None or right is None or (operator == "/" and right == 0):
        return None
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
    return left / right


def expressions(numbers: tuple[int, ...], operators: str) -> list[tuple[Expression, Fraction | None]]:
    """All expressions over the places with their values."""
    known: dict[tuple[int, ...], list[tuple[Expression, Fraction | None]]] = {}

    def over(places: tuple[int, ...]) -> list[tuple[Expression, Fraction | None]]:
        if places not in known:
            known[places] = list(joined(places)) if len(places) > 1 else [(places, Fraction(numbers[places[0]]))]
        return known[places]

    def joined(places: tuple[int, ...]) -> Iterator[tuple[Expression, Fraction | None]]:
        for size in range(1, len(places)):
            for chosen in itertools.combinations(places, size):
                rest = tuple(place for place in places if place not in chosen)
                for (left, a), (right, b) in itertools.product(over(chosen), over(rest)):
                    for operator in operators:
                        yield (*left, *right, operator), apply(operator, a, b)

    return over(tuple(range(len(numbers))))


def residue(expression: Expression, point: list[int]) -> int:
    """The value of an expression at a point, modulo a prime."""
    stack: list[int] = []
    for entry in expression:
        if isinstance(entry, int):
            stack.append(point[entry])
            continue
        right, left = stack.pop(), stack.pop()
        match entry:
            case "+":
                stack.append((left + right) % PRIME)
            case "-":
                stack.append((left - right) % PRIME)
            case "*":
                stack.append(left * right % PRIME)
            case _:
                stack.append(left * pow(right, -1, PRIME) % PRIME)
    return stack[0]


@lru_cache(maxsize=1)
def exchanges(numbers: tuple[int, ...]) -> list[tuple[int, ...]]:
    """The orders of the places that leave the numbers where they are."""
    orders = itertools.permutations(range(len(numbers)))
    return [order for order in orders if tuple(numbers[place] for place in order) == numbers]


def class_of(expression: Expression, numbers: tuple[int, ...]) -> tuple[int, ...]:
    """What all expressions share that are equal for generic operands, up to exchanges of equal numbers."""
    orders = exchanges(numbers)
    return min(tuple(residue(expression, [point[place] for place in order]) for point in POINTS) for order in orders)


def solutions(numbers: tuple[int, ...], target: int, operators: str) -> dict[str, tuple[int, ...]]:
    """The correct expressions as texts, each with its class."""
    return {
        " ".join(str(numbers[entry]) if isinstance(entry, int) else entry for entry in expression): class_of(
            expression, numbers
        )
        for expression, value in expressions(numbers, operators)
        if value == target
    }
