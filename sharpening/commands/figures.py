"""`figures`: the first figures, each from stored rows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from pydantic import Field
from tqdm import tqdm

from sharpening.bandits import figure_rows as bandit_rows
from sharpening.commands import audit, bandits, by_size, results, study
from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.options import NonEmpty, Options
from sharpening.figures import render
from sharpening.figures.drawing import biases as bias_figures
from sharpening.figures.drawing import by_size as by_size_figures
from sharpening.figures.drawing import comparisons as comparison_figures
from sharpening.figures.drawing import flows as flow_figures
from sharpening.storage import files, store
from sharpening.theory import policies
from sharpening.theory.methods.spelling import suggestion
from sharpening.theory.policies import Problem
from sharpening.theory.rows import figures as figure_rows

Row = Mapping[str, Any]
SHOWN: Mapping[str, Any] = {"base_policy": [0.3, 0.1, 0.4, 0.2], "correct": [1, 1, 0, 0]}


class FiguresOptions(Options):
    """Draw the first figures of the theory and the simulator: rows, PDF, PNG and caption of each in the store."""

    only: tuple[str, ...] = Field((), description="figures to draw; all if not given")
    of: tuple[NonEmpty, ...] = Field(
        (),
        description="instead: runs of the store, of audit, bandits or study, to draw again in place, from their rows",
    )
    list: bool = Field(False, description="print the names, with seconds and what each shows, and draw nothing")
    formats: tuple[Format, ...] = FORMATS
    width: float | None = WIDTH
    out: NonEmpty = Field("results", description="folder of the result store")


@dataclass(frozen=True)
class FirstFigure:
    """A figure as data: `rows` is called with the settings, which name the run; seconds measured on one core."""

    layer: str
    shows: str
    seconds: float
    rows: Callable[..., Iterable[Row]]
    draw: Callable[[Sequence[Row]], Figure]
    caption: Callable[[Sequence[Row], Row, str], str]
    settings: Mapping[str, Any]


def _of_policy(rows: Callable[..., Iterable[Row]]) -> Callable[..., Iterable[Row]]:
    """Rows of a problem as rows of a base policy and the marks of its answers."""

    def from_settings(*, base_policy: list[float], correct: list[int], **rest: Any) -> Iterable[Row]:
        return rows(policies.problem_from_probabilities(base_policy, correct), **rest)

    return from_settings


def _frontier(*, kl_strength: float, exponents: list[float], **policy: Any) -> Iterable[Row]:
    problem: Problem = figure_rows.power_law_problem(**policy)
    return figure_rows.dominance_frontier(problem, kl_strength, exponents)


FIGURES: Mapping[str, FirstFigure] = {
    "phase_portrait": FirstFigure(
        "theory",
        "where vanilla and DS sharpen or smooth two correct answers, and the flow from the shown policy",
        2,
        _of_policy(figure_rows.phase_portrait),
        flow_figures.draw_phase_portrait,
        flow_figures.phase_portrait_caption,
        {**SHOWN, "strengths": [0.0, 0.1, 1.0]},
    ),
    "ternary_flows": FirstFigure(
        "theory",
        "flow lines of vanilla, bonus, penalty and DS over two correct answers and a wrong one",
        3,
        _of_policy(figure_rows.ternary_flows),
        flow_figures.draw_ternary_flows,
        flow_figures.ternary_flows_caption,
        {"base_policy": [0.3, 0.15, 0.55], "correct": [1, 1, 0], "strength": 0.5},
    ),
    "dominance_frontier": FirstFigure(
        "theory",
        "correctness against diversity and KL at optima: DS beside global bonus and penalty",
        1,
        _frontier,
        comparison_figures.draw_dominance_frontier,
        comparison_figures.dominance_frontier_caption,
        {
            "num_correct": 20,
            "num_wrong": 60,
            "correctness": 0.3,
            "correct_power": 1.0,
            "wrong_power": 1.5,
            "kl_strength": 0.3,
            "exponents": [0.7, 0.3],
        },
    ),
    "multiplicity": FirstFigure(
        "theory",
        "where a global term helps correctness, by number of correct answers and base correctness; DS beside it",
        2,
        figure_rows.multiplicity,
        comparison_figures.draw_multiplicity,
        comparison_figures.multiplicity_caption,
        {"num_wrong": 30, "kl_strength": 1.0},
    ),
    "theory_and_simulation": FirstFigure(
        "bandits",
        "exact curves through simulated points of vanilla, bonus and DS, and a prediction that misses them",
        8,
        bandit_rows.theory_and_simulation,
        comparison_figures.draw_theory_and_simulation,
        comparison_figures.theory_and_simulation_caption,
        {
            **SHOWN,
            "strength": 0.1,
            "group_size": 4,
            "learning_rate": 0.02,
            "num_steps": 5000,
            "num_runs": 64,
            "record_every": 25,
        },
    ),
    "two_biases": FirstFigure(
        "bandits",
        "selection and reinforcement of a likely and a rare correct answer, by group size: their product stays",
        3,
        bandit_rows.two_biases,
        bias_figures.draw_two_biases,
        bias_figures.two_biases_caption,
        {
            "base_policy": [0.3, 0.03, 0.47, 0.2],
            "correct": [1, 1, 0, 0],
            "group_sizes": [2, 4, 8, 16, 32, 64, 128, 256],
            "num_groups": 20_000,
            "seed": 0,
        },
    ),
    "universality": FirstFigure(
        "bandits",
        "four methods that see correctness alone lose diversity at their own speed along one curve; DS leaves it",
        12,
        bandit_rows.universality,
        bias_figures.draw_universality,
        bias_figures.universality_caption,
        {
            **SHOWN,
            "strength": 0.1,
            "group_size": 8,
            "learning_rate": 0.02,
            "num_steps": 4000,
            "num_runs": 64,
            "record_every": 20,
        },
    ),
    "prompt_weights": FirstFigure(
        "theory",
        "how much each correctness-only method weighs a prompt, by its correctness",
        1,
        figure_rows.prompt_weights,
        comparison_figures.draw_prompt_weights,
        comparison_figures.prompt_weights_caption,
        {"group_size": 8},
    ),
    "by_size": FirstFigure(
        "llm",
        "what RL did to models of 165 thousand to 7 billion weights, from the committed runs of a clone",
        1,
        by_size.rows,
        by_size_figures.draw_by_size,
        by_size_figures.by_size_caption,
        {
            "reference": "results/reference",
            "runs": {
                "study": "llm/abc63a01ddeb",
                "taught": "llm/f724d4d66cad",
                "pretrained": "llm/845fad8754a3",
                "counts": "samples/b04a7da21090",
                "curves": "samples/b2778cd12f94",
            },
        },
    ),
}


def figures(options: FiguresOptions) -> int:
    """Computes, stores and draws the figures asked for, or lists them."""
    if options.of and (options.only or options.list):
        raise ValueError("--of: it draws stored runs: want it without --only and --list")
    for name in options.only:
        if name not in FIGURES:
            near = suggestion(name, FIGURES)
            raise ValueError(f"--only: {name!r} is not a figure: {near}want some of {', '.join(FIGURES)}")
    names = [name for name in FIGURES if name in options.only or not options.only]
    if options.list:
        for name in names:
            print(f"{name:<22} {FIGURES[name].seconds:>3g} s  {FIGURES[name].shows}")
        return 0
    files.refuse_as_folder("out", options.out)
    if options.of:
        _draw_again(options)
        return 0
    for name in [] if options.only else [name for name in names if not _has_its_runs(name)]:
        names.remove(name)
        print(f"note: {name} is left out: it needs the committed runs of a clone", file=sys.stderr)
    for name in tqdm(names, disable=None, leave=False):
        print(_drawn(name, options).replace("figure", name, 1))
    return 0


def _draw_again(options: FiguresOptions) -> None:
    """Draws the figures of stored runs anew; nothing is computed, and nothing drawn unless all can be."""
    runs = [results.named("--of", begin, options.out) for begin in options.of]
    for begin, run in zip(options.of, runs, strict=True):
        if run["state"] != "ok" or run["config"].get("command") not in REDRAWN:
            what = run["state"] if run["state"] != "ok" else f"a run of {run['config'].get('command')}"
            raise ValueError(f"--of: {begin!r}: {what}: want a whole run of {', '.join(REDRAWN)}")
    own = (*store.RUN_FILES, store.MANIFEST)  # what a run has beside its artefacts
    for run in runs:
        path, config = Path(run["path"]), run["config"]
        rows = store.read_rows(path / "rows.csv")
        made = REDRAWN[config["command"]](config, rows, path.name, options.formats, options.width)
        if not made:
            print(f"note: {path.name} has no figure", file=sys.stderr)
            continue
        files_of = {str(one.relative_to(path)): one for one in path.rglob("*") if one.is_file()}
        kept = {name: one.read_bytes() for name, one in files_of.items() if name not in own}
        provenance = (path / "provenance.json").read_bytes()
        artefacts = {**kept, **made}
        store.write_run(
            run["layer"], config, rows, artefacts=artefacts, root=options.out, overwrite=True, made=provenance
        )
        for name in dict.fromkeys(Path(file).stem for file in made):
            print(figure_line(path, name, options.formats).replace("figure", name, 1))


REDRAWN: Mapping[str, Callable[..., Mapping[str, bytes]]] = {
    "audit": audit.drawn,
    "bandits": bandits.drawn,
    "study": study.drawn,
}


def _has_its_runs(name: str) -> bool:
    """Whether the committed runs of a figure are there, as they are in a clone; true where it needs none."""
    reference = FIGURES[name].settings.get("reference")
    return reference is None or Path(reference).is_dir()


def _drawn(name: str, options: FiguresOptions) -> str:
    """Stores rows, drawing and caption of one figure; returns the line that says where it is."""
    figure, clock = FIGURES[name], store.Clock()
    config = {"command": "figures", "figure": name, **figure.settings}
    rows = list(figure.rows(**figure.settings))
    caption = figure.caption(rows, figure.settings, store.run_id(figure.layer, config))
    artefacts = render.render(name, lambda: figure.draw(rows), caption, formats=options.formats, width=options.width)
    run = store.write_run(
        figure.layer, config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True
    )
    return figure_line(run, name, options.formats)


COMMAND = (FiguresOptions, figures)
