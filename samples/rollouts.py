"""Reading rollouts: sampled completions with reward, correctness and log-probabilities, as arrays for the methods.

One completion a row, in JSON lines or parquet, read by `samples.lines`: as described here, as TRL's GRPO trainer logs
completions, or as verl dumps rollouts. A group is all completions of a prompt, and of a training step where the file
has the field `step`. Groups of different sizes stay apart: the methods see an array for every size. Of several reward
columns those that are known are summed, as TRL does.

Fields: `prompt` and `completion` (text, or messages), `reward` (finite number, or null if there is none), `correct` (0,
1, true, false, or null if it could not be scored; it is the reward where a file has none), `log_prob` (of the whole
completion, nats, under the policy and temperature that sampled it) or `token_log_probs`, `num_tokens`, `base_log_prob`,
and `answer` (text or number; without it completions are told apart by their text). Other fields are ignored. TRL's file
has no log-probabilities unless they were logged as an extra column; its reward functions are columns of any name. In
verl's dump `input` is the prompt, `output` the completion, `score` the reward and `acc`, else `score`, the correctness;
its `uid` is no group's.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sharpening.samples import lines
from sharpening.samples.formats.fields import listed, scalar
from sharpening.samples.lines import TOO_DEEP
from sharpening.theory.methods import scorable

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Record = Mapping[str, Any]
Placed = tuple[str, int, Record]  # "FILE line 3", 3 and the fields there
NOT_REWARDS = (
    *("step", "prompt", "completion", "answer", "advantage"),
    *("log_prob", "token_log_probs", "base_log_prob", "num_tokens"),
)
VERL = {"prompt": "input", "completion": "output"}
VERL_DEFAULTS = {"reward": ("score",), "correct": ("acc", "score")}
REWARD_LIKE = re.compile("reward|score", re.IGNORECASE)
SUM_TOLERANCE = 1e-3  # relative, between log_prob and the sum of token_log_probs: what rounded decimals leave


@dataclass(frozen=True)
class Columns:
    """Which fields hold the reward (several are summed) and the correctness; empty where the file is to tell."""

    reward: tuple[str, ...] = ()
    correct: str = ""


@dataclass(frozen=True)
class Rollouts:
    """Completions, those of a group side by side, groups of one size side by side.

    Shapes:   inputs (names of method_table.INPUTS), lines (where in the file, from 1) and group (its number):
              (num_completions,). `shapes` has (num_groups, group_size) for every size, in the order of the arrays;
              `columns` says which fields were read.
    """

    inputs: Mapping[str, NDArray[Any]]
    lines: Integers
    group: Integers
    shapes: tuple[tuple[int, int], ...]
    columns: Columns

    @property
    def is_scorable(self) -> Mask:
        """Whether reward and correct are both known, (num_completions,)."""
        return np.asarray(scorable.is_scorable(self.inputs))

    @property
    def is_correct(self) -> Mask:
        """Whether a completion is scorable and correct, (num_completions,)."""
        return np.asarray(self.is_scorable & (self.inputs["correct"] == 1))

    @property
    def is_wrong(self) -> Mask:
        """Whether a completion is scorable and wrong, (num_completions,)."""
        return np.asarray(self.is_scorable & (self.inputs["correct"] == 0))

    def split(self, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Values of all completions as arrays (num_groups, group_size), one for every group size."""
        start = 0
        for shape in self.shapes:
            yield values[start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)

    def blocks(self) -> Iterator[dict[str, NDArray[Any]]]:
        """The inputs (num_groups, group_size), once for every group size."""
        for columns in zip(*map(self.split, self.inputs.values()), strict=True):
            yield dict(zip(self.inputs, columns, strict=True))


def read(path: Path, name: str, columns: Columns | None = None) -> Rollouts:
    """The rollouts in a file, of any kind that `lines` reads.

    Raises:   ValueError, one line: the file, the line, the field, its value and what is allowed.
    """
    with lines.opened(path, name) as source:
        rows = list(source.table().rows)
    return _rollouts(_placed(rows, name), name, columns or Columns())


