"""What `check-shaper` prints: what a method does in plain words, what to do about it, a table of several methods.

`data` is the diagnosis of one method as plain data, as `theory.diagnosis` gives it and `--json` writes it.
"""

from __future__ import annotations

import json
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sharpening.figures.tables.text import GAP, INDENT, notes, paragraph

Data = Mapping[str, Any]
NOISE = 1e-12  # numbers below it are round-off
CHECKS = (
    "finite",
    "permutes with the group",
    "each group on its own",
    "zero strength is the identity",
    "same numbers in NumPy and torch",
    "wrong never above correct",
)
LENGTH = "same at any length"
UNBROKEN = "no counterexample"
CORRECT_SET = {
    "sharpens": "the likelier of two correct answers gains on the rarer one",
    "sharpens in the end": "at first the rarer gains, in the end the likelier",
    "smooths": "the rarer of two correct answers catches up with the likelier one",
    "smooths in the end": "at first the likelier gains, in the end the rarer catches up",
    "preserves": "two correct answers keep their shares",
    "preserves in the end": "the shares shift at first; in the end they are what they were",
    "inverts": "the rarer of two correct answers overtakes the likelier one",
    "inverts in the end": "at first the likelier gains, in the end the rarer overtakes it",
    "sharpens at the shown policy": "at the start the likelier of two correct answers gains",
    "smooths at the shown policy": "at the start the rarer of two correct answers gains",
    "preserves at the shown policy": "at the start two correct answers keep their shares",
    "undecided": "what it does to correct answers is not decided",
}
ENDS = {
    "uniform on C": "training ends with all correct answers equally likely",
    "rarest": "training ends on one answer, the correct one that was rarest at the start",
    "still": "nothing moves",
    "undecided": "where training ends is not decided",
}
DIRECTIONS = {1: "sharpens", -1: "smooths", 0: "keeps the shares"}
COLUMNS = {
    "correct set": "correct answers",
    "turning point": "turns at Q",
    "end": "ends on",
    "correctness": "correctness Q",
    "wrong never above correct": "wrong above correct",
    "class of B4": "one factor a prompt",
    "noisy verifier": "end survives",
}
LEGEND = (
    "correct answers: sharpens, the likelier of two gains; smooths, the rarer catches up; inverts, it overtakes.",
    "turns at Q: the correctness above which it does the other thing, where the likelier has 3/4 of the correct mass.",
    "wrong above correct: whether a wrong answer of a group can get a larger advantage than a correct one.",
    "one factor a prompt: yes where answers that are equally right get the same: plain RL, prompts weighed anew (B4).",
    "ends on: t is when a correct answer is back that starts with .001 of the correct mass, in updates times rate.",
    "end survives: mistakes of the verifier, each kind alone, under which training still ends there; FP: wrong "
    "answers marked correct, FN: correct ones marked wrong.",
)
SHORTER = (  # in this order
    ("the correct answer likeliest at the start", "the likeliest"),
    (r"^on ", ""),
    ("one mode, the likeliest", "the likeliest correct answer"),
    ("one mode, ", "one answer, "),
    ("uniform on C", "all correct answers alike"),
    ("the rarest correct answer of the base policy", "the rarest correct answer"),
    (r"a mixture with wrong answers \(.*1 - Q = (.*)\)", r"a mixture, 1 - Q = \1"),
    (r"\w+ at all [\d,]+ Q probed$", "never"),
    (r" \(a correct answer .* 0\.001: ((?:t = |not by )[^,)]+).*\)", r", from .001 \1"),
    (r" \(a correct answer that starts with a share of ([\d.]+): (not by [^,)]+)\)", r", from \1 \2"),
    (r"^(sharpens|smooths), ", ""),
    (" above Q = ", " above "),
    (" at the shown policy, not everywhere", ", not everywhere"),
    ("^keeps its end under ", ""),
    (r"(no|any rate of) false positives, \1 false negatives", r"\1 noise"),
    ("false positives", "FP"),
    ("false negatives", "FN"),
    ("any rate of ", "any "),
    ("^inside$", "yes"),
    ("^outside$", "no"),
)


