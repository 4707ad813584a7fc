"""Exact gradients of correctness and of the sharpening slope, and what a step on training prompts does to each problem.

Two passes over problems: the first keeps one vector of weights, the mean training gradient; the second takes, of each
problem, its inner products with that mean and with the problem's own training gradient. So memory is the weights,
four vectors of the trained ones and the activations of a batch, whatever the number of problems.

The training gradient is the expected step of a correctness-only method, c_G(Q) grad Q, mean over training prompts
(claims B4, E1); all of the model's weights are trained, of an adapter those of the adapter.

Departs: (1) plain gradient ascent, where trainers take Adam's step; to first order, from the first model. (2) Where not
every spelling of an answer is listed, Q is that of the listed ones, as in `exact`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.llm.countdown import formats
from sharpening.llm.countdown.formats import Format
from sharpening.llm.sampling import models, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.theory.flow import transfer
from sharpening.theory.flow.transfer import Moves, PromptWeight
from sharpening.theory.policies import Floats

LARGEST_BATCH = 64  # answers in one backward pass, which keeps all activations
Vector = list[Tensor]  # one tensor a trained weight matrix, float32


class Differentiated(NamedTuple):
    """A model whose gradients are taken, and how its answers are put and scored."""

    lm: LanguageModel
    operators: str
    text_format: Format
    temperature: float = 1.0
    batch: int = LARGEST_BATCH

    @property
    def weights(self) -> list[Tensor]:
        """The trained weights: all of a model's, of an adapter its own."""
        return [one for one in self.lm.model.parameters() if one.requires_grad]


class Transfer(NamedTuple):
    """What steps at learning rate 1 do to one problem: its own step, the mean step, that of a table of its own.

    `spread` is what a move of the slope is divided by, summed over problems.
    """

    own: Moves
    by_mean: Moves
    tabular: Moves
    spread: float


def mean_gradient(of: Differentiated, audits: Iterable[Audited], prompt_weight: PromptWeight) -> tuple[Vector, int]:
    """The first pass: the mean of the training gradients of the prompts that have a correct answer, and their number.

    Raises ValueError where none has.
    """
    mean, number = _zeros(of), 0
    for audited in audits:
        table = exact.as_table(audited)
        if table is not None:
            (logit,) = gradients(of, audited, [_listed(transfer.logit_weights(table))])
            for one, more in zip(mean, logit, strict=True):
                one.add_(more, alpha=transfer.training_weight(table, prompt_weight))
            number += 1
    if not number:
        raise ValueError("--transfer: none of the training prompts has a correct answer: want at least one")
    return [one.div_(number) for one in mean], number


def transfer_of(of: Differentiated, audited: Audited, mean: Vector, prompt_weight: PromptWeight) -> Transfer | None:
    """The second pass, for one problem; None if it has no correct answer."""
    table = exact.as_table(audited)
    if table is None:
        return None
    weights = [_listed(transfer.slope_weights(table)), _listed(transfer.logit_weights(table))]
    slope, logit = gradients(of, audited, weights)
    own = transfer.training_weight(table, prompt_weight)
    return Transfer(
        Moves(own * _inner(slope, logit), own * _inner(logit, logit)),
        Moves(_inner(slope, mean), _inner(logit, mean)),
        transfer.tabular_moves(table, prompt_weight),
        transfer.spread(table),
    )


def gradients(of: Differentiated, audited: Audited, weights: Sequence[Floats]) -> list[Vector]:
    """The gradients of weighted sums of the answers' log-probabilities; answers of weight 0 are not run.

    Shapes:   weights: one array (num_answers,) a sum. Returns one vector a sum.
    """
    lm, chosen = of.lm, np.flatnonzero(np.any(weights, axis=0))
    prompt = models.prompt_ids(lm.tokenizer, formats.prompt(audited.problem, of.text_format, of.operators))
    is_run = np.isin(audited.answer, chosen)
    rows = [row for row, is_one in zip(audited.rows, is_run, strict=True) if is_one]
    answer = np.asarray(audited.answer, np.int64)[is_run]
    found = [_zeros(of) for _ in weights]
    if not rows:
        return found
    scores = scoring.score(lm, prompt, rows, temperature=of.temperature, batch=of.batch).log_prob
    together = np.full(len(audited.tokens), -np.inf)
    np.logaddexp.at(together, answer, scores)
    shares = np.exp(scores - together[answer])  # of each spelling in its answer
    row_weights = np.stack([one[answer] * shares for one in weights])
    for begin in range(0, len(rows), of.batch):
        part = slice(begin, begin + of.batch)
        log_prob = scoring.differentiable_score(lm, prompt, rows[part], temperature=of.temperature)
        for vector, wanted in zip(found, torch.from_numpy(row_weights[:, part]).to(log_prob), strict=True):
            backward = torch.autograd.grad(log_prob @ wanted, of.weights, retain_graph=True, allow_unused=True)
            for mine, more in zip(vector, backward, strict=True):
                if more is not None:
                    mine += more
    return found


def _listed(weights: Floats) -> Floats:
    """The weights of the listed answers, without that of the unlisted mass, a wrong answer, which is 0."""
    return weights[:-1]


def _zeros(of: Differentiated) -> Vector:
    return [torch.zeros_like(one, dtype=torch.float32) for one in of.weights]


def _inner(left: Vector, right: Vector) -> float:
    return float(sum(torch.dot(a.flatten().double(), b.flatten().double()) for a, b in zip(left, right, strict=True)))