def read_jsonl(text: str, name: str, columns: Columns | None = None) -> Rollouts:
    r"""The rollouts in a text, as `read` does.

    >>> lines = '{"prompt": "a", "reward": 1, "correct": 1}\n{"prompt": "a", "reward": 0, "correct": 0}'
    >>> read_jsonl(lines, "example").shapes
    ((1, 2),)
    """
    try:
        rows = list(lines.text_table(io.BytesIO(text.encode(errors="surrogatepass"))).rows)
    except ValueError as error:
        raise lines.named(error, name) from None
    return _rollouts(_placed(rows, name), name, columns or Columns())


def _placed(rows: Iterable[lines.Row], name: str) -> list[Placed]:
    """The rows with their places, those of verl's dump with the names of the fields here."""
    found = []
    for row in rows:
        is_verl = "prompt" not in row.fields and set(VERL.values()) <= row.fields.keys()
        fields = (
            {**row.fields, **{ours: row.fields[theirs] for ours, theirs in VERL.items()}} if is_verl else row.fields
        )
        found.append((f"{name} {row.place}", row.number, fields))
    return found


def _rollouts(placed: list[Placed], name: str, columns: Columns) -> Rollouts:
    """The records as arrays, group by group."""
    if not placed:
        raise ValueError(f"{name}: the file is empty: want one completion a line, with prompt, reward and correct")
    columns = _chosen(placed, name, columns)
    found: list[dict[str, Any]] = []
    members: dict[str, list[int]] = {}
    for index, (place, _, record) in enumerate(placed):
        try:
            found.append(_completion(record, place, columns))
            members.setdefault(_group_key(record, place), []).append(index)
        except RecursionError:
            raise ValueError(f"{place}: {TOO_DEEP}") from None
        for field in sorted(found[0].keys() ^ found[-1].keys()):
            has, lacks = (placed[0][0], place) if field in found[0] else (place, placed[0][0])
            raise ValueError(f"{lacks}: there is no {field}, and {has} has one: want it everywhere or nowhere")
    if all(math.isnan(row["reward"] + row["correct"]) for row in found):
        raise ValueError(f"{name}: every completion has null in reward or correct: want some that could be scored")
    groups = sorted(members.values(), key=len)
    sizes = [len(group) for group in groups]
    order = np.concatenate([np.array(group) for group in groups])
    inputs = {field: np.array([found[i][field] for i in order]) for field in found[0] if field != "answer"}
    if "answer" in found[0]:
        inputs["answer"] = np.concatenate([_ids([found[i]["answer"] for i in group]) for group in groups])
    return Rollouts(
        inputs,
        np.array([placed[i][1] for i in order]),
        np.repeat(np.arange(len(groups)), sizes),
        tuple((sizes.count(size), size) for size in sorted(set(sizes))),
        columns,
    )


