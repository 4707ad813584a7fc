"""The search behind docs/better_method.md: share rules x weights of prompts x a charge, each at its best setting.

    PYTHONPATH=. python -m benchmarks.design_search [--seeds 6] [--tables 8] > benchmarks/design_search.txt

Plain stochastic gradient on a tabular softmax, all settings (7 strengths x 6 learning rates) and seeds of a candidate
in one batch. Five single prompts, not those of the contests: the answers left when a run first has Q >= .99, of
the setting with most of them among those where every run gets there. Shared strategies: pass@1 and pass@8 at the end of
the setting with the largest sum. These are trials: their winners are compared on fresh seeds by
`bandits --only tuned_single tuned_shared`.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sharpening.theory import estimators, policies, shaping
from sharpening.theory.methods import baselines, sharing

Floats = NDArray[np.float64]
Rule = Callable[[Floats, Floats, Floats], tuple[Floats, Floats]]  # correct, log_prob, strength -> weights, bonus
STRENGTHS = (0.03, 0.1, 0.3, 0.6, 1.0, 3.0, 10.0)
RATES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
NEAT = 0.99
RECORD_EVERY = 10
NUM_PROMPTS, NUM_STRATEGIES, SHARED_STEPS = 12, 16, 600


class Prompt(NamedTuple):
    """One prompt: correct and wrong answers whose probabilities fall as powers of their rank."""

    num_correct: int
    num_wrong: int
    correctness: float
    exponent: float
    group_size: int
    num_steps: int

    def log_policy(self) -> Floats:
        """Its base policy, correct answers first, nats."""
        falls = (-self.exponent * np.log(np.arange(1, self.num_correct + 1)), -np.log(np.arange(1, self.num_wrong + 1)))
        masses = np.log([self.correctness, 1 - self.correctness])
        return np.concatenate([mass + policies.log_softmax(fall) for mass, fall in zip(masses, falls, strict=True)])


PROMPTS = (
    Prompt(4, 12, 0.3, 1.0, 4, 1500),
    Prompt(8, 100, 0.3, 1.0, 8, 1500),
    Prompt(32, 32, 0.3, 1.0, 16, 1000),
    Prompt(32, 16, 0.3, 2.0, 8, 1500),
    Prompt(116, 116, 0.3, 1.0, 64, 600),
)


def bonus(correct: Floats, log_prob: Floats, strength: Floats) -> Floats:
    """The term of DS."""
    return np.asarray(
        shaping.differential_smoothing(0 * correct, log_prob, correct, gamma_correct=strength, gamma_incorrect=0.0)
    )


def centred(correct: Floats, log_prob: Floats, strength: Floats) -> Floats:
    """The term of DS less its mean among the group's correct samples."""
    term = bonus(correct, log_prob, strength)
    number = np.maximum(correct.sum(axis=-1, keepdims=True), 1)
    return np.asarray(term - correct * term.sum(axis=-1, keepdims=True) / number)


def over_spread(correct: Floats, log_prob: Floats, strength: Floats) -> Floats:
    """A strength over the spread of log p among the group's correct samples, at least one nat."""
    return np.asarray(strength / np.maximum(sharing.correct_spread(correct, log_prob), 1.0))


def ranks(correct: Floats, log_prob: Floats) -> Floats:
    """Ranks of the correct samples by surprisal, from -1 to 1, ties by their place; 0 on wrong ones."""
    order = np.argsort(np.argsort(np.where(correct > 0, -log_prob, -np.inf), axis=-1), axis=-1)
    number = correct.sum(axis=-1, keepdims=True)
    place = order - (correct.shape[-1] - number)
    return np.asarray(correct * (2 * place / np.maximum(number - 1, 1) - (number > 1)))


def levelled(correct: Floats, log_prob: Floats, strength: Floats) -> tuple[Floats, Floats]:
    """A bonus of total size strength (1 - Q) a group, shared by 1/p."""
    share = correct * sharing.rarity_weight(correct, log_prob, 1.0)
    share /= np.maximum(correct.sum(axis=-1, keepdims=True), 1)
    size = strength * (1 - correct.mean(axis=-1, keepdims=True)) * correct.shape[-1]
    return np.ones_like(correct), size * share


