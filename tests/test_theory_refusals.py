"""What functions of the theory refuse beside the tests of each: one line with the argument and what is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sharpening.theory.claims import ledger
from sharpening.theory.diagnosis import ends
from sharpening.theory.flow import dynamics

REFUSED: dict[str, Callable[[], Any]] = {
    "violations is empty: a check needs at least one instance": lambda: ledger.worst([]),
    "end is 'mixture': it must lie on the edge of the correct or of the wrong answers": lambda: ends.attracts(
        None, ends.End("mixture", "between", np.log([0.5, 0.5]), "")
    ),
}


@pytest.mark.parametrize(("message", "call"), REFUSED.items(), ids=range(len(REFUSED)))
def test_an_argument_out_of_its_range_is_one_line(message: str, call: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call()


def test_a_flow_that_takes_too_many_steps_says_how_far_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamics, "MAX_EVALUATIONS", 5)
    with pytest.raises(RuntimeError, match=r"^the flow is too stiff: 5 evaluations lead to t = [\d.e-]+$"):
        dynamics.integrate_logits([0.0, 1.0], lambda log_policy: np.array([1.0, 0.0]), [0, 100.0])
