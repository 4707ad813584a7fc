"""Claims E1 and E2: what tells correctness-only methods apart, and what does not."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit

from sharpening.theory import policies
from sharpening.theory.claims import instances, late, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, INTEGRATED, Evidence, Mutant
from sharpening.theory.flow import dynamics, matched, strategies, vanilla_path
from sharpening.theory.groups import expectations
from sharpening.theory.methods import baselines
from sharpening.theory.policies import Floats, Problem

OURS = "ours"

LARGE_GROUP = 1024
GROUP_LIMIT = 0.01  # distance in log-odds from the limit at LARGE_GROUP, which falls as 1/G
LATE = 12 * float(np.log(10.0))  # log time at which a majority of a = .501 has won but for 1e-9
DEEP = 100 * float(np.log(10.0))  # log time at which powers of t down to t^(-1/7) have vanished
POWER_LAW = 1e-6  # relative; corrections are powers of 1 - Q below 1e-8


@ledger.claim(
    "E1.1",
    "For A = f(r, X) and any policy, the expected step is the mean over prompts of c_G(Q_x) grad Q_x: it "
    "ascends the mean of Phi(Q_x), Phi' = c_G.",
    latex=r"\mathbb E[\Delta\theta]=\overline{c_G(Q_x)\nabla Q_x},\quad\Phi'=c_G",
    hypotheses="on-policy, one score-function step, groups of independent samples; any differentiable policy with "
    "parameters that the prompts share",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.strategies:shared_step", ".mean(axis=0)", ".sum(axis=0)"),
)
def prompts_are_weighted(rng: np.random.Generator) -> Evidence:
    """A sample's advantage depends on its own correctness and on the other G-1 independent samples.

    So E[A | y] = a_W + (a_C - a_W) r(y) with a_C = E f(1, 1+Bin), a_W = E f(0, Bin). The score has mean 0,
    so E[A score] = c_G E[r score] = c_G grad Q. In Fractions: log-linear policies with integer features
    shared by two prompts, a random table f, and all groups of 2 and 3 samples listed.
    """
    violations = []
    for group_size in (2, 3):
        table = _random_table(rng, group_size)
        enumerated, weights, gradients = [], [], []
        for correct in ((1, 0, 0), (1, 0, 1)):
            policy = np.array(_rational_policy(rng, 3), dtype=object)
            features = rng.integers(-3, 4, size=(3, 2)).astype(object)
            scores = features - policy @ features  # (num_arms, num_parameters)
            enumerated.append(_enumerated_step(policy, correct, scores, table, group_size))
            gradients.append((policy * np.array(correct, dtype=object)) @ scores)
            weights.append(expectations.prompt_weight(table, sum(itertools.compress(policy, correct))))
        claimed = strategies.shared_step(np.array(weights, dtype=object), np.array(gradients))
        violations += [abs(float(gap)) for gap in claimed - sum(enumerated) / len(enumerated)]
    return ledger.worst(violations)


@ledger.claim(
    "E1.2",
    "F-GRPO weighs unsolved prompts by sqrt(G-1)(1-1/G)^gamma and solved ones by sqrt(G-1)/G^gamma.",
    latex=r"c_G(0)=\sqrt{G-1}\,(1-1/G)^\gamma,\quad c_G(1)=\sqrt{G-1}/G^\gamma",
    hypotheses="population standard deviation, epsilon 0, G >= 2, gamma >= 0",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.groups.expectations:f_grpo_weight_ends", "spread / group_size**gamma", "spread / group_size"
    ),
)
def f_grpo_weighs_the_ends(rng: np.random.Generator) -> Evidence:
    """At Q = 0 a correct sample is alone, f(1, 1) = (1-1/G)^gamma sqrt(G-1), and f(0, 0) = 0.

    At Q = 1 a wrong sample is alone, f(0, G-1) = -G^-gamma sqrt(G-1), and f(1, G) = 0. Compared with c_G of
    the method's own table, relative to it.
    """
    violations: list[float] = []
    for group_size, gamma in itertools.product((2, 4, 8, 64, 512), (0.5, 1.0, 2.0, float(rng.uniform(0, 3)))):
        table = expectations.advantage_table(baselines.f_grpo, group_size, gamma=gamma, epsilon=0.0)
        derived = expectations.prompt_weight(table, np.array([0.0, 1.0]))
        claimed = np.array(expectations.f_grpo_weight_ends(group_size, gamma))
        violations += list(np.abs(claimed / derived - 1))
    return ledger.worst(violations)


@ledger.claim(
    "E1.3",
    "Two strategies, a share a > 1/2 of prompts solved only by the first: REINFORCE, RLOO, Dr. GRPO and GRPO "
    "end on the first.",
    latex=r"p_1(t)\to1\quad\text{for }c_G(Q)=c_G(1-Q)",
    hypotheses="the other prompts are solved only by the second; softmax gradient, full support at the start; "
    "GRPO with any G; checked for a from .501 to .999, the first down to 8 nats below the second",
    source=OURS,
    kind="numeric",
    tolerance=1e-5,
    mutant=Mutant("sharpening.theory.flow.strategies:shared_advantage", "None] * solves", "None] * (1 - solves)"),
)
def flat_methods_end_on_the_majority(rng: np.random.Generator) -> Evidence:
    """A share a of prompts has Q_x = p_1 and the rest p_2 = 1 - p_1.

    Thus d(z_1 - z_2)/dt = 2 p_1 p_2 [a c(p_1) - (1-a) c(p_2)], and c(Q) = c(1-Q) makes the bracket (2a-1) c
    > 0. GRPO has it because exchanging right and wrong flips the sign of its advantages. The margin is 1 -
    p_1 at t = 1e12, by integration; and the relative distance of c(Q)/c(1-Q), from each method's own table, from
    ((1-Q)/Q)^h with the h that `balance_order` says, which is 0.
    """
    violations: list[float] = []
    mass = np.append(10.0 ** rng.uniform(-6, -1, 4), rng.uniform(0.1, 0.5, 4))
    for method in (baselines.reinforce, baselines.rloo, baselines.dr_grpo, baselines.grpo):
        order = strategies.balance_order(method.__name__)
        table = expectations.advantage_table(method, int(rng.integers(2, 17)), **_without_epsilon(method))
        first, second = expectations.prompt_weight(table, mass), expectations.prompt_weight(table, 1 - mass)
        violations += list(np.abs(first / second * (mass / (1 - mass)) ** order - 1))
        for share in (0.501, float(rng.uniform(0.501, 0.999)))[: 1 + (method is baselines.grpo)]:
            start, success = policies.log_softmax([0.0, rng.uniform(0.0, 8.0)]), _success(round(1000 * share), 1000)
            end = late.late_flow(start, _shared(success, table), [LATE])
            violations.append(float(np.exp(end[-1, 1])))
    return ledger.worst(violations)


@ledger.claim(
    "E1.4",
    "There PKPO of order k rests at odds (a/(1-a))^(1/(k-1)), from any start and at every G >= k.",
    latex=r"p_1/p_2\to(a/(1-a))^{1/(k-1)}",
    hypotheses="as E1.3; 2 <= k <= G",
    source=OURS,
    kind="numeric",
    tolerance=INTEGRATED,
    mutant=Mutant("sharpening.theory.flow.strategies:balance_order", "k - 1", "k"),
)
def pkpo_rests_at_odds(rng: np.random.Generator) -> Evidence:
    """At rest a c(p_1) = (1-a) c(p_2).

    With c(Q) = k (1-Q)^(k-1) that is a p_2^(k-1) = (1-a) p_1^(k-1). The left side falls in p_1 and the right
    side rises, so the rest is unique and attracts. Integrated to t = 1e6 with c_G of PKPO's own table; the
    margin is in log-odds.
    """
    violations = []
    for k, num_first in itertools.product((2, 3, 4), (6, 9)):
        table = expectations.advantage_table(baselines.pkpo, k + int(rng.integers(0, 6)), k=k)
        end = _two_strategies(policies.log_softmax(rng.normal(size=2)), num_first, table)
        claimed = strategies.stationary_odds(num_first / 10, strategies.balance_order("pkpo", k=k))
        violations.append(abs(float(end[0] - end[1]) - float(np.log(claimed))))
    return ledger.worst(violations)


@ledger.claim(
    "E1.5",
    "As G grows MaxRL rests at odds a/(1-a) and F-GRPO at (a/(1-a))^(1/gamma).",
    latex=r"p_1/p_2\to a/(1-a)\ (\text{MaxRL}),\quad(a/(1-a))^{1/\gamma}\ (\text{F-GRPO}),\quad G\to\infty",
    hypotheses="as E1.3; at finite G an inner rest exists iff a/(1-a) < G-1 (MaxRL), (G-1)^gamma (F-GRPO)",
    source=OURS,
    kind="numeric",
    tolerance=GROUP_LIMIT,
    mutant=Mutant("sharpening.theory.flow.strategies:balance_order", '"f_grpo": gamma', '"f_grpo": 1 / gamma'),
)
def maxrl_and_f_grpo_rest_at_odds(rng: np.random.Generator) -> Evidence:
    """MaxRL has c -> 1/Q.

    F-GRPO has c -> (1-Q)^gamma/sqrt(Q(1-Q)), whose root is the same at Q and 1-Q and drops out of a c(p_1) =
    (1-a) c(p_2). Both c_G decrease in Q, so the rest is unique; c_G(0)/c_G(1) = G-1 and (G-1)^gamma say when
    it exists. The root with c_G of the methods' own tables at G = 1024 is compared in log-odds; that it is
    nearer than at G = 128, unless both are at rounding, counts as well.
    """
    violations = []
    cases: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [("maxrl", baselines.maxrl, {})]
    cases += [("f_grpo", baselines.f_grpo, {"gamma": gamma}) for gamma in (0.5, 2.0)]
    for name, method, parameters in cases:
        share = float(rng.uniform(0.55, 0.8))
        claimed = np.log(strategies.stationary_odds(share, strategies.balance_order(name, **parameters)))
        gaps = []
        for group_size in (128, LARGE_GROUP):
            table = expectations.advantage_table(method, group_size, epsilon=0.0, **parameters)
            gaps.append(abs(_resting_log_odds(table, share) - float(claimed)))
        violations += [gaps[1], gaps[1] - max(gaps[0], FLOAT64)]
    return ledger.worst(violations)


@ledger.claim(
    "E2.1",
    "At equal correctness every correctness-only method is at the same policy, whatever its speed.",
    latex=r"p(t)=P(Q(t))\quad\text{for every method with }A=f(r,X)",
    hypotheses="expected flow of the methods of B4, same start, one prompt, c_G > 0",
    source=OURS,
    kind="numeric",
    tolerance=INTEGRATED,
    mutant=Mutant("sharpening.theory.flow.vanilla_path:inverse_growth", "gap) * remaining", "gap) * remaining**2"),
)
def methods_share_one_path(rng: np.random.Generator) -> Evidence:
    """The field c_G(Q) p (r - Q) is the vanilla one times a positive number.

    It has the vanilla orbit, and Q increases along it: p is a function of Q. Four methods are integrated
    with the c_G of their own tables, and each end is compared with the vanilla flow integrated to the same Q, with
    the closed path at that Q, and with the point of that path that their own speed reaches by then.
    """
    violations = []
    methods: list[tuple[Callable[..., Any], dict[str, Any]]] = [
        (baselines.grpo, {}),
        (baselines.f_grpo, {}),
        (baselines.maxrl, {}),
        (baselines.pkpo, {"k": 3}),
    ]
    for problem in instances.problems(rng, 3, max_arms=6):
        for method, parameters in methods:
            table = expectations.advantage_table(method, 8, **parameters)
            end = _integrated(problem, table, time=30.0)
            logit = policies.logit_correctness(end, problem.correct)
            paths = [
                late.vanilla_at_logit(problem, logit),
                matched.log_policy_at_logit(problem, logit),
                vanilla_path.vanilla_path(problem, [30.0], _weight_of(table))[0],
            ]
            violations += [float((np.abs(path - end) / (1 - end)).max()) for path in paths]
    return ledger.worst(violations)


@ledger.claim(
    "E2.2",
    "With k tied most likely correct answers p_j/p_top falls as (1-Q)^(w/(w+k)): collapse lags correctness.",
    latex=r"p_j/p_{\mathrm{top}}\sim(1-Q)^{w/(w+k)}",
    hypotheses="any method of B4 near Q = 1; j correct and not among the k tied; w wrong answers",
    source=OURS,
    kind="numeric",
    tolerance=POWER_LAW,
    mutant=Mutant(
        "sharpening.theory.flow.matched:collapse_exponent", "(num_wrong + num_top)", "(num_wrong + num_top + 1)"
    ),
)
def collapse_is_a_power_law(rng: np.random.Generator) -> Evidence:
    """Let the top logits rise by u.

    Then z_j stays bounded (e^(-z) differences are constant), so p_j/p_top ~ e^(-u); the wrong logits fall
    together by k u/w (sum z is constant), so 1 - Q ~ e^(-u - k u/w) = e^(-u (w+k)/w). The slope of log
    p_j/p_top against log(1-Q) is measured between t = 1e100 and 1e200, all logits integrated.
    """
    violations = []
    for problem, num_top, num_wrong in _tied_problems(rng, 12):
        log_policy = late.late_flow(problem.base_log_policy, late.fixed(problem.correct), [DEEP, 2 * DEEP])
        rarest = int(np.where(problem.is_correct, problem.base_log_policy, np.inf).argmin())
        top = int(np.where(problem.is_correct, problem.base_log_policy, -np.inf).argmax())
        log_failure = [policies.log_partition(row[~problem.is_correct]) for row in log_policy]
        slope = np.diff(log_policy[:, rarest] - log_policy[:, top]) / np.diff(log_failure)
        violations.append(abs(float(slope[0]) / matched.collapse_exponent(num_top, num_wrong) - 1))
    return ledger.worst(violations)


@ledger.claim(
    "E2.3",
    "1 - Q ~ (k w/(k+w))/(c_G(1) t) for the methods with c_G(1) > 0.",
    latex=r"1-Q\sim\frac{kw/(k+w)}{c_G(1)\,t}",
    hypotheses="k tied most likely correct answers, w wrong answers, t -> infinity",
    source=OURS,
    kind="numeric",
    tolerance=POWER_LAW,
    mutant=Mutant("sharpening.theory.flow.matched:late_failure", "(num_top + num_wrong)", "(num_top + num_wrong + 1)"),
)
def failure_falls_as_one_over_time(rng: np.random.Generator) -> Evidence:
    """The top logit rises by dz/dt = c p_top (1-Q) ~ c (1-Q)/k.

    With 1 - Q ~ e^(-u (w+k)/w) from E2.2, d(1-Q)/dt is -c (1/k + 1/w) (1-Q)^2 and 1/(1-Q) grows by c
    (k+w)/(k w) per unit of time. GRPO, F-GRPO and MaxRL are integrated on all logits, with c_G of their own
    tables, to t = 1e100.
    """
    violations = []
    for index, (problem, num_top, num_wrong) in enumerate(_tied_problems(rng, 6)):
        method = (baselines.grpo, baselines.f_grpo, baselines.maxrl)[index % 3]
        table = expectations.advantage_table(method, int(rng.integers(2, 17)))
        weight_of = _weight_of(table)

        def advantage_of(
            log_policy: Floats, r: Floats = problem.correct, c: strategies.PromptWeight = weight_of
        ) -> Floats:
            return np.asarray(c(np.exp(log_policy) @ r) * r)

        path = late.late_flow(problem.base_log_policy, advantage_of, [DEEP])
        failure = np.exp(policies.log_partition(path[0, ~problem.is_correct]))
        weight = float(expectations.prompt_weight(table, 1.0))
        violations.append(abs(failure / matched.late_failure(np.exp(DEEP), num_top, num_wrong, weight) - 1))
    return ledger.worst(violations)


@ledger.claim(
    "E2.4",
    "PKPO of order K slows down as it succeeds: 1 - Q ~ ((k w/(k+w))/(K^2 t))^(1/K).",
    latex=r"1-Q\sim\Bigl(\frac{kw/(k+w)}{K^2t}\Bigr)^{1/K}",
    hypotheses="as E2.3 with c_G(Q) = K (1-Q)^(K-1), 1 <= K <= G",
    source=OURS,
    kind="numeric",
    tolerance=POWER_LAW,
    mutant=Mutant("sharpening.theory.flow.matched:late_failure", "(1 / power)", "(2 / power)"),
)
def pkpo_slows_down(rng: np.random.Generator) -> Evidence:
    """With e = 1 - Q, de/dt = -K (1/k + 1/w) e^(K+1), so e^(-K) grows by K^2 (k+w)/(k w) per unit of time.

    All logits are integrated to t = 1e200, with c from the logarithm of 1 - Q, which is far below rounding.
    """
    violations = []
    for index, (problem, num_top, num_wrong) in enumerate(_tied_problems(rng, 6)):
        order = 1 + index % 3

        def advantage_of(log_policy: Floats, r: Floats = problem.correct, k: int = order) -> Floats:
            return np.asarray(k * np.exp((k - 1) * policies.log_partition(log_policy[r == 0.0])) * r)

        path = late.late_flow(problem.base_log_policy, advantage_of, [2 * DEEP])
        failure = np.exp(policies.log_partition(path[0, ~problem.is_correct]))
        claimed = matched.late_failure(np.exp(2 * DEEP), num_top, num_wrong, order, order - 1)
        violations.append(abs(failure / claimed - 1))
    return ledger.worst(violations)


def _random_table(rng: np.random.Generator, group_size: int) -> Any:
    """A table f(r, X) of random Fractions, (2, group_size + 1)."""
    entries = rng.integers(-9, 10, size=(2, group_size + 1))
    return np.array([[Fraction(int(entry), 7) for entry in row] for row in entries], dtype=object)


def _rational_policy(rng: np.random.Generator, num_arms: int) -> list[Fraction]:
    """A policy in Fractions."""
    weights = [int(weight) for weight in rng.integers(1, 20, size=num_arms)]
    return [Fraction(weight, sum(weights)) for weight in weights]


def _weight_of(table: Any) -> strategies.PromptWeight:
    """The prompt weight of a method from its table; rounding may put a correctness above 1."""

    def weight(mass: Floats) -> Floats:
        values, place = np.unique(np.minimum(mass, 1.0), return_inverse=True)
        return np.asarray(expectations.prompt_weight(table, values)[place.reshape(np.shape(mass))])

    return weight


def _enumerated_step(policy: Any, correct: Any, scores: Any, table: Any, group_size: int) -> Any:
    """The expected mean of advantage times score over a group: all groups listed, (num_parameters,)."""
    total = 0 * scores[0]
    for arms in itertools.product(range(len(policy)), repeat=group_size):
        num_correct = sum(correct[arm] for arm in arms)
        step = sum(table[correct[arm], num_correct] * scores[arm] for arm in arms)
        total = total + np.prod(policy[list(arms)]) * step / group_size
    return total


def _without_epsilon(method: Callable[..., Any]) -> dict[str, Any]:
    """Epsilon 0, for a method that has one."""
    return {"epsilon": 0.0} if method is baselines.grpo else {}


def _success(num_first: int, num_prompts: int) -> Floats:
    """Which of two strategies solves each prompt, (num_prompts, 2): the first ones the first, the others the second."""
    return np.eye(2)[[0] * num_first + [1] * (num_prompts - num_first)]


def _shared(success: Floats, table: Any) -> Callable[[Floats], Floats]:
    """The advantage of strategies that prompts share, under a method's own table."""
    prompt_weight = _weight_of(table)

    def advantage_of(log_policy: Floats) -> Floats:
        return np.asarray(strategies.shared_advantage(np.exp(log_policy), success, prompt_weight))

    return advantage_of


