"""What MaxRL with shares by rarity climbs, where it ends, and how fast a method that never sharpens can learn.

`methods.sharing.rarity_maxrl` in large groups, with the exponent a as it is: its spread is taken to be at most
`least_spread`. Softmax gradient, sampling policy as reference and no KL term. Claims G1 to G6, all ours.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sharpening.theory import policies
from sharpening.theory.flow import evening
from sharpening.theory.policies import Floats


def power_mean(policy_correct: Any, exponent: Any) -> Any:
    """The power mean of order 1 - exponent of the correct answers' probabilities: the flow climbs its logarithm.

    That is, up to constants, log Q + a/(1-a) H with H the Renyi entropy of order 1-a within the correct answers: log
    pass@1 at 0, the mean log-probability at 1.
    Shapes:   policy_correct: (..., num_correct). Returns (...).
    Source:   claim G1, ours.

    >>> [round(float(power_mean(np.array([0.1, 0.4]), exponent)), 12) for exponent in (0, 1)]
    [0.25, 0.2]
    """
    if exponent == 1:
        return np.exp(np.log(policy_correct).mean(axis=-1))
    return (policy_correct ** (1 - exponent)).mean(axis=-1) ** (1 / (1 - exponent))


def rarity_step(policy: Any, num_correct: int, exponent: Any) -> Any:
    """The expected logit step: the share of p^(1-a) less p on correct answers, which come first, and -p on wrong ones.

    Shapes:   policy: (num_arms,). Returns the same shape, at learning rate 1.
    Source:   claim G1, ours.
    """
    share = evening.escort_share(policy[:num_correct], exponent)
    return np.concatenate([share, 0 * policy[num_correct:]]) - policy


def shared_rarity_advantage(policy: Floats, solves: Floats, exponent: float) -> Floats:
    """The advantage whose softmax flow is the mean step over prompts that share strategies.

    Shapes:   policy: (num_strategies,), solves: (num_prompts, num_strategies), every row with a 1.
              Returns (num_strategies,).
    Source:   claim G2, ours.
    """
    weight = solves * policy ** (1 - exponent)
    return np.asarray((weight / weight.sum(axis=1, keepdims=True)).mean(axis=0) / policy)


def rarity_log_ratio_rate(share_gap: Any, policy_gap: Any) -> Any:
    """The rate d log(p_i/p_j)/dt of two correct answers; share_gap is the difference of their `escort_share`.

    Source:   claim G3, ours.
    """
    return share_gap - policy_gap


def least_correctness(correctness: float, entropy: float, num_correct: int, exponent: float) -> float:
    """What Q cannot fall below along the flow, from its value and the Renyi entropy within the correct answers.

    Requires: 0 < exponent < 1; entropy of order 1 - exponent, nats.
    Source:   claim G3, ours.
    """
    return float(correctness * np.exp(-exponent / (1 - exponent) * (np.log(num_correct) - entropy)))


def speed_limit(policy: Floats, correct: Floats, largest_advantage: float) -> float:
    """The largest d logit Q/dt of a method that drives no two correct answers apart at this policy.

    The method's mean advantages given the answer lie within `largest_advantage` of 0. What plain RL has beyond the part
    of the wrong answers, E_C p, is lost but for the rarest correct answer's probability.
    Shapes:   policy, correct: (num_arms,). Returns a scalar.
    Source:   claim G4, ours.
    """
    inside = correct == 1.0
    wrong = policy[~inside]
    return float(2 * largest_advantage * (policy[inside].min() + (wrong**2).sum() / wrong.sum()))


def noisy_end(mark_chance: Floats, exponent: float) -> Floats:
    """Where the flow ends if the verifier marks answer i correct with the given chance: p_i in proportion to c^(1/a).

    Shapes:   mark_chance: (num_arms,), above 0. Returns the same shape, a policy.
    Requires: exponent > 0.
    Source:   claim G6, ours.
    """
    return np.asarray(np.exp(policies.log_softmax(np.log(mark_chance) / exponent)))
