"""Verdicts that follow from the exact flow of an advantage function: direction, turning, ends, class and noise.

Each is a `Verdict` about the flow from the base policy of a problem with two correct and two wrong answers; see
`theory/diagnosis/diagnose.py` for how they come together.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from sharpening.theory import policies
from sharpening.theory.diagnosis import ends, motion
from sharpening.theory.diagnosis.ends import End
from sharpening.theory.diagnosis.motion import Onset, Outside
from sharpening.theory.diagnosis.subject import Verdict
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.policies import Problem

OTHER_START = policies.problem_from_probabilities([0.04, 0.16, 0.3, 0.5], [1, 1, 0, 0])
THREE_CORRECT = policies.problem_from_probabilities([0.2, 0.1, 0.05, 0.4, 0.25], [1, 1, 1, 0, 0])
LARGEST_OF_FIVE, LARGEST_NOISY = 6, 4  # group sizes whose lists stay below a few thousand groups
NOISE = 0.1  # both rates of the noisy verifier that the ends are looked at under
NO_NOISE, ANY_NOISE = 5e-4, 0.999  # largest rates below and above which "none" and "any" are said
DIRECTIONS = {1: "sharpens", -1: "smooths", 0: "preserves"}
RATES = {"false positives": True, "false negatives": False}
SINGLE_ANSWER = 14.0  # a log-ratio above it is said to be infinite: half the least that stands for one answer
SAME_TURN = 5e-6  # of Q: turns are shown with five digits
NO_FLOW = "there is no expected step"
MOTIONS = (
    "correct set",
    "turning point",
    "centring",
    "correctness",
    "end",
    "class of B4",
    "noisy verifier",
)


def motions(
    flow: ExpectedFlow, least: int, strengths: tuple[str, ...], rng: np.random.Generator
) -> tuple[Verdict, ...]:
    """The verdicts that follow from the flow, in the order of `MOTIONS`; an exception makes one "undecided"."""
    why = _without_a_flow(flow)
    if why:
        return undecided(why)
    end = _end(flow)
    outside = _outside(flow, rng)
    centring_strengths = () if outside is None else strengths
    first = functools.cache(lambda: motion.onsets(flow, (motion.top_share(flow),))[0])
    noisy_size = max(least, min(flow.group_size, LARGEST_NOISY))
    steps: dict[str, Callable[[], Verdict]] = {
        "correct set": lambda: correct_set(flow, end),
        "turning point": lambda: turning_point(flow, strengths, first()),
        "centring": lambda: centring(flow, centring_strengths, end, first()),
        "correctness": lambda: correctness(flow, rng),
        "end": lambda: other_starts(flow, least, end),
        "class of B4": lambda: universality(flow, outside),
        "noisy verifier": lambda: noisy_verifier(dataclasses.replace(flow, group_size=noisy_size), end),
    }
    return tuple(_guarded(name, steps[name]) for name in MOTIONS)


def undecided(why: str) -> tuple[Verdict, ...]:
    """The verdicts of a function without an expected step."""
    return tuple(Verdict(name, "undecided", why) for name in MOTIONS)


def _without_a_flow(flow: ExpectedFlow) -> str:
    """Why there is no expected step at the shown policy, "" if there is one."""
    try:
        is_finite = bool(np.isfinite(flow.advantages(flow.problem.base_log_policy)).all())
    except Exception as error:
        return f"in groups of {flow.group_size} it raises {type(error).__name__}: {error}: {NO_FLOW}"
    return "" if is_finite else f"in groups of {flow.group_size} an advantage is not finite: {NO_FLOW}"


def _outside(flow: ExpectedFlow, rng: np.random.Generator) -> Outside | str | None:
    try:
        return motion.outside_the_class(flow, rng)
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"


def _guarded(name: str, step: Callable[[], Verdict]) -> Verdict:
    try:
        return step()
    except Exception as error:  # the user's function at an extreme policy
        return Verdict(name, "undecided", f"raises {type(error).__name__}: {error}")


def _end(flow: ExpectedFlow) -> End:
    if flow.num_groups > motion.MANY_GROUPS:
        why = f"the order of a group matters: {flow.num_groups:,} groups a policy are too many to follow the flow"
        return End("undecided", "undecided", None, f"{why}: want a group_size of 5 or less")
    try:
        return ends.end_of(flow, flow.problem.base_log_policy)
    except Exception as error:  # the user's function at an extreme policy
        return End("undecided", "undecided", None, f"raises {type(error).__name__}: {error}")


def correct_set(flow: ExpectedFlow, end: End) -> Verdict:
    """Whether the shares of the correct answers are sharper at the end than at the start, and how it begins."""
    start = flow.problem.base_log_policy
    rate = _finite(float(motion.sharpening_rate(flow, start)))
    at_first = f"d log(p1/p2)/dt = {rate:.6g} at p = {ends.shown(start)}"
    numbers: dict[str, Any] = {"rate": rate, "kind_of_end": end.kind}
    if end.log_policy is None or end.kind == "wrong":
        words = f"{DIRECTIONS[int(np.sign(rate))]} at the shown policy"
        return Verdict("correct set", words, f"{at_first}; the end says no more", numbers=numbers)
    first, second = ends.edges(flow)[0]
    before, after = (float(log_policy[first] - log_policy[second]) for log_policy in (start, end.log_policy))
    if abs(after - before) < ends.EVEN:
        word, sign = "preserves", 0
    elif after < -ends.EVEN:
        word, sign = "inverts", -1
    else:
        word, sign = ("sharpens", 1) if after > before else ("smooths", -1)
    later = "" if sign == np.sign(rate) else " in the end"
    first_up = ""
    if end.furthest is not None and rate > 0 and sign < 1:
        numbers |= {"furthest": end.furthest[0], "furthest_at": end.furthest[1]}
        first_up = f", first up to {end.furthest[0]:.4g} at Q = {end.furthest[1]:.4g}"
    detail = f"{at_first} ({DIRECTIONS[int(np.sign(rate))]}); log(p1/p2) goes from {before:.4g} to {_limit(after)}"
    detail += first_up
    return Verdict("correct set", word + later, detail, numbers=numbers)


def sharpening_for_correctness(flow: ExpectedFlow) -> float | None:
    """How far the two correct answers move apart while log-odds of correctness rise by a nat; None where they do not.

    At the base policy of the flow's problem, by its exact expected step.
    """
    start = flow.problem.base_log_policy
    rise = float(motion.correctness_rate(flow, start))
    return float(motion.sharpening_rate(flow, start)) / rise if rise > 0 else None


def _finite(rate: float) -> float:
    """The rate itself; raises ValueError if it is NaN."""
    if not np.isfinite(rate):
        raise ValueError(f"the rate at the shown policy is {rate}")
    return rate


def _limit(log_ratio: float) -> str:
    if abs(log_ratio) < ends.EVEN:
        return "0"
    if abs(log_ratio) < SINGLE_ANSWER:
        return f"{log_ratio:.4g}"
    return "infinity" if log_ratio > 0 else "-infinity"


def turning_point(flow: ExpectedFlow, strengths: tuple[str, ...], first: Onset) -> Verdict:
    """From which correctness on the direction inside C changes, and at which strength it does at the shown policy.

    `first` is the onset at the shares of the shown policy.

    Source:   claim E3.
    """
    more = motion.TOP_SHARES if flow.num_groups <= motion.MANY_GROUPS else ()
    found = [first, *motion.onsets(flow, more, motion.FEW_LOGITS)]
    others = "; ".join(f"top share {onset.top_share:g}: {_turns(onset)}" for onset in found[1:])
    numbers: dict[str, Any] = {"onsets": [dataclasses.asdict(onset) for onset in found]}
    strength = turning_strength(flow, strengths)
    numbers["turning_scale"] = strength[0]
    at = f"top share {first.top_share:g} as at the shown policy"
    return Verdict("turning point", _turns(found[0]), f"{at}; {others}; {strength[1]}", numbers=numbers)


def _turns(onset: Onset) -> str:
    """In words: the direction from the smallest correctness to the largest."""
    sign, words = onset.sign, DIRECTIONS[onset.sign]
    if not onset.turns:
        return f"{words} at all {onset.num_policies:,} Q probed"
    parts = []
    for turn in onset.turns:
        sign = -sign
        parts.append(f"{DIRECTIONS[sign]} above Q = {turn:.5f}")
    return f"{words}, {', '.join(parts)}"


def turning_strength(flow: ExpectedFlow, strengths: tuple[str, ...]) -> tuple[float | None, str]:
    """The multiple of the strengths that turns the direction at the shown policy, and the words for it."""
    if not strengths:
        return None, "no parameter is a strength"

    def at(scale: float) -> ExpectedFlow:
        scaled = {name: flow.parameters[name] * scale for name in strengths}
        return dataclasses.replace(flow, parameters={**flow.parameters, **scaled})

    names = ", ".join(strengths)
    try:
        scale = motion.turning_scale(at, flow.problem.base_log_policy)
    except Exception as error:  # a strength may be refused beyond a bound
        return None, f"multiples of {names} are refused ({type(error).__name__}: {error})"
    if scale is None:
        return None, f"at the shown policy no multiple of {names} up to 10,000 turns it"
    at_values = ", ".join(f"{name} = {flow.parameters[name] * scale:.6g}" for name in strengths)
    return scale, f"at the shown policy it turns at {at_values}"


def centring(flow: ExpectedFlow, strengths: tuple[str, ...], end: End, before: Onset) -> Verdict:
    """What changes if the term of the strengths is centred within the correct samples of each group.

    Source:   claim E3.
    """
    if not strengths:
        return Verdict("centring", "not applicable", "no strength adds a term that differs between correct answers")
    if flow.num_groups > motion.MANY_GROUPS:
        return Verdict("centring", "undecided", end.evidence)
    centred = motion.centred_function(flow.function, strengths)
    changed = dataclasses.replace(flow, function=centred)
    (after,) = motion.onsets(changed, (before.top_share,), motion.FEW_LOGITS)
    strength = turning_strength(changed, strengths)
    new_end = ends.end_of(changed, flow.problem.base_log_policy)
    is_alike = after.sign == before.sign and len(after.turns) == len(before.turns)
    is_same = is_alike and np.allclose(after.turns, before.turns, atol=SAME_TURN, rtol=0)
    words = "the same turning point" if is_same else _turns(after)
    ending = "the same end" if new_end.kind == end.kind else f"ends {new_end.words}"
    numbers = {"onset": dataclasses.asdict(after), "turning_scale": strength[0], "kind_of_end": new_end.kind}
    detail = f"centred, {strength[1]}; without it: {_turns(before)}; {ending}"
    return Verdict("centring", words, detail, numbers=numbers)


def correctness(flow: ExpectedFlow, rng: np.random.Generator) -> Verdict:
    """Whether the expected step raises Q at the shown policy, and the nearest policy probed where it does not."""
    start = flow.problem.base_log_policy
    rate = _finite(float(motion.correctness_rate(flow, start)))
    word = {1: "raises", -1: "lowers", 0: "leaves"}[int(np.sign(rate))]
    detail = f"d logit Q/dt = {rate:.6g} at p = {ends.shown(start)}"
    against, number = motion.lowers_correctness_at(flow, float(np.sign(rate)), rng)
    numbers = {"rate": rate, "num_policies": number}
    if against is None:
        return Verdict("correctness", word, f"{detail}; nowhere the other way at {number:,} policies", numbers=numbers)
    there = float(motion.correctness_rate(flow, against))
    example = {"policy": np.exp(against).tolist(), "d logit Q/dt": there}
    return Verdict("correctness", f"{word} at the shown policy, not everywhere", detail, example, numbers)


def other_starts(flow: ExpectedFlow, least: int, end: End) -> Verdict:
    """The end from the shown policy, and whether another start and three correct answers agree."""
    second = dataclasses.replace(flow, problem=OTHER_START)
    size = max(least, min(flow.group_size, LARGEST_NOISY if flow.is_ordered else LARGEST_OF_FIVE))
    third = dataclasses.replace(flow, problem=THREE_CORRECT, group_size=size)
    numbers: dict[str, Any] = {"kind": end.kind, "policy": None}
    numbers["policy"] = None if end.log_policy is None else np.exp(end.log_policy).tolist()
    details, words = [end.evidence], end.words
    if flow.num_groups > motion.MANY_GROUPS:
        return Verdict("end", words, end.evidence, numbers=numbers)
    if end.kind == "uniform on C":
        times = ends.recovery(flow)
        numbers["recovery"] = [list(pair) for pair in times]
        words = f"{words} ({ends.recovery_words(times)})"
    example: dict[str, Any] = {}
    for problem, other in (
        (OTHER_START, ends.end_of(second, OTHER_START.base_log_policy)),
        (THREE_CORRECT, ends.end_of_more(third)),
    ):
        is_open = "undecided" in (other.kind, end.kind)
        details.append(f"from {_start(problem)}: {'the same' if other.kind == end.kind else other.words}")
        if other.kind == "undecided":
            details[-1] += f" ({other.evidence})"
        if other.kind != end.kind and not is_open:
            example = {"start": np.exp(problem.base_log_policy).tolist(), "ends": other.words}
    return Verdict("end", words, "; ".join(details), example, numbers)


def _start(problem: Problem) -> str:
    return f"{int(problem.correct.sum())} correct of p = {ends.shown(problem.base_log_policy)}"


def universality(flow: ExpectedFlow, outside: Outside | str | None) -> Verdict:
    """Whether the expected step is c_G(Q) p_i (r_i - Q) with one factor for all answers, and if so c_G on a grid.

    Source:   claims B4 and E1.
    """
    if isinstance(outside, str):
        return Verdict("class of B4", "undecided", outside)
    if outside is not None:
        policy, means = np.exp(outside.log_policy).tolist(), outside.advantages.tolist()
        example = {"policy": policy, "mean advantage of each answer": means}
        detail = "the step is not one factor times p_i (r_i - Q)"
        if outside.num_tokens is not None:
            example["num_tokens"] = list(outside.num_tokens)
            detail += " where answers differ in length"
        return Verdict("class of B4", "outside", detail, example)
    weights = list(motion.prompt_weights(flow))
    low, high = weights[0], weights[-1]
    detail = f"c_G(Q) goes from {low[1]:.4g} at Q = {low[0]:g} to {high[1]:.4g} at Q = {high[0]:g}"
    detail += f"; one factor at {motion.NUM_DRAWN + 1} policies, the start and random ones, and at other lengths"
    negative = [mass for mass, weight in weights if weight < 0]
    if negative:
        detail += f"; negative at Q = {', '.join(f'{mass:g}' for mass in negative)}"
    return Verdict("class of B4", "inside", detail, numbers={"prompt_weight": weights})


def noisy_verifier(flow: ExpectedFlow, end: End) -> Verdict:
    """Up to which false positive and which false negative rate, each alone, the end stays what it is.

    Source:   claim E4.
    """
    name = "noisy verifier"
    noisy = dataclasses.replace(flow, false_positive_rate=NOISE, false_negative_rate=NOISE)
    if end.kind in ("undecided", "still"):
        known = {"undecided": ("undecided", "the end without noise is not known")}
        return Verdict(name, *known.get(end.kind, ("not applicable", "nothing moves")))
    mixture = ends.mixture_from(noisy, flow.problem.base_log_policy)
    if mixture is None:
        shown_noise = f"at {NOISE:g} of both no mixture attracts"
    else:
        failure = ends.small(policies.log_partition(mixture[~flow.problem.is_correct]))
        shown_noise = f"at {NOISE:g} of both a mixture with 1 - Q = {failure} attracts"
    if end.kind == "mixture":
        return Verdict(name, "moves its mixture" if mixture is not None else "loses its mixture", shown_noise)
    if not ends.attracts(flow, end):
        return Verdict(name, "undecided", f"in groups of {flow.group_size} the end is another")
    rates = {words: ends.largest_noise(flow, end, is_false_positive=RATES[words]) for words in RATES}
    keeps = "keeps" if ends.attracts(noisy, end) else "loses"
    verdict = ", ".join(f"{_noise_words(rate)} {words}" for words, rate in rates.items())
    detail = f"largest rates, each alone, at which the end attracts; at {NOISE:g} of both it {keeps} it; {shown_noise}"
    return Verdict(name, f"keeps its end under {verdict}", detail, numbers=rates)


def _noise_words(rate: float) -> str:
    if rate < NO_NOISE:
        return "no"
    return "any rate of" if rate > ANY_NOISE else f"up to {100 * rate:.1f}%"
