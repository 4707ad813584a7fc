"""Text tables: what `check` and `predict` print, and the ledger as Markdown and LaTeX. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sharpening.figures.drawing.theory import select, series
from sharpening.figures.tables import text
from sharpening.figures.tables.text import notes, paragraph, section

Row = Mapping[str, Any]
OUTCOME_HEADER = "id      status  margin   <= tol    kind         instances seconds  statement"
COMPARED_AT = 0.9  # correctness at which the conclusion of `predict` compares flows
NO_PREDICTION = (
    "there is none for these settings: the method, the optimizer, too many groups to list, or a flow that is too stiff"
)
METHOD_NAMES = {
    "vanilla": "vanilla",
    "entropy_bonus": "entropy bonus",
    "entropy_penalty": "entropy penalty",
    "ds": "DS",
    "ds_with_charge": "DS + charge (g_w = g_c)",
}


def result_line(result: Row, width: int | None = None) -> str:
    """One claim's result as one line of `check`, cut at a width if there is one."""
    line = (
        f"{result['id']:<7} {result['status']:<6}  {result['worst_margin']:<8.2g} {result['tolerance']:<9.2g} "
        f"{result['kind']:<12} {result['instances']:>9} {result['seconds']:>7.2f}  {result['statement']}"
    )
    return line if width is None or len(line) <= width else f"{line[: width - 3]}..."


