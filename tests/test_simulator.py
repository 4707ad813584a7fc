"""The simulator against plain loops, against exact expectations, and against the theory's path and a wrong one."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from sharpening import cli
from sharpening.bandits import analysis, instances, rollouts, simulator
from sharpening.bandits.rollouts import Setup
from sharpening.bandits.specification import Specification
from sharpening.theory import policies
from sharpening.theory.groups import expectations
from sharpening.theory.methods import baselines, calls
from tests.tolerances import FLOAT64, MONTE_CARLO_Z, ROUND_OFF

BASE = {"base_policy": (0.3, 0.1, 0.4, 0.2), "correct": (1, 1, 0, 0), "group_size": 4}
FAST = {**BASE, "learning_rate": 0.2, "num_steps": 20, "num_runs": 8, "record_every": 5}


def _records(**fields):
    return list(simulator.run(Specification(**{**FAST, **fields})))


def test_same_seed_same_bytes_and_another_seed_others():
    """The seed fixes every number; another one changes them."""
    first, again, other = (_records(method="grpo", seed=seed)[-1][1] for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_a_run_does_not_depend_on_the_number_of_runs():
    """Run i has its own stream: its numbers are the same among 8 runs and among 3."""
    many, few = (_records(method="ds", num_runs=number)[-1][1] for number in (8, 3))
    assert many[:3].tobytes() == few.tobytes()


def _plain_run(specification: Specification, run: int) -> list[float]:
    """One run by loops over samples and arms: SGD or Adam, Dr. GRPO's advantage plus ds's term."""
    stream = simulator.run_streams(specification.seed, [run])[0]
    logits = [math.log(p) for p in specification.base_policy or ()]
    gamma = float(specification.parameters["gamma_correct"])
    first, second = [0.0] * len(logits), [0.0] * len(logits)
    for update in range(1, specification.num_steps + 1):
        weights = [math.exp(z - max(logits)) for z in logits]
        policy = [weight / sum(weights) for weight in weights]
        draws = []
        for u in stream.random(specification.group_size):
            total, arm = 0.0, 0
            while arm < len(policy) - 1 and u >= total + policy[arm]:
                total, arm = total + policy[arm], arm + 1
            draws.append(arm)
        mean = sum(specification.correct[arm] for arm in draws) / len(draws)
        climb = [0.0] * len(logits)
        for arm in draws:
            right = specification.correct[arm]
            advantage = right - mean - right * gamma * math.log(policy[arm])
            for place in range(len(logits)):
                climb[place] += advantage * ((place == arm) - policy[place]) / len(draws)
        for place, slope in enumerate(climb):
            if specification.optimizer == "sgd":
                logits[place] += specification.learning_rate * slope
                continue
            first[place] = 0.9 * first[place] + 0.1 * slope
            second[place] = 0.999 * second[place] + 0.001 * slope**2
            scale = math.sqrt(second[place] / (1 - 0.999**update)) + 1e-8
            logits[place] += specification.learning_rate * first[place] / (1 - 0.9**update) / scale
    return logits


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_batched_runs_equal_a_plain_loop(optimizer: str):
    """Runs 0 and 2 of a batch equal loops over samples and arms, for both optimizers."""
    specification = Specification(
        **{**FAST, "method": "ds", "parameters": {"gamma_correct": 0.3}, "optimizer": optimizer}
    )
    log_policy = list(simulator.run(specification))[-1][1]
    for run in (0, 2):
        np.testing.assert_allclose(log_policy[run], policies.log_softmax(_plain_run(specification, run)), rtol=FLOAT64)


def _steps(setup: Setup, num_runs: int, seed: int) -> np.ndarray:
    """The logit steps of one update, at learning rate 1, of so many runs at the base policy."""
    state = simulator.initial_state(setup.bandit.base_log_policy, num_runs)
    uniforms = np.random.default_rng(seed).random((num_runs, setup.draws_per_step))
    return (simulator.step(state, setup, uniforms)[0].logits - state.logits) / setup.learning_rate


@pytest.mark.parametrize("method", ["grpo", "rloo", "maxrl", "pkpo"])
def test_the_mean_step_is_the_expected_step(method: str):
    """Over 20,000 groups the mean step is c_G(Q) p (r - Q) within 5 standard errors; with the wrong sign it is not."""
    setup = simulator.setup_of(Specification(**{**BASE, "method": method}))
    steps = _steps(setup, 20_000, 0)
    policy, correct = np.array(BASE["base_policy"]), setup.bandit.problem.correct
    table = expectations.advantage_table(getattr(baselines, method), 4)
    expected = expectations.prompt_weight(table, 0.4) * policy * (correct - 0.4)
    error = steps.std(axis=0, ddof=1) / np.sqrt(len(steps))
    assert np.abs((steps.mean(axis=0) - expected) / error).max() < MONTE_CARLO_Z
    assert np.abs((steps.mean(axis=0) + expected) / error).max() > MONTE_CARLO_Z


@pytest.mark.parametrize(
    ("method", "parameters", "wrong"),
    [("grpo", {}, {"ddof": 1}), ("ds", {"gamma_correct": 0.3}, {"gamma_correct": -0.3})],
)
def test_the_prediction_holds_and_a_wrong_one_is_rejected(method: str, parameters: dict, wrong: dict):
    """Small steps follow the exact flow within 5 standard errors and one step; the rival prediction is far off."""
    fields = {**BASE, "group_size": 8, "learning_rate": 0.01, "num_steps": 600, "num_runs": 200, "record_every": 600}
    specification = Specification(**fields, method=method, parameters=parameters)
    entry = analysis.summary(specification, list(analysis.simulate(specification)))["solution_diversity"]
    rival = Specification(**fields, method=method, parameters=wrong)
    path, source = analysis.predicted_path(rival, [600])
    assert source is not None
    other = float(analysis.measure(simulator.setup_of(rival).bandit, path)["solution_diversity", 0][0])
    allowed = MONTE_CARLO_Z * entry["standard_error"] + specification.learning_rate * 0.1
    assert abs(entry["mean"] - entry["predicted"]) < allowed
    assert abs(entry["mean"] - other) > allowed


def test_loss_terms_enter_by_their_exact_gradient():
    """The entropy bonus in the loss adds strength times the gradient of the entropy to the same groups' step."""
    plain, with_term = (
        _steps(simulator.setup_of(Specification(**{**BASE, "method": "entropy_bonus", "parameters": parameters})), 3, 5)
        for parameters in ({"strength": 0.0, "form": "loss"}, {"strength": 0.5, "form": "loss"})
    )
    policy = np.array(BASE["base_policy"])
    entropy = -(policy * np.log(policy)).sum()
    expected = np.tile(0.5 * policy * (-np.log(policy) - entropy), (3, 1))
    np.testing.assert_allclose(with_term - plain, expected, atol=ROUND_OFF, rtol=0)


