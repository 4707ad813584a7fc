"""Draws of arms: three ways of inverting cumulative sums, and ties that are kept once, against the plain simulator."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from benchmarks.bandits import Plain, plain_runs
from sharpening.bandits import drawing, simulator, state, ties
from sharpening.bandits.specification import Specification
from sharpening.theory import policies
from tests.tolerances import FLOAT64, MONTE_CARLO_Z

TIED = {
    "instance": "categorical_128k",
    "instance_parameters": {"num_arms": 2_000, "num_correct": 150},
    "method": "dr_grpo",
    "learning_rate": 0.05,
    "num_steps": 30,
    "num_runs": 3,
    "record_every": 30,
}


@pytest.fixture(autouse=True)
def _ties_from_few_arms_on(monkeypatch):
    monkeypatch.setattr(ties, "LEAST_ARMS", 1_000)
    monkeypatch.setattr(ties, "LEAST_ARMS_PER_DRAW", 8)


def _masses(name: str, num_places: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    spread = {"even": 0.0, "mild": 1.0, "wild": 20.0}
    mass = np.exp(spread[name] * rng.normal(size=num_places))
    mass[rng.random(num_places) < 0.1] = 0.0
    return mass


@pytest.mark.parametrize("name", ["even", "mild", "wild"])
@pytest.mark.parametrize("num_draws", [10, 200, 8_000])
def test_every_way_is_a_search_of_the_cumulative_sums(name: str, num_draws: int):
    """Few, some and many draws from 5,001 places are those of a search, up to rounding of the sums."""
    mass = _masses(name, 5_001)
    cumulative = np.cumsum(mass)
    reached = np.random.default_rng(1).random(num_draws) * cumulative[-1]
    found = drawing.places(mass, reached)
    slack = FLOAT64 * cumulative[-1]
    assert np.all(cumulative[found] > reached - slack)
    assert np.all((cumulative - mass)[found] <= reached + slack)
    assert np.all(mass[found] > 0)


def test_a_value_at_the_end_is_the_last_place():
    """Rounding may carry a value to the sum of all: no place beyond the last is given."""
    for num_draws in (1, 100, 5_000):
        mass = np.ones(5_000)
        assert drawing.places(mass, np.full(num_draws, 5_000.0)).max() == 4_999


def _tied_state(**fields) -> tuple[simulator.Setup, state.State]:
    setup = simulator.setup_of(Specification(**{**TIED, **fields}))
    tied = simulator.ties_of(setup)
    assert tied is not None
    assert tied.num_cells == 3
    return setup, state.initial_state(setup.bandit.base_log_policy, 1, tied)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "natural"])
@pytest.mark.parametrize(("group_size", "updates"), [(16, 1), (16, 2), (200, 1)])
def test_ties_are_exact(optimizer: str, group_size: int, updates: int):
    """With the arms that were drawn, the run with ties is the dense run of the same arms; with others it is not."""
    fields = {"optimizer": optimizer, "group_size": group_size, "updates_per_batch": updates, "learning_rate": 1e-3}
    setup, tied = _tied_state(**fields)
    base = setup.bandit.base_log_policy
    dense, other = state.initial_state(base, 1), state.initial_state(base, 1)
    uniforms = np.random.default_rng(0)
    num_cells = []
    for _ in range(15):
        info = simulator.advance(tied, setup, uniforms.random((1, group_size)))
        for follower, arms in ((dense, info.rollouts.arms), (other, info.rollouts.arms[..., ::-1] + 1)):
            _advance_with(follower, setup, np.minimum(arms, base.size - 1))
        num_cells.append(base.size if tied.tied is None else tied.tied.num_cells)
    np.testing.assert_allclose(tied.log_policy(), dense.log_policy(), rtol=FLOAT64)
    assert not np.allclose(tied.log_policy(), other.log_policy(), rtol=FLOAT64)
    assert (num_cells[-1] < 200) == (group_size == 16)  # the large groups have left the ties behind


def _advance_with(follower: state.State, setup: simulator.Setup, arms: np.ndarray) -> None:
    """A dense step with given arms: uniforms in the middle of each arm's piece of the cumulative sum."""
    weights = follower.softmax().weights[0]
    cumulative = np.cumsum(weights)
    middle = (cumulative - weights / 2)[arms[0]] / cumulative[-1]
    found = simulator.advance(follower, setup, middle.reshape(1, -1)).rollouts.arms
    np.testing.assert_array_equal(found, arms)


def test_ties_draw_arms_with_their_probabilities():
    """After some steps the draws of 300,000 fit the policy arm group by arm group, and a tilted policy does not."""
    setup, tied = _tied_state(group_size=64)
    uniforms = np.random.default_rng(3)
    for _ in range(5):
        simulator.advance(tied, setup, uniforms.random((1, 64)))
    policy = np.exp(tied.log_policy()[0])
    now = tied.softmax()
    assert tied.tied is not None
    arms = tied.tied.draw(now.weights[0], uniforms.random(300_000) * now.total[0]).arms
    parts = np.arange(policy.size) % 40
    counts, wanted = np.bincount(parts[arms], minlength=40), 300_000 * np.bincount(parts, weights=policy)
    assert ((counts - wanted) ** 2 / wanted).sum() < 39 + MONTE_CARLO_Z * np.sqrt(2 * 39)
    tilted = wanted * np.linspace(0.95, 1.05, 40)
    assert ((counts - tilted) ** 2 / tilted).sum() > 39 + MONTE_CARLO_Z * np.sqrt(2 * 39)