def verdict_of(data: Data, name: str) -> Data:
    """The verdict about a property."""
    found: Data = next(one for one in data["verdicts"] if one["property"] == name)
    return found


def rounded(text: str) -> str:
    """The text with at most four digits of each decimal number, and 0 for what is round-off.

    >>> rounded("p = (0.2999999999999999, 0.1), 1 - Q = 3.421e-29 at t = 1e+10")
    'p = (0.3, 0.1), 1 - Q = 0 at t = 1e+10'
    """

    def short(found: re.Match[str]) -> str:
        value = float(found[0])
        return "0" if abs(value) < NOISE else f"{value:.4g}"

    return re.sub(r"-?\d+\.\d+(?:e[+-]\d+)?|-?\d+e-\d+", short, text)


def report(name: str, data: Data, policy: Sequence[float], width: int, *, is_long: bool) -> str:
    """One method: the verdict in a sentence, then property by property, then what to do.

    `policy` is where it was looked at, two correct answers first; `is_long` adds numbers and counterexamples.
    """
    right, wrong = (", ".join(f"{value:.3g}" for value in part) for part in (policy[:2], policy[2:]))
    where = (
        f"Exact expected steps from a policy with two correct answers ({right}) and two wrong ones ({wrong}), groups "
        f"of {data['group_size']}; Q is the probability of a correct answer."
    )
    lines = [paragraph(f"{name}: {headline(data)}", width, first="", later=INDENT), paragraph(where, width), ""]
    rows = list(_properties(data))
    size = max(len(words) for words, _ in rows)
    for words, told in rows:
        lines.append(paragraph(told, width, first=f"{INDENT}{words:<{size}}{GAP}", later=" " * (size + 4)))
    advice = [f"- {sentence}" for sentence in advised(data)]
    lines += ["", "WHAT TO DO", *(paragraph(line, width, later=INDENT * 2) for line in advice)]
    if is_long:
        lines += ["", "DETAILS", *_details(data, width)]
    return "\n".join([*lines, ""])


def headline(data: Data) -> str:
    """What the method does to the correct answers, and where training ends, in a sentence."""
    if _is_undiagnosed(data):
        return "there is no expected step before it is mended, see FAILS: nothing to say of where it leads."
    end = verdict_of(data, "end")
    other = f"training ends {rounded(end['verdict']).replace('one mode, ', 'one answer, ')}"
    return f"{CORRECT_SET[verdict_of(data, 'correct set')['verdict']]}; {ENDS.get(_kind_of_end(data), other)}."


def _kind_of_end(data: Data) -> str:
    return str(verdict_of(data, "end")["numbers"].get("kind", "undecided"))


def _properties(data: Data) -> Iterator[tuple[str, str]]:
    """Label and words of each property that says something here."""
    if not _is_undiagnosed(data):
        yield from _motions(data)
    for name in _failed(data):
        yield "FAILS", f"{name}: {_failure(verdict_of(data, name))}"
    tried: dict[str, list[str]] = {}
    for name in (*CHECKS, LENGTH):
        words = verdict_of(data, name)["verdict"]
        if words.startswith(UNBROKEN):
            tried.setdefault(words, []).append(name)
    yield from (("tried", f"{'; '.join(names)}: {words}.") for words, names in tried.items())
    if (length := verdict_of(data, LENGTH))["verdict"] == "fails":
        yield "length", f"the advantages depend on the numbers of tokens: {_failure(length)}"


