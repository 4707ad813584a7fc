"""Made-up batches of completions as training engines hold them, and their advantages by loops over each group.

Three groups of 4, 6 and 3 completions, mixed, all correct and all wrong, in shuffled order; padding holds rubbish.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from tests import reference_advantages as loops
from tests.reference_advantages import Group

STRONG = {"gamma_correct": 0.25, "gamma_incorrect": 0.5}
NUM_POSITIONS = 7
Advantage = Callable[[Group], list[float]]
CASES: dict[str, tuple[str, dict[str, Any], Advantage]] = {
    "grpo": ("grpo", {}, partial(loops.ds, gamma_correct=0.0, normalise="std")),
    "dr_grpo": ("dr_grpo", {}, partial(loops.ds, gamma_correct=0.0)),
    "ds": ("ds", STRONG, partial(loops.ds, **STRONG)),
    "ds_paper": ("ds_paper", {}, partial(loops.ds, gamma_correct=0.01, gamma_incorrect=0.01, normalise="std")),
    "ds_sequence": (
        "ds_sequence",
        STRONG,
        partial(loops.ds, **STRONG, reduction="mean", normalise="std", spread="per_token_share"),
    ),
    "ds_reward": ("ds_reward", STRONG, partial(loops.ds, **STRONG, reduction="mean", placement="reward")),
    "ds centred": ("ds", STRONG | {"centre": "correct_only"}, partial(loops.ds, **STRONG, centre="correct_only")),
    "ds of the base": ("ds", STRONG | {"reference": "base"}, partial(loops.ds, **STRONG, reference="base")),
    "kl_penalty": ("kl_penalty", {"kl_strength": 0.5}, partial(loops.kl_penalty, kl_strength=0.5)),
    "unlikeliness": ("unlikeliness", {}, loops.unlikeliness),
    "ucpo": ("ucpo", {}, loops.ucpo),
    "mara": ("mara", {}, loops.mara),
    "ips": ("ips", {}, loops.ips),
    "rarity_maxrl": ("rarity_maxrl", {}, loops.rarity_maxrl),
}


class Made(NamedTuple):
    """Rows of completions: what an engine has of each, and where it is among its group.

    Shapes:   all (num_completions,) but mask, log_probs, base_log_probs, tokens: (num_completions, NUM_POSITIONS).
    """

    group: list[str]
    correct: np.ndarray
    mask: np.ndarray
    log_probs: np.ndarray
    base_log_probs: np.ndarray
    tokens: np.ndarray
    answer: list[int]


def made(seed: int = 0) -> Made:
    """The batch; completions of one group with the same answer have the same tokens."""
    rng = np.random.default_rng(seed)
    correct = np.array([1, 0, 0, 1, *[1] * 6, *[0] * 3], float)
    group = ["b"] * 4 + ["c"] * 6 + ["a"] * 3
    answer = [0, 1, 2, 0, 0, 1, 1, 1, 2, 0, 0, 1, 0]
    length = rng.integers(1, NUM_POSITIONS + 1, len(group))
    tokens = rng.integers(5, 25, (len(group), NUM_POSITIONS))
    for row, (name, kind) in enumerate(zip(group, answer, strict=True)):
        first = next(at for at in range(row + 1) if (group[at], answer[at]) == (name, kind))
        length[row], tokens[row] = length[first], tokens[first]
    mask = (np.arange(NUM_POSITIONS) < length[:, None]).astype(float)
    log_probs, base = -rng.exponential(1, (2, *mask.shape))
    log_probs[mask == 0], base[mask == 0], tokens[mask == 0] = 7.0, np.nan, rng.integers(100)
    order = rng.permutation(len(group))
    return Made(
        [group[at] for at in order],
        correct[order],
        mask[order],
        log_probs[order],
        base[order],
        tokens[order],
        [answer[at] for at in order],
    )


def by_loops(advantage: Advantage, rows: Made) -> np.ndarray:
    """(num_completions,), a loop over each group."""
    found = np.empty(len(rows.group))
    for name in set(rows.group):
        at = [place for place, other in enumerate(rows.group) if other == name]
        inside = [rows.mask[place] > 0 for place in at]
        found[at] = advantage(
            Group(
                tuple(int(rows.correct[place]) for place in at),
                tuple(rows.log_probs[place][own].sum() for place, own in zip(at, inside, strict=True)),
                tuple(rows.base_log_probs[place][own].sum() for place, own in zip(at, inside, strict=True)),
                tuple(int(own.sum()) for own in inside),
                tuple(rows.answer[place] for place in at),
            )
        )
    return found


def by_token(rows: Made) -> np.ndarray:
    """ds_token with the strengths above, (num_completions, num_positions): GRPO and each token's own term."""
    plain = by_loops(partial(loops.ds, gamma_correct=0.0, normalise="std"), rows)
    found = np.zeros(rows.mask.shape)
    for row, column in zip(*np.nonzero(rows.mask), strict=True):
        right = rows.correct[row] == 1
        strength = -STRONG["gamma_correct"] if right else STRONG["gamma_incorrect"]
        found[row, column] = plain[row] + strength * rows.log_probs[row, column]
    return found


def verl_tensors(rows: Made) -> dict[str, torch.Tensor]:
    """The tensors of a batch as verl has them: the reward on the last token, float32."""
    rewards = np.zeros(rows.mask.shape)
    rewards[np.arange(len(rewards)), rows.mask.sum(1).astype(int) - 1] = rows.correct
    tensors = dict(
        token_level_rewards=rewards,
        token_level_scores=rewards,
        response_mask=rows.mask,
        old_log_probs=rows.log_probs,
        ref_log_prob=rows.base_log_probs,
    )
    made = {name: torch.tensor(one, dtype=torch.float32) for name, one in tensors.items()}
    made["responses"] = torch.tensor(rows.tokens)
    return made
