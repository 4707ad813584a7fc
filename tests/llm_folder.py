"""A working folder for tests of `llm`: a small model, configurations, data and verifiers."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

from sharpening.llm.countdown import problems as countdown
from tests.language_models import saved_model

RUN: dict[str, Any] = {
    **dict(model="model", parameters={"gamma_correct": 0.2}, num_problems=20, group_size=4, prompts_per_step=4),
    **dict(micro_batch=16, steps=4, save_every=2, evaluate_every=2, evaluation_problems=3, max_tokens=6),
    **dict(learning_rate=1e-3),
}
OWN: dict[str, Any] = {**RUN, "task": "own", "problems": "own.jsonl", "problem_column": "prompt"}
OWN |= {"verifier": "verifier.py:even", "solution_column": "solution"}
HELD_OUT = next(one for one in map(countdown.Problem, [(1, 2)] * 99, range(99)) if countdown.split_of(one) == "test")
VERIFIERS = """
def even(completion, answer):
    return None if not completion else len(completion) % 2 == 0
def fails(completion, answer):
    return 1 / 0
def three(completion, answer):
    return 3
def word(completion, answer):
    return "True"
def leaves(completion, answer):
    raise SystemExit(3)
def nan(reward):
    return reward * float("nan")
def divides(reward):
    return (reward - reward.mean(-1, keepdims=True)) / reward.std(-1, keepdims=True)
def divides_by_likelihood(reward, log_prob):
    return reward / log_prob.std(-1, keepdims=True)
def breaks(reward, scale=2.0):
    wide = reward * scale
    return wide.keys()
def never(completion, answer):
    return False
"""


def fill(folder: Path) -> Path:
    """Puts all of it into an empty folder."""
    shutil.copytree(saved_model(), folder / "model")
    (folder / "run.yaml").write_text(yaml.safe_dump(RUN))
    (folder / "own.yaml").write_text(yaml.safe_dump(OWN))
    lines = [{"prompt": f"numbers 1 2 target {n}", "answer": n, "solution": "1 2 "} for n in range(1, 9)]
    (folder / "own.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    others = [{"prompt": f"numbers 2 1 target {n}", "answer": n} for n in range(1, 5)]
    (folder / "others.jsonl").write_text("\n".join(map(json.dumps, others)))
    (folder / "verifier.py").write_text(VERIFIERS)
    (folder / "tests.jsonl").write_text(json.dumps({"numbers": HELD_OUT.numbers, "target": HELD_OUT.target}))
    (folder / "file").write_text("kept")
    return folder


def names(folder: Path) -> set[str]:
    """All files in a folder, but for Python's caches."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "__pycache__" not in path.parts}
