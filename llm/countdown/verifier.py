r"""Marks of completions of Countdown problems: is this text an expression over the numbers with the target's value?

A completion is hostile until read: nothing is evaluated by Python, numbers are exact, and the work is bounded.

Where the answer is. What was thought does not count: neither the text up to the last `</think>` nor the text from a
`<think>` that is left open. Of the rest the last 8,192 characters are read. In them the last complete
`<answer>...</answer>` counts; without one, all of them. In what counts, the complete `\boxed{...}` that ends last is
the answer (every brace counts, escaped or not); without one, the whole is. A text with neither block nor box is thus an
answer only where it is bare: at most 1,024 characters, all of them in tokens of the grammar or blank. Tags are lower
case, without spaces. Of several answers the last counts; two in one block are not an expression. Without the blanks
around it an answer has at most 1,024 characters.

What an expression is. Infix: decimal numbers in ASCII digits without sign or leading zero, the operators + - * /, which
associate to the left, and parentheses, at most 32 open at once; blanks (space, tab, carriage return, line feed) between
tokens. Also read are × · \times \cdot as *, ÷ \div as /, − as -, \left( and \right) as parentheses, and \frac{a}{b} and
\dfrac{a}{b} as ((a)/(b)). A tail "= 25" is accepted where 25 is the target. Nothing else is: no sign, no implied
product, no x for times, no ** // % ^, no 3.4, 1e3, 0x10, 1_0 or 1,000, no other digits. Postfix: the same numbers and
operators, in ASCII and separated by blanks, without a tail.

Bounds. Python-level work is one step a brace in 8,192 characters and a few a token in 1,024; whole texts are searched
for fixed words and cut, by `str` methods. A number is read only when each has been found among the problem's, once, so
numerator and denominator are sums of products in which no number occurs twice.
"""  # noqa: RUF002 (the signs that models write)

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from sharpening.llm.tasks import Mark

Notation = Literal["infix", "postfix"]

LONGEST_TEXT = 8_192  # characters; of a longer text only the last
LONGEST_ANSWER = 1_024  # characters
DEEPEST = 32  # parentheses and fractions open at once
ILL_FORMED = ("no answer", "too long", "not an expression", "too deep", "operator not allowed", "numbers differ")
REASONS = (*ILL_FORMED, "division by zero", "another value")

_BLANKS = " \t\r\n"
_DIGITS = frozenset("0123456789")
_RANKS = {"+": 1, "-": 1, "*": 2, "/": 2}
_OPENERS = {")": "(", "}{": r"\frac{", "}": "}{"}  # what each closing token closes; "}{" opens the denominator
_SPELLINGS = {symbol: symbol for symbol in (*_RANKS, *_OPENERS, *_OPENERS.values(), "=")} | {
    "×": "*",  # noqa: RUF001
    "·": "*",
    "÷": "/",
    "−": "-",  # noqa: RUF001
    r"\times": "*",
    r"\cdot": "*",
    r"\div": "/",
    r"\left(": "(",
    r"\right)": ")",
    r"\dfrac{": r"\frac{",
}
# Every character but a blank is in a token. Each place tries a fixed list of words, and after [0-9]+ comes nothing that
# could fail, so no character is tried again: linear. The same holds for the braces.
_WORDS = "|".join(re.escape(word) for word in sorted(_SPELLINGS, key=len, reverse=True))
_TOKEN = re.compile(rf"[0-9]+|{_WORDS}|[^{_BLANKS}]")
_BRACE = re.compile(r"\\boxed\{|[{}]")


class Refused(ValueError):
    """A text is not an expression; the message is one of REASONS."""


def verify(text: str, numbers: tuple[int, ...], target: int, *, notation: Notation, operators: str = "+-*/") -> Mark:
    """The mark of one completion: correct where it uses every number once and has the target's value.

    Well-formed is an expression that uses every number once, whatever its value, division by zero included. `answer`
    is "" where the reason is "no answer" or "too long".

    Requires: numbers not negative, operators among "+-*/". Raises ValueError otherwise, never for the text.
    """
    wanted = _number_texts(numbers, target, notation, operators)
    answer = find_answer(text)
    try:
        reason = _fault(to_postfix(answer, target, notation=notation), wanted, target, operators)
    except Refused as refusal:
        reason = str(refusal)
    return Mark(float(not reason), reason not in ILL_FORMED, reason, "" if reason == "too long" else answer)


@lru_cache(maxsize=4096)
def _number_texts(numbers: tuple[int, ...], target: int, notation: str, operators: str) -> list[str]:
    """The texts of the numbers, sorted, where all arguments are as required."""
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError(f"numbers is {numbers!r}: want non-negative integers")
    if type(target) is not int:
        raise ValueError(f"target is {target!r}: want an integer")
    if notation not in ("infix", "postfix"):
        raise ValueError(f"notation is {notation!r}: want 'infix' or 'postfix'")
    if not set(operators) <= set(_RANKS):
        raise ValueError(f"operators is {operators!r}: want some of '+-*/'")
    return sorted(map(str, numbers))


