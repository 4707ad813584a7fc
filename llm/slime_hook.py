"""Methods in slime, by its hook for rewards: `--custom-reward-post-process-path sharpening.llm.slime_hook.rewards`.

With `--advantage-estimator grpo` (or gspo, cispo) slime gives every token of a completion its processed reward as the
advantage, so a method of one number a completion goes there whole. The method is named in the YAML file of
`--custom-config-path`, whose entries slime puts among its arguments:

    sharpening: {method: ds_reward, parameters: {gamma_correct: 0.05}}

with `correct_above: 0` where a wrong answer has a reward of -1. Log-probabilities are those that the sampling engine
returned (`rollout_log_probs`), over the tokens of the loss mask.

Departs: (1) answers, for methods that count them, are equal where the tokens are. (2) slime knows no policy before
training here, and no number of its own for each token: methods that need them are refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sharpening.llm import engine_batch
from sharpening.llm.engine_batch import Batch
from sharpening.theory.methods import calls

SECTION = "sharpening"
ESTIMATORS = ("grpo", "gspo", "cispo")  # of slime's, those whose advantage is the processed reward


def rewards(args: Any, samples: Sequence[Any], **_: Any) -> tuple[list[float], list[float]]:
    """The rewards as they were, and the method's advantages in their place, in the order of the samples.

    A reward of None counts as not scored. Raises ValueError, one line, for options of slime's that would change the
    advantages, and for samples that lack what the method needs.
    """
    settings = engine_batch.settings_of(vars(args).get(SECTION), SECTION)
    choice = engine_batch.choose(settings.method, settings.parameters, "slime's hook")
    if choice.is_by_token:
        raise ValueError(
            f"{SECTION}.parameters.reduction: 'token': slime takes one number a completion: want sum or mean"
        )
    if args.advantage_estimator not in ESTIMATORS:
        raise ValueError(f"advantage_estimator: {args.advantage_estimator!r}: want one of {', '.join(ESTIMATORS)}")
    if args.normalize_advantages:
        raise ValueError("normalize_advantages: True: it would change what the method gave: want false")
    given = [sample.get_reward_value(args) for sample in samples]
    raw = [float("nan") if one is None else float(one) for one in given]
    reward = torch.tensor(raw, dtype=torch.float64)
    log_probs = [_log_probs(sample) for sample in samples if sample.rollout_log_probs is not None]
    batch = Batch(
        group=[_group(sample) for sample in samples],
        reward=reward,
        correct=engine_batch.marks_of(reward, settings.correct_above, f"{SECTION}.correct_above"),
        is_own=_padded([sample.loss_mask or [1] * sample.response_length for sample in samples]),
        log_prob=_padded(log_probs) if len(log_probs) == len(samples) else None,
        answer=[tuple(sample.tokens[len(sample.tokens) - sample.response_length :]) for sample in samples],
    )
    shaped = engine_batch.advantages(choice, batch).shaped.tolist()
    strength = float(args.kl_loss_coef) if getattr(args, "use_kl_loss", False) else 0.0
    for line in calls.caveats(choice.method, choice.values, kl_strength=strength):
        warnings.warn(line, stacklevel=2)  # Python tells it once
    return raw, shaped


def _group(sample: Any) -> int:
    if sample.group_index is None:
        raise ValueError(f"group_index: None: sample {sample.index} names no group: want the number of its prompt")
    number: int = sample.group_index
    return number


def _log_probs(sample: Any) -> list[float]:
    found: list[float] = sample.rollout_log_probs
    if len(found) != sample.response_length:
        raise ValueError(
            f"rollout_log_probs: {len(found)} of sample {sample.index}: want one for each of its "
            f"{sample.response_length} tokens"
        )
    return found


def _padded(rows: Sequence[Sequence[float]]) -> Tensor:
    """(num_completions, num_positions), 0 beyond the end of each."""
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row, dtype=torch.float64) for row in rows], batch_first=True)
