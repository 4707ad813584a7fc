"""Log-probabilities of listed texts in all their tokenizations, by one walk over the tree of their token prefixes.

A byte-pair tokenizer's own tokenization of a text is one of many that a model can write. A prefix of tokens is run
once, its keys and values shared by all that begins with it; texts that share a prefix share its tokens.

Departs: a tokenization whose prefix is less than `least_share` as likely as the likeliest way to write the same answer
is not followed. What such prefixes have together is told, as `pruned`: no probability is short by more.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.sampling.scoring import Floats

LEAST_SHARE = 1e-5
ANCHOR = "1"  # what a token's text is decoded after, for a tokenizer that drops a space at the beginning


class Walked(NamedTuple):
    """Of each answer the log-probability in nats; the tokenizations followed, with an end token, and their answers.

    `pruned` is the probability of all prefixes that were not followed.
    Shapes:   log_prob: (num_answers,); answer: (len(rows),).
    """

    log_prob: Floats
    rows: list[list[int]]
    answer: NDArray[np.int64]
    pruned: float


class _Prefix(NamedTuple):
    """A prefix of tokens: of the sorted texts those from `first` to before `last` go on with it, from `place`."""

    tokens: tuple[int, ...]
    first: int
    last: int
    place: int
    log_prob: float
    log_share: float


class _Tree:
    """The sorted texts, and by which tokens each can go on."""

    def __init__(self, tokenizer: Any, texts: Sequence[str], answers: Sequence[int]) -> None:
        self.texts, self.answers = zip(*sorted(zip(texts, answers, strict=True)), strict=True)
        self.answer = np.array(self.answers)
        self._tokens_of = pieces(tokenizer)
        self._longest = max(map(len, self._tokens_of))
        self._steps: dict[tuple[int, int, int], list[tuple[int, int, int, int]]] = {}

    def steps(self, first: int, last: int, place: int) -> list[tuple[int, int, int, int]]:
        """The tokens that lead on, each with the texts that it leaves and their next place."""
        key = first, last, place
        if key not in self._steps:
            self._steps[key] = [
                (token, *group)
                for size in range(1, self._longest + 1)
                for text, group in self._groups(first, last, place, place + size)
                for token in self._tokens_of.get(text, ())
            ]
        return self._steps[key]

    def _groups(self, first: int, last: int, place: int, end: int) -> Iterator[tuple[str, tuple[int, int, int]]]:
        """The distinct texts from place to end, with the texts that have it: neighbours, since all are sorted."""
        begin = first
        for index in range(first + 1, last + 1):
            if index == last or self.texts[index][place:end] != self.texts[begin][place:end]:
                piece = self.texts[begin][place:end]
                if len(piece) == end - place:
                    yield piece, (begin, index, end)
                begin = index


@lru_cache(maxsize=4)
def pieces(tokenizer: Any) -> dict[str, list[int]]:
    """The tokens of each text that a single token can be within a text; a part of a character is none."""
    anchor = tokenizer(ANCHOR, add_special_tokens=False)["input_ids"]
    ids = range(len(tokenizer))
    given = {"clean_up_tokenization_spaces": False, "skip_special_tokens": True}
    (before,) = tokenizer.batch_decode([anchor], **given)
    found: dict[str, list[int]] = defaultdict(list)
    for token, text in zip(ids, tokenizer.batch_decode([[*anchor, token] for token in ids], **given), strict=True):
        if text.startswith(before) and len(text) > len(before) and "\N{REPLACEMENT CHARACTER}" not in text:
            found[text[len(before) :]].append(token)
    return dict(found)


@torch.no_grad()
def walk(
    lm: LanguageModel,
    prompt: Sequence[int],
    texts: Sequence[str],
    answers: Sequence[int],
    *,
    temperature: float = 1.0,
    batch: int = 1024,
    least_share: float = LEAST_SHARE,
) -> Walked:
    """The log-probability that a completion is one of an answer's texts and ends there, in any tokenization.

    Shapes:   texts: distinct; answers: (len(texts),), whose text it is, from 0 on without a gap.
    Units:    nats under softmax(logits / temperature).
    """
    least = np.log(least_share) if least_share else -np.inf
    tree, ends = _Tree(lm.tokenizer, texts, answers), models.end_tokens(lm)
    log_prob, pruned = np.full(max(answers, default=-1) + 1, -np.inf), 0.0
    rows: list[list[int]] = []
    row_answers: list[int] = []
    start = scoring.run_prompt(lm, prompt)
    cache = start.past_key_values if scoring.is_repeatable(start) else None
    pending = [([_Prefix((), 0, len(texts), 0, 0.0, 0.0)], start.logits[:, -1], cache)]
    while pending:
        prefixes, logits, cache = pending.pop()
        log_policy = torch.log_softmax(logits.float() / temperature, dim=-1)
        children: list[tuple[int, _Prefix]] = []
        for place, one in enumerate(prefixes):
            if one.tokens and len(tree.texts[one.first]) == one.place:
                answer = int(tree.answer[one.first])
                for end in ends:
                    log_prob[answer] = np.logaddexp(log_prob[answer], one.log_prob + float(log_policy[place, end]))
                    rows.append([*one.tokens, end])
                    row_answers.append(answer)
            followed, lost = _followed(tree, one, log_policy[place], least)
            children += [(place, child) for child in followed]
            pruned += lost
        for begin in range(0, len(children), batch):
            is_last = begin + batch >= len(children)
            mine = cache if is_last else copy.deepcopy(cache)  # the last may use it up
            pending.append(_run(lm, prompt, children[begin : begin + batch], mine))
    return Walked(log_prob, rows, np.array(row_answers, np.int64), pruned)


def _followed(tree: _Tree, one: _Prefix, log_policy: torch.Tensor, least: float) -> tuple[list[_Prefix], float]:
    """The prefixes that are one token longer, and the probability of those that are not followed."""
    steps = tree.steps(one.first, one.last, one.place)
    if not steps:
        return [], 0.0
    values = log_policy[[token for token, *_ in steps]].double().cpu().numpy()
    best = np.full(len(tree.answers), -np.inf)  # of each answer, over all its texts that are left
    for value, (_, first, last, _) in zip(values, steps, strict=True):
        np.maximum.at(best, tree.answer[first:last], value)
    followed, lost = [], 0.0
    for value, (token, first, last, place) in zip(values, steps, strict=True):
        share = one.log_share + float(value - best[tree.answer[first:last]].min())
        child = _Prefix((*one.tokens, token), first, last, place, one.log_prob + float(value), share)
        if share >= least:
            followed.append(child)
        else:
            lost += float(np.exp(child.log_prob))
    return followed, lost


def _run(
    lm: LanguageModel, prompt: Sequence[int], children: Sequence[tuple[int, _Prefix]], cache: Any
) -> tuple[list[_Prefix], torch.Tensor, Any]:
    """The prefixes with their next logits and their cache, made of that of their parents; without one run whole."""
    prefixes = [child for _, child in children]
    if cache is None:
        ids = torch.tensor([[*prompt, *one.tokens] for one in prefixes], device=lm.device)
        return prefixes, lm.model(ids, use_cache=False).logits[:, -1], None
    cache.batch_select_indices(torch.tensor([parent for parent, _ in children], device=lm.device))
    ids = torch.tensor([[one.tokens[-1]] for one in prefixes], device=lm.device)
    return prefixes, lm.model(ids, past_key_values=cache, use_cache=True).logits[:, -1], cache
