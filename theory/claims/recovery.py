"""Claims F6 and F7: graded rewards, and how long differential smoothing takes to bring a rare answer back."""

from __future__ import annotations

import itertools

import numpy as np
import sympy as sp

from sharpening.theory import policies
from sharpening.theory.claims import flow, late, ledger
from sharpening.theory.claims.ledger import EXACT, Evidence, Mutant
from sharpening.theory.flow import dynamics, evening
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
LATEST = 60 * float(np.log(10.0))  # log time up to which a flow is followed
END = 1e-4  # relative; what slower answers still hold at the times that are checked


@ledger.claim(
    "F6.1",
    "With graded rewards e^(-z_i) - e^(-z_j) is constant inside every level of reward along the vanilla flow, and the "
    "sum of z overall.",
    latex=r"r_i=r_j\Rightarrow e^{-z_i}-e^{-z_j}=\text{const},\quad\textstyle\sum_iz_i=\text{const}",
    hypotheses="exact softmax gradient of E[r], any real rewards; z the integrated logits",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.dynamics:softmax_flow", "policy * (advantage", "policy**2 * (advantage"),
)
def levels_move_together(rng: np.random.Generator) -> Evidence:
    """D e^(-z_i)/dt = -e^(-z_i) p_i (r_i - J) = -(r_i - J)/sum e^z: one number a level. And sum p_i (r_i - J) = 0.

    Three levels of free rewards, two, one and one answer; and two levels of two.
    """
    policy, _ = flow.softmax(flow.LOGITS)
    high, middle, low = sp.symbols("r1:4", real=True)
    residuals = []
    for rewards, pairs in (((high, high, middle, low), ((0, 1),)), ((high, high, low, low), ((0, 1), (2, 3)))):
        velocity = dynamics.softmax_flow(policy, np.array(rewards, dtype=object))
        for i, j in pairs:
            residuals.append(sp.exp(-flow.LOGITS[j]) * velocity[j] - sp.exp(-flow.LOGITS[i]) * velocity[i])
        residuals.append(velocity.sum())
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "F6.2",
    "Inside a level the likelier gains while its reward is above the mean reward J, and loses below: "
    "d log(p_i/p_j)/dt = (r - J)(p_i - p_j).",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=(r-J)(p_i-p_j)\quad(r_i=r_j=r)",
    hypotheses="as F6.1",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:vanilla_log_ratio_rate",
        "(correct - correctness)",
        "(correctness + correct - 1)",
    ),
)
def levels_sharpen_above_the_mean(rng: np.random.Generator) -> Evidence:
    """Log(p_i/p_j) = z_i - z_j, and dz_i/dt = p_i (r_i - J)."""
    p = sp.symbols("p1:4", positive=True)
    policy, rewards = np.array([*p, 1 - sum(p)], dtype=object), np.array(sp.symbols("r1 r1 r2 r3"), dtype=object)
    velocity, mean = dynamics.softmax_flow(policy, rewards), (policy * rewards).sum()
    claimed = dynamics.vanilla_log_ratio_rate(policy[0], policy[1], mean, rewards[0])
    return ledger.symbolic([velocity[0] - velocity[1] - claimed], rng)


@ledger.claim(
    "F6.3",
    "All mass ends on the likeliest answer of the largest reward, ties share; and max r - J ~ (k w/(k+w))/t for k tied "
    "and w answers of less reward, however far below.",
    latex=r"p\to\text{likeliest of }\arg\max r,\quad\max r-J\sim\frac{kw}{k+w}\,\frac1t",
    hypotheses="as F6.1, full support; three levels or more, rewards in [0, 1] at least .05 apart",
    source=OURS,
    kind="numeric",
    tolerance=END,
    mutant=Mutant("sharpening.theory.flow.dynamics:graded_limit", "log_policy, -np.inf", "-log_policy, -np.inf"),
)
def graded_rewards_end_on_the_largest(rng: np.random.Generator) -> Evidence:
    """J is concave in p, so by F4.3 it tends to max r; inside that level F6.1 leaves only the likeliest, as in B3.1.

    With x_j = p_j (max r - r_j), d log(p_j/p_top)/dt = -x_j - sum x/k: the x_j even out, and their sum falls as in
    B3.2. All logits are integrated to 1e6 to the power (w+k)/min(w, k); the margin is the distance from the limit, and
    the relative error of t (max r - J).
    """
    violations = []
    for num_top, num_wrong in itertools.product((1, 2), (2, 3, 5)):
        grades = np.append([1.0] * (num_top + 1), rng.permutation(np.linspace(0.0, 0.95, 20))[:num_wrong])
        logits = np.concatenate([np.zeros(num_top), [-rng.uniform(0.1, 3.0)], rng.normal(size=num_wrong)])
        log_policy = policies.log_softmax(logits)
        log_time = np.log(1e6) * (num_wrong + num_top) / min(num_wrong, num_top)
        end = late.late_flow(log_policy, late.fixed(grades), [log_time])[-1]
        short = np.log(np.exp(end) @ (1.0 - grades)) + log_time
        limit = dynamics.graded_limit(log_policy, grades)
        violations.append(float(np.abs(np.exp(end) - limit).max()))
        violations.append(abs(float(np.exp(short)) / dynamics.collapse_constant(num_top, num_wrong) - 1))
    return ledger.worst(violations)


