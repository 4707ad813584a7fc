"""Sections about theory against simulation, who wins where, and published simulations beside ours."""

from __future__ import annotations

from collections.abc import Sequence

from sharpening.figures.report.blocks import Cell, Section, Table, figures_of, link, told, whole_table
from sharpening.figures.report.keys import Run, best

SURVEYS = {
    "frontier_single": "where every method ends on single prompts, by strength",
    "frontier_shared": "where every method ends where prompts share strategies, by strength",
    "phase_diagram": "who reaches most of m correct answers with m samples",
    "tuned_single": "tuned methods on single prompts",
    "tuned_matched": "the same, among settings that end as correct as tuned DS",
    "tuned_shared": "tuned methods where prompts share strategies",
    "tuned_shared_matched": "the same, where a method gains most over tuned DS",
    "motion": "the exact step of DS and of rarity MaxRL at random policies",
    "ablation": "what each field of DS does",
}
WHOLE = ("motion", "ablation")
MEASURES = {
    "correctness": "correctness at the end",
    "answers_at_90": "answers at Q = .9",
    "answers_at_99": "answers at Q = .99",
    "pass_at_1": "pass@1",
    "pass_at_8": "pass@8",
}


def simulations(runs: Sequence[Run]) -> Section:
    """The experiments, each with how many of its findings agree."""
    section = Section("simulations", "Theory against simulation")
    run = best(runs, command="bandits", table="findings")
    if run is None:
        section.lack("the bandit experiments", "sharpening bandits")
        return section
    section.say(
        "{} experiments hold the simulator against the theory: of {} findings {} agree and {} differ. Each also has to "
        "reject a rival prediction ({}).",
        run.distinct("experiment"),
        run.count(),
        run.count(status="agrees"),
        run.count(status="differs"),
        link(run),
    )
    rows: list[list[Cell]] = []
    for name in dict.fromkeys(str(row["experiment"]) for row in run.rows):
        places = run.where(experiment=name)
        states = [run.count(experiment=name, status=one) for one in ("agrees", "differs")]
        rows.append([name.replace("_", " "), run.cell(places[0], "verdict"), run.count(experiment=name), *states])
    section.tables.append(
        Table(told("The experiments ({}).", link(run)), ["experiment", "verdict", "findings", "agree", "differ"], rows)
    )
    return section


def surveys(runs: Sequence[Run]) -> Section:
    """Who wins where in the simulator."""
    section = Section("surveys", "Which method wins where, in tables of answers")
    section.say(
        "Every method at many strengths, or each at its own best setting on fresh seeds. These are tables of answers, "
        "not language models. Right is more correct and up is more diverse in the figures."
    )
    for name, what in SURVEYS.items():
        run = best(runs, command="bandits", table=name)
        if run is None:
            section.lack(what, f"sharpening bandits --only {name}")
            continue
        if name in WHOLE:
            section.tables.append(whole_table(run, what))
        elif name.startswith("tuned"):
            section.tables.append(contest(run, what))
        section.figures += figures_of(run)
    return section


def contest(run: Run, what: str) -> Table:
    """Means of the fresh runs of every contestant at its chosen setting."""
    measures = [name for name in MEASURES if name in run.rows[0]]
    pairs = dict.fromkeys((row["instance"], row["contestant"]) for row in run.rows if row["stage"] == "fresh")
    rows: list[list[Cell]] = []
    for instance, contestant in pairs:
        own = {"stage": "fresh", "instance": instance, "contestant": contestant}
        first = run.where(**own)[0]
        setting: list[Cell] = [run.cell(first, name) for name in ("strength", "learning_rate")]
        rows.append([f"{instance}: {contestant}", *setting, *(run.mean(name, **own) for name in measures)])
    header = ["prompt: method", "strength", "learning rate", *(MEASURES[name] for name in measures)]
    return Table(told("{}: means of the fresh runs that came so far ({}).", what.capitalize(), link(run)), header, rows)


def published(runs: Sequence[Run]) -> Section:
    """Numbers that others published of their simulations, beside ours."""
    section = Section("published", "Published simulations beside ours")
    run = best(runs, command="bandits", table="external")
    if run is None:
        section.lack("published numbers of others' simulations", "sharpening bandits --only external")
        return section
    section.say(
        "Of {} published numbers {} came out again within a tolerance set beforehand, {} did not, and {} could not be "
        "compared ({}).",
        run.count(),
        run.count(status="agrees"),
        run.count(status="differs"),
        run.count(status="not comparable"),
        link(run),
    )
    columns = ("published", "ours", "tolerance", "status", "reason", "source")
    rows: list[list[Cell]] = [
        [row["quantity"], *(run.cell(place, column) for column in columns)] for place, row in enumerate(run.rows)
    ]
    section.tables.append(Table(told("All of them ({}).", link(run)), ["quantity", *columns], rows))
    return section


def theory(runs: Sequence[Run]) -> Section:
    """What the theory predicts: for a table of answers, and the figures of the theory."""
    section = Section("theory", "What the theory predicts")
    run = best(runs, command="predict")
    if run is None:
        section.lack("a prediction for a table of answers", "sharpening predict examples/countdown_answers.csv")
    else:
        section.tables.append(prediction(run))
        section.figures += figures_of(run)
    for name in FIGURES:
        drawn = best(runs, command="figures", figure=name)
        if drawn is None:
            section.lack(f"figure {name.replace('_', ' ')}", f"sharpening figures --only {name}")
        else:
            section.figures += figures_of(drawn)
    return section


FIGURES = (
    "two_biases",
    "phase_portrait",
    "universality",
    "ternary_flows",
    "dominance_frontier",
    "multiplicity",
    "theory_and_simulation",
    "prompt_weights",
)


def prediction(run: Run) -> Table:
    """Correct answers alive at equal correctness, for every method and strength."""
    places = run.where(section="matched", quantity="solution_diversity")
    levels = sorted({run.rows[place]["at"] for place in places})
    rows: list[list[Cell]] = []
    for method, strength in dict.fromkeys((run.rows[place]["method"], run.rows[place]["strength"]) for place in places):
        found = {run.rows[place]["at"]: place for place in run.where(method=method, strength=strength)}
        own = {at: place for at, place in found.items() if place in places}
        first = next(iter(own.values()))
        cells = [run.cell(own[at], "value") if at in own else "-" for at in levels]
        rows.append([method.replace("_", " "), run.cell(first, "strength"), *cells])
    caption = told("Effective number of correct answers where correctness Q reaches a level, {} ({}).",
                   run.config.get("file", "a table of answers"), link(run))  # fmt: skip
    return Table(caption, ["method", "strength", *(f"Q = {level:g}" for level in levels)], rows)
