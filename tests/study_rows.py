"""Rows of made-up runs of a study."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from sharpening.llm.studies import analysis

STEPS = 8
MADE_UP = 0.02  # noise of made-up rows
LABELS = {"method": "m", "prompts_per_step": 4, "group_size": 4, "num_steps": STEPS, "schedule": "linear"}
KEYS = (("pass_at_k", 1.0), ("pass_at_k", 8.0), ("pass_at_k", 64.0), ("pass_at_k", 256.0), ("effective_answers", 0.0))


def rows_of(contestant: str, shift: float, noise: float, *, number: int = 6, stage: str = "comparison", seed: int = 0):
    """Runs whose measures after training are .5 and a shift, with noise that is a run's and a contestant's."""
    rng = np.random.default_rng([seed, len(contestant)])
    common = np.random.default_rng(seed).normal(size=number)
    found: list[dict[str, Any]] = []
    for run in range(number):
        labels = {"stage": stage, "contestant": contestant, "strength": 0.3 * (contestant != "plain")}
        labels |= {"learning_rate": 1e-3, **LABELS, "warm_start": run % 3, "seed": 100 + run}
        value = 0.5 + shift + 0.1 * common[run] + noise * rng.normal()
        for (quantity, at), step in itertools.product(KEYS, (0, STEPS)):
            found.append({**labels, "quantity": quantity, "step": step, "at": at, "value": value if step else 0.4})
            if at in (1, 8):
                path = {"quantity": f"path_{quantity}", "step": step, "at": at, "value": value if step else 0.4}
                found.append({**labels, **path})
        found.append({**labels, "quantity": "slope", "step": STEPS, "at": 100.0, "value": 0.2})
        for prefix, at in itertools.product(("matched_", "expected_"), (-1.0, 0.0, 1.0)):
            curve = {"quantity": f"{prefix}relative_gain", "step": STEPS, "at": at, "value": at * shift}
            found.append({**labels, **curve})
    return found


def summary(*parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The means and paired differences of these rows together."""
    return list(analysis.summary([row for part in parts for row in part], STEPS))
