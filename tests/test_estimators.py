"""pass@k, votes, Hill numbers and coverage against integer arithmetic, enumeration and closed forms."""

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import betaln

from sharpening.theory import estimators
from tests.tolerances import FLOAT64

TINY = 1e-300
ORDERS = [0.0, 0.3, 0.999999, 1.0, 1.000001, 1.5, 2.0, 7.0, np.inf]

logit_rows = st.lists(st.floats(-20, 20), min_size=1, max_size=12).map(np.array)
count_rows = st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(lambda row: 1 <= sum(row) <= 9)


@pytest.fixture
def rng():
    return np.random.default_rng(20251119)


def integer_pass_at_k(n, c, k):
    """1 - C(n-c, k)/C(n, k) in integers, to 256 bits, then rounded once."""
    few, many = min(c, k), max(c, k)
    without, subsets = math.comb(n - many, few), math.comb(n, few)
    return (((subsets - without) << 256) // subsets) / 2**256


def sizes_up_to_a_million(rng, num_rows):
    """Rows (n, c, k), log-uniform; one of c and k stays below 1,000 so that integers are cheap."""
    n = (10 ** rng.uniform(0, 6, num_rows)).astype(int)
    few = np.minimum(n, 10 ** rng.uniform(0, 3, num_rows)).astype(int)
    many = np.minimum(n, 10 ** rng.uniform(0, 6, num_rows)).astype(int)
    is_swapped = rng.random(num_rows) < 0.5
    return np.column_stack([n, np.where(is_swapped, many, few), np.where(is_swapped, few, many)])


def edges_of_the_two_branches():
    """Rows around the switch from the product to the series, with few and with no samples to spare."""
    around = range(estimators.NUM_FACTORS - 1, estimators.NUM_FACTORS + 3)
    sizes = [10**6, 10**5 + 7, 1000, *range(64, 80)]
    rows = [(n, few, many) for few in around for n in sizes for many in (few, n // 2, n - few - 1, n - few)]
    return [(n, few, many) for n, few, many in rows if few <= many <= n]


EXTREMES = [
    *[(1, 0, 1), (1, 1, 1), (10**6, 1, 1), (10**6, 0, 10**6), (10**6, 1, 10**6), (10**6, 10**6, 1)],
    *[(10**6, 1, 999_999), (10**6, 10**5, 10**5), (10**6, 2, 3), (10**6, 1000, 1000), (10**6, 6000, 6000)],
]


def test_pass_at_k_equals_integer_arithmetic(rng):
    rows = np.array([*EXTREMES, *edges_of_the_two_branches(), *sizes_up_to_a_million(rng, 1000)])
    n, c, k = rows.T
    exact = np.array([integer_pass_at_k(*map(int, row)) for row in rows])
    np.testing.assert_allclose(estimators.pass_at_k(n, c, k), exact, rtol=FLOAT64, atol=0)


def test_log_gammas_would_fail_the_same_comparison():
    """The usual shortcut, a difference of log-betas, is 2e-4 off where one of a million is correct."""
    n, c, k = 10**6, 1, 1
    shortcut = -np.expm1(betaln(n - c + 1, c) - betaln(n - k - c + 1, c))
    assert abs(shortcut / integer_pass_at_k(n, c, k) - 1) > FLOAT64


@pytest.mark.parametrize("n", range(1, 9))
def test_pass_at_k_equals_enumeration_of_all_subsets(n):
    for c, k in product(range(n + 1), range(1, n + 1)):
        hits = [any(i < c for i in subset) for subset in combinations(range(n), k)]
        assert estimators.pass_at_k(n, c, k) == pytest.approx(Fraction(sum(hits), len(hits)), rel=FLOAT64)


@given(n=st.integers(2, 10**6), c=st.integers(0, 10**6), k=st.integers(1, 10**6))
def test_pass_at_k_rises_with_k_and_with_correct_samples(n, c, k):
    c, k = c % n, 1 + k % (n - 1)
    here, more_draws, more_correct = estimators.pass_at_k(n, [c, c, c + 1], [k, k + 1, k])
    slack = 1 - FLOAT64 if n > 10**3 else 1  # the true steps can be below rounding for large n
    assert 0 <= here <= 1
    assert more_draws >= here * slack
    assert more_correct >= here * slack


def test_pass_at_k_at_one_is_the_mean_and_broadcasts():
    counts = np.array([[0], [3], [8]])
    curve = estimators.pass_at_k(8, counts, [1, 2, 8])
    assert curve.shape == (3, 3)
    np.testing.assert_allclose(curve[:, 0], counts[:, 0] / 8, rtol=FLOAT64)
    np.testing.assert_array_equal(curve[:, 2], [0, 1, 1])
    assert not np.signbit(curve).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([4, 4], [1, 5], 2), r"num_correct\[1\] is 5: it must be at most num_samples"),
        (([4, 3, 2], 1, 3), r"k\[2\] is 3: it must be at most num_samples"),
        ((4, [[1, -1]], 2), r"num_correct\[0, 1\] is -1"),
        ((4, 1, 0), r"k is 0: it must be an integer from 1"),
        ((4, [1, 1.5], 1), r"num_correct\[1\] is 1\.5"),
        (([4, np.nan], 1, 1), r"num_samples\[1\] is nan"),
        ((0, 0, 1), r"num_samples is 0"),
        ((2.0**54, 1, 1), r"num_samples is 18014398509481984"),
    ],
)
def test_pass_at_k_names_the_first_offender(arguments, message):
    with pytest.raises(ValueError, match=message):
        estimators.pass_at_k(*arguments)


