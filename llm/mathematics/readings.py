r"""The ways in which an answer can be read: 3e-2 as 0.03 or 3e - 2, \pm as both signs, x > 3 as an interval.

A percentage may have its sign where the problem asks for a percentage, and means a hundredth where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import product

from sharpening.llm.mathematics.sides import items

MOST_SIGNS = 3  # of one item that are read as both signs

_SCIENTIFIC = re.compile(r"(?<![\w.^\\])(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)[eE][+-]?[0-9]{1,3}(?![\w.])")
_ASKED = re.compile(
    r"\b(?:what|which|how|find|determine|compute|calculate|express|write|give|state|estimate|as|in)\b[^.?!]*?"
    r"(?P<sign>\bper\s?cent(?:age)?s?\b|\\?%)",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"\\?%|\\text\s*\{\s*percent\s*\}|\bpercent\b")
_AMOUNT = re.compile(r"(?:[0-9}$]|\b(?:one|two|three|five|ten|hundred|[a-z]+ty|[a-z]+teen))[\s~-]*$", re.IGNORECASE)

_AND = re.compile(r"\\(?:text|mbox|mathrm)\s*\{\s*and\s*\}|\band\b|\\(?:land|wedge)(?![a-z])")
_OR = re.compile(r"\\(?:text|mbox|mathrm)\s*\{\s*,?\s*or\s*\}|\bor\b|\\(?:lor|vee|cup)(?![a-z])")
_ORDER = re.compile(r"(\\(?:leq?|geq?|lt|gt|leqslant|geqslant)(?![A-Za-z])|[<>])")
_STRICT = re.compile(r"[<>]|\\[lg]t")
_SUCH_THAT = re.compile(
    r"\\\{\s*\w\s*(?:\\in\s*\\mathbb\s*\{?\s*R\s*\}?\s*)?(?:\\mid(?![a-z])|:|\|)(.*)\\\}", re.DOTALL
)
_REALS = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?|\\text\s*\{\s*all real numbers\s*\}")
_EXCEPT = re.compile(r"\\mathbb\s*\{?\s*R\s*\}?\s*(?:\\setminus|\\backslash|-)\s*\\\{([^,{}]+|[^,]*\}[^,]*)\\\}$")
_MEMBER = re.compile(r"([A-Za-z])\s*\\in(?![a-z])(.*)", re.DOTALL)
_LETTER = re.compile(r"[A-Za-z]|\\(?:theta|alpha|lambda)")


def readings(gold: str, text: str, problem: str) -> Iterator[tuple[str, str]]:
    r"""The ways in which a cleaned gold answer and a cleaned answer can be read together.

    >>> list(readings("4e3", "4000", "?")), list(readings("x > 3", r"(3, \infty)", "?"))[1:]
    ([('4000', '4000'), ('4e3', '4000')], [('(3, \\infty)', '(3, \\infty)')])
    """
    first = _SCIENTIFIC.sub(_decimal, gold), _SCIENTIFIC.sub(_decimal, text)
    yield first
    if first != (gold, text):
        yield gold, text
    if _PERCENT.search(text) and not _PERCENT.search(gold) and asks_percent(problem):
        yield gold, _PERCENT.sub("", text)
    known, found = _intervals(gold), _intervals(text)
    if known and found and (known[0] == found[0] or not (known[0] and found[0])):
        yield known[1], found[1]


def asks_percent(problem: str) -> bool:
    """Whether a problem asks for a percentage, and does not only name one.

    >>> asks_percent("What percent of 8 is 2?"), asks_percent("What is 20 percent of 8?")
    (True, False)
    """
    return any(not _AMOUNT.search(problem[: found.start("sign")]) for found in _ASKED.finditer(problem))


def both_signs(text: str) -> str:
    r"""A cleaned answer with one item for each sign; several \pm of one item are free, unless one is \mp.

    >>> both_signs(r"0, x = 3 \pm \sqrt{2}"), both_signs(r"\{\pm 1\}")
    ('0, x = 3 + \\sqrt{2}, x = 3 - \\sqrt{2}', '\\{1, -1\\}')
    """
    if not re.search(r"\\[pm][pm](?![a-z])", text):
        return text
    if braces := re.fullmatch(r"\\\{(.*)\\\}", text, re.DOTALL):
        return rf"\{{{both_signs(braces[1])}\}}"
    return ", ".join(signed for item in items(text) for signed in _signed(item))


def _signed(item: str) -> Iterator[str]:
    parts = re.split(r"\\([pm][pm])(?![a-z])\s*", item)
    signs = parts[1::2]
    if len(signs) > MOST_SIGNS:
        yield item
        return
    is_bound = "mp" in signs
    for choice in product("+-", repeat=min(len(signs), 1) if is_bound else len(signs)):
        chosen = [choice[0] if sign == "pm" else "+-"[choice[0] == "+"] for sign in signs] if is_bound else choice
        pieces = (f"{sign} {part}" for sign, part in zip(chosen, parts[2::2], strict=True))
        signed = parts[0] + "".join(pieces)
        signed = re.sub(r"(^|[=({\[,])(\s*)\+\s*", r"\1\2", signed)
        yield re.sub(r"(^|[=({\[,])(\s*)-\s*", r"\1\2-", signed)


def _decimal(found: re.Match[str]) -> str:
    return format(Decimal(found[0]), "f")


def _intervals(text: str) -> tuple[str, str] | None:
    """The name in inequalities, or "", and the union of intervals that they or intervals say; None for others."""
    if such := _SUCH_THAT.fullmatch(text):
        text = such[1]
    text = _EXCEPT.sub(r"(-\\infty, \1)\\cup(\1, \\infty)", text)
    parts = _OR.split(text)
    if len(parts) == 1 and not _AND.search(text) and len(pair := items(text)) == 2:
        first, second = map(_bounds, pair)
        is_outside = first and second and not (first[1] or second[2])
        parts = pair if is_outside else [r"\land ".join(pair)]
    names, union = set(), []
    for part in parts:
        bounds = [_bounds(each) for each in _AND.split(part)]
        if any(each is None for each in bounds):
            return None
        known = [each for each in bounds if each]
        names |= {name for name, *_ in known} - {""}
        lower, upper = ([each[side] for each in known if each[side]] for side in (1, 2))
        if len(lower) > 1 or len(upper) > 1:
            return None
        union.append(", ".join([*(lower or [r"(-\infty"]), *(upper or [r"\infty)"])]))
    return None if len(names) > 1 else (names.pop() if names else "", r"\cup ".join(union))


def _bounds(text: str) -> tuple[str, str, str] | None:
    """The name in an inequality, its lower bound with a bracket before and its upper one with a bracket after it."""
    text = text.strip()
    if _REALS.fullmatch(text):
        return "", r"(-\infty", r"\infty)"
    if member := _MEMBER.fullmatch(text):
        bounds = _bounds(member[2])
        return None if bounds is None else (member[1], *bounds[1:])
    if re.fullmatch(r"[(\[].*[)\]]", text, re.DOTALL):
        ends = items(text[1:-1])
        return ("", text[0] + ends[0], ends[1] + text[-1]) if len(ends) == 2 else None
    sides = [side.strip() for side in _ORDER.split(text)]
    if len(sides) not in (3, 5) or not all(sides) or "=" in text:
        return None
    if len({re.match(r"<|\\l", sign) is None for sign in sides[1::2]}) > 1:
        return None
    if not re.match(r"<|\\l", sides[1]):
        sides = sides[::-1]
    open_, close = ("(" if _STRICT.fullmatch(sides[1]) else "["), (")" if _STRICT.fullmatch(sides[-2]) else "]")
    if len(sides) == 5:
        return (sides[2], open_ + sides[0], sides[4] + close) if _LETTER.fullmatch(sides[2]) else None
    if _LETTER.fullmatch(sides[0]):
        return sides[0], "", sides[2] + close
    return (sides[2], open_ + sides[0], "") if _LETTER.fullmatch(sides[2]) else None
