"""Experiments on differential smoothing: when it turns, centring, a noisy verifier, and sampling noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sharpening.bandits.experiments import tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory import policies
from sharpening.theory.flow import dynamics, smoothing
from sharpening.theory.policies import Floats

CENTRED_RUNS, NOISY_RUNS = 1024, 1024  # a seed, of many groups each: rates of one step to 1%
LIMIT_GROUP = 10_000  # stands for a large group
CENTRES = ("none", "correct_only")
NOISY_GROUP, NOISY_GAMMA = 16, 2.0
NOISE = {"false_positive_rate": 0.4, "false_negative_rate": 0.1}
RATIOS = (0.0, 0.9, 12.0, 0.3, 3.0, 0.2, 1.5, 6.0, 18.0, 0.1, 0.25, 2.0)  # of the gammas, away from the window's edges
FEW_LEFT = 0.01  # what wrong answers, which die out as 1/t, may still hold at the end
NEARLY_CERTAIN = -40.0  # the logit of the only wrong answer
SETTINGS = ((2, 0.5), (2, 1.0), (3, 0.5), (2, 0.25), (3, 1.0), (2, 1.5))  # m, and eta g_c/m
PULLS = (0.5, 1.5, 2.5)  # eta g_c/m: steady, alternating, unstable
CONSENSUS_GAMMA = 0.5
CONSENSUS_GROUP = 128
SMALL_RATIO = 1e-3  # nats away from level: the recursion is linear up to a share of its square


def _turn_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for gamma in np.geomspace(0.1, 1.0, scale.num_strengths).round(4):
        fields = {"method": "ds", "parameters": {"gamma_correct": float(gamma)}, "learning_rate": 0.05}
        measures = ("log_ratio:0:1", "logit_correctness")
        yield tasks.exact(measures, **fields, num_steps=int(50 / gamma), record_every=1)


def _turn_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        steps = range(specification.num_steps + 1)
        ratios = np.array([outcome.at("log_ratio:0:1", step)[0] for step in steps])
        logits = np.array([outcome.at("logit_correctness", step)[0] for step in steps])
        top = int(ratios.argmax())
        log_share = policies.log_softmax(np.array([ratios[top], 0.0]))
        gamma, share = float(specification.parameters["gamma_correct"]), tasks.centred(specification)

        def weight(_: float, share: float = share) -> float:
            return share

        onset = smoothing.smoothing_onset(log_share, (0, 1), gamma, weight)
        spacing = float(np.diff(logits)[max(top - 1, 0) : top + 1].max())
        yield Finding(f"logit Q at the turn, {gamma}", logits[top], 0.0, onset, logits[0], 2 * spacing)


def _centring_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for gamma in np.geomspace(0.3, 3.0, scale.num_strengths).round(4):
        for centre in CENTRES:
            parameters = {"gamma_correct": float(gamma), "centre": centre}
            fields = {**tasks.copies(), "method": "ds", "parameters": parameters}
            measures = ("log_ratio_change:0:1",)
            yield tasks.sampled(scale, seed, measures, CENTRED_RUNS, **fields, learning_rate=1.0, num_steps=1)


def _rates(specification: Specification) -> tuple[float, float]:
    """The rates of the log-ratio of the first two arms, bonus added after the baseline and bonus centred."""
    policy, log_policy, correct = tasks.base_policy(specification)
    mass, share = float(policy @ correct), tasks.centred(specification)
    log_share = policies.conditional(log_policy, correct, given_correct=True)
    entropy, slope = float(policies.entropy(log_share)), smoothing.secant(log_share[0], log_share[1])
    known = (policy[0] - policy[1], mass, share, float(specification.parameters["gamma_correct"]))
    added = smoothing.added_bracket(entropy, slope, mass, np.log(mass))
    factor = smoothing.centring_factor(mass, specification.group_size)
    centred = smoothing.log_ratio_rate(*known, smoothing.centred_bracket(entropy, slope), factor=factor)
    return float(smoothing.log_ratio_rate(*known, added)), float(centred)


def _centring_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        centre = specification.parameters["centre"]
        added, centred = _rates(specification)
        predicted, rival = (added, centred) if centre == "none" else (centred, added)
        observed, error = outcome.at("log_ratio_change:0:1")
        label = f"rate, centre {centre}, gamma_correct {specification.parameters['gamma_correct']}"
        yield Finding(label, observed, error, predicted, rival)
    yield _turning_strength(outcomes[1], outcomes[-1])


def _turning_strength(weak: Outcome, strong: Outcome) -> Finding:
    """Where the line through two observed rates of the centred bonus, which are linear in gamma_correct, is 0."""
    low, high = (float(outcome.task.specification.parameters["gamma_correct"]) for outcome in (weak, strong))
    (first, error), (last, other) = (outcome.at("log_ratio_change:0:1") for outcome in (weak, strong))
    drop = first - last
    observed = low + (high - low) * first / drop
    noise = (high - low) / drop**2 * float(np.hypot(last * error, first * other))
    _, log_policy, correct = tasks.base_policy(weak.task.specification)
    share, group_size = tasks.centred(weak.task.specification), weak.task.specification.group_size
    _, predicted = smoothing.turning_strengths(log_policy, correct, (0, 1), share, group_size)
    _, rival = smoothing.turning_strengths(log_policy, correct, (0, 1), 1.0, LIMIT_GROUP)
    return Finding("gamma_correct that turns, centred", observed, noise, predicted, rival)


def _noise_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for ratio in RATIOS[: scale.num_strengths]:
        ds = {
            "method": "ds",
            "parameters": {"gamma_correct": NOISY_GAMMA, "gamma_incorrect": NOISY_GAMMA * ratio},
            **NOISE,
        }
        measures = ("log_ratio_change:0:1", "log_ratio_change:0:2")
        once = {"group_size": NOISY_GROUP, "learning_rate": 1.0, "num_steps": 1}
        yield tasks.sampled(scale, seed, measures, NOISY_RUNS, **tasks.copies(), **ds, **once)
        yield tasks.exact(("probability:1",), **ds, learning_rate=1 / (1 + ratio), num_steps=800)


def _noisy_advantage(specification: Specification, log_policy: Floats, marked: Floats, ratio: float) -> Floats:
    """That of groups: the reward is centred, the terms are added as they are."""
    share, gamma = tasks.centred(specification), float(specification.parameters["gamma_correct"])
    return np.asarray(share * smoothing.noisy_advantage(log_policy, marked, gamma / share, gamma * ratio / share))


def _noise_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for first, long in zip(outcomes[::2], outcomes[1::2], strict=True):
        specification = first.task.specification
        policy, log_policy, correct = tasks.base_policy(specification)
        noise = (specification.false_positive_rate, specification.false_negative_rate)
        marked = smoothing.marked_correct(correct, *noise)
        gammas = specification.parameters
        ratio = float(gammas["gamma_incorrect"]) / float(gammas["gamma_correct"])
        rates, silent = (
            dynamics.softmax_flow(policy, _noisy_advantage(specification, log_policy, marks, ratio))
            for marks in (marked, correct)
        )
        for i, j in ((0, 1), (0, 2)):
            observed, error = first.at(f"log_ratio_change:{i}:{j}")
            label = f"rate of log p_{i}/p_{j}, ratio {ratio:g}"
            yield Finding(label, observed, error, float(rates[i] - rates[j]), float(silent[i] - silent[j]))
        low, high = smoothing.gamma_window(*noise)
        level = float(1 / correct.sum())
        ends = [_noisy_end(long.task.specification, marked, each) for each in (ratio, 0.0)]
        predicted, rival = (level, ends[1]) if low <= ratio < high else (ends[0], level)
        yield Finding(
            f"rarer at the end, ratio {ratio:g}", long.at("probability:1")[0], 0.0, predicted, rival, FEW_LEFT
        )


def _noisy_end(specification: Specification, marked: Floats, ratio: float) -> float:
    """The probability of the second arm at the end of the exact flow."""

    def advantage_of(log_policy: Floats) -> Floats:
        return _noisy_advantage(specification, log_policy, marked, ratio)

    time = specification.learning_rate * specification.num_steps
    path = dynamics.integrate(bandit_of(specification).base_log_policy, advantage_of, [0.0, time])
    return float(np.exp(path[-1, 1]))


def _level(num_correct: int, pull: float, first: float = 0.0) -> dict[str, Any]:
    """Equal correct answers at Q = 1, the first one ahead by `first`, with a learning rate that has the given pull."""
    return {
        "instance": None,
        "base_logits": (first, *[0.0] * (num_correct - 1), NEARLY_CERTAIN),
        "correct": (*[1] * num_correct, 0),
        "method": "ds",
        "learning_rate": pull * num_correct / CONSENSUS_GAMMA,
    }


def _consensus_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    parameters = {"gamma_correct": CONSENSUS_GAMMA}
    for num_correct, pull in SETTINGS[: max(3, scale.num_strengths // 2)]:
        fields = {**_level(num_correct, pull), "parameters": parameters, "group_size": CONSENSUS_GROUP}
        measures = ("squared_log_ratio_change:0:1",)
        num_steps = int(np.ceil(3.5 / min(pull, 2 - pull)))
        yield tasks.sampled(scale, seed, measures, 1536, **fields, num_steps=num_steps)
    centred = {**_level(2, 0.5), "parameters": {**parameters, "centre": "group"}, "group_size": CONSENSUS_GROUP}
    yield tasks.sampled(scale, seed, ("squared_log_ratio_change:0:1",), 16, **centred, num_steps=8)
    for pull in PULLS:
        fields = {**_level(2, pull, SMALL_RATIO), "parameters": parameters}
        yield tasks.exact(("log_ratio:0:1",), **fields, num_steps=3)


def _consensus_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        num_correct = int(bandit_of(specification).solves.sum())
        rate, gamma = specification.learning_rate, float(specification.parameters["gamma_correct"])
        pull = f"eta g_c/m = {rate * gamma / num_correct:g}"
        if specification.mean_field:
            factor = smoothing.consensus_factor(rate, gamma, num_correct)
            observed, num_steps = outcome.at("log_ratio:0:1")[0] / SMALL_RATIO, specification.num_steps
            rival = float(np.exp(-rate * gamma / num_correct * num_steps))
            allowed = SMALL_RATIO * max(1.0, abs(factor) ** num_steps)
            yield Finding(
                f"log-ratio after {num_steps} steps, {pull}", observed, 0.0, factor**num_steps, rival, allowed
            )
            continue
        common = gamma * float(np.log(num_correct))
        full = smoothing.stationary_variance(rate, gamma, num_correct, specification.group_size, common)
        observed, error = outcome.at("squared_log_ratio_change:0:1")
        if specification.parameters.get("centre") == "group":
            quiet = smoothing.stationary_variance(rate, gamma, num_correct, specification.group_size, 0.0)
            yield Finding("variance, centred", observed, error, quiet, full, tasks.SETTLED)
            continue
        small = smoothing.small_step_variance(rate, gamma, specification.group_size, common)
        yield Finding(f"variance, m = {num_correct}, {pull}", observed, error, full, small, 2 * full**2)


EXPERIMENTS = (
    Experiment(
        "turning_point",
        ("E3",),
        "From which correctness on does differential smoothing lower the log-ratio of two correct answers?",
        "from the Q of claim E3 on; below it, it sharpens",
        "from the start",
        _turn_tasks,
        _turn_findings,
    ),
    Experiment(
        "centring",
        ("E3",),
        "What does centring the bonus within the group's correct samples do to the log-ratio?",
        "claim E3's rates: only the centred bonus turns here, above a strength that grows in small groups",
        "the other placement's rate; the strength of large groups",
        _centring_tasks,
        _centring_findings,
    ),
    Experiment(
        "noisy_verifier",
        ("E4",),
        "How much must wrong answers be charged when the verifier errs?",
        "the end is level on C iff rho/(1-rho) <= g_w/g_c < (1-nu)/nu; rates are those of the expected marks",
        "the charge plays no part inside the window and the end is level outside it; rates as without noise",
        _noise_tasks,
        _noise_findings,
    ),
    Experiment(
        "smoothing_against_drift",
        ("E5",),
        "How far apart does sampling noise keep equal correct answers that smoothing pulls together?",
        "an AR(1) with factor 1 - eta g_c/m and its stationary variance; none if the bonus is centred",
        "the variance and the decay of small steps",
        _consensus_tasks,
        _consensus_findings,
    ),
)
