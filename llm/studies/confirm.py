"""Theory against the runs of a study: predictions, each with a rival that the same runs must reject.

A prediction is a region of one number, a rival another. The verdict is `agrees` where the 95% interval over runs lies
in the region and off the rival's, `differs` where it lies off the region, and else `not enough data`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sharpening.llm.studies import analysis
from sharpening.llm.studies.analysis import Interval, Row, Values
from sharpening.llm.studies.protocol import DS, PLAIN, STRONG_BONUS, STRONG_DS
from sharpening.theory.diagnosis.flow import sharpening_for_correctness
from sharpening.theory.diagnosis.subject import SHOWN
from sharpening.theory.groups.expected_flow import ExpectedFlow
from sharpening.theory.methods.table import METHODS

Region = tuple[float, float]
ABOVE, BELOW = (0.0, np.inf), (-np.inf, 0.0)
TRANSFERRED = (1.39, 3.47)  # of claim F1 by the gradients of the first warm start, on held-out problems
ALIKE = 0.25  # two rates of sharpening that differ by less are called the same
PRESENT = 0.02  # two shares of answers that differ by less are called the same
BONUS = "entropy bonus"
OTHERS = {"maxrl": "MaxRL", "pkpo": "PKPO"}  # of the class of claim B4
LESS = 0.95  # of plain RL's: what is foreseen to sharpen by less is foreseen to sharpen less than it


class Prediction(NamedTuple):
    """What a claim says of the runs, in which region its number lies, where a rival's would, and what was measured."""

    claim: str
    says: str
    region: Region
    rival: Region
    measured: Interval

    @property
    def verdict(self) -> str:
        """As the module says."""
        _, low, high, _ = self.measured
        if self.region[0] <= low and high <= self.region[1] and (high < self.rival[0] or low > self.rival[1]):
            return "agrees"
        return "differs" if high < self.region[0] or low > self.region[1] else "not enough data"


def rows_of(rows: Sequence[Row], num_steps: int, transferred: Region | None = TRANSFERRED) -> list[dict[str, Any]]:
    """The predictions that there are runs for, as rows; `transferred` is of F1, None where no gradients were taken."""
    return [
        {
            "claim": one.claim,
            "prediction": one.says,
            "at_least": float(one.region[0]),
            "at_most": float(one.region[1]),
            "value": one.measured.value,
            "low": one.measured.low,
            "high": one.measured.high,
            "num_runs": one.measured.number,
            "verdict": one.verdict,
        }
        for one in predictions(rows, num_steps, transferred)
        if one.measured.number > 1
    ]


def predictions(rows: Sequence[Row], num_steps: int, transferred: Region | None) -> Iterator[Prediction]:
    """What theory says of plain RL, of DS, of a method that sees correctness alone, and of a global entropy term."""
    at = _at(rows)

    def of(contestant: str, quantity: str) -> Values:
        return analysis.values_of(rows, "comparison", contestant, quantity, at, num_steps)

    def rate(contestant: str) -> Values:
        return _rates(rows, "comparison", contestant, at, num_steps)

    if slopes := of(PLAIN, "slope"):
        found = analysis.interval(np.array(list(slopes.values())))
        yield Prediction("B1", "plain RL sharpens: its slope is above 0", ABOVE, BELOW, found)
        less = analysis.paired(of(DS, "slope"), slopes)
        if len(less):
            yield Prediction("A3", "DS's slope is below plain RL's", BELOW, ABOVE, analysis.interval(less))
    if rates := rate(PLAIN):
        yield from _of_others(rows, num_steps, at, rates)
        says = "by shared parameters plain RL sharpens more than on each problem alone, by the gradients' factor"
        found = analysis.interval(np.array(list(rates.values())))
        if transferred:
            yield Prediction("F1", says, transferred, (1.0, 1.0), found)
        rival = analysis.paired(rate(DS), rates)
        for name, label in OTHERS.items():
            apart = analysis.paired(rate(name), rates)
            if len(apart) and len(rival):
                says = f"{label}, which sees correctness alone, sharpens as plain RL does on the way to its correctness"
                point = float(np.mean(rival))
                yield Prediction("E2", says, (-ALIKE, ALIKE), (point, point), analysis.interval(apart))
    doses = [name for _, name in _doses(rows)]
    less = analysis.paired(of(doses[-1], "slope"), of(doses[0], "slope")) if len(doses) > 1 else np.zeros(0)
    if len(less):
        yield Prediction("E3", "the stronger DS has the smaller slope", BELOW, ABOVE, analysis.interval(less))
    yield from _of_answers(rows, num_steps)
    yield from _of_global_term(rows, num_steps)
    yield from _of_problems(rows, num_steps)


