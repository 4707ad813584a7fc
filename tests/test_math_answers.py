r"""Where a completion answers, how an answer is written, and attacks on the whole scorer.

The attacks are those of benchmarks/attack_mathematics.py, whose kinds say by themselves that none of them answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from benchmarks import attack_answers, attack_completions, attack_second_answers
from sharpening.llm.mathematics import answers, notation
from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.mathematics.answers import Answer, answer_of
from sharpening.llm.mathematics.scorer import Attempt, MathScorer

PATIENT_SECONDS = 60.0  # for answers that are to be marked, however busy the machine is
ATTACKS, SEED = 240, 11
MOST_SECONDS = 5.0  # for a million characters: they take half a second
BOX = r"\boxed{5}"

SHOWN = (  # the answer 5 is in each
    *(BOX, f"${BOX}$.", f"$${BOX}$$\nI hope it is correct.", r"\fbox{5}", r"\boxed {5}", "\\boxed{\n5\n}"),
    *(f"It is {BOX}, not 4.", f"Since x is not negative, the answer is {BOX}.", f"It is not 4 but {BOX}."),
    *(f"The number of integers that are not divisible by 3 is {BOX}.", f"4 is wrong. {BOX}", f"No, {BOX}"),
    *(f"4 is incorrect: the answer is {BOX}.", f"{BOX}. No other value works.", f"{BOX}, which is not divisible by 3."),
    *(
        f"{BOX}. Anything else is wrong.",
        f"First \\boxed{{4}}, then {BOX}.",
        f"Wait, let me see. {BOX}",
        f"{BOX} {BOX}",
    ),
    *(f"35% of 80 is 28, so {BOX}", f"What % is it? {BOX}", f"\\boxed{{3}} is wrong. The answer is {BOX}."),
    *(f"<think>\\boxed{{4}}</think>{BOX}", f"If not, the answer is {BOX}.", f"The remainder is not zero: it is {BOX}."),
)
NOT_SHOWN = {
    answers.NO_BOX: (
        *("5", "$5$", "", r"\\boxed{5}", "boxed{5}", r"\boxed 5", f"`{BOX}`", f"```\n{BOX}\n```", f"```\n{BOX}"),
        *(f"% {BOX}", f"I cannot tell. % {BOX}", f"<!-- {BOX}", f"\\verb|{BOX}|", f"~~{BOX}~~", f"\\cancel{{{BOX}}}"),
        *(f"<think>{BOX}</think> I cannot tell.", f"<think>{BOX}", f"\\begin{{verbatim}}{BOX}\\end{{verbatim}}"),
        f"\\iffalse {BOX} \\fi",
    ),
    answers.OPEN_BOX: (r"\boxed{5", f"{BOX} so \\boxed{{6", r"\boxed{1+\boxed{5}", r"\boxed{\frac{5}{1}"),
    answers.DENIED: (
        *(
            f"The answer is not ${BOX}$.",
            f"It isn't {BOX}",
            f"It is anything but {BOX}.",
            f"{BOX} is wrong.",
            f"{BOX}? No.",
        ),
        *(
            f"The answer is not, in fact, {BOX}.",
            f"I don't think it is {BOX}.",
            f"The wrong answer is {BOX}.",
            f"Not {BOX}",
        ),
        *(
            f"It is false that the answer is {BOX}.",
            f"A common mistake is {BOX}.",
            f"If the answer were {BOX}, I would cry.",
        ),
        *(
            f"{BOX}. Wait, that is not right.",
            f"{BOX} (wrong)",
            f"$x \\neq {BOX}$",
            f"\\text{{not }}{BOX}",
            f"{BOX} isn't it.",
        ),
    ),
    answers.TOO_DEEP: (f"\\boxed{{{'{' * 50}5{'}' * 50}}}", f"\\boxed{{{'(' * 50}5{')' * 50}}}"),
}
TOGETHER = {
    r"\boxed{4} or \boxed{5}": "4, 5",
    "1. $\\boxed{4}$\n2. $\\boxed{5}$": "4, 5",
    "It is \\boxed{4}. It is \\boxed{5}.": "4, 5",
    r"$x = \boxed{4}$ or $x = \boxed{5}$": "4, 5",
    r"It could be \boxed{4}, or it might rather be \boxed{5}.": "4, 5",
    r"\boxed{5}, \boxed{5}": "5",
    r"$x=\boxed{2}$, so $x+3=\boxed{5}$.": "5",
    r"\boxed{\boxed{5}}": r"\boxed{5}",
    r"\boxed{\{1, 2\}}": r"\{1, 2\}",
    r"} { \boxed {3}": "3",
}
WRITTEN_OUT = {  # a cleaned answer: as it is compared, None where it is to be worked out
    **{"5": "5", "-5": "- 5", "05.0": "5", ".50": "0.5", "1,003": "1003", r"\frac{7}{16}": r"\frac{7}{16}"},
    **{"7/16": r"\frac{7}{16}", r"2\frac{1}{2}": r"2\frac{1}{2}", r"35\%": r"35\%", r"6.048 \times 10^5": "604800"},
    **{r"1.5\cdot 10^{-2}": "0.015", r"25\text{ cm}^2": "25", "84 km/h": "84", r"12 \frac{\text{m}}{\text{s}}": "12"},
    **{r"\$30.75": "30.75", r"140^{\circ}": "140", "x = 5": "x = 5", r"\pm 7": r"\pm 7", "1 or 2": "1 , 2"},
    **{"(1, 2)": "( 1 , 2 )", "x > 3": "x > 3", r"\{-2, 0\}": r"\{ - 2 , 0 \}", r"(-\infty, 3]": r"( - \infty , 3 ]"},
    **dict.fromkeys(
        ("10-4", "2^3", r"3\cdot 7", r"\frac{6}{2}", "6/2", r"\sqrt{4}", "(2)(3)", "2 3", "2(3)", "3!"), None
    ),
    **dict.fromkeys((r"\frac{1.5}{3}", r"\frac{1}{0}", "--5", "|5|", "5x", "5 pi", r"2\frac{6}{3}", "x", "5 5"), None),
    **dict.fromkeys(
        (r"20\cdot 10", r"20\cdot 10^3", r"2\cdot 10^2", "10^6", r"5\text{ }^2", r"5\text{ times }2", ""), None
    ),
    **dict.fromkeys((r"\binom{4}{2}", r"10 \bmod 7", r"\gcd(4, 6)", "1+2i", r"3\sqrt{2}", "[2-1, 3]"), None),
}
WORKED_OUT = (  # gold, answers that are, answers that are not
    (
        r"5\sqrt{3}",
        (r"5\sqrt{3}", r"\sqrt{75}", r"\frac{15}{\sqrt{3}}"),
        (r"2\sqrt3+3\sqrt3", r"\sqrt{25\cdot 3}", r"(2+3)\sqrt3"),
    ),
    (
        r"\frac{5\pi}{6}",
        (r"\frac{5}{6}\pi", r"5\pi/6", r"\frac{10\pi}{12}"),
        (r"\pi-\frac{\pi}{6}", r"150\cdot\frac{\pi}{180}"),
    ),
    (r"\frac{1+\sqrt{5}}{2}", (r"\frac{1}{2}(1+\sqrt{5})", r"\frac12+\frac{\sqrt5}{2}"), (r"\frac{2+\sqrt{5}-1}{2}",)),
    ("11-10i", ("-10i+11",), ("3+8-10i", "11-12i+2i", r"1\cdot(11-10i)")),
    (r"3 \pm \sqrt{2}", (r"\{3+\sqrt2, 3-\sqrt2\}", r"\frac{6\pm\sqrt{8}}{2}"), (r"2+1\pm\sqrt{2}", r"3\pm\sqrt{9-7}")),
    (
        r"\frac{\sqrt{2}}{2}",
        (r"\frac{1}{\sqrt{2}}", r"\sqrt{\frac12}"),
        (r"\sin\frac{\pi}{4}", r"\frac{\sqrt{2}}{4}\cdot 2"),
    ),
    (r"\binom{9}{4}", ("126", r"\binom{9}{4}"), (r"\frac{9!}{4!\,5!}", "125+1")),
    ("2^{100}-1", ("-1+2^{100}",), (r"2\cdot 2^{99}-1", "4^{50}-1")),
    ("e^3", ("e^{3}",), (r"e\cdot e^2",)),
    ("5x", ("5x", r"x\cdot 5"), ("2x+3x", r"\frac{10x}{2}", r"2\cdot 2.5x")),
)
OF_PROBLEMS = (  # problem, gold, answers that are, answers that are not
    (
        "Expand $(2x-3)(x+5)$.",
        "2x^2+7x-15",
        ("(x+5)(2x-3)", r"(5+x)\cdot\left(2x-3\right)"),
        ("7x-15+2x^2", r"\frac{4x^2+14x-30}{2}"),
    ),
    ("Factor x^2 - 9.", "(x-3)(x+3)", ("x^2-9", "-9+x^{2}"), ("(x+3)(x-3)",)),
    (
        "Write 0.375 as a fraction.",
        r"\frac{3}{8}",
        ("0.375", ".3750", "(0.375)", "x = 0.375"),
        ("3/8", r"\frac{6}{16}"),
    ),
    (
        r"Write $\frac{10}{36}$ in lowest terms.",
        r"\frac{5}{18}",
        (r"\frac{10}{36}", "10/36"),
        ("5/18", r"\frac{15}{54}"),
    ),
    ("Write 35% as a fraction.", r"\frac{7}{20}", (r"35\%",), ("0.35",)),
    ("Which is prime, 15 or 17?", "17", (), ("17", "17.0")),
    ("Which is larger, $a+b$ or $a-b$, for $b>0$?", "a+b", (), ("a+b", "b+a")),
    (
        r"Write $\frac{6}{\sqrt{5}-1}$ with a whole denominator.",
        r"\frac{3\sqrt{5}+3}{2}",
        (r"\frac{6}{\sqrt{5}-1}",),
        (r"\frac{3(1+\sqrt{5})}{2}",),
    ),
    ("Is Anna or Ben taller?", r"\text{Anna}", (), ("Anna", r"\text{Anna}")),
)


@pytest.fixture(scope="module")
def scorer() -> Iterator[MathScorer]:
    with MathScorer(2, PATIENT_SECONDS) as opened:
        yield opened


@pytest.mark.parametrize("completion", SHOWN)
def test_a_closed_box_that_is_shown_is_an_answer(completion: str) -> None:
    assert answer_of(completion) == Answer("5", True, "")


@pytest.mark.parametrize(
    ("reason", "completion"), [(reason, text) for reason, texts in NOT_SHOWN.items() for text in texts]
)
def test_a_box_that_is_hidden_open_or_denied_is_none(reason: str, completion: str) -> None:
    assert answer_of(completion).reason == reason


@pytest.mark.parametrize("completion", TOGETHER)
def test_boxes_that_stand_together_are_one_list(completion: str) -> None:
    assert answer_of(completion).text == TOGETHER[completion]


def test_only_the_end_of_what_is_shown_is_looked_at() -> None:
    assert answer_of(BOX + " " * (answers.LOOKED_AT - len(BOX))).text == "5"
    assert answer_of(BOX + " " * (answers.LOOKED_AT - len(BOX) + 1)).reason == answers.NO_BOX
    assert answer_of("a" * 10**6, is_lenient=True).text == "a" * answers.LOOKED_AT


@pytest.mark.parametrize(
    "part",
    [
        "{",
        "`",
        "`a",
        "<!--",
        r"\boxed{",
        "%",
        "% ",
        "~~a",
        r"\verb|",
        r"\begin{verbatim}",
        "not ",
        BOX,
        " ",
        "$",
        "\n%",
        '"a ',
        "``a",
        r"\newcommand{\a}{",
        "\n> a",
        "\n| a |",
        "Oops, $1$. ",
        "the answer is 5 ",
    ],
)
def test_a_million_characters_are_read_in_bounded_time(part: str) -> None:
    start = time.process_time()
    answer_of(part * (10**6 // len(part)))
    assert time.process_time() - start < MOST_SECONDS


@pytest.mark.parametrize("text", WRITTEN_OUT)
def test_a_number_is_written_out_or_still_to_be_worked_out(text: str) -> None:
    assert notation.written_out(text) == WRITTEN_OUT[text]


def marked(scorer: MathScorer, problem: str, gold: str, texts: tuple[str, ...]) -> dict[str, str]:
    marks = scorer.score([Attempt(problem, gold, rf"\boxed{{{text}}}", True) for text in texts])
    return {text: mark.reason for text, mark in zip(texts, marks, strict=True)}


@pytest.mark.parametrize(("gold", "right", "undone"), WORKED_OUT)
def test_what_is_equal_is_an_answer_where_it_is_worked_out(
    scorer: MathScorer, gold: str, right: tuple[str, ...], undone: tuple[str, ...]
) -> None:
    wanted = dict.fromkeys(right, "") | dict.fromkeys(undone, math_scorer.NOT_WORKED_OUT)
    assert marked(scorer, "What is it?", gold, right + undone) == wanted


@pytest.mark.parametrize(("problem", "gold", "repeated", "right"), OF_PROBLEMS)
def test_what_the_problem_says_is_no_answer_to_it(
    scorer: MathScorer, problem: str, gold: str, repeated: tuple[str, ...], right: tuple[str, ...]
) -> None:
    wanted = dict.fromkeys(repeated, math_scorer.OF_PROBLEM) | dict.fromkeys(right, "")
    assert marked(scorer, problem, gold, repeated + right) == wanted


def test_looks_make_no_other_answer(scorer: MathScorer) -> None:
    looks = (
        r"\frac{1}{2}",
        r"\dfrac12",
        r"{1 \over 2}",
        r"$\frac{1}{2}$",
        r"\mathbf{\frac{1}{2}}",
        r"\frac 1 2",
        "0.5.",
    )
    assert marked(scorer, "?", r"\frac12", looks) == dict.fromkeys(looks, "")
    others = ("½", "5²", "５", "٥")  # noqa: RUF001
    assert set(marked(scorer, "?", "5", others).values()) == {math_scorer.UNREADABLE}


def test_no_attack_is_paid_for(scorer: MathScorer) -> None:
    drawn = list(attack_completions.attacks(SEED, ATTACKS))
    assert {each.kind for each in drawn} == set(attack_completions.KINDS)
    quick = [
        each for each in drawn if "^{9}" not in each.attempt.completion and "10^{10" not in each.attempt.completion
    ]
    marks = scorer.score([each.attempt for each in quick])
    assert [each for each, mark in zip(quick, marks, strict=True) if mark.correct == 1] == []


def test_the_right_answers_of_the_attack_are_taken(scorer: MathScorer) -> None:
    right = [one for cases in (attack_answers, attack_second_answers) for one in cases.PLAIN + cases.RIGHT]
    marks = scorer.score([Attempt(problem, gold, completion, True) for problem, gold, completion in right])
    assert len(right) >= 99
    assert [(one, mark) for one, mark in zip(right, marks, strict=True) if mark.correct != 1] == []
