"""What the pages say of the study, against its committed rows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from sharpening.llm.studies import analysis, confirm
from sharpening.theory.methods.table import METHODS
from tests.pages import parts, rows_of, text
from tests.test_findings import short

EVEN = "rarity, no difficulty"
RATES = {  # that were chosen
    **dict.fromkeys(("plain", "ds", "ds centred", "rarity_maxrl", "ips", "maxrl"), 4e-4),
    **dict.fromkeys(("entropy bonus", "unlikeliness", "pkpo", EVEN), 2e-4),
}


def test_what_is_said_of_the_study() -> None:
    """Who wins and by how much, on each page; at equal rates in tuning; and what strong settings do."""
    words = " ".join((text("docs/study.md") + text("docs/tuning.md")).split())
    found = {(row["contestant"], row["against"], row["quantity"], row["at"]): row for row in rows_of("study_summary")}
    told = {(row["contestant"], row["against"]): row["outcome"] for row in rows_of("study_outcomes")}

    def estimate(one: str, other: str, k: float, name: str = "pass@{k:g} ") -> str:
        row = found[one, other, "pass_at_k", k]
        return f"{name.format(k=k)}{short(row['value'], signed=True)} [{short(row['low'])}, {short(row['high'])}]"

    wins = [("ds", "plain"), ("ds centred", "plain"), ("entropy bonus", "ds"), ("rarity_maxrl", "ds"), (EVEN, "ds")]
    assert {told[pair] for pair in wins} == {"wins"}
    assert {told[name, "ds"] for name in ("ds centred", "ips", "pkpo")} == {"loses"}
    assert {told[name, "ds"] for name in ("maxrl", "unlikeliness")} == {"undecided"}
    for pair in (("ds", "plain"), ("entropy bonus", "ds"), ("rarity_maxrl", "ds"), (EVEN, "ds")):
        assert ", ".join(estimate(*pair, k) for k in (1, 8, 64)) in words
    for pair in (("ds centred", "plain"), ("ds centred", "ds")):
        assert estimate(*pair, 8) in words
    for page in ("docs/findings.md", "README.md"):
        assert ", ".join(estimate("ds", "plain", k) for k in (8, 64)) in " ".join(text(page).split())
    assert f"by {estimate('entropy bonus', 'ds', 8, '')} of pass@8" in " ".join(text("docs/findings.md").split())
    base, most = (found["", "before", "pass_at_k", 8]["value"], found["pkpo", "", "pass_at_k", 8]["value"])
    assert most == max(row["value"] for key, row in found.items() if key[1:] == ("", "pass_at_k", 8))
    assert f"before training**, {short(base)}: the most is {short(most)}, PKPO's" in words
    for k, name in ((8, "pass@8 "), (64, "pass@64 "), (1, "pass@1 ")):
        assert (
            " and ".join(estimate(one, "ds", k, name * (one == "maxrl")) for one in ("maxrl", "unlikeliness")) in words
        )
    assert f"least strength tried, has {estimate('ips', 'ds', 64)}" in words
    rates = {
        name: found[name, "", "matched_slope", 100]["value"] / found[name, "", "expected_slope", 100]["value"]
        for name in (
            "plain",
            "ds",
            "ds centred",
            "entropy bonus",
            "rarity_maxrl",
            "ips",
            "pkpo",
            "maxrl",
            "unlikeliness",
            EVEN,
        )
    }
    assert rates.pop("unlikeliness") < 1
    assert [short(one(rates.values()), 1) for one in (min, max)] == ["1.5", "2.3"]


@pytest.mark.parametrize("study", ["study", "one_rate", "ablation", "pretrained"])
def test_stored_tables_are_those_of_the_stored_runs(study: str) -> None:
    """Means, outcomes and predictions, as this code makes them of the rows."""
    rows = rows_of(f"{study}_runs")
    num_steps = max(row["num_steps"] for row in rows if row["stage"] == "comparison")
    found = list(analysis.summary(rows, num_steps))
    assert repr(found) == repr(rows_of(f"{study}_summary"))
    if study != "ablation":
        transferred = None if study == "pretrained" else confirm.TRANSFERRED
        assert analysis.outcomes(found, rows, num_steps) == rows_of(f"{study}_outcomes")
        assert confirm.rows_of(rows, num_steps, transferred) == rows_of(f"{study}_predictions")


def test_what_is_said_of_tuning() -> None:
    """Plain RL by rate, and strong settings."""
    words = " ".join((text("docs/study.md") + text("docs/tuning.md")).split())
    ends: dict[Any, dict[int, float]] = {}
    for row in rows_of("study_runs"):
        if row["stage"] == "tuning" and row["step"] == row["num_steps"]:
            key = row["contestant"], row["strength"], row["learning_rate"], row["quantity"], row["at"]
            ends.setdefault(key, {})[row["seed"]] = row["value"]

    def mean(name: str, strength: float, rate: float, k: float) -> str:
        values = list(ends[name, strength, rate, "pass_at_k", k].values())
        assert len(values) == 3
        return short(float(np.mean(values)))

    told_of_rates = f"pass@1 in tuning was {mean('plain', 0.0, 4e-4, 1)}, at 4e-4, and {mean('plain', 0.0, 2e-4, 1)} at"
    assert told_of_rates in words
    for strength, said in ((0.1, "at .1 pass@1 is .35 to .50"), (0.3, "at .3 it is 0 to .38")):
        reached = [value[0] for key, value in ends.items() if key[:2] == ("entropy bonus", strength) and key[4] == 1]
        low, high = (short(one(reached), 2) if one(reached) > 0.005 else "0" for one in (min, max))
        assert said.endswith(f"{low} to {high}")
        assert said in words
    for name, strength, said in (("ds", 1.0, "slopes of .06 to .08"), ("ds centred", 0.3, "at all (-.03 to .01,")):
        slopes = [value[0] for key, value in ends.items() if key[:2] == (name, strength) and key[3] == "slope"]
        assert [short(one(slopes), 2) for one in (min, max)] == re.findall(r"-?\.\d+", said)
        assert said in words


def values(table: str, contestant: str, quantity: str, at: float) -> dict[Any, float]:
    """One measure of a contestant's compared runs, by warm start and seed."""
    return {
        (row["warm_start"], row["seed"]): row["value"]
        for row in rows_of(table)
        if (row["stage"], row["contestant"]) == ("comparison", contestant)
        and (row["quantity"], row["at"], row["step"]) == (quantity, at, row["num_steps"])
    }


