"""What `audit` prints and draws, from rows made by hand: cells, words for each outcome, panels and captions."""

from __future__ import annotations

import numpy as np
import pytest

from sharpening.figures.drawing import audit as audit_figures
from sharpening.figures.tables import audit as audit_tables

KS = (1, 2, 4)


def row(
    model: str, quantity: str, value: float, *, at: float = 0.0, reach: float | None = 0.1, number: int = 30
) -> dict:
    return {
        "model": model,
        "quantity": quantity,
        "at": at,
        "value": value,
        "low": np.nan if reach is None else value - reach,
        "high": np.nan if reach is None else value + reach,
        "has_interval": reach is not None,
        "num_problems": number,
    }


def exact_rows(model: str, unlisted: str = "ill_formed_mass") -> list[dict]:
    means = {unlisted: 0.2, "entropy_correct": 1.1, "hill_1": 3.0, "hill_2": 2.5}
    means |= {"surprisal_correct": 3.5, "surprisal_wrong": 4.0, "surprisal_gap": -0.5}
    return [
        *(row(model, "pass_at_k", 1 - 0.8**k, at=k) for k in KS),
        *(row(model, name, value) for name, value in means.items()),
        row(model, "surprisal_gap_above_0", 0.4),
    ]


def effect_rows(model: str, slope: float, reach: float | None = 0.1) -> list[dict]:
    return [
        row(model, "mean_gain_correct", 0.7),
        row(model, "mean_gain_wrong", -0.3),
        row(model, "sharpening_slope", slope, reach=reach),
        *(row(model, "relative_gain", slope * at, at=at) for at in (-2.0, 0.0, 1.0)),
        *(row(model, "rank_uplift", share, at=at) for at, share in ((0.25, 0.1), (0.75, 0.9))),
        row(model, "rare_nll_rise", 0.05, reach=None),
    ]


def two_models(slope: float = 0.4) -> list[dict]:
    expected = [row("after", "expected_relative_gain", 0.3 * at, at=at) for at in (-2.0, 1.0)]
    differences = [row("after", "pass_at_k_difference", 0.05 * k, at=k) for k in KS]
    both = [*exact_rows("before"), *exact_rows("after"), *differences, *effect_rows("after", slope)]
    return [*both, row("after", "expected_slope", 0.3), *expected]


def report(rows: list[dict]) -> str:
    return " ".join(audit_tables.report(rows, audit_tables.reading(rows)).split())


def test_one_model_s_table_has_its_cells():
    text = report(exact_rows("before"))
    assert text.startswith(
        "EXACT, MEANS OVER PROBLEMS WITH 95% INTERVALS before correctness Q, pass@1 0.200 [0.100, 0.300]"
    )
    assert "pass@4 0.590 [0.490, 0.690]" in text
    assert "mass of ill-formed completions 0.200" in text
    assert "lower bound" not in text.lower()
    assert "TRAINING" not in text


def test_two_models_are_compared():
    text = report(two_models())
    assert "correctness Q, pass@1 0.200 [0.100, 0.300] 0.200 [0.100, 0.300]" in text
    assert "difference of pass@2 0.100 [0.000, 0.200]" in text
    assert "sharpening slope (nats per nat) 0.400 [0.300, 0.500]" in text
    assert "to the same Q (*) 0.300 [0.200, 0.400]" in text
    assert "rarest 1% of correct (nats) 0.050 SHARE" in text  # no interval, no brackets
    assert "0.25 0.100 [0.000, 0.200]" in text
    assert "(*) Plain RL that moves each prompt by itself" in text


@pytest.mark.parametrize(
    ("slope", "reach", "words"),
    [
        (
            0.4,
            0.1,
            "after: training sharpened the correct answers: one gained +0.400 [+0.300, +0.500] nats for each nat",
        ),
        (
            -0.4,
            0.1,
            "after: the correct answers drew together: one gained -0.400 [-0.500, -0.300] nats for each nat",
        ),
        (
            0.05,
            0.1,
            "after: whether training sharpened is not resolved: a correct answer gained +0.050 [-0.050, +0.150]",
        ),
        (
            -0.05,
            0.1,
            "after: whether training sharpened is not resolved: a correct answer gained -0.050 [-0.150, +0.050]",
        ),
        (0.4, None, "after: too few problems, or correct answers too alike, to say whether training sharpened."),
    ],
)
def test_the_slope_is_put_in_words(slope, reach, words):
    rows = effect_rows("after", slope, reach)
    (told,) = audit_tables.reading(rows)
    assert told.startswith(words)
    assert "EXACT" not in report(rows)  # samples under two models have no pass@k


