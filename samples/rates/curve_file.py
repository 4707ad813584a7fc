"""Files of pass@k curves before and after training, as papers publish them: no counts of single problems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sharpening.samples import lines

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIELDS = ("set", "model", "num_problems", "num_samples", "k", "pass_at_k")
MODELS = ("before", "after", "both")
FEWEST_KS = 5
MOST_SAMPLES = 4096


@dataclass(frozen=True)
class Curves:
    """pass@k of one set of problems before and after training, and the share that both models solved.

    `both` is of problems of which at least one of all samples before and one of all samples after was correct.
    Shapes:   ks, before, after: (num_ks,).
    """

    name: str
    num_problems: int
    num_samples: int
    ks: Ints
    before: Floats
    after: Floats
    both: float

    @property
    def moments(self) -> Floats:
        """Everything that is fitted, (2 num_ks + 1,)."""
        return np.concatenate([self.before, self.after, [self.both]])


def read(path: Path, name: str) -> tuple[list[Curves], str]:
    """The curves of every set of a file, in the file's order, and the file's SHA-256.

    A line gives pass@k of one `model`, `before` or `after`, at one k from 1 to num_samples; a line with the model
    `both` and k = num_samples gives the share of problems that both models solved.

    Raises:   ValueError: one line that names the file, the line, the field, its value and what is allowed.
    """
    values: dict[str, dict[tuple[str, int], float]] = {}
    sizes: dict[str, tuple[int, int]] = {}
    with lines.opened(path, name) as source:
        for row in source.table().rows:
            which, model, size, k, value = _fields(row)
            if sizes.setdefault(which, size) != size:
                raise row.fault(
                    f"num_problems and num_samples of {which[:60]!r} are {size}: want {sizes[which]}, as above"
                )
            if (model, k) in values.setdefault(which, {}):
                raise row.fault(f"k = {k} of {model} of {which[:60]!r} is there twice: want every k once")
            values[which][model, k] = value
        sha256 = source.sha256()
    if not values:
        raise ValueError(f"{name}: the file is empty: want a line a set, model and k")
    return [_curves(name, which, sizes[which], found) for which, found in values.items()], sha256


def _fields(row: lines.Row) -> tuple[str, str, tuple[int, int], int, float]:
    for field in FIELDS:
        if field not in row.fields:
            raise row.fault(f"field {field!r} is missing: want {', '.join(FIELDS)}")
    model = str(row.fields["model"])
    if model not in MODELS:
        raise row.fault(f"field 'model' is {lines.shown(model)}: want {', '.join(MODELS)}")
    numbers = []
    for field in ("num_problems", "num_samples", "k"):
        text = str(row.fields[field]).strip()
        if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) == 0:
            raise row.fault(f"field {field!r} is {lines.shown(row.fields[field])}: want a whole number from 1 on")
        numbers.append(int(text))
    num_problems, num_samples, k = numbers
    if num_samples > MOST_SAMPLES:
        raise row.fault(f"field 'num_samples' is {num_samples}: want at most {MOST_SAMPLES}")
    if k > num_samples or (model == "both" and k != num_samples):
        want = "num_samples" if model == "both" else "at most num_samples"
        raise row.fault(f"field 'k' is {k} of {num_samples} samples: want {want}")
    try:
        value = float(str(row.fields["pass_at_k"]))
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise row.fault(f"field 'pass_at_k' is {lines.shown(row.fields['pass_at_k'])}: want a share from 0 to 1")
    return str(row.fields["set"]), model, (num_problems, num_samples), k, value


def _curves(name: str, which: str, size: tuple[int, int], values: dict[tuple[str, int], float]) -> Curves:
    ks = {model: sorted(k for other, k in values if other == model) for model in MODELS}
    if ks["before"] != ks["after"]:
        raise ValueError(f"{name}: {which[:60]!r}: k is {ks['before']} before and {ks['after']} after: want the same")
    if len(ks["before"]) < FEWEST_KS:
        raise ValueError(f"{name}: {which[:60]!r}: {len(ks['before'])} values of k: want at least {FEWEST_KS}")
    if not ks["both"]:
        raise ValueError(f"{name}: {which[:60]!r}: no line with model both: want the share that both models solved")
    before, after = (np.array([values[model, k] for k in ks[model]]) for model in MODELS[:2])
    if (np.diff([before, after]) < 0).any():
        raise ValueError(f"{name}: {which[:60]!r}: pass@k falls with k: want curves that rise")
    both = values["both", size[1]]
    if ks["before"][-1] == size[1] and both > min(before[-1], after[-1]):
        raise ValueError(f"{name}: {which[:60]!r}: both models solved {both}: want at most what each of them solved")
    return Curves(which, *size, np.array(ks["before"]), before, after, both)
