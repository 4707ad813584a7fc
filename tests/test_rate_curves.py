"""`rates --curves`: laws fitted to curves of pass@k, without counts of single problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit
from scipy.stats import chi2

from sharpening.cli import main
from sharpening.figures.drawing import rate_curves as curve_figures
from sharpening.figures.tables import rate_curves as curve_tables
from sharpening.samples.rates import curve_file, curve_rows, curves, laws
from sharpening.samples.rates.curve_file import Curves
from sharpening.storage import store
from sharpening.theory import estimators
from tests.tolerances import DIFFERENCE, MONTE_CARLO_Z

PUBLIC = Path(__file__).resolve().parent.parent / "examples" / "public" / "pass_at_k_qwen2.5_simplerl.csv"
LAWS = {law.name: law for law in laws.all_laws()}
KS = np.array([1, 2, 4, 8, 16, 32])
RECOVERED = 0.03  # nats: what a grid of .25 nats leaves of a shift and a spread where there is no noise
EXACT = 1e-4  # squared standard errors that are left where there is no noise
STANDARD = 4.0  # standard errors of an estimate
HEADER = "set,model,num_problems,num_samples,k,pass_at_k\n"


def measured(before: NDArray[np.float64], after: NDArray[np.float64], rng: np.random.Generator) -> Curves:
    """The curves of problems with the given log-odds, from 32 samples of each."""
    counts = [rng.binomial(32, expit(log_odds)) for log_odds in (before, after)]
    both = float(((counts[0] > 0) & (counts[1] > 0)).mean())
    first, second = (estimators.pass_at_k(32, count[:, None], KS).mean(axis=0) for count in counts)
    return Curves("drawn", len(before), 32, KS, first, second, both)


def drawn(slope: float, spread: float, seed: int, num: int = 600) -> Curves:
    """Curves of problems that moved by .8 nats and by a line of the log-odds before."""
    rng = np.random.default_rng(seed)
    before = 2 * rng.standard_normal(num) - 1
    return measured(before, before + 0.8 + slope * before + spread * rng.standard_normal(num), rng)


def test_without_noise_a_law_is_found_exactly() -> None:
    problem = curves.Problem(drawn(0.0, 0.0, seed=0))
    weights = np.exp(-((problem.points + 1) ** 2) / 8)
    truth = problem.moments(LAWS["common"], np.array([0.8, 0.6**2])).value @ (weights / weights.sum())
    num = len(KS)
    exact = Curves("exact", 600, 32, KS, truth[:num], truth[num : 2 * num], float(truth[-1]))
    found = curves.fit(curves.Problem(exact), LAWS["common"])
    assert found.distance < EXACT
    assert (abs(found.parameters[0] - 0.8) < RECOVERED, abs(found.spread - 0.6) < RECOVERED) == (True, True)


def test_the_covariance_is_that_of_simulated_curves() -> None:
    """Of problems with the same log-odds before, whitened errors have variance 1; half the samples would give 2."""
    rng = np.random.default_rng(1)
    problem = curves.Problem(drawn(0.0, 0.7, seed=2, num=200))
    at, law = np.array([0.8, 0.7**2]), LAWS["common"]
    place = rng.integers(10, len(problem.points) - 10, size=200)
    weights = np.bincount(place, minlength=len(problem.points)) / 200
    log_odds = problem.points[place]
    mean = problem.moments(law, at).value @ weights
    whitener = problem.whitener(law, at, weights)
    errors = []
    for _ in range(400):
        moved = log_odds + 0.8 + 0.7 * rng.standard_normal(200)
        errors.append(whitener @ (measured(log_odds, moved, rng).moments - mean))
    covariance = np.cov(np.array(errors).T)
    noise = np.sqrt((1 + np.eye(len(mean))) / 400)
    assert (abs(covariance - np.eye(len(mean))) < MONTE_CARLO_Z * noise).all()
    assert (abs(2 * covariance - np.eye(len(mean))) > MONTE_CARLO_Z * noise).any()


@pytest.mark.parametrize("name", ["affine", "threshold", "softmax_grpo"])
def test_the_gradient_is_that_of_the_misfit(name: str) -> None:
    problem, law = curves.Problem(drawn(0.1, 0.5, seed=3)), LAWS[name]
    at = np.append(law.start, 0.8)
    whitener = problem.whitener(law, at, np.full(len(problem.points), 1 / len(problem.points)))
    weights, _ = problem.best_weights(whitener, problem.moments(law, at))

    def loss(at: NDArray[np.float64]) -> float:
        misfit = whitener @ (problem.curves.moments - problem.moments(law, at).value @ weights)
        return float(misfit @ misfit)

    gradient = problem.loss(law, at, whitener)[1]
    for place in range(len(at)):
        step = np.zeros(len(at))
        step[place] = 1e-4
        slope = (loss(at + step) - loss(at - step)) / 2e-4
        assert gradient[place] == pytest.approx(slope, rel=DIFFERENCE * 10, abs=DIFFERENCE * abs(gradient).max())


def test_a_law_is_told_from_another_and_its_parameters_are_covered() -> None:
    data = curves.Problem(drawn(0.0, 0.0, seed=4))
    found = {name: curves.fit(data, LAWS[name]) for name in ("common", "affine", "softmax_dr_grpo")}
    error = np.sqrt(np.diag(found["common"].covariance))[0]
    assert abs(found["common"].parameters[0] - 0.8) < STANDARD * error < 0.4
    assert curves.misfit(data, found["common"]) > 0.01
    assert curves.misfit(data, found["softmax_dr_grpo"]) < 1e-6
    assert found["affine"].distance <= found["common"].distance + 1e-3
    line = curves.Problem(drawn(0.5, 0.0, seed=5))
    affine = curves.fit(line, LAWS["affine"])
    error = np.sqrt(affine.covariance[1, 1])
    assert abs(affine.parameters[1] - 0.5) < STANDARD * error < 0.5


def test_the_misfit_of_the_true_law_is_chi_squared() -> None:
    """Its mean over data sets is the degrees of freedom, 5 for six k's; the 13 moments alone would say 11."""
    found = [curves.fit(curves.Problem(drawn(0.0, 0.8, seed)), LAWS["common"]) for seed in range(20, 36)]
    distances = np.array([one.distance for one in found])
    error = np.sqrt(2 * 5 / len(found))
    assert abs(distances.mean() - 5) < STANDARD * error < 11 - 5
    problem = curves.Problem(drawn(0.0, 0.8, 20))
    assert curves.misfit(problem, found[0]) == pytest.approx(chi2.sf(distances[0], 5))
    low, high = zip(*map(curves.spread_interval, found), strict=True)
    inside = [a <= 0.8 <= b for a, b in zip(low, high, strict=True)]
    assert sum(inside) >= len(found) - 3
    assert all(a < one.spread < b for a, b, one in zip(low, high, found, strict=True))


