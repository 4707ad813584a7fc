r"""Where a completion answers: the last closed \boxed{} or \fbox{} that it shows, unless what it says denies it.

1. Thoughts (up to </think>), code, verbatim text, comments and what is struck out are not shown: no box in them counts.
2. The last box counts, and nothing before it is a second try. Boxes that stand together ("4 or 5", "4, 5", a column of
   them) are one answer, the list of their contents, so that naming two numbers is no way to hit one.
3. A box that is left open after the last closed one, or around it, leaves no answer.
4. A sentence that denies the box ("not", "anything but", "is wrong", "wait") leaves none. This is told by lists of
   English words around the box and in it: what is denied in other words passes.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import NamedTuple

LOOKED_AT = 2_000  # characters at the end of what is shown; a gold answer may have as many
NEARBY = 160  # characters before and after a box that may deny it
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
    |\\begin\{(verbatim|Verbatim|lstlisting|minted|comment)\*?\}.*?(?:\\end\{\2\*?\}|\Z)
    |\\verb\*?([^A-Za-z\s*])[^\n]{0,200}?\3
    |\\iffalse\b.*?(?:\\fi\b|\Z)
    |~~[^~\n]+~~
    |^[\ \t]*%[^\n]*                                                      # a comment of LaTeX, and no "35% of"
    |(?<![\\0-9])(?<![0-9}]\ )%(?=[^A-Za-z\n%]*\\(?:boxed|fbox)\b)[^\n]*""",
    re.DOTALL | re.MULTILINE | re.VERBOSE,
)
_STRUCK = re.compile(r"\\(?:[bx]?cancel|sout|st|[hv]?phantom)\s*\{[\s$]*$")
_BRACES = re.compile(r"(?P<box>\\(?:boxed|fbox)\s*\{)|\\.|[{}]", re.DOTALL)  # \{ and \} are no braces

# between boxes that stand together: nothing but delimiters, numbers of items, "x =" and words that join
_JOIN = re.compile(
    r"""(?:[\s$,;.:*&_=()\[\]\u2022-]|\\[()\[\]\\,;:!]|\\q?quad\b|\\text\s*\{|\}|\b(?:[a-z]|[0-9]{1,2}(?=[.)]))\b
     (?!['\u2019])
    |\b(?:or|and|is|are|it|its|the|an|final|answers?|either|also|another|other|possible|possibly|maybe|perhaps)\b)*+""",
    re.VERBOSE | re.IGNORECASE,
)
_ALTERNATIVE = re.compile(r"\b(?:or|maybe|perhaps|possibly|alternatively|either|might|could)\b", re.IGNORECASE)

_FILLER = r"""(?:[\s$*_,:(\[{}]|\\[(\[]|\\(?:text|mathrm|textbf)\b|\b(?:in|fact|actually|really|simply|just|at|all|by
    |any|means|certainly|definitely|clearly|the|a|an|my|our|this|that|it|its|final|correct|right|true|case|number|value
    |answer|result|solution|equal|equals|to|be|is|was|were|would|will|given|think|believe|say|claim|conclude|mean|of|as|for|x|y|n
    |write|put|box|choose|pick|select|use|give|accept|option|choice|choosing|saying)\b|=)*+$"""
