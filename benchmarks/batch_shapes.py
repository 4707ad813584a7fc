"""How far log-probabilities, and with them the term of DS, move between shapes of a batch.

    python -m benchmarks.batch_shapes MODEL [--prompts 8] [--group 8] [--tokens 64] [--temperature 1] [--gamma 0.05]

Completions are drawn once, in groups, and scored again by TRL's head as the trainer scores them, in three kinds of
passes: float32, bfloat16 (autocast over float32 weights), and bfloat16 with the head in float32 (TRL's option
`cast_lm_head_to_fp32`). Every kind scores each completion alone without padding, 8 together, and all together. A model
of a warm start gets its own Countdown problems, others questions with listed answers.

What is said of a kind, between the shape `alone` and another: how far log-probabilities move, of a token and of a
whole completion, in nats; how far the term moves, gamma times the mean log-probability of a completion's tokens, over
its spread within the group; and which share of the pairs within a group, of different completions, changes order. Last,
the same between kinds: alone, against float32.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from trl.trainer import add_fused_lm_head

from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.lists import task as lists
from sharpening.llm.sampling import evaluate, models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Task
from sharpening.llm.training.log_probs import IGNORED

Floats = NDArray[np.float64]


class Kind(NamedTuple):
    """How a pass is made."""

    name: str
    is_bfloat16: bool
    has_float32_head: bool


class Drawn(NamedTuple):
    """A completion, its prompt, and the number of its group."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    group: int


class Moved(NamedTuple):
    """How far numbers moved from one way of scoring to another; `order` is a share of pairs, `term` of the spread."""

    of_token: float
    most_of_token: float
    of_completion: float
    most_of_completion: float
    term: float
    order: float


KINDS = (Kind("float32", False, False), Kind("bfloat16", True, False), Kind("bfloat16, head in float32", True, True))
TOGETHER = 8


def task_of(model: str, num_prompts: int, seed: int) -> Task:
    """Countdown of the model's own kind, or questions with listed answers."""
    if own := models.settings_of(model):
        settings = countdown.Settings(**{**own, "split": "validation"})
        found = countdown.distinct(settings, np.random.default_rng(seed), num_prompts)
        return CountdownTask(found, operators=settings.operators)
    return lists.ListTask(lists.questions()[:num_prompts])


def drawn(lm: LanguageModel, task: Task, settings: evaluate.Settings) -> list[Drawn]:
    """Completions of every prompt in float32."""
    prompts = [models.prompt_ids(lm.tokenizer, prompt) for prompt in task.prompts]
    written = evaluate.transformers_sampler(lm, scores=False)(prompts, settings, settings.batch, settings.seed)
    return [
        Drawn(tuple(prompt), one.tokens, group)
        for group, (prompt, mine) in enumerate(zip(prompts, written, strict=True))
        for one in mine
    ]


