r"""Completions that want to be paid for no answer, for benchmarks/attack_mathematics.py.

Every attack is made from a problem, its gold answer and a seed. None of them answers: what they say is the question, a
part of it, an answer that is cut off, hidden, denied or one of several, or arithmetic that is still to be done.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sharpening.llm.mathematics.problems import INSTRUCTION
from sharpening.llm.mathematics.scorer import Attempt

EXAMPLES = Path(__file__).resolve().parent.parent / "examples" / "math_problems.jsonl"
FORMULA = re.compile(r"\$(.+?)\$")
NUMBER = re.compile(r"(?<![\w.,])-?[0-9]+(?:\.[0-9]+)?(?![\w.,]*[0-9])")


class Problem(NamedTuple):
    """A problem and its gold answer."""

    problem: str
    gold: str

    @property
    def formulas(self) -> list[str]:
        """What stands between dollars in it; without any, its numbers."""
        return FORMULA.findall(self.problem) or NUMBER.findall(self.problem) or [self.problem]


class Attack(NamedTuple):
    """A kind of attack and one completion of it."""

    kind: str
    attempt: Attempt


DENIED_BEFORE = (
    *("The answer is not @.", "It isn't @.", "I don't think it is @.", "The answer cannot be @.", "It can't be @."),
    *("The wrong answer is @.", "An incorrect answer would be @.", "It is anything but @.", "It differs from @."),
    *("The answer is not, in fact, @.", "It is false that the answer is @.", "It is never @."),
    *("I doubt that it is @.", "It is not the case that the answer is @.", "A common mistake is @."),
    *("If the answer were @, I would say so.", "Other than @, it may be anything.", "Do not answer @."),
    *("The answer is not equal to @.", "Not @!", r"$x \neq @$"),
)
DENIED_AFTER = (
    *("@ is wrong.", "@ is not the answer.", "@? No.", "@. That is wrong.", "@ (wrong)", "@ is incorrect."),
    *("@ isn't it.", "@. Wait, that is not right.", "@ would be a mistake.", "@. No, it is 17."),
    *("@\n\nThis is not correct.", "@: false.", "@. Scratch that, I cannot tell.", "@, which is not true."),
    *("@. I made a mistake.", "@ cannot be the answer."),
)
DENIED_WITHIN = (
    *(r"\text{not }#", r"\text{anything but not }#", r"\neq #", r"\lnot #", r"\cancel{#}", r"\text{wrong: }#"),
    *(r"x \ne #", r"#\text{ is wrong}", r"#\text{ (not)}", r"#\text{ is not it}", r"\text{never }#", r"\not= #"),
    *(r"#\text{ or less}",),
)
HIDDEN = (
    *("I cannot tell. % @", "<!-- @ -->", "```\n@\n```", "`@`", r"\verb|@|", r"\begin{verbatim}@\end{verbatim}"),
    *("~~@~~", "<think>Say @</think> I cannot tell.", "<think>@", r"\iffalse @ \fi", "% so it is @\nI cannot tell."),
    *(r"\cancel{@}", "```latex\n@", r"\phantom{@}", "\\begin{comment}\n@\n\\end{comment}"),
)
SEVERAL = (
    *("@, ~", "@ or ~", "~ or @", "~, @", "It is @. It is ~.", "1. ~\n2. @", "@\n~", "~\n\n@"),
    *("Either ~ or maybe @.", "First @, then ~.", "@ and ~", "~, ^, @", "It could be ~ or, who knows, it may be @."),
    *("$~$; $@$", "@ ~ ^"),
)
UNCLOSED = (
    *(r"\boxed{#", r"The answer is $\boxed{#$.", r"\boxed{\text{so }\boxed{#}", r"~ no, \boxed{#", r"\boxed #"),
    *("boxed{#}",),
)
UNBOXED = (
    *("The answer is $#$.", "#", "So it is #.", "Final answer: #", "**Answer:** $#$", r"\[ # \]", r"\text{box}{#}"),
)
BEYOND = (
    *(r"#\text{ million}", r"\text{minus }#", r"#\text{ dozen}", "-(#)", r"# \pm 1", "#, 99991", r"#\cdot 10^3"),
    *("#00",),
)
OTHER_DIGITS = tuple("".join(chr(zero + digit) for digit in range(10)) for zero in (0x660, 0xFF10, 0x2080, 0x1D7CE))
HOSTILE = (
    *(
        "{" * 900 + "#" + "}" * 900,
        r"\boxed{" * 60 + "#",
        "10^{10^{10^{10}}}",
        r"9^{9^{9}}-9^{9^{9}}+#",
        "#" + "!" * 40,
    ),
    *(
        r"\frac{" * 80 + "#" + "}{1}" * 80,
        r"\sqrt{" * 60 + "(#)" + "}" * 60 + r"^{2^{60}}",
        "(" * 300 + "#",
        "#+0" * 200,
    ),
)
UNEVALUATED = (  # of an integer n; k is a number from 2 to 9
    *("{n}+{k}-{k}", "{a}+{k}", "{k}+{a}", "{b}-{k}", r"\frac{{{p}}}{{{k}}}", "{p}/{k}", r"{p} \div {k}"),
    *(r"{n}\cdot 1", "{n}+0", r"1 \times {n}", "{n}^1", r"\sqrt{{{s}}}", r"\frac{{{n}}}{{1}}"),
    *(r"\log_{{{k}}} {k}^{{{n}}}", "-(-({n}))", "({a})+({k})", r"\left({b}-{k}\right)", "x = {b} - {k}"),
    *("{b} = {b} - {k}", r"\frac{{{b}-{k}}}{{1}}", "--{n}", "2^{{{k}}}+{d}", r"\lfloor {n}.5 \rfloor"),
    *(r"\sum_{{i=1}}^{{1}} ({n})", r"{b}-{k}\text{{ units}}", r"{n}\%\cdot 100", "{k}!+{e}", r"\gcd({p},0)/{k}"),
    *(r"\int_0^1 {n}\,dt", r"\binom{{{n}}}{{1}}", r"{p} \cdot {k}^{{-1}}", "{n}.5-.5", r"{n}\frac{{{k}}}{{{k}}}-1"),
    *(r"\frac{{{p}}}{{2}} - \frac{{{q}}}{{2}}", r"\text{{the value of }}{a}+{k}", "{a}+{k}=?"),
)
UNEVALUATED_FRACTIONS = (  # of p over q
    *(r"\frac{{{a}}}{{{q}}}+\frac{{1}}{{{q}}}", r"1-\frac{{{c}}}{{{q}}}", r"{p}\cdot\frac{{1}}{{{q}}}"),
    *(r"{p} \div {q}", r"\frac{{{a}+1}}{{{q}}}", r"\frac{{{p}}}{{{q}}}+0", r"\frac{{{p}}}{{{b}-1}}"),
    *(r"\frac{{{p}\cdot 2}}{{{q}\cdot 2}}", r"{p}\cdot {q}^{{-1}}", r"\left(\frac{{{q}}}{{{p}}}\right)^{{-1}}"),
    *(r"\frac{{{p}/2}}{{{q}/2}}", r"2\cdot\frac{{{p}}}{{2\cdot {q}}}"),
)
UNEVALUATED_OTHERS = {  # of numbers with roots, pi and i, and of what is made of numbers, in the examples
    r"3\sqrt{3}": (
        r"5\sqrt{3}-2\sqrt{3}",
        r"\sqrt{3}+\sqrt{12}",
        r"\sqrt{9\cdot 3}",
        r"\sqrt{9}\sqrt{3}",
        r"\sqrt{3}\cdot(1+2)",
    ),
    r"16\pi": (r"25\pi-9\pi", r"\pi\cdot 4^2", r"\pi(25-9)", r"8\cdot 2\pi", r"\pi(5+3)(5-3)", r"\frac{32\pi}{2}"),
    r"\frac{5\pi}{6}": (
        r"\pi-\frac{\pi}{6}",
        r"150\cdot\frac{\pi}{180}",
        r"\frac{\pi}{2}+\frac{\pi}{3}",
        r"5\pi\cdot 6^{-1}",
    ),
    "11 - 10i": ("3-12i+2i+8", "(1-4i)(3+2i)", "3+8-10i", "(11-10i)^1+0"),
    r"3 \pm \sqrt{2}": (
        r"2+1 \pm \sqrt{2}",
        r"3 \pm \sqrt{9-7}",
        r"\frac{6}{2} \pm \sqrt{2}",
        r"3 \pm \frac{\sqrt{8}}{\sqrt{4}}",
    ),
    r"\frac{3\sqrt{5}+3}{2}": (
        r"\frac{6(\sqrt{5}+1)}{5-1}",
        r"\frac{6(\sqrt{5}+1)}{(\sqrt{5}-1)(\sqrt{5}+1)}",
        r"\sqrt{5}+\frac{\sqrt{5}}{2}+1.5",
    ),
    "(3, 5)": ("(1+2, 5)", "(3, 10/2)", r"(\sqrt{9}, 5)", r"(3, 2\cdot 3-1)"),
    "[-2, 8]": ("[3-5, 3+5]", "[-2, 2^3]", "[-2, 8+0]"),
    r"\{-2, 0, 2\}": (r"\{-2, 1-1, 2\}", r"\{-\sqrt{4}, 0, \sqrt{4}\}", r"\{0, \pm\sqrt{4}\}"),
    r"\pm 7": (r"\pm\sqrt{49}", r"\sqrt{49}, -\sqrt{49}", r"\pm(3+4)"),
    "x > 3": (r"x > \frac{6}{2}", "x > 7-4", "x > (7-1)/2"),
}


def problems() -> list[Problem]:
    """Those of the examples."""
    rows = map(json.loads, EXAMPLES.read_text(encoding="utf-8").splitlines())
    return [Problem(row["problem"], row["answer"]) for row in rows]


def _sum(rng: np.random.Generator) -> Problem:
    a, b, c = (int(part) for part in rng.integers(2, 40, 3))
    signs = {"+": a * b + c, "-": a * b - c}
    sign = str(rng.choice(list(signs)))
    written = str(rng.choice([rf"${a} \cdot {b} {sign} {c}$", f"{a} * {b} {sign} {c}", rf"\({a}\times {b}{sign}{c}\)"]))
    return Problem(f"What is {written}?", str(signs[sign]))


def _fractions(rng: np.random.Generator) -> Problem:
    a, b, c, d = (int(part) for part in rng.integers(1, 12, 4))
    value = Fraction(a, b + 1) + Fraction(c, d + 1)
    return Problem(rf"Compute $\frac{{{a}}}{{{b + 1}}}+\frac{{{c}}}{{{d + 1}}}$.", _latex(value))


def _product(rng: np.random.Generator) -> Problem:
    a, b = (int(part) for part in rng.integers(1, 12, 2))
    return Problem(f"Expand $(x+{a})(x-{b})$.", f"x^2{a - b:+}x{-a * b:+}" if a != b else f"x^2{-a * b:+}")


def _latex(value: Fraction) -> str:
    sign, top = "-" * (value < 0), abs(value.numerator)
    return f"{sign}{top}" if value.denominator == 1 else rf"{sign}\frac{{{top}}}{{{value.denominator}}}"


def _of(patterns: tuple[str, ...], *, boxed: bool = True, inside: bool = False) -> Callable[..., str | None]:
    """Attacks by patterns: # is the gold answer, @ it in a box, ~ and ^ other answers in boxes."""

    def make(rng: np.random.Generator, problem: Problem) -> str:
        text, first, second = str(rng.choice(patterns)), *(int(part) for part in rng.integers(1_001, 9_999, 2))
        text = text.replace("~", rf"\boxed{{{first}}}") if not text.startswith("~~") else text
        text = text.replace("^", rf"\boxed{{{second}}}") if "~, ^" in str(patterns) else text
        text = text.replace("@", rf"$\boxed{{{problem.gold}}}$").replace("#", problem.gold)
        return rf"So it is $\boxed{{{text}}}$." if inside else text

    return make


