"""A small model of our own: a real transformers architecture, its tokenizer, and a supervised warm start on Countdown.

The model learns to continue `numbers 9 10 1 5 target 25` by a correct answer in postfix and the end token. Solutions
are drawn from a skewed distribution over styles, so that the base policy has likely and rare correct answers: the log
weight of a solution is `skew` times the sum of
(1) -.7 a minus sign, -1 a multiplication, -1.4 a division;
(2) .7 for each operand that is at least as large as the next one in the text;
(3) 1.4 if every operator but the first takes the result so far (`a b + c + d +`).

Problems are drawn uniformly from a pool of distinct ones of the split "train", their numbers in random order. Left out:
everything about training but the plain loop; RL goes through TRL.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from sharpening.llm.countdown import formats, solver
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.problems import Settings
from sharpening.llm.sampling import models
from sharpening.llm.sampling.models import LanguageModel

PAD, END, UNKNOWN = "<pad>", "<eos>", "<unk>"
OPERATOR_COST = {"+": 0.0, "-": 0.7, "*": 1.0, "/": 1.4}
PER_DESCENT, FOR_CHAIN = 0.7, 1.4
ARCHITECTURES: dict[str, tuple[Any, Any]] = {
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "llama": (LlamaConfig, LlamaForCausalLM),
}
IGNORED = -100  # label of a token whose prediction does not count
RISE = 0.05  # share of the steps in which the learning rate rises
LOSS_EVERY = 50  # steps between two rows
PROBLEMS_AT_ONCE = 256


class WarmStart(BaseModel):
    """Model, problems and training of a warm start; the same configuration gives the same weights on one machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    architecture: Literal["qwen3", "llama"] = Field("qwen3", description="qwen3 or llama")
    width: int = Field(64, ge=16, le=1024, multiple_of=16, description="hidden size; heads have 16 dimensions")
    layers: int = Field(3, ge=1, le=24, description="number of layers")
    problems: Settings = Field(description="the problems to train on")
    pool: int = Field(10_000, ge=1, description="distinct training problems")
    skew: float = Field(1.0, ge=0, le=10, description="how unequal the styles of solutions are; 0: all alike")
    steps: int = Field(4_000, ge=1, description="training steps")
    batch: int = Field(256, ge=1, description="answers a step")
    learning_rate: float = Field(3e-3, gt=0, lt=1, description="largest learning rate of AdamW")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, problems and batches")

    @model_validator(mode="after")
    def _can_be_taught(self) -> WarmStart:
        refuse_problems(self.problems)
        return self


class Drawn(Protocol):
    """What decides the pool of training problems and answers."""

    @property
    def problems(self) -> Settings:
        """Their kind."""

    @property
    def pool(self) -> int:
        """Their number."""

    @property
    def skew(self) -> float:
        """How unequal the styles of answers are."""


class Pool(NamedTuple):
    """Problems and all their correct answers, one after the other.

    Shapes:   tokens: (num_answers, 2n - 1); first: (num_problems + 1,), where each problem's answers begin;
              cumulative: (num_answers + 1,), running sum of the answers' weights, each problem's adding up to 1.
    """

    problems: list[countdown.Problem]
    tokens: NDArray[np.int64]
    first: NDArray[np.int64]
    cumulative: NDArray[np.float64]


def refuse_problems(problems: Settings) -> None:
    """Raises ValueError for problems that no model can be taught here: too large, or kept for measuring."""
    for name, most in (("num_numbers", solver.MOST_NUMBERS), ("largest_number", 999), ("max_target", 999)):
        value = getattr(problems, name)
        if value > most:
            raise ValueError(f"problems.{name}: {value}: want at most {most}")
    if problems.split != "train":
        raise ValueError(f"problems.split: {problems.split!r}: want train, the others are for measuring")


