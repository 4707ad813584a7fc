"""Group advantages with a term of the log-probability: differential smoothing, global entropy terms and KL.

A term of each completion is added to a group advantage. The options say how, and are the same for all four methods,
so that comparisons change the term and nothing else:

- reduction: which log-probability enters, `sum` over the tokens, `mean` per token, or `token`: every token its own.
  An advantage has one number a completion, so for `token` it is the mean over the completion's tokens;
  `token_terms` gives the tokens one by one.
- placement: `advantage` adds the term after the group baseline, `reward` before it.
- normalise: `none` subtracts the group mean (`baselines.dr_grpo`), `std` also divides by the group's standard
  deviation (`baselines.grpo`, with `ddof` and `epsilon`).
- centre: `none`, `group` subtracts the group's mean term, `correct_only` subtracts from the terms of correct samples
  their mean and leaves those of wrong samples as they are.
- spread: `whole` gives every token of the completion the term, `per_token_share` the term over the number of tokens,
  after any centring, so that it sums to the term once.
- least_members (of `ds`): correct samples get their term if the group has this many of them, wrong samples likewise.

Inputs are float arrays (..., group_size) of any array-API library; log-probabilities are in nats and carry no
gradient. Which of the three that default to None are needed follows from the options.

Departures: (1) correctness is an argument, never reward > 0; (2) the code in use feeds the terms to a loss that
averages over tokens in several ways, which is the caller's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from array_api_compat import array_namespace

from sharpening.theory import shaping
from sharpening.theory.methods import baselines

Array = Any  # an array of NumPy, torch or any array-API library

CHOICES = MappingProxyType(
    {
        "reference": ("sampling", "base"),
        "form": ("reward", "loss"),
        "reduction": ("sum", "mean", "token"),
        "placement": ("advantage", "reward"),
        "normalise": ("none", "std"),
        "centre": ("none", "group", "correct_only"),
        "spread": ("whole", "per_token_share"),
    }
)


@dataclass(frozen=True)
class TermOptions:
    """How a term joins the group advantage; see the head of this module.

    Raises ValueError for an unknown choice and for two choices that exclude each other.
    """

    reduction: str
    placement: str
    normalise: str
    ddof: int
    epsilon: float
    centre: str
    spread: str
    least_members: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning."""
        for name in ("reduction", "placement", "normalise", "centre", "spread"):
            require_choice(getattr(self, name), name)
        if not self.least_members >= 1:
            raise ValueError(f"least_members is {self.least_members!r}: it must be at least 1")
        group_options = (self.placement, self.centre, self.spread, self.least_members)
        if self.reduction == "token" and group_options != ("advantage", "none", "whole", 1):
            raise ValueError(
                "reduction is 'token': every token has a term of its own, so placement must be 'advantage', centre "
                f"'none', spread 'whole' and least_members 1, not {', '.join(map(repr, group_options))}"
            )
        if self.placement == "reward" and self.spread != "whole":
            raise ValueError("spread is 'per_token_share': a reward has no tokens, so placement must be 'advantage'")

    @property
    def needs_num_tokens(self) -> bool:
        """Whether the number of tokens enters."""
        return self.reduction != "sum" or self.spread == "per_token_share"


def require_choice(value: str, name: str) -> None:
    """Raises ValueError unless the value is one of the option's choices."""
    if value not in CHOICES[name]:
        raise ValueError(f"{name} is {value!r}: it must be one of {', '.join(CHOICES[name])}")


