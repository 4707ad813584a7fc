"""Advantage functions made by chance out of baselines, terms and defects, for the search for errors of check-shaper.

Each is a function of all six inputs with one strength. Its kind says what may be wrong with it, and nothing about which
verdict is right: that is found by enumeration (`benchmarks/search_truth.py`). The first eleven kinds are faults that an
earlier diagnosis did not see. Sizes at which a defect begins lie at most one above the group size of the diagnosis.

Shares nothing with the toolkit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import search_defects
from benchmarks.search_defects import Batch, Defect, Floats

Term = Callable[[Batch], Floats]
SHOWN = np.array([0.3, 0.1, 0.4, 0.2])  # probabilities where a diagnosis starts, the first two answers correct
LISTED = (
    *("order late", "order cyclic", "batch before", "batch place", "nan late", "shape late"),
    *("deep", "length", "dip", "float32", "least size"),
)
KINDS = (*LISTED, *("plain", "terms", "order", "batch", "nan", "shape", "random", "overflow", "threshold", "in place"))
MOVING = (
    *("order late", "order cyclic", "order", "length", "dip", "float32", "least size", "plain"),
    *("terms", "overflow", "threshold", "dip", "terms"),
)  # the kinds whose motion is looked at; dips and terms twice


@dataclass(frozen=True)
class Case:
    """A function, its kind, what it is made of, and the group size to diagnose it at."""

    kind: str
    recipe: str
    function: Callable[..., Any]
    group_size: int
    precision: str = "float64"


def cases(rng: np.random.Generator, kinds: tuple[str, ...], sizes: tuple[int, ...]) -> Iterator[Case]:
    """Cases without end, the kinds in turn, the group size drawn."""
    while True:
        for kind in kinds:
            yield case(rng, kind, int(rng.choice(sizes)))


def case(rng: np.random.Generator, kind: str, group_size: int) -> Case:
    """One function of a kind."""
    name, baseline = _drawn(rng, BASELINES)
    terms = [_drawn_term(rng, group_size) for _ in range(0 if kind == "plain" else int(rng.integers(0, 3)))]
    defects: list[Defect] = []
    if kind == "deep":
        terms = [("-lp", lambda x: -x.log_prob), ("base ratio", lambda x: x.base_log_prob - x.log_prob)][:1]
        name, baseline = "r - mean", _centred
    elif kind == "terms" and not terms:
        terms = [_drawn_term(rng, group_size)]
    elif kind in ("dip", "threshold", "overflow"):
        terms.append(ONE_TERM[kind](rng))
    elif kind not in ("plain", "terms"):
        defects.append(search_defects.defect(rng, kind, group_size))
    strength = float(np.exp(rng.uniform(*((-7.0, -4.2) if kind == "deep" else (-4.0, 0.5)))))
    recipe = f"{name} + {strength:.3g} ({' + '.join(words for words, _ in terms)})"
    recipe += "".join(f"; {one.words}" for one in defects)
    made = composed(baseline, tuple(term for _, term in terms), tuple(defects), strength)
    return Case(kind, recipe, made, group_size, "float32" if kind == "float32" else "float64")


def composed(
    baseline: Term, terms: tuple[Term, ...], defects: tuple[Defect, ...], default: float
) -> Callable[..., Any]:
    """The function of a baseline, terms that a strength weighs, and defects in turn."""
    cast = next((one.before for one in defects if one.before is not None), None)

    def shaper(
        reward: Any,
        correct: Any,
        log_prob: Any,
        base_log_prob: Any,
        num_tokens: Any,
        answer: Any,
        strength: float = default,
    ) -> Any:
        batch = Batch(reward, correct, log_prob, base_log_prob, num_tokens, answer)
        if cast is not None:
            batch = cast(batch)
        found = baseline(batch)
        for term in terms:
            found = found + found.dtype.type(strength) * term(batch)
        for one in defects:
            found = one.after(found, batch)
        return found

    return shaper


def _drawn(rng: np.random.Generator, table: dict[str, Term]) -> tuple[str, Term]:
    name = str(rng.choice(list(table)))
    return name, table[name]


def _mean(values: Floats) -> Floats:
    return values.mean(axis=1, keepdims=True)


def _centred(x: Batch) -> Floats:
    return np.asarray(x.reward - _mean(x.reward))


def _normalised(x: Batch) -> Floats:
    spread = x.reward.std(axis=1, keepdims=True)
    return np.asarray(np.where(spread > 0, _centred(x) / np.where(spread > 0, spread, 1), 0 * x.reward))


def _left_one_out(x: Batch) -> Floats:
    size = x.reward.shape[1]
    return x.reward - (x.reward.sum(axis=1, keepdims=True) - x.reward) / max(size - 1, 1)


def _over_mean(x: Batch) -> Floats:
    mean = _mean(x.reward)
    return np.asarray(np.where(mean > 0, _centred(x) / np.where(mean > 0, mean, 1), 0 * x.reward))


BASELINES: dict[str, Term] = {
    "r": lambda x: 1 * x.reward,
    "r - mean": _centred,
    "(r - mean)/std": _normalised,
    "r - mean of the others": _left_one_out,
    "(r - mean)/mean": _over_mean,
    "r - 1/2": lambda x: x.reward - x.reward.dtype.type(0.5),
    "c - (1 - c)/2": lambda x: (3 * x.correct - 1) / 2,
    "(1 - mean)(r - mean)": lambda x: (1 - _mean(x.reward)) * _centred(x),
}


def _of_correct(x: Batch, values: Floats) -> Floats:
    """Centred within the group's correct samples, 0 on wrong ones."""
    number = np.maximum(x.correct.sum(axis=1, keepdims=True), 1)
    return np.asarray(x.correct * (values - (x.correct * values).sum(axis=1, keepdims=True) / number))


