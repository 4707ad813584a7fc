"""Figures that set methods side by side: the dominance frontier, multiplicity, theory on simulation, prompt weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from sharpening.figures.drawing.theory import label_correctness, legend_below, letters, plain_decimals, select, spread
from sharpening.figures.style import COLUMN, LOOKS, PAGE

Row = Mapping[str, Any]

SIMULATED_AS = {"dr_grpo": "vanilla", "entropy_bonus": "entropy_bonus", "ds": "ds"}
SETTING = {
    "num_runs": "runs a method",
    "num_steps": "updates",
    "learning_rate": "learning rate",
    "group_size": "completions a group (G)",
    "strength": "strength of bonus and DS",
}
SLOPE_LEVELS = (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
RIVAL: Any = {"linewidth": 0.6, "linestyle": (0, (2, 2))}
SAME_WEIGHT = 1e-4  # relative: prompt weights that are drawn as one line; epsilon is of that order
FALLING = 0.75  # of the weight at Q = 0


def _columns(rows: Sequence[Row], *names: str) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in names]


def draw_dominance_frontier(rows: Sequence[Row]) -> Figure:
    """Correctness against diversity at optima, and against KL to the base at equal diversity.

    Shapes:   rows of `theory.rows.figures.dominance_frontier`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.8 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 2)
    for method in ("entropy_bonus", "entropy_penalty", "ds", "ds_with_charge", "vanilla"):
        diversity, logit = _columns(
            select(rows, section="optimum", method=method), "solution_diversity", "logit_correctness"
        )
        panels[0].plot(logit, diversity, **LOOKS[method].line(), label=LOOKS[method].label)
    panels[0].set_xlim(right=log(0.9999 / 0.0001))
    label_correctness(panels[0])
    panels[0].set(xlabel="correctness Q (logit scale)", ylabel="solution diversity (exp nats)", ylim=(0, None))
    legend_below(panels[0])
    frontier = select(rows, section="frontier")
    for exponent, width in zip(dict.fromkeys(row["exponent"] for row in frontier), (0.9, 1.8), strict=True):
        _draw_frontier(panels[1], select(frontier, exponent=exponent), width)
    panels[1].set(xlabel="KL(p||b) (nats)", ylabel="correctness Q", xlim=(0, None), ylim=(None, 1.02))
    legend_below(panels[1])
    letters(panels, -0.17)
    return figure


def _draw_frontier(panel: Axes, rows: Sequence[Row], width: float) -> None:
    """What smoothing and the bonus pay at one diversity; pale where a reward gap of 1 does not get there."""
    diversity = rows[0]["solution_diversity"]
    for method in ("ds", "entropy_bonus"):
        look = LOOKS[method]
        chosen = select(rows, method=method)
        kl, logit, tilt = (
            np.array(column) for column in _columns(chosen, "kl_to_base", "logit_correctness", "needed_tilt")
        )
        mass = 1 / (1 + np.exp(-logit))
        lines: Any = {"color": look.color, "linestyle": look.linestyle, "linewidth": width}
        panel.plot(kl[tilt <= 0], mass[tilt <= 0], **lines, alpha=0.35)
        panel.plot(kl[tilt > 0], mass[tilt > 0], **lines, label=f"{look.label}, diversity {diversity:.3g}")