def _motions(data: Data) -> Iterator[tuple[str, str]]:
    """The same of what follows from the flow."""
    turning, end, noise = (verdict_of(data, name) for name in ("turning point", "end", "noisy verifier"))
    first = verdict_of(data, "correct set")["numbers"]
    if "furthest" in first:
        most, where = math.exp(first["furthest"]), first["furthest_at"]
        yield "at first", f"the likelier gains, up to {most:.3g} to 1 at Q = {where:.3g}"
    yield "turns", _turning(data, turning)
    centring = verdict_of(data, "centring")
    if "onset" in centring["numbers"] and centring["verdict"] != "the same turning point":
        strength = _strengths(data, centring["numbers"].get("turning_scale"))
        yield "if centred", _onset(centring) + (f"; at the start it smooths from {strength} on" if strength else "")
    yield "correctness Q", _correctness(verdict_of(data, "correctness"))
    if "recovery" in end["numbers"]:
        yield "time to end", _recovery(end["numbers"]["recovery"])
    if _kind_of_end(data) == "undecided":
        yield "end", "; ".join(rounded(end["detail"]).split("; ")[:2])
    if end["counterexample"]:
        found = end["counterexample"]
        yield "other starts", f"not the same end: from p = {_policy(found['start'])} it ends {rounded(found['ends'])}"
    if verdict_of(data, "class of B4")["verdict"] == "inside":
        yield "same as plain RL", "up to one factor a prompt, which depends on Q alone (claim B4); --figure draws it"
    yield "noisy verifier", _noise(noise)


def _recovery(times: Sequence[Sequence[float | None]]) -> str:
    """When a correct answer that starts rare is back."""
    back = [f"is back at t = {time:.2g}" if time else "is not back at t = 1e10" for _, time in times]
    parts = [f"{share:g} of the correct mass {words}" for (share, _), words in zip(times, back, strict=True)]
    return f"a correct answer with {', with '.join(parts)}; t is updates times the learning rate"


def _is_undiagnosed(data: Data) -> bool:
    """Whether there is no flow to look at."""
    return "rate" not in verdict_of(data, "correct set")["numbers"]


def _failed(data: Data) -> list[str]:
    return [name for name in CHECKS if verdict_of(data, name)["verdict"] == "fails"]


def _turning(data: Data, verdict: Data) -> str:
    if "onsets" not in verdict["numbers"]:
        return f"{verdict['verdict']}: {rounded(verdict['detail'])}"
    strength = _strengths(data, verdict["numbers"]["turning_scale"])
    return _onset(verdict) + (f"; at the start it turns at {strength}" if strength else "")


def _onset(verdict: Data) -> str:
    """Below and above which correctness it sharpens or smooths."""
    onset = verdict["numbers"].get("onset") or verdict["numbers"]["onsets"][0]
    sign, turns = onset["sign"], [f"{turn:.3g}" for turn in onset["turns"]]
    if not turns:
        return f"never: it {DIRECTIONS[sign]} at all {onset['num_policies']:,} Q probed"
    parts = [f"{DIRECTIONS[sign]} below Q = {turns[0]}"]
    for place, turn in enumerate(turns):
        sign = -sign
        parts.append(f"{DIRECTIONS[sign]} above" + (f" {turn}" if place else ""))
    return ", ".join(parts)


def _strengths(data: Data, scale: float | None) -> str:
    """The strengths at a multiple of what they are; empty where there is none."""
    if scale is None:
        return ""
    return ", ".join(f"{name} = {data['parameters'][name] * scale:.3g}" for name in data["strengths"])


def _correctness(verdict: Data) -> str:
    words = {"raises": "rises", "lowers": "falls", "leaves": "stays"}
    first = words.get(verdict["verdict"].split()[0])
    if first is None:
        return f"{verdict['verdict']}: {rounded(verdict['detail'])}"
    if not verdict["counterexample"]:
        return f"{first}, here and at {verdict['numbers']['num_policies']:,} policies all over"
    other = "falls" if first == "rises" else "rises"
    return f"{first} at the start, not everywhere: it {other} at p = {_policy(verdict['counterexample']['policy'])}"


