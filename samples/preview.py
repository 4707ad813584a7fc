"""What a method would do to rollouts: its advantages, how large its term is, whom it pays, and how strong to make it.

The plain advantage is that of the same method with all its strengths at 0, the bonus is the advantage minus that, and
the ratio of the two is mean |bonus| / mean |plain advantage| over all scorable completions. It is proportional to the
strength unless the term is part of a normalised reward; there the strength for a ratio is found by root search.

Claim E6: at equal lengths L the reduction mean does what the reduction sum does with a strength L times smaller, so
at equal ratio its strength is larger by about L.

Left out: what training on these advantages leads to (theory/diagnosis/diagnose.py); token weights; a term in the loss.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.optimize import brentq

from sharpening.samples.rollouts import Mask, Rollouts
from sharpening.theory.diagnosis import properties
from sharpening.theory.diagnosis.subject import Subject
from sharpening.theory.methods import calls, table
from sharpening.theory.methods.table import Method
from sharpening.theory.policies import Floats

Values = Mapping[str, Any]
Term = Callable[[float], Floats]

DEFAULT_METHODS = (
    *("grpo", "dr_grpo", "maxrl", "pkpo", "f_grpo", "unlikeliness", "ucpo", "ips"),
    *("entropy_bonus", "entropy_penalty", "ds", *table.PRESETS),
)
LEVELS: tuple[table.Level, ...] = ("group",)
STRENGTHS = ("gamma_correct", "gamma_incorrect", "strength", "kl_strength", "rank_strength")
REDUCTIONS = ("sum", "mean")
RATIOS = (0.1, 0.3, 1.0)
EQUAL = 1e-9  # relative to the largest advantage: what float64 leaves of equal numbers
REACHED = 1e-6  # relative: a ratio is met if the strength found gives it to this


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A method's term under one reduction (empty for a method without this option).

    `ratio` is at the given strengths; `strengths` has, for every ratio in RATIOS, the strengths that give it, all
    scaled alike, None if none does. `distinguishing` is the share of the bonus of correct completions that differs
    within a group: mean |bonus - its mean over the group's correct ones| / mean |bonus|. The rest pays all alike.
    """

    reduction: str
    ratio: float
    strengths: Mapping[float, Values | None]
    distinguishing: float


@dataclasses.dataclass(frozen=True)
class Effect:
    """What a method does to rollouts; NaN where a number is undefined.

    wrong_above_correct: of the pairs of a wrong and a correct completion of one group, the share where the wrong one
    has the larger advantage. uniform_share: of the sum of |advantage|, the share in groups all correct or all wrong.
    length_correct, length_wrong: the correlation of the advantage with the number of tokens among the correct (wrong)
    completions of a group, as deviations from their means, pooled over groups. Not over all, for right and wrong
    answers differ in length anyway, and every method pays the right ones more.
    """

    method: str
    strengths: Values
    reduction: str
    advantage: Floats
    mean_advantage: float
    ratio: float
    wrong_above_correct: float
    uniform_share: float
    length_correct: float
    length_wrong: float
    scalings: tuple[Scaling, ...]


def effect(rollouts: Rollouts, method: Method, given: Values) -> Effect:
    """What a method with the given parameters does to rollouts.

    Raises:   ValueError for a method that does not run on the group level, that lacks an input or that gives an
              advantage that is not finite; and whatever is wrong with the parameters.
    """
    calls.refuse_level(method, LEVELS, "preview", given)
    values = calls.parameter_values(method, given)
    for name in calls.needs(method, given):
        if name not in rollouts.inputs:
            raise ValueError(f"{method.id} needs {name}, which the file lacks: it has {', '.join(rollouts.inputs)}")
    found = advantages(rollouts, method, values)
    strengths = {name: values[name] for name in strengths_of(rollouts, method, values)}
    term, plain = bonus_at(rollouts, method, values, strengths)
    settings = [{**values, **own} for own in _reductions(rollouts, method)] if strengths else []
    return Effect(
        method.id,
        strengths,
        str(values.get("reduction", "")),
        found,
        float(np.abs(found[rollouts.is_scorable]).mean()),
        _ratio(term(1.0), plain) if strengths else math.nan,
        wrong_above_correct(rollouts, found),
        uniform_share(rollouts, found),
        length_correlation(rollouts, found, rollouts.is_correct),
        length_correlation(rollouts, found, rollouts.is_wrong),
        tuple(scaling(rollouts, method, setting, strengths) for setting in settings),
    )


