"""To first order in the learning rate: what a step on many prompts does to the sharpening and correctness of each.

Two numbers of a prompt move with a step: logit Q, and the slope of a correct answer's gain on its start. Both are
linear in the gains of log-probability, with weights on the correct answers (`logit_weights`, `slope_weights`), so both
have a gradient in the parameters that prompts share, and the step is the mean over prompts of training gradients. What
a prompt's own training gradient does to it is `own`; what another prompt's does on average, `cross`; the mean of the
second over that of the first is the transfer, tau_S of the slope and tau_Q of logit Q. By linearity

    slope per nat of logit Q = own rate (1 + (N - 1) tau_S) / (1 + (N - 1) tau_Q)

on the N prompts trained on, and own rate tau_S / tau_Q on others. The theory of single prompts is tau = 0, with the
own rate of a table.

Left out: the second order in the step, sampling noise, and what an optimizer makes of a gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from sharpening.theory import policies
from sharpening.theory.flow import dynamics
from sharpening.theory.policies import Floats, Problem

PromptWeight = Callable[[float], float]  # correctness -> c_G(Q)


class Moves(NamedTuple):
    """What a step at learning rate 1 does to a prompt: to the slope times the spread, and to logit Q."""

    slope: Any
    logit: Any


def logit_weights(problem: Problem) -> Floats:
    """What logit Q gains for each nat that an answer gains, all of them staying normalised: p_i / (Q (1-Q)) on C.

    Shapes:   returns (num_arms,), 0 on W.
    Source:   grad Q = sum over C of p_i grad log p_i; claim F1.
    """
    logit = policies.logit_correctness(problem.base_log_policy, problem.correct)
    log_variance = -np.logaddexp(0.0, logit) - np.logaddexp(0.0, -logit)  # of Q (1 - Q)
    return np.where(problem.is_correct, np.exp(problem.base_log_policy - log_variance), 0.0)


def slope_weights(problem: Problem) -> Floats:
    """What the slope times the spread gains for each nat that an answer gains: p_i (log p_i - their mean) on C.

    Shapes:   returns (num_arms,), 0 on W; the mean over C is weighed by p.
    Source:   the numerator of the weighted least-squares slope of gain on start; claim F1.
    """
    mean = -policies.mean_surprisal(problem.base_log_policy[problem.is_correct])
    centred = problem.base_log_policy - mean
    return np.where(problem.is_correct, np.exp(problem.base_log_policy) * centred, 0.0)


def spread(problem: Problem) -> float:
    """The slope's denominator: squared deviations on C of log p from its mean, both weighed by p."""
    inside = problem.is_correct
    return float(slope_weights(problem)[inside] @ problem.base_log_policy[inside])


def training_weight(problem: Problem, prompt_weight: PromptWeight) -> float:
    """What a correctness-only method's expected step has of the gradient of logit Q: c_G(Q) Q (1-Q).

    Source:   claims B4 and F1.
    """
    correctness = policies.correctness(problem.base_log_policy, problem.correct)
    return prompt_weight(correctness) * correctness * (1 - correctness)


def tabular_moves(problem: Problem, prompt_weight: PromptWeight) -> Moves:
    """The own moves of a prompt with a logit of its own for every answer: what the theory of single prompts says.

    Source:   claims B1, B4 and F1.
    """
    policy = np.exp(problem.base_log_policy)
    correctness = policies.correctness(problem.base_log_policy, problem.correct)
    logit_rate = dynamics.softmax_flow(policy, prompt_weight(correctness) * problem.correct)
    gain = logit_rate - policy @ logit_rate
    return Moves(float(slope_weights(problem) @ gain), float(logit_weights(problem) @ gain))


def cross(own: Any, by_mean: Any, num_prompts: float) -> Any:
    """What another prompt does on average, from what the mean step does, in which a prompt trained on has a share.

    Shapes:   equal shapes or scalars. num_prompts is N, at least 2, or infinity for prompts that are not trained on.
    """
    return by_mean if np.isinf(num_prompts) else (num_prompts * by_mean - own) / (num_prompts - 1)


def transfer(own: Any, cross: Any) -> Any:
    """How much of what a prompt's step does to itself another prompt's does to it: tau.

    Shapes:   equal shapes or scalars, both means or both sums over prompts.
    Source:   claim F1, ours.
    """
    return cross / own


def amplification(transfer_slope: Any, transfer_logit: Any, num_prompts: float) -> Any:
    """What shared parameters multiply the own slope per nat of logit Q by: (1 + (N-1) tau_S) / (1 + (N-1) tau_Q).

    Shapes:   equal shapes or scalars. num_prompts as for `cross`.
    Source:   claim F1, ours.

    >>> amplification(0.0, 0.0, 100), amplification(0.5, 0.25, 5), amplification(0.5, 0.25, np.inf)
    (1.0, 1.5, 2.0)
    """
    if np.isinf(num_prompts):
        return transfer_slope / transfer_logit
    return (1 + (num_prompts - 1) * transfer_slope) / (1 + (num_prompts - 1) * transfer_logit)


def slope_per_logit(moves: Moves, spread: Any) -> Any:
    """The slope of all prompts together per nat that their logit Q rises on average.

    Shapes:   moves and spread are means over prompts: equal shapes or scalars.
    Source:   claim F1, ours.
    """
    return moves.slope / spread / moves.logit