def foreseen(method: str, group_size: int) -> float | None:
    """How far two correct answers move apart while log-odds of correctness rise by a nat, over plain RL's distance.

    By exact expected steps at the policy that `check-shaper` shows, at the method's published setting. None for methods
    that act on single tokens or do not raise correctness there.
    """
    if METHODS[method].level != "group":
        return None
    flows = (ExpectedFlow(METHODS[name].advantage, SHOWN, {}, group_size) for name in (method, "dr_grpo"))
    ours, plain = map(sharpening_for_correctness, flows)
    return ours / plain if ours is not None and plain else None


def others(rows: Sequence[Row], num_steps: int) -> dict[str, tuple[float, float | None]]:
    """Of plain RL and every method that ran once from every warm start, over plain RL: what it sharpens, and foreseen.

    What it sharpens is the mean over runs of the slope over what it were on each problem alone.
    """
    at = _at(rows)
    plain = float(np.mean(list(_rates(rows, "comparison", PLAIN, at, num_steps).values())))
    found: dict[str, tuple[float, float | None]] = {PLAIN: (1.0, 1.0)}
    for name, size in _sizes(rows).items():
        own = list(_rates(rows, "others", name, at, num_steps).values())
        found[name] = (float(np.mean(own)) / plain if own else np.nan, foreseen(name, size))
    return found


def _sizes(rows: Sequence[Row]) -> dict[str, int]:
    """The methods that ran once from every warm start, with their group size."""
    return {str(row["contestant"]): int(row["group_size"]) for row in rows if row["stage"] == "others"}


def _at(rows: Sequence[Row]) -> float:
    """The number of problems of which the slope on each alone is known."""
    return max((row["at"] for row in rows if row["quantity"] == "expected_slope"), default=0.0)


def _of_others(rows: Sequence[Row], num_steps: int, at: float, plain: Values) -> Iterator[Prediction]:
    """What `check-shaper` foresees of the methods that run once from every warm start, against all runs of plain RL."""
    sizes = _sizes(rows)
    measured = {name: list(_rates(rows, "others", name, at, num_steps).values()) for name in sizes}
    found = {name: foreseen(name, size) for name, size in sizes.items() if measured[name]}
    ratios = {name: ratio for name, ratio in found.items() if ratio is not None}
    theirs = np.array(list(plain.values()))

    def less_plain(names: Sequence[str]) -> Interval | None:
        ours = np.array([value for name in names for value in measured[name]])
        return analysis.apart(ours, theirs) if min(len(ours), len(theirs)) > 1 else None

    alike = [name for name in ratios if set(METHODS[name].needs) <= {"reward", "correct"}]
    ds = _rates(rows, "comparison", DS, at, num_steps)
    if (apart := less_plain(alike)) and ds:
        says = f"{len(alike)} methods that see correctness alone sharpen, on average, as plain RL on the way to theirs"
        point = float(np.mean(list(ds.values())) - theirs.mean())
        yield Prediction("B4", says, (-ALIKE, ALIKE), (point, point), apart)
    gentler = [name for name, ratio in ratios.items() if ratio < LESS]
    if apart := less_plain(gentler):
        says = f"{', '.join(gentler)}: on average sharpen less than plain RL on the way to their correctness"
        yield Prediction("`check-shaper`", says, BELOW, ABOVE, apart)


def _rates(rows: Sequence[Row], stage: str, contestant: str, at: float, num_steps: int) -> Values:
    """The slope of every run over what it were on each problem alone, on the problems whose correctness rose."""
    expected, matched = (
        analysis.values_of(rows, stage, contestant, quantity, at, num_steps)
        for quantity in ("expected_slope", "matched_slope")
    )
    return {run: slope / expected[run] for run, slope in matched.items() if expected.get(run)}


def _doses(rows: Sequence[Row]) -> list[tuple[float, str]]:
    """The strengths at which DS is compared, the least first, each with its contestant."""
    compared = [row for row in rows if row["stage"] == "comparison" and row["contestant"] in (DS, STRONG_DS)]
    return sorted({(float(row["strength"]), str(row["contestant"])) for row in compared})


def _of_answers(rows: Sequence[Row], num_steps: int) -> Iterator[Prediction]:
    """Selection bias before training, pass@64 after it, and what DS ascends.

    Selection bias is so for any sampler that draws independently: it is the sampler and the audit that it checks.
    """

    def of(contestant: str, quantity: str, at: float, step: int = num_steps) -> Values:
        return analysis.values_of(rows, "comparison", contestant, quantity, at, step)

    group = max((row["at"] for row in rows if row["quantity"] == "present"), default=0.0)
    present, expected, proportional = (
        of(PLAIN, quantity, group, 0) for quantity in ("present", "expected_present", "proportional_present")
    )
    if present:
        rival = float(np.mean(analysis.paired(proportional, expected)))
        says = "a correct answer of probability p is in a group of G with chance 1 - (1 - p)^G: seen less expected"
        found = analysis.interval(analysis.paired(present, expected))
        yield Prediction("C1", says, (-PRESENT, PRESENT), (rival, rival), found)
    fall = analysis.paired(of(PLAIN, "pass_at_k", 64), of(PLAIN, "pass_at_k", 64, 0))
    if len(fall) and np.mean(analysis.paired(of(PLAIN, "pass_at_k", 1), of(PLAIN, "pass_at_k", 1, 0))) > 0:
        says = "problems share strategies: pass@64 falls while pass@1 rises, as it cannot on each problem alone (D1)"
        yield Prediction("D2", says, BELOW, ABOVE, analysis.interval(fall))
    for strength, name in _doses(rows):

        def objective(contestant: str, gamma: float = strength) -> Values:
            entropy = of(contestant, "correct_entropy", 0)
            return {
                run: (1 + gamma) * value + gamma * entropy[run]
                for run, value in of(contestant, "pass_at_k", 1).items()
                if run in entropy
            }

        more = analysis.paired(objective(name), objective(PLAIN))
        if len(more):
            says = f"DS ascends (1 + g) Q + g H_C, here g = {strength:g}: it ends above plain RL there"
            yield Prediction("B6", says, ABOVE, BELOW, analysis.interval(more))


