"""Trains in a folder, killed by SIGKILL at random moments and started again until it ends: run by test_train.py.

The packages are imported once; every attempt is a fork of this process, so that a kill costs no import.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1", TOKENIZERS_PARALLELISM="false")

import numpy as np
import torch

from llm import checkpoints, countdown, train
from llm.configs import RunConfig
from llm.countdown_task import CountdownTask
from tests.language_models import SETTINGS

SHARE = 0.6  # of the time that a whole run takes: the most that an attempt gets before it is killed


def attempt(config: RunConfig, folder: Path) -> None:
    """One start of the run, from its last checkpoint that counts, whose name it prints."""
    torch.set_num_threads(1)
    problems = countdown.distinct(SETTINGS, np.random.default_rng(0), 32)
    task = CountdownTask(problems, operators=SETTINGS.operators)
    trained = train.make_trainer(config, config.model, train.Problems(task, None, []), folder)
    last, _ = checkpoints.last(folder)
    sys.stdout.write(f"{last.name if last else 'start'}\n")
    sys.stdout.flush()
    train.run(trained, config, last)
    trained.save_model(str(folder / "model"))


def fork(config: RunConfig, folder: Path) -> int:
    """The process of an attempt."""
    child = os.fork()
    if child == 0:
        attempt(config, folder)
        os._exit(0)
    return child


def main(model: str, folder: Path, num_kills: int) -> None:
    """One attempt in whole/ that ends; then in killed/ that many that are killed, and one that ends.

    Prints where each started, and at last how many kills hit.
    """
    config = RunConfig(
        model=model, group_size=8, prompts_per_step=4, micro_batch=32, steps=16, learning_rate=1e-3, max_tokens=8,
        save_every=2, evaluation_problems=0, updates_per_batch=2, method="ds", parameters={"gamma_correct": 0.2},
    )  # fmt: skip
    began = time.monotonic()
    os.waitpid(fork(config, folder / "whole"), 0)
    longest = SHARE * (time.monotonic() - began)
    moments = random.Random(0)
    num_hits = 0
    for place in range(num_kills + 1):
        child = fork(config, folder / "killed")
        if place < num_kills:
            time.sleep(longest * moments.random())
            os.kill(child, signal.SIGKILL)
        num_hits += os.waitpid(child, 0)[1] == signal.SIGKILL
    sys.stdout.write(f"{num_hits}\n")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
