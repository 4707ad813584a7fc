"""Surveys: ends against vanilla on hand-made rows, contestants swept equally hard, figures drawn from their tables."""

from __future__ import annotations

import pytest

from sharpening.bandits.experiments import compare, framework, surveys
from sharpening.figures import render
from sharpening.figures.drawing import bandits as bandit_figures

SMOKE = framework.PRESETS["smoke"]


def row(variant: str, strength: float, step: int, correctness: float, diversity: float) -> list[dict]:
    """The two measures of one variant at one step, with a standard error of .01."""
    common = {"variant": variant, "strength": strength, "step": step, "standard_error": 0.01}
    pairs = (("correctness", correctness), ("solution_diversity", diversity))
    return [{**common, "measure": name, "mean": value} for name, value in pairs]


ROWS = [
    *row("vanilla", 1.0, 0, 0.4, 4.0),
    *row("vanilla", 1.0, 1, 0.6, 3.0),
    *row("vanilla", 1.0, 2, 0.8, 1.0),
    *(point for step in (0, 1) for point in row("better", 0.1, step, 0.4, 4.0)),
    *row("better", 0.1, 2, 0.9, 2.0),
    *(point for step in (0, 1) for point in row("slower", 0.1, step, 0.4, 4.0)),
    *row("slower", 0.1, 2, 0.7, 4.0),
    *(point for step in (0, 1) for point in row("noise", 0.1, step, 0.4, 4.0)),
    *row("noise", 0.1, 2, 0.81, 1.01),
]


def test_ends_are_compared_with_vanilla_at_its_end_and_stopped_early():
    """Above needs both measures beyond two standard errors; the gain is read off vanilla at equal correctness."""
    ends = {end.variant: end for end in compare.ends(ROWS, "correctness", "solution_diversity")[3:]}
    assert {name for name, end in ends.items() if end.is_above} == {"better"}
    assert ends["better"].gain == pytest.approx(2.0)  # vanilla never went as far: its end
    assert ends["slower"].gain == pytest.approx(2.0)  # halfway between 3 and 1 at .7
    stops = [end for end in compare.ends(ROWS, "correctness", "solution_diversity") if end.variant == compare.STOPPED]
    assert [(end.strength, end.correctness, end.other) for end in stops] == [
        (0, 0.4, 4.0),
        (1, 0.6, 3.0),
        (2, 0.8, 1.0),
    ]


def test_the_frontier_drops_what_another_exceeds_in_both():
    """Vanilla's end lies below `better` in both measures, `slower` does not."""
    kept = [end.variant for end in compare.frontier(compare.ends(ROWS, "correctness", "solution_diversity"))]
    assert kept[0] == "better"
    assert "slower" in kept
    assert "vanilla" not in kept


@pytest.mark.parametrize("preset", framework.PRESETS.values(), ids=lambda scale: scale.name)
def test_the_reviewers_baselines_are_in_every_frontier_and_ds_is_tuned_no_harder(preset: framework.Scale):
    """Vanilla, a third of its rate, with KL; the entropy bonus has as many strengths as any form of ds."""
    for survey in surveys.SURVEYS[:2]:
        (instance, *_) = {task.common["instance"] for task in survey.tasks(preset, 0)}
        variants = [v for task in survey.tasks(preset, 0) if task.common["instance"] == instance for v in task.variants]
        counts = {name: sum(v.name == name for v in variants) for name in {v.name for v in variants}}
        assert {"vanilla", "vanilla at rate / 3", "vanilla with KL", "entropy bonus", "ds"} <= set(counts)
        assert counts["entropy bonus"] == counts["ds"] == counts["vanilla with KL"] == preset.num_strengths
    for task in surveys.SURVEYS[2].tasks(preset, 0):
        contestants = [surveys.PHASE_FAMILIES[variant.name] for variant in task.variants]
        assert contestants.count("ds") == contestants.count("entropy bonus") == preset.num_strengths
        assert contestants.count("vanilla") == 2 + preset.num_strengths


def test_the_phase_diagram_has_64_cells_beyond_smoke():
    """8 x 8 cells from the laptop preset on."""
    assert len(list(surveys.SURVEYS[2].tasks(framework.PRESETS["laptop"], 0))) == 64


@pytest.mark.slow
@pytest.mark.parametrize("survey", surveys.SURVEYS[:4], ids=lambda survey: survey.id)
def test_a_survey_answers_from_rows_and_its_figure_is_the_same_twice(survey: surveys.Survey):
    """A few steps of each survey: a table, sentences, and the same picture bytes on a second drawing."""
    tasks = [
        task.model_copy(
            update={
                "common": {**task.common, "num_steps": 4, "record_every": 2, "num_runs": 2},
                "variants": task.variants[:2],
            }
        )
        for task in survey.tasks(SMOKE, 0)
    ]
    if survey.id == "phase_diagram":
        tasks = [task.model_copy(update={"variants": keep(task)}) for task in survey.tasks(SMOKE, 0)]
    found = [list(framework.rows_of(task)) for task in tasks]
    table, sentences = survey.summarise(tasks, found)
    assert table
    assert sentences
    if survey.id == "ablation":
        return
    draw = bandit_figures.draw_phase_diagram if survey.id == "phase_diagram" else bandit_figures.draw_frontier
    first, again = (render.render(survey.id, lambda: draw(table), "caption") for _ in range(2))
    assert first == again


def keep(task: compare.Comparison) -> tuple[compare.Variant, ...]:
    """Two contestants of a cell of the phase diagram, cheap enough for a test."""
    names = ("vanilla", "ds")
    return tuple(next(variant for variant in task.variants if variant.name == name) for name in names)
