"""Whether the loss's own log-probabilities serve as those of the sampling policy, and advantages made from them.

TRL makes no pass outside the loss where all micro-batches of a batch of completions belong to one update: the policy
that is trained there is the one that sampled, so what the loss computes anyway, detached, is its log-probability. What
a completion earns can then be decided inside the loss. Three cases:

1. A term of the completion's own log-probability, in any micro-batch.
2. Terms over the group, where one micro-batch is a process's whole batch: TRL shuffles before it splits.
3. Everything else: what TRL has (several updates a batch, vLLM's correction), or a pass without gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from sharpening.llm.training import options
from sharpening.theory.methods.table import Method

SEES_ADVANTAGES = (
    *options.LOSSES,
    "_prepare_inputs",
    "training_step",
)  # what a subclass may read them in before the loss
OWN = "own_"  # begins the names of what a batch carries of every token


class Source(NamedTuple):
    """Where log-probabilities of the sampling policy come from, in one word and in a line to print."""

    kind: Literal["none", "trl", "own", "group", "pass"]
    line: str

    @property
    def is_loss(self) -> bool:
        """Whether the loss gives them."""
        return self.kind in ("own", "group")


def source_of(trained: Any, method: Method, values: Mapping[str, Any], *, is_needed: bool) -> Source:
    """What a run can do; an update that has fewer micro-batches than the others does less, see `Window`.

    A subclass of GRPOTrainer that may look at the advantages before the loss has to see the right ones.
    """
    args = trained.args
    generate_every = args.steps_per_generation * trained.num_iterations
    if not is_needed:
        return Source("none", "not needed")
    if args.mask_truncated_completions:
        return Source("pass", "a pass of its own: mask_truncated_completions hides tokens from the loss")
    if args.gradient_accumulation_steps % generate_every:
        return Source("trl", "those that TRL computes for its ratios")
    if trained.use_vllm and trained.vllm_importance_sampling_correction:
        return Source("trl", "those that TRL computes for vLLM's correction")
    own = [name for one in options.above_trl(trained.base) for name in SEES_ADVANTAGES if name in one.__dict__]
    if own:
        return Source("pass", f"a pass of its own: {trained.base.__name__} has a {own[0]} of its own")
    if args.use_liger_kernel:
        return Source("pass", "a pass of its own: use_liger_kernel is on")
    if method.reads_own_log_prob_only(values):
        return Source("own", "the loss's own, at no cost: the term of a completion needs no other's")
    if args.steps_per_generation == 1:
        return Source("group", "the loss's own, at no cost: a micro-batch is a process's whole batch")
    return Source(
        "pass", "a pass of its own: the method compares a group's, and a micro-batch holds a part of the batch"
    )


class Window:
    """Counts the losses since the last update, and says whether a batch of completions is used up before the next."""

    def __init__(self, trained: Any) -> None:
        """Takes the trainer."""
        self._trained = trained
        self._update, self._num_losses = -1, 0

    def count(self) -> None:
        """Notes a loss of training."""
        update = self._trained.state.global_step
        self._num_losses = self._num_losses + 1 if update == self._update else 1
        self._update = update

    def holds_a_batch(self) -> bool:
        """Whether all losses with completions that are drawn now come before the next update."""
        trained = self._trained
        made = self._num_losses if trained.state.global_step == self._update else 0
        left: int = trained.current_gradient_accumulation_steps - made
        needed: int = trained.args.steps_per_generation * trained.num_iterations
        return left >= needed


class Late:
    """A batch of completions whose advantages are made inside the loss, as its micro-batches come."""

    def __init__(self, grouped: Mapping[str, Tensor], num_completions: int, *, is_own: bool) -> None:
        """Takes the inputs of all processes' groups but log_prob, (num_groups, group_size), and this one's share."""
        self.grouped, self._left, self._is_own = grouped, num_completions, is_own
        self._made: list[tuple[Tensor, Tensor, Tensor]] = []

    def completed(self, log_prob: Tensor, place: Tensor, gather: Any) -> tuple[dict[str, Tensor], Tensor]:
        """The inputs with log-probabilities, and where in them the completions of a micro-batch are.

        For terms of a completion's own log-probability its group is repeated for it, the others' are 0 and mean
        nothing.
        Shapes:   log_prob, place: (num_completions,), of the micro-batch; place counts all processes' completions.
        """
        num_groups, group_size = self.grouped["reward"].shape
        if self._is_own:
            rows, slot = torch.arange(len(place), device=place.device), place % group_size
            grouped = {name: values[place // group_size] for name, values in self.grouped.items()}
            own = log_prob.new_zeros(len(place), group_size)
            own[rows, slot] = log_prob
            return {**grouped, "log_prob": own}, rows * group_size + slot
        everywhere = log_prob.new_empty(num_groups * group_size)
        everywhere[gather(place)] = gather(log_prob)
        return {**self.grouped, "log_prob": everywhere.view(num_groups, group_size)}, place

    def add(self, place: Tensor, plain: Tensor, shaped: Tensor) -> tuple[Tensor, Tensor] | None:
        """Keeps a micro-batch's advantages; with the last one gives all of this process in the order of drawing."""
        if not self._left:
            return None  # used again, for another pass over the same completions
        self._made.append((place, plain, shaped))
        self._left -= len(place)
        if self._left:
            return None
        places, plains, shapeds = (torch.cat(part) for part in zip(*self._made, strict=True))
        order = places.argsort()
        return plains[order], shapeds[order]


def mask_of(batch: Mapping[str, Any]) -> Tensor:
    """1 for the tokens that the model wrote, as the loss counts them."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def by_completion(advantages: Tensor, batch: Mapping[str, Any]) -> Tensor:
    """One number a completion: the mean over its tokens where each has an advantage of its own."""
    if advantages.dim() == 1:
        return advantages
    mask = mask_of(batch)
    return (advantages * mask).sum(1) / mask.sum(1).clamp(min=1)
