"""Claims B1, B2, B5, B10 to B12: what the exact policy-gradient flow does at every moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory import shaping
from sharpening.theory.claims import instances, ledger
from sharpening.theory.claims.ledger import EXACT, INTEGRATED, Evidence, Mutant
from sharpening.theory.flow import dynamics, vanilla_path
from sharpening.theory.optimum import divergences
from sharpening.theory.policies import Problem

OURS = "ours"
PAPER = "our reading of the reinforcement bias of arXiv 2511.19942"
TEXTBOOK = "textbook"

CORRECT = np.array([1, 1, 0, 0])
GEOMETRIES: tuple[dynamics.Geometry, ...] = ("softmax", "natural")
LOGITS = sp.symbols("z1:5", real=True)


def softmax(logits: Sequence[sp.Symbol]) -> tuple[Any, Any]:
    """Probabilities and log-probabilities of symbolic logits, as object arrays."""
    total = sum(sp.exp(logit) for logit in logits)
    policy = np.array([sp.exp(logit) / total for logit in logits])
    return policy, np.array([logit - sp.log(total) for logit in logits])


def _along(value: sp.Expr, velocity: Any) -> sp.Expr:
    """The derivative of an expression in the logits z along a velocity of the logits."""
    return sum(sp.diff(value, logit) * speed for logit, speed in zip(LOGITS, velocity, strict=False))


def _free_policy() -> Any:
    """Four probabilities whose last is 1 minus the others, as an object array."""
    p = sp.symbols("p1:4", positive=True)
    return np.array([*p, 1 - sum(p)])


@ledger.claim(
    "B1.1",
    "The exact gradient of E_p[A] in softmax logits is p_i (A_i - mean A), A held fixed.",
    latex=r"\partial_{z_i}\textstyle\sum_jp_jA_j=p_i(A_i-\bar A)",
    hypotheses="softmax logits; four answers in the symbolic check",
    source=TEXTBOOK,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.dynamics:softmax_flow", "(advantage - (", "(advantage + ("),
)
def flow_is_the_gradient(rng: np.random.Generator) -> Evidence:
    """Differentiate sum p_j A_j by z_i with dp_j/dz_i = p_j (1[i=j] - p_i)."""
    policy, _ = softmax(LOGITS)
    advantage = np.array(sp.symbols("A1:5", real=True))
    value = (policy * advantage).sum()
    flow = dynamics.softmax_flow(policy, advantage)
    return ledger.symbolic([sp.diff(value, logit) - speed for logit, speed in zip(LOGITS, flow, strict=True)], rng)


@ledger.claim(
    "B1.2",
    "Reinforcement bias, vanilla: d/dt log(p_i/p_j) = (1-Q)(p_i - p_j) on C, the likelier gains; -Q (p_i - "
    "p_j) on W, errors flatten.",
    latex=r"\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=(1-Q)(p_i-p_j)\text{ on }C,\ -Q(p_i-p_j)\text{ on }W",
    hypotheses="exact softmax gradient of E[r], r = 1 on C and 0 on W",
    source=PAPER,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:vanilla_log_ratio_rate",
        "(correct - correctness)",
        "(correctness + correct - 1)",
    ),
)
def likelier_correct_answers_gain(rng: np.random.Generator) -> Evidence:
    """log(p_i/p_j) = z_i - z_j, and dz_i/dt = p_i (r_i - Q) with mean r = Q."""
    policy = _free_policy()
    flow = dynamics.softmax_flow(policy, CORRECT)
    correctness = policy[0] + policy[1]
    return ledger.symbolic(
        [
            flow[i] - flow[j] - dynamics.vanilla_log_ratio_rate(policy[i], policy[j], correctness, CORRECT[i])
            for i, j in ((0, 1), (2, 3))
        ],
        rng,
    )


@ledger.claim(
    "B2.1",
    "Along the vanilla flow e^(-z_i) - e^(-z_j) is constant inside C and inside W, and so is the sum of z.",
    latex=r"e^{-z_i}-e^{-z_j}=\text{const on }C\text{ and on }W,\quad\textstyle\sum_iz_i=\text{const}",
    hypotheses="z the integrated logits, not log p; c(Q) p_i (r_i - Q) for any c",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.dynamics:softmax_flow", "policy * (advantage", "policy**2 * (advantage"),
)
def reciprocal_weights_move_together(rng: np.random.Generator) -> Evidence:
    """D e^(-z_i)/dt = -e^(-z_i) p_i (r_i - Q) = -(r_i - Q)/sum e^z: the same for all of C, the same for all of W.

    And sum p_i (r_i - Q) = Q - Q.
    """
    policy, _ = softmax(LOGITS)
    flow = dynamics.softmax_flow(policy, CORRECT)
    differences = [sp.exp(-LOGITS[i]) - sp.exp(-LOGITS[j]) for i, j in ((0, 1), (2, 3))]
    return ledger.symbolic([*(_along(value, flow) for value in differences), flow.sum()], rng)


@ledger.claim(
    "B2.2",
    "The path closes: e^(-z_i) on C is fixed by that of the most likely correct answer, z_i(0) - z_i = "
    "log(gap + (1-gap) e^(-rise)).",
    latex=r"e^{z_i(0)-z_i}=\delta_i+(1-\delta_i)e^{-\Delta},\quad\delta_i=1-p_i(0)/p_{top}(0)",
    hypotheses="vanilla softmax flow; Delta the rise of the top correct logit",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.vanilla_path:inverse_growth", "gap + (1 - gap)", "gap - (1 - gap)"),
)
def path_closes(rng: np.random.Generator) -> Evidence:
    """Both sides of the flow equal p_i/p_top.

    Put the closed form into dz_i = p_i (1-Q) dt with d Delta = p_top (1-Q) dt: both sides equal p_i/p_top along
    the path, since p_i/p_top = (p_i(0)/p_top(0)) e^(-Delta) / (gap + (1-gap) e^(-Delta)).
    """
    gap, remaining = sp.symbols("gap remaining", positive=True)
    growth = vanilla_path.inverse_growth(gap, remaining)
    slope = sp.diff(-sp.log(growth), remaining) * -remaining  # dz_i / d Delta
    ratio = (1 - gap) * remaining / growth  # p_i / p_top
    return ledger.symbolic([slope - ratio, vanilla_path.inverse_growth(gap, 1) - 1], rng)


@ledger.claim(
    "B2.3",
    "The scalar reduction (one root and one integral per time) equals SciPy's integrator on all logits.",
    latex=r"p(t)\ \text{by one unknown}=p(t)\ \text{by LSODA}",
    hypotheses="times up to 1,000; wrong answers share the rise: sum of their falls equals the sum of gains",
    source=OURS,
    kind="numeric",
    tolerance=INTEGRATED,
    mutant=Mutant("sharpening.theory.flow.vanilla_path:logits_at_rise", "wrong - loss", "wrong + loss"),
)
def reduction_matches_the_integrator(rng: np.random.Generator) -> Evidence:
    """Two computations of the same path; the margin is the largest difference of a log-probability, in nats per nat."""
    times = np.array([0.0, 0.1, 3.0, 100.0, 1000.0])

    def violation(problem: Problem) -> float:
        exact = vanilla_path.vanilla_path(problem, times)
        stepped = dynamics.integrate(problem.base_log_policy, lambda _: problem.correct, times)
        return float((np.abs(exact - stepped) / (1 - stepped)).max())

    return ledger.worst(violation(problem) for problem in instances.problems(rng, 24))


@ledger.claim(
    "B5.1",
    "The natural gradient is dz = A up to a constant, and leaves every ratio inside C (so p_C) unchanged.",
    latex=r"F^{-1}\nabla J=A+\text{const},\quad\tfrac{d}{dt}\log\tfrac{p_i}{p_j}=0\ \text{on }C",
    hypotheses="F = diag(p) - p p^T; A equal on C (any correctness-only method)",
    source=TEXTBOOK,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.dynamics:natural_flow", "return advantage -", "return policy * advantage -"),
)
def natural_gradient_keeps_ratios(rng: np.random.Generator) -> Evidence:
    """F (A - mean A) = p (A - mean A), the softmax gradient.

    With A = r the difference of two correct answers is 0: the sharpening belongs to the parametrisation.
    """
    policy = _free_policy()
    advantage = np.array(sp.symbols("A1:5", real=True))
    direction = dynamics.natural_flow(policy, advantage)
    fisher = policy * direction - policy * (policy * direction).sum()
    gradient = policy * (advantage - (policy * advantage).sum())
    on_reward = dynamics.natural_flow(policy, CORRECT)
    centred = (policy * direction).sum()
    return ledger.symbolic([*(fisher - gradient), sp.expand(centred), on_reward[0] - on_reward[1]], rng)


@ledger.claim(
    "B10",
    "dH/dt = -Cov_p(log p, p (A - mean A)) under the softmax gradient and -Cov_p(log p, A) under the natural gradient.",
    latex=r"\dot H=-\mathrm{Cov}_p(\log p,\dot z)",
    hypotheses="any advantage; four answers in the symbolic check",
    source="arXiv 2505.22617, as summarised",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.flow.dynamics:entropy_rate", "return -(policy", "return (policy"),
)
def entropy_moves_with_the_covariance(rng: np.random.Generator) -> Evidence:
    """dH/dz_i = -p_i (log p_i + H); sum against dz. Checked for both velocities and one arbitrary one."""
    policy, log_policy = softmax(LOGITS[:3])
    advantage = np.array(sp.symbols("A1:4", real=True))
    value = -(policy * log_policy).sum()
    velocities = [
        advantage,
        *(flow(policy, advantage) for flow in (dynamics.softmax_flow, dynamics.natural_flow)),
    ]
    return ledger.symbolic(
        [_along(value, speed) - dynamics.entropy_rate(policy, log_policy, speed) for speed in velocities], rng
    )


@ledger.claim(
    "B11",
    "A global bonus g adds g (S_C - S_W) (natural) or g (E_C[p(u-H)] - E_W[p(u-H)]) (softmax) to d logit "
    "Q/dt, at the current p.",
    latex=r"g(S_C-S_W)\ \text{(natural)},\quad g\big(E_C[p(u-H)]-E_W[p(u-H)]\big)\ \text{(softmax)},\ u=-\log p",
    hypotheses="no KL; this, not A4, is what a run without KL shows at first; three answers in the symbolic check",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.flow.dynamics:global_term_effect", "in_correct - in_wrong", "in_correct + in_wrong"
    ),
)
def global_term_acts_at_the_current_policy(rng: np.random.Generator) -> Evidence:
    """D logit Q = E_C[dz] - E_W[dz]. The bonus adds dz = g u (natural) or g p (u - H) (softmax) to the velocity."""
    policy, log_policy = softmax(LOGITS[:3])  # two correct answers and a wrong one
    correct = CORRECT[:3]
    strength = sp.Symbol("g", positive=True)
    logit = sp.log(policy[0] + policy[1]) - sp.log(policy[2])
    term = shaping.entropy_bonus(0, log_policy, correct, strength=strength)
    residuals = []
    for geometry in GEOMETRIES:
        flow = dynamics.softmax_flow if geometry == "softmax" else dynamics.natural_flow
        claimed = dynamics.global_term_effect(policy, log_policy, correct, strength, geometry)
        residuals.append(_along(logit, flow(policy, term)) - claimed)
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "B12.1",
    "On-policy k1 and k3 have mean KL(p||b), but k3 as a loss follows KL(b||p); k3 times the ratio, or k1 in the "
    "reward, follows KL(p||b); k1 as a loss nothing.",
    latex=r"E_p\nabla k_3=\nabla\mathrm{KL}(b\|p),\quad\nabla E_p[k_3]=E_p[k_1\nabla\log "
    r"p]=\nabla\mathrm{KL}(p\|b),\quad E_p\nabla k_1=0",
    hypotheses="samples from p, one update; three answers in the symbolic check",
    source="ours; part A is about KL(p||b)",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.optimum.divergences:kl_score_weight", "return 1 - base_ratio", "return base_ratio - 1"
    ),
)
def kl_estimators_follow_different_divergences(rng: np.random.Generator) -> Evidence:
    """With u = b/p, du = -u d log p.

    Loss: sum p d k3 = sum p (1 - u) d log p = -sum b d log p. With the ratio the weight itself is
    differentiated too, which leaves sum p (-log u) d log p. Each placement's gradient is taken from its
    definition, samples fixed, and compared with the score weight and with the divergence it follows. The mean of k3
    is KL(p||b) + sum b - 1; the sum of b is left free here.
    """
    policy, log_policy = softmax(LOGITS[:3])
    log_base = np.array(sp.symbols("lb1:4", real=True))
    base = np.array([sp.exp(log) for log in log_base])
    weights = np.array(sp.symbols("w1:4", positive=True))  # the sampling probabilities, held fixed
    at_policy = dict(zip(weights, policy, strict=True))
    log_ratio, ratio = log_base - log_policy, base / policy
    forward = (policy * (log_policy - log_base)).sum()
    reverse = (base * (log_base - log_policy)).sum()
    surrogates: dict[divergences.KLPlacement, tuple[sp.Expr | None, sp.Expr]] = {
        "k3_loss": ((weights * divergences.k3(ratio, log_ratio)).sum(), reverse),
        "k3_times_ratio": ((policy * divergences.k3(ratio, log_ratio)).sum(), forward),
        "k1_loss": ((weights * divergences.k1(ratio, log_ratio)).sum(), sp.Integer(0)),
        "k1_reward": (None, forward),
    }
    residuals = [
        (policy * divergences.k1(ratio, log_ratio)).sum() - forward,
        (policy * divergences.k3(ratio, log_ratio)).sum() - forward - (base.sum() - 1),
    ]
    for placement, (surrogate, target) in surrogates.items():
        score_weight = divergences.kl_score_weight(placement, ratio, log_ratio)
        for index, logit in enumerate(LOGITS[:3]):
            score = np.array([(1 if arm == index else 0) - policy[index] for arm in range(3)])
            by_weight = (policy * score_weight * score).sum()
            residuals.append(by_weight - sp.diff(target, logit))
            if surrogate is not None:
                residuals.append(sp.diff(surrogate, logit).subs(at_policy) - by_weight)
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "B12.2",
    "The KL penalty in the reward, r - beta (log p - log b), follows the gradient of E_p[r] - beta KL(p||b).",
    latex=r"E_p\big[(r-\beta\log\tfrac pb)\nabla\log p\big]=\nabla\big(E_p[r]-\beta\,\mathrm{KL}(p\|b)\big)",
    hypotheses="no gradient through the log-probability in the reward; three answers in the symbolic check",
    source=TEXTBOOK,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.shaping:kl_penalty", "(log_prob - base_log_prob)", "(log_prob + base_log_prob)"),
)
def kl_penalty_follows_the_objective(rng: np.random.Generator) -> Evidence:
    """The slope of KL(p||b) in p is log p - log b + 1, and the constant drops out of the softmax gradient."""
    policy, log_policy = softmax(LOGITS[:3])
    log_base, strength = np.array(sp.symbols("lb1:4", real=True)), sp.Symbol("beta", positive=True)
    objective = (CORRECT[:3] * policy).sum() - strength * (policy * (log_policy - log_base)).sum()
    shaped = shaping.kl_penalty(CORRECT[:3], log_policy, log_base, strength=strength)
    flow = dynamics.softmax_flow(policy, shaped)
    return ledger.symbolic([sp.diff(objective, logit) - speed for logit, speed in zip(LOGITS, flow, strict=False)], rng)
