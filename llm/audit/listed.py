"""The exact probability of every correct name that a model can give to a question of `llm.lists`.

Departs: (1) of each name a few spellings are listed, `lists.task.spellings`, in all their tokenizations but those that
are less than `LEAST_SHARE` as likely as the name's likeliest: Q and all masses are lower bounds, and `pruned` bounds
what is not followed. (2) Wrong names are left to the rest of the probability, but by request: a continent has 54
countries at most, the world 193.
"""

from __future__ import annotations

import numpy as np

from sharpening.llm.audit.exact import Audited
from sharpening.llm.lists import task
from sharpening.llm.lists.task import Question
from sharpening.llm.sampling import models, tokenizations
from sharpening.llm.sampling.models import LanguageModel

LEAST_SHARE = 1e-2  # at 1e-3 a country in Africa takes 71 s in place of 22, for .001 of its probability


def names(question: Question, *, only_correct: bool = True) -> list[str]:
    """The names that an audit of the question lists, in the order of the collection."""
    return [name for name in question.listed if name in question.correct or not only_correct]


def audit(
    lm: LanguageModel,
    question: Question,
    *,
    temperature: float = 1.0,
    batch: int = 1024,
    only_correct: bool = True,
    least_share: float = LEAST_SHARE,
) -> Audited:
    """Every correct name, or every name of the collection, with its log-probability under softmax(logits / T)."""
    listed = names(question, only_correct=only_correct)
    (prompt,) = task.ListTask([question]).prompts
    pairs = [(text, place) for place, name in enumerate(listed) for text in task.spellings(name)]
    texts, places = zip(*pairs, strict=True)
    found = tokenizations.walk(
        lm,
        models.prompt_ids(lm.tokenizer, prompt),
        texts,
        places,
        temperature=temperature,
        batch=batch,
        least_share=least_share,
    )
    first = np.unique(found.answer, return_index=True)[1]
    return Audited(
        question,
        tokens=[found.rows[place] for place in first],
        correct=np.array([float(name in question.correct) for name in listed]),
        log_prob=found.log_prob,
        is_exact=False,
        rows=found.rows,
        answer=found.answer.tolist(),
        pruned=found.pruned,
    )
