"""Every method in TRL's GRPOTrainer: a mixin that puts the advantages of `theory.methods.calls` in the place of TRL's.

Methods of group level are the same functions that the simulator calls, with the rewards, the marks and the sampling
policy's log-probabilities of whole groups, gathered over processes. Terms of the loss, clip ranges and sequence ratios
are TRL's own options: `grpo_options` says which, and the trainer refuses to start with others. Token-level methods that
TRL has no option for enter through advantages of one number a token, set so that TRL's surrogate has the wanted
gradient.

Methods of TRL are overridden and none of its code is copied: `_generate` and `_calculate_rewards`, to keep what was
written and earned, and `_generate_and_score_completions`, to replace the advantages. Token-level methods also read what
`_get_per_token_logps_and_entropies` returns inside `_compute_loss`. The sampler of prompts is wrapped, because TRL's
starts over when a run is resumed after its first epoch.

A subclass of GRPOTrainer keeps what it does to advantages: where its numbers are not TRL's, the term alone is added to
them, and a method that would replace them is refused. A subclass with a loss of its own is refused.

Departs: (1) completions that the verifier marks None or NaN get advantage 0 whatever else they earned. (2) Clip-Cov
and KL-Cov pick their share of tokens from a micro-batch, as their code does, not from a whole batch. (3) Entropy and
KL terms of form loss are means over the tokens that were sampled, and no gradient passes through how often a prefix is
reached. (4) Completions that `mask_truncated_completions` takes out of the loss stay in their group, as with TRL.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

import torch
from torch import Tensor

from sharpening.llm import engine_batch
from sharpening.llm.training import in_loss, log_probs, options
from sharpening.llm.training.options import grpo_options as grpo_options
from sharpening.llm.training.prompt_order import PromptOrder
from sharpening.theory.methods import calls, table
from sharpening.theory.methods.table import Method

Values = Mapping[str, Any]
MOST, WANTED = 1.0, 0.3  # of the term over the advantage without it: beyond the first there is a warning
TRL_EPSILON = 1e-4  # added to a group's standard deviation by TRL, which is a sample's (ddof 1)


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
    is only one. `answer` turns a completion's text, as reward functions see it, into what counts as one answer, for
    methods that count answers. Raises ValueError for a method or a parameter that does not exist, and for a base that
    is no GRPOTrainer or has a loss of its own.
    """
    of_trl = options.require_base(base)
    chosen = calls.resolve(method) if isinstance(method, str) else method
    values = calls.parameter_values(chosen, parameters)
    for name, (wanted, why) in chosen.trl_limits.items():
        if values[name] != wanted:
            raise ValueError(f"{name} is {values[name]!r}: {why}: want {wanted}")
    body = {"method": chosen, "values": values, "correct": correct, "answer_of": staticmethod(answer), "base": base}
    below = type("Below", (_Below, of_trl), {})
    return type(f"{base.__name__}WithMethod", (_WithMethod, *([] if base is of_trl else [base]), below), body)


def text_of(completion: Any) -> str:
    """The text of a completion as TRL hands it to rewards: a string, or messages."""
    text: str = completion if isinstance(completion, str) else completion[-1].get("content") or ""
    return text.strip()


class MethodWarning(UserWarning):
    """What to be careful about with a method, in a run."""


class _Below:
    """Stands between GRPOTrainer and a subclass of it: keeps TRL's own advantages, and notes that its loss was used."""

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        self._advantages_of_trl = batch["advantages"]
        return {**batch, "advantages": batch["advantages"].clone()}

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        self._is_loss_of_trl = True
        loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
        return loss