@ledger.claim(
    "F7.1",
    "DS brings a rare correct answer back after a time that grows like e^-(1 + w/k) up to logarithms in its initial "
    "share e, beside k tied correct answers and w wrong ones.",
    latex=r"T\sim(eL)^{-(1+w/k)},\quad L=\log(p_{top}/p)\ \text{at}\ T",
    hypotheses="exact softmax flow, sampling reference, no KL, g_c > 0, g_w = 0; e -> 0",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.evening:recovery_exponent", "num_wrong / num_top", "num_wrong"),
)
def recovery_is_a_power_law(rng: np.random.Generator) -> Evidence:
    """While the rare answer is negligible, 1 - Q ~ c/t and its share is a multiple of e t^(-w/(w+k)) (E2.2).

    Its bonus pushes it by g_c p L, and takes over once that is of the size of 1 - Q: t^(1 - w/(w+k)) ~ 1/(e L), where
    1 - w/(w+k) = 1/(1 + w/k). From there p L only grows. All logits are integrated until the answer has half of 1/m,
    for e = 1e-3 and 1e-5; the margin is by how much log T moves off -(1 + w/k) log(e L), beyond 2 (1 + w/k)^2/L.
    """
    violations = []
    for num_top, num_wrong in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 2)):
        gamma, exponent = float(rng.uniform(0.3, 2.0)), evening.recovery_exponent(num_top, num_wrong)
        wrong = rng.uniform(0.2, 1.0, num_wrong)
        logs = []
        for share in (1e-3, 1e-5):
            problem = _rare(num_top, wrong, share)
            log_time = _recovery(problem, gamma)
            surprisal = -np.log(share) + log_time * num_wrong / (num_wrong + num_top)
            logs.append((log_time + exponent * np.log(share * surprisal), surprisal))
        violations.append(abs(logs[0][0] - logs[1][0]) - 2 * exponent**2 / logs[0][1])
    return ledger.worst(violations)


@ledger.claim(
    "F7.2",
    "Its constant is that of `recovery_time`, which the true time exceeds by a share of at most 2 (1 + w/k)^2/L.",
    latex=r"1\le T/T_\infty\le1+2(1+w/k)^2/L,\quad T_\infty=\frac1\kappa\Bigl(\frac{Yk\kappa}{g_cRL}\Bigr)^{1+w/k},\ "
    r"\kappa=1+g_c\log k",
    hypotheses="as F7.1; e from 1e-3 to 1e-6; R t^(-w/(w+k)) is p_rare/p_top on the vanilla path; the 2 is not derived",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.evening:recovery_time", "2 * np.log(num_top) + right[-1]", "right[-1] - 1"),
)
def recovery_has_a_constant(rng: np.random.Generator) -> Evidence:
    """In log t, x = t (1-Q) and y = t g_c p L move by themselves while p is small: see `recovery_threshold`.

    y leaves (k w/(k+w), 0) like Y (t/T)^(k/(k+w)) and is infinite at T. A tied answer gets 1 + g_c log k, a wrong one
    0, so their clock runs kappa times as fast. That L changes, by w/(w+k) per unit of log t, the constant leaves out.
    """
    violations = []
    for num_top, num_wrong in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 2)):
        for share in (1e-3, 10 ** float(rng.uniform(-6.0, -3.0))):
            gamma = float(rng.uniform(0.3, 2.0))
            problem = _rare(num_top, rng.uniform(0.2, 1.0, num_wrong), share)
            log_time = _recovery(problem, gamma)
            ratio = float(np.exp(log_time) / evening.recovery_time(problem, gamma))
            surprisal = -np.log(share) + log_time * num_wrong / (num_wrong + num_top)
            exponent = evening.recovery_exponent(num_top, num_wrong)
            violations.append(max(1 - ratio, ratio - 1 - 2 * exponent**2 / surprisal))
    return ledger.worst(violations)


def _rare(num_top: int, wrong: Floats, share: float) -> Problem:
    """Q = 1/2: tied correct answers, a rare one with a share of the correct mass, and wrong answers in proportion."""
    policy = np.concatenate([np.full(num_top, (1 - share) / num_top), [share], wrong / wrong.sum()]) / 2
    return policies.problem_from_probabilities(policy, [1] * (num_top + 1) + [0] * wrong.size)


def _recovery(problem: Problem, gamma: float) -> float:
    """The log time at which the last correct answer has come to half of 1/m."""
    rare, goal = int(problem.correct.sum()) - 1, np.log(0.5 / problem.correct.sum())

    def advantage_of(log_policy: Floats) -> Floats:
        return np.asarray(dynamics.smoothing_advantage(log_policy, problem.correct, gamma, 0.0))

    return late.until(problem.base_log_policy, advantage_of, LATEST, lambda now: float(goal - now[rare]))[0]
