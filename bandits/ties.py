"""Arms of one run that have moved alike so far, kept once: what makes 128,000 arms cheap.

Arms with the same start and correctness get the same update as long as none of them is drawn: a tie is one cell of
the state. A drawn arm leaves its tie and has a cell of its own from then on. This is exact, no approximation; the gain
is the share of arms that were never drawn.
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
class Drawn:
    """Draws of arms, their cells after the draws, and the ties that the new cells come from.

    Shapes:   arms, cells: (num_draws,); origins: (num_new_cells,).
    """

    arms: Arms
    cells: Arms
    origins: Arms


@dataclass
class Ties:
    """Which arms the cells of a run stand for: first the ties, then one cell for each single arm; changed in place.

    A tie never becomes empty: its last arm keeps the cell. `order` has the single arms first, (num_arms,).
    """

    members: list[Arms]
    order: Arms
    num_singles: int = 0

    @property
    def num_cells(self) -> int:
        """Ties and single arms."""
        return len(self.members) + self.num_singles

    @property
    def is_worth_it(self) -> bool:
        """Whether the cells are few beside the arms."""
        return self.num_cells * LEAST_GAIN <= self.order.size

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
        values = np.empty((1, self.order.size))
        for tie, arms in enumerate(self.members):
            values[0, arms] = cells[0, tie]
        values[0, self.order[: self.num_singles]] = cells[0, num_ties:]
        return values

    def draw(self, weights: Floats, reached: Floats) -> Drawn:
        """Arms by inversion: first the cell, then the arm within a tie, which leaves it.

        Shapes:   weights: (num_cells,), of one arm of each cell; reached: (num_draws,), uniforms times the weight of
                  all arms.
        """
        num_ties = len(self.members)
        tied_mass, single_mass = self.masses(weights)
        ladder = np.cumsum(tied_mass)
        last = num_ties if self.num_singles else num_ties - 1
        cells = np.minimum(np.searchsorted(ladder, reached, side="right"), last)  # num_ties: a single arm
        arms, origins = np.empty_like(cells), [cells[:0]]
        drawn = np.flatnonzero(cells == num_ties)
        if drawn.size:
            single = drawing.places(single_mass, reached[drawn] - ladder[-1])
            cells[drawn], arms[drawn] = num_ties + single, self.order[single]
        for tie in range(num_ties):
            drawn = np.flatnonzero(cells == tie)
            if drawn.size:
                place = (reached[drawn] - (ladder[tie] - tied_mass[tie])) / weights[tie]
                arms[drawn], cells[drawn], num_leaving = self._leave(tie, place.astype(np.int64))
                origins.append(np.full(num_leaving, tie))
        return Drawn(arms, cells, np.concatenate(origins))

    def _leave(self, tie: int, place: Arms) -> tuple[Arms, Arms, int]:
        """Takes the drawn arms out of a tie: their numbers, their cells from now on, and how many cells are new."""
        members = self.members[tie]
        chosen, rank = np.unique(np.clip(place, 0, members.size - 1), return_inverse=True)
        arms = members[chosen]
        num_leaving = min(chosen.size, members.size - 1)
        cells = np.where(rank < num_leaving, self.num_cells + rank, tie)
        self.order[self.num_singles : self.num_singles + num_leaving] = arms[:num_leaving]
        self.num_singles += num_leaving
        gone, num_left = chosen[:num_leaving], members.size - num_leaving
        is_kept = np.ones(num_leaving, dtype=np.bool_)
        is_kept[gone[gone >= num_left] - num_left] = False
        members[gone[gone < num_left]] = members[num_left:][is_kept]  # the last ones move up into the gaps
        self.members[tie] = members[:num_left]
        return arms[rank], cells, num_leaving


def find(base_log_policy: Floats, solves: Floats) -> Ties | None:
    """The ties at the start; None where there are few arms or many ties.

    Shapes:   base_log_policy: (num_arms,); solves: (num_prompts, num_arms).
    """
    if base_log_policy.size < LEAST_ARMS:
        return None
    values, label = np.unique(base_log_policy, return_inverse=True)
    for row in solves if values.size <= MOST_TIES else ():
        values, label = np.unique(2 * label + row, return_inverse=True)
    if values.size > MOST_TIES:
        return None
    members = [np.flatnonzero(label == tie) for tie in range(values.size)]
    return Ties(members, np.empty(base_log_policy.size, dtype=np.int64))