def _noise(verdict: Data) -> str:
    words = str(verdict["verdict"])
    if verdict["numbers"]:
        parts = words.removeprefix("keeps its end under ").split(", ")
        words = f"the end survives {' and '.join(parts)}, each alone"
    return {
        "moves its mixture": "mistakes of the verifier move the mixture that training ends on",
        "loses its mixture": "under mistakes of the verifier training ends elsewhere",
        "undecided": "not decided",
        "not applicable": "nothing moves",
    }.get(words, words)


def _policy(values: Sequence[float]) -> str:
    """The probabilities, correct answers first, a bar before the two wrong ones."""
    shown = [f"{value:.3g}" for value in values]
    return f"({', '.join(shown[:-2])} | {', '.join(shown[-2:])})"


def _failure(verdict: Data) -> str:
    example = _example(verdict)
    return rounded(verdict["detail"]) + (f"; smallest group found: {example}" if example else "")


def _example(verdict: Data) -> str:
    return rounded(json.dumps(verdict["counterexample"])) if verdict["counterexample"] else ""


def _details(data: Data, width: int) -> Iterator[str]:
    for verdict in data["verdicts"]:
        detail = f" ({rounded(verdict['detail'])})" if verdict["detail"] else ""
        told = f"{verdict['property']}: {rounded(verdict['verdict'])}{detail}"
        yield paragraph(told, width, later=INDENT * 3)
        if example := _example(verdict):
            yield paragraph(f"counterexample {example}", width, first=INDENT * 3, later=INDENT * 3)


def advised(data: Data) -> Iterator[str]:
    """What to do about it, a sentence each: first what is wrong with the function, then what it does."""
    yield from (AT_FAULT[name] for name in _failed(data))
    if verdict_of(data, "same numbers in NumPy and torch")["verdict"] == "not applicable":
        yield "torch is not installed here: whether the function runs on its tensors, as llm calls it, was not tried."
    if (kind := _kind_of_end(data)) in BY_END and not _is_undiagnosed(data):
        yield BY_END[kind]
    onset = verdict_of(data, "turning point")["numbers"].get("onsets", [{"turns": (), "sign": 0}])[0]
    if onset["sign"] > 0 and onset["turns"]:
        yield (
            "It sharpens below its turning point: a run that stops there leaves its correct answers more unequal than "
            "they were."
        )
    yield (
        "Not seen here: the length of answers (each has one token), sampling noise, prompts that share parameters. "
        "preview shows length and strength on your rollouts, simulate the noise."
    )


AT_FAULT = {
    "finite": "Guard the divisions and logarithms: an advantage has to be finite for every group of finite inputs.",
    "permutes with the group": "The order of a group is chance: what depends on it is noise.",
    "each group on its own": (
        "It gets arrays (num_groups, group_size) and mixes the groups: take means over the last axis, "
        "reward.mean(-1)[..., None]."
    ),
    "zero strength is the identity": "With its strengths at 0 it is not plain RL: look at what is left over there.",
    "same numbers in NumPy and torch": (
        "llm and a TRL script hand it torch tensors, which it does not take alike: use operators and methods that both "
        "have, x.mean(-1), or array_namespace of array-api-compat. For preview and simulate NumPy alone will do."
    ),
    "wrong never above correct": "A wrong answer can get more than a correct one: lower the strength, or see preview.",
}
BY_END = {
    "one mode": (
        "It ends on one answer, as plain RL does: for more than one add a term that pays rare correct answers more "
        "(ds), or a KL term (--kl-strength)."
    ),
    "rarest": "It ends on the rarest correct answer: lower the strength, or put a KL term of at least its size beside.",
    "mixture": "It keeps some wrong answers in the end: fewer with a lower strength.",
    "wrong": "It ends on wrong answers: turn the sign, or lower the strength.",
    "undecided": (
        "The flow is so slow, or has so many resting places, that the end is open: simulate shows what happens in the "
        "time that you have; --details has what was found."
    ),
}


