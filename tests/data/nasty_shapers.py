"""Advantage functions that fooled an earlier diagnosis, or might: data for tests and benchmarks/search_diagnosis.py.

As a user writes them; a docstring says what is odd about one where its name does not.
"""

import numpy as np

CHANCE = np.random.default_rng(0)


def _centred(reward):
    return reward - reward.mean(1, keepdims=True)


def running_baseline(reward):
    """The reward minus the mean reward of the groups before it in the batch, of its own for the first."""
    mean = reward.mean(1, keepdims=True)
    row = np.arange(len(mean))[:, None]
    before = (np.cumsum(mean, 0) - mean) / np.maximum(row, 1)
    return reward - np.where(row > 0, before, mean)


def first_group_differs(reward):
    return _centred(reward) * np.where(np.arange(len(reward))[:, None] == 0, 1.0, 2.0)


def cyclic_bonus(reward, correct, answer, s: float = 1.0):
    """Pays correct samples beside an equal one: reversal and rotation of a group leave it as it is."""
    beside = (np.roll(answer, 1, 1) == answer).astype(float) + (np.roll(answer, -1, 1) == answer)
    return _centred(reward) + s * correct * beside


def float32_grpo(reward):
    single = reward.astype(np.float32)
    return (single - single.mean(1, keepdims=True)) / (single.std(1, keepdims=True) + np.float32(1e-6))


def float32_drgrpo(reward):
    single = reward.astype(np.float32)
    return single - single.mean(1, keepdims=True)


def float32_ds(reward, correct, log_prob, gamma: float = 0.3):
    single, right, surprise = (values.astype(np.float32) for values in (reward, correct, log_prob))
    return (single - single.mean(1, keepdims=True)) - np.float32(gamma) * right * surprise


def float32_ucorr(reward, correct, log_prob, gamma: float = 0.3):
    single, right, surprise = (values.astype(np.float32) for values in (reward, correct, log_prob))
    number = np.maximum(right.sum(1, keepdims=True), 1)
    term = -np.float32(gamma) * right * surprise
    return (single - single.mean(1, keepdims=True)) + right * (term - term.sum(1, keepdims=True) / number)


def nan_large(reward):
    return _centred(reward) * (np.nan if reward.shape[1] >= 6 else 1.0)


def shape_large(reward):
    return _centred(reward)[:, :3] if reward.shape[1] >= 6 else _centred(reward)


def half_baseline(reward, answer, s: float = 1.0):
    """In groups of six and more the first sample's answer is not paid: order matters, and only there."""
    if reward.shape[1] < 6:
        return _centred(reward)
    return _centred(reward) - s * reward * (answer == answer[:, :1])


def sharpens_large_g(reward, correct, log_prob, s: float = 1.0):
    """Smooths in groups of up to eight and sharpens in larger ones."""
    sign = -1.0 if reward.shape[1] <= 8 else 1.0
    term = sign * s * correct * log_prob
    return _centred(reward) + correct * (
        term - term.sum(1, keepdims=True) / np.maximum(correct.sum(1, keepdims=True), 1)
    )


def weak_bonus(reward, log_prob, strength: float = 0.01):
    """A wrong answer is above a correct one from 100 nats on."""
    return _centred(reward) - strength * log_prob


def weak_kl(reward, log_prob, base_log_prob, strength: float = 0.01):
    return _centred(reward) - strength * (log_prob - base_log_prob)


def capped(reward, correct, log_prob, gamma: float = 0.5, cap: float = 2.0):
    return _centred(reward) + correct * np.minimum(-gamma * log_prob, cap)


def capped_low(reward, correct, log_prob, gamma: float = 1.0, cap: float = 0.05):
    return _centred(reward) + correct * np.minimum(-gamma * log_prob, cap)


def threshold(reward, correct, log_prob, s: float = 2.0):
    return _centred(reward) + s * correct * (log_prob < np.log(0.05))


def std_bonus(reward, correct, log_prob, gamma: float = 0.5):
    term = -log_prob
    spread = term.std(1, keepdims=True) + 1e-6
    return _centred(reward) + gamma * correct * (term - term.mean(1, keepdims=True)) / spread


