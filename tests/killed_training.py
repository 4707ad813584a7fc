"""Trains in a folder, killed by SIGKILL at random moments and started again until it ends: run by test_train.py.

The packages are imported once; every attempt is a fork of this process, so that a kill costs no import.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch
from transformers import TrainerCallback

from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.training import checkpoints, run
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.problems import Problems
from tests.language_models import SETTINGS

MOST_STEPS = 4  # that an attempt begins before it is killed: ten attempts do not get to the end of a run of 16


class Reports(TrainerCallback):
    """Writes a byte at the beginning of every step."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        os.write(self.pipe, b".")


def attempt(config: RunConfig, folder: Path, pipe: int) -> None:
    """One start of the run, from its last checkpoint that counts, whose name it prints."""
    torch.set_num_threads(1)
    problems = countdown.distinct(SETTINGS, np.random.default_rng(0), 32)
    task = CountdownTask(problems, operators=SETTINGS.operators)
    trained = run.make_trainer(config, config.model, Problems(task, None, []), folder)
    trained.add_callback(Reports(pipe))
    last, _ = checkpoints.last(folder)
    sys.stdout.write(f"{last.name if last else 'start'}\n")
    sys.stdout.flush()
    os.write(pipe, b".")
    run.run(trained, config, last)
    trained.save_model(str(folder / "model"))


def fork(config: RunConfig, folder: Path) -> tuple[int, int]:
    """The process of an attempt, and where to read its reports: a byte as it is ready, one at every step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        attempt(config, folder, writing)
        os._exit(0)
    os.close(writing)
    return child, reading


def main(model: str, folder: Path, num_kills: int) -> None:
    """One attempt in whole/ that ends; then in killed/ that many that are killed, and one that ends.

    A kill comes at a random moment within a random step, the time before the first step and that of its checkpoint
    included. Prints where each attempt started, and at last how many kills hit.
    """
    config = RunConfig(
        model=model, group_size=8, prompts_per_step=4, micro_batch=32, steps=16, learning_rate=1e-3, max_tokens=8,
        save_every=2, evaluation_problems=0, updates_per_batch=2, method="ds", parameters={"gamma_correct": 0.2},
    )  # fmt: skip
    child, reports = fork(config, folder / "whole")
    began = time.monotonic()
    while os.read(reports, 1):
        last, began = time.monotonic() - began, time.monotonic()  # in the end: of the last step and what follows it
    os.waitpid(child, 0)
    moments = random.Random(0)
    num_hits = 0
    for place in range(num_kills + 1):
        child, reports = fork(config, folder / "killed")
        if place < num_kills:
            for _ in range(moments.randint(1, 1 + MOST_STEPS)):
                os.read(reports, 1)
            time.sleep(last * moments.random())
            os.kill(child, signal.SIGKILL)
        num_hits += os.waitpid(child, 0)[1] == signal.SIGKILL
    sys.stdout.write(f"{num_hits}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
