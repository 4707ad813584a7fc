"""Settings and architectures at 1 to 8 billion weights: plain data, every value with where it comes from.

What the paper's own tables were made with is mostly not known. `scripts` are the training scripts of a public verl fork
of a co-author, which is not an announced release; `plan` is a third party's plan to reproduce the paper; `sister` is
arXiv 2605.24396 by the same first author, with public code. Everything else is ours.

The architectures are those of the models' published configurations, so that a run can be planned without their files.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Sourced = Mapping[str, tuple[Any, str]]
PLAN = "plan of a reproduction (arXiv 2511.19942's own value not known)"
SCRIPTS = "scripts of a co-author's fork (arXiv 2511.19942's own value not known)"
SISTER = "not known, ours: as arXiv 2605.24396 by the same first author"
OURS = "not known, ours"


class Architecture(NamedTuple):
    """A model as its configuration publishes it, and the number of weights that its page says."""

    kind: str  # transformers' model_type
    sizes: Mapping[str, Any]
    num_weights: int
    source: str


def _sizes(hidden: int, inner: int, layers: int, heads: int, key_heads: int, words: int, **more: Any) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_heads,
        "vocab_size": words,
        **more,
    }


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "Qwen/Qwen2.5-3B-Instruct": Architecture(
            "qwen2",
            _sizes(2048, 11008, 36, 16, 2, 151936, tie_word_embeddings=True),
            3_085_938_688,
            "config.json and page of Qwen/Qwen2.5-3B-Instruct",
        ),
        "Qwen/Qwen2.5-Math-1.5B": Architecture(
            "qwen2",
            _sizes(1536, 8960, 28, 12, 2, 151936, tie_word_embeddings=True),
            1_543_714_304,
            "config.json and page of Qwen/Qwen2.5-Math-1.5B",
        ),
        "Qwen/Qwen2.5-Math-7B": Architecture(
            "qwen2",
            _sizes(3584, 18944, 28, 28, 4, 152064, tie_word_embeddings=False),
            7_615_616_512,
            "config.json and page of Qwen/Qwen2.5-Math-7B",
        ),
        "Qwen/Qwen3-1.7B": Architecture(
            "qwen3",
            _sizes(2048, 6144, 28, 16, 8, 151936, head_dim=128, tie_word_embeddings=True),
            1_720_574_976,
            "config.json of Qwen/Qwen3-1.7B; its head shares the embeddings",
        ),
        "mistralai/Ministral-8B-Instruct-2410": Architecture(
            "mistral",
            _sizes(4096, 12288, 36, 32, 8, 131072, head_dim=128, tie_word_embeddings=False),
            8_019_808_256,
            "page of mistralai/Ministral-8B-Instruct-2410; its sliding windows change no size of weights",
        ),
    }
)

_OURS: Sourced = {
    "dtype": ("bfloat16", OURS),
    "gradient_checkpointing": (True, OURS),
    "vllm": (True, OURS),
    "rise": (0, OURS),
    "loss": ("dapo", f"{SCRIPTS}: a mean over tokens"),
    "kl_strength": (0.0, SCRIPTS),
    "group_size": (8, SCRIPTS),
    "updates_per_batch": (1, SCRIPTS),
    "mini_batches": (1, f"{SCRIPTS}: of 32 prompts"),
    "save_every": (50, OURS),
    "evaluate_every": (50, OURS),
    "evaluation_samples": (16, SCRIPTS),
}
_MATH: Sourced = {
    **_OURS,
    "task": ("math", SCRIPTS),
    "problems": ("math_train.jsonl", f"a file of yours; {SCRIPTS}: MATH with dapo14k, or dapo17k"),
    "temperature": (0.7, SCRIPTS),
    "max_tokens": (2048, SCRIPTS),
    "steps": (600, f"{OURS}; the scripts make 2 to 6 epochs"),
    "micro_batch": (4, OURS),
}
_TOKEN = "first form of the scripts: each token's own log-probability"
PRESETS: Mapping[str, Sourced] = MappingProxyType(
    {
        "countdown-qwen2.5-3b": {
            **_OURS,
            "model": ("Qwen/Qwen2.5-3B-Instruct", PLAN),
            "method": ("ds_reward", f"{SCRIPTS}: last form, named after Countdown"),
            "parameters": ({"gamma_correct": 0.01, "gamma_incorrect": 0.01}, SCRIPTS),
            "text_format": ("chat", OURS),
            "countdown": (
                {"num_numbers": 4, "largest_number": 99, "operators": "+-*/", "max_target": 100},
                f"{PLAN}: 3 or 4 integers, + - * /; the rest ours",
            ),
            "num_problems": (20_000, OURS),
            "group_size": (5, SISTER),
            "prompts_per_step": (128, SISTER),
            "mini_batches": (2, f"{SISTER}: of 64 prompts"),
            "micro_batch": (4, OURS),
            "max_tokens": (1024, SISTER),
            "temperature": (1.0, OURS),
            "learning_rate": (1e-6, SISTER),
            "kl_strength": (0.0, "not known, ours: as the scripts for mathematics; arXiv 2605.24396 has .001"),
            "steps": (800, f"{PLAN}: until the reward saturates; arXiv 2605.24396 draws 402 batches, two updates each"),
        },
        "math-qwen2.5-math-1.5b": {
            **_MATH,
            "model": ("Qwen/Qwen2.5-Math-1.5B", SCRIPTS),
            "method": ("ds_reward", f"{SCRIPTS}: last form"),
            "parameters": ({"gamma_correct": 0.01, "gamma_incorrect": 0.01}, SCRIPTS),
            "prompts_per_step": (32, SCRIPTS),
            "learning_rate": (1e-6, SCRIPTS),
            "trl": ({"epsilon_high": 0.25}, SCRIPTS),
        },
        "math-qwen2.5-math-7b": {
            **_MATH,
            "model": ("Qwen/Qwen2.5-Math-7B", SCRIPTS),
            "method": ("ds_token", f"{SCRIPTS}: {_TOKEN}"),
            "parameters": ({"gamma_correct": 0.01, "gamma_incorrect": 0.01}, SCRIPTS),
            "prompts_per_step": (32, f"{SCRIPTS}: 32 or 128"),
            "learning_rate": (1e-6, SCRIPTS),
            "trl": ({"epsilon_high": 0.25}, f"{SCRIPTS}: .2, .22 or .25"),
        },
        "math-qwen3-1.7b": {
            **_MATH,
            "model": ("Qwen/Qwen3-1.7B", SCRIPTS),
            "method": ("ds_token", f"{SCRIPTS}: {_TOKEN}"),
            "parameters": (
                {"gamma_correct": 0.02, "gamma_incorrect": 0.002},
                f"{SCRIPTS}: -.02 and +.002, read in their first form",
            ),
            "prompts_per_step": (64, SCRIPTS),
            "mini_batches": (2, f"{SCRIPTS}: of 32 prompts"),
            "max_tokens": (4096, SCRIPTS),
            "learning_rate": (5e-7, SCRIPTS),
            "micro_batch": (2, OURS),
            "trl": ({"epsilon_high": 0.2}, SCRIPTS),
        },
        "math-ministral-8b": {
            **_MATH,
            "model": ("mistralai/Ministral-8B-Instruct-2410", SCRIPTS),
            "method": ("ds_token", f"{OURS}; the scripts have an ablation only, with the sign of an entropy penalty"),
            "parameters": ({"gamma_correct": 0.01, "gamma_incorrect": 0.01}, OURS),
            "prompts_per_step": (128, SCRIPTS),
            "mini_batches": (4, f"{SCRIPTS}: of 32 prompts"),
            "save_every": (100, OURS),
            "evaluate_every": (100, OURS),
            "learning_rate": (3e-7, SCRIPTS),
            "trl": ({"epsilon_high": 0.25}, SCRIPTS),
        },
    }
)


def values(preset: str) -> dict[str, Any]:
    """The fields of a preset without their sources."""
    return {name: value for name, (value, _) in PRESETS[preset].items()}
