"""Samples of one model on many problems: what a file of verified completions says, per problem.

A file is a table of cells, one per problem and seed, each with n samples of which c are correct. A seed is one trained
checkpoint evaluated on every problem; a file that names none has one. `samples.formats` reads the files of other
tools, `samples.comparison` compares them.
"""

from __future__ import annotations

from array import array
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

EMPTY = ": the file is empty: want at least one sample"
WHOLE = "all"  # id of the one record that holds all samples of a problem
FEW = 0.05  # of the pairs of a problem and a seed: if no more have several samples, they may be there by mistake
CHANCE_REPEATS = 0.05  # the most samples with the text of another that pass unmentioned
LONGEST_ANSWER = 64  # characters; of longer answers a digest of 16 bytes is kept
NUM_SUBSETS = 20_000  # random subsets for maj@k over all problems: a standard error of at most .5/sqrt(20000) = .0035
MOST_SUBSETS = 200  # per problem


class Record(NamedTuple):
    """n samples of a problem, c of them correct, from one line (or other unit) of a file; often n is 1.

    `num_correct` is None where the samples could not be scored. `text` is the completion; `document` is what tells the
    problem from another of the same name.
    """

    line: int
    problem: str
    num_samples: int
    num_correct: int | None
    seed: str = ""
    sample: str | int | None = None
    answer: str | None = None
    text: str | None = None
    document: str | None = None
    unit: str = "line"


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
    texts: array[int] = field(default_factory=lambda: array("q"))  # hashes; the last bit is the mark

    def add(self, other: _Cell) -> None:
        """Adds the samples of another cell."""
        self.num_samples += other.num_samples
        self.num_correct += other.num_correct
        self.texts += other.texts
        for mine, theirs in ((self.answers, other.answers), (self.correct_answers, other.correct_answers)):
            for text, count in theirs.items():
                mine[text] = mine.get(text, 0) + count

    def num_repeated(self) -> int:
        """How many samples have the text of another; 0 where texts are missing, or of one text some are correct."""
        texts = {text >> 1 for text in self.texts}
        is_told = len(self.texts) == self.num_samples and len(texts) == len(set(self.texts))
        return self.num_samples - len(texts) if is_told else 0

    def marks(self) -> Iterator[tuple[str, int]]:
        """Each distinct answer with the number of samples that mark it correct."""
        return ((text, self.correct_answers.get(text, 0)) for text in self.answers)

    def as_answers(self) -> Answers:
        """The answers, each correct if most of its samples are."""
        is_correct = [2 * right > self.answers[text] for text, right in self.marks()]
        return Answers(np.array(list(self.answers.values())), np.array(is_correct, dtype=np.float64))


@dataclass(frozen=True)
class Samples:
    """The counts of one model; `answers` is None where its file has none.

    `documents` says what each problem is where a name alone does not: None, or a text that another problem has not;
    `mark` is the format and the field that said what is correct, where the format has several.

    Shapes:   num_samples, num_correct: (num_problems, num_seeds); answers[problem][seed]; documents: (num_problems,).
    """

    name: str
    problems: tuple[str, ...]
    seeds: tuple[str, ...]
    num_samples: Counts
    num_correct: Counts
    answers: tuple[tuple[Answers, ...], ...] | None = None
    notes: tuple[str, ...] = ()
    documents: tuple[str | None, ...] = ()
    mark: tuple[str, str] | None = None

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
            documents=tuple(self.documents[row] for row in rows) if self.documents else (),
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
    """The counts of the records of one file, as `Tally` makes them."""
    counted = Tally()
    counted.add(records)
    return counted.samples(name, "the mark", notes)


