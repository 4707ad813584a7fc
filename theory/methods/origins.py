"""Where the defaults of the methods in the table come from, a line a parameter. Plain data."""

from __future__ import annotations

CODE = "code of a co-author of arXiv 2511.19942 (inferred)"
STD = {
    "ddof": f"0, population: {CODE} and arXiv 2602.02710's; 1, sample, is the other convention",
    "epsilon": "1e-6 is common in code; not published for every method",
}
LEFT_OPEN = {"k": "ours: no default is published, 2 is the least that differs from k = 1"}
PLACING = {
    "reduction": f"sum: the formula of arXiv 2511.19942 as summarised; mean and token: {CODE}",
    "placement": f"advantage: arXiv 2511.19942, Eq. 6 as summarised; reward: its Eq. 4 and {CODE}",
    "normalise": f"none: ours, as the theory has it; std: arXiv 2511.19942, Eq. 6; none in the last {CODE}",
    "centre": "none: arXiv 2511.19942 as summarised; the others are ours (claim E3)",
    "spread": f"whole: arXiv 2511.19942 as summarised; per_token_share: {CODE}",
    **STD,
}
SMOOTHING = {
    "gamma_correct": "ours: strong enough to be seen in a small simulation; code has .01 and .02",
    "gamma_incorrect": "ours: the charge on wrong answers is off unless asked for; code has .002 and .01",
    "reference": "sampling: arXiv 2511.19942, Eq. 6 as summarised; base: its Eq. 4",
    "least_members": "1: arXiv 2511.19942 as summarised; 2: the DS in arXiv 2605.00365's code",
    **PLACING,
}
GLOBAL = {
    "strength": "ours: that of ds, for comparison; published in the loss, per token: .001",
    "form": "reward: ours, the form of ds, for comparison; loss: usual in code",
    **PLACING,
}
BASELINE = {"normalise": "ours: the theory's reward is not divided by a standard deviation", **STD}
CLIPPING = {"clip_low": "a convention: .2", "clip_high": "a convention: .2"}
COVARIANCE = "arXiv 2505.22617"
MAXRL = {"epsilon": "arXiv 2602.02710's code"}
RARITY = {
    "strength": "ours: docs/better_method.md",
    "difficulty": "ours: docs/better_method.md; 1 is MaxRL's, 0 is Dr. GRPO's",
    "least_spread": "ours: one nat",
    "epsilon": "arXiv 2602.02710's code",
}
