"""The number of correct samples behind pass@k of one problem, which is a share at k = 1 only."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from sharpening.samples.formats import fields as shared
from sharpening.samples.lines import Row, shown
from sharpening.theory import estimators

MOST_SAMPLES = 100_000
ROUNDING = 1e-6  # absolute: pass@k as a tool writes it, at least six decimals
NOISE = 1e-12  # absolute: what float64 leaves of a pass@k


@lru_cache(maxsize=64)
def _curve(num_samples: int, k: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """pass@k for 0 to n correct samples of n, (num_samples + 1,)."""
    return np.asarray(estimators.pass_at_k(num_samples, np.arange(num_samples + 1), k), dtype=np.float64).ravel()


def number_correct(
    row: Row, names: Mapping[int, str], values: Mapping[int, Any], num_samples: int
) -> tuple[int | None, bool]:
    """How many of n samples are correct, None if no value is there; and whether n - 1 would fit as well as the n given.

    `names` and `values` are those of pass@k by k. The number is the one that fits all of them. It is unique unless all
    are 1: then any from n - k + 1 on fits at the smallest k. Of n - 1 and n the latter is taken, of more none.

    Raises:   ValueError where no number fits, or several.
    """
    given = {k: number for k, value in values.items() if (number := _share(row, names[k], value)) is not None}
    if not given:
        return None, False
    for k in given:
        if not 1 <= k <= num_samples <= MOST_SAMPLES:
            raise row.fault(f"{names[k]} is there and {num_samples} generations: want from {k} to {MOST_SAMPLES}")
    errors = np.max([np.abs(_curve(num_samples, k) - number) for k, number in given.items()], axis=0)
    fits = np.flatnonzero(errors <= max(10 * errors.min(), NOISE))
    told = ", ".join(f"{names[k]} is {number:g}" for k, number in given.items())
    if errors.min() > ROUNDING:
        shape = f"a share of {num_samples} generations" if set(given) == {1} else f"pass@k of {num_samples} generations"
        raise row.fault(f"{told}: want {shape}")
    if len(fits) > 1 and fits.tolist() != [num_samples - 1, num_samples]:
        raise row.fault(
            f"{told}, which {fits[0]} to {fits[-1]} correct of {num_samples} give: it is not pass@1, and the number "
            "correct does not follow from it: want a metric of smaller k, or a list of scores"
        )
    return int(fits[-1]), len(fits) > 1


def _share(row: Row, name: str, value: Any) -> float | None:
    found = shared.scalar(value)
    if found is None:
        return None
    if not isinstance(found, int | float) or not 0 <= found <= 1:
        raise row.fault(f"{name} is {shown(value)}: want a number from 0 to 1")
    return float(found)
