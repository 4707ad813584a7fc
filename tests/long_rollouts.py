"""Made-up rollouts of long answers, as a reasoning model gives them: several hundred tokens, most of them near certain.

Nothing is claimed about a model: the numbers are realistic in size only, and come from a seed.
"""

from __future__ import annotations

import json

import numpy as np


def jsonl(seed: int = 0, num_prompts: int = 32, group_size: int = 8, shortest: int = 400, longest: int = 1200) -> str:
    """JSON lines of completions of `shortest` to `longest` tokens, correct ones a bit likelier and shorter.

    A token costs -0.5 nats on the average, 0.45 where the answer is correct: a gamma distribution of shape 1/4, so most
    cost nearly nothing.
    """
    rng = np.random.default_rng(seed)
    lines = []
    for prompt in range(num_prompts):
        difficulty = rng.uniform(0.0, 1.0)
        middle = rng.uniform(shortest, longest)
        for _ in range(group_size):
            correct = bool(rng.random() > difficulty)
            drawn = rng.normal(middle - 50 * correct, 120)
            num_tokens = int(np.clip(drawn, shortest, longest))
            mean = (0.45 if correct else 0.5) * rng.uniform(0.8, 1.2)
            costs = rng.gamma(0.25, mean / 0.25, num_tokens)
            row = {"prompt": f"p{prompt}", "reward": float(correct), "correct": correct}
            lines.append(json.dumps({**row, "token_log_probs": [round(-cost, 4) for cost in costs]}))
    return "\n".join(lines) + "\n"
