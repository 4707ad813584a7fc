"""Sampling with vLLM where it is installed. Not tried here: written against its documentation, vLLM needs a GPU.

Log-probabilities are those of the sampled tokens at the sampling temperature; entropies are not told.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sharpening.llm.sampling import adapters
from sharpening.llm.sampling.evaluate import Completion, Sampler, Settings
from sharpening.llm.sampling.models import Dtype


def vllm_sampler(model: str, dtype: Dtype) -> Sampler:
    """A sampler of the model by vLLM, which batches by itself.

    Raises ValueError where vLLM is not installed, and for an adapter.
    """
    if adapters.base_of(model) is not None:
        raise ValueError(f"--engine: 'vllm': {model!r} is an adapter: want transformers, or the merged model")
    try:
        from vllm import LLM, SamplingParams
    except ModuleNotFoundError:
        raise ValueError("--engine: 'vllm': it is not installed: want `pip install vllm`, or transformers") from None
    engine = LLM(
        model=model,
        dtype=dtype,
        trust_remote_code=False,
        load_format="safetensors",
        logprobs_mode="processed_logprobs",
    )

    def sampler(prompts: list[list[int]], settings: Settings, batch: int, seed: int) -> list[list[Completion]]:
        params = [
            SamplingParams(
                n=settings.n,
                temperature=settings.temperature,
                top_p=1.0,
                top_k=-1,
                max_tokens=settings.max_tokens,
                seed=int(one),
                logprobs=0,
            )
            for one in np.random.SeedSequence(seed).generate_state(len(prompts))  # or all prompts had the same numbers
        ]
        outputs = engine.generate([{"prompt_token_ids": prompt} for prompt in prompts], params, use_tqdm=False)
        return [[_completion(one) for one in output.outputs] for output in outputs]

    return sampler


def _completion(output: Any) -> Completion:
    return Completion(
        tuple(output.token_ids), output.finish_reason == "stop", float(output.cumulative_logprob), math.nan
    )
