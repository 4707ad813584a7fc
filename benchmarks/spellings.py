"""Log-probabilities of a model's samples in the audit, beside those of the pass that sampled them and of a third pass.

    python -m benchmarks.spellings [--samples 2304] [--tokens 96]

The model is a small Llama with random weights and a byte-pair tokenizer that is trained here, on text drawn from a
seed: what it writes is seldom spelled as its tokenizer spells the same text. Samples go through the lines that
`evaluate` writes. They are scored by the audit twice, by the tokens in the file and, without them, by their texts; the
third pass is in float64, without a cache and without padding. A sample differs where the two are more than 1e-3 nats
apart.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tokenizers
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from sharpening.llm.audit import samples as audit_samples
from sharpening.llm.own_task import OwnTask
from sharpening.llm.sampling import evaluate, models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Prompt
from sharpening.theory import policies

NUM_PROMPTS = 16
NUM_WORDS = 1_000
SAME = 1e-3  # nats
THIRD = 96  # samples that the third pass scores, the first of each prompt among them
WAYS = {  # of scoring, and what the lines lack
    "tokens": (),
    "texts, lengths known": ("completion_ids",),
    "texts": ("completion_ids", "num_tokens"),
}
SYLLABLES = [first + last for first in "bdgklmnprst" for last in ("a", "e", "i", "o", "u", "an", "er", "ing")]


def make_texts(rng: np.random.Generator, sizes: Sequence[int]) -> list[str]:
    """Texts of so many words: words of one to four syllables, some far more often than others, and numbers."""
    lexicon = ["".join(rng.choice(SYLLABLES, size=rng.integers(1, 5))) for _ in range(NUM_WORDS)]
    share = 1 / np.arange(1, NUM_WORDS + 1)
    texts = []
    for size in sizes:
        words = rng.choice(lexicon, size=size, p=share / share.sum())
        numbers = rng.integers(0, 1_000, size=size).astype(str)
        texts.append(" ".join(np.where(rng.random(size) < 0.1, numbers, words)))
    return texts


def make_model(rng: np.random.Generator, *, vocabulary: int = 1_000, scale: float = 6.0) -> LanguageModel:
    """A Llama of two layers with random weights and a byte-pair tokenizer trained on `make_texts`."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(make_texts(rng, [500] * 40), trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>", pad_token="<end>")
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(int(rng.integers(2**31)))
        model = LlamaForCausalLM(config).eval()
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(scale)
    model.generation_config = models.plain_sampling(None, tokenizer)
    return LanguageModel(model, tokenizer, torch.device("cpu"))


def drawn(lm: LanguageModel, rng: np.random.Generator, *, num_samples: int, num_tokens: int) -> list[evaluate.Row]:
    """Samples of as many prompts, as `evaluate` writes them; every other one is called correct."""
    texts = make_texts(rng, range(5, 5 + NUM_PROMPTS))
    prompts = [Prompt(str(number), text) for number, text in enumerate(texts)]
    task = OwnTask(prompts, [""] * len(prompts), lambda completion, answer: bool(len(completion) % 2))
    settings = evaluate.Settings(n=num_samples // len(prompts), max_tokens=num_tokens, batch=256)
    events = evaluate.evaluate(evaluate.transformers_sampler(lm), lm.tokenizer, task, settings)
    return [row for event in events if isinstance(event, evaluate.Done) for row in event.rows]


class Measured(NamedTuple):
    """Shares of the samples, and of those that are compared; the largest difference in nats."""

    num_samples: int
    num_longest: int
    share_left_out: float
    share_differs: float
    largest: float


def audited(lm: LanguageModel, rows: list[evaluate.Row], num_tokens: int, *drops: str) -> Measured:
    """The audit's log-probabilities of samples, whose lines lack the dropped fields, against those of the file."""
    lines = [json.dumps({key: value for key, value in row.items() if key not in drops}) for row in rows]
    samples = audit_samples.read("\n".join(lines), "samples.jsonl")
    scored = audit_samples.score(lm, samples, temperature=1.0, batch=100)  # another batch than the sampling pass
    difference = np.abs(scored.log_prob - [row["log_prob"] for row in rows])
    is_kept = np.isfinite(difference)
    return Measured(
        len(rows),
        sum(row["num_tokens"] == num_tokens for row in rows),
        float(1 - is_kept.mean()),
        float((difference > SAME).sum() / max(1, is_kept.sum())),
        float(difference.max(where=is_kept, initial=0)),
    )


@torch.no_grad()
def largest_of_third_pass(lm: LanguageModel, rows: list[evaluate.Row]) -> float:
    """The largest difference in nats of the file's log-probabilities from a float64 pass, of some of the samples."""
    exact, worst = lm.model.double(), 0.0
    for row in rows[:: max(1, len(rows) // THIRD)]:
        prompt = models.prompt_ids(lm.tokenizer, Prompt("", row["prompt"]))
        ids = row["completion_ids"]
        logits = exact(torch.tensor([prompt + ids]), use_cache=False).logits[0, len(prompt) - 1 : -1]
        log_policy = policies.log_softmax(logits.numpy())
        worst = max(worst, abs(float(log_policy[np.arange(len(ids)), ids].sum()) - row["log_prob"]))
    lm.model.float()
    return worst


def main() -> None:
    """Draws, scores and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2_304, help=f"a multiple of {NUM_PROMPTS}")
    parser.add_argument("--tokens", type=int, default=96, help="most tokens of a sample")
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng, start = np.random.default_rng(0), time.perf_counter()
    lm = make_model(rng)
    rows = drawn(lm, rng, num_samples=given.samples, num_tokens=given.tokens)
    sizes = [
        sum(len(json.dumps({key: row[key]})) for row in rows) / len(rows) for key in ("completion_ids", "completion")
    ]
    print(
        f"{lm.model.num_parameters() / 1e3:.0f}k parameters, {len(lm.tokenizer)} tokens; {len(rows)} samples drawn in "
        f"{time.perf_counter() - start:.0f} s; bytes a sample: {sizes[0]:.0f} of tokens, {sizes[1]:.0f} of text"
    )
    print(f"{'scored by':24}{'samples':>9}{f'of {given.tokens}':>9}{'left out':>10}{'differ':>9}{'largest (nats)':>16}")
    for name, drops in WAYS.items():
        found = audited(lm, rows, given.tokens, *drops)
        print(
            f"{name:24}{found.num_samples:9}{found.num_longest:9}{found.share_left_out:10.2%}{found.share_differs:9.2%}"
            f"{found.largest:16.2g}"
        )
    largest = largest_of_third_pass(lm, rows)
    print(f"third pass, float64, {min(THIRD, len(rows))} samples: largest difference {largest:.2g} nats")


if __name__ == "__main__":
    main()