def make_tokenizer(largest: int) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words: the words of the compact format, the operators, and the integers to `largest`."""
    words = [PAD, END, UNKNOWN, "numbers", "target", *countdown.OPERATORS, *map(str, range(largest + 1))]
    vocabulary = {word: place for place, word in enumerate(words)}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, eos_token=END, unk_token=UNKNOWN, clean_up_tokenization_spaces=False
    )


def make_model(config: WarmStart) -> LanguageModel:
    """The model with random weights from the seed, and its tokenizer."""
    largest = max(config.problems.largest_number, config.problems.max_target)
    tokenizer = make_tokenizer(largest)
    config_class, model_class = ARCHITECTURES[config.architecture]
    heads = config.width // 16
    settings = config_class(
        vocab_size=len(tokenizer),
        hidden_size=config.width,
        intermediate_size=3 * config.width,
        num_hidden_layers=config.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        head_dim=16,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        countdown=config.problems.model_dump(mode="json"),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = model_class(settings)
    model.generation_config = models.plain_sampling(None, tokenizer)
    return LanguageModel(model.eval(), tokenizer, torch.device("cpu"))


def style_log_weights(templates: NDArray[np.int8], numbers: NDArray[np.int64], operators: str) -> NDArray[np.float64]:
    """The log weight of every template's style at skew 1, as the module says.

    Shapes:   templates: (num_templates, 2n - 1); numbers: (num_problems, n). Returns (num_problems, num_templates).
    """
    num_numbers = numbers.shape[1]
    costs = np.array([0.0] * num_numbers + [OPERATOR_COST[operator] for operator in operators])
    is_operator = templates >= num_numbers
    chain = np.array([False, *itertools.islice(itertools.cycle([False, True]), templates.shape[1] - 1)])
    is_chain = (is_operator == chain).all(axis=1)
    places = templates[~is_operator].reshape(len(templates), num_numbers)
    operands = numbers[:, places]  # (num_problems, num_templates, n)
    descents = (operands[..., :-1] >= operands[..., 1:]).sum(axis=-1)
    of_template = FOR_CHAIN * is_chain - costs[templates].sum(axis=1)
    return np.asarray(of_template + PER_DESCENT * descents)


def make_pool(config: Drawn, rng: np.random.Generator, token_of: dict[str, int]) -> Pool:
    """Distinct training problems with all their correct answers as tokens, weighed by style."""
    problems = countdown.distinct(config.problems, rng, config.pool, name="pool")
    operators = config.problems.operators
    templates = solver.templates(config.problems.num_numbers, operators)
    operator_tokens = [token_of[operator] for operator in operators]
    number_tokens = np.array([token_of[str(number)] for number in range(config.problems.largest_number + 1)])
    parts, weights, sizes = [], [], []
    for begin in range(0, len(problems), PROBLEMS_AT_ONCE):
        chosen = problems[begin : begin + PROBLEMS_AT_ONCE]
        numbers = np.array([problem.numbers for problem in chosen])
        is_correct = solver.correct_templates(chosen, operators)
        log_weight = config.skew * style_log_weights(templates, numbers, operators)
        for row, marks, log_weights in zip(numbers, is_correct, log_weight, strict=True):
            words = np.concatenate([number_tokens[row], operator_tokens])
            answers, place = np.unique(words[templates[marks]], axis=0, return_index=True)  # equal numbers: equal texts
            parts.append(answers)
            share = np.exp(log_weights[marks][place] - log_weights[marks].max())
            weights.append(share / share.sum())
            sizes.append(len(answers))
    cumulative = np.concatenate([[0.0], np.cumsum(np.concatenate(weights))])
    return Pool(problems, np.concatenate(parts), np.concatenate([[0], np.cumsum(sizes)]), cumulative)


def drawn_batch(pool: Pool, size: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of problems, uniform, and of one answer to each, by weight; both (size,)."""
    chosen = rng.integers(len(pool.problems), size=size)
    ends = pool.cumulative[pool.first]
    wanted = ends[chosen] + rng.random(size) * (ends[chosen + 1] - ends[chosen])
    answers = np.searchsorted(pool.cumulative, wanted, side="right") - 1
    return chosen, np.clip(answers, pool.first[chosen], pool.first[chosen + 1] - 1)


def train(lm: LanguageModel, config: WarmStart) -> Iterator[dict[str, float | int]]:
    """Trains the model in place; yields a row every `LOSS_EVERY` steps: the mean loss since the last, in nats a token.

    Raises ValueError where there are fewer distinct problems than the pool asks for.
    """
    rng = np.random.default_rng(np.random.SeedSequence([config.seed, 1]))
    token_of: dict[str, int] = lm.tokenizer.get_vocab()
    pool = make_pool(config, rng, token_of)
    end = np.full((config.batch, 1), lm.tokenizer.eos_token_id)
    optimizer = torch.optim.AdamW(lm.model.parameters(), lr=config.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    lm.model.train()
    total, since = 0.0, 0
    for step in range(config.steps):
        chosen, answers = drawn_batch(pool, config.batch, rng)
        shuffled = [rng.permutation(pool.problems[place].numbers) for place in chosen]
        prompts = [
            [token_of[word] for word in formats.compact_prompt(tuple(numbers), pool.problems[place].target).split()]
            for place, numbers in zip(chosen, shuffled, strict=True)
        ]
        ids = torch.from_numpy(np.concatenate([prompts, pool.tokens[answers], end], axis=1))
        labels = ids.clone()
        labels[:, : len(prompts[0])] = IGNORED
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * schedule(step, config.steps)
        loss = lm.model(ids, labels=labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lm.model.parameters(), 1.0)
        optimizer.step()
        total, since = total + loss.item(), since + 1
        if (step + 1) % LOSS_EVERY == 0 or step + 1 == config.steps:
            yield {"step": step + 1, "loss": total / since}
            total, since = 0.0, 0
    lm.model.eval()


def schedule(step: int, num_steps: int) -> float:
    """The share of the largest learning rate: a linear rise, then half a cosine to zero."""
    rise = max(1, round(RISE * num_steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, num_steps - rise)))
