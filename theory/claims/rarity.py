"""Claims G1 to G6: MaxRL with shares by rarity, what it climbs and where it ends, and what no method can have."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import sympy as sp
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.claims import evening as shares
from sharpening.theory.claims import late, ledger, mixtures, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, OPTIMISER, Evidence, Mutant
from sharpening.theory.flow import dynamics, evening, rarity
from sharpening.theory.groups import expected_flow
from sharpening.theory.methods import sharing
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
WHOLE = {"difficulty": 1.0, "epsilon": 0.0}
EXPONENTS = (0.1, 0.5, 1.0, 1.6)
EQUAL = {**WHOLE, "least_spread": 1e6}  # spreads stay below: the exponent is strength/1e6
LATEST = 13 * float(np.log(10.0))  # log time to which a flow is followed


@ledger.claim(
    "G1.1",
    "MaxRL whose correct samples share by p^-a has, in large groups, the step s_i - p_i on C and -p_i on W, s the "
    "share in p^(1-a): the gradient of the log of the power mean of order 1-a of C's probabilities, that is of "
    "log Q + a/(1-a) H_(1-a).",
    latex=r"\dot z=\nabla_z\log M_{1-a}(p_C)=\nabla_z\Bigl[\log Q+\tfrac a{1-a}H_{1-a}(p\,|\,C)\Bigr]",
    hypotheses="G -> infinity at given p, a as it is (spread of log p among correct samples below least_spread)",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.rarity:power_mean", "(1 / (1 - exponent))", "(1 / (1 + exponent))"),
)
def shares_climb_a_power_mean(rng: np.random.Generator) -> Evidence:
    """A correct sample's advantage tends to p_i^-a/Z - 1, Z = sum_C p^(1-a), a wrong one's is -1; their mean is 0.

    So dz_i = p_i^(1-a)/Z - p_i on C. (log Z)/(1-a) has the slope s_i in log p_i, and log p_i the slope 1[i=j] - p_j in
    z_j. H_b = log(sum_C q^b)/(1-b) with q = p/Q gives log Z = (1-a) log Q + a H_(1-a).
    """
    z = sp.symbols("z1:5", real=True)
    total = sum(sp.exp(value) for value in z)
    policy = np.array([sp.exp(value) / total for value in z], dtype=object)
    residuals = []
    for a in (sp.Rational(1, 5), sp.Rational(1, 2), sp.Rational(3, 2)):
        climbed = sp.log(rarity.power_mean(policy[:2], a))
        step = rarity.rarity_step(policy, 2, a)
        residuals += [sp.diff(climbed, value) - move for value, move in zip(z, step, strict=True)]
        mass = policy[0] + policy[1]
        entropy = sp.log(sum((p / mass) ** (1 - a) for p in policy[:2])) / a
        residuals.append(climbed - sp.log(mass) - a / (1 - a) * (entropy - sp.log(2)) + sp.log(2))
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "G1.2",
    "The exact step of the method tends to that like 1/G.",
    latex=r"\dot z_G=\nabla_z\log M_{1-a}(p_C)+O(1/G)",
    hypotheses="every answer above .12; groups of 64 and 128, extrapolated in 1/G",
    source=OURS,
    kind="numeric",
    tolerance=shares.EXTRAPOLATED,
    mutant=Mutant("sharpening.theory.methods.sharing:rarity_maxrl", "epsilon\n    return", "epsilon + 1\n    return"),
)
def finite_groups_tend_to_it(rng: np.random.Generator) -> Evidence:
    """As F5.2: all multisets of 64 and 128 samples with the method's own function, 2 r_128 - r_64 beside the gradient.

    The spread is set so large that every group has the same exponent.
    """
    violations = []
    for exponent in (0.2, 1.0):
        problem = shares.drawn(rng, 2, 1, 0.12)
        values = {**EQUAL, "strength": exponent * EQUAL["least_spread"]}
        small, large = (
            expected_flow.ExpectedFlow(sharing.rarity_maxrl, problem, values, size).rates(problem.base_log_policy)
            for size in shares.LARGE_GROUPS
        )
        claimed = rarity.rarity_step(np.exp(problem.base_log_policy), 2, exponent)
        violations.append(float(np.abs(2 * large - small - claimed).max()))
    return ledger.worst(violations)


@ledger.claim(
    "G2.1",
    "For every a >= 0 the mean over prompts of log M_(1-a) is concave in the policy, strategies shared or not.",
    latex=r"F(p')-F(p)\le\textstyle\sum_ip'_i(A_i-\bar A),\quad F=\overline{\log M_{1-a}(p_{S_x})}",
    hypotheses="as G1.1; any table S of 0 and 1 without an empty row, a from 0 to 3",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.flow.rarity:shared_rarity_advantage", "/ policy)", "/ policy**1.5)"),
)
def power_means_are_concave(rng: np.random.Generator) -> Evidence:
    """Power means of order <= 1 are concave and grow with every argument; the logarithm keeps both.

    A concave function lies below its tangent, whose slope along e_i - p is A_i - mean A. The search draws tables, two
    policies and a; the margin is relative to the tangent's rise.
    """
    tables = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4).filter(any), min_size=1, max_size=5)
    logits = st.lists(st.floats(-12.0, 12.0), min_size=4, max_size=4)
    instances = st.tuples(tables, logits, logits, st.sampled_from([0.0, 0.2, 0.5, 1.0, 2.0, 3.0]))

    def violation(instance: tuple[list[list[float]], list[float], list[float], float]) -> float:
        table, *drawn, exponent = instance
        solves = np.array(table)
        here, there = (np.exp(policies.log_softmax(values)) for values in drawn)
        advantage = rarity.shared_rarity_advantage(here, solves, exponent)
        rise = float(there @ (advantage - here @ advantage))
        gain = _climbed(there, solves, exponent) - _climbed(here, solves, exponent)
        return (gain - rise) / (1 + abs(rise))

    return search.search(violation, instances, rng)


@ledger.claim(
    "G2.2",
    "So from every start with full support the flow ends at the global maximum; on one prompt, for a > 0, that is "
    "uniform on C with Q = 1.",
    latex=r"F(p(t))\to\max F;\quad p(t)\to\mathrm{uniform}(C)",
    hypotheses="as G2.1, by the argument of F4.3; checked on random tables, logits down to -8",
    source=OURS,
    kind="numeric",
    tolerance=10 * OPTIMISER,
    mutant=Mutant(
        "sharpening.theory.flow.evening:escort_share",
        "policy_correct ** (1 - exponent)",
        "policy_correct ** (1 + exponent)",
    ),
)
def it_ends_at_the_maximum(rng: np.random.Generator) -> Evidence:
    """With p* a maximiser, V = sum p*_i e^(-z_i) falls at least as fast as F(p*) - F(p), so that goes to 0.

    The end is tested by its tangent: no policy is above it by more than max A - mean A. On one prompt the power mean of
    order below 1 is largest, at given Q, where all are alike, and grows with Q; there the total variation from uniform
    is measured, with the step of the claim on one prompt, at t = 1e13.
    """
    violations = []
    for index, (solves, log_policy) in enumerate(mixtures.tables(rng, 6)):
        solvable, exponent = solves[solves.any(axis=1)], EXPONENTS[index % len(EXPONENTS)]
        if not solvable.size:
            continue

        def of_table(now: Floats, solvable: Floats = solvable, exponent: float = exponent) -> Floats:
            return rarity.shared_rarity_advantage(np.exp(now), solvable, exponent)

        end = late.late_flow(log_policy, of_table, [LATEST])[0]
        advantage = of_table(end)
        violations.append(float(advantage.max() - np.exp(end) @ advantage))
    for exponent in EXPONENTS:
        num_correct, num_wrong = (int(number) for number in rng.integers(2, 5, 2))
        start = policies.log_softmax(rng.uniform(-8.0, 0.0, num_correct + num_wrong))

        def of_prompt(now: Floats, num_correct: int = num_correct, exponent: float = exponent) -> Floats:
            share = evening.escort_share(np.exp(now[:num_correct]), exponent)
            return np.concatenate([share / np.exp(now[:num_correct]), np.zeros(now.size - num_correct)])

        end = np.exp(late.late_flow(start, of_prompt, [LATEST])[0])
        violations.append(float(np.abs(end[:num_correct] - 1 / num_correct).max()))
    return ledger.worst(violations)


@ledger.claim(
    "G3",
    "d log(p_i/p_j)/dt = (s_i - s_j) - (p_i - p_j): every pair evens out for a >= 1; for a < 1 the likelier gains "
    "exactly where s_i - s_j > p_i - p_j. Q may fall, never below Q_0 exp(-a/(1-a) (log m - H_(1-a)(0))).",
    latex=r"\tfrac d{dt}\log\tfrac{p_i}{p_j}=(s_i-s_j)-(p_i-p_j),\quad Q(t)\ge Q_0e^{-\frac a{1-a}(\log m-H_{1-a}(0))}",
    hypotheses="as G1.1; the bound for 0 < a < 1, along the exact flow",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.flow.rarity:rarity_log_ratio_rate", "- policy_gap", "+ policy_gap"),
)
def pairs_even_out(rng: np.random.Generator) -> Evidence:
    """The rate is the difference of two steps; s falls with p for a >= 1, so both terms are against the likelier.

    log Q + a/(1-a) H never falls (G1.1) and H <= log m. The search compares the rate with the gradient flow's, and
    follows the flow from the policy drawn to four times, for the bound; at a >= 1 it looks for a pair driven apart.
    """
    instances = st.tuples(search.problems(min_correct=2, max_arms=5), st.floats(0.05, 2.0))

    def violation(instance: tuple[Problem, float]) -> float:
        problem, exponent = instance
        exponent = 1.0 if abs(exponent - 1) < 0.05 else exponent
        number, policy = int(problem.correct.sum()), np.exp(problem.base_log_policy)
        share = evening.escort_share(policy[:number], exponent)
        step = rarity.rarity_step(policy, number, exponent)
        first, second = np.argsort(policy[:number])[[-1, 0]]
        rate = rarity.rarity_log_ratio_rate(share[first] - share[second], policy[first] - policy[second])
        found = [abs(float(rate - (step[first] - step[second])))]
        if exponent >= 1 and policy[first] > policy[second]:
            found.append(float(rate))
        if exponent < 1:
            mass = policy[:number].sum()
            entropy = np.log(((policy[:number] / mass) ** (1 - exponent)).sum()) / exponent
            least = rarity.least_correctness(mass, entropy, number, exponent)
            lowest = min(_correctness_after(policy, number, exponent, steps) for steps in (1, 10, 100))
            found.append(least - lowest)
        return max(found)

    return search.search(violation, instances, rng, num_instances=100)


@ledger.claim(
    "G4",
    "Bounded advantages that drive no two correct answers apart have d logit Q/dt <= 2 M (min_C p + E_W p): of plain "
    "RL's E_C p + E_W p the first part is lost, but for the rarest correct answer. F2 keeps both rates only as its "
    "advantages grow like 1/p.",
    latex=r"\forall i,j\in C:\ \tfrac d{dt}\log\tfrac{p_i}{p_j}\,(p_i-p_j)\le0\ \Rightarrow\ \tfrac d{dt}"
    r"\operatorname{logit}Q\le2M\Bigl(\min_Cp+E_Wp\Bigr)",
    hypotheses="softmax gradient, any method and group size, abs(a_i) <= M the mean advantage given answer i",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.flow.rarity:speed_limit", "[inside].min() +", "[inside].min() -"),
)
def no_sharpening_has_its_price(rng: np.random.Generator) -> Evidence:
    """dz_i = p_i (a_i - mean a) with abs(a_i - mean a) <= 2 M. On C no step is above that of the rarest answer.

    That is at most 2 M min_C p, so sum_C (p_i/Q) dz_i is too; and -sum_W p_j/(1-Q) dz_j <= 2 M E_W p. The search draws
    policies, some with a rare correct answer, and advantages at or within the bound that satisfy the condition: steps
    on C that fall as p rises. It must come within a factor of 5 of the limit, or the claim would say nothing.
    """
    unit = st.floats(-1.0, 1.0)
    instances = st.tuples(search.problems(min_correct=2, max_arms=5), st.lists(unit, min_size=6, max_size=6))
    closest = [0.0]

    def violation(instance: tuple[Problem, list[float]]) -> float:
        problem, drawn = instance
        policy, inside = np.exp(problem.base_log_policy), problem.is_correct
        advantage = np.array(drawn[: policy.size])
        rarest = policy[inside].min()
        advantage[inside] *= rarest / policy[inside]  # steps at most the rarest's, before the mean is taken off
        step = dynamics.softmax_flow(policy, advantage)
        order = np.argsort(policy[inside])
        if np.any(np.diff(step[inside][order]) > 0):
            return -1.0
        bound = rarity.speed_limit(policy, problem.correct, float(np.abs(advantage).max()))
        mass = policy[inside].sum()
        rise = policy[inside] @ step[inside] / mass - policy[~inside] @ step[~inside] / policy[~inside].sum()
        closest.append(float(rise) / bound if bound > 0 else 0.0)
        return float(rise - bound)

    found = search.search(violation, instances, rng)
    return ledger.worst([found.worst_margin, max(0.0, 0.2 - max(closest))], f"closest {max(closest):.2f} of the limit")


@ledger.claim(
    "G5",
    "It is bounded, -1 <= A <= G-1, no wrong sample is above a correct one, and at Q = 1 and uniform on C every "
    "sampled step is exactly 0; near it log-ratios shrink by 1 - eta a (1-1/G)/m a step, as under centred DS of "
    "strength a.",
    latex=r"-1\le A_j\le A_i\le G-1,\quad\Delta z=0,\quad E[\Delta x]=-\tfrac{\eta a}m(1-\tfrac1G)x",
    hypotheses="rewards 0 and 1, difficulty 1, any strength >= 0 and log-probabilities; the mean to first order",
    source=OURS,
    kind="enumeration",
    tolerance=shares.FIRST_ORDER,
    mutant=Mutant("sharpening.theory.methods.sharing:rarity_weight", "num_correct * share,", "num_correct * share**2,"),
)
def it_has_no_floor(rng: np.random.Generator) -> Evidence:
    """A = G w - 1 on correct samples, w >= 0 of sum 1, and -1 on wrong ones; w = 1/G if all are correct and alike.

    There w_i = (1 + a (mean log p - log p_i))/G to first order, the step of F3.2. All groups of 2 to 6 samples from 2
    and 3 correct answers are listed at small log-ratios of both signs; bounds on random groups.
    """
    violations = []
    for num_correct, group_size in itertools.product((2, 3), (2, 3, 6)):
        strength, rate = float(rng.uniform(0.1, 1.5)), float(rng.uniform(0.1, 1.0))
        even = _steps(np.full(num_correct, -np.log(num_correct)), group_size, strength)[1]
        slope = []
        for sign in (1, -1):
            log_policy = policies.log_softmax(sign * shares.SMALL * (np.arange(num_correct) == 0))
            chance, moves = _steps(log_policy, group_size, strength)
            slope.append(1 + rate * (chance @ (moves[:, 0] - moves[:, 1])) / (log_policy[0] - log_policy[1]))
        claimed = evening.centred_consensus_factor(rate, strength, num_correct, group_size)
        violations += [float(np.abs(even).max()), abs(float(np.mean(slope)) - claimed)]
    for size in rng.integers(2, 9, 60):
        correct = (rng.uniform(size=int(size)) < 0.6).astype(np.float64)
        log_prob = -np.exp(rng.uniform(-3, 6, correct.size))
        advantage = sharing.rarity_maxrl(reward=correct, correct=correct, log_prob=log_prob, strength=2.0, **WHOLE)
        right, wrong = advantage[correct > 0], advantage[correct == 0]
        if right.size:
            above = max(-1 - wrong.min(initial=-1.0), wrong.max(initial=-1.0) - right.min(), right.max() - size + 1)
            violations.append(max(0.0, float(above), abs(float(advantage.mean()))))
    return ledger.worst(violations)


@ledger.claim(
    "G6",
    "With a verifier that marks answer i correct with chance c_i the flow ends at p_i proportional to c_i^(1/a): false "
    "positives rho leave wrong answers a mass of w (rho/(1-nu))^(1/a) to m, where DS without a charge ends off C.",
    latex=r"p_i(\infty)\propto c_i^{1/a},\quad\frac{1-Q}Q=\frac wm\Bigl(\frac\rho{1-\nu}\Bigr)^{1/a}",
    hypotheses="as G1.1, marks independent given the answer, c > 0, a > 0; DS: E4.2",
    source=OURS,
    kind="numeric",
    tolerance=OPTIMISER,
    mutant=Mutant("sharpening.theory.flow.rarity:noisy_end", "/ exponent", "* exponent"),
)
def noise_is_raised_to_a_power(rng: np.random.Generator) -> Evidence:
    """Samples are weighed p^-a if marked: dz_i = c_i p_i^(1-a)/Z - p_i, 0 where p_i^a is proportional to c_i.

    It climbs log(sum c p^(1-a))/(1-a), concave as G2.1, so that is the end from every start. The flow is integrated to
    t = 1e13 for random chances, and for false positives and negatives.
    """
    violations = []
    for exponent in (0.2, 0.5, 1.0, 1.6):
        chance = rng.uniform(0.05, 1.0, int(rng.integers(3, 6)))
        start = policies.log_softmax(rng.normal(size=chance.size))

        def advantage_of(now: Floats, chance: Floats = chance, exponent: float = exponent) -> Floats:
            weight = chance * np.exp(-exponent * now)
            return weight / (weight @ np.exp(now))

        end = np.exp(late.late_flow(start, advantage_of, [LATEST])[0])
        violations.append(float(np.abs(end - rarity.noisy_end(chance, exponent)).max()))
    for power in (1, 2, 5):
        ends = rarity.noisy_end(np.array([0.8, 0.8, 0.4, 0.4, 0.4]), 1 / power)
        exact = Fraction(3, 2) * Fraction(1, 2) ** power
        violations.append(abs(float(ends[2:].sum() / ends[:2].sum()) - float(exact)))
    return ledger.worst(violations)


def _climbed(policy: Floats, solves: Floats, exponent: float) -> float:
    """The mean over prompts of the log of the power mean of what solves them."""
    return float(np.mean([np.log(rarity.power_mean(policy[row > 0], exponent)) for row in solves]))


def _correctness_after(policy: Floats, num_correct: int, exponent: float, steps: int) -> float:
    """Q after Euler steps of .01 along the flow."""
    logits = np.log(policy)
    for _ in range(steps):
        logits = logits + 0.01 * rarity.rarity_step(np.exp(policies.log_softmax(logits)), num_correct, exponent)
    return float(np.exp(policies.log_softmax(logits))[:num_correct].sum())


def _steps(log_policy: Floats, group_size: int, strength: float) -> tuple[Floats, Floats]:
    """The chance and the logit step of every ordered group of correct answers."""
    arms = np.array(list(itertools.product(range(log_policy.size), repeat=group_size)))
    ones = np.ones(arms.shape)
    advantage = sharing.rarity_maxrl(reward=ones, correct=ones, log_prob=log_policy[arms], strength=strength, **WHOLE)
    drawn = (arms[:, :, None] == np.arange(log_policy.size)).astype(float)
    total = np.einsum("gs,gsa->ga", advantage, drawn) / group_size
    moves = total - np.exp(log_policy) * total.sum(axis=1, keepdims=True)
    return np.exp(log_policy[arms].sum(axis=1)), np.asarray(moves)