class _WithMethod:
    """The overrides; `with_method` puts it before GRPOTrainer and fills in the five attributes."""

    method: Method
    values: Values
    correct: str | None
    answer_of: Callable[[str], str]
    base: type

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
    _advantages_of_trl: Tensor  # _Below's

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As GRPOTrainer; raises ValueError where the arguments are not what the method needs."""
        self._in_loss: dict[str, Any] | None = None
        super().__init__(*args, **kwargs)
        options.require_options(self.method, self.values, self.args)
        self._verifier = options.place_of(self.correct, list(self.reward_func_names))
        self._least = calls.least_group_size(self.method, self.values)
        if self.num_generations < self._least:
            raise ValueError(f"num_generations is {self.num_generations}: {self.method.id} wants {self._least} or more")
        self._level = calls.level_of(self.method, self.values)
        self._strengths = self.method.strengths if self._level == "group" else ()
        self._is_by_token = bool(self._strengths) and self.values["reduction"] == "token"
        self._given = self._inputs_of_method()
        self.policies = log_probs.Policies(
            self,
            needs_base="base_log_prob" in self._given,
            needs_top_token="is_top_token" in self.method.token_needs,
        )
        self.source = in_loss.source_of(self, self.method, self.values, is_needed="log_prob" in self._given)
        logging.getLogger(__name__).info("log-probabilities of the sampling policy: %s", self.source.line)
        self._window = in_loss.Window(self)
        self._sizes: list[tuple[float, float]] | None = []  # of advantage and term, until there is a warning
        for line in calls.caveats(self.method, self.values, kl_strength=self.beta):
            warnings.warn(line, MethodWarning, stacklevel=2)

    def _inputs_of_method(self) -> tuple[str, ...]:
        """What the method is called with: of log-probabilities only those it needs, or that a user's function names."""
        named = table.named(self.method.advantage, table.INPUTS)
        wanted = set(calls.needs(self.method, self.values)) | {"reward", "correct", "num_tokens", "answer"}
        if self.method.is_own:
            wanted |= {"log_prob", *(["base_log_prob"] if self.beta else [])}
        return tuple(name for name in named if name in wanted)

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
        """TRL's order of prompts, followed by a resumed run in later epochs too."""
        sampler = super()._get_train_sampler(*args, **kwargs)  # type: ignore[misc]
        return PromptOrder(sampler, lambda: int(self.state.epoch or 0)) if sampler.shuffle else sampler

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        """What TRL generates; which tokens are not of tools is kept."""
        found = super()._generate(*args, **kwargs)  # type: ignore[misc]
        self._tool_masks = found[2]
        return found

    def _calculate_rewards(self, inputs: Any, prompts: Any, completions: Any, completion_ids_list: Any) -> Tensor:
        """TRL's rewards, (all completions, functions), kept, and what they are for."""
        rewards: Tensor = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)  # type: ignore[misc]
        self._rewards, self._completions, self._completion_ids = rewards, completions, completion_ids_list
        return rewards

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        """TRL's batch with the method's advantages, unless they are TRL's own."""
        batch: dict[str, Any] = super()._generate_and_score_completions(inputs)  # type: ignore[misc]
        given = batch["advantages"]
        is_written = log_probs.is_written(batch, self._completion_ids)
        if "is_top_token" in self.method.token_needs:
            batch["is_top_token"] = self.policies.is_top_token(batch, is_written)
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        if self._is_trl_own() or group_size < self._least:
            everywhere = self.accelerator.gather(in_loss.by_completion(given, batch))
            self._log(everywhere, everywhere)
            return batch
        is_late = self.source.is_loss and self.model.training and given.dim() == 1 and self._window.holds_a_batch()
        own = self._token_log_probs(batch, is_written, is_late=is_late)
        grouped = {name: values.view(-1, group_size) for name, values in self._inputs(own).items()}
        place = self.accelerator.process_index * len(given) + torch.arange(len(given), device=given.device)
        batch["is_changed"] = self._is_changed(given)
        if is_late:
            self._late = in_loss.Late(grouped, len(given), is_own=self.source.kind == "own")
            return {**batch, "place": place, **{in_loss.OWN + name: values for name, values in own.items()}}
        started, ended, batch["advantages"] = self._made(grouped, place, batch, own)
        self._log(self.accelerator.gather(started), self.accelerator.gather(ended))
        return batch

    def _made(
        self, grouped: Mapping[str, Tensor], place: Tensor, batch: Mapping[str, Tensor], own: Mapping[str, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Advantages of a batch without the term, with it, and as they enter the loss.

        `place` is where the batch's completions are among those of the groups.
        """
        shaped = calls.group_advantages(self.method, grouped, self.values).reshape(-1)[place]
        plain = shaped
        if self._strengths:
            none = dict.fromkeys(self._strengths, 0.0)
            plain = calls.group_advantages(self.method, grouped, {**self.values, **none}).reshape(-1)[place]
        given, is_changed = batch["advantages"], batch["is_changed"]
        started = torch.where(is_changed, in_loss.by_completion(given, batch).double(), plain)
        ended = torch.where(is_changed, started + shaped - plain, shaped)
        entering = ended
        if self._is_by_token:
            chosen = engine_batch.Choice(self.method, self.values)
            entering = started[:, None] + engine_batch.token_terms(chosen, grouped["correct"], place, own)
        if given.dim() == 2:  # a subclass with a number for each token
            entering = given + (entering if entering.dim() == 2 else entering[:, None]) - started[:, None]
        return started, ended, entering.to(given.dtype)

    def _made_late(self, batch: Mapping[str, Tensor], now: Tensor) -> Tensor:
        """The advantages of a micro-batch, from the log-probabilities inside its loss."""
        own = {name.removeprefix(in_loss.OWN): batch[name] for name in batch if name.startswith(in_loss.OWN)}
        own["log_prob"] = torch.where(own["is_own"] > 0, now, 0.0).double()
        gather = self.accelerator.gather
        grouped, place = self._late.completed(own["log_prob"].sum(1), batch["place"], gather)
        started, ended, entering = self._made(grouped, place, batch, own)
        if (found := self._late.add(batch["place"], started, ended)) is not None:
            self._log(*map(gather, found))
        return entering

    def _is_changed(self, given: Tensor) -> Tensor:
        """Which completions have advantages that a subclass of GRPOTrainer made; refuses to replace them.

        Shapes:   given: (num_completions,) or (num_completions, num_positions). Returns (num_completions,).
        """
        if given.shape == self._advantages_of_trl.shape:
            is_changed = given != self._advantages_of_trl
        else:
            is_changed = torch.ones(len(given), dtype=torch.bool, device=given.device)
        if not self.method.keeps_baseline and is_changed.any():
            raise ValueError(
                f"{type(self).__name__}: it makes advantages of its own, which {self.method.id} would replace: want a "
                "base that leaves TRL's, or a method that adds a term"
            )
        return is_changed

    def _is_trl_own(self) -> bool:
        """Whether TRL's advantages are the method's already: no term, the same baseline, the same scorable rows."""
        if not self.method.keeps_baseline or any(self.values[name] for name in self._strengths):
            return False
        if self.method.is_normalised(self.values) and (self.values["ddof"], self.values["epsilon"]) != (1, TRL_EPSILON):
            return False
        is_nan = self._rewards.isnan()
        return bool((is_nan[:, self._verifier] == is_nan.all(dim=1)).all())

    def _inputs(self, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
            "num_tokens": lambda: gather(own["is_own"].sum(1).long().clamp(min=1)),
            "answer": lambda: gather(self._answers().to(self._rewards.device)),
        }
        return {name: made[name]() for name in self._given if name != "log_prob" or name in own}

    def _token_log_probs(self, batch: dict[str, Any], is_written: Tensor, *, is_late: bool) -> dict[str, Tensor]:
        """The log-probabilities that the method asks for, of each token; 0 where the model did not write it.

        `is_own` is 1.0 for the tokens that it wrote. Late ones are left to the loss.
        """
        is_own = is_written
        if self._tool_masks is not None:
            rows = [torch.tensor(row, device=is_own.device) for row in self._tool_masks]
            of_tools = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            is_own = is_written * torch.nn.functional.pad(of_tools, (0, is_own.size(1) - of_tools.size(1)))
        made = {"log_prob": self.policies.of_sampling, "base_log_prob": self.policies.of_base}
        wanted = [name for name in made if name in self._given and not (is_late and name == "log_prob")]
        found = {name: made[name](batch, is_written) for name in wanted}
        masked = {name: torch.where(is_own > 0, values, 0.0).double() for name, values in found.items()}
        return {**masked, "is_own": is_own.double()}

    def _answers(self) -> Tensor:
        """An integer for each completion, equal where the answers are, on every process."""
        texts = [text_of(one) for one in self._completions]
        digests = [blake2b(self.answer_of(text).encode(), digest_size=7).digest() for text in texts]
        return torch.tensor([int.from_bytes(one) for one in digests])

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss, with advantages that are made inside it: late ones, and those of single tokens.

        The latter are of token-level methods without an option of TRL's.
        """
        if self.model.training:
            self._window.count()
        if self.method.has_weight_of_its_own or "place" in inputs:
            self._in_loss = inputs = dict(inputs)
        self._is_loss_of_trl = False
        try:
            loss: Tensor = super()._compute_loss(model, inputs)  # type: ignore[misc]
            if self._in_loss is not None:
                raise ValueError(f"{self.method.id}: this loss of TRL's asks for no log-probabilities: want TRL 1.16")
        finally:
            self._in_loss = None
        if not self._is_loss_of_trl:
            raise ValueError(f"{type(self).__name__}: its loss does not come from TRL's: want a base that keeps it")
        return loss

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        """What TRL's gives; inside a loss it also makes advantages, or sets them to weight over ratio."""
        found = super()._get_per_token_logps_and_entropies(*args, **kwargs)  # type: ignore[misc]
        if self._in_loss is not None:
            inputs, self._in_loss = self._in_loss, None
            now, entropies = found[0].detach(), found[1].detach()
            if "place" in inputs:
                inputs["advantages"] = self._made_late(inputs, now)
            if not self.method.has_weight_of_its_own:
                return found
            ratio = torch.exp(now - inputs.get("old_per_token_logps", now))
            given = {
                "ratio": ratio,
                "advantage": inputs["advantages"][:, None].expand_as(ratio),
                "token_log_prob": now,
                "token_entropy": entropies,
                "is_top_token": inputs.get("is_top_token"),
                "uniform": torch.rand_like(ratio) if "uniform" in self.method.token_needs else None,
                "is_token": in_loss.mask_of(inputs).to(ratio.dtype),
            }
            names = table.named(self.method.token_weight, table.TOKEN_INPUTS)
            weights = calls.weigh_tokens(self.method, {name: given[name] for name in names}, self.values)
            inputs["advantages"] = weights / ratio
        return found

    def _log(self, plain: Tensor, shaped: Tensor) -> None:
        """Mean sizes over all processes, with and without the term, and the advantages in TRL's table.

        Raises ValueError, on every process, for advantages that are not finite.
        """
        if not shaped.isfinite().all():
            raise ValueError(f"{self.method.id}: it gave an advantage that is NaN or infinite: want finite numbers")
        correct = self._rewards[:, self._verifier]
        size, bonus = plain.abs().mean().item(), (shaped - plain).abs().mean().item()
        metrics = self._metrics["train" if self.model.training else "eval"]
        metrics["method/correct"].append(correct.nanmean().item())
        metrics["method/unscorable"].append(correct.isnan().double().mean().item())
        metrics["method/plain_advantage"].append(size)
        metrics["method/shaped_advantage"].append(shaped.abs().mean().item())
        metrics["method/bonus_ratio"].append(bonus / size if size else float("nan"))
        of_wrong = (shaped - plain)[correct == 0].abs().sum().item()
        metrics["method/wrong_share"].append(of_wrong / (bonus * shaped.numel()) if bonus else float("nan"))
        if self.model.training:
            self._warn_of_size(size, bonus)
        recorded = self._logs["advantages"]  # keeps the last batches only
        for _ in range(min(shaped.numel(), len(recorded))):
            recorded.pop()
        recorded.extend(shaped.tolist())

    def _warn_of_size(self, size: float, bonus: float) -> None:
        """Says once that the term has been larger than the advantage, over the batches so far."""
        if self._sizes is None or not self._strengths:
            return
        self._sizes.append((size, bonus))
        plain, term = (sum(part) for part in zip(*self._sizes, strict=True))
        if not term > MOST * plain > 0:
            return
        used = [name for name in self._strengths if self.values[name]]
        fitting = [f"{name} {self.values[name] * WANTED * plain / term:.2g}" for name in used]
        longer = "; a sum over tokens grows with length, a mean (reduction mean) does not"
        if self.accelerator.is_main_process:
            warnings.warn(
                f"the term of {self.method.id} is {term / plain:.3g} times as large as the advantage without it "
                f"(batches: {len(self._sizes)}): about {', '.join(fitting)} would make it {WANTED}"
                f"{longer if self.values['reduction'] == 'sum' else ''}",
                MethodWarning,
                stacklevel=2,
            )
        self._sizes = None
