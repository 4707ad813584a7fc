"""Reward shapers: what a method pays for an answer, given its reward, correctness and log-probability.

Every function is elementwise and uses only + - *, so SymPy symbols, Fractions, NumPy arrays and torch tensors share
the line. All but `kl_penalty` take `(reward, log_prob, correct)`; `log_prob` is the log-probability of the answer in
nats under the reference policy, which is either the sampling policy or the base policy, and no gradient flows through
it. `correct` is 0 or 1 from the verifier, never `reward > 0`. Strengths are in units of reward per nat.

Left out: sums and means over tokens, centring and group baselines; they belong to the advantage.
"""

from __future__ import annotations

from typing import Any

Operand = Any  # SymPy expression, Fraction, float, NumPy array or torch tensor


def vanilla(reward: Operand, log_prob: Operand, correct: Operand) -> Operand:
    """The reward of plain RL: unchanged, whatever the probability of the answer.

    Shapes:   all (..., group_size). Returns the same shape.
    Source:   the baseline of arXiv 2511.19942.
    """
    return reward


def entropy_bonus(reward: Operand, log_prob: Operand, correct: Operand, *, strength: Operand) -> Operand:
    """The reward of a global entropy bonus: every rare answer is paid more, correct or not.

    Shapes:   all (..., group_size). Returns the same shape.
    Source:   arXiv 2511.19942's global control, reward form, as summarised. Claims A3, A4, B7, B11.

    >>> entropy_bonus(1.0, -2.0, 1.0, strength=0.5)
    2.0
    """
    return reward - strength * log_prob


def entropy_penalty(reward: Operand, log_prob: Operand, correct: Operand, *, strength: Operand) -> Operand:
    """The reward of a global entropy penalty: every rare answer is charged, correct or not.

    Shapes:   all (..., group_size). Returns the same shape.
    Source:   arXiv 2511.19942's global control with the opposite sign, as summarised; arXiv 2505.15134. Claim A3.

    >>> entropy_penalty(1.0, -2.0, 1.0, strength=0.5)
    0.0
    """
    return reward + strength * log_prob


def differential_smoothing(
    reward: Operand, log_prob: Operand, correct: Operand, *, gamma_correct: Operand, gamma_incorrect: Operand
) -> Operand:
    """The reward of differential smoothing: rare correct answers are paid more, rare wrong answers are charged.

    Shapes:   all (..., group_size). Returns the same shape.
    Units:    log_prob in nats, of the whole completion (sum over its tokens).
    Source:   arXiv 2511.19942, Eq. 4 (as summarised; whether the log-probability is a sum or a mean over tokens
              is the caller's choice). Claims A3, A5, A7, B6, E3.

    >>> differential_smoothing(1.0, -2.0, 1.0, gamma_correct=0.1, gamma_incorrect=0.3)
    1.2
    >>> differential_smoothing(0.0, -2.0, 0.0, gamma_correct=0.1, gamma_incorrect=0.3)
    -0.6
    """
    bonus_if_correct = -gamma_correct * log_prob  # >= 0, largest for the rarest answer
    charge_if_wrong = gamma_incorrect * log_prob  # <= 0, largest in size for the rarest answer
    return reward + correct * bonus_if_correct + (1 - correct) * charge_if_wrong


def kl_penalty(reward: Operand, log_prob: Operand, base_log_prob: Operand, *, strength: Operand) -> Operand:
    """The reward with a KL penalty: charged by how much likelier the answer is now than under the base policy.

    Shapes:   all (..., group_size). Returns the same shape.
    Units:    both log-probabilities in nats, log_prob under the sampling policy.
    Source:   the estimator k1 in the reward, whose expected step is that of KL(p||b): claim B12.

    >>> kl_penalty(1.0, -2.0, -3.0, strength=0.5)
    0.5
    """
    return reward - strength * (log_prob - base_log_prob)


def per_answer_log_prob(log_prob: Operand, num_tokens: Operand, *, is_token_mean: bool) -> Operand:
    """The log-probability that a shaper is given: the sum over tokens, or its mean per token.

    Shapes:   log_prob, num_tokens: (..., group_size). Returns the same shape, in nats or nats per token.
    Source:   both readings are found in practice (sum in the summaries of arXiv 2511.19942, mean in code). Claim E6.

    >>> per_answer_log_prob(-6.0, 3, is_token_mean=True)
    -2.0
    """
    return log_prob / num_tokens if is_token_mean else log_prob
