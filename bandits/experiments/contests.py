"""Contests of tuned methods: every contestant chooses its strength and learning rate, then all meet on fresh seeds.

On one prompt a run is judged by its effective number of correct answers at the first record with Q at least .9 and .99,
so at matched correctness, and by Q at the end. On prompts that share strategies it is judged by pass@1 and pass@8 at
the end, on tables that were not tuned on.

Chosen is, on one prompt, the setting with the most answers at .99 among those of which every tuning run gets there
(`matched`: and whose Q at the end is, in the mean, at least what tuned DS came to, less .001); on shared strategies the
one with the largest pass@1 + pass@8 (`matched`: the one whose smaller gain over tuned DS, in either, is largest).
Ties go to the larger Q at the end. A best at the edge of the grid extends the grid there, at most twice, for all.

Departs: plain stochastic gradient, one answer one token, as in all of `bandits`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.stats import t as student

from sharpening.bandits import measures, simulator
from sharpening.bandits.experiments.framework import Row, Scale
from sharpening.bandits.specification import Specification, bandit_of
from sharpening.theory.policies import Floats

MATCHED = (0.9, 0.99)  # Q at which the answers are counted
RECORDS = 150  # of a run
EXTENSIONS = 2
TIE = 2  # decimals of the score beyond which settings are tied
TUNING_RUNS, FRESH_RUNS, TABLES, FRESH_TABLES = 6, 20, 8, 16
NUM_PROMPTS, NUM_STRATEGIES = 12, 16
RATES = tuple(float(rate) for rate in np.round(np.geomspace(0.1, 31.6, 6), 3))
DS, PLAIN, OURS = "ds", "plain", "rarity_maxrl"
SINGLE: Mapping[str, Mapping[str, Any]] = {
    "5 correct, 20 wrong, G 4": {
        "instance": "solutions",
        "instance_parameters": {"num_correct": 5, "num_wrong": 20, "correctness": 0.2},
        "group_size": 4,
        "num_steps": 1500,
    },
    "12 correct, 60 wrong, G 8": {
        "instance": "solutions",
        "instance_parameters": {"num_correct": 12, "num_wrong": 60, "correctness": 0.15, "exponent": 1.5},
        "group_size": 8,
        "num_steps": 1500,
    },
    "32 correct, 8 wrong, G 16": {"instance": "many_solutions", "group_size": 16, "num_steps": 1000},
    "24 correct with a long tail, 24 wrong, G 8": {
        "instance": "long_tail",
        "instance_parameters": {"num_correct": 24, "num_wrong": 24, "correctness": 0.25},
        "group_size": 8,
        "num_steps": 2000,
    },
    "100 correct, 50 wrong, G 64": {
        "instance": "solutions",
        "instance_parameters": {"num_correct": 100, "num_wrong": 50, "correctness": 0.3, "exponent": 0.8},
        "group_size": 64,
        "num_steps": 600,
    },
}


LEAST = dict(zip(SINGLE, (0.9925, 0.9929, 0.9900, 0.9966, 0.9922), strict=True))  # of tuned DS in `tuned_single`, -.001


@dataclass(frozen=True)
class Contestant:
    """A method, its fixed parameters, the parameter that is its strength ("" for none), and six strengths to try."""

    name: str
    method: str
    strength: str = ""
    strengths: tuple[float, ...] = (0.0,)
    fixed: Mapping[str, Any] | None = None


def _swept(low: float, high: float) -> tuple[float, ...]:
    return tuple(float(f"{value:.3g}") for value in np.geomspace(low, high, 6))


CONTESTANTS = (
    Contestant(PLAIN, "dr_grpo"),
    Contestant("maxrl", "maxrl"),
    Contestant(DS, "ds", "gamma_correct", _swept(0.03, 3.0)),
    Contestant("ds centred", "ds", "gamma_correct", _swept(0.03, 3.0), {"centre": "correct_only"}),
    Contestant("entropy bonus", "entropy_bonus", "strength", _swept(0.01, 1.0)),
    Contestant("unlikeliness", "unlikeliness", "rank_strength", _swept(0.1, 1.0)),
    Contestant("ips", "ips", "exponent", _swept(0.1, 2.0)),
    Contestant("pkpo", "pkpo", "k", (2.0, 3.0, 4.0)),
    Contestant(OURS, "rarity_maxrl", "strength", _swept(0.03, 3.0), {"difficulty": 1.0}),
    Contestant("rarity, no difficulty", "rarity_maxrl", "strength", _swept(0.03, 3.0), {"difficulty": 0.0}),
)
SHARED_RIVAL = (0.561, 0.867)  # pass@1 and pass@8 of tuned DS on the tuning tables in `tuned_shared`
MATCHED_CONTESTANTS = (DS, "ds centred", OURS, "rarity, no difficulty")
BETWEEN = 0.6  # difficulty: between Dr. GRPO's 0 and MaxRL's 1
WHOLE = ("k",)  # strengths that are whole numbers, and are not extended


class Contest(BaseModel):
    """One contestant on one instance, or on shared tables; it alone determines the rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "contest"

    contestant: str
    method: str
    strength: str
    strengths: tuple[float, ...]
    fixed: Mapping[str, Any]
    learning_rates: tuple[float, ...]
    instance: str
    goal: Literal["answers", "passes"]
    tuning: tuple[Mapping[str, Any], ...]
    fresh: tuple[Mapping[str, Any], ...]
    num_tuning_runs: int
    num_fresh_runs: int
    seed: int
    fresh_seed: int
    least_correctness: float = 0.0
    rival: tuple[float, float] | None = None

    def rows(self) -> Iterator[Row]:
        """A row a setting tried, then one a fresh run at the chosen setting."""
        tried: dict[tuple[float, float], list[Row]] = {}
        grids = [list(self.strengths), list(self.learning_rates)]
        for extensions in range(EXTENSIONS + 1):
            for setting in ((strength, rate) for strength in grids[0] for rate in grids[1]):
                if setting not in tried:
                    tried[setting] = list(self._runs(setting, self.tuning, self.num_tuning_runs, self.seed))
            best = max(tried, key=lambda setting: _score(self.goal, tried[setting], self.least_correctness, self.rival))
            if extensions == EXTENSIONS or not self._extend(grids, best):
                break
        for setting, runs in tried.items():
            means = {name: float(np.mean([run[name] for run in runs])) for name in runs[0] if name != "run"}
            at_edge = [
                place in (grid[0], grid[-1]) and len(grid) > 1 for place, grid in zip(setting, grids, strict=True)
            ]
            yield self._row("tuning", setting, -1, setting == best, setting == best and any(at_edge), means)
        for run in self._runs(best, self.fresh, self.num_fresh_runs, self.fresh_seed):
            yield self._row("fresh", best, run.pop("run"), True, False, run)

    def _extend(self, grids: list[list[float]], best: tuple[float, float]) -> bool:
        """Adds a point beyond the edge that the best lies on; says whether there was one."""
        is_extended = False
        for grid, place, name in zip(grids, best, (self.strength, "learning_rate"), strict=True):
            if len(grid) == 1 or name in WHOLE or place not in (grid[0], grid[-1]):
                continue
            step = grid[1] / grid[0]
            grid[:] = [grid[0] / step, *grid] if place == grid[0] else [*grid, grid[-1] * step]
            is_extended = True
        return is_extended

    def _row(
        self, stage: str, setting: tuple[float, float], run: int, is_chosen: bool, at_edge: bool, found: Row
    ) -> Row:
        named = {"instance": self.instance, "contestant": self.contestant, "stage": stage}
        settings = {"strength": setting[0], "learning_rate": setting[1], "run": run}
        return {**named, **settings, "is_chosen": is_chosen, "at_edge": at_edge, **found}

    def _runs(
        self, setting: tuple[float, float], bandits: Sequence[Mapping[str, Any]], num_runs: int, seed: int
    ) -> Iterator[Row]:
        """What every run of every bandit comes to; a bandit's runs have the same random streams in all contests."""
        strength, rate = setting
        value = round(strength) if self.strength in WHOLE else strength
        parameters = {**self.fixed, **({self.strength: value} if self.strength else {})}
        for place, bandit in enumerate(bandits):
            fields = {**bandit, "method": self.method, "parameters": parameters, "learning_rate": rate}
            fields["record_every"] = max(1, fields["num_steps"] // RECORDS)
            specification = Specification.model_validate({**fields, "num_runs": num_runs, "seed": seed})
            found = _answers(specification) if self.goal == "answers" else _passes(specification)
            for run in range(num_runs):
                yield {"run": place * num_runs + run, **{name: float(values[run]) for name, values in found.items()}}


def _answers(specification: Specification) -> dict[str, Floats]:
    """Q and the effective answers at the end, and the answers at the first record with each matched Q, NaN if none."""
    bandit, found = bandit_of(specification), {}
    matched = {q: np.full(specification.num_runs, np.nan) for q in MATCHED}
    for _, log_policy in simulator.run(specification):
        mass = measures.correctness(bandit, log_policy)
        number = measures.solution_diversity(bandit, log_policy)
        for q, values in matched.items():
            values[:] = np.where(np.isnan(values) & (mass >= q), number, values)
        found = {"correctness": mass, "answers": number}
    return {**found, **{_matched_name(q): values for q, values in matched.items()}}


def _matched_name(correctness: float) -> str:
    return f"answers_at_{100 * correctness:.0f}"


def _passes(specification: Specification) -> dict[str, Floats]:
    """pass@1 and pass@8 at the end."""
    bandit = bandit_of(specification)
    *_, (_, log_policy) = simulator.run(specification)
    return {f"pass_at_{k}": measures.pass_at_k(bandit, log_policy, k) for k in (1, 8)}


def _score(
    goal: str, runs: Sequence[Row], least_correctness: float = 0.0, rival: tuple[float, float] | None = None
) -> tuple[float, ...]:
    """By what a setting is chosen, the larger the better."""
    if goal == "passes":
        first, eighth = (float(np.mean([run[f"pass_at_{k}"] for run in runs])) for k in (1, 8))
        return (first + eighth if rival is None else min(first - rival[0], eighth - rival[1]),)
    matched = np.array([run[_matched_name(MATCHED[-1])] for run in runs])
    reached = float(np.isfinite(matched).mean())
    answers = round(float(matched.mean()), TIE) if reached == 1 else 0.0
    correctness = float(np.mean([run["correctness"] for run in runs]))
    return reached, float(correctness >= least_correctness), answers, correctness


def single_tasks(scale: Scale, seed: int) -> Iterator[Contest]:
    """Every contestant on every single prompt."""
    for instance, fields in list(SINGLE.items())[: 1 if scale.is_smoke else None]:
        bandit = {**fields, "num_steps": fields["num_steps"] // (10 if scale.is_smoke else 1)}
        yield from _contests(scale, seed, instance, "answers", (bandit,), (bandit,))


def matched_tasks(scale: Scale, seed: int) -> Iterator[Contest]:
    """DS and what beats it, among settings that end about as correct as tuned DS, on fresh seeds of its own."""
    for one in single_tasks(scale, seed):
        if one.contestant in MATCHED_CONTESTANTS:
            least = 0.0 if scale.is_smoke else LEAST[one.instance]
            matched = one.model_copy(update={"least_correctness": least, "fresh_seed": seed + 2})
            yield matched
            if one.contestant == OURS:
                yield _at_difficulty(matched, BETWEEN)


def shared_tasks(scale: Scale, seed: int) -> Iterator[Contest]:
    """Every contestant on random tables: tuned on some, judged on others."""
    numbers = (2, 2) if scale.is_smoke else (TABLES, FRESH_TABLES)
    steps = 60 if scale.is_smoke else 600
    rng = np.random.default_rng([seed, 17])
    tuning, fresh = ([_table(rng, steps) for _ in range(number)] for number in numbers)
    yield from _contests(scale, seed, "shared tables", "passes", tuple(tuning), tuple(fresh))


def matched_tables_tasks(scale: Scale, seed: int) -> Iterator[Contest]:
    """DS as tuned, and rarity MaxRL at three weights of difficult prompts, on fresh tables of its own."""
    rng = np.random.default_rng([seed, 23])
    steps, number = (60, 2) if scale.is_smoke else (600, FRESH_TABLES)
    fresh = tuple(_table(rng, steps) for _ in range(number))
    tasks = {one.contestant: one for one in shared_tasks(scale, seed)}
    yield tasks[DS].model_copy(update={"fresh": fresh})
    for difficulty in (1.0, 0.8, BETWEEN):
        matched = tasks[OURS].model_copy(update={"fresh": fresh, "rival": None if scale.is_smoke else SHARED_RIVAL})
        yield _at_difficulty(matched, difficulty)


def _at_difficulty(one: Contest, difficulty: float) -> Contest:
    """The same contest of rarity MaxRL at another power of the mean reward."""
    changed = {"fixed": {"difficulty": difficulty}, "contestant": f"rarity, difficulty {difficulty:g}"}
    return one.model_copy(update=changed)


def _table(rng: np.random.Generator, num_steps: int) -> dict[str, Any]:
    """Random strategies: each prompt is solved by a share of them between .1 and .6, the base is log-normal."""
    while True:
        shares = rng.uniform(0.1, 0.6, NUM_PROMPTS)
        solves = (rng.random((NUM_PROMPTS, NUM_STRATEGIES)) < shares[:, None]).astype(int)
        logits = rng.normal(0.0, 1.5, NUM_STRATEGIES)
        if solves.any(axis=1).all():
            break
    table = {"base_logits": tuple(logits.tolist()), "solves": tuple(tuple(row) for row in solves.tolist())}
    return {**table, "group_size": 8, "num_steps": num_steps}


def _contests(
    scale: Scale,
    seed: int,
    instance: str,
    goal: Literal["answers", "passes"],
    tuning: tuple[Mapping[str, Any], ...],
    fresh: tuple[Mapping[str, Any], ...],
) -> Iterator[Contest]:
    few = scale.is_smoke
    for one in CONTESTANTS:
        if few and one.name not in (PLAIN, DS, OURS):
            continue
        yield Contest(
            contestant=one.name,
            method=one.method,
            strength=one.strength,
            strengths=one.strengths[2:4] if few and one.strength else one.strengths,
            fixed=one.fixed or {},
            learning_rates=RATES[2:4] if few else RATES,
            instance=instance,
            goal=goal,
            tuning=tuning,
            fresh=fresh,
            num_tuning_runs=2 if few or goal == "passes" else TUNING_RUNS,
            num_fresh_runs=2 if few or goal == "passes" else FRESH_RUNS,
            seed=seed,
            fresh_seed=seed + 1,
        )


def summarise(tasks: Sequence[Contest], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    """All rows, and a sentence an instance and contestant: its setting, what it came to, and how it stands to DS."""
    rows = [row for own in found for row in own]
    sentences = []
    for one in standings(rows):
        setting = f"rate {one['learning_rate']:.3g}"
        setting = f"strength {one['strength']:.3g}, {setting}" if one["strength"] else setting
        told = [
            f"{name.replace('_', ' ')} {one['means'][name]:.4g}{_over(one['over_ds'].get(name))}"
            for name in one["means"]
        ]
        sentences.append(f"{one['instance']}: {one['contestant']} ({setting}): {', '.join(told)}")
    return rows, sentences


def _over(gap: tuple[float, float] | None) -> str:
    return "" if gap is None else f" ({gap[0]:+.3g} +- {gap[1]:.2g} to ds)"


def standings(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of each instance and contestant the chosen setting, the means of its fresh runs, and what they have over DS.

    Means are over the runs that have the measure (of answers at a Q: those that came to it), as many as `num_runs`
    says. `over_ds` holds mean and half of the 95% interval of paired differences, by measure; none for DS itself.
    """
    found = []
    fresh = [row for row in rows if row["stage"] == "fresh"]
    for instance, name in dict.fromkeys((row["instance"], row["contestant"]) for row in fresh):
        own, rival = (_columns(fresh, instance, who) for who in (name, DS))
        (chosen,) = (
            row
            for row in rows
            if row["stage"] == "tuning"
            and row["is_chosen"]
            and (row["instance"], row["contestant"]) == (instance, name)
        )
        over = {} if name == DS else {measure: paired_interval(own[measure], rival[measure]) for measure in own}
        finite = {measure: values[np.isfinite(values)] for measure, values in own.items()}
        means = {measure: float(values.mean()) if len(values) else math.nan for measure, values in finite.items()}
        settings: dict[str, Any] = {key: chosen[key] for key in ("strength", "learning_rate", "at_edge")}
        settings["num_runs"] = {measure: len(values) for measure, values in finite.items()}
        found.append({"instance": instance, "contestant": name, **settings, "means": means, "over_ds": over})
    return found


def by_strength(rows: Sequence[Row], name: str = OURS) -> list[dict[str, Any]]:
    """Of each instance and strength of a method its best setting by the rule of the contest, beside tuned plain RL's.

    From the tuning runs of single prompts: Q at the end and the answers at the largest matched Q, of both.
    """
    tuned = [row for row in rows if row["stage"] == "tuning"]
    found = []
    for instance in dict.fromkeys(row["instance"] for row in tuned):
        here = [row for row in tuned if row["instance"] == instance]
        (plain,) = (row for row in here if row["contestant"] == PLAIN and row["is_chosen"])
        own = [row for row in here if row["contestant"] == name]
        for strength in sorted({row["strength"] for row in own}):
            best = max((row for row in own if row["strength"] == strength), key=lambda row: _score("answers", [row]))
            found.append({"instance": instance, "strength": strength, "own": best, "plain": plain})
    return found


def _columns(rows: Sequence[Row], instance: str, contestant: str) -> dict[str, Floats]:
    """The measures of a contestant's fresh runs, (num_runs,) each, in the order of the runs."""
    own = [row for row in rows if (row["instance"], row["contestant"]) == (instance, contestant)]
    ordered = sorted(own, key=lambda row: int(row["run"]))
    taken = ("instance", "contestant", "stage", "strength", "learning_rate", "run", "is_chosen", "at_edge")
    return {name: np.array([row[name] for row in ordered]) for name in ordered[0] if name not in taken}


def paired_interval(own: Floats, rival: Floats) -> tuple[float, float]:
    """The mean of own - rival over paired runs where both are finite, and half of its 95% interval.

    Shapes:   (num_runs,) each. NaN, NaN for fewer than two pairs.
    """
    gaps = (own - rival)[np.isfinite(own) & np.isfinite(rival)]
    if gaps.size < 2:
        return math.nan, math.nan
    half = student.ppf(0.975, gaps.size - 1) * gaps.std(ddof=1) / np.sqrt(gaps.size)
    return float(gaps.mean()), float(half)