def test_the_best_of_several_minima_is_found() -> None:
    """A line has the common shift among its values, so it is never farther, and what a wide spread does is found."""
    (data,) = [one for one in curve_file.read(PUBLIC, "public")[0] if one.name == "7B olympiadbench"]
    common, affine = (curves.fit(curves.Problem(data), LAWS[name]) for name in ("common", "affine"))
    assert affine.distance <= common.distance * (1 + DIFFERENCE * 1e4)
    assert common.spread > 3


@pytest.mark.slow
def test_rows_and_report_say_what_the_curves_do() -> None:
    one = drawn(0.0, 0.8, seed=7)
    rows = curve_rows.rows([one])
    seen = {(row["law"], row["quantity"], row["k"]): row["value"] for row in rows}
    nearest = curve_figures.nearest_law(rows, "drawn")
    distances = {law: seen[law, "distance", 0] for law in LAWS}
    assert distances["affine"] < distances["common"]  # and still the law with fewer parameters is nearest
    assert len(LAWS[nearest].parameters) == 1
    for k, before, after in zip(one.ks, one.before, one.after, strict=True):
        assert abs(seen[nearest, "implied_after", k] - after) < abs(after - before) / 3
        assert curve_figures.change(rows, "drawn", k) == pytest.approx(after - before)
    assert abs(seen[nearest, "implied_both", 0] - one.both) < 0.03
    told = " ".join(curve_tables.report(rows, {law: "" for law in LAWS}, 100).split())
    allowed = sum(seen[law, "misfit_p", 0] >= 0.05 for law in LAWS)
    assert 0 < allowed < len(LAWS)
    assert f"{allowed} of {len(LAWS)} laws fit, the common shift fits" in told