class Tally:
    """Counts the records of the files of one model.

    A seed is the id of a sample, and not of a checkpoint, where no problem has two samples of one seed; a problem
    that lacks a seed is left out; so are samples that could not be scored; all are noted. Answers are left out where
    some samples have none, and where they cannot be the model's.
    """

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.cells: dict[tuple[str, str], _Cell] = {}
        self.documents: dict[str, str] = {}
        self.ids: dict[tuple[str, str], set[str | int]] = {}  # of the samples of the file that is counted
        self.unscorable: dict[str, int] = {}

    def add(self, records: Iterable[Record]) -> None:
        """Counts the records of one file; raises ValueError, naming the line, where a sample's id is there twice."""
        self.ids = {}
        for record in records:
            self._count(record)

    @property
    def has_answers(self) -> bool:
        """Whether any sample has an answer."""
        return any(cell.answers for cell in self.cells.values())

    def _count(self, record: Record) -> None:
        line, problem, num_samples, num_correct, seed, sample, answer, text, document, unit = record
        if document is not None and self.documents.setdefault(problem, short := digest(document)) != short:
            raise ValueError(
                f"{unit} {line}: problem {_shown(problem)} is another one than before: want one set of problems, or "
                "what tells them apart after --problem"
            )
        if sample is not None:
            ids = self.ids.setdefault((problem, seed), set())
            if sample in ids:
                what = "" if sample == WHOLE else f"sample {sample!r} of "
                raise ValueError(f"{unit} {line}: {what}problem {_shown(problem)} is there before: want it once")
            ids.add(sample)
        if num_correct is None:
            self.unscorable[problem] = self.unscorable.get(problem, 0) + num_samples
            return
        cell = self.cells.get((problem, seed))
        if cell is None:
            cell = self.cells[problem, seed] = _Cell()
        cell.num_samples += num_samples
        cell.num_correct += num_correct
        if text is not None:
            cell.texts.append((hash(text) & ~1) | (num_correct > 0))
        if answer is not None:
            answer = answer if len(answer) <= LONGEST_ANSWER else digest(answer)
            cell.answers[answer] = cell.answers.get(answer, 0) + 1
            if num_correct:
                cell.correct_answers[answer] = cell.correct_answers.get(answer, 0) + 1

    def samples(self, name: str, metric: str, notes: Iterable[str] = ()) -> Samples:
        """The counts, with notes of what was left out; `metric` names the mark in them.

        Requires: at least one sample that could be scored. Raises ValueError.
        """
        found = [*notes, *self._unscorable_notes(metric)]
        cells = self.cells
        if len({seed for _, seed in cells}) > 1 and all(cell.num_samples == 1 for cell in cells.values()):
            found.append("no problem has two samples of one seed: the seed is taken as the id of a sample")
            cells = _pooled(cells)
        several = sum(cell.num_samples > 1 for cell in cells.values())
        if len({seed for _, seed in cells}) > 1 and 0 < several <= FEW * len(cells):
            found.append(
                f"{several} of {len(cells)} pairs of a problem and a seed have several samples, all others one: if "
                "seeds are ids of samples, leave the repeated ones out, and n is their number"
            )
        seeds = tuple(dict.fromkeys(seed for _, seed in cells))
        everywhere = dict.fromkeys(problem for problem, _ in cells)
        problems = tuple(problem for problem in everywhere if all((problem, seed) in cells for seed in seeds))
        if not problems:
            raise ValueError(f": no problem has samples of all {len(seeds)} seeds: want every seed on some problem")
        if len(problems) < len(everywhere):
            found.append(f"{len(everywhere) - len(problems)} problems lack a seed and are left out")
        table = [[cells[problem, seed] for seed in seeds] for problem in problems]
        flat = [cell for row in table for cell in row]
        has_answers, answer_notes = _judged_answers(table)
        return Samples(
            name,
            problems,
            seeds,
            np.array([[cell.num_samples for cell in row] for row in table]),
            np.array([[cell.num_correct for cell in row] for row in table]),
            tuple(tuple(cell.as_answers() for cell in row) for row in table) if has_answers else None,
            (*found, *answer_notes, *_repetition_notes(flat)),
            tuple(self.documents.get(problem) for problem in problems) if self.documents else (),
        )

    def _unscorable_notes(self, metric: str) -> Iterator[str]:
        if self.unscorable:
            yield f"{sum(self.unscorable.values())} samples could not be scored ({metric} is null) and are left out"
        if not self.cells and self.unscorable:
            raise ValueError(f": {metric} is null in every line: want samples that could be scored")
        if not self.cells:
            raise ValueError(EMPTY)
        if lost := self.unscorable.keys() - {problem for problem, _ in self.cells}:
            yield f"{len(lost)} problems have no sample that could be scored and are left out"


def _judged_answers(table: list[list[_Cell]]) -> tuple[bool, list[str]]:
    """Whether every sample has an answer of the model's, and notes."""
    cells = [cell for row in table for cell in row]
    if not any(cell.answers for cell in cells):
        return False, []
    if any(sum(cell.answers.values()) != cell.num_samples for cell in cells):
        return False, ["some samples have no answer field: maj@k and Hill numbers are left out"]
    is_one_each = all(len({text for cell in row for text in cell.answers}) == 1 for row in table)
    shares = [sum(cell.num_correct for cell in row) / sum(cell.num_samples for cell in row) for row in table]
    if is_one_each and any(0 < share < 1 for share in shares):
        return False, [
            "every sample of a problem has the same answer, marked correct in one and wrong in another: it may be the "
            "right answer, it is not the model's: maj@k and Hill numbers are left out (--answer names the model's)"
        ]
    mixed = sum(0 < right < cell.answers[text] for cell in cells for text, right in cell.marks())
    what = f"{mixed} answers are marked correct in one sample and wrong in another: the majority mark counts"
    return True, [what] if mixed else []


def _repetition_notes(cells: list[_Cell]) -> Iterator[str]:
    """Whether samples of a problem are the same text, and so perhaps were not drawn anew."""
    repeated = [cell.num_repeated() for cell in cells]
    num_same = sum(0 < number == cell.num_samples - 1 for number, cell in zip(repeated, cells, strict=True))
    if num_same == 0 and sum(repeated) <= CHANCE_REPEATS * sum(cell.num_samples for cell in cells):
        return
    if num_same == len(cells):
        what, truth = "all samples of each problem are the same text", "n is 1 in truth"
    else:
        of = f"{sum(repeated)} of {sum(cell.num_samples for cell in cells)} samples"
        what = f"{of} are the same text as another of their problem ({num_same} problems have one text only)"
        truth = "n is smaller in truth"
    yield f"{what}: if they were not drawn anew (greedy decoding, one file appended to itself), {truth}"


def digest(text: str) -> str:
    """Sixteen bytes that stand for a text."""
    return blake2b(text.encode(errors="surrogatepass"), digest_size=16).hexdigest()


def _shown(text: str) -> str:
    return repr(text if len(text) <= LONGEST_ANSWER else text[:LONGEST_ANSWER] + "...")


def _pooled(cells: dict[tuple[str, str], _Cell]) -> dict[tuple[str, str], _Cell]:
    pooled: dict[tuple[str, str], _Cell] = {}
    for (problem, _), cell in cells.items():
        pooled.setdefault((problem, ""), _Cell()).add(cell)
    return pooled
