"""Arms by inversion of cumulative sums, in three ways: which is fastest depends on the numbers of arms and draws."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from sharpening.theory.policies import Floats

BLOCK = 16  # places whose sum is searched before the places themselves
FEW_DRAWS = 1 / 64  # for each place: up to here sums of blocks are faster than cumulative sums
MANY_DRAWS = 4096  # from here on the table of buckets pays for itself
FEW_STEPS = 3  # through a bucket, before a search is the better way
PIECE = 16_384


def places(mass: Floats, reached: Floats) -> NDArray[np.int64]:
    """The first place at which the sum of the mass is above the value, at most the last.

    Shapes:   mass: (num_places,), at least 0; reached: (num_draws,), from 0. Returns (num_draws,).
    """
    if reached.size < MANY_DRAWS:
        return places_and_rests(mass, reached)[0]
    return _by_buckets(np.cumsum(mass), reached)


def sorted_places(mass: Floats, reached: Floats) -> NDArray[np.int64]:
    """The places in increasing order: what reads and writes arrays at them then does so from front to back.

    Shapes:   those of `places`.
    """
    counts = np.bincount(places(mass, reached), minlength=mass.size)
    return np.repeat(np.arange(mass.size), counts)


def places_and_rests(mass: Floats, reached: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The places, and what the values exceed the sum before their place by.

    Shapes:   those of `places`; returns two of (num_draws,).
    """
    if reached.size < FEW_DRAWS * mass.size:
        return _by_blocks(mass, reached)
    cumulative = np.cumsum(mass)
    place = np.minimum(np.searchsorted(cumulative, reached, side="right"), mass.size - 1)
    return place, reached - (cumulative[place] - mass[place])


def _by_blocks(mass: Floats, reached: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Few draws: sums of blocks, then a look into the blocks that are hit."""
    num_whole = mass.size // BLOCK
    whole = mass[: num_whole * BLOCK].reshape(-1, BLOCK)
    sums = np.append(np.einsum("ij->i", whole), mass[num_whole * BLOCK :].sum())  # twice as fast as sum(axis=1)
    cumulative = np.cumsum(sums)
    block = np.minimum(np.searchsorted(cumulative, reached, side="right"), num_whole)
    inside = np.minimum(block[:, None] * BLOCK + np.arange(BLOCK), mass.size - 1)  # (num_draws, BLOCK)
    rest = reached - (cumulative[block] - sums[block])
    passed = np.cumsum(mass[inside], axis=1)
    step = np.minimum((passed <= rest[:, None]).sum(axis=1), BLOCK - 1)
    place = np.minimum(block * BLOCK + step, mass.size - 1)
    return place, rest - (passed[np.arange(step.size), step] - mass[place])


def _by_buckets(cumulative: Floats, reached: Floats) -> NDArray[np.int64]:
    """Many draws: a table of equal buckets says where to start, and what is still to go is a few steps."""
    num_buckets = 1 << int(cumulative.size).bit_length()
    scale = num_buckets / cumulative[-1]
    bucket = np.empty(cumulative.size, dtype=np.int64)
    for piece in _pieces(cumulative.size):
        bucket[piece] = cumulative[piece] * scale
    filled = np.bincount(bucket, minlength=num_buckets + 1)
    start = np.cumsum(filled)
    start -= filled  # the number of places in earlier buckets
    place = np.empty(reached.size, dtype=np.int64)
    for piece in _pieces(reached.size):
        first = start.take((reached[piece] * scale).astype(np.int64), mode="clip")
        place[piece] = _walked(cumulative, reached[piece], first)
    return place


def _walked(cumulative: Floats, reached: Floats, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places, from places that are not beyond them: a few steps of all, then a search for what is left."""
    for _ in range(FEW_STEPS):
        place += cumulative.take(place, mode="clip") <= reached
    np.minimum(place, cumulative.size - 1, out=place)
    late = np.flatnonzero(cumulative.take(place) <= reached)
    place[late] = np.minimum(np.searchsorted(cumulative, reached[late], side="right"), cumulative.size - 1)
    return place


def _pieces(size: int) -> Iterator[slice]:
    """Pieces that stay in the processor's cache, and in memory that is used again."""
    return (slice(begin, begin + PIECE) for begin in range(0, size, PIECE))
