"""Tables of a study of tuned methods on a small language model. Strings from plain data, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import mean, stdev
from typing import Any

from sharpening.figures.drawing.studies import AGAIN
from sharpening.figures.tables import text

Row = Mapping[str, Any]
COLUMNS = (  # quantity, k or whether its number of problems is left open, heading
    ("pass_at_k", 1, "pass@1"),
    ("pass_at_k", 8, "pass@8"),
    ("pass_at_k", 64, "pass@64"),
    ("pass_at_k", 256, "pass@256"),
    ("effective_answers", 0, "answers"),
    ("slope", None, "slope"),
    ("matched_slope", None, "slope where Q rose"),
    ("expected_slope", None, "plain RL alone there"),
)
TUNED = tuple(one for one in COLUMNS if one[0] not in ("matched_slope", "expected_slope") and one[1] != 256)
FRONTIER = (("pass_at_k", 8, "pass@8"), ("pass_at_k", 64, "pass@64"), ("effective_answers", 0, "answers"))
PLAINLY = {
    "": "before training",
    "plain": "plain RL",
    "ds": "DS",
    "ds centred": "DS, bonus centred",
    "rarity_maxrl": "`rarity_maxrl`, ours",
    "maxrl": "MaxRL",
    "ips": "IPS",
    "pkpo": "PKPO",
    "rarity, no difficulty": "`rarity_maxrl`, difficulty 0",
}
SHARES = (0.5, 0.75, 0.9)  # of the most that plain RL gained in pass@1
OTHERS = "Other methods, as published, once from every warm start: a look, no ranking"
MEASURES = {"pass_at_k 8": "pass@8", "effective_answers 0": "correct answers alive"}
WORDS = {
    "wins": "wins: more pass@64, and pass@1 not lower by more than .02",
    "loses": "loses: less pass@64, or pass@1 lower by more than .02",
    "undecided": "undecided",
}


def plan(costs: Sequence[Row], preset: str, width: int) -> str:
    """What is about to run and what it costs."""
    lines = [
        (one["stage"], str(one["num_runs"]), f"{one['core_seconds'] / 60:.0f}") for one in costs if one["num_runs"]
    ]
    total = sum(one["core_seconds"] for one in costs) / 3600
    heading = f"Study {preset}: at most {sum(one['num_runs'] for one in costs)} runs, about {total:.1f} core hours"
    return text.section(heading, [text.table(("stage", "runs at most", "core minutes"), lines, width)], width) + "\n"


def report(
    rows: Sequence[Row], found: Sequence[Row], outcomes: Sequence[Row], predictions: Sequence[Row], width: int
) -> str:
    """Who won, the table of the comparison with intervals, what theory predicts, and the settings that were chosen."""
    parts = [text.section("Outcome", told(found, outcomes, width), width)] if outcomes else []
    others = names_of(rows, "others")
    compared = [row for row in found if row["contestant"] not in others]
    for heading, some in (
        ("After training, 95% intervals over runs", compared),
        (OTHERS, [row for row in found if row["contestant"] in others]),
    ):
        if some:
            parts.append(text.section(heading, [_standings(some, width)], width))
    if predictions:
        parts.append(text.section("Theory against these runs", [_predictions(predictions, width)], width))
    if settings := chosen(rows):
        lines = [(one["contestant"], _shown(one["strength"]), f"{one['learning_rate']:.2g}") for one in settings]
        table = text.table(("method", "strength", "learning rate"), lines, width)
        parts.append(text.section("Settings compared", [table], width))
    if tried := [row for row in rows if row["stage"] == "setting"]:
        head, *settings_tried = _settings(tried)
        table = text.table(head, settings_tried, width)
        parts.append(text.section("Plain RL by setting, validation problems", [table], width))
    return "\n\n".join(parts)


def told(found: Sequence[Row], outcomes: Sequence[Row], width: int) -> list[str]:
    """A sentence an outcome."""
    sentences = []
    for one in outcomes:
        if ": " in one["against"]:
            against, measure = one["against"].split(": ")
            sentences.append(f"{one['contestant']} against {against}, {MEASURES[measure]}: {one['outcome']} (Holm)")
            continue
        differences = {
            row["at"]: text.estimate(row["value"], row["low"], row["high"], "+")
            for row in found
            if (row["contestant"], row["against"], row["quantity"]) == (one["contestant"], one["against"], "pass_at_k")
        }
        sentences.append(
            f"{one['contestant']} against {one['against']} {WORDS[one['outcome']]}; pass@1 {differences[1]}, "
            f"pass@8 {differences[8]}, pass@64 {differences[64]}"
        )
    return text.notes(sentences, width)


def names_of(rows: Sequence[Row], stage: str) -> list[str]:
    """The contestants of a stage."""
    return list(dict.fromkeys(row["contestant"] for row in rows if row["stage"] == stage))


def chosen(rows: Sequence[Row]) -> list[Row]:
    """One row a contestant of the comparison."""
    first: dict[str, Row] = {}
    for row in rows:
        if row["stage"] == "comparison":
            first.setdefault(row["contestant"], row)
    return list(first.values())


def standings_markdown(rows: Sequence[Row], found: Sequence[Row]) -> str:
    """The table of the comparison in Markdown: setting, means with half-widths, runs."""
    settings = {one["contestant"]: one for one in chosen(rows)}
    head = f"| method | strength, rate | {' | '.join(heading for *_, heading in COLUMNS)} | runs |\n"
    lines = [head, f"|{'---|' * (len(COLUMNS) + 3)}\n"]
    for name in ["", *settings]:
        setting = "before training"
        if name:
            strength = f"{settings[name]['strength']:.3g}, " if settings[name]["strength"] else ""
            setting = f"{strength}{settings[name]['learning_rate']:.2g}"
        cells = [_one(found, name, quantity, at) for quantity, at, _ in COLUMNS]
        shown = [_half(row) if row else "" for row in cells]
        number = next(row["num_runs"] for row in cells if row)
        lines.append(f"| {name or 'base'} | {setting} | {' | '.join(shown)} | {number} |\n")
    return "".join(lines)


def others_markdown(found: Sequence[Row], told: Mapping[str, tuple[float, float | None]]) -> str:
    """Of the methods that were run once from every warm start: means, how far they sharpen, and what theory foresees.

    The last two, of each method, are on the way to its own correctness and over plain RL's; None where theory says
    nothing.
    """
    heads = [heading for *_, heading in TUNED]
    lines = [
        f"| method | {' | '.join(heads)} | sharpens, times plain RL | foreseen |\n",
        f"|{'---|' * (len(heads) + 3)}\n",
    ]
    for name, (sharpens, foreseen) in told.items():
        cells = [_one(found, name, quantity, at) for quantity, at, _ in TUNED]
        shown = [_half(row) if row else "" for row in cells] + [text.number(sharpens)]
        lines.append(f"| {name} | {' | '.join(shown)} | {'-' if foreseen is None else text.number(foreseen)} |\n")
    return "".join(lines)


def short_markdown(rows: Sequence[Row], found: Sequence[Row]) -> str:
    """Mean pass@1, 8 and 64 before training and after it by every tuned contestant with its own runs, in Markdown."""
    names = ["", *(name for name in names_of(rows, "comparison") if name != AGAIN)]
    chosen_columns = COLUMNS[:3]
    lines = [f"| method, tuned | {' | '.join(heading for *_, heading in chosen_columns)} |\n", "|---|---|---|---|\n"]
    for name in names:
        means = [_one(found, name, quantity, at) for quantity, at, _ in chosen_columns]
        cells = [text.number(row["value"]) for row in means if row]
        lines.append(f"| {PLAINLY.get(name, name)} | {' | '.join(cells)} |\n")
    return "".join(lines)


def predictions_markdown(predictions: Sequence[Row]) -> str:
    """Theory against the runs in Markdown."""
    head = "| claim | prediction | region | measured | verdict |\n|---|---|---|---|---|\n"
    return head + "".join(f"| {' | '.join(_prediction(row))} |\n" for row in predictions)


def _predictions(predictions: Sequence[Row], width: int) -> str:
    cells = [_prediction(row) for row in predictions]
    table = text.table(("claim", "region", "measured", "verdict"), [[one[0], *one[2:]] for one in cells], width)
    return "\n".join([table, *text.notes([f"{claim}: {says}" for claim, says, *_ in cells], width)])


def _prediction(row: Row) -> tuple[str, str, str, str, str]:
    low, high = row["at_least"], row["at_most"]
    region = f"{low:g} to {high:g}" if isfinite(low) and isfinite(high) else ("above 0" if low == 0 else "below 0")
    measured = text.estimate(row["value"], row["low"], row["high"])
    return row["claim"], row["prediction"], region, measured, row["verdict"]


def _half(row: Row) -> str:
    is_count = row["quantity"] == "effective_answers"
    shown, half = (f"{one:.1f}" if is_count else text.number(one) for one in (row["value"], row["value"] - row["low"]))
    return f"{shown} ± {half}" if isfinite(row["low"]) else shown


def _one(found: Sequence[Row], name: str, quantity: str, at: float | None) -> Row | None:
    against = "" if name else "before"
    fitting = [
        row
        for row in found
        if (row["contestant"], row["against"], row["quantity"]) == (name, against, quantity)
        and (at is None or row["at"] == at)
    ]
    return min(fitting, key=lambda row: float(row["at"]), default=None)  # of slopes the one beside the expected one


def _standings(found: Sequence[Row], width: int) -> str:
    names = list(dict.fromkeys(row["contestant"] for row in found))
    lines = []
    for name in names:
        cells = [_one(found, name, quantity, at) for quantity, at, _ in COLUMNS]
        lines.append([name or "before", *("-" if row is None else _half(row) for row in cells)])
    return text.table(("method", *(heading for *_, heading in COLUMNS)), lines, width)


def settings_markdown(rows: Sequence[Row]) -> str:
    """Plain RL by setting, in Markdown."""
    head, *lines = _settings([row for row in rows if row["stage"] == "setting"])
    return "".join(f"| {' | '.join(line)} |\n" for line in [head, ["---"] * len(head), *lines])


def tuning_markdown(rows: Sequence[Row]) -> str:
    """All settings that were tried in tuning, in Markdown: means over their runs on validation problems.

    Those of plain RL by another rule are plain RL's.
    """
    heads = [heading for *_, heading in TUNED]
    lines = [f"| method | strength | learning rate | runs | {' | '.join(heads)} |\n", f"|{'---|' * (4 + len(heads))}\n"]
    tried = [row for row in rows if row["stage"] == "tuning" and row["step"] == row["num_steps"]]
    tried = [row for row in tried if row["contestant"] != AGAIN]
    keys = dict.fromkeys((row["contestant"], row["strength"], row["learning_rate"]) for row in tried)
    for key in sorted(keys, key=lambda key: (list(dict.fromkeys(name for name, *_ in keys)).index(key[0]), *key[1:])):
        own = [row for row in tried if (row["contestant"], row["strength"], row["learning_rate"]) == key]
        values = [
            [row["value"] for row in own if row["quantity"] == quantity and at in (None, row["at"])]
            for quantity, at, _ in TUNED
        ]
        shown = [f"{mean(one):.1f}" if mean(one) >= 2 else text.number(mean(one)) for one in values]
        cells = (key[0], _shown(key[1]), f"{key[2]:.2g}", str(len(values[0])), *shown)
        lines.append(f"| {' | '.join(cells)} |\n")
    return "".join(lines)


def frontier_markdown(rows: Sequence[Row]) -> str:
    """The most that each method's settings have of a measure, among those with some share of plain RL's gain in pass@1.

    In Markdown, of first runs on validation problems.
    """
    tried = [row for row in rows if row["stage"] == "tuning"]
    first = [row for row in tried if row["seed"] == min(one["seed"] for one in tried)]
    found: dict[str, dict[tuple[float, float], dict[tuple[str, float], float]]] = {}
    for row in first:
        if row["step"] == row["num_steps"]:
            setting = found.setdefault(row["contestant"], {}).setdefault((row["strength"], row["learning_rate"]), {})
            setting[row["quantity"], row["at"]] = row["value"]
    measures = [(quantity, at) for quantity, at, _ in FRONTIER]
    start = {(row["quantity"], row["at"]): row["value"] for row in first if row["step"] == 0}
    gain = max(one["pass_at_k", 1] for one in found["plain"].values()) - start["pass_at_k", 1]
    heads = [f"{heading} at {share:.0%}" for *_, heading in FRONTIER for share in SHARES]
    lines = [f"| method | settings | {' | '.join(heads)} |\n", f"|{'---|' * (2 + len(heads))}\n"]
    found.pop(AGAIN, None)
    for name, settings in found.items():
        cells = []
        for measure in measures:
            for share in SHARES:
                least = start["pass_at_k", 1] + share * gain
                kept = [one[measure] for one in settings.values() if one["pass_at_k", 1] >= least]
                most = max(kept, default=None)
                cells.append("-" if most is None else f"{most:.1f}" if most >= 2 else text.number(most))
        lines.append(f"| {name} | {len(settings)} | {' | '.join(cells)} |\n")
    return "".join(lines)


def _settings(tried: Sequence[Row]) -> list[list[str]]:
    """A heading and a line a setting of plain RL: means over seeds, how far runs are apart, and what a run costs."""
    keys = ("prompts_per_step", "group_size", "num_steps", "schedule", "learning_rate")
    lines = [
        ["prompts x group x updates", "learning rate", "completions", "pass@1 (sd)", "pass@8", "pass@64", "answers"]
    ]
    for key in dict.fromkeys(tuple(row[name] for name in keys) for row in tried):
        own = [row for row in tried if tuple(row[name] for name in keys) == key and row["step"] == row["num_steps"]]
        of = {
            (quantity, at): [row["value"] for row in own if (row["quantity"], row["at"]) == (quantity, at)]
            for quantity, at, _ in COLUMNS
        }
        first, *rest = (of["pass_at_k", k] for k in (1, 8, 64))
        spread = f" ({text.number(stdev(first))})" if len(first) > 1 else ""
        prompts, group, steps, schedule, rate = key
        size = f"{prompts} x {group} x {steps}"
        how = f"{rate:.2g}, {'constant' if schedule.startswith('constant') else 'falling'}"
        cells = [text.number(mean(first)) + spread, *(text.number(mean(one)) for one in rest)]
        lines.append([size, how, f"{prompts * group * steps:,}", *cells, f"{mean(of['effective_answers', 0]):.1f}"])
    return lines


def _shown(strength: float) -> str:
    return f"{strength:.3g}" if strength else "-"
