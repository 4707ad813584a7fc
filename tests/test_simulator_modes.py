"""The simulator with several updates a batch, natural gradient, noise, format credit, shared strategies, mean field."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sharpening.bandits import instances, rollouts, simulator
from sharpening.bandits.specification import Specification, bandit_of, read_solves
from sharpening.theory import policies
from sharpening.theory.flow import strategies
from sharpening.theory.groups import expectations, expected_flow, sampling
from sharpening.theory.methods import calls
from tests.tolerances import FLOAT64, MONTE_CARLO_Z, ROUND_OFF

BASE = {"base_policy": (0.3, 0.1, 0.4, 0.2), "correct": (1, 1, 0, 0), "group_size": 4, "num_runs": 4}
STRATEGIES = {"instance": "generalist_and_specialists", "group_size": 4, "num_runs": 4}


def _setup(**fields) -> rollouts.Setup:
    return simulator.setup_of(Specification(**{**BASE, **fields}))


def _moves(setup: rollouts.Setup, num_runs: int, seed: int = 0) -> np.ndarray:
    """The logits that one step adds, per unit of learning rate, in so many runs; one if the setup is a mean field."""
    state = simulator.initial_state(setup.bandit.base_log_policy, 1 if setup.is_mean_field else num_runs)
    uniforms = np.random.default_rng(seed).random((num_runs, setup.draws_per_step))
    moved, _ = simulator.step(state, setup, None if setup.is_mean_field else uniforms)
    return (moved.logits - state.logits) / setup.learning_rate


NOISE = {"false_positive_rate": 0.2, "false_negative_rate": 0.1}
MODES = {
    "grpo": {},
    "ds": {"parameters": {"gamma_correct": 0.3, "gamma_incorrect": 0.1, "centre": "correct_only"}},
    "unlikeliness": {},
    "ucpo": {},
    "ips": NOISE,
    "entropy_bonus": {"parameters": {"form": "loss"}},
    "rloo": NOISE,
    "kl_cov": {},
}


@pytest.mark.parametrize("method", MODES)
def test_the_mean_field_is_the_mean_of_sampled_steps(method: str):
    """40,000 sampled steps agree with the mean field within 5 standard errors; its mirror image does not."""
    sampled = _moves(_setup(method=method, **MODES[method]), 40_000)
    exact = _moves(_setup(method=method, mean_field=True, **MODES[method]), 1)[0]
    error = sampled.std(axis=0, ddof=1) / np.sqrt(len(sampled))
    assert np.abs((sampled.mean(axis=0) - exact) / error).max() < MONTE_CARLO_Z
    assert np.abs((sampled.mean(axis=0) + exact) / error).max() > MONTE_CARLO_Z


@pytest.mark.parametrize("method", ["grpo", "ucpo", "ds"])
def test_the_mean_field_is_the_expected_flow(method: str):
    """One step is the rate that theory lists, noise and KL included; without the KL term it is not."""
    setup = _setup(method=method, mean_field=True, kl_strength=0.3, **NOISE)
    start = policies.log_softmax(np.array([1.0, -1.0, 0.5, 0.0]))
    state = simulator.initial_state(start, 1)
    found = (simulator.step(state, setup, None)[0].logits - state.logits)[0] / setup.learning_rate
    values = calls.parameter_values(setup.method)
    rates = [
        expected_flow.ExpectedFlow(
            setup.method.advantage, setup.bandit.problem, values, 4, False, 0.2, 0.1, kl_strength=strength
        ).rates(start)
        for strength in (0.3, 0.0)
    ]
    np.testing.assert_allclose(found, rates[0], rtol=FLOAT64)
    assert not np.allclose(found, rates[1])


def _clipped_loop(setup: rollouts.Setup, uniforms: np.ndarray, low: float, high: float) -> list[float]:
    """One batch of GRPO with clipping, by loops: the gradient of mean min(ratio A, clip(ratio) A), several updates."""
    logits = [float(value) for value in setup.bandit.base_log_policy]
    base = [math.exp(value) for value in logits]
    draws = [int(np.searchsorted(np.cumsum(base), u, side="right")) for u in uniforms]
    marks = [setup.bandit.solves[0][arm] for arm in draws]
    mean = sum(marks) / len(marks)
    spread = math.sqrt(sum((mark - mean) ** 2 for mark in marks) / len(marks))
    for _ in range(setup.updates_per_batch):
        total = sum(math.exp(value) for value in logits)
        policy = [math.exp(value) / total for value in logits]
        climb = [0.0] * len(logits)
        for arm, mark in zip(draws, marks, strict=True):
            advantage, ratio = (mark - mean) / (spread + 1e-6), policy[arm] / base[arm]
            if (ratio > 1 + high and advantage > 0) or (ratio < 1 - low and advantage < 0):
                continue
            for place in range(len(logits)):
                climb[place] += ratio * advantage * ((place == arm) - policy[place]) / len(draws)
        logits = [value + setup.learning_rate * slope for value, slope in zip(logits, climb, strict=True)]
    return logits


def test_several_updates_a_batch_clip_as_a_plain_loop_does():
    """Four updates with clipping equal loops over samples; with clipping off they do not."""
    setup = _setup(method="clip", updates_per_batch=4, learning_rate=0.5, group_size=8)
    uniforms = np.random.default_rng(3).random((5, setup.draws_per_step))
    state = simulator.initial_state(setup.bandit.base_log_policy, 5)
    moved = simulator.step(state, setup, uniforms)[0].logits
    loops = [_clipped_loop(setup, row, 0.2, 0.2) for row in uniforms]
    np.testing.assert_allclose(moved, loops, rtol=FLOAT64)
    assert not np.allclose(moved, [_clipped_loop(setup, row, 9.0, 9.0) for row in uniforms])


@pytest.mark.parametrize("method", ["clip", "clip_higher", "gspo", "cispo", "clip_cov", "kl_cov", "simko_penalty"])
def test_every_token_method_runs_and_acts_from_the_second_update_on(method: str):
    """The first update is GRPO's where the method's own rule cannot act; two updates of any differ from one."""
    one, two = (_moves(_setup(method=method, updates_per_batch=number, learning_rate=1e-4), 64) for number in (1, 2))
    assert np.isfinite(two).all()
    assert not np.allclose(one, two)
    if method in ("clip", "clip_higher", "gspo", "cispo", "kl_cov"):
        np.testing.assert_allclose(one, _moves(_setup(method="grpo", learning_rate=1e-4), 64), atol=ROUND_OFF, rtol=0)


def test_the_natural_gradient_divides_by_the_policy():
    """Logit differences of a step are those of `sampling.natural_sampled_step`; those of plain SGD are not."""
    setup = _setup(method="dr_grpo", optimizer="natural")
    state = simulator.initial_state(setup.bandit.base_log_policy, 6)
    uniforms = np.random.default_rng(1).random((6, setup.draws_per_step))
    moved, info = simulator.step(state, setup, uniforms)
    found = (moved.logits - state.logits) / setup.learning_rate
    for run in range(6):
        arms = info.rollouts.arms[run, 0]
        counts = np.bincount(arms, minlength=4)
        advantage = setup.bandit.solves[0] - setup.bandit.solves[0][arms].mean()
        want = sampling.natural_sampled_step(np.array(BASE["base_policy"]), counts, advantage)
        np.testing.assert_allclose(found[run] - found[run][0], want - want[0], atol=ROUND_OFF, rtol=FLOAT64)


def test_noise_turns_marks_at_its_rates_and_credit_stays_out_of_correct():
    """Marks of 200,000 completions have the stated rates; format credit reaches the reward alone."""
    setup = _setup(method="reinforce", format_credit=(0.0, 0.5, 0.0, 0.5), group_size=8, **NOISE)
    log_policy = np.tile(setup.bandit.base_log_policy, (25_000, 1))
    batch = rollouts.draw(
        setup, np.exp(log_policy), np.ones((25_000, 1)), np.random.default_rng(0).random((25_000, setup.draws_per_step))
    )
    truth = setup.bandit.solves[0][batch.arms]
    for value, rate in ((0.0, 0.2), (1.0, 0.9)):
        marks = batch.marks[truth == value]
        assert abs(marks.mean() - rate) < MONTE_CARLO_Z * math.sqrt(rate * (1 - rate) / marks.size)
    credited = simulator.advantages(setup, np.zeros_like(batch.marks), batch)  # reinforce's advantage is the reward
    np.testing.assert_array_equal(credited, batch.marks + 0.5 * (batch.arms % 2))


@pytest.mark.parametrize("fields", [{}, {"prompts_per_step": 3}])
def test_shared_strategies_follow_the_mean_over_prompts(fields: dict):
    """The mean of 20,000 steps is mean_x c(Q_x) grad Q_x within 5 standard errors, all prompts or three drawn."""
    setup = simulator.setup_of(Specification(**STRATEGIES, method="maxrl", **fields))
    policy, solves = np.exp(setup.bandit.base_log_policy), setup.bandit.solves
    steps = _moves(setup, 20_000)
    correctness = strategies.correctness(policy, solves)
    slopes = policy * (solves - correctness[:, None])
    table = expectations.advantage_table(calls.METHODS["maxrl"].advantage, 4)
    expected = strategies.shared_step(expectations.prompt_weight(table, correctness), slopes)
    flat = strategies.shared_step(np.full_like(correctness, expectations.prompt_weight(table, 0.4)), slopes)
    error = steps.std(axis=0, ddof=1) / np.sqrt(len(steps))
    assert np.abs((steps.mean(axis=0) - expected) / error).max() < MONTE_CARLO_Z
    assert np.abs((steps.mean(axis=0) - flat) / error).max() > MONTE_CARLO_Z


def test_the_mean_field_of_shared_strategies_is_the_shared_step():
    """Listed groups of every prompt give mean_x c(Q_x) grad Q_x."""
    setup = simulator.setup_of(Specification(**STRATEGIES, method="grpo", mean_field=True))
    policy, solves = np.exp(setup.bandit.base_log_policy), setup.bandit.solves
    correctness = strategies.correctness(policy, solves)
    table = expectations.advantage_table(calls.METHODS["grpo"].advantage, 4)
    weights = expectations.prompt_weight(table, correctness)
    expected = strategies.shared_step(weights, policy * (solves - correctness[:, None]))
    np.testing.assert_allclose(_moves(setup, 1)[0], expected, atol=ROUND_OFF, rtol=FLOAT64)


@pytest.mark.parametrize("fields", [{}, {"method": "clip_cov", "updates_per_batch": 2}, NOISE, {"prompts_per_step": 3}])
def test_a_run_is_the_same_alone(fields: dict):
    """Runs 5 and 2 alone, and one record apart, give the bytes that they have among 8."""
    common = {**STRATEGIES, "method": "grpo", "num_steps": 300, "num_runs": 8, **fields}
    many = list(simulator.run(Specification(**common, record_every=300)))[-1][1]
    alone = list(simulator.run(Specification(**common, record_every=50), [5, 2]))[-1][1]
    assert many[[5, 2]].tobytes() == alone.tobytes()


def test_both_ways_of_drawing_arms_agree():
    """Comparison with every arm and a search in each run give the same arms."""
    log_policy = policies.log_softmax(np.random.default_rng(0).normal(size=(3, rollouts.FEW_ARMS)))
    uniforms = np.random.default_rng(1).random((3, 5_000))
    wide = np.column_stack([log_policy, np.full(3, -1e4)])  # one more arm, never drawn
    narrow_arms, wide_arms = (rollouts.draw_arms(np.exp(given), uniforms) for given in (log_policy, wide))
    np.testing.assert_array_equal(narrow_arms, wide_arms)


def test_a_matrix_is_read_from_a_file(tmp_path):
    """A CSV of 0 and 1 gives the bandit of the same matrix; a bad cell is named with its line and column."""
    path = tmp_path / "solves.csv"
    path.write_text("guess,count\n1,0\n1,1\n", encoding="utf-8")
    fields = {"method": "grpo", "base_logits": (0.0, 1.0)}
    from_file, given = (
        bandit_of(Specification(**fields, **source))
        for source in ({"solves_file": str(path)}, {"solves": ((1, 0), (1, 1))})
    )
    np.testing.assert_array_equal(from_file.solves, given.solves)
    path.write_text("guess,count\n1,0\n1,yes\n", encoding="utf-8")
    with pytest.raises(ValueError, match="line 3: count is 'yes': want 0 or 1"):
        read_solves(path)


@pytest.mark.parametrize("name", instances.INSTANCES)
def test_instances_are_bandits(name: str):
    """Every named instance is a normalised policy with correct and wrong arms."""
    bandit = instances.build(name, {})
    assert abs(np.exp(bandit.base_log_policy).sum() - 1) < FLOAT64
    assert set(np.unique(bandit.solves)) == {0.0, 1.0}


def test_the_large_instance_is_the_published_one():
    """Q = .6301, the anchor 4.653e-4, every other correct arm 6.297e-5, entropy 10.782 nats."""
    bandit = instances.categorical_128k()
    policy = np.exp(bandit.base_log_policy)
    found = [policy @ bandit.solves[0], policy[0] * 1e4, policy[1] * 1e5, policies.entropy(bandit.base_log_policy)]
    assert [f"{value:.4g}" for value in found] == ["0.6301", "4.653", "6.297", "10.78"]
