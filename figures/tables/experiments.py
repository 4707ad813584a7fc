"""Text of the bandit experiments: the list, and one verdict a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sharpening.figures.tables.text import INDENT, paragraph, section

Row = Mapping[str, Any]
COLUMNS = {"observed": 10, "standard_error": 9, "predicted": 10, "rival": 10}
LABEL = 40  # characters of a finding's label beside its numbers
ONE_LINE = 140  # width from which on the label stands there, and not below


def verdict_header(width: int) -> str:
    """The header above the lines of `verdict_line`."""
    if width < ONE_LINE:
        return f"{'experiment':<24} {'verdict':<12} {'findings':>8} {'seconds':>7}"
    numbers = " ".join(f"{'+-' if name == 'standard_error' else name:>{size}}" for name, size in COLUMNS.items())
    return (
        f"{'experiment':<24} {'verdict':<12} {'findings':>8} {'seconds':>7}  {'closest to failing':<{LABEL}} {numbers}"
    )


def verdict_line(findings: Sequence[Row], seconds: float, width: int) -> str:
    """An experiment: its verdict, and the finding that used up most of its margin, below it where it is narrow."""
    worst = max(findings, key=_used)
    line = f"{worst['experiment']:<24} {worst['verdict']:<12} {len(findings):>8} {seconds:>7.1f}"
    if width >= ONE_LINE:
        numbers = " ".join(f"{worst[name]:>{size}.4g}" for name, size in COLUMNS.items())
        return f"{line}  {worst['label'][:LABEL]:<{LABEL}} {numbers}"
    closest = (
        f"closest to failing: {worst['label']}: observed {worst['observed']:.4g} +- {worst['standard_error']:.2g}, "
        f"predicted {worst['predicted']:.4g}, rival {worst['rival']:.4g}"
    )
    return f"{line}\n{paragraph(closest, width, first=INDENT * 2, later=INDENT * 3)}"


def _used(finding: Row) -> tuple[bool, float]:
    """Whether a finding does not agree, and the share of its margin between observation and prediction."""
    margin = 5 * finding["standard_error"] + finding["allowed"]
    distance = abs(finding["observed"] - finding["predicted"])
    return finding["status"] != "agrees", distance / margin if margin else float(distance > 0)


VERDICTS = ("agrees", "differs", "not resolved")
LARGER = {"smoke": "laptop", "laptop": "full"}  # presets with more runs


def closing_line(verdicts: Mapping[str, str], preset: str, width: int) -> str:
    """How many experiments agree, differ and are not resolved, and what the last means; `verdicts` by experiment."""
    found = {word: [name for name, one in verdicts.items() if one == word] for word in VERDICTS}
    told = [
        f"{len(found['agrees'])} of {len(verdicts)} experiments agree with the theory",
        f"{len(found['differs'])} differ" + (f" ({', '.join(found['differs'])})" if found["differs"] else ""),
    ]
    if unresolved := found["not resolved"]:
        told.append(
            f"{len(unresolved)} are not resolved ({', '.join(unresolved)}): what was observed is where the theory has "
            f"it, within the margin, but preset {preset} has too few runs to be precise or to reject the rival"
        )
    more = f"; --preset {LARGER[preset]} has more" if unresolved and preset in LARGER else ""
    return paragraph(f"{', '.join(told)}{more}.", width, first="", later="")


def answer(survey: str, question: str, sentences: Sequence[str], seconds: float, width: int) -> str:
    """A survey's question and what its rows say."""
    told = [paragraph(sentence, width, later=INDENT * 2) for sentence in sentences]
    return section(f"{survey} ({seconds:.1f} s): {question}", told, width)


def listing(entries: Sequence[Row], width: int) -> str:
    """Id, question and, for an experiment, its claims, prediction and rival."""
    blocks = []
    for entry in entries:
        claims = f" ({', '.join(entry['claims'])})" if "claims" in entry else ""
        told = (f"predicted: {entry['prediction']}", f"rival:     {entry['rival']}") if "rival" in entry else ()
        lines = [paragraph(line, width, later=" " * 13) for line in told]
        blocks.append(section(f"{entry['id']}{claims}: {entry['question']}", lines, width))
    return "\n".join(blocks)