def ds(
    *,
    reward: Array,
    correct: Array,
    log_prob: Array = None,
    base_log_prob: Array = None,
    num_tokens: Array = None,
    gamma_correct: float = 0.1,
    gamma_incorrect: float = 0.0,
    reference: str = "sampling",
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
    centre: str = "none",
    spread: str = "whole",
    least_members: int = 1,
) -> Array:
    """Differential smoothing: rare correct answers get more, rare wrong answers less.

    With both gammas 0 it is `baselines.dr_grpo` (normalise none) or `baselines.grpo` (std), bit for bit.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: log_prob with reference sampling, base_log_prob with reference base, num_tokens unless reduction is sum
              and spread whole.      Raises ValueError naming the option and the input.
    Source:   arXiv 2511.19942, Eq. 4 (placement reward) and Eq. 6 (advantage), as summarised. Claims A3, B6, B8, E3.

    >>> import numpy as np
    >>> ds(reward=np.eye(2)[:1], correct=np.eye(2)[:1], log_prob=np.array([[-3.0, -1.0]]), gamma_incorrect=0.2)
    array([[ 0.8, -0.7]])
    """
    options = TermOptions(reduction, placement, normalise, ddof, epsilon, centre, spread, least_members)
    require_choice(reference, "reference")
    name, chosen = ("log_prob", log_prob) if reference == "sampling" else ("base_log_prob", base_log_prob)
    reduced = reduced_log_prob(required(chosen, name, "reference", reference), num_tokens, options)
    term = shaping.differential_smoothing(
        0 * reward, reduced, correct, gamma_correct=gamma_correct, gamma_incorrect=gamma_incorrect
    )
    return with_term(reward, correct, among(term, correct, least_members), num_tokens, options)


def entropy_bonus(
    *,
    reward: Array,
    correct: Array = None,
    log_prob: Array = None,
    num_tokens: Array = None,
    strength: float = 0.1,
    form: str = "reward",
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
    centre: str = "none",
    spread: str = "whole",
) -> Array:
    """The group advantage with a global entropy bonus: every rare answer gets more, correct or not.

    With form loss the term is not part of the advantage: `token_weights.entropy_gradient` is its exact gradient.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: log_prob with form reward, correct with centre correct_only, num_tokens as in `ds`.
    Source:   the global control of arXiv 2511.19942, as summarised. Claims A3, A4, B7, B11.
    """
    options = TermOptions(reduction, placement, normalise, ddof, epsilon, centre, spread)
    require_choice(form, "form")
    if form == "loss":
        return group_baseline(reward, options)
    reduced = reduced_log_prob(required(log_prob, "log_prob", "form", form), num_tokens, options)
    term = shaping.entropy_bonus(0 * reward, reduced, correct, strength=strength)
    return with_term(reward, correct, term, num_tokens, options)


def entropy_penalty(
    *,
    reward: Array,
    correct: Array = None,
    log_prob: Array = None,
    num_tokens: Array = None,
    strength: float = 0.1,
    form: str = "reward",
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
    centre: str = "none",
    spread: str = "whole",
) -> Array:
    """The group advantage with a global entropy penalty: every rare answer gets less, correct or not.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: the inputs of `entropy_bonus`.
    Source:   the other global control of arXiv 2511.19942, as summarised; arXiv 2505.15134. Claim A3.
    """
    options = TermOptions(reduction, placement, normalise, ddof, epsilon, centre, spread)
    require_choice(form, "form")
    if form == "loss":
        return group_baseline(reward, options)
    reduced = reduced_log_prob(required(log_prob, "log_prob", "form", form), num_tokens, options)
    term = shaping.entropy_penalty(0 * reward, reduced, correct, strength=strength)
    return with_term(reward, correct, term, num_tokens, options)


def kl_penalty(
    *,
    reward: Array,
    correct: Array = None,
    log_prob: Array = None,
    base_log_prob: Array = None,
    num_tokens: Array = None,
    kl_strength: float = 0.04,
    form: str = "reward",
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    ddof: int = 0,
    epsilon: float = 1e-6,
    centre: str = "none",
    spread: str = "whole",
) -> Array:
    """The group advantage minus the log-ratio to the base policy: a KL penalty whose expected step is KL(p||b)'s.

    With form loss the term is not part of the advantage: `token_weights.kl_gradient` is its exact gradient.

    Shapes:   (..., group_size) each, group_size >= 2. Returns the same shape.
    Requires: log_prob and base_log_prob with form reward, the rest as in `entropy_bonus`.
    Source:   the estimator k1 in the reward, claim B12; the published estimator k3 in the loss of arXiv 2402.03300
              follows KL(b||p) instead.
    """
    options = TermOptions(reduction, placement, normalise, ddof, epsilon, centre, spread)
    require_choice(form, "form")
    if form == "loss":
        return group_baseline(reward, options)
    reduced = reduced_log_prob(required(log_prob, "log_prob", "form", form), num_tokens, options)
    base = reduced_log_prob(required(base_log_prob, "base_log_prob", "form", form), num_tokens, options)
    term = shaping.kl_penalty(0 * reward, reduced, base, strength=kl_strength)
    return with_term(reward, correct, term, num_tokens, options)


