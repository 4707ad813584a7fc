r"""Which part of an answer is compared, and for what it stands: x = 4 answers what 2x = 4 does not.

A name is a letter, a word, capitals (a segment, an angle, an area) or a function of something, f(2), P(A \cap B), with
indices and primes; also a sum or ratio of names, where the problem has such a word. An equation answers where its left
side is a name, is equal to the gold answer, or is a formula of the problem; the first is told here, the others by the
scorer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_CHOICE = re.compile(r"(?:\\\w+\s*\{)?\s*\(([A-Z])\)(?!.*\b(?:\([A-Z]\)|or|and|not)\b)", re.DOTALL)  # (C) 59
_IMPLIES = re.compile(r"\\(?:Rightarrow|Longrightarrow|implies|iff|Leftrightarrow|therefore)(?![A-Za-z])")
_SEPARATOR = r"[,;&]|\\\\|\\(?:text|mbox|mathrm)\s*\{\s*,?\s*(?:or|and)\s*\}|\b(?:or|and)\b"
_PART = re.compile(
    rf"""(?P<open>\\?[({{\[]|\\begin(?![a-z]))|(?P<close>\\?[)}}\]]|\\end(?![a-z]))|(?P<separator>{_SEPARATOR})
    |(?P<equals>(?<![<>:])(?<!(?<![0-9)])!)=)|\\?.""",
    re.DOTALL | re.VERBOSE,
)

_GREEK = "alpha|beta|gamma|delta|epsilon|theta|lambda|mu|nu|xi|rho|sigma|tau|phi|varphi|psi|omega|[GDTLSPO][a-z]+|ell"
_ATOM = rf"""(?:\\(?:vec|hat|widehat|bar|overline|overrightarrow|tilde|d?dot|mathbb|mathcal|mathbf|mathrm|boldsymbol)\s*
      (?:\{{[A-Za-z]+\}}|[A-Za-z])
    |m?\s*\\(?:angle|triangle)\s*(?:[A-Z]+|\\[a-z]+)|\\Delta\s*\\?[A-Za-z]+|[A-Z]{{2,5}}|\\(?:max|min|det|dim|deg)(?=\s*\()|[A-Za-z](?![A-Za-z])|\\(?:{_GREEK})(?![a-z]))"""
_WORDS = r"\\(?:text(?:bf|rm|it)?|mathrm|operatorname|mbox)\s*\{[^{}0-9=+*/^-]+\}"
_WORD = rf"(?:{_WORDS}|(?:[A-Z][a-z]+|[a-z]{{4,}})(?![A-Za-z]))"
_NAME = re.compile(
    rf"""(?:\\(?:max|min|det|dim|deg)\s*)?(?:{_WORD}\s*)*(?:(?:{_WORD}|{_ATOM})
       (?:_\s*(?:\w|\\[a-z]+|\{{(?:[^{{}}]|\{{[^{{}}]*\}})*\}}))?'*
       (?:\^\s*(?:\{{\s*(?:-\s*1|\\prime|'|\(\w\))\s*\}}|\\prime|\*)(?=\s*[(\[])|(?<=[A-Z])\^\s*\{{\s*-\s*1\s*\}})?\s*
       (?P<argument>\((?:[^()]|\([^()]*\))*\)|\[[A-Za-z]+\])?)
    |\\?\|\s*(?:[A-Z]+(?:\s*\\(?:cup|cap|setminus)\s*[A-Z])*|\\\w+\s*\{{\w+\}}|z)\s*\\?\||\[[A-Z]{{3,}}\]|\\sigma\^\{{?2\}}?
    |\\frac\{{(?:d|\\partial)(?:\^\{{?2\}}?)?\s*\w\}}\{{(?:d|\\partial)\s*\w(?:\^\{{?2\}}?)?\}}
    |\\(?P<function>sin|cos|tan)\s*\(?(?:\\angle\s*)?(?:[A-Z]+|\\[a-z]+|[a-z])\)?""",
    re.VERBOSE,
)
_COMBINED = re.compile(r"\b(?:ratio|sum|difference|product|quotient)\b", re.IGNORECASE)
_FRACTION = re.compile(r"\\frac\{([^{}]*)\}\{([^{}]*)\}")
_FUNCTIONS = {"sin": "sine", "cos": "cosine", "tan": "tangent"}


def compared(text: str, gold: str) -> tuple[str, list[str]]:
    r"""The part of a cleaned answer that is compared with a cleaned gold answer, and the left sides of its equations.

    >>> compared(r"x = \frac{10}{2} = 5", "5"), compared("2x = 5", "x = 5"), compared(r"5=x \text{ or } 3r=2", "2")
    (('5', ['x']), ('2x = 5', []), ('5=x \\text{ or } 3r=2', ['x', '3r']))
    """
    if re.fullmatch(r"(?:\\text\s*\{)?\(?[A-Z]\)?\}?", gold) and (choice := _CHOICE.match(text)):
        return choice[1], []
    parts = [part.strip() for part in _IMPLIES.split(text)[-1].split(r"\approx")]
    text = next((part for part in parts if part and not re.fullmatch(r"\\?[A-Za-z]+", part)), text)
    equations = [_sides(item) for item in items(text)]
    lefts = [] if "=" in gold else [sides[0] for sides in equations if len(sides) > 1]
    sides = equations[0]
    if len(equations) > 1 or len(sides) == 1:
        return text, lefts
    if "=" in gold:
        return (f"{sides[0]}={sides[-1]}" if len(sides) > 2 else text), lefts
    return sides[-1], lefts


def items(text: str) -> list[str]:
    r"""The parts of a list, which are separated outside all brackets.

    >>> items(r"(1, 2), \frac{3}{4} \text{ or } 5")
    ['(1, 2)', '\\frac{3}{4}', '5']
    """
    return [item.strip() for item in _split(text, "separator")]


def is_name(text: str, problem: str) -> bool:
    r"""Whether the left side of an equation names what the right side is.

    >>> [is_name(text, "?") for text in ("r", "f(2)", r"P(A \cup B)", "AB", "2r", "n(n+1)", r"\log x")]
    [True, True, True, True, False, False, False]
    """
    names = items(text[1:-1]) if re.fullmatch(r"\(.*,.*\)", text, re.DOTALL) else [text]
    if _COMBINED.search(problem):
        names = [
            part
            for name in names
            for part in re.split(r"[-+/]|\\(?:cdot|times)(?![a-z])", _FRACTION.sub(r"\1/\2", name))
        ]
    return all(_is_one_name(name.strip(), problem) for name in names)


def _is_one_name(text: str, problem: str) -> bool:
    found = _NAME.fullmatch(text)
    if found is None:
        return False
    if found["function"]:
        return _FUNCTIONS[found["function"]] in problem.lower()
    letters = re.sub(r"\\[a-z]+", "", found["argument"] or "")
    return not (text[0].islower() and text[0] not in "fgh" and text[0] in letters)


def _sides(equation: str) -> list[str]:
    """The sides of an equation, the name first where it stands last; the whole where a side is empty."""
    sides = [side.strip() for side in _split(equation, "equals")]
    if not all(sides):
        return [equation]
    return sides[::-1] if _NAME.fullmatch(sides[-1]) and not _NAME.fullmatch(sides[0]) else sides


def _split(text: str, kind: str) -> Iterator[str]:
    """The parts of a text between what is of a kind of `_PART` and in no brackets."""
    depth, start = 0, 0
    for found in _PART.finditer(text):
        depth += bool(found["open"]) - bool(found["close"])
        if found[kind] and depth == 0:
            yield text[start : found.start()]
            start = found.end()
    yield text[start:]
