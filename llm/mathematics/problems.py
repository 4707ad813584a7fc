r"""Mathematics problems with a final answer: from JSON Lines, parquet or a hub, as prompts that ask for \boxed{}.

`PRESETS` names the sets that the paper evaluates on, and Minerva. Its hub names, splits and columns are from general
knowledge, and nothing here has been run against a hub: `expected_and_found` shows what a file has before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from sharpening.llm.mathematics.scorer import Attempt, MathScorer
from sharpening.llm.tasks import Mark, Prompt

PARQUET = b"PAR1"
ROWS_AT_ONCE = 16_384
LONGEST_SHOWN = 80
MOST_NAMED = 5  # faults that one message lists

INSTRUCTION = (
    "Solve the problem below. Reason one step at a time. Close with a line that holds nothing but the final answer, "
    r"written in LaTeX inside \boxed{}."
)

Row = tuple[str, Mapping[str, Any]]  # line 3 or row 3, fields


@dataclass(frozen=True)
class Columns:
    """The columns of a file that hold the problem, its final answer and, if there is one, its id."""

    problem: str = "problem"
    answer: str = "answer"
    id: str | None = None

    def named(self) -> dict[str, str]:
        """What is read from which column."""
        names = {"problem": self.problem, "answer": self.answer, "id": self.id}
        return {what: name for what, name in names.items() if name is not None}


@dataclass(frozen=True)
class Preset:
    """Where a published set is said to be, and under which columns; not tried here."""

    hub_name: str
    split: str
    columns: Columns
    config: str | None = None
    status: str = "not tried here"


PRESETS = {
    "math500": Preset("HuggingFaceH4/MATH-500", "test", Columns(id="unique_id")),
    "aime24": Preset("HuggingFaceH4/aime_2024", "train", Columns(id="id")),
    "aime25": Preset("math-ai/aime25", "test", Columns(id="id")),
    "amc23": Preset("math-ai/amc23", "test", Columns("question", id="id")),
    "olympiadbench": Preset(
        "Hothan/OlympiadBench", "train", Columns("question", "final_answer", "id"), "OE_TO_maths_en_COMP"
    ),
    "minerva": Preset("math-ai/minervamath", "test", Columns("question")),
}


class MathProblem(NamedTuple):
    """A problem and its final answer, in LaTeX or plain text."""

    id: str
    problem: str
    answer: str


class MathTask:
    """Mathematics problems as prompts, and marks of completions by an open scorer."""

    def __init__(self, problems: Sequence[MathProblem], scorer: MathScorer) -> None:
        """Takes problems with distinct ids, whose answers `check_gold` has let pass."""
        self.problems = tuple(problems)
        self.scorer = scorer
        self.prompts: list[Prompt] = [prompt(problem) for problem in problems]

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """A mark of each completion; `places` says to which problem it belongs, `is_finished` whether it ended."""
        problems = [self.problems[place] for place in places]
        attempts = zip(problems, completions, is_finished, strict=True)
        return self.scorer.score([Attempt(one.problem, one.answer, text, ended) for one, text, ended in attempts])


def prompt(problem: MathProblem) -> Prompt:
    """A problem as one message for the tokenizer's chat template."""
    return Prompt(problem.id, ({"role": "user", "content": f"{INSTRUCTION}\n\n{problem.problem}"},))


def check_gold(problems: Sequence[MathProblem], scorer: MathScorer) -> None:
    """Raise ValueError, one line that names the problems, if answers cannot be read or are not equal to themselves."""
    faults = scorer.gold_faults([problem.answer for problem in problems])
    named = [
        f"problem {_shown(problem.id)}: answer is {_shown(problem.answer)}: {fault}"
        for problem, fault in zip(problems, faults, strict=True)
        if fault
    ]
    if named:
        more = f"; and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        raise ValueError(f"{'; '.join(named[:MOST_NAMED])}{more}: want final answers in LaTeX")