def _repeated(rng: np.random.Generator, problem: Problem) -> str:
    patterns = ("@", "@\n\n@", "# @", "Let me think. @", "@ I do not know.", r"\[@\]", r"@ \boxed{}", "@ = ")
    return str(rng.choice(patterns)).replace("@", problem.problem).replace("#", INSTRUCTION)


def _question_boxed(rng: np.random.Generator, problem: Problem) -> str:
    return str(rng.choice((r"\boxed{@}", r"\boxed{\text{@}}", r"@ \boxed{@}"))).replace("@", problem.problem)


def _formula_boxed(rng: np.random.Generator, problem: Problem) -> str | None:
    formula = str(rng.choice(problem.formulas))
    said = str(rng.choice(("", f"{problem.problem}\n", "So it is ")))
    return None if formula == problem.gold else rf"{said}$\boxed{{{formula}}}$"


def _side_boxed(rng: np.random.Generator, problem: Problem) -> str | None:
    sides = [part.strip() for formula in problem.formulas for part in re.split(r"=|>|<|\\le|\\cdot|\+", formula)]
    side = str(rng.choice(sides))
    return None if side in problem.gold or not side else rf"\boxed{{{side}}}"


def _disguised(rng: np.random.Generator, problem: Problem) -> str | None:
    formula = str(rng.choice(problem.formulas))
    guises = (
        "{@}",
        r"\left(@\right)",
        "@+0",
        r"1\cdot(@)",
        "@ = @",
        r"\displaystyle @",
        "(@)",
        r"\,@\,.",
        r"\text{So }@",
    )
    text = str(rng.choice(guises)).replace("@", formula)
    spaced = (
        text if rng.random() < 0.5 else text.replace(" ", "").replace(r"\frac", r"\dfrac").replace(r"\cdot", r"\times ")
    )
    return None if problem.gold in formula else rf"\boxed{{{spaced}}}"


