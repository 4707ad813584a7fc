"""Refuses the audit of a model that hardly ever writes a listed answer, and says what it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.llm.countdown.formats import Format
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import evaluate
from sharpening.llm.sampling.models import LanguageModel

LEAST_LISTED = 0.5  # of the probability of a model's completions, mean over problems
NUM_DRAWN = 64
BEYOND = 8  # tokens that a sample may have more than the longest listed answer
LONGEST_SHOWN = 80  # characters


def refuse(
    name: str, lm: LanguageModel, audits: Sequence[Audited], *, operators: str, text_format: Format, temperature: float
) -> None:
    """Raises ValueError where the answers of an audit that is no exact one have less than half of the probability."""
    mass = [float(np.exp(one.log_prob).sum()) for one in audits]
    if audits[0].is_exact or np.mean(mass) >= LEAST_LISTED:
        return
    worst = audits[int(np.argmin(mass))]
    task = CountdownTask([worst.problem], operators=operators, text_format=text_format)
    listed = {spelling for text in exact.answer_texts(lm, worst.tokens) for spelling in exact.spellings(text)}
    settings = evaluate.Settings(n=NUM_DRAWN, temperature=temperature, max_tokens=max(map(len, worst.rows)) + BEYOND)
    sampler = evaluate.transformers_sampler(lm)
    drawn = [one for one in evaluate.evaluate(sampler, lm.tokenizer, task, settings) if isinstance(one, evaluate.Done)]
    formed = [row for row in drawn[0].rows if row["well_formed"] and row["is_finished"]]
    others = [row for row in formed if row["completion"] not in listed]
    spelled = Counter((row["completion"], tuple(row["completion_ids"])) for row in others or formed or drawn[0].rows)
    (((text, ids), _),) = spelled.most_common(1)
    tokens = str([lm.tokenizer.decode([token]) for token in ids])
    raise ValueError(
        f"--model: {name!r}: the listed answers have {np.mean(mass):.3f} of its probability (mean over {len(mass)} "
        f"problems): want at least {LEAST_LISTED:g}. Of {NUM_DRAWN} samples of {worst.problem.id!r} {len(formed)} are "
        f"well-formed, {len(others)} of them in a spelling that is not listed; the most frequent is "
        f"{text[:LONGEST_SHOWN]!r} in the tokens {tokens[:LONGEST_SHOWN]}. audit --samples scores what a model writes"
    )
