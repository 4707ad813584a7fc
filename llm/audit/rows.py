"""What the audits of one or several models say together, as tidy rows: means over problems, and training's effect.

Rows have the columns of `samples.sharpening`, and the model's name. Of the first model, the one before training, and of
each other: correctness, pass@k, masses and diversity; of each other model, against the first, differences and gains,
and beside the gains those that plain RL would give on each prompt alone at the same correctness.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.samples import sharpening
from sharpening.theory import estimators
from sharpening.theory.policies import Floats

Row = dict[str, Any]
MEANS = ("entropy_correct", "hill_1", "hill_2", "surprisal_correct", "surprisal_wrong")


def problem_rows(audits: Mapping[str, Sequence[Audited]]) -> list[Row]:
    """One row a model and problem; surprisals of the first model have no other base than itself."""
    first = next(iter(audits.values()))
    return [
        {"model": name, **exact.problem_row(one, base)}
        for name, mine in audits.items()
        for one, base in zip(mine, first, strict=True)
    ]


def summary_rows(
    audits: Mapping[str, Sequence[Audited]], rows: Sequence[Row], ks: Sequence[int], *, rng: np.random.Generator
) -> Iterator[Row]:
    """The tidy rows of all models, from the audits and their `problem_rows`."""
    curves = {name: _pass_at_k(rows, name, ks) for name in audits}  # each (num_ks, num_problems)
    first = next(iter(audits))
    for name, mine in audits.items():
        for k, values in zip(ks, curves[name], strict=True):
            yield {"model": name, **_bounded_mean("pass_at_k", k, values, (0.0, 1.0), rng)}
        columns = {key: np.array([row[key] for row in rows if row["model"] == name]) for key in MEANS}
        for quantity, values in columns.items():
            yield {"model": name, **_mean(quantity, values)}
        unlisted = np.array([row["unlisted_mass"] for row in rows if row["model"] == name])
        yield {"model": name, **_mean(_kind_of_rest(mine), unlisted)}
        if not mine[0].is_exact:
            yield {"model": name, **_mean("pruned_mass", np.array([one.pruned for one in mine]))}
        gap = columns["surprisal_correct"] - columns["surprisal_wrong"]  # S_C - S_W of claims A4 and B11
        is_above = np.where(np.isnan(gap), np.nan, gap > 0)
        yield {"model": name, **_mean("surprisal_gap", gap)}
        yield {"model": name, **_bounded_mean("surprisal_gap_above_0", 0.0, is_above, (0.0, 1.0), rng)}
        if name == first:
            continue
        yield from _difference_rows(name, ks, curves[name] - curves[first], rng)
        for row in sharpening.rows(exact.gains(audits[first], mine), rng=rng):
            yield {"model": name, **row}
        expected = exact.expected_gains(audits[first], mine)
        if expected is not None:
            yield {"model": name, **sharpening.slope_row(expected, quantity="expected_slope")}
            for row in sharpening.curve_rows(expected, quantity="expected_relative_gain"):
                yield {"model": name, **row}


def _kind_of_rest(audits: Sequence[Audited]) -> str:
    """What the probability that is not listed is: ill-formed; in other spellings too; or wrong answers besides."""
    if audits[0].is_exact:
        return "ill_formed_mass"
    return "other_mass" if all(one.correct.all() for one in audits) else "unlisted_mass"


def rows_between(
    audits: Mapping[str, Sequence[Audited]],
    rows: Sequence[Row],
    ks: Sequence[int],
    base: str,
    name: str,
    *,
    rng: np.random.Generator,
) -> Iterator[Row]:
    """How a trained model differs from another trained one, in pass@k and in the slope from the first model."""
    yield from _difference_rows(name, ks, _pass_at_k(rows, name, ks) - _pass_at_k(rows, base, ks), rng)
    first = next(iter(audits.values()))
    gains = (exact.gains(first, audits[model]) for model in (base, name))
    yield {"model": name, **sharpening.slope_difference_row(*gains)}


def _pass_at_k(rows: Sequence[Row], name: str, ks: Sequence[int]) -> Floats:
    """Shapes: returns (num_ks, num_problems)."""
    correctness = [row["correctness"] for row in rows if row["model"] == name]
    return np.asarray(estimators.exact_pass_at_k(correctness, np.array(ks)[:, None]))


def _difference_rows(name: str, ks: Sequence[int], differences: Floats, rng: np.random.Generator) -> Iterator[Row]:
    """Shapes: differences: (num_ks, num_problems)."""
    for k, values in zip(ks, differences, strict=True):
        reach = float(np.abs(values).max())  # an unseen problem is as far from 0 as the farthest seen
        yield {"model": name, **_bounded_mean("pass_at_k_difference", k, values, (-reach, reach), rng)}


def _mean(quantity: str, values: Floats) -> sharpening.Row:
    """The mean of the values that there are."""
    known = values[np.isfinite(values)]
    return sharpening.ratio_row(quantity, 0.0, np.arange(len(known)), known, np.ones(len(known)))


def _bounded_mean(
    quantity: str, at: float, values: Floats, ends: tuple[float, float], rng: np.random.Generator
) -> sharpening.Row:
    known = values[np.isfinite(values)]
    return sharpening.bounded_row(quantity, at, np.arange(len(known)), known, np.ones(len(known)), ends, rng)


def answer_rows(audits: Mapping[str, Sequence[Audited]], texts: Sequence[Sequence[str]]) -> Iterator[Row]:
    """Every correct answer with its log-probability under each model: the sharpening curve, point by point."""
    for name, mine in audits.items():
        for one, answers in zip(mine, texts, strict=True):
            for place in np.flatnonzero(one.correct == 1).tolist():
                log_prob = float(one.log_prob[place])
                yield {"model": name, "problem": one.problem.id, "answer": answers[place], "log_prob": log_prob}