def dominance_frontier_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `dominance_frontier`."""
    exponents = dict.fromkeys(row["exponent"] for row in select(rows, section="frontier"))
    savings = ", ".join(_saving(select(rows, section="frontier", exponent=exponent)) for exponent in exponents)
    made = {name: f"{settings[name]:g}" for name in settings if name != "exponents"}
    return f"""
        A made base policy: {made["num_correct"]} correct answers with shares like 1/rank^{made["correct_power"]} and
        {made["num_wrong"]} wrong ones like 1/rank^{made["wrong_power"]}, Q_b = {made["correctness"]}. (a) Optima at KL
        strength {made["kl_strength"]}, sampling reference, as the strength grows from 0, where vanilla is, to 3 times
        it, penalty and charge to below it (A3): a global term trades correctness for diversity, DS gains both, at a
        larger KL. (b) At equal diversity, correctness against KL to the base from Q_b on: DS leaves p_W = b_W and pays
        least (A6, A7), the bonus also pays for a spread over wrong answers; {savings}. Pale: out of reach with a reward
        gap of 1, whatever the KL strength (A7.2). Exact, so no intervals; run {run}. Asks, as summarised, whether DS
        dominates a global entropy term (our reading of Theorem 3.4 of arXiv 2511.19942).
    """


def _saving(rows: Sequence[Row]) -> str:
    """How much more correctness smoothing has at the KL of a bonus with Q = 1/2."""
    bonus = min(select(rows, method="entropy_bonus"), key=lambda row: abs(row["logit_correctness"]))
    chosen = [row for row in select(rows, method="ds") if row["logit_correctness"] >= bonus["logit_correctness"]]
    kl, logit = _columns(chosen, "kl_to_base", "logit_correctness")
    mass = 1 / (1 + exp(-float(np.interp(bonus["kl_to_base"], kl, logit))))
    return (
        f"at diversity {bonus['solution_diversity']:.3g} and the KL of a bonus with Q about .5, DS has Q = {mass:.3f}"
    )


def draw_multiplicity(rows: Sequence[Row]) -> Figure:
    """Slope of logit Q in the strength, against the number of correct answers and the base correctness.

    Shapes:   rows of `theory.rows.figures.multiplicity`. Returns a page-wide figure: bonus in reward and in H form, DS.
    """
    figure = Figure(figsize=(PAGE[0], 0.62 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 3, sharey=True)
    kinds = (("entropy_bonus", "reward", "bonus, reward form"), ("entropy_bonus", "entropy", "bonus, H form"))
    for panel, (method, form, name) in zip(panels, (*kinds, ("ds", "reward", "DS")), strict=True):
        shading = _draw_slopes(panel, select(rows, method=method, form=form))
        panel.text(0.12, 1.03, name, transform=panel.transAxes)
    panels[0].set_ylabel("base correctness Q (logit scale)")
    bar = figure.colorbar(shading, ax=panels, pad=0.01, aspect=30)
    bar.set_label("d logit Q / d strength\n(1 / reward per nat)")
    letters(panels, 0.0)
    return figure


def _draw_slopes(panel: Axes, rows: Sequence[Row]) -> Any:
    across, up = (sorted({row[name] for row in rows}) for name in ("multiplicity", "logit_correctness"))
    slopes = np.array([row["slope"] for row in rows]).reshape(len(across), len(up)).T
    shading = panel.contourf(
        across, up, slopes, levels=SLOPE_LEVELS, cmap="PuOr", norm=TwoSlopeNorm(0.0, -8.0, 12.0), extend="both"
    )
    others = [level for level in SLOPE_LEVELS if level]
    panel.contour(across, up, slopes, levels=others, colors="black", linewidths=0.4)
    if slopes.min() < 0 < slopes.max():
        panel.contour(across, up, slopes, levels=[0.0], colors="black", linewidths=1.6)
        panel.text(0.96, 0.04, "bonus raises Q", transform=panel.transAxes, ha="right")
        panel.text(0.04, 0.96, "penalty raises Q", transform=panel.transAxes, va="top", color="white")
    panel.set(xscale="log", xlabel="correct answers exp H(b_C)\n(log base 10)", ylim=(up[0], up[-1]))
    plain_decimals(panel.xaxis)
    label_correctness(panel, is_vertical=True)
    return shading


def multiplicity_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `multiplicity`."""
    least = min(row["slope"] for row in select(rows, method="ds"))
    return f"""
        Where a small global term helps correctness: the slope of logit Q in its strength at the KL-regularised optimum,
        KL strength {settings["kl_strength"]:g}, against the effective number of correct answers exp H(b_C) (solution
        multiplicity) and the base correctness; the wrong answers have exp H(b_W) = {settings["num_wrong"]}. (a) Entropy
        bonus in reward form, base reference: (S_C - S_W) / KL strength, S_C - S_W = H(b_C) - H(b_W) - logit Q_b (A4.1,
        A4.3). (b) The bonus in H form (A4.2). Thick: slope 0; a penalty has the opposite slope. (c) DS with base
        reference: S_C / KL strength, never negative (A5; at least {least:.2g} here). First order in the strength; for
        larger ones the sign can change (A4.4). Exact, so no intervals; run {run}. Asks, as summarised, when global
        entropy terms help and when they hurt (arXiv 2511.19942).
    """