def test_exact_pass_at_k_at_the_ends():
    assert estimators.exact_pass_at_k(TINY, 10**6) == pytest.approx(1e-294, rel=FLOAT64)
    assert estimators.exact_pass_at_k(1e-12, 10**12) == pytest.approx(-math.expm1(-1), rel=FLOAT64)
    np.testing.assert_array_equal(estimators.exact_pass_at_k([0.0, 1.0, 0.5], 2**53), [0, 1, 1])
    exact = [1 - (1 - Fraction(3, 10)) ** k for k in range(1, 6)]
    np.testing.assert_allclose(estimators.exact_pass_at_k(0.3, range(1, 6)), np.float64(exact), rtol=FLOAT64)


def test_exact_pass_at_k_is_the_mean_of_the_unbiased_estimate():
    """Claims D1 and D3 meet: the estimate averaged over the binomial count is 1 - (1-Q)^k."""
    n, correctness, c = 6, 0.3, np.arange(7)
    weight = np.array([math.comb(n, i) * correctness**i * (1 - correctness) ** (n - i) for i in c])
    for k in range(1, n + 1):
        mean = weight @ estimators.pass_at_k(n, c, k)
        assert mean == pytest.approx(estimators.exact_pass_at_k(correctness, k), rel=FLOAT64)


@given(logits=logit_rows, k=st.integers(2, 300))
def test_mean_pass_at_k_never_exceeds_its_bound(logits, k):
    solved = 1 / (1 + np.exp(-logits))
    mean = estimators.exact_pass_at_k(solved, k).mean()
    assert mean <= estimators.pass_at_k_bound(solved, k) * (1 + FLOAT64)


def test_bound_is_tight_at_two_and_fails_with_the_sample_variance():
    """Equality at k = 2 gives the check its power: a variance over n - 1 puts the bound below the mean."""
    solved = np.array([0.1, 0.4, 0.8])
    mean = estimators.exact_pass_at_k(solved, 2).mean()
    assert estimators.pass_at_k_bound(solved, 2) == pytest.approx(mean, rel=FLOAT64)
    assert 1 - ((1 - solved).mean() ** 2 + solved.var(ddof=1)) < mean * (1 - FLOAT64)
    literal = 1 - ((1 - solved).mean() ** 2 + solved.var()) ** (5 / 2)
    assert estimators.pass_at_k_bound(solved, 5) == pytest.approx(literal, rel=FLOAT64)


def test_bound_shapes_ends_and_refusal():
    assert estimators.pass_at_k_bound(np.full((4, 3), TINY), 2) == pytest.approx(2 * TINY, rel=FLOAT64)
    assert estimators.pass_at_k_bound([0.5, 0.5], [2, 3, 4]).shape == (3,)
    assert estimators.pass_at_k_bound([1.0, 1.0], 2) == 1
    with pytest.raises(ValueError, match=r"k is 1"):
        estimators.pass_at_k_bound([0.5], 1)


