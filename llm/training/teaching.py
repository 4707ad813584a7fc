"""Supervised teaching of a pretrained model on Countdown, before RL: all weights, or LoRA's.

A step is a batch of problems, each with one of its correct answers, drawn as `warm_start` draws them (problems
uniform, numbers in random order, answers by the weight of their style), in the compact or the chat format. A prompt has
the tokens that it has while sampling and in an audit; an answer those of `formats.spelled`, and the end token.

Every step has random numbers of its own, so that a run goes on from a checkpoint to the weights that it would have had.
Weights, moments and updates are float32; with `dtype: bfloat16` only the passes are in bfloat16.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

from sharpening.llm.countdown import formats
from sharpening.llm.countdown.formats import Format
from sharpening.llm.countdown.problems import Problem, Settings
from sharpening.llm.sampling import adapters, models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Prompt
from sharpening.llm.training import checkpoints, warm_start
from sharpening.llm.training.warm_start import Pool

Row = dict[str, float | int]
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's


class Teaching(BaseModel):
    """Problems and training; with the model it determines the weights on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    problems: Settings = Field(description="the problems to train on")
    text_format: Format = Field("compact", description="how problems and answers are put: compact or chat")
    pool: int = Field(1_200, ge=1, description="distinct training problems")
    skew: float = Field(1.0, ge=0, le=10, description="how unequal the styles of solutions are; 0: all alike")
    steps: int = Field(220, ge=1, description="training steps")
    batch: int = Field(48, ge=1, description="answers a step")
    micro_batch: int = Field(16, ge=1, description="answers in one pass: less memory, the same step up to rounding")
    learning_rate: float = Field(2e-4, gt=0, lt=1, description="largest learning rate of AdamW")
    lora_rank: int = Field(0, ge=0, le=1024, description="rank of LoRA adapters; 0 trains all weights")
    merge_adapters: bool = Field(True, description="with lora_rank: the model with its adapters in its weights")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the passes; weights are float32")
    save_every: int = Field(50, ge=1, description="steps between checkpoints")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of problems, batches and adapters")

    @model_validator(mode="after")
    def _can_be_taught(self) -> Teaching:
        warm_start.refuse_problems(self.problems)
        if not self.merge_adapters and not self.lora_rank:
            raise ValueError("merge_adapters: False: want lora_rank, or true")
        return self


class Example(NamedTuple):
    """The tokens of a prompt, and of an answer with the end token."""

    prompt: list[int]
    answer: list[int]


def prepared(lm: LanguageModel, config: Teaching) -> Any:
    """The model that is trained, with new adapters where the configuration has a rank; it knows its problems."""
    lm.model.config.countdown = config.problems.model_dump(mode="json")
    return adapters.added(lm.model, config.lora_rank, config.seed) if config.lora_rank else lm.model