def _ids(answers: list[str]) -> Integers:
    """Numbers of the distinct answers of a group, in the order of appearance."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(answer, len(known)) for answer in answers], dtype=np.int64)


def _chosen(placed: list[Placed], name: str, columns: Columns) -> Columns:
    """The columns of reward and correctness: those given, else those so named, else the only candidate."""
    fields = list(dict.fromkeys(field for _, _, record in placed for field in record))
    for field in (*columns.reward, *filter(None, [columns.correct])):
        if field not in fields:
            raise ValueError(f"{name}: there is no field {field!r}: want one of {listed(fields)}")
    candidates = [field for field in fields if field not in NOT_REWARDS and _is_numeric(placed, field)]

    def default(field: str) -> str:
        names = (field, *(VERL_DEFAULTS[field] if set(VERL.values()) <= set(fields) else ()))
        if there := [name for name in names if name in fields]:
            return there[0]
        if field == "reward" and "correct" in fields and not any(REWARD_LIKE.search(str(name)) for name in fields):
            return "correct"  # as in the samples of `evaluate`
        if len(candidates) == 1:
            return str(candidates[0])
        known = listed(candidates) or "none"
        raise ValueError(f"{name}: there is no field {field!r}: say which is, with --{field} (numeric fields: {known})")

    return Columns(columns.reward or (default("reward"),), columns.correct or default("correct"))


def _is_numeric(placed: list[Placed], field: str) -> bool:
    values = [record[field] for _, _, record in placed if record.get(field) is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def _group_key(record: Record, place: str) -> str:
    prompt = record.get("prompt")
    if isinstance(prompt, bool) or not isinstance(prompt, str | int | list):
        raise ValueError(f"{place}: prompt is {_shown(prompt)}: want the prompt's id or text, or its messages")
    return _text([record.get("step"), prompt])


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _completion(record: Record, place: str, columns: Columns) -> dict[str, Any]:
    """The inputs of one completion; `answer` still as text."""
    rewards = [_number(record, field, place, is_nullable=True) for field in columns.reward]
    known = [value for value in rewards if not math.isnan(value)]
    correct = _number(record, columns.correct, place, is_nullable=True)
    if correct not in (0.0, 1.0) and not math.isnan(correct):
        raise ValueError(f"{place}: {columns.correct} is {correct!r}: want 0, 1, true, false, or null if unscorable")
    found: dict[str, Any] = {"reward": math.fsum(known) if known else math.nan, "correct": correct}
    for field in ("log_prob", "base_log_prob"):
        if record.get(field) is not None:
            found[field] = _log_prob(record, field, place)
    if record.get("num_tokens") is not None:
        found["num_tokens"] = _number(record, "num_tokens", place)
        if found["num_tokens"] < 1 or found["num_tokens"] % 1:
            raise ValueError(f"{place}: num_tokens is {_shown(record['num_tokens'])}: want an integer of at least 1")
    if record.get("token_log_probs") is not None:
        _add_tokens(found, record["token_log_probs"], place)
    named = (record[field] for field in ("answer", "completion") if record.get(field) not in (None, ""))
    identity = next(named, record.get("answer"))
    if identity is not None:
        found["answer"] = _text(identity)
    return found


def _add_tokens(found: dict[str, Any], values: Any, place: str) -> None:
    """Adds log_prob and num_tokens, or checks them where the record has them too."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"{place}: token_log_probs is {_shown(values)}: want a list of at least one number")
    total = math.fsum(_log_prob({field: value}, field, place) for field, value in _named(values))
    if found.setdefault("num_tokens", float(len(values))) != len(values):
        raise ValueError(
            f"{place}: num_tokens is {found['num_tokens']:g}: want {len(values)}, the length of token_log_probs"
        )
    if not math.isclose(found.setdefault("log_prob", total), total, rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE):
        raise ValueError(f"{place}: log_prob is {found['log_prob']!r}: want {total:.6g}, the sum of token_log_probs")


def _named(values: list[Any]) -> Iterable[tuple[str, Any]]:
    return ((f"token_log_probs[{index}]", value) for index, value in enumerate(values))


def _log_prob(record: Record, field: str, place: str) -> float:
    value = _number(record, field, place)
    if value > 0:
        raise ValueError(f"{place}: {field} is {value!r}: want a log-probability in nats, at most 0")
    return value


def _number(record: Record, field: str, place: str, *, is_nullable: bool = False) -> float:
    """The field as a float. Null (as NaN), NaN, true, false and these as text only where `is_nullable`."""
    value = record.get(field, "missing")
    if is_nullable and (value := scalar(value)) is None:
        return math.nan
    try:
        number = float(value) if isinstance(value, int | float) else math.inf
    except OverflowError:
        number = math.inf
    if math.isinf(number) or (not is_nullable and (math.isnan(number) or isinstance(value, bool))):
        also = ", or null if unscorable" if is_nullable else ""
        raise ValueError(f"{place}: {field} is {_shown(value)}: want a finite number{also}")
    return number


def _shown(value: Any) -> str:
    """A value for an error line, shortened."""
    if isinstance(value, list | dict):
        return f"a {type(value).__name__}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
