r"""What the words around an answer say of it: that it is none, or that another is one.

1. The sentence before a box, or the words after it, deny it ("not", "anything but", "is wrong", "wait", "somebody
   claims that"). This is told by lists of words, English ones and the commonest of some other languages.
2. Words within it change what it says ("not", "million").
3. Words after it name another answer: as the answer ("Final answer: 7", "it should be 7"), or in a sentence that takes
   something back ("Oops", "Edit:", "on reflection"), whose last formula is then compared with the gold answer.

What is denied in other words passes.
"""

from __future__ import annotations

import re

NEARBY = 160  # characters before and after an answer that may deny it
RETRACTED = 240  # characters of a paragraph that takes an answer back

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
_RULED_OUT = re.compile(  # up to the answer, without a comma or a conclusion between
    r"""\b(?:no\s+way\s+(?:that|is|can|could|the|it)|under\s+no\s+circumstances?|in\s+no\s+(?:case|way)|tempt(?:ing|ed)\s+to
    |(?:wrong|mistaken|incorrect|erroneous)ly|it\s+is\s+(?:false|untrue|wrong|incorrect)\s+(?:that|to))\b
    (?:(?!\b(?:so|thus|hence|therefore|but|then)\b)[^,;:]){0,80}$""",
    re.IGNORECASE | re.VERBOSE,
)
_OTHERS = r"""(?:some(?:body|one)|any(?:body|one)|people|others|many|most|he|she|they|students?(?:\s+[A-Z])?
    |instructions|(?:an?|one|the|my|another|some)\s+(?:\w+\s+)?(?:student|friend|teacher|classmate|colleague|forum|user|author|website
      |internet|chatbot|(?:text)?book|manual|sample|template))"""
_REPORTED = re.compile(
    rf"""\b{_OTHERS}\b[^.;,\n]{{0,40}}?
    \b(?:claim|say|said|write|wrote|think|thought|believe|assert|suggest|guess|argue|report)(?:s|es|ed)?\b[^.;,\n]{{0,15}}?
    (?:\bthat\b|\banswers?\b|\bresult\b|\bit\b|:)[^.;,\n]{{0,25}}$
    |\baccording\s+to\s+{_OTHERS}\b[^.;\n]{{0,40}}$""",
    re.IGNORECASE | re.VERBOSE,
)
_FAILS_AFTER = re.compile(
    r"""^[\s$*_)\]},.;:!?\u2013\u2014-]*(?:(?:but|and|which|that|this|it|they|answer)\s+)*
    (?:fails\b(?!\s+(?:only|if))|(?:does\s+not|doesn['\u2019]t)\s+(?:work|fit|satisfy|hold)|has\s+the\s+wrong\s
      |is\s+(?:too\s+(?:large|small|big|high|low)|ruled\s+out|rejected|excluded|off\s+by)|(?:would\s+be|are)\s+(?:wrong|mistaken))
    |\bI\s+(?:(?:do|did|could|can)\s*(?:not|n['\u2019]t)\s+(?:know|solve|answer)\s+(?:the|this|it)\b|have\s+no\s+(?:opinion|idea|clue))""",
    re.IGNORECASE | re.VERBOSE,
)
_ABROAD = {  # the commonest denials before an answer, up to it, and after it
    "French": (
        r"\b(?:n['\u2019]est|ne\s+(?:vaut|sera|peut\s+être))\s+(?:pas|jamais)",
        r"(?:est|serait)\s+(?:faux|fausse|incorrecte?|erronée?)\b|n['\u2019]est\s+pas\b",
    ),
    "German": (
        r"\b(?:nicht|niemals|nie|kein(?:e[snrm]?|esfalls|eswegs)?)",
        r"(?:ist|wäre)\s+(?:falsch|unrichtig|inkorrekt|nicht)\b",
    ),
    "Spanish": (
        r"\b(?:no\s+(?:es|son|vale|puede\s+ser)|nunca\s+es|tampoco\s+es)",
        r"(?:es|está|son)\s+(?:fals[oa]|incorrect[oa]|erróne[oa]|mal)\b|no\s+es\b",
    ),
    "Portuguese": (
        r"\b(?:não\s+(?:é|são|vale|pode\s+ser)|nunca\s+é)",
        r"(?:é|está)\s+(?:fals[oa]|incorret[oa]|errad[oa])\b|não\s+é\b",
    ),
    "Italian": (r"\bnon\s+(?:è|sono|può\s+essere)", r"è\s+(?:fals[oa]|sbagliat[oa]|errat[oa])\b|non\s+è\b"),
    "Russian": (
        r"\b(?:не(?:\s+(?:рав\w+|является|может\s+быть))?|никогда\s+не|нельзя\s+писать)",
        r"(?:это\s+)?(?:невер\w+|неправильн\w+|не\s+является)",
    ),
    "Chinese": (
        r"(?:不(?:是|等于|可能是|应该?是|要[写填选]?)|并非)",
        r"[这那它]?个?(?:答案)?是?(?:错|不对|不正确|不是(?:正确|答案))",
    ),
    "Japanese": (
        r"(?!)",
        r"[はが]?(?:答えでは(?:ない|ありません)|間違|誤り|不正解|正しくない|では(?:ない|ありません)|じゃない)",
    ),
}
_COMPLEMENT = (  # between a denial and the answer
    r"(?:[\s$:*(-]|\\[(\[]|\b(?:gleich|die|der|das|Antwort|Lösung|la|le|el|o|a|réponse|respuesta|resposta|risposta"
    r"|égale?|à|igual|uguale)\b)*$"
)
_ABROAD_BEFORE = re.compile(rf"(?:{'|'.join(before for before, _ in _ABROAD.values())}){_COMPLEMENT}", re.IGNORECASE)
_ABROAD_AFTER = re.compile(
    rf"^[\s$.,)}}\]\uff0c\u3002-]*(?:{'|'.join(after for _, after in _ABROAD.values())})", re.IGNORECASE
)

