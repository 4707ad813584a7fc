"""Ablations of the study: one change at a time, and what a changed setting does to a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sharpening.llm.audit import exact
from sharpening.llm.countdown import formats, solver
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import models
from sharpening.llm.studies import analysis, confirm, protocol, runs, stages, tuning
from sharpening.llm.studies.protocol import Variant, Varied
from tests import training
from tests.language_models import saved_model
from tests.study_rows import MADE_UP
from tests.tolerances import FLOAT32_MASS

pytestmark = training.QUIET
PLAN = protocol.ABLATIONS


def test_every_variant_differs_from_plain_rl_or_ds_in_one_thing_at_the_same_cost():
    of = {one.name: one for one in PLAN.contestants}
    assert len(of) == len(PLAN.contestants)
    for one in PLAN.contestants:
        assert isinstance(one, Variant)
        base = of[one.name.split(",")[0]]
        fixed = dict(one.fixed)
        if one.setting is not None:
            same = {**PLAN.setting.model_dump(), "temperature": 1.0, "false_positives": 0.0, "false_negatives": 0.0}
            changed = {name for name, value in one.setting.model_dump().items() if same[name] != value}
            assert changed in (
                {"prompts_per_step", "group_size"},
                {"temperature"},
                {"false_positives", "false_negatives"},
            )
            assert one.setting.num_completions == PLAN.setting.num_completions
            fixed.pop("gamma_incorrect", None)  # of noise with a charge, beside noise alone
        assert len(fixed) == (one.setting is None and one is not base)
        assert one.method == base.method


def test_variants_are_compared_as_they_are():
    made = stages.Runs(PLAN, dict.fromkeys(PLAN.warm_starts, "x"))

    def never(work: Any) -> Any:
        raise AssertionError(work)

    chosen = tuning.tuned(made, PLAN.contestants, never)
    work = made.comparison([(one, chosen[one.name]) for one in PLAN.contestants])
    names = [run.task.model_dump_json() for run in work]
    assert len(set(names)) == len(names) == 3 * len(PLAN.contestants)
    noisy = [run.task for run in work if run.contestant == "ds, noise"]
    assert {task.parameters["gamma_correct"] for task in noisy} == {0.1}
    assert {task.warm_start for task in noisy} == set(PLAN.warm_starts)
    assert {task.config("model").temperature for task in noisy} == {1.0}
    warm = next(run.task for run in work if run.contestant == "plain, temperature 1.3")
    assert warm.config("model").temperature == 1.3


def varied(**changes: float) -> Varied:
    return Varied(prompts_per_step=4, group_size=4, steps=1, pool=20, **changes)


@pytest.mark.parametrize(("false_positives", "false_negatives"), [(0.2, 0.0), (0.0, 0.3), (0.1, 0.1)])
def test_a_mistaken_verifier_errs_as_often_as_it_says(false_positives, false_negatives):
    settings = countdown.Settings()
    task = CountdownTask(countdown.distinct(settings, np.random.default_rng(0), 1), operators=settings.operators)
    setting = varied(false_positives=false_positives, false_negatives=false_negatives)
    solution = solver.canonical_solutions(task.problems[0], settings.operators)[0]
    texts = [formats.answer(solution, "compact")] * 4000 + ["1"] * 4000
    right = [mark.correct for mark in task.marks([0] * 8000, texts, [True] * 8000)]
    assert right == [1.0] * 4000 + [0.0] * 4000
    marked, again, other = (
        np.array([mark.correct for mark in one.marks([0] * 8000, texts, [True] * 8000)])
        for one in (runs.Mistaken(task, setting, 3), runs.Mistaken(task, setting, 3), runs.Mistaken(task, setting, 4))
    )
    for wrong, chance in ((1 - marked[:4000], false_negatives), (marked[4000:], false_positives)):
        assert abs(wrong.mean() - chance) <= 5 * np.sqrt(chance * (1 - chance) / 4000)
    np.testing.assert_array_equal(marked, again)
    assert (marked != other).any()


def test_a_run_trains_by_the_mistaken_verifier_at_its_temperature(monkeypatch):
    seen: dict[str, Any] = {}

    class Stopped(Exception):
        pass

    def stop(config: Any, model: str, found: Any, folder: Any) -> Any:
        seen.update(config=config, task=found.train)
        raise Stopped

    monkeypatch.setattr(runs.run, "make_trainer", stop)
    given: dict[str, Any] = {"warm_start": 0, "weights": "x", "method": "ds", "learning_rate": 1e-3, "seed": 3}
    task = runs.StudyRun(**given, setting=varied(temperature=0.7, false_positives=0.25), num_problems=2)
    with pytest.raises(Stopped):
        runs.rows_of(task, {0: str(saved_model())})
    assert seen["config"].temperature == 0.7
    assert seen["task"].setting.false_positives == 0.25


def test_single_problems_have_their_log_odds_and_their_part_of_the_slope():
    """Every problem's correct answers gain in proportion to their start, by a factor of its own: that is its slope."""
    lm = models.load(str(saved_model()), device="cpu")
    whole = [exact.audit(lm, one, operators="+-*") for one in runs.held_out(str(saved_model()), "test", 5, 0)]
    factors = [0.01 * place for place in range(5)]
    last = [
        one._replace(log_prob=one.log_prob * (1 - factor))
        for one, factor in zip(map(exact.correct_part, whole), factors, strict=True)
    ]
    before = {(quantity, at): value for quantity, at, value in runs.of_problems(whole)}
    after = {(quantity, at): value for quantity, at, value in runs.moved_problems(whole, last)}
    for place, (one, factor) in enumerate(zip(whole, factors, strict=True)):
        row = exact.problem_row(one)
        odds = row["correctness"] / (1 - row["correctness"])
        assert before["problem_logit", place] == pytest.approx(np.log(odds), rel=FLOAT32_MASS)
        moved = np.exp(last[place].log_prob).sum()
        assert after["problem_logit", place] == pytest.approx(np.log(moved / (1 - moved)), rel=FLOAT32_MASS)
        assert before["problem_entropy", place] == row["entropy_correct"]
        p, log_prob, is_right = np.exp(one.log_prob), one.log_prob, one.correct == 1
        right, wrong = (-(p * log_prob)[side].sum() / p[side].sum() for side in (is_right, ~is_right))
        assert before["problem_gap", place] == pytest.approx(right - wrong, rel=FLOAT32_MASS)
        if ("problem_slope", place) in after:
            assert after["problem_slope", place] == pytest.approx(-factor)
    slopes, weights = (
        [after[name, place] for place in range(5) if (name, place) in after]
        for name in ("problem_slope", "problem_weight")
    )
    assert len(slopes) > 1
    total = {quantity: value for quantity, _, value in runs.slopes([exact.correct_part(one) for one in whole], last)}
    assert np.average(slopes, weights=weights) == pytest.approx(total["slope"])
    assert not [*runs.of_problems(()), *runs.moved_problems((), last)]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_two_strengths_of_ds_are_told_apart_by_strength(sign: float) -> None:
    """Whatever they are called: in one study the weak one is `ds`, in another the strong one."""
    for weak, strong in (("ds", "ds .1"), ("ds .1", "ds")):
        rows = []
        for name, strength, slope in (("plain", 0.0, 1.0), (weak, 0.1, 0.6), (strong, 0.3, 0.6 - sign * 0.4)):
            for seed in range(5):
                about = {"stage": "comparison", "contestant": name, "strength": strength, "learning_rate": 1.0}
                about |= {"warm_start": 0, "seed": seed, "step": 8, "at": 0.0}
                rows.append({**about, "quantity": "slope", "value": slope + 0.001 * seed * (name == strong)})
        (found,) = [one for one in confirm.rows_of(rows, 8) if one["claim"] == "E3"]
        assert (found["verdict"], found["num_runs"]) == ("agrees" if sign > 0 else "differs", 5)
        assert found["value"] == pytest.approx(-sign * 0.4, abs=MADE_UP)


