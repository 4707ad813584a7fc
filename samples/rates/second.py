"""A second opinion on a law: log-odds before training as a mixture of normals, in place of any distribution."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import softmax

from sharpening.samples.rates import fit as fitting
from sharpening.samples.rates.fit import Data, Fit

Floats = NDArray[np.float64]
CENTRES = (-4.0, 0.0, 4.0)  # log-odds: where the three normals begin


def _mixture(points: Floats, shape: Floats) -> tuple[Floats, Floats]:
    """Weights on the grid and their derivatives by (logits of shares, means, log standard deviations).

    Shapes:   shape: (3 num_parts,). Returns (num_points,) and (3 num_parts, num_points).
    """
    logits, means, scales = shape.reshape(3, -1)
    share = softmax(logits)
    width = np.gradient(points)
    apart = (points - means[:, None]) / np.exp(scales)[:, None]
    parts = width * np.exp(-(apart**2) / 2)
    parts /= parts.sum(axis=1, keepdims=True)
    weights = share @ parts

    def centred(slope: Floats) -> Floats:
        return np.asarray(share[:, None] * parts * (slope - (parts * slope).sum(axis=1, keepdims=True)))

    by_logits = share[:, None] * (parts - weights)
    return weights, np.concatenate([by_logits, centred(apart / np.exp(scales)[:, None]), centred(apart**2)])


def second_opinion(data: Data, fitted: Fit) -> Fit:
    """The law fitted anew, with three normals for the log-odds before training."""
    law, num = fitted.law, len(fitted.at)
    unit = np.append(np.abs(law.start) + 0.3, 1.0)
    start = np.concatenate([fitted.at / unit, np.zeros(3), CENTRES, np.full(3, np.log(1.5))])

    def loss(at: Floats) -> tuple[float, Floats]:
        law_at = at[:num] * unit
        shifts, slopes = law.shift(data.points, law_at[:-1])
        chances = data.spread(data.points + shifts, float(law_at[-1]))
        weights, by_shape = _mixture(data.points, at[num:])
        both = data.before * chances.value[data.after]
        fit = both @ weights
        inverse = data.multiplicity / fit
        gradient = fitting.slope(data, chances, slopes, weights, inverse) * unit
        return -float(data.multiplicity @ np.log(fit)), -np.append(gradient, by_shape @ (inverse @ both))

    bounds: list[tuple[float | None, float | None]] = [(None, None)] * (num - 1)
    bounds += [(0.0, fitting.LARGEST_VARIANCE), *[(-15.0, 15.0)] * 6, *[(np.log(0.2), np.log(8.0))] * 3]
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 2000, "maxfun": 4000})
    at = best.x[:num] * unit
    weights, _ = _mixture(data.points, best.x[num:])
    return replace(fitted, parameters=at[:-1], variance=float(at[-1]), weights=weights, log_likelihood=-float(best.fun))
