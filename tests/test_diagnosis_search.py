"""The search for errors of the diagnosis finds none in a sample, and those of a diagnosis that looks less closely."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks import search_diagnosis, search_truth, search_verdicts, search_whole
from benchmarks.search_functions import KINDS, LISTED, MOVING
from sharpening.theory.diagnosis import motion, properties, thresholds
from sharpening.theory.diagnosis.subject import Subject
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods import terms
from tests.test_diagnosis import flow_of
from tests.tolerances import FLOAT64

SEED = 20261129


def wrongs(part: str, indices, outcomes: tuple[str, ...] = ("wrong",)) -> list[str]:
    """What is wrong (or undecided) in a sample of a part."""
    found = search_diagnosis.searched(part, indices, SEED)
    return [
        f"{part} {index}: {one.kind}: {each.property}: {each.why}: {one.recipe}"
        for index, one, judged, _ in found
        for each in judged
        if each.outcome in outcomes
    ]


@pytest.mark.slow
def test_nothing_is_wrong_with_the_properties_of_a_function_of_each_kind():
    assert wrongs("structure", range(len(KINDS)), ("wrong", "undecided")) == []


def test_nothing_is_wrong_with_the_signs_of_motion_of_some_functions():
    assert wrongs("motion", range(0, len(MOVING), 3), ("wrong", "undecided")) == []


@pytest.mark.slow
@pytest.mark.parametrize(("part", "number"), [("structure", 10 * len(KINDS)), ("motion", 4 * len(MOVING))])
def test_nothing_is_wrong_in_a_larger_sample(part: str, number: int):
    assert wrongs(part, range(len(KINDS), len(KINDS) + number)) == []


@pytest.mark.slow
def test_nothing_is_wrong_with_whole_diagnoses_of_each_kind():
    assert wrongs("whole", range(len(KINDS))) == []


def first_of(kind: str, least_size: int) -> int:
    """The number of the first function of a kind that is diagnosed in groups of at least a size."""
    every = itertools.count(KINDS.index(kind), len(KINDS))
    return next(index for index in every if search_diagnosis.drawn("structure", index, SEED).group_size >= least_size)


@pytest.mark.parametrize("kind", ["nan late", "shape late", "order late"])
def test_a_diagnosis_that_stops_at_small_groups_is_found_out(kind: str, monkeypatch):
    """As an earlier one did, at three above the least size."""
    index = first_of(kind, 8)
    assert wrongs("structure", [index]) == []
    monkeypatch.setattr(
        Subject, "sizes", property(lambda self: range(self.least_group_size, self.least_group_size + 4))
    )
    assert wrongs("structure", [index])


def test_a_diagnosis_that_reverses_and_rotates_only_is_found_out(monkeypatch):
    def reversed_and_rotated(group_size, _):
        return iter([np.arange(group_size)[::-1], np.roll(np.arange(group_size), 1)])

    monkeypatch.setattr(properties, "_orders", reversed_and_rotated)
    assert any("permutes" in line for line in wrongs("structure", [first_of("order cyclic", 4)]))


def test_a_diagnosis_that_looks_at_the_first_group_only_is_found_out(monkeypatch):
    monkeypatch.setattr(properties, "_batches", lambda number, _: iter([np.arange(number)[: number // 2]]))
    assert any("apart" in line for line in wrongs("structure", [first_of("batch place", 2)]))


@pytest.mark.slow
def test_a_diagnosis_of_fewer_nats_is_found_out(monkeypatch):
    monkeypatch.setattr("sharpening.theory.diagnosis.subject.DEEPEST", 60.0)
    assert any("ordered" in line for line in wrongs("structure", [first_of("deep", 2)]))


def test_a_sign_that_is_turned_is_found_out(monkeypatch):
    rate = motion.sharpening_rate
    monkeypatch.setattr(motion, "sharpening_rate", lambda *given: -rate(*given))
    found = wrongs("motion", [MOVING.index("plain")])
    assert {line.split(": ")[2] for line in found} == {"direction", "turning point"}


def test_the_kinds_that_were_listed_are_all_tried():
    assert set(LISTED) < set(KINDS)
    assert {search_diagnosis.drawn("structure", index, SEED).kind for index in range(len(KINDS))} == set(KINDS)


def test_functions_follow_their_number_and_the_seed():
    drawn = [
        search_diagnosis.drawn("structure", index, seed).recipe for index, seed in ((5, 1), (5, 1), (6, 1), (5, 2))
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 3


def test_the_listed_groups_give_the_step_of_the_flow():
    """Two routes to the same numbers: the score-function gradient over ordered groups, and mean advantages."""
    policy = np.array([0.5, 0.05, 0.4, 0.05])
    step, _ = search_truth.steps(terms.ds, 4, policy)
    flow: ExpectedFlow = flow_of(terms.ds, group_size=4)
    np.testing.assert_allclose(step[0], flow.rates(np.log(policy)), rtol=FLOAT64, atol=FLOAT64)


def test_an_end_that_is_integrated_is_the_one_of_the_claims():
    assert search_truth.end(terms.ds, 2, time=1e7) == "uniform"
    assert search_truth.end(lambda reward: reward, 2) == "1"
    assert search_truth.end(lambda reward: -reward, 2) == "wrong"
    assert search_truth.end(lambda reward: 0 * reward, 2) == "still"
    assert search_whole.ENDS["uniform on C"] == ("uniform",)


def test_a_wrong_answer_above_correct_ones_is_climbed_to(monkeypatch: pytest.MonkeyPatch):
    """Five likely correct samples and one wrong one, which no drawn group has; and without climbing it is missed."""
    one = search_diagnosis.drawn("structure", 18, 696215)
    assert search_verdicts.structure(one.function, one.group_size)["ordered"].state == "broken"
    monkeypatch.setattr(thresholds, "ROUNDS", 0)
    assert search_verdicts.structure(one.function, one.group_size)["ordered"].state == "unbroken"