def enumerated_vote(counts, correct, k):
    """Mean over all subsets of the share of correct answers among the most frequent ones."""
    samples = np.repeat(np.arange(len(counts)), counts)
    scores = []
    for subset in combinations(samples, k):
        votes = np.bincount(subset, minlength=len(counts))
        scores.append(np.mean(np.asarray(correct)[votes == votes.max()]))
    return np.mean(scores)


@given(counts=count_rows, data=st.data())
def test_maj_at_k_equals_enumeration(counts, data):
    correct = data.draw(st.lists(st.integers(0, 1), min_size=len(counts), max_size=len(counts)))
    k = data.draw(st.integers(1, sum(counts)))
    expected = enumerated_vote(counts, correct, k)
    assert estimators.maj_at_k(counts, correct, k) == pytest.approx(expected, rel=FLOAT64, abs=FLOAT64)


def test_maj_at_k_of_one_draw_is_the_mean_and_of_all_is_the_vote():
    counts, correct = [125, 75, 56], [0, 1, 1]
    assert estimators.maj_at_k(counts, correct, 1) == pytest.approx(131 / 256, rel=FLOAT64)
    assert estimators.maj_at_k(counts, correct, 256) == 0
    tied = [5, 5, 5, 1]
    assert estimators.maj_at_k(tied, [1, 0, 0, 1], 16) == pytest.approx(1 / 3, rel=FLOAT64)


def test_maj_at_k_of_everything_correct_is_one(rng):
    """The recursion's chances add up to 1, over winning counts and over ties."""
    counts = rng.multinomial(512, rng.dirichlet(np.ones(40)))
    for k in (1, 2, 63, 200):
        assert estimators.maj_at_k(counts, np.ones(40), k) == pytest.approx(1, rel=FLOAT64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([2, 1], [1, 0], 4), r"k is 4: it must be at most 3"),
        (([2, -1], [1, 0], 1), r"counts\[1\] is -1"),
        (([2, 1], [1, 2], 1), r"correct\[1\] is 2"),
        (([2, 1], [1], 1), r"counts has shape \(2,\), correct \(1,\)"),
    ],
)
def test_maj_at_k_refuses_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        estimators.maj_at_k(*arguments)


@given(logits=logit_rows)
def test_hill_numbers_fall_with_the_order_between_one_and_the_support(logits):
    values = np.array([estimators.hill_number(logits, order) for order in ORDERS])
    assert (np.diff(values) <= FLOAT64 * values[:-1]).all()
    assert values[0] == len(logits)
    assert values[-1] >= 1 - FLOAT64


@given(logits=logit_rows, data=st.data())
def test_hill_numbers_ignore_order_of_answers_and_scale(logits, data):
    permuted = np.array(data.draw(st.permutations(list(logits)))) + 3.0
    for order in ORDERS:
        expected = estimators.hill_number(logits, order)
        assert estimators.hill_number(permuted, order) == pytest.approx(expected, rel=FLOAT64)


def test_hill_numbers_equal_their_textbook_forms():
    q = np.array([0.5, 0.3, 0.2])
    expected = {
        0: 3,
        1: np.exp(-(q * np.log(q)).sum()),
        2: 1 / (q**2).sum(),
        np.inf: 2,
        0.6: (q**0.6).sum() ** 2.5,
    }
    for order, value in expected.items():
        assert estimators.hill_number(np.log(q), order) == pytest.approx(value, rel=FLOAT64)


@pytest.mark.parametrize("order", [1e-12, *ORDERS[1:], 1e300])
def test_hill_numbers_survive_extreme_weights(order):
    """Two equal answers beside ones of weight e^-690 (1e-300), e^-100000 and exactly 0 count as two."""
    with np.errstate(all="raise", under="ignore"):
        value = estimators.hill_number([0.0, 0.0, -690.0, -1e5, -np.inf], order)
    assert np.isfinite(value)
    if order >= 0.5:
        assert value == pytest.approx(2, rel=FLOAT64)


