"""Laws of how success rates moved: their likelihood, fits, choice and consequences, each by a second route."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import approx_fprime
from scipy.special import expit, logit
from scipy.stats import binom, norm

from sharpening.samples.rates import choice, implied, laws, mixture
from sharpening.samples.rates import fit as fitting
from sharpening.samples.rates import second as second_opinions
from sharpening.samples.rates.fit import Counts, Data, Fit
from sharpening.samples.rates.spread import Spread
from sharpening.theory import estimators, policies
from sharpening.theory.flow import rate_path, vanilla_path
from sharpening.theory.groups import expectations
from tests.tolerances import FLOAT64

LAWS = {law.name: law for law in laws.all_laws(8, 400)}
QUADRATURE = 2e-5  # relative, of sums over the grid in place of integrals
DIFFERENCES = 1e-4  # relative, of derivatives by differences
NEWTON = 1e-4  # nats, that two Newton steps leave of a maximum which is .05 nats or more away
HELD_OUT = 0.02  # nats, of the log-probability of 80 problems there
MAXIMUM = 1e-5  # nats, of a maximum that is found by steps
COARSE = 0.02  # relative, of derivatives of such a maximum by differences
PATH = 1e-6  # relative, of log-odds on a path from a table
TINY_SLOPE = 1e-8
FALLEN = 0.25  # relative, between curvature and scatter of 300 problems
DRAWN, SHARE_DRAWN = 0.004, 0.003  # of averages over draws
OF_DRAWS, NUM_DRAWN = 0.05, 0.3  # relative, and of a number of problems
N = 64


def simulated(law: str, parameters: list[float], spread: float, num: int = 400, seed: int = 0) -> Counts:
    """Counts of problems whose log-odds are spread widely before, moved by a law."""
    rng = np.random.default_rng(seed)
    before = rng.choice([-4.0, -1.0, 2.0], size=num) + rng.standard_normal(num)
    shifts, _ = LAWS[law].shift(before, np.array(parameters))
    after = before + shifts + spread * rng.standard_normal(num)
    total = np.full(num, N)
    return Counts((total, rng.binomial(total, expit(before))), (total, rng.binomial(total, expit(after))))


@pytest.fixture(scope="module")
def affine() -> tuple[Data, Counts, dict[str, Fit]]:
    """Counts that a line in the log-odds moved, and fits of some laws to them."""
    counts = simulated("affine", [1.0, 0.3], 0.7)
    data = fitting.prepared(counts)
    return data, counts, {name: fitting.fit(data, LAWS[name]) for name in ("common", "affine", "softmax_grpo")}


@pytest.mark.parametrize("deviation", [0.0, 0.1, 0.19, 0.21, 1.0, 2.5])
def test_the_chance_of_an_outcome_is_the_integral_over_the_spread(deviation: float) -> None:
    spread, means = Spread(np.array([N, N]), np.array([0, 23])), np.array([-3.0, 0.4])
    found = spread(means, deviation**2).value
    for row, correct in enumerate((0, 23)):
        for column, mean in enumerate(means):
            want = binom.pmf(correct, N, expit(mean))
            if deviation:
                want, _ = quad(
                    lambda at, mean=mean, correct=correct: (
                        norm.pdf(at) * binom.pmf(correct, N, expit(mean + deviation * at))
                    ),
                    *(-9, 9),
                    points=np.linspace(-8, 8, 17),
                    limit=200,
                )
            assert found[row, column] == pytest.approx(want, rel=QUADRATURE, abs=QUADRATURE * 1e-3)


@pytest.mark.parametrize("variance", [0.01, 0.6])
def test_derivatives_of_chances(variance: float) -> None:
    spread, mean, step = Spread(np.array([N]), np.array([9])), np.array([-1.2]), 1e-5
    found = spread(mean, variance)
    by_mean = (spread(mean + step, variance).value - spread(mean - step, variance).value) / (2 * step)
    by_variance = (spread(mean, variance + step).value - spread(mean, variance - step).value) / (2 * step)
    np.testing.assert_allclose(found.by_mean, by_mean, rtol=DIFFERENCES)
    np.testing.assert_allclose(found.by_variance, by_variance, rtol=DIFFERENCES)


def test_likeliest_weights_are_those_of_ten_thousand_steps_of_expectation_and_maximisation() -> None:
    rng = np.random.default_rng(3)
    likelihood, counted = rng.random((40, 6)) ** 3, rng.integers(1, 5, 40).astype(float)
    found = mixture.likeliest_weights(likelihood, counted, np.full(6, 1 / 6))
    slow = np.full(6, 1 / 6)
    for _ in range(10_000):
        slow *= likelihood.T @ (counted / (likelihood @ slow)) / counted.sum()
    assert found.sum() == pytest.approx(1, rel=FLOAT64)
    best, reached = (counted @ np.log(likelihood @ weights) for weights in (slow, found))
    assert reached == pytest.approx(best, abs=MAXIMUM)


def test_the_likelihood_and_its_gradient(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    """By a loop over problems, and by differences of the maximum over the mixture."""
    data, counts, _ = affine
    at, flat = np.array([0.8, 0.1, 0.5]), np.full(len(data.points), 1 / len(data.points))
    found = fitting.value(data, LAWS["affine"], at, flat, data.multiplicity)
    slow = 0.0
    for n, c, m, d in zip(*counts.before, *counts.after, strict=True):
        after = Spread(np.array([m]), np.array([d]))(data.points * 1.1 + 0.8, 0.5).value[0]
        slow += np.log(binom.pmf(c, n, expit(data.points)) * after @ found.weights)
    assert found.log_likelihood == pytest.approx(slow, rel=QUADRATURE)

    def maximum(at: np.ndarray) -> float:
        return fitting.value(data, LAWS["affine"], at, found.weights, data.multiplicity).log_likelihood

    np.testing.assert_allclose(found.gradient, approx_fprime(at, maximum, 1e-4), rtol=COARSE)


@pytest.mark.parametrize("name", LAWS)
def test_slopes_of_a_law(name: str) -> None:
    law, at = LAWS[name], np.array([-5.0, -0.3, 0.9, 4.0])
    parameters = np.array(law.start) + 0.1
    _, found = law.shift(at, parameters)
    for place, row in enumerate(found):
        step = 1e-6 * np.eye(len(parameters))[place]
        want = (law.shift(at, parameters + step)[0] - law.shift(at, parameters - step)[0]) / 2e-6
        np.testing.assert_allclose(row, want, rtol=DIFFERENCES, atol=TINY_SLOPE)


@pytest.mark.parametrize("weight", ["grpo", "maxrl", "pkpo"])
@pytest.mark.parametrize("start", [0.02, 0.4])
def test_the_path_of_a_rate_is_that_of_the_flow_over_two_answers(weight: str, start: float) -> None:
    """With one right and one wrong answer kappa is 2, so a time t of the flow is 2t of the path; not t, and not 4t."""
    of_rate = {
        "grpo": lambda rate: np.asarray(expectations.grpo_weight(rate, 8)),
        "maxrl": lambda rate: np.asarray(expectations.maxrl_weight(rate, 8)),
        "pkpo": lambda rate: np.asarray(expectations.pkpo_weight(rate, 4)),
    }[weight]
    problem = policies.problem_from_probabilities([start, 1 - start], [1, 0])
    flow = logit(np.exp(vanilla_path.vanilla_path(problem, [3.0], of_rate)[0, 0]))
    path = rate_path.RatePath(rate_path.softmax_speed(of_rate))
    assert path.after(logit(start), 6.0)[0] == pytest.approx(flow, rel=PATH)
    assert abs(path.after(logit(start), 3.0)[0] - flow) > 0.05
    assert path.time_between(logit(start), float(flow)) == pytest.approx(6.0, rel=PATH)


def test_the_true_law_is_found_and_wrong_ones_rejected(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    data, _, fits = affine
    chosen = choice.choose(data, list(fits.values()), rng=np.random.default_rng(0))
    assert list(fits)[chosen.chosen] == "affine"
    behind, error = chosen.margin(0)
    assert behind > 4 * error
    p_values = {name: fitting.misfit(data, fitted) for name, fitted in fits.items()}
    assert p_values["affine"] > 0.05
    assert max(p_values["common"], p_values["softmax_grpo"]) < 1e-6


def test_parameters_and_spread_are_recovered(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    data, _, fits = affine
    fitted = fits["affine"]
    errors = np.sqrt(np.diag(fitting.covariance(data, fitted)))
    assert (abs(fitted.parameters - [1.0, 0.3]) < 3 * errors[:2]).all()
    assert abs(fitted.parameters[1]) > 5 * errors[1]
    low, high = fitting.spread_interval(data, fitted, float(errors[-1]))
    assert 0.5 < low < 0.7 < high < 0.9


def test_no_spread_is_not_rejected_where_there_is_none() -> None:
    data = fitting.prepared(simulated("common", [1.0], 0.0, num=300, seed=4))
    fitted = fitting.fit(data, LAWS["common"])
    low, high = fitting.spread_interval(data, fitted, float(np.sqrt(fitting.covariance(data, fitted)[-1, -1])))
    assert low == 0
    assert 0 < high < 0.4


def test_a_law_with_fewer_parameters_is_chosen_where_it_is_true() -> None:
    data = fitting.prepared(simulated("common", [1.0], 0.5, num=300, seed=5))
    fits = [fitting.fit(data, LAWS[name]) for name in ("affine", "common")]
    chosen = choice.choose(data, fits, rng=np.random.default_rng(0))
    assert fits[chosen.chosen].law.name == "common"


@pytest.mark.parametrize(("noise", "chosen"), [(0.5, "common"), (0.01, "affine")])
def test_more_parameters_have_to_predict_better_by_a_standard_error(
    noise: float, chosen: str, affine: tuple[Data, Counts, dict[str, Fit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _, fits = affine
    shown = {"common": np.zeros(400), "affine": 0.01 + noise * np.resize([1.0, -1.0], 400)}
    monkeypatch.setattr(choice, "_held_out", lambda data, fitted, part: shown[fitted.law.name])
    both = [fits["common"], fits["affine"]]
    assert both[choice.choose(data, both, rng=np.random.default_rng(0)).chosen].law.name == chosen


@pytest.mark.parametrize("name", ["common", "affine", "softmax_grpo"])
def test_a_fit_to_most_of_the_problems_is_reached_in_two_steps(
    name: str, affine: tuple[Data, Counts, dict[str, Fit]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the fit from scratch; no step at all leaves more than a hundred times as much."""
    data, _, fits = affine
    seen = data.counted(np.arange(len(data.place)) % 5 != 0)
    want = fitting.fit(data, LAWS[name], fits[name], multiplicity=seen)
    inverse, _ = fitting.inverse_curvature(data, fits[name])
    monkeypatch.setattr(fitting, "fit", None)
    found = fitting.fit_near(data, fits[name], inverse, seen)
    still = fitting.value(data, LAWS[name], fits[name].at, fits[name].weights, seen).log_likelihood
    left, before = want.log_likelihood - found.log_likelihood, want.log_likelihood - still
    assert left < NEWTON < before / 100
    held_out = [fitting.log_chances(data, one) @ (data.multiplicity - seen) for one in (found, want)]
    assert held_out[0] == pytest.approx(held_out[1], abs=HELD_OUT)


