r"""How an answer is written, by its text: cleaned of its looks, and whether it is made of numbers that are written out.

A number is written out as an integer, decimal, fraction, mixed number, percentage or m x 10^k (1 <= m < 10; k from 3 or
below 0, or any where m is a decimal), with sign, unit, currency and a name before "=". A fraction need not be in lowest
terms, but one that is an integer, \frac{6}{2}, is a division still to be done. Pairs, sets, intervals, matrices and
inequalities are made of such. Units are not compared.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction

LARGEST_EXPONENT = 400  # of m x 10^k

_SIGNS = {
    **{"\u2212": "-", "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u03c0": r"\pi ", "\u221e": r"\infty "},
    **{"\u2264": r"\le ", "\u2265": r"\ge ", "\u2260": r"\ne ", "\u2248": r"\approx ", "\u00b0": r"^\circ "},
    **{"\u00f7": r"\div ", "\u00b1": r"\pm ", "\u222a": r"\cup ", "\u2208": r"\in "},
}
_STYLE = r"(?:boxed|fbox|math(?:bf|rm|it|sf|tt)|bm|boldsymbol|text(?:bf|rm|it|sf|tt)?|mbox|underline|ensuremath)"
_ONE = r"\s*(\\(?!sqrt)[A-Za-z]+|[0-9A-Za-z])"  # an argument without braces
_LOOKS = (  # what changes only the looks of an answer, in this order
    (r"(?<!\\)(?:\$|\\[()\[\]])|\\(?:display|text|script)style(?![a-z])|\\q?quad(?![a-z])", " "),
    (r"\\(?:tiny|small|normalsize|[lL]arge|LARGE|[hH]uge)(?![A-Za-z])|\\[hv]?phantom\s*\{[^{}]*\}", " "),
    (r"^\s*\\(?:text(?:bf)?|mbox|mathrm)\s*\{\s*(?i:(?:the\s+)?(?:final\s+)?answer(?:\s+is)?)[\s:]*\}(?!\s*=)", ""),
    (rf"\\[dt]?binom{_ONE}{_ONE}", r"\\binom{\1}{\2}"),
    (r"\\(?:left|right|[bB]igg?[lr]?)\s*(?=[()\[\]|\\{}.])", ""),
    (r"\\(?:textcolor|color|colorbox)\s*\{[A-Za-z]+\}", ""),
    (r"\\[cdt]frac(?![a-z])", r"\\frac"),
    (rf"\\frac{_ONE}{_ONE}", r"\\frac{\1}{\2}"),
    (rf"\\frac{_ONE}\s*\{{", r"\\frac{\1}{"),
    (rf"\\frac\s*\{{([^{{}}]*)\}}{_ONE}", r"\\frac{\1}{\2}"),
    (r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}", r"\\frac{\1}{\2}"),
    (r"(?<=[0-9])(?:\{,\}|,\\!|\\[,;:! ]|~|\\thinspace\s*| )(?=[0-9]{3}(?![0-9]))", ""),  # between thousands
    (r"(?<!\\)\\[,;:! ]|\\thinspace(?![a-z])", " "),
    (rf"\\{_STYLE}\s*\{{([-+0-9.,/\s$%\\]+)\}}", r"\1"),
    (rf"\\{_STYLE}\s*\{{\s*([0-9.,]+)\s+([A-Za-z][^{{}}]*)\}}", r"\1\\text{\2}"),
    (r"(?<=[0-9}])i(?![A-Za-z])", " i"),  # as math-verify knows it
)
_REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot)\s*(?:\{([0-9]+)\}|([0-9]))")

_INT = r"[+-]?\s*[0-9]+"
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+"
_UNIT = r"""(?:\\(?:text(?:rm|bf|it|sf)?|math(?:rm|it|sf)|mbox|operatorname|rm)\s*\{
     (?!\s*,?\s*(?:or|and)\s*\})[^{}0-9]*[A-Za-z][^{}0-9]*\}
    |(?:[cmkd]?m|km|k?g|mg|m?s|h|hrs?|mins?|[mk]?[lL]|[JNWVA]|kW|Hz|ft|in|yd|mi|mph|lbs?|oz|USD|EUR|rad|deg)(?![A-Za-z(])
    |(?<=[\s~])(?!and\b)[A-Za-z]{3,}(?![A-Za-z(]))(?:\s*\^\s*(?:\{\s*-?[1-9]\s*\}|[1-9]))?"""
_JOIN = r"(?:\\(?:text|mbox|mathrm)\s*\{\s*,?\s*(?:or|and)\s*\}|\b(?:or|and)\b)"
_TOKEN = re.compile(
    rf"""(?P<join>{_JOIN}|[,;&=:<>]|\\\\|\\(?:leq?|geq?|lt|gt|leqslant|geqslant|in|cup|neq?)(?![A-Za-z]))
    |(?P<value>(?P<mixed>[0-9]+\s*)?\\frac\{{\s*(?P<top>{_INT})\s*\}}\s*\{{\s*(?P<bottom>{_INT})\s*\}}
      |(?P<over>[0-9]+)\s*/\s*(?P<under>[0-9]+)
      |(?P<digits>{_NUMBER})\s*(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{{\s*(?P<long>{_INT})\s*\}}|(?P<short>[0-9]))
      |{_NUMBER}|\\infty(?![A-Za-z]))
     (?P<unit>\s*(?P<percent>\\?%|percent\b|\\text\s*\{{\s*percent\s*\}})|\s*\^\s*(?:\{{\s*\\circ\s*\}}|\\circ(?![A-Za-z]))
      |(?:\s|~)*(?:{_UNIT}|\\frac\s*\{{\s*{_UNIT}\s*\}}\s*\{{\s*{_UNIT}\s*\}})
       (?:(?:\s|~|/|\\cdot(?![a-z])|per\b)*(?:{_UNIT}))*)?
    |(?P<sign>[+-]|\\[pm][pm](?![a-z]))
    |(?P<open>\(|\[|\\\{{|\\begin\{{[a-z]*matrix\}})
    |(?P<close>\)|\]|\\\}}|\\end\{{[a-z]*matrix\}})
    |(?P<name>(?:[A-Za-z]|\\(?:alpha|beta|gamma|theta|lambda|mu|phi|varphi|omega)(?![a-z]))(?:_(?:[A-Za-z0-9]|\{{\w+\}}))?(?![A-Za-z]))
    |(?P<space>\s+|~|\\?\$|€|£|\\(?:pounds|euro)(?![a-z]))""",
    re.VERBOSE,
)
_MAY_FOLLOW = {  # what a token may come after
    "value": {"", "sign", "open", "join"},
    "sign": {"", "open", "join"},
    "open": {"", "open", "join"},
    "close": {"value", "close", "name", "join", "open"},
    "name": {"", "open", "join"},
    "join": {"value", "close", "name", "join"},
}


def cleaned(text: str) -> str:
    r"""An answer without what changes only its looks.

    >>> cleaned(r"$\mathbf{\dfrac12}$."), cleaned(r"12\,345{,}678")
    ('\\frac{1}{2}', '12345678')
    """
    for sign, macro in _SIGNS.items():
        text = text.replace(sign, macro)
    for pattern, plain in _LOOKS:
        text = re.sub(pattern, plain, text)
    text = _REPEATING.sub(_fraction, text)
    if re.search(r"[(\[]|\\\{", text):  # a comma within brackets stands between numbers, not in one
        text = re.sub(r",(?=[0-9])", ", ", text)
    while True:
        text = re.sub(r"[\s.,;:]+\\?$|\\$", "", text).strip()
        inner = _within(text)
        if inner is None:
            return text
        text = inner


def _fraction(found: re.Match[str]) -> str:
    """A repeating decimal as a fraction."""
    start, period = found[1] + found[2], found[3] or found[4]
    value = Fraction(int(start + period) - int(start or 0), 10 ** len(found[2]) * (10 ** len(period) - 1))
    return str(value) if value.denominator == 1 else rf"\frac{{{value.numerator}}}{{{value.denominator}}}"


def _within(text: str) -> str | None:
    """What a style or braces around the whole text hold; None where there are none, or they hold words."""
    if not (start := re.match(rf"(?:\\(?P<name>{_STYLE})\s*)?\{{", text)) or not text.endswith("}"):
        return None
    depth = 0
    for brace in re.finditer(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0 and brace[0] == "}" and brace.end() < len(text):
            return None
    content = text[start.end() : -1]
    has_words = re.search(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", "", content))
    return None if depth or (has_words and (start["name"] or "").startswith(("text", "mbox", "math"))) else content


def has_foreign_digits(text: str) -> bool:
    """Whether there are digits or numbers beyond ASCII, which readers of numbers read each in their own way."""
    return any(char.isnumeric() and not char.isascii() for char in text)


def written_out(text: str) -> str | None:
    r"""A cleaned answer made of numbers that are written out, without units; None for any other.

    >>> written_out(r"25\text{ cm}^2"), written_out(r"(\frac{1}{2}, 7\%)"), written_out("10-4"), written_out("2x")
    ('25', '( \\frac{1}{2} , 7\\% )', None, None)
    """
    kept: list[str] = []
    before, at, has_value = "", 0, False
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        kind = str(token.lastgroup) if token["value"] is None else "value"
        if kind == "space":
            continue
        if before not in _MAY_FOLLOW[kind] or (kind == "value" and not _is_written_out(token)):
            return None
        has_value = has_value or kind == "value"
        if kind == "value":
            kept.append(_value(token))
        elif not re.fullmatch(_JOIN, token[0]):
            kept.append(token[0])
        elif before != "join":
            kept.append(",")
        before = kind
    return " ".join(kept) if has_value and before in ("value", "close", "name") else None


def unnamed(number: str) -> str:
    """A number that is written out, or several, without the names before "="."""
    return re.sub(r"\\?[A-Za-z]\w*(?:_\{\w+\})? = ", "", number)


def without_percent(number: str) -> str:
    r"""A number that is written out, its percentages as decimals.

    >>> without_percent(r"7.5\%")
    '0.075'
    """
    number = re.sub(r"\\frac\{(\d+)\}\{(\d+)\}\\%", r"\\frac{\1}{\g<2>00}", number)
    return re.sub(r"([0-9]+(?:\.[0-9]+)?)\\%", lambda found: format(Decimal(found[1]) / 100, "f"), number)


def zeros_after_point(number: str) -> int:
    """The most zeros that a decimal below .1 in a number that is written out has after its point."""
    return max((len(found[1]) for found in re.finditer(r"(?<![0-9])0\.(0+)", number)), default=0)


def _is_written_out(token: re.Match[str]) -> bool:
    """Whether a number is no division or product that is still to be done."""
    if token["digits"]:
        exponent = int((token["long"] or token["short"]).replace(" ", ""))
        is_usual = "." in token["digits"] or not 0 <= exponent < 3
        return 1 <= Decimal(token["digits"].replace(",", "")) < 10 and is_usual and abs(exponent) <= LARGEST_EXPONENT
    top, bottom = token["top"] or token["over"], token["bottom"] or token["under"]
    if top is None:
        return True
    first, second = (abs(int(part.replace(" ", ""))) for part in (top, bottom))
    is_proper = token["mixed"] is None or first < second
    return second > 0 and first % second > 0 and is_proper


def _value(token: re.Match[str]) -> str:
    """A number as it is compared: in one notation, with its percent sign, without its unit."""
    text = token["value"]
    if token["over"]:
        text = rf"\frac{{{token['over']}}}{{{token['under']}}}"
    elif token["digits"]:
        text = format(
            Decimal(f"{token['digits'].replace(',', '')}e{token['long'] or token['short']}".replace(" ", "")), "f"
        )
    if not token["top"] and not token["over"] and text[0] != "\\":
        whole, _, decimals = text.replace(",", "").partition(".")
        decimals = decimals.rstrip("0")
        text = (whole.lstrip("0") or "0") + (f".{decimals}" if decimals else "")
    return re.sub(r"\s+", "", text) + (r"\%" if token["percent"] else "")
