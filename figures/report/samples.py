"""Sections about samples of models: public ones, and those that the user compared."""

from __future__ import annotations

from collections.abc import Sequence

from sharpening.figures.report.blocks import Cell, Section, Table, direction, figures_of, link, told
from sharpening.figures.report.keys import Keyed, Run, named

SHOWN_KS = (1, 8, 64)
PUBLIC = {
    "deepscaler": "sharpening samples examples/public/deepscaler_1.5b_base.csv examples/public/deepscaler_1.5b_rl.csv",
    "rates_public": "sharpening rates examples/public/deepscaler_1.5b_base.csv "
    "examples/public/deepscaler_1.5b_rl.csv --part source",
    "rates_training": "sharpening rates --training examples/public/training_rates_qwen2.5_math_1.5b_grpo.csv.gz",
    "rates_curves": "sharpening rates --curves examples/public/pass_at_k_qwen2.5_simplerl.csv",
}
WHAT = {
    "deepscaler": "samples of a 1.5B model before and after RL",
    "rates_public": "the law by which its success rates moved",
    "rates_training": "success rates during the training of a second 1.5B model",
    "rates_curves": "published pass@k curves of 7B and 1.5B models",
}


def public_models(runs: Sequence[Run]) -> Section:
    """Public models at 1.5 to 7 billion weights, which others trained by plain RL."""
    section = Section("public", "Public models at 1.5B to 7B")
    section.say(
        "Counts and curves that others published of models before and after plain RL. They are not of DS, and they do "
        "not say why a number moved. Nothing was trained here at these sizes."
    )
    found = [run for name in ("rates_public", "rates_training") if (run := named(runs, name))]
    for run in found:
        place = run.place(part="all", law="common", quantity="behind")
        row = run.rows[place]
        did = direction(row["low"], row["high"], "predicts worse", "predicts better", "does as well")
        section.say(
            "Does theory's one common shift in log-odds (claim A2.2) fit? On problems held out it {}: it is {} nats a "
            "problem behind the best law ({}: {}).",
            did,
            run.estimate(place),
            link(run),
            run.what or WHAT[run.name],
        )
    for name, command in PUBLIC.items():
        run = named(runs, name)
        if run is None:
            section.lack(WHAT[name], command)
            continue
        if name == "deepscaler":
            section.tables += [passes(run), *problems(run)]
        elif name == "rates_curves":
            section.tables.append(curves(run))
        else:
            section.tables.append(laws(run))
        section.figures += figures_of(run)
    return section


def own_samples(runs: Sequence[Run]) -> Section:
    """What the user compared by `samples`: every such run that is none of the public models'."""
    section = Section("samples", "Samples that were compared")
    found = [run for run in runs if run.config.get("command") == "samples" and run.name not in PUBLIC]
    for run in found:
        section.say("{}: {}.", link(run), run.what or "yours")
        section.tables.append(passes(run))
        section.figures += figures_of(run)
    if not any(run.is_own for run in found):
        section.lack("samples of a model of yours, before and after training", "sharpening samples BEFORE AFTER")
    return section


def passes(run: Run) -> Table:
    """pass@k of every file, and how it differs from the first, with the band that is for all k at once."""
    files = list(dict.fromkeys(row["file"] for row in run.rows))
    known = sorted({row["k"] for row in run.rows if row["quantity"] == "pass_at_k"})
    ks = sorted({known[-1], *(k for k in SHOWN_KS if k in known)})
    rows: list[list[Cell]] = []
    for file in files:
        found = {run.rows[place]["k"]: place for place in run.where(quantity="pass_at_k", file=file, base="")}
        rows.append([file, *(run.cell(found[k], "value") if k in found else "-" for k in ks)])
        places = run.where(quantity="pass_at_k_difference", file=file, base=files[0])
        if places:
            changes = {run.rows[place]["k"]: place for place in places}
            ends = ("band_low", "band_high")
            rows.append(
                [
                    f"less {files[0]}",
                    *(run.estimate(changes[k], ends, sign="+") if k in changes else "-" for k in ks),
                ]
            )
    caption = told("pass@k, and its change with the 95% band for all k at once ({}).", link(run))
    return Table(caption, ["file", *(f"pass@{k}" for k in ks)], rows)


def problems(run: Run) -> list[Table]:
    """Which problems were kept, lost and gained."""
    told_of = {
        "num_kept": "solved before and after",
        "num_lost": "lost: solved before, never after",
        "num_lost_by_chance": "lost by chance alone, if nothing had changed",
        "num_gained": "gained",
        "first_loss_k": "first k with a loss",
    }
    rows: list[list[Cell]] = []
    for quantity, words in told_of.items():
        rows += [[words, run.estimate(place)] for place in run.where(quantity=quantity)]
    caption = told("Problems of which at least one sample was correct ({}).", link(run))
    return [Table(caption, ["what", "value"], rows)] if rows else []


def laws(run: Run) -> Table:
    """The laws of how success rates moved, by how well they predict held-out problems."""
    chosen = [str(run.rows[place]["law"]) for place in run.where(part="all", quantity="is_chosen")]
    behind = {law: run.place(part="all", law=law, quantity="behind") for law in chosen}
    rows: list[list[Cell]] = []
    for law in sorted(chosen, key=lambda law: (run.rows[behind[law]]["value"], law)):
        cells = [run.estimate(run.place(part="all", law=law, quantity=what)) for what in ("mean_shift", "spread")]
        rows.append([law, *cells, run.estimate(behind[law]), *_slope(run, law)])
    caption = told(
        "Laws of the shift of log-odds between a problem's success rates before and after, best first (common: the "
        "same mean shift whatever the rate before): mean shift, spread between problems, how much less log-probability "
        "a law gives to a held-out problem than the best, and the slope in the log-odds before ({}).",
        link(run),
    )
    return Table(caption, ["law", "mean shift", "spread", "behind, nats a problem", "slope"], rows)


def _slope(run: Run, law: str) -> list[Cell]:
    places = run.where(part="all", law=law, quantity="parameter slope")
    return [run.estimate(places[0]) if places else "-"]


def curves(run: Run) -> Table:
    """Published curves: pass@1 and pass@k at the largest k, before and after, and the nearest law."""
    rows: list[list[Cell]] = []
    for part in dict.fromkeys(str(row["part"]) for row in run.rows):
        ks = sorted({row["k"] for row in run.rows if (row["part"], row["quantity"]) == (part, "after")})
        cells: list[Keyed] = []
        for k in (ks[0], ks[-1]):
            cells += [
                run.cell(run.place(part=part, law="", k=k, quantity=when), "value") for when in ("before", "after")
            ]
        (nearest,) = (place for place in run.where(part=part, quantity="is_nearest") if run.rows[place]["value"])
        law = str(run.rows[nearest]["law"])
        spread = run.estimate(run.place(part=part, law=law, quantity="spread"))
        last = run.cell(run.where(part=part, law="", k=ks[-1], quantity="after")[0], "k")
        rows.append([part, *cells[:2], last, *cells[2:], run.cell(nearest, "law"), spread])
    header = ["model and set", "pass@1 before", "after", "largest k", "pass@k before", "after", "nearest law", "spread"]
    return Table(told("Published curves of pass@k before and after plain RL ({}).", link(run)), header, rows)
