"""A small language model that several tests share, trained once a process in a few seconds: Q about .1, half-learnt."""

import atexit
import functools
import tempfile
from pathlib import Path

import torch

from llm import countdown, tiny
from llm.models import LanguageModel

SETTINGS = countdown.Settings(num_numbers=3, largest_number=6, max_target=20, operators="+-*")
CONFIG = tiny.WarmStart(
    architecture="qwen3",
    width=48,
    layers=2,
    problems=SETTINGS,
    pool=200,
    skew=1.0,
    steps=200,
    batch=64,
    learning_rate=5e-3,
    seed=0,
)


@functools.cache
def small_model() -> LanguageModel:
    """A model of problems with 3 numbers of 1-6, operators + - * and targets 1-20; not to be changed."""
    torch.set_num_threads(1)
    lm = tiny.make_model(CONFIG)
    for _ in tiny.train(lm, CONFIG):
        pass
    return lm


@functools.cache
def saved_model() -> Path:
    """The folder of the same model, as save_pretrained writes it; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="small-model-")
    atexit.register(folder.cleanup)
    lm = small_model()
    lm.model.save_pretrained(folder.name)
    lm.tokenizer.save_pretrained(folder.name)
    return Path(folder.name)
