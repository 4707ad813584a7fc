# %% [markdown]
# # A tour in one minute
#
# Does reinforcement learning sharpen a language model, and can it be prevented? Four questions, a few lines each. No
# GPU, no torch. Run it as a script from the root of the clone (`python examples/tour.py`), or cell by cell in an editor
# that knows `# %%`.

# %%
"""A claim, a method, a bandit and samples of two models, in one minute."""

import sharpening
from sharpening.theory import claims
from sharpening.theory.claims import ledger

# %% [markdown]
# ## 1. A claim that can fail
#
# B3.1: plain RL ends with all probability on the most likely correct answer. A claim is checked against something
# independent of its formula; the margin says how far from the tolerance it was.

# %%
for claim in claims.select(("B3.1",)):
    found = ledger.run(claim, seed=0)
    verdict = "holds" if found.worst_margin <= claim.tolerance else "fails"
    print(f"{claim.id} {verdict}: {claim.statement}")
    print(f"     worst of {found.instances}: {found.worst_margin:.1e}, allowed {claim.tolerance:.1e}")

# %% [markdown]
# ## 2. A method of one's own, before it costs GPU hours
#
# Pay a correct answer by how rare it is in its group. Does that sharpen? Where does it end?


# %%
def rank_bonus(reward, correct, log_prob, *, strength=0.2):
    """The reward above its group's mean; correct answers rarer than the group's average get more."""
    rarity = log_prob.mean(-1)[..., None] - log_prob
    return reward - reward.mean(-1)[..., None] + strength * correct * rarity


for row in sharpening.diagnose(rank_bonus):
    print(f"{row['property']:28} {row['verdict']}")

# %% [markdown]
# ## 3. A bandit: two correct answers, one three times as likely as the other
#
# Plain RL, and differential smoothing at two strengths. `alive` is the effective number of correct answers: 2 is both,
# 1 is one. All three learn to be correct; plain RL forgets an answer on the way.

# %%
bandit = {
    "base_policy": [0.3, 0.1, 0.4, 0.2],
    "correct": [1, 1, 0, 0],
    "method": "ds",
    "learning_rate": 0.1,
    "num_steps": 2000,
    "num_runs": 16,
    "record_every": 2000,
}
for row in sharpening.sweep(bandit, {"parameters.gamma_correct": [0.0, 0.1, 1.0]}):
    if row["step"] == bandit["num_steps"] and row["quantity"] in ("correctness", "solution_diversity"):
        name = {"correctness": "correct", "solution_diversity": "alive"}[row["quantity"]]
        print(f"strength {row['parameters.gamma_correct']:.1f}: {name:7} {row['mean']:.3f}")

# %% [markdown]
# ## 4. Samples of two models, before and after training
#
# 200 problems, 64 verified samples each: the difference in pass@k, with 95% intervals over problems.

# %%
files = ["examples/samples_base.csv", "examples/samples_grpo.csv"]
for row in sharpening.compare(files, k=[1, 8, 64]):
    if row["quantity"] == "pass_at_k_difference" and row["k"] in (1, 8, 64):
        print(f"pass@{row['k']:<2} {row['value']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]")

# %% [markdown]
# pass@1 is not resolved and pass@64 fell: that is sharpening. `docs/` says what else there is to ask.
