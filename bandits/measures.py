"""What is measured on a policy: a name, with arm indices or k after colons, for example `log_ratio:0:1`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from scipy.special import logsumexp

from sharpening.bandits.instances import Bandit
from sharpening.bandits.rollouts import Rollouts
from sharpening.theory import estimators, policies
from sharpening.theory.optimum import divergences
from sharpening.theory.policies import Floats

Measure = Callable[..., Floats]


def correctness_of_prompts(bandit: Bandit, log_policy: Floats) -> Floats:
    """Q of every prompt.

    Shapes:   log_policy: (num_policies, num_arms), nats. Returns (num_policies, num_prompts).
    """
    mass = (np.exp(log_policy)[:, None, :] * bandit.solves).sum(axis=-1)
    return np.asarray(np.minimum(mass, 1.0))


def correctness(bandit: Bandit, log_policy: Floats) -> Floats:
    """The mean of Q over prompts.

    Shapes:   log_policy: (num_policies, num_arms), nats. Returns (num_policies,), as all measures do.
    """
    return np.asarray(correctness_of_prompts(bandit, log_policy).mean(axis=-1))


def pass_at_k(bandit: Bandit, log_policy: Floats, k: int) -> Floats:
    """The mean of 1 - (1 - Q)^k over prompts."""
    return np.asarray(estimators.exact_pass_at_k(correctness_of_prompts(bandit, log_policy), k).mean(axis=-1))


def solution_diversity(bandit: Bandit, log_policy: Floats) -> Floats:
    """The mean effective number of correct answers over the prompts that some arm solves."""
    found = estimators.solution_diversity(log_policy[:, None, :], _solvable(bandit))
    return np.asarray(found.mean(axis=-1))


def retained_mass(bandit: Bandit, log_policy: Floats) -> Floats:
    """The mean share of the base's correct mass still held, over the prompts that some arm solves."""
    base, policy = np.exp(bandit.base_log_policy), np.exp(log_policy)[:, None, :]
    return np.asarray(estimators.retained_mass(base, policy, _solvable(bandit)).mean(axis=-1))


def coverage(bandit: Bandit, log_policy: Floats, num_samples: int) -> Floats:
    """The expected share of the single prompt's correct answers that so many samples reach."""
    problem = bandit.problem
    return np.asarray(estimators.coverage(np.exp(log_policy[:, problem.is_correct]), num_samples))


def entropy(bandit: Bandit, log_policy: Floats) -> Floats:
    """The policy's entropy in nats."""
    return np.asarray(policies.entropy(log_policy))


def kl_to_base(bandit: Bandit, log_policy: Floats) -> Floats:
    """KL(p||b) in nats."""
    return np.asarray(divergences.kl(log_policy, bandit.base_log_policy))


def log_ratio(bandit: Bandit, log_policy: Floats, arm: int, other: int) -> Floats:
    """log(p_i/p_j) in nats."""
    return np.asarray(log_policy[:, arm] - log_policy[:, other])


def log_ratio_change(bandit: Bandit, log_policy: Floats, arm: int, other: int) -> Floats:
    """log(p_i/p_j) less its value under the base policy."""
    start = bandit.base_log_policy[arm] - bandit.base_log_policy[other]
    return np.asarray(log_ratio(bandit, log_policy, arm, other) - start)


def squared_log_ratio_change(bandit: Bandit, log_policy: Floats, arm: int, other: int) -> Floats:
    """The square of `log_ratio_change`."""
    return np.square(log_ratio_change(bandit, log_policy, arm, other))


def logit_correctness(bandit: Bandit, log_policy: Floats) -> Floats:
    """The logit log Q/(1-Q) of the single prompt."""
    is_correct = bandit.problem.is_correct
    return np.asarray(logsumexp(log_policy[:, is_correct], axis=1) - logsumexp(log_policy[:, ~is_correct], axis=1))


def probability(bandit: Bandit, log_policy: Floats, arm: int) -> Floats:
    """The probability of an arm."""
    return np.asarray(np.exp(log_policy[:, arm]))


def _solvable(bandit: Bandit) -> Floats:
    return np.asarray(bandit.solves[bandit.solves.any(axis=1)])


MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        function.__name__: function
        for function in (
            correctness,
            pass_at_k,
            solution_diversity,
            retained_mass,
            coverage,
            entropy,
            kl_to_base,
            log_ratio,
            log_ratio_change,
            squared_log_ratio_change,
            logit_correctness,
            probability,
        )
    }
)


def is_drawn(rollouts: Rollouts, arm: int) -> Floats:
    """The share of a run's groups that hold the arm.

    Shapes:   returns (num_runs,), as all measures of rollouts do.
    """
    return np.asarray((rollouts.arms == arm).any(axis=-1).mean(axis=-1))


def is_missed(rollouts: Rollouts, arm: int) -> Floats:
    """The share of a run's groups that have a correct and a wrong completion and do not hold the arm."""
    has_signal = (rollouts.marks != rollouts.marks[..., :1]).any(axis=-1)  # (num_runs, num_groups)
    return np.asarray((has_signal & ~(rollouts.arms == arm).any(axis=-1)).mean(axis=-1))


OF_ROLLOUTS: Mapping[str, Measure] = MappingProxyType(
    {function.__name__: function for function in (is_drawn, is_missed)}
)


def evaluate(name: str, bandit: Bandit, log_policy: Floats) -> Floats:
    """A measure by its name and arguments.

    Shapes:   log_policy: (num_policies, num_arms), nats. Returns (num_policies,).
    Raises:   ValueError naming the measure and what there is.

    >>> from sharpening.bandits.instances import two_correct_arms
    >>> bandit = two_correct_arms()
    >>> evaluate("log_ratio:0:1", bandit, bandit.base_log_policy[None, :]).round(4)
    array([1.0986])
    """
    word, numbers = parsed(name)
    return MEASURES[word](bandit, log_policy, *numbers)


def parsed(name: str) -> tuple[str, list[int]]:
    """The word and the integers of a measure's name.

    Raises:   ValueError naming the measure and what there is.
    """
    word, *numbers = name.split(":")
    if word not in {**MEASURES, **OF_ROLLOUTS} or not all(number.isdigit() for number in numbers):
        known = ", ".join([*MEASURES, *OF_ROLLOUTS])
        raise ValueError(f"measure: {name!r}: want one of {known}, with its integers after colons")
    return word, [int(number) for number in numbers]
