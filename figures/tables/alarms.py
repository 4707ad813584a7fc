"""What in the rows of a training calls for a look: a function an alarm, a sentence where it rings, None elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from sharpening.figures.tables.preview import FAINT, LOUD
from sharpening.figures.tables.training import HELD_OUT, Row

WINDOW = 10  # updates that an alarm looks back: single ones are noisy
UNIFORM = 0.9  # share of groups without a difference in reward from which on hardly anything is learnt
WRONG = 2 / 3  # of the term: twice as much on wrong answers as on correct ones
LARGE_K = 8  # pass@k that sharpening costs first


def recent(rows: Sequence[Row], quantity: str) -> float:
    """The mean of a quantity over those of its last `WINDOW` values that are numbers; NaN where no half of them is."""
    last = [row["value"] for row in rows if row["quantity"] == quantity][-WINDOW:]
    known = [value for value in last if not math.isnan(value)]
    return math.fsum(known) / len(known) if len(last) == WINDOW and 2 * len(known) >= WINDOW else math.nan


def too_strong(rows: Sequence[Row]) -> str | None:
    """The term outweighs the advantage that it is added to."""
    ratio = recent(rows, "method/bonus_ratio")
    if not ratio > LOUD:
        return None
    return f"strength too large: the term is {ratio:.2g} times the advantage without it, so the reward hardly counts"


def too_weak(rows: Sequence[Row]) -> str | None:
    """There is a term, and it is hardly there."""
    ratio = recent(rows, "method/bonus_ratio")
    if not 0 < ratio < FAINT:
        return None
    return f"strength too small: the term is {ratio:.2g} times the advantage without it, so this is nearly plain RL"


def uniform_groups(rows: Sequence[Row]) -> str | None:
    """Nearly every group is all correct or all wrong."""
    share = recent(rows, "frac_reward_zero_std")
    if not share >= UNIFORM:
        return None
    return f"groups are uniform: {share:.0%} have no difference in reward, so hardly anything is learnt from it"


def wrong_term_dominates(rows: Sequence[Row]) -> str | None:
    """Most of the term falls on wrong answers."""
    share = recent(rows, "method/wrong_share")
    if not share > WRONG:
        return None
    return f"the wrong answers' term dominates: {share:.0%} of the term falls on them"


def sharpens(rows: Sequence[Row]) -> str | None:
    """Held-out problems: more pass@1 and less pass@8 than before training."""
    found = {
        k: [row["value"] for row in rows if row["quantity"] == f"{HELD_OUT}pass@{k}" and math.isfinite(row["value"])]
        for k in (1, LARGE_K)
    }
    if not all(found.values()) or not found[1][-1] > found[1][0] or not found[LARGE_K][-1] < found[LARGE_K][0]:
        return None
    changes = [f"pass@{k} from {values[0]:.3f} to {values[-1]:.3f}" for k, values in found.items()]
    return f"it sharpens: held-out {' and '.join(changes)}"


ALARMS: tuple[Callable[[Sequence[Row]], str | None], ...] = (
    too_strong,
    too_weak,
    uniform_groups,
    wrong_term_dominates,
    sharpens,
)


def ringing(rows: Sequence[Row]) -> list[str]:
    """The sentences of the alarms that ring."""
    return [said for alarm in ALARMS if (said := alarm(rows)) is not None]
