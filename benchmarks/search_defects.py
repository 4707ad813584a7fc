"""What can be wrong with an advantage function, each from a group size on, at one size, or at even sizes.

Defects of order, of the batch, of values, of shape, of chance, of precision and of the sizes that are taken. Shares
nothing with the toolkit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Floats = Any  # a NumPy array (num_groups, group_size)
After = Callable[[Any, "Batch"], Any]


class Batch(NamedTuple):
    """The inputs of a function, (num_groups, group_size) each."""

    reward: Floats
    correct: Floats
    log_prob: Floats
    base_log_prob: Floats
    num_tokens: Floats
    answer: Floats


class Defect(NamedTuple):
    """A defect: words, what it makes of the advantages, and what it does to the inputs first."""

    words: str
    after: After
    before: Callable[[Batch], Batch] | None = None


def defect(rng: np.random.Generator, kind: str, group_size: int) -> Defect:
    """A defect of a kind."""
    if kind in ("float32", "least size", "length", "in place"):
        return WHOLE[kind](rng, group_size)
    first = kind.split()[0]
    table: dict[str, Callable[[np.random.Generator], After]] = {
        "order": ORDER,
        "batch": BATCH,
        "nan": NAN,
        "shape": SHAPE,
        "random": RANDOM,
    }[first]
    names = CHOSEN.get(kind, tuple(table))
    name = str(rng.choice(names))
    after = table[name](rng)
    words, applies = _sizes(rng, group_size, is_late=kind.endswith("late"))
    return Defect(f"{name} {words}", lambda found, x: after(found, x) if applies(x.reward.shape[1]) else found)


def _sizes(rng: np.random.Generator, group_size: int, *, is_late: bool) -> tuple[str, Callable[[int], bool]]:
    """The sizes at which a defect shows, the largest one above the group size."""
    size = int(rng.integers(max(2, group_size - 2), group_size + 1) if is_late else rng.integers(1, group_size + 2))
    choice = 0 if is_late else int(rng.integers(0, 6))
    if choice < 3:
        return f"from G = {size}", lambda found: found >= size
    if choice == 3:
        return f"at G = {size}", lambda found: found == size
    if choice == 4:
        return "at even G", lambda found: found % 2 == 0
    return "", lambda _: True


def _weight(rng: np.random.Generator) -> float:
    return float(rng.choice([-1, 1]) * rng.uniform(0.05, 2.0))


def _place(x: Batch) -> Floats:
    return np.arange(x.reward.shape[1])[None]


def _first_as_baseline(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found - weight * x.reward * (x.answer == x.answer[:, :1])


def _neighbours(rng: np.random.Generator) -> After:
    weight, shift = _weight(rng), int(rng.choice([-1, 1]))
    return lambda found, x: found + weight * x.correct * (np.roll(x.answer, shift, axis=1) == x.answer)


def _neighbours_depth(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found + weight * x.correct * np.tanh(np.roll(x.log_prob, 1, axis=1) - x.log_prob)


def _neighbours_both(rng: np.random.Generator) -> After:
    """The same from both sides: reversal and rotation leave it as it is."""
    weight = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        alike = (np.roll(x.answer, 1, axis=1) == x.answer).astype(float) + (np.roll(x.answer, -1, axis=1) == x.answer)
        return found + weight * x.correct * alike

    return after


def _likelier_than_both(rng: np.random.Generator) -> After:
    """Again the same from both sides."""
    weight = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        beside = np.maximum(np.roll(x.log_prob, 1, axis=1), np.roll(x.log_prob, -1, axis=1))
        return found + weight * x.correct * (x.log_prob > beside)

    return after


def _two_places(rng: np.random.Generator) -> After:
    one, other = (int(place) for place in rng.choice(5, 2, replace=False))
    weight = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        size = x.reward.shape[1]
        return found + weight * (_place(x) == one % size) * x.correct[:, other % size][:, None]

    return after


def _by_place(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found * (1 + weight * _place(x))


def _before_in_group(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found - weight * (np.cumsum(x.reward, axis=1) - x.reward) / (_place(x) + 1)


def _last_is_left_out(_: np.random.Generator) -> After:
    return lambda found, x: found * (_place(x) < max(x.reward.shape[1] - 1, 1))


ORDER = {
    "first is baseline": _first_as_baseline,
    "equal neighbours": _neighbours,
    "likelier neighbours": _neighbours_depth,
    "neighbours on both sides": _neighbours_both,
    "likelier than both neighbours": _likelier_than_both,
    "two places": _two_places,
    "by place": _by_place,
    "before in the group": _before_in_group,
    "last left out": _last_is_left_out,
}


def _groups_before(rng: np.random.Generator) -> After:
    weight = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        mean = x.reward.mean(axis=1, keepdims=True)
        row = np.arange(len(mean))[:, None]
        before = (np.cumsum(mean, axis=0) - mean) / np.maximum(row, 1)
        return found - weight * np.where(row > 0, before, mean)

    return after


def _group_after(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found + weight * np.roll(x.reward.mean(axis=1, keepdims=True), -1, axis=0)


def _row(is_it: Callable[[Any, int], Any]) -> Callable[[np.random.Generator], After]:
    def made(rng: np.random.Generator) -> After:
        weight = _weight(rng)
        return lambda found, x: found + weight * is_it(np.arange(len(x.reward))[:, None], len(x.reward))

    return made


def _batch_mean(rng: np.random.Generator) -> After:
    weight = _weight(rng)
    return lambda found, x: found - weight * x.reward.mean()


def _batch_spread(_: np.random.Generator) -> After:
    return lambda found, x: found / (0.5 + x.reward.std())


def _after_failure(rng: np.random.Generator) -> After:
    weight = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        failed = np.roll(x.correct.max(axis=1, keepdims=True) == 0, 1, axis=0)
        failed[0] = False
        return found + weight * failed

    return after


def _many(rng: np.random.Generator) -> After:
    weight, least = _weight(rng), int(rng.choice([2, 3, 5, 20]))
    return lambda found, x: found * (1 + weight * (len(x.reward) >= least))


BATCH = {
    "groups before": _groups_before,
    "group after": _group_after,
    "first group": _row(lambda row, _: row == 0),
    "last group": _row(lambda row, number: row == number - 1),
    "second group": _row(lambda row, _: row == 1),
    "odd groups": _row(lambda row, _: row % 2),
    "mean of the batch": _batch_mean,
    "spread of the batch": _batch_spread,
    "after a failure": _after_failure,
    "many groups": _many,
}


def _all(value: float) -> Callable[[np.random.Generator], After]:
    return lambda _: lambda found, x: found * 0 + value


def _where(is_it: Callable[[Batch], Any]) -> Callable[[np.random.Generator], After]:
    return lambda _: lambda found, x: np.where(is_it(x), np.nan, found)


NAN = {
    "NaN": _all(np.nan),
    "infinite": _all(np.inf),
    "NaN where all are correct": _where(lambda x: x.correct.min(axis=1, keepdims=True) == 1),
    "NaN where none is correct": _where(lambda x: x.correct.max(axis=1, keepdims=True) == 0),
    "NaN on the last": _where(lambda x: _place(x) == x.reward.shape[1] - 1),
    "NaN below -900": _where(lambda x: x.log_prob < -900),
    "NaN where answers agree": _where(lambda x: x.answer.min(axis=1, keepdims=True) == x.answer.max(axis=1)[:, None]),
}
SHAPE: dict[str, Callable[[np.random.Generator], After]] = {
    "one left out": lambda _: lambda found, x: found[:, 1:],
    "one a group": lambda _: lambda found, x: found.mean(axis=1),
    "one column": lambda _: lambda found, x: found.mean(axis=1, keepdims=True),
    "flat": lambda _: lambda found, x: found.ravel(),
    "one axis more": lambda _: lambda found, x: found[..., None],
    "a number": lambda _: lambda found, x: float(found.mean()),
}


def _chance(weigh: Callable[[Batch], Any]) -> Callable[[np.random.Generator], After]:
    """Noise that is another at every call."""

    def made(rng: np.random.Generator) -> After:
        own = np.random.default_rng(rng.integers(2**32))
        return lambda found, x: found + weigh(x) * own.normal(size=x.reward.shape)

    return made


RANDOM: dict[str, Callable[[np.random.Generator], After]] = {
    "chance on all": _chance(lambda _: 1.0),
    "a little chance": _chance(lambda _: 0.01),
    "chance on the correct": _chance(lambda x: x.correct),
    "chance in groups without a correct one": _chance(lambda x: x.correct.max(axis=1, keepdims=True) == 0),
}
CHOSEN = {
    "order cyclic": ("neighbours on both sides", "likelier than both neighbours"),
    "batch before": ("groups before", "group after", "after a failure"),
    "batch place": ("first group", "last group", "second group", "odd groups"),
    "nan late": ("NaN", "infinite"),
}


def _single(rng: np.random.Generator, _: int) -> Defect:
    """Single precision throughout, the result as it comes or made double again."""
    is_double_again = bool(rng.random() < 0.3)

    def before(x: Batch) -> Batch:
        return Batch(*(values.astype(np.float32) for values in x[:5]), x.answer)

    def after(found: Floats, _: Batch) -> Floats:
        return np.asarray(found, dtype=np.float64 if is_double_again else np.float32)

    return Defect(f"float32{', made double' if is_double_again else ''}", after, before)


def _least(rng: np.random.Generator, group_size: int) -> Defect:
    """NaN, an exception or a wrong shape in groups below a size, the size at most the group size."""
    least, way = int(rng.integers(2, max(group_size, 2) + 1)), int(rng.integers(0, 3))

    def after(found: Floats, x: Batch) -> Floats:
        if x.reward.shape[1] >= least:
            return found
        if way == 0:
            raise ValueError(f"want groups of {least} or more")
        return found * np.nan if way == 1 else found[:, :0]

    return Defect(f"{('raises', 'NaN', 'empty')[way]} below G = {least}", after)


def _length(rng: np.random.Generator, _: int) -> Defect:
    """Advantages that depend on the number of tokens."""
    afters: list[tuple[str, After]] = [
        ("over its length", lambda found, x: found / x.num_tokens),
        ("length bonus", lambda found, x: found + 0.1 * x.correct / x.num_tokens),
        ("less its excess length", lambda found, x: found - 0.05 * (x.num_tokens - x.num_tokens.mean(1)[:, None])),
        ("cut at 12", lambda found, x: found * (x.num_tokens <= 12)),
    ]
    return Defect(*afters[int(rng.integers(0, len(afters)))])


def _in_place(rng: np.random.Generator, _: int) -> Defect:
    """Changes its inputs."""
    shift = _weight(rng)

    def after(found: Floats, x: Batch) -> Floats:
        kept = found + x.reward
        x.reward[:] = x.reward + shift
        x.log_prob[:] = 2 * x.log_prob
        return kept

    return Defect("changes its inputs", after)


WHOLE = {"float32": _single, "least size": _least, "length": _length, "in place": _in_place}
