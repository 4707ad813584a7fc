"""The exact probability of every name that a model can give to a question of `llm.lists`."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sharpening.llm.lists import task
from sharpening.llm.lists.task import Question
from sharpening.llm.sampling import models, tokenizations
from sharpening.llm.sampling.models import LanguageModel
from sharpening.theory.policies import Floats


class Listed(NamedTuple):
    """The members of a question's collection under one model, and the mass that may have been missed.

    Shapes:   correct, log_prob: (len(question.listed),), nats, of all listed spellings and all their tokenizations.
    """

    question: Question
    correct: Floats
    log_prob: Floats
    pruned: float

    @property
    def correctness(self) -> float:
        """The probability of the listed correct answers, a lower bound of pass@1."""
        return float(np.exp(self.log_prob) @ self.correct)

    @property
    def mass(self) -> float:
        """The probability of all listed answers."""
        return float(np.exp(self.log_prob).sum())


def audit(lm: LanguageModel, question: Question, *, temperature: float = 1.0, batch: int = 1024) -> Listed:
    """Every member of the collection with its log-probability under softmax(logits / temperature)."""
    (prompt,) = task.ListTask([question]).prompts
    pairs = [(text, place) for place, name in enumerate(question.listed) for text in task.spellings(name)]
    texts, places = zip(*pairs, strict=True)
    found = tokenizations.walk(
        lm, models.prompt_ids(lm.tokenizer, prompt), texts, places, temperature=temperature, batch=batch
    )
    correct = np.array([float(name in question.correct) for name in question.listed])
    return Listed(question, correct, found.log_prob, found.pruned)