def _of_global_term(rows: Sequence[Row], num_steps: int) -> Iterator[Prediction]:
    """pass@1 of an entropy bonus, the mean over strengths, less plain RL's at the same learning rate and seed.

    The strengths of one learning rate and seed are held against one run of plain RL, so they are one number here.
    """
    tried: dict[str, dict[tuple[float, float, int], float]] = {PLAIN: {}, BONUS: {}}
    for row in rows:
        measure = row["stage"], row["quantity"], row["at"], row["step"]
        if row["contestant"] in tried and measure == ("tuning", "pass_at_k", 1, num_steps):
            tried[row["contestant"]][row["strength"], row["learning_rate"], row["seed"]] = float(row["value"])
    plain = {key[1:]: value for key, value in tried[PLAIN].items()}
    of_plain: dict[tuple[float, int], list[float]] = {}
    for key, value in tried[BONUS].items():
        if key[1:] in plain:
            of_plain.setdefault(key[1:], []).append(value - plain[key[1:]])
    differences = [float(np.mean(values)) for values in of_plain.values()]
    gaps = [row["value"] for row in rows if row["quantity"] == "surprisal_gap"]
    if differences and gaps:
        is_above = np.mean(gaps) > 0
        says = f"an entropy bonus {'raises' if is_above else 'lowers'} pass@1, as S_C - S_W is {np.mean(gaps):.2f} nats"
        region, rival = (ABOVE, BELOW) if is_above else (BELOW, ABOVE)
        yield Prediction("B11", says, region, rival, analysis.interval(np.array(differences)))


def _of_problems(rows: Sequence[Row], num_steps: int) -> Iterator[Prediction]:
    """Which problems a term moves more, at one learning rate: one number a pair of runs, over their problems."""
    of: dict[str, dict[tuple[int, int], dict[tuple[str, bool], dict[float, float]]]] = {}
    for row in rows:
        if row["stage"] == "comparison" and row["quantity"].startswith(analysis.BY_PROBLEM):
            run = of.setdefault(row["contestant"], {}).setdefault((row["warm_start"], row["seed"]), {})
            run.setdefault((row["quantity"], row["step"] == num_steps), {})[row["at"]] = float(row["value"])
    plain = of.get(PLAIN, {})

    def found(contestant: str, quantity: str, by: Sequence[str], weight: str = "") -> Interval | None:
        """The coefficient of the last of `by`, before training, in what the contestant has more than plain RL."""
        values = []
        for run in sorted(of.get(contestant, {}).keys() & plain.keys()):
            ours, theirs = of[contestant][run], plain[run]
            places = sorted(ours[quantity, True].keys() & theirs[quantity, True].keys())
            more = np.array([ours[quantity, True][place] - theirs[quantity, True][place] for place in places])
            columns = np.array([[1.0, *(ours[name, False][place] for name in by)] for place in places])
            size = np.sqrt([ours[weight, True][place] for place in places]) if weight else np.ones(len(places))
            values.append(np.linalg.lstsq(columns * size[:, None], more * size)[0][-1])
        return analysis.interval(np.array(values)) if values else None

    if bonus := found(STRONG_BONUS, "problem_logit", ["problem_gap"]):
        says = "a bonus adds log-odds where S_C - S_W is larger: nats gained over plain RL per nat of it"
        yield Prediction("B11", says, ABOVE, BELOW, bonus)
    if many := found(STRONG_BONUS, "problem_logit", ["problem_logit", "problem_entropy"]):
        says = "of problems as hard, those with more correct answers gain more by a bonus: nats per nat of H(p_C)"
        yield Prediction("A4", says, ABOVE, BELOW, many)
    if late := found(STRONG_DS, "problem_slope", ["problem_logit"], "problem_weight"):
        says = (
            "DS takes more off the slope of problems that are solved more: slope less plain RL's, per nat of log-odds"
        )
        yield Prediction("E3", says, BELOW, ABOVE, late)
