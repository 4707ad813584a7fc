"""Who wins where: frontiers, the phase diagram, ablations of ds, and the strengths at which a method beats vanilla.

Nothing is predicted here, so nothing agrees or differs: a survey ends in sentences made from its rows.

Departs: the arms of these bandits are answers of one token, so the fields `reduction` and `spread` of ds have no effect
(sum, mean and token are the same number) and are not ablated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sharpening.bandits.experiments import compare, contests, motions
from sharpening.bandits.experiments.compare import Comparison, End, Variant
from sharpening.bandits.experiments.framework import Row, Scale

MULTIPLICITIES = (1, 2, 3, 4, 5, 6, 8, 10)
CORRECTNESSES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
TIED = 0.005  # of coverage: winners closer than this are not told apart
PHASE_RATE = 1.0
NUM_NAMED = 8  # methods in a sentence


@dataclass(frozen=True)
class Survey:
    """A question, how to simulate it, and the rows and sentences that answer it."""

    id: str
    question: str
    tasks: Callable[[Scale, int], Iterable[Any]]
    summarise: Callable[[Sequence[Any], Sequence[Sequence[Row]]], tuple[list[Row], list[str]]]


SINGLE: Mapping[str, Mapping[str, Any]] = {
    "many_solutions": {"learning_rate": 0.2, "num_steps": 2000},
    "few_solutions": {"learning_rate": 0.2, "num_steps": 2000},
    "long_tail": {"learning_rate": 0.5, "num_steps": 1000},
    "uniform_wrong": {"learning_rate": 0.5, "num_steps": 2000},
}
SHARED: Mapping[str, Mapping[str, Any]] = {"generalist_and_specialists": {"learning_rate": 0.2, "num_steps": 1500}}


def _frontier_tasks(
    instances: Mapping[str, Mapping[str, Any]], measures: tuple[str, ...], scale: Scale, seed: int
) -> Iterator[Comparison]:
    """One task for each instance and family, so that they can be computed in parallel."""
    for instance, fields in list(instances.items())[: 1 if scale.is_smoke else None]:
        common = {"instance": instance, "group_size": 8, "num_runs": 2 * scale.num_seeds, "seed": seed, **fields}
        common["num_steps"] //= 4 if scale.is_smoke else 1
        common["record_every"] = common["num_steps"] // 50
        for family in compare.families(common["learning_rate"]):
            yield Comparison(common=common, variants=family.variants(scale.num_strengths), measures=measures)


def _single_tasks(scale: Scale, seed: int) -> Iterator[Comparison]:
    return _frontier_tasks(SINGLE, ("correctness", "solution_diversity"), scale, seed)


def _shared_tasks(scale: Scale, seed: int) -> Iterator[Comparison]:
    return _frontier_tasks(SHARED, ("correctness", "pass_at_k:8", "pass_at_k:64", "pass_at_k:256"), scale, seed)


def _frontier_summary(
    tasks: Sequence[Comparison], found: Sequence[Sequence[Row]], pairs: Mapping[str, str]
) -> tuple[list[Row], list[str]]:
    """Rows of every end, and for each instance and pair of measures who is where."""
    rows: list[Row] = []
    sentences: list[str] = []
    for instance in dict.fromkeys(task.common["instance"] for task in tasks):
        own = [
            row
            for task, rows_of in zip(tasks, found, strict=True)
            if task.common["instance"] == instance
            for row in rows_of
        ]
        for measure, label in pairs.items():
            ends = compare.ends(own, "correctness", measure)
            best = {(end.variant, end.strength) for end in compare.frontier(ends)}
            for end in ends:
                is_best = (end.variant, end.strength) in best
                rows.append({"instance": instance, "measure": measure, **asdict(end), "is_on_frontier": is_best})
            sentences += _sentences(instance, label, ends)
    return rows, sentences


def _sentences(instance: str, label: str, ends: Sequence[End]) -> Iterator[str]:
    """Who ends above vanilla in both, at how many strengths, and who gains most at equal correctness."""
    above = []
    ends = [end for end in ends if end.variant != compare.STOPPED]
    for name in dict.fromkeys(end.variant for end in ends):
        own = [end for end in ends if end.variant == name]
        winners = [end.strength for end in own if end.is_above]
        if winners and name != compare.VANILLA:
            extent = (
                f"{min(winners):.3g} to {max(winners):.3g}, {len(winners)} of {len(own)}" if len(own) > 1 else "yes"
            )
            above.append(f"{name} ({extent})")
    yield f"{instance}: above vanilla in correctness and {label}: {'; '.join(above) or 'no method at any strength'}"
    gains = {name: max(end.gain for end in ends if end.variant == name) for name in {end.variant for end in ends}}
    best = sorted(gains.items(), key=lambda item: -item[1])[:NUM_NAMED]
    listed = ", ".join(f"{name} {gain:.3g}" for name, gain in best)
    yield f"{instance}: {label} over that of vanilla stopped at the same correctness, at the best strength: {listed}"


def _single_summary(tasks: Sequence[Comparison], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    return _frontier_summary(tasks, found, {"solution_diversity": "solution diversity"})


def _shared_summary(tasks: Sequence[Comparison], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    return _frontier_summary(tasks, found, {f"pass_at_k:{k}": f"pass@{k}" for k in (8, 64, 256)})


PHASE_FAMILIES: Mapping[str, str] = {
    compare.VANILLA: compare.VANILLA,
    "vanilla at rate / 3": compare.VANILLA,
    "vanilla with KL": compare.VANILLA,
    "entropy bonus": "entropy bonus",
    "entropy penalty": "entropy penalty",
    "ds": "ds",
    "unlikeliness": "unlikeliness",
    "mara with KL": "mara with KL",
}  # a family and the contestant it belongs to; each contestant is swept over as many strengths, vanilla over more


def _phase_tasks(scale: Scale, seed: int) -> Iterator[Comparison]:
    """One exact mean-field task a cell; 2 x 2 cells in the smoke preset. Nothing is drawn: the seed has no say."""
    del seed
    families = [family for family in compare.families(PHASE_RATE) if family.name in PHASE_FAMILIES]
    variants = tuple(variant for family in families for variant in family.variants(scale.num_strengths))
    for num_correct in MULTIPLICITIES[1::4] if scale.is_smoke else MULTIPLICITIES:
        for correctness in CORRECTNESSES[1::4] if scale.is_smoke else CORRECTNESSES:
            shape = {"num_correct": num_correct, "num_wrong": 4, "correctness": correctness}
            common = {
                "instance": "solutions",
                "instance_parameters": shape,
                "group_size": 4,
                "learning_rate": PHASE_RATE,
                "num_steps": 60,
                "record_every": 10,
                "mean_field": True,
            }
            yield Comparison(common=common, variants=variants, measures=(f"coverage:{num_correct}",))


def _phase_summary(tasks: Sequence[Comparison], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    """The best contestant of each cell by the coverage of m samples, vanilla's early stops included."""
    cells: list[Row] = []
    for task, rows in zip(tasks, found, strict=True):
        final = max(row["step"] for row in rows)
        best: dict[str, float] = {}
        for row in rows:
            if row["step"] == final or row["variant"] == compare.VANILLA:
                contestant = PHASE_FAMILIES[row["variant"]]
                best[contestant] = max(best.get(contestant, 0.0), row["mean"])
        (winner, top), (second, runner_up) = sorted(best.items(), key=lambda item: -item[1])[:2]
        shape = task.common["instance_parameters"]
        cells.append(
            {
                "num_correct": shape["num_correct"],
                "base_correctness": shape["correctness"],
                "winner": winner if top - runner_up >= TIED else "tie",
                "coverage": top,
                "second": second,
                "lead": top - runner_up,
                "vanilla_coverage": best[compare.VANILLA],
            }
        )
    counts = {name: sum(cell["winner"] == name for cell in cells) for name in dict.fromkeys(c["winner"] for c in cells)}
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
    return cells, [f"cells won, of {len(cells)}: {listed}"]


