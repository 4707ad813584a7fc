"""Predictions for base policies at the edge, without the time it takes to save a figure."""

from __future__ import annotations

import numpy as np
import pytest

from sharpening.figures.drawing import theory as theory_figures
from sharpening.figures.tables import theory as tables
from sharpening.theory import policies
from sharpening.theory.rows import prediction
from tests.tolerances import FLOAT64

HALF = [0.5, 0.5]
EDGES = {
    "two answers": (HALF, [1, 0]),
    "one correct answer of 1e-300": ([1e-300, *HALF], [1, 0, 0]),
    "one wrong answer of 1e-300": ([1e-300, *HALF], [0, 1, 1]),
    "a correct answer of 1e-300 beside a likely one": ([1e-300, *HALF], [1, 1, 0]),
    "the least number above 0": ([5e-324, *HALF], [1, 1, 0]),
    "all but sure and correct": ([1 - 1e-12, 1e-12], [1, 0]),
    "all but sure and wrong": ([1 - 1e-12, 1e-12], [0, 1]),
    "ties": ([0.05] * 20, [1] * 10 + [0] * 10),
    "one correct answer of 2,000": ([1 / 2000] * 2000, [1] + [0] * 1999),
    "one wrong answer of 500": (list(np.arange(1, 501) / 125250), [1] * 499 + [0]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("base_policy", "correct"), EDGES.values(), ids=list(EDGES))
def test_predict_at_the_edge(base_policy: list[float], correct: list[int]) -> None:
    """Every number is a number; only a time may be infinite; report and figure are made of them."""
    rows = list(prediction.predict(policies.problem_from_probabilities(base_policy, correct), (0.3,)))
    for row in rows:
        value = float(row["value"])
        is_time = str(row["quantity"]).startswith("time_to")
        assert np.isfinite(value) or (is_time and value == np.inf), row
        if str(row["quantity"]) in ("correctness", "top_share", "ds_correctness", "coverage", "tail_miss"):
            assert -FLOAT64 <= value <= 1 + FLOAT64, row
    assert "SELECTION BIAS" in tables.prediction_report(rows, "answer", None, 0, 100)
    theory_figures.draw_prediction(rows).draw_without_rendering()
