"""What `audit` prints and draws, from rows made by hand: cells, words for each outcome, panels and captions."""

from __future__ import annotations

import re
from dataclasses import asdict

import numpy as np
import pytest

from sharpening.figures.drawing import audit as audit_figures
from sharpening.figures.tables import audit as audit_tables
from sharpening.samples import verdict

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


def judged(rows: list[dict], quantity: str = verdict.PASS_AT_K) -> list[dict]:
    """The verdicts on the models of these rows, as the command hands them on."""
    found = verdict.verdicts(rows, quantity, verdict.OF_AUDIT, base="before", between=lambda *_: ())
    return [asdict(one) for one in found]


def report(rows: list[dict], width: int = 100) -> str:
    text = audit_tables.report(rows, "30 problems", judged(rows), width=width, is_every_k_shown=True)
    assert max(map(len, text.splitlines())) <= width
    return " ".join(text.split())


def test_one_model_s_table_has_its_cells():
    text = report(exact_rows("before"))
    assert text.startswith(
        "VERDICT on 30 problems One model cannot show whether training sharpened: give the model before"
    )
    assert "PASS@K, exact [95% interval over problems] pass@1 pass@2 pass@4 before .200 [.100, .300] .360 " in text
    assert ".590 [.490, .690]" in text
    assert "share of ill-formed completions .200" in text
    assert "lower bound" not in text.lower()
    assert "TRAINING" not in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_two_models_are_compared(width):
    text = report(two_models(), width)
    assert "before .200 [.100, .300]" in text
    assert "CHANGE OF PASS@K from before" in text
    assert "after +.050 [-.050, +.150]" in text
    assert "slope of gain on start (nats a nat) +.400 [+.300, +.500]" in text
    assert "that of plain RL, prompts alone (*) +.300 [+.200, +.400]" in text
    assert "loss a token of the rarest 1% +.050 SHARE" in text  # no interval, no brackets
    assert "0.25 .100 [.000, .200]" in text
    assert "(*) Plain RL that moves each prompt by itself" in text


def test_the_verdict_of_two_models_is_first_and_its_ks_are_shown():
    """A loss at k = 4 alone, in a table that has room for two k's: 4 is there beside both ends, and 2 is not."""
    rows = [row for row in two_models() if row["quantity"] != "pass_at_k_difference"]
    changes = {1: 0.0, 2: -0.05, 4: -0.3, 8: -0.05}
    rows += [row("after", "pass_at_k_difference", value, at=k) for k, value in changes.items()]
    rows += [row(name, "pass_at_k", 0.9, at=8) for name in ("before", "after")]
    text = audit_tables.report(rows, "30 problems", judged(rows), width=60)
    assert " ".join(text.split()).startswith(
        "VERDICT on 30 problems after sharpened: against before pass@4 fell (-.300 [-.400, -.200]) and no change of "
        "pass@1 is resolved (+.000 [-.100, +.100])."
    )
    shown = [word for line in text.splitlines() if re.fullmatch(r"( +pass@\d+)+", line) for word in line.split()]
    assert shown == ["pass@1", "pass@4", "pass@8"] * 2


@pytest.mark.parametrize(
    ("slope", "reach", "told", "alone"),
    [
        (
            0.4,
            0.1,
            "after: the correct answers of a problem drew apart: of two correct answers to a problem the likelier "
            "gained +.400 [+.300, +.500] nats for each nat that it was ahead.",
            "after sharpened: of two correct answers to a problem the likelier gained +.400 [+.300, +.500] nats for",
        ),
        (
            -0.4,
            0.1,
            "after: the correct answers of a problem drew together: of two correct answers to a problem the likelier "
            "gained -.400 [-.500, -.300] nats for each nat that it was ahead. Smoothing does this, and so does noise",
            "Whether after sharpened is not resolved: of two correct answers to a problem the likelier gained -.400 ",
        ),
        (
            0.05,
            0.1,
            "after: whether the correct answers of a problem drew apart is not resolved: of two correct answers to a "
            "problem the likelier gained +.050 [-.050, +.150]",
            "Whether after sharpened is not resolved: of two correct answers to a problem the likelier gained +.050 ",
        ),
        (
            0.4,
            None,
            "after: too few problems, or correct answers too alike, to say whether they drew apart.",
            "Whether after sharpened is not resolved: too few problems have correct answers of different probability.",
        ),
    ],
)
def test_the_slope_is_put_in_words(slope, reach, told, alone):
    """Beside pass@k it is one more measure, and without pass@k it is the verdict."""
    rows = effect_rows("after", slope, reach)
    both = [*rows, row("after", "pass_at_k_difference", 0.0, at=1)]
    assert audit_tables.reading(both, judged(both))[0].startswith(told)
    assert audit_tables.verdict_sentences(rows, judged(rows, verdict.SLOPE))[0].startswith(alone)
    assert audit_tables.reading(rows, judged(rows, verdict.SLOPE)) == []
    assert "PASS@K" not in report(rows)  # samples under two models have no pass@k


