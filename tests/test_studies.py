"""The study: what it tries and chooses, what it says, and that a run's numbers are those of the audit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import study_again
from sharpening import cli
from sharpening.commands import study as study_command
from sharpening.commands.results import described
from sharpening.llm.audit import exact
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.sampling import models
from sharpening.llm.studies import protocol, runs, stages, tuning
from sharpening.llm.studies.protocol import Candidate, Contestant
from sharpening.samples import sharpening
from sharpening.storage import store, sweep
from sharpening.theory import estimators
from tests import training
from tests.language_models import saved_model
from tests.tolerances import FLOAT32_GRADIENT, FLOAT32_MASS, FLOAT32_SUM, FLOAT64

pytestmark = training.QUIET
ONE = Contestant("one", "ds", "gamma_correct", (0.1, 0.3, 1.0))
PLAN = protocol.Protocol(
    preset="smoke",
    warm_starts=(0, 1),
    setting=protocol.Setting(prompts_per_step=4, group_size=4, steps=4, pool=20),
    rates=(1.0, 2.0, 4.0),
    plain_rates=(1.0, 2.0, 4.0, 8.0),
    contestants=(Contestant(protocol.PLAIN, "dr_grpo"), ONE),
    first_seeds=(0,),
    more_seeds=(1, 2),
    kept=2,
    seeds={1: 4},
    num_validation=3,
    num_test=5,
)
RUNS = stages.Runs(PLAN, {0: "a", 1: "b"})
Labelled = stages.Labelled


class Landscape:
    """What a study would find if pass@1 and pass@64 were these functions of strength and learning rate."""

    def __init__(self, pass_at_1: Any, pass_at_64: Any, fails: Any = lambda run: False) -> None:
        self.functions = {1: pass_at_1, 64: pass_at_64}
        self.fails = fails
        self.tried: list[Labelled] = []

    def __call__(self, work: Sequence[Labelled]) -> list[list[dict[str, Any]]]:
        self.tried += work
        return [[] if self.fails(run) else self.rows(run) for run in work]

    def rows(self, run: Labelled) -> list[dict[str, Any]]:
        point = run.strength, run.task.learning_rate
        return [
            {"quantity": "pass_at_k", "step": step, "at": float(k), "value": function(*point) * (step > 0)}
            for k, function in self.functions.items()
            for step in (0, run.task.setting.steps)
        ]


def peak(strength: float, rate: float):
    return lambda s, r: 0.9 - 0.01 * abs(np.log(r / rate)) - (0.01 * abs(np.log(s / strength)) if s else 0)


def test_the_best_pass_at_64_is_chosen_among_those_near_plain_in_pass_at_1():
    """Pass@1 falls with the strength and pass@64 rises: chosen is the largest strength that pass@1 allows."""
    found = Landscape(lambda s, r: 0.6 - 0.03 * s - 0.001 * abs(r - 2), lambda s, r: 0.8 + 0.1 * s - 0.001 * abs(r - 2))
    chosen = tuning.tuned(RUNS, PLAN.contestants, found)
    assert chosen == {protocol.PLAIN: Candidate(0.0, 2.0), "one": Candidate(0.3, 2.0)}


def test_where_none_is_near_plain_the_largest_pass_at_1_is_chosen():
    found = Landscape(lambda s, r: 0.6 - 0.1 * bool(s) - 0.01 * s, lambda s, r: 0.8 + 0.1 * s)
    assert tuning.tuned(RUNS, PLAN.contestants, found)["one"].strength == pytest.approx(0.0333)  # beyond the edge


def test_halving_tries_all_once_and_those_kept_with_every_seed():
    found = Landscape(peak(0.3, 2), peak(0.3, 2))
    tuning.tuned(RUNS, PLAN.contestants, found)
    tries = [(run.strength, run.task.learning_rate, run.task.seed, run.task.warm_start) for run in found.tried]
    of_one = [one for one in tries if one[0]]
    assert {one[:2] for one in of_one if one[2] == 0} == set(itertools.product(ONE.strengths, PLAN.rates))
    kept = {one[:2] for one in of_one if one[2] > 0}
    assert len(kept) == PLAN.kept
    assert (0.3, 2.0) in kept
    assert {(seed, warm) for *_, seed, warm in tries} == {(0, 0), (1, 1), (2, 0)}  # by turns


@pytest.mark.parametrize(
    ("best", "more"),
    [
        ((0.3, 2.0), set()),
        ((1.0, 2.0), {(3.33, 2.0)}),
        ((0.1, 4.0), {(0.0333, 4.0), (0.1, 8.0)}),
    ],
)
def test_a_best_at_an_edge_extends_the_grid_there(best, more):
    assert set(tuning.beyond(tuning.grid(PLAN, ONE), Candidate(*best))) == {Candidate(*one) for one in more}
    if more:
        found = Landscape(peak(*best), peak(*best))
        tuning.tuned(RUNS, PLAN.contestants, found)
        assert more <= {(run.strength, run.task.learning_rate) for run in found.tried if run.contestant == "one"}
    assert not tuning.beyond(tuning.grid(PLAN, ONE), Candidate(1.0, 2.0), is_whole=True)


def fails_late(run: Labelled) -> bool:
    """Of the best setting the second round fails."""
    return (run.strength, run.task.learning_rate) == (0.3, 2.0) and run.task.seed == 1


def test_a_setting_of_which_a_run_failed_is_not_chosen():
    found = Landscape(peak(0.3, 2), peak(0.3, 2), fails_late)
    assert tuning.tuned(RUNS, PLAN.contestants, found)["one"] != Candidate(0.3, 2.0)
    beyond = Landscape(peak(1.0, 2), peak(1.0, 2), lambda run: run.strength > 1.0)  # the settings of a larger grid fail
    assert tuning.tuned(RUNS, PLAN.contestants, beyond)["one"] == Candidate(1.0, 2.0)
    assert any(run.strength > 1.0 for run in beyond.tried)
    with pytest.raises(ValueError, match="plain: of each of its 4 settings a run failed: want one"):
        tuning.tuned(RUNS, PLAN.contestants, Landscape(peak(1, 1), peak(1, 1), lambda run: True))


@pytest.mark.parametrize("name", protocol.PROTOCOLS)
def test_every_setting_of_a_protocol_is_one_that_llm_takes_and_costs_are_bounds(name):
    plan = protocol.PROTOCOLS[name]
    made = stages.Runs(plan, dict.fromkeys(plan.warm_starts, "x"))
    found = Landscape(peak(1e9, 1e9), peak(1e9, 1e9))
    chosen = tuning.tuned(made, plan.contestants, found)
    tried = list(dict.fromkeys(run.task.model_dump_json() for run in found.tried))
    bounds = {one["stage"]: one["num_runs"] for one in protocol.costs(plan, plan.contestants)}
    assert len(tried) <= bounds["tuning"]
    work = {
        "setting": list(made.setting()),
        "comparison": made.comparison([(one, chosen[one.name]) for one in plan.contestants]),
        "others": list(made.others(1e-3)),
    }
    for stage, labelled in work.items():
        assert len(labelled) == bounds[stage]
    for run in [*found.tried, *itertools.chain(*work.values())]:
        assert run.task.config("model").method == run.task.method
    fresh = [run.task for run in work["comparison"]]
    assert {run.seed for run in fresh}.isdisjoint(run.task.seed for run in found.tried)
    assert {run.split for run in fresh} <= {"test"}
    assert {run.task.split for run in found.tried} <= {"validation"}


def test_a_run_is_found_again_by_its_labels():
    ds = next(one for one in protocol.FULL.contestants if one.name == protocol.DS)
    made = stages.Runs(protocol.FULL, dict.fromkeys(protocol.FULL.warm_starts, "x"))
    candidate = Candidate(0.03, 4e-4)
    tuned = [*made.comparison([(ds, candidate)]), *made.tuning(ds, [candidate], [0, 2])]
    keys = [tuple(run.labels()[name] for name in study_again.LABELS) for run in (*tuned, *made.others(4e-4))]
    for run, key in zip([*tuned, *made.others(4e-4)], keys, strict=True):
        assert study_again.task_of(made, key) == run.task
    assert [key for key in keys if study_again.is_first_made(key)] == [("tuning", "ds", 0.03, 4e-4, 0, 0)]


def test_rescored_answers_have_the_log_probabilities_of_the_audit():
    """Also of problems with other numbers of answers, in batches that cut them apart; wrong answers are left out."""
    lm = models.load(str(saved_model()), device="cpu")
    settings = countdown.Settings(**models.settings_of(str(saved_model())))
    asked = countdown.distinct(settings, np.random.default_rng(0), 6)
    whole = [exact.audit(lm, one, operators=settings.operators) for one in asked]
    parts = [exact.correct_part(one) for one in whole]
    for batch in (4096, 3):
        for part, again in zip(
            parts, exact.rescored(lm, parts, operators=settings.operators, batch=batch), strict=True
        ):
            np.testing.assert_allclose(again.log_prob, part.log_prob, rtol=0, atol=FLOAT32_SUM)
    for one, part, found in zip(asked, parts, whole, strict=True):
        only = exact.audit(lm, one, operators=settings.operators, only_correct=True)
        assert part.rows == only.rows
        assert part.tokens == only.tokens
        assert exact.problem_row(part)["correctness"] == exact.problem_row(found)["correctness"]
    with pytest.raises(ValueError, match="is_exact False"):
        exact.rescored(lm, [parts[0]._replace(is_exact=False)], operators=settings.operators)


def small(**fields: Any) -> runs.StudyRun:
    setting = protocol.Setting(prompts_per_step=4, group_size=4, steps=4, pool=20)
    given = {"warm_start": 0, "weights": "x", "method": "ds", "learning_rate": 3e-3, "setting": setting, "seed": 3}
    return runs.StudyRun(**(given | {"num_problems": 5, "parameters": {"gamma_correct": 0.1}} | fields))


@pytest.mark.slow
def test_a_run_repeats_and_its_first_numbers_are_those_of_the_model():
    model_of = {0: str(saved_model())}
    task = small(split="test", every=2)
    found = runs.rows_of(task, model_of)
    assert runs.rows_of(task, model_of) == found
    values = {(row["quantity"], row["step"], row["at"]): row["value"] for row in found}
    lm = models.load(model_of[0], device="cpu")
    asked = runs.held_out(model_of[0], "test", 5, 0)
    audits = [exact.audit(lm, one, operators=str(lm.model.config.countdown["operators"])) for one in asked]
    correctness = np.array([np.exp(one.log_prob[one.correct == 1]).sum() for one in audits])
    for k in runs.KS:
        np.testing.assert_allclose(values["pass_at_k", 0, k], np.mean(1 - (1 - correctness) ** k), rtol=FLOAT32_MASS)
    assert {step for quantity, step, _ in values if quantity == "path_pass_at_k"} == {0, 2, 4}
    assert values["path_pass_at_k", 4, 1.0] == pytest.approx(
        values["pass_at_k", 4, 1.0], rel=FLOAT32_MASS
    )  # all 5 problems
    assert values["pass_at_k", 4, 1.0] != values["pass_at_k", 0, 1.0]
    assert values["rollouts", 0, 0.0] == 64
    assert {"slope", "surprisal_gap", "present", "expected_present"} <= {quantity for quantity, *_ in values}
    inside = [one.log_prob[one.correct == 1] for one in audits]
    want = np.mean([-np.sum(np.exp(log_prob) * log_prob) for log_prob in inside])
    assert values["correct_entropy", 0, 0.0] == pytest.approx(want, rel=FLOAT32_MASS)
    assert values["correct_entropy", 4, 0.0] != values["correct_entropy", 0, 0.0]


def test_answers_are_in_groups_as_often_as_claim_c1_says():
    """Forty groups of each problem: within four standard errors of 1 - (1 - p)^G, and not at p G."""
    lm = models.load(str(saved_model()), device="cpu")
    whole = [exact.audit(lm, one, operators="+-*") for one in runs.held_out(str(saved_model()), "test", 5, 0)]
    found = {name: (at, value) for name, at, value in runs.presence(lm, whole * 40, 8, 0)}
    low, high = runs.COUNTED
    p = np.concatenate([np.exp(one.log_prob[one.correct == 1]) for one in whole])
    chance = 1 - (1 - p[(p >= low) & (p <= high)]) ** 8
    error = np.sqrt(np.sum(chance * (1 - chance)) / 40) / len(chance)
    assert found["expected_present"] == (8, pytest.approx(np.mean(chance)))
    assert abs(found["present"][1] - np.mean(chance)) < 4 * error
    assert found["proportional_present"][1] - found["present"][1] > 4 * error


def test_against_plain_rl_a_common_shift_shows_no_slope():
    """Every correct answer gains .2 nats: plain RL on each problem alone would have raised likelier ones by more."""
    lm = models.load(str(saved_model()), device="cpu")
    asked = runs.held_out(str(saved_model()), "test", 5, 0)
    whole = [exact.audit(lm, one, operators="+-*") for one in asked]
    last = [part._replace(log_prob=part.log_prob + 0.2) for part in correct_parts(whole)]
    found = list(runs.against_plain(whole, last))
    values = {quantity: value for quantity, _, value in found if quantity.endswith("slope")}
    assert values["slope"] == pytest.approx(0, abs=FLOAT64)
    assert values["expected_slope"] > 0.01
    curve = [(at, value) for quantity, at, value in found if quantity == "expected_relative_gain"]
    assert np.corrcoef(np.transpose(curve))[0, 1] > 0.5
    assert values["matched_slope"] == pytest.approx(0, abs=FLOAT64)
    last[2] = last[2]._replace(log_prob=np.full_like(last[2].log_prob, -9.0))  # falls, and evens out
    fell = dict((quantity, value) for quantity, _, value in runs.against_plain(whole, last) if "gain" not in quantity)
    others = [0, 1, 3, 4]
    without = runs.against_plain([whole[place] for place in others], [last[place] for place in others])
    kept = {quantity: value for quantity, _, value in without}
    assert fell["left_out"] == pytest.approx(1 / 5)
    for quantity in ("matched_slope", "expected_slope"):
        assert fell[quantity] == pytest.approx(kept[quantity])
    assert fell["slope"] < -0.01
    (gap,) = runs.gaps(whole)
    assert gap[0] == "surprisal_gap"
    sides = [exact.problem_row(one) for one in whole]
    want = np.mean([row["surprisal_correct"] - row["surprisal_wrong"] for row in sides])
    assert gap[2] == pytest.approx(want)


def test_the_model_that_is_audited_is_the_trained_one(monkeypatch, tmp_path):
    """The last numbers are those of the weights that TRL would save."""
    from sharpening.llm.training import run as train

    kept = {}

    def saved(trained: Any, *rest: Any) -> None:
        original(trained, *rest)
        train.save(trained, tmp_path / "model")
        kept["done"] = True

    original = train.run
    monkeypatch.setattr(runs.run, "run", saved)
    found = runs.rows_of(small(), {0: str(saved_model())})
    lm = models.load(str(tmp_path / "model"), device="cpu")
    asked = runs.held_out(str(saved_model()), "validation", 5, 0)
    audits = [exact.audit(lm, one, operators=str(lm.model.config.countdown["operators"])) for one in asked]
    correctness = [exact.problem_row(one)["correctness"] for one in audits]
    last = {row["at"]: row["value"] for row in found if (row["quantity"], row["step"]) == ("pass_at_k", 4)}
    assert kept
    assert last[8.0] == pytest.approx(np.mean(estimators.exact_pass_at_k(correctness, 8)), rel=FLOAT32_MASS)
    before = [exact.audit(models.load(str(saved_model()), device="cpu"), one, operators="+-*") for one in asked]
    slope = sharpening.slope_row(exact.gains(*map(correct_parts, (before, audits))))["value"]
    assert next(row["value"] for row in found if row["quantity"] == "slope") == pytest.approx(
        slope, abs=FLOAT32_GRADIENT
    )


def correct_parts(audits: Sequence[exact.Audited]) -> list[exact.Audited]:
    return [exact.correct_part(one) for one in audits]


@pytest.mark.slow
def test_runs_that_a_committed_study_has_are_made_again_only_when_asked(tmp_path: Path, capsys, monkeypatch):
    """Tuning runs first; then all of it elsewhere, with tuning taken from there: the same rows but for those runs."""
    first, second = (["study", "--preset", "smoke", "--out", str(tmp_path / name)] for name in ("first", "second"))
    assert cli.main([*first, "--until", "tuning"]) == 0
    asked: list[int] = []

    def counted(tasks: Any, *args: Any, **options: Any) -> Any:
        asked.append(len(tasks))
        return run(tasks, *args, **options)

    run = sweep.run
    monkeypatch.setattr(study_command, "COMMITTED", (str(tmp_path / "first"),))
    monkeypatch.setattr(sweep, "run", counted)
    capsys.readouterr()
    assert cli.main([*second, "--until", "tuning"]) == 0
    kept = capsys.readouterr()
    assert sum(asked) == 0
    assert "runs are those of" in kept.err
    tables = [list(tmp_path.glob(f"{name}/llm/*/study_frontier.png")) for name in ("first", "second")]
    assert len({path.parent.name for found in tables for path in found}) == 1  # the same table
    assert len({(path.parent / "rows.csv").read_bytes() for found in tables for path in found}) == 1
    assert cli.main([*second, "--until", "tuning", "--afresh"]) == 0
    assert sum(asked) > 0
    assert capsys.readouterr().out == kept.out
    options = study_command.StudyOptions(preset="smoke", until="tuning", out=str(tmp_path / "first"))
    (path,) = (path.parent for path in tmp_path.glob("first/llm/*/study_frontier.png"))
    config, rows = described(path)["config"], store.read_rows(path / "rows.csv")
    assert len(study_command._Work(protocol.SMOKE, options).committed) > 0
    others = [{"weights": {"0": "of another model"}}, {"protocol": "another"}]
    for place, change in enumerate(others):  # runs of another model, or under other rules, are none of these
        root = str(tmp_path / f"other{place}")
        store.write_run("llm", {**config, **change}, rows, root=root)
        monkeypatch.setattr(study_command, "COMMITTED", (root,))
        assert study_command._Work(protocol.SMOKE, options).committed == {}
