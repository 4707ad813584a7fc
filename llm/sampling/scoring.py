"""Log-probabilities and entropies of given completions under a model, by teacher forcing.

Two ways: `score` runs each completion as a whole, which suits long samples; `score_tree` runs each distinct prefix of
short listed answers once, token after token, a quarter of the positions of all four-number Countdown answers.

The logits of all words are never held for all places: completions are run some places at a time, with a cache, and few
at once where the vocabulary is large, whatever the batch.

Both run the prompt once and repeat its cache, where that is keys and values alone. The states of linear attention, of
Mamba and of convolutions cannot be repeated: such models run prompt and completion together, every completion whole.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from sharpening.llm.sampling.models import LanguageModel

Floats = NDArray[np.float64]
REPEATABLE = (DynamicLayer, DynamicSlidingWindowLayer)  # not their subclasses: of those only keys and values repeat
LOGITS_AT_ONCE = 2**26  # a quarter of a GiB in float32; about five times that is held
LEAST_PLACES = 8  # of each completion in one pass: with more completions than leave room for these, fewer are run


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
    first = run_prompt(lm, prompt)
    order = sorted(range(len(completions)), key=lambda place: len(completions[place]))  # little padding in a batch
    log_prob, entropy = np.empty(len(completions)), np.empty(len(completions))
    places_at_once = LEAST_PLACES if is_repeatable(first) else len(prompt) + max(map(len, completions), default=0)
    size = max(1, min(batch, LOGITS_AT_ONCE // (places_at_once * first.logits.shape[-1])))
    for begin in range(0, len(order), size):
        places = order[begin : begin + size]
        found = _score_batch(lm, prompt, first, [completions[place] for place in places], temperature)
        log_prob[places], entropy[places] = found
    return Scores(log_prob, entropy)


@torch.no_grad()
def repeats_cache(lm: LanguageModel) -> bool:
    """Whether the model keeps keys and values alone of a prompt, and no state of a recurrence or a convolution."""
    return is_repeatable(run_prompt(lm, [lm.tokenizer.eos_token_id]))


def run_prompt(lm: LanguageModel, prompt: Sequence[int]) -> Any:
    """The model's output on a prompt, with its cache; raises ValueError for a prompt without tokens."""
    if not len(prompt):
        raise ValueError("prompt: it has no tokens: want at least one, a model cannot start from nothing")
    last = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(lm.model.forward).parameters else {}
    return lm.model(torch.tensor([list(prompt)], device=lm.device), use_cache=True, **last)


def is_repeatable(first: Any) -> bool:
    """Whether the cache of an output is keys and values alone, which can be given to several completions."""
    cache = first.get("past_key_values")
    return type(cache) is DynamicCache and all(type(layer) in REPEATABLE for layer in cache.layers)


def differentiable_score(
    lm: LanguageModel, prompt: Sequence[int], completions: Sequence[Sequence[int]], *, temperature: float = 1.0
) -> torch.Tensor:
    """The log-probabilities of `score`, of one batch, as a tensor that leads back to the model's weights.

    Shapes:   as for `score`. Returns (num_completions,), nats, float32.
    """
    first = run_prompt(lm, prompt)
    padded, is_token = _padded(lm, completions)
    cache = first.past_key_values if is_repeatable(first) else None
    chosen = [
        log_policy.gather(-1, padded[:, part, None])[..., 0]
        for part, log_policy in _log_policies(lm, prompt, first, cache, padded, temperature, padded.size(1))
    ]
    return torch.where(is_token, torch.cat(chosen, dim=1), 0.0).sum(1)


