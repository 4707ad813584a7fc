"""What a claim is: a statement with hypotheses, a source, a check that can fail, and the edit that makes it fail.

A check returns `Evidence`: how many instances it tried and the largest violation it met. It holds if that margin is
at most the claim's tolerance. A check calls the function of `theory/` in which the claimed formula lives, through its
module, so that an edit of that function is seen; `Mutant` names one such edit, and the tests apply it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import mpmath
import numpy as np
import sympy as sp

Kind = Literal["symbolic", "enumeration", "numeric", "search"]

EXACT = 0.0  # a symbolic residual or a difference of Fractions: nothing but zero will do
FLOAT64 = 1e-9  # an identity in float64 after sums of up to a few hundred terms of size 1, relative to its scale
INTEGRATED = 1e-6  # a flow integrated at relative tolerance 1e-10, errors grown by its conditioning
OPTIMISER = 1e-5  # the distance from the optimum at which a general-purpose optimiser stops
PRINTED = 5.001e-4  # three printed decimals


@dataclass(frozen=True)
class Mutant:
    """One edit of a function in `theory/` that the claim's check must catch.

    `function` is "module:function", `original` occurs exactly once in its source and is replaced by `mutated`.
    """

    function: str
    original: str
    mutated: str


@dataclass(frozen=True)
class Evidence:
    """What a check saw: the number of instances and the largest violation (0 where there is none)."""

    instances: int
    worst_margin: float
    observed: str = ""


Check = Callable[[np.random.Generator], Evidence]


@dataclass(frozen=True)
class Claim:
    """One line of the ledger; see the module docstring."""

    id: str
    statement: str
    latex: str
    hypotheses: str
    source: str
    kind: Kind
    tolerance: float
    mutant: Mutant
    derivation: str
    check: Check

    @property
    def formula(self) -> str:
        """Where the claimed formula lives, as "module:function"."""
        return self.mutant.function


@dataclass(frozen=True)
class Outcome:
    """The result of one check on this machine."""

    claim: Claim
    instances: int
    worst_margin: float
    observed: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether the largest violation is a number within the tolerance."""
        return self.worst_margin <= self.claim.tolerance


def claim(
    id: str,
    statement: str,
    *,
    latex: str,
    hypotheses: str,
    source: str,
    kind: Kind,
    mutant: Mutant,
    tolerance: float,
) -> Callable[[Check], Claim]:
    """Turns a check into a claim; the check's docstring becomes the derivation."""

    def build(check: Check) -> Claim:
        derivation = " ".join((check.__doc__ or "").split())
        return Claim(id, statement, latex, hypotheses, source, kind, tolerance, mutant, derivation, check)

    return build


def run(claim: Claim, seed: int) -> Outcome:
    """Runs one check on its own random stream; a check that raises is a claim that fails."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, *claim.id.encode()]))
    start = time.perf_counter()
    try:
        evidence = claim.check(rng)
    except Exception as error:
        message = f"{type(error).__name__}: {error}".splitlines()[0]
        evidence = Evidence(0, math.inf, message)
    seconds = time.perf_counter() - start
    margin = evidence.worst_margin if not math.isnan(evidence.worst_margin) else math.inf
    return Outcome(claim, evidence.instances, margin, evidence.observed, seconds)


def worst(violations: Iterable[float], observed: str = "") -> Evidence:
    """Evidence from one violation per instance: a distance from equality, or how far an inequality is broken.

    A NaN counts as an infinite violation; no instance at all is an error, because it would prove nothing.
    """
    values = [math.inf if math.isnan(value) else max(0.0, float(value)) for value in violations]
    if not values:
        raise ValueError("violations is empty: a check needs at least one instance")
    return Evidence(len(values), max(values), observed or f"worst of {len(values)}: {max(values):.2g}")


def symbolic(residuals: Iterable[sp.Expr], rng: np.random.Generator) -> Evidence:
    """Evidence from expressions that must vanish identically.

    A residual is first measured at random points, so that the margin says by how much an identity is broken;
    one that vanishes there must be reduced to 0 by SymPy, or it is reported as 1, undecided.
    """
    margins = [_residual_margin(sp.sympify(residual), rng) for residual in residuals]
    return Evidence(len(margins), max(margins), f"{margins.count(0.0)} of {len(margins)} residuals are exactly 0")


def _residual_margin(residual: sp.Expr, rng: np.random.Generator) -> float:
    symbols = sorted(residual.free_symbols, key=str)
    value = sp.lambdify(symbols, residual, "mpmath", cse=True)
    with mpmath.workdps(30):
        size = max(float(abs(value(*map(mpmath.mpf, rng.uniform(0.1, 0.9, len(symbols)))))) for _ in range(3))
    if size > FLOAT64:
        return size
    simplifications: tuple[Callable[[sp.Expr], sp.Expr], ...] = (sp.cancel, _expanded, sp.simplify)
    return 0.0 if any(simplify(residual) == 0 for simplify in simplifications) else 1.0


def _expanded(residual: sp.Expr) -> sp.Expr:
    return sp.cancel(sp.expand(sp.expand_log(residual, force=True)))
