"""Text of the bandit experiments: the list, and one verdict a line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
WIDTH = 118
VERDICT_HEADER = (
    f"{'experiment':<24} {'verdict':<12} {'findings':>8}  {'closest to failing':<40} {'observed':>10} {'+-':>8} "
    f"{'predicted':>10} {'rival':>10} {'seconds':>7}"
)


def verdict_line(findings: Sequence[Row], seconds: float) -> str:
    """One line for an experiment: its verdict, and the finding that used up most of its margin."""
    worst = max(findings, key=_used)
    numbers = " ".join(f"{worst[name]:>{width}.4g}" for name, width in COLUMNS.items())
    return (
        f"{worst['experiment']:<24} {worst['verdict']:<12} {len(findings):>8}  {worst['label'][:40]:<40} {numbers} "
        f"{seconds:>7.1f}"
    )


COLUMNS = {"observed": 10, "standard_error": 8, "predicted": 10, "rival": 10}


def _used(finding: Row) -> tuple[bool, float]:
    """Whether a finding does not agree, and the share of its margin between observation and prediction."""
    margin = 5 * finding["standard_error"] + finding["allowed"]
    distance = abs(finding["observed"] - finding["predicted"])
    return finding["status"] != "agrees", distance / margin if margin else float(distance > 0)


def closing_line(verdicts: Sequence[str]) -> str:
    """How many experiments agree, differ and are not resolved."""
    counts = {word: verdicts.count(word) for word in ("agrees", "differs", "not resolved")}
    return (
        f"{counts['agrees']} of {len(verdicts)} experiments agree with the theory, {counts['differs']} differ, "
        f"{counts['not resolved']} are not resolved at this preset"
    )


def answer(survey: str, question: str, sentences: Sequence[str], seconds: float) -> str:
    """A survey's question and what its rows say."""
    lines = [f"{survey} ({seconds:.1f} s): {question}"]
    for sentence in sentences:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join(lines)


def listing(entries: Sequence[Row]) -> str:
    """Id, question and, for an experiment, its claims, prediction and rival."""
    blocks = []
    for entry in entries:
        claims = f" ({', '.join(entry['claims'])})" if "claims" in entry else ""
        lines = [f"{entry['id']}{claims}: {entry['question']}"]
        if "rival" in entry:
            lines += [f"  predicted: {entry['prediction']}", f"  rival:     {entry['rival']}"]
        blocks.append("\n".join(lines))
    return "\n".join(blocks)