def draw_theory_and_simulation(rows: Sequence[Row]) -> Figure:
    """Simulated means on the exact curves, and their distance from them and from a curve that has to be wrong.

    Shapes:   rows of `bandits.figure_rows.theory_and_simulation`. Returns a page-wide figure.
    """
    figure = Figure(figsize=(PAGE[0], 0.72 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 3)
    labels = {"correctness": "correctness Q", "solution_diversity": "solution diversity (exp nats)"}
    for panel, quantity in zip(panels, labels, strict=False):
        for method in dict.fromkeys(row["method"] for row in rows):
            _draw_points(panel, select(rows, method=method, quantity=quantity))
        panel.set(ylabel=labels[quantity])
    _draw_distances(panels[2], select(rows, quantity="correctness"))
    for panel in panels:
        panel.set(xscale="log", xlabel="updates x learning rate\n(log base 10)")
        plain_decimals(panel.xaxis)
    panels[2].plot([], [], color="0.3", linewidth=0.8, label="exact flow")
    panels[2].plot([], [], color="0.3", **RIVAL, label="exact flow without 1 - 1/G (wrong)")
    handles, names = ([*a, *b] for a, b in zip(*(panels[at].get_legend_handles_labels() for at in (0, 2)), strict=True))
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    letters(panels, -0.24)
    return figure


def _draw_points(panel: Axes, rows: Sequence[Row]) -> None:
    look = LOOKS[SIMULATED_AS[rows[0]["method"]]]
    time, predicted, rival = _columns(rows[1:], "time", "predicted", "rival")
    panel.plot(time, predicted, color=look.color, linewidth=0.8)
    panel.plot(time, rival, color=look.color, **RIVAL)
    time, mean, error = _columns(spread(rows), "time", "mean", "standard_error")
    panel.errorbar(
        time, mean, [2 * value for value in error], **look.points(), elinewidth=0.8, label=f"{look.label}, simulated"
    )


def _draw_distances(panel: Axes, rows: Sequence[Row]) -> None:
    panel.axhspan(-3, 3, color="0.9", linewidth=0, label="within 3 standard errors")
    for method in dict.fromkeys(row["method"] for row in rows):
        look = LOOKS[SIMULATED_AS[method]]
        time, right, wrong = _columns(
            spread(select(rows, method=method)), "time", "standard_errors", "rival_standard_errors"
        )
        panel.plot(time, right, **look.points())
        panel.plot(time, wrong, color=look.color, **RIVAL)
    panel.set_yscale("symlog", linthresh=5)
    panel.set_yticks([-100, -10, -3, 0, 3, 10], ["-100", "-10", "-3", "0", "3", "10"])
    panel.set(ylabel="simulated Q minus predicted Q\n(standard errors)")
    panel.minorticks_off()


def theory_and_simulation_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `theory_and_simulation`."""
    quantities = {"correctness": "Q", "solution_diversity": "diversity"}
    told = []
    for quantity, name in quantities.items():
        chosen = select(rows, quantity=quantity)
        largest = max(abs(row["standard_errors"]) for row in chosen)
        spread = (sum(row["standard_errors"] ** 2 for row in chosen) / len(chosen)) ** 0.5
        missed = max(abs(row["rival_standard_errors"]) for row in chosen)
        told.append(f"{name}: root mean square {spread:.2g}, largest {largest:.2g}, without 1 - 1/G {missed:.0f}")
    setting = ", ".join(f"{settings[name]:g} {words}" for name, words in SETTING.items())
    return f"""
        Exact expected flow (thin lines) through simulated means (markers; bars of 2 standard errors over runs, mostly
        hidden by them) from (.3, .1 | .4, .2): {setting}; vanilla is the reward minus its group mean. Dashed: the same
        flow without the factor 1 - 1/G that the group's own baseline takes from the reward (C4), a wrong prediction.
        (c) Distance of the simulated correctness from both, in standard errors; linear within 5, logarithmic beyond.
        Over all records, in standard errors, {"; ".join(told)}; records of one run are not independent. Run {run}.
        Claims B2, B4, B6. Asks whether the flow that the theory speaks of is what sampled groups do (arXiv 2511.19942).
    """


def draw_prompt_weights(rows: Sequence[Row]) -> Figure:
    """The prompt weight c_G(Q) of correctness-only methods; methods of equal weight share a line.

    Shapes:   rows of `theory.rows.figures.prompt_weights`. Returns a page-wide figure: on the right the methods that
              give easy prompts clearly less weight than hard ones, on the left the others.
    """
    figure = Figure(figsize=(PAGE[0], 0.9 * PAGE[1]), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for names in equal_weights(rows):
        mass, weight = _columns(select(rows, method=names[0]), "correctness", "prompt_weight")
        label = ", ".join(LOOKS[name].label for name in names)
        panel = panels[int(weight[-1] < FALLING * weight[0])]
        panel.plot(mass, weight, **LOOKS[names[0]].line(), markevery=(5, 15), label=label)
    for panel, title in zip(panels, ("(a) not falling", "(b) falling with Q"), strict=True):
        panel.set(xlabel="correctness Q of the prompt", yscale="log", xlim=(0, 1), ylim=(0.05, 10))
        panel.set_title(title, loc="left")
        panel.legend(loc="lower left")
    panels[0].set_ylabel("prompt weight c_G(Q) (log base 10)")
    plain_decimals(panels[0].yaxis)
    return figure


def equal_weights(rows: Sequence[Row]) -> list[list[str]]:
    """The methods whose prompt weights agree everywhere, together, in the order of the rows."""
    found: dict[str, np.ndarray[Any, np.dtype[np.float64]]] = {}
    together: dict[str, list[str]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        weights = np.array([row["prompt_weight"] for row in select(rows, method=method)])
        twin = next((name for name, other in found.items() if np.allclose(weights, other, rtol=SAME_WEIGHT)), method)
        found.setdefault(twin, weights)
        together.setdefault(twin, []).append(method)
    return list(together.values())


def prompt_weights_caption(rows: Sequence[Row], settings: Row, run: str) -> str:
    """The caption of `prompt_weights`."""
    return f"""
        Prompt weight c_G(Q) of the methods of correctness only (b: that is at Q = 1 less than three quarters of what it
        is at Q = 0; a: the others), groups of G = {settings["group_size"]}, default
        parameters, exact: the expected step of a prompt is c_G(Q) times the gradient of its correctness (E1), so on one
        prompt all follow one path at different speeds (B4); where prompts share parameters the weight decides which
        prompts win. The weights of PKPO and of pass@k training, of order 2, leave the axis because they are 0 at Q = 1.
        No sampling, so no intervals; run {run}.
    """


def draw_prompt_weight(weights: Sequence[tuple[float, float]], name: str) -> Figure:
    """The prompt weight of one advantage function, as `check-shaper --figure` draws it.

    Shapes:   weights: pairs of Q and c_G(Q). Returns a column-wide figure.
    """
    figure = Figure(figsize=COLUMN, layout="constrained")
    panel = figure.subplots()
    panel.plot(*zip(*weights, strict=True), color="black", marker="o", label=name)
    panel.axhline(0.0, color="0.3", linewidth=0.5, linestyle=(0, (2, 2)))
    panel.set(xlabel="correctness Q of the prompt", ylabel="prompt weight c_G(Q)", xlim=(0, 1))
    panel.legend()
    return figure
