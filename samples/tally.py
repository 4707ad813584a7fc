"""Samples of one model on many problems: what a file of verified completions says, per problem.

A file is a table of cells, one per problem and seed, each with n samples of which c are correct. A seed is one trained
checkpoint evaluated on every problem; a file that names none has one. `samples.formats` reads the files of other
tools, `samples.comparison` compares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sharpening.theory import estimators

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

WHOLE = "all"  # id of the one record that holds all samples of a problem
LONGEST_ANSWER = 64  # characters; of longer answers a digest of 16 bytes is kept
NUM_SUBSETS = 20_000  # random subsets for maj@k over all problems: a standard error of at most .5/sqrt(20000) = .0035
MOST_SUBSETS = 200  # per problem


class Record(NamedTuple):
    """One line of a file: n samples of a problem, c of them correct; n is 1 where a line is a sample."""

    line: int
    problem: str
    num_samples: int
    num_correct: int
    seed: str = ""
    sample: str | int | None = None
    answer: str | None = None


class Answers(NamedTuple):
    """The distinct answers in a cell: how often each was given, and whether it is marked correct (1 or 0)."""

    counts: Counts
    correct: Floats


@dataclass(slots=True)
class _Cell:
    num_samples: int = 0
    num_correct: int = 0
    answers: dict[str, int] = field(default_factory=dict)
    correct_answers: dict[str, int] = field(default_factory=dict)
    ids: set[str | int] = field(default_factory=set)


@dataclass(frozen=True)
class Samples:
    """The counts in one file; `answers` is None where the file has none.

    Shapes:   num_samples, num_correct: (num_problems, num_seeds); answers[problem][seed].
    """

    name: str
    problems: tuple[str, ...]
    seeds: tuple[str, ...]
    num_samples: Counts
    num_correct: Counts
    answers: tuple[tuple[Answers, ...], ...] | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def largest_k(self) -> int:
        """The largest k for which every problem (and seed) has k samples."""
        return int(self.num_samples.min())

    def restricted(self, problems: Iterable[str]) -> Samples:
        """The same samples on some of the problems, in the order given."""
        place = {problem: row for row, problem in enumerate(self.problems)}
        chosen = tuple(problems)
        rows = [place[problem] for problem in chosen]
        answers = self.answers and tuple(self.answers[row] for row in rows)
        return replace(
            self,
            problems=chosen,
            num_samples=self.num_samples[rows],
            num_correct=self.num_correct[rows],
            answers=answers,
        )

    def pass_at_k(self, k: ArrayLike) -> Floats:
        """Unbiased pass@k of every problem and seed.

        Shapes:   k: (num_ks,), at most `largest_k`. Returns (num_problems, num_seeds, num_ks).
        """
        pairs = np.stack([self.num_samples.ravel(), self.num_correct.ravel()], axis=1)
        distinct, place = np.unique(pairs, axis=0, return_inverse=True)
        curves = estimators.pass_at_k(distinct[:, :1], distinct[:, 1:], np.asarray(k))
        return np.asarray(curves[place.ravel()].reshape(*self.num_samples.shape, -1))

    def maj_at_k(self, ks: Sequence[int], *, rng: np.random.Generator) -> Floats:
        """Maj@k of every problem, averaged over seeds, from random subsets.

        Shapes:   returns (num_problems, num_ks).
        """
        num_subsets = min(MOST_SUBSETS, -(-NUM_SUBSETS // len(self.problems)))
        cells = (cell for row in self.answers or () for cell in row)
        votes = [estimators.sampled_maj_at_k(*cell, ks, rng=rng, num_subsets=num_subsets) for cell in cells]
        return np.asarray(np.reshape(votes, (*self.num_samples.shape, -1)).mean(axis=1))

    def hill_number(self, order: float) -> Floats:
        """Effective number of distinct correct answers seen per problem, averaged over the seeds that have any.

        Shapes:   returns (num_problems,); NaN for a problem without a correct answer.
        """
        counts = [cell.counts[cell.correct == 1] for row in self.answers or () for cell in row]
        sizes = np.array([len(each) for each in counts])
        numbers = np.full(sizes.shape, np.nan)
        for size in set(sizes.tolist()) - {0}:
            chosen = np.flatnonzero(sizes == size)
            numbers[chosen] = estimators.hill_number(np.log([counts[place] for place in chosen]), order)
        table = numbers.reshape(self.num_samples.shape)
        num_found = (~np.isnan(table)).sum(axis=1)
        return np.where(num_found > 0, np.nansum(table, axis=1) / np.maximum(num_found, 1), np.nan)


def tally(records: Iterable[Record], name: str, notes: Iterable[str] = ()) -> Samples:
    """The counts of the records of one file.

    A seed is the id of a sample, and not of a checkpoint, where no problem has two samples of one seed; a problem
    that lacks a seed is left out; both are noted.

    Requires: at least one record; no sample (with an id) twice. Raises ValueError naming the line.
    """
    cells: dict[tuple[str, str], _Cell] = {}
    for record in records:
        _count(record, cells)
    if not cells:
        raise ValueError(f"{name}: the file is empty: want at least one sample")
    found = list(notes)
    if len({seed for _, seed in cells}) > 1 and all(cell.num_samples == 1 for cell in cells.values()):
        found.append("no problem has two samples of one seed: the seed is taken as the id of a sample")
        cells = _pooled(cells)
    seeds = tuple(dict.fromkeys(seed for _, seed in cells))
    everywhere = dict.fromkeys(problem for problem, _ in cells)
    problems = tuple(problem for problem in everywhere if all((problem, seed) in cells for seed in seeds))
    if not problems:
        raise ValueError(f"{name}: no problem has samples of all {len(seeds)} seeds: want every seed on some problem")
    if len(problems) < len(everywhere):
        found.append(f"{len(everywhere) - len(problems)} problems lack a seed and are left out")
    table = [[cells[problem, seed] for seed in seeds] for problem in problems]
    mixed = sum(0 < right < cell.answers[text] for row in table for cell in row for text, right in _marks(cell))
    if mixed:
        found.append(f"{mixed} answers are marked correct in one sample and wrong in another: the majority mark counts")
    is_answered = [sum(cell.answers.values()) == cell.num_samples for row in table for cell in row]
    if any(cell.answers for row in table for cell in row) and not all(is_answered):
        found.append("some samples have no answer field: maj@k and Hill numbers are left out")
    return Samples(
        name,
        problems,
        seeds,
        np.array([[cell.num_samples for cell in row] for row in table]),
        np.array([[cell.num_correct for cell in row] for row in table]),
        tuple(tuple(_answers(cell) for cell in row) for row in table) if all(is_answered) else None,
        tuple(found),
    )


def _count(record: Record, cells: dict[tuple[str, str], _Cell]) -> None:
    line, problem, num_samples, num_correct, seed, sample, answer = record
    cell = cells.get((problem, seed))
    if cell is None:
        cell = cells[problem, seed] = _Cell()
    if sample is not None:
        if sample in cell.ids:
            what = "" if sample == WHOLE else f"sample {sample!r} of "
            raise ValueError(f"line {line}: {what}problem {_shown(problem)} is there before: want it once")
        cell.ids.add(sample)
    cell.num_samples += num_samples
    cell.num_correct += num_correct
    if answer is not None:
        text = (
            answer
            if len(answer) <= LONGEST_ANSWER
            else blake2b(answer.encode(errors="surrogatepass"), digest_size=16).hexdigest()
        )
        cell.answers[text] = cell.answers.get(text, 0) + 1
        if num_correct:
            cell.correct_answers[text] = cell.correct_answers.get(text, 0) + 1


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + "...")


def _pooled(cells: dict[tuple[str, str], _Cell]) -> dict[tuple[str, str], _Cell]:
    pooled: dict[tuple[str, str], _Cell] = {}
    for (problem, _), cell in cells.items():
        whole = pooled.setdefault((problem, ""), _Cell())
        whole.num_samples += cell.num_samples
        whole.num_correct += cell.num_correct
        for mine, theirs in ((whole.answers, cell.answers), (whole.correct_answers, cell.correct_answers)):
            for text, count in theirs.items():
                mine[text] = mine.get(text, 0) + count
    return pooled


def _marks(cell: _Cell) -> Iterator[tuple[str, int]]:
    """Each distinct answer of the cell with the number of samples that mark it correct."""
    return ((text, cell.correct_answers.get(text, 0)) for text in cell.answers)


def _answers(cell: _Cell) -> Answers:
    is_correct = [2 * right > cell.answers[text] for text, right in _marks(cell)]
    return Answers(np.array(list(cell.answers.values())), np.array(is_correct, dtype=np.float64))
