"""What to be careful about with a method's strengths, one sentence each with the claim behind it.

A function takes the method's parameters and the strength of the run's KL term; the table says which method has which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]


def smoothing(values: Values, kl_strength: float) -> list[str]:
    """Where smoothing charges wrong answers beyond the KL term, or pays correct ones beyond it."""
    gamma_correct, gamma_incorrect = values["gamma_correct"], values["gamma_incorrect"]
    found = []
    if values["reference"] == "sampling" and 0 < kl_strength <= gamma_incorrect:
        found.append(
            f"gamma_incorrect {gamma_incorrect} is not below kl_strength {kl_strength}: with reference sampling the "
            "wrong answers then have no stable full-support optimum (claim A3); without KL it would be sound (B6)"
        )
    if values["reference"] == "base" and gamma_correct > 0 and gamma_correct >= kl_strength:
        what = "the optimum is the single correct answer least likely under the base policy"
        if kl_strength > 0:
            what = "the order of correct answers is no longer the base policy's, and is inverted above kl_strength"
        found.append(
            f"gamma_correct {gamma_correct} is not below kl_strength {kl_strength}: with reference base {what} "
            "(claim B8)"
        )
    return found


def entropy_penalty(values: Values, kl_strength: float) -> list[str]:
    """Where an entropy penalty outweighs the KL term."""
    if not 0 < kl_strength <= values["strength"]:
        return []
    return [
        f"strength {values['strength']} is not below kl_strength {kl_strength}: an entropy penalty then has no "
        "stable full-support optimum (claim A3)"
    ]


def mara(values: Values, kl_strength: float) -> list[str]:
    """Where MARA's strength is above that of the KL term it is made for."""
    if values["strength"] <= kl_strength:
        return []
    return [
        f"strength {values['strength']} is above kl_strength {kl_strength}: MARA is made for a KL term of its own "
        "strength; above it the order of correct answers is inverted (claim B8)"
    ]
