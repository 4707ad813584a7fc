"""Whether one curve s(t) moves the log-odds of all problems in training: rates at every visit, rates at first latent.

A problem with log-odds x in the first window of training has x + s(t) + b(t) x + spread(t) e in a later one, with e
normal and its own for the whole training: what moves it against the curve lasts. Four models have the terms that their
names say. Problems are resampled as a whole, with all their visits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, ndtr

from sharpening.samples import lines
from sharpening.samples.rates.mixture import likeliest_weights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRST_VISITS, NUM_LATER = 2, 8  # visits of the first window; windows of the others
POINTS = np.concatenate([[-12.0, -9.5, -8.0], np.arange(-7.0, 7.01, 0.25), [8.0, 9.5, 12.0]])
NODES = np.linspace(-4, 4, 33)
NODE_WEIGHTS = np.exp(-(NODES**2) / 2) / np.exp(-(NODES**2) / 2).sum()
TERMS = {"one curve": "s", "a line": "sb", "a spread": "sv", "a line and a spread": "sbv"}
NUM_RESAMPLES = 100
FIELDS = ("problem", "visit", "n", "c")


class Windows(NamedTuple):
    """Counts of every problem in windows of its visits; samples and correct ones (num_problems, num_windows).

    `last` is the last visit of each window.
    """

    num_samples: Ints
    num_correct: Ints
    last: Ints


@dataclass(frozen=True)
class Trajectory:
    """A fitted model: the curve, line and spread of every window, the log-likelihood, the mixture's weights."""

    name: str
    curve: Floats
    line: Floats
    spread: Floats
    log_likelihood: float
    weights: Floats


def read(path: Path, name: str) -> tuple[Windows, str]:
    """The counts of a file with fields problem, visit, n and c, and its SHA-256.

    Raises:   ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    cells: dict[tuple[str, int], tuple[int, int]] = {}
    with lines.opened(path, name) as source:
        for row in source.table().rows:
            problem, visit, total, correct = _fields(row)
            if (problem, visit) in cells:
                raise row.fault(f"visit {visit} of problem {problem[:60]!r} is there twice: want every visit once")
            cells[problem, visit] = total, correct
        sha256 = source.sha256()
    if not cells:
        raise ValueError(f"{name}: the file is empty: want a line a problem and visit")
    try:
        return _windows(cells), sha256
    except ValueError as error:
        raise lines.named(error, name) from None


def _fields(row: lines.Row) -> tuple[str, int, int, int]:
    numbers = []
    for field in FIELDS:
        if field not in row.fields:
            raise row.fault(f"field {field!r} is missing: want {', '.join(FIELDS)}")
    for field in FIELDS[1:]:
        text = str(row.fields[field]).strip()
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise row.fault(f"field {field!r} is {lines.shown(row.fields[field])}: want a whole number from 0 on")
        numbers.append(int(text))
    visit, total, correct = numbers
    if not correct <= total or total == 0:
        raise row.fault(f"field 'c' is {correct} of n = {total}: want 0 to n, and n at least 1")
    return str(row.fields["problem"]), visit, total, correct


def _windows(cells: dict[tuple[str, int], tuple[int, int]]) -> Windows:
    visits = sorted({visit for _, visit in cells})
    if len(visits) < FIRST_VISITS + NUM_LATER:
        raise ValueError(f": {len(visits)} visits: want at least {FIRST_VISITS + NUM_LATER}")
    later = np.array_split(np.array(visits[FIRST_VISITS:]), NUM_LATER)
    parts = [visits[:FIRST_VISITS], *(part.tolist() for part in later)]
    window = {visit: place for place, part in enumerate(parts) for visit in part}
    problems = {problem: place for place, problem in enumerate(dict.fromkeys(problem for problem, _ in cells))}
    counts = np.zeros((2, len(problems), len(parts)), dtype=np.int64)
    for (problem, visit), cell in cells.items():
        counts[:, problems[problem], window[visit]] += cell
    return Windows(counts[0], counts[1], np.array([part[-1] for part in parts]))


class Model:
    """The likelihood of the windows under a model's terms."""

    def __init__(self, windows: Windows, name: str) -> None:
        """For one of the models of TERMS."""
        self.name, self.terms = name, TERMS[name]
        self.total, self.correct = (counts.astype(np.float64) for counts in windows[:2])
        self.later = self.total.shape[1] - 1
        self.nodes = NODES if "v" in self.terms else np.zeros(1)
        self.node_weights = NODE_WEIGHTS if "v" in self.terms else np.ones(1)
        self.functions = {"s": np.ones((len(POINTS), len(self.nodes)))}
        self.functions |= {"b": np.repeat(POINTS[:, None], len(self.nodes), axis=1)}
        self.functions |= {"v": np.repeat(self.nodes[None], len(POINTS), axis=0)}

    def value(self, at: Floats, weights: Floats, multiplicity: Floats) -> tuple[float, Floats, Floats]:
        """Log-likelihood, gradient, and the likeliest weights."""
        values = at.reshape(len(self.terms), self.later)
        moved = np.zeros((self.later + 1, len(POINTS), len(self.nodes)))
        for term, row in zip(self.terms, values, strict=True):
            moved[1:] += row[:, None, None] * self.functions[term]
        log_odds = (POINTS[:, None] + moved).reshape(self.later + 1, -1)
        chance = self.correct @ log_expit(log_odds) + (self.total - self.correct) @ log_expit(-log_odds)
        peak = chance.max(axis=1)
        chance = np.exp(chance - peak[:, None]).reshape(len(chance), len(POINTS), -1) * self.node_weights
        by_point = chance.sum(axis=2)
        weights = likeliest_weights(by_point, multiplicity, weights)
        fitted = by_point @ weights
        inverse = multiplicity / fitted
        share = (chance * weights[:, None]).reshape(len(chance), -1)
        rise = (share.T @ (inverse[:, None] * self.correct)).T
        rise -= expit(log_odds) * (share.T @ (inverse[:, None] * self.total)).T
        by_cell = rise[1:].reshape(self.later, len(POINTS), -1)
        gradient = [np.einsum("tkj,kj->t", by_cell, self.functions[term]) for term in self.terms]
        return float(multiplicity @ (np.log(fitted) + peak)), np.concatenate(gradient), weights


