"""Claim F1: what parameters that prompts share do to sharpening per nat of logit Q, on a toy with exact gradients."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sharpening.theory import policies
from sharpening.theory.claims import ledger
from sharpening.theory.claims.ledger import PRINTED, Evidence, Mutant
from sharpening.theory.flow import styles as toy
from sharpening.theory.flow import transfer
from sharpening.theory.flow.styles import Styles
from sharpening.theory.policies import Floats

OURS = "ours"
STEP = 1e-5  # of the parameters along the gradient, in both directions
DIFFERENCED = 1e-6  # relative; what central differences of that step leave

TOY = np.log([[0.4, 0.1, 0.3, 0.2]] * 2)  # two prompts, the first two answers of each are correct
RIGHT = np.array([[1.0, 1.0, 0.0, 0.0]] * 2)


@ledger.claim(
    "F1.1",
    "With shared parameters sharpening per nat of logit Q is the own rate times (1 + (N-1) tau_S)/(1 + (N-1) tau_Q), "
    "tau the transfer from one prompt to another over that to itself.",
    latex=r"\frac{\overline{\dot S}}{\overline{\dot{\operatorname{logit}Q}}}=\frac{S_{own}}{Q_{own}}\cdot"
    r"\frac{1+(N-1)\tau_S}{1+(N-1)\tau_Q}",
    hypotheses="one step of the gradient of mean correctness over N prompts, first order; means over prompts; z = "
    "u_{x,i} + weight v_style; S the slope of log p in its values before, among correct answers",
    source=OURS,
    kind="numeric",
    tolerance=DIFFERENCED,
    mutant=Mutant(
        "sharpening.theory.flow.transfer:amplification",
        "(num_prompts - 1) * transfer_slope",
        "num_prompts * transfer_slope",
    ),
)
def shared_parameters_multiply(rng: np.random.Generator) -> Evidence:
    """The mean gradient is a mean of the prompts' gradients, so what it does to a prompt is a mean of transfers.

    Of N terms for each prompt one is its own: the mean over prompts is (own + (N-1) cross)/N, for slope and logit
    alike, and N drops out of their ratio. Here u and v are moved along the gradient by 1e-5 to either side, policies
    are computed anew, and the change of the mean slope over that of the mean logit Q is compared with own rate times
    factor.
    """
    violations = []
    for styles in _toys(rng, 12):
        number = len(styles.log_policy)
        slope, logit = toy.transfers(styles)
        own = np.trace(slope) / np.trace(logit)
        taus = toy.cross_over_own(slope), toy.cross_over_own(logit)
        claimed = own * transfer.amplification(*taus, number)
        moved = [_moved(styles, step) for step in (-STEP, STEP)]
        found = (moved[1][0] - moved[0][0]) / (moved[1][1] - moved[0][1])
        violations.append(abs(found - claimed) / (abs(own) + abs(claimed)))
    return ledger.worst(violations)


@ledger.claim(
    "F1.2",
    "The own rate is not that of a table, and the factor may be above or below 1: from (.4, .1 | .3, .2) twice, rate "
    ".361 without sharing; with the styles in one order and weight 1, .743 = .564 x 1.318; with the order reversed and "
    "weight 3, .361 = 1.578 x .229.",
    latex=r".743=.564\cdot1.318,\quad.361=1.578\cdot.229",
    hypotheses="as F1.1, two prompts; a wrong answer has the style of the correct one of its place",
    source=OURS,
    kind="numeric",
    tolerance=PRINTED,
    mutant=Mutant("sharpening.theory.flow.styles:transfers", "styles.weight**2", "styles.weight"),
)
def sharing_amplifies_or_damps(rng: np.random.Generator) -> Evidence:
    """What training does to a style through one answer it does to all that have it.

    Styles whose correct answers are likely on every prompt are raised by every prompt: slopes transfer, and logit Q
    hardly, as wrong answers have those styles too. Styles likely on one and rare on the other cancel.
    """
    printed = {
        (0.0, False): (0.361, 0.361, 1.0),
        (1.0, False): (0.743, 0.564, 1.318),
        (3.0, True): (0.361, 1.578, 0.229),
    }
    violations: list[float] = []
    for (weight, is_reversed), wanted in printed.items():
        order = [1, 0, 1, 0] if is_reversed else [0, 1, 0, 1]
        slope, logit = toy.transfers(Styles(TOY, RIGHT, np.array([[0, 1, 0, 1], order]), weight))
        factor = transfer.amplification(toy.cross_over_own(slope), toy.cross_over_own(logit), 2)
        found = (slope.mean() / logit.mean(), np.trace(slope) / np.trace(logit), factor)
        violations += [abs(float(value) - number) for value, number in zip(found, wanted, strict=True)]
    return ledger.worst(violations)


@ledger.claim(
    "F1.3",
    "There is no universal law: of 40 random toys of 16 prompts with strong sharing, some have a rate over three times "
    "that of the table, and in some training smooths.",
    latex=r"\exists\ \overline{\dot S}/\overline{\dot{\operatorname{logit}Q}}>3\,\text{tabular},\quad\exists\ <0",
    hypotheses="as F1.1, weight 3, 12 answers of which 5 are correct, 4 styles with tastes, Q rises",
    source=OURS,
    kind="numeric",
    tolerance=0.0,
    mutant=Mutant(
        "sharpening.theory.flow.styles:transfers",
        "shared[number, number] += pushes",
        "shared[number, number] = pushes",
    ),
)
def sharing_has_no_law(rng: np.random.Generator) -> Evidence:
    """Examples are enough; the rate of the table is that of weight 0 on the same policies.

    The margin is 1 for each kind of toy that is missing, and 1 if the own rates do not differ from those of the table.
    """
    ratios, own = [], []
    for styles in _toys(rng, 40, num_prompts=16, weight=3.0):
        rates = []
        for weight in (styles.weight, 0.0):
            slope, logit = toy.transfers(Styles(styles.log_policy, styles.correct, styles.style, weight))
            rates.append((float(slope.mean() / logit.mean()), float(np.trace(slope) / np.trace(logit))))
        if logit.mean() > 0:
            ratios.append(rates[0][0] / rates[1][0])
            own.append(rates[0][1] / rates[1][1])
    missing = [float(max(ratios) <= 3), float(min(ratios) >= 0), float(max(own) < 1.01)]
    return ledger.worst(missing, f"rates over the table's from {min(ratios):.2f} to {max(ratios):.2f}")


def _toys(rng: np.random.Generator, count: int, num_prompts: int = 0, weight: float = 0.0) -> Iterator[Styles]:
    """Random toys: each style has a taste that all prompts start with, and each answer one of its own."""
    for _ in range(count):
        number = num_prompts or int(rng.integers(2, 9))
        style = rng.integers(0, 4, size=(number, 12))
        logits = rng.normal(size=4)[style] + 0.7 * rng.normal(size=style.shape)
        correct = np.tile((np.arange(12) < 5).astype(float), (number, 1))
        strength = weight or float(rng.uniform(0.0, 3.0))
        yield Styles(policies.log_softmax(logits), correct, style, strength)


def _moved(styles: Styles, step: float) -> tuple[float, float]:
    """The mean slope and the mean logit Q after a step along the gradient of mean correctness in u and v."""
    policy = np.exp(styles.log_policy)
    mass = (styles.correct * policy).sum(axis=1, keepdims=True)
    own = policy * (styles.correct - mass) / len(policy)  # the gradient in u
    shared = np.zeros(int(styles.style.max()) + 1)  # in v
    np.add.at(shared, styles.style, styles.weight * own)
    after = policies.log_softmax(styles.log_policy + step * (own + styles.weight * shared[styles.style]))
    slopes, logits = [], []
    for before, now, right in zip(styles.log_policy, after, styles.correct == 1.0, strict=True):
        centred: Floats = before[right] - before[right].mean()
        slopes.append(float((centred * now[right]).sum() / (centred**2).sum()))
        logits.append(policies.logit_correctness(now, right.astype(float)))
    return float(np.mean(slopes)), float(np.mean(logits))
