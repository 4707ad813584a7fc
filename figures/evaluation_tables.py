"""What `evaluate` prints: a summary of its rows, and what a dry run found. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

Row = Mapping[str, Any]


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
    return "\n".join(lines)


def _mean(rows: Sequence[Row], column: str) -> float:
    values = [float(row[column]) for row in rows if not isnan(row[column])]
    return sum(values) / len(values) if values else float("nan")


def plan(about: Mapping[str, Any], num_problems: int, settings: Mapping[str, Any]) -> str:
    """What a run would do."""
    lines = [f"{num_problems} problems, {settings['n']} samples each; nothing was sampled"]
    lines += [f"  {name}: {value}" for name, value in {**about, **settings}.items() if name != "ids"]
    return "\n".join(lines)
