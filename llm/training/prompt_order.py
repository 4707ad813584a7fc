"""The order of prompts: TRL's, which starts over when a run is resumed after its first epoch, made to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch


class PromptOrder:
    """TRL's sampler, whose permutation of an epoch follows from the seed and the epoch alone."""

    def __init__(self, sampler: Any, epoch: Callable[[], int]) -> None:
        """Takes TRL's sampler, and what says which epoch it is."""
        self.sampler, self.epoch = sampler, epoch

    def __len__(self) -> int:
        """The number of prompts of an epoch."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        """The places of the prompts of an epoch."""
        generator = self.sampler.generator.manual_seed(self.sampler.seed)
        for _ in range(self.epoch()):
            torch.randperm(self.sampler.num_samples, generator=generator)
        yield from self.sampler
