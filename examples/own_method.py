"""An advantage function of one's own, as check-shaper, preview, simulate, llm and a TRL script read it.

Arguments by name, out of reward correct log_prob base_log_prob num_tokens answer: arrays (..., group_size) of NumPy or
torch, so only what both have. Other arguments are parameters and have defaults.
"""


def rare_bonus(reward, correct, log_prob, strength=0.05):
    """The reward less its group mean; correct answers that are rarer than their group get more."""
    baseline = reward - reward.mean(-1)[..., None]
    rarity = log_prob.mean(-1)[..., None] - log_prob
    return baseline + strength * correct * rarity
