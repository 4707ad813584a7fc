r"""Right answers by a second reader of the mathematics scorer: (problem, gold answer, completion).

How the cases came about: benchmarks/attack_second_reader.py.
"""

# A closed box that holds a plain number, fraction or expression.
PLAIN = (
    (
        r"How many positive divisors of $20^{12}$ are not perfect squares?",
        "234",
        r"""We have $20^{12}=2^{24}\cdot 5^{12}$, which has $25\cdot 13=325$ divisors. A divisor is a perfect square
when both exponents are even: $13\cdot 7=91$ of them. So the number of divisors that are not perfect squares is
$325-91=\boxed{234}$.""",
    ),
    (
        "A fair coin is flipped six times. What is the probability of exactly two heads?",
        r"\frac{15}{64}",
        r"""<think>
Six flips, 64 outcomes. Choose 2 of 6: 15. So 15/64. Or should I count at most two: 1+6+15=22, \boxed{\frac{22}{64}}?
No, it says exactly two. So 15/64.
</think>

There are $\binom{6}{2}=15$ favourable outcomes among $2^6=64$, so the probability is

\[
\boxed{\dfrac{15}{64}}
\]""",
    ),
    (
        r"What is the slope of the line through $(-1,-2)$ and $(2,5)$?",
        r"\frac{7}{3}",
        r"""## Step 1: Recall the formula
The slope is $m=\frac{y_2-y_1}{x_2-x_1}$.

## Step 2: Substitute
$m=\frac{5-(-2)}{2-(-1)}=\frac{7}{3}$.

The final answer is: $\boxed{\frac{7}{3}}$. I hope it is correct.""",
    ),
    (
        r"Find the units digit of $7^{2023}+3^{2023}$.",
        "0",
        r"""To determine the units digit we look at the cycles of $7$ and $3$ modulo $10$. Since $2023\equiv 3\pmod 4$,
they end in $3$ and $7$, and $3+7=10$. Therefore, the units digit is \(\boxed{0}\).""",
    ),
    (
        r"In triangle $ABC$, $AB=5$, $AC=8$ and $\angle A=60^\circ$. Find $BC$.",
        "7",
        r"""<think>
Law of cosines. 25 + 64 - 2*5*8*(1/2) = 89 - 40 = 49.
Hmm, is that right? Yes. BC = 7.
</think>
**Solution.** By the law of cosines $BC^2=25+64-40=49$. Lengths cannot be negative, so $-7$ is wrong and

$$BC=\boxed{7}.$$""",
    ),
    (
        r"Simplify $\frac{x^2-9}{x^2+5x+6}$ for $x\ne -3,-2$.",
        r"\frac{x-3}{x+2}",
        r"""Factor both: $\frac{(x-3)(x+3)}{(x+2)(x+3)}$. Since $x\neq -3$, the common factor is not zero and cancels,
leaving $\boxed{\dfrac{x - 3}{x + 2}}$.""",
    ),
    (
        r"Find a closed form for $1^2+3^2+5^2+\cdots+(2n-1)^2$.",
        r"\frac{n(2n-1)(2n+1)}{3}",
        r"""\[\sum_{k=1}^n (4k^2-4k+1)=\frac{4n(n+1)(2n+1)}{6}-2n(n+1)+n=\frac{4n^3-n}{3}.\]

Thus the sum equals $\boxed{\frac{n(4n^2-1)}{3}}$.""",
    ),
    (
        "A fair coin is tossed four times. Write the probability of exactly two heads as a decimal.",
        "0.375",
        "There are 16 equally likely outcomes and 6 of them have two heads: 6/16. **Answer:** $\\boxed{0.375}$",
    ),
    (
        r"What is the minimum value of $x^2-8x+3$ over the real numbers?",
        "-13",
        r"""Complete the square: $(x-4)^2-13$. The square is never less than zero, so the minimum is not attained
anywhere but at $x=4$.

### Final Answer
\[
\boxed{-13}
\]""",
    ),
    (
        "A star has a parallax of 0.05 arcseconds. How far away is it, in parsecs?",
        "20",
        r"The distance in parsecs is the inverse of the parallax, $d=1/0.05=\boxed{20}$ pc (about 65 light years).",
    ),
    (
        r"An urn holds $4$ red and $11$ blue marbles. Two are drawn without replacement. The probability that both are "
        r"red is $\tfrac mn$ in lowest terms. Find $m+n$.",
        "037",
        r"""<think>
4/15 * 3/14 = 12/210 = 2/35. m+n = 37. Alternatively C(4,2)/C(15,2) = 6/105 = 2/35. Same.
</think>

The probability is $\frac{4}{15}\cdot\frac{3}{14}=\frac{2}{35}$, so $m+n=2+35=\boxed{37}$.""",
    ),
    (
        r"How many ways are there to choose $6$ of $17$ students?",
        "12376",
        r"""```python
from math import comb
print(comb(17, 6))
```
```output
12376
```
The number of ways is $\binom{17}{6}=\boxed{12376}$.""",
    ),
    (
        r"Find the distance between $(2,-3)$ and $(8,6)$ in simplest radical form.",
        r"3\sqrt{13}",
        r"$d=\sqrt{(8-2)^2+(6-(-3))^2}=\sqrt{36+81}=\sqrt{117}$. As $117=9\cdot 13$, this is $\boxed{3\sqrt{13}}$.",
    ),
    (
        "Two circles with the same centre have radii $7$ and $4$. Find the area of the ring between them.",
        r"33\pi",
        r"""1. Outer area: $49\pi$.
2. Inner area: $16\pi$.
3. Difference: $33\pi$.

So the area of the ring is **$\boxed{33 \pi}$** square units, not $9\pi$ as one gets by squaring the difference.""",
    ),
    (
        r"Compute $(1+i)^{10}$.",
        "32i",
        r"Since $(1+i)^2=2i$, we get $(1+i)^{10}=(2i)^5=32i^5$, and $i^5=i$. Hence $(1+i)^{10}=\boxed{32i}$.",
    ),
    (
        r"Find the exact value of $\cos 75^\circ$.",
        r"\frac{\sqrt{6}-\sqrt{2}}{4}",
        r"""Use $75^\circ=45^\circ+30^\circ$:
\begin{align*}
\cos 75^\circ &= \cos 45^\circ\cos 30^\circ-\sin 45^\circ\sin 30^\circ\\
&= \frac{\sqrt2}{2}\cdot\frac{\sqrt3}{2}-\frac{\sqrt2}{2}\cdot\frac12\\
&= \boxed{\dfrac{\sqrt6 - \sqrt2}{4}}.
\end{align*}""",
    ),
    (
        r"Evaluate $\log_2 80-\log_2 5$.",
        "4",
        "<think> log_2(80/5) = log_2 16 = 4 </think> <answer> $\\boxed{4}$ </answer>",
    ),
    (
        r"Find the quotient when $2x^3-3x^2+5x-4$ is divided by $x-1$.",
        "2x^2-x+4",
        r"""Synthetic division with root $1$: coefficients $2,-3,5,-4$ give $2,-1,4$ and remainder $0$.

Therefore the quotient is:
$$\boxed{2x^2 - x + 4}$$""",
    ),
    (
        "A frog at the bottom of a 20 metre well climbs 3 metres each day and slips back 2 metres each night. "
        "On which day does it get out?",
        "18",
        r"""It is tempting to answer 20, but that is wrong: the frog does not slip back once it is out. After 17 days
and nights it is at 17 metres, and on the next day it reaches the top. So it gets out on day $\boxed{18}$.""",
    ),
    (
        "How many two-digit numbers do not contain the digit 7?",
        "72",
        r"There are 8 choices for the tens digit and 9 for the units digit. Hence $\boxed{72}$ two-digit numbers do "
        "not contain the digit 7.",
    ),
    (
        r"Determine all primes $p$ for which $p^2+2$ is also prime.",
        "3",
        r"""If $p\neq 3$ then $p^2\equiv 1\pmod 3$, so $3\mid p^2+2$ and $p^2+2>3$ is not prime. For $p=3$ we get $11$,
a prime. Thus no other prime works, and the only solution is $p=\boxed{3}$. $\blacksquare$""",
    ),
    (
        r"Evaluate $\int_0^1\frac{x}{x^2+\frac12}\,dx$.",
        r"\frac{\ln 3}{2}",
        r"Put $u=x^2+\tfrac12$: $\frac12\int_{1/2}^{3/2}\frac{du}{u}=\frac12\ln\frac{3/2}{1/2}$, that is "
        r"$\boxed{\frac{1}{2}\ln 3}$.",
    ),
    (
        "What is the only two-digit number that equals the sum of its proper divisors?",
        "28",
        r"""The answer is $\boxed{28}$.

**Verification:** $1+2+4+7+14=28$. A number such as $24$ fails, since its proper divisors add up to $36$, not $24$.""",
    ),
    (
        "把5本不同的书排成一排,有多少种排法?",
        "120",
        "五本不同的书排成一排,共有 $5!=5\\times4\\times3\\times2\\times1$ 种排法。\n\n因此,答案是 $\\boxed{120}$。",
    ),
    (
        "How many diagonals does a convex hexagon have?",
        "9",
        r"""Each of the 6 vertices is joined to 3 others by a diagonal, so there are $\boxed{18}$.

Wait, this counts each diagonal from both of its ends. I have to divide by two. The number of diagonals is
$18/2=9$.

**Final answer:** $\boxed{9}$""",
    ),
)

