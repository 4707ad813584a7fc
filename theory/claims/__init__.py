"""The claims ledger: every claim A1 to G6 with the check that tests it on this machine."""

from __future__ import annotations

from types import ModuleType

from sharpening.theory.claims import (
    budget,
    collapse,
    coverage,
    dominance,
    drift,
    evening,
    failures,
    flow,
    gains,
    groups,
    limits,
    methods,
    mixtures,
    optimum,
    rarity,
    recovery,
    references,
    rivals,
    robustness,
    smoothing,
    steps,
    transfer,
)
from sharpening.theory.claims.ledger import Claim

MODULES: tuple[ModuleType, ...] = (
    optimum,
    gains,
    budget,
    dominance,
    failures,
    references,
    flow,
    collapse,
    limits,
    steps,
    rivals,
    groups,
    drift,
    coverage,
    methods,
    smoothing,
    robustness,
    transfer,
    evening,
    mixtures,
    recovery,
    rarity,
)
CLAIMS: tuple[Claim, ...] = tuple(
    sorted(
        (value for module in MODULES for value in vars(module).values() if isinstance(value, Claim)),
        key=lambda claim: (claim.id[0], [int(part) for part in claim.id[1:].split(".")]),
    )
)


def select(ids: tuple[str, ...]) -> tuple[Claim, ...]:
    """The claims whose id is one of `ids` or a part of one (A selects A1 to A8, A7.1 its parts); all if `ids` is empty.

    Raises ValueError naming the first id that selects nothing.
    """
    for wanted in ids:
        if not any(_is_part_of(claim.id, wanted) for claim in CLAIMS):
            known = ", ".join(dict.fromkeys(claim.id.split(".")[0] for claim in CLAIMS))
            raise ValueError(f"only: {wanted!r} is not a claim: want A to G, one of {known}, or a part such as A7.1")
    return tuple(claim for claim in CLAIMS if not ids or any(_is_part_of(claim.id, wanted) for wanted in ids))


def _is_part_of(id: str, wanted: str) -> bool:
    return id == wanted.upper() or id.startswith(wanted.upper() + ".") or id[0] == wanted.upper()
