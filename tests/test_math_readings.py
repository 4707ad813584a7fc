r"""How an answer can be read, what its left side says, and the form that a problem asks for."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.mathematics.answers import Answer
from sharpening.llm.mathematics.scorer import gold_fault, math_verdict

Texts = tuple[str, ...]


class Case(NamedTuple):
    problem: str
    gold: str
    right: Texts
    others: Texts


SCIENTIFIC = (
    Case("What is its mass?", "6.02e23", (r"6.02\times 10^{23}\ \text{g}", "6.02E23", "6.02e+23"), ("6.02e22", "6.02")),
    Case("How long is it?", "7.1e-10", (r"7.1\cdot10^{-10}\,\mathrm{m}", r"d=7.1\times 10^{-10}"), ("7.2e-10", "0")),
    Case("How long is it?", r"7.1\times10^{-10}", ("7.1e-10", "0.00000000071"), ("7.0999e-10", r"7.1\times10^{-9}")),
    Case("How many?", "-2.5e4", ("-25000", "-25{,}000", r"-2.5\times 10^4"), ("25000", r"2.5-10^4")),
    Case("How many?", "320", ("3.2e2", r"3.2\times 10^2"), (r"32\times 10", r"3.2\times 10^3")),
    Case("Compute it.", "2e-3", ("0.002", "-3+2e", r"2\times10^{-3}"), ("2e+3", "2-3e")),
)
PERCENT = (
    Case("What percentage of the seats is taken?", "85", (r"85\%", r"85\text{ percent}", "85"), (r"8.5\%",)),
    Case("By how many percent did it fall?", r"\frac{100}{7}", (r"\frac{100}{7}\%",), (r"\frac{100}{8}\%",)),
    Case("What is 20 percent of 425?", "85", ("85",), (r"85\%",)),
    Case("Of its seats, $60\\%$ are taken, and that is 51. How many seats are there?", "85", ("85",), (r"85\%",)),
    Case("Which part of it is taken?", r"\frac{2}{7}", ("2/7",), (r"\frac{2}{7}\%",)),
    Case("Which part of it is taken?", "0.35", (r"35\%",), (r"0.35\%",)),
)
SIGNS = (
    Case("?", r"1\pm\sqrt{6}", (r"x=1\pm\sqrt6", r"1-\sqrt6, 1+\sqrt6"), (r"1+\sqrt6", r"\pm(1+\sqrt6)")),
    Case("?", r"\frac{5+\sqrt{3}}{2},\frac{5-\sqrt{3}}{2}", (r"\frac{5\pm\sqrt3}{2}",), (r"\frac{-5\pm\sqrt3}{2}",)),
    Case("?", r"2\pm 5i", (r"\{2+5i, 2-5i\}", r"z = 2 \mp 5i"), ("2+5i", r"2\pm 4i")),
    Case("?", r"0,\pm\sqrt{10}", (r"x = 0, \pm\sqrt{10}", r"\sqrt{10},-\sqrt{10},0"), (r"\pm\sqrt{10}",)),
    Case("?", r"\{-8,8\}", (r"\pm 8", "x=8 or x=-8"), ("8", r"\frac{\pm 16}{2}")),
)
INTERVALS = (
    Case(
        "?", "(-4,9]", ("-4<x\\le 9", "9\\ge t>-4", r"y>-4 \text{ and } y\le 9"), ("-4<x<9", r"x>-4 \text{ or } x\le 9")
    ),
    Case("?", r"(-\infty,0]\cup(6,\infty)", (r"x\le 0 \text{ or } x>6", r"\{x \mid x>6 \lor x\le 0\}"), (r"0<x\le 6",)),
    Case("?", r"(-\infty,0)\cup(6,\infty)", ("x<0, x>6", r"x\in(-\infty,0)\cup(6,\infty)"), (r"x<0\text{ and }x>6",)),
    Case(
        "?",
        r"1\leq x<\sqrt{7}",
        (r"[1,\sqrt7)", r"x\in[1,\sqrt{7})"),
        (r"(1,\sqrt7)", r"1\le y<\sqrt7", r"1\le 2x<\sqrt7"),
    ),
    Case("?", r"x<2 \text{ or } 3<x<4", (r"(-\infty,2)\cup(3,4)",), (r"(-\infty,2)\cup(3,4]",)),
    Case("?", r"(-\infty,3)\cup(3,\infty)", (r"\mathbb{R}\setminus\{3\}",), (r"\mathbb{R}\setminus\{4\}", "x>3")),
    Case("?", r"(-\infty,\infty)", (r"\mathbb{R}", r"x\in\mathbb{R}"), (r"x>0",)),
)
EQUATIONS = (  # others: equations for another quantity
    Case(
        "?",
        "12",
        (
            *("n=12", "12=n", "a_{7}=12", "f(3)=12", "g'(1)=12", r"\angle ABC=12^\circ", r"P(A \cap B)=12", "|PQ|=12"),
            *(r"\overline{PQ} = 12", r"\text{Area of } PQR = 12", r"\theta_1=12", r"r_{\text{max}}=12\text{ cm}"),
            *(
                r"|A \cup B|=12",
                r"n(A \setminus B)=12",
                r"\Delta x=12",
                r"\sigma^2=12",
                r"f^{(3)}(0)=12",
                r"\ddot{x}(2)=12",
            ),
            *(r"\frac{d^2y}{dx^2}=12", r"\mathbb{P}(X=1)=12", r"\mathrm{lcm}(4,6)=12", r"36 \div 3=12", "C(12,1)=12"),
            *(r"5\text{ apples}+7\text{ apples}=12\text{ apples}", r"\$5+\$7=\$12", r"\lceil 11.2\rceil=12"),
            *(r"\text{Answer}=12", r"\textbf{Answer: }12", r"\det(A)=12", r"5^{3} \bmod 113=12", r"24\cos 60^\circ=12"),
            *("20-8=12", r"\gcd(24, 36)=12", "V=3+9=12", r"3n=36\Rightarrow n=12", "[PQR]=12"),
        ),
        (
            *("3n=12", "n^2=12", "n-1=12", r"\sqrt{n}=12", r"\frac{n}{2}=12", "n(n+1)=12", r"\ln n=12", "1-P(A)=12"),
            *("2f(3)=12", "a_7+1=12", "-n=12", "mn=12", r"n^{-1}=12", "PQ^2=12", r"n=6\Rightarrow 2n=12", "20-7=12"),
        ),
    ),
    Case("?", "720", ("6!=720", r"\binom{6}{1}\cdot 5! = 720"), ("n!=720", r"2\cdot 6!=720")),
    Case("Find $m+n$.", "31", ("m+n=31", "31"), ("m-n=31", "2(m+n)=31")),
    Case(r"Find $\sin 2t$.", r"\frac{1}{3}", (r"\sin 2t=\frac13",), (r"\sin t=\frac13",)),
    Case("What is the sine of the angle $A$?", "0.6", (r"\sin A=0.6",), (r"\cos A=0.6", r"2\sin A=0.6")),
    Case(
        "What is the ratio of $AB$ to $CD$?",
        "12",
        (r"\frac{AB}{CD}=12", "AB/CD = 12"),
        (r"\frac{AB}{2CD}=12", "AB^2/CD=12"),
    ),
    Case(
        "What is the sum of both roots?", "12", ("x_1+x_2=12", r"\text{Answer: }12"), ("x_1+2x_2=12", "x_1^2+x_2^2=12")
    ),
    Case(r"Evaluate $\sum_{k=1}^{4} k!$.", "33", (r"\sum_{k=1}^{4} k! = 33",), (r"2\sum_{k=1}^{4} k! = 33",)),
    Case("?", r"\sqrt{2},\sqrt{5}", (r"x=\sqrt2 \text{ or } x=\sqrt5",), (r"x^2=\sqrt2, x^2=\sqrt5",)),
    Case("?", r"\begin{pmatrix}1&2\\3&5\end{pmatrix}", (r"A^{-1}=\begin{pmatrix}1&2\\3&5\end{pmatrix}",), ()),
    Case("?", "(3,8)", ("(x,y)=(3,8)", "x=3, y=8"), ("(2x,y)=(3,8)",)),
)
NUMBERS_OF_PROBLEM = (  # right answers that happen to stand in the problem, and conversions that are still to be done
    Case(
        "It rains with probability 0.6 on one day and 0.9 on 3 others. How likely is the first?",
        r"\frac35",
        ("0.6",),
        (),
    ),
    Case("Of 8 parts he takes 2, she takes 0.25 of them. What part did he take?", r"\frac{1}{4}", ("0.25", "2/8"), ()),
    Case("Which fraction of 8 is 0.25 times 8?", r"\frac{1}{4}", ("1/4",), ("0.25",)),
    Case("What is 0.25 in lowest terms?", r"\frac{1}{4}", ("1/4",), ("0.25",)),
)
FORMS = (  # others: equal, but not the form asked for
    Case("Expand $(x+4)(x-1)$.", "x^2+3x-4", ("3x-4+x^2", "-(4-3x-x^2)"), ("x(x+3)-4",)),
    Case("Multiply out $(y+1)^3$.", "y^3+3y^2+3y+1", ("1+3y+3y^2+y^3",), ("(y+1)(y^2+2y+1)", "y(y^2+3y+3)+1")),
    Case("Expand it.", r"\frac{x^2}{2}+x", (r"\frac{x^2+2x}{2}",), (r"x(\frac{x}{2}+1)",)),
    Case("Factor $3a^2-12$.", "3(a-2)(a+2)", ("3(2+a)(a-2)",), ("3(a^2-4)", "(3a-6)(a+2)", "3a^2-12")),
    Case("Factorise it completely.", "(y-1)^2(y+3)", ("(y+3)(y-1)(y-1)", "(1-y)^2(y+3)"), ("(y^2-2y+1)(y+3)",)),
    Case("Expand it.", "f(x)=x^2+2x", ("f(x)=2x+x^2", "x^2+2x"), ("f(x)=x(x+2)", "x(x+2)")),
    Case("Expand or factor it.", "(x-2)^2+(y+1)^2=9", ("(x-2)^2+(y+1)^2=9",), ()),
    Case("Factor both.", r"\begin{pmatrix}x(x-1)\\2\end{pmatrix}", (r"\begin{bmatrix}x(x-1)\\2\end{bmatrix}",), ()),
    Case("Find the greatest common factor of both.", "2a(b+1)", ("2a(b+1)", "2ab+2a"), ()),
    Case("It grows by a factor of 3. Find $f(t)$.", r"5\cdot 3^t", (r"f(t)=5\cdot3^t",), ()),
)
REASONS = {
    EQUATIONS: {math_scorer.OTHER_QUANTITY, math_scorer.NOT_WORKED_OUT, math_scorer.UNREADABLE},
    FORMS: {math_scorer.OTHER_FORM, math_scorer.OF_PROBLEM},
}
CASES = [
    (case, rules)
    for rules in (SCIENTIFIC, PERCENT, SIGNS, INTERVALS, EQUATIONS, NUMBERS_OF_PROBLEM, FORMS)
    for case in rules
]


@pytest.mark.parametrize(("case", "rules"), CASES, ids=[f"{case.problem} {case.gold}" for case, _ in CASES])
def test_answers_of_one_meaning_are_taken_and_others_are_not(case: Case, rules: tuple[Case, ...]) -> None:
    marks = {text: math_verdict(case.problem, case.gold, Answer(text, True, "")) for text in case.right + case.others}
    assert {text: mark.reason for text, mark in marks.items() if text in case.right} == dict.fromkeys(case.right, "")
    found = {text: mark.reason for text, mark in marks.items() if text in case.others}
    assert [text for text, reason in found.items() if not reason] == []
    if rules in REASONS:
        assert set(found.values()) <= REASONS[rules]


@pytest.mark.parametrize("gold", [case.gold for case, _ in CASES])
def test_such_gold_answers_mark_themselves(gold: str) -> None:
    assert gold_fault(gold) == ""
    assert math_verdict("?", gold, Answer(gold, True, "")).correct == 1.0
