"""Log-probabilities and entropies of given completions under a model, by teacher forcing."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from llm.models import LanguageModel

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """Of each completion its log-probability and the mean entropy of its tokens' distributions, both in nats."""

    log_prob: Floats
    entropy: Floats


@torch.no_grad()
def score(
    lm: LanguageModel,
    prompt: Sequence[int],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch: int = 1024,
) -> Scores:
    """Scores of completions of one prompt, whose own tokens are run once.

    Shapes:   prompt: (num_prompt_tokens,), at least 1; completions: any number, each with at least one token, the end
              token included where it counts. Returns two arrays (num_completions,).
    Units:    nats under the distribution softmax(logits / temperature); log-probabilities are sums over tokens.
    """
    start = torch.tensor([list(prompt)], device=lm.device)
    first = lm.model(start, use_cache=True)
    order = sorted(range(len(completions)), key=lambda place: len(completions[place]))  # little padding in a batch
    log_prob, entropy = np.empty(len(completions)), np.empty(len(completions))
    for begin in range(0, len(order), batch):
        places = order[begin : begin + batch]
        found = _score_batch(lm, first, [completions[place] for place in places], temperature)
        log_prob[places], entropy[places] = found
    return Scores(log_prob, entropy)


def _score_batch(lm: LanguageModel, first: object, rows: Sequence[Sequence[int]], temperature: float) -> Scores:
    """Scores of completions that follow a prompt whose output, with its cache, is `first`."""
    num_tokens = torch.tensor([len(row) for row in rows], device=lm.device)
    longest = int(num_tokens.max())
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=lm.device)
    logits = first.logits[:, -1:].expand(len(rows), -1, -1)  # type: ignore[attr-defined]
    if longest > 1:
        cache = copy.deepcopy(first.past_key_values)  # type: ignore[attr-defined]
        cache.batch_repeat_interleave(len(rows))
        rest = lm.model(padded[:, :-1], past_key_values=cache, use_cache=True).logits  # padding comes last: unseen
        logits = torch.cat([logits, rest], dim=1)
    log_policy = torch.log_softmax(logits.float() / temperature, dim=-1)  # (num_rows, longest, vocabulary)
    is_token = torch.arange(longest, device=lm.device) < num_tokens[:, None]
    chosen = log_policy.gather(-1, padded[..., None])[..., 0].double()
    entropies = -(log_policy.exp() * log_policy).sum(-1).double()
    return Scores(
        torch.where(is_token, chosen, 0.0).sum(1).cpu().numpy(),
        (torch.where(is_token, entropies, 0.0).sum(1) / num_tokens).cpu().numpy(),
    )
