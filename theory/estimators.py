"""What samples and policies say about pass@k, majority votes, and how many different solutions are alive.

Claimed: D1 (independent draws), D3 (unbiased pass@k), D4 (bound on mean pass@k), the sum of C8. No routine
subtracts large log-gammas (at n = 1e6 that leaves four digits) or forms 1 - (1-p)^n directly, so results are
good to rounding and answers of probability 1e-300 keep their digits. Intervals are in `samples.intervals`.

Departs: (1) `maj_at_k` averages over all subsets without replacement and splits ties at random; evaluations
often resample with replacement and let the first answer seen win.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import toeplitz
from scipy.special import entr, logsumexp

from sharpening.theory import policies

Floats = NDArray[np.float64]

ROUND_OFF = 1e-9  # by how far a sum of probabilities may leave [0, 1] before it is refused instead of clipped
LARGEST_COUNT = 2.0**53  # above this float64 skips integers
NUM_FACTORS = 32  # up to here C(n-c, k)/C(n, k) is multiplied out, above it comes from Stirling's series
NEAR_ONE = 0.5  # Hill orders this close to 1 use their gap to 1: 1/(1 - order) would amplify rounding


def _counts(values: ArrayLike, name: str, *, least: int) -> Floats:
    """The values as float64, refused unless they are integers from `least` to 2^53."""
    counts = np.asarray(values, dtype=np.float64)
    is_count = (counts == np.floor(counts)) & (counts >= least) & (counts <= LARGEST_COUNT)
    policies.refuse(counts, ~is_count, name, f"an integer from {least} to 2**53")
    return counts


def _probabilities(values: ArrayLike, name: str) -> Floats:
    """The values as float64 clipped to [0, 1], refused if NaN or outside by more than rounding."""
    given = np.asarray(values, dtype=np.float64)
    policies.refuse(given, ~((given >= -ROUND_OFF) & (given <= 1 + ROUND_OFF)), name, "a probability in [0, 1]")
    return np.clip(given, 0.0, 1.0)


def _labels(values: ArrayLike) -> Floats:
    """The labels as float64, refused unless 0 or 1."""
    labels = np.asarray(values, dtype=np.float64)
    policies.refuse(labels, (labels != 0) & (labels != 1), "correct", "0 or 1")
    return labels


def pass_at_k(num_samples: ArrayLike, num_correct: ArrayLike, k: ArrayLike) -> Floats:
    """Unbiased estimate of pass@k: the share of size-k subsets of the samples that hold a correct one.

    Shapes:   any that broadcast, for a curve (num_problems, 1) and k (num_ks,). Returns that shape.
    Requires: integers, 1 <= k <= num_samples, 0 <= num_correct <= num_samples. Raises ValueError naming the
              first offending entry, its index (broadcast, where two arguments disagree) and its value.
    Source:   arXiv 2107.03374, 1 - C(n-c, k)/C(n, k); claim D3.

    >>> pass_at_k(4, 2, [1, 2, 3]).round(4).tolist()
    [0.5, 0.8333, 1.0]
    """
    n, draws = _counts(num_samples, "num_samples", least=1), _counts(k, "k", least=1)
    n, c, draws = np.broadcast_arrays(n, _counts(num_correct, "num_correct", least=0), draws)
    policies.refuse(c, c > n, "num_correct", "at most num_samples")
    policies.refuse(draws, draws > n, "k", "at most num_samples")
    log_ratio = _log_all_wrong(n, np.minimum(c, draws), np.maximum(c, draws))
    return np.asarray(0.0 - np.expm1(log_ratio))[()]  # 0 - x and not -x: no -0.0 where nothing is correct


def _log_all_wrong(n: Floats, few: Floats, many: Floats) -> Floats:
    """Log of C(n-c, k)/C(n, k), symmetric in c and k: `few` is the smaller of the two, `many` the larger."""
    log_ratio = np.full(n.shape, -np.inf)  # c + k > n: every subset holds a correct sample
    spare = n - few - many
    by_factors = (few <= NUM_FACTORS) & (spare >= 0)
    by_series = (few > NUM_FACTORS) & (spare >= 1)  # at spare 0 the ratio is below 1e-18: left at 0
    for rows, formula in ((by_factors, _log_ratio_by_factors), (by_series, _log_ratio_by_series)):
        log_ratio[rows] = formula(n[rows], few[rows], many[rows])
    return log_ratio


def _log_ratio_by_factors(n: Floats, few: Floats, many: Floats) -> Floats:
    """Sum over i < few of log(1 - many/(n - i)); at most NUM_FACTORS passes over the rows."""
    log_ratio = np.zeros(n.shape)
    for i in range(int(few.max(initial=0))):
        log_ratio += np.log1p(-np.where(i < few, many, 0.0) / np.maximum(n - i, 1.0))
    return log_ratio


def _log_ratio_by_series(n: Floats, few: Floats, many: Floats) -> Floats:
    """The same logarithm from Stirling's series with the large terms cancelled by hand (ours).

    With a = n - few, b = n - many, d = n - few - many: a b - n d = few many, so that
    log(a! b!/(n! d!)) = many log(a/n) + few log(b/n) - (d + 1/2) log(n d/(a b)) + small corrections.
    """
    a, b, d = n - few, n - many, n - few - many
    overlap = (few / a) * (many / b)  # 1 - n d/(a b)
    log_dependence = np.where(overlap < 0.5, np.log1p(-np.minimum(overlap, 0.5)), np.log((n / a) * (d / b)))
    main = many * np.log1p(-few / n) + few * np.log1p(-many / n) - (d + 0.5) * log_dependence
    return main + (_stirling_tail(a) - _stirling_tail(n)) + (_stirling_tail(b) - _stirling_tail(d))


def _stirling_tail(x: Floats) -> Floats:
    """Log x! less (x + 1/2) log x - x + log(2 pi)/2, to 1e-12 for x >= 10; below, the ratio is < 1e-12."""
    square = x * x
    return (1 / 12 - (1 / 360 - (1 / 1260 - 1 / (1680 * square)) / square) / square) / x


def exact_pass_at_k(correctness: ArrayLike, k: ArrayLike) -> Floats:
    """Probability 1 - (1 - Q)^k that at least one of k independent draws is correct.

    Shapes:   any that broadcast. Returns that shape.
    Requires: 0 <= correctness <= 1 (rounding beyond is clipped), k an integer from 1 to 2**53.
    Source:   claim D1.
    """
    chance, draws = _probabilities(correctness, "correctness"), _counts(k, "k", least=1)
    with np.errstate(divide="ignore"):  # log 0 = -inf at Q = 1 is the wanted limit
        return np.asarray(-np.expm1(draws * np.log1p(-chance)))[()]


def pass_at_k_bound(true_pass_at_1: ArrayLike, k: ArrayLike) -> Floats:
    """Upper bound 1 - ((E[1-a])^2 + Var a)^(k/2) on the mean over problems of pass@k; an equality at k = 2.

    It needs the true pass@1 of every problem: in estimates, sampling noise inflates Var a. It is evaluated as
    1 - (1 - x)^(k/2), x = m (2 - m) - Var a with m the mean of a, which keeps its digits for small m.

    Shapes:   true_pass_at_1: (..., num_problems); k broadcasts with (...). Returns that shape.
    Requires: k >= 2 (at k = 1 the inequality turns round); Var a divides by num_problems.
    Source:   arXiv 2504.10478; claim D4.
    """
    solved, draws = _probabilities(true_pass_at_1, "true_pass_at_1"), _counts(k, "k", least=2)
    mean, variance = solved.mean(axis=-1), solved.var(axis=-1)
    with np.errstate(divide="ignore"):
        return np.asarray(-np.expm1(draws / 2 * np.log1p(-(mean * (2 - mean) - variance))))[()]


def maj_at_k(counts: ArrayLike, correct: ArrayLike, k: int) -> float:
    """Expected correctness of the majority vote of k of the n samples of one problem, over all subsets.

    Ties are broken uniformly at random: a tie scores the share of correct ones among the tied answers. The
    average over subsets is unbiased for the vote of k fresh draws. Cost: at most n products of a (k+1, k+1)
    and a (k+1, k/t+1) matrix, t the winning count: seconds at n = 1000, k = 500.

    Shapes:   counts, correct: (num_answers,), one entry per distinct answer.
    Requires: counts integers >= 0, correct 0 or 1, 1 <= k <= sum of counts.
    Source:   ours (the recursion); departure (1) above.

    >>> round(maj_at_k([2, 1], [1, 0], 2), 12)  # three pairs: one agrees on the right answer, two are ties
    0.666666666667
    """
    sizes, labels = _counts(counts, "counts", least=0), _labels(correct)
    if sizes.ndim != 1 or sizes.shape != labels.shape:
        raise ValueError(f"counts has shape {sizes.shape}, correct {labels.shape}: want (num_answers,)")
    draws, num_samples = int(_counts(k, "k", least=1)), int(sizes.sum())
    policies.refuse(draws, draws > num_samples, "k", f"at most {num_samples}, the sum of counts")
    tops = range(1, int(min(draws, sizes.max())) + 1)
    return float(sum(_vote_with_top(sizes, labels, draws, top) for top in tops))


def _vote_with_top(sizes: Floats, labels: Floats, k: int, top: int) -> float:
    """Share of subsets with largest count `top`, weighted by the share of correct ones among the winners.

    Each sample is taken with chance k/n, given that k are taken: a uniform subset, with all terms in [0, 1].
    Rows count samples drawn, columns tied winners; answers too small to win enter as one binomial.
    """
    from scipy.stats import binom  # takes a second, which pass@k needs not wait for

    rate, drawn, tied = k / sizes.sum(), np.arange(k + 1), np.arange(k // top + 1)
    state = np.zeros((2, drawn.size, tied.size))  # chance; chance times expected number of correct winners
    state[0, :, 0] = binom.pmf(drawn, sizes[sizes < top].sum(), rate)
    for size, is_right in zip(sizes[sizes >= top], labels[sizes >= top], strict=True):
        share = binom.pmf(drawn, size, rate)
        wins = np.zeros_like(state)
        wins[:, top:, 1:] = share[top] * state[:, :-top, :-1]
        wins[1] += is_right * wins[0]
        state = toeplitz(np.where(drawn < top, share, 0.0), np.zeros(k + 1)) @ state + wins
    return float((state[1, k, 1:] / tied[1:]).sum() / binom.pmf(k, sizes.sum(), rate))


def sampled_maj_at_k(
    counts: ArrayLike, correct: ArrayLike, ks: ArrayLike, *, rng: np.random.Generator, num_subsets: int
) -> Floats:
    """Unbiased estimates of `maj_at_k` from random subsets; exact at k = 1, at k = n and where all answers are alike.

    Cost: num_subsets draws of a subset for each k, at any n; the standard error is at most 1/(2 sqrt(num_subsets)).

    Shapes:   counts, correct: (num_answers,), one entry per distinct answer; ks: (num_ks,). Returns (num_ks,).
    Requires: as `maj_at_k`.
    """
    sizes, labels, draws = _counts(counts, "counts", least=0), _labels(correct), _counts(ks, "ks", least=1)
    num_samples = sizes.sum()
    policies.refuse(draws, draws > num_samples, "ks", f"at most {num_samples:.0f}, the sum of counts")
    if labels.min() == labels.max():
        return np.full(draws.shape, labels[0])
    votes = []
    for k in draws:
        if k == 1:
            votes.append(sizes @ labels / num_samples)
            continue
        drawn = sizes[None].astype(np.int64)
        if k < num_samples:
            drawn = rng.multivariate_hypergeometric(drawn[0], int(k), size=num_subsets)
        wins = drawn == drawn.max(axis=1, keepdims=True)
        votes.append((wins @ labels / wins.sum(axis=1)).mean())
    return np.array(votes)


def hill_number(log_weights: ArrayLike, order: float) -> Floats:
    """Effective number of answers of a given order: (sum q^order)^(1/(1-order)), q the normalised weights.

    Order 0 counts the support, 1 is exp(entropy), 2 the inverse Simpson index, infinity 1/max q.

    Shapes:   log_weights: (..., num_answers), nats, any normalisation; -inf is weight 0. Returns (...).
    Requires: order >= 0; no NaN or +inf, and in each row one finite weight.
    Source:   Hill 1973, Ecology 54.

    >>> round(float(hill_number(np.log([0.5, 0.25, 0.25]), 2.0)), 4)
    2.6667
    """
    weights = np.asarray(log_weights, dtype=np.float64)
    policies.refuse(weights, np.isnan(weights) | (weights == np.inf), "log_weights", "a number or -inf")
    largest = weights.max(axis=-1)
    policies.refuse(largest, largest == -np.inf, "the largest log_weights of row", "finite")
    policies.refuse(order, not order >= 0, "order", "a number >= 0 or infinity")
    log_q = policies.log_softmax(weights)
    if order == 0:
        return np.asarray((log_q > -np.inf).sum(axis=-1), dtype=np.float64)[()]
    return np.asarray(np.exp(_renyi_entropy(log_q, float(order))))[()]


def _renyi_entropy(log_q: Floats, order: float) -> Floats:
    """Renyi entropy in nats of an order above 0; continuous at order 1, and safe where q underflows."""
    q, top = np.exp(log_q), log_q.max(axis=-1)
    if order == 1:
        return np.asarray(entr(q).sum(axis=-1))
    if order == np.inf:
        return np.asarray(-top)
    if abs(order - 1) > NEAR_ONE:
        log_sum = logsumexp(order * (log_q - top[..., None]), axis=-1)
        return np.asarray((log_sum + order * top) / (1 - order))
    lift = (order - 1) * log_q  # q^order - q = q expm1(lift)
    change = np.where(np.abs(lift) < 1, q * np.expm1(np.clip(lift, -1, 1)), np.exp(order * log_q) - q)
    return np.asarray(np.log1p(change.sum(axis=-1)) / (1 - order))


def hill_number_from_counts(counts: ArrayLike, order: float, *, is_corrected: bool = False) -> float:
    """Effective number of distinct answers in a sample; corrected, an estimate of that of its source.

    Uncorrected, unseen answers count as absent. Corrections, with S answers seen, f1 of them once and f2
    twice: order 0, Chao1, estimates a lower bound, S + (n-1)/n f1 (f1-1)/(2 (f2+1)); order 1, Miller-Madow,
    adds (S-1)/(2n) to the entropy; order 2 is one over the unbiased chance that two samples agree, infinite
    if no two do. Corrected values need not fall with the order.

    Shapes:   counts: (num_answers,). Returns a scalar.
    Requires: integers >= 0, not all 0; a correction exists for orders 0, 1 and 2 (two samples or more).
    Source:   Chao 1984 (bias-corrected form); Miller 1955; Simpson 1949.
    """
    seen = _counts(counts, "counts", least=0)
    seen, n = seen[seen > 0], float(seen.sum())
    fewest = 2 if is_corrected and order == 2 else 1
    policies.refuse(n, n < fewest, "the sum of counts", f"at least {fewest}")
    if not is_corrected:
        return float(hill_number(np.log(seen), order))
    policies.refuse(order, order not in (0, 1, 2), "order", "0, 1 or 2 when is_corrected")
    if order == 0:
        num_once, num_twice = (seen == 1).sum(), (seen == 2).sum()
        return float(seen.size + (n - 1) / n * num_once * (num_once - 1) / (2 * (num_twice + 1)))
    if order == 1:
        return float(hill_number(np.log(seen), 1) * np.exp((seen.size - 1) / (2 * n)))
    num_agreeing = float((seen * (seen - 1)).sum())
    return n * (n - 1) / num_agreeing if num_agreeing else float("inf")


def solution_diversity(log_policy: ArrayLike, correct: ArrayLike, order: float = 1.0) -> Floats:
    """Effective number of correct answers: the Hill number of the policy conditioned on a correct answer.

    Shapes:   log_policy: (..., num_arms), nats; correct broadcasts to it. Returns (...), in [1, num_correct].
    Requires: some correct answer of positive probability in every row.
    """
    return hill_number(np.where(_labels(correct) == 1, log_policy, -np.inf), order)


def coverage(correct_policy: ArrayLike, num_samples: ArrayLike) -> Floats:
    """Expected share of the distinct correct answers that n independent samples reach: mean of 1 - (1-p)^n.

    Shapes:   correct_policy: (..., num_correct), not renormalised; num_samples broadcasts with (...).
    """
    chance, draws = _answers_and_draws(correct_policy, num_samples)
    return np.asarray(exact_pass_at_k(chance, draws).mean(axis=-1))[()]


def distinct_correct_mass(correct_policy: ArrayLike, num_samples: ArrayLike) -> Floats:
    """Expected mass of the distinct correct answers that n independent samples reach: sum of p (1 - (1-p)^n).

    Shapes:   correct_policy: (..., num_correct), not renormalised; num_samples broadcasts with (...).
    Source:   claim C1; given k correct samples, Q * distinct_correct_mass(p/Q, k) is the sum of claim C8.
    """
    chance, draws = _answers_and_draws(correct_policy, num_samples)
    return np.asarray((chance * exact_pass_at_k(chance, draws)).sum(axis=-1))[()]


def _answers_and_draws(correct_policy: ArrayLike, num_samples: ArrayLike) -> tuple[Floats, Floats]:
    """Checked probabilities, and sample counts with a last axis of length 1 to meet the answers."""
    draws = _counts(num_samples, "num_samples", least=1)
    return _probabilities(correct_policy, "correct_policy"), draws[..., None]


def retained_mass(base_policy: ArrayLike, policy: ArrayLike, correct: ArrayLike) -> Floats:
    """Share of the base policy's correct mass still held, answer by answer: gains do not offset losses.

    Shapes:   all (..., num_arms), broadcast. Returns (...), in [0, 1].
    Requires: probabilities; positive correct mass under base_policy.
    Source:   arXiv 2602.06717, 1 - sum_C max(0, b - p)/sum_C b; as sum_C min(b, p)/sum_C b nothing cancels.
    """
    before = _labels(correct) * _probabilities(base_policy, "base_policy")
    kept = np.minimum(before, _probabilities(policy, "policy")).sum(axis=-1)
    total = before.sum(axis=-1)
    policies.refuse(total, total == 0, "the correct mass of base_policy", "above 0")
    return np.asarray(kept / total)[()]