def test_the_public_curves_are_read() -> None:
    sets, _ = curve_file.read(PUBLIC, "public")
    assert [(one.name, one.num_problems, one.num_samples) for one in sets][1] == ("7B math500", 500, 128)
    assert [round(one.both * one.num_problems) for one in sets] == [16, 462, 165, 467, 387]
    for one in sets:  # pass@1 is a whole number of correct samples: nothing was rounded in copying
        correct = np.array([one.before[0], one.after[0]]) * one.num_problems * one.num_samples
        np.testing.assert_allclose(correct, correct.round(), atol=DIFFERENCE)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, file = drawn(0.2, 1.0, seed=6), tmp_path / "curves.csv"
    curve = {"before": zip(one.ks, one.before, strict=True), "after": zip(one.ks, one.after, strict=True)}
    points = [(model, k, value) for model, pairs in curve.items() for k, value in pairs]
    lines = [f"a set,{model},600,32,{k},{value}" for model, k, value in [*points, ("both", 32, one.both)]]
    file.write_text(HEADER + "".join(f"{line}\n" for line in lines))
    words = ["--json", str(tmp_path / "rows.json"), "--out", str(tmp_path / "results"), "--format", "svg"]
    assert main(["rates", "--curves", str(file), *words]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("VERDICT\n  a set: training changed pass@1 by +.")
    (run,) = (tmp_path / "results" / "samples").iterdir()
    assert store.verify_run(run) == []
    assert {path.name for path in run.iterdir()} >= {"rows.csv", "report.txt", "rates.svg", "rates.txt"}
    assert max(map(len, (run / "report.txt").read_text().splitlines())) <= 100
    rows = store.read_rows(run / "rows.csv")
    assert sum(row["value"] for row in rows if row["quantity"] == "is_nearest") == 1


def curve_lines(**changed: str) -> str:
    """A file with one set, of which some lines were replaced."""
    lines = {
        f"{model},{k}": f"a,{model},20,16,{k},{0.1 * step + offset}"
        for model, offset in (("before", 0.1), ("after", 0.2))
        for step, k in enumerate((1, 2, 4, 8, 16))
    } | {"both,16": "a,both,20,16,16,0.4"}
    for key, line in changed.items():
        lines[key.replace("_", ",")] = line
    return HEADER + "".join(f"{line}\n" for line in lines.values() if line)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER, "the file is empty: want a line a set, model and k"),
        ("set,model\na,before\n", "line 2: field 'num_problems' is missing: want set, model, num_problems"),
        (curve_lines(before_1="a,rl,20,16,1,.1"), "line 2: field 'model' is \"rl\": want before, after, both"),
        (curve_lines(before_1="a,before,x,16,1,.1"), "field 'num_problems' is \"x\": want a whole number from 1 on"),
        (curve_lines(before_1="a,before,20,5000,1,.1"), "field 'num_samples' is 5000: want at most 4096"),
        (curve_lines(before_1="a,before,20,16,17,.1"), "field 'k' is 17 of 16 samples: want at most num_samples"),
        (curve_lines(both_16="a,both,20,16,8,.1"), "field 'k' is 8 of 16 samples: want num_samples"),
        (curve_lines(before_1="a,before,20,16,1,nan"), "field 'pass_at_k' is \"nan\": want a share from 0 to 1"),
        (curve_lines(before_1="a,before,20,16,1,x"), "field 'pass_at_k' is \"x\": want a share from 0 to 1"),
        (curve_lines(before_2="a,before,21,16,2,.2"), "num_problems and num_samples of 'a' are (21, 16): want"),
        (curve_lines(before_2="a,before,20,16,1,.2"), "k = 1 of before of 'a' is there twice: want every k once"),
        (curve_lines(after_2=""), "'a': k is [1, 2, 4, 8, 16] before and [1, 4, 8, 16] after: want the same"),
        (curve_lines(after_2="", before_2=""), "'a': 4 values of k: want at least 5"),
        (curve_lines(both_16=""), "'a': no line with model both: want the share that both models solved"),
        (curve_lines(before_2="a,before,20,16,2,.05"), "'a': pass@k falls with k: want curves that rise"),
        (curve_lines(both_16="a,both,20,16,16,.7"), "'a': both models solved 0.7: want at most what each"),
    ],
)
def test_a_file_of_other_curves_is_one_line(
    text: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "curves.csv"
    file.write_text(text)
    assert main(["rates", "--curves", str(file), "--out", str(tmp_path / "results")]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "words", [["--training", "x.csv"], ["a.csv", "b.csv"], ["--part", "x"], ["--problem", "x"], ["--seed", "0"]]
)
def test_curves_stand_alone(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rates", "--curves", str(PUBLIC), *words]) == 2
    assert "want it without" in capsys.readouterr().err