def test_hill_number_near_order_one_is_continuous():
    """The naive form loses 6 digits at order 1 + 1e-9; the slope there bounds the true change below 1e-8."""
    log_q = np.log([0.7, 0.2, 0.1])
    step = 1e-9
    below, at, above = (estimators.hill_number(log_q, order) for order in (1 - step, 1.0, 1 + step))
    slope = (above - below) / (2 * step)
    surprisal_variance = np.exp(log_q) @ log_q**2 - (np.exp(log_q) @ log_q) ** 2
    assert slope == pytest.approx(-at * surprisal_variance / 2, rel=NEAR_ONE_SLOPE)


NEAR_ONE_SLOPE = 1e-5  # rounding of 1e-16 over a step of 2e-9 leaves 1e-7; the naive form would be off by 1 or more


def test_hill_number_refuses_rows_without_support_by_index():
    with pytest.raises(ValueError, match=r"row\[1\] is -inf"):
        estimators.hill_number([[0.0, 0.0], [-np.inf, -np.inf]], 1)
    with pytest.raises(ValueError, match=r"log_weights\[1, 0\] is nan"):
        estimators.hill_number([[0.0, 0.0], [np.nan, 0.0]], 1)
    with pytest.raises(ValueError, match=r"order is -1"):
        estimators.hill_number([0.0], -1)


def samples_of_size(n, num_answers):
    """Every ordered sample of n draws from num_answers answers, as counts."""
    draws = np.array(list(product(range(num_answers), repeat=n)))
    return draws, (draws[:, :, None] == np.arange(num_answers)).sum(axis=1)


def test_corrected_order_two_is_unbiased_for_the_simpson_sum():
    q = np.array([0.6, 0.3, 0.1])
    draws, counts = samples_of_size(5, 3)
    chance = q[draws].prod(axis=1)
    simpson = [1 / estimators.hill_number_from_counts(row, 2, is_corrected=True) for row in counts]
    assert chance @ np.array(simpson) == pytest.approx((q**2).sum(), rel=FLOAT64)
    plain = [1 / estimators.hill_number_from_counts(row, 2) for row in counts]
    assert chance @ np.array(plain) > (q**2).sum() * 1.1


@pytest.mark.parametrize("order", [0, 1])
def test_corrections_remove_most_of_the_bias(order):
    q = np.full(4, 0.25)
    draws, counts = samples_of_size(6, 4)
    chance = q[draws].prod(axis=1)
    bias = {
        is_corrected: abs(
            chance @ [estimators.hill_number_from_counts(row, order, is_corrected=is_corrected) for row in counts] - 4
        )
        for is_corrected in (False, True)
    }
    assert bias[True] < bias[False] / 2


def test_corrections_by_hand():
    correct = {"is_corrected": True}
    assert estimators.hill_number_from_counts([1, 1, 1], 2, **correct) == np.inf
    assert estimators.hill_number_from_counts([3, 0], 2, **correct) == 1
    entropy = -(4 / 6 * math.log(4 / 6) + 2 / 6 * math.log(1 / 6))
    expected = math.exp(entropy + 2 / 12)
    assert estimators.hill_number_from_counts([4, 1, 1], 1, **correct) == pytest.approx(expected, rel=FLOAT64)
    chao = 5 + 7 / 8 * (3 * 2) / (2 * 2)
    assert estimators.hill_number_from_counts([3, 2, 1, 1, 1], 0, **correct) == pytest.approx(chao, rel=FLOAT64)
    for counts, order in (([0, 0], 1), ([1], 2), ([2, 1], 3)):
        with pytest.raises(ValueError, match="must be"):
            estimators.hill_number_from_counts(counts, order, **correct)


def test_solution_diversity_reads_correct_answers_only():
    log_policy = np.log([[0.2, 0.2, 0.6], [0.9, 0.05, 0.05]])
    np.testing.assert_allclose(estimators.solution_diversity(log_policy, [1, 1, 0]), [2, 1.228989], rtol=SIX_DIGITS)
    assert estimators.solution_diversity([-800.0, -800.0, 0.0], [1, 1, 0]) == pytest.approx(2, rel=FLOAT64)
    with pytest.raises(ValueError, match="-inf"):
        estimators.solution_diversity(log_policy, [0, 0, 0])
    with pytest.raises(ValueError, match=r"correct\[2\] is 0\.5"):
        estimators.solution_diversity(log_policy, [1, 1, 0.5])


