"""Sections about language models that were trained here: small transformers, the study, a pretrained model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from markupsafe import Markup

from sharpening.figures.report.blocks import Cell, Section, Table, figures_of, link, told, whole_table
from sharpening.figures.report.keys import Run, best, named, of_tuned
from sharpening.figures.tables.studies import MEASURES, OTHERS

HELD_OUT = ("held_out/pass@1", "held_out/pass@8", "held_out/pass@64", "held_out/solution_diversity")
AUDITED = ("sharpening_slope", "expected_slope", "hill_1")
TRANSFER = ("slope_per_nat_tabular", "slope_per_nat_shared", "slope_per_nat_measured", "slope_over_matched")
LAPTOP = (
    "sharpening warm-start --preset laptop --folder models/laptop",
    "sharpening llm laptop --method dr_grpo --folder runs/laptop_plain_rl",
    "sharpening llm laptop --folder runs/laptop_ds",
    "sharpening audit --model models/laptop runs/laptop_plain_rl/model runs/laptop_ds/model",
)
STUDY = "study"
UNTUNED_TITLES = {
    "one-rate": ("All at one learning rate", "Half of what plain RL chose in the study; not tuned, by the same rule."),
    "ablations": (
        "One change at a time",
        "DS and plain RL, each also with one change, at one learning rate, not tuned.",
    ),
}
STANDINGS = (("pass_at_k", 1), ("pass_at_k", 8), ("pass_at_k", 64), ("effective_answers", 0), ("slope", None))
SETTING = ("prompts_per_step", "group_size", "num_steps", "schedule", "learning_rate")


def transformers(runs: Sequence[Run]) -> Section:
    """Every training of a small model from scratch, and the exact audits."""
    section = Section("transformers", "In a small transformer")
    section.say(
        "Small transformers taught Countdown from scratch, whose correct answers can all be listed: pass@k is exact. "
        "Slope: by how many nats more a correct answer gained in training for each nat that it started likelier than "
        "others of its problem; slope of single prompts: what plain RL does in theory, had each problem parameters of "
        "its own. Correct answers alive: exp of the entropy over a problem's correct answers."
    )
    section.say("To make one, train it by plain RL and by DS, and audit all three, about half an hour of one core:")
    section.paragraphs.append(told("<code>{}</code>", Markup("<br>").join(LAPTOP)))
    trained = [run for run in runs if run.config.get("command") == "llm" and not is_pretrained(run)]
    if trained:
        section.tables.append(trainings(trained))
    else:
        section.lack("plain RL and DS on the small model", "sharpening llm laptop --method dr_grpo")
    audits = [run for run in runs if run.config.get("command") == "audit" and is_exact(run)]
    for run in audits:
        if any(row["quantity"] == "pass_at_k" for row in run.rows):
            section.tables.append(audit(run))
            section.figures += figures_of(run)
        if run.where(quantity="slope_per_nat_shared"):
            section.tables.append(transfer(run))
    if not audits:
        section.lack("the exact audit before and after training", "sharpening audit --model BEFORE AFTER")
    return section


def is_exact(run: Run) -> bool:
    """Whether an audit lists every spelling of every answer, as it can of the models made here from scratch."""
    return not run.where(quantity="pruned_mass")


def is_pretrained(run: Run) -> bool:
    """Whether a model was taken from elsewhere and not taught from scratch."""
    return bool(run.config.get("model"))


def trainings(runs: Iterable[Run]) -> Table:
    """A row a training: held-out values before and after."""
    rows: list[list[Cell]] = []
    for run in sorted(runs, key=lambda run: (run.name, run.id)):
        strengths = [told("{} {}", name, run.configured("parameters", name)) for name in run.config["parameters"]]
        method = Markup(", ").join([Markup("{}").format(run.config["method"]), *strengths])
        cells: list[Cell] = []
        for quantity in HELD_OUT:
            places = run.where(quantity=quantity)
            ends = [run.cell(place, "value") for place in (places[0], places[-1])] if places else []
            cells.append(told("{} to {}", *ends) if ends else "-")
        last = run.cell(len(run.rows) - 1, "step")
        rows.append([link(run), method, run.configured("seed"), last, *cells])
    header = ["run", "method", "seed", "updates", "pass@1", "pass@8", "pass@64", "correct answers alive"]
    caption = (
        "Held-out problems, before and after training, exact in Countdown; each run has some tens of its own, the "
    )
    return Table(caption + "audits below have more, with intervals.", header, rows)


def audit(run: Run) -> Table:
    """pass@k and sharpening of every model of an audit."""
    ks = sorted({row["at"] for row in run.rows if row["quantity"] == "pass_at_k"})
    chosen = [k for k in (1, 8, 64) if k in ks] or ks[:1]
    rows: list[list[Cell]] = []
    for model in dict.fromkeys(str(row["model"]) for row in run.rows):
        curve: list[Cell] = []
        for k in chosen:
            places = run.where(model=model, quantity="pass_at_k", at=k)
            curve.append(run.estimate(places[0]) if places else "-")
        rest: list[Cell] = []
        for quantity in AUDITED:
            places = run.where(model=model, quantity=quantity)
            rest.append(run.estimate(places[0]) if places else "-")
        rows.append([model, *curve, *rest])
    header = ["model", *(f"pass@{k:g}" for k in chosen), "slope", "slope of single prompts", "answers alive"]
    spellings = "some of every correct name" if run.config.get("task") == "lists" else "most of every answer"
    kind = "Exact audit" if is_exact(run) else f"Lower bounds: of spellings {spellings}"
    return Table(told("{}, with 95% intervals over problems ({}).", kind, link(run)), header, rows)


def transfer(run: Run) -> Table:
    """What gradients before training say of sharpening per nat of log-odds, and what trained models did (claim F1)."""
    rows: list[list[Cell]] = []
    for model in dict.fromkeys(str(row["model"]) for row in run.rows):
        places = [run.where(model=model, quantity=quantity) for quantity in TRANSFER]
        if any(places):
            rows.append([model, *(run.estimate(place[0]) if place else "-" for place in places)])
    header = ["model", "predicted, each prompt alone", "predicted, parameters shared", "measured", "slope over alone"]
    caption = told(
        "Sharpening slope per nat that mean log-odds rise: by gradients before training, and as trained; last, the "
        "slope over that of each prompt alone at the correctness reached, which F1 predicts to be shared over alone "
        "({}).",
        link(run),
    )
    return Table(caption, header, rows)


def study(runs: Sequence[Run]) -> Section:
    """The study of tuned methods in a small transformer: outcomes, standings, theory, and the first stage."""
    section = Section("study", "The study: methods tuned, in a small transformer")
    found = tables_of(of_tuned(runs))
    if any(run and run.config.get("preset") == "smoke" for run in found.values()):
        section.say(
            "What there is comes from a trial of smoke size: it shows that all parts work, and decides nothing."
        )
    if outcomes := found["outcomes"]:
        section.say(
            "On validation problems each method chose its strength and learning rate: the most pass@64 among settings "
            "whose pass@1 is at most a hundredth below the best of plain RL, which takes its largest pass@1. Then all "
            "trained anew with fresh seeds, and were compared on test problems. One wins against another where, at "
            "95%, its pass@64 is higher and its pass@1 not lower by more than two hundredths; it loses where its "
            "pass@64 is lower, or its pass@1 by more than that. Plain gentler is plain RL by the rule of the others."
        )
        section.say("To do it again, in pieces of any length: <code>sharpening study --preset full</code>")
        section.tables.append(judged(outcomes))
    show_comparison(section, found)
    if (whole := found["runs"]) and whole.where(stage="setting"):
        section.tables.append(settings(whole))
    if not (found["summary"] and found["summary"].config.get("preset") == "full"):
        section.lack("the comparison of tuned methods", "sharpening study --preset full")
    return section


def untuned(runs: Sequence[Run], preset: str) -> Section:
    """A study beside that one in which nothing is tuned: outcomes, standings and theory."""
    title, what = UNTUNED_TITLES[preset]
    section = Section(preset, title)
    section.say(what)
    found = tables_of([run for run in runs if run.config.get("preset") == preset])
    if outcomes := found["outcomes"]:
        section.tables.append(judged(outcomes))
    show_comparison(section, found)
    if not found["summary"]:
        section.lack("this comparison", f"sharpening study --preset {preset}")
    return section


def tables_of(runs: Sequence[Run]) -> dict[str, Run | None]:
    """The tables of the best study among these runs; of one that ended before its comparison there is one."""
    first = best(runs, command=STUDY, table="summary") or best(runs, command=STUDY, table="runs")
    same = [run for run in runs if first and {**run.config, "table": ""} == {**first.config, "table": ""}]
    return {name: best(same, table=name) for name in ("outcomes", "summary", "predictions", "runs")}


def show_comparison(section: Section, found: Mapping[str, Run | None]) -> None:
    """Standings, theory and figures of a study, as far as they are there."""
    if summary := found["summary"]:
        section.tables += standings(summary, found["runs"])
    if predictions := found["predictions"]:
        section.tables.append(whole_table(predictions, told("Theory against these runs ({}).", link(predictions))))
    if whole := found["runs"]:
        section.figures += figures_of(whole)


def judged(run: Run) -> Table:
    """A row an outcome."""
    rows: list[list[Cell]] = []
    for place, row in enumerate(run.rows):
        against, _, measure = str(row["against"]).partition(": ")
        words = f", {MEASURES.get(measure, measure)} alone" if measure else ""
        rows.append([run.cell(place, "contestant"), f"{against}{words}", run.cell(place, "outcome")])
    caption = told("Outcomes by the rule; of single measures with Holm's correction ({}).", link(run))
    return Table(caption, ["method", "against", "outcome"], rows)


def standings(run: Run, whole: Run | None) -> list[Table]:
    """A row a contestant: its setting, from the whole table of runs, and means with intervals.

    Methods that were not compared but run once from every warm start have a table of their own.
    """
    found: dict[str, list[list[Cell]]] = {"comparison": [], "others": []}
    for name in dict.fromkeys(str(row["contestant"]) for row in run.rows):
        own = whole.where(contestant=name) if whole else []
        first = next((place for place in own if whole and whole.rows[place]["stage"] in found), None)
        cells: list[Cell] = ["-", "-"]
        if whole and first is not None:
            own_row = whole.rows[first]
            cells = [whole.cell(first, name) if own_row[name] else "-" for name in ("strength", "learning_rate")]
        for quantity, at in STANDINGS:
            places = run.where(contestant=name, against="" if name else "before", quantity=quantity)
            places = [place for place in places if at is None or run.rows[place]["at"] == at]
            cells.append(run.estimate(places[0]) if places else "-")
        stage = str(whole.rows[first]["stage"]) if whole and first is not None else "comparison"
        found[stage].append([name or "before training", *cells])
    captions = (
        told("Means over runs on test problems, 95% intervals ({}).", link(run)),
        told(f"{OTHERS} ({{}}).", link(run)),
    )
    header = ["method", "strength", "learning rate", "pass@1", "pass@8", "pass@64", "correct answers alive", "slope"]
    return [Table(caption, header, rows) for caption, rows in zip(captions, found.values(), strict=True) if rows]


def settings(run: Run) -> Table:
    """A row a setting of plain RL in the first stage of the study: means over seeds after training."""
    rows: list[list[Cell]] = []
    for key in dict.fromkeys(tuple(run.rows[place][name] for name in SETTING) for place in run.where(stage="setting")):
        own = {"stage": "setting", **dict(zip(SETTING, key, strict=True))}
        ends = {**own, "step": own["num_steps"]}
        cells = [run.mean("value", **ends, quantity="pass_at_k", at=float(k)) for k in (1, 8, 64)]
        shown = [run.mean(name, **own) for name in SETTING if name != "schedule"]
        rows.append([str(own["schedule"]).replace("_", " "), *shown, *cells])
    header = ["learning rate over updates", *(name.replace("_", " ") for name in SETTING if name != "schedule")]
    caption = told("Plain RL by setting, before anything was tuned, validation problems ({}).", link(run))
    return Table(caption, [*header, "pass@1", "pass@8", "pass@64"], rows)


def pretrained(runs: Sequence[Run]) -> Section:
    """Trainings and audits that began from a pretrained model."""
    section = Section("pretrained", "The pretrained model")
    section.say("A model of 135 million weights that others trained, which a package of the Python index carries.")
    found = [run for run in runs if run.config.get("command") in ("llm", "warm-start") and is_pretrained(run)]
    trained = [run for run in found if run.config["command"] == "llm"]
    if trained:
        section.tables.append(trainings(trained))
    for run in found:
        if run not in trained:
            section.tables.append(whole_table(run, told("Teaching it ({}).", link(run)), most=20))
    compared = tables_of([run for run in runs if run.config.get("preset") == "pretrained"])
    if any(compared.values()):
        section.say("Taught Countdown, it was then trained by several methods, of which none was tuned.")
        show_comparison(section, compared)
    elif not trained:
        section.lack(
            "a training of it whose own rows are stored",
            "sharpening llm examples/names_smollm2.yaml --folder models/ds",
        )
    audits = [run for run in runs if run.config.get("command") == "audit" and not is_exact(run)]
    for run in audits:
        section.tables.append(audit(run))
        section.figures += figures_of(run)
    if not audits:
        section.lack("its audit", "sharpening audit models/smollm2 models/ds/model --task lists --split test")
    if by_size := named(runs, "by_size"):
        section.figures += figures_of(by_size)
    return section
