"""Closed forms of other publications against drawn groups, integrated flows and simulated runs."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq

from sharpening.bandits import simulator
from sharpening.bandits.experiments.published.outcomes import Measured
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory import estimators, policies
from sharpening.theory.flow import dynamics
from sharpening.theory.groups import sampling
from sharpening.theory.methods import diversity
from sharpening.theory.optimum import optima
from sharpening.theory.policies import Floats

NUM_ARMS = 100
LIFT = 1.1
NUM_DRAWS = 32  # per problem, in the uplift diagnostic


def tail_miss(rng: np.random.Generator, num_groups: int = 20_000) -> Measured:
    """F-GRPO's Lemmas 3.1 and H.1, as summarised, against drawn groups."""
    mass, sizes = 0.64, np.arange(1, 131_073)
    yield "tail_miss", float(sampling.tail_miss(mass, 6.3e-5, 131_072))
    activity = 1 - mass ** sizes[1:4096] - (1 - mass) ** sizes[1:4096]
    yield "tail_activity", float(np.abs(sampling.tail_miss(mass, 0.0, sizes[1:4096]) - activity).max())
    slopes = np.diff(sampling.tail_miss(mass, 6.3e-5, sizes))
    yield "tail_peaks", float(((slopes[:-1] > 0) & (slopes[1:] < 0)).sum())
    tail, group_size = 0.01, 64
    counts = rng.multinomial(group_size, [tail, mass - tail, 1 - mass], num_groups)
    num_wrong = counts[:, 2]
    missed = (counts[:, 0] == 0) & (num_wrong > 0) & (num_wrong < group_size)
    chance = float(sampling.tail_miss(mass, tail, group_size))
    yield "tail_sampled", (missed.mean() - chance) / math.sqrt(chance * (1 - chance) / num_groups)
    weights = 1 / np.arange(1, 21)
    correct = mass * weights / weights.sum()
    falls = np.diff([sampling.distinct_correct_mass(correct, mass, num_correct) for num_correct in range(1, 200)])
    yield "distinct_falls", float((falls < 0).sum())
    seen = (rng.multinomial(10, correct / mass, num_groups) > 0) @ correct
    error = seen.std(ddof=1) / math.sqrt(num_groups)
    yield "distinct_sampled", float(seen.mean() - sampling.distinct_correct_mass(correct, mass, 10)) / error


def regularised_end(log_base: Floats, reward: Floats, kl_strength: float) -> Floats:
    """Where the natural flow of the reward with a KL penalty ends, integrated; log-probabilities, nats.

    Shapes:   (num_arms,) each.
    """
    ends = dynamics.integrate(
        log_base, lambda log_policy: reward - kl_strength * (log_policy - log_base), [40 / kl_strength], "natural"
    )
    return np.asarray(ends[0])


def _two_modes(log_modes: tuple[float, float]) -> Floats:
    """A base policy with two modes and the rest spread evenly."""
    rest = (1 - np.exp(log_modes).sum()) / (NUM_ARMS - 2)
    return np.concatenate([log_modes, np.full(NUM_ARMS - 2, np.log(rest))])


def kl_modes(rng: np.random.Generator) -> Measured:
    """What a KL penalty does to two modes among 100 actions, and MARA's optimum."""

    def log_ratio(log_modes: tuple[float, float], rewards: tuple[float, float], kl_strength: float) -> float:
        reward = np.concatenate([rewards, np.zeros(NUM_ARMS - 2)])
        end = regularised_end(_two_modes(log_modes), reward, kl_strength)
        return float(end[0] - end[1])

    for kl_strength in (0.1, 1):
        yield f"ratio_{kl_strength}", math.exp(log_ratio((math.log(0.15), math.log(0.01)), (1.0, 1.0), kl_strength))
    log_modes, rewards = (-4.05, -5.95), (0.75, 1.0)

    def advantage_of_likely(kl_strength: float) -> float:
        weights = optima.optimum_log_weights(np.array(log_modes), np.array(rewards), kl_strength)
        return float(weights[0] - weights[1])

    yield "crossover", brentq(advantage_of_likely, 0.01, 1.0)
    for kl_strength in (0.1, 0.15):
        yield f"ahead_{kl_strength}", -math.copysign(1, log_ratio(log_modes, rewards, kl_strength))
    yield "blow_up", math.exp(log_ratio((math.log(0.1), math.log(0.1)), (1.0, 0.9), 1e-3))
    log_base, reward, strength = policies.log_softmax(rng.normal(0, 2, NUM_ARMS)), rng.random(NUM_ARMS), 0.1
    correct = (reward >= 0.5).astype(np.float64)
    augmented = diversity.mara(
        reward=reward, correct=correct, base_log_prob=log_base, strength=strength
    )  # shifted by a constant, which moves no optimum
    good = regularised_end(log_base, augmented, strength)[correct == 1.0]
    yield "mara_spread", math.exp(good.max() - good.min()) - 1


def pass_at_n() -> Measured:
    """Where lifting an answer's probability by 10% helps pass@N."""
    sizes = np.arange(1, 4097)
    for odds in (2, 8, 32, 128, 512):
        gains = estimators.exact_pass_at_k(LIFT / odds, sizes) - estimators.exact_pass_at_k(1 / odds, sizes)
        yield f"best_n_{odds}", math.log2(float(sizes[int(np.argmax(gains))]) / odds)
    yield "gain_of_likely", float(estimators.exact_pass_at_k(LIFT / 2, 512) - estimators.exact_pass_at_k(0.5, 512))


def uplift(specification: Specification, rng: np.random.Generator) -> Measured:
    """Of 32 draws per run sorted by likelihood: how much oftener a correct draw of the likely third became likelier.

    The gap to the rare third, and its standard error over runs.
    """
    *_, (_, log_policy) = simulator.run(specification)
    problem = bandit_of(specification).problem
    draws = rng.choice(problem.correct.size, (len(log_policy), NUM_DRAWS), p=np.exp(problem.base_log_policy))
    order = np.argsort(-problem.base_log_policy[draws], axis=1, kind="stable")
    draws = np.take_along_axis(draws, order, axis=1)
    is_up = np.take_along_axis(log_policy, draws, axis=1) > problem.base_log_policy[draws]
    third = NUM_DRAWS // 3
    shares = []
    for part in (slice(third), slice(-third, None)):
        correct = problem.correct[draws[:, part]]
        with np.errstate(invalid="ignore"):  # a run without a correct draw there
            shares.append((correct * is_up[:, part]).sum(axis=1) / correct.sum(axis=1))
    gaps = shares[0] - shares[1]
    gaps = gaps[np.isfinite(gaps)]
    yield f"uplift_gap_{specification.method}", float(gaps.mean())
    yield f"uplift_error_{specification.method}", float(gaps.std(ddof=1) / math.sqrt(gaps.size))