SIX_DIGITS = 1e-6  # the number in the test, (18/19)^(-18/19) (1/19)^(-1/19), is typed with seven digits


def enumerated_groups(policy, n):
    """Every group of n draws: its chance, and which answers it holds."""
    draws = np.array(list(product(range(len(policy)), repeat=n)))
    return policy[draws].prod(axis=1), (draws[:, :, None] == np.arange(len(policy))).any(axis=1)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_coverage_and_distinct_mass_equal_enumeration(n):
    policy = np.array([0.3, 0.1, 0.4, 0.2])
    chance, is_held = enumerated_groups(policy, n)
    held = chance @ is_held[:, :2]
    assert estimators.coverage(policy[:2], n) == pytest.approx(held.mean(), rel=FLOAT64)
    assert estimators.distinct_correct_mass(policy[:2], n) == pytest.approx(held @ policy[:2], rel=FLOAT64)


def test_distinct_mass_given_the_number_of_correct_samples_is_claim_c8():
    policy, n = np.array([0.3, 0.1, 0.4, 0.2]), 4
    draws = np.array(list(product(range(4), repeat=n)))
    chance, is_held = enumerated_groups(policy, n)
    num_correct = (draws < 2).sum(axis=1)
    for k in range(1, n + 1):
        given_k = num_correct == k
        expected = chance[given_k] @ (is_held[given_k, :2] @ policy[:2]) / chance[given_k].sum()
        mass = 0.4 * estimators.distinct_correct_mass(policy[:2] / 0.4, k)
        assert mass == pytest.approx(expected, rel=FLOAT64)


def test_coverage_keeps_digits_of_the_rarest_answers():
    assert estimators.coverage([TINY, TINY], 1000) == pytest.approx(1e-297, rel=FLOAT64)
    assert estimators.distinct_correct_mass([TINY, 1e-6], 1) == pytest.approx(1e-12, rel=FLOAT64)
    assert estimators.coverage([[1.0, 0.0], [0.5, 0.5]], 1).tolist() == [0.5, 0.5]
    assert estimators.coverage([0.5, 0.1], [1, 10, 100]).shape == (3,)
    with pytest.raises(ValueError, match=r"correct_policy\[1\] is nan"):
        estimators.coverage([0.5, np.nan], 1)


@given(first=st.lists(st.floats(-20, 20), min_size=4, max_size=4), second=st.permutations(range(4)))
def test_retained_mass_equals_its_published_form(first, second):
    base = np.exp(first) / np.exp(first).sum()
    policy, correct = base[second], np.array([1.0, 1.0, 0.0, 1.0])
    literal = 1 - (np.maximum(0, base - policy) * correct).sum() / (base * correct).sum()
    retained = estimators.retained_mass(base, policy, correct)
    assert retained == pytest.approx(literal, rel=FLOAT64, abs=FLOAT64)
    assert 0 <= retained <= 1


def test_retained_mass_ends():
    base = np.array([0.2, 0.3, 0.5])
    assert estimators.retained_mass(base, base, [1, 1, 0]) == 1
    assert estimators.retained_mass(base, [1.0, 0.0, 0.0], [1, 1, 0]) == pytest.approx(0.4, rel=FLOAT64)
    assert estimators.retained_mass(base, [TINY, 0.0, 1.0], [1, 1, 0]) == pytest.approx(2 * TINY, rel=FLOAT64)
    with pytest.raises(ValueError, match="correct mass of base_policy"):
        estimators.retained_mass(base, base, [0, 0, 0])


@pytest.mark.parametrize(("n", "c", "k"), [(100, 40, 34), (400, 34, 33), (5000, 40, 40), (20000, 50, 35)])
def test_many_correct_and_many_drawn_against_integers(n, c, k):
    """Above 32 of both, where nothing is multiplied out."""
    wanted = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert estimators.pass_at_k(n, c, k) == pytest.approx(float(wanted), rel=FLOAT64)


def test_edges_of_what_is_accepted():
    with pytest.raises(ValueError, match=r"^correctness is 1\.5: it must be a probability in \[0, 1\]$"):
        estimators.exact_pass_at_k(1.5, 1)
    rng = np.random.default_rng(0)
    assert estimators.sampled_maj_at_k([5], [1], [2, 3], rng=rng, num_subsets=4).tolist() == [1, 1]