_FORMULA = r"(?:\$\$?(?P<marked>[^$]+)\$|\\\((?P<round>.+?)\\\)|\\\[(?P<square>.+?)\\\]|(?P<plain>{plain}))"
_PLAIN = r"[-\u2212]?(?:\\(?:[dt]?frac|sqrt)(?![a-z])|[0-9])[^\s;]*(?<![.,:*!?)])"
_RETRACTS = re.compile(
    r"""(?:^|[.!?;:\n*(\])$}\u2013\u2014-])[\s*_#(]*(?:actually|edit|update|correction|oops|whoops|scrap|scratch|strike|hold\s+on|hang\s+on
    |(?:up)?on\s+(?:closer\s+|second\s+|further\s+)?(?:reflection|inspection|thoughts?)|come\s+to\s+think|(?:ah,?\s+)?no,?\s+wait|ah,?\s+no|in\s+truth|(?:sorry|apologies)(?=\s*[,:\u2013\u2014])
    |my\s+(?:mistake|bad)|I\s+(?:forgot|missed|mis\w+|overlooked|lost|meant)|revised|not\s+quite
    |(?:so\s+)?I\s+(?:retract|revise|withdraw|amend|correct)|not(?=\s+[-$\\0-9][^\s.;]*\s+but)|(?:looking|thinking)\s+again)\b(?P<rest>.*?)(?=\n\s*\n\s*\S|\Z)""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_STATED = re.compile(
    rf"(?:\b(?:is|are|be|been|get|gets|got|gives?|equals?|makes|to|have|but)\s+|[=:]\s*)?{_FORMULA.format(plain=_PLAIN)}",
    re.DOTALL,
)
_NAMED = re.compile(
    rf"""\b(?:(?:(?:final|correct|right|true|real|actual)\s+(?:answer|result|value|solution)|answer)\W{{0,4}}?\s*
      (?:is|are|:|=|(?:should|must|would|ought\s+to)\s+(?:rather\s+|instead\s+)?(?:be|have\s+been)|becomes|equals)
    |(?:it|that|this)\s+(?:should|must|ought\s+to)\s+(?:rather\s+|instead\s+|actually\s+)?(?:be|have\s+been)
    |(?:make|change|correct|revise|replace)\s+(?:it|that|this|(?:my|the)\s+answer)(?:\s+(?:to|by|with))?|should\s+read
    |^\W*(?:solution|result):)
    [\s*_:]*(?:(?:in\s+fact|actually|therefore|then|thus|indeed|rather|instead|exactly|simply|just)\s+)?{_FORMULA.format(plain=_PLAIN)}""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def is_denied_around(text: str, start: int, end: int) -> bool:
    """Whether the words before and after a place deny what stands there."""
    sentence = re.split(r"[.!?]\s|[;\n\u3002]", text[max(0, start - NEARBY) : start])[-1]
    before = _DENIED_BEFORE.search(sentence)
    if before and not _FRESH_CLAUSE.search(before["between"]):
        return True
    if any(pattern.search(sentence) for pattern in (_RULED_OUT, _REPORTED, _ABROAD_BEFORE)):
        return True
    after = text[end : end + NEARBY]
    return any(pattern.search(after) for pattern in (_DENIED_AFTER, _FAILS_AFTER, _ABROAD_AFTER))


def is_denied_within(answer: str, gold: str) -> bool:
    """Whether an answer has words that change what it says, and that the gold answer does not have."""
    said, known = (set(_WORDS.findall(text.lower())) for text in (answer, gold))
    return any(_CHANGING.fullmatch(word) for word in said - known)


def named_later(text: str) -> str:
    r"""The answer that the words after a box name last, the box or another; "" where they name none.

    >>> named_later("$. Oops, there are two more: $7$"), named_later(". The answer is 5."), named_later(". It is 3.")
    ('7', '5', '')
    """
    found = [(named.end(), named) for named in _NAMED.finditer(text)]
    for retracted in _RETRACTS.finditer(text):
        stated = [each for each in _STATED.finditer(retracted["rest"][:RETRACTED]) if _is_stated(each)]
        found += [(retracted.start("rest") + each.end(), each) for each in stated[-1:]]
    if not found:
        return ""
    _, last = max(found, key=lambda place: place[0])
    return next(part for part in last.groups() if part).strip()


def _is_stated(found: re.Match[str]) -> bool:
    """Whether a formula has a digit, and a number without dollars follows a word that states it."""
    formula = next(part for part in found.groups() if part)
    return bool(re.search("[0-9]", formula)) and (found["plain"] is None or found[0] != formula)
