"""Unscorable samples, masked once: where reward or correct is NaN the advantage is 0 and there is no term.

Group statistics are those of the group's scorable samples alone, as if the others had not been drawn: the groups are
cut down to their scorable samples before the method sees them, so no method knows of masks. A group left with fewer
samples than the method can work with (no baseline of one sample, no subset of k) gets 0 throughout.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from array_api_compat import array_namespace

Array = Any  # an array of NumPy, torch or any array-API library


def is_scorable(inputs: Mapping[str, Array]) -> Array:
    """True where neither `reward` nor `correct`, as far as given, is NaN.

    Shapes:   (..., group_size) each. Returns the same shape, Boolean.
    """
    first = next(iter(inputs.values()))
    xp = array_namespace(first)
    scorable = xp.ones_like(first, dtype=xp.bool)
    for name in ("reward", "correct"):
        if name in inputs:
            scorable = scorable & ~xp.isnan(inputs[name])
    return scorable


def over_scorable(
    advantage: Callable[..., Array], inputs: Mapping[str, Array], scorable: Array, least_group_size: int
) -> Array:
    """The advantage function on every group cut down to its scorable samples; 0 on all others.

    Shapes:   inputs, scorable: (..., group_size). Returns the same shape.
    """
    shape, group_size = scorable.shape, scorable.shape[-1]
    xp = array_namespace(scorable)
    rows = xp.reshape(scorable, (-1, group_size))
    order = xp.argsort(xp.astype(~rows, xp.int8), axis=-1, stable=True)  # scorable samples first, order kept
    counts = xp.sum(xp.astype(rows, xp.int64), axis=-1)  # (num_groups,)
    dtype = xp.result_type(*(values for name, values in inputs.items() if name != "answer"))
    blocks, indices = [], []
    for count in (int(value) for value in xp.unique_values(counts)):
        (members,) = xp.nonzero(counts == count)
        chosen = xp.take(order, members, axis=0)  # (num_members, group_size)
        flat = chosen + xp.expand_dims(members, axis=-1) * group_size
        cut = {name: _gather(values, flat[:, :count]) for name, values in inputs.items()}
        padding = xp.zeros(flat.shape, dtype=dtype, device=flat.device)
        if count >= max(least_group_size, 1):
            padding = xp.concat([advantage(**cut), padding[:, count:]], axis=-1)
        blocks.append(xp.reshape(padding, (-1,)))
        indices.append(xp.reshape(flat, (-1,)))
    back = xp.argsort(xp.concat(indices))
    return xp.reshape(xp.take(xp.concat(blocks), back), shape)


def _gather(values: Array, flat: Array) -> Array:
    """The values at flat indices, in the shape of the indices."""
    xp = array_namespace(values)
    picked = xp.take(xp.reshape(values, (-1,)), xp.reshape(flat, (-1,)))
    return xp.reshape(picked, flat.shape)