def _cells(tied: ties.Ties) -> list[list[int]]:
    """The arms of every cell."""
    pieces = zip(tied.starts[: tied.num_cells], tied.sizes[: tied.num_cells].astype(int), strict=True)
    return [sorted(tied.order[start : start + size]) for start, size in pieces]


def test_cells_are_the_histories_of_the_arms():
    """Arms share a cell exactly if they started alike and were pushed alike in every step."""
    setup, tied = _tied_state(group_size=100)
    uniforms = np.random.default_rng(0)
    start = setup.bandit.base_log_policy
    history = [[value] for value in start]
    for _ in range(8):
        info = simulator.advance(tied, setup, uniforms.random((1, 100)))
        pushed = np.bincount(info.rollouts.arms.ravel(), weights=info.advantage.ravel(), minlength=start.size)
        for arm, push in enumerate(pushed):
            history[arm].append(round(push, 9))
        assert tied.tied is not None
        cells = _cells(tied.tied)
        assert sorted(itertools.chain(*cells)) == list(range(start.size))
        shared: dict[tuple[float, ...], list[int]] = {}
        for arm, told in enumerate(history):
            shared.setdefault(tuple(told), []).append(arm)
        assert sorted(cells) == sorted(shared.values())
    assert len(cells) > 100


def test_a_cell_that_is_drawn_whole_goes_on():
    """Where every arm is drawn the cells stay as many as there are pushes, and none is empty."""
    setup, _ = _tied_state(group_size=16)
    tied = simulator.ties_of(setup)
    assert tied is not None
    weights = np.exp(setup.bandit.base_log_policy[tied.order[tied.starts[:3]]])
    drawn = tied.draw(weights, np.linspace(0, 1, 100_000, endpoint=False) * tied.masses(weights).sum())
    assert np.unique(drawn.arms).size == 2_000
    split = tied.split(drawn, (np.arange(100_000) == 5) * 1.0)
    assert tied.num_cells == 4
    assert split.origins.size == 1
    assert tied.sizes[:4].min() == 1
    assert sorted(itertools.chain(*_cells(tied))) == list(range(2_000))


@pytest.mark.parametrize("group_size", [16, 200])
def test_runs_with_ties_are_the_same_alone(group_size: int):
    """Run 2 alone gives the bytes that it has among three; another seed gives others."""
    common = {**TIED, "group_size": group_size, "optimizer": "adam"}
    many, other = (list(simulator.run(Specification(**common, seed=seed)))[-1][1] for seed in (0, 1))
    alone = list(simulator.run(Specification(**{**common, "record_every": 7}), [2]))[-1][1]
    assert many[[2]].tobytes() == alone.tobytes()
    assert many.tobytes() != other.tobytes()


@pytest.mark.parametrize(
    "fields", [{"kl_strength": 0.1}, {"method": "clip"}, {"format_credit": (0.0,) * 2_000}, {"group_size": 300}]
)
def test_what_treats_arms_apart_has_no_ties(fields: dict):
    """A KL term, token weights, format credit and large groups go without ties."""
    setup = simulator.setup_of(Specification(**{**TIED, "group_size": 8, **fields}))
    assert simulator.ties_of(setup) is None


def test_a_step_leaves_the_state_as_it_was():
    """`step` works on a copy: twice from one state gives the same bytes."""
    setup, tied = _tied_state(group_size=16)
    uniforms = np.random.default_rng(0).random((1, 16))
    first, again = (simulator.step(tied, setup, uniforms)[0].log_policy() for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert tied.num_updates == 0


UNTIED = {"instance": "solutions", "instance_parameters": {"num_correct": 700, "num_wrong": 5_000}}


@pytest.mark.parametrize("group_size", [8, 300, 5_000])
@pytest.mark.parametrize("method", ["dr_grpo", "ds"])
def test_the_plain_reference_agrees(group_size: int, method: str):
    """Runs 0 and 2 of many arms, no two alike, equal the benchmark's plain loop; another seed does not."""
    common = {**UNTIED, "method": method, "group_size": group_size, "optimizer": "adam", "num_steps": 6, "num_runs": 3}
    specification = Specification(**common, learning_rate=0.01)
    found = list(simulator.run(specification))[-1][1][[0, 2]]
    np.testing.assert_allclose(found, plain_runs(specification, [0, 2]), rtol=FLOAT64)
    other = Specification(**common, learning_rate=0.01, seed=1)
    assert not np.allclose(found, plain_runs(other, [0, 2]), rtol=FLOAT64)


def test_the_plain_reference_agrees_for_few_arms():
    """The batch of the benchmark, at fewer steps: every run equals its own plain loop."""
    common = {"instance": "solutions", "instance_parameters": {"num_correct": 8, "num_wrong": 12}, "method": "grpo"}
    specification = Specification(**common, group_size=8, learning_rate=0.05, num_steps=50, num_runs=5)
    found = list(simulator.run(specification))[-1][1]
    np.testing.assert_allclose(found, plain_runs(specification, range(5)), rtol=FLOAT64)


def test_the_plain_step_follows_given_arms():
    """The dense plain step and the tied run agree on the arms that the latter drew."""
    setup, tied = _tied_state(group_size=16, optimizer="adam")
    plain = Plain(setup)
    uniforms = np.random.default_rng(0)
    for _ in range(10):
        info = simulator.advance(tied, setup, uniforms.random((1, 16)))
        plain.step(None, info.rollouts.arms[0, 0])
    np.testing.assert_allclose(tied.log_policy()[0], policies.log_softmax(plain.logits), rtol=FLOAT64)
