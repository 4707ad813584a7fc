"""The exact probability of every answer that a model can give to a Countdown problem, and what follows from it.

In the compact format an answer is a fixed sequence of whole-word tokens and an end token, and all well-formed answers
can be listed and scored by teacher forcing. That gives, without sampling noise: correctness Q, the mass of completions
that are no well-formed answer (1 less the sum), the distribution over correct answers, pass@k for every k, and, for two
checkpoints, the gain of every correct answer.

With any other tokenizer, or in the chat format, an answer has many spellings. Listed are all tokenizations of the text,
and of the text after a space, as a model was taught that saw prompt and answer in one text (`sampling.tokenizations`).
Others, with further blanks, are not: Q and all masses are then lower bounds, and `is_exact` is false.

Departs: (1) "wrong" in the surprisal of wrong answers means the well-formed ones; the rest of the wrong mass is not
listed. (2) Numbers are in the order of the prompt; two orders are two prompts. (3) Where the theory wants every wrong
answer, for what plain RL would do, the unlisted mass is one more wrong answer, as if it were a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tokenizers
from numpy.typing import NDArray

from sharpening.llm.countdown import formats, solver
from sharpening.llm.countdown.formats import Format
from sharpening.llm.countdown.problems import Problem
from sharpening.llm.sampling import models, scoring, tokenizations
from sharpening.llm.sampling.models import LanguageModel
from sharpening.samples import sharpening
from sharpening.theory import estimators, policies
from sharpening.theory.policies import Floats
from sharpening.theory.policies import Problem as Table

HILL_ORDERS = {"1": 1.0, "2": 2.0, "inf": np.inf}


class Audited(NamedTuple):
    """One problem's listed answers under one model.

    `pruned` is the probability that the listed spellings may have besides, too little to be followed.
    Shapes:   tokens: one row an answer, its first spelling with an end token; correct, log_prob: (num_answers,), nats,
              the latter of all listed spellings together; rows: the spellings with an end token, each of the answer
              whose place is in answer: (len(rows),).
    """

    problem: Any  # of Countdown, or a question of lists
    tokens: list[list[int]]
    correct: Floats
    log_prob: Floats
    is_exact: bool
    rows: Sequence[list[int]] = ()
    answer: Sequence[int] = ()
    pruned: float = 0.0


def audit(
    lm: LanguageModel,
    problem: Problem,
    *,
    operators: str,
    text_format: Format = "compact",
    temperature: float = 1.0,
    batch: int = 4096,
    only_correct: bool = False,
    least_share: float = tokenizations.LEAST_SHARE,
) -> Audited:
    """Every well-formed answer to a problem with its log-probability under softmax(logits / temperature).

    With `only_correct` the wrong answers are left to the unlisted mass: enough for Q, at a fraction of the time.
    Spellings with less than `least_share` of the probability of an answer's likeliest are not followed.
    """
    tokens, correct, is_exact = listed_answers(lm.tokenizer, problem, operators, text_format)
    if only_correct:
        tokens, correct = [tokens[place] for place in np.flatnonzero(correct)], correct[correct == 1]
    prompt = models.prompt_ids(lm.tokenizer, formats.prompt(problem, text_format, operators))
    if not tokens:
        return Audited(problem, [], correct, np.zeros(0), is_exact)
    if is_exact:
        ends = models.end_tokens(lm)
        rows = [[*row[:-1], end] for row in tokens for end in ends]
        answer = np.repeat(np.arange(len(tokens)), len(ends))
        log_prob = np.full(len(tokens), -np.inf)
        np.logaddexp.at(log_prob, answer, scoring.score_tree(lm, prompt, rows, temperature=temperature, batch=batch))
        return Audited(problem, tokens, correct, log_prob, is_exact, rows, answer.tolist())
    texts = answer_texts(lm, tokens)
    spelled = [spelling for text in texts for spelling in spellings(text)]
    places = np.repeat(np.arange(len(texts)), len(spelled) // len(texts)).tolist()
    found = tokenizations.walk(
        lm, prompt, spelled, places, temperature=temperature, batch=batch, least_share=least_share
    )
    return Audited(problem, tokens, correct, found.log_prob, is_exact, found.rows, found.answer.tolist(), found.pruned)


def rescored(
    lm: LanguageModel, audits: Sequence[Audited], *, operators: str, temperature: float = 1.0, batch: int = 4096
) -> list[Audited]:
    """The same answers to the same problems under another model with the same tokenizer, all problems in one go.

    Far faster than `audit` where a problem has few answers, as with `only_correct`. Raises ValueError for audits that
    are not exact, and for a model of which an answer may end in several ways.
    """
    ends = models.end_tokens(lm)
    for one in audits:
        if not one.is_exact or len(ends) > 1:
            raise ValueError(f"audits: {one.problem.id}: is_exact {one.is_exact}, ends {ends}: want exact, and one end")
    prompts = [models.prompt_ids(lm.tokenizer, formats.prompt(one.problem, "compact", operators)) for one in audits]
    of_answer = [prompt for prompt, one in zip(prompts, audits, strict=True) for _ in one.rows]
    rows = [row for one in audits for row in one.rows]
    log_prob = scoring.score_pairs(lm, of_answer, rows, temperature=temperature, batch=batch)
    parts = np.split(log_prob, np.cumsum([len(one.rows) for one in audits])[:-1])
    return [one._replace(log_prob=part) for one, part in zip(audits, parts, strict=True)]


def correct_part(audited: Audited) -> Audited:
    """An audit without wrong answers: exact ones as `audit` gives with `only_correct`, others without spellings."""
    chosen = np.flatnonzero(audited.correct).tolist()
    return audited._replace(
        tokens=[audited.tokens[place] for place in chosen],
        correct=audited.correct[chosen],
        log_prob=audited.log_prob[chosen],
        rows=[audited.rows[place] for place in chosen] if audited.is_exact else (),
        answer=range(len(chosen)) if audited.is_exact else (),
    )


def answer_texts(lm: LanguageModel, tokens: Sequence[Sequence[int]]) -> list[str]:
    """The texts of answers that are given as tokens with an end token."""
    texts: list[str] = lm.tokenizer.batch_decode([row[:-1] for row in tokens], clean_up_tokenization_spaces=False)
    return texts


def spellings(text: str) -> tuple[str, str]:
    """The texts that are listed of an answer: itself, and after a space."""
    return text, f" {text}"


def listed_answers(
    tokenizer: Any, problem: Problem, operators: str, text_format: Format
) -> tuple[list[list[int]], Floats, bool]:
    """The tokens of every distinct well-formed answer with the end token, marks, and whether the list is complete.

    Answers are in the order of `solver.templates`, the same for all tokenizers.
    """
    templates = solver.templates(len(problem.numbers), operators)
    (correct,) = solver.correct_templates([problem], operators)
    end = tokenizer.eos_token_id
    if text_format == "compact" and is_word_level(tokenizer):
        words = np.array([_token_of(tokenizer, word) for word in (*map(str, problem.numbers), *operators)])
        _, first = np.unique(words[templates], axis=0, return_index=True)  # equal numbers: equal texts
        first.sort()
        rows = np.hstack([words[templates[first]], np.full((len(first), 1), end)])
        return rows.tolist(), correct[first].astype(np.float64), True
    marks = dict(zip((formats.postfix(row, problem.numbers, operators) for row in templates), correct, strict=True))
    texts = [formats.answer(text, text_format) for text in marks]
    ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return [[*row, end] for row in ids], np.array(list(marks.values()), dtype=np.float64), False


def is_word_level(tokenizer: Any) -> bool:
    """Whether every text has just one tokenization, word by word."""
    return tokenizer.is_fast and isinstance(tokenizer.backend_tokenizer.model, tokenizers.models.WordLevel)


def _token_of(tokenizer: Any, word: str) -> int:
    token = tokenizer.convert_tokens_to_ids(word)
    if token is None or token == tokenizer.unk_token_id:
        raise ValueError(f"the model's tokenizer has no word {word!r}: want problems of the kind it was made for")
    return int(token)


def as_table(audited: Audited) -> Table | None:
    """The answers as a table of the theory, the unlisted mass as one more wrong answer; None without both kinds."""
    rest = np.log(max(1.0 - float(np.exp(audited.log_prob).sum()), np.finfo(np.float64).tiny))
    log_policy = policies.log_softmax(np.append(audited.log_prob, rest))
    correct = np.append(audited.correct, 0.0)
    return Table(log_policy, correct) if correct.any() else None


def problem_row(audited: Audited, base: Audited | None = None) -> dict[str, Any]:
    """What the audit of one problem says of a model, as one row; surprisals also under a base model if one is given.

    Entropies and surprisals in nats; NaN where there is nothing to average.
    """
    is_correct = audited.correct == 1
    inside = audited.log_prob[is_correct]
    row: dict[str, Any] = {
        "problem": audited.problem.id,
        "num_answers": len(audited.log_prob),
        "num_correct": len(inside),
        "correctness": float(np.exp(inside).sum()),
        "unlisted_mass": 1.0 - float(np.exp(audited.log_prob).sum()),
        "is_exact": audited.is_exact,
        "entropy_correct": float(policies.entropy(policies.log_softmax(inside))) if inside.size else np.nan,
    }
    for name, order in HILL_ORDERS.items():
        row[f"hill_{name}"] = float(estimators.hill_number(inside, order)) if inside.size else np.nan
    for side, chosen in (("correct", is_correct), ("wrong", ~is_correct)):
        row[f"surprisal_{side}"] = _mean_surprisal(audited.log_prob[chosen], audited.log_prob[chosen])
        if base is not None:
            row[f"base_surprisal_{side}"] = _mean_surprisal(audited.log_prob[chosen], base.log_prob[chosen])
    return row


def _mean_surprisal(log_prob: Floats, of: Floats) -> float:
    """The mean of -of under the distribution in proportion to exp(log_prob)."""
    return float(np.exp(policies.log_softmax(log_prob)) @ -of) if log_prob.size else np.nan


def gains(before: Sequence[Audited], after: Sequence[Audited]) -> sharpening.Gains:
    """All listed answers of all problems, before and after training, weighed by their probability before."""
    pairs = list(zip(before, after, strict=True))
    start = np.concatenate([old.log_prob for old, _ in pairs])
    return sharpening.Gains(
        problem=np.repeat(np.arange(len(pairs)), [len(old.log_prob) for old, _ in pairs]),
        start=start,
        end=np.concatenate([new.log_prob for _, new in pairs]),
        correct=np.concatenate([old.correct for old, _ in pairs]),
        weight=np.exp(start),
        num_tokens=np.array([float(len(row)) for old, _ in pairs for row in old.tokens]),
    )


def expected_gains(before: Sequence[Audited], after: Sequence[Audited]) -> sharpening.Gains | None:
    """The correct answers' gains if plain RL had moved each prompt on its own to the correctness it has afterwards.

    Problems whose correctness fell, where plain RL does not go, and those with no correct answer are left out; None if
    there are no others.
    """
    parts: list[tuple[int, NDArray[np.bool_], Floats, int]] = []
    for place, (old, new) in enumerate(zip(before, after, strict=True)):
        table, moved = as_table(old), as_table(new)
        if table is None or moved is None:
            continue
        logit = policies.logit_correctness(moved.base_log_policy, moved.correct)
        gain = sharpening.expected_gain(table, logit)
        if np.isfinite(gain).all():
            parts.append((place, old.correct == 1, gain, len(old.tokens[0])))
    if not parts:
        return None
    start = np.concatenate([before[place].log_prob[chosen] for place, chosen, _, _ in parts])
    return sharpening.Gains(
        problem=np.repeat([place for place, *_ in parts], [len(gain) for _, _, gain, _ in parts]),
        start=start,
        end=start + np.concatenate([gain for _, _, gain, _ in parts]),
        correct=np.ones(len(start)),
        weight=np.exp(start),
        num_tokens=np.repeat([float(size) for *_, size in parts], [len(gain) for _, _, gain, _ in parts]),
    )