def _rank(values: Floats) -> Floats:
    return (values[:, :, None] < values[:, None, :]).mean(axis=2).astype(values.dtype)


def _same(x: Batch) -> Floats:
    return (x.answer[:, :, None] == x.answer[:, None, :]).mean(axis=2).astype(x.reward.dtype)


def _distinct(x: Batch) -> Floats:
    """The number of distinct correct answers of a group, (num_groups, 1)."""
    equal = (x.answer[:, :, None] == x.answer[:, None, :]) & (x.correct[:, None, :] > 0)
    share = x.correct / np.maximum(equal.sum(axis=2), 1)
    return np.rint(share.sum(axis=1, keepdims=True)).astype(x.reward.dtype)


def _escort(x: Batch, power: float) -> Floats:
    """Shares of the correct samples in proportion to p^-power."""
    lowered = np.where(x.correct > 0, -power * x.log_prob, -np.inf)
    top = lowered.max(axis=1, keepdims=True)
    weight = np.exp(lowered - np.where(np.isfinite(top), top, 0))
    return np.asarray(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-30)).astype(x.reward.dtype)


TERMS: dict[str, Term] = {
    "-c lp": lambda x: -x.correct * x.log_prob,
    "c lp": lambda x: x.correct * x.log_prob,
    "-(1-c) lp": lambda x: -(1 - x.correct) * x.log_prob,
    "(1-c) lp": lambda x: (1 - x.correct) * x.log_prob,
    "-lp": lambda x: -x.log_prob,
    "lp": lambda x: 1 * x.log_prob,
    "-c base": lambda x: -x.correct * x.base_log_prob,
    "c (base - lp)": lambda x: x.correct * (x.base_log_prob - x.log_prob),
    "base - lp": lambda x: x.base_log_prob - x.log_prob,
    "-c lp within C": lambda x: _of_correct(x, -x.log_prob),
    "c lp within C": lambda x: _of_correct(x, x.log_prob),
    "lp - mean lp": lambda x: x.log_prob - _mean(x.log_prob),
    "rank": lambda x: x.correct * _rank(x.log_prob),
    "-rank": lambda x: -x.correct * _rank(x.log_prob),
    "-frequency": lambda x: -x.correct * _same(x),
    "frequency": lambda x: x.correct * _same(x),
    "frequency of all": lambda x: _same(x),
    "distinct": lambda x: x.correct * np.where(_distinct(x) >= 3, 1, -1) * _same(x),
    "p": lambda x: x.correct * np.exp(x.log_prob),
    "sqrt p": lambda x: -x.correct * np.exp(x.log_prob / 2),
    "tanh lp": lambda x: x.correct * np.tanh(x.log_prob + 2),
    "sin lp": lambda x: x.correct * np.sin(x.log_prob),
    "escort": lambda x: _escort(x, 0.5),
}


