"""The benchmark of a training step, at a size where its times say nothing: what it counts as what."""

import argparse

import pytest

from tests import training

QUICK = argparse.Namespace(
    rounds=1, width=16, layers=1, completions=32, tokens=2, model="", bfloat16=False, lora_rank=0
)
pytestmark = training.QUIET


@pytest.mark.slow
@pytest.mark.parametrize(("number", "has_pass", "plain_has_pass"), [(1, 0, 0), (2, 0, 0), (3, 1, 0), (4, 1, 1)])
def test_only_the_third_case_takes_a_pass_that_plain_training_has_not(
    number: int, has_pass: bool, plain_has_pass: bool
) -> None:
    from benchmarks import llm

    case = llm.CASES[number - 1]
    found, loads = llm.measured(case, QUICK)
    assert len(loads) == 1
    for name, (times,) in found.items():
        assert (times["log-probs"] > 0) == (
            name != "loop" and (plain_has_pass if name.startswith("plain") else has_pass)
        )
        passed = {"log-probs", "rest"} if name == "loop" else {"log-probs"}
        assert all(times[section] > 0 for section in llm.SECTIONS if section not in passed)