def test_a_run_of_one_kind_of_setting_is_not_stored_under_the_id_of_another():
    """A store leaves out fields that have their defaults, so what makes a kind of setting may have none."""
    same = protocol.FULL.setting.model_dump()
    kinds = (protocol.FULL.setting, protocol.ONE_RATE.setting, protocol.PRETRAINED.setting, varied(temperature=0.7))
    given: dict[str, Any] = {"warm_start": 0, "weights": "x", "method": "ds", "learning_rate": 1e-3, "seed": 3}
    tasks = [runs.StudyRun(**given, setting=setting) for setting in kinds]
    assert len({task.model_dump_json(exclude_defaults=True) for task in tasks}) == len(tasks)
    assert kinds[1].model_dump() == {**same, "by_problem": True}


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_a_term_does_to_single_problems_is_held_against_b11_a4_and_e3(sign: float) -> None:
    """Made-up problems where it does what theory says, and the opposite; noise a run, and problems in another order."""
    rng = np.random.default_rng(0)
    logit, entropy, gap = rng.normal(size=(3, 100))
    labels = {"stage": "comparison", "strength": 0.1, "learning_rate": 1.0, "warm_start": 0}
    rows: list[dict[str, Any]] = []
    more = {
        "plain": (0 * gap, 0 * gap),
        "entropy bonus .03": (sign * (0.2 * gap + 0.1 * entropy - 0.3 * logit), 0 * gap),
        "ds .1": (0 * gap, -sign * 0.1 * logit),
    }
    for seed in range(4):
        noise = rng.normal(size=100)
        for contestant, (odds, slope) in more.items():
            own = {"problem_logit": (0, logit), "problem_gap": (0, gap), "problem_entropy": (0, entropy)}
            after = {
                "problem_logit": noise + odds + 0.01 * rng.normal(size=100),
                "problem_slope": noise + slope + 0.01 * rng.normal(size=100),
                "problem_weight": np.where(logit > 1.5, 0.0, 1.0),
            }
            after["problem_slope"][logit > 1.5] += 9 * (contestant == "plain")  # without weight
            for step, found in ((0, {name: values for name, (_, values) in own.items()}), (8, after)):
                for quantity, values in found.items():
                    about = {**labels, "contestant": contestant, "seed": seed, "quantity": quantity, "step": step}
                    rows += [{**about, "at": float(place), "value": value} for place, value in enumerate(values)]
    told = {one["claim"]: one for one in confirm.rows_of(rows[::-1], 8)}
    assert {claim: one["verdict"] for claim, one in told.items()} == dict.fromkeys(
        ("B11", "A4", "E3"), "agrees" if sign > 0 else "differs"
    )
    assert told["E3"]["value"] == pytest.approx(-sign * 0.1, abs=MADE_UP)
    assert not list(analysis.summary(rows, 8))  # no mean over problems by their place
