"""Claims C1, C2, C3 and C8: who is in a group, and what GRPO expects of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory import policies
from sharpening.theory.claims import enumeration, instances, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.groups import expectations, sampling
from sharpening.theory.methods import baselines

OURS = "ours"
SELECTION = "our reading of arXiv 2511.19942 (selection bias)"
TAIL_MISS = "arXiv 2602.06717, Lemma 3.1 (as summarised)"
DISTINCT = "arXiv 2602.06717, Lemma H.1 (as summarised)"
GRPO = "arXiv 2402.03300; the closed form is ours"

Q = sp.Symbol("Q", positive=True)


def _log(value: Fraction) -> float:
    return math.log(value.numerator) - math.log(value.denominator)


def _relative(observed: Any, exact_value: Any) -> float:
    return float(abs(Fraction(float(observed)) - exact_value) / abs(exact_value))


def _rational_groups(rng: np.random.Generator, num_arms: int) -> Iterator[tuple[Any, int]]:
    return ((enumeration.rational_policy(rng, num_arms), group_size) for group_size in (1, 2, 3, 5) for _ in range(3))


@ledger.claim(
    "C1.1",
    "An answer of probability p is in a group with probability 1 - (1-p)^G, kept in float64 to p = 1e-300.",
    latex=r"P(n_i>0)=1-(1-p_i)^G",
    hypotheses="independent draws; 0 < p < 1",
    source=SELECTION,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:inclusion_probability", "np.log1p(-np.exp", "np.log1p(np.exp"),
)
def inclusion(rng: np.random.Generator) -> Evidence:
    """All G draws miss the answer with probability (1-p)^G.

    The check sums the probabilities of all groups that hold the answer, in Fractions, and adds p = 10^-12,
    10^-100 and 10^-300, where 1 - (1-p)^G is evaluated exactly.
    """
    violations = []
    for policy, group_size in _rational_groups(rng, 4):
        present = sum(chance for counts, chance in enumeration.outcomes(policy, group_size) if counts[0] > 0)
        violations.append(_relative(sampling.inclusion_probability(_log(policy[0]), group_size), present))
    for power, group_size in itertools.product((12, 100, 300), (2, 7, 64)):
        rare = Fraction(1, 10**power)
        claimed = sampling.inclusion_probability(_log(rare), group_size)
        violations.append(_relative(claimed, 1 - (1 - rare) ** group_size))
    return ledger.worst(violations)


@ledger.claim(
    "C1.2",
    "Of two correct answers the rarer is absent from a group ((1-p_j)/(1-p_i))^G times as often.",
    latex=r"P(n_j=0)/P(n_i=0)=\left(\frac{1-p_j}{1-p_i}\right)^G",
    hypotheses="independent draws; p_j < p_i < 1",
    source=SELECTION,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:absence_ratio", "log_absent_rarer - log_absent_likelier", "log_absent_rarer"
    ),
)
def absence(rng: np.random.Generator) -> Evidence:
    """Absence of i has probability (1-p_i)^G. The check sums both absences over all groups, in Fractions."""

    def violation(policy: Any, group_size: int) -> float:
        rarer, likelier = int(np.argmin(policy)), int(np.argmax(policy))
        absent = [
            sum(chance for counts, chance in enumeration.outcomes(policy, group_size) if counts[arm] == 0)
            for arm in (rarer, likelier)
        ]
        claimed = sampling.absence_ratio(_log(policy[likelier]), _log(policy[rarer]), group_size)
        return _relative(claimed, absent[0] / absent[1])

    return ledger.worst(itertools.starmap(violation, _rational_groups(rng, 3)))


@ledger.claim(
    "C1.3",
    "The rarer is present p_j/p_i times as often when G p is small: at least that, at most /(1-(G-1)p_i/2).",
    latex=r"\frac{p_j}{p_i}\le\frac{P(n_j>0)}{P(n_i>0)}\le\frac{p_j/p_i}{1-(G-1)p_i/2}",
    hypotheses="p_j <= p_i; (G-1) p_i < 2 for the upper bound",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:presence_ratio_bounds", "likelier / 2", "likelier / 4"),
)
def presence(rng: np.random.Generator) -> Evidence:
    """The numerator of P(n>0)/p is concave in p and 0 at 0, so the ratio falls in p: the lower bound.

    By Bonferroni G p - G(G-1)p^2/2 <= P(n>0) <= G p: the upper one. Both tend to p_j/p_i as G p_i tends to 0.
    With x = (G-1) p_i small and p_j far below p_i the upper bound is off by less than x^2; the margin includes that.
    """

    def violation() -> float:
        group_size = int(2 ** rng.uniform(1, 10))
        likelier = float(10 ** rng.uniform(-12, math.log10(1.9 / group_size)))
        rarer = likelier * float(10 ** rng.uniform(-6, 0))
        chance = sampling.inclusion_probability(np.log([rarer, likelier]), group_size)
        ratio = float(chance[0] / chance[1])
        low, high = sampling.presence_ratio_bounds(likelier, rarer, group_size)
        return float(max(low - ratio, ratio - high) / low)

    def looseness() -> float:
        group_size, load = int(2 ** rng.uniform(1, 10)), float(10 ** rng.uniform(-5, -2))
        likelier = load / (group_size - 1)
        chance = sampling.inclusion_probability(np.log([1e-7 * likelier, likelier]), group_size)
        high = sampling.presence_ratio_bounds(likelier, 1e-7 * likelier, group_size)[1]
        return float(abs(high * chance[1] / chance[0] - 1) / load**2 - 1)

    return ledger.worst([*(violation() for _ in range(300)), *(looseness() for _ in range(100))])


@ledger.claim(
    "C1.4",
    "With group-mean centring the logit of an answer that is not drawn stays; a correct one that is drawn gains "
    "(1-1/G) p (1-Q)/(1-(1-p)^G), so the two biases multiply to p_j/p_i at every G.",
    latex=r"\frac{P(n_j>0)}{P(n_i>0)}\cdot\frac{E[\Delta z_j\mid n_j>0]}{E[\Delta z_i\mid n_i>0]}=\frac{p_j}{p_i}",
    hypotheses="G >= 2; i and j correct; softmax gradient; reward less the mean of its group",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.sampling:gain_when_drawn", "** group_size", "* group_size"),
)
def selection_times_reinforcement(rng: np.random.Generator) -> Evidence:
    """Centred advantages sum to 0, so a step moves a logit by the advantages of its own draws over G alone.

    The mean step is (1-1/G) p (1-Q) (claim C4), all of it made where the answer is drawn. The check takes the step of
    every group of 2, 3 and 5 draws from 4 answers, two of them correct, in Fractions.
    """
    violations = []
    correct = enumeration.exact(1, 1, 0, 0)
    for policy, group_size in _rational_groups(rng, 4):
        if group_size < 2:
            continue
        seen, moved = [Fraction(0)] * 2, [Fraction(0)] * 2
        for counts, chance in enumeration.outcomes(policy, group_size):
            mean = Fraction(int((counts * correct).sum()), group_size)
            step = sampling.sampled_step(policy, counts, correct - mean)
            for arm in (0, 1):
                violations.append(abs(step[arm]) * (counts[arm] == 0))
                seen[arm] += chance * (counts[arm] > 0)
                moved[arm] += chance * step[arm]
        gains = [sampling.gain_when_drawn(one, policy[:2].sum(), Fraction(group_size)) for one in policy[:2]]
        violations += [abs(gains[arm] - moved[arm] / seen[arm]) for arm in (0, 1)]
        violations.append(abs(seen[1] / seen[0] * gains[1] / gains[0] - policy[1] / policy[0]))
    return ledger.worst(violations)


@ledger.claim(
    "C2.1",
    "P(0 < X < G and a correct subset of mass tau is absent) = (1-tau)^G - (Q-tau)^G - (1-Q)^G.",
    latex=r"P(0<X<G,\ n_T=0)=(1-\tau)^G-(Q-\tau)^G-(1-Q)^G",
    hypotheses="independent draws; 0 <= tau <= Q <= 1, tau < 1",
    source=TAIL_MISS,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:tail_miss", "size * np.log1p(-tail)", "size * np.log1p(tail)"),
)
def tail_miss_by_counting(rng: np.random.Generator) -> Evidence:
    """The subset is absent in (1-tau)^G of the groups, all correct in (Q-tau)^G and all wrong in (1-Q)^G.

    The check adds up all groups over two tail answers, another correct one and a wrong one, in Fractions; the wrong
    one is the likeliest and the rarest in turn. The margin is relative, also where all correct answers are rare.
    """
    violations = []
    drawn = [(np.sort(policy), group_size) for policy, group_size in _rational_groups(rng, 4)]
    for weights in ((1, 2, 3, 34), (1, 2, 3, 10**5)):  # Q far below 1/2
        drawn.append((enumeration.exact(*(Fraction(weight, sum(weights)) for weight in weights)), 5))
    for policy, group_size in [*drawn, *((policy[::-1], group_size) for policy, group_size in drawn)]:
        missed = sum(
            chance
            for counts, chance in enumeration.outcomes(policy, group_size)
            if counts[0] + counts[1] == 0 and 0 < counts[2] < group_size
        )
        claimed = sampling.tail_miss(float(1 - policy[3]), float(policy[0] + policy[1]), group_size)
        violations.append(abs(float(claimed) / float(missed) - 1) if missed else abs(float(claimed)))
    return ledger.worst(violations)


@ledger.claim(
    "C2.2",
    "For 0 < tau < Q < 1 the tail miss is 0 at G = 1, rises to one peak in G and falls to 0.",
    latex=r"G\mapsto(1-\tau)^G-(Q-\tau)^G-(1-Q)^G\ \text{is unimodal}",
    hypotheses="0 < tau < Q < 1",
    source=TAIL_MISS + "; the proof is ours",
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:tail_miss", "np.exp(size * np.log1p(-tail))", "np.exp(0 * tail)"),
)
def tail_miss_has_one_peak(rng: np.random.Generator) -> Evidence:
    """With a = 1-tau, b = Q-tau, c = 1-Q: a = b + c, so it vanishes at G = 1 and is positive after.

    Its slope in real G is a^G log a - b^G log b - c^G log c: ordered by base the coefficients (-, +, +)
    change sign once. So by Descartes' rule for sums of exponentials the slope has one zero. All three bases
    are below 1: the limit is 0.
    """

    def violation() -> float:
        mass = float(rng.choice([rng.uniform(0.01, 0.99), 1 - 10 ** rng.uniform(-8, -2)]))
        tail = mass * float(10 ** rng.uniform(-9, -0.05))
        sizes = np.unique(np.concatenate([np.arange(1, 200), np.geomspace(200, 50 / tail + 300, 400)]))
        miss = sampling.tail_miss(mass, tail, sizes)
        peak = int(np.argmax(miss))
        falls_before = np.max(-np.diff(miss[: peak + 1]), initial=0.0)
        rises_after = np.max(np.diff(miss[peak:]), initial=0.0)
        return float(max(miss[0], miss[-1], falls_before, rises_after) / miss[peak])

    return ledger.worst(violation() for _ in range(100))


def _grpo_by_enumeration(mass: Fraction, group_size: int, ddof: int) -> tuple[float, float]:
    """Expected GRPO advantages of a correct and of a wrong first sample over all reward vectors."""
    totals = {1: 0.0, 0: 0.0}
    for rewards in itertools.product((0, 1), repeat=group_size):
        chance = math.prod((mass if reward else 1 - mass) for reward in rewards[1:])
        mean = Fraction(sum(rewards), group_size)
        variance = sum((reward - mean) ** 2 for reward in rewards) / (group_size - ddof)
        if variance:
            totals[rewards[0]] += float(chance * (rewards[0] - mean)) / math.sqrt(variance)
    return totals[1], totals[0]


@ledger.claim(
    "C3.1",
    "GRPO: a_C = E sqrt((G-1-k)/(k+1)), a_W = -E sqrt(k/(G-k)), k ~ Bin(G-1, Q).",
    latex=r"a_C=\sum_k B_{G-1,Q}(k)\sqrt{\tfrac{G-1-k}{k+1}},\ a_W=-\sum_k B_{G-1,Q}(k)\sqrt{\tfrac{k}{G-k}}",
    hypotheses="population std, epsilon 0, advantage 0 where the std is 0; G >= 2",
    source=GRPO,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.groups.expectations:grpo_expected_advantages", "(group_size - count)", "(group_size + count)"
    ),
)
def grpo_expectations(rng: np.random.Generator) -> Evidence:
    """At mean m = X/G the variance is m(1-m) and the advantages are sqrt((1-m)/m), -sqrt(m/(1-m)).

    A correct sample has X = k + 1, a wrong one X = k, k ~ Bin(G-1, Q). The check averages over all 2^G reward
    vectors.
    """

    def violation(group_size: int) -> float:
        mass = Fraction(int(rng.integers(1, 60)), 60)
        claimed = expectations.grpo_expected_advantages(float(mass), group_size)
        return float(np.abs(np.subtract(claimed, _grpo_by_enumeration(mass, group_size, 0))).max())

    return ledger.worst(violation(group_size) for group_size in range(2, 9) for _ in range(2))


@ledger.claim(
    "C3.2",
    "Q a_C + (1-Q) a_W = 0, for any epsilon and any rule for the spread of a group.",
    latex=r"Q\,a_C+(1-Q)\,a_W=0",
    hypotheses="A = (r - X/G) s(X), s arbitrary; G >= 2",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.expectations:expected_advantages", "weights @ table[1, 1:]", "weights @ table[1, :-1]"
    ),
)
def centred_advantages_balance(rng: np.random.Generator) -> Evidence:
    """Centred advantages of a group sum to 0: X f(1,X) + (G-X) f(0,X) = 0.

    Averaging the sum over groups gives G (Q a_C + (1-Q) a_W). The check uses s(0), ..., s(G) as free symbols.
    """
    residuals = []
    for group_size in range(2, 7):
        scale = enumeration.exact(*sp.symbols(f"s0:{group_size + 1}"))
        share = enumeration.exact(*(sp.Rational(count, group_size) for count in range(group_size + 1)))
        given_correct, given_wrong = expectations.expected_advantages(
            np.stack([-share * scale, (1 - share) * scale]), Q
        )
        residuals.append(sp.expand(Q * given_correct + (1 - Q) * given_wrong))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "C3.3",
    "The sample standard deviation multiplies both expectations by sqrt((G-1)/G).",
    latex=r"a^{\mathrm{sample}}=\sqrt{(G-1)/G}\;a^{\mathrm{population}}",
    hypotheses="as C3.1",
    source=OURS,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.groups.expectations:grpo_expected_advantages", "group_size - ddof", "group_size + ddof"
    ),
)
def sample_std_scales(rng: np.random.Generator) -> Evidence:
    """The sample variance is G/(G-1) times the population variance in every group.

    The check compares the closed form with all reward vectors, and with the table of the advantage function.
    """

    def violation(group_size: int) -> float:
        mass = Fraction(int(rng.integers(1, 60)), 60)
        claimed = expectations.grpo_expected_advantages(float(mass), group_size, ddof=1)
        table = expectations.advantage_table(baselines.grpo, group_size, ddof=1, epsilon=0.0)
        tabled = expectations.expected_advantages(table, float(mass))
        counted = _grpo_by_enumeration(mass, group_size, 1)
        return float(np.abs([np.subtract(claimed, counted), np.subtract(claimed, tabled)]).max())

    return ledger.worst(violation(group_size) for group_size in range(2, 9))


@ledger.claim(
    "C8.1",
    "Given X = k, the distinct correct answers of a group have expected mass sum_C p (1-(1-p/Q)^k).",
    latex=r"E\Big[\sum_{i\in C,\,n_i>0}p_i\,\Big|\,X=k\Big]=\sum_{i\in C}p_i\big(1-(1-p_i/Q)^k\big)",
    hypotheses="independent draws; 0 <= k <= G",
    source=DISTINCT,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:distinct_correct_mass", "policy_correct / correctness", "policy_correct"
    ),
)
def distinct_mass(rng: np.random.Generator) -> Evidence:
    """Given X = k the correct draws are k independent draws from p_C.

    Answer i is among them with probability 1-(1-p_i/Q)^k. The check conditions on X = k over all groups of 4
    draws from 5 answers, in Fractions.
    """
    violations = []
    for _ in range(3):
        policy = enumeration.rational_policy(rng, 5)
        is_correct = slice(0, 3)
        seen, total = [Fraction(0)] * 5, [Fraction(0)] * 5
        for counts, chance in enumeration.outcomes(policy, 4):
            num_correct = counts[is_correct].sum()
            total[num_correct] += chance
            seen[num_correct] += chance * (policy[is_correct] * np.minimum(counts[is_correct], 1)).sum()
        for k in range(5):
            right = policy[is_correct]
            violations.append(abs(sampling.distinct_correct_mass(right, right.sum(), k) - seen[k] / total[k]))
    return ledger.worst(violations)


@ledger.claim(
    "C8.2",
    "That mass does not decrease in k: the k+1-st correct draw adds sum_C p (p/Q) (1-p/Q)^k.",
    latex=r"D(k+1)-D(k)=\sum_{i\in C}\frac{p_i^2}{Q}\Big(1-\frac{p_i}{Q}\Big)^k\ge0",
    hypotheses="p_i <= Q",
    source=DISTINCT,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.groups.sampling:distinct_correct_mass", "(1 - (1 - policy", "(1 + (1 - policy"),
)
def distinct_mass_increases(rng: np.random.Generator) -> Evidence:
    """(1-x)^k - (1-x)^(k+1) = x (1-x)^k with x = p/Q in [0, 1].

    Each draw adds an answer not yet seen or nothing.
    """
    violations = []
    for problem in instances.problems(rng, 60):
        policy = np.exp(problem.base_log_policy)[problem.is_correct]
        mass = policies.correctness(problem.base_log_policy, problem.correct)
        for k in (0, 1, 3, 30):
            before, after = (sampling.distinct_correct_mass(policy, mass, draws) for draws in (k, k + 1))
            added = (policy**2 / mass * np.maximum(1 - policy / mass, 0.0) ** k).sum()
            violations.append(max(before - after, abs(after - before - added)) / mass)
    return ledger.worst(violations)
