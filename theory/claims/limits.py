"""Claims B6 to B9: potentials, and where the exact flows end."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import numpy as np
import sympy as sp

from sharpening.theory import policies, shaping
from sharpening.theory.claims import flow, instances, late, ledger
from sharpening.theory.claims.flow import CORRECT
from sharpening.theory.claims.ledger import EXACT, INTEGRATED, Evidence, Mutant
from sharpening.theory.flow import dynamics
from sharpening.theory.policies import Floats, Problem

OURS = "ours"
MODERATE = 1.5  # standard deviation of logits that are neither near-deterministic nor near-uniform
NEAR, LATEST = 1e-6, 60 * float(np.log(10.0))  # a flow is followed until it is this near its end, or to this log time


def _smoothing(problem: Problem, gamma_correct: float, gamma_incorrect: float) -> Callable[[Floats], Floats]:
    return functools.partial(
        dynamics.smoothing_advantage,
        correct=problem.correct,
        gamma_correct=gamma_correct,
        gamma_incorrect=gamma_incorrect,
    )


def _moderate(rng: np.random.Generator, num_correct: int, num_wrong: int) -> Problem:
    logits = rng.normal(scale=MODERATE, size=num_correct + num_wrong)
    return Problem(policies.log_softmax(logits), np.array([1.0] * num_correct + [0.0] * num_wrong))


@ledger.claim(
    "B6.1",
    "DS with sampling reference and no KL is the exact softmax gradient of (1+g_c) Q + g_c H_C - g_w H_W - g_w (1-Q).",
    latex=r"\dot z=\nabla_z\big[(1+g_c)Q+g_cH_C-g_wH_W-g_w(1-Q)\big],\quad H_S=-\textstyle\sum_Sp\log p",
    hypotheses="no gradient through the log-probability in the reward",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:smoothing_potential", "gain - gamma_incorrect", "gain + gamma_incorrect"
    ),
)
def smoothing_has_a_potential(rng: np.random.Generator) -> Evidence:
    """Differentiate the potential by p.

    d/dp_i of the potential is 1 - g_c log p_i on C and g_w log p_i on W, the shaped reward; so its softmax
    gradient is the flow of the shaped reward.
    """
    g_c, g_w = sp.symbols("g_c g_w", positive=True)
    policy, log_policy = flow.softmax(flow.LOGITS)
    potential = dynamics.smoothing_potential(policy, log_policy, CORRECT, g_c, g_w)
    velocity = dynamics.softmax_flow(policy, dynamics.smoothing_advantage(log_policy, CORRECT, g_c, g_w))
    return ledger.symbolic(
        [sp.diff(potential, logit) - speed for logit, speed in zip(flow.LOGITS, velocity, strict=True)], rng
    )


@ledger.claim(
    "B6.2",
    "Its maximum is 1 + g_c (1 + log m), at the uniform policy on C, and it grows along the flow.",
    latex=r"\max\Phi=1+g_c(1+\log m)\ \text{at}\ p=\mathrm{uniform}(C)",
    hypotheses="g_c > 0, g_w >= 0",
    source=OURS,
    kind="numeric",
    tolerance=INTEGRATED,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:smoothing_potential_maximum", "(1 + log_num_correct)", "log_num_correct"
    ),
)
def uniform_on_correct_is_the_maximum(rng: np.random.Generator) -> Evidence:
    """H_W >= 0 and 1-Q >= 0 only cost; g_c H_C + (1+g_c) Q is concave and largest at Q = 1, p uniform.

    Checked: the value at the uniform policy, that no point of the flow exceeds it, and that the potential never
    falls along the flow.
    """

    def violation(problem: Problem) -> float:
        g_c, g_w = float(rng.uniform(0.2, 1.0)), float(rng.choice([0.0, rng.uniform(0.0, 2.0)]))
        num_correct = int(problem.correct.sum())
        top = dynamics.smoothing_potential_maximum(g_c, np.log(num_correct))
        path = dynamics.integrate(
            problem.base_log_policy,
            _smoothing(problem, g_c, g_w),
            np.linspace(0.0, 60.0, 40),
        )
        uniform = np.where(problem.is_correct, -np.log(num_correct), -1e3)  # exp(-1000) is 0
        values = [dynamics.smoothing_potential(np.exp(log), log, problem.correct, g_c, g_w) for log in (uniform, *path)]
        falls = -np.diff(values[1:]).min()
        return float(max(abs(values[0] - top), max(values) - top, falls))

    return ledger.worst(violation(_moderate(rng, 1 + index % 4, 1 + index % 3)) for index in range(16))


@ledger.claim(
    "B6.3",
    "The flow ends there: Q -> 1 with every correct answer at 1/m.",
    latex=r"p(t)\to\mathrm{uniform}(C)",
    hypotheses="g_c > 0, g_w >= 0, full support; checked for g_c in [.1, 3], g_w in [0, 2], m to 8, w to 3, and "
    "correct logits down to -8, where it can take 1e25 (F7)",
    source=OURS,
    kind="numeric",
    tolerance=NEAR,
    mutant=Mutant("sharpening.theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def smoothing_ends_uniform(rng: np.random.Generator) -> Evidence:
    """The potential of B6.2 has no other maximum, and the end is as slow as the 1/t of B3.

    A rare correct answer may first lose mass (E3). At the bottom of that dip, at probability p, it needs a time of
    order 1/p to come back, and the dip is the deeper the rarer it was (F7): from (.11, .006 | .39, .28, .21) the policy
    at t = 4,000 is .99994 on one answer. Integrated to t = 1e60 or until each probability is within 1e-6 of uniform on
    C, every other start with all correct answers but one between -8 and -4; the margin is the distance from uniform.
    """

    def violation(num_correct: int, num_wrong: int, is_rare: bool) -> float:
        problem = _moderate(rng, num_correct, num_wrong)
        if is_rare:
            logits = problem.base_log_policy.copy()
            logits[1:num_correct] = rng.uniform(-8.0, -4.0, num_correct - 1)
            problem = Problem(policies.log_softmax(logits), problem.correct)
        g_c, g_w = float(np.exp(rng.uniform(np.log(0.1), np.log(3.0)))), float(rng.choice([0.0, rng.uniform(0, 2)]))

        def distance(log_policy: Floats) -> float:
            return float(np.abs(np.exp(log_policy) - problem.correct / num_correct).max())

        flow = _smoothing(problem, g_c, g_w)
        return distance(late.until(problem.base_log_policy, flow, LATEST, distance, NEAR)[1])

    return ledger.worst(violation(1 + k % 8, 1 + k % 3, k % 2 == 1) for k in range(16))


@ledger.claim(
    "B6.4",
    "Q need not grow along it: from (.9, .05 | .05) with g_c = 10, g_w = 0 it first falls while the potential grows.",
    latex=r"\dot\Phi=\|\nabla_z\Phi\|^2\ge0,\quad\dot Q<0\ \text{at}\ p=(.9,.05\,|\,.05),\ g_c=10",
    hypotheses="as B6.1; one explicit instance",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def correctness_may_fall(rng: np.random.Generator) -> Evidence:
    """The likely correct answer loses mass to the rare one, and at first to the wrong one as well.

    The logit of the first answer falls fastest, since its rate carries its probability .9, and a falling largest
    logit raises all others. The flow is integrated for a time of .02; the margin counts a Q that does not fall and
    a potential that does not grow.
    """
    problem = policies.problem_from_probabilities([0.9, 0.05, 0.05], [1, 1, 0])
    path = dynamics.integrate(problem.base_log_policy, _smoothing(problem, 10.0, 0.0), np.linspace(0.0, 0.02, 5))
    masses = [policies.correctness(log_policy, problem.correct) for log_policy in path]
    values = [dynamics.smoothing_potential(np.exp(log), log, problem.correct, 10.0, 0.0) for log in path]
    falls, grows = np.diff(masses).max() < 0, np.diff(values).min() > 0
    return ledger.worst([float(not falls), float(not grows)], f"Q from {masses[0]:.4f} to {masses[-1]:.4f}")


@ledger.claim(
    "B7.1",
    "A global bonus without KL is stationary at p ~ e^(r/g), where Q = m e^(1/g)/(m e^(1/g) + w) < 1.",
    latex=r"p\propto e^{r/g},\quad Q=\frac{me^{1/g}}{me^{1/g}+w}<1",
    hypotheses="g > 0, H form or sampling reference",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:entropy_ceiling",
        "num_correct * boost + num_wrong",
        "num_correct * boost - num_wrong",
    ),
)
def bonus_has_a_ceiling(rng: np.random.Generator) -> Evidence:
    """Q + g H is strictly concave; its slope r - g log p - g is constant iff log p = r/g + const.

    With Q from the claimed formula, p = Q/m on C and (1-Q)/w on W make the shaped reward equal on both sides,
    for m = 1..3, w = 1..3.
    """
    strength, boost = sp.symbols("g boost", positive=True)  # boost = exp(1/g), so log boost = 1/g
    residuals = []
    for num_correct, num_wrong in itertools.product((1, 2, 3), repeat=2):
        q = dynamics.entropy_ceiling(sp.Integer(num_correct), sp.Integer(num_wrong), boost)
        ratio = sp.cancel(q / num_correct / ((1 - q) / num_wrong))  # p on C over p on W
        log_ratio = sp.expand_log(sp.log(ratio), force=True).subs(sp.log(boost), 1 / strength)
        residuals.append(shaping.entropy_bonus(1, log_ratio, 1, strength=strength))  # A on C minus A on W
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "B7.2",
    "The flow of the bonus ends at that Q; DS with the same strength passes it.",
    latex=r"Q_{bonus}(t)\to\frac{me^{1/g}}{me^{1/g}+w},\quad Q_{DS}(t)\to1",
    hypotheses="g > 0, single prompt, full support; checked for g in [.1, 3] and logits down to -8",
    source=OURS,
    kind="numeric",
    tolerance=NEAR,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:entropy_ceiling",
        "num_correct * boost + num_wrong",
        "num_correct * boost - num_wrong",
    ),
)
def flows_meet_the_ceiling(rng: np.random.Generator) -> Evidence:
    """The bonus's objective is strictly concave in p, so its flow ends at the one stationary point.

    The margin is the relative error of 1 - Q at the end of the bonus, and how far DS stays from a thousandth of it.
    """

    def violation(problem: Problem) -> float:
        strength = float(np.exp(rng.uniform(np.log(0.1), np.log(3.0))))
        num_correct = problem.correct.sum()
        ceiling = dynamics.entropy_ceiling(num_correct, problem.correct.size - num_correct, np.exp(1 / strength))

        def failure(log_policy: Floats) -> float:
            return float(np.exp(log_policy[~problem.is_correct]).sum())

        def end(gamma_incorrect: float, distance: Callable[[Floats], float]) -> float:
            flow = _smoothing(problem, strength, gamma_incorrect)
            return failure(late.until(problem.base_log_policy, flow, LATEST, distance)[1])

        bonus = end(-strength, lambda now: _unevenness(now, problem) + abs(failure(now) / (1 - ceiling) - 1) - NEAR)
        passed = end(0.0, lambda now: failure(now) / (1 - ceiling) - 1e-3)
        return float(max(abs(bonus / (1 - ceiling) - 1), passed / (1 - ceiling) - 1e-3))

    drawn = (_moderate(rng, 1 + k % 3, 1 + k % 4) for k in range(8))
    rare = ((np.append(p.base_log_policy, -8.0), np.append(p.correct, 1.0)) for p in drawn)
    return ledger.worst(violation(Problem(policies.log_softmax(logits), correct)) for logits, correct in rare)


def _unevenness(log_policy: Floats, problem: Problem) -> float:
    """The largest log-ratio of two correct or of two wrong answers."""
    return float(max(np.ptp(log_policy[problem.is_correct == side]) for side in (True, False)))


@ledger.claim(
    "B8.1",
    "DS with base reference and no KL has a linear objective; its maximiser is the correct answer least "
    "likely under b, for every g_w >= 0.",
    latex=r"\arg\max_p E_p[s]=\arg\min_{i\in C}b_i",
    hypotheses="g_c > 0, g_w >= 0, the rarest correct answer unique",
    source=OURS,
    kind="numeric",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:differential_smoothing", "= -gamma_correct", "= gamma_correct"),
)
def base_reference_picks_the_rarest(rng: np.random.Generator) -> Evidence:
    """The score is 1 - g_c log b > 1 on C, largest for the rarest, and g_w log b <= 0 on W.

    The margin counts problems whose best-scored answer is another one.
    """

    def violation(problem: Problem) -> float:
        g_c, g_w = rng.exponential(size=2)
        score = dynamics.smoothing_advantage(problem.base_log_policy, problem.correct, g_c, g_w)
        claimed = dynamics.base_reference_limit(problem.base_log_policy, problem.correct)
        return float(score[claimed] < score.max())

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 200, min_correct=2))


@ledger.claim(
    "B8.2",
    "Its flow puts the mass there, even where that answer starts as the rarest of all.",
    latex=r"p(t)\to e_{\arg\min_Cb}",
    hypotheses="g_c > 0, g_w >= 0, the rarest correct answer unique, full support; checked for g_c in [.1, 3], g_w in "
    "[0, 2] and correct answers down to e^-8",
    source=OURS,
    kind="numeric",
    tolerance=NEAR,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:base_reference_limit",
        "base_log_policy, np.inf).argmin",
        "-base_log_policy, np.inf).argmin",
    ),
)
def base_reference_flow_ends_on_the_rarest(rng: np.random.Generator) -> Evidence:
    """A linear objective under the softmax gradient goes to its best vertex.

    Integrated to t = 1e60, or until the claimed answer has all mass but 1e-6; the margin is the mass elsewhere.
    """

    def violation(num_correct: int, num_wrong: int) -> float:
        right = -np.cumsum(rng.uniform(0.1, 8.0 / num_correct, num_correct))
        base = policies.log_softmax(np.concatenate([right, rng.normal(size=num_wrong)]))
        correct = np.array([1.0] * num_correct + [0.0] * num_wrong)
        g_c, g_w = float(np.exp(rng.uniform(np.log(0.1), np.log(3.0)))), float(rng.choice([0.0, rng.uniform(0, 2)]))
        score = dynamics.smoothing_advantage(base, correct, g_c, g_w)
        others = np.arange(base.size) != dynamics.base_reference_limit(base, correct)

        def elsewhere(log_policy: Floats) -> float:
            return float(np.exp(log_policy[others]).sum())

        return elsewhere(late.until(base, lambda _: score, LATEST, elsewhere, NEAR)[1])

    return ledger.worst(violation(2 + k % 3, 1 + k % 3) for k in range(12))


@ledger.claim(
    "B9",
    "Mirror descent on r - g_c log p on C: after K steps of size eta, p_C is b_C tempered by (1 - eta g_c)^K exactly.",
    latex=r"p_C^{(K)}\propto b_C^{(1-\eta g_c)^K}",
    hypotheses="K = 1 to 6 in the symbolic check; any eta, g_c",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:mirror_descent_exponent",
        "(1 - learning_rate * gamma_correct) ** num_steps",
        "1 - num_steps * learning_rate * gamma_correct",
    ),
)
def mirror_descent_tempers(rng: np.random.Generator) -> Evidence:
    """Log p' = log p + eta (1 - g_c log p) + const on C multiplies each log-ratio by 1 - eta g_c."""
    eta, g_c = sp.symbols("eta g_c", positive=True)
    start = sp.symbols("l_i l_j", real=True)
    residuals = []
    logs = list(start)
    for num_steps in range(1, 7):
        scores = [shaping.differential_smoothing(1, log, 1, gamma_correct=g_c, gamma_incorrect=0) for log in logs]
        logs = [dynamics.mirror_descent_step(log, score, eta) for log, score in zip(logs, scores, strict=True)]
        exponent = dynamics.mirror_descent_exponent(eta, g_c, num_steps)
        residuals.append(logs[0] - logs[1] - exponent * (start[0] - start[1]))
    return ledger.symbolic(residuals, rng)
