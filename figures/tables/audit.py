"""What `audit` prints: tables of the tidy rows, and in words what they show. Strings from rows, no files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.audit import is_lower_bound, models_of
from sharpening.figures.drawing.theory import select
from sharpening.figures.tables.theory import table

Row = Mapping[str, Any]
WIDTH = 116
FEWEST_PROBLEMS = 30  # as `samples` has it
MEANS = {
    "ill_formed_mass": "mass of ill-formed completions",
    "unlisted_mass": "mass that is not listed",
    "entropy_correct": "entropy of correct answers (nats)",
    "hill_1": "effective correct answers, exp of it",
    "hill_2": "the same, order 2 (inverse Simpson)",
    "surprisal_correct": "surprisal of correct answers (nats)",
    "surprisal_wrong": "surprisal of well-formed wrong ones (nats)",
}
EFFECTS = {
    "mean_gain_correct": "mean gain of correct answers (nats)",
    "mean_gain_wrong": "mean gain of wrong answers (nats)",
    "sharpening_slope": "sharpening slope (nats per nat)",
    "expected_slope": "the same for plain RL on each prompt alone, to the same Q (*)",
    "rare_nll_rise": "rise of NLL per token, rarest 1% of correct (nats)",
}


def report(rows: Sequence[Row], paragraphs: Sequence[str]) -> str:
    """The tables and the reading."""
    names = models_of(rows)
    sections = []
    if select(rows, quantity="pass_at_k"):
        kind = "LOWER BOUNDS (one spelling of each answer)" if is_lower_bound(rows) else "EXACT"
        sections.append(f"{kind}, MEANS OVER PROBLEMS WITH 95% INTERVALS\n" + table(*_means(rows, names)))
    others = [name for name in names if select(rows, model=name, quantity="sharpening_slope")]
    if others:
        sections.append("WHAT TRAINING DID TO THE FIRST MODEL\n" + table(*_effects(rows, others)))
        sections.append("SHARE OF CORRECT ANSWERS WHOSE LOG-PROBABILITY ROSE\n" + table(*_uplifts(rows, others)))
    if select(rows, quantity="check_z"):
        sections.append(_check_section(rows))
    sections.append("\n".join(textwrap.fill(text, WIDTH) for text in ("WHAT THIS SHOWS, AND WHAT NOT", *paragraphs)))
    return "\n\n".join(sections) + "\n"


def _check_section(rows: Sequence[Row]) -> str:
    found = {row["quantity"]: row["value"] for row in rows if row["quantity"].startswith("check_")}
    verdict = "agree" if found["check_agrees"] else "differ: another model, temperature, format or verifier?"
    untested = "" if found["check_degrees"] else " (too few samples: nothing was tested)"
    return (
        f"SAMPLES AGAINST THE AUDIT\n"
        f"  correct: {found['check_observed']:.0f} of {found['check_num_samples']:.0f}, expected "
        f"{found['check_expected']:.1f} with standard error {found['check_standard_error']:.1f}: "
        f"z = {found['check_z']:+.2f}\n"
        f"  20 likeliest answers of each problem: chi-squared {found['check_chi_squared']:.1f} on "
        f"{found['check_degrees']:.0f} degrees of freedom, p = {found['check_p_value']:.3g}{untested}\n"
        f"  the two {verdict}"
    )


def _means(rows: Sequence[Row], names: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    body = []
    for k in [row["at"] for row in select(rows, model=names[0], quantity="pass_at_k")]:
        label = "correctness Q, pass@1" if k == 1 else f"pass@{int(k)}"
        body.append([label, *(_cell(select(rows, model=name, quantity="pass_at_k", at=k)) for name in names)])
    for quantity, label in MEANS.items():
        if select(rows, quantity=quantity):
            body.append([label, *(_cell(select(rows, model=name, quantity=quantity)) for name in names)])
    return ["", *names], body


def _effects(rows: Sequence[Row], others: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    body = []
    for k in [row["at"] for row in select(rows, model=others[0], quantity="pass_at_k_difference")]:
        cells = (_cell(select(rows, model=name, quantity="pass_at_k_difference", at=k)) for name in others)
        body.append([f"difference of pass@{int(k)}", *cells])
    for quantity, label in EFFECTS.items():
        if select(rows, quantity=quantity):
            body.append([label, *(_cell(select(rows, model=name, quantity=quantity)) for name in others)])
    return ["", *others], body


def _uplifts(rows: Sequence[Row], others: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    ranks = sorted({row["at"] for row in select(rows, quantity="rank_uplift")})
    head = ["rank before, 0 the rarest answer", *others]
    body = [
        [f"{rank:.2f}", *(_cell(select(rows, model=name, quantity="rank_uplift", at=rank)) for name in others)]
        for rank in ranks
    ]
    return head, body


def _cell(found: Sequence[Row]) -> str:
    if not found:
        return "-"
    (row,) = found
    value = f"{row['value']:.3f}"
    return f"{value} [{row['low']:.3f}, {row['high']:.3f}]" if row["has_interval"] else value


def reading(rows: Sequence[Row]) -> list[str]:
    """In words: did training sharpen, what is only a lower bound, and what would a global entropy bonus do here."""
    names = models_of(rows)
    found = [_sharpened(rows, name) for name in names if select(rows, model=name, quantity="sharpening_slope")]
    some = [*select(rows, model=names[0], quantity="pass_at_k"), *select(rows, quantity="sharpening_slope")]
    if some and some[0]["num_problems"] < FEWEST_PROBLEMS:
        found.append(
            f"{some[0]['num_problems']} problems: with fewer than {FEWEST_PROBLEMS} the intervals are rough, and "
            "another draw of problems may say otherwise."
        )
    if select(rows, model=names[0], quantity="hill_1", num_problems=0):
        found.append("None of the problems has a correct answer: there is no correct set to sharpen.")
    if select(rows, quantity="expected_slope"):
        found.append(
            "(*) Plain RL that moves each prompt by itself, from the first model to the correctness reached, on "
            "problems whose correctness did not fall (claims B2, E2). A model's prompts share parameters: it need not "
            "follow."
        )
    if is_lower_bound(rows):
        found.append(
            "Only one spelling of each answer is listed: correctness and pass@k are lower bounds, their differences "
            "are no bounds at all, and the other measures are those of the listed spellings."
        )
    elif any(row["num_problems"] for row in select(rows, model=names[0], quantity="surprisal_gap_above_0")):
        found.append(_multiplicity(rows, names[0]))
    return found


def _sharpened(rows: Sequence[Row], name: str) -> str:
    (row,) = select(rows, model=name, quantity="sharpening_slope")
    if not row["has_interval"]:
        return f"{name}: too few problems, or correct answers too alike, to say whether training sharpened."
    size = f"{row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] nats for each nat that it started likelier"
    if row["low"] > 0:
        return f"{name}: training sharpened the correct answers: one gained {size}, on {row['num_problems']} problems."
    if row["high"] < 0:
        return (
            f"{name}: the correct answers drew together: one gained {size}, on {row['num_problems']} problems. "
            "Training that smooths does this, and so does noise (regression to the mean): it is smoothing if the two "
            "models in the other order have a slope above 0."
        )
    return f"{name}: whether training sharpened is not resolved: a correct answer gained {size}."


def _multiplicity(rows: Sequence[Row], name: str) -> str:
    (gap,), (share,) = (
        select(rows, model=name, quantity=quantity) for quantity in ("surprisal_gap", "surprisal_gap_above_0")
    )
    num_above = round(share["value"] * share["num_problems"])
    return (
        f"A global entropy bonus: under {name} the correct answers of {num_above} of {share['num_problems']} problems "
        f"are more surprising on average than the well-formed wrong ones (mean of S_C - S_W: {gap['value']:+.2f} "
        "nats). On those, each taken alone, a small bonus at first raises the odds of correct against well-formed "
        "wrong answers; on the others it lowers them. So says claim B11 for the natural gradient without KL, and A4 "
        "at the optimum with KL to this model for a bonus in the reward; for one of the policy's entropy A4 asks for "
        "S_C - S_W above 1/beta. Ill-formed completions are not part of the comparison."
    )
