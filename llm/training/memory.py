"""What a run takes of a process's memory, part by part: an estimate, checked on CPUs against measured peaks.

Counted for transformers of the usual kind, with grouped-query attention: trained weights with gradients and the two
moments of AdamW in float32; frozen weights; what the backward pass keeps of a micro-batch; tiles of the head; the cache
while all completions of a step are sampled; scoring of samples. Sharded over processes (FSDP2) are weights, gradients
and moments, and of the whole layers one at a time is gathered.

Measured (`python -m benchmarks.memory`) were peaks of small models on a CPU, in float32 and bfloat16, with all weights
and with adapters. What sharding and vLLM change is arithmetic and was not measured, nor was anything on a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sharpening.llm.sampling import evaluate, scoring
from sharpening.llm.training import trainer
from sharpening.llm.training.configs import RunConfig
from sharpening.theory.methods import calls

PROGRAM = 2**30  # bytes of Python, torch and TRL, or of a GPU's context
FULL, HALF = 4, 2  # bytes of a number in float32 and in bfloat16
MOMENTS, MOMENTS_IN_8_BITS = 2 * FULL, 2  # of AdamW, a weight
VLLM_SHARE = 0.3  # of the GPU, TRL's default
HEAD_TILE = (4096, 32768)  # tokens and words whose logits TRL's head holds at once
TILE_COPIES = 3  # of a tile of logits, with what is made of it
LOGIT_COPIES = 4  # of next-token logits while a token is drawn, in float32
SCORING_COPIES = 5  # of logits while samples are scored, in float32
KEPT_OF_HIDDEN, KEPT_OF_QUERY, KEPT_OF_KEY, KEPT_OF_INNER = (
    6,
    5,
    5,
    4,
)  # numbers a token for the backward pass of a layer


class Shape(NamedTuple):
    """The sizes of a transformer that its memory depends on."""

    layers: int
    hidden: int
    query: int  # numbers of all query heads, of one token
    key: int  # numbers of all key heads, as many as of all value heads
    inner: int  # width inside the feed-forward part
    vocabulary: int

    @property
    def weights_of_a_layer(self) -> int:
        """Weights of a layer's matrices."""
        return self.hidden * (2 * self.query + 2 * self.key + 3 * self.inner)


class Memory(NamedTuple):
    """Bytes of one process, by what they are for."""

    program: int
    weights: int
    frozen: int
    gradients: int
    moments: int
    backward: int
    head: int
    sampling: int
    scoring: int
    vllm: int

    @property
    def at_rest(self) -> int:
        """What is there throughout a run, once a first update was made."""
        return self.program + self.weights + self.frozen + self.gradients + self.moments

    @property
    def peak(self) -> int:
        """The most at once: updating, sampling and scoring take turns, and vLLM sleeps while the model is updated."""
        return self.at_rest + max(self.backward + self.head, self.sampling, self.scoring, self.vllm)


def shape_of(config: Any) -> Shape:
    """The sizes in a text configuration of transformers; what a kind of model lacks is as in the first transformers."""
    sizes: Mapping[str, Any] = config.to_dict()
    hidden, heads = config.hidden_size, sizes.get("num_attention_heads") or 1
    head = sizes.get("head_dim") or hidden // heads
    keys = sizes.get("num_key_value_heads") or heads
    inner = sizes.get("intermediate_size") or 4 * hidden
    return Shape(config.num_hidden_layers, hidden, heads * head, keys * head, inner, config.vocab_size)


def estimate(
    config: RunConfig,
    shape: Shape,
    *,
    num_weights: int,
    num_trained: int,
    longest_prompt: int,
    num_processes: int = 1,
    is_sharded: bool = False,
    gpu: int = 0,
) -> Memory:
    """What each of so many processes takes; `gpu` has the bytes of a GPU, of which vLLM takes its share."""
    shards = num_processes if is_sharded else 1
    has_adapters = bool(config.lora_rank or config.adapter)
    base = HALF if config.base_dtype == "bfloat16" else FULL
    frozen = base * num_weights if has_adapters else FULL * num_weights * has_copy(config)
    gathered = 0
    if is_sharded:  # a layer and the next, and embeddings
        width = HALF if config.dtype == "bfloat16" else FULL
        gathered = width * (2 * shape.weights_of_a_layer + shape.vocabulary * shape.hidden)
    elif config.dtype == "bfloat16" and base == FULL:
        gathered = HALF * shape.layers * shape.weights_of_a_layer  # copies that autocast keeps during a pass
    moments = MOMENTS_IN_8_BITS if "8bit" in str(config.trl.get("optim")) else MOMENTS
    share = config.trl.get("vllm_gpu_memory_utilization", VLLM_SHARE)
    length = longest_prompt + config.max_tokens
    per_process = -(-config.group_size * config.prompts_per_step // num_processes)
    micro_batch = min(config.micro_batch, per_process)
    return Memory(
        program=PROGRAM,
        weights=FULL * num_trained // shards,
        frozen=frozen // shards,
        gradients=FULL * num_trained // shards,
        moments=moments * num_trained // shards,
        backward=micro_batch * length * _kept(config, shape) + gathered,
        head=_tile(micro_batch * config.max_tokens, shape.vocabulary) * FULL * TILE_COPIES,
        sampling=0 if config.vllm else _sampling(shape, per_process, length) + gathered,
        scoring=_scoring(config, shape, length),
        vllm=int(float(share or 0) * gpu) if config.vllm else 0,
    )


def has_copy(config: RunConfig) -> bool:
    """Whether the policy before training is kept beside the trained one."""
    of_method = "base_log_prob" in calls.needs(calls.resolve(config.method), config.parameters)
    options = trainer.grpo_options(config.method, config.parameters)
    return bool(config.kl_strength or of_method or options.get("beta"))


def _kept(config: RunConfig, shape: Shape) -> int:
    """Bytes a token that the backward pass keeps: of all layers, or of their inputs and one layer at a time."""
    wide = KEPT_OF_HIDDEN * shape.hidden
    narrow = KEPT_OF_QUERY * shape.query + KEPT_OF_KEY * shape.key + KEPT_OF_INNER * shape.inner
    layer = FULL * (wide + narrow)
    if config.dtype == "bfloat16":  # what matrices are multiplied with is half as wide
        layer = FULL * wide + HALF * (2 * shape.hidden + narrow)
    return FULL * shape.hidden * shape.layers + layer if config.gradient_checkpointing else layer * shape.layers


def _tile(tokens: int, vocabulary: int) -> int:
    return min(tokens, HEAD_TILE[0]) * min(vocabulary, HEAD_TILE[1])


def _sampling(shape: Shape, rows: int, length: int) -> int:
    cache = 2 * shape.key * shape.layers * length  # keys and values are kept in float32
    return FULL * rows * (cache + LOGIT_COPIES * shape.vocabulary)


def _scoring(config: RunConfig, shape: Shape, length: int) -> int:
    """Of held-out samples: what draws them, or their logits and cache."""
    if not config.evaluation_problems or (config.task not in ("countdown", "lists") and not config.held_out):
        return 0
    settings = evaluate.Settings()
    rows = min(settings.batch, settings.slice_size * config.evaluation_samples)
    logits = min(scoring.LOGITS_AT_ONCE, rows * length * shape.vocabulary)
    at_once = max(1, scoring.LOGITS_AT_ONCE // (scoring.LEAST_PLACES * shape.vocabulary))
    cache = 2 * shape.key * shape.layers * length * min(config.evaluation_samples, at_once)
    return max(_sampling(shape, rows, length), FULL * (SCORING_COPIES * logits + cache))
