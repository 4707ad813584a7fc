"""What evens out correct answers, and what prompts that share parameters do to one another: loops and differences."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

from sharpening.samples import preview, rollouts
from sharpening.theory import policies
from sharpening.theory.claims import late
from sharpening.theory.flow import dynamics, evening, rarity, styles, transfer
from sharpening.theory.methods import baselines, calls, sharing
from tests import long_rollouts
from tests.tolerances import ADVANTAGE32, ADVANTAGE64, DIFFERENCE, FLOAT64

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
GROUPS = [group for size in (2, 3, 5) for group in itertools.product((0.0, 1.0), repeat=size)]


def test_the_spread_is_of_the_correct_samples_of_each_group_alone():
    rng = np.random.default_rng(5)
    correct, log_prob = rng.integers(0, 2, (4, 3, 4)).astype(float), rng.normal(size=(4, 3, 4))
    found = sharing.correct_spread(correct, log_prob)
    assert found.shape == (4, 3, 1)
    for place in np.ndindex(4, 3):
        inside = log_prob[place][correct[place] == 1]
        assert found[place][0] == pytest.approx(np.std(inside) if inside.size else 0.0, rel=FLOAT64)


def drawn(group: tuple[float, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(len(group))
    log_prob = -rng.integers(1, 64 * 6, (1, len(group))) / 64  # exact in float32
    return {"reward": np.array([group]), "correct": np.array([group]), "log_prob": log_prob}


def looped_evened(inputs: dict[str, np.ndarray], num_solutions: int, strength: float) -> list[float]:
    """Sample by sample, from the others' rewards."""
    rewards, logs = inputs["reward"][0].tolist(), inputs["log_prob"][0].tolist()
    found = []
    for i, reward in enumerate(rewards):
        others = math.fsum(rewards[:i] + rewards[i + 1 :]) / (len(rewards) - 1)
        bonus = strength * (1 - others) / (num_solutions * math.exp(logs[i])) if reward else 0.0
        found.append(reward - others + bonus)
    return found


def looped_shared_out(inputs: dict[str, np.ndarray], exponent: float) -> list[float]:
    """Sample by sample, from the group's weights as they are; a wrong sample keeps what reward it has."""
    rewards, marks, logs = (inputs[name][0].tolist() for name in ("reward", "correct", "log_prob"))
    weights = [math.exp(-exponent * log) if mark else 0.0 for mark, log in zip(marks, logs, strict=True)]
    number, total = sum(marks), math.fsum(weights)
    shares = [
        weight / total * number * reward if mark else reward
        for mark, weight, reward in zip(marks, weights, rewards, strict=True)
    ]
    return [share - math.fsum(shares) / len(shares) for share in shares]


@pytest.mark.parametrize("group", GROUPS)
def test_advantages_are_those_of_the_loops(group):
    inputs = drawn(group)
    narrow = {name: values.astype(np.float32) for name, values in inputs.items()}
    cases = (
        (sharing.evened, {"num_solutions": 3}, looped_evened(inputs, 3, 2.0)),
        (sharing.evened, {"num_solutions": 4, "strength": 0.5}, looped_evened(inputs, 4, 0.5)),
        (sharing.shared_out, {}, looped_shared_out(inputs, 1.0)),
        (sharing.shared_out, {"exponent": 0.3}, looped_shared_out(inputs, 0.3)),
    )
    for function, parameters, wanted in cases:
        np.testing.assert_allclose(function(**inputs, **parameters)[0], wanted, rtol=ADVANTAGE64, atol=ADVANTAGE64)
        found = function(**narrow, **parameters)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found[0], wanted, rtol=ADVANTAGE32, atol=ADVANTAGE32)


@pytest.mark.parametrize("library", ["array_api_strict", "torch"])
def test_other_array_libraries_give_the_same(library):
    xp = pytest.importorskip(library)
    inputs = drawn((1.0, 0.0, 1.0, 1.0))
    given = {name: xp.asarray(values.tolist(), dtype=xp.float64) for name, values in inputs.items()}
    for function, parameters in (
        (sharing.evened, {"num_solutions": 3}),
        (sharing.shared_out, {"exponent": 0.7}),
        (sharing.rarity_maxrl, {}),
    ):
        found = np.from_dlpack(function(**given, **parameters))
        np.testing.assert_allclose(found, function(**inputs, **parameters), rtol=ADVANTAGE64)