ABLATIONS: Mapping[str, Mapping[str, Any]] = {
    "ds": {},
    "gamma_incorrect = gamma_correct": {"gamma_incorrect": 0.3},
    "gamma_correct 0": {"gamma_correct": 0.0, "gamma_incorrect": 0.3},
    "reference base": {"reference": "base"},
    "placement reward": {"placement": "reward"},
    "normalise std": {"normalise": "std"},
    "centre group": {"centre": "group"},
    "centre correct_only": {"centre": "correct_only"},
}


def _ablation_tasks(scale: Scale, seed: int) -> Iterator[Comparison]:
    """The method ds at gamma_correct .3 with one field changed at a time, and vanilla, on each single prompt."""
    variants = [Variant(name=compare.VANILLA, strength=0.0, fields={"method": "dr_grpo"})]
    for name, change in ABLATIONS.items():
        parameters = {"gamma_correct": 0.3, **change}
        variants.append(Variant(name=name, strength=0.3, fields={"method": "ds", "parameters": parameters}))
    for instance, fields in list(SINGLE.items())[: 1 if scale.is_smoke else None]:
        common = {"instance": instance, "group_size": 8, "num_runs": 2 * scale.num_seeds, "seed": seed, **fields}
        common["record_every"] = common["num_steps"] // 10
        yield Comparison(common=common, variants=tuple(variants), measures=("correctness", "solution_diversity"))


