"""Every method in TRL's GRPOTrainer: a mixin that puts the advantages of `theory.methods` in the place of TRL's.

Methods of group level are the same functions that the simulator calls, with the rewards, the marks and the sampling
policy's log-probabilities of whole groups, gathered over processes. Terms of the loss, clip ranges and sequence ratios
are TRL's own options: `grpo_options` says which, and the trainer refuses to start with others. Token-level methods that
TRL has no option for enter through advantages of one number a token, set so that TRL's surrogate has the wanted
gradient.

Two methods of TRL are overridden and none of its code is copied: `_calculate_rewards`, to keep the rewards and marks,
and `_generate_and_score_completions`, to replace the advantages. Token-level methods also read what
`_get_per_token_logps_and_entropies` returns inside `_compute_loss`.

Departs: (1) unscorable completions, marked None or NaN by the verifier, get advantage 0 whatever else they earned.
(2) Clip-Cov and KL-Cov pick their share of tokens from a micro-batch, as their code does, not from a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from theory import method_table, methods, shaped_advantages
from theory.method_table import Method

Values = Mapping[str, Any]
TRL_EPSILON = 1e-4  # added to a group's standard deviation by TRL, which is a sample's (ddof 1)
OPEN = 1e9  # a clip range that clips nothing
IN_LOSS = ("clip_cov", "kl_cov", "entropy_advantage", "simko_penalty")  # token-level methods TRL has no option for
STRENGTHS = ("gamma_correct", "gamma_incorrect", "strength", "kl_strength")  # of the terms added to an advantage
WITH_TERM = ("ds", *method_table.PRESETS, "entropy_bonus", "entropy_penalty", "kl_penalty")


def grpo_options(method: str | Method, parameters: Values = methods.NO_PARAMETERS) -> dict[str, Any]:
    """The arguments of GRPOConfig that a method asks for; others are the user's to choose.

    >>> grpo_options("clip_higher")["epsilon_high"], grpo_options("ds")["scale_rewards"]
    (0.28, 'none')
    """
    chosen = methods.resolve(method) if isinstance(method, str) else method
    values = methods.parameter_values(chosen, parameters)
    is_scaled = chosen.level == "token" or chosen.id == "grpo" or values.get("normalise") == "std"
    options: dict[str, Any] = {"scale_rewards": "group" if is_scaled else "none"}
    if methods.level_of(chosen, parameters) == "loss":
        if chosen.id == "kl_penalty":
            return options | {"beta": values["kl_strength"], "use_bias_correction_kl": True}
        return options | {"entropy_coef": values["strength"] * (1 if chosen.id == "entropy_bonus" else -1)}
    if chosen.id in IN_LOSS:
        return options | {"epsilon": OPEN, "epsilon_high": OPEN, "importance_sampling_level": "token"}
    if chosen.id == "cispo":
        return options | {"loss_type": "cispo", "epsilon_high": 1 + values["clip_high"]}
    if chosen.level == "token":
        level = "sequence" if chosen.id == "gspo" else "token"
        ranges = {"epsilon": values["clip_low"], "epsilon_high": values["clip_high"]}
        return options | ranges | {"importance_sampling_level": level}
    return options


def with_method(
    base: type,
    method: str | Method,
    parameters: Values = methods.NO_PARAMETERS,
    *,
    correct: str | None = None,
    answer: Callable[[str], str] = str.strip,
) -> type:
    """GRPOTrainer, or a subclass of it, that trains by a method.

    `correct` names the reward function that is the verifier and returns 1, 0 or None; it may be left out where there
    is only one. `answer` turns a completion's text into what counts as one answer, for methods that count answers.
    Raises ValueError for a method or a parameter that does not exist.
    """
    chosen = methods.resolve(method) if isinstance(method, str) else method
    values = methods.parameter_values(chosen, parameters)
    if chosen.id == "cispo" and values["clip_low"] != 1:
        raise ValueError(f"clip_low is {values['clip_low']!r}: TRL's CISPO has no lower bound: want 1")
    body = {"method": chosen, "values": values, "given": dict(parameters), "correct": correct, "answer_of": answer}
    return type(f"{base.__name__}With{chosen.id.title().replace('_', '')}", (_WithMethod, base), body)


class _WithMethod:
    """The overrides; `with_method` puts it before GRPOTrainer and fills in the five attributes."""

    method: Method
    values: Values
    given: Values
    correct: str | None
    answer_of: Callable[[str], str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As GRPOTrainer; raises ValueError where the arguments are not what the method needs."""
        super().__init__(*args, **kwargs)
        self.log_prob_source = ""
        self._in_loss: dict[str, Any] | None = None
        trainer: Any = self
        found = trainer.args
        for name, wanted in grpo_options(self.method, self.given).items():
            value = getattr(found, name)
            if value != wanted:
                raise ValueError(
                    f"{name} is {value!r}: {self.method.id} wants {wanted!r}: see llm.trainer.grpo_options"
                )
        names = list(trainer.reward_func_names)
        if self.correct is None and len(names) > 1:
            raise ValueError(f"correct: there are {len(names)} reward functions: want the verifier's name, of {names}")
        if self.correct is not None and self.correct not in names:
            raise ValueError(f"correct is {self.correct!r}: want the name of one of the reward functions {names}")
        self._verifier = 0 if self.correct is None else names.index(self.correct)
        if "base_log_prob" in self._needs and not found.beta:
            raise ValueError(f"beta is {found.beta}: {self.method.id} needs the base policy: want beta above 0")

    @property
    def _needs(self) -> tuple[str, ...]:
        return methods.needs(self.method, self.given)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        """TRL's rewards, (all completions, functions), kept."""
        self._rewards: Tensor = super()._calculate_rewards(*args, **kwargs)  # type: ignore[misc]
        return self._rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch with the method's advantages, unless they are TRL's own."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        trainer: Any = self
        plain = batch["advantages"]
        if self.method.id == "simko_penalty":
            batch["is_top_token"] = self._top_tokens(batch)
        if self._is_trl_own():
            self._log(plain, plain, torch.zeros_like(plain))
            return batch
        group_size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
        everything = self._inputs(batch)
        grouped = {name: values.view(-1, group_size) for name, values in everything.items()}
        shaped = methods.group_advantages(self.method, grouped, self.values)
        bare = shaped
        if self.method.id in WITH_TERM:
            zero = {**self.values, **{name: 0.0 for name in STRENGTHS if name in self.values}}
            bare = methods.group_advantages(self.method, grouped, zero)
        mine = slice(
            trainer.accelerator.process_index * len(plain), (trainer.accelerator.process_index + 1) * len(plain)
        )
        batch["advantages"] = shaped.reshape(-1)[mine].to(plain.dtype)
        self._log(bare.reshape(-1)[mine], batch["advantages"], (shaped - bare).reshape(-1)[mine])
        recorded = trainer._logs["advantages"]
        for _ in range(shaped.numel()):
            recorded.pop()
        recorded.extend(shaped.reshape(-1).tolist())
        if self.values.get("reduction") == "token":
            batch["advantages"] = bare.reshape(-1)[mine, None].to(plain.dtype) + self._token_terms(
                batch, everything, mine
            )
        batch.pop("method_log_probs", None)
        return batch

    def _is_trl_own(self) -> bool:
        """Whether TRL's advantages are the method's already: no term, and the same baseline."""
        if self.method.id in WITH_TERM and methods.level_of(self.method, self.given) == "group":
            if any(self.values.get(name) for name in STRENGTHS):
                return False
        elif self.method.id not in ("grpo", "dr_grpo", *WITH_TERM) and self.method.level != "token":
            return False
        is_scaled = self.method.id == "grpo" or self.method.level == "token" or self.values.get("normalise") == "std"
        return not is_scaled or (self.values["ddof"], self.values["epsilon"]) == (1, TRL_EPSILON)

    def _inputs(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """What the method needs of all completions of all processes, in their order, (num_completions,) each."""
        trainer: Any = self
        weights = trainer.reward_weights.to(self._rewards.device)
        correct = self._rewards[:, self._verifier].double()
        reward = (self._rewards * weights).nansum(dim=1).double()
        made: dict[str, Callable[[], Tensor]] = {
            "log_prob": lambda: self._summed(batch, self._sampling_log_probs(batch)),
            "base_log_prob": lambda: self._summed(batch, batch["ref_per_token_logps"]),
            "num_tokens": lambda: _mask(batch).sum(1).clamp(min=1),
            "answer": lambda: self._answers(batch),
        }
        names = method_table.named(self.method.advantage, method_table.INPUTS)
        local = {name: made[name]() for name in names if name in made and name in self._needs}
        gathered = {name: trainer.accelerator.gather(values) for name, values in local.items()}
        known = {"reward": torch.where(correct.isnan(), torch.nan, reward), "correct": correct, **gathered}
        return {name: values for name, values in known.items() if name in names}

    def _summed(self, batch: dict[str, Any], token_log_probs: Tensor) -> Tensor:
        return torch.where(_mask(batch) > 0, token_log_probs, 0.0).double().sum(1)

    def _sampling_log_probs(self, batch: dict[str, Any]) -> Tensor:
        """Of each token under the sampling policy: TRL's where it has them, else from one pass without gradient."""
        trainer: Any = self
        if "old_per_token_logps" in batch:
            self.log_prob_source = "trl"
            return batch["old_per_token_logps"].detach()
        if "method_log_probs" not in batch:
            self.log_prob_source = "forward"
            ids, mask = _sequences(batch)
            with torch.no_grad():
                found, *_ = trainer._get_per_token_logps_and_entropies(
                    trainer.model,
                    ids,
                    mask,
                    batch["completion_ids"].size(1),
                    batch_size=trainer.args.per_device_train_batch_size,
                )
            batch["method_log_probs"] = found
        return batch["method_log_probs"]

    def _token_terms(self, batch: dict[str, Any], everything: Mapping[str, Tensor], mine: slice) -> Tensor:
        """Differential smoothing of every token by its own log-probability; 0 for unscorable completions."""
        correct = everything["correct"][mine]
        terms = shaped_advantages.token_terms(
            correct=correct.nan_to_num(),
            token_log_prob=self._sampling_log_probs(batch).double(),
            is_token=_mask(batch),
            gamma_correct=self.values["gamma_correct"],
            gamma_incorrect=self.values["gamma_incorrect"],
        )
        return torch.where(correct.isnan()[:, None], 0.0, terms).to(batch["advantages"].dtype)

    def _answers(self, batch: dict[str, Any]) -> Tensor:
        """An integer for each completion, equal where the answers are, on every process."""
        trainer: Any = self
        texts = trainer.processing_class.batch_decode(batch["completion_ids"], skip_special_tokens=True)
        digests = [blake2b(type(self).answer_of(text).encode(), digest_size=7).digest() for text in texts]
        return torch.tensor([int.from_bytes(one) for one in digests], device=batch["completion_ids"].device)

    def _top_tokens(self, batch: dict[str, Any]) -> Tensor:
        """1.0 where the sampled token was the likeliest under the sampling policy."""
        trainer: Any = self
        ids, mask = _sequences(batch)
        width = batch["completion_ids"].size(1)
        rows = []
        with torch.no_grad():
            for one, seen in zip(
                ids.split(size := trainer.args.per_device_train_batch_size), mask.split(size), strict=True
            ):
                logits = trainer.model(input_ids=one, attention_mask=seen, logits_to_keep=width + 1).logits[:, :-1]
                rows.append(logits.argmax(-1) == one[:, -width:])
        return torch.cat(rows).to(batch["advantages"].dtype)

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss; for a token-level method without an option of TRL's, with advantages of single tokens."""
        if self.method.id in IN_LOSS:
            self._in_loss = inputs = dict(inputs)
        try:
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
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
                "uniform": torch.rand_like(ratio),
                "is_token": _mask(inputs).to(ratio.dtype),
            }
            names = method_table.named(self.method.token_weight, method_table.TOKEN_INPUTS)
            weights = methods.weigh_tokens(self.method, {name: given[name] for name in names}, self.values)
            inputs["advantages"] = weights / ratio
        return found

    def _log(self, plain: Tensor, shaped: Tensor, bonus: Tensor) -> None:
        """Mean sizes over all processes: the advantage without a term, the term, and what came out."""
        trainer: Any = self
        sizes = torch.stack([values.double().abs().mean() for values in (plain, shaped, bonus)])
        size_plain, size_shaped, size_bonus = trainer.accelerator.gather(sizes[None]).mean(0).tolist()
        correct = self._rewards[:, self._verifier]
        metrics = trainer._metrics["train" if trainer.model.training else "eval"]
        metrics["method/correct"].append(correct.nanmean().item())
        metrics["method/unscorable"].append(correct.isnan().double().mean().item())
        metrics["method/plain_advantage"].append(size_plain)
        metrics["method/shaped_advantage"].append(size_shaped)
        metrics["method/bonus_ratio"].append(size_bonus / size_plain if size_plain else float("nan"))


def _mask(batch: Mapping[str, Any]) -> Tensor:
    """1 for the tokens that the model wrote, as the loss counts them."""
    mask: Tensor = batch["completion_mask"]
    return mask * batch["tool_mask"] if "tool_mask" in batch else mask


def _sequences(batch: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """The tokens of prompt and completion, and their mask."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    return ids, torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