def test_lower_bounds_are_called_so():
    rows = exact_rows("before", "unlisted_mass")
    text = report(rows)
    assert "LOWER BOUNDS OF PASS@K (not every spelling is listed) [95% interval over problems]" in text
    assert "share of completions not listed .200" in text
    assert "pass@k is a lower bound" in text
    assert "entropy bonus" not in text  # the list is not the whole correct set
    assert "a lower bound of Q" in audit_figures.audit_caption(rows, (), "3 problems", "abc")
    assert audit_figures.draw_audit(rows).axes[0].get_ylabel() == "lower bound of mean pass@k"


def test_the_entropy_bonus_is_told_by_the_number_of_problems():
    """30 problems, a share of .4 with S_C above S_W; the first model is the one spoken of."""
    (told,) = (text for text in audit_tables.reading(two_models(), []) if "entropy bonus" in text)
    assert "under before the correct answers of 12 of 30 problems are more surprising" in told
    assert "(mean difference -0.50 nats)" in told


def test_without_problems_that_have_both_kinds_nothing_is_said_of_the_bonus():
    rows = [one for one in exact_rows("before") if not one["quantity"].startswith("surprisal")]
    rows += [row("before", name, np.nan, reach=None, number=0) for name in ("surprisal_gap", "surprisal_gap_above_0")]
    assert audit_tables.reading(rows, []) == []


def test_few_problems_and_problems_without_an_answer_are_told():
    rows = [one | {"num_problems": 29} for one in exact_rows("before")]
    assert audit_tables.reading(rows, [])[0].startswith("29 problems: with fewer than 30 the intervals are rough")
    rows = [one | ({"num_problems": 0} if one["quantity"] == "hill_1" else {}) for one in exact_rows("before")]
    assert audit_tables.reading(rows, [])[0].startswith("None of the problems has a correct answer")


@pytest.mark.parametrize(
    ("agrees", "told"),
    [(1.0, "The two agree"), (0.0, "The two differ: another model, temperature, format or verifier?")],
)
def test_the_check_is_reported(agrees, told):
    values = {"observed": 2010, "num_samples": 20000, "expected": 2000.4, "standard_error": 42.4, "z": 0.2264}
    values |= {"chi_squared": 301.2, "degrees": 290, "p_value": 0.3123, "agrees": agrees}
    rows = [*exact_rows("m"), *(row("m", f"check_{name}", value, reach=None) for name, value in values.items())]
    text = report(rows)
    assert text.startswith(f"SAMPLES AGAINST THE AUDIT {told}")
    assert "Correct: 2010 of 20000, expected 2000.4 with standard error 42.4: z = +0.23" in text
    assert "chi-squared 301.2 on 290 degrees of freedom, p = 0.312" in text


def lines_of(panel) -> dict[str, list[float]]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), dtype=float).tolist() for line in panel.get_lines()}


def test_the_figure_shows_the_rows():
    curves, gains = audit_figures.draw_audit(two_models()).axes
    assert lines_of(curves)["after"] == [1 - 0.8**k for k in KS]
    assert lines_of(gains)["after"] == [-0.8, 0.0, 0.4]
    thin = [line for line in gains.get_lines() if line.get_linewidth() == audit_figures.THIN["linewidth"]]
    assert [np.asarray(line.get_ydata()).tolist() for line in thin[1:]] == [[-0.6, 0.3]]  # the first is the axis
    assert [text.get_text() for text in gains.get_legend().get_texts()] == ["thin: plain RL, each prompt alone"]
    bars = [segment[:, 1].tolist() for bar in gains.collections for segment in bar.get_segments()]
    np.testing.assert_allclose(bars, [[-0.9, -0.7], [-0.1, 0.1], [0.3, 0.5]])
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["before", "after"]


def test_the_figure_has_the_panels_that_it_has_rows_for():
    (curves,) = audit_figures.draw_audit(exact_rows("before")).axes
    assert curves.get_ylabel() == "exact mean pass@k"
    (gains,) = audit_figures.draw_audit(effect_rows("after", 0.2)).axes
    assert gains.get_ylabel() == "its gain, centred (nats)"
    assert [text.get_text() for text in gains.get_legend().get_texts()] == ["after"]


def test_the_caption_stands_alone():
    caption = audit_figures.audit_caption(two_models(), ["after sharpened."], "30 Countdown problems", "0123abcd")
    assert caption.startswith("after sharpened. Audit of before, after on 30 Countdown problems. Bands and bars: 95%")
    assert caption.endswith(" Run 0123abcd.")
    for words in (
        "(a) Mean over problems of pass@k = 1 - (1-Q)^k with the exact Q",
        "(b) How much training raised the log-probability of correct answers, against that log-probability under bef",
        "the correct set sharpened (claim B1)",
        "Thin lines: what plain RL",
    ):
        assert words in caption
    alone = audit_figures.audit_caption(exact_rows("m"), (), "30 problems", "0")
    by_samples = audit_figures.audit_caption(effect_rows("after", 0.2), (), "the samples in f.jsonl", "0")
    assert "log-probability under the model before training, both" in by_samples
    assert "pass@k" not in by_samples
    assert "(a)" not in alone + by_samples
    assert "raised" not in alone
    assert "Thin" not in alone
