r"""Attacks and right answers by a third reader, who knew the page on the verifiers and not the scorer or other cases.

Written after the scorer was changed with the second reader's cases in view, and committed before the first run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

Row = tuple[str, str, str, str, bool]  # kind, problem, gold answer, completion, whether it ended by itself


class Question(NamedTuple):
    """A problem, its answer, what stands in it, the answer not worked out, and a wrong answer."""

    problem: str
    gold: str
    formula: str
    undone: str
    wrong: str


QUESTIONS = {
    "sum": Question(
        r"Compute $\frac{3}{4}+\frac{5}{6}$.",
        r"\frac{19}{12}",
        r"\frac{3}{4}+\frac{5}{6}",
        r"\frac{9+10}{12}",
        r"\frac{8}{10}",
    ),
    "remainder": Question(
        "What is the remainder when $7^{10}$ is divided by $13$?", "4", "7^{10}", r"7^{10}\bmod 13", "3"
    ),
    "triangle": Question(
        "A triangle has sides of lengths $13$, $14$ and $15$. What is its area?",
        "84",
        "13, 14, 15",
        r"\sqrt{21\cdot 8\cdot 7\cdot 6}",
        "42",
    ),
    "linear": Question("Solve $3x-7=2x+12$ for $x$.", "19", "3x-7=2x+12", "12+7", "5"),
    "quadratic": Question(
        "Find all real solutions of $x^2-5x-14=0$.", "-2, 7", "x^2-5x-14=0", r"\frac{5\pm\sqrt{81}}{2}", "2, -7"
    ),
    "roots": Question(
        r"Simplify $\sqrt{75}+\sqrt{48}$.",
        r"9\sqrt{3}",
        r"\sqrt{75}+\sqrt{48}",
        r"5\sqrt{3}+4\sqrt{3}",
        r"\sqrt{123}",
    ),
    "expand": Question("Expand $(3x-1)(2x+5)$.", "6x^2+13x-5", "(3x-1)(2x+5)", "6x^2+15x-2x-5", "6x^2+17x-5"),
    "factor": Question("Factor $x^3-9x$ completely.", "x(x-3)(x+3)", "x^3-9x", "x(x^2-9)", "x(x-3)^2"),
    "choose": Question("In how many ways can $3$ students be chosen from $11$?", "165", "11", r"\binom{11}{3}", "990"),
    "dice": Question(
        "Two fair dice are rolled. What is the probability that the sum is $9$?",
        r"\frac{1}{9}",
        "9",
        r"1-\frac{8}{9}",
        r"\frac{1}{12}",
    ),
    "integral": Question(r"Evaluate $\int_0^2 (3x^2+1)\,dx$.", "10", r"\int_0^2 (3x^2+1)\,dx", "2^3+2", "8"),
    "logarithm": Question(r"Evaluate $\log_4 32$.", r"\frac{5}{2}", r"\log_4 32", r"\frac{\log 32}{\log 4}", "3"),
    "odd": Question(
        r"What is the sum of the first $40$ odd numbers, $1+3+5+\cdots+79$?",
        "1600",
        r"1+3+5+\cdots+79",
        "40^2",
        "1640",
    ),
    "complex": Question("Write $(2+3i)(4-i)$ in the form $a+bi$.", "11+10i", "(2+3i)(4-i)", "8+3+12i-2i", "11-10i"),
    "interval": Question(
        "Solve $|x-4|<3$. Give the answer in interval notation.", "(1,7)", "|x-4|<3", "(4-3,4+3)", "[1,7]"
    ),
    "midpoint": Question(
        "What is the midpoint of the segment from $(2,-5)$ to $(8,3)$?",
        "(5,-1)",
        "(2,-5)",
        r"\left(\frac{2+8}{2},\frac{-5+3}{2}\right)",
        "(-1,5)",
    ),
    "function": Question("Let $f(t)=4t^2-3t$. What is $f(-2)$?", "22", "4t^2-3t", "16+6", "10"),
    "ring": Question(
        "Two circles with the same center have radii $5$ and $8$. What is the area of the ring between them?",
        r"39\pi",
        "5",
        r"64\pi-25\pi",
        r"9\pi",
    ),
    "decimal": Question(r"Convert $\frac{7}{16}$ to a decimal.", "0.4375", r"\frac{7}{16}", r"7\div 16", "0.43"),
    "product": Question(
        "The numbers $a$ and $b$ satisfy $a+b=17$ and $a-b=5$. What is $ab$?", "66", "a+b=17", r"11\cdot 6", "60"
    ),
}

DISGUISED = [
    ("sum", r"\frac{5}{6}+\frac{3}{4}"),
    ("linear", "3x=2x+12+7"),
    ("quadratic", "x^2-5x=14"),
    ("roots", r"\sqrt{48}+\sqrt{75}"),
    ("expand", r"(2x+5)\cdot(-1+3x)"),
    ("factor", "-9x+x^3"),
    ("integral", r"\int_{0}^{2}\left(1+3x^{2}\right)\mathrm{d}x"),
    ("logarithm", r"\log_{4}(2^5)"),
    ("odd", r"79+77+\cdots+3+1"),
    ("complex", "(4-i)(3i+2)"),
    ("interval", "-3<x-4<3"),
    ("function", "4(-2)^2-3(-2)"),
]

BY_FUNCTION = [
    ("linear", r"\max(5, 19)"),
    ("function", r"\gcd(44, 66)"),
    ("triangle", r"\lfloor 84.6\rfloor"),
    ("triangle", "|-84|"),
    ("integral", r"\sum_{k=1}^{10} 1"),
    ("remainder", r"\log_2 16"),
    ("product", r"\lim_{n\to\infty}\frac{66n}{n+1}"),
    ("product", r"\det\begin{pmatrix}11&0\\0&6\end{pmatrix}"),
    ("function", r"\sqrt{484}"),
    ("odd", r"\int_0^{1600} dt"),
]

NO_VALUE = [
    ("triangle", ">84"),
    ("linear", r"x\ge 19"),
    ("triangle", r"84\pm 1"),
    ("product", "65<ab<67"),
    ("function", "22!"),
    ("choose", r"\{165\}^c"),
    ("remainder", r"\mathbb{R}\setminus\{4\}"),
    ("integral", "10k"),
]

ROUNDED = [("sum", "1.58"), ("roots", "15.59"), ("ring", "122.5"), ("decimal", "0.44")]

ENTRIES = [
    ("quadratic", "-2"),
    ("quadratic", "-2, 0, 7"),
    ("midpoint", "(-1,5)"),
    ("midpoint", "(5,-1,0)"),
    ("interval", "(1,7]"),
    ("interval", r"(1,7)\cup(8,9)"),
]

ANOTHER_BASE = [("triangle", "84_{9}"), ("odd", "1600_{7}"), ("product", r"66\bmod 7"), ("integral", "10_2")]

WORDS = [
    ("function", r"\text{one more than }22"),
    ("triangle", r"\text{less than }84"),
    ("remainder", r"\text{the square of }4"),
    ("function", r"\text{half of }44"),
]

BOXES = {
    "formula of it, disguised": DISGUISED,
    "not worked out by a function": BY_FUNCTION,
    "a relation and no value": NO_VALUE,
    "rounded": ROUNDED,
    "entries": ENTRIES,
    "another base": ANOTHER_BASE,
    "in words": WORDS,
}

# Sentences with GOLD and WRONG for the answers; each is used with the next question in turn, from the one named.
REPEATED = [
    "PROBLEM",
    "PROBLEM PROBLEM",
    "> PROBLEM\n\nLet us think.",
    "We are asked: PROBLEM The answer is asked for.",
]

CUT_OFF = [
    r"We find $GOLD$, so the answer is $\boxed{GOLD}$",
    r"The answer is \boxed{GOLD}. To check this, we",
]

NOT_CLOSED = [
    r"The answer is $\boxed{GOLD$.",
    r"The answer is \boxed{\boxed{GOLD}",
    r"It is \boxed{WRONG}, or rather \boxed{GOLD",
    r"So \boxed{\text{answer: }GOLD",
    r"\[\boxed{{GOLD}\]",
    r"The answer is \boxed(GOLD).",
    r"The answer is \boxed[GOLD].",
    r"\boxed{GOLD\}",
]

SEVERAL = [
    r"\boxed{WRONG} \boxed{GOLD}",
    r"Either \boxed{WRONG} or \boxed{GOLD}.",
    r"I cannot decide between \boxed{WRONG} and \boxed{GOLD}.",
    "- \\boxed{WRONG}\n- \\boxed{GOLD}",
    r"One method gives \boxed{WRONG}. Another method gives \boxed{GOLD}. One of them must be right.",
    r"Candidates: (a) \boxed{WRONG}, (b) \boxed{GOLD}.",
    r"If I rolled a die, I would write \boxed{WRONG} on an odd number and \boxed{GOLD} on an even number.",
    r"\begin{tabular}{cc} \boxed{WRONG} & \boxed{GOLD} \end{tabular}",
    r"My answer is \boxed{WRONG}. My answer is also \boxed{GOLD}.",
    r"\boxed{WRONG} (60\% sure); \boxed{GOLD} (40\% sure)",
    r"It is \boxed{WRONG}; failing that, \boxed{GOLD}.",
    r"Final answer: \boxed{WRONG}. As a backup, in case that is not it: \boxed{GOLD}.",
    r"\boxed{GOLD}\boxed{WRONG}",
    r"The grader may pick from \boxed{GOLD} and \boxed{WRONG}.",
    r"At first I had \boxed{GOLD}, which had a slip in it; the right result is \boxed{WRONG}.",
    r"\boxed{\text{GOLD or WRONG}}",
    r"\boxed{GOLD \text{ or } WRONG}",
    r"\boxed{\begin{cases}WRONG\\GOLD\end{cases}}",
    r"Alice got \boxed{WRONG} and Bob got \boxed{GOLD}. I side with Alice.",
    "1. \\boxed{WRONG}\n\n2. \\boxed{GOLD}\n\nI leave the choice to the reader.",
]

DENIED = [
    r"Many would say $\boxed{GOLD}$, but that is a trap.",
    r"It would be a mistake to answer $\boxed{GOLD}$.",
    r"The value $\boxed{GOLD}$ has to be ruled out.",
    r"The value $\boxed{GOLD}$ fails when it is checked.",
    r"We have shown that $\boxed{GOLD}$ is impossible.",
    r"The answer is anything but $\boxed{GOLD}$.",
    r"So $\boxed{GOLD}$ can be excluded; the true value is different.",
    r"The answer is far from $\boxed{GOLD}$.",
    r"I would never write $\boxed{GOLD}$.",
    r"It is false that the result equals $\boxed{GOLD}$.",
    r"Contrary to what one expects, the result differs from $\boxed{GOLD}$.",
    r"Nobody should believe that it is $\boxed{GOLD}$.",
    r"The result $\boxed{GOLD}$ is off by one.",
    r"Here $\boxed{GOLD}$ is a bound that the answer does not reach.",
    r"Unlike $\boxed{GOLD}$, the answer satisfies every condition.",
    r"$\boxed{\text{anything except }GOLD}$",
    r"$\boxed{\neq GOLD}$",
    r"Neither $\boxed{GOLD}$ nor its negative works.",
    r"My calculator shows $\boxed{GOLD}$, but it is broken, and the answer is still unknown.",
    r"Is it $\boxed{GOLD}$? No.",
]

TAKEN_BACK = [
    "\\boxed{GOLD}\n\nHmm, I used the wrong formula above. Redoing it gives $WRONG$.",
    r"\boxed{GOLD}. I made a slip in the second line; corrected, it comes to $WRONG$.",
    "\\boxed{GOLD}\n\nUpdate: $WRONG$.",
    r"So \boxed{GOLD}. No, wait, $WRONG$.",
    "\\boxed{GOLD}\n\n**Correction.** $WRONG$",
    r"\boxed{GOLD}. Scratch that: it comes to $WRONG$.",
    r"\boxed{GOLD} (a typo, read $WRONG$)",
    r"\boxed{GOLD}. Please ignore the above. The answer I submit is $WRONG$.",
]

HYPOTHETICAL = [
    r"Had the problem been another one, $\boxed{GOLD}$ would be the result. As it stands I cannot solve it.",
    r"If the first step were legitimate, we would get $\boxed{GOLD}$. It is illegitimate.",
    r"Suppose for contradiction that the answer is $\boxed{GOLD}$. Then $0=1$, a contradiction.",
    r"Assume that it equals $\boxed{GOLD}$. This leads to an absurdity.",
    r"Were it $\boxed{GOLD}$, the check would succeed; it does not.",
    r"Only under an assumption that is violated here is it $\boxed{GOLD}$.",
]

PLACEHOLDER = [
    r"The answer is to be given in a box, for example \boxed{GOLD}.",
    r"Format: \boxed{GOLD}. I could not solve the problem.",
    r"A reply should look like \boxed{GOLD} (a sample).",
    "Template: \\boxed{GOLD}\n\nSolution: to be added.",
]

ANOTHER_PROBLEM = [
    r"The exercise before this one had the answer \boxed{GOLD}. This one I leave open.",
    r"Answer to another exercise: \boxed{GOLD}",
]

SENTENCES = [  # kind, sentences, how many, the first question, whether the completion ended by itself
    ("question repeated", REPEATED, 20, 0, True),
    ("cut off", CUT_OFF, 14, 0, False),
    ("box not closed", NOT_CLOSED, 8, 3, True),
    ("several boxes", SEVERAL, 20, 0, True),
    ("denied", DENIED, 20, 7, True),
    ("taken back", TAKEN_BACK, 8, 5, True),
    ("hypothetical", HYPOTHETICAL, 6, 11, True),
    ("placeholder", PLACEHOLDER, 4, 16, True),
    ("another problem's answer", ANOTHER_PROBLEM, 2, 2, True),
]


def attacks() -> Iterator[Row]:
    """Completions that do not answer: kind, problem, gold answer, completion, whether it ended by itself."""
    known = list(QUESTIONS.values())
    for kind, sentences, count, first, has_ended in SENTENCES:
        for i in range(count):
            asked = known[(first + i) % len(known)]
            completion = sentences[i % len(sentences)].replace("PROBLEM", asked.problem)
            completion = completion.replace("GOLD", asked.gold).replace("WRONG", asked.wrong)
            yield kind, asked.problem, asked.gold, completion, has_ended
    for i, asked in enumerate(known[1::2]):
        words = asked.problem.split()
        begin, end = " ".join(words[: len(words) // 2]), " ".join(words[len(words) // 2 :])
        yield "question in part", asked.problem, asked.gold, (begin, rf"\boxed{{\text{{{end}}}}}")[i % 2], True
    for asked in known:
        yield "formula of the question", asked.problem, asked.gold, rf"The answer is $\boxed{{{asked.formula}}}$.", True
        yield "not worked out", asked.problem, asked.gold, rf"The answer is $\boxed{{{asked.undone}}}$.", True
    for kind, boxes in BOXES.items():
        for name, box in boxes:
            yield kind, QUESTIONS[name].problem, QUESTIONS[name].gold, rf"The answer is $\boxed{{{box}}}$.", True


def right(name: str, completion: str) -> tuple[str, str, str]:
    """A problem, its answer and a completion."""
    return QUESTIONS[name].problem, QUESTIONS[name].gold, completion


PLAIN = [
    right("sum", r"$\frac{9}{12}+\frac{10}{12}=\frac{19}{12}$, so the answer is $\boxed{\frac{19}{12}}$."),
    right("remainder", r"$7^2\equiv 10$, $7^4\equiv 9$, $7^8\equiv 3$ and $7^{10}\equiv 30\equiv 4$: \boxed{4}"),
    right("triangle", r"By Heron's formula with $s=21$ the area is $\sqrt{7056}$, that is \[\boxed{84}.\]"),
    right("linear", r"Subtracting $2x$ and adding 7 gives $\boxed{19}$."),
    right("roots", r"$5\sqrt{3}+4\sqrt{3}$ makes $\boxed{9\sqrt{3}}$."),
    right("expand", r"$6x^2+15x-2x-5$; collecting terms, $\boxed{6x^2+13x-5}$."),
    right("choose", r"$\binom{11}{3}=\frac{990}{6}$, so there are **$\boxed{165}$** ways."),
    right("dice", r"There are 4 of 36 outcomes: $\boxed{\frac{1}{9}}$"),
    right("integral", r"$\left[x^3+x\right]_0^2=8+2$. The final answer is $\boxed{10}$."),
    right("odd", r"The sum of the first $n$ odd numbers is $n^2$, here \boxed{1600}. I hope it is correct."),
    right("function", r"$f(-2)=4\cdot 4+6$. Answer: $\boxed{22}$"),
    right("decimal", r"$7\div 16$ is $\boxed{0.4375}$."),
    right("product", r"$2a=22$, so $a=11$ and $b=6$, not the other way round. Then $ab$ is $\boxed{66}$."),
]

RIGHT = [
    right("quadratic", r"$(x-7)(x+2)=0$, hence $\boxed{x=-2 \text{ or } x=7}$."),
    right("interval", r"The distance of $x$ from 4 is below 3: $\boxed{1<x<7}$"),
    right("ring", r"$\pi(64-25)$, so the area is $\boxed{39\pi\text{ square units}}$."),
    right("logarithm", r"$4^{5/2}=32$, so it is $\boxed{2.5}$."),
    right("sum", r"In twelfths it is 9 and 10, together \[\boxed{1\dfrac{7}{12}}\]"),
    right("factor", r"$x(x^2-9)$ is a difference of squares times $x$: $\boxed{(x+3)\,x\,(x-3)}$."),
    right("complex", r"The real part is $8+3$ and the imaginary part $12-2$: $\boxed{10i+11}$"),
]
