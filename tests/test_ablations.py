"""Ablations of the study: one change at a time, and what a changed setting does to a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sharpening.llm.countdown import formats, solver
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.studies import protocol, runs, stages, tuning
from sharpening.llm.studies.protocol import Variant, Varied
from tests import training
from tests.language_models import saved_model

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