@torch.no_grad()
def scored(lm: LanguageModel, rows: Sequence[Drawn], at_once: int, kind: Kind) -> list[Floats]:
    """The log-probability of every token of every completion, padded as TRL pads: prompts left, completions right."""
    found = []
    for begin in range(0, len(rows), at_once):
        some = rows[begin : begin + at_once]
        before, after = (max(len(row[place]) for row in some) for place in (0, 1))
        ids = torch.full((len(some), before + after), lm.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for place, (prompt, completion, _) in enumerate(some):
            inside = slice(before - len(prompt), before + len(completion))
            ids[place, inside], mask[place, inside] = torch.tensor(prompt + completion), 1
        labels = ids.masked_fill(mask == 0, IGNORED)
        ids, mask, labels = (one.to(lm.device) for one in (ids, mask, labels))
        with torch.autocast(lm.device.type, torch.bfloat16, enabled=kind.is_bfloat16):
            made = lm.model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
        numbers = made.log_probs.double().cpu().numpy()[:, before - 1 :]
        found += [row[: len(one.completion)] for row, one in zip(numbers, some, strict=True)]
    return found


def moved(rows: Sequence[Drawn], first: Sequence[Floats], other: Sequence[Floats]) -> Moved:
    """From the first way of scoring to the other."""
    tokens = np.abs(np.concatenate(list(other)) - np.concatenate(list(first)))
    sums = np.array([[one.sum() for one in way] for way in (first, other)])
    means = sums / [len(one.completion) for one in rows]
    spread = spread_of(rows, first)
    pairs = [
        (a, b)
        for a, b in itertools.combinations(range(len(rows)), 2)
        if rows[a].group == rows[b].group and rows[a].completion != rows[b].completion
    ]
    signs = np.sign([[way[a] - way[b] for a, b in pairs] for way in means])
    whole = np.abs(sums[1] - sums[0])
    return Moved(
        float(tokens.mean()),
        float(tokens.max()),
        float(whole.mean()),
        float(whole.max()),
        float(np.abs(means[1] - means[0]).mean() / spread) if spread else float("nan"),
        float((signs[0] != signs[1]).mean()) if pairs else float("nan"),
    )


def spread_of(rows: Sequence[Drawn], scores: Sequence[Floats]) -> float:
    """The standard deviation of completions' mean log-probability within a group, mean over groups."""
    groups = np.array([row.group for row in rows])
    means = np.array([one.mean() for one in scores])
    return float(np.mean([means[groups == group].std() for group in np.unique(groups)]))


def compared(lm: LanguageModel, rows: Sequence[Drawn], temperature: float) -> tuple[list[tuple[str, Moved]], float]:
    """Every kind between shapes, and alone against float32; and the spread within groups, alone in float32."""
    found, alone = [], []
    for kind in KINDS:
        add_fused_lm_head(lm.model, temperature=temperature, cast_lm_head_to_fp32=kind.has_float32_head)
        alone.append(scored(lm, rows, 1, kind))
        for at_once in (TOGETHER, len(rows)):
            found.append((f"{kind.name}: {at_once} together", moved(rows, alone[-1], scored(lm, rows, at_once, kind))))
    for kind, way in list(zip(KINDS, alone, strict=True))[1:]:
        found.append((f"{kind.name}: alone, against float32", moved(rows, alone[0], way)))
    return found, spread_of(rows, alone[0])


def table(found: Sequence[tuple[str, Moved]], spread: float, gamma: float) -> str:
    """A line a comparison; the spread is that of the mean log-probability within groups, in nats."""
    lines = [f"{'':52}{'a token, mean':>14}{'most':>10}{'whole, mean':>13}{'most':>10}{'term':>9}{'order':>9}"]
    for name, one in found:
        line = f"{name:52}{one.of_token:14.2e}{one.most_of_token:10.2e}{one.of_completion:13.2e}"
        lines.append(line + f"{one.most_of_completion:10.2e}{one.term:9.2%}{one.order:9.2%}")
    lines.append(f"term: gamma {gamma:g} x the mean over tokens, whose spread in a group is {gamma * spread:.2e}")
    return "\n".join(lines)


def main() -> None:
    """Draws, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a model, or a hub name")
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--group", type=int, default=8, help="completions of a prompt")
    parser.add_argument("--tokens", type=int, default=64, help="most tokens of a completion")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.05, help="strength of the term")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    lm: Any = models.load(given.model)
    settings = evaluate.Settings(
        n=given.group, temperature=given.temperature, max_tokens=given.tokens, batch=64, seed=given.seed
    )
    rows = drawn(lm, task_of(given.model, given.prompts, given.seed), settings)
    lengths = [len(row.completion) for row in rows]
    print(f"{given.model}: {len(rows)} completions of {given.prompts} prompts, {np.mean(lengths):.1f} tokens each, ")
    print(f"on {lm.device}, {'with' if models.has_bfloat16() else 'without'} bfloat16 of its own")
    print(table(*compared(lm, rows, given.temperature), given.gamma))


if __name__ == "__main__":
    main()
