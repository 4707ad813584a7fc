"""Tables of the contests of tuned methods, in Markdown. Strings from plain data, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Row = Mapping[str, Any]
NAMES = {"rarity_maxrl": "rarity, difficulty 1", "rarity, no difficulty": "rarity, difficulty 0"}
WORDS = {
    "correctness": "Q at the end",
    "answers": "answers at the end",
    "answers_at_90": "answers at Q = .9",
    "answers_at_99": "answers at Q = .99",
    "pass_at_1": "pass@1",
    "pass_at_8": "pass@8",
}


def standings_markdown(standings: Sequence[Row]) -> str:
    """A table an instance: each contestant's setting, its fresh runs, and the paired difference to DS."""
    blocks = []
    for instance in dict.fromkeys(one["instance"] for one in standings):
        own = [one for one in standings if one["instance"] == instance]
        names = list(own[0]["means"])
        head = f"| {instance} | strength, rate | {' | '.join(WORDS[name] for name in names)} |\n"
        lines = [head, f"|{'---|' * (len(names) + 2)}\n"]
        for one in own:
            strength = f"{one['strength']:.2g}, " if one["strength"] else ""
            setting = f"{strength}{one['learning_rate']:.2g}{' (edge)' if one['at_edge'] else ''}"
            cells = [_measured(one, name) for name in names]
            lines.append(f"| {NAMES.get(one['contestant'], one['contestant'])} | {setting} | {' | '.join(cells)} |\n")
        blocks.append("".join(lines))
    return "\n".join(blocks)


def measure_markdown(standings: Sequence[Row], measure: str) -> str:
    """A line a contestant: one measure on every instance, and the paired difference to DS."""
    cells = {(one["contestant"], one["instance"]): _measured(one, measure) for one in standings}
    contestants, instances = (list(dict.fromkeys(names)) for names in zip(*cells, strict=True))
    lines = [f"| {WORDS[measure]} | {' | '.join(instances)} |\n", f"|{'---|' * (len(instances) + 1)}\n"]
    for name in contestants:
        found = " | ".join(cells[name, instance] for instance in instances)
        lines.append(f"| {NAMES.get(name, name)} | {found} |\n")
    return "".join(lines)


def _measured(one: Row, measure: str) -> str:
    """The mean over the runs that have the measure, and the paired difference to DS."""
    number, mean, over = one["num_runs"][measure], one["means"][measure], one["over_ds"].get(measure)
    if not number:
        return "not reached"
    words = f"{mean:.4g} in {number} runs" if number < max(one["num_runs"].values()) else f"{mean:.4g}"
    return words if over is None else f"{words} ({over[0]:+.2g} ± {over[1]:.2g})"


def strengths_markdown(found: Sequence[Row]) -> str:
    """A line a strength: on each instance Q at the end and the answers at Q = .99 at the best learning rate."""
    instances = list(dict.fromkeys(one["instance"] for one in found))
    places = {one["instance"]: one["plain"] for one in found}
    lines = [f"| strength | {' | '.join(instances)} |\n", f"|{'---|' * (len(instances) + 1)}\n"]
    lines.append(f"| plain RL | {' | '.join(_pair(places[name]) for name in instances)} |\n")
    for strength in sorted({one["strength"] for one in found}):
        own = {one["instance"]: one["own"] for one in found if one["strength"] == strength}
        cells = [_pair(own[name]) if name in own else "-" for name in instances]
        lines.append(f"| {strength:.2g} | {' | '.join(cells)} |\n")
    return "".join(lines)


def motions_markdown(rows: Sequence[Row]) -> str:
    """A line a method and strength: shares of policies, and sharpening for a unit of logit Q."""
    lines = [
        "| method | strength | sharpens at | lowers Q at | nats of sharpening a logit of Q |\n|---|---|---|---|---|\n"
    ]
    for row in rows:
        shares = f"{row['sharpens']:.0%} | {row['lowers_correctness']:.0%} | {row['sharpening_per_logit']:.2f}"
        lines.append(f"| {row['method']} | {row['strength']:g} | {shares} |\n")
    return "".join(lines)


def _pair(row: Row) -> str:
    answers = row["answers_at_99"]
    return f"{row['correctness']:.4f}, {answers:.1f}" if isfinite(answers) else f"{row['correctness']:.4f}, not reached"
