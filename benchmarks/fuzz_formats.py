"""Damaged and altered sample files: the toolkit's readers against an independent, slow reference reader.

    python -m benchmarks.fuzz_formats [--variants 20000] [--seed 0]

A variant is a valid file of some tool, with up to three changes of its schema and two of its bytes. The toolkit must
refuse it in one line, or give the counts (and the answers) that the reference reader gives. One line a tool: variants,
how many both accept, how many both refuse, how many only the reference accepts (too strict), and the faults: other
counts, other answers, accepted where the reference refuses, samples left out in silence, exceptions, and messages of
several lines. Then the reasons of what is too strict, and the smallest files with a fault. Exit status 1 where there is
a fault, or fewer than 30% of the variants are accepted.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import reference_reader
from benchmarks.fuzz_completions import Dice
from benchmarks.fuzz_mutations import Variant, variant
from benchmarks.reference_reader import Cell, Reading
from benchmarks.reference_values import Refused
from sharpening.samples import files
from sharpening.samples.formats.fields import Fields
from sharpening.samples.tally import Samples

FAULTS = ("counts", "answers", "accepted", "silent", "exception", "message")
COLUMNS = ("variants", "agreed", "refused", "strict", *FAULTS)
LEAST_ACCEPTED = 0.30
MOST_SHOWN = 20
SHOWN = 2_000  # bytes of a file with a fault
NAME = "file"

Reader = Callable[[Variant, Path], Samples]


class Verdict(NamedTuple):
    """What one variant showed: one of COLUMNS, and why."""

    kind: str
    detail: str


def toolkit(variant: Variant, folder: Path) -> Samples:
    """The toolkit's reading of a variant, of several files as a folder."""
    path = folder / "samples"
    if path.is_dir():
        shutil.rmtree(path)
    if len(variant.contents) == 1:
        path.write_bytes(variant.contents[0])
    else:
        path.unlink(missing_ok=True)
        path.mkdir()
        for place, content in enumerate(variant.contents):
            (path / f"{place}.{variant.container}").write_bytes(content)
    metric, answer, threshold, problem, file_format = variant.said
    return files.read(path, NAME, file_format, Fields(metric, answer, threshold, problem))[0]


def variants(rng: np.random.Generator) -> Iterator[Variant]:
    """Variants without end."""
    dice = Dice(rng)
    while True:
        yield variant(dice)


def examined(variant: Variant, folder: Path, reader: Reader = toolkit) -> Verdict:
    """Reads one variant by both and compares."""
    try:
        expected: Reading | str = reference_reader.read(variant.contents, variant.said)
    except Refused as reason:
        expected = str(reason)
    try:
        found = reader(variant, folder)
    except ValueError as error:
        text = str(error)
        if "\n" in text or not text.startswith(NAME):
            return Verdict("message", repr(text))
        return Verdict("refused", text) if isinstance(expected, str) else Verdict("strict", text)
    except Exception as error:
        return Verdict("exception", repr(error))
    return Verdict("accepted", expected) if isinstance(expected, str) else compared(found, expected)


def compared(found: Samples, expected: Reading) -> Verdict:
    """Counts, answers and notes of the toolkit beside those of the reference."""
    cells = {
        (problem, seed): (int(found.num_samples[row, column]), int(found.num_correct[row, column]))
        for row, problem in enumerate(found.problems)
        for column, seed in enumerate(found.seeds)
    }
    wanted = {key: (cell.num_samples, cell.num_correct) for key, cell in expected.cells.items()}
    if cells != wanted:
        return Verdict("counts", f"{cells}, want {wanted}")
    if found.answers is not None:
        if not expected.has_answers:
            return Verdict("answers", "there are answers, want none")
        for row, problem in enumerate(found.problems):
            for column, seed in enumerate(found.seeds):
                votes = found.answers[row][column]
                pairs = sorted(zip(votes.counts.tolist(), votes.correct.tolist(), strict=True))
                if pairs != voted(expected.cells[problem, seed]):
                    return Verdict("answers", f"{pairs}, want {voted(expected.cells[problem, seed])}")
    for number in (expected.num_left_out, expected.num_files_left_out):
        if number and not any(str(number) in note for note in found.notes):
            return Verdict("silent", f"{found.notes}, want a note of {number}")
    return Verdict("agreed", "")


def voted(cell: Cell) -> list[tuple[int, float]]:
    """How often each answer was given, and whether most of those are marked correct."""
    counts: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    for (answer, mark), count in cell.answers.items():
        counts[answer] += count
        correct[answer] += count * mark
    return sorted((counts[answer], float(2 * correct[answer] > counts[answer])) for answer in counts)


def reason(message: str) -> str:
    """A message without what differs between files: places, values and names."""
    told = message.partition(": ")[2]
    return re.sub(r"'[^']*'|\"[^\"]*\"|[0-9.]+", "_", told)[:120]


class Offence(NamedTuple):
    """A variant with a fault."""

    variant: Variant
    verdict: Verdict

    @property
    def shown(self) -> str:
        """What went wrong, how the files were made, and the files."""
        variant, (kind, detail) = self
        said = {name: value for name, value in variant.said._asdict().items() if value is not None}
        how = f"{variant.tool} ({', '.join(variant.changes) or 'as written'}), said {said}"
        shown = "".join(f"\n    {content[:SHOWN]!r}" for content in variant.contents)
        return f"{kind}: {detail[:SHOWN]}\n    {how}{shown}"


def tallies(
    drawn: Iterable[Variant], folder: Path, reader: Reader = toolkit
) -> tuple[dict[str, Counter[str]], Counter[tuple[str, str]], list[Offence]]:
    """Verdicts by tool and of "all", reasons of what is too strict by tool, and the variants with a fault."""
    found: defaultdict[str, Counter[str]] = defaultdict(Counter)
    strict: Counter[tuple[str, str]] = Counter()
    offences: list[Offence] = []
    for each in drawn:
        verdict = examined(each, folder, reader)
        for tool in (each.tool, "all"):
            found[tool].update(["variants", verdict.kind])
        if verdict.kind == "strict":
            strict[each.tool, reason(verdict.detail)] += 1
        if verdict.kind in FAULTS:
            offences.append(Offence(each, verdict))
    return found, strict, sorted(offences, key=lambda offence: sum(map(len, offence.variant.contents)))


def main(words: Sequence[str] | None = None) -> int:
    """Prints the table, what is too strict and the smallest offences; 1 if there is any, or too few are accepted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(words)
    drawn = islice(variants(np.random.default_rng(given.seed)), given.variants)
    with tempfile.TemporaryDirectory() as folder:
        found, strict, offences = tallies(tqdm(drawn, total=given.variants, mininterval=10), Path(folder))
    print(("{:<14}" + "{:>10}" * len(COLUMNS)).format("tool", *COLUMNS))
    for tool, counts in sorted(found.items(), key=lambda pair: (pair[0] == "all", pair[0])):
        print(("{:<14}" + "{:>10}" * len(COLUMNS)).format(tool, *(counts[column] for column in COLUMNS)))
    share = found["all"]["agreed"] / given.variants
    print(f"accepted: {share:.1%}, want at least {LEAST_ACCEPTED:.0%}")
    for (tool, reason), count in strict.most_common(MOST_SHOWN):
        print(f"too strict: {count} {tool}: {reason[:200]}")
    for offence in offences[:MOST_SHOWN]:
        print(offence.shown)
    return int(bool(offences) or share < LEAST_ACCEPTED)


if __name__ == "__main__":
    sys.exit(main())
