"""What `evaluate` prints: a summary of its rows, and what a dry run found. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

Row = Mapping[str, Any]
LONGEST_SHOWN = 200  # characters of a completion


def summary(rows: Sequence[Row]) -> str:
    """Totals over the problems, in a few lines."""
    n, correct = sum(row["n"] for row in rows), sum(row["c"] for row in rows)
    drawn = n + sum(row["num_unscorable"] for row in rows)
    solved = sum(row["c"] > 0 for row in rows)
    lines = [
        f"{len(rows)} problems, {drawn} samples: {correct} correct ({correct / max(n, 1):.4f} of those scored); "
        f"{solved} problems solved at least once",
        f"well-formed {sum(row['num_well_formed'] for row in rows) / drawn:.4f}, cut off by --max-tokens "
        f"{sum(row['num_unfinished'] for row in rows) / drawn:.4f}, could not be scored "
        f"{(drawn - n) / drawn:.4f}",
        f"tokens {_mean(rows, 'mean_tokens'):.1f}, entropy {_mean(rows, 'mean_entropy'):.3f} nats a token, "
        f"log-probability {_mean(rows, 'mean_log_prob'):.2f} nats (means over samples)",
    ]
    if rows and "num_correct_unboxed" in rows[0]:
        unboxed = sum(row["num_correct_unboxed"] for row in rows)
        lines.append(f"lenient: {unboxed} of the correct have no box ({unboxed / max(correct, 1):.4f})")
    return "\n".join(lines)


def _mean(rows: Sequence[Row], column: str) -> float:
    values = [float(row[column]) for row in rows if not isnan(row[column])]
    return sum(values) / len(values) if values else float("nan")


def plan(about: Mapping[str, Any], num_problems: int, settings: Mapping[str, Any]) -> str:
    """What a run would do."""
    lines = [f"{num_problems} problems, {settings['n']} samples each"]
    return "\n".join([*lines, *(f"  {name}: {value}" for name, value in {**about, **settings}.items())])


def tried(row: Row) -> str:
    """The one completion that a dry run draws."""
    mark = "could not be scored" if row["correct"] is None else "correct" if row["correct"] else "not correct"
    text = row["completion"]
    return (
        f"one completion of {row['problem']!r}: {text[:LONGEST_SHOWN]!r}{'...' * (len(text) > LONGEST_SHOWN)}\n"
        f"  {row['num_tokens']} tokens, log-probability {row['log_prob']:.2f} nats, {mark}"
        f"{f' ({reason})' if (reason := row['reason']) else ''}; nothing was kept"
    )


def columns_report(found: Mapping[str, Any]) -> str:
    """The columns that are expected, those that a file has, and its first row."""
    expected, first = found["expected"], found["first_row"]
    lines = [f"{found['num_rows']} rows; expected columns:"]
    for what, name in expected.items():
        lines.append(f"  {what} in {name!r}: {'MISSING' if name in found['missing'] else 'found'}")
    lines.append("found columns, with the first row:")
    return "\n".join([*lines, *(f"  {name}: {first[name]}" for name in found["found"])])


def preset_report(hub_name: str, config: str | None, split: str, expected: Mapping[str, str]) -> str:
    """Where a published set is said to be, and under which columns."""
    where = f"{hub_name}, {f'config {config}, ' if config else ''}split {split}"
    columns = ", ".join(f"{what} in {name!r}" for what, name in expected.items())
    return f"not tried here: {where}; expected columns: {columns}"