def token_terms(
    *, correct: Array, token_log_prob: Array, is_token: Array, gamma_correct: float, gamma_incorrect: float
) -> Array:
    """The term of differential smoothing of every token, from its own log-probability; 0 on padding.

    Added to the advantage without a term it is reduction token. Its mean over a completion's tokens is what `ds`
    adds there.

    Shapes:   correct: (..., group_size), token_log_prob, is_token (1.0 or 0.0): (..., group_size, num_positions).
              Returns the shape of token_log_prob.
    Source:   the first form found in practice (per-token log-probabilities after a normalised group advantage).
    """
    xp = array_namespace(correct, token_log_prob)
    labels = xp.expand_dims(correct, axis=-1)  # (..., group_size, 1)
    known = xp.where(is_token > 0, token_log_prob, xp.zeros_like(token_log_prob))  # padding may hold anything
    return shaping.differential_smoothing(
        0 * labels, known, labels, gamma_correct=gamma_correct, gamma_incorrect=gamma_incorrect
    )


def group_baseline(reward: Array, options: TermOptions) -> Array:
    """The reward minus its group mean, over the standard deviation if the options say so.

    Shapes:   (..., group_size), group_size >= 2. Returns the same shape.
    """
    if options.normalise == "none":
        return baselines.dr_grpo(reward=reward)
    return baselines.grpo(reward=reward, ddof=options.ddof, epsilon=options.epsilon)


def reduced_log_prob(log_prob: Array, num_tokens: Array, options: TermOptions) -> Array:
    """The log-probability of each completion that enters the term: sum over its tokens, or mean per token.

    Shapes:   (..., group_size) each. Returns the same shape.
    """
    if options.needs_num_tokens:
        name = "spread" if options.reduction == "sum" else "reduction"
        required(num_tokens, "num_tokens", name, getattr(options, name))
    return shaping.per_answer_log_prob(log_prob, num_tokens, is_token_mean=options.reduction != "sum")


def with_term(reward: Array, correct: Array, term: Array, num_tokens: Array, options: TermOptions) -> Array:
    """The group advantage of the reward, with the term centred, spread and placed by the options.

    Shapes:   (..., group_size) each. Returns the same shape.
    """
    term = centred(term, correct, options.centre)
    if options.placement == "reward":
        return group_baseline(reward + term, options)
    if options.spread == "per_token_share":
        term = term / num_tokens
    return group_baseline(reward, options) + term


def among(term: Array, correct: Array, least_members: int) -> Array:
    """The term, 0 on samples of which the group has fewer than `least_members` of the same correctness.

    Shapes:   (..., group_size) each. Returns the same shape.
    """
    if least_members <= 1:
        return term
    xp = array_namespace(term)
    num_correct = xp.sum(correct, axis=-1, keepdims=True)  # (..., 1)
    members = correct * num_correct + (1 - correct) * (correct.shape[-1] - num_correct)
    return xp.where(members >= least_members, term, xp.zeros_like(term))


def centred(term: Array, correct: Array, centre: str) -> Array:
    """The term minus its mean over the group, or over the group's correct samples on those alone.

    Shapes:   (..., group_size) each. Returns the same shape.
    Source:   claim E3 for `correct_only`, ours.
    """
    if centre == "none":
        return term
    xp = array_namespace(term)
    if centre == "group":
        return term - xp.mean(term, axis=-1, keepdims=True)
    required(correct, "correct", "centre", centre)
    num_correct = xp.sum(correct, axis=-1, keepdims=True)  # (..., 1)
    total = xp.sum(correct * term, axis=-1, keepdims=True)
    return term - correct * total / xp.where(num_correct > 0, num_correct, xp.ones_like(num_correct))


def required(values: Array, name: str, option: str, choice: str) -> Array:
    """The input itself; raises ValueError naming it and the option that asks for it if it is missing."""
    if values is None:
        raise ValueError(f"{name} is missing: {option} {choice!r} needs it")
    return values
