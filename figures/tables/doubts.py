"""What stands at the top of an audit where its numbers say less than they seem to. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.theory import select

Row = Mapping[str, Any]
LARGEST_SHARE = 0.1  # of a model's probability that is not listed, of samples that are left out


def of_audit(rows: Sequence[Row]) -> list[str]:
    """A line for each model whose answers are listed in part only, or whose samples were compared in part only."""
    found = []
    for row in select(rows, quantity="unlisted_mass"):
        if row["value"] > LARGEST_SHARE:
            found.append(
                f"WARNING: {row['model']} gives {row['value']:.3f} of its probability to completions that are not "
                "listed, other spellings of answers among them: its Q and pass@k may be higher"
            )
    for row in select(rows, quantity="share_left_out"):
        if row["value"] > LARGEST_SHARE:
            found.append(
                f"WARNING: {row['value']:.1%} of the samples are left out of the comparison with {row['model']}: their "
                "tokens are not those of every model, or not those that were written; the rest is no fair draw"
            )
    return found
