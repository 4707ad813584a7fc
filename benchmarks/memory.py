"""Peaks of memory above a process's own: scoring at a large vocabulary, and training beside the estimate of a plan.

    python -m benchmarks.memory scoring [--completions 64] [--tokens 1024] [--vocabulary 151936]
    python -m benchmarks.memory training [--case "5M float32"]

Each measurement is a process of its own, whose largest resident size is read at its end; subtracted is what it held
before it made or opened a model. Models have random weights. `training` makes two updates of a configuration and
compares with `llm.training.memory`, without what that counts for the program itself.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

GIB = 2**30


class Case(NamedTuple):
    """A small model and what is trained of it."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    inner: int
    vocabulary: int
    changes: dict[str, Any]


_SMALL = {"group_size": 8, "prompts_per_step": 8, "micro_batch": 32, "max_tokens": 128}
_135M = (576, 30, 9, 3, 1536, 49152)
_LARGE = {"group_size": 4, "prompts_per_step": 2, "micro_batch": 4, "max_tokens": 128}
CASES = {
    "5M float32": Case(256, 6, 8, 2, 768, 2000, _SMALL),
    "5M bfloat16": Case(256, 6, 8, 2, 768, 2000, {**_SMALL, "dtype": "bfloat16"}),
    "5M gradient checkpointing": Case(256, 6, 8, 2, 768, 2000, {**_SMALL, "gradient_checkpointing": True}),
    "5M LoRA": Case(256, 6, 8, 2, 768, 2000, {**_SMALL, "lora_rank": 16}),
    "5M KL": Case(256, 6, 8, 2, 768, 2000, {**_SMALL, "kl_strength": 0.01}),
    "135M float32": Case(*_135M, _LARGE),
    "135M LoRA, base in bfloat16": Case(
        *_135M, {**_LARGE, "lora_rank": 16, "dtype": "bfloat16", "base_dtype": "bfloat16"}
    ),
}


def resident() -> int:
    """Bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def largest() -> int:
    """The most bytes of this process that were in memory."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def scoring(given: argparse.Namespace) -> dict[str, float]:
    """Scores completions of one prompt under a model with a large vocabulary, and a few of them in another way."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from sharpening.llm.sampling import scoring as scored
    from sharpening.llm.sampling.models import LanguageModel

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=given.vocabulary,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2 * given.tokens,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    rng = np.random.default_rng(0)
    rows = rng.integers(0, given.vocabulary, (given.completions, given.tokens)).tolist()
    lm, before, began = LanguageModel(model, None, torch.device("cpu")), resident(), time.perf_counter()
    found = scored.score(lm, [1, 2, 3], rows)
    seconds, peak = time.perf_counter() - began, largest() - before
    with torch.no_grad():  # one completion, all its places at once and in float64
        logits = model(torch.tensor([[1, 2, 3, *rows[0]]]), use_cache=False).logits[0, 2:-1].double()
    whole = float(logits.log_softmax(-1)[range(given.tokens), rows[0]].sum())
    return {"peak": peak, "seconds": seconds, "error a token": abs(found.log_prob[0] - whole) / given.tokens}


def training(given: argparse.Namespace) -> dict[str, float]:
    """Makes two updates of a case and says what was used and what was expected."""
    import numpy as np
    import torch
    from transformers import AutoConfig, LlamaConfig, LlamaForCausalLM

    from sharpening.llm.countdown import problems as countdown
    from sharpening.llm.countdown.task import CountdownTask
    from sharpening.llm.sampling import models
    from sharpening.llm.training import memory, preflight, run, warm_start
    from sharpening.llm.training.configs import RunConfig
    from sharpening.llm.training.problems import Problems

    case = CASES[given.case]
    settings = countdown.Settings(num_numbers=4, largest_number=50, max_target=100, operators="+-*/")
    tokenizer = warm_start.make_tokenizer(case.vocabulary - 10)  # all words of the model but the operators
    shape = dict(hidden_size=case.hidden, intermediate_size=case.inner, num_hidden_layers=case.layers)
    shape |= dict(num_attention_heads=case.heads, num_key_value_heads=case.key_heads, tie_word_embeddings=True)
    ends = dict(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None)
    with tempfile.TemporaryDirectory() as folder:
        model = LlamaForCausalLM(LlamaConfig(vocab_size=case.vocabulary, **shape, **ends))
        model.generation_config = models.plain_sampling(None, tokenizer)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        del model
        config = RunConfig(model=folder, method="ds", steps=2, evaluation_problems=0, **case.changes)
        drawn = countdown.distinct(settings, np.random.default_rng(0), 32)
        problems = Problems(CountdownTask(drawn, operators=settings.operators), None, [])
        skeleton = LlamaForCausalLM._from_config(AutoConfig.from_pretrained(folder))
        num_weights = skeleton.num_parameters()
        num_trained = preflight.num_lora_weights(skeleton, config.lora_rank) if config.lora_rank else num_weights
        sizes = memory.shape_of(skeleton.config)
        del skeleton
        wanted = memory.estimate(config, sizes, num_weights=num_weights, num_trained=num_trained, longest_prompt=7)
        before = resident()
        trained = run.make_trainer(config, folder, problems, Path(folder) / "run")
        trained.args.save_strategy = "no"
        trained.generation_config.min_new_tokens = config.max_tokens
        trained.train()
        torch.set_grad_enabled(False)
    used = largest() - before
    return {"weights": num_weights, "used": used, "expected": wanted.peak - wanted.program}


MEASUREMENTS = {"scoring": scoring, "training": training}


def in_a_process(arguments: list[str]) -> dict[str, float]:
    """What a measurement in a new process says."""
    settings = {"OMP_NUM_THREADS": "1", "TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}
    settings |= {"MALLOC_TRIM_THRESHOLD_": "0", "MALLOC_MMAP_THRESHOLD_": "65536"}  # freed memory goes back at once
    launch = [sys.executable, "-W", "ignore", "-m", "benchmarks.memory", *arguments, "--here"]
    done = subprocess.run(launch, env=os.environ | settings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> None:
    """Measures and prints a line for each measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=MEASUREMENTS)
    parser.add_argument("--completions", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--case", choices=CASES, help="one case of training; else all of them")
    parser.add_argument("--here", action="store_true", help="measure in this process")
    given = parser.parse_args()
    if given.here:
        print(json.dumps(MEASUREMENTS[given.what](given)))
    elif given.what == "scoring":
        sizes = ("completions", "tokens", "vocabulary")
        found = in_a_process(["scoring", *(f"--{name}={getattr(given, name)}" for name in sizes)])
        print(
            f"{given.completions} completions of {given.tokens} tokens, {given.vocabulary} words: "
            f"{found['peak'] / GIB:.2f} GiB above the model, {found['seconds']:.0f} s; "
            f"off by {found['error a token']:.1e} nats a token from float64 logits"
        )
    else:
        for case in [given.case] if given.case else CASES:
            found = in_a_process(["training", "--case", case])
            print(
                f"{case:<28} {found['weights'] / 1e6:6.1f}M weights: {found['used'] / GIB:5.2f} GiB used, "
                f"{found['expected'] / GIB:5.2f} expected, ratio {found['expected'] / found['used']:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
