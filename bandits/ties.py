"""Arms of one run that have moved alike so far, kept once: what makes 128,000 arms cheap.

Arms with the same start and correctness get the same update as long as they are drawn equally often: they are one cell
of the state. The arms of a cell that are drawn leave it, those with the same push together; the rest stay. This is
exact, no approximation; the gain is the number of arms over the number of different histories.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sharpening.bandits import drawing
from sharpening.theory.policies import Floats

LEAST_ARMS = 20_000  # below, dense arrays are faster
MOST_CELLS = 16  # at the start
LEAST_GAIN = 2  # arms for each cell: below, a run goes on without ties
LEAST_ARMS_PER_DRAW = 32  # below, the ties are soon gone
Arms = NDArray[np.int64]


@dataclass(frozen=True)
class Drawn:
    """Draws of arms, the cells that they are drawn from, and their places in the order of arms.

    Shapes:   (num_draws,) each.
    """

    arms: Arms
    cells: Arms
    places: Arms


@dataclass(frozen=True)
class Split:
    """What draws did to the cells.

    `cells` are those of the draws now; `is_leading` is true for the draws of one arm of each of them; `origins` are the
    cells that the new ones were split from.
    Shapes:   cells, is_leading: (num_draws,); origins: (num_new_cells,).
    """

    cells: Arms
    is_leading: NDArray[np.bool_]
    origins: Arms


@dataclass
class Ties:
    """A partition of the arms of a run into cells, refined in place.

    Shapes:   order, all arms, cell by cell: (num_arms,); starts, sizes, the piece of the order that is a cell:
              (num_arms,), of which the first `num_cells` count.
    """

    order: Arms
    starts: Arms
    sizes: Floats
    num_cells: int

    @property
    def is_worth_it(self) -> bool:
        """Whether the cells are few beside the arms."""
        return self.num_cells * LEAST_GAIN <= self.order.size

    def masses(self, weights: Floats) -> Floats:
        """The weights of whole cells.

        Shapes:   weights: (num_cells,), of one arm of each. Returns the same shape.
        """
        return weights * self.sizes[: self.num_cells]

    def of_arms(self, cells: Floats) -> Floats:
        """The values of the cells, arm by arm.

        Shapes:   cells: (1, num_cells). Returns (1, num_arms).
        """
        values = np.empty((1, self.order.size))
        along = np.argsort(self.starts[: self.num_cells])  # cells in the order of their pieces
        values[0, self.order] = np.repeat(cells[0, along], self.sizes[along].astype(np.int64))
        return values

    def draw(self, weights: Floats, reached: Floats) -> Drawn:
        """Arms by inversion: first the cell, then the arm within.

        Shapes:   weights: (num_cells,), of one arm of each cell; reached: (num_draws,), uniforms times the weight of
                  all arms.
        """
        cells, rest = drawing.places_and_rests(self.masses(weights), reached)
        inside = np.clip((rest / weights[cells]).astype(np.int64), 0, self.sizes[cells].astype(np.int64) - 1)
        places = self.starts[cells] + inside
        return Drawn(self.order[places], cells, places)

    def split(self, drawn: Drawn, pushed: Floats) -> Split:
        """Takes the drawn arms out of their cells, those with the same push together.

        A cell of which every arm is drawn goes on as the first of its parts. Shapes:   pushed: (num_draws,).
        """
        places, first, back = np.unique(drawn.places, return_index=True, return_inverse=True)
        push = np.bincount(back, weights=pushed)  # (num_drawn_arms,)
        by_part = np.lexsort((push, drawn.cells[first]))
        cells, push, places = drawn.cells[first][by_part], push[by_part], places[by_part]
        is_first_of_cell = np.append(True, cells[1:] != cells[:-1])
        is_first_of_part = is_first_of_cell | np.append(True, push[1:] != push[:-1])
        begin, begin_part = np.flatnonzero(is_first_of_cell), np.flatnonzero(is_first_of_part)
        hit, num_leaving = cells[begin], np.diff(np.append(begin, cells.size))
        tails = self._gather_at_the_ends(places, hit, begin, num_leaving)

        is_whole = self.sizes[hit] == num_leaving
        self.sizes[hit] -= num_leaving
        of_part = cells[begin_part]  # the cell that each part comes from, (num_parts,)
        goes_on = np.repeat(is_whole, num_leaving)[begin_part] & is_first_of_cell[begin_part]
        part = np.where(goes_on, of_part, self.num_cells + np.cumsum(~goes_on) - 1)
        self.num_cells += int((~goes_on).sum())
        self.starts[part] = tails[begin_part]
        self.sizes[part] = np.diff(np.append(begin_part, cells.size))

        now, is_leading = np.empty_like(cells), np.empty(cells.size, dtype=np.bool_)
        now[by_part] = part[np.cumsum(is_first_of_part) - 1]
        is_leading[by_part] = is_first_of_part
        return Split(now[back], is_leading[back], of_part[~goes_on])

    def _gather_at_the_ends(self, places: Arms, hit: Arms, begin: Arms, num_leaving: Arms) -> Arms:
        """Moves the drawn arms to the ends of their cells' pieces, in the given order; returns their new places.

        Shapes:   places, cell by cell: (num_drawn_arms,); hit, begin, num_leaving: (num_hit_cells,).
        """
        end = self.starts[hit] + self.sizes[hit].astype(np.int64) - num_leaving
        tails = np.repeat(end - begin, num_leaving) + np.arange(places.size)
        leaving = self.order[places]
        is_drawn = np.zeros(self.order.size, dtype=np.bool_)
        is_drawn[places] = True
        stays = self.order[tails[~is_drawn[tails]]]
        self.order[places[places < np.repeat(end, num_leaving)]] = stays  # both cell by cell
        self.order[tails] = leaving
        return tails


def find(base_log_policy: Floats, solves: Floats, draws_per_step: int) -> Ties | None:
    """The ties at the start; None where there are few arms, many kinds of them or many draws.

    Shapes:   base_log_policy: (num_arms,); solves: (num_prompts, num_arms).
    """
    num_arms = base_log_policy.size
    if num_arms < max(LEAST_ARMS, LEAST_ARMS_PER_DRAW * draws_per_step):
        return None
    values, label = np.unique(base_log_policy, return_inverse=True)
    for row in solves if values.size <= MOST_CELLS else ():
        values, label = np.unique(2 * label + row, return_inverse=True)
    if values.size > MOST_CELLS:
        return None
    counts = np.bincount(label)
    starts, sizes = np.zeros(num_arms, dtype=np.int64), np.zeros(num_arms)
    starts[: counts.size], sizes[: counts.size] = np.cumsum(counts) - counts, counts
    return Ties(np.argsort(label, kind="stable"), starts, sizes, counts.size)