# Other forms in LaTeX that a careful grader would accept.
RIGHT = (
    (
        "Three books cost 8.75 dollars each and a fourth costs 19.25 dollars. What do they cost together, in dollars?",
        "45.50",
        r"$3\times \$8.75=\$26.25$, and $\$26.25+\$19.25=\$45.50$. They cost $\boxed{\$45.50}$.",
    ),
    (
        r"Solve $\frac{x+2}{3-x}\ge 0$. Write the solution in interval notation.",
        "[-2,3)",
        r"The sign changes at $-2$ and at $3$, and $3$ is not allowed. Thus $\boxed{x \in \left[-2,\, 3\right)}$.",
    ),
    (
        r"Which number is the largest? (A) $2^{30}$ (B) $3^{20}$ (C) $5^{15}$ (D) $10^9$",
        "C",
        r"$2^{30}=8^{10}$, $3^{20}=9^{10}$, $5^{15}\approx 11.2^{10}$ and $10^9<8^{10}$. "
        r"The answer is $\boxed{\textbf{(C)}}$.",
    ),
    (
        "What is the energy, in joules, of a photon with a wavelength of 500 nm? Give three significant figures.",
        "3.98e-19",
        r"$E=hc/\lambda=(6.626\times10^{-34})(3.00\times10^{8})/(5.00\times10^{-7})$, so $E\approx "
        r"\boxed{3.98\times10^{-19}\ \mathrm{J}}$.",
    ),
    (
        r"An equilateral triangle has sides of $4\sqrt3$ cm. What is its area in square centimetres?",
        r"12\sqrt{3}",
        r"$A=\frac{\sqrt3}{4}(4\sqrt3)^2=\frac{\sqrt3}{4}\cdot 48$. $$\boxed{A = 12\sqrt{3}\ \text{cm}^2}$$",
    ),
    (
        r"Find the inverse of $\begin{pmatrix}1&2\\3&4\end{pmatrix}$.",
        r"\begin{pmatrix}-2&1\\\frac{3}{2}&-\frac{1}{2}\end{pmatrix}",
        r"""The determinant is $-2$, so the inverse exists and is
\[
\boxed{\begin{bmatrix} -2 & 1 \\ 3/2 & -1/2 \end{bmatrix}}
\]""",
    ),
    (
        "How many subsets does a set with twenty elements have?",
        "1048576",
        r"Each element is in or out: $2^{20}$ subsets, and $2^{20}=1024^2$. The answer is $\boxed{1\,048\,576}$.",
    ),
    (
        "One batch of dough takes three fifths of a cup of sugar. How many cups do three batches take?",
        r"1\frac{4}{5}",
        r"Three times three fifths is nine fifths: $\boxed{\tfrac95}$ cups.",
    ),
    (
        "Today is Monday. What day of the week is it a hundred days from now?",
        r"\text{Wednesday}",
        r"$100=14\cdot 7+2$, so it is two days after Monday. The final answer is $\boxed{\text{Wednesday}}$",
    ),
    (
        r"Write the point $(1,-\sqrt3)$ in polar coordinates $(r,\theta)$ with $r>0$ and $0\le\theta<2\pi$.",
        r"\left(2,\frac{5\pi}{3}\right)",
        r"$r=2$ and the point lies in the fourth quadrant: $\boxed{(r,\theta) = \bigl(2,\, \tfrac{5\pi}{3}\bigr)}$.",
    ),
    (
        "A bag holds equally many red and green beads. What is the probability, as a number between 0 and 1, that a "
        "bead drawn at random is red, if it is known that for green it is 0.5?",
        r"\frac{1}{2}",
        r"The two probabilities add up to one, so for red it is $1-0.5$ as well: $\boxed{0.5}$",
    ),
    (
        "In a class of thirty, eighteen pupils play chess. What percentage of the class plays chess?",
        "60",
        r"\[\frac{18}{30}\times 100\% = 60\%\] Therefore \[\boxed{60\,\%}\]",
    ),
    (
        r"Find all real solutions of $x^2-3x-2=0$.",
        r"\frac{3+\sqrt{17}}{2},\frac{3-\sqrt{17}}{2}",
        r"The discriminant is $9+8=17$, so $$\boxed{x = \dfrac{3 \pm \sqrt{17}}{2}}$$",
    ),
    (
        r"Solve $x^2-2x-3>0$ over the reals.",
        r"(-\infty,-1)\cup(3,\infty)",
        r"$(x+1)(x-3)>0$ outside the roots: $\boxed{x < -1 \text{ or } x > 3}$.",
    ),
    (
        r"What is the largest value of $\sin x\cos x$ for real $x$?",
        r"\frac{1}{2}",
        r"$\sin x\cos x=\tfrac12\sin 2x\le\tfrac12$, with equality at $x=\pi/4$. So it is \fbox{$\dfrac{1}{2}$}.",
    ),
)