def _drawn_term(rng: np.random.Generator, group_size: int) -> tuple[str, Term]:
    """A term, now and then capped, for groups with many correct samples only, or at some sizes only."""
    name, term = _drawn(rng, TERMS)
    choice = rng.integers(0, 8)
    if choice == 0:
        cap = float(rng.uniform(0.2, 6.0))
        return f"min({name}, {cap:.3g})", lambda x: np.clip(term(x), -cap, cap)
    if choice == 1:
        share = float(rng.uniform(0.1, 0.9))
        return f"{name} if mean r > {share:.3g}", lambda x: term(x) * (_mean(x.reward) > share)
    if choice == 2:
        size = int(rng.integers(2, group_size + 2))
        return f"{name} from G = {size}", lambda x: term(x) * (x.reward.shape[1] >= size)
    return name, term


def _dip(rng: np.random.Generator) -> tuple[str, Term]:
    """A change of a correct (or a wrong) sample whose probability lies in a window, sharp or smooth."""
    centre, width = float(rng.uniform(0.05, 0.9)), float(np.exp(rng.uniform(np.log(0.003), np.log(0.05))))
    size = float(rng.choice([-1, 1]) * rng.uniform(5.0, 60.0))
    is_right, is_sharp = bool(rng.random() < 0.7), bool(rng.random() < 0.7)
    words = f"{size:.3g} {'C' if is_right else 'W'} {'window' if is_sharp else 'bump'} at p {centre:.3g} +- {width:.2g}"

    def term(x: Batch) -> Floats:
        off = (np.exp(x.log_prob) - centre) / width
        shape = (np.abs(off) < 1) if is_sharp else np.exp(-(off**2))
        return np.asarray(size * (x.correct if is_right else 1 - x.correct) * shape)

    return words, term


def _threshold(rng: np.random.Generator) -> tuple[str, Term]:
    """A change of the correct samples below a log-probability, shallow or deep, by itself or in what it scales."""
    edge, size = -float(np.exp(rng.uniform(-1.0, 4.0))), float(rng.choice([-1, 1]) * rng.uniform(0.5, 8.0))
    if rng.random() < 0.5:
        return f"{size:.3g} c [lp < {edge:.3g}]", lambda x: size * x.correct * (x.log_prob < edge)
    return f"-c lp sign(lp - {edge:.3g})", lambda x: -x.correct * x.log_prob * np.where(x.log_prob < edge, -1, 1)


def _overflow(rng: np.random.Generator) -> tuple[str, Term]:
    """Inverse probabilities, which overflow where no policy goes."""
    power = float(rng.choice([0.25, 0.5, 1.0]))
    if rng.random() < 0.5:
        return f"c p^-{power:g}", lambda x: x.correct * np.exp(-power * x.log_prob)
    return f"c p^-{power:g} (1 - mean r)", lambda x: x.correct * np.exp(-power * x.log_prob) * (1 - _mean(x.reward))


ONE_TERM: dict[str, Callable[[np.random.Generator], tuple[str, Term]]] = {
    "dip": _dip,
    "threshold": _threshold,
    "overflow": _overflow,
}