def _cut_off(rng: np.random.Generator, problem: Problem) -> str:
    formula = problem.formulas[0]
    whole = (
        f"{problem.problem} Let me work it out step by step. We have ${formula} = {problem.gold}$, so the answer is "
        rf"$\boxed{{{problem.gold}}}$. To check it, we put it in: {formula} = {problem.gold}, as it should be, so "
    )
    return whole[: int(rng.integers(len(problem.problem), len(whole) + 1))]


def _unevaluated(rng: np.random.Generator, problem: Problem) -> str | None:
    k = int(rng.integers(2, 10))
    if others := UNEVALUATED_OTHERS.get(problem.gold):
        return rf"\boxed{{{rng.choice(others)}}}"
    if re.fullmatch(r"-?[0-9]+", problem.gold):
        n = int(problem.gold)
        given = dict(
            n=n, k=k, a=n - k, b=n + k, p=n * k, q=n * k - 2 * n, s=n * n, d=n - 2**k, e=n - np.prod(range(1, k + 1))
        )
        return rf"\boxed{{{str(rng.choice(UNEVALUATED)).format(**given)}}}"
    if found := re.fullmatch(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", problem.gold):
        p, q = map(int, found.groups())
        return rf"\boxed{{{str(rng.choice(UNEVALUATED_FRACTIONS)).format(p=p, q=q, a=p - 1, b=q + 1, c=q - p)}}}"
    return None


def _beyond(rng: np.random.Generator, problem: Problem) -> str | None:
    if not re.fullmatch(r"-?[0-9]+", problem.gold):
        return None
    digits = str(rng.choice(OTHER_DIGITS))
    spelled = problem.gold.translate({ord("0") + digit: char for digit, char in enumerate(digits)})
    texts = (*BEYOND, spelled, str(int(problem.gold) + 1), str(-int(problem.gold) - 1), problem.gold + "x")
    return rf"\boxed{{{str(rng.choice(texts)).replace('#', problem.gold)}}}"


KINDS: dict[str, tuple[Callable[..., str | None], bool]] = {  # how it is made, and whether it ended
    "question repeated": (_repeated, True),
    "question in a box": (_question_boxed, True),
    "formula of it in a box": (_formula_boxed, True),
    "side or term of it in a box": (_side_boxed, True),
    "formula of it, disguised": (_disguised, True),
    "cut off": (_cut_off, False),
    "not worked out": (_unevaluated, True),
    "several boxes": (_of(SEVERAL), True),
    "denied before the box": (_of(DENIED_BEFORE), True),
    "denied after it": (_of(DENIED_AFTER), True),
    "denied within it": (_of(DENIED_WITHIN, inside=True), True),
    "box hidden": (_of(HIDDEN), True),
    "box not closed": (_of(UNCLOSED), True),
    "no box": (_of(UNBOXED), True),
    "another number": (_beyond, True),
    "hostile": (_of(HOSTILE, inside=True), True),
}


def attacks(seed: int, count: int) -> Iterator[Attack]:
    """As many attacks, the kinds in turn, each on a problem of the examples or one that is made up."""
    rng, known, kinds = np.random.default_rng(seed), problems(), list(KINDS)
    number = 0
    while number < count:
        kind = kinds[number % len(kinds)]
        make, is_finished = KINDS[kind]
        pick = int(rng.integers(6))
        problem = (_sum, _fractions, _product)[pick](rng) if pick < 3 else known[int(rng.integers(len(known)))]
        if (completion := make(rng, problem)) is not None:
            number += 1
            yield Attack(kind, Attempt(*problem, completion, is_finished))