def test_arms_are_drawn_with_their_probabilities():
    """200,000 draws of the third of three runs fit its policy by a chi-squared of 3 degrees of freedom below 25."""
    logits = np.random.default_rng(1).normal(size=(3, 4))
    log_policy = policies.log_softmax(logits)
    arms = rollouts.draw_arms(np.exp(log_policy), np.random.default_rng(2).random((3, 200_000)))
    counts, wanted = np.bincount(arms[2], minlength=4), 200_000 * np.exp(log_policy[2])
    assert ((counts - wanted) ** 2 / wanted).sum() < 25
    assert ((counts - wanted[::-1]) ** 2 / wanted[::-1]).sum() > 25


BAD = {
    "correct": ({"correct": (1, 2, 0, 0)}, "correct.1"),
    "sum": ({"base_policy": (0.3, 0.1, 0.4, 0.1)}, "base_policy sums to"),
    "both": ({"base_logits": (0.0, 0.0, 0.0, 0.0)}, "exactly one of base_policy and base_logits"),
    "prompts": ({"prompts_per_step": 2}, "prompts_per_step: 2: there are 1 prompts"),
    "two": ({"instance": "long_tail"}, "give exactly one of correct, solves, solves_file, instance"),
    "credit": ({"format_credit": (0.1,)}, "format_credit: 1 values: want one for each of 4 arms"),
    "noise": ({"false_positive_rate": 1.0}, "false_positive_rate"),
    "field": ({"method": "clip_cov", "mean_field": True}, "mean_field: true: clip_cov weighs the tokens of a whole"),
    "rows": ({"correct": None, "solves": ((1, 0), (1,))}, "solves: rows of different lengths"),
    "arms": ({"correct": None, "solves": ((1, 0), (1, 0))}, "want one value for each of 2 arms"),
    "file": ({"correct": None, "solves_file": "none.csv"}, "solves_file: 'none.csv': want a CSV file"),
    "group": ({"group_size": 1}, "group_size: 1: grpo has a group baseline"),
    "method": ({"method": "nope"}, "'nope' is not a method"),
    "parameter": ({"parameters": {"x": 1.0}}, "'x' is not a parameter of grpo: it has ddof, epsilon"),
    "rate": ({"learning_rate": math.nan}, "learning_rate"),
    "extra": ({"lr": 1}, "lr"),
    "same": ({"correct": None, "solves": ((1, 1, 1, 1),)}, "solves is the same everywhere: want at least one 1 and at"),
    "name": (
        {"correct": None, "base_policy": None, "instance": "tail"},
        "instance: 'tail': want one of two_correct_arms, ",
    ),
    "parameter of a name": (
        {"correct": None, "base_policy": None, "instance": "long_tail", "instance_parameters": {"x": 1}},
        "instance_parameters: 'x': long_tail has num_correct, ",
    ),
    "policy of a name": (
        {"correct": None, "instance": "long_tail"},
        "base_policy: an instance has its own: leave base_policy and base_logits out",
    ),
    "no name": ({"instance_parameters": {"num_correct": 3}}, "instance_parameters: there is no instance: leave them"),
    "all prompts": (
        {"mean_field": True, "prompts_per_step": 1},
        "prompts_per_step: mean_field takes every prompt: leave it out",
    ),
    "sum with a matrix": (
        {"base_policy": (0.3, 0.1, 0.4, 0.1), "correct": None, "solves": ((1, 0, 1, 0),)},
        "base_policy sums to 0.9: it must sum to 1",
    ),
    "logits": ({"base_policy": None, "base_logits": (0, 1)}, "base_logits: 2 values, and correct has 4: want as many"),
    "marks": (
        {"base_policy": None, "base_logits": (0, 1), "correct": (1, 1)},
        "correct: at least one correct and one wrong answer are needed",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_specification_is_one_line_and_writes_nothing(name: str, tmp_path, capsys):
    """Each names its field and leaves no output folder."""
    change, message = BAD[name]
    fields = {**FAST, "method": "grpo", **change}
    with pytest.raises(ValidationError):
        Specification(**fields)
    (tmp_path / "spec.json").write_text(json.dumps(fields), encoding="utf-8")
    status = cli.main(["simulate", str(tmp_path / "spec.json"), "--out", str(tmp_path / "out")])
    error = capsys.readouterr().err
    assert status == 2
    assert error.count("\n") == 1
    assert message in error
    assert not (tmp_path / "out").exists()


def test_simulate_writes_rows_and_summary(tmp_path, capsys):
    """The summary has the schema, finite numbers and nulls where there is no theory; a rerun gives the same bytes."""
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps({**FAST, "method": "ucpo", "optimizer": "adam"}), encoding="utf-8")
    written = []
    for _ in range(2):
        assert cli.main(["simulate", str(spec), "--out", str(tmp_path / "out")]) == 0
        written.append([(tmp_path / "out" / name).read_bytes() for name in ("rows.csv", "summary.json")])
    assert written[0] == written[1]
    summary = json.loads(written[0][1])
    assert summary["schema_version"] == 1
    assert list(summary["pass_at_k"]) == [str(2**power) for power in range(9)]
    assert set(analysis.QUANTITIES) < set(summary)
    assert summary["correctness"]["predicted"] is None
    assert 0 < summary["correctness"]["mean"] < 1
    assert "there is none for these settings" in " ".join(capsys.readouterr().out.split())


def test_methods_of_a_users_file_run(tmp_path):
    """FILE.py:FUNCTION is accepted, and what it needs is passed."""
    (tmp_path / "mine.py").write_text("def plain(*, correct):\n    return correct - 0.5\n", encoding="utf-8")
    specification = Specification(**{**FAST, "method": f"{tmp_path / 'mine.py'}:plain"})
    assert calls.needs(calls.resolve(specification.method)) == ("correct",)
    assert len(list(analysis.simulate(specification))) == 5 * 14


def test_a_function_of_the_user_sees_the_groups_of_one_run(tmp_path):
    """(num_groups, group_size), as the pages promise: what it takes over the batch does not mix independent runs."""
    text = "def mine(reward):\n    assert reward.shape == (3, 4)\n    return reward - reward.mean()\n"
    (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    prompts = {"base_policy": None, "correct": None, "base_logits": (0, 1, 0), "solves": np.eye(3).tolist()}
    fields = {"method": f"{tmp_path / 'mine.py'}:mine", **prompts}
    many, few = (_records(**fields, num_runs=number)[-1][1] for number in (8, 3))
    assert many[:3].tobytes() == few.tobytes()
    (tmp_path / "mine.py").write_text("def mine(reward):\n    return reward * float('nan')\n", encoding="utf-8")
    with pytest.raises(ValueError, match="mine: it gave 24 advantages that are NaN or infinite"):
        _records(**fields, num_runs=2)


@pytest.mark.slow
def test_a_specification_that_cannot_be_run_is_one_line(tmp_path, capsys, monkeypatch):
    """A line of its matrix, its groups, and what is no JSON at all."""
    monkeypatch.chdir(tmp_path)
    fields = {**FAST, "method": "grpo"}
    matrix = {**fields, "correct": None, "base_policy": None, "base_logits": (0, 1), "solves_file": "m.csv"}
    (tmp_path / "m.csv").write_text("a,b\n1,0\n1\n")
    nine = {**matrix, "solves_file": None, "base_logits": [0] * 30, "solves": [[1] + [0] * 29] * 9, "mean_field": True}
    for text, message in (
        (json.dumps(matrix), "solves_file: m.csv line 3: 1 values: want 2"),
        (
            json.dumps({**fields, "group_size": 200, "mean_field": True}),
            "group_size is 200: groups of 4 symbols are mo",
        ),
        (json.dumps(nine), "mean_field: 368280 groups in all: want at most 200000"),
        ('{"correct":\n x', "spec.json line 2: it is not JSON: "),
        ("[" * 100_000, "spec.json: it is nested too deeply for a specification"),
    ):
        (tmp_path / "spec.json").write_text(text)
        assert cli.main(["simulate", "spec.json"]) == cli.BAD_INPUT
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert message in error
    assert {path.name for path in tmp_path.iterdir()} == {"m.csv", "spec.json"}


def test_a_bandit_of_several_prompts_is_no_problem():
    assert instances.shared_strategies([0, 1], [[1, 0]]).problem.correct.tolist() == [1, 0]
    with pytest.raises(ValueError, match=r"^solves has 2 prompts: want one$"):
        _ = instances.shared_strategies([0, 1], [[1, 0], [0, 1]]).problem