_NOUN = r"(?:final\s+)?(?:answers?|values?|results?|solutions?|guess|choice|option|response|number|to|that|if)"
_DENIED_BEFORE = re.compile(
    rf"""(?:\b(?:not|never|cannot|neither|nor|hardly|scarcely|(?:anything|everything|all)\s+(?:but|except)|other\s+than
    |rather\s+than|instead\s+of|different\s+from|unlike|except(?:\s+for)?|doubt|den(?:y|ies|ied)|refuse|reject(?:s|ed)?
    |exclude[sd]?|ruled?\s+out|disagree|avoid|fooled\s+by|far\s+from|differs?\s+from
    |(?<!no\s)(?:less|greater|more|fewer|smaller|larger)\s+than|(?:might|may|could|would|people|students|others|nobody
    |no\s+one)\s+(?:\w+\s+)?(?:think|thinks|guess|expect|believe|say|says|claim|assume))\b
    |n['\u2019]t\b|\\neq?\b|\\not\s*=|\u2260|!=
    |\b(?:is|are|was|do|does|did|ca|wo|would|could|should)nt\b
    |\b(?:wrong|incorrect|false|mistaken|erroneous|bogus|invalid|untrue|impossible|unlikely)\s+{_NOUN}\b
    |^\W*(?:not|wrong|incorrect|false)\s*:
    |\b(?:mistake|error|trap|decoy|distractor|misconception|fallacy)\s+(?:is|was|would\s+be|to)\b
    |\bif\s+(?:the|it|this|my|our)\b[\w\s]{{0,30}}?\b(?:were|was)\b)(?P<between>{_FILLER})""",
    re.IGNORECASE | re.VERBOSE,
)
_FRESH_CLAUSE = re.compile(
    r"[,:]\s*(?:the|it|this|that|my|our)\b.*?(?:\b(?:is|was|equals)\b|=)", re.IGNORECASE | re.DOTALL
)
_ADVERBS = (
    r"(?:\s+(?:be|a|an|the|my|our|in|fact|really|actually|at|all|clearly|of|course|definitely|certainly|simply|just"
    r"|plainly|also|totally|completely|final|even|quite|possible|valid))*"
)
_DENIED_AFTER = re.compile(
    rf"""^(?:[\s$*_)\]}},.;:!?\u2013\u2014-]|\\[)\]])*+
    (?:(?:but|and|which|that|this|it|the|my|answer|value|result|number|above|boxed|box|wait|hmm?|sorry|actually|however|of
    |course|\(|-)[\s,'\u2019]*+)*+
    (?:(?:(?:is|was|are|would|will|can|ca|could|does|do|should|wo|must)\s*(?:not|n['\u2019]t|never){_ADVERBS}\s*
          (?:answer|right|correct|true|solution|it|so|case|acceptable|accepted|value|result|what|one|[.!?)\n,;]|$))
      |(?:(?:is|was|are|['\u2019]s|s|would\s+be|must\s+be|can\s+only\s+be|seems|looks){_ADVERBS}\s+
          (?:wrong|incorrect|false|mistaken|untrue|invalid|impossible|mistake|error|trap|bogus|nonsense|absurd))\b
      |(?:no|nope|wrong|incorrect|false|invalid|not(?:\s+(?:really|so|correct|right|true|quite|it))?)\s*
        (?:[.!?)\]}}\n,;]|$))
    |\b(?:wait\b(?!ing)|scratch\s+that|on\s+second\s+thoughts?|take\s+(?:it|that|this)\s+back|disregard
    |ignore\s+(?:that|this|it|the\s+above)|i\s+was\s+(?:wrong|mistaken)|made\s+(?:a|an)\s+(?:mistake|error)|correction:
    |(?:actually|no|sorry|hmm?|rather)[\s,]+(?:it|that|the\s+(?:\w+\s+)?answer)\s*(?:is|['\u2019]s|should\s+be|must\s+be)\s+
      (?:not\b|[$\\(-]{{0,3}}[0-9]))""",
    re.IGNORECASE | re.VERBOSE,
)
_WORDS = re.compile(r"(?<![\\a-z])[a-z]+(?:['\u2019]t)?|\\(?:neq?|not|lnot|neg|[bx]?cancel|sout|st)(?![a-z])")
_CHANGING = re.compile(  # words in a box that make it another answer, unless the gold answer has them
    r"not|never|neither|nor|no|except|wrong|incorrect|false|untrue|\w+n['\u2019]t|maybe|perhaps|minus|plus|times|negative"
    r"|less|more|fewer|greater|least|most|below|above|under|over|than|almost|nearly|about|half|twice|double|thrice|dozen"
    r"|(?:hundred|thousand|million|billion|trillion)s?|\\.*"
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
    return Answer(answer, True, DENIED if is_denied else "")


def is_denied_around(text: str, start: int, end: int) -> bool:
    """Whether the words before and after a place deny what stands there."""
    sentence = re.split(r"[.!?]\s|[;\n]", text[max(0, start - NEARBY) : start])[-1]
    before = _DENIED_BEFORE.search(sentence)
    if before and not _FRESH_CLAUSE.search(before["between"]):
        return True
    return _DENIED_AFTER.search(text[end : end + NEARBY]) is not None


def is_denied_within(answer: str, gold: str) -> bool:
    """Whether an answer has words that change what it says, and that the gold answer does not have."""
    said, known = (set(_WORDS.findall(text.lower())) for text in (answer, gold))
    return any(_CHANGING.fullmatch(word) for word in said - known)


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
    for box in reversed(closed[-MOST_TOGETHER:-1]):
        between = text[box.end : found[-1].start]
        is_list = len(between) <= NEARBY and (_JOIN.fullmatch(between) or _ALTERNATIVE.search(between))
        if not is_list:
            break
        found.append(box)
    return found[::-1]