def find_answer(text: str) -> str:
    """The text of the answer without the blanks around it, of any length; "" where there is none."""
    said = text.rpartition("</think>")[2].partition("<think>")[0][-LONGEST_TEXT:]
    begin = said.rfind("<answer>", 0, max(said.rfind("</answer>"), 0))
    if begin >= 0:
        begin += len("<answer>")
        said = said[begin : said.index("</answer>", begin)]
    box = _last_box(said)
    if box is not None:
        said = box
    elif begin < 0 and (len(said) > LONGEST_ANSWER or not all(map(_is_known, _TOKEN.findall(said)))):
        return ""
    return said.strip(_BLANKS)


def _last_box(text: str) -> str | None:
    r"""The inside of the complete \boxed{} that ends last; of nested ones that is the outermost."""
    if r"\boxed{" not in text:
        return None
    inside, begins = None, []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            begins.append(brace.end() if brace[0] != "{" else 0)
        elif begins and (begin := begins.pop()):
            inside = text[begin : brace.start()]
    return inside


def to_postfix(answer: str, target: int, *, notation: Notation) -> list[str]:
    """The postfix tokens of an answer, without the tail that names the target. Raises Refused."""
    if not answer:
        raise Refused("no answer")
    if len(answer) > LONGEST_ANSWER:
        raise Refused("too long")
    found = _TOKEN.findall(answer)
    if not all(map(_is_known, found)):
        raise Refused("not an expression")
    if notation == "postfix":
        return _checked_postfix(found, answer)
    tokens = [_SPELLINGS.get(token, token) for token in found]
    if "=" in tokens and tokens[tokens.index("=") + 1 :] == _TOKEN.findall(str(target)):
        del tokens[tokens.index("=") :]
    return _from_infix(tokens)


def _is_known(token: str) -> bool:
    return token in _SPELLINGS or token[0] in _DIGITS


def _is_number(token: str) -> bool:
    return token == "0" or token[0] in "123456789"  # a token that begins with a digit is all digits


def _from_infix(tokens: list[str]) -> list[str]:
    """The same expression in postfix. Raises Refused."""
    output: list[str] = []
    pending: list[str] = []  # operators and open brackets
    depth, is_operand_next = 0, True
    for token in tokens:
        if token in _OPENERS or token in _RANKS:  # an operand ends before it
            is_legal, is_operand_next = not is_operand_next, token in _RANKS or token == "}{"
            while pending and _RANKS.get(pending[-1], 0) >= _RANKS.get(token, 1):
                output.append(pending.pop())
            if token in _OPENERS:
                is_legal = is_legal and bool(pending) and pending.pop() == _OPENERS[token]
                depth -= token != "}{"
            if token == "}":  # ends a fraction
                output.append("/")
            elif token != ")":
                pending.append(token)
        elif token in ("(", r"\frac{"):
            is_legal = is_operand_next
            depth += 1
            pending.append(token)
        else:
            is_legal, is_operand_next = is_operand_next and _is_number(token), False
            output.append(token)
        if not is_legal:
            raise Refused("not an expression")
        if depth > DEEPEST:
            raise Refused("too deep")
    if is_operand_next or depth:
        raise Refused("not an expression")
    return output + pending[::-1]


def _checked_postfix(tokens: list[str], answer: str) -> list[str]:
    """The tokens, where they are the blank-separated words of the answer and an expression. Raises Refused."""
    num_operands = 0
    for token in tokens:
        if token in _RANKS and num_operands >= 2:
            num_operands -= 1
        elif _is_number(token):
            num_operands += 1
        else:
            raise Refused("not an expression")
    if num_operands != 1 or tokens != answer.split():
        raise Refused("not an expression")
    return tokens


def _fault(postfix: list[str], wanted: list[str], target: int, operators: str) -> str:
    """The reason why the expression is not correct, "" where it is."""
    if any(token in _RANKS and token not in operators for token in postfix):
        return "operator not allowed"
    if sorted(token for token in postfix if token not in _RANKS) != wanted:
        return "numbers differ"
    stack: list[tuple[int, int]] = []
    for token in postfix:
        if token not in _RANKS:
            stack.append((int(token), 1))
            continue
        (c, d), (a, b) = stack.pop(), stack.pop()
        if token == "*":
            stack.append((a * c, b * d))
        elif token != "/":
            stack.append((a * d + c * b if token == "+" else a * d - c * b, b * d))
        elif c:
            stack.append((a * d, b * c))
        else:
            return "division by zero"
    numerator, denominator = stack.pop()
    return "" if numerator == target * denominator else "another value"
