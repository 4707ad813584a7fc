"""Contests of tuned methods: what is matched, how a setting is chosen, and that a known winner wins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from sharpening.bandits import simulator
from sharpening.bandits.experiments import contests, framework, motions
from sharpening.bandits.specification import Specification
from sharpening.figures import render
from sharpening.figures.drawing import bandits as bandit_figures
from tests.tolerances import FLOAT64

SMOKE, LAPTOP = framework.PRESETS["smoke"], framework.PRESETS["laptop"]
FIELDS = {"instance": "two_correct_arms", "group_size": 8, "num_steps": 60, "record_every": 4}


def contest(**changed) -> contests.Contest:
    fields = {
        "contestant": "ds",
        "method": "ds",
        "strength": "gamma_correct",
        "strengths": (0.1, 1.0),
        "fixed": {},
        "learning_rates": (0.5, 5.0),
        "instance": "two",
        "goal": "answers",
        "tuning": ({**FIELDS},),
        "fresh": ({**FIELDS},),
        "num_tuning_runs": 3,
        "num_fresh_runs": 12,
        "seed": 5,
        "fresh_seed": 6,
    }
    return contests.Contest.model_validate(fields | changed)


def test_answers_are_counted_at_the_first_record_with_that_correctness():
    specification = Specification.model_validate(
        {**FIELDS, "method": "dr_grpo", "learning_rate": 2.0, "num_runs": 6, "seed": 3}
    )
    found = contests._answers(specification)
    records = [np.exp(log_policy) for _, log_policy in simulator.run(specification)]
    for run in range(6):
        first = next((policy[run] for policy in records if policy[run][:2].sum() >= 0.9), None)
        want = np.nan
        if first is not None:
            share = first[:2] / first[:2].sum()
            want = np.exp(-(share * np.log(share)).sum())
        np.testing.assert_allclose(found["answers_at_90"][run], want, rtol=FLOAT64)
        np.testing.assert_allclose(found["correctness"][run], records[-1][run][:2].sum(), rtol=FLOAT64)
    assert np.isfinite(found["answers_at_90"]).any()


@pytest.mark.parametrize(
    ("peak", "wanted"), [((10.0, 5.0), (10.0, 5.0)), ((1e6, 5.0), (100.0, 5.0)), ((0.01, 0.5), (0.01, 0.5))]
)
def test_a_best_at_the_edge_extends_the_grid_twice(monkeypatch, peak, wanted):
    """A score that falls with the distance from the peak: reached if two more points go so far, else flagged."""

    def runs(self, setting, bandits, num_runs, seed):
        distance = sum(abs(np.log10(value / best)) for value, best in zip(setting, peak, strict=True))
        yield {"run": 0, "pass_at_1": -distance, "pass_at_8": 0.0}

    monkeypatch.setattr(contests.Contest, "_runs", runs)
    rows = list(contest(goal="passes").rows())
    (chosen,) = [row for row in rows if row["is_chosen"] and row["stage"] == "tuning"]
    assert (chosen["strength"], chosen["learning_rate"]) == pytest.approx(wanted)
    assert chosen["at_edge"] is (peak != wanted)


def test_a_whole_strength_is_not_extended(monkeypatch):
    def runs(self, setting, bandits, num_runs, seed):
        yield {"run": 0, "pass_at_1": setting[0], "pass_at_8": 0.0}

    monkeypatch.setattr(contests.Contest, "_runs", runs)
    rows = list(contest(goal="passes", method="pkpo", strength="k", strengths=(2.0, 3.0)).rows())
    assert {row["strength"] for row in rows} == {2.0, 3.0}


def test_of_settings_that_all_get_there_the_one_with_most_answers_is_chosen():
    reached = {"answers_at_99": 2.0, "correctness": 0.992}
    more, slower = {**reached, "answers_at_99": 2.5}, {**reached, "correctness": 0.991}
    never = {"answers_at_99": np.nan, "correctness": 0.999}
    score = [contests._score("answers", runs) for runs in ([more], [reached], [slower], [more, never], [never])]
    assert score == sorted(score, reverse=True)
    assert len(set(score)) == 5
    assert np.isfinite(score).all()
    passes = [[{"pass_at_1": first, "pass_at_8": eighth}] for first, eighth in ((0.5, 0.9), (0.6, 0.7), (0.4, 0.95))]
    assert max(passes, key=lambda runs: contests._score("passes", runs)) == passes[0]
    assert max(passes, key=lambda runs: contests._score("passes", runs, 0.0, (0.55, 0.65))) == passes[1]
    assert contests._score("answers", [reached], 0.9915) > contests._score("answers", [slower | more], 0.9925)


def test_the_interval_of_pairs_is_that_of_a_paired_t_test():
    rng = np.random.default_rng(0)
    own, rival = rng.normal(1.0, 1.0, 20), rng.normal(0.0, 1.0, 20)
    own[3] = np.nan
    mean, half = contests.paired_interval(own, rival)
    kept = np.isfinite(own)
    low, high = ttest_rel(own[kept], rival[kept]).confidence_interval()
    np.testing.assert_allclose([mean - half, mean + half], [low, high], rtol=FLOAT64)
    assert np.isnan(contests.paired_interval(own[:1], rival[:1])).all()


def test_smoothing_beats_plain_and_rows_are_the_same_twice():
    """Known by claims B5 and E3: plain RL ends on fewer answers than DS, at the same seeds."""
    smooth, again = (list(contest().rows()) for _ in range(2))
    np.testing.assert_equal(smooth, again)
    plain = list(contest(contestant="plain", method="dr_grpo", strength="", strengths=(0.0,)).rows())
    _, sentences = contests.summarise([], [plain, smooth])
    assert len(sentences) == 2
    ends = [[row["answers"] for row in rows if row["stage"] == "fresh"] for rows in (smooth, plain)]
    mean, half = contests.paired_interval(*map(np.array, ends))
    assert mean - half > 0


def test_fresh_runs_have_seeds_of_their_own():
    same, other = (
        [row["answers"] for row in contest(fresh_seed=seed).rows() if row["stage"] == "fresh"] for seed in (5, 6)
    )
    assert same != other


def test_every_contestant_is_tuned_on_the_same_number_of_settings_and_tables_differ():
    """Six strengths by six rates wherever there is a strength to choose; tuning and fresh tables share none."""
    for one in contests.single_tasks(LAPTOP, 0):
        assert len(one.learning_rates) == 6
        assert len(one.strengths) == (1 if not one.strength else 3 if one.strength == "k" else 6)
    (first, *_) = contests.shared_tasks(LAPTOP, 0)
    logits = [table["base_logits"] for table in (*first.tuning, *first.fresh)]
    assert len(set(logits)) == contests.TABLES + contests.FRESH_TABLES


def test_the_figure_is_drawn_from_rows_and_the_same_twice():
    row = {"instance": "two", "stage": "tuning", "correctness": 0.99, "answers_at_99": 2.0}
    rows = [
        {**row, "contestant": name, "correctness": 0.99 + 0.001 * place} for place, name in enumerate(("ds", "plain"))
    ]
    first, again = (render.render("tuned", lambda: bandit_figures.draw_contest(rows), "caption") for _ in range(2))
    assert first == again
    beaten = {**rows[0], "correctness": 0.98, "answers_at_99": 1.5}
    (line,) = bandit_figures.draw_contest([rows[0], beaten]).axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), [[0.01, 2.0]], rtol=FLOAT64)


def test_motions_are_those_of_claims():
    """Plain RL sharpens at every policy and never lowers Q (B1); DS at strength 3 does both (E3); rows are the same."""
    few = {"num_policies": 12, "group_size": 3, "seed": 1}
    (plain,) = motions.Motion(method="dr_grpo", parameters={}, **few).rows()
    assert (plain["sharpens"], plain["lowers_correctness"]) == (1.0, 0.0)
    strong = motions.Motion(method="ds", parameters={"gamma_correct": 3.0}, **few)
    (one,), (again,) = list(strong.rows()), list(strong.rows())
    assert one == again
    assert 0 < one["lowers_correctness"] < 1
    assert one["sharpens"] < 1
    assert one["sharpening_per_logit"] < plain["sharpening_per_logit"]
    rows, sentences = motions.summarise([], [[plain], [one]])
    assert (len(rows), len(sentences)) == (2, 2)
