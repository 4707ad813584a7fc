"""Every method in TRL's GRPOTrainer: a mixin that puts the advantages of `theory.methods.calls` in the place of TRL's.

Methods of group level are the same functions that the simulator calls, with the rewards, the marks and the sampling
policy's log-probabilities of whole groups, gathered over processes. Terms of the loss, clip ranges and sequence ratios
are TRL's own options: `grpo_options` says which, and the trainer refuses to start with others. Token-level methods that
TRL has no option for enter through advantages of one number a token, set so that TRL's surrogate has the wanted
gradient.

Two methods of TRL are overridden and none of its code is copied: `_calculate_rewards`, to keep the rewards and marks,
and `_generate_and_score_completions`, to replace the advantages. Token-level methods also read what
`_get_per_token_logps_and_entropies` returns inside `_compute_loss`. The sampler of prompts is wrapped, because TRL's
starts over when a run is resumed after its first epoch.

Log-probabilities are the trained model's when it sampled, at the sampling temperature, over the tokens that it wrote:
TRL's where it has them (several updates a batch; vLLM with its importance sampling correction, whose ratio then leads
from the engine's numbers to these), else those of one pass without gradient. The engine's own are never taken: it
may leave tokens out, and the ratio in the loss starts from the model's. Cuts by top-k or top-p do not enter.

Departs: (1) completions that the verifier marks None or NaN get advantage 0 whatever else they earned. (2) Clip-Cov
and KL-Cov pick their share of tokens from a micro-batch, as their code does, not from a whole batch. (3) Entropy and
KL terms of form loss are means over the tokens that were sampled, and no gradient passes through how often a prefix is
reached. (4) Completions that `mask_truncated_completions` takes out of the loss stay in their group, as with TRL, with
log-probability 0.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from sharpening.theory.methods import calls, table
from sharpening.theory.methods.table import Method

Values = Mapping[str, Any]
TRL_EPSILON = 1e-4  # added to a group's standard deviation by TRL, which is a sample's (ddof 1)
CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")  # TRL's loss types that clip ratios


def grpo_options(method: str | Method, parameters: Values = calls.NO_PARAMETERS) -> dict[str, Any]:
    """The arguments of GRPOConfig that a method asks for; others are the user's to choose.

    >>> grpo_options("clip_higher")["epsilon_high"], grpo_options("ds")["scale_rewards"]
    (0.28, 'none')
    """
    chosen = calls.resolve(method) if isinstance(method, str) else method
    values = calls.parameter_values(chosen, parameters)
    scale = "group" if chosen.is_normalised(values) else "none"
    options: dict[str, Any] = {"scale_rewards": scale, "multi_objective_aggregation": "sum_then_normalize"}
    if "base_log_prob" in calls.needs(chosen, parameters):
        options["sync_ref_model"] = False
    if calls.level_of(chosen, parameters) != "group":
        options |= {name: wanted(values) if callable(wanted) else wanted for name, wanted in chosen.trl.items()}
    return options


def with_method(
    base: type,
    method: str | Method,
    parameters: Values = calls.NO_PARAMETERS,
    *,
    correct: str | None = None,
    answer: Callable[[str], str] = str.strip,
) -> type:
    """GRPOTrainer, or a subclass of it, that trains by a method.

    `correct` names the reward function that is the verifier and returns 1, 0 or None; it may be left out where there
    is only one. `answer` turns a completion's text into what counts as one answer, for methods that count answers.
    Raises ValueError for a method or a parameter that does not exist.
    """
    chosen = calls.resolve(method) if isinstance(method, str) else method
    values = calls.parameter_values(chosen, parameters)
    for name, (wanted, why) in chosen.trl_limits.items():
        if values[name] != wanted:
            raise ValueError(f"{name} is {values[name]!r}: {why}: want {wanted}")
    body = {"method": chosen, "values": values, "correct": correct, "answer_of": staticmethod(answer)}
    return type(f"{base.__name__}WithMethod", (_WithMethod, base), body)


class _WithMethod:
    """The overrides; `with_method` puts it before GRPOTrainer and fills in the four attributes."""

    method: Method
    values: Values
    correct: str | None
    answer_of: Callable[[str], str]

    # what GRPOTrainer has
    accelerator: Any
    args: Any
    beta: float
    model: Any
    num_generations: int
    num_generations_eval: int
    processing_class: Any
    reward_func_names: list[str]
    reward_weights: Tensor
    is_fsdp_enabled: bool
    is_deepspeed_enabled: bool
    state: Any
    _logs: Any
    _metrics: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As GRPOTrainer; raises ValueError where the arguments are not what the method needs."""
        self._in_loss: dict[str, Any] | None = None
        super().__init__(*args, **kwargs)
        self.log_prob_source = ""
        _require_options(self.method, self.values, self.args)
        self._verifier = _place_of(self.correct, list(self.reward_func_names))
        self._least = max(self.method.least_group_size, self.values.get(self.method.order, 1))
        if self.num_generations < self._least:
            raise ValueError(f"num_generations is {self.num_generations}: {self.method.id} wants {self._least} or more")
        self._level = calls.level_of(self.method, self.values)
        self._strengths = self.method.strengths if self._level == "group" else ()
        self._is_by_token = bool(self._strengths) and self.values["reduction"] == "token"
        self._given = self._inputs_of_method()
        self._base = self._base_policy() if "base_log_prob" in self._given and not self.beta else None
        for line in calls.caveats(self.method, self.values, kl_strength=self.beta):
            warnings.warn(line, stacklevel=2)

    def _inputs_of_method(self) -> tuple[str, ...]:
        """What the method is called with: of log-probabilities only those it needs, or that a user's function names."""
        named = table.named(self.method.advantage, table.INPUTS)
        wanted = set(calls.needs(self.method, self.values)) | {"reward", "correct", "num_tokens", "answer"}
        if self.method.is_own:
            wanted |= {"log_prob", *(["base_log_prob"] if self.beta else [])}
        return tuple(name for name in named if name in wanted)

    def _base_policy(self) -> Any:
        """Where TRL keeps no reference model (beta 0): a frozen copy, or None for adapters, which can be put off."""
        if hasattr(self.model, "disable_adapter"):
            return None
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            raise ValueError(
                f"beta is 0: {self.method.id} needs the base policy, of shards TRL's own: want beta above 0"
            )
        return copy.deepcopy(self.model).eval().requires_grad_(False)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's order of prompts, followed by a resumed run in later epochs too."""
        sampler = super()._get_train_sampler(*args, **kwargs)  # type: ignore[misc]
        return _PromptOrder(sampler, lambda: int(self.state.epoch or 0)) if sampler.shuffle else sampler

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's rewards, (all completions, functions), kept."""
        rewards: Tensor = super()._calculate_rewards(*args, **kwargs)  # type: ignore[misc]
        self._rewards = rewards
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch with the method's advantages, unless they are TRL's own."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        plain = batch["advantages"]
        if "is_top_token" in self.method.token_needs:
            batch["is_top_token"] = self._top_tokens(batch)
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        if self._is_trl_own() or group_size < self._least:
            everywhere = self.accelerator.gather(plain)
            self._log(everywhere, everywhere)
            return batch
        own = self._token_log_probs(batch)
        everything = self._inputs(batch, own)
        grouped = {name: values.view(-1, group_size) for name, values in everything.items()}
        shaped = calls.group_advantages(self.method, grouped, self.values).reshape(-1)
        if not shaped.isfinite().all():
            raise ValueError(f"{self.method.id}: it gave an advantage that is NaN or infinite: want finite numbers")
        bare = shaped
        if self._strengths:
            none = dict.fromkeys(self._strengths, 0.0)
            bare = calls.group_advantages(self.method, grouped, {**self.values, **none}).reshape(-1)
        self._log(bare, shaped)
        first = self.accelerator.process_index * len(plain)
        mine = slice(first, first + len(plain))
        advantages = shaped[mine]
        if self._is_by_token:
            num_scorable = (~grouped["correct"].isnan()).sum(1, keepdim=True)
            correct = torch.where(num_scorable < self._least, torch.nan, grouped["correct"]).reshape(-1)
            advantages = bare[mine, None] + self._token_terms(correct[mine], own)
        batch["advantages"] = advantages.to(plain.dtype)
        return batch

    def _is_trl_own(self) -> bool:
        """Whether TRL's advantages are the method's already: no term, the same baseline, the same scorable rows."""
        if not self.method.keeps_baseline or any(self.values[name] for name in self._strengths):
            return False
        if self.method.is_normalised(self.values) and (self.values["ddof"], self.values["epsilon"]) != (1, TRL_EPSILON):
            return False
        is_nan = self._rewards.isnan()
        return bool((is_nan[:, self._verifier] == is_nan.all(dim=1)).all())

    def _inputs(self, batch: dict[str, Any], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the method is called with, of all processes' completions in their order; `own` is of this one's."""
        gather = self.accelerator.gather
        weights = self.reward_weights.to(self._rewards.device)
        correct = self._rewards[:, self._verifier].double()
        reward = (self._rewards * weights).nansum(dim=1).double()
        made: dict[str, Callable[[], Tensor]] = {
            "reward": lambda: torch.where(correct.isnan(), torch.nan, reward),
            "correct": lambda: correct,
            "log_prob": lambda: gather(own["log_prob"].sum(1)),
            "base_log_prob": lambda: gather(own["base_log_prob"].sum(1)),
            "num_tokens": lambda: gather(_mask(batch).sum(1).clamp(min=1)),
            "answer": lambda: gather(self._answers(batch)),
        }
        return {name: made[name]() for name in self._given}

    def _token_log_probs(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """The log-probabilities that the method asks for, of each token; 0 where the model did not write it."""
        made = {"log_prob": self._sampling_log_probs, "base_log_prob": self._base_log_probs}
        found = {name: made[name](batch) for name in made if name in self._given}
        return {name: torch.where(_mask(batch) > 0, values, 0.0).double() for name, values in found.items()}

    def _sampling_log_probs(self, batch: dict[str, Any]) -> Tensor:
        """Under the sampling policy: TRL's where it has them, else from one pass."""
        source = "trl" if "old_per_token_logps" in batch else "forward"
        if source != self.log_prob_source:
            logging.getLogger(__name__).info("log-probabilities of the sampling policy: %s", source)
            self.log_prob_source = source
        found: Tensor = batch["old_per_token_logps"] if source == "trl" else self._forward(self.model, batch)
        return found

    def _base_log_probs(self, batch: dict[str, Any]) -> Tensor:
        """Under the policy before training: TRL's with beta above 0, else from one pass."""
        if "ref_per_token_logps" in batch:
            found: Tensor = batch["ref_per_token_logps"]
            return found
        if self._base is not None:
            return self._forward(self._base, batch)
        with self.accelerator.unwrap_model(self.model).disable_adapter():
            return self._forward(self.model, batch)

    def _forward(self, model: Any, batch: dict[str, Any]) -> Tensor:
        """Log-probabilities of the completions' tokens at the sampling temperature, without gradient."""
        ids, mask = _sequences(batch)
        found: Tensor
        with torch.no_grad():
            found, *_ = self._get_per_token_logps_and_entropies(
                model, ids, mask, batch["completion_ids"].size(1), batch_size=self.args.per_device_train_batch_size
            )
        return found

    def _token_terms(self, correct: Tensor, own: Mapping[str, Tensor]) -> Tensor:
        """The term of every token by its own log-probability: the advantages of one-token completions without reward.

        Shapes:   correct: (num_completions,), own: (num_completions, num_positions). Returns the shape of own.
        """
        shape = next(iter(own.values())).shape
        marks = correct[:, None].expand(shape)
        given = {"reward": torch.where(marks.isnan(), torch.nan, 0.0), "correct": marks, **own}
        values = {**self.values, "reduction": "sum", "normalise": "none"}
        flat = {name: tokens.reshape(-1) for name, tokens in given.items()}
        terms: Tensor = calls.group_advantages(self.method, flat, values)
        return terms.view(shape)

    def _answers(self, batch: dict[str, Any]) -> Tensor:
        """An integer for each completion, equal where the answers are, on every process."""
        texts = self.processing_class.batch_decode(batch["completion_ids"], skip_special_tokens=True)
        digests = [blake2b(self.answer_of(text).encode(), digest_size=7).digest() for text in texts]
        return torch.tensor([int.from_bytes(one) for one in digests], device=batch["completion_ids"].device)

    def _top_tokens(self, batch: dict[str, Any]) -> Tensor:
        """1.0 where the sampled token was the likeliest under the sampling policy."""
        size, width = self.args.per_device_train_batch_size, batch["completion_ids"].size(1)
        rows = []
        with torch.no_grad():
            for ids, mask in zip(*(torch.split(values, size) for values in _sequences(batch)), strict=True):
                logits = self.model(input_ids=ids, attention_mask=mask, logits_to_keep=width + 1).logits[:, :-1]
                rows.append(logits.argmax(-1) == ids[:, -width:])
        return torch.cat(rows).to(batch["advantages"].dtype)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss; for a token-level method without an option of TRL's, with advantages of single tokens."""
        if self.method.has_weight_of_its_own:
            self._in_loss = inputs = dict(inputs)
        try:
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
            if self._in_loss is not None:
                raise RuntimeError(f"{self.method.id}: this loss of TRL's asks for no log-probabilities: want TRL 1.16")
        finally:
            self._in_loss = None
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """What TRL's gives; inside a loss it also sets the advantages to weight over ratio."""
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        if self._in_loss is not None:
            inputs, self._in_loss = self._in_loss, None
            now, entropies = found[0].detach(), found[1].detach()
            ratio = torch.exp(now - inputs.get("old_per_token_logps", now))
            given = {
                "ratio": ratio,
                "advantage": inputs["advantages"][:, None].expand_as(ratio),
                "token_log_prob": now,
                "token_entropy": entropies,
                "is_top_token": inputs.get("is_top_token"),
                "uniform": torch.rand_like(ratio) if "uniform" in self.method.token_needs else None,
                "is_token": _mask(inputs).to(ratio.dtype),
            }
            names = table.named(self.method.token_weight, table.TOKEN_INPUTS)
            weights = calls.weigh_tokens(self.method, {name: given[name] for name in names}, self.values)
            inputs["advantages"] = weights / ratio
        return found

    def _log(self, plain: Tensor, shaped: Tensor) -> None:
        """Mean sizes over all processes, with and without the term, and the advantages in TRL's table."""
        correct = self._rewards[:, self._verifier]
        size, bonus = plain.abs().mean().item(), (shaped - plain).abs().mean().item()
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["method/correct"].append(correct.nanmean().item())
        metrics["method/unscorable"].append(correct.isnan().double().mean().item())
        metrics["method/plain_advantage"].append(size)
        metrics["method/shaped_advantage"].append(shaped.abs().mean().item())
        metrics["method/bonus_ratio"].append(bonus / size if size else float("nan"))
        recorded = self._logs["advantages"]  # keeps the last batches only
        for _ in range(min(shaped.numel(), len(recorded))):
            recorded.pop()
        recorded.extend(shaped.tolist())


class _PromptOrder:
    """TRL's sampler, whose permutation of an epoch follows from the seed and the epoch alone."""

    def __init__(self, sampler: Any, epoch: Callable[[], int]) -> None:
        self.sampler, self.epoch = sampler, epoch

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        generator = self.sampler.generator.manual_seed(self.sampler.seed)
        for _ in range(self.epoch()):
            torch.randperm(self.sampler.num_samples, generator=generator)
        yield from self.sampler


def _require_options(method: Method, values: Values, found: Any) -> None:
    """Raises ValueError naming the first argument of GRPOConfig that the method cannot work with."""
    fixed = grpo_options(method, values)
    for name, wanted in fixed.items():
        value = getattr(found, name)
        if name == "epsilon_high" and value is None:
            value = found.epsilon
        if value != wanted:
            raise ValueError(
                f"{name} is {value!r}: {method.id} wants {wanted!r}: see llm.training.trainer.grpo_options"
            )
    if method.no_kl and calls.level_of(method, values) != "group" and found.beta and "beta" not in fixed:
        raise ValueError(f"beta is {found.beta!r}: {method.no_kl}: {method.id} wants 0")
    if method.level == "token" and "loss_type" not in fixed and found.loss_type not in CLIPPED:
        raise ValueError(f"loss_type is {found.loss_type!r}: {method.id} wants one of {', '.join(CLIPPED)}")


def _place_of(correct: str | None, names: list[str]) -> int:
    """Where the verifier is among the reward functions; raises ValueError where that is not clear."""
    if correct is None and len(names) == 1:
        return 0
    if correct is None or names.count(correct) != 1:
        raise ValueError(f"correct is {correct!r}: want the name of exactly one of the reward functions {names}")
    return names.index(correct)


def _mask(batch: Mapping[str, Any]) -> Tensor:
    """1 for the tokens that the model wrote, as the loss counts them."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def _sequences(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The tokens of prompt and completion, and their mask."""
    if "num_images" in batch:
        raise ValueError("prompt holds images: a pass of its own reads text only: want prompts without images")
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
