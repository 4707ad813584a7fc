"""Rates, floors and times of what evens out correct answers: claims F2, F3, F5 and F7, all ours.

Softmax gradient, one prompt, sampling policy as reference and no KL term. Rates use + - * / and sums, so SymPy symbols
and Fractions go through them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

NEGLIGIBLE, FAR = 1e-6, 1e6  # t g p L where a rare answer has no say yet, and where it is on its way back


def evened_log_ratio_rate(policy_i: Any, policy_j: Any, correctness: Any, strength: Any) -> Any:
    """The rate d log(p_i/p_j)/dt of two correct answers under `methods.sharing.evened`, at every group size.

    Source:   claim F2, ours.
    """
    return -(strength - 1) * (1 - correctness) * (policy_i - policy_j)


def evened_logit_rate(policy: Any, correct: Any, strength: Any) -> Any:
    """The rate d logit Q/dt under `methods.sharing.evened`, at every group size.

    Shapes:   (num_arms,) each. Returns a scalar.
    Source:   claim F2, ours.
    """
    mass, failure = (correct * policy).sum(), ((1 - correct) * policy).sum()
    in_correct = (correct * policy**2).sum() / mass
    in_wrong = ((1 - correct) * policy**2).sum() / failure
    return failure * (strength / correct.sum() - (strength - 1) * in_correct) + in_wrong * (mass + strength * failure)


def largest_evening_strength(num_correct: Any) -> Any:
    """The strength of `methods.sharing.evened` up to which correctness rises at every policy.

    Source:   claim F2, ours.
    """
    return num_correct / (num_correct - 1)


def escort_share(policy_correct: Any, exponent: Any) -> Any:
    """The share of each correct answer in p^(1 - exponent).

    Shapes:   policy_correct: (num_correct,), any normalisation. Returns the same shape.
    Source:   claim F5, ours.
    """
    weight = policy_correct ** (1 - exponent)
    return weight / weight.sum()


def shared_out_log_ratio_rate(share_gap: Any, policy_gap: Any, correctness: Any) -> Any:
    """The rate d log(p_i/p_j)/dt of two correct answers under `methods.sharing.shared_out`, in large groups.

    share_gap is the difference of their `escort_share`, policy_gap that of their probabilities.
    Source:   claim F5, ours.
    """
    return correctness * share_gap - correctness * policy_gap


def centred_consensus_factor(learning_rate: Any, gamma_correct: Any, num_correct: Any, group_size: Any) -> Any:
    """The factor by which one step multiplies small log-ratios, in the mean, at Q = 1 near uniform on C.

    Differential smoothing with the bonus centred within the group's correct samples.
    Source:   claim F3, ours.
    """
    return 1 - learning_rate * gamma_correct * (1 - 1 / group_size) / num_correct


def centred_square_factor(learning_rate: Any, gamma_correct: Any, group_size: Any) -> Any:
    """The factor by which it multiplies the mean square of a small log-ratio of two correct answers, that are all.

    Source:   claim F3, ours.
    """
    step = learning_rate * gamma_correct / 2
    spread = 1 - 2 / group_size + (3 * group_size - 2) / group_size**3
    return 1 - 2 * step * (1 - 1 / group_size) + step**2 * spread


def recovery_exponent(num_top: Any, num_wrong: Any) -> Any:
    """The x of a recovery time that grows like (1/share)^x, up to logarithms, as the initial share vanishes.

    Source:   claim F7, ours.
    """
    return 1 + num_wrong / num_top


def recovery_threshold(num_top: int, num_wrong: int) -> float:
    """How large t g p L would be at the time of recovery T, if it went on growing like t^(k/(w+k)).

    p is the share of the rare answer and L its surprisal less that of a top one. x = t (1-Q) and y = t g p L move, in
    the logarithm of time, by x' = x (1 - x/w - (x-y)/k) and y' = y (1 + y - (x-y)/k) while p is small and L nearly
    constant; from x = k w/(k+w), y = 0, y leaves to infinity within a finite logarithm of time.
    Source:   claim F7, ours.
    """
    growth = num_top / (num_wrong + num_top)

    def rate(_: float, state: Floats) -> Floats:
        x, y = state
        lead = (x - y) / num_top
        return np.array([x * (1 - x / num_wrong - lead), y * (1 + y - lead)])

    def has_left(_: float, state: Floats) -> float:
        return float(state[1] - FAR)

    has_left.terminal = True  # type: ignore[attr-defined]
    start = np.array([num_wrong * growth, NEGLIGIBLE])
    solution = solve_ivp(rate, (0.0, -np.log(NEGLIGIBLE) / growth), start, events=has_left, rtol=1e-10, atol=1e-15)
    return float(NEGLIGIBLE * np.exp(growth * solution.t[-1]))


def recovery_time(problem: Problem, gamma_correct: float) -> float:
    """The time after which differential smoothing has brought the one rare correct answer back, as its share vanishes.

    All other correct answers are tied. While the rare one is negligible they follow the vanilla path, on which it loses
    like t^(-w/(w+k)); the time is when its bonus has made up for that (`recovery_threshold`).

    Requires: gamma_correct > 0, a rare correct answer beside one or more, tied.      Raises ValueError otherwise.
    Source:   claim F7, ours.
    """
    right = np.sort(problem.base_log_policy[problem.is_correct])
    wrong = problem.base_log_policy[~problem.is_correct]
    num_top, num_wrong = right.size - 1, wrong.size
    policies.refuse(gamma_correct, not gamma_correct > 0, "gamma_correct", "above 0")
    if num_top < 1 or not np.isclose(right[1], right[-1]):
        shown = ", ".join(f"{chance:.3g}" for chance in np.exp(right))
        raise ValueError(f"problem has correct answers of {shown}: want a rare one beside one or more that are tied")
    fall, goal = num_wrong / (num_wrong + num_top), np.log(recovery_threshold(num_top, num_wrong))
    start = (
        right[0] - right[-1] + fall * (2 * np.log(num_top) + right[-1] - np.log(num_top + num_wrong) - wrong.mean())
    )  # log of p_rare/p_top t^fall on the vanilla path

    gap = 1 + gamma_correct * np.log(num_top)  # of the advantages of a top and a wrong answer: their clock runs so fast

    def lateness(log_time: float) -> float:
        surprisal = fall * log_time - start  # of the rare answer less that of a top one
        return float(np.log(gamma_correct / gap * surprisal / num_top) + start + (1 - fall) * log_time - goal)

    first = (start + 1.0) / fall  # a surprisal of 1
    return float(np.exp(brentq(lateness, first, first + 2000.0)) / gap)
