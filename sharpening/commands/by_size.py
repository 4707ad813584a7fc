"""What RL did to models of four sizes, out of committed runs: the rows of the figure `by_size`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sharpening.llm.studies import analysis, protocol
from sharpening.storage import store

Row = Mapping[str, Any]
PASS, SLOPE, EXPECTED = "pass_at_k_difference", "sharpening_slope", "expected_slope"
METHODS = (protocol.PLAIN, protocol.DS, protocol.OURS)
CURVES = {"1.5B math500": "1.5B, MATH500", "7B aime24": "7B, AIME 2024", "7B math500": "7B, MATH500"}
CURVES |= {"7B minerva": "7B, Minerva", "7B olympiadbench": "7B, OlympiadBench"}


def rows(*, reference: str, runs: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """A row a model, method and measure: changes of pass@1 and of pass@k at the largest k, slopes, theory's slopes.

    Raises ValueError where a run is not there: outside a clone.
    """
    for what, rows_of in PARTS.items():
        folder = Path(reference) / runs[what]
        if store.verify_run(folder):
            raise ValueError(f"--only: 'by_size': {str(folder)!r} is not there: want the folder of a clone")
        yield from rows_of(store.read_rows(folder / "rows.csv"))


def _row(model: str, method: str, quantity: str, k: float, value: float, ends: Sequence[float] = ()) -> dict[str, Any]:
    low, high = ends or (np.nan, np.nan)
    return {
        "model": model,
        "method": method,
        "quantity": quantity,
        "k": int(k),
        "value": float(value),
        "low": float(low),
        "high": float(high),
        "has_interval": bool(ends),
    }


def _study(model: str, contestants: Sequence[str], found: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Runs of a comparison, each less its warm start; slopes on problems whose wrong answers are known."""
    steps = max(row["step"] for row in found if row["stage"] == "comparison")
    (matched,) = {row["at"] for row in found if row["quantity"] == "expected_slope"}
    largest = max(row["at"] for row in found if row["quantity"] == "pass_at_k")
    for name in contestants:
        for k in (1.0, largest):
            after, before = (analysis.values_of(found, "comparison", name, "pass_at_k", k, at) for at in (steps, 0))
            mean = analysis.interval(analysis.paired(after, before))
            yield _row(model, name, PASS, k, mean.value, (mean.low, mean.high))
        for quantity, ours in (("matched_slope", SLOPE), ("expected_slope", EXPECTED)):
            values = analysis.values_of(found, "comparison", name, quantity, matched, steps)
            mean = analysis.interval(np.array(list(values.values())))
            yield _row(model, name, ours, 0, mean.value, (mean.low, mean.high))


def _pretrained(found: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """SmolLM2-135M: the audit of its held-out questions before and after."""
    largest = max(row["at"] for row in found if row["quantity"] == PASS)
    wanted = ((PASS, 1), (PASS, largest), (SLOPE, 0), (EXPECTED, 0))
    for row in found:
        if (row["quantity"], row["at"]) in wanted:
            method = protocol.PLAIN if row["model"].startswith("plain") else protocol.DS
            ends = (row["low"], row["high"]) if row["has_interval"] else ()
            yield _row("135 million, names", method, row["quantity"], row["at"], row["value"], ends)


def _counts(found: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Counts of a public model of 1.5 billion weights."""
    changes = [row for row in found if row["quantity"] == PASS]
    for row in (changes[0], changes[-1]):
        yield _row("1.5B, four benchmarks", protocol.PLAIN, PASS, row["k"], row["value"], (row["low"], row["high"]))


def _curves(found: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Published curves of public models, without intervals."""
    for part, model in CURVES.items():
        before, after = (
            {row["k"]: row["value"] for row in found if (row["part"], row["law"], row["quantity"]) == (part, "", which)}
            for which in ("before", "after")
        )
        for k in (1, max(before.keys() & after.keys())):
            yield _row(model, protocol.PLAIN, PASS, k, after[k] - before[k])


PARTS: Mapping[str, Callable[[Sequence[Row]], Iterator[dict[str, Any]]]] = {
    "study": functools.partial(_study, "165 thousand, Countdown", METHODS),
    "taught": functools.partial(_study, "135 million, Countdown", METHODS),
    "pretrained": _pretrained,
    "counts": _counts,
    "curves": _curves,
}
