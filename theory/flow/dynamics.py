"""Exact policy-gradient flows over a finite set of answers: rates, potentials, limits, and SciPy's integrator.

Logits z move by dz_i/dt = p_i (A_i - mean A) under the softmax gradient and by dz_i/dt = A_i under the natural
gradient; p = softmax(z), time in units of the learning rate. Rates use only + - * / and sums, so they accept SymPy
symbols. `theory/flow/vanilla_path.py` has the closed path of the vanilla flow.

Left out: sampling noise, momentum, clipping and KL terms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import solve_ivp

from sharpening.theory import policies, shaping
from sharpening.theory.policies import Floats

Geometry = Literal["softmax", "natural"]
RELATIVE_TOLERANCE = 1e-10  # of the integrator, per step
ABSOLUTE_TOLERANCE = 1e-12
MAX_EVALUATIONS = 20_000  # of the rate: what the claims and the shown bandits follow takes at most 4,000


def softmax_flow(policy: Any, advantage: Any) -> Any:
    """dz/dt of the exact policy gradient in softmax logits.

    Shapes:   (num_arms,) each. Returns (num_arms,).
    Source:   policy-gradient theorem; claims B1 and B4.
    """
    return policy * (advantage - (policy * advantage).sum())


def natural_flow(policy: Any, advantage: Any) -> Any:
    """dz/dt of the natural policy gradient: the advantage, centred under the policy.

    Shapes:   (num_arms,) each. Returns (num_arms,).
    Source:   the Fisher matrix of a softmax is diag(p) - p p^T; claim B5.
    """
    return advantage - (policy * advantage).sum()


def smoothing_advantage(log_policy: Any, correct: Any, gamma_correct: Any, gamma_incorrect: Any) -> Any:
    """The advantage of differential smoothing with the sampling policy as reference.

    Shapes:   log_policy (nats), correct: (num_arms,). Returns (num_arms,). A global bonus g is the pair (g, -g).
    Source:   arXiv 2511.19942, Eq. 6 as summarised, without the group normalisation.
    """
    return shaping.differential_smoothing(
        correct, log_policy, correct, gamma_correct=gamma_correct, gamma_incorrect=gamma_incorrect
    )


def vanilla_log_ratio_rate(policy_i: Any, policy_j: Any, correctness: Any, correct: Any) -> Any:
    """d/dt log(p_i / p_j) of the vanilla flow, for two answers that are both correct or both wrong.

    Positive on C where i is likelier (reinforcement bias), negative on W (errors flatten).
    Shapes:   scalars or equal shapes; `correct` is 1 for a correct pair, 0 for a wrong one. Nats per unit time. Of
              graded rewards, the reward of the pair, and the mean reward in the place of correctness (claim F6).
    Source:   claim B1; our reading of the reinforcement bias of arXiv 2511.19942.

    >>> vanilla_log_ratio_rate(0.3, 0.1, 0.5, 1)
    0.09999999999999999
    """
    return (correct - correctness) * (policy_i - policy_j)


def graded_limit(log_policy: Floats, reward: Floats) -> Floats:
    """Where the vanilla flow of any rewards ends: evenly on the likeliest of the answers of the largest reward.

    Shapes:   (num_arms,) each. Returns probabilities, (num_arms,).
    Source:   claim F6, ours.
    """
    score = np.where(reward == reward.max(), log_policy, -np.inf)
    return np.asarray((score == score.max()) / (score == score.max()).sum())


def collapse_constant(num_top: Any, num_wrong: Any) -> Any:
    """The c of 1 - Q ~ c / t under the vanilla flow, with num_top tied most likely correct answers.

    With graded rewards it is that of what the mean reward lacks of the largest, num_wrong the answers that get less.
    Source:   claims B3 and F6, ours.
    """
    return num_top * num_wrong / (num_top + num_wrong)


def smoothing_potential(policy: Any, log_policy: Any, correct: Any, gamma_correct: Any, gamma_incorrect: Any) -> Any:
    """The function whose exact softmax gradient is differential smoothing with sampling reference and no KL.

    Shapes:   (num_arms,) each, log_policy in nats. Returns a scalar.
    Source:   claim B6, ours.
    """
    surprise = -(policy * log_policy)  # (num_arms,)
    mass_correct, mass_wrong = (correct * policy).sum(), ((1 - correct) * policy).sum()
    gain = (1 + gamma_correct) * mass_correct + gamma_correct * (correct * surprise).sum()
    return gain - gamma_incorrect * (((1 - correct) * surprise).sum() + mass_wrong)


def smoothing_potential_maximum(gamma_correct: Any, log_num_correct: Any) -> Any:
    """The maximum of `smoothing_potential`, reached by the uniform policy on the correct answers.

    Source:   claim B6, ours.
    """
    return 1 + gamma_correct * (1 + log_num_correct)


def entropy_ceiling(num_correct: Any, num_wrong: Any, boost: Any) -> Any:
    """Q at the end of RL with a global entropy bonus g and no KL; boost = exp(1/g).

    Source:   claim B7, ours.

    >>> round(float(entropy_ceiling(2, 8, np.exp(1 / 0.5))), 3)
    0.649
    """
    return num_correct * boost / (num_correct * boost + num_wrong)


def base_reference_limit(base_log_policy: Floats, correct: Floats) -> int:
    """The arm that takes all mass under differential smoothing with base reference, gamma_correct > 0 and no KL.

    Shapes:   (num_arms,) each. Returns the index of the least likely correct answer.
    Source:   claim B8, ours.
    """
    return int(np.where(correct == 1.0, base_log_policy, np.inf).argmin())


def mirror_descent_step(log_policy: Any, shaped_reward: Any, learning_rate: Any) -> Any:
    """Unnormalised log-probabilities after one step of mirror descent (multiplicative weights).

    Shapes:   (num_arms,) each or scalars.
    Source:   textbook; claim B9.
    """
    return log_policy + learning_rate * shaped_reward


def mirror_descent_exponent(learning_rate: Any, gamma_correct: Any, num_steps: int) -> Any:
    """The exponent of b_C after num_steps of mirror descent on r - gamma_correct log p on correct answers.

    Source:   claim B9, ours.
    """
    return (1 - learning_rate * gamma_correct) ** num_steps


def entropy_rate(policy: Any, log_policy: Any, logit_rate: Any) -> Any:
    """dH/dt = -Cov_p(log p, dz/dt), for any motion of the logits.

    Shapes:   (num_arms,) each, nats. Returns a scalar, nats per unit time.
    Source:   arXiv 2505.22617; claim B10.
    """
    mean_rate = (policy * logit_rate).sum()
    return -(policy * log_policy * (logit_rate - mean_rate)).sum()


def global_term_effect(
    policy: Any, log_policy: Any, correct: Any, strength: Any, geometry: Geometry = "softmax"
) -> Any:
    """What a global entropy bonus adds to d logit Q/dt at the current policy, without KL.

    Shapes:   (num_arms,) each, log_policy in nats. Returns a scalar.
    Source:   claim B11, ours.
    """
    surprisal = -log_policy
    entropy = (policy * surprisal).sum()
    pull = surprisal if geometry == "natural" else policy * (surprisal - entropy)
    in_correct = (correct * policy * pull).sum() / (correct * policy).sum()
    in_wrong = ((1 - correct) * policy * pull).sum() / ((1 - correct) * policy).sum()
    return strength * (in_correct - in_wrong)


def integrate_logits(
    logits: ArrayLike,
    advantage_of: Callable[[Floats], Floats],
    times: ArrayLike,
    geometry: Geometry = "softmax",
    labels: ArrayLike | None = None,
) -> Floats:
    """Logits along an exact flow, by SciPy's LSODA.

    Shapes:   logits: (num_arms,); times: (num_times,) increasing, from 0 (the start) on;
              advantage_of maps log-probabilities (num_arms,) to advantages (num_arms,);
              labels: (num_arms,), a promise that arms of equal label have equal advantage whenever they have equal
              probability. Arms of equal label and start are then integrated once.
              Returns (num_times, num_arms).
    Raises:   ValueError naming the first time out of order; RuntimeError if the integrator gives up, or the flow is too
              stiff for `MAX_EVALUATIONS`, as where it slides along a discontinuity.
    """
    flow = softmax_flow if geometry == "softmax" else natural_flow
    at = np.asarray(times, dtype=np.float64)
    if at.ndim != 1 or not at.size or at[-1] == 0:
        raise ValueError(f"times is {at.tolist()}: want (num_times,), the last above 0")
    policies.refuse(
        at, ~(np.isfinite(at) & (np.diff(at, prepend=-1) > 0) & (at >= 0)), "times", "finite and increasing from 0"
    )
    start = np.asarray(logits, dtype=np.float64)
    keys = np.stack([start, np.arange(start.size) if labels is None else np.asarray(labels, dtype=np.float64)])
    _, first, group = np.unique(keys, axis=1, return_index=True, return_inverse=True)
    group = group.ravel()  # start[first][group] is start

    evaluations = itertools.count(1)

    def rate(time: float, z: Floats) -> Floats:
        if next(evaluations) > MAX_EVALUATIONS:
            raise RuntimeError(f"the flow is too stiff: {MAX_EVALUATIONS} evaluations lead to t = {time:.3g}")
        log_policy = policies.log_softmax(z[group])
        moved: Floats = flow(np.exp(log_policy), advantage_of(log_policy))
        return moved[first]

    solution = solve_ivp(
        rate,
        (0.0, float(at[-1])),
        start[first],
        t_eval=at,
        method="LSODA",
        rtol=RELATIVE_TOLERANCE,
        atol=ABSOLUTE_TOLERANCE,
    )
    if not solution.success:
        raise RuntimeError(f"the integrator stopped before t = {float(at[-1])!r}: {solution.message}")
    return np.asarray(solution.y.T[:, group], dtype=np.float64)


def integrate(
    log_policy: Floats,
    advantage_of: Callable[[Floats], Floats],
    times: ArrayLike,
    geometry: Geometry = "softmax",
    labels: ArrayLike | None = None,
) -> Floats:
    """Log-probabilities along an exact flow; see `integrate_logits`.

    Shapes:   (num_arms,) and (num_times,) -> (num_times, num_arms), nats.
    """
    return policies.log_softmax(integrate_logits(log_policy, advantage_of, times, geometry, labels))
