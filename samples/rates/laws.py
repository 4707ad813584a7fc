"""Laws by which training may move the log-odds of success of a problem, each tied to a claim of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from sharpening.theory.flow import rate_path
from sharpening.theory.groups import expectations, sampling

Floats = NDArray[np.float64]
Shift = Callable[[Floats, Floats], tuple[Floats, Floats]]
GROUP_SIZE = 8
FARTHEST_LOG_DRAWS = 20.0  # beyond, every problem is met, or none


@dataclass(frozen=True)
class Law:
    """The shift of the log-odds in training as a function of the log-odds before.

    `shift(log_odds, parameters)` gives the shifts (num_points,) and their derivatives by every parameter
    (num_parameters, num_points). `start` is where a fit begins: a shift of about 1 nat at rate 1/2.
    """

    name: str
    claim: str
    words: str
    parameters: tuple[str, ...]
    start: tuple[float, ...]
    shift: Shift


def linear(*functions: Callable[[Floats], Floats]) -> Shift:
    """A sum of functions of the log-odds, each times a parameter."""

    def shift(log_odds: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        columns = np.stack([function(log_odds) for function in functions])
        return parameters @ columns, columns

    return shift


def threshold(log_odds: Floats, parameters: Floats) -> tuple[Floats, Floats]:
    """The shift a times 1 - (1-Q)^m, the chance that m = exp(log_draws) draws hold a correct one (claim C1)."""
    size, log_draws = parameters
    draws = float(np.exp(np.clip(log_draws, -FARTHEST_LOG_DRAWS, FARTHEST_LOG_DRAWS)))
    seen = sampling.inclusion_probability(log_expit(log_odds), draws)
    return size * seen, np.stack([seen, -size * (1 - seen) * draws * log_expit(-log_odds)])


def extended(law: Law, more: Sequence[Callable[[Floats], Floats]]) -> Law:
    """A law with further functions of the log-odds added, each times a parameter that begins at 0."""
    add = linear(*more)

    def shift(log_odds: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        own, by_own = law.shift(log_odds, parameters[: len(law.start)])
        other, by_other = add(log_odds, parameters[len(law.start) :])
        return own + other, np.concatenate([by_own, by_other])

    names = tuple(f"added {number}" for number in range(1, len(more) + 1))
    return Law(law.name, law.claim, law.words, law.parameters + names, law.start + (0.0,) * len(more), shift)


def _along(speed: rate_path.Rate) -> tuple[tuple[float], Shift]:
    path = rate_path.RatePath(speed)

    def shift(log_odds: Floats, parameters: Floats) -> tuple[Floats, Floats]:
        after, pace = path.after(log_odds, float(parameters[0]))
        return after - log_odds, pace[None]

    return (path.time_between(0.0, 1.0),), shift


def all_laws(group_size: int = GROUP_SIZE, num_draws: int | None = None) -> tuple[Law, ...]:
    """Every law, simplest first; the methods' with groups of the given size, PKPO for pass@k at half of it.

    With num_draws, how often training sampled each problem, the law that only problems solved in training move.
    """
    half = group_size // 2
    linear_in_log_odds = linear(np.ones_like, np.asarray)
    found = [
        Law("common", "A2.2", "the same shift for every problem", ("shift",), (1.0,), linear(np.ones_like)),
        Law("proportional", "", "a shift in proportion to the success rate", ("at rate 1",), (2.0,), linear(expit)),
    ]
    weights: dict[str, tuple[str, rate_path.Rate]] = {
        "dr_grpo": ("Dr. GRPO", lambda rate: np.full_like(rate, expectations.dr_grpo_weight(group_size))),
        "grpo": ("GRPO", lambda rate: np.asarray(expectations.grpo_weight(rate, group_size))),
        "maxrl": ("MaxRL", lambda rate: np.asarray(expectations.maxrl_weight(rate, group_size))),
        "pkpo": (f"PKPO (k = {half})", lambda rate: np.asarray(expectations.pkpo_weight(rate, half))),
    }
    for name, (words, weight) in weights.items():
        claim = "B4.4" if name == "grpo" else "B4.2"
        start, shift = _along(rate_path.softmax_speed(weight))
        found.append(Law(f"softmax_{name}", claim, f"the softmax flow of {words}", ("time",), start, shift))
        if name != "dr_grpo":  # its natural gradient is the common shift
            start, shift = _along(rate_path.natural_speed(weight))
            found.append(Law(f"natural_{name}", claim, f"the natural gradient of {words}", ("time",), start, shift))
    if num_draws is not None:
        log_draws = np.log(num_draws)
        seen = linear(lambda log_odds: threshold(log_odds, np.array([1.0, log_draws]))[0])
        words = f"the same shift for problems solved in the {num_draws} samples of training"
        found.append(Law("seen", "C1.1", words, ("shift",), (1.0,), seen))
    words = "the same shift, less at rates that m samples seldom meet"
    found += [
        Law("threshold", "C1.1", words, ("shift", "log m"), (1.0, np.log(group_size)), threshold),
        Law("affine", "", "a shift that is a line in the log-odds", ("shift", "slope"), (1.0, 0.0), linear_in_log_odds),
    ]
    return tuple(found)
