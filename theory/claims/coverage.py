"""Claims D1 to D4: what pass@k can and cannot show, on one prompt and on many that share strategies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sharpening.theory import estimators, policies
from sharpening.theory.claims import late, ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.flow import strategies
from sharpening.theory.policies import Floats

OURS = "ours"
TEXTBOOK = "textbook"

LATE = 1e-6  # what the slowest power law of the instances has yet to move at t = 1e60, times k = 64
LARGEST_K = 60  # up to which the order of base and limit is compared in Fractions


@ledger.claim(
    "D1",
    "One prompt, independent draws: pass@k = 1 - (1-Q)^k, so pass@k cannot fall while Q rises.",
    latex=r"\mathrm{pass@}k=1-(1-Q)^k,\quad Q'\ge Q\Rightarrow\mathrm{pass@}k(Q')\ge\mathrm{pass@}k(Q)",
    hypotheses="k independent draws from one policy over one prompt's answers, k >= 1",
    source=TEXTBOOK,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.estimators:exact_pass_at_k", "draws * np.log1p(-chance)", "-draws * chance"),
)
def one_prompt_cannot_lose_pass_at_k(rng: np.random.Generator) -> Evidence:
    """All k draws are wrong with probability (1-Q)^k by independence, and 1 - (1-Q)^k increases in Q.

    The check adds up, in Fractions, the probabilities of all sequences of k answers that hold a correct one,
    and compares the order of pass@k with that of Q over the policies drawn.
    """
    violations = []
    for k in range(1, 5):
        found = []
        for num_correct in (1, 2, 3):
            policy = _rational_policy(rng, 4)
            total = sum(
                math.prod(policy[arm] for arm in draws)
                for draws in itertools.product(range(4), repeat=k)
                if min(draws) < num_correct
            )
            mass = sum(policy[:num_correct])
            claimed = float(estimators.exact_pass_at_k(float(mass), k))
            violations.append(abs(claimed - float(total)))
            found.append((mass, claimed))
        found.sort()
        violations += [low[1] - high[1] for low, high in itertools.pairwise(found)]
    return ledger.worst(violations)


@ledger.claim(
    "D2.1",
    "Strategies shared by many prompts: the vanilla flow ends on the strategy of largest mean success, in "
    "a tie on the likelier.",
    latex=r"p(t)\to e_{j^*},\quad j^*=\arg\max_j\overline{S_j}\text{ (ties: the largest }p_j(0))",
    hypotheses="softmax gradient of mean pass@1, full support; mean success not equal for all strategies "
    "(then nothing moves); no two best strategies equally likely (they would share)",
    source=OURS,
    kind="numeric",
    tolerance=LATE,
    mutant=Mutant(
        "sharpening.theory.flow.strategies:limit_strategy",
        "num_solved.max(), base_policy",
        "num_solved.max(), -base_policy",
    ),
)
def best_strategy_takes_all(rng: np.random.Generator) -> Evidence:
    """Mean pass@1 is J = s.p with s_j the mean success, so dz_j/dt = p_j (s_j - J) and dJ/dt >= 0.

    The flow ends at the maximum of this linear function; since sum z is constant, some best logit goes to
    infinity. Two best strategies have the same d e^(-z)/dt, so e^(-z_i) - e^(-z_j) is constant: as the
    likelier z_i goes to infinity, z_j stays bounded. The margin is the mass not yet on the claimed strategy
    at t = 1e60, and any fall of pass@1.
    """
    violations = []
    for policy, success in _bandits(rng, 9):
        path = _vanilla_flow(policy, success)
        claimed = strategies.limit_strategy(policy, success)
        violations.append(1 - float(path[-1, claimed]))
        pass_at_1 = path @ success.mean(axis=0)
        violations.append(-float(np.diff(pass_at_1).min()))
    return ledger.worst(violations)


@ledger.claim(
    "D2.2",
    "There mean pass@k tends to the largest mean success for every k, while pass@1 rises.",
    latex=r"\overline{\mathrm{pass@}k}(t)\to\max_j\overline{S_j}\quad\text{for every }k",
    hypotheses="as D2.1; k fixed while t grows",
    source=OURS,
    kind="numeric",
    tolerance=LATE,
    mutant=Mutant("sharpening.theory.flow.strategies:pass_at_k", "per_prompt.mean(axis=-1)", "per_prompt.max(axis=-1)"),
)
def pass_at_k_ends_at_the_best_success(rng: np.random.Generator) -> Evidence:
    """At the limit every prompt has Q_x = S[x, j*], which is 0 or 1, and there 1 - (1-Q)^k = Q.

    Mass eps on other strategies changes pass@k by at most k eps; k = 1, 2, 8 and 64 are compared with the
    largest mean success.
    """
    violations: list[float] = []
    for policy, success in _bandits(rng, 9):
        end = _vanilla_flow(policy, success)[-1]
        ends = strategies.pass_at_k(end, success, [1, 2, 8, 64])
        violations += list(np.abs(ends - success.mean(axis=0).max()))
    return ledger.worst(violations)


@ledger.claim(
    "D2.3",
    "The end is below the base's pass@k exactly for k >= k*, the first k whose base pass@k exceeds max s.",
    latex=r"\overline{\mathrm{pass@}k}(0)>\max_j\overline{S_j}\iff k\ge k^*",
    hypotheses="as D2.1; base policy in Fractions of six digits, so that no k is an exact tie",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.strategies:first_losing_k", "low, high = 1, 2", "low, high = 2, 3"),
)
def base_wins_from_k_star_on(rng: np.random.Generator) -> Evidence:
    """Base pass@k increases in k, so the k with base pass@k > max s are all k from some k* on, or none.

    At k = 1 the base has s.p <= max s. In Fractions, for every k below 60, the order of base and limit must
    be that of k and the function's k*; the margin counts the k at which they differ.
    """
    violations = []
    for _ in range(50):
        policy, success = _rational_policy(rng, 4), rng.integers(0, 2, size=(5, 4))
        claimed = strategies.first_losing_k(np.array(policy, dtype=np.float64), success)
        best = Fraction(int(success.sum(axis=0).max()), 5)
        wrong = [
            (_rational_pass_at_k(policy, success, k) > best) != (claimed is not None and k >= claimed)
            for k in range(1, LARGEST_K)
        ]
        violations.append(float(sum(wrong)))
    return ledger.worst(violations)


@ledger.claim(
    "D2.4",
    "k* is finite iff no single strategy solves every solvable prompt.",
    latex=r"k^*<\infty\iff\nexists j\ \forall x:\ S_{xj}=\max_iS_{xi}",
    hypotheses="as D2.1; base policy with full support",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.strategies:first_losing_k", "solvable.all(axis=0).any()", "solvable.any()"),
)
def k_star_is_finite_unless_one_strategy_does_it_all(rng: np.random.Generator) -> Evidence:
    """Base pass@k rises to the share of solvable prompts and stays below it.

    If one strategy solves all of them, max s is that share and the base never exceeds it; otherwise max s is
    smaller and some finite k exceeds it. All 512 tables of three prompts and three strategies are tried, the
    quantifiers spelled out prompt by prompt, and a finite k* is confirmed in Fractions: above max s at k*,
    not above it at k* - 1.
    """
    policy = _rational_policy(rng, 3)
    violations = []
    for bits in itertools.product((0, 1), repeat=9):
        success = np.array(bits).reshape(3, 3)
        has_master = any(all(row[j] == max(row) for row in success) for j in range(3))
        claimed = strategies.first_losing_k(np.array(policy, dtype=np.float64), success)
        best = Fraction(int(success.sum(axis=0).max()), 3)
        is_right = (claimed is None) == has_master
        if claimed is not None and is_right:
            before, after = (_rational_pass_at_k(policy, success, k) for k in (claimed - 1, claimed))
            is_right = before <= best < after
        violations.append(float(not is_right))
    return ledger.worst(violations)


@ledger.claim(
    "D3",
    "1 - C(n-c,k)/C(n,k) is the share of size-k subsets with a correct sample, and has mean 1 - (1-Q)^k.",
    latex=r"1-\binom{n-c}{k}/\binom{n}{k},\quad\mathbb E_{c\sim\mathrm{Bin}(n,Q)}[\cdot]=1-(1-Q)^k",
    hypotheses="n independent samples of one problem, c correct, 1 <= k <= n",
    source="arXiv 2107.03374",
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.estimators:_log_ratio_by_factors", "np.maximum(n - i, 1.0)", "n"),
)
def estimator_counts_subsets(rng: np.random.Generator) -> Evidence:
    """Of the C(n,k) subsets, C(n-c,k) avoid the c correct samples.

    A uniform subset of n independent samples is k independent samples, hence the mean. All subsets are
    listed for n <= 7, and the mean is summed over c with binomial weights in Fractions.
    """
    violations = []
    for n, k in ((size, drawn) for size in range(1, 8) for drawn in range(1, size + 1)):
        subsets = list(itertools.combinations(range(n), k))
        shares = [Fraction(sum(subset[0] < c for subset in subsets), len(subsets)) for c in range(n + 1)]
        claimed = [Fraction(value) for value in np.asarray(estimators.pass_at_k(n, np.arange(n + 1), k))]
        violations += [abs(float(value - share)) for value, share in zip(claimed, shares, strict=True)]
        chance = Fraction(int(rng.integers(1, 20)), 20)
        weights = [math.comb(n, c) * chance**c * (1 - chance) ** (n - c) for c in range(n + 1)]
        mean = sum(weight * value for weight, value in zip(weights, claimed, strict=True))
        violations.append(abs(float(mean - (1 - (1 - chance) ** k))))
    return ledger.worst(violations)


@ledger.claim(
    "D4",
    "For k >= 2, mean pass@k <= 1 - ((E[1-a])^2 + Var a)^(k/2), with equality at k = 2.",
    latex=r"\mathbb E[1-(1-a)^k]\le1-\bigl((\mathbb E[1-a])^2+\operatorname{Var}a\bigr)^{k/2}",
    hypotheses="a the TRUE pass@1 of each problem (noise in estimates inflates Var a), population variance",
    source="arXiv 2504.10478",
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.estimators:pass_at_k_bound", "(mean * (2 - mean) - variance)", "(mean * (2 - mean))"
    ),
)
def spread_bounds_mean_pass_at_k(rng: np.random.Generator) -> Evidence:
    """By Jensen E(1-a)^k >= (E(1-a)^2)^(k/2), because x^(k/2) is convex for k >= 2.

    And E(1-a)^2 = (E[1-a])^2 + Var a. At k = 2 both sides are the same number, so that a bound that is
    merely looser is caught.
    """
    chances = st.one_of(st.floats(0.0, 1.0), st.sampled_from([0.0, 0.5, 1.0]))
    instances = st.tuples(st.lists(chances, min_size=2, max_size=6), st.integers(2, 64))

    def violation(instance: tuple[list[float], int]) -> float:
        solved, k = np.array(instance[0]), instance[1]
        excess = float(np.mean(1 - (1 - solved) ** k) - estimators.pass_at_k_bound(solved, k))
        at_two = float(np.mean(1 - (1 - solved) ** 2) - estimators.pass_at_k_bound(solved, 2))
        return max(excess, abs(at_two))

    return search.search(violation, instances, rng, num_instances=100)


def _rational_policy(rng: np.random.Generator, num_arms: int) -> list[Fraction]:
    """A policy in Fractions of about six digits."""
    weights = [int(weight) for weight in rng.integers(1, 10**6, size=num_arms)]
    return [Fraction(weight, sum(weights)) for weight in weights]


def _rational_pass_at_k(policy: list[Fraction], success: Any, k: int) -> Fraction:
    """The mean over prompts of 1 - (probability of a strategy that fails)^k, in Fractions."""
    failures = [sum((p for p, solves in zip(policy, row, strict=True) if not solves), Fraction(0)) for row in success]
    return sum((1 - failure**k for failure in failures), Fraction(0)) / len(failures)


def _bandits(rng: np.random.Generator, count: int) -> Iterator[tuple[Floats, Floats]]:
    """Policies and success tables with one best strategy; in every third, two that are not equally likely."""
    for index in range(count):
        num_prompts, num_strategies = int(rng.integers(3, 8)), int(rng.integers(3, 6))
        policy = rng.dirichlet(np.ones(num_strategies)) * 0.9 + 0.1 / num_strategies
        success = np.zeros((num_prompts, num_strategies))
        if index % 3 == 0:
            success[1:-1] = rng.integers(0, 2, size=(num_prompts - 2, num_strategies))
            success[:, :2] = 1.0
            success[0, 0], success[-1, 1] = 0.0, 0.0
            policy[:2] = policy[:2].sum() * np.array([0.2, 0.8])
        while np.sum(success.sum(axis=0) == success.sum(axis=0).max()) > 1 + (index % 3 == 0):
            success = rng.integers(0, 2, size=success.shape).astype(np.float64)
        yield policy, success


def _vanilla_flow(policy: Floats, success: Floats) -> Floats:
    """Policies along the softmax flow of mean pass@1, to t = 1e60, (num_times, num_strategies)."""
    advantage = strategies.shared_advantage(policy, success)
    log_times = np.log(10.0) * np.arange(-3, 61, 3)
    return np.exp(late.late_flow(policies.log_softmax(np.log(policy)), lambda _: advantage, log_times))
