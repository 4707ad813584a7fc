"""The outcome bandit of a numerical study of inverse-probability scaling (arXiv 2601.21669), re-run.

Flow: dz_i/dt = r_i p_i^(1-a) - p_i sum_k r_k p_k^(1-a), the softmax flow of the advantage r p^(-a); a = 0 is plain RL.
Sampled, the policy p becomes the share of a group of G draws. There is no baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from sharpening.theory import policies
from sharpening.theory.flow import dynamics
from sharpening.theory.groups import expectations, sampling
from sharpening.theory.policies import Floats

Measured = Iterator[tuple[str, float]]
STEP = 0.5  # of the sampled updates
COLLAPSED = 0.95
CONSENSUS = 0.98
RARE = 1e-7  # the minority's share where its survival is decided


def scaled(reward: Sequence[float], exponent: float) -> Callable[[Floats], Floats]:
    """The advantage r p^(-a) as a function of the log-policy."""
    return lambda log_policy: np.asarray(reward * np.exp(-exponent * log_policy))


def end_of_flow(reward: Sequence[float], exponent: float, time: float) -> Floats:
    """The policy at a time, from the uniform policy.

    Shapes:   returns (num_arms,).
    """
    start = policies.log_softmax(np.zeros(len(reward)))
    return np.asarray(np.exp(dynamics.integrate(start, scaled(reward, exponent), [time])[0]))


def time_to_share(gap: float, share: float = 0.99) -> float:
    """When the better of two answers, rewards 1 + gap and 1, has the share; logits start at (.05, -.05), a = 0."""
    reward = np.array([1 + gap, 1.0])

    def rate(_: float, logits: Floats) -> Floats:
        return np.asarray(dynamics.softmax_flow(np.exp(policies.log_softmax(logits)), reward))

    def reached(_: float, logits: Floats) -> float:
        return float(np.exp(policies.log_softmax(logits)[0])) - share

    reached.terminal = True  # type: ignore[attr-defined]
    span = (0.0, 200 / gap)
    found = solve_ivp(rate, span, [0.05, -0.05], "LSODA", events=reached, rtol=1e-10, atol=1e-12)
    return float(found.t_events[0][0])


def expected_drift(share: float, reward: Sequence[float], exponent: float, group_size: int) -> float:
    """The mean step of z_1 - z_2 of two answers, the first with the share, over all groups."""
    second = np.arange(group_size + 1)
    counts = np.stack([group_size - second, second], axis=-1)  # (group_size + 1, 2)
    steps = sampling.sampled_step(np.array([share, 1 - share]), counts, of_shares(counts, reward, exponent))
    return float(expectations.binomial_weights(group_size, 1 - share) @ (steps[:, 0] - steps[:, 1]))


def of_shares(counts: NDArray[np.int64], reward: Sequence[float] | float, exponent: float) -> Floats:
    """The advantage of each answer, its reward over (its share of the group)^a; 0 where it was not drawn."""
    share = np.maximum(counts, 1) / counts.sum(axis=-1, keepdims=True)
    return np.asarray(np.where(counts > 0, reward * share**-exponent, 0.0))


def flows() -> Measured:
    """Everything that needs no draws."""
    for_ever = np.linspace(1, 300, 300)
    drifts = []
    for share in (0.5, 0.65, 0.8, 0.95):
        path = dynamics.integrate(np.log([share, 1 - share]), scaled((1, 1), 0), for_ever)
        drifts.append(np.abs(np.exp(path[:, 0]) - share).max())
    yield "tie_drift", max(drifts)
    gaps = np.geomspace(0.02, 4, 12)
    times = np.array([time_to_share(gap) for gap in gaps])
    slope, constant = np.polyfit(np.log(gaps), np.log(times), 1)
    residual = np.log(times) - slope * np.log(gaps) - constant
    yield "gap_exponent", slope
    yield "gap_constant", np.exp(constant)
    yield "gap_constant_exact", float(np.median(times * gaps))
    yield "gap_r_squared", 1 - residual.var() / np.log(times).var()
    late = np.geomspace(100, 10_000, 30)
    minority = np.exp(dynamics.integrate(policies.log_softmax(np.zeros(2)), scaled((2, 1), 0), late)[:, 1])
    yield "tail_slope", np.polyfit(np.log(late), np.log(minority), 1)[0]
    yield "tail_constant", 2 * late[-1] * minority[-1]
    for exponent in (0.5, 1, 2, 4):
        yield f"share_{exponent}", end_of_flow((4, 1), exponent, 200.0)[0]
        at_rest = np.log(end_of_flow((5, 4, 3, 2, 1), exponent, 1000.0))
        yield f"evenness_{exponent}", float(policies.entropy(at_rest)) / np.log(5)
    for group_size in (2, 4, 8, 16, 32, 64, 128):
        least = brentq(lambda a, size: expected_drift(1 - RARE, (4, 1), a, size), 0.05, 3, args=(group_size,))
        yield f"critical_{group_size}", least
    for group_size in (4, 16, 64):
        rest = brentq(expected_drift, 0.5, 1 - 1e-6, args=((4, 1), 1.003, group_size))
        yield f"long_run_{group_size}", rest


def _climb(logits: Floats, exponent: float, group_size: int, rng: np.random.Generator) -> Floats:
    """One sampled update of every seed, all rewards 1.

    Shapes:   logits: (num_seeds, num_arms). Returns the same shape.
    """
    policy = np.exp(policies.log_softmax(logits))
    counts = rng.multinomial(group_size, policy)
    return np.asarray(logits + STEP * sampling.sampled_step(policy, counts, of_shares(counts, 1.0, exponent)))


def collapse(exponent: str, num_seeds: int, rng: np.random.Generator, num_steps: int = 6000) -> Measured:
    """Five answers of equal reward, groups of 16: how many seeds end on one answer."""
    logits = np.zeros((num_seeds, 5))
    for _ in range(num_steps):
        logits = _climb(logits, float(exponent), 16, rng)
    log_policy = policies.log_softmax(logits)
    yield f"collapsed_{exponent}", float((log_policy.max(axis=1) > np.log(COLLAPSED)).mean())
    yield f"sampled_evenness_{exponent}", float(np.median(policies.entropy(log_policy))) / np.log(5)


def consensus(group_size: int, num_seeds: int, rng: np.random.Generator, num_steps: int = 15_000) -> Measured:
    """Two answers of equal reward, a = 0: the median time until one has almost all mass, infinite if most never do."""
    logits, times = np.zeros((num_seeds, 2)), np.full(num_seeds, np.inf)
    for step in range(1, num_steps + 1):
        logits = _climb(logits, 0.0, group_size, rng)
        gap = np.abs(logits[:, 0] - logits[:, 1])
        times[(gap >= np.log(CONSENSUS / (1 - CONSENSUS))) & np.isinf(times)] = STEP * step
        if np.isfinite(times).all():
            break
    yield f"consensus_{group_size}", float(np.median(times))
