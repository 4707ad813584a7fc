"""Claims B4, B5.2, B5.3, C4 and C5: the expected step of a sampled group, for correctness-only methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import sympy as sp

from sharpening.theory.claims import enumeration, ledger
from sharpening.theory.claims.ledger import EXACT, FLOAT64, Evidence, Mutant
from sharpening.theory.groups import expectations, sampling
from sharpening.theory.methods import baselines

OURS = "ours"
PKPO = "arXiv 2505.15201 (as summarised)"

Q, weight = sp.symbols("Q lambda")
STEP = 1e-3  # standard deviation of the log-ratio step of B5.3
FOURTH_ORDER = 1e-4  # next to the second order the fourth is STEP^2 times a kurtosis, below 100 here
IPS_TERM = Mutant(
    "sharpening.theory.groups.sampling:sampled_step",
    "counts * advantage",
    "np.minimum(counts, 1) * counts.sum(-1, keepdims=True) * advantage",
)


def _mean_step(policy: Any, correct: Any, table: Any) -> Any:
    """The mean of the sampled step of a method with this table over all groups."""

    def step(counts: Any) -> Any:
        advantage = enumeration.advantages_of(table, correct, counts)
        return sampling.sampled_step(policy, counts, advantage)

    return enumeration.expectation(policy, table.shape[1] - 1, step)


def _method_tables(group_size: int) -> Iterator[tuple[str, Any]]:
    """The table of every correctness-only method, epsilon 0."""
    plain = (baselines.reinforce, baselines.rloo, baselines.dr_grpo, baselines.psr, baselines.nsr)
    divided = (baselines.grpo, baselines.dapo, baselines.f_grpo, baselines.maxrl)
    method: baselines.Advantage
    for method in (*plain, baselines.w_reinforce):
        yield method.__name__, expectations.advantage_table(method, group_size)
    for method in divided:
        yield method.__name__, expectations.advantage_table(method, group_size, epsilon=0.0)
    for k in range(1, group_size + 1):
        yield f"pkpo k={k}", expectations.advantage_table(baselines.pkpo, group_size, k=k)
        trained = expectations.advantage_table(baselines.pass_at_k_training, group_size, k=k, epsilon=0.0)
        yield f"pass_at_k_training k={k}", trained


@ledger.claim(
    "B4.1",
    "If A = f(r, X), the expected on-policy step is c_G(Q) p_i (r_i - Q) for EVERY answer, whatever f.",
    latex=r"E[\Delta z_i]=\eta\,c_G(Q)\,p_i(r_i-Q),\ c_G=E f(1,1+B)-E f(0,B),\ B\sim\mathrm{Bin}(G-1,Q)",
    hypotheses="on-policy SGD, first order, one prompt; free f and p; 4 answers (G = 2, 3) or 3 (G = 4)",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=IPS_TERM,
)
def universality(rng: np.random.Generator) -> Evidence:
    """Each draw is answer i with probability p_i; the other G-1 draws hold B correct ones, B ~ Bin(G-1, Q).

    So E[n_i A_i]/G = p_i a_C on C and p_i a_W on W, with a_C = E f(1,1+B), a_W = E f(0,B). Then E[dz_i] = p_i
    (a_i - Q a_C - (1-Q) a_W), which is p_i (1-Q)(a_C - a_W) on C and -p_i Q (a_C - a_W) on W.
    """
    residuals = []
    for labels, group_size in (((1, 1, 0, 0), 2), ((1, 1, 0, 0), 3), ((1, 1, 0), 4)):
        correct = enumeration.exact(*labels)
        policy = enumeration.symbolic_policy(len(correct))
        table = enumeration.exact(*(sp.symbols(f"f{label}_0:{group_size + 1}") for label in (0, 1)))
        claimed = expectations.expected_step(policy, correct, table)
        residuals += [sp.expand(value) for value in _mean_step(policy, correct, table) - claimed]
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "B4.2",
    "c_G = 1 (REINFORCE, RLOO, PSR, NSR), 1+lambda (W-REINFORCE), 1-1/G (Dr. GRPO), k(1-Q)^(k-1) (PKPO), "
    "(1-(1-Q)^(G-1))/Q (MaxRL).",
    latex=r"c_G\in\{1,\ 1+\lambda,\ 1-\tfrac1G,\ k(1-Q)^{k-1},\ \tfrac{1-(1-Q)^{G-1}}{Q}\}",
    hypotheses="epsilon 0 for MaxRL; G = 2 to 5, every k <= G",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.expectations:maxrl_weight", "range(group_size - 1)", "range(group_size)"),
)
def closed_forms(rng: np.random.Generator) -> Evidence:
    """Insert the tables in the definition.

    RLOO: f(1,1+B) - f(0,B) = (G-1-B+B)/(G-1) = 1; Dr. GRPO: (G-1)/G. PKPO: f(1) - f(0,B) = k C(G-1-B,k-1)/
    C(G-1,k-1), whose mean is k (1-Q)^(k-1). MaxRL: E (G-1-B)/(1+B) = (1-(1-Q)^G)/Q - 1 and f(0,B) = -1 for B
    >= 1; together (1-(1-Q)^(G-1))/Q. The tables are those of the advantage functions, in Fractions.
    """
    residuals = []
    for group_size in range(2, 6):

        def difference(method: Callable[..., Any], claimed: Any, size: int = group_size, **own: Any) -> Any:
            table = expectations.advantage_table(method, size, is_exact=True, **own)
            return expectations.prompt_weight(table, Q) - claimed

        size = sp.Integer(group_size)
        plain = (baselines.reinforce, baselines.rloo, baselines.psr, baselines.nsr)
        residuals += [difference(method, expectations.reinforce_weight()) for method in plain]
        weighted = expectations.w_reinforce_weight(weight)
        residuals.append(difference(baselines.w_reinforce, weighted, positive_weight=weight))
        residuals.append(difference(baselines.dr_grpo, expectations.dr_grpo_weight(size)))
        maxrl = expectations.maxrl_weight(Q, group_size)
        residuals += [difference(baselines.maxrl, maxrl, epsilon=0), maxrl - (1 - (1 - Q) ** (size - 1)) / Q]
        orders = range(1, group_size + 1)
        residuals += [difference(baselines.pkpo, expectations.pkpo_weight(Q, k), k=k) for k in orders]
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "B4.3",
    "If f(1, x+1) >= f(0, x), as in all these, no expected step raises the share of a rarer correct answer.",
    latex=r"E[\Delta(z_i-z_j)]=\eta\,c_G(Q)(1-Q)(p_i-p_j),\quad c_G\ge0",
    hypotheses="i, j correct; without f(1, x+1) >= f(0, x) the sign of c_G is free (paying errors)",
    source=OURS,
    kind="enumeration",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.methods.baselines:nsr", "correct - 1", "1 - correct"),
)
def no_method_lifts_the_rare(rng: np.random.Generator) -> Evidence:
    """By B4.1 the log-ratio moves by c_G (1-Q)(p_i - p_j).

    And c_G = E[f(1,1+B) - f(0,B)] >= 0 under the hypothesis. The check takes the tables of all methods (group
    size 16 for the hypothesis) and averages the steps of all groups of 2 to 4 draws, in Fractions; it reports
    the largest expected push towards the rarer answer.
    """
    violations = []
    for _, table in _method_tables(16):
        violations.append(float(np.max(table[0, :-1] - table[1, 1:])))
    correct = enumeration.exact(1, 1, 1, 0)
    for group_size in (2, 3, 4):
        policy = enumeration.rational_policy(rng, 4)
        order = np.argsort(policy[:3])
        for _, table in _method_tables(group_size):
            rational = np.vectorize(Fraction, otypes=[object])(np.nan_to_num(table))
            step = _mean_step(policy, correct, rational)[order]
            violations += [float(step[0] - step[1]), float(step[1] - step[2])]
    return ledger.worst(violations)


@ledger.claim(
    "B4.4",
    "GRPO's prompt weight is a_C/(1-Q), also with DAPO's filter and in pass@1 training, to group size 1,024.",
    latex=r"c_G=\frac{a_C}{1-Q}=\sum_k B_{G-1,Q}(k)\Big[\sqrt{\tfrac{G-1-k}{k+1}}+\sqrt{\tfrac{k}{G-k}}\Big]",
    hypotheses="epsilon 0, population std; filtered groups are not drawn again",
    source=OURS,
    kind="numeric",
    tolerance=FLOAT64,
    mutant=Mutant(
        "sharpening.theory.groups.expectations:grpo_weight",
        "given_correct - given_wrong",
        "given_correct + given_wrong",
    ),
)
def grpo_weights(rng: np.random.Generator) -> Evidence:
    """C3.2 gives a_W = -Q a_C/(1-Q), so a_C - a_W = a_C/(1-Q).

    Uniform groups have advantage 0, so the filter changes nothing. At k = 1 pass@k training has R = X/G, s =
    the std, M = 1: GRPO. The check compares the closed form with the tables of the three advantage functions.
    """
    violations = []
    rare = 10.0 ** rng.uniform(-12, -1, 4)
    mass = np.concatenate([rare, 1 - rare, rng.uniform(0.01, 0.99, 8)])
    for group_size in (2, 3, 8, 64, 1024):
        claimed = expectations.grpo_weight(mass, group_size)
        others = [expectations.grpo_expected_advantages(mass, group_size)[0] / (1 - mass)]
        for method in (baselines.grpo, baselines.dapo):
            table = expectations.advantage_table(method, group_size, epsilon=0.0)
            others.append(expectations.prompt_weight(table, mass))
        trained = expectations.advantage_table(baselines.pass_at_k_training, group_size, k=1, epsilon=0.0)
        others.append(expectations.prompt_weight(trained, mass))
        violations += [float(np.abs(other / claimed - 1).max()) for other in others]
    return ledger.worst(violations)


@ledger.claim(
    "B5.2",
    "With sampled natural-gradient steps the expected log-ratios inside C are unchanged, whatever f(r, X).",
    latex=r"E[\Delta(z_i-z_j)]=0,\quad i,j\in C",
    hypotheses="A = f(r, X); 4 answers, G = 2 to 4, random tables and policies in Fractions",
    source=OURS,
    kind="enumeration",
    tolerance=EXACT,
    mutant=Mutant(
        "sharpening.theory.groups.sampling:natural_sampled_step",
        "(policy * counts.sum(-1, keepdims=True))",
        "counts.sum(-1, keepdims=True)",
    ),
)
def natural_steps_keep_log_ratios(rng: np.random.Generator) -> Evidence:
    """The natural step is n_i A_i/(G p_i) up to a common shift.

    As E[n_i A_i]/G = p_i a_C on C (B4.1), every correct logit moves by a_C and every wrong one by a_W on
    average. The mutant is the softmax gradient.
    """
    violations = []
    correct = enumeration.exact(1, 1, 1, 0)
    for group_size in (2, 3, 4):
        policy = enumeration.rational_policy(rng, 4)
        table = rng.integers(-9, 10, (2, group_size + 1)).astype(object)

        def step(counts: Any, policy: Any = policy, table: Any = table) -> Any:
            advantage = enumeration.advantages_of(table, correct, counts)
            return sampling.natural_sampled_step(policy, counts, advantage)

        mean = enumeration.expectation(policy, group_size, step)
        violations += [abs(mean[0] - mean[1]), abs(mean[0] - mean[2])]
    return ledger.worst(violations)


@ledger.claim(
    "B5.3",
    "The expected share of a correct answer does move: by s(1-s)(1-2s)/2 times the log-ratio's variance.",
    latex=r"E[\Delta s]=\tfrac12 s(1-s)(1-2s)\,\mathrm{Var}(\Delta\log\tfrac{s}{1-s})+O(\eta^3)",
    hypotheses="two correct answers and a wrong one, group-mean centring; second order in the learning rate",
    source=OURS,
    kind="enumeration",
    tolerance=FOURTH_ORDER,
    mutant=Mutant("sharpening.theory.groups.sampling:expected_share_shift", "(1 - 2 * share)", "(1 + 2 * share)"),
)
def natural_steps_move_shares(rng: np.random.Generator) -> Evidence:
    """The share is s = logistic(L) and E[dL] = 0 (B5.2), so E[ds] = s'' Var/2.

    Here s'' = s(1-s)(1-2s): not 0 unless s = 1/2. The check averages the exact share over all groups at steps
    +eta and -eta, which removes the third order.
    """
    violations = []
    correct, group_size = enumeration.exact(1, 1, 0), 4
    for _ in range(4):
        policy = np.sort(enumeration.rational_policy(rng, 3))[::-1]
        share = float(policy[0] / (policy[0] + policy[1]))
        moments = sampling.natural_drift(policy[0], policy[1], 1 - policy[2], group_size, 1)
        rate = STEP / math.sqrt(moments.variance)
        table = expectations.advantage_table(baselines.dr_grpo, group_size, is_exact=True)
        shift = 0.0
        for counts, chance in enumeration.outcomes(policy, group_size):
            values = enumeration.advantages_of(table, correct, counts)
            step = sampling.natural_sampled_step(policy, counts, values)
            move = rate * float(step[0] - step[1])
            odds = (1 - share) / share
            shares = [1 / (1 + odds * math.exp(-sign * move)) for sign in (1, -1)]
            shift += float(chance) * (sum(shares) / 2 - share)
        claimed = sampling.expected_share_shift(share, STEP**2)
        violations.append(abs(shift - claimed) / (STEP**2 * share * (1 - share)))
    return ledger.worst(violations)


@ledger.claim(
    "C4",
    "Group-mean centring alone gives (1-1/G) times the exact gradient, for any rewards.",
    latex=r"E[\Delta z_i]=\eta\,(1-\tfrac1G)\,p_i\,(r_i-E_p r)",
    hypotheses="free rewards and policy; 3 answers, G = 2 to 4",
    source="textbook; arXiv 2503.20783",
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.expectations:dr_grpo_weight", "1 - 1 / group_size", "1 + 1 / group_size"),
)
def centring_shrinks_the_gradient(rng: np.random.Generator) -> Evidence:
    """A draw's own reward enters its baseline with weight 1/G, and E[r score] is the exact gradient.

    The other draws' rewards are independent of its score: E[(r - mean) score] = (1-1/G) E[r score].
    """
    policy, reward = enumeration.symbolic_policy(3), enumeration.exact(*sp.symbols("r1:4"))
    residuals: list[Any] = []
    for group_size in (2, 3, 4):

        def step(counts: Any, size: int = group_size) -> Any:
            return sampling.sampled_step(policy, counts, reward - (counts * reward).sum() / size)

        claimed = expectations.centred_expected_step(policy, reward, sp.Integer(group_size))
        mean = enumeration.expectation(policy, group_size, step)
        residuals += [sp.expand(value) for value in mean - claimed]
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "C5.1",
    "PKPO's estimator has mean k (1-Q)^(k-1) p_i (r_i - Q).",
    latex=r"E[\Delta z_i]=\eta\,k(1-Q)^{k-1}p_i(r_i-Q)",
    hypotheses="1 <= k <= G; free policy over 3 answers, G = 2 to 4, every k",
    source=PKPO,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.methods.baselines:pkpo", "num_wrong - 1, group_size", "num_wrong, group_size"),
)
def pkpo_is_unbiased(rng: np.random.Generator) -> Evidence:
    """A subset of k draws with this draw in it counts 1 if that is correct, else pass@(k-1) of the others.

    Averaging over subsets gives k on correct and k rho(G-1, X, k-1) on wrong draws. Then B4.2 applies.
    """
    policy, correct = enumeration.symbolic_policy(3), enumeration.exact(1, 1, 0)
    mass = (policy * correct).sum()
    residuals: list[Any] = []
    for group_size in (2, 3, 4):
        for k in range(1, group_size + 1):
            table = expectations.advantage_table(baselines.pkpo, group_size, is_exact=True, k=k)
            claimed = expectations.pkpo_weight(mass, k) * policy * (correct - mass)
            residuals += [sp.expand(value) for value in _mean_step(policy, correct, table) - claimed]
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "C5.2",
    "That mean is the gradient of pass@k = 1-(1-Q)^k in the logits.",
    latex=r"\partial_{z_i}\big[1-(1-Q)^k\big]=k(1-Q)^{k-1}p_i(r_i-Q)",
    hypotheses="softmax; 3 answers, k = 1 to 5",
    source=PKPO,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.expectations:pkpo_weight", "(k - 1)", "k"),
)
def pkpo_climbs_pass_at_k(rng: np.random.Generator) -> Evidence:
    """Chain rule: d/dQ of 1-(1-Q)^k is k(1-Q)^(k-1), and dQ/dz_i = p_i (r_i - Q) for a softmax."""
    scale = sp.symbols("e1:4", positive=True)  # exp(z_i); d/dz = e d/de
    policy, correct = enumeration.exact(*scale) / sum(scale), enumeration.exact(1, 1, 0)
    mass = (policy * correct).sum()
    residuals = []
    for k in range(1, 6):
        claimed = expectations.pkpo_weight(mass, k) * policy * (correct - mass)
        slopes = [e * sp.diff(1 - (1 - mass) ** k, e) for e in scale]
        residuals += [slope - value for slope, value in zip(slopes, claimed, strict=True)]
    return ledger.symbolic(residuals, rng)