def claims_markdown(outcomes: Iterable[Row]) -> str:
    """The ledger as a Markdown table, without times."""
    lines = ["| claim | statement | source | check | status |", "|---|---|---|---|---|"]
    for outcome in outcomes:
        cells = (outcome["id"], outcome["statement"], outcome["source"], outcome["kind"], outcome["status"])
        lines.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def claims_latex(outcomes: Iterable[Row]) -> str:
    """The ledger as a LaTeX longtable (package `longtable`), without times."""
    lines = [r"\begin{longtable}{l p{0.62\linewidth} l l}", r"claim & formula & check & status \\ \hline"]
    for outcome in outcomes:
        lines.append(f"{outcome['id']} & ${outcome['latex']}$ & {outcome['kind']} & {outcome['status']} \\\\")
    return "\n".join([*lines, r"\end{longtable}", ""])


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Right-aligned columns; floats with four significant digits."""
    cells = [list(header), *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(header))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join("  " + line for line in lines)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def prediction_report(
    rows: Sequence[Row],
    likeliest: str,
    num_samples: int | None,
    num_singletons: int,
    width: int,
    *,
    is_long: bool = True,
) -> str:
    """What `predict` prints: the conclusion first, then sections with a sentence on how to read each.

    `likeliest` is the top correct answer; without `is_long` the policy and its path alone.
    """
    sections = [
        paragraph(conclusion(rows, likeliest), width, first="", later=""),
        _base_section(rows, likeliest, num_samples, num_singletons, width),
        _path_section(rows, likeliest, width),
    ]
    kl_strengths = list(dict.fromkeys(row["kl_strength"] for row in select(rows, section="optimum")))
    for kl_strength in kl_strengths if is_long else ():
        sections.append(_optimum_section(rows, kl_strength, width))
        sections.append(_dominance_section(rows, kl_strength, width))
    if is_long:
        sections += [_global_section(rows, kl_strengths, width), _selection_section(rows, width)]
    return "\n\n".join(sections) + "\n"


def conclusion(rows: Sequence[Row], likeliest: str) -> str:
    """What plain RL does to these answers, and what of it DS prevents, in a sentence.

    Diversities are compared where correctness is 0.9, or first at another level that plain RL comes through.
    """
    base = {row["quantity"]: row["value"] for row in select(rows, section="base")}
    if base["num_correct"] == 1:
        return f"There is one correct answer, {likeliest!r}: training can only make it likelier."
    milestones = {row["quantity"]: row["value"] for row in select(rows, section="milestone")}
    start = f"On this prompt alone plain RL ends on {_end(milestones['num_top'], likeliest)}"
    found = select(rows, section="matched", quantity="solution_diversity")
    left = {(row["method"], row["strength"], row["at"]): row["value"] for row in found}
    levels = sorted({at for method, _, at in left if method == "vanilla"}, key=lambda at: (at < COMPARED_AT, at))
    alive = f"of {base['solution_diversity']:.3g} correct answers alive now (correctness {base['correctness']:.3g})"
    if not levels:
        return f"{start}, {alive}; correctness starts beyond where flows are compared."
    level = levels[0]
    kept = [
        f"{left['ds', strength, level]:.3g} (strength {strength:g})"
        for strength in sorted({row["strength"] for row in select(rows, section="path", method="ds")})
        if ("ds", strength, level) in left
    ]
    ds = f", and with DS {' or '.join(kept)}" if kept else ""
    return f"{start}: {alive} {left['vanilla', 0.0, level]:.3g} are left when that reaches {level:g}{ds}."


def _value(rows: Sequence[Row], **where: Any) -> Any:
    return select(rows, **where)[0]["value"]


def _base_section(rows: Sequence[Row], likeliest: str, num_samples: int | None, num_singletons: int, width: int) -> str:
    base = {row["quantity"]: row["value"] for row in select(rows, section="base")}
    told = [
        f"{base['num_answers']:.0f} distinct answers, {base['num_correct']:.0f} of them correct; correctness Q = "
        f"{base['correctness']:.4g}.",
        f"Solution diversity {base['solution_diversity']:.4g}: the exponential of the entropy among correct answers, "
        f"how many are alive; the likeliest, {likeliest!r}, has {base['top_share']:.1%} of the correct mass.",
    ]
    if num_samples is not None:
        told.append(
            f"From {num_samples} samples; {num_singletons} answers were seen once, so about "
            f"{num_singletons / num_samples:.1%} of the model's mass is on answers that are not in this file"
            " (Good-Turing). They are left out of everything below."
        )
    return section("BASE POLICY", notes(told, width), width)


def _path_section(rows: Sequence[Row], likeliest: str, width: int) -> str:
    flows = {(row["method"], row["strength"]): None for row in select(rows, section="path")}
    times = [0.0, 10.0, 100.0, 1000.0, 10000.0]
    body = []
    for method, strength in flows:
        where = {"section": "path", "method": method, "strength": strength}
        q = dict(zip(*series(rows, "at", quantity="correctness", **where), strict=True))
        diversity = dict(zip(*series(rows, "at", quantity="solution_diversity", **where), strict=True))
        body.append(
            [
                _flow_name(method, strength),
                *(f"{_nearest(q, time):.3f} / {_nearest(diversity, time):.3g}" for time in times),
            ]
        )
    levels, matched = _matched(rows)
    milestones = {row["quantity"]: row["value"] for row in select(rows, section="milestone")}
    marks = [
        f"{name.removeprefix('time_to_').replace('_', ' ')} at t = {value:.4g}"
        for name, value in milestones.items()
        if name.startswith("time_to")
    ]
    passed = f"Vanilla: {', '.join(marks)}." if marks else "Vanilla: already past every milestone."
    return section(
        "SHARPENING PATH without KL: correctness / solution diversity at time t (claims B1-B3, B6, B7)",
        [
            *notes(
                [
                    "Exact flow of a tabular softmax policy; t = number of updates times learning rate. DS and the "
                    "bonus use the sampling policy as reference and are added after the baseline."
                ],
                width,
            ),
            fitted(["method, strength", *(f"t = {time:g}" for time in times)], body, width),
            *notes(["At equal correctness (claim E2): solution diversity / time where Q is first"], width),
            fitted(["method, strength", *(f"Q = {level:g}" for level in levels)], matched, width),
            *notes(
                [
                    f"{passed} In the end all mass is on {_end(milestones['num_top'], likeliest)}; 1 - Q falls like "
                    f"{milestones['collapse_constant']:.3g}/t."
                ],
                width,
            ),
        ],
        width,
    )


def _flow_name(method: str, strength: float) -> str:
    return METHOD_NAMES[method] + ("" if method == "vanilla" else f" {strength:g}")


def _matched(rows: Sequence[Row]) -> tuple[list[float], list[list[str]]]:
    """The levels of correctness that some flow rises to, and each flow's diversity and time there."""
    found = select(rows, section="matched")
    levels = sorted({row["at"] for row in found})
    body = []
    for method, strength in {(row["method"], row["strength"]): None for row in select(rows, section="path")}:
        line = [_flow_name(method, strength)]
        for level in levels:
            chosen = select(found, method=method, strength=strength, at=level)
            values = {row["quantity"]: row["value"] for row in chosen}
            line.append(f"{values['solution_diversity']:.3g} / {values['time']:.3g}" if values else "never")
        body.append(line)
    return levels, body