def shortened_verdict(verdict: str) -> str:
    """A verdict in the words of the table of methods.

    >>> shortened_verdict("on a mixture with wrong answers (Q = 0.999842, 1 - Q = 0.0001584)")
    'a mixture, 1 - Q = 0.000158'
    """
    for pattern, words in SHORTER:
        verdict = re.sub(pattern, words, verdict)
    return re.sub(r"\d\.\d{3,}(e-\d+)?", lambda found: f"{float(found[0]):.3g}", verdict)


def table_rows(found: Mapping[str, Data]) -> list[list[str]]:
    """The rows of the table of methods; `found` maps a method to its diagnosis."""
    return [[label(name, found), *(_cell(verdict_of(data, key)) for key in COLUMNS)] for name, data in found.items()]


def label(name: str, names: Iterable[str]) -> str:
    """A method's name; of FILE.py:FUNCTION without the folder, unless another has that name too.

    >>> label("mine/bonus.py:rare", ["mine/bonus.py:rare", "ds"])
    'bonus.py:rare'
    """
    short = PurePath(name).name
    return short if [PurePath(other).name for other in names].count(short) == 1 else name


def _cell(verdict: Data) -> str:
    if verdict["property"] == "wrong never above correct":
        return {"fails": "yes", "undecided": "undecided"}.get(verdict["verdict"], "no")
    return shortened_verdict(verdict["verdict"])


def comparison(found: Mapping[str, Data], width: int) -> str:
    """Several methods: the table first, what its columns mean, and what to do, said once for all it is true of."""
    sentences: dict[str, list[str]] = {}
    for name, data in found.items():
        for sentence in advised(data):
            sentences.setdefault(sentence, []).append(label(name, found))
    told = [
        f"- {sentence}" if len(names) == len(found) else f"- {', '.join(names)}: {sentence}"
        for sentence, names in sorted(sentences.items(), key=lambda item: len(item[1]) == len(found))
    ]
    lines = [columns(["method", *COLUMNS.values()], table_rows(found), width), "", *notes(LEGEND, width)]
    return "\n".join([*lines, "", "WHAT TO DO", *(paragraph(line, width, later=INDENT * 2) for line in told), ""])


def columns(header: Sequence[str], rows: Iterable[Sequence[str]], width: int) -> str:
    """Left-aligned columns; where they are too wide cells are wrapped, and where that is not enough, in two parts."""
    cells = [list(header), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    least = [max(len(word) for cell in column for word in cell.split()) for column in zip(*cells, strict=True)]
    least[0] = widths[0]
    room = width - len(INDENT) - len(GAP) * (len(widths) - 1)
    if sum(least) > room and len(header) > 2:
        middle = (len(header) + 1) // 2
        halves = ([[row[0], *row[1:middle]] for row in cells], [[row[0], *row[middle:]] for row in cells])
        return "\n\n".join(columns(half[0], half[1:], width) for half in halves)
    while sum(widths) > room and (free := [place for place, size in enumerate(widths) if size > least[place]]):
        widths[max(free, key=lambda place: widths[place])] -= 1
    lines = []
    for row in cells:
        wrapped = [textwrap.wrap(cell, size) or [""] for cell, size in zip(row, widths, strict=True)]
        for place in range(max(map(len, wrapped))):
            parts = [part[place] if place < len(part) else "" for part in wrapped]
            lines.append((INDENT + GAP.join(map(str.ljust, parts, widths))).rstrip())
    return "\n".join(lines)


def markdown(found: Mapping[str, Data]) -> str:
    """The table of methods in Markdown."""
    lines = [f"| method | {' | '.join(COLUMNS.values())} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [f"| `{name}` | {' | '.join(cells)} |" for name, *cells in table_rows(found)]
    return "\n".join(lines) + "\n"
