"""Group advantages and their expectations as plain loops over samples, in Fractions; no import of `theory`.

Every method takes the rewards of one group, integers 0 and 1, and returns one advantage per sample. Square
roots are taken of Fractions in Decimal with 50 digits, so that nothing is rounded before the comparison. The
published epsilons are arguments; a division by 0 gives advantage 0.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction

Rewards = tuple[int, ...]
Method = Callable[[Rewards], list[Fraction]]

DIGITS = 50


def square_root(value: Fraction) -> Fraction:
    with localcontext() as context:
        context.prec = DIGITS
        return Fraction((Decimal(value.numerator) / Decimal(value.denominator)).sqrt())


def power(base: Fraction, exponent: Fraction) -> Fraction:
    """base^exponent for exponents that are multiples of 1/2."""
    doubled = exponent * 2
    root = square_root(base) if doubled % 2 else Fraction(1)
    return root * base ** int(doubled // 2)


def mean_of(rewards: Rewards) -> Fraction:
    total = Fraction(0)
    for reward in rewards:
        total += reward
    return total / len(rewards)


def reinforce(rewards: Rewards) -> list[Fraction]:
    return [Fraction(reward) for reward in rewards]


def rloo(rewards: Rewards) -> list[Fraction]:
    advantages = []
    for index, reward in enumerate(rewards):
        others = rewards[:index] + rewards[index + 1 :]
        advantages.append(reward - mean_of(others))
    return advantages


def dr_grpo(rewards: Rewards) -> list[Fraction]:
    return [reward - mean_of(rewards) for reward in rewards]


def grpo(rewards: Rewards, ddof: int = 0, epsilon: Fraction = Fraction(0)) -> list[Fraction]:
    if len(set(rewards)) == 1:
        return [Fraction(0) for _ in rewards]
    mean, squares = mean_of(rewards), Fraction(0)
    for reward in rewards:
        squares += (reward - mean) ** 2
    spread = square_root(squares / (len(rewards) - ddof))
    return [(reward - mean) / (spread + epsilon) for reward in rewards]


def dapo(rewards: Rewards, epsilon: Fraction = Fraction(0)) -> list[Fraction]:
    if not 0 < sum(rewards) < len(rewards):
        return [Fraction(0) for _ in rewards]
    return grpo(rewards, epsilon=epsilon)


def f_grpo(rewards: Rewards, gamma: Fraction, epsilon: Fraction = Fraction(0)) -> list[Fraction]:
    scale = power(1 - mean_of(rewards), gamma)
    return [scale * advantage for advantage in grpo(rewards, epsilon=epsilon)]


def maxrl(rewards: Rewards, epsilon: Fraction = Fraction(0)) -> list[Fraction]:
    scale = mean_of(rewards) + epsilon
    return [(reward - mean_of(rewards)) / scale if scale else Fraction(0) for reward in rewards]


def psr(rewards: Rewards) -> list[Fraction]:
    return [Fraction(1) if reward else Fraction(0) for reward in rewards]


def nsr(rewards: Rewards) -> list[Fraction]:
    return [Fraction(0) if reward else Fraction(-1) for reward in rewards]


def w_reinforce(rewards: Rewards, positive_weight: Fraction) -> list[Fraction]:
    return [positive_weight if reward else Fraction(-1) for reward in rewards]


def pass_at_k(num_samples: int, num_correct: int, k: int) -> Fraction:
    """1 - C(n-c, k)/C(n, k)."""
    return 1 - Fraction(math.comb(num_samples - num_correct, k), math.comb(num_samples, k))


def pass_at_k_training(rewards: Rewards, k: int, epsilon: Fraction = Fraction(0)) -> list[Fraction]:
    """A_correct = (1-R)/s, A_wrong = (1 - R - C(N_neg-1, k-1)/C(N-1, k-1))/s, s = sqrt(R(1-R))."""
    group_size, num_wrong = len(rewards), rewards.count(0)
    group_reward = pass_at_k(group_size, sum(rewards), k)
    spread = square_root(group_reward * (1 - group_reward))
    advantages = []
    for reward in rewards:
        companions = Fraction(math.comb(max(num_wrong - 1, 0), k - 1), math.comb(group_size - 1, k - 1))
        value = 1 - group_reward if reward else 1 - group_reward - companions
        advantages.append(value / (spread + epsilon) if spread else Fraction(0))
    return advantages


def pkpo(rewards: Rewards, k: int) -> list[Fraction]:
    """Weights k/n on correct, (k/n) rho(n-1, c, k-1) on wrong, times n: a step averages over the group."""
    group_size = len(rewards)
    advantages = []
    for reward in rewards:
        others = pass_at_k(group_size - 1, sum(rewards), k - 1) if not reward else Fraction(1)
        advantages.append(group_size * Fraction(k, group_size) * others)
    return advantages


def pkpo_by_subsets(rewards: Rewards, k: int) -> list[Fraction]:
    """The same from its meaning: the pass@k of every subset is credited to each of its members."""
    group_size = len(rewards)
    advantages = [Fraction(0)] * group_size
    for subset in itertools.combinations(range(group_size), k):
        for index in subset:
            advantages[index] += Fraction(group_size, math.comb(group_size, k)) * max(rewards[i] for i in subset)
    return advantages


def expected_advantages(method: Method, group_size: int, correctness: Fraction) -> tuple[Fraction, Fraction]:
    """E[A of the first sample | it is correct] and E[... | it is wrong], over all 2^G reward vectors."""
    given_correct, given_wrong = Fraction(0), Fraction(0)
    for rewards in itertools.product((0, 1), repeat=group_size):
        weight = Fraction(1)
        for reward in rewards[1:]:
            weight *= correctness if reward else 1 - correctness
        if rewards[0]:
            given_correct += weight * method(rewards)[0]
        else:
            given_wrong += weight * method(rewards)[0]
    return given_correct, given_wrong


def expected_step(method: Method, group_size: int, policy: list[Fraction], correct: list[int]) -> list[Fraction]:
    """The mean over all K^G groups of (1/G) sum over samples of A grad log p, one entry per answer."""
    step = [Fraction(0)] * len(policy)
    for answers in itertools.product(range(len(policy)), repeat=group_size):
        weight = math.prod(policy[answer] for answer in answers)
        advantages = method(tuple(correct[answer] for answer in answers))
        for answer, advantage in zip(answers, advantages, strict=True):
            for arm in range(len(policy)):
                score = (1 if arm == answer else 0) - policy[arm]
                step[arm] += weight * advantage * score / group_size
    return step