def matched_markdown(rows: Sequence[Row]) -> str:
    """The comparison at equal correctness as a Markdown table: solution diversity and time."""
    levels, body = _matched(rows)
    header = ["flow, strength", *(f"Q = {level:g}" for level in levels)]
    lines = [header, ["---"] * len(header), *([cell.replace(" / ", " at t = ") for cell in line] for line in body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _end(num_top: float, likeliest: str) -> str:
    return (
        repr(likeliest)
        if num_top == 1
        else f"the {num_top:.0f} tied likeliest correct answers, {likeliest!r} among them"
    )


def _nearest(values: Mapping[float, float], at: float) -> float:
    return values[min(values, key=lambda key: abs(key - at))]


def _optimum_section(rows: Sequence[Row], kl_strength: float, width: int) -> str:
    body = []
    found = select(rows, section="optimum", kl_strength=kl_strength)
    keys = {(row["method"], row["reference"], row["strength"]): None for row in found}
    shown = {0.0, 0.1, 0.3, 1.0}
    for method, reference, strength in keys:
        if round(strength / kl_strength, 9) not in shown:
            continue
        chosen = select(found, method=method, reference=reference, strength=strength)
        values = {row["quantity"]: row["value"] for row in chosen}
        columns = ("correctness", "solution_diversity", "top_share", "kl_to_base")
        body.append([METHOD_NAMES[method], reference, strength, *(values[column] for column in columns)])
    told = (
        "Where training ends if it runs to the optimum of reward minus KL strength x KL(p||b). Vanilla keeps the "
        "base's diversity there: its collapse comes from finite, KL-free training (the path above)."
    )
    header = ["method", "reference", "strength", "Q", "diversity", "top share", "KL(p||b)"]
    heading = f"OPTIMUM at KL strength {kl_strength:g} (claims A2, A3, A5)"
    return section(heading, [*notes([told], width), fitted(header, body, width)], width)


def _dominance_section(rows: Sequence[Row], kl_strength: float, width: int) -> str:
    body = []
    found = select(rows, section="dominance", kl_strength=kl_strength)
    for strength in dict.fromkeys(row["strength"] for row in found):
        values = {row["quantity"]: row["value"] for row in select(found, strength=strength)}
        reach = "yes" if values["literal_slack_base"] > 0 else "no"
        columns = ("solution_diversity", "kl_to_base", "correctness", "ds_correctness", "saving")
        body.append([strength, *(values[column] for column in columns), reach])
    told = (
        "Each entropy bonus (H form) against DS with the same diversity at the same KL(p||b). DS always has at least "
        "its Q if the reward gap may be chosen; 'gap 1' says whether the literal reward of 1 reaches the bonus's Q "
        "too; where not, it has this diversity at a larger Q only."
    )
    header = ["strength", "diversity", "KL(p||b)", "Q bonus", "Q DS", "KL saved at equal Q", "gap 1"]
    heading = f"DOMINANCE at equal KL, KL strength {kl_strength:g} (claim A7)"
    return section(heading, [*notes([told], width), fitted(header, body, width)], width)


def _global_section(rows: Sequence[Row], kl_strengths: Sequence[float], width: int) -> str:
    told = []
    for kl_strength in kl_strengths:
        where = {"section": "global_term", "kl_strength": kl_strength}
        for quantity, form in (("reward_form_slope", "reward form"), ("entropy_form_slope", "H form")):
            slope = _value(rows, quantity=quantity, **where)
            told.append(
                f"KL strength {kl_strength:g}, {form}: a small {_helper(slope)}; d logit Q / d strength = {slope:+.4g}."
            )
    for quantity, geometry in (("no_kl_softmax_slope", "softmax"), ("no_kl_natural_slope", "natural")):
        slope = _value(rows, quantity=quantity, kl_strength=kl_strengths[0])
        told.append(
            f"No KL, first moment, {geometry} gradient: a {_helper(slope)}; it adds {slope:+.4g} x strength"
            " to d logit Q / dt."
        )
    correct, wrong = (_value(rows, quantity=f"surprisal_{side}") for side in ("correct", "wrong"))
    told.append(f"Mean surprisal of correct answers {correct:.4g}, of wrong ones {wrong:.4g} nats.")
    return section("DOES A GLOBAL ENTROPY TERM HELP CORRECTNESS HERE? (claims A4, B11)", notes(told, width), width)


def _helper(slope: float) -> str:
    if slope == 0:
        return "bonus or penalty has no first-order effect on Q"
    return "bonus raises Q, a penalty lowers it" if slope > 0 else "bonus lowers Q, a penalty raises it"


def _selection_section(rows: Sequence[Row], width: int) -> str:
    found = select(rows, section="selection")
    tail = _value(found, quantity="tail_mass")
    columns = ("inclusion_top", "inclusion_middle", "inclusion_rarest", "coverage", "tail_miss")
    body = []
    for group_size in sorted({row["at"] for row in found if row["at"] > 0}):
        values = {row["quantity"]: row["value"] for row in select(found, at=group_size)}
        body.append([f"{group_size:.0f}", *(values.get(column, "-") for column in columns)])
    told = (
        "The tail: the rarest correct answers that hold at most a tenth of the correct mass "
        f"(mass {tail:.4g}). 'tail missed' is the probability of a group with a signal (0 < correct < G) and nothing "
        "of the tail."
    )
    header = ["G", "likeliest drawn", "middle drawn", "rarest drawn", "coverage", "tail missed"]
    heading = "SELECTION BIAS: what one group of G samples contains (claims C1, C2)"
    return section(heading, [*notes([told], width), fitted(header, body, width)], width)


def simulation_report(rows: Sequence[Row], num_runs: int, width: int) -> str:
    """What `simulate` prints: what happened in a sentence, and the last record, each quantity beside its prediction."""
    first, last = (edge(row["step"] for row in rows) for edge in (min, max))
    body = []
    for row in select(rows, step=last):
        name = row["quantity"] + (f" k = {row['k']}" if row["k"] else "")
        shown = row["predicted"] if row["prediction_source"] else "-"
        body.append([name, row["mean"], row["standard_error"], shown])
    source = select(rows, step=last)[0]["prediction_source"]
    told = f"Prediction: {source}." if source else f"Prediction: {NO_PREDICTION}."
    moved = [
        f"{words} went from {before['mean']:.3g} to {after['mean']:.3g}"
        for quantity, words in (("correctness", "Correctness"), ("solution_diversity", "solution diversity"))
        for before in select(rows, step=first, quantity=quantity)
        for after in select(rows, step=last, quantity=quantity)
    ]
    return "\n".join(
        [
            paragraph(f"{' and '.join(moved)} in {last} updates.", width, first="", later=""),
            "",
            f"AFTER {last} UPDATES, mean and standard error over {num_runs} runs",
            fitted(["quantity", "mean", "standard error", "predicted"], body, width),
            *notes([told], width),
        ]
    )


def fitted(header: Sequence[str], rows: Iterable[Sequence[Any]], width: int) -> str:
    """A table that fits the width; floats with four significant digits."""
    return text.table(header, [[_cell(value) for value in row] for row in rows], width)


def claim_explanation(claim: Row, width: int) -> str:
    """What `check --explain` prints of one claim, from its fields."""

    def told(name: str, text: str) -> str:
        return paragraph(text, width, first=f"  {name:<11} ", later=" " * 14)

    mutant = claim["mutant"]
    module, function = mutant["function"].split(":")
    return "\n".join(
        [
            f"{claim['id']}  {claim['statement']}",
            told("formula", f"${claim['latex']}$"),
            told("hypotheses", claim["hypotheses"]),
            told("source", claim["source"]),
            told("check", f"{claim['kind']}, tolerance {claim['tolerance']:g}"),
            told("derivation", claim["derivation"]),
            told("lives in", f"{module.replace('.', '/')}.py, {function}"),
            told("break it", f"there, replace `{mutant['original']}` by `{mutant['mutated']}`: the check must fail"),
        ]
    )
