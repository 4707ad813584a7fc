"""A toy of prompts that share parameters: what training on one does to another. Claim F1, ours.

A toy: the logit of answer i of prompt x is u[x, i] + weight v[style of (x, i)], u its own and v shared by all prompts.
One step of the exact gradient of the mean correctness; logit Q and the sharpening slope are followed to first order.

Left out: second order, sampling noise, momentum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpening.theory.flow import dynamics, transfer
from sharpening.theory.policies import Floats


@dataclass(frozen=True)
class Styles:
    """Prompts whose answers have styles in common.

    Shapes:   log_policy (nats), correct, style (integers): (num_prompts, num_answers). Every prompt has a wrong answer
              and correct answers that are not equally likely.
    """

    log_policy: Floats
    correct: Floats
    style: NDArray[np.int64]
    weight: float


def slope_gradient(log_policy: Floats, correct: Floats) -> Floats:
    """The gradient, in logits, of the slope of log p in its present values among the correct answers of a prompt.

    The slope is that of a line through the changes of log p: 1 more for a prompt that is tempered to p^2 on C.
    Shapes:   (num_answers,) each. Returns (num_answers,).
    """
    inside = correct == 1.0
    centred = np.where(inside, log_policy - log_policy[inside].mean(), 0.0)
    return np.asarray(centred / (centred**2).sum())


def logit_gradient(log_policy: Floats, correct: Floats) -> Floats:
    """The gradient of logit Q in the logits of a prompt.

    Shapes:   (num_answers,) each. Returns (num_answers,).
    """
    share = np.exp(log_policy)
    return np.asarray(np.where(correct == 1.0, share / (correct @ share), -share / ((1 - correct) @ share)))


def transfers(styles: Styles) -> tuple[Floats, Floats]:
    """The motion of every prompt's sharpening slope and logit Q when each prompt alone is trained on, per unit of time.

    Shapes:   returns two of (num_prompts, num_prompts): [x, y] is what training on y does to x.
    Source:   claim F1, ours.
    """
    pairs = list(zip(styles.log_policy, styles.correct, strict=True))
    pushes = np.array([dynamics.softmax_flow(np.exp(log), right) for log, right in pairs])
    is_style = (styles.style[:, :, None] == np.arange(styles.style.max() + 1)).astype(np.float64)
    by_style = styles.weight**2 * np.einsum("xas,xa->xs", is_style, pushes)  # the step of weight v, of each prompt
    shared = np.einsum("xas,ys->xya", is_style, by_style)  # what it does to the logits of x
    number = np.arange(len(pairs))
    shared[number, number] += pushes
    found = []
    for gradient in (slope_gradient, logit_gradient):
        found.append(np.einsum("xa,xya->xy", np.array([gradient(*pair) for pair in pairs]), shared))
    return found[0], found[1]


def cross_over_own(moves: Floats) -> float:
    """The mean transfer from one prompt to another over the mean transfer to itself: tau.

    Shapes:   moves: (num_prompts, num_prompts), one of `transfers`. Returns a scalar.
    Source:   claim F1, ours.
    """
    own = np.trace(moves) / len(moves)
    return float(transfer.transfer(own, transfer.cross(own, moves.mean(), len(moves))))
