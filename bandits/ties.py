"""Arms of one run that have moved alike so far, kept once: what makes 128,000 arms cheap.

Arms with the same start and correctness get the same update as long as none of them is drawn: a tie is one
cell of the state. A drawn arm leaves its tie and has a cell of its own from then on. This is exact, no approximation;
the gain is the share of arms that were never drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits import drawing
from theory.policies import Floats

LEAST_ARMS = 1024  # below, the arrays are too short to be worth it
MOST_TIES = 16
LEAST_GAIN = 2  # arms for each cell: below, a run goes on without ties
Arms = NDArray[np.int64]


@dataclass(frozen=True)
class Ties:
    """Which arms the cells of a run stand for: first the ties, then one cell for each arm of `singles`.

    A tie never becomes empty: its last arm keeps the cell.
    """

    members: tuple[Arms, ...]
    singles: Arms

    @property
    def num_cells(self) -> int:
        """Ties and single arms."""
        return len(self.members) + self.singles.size

    @property
    def num_arms(self) -> int:
        """All arms."""
        return self.singles.size + sum(arms.size for arms in self.members)

    def masses(self, weights: Floats) -> tuple[Floats, Floats]:
        """The weights of whole ties, and those of the single arms.

        Shapes:   weights: (num_cells,), of one arm of each cell. Returns (num_ties,) and (num_singles,).
        """
        num_ties = len(self.members)
        return weights[:num_ties] * [arms.size for arms in self.members], weights[num_ties:]

    def of_arms(self, cells: Floats) -> Floats:
        """The values of the cells, arm by arm.

        Shapes:   cells: (1, num_cells). Returns (1, num_arms).
        """
        num_ties = len(self.members)
        values = np.empty((1, self.num_arms))
        for tie, arms in enumerate(self.members):
            values[0, arms] = cells[0, tie]
        values[0, self.singles] = cells[0, num_ties:]
        return values


@dataclass(frozen=True)
class Drawn:
    """Draws of arms, their cells after the draws, the ties that the new cells come from, and the ties that are left.

    Shapes:   arms, cells: (num_draws,); origins: (num_new_cells,).
    """

    arms: Arms
    cells: Arms
    origins: Arms
    ties: Ties


def find(base_log_policy: Floats, solves: Floats) -> Ties | None:
    """The ties at the start; None where there are few arms or many ties.

    Shapes:   base_log_policy: (num_arms,); solves: (num_prompts, num_arms).
    """
    if base_log_policy.size < LEAST_ARMS or np.unique(base_log_policy).size > MOST_TIES:
        return None
    keys = np.vstack([base_log_policy, solves])
    _, label = np.unique(keys, axis=1, return_inverse=True)
    label = label.ravel()
    if label.max() >= MOST_TIES:
        return None
    members = tuple(np.flatnonzero(label == tie) for tie in range(label.max() + 1))
    return Ties(members, np.empty(0, dtype=np.int64))


def draw(ties: Ties, weights: Floats, reached: Floats) -> Drawn:
    """Arms by inversion: first the cell, then the arm within a tie.

    Shapes:   weights: (num_cells,), of one arm of each cell; reached: (num_draws,), uniforms times the weight of all.
    """
    num_ties, num_cells = len(ties.members), ties.num_cells
    tied_mass, single_mass = ties.masses(weights)
    ladder = np.cumsum(tied_mass)
    cells = np.searchsorted(ladder, reached, side="right")  # num_ties: a single arm
    arms = np.empty_like(cells)
    is_single = cells == num_ties
    if not ties.singles.size:
        cells, is_single = np.minimum(cells, num_ties - 1), np.zeros_like(is_single)
    single = drawing.places(single_mass, reached[is_single] - ladder[-1]) if is_single.any() else cells[:0]
    cells[is_single] = num_ties + single
    arms[is_single] = ties.singles[single]
    members, leaving, origins = list(ties.members), [ties.singles], [cells[:0]]
    for tie, tied in enumerate(ties.members):
        drawn = np.flatnonzero(cells == tie)
        if not drawn.size:
            continue
        place = ((reached[drawn] - (ladder[tie] - tied_mass[tie])) / weights[tie]).astype(np.int64)
        chosen, rank = np.unique(np.clip(place, 0, tied.size - 1), return_inverse=True)
        arms[drawn] = tied[chosen][rank]
        num_leaving = min(chosen.size, tied.size - 1)
        cells[drawn] = np.where(rank < num_leaving, num_cells + sum(map(len, origins)) + rank, tie)
        leaving.append(tied[chosen[:num_leaving]])
        origins.append(np.full(num_leaving, tie))
        members[tie] = _without(tied, chosen[:num_leaving])
    return Drawn(arms, cells, np.concatenate(origins), Ties(tuple(members), np.concatenate(leaving)))


def _without(arms: Arms, places: Arms) -> Arms:
    """The arms without those at the given places (increasing); the last ones move up into the gaps."""
    num_left = arms.size - places.size
    left = arms[:num_left].copy()
    is_kept = np.ones(places.size, dtype=np.bool_)
    is_kept[places[places >= num_left] - num_left] = False
    left[places[places < num_left]] = arms[num_left:][is_kept]
    return left
