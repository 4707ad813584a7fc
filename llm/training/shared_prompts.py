"""Each prompt read once for all its completions: in TRL's passes over them, and by generate.

The keys and values of a prompt, all but its last token, are computed once and taken for each completion; gradients go
through them. Probabilities are the same up to rounding, so a run is another run with it and not a different one.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer


class SharedPrompts(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, in one process and without gradient checkpointing, that reads no prompt twice in a micro-batch."""

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Tensor, attention_mask: Tensor, logits_to_keep: int, *args: Any, **given: Any
    ) -> Any:
        def shared(input_ids: Tensor, attention_mask: Tensor, labels: Tensor, **inputs: Any) -> Any:
            place = input_ids.size(1) - logits_to_keep - 1  # of the last token of the prompts: it predicts the first
            if place:
                inputs["past_key_values"] = _read(model, input_ids[:, :place], attention_mask[:, :place])
            return model(
                input_ids=input_ids[:, place:], attention_mask=attention_mask, labels=labels[:, place:], **inputs
            )

        return super()._get_per_token_logps_and_entropies(
            shared, input_ids, attention_mask, logits_to_keep, *args, **given
        )

    def _generate_single_turn(self, *args: Any, **given: Any) -> Any:
        model = self.accelerator.unwrap_model(self.model_wrapped)
        generate = model.generate

        def shared(input_ids: Tensor, attention_mask: Tensor, **inputs: Any) -> Any:
            ids, mask = input_ids[:, :-1], attention_mask[:, :-1]
            if ids.size(1):
                places = (mask.cumsum(1) - 1).clamp(min=0)  # as generate counts them
                inputs["past_key_values"] = _read(model, ids, mask, places)
            return generate(input_ids=input_ids, attention_mask=attention_mask, **inputs)

        model.generate = shared
        try:
            return super()._generate_single_turn(*args, **given)
        finally:
            del model.generate


def _read(model: Any, ids: Tensor, mask: Tensor, places: Tensor | None = None) -> Any:
    """The cache of the beginnings of prompts, a row for each of theirs, after one pass over the distinct ones.

    Shapes:   all (num_completions, num_positions).
    """
    rows, place = torch.unique(torch.cat([ids, mask], dim=1), dim=0, return_inverse=True)
    first = torch.zeros(len(rows), dtype=torch.long, device=ids.device).scatter_(
        0, place, torch.arange(len(ids), device=ids.device)
    )
    inputs = {} if places is None else {"position_ids": places[first]}
    found = model(input_ids=ids[first], attention_mask=mask[first], use_cache=True, logits_to_keep=1, **inputs)
    cache = found.past_key_values
    cache.batch_select_indices(place)
    return cache
