"""The fuzz of the sample readers: clean on 2,000 variants, and planted faults of readers are found."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

from benchmarks import fuzz_formats, fuzz_mutations, reference_reader
from benchmarks.fuzz_completions import Dice
from benchmarks.fuzz_containers import Unwritable, written
from benchmarks.fuzz_formats import FAULTS, Reader, Verdict, examined, toolkit
from benchmarks.fuzz_mutations import Variant, objects
from benchmarks.fuzz_tools import TOOLS
from benchmarks.reference_values import Refused, Said
from sharpening.samples.tally import Samples

NUM_VARIANTS = 2_000
NUM_DOCUMENTS = 400
MARKS = frozenset(
    {"correct", "canonical_correct", "score", "acc", "passed", "symbolic_correct", "value", "accuracy_reward"}
    | {"answers_correctness", "graded_list", "exact_match"}
)
Change = Callable[[dict[str, Any]], None]  # of one object of a file, at any depth


@functools.cache
def drawn() -> list[Variant]:
    return list(islice(fuzz_formats.variants(np.random.default_rng(0)), NUM_VARIANTS))


@pytest.mark.slow
def test_the_readers_agree_with_the_reference(tmp_path: Path) -> None:
    found, _, offences = fuzz_formats.tallies(drawn(), tmp_path)
    assert not offences, "\n".join(offence.shown for offence in offences[:5])
    assert set(found) == {"all", *(tool.__name__ for tool in TOOLS)}
    assert found["all"]["variants"] == NUM_VARIANTS
    assert found["all"]["agreed"] >= fuzz_formats.LEAST_ACCEPTED * NUM_VARIANTS
    for tool, counts in found.items():
        assert min(counts["agreed"], counts["refused"]) > 0, tool


def test_every_change_is_drawn() -> None:
    changes = {change for variant in drawn() for change in variant.changes}
    assert changes == {each.__name__ for each in (*fuzz_mutations.SCHEMA, *fuzz_mutations.BYTES, fuzz_mutations.parted)}


def test_the_reference_reads_what_was_put_in() -> None:
    """Files as the tools write them: the counts of the marks that were drawn, all seeds together."""
    dice, reasons = Dice(np.random.default_rng(1)), set()
    for _ in range(NUM_DOCUMENTS):
        document = dice.pick(TOOLS)(dice)
        try:
            expected = reference_reader.read([written(document.tree, document.container, dice)], document.said)
        except Refused as reason:
            reasons.add((document.tool, str(reason)[-31:]))
            continue
        found: dict[str, tuple[int, int]] = {}
        for (problem, _), cell in expected.cells.items():
            n, c = found.get(problem, (0, 0))
            found[problem] = n + cell.num_samples, c + cell.num_correct
        truth = sorted((len(problem.marks), sum(problem.marks)) for problem in document.problems)
        if not any("seed" in row for row in objects(document.tree)):  # there a problem that lacks a seed is left out
            assert sorted(found.values()) == truth, document
    assert reasons <= {("lm_eval", " numbers of correct samples fit")}


def changed(content: bytes, change: Change) -> bytes:
    """The file with a change in every object; as it was where it is neither JSON nor parquet."""
    if content.startswith(b"PAR1"):
        rows = parquet.read_table(io.BytesIO(content)).to_pylist()
        for each in objects(rows):
            change(each)
        try:
            return written(rows, "parquet", Dice(np.random.default_rng(0)))
        except Unwritable:
            return content
    try:
        try:
            trees = [json.loads(content)]
        except json.JSONDecodeError:
            trees = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:
        return content
    for each in objects(trees):
        change(each)
    return "".join(json.dumps(tree) + "\n" for tree in trees).encode()


def after(change: Change) -> Reader:
    """The toolkit's reader, after a change in every object."""
    return lambda variant, folder: toolkit(
        variant._replace(contents=tuple(changed(content, change) for content in variant.contents)), folder
    )


def of_marks(change: Callable[[Any], Any]) -> Reader:
    """The toolkit's reader, after a change of every mark."""

    def applied(each: dict[str, Any]) -> None:
        for key in MARKS & each.keys():
            value = each[key]
            each[key] = [change(mark) for mark in value] if isinstance(value, list) else change(value)

    return after(applied)


def larger_k(each: dict[str, Any]) -> None:
    """A pass@k is read as pass@1, of one generation."""
    for key in [key for key in each if key.startswith("pass@") and key != "pass@1"]:
        each["pass@1"] = each.pop(key)
        each |= {"metrics": ["pass@1"], "resps": [["so"]]}


def any_correct(each: dict[str, Any]) -> None:
    """LIMO's is_correct stands for every sample."""
    if isinstance(each.get("answers_correctness"), list) and "is_correct" in each:
        each["answers_correctness"] = [each["is_correct"]] * len(each["answers_correctness"])


def base_for_plus(each: dict[str, Any]) -> None:
    """EvalPlus's base tests alone count."""
    each |= {plus: each[base] for base, plus in (("base_status", "plus_status"), ("base", "plus")) if base in each}


def plus_alone(each: dict[str, Any]) -> None:
    """EvalPlus's plus tests count without base."""
    each |= {base: each[plus] for base, plus in (("base_status", "plus_status"), ("base", "plus")) if plus in each}


def sample_for_problem(each: dict[str, Any]) -> None:
    """verl's id of a sample is taken for a problem."""
    if "uid" in each:
        each["input"] = each["uid"]


def rotated_answers(each: dict[str, Any]) -> None:
    """An answer is counted for the next sample."""
    for key in ("pred", "generated_answers"):
        if isinstance(each.get(key), list):
            each[key] = each[key][1:] + each[key][:1]


