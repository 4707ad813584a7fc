"""Samples of a model against its exact audit: two independent paths to the same probabilities have to agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import chi2

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.llm.audit.samples import Samples

NUM_LIKELIEST = 20  # answers of each problem that have a cell of their own; the rest share one
LEAST_EXPECTED = 5.0  # samples in a cell, below which it joins the rest
LARGEST_Z, LEAST_P = 4.0, 1e-3


class Check(NamedTuple):
    """Observed and expected correct samples, the standard error, z, and chi-squared over the likeliest answers."""

    num_samples: int
    observed: int
    expected: float
    standard_error: float
    chi_squared: float
    degrees: int

    @property
    def z(self) -> float:
        """The difference of the number of correct samples in standard errors."""
        difference = self.observed - self.expected
        return difference / self.standard_error if self.standard_error else difference * math.inf if difference else 0.0

    @property
    def p_value(self) -> float:
        """The chance of a larger chi-squared if the audit is right."""
        return float(chi2.sf(self.chi_squared, self.degrees)) if self.degrees else 1.0

    @property
    def agrees(self) -> bool:
        """Whether both tests pass."""
        return abs(self.z) <= LARGEST_Z and self.p_value >= LEAST_P


def compare(
    audits: Sequence[Audited],
    texts: Sequence[Sequence[str]],
    samples: Samples,
    *,
    spellings: Callable[[str], Sequence[str]] = exact.spellings,
) -> Check:
    """The samples' counts against the audits of the same prompts; `texts` are the listed answers.

    Where not every spelling of an answer is listed, a sample in another one counts as wrong, as it does in the audit.
    Raises ValueError for a sampled problem that was not audited.
    """
    answer_of = [
        {spelling: text for text in mine for spelling in ((text,) if one.is_exact else spellings(text))}
        for one, mine in zip(audits, texts, strict=True)
    ]
    place_of = {one.problem.id: place for place, one in enumerate(audits)}
    counts: dict[int, Counter[str]] = {}
    observed = 0
    for one in samples.samples:
        if one.problem not in place_of:
            raise ValueError(f"--check: problem {one.problem!r} was not audited: want samples of the audited problems")
        place = place_of[one.problem]
        text = answer_of[place].get(one.completion) if one.is_finished else None
        counts.setdefault(place, Counter())[text or ""] += 1
        observed += one.correct and (text is not None or audits[place].is_exact)
    expected = variance = statistic = 0.0
    degrees = 0
    for place, found in counts.items():
        size = found.total()
        policy = np.exp(audits[place].log_prob)
        correctness = float(policy[audits[place].correct == 1].sum())
        expected, variance = expected + size * correctness, variance + size * correctness * (1 - correctness)
        seen, wanted = _cells(policy, texts[place], found)
        statistic += float(((seen - wanted) ** 2 / wanted).sum())
        degrees += len(seen) - 1
    return Check(len(samples.samples), observed, expected, float(np.sqrt(variance)), statistic, degrees)


def _cells(policy: np.ndarray, texts: Sequence[str], found: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Observed and expected counts of the likeliest answers, and last of all the others together."""
    size = sum(found.values())
    likeliest = np.argsort(-policy)[:NUM_LIKELIEST]
    chosen = likeliest[size * policy[likeliest] >= LEAST_EXPECTED]
    seen = np.array([found.get(texts[place], 0) for place in chosen], dtype=np.float64)
    wanted = size * policy[chosen]
    rest = size - wanted.sum()
    if rest >= LEAST_EXPECTED or not len(seen):
        return np.append(seen, size - seen.sum()), np.append(wanted, rest)
    seen[-1] += size - seen.sum()
    wanted[-1] += rest
    return seen, wanted