def load(path: Path, columns: Columns) -> list[MathProblem]:
    """The problems in a file of JSON Lines or parquet, in its order.

    Raises ValueError: one line that names the file, the line or row, the field, its value and what is allowed.
    """
    try:
        with path.open("rb") as stream:
            return _problems(_rows(stream), columns)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def load_hub(preset: Preset) -> list[MathProblem]:
    """The problems of a set on a hub, through the library `datasets`, which is not a dependency; not tried here."""
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError:
        wanted = "want `pip install datasets` first, or a file"
        raise ValueError(f"{preset.hub_name}: reading from a hub needs datasets: {wanted}") from None
    try:
        rows = datasets.load_dataset(preset.hub_name, preset.config, split=preset.split)
    except Exception as error:  # of the network, the hub or the library: their kinds are not documented
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"{preset.hub_name}: cannot be loaded: {reason}: want a hub name, config and split") from None
    try:
        return _problems(((f"row {number}", row) for number, row in enumerate(rows, start=1)), preset.columns)
    except ValueError as error:
        raise ValueError(f"{preset.hub_name}: {error}") from None


def expected_and_found(columns: Columns, path: Path) -> dict[str, Any]:
    """What is read from which column, the columns that the first row has, those it lacks, that row, and all rows."""
    try:
        with path.open("rb") as stream:
            rows = _rows(stream)
            _, first = next(rows, ("", None))
            num_rows = int(first is not None) + sum(1 for _ in rows)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    first = first or {}
    return {
        "expected": columns.named(),
        "found": list(first),
        "missing": [name for name in columns.named().values() if name not in first],
        "first_row": {name: _shown(value) for name, value in first.items()},
        "num_rows": num_rows,
    }


def _problems(rows: Iterable[Row], columns: Columns) -> list[MathProblem]:
    found: list[MathProblem] = []
    places: dict[str, str] = {}
    for place, row in rows:
        missing = [name for name in columns.named().values() if name not in row]
        if missing:
            found_here = ", ".join(row) or "none"
            raise ValueError(f"{place}: no column {', '.join(missing)}: want it, found {found_here}")
        name = _text(place, columns.id, row[columns.id]) if columns.id else str(len(found) + 1)
        if name in places:
            raise ValueError(f"{place}: {columns.id} is {_shown(name)}, as in {places[name]}: want each id once")
        places[name] = place
        answer = row[columns.answer]
        if isinstance(answer, list) and len(answer) == 1:  # as OlympiadBench has it
            answer = answer[0]
        texts = (_text(place, columns.problem, row[columns.problem]), _text(place, columns.answer, answer))
        found.append(MathProblem(name, *texts))
    if not found:
        raise ValueError("the file is empty: want at least one problem")
    return found


def _text(place: str, column: str, value: Any) -> str:
    """A field as text; integers are text too."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer and not (isinstance(value, str) and value.strip()):
        raise ValueError(f"{place}: {column} is {_shown(value)}: want text that is not empty, or an integer")
    return str(value).strip()


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def _rows(stream: Any) -> Iterator[Row]:
    is_parquet = stream.peek(len(PARQUET))[: len(PARQUET)] == PARQUET
    return _parquet_rows(stream) if is_parquet else _json_rows(stream)


def _json_rows(stream: BinaryIO) -> Iterator[Row]:
    for number, line in enumerate(stream, start=1):
        place = f"line {number}"
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            row = json.loads(text) if text else {}
        except UnicodeDecodeError as error:
            raise ValueError(f"{place}: it is not UTF-8 text ({error.reason}): save it as UTF-8") from None
        except (ValueError, RecursionError):
            raise ValueError(f"{place}: it is not JSON: want one object per line, found {_shown(text)}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{place}: it is {_shown(row)}: want one object per line")
        if text:
            yield place, row


def _parquet_rows(stream: BinaryIO) -> Iterator[Row]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ValueError("reading parquet needs pyarrow: want `pip install pyarrow` first") from None
    try:
        batches = parquet.ParquetFile(stream).iter_batches(batch_size=ROWS_AT_ONCE)
        rows = (row for batch in batches for row in batch.to_pylist())
        yield from ((f"row {number}", row) for number, row in enumerate(rows, start=1))
    except pyarrow.ArrowException as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(f"it is not a readable parquet file: {reason}: want the whole file") from None
