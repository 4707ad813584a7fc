"""What `audit --transfer` prints: the verdict on shared parameters, and predicted and measured slopes. No files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.theory import select
from sharpening.figures.tables.text import cell, notes, section, table

Row = Mapping[str, Any]
SETS = {"": "held out", "_in_training": "trained on"}  # problems, by the suffix of a quantity
PREDICTED = {
    "slope_per_nat_tabular": "single prompts, a table each",
    "slope_per_nat_own": "single prompts, these weights",
    "transfer_slope": "transfer of the slope, tau_S",
    "transfer_logit": "transfer of log-odds, tau_Q",
    "slope_per_nat_shared": "all prompts together",
    "shared_over_tabular": "that over the first line",
}
SCALES = {  # the prediction of shared parameters, then those of single prompts, each taken from the measured slope
    "per nat of log-odds": ("slope_less_shared", "slope_less_tabular", "slope_less_own"),
    "over that of prompts alone (*)": ("slope_less_matched_shared", "slope_less_matched"),
}
MEASURED = {
    "logit_rise": "{}: rise of log-odds (nats)",
    "slope_per_nat_measured": "{}: slope per nat of it",
    "slope_over_matched": "{}: slope over that of prompts alone (*)",
}
MEANING = (
    "Predictions are exact gradients of the first model: the slope of gain on start that comes with each nat of mean "
    "log-odds of correctness, if each prompt were moved alone, and if the step is the mean over the training prompts. "
    "tau is what another prompt's step does, over what the own does. 'Agrees' needs the single prompts to be rejected. "
    "Intervals are over problems: another seed of training is not in them."
)


def transfer_section(rows: Sequence[Row], label: Mapping[str, str], width: int) -> str:
    """The section, empty without rows of --transfer; `label` has the short name of every model, the first one first."""
    first, *others = label
    if not select(rows, model=first, quantity="transfer_slope"):
        return ""
    lines = [(first, quantity, text) for quantity, text in PREDICTED.items()]
    lines += [(name, quantity, text.format(label[name])) for name in others for quantity, text in MEASURED.items()]
    body = [
        [text, *(cell(select(rows, model=name, quantity=quantity + suffix)) for suffix in SETS)]
        for name, quantity, text in lines
    ]
    told = [sentence for name in others for sentence in _sentences(rows, name, label[name])]
    above = [*notes(told, width), ""] if told else []
    parts = [*above, table(["", *SETS.values()], body, width), *notes([MEANING], width)]
    return section("SHARED PARAMETERS: SLOPE PER NAT OF LOG-ODDS", parts, width)


def _sentences(rows: Sequence[Row], name: str, label: str) -> Iterator[str]:
    for scale, (shared, *single) in SCALES.items():
        found = [row for one in (shared, *single) for row in select(rows, model=name, quantity=one)]
        yield f"{label}, slope {scale}: {outcome(found)}."


def outcome(differences: Sequence[Row]) -> str:
    """What the measured slope less that of shared parameters, and less those of single prompts, says in words."""
    shared, *single = differences
    if not all(row["has_interval"] for row in differences):
        return "not resolved, too few problems"
    if not shared["low"] <= 0 <= shared["high"]:
        return f"differs, {'above' if shared['low'] > 0 else 'below'} what shared parameters predict to first order"
    if any(row["low"] <= 0 <= row["high"] for row in single):
        return "not resolved, single prompts are not rejected"
    return "agrees with shared parameters, and single prompts are rejected"
