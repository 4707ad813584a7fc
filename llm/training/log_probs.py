"""Log-probabilities of the tokens that a model wrote in TRL's trainer: when it sampled, and before training.

They are the trained model's at the sampling temperature: TRL's where it has them (several updates a batch; vLLM with
its importance sampling correction, whose ratio then leads from the engine's numbers to these), else those of one pass
without gradient. The engine's own are never taken: it may leave tokens out, and the ratio in the loss starts from the
model's. Cuts by top-k or top-p do not enter.

A completion that `mask_truncated_completions` takes out of the loss has its true log-probability here: TRL hides its
tokens from its own passes, so with that option none of TRL's numbers are taken.

The policy before training is a frozen copy of the model; of adapters, whether new or trained before, a copy of their
weights, which takes the place of the trained ones for a pass.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from trl.trainer import add_fused_lm_head

IGNORED = -100  # label of a token that is not scored


class Policies:
    """The sampling policy and the one before training, of one of TRL's trainers."""

    def __init__(self, trained: Any, *, needs_base: bool, needs_top_token: bool) -> None:
        """Copies what is needed of the policy before training; raises ValueError where it cannot be kept."""
        if needs_top_token:  # TRL's head in tiles, told to say this too
            model = trained.accelerator.unwrap_model(trained.model)
            add_fused_lm_head(
                model.get_base_model() if hasattr(model, "get_base_model") else model,
                temperature=trained.temperature,
                cast_lm_head_to_fp32=trained.args.cast_lm_head_to_fp32,
                outputs=("log_probs", "entropy", "is_top1"),
            )
        self.trained = trained
        self.source = ""
        self._base: Any = None
        self._adapters: dict[str, Tensor] = {}
        if needs_base:
            self._keep_base(trained.accelerator.unwrap_model(trained.model))

    def _keep_base(self, model: Any) -> None:
        trained, is_sharded = self.trained, self.trained.is_fsdp_enabled or self.trained.is_deepspeed_enabled
        if hasattr(model, "disable_adapter"):
            named = dict(model.named_parameters())
            if not is_sharded:
                self._adapters = {name: one.detach().clone() for name, one in named.items() if one.requires_grad}
            elif not trained.beta and any(one.any() for name, one in named.items() if "lora_B" in name):
                raise ValueError("beta is 0: adapters that were trained before, in shards: want beta above 0")
        elif trained.beta:
            self._base = trained.ref_model
        elif is_sharded:
            raise ValueError("beta is 0: of shards only TRL can keep the policy before training: want beta above 0")
        else:
            self._base = copy.deepcopy(model).eval().requires_grad_(False)

    def of_sampling(self, batch: Mapping[str, Any], is_written: Tensor) -> Tensor:
        """Under the policy that sampled; anything where the model wrote nothing.

        Shapes:   is_written: (num_completions, num_positions), tokens of the completion. Returns the same shape.
        """
        is_known = "old_per_token_logps" in batch and not self.trained.args.mask_truncated_completions
        self.source = "trl" if is_known else "forward"
        found: Tensor = (
            batch["old_per_token_logps"] if is_known else self._forward(self.trained.model, batch, is_written)
        )
        return found

    def of_base(self, batch: Mapping[str, Any], is_written: Tensor) -> Tensor:
        """Under the policy before training, as `of_sampling`."""
        if "ref_per_token_logps" in batch and not self.trained.args.mask_truncated_completions:
            found: Tensor = batch["ref_per_token_logps"]
            return found
        if self._base is not None:
            return self._forward(self._base, batch, is_written)
        with self._before_training(self.trained.accelerator.unwrap_model(self.trained.model)):
            return self._forward(self.trained.model, batch, is_written)

    @contextlib.contextmanager
    def _before_training(self, model: Any) -> Iterator[None]:
        """The adapters as they were; new ones of a sharded model are put off, as they added nothing."""
        if not self._adapters:
            with model.disable_adapter():
                yield
            return
        trained = {name: one for name, one in model.named_parameters() if name in self._adapters}
        now = {name: one.detach().clone() for name, one in trained.items()}
        _put(trained, self._adapters)
        try:
            yield
        finally:
            _put(trained, now)

    def _forward(self, model: Any, batch: Mapping[str, Any], is_written: Tensor) -> Tensor:
        """Log-probabilities of the completions' tokens at the sampling temperature, without gradient."""
        ids, mask = sequences(batch, is_written)
        size, width = self.trained.args.per_device_train_batch_size, is_written.size(1)
        found: Tensor
        with torch.no_grad():
            found, *_ = self.trained._get_per_token_logps_and_entropies(model, ids, mask, width, batch_size=size)
        return found

    def is_top_token(self, batch: Mapping[str, Any], is_written: Tensor) -> Tensor:
        """1.0 where the sampled token was the likeliest under the sampling policy.

        Shapes:   as `of_sampling`.
        """
        size, width = self.trained.args.per_device_train_batch_size, is_written.size(1)
        rows = []
        with torch.no_grad():
            for ids, mask in zip(*(torch.split(part, size) for part in sequences(batch, is_written)), strict=True):
                labels = ids.masked_fill(mask == 0, IGNORED)
                with self.trained.accelerator.autocast():
                    found = self.trained.model(input_ids=ids, attention_mask=mask, labels=labels, fused_lm_head=True)
                rows.append(found.is_top1[:, -width:])
        return torch.cat(rows).to(batch["advantages"].dtype)


@torch.no_grad()
def _put(weights: Mapping[str, Any], values: Mapping[str, Tensor]) -> None:
    for name, one in weights.items():
        one.copy_(values[name])


def is_written(batch: Mapping[str, Any], completion_ids: Sequence[Sequence[int]]) -> Tensor:
    """1 for the tokens of each completion and 0 for padding, whatever the loss counts.

    Shapes:   (num_completions, num_positions).
    """
    ids = batch["completion_ids"]
    num_tokens = torch.tensor([len(row) for row in completion_ids], device=ids.device)
    return (torch.arange(ids.size(1), device=ids.device) < num_tokens[:, None]).long()


def sequences(batch: Mapping[str, Any], is_written: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens of prompt and completion, and their mask.

    Shapes:   (num_completions, num_prompt_positions + num_positions) each.
    """
    if "num_images" in batch:
        raise ValueError("prompt holds images: a pass of its own reads text only: want prompts without images")
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], is_written], dim=1)