def cut_lists(each: dict[str, Any]) -> None:
    """Of lists as many entries as the shortest has."""
    lists = {key: value for key, value in each.items() if isinstance(value, list) and value}
    each |= {key: value[: min(map(len, lists.values()))] for key, value in lists.items()}


def first_alone(each: dict[str, Any]) -> None:
    """lighteval's metric of one sample."""
    for key in [key for key in each if key.endswith("_samples") and not key.endswith(":1_samples")]:
        del each[key]


def no_epochs() -> Reader:
    """The same sample of inspect_ai twice is two samples."""
    numbers = count()

    def renumbered(each: dict[str, Any]) -> None:
        if "epoch" in each:
            each["epoch"] = next(numbers)

    return after(renumbered)


def whole_lines(variant: Variant, folder: Path) -> Samples:
    """The last line of a file that was cut off is passed over."""
    contents = tuple(content[: content.rfind(b"\n") + 1] for content in variant.contents)
    return toolkit(variant._replace(contents=contents), folder)


def above_the_threshold(variant: Variant, folder: Path) -> Samples:
    """A score equal to the threshold is wrong."""
    threshold = variant.said.threshold and math.nextafter(variant.said.threshold, math.inf)
    return toolkit(variant._replace(said=variant.said._replace(threshold=threshold)), folder)


def without_notes(variant: Variant, folder: Path) -> Samples:
    """Nothing is said of samples that are left out."""
    return dataclasses.replace(toolkit(variant, folder), notes=())


def crashing(variant: Variant, folder: Path) -> Samples:
    """A missing field is a KeyError."""
    try:
        return toolkit(variant, folder)
    except ValueError as error:
        raise KeyError(str(error)) from None


def wordy(variant: Variant, folder: Path) -> Samples:
    """A message of two lines."""
    try:
        return toolkit(variant, folder)
    except ValueError as error:
        raise ValueError(f"{error}\nsorry") from None


BROKEN: dict[str, tuple[str, Reader, str]] = {  # name: tool whose variants show it ("" for any), reader, fault
    "pass@10 as pass@1": ("lm_eval", after(larger_k), "counts"),
    "is_correct": ("limo", after(any_correct), "counts"),
    "base for plus": ("evalplus_new", after(base_for_plus), "counts"),
    "base for plus, old": ("evalplus_old", after(base_for_plus), "counts"),
    "plus without base": ("evalplus_new", after(plus_alone), "counts"),
    "plus without base, old": ("evalplus_old", after(plus_alone), "counts"),
    "null is wrong": ("", of_marks(lambda mark: False if mark is None else mark), "counts"),
    "null is wrong, in parquet": ("trl", of_marks(lambda mark: 0.0 if mark is None else mark), "counts"),
    "NaN is wrong": ("", of_marks(lambda mark: False if mark != mark else mark), "counts"),
    "any text is true": ("", of_marks(lambda mark: bool(mark) if isinstance(mark, str) else mark), "counts"),
    "any number": ("", of_marks(lambda mark: mark > 0 if isinstance(mark, int | float) else mark), "accepted"),
    "the sample is the problem": ("verl", after(sample_for_problem), "counts"),
    "answers of others": ("qwen_math", after(rotated_answers), "answers"),
    "the shortest list": ("limo", after(cut_lists), "accepted"),
    "one sample": ("lighteval", after(first_alone), "counts"),
    "the last of two keys": ("", after(lambda each: None), "accepted"),
    "no epochs": ("inspect_ai", no_epochs(), "accepted"),
    "no half lines": ("", whole_lines, "accepted"),
    "above the threshold": ("own_rows", above_the_threshold, "counts"),
    "silence": ("", without_notes, "silent"),
    "a crash": ("", crashing, "exception"),
    "two lines": ("", wordy, "message"),
}


def verdicts(reader: Reader, tool: str, folder: Path) -> Iterator[Verdict]:
    return (examined(variant, folder, reader) for variant in drawn() if tool in ("", variant.tool))


@pytest.mark.parametrize(("tool", "reader", "fault"), BROKEN.values(), ids=list(BROKEN))
def test_a_broken_reader_is_found(tool: str, reader: Reader, fault: str, tmp_path: Path) -> None:
    assert fault in FAULTS
    assert any(verdict.kind == fault for verdict in verdicts(reader, tool, tmp_path))


def test_the_command_prints_a_table_and_says_whether_it_is_clean(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fuzz_formats.main(["--variants", "100", "--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line.split() for line in lines if line.startswith("all "))
    assert row[1] == "100"
    assert sum(map(int, row[2:])) == 100
    monkeypatch.setattr(fuzz_formats.files, "read", lambda *given: 1 / 0)
    assert fuzz_formats.main(["--variants", "100", "--seed", "5"]) == 1
    assert "exception: ZeroDivisionError" in capsys.readouterr().out


def test_a_file_with_two_readings_is_refused_by_the_reference() -> None:
    """The reference is strict where the toolkit must be: keys twice, two scorers, lists of unlike lengths."""
    for text in (
        '{"problem": 1, "correct": true, "correct": false}',
        '{"samples": [{"id": 1, "epoch": 1, "scores": {"a": {"value": "C"}, "b": {"value": "I"}}}]}',
        '{"question": "q", "answers_correctness": [true, false], "generated_answers": ["1"]}',
        '{"doc_id": 0, "resps": [["a", "b", "c"]], "filtered_resps": [["a", "b", "c"]], "pass@3": 1.0}',
    ):
        with pytest.raises(Refused):
            reference_reader.read([text.encode()], Said())
