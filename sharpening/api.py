"""What the commands do, from Python: plain data or files in, plain rows (a list of dictionaries) out.

These five functions are the stable part of the interface, and attributes of `sharpening` as well. Nothing is printed or
written. Bad input raises ValueError (pydantic's for a specification) with the line that the command would print.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from sharpening import samples
from sharpening.bandits import analysis
from sharpening.bandits.specification import Specification
from sharpening.samples import answers
from sharpening.theory.diagnosis import diagnose as diagnosis
from sharpening.theory.methods import calls
from sharpening.theory.methods.table import Level
from sharpening.theory.rows import prediction

Row = dict[str, Any]
Values = Mapping[str, Any]
compare = samples.compare


def diagnose(
    method: str | Callable[..., Any],
    parameters: Values | None = None,
    *,
    group_size: int = 8,
    kl_strength: float = 0.0,
) -> list[Row]:
    """What an advantage function does: a row a property, with verdict, detail and the smallest counterexample found.

    `method` is an id, a preset, FILE.py:FUNCTION, or a function whose arguments are named as a method's inputs are
    (reward, correct, log_prob, base_log_prob, num_tokens, answer; arrays of shape (num_groups, group_size)).

    >>> {row["property"]: row["verdict"] for row in diagnose("dr_grpo")}["wrong never above correct"]
    'no counterexample in 4,805 groups at G = 2 to 9'
    """
    values = dict(parameters or {})
    if isinstance(method, str):
        chosen = calls.resolve(method)
        allowed: tuple[Level, ...] = ("group",)
        calls.refuse_level(chosen, allowed, "diagnose", values)
        method, values = chosen.advantage, calls.parameter_values(chosen, values)
    found = diagnosis.diagnose(method, values, group_size=group_size, kl_strength=kl_strength)
    return list(map(dict, diagnosis.report_lines(found)))


def predict(table: str | Path | Iterable[Values], *, kl_strengths: Sequence[float] = (0.3, 1.0)) -> list[Row]:
    """What RL does to the answers of one prompt: a CSV file as `predict` reads it, or rows with its columns.

    >>> rows = predict([{"answer": "a", "count": 3, "correct": 1}, {"answer": "b", "count": 5, "correct": 0}])
    >>> [row["value"] for row in rows if row["quantity"] == "correctness"][0]
    0.375
    """
    text, name = (_csv(table), "table") if not isinstance(table, str | Path) else (_text(table), str(table))
    read = answers.read_answers(io.StringIO(text, newline=""), name)
    return list(prediction.predict(read.problem, tuple(kl_strengths)))


def simulate(specification: str | Path | Values | Specification) -> list[Row]:
    """A simulated bandit, a row a record and quantity, with the theory's prediction where there is one.

    `specification` has the fields of a file that `simulate` reads, or names one.
    """
    return list(analysis.simulate(_specification(specification)))


def sweep(
    specification: str | Path | Values | Specification, grid: Mapping[str, Sequence[Any]], *, jobs: int = 1
) -> list[Row]:
    """Simulations of every combination of the grid's values, in its order; each row begins with those values.

    A name with a point reaches into a field: `parameters.gamma_correct`. Rows do not depend on `jobs`, the number of
    processes.
    """
    base = _specification(specification).model_dump(exclude_unset=True)
    points = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    wanted = [Specification.model_validate(_with(base, point)) for point in points]  # refused before any is run
    found = Parallel(n_jobs=jobs)(delayed(simulate)(one) for one in wanted)
    return [{**point, **row} for point, rows in zip(points, found, strict=True) for row in rows]


def _specification(given: str | Path | Values | Specification) -> Specification:
    if isinstance(given, Specification):
        return given
    return Specification.model_validate(json.loads(_text(given)) if isinstance(given, str | Path) else given)


def _with(base: Values, point: Values) -> dict[str, Any]:
    """The fields with those of a grid's point."""
    found = dict(base)
    for name, value in point.items():
        head, _, tail = name.partition(".")
        found[head] = {**found.get(head, {}), tail: value} if tail else value
    return found


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from None


def _csv(rows: Iterable[Values]) -> str:
    listed = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(listed[0]) if listed else [])
    writer.writeheader()
    writer.writerows(listed)
    return stream.getvalue()