def _score_batch(
    lm: LanguageModel, prompt: Sequence[int], first: Any, rows: Sequence[Sequence[int]], temperature: float
) -> Scores:
    """Scores of completions that follow a prompt whose output, with its cache, is `first`."""
    padded, is_token = _padded(lm, rows)
    cache = copy.deepcopy(first.past_key_values) if is_repeatable(first) else None
    at_once = max(1, LOGITS_AT_ONCE // (len(rows) * first.logits.shape[-1]))
    log_prob, entropy = torch.zeros(2, len(rows), dtype=torch.float64, device=lm.device)
    for part, log_policy in _log_policies(lm, prompt, first, cache, padded, temperature, at_once):
        chosen = log_policy.gather(-1, padded[:, part, None])[..., 0].double()
        entropies = -(log_policy.exp() * log_policy).sum(-1).double()
        log_prob += torch.where(is_token[:, part], chosen, 0.0).sum(1)
        entropy += torch.where(is_token[:, part], entropies, 0.0).sum(1)
    return Scores(log_prob.cpu().numpy(), (entropy / is_token.sum(1)).cpu().numpy())


def _padded(lm: LanguageModel, rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of tokens as one matrix, and which of its entries are tokens."""
    num_tokens = torch.tensor([len(row) for row in rows], device=lm.device)
    longest = int(num_tokens.max())
    padded = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows], device=lm.device)  # last: unseen
    return padded, torch.arange(longest, device=lm.device) < num_tokens[:, None]


def _log_policies(
    lm: LanguageModel,
    prompt: Sequence[int],
    first: Any,
    cache: Any,
    padded: torch.Tensor,
    temperature: float,
    at_once: int,
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Log-probabilities of every word, `at_once` places after the others, from the prompt's output and a cache of it.

    The cache is used up. Without one prompt and completions are run together, all places at once.
    Shapes:   padded: (num_rows, longest). Yields places and (num_rows, num_places, vocabulary).
    """
    if cache is None:
        whole = torch.cat([torch.tensor([list(prompt)] * len(padded), device=lm.device), padded[:, :-1]], dim=1)
        logits = lm.model(whole, use_cache=False).logits[:, len(prompt) - 1 :]
        yield slice(0, padded.size(1)), torch.log_softmax(logits.float() / temperature, dim=-1)
        return
    yield slice(0, 1), torch.log_softmax(first.logits[:, -1:].float() / temperature, dim=-1).expand(len(padded), -1, -1)
    cache.batch_repeat_interleave(len(padded))
    for begin in range(1, padded.size(1), at_once):
        part = slice(begin, min(begin + at_once, padded.size(1)))
        before = padded[:, part.start - 1 : part.stop - 1]
        logits = lm.model(before, past_key_values=cache, use_cache=True).logits
        yield part, torch.log_softmax(logits.float() / temperature, dim=-1)


@torch.no_grad()
def score_tree(
    lm: LanguageModel,
    prompt: Sequence[int],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch: int = 4096,
) -> Floats:
    """The log-probabilities of `score`, each prefix that completions share run once.

    Shapes:   as for `score`. Returns (num_completions,), nats.
    """
    first = run_prompt(lm, prompt)
    if not is_repeatable(first):
        return score(lm, prompt, completions, temperature=temperature, batch=batch).log_prob
    order = sorted(range(len(completions)), key=lambda place: list(completions[place]))  # neighbours share prefixes
    log_prob = np.empty(len(completions))
    for begin in range(0, len(order), batch):
        places = order[begin : begin + batch]
        log_prob[places] = _score_prefixes(lm, first, [completions[place] for place in places], temperature)
    return log_prob


@torch.no_grad()
def score_pairs(
    lm: LanguageModel,
    prompts: Sequence[Sequence[int]],
    completions: Sequence[Sequence[int]],
    *,
    temperature: float = 1.0,
    batch: int = 4096,
) -> Floats:
    """The log-probabilities of `score` where every completion has a prompt of its own, many prompts in one pass.

    Suits many short prompts with few completions each.
    Shapes:   prompts: one a completion. Returns (num_completions,), nats.
    """
    sizes = np.array([(len(prompt), len(row)) for prompt, row in zip(prompts, completions, strict=True)])
    log_prob = np.empty(len(sizes))
    for size in np.unique(sizes, axis=0):  # no padding: a pass takes prompts of one length and completions of one
        alike = np.flatnonzero((sizes == size).all(axis=1))
        for places in np.split(alike, range(batch, len(alike), batch)):
            ids = torch.tensor([[*prompts[place], *completions[place]] for place in places], device=lm.device)
            logits = lm.model(ids[:, :-1], use_cache=False).logits[:, size[0] - 1 :]
            log_policy = torch.log_softmax(logits.float() / temperature, dim=-1)
            chosen = log_policy.gather(-1, ids[:, size[0] :, None])[..., 0]
            log_prob[places] = chosen.double().sum(1).cpu().numpy()
    return log_prob


def _score_prefixes(lm: LanguageModel, first: Any, rows: Sequence[Sequence[int]], temperature: float) -> Floats:
    """Log-probabilities of rows that follow a prompt whose output is `first`, one level of their tree at a time."""
    cache, logits = copy.deepcopy(first.past_key_values), first.logits[:, -1]
    total = np.zeros(len(rows))
    num_tokens = np.array([len(row) for row in rows])
    padded = np.array([[*row, *[0] * (num_tokens.max() - len(row))] for row in rows])
    alive = np.arange(len(rows))  # rows that have a token at this level,
    node = np.zeros(len(rows), np.int64)  # and of each the place of its prefix in the cache
    for level in range(num_tokens.max()):
        token = padded[alive, level]
        log_policy = torch.log_softmax(logits.float() / temperature, dim=-1)  # (num_prefixes, vocabulary)
        total[alive] += log_policy[node, token].double().cpu().numpy()
        goes_on = num_tokens[alive] > level + 1
        if not goes_on.any():
            break
        alive, size = alive[goes_on], log_policy.shape[-1]
        pairs, node = np.unique((node * size + token)[goes_on], return_inverse=True)
        parent, ids = torch.from_numpy(np.stack(np.divmod(pairs, size))).to(lm.device)
        cache.batch_select_indices(parent)
        logits = lm.model(ids[:, None], past_key_values=cache, use_cache=True).logits[:, -1]
    return total