def between(one: tuple[str, str], other: tuple[str, str], quantity: str, at: float, places: int = 3) -> str:
    """The mean difference of pairs with its interval, as pages write it."""
    ours, theirs = (values(*name, quantity, at) for name in (one, other))
    both = np.array([ours[pair] - theirs[pair] for pair in ours.keys() & theirs.keys()])
    half = student.ppf(0.975, len(both) - 1) * both.std(ddof=1) / np.sqrt(len(both))
    ends = (short(both.mean() + sign * half, places) for sign in (-1, 1))
    return f"{short(both.mean(), places, signed=True)} [{', '.join(ends)}]"


def test_what_is_said_of_one_learning_rate() -> None:
    """Pairs within that study, and with runs of the same warm start and seed of the tuned one; recomputed from rows."""
    pages = {name: " ".join(text(f"docs/{name}.md").split()) for name in ("study", "ablations", "findings")}
    half, tuned = "one_rate_runs", "study_runs"

    def one(contestant: str, other: str, k: float) -> str:
        return between((half, contestant), (half, other), "pass_at_k", k)

    words = pages["ablations"]
    assert "pass@1 {}, pass@8 {}, pass@64 {}, with".format(*(one("ds", "plain", k) for k in (1.0, 8.0, 64.0))) in words
    slope = between((half, "plain"), (half, "ds"), "slope", 500.0).removeprefix("+")
    assert f"a slope less by {slope}" in words
    assert f"has pass@8 {one('entropy bonus', 'ds', 8.0)} and pass@1 {one('entropy bonus', 'ds', 1.0)}" in words
    strong = (half, "ds .1"), (half, "entropy bonus .03")
    more = between(*strong, "effective_answers", 0.0, 1).removeprefix("+")
    slope = between(*strong[::-1], "slope", 500.0).removeprefix("+")
    assert f"DS keeps {more} more, with {slope} less slope; pass@8 {one('ds .1', 'entropy bonus .03', 8.0)}" in words
    assert f"and pass@1 {one('ds .1', 'entropy bonus .03', 1.0)} are not apart" in words
    assert (
        f": {one('rarity_maxrl', 'ds .1', 8.0)} over DS at .1, for pass@1 {one('rarity_maxrl', 'ds .1', 1.0)}" in words
    )
    assert f"gives up {one('plain', 'rarity_maxrl', 1.0).removeprefix('+')} of pass@1" in words
    means = {name: np.mean([*values(half, name, "pass_at_k", 8.0).values()]) for name in ("ds .1", "rarity_maxrl")}
    compared = rows_of("study_summary") + rows_of("ablation_summary") + rows_of("one_rate_summary")
    kept = [row["value"] for row in compared if (row["quantity"], row["at"], row["against"]) == ("pass_at_k", 8.0, "")]
    assert means["rarity_maxrl"] == pytest.approx(max(kept))
    assert f"{short(max(kept))} of .910 before" in words
    told = {(row["contestant"], row["against"]): row["outcome"] for row in rows_of("one_rate_outcomes")}
    assert [told[name, "plain"] for name in ("ds", "entropy bonus", "rarity_maxrl", "ds .1")] == [
        *("wins", "wins", "undecided", "undecided")
    ]
    assert told["entropy bonus", "ds"] == "undecided"
    gentle = [between((half, "plain"), (tuned, "plain"), "pass_at_k", k) for k in (8.0, 64.0, 1.0)]
    assert "has pass@8 {} and pass@64 {} at the same pass@1, {};".format(*gentle) in words
    over_ds = [between((half, "plain"), (tuned, "ds"), "pass_at_k", k) for k in (8.0, 64.0)]
    assert "against DS, tuned, pass@8 {} and pass@64 {}".format(*over_ds) in words
    assert f"has pass@1 {gentle[2]} and pass@8 {gentle[0]} over itself" in pages["study"]
    assert f"and {over_ds[0]} of pass@8 over tuned DS" in pages["study"]
    for page in ("study", "findings"):
        assert f"pass@8 {one('ds', 'plain', 8.0)} and pass@64 {one('ds', 'plain', 64.0)}" in pages[page]
    assert f"pass@8 {over_ds[0]} over tuned DS" in pages["findings"]
    even, ours, plain, bonus = (tuned, EVEN), (tuned, "rarity_maxrl"), (half, "plain"), (half, "entropy bonus")
    over = [between(even, (half, name), "pass_at_k", 8.0) for name in ("ds", "entropy bonus", "plain")]
    assert "in pass@8 from DS, {}, from the bonus, {}, or from plain RL, {}.".format(*over) in pages["study"]
    less = [between(gentle, mine, "pass_at_k", 1.0) for gentle, mine in ((bonus, even), (plain, ours))]
    more = [between(mine, gentle, "effective_answers", 0.0, 1) for gentle, mine in ((bonus, even), (plain, ours))]
    assert f"the bonus's by {less[0].removeprefix('+')}, and it keeps {more[0]} more correct answers" in pages["study"]
    eight, one_less = between(ours, plain, "pass_at_k", 8.0), less[1].removeprefix("+")
    assert f"{eight}, at {one_less} less pass@1; what it has is {more[1]}" in pages["study"]
    found = {row["contestant"]: row["learning_rate"] for row in rows_of(tuned) if row["stage"] == "comparison"}
    assert found == {**RATES, "plain gentler": 4e-4}
    assert sum(rate > 2e-4 for rate in RATES.values()) == 6


