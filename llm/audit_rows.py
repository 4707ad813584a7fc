"""What the audits of one or several models say together, as tidy rows: means over problems, and training's effect.

Rows have the columns of `theory.sharpening`, and the model's name. Of the first model, the one before training, and of
each other: correctness, pass@k, masses and diversity; of each other model, against the first, differences and gains,
and beside the gains those that plain RL would give on each prompt alone at the same correctness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from llm import audit
from llm.audit import Audited
from theory import estimators, sharpening
from theory.policies import Floats

Row = dict[str, Any]
MEANS = ("ill_formed_mass", "entropy_correct", "hill_1", "hill_2", "surprisal_correct", "surprisal_wrong")


def problem_rows(audits: Mapping[str, Sequence[Audited]]) -> list[Row]:
    """One row a model and problem; surprisals of the first model have no other base than itself."""
    first = next(iter(audits.values()))
    return [
        {"model": name, **audit.problem_row(one, base)}
        for name, mine in audits.items()
        for one, base in zip(mine, first, strict=True)
    ]


def summary_rows(
    audits: Mapping[str, Sequence[Audited]], rows: Sequence[Row], ks: Sequence[int], *, rng: np.random.Generator
) -> Iterator[Row]:
    """The tidy rows of all models, from the audits and their `problem_rows`."""
    curves = {
        name: estimators.exact_pass_at_k(
            [row["correctness"] for row in rows if row["model"] == name], np.array(ks)[:, None]
        )
        for name in audits
    }  # (num_ks, num_problems)
    first = next(iter(audits))
    for name, mine in audits.items():
        for k, values in zip(ks, curves[name], strict=True):
            yield {"model": name, **_mean("pass_at_k", k, values, rng)}
        for quantity in MEANS:
            values = np.array([row[quantity] for row in rows if row["model"] == name])
            yield {"model": name, **_mean(quantity, 0, values[np.isfinite(values)], rng)}
        if name == first:
            continue
        for k, values, base in zip(ks, curves[name], curves[first], strict=True):
            yield {"model": name, **_mean("pass_at_k_difference", k, values - base, rng)}
        for row in sharpening.rows(audit.gains(audits[first], mine), rng=rng):
            yield {"model": name, **row}
        expected = audit.expected_gains(audits[first], mine)
        if expected is not None:
            yield {"model": name, **sharpening.slope_row(expected, rng=rng, quantity="expected_slope")}
            for row in sharpening.curve_rows(expected, rng=rng, quantity="expected_relative_gain"):
                yield {"model": name, **row}


def _mean(quantity: str, at: float, values: Floats, rng: np.random.Generator) -> sharpening.Row:
    return sharpening.ratio_row(quantity, at, np.arange(len(values)), values, np.ones(len(values)), rng)


def answer_rows(audits: Mapping[str, Sequence[Audited]], texts: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Every correct answer with its log-probability under each model: the sharpening curve, point by point."""
    first, *others = audits
    for place, base in enumerate(audits[first]):
        for answer in np.flatnonzero(base.correct == 1):
            row: Row = {
                "problem": base.problem.id,
                "answer": texts[place][int(answer)],
                first: float(base.log_prob[answer]),
            }
            yield row | {name: float(audits[name][place].log_prob[answer]) for name in others}
