"""Reward shapers: identities, number types that share the line, and when shaping keeps correct above wrong."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, given
from hypothesis import strategies as st

from sharpening.theory import policies, shaping
from tests.strategies import logits, problems
from tests.tolerances import BROKEN, FLOAT64

STRENGTHS = st.floats(0.0, 10.0)


def smoothed(reward, log_prob, correct):
    return shaping.differential_smoothing(
        reward, log_prob, correct, gamma_correct=Fraction(1, 8), gamma_incorrect=Fraction(3, 4)
    )


def bonus(reward, log_prob, correct):
    return shaping.entropy_bonus(reward, log_prob, correct, strength=Fraction(5, 8))


def penalty(reward, log_prob, correct):
    return shaping.entropy_penalty(reward, log_prob, correct, strength=Fraction(5, 8))


# dyadic numbers: floats hold them and every result exactly
ROWS = [(reward, log_prob, correct) for reward in (0, 1) for log_prob in (-0.25, -3.0, 0.0) for correct in (0, 1)]


@given(logits=logits(), label=st.sampled_from([0.0, 1.0]))
def test_zero_strength_is_identity(logits, label):
    """With strength zero every shaper returns the reward it was given, to the last bit."""
    log_policy, correct = policies.log_softmax(logits), np.full(logits.size, label)
    reward = np.cos(logits)
    for shaped in (
        shaping.vanilla(reward, log_policy, correct),
        shaping.entropy_bonus(reward, log_policy, correct, strength=0.0),
        shaping.entropy_penalty(reward, log_policy, correct, strength=0.0),
        shaping.differential_smoothing(reward, log_policy, correct, gamma_correct=0.0, gamma_incorrect=0.0),
    ):
        np.testing.assert_array_equal(shaped, reward)


@pytest.mark.parametrize(
    ("shape", "by_hand"),
    [
        (bonus, lambda r, log, c: r - Fraction(5, 8) * log),
        (penalty, lambda r, log, c: r + Fraction(5, 8) * log),
        (smoothed, lambda r, log, c: r - Fraction(1, 8) * log if c else r + Fraction(3, 4) * log),
    ],
    ids=["bonus", "penalty", "smoothing"],
)
def test_all_number_types_give_the_same_numbers(shape, by_hand):
    """Fractions, SymPy symbols, NumPy arrays and torch tensors go through one line and agree exactly."""
    symbols = sp.symbols("reward log_prob correct")
    expression = shape(*symbols)
    expected = [by_hand(*map(Fraction, row)) for row in ROWS]
    assert [shape(*map(Fraction, row)) for row in ROWS] == expected
    symbolic = [expression.subs(dict(zip(symbols, map(sp.Rational, row), strict=True))) for row in ROWS]
    assert symbolic == [sp.Rational(value.numerator, value.denominator) for value in expected]
    as_floats = [float(value) for value in expected]
    columns = np.array(ROWS, dtype=object).T
    assert shape(*columns.astype(np.float64).astype(object)).tolist() == as_floats
    assert [float(shape(*map(np.float64, row))) for row in ROWS] == as_floats


def test_arrays_and_tensors_agree():
    """The same row of answers as NumPy arrays, as float32, and as torch tensors where torch is installed."""
    columns = np.array(ROWS, dtype=np.float64).T
    strengths = {"gamma_correct": 0.125, "gamma_incorrect": 0.75}
    shaped = shaping.differential_smoothing(*columns, **strengths)
    expected = [r - 0.125 * log if c else r + 0.75 * log for r, log, c in ROWS]
    assert shaped.tolist() == expected
    single = shaping.differential_smoothing(*columns.astype(np.float32), **strengths)
    assert single.dtype == np.float32
    assert single.tolist() == expected
    torch = pytest.importorskip("torch")
    tensor = shaping.differential_smoothing(*map(torch.tensor, columns), **strengths)
    assert tensor.tolist() == expected


@given(problem=problems(), gamma_correct=STRENGTHS, gamma_incorrect=STRENGTHS)
def test_smoothing_keeps_correct_above_wrong(problem, gamma_correct, gamma_incorrect):
    """For strengths >= 0 a correct answer is paid at least 1 and a wrong one at most 0, whatever their probability."""
    shaped = shaping.differential_smoothing(
        problem.correct,
        problem.base_log_policy,
        problem.correct,
        gamma_correct=gamma_correct,
        gamma_incorrect=gamma_incorrect,
    )
    assert shaped[problem.is_correct].min() >= 1
    assert shaped[~problem.is_correct].max() <= 0


@given(problem=problems(), is_penalty=st.booleans())
def test_a_global_term_keeps_the_order_exactly_up_to_its_bound(problem, is_penalty):
    """With u = -log p a bonus g pays 1 + g u on C and g u on W: the order holds iff g (max u_W - min u_C) <= 1.

    A penalty is the same with C and W exchanged: iff g (max u_C - min u_W) <= 1. No bound where that range is <= 0.
    """
    surprisal = -problem.base_log_policy
    right, wrong = surprisal[problem.is_correct], surprisal[~problem.is_correct]
    spread = right.max() - wrong.min() if is_penalty else wrong.max() - right.min()
    assume(spread > 1e-3)
    shape = shaping.entropy_penalty if is_penalty else shaping.entropy_bonus

    def keeps_order(strength: float) -> bool:
        paid = shape(problem.correct, problem.base_log_policy, problem.correct, strength=strength)
        return bool(paid[problem.is_correct].min() >= paid[~problem.is_correct].max())

    assert keeps_order((1 - BROKEN) / spread)
    assert not keeps_order((1 + BROKEN) / spread)


@given(problem=problems(), strength=STRENGTHS)
def test_a_global_term_is_smoothing_with_opposite_strengths(problem, strength):
    """Bonus g is differential smoothing with (g, -g), penalty g with (-g, g)."""
    arguments = (problem.correct, problem.base_log_policy, problem.correct)
    for shape, sign in ((shaping.entropy_bonus, 1), (shaping.entropy_penalty, -1)):
        twin = shaping.differential_smoothing(
            *arguments, gamma_correct=sign * strength, gamma_incorrect=-sign * strength
        )
        np.testing.assert_allclose(shape(*arguments, strength=strength), twin, rtol=FLOAT64)


def test_correct_is_a_label_and_not_the_reward():
    """A shaped reward of 0.2 on a correct answer still gets the bonus: correctness is read from `correct` alone."""
    paid = shaping.differential_smoothing(
        np.array([0.0, 0.5]), np.array([-2.0, -2.0]), np.array([1.0, 0.0]), gamma_correct=0.25, gamma_incorrect=0.125
    )
    assert paid.tolist() == [0.5, 0.25]


def test_broadcasts_over_groups_and_strengths():
    """A batch of groups, one strength per prompt, one log-probability per answer."""
    correct = np.array([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])  # (num_prompts, group_size)
    log_prob = np.array([-1.0, -2.0, -4.0])  # (group_size,)
    gamma = np.array([[0.5], [0.25]])  # (num_prompts, 1)
    paid = shaping.differential_smoothing(correct, log_prob, correct, gamma_correct=gamma, gamma_incorrect=2 * gamma)
    assert paid.tolist() == [[1.5, -2.0, 3.0], [-0.5, -1.0, 2.0]]


def test_token_mean_divides_by_the_length():
    """The sum form leaves the log-probability alone, the mean form divides it."""
    log_prob, num_tokens = np.array([-6.0, -8.0]), np.array([3, 2])
    assert shaping.per_answer_log_prob(log_prob, num_tokens, is_token_mean=True).tolist() == [-2.0, -4.0]
    assert shaping.per_answer_log_prob(log_prob, num_tokens, is_token_mean=False).tolist() == [-6.0, -8.0]


def test_the_kl_penalty_is_proportional_to_the_log_ratio():
    assert shaping.kl_penalty(1.0, -2.0, -5.0, strength=0.5) == -0.5
    assert shaping.kl_penalty(0.0, -5.0, -2.0, strength=0.5) == 1.5