def test_wrong_samples_keep_a_credit():
    inputs = drawn((1.0, 0.0, 1.0, 0.0)) | {"reward": np.array([[1.0, 0.25, 1.0, 0.5]])}
    found = sharing.shared_out(**inputs, exponent=0.5)[0]
    np.testing.assert_allclose(found, looped_shared_out(inputs, 0.5), rtol=ADVANTAGE64)


def test_escort_shares_run_from_the_policy_to_its_reverse():
    policy = np.array([0.3, 0.1])
    for exponent, wanted in ((0, [0.75, 0.25]), (1, [0.5, 0.5]), (2, [0.25, 0.75])):
        np.testing.assert_allclose(evening.escort_share(policy, exponent), wanted, rtol=FLOAT64)
    assert evening.shared_out_log_ratio_rate(0.5, 0.2, 0.4) == pytest.approx(0.12, rel=FLOAT64)


def test_rates_of_the_evened_step_at_a_policy_worked_out_by_hand():
    """p = (.3, .1 | .6), rho = 1.5, m = 2: dz = .6 (.75 - .5 p) on C and -.6 (.4 + 1.5 .6) on W."""
    policy, correct = np.array([0.3, 0.1, 0.6]), np.array([1.0, 1.0, 0.0])
    moves = [0.6 * (0.75 - 0.15), 0.6 * (0.75 - 0.05), -0.6 * (0.4 + 0.9)]
    logit = 0.75 * moves[0] + 0.25 * moves[1] - moves[2]
    assert evening.evened_logit_rate(policy, correct, 1.5) == pytest.approx(logit, rel=FLOAT64)
    assert evening.evened_log_ratio_rate(0.3, 0.1, 0.4, 1.5) == pytest.approx(moves[0] - moves[1], rel=FLOAT64)
    assert evening.largest_evening_strength(3) == 1.5


def test_the_mean_square_of_a_centred_log_ratio_by_counting_heads():
    """Two answers, six draws: the factor is 1 - h (1 - ((2n - G)/G)^2), n binomial."""
    rate, gamma, size = 0.4, 1.2, 6
    factors = [1 - rate * gamma / 2 * (1 - ((2 * heads - size) / size) ** 2) for heads in range(size + 1)]
    chances = [math.comb(size, heads) / 2**size for heads in range(size + 1)]
    mean, square = (
        math.fsum(c * factor**power for c, factor in zip(chances, factors, strict=True)) for power in (1, 2)
    )
    assert evening.centred_consensus_factor(rate, gamma, 2, size) == pytest.approx(mean, rel=FLOAT64)
    assert evening.centred_square_factor(rate, gamma, size) == pytest.approx(square, rel=FLOAT64)


def test_recovery_takes_the_measured_time():
    """Integrated elsewhere at Q = 1/2, DS 1 beside one answer and two wrong ones: 4.2e6 from 1e-4, 7.8e11 from 1e-6."""
    for share, measured, room in ((1e-4, 4.2e6, 0.6), (1e-6, 7.8e11, 0.31)):
        problem = policies.problem_from_probabilities([(1 - share) / 2, share / 2, 0.3, 0.2], [1, 1, 0, 0])
        assert 0 < measured / evening.recovery_time(problem, 1.0) - 1 < room
    assert evening.recovery_exponent(2, 3) == 2.5