def rank_bonus(reward, correct, log_prob, gamma: float = 0.5):
    rank = (log_prob[:, :, None] < log_prob[:, None, :]).sum(-1)
    return _centred(reward) + gamma * correct * rank / reward.shape[1]


def stochastic(reward):
    return _centred(reward) + 1e-3 * CHANCE.normal(size=reward.shape)


def rarely_stochastic(reward):
    noise = CHANCE.normal(size=reward.shape)
    return _centred(reward) + (noise if reward.shape[1] >= 6 else 0)


def tokens(reward, num_tokens):
    return _centred(reward) / num_tokens


def neg_ds(reward, correct, log_prob, gamma: float = -0.3):
    return _centred(reward) - gamma * correct * log_prob


def base_only(reward, correct, base_log_prob, gamma: float = 0.3):
    return _centred(reward) - gamma * correct * base_log_prob


def base_ratio(reward, correct, log_prob, base_log_prob, gamma: float = 0.3):
    return _centred(reward) - gamma * correct * (log_prob - base_log_prob)


def two_only(reward, correct, answer, s: float = 1.0):
    """Smooths two distinct correct answers of a group; where there are three it sharpens."""
    same = (answer[:, :, None] == answer[:, None, :]).mean(-1)
    pairs = zip(answer, correct, strict=True)
    distinct = np.array([len(set(one[right > 0])) for one, right in pairs])[:, None]
    return _centred(reward) + s * np.where(distinct >= 3, 1.0, -1.0) * correct * same


def int_strength(reward, correct, log_prob, strength: int = 1):
    return _centred(reward) - strength * correct * log_prob


def turns_deep(reward, correct, log_prob, s: float = 0.5):
    """Smooths unless a correct answer lies below -12 nats, whose bonus has the other sign."""
    return _centred(reward) - s * correct * log_prob * np.where(log_prob < -12, -1, 1)


def wrong_shape(reward):
    return _centred(reward).mean(1)


def broadcast_shape(reward):
    return reward.mean(1, keepdims=True)


def window(reward, correct, log_prob, s: float = 5.0):
    """A correct sample whose probability lies in (.4725, .4875) loses s."""
    probability = np.exp(log_prob)
    return _centred(reward) - s * correct * ((probability > 0.4725) & (probability < 0.4875))


def _shares(correct, log_prob, power):
    """Shares of the group's correct samples in proportion to p^-power."""
    lowered = np.where(correct > 0, -power * log_prob, -np.inf)
    top = lowered.max(axis=1, keepdims=True)
    weight = np.where(correct > 0, np.exp(lowered - np.where(np.isfinite(top), top, 0)), 0)
    total = weight.sum(axis=1, keepdims=True)
    return weight / np.where(total > 0, total, 1)


def multiplicative(reward, correct, log_prob, power: float = 0.2):
    """Correct samples share the group's push in proportion to p^-power, mean weight 1."""
    weight = _shares(correct, log_prob, power) * correct.sum(axis=1, keepdims=True)
    return _centred(reward * np.where(correct > 0, weight, 1.0))


def levelled(reward, correct, log_prob, power: float = 0.2, rho: float = 0.3):
    """A bonus of total size rho (1 - Q) a group, shared by the correct samples."""
    room = 1 - correct.mean(axis=1, keepdims=True)
    return _centred(reward) + rho * room * reward.shape[1] * _shares(correct, log_prob, power)


def mixture(reward, correct, share: float = 0.5, k: int = 8):
    """A weight of the correctness of the other samples: NaN in groups of one, a method for groups of two and more."""
    others = (correct.sum(axis=1, keepdims=True) - correct) / np.float64(reward.shape[1] - 1)
    return (share + (1 - share) * k * (1 - others) ** (k - 1)) * _centred(reward)


def inverse_probability(reward, correct, log_prob):
    """Overflows below -709 nats, where no policy goes."""
    return _centred(reward) + 0.1 * correct * np.exp(-log_prob) * (1 - correct.mean(axis=1, keepdims=True))