def test_the_error_of_the_shift_is_where_the_likelihood_has_fallen_by_two() -> None:
    """By 1.96^2/2 at 1.96 errors, on data that the law made; a variance twice as large would say 3.8."""
    data = fitting.prepared(simulated("common", [1.0], 0.5, num=300, seed=5))
    fitted = fitting.fit(data, LAWS["common"])
    error = np.sqrt(fitting.covariance(data, fitted)[0, 0])

    def fallen(shift: float) -> float:
        fixed = laws.Law("fixed", "", "", (), (), lambda at, _: (np.full_like(at, shift), np.empty((0, len(at)))))
        return fitted.log_likelihood - fitting.fit(data, fixed).log_likelihood

    ends = [fallen(float(fitted.parameters[0]) + sign * fitting.NORMAL_95 * error) for sign in (1, -1)]
    assert np.mean(ends) == pytest.approx(fitting.NORMAL_95**2 / 2, rel=FALLEN)


def test_the_second_opinion_agrees(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    data, _, fits = affine
    second = second_opinions.second_opinion(data, fits["affine"])
    errors = np.sqrt(np.diag(fitting.covariance(data, fits["affine"])))
    assert (abs(second.parameters - fits["affine"].parameters) < errors[:2]).all()
    assert second.log_likelihood <= fits["affine"].log_likelihood
    assert second.log_likelihood > fits["common"].log_likelihood


def test_the_implied_change_of_pass_at_k(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    """Over problems drawn from the fit; where the law is true it is near what is seen, a wrong law is not."""
    data, counts, fits = affine
    ks = np.array([1, 8, 64])
    rng = np.random.default_rng(1)
    fitted = fits["affine"]
    change = implied.change_of_pass_at_k(data, fitted, counts, ks)
    before = rng.choice(data.points, p=fitted.weights, size=200_000)
    after = before + fitted.shifts(before) + fitted.spread * rng.standard_normal(len(before))
    each = expit(-before) ** ks[:, None] - expit(-after) ** ks[:, None]
    np.testing.assert_allclose(change.difference, each.mean(axis=1), atol=DRAWN)
    unseen = rng.random(len(before)) < expit(-before) ** N
    np.testing.assert_allclose(change.never_solved, (each * unseen).mean(axis=1), atol=DRAWN)
    seen = [
        estimators.pass_at_k(total[:, None], correct[:, None], ks).mean(axis=0)
        for total, correct in (counts.after, counts.before)
    ]
    wrong = implied.change_of_pass_at_k(data, fits["common"], counts, ks).difference
    far, near = (abs(curve - (seen[0] - seen[1]))[-1] for curve in (wrong, change.difference))
    assert far > 3 * near


def test_bins_are_averages_over_halves(affine: tuple[Data, Counts, dict[str, Fit]]) -> None:
    _, counts, _ = affine
    (n, c), (m, d) = counts.before, counts.after
    found = implied.bins(counts)
    rng = np.random.default_rng(2)
    sums = np.zeros((3, implied.NUM_BINS))
    for _ in range(400):
        first = rng.hypergeometric(c, n - c, N // 2)
        share = first / (N // 2)
        place = np.where(first == 0, 0, np.where(first == N // 2, 8, 1 + np.searchsorted(implied.EDGES[1:], share)))
        for row, values in enumerate((np.ones(len(n)), (c - first) / (N // 2), d / m)):
            sums[row] += np.bincount(place, values, minlength=implied.NUM_BINS) / 400
    np.testing.assert_allclose(found.num_problems, sums[0], rtol=OF_DRAWS, atol=NUM_DRAWN)
    np.testing.assert_allclose(expit(found.before), sums[1] / sums[0], rtol=OF_DRAWS, atol=SHARE_DRAWN)
    np.testing.assert_allclose(expit(found.after), sums[2] / sums[0], rtol=OF_DRAWS, atol=SHARE_DRAWN)
    assert (np.diff(found.before) > 0).all()


def test_a_path_ends_at_log_odds_of_thirty():
    """However long it is followed, and backwards at minus thirty; from beyond, it starts there."""
    path = rate_path.RatePath(rate_path.natural_speed(np.ones_like))
    starts = np.array([-40.0, 0.0, 29.0])
    assert path.after(starts, 1e3)[0].tolist() == [30.0, 30.0, 30.0]
    assert path.after(starts, -1e3)[0].tolist() == [-30.0, -30.0, -30.0]