def examples(lm: LanguageModel, config: Teaching, pool: Pool, step: int) -> list[Example]:
    """The batch of a step."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 2, step]))
    chosen, answers = warm_start.drawn_batch(pool, config.batch, rng)
    words, operators = _words(config.problems), config.problems.operators
    found = []
    for place, answer in zip(chosen.tolist(), answers.tolist(), strict=True):
        problem = pool.problems[place]
        numbers = tuple(rng.permutation(problem.numbers).tolist())
        put = formats.prompt(Problem(numbers, problem.target), config.text_format, operators)
        text = formats.answer(" ".join(words[token] for token in pool.tokens[answer]), config.text_format)
        found.append(example(lm.tokenizer, put, formats.spelled(text, config.text_format)))
    return found


def example(tokenizer: Any, prompt: Prompt, text: str) -> Example:
    """The tokens of a prompt as while sampling, and of a text that follows it, with the end token."""
    body = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Example(models.prompt_ids(tokenizer, prompt), [*body, tokenizer.eos_token_id])


def make_pool(config: Teaching) -> Pool:
    """The training problems with their answers, whose tokens are places among the words of the compact format."""
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 1]))
    token_of = {word: place for place, word in enumerate(_words(config.problems))}
    return warm_start.make_pool(config, rng, token_of)


def _words(problems: Settings) -> list[str]:
    return [*map(str, range(problems.largest_number + 1)), *problems.operators]


def train(lm: LanguageModel, model: Any, config: Teaching, folder: Path) -> Iterator[Row]:
    """Trains the prepared model in place, from the folder's last checkpoint if there is one; yields a row a step.

    The row has the loss in nats a token of the answers, before the step. Rows of steps that a checkpoint has behind it
    are yielded too. Raises ValueError where a checkpoint cannot be written, or there are too few problems.
    """
    pool = make_pool(config)
    weights = {name: one for name, one in model.named_parameters() if one.requires_grad}
    optimizer = torch.optim.AdamW(weights.values(), lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    rows: list[Row] = []
    last, _ = checkpoints.last(folder)
    if last is not None:
        tensors, rows = checkpoints.read(last)
        _restore(weights, optimizer, tensors, len(rows))
    yield from rows
    model.train()
    for step in range(len(rows), config.steps):
        batch = examples(lm, config, pool, step)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * warm_start.schedule(step, config.steps)
        optimizer.zero_grad(set_to_none=True)
        loss = _backward(lm, model, batch, config)
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimizer.step()
        rows.append({"step": step + 1, "loss": loss})
        if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
            checkpoints.write(folder, step + 1, _state(weights, optimizer), rows)
        yield rows[-1]
    model.eval()


def _backward(lm: LanguageModel, model: Any, batch: Sequence[Example], config: Teaching) -> float:
    """Adds up the gradients of the mean loss over the answers' tokens; returns that loss."""
    num_tokens = sum(len(one.answer) for one in batch)
    total = 0.0
    for begin in range(0, len(batch), config.micro_batch):
        part = batch[begin : begin + config.micro_batch]
        with torch.autocast(lm.device.type, torch.bfloat16, enabled=config.dtype == "bfloat16"):
            loss: Any = negative_log_prob(lm, model, part).sum() / num_tokens
        loss.backward()
        total += loss.item()
    return total


def negative_log_prob(lm: LanguageModel, model: Any, batch: Sequence[Example]) -> Tensor:
    """Of each example the negative log-probability of its answer, in nats, float32; logits are made for answers only.

    Shapes:   returns (len(batch),).
    """
    longest = max(len(one.prompt) + len(one.answer) for one in batch)
    first = min(len(one.prompt) for one in batch) - 1  # of the places whose next token may be an answer's
    ids = torch.full((len(batch), longest), lm.tokenizer.pad_token_id)
    labels = torch.full((len(batch), longest), warm_start.IGNORED)
    for row, one in enumerate(batch):  # padding comes last, where nothing sees it
        ids[row, : len(one.prompt) + len(one.answer)] = torch.tensor(one.prompt + one.answer)
        labels[row, len(one.prompt) : len(one.prompt) + len(one.answer)] = torch.tensor(one.answer)
    ids, labels = ids[:, :-1].to(lm.device), labels[:, first + 1 :].to(lm.device)
    logits = model(input_ids=ids, logits_to_keep=longest - 1 - first).logits.float()
    found = torch.nn.functional.cross_entropy(
        logits.transpose(1, 2), labels, ignore_index=warm_start.IGNORED, reduction="none"
    )
    return found.sum(1)


def _state(weights: Mapping[str, Tensor], optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    """Weights and moments by name."""
    found = {f"weights.{name}": one.detach() for name, one in weights.items()}
    for name, one in weights.items():
        found |= {f"{moment}.{name}": optimizer.state[one][moment] for moment in MOMENTS}
    return found


@torch.no_grad()
def _restore(
    weights: Mapping[str, Tensor], optimizer: torch.optim.AdamW, tensors: Mapping[str, Tensor], step: int
) -> None:
    for name, one in weights.items():
        one.copy_(tensors[f"weights.{name}"])
        optimizer.state[one] = {moment: tensors[f"{moment}.{name}"].to(one.device) for moment in MOMENTS}
        optimizer.state[one]["step"] = torch.tensor(float(step))


def finished(model: Any, config: Teaching) -> Any:
    """The model to save: adapters in its weights, or alone."""
    return model.merge_and_unload() if config.lora_rank and config.merge_adapters else model
