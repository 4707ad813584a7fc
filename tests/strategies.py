"""Hypothesis strategies: logits in [-20, 20] (never probabilities), policies and problems made of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from sharpening.theory import policies
from sharpening.theory.policies import Floats, Problem

LOGIT = st.floats(-20.0, 20.0)


@st.composite
def logits(draw: st.DrawFn, *, min_arms: int = 1, max_arms: int = 8) -> Floats:
    """Logits of one policy, (num_arms,); one in three draws has ties."""
    size = draw(st.integers(min_arms, max_arms))
    pool = st.sampled_from(draw(st.lists(LOGIT, min_size=1, max_size=3))) if draw(st.integers(0, 2)) == 0 else LOGIT
    return np.array(draw(st.lists(pool, min_size=size, max_size=size)))


@st.composite
def policy_pairs(draw: st.DrawFn, *, max_arms: int = 8) -> tuple[Floats, Floats]:
    """Two policies over the same answers, log-probabilities in nats."""
    first = draw(logits(min_arms=2, max_arms=max_arms))
    second = draw(logits(min_arms=first.size, max_arms=first.size))
    return policies.log_softmax(first), policies.log_softmax(second)


@st.composite
def problems(draw: st.DrawFn, *, max_arms: int = 8, min_correct: int = 1) -> Problem:
    """A base policy and its correct answers in any order, with at least `min_correct` of them and a wrong one."""
    base = draw(logits(min_arms=min_correct + 1, max_arms=max_arms))
    num_correct = draw(st.integers(min_correct, base.size - 1))
    order = draw(st.permutations(range(base.size)))
    correct = np.zeros(base.size)
    correct[list(order[:num_correct])] = 1.0
    return Problem(policies.log_softmax(base), correct)
