"""Successive halving: which settings a contestant tries next, and which one it chooses. See `protocol`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sharpening.llm.studies import protocol as plans
from sharpening.llm.studies.protocol import Candidate, Contestant, Protocol
from sharpening.llm.studies.stages import Labelled, Runs

Row = Mapping[str, Any]
Compute = Callable[[Sequence[Labelled]], Sequence[Sequence[Row]]]  # the rows of each run; none of one that failed
WHOLE = ("k",)  # strengths that are whole numbers: their grid is not extended


class Score(NamedTuple):
    """What validation says of a candidate, the mean over its runs."""

    pass_at_1: float
    pass_at_64: float


Scores = Mapping[Candidate, Score]


def tuned(runs: Runs, contestants: Sequence[Contestant], compute: Compute) -> dict[str, Candidate]:
    """The setting that every contestant chooses, plain RL, which the others are held against, first.

    Without seeds of tuning it is the one that it has.
    """
    plan = runs.protocol
    if not plan.first_seeds:
        return {one.name: grid(plan, one)[0] for one in contestants}
    chosen: dict[str, Candidate] = {}
    for one in sorted(contestants, key=lambda one: one.name != plans.PLAIN):
        seeds = (*plan.first_seeds, *plan.more_seeds)
        scores = _scores(runs, one, grid(plan, one), plan.first_seeds, compute)
        kept = ranked(scores, _plain(runs, chosen, plan.first_seeds, compute))[: plan.kept]
        scores = _scores(runs, one, kept, seeds, compute)
        plain = _plain(runs, chosen, seeds, compute)
        best = ranked(scores, plain)[0]
        if more := beyond(grid(plan, one), best, one.strength in WHOLE):
            scores |= _scores(runs, one, more, seeds, compute, needed=False)
            best = ranked(scores, plain)[0]
        chosen[one.name] = best
    return chosen


def grid(plan: Protocol, one: Contestant) -> list[Candidate]:
    """What a contestant tries in the first round."""
    rates = plan.rates if one.strength else plan.plain_rates
    return [Candidate(strength, rate) for strength in one.strengths for rate in rates]


def ranked(scores: Scores, plain: float | None) -> list[Candidate]:
    """The candidates, best first; `plain` is the pass@1 of tuned plain RL, None for plain RL itself."""

    def key(candidate: Candidate) -> tuple[bool, float]:
        score = scores[candidate]
        if plain is None or score.pass_at_1 < plain - plans.MARGIN:
            return False, score.pass_at_1
        return True, score.pass_at_64

    return sorted(scores, key=key, reverse=True)


def beyond(tried: Sequence[Candidate], best: Candidate, is_whole: bool = False) -> list[Candidate]:
    """The candidates next to the best one outside the grid, where it lies at an edge; steps go on in proportion.

    Where `is_whole` the strength is a whole number, and stays in its grid.
    """
    found = []
    for place, name in enumerate(Candidate._fields):
        values = sorted({one[place] for one in tried})
        if len(values) < 2 or (is_whole and name == "strength"):
            continue
        ends = {values[0]: values[0] ** 2 / values[1], values[-1]: values[-1] ** 2 / values[-2]}
        if (value := ends.get(best[place])) is not None:
            found.append(best._replace(**{name: float(f"{value:.3g}")}))
    return found


def _plain(runs: Runs, chosen: Mapping[str, Candidate], seeds: Sequence[int], compute: Compute) -> float | None:
    """The pass@1 of tuned plain RL with some seeds, once it is tuned."""
    if plans.PLAIN not in chosen:
        return None
    candidate = chosen[plans.PLAIN]
    return _scores(runs, runs.plain, [candidate], seeds, compute)[candidate].pass_at_1


def _scores(
    runs: Runs,
    one: Contestant,
    candidates: Sequence[Candidate],
    seeds: Sequence[int],
    compute: Compute,
    *,
    needed: bool = True,
) -> dict[Candidate, Score]:
    """The scores of candidates of which every run came to its end; raises ValueError if one is needed and none is."""
    work = list(runs.tuning(one, candidates, seeds))
    found = [_score(rows, run.task.setting.steps) for run, rows in zip(work, compute(work), strict=True)]
    parts = [found[place : place + len(seeds)] for place in range(0, len(found), len(seeds))]
    scores = {
        candidate: Score(*np.mean(part, axis=0).tolist())
        for candidate, part in zip(candidates, parts, strict=True)
        if np.isfinite(part).all()
    }
    if needed and not scores:
        raise ValueError(
            f"{one.name}: of each of its {len(candidates)} settings a run failed: want one without, see the notes"
        )
    return scores


def _score(rows: Sequence[Row], num_steps: int) -> Score:
    """The score of one run after its last update; NaN if it failed."""
    values = {row["at"]: row["value"] for row in rows if (row["quantity"], row["step"]) == ("pass_at_k", num_steps)}
    return Score(values.get(1, np.nan), values.get(64, np.nan))