def advantages(rollouts: Rollouts, method: Method, values: Values) -> Floats:
    """The advantages of all completions, (num_completions,), 0 for unscorable ones."""
    with np.errstate(all="ignore"):
        found = [calls.group_advantages(method, inputs, values) for inputs in rollouts.blocks()]
    flat = np.concatenate([np.ravel(block) for block in found]).astype(np.float64)
    if not np.isfinite(flat).all():
        at = min(np.flatnonzero(~np.isfinite(flat)), key=lambda at: rollouts.lines[at])
        place = f"line (or row) {rollouts.lines[at]} of the file"
        raise ValueError(f"{method.id}: the advantage of {place} is {flat[at]}: want finite numbers")
    return flat


def strengths_of(rollouts: Rollouts, method: Method, values: Values) -> tuple[str, ...]:
    """The parameters of a method that are strengths and not 0; those of a user's function are found by trying."""
    if method.id in table.METHODS or method.id in table.PRESETS:
        return tuple(name for name in STRENGTHS if values.get(name, 0) != 0)
    least = max(size for _, size in rollouts.shapes)
    subject = Subject(method.advantage, values, least)
    return properties.strengths_of(subject, np.random.default_rng(0))


def _reductions(rollouts: Rollouts, method: Method) -> list[dict[str, str]]:
    """The settings under which the strengths are asked for: both reductions where the method and the file have them."""
    if "reduction" not in method.parameters:
        return [{}]
    return [{"reduction": name} for name in REDUCTIONS if name == "sum" or "num_tokens" in rollouts.inputs]


def bonus_at(rollouts: Rollouts, method: Method, values: Values, strengths: Values) -> tuple[Term, Floats]:
    """The bonus as a function of a factor on all strengths, and the plain advantage, (num_completions,) each."""
    plain = advantages(rollouts, method, {**values, **dict.fromkeys(strengths, 0.0)})

    def term(scale: float) -> Floats:
        scaled = {name: scale * value for name, value in strengths.items()}
        return advantages(rollouts, method, {**values, **scaled}) - plain

    return term, plain


def _ratio(bonus: Floats, plain: Floats) -> float:
    size = np.abs(plain).mean()
    return float(np.abs(bonus).mean() / size) if size > 0 else math.nan


def scaling(rollouts: Rollouts, method: Method, values: Values, strengths: Values) -> Scaling:
    """How the ratio depends on the strengths under the reduction in `values`."""
    term, plain = bonus_at(rollouts, method, values, strengths)

    def ratio_at(scale: float) -> float:
        return _ratio(term(scale), plain)

    most = min(method.parameters[name].largest / abs(value) for name, value in strengths.items())
    found: dict[float, Values | None] = {}
    for ratio in RATIOS:
        scale = scale_for(ratio_at, ratio, most)
        found[ratio] = {name: scale * value for name, value in strengths.items()} if scale else None
    paid = term(1.0)
    total = np.abs(paid[rollouts.is_correct]).sum()
    differing = np.abs(deviations(rollouts, paid, rollouts.is_correct)).sum()
    distinguishing = float(differing / total) if total > 0 else math.nan
    return Scaling(str(values.get("reduction", "")), ratio_at(1.0), found, distinguishing)


def scale_for(ratio_at: Callable[[float], float], ratio: float, most: float = math.inf) -> float | None:
    """The smallest scale found at which a function of it, 0 at 0, is `ratio`; None if there is none in nine decades.

    Scales above `most` are not tried.

    >>> scale_for(lambda scale: 4 * scale, 0.1), scale_for(lambda scale: scale / (1 + scale), 2.0)
    (0.025, None)
    """
    at_one = ratio_at(1.0)
    if not at_one > 0:
        return None
    guess = ratio / at_one
    if guess <= most and math.isclose(ratio_at(guess), ratio, rel_tol=REACHED):
        return guess
    scales = guess * np.geomspace(1e-6, 1e3, 181)
    scales = scales[scales <= most]
    above = next((index for index, scale in enumerate(scales) if ratio_at(scale) >= ratio), None)
    if not above:
        return None
    return float(brentq(lambda scale: ratio_at(scale) - ratio, scales[above - 1], scales[above], rtol=REACHED / 100))


def deviations(rollouts: Rollouts, numbers: Floats, mask: Mask) -> Floats:
    """The numbers minus their mean over the masked completions of the group; 0 elsewhere. (num_completions,)."""
    counts = np.bincount(rollouts.group, weights=mask)
    sums = np.bincount(rollouts.group, weights=np.where(mask, numbers, 0.0))
    means = sums / np.maximum(counts, 1)
    return np.where(mask, numbers - means[rollouts.group], 0.0)


