"""Rows of `rates --curves`: every law's fit to the curves of each set, which is nearest, and what it implies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from sharpening.samples.rates import curves, laws
from sharpening.samples.rates.curve_file import Curves
from sharpening.samples.rates.curves import CurveFit
from sharpening.samples.rates.rows import row


def rows(sets: Sequence[Curves], *, group_size: int = laws.GROUP_SIZE) -> list[dict[str, Any]]:
    """All laws on every set. The nearest law has the least squared misfit plus twice its number of parameters."""
    return [found for curve in sets for found in _of_set(curve, group_size)]


def _of_set(curve: Curves, group_size: int) -> Iterator[dict[str, Any]]:
    yield row(curve.name, "", "num_problems", curve.num_problems)
    yield row(curve.name, "", "num_samples", curve.num_samples)
    yield row(curve.name, "", "solved_by_both", curve.both)
    for k, before, after in zip(curve.ks, curve.before, curve.after, strict=True):
        yield row(curve.name, "", "before", before, k=k)
        yield row(curve.name, "", "after", after, k=k)
    problem = curves.Problem(curve)
    fits = [curves.fit(problem, law) for law in laws.all_laws(group_size)]
    nearest = min(fits, key=lambda fitted: fitted.distance + 2 * len(fitted.parameters))
    for fitted in fits:
        yield from _of_fit(problem, fitted)
        yield row(curve.name, fitted.law.name, "is_nearest", fitted is nearest)


def _of_fit(problem: curves.Problem, fitted: CurveFit) -> Iterator[dict[str, Any]]:
    name, law = problem.curves.name, fitted.law.name
    for parameter, value, square in zip(
        fitted.law.parameters, fitted.parameters, np.diag(fitted.covariance), strict=False
    ):
        error = float(np.sqrt(square)) if square > 0 else None  # none where the curves do not bound the parameter
        yield row(name, law, f"parameter {parameter}", value, error=error)
    shifts = fitted.law.shift(problem.points, fitted.parameters)[0]
    yield row(name, law, "mean_shift", float(shifts @ fitted.weights))
    reach = curves.spread_interval(fitted)
    yield row(name, law, "spread", fitted.spread) | {"low": reach[0], "high": reach[1], "has_interval": True}
    yield row(name, law, "distance", fitted.distance)
    yield row(name, law, "misfit_p", curves.misfit(problem, fitted))
    implied = problem.moments(fitted.law, np.append(fitted.parameters, fitted.variance)).value @ fitted.weights
    num = len(problem.curves.ks)
    for k, value in zip(problem.curves.ks, implied[num : 2 * num], strict=True):
        yield row(name, law, "implied_after", value, k=k)
    yield row(name, law, "implied_both", implied[-1])