def _two_strategies(start: Floats, num_first: int, table: Any) -> Floats:
    """The end of the flow with ten prompts, num_first solved only by the first strategy, (2,) nats."""
    return np.asarray(dynamics.integrate(start, _shared(_success(num_first, 10), table), [0.0, 1e6])[-1])


def _resting_log_odds(table: Any, share: float) -> float:
    """The log-odds p_1/p_2 at which share c(p_1) = (1 - share) c(p_2)."""

    def push(log_odds: float) -> float:
        first, second = expectations.prompt_weight(table, expit(np.array([log_odds, -log_odds])))
        return float(share * first - (1 - share) * second)

    return float(brentq(push, 0.0, 10.0, xtol=1e-13))


def _integrated(problem: Problem, table: Any, time: float) -> Floats:
    """The end of one method's flow on one prompt, (num_arms,) nats."""

    def advantage_of(log_policy: Floats) -> Floats:
        mass = policies.correctness(log_policy, problem.correct)
        return np.asarray(expectations.prompt_weight(table, mass) * problem.correct)

    return np.asarray(dynamics.integrate(problem.base_log_policy, advantage_of, [0.0, time])[-1])


def _tied_problems(rng: np.random.Generator, count: int) -> Iterator[tuple[Problem, int, int]]:
    """Problems with 1 to 3 tied most likely correct answers and a rarer one; with their k and w."""
    for _ in range(count):
        num_top, num_wrong = int(rng.integers(1, 4)), int(rng.integers(1, 5))
        logits = np.concatenate([np.zeros(num_top), rng.uniform(-6.0, -0.1, 1), rng.normal(size=num_wrong)])
        correct = np.array([1.0] * (num_top + 1) + [0.0] * num_wrong)
        yield Problem(policies.log_softmax(logits), correct), num_top, num_wrong
