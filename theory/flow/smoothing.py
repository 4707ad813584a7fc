"""When differential smoothing reverses sharpening, what verifier noise, sampling noise and length do to it.

Softmax gradient, sampling policy as reference and no KL term unless said. The rates and variances use + - * /
only, so SymPy symbols and Fractions go through them; logarithms are arguments.

Claimed: claims E3 to E6, all ours. Departs: (1) claim E5's variance is exact for the linearised recursion at
every step size, `small_step_variance` is its limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, exprel

from sharpening.theory import policies, shaping
from sharpening.theory.policies import Floats

LARGEST_LOGIT = 700.0  # correctness between 1e-304 and 1 - 1e-304 is searched


def secant(log_share_i: Any, log_share_j: Any) -> Any:
    """L_ij = (q_i log q_i - q_j log q_j)/(q_i - q_j), and its limit 1 + log q_i for a tie.

    Written as log q_i + d/(e^d - 1), d = log q_i - log q_j, it keeps its digits for near ties and tiny q_j.
    Shapes:   scalars or equal shapes, log-probabilities within the correct answers, nats. Returns that shape.
    Source:   claim E3, ours.
    """
    return log_share_i + 1 / exprel(log_share_i - log_share_j)


def added_bracket(entropy: Any, secant: Any, correctness: Any, log_correctness: Any) -> Any:
    """What a bonus added after the baseline takes from the log-ratio, per gamma_correct and p_i - p_j.

    entropy and secant are H(p_C) and L_ij. It can be negative, and then no strength smooths the pair.
    Source:   claim E3, ours.
    """
    return correctness * entropy + secant + (1 - correctness) * log_correctness


def centred_bracket(entropy: Any, secant: Any) -> Any:
    """The same for a bonus centred within the group's correct samples, over `centring_factor`.

    It is never negative where i is the most likely correct answer: H >= -log q_i and L_ij >= log q_i.
    Source:   claim E3, ours.
    """
    return entropy + secant


def centring_factor(correctness: Any, group_size: int) -> Any:
    """How much of a bonus is left by centring it within the group's correct samples.

    It is psi = 1 - (1-(1-Q)^G)/(G Q), summed with positive terms because the closed form loses all digits at
    small Q. It tends to 1 as the group grows.
    Shapes:   correctness: (...). Returns (...).
    Source:   claim E3, ours.

    >>> centring_factor(0.5, 2)
    0.25
    """
    terms = ((group_size - 1 - count) * (1 - correctness) ** count for count in range(group_size - 1))
    return correctness * sum(terms) / group_size


def log_ratio_rate(
    difference: Any,
    correctness: Any,
    prompt_weight: Any,
    gamma_correct: Any,
    bracket: Any,
    *,
    factor: Any = 1,
    charge: Any = 0,
) -> Any:
    """The rate d log(p_i/p_j)/dt of differential smoothing for two correct answers, difference = p_i - p_j.

    prompt_weight is c_G(Q). Added after the baseline: `added_bracket`, factor 1, charge = gamma_incorrect H_W
    with H_W = -sum over wrong answers of p log p. Centred: `centred_bracket`, factor `centring_factor`,
    charge 0.
    Units:    nats per unit of steps times the learning rate.
    Source:   claim E3, ours.
    """
    return difference * ((1 - correctness) * prompt_weight + charge - gamma_correct * factor * bracket)


def turning_strength(
    correctness: float, prompt_weight: float, bracket: float, *, factor: float = 1.0, charge: float = 0.0
) -> float:
    """The gamma_correct above which the likelier of two correct answers loses share; infinite if none is.

    Arguments as in `log_ratio_rate`.
    Source:   claim E3, ours.
    """
    push = (1 - correctness) * prompt_weight + charge
    return float(push / (factor * bracket)) if factor * bracket > 0 else float("inf")


def turning_strengths(
    log_policy: Floats,
    correct: Floats,
    arms: tuple[int, int],
    prompt_weight: float,
    group_size: int,
    gamma_incorrect: float = 0.0,
) -> tuple[float, float]:
    """The turning strength of a pair of correct answers, bonus added after the baseline and bonus centred.

    Shapes:   log_policy (nats), correct: (num_arms,); arms: indices of two correct answers, prompt_weight
              c_G(Q).
    Requires: gamma_incorrect concerns the first only; the centred form has none.
    Source:   claim E3, ours.
    """
    inside = correct == 1.0
    mass = policies.correctness(log_policy, correct)
    log_mass = policies.log_partition(log_policy[inside]) - policies.log_partition(log_policy)
    entropy = float(policies.entropy(policies.log_softmax(log_policy[inside])))
    slope = secant(*(log_policy[arm] - log_mass for arm in arms))
    wrong = log_policy[~inside]
    charge = gamma_incorrect * float(-(np.exp(wrong) * wrong).sum())
    added = turning_strength(mass, prompt_weight, added_bracket(entropy, slope, mass, log_mass), charge=charge)
    factor = centring_factor(mass, group_size)
    return added, turning_strength(mass, prompt_weight, centred_bracket(entropy, slope), factor=factor)


def smoothing_onset(
    log_share: Floats,
    arms: tuple[int, int],
    gamma_correct: float,
    prompt_weight: Callable[[float], float],
    group_size: int | None = None,
) -> float:
    """The logit of the Q above which smoothing lowers p_i/p_j and below which it raises it, at a given p_C.

    Infinite where smoothing starts only beyond a logit of 700.
    Shapes:   log_share: (num_correct,), log p_C; arms: (i, j), indices into it, i the most likely of all.
    Requires: gamma_correct > 0, gamma_incorrect = 0, (1-Q) prompt_weight(Q) not increasing in Q. With a
              group_size the bonus is centred within the group's correct samples, without one it is added
              after the baseline.      Raises ValueError unless gamma_correct > 0.
    Source:   claim E3, ours.
    """
    policies.refuse(gamma_correct, not gamma_correct > 0, "gamma_correct", "above 0")
    entropy, slope = float(policies.entropy(log_share)), secant(*(log_share[arm] for arm in arms))

    def excess(logit: float) -> float:
        mass, log_mass, failure = expit(logit), -np.logaddexp(0.0, -logit), expit(-logit)
        pull = (
            added_bracket(entropy, slope, mass, log_mass)
            if group_size is None
            else centring_factor(mass, group_size) * centred_bracket(entropy, slope)
        )
        return float(gamma_correct * pull - failure * prompt_weight(mass))

    if excess(LARGEST_LOGIT) <= 0:
        return float("inf")
    return float(brentq(excess, -LARGEST_LOGIT, LARGEST_LOGIT, xtol=1e-12))


def marked_correct(correct: Any, false_positive_rate: Any, false_negative_rate: Any) -> Any:
    """The probability that a noisy verifier marks each answer correct.

    Shapes:   correct: (num_arms,), 0 or 1. Returns the same shape.
    Source:   claim E4.
    """
    return correct * (1 - false_negative_rate) + (1 - correct) * false_positive_rate


def noisy_advantage(log_policy: Any, marked: Any, gamma_correct: Any, gamma_incorrect: Any) -> Any:
    """The advantage whose flow is the expected step of differential smoothing under a noisy verifier.

    Shapes:   log_policy (nats), marked (probability of being marked correct): (num_arms,). Returns the same
              shape.
    Source:   claim E4, ours.
    """
    return marked - (marked * gamma_correct - (1 - marked) * gamma_incorrect) * log_policy


def gamma_window(false_positive_rate: float, false_negative_rate: float) -> tuple[float, float]:
    """The (low, high): low <= gamma_incorrect/gamma_correct < high leaves the end uniform on C despite noise.

    Empty (low >= high) iff the rates sum to 1 or more: then the verifier is no better than a coin.
    Requires: 0 <= false_positive_rate < 1, 0 <= false_negative_rate <= 1.      Raises ValueError otherwise.
    Source:   claim E4, ours.

    >>> gamma_window(0.2, 0.1)
    (0.25, 9.0)
    """
    positive, negative = false_positive_rate, false_negative_rate
    policies.refuse(positive, not 0 <= positive < 1, "false_positive_rate", "at least 0 and below 1")
    policies.refuse(negative, not 0 <= negative <= 1, "false_negative_rate", "at least 0 and at most 1")
    high = (1 - negative) / negative if negative else float("inf")
    return positive / (1 - positive), high


def consensus_factor(learning_rate: Any, gamma_correct: Any, num_correct: Any) -> Any:
    """The AR(1) factor of z_i - z_j at Q = 1 with num_correct equally likely answers.

    Source:   claim E5, ours (linearised at the uniform policy on C).
    """
    return 1 - learning_rate * gamma_correct / num_correct


def consensus_noise(learning_rate: Any, common_advantage: Any, group_size: Any, num_correct: Any) -> Any:
    """The variance that one sampled step gives z_i - z_j there: every sample has the same advantage A.

    A = gamma_correct log(num_correct) with a group baseline on the reward and none on the bonus; 0 if the
    bonus is centred too.
    Source:   claim E5, ours.
    """
    return 2 * learning_rate**2 * common_advantage**2 / (group_size * num_correct)


def stationary_variance(
    learning_rate: Any, gamma_correct: Any, num_correct: Any, group_size: Any, common_advantage: Any
) -> Any:
    """The stationary variance of z_i - z_j: noise over 1 - factor^2.

    Requires: learning_rate < `largest_stable_learning_rate`.
    Source:   claim E5, ours.
    """
    pull = 2 - learning_rate * gamma_correct / num_correct
    return 2 * learning_rate * common_advantage**2 / (group_size * gamma_correct * pull)


def small_step_variance(learning_rate: Any, gamma_correct: Any, group_size: Any, common_advantage: Any) -> Any:
    """The limit of `stationary_variance` for small steps, the same for any number of answers.

    Source:   claim E5, ours.
    """
    return learning_rate * common_advantage**2 / (group_size * gamma_correct)


def largest_stable_learning_rate(gamma_correct: Any, num_correct: Any) -> Any:
    """The learning rate at which the AR(1) factor reaches -1; below it the recursion is stable.

    Source:   claim E5, ours.
    """
    return 2 * num_correct / gamma_correct


def log_ratio_change(
    log_probs: tuple[Any, Any], num_tokens: tuple[Any, Any], relative_strength: Any, *, is_token_mean: bool
) -> Any:
    """By how much smoothing with base reference moves log(p_i/p_j) of two correct answers at the KL optimum.

    relative_strength is gamma_correct / kl_strength; log_probs under the base policy, nats, (i, j).
    Source:   claim E6, ours.

    >>> log_ratio_change((-6.0, -2.0), (3, 1), 0.5, is_token_mean=True)  # equal per token
    -0.0
    """
    paid = [
        shaping.per_answer_log_prob(log_prob, length, is_token_mean=is_token_mean)
        for log_prob, length in zip(log_probs, num_tokens, strict=True)
    ]
    return -relative_strength * (paid[0] - paid[1])


def token_mean_strength(gamma_correct: Any, num_tokens: Any) -> Any:
    """The strength of the token-mean form that acts like gamma_correct in the sum form, at equal lengths.

    Source:   claim E6, ours.
    """
    return gamma_correct * num_tokens
