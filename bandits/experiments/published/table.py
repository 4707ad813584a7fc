"""Published simulations and numbers: what was published, and how close ours has to be, with the reason.

The values and tolerances were written down before anything of ours was compared with them, and are not tuned.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

OUTCOMES = "numerical study of the flow of arXiv 2601.21669"
CATEGORICAL = "arXiv 2602.06717, Appendix J (figure)"
TAIL_MISS = "arXiv 2602.06717, Lemma 3.1"
KL_MODES = "arXiv 2510.20817"
UPLIFT = "arXiv 2506.02355, its notebook"
PRINTED = {4: 5.001e-5, 3: 5.001e-4, 2: 5.001e-3}  # half a unit of the last printed decimal
NONE = float("nan")


@dataclass(frozen=True)
class Check:
    """A published number; `tolerance` None says that ours is shown and cannot be held against it."""

    id: str
    quantity: str
    published: float
    tolerance: float | None
    reason: str
    source: str


def _outcome_flows() -> tuple[Check, ...]:
    laws = [
        Check("tie_drift", "largest drift of p1 at an exact tie, t <= 300", 1.1e-16, 1e-9,
              "theirs is rounding; our integrator errs by 1e-12 a step", OUTCOMES),
        Check("gap_exponent", "power of the gap D in the time to p = .99", -1.0, PRINTED[2],
              "two printed decimals", OUTCOMES),
        Check("gap_constant", "constant of that power law, fitted", 53.94, 0.1,
              "their times are rounded up to steps of .05, .19% of the shortest", OUTCOMES),
        Check("gap_constant_exact", "constant of that power law, exact", 53.89, PRINTED[2],
              "two printed decimals", OUTCOMES),
        Check("gap_r_squared", "R squared of that fit", 0.99999994, 1e-6,
              "both say that the law holds to one part in a million", OUTCOMES),
        Check("tail_slope", "log-log slope of the minority, r = (2, 1)", -1.007, 0.04,
              "the range of the fit is not given: the exact slope is -1.045 at t = 100 and -1.001 at 10,000", OUTCOMES),
        Check("tail_constant", "2 D t times the minority's share, t = 10,000", 1.0, 5e-3,
              "the next term of the expansion is log(2 D t)/(D t) = .001", OUTCOMES),
    ]  # fmt: skip
    for exponent, share in (("0.5", 0.9412), ("1", 0.8), ("2", 0.6667), ("4", 0.5858)):
        laws.append(
            Check(f"share_{exponent}", f"p1 at t = 200, r = (4, 1), a = {exponent}", share, PRINTED[4],
                  "the law r^(1/a), four decimals; the flow has come to rest", OUTCOMES)
        )  # fmt: skip
    for exponent, evenness in (("0.5", 0.794), ("1", 0.926), ("2", 0.978), ("4", 0.994)):
        laws.append(
            Check(f"evenness_{exponent}", f"H/ln K at rest, r = (5, 4, 3, 2, 1), a = {exponent}", evenness, PRINTED[3],
                  "three printed decimals", OUTCOMES)
        )  # fmt: skip
    return tuple(laws)


def _outcome_samples() -> tuple[Check, ...]:
    found = [
        Check("collapsed_0", "share of seeds with max p > .95, G = 16, a = 0", 0.64, 0.16,
              "3 standard errors of a share of 100 seeds (theirs) and of 400 (ours)", OUTCOMES),
        Check("sampled_evenness_0", "median H/ln K, G = 16, a = 0", 0.105, 0.06,
              "3 standard errors of a median of 100 seeds, spread about .15", OUTCOMES),
    ]  # fmt: skip
    for exponent, evenness, tolerance in (("0.25", 0.984, 5e-3), ("0.5", 0.994, 3e-3), ("1", 0.9999, 3e-4)):
        found += [
            Check(f"collapsed_{exponent}", f"share of seeds with max p > .95, G = 16, a = {exponent}", 0.0, 0.03,
                  "none of 100 seeds leaves rates up to 3%", OUTCOMES),
            Check(f"sampled_evenness_{exponent}", f"median H/ln K, G = 16, a = {exponent}", evenness, tolerance,
                  "printed decimals and the spread of a median of 100 seeds", OUTCOMES),
        ]  # fmt: skip
    found.append(
        Check("consensus_exponent", "power of G in the median time to consensus", 1.066, 0.2,
              "3 standard errors: each median of about 100 seeds errs by 14%", OUTCOMES)
    )  # fmt: skip
    for group_size, time in ((4, 177.0), (8, 383.0), (16, 654.0), (32, 2051.0), (64, 3066.0)):
        found.append(
            Check(f"consensus_{group_size}", f"median time to consensus, G = {group_size}", time, None,
                  "single medians of an unknown number of seeds; the power is compared", OUTCOMES)
        )  # fmt: skip
    for group_size, least in ((2, 2.0), (4, 1.0), (8, 0.667), (16, 0.5), (32, 0.4), (64, 0.333), (128, 0.286)):
        found.append(
            Check(f"critical_{group_size}", f"least a that keeps the minority, r = (4, 1), G = {group_size}", least,
                  PRINTED[3], "three printed decimals", OUTCOMES)
        )  # fmt: skip
    for group_size, share in ((4, 0.9965), (16, 0.8041), (64, 0.7993)):
        found.append(
            Check(f"long_run_{group_size}", f"long-run p1, r = (4, 1), a = 1.003, G = {group_size}", share, 5e-4,
                  "four printed decimals, of which a sampled average hardly knows the last", OUTCOMES)
        )  # fmt: skip
    return tuple(found)


ZONE = tuple(2**power for power in range(9, 14))  # group sizes that the text puts in the middle regime
ENDS = (2, 131_072)


def _categorical() -> tuple[Check, ...]:
    read = "read from a figure and its text"
    found = [
        Check("plain_correctness_2", "Q after 1,000 steps, N = 2", 0.6301, 0.05, f"'hardly moves', {read}",
              CATEGORICAL),
        Check("plain_retained_2", "retained mass, N = 2", 1.0, 0.05, f"'near 1', {read}", CATEGORICAL),
        Check("plain_retained_131072", "retained mass, N = 131,072", 1.0, 0.1, f"'near 1', {read}", CATEGORICAL),
        Check("plain_sgd_correctness", "Q after 1,000 steps of plain gradient ascent, N = 8,192", 0.630, PRINTED[3],
              "three decimals: it does not move, so the source must have used another optimiser", "ours"),
        Check("gamma_retains_more", "share of the N in the middle at which gamma 1 retains more than gamma 0", 1.0, 0.0,
              "said of the whole regime", CATEGORICAL),
    ]  # fmt: skip
    for group_size in ZONE:
        size = f"N = {group_size:,}"
        found += [
            Check(f"plain_correctness_{group_size}", f"Q after 1,000 steps, {size}", 1.0, 0.05, f"'near 1', {read}",
                  CATEGORICAL),
            Check(f"plain_retained_{group_size}", f"retained mass, {size}", 0.0, 0.1, f"'under .1', {read}",
                  CATEGORICAL),
            Check(f"ds_gain_{group_size}", f"retained mass of ds over that of dr_grpo, {size}", NONE, None,
                  "nothing is published about ds", CATEGORICAL),
            Check(f"ds_cost_{group_size}", f"Q of dr_grpo minus Q of ds, {size}", NONE, None,
                  "nothing is published about ds", CATEGORICAL),
        ]  # fmt: skip
    return tuple(found)


def _small() -> tuple[Check, ...]:
    exact = "a closed form, to rounding"
    found = [
        Check("tail_miss", "chance of a signal that misses the tail, (.64, 6.3e-5), N = 131,072", 2.6e-4, 5.001e-6,
              "two printed digits", TAIL_MISS),
        Check("tail_activity", "largest distance from 1 - mu^N - (1-mu)^N at tail 0", 0.0, 1e-12, exact, TAIL_MISS),
        Check("tail_peaks", "peaks in N of that chance, N = 1 to 131,072", 1.0, 0.0, "'not monotone'", TAIL_MISS),
        Check("tail_sampled", "standard errors between sampled groups and the lemma", 0.0, 5.0,
              "one false alarm in 1.7 million", TAIL_MISS),
        Check("distinct_falls", "falls of the distinct correct mass in the number of correct draws", 0.0, 0.0,
              "'non-decreasing'", "arXiv 2602.06717, Lemma H.1"),
        Check("distinct_sampled", "standard errors between sampled distinct correct mass and the lemma", 0.0, 5.0,
              "one false alarm in 1.7 million", "arXiv 2602.06717, Lemma H.1"),
        Check("ratio_0.1", "ratio of two equal rewards, 15 in the base, KL strength .1", 15.0, 1e-6, exact, KL_MODES),
        Check("ratio_1", "ratio of two equal rewards, 15 in the base, KL strength 1", 15.0, 1e-6, exact, KL_MODES),
        Check("crossover", "KL strength at which two modes are level", 0.132, PRINTED[3], "three printed decimals",
              KL_MODES),
        Check("ahead_0.1", "1 if the better mode leads at KL strength .10, else -1", 1.0, 0.0, "a sign", KL_MODES),
        Check("ahead_0.15", "1 if the better mode leads at KL strength .15, else -1", -1.0, 0.0, "a sign", KL_MODES),
        Check("blow_up", "ratio of two modes .1 apart in reward, KL strength .001", 2.7e43, 5.001e41,
              "two printed digits", KL_MODES),
        Check("mara_spread", "spread of MARA's optimum over the good modes, max p/min p - 1", 0.0, 1e-8,
              "'exactly uniform'; the integrator errs by 1e-10", KL_MODES),
        Check("gain_of_likely", "gain in pass@512 of a lift by 10% at p = 1/2", 0.0, 1e-6, "'cannot help'", UPLIFT),
        Check("uplift_grpo", "sign of (share of likely ranks lifted) - (of rare ranks), grpo", 1.0, 0.0,
              "a sign, at 5 standard errors; 0 if not resolved", UPLIFT),
        Check("uplift_unlikeliness", "sign of that difference's change under unlikeliness", -1.0, 0.0,
              "a sign, at 5 standard errors; 0 if not resolved", UPLIFT),
    ]  # fmt: skip
    for odds in (2, 8, 32, 128, 512):
        found.append(
            Check(f"best_n_{odds}", f"log2 of (best N for a lift by 10%) times p, p = 1/{odds}", 0.0, 1.0,
                  "'near 1/p': a factor of 2", UPLIFT)
        )  # fmt: skip
    return tuple(found)


CHECKS = MappingProxyType(
    {check.id: check for check in (*_outcome_flows(), *_outcome_samples(), *_categorical(), *_small())}
)
