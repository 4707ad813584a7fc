"""The verdicts of `samples` and `audit` in words: a sentence or two a model, from verdicts as plain rows. No files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf, isfinite
from typing import Any

from sharpening.figures.tables.text import estimate, number

Row = Mapping[str, Any]
Labels = Mapping[str, str]
CHANGED, DIFFERS = ("fell", "rose", "no change of"), ("is lower", "is higher", "no difference in")
MEANINGS = {
    "sharpened": "lost with many samples a problem what it did not lose with few",
    "smoothed": "lost with few samples a problem and gained with many",
    "mitigated": "better than the other where that one lost, and nowhere worse",
}
OF_SLOPES = {
    "sharpened": "likely correct answers gained more than rare ones, so that they drew apart",
    "mitigated": "they drew apart less than under the other",
}
NOISE = (
    " Smoothing does this, and so does noise (regression to the mean): it is smoothing if the two models in the other "
    "order have a slope above 0."
)


def sentences(verdicts: Iterable[Row], label: Labels) -> list[str]:
    """What training did to each model, and whose loss it mitigated, with the changes that show it."""
    return [" ".join([_outcome(verdict, label), *_mitigations(verdict, label)]) for verdict in verdicts]


def with_mitigations(verdicts: Iterable[Row]) -> list[Row]:
    """All that have a change at a small and at a large k: the verdicts, and those against other trained models."""
    return [part for verdict in verdicts for part in (verdict, *verdict["mitigates"])]


def meanings(verdicts: Sequence[Row], told: Sequence[str]) -> str:
    """What the words of these sentences mean."""
    meant = OF_SLOPES if verdicts[0]["quantity"] == "sharpening_slope" else MEANINGS
    said = [f"{word}: {meaning}" for word, meaning in meant.items() if word in " ".join(told)]
    bounds = "95% band, which holds at all k at once" if verdicts[0]["is_simultaneous"] else "95% interval"
    return f"{'; '.join([*said, f'[ ]: {bounds}'])}."


def _outcome(verdict: Row, label: Labels) -> str:
    model, small, large = label[verdict["model"]], verdict["small"], verdict["large"]
    if verdict["quantity"] == "sharpening_slope":
        return _of_the_slope(verdict, model)
    against = f"against {label[verdict['base']]}"
    both = f"{against} {_ends(small, large, CHANGED)}"
    if verdict["outcome"] == "sharpened":
        return f"{model} sharpened: {both}{_first_loss(verdict)}."
    if verdict["outcome"] == "smoothed":
        return f"{model} smoothed, the opposite of sharpening: {both}."
    if verdict["outcome"] == "worse":
        kind = "by sharpening or as a weaker model"
        if small["high"] < 0:
            kind = "a weaker model, and no sharpening" if large["k"] > small["k"] else "of other k nothing is known"
        return f"{model} is worse: {both}; {kind}."
    if verdict["outcome"] == "improved":
        is_shown = small["low"] > 0 and large["low"] > 0
        return f"{model} improved: {both}{'' if is_shown else ', and a loss as large as the gain is excluded'}."
    opening = f"Whether {model} sharpened is not resolved"
    if not isfinite(small["low"]):
        return f"{opening}: one problem in common gives no interval ({both})."
    if not verdict["better_at"]:
        return f"{opening}: {both}. That does not show that the two are equal."
    if small["k"] == large["k"]:
        return f"{opening}: {both}, and of other k nothing is known."
    pattern = "sharpening" if large["k"] > small["k"] else "the opposite of sharpening"
    return (
        f"{opening}: {against} {_changed(small, CHANGED)}, but at k = {large['k']} a loss of up to "
        f"{number(-large['low'])} fits too ({_shown(large)}), so {pattern} is neither shown nor excluded."
    )


def _first_loss(verdict: Row) -> str:
    """Where the loss begins, if that is known and not at once."""
    low, high = verdict["first_loss"] or (1, 1)
    return f"; the loss begins at a k in [{low:.0f}, {high:.0f}]" if 1 < high < inf else ""


def _mitigations(verdict: Row, label: Labels) -> Iterator[str]:
    """How a model compares with each that sharpened more."""
    also = ", and did not prevent it" if verdict["outcome"] == "sharpened" else ""
    for one in verdict["mitigates"]:
        other, large = label[one["other"]], one["large"]
        if verdict["quantity"] == "sharpening_slope":
            ends = f"the slope is lower by {estimate(-large['value'], -large['high'], -large['low'])}"
        else:
            ends = _ends(one["small"], large, DIFFERS)
        opening = f"It mitigated the sharpening of {other}{also}"
        if one["has_price"]:
            opening = f"It sharpened less than {other} at a price"
        yield f"{opening}: against {other} {ends}."


def _ends(small: Row, large: Row, words: Sequence[str]) -> str:
    """The changes at two k's, one that is resolved before one that is not."""
    ends = [small, large] if small["k"] != large["k"] else [small]
    changes = sorted(ends, key=lambda change: not _is_resolved(change))
    return " and ".join(_changed(change, words) for change in changes)


def _changed(change: Row, words: Sequence[str]) -> str:
    if _is_resolved(change):
        return f"pass@{change['k']} {words[change['low'] > 0]} ({_shown(change)})"
    return f"{words[2]} pass@{change['k']} is resolved ({_shown(change)})"


def _is_resolved(change: Row) -> bool:
    return bool(change["low"] > 0 or change["high"] < 0)


def _shown(change: Row) -> str:
    return estimate(change["value"], change["low"], change["high"], "+")


def _of_the_slope(verdict: Row, model: str) -> str:
    slope = verdict["small"]
    if verdict["outcome"] == "sharpened":
        return f"{model} sharpened: {slope_in_words(_shown(slope))}."
    opening = f"Whether {model} sharpened is not resolved"
    if not isfinite(slope["low"]):
        return f"{opening}: too few problems have correct answers of different probability."
    return f"{opening}: {slope_in_words(_shown(slope))}.{NOISE if slope['high'] < 0 else ''}"


def slope_in_words(shown: str) -> str:
    """What the sharpening slope says, with its value."""
    return f"of two correct answers to a problem the likelier gained {shown} nats for each nat that it was ahead"
