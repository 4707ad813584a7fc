"""The Countdown verifier: what is accepted and refused, with the reason; its bounds; drawn expressions."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharpening.llm.countdown.verifier import (
    DEEPEST,
    LONGEST_ANSWER,
    LONGEST_TEXT,
    REASONS,
    Notation,
    to_postfix,
    verify,
)
from sharpening.llm.tasks import Mark

NUMBERS, TARGET = (9, 10, 1, 5), 24
RIGHT = "9+5*1+10"
ACCEPTED = {  # infix: completions and the answer found in them
    RIGHT: [
        RIGHT,
        f"It is <answer>\n {RIGHT} \n</answer>, I hope.",
        rf"So \boxed{{{RIGHT}}}.",
        rf"\boxed{{1}} <answer>{RIGHT}</answer> \boxed{{2}}",  # the block comes before the box
        rf"<answer>As \boxed{{1}} is wrong: \boxed{{{RIGHT}}}.</answer>",  # a box in the block
        f"<answer>1+2</answer> no, <answer>{RIGHT}</answer>",  # the last block
        f"<answer>{RIGHT}</answer> or <answer>9+10",  # the last that is complete
        f"<answer>1+<answer>{RIGHT}</answer>+2</answer>",
        f"</answer>1+2<answer>{RIGHT}</answer>",
        rf"\boxed{{1+2}} no, \boxed{{{RIGHT}}}, not \boxed{{7",
        rf"}}{{ \boxed{{ \boxed{{{RIGHT}}} ",
        rf"\boxed{{{RIGHT}}} {{1+2}}",
        f"<think>Say <answer>1+2</answer>.</think>{RIGHT}",
        f"Say <answer>1+2</answer>.</think>{RIGHT}",  # where the prompt opens the thought
        f"<answer>{RIGHT}</answer><think>or <answer>1+2</answer>",
        f"{'so ' * LONGEST_TEXT}<answer>{' ' * LONGEST_ANSWER}{RIGHT}</answer>",
    ],
    "( (9) +\t5*1)+\r\n(10)": ["\n( (9) +\t5*1)+\r\n(10) "],
    "9 + 5 / 1 + 10": ["9 + 5 / 1 + 10\n"],
    f"{RIGHT} = 24": [f"{RIGHT} = 24", f"<answer>{RIGHT} = 24</answer>"],
    "9 + 5 × 1 + 10": ["9 + 5 × 1 + 10"],  # noqa: RUF001
    "9 + 5 · 1 + 10": ["9 + 5 · 1 + 10"],
    "9 + 5 ÷ 1 + 10": ["9 + 5 ÷ 1 + 10"],
    r"9+5\times1+10": [r"\boxed{9+5\times1+10}"],
    r"9+5\cdot 1+10": [r"\boxed{9+5\cdot 1+10}"],
    r"9+5\div 1+10": [r"9+5\div 1+10"],
    r"\frac{9+5}{1} + 10": [r"\boxed{\frac{9+5}{1} + 10}"],
    r"\left(9 + 5\right)*1 + 10": [r"\boxed{\left(9 + 5\right)*1 + 10}"],
    "(" * DEEPEST + RIGHT + ")" * DEEPEST: ["(" * DEEPEST + RIGHT + ")" * DEEPEST],
}
OTHER_PROBLEMS = [  # infix: numbers, target, answer
    ((7, 6), 1, "7 − 6"),  # noqa: RUF001
    ((6, 7), -1, "6 - 7 = -1"),
    ((0, 3), 0, "0/3"),
    ((3, 3), 9, "3*3"),
    ((8, 3, 8, 3), 24, r"\dfrac{8}{3 - \frac{8}{3}}"),
    ((8, 3, 8, 3), 24, "8/(3-8/3)"),
    ((12, 6, 2), 1, "12/6/2"),
    ((12, 6, 2), 4, "12-6-2"),
    ((25,), 25, "25"),
    ((1,) * (DEEPEST + 1), 1, r"\frac{" * DEEPEST + "1" + "}{1}" * DEEPEST),
]
REFUSED = {  # infix
    "no answer": [
        "",
        " \n",
        "<answer></answer>",
        "<answer> </answer>",
        rf"<answer>{RIGHT}</answer> \boxed{{}}</think>",  # all of it was thought
        r"\boxed{}",
        f"<think>{RIGHT}",
        f"<think>so</think> <think>{RIGHT}</think>",
        "I do not know.",
        f"The answer is {RIGHT}.",  # neither marked nor bare
        f"{RIGHT}, I think",
        f"<answer>{RIGHT}",
        f"<ANSWER>{RIGHT}</ANSWER>",
        f"<answer >{RIGHT}</answer >",
        rf"\boxed{{{RIGHT}",
        f"{RIGHT}\0",
        "9+5*1+1\u0660",
        f"so{' ' * LONGEST_TEXT}{RIGHT}",  # what is cut off is not bare
        RIGHT + " " * LONGEST_ANSWER,
        f"<answer>{RIGHT}</answer>{' ' * LONGEST_TEXT}",
    ],
    "too long": [f"<answer>1{'+1' * LONGEST_ANSWER}</answer>", rf"\boxed{{{'(' * LONGEST_ANSWER}1}}"],
    "not an expression": [
        "<answer>I do not know</answer>",
        f"<answer>{RIGHT}.</answer>",
        f"<answer>The answer is {RIGHT}</answer>",
        f"<answer>{RIGHT}</answer> or <answer>?</answer>",  # the last counts, right or wrong
        f"<answer>{RIGHT} or 10+9+5*1</answer>",
        f"{RIGHT}\n{RIGHT}",
        rf"\boxed{{\boxed{{{RIGHT}}}}}",  # the box that ends last has a box in it
        f"{RIGHT} = 25",
        f"{RIGHT} = 2 4",
        f"{RIGHT} = 24 = 24",
        f"24 = {RIGHT}",
        f"{RIGHT} == 24",
        f"{RIGHT} =",
        "= 24",
        f"{RIGHT})",
        f"({RIGHT}",
        f"){RIGHT}(",
        "(9+5}*1+10",
        "(7) 6",  # no implied product
        "9 (5)",
        "(9)(5)",
        "9 5",
        "()",
        f"{RIGHT}()",
        "9(+5*1+10)",
        "9+()5",
        "9+5*1+",
        "9+*5",
        "+9+5*1+10",  # no sign
        "-1*5",
        "10 - -9",
        "9+5**1+10",
        "9+5//1+10",
        "09+5*1+10",
        "00+9+5*1+10",
        *[f"<answer>9+5{sign}1+10</answer>" for sign in ("%", "^", "x", "X", ",", "∗", "&", r"\cdots", "\0")],  # noqa: RUF001
        *[f"<answer>{nine}+5*1+10</answer>" for nine in ("9.", "9.0", "0x9", "9e0", "0_9", "9L", "٩", "９", "⁹")],  # noqa: RUF001
        *[f"<answer>{text}</answer>" for text in ("3.4", "2**3", "7//2", "0x10", "1_0", "1e3", "1,000", "9**9**9")],
        *[f"<answer>9{blank}+5*1+10</answer>" for blank in ("\u00a0", "\u200f", "\x0b", "\u2028")],  # no such blank
        f"<answer>\u00a0{RIGHT}</answer>",
        r"\boxed{\frac{9}+5*1+10}",
        r"\boxed{\frac{9+10}{1}{5}}",
        r"\boxed{{9}{1}+10+5}",
        r"<answer>9}{1+10+5</answer>",
        r"<answer>(9}{1)+10+5</answer>",
        r"<answer>\frac{(9}{1)}+10+5</answer>",
        r"<answer>\frac{9}{1</answer>",
        r"<answer>\frac{}{1}</answer>",
        r"\boxed{\frac{9} {1}+10+5}",
        r"\boxed{\frac 9 1+10+5}",
        r"\boxed{9+5\left*1+10}",
        "<answer>{9+5*1+10}</answer>",
        "9 5 1 * 10 + +",  # postfix
    ],
    "too deep": ["(" * (DEEPEST + 1) + RIGHT + ")" * (DEEPEST + 1), r"<answer>\frac{" + "(" * DEEPEST + "</answer>"],
    "numbers differ": [
        "9+5+10",  # one is missing
        "9+5+10*1*1",  # one is twice there
        "10+9+5*1+0",
        "24",
        "4*6",
        "95-110",  # digits joined
        f"{RIGHT}+{'9' * 900}",
    ],
    "division by zero": ["5/(10-9-1)", "5/(1+9-10) = 24"],
    "another value": ["9+5+1+10", "10-9-5-1", "9/5*1*10", "9/(10+1+5) = 24"],
}
REFUSED_POSTFIX = {
    "no answer": ["", "nine", "9 5 1 * 10 + + !", "<answer></answer>"],
    "too long": [f"<answer>{'9 ' * LONGEST_ANSWER}9</answer>"],
    "not an expression": [
        RIGHT,
        "9 5 1 * 10 +",  # an operand is left
        "9 5 1 * 10 + + +",  # an operand is missing
        "9 + 5 1 * 10 +",
        "+ 9 + 10 * 5 1",
        "9 5 1* 10 + +",  # no blank between
        "9 5 1 * 10 ++",
        "(9 5 1 *) 10 + +",
        "9 5 1 × 10 + +",  # noqa: RUF001
        r"\boxed{9 5 1 \times 10 + +}",
        "9 5 1 * 10 + + = 24",
        "9 5 1 * 10 + + 24",
        "09 5 1 * 10 + +",
        "9 -5 1 * 10 + +",
        "<answer>9.0 5 1 * 10 + +</answer>",
        "<answer>9\u00a05 1 * 10 + +</answer>",
    ],
    "numbers differ": ["9 5 10 + +", "9 5 1 * 10 + + 1 *", "24"],
    "division by zero": ["5 10 9 - 1 - /"],
    "another value": ["9 5 1 + 10 + +", "5 9 1 * 10 - -"],
}


def mark_of(text: str, notation: Notation = "infix", operators: str = "+-*/") -> Mark:
    return verify(text, NUMBERS, TARGET, notation=notation, operators=operators)


Drawn = tuple[str, str, Fraction | None]


@st.composite
def expressions(draw: st.DrawFn, numbers: list[int]) -> Drawn:
    """Infix with redundant parentheses and blanks, postfix, and the value (None: undefined)."""
    blanks = st.sampled_from(["", "", " ", "\n", " \t"])

    def drawn(numbers: list[int], rank: int) -> Drawn:
        """An expression that binds at least as strongly as the rank: 1 a sum, 2 a product, 3 a number or brackets."""
        infix = postfix = str(numbers[0])
        value: Fraction | None = Fraction(numbers[0])
        own_rank = 3
        if len(numbers) > 1:
            cut, sign = draw(st.integers(1, len(numbers) - 1)), draw(st.sampled_from("+-*/"))
            own_rank = 1 if sign in "+-" else 2
            left, left_postfix, a = drawn(numbers[:cut], own_rank)
            right, right_postfix, b = drawn(numbers[cut:], own_rank + 1)
            infix = f"{left}{draw(blanks)}{sign}{draw(blanks)}{right}"
            postfix = f"{left_postfix} {right_postfix} {sign}"
            if a is None or b is None or (sign == "/" and b == 0):
                value = None
            else:
                value = {"+": a + b, "-": a - b, "*": a * b, "/": a / (b or 1)}[sign]
        for _ in range((own_rank < rank) + draw(st.sampled_from([0, 0, 0, 1, 2]))):
            infix = f"({draw(blanks)}{infix}{draw(blanks)})"
        return infix, postfix, value

    return drawn(numbers, 1)


@given(st.data(), st.lists(st.integers(0, 12), min_size=1, max_size=6), st.integers(-3, 30))
def test_a_drawn_expression_is_correct_exactly_where_its_value_is_the_target(data, numbers, target):
    """With the numbers as given in another order; the target is the value itself where that is an integer, or drawn."""
    infix, postfix, value = data.draw(expressions(data.draw(st.permutations(numbers))))
    assert to_postfix(infix, target, notation="infix") == postfix.split()
    targets = {target} | ({int(value)} if value is not None else set())
    for text, notation in ((infix, "infix"), (postfix, "postfix")):
        for wanted in targets:
            mark = verify(text, tuple(numbers), wanted, notation=notation)
            assert (mark.correct, mark.well_formed) == (float(value == wanted), True)
            assert mark.reason == ("division by zero" if value is None else "" if mark.correct else "another value")
            assert not verify(text, (*numbers, 1), wanted, notation=notation).well_formed


@pytest.mark.parametrize(("answer", "text"), [(answer, text) for answer, texts in ACCEPTED.items() for text in texts])
def test_a_completion_is_accepted_and_its_answer_found(answer, text):
    assert mark_of(text) == Mark(1.0, True, "", answer)


@pytest.mark.parametrize(("numbers", "target", "answer"), OTHER_PROBLEMS)
def test_an_answer_to_another_problem_is_accepted(numbers, target, answer):
    assert verify(answer, numbers, target, notation="infix") == Mark(1.0, True, "", answer)
    assert verify(answer, numbers, target + 1, notation="infix").correct == 0


@pytest.mark.parametrize("text", ["9 5 1 * 10 + +", "<answer>\n9 5 1 *\t10 + +</answer>", r"\boxed{9 5 1 * 10 + +}"])
def test_a_postfix_completion_is_accepted(text):
    mark = mark_of(text, "postfix")
    assert (mark.correct, mark.answer.split()) == (1.0, ["9", "5", "1", "*", "10", "+", "+"])


@pytest.mark.parametrize(
    ("notation", "reason", "text"),
    [
        (notation, reason, text)
        for notation, table in (("infix", REFUSED), ("postfix", REFUSED_POSTFIX))
        for reason, texts in table.items()
        for text in texts
    ],
)
def test_a_completion_is_refused_with_its_reason(notation, reason, text):
    mark = mark_of(text, notation)
    assert (mark.correct, mark.reason) == (0.0, reason)
    assert mark.well_formed == (reason in ("division by zero", "another value"))
    assert (mark.answer == "") == (reason in ("no answer", "too long"))


def test_an_operator_that_is_not_allowed_is_refused():
    for text, notation in ((RIGHT, "infix"), ("9 5 1 * 10 + +", "postfix"), (r"\frac{9}{1}+5+10", "infix")):
        assert mark_of(text, notation, "+-*/").correct == 1
        assert mark_of(text, notation, "+-") == Mark(0.0, False, "operator not allowed", text)


def test_every_reason_is_in_a_table():
    assert set(REASONS) == {*REFUSED, "operator not allowed"}


@pytest.mark.parametrize("pad", [0, 1])
def test_lengths_are_bounded(pad):
    """One character more is refused: of an answer in a block, of a bare one, and of the text that is read."""
    spaces = " " * (LONGEST_ANSWER - len(RIGHT) + pad)
    longest = RIGHT[:4] + spaces + RIGHT[4:]
    assert mark_of(f"<answer>{longest}</answer>").reason == ("too long" if pad else "")
    assert mark_of(longest).reason == ("no answer" if pad else "")
    block = f"<answer>{RIGHT}</answer>"
    assert mark_of("so" + block + " " * (LONGEST_TEXT - len(block) + pad)).reason == ("no answer" if pad else "")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"numbers": (3, -1)}, r"numbers is \(3, -1\): want non-negative integers"),
        ({"numbers": (3, 1.5)}, r"numbers is \(3, 1.5\): want non-negative integers"),
        ({"target": "24"}, "target is '24': want an integer"),
        ({"notation": "prefix"}, "notation is 'prefix': want 'infix' or 'postfix'"),
        ({"operators": "+^"}, r"operators is '\+\^': want some of '\+-\*/'"),
    ],
)
def test_a_bad_argument_is_named(changed, message):
    arguments = {"numbers": NUMBERS, "target": TARGET, "notation": "infix"} | changed
    with pytest.raises(ValueError, match=f"^{message}$"):
        verify(RIGHT, **arguments)
