"""Claim F4: strategies that prompts share, and the frontier between pass@1 and pass@k."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import sympy as sp
from hypothesis import strategies as st
from scipy.optimize import minimize

from sharpening.theory import policies
from sharpening.theory.claims import late, ledger, search
from sharpening.theory.claims.ledger import EXACT, FLOAT64, OPTIMISER, Evidence, Mutant
from sharpening.theory.flow import strategies
from sharpening.theory.groups import expectations
from sharpening.theory.methods import baselines
from sharpening.theory.policies import Floats

OURS = "ours"
LATEST = 30 * float(np.log(10.0))  # log time to which a flow is followed
SHARES = (0.0, 0.2, 0.5, 0.8, 0.95, 1.0)  # of pass@1 in the mixture


@ledger.claim(
    "F4.1",
    "The advantage lambda REINFORCE + (1-lambda) PKPO has the prompt weight lambda + (1-lambda) k (1-Q)^(k-1), the "
    "slope of lambda pass@1 + (1-lambda) pass@k.",
    latex=r"c(Q)=\lambda+(1-\lambda)k(1-Q)^{k-1}=\tfrac{d}{dQ}\bigl[\lambda Q+(1-\lambda)(1-(1-Q)^k)\bigr]",
    hypotheses="any group size G >= k; k = 1 to 4, G = 2 to 5 in the symbolic check",
    source=OURS,
    kind="symbolic",
    tolerance=EXACT,
    mutant=Mutant("sharpening.theory.groups.expectations:mixture_weight", "(1 - share) * pkpo", "share * pkpo"),
)
def mixtures_have_a_potential(rng: np.random.Generator) -> Evidence:
    """The prompt weight is linear in the advantage; B4.2 has both parts. Tables of both methods in Fractions."""
    mass, share = sp.symbols("Q lambda", positive=True)
    residuals = []
    for group_size in range(2, 6):
        for k in range(1, min(group_size, 4) + 1):
            tables = [
                expectations.advantage_table(baselines.reinforce, group_size, is_exact=True),
                expectations.advantage_table(baselines.pkpo, group_size, is_exact=True, k=k),
            ]
            plain, focal = (expectations.prompt_weight(table, mass) for table in tables)
            claimed = expectations.mixture_weight(mass, k, share)
            potential = share * mass + (1 - share) * (1 - (1 - mass) ** k)
            residuals += [share * plain + (1 - share) * focal - claimed, sp.diff(potential, mass) - claimed]
    return ledger.symbolic(residuals, rng)


@ledger.claim(
    "F4.2",
    "Mean pass@k is concave in the policy over shared strategies, and so is every mixture: F(p') - F(p) <= "
    "sum_i p'_i (A_i - mean A), A the expected advantage.",
    latex=r"F(p')-F(p)\le\textstyle\sum_ip'_i(A_i-\bar A),\quad F=\lambda\overline{\mathrm{pass@}1}+(1-\lambda)"
    r"\overline{\mathrm{pass@}k}",
    hypotheses="pass@k(x) = 1-(1-sum_j S[x,j] p_j)^k, any table S of 0 and 1, k >= 1",
    source=OURS,
    kind="search",
    tolerance=FLOAT64,
    mutant=Mutant("sharpening.theory.flow.strategies:shared_advantage", "None] * solves", "None] * solves**0"),
)
def mixtures_are_concave(rng: np.random.Generator) -> Evidence:
    """1-(1-u)^k is concave on [0, 1] and u = sum S p linear; a concave function lies below its tangent at p.

    The tangent's slope along e_i - p is A_i - mean A. The search draws tables, two policies, lambda and k.
    """
    tables = st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=4, max_size=4), min_size=1, max_size=6)
    logits = st.lists(st.floats(-20.0, 20.0), min_size=4, max_size=4)
    instances = st.tuples(tables, logits, logits, st.floats(0.0, 1.0), st.integers(1, 64))

    def violation(instance: tuple[list[list[float]], list[float], list[float], float, int]) -> float:
        table, *drawn, share, k = instance
        solves = np.array(table)
        here, there = (np.exp(policies.log_softmax(values)) for values in drawn)
        advantage = strategies.shared_advantage(here, solves, _weight(share, k))
        gain = _value(there, solves, share, k) - _value(here, solves, share, k)
        return float(gain - there @ (advantage - here @ advantage)) / (1 + k)

    return search.search(violation, instances, rng)


@ledger.claim(
    "F4.3",
    "The softmax flow of a concave function of the policy ends at its maximum, from every start with full support; so "
    "that of the mixture does.",
    latex=r"F(p(t))\to\max F",
    hypotheses="F concave and smooth on the simplex; checked on random tables, logits down to -8, k = 2 to 16",
    source=OURS,
    kind="numeric",
    tolerance=OPTIMISER,
    mutant=Mutant("sharpening.theory.groups.expectations:mixture_weight", "share * rein", "(1 - share) * rein"),
)
def flows_of_mixtures_end_at_the_maximum(rng: np.random.Generator) -> Evidence:
    """Let p* be a maximiser, V = sum_i p*_i e^(-z_i) > 0 and d tau = dt/sum e^z: dV/d tau = -sum p*_i (A_i - mean A).

    By concavity (F4.2) that is at most -(F(p*) - F(p)). The clock tau runs for ever: in finite tau e^(-z) stays
    bounded, so z is bounded below, and above as sum z is constant, and dt/d tau bounded. V stays above 0, so F(p*) -
    F(p), which only falls, tends to 0. Here the flow is integrated until no strategy is better by 1e-6, or to t = 1e30,
    and its F compared with the largest that SLSQP finds from four starts.
    """
    violations = []
    for index, (solves, log_policy) in enumerate(tables(rng, 9)):
        share, k = SHARES[index % len(SHARES)], 2 ** (1 + index % 4)
        best = _largest(rng, solves, share, k)
        end = np.exp(_flow(log_policy, solves, share, k))
        violations.append(abs(best - _value(end, solves, share, k)))
    return ledger.worst(violations)


@ledger.claim(
    "F4.4",
    "The ends for lambda from 0 to 1 trace the Pareto frontier of pass@1 and pass@k: pass@1 rises and pass@k falls "
    "along it, and no policy is above it in both.",
    latex=r"\nexists p:\ \mathrm{pass@}1(p)>\mathrm{pass@}1(p_\lambda)\ \text{and}\ \mathrm{pass@}k(p)>"
    r"\mathrm{pass@}k(p_\lambda)",
    hypotheses="as F4.3; 2,000 random policies a table, and the best of an optimiser",
    source=OURS,
    kind="numeric",
    tolerance=OPTIMISER,
    mutant=Mutant("sharpening.theory.groups.expectations:mixture_weight", "weight() + (1", "weight() - (1"),
)
def mixtures_trace_the_frontier(rng: np.random.Generator) -> Evidence:
    """Both are concave, so the pairs at or below those of policies are a convex set with a support line at each end.

    So every Pareto point maximises a mixture, and every maximiser for 0 < lambda < 1 is one.
    SLSQP looks for the policy with the largest smaller gain over an end; random policies are tried as well.
    """
    violations = []
    for solves, log_policy in tables(rng, 3):
        k = int(rng.integers(2, 9))
        ends = [np.exp(_flow(log_policy, solves, share, k)) for share in SHARES[1:-1]]
        scores = np.array([[_value(end, solves, 1.0, k), _value(end, solves, 0.0, k)] for end in ends])
        drawn = rng.dirichlet(np.full(solves.shape[1], 0.3), size=2000)
        others = np.stack([1 - ((1 - drawn @ solves.T) ** power).mean(axis=1) for power in (1, k)], axis=1)
        violations += [float((others - score).min(axis=1).max()) for score in scores]
        violations += [_rival(score, end, solves, k) for score, end in zip(scores, ends, strict=True)]
        violations += [-float(np.diff(scores[:, 0]).min()), float(np.diff(scores[:, 1]).max())]
    return ledger.worst(violations)


def _weight(share: float, k: int) -> strategies.PromptWeight:
    return lambda mass: np.asarray(expectations.mixture_weight(np.minimum(mass, 1.0), k, share))


def _value(policy: Floats, solves: Floats, share: float, k: int) -> float:
    """The mixture of mean pass@1 and mean pass@k, by its definition."""
    mass = solves @ policy
    return float((share * mass + (1 - share) * (1 - np.maximum(1 - mass, 0.0) ** k)).mean())


def _flow(log_policy: Floats, solves: Floats, share: float, k: int) -> Floats:
    """The end of the flow of the mixture, (num_strategies,) nats."""

    def advantage_of(now: Floats) -> Floats:
        return np.asarray(strategies.shared_advantage(np.exp(now), solves, _weight(share, k)))

    def is_still(now: Floats) -> float:
        advantage = advantage_of(now)
        return float(advantage.max() - np.exp(now) @ advantage) - OPTIMISER / 10

    return late.until(log_policy, advantage_of, LATEST, is_still)[1]


def _largest(rng: np.random.Generator, solves: Floats, share: float, k: int) -> float:
    """The largest value of the mixture that SLSQP finds on the simplex."""
    number = solves.shape[1]
    found = [
        minimize(
            lambda p: -_value(p, solves, share, k),
            rng.dirichlet(np.ones(number)),
            method="SLSQP",
            bounds=[(0.0, 1.0)] * number,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
            options={"ftol": 1e-13, "maxiter": 300},
        )
        for _ in range(4)
    ]
    return float(max(-result.fun for result in found))


def _rival(score: Floats, start: Floats, solves: Floats, k: int) -> float:
    """The largest amount by which SLSQP finds a policy above both scores."""
    number = solves.shape[1]
    above = minimize(
        lambda x: -x[-1],
        np.append(start, 0.0),
        method="SLSQP",
        bounds=[(0.0, 1.0)] * number + [(-1.0, 1.0)],
        constraints=[
            {"type": "eq", "fun": lambda x: x[:-1].sum() - 1},
            {"type": "ineq", "fun": lambda x: _value(x[:-1], solves, 1.0, k) - score[0] - x[-1]},
            {"type": "ineq", "fun": lambda x: _value(x[:-1], solves, 0.0, k) - score[1] - x[-1]},
        ],
        options={"ftol": 1e-13, "maxiter": 300},
    )
    policy = np.maximum(above.x[:-1], 0.0) / np.maximum(above.x[:-1], 0.0).sum()
    return float(min(_value(policy, solves, 1.0, k) - score[0], _value(policy, solves, 0.0, k) - score[1]))


def tables(rng: np.random.Generator, count: int) -> Iterator[tuple[Floats, Floats]]:
    """Random tables of 4 to 9 prompts and 3 to 6 strategies, and starts; every other one unfriendly."""
    for index in range(count):
        shape = int(rng.integers(4, 10)), int(rng.integers(3, 7))
        solves = (rng.uniform(size=shape) < rng.uniform(0.2, 0.6, size=shape[1])).astype(np.float64)
        logits = rng.normal(size=shape[1]) if index % 2 else rng.uniform(-8.0, 0.0, shape[1])
        yield solves, policies.log_softmax(logits)
