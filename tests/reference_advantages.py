"""Advantages with log-probabilities, ranks or frequencies as loops over the samples of one group.

Written from the formulas of the methods; no import of `theory`. Advantages of plain 0/1 rewards come from the loops
over Fractions of `reference_groups`; everything with a log-probability is summed with `math.fsum`.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from tests import reference_groups

EPSILON = 1e-6


@dataclass(frozen=True)
class Group:
    """One group: what every sample of it carries."""

    rewards: tuple[int, ...]
    log_probs: tuple[float, ...]
    base_log_probs: tuple[float, ...]
    num_tokens: tuple[int, ...]
    answers: tuple[int, ...]

    @property
    def size(self) -> int:
        return len(self.rewards)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


@cache
def plain(rewards: tuple[int, ...], normalise: str, ddof: int) -> tuple[float, ...]:
    """Dr. GRPO or GRPO of 0/1 rewards, exact up to the last conversion."""
    if normalise == "none":
        exact = reference_groups.dr_grpo(rewards)
    else:
        exact = reference_groups.grpo(rewards, ddof=ddof, epsilon=Fraction(1, 10**6))
    return tuple(float(value) for value in exact)


def baseline(rewards: list[float], normalise: str, ddof: int = 0) -> list[float]:
    """The same for any rewards."""
    centre = mean(rewards)
    if normalise == "none":
        return [reward - centre for reward in rewards]
    if max(rewards) == min(rewards):
        return [0.0] * len(rewards)
    variance = math.fsum((reward - centre) ** 2 for reward in rewards) / (len(rewards) - ddof)
    return [(reward - centre) / (math.sqrt(variance) + EPSILON) for reward in rewards]


def reduced(group: Group, values: tuple[float, ...], reduction: str) -> list[float]:
    if reduction == "sum":
        return list(values)
    return [value / tokens for value, tokens in zip(values, group.num_tokens, strict=True)]


def placed(
    group: Group, terms: list[float], placement: str, normalise: str, centre: str, spread: str, ddof: int = 0
) -> list[float]:
    """The term of each sample, centred, spread and added to the advantage or to the reward."""
    size = range(group.size)
    if centre == "group":
        terms = [term - mean(terms) for term in terms]
    elif centre == "correct_only" and sum(group.rewards):
        inside = mean([terms[i] for i in size if group.rewards[i]])
        terms = [terms[i] - inside if group.rewards[i] else terms[i] for i in size]
    if placement == "reward":
        return baseline([group.rewards[i] + terms[i] for i in size], normalise, ddof)
    if spread == "per_token_share":
        terms = [terms[i] / group.num_tokens[i] for i in size]
    return [base + term for base, term in zip(plain(group.rewards, normalise, ddof), terms, strict=True)]


def ds(
    group: Group,
    gamma_correct: float = 0.1,
    gamma_incorrect: float = 0.0,
    reference: str = "sampling",
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    ddof: int = 0,
    centre: str = "none",
    spread: str = "whole",
    least_members: int = 1,
) -> list[float]:
    """A - g_c log q on correct samples, A + g_w log q on wrong ones, where the group has enough of their kind."""
    values = reduced(group, group.log_probs if reference == "sampling" else group.base_log_probs, reduction)
    terms = []
    for reward, value in zip(group.rewards, values, strict=True):
        is_alone = group.rewards.count(reward) < least_members
        terms.append(0.0 if is_alone else -gamma_correct * value if reward else gamma_incorrect * value)
    return placed(group, terms, placement, normalise, centre, spread, ddof)


def global_term(
    group: Group,
    strength: float,
    reduction: str = "sum",
    placement: str = "advantage",
    normalise: str = "none",
    centre: str = "none",
    spread: str = "whole",
) -> list[float]:
    """A - g log p on every sample: a bonus, or a penalty for negative strength."""
    terms = [-strength * value for value in reduced(group, group.log_probs, reduction)]
    return placed(group, terms, placement, normalise, centre, spread)


def kl_penalty(
    group: Group, kl_strength: float, reduction: str = "sum", placement: str = "advantage", normalise: str = "none"
) -> list[float]:
    """A - beta (log p - log b)."""
    ratios = tuple(own - base for own, base in zip(group.log_probs, group.base_log_probs, strict=True))
    terms = [-kl_strength * value for value in reduced(group, ratios, reduction)]
    return placed(group, terms, placement, normalise, "none", "whole")


def unlikeliness(group: Group, rank_strength: float = 0.25, ddof: int = 1) -> list[float]:
    """GRPO of r (1 - strength rank/N); a tie takes the mean of the ranks that its members would fill."""
    values = reduced(group, group.log_probs, "mean")
    ordered = sorted(values)
    rewards = []
    for reward, value in zip(group.rewards, values, strict=True):
        places = [place for place, other in enumerate(ordered) if other == value]
        rewards.append(reward * (1 - rank_strength * mean(places) / group.size))
    return baseline(rewards, "std", ddof)


def ucpo(group: Group, uniform_weight: float = 0.2, ddof: int = 1) -> list[float]:
    """GRPO times n_c ((1-tau)/n_c + tau v/sum v) on correct samples of groups with at least two."""
    advantages = list(plain(group.rewards, "std", ddof))
    members = [i for i in range(group.size) if group.rewards[i]]
    if len(members) < 2:
        return advantages
    values = reduced(group, group.log_probs, "mean")
    top = max(values[i] for i in members)
    total = math.fsum(math.exp(values[i] - top) for i in members)
    inverse = {i: 1 / max(math.exp(values[i] - top) / total, 1e-6) for i in members}
    inverse_total = math.fsum(inverse.values())
    for i in members:
        weight = (1 - uniform_weight) / len(members) + uniform_weight * inverse[i] / inverse_total
        advantages[i] *= len(members) * weight
    return advantages


def mara(group: Group, strength: float = 0.1, normalise: str = "none") -> list[float]:
    """R(z) + beta (log b(z) - log b(y)) on correct samples, z the one likeliest under the base."""
    rewards = [float(reward) for reward in group.rewards]
    members = [i for i in range(group.size) if group.rewards[i]]
    if members:
        anchor = max(members, key=lambda i: group.base_log_probs[i])
        for i in members:
            gap = group.base_log_probs[anchor] - group.base_log_probs[i]
            rewards[i] = group.rewards[anchor] + strength * gap
    return baseline(rewards, normalise)


def ips(group: Group, exponent: float = 1.0, normalise: str = "none", floor: float = 1e-6) -> list[float]:
    """r / max(frequency of the answer in the group, floor)^exponent."""
    rewards = []
    for reward, answer in zip(group.rewards, group.answers, strict=True):
        frequency = group.answers.count(answer) / group.size
        rewards.append(reward / max(frequency, floor) ** exponent)
    return baseline(rewards, normalise)


def qae(group: Group, quantile: Fraction = Fraction(2, 5)) -> list[float]:
    """(r - b)/std, b the least reward with at least a share `quantile` of the group at or below it."""
    values = sorted(group.rewards)
    bottom = next(v for v in values if Fraction(sum(other <= v for other in values), group.size) >= quantile)
    share = sum(group.rewards) / group.size
    spread = math.sqrt(share * (1 - share)) + EPSILON
    return [(reward - bottom) / spread for reward in group.rewards]


def a_grae(group: Group, batch_mean: float = 0.5) -> list[float]:
    """A (M .5/sqrt(mu) + (1-M) .5/(1 - sqrt(mu))), times M where above 0."""
    found = []
    for reward, value in zip(group.rewards, plain(group.rewards, "std", 0), strict=True):
        if 0 < sum(group.rewards) < group.size:
            root = math.sqrt(sum(group.rewards) / group.size)
            value *= batch_mean * 0.5 / root + (1 - batch_mean) * 0.5 / (1 - root)
        found.append(value * batch_mean if reward and value > 0 else value)
    return found


def entropic(group: Group, control: float = 0.1) -> list[float]:
    """A (1 + a) on correct samples, A (1 - a) on wrong ones."""
    pairs = zip(group.rewards, plain(group.rewards, "std", 0), strict=True)
    return [value * (1 + control) if reward else value * (1 - control) for reward, value in pairs]


def cue_grpo(group: Group, exponent: float = 0.8, least: float = 0.3, most: float = 3.0) -> list[float]:
    """A times n_c size^-a / sum over correct of size^-a, clipped, on correct samples."""
    right = [answer for answer, reward in zip(group.answers, group.rewards, strict=True) if reward]
    total = math.fsum(right.count(answer) ** -exponent for answer in right)
    found = []
    for reward, answer, value in zip(group.rewards, group.answers, plain(group.rewards, "std", 0), strict=True):
        if reward:
            value *= min(max(len(right) * right.count(answer) ** -exponent / total, least), most)
        found.append(value)
    return found


def uarl(group: Group, exponent: float = 1.0) -> list[float]:
    """A / size^a, size the samples of the group with the same answer."""
    pairs = zip(group.answers, plain(group.rewards, "std", 0), strict=True)
    return [value / group.answers.count(answer) ** exponent for answer, value in pairs]


def rarity_maxrl(
    group: Group, strength: float = 0.3, difficulty: float = 0.6, least_spread: float = 1.0
) -> list[float]:
    """r X p^-a / sum over correct of p^-a less the mean reward, over that mean; a = strength over the spread."""
    right = [log for log, reward in zip(group.log_probs, group.rewards, strict=True) if reward]
    if not right:
        return [0.0] * group.size
    exponent = strength / max(least_spread, statistics.pstdev(right))
    total = math.fsum(math.exp(exponent * (min(right) - log)) for log in right)
    found, rate = [], len(right) / group.size
    for log, reward in zip(group.log_probs, group.rewards, strict=True):
        share = len(right) * math.exp(exponent * (min(right) - log)) / total if reward else 0.0
        found.append((share - rate) / (rate + EPSILON) ** difficulty)
    return found


def edas(group: Group, spread: float = 0.4, collapse: float = 0.2, cap: float = 2.0) -> list[float]:
    """A plus, on wrong samples, spread S (I - H)/ln N_w, or -collapse S for one kind of error; capped."""
    advantages = list(plain(group.rewards, "std", 0))
    wrong = [i for i in range(group.size) if not group.rewards[i]]
    if not wrong:
        return advantages
    size = mean([abs(advantages[i]) for i in wrong])
    kinds = [group.answers[i] for i in wrong]
    shares = {kind: kinds.count(kind) / len(kinds) for kind in kinds}
    entropy = -math.fsum(share * math.log(share) for share in shares.values())
    for i in wrong:
        if len(shares) == 1:
            term = -collapse * size
        else:
            term = spread * size * (-math.log(shares[group.answers[i]]) - entropy) / math.log(len(wrong))
        most = abs(advantages[i]) / cap
        advantages[i] += min(max(term, -most), most)
    return advantages