def wrong_above_correct(rollouts: Rollouts, advantage: Floats) -> float:
    """See `Effect`. NaN if no group has both."""
    slack = EQUAL * np.abs(advantage).max()
    num_pairs = num_above = 0
    blocks = (rollouts.split(values) for values in (advantage, rollouts.is_wrong, rollouts.is_correct))
    for block in zip(*blocks, strict=True):
        for numbers, is_wrong, is_correct in zip(*block, strict=True):
            above = numbers[is_wrong][:, None] > numbers[is_correct][None, :] + slack  # (num_wrong, num_correct)
            num_pairs, num_above = num_pairs + above.size, num_above + int(above.sum())
    return num_above / num_pairs if num_pairs else math.nan


def is_in_uniform_group(rollouts: Rollouts) -> Mask:
    """Whether the scorable completions of a completion's group are all correct or all wrong, (num_completions,)."""
    rights, wrongs = (np.bincount(rollouts.group, weights=mask) for mask in (rollouts.is_correct, rollouts.is_wrong))
    return np.asarray((rights == 0) | (wrongs == 0))[rollouts.group]


def uniform_share(rollouts: Rollouts, advantage: Floats) -> float:
    """See `Effect`. NaN if every advantage is 0."""
    size = np.abs(advantage)
    return float(size[is_in_uniform_group(rollouts)].sum() / size.sum()) if size.any() else math.nan


def length_correlation(rollouts: Rollouts, advantage: Floats, mask: Mask) -> float:
    """See `Effect`. NaN without num_tokens, or if lengths or advantages do not differ within any group."""
    if "num_tokens" not in rollouts.inputs:
        return math.nan
    lengths = deviations(rollouts, rollouts.inputs["num_tokens"], mask)
    numbers = deviations(rollouts, advantage, mask)
    numbers = np.where(np.abs(numbers) > EQUAL * np.abs(advantage).max(), numbers, 0.0)
    scale = np.sqrt((lengths**2).sum() * (numbers**2).sum())
    return float((lengths * numbers).sum() / scale) if scale > 0 else math.nan


def facts(rollouts: Rollouts) -> dict[str, Any]:
    """What the rollouts are, before any method: counts, correctness, and log-probability per answer and per token.

    Units:    nats. `spread_*` is the standard deviation among the correct completions of a group, pooled over groups.
    """
    known, is_correct = rollouts.is_scorable, rollouts.is_correct
    num_correct, num_wrong = (np.bincount(rollouts.group, weights=mask) for mask in (is_correct, rollouts.is_wrong))
    found: dict[str, Any] = {
        "num_completions": int(known.size),
        "num_groups": len(num_correct),
        "group_sizes": {size: count for count, size in rollouts.shapes},
        "num_unscorable": int((~known).sum()),
        "correctness": float(is_correct.sum() / known.sum()),
        "num_all_correct": int(((num_wrong == 0) & (num_correct > 0)).sum()),
        "num_all_wrong": int(((num_correct == 0) & (num_wrong > 0)).sum()),
        "fields": list(rollouts.inputs),
    }
    log_prob, num_tokens = rollouts.inputs.get("log_prob"), rollouts.inputs.get("num_tokens")
    if num_tokens is not None:
        found["num_tokens"] = _quantiles(num_tokens[known])
    if log_prob is not None:
        found["log_prob"] = _quantiles(log_prob[known])
        found["spread_log_prob"] = _spread(rollouts, log_prob, is_correct)
    if log_prob is not None and num_tokens is not None:
        found["mean_token_log_prob"] = _quantiles((log_prob / num_tokens)[known])
        found["spread_mean_token_log_prob"] = _spread(rollouts, log_prob / num_tokens, is_correct)
    return found


def _quantiles(numbers: Floats) -> dict[str, float]:
    low, median, high = (float(value) for value in np.quantile(numbers, (0.05, 0.5, 0.95)))
    return {"mean": float(numbers.mean()), "low": low, "median": median, "high": high}


def _spread(rollouts: Rollouts, numbers: Floats, mask: Mask) -> float:
    """The pooled standard deviation within groups, NaN if no group has two masked completions."""
    counts = np.bincount(rollouts.group, weights=mask)
    freedom = np.maximum(counts - 1, 0).sum()
    return float(np.sqrt((deviations(rollouts, numbers, mask) ** 2).sum() / freedom)) if freedom > 0 else math.nan
