"""What `audit` prints: the verdict, tables of the tidy rows, and what else they show. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.audit import is_lower_bound, models_of
from sharpening.figures.drawing.samples import labels
from sharpening.figures.drawing.theory import select
from sharpening.figures.tables import verdicts
from sharpening.figures.tables.text import cell, notes, section, spread, table
from sharpening.figures.tables.transfer import transfer_section

Row = Mapping[str, Any]
Labels = Mapping[str, str]
FEWEST_PROBLEMS = 30  # as `samples` has it
MEANS = {
    "ill_formed_mass": "share of ill-formed completions",
    "unlisted_mass": "share of completions not listed",
    "other_mass": "share of all else, wrong or not listed",
    "entropy_correct": "entropy of correct answers (nats)",
    "hill_1": "how many are alive: exp of that",
    "hill_2": "the same by inverse Simpson",
    "surprisal_correct": "surprisal of correct ones (nats)",
    "surprisal_wrong": "of well-formed wrong ones (nats)",
}
EFFECTS = {
    "mean_gain_correct": "mean gain of correct answers",
    "mean_gain_wrong": "mean gain of wrong answers",
    "sharpening_slope": "slope of gain on start (nats a nat)",
    "expected_slope": "that of plain RL, prompts alone (*)",
    "rare_nll_rise": "loss a token of the rarest 1%",
}


def report(rows: Sequence[Row], about: str, found: Sequence[Row], *, width: int, is_every_k_shown: bool = False) -> str:
    """The verdicts, the tables, and what else they show, as wide as that.

    Where the k's do not fit side by side some are left out, unless every one is to be shown.
    """
    label = labels(models_of(rows))
    told = verdict_sentences(rows, found)
    if found:
        told.append(verdicts.meanings(found, told))
    sections = [_check_section(rows, width)] if select(rows, quantity="check_z") else []
    sections.append(section(f"VERDICT on {about}", notes(told, width), width))
    if curve := select(rows, model=next(iter(label)), quantity="pass_at_k"):
        ks = [int(row["at"]) for row in curve]
        rests_on = {one[end]["k"] for one in verdicts.with_mitigations(found) for end in ("small", "large")}
        shown = ks if is_every_k_shown else spread(ks, label.values(), width, rests_on.intersection(ks))
        sections += _curves(rows, label, shown, width)
        sections.append(section("ANSWERS, means over problems", [_by_model(rows, label, MEANS, width)], width))
    others = {name: short for name, short in label.items() if select(rows, model=name, quantity="sharpening_slope")}
    if others:
        heading = "WHAT TRAINING DID TO THE LOG-PROBABILITIES OF ANSWERS (nats)"
        sections.append(section(heading, [_by_model(rows, others, EFFECTS, width, "+")], width))
        ranks = sorted({row["at"] for row in select(rows, quantity="rank_uplift")})
        body = [
            [f"{rank:.2f}", *(cell(select(rows, model=name, quantity="rank_uplift", at=rank)) for name in others)]
            for rank in ranks
        ]
        heading = "SHARE OF CORRECT ANSWERS WHOSE LOG-PROBABILITY ROSE, by their rank before: 0 the rarest"
        sections.append(section(heading, [table(["rank", *others.values()], body, width)], width))
    if shared := transfer_section(rows, label, width):
        sections.append(shared)
    if paragraphs := reading(rows, found):
        sections.append(section("WHAT ELSE THIS SHOWS", notes(paragraphs, width), width))
    return "\n\n".join(sections) + "\n"


def _check_section(rows: Sequence[Row], width: int) -> str:
    found = {row["quantity"]: row["value"] for row in rows if row["quantity"].startswith("check_")}
    agreement = "agree" if found["check_agrees"] else "differ: another model, temperature, format or verifier?"
    untested = "" if found["check_degrees"] else " (too few samples: nothing was tested)"
    told = (
        f"The two {agreement}",
        f"Correct: {found['check_observed']:.0f} of {found['check_num_samples']:.0f}, expected "
        f"{found['check_expected']:.1f} with standard error {found['check_standard_error']:.1f}: "
        f"z = {found['check_z']:+.2f}",
        f"20 likeliest answers of each problem: chi-squared {found['check_chi_squared']:.1f} on "
        f"{found['check_degrees']:.0f} degrees of freedom, p = {found['check_p_value']:.3g}{untested}",
    )
    return section("SAMPLES AGAINST THE AUDIT", notes(told, width), width)


def _curves(rows: Sequence[Row], label: Labels, ks: Sequence[int], width: int) -> list[str]:
    """pass@k of each model, and its changes from the first."""
    base, *others = label
    header = ["", *(f"pass@{k}" for k in ks)]
    levels = [
        [short, *(cell(select(rows, model=name, quantity="pass_at_k", at=k)) for k in ks)]
        for name, short in label.items()
    ]
    kind = "LOWER BOUNDS OF PASS@K (not every spelling is listed)" if is_lower_bound(rows) else "PASS@K, exact"
    sections = [section(f"{kind} [95% interval over problems]", [table(header, levels, width)], width)]
    if others:
        changes = [
            [label[name], *(cell(select(rows, model=name, quantity="pass_at_k_difference", at=k), "+") for k in ks)]
            for name in others
        ]
        sections.append(section(f"CHANGE OF PASS@K from {label[base]}", [table(header, changes, width)], width))
    return sections


def _by_model(rows: Sequence[Row], label: Labels, quantities: Mapping[str, str], width: int, sign: str = "") -> str:
    """A line a quantity and a column a model."""
    body = [
        [name, *(cell(select(rows, model=model, quantity=quantity), sign) for model in label)]
        for quantity, name in quantities.items()
        if select(rows, quantity=quantity)
    ]
    return table(["", *label.values()], body, width)


def verdict_sentences(rows: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """The verdict on each model against the first, or that one model has none."""
    if found:
        return verdicts.sentences(found, labels(models_of(rows)))
    return ["One model cannot show whether training sharpened: give the model before training as the first --model."]


def reading(rows: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """In words: the correct answers of a problem, what is only a lower bound, what a global entropy bonus would do."""
    names = models_of(rows)
    label = labels(names)
    told = [_between_answers(rows, one["model"], label) for one in found if one["quantity"] != "sharpening_slope"]
    some = [*select(rows, model=names[0], quantity="pass_at_k"), *select(rows, quantity="sharpening_slope")]
    if some and some[0]["num_problems"] < FEWEST_PROBLEMS:
        told.append(
            f"{some[0]['num_problems']} problems: with fewer than {FEWEST_PROBLEMS} the intervals are rough, and "
            "another draw of problems may say otherwise."
        )
    if select(rows, model=names[0], quantity="hill_1", num_problems=0):
        told.append("None of the problems has a correct answer: there is no correct set to sharpen.")
    if select(rows, quantity="expected_slope"):
        told.append(
            "(*) Plain RL that moves each prompt by itself, from the first model to the pass@1 reached, on problems "
            "whose pass@1 did not fall (claims B2, E2). A model's prompts share parameters: it need not follow."
        )
    if is_lower_bound(rows):
        told.append(
            "Of each answer some spellings are listed, with and without a space before it, in all tokenizations, and "
            "not those with further blanks: pass@k is a lower bound, its changes are no bounds at all, and the other "
            "measures are those of the listed spellings. So a verdict rests on the slope, not on pass@k."
        )
    elif any(row["num_problems"] for row in select(rows, model=names[0], quantity="surprisal_gap_above_0")):
        told.append(_multiplicity(rows, names[0], label))
    return told


def _between_answers(rows: Sequence[Row], name: str, label: Labels) -> str:
    """Whether the correct answers of a problem drew apart, which the verdict on pass@k does not look at."""
    (row,) = select(rows, model=name, quantity="sharpening_slope")
    if not row["has_interval"]:
        return f"{label[name]}: too few problems, or correct answers too alike, to say whether they drew apart."
    slope = verdicts.slope_in_words(cell([row], "+"))
    if row["low"] > 0:
        return f"{label[name]}: the correct answers of a problem drew apart: {slope}."
    if row["high"] < 0:
        return f"{label[name]}: the correct answers of a problem drew together: {slope}.{verdicts.NOISE}"
    return f"{label[name]}: whether the correct answers of a problem drew apart is not resolved: {slope}."


def _multiplicity(rows: Sequence[Row], name: str, label: Labels) -> str:
    (gap,), (share,) = (
        select(rows, model=name, quantity=quantity) for quantity in ("surprisal_gap", "surprisal_gap_above_0")
    )
    num_above = round(share["value"] * share["num_problems"])
    return (
        f"A global entropy bonus: under {label[name]} the correct answers of {num_above} of {share['num_problems']} "
        "problems are more surprising on average than the well-formed wrong ones (mean difference "
        f"{gap['value']:+.2f} nats). On those, each taken alone, a small bonus at first raises the odds of correct "
        "against well-formed wrong answers; on the others it lowers them (claim B11, natural gradient without KL; A4, "
        "the optimum with KL to this model for a bonus in the reward; for one of the policy's entropy the difference "
        "has to be above 1/beta). Ill-formed completions are not part of the comparison."
    )
