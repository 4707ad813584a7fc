"""Experiments on the terms: potential, ceiling, references, equivalence, and what a global term does first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.bandits import analysis
from sharpening.bandits.experiments import tasks
from sharpening.bandits.experiments.framework import Experiment, Finding, Outcome, Scale, Task
from sharpening.bandits.specification import bandit_of
from sharpening.theory import policies
from sharpening.theory.flow import dynamics
from sharpening.theory.groups import expectations, sampling
from sharpening.theory.optimum import dominance, optima
from sharpening.theory.optimum.optima import Strengths
from sharpening.theory.policies import Floats

SMALL_STEP = 1e-6
SECOND_ORDER = 1e-3  # relative: rates of up to 50 times such a step, and what 1e-16 of rounding leaves of it
FEW_LEFT = 0.01  # what wrong answers, which die out as 1/t, may still hold at the end
TOP_HEAVY: Mapping[str, object] = {"instance": None, "base_policy": (0.9, 0.05, 0.05), "correct": (1, 1, 0)}
AT_REST: Mapping[str, Any] = {"optimizer": "natural", "num_steps": 300}  # the rest points of sgd, reached sooner
GEOMETRIES: tuple[dynamics.Geometry, ...] = ("softmax", "natural")
FIRST_STEP = 1e-5  # what it adds to a rate is far below a standard error
LARGE_GROUP = 64
MANY_RARE: Mapping[str, object] = {
    "instance": None,
    "base_policy": (0.49, *[0.001] * 10, 0.25, 0.25),
    "correct": (*[1] * 11, 0, 0),
}


def _gammas(scale: Scale, low: float, high: float) -> list[float]:
    return [float(gamma) for gamma in np.geomspace(low, high, scale.num_strengths).round(4)]


def _all_arms(num_arms: int) -> tuple[str, ...]:
    return tuple(f"probability:{arm}" for arm in range(num_arms))


def _policy_of(outcome: Outcome) -> Floats:
    """The log-policy of a mean field at its end, (num_arms,)."""
    return np.log([outcome.at(name)[0] for name in outcome.task.measures])


def _potential_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for gamma in _gammas(scale, 0.3, 10.0):
        for gamma_incorrect in (0.0, gamma / 2):
            ds = {
                **TOP_HEAVY,
                "method": "ds",
                "parameters": {"gamma_correct": gamma, "gamma_incorrect": gamma_incorrect},
            }
            yield tasks.exact(_all_arms(3), **ds, learning_rate=SMALL_STEP, num_steps=1)
            yield tasks.exact(_all_arms(3), **ds, learning_rate=1 / (1 + gamma), num_steps=600)


def _potential_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for first, long in zip(outcomes[::2], outcomes[1::2], strict=True):
        specification = first.task.specification
        policy, log_policy, correct = tasks.base_policy(specification)
        share = tasks.centred(specification)  # the reward counts that much less, the term does not
        label = "gammas {gamma_correct}, {gamma_incorrect}".format(**specification.parameters)
        gammas = {name: float(value) / share for name, value in specification.parameters.items()}

        def potential(log_policy: Floats, gammas: dict[str, float] = gammas, correct: Floats = correct) -> float:
            return float(dynamics.smoothing_potential(np.exp(log_policy), log_policy, correct, **gammas))

        velocity = share * dynamics.softmax_flow(policy, dynamics.smoothing_advantage(log_policy, correct, **gammas))
        of_correctness = sampling.first_order_mass_change(policy, correct, velocity)
        plain = sampling.first_order_mass_change(policy, correct, share * dynamics.softmax_flow(policy, correct))
        end = _policy_of(first)
        rise = (potential(end) - potential(log_policy)) / SMALL_STEP
        yield _exact(f"rate of the potential, {label}", rise, (velocity**2).sum() / share, of_correctness)
        gain = (np.exp(end) @ correct - policy @ correct) / SMALL_STEP
        yield _exact(f"rate of Q, {label}", gain, of_correctness, plain)
        top = dynamics.smoothing_potential_maximum(gammas["gamma_correct"], np.log(correct.sum()))
        one_answer = dynamics.smoothing_potential_maximum(gammas["gamma_correct"], 0.0)
        found = potential(_policy_of(long))
        yield Finding(f"potential at the end, {label}", found, 0.0, float(top), one_answer, FEW_LEFT * top)


def _exact(label: str, observed: Any, predicted: Any, rival: Any) -> Finding:
    """A rate from one small step of the mean field."""
    return Finding(label, float(observed), 0.0, float(predicted), float(rival), SECOND_ORDER * abs(float(predicted)))


def _ceiling_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for strength in _gammas(scale, 0.3, 2.0):
        bonus: dict[str, Any] = {"method": "entropy_bonus", "parameters": {"strength": strength}}
        yield tasks.exact(("correctness",), **bonus, **AT_REST, learning_rate=0.5)
    yield tasks.sampled(scale, seed, ("correctness",), **bonus, num_steps=2000)
    ds: dict[str, Any] = {"method": "ds", "parameters": {"gamma_correct": strength}}
    yield tasks.sampled(scale, seed, ("correctness",), **ds, num_steps=2000)


def _ceiling_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        correct = bandit_of(specification).solves[0]
        strength = float(specification.parameters.get("strength", specification.parameters.get("gamma_correct", 0)))
        boost = np.exp(tasks.centred(specification) / strength)
        ceiling = float(dynamics.entropy_ceiling(correct.sum(), (1 - correct).sum(), boost))
        allowed = tasks.SETTLED if specification.mean_field else tasks.STEP_BIAS * specification.learning_rate
        found = outcome.at("correctness")
        if specification.method == "ds":
            path, _ = analysis.predicted_path(specification, [specification.num_steps])
            assert path is not None
            end = policies.correctness(path[0], correct)
            yield Finding(f"ds {strength}", *found, predicted=end, rival=ceiling, allowed=allowed)
        else:
            size = f"{strength}, group of {specification.group_size}"
            yield Finding(f"entropy bonus {size}", *found, predicted=ceiling, rival=1.0, allowed=allowed)


def _reference_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for gamma in _gammas(scale, 0.25, 1.0):
        for gamma_incorrect in (0.0, gamma):
            parameters = {"reference": "base", "gamma_correct": gamma, "gamma_incorrect": gamma_incorrect}
            ds = {"method": "ds", "parameters": parameters, "learning_rate": 0.5}
            yield tasks.exact(("probability:0", "probability:1"), **ds, num_steps=600)
            yield tasks.exact(("log_ratio:0:1",), **ds, **AT_REST, kl_strength=0.5)


def _reference_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        _, log_policy, correct = tasks.base_policy(specification)
        strengths = Strengths(*(specification.parameters[name] for name in ("gamma_correct", "gamma_incorrect")))
        label = f"gammas {strengths.gamma_correct}, {strengths.gamma_incorrect}"
        if not specification.kl_strength:
            arm = dynamics.base_reference_limit(log_policy, correct)
            found, _ = outcome.at(f"probability:{arm}")
            yield Finding(f"rarest at the end, {label}", found, 0.0, 1.0, 1 / correct.sum(), FEW_LEFT)
            continue
        base_ratio = log_policy[0] - log_policy[1]
        tempered = optima.base_exponents(specification.kl_strength, strengths).correct
        other = optima.sampling_exponents(specification.kl_strength, strengths._replace(gamma_incorrect=0.0)).correct
        predicted, rival = float(tempered * base_ratio), float(other * base_ratio)
        found, _ = outcome.at("log_ratio:0:1")
        yield Finding(f"log-ratio with KL, {label}", found, 0.0, predicted, rival, tasks.SETTLED)


def _equivalence_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    share = float(expectations.dr_grpo_weight(tasks.LISTED_SIZE))
    for gamma in _gammas(scale, 0.1, 1.0):
        parameters = {"gamma_correct": share * gamma, "gamma_incorrect": share * 0.1}
        fields = {"method": "ds", "parameters": parameters, "kl_strength": share * 0.5}
        yield tasks.exact(("log_ratio:0:1", "logit_correctness"), **fields, **AT_REST, learning_rate=0.5)
    for gamma in _gammas(scale, 0.1, 1.0):
        fields = {"method": "ds", "parameters": {"gamma_correct": gamma}, "optimizer": "natural"}
        yield tasks.sampled(scale, seed, ("log_ratio_change:0:1",), 1024, **fields, learning_rate=0.1, num_steps=20)


def _equivalence_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for outcome in outcomes:
        specification = outcome.task.specification
        problem = bandit_of(specification).problem
        base_ratio = float(problem.base_log_policy[0] - problem.base_log_policy[1])
        gamma = float(specification.parameters["gamma_correct"])
        if not specification.mean_field:
            exponent = dynamics.mirror_descent_exponent(specification.learning_rate, gamma, specification.num_steps)
            linear = -specification.learning_rate * gamma * specification.num_steps
            found, error = outcome.at("log_ratio_change:0:1")
            yield Finding(
                f"{gamma}: log-ratio by mirror descent", found, error, (exponent - 1) * base_ratio, linear * base_ratio
            )
            continue
        share = tasks.centred(specification)
        strengths = Strengths(gamma / share, float(specification.parameters["gamma_incorrect"]) / share)
        kl_strength = specification.kl_strength / share
        equivalent = dominance.equivalent_base(problem, kl_strength, strengths)
        assert equivalent is not None
        ends = [optima.base_optimum(problem, *pair) for pair in (equivalent, (kl_strength, strengths))]
        ratios = [float(end[0] - end[1]) for end in ends]
        logits = [policies.logit_correctness(end, problem.correct) for end in ends]
        label = f"{strengths.gamma_correct:g}"
        for name, values in (("log_ratio:0:1", ratios), ("logit_correctness", logits)):
            found, _ = outcome.at(name)
            predicted, rival = values
            yield Finding(f"{label}: {name} at the optimum", found, 0.0, predicted, rival, tasks.SETTLED)


def _first_effect_tasks(scale: Scale, seed: int) -> Iterator[Task]:
    for instance in ({}, MANY_RARE):
        for optimizer in ("sgd", "natural"):
            for method in ("entropy_bonus", "entropy_penalty"):
                usual = {"method": method, "parameters": {"strength": 1.0}, "group_size": LARGE_GROUP}
                fields = {**instance, **usual, "optimizer": optimizer, "learning_rate": FIRST_STEP}
                yield tasks.sampled(scale, seed, ("logit_correctness",), 768, num_steps=1, **fields)


def _first_effect_findings(outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for bonus, penalty in zip(outcomes[::2], outcomes[1::2], strict=True):
        specification = bonus.task.specification
        policy, log_policy, correct = tasks.base_policy(specification)
        (more, error), (less, other) = (outcome.at("logit_correctness") for outcome in (bonus, penalty))
        effect, noise = (value / (2 * FIRST_STEP) for value in (more - less, float(np.hypot(error, other))))
        softmax, natural = (
            float(dynamics.global_term_effect(policy, log_policy, correct, 1.0, geometry)) for geometry in GEOMETRIES
        )
        predicted, rival = (natural, softmax) if specification.optimizer == "natural" else (softmax, natural)
        yield Finding(f"{specification.optimizer}, {policy.size} answers", effect, noise, predicted, rival)


EXPERIMENTS = (
    Experiment(
        "potential",
        ("B6",),
        "What rises along differential smoothing without KL?",
        "its potential, at the squared speed of the logits, up to 1 + g_c (1 + log m); Q may fall at first",
        "Q rises as under plain RL and is all that rises; one answer is the end",
        _potential_tasks,
        _potential_findings,
    ),
    Experiment(
        "entropy_ceiling",
        ("B7",),
        "How much correctness does a global entropy bonus cost without KL?",
        "it ends at Q = m e^(1/g)/(m e^(1/g) + w); differential smoothing has no such ceiling",
        "it ends at Q = 1; differential smoothing has the same ceiling",
        _ceiling_tasks,
        _ceiling_findings,
    ),
    Experiment(
        "base_reference",
        ("B8", "A3"),
        "Where does differential smoothing with the base policy as reference end?",
        "on the rarest correct answer; with KL the log-ratio is 1 - g_c/beta times the base's",
        "level, or with KL at beta/(beta+g_c) times the base's, as with the sampling policy as reference",
        _reference_tasks,
        _reference_findings,
    ),
    Experiment(
        "equivalence",
        ("A8", "B9"),
        "Which smoothing with base reference equals one with sampling reference, and what does mirror descent do?",
        "the one of claim A8, with another KL strength; K steps temper p_C by (1 - eta g_c)^K",
        "the one of the same strengths; K steps temper p_C by 1 - K eta g_c",
        _equivalence_tasks,
        _equivalence_findings,
    ),
    Experiment(
        "first_effect",
        ("B11",),
        "What does a global entropy bonus do to correctness at first, without KL?",
        "it adds claim B11's rate at the current policy, in each geometry its own",
        "it adds the other geometry's rate",
        _first_effect_tasks,
        _first_effect_findings,
    ),
)
