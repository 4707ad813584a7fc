r"""Boxes that the words around them deny, take back, quote or list, and boxes of which the words say other things."""

from __future__ import annotations

import pytest

from sharpening.llm.mathematics import answers
from sharpening.llm.mathematics import scorer as math_scorer
from sharpening.llm.mathematics.answers import answer_of
from sharpening.llm.mathematics.scorer import math_verdict

BOX = r"$\boxed{5}$"  # for @
RIGHT = (
    "@. Not 4, but 5 is the number of sides.",
    "@\n\nSolution: we have $3+2=5$.",
    "According to the theorem, it is @.",
    "So it is @.\n\nThe final answer is 5.",
    "@\n\n**Final answer:** $x = 5$",
    "@. The answer is $5$ cm.",
    "@\n\nThe answer is a prime number, since 5 has no divisors.",
    "@. Note that the final answer is $2+3=5$.",
    "@\n\n**Verification:** $5^2=25$ and $25-20=5$. It should be positive, which it is.",
    "Actually the sum is not 4; it is @.",
    "Oops, I made an error above. The correct value is @.",
    r"@. It must be $5$ because $5\cdot 2=10$.",
    "> **Answer:** @",
    "> The final answer is @",
    "> @\n\nI hope this helps!",
    'The answer is "@".',
    "Let $p$ be the claim. We say that the answer is @.",
    "As the problem says that $n>4$, it is @.",
    "It follows that people who like tea number @.",
    "The student writes @ letters.",
    "The book costs @ dollars.",
    "Since the friend claims nothing, @.",
    "A student thinks it is 4, but it is @.",
    "Die Anzahl der Zahlen, die nicht prim sind, ist @.",
    "Da $x$ nicht negativ ist, gilt $x=$@.",
    "Die nicht durch 3 teilbaren Zahlen: @",
    "Comme $n$ n'est pas pair, la réponse est @.",
    "No es par, así que la respuesta es @.",
    "因为$x$不是负数,所以答案是 @。",
    "不能被3整除的数有 @ 个。",
    "Число не делится на 3, поэтому ответ @.",
    "答えは @ です。",
    "Ответ: @.",
    "No hay otra solución, es @.",
    "La réponse est @. Ce n'est pas difficile.",
    "1. First: $\\boxed{3}$\n\nThen we add two more of them, which were counted before, and get a total of: @",
    "\\newcommand{\\half}{\\frac12}\nThe answer is @.",
    r"\def\x{3} Then @",
    "| step | value |\n|---|---|\n| 1 | 3 |\n| 2 | 5 |\n\nSo @.",
    "| total | @ |",
    "There is no way around computing it, so the answer is @.",
    "Tempting as it is to guess, we compute: @",
    "It is tempting to say 4, but the answer is @.",
    "By no means obvious: the answer is @.",
    "@. This works, and no smaller number does not fail.",
    "@ has the right parity.",
    "@\n\nEdit: fixed a typo in step 2.",
    "@\n\nActually, this can be generalised.",
    "He says that the numbers are 4 and 6, so their mean is @.",
    "@. I have no doubt about it.",
    '"The answer" in the book is @.',
    'A 6" by 4" board... the area in the unit is @.',
    "The chance of it is small. @",
    r"$\begin{aligned} a &= 3 \\ b &= 2 \\ a+b &= \boxed{5} \end{aligned}$",
    r"Thus \[ \boxed{5} \] The answer is \[ 5 \]",
    r"@. The right answer is $\frac{10}{2}=5$.",
    "@\n\nTherefore, the final answer is @.",
    "We get $x=4$ or $x=6$, whose mean is @.",
    "@. Sorry for the long solution; there were $3$ cases.",
    "@, as the answer: 5.",
    "@. So our answer is 5 (out of 20 possible).",
    "It should be noted that the answer is @.",
)
WRONG = {
    answers.DENIED: (
        "@\n\nOn second thought, there are $6$ of them.",
        "@. No, wait. It should be $6$.",
        "@. Correction: $6$.",
        "Some user on the internet claims that it is @.",
        "My friend thinks the answer is @",
        "According to some forum, it is @.",
        "La solution n'est jamais égale à @.",
        "Das Ergebnis ist nicht @.",
        "Es ist niemals @.",
        "El resultado no puede ser @.",
        "A resposta @ está errada.",
        "Il risultato non è @.",
        "@ è sbagliato.",
        "Ответ не @.",
        "@ неправильный ответ.",
        "这不可能是 @。",
        "@ 不正确。",
        "@ は答えではありません。",
        "@ ist falsch.",
        "@ est faux.",
        "@ n'est pas la bonne réponse.",
        "In no case can the value be @.",
        "It would be wrong to say that it's tempting to write @.",
        "It is untrue that the sum equals @.",
        "One could wrongly conclude that it is @.",
        "@ does not satisfy the equation.",
        "@ is too large.",
        "@ doesn't work.",
        "@: this is ruled out by parity.",
        "@. I could not solve the problem.",
        "Most say @, but they are wrong.",
    ),
    answers.TAKEN_BACK: (
        "@. My mistake: I forgot the empty set, so there are 6.",
        "@\n\nUpdate: after recounting I find $n = 6$.",
        "@\n\n**The correct answer is 6.**",
        "@. Make that 6.",
        "@. I misread the question, so we have $x=6$.",
        "@\n\nThe answer is 6.",
        r"@ ... hold on, the last term was skipped, giving \(6\).",
        "@. Sorry, I meant $6$.",
        "@\n\nTherefore the final answer is $\\frac{11}{2}$.",
        "@. Strike that; the value is 6.",
        "@. I retract this; $n = 6$.",
        "@. Ah no: $6$.",
        "@ should read $6$.",
        "@. Not 5 but 6.",
        "@. Replace this by 6.",
        "@\n\nSolution: $6$",
        "@. In truth it is 6.",
    ),
    math_scorer.DIFFERENT: (
        "- $\\boxed{4}$ (60%)\n- @ (40%)",
        r"$\boxed{4}$, unless $x$ is odd, when it is @.",
        "| way | n |\n|--|--|\n| direct | $\\boxed{4}$ |\n| recursion | @ |",
        r"\begin{tabular}{cc} a & \boxed{4} \\ \hline b & \boxed{5} \end{tabular}",
        r"Odds are even that it is $\boxed{4}$, or rather @.",
        "Method 1: $\\boxed{4}$\nMethod 2: @",
        r"$\boxed{4}$ by the first argument and @ by the second one. Pick whichever you like.",
        r"We have $\boxed{4}$ from here, @ from there; I can't decide.",
    ),
    answers.NO_BOX: (
        "> Bob: it is @\n\nIs he right?",
        "> I think that it is @\n\nThis is what the last user wrote.",
        "The manual says: “for example, type @ at the end”.",
        'He wrote "the result is @" on the board.',
        "<blockquote>The answer is @</blockquote>",
        r"\begin{quote}@\end{quote}",
        r"\newcommand{\ans}{\boxed{5}}",
        r"\renewcommand\res[1]{\fbox{5}} The rest is left.",
        r"\def\a{The answer is @} is how I would define it",
        r"\providecommand{\b}[2][x]{{\bf \boxed{5}}}",
    ),
}


@pytest.mark.parametrize("completion", RIGHT)
def test_words_around_a_box_that_do_not_deny_it_leave_it_an_answer(completion: str) -> None:
    answer = answer_of(completion.replace("@", BOX))
    assert answer.reason == ""
    assert math_verdict("What is it?", "5", answer).reason == ""


@pytest.mark.parametrize(
    ("reason", "completion"), [(reason, text) for reason, texts in WRONG.items() for text in texts]
)
def test_a_box_that_is_denied_taken_back_quoted_or_one_of_several_does_not_count(reason: str, completion: str) -> None:
    answer = answer_of(completion.replace("@", BOX))
    assert (answer.reason or math_verdict("What is it?", "5", answer).reason) == reason