@pytest.mark.parametrize(("num_top", "num_wrong", "gamma"), [(2, 1, 1.0), (3, 2, 2.0)])
def test_recovery_beside_tied_answers_takes_the_integrated_time(num_top, num_wrong, gamma):
    """Until the rare answer has half of what it will have, from a share of 1e-4: up to .3 more than the formula."""
    policy = np.concatenate([np.full(num_top, 0.9999 / num_top), [1e-4], np.full(num_wrong, 1 / num_wrong)]) / 2
    problem = policies.problem_from_probabilities(policy, [1] * (num_top + 1) + [0] * num_wrong)
    log_time, _ = late.until(
        problem.base_log_policy,
        lambda now: dynamics.smoothing_advantage(now, problem.correct, gamma, 0.0),
        50.0,
        lambda now: float(np.log(0.5 / (num_top + 1)) - now[num_top]),
    )
    assert 0 < np.exp(log_time) / evening.recovery_time(problem, gamma) - 1 < 0.3


def test_recovery_asks_for_tied_answers_and_a_strength():
    rare = policies.problem_from_probabilities([0.4, 0.1, 0.5], [1, 1, 0])
    uneven = policies.problem_from_probabilities([0.3, 0.2, 0.1, 0.4], [1, 1, 1, 0])
    alone = policies.problem_from_probabilities([0.5, 0.5], [1, 0])
    for strength in (0.0, -1.0):
        with pytest.raises(ValueError, match=r"^gamma_correct is -?\d: it must be above 0$"):
            evening.recovery_time(rare, strength)
    for problem, shown in ((uneven, r"0\.1, 0\.2, 0\.3"), (alone, r"0\.5")):
        with pytest.raises(ValueError, match=rf"^problem has correct answers of {shown}: want a rare one beside"):
            evening.recovery_time(problem, 1.0)


def test_transfers_are_differences_of_one_prompt_trained_alone():
    """Move u of one prompt and v along the gradient of that prompt's correctness, and look at both prompts."""
    log_policy = policies.log_softmax([[0.5, -0.3, 0.2, -1.0], [0.1, 0.9, -0.2, 0.4]])
    correct, style = np.array([[1.0, 1.0, 0.0, 0.0]] * 2), np.array([[0, 1, 2, 0], [1, 1, 0, 2]])
    weight, step = 0.7, 1e-5
    slope, logit = styles.transfers(styles.Styles(log_policy, correct, style, weight))
    for trained in range(2):
        policy = np.exp(log_policy[trained])
        push = policy * (correct[trained] - policy @ correct[trained])
        shared = np.array([weight * push[style[trained] == kind].sum() for kind in range(3)])
        for seen in range(2):
            ends = []
            for sign in (-1, 1):
                own = push if seen == trained else 0.0
                after = policies.log_softmax(log_policy[seen] + sign * step * (own + weight * shared[style[seen]]))
                before = log_policy[seen][:2]
                fitted = np.polyfit(before, after[:2], 1)[0]
                ends.append((fitted, policies.logit_correctness(after, correct[seen])))
            wanted = (np.array(ends[1]) - ends[0]) / (2 * step)
            np.testing.assert_allclose([slope[seen, trained], logit[seen, trained]], wanted, atol=DIFFERENCE)


def test_factors_of_transfers_by_hand():
    assert styles.cross_over_own(np.array([[2.0, 1.0], [0.5, 4.0]])) == pytest.approx(0.25, rel=FLOAT64)
    assert transfer.amplification(0.5, 0.25, 5) == 1.5


def test_rarity_at_no_strength_is_maxrl_and_at_no_difficulty_dr_grpo():
    inputs = drawn((1.0, 0.0, 1.0, 1.0, 0.0))
    plain = {"reward": inputs["reward"]}
    for difficulty, wanted in ((1.0, baselines.maxrl(**plain)), (0.0, baselines.dr_grpo(**plain))):
        found = sharing.rarity_maxrl(**inputs, strength=0.0, difficulty=difficulty)
        np.testing.assert_allclose(found, wanted, rtol=ADVANTAGE64)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_a_strength_means_the_same_for_long_answers(scale):
    """Log-probabilities times 100 change nothing once they spread by a nat; below it the weights grow with them."""
    inputs = {"reward": np.array([[1.0, 1.0, 0.0, 1.0]]), "correct": np.array([[1.0, 1.0, 0.0, 1.0]])}
    wide, narrow = np.array([[-7.0, -4.0, -2.0, -5.5]]), np.array([[-7.0, -6.99, -2.0, -7.01]])
    found = sharing.rarity_maxrl(**inputs, log_prob=scale * wide, strength=0.7)
    np.testing.assert_allclose(found, sharing.rarity_maxrl(**inputs, log_prob=wide, strength=0.7), rtol=ADVANTAGE64)
    close = sharing.rarity_maxrl(**inputs, log_prob=scale * narrow, strength=0.7)
    top = np.ptp(close[0, [0, 1, 3]])
    assert 0.005 * scale < top < 0.02 * scale * 4 / 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"least_spread": 0.0}, r"least_spread is 0.0: it must be above 0"),
        ({"least_spread": float("nan")}, r"least_spread is nan: it must be above 0"),
        ({"epsilon": -1.0}, r"epsilon is -1.0: it must be at least 0"),
    ],
)
def test_rarity_refuses_what_has_no_meaning(values, words):
    with pytest.raises(ValueError, match=words):
        sharing.rarity_maxrl(**drawn((1.0, 0.0)), **values)


