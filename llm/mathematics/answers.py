r"""Where a completion answers: the last closed \boxed{} or \fbox{} that it shows, unless what it says denies it.

1. Thoughts (up to </think>), code, verbatim text, comments, what is struck out, the definitions of commands and what is
   quoted are not shown: no box in them counts. A block quote that has only the answer is shown.
2. The last box counts, and nothing before it is a second try. Boxes that stand together ("4 or 5", "4, 5", a column or
   a table of them) or that the words leave open to choose from are one answer, the list of their contents, so that
   naming two numbers is no way to hit one.
3. A box that is left open after the last closed one, or around it, leaves no answer.
4. A sentence that denies the box leaves none, and one after it that names another answer takes it back: see `denials`.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

from sharpening.llm.mathematics.denials import is_denied_around, named_later

LOOKED_AT = 2_000  # characters at the end of what is shown; a gold answer may have as many
NEARBY = 160  # characters between boxes that stand together
MOST_TOGETHER = 20  # boxes that are read as one list

DEEPEST = 40  # braces and brackets in each other that an answer may have

NO_ANSWER = "no answer"
TOO_DEEP = "nested too deeply"
NO_BOX = "no box"
OPEN_BOX = "box not closed"
DENIED = "denied answer"
TAKEN_BACK = "answer taken back"

_HIDDEN = re.compile(
    r"""```.*?(?:```|\Z)                                                  # code, also where it is not closed
    |(?<!`)(`{1,2})(?!`)[^`'\n]+\1(?!`)
    |<!--.*?(?:-->|\Z)
    |\\begin\{(verbatim|Verbatim|lstlisting|minted|comment|quote|quotation)\*?\}.*?(?:\\end\{\2\*?\}|\Z)
    |\\verb\*?([^A-Za-z\s*])[^\n]{0,200}?\3
    |\\iffalse\b.*?(?:\\fi\b|\Z)
    |~~[^~\n]+~~
    |\\(?:(?:re)?newcommand|providecommand|[ge]?def|s(?:ave)?box)(?![A-Za-z])\*?\s*\{?\\[A-Za-z]+\}?(?:\[[^]\n]*\]|\#\d)*
      \s*\{(?:[^{}]++|\{(?:[^{}]++|\{(?:[^{}]++|\{[^{}]*+\})*+\})*+\})*+\}
    |(?<![\w}\\])(?:["\u201c\u201e\u00ab]|``)\s*[^\W\d_][^"`\u201c-\u201e\u00ab\u00bb\n]{0,300}?\\(?:boxed|fbox)  
      [^"`\u201c-\u201e\u00ab\u00bb\n]{0,300}?(?:["\u201c\u201d\u00bb]|'')
    |<blockquote>.*?(?:</blockquote>|\Z)
    |^[\ \t]*>(?![\s>*_\#]*(?i:(?:the|my|our|so|thus|hence|therefore|final|answer|result|solution|is)\b[\s*_:,]*)*
      [\s$(\[\\]*(?:boxed|fbox))[^\n]*
    |^[\ \t]*%[^\n]*                                                      # a comment of LaTeX, and no "35% of"
    |(?<![\\0-9])(?<![0-9}]\ )%(?=[^A-Za-z\n%]*\\(?:boxed|fbox)\b)[^\n]*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_STRUCK = re.compile(r"\\(?:[bx]?cancel|sout|st|[hv]?phantom)\s*\{[\s$]*$")
_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)  # \{ and \} are no braces

# between boxes that stand together: nothing but delimiters, numbers of items, "x =" and words that join
_JOIN = re.compile(
    r"""(?:[\s$,;.:*&_=%()\[\]\u2022-]|\\[()\[\]\\,;:!]|\\q?quad\b|\\text\s*\{|\}|\b(?:[a-z]|[0-9]{1,2}(?=[.):]|\\?%))\b
     (?!['\u2019])
    |\b(?:or|and|is|are|it|its|the|an|final|answers?|either|also|another|other|possible|possibly|maybe|perhaps
      |methods?|approach|options?|candidates?|versions?|choices?|guess|readings?|interpretations?)\b)*+""",
    re.VERBOSE | re.IGNORECASE,
)
_ROWS = re.compile(  # between boxes in two rows of a table
    r"[^|\n]*\|[^\n]*\n(?:[ \t]*\|[^\n]*\n)*[ \t]*\|[^\n]*|[^\n&=]*\\\\\s*(?:\\hline\s*)*[^\n&=]*&[^\n=]*"
)
_ALTERNATIVE = re.compile(
    r"\b(?:or|maybe|perhaps|possibly|alternatively|either|might|could|chances?|odds|guess|bet|otherwise|unless|whereas|likely|versus|vs)\b",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(
    r"\b(?:disagree|whichever|(?:can\s?not|can['\u2019]t|could\s+not|unable\s+to)\s+(?:tell|decide|choose|say\s+which)"
    r"|(?:take|pick|choose|accept)\s+(?:either|any|the\s+(?:one|right|correct|better|other))"
    r"|one\s+of\s+(?:these|them|the\s+two)\b|both\s+(?:are|seem|look)|equally\s+(?:likely|good|plausible))",
    re.IGNORECASE,
)


class Answer(NamedTuple):
    """What a completion answers; `reason` says why it is none, "" where it is one.

    `later` is what the words after the box name as the answer, "" where they name none.
    """

    text: str
    is_boxed: bool
    reason: str
    later: str = ""


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def boxed(text: str) -> str | None:
    r"""What is in the last box that is closed and in no other; None where there is none.

    >>> boxed(r"\boxed{1}, no: \fbox{\frac{1}{2}} \boxed{3")
    '\\frac{1}{2}'
    """
    closed, _ = _boxes(text)
    return closed[-1].content if closed else None


def answer_of(completion: str, *, is_lenient: bool = False) -> Answer:
    r"""The answer of a completion that ended; with `is_lenient`, where no box is shown, the end of what is shown.

    >>> answer_of(r"It is 4. \boxed{4} I hope that helps.")
    Answer(text='4', is_boxed=True, reason='', later='')
    """
    text = _shown(completion)[-LOOKED_AT:]
    closed, opened = _boxes(text)
    last = closed[-1] if closed else None
    if opened and (last is None or opened[-1] > last.start or "\n" not in text[opened[-1] : last.start]):
        return Answer("", False, OPEN_BOX)
    if last is None:
        return Answer(text.strip(), False, "") if is_lenient else Answer("", False, NO_BOX)
    if _STRUCK.search(text[max(0, last.start - NEARBY) : last.start]):
        return Answer("", False, NO_BOX)
    together = _together(text, closed)
    answer = ", ".join(dict.fromkeys(box.content for box in together))
    if _depth(answer) > DEEPEST:
        return Answer("", True, TOO_DEEP)
    is_denied = is_denied_around(text, together[0].start, last.end)
    return Answer(answer, True, DENIED if is_denied else "", named_later(text[last.end :]))


def _shown(completion: str) -> str:
    return _HIDDEN.sub(" ", completion.rpartition("</think>")[2].partition("<think>")[0])


def _boxes(text: str) -> tuple[list[_Box], list[int]]:
    """The closed boxes that are in no other, and the places where boxes are opened that are not closed."""
    found: list[_Box] = []
    starts: list[tuple[int, int] | None] = []  # of the open braces: a box and its content; None for what is no box
    for brace in _BRACES.finditer(text):
        if brace["box"] or brace[0] == "{":
            starts.append(brace.span() if brace["box"] else None)
        elif brace[0] == "}" and starts and (span := starts.pop()):
            while found and found[-1].start > span[0]:
                found.pop()
            found.append(_Box(span[0], brace.end(), text[span[1] : brace.start()].strip()))
    return found, [span[0] for span in starts if span]


def _depth(text: str) -> int:
    """The most brackets of any kind that are open at once."""
    steps = ((char in "({[") - (char in ")}]") for char in text)
    return max(accumulate(steps), default=0)


def _together(text: str, closed: list[_Box]) -> list[_Box]:
    """The last box and those before it that stand together with it, in their order."""
    found = [closed[-1]]
    is_undecided = bool(_UNDECIDED.search(text[closed[-1].end : closed[-1].end + NEARBY]))
    for box in reversed(closed[-MOST_TOGETHER:-1]):
        between = text[box.end : found[-1].start]
        is_list = _JOIN.fullmatch(between) or _ROWS.fullmatch(between) or _ALTERNATIVE.search(between)
        if len(between) > NEARBY or not (is_undecided or is_list):
            break
        found.append(box)
    return found[::-1]