def test_lower_bounds_are_called_so():
    rows = exact_rows("before", "unlisted_mass")
    text = report(rows)
    assert text.startswith("LOWER BOUNDS (one spelling of each answer), MEANS OVER PROBLEMS")
    assert "mass that is not listed 0.200" in text
    assert "correctness and pass@k are lower bounds" in text
    assert "entropy bonus" not in text  # the list is not the whole correct set
    assert "a lower bound of Q" in audit_figures.audit_caption(rows, "3 problems", "abc")
    assert audit_figures.draw_audit(rows).axes[0].get_ylabel() == "lower bound of mean pass@k"


def test_the_entropy_bonus_is_told_by_the_number_of_problems():
    """30 problems, a share of .4 with S_C above S_W; the first model is the one spoken of."""
    (told,) = (text for text in audit_tables.reading(two_models()) if "entropy bonus" in text)
    assert "under before the correct answers of 12 of 30 problems are more surprising" in told
    assert "(mean of S_C - S_W: -0.50 nats)" in told


def test_without_problems_that_have_both_kinds_nothing_is_said_of_the_bonus():
    rows = [one for one in exact_rows("before") if not one["quantity"].startswith("surprisal")]
    rows += [row("before", name, np.nan, reach=None, number=0) for name in ("surprisal_gap", "surprisal_gap_above_0")]
    assert audit_tables.reading(rows) == []


def test_few_problems_and_problems_without_an_answer_are_told():
    rows = [one | {"num_problems": 29} for one in exact_rows("before")]
    assert audit_tables.reading(rows)[0].startswith("29 problems: with fewer than 30 the intervals are rough")
    rows = [one | ({"num_problems": 0} if one["quantity"] == "hill_1" else {}) for one in exact_rows("before")]
    assert audit_tables.reading(rows)[0].startswith("None of the problems has a correct answer")


@pytest.mark.parametrize(
    ("agrees", "verdict"),
    [(1.0, "the two agree"), (0.0, "the two differ: another model, temperature, format or verifier?")],
)
def test_the_check_is_reported(agrees, verdict):
    values = {"observed": 2010, "num_samples": 20000, "expected": 2000.4, "standard_error": 42.4, "z": 0.2264}
    values |= {"chi_squared": 301.2, "degrees": 290, "p_value": 0.3123, "agrees": agrees}
    rows = [*exact_rows("m"), *(row("m", f"check_{name}", value, reach=None) for name, value in values.items())]
    text = report(rows)
    assert "correct: 2010 of 20000, expected 2000.4 with standard error 42.4: z = +0.23" in text
    assert "chi-squared 301.2 on 290 degrees of freedom, p = 0.312" in text
    assert verdict in text


def lines_of(panel) -> dict[str, list[float]]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float).tolist() for line in panel.get_lines()}


def test_the_figure_shows_the_rows():
    curves, gains = audit_figures.draw_audit(two_models()).axes
    assert lines_of(curves)["after"] == [1 - 0.8**k for k in KS]
    assert lines_of(gains)["after"] == [-0.8, 0.0, 0.4]
    assert lines_of(gains)["thin: plain RL on each prompt, same Q"] == [-0.6, 0.3]
    bars = [segment[:, 1].tolist() for bar in gains.collections for segment in bar.get_segments()]
    np.testing.assert_allclose(bars, [[-0.9, -0.7], [-0.1, 0.1], [0.3, 0.5]])
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["before", "after"]


def test_the_figure_has_the_panels_that_it_has_rows_for():
    (curves,) = audit_figures.draw_audit(exact_rows("before")).axes
    assert curves.get_ylabel() == "exact mean pass@k"
    (gains,) = audit_figures.draw_audit(effect_rows("after", 0.2)).axes
    assert gains.get_ylabel().startswith("gain of log-probability")


def test_the_caption_stands_alone():
    caption = audit_figures.audit_caption(two_models(), "30 Countdown problems", "0123abcd")
    assert caption.startswith("Audit of before, after on 30 Countdown problems; run 0123abcd.")
    for words in (
        "exact correctness Q",
        "from that under before",
        "is sharpening (claim B1)",
        "Thin lines: what plain RL",
    ):
        assert words in caption
    alone = audit_figures.audit_caption(exact_rows("m"), "30 problems", "0")
    by_samples = audit_figures.audit_caption(effect_rows("after", 0.2), "the samples in f.jsonl", "0")
    assert "from that under the model before it, against" in by_samples
    assert "pass@k" not in by_samples
    assert "Gains" not in alone
    assert "Thin" not in alone