def test_the_power_mean_is_what_the_step_climbs():
    """By central differences, and between its ends: the arithmetic and the geometric mean."""
    policy = np.array([0.3, 0.05, 0.25, 0.4])
    for exponent in (0.0, 0.2, 1.0, 1.7):

        def climbed(logits: np.ndarray, exponent: float = exponent) -> float:
            return float(np.log(rarity.power_mean(np.exp(policies.log_softmax(logits))[:2], exponent)))

        moved = [
            (climbed(np.log(policy) + DIFFERENCE * unit) - climbed(np.log(policy) - DIFFERENCE * unit)) / DIFFERENCE / 2
            for unit in np.eye(4)
        ]
        np.testing.assert_allclose(rarity.rarity_step(policy, 2, exponent), moved, atol=DIFFERENCE)
        shared = rarity.shared_rarity_advantage(policy, np.array([[1.0, 1.0, 0.0, 0.0]]), exponent)
        np.testing.assert_allclose(dynamics.softmax_flow(policy, shared), moved, atol=DIFFERENCE)
        twice = rarity.shared_rarity_advantage(policy, np.array([[1.0, 1.0, 0.0, 0.0]] * 2), exponent)
        np.testing.assert_allclose(twice, shared, rtol=FLOAT64)


def test_ends_and_limits_of_rarity_in_numbers():
    np.testing.assert_allclose(rarity.noisy_end(np.array([0.9, 0.9, 0.1]), 0.5), np.array([81, 81, 1]) / 163)
    assert rarity.least_correctness(0.5, math.log(2), 2, 0.3) == 0.5
    np.testing.assert_allclose(rarity.least_correctness(0.5, 0.0, 4, 0.5), 0.125)
    limit = rarity.speed_limit(np.array([0.5, 0.1, 0.3, 0.1]), np.array([1.0, 1.0, 0.0, 0.0]), 2.0)
    np.testing.assert_allclose(limit, 4 * (0.1 + 0.25))
    assert rarity.rarity_log_ratio_rate(0.5, 0.2) == 0.5 - 0.2


def effect(found: rollouts.Rollouts, method: str) -> preview.Effect:
    return preview.effect(found, calls.resolve(method), {})


@pytest.mark.slow
def test_the_bonus_and_the_size_of_rarity_maxrl_do_not_depend_on_the_length() -> None:
    """Answers of 7 tokens of the small model and made-up ones of 800: within a factor of 2; DS differs by over 100."""
    found = (
        rollouts.read(EXAMPLES / "rollouts.jsonl", "short"),
        rollouts.read_jsonl(long_rollouts.jsonl(), "long"),
    )
    ratios = {name: [effect(one, name).ratio for one in found] for name in ("rarity_maxrl", "ds")}
    norms = [
        np.linalg.norm(effect(one, "rarity_maxrl").advantage) / np.linalg.norm(effect(one, "dr_grpo").advantage)
        for one in found
    ]
    assert all(1 < norm < 2 for norm in norms)
    assert 0.5 < ratios["rarity_maxrl"][0] / ratios["rarity_maxrl"][1] < 2
    assert ratios["ds"][1] / ratios["ds"][0] > 100