def _ablation_summary(tasks: Sequence[Comparison], found: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    sentences = []
    for task, own in zip(tasks, found, strict=True):
        found_ends = compare.ends(list(own), "correctness", "solution_diversity")
        ends = [end for end in found_ends if end.variant != compare.STOPPED]
        rows += [{"instance": task.common["instance"], **asdict(end)} for end in ends]
        listed = ", ".join(f"{end.variant} {end.correctness:.3f} and {end.other:.3g}" for end in ends)
        sentences.append(f"{task.common['instance']}: correctness and solution diversity: {listed}")
    return rows, sentences


SURVEYS = (
    Survey(
        "frontier_single",
        "On one prompt, which methods end more correct and more diverse than plain RL, at which strengths?",
        _single_tasks,
        _single_summary,
    ),
    Survey(
        "frontier_shared",
        "With parameters shared between prompts, who has the best pass@1 against pass@8, 64 and 256?",
        _shared_tasks,
        _shared_summary,
    ),
    Survey(
        "phase_diagram",
        "Who reaches most of m correct answers with m samples, by m and base correctness?",
        _phase_tasks,
        _phase_summary,
    ),
    Survey("ablation", "What does each field of ds do?", _ablation_tasks, _ablation_summary),
    Survey(
        "motion",
        "At random policies, where does the exact step of DS and of rarity MaxRL sharpen, and where does Q fall?",
        motions.tasks,
        motions.summarise,
    ),
    Survey(
        "tuned_single",
        "On one prompt, each method at its own best strength and learning rate: who keeps most answers at equal Q?",
        contests.single_tasks,
        contests.summarise,
    ),
    Survey(
        "tuned_matched",
        "The same among settings that end about as correct as tuned DS: who keeps more answers than DS?",
        contests.matched_tasks,
        contests.summarise,
    ),
    Survey(
        "tuned_shared",
        "With strategies shared between prompts and every method tuned: who ends with the best pass@1 and pass@8?",
        contests.shared_tasks,
        contests.summarise,
    ),
    Survey(
        "tuned_shared_matched",
        "The same at the setting that gains most over tuned DS in both: is pass@1 and pass@8 above DS on fresh tables?",
        contests.matched_tables_tasks,
        contests.summarise,
    ),
)
