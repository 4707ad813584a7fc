"""The mixture of latent values that makes counts likeliest: nonparametric, on a grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from sharpening.samples.rates.spread import nil_as_zero

Floats = NDArray[np.float64]
MOST_STEPS = 50
GAP = 1e-7  # of the log-likelihood: at most so far from its maximum, by its duality gap
SHRINK, LEAST_SHARE = 0.5, 0.1  # of the line search
SEED_WEIGHT = 1e-6  # on every point of the grid at the start: none is ruled out


def likeliest_weights(likelihood: Floats, multiplicity: Floats, start: Floats) -> Floats:
    """Weights w >= 0 of sum 1 that maximise sum_i m_i log(sum_k L_ik w_k), by the constrained Newton method.

    Every step is a nonnegative least-squares problem. The maximum is global; the gap to it is at most
    max_k sum_i m_i L_ik/(Lw)_i - sum_i m_i, which ends the search.

    Shapes:   likelihood: (num_outcomes, num_points), every row with an entry above 0; multiplicity: (num_outcomes,);
              start: (num_points,). Returns (num_points,).
    Source:   the algorithm is Wang's (JRSS B 69, 2007), as summarised.

    >>> likeliest_weights(np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([3.0, 1.0]), np.array([0.5, 0.5])).round(4)
    array([0.8125, 0.1875])
    """
    total = multiplicity.sum()
    scaled = nil_as_zero(likelihood / likelihood.max(axis=1, keepdims=True))
    weights = start + SEED_WEIGHT
    weights /= weights.sum()
    fitted = scaled @ weights
    for _ in range(MOST_STEPS):
        rows = scaled * (np.sqrt(multiplicity) / fitted)[:, None]
        gradient = rows.T @ np.sqrt(multiplicity)  # (num_points,)
        if gradient.max() - total < GAP * total:
            break
        aim = _best_of_quadratic(rows, np.sqrt(multiplicity))
        weights, fitted = _line_search(scaled, multiplicity, (weights, fitted), aim, gradient)
    return weights


def _best_of_quadratic(rows: Floats, root: Floats) -> Floats:
    """The weights of sum 1 that minimise |rows w - 2 root|^2: up to its scale, a problem without the sum (Dax 1990)."""
    triangle = np.asarray(np.linalg.qr(rows - 2 * root[:, None], mode="r"))
    target = np.zeros(len(triangle) + 1)
    target[-1] = 1.0
    weights, _ = nnls(np.append(triangle, np.ones((1, rows.shape[1])), axis=0), target)
    return np.asarray(weights / weights.sum())


def _line_search(
    scaled: Floats, multiplicity: Floats, now: tuple[Floats, Floats], aim: Floats, gradient: Floats
) -> tuple[Floats, Floats]:
    """The first of the points 1, 1/2, 1/4, ... of the way whose gain is a tenth of what the slope promises."""
    weights, fitted = now
    promised = gradient @ (aim - weights)
    towards = scaled @ aim
    change = towards / fitted - 1
    share = 1.0
    while share > np.finfo(float).eps:
        there = fitted + share * (towards - fitted)
        if (there > 0).all() and multiplicity @ np.log1p(share * change) >= LEAST_SHARE * share * promised:
            return weights + share * (aim - weights), there
        share *= SHRINK
    return weights, fitted