RULES: dict[str, Rule] = {
    "ds": lambda c, log, s: (np.ones_like(c), bonus(c, log, s)),
    "ds centred": lambda c, log, s: (np.ones_like(c), centred(c, log, s)),
    "centred over spread": lambda c, log, s: (np.ones_like(c), centred(c, log, over_spread(c, log, s))),
    "ranks": lambda c, log, s: (np.ones_like(c), s * ranks(c, log)),
    "levelled": levelled,
    "shares p^-a": lambda c, log, s: (sharing.rarity_weight(c, log, s), 0 * c),
    "shares over spread": lambda c, log, s: (sharing.rarity_weight(c, log, over_spread(c, log, s)), 0 * c),
}
WEIGHTS = (0.0, 0.5, 1.0)  # powers of the mean reward by which a group is divided: Dr. GRPO, between, MaxRL


class Candidate(NamedTuple):
    """A share rule, a weight of prompts, and whether wrong samples share their push by the same rule."""

    rule: str
    difficulty: float
    is_charged: bool

    def advantage(self, correct: Floats, log_prob: Floats, strength: Floats) -> Floats:
        """The advantages of groups (..., group_size); strength broadcasts."""
        weight, added = RULES[self.rule](correct, log_prob, strength)
        found = baselines.dr_grpo(reward=correct * weight)
        mean = correct.mean(axis=-1, keepdims=True)
        found = (found + added) / np.where(mean > 0, mean, 1.0) ** self.difficulty
        if self.is_charged:
            charge = sharing.rarity_weight(1 - correct, log_prob, over_spread(1 - correct, log_prob, strength))
            found = np.where(correct > 0, found, found * charge)
        return np.asarray(found)


def candidates() -> Iterator[Candidate]:
    """Every rule with every weight of prompts; a charge with the two that lead without one."""
    for rule, difficulty in itertools.product(RULES, WEIGHTS):
        yield Candidate(rule, difficulty, False)
    for rule in ("shares over spread", "ds centred"):
        yield Candidate(rule, 1.0, True)


def drawn(rng: np.random.Generator, policy: Floats, size: int) -> NDArray[np.int64]:
    """Draws from each row of policies, (num_rows, size)."""
    rows, arms = policy.shape
    edges = np.cumsum(policy, axis=1)
    edges = edges / edges[:, -1:] + np.arange(rows)[:, None]
    places = np.searchsorted(edges.ravel(), rng.random((rows, size)) + np.arange(rows)[:, None], side="right")
    return np.minimum(places - np.arange(rows)[:, None] * arms, arms - 1)


def stepped(logits: Floats, policy: Floats, arms: NDArray[np.int64], advantage: Floats, rate: Floats) -> Floats:
    """The logits after one step of the score-function gradient, all arrays with a row a run."""
    rows, size = arms.shape
    flat = (np.arange(rows)[:, None] * policy.shape[1] + arms).ravel()
    pushed = np.bincount(flat, advantage.ravel() / size, minlength=policy.size).reshape(policy.shape)
    return np.asarray(logits + rate[:, None] * (pushed - policy * advantage.mean(axis=1, keepdims=True)))


def settings(seeds: int, *, tables: int = 1) -> tuple[Floats, Floats]:
    """Strength and rate of every run, in the order tables, strengths, rates, seeds."""
    grid = np.meshgrid(np.arange(tables), STRENGTHS, RATES, np.arange(seeds), indexing="ij")
    return grid[1].ravel(), grid[2].ravel()