OF_CLASS = ("grpo", "psr", "nsr", "w_reinforce", "pass_at_k_training", "f_grpo", "qae", "a_grae", "entropic")
GRPO = ("grpo", "clip", "clip_higher", "kl_cov")  # with one update a batch


def shown(value: float, low: float, high: float, *, signed: bool = False) -> str:
    return f"{short(value, signed=signed)} [{short(low)}, {short(high)}]"


def less_plain(ours: dict[int, float], plain: dict[int, float]) -> tuple[float, float, float]:
    """The mean difference of pairs, with its interval."""
    return analysis.interval(np.array([value - plain[seed] for seed, value in ours.items()]))[:3]


def test_what_is_said_of_the_methods_that_ran_once() -> None:
    """Alone and together, of the runs themselves."""
    words = " ".join(text("docs/study.md").split())
    rows = rows_of("study_runs")
    told = {row["claim"]: row for row in rows_of("study_predictions")}
    for claim in ("B4", "`check-shaper`"):
        assert told[claim]["verdict"] == "agrees"
        assert f"{short(told[claim]['value'])} [{short(told[claim]['low'])}, {short(told[claim]['high'])}]" in words

    def rates(name: str, stage: str = "others") -> dict[int, float]:
        slopes = {
            (row["quantity"], row["seed"]): row["value"]
            for row in rows
            if (row["stage"], row["contestant"], row["step"]) == (stage, name, row["num_steps"])
        }
        expected = {seed: value for (quantity, seed), value in slopes.items() if quantity == "expected_slope"}
        return {seed: slopes["matched_slope", seed] / value for seed, value in expected.items()}

    plain, ds = (rates(name, "comparison") for name in ("plain", "ds"))
    means = [np.mean([*one.values()]) for one in (plain, ds)]
    assert f"above plain RL's {means[0]:.2f}, where DS is {short(means[0] - means[1], 2)} below" in words
    rest = [value for name in ("cue_grpo", "uarl", "ucpo") for value in rates(name).values()]
    assert f"without `mara`, {shown(*analysis.apart(np.array(rest), np.array([*plain.values()]))[:3])}." in words
    assert f"paired, `a_grae` is above by {shown(*less_plain(rates('a_grae'), plain))}" in words
    nine = [rates(name) for name in METHODS if name in OF_CLASS]
    assert len(nine) == len(OF_CLASS)
    by_seed = {seed: float(np.mean([one[seed] for one in nine])) for seed in nine[0]}
    assert f"paired, the nine are at {shown(*less_plain(by_seed, plain))}, which decides nothing" in words
    lines = [line.strip("| ").split(" | ") for line in parts("docs/study.md")["study others"].splitlines()[2:]]
    table = {name: [sharpens, foreseen] for name, *_, sharpens, foreseen in lines}
    assert "by more**: .53 of plain RL and not .89." in words
    assert [short(float(value), 2) for value in table["mara"]] == [".53", ".89"]
    assert max(table, key=lambda name: float(table[name][0])) == "entropy_penalty"
    of = {(row["contestant"], row["against"], row["quantity"], row["at"]): row for row in rows_of("study_summary")}
    eight, one = (of["kl_penalty", "plain", "pass_at_k", k] for k in (8, 1))
    estimates = [shown(*(row[name] for name in ("value", "low", "high")), signed=True) for row in (eight, one)]
    assert "pass@8 of the 24**, {} over plain RL at pass@1 {};".format(*estimates) in words
    most = {key[0]: row["value"] for key, row in of.items() if key[1:] == ("", "pass_at_k", 8)}
    assert max(table, key=most.__getitem__) == "kl_penalty"
    names = (*GRPO, "gspo")
    own = {
        name: [{**row, "contestant": "", "method": ""} for row in rows if row["contestant"] == name] for name in names
    }
    assert all(own[name] == own["grpo"] != [] for name in GRPO)
    moved = [
        abs(ours["value"] - theirs["value"])
        for ours, theirs in zip(own["gspo"], own["grpo"], strict=True)
        if (ours["quantity"], ours["at"], ours["step"]) == ("pass_at_k", 8, ours["num_steps"])
    ]
    assert f"turned into {short(max(moved))} of pass@8 in one run" in words
    ends = {line.split("`")[1]: line.split(" | ")[1] for line in parts("docs/methods.md")["verdicts"].splitlines()[2:]}
    assert {name for name in table if ends.get(name, "sharpens") != "sharpens"} == {"mara", "kl_penalty"}


