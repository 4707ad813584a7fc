"""Every claim holds, and every claim's mutant, an edit in `theory/` and never in the check, makes it fail."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import sympy as sp

from sharpening.theory import claims
from sharpening.theory.claims import ledger
from sharpening.theory.claims.ledger import Claim, Evidence, Mutant
from tests.mutation import applied, mutated_source
from tests.tolerances import EXACT_POWER, SAMPLED_POWER

EXPECTED = [
    f"{part}{number}"
    for part, size in zip("ABCDEFG", (8, 12, 8, 4, 6, 7, 6), strict=True)
    for number in range(1, size + 1)
]
SEED = 0
ids = pytest.mark.parametrize("claim", claims.CLAIMS, ids=lambda claim: claim.id)
SLOW = {  # two seconds and more with their mutants
    "A5.1",
    "A5.2",
    "A5.3",
    "A6.2",
    "A7.1.1",
    "A7.1.4",
    "A7.2.3",
    "A7.3.2",
    "A8.2",
    "B12.1",
    "B4.1",
    "B6.1",
    "B6.3",
    "B7.2",
    "B8.2",
    "E1.3",
    "E2.1",
    "E4.3",
    "F4.3",
    "F4.4",
    "F7.2",
    "G2.1",
}


def test_the_ledger_covers_every_claim():
    """Ids are unique, A1 to G6 are all there, and no other group exists."""
    found = [claim.id for claim in claims.CLAIMS]
    assert len(set(found)) == len(found)
    assert list(dict.fromkeys(id.split(".")[0] for id in found)) == EXPECTED


@pytest.mark.parametrize(
    "claim",
    [pytest.param(claim, id=claim.id, marks=[pytest.mark.slow] if claim.id in SLOW else []) for claim in claims.CLAIMS],
)
def test_claim_holds_and_its_mutant_is_caught(claim: Claim, record_property):
    """The claim holds; broken in one place it fails by a wide margin."""
    outcome = ledger.run(claim, SEED)
    assert outcome.holds, outcome.observed
    with applied(claim.mutant), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a broken formula may divide by zero
        margin = ledger.run(claim, SEED).worst_margin
    is_exact = claim.kind in ("symbolic", "enumeration")
    assert margin > (EXACT_POWER if is_exact else SAMPLED_POWER) * max(claim.tolerance, ledger.FLOAT64)
    _, before, after = mutated_source(claim.mutant)
    record_property(
        "summary",
        f"{claim.id:<7} margin {margin:<8.2g} tolerance {claim.tolerance:<8.2g} {claim.mutant.function}: "
        f"{before}  ->  {after}",
    )


@pytest.mark.slow
@ids
def test_claim_holds_whatever_is_drawn(claim: Claim):
    """Seeds 1 to 19; 0 is above."""
    said = {seed: ledger.run(claim, seed) for seed in range(1, 20)}
    assert {seed: one.observed for seed, one in said.items() if not one.holds} == {}


@ids
def test_mutants_edit_theory_and_not_the_checks(claim: Claim):
    """The edited function lives in `theory/`, outside `theory/claims`."""
    module = claim.formula.split(":")[0]
    assert module.startswith("sharpening.theory.")
    assert not module.startswith("sharpening.theory.claims")


@ids
def test_texts_say_something(claim: Claim):
    """Statement, formula, hypotheses, source and derivation are there, each statement on one line."""
    assert "\n" not in claim.statement
    assert len(claim.statement) > 20
    for text in (claim.latex, claim.hypotheses, claim.source, claim.derivation):
        assert text.strip()


def _claim_with(check, tolerance: float = ledger.EXACT) -> Claim:
    mutant = Mutant("sharpening.theory.shaping:vanilla", "return reward", "return -reward")
    build = ledger.claim(
        "A0", "A claim made for a test.", latex="x", hypotheses="none", source="ours", kind="numeric",
        mutant=mutant, tolerance=tolerance,
    )  # fmt: skip
    return build(check)


def test_a_check_that_raises_is_a_claim_that_fails():
    """An exception is evidence against the formula, with its first line kept."""
    outcome = ledger.run(_claim_with(lambda rng: 1 / 0), 0)
    assert not outcome.holds
    assert outcome.observed == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize("margin", [np.nan, np.inf, 1e-30])
def test_no_margin_but_zero_is_exact(margin: float):
    """NaN and the smallest residue fail a claim whose tolerance is 0."""
    assert not ledger.run(_claim_with(lambda rng: Evidence(1, margin)), 0).holds


def test_worst_refuses_an_empty_list_and_keeps_nan():
    """No instance proves nothing; one NaN among many is infinite."""
    with pytest.raises(ValueError, match="violations is empty"):
        ledger.worst([])
    assert ledger.worst([0.0, np.nan]).worst_margin == np.inf
    assert ledger.worst([-3.0, 0.5]).worst_margin == 0.5


def test_symbolic_tells_identities_from_near_misses():
    """An identity gives 0, a wrong formula the size of its error, an undecided one 1."""
    x, y = sp.symbols("x y", positive=True)
    rng = np.random.default_rng(0)
    assert ledger.symbolic([sp.log(x * y) - sp.log(x) - sp.log(y)], rng).worst_margin == 0.0
    assert ledger.symbolic([(x + y) ** 2 - x**2 - y**2], rng).worst_margin > 0.01
    tiny = sp.Rational(1, 10**12) * x  # not 0, and too small to see at float size
    assert ledger.symbolic([tiny], rng).worst_margin == 1.0


@pytest.mark.parametrize("claim", [claims.select(("A5.1",))[0], claims.select(("C6",))[0]], ids=lambda claim: claim.id)
def test_same_seed_same_numbers(claim: Claim):
    """A seed fixes the margin to the last bit."""
    first, second = (ledger.run(claim, 7) for _ in range(2))
    assert (first.worst_margin, first.instances) == (second.worst_margin, second.instances)


def test_another_seed_draws_other_instances():
    """The random streams depend on the seed and on the claim."""
    draws = []
    probe = _claim_with(lambda rng: draws.append(rng.integers(2**62)) or Evidence(1, 0.0))
    for seed in (0, 1, 0):
        ledger.run(probe, seed)
    assert draws[0] == draws[2] != draws[1]


def test_select_names_what_is_unknown():
    """A part and a whole claim select; anything else is refused with the known ids."""
    assert {claim.id for claim in claims.select(("A7.1",))} >= {"A7.1.1", "A7.1.2"}
    with pytest.raises(ValueError, match=r"'A9' is not a claim: want A to G, one of A1, A2"):
        claims.select(("A9",))


def test_a_mutant_is_taken_back():
    """Inside the block the claim fails, after it the function is the original one."""
    claim = claims.select(("A1.1",))[0]
    with applied(claim.mutant):
        assert not ledger.run(claim, SEED).holds
    assert ledger.run(claim, SEED).holds
