"""Policies over a finite set of answers: normalisation, entropy, conditionals and tempering, all in log-space.

A policy is an array of log-probabilities (nats) over arms; `correct` is a float array of 0.0 and 1.0 of the same
length. Probabilities down to 1e-300 (and, in log-space, far below) neither overflow nor underflow to NaN. The odds
of correctness are carried as a logit, because 1 - Q loses all its digits near Q = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp

Floats = NDArray[np.float64]

SUM_TOLERANCE = 1e-6  # per answer: probabilities printed with six digits still count as normalised


@dataclass(frozen=True)
class Problem:
    """One prompt: the base policy over its answers, and which of them are correct.

    Shapes:   base_log_policy, correct: (num_arms,); base_log_policy in nats and normalised.
    """

    base_log_policy: Floats
    correct: Floats

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Mask of the correct answers, (num_arms,)."""
        return np.asarray(self.correct == 1.0)


def problem_from_probabilities(base_policy: ArrayLike, correct: ArrayLike) -> Problem:
    """A validated problem with both correct and wrong answers, normalised in log-space.

    Shapes:   base_policy, correct: (num_arms,).
    Requires: probabilities finite, > 0 and summing to 1 within 1e-6 per answer; correct is 0 or 1
              with both values present.
              Raises ValueError naming the argument, the arm's index and its value.

    >>> problem_from_probabilities([0.5, 0.5], [1, 0]).correct
    array([1., 0.])
    """
    policy = np.asarray(base_policy, dtype=np.float64)
    labels = np.asarray(correct, dtype=np.float64)
    if policy.ndim != 1 or policy.shape != labels.shape:
        raise ValueError(f"base_policy has shape {policy.shape} and correct {labels.shape}: want the same (num_arms,)")
    refuse(policy, ~np.isfinite(policy), "base_policy", "a finite number")
    refuse(policy, policy < 0, "base_policy", "at least 0")
    refuse(policy, policy == 0, "base_policy", "above 0: the theory needs full support, drop the answer instead")
    refuse(labels, (labels != 0) & (labels != 1), "correct", "0 or 1")
    slack = SUM_TOLERANCE * policy.size
    if not np.isclose(policy.sum(), 1.0, rtol=0, atol=slack):
        raise ValueError(f"base_policy sums to {float(policy.sum())!r}: it must sum to 1 within {slack:g}")
    if labels.all() or not labels.any():
        present = "only correct" if labels.any() else "no correct"
        raise ValueError(f"correct has {present} answers: at least one correct and one wrong answer are needed")
    return Problem(log_softmax(np.log(policy)), labels)


def refuse(values: ArrayLike, is_bad: ArrayLike, name: str, allowed: str) -> None:
    """Raises ValueError naming the first bad entry of an array of any shape, its index and its value."""
    bad = np.asarray(is_bad)
    if bad.any():
        index = tuple(int(i) for i in np.unravel_index(int(np.argmax(bad)), bad.shape))
        place = f"[{', '.join(map(str, index))}]" if index else ""
        value = float(np.asarray(values)[index])
        shown = int(value) if value.is_integer() else value
        raise ValueError(f"{name}{place} is {shown}: it must be {allowed}")


def log_softmax(logits: ArrayLike) -> Floats:
    """Log-probabilities of a softmax over the last axis.

    Shapes:   (..., num_arms). Returns the same shape, in nats.

    >>> log_softmax([0.0, 0.0]).tolist() == [-np.log(2.0)] * 2
    True
    """
    values = np.asarray(logits, dtype=np.float64)
    shifted = values - values.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)), dtype=np.float64)


def entropy(log_policy: Floats) -> Floats:
    """Shannon entropy over the last axis, in nats; an arm whose probability underflows counts 0.

    Shapes:   (..., num_arms) -> (...).
    """
    return np.asarray(-(np.exp(log_policy) * log_policy).sum(axis=-1))


def log_partition(log_policy: Floats, exponent: float = 1.0) -> float:
    """The log of Z(s) = sum of p^s over the arms given: Z_C(s) of the ledger when given the correct arms.

    Shapes:   (num_arms,) -> scalar.
    """
    return float(logsumexp(exponent * log_policy))


def tempered(log_policy: Floats, exponent: float) -> Floats:
    """The policy proportional to p^exponent.

    Shapes:   (num_arms,) -> (num_arms,), log-probabilities in nats.
    """
    return log_softmax(exponent * log_policy)


def mean_surprisal(log_policy: Floats, exponent: float = 1.0) -> float:
    """Mean surprisal -log p under the conditional proportional to p^exponent: S_C when given the correct arms.

    Shapes:   (num_arms,) -> scalar, nats.
    Source:   claims A4 and B11.
    """
    return float(-(np.exp(tempered(log_policy, exponent)) * log_policy).sum())


def logit_correctness(log_policy: Floats, correct: Floats) -> float:
    """log(Q / (1 - Q)), Q the mass on correct answers; exact where 1 - Q is far below rounding.

    Shapes:   (num_arms,) each -> scalar.
    """
    is_correct = correct == 1.0
    return log_partition(log_policy[is_correct]) - log_partition(log_policy[~is_correct])


def correctness(log_policy: Floats, correct: Floats) -> float:
    """Q, the probability of a correct answer (pass@1).

    Shapes:   (num_arms,) each -> scalar in (0, 1).
    """
    return float(np.exp(log_partition(log_policy[correct == 1.0]) - log_partition(log_policy)))


def conditional(log_policy: Floats, correct: Floats, *, given_correct: bool) -> Floats:
    """The policy conditioned on a correct (or a wrong) answer: p_C or p_W.

    Shapes:   (num_arms,) each -> (num_correct,) or (num_wrong,), log-probabilities in nats.
    """
    return log_softmax(log_policy[(correct == 1.0) == given_correct])


def compose(logit: float, log_policy_correct: Floats, log_policy_wrong: Floats, correct: Floats) -> Floats:
    """The policy with the given odds of correctness and the given conditionals on C and on W.

    Shapes:   log_policy_correct: (num_correct,), log_policy_wrong: (num_wrong,), correct: (num_arms,).
              Returns (num_arms,), log-probabilities in nats.
    """
    log_policy = np.empty(np.shape(correct))
    log_policy[correct == 1.0] = log_policy_correct - np.logaddexp(0.0, -logit)
    log_policy[correct == 0.0] = log_policy_wrong - np.logaddexp(0.0, logit)
    return log_policy