SAME = ("ds, centred", "ds, in the reward", "ds, mean over tokens")  # as DS


def test_what_is_said_of_ablations() -> None:
    """Paired differences."""
    words = " ".join(text("docs/ablations.md").split())
    found = {
        (row["contestant"], row["against"], row["quantity"], row["at"]): row for row in rows_of("ablation_summary")
    }

    def ends(one: str, other: str, k: float, sign: float = 1) -> str:
        row = found[one, other, "pass_at_k", k]
        value, *bounds = (sign * row[name] for name in ("value", "low", "high"))
        low, high = (short(bound) for bound in sorted(bounds))
        return f"{short(value, signed=sign > 0)} [{low}, {high}]"

    for k in (1, 8, 64):
        assert f"pass@{k} {ends('ds', 'plain', k)}" in words
    for k in (1, 8):
        assert f"pass@{k} {ends('ds, charge .1', 'ds', k)}" in words
    for one, other in (("plain, noise", "plain"), ("ds, noise", "ds"), ("ds, noise and charge .03", "ds")):
        assert ends(one, other, 1, -1) in words
    apart: dict[str, set[tuple[str, float]]] = {}
    measures = [*(("pass_at_k", k) for k in (1, 8, 64)), ("effective_answers", 0), ("slope", 500)]
    for name, *measure in ((name, *measure) for name in SAME for measure in measures):
        row = found[name, "ds", measure[0], measure[1]]
        if row["low"] > 0 or row["high"] < 0:
            apart.setdefault(name, set()).add((str(measure[0]), float(measure[1])))
    assert apart == {"ds, centred": {("pass_at_k", 64.0)}}
    assert f"(pass@64 {ends('ds, centred', 'ds', 64)})" in words

    def other(one: str, quantity: str, at: float, places: int, against: str = "ds") -> str:
        row = found[one, against, quantity, at]
        sign = -1 if quantity == "effective_answers" else 1
        bounds = ", ".join(short(bound, places) for bound in sorted(sign * row[name] for name in ("low", "high")))
        return f"{short(sign * row['value'], places)} [{bounds}]"

    divided, first = "ds, divided by the deviation", "ds, of the first model"
    assert f"costs {other(divided, 'effective_answers', 0, 1)} correct answers and adds" in words
    assert f"adds {other(divided, 'slope', 500, 3)} of slope, for pass@1 {ends(divided, 'ds', 1)}" in words
    assert f"first model {other(first, 'effective_answers', 0, 1)} answers, for pass@1 {ends(first, 'ds', 1)}" in words
    assert f"on wrong answers {other('ds, charge .03', 'effective_answers', 0, 1)}." in words
    assert "has pass@8 {}, {} and {}, and".format(*(ends(f"ds, G {size}", "ds", 8) for size in (16, 32, 64))) in words
    assert all(found[f"ds, G {size}", "ds", "pass_at_k", 1]["high"] < 0 for size in (32, 64))
    names = ["plain, G 4", "plain", *(f"plain, G {size}" for size in (16, 32, 64))]
    pairs = [[found[name, "", kind, 100]["value"] for kind in ("matched_slope", "expected_slope")] for name in names]
    assert "{}, {}, {}, {} and {} times as large".format(*(short(one / alone, 1) for one, alone in pairs)) in words
    cool, warm = "plain, temperature 0.7", "plain, temperature 1.3"
    told = [other(cool, "slope", 500, 3, "plain"), *(ends(cool, "plain", k) for k in (8, 1))]
    assert "slope {} with pass@8 {} and pass@1 {}".format(*told) in words
    assert f"and +{other(warm, 'slope', 500, 3, 'plain')} with pass@8 {ends(warm, 'plain', 8)}" in words
    for name, sign in (("ds, temperature 0.7", -1), ("ds, temperature 1.3", 1)):
        assert min(sign * found[name, "ds", "slope", 500][end] for end in ("low", "high")) > 0