def fit(windows: Windows, name: str, start: Trajectory | None = None, multiplicity: Floats | None = None) -> Trajectory:
    """The likeliest path of a model, for problems counted as often as `multiplicity` says, (num_problems,)."""
    model = Model(windows, name)
    counted = np.ones(len(windows.num_samples)) if multiplicity is None else multiplicity
    first = {"s": 0.5, "b": 0.0, "v": 0.5}
    at = np.concatenate([np.full(model.later, first[term]) for term in model.terms])
    weights = np.full(len(POINTS), 1 / len(POINTS))
    if start is not None:
        known = {"s": start.curve, "b": start.line, "v": start.spread}
        at, weights = np.concatenate([known[term][1:] for term in model.terms]), start.weights
    bounds = [(0.0, 5.0) if term == "v" else (None, None) for term in model.terms for _ in range(model.later)]

    def loss(at: Floats) -> tuple[float, Floats]:
        nonlocal weights
        log_likelihood, gradient, weights = model.value(at, weights, counted)
        return -log_likelihood, -gradient

    best = minimize(loss, at, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-9})
    values = dict(zip(model.terms, best.x.reshape(len(model.terms), -1), strict=True))
    curve, line, spread = (np.append(0.0, values.get(term, np.zeros(model.later))) for term in "sbv")
    return Trajectory(name, curve, line, spread, -float(best.fun), weights)


def curve_errors(windows: Windows, fitted: Trajectory, *, rng: np.random.Generator) -> Floats:
    """Standard errors of the curve, over problems drawn anew with all their visits, (num_windows,)."""
    num = len(windows.num_samples)
    drawn = [rng.multinomial(num, np.full(num, 1 / num)).astype(np.float64) for _ in range(NUM_RESAMPLES)]
    return np.asarray(np.std([fit(windows, fitted.name, fitted, each).curve for each in drawn], axis=0, ddof=1))


def share_down(fitted: Trajectory) -> Floats:
    """The share of problems whose log-odds are below those of the first window, (num_windows,)."""
    moved = fitted.curve[:, None] + fitted.line[:, None] * POINTS
    with np.errstate(divide="ignore", invalid="ignore"):
        below = np.where(moved == 0, 0.0, ndtr(-moved / fitted.spread[:, None]))
    return np.asarray(below @ fitted.weights)


def draws_of_a_problem(windows: Windows) -> int:
    """How many samples training drew of a problem, the median."""
    return int(np.median(windows.num_samples.sum(axis=1)))
