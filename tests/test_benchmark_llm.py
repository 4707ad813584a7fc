"""The benchmark of a training step, at a size where its times say nothing: what it counts as what."""

import argparse

import pytest

from tests import training

QUICK = argparse.Namespace(method="ds", rounds=1, width=16, layers=1, completions=8, tokens=2)
pytestmark = training.QUIET


@pytest.mark.slow
@pytest.mark.parametrize(("num_updates", "plain_has_a_pass"), [(1, False), (2, True)])
def test_only_a_method_or_a_second_update_takes_log_probabilities_outside_the_loss(
    num_updates: int, plain_has_a_pass: bool
) -> None:
    from benchmarks import llm

    found, loads = llm.measured(num_updates, QUICK)
    assert len(loads) == 1
    for name, (times,) in found.items():
        assert (times["log-probs"] > 0) == (plain_has_a_pass or name == "ds")
        assert all(times[section] > 0 for section in llm.SECTIONS if section != "log-probs")