def on_prompt(one: Candidate, prompt: Prompt, seeds: int) -> str:
    """The answers left at Q = .99 and Q at the end, of the best setting."""
    strength, rate = settings(seeds)
    rng = np.random.default_rng(0)
    logits = np.tile(prompt.log_policy(), (strength.size, 1))
    correct = np.repeat([1.0, 0.0], [prompt.num_correct, prompt.num_wrong])
    answers = np.full(strength.size, np.nan)
    for step in range(prompt.num_steps):
        log_policy = policies.log_softmax(logits)
        policy = np.exp(log_policy)
        if step % RECORD_EVERY == 0:
            number = estimators.solution_diversity(log_policy, correct)
            is_there = np.isnan(answers) & (policy @ correct >= NEAT)
            answers[is_there] = number[is_there]
        arms = drawn(rng, policy, prompt.group_size)
        log_prob = np.take_along_axis(log_policy, arms, axis=1)
        logits = stepped(logits, policy, arms, one.advantage(correct[arms], log_prob, strength[:, None]), rate)
    shape = (len(STRENGTHS), len(RATES), seeds)
    left = answers.reshape(shape).mean(axis=-1)  # NaN where a run did not get there
    mass = (np.exp(policies.log_softmax(logits)) @ correct).reshape(shape).mean(axis=-1)
    if np.isnan(left).all():
        return "never"
    best = np.unravel_index(np.nanargmax(left), left.shape)
    return f"{left[best]:.1f} ({mass[best]:.4f}; {STRENGTHS[best[0]]:g}, {RATES[best[1]]:g})"


def on_tables(one: Candidate, tables: Sequence[tuple[Floats, Floats]], seeds: int, group_size: int = 8) -> str:
    """pass@1 and pass@8 at the end, of the best setting, means over tables."""
    strength, rate = settings(seeds, tables=len(tables))
    runs = strength.size // len(tables)
    rng = np.random.default_rng(0)
    logits = np.repeat(np.stack([start for start, _ in tables]), runs, axis=0)
    solves = np.repeat(np.stack([table for _, table in tables]), runs, axis=0)
    prompts, places = np.repeat(np.arange(NUM_PROMPTS), group_size)[None], np.arange(strength.size)[:, None]
    shape = (strength.size, NUM_PROMPTS, group_size)
    for _ in range(SHARED_STEPS):
        log_policy = policies.log_softmax(logits)
        policy = np.exp(log_policy)
        arms = drawn(rng, policy, NUM_PROMPTS * group_size)
        correct = solves[places, prompts, arms].reshape(shape)
        log_prob = np.take_along_axis(log_policy, arms, axis=1).reshape(shape)
        advantage = one.advantage(correct, log_prob, strength[:, None, None]).reshape(arms.shape)
        logits = stepped(logits, policy, arms, advantage, rate)
    mass = np.einsum("rxn,rn->rx", solves, np.exp(policies.log_softmax(logits)))
    grid = (len(tables), len(STRENGTHS), len(RATES), seeds)
    first, eighth = (
        estimators.exact_pass_at_k(np.minimum(mass, 1.0), k).mean(axis=1).reshape(grid).mean(axis=(0, 3))
        for k in (1, 8)
    )
    best = np.unravel_index(np.argmax(first + eighth), first.shape)
    return f"{first[best]:.3f} {eighth[best]:.3f} ({STRENGTHS[best[0]]:g}, {RATES[best[1]]:g})"


def random_table(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """A log-normal base over strategies, and prompts that a share of .1 to .6 of them solves."""
    while True:
        solves = (rng.random((NUM_PROMPTS, NUM_STRATEGIES)) < rng.uniform(0.1, 0.6, (NUM_PROMPTS, 1))).astype(float)
        if solves.any(axis=1).all():
            return policies.log_softmax(rng.normal(0.0, 1.5, NUM_STRATEGIES)), solves


def main() -> None:
    """Prints a line a candidate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--tables", type=int, default=8)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    tables = [random_table(rng) for _ in range(options.tables)]
    names = [f"m {p.num_correct} w {p.num_wrong} G {p.group_size}" for p in PROMPTS]
    print("answers at Q = .99 (Q at the end; strength, rate), and pass@1 pass@8 (strength, rate) on shared tables\n")
    print(f"{'rule':20} {'/ Q^b':6}{'charge':8}" + "".join(f"{name:30}" for name in names) + "shared")
    for one in candidates():
        cells = [on_prompt(one, prompt, options.seeds) for prompt in PROMPTS]
        line = f"{one.rule:20} {one.difficulty:<6g}{'yes' if one.is_charged else '-':8}"
        shared = on_tables(one, tables, max(1, options.seeds // 3))
        print(line + "".join(f"{cell:30}" for cell in cells) + shared, flush=True)


if __name__ == "__main__":
    main()
