"""What the pages say of the study, against its committed rows."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.pages import rows_of, text
from tests.test_findings import short


def test_what_is_said_of_the_study() -> None:
    """Who wins and by how much, on each page; at equal rates in tuning; and what strong settings do."""
    words = " ".join((text("docs/study.md") + text("docs/tuning.md")).split())
    found = {(row["contestant"], row["against"], row["quantity"], row["at"]): row for row in rows_of("study_summary")}
    told = {(row["contestant"], row["against"]): row["outcome"] for row in rows_of("study_outcomes")}

    def estimate(one: str, other: str, k: float, name: str = "pass@{k:g} ") -> str:
        row = found[one, other, "pass_at_k", k]
        return f"{name.format(k=k)}{short(row['value'], signed=True)} [{short(row['low'])}, {short(row['high'])}]"

    wins = [("ds", "plain"), ("ds centred", "plain"), ("entropy bonus", "ds"), ("rarity_maxrl", "ds")]
    assert {told[pair] for pair in wins} == {"wins"}
    assert {told[name, "ds"] for name in ("ds centred", "ips", "pkpo")} == {"loses"}
    assert {told[name, "ds"] for name in ("maxrl", "unlikeliness")} == {"undecided"}
    for pair in (("ds", "plain"), ("entropy bonus", "ds"), ("rarity_maxrl", "ds")):
        assert ", ".join(estimate(*pair, k) for k in (1, 8, 64)) in words
    for pair in (("ds centred", "plain"), ("ds centred", "ds")):
        assert estimate(*pair, 8) in words
    for page in ("docs/findings.md", "README.md"):
        said = " ".join(text(page).split())
        assert ", ".join(estimate("ds", "plain", k) for k in (8, 64)) in said
        assert f"by {estimate('entropy bonus', 'ds', 8, '')} of pass@8" in said
    base, most = (found["", "before", "pass_at_k", 8]["value"], found["pkpo", "", "pass_at_k", 8]["value"])
    assert most == max(row["value"] for key, row in found.items() if key[1:] == ("", "pass_at_k", 8))
    assert f"before training**, {short(base)}: the most is {short(most)}, PKPO's" in words
    for k, name in ((8, "pass@8 "), (64, "pass@64 "), (1, "pass@1 ")):
        assert (
            " and ".join(estimate(one, "ds", k, name * (one == "maxrl")) for one in ("maxrl", "unlikeliness")) in words
        )
    assert f"least strength tried, has {estimate('ips', 'ds', 8)}" in words
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
        )
    }
    assert rates.pop("unlikeliness") < 1
    assert [short(one(rates.values()), 1) for one in (min, max)] == ["1.7", "2.3"]
    ends: dict[Any, dict[int, float]] = {}
    for row in rows_of("study_runs"):
        if row["stage"] == "tuning" and row["step"] == row["num_steps"]:
            key = row["contestant"], row["strength"], row["learning_rate"], row["quantity"], row["at"]
            ends.setdefault(key, {})[row["seed"]] = row["value"]

    def mean(name: str, strength: float, rate: float, k: float) -> str:
        values = list(ends[name, strength, rate, "pass_at_k", k].values())
        assert len(values) == 3
        return short(float(np.mean(values)))

    at_half = [
        [mean(*one, 2e-4, k) for k in (8, 64)] for one in (("plain", 0.0), ("entropy bonus", 0.01), ("ds", 0.03))
    ]
    assert "pass@8 {} and pass@64 {}, the bonus".format(*at_half[0]) in words
    assert "its chosen setting {} and {}, DS at .03 and that rate {} and {}.".format(*at_half[1], *at_half[2]) in words
    assert f"best pass@1 there is {mean('plain', 0.0, 4e-4, 1)}, at 4e-4, and {mean('plain', 0.0, 2e-4, 1)} at" in words
    for strength, said in ((0.1, "at .1 pass@1 is .35 to .50"), (0.3, "at .3 it is 0 to .38")):
        reached = [value[0] for key, value in ends.items() if key[:2] == ("entropy bonus", strength) and key[4] == 1]
        low, high = (short(one(reached), 2) if one(reached) > 0.005 else "0" for one in (min, max))
        assert said.endswith(f"{low} to {high}")
        assert said in words
    for name, strength, said in (("ds", 1.0, "slopes of .06 to .08"), ("ds centred", 0.3, "at all (-.03 to .01,")):
        slopes = [value[0] for key, value in ends.items() if key[:2] == (name, strength) and key[3] == "slope"]
        assert [short(one(slopes), 2) for one in (min, max)] == re.findall(r"-?\.\d+", said)
        assert said in words


def test_what_is_said_of_plain_rl_at_half_the_rate_and_of_ablations() -> None:
    """Pairs with the same warm start and seed, of two committed studies; and paired differences of the ablations."""
    words = " ".join((text("docs/study.md") + text("docs/ablations.md")).split())
    runs: dict[Any, dict[Any, float]] = {}
    for table in ("ablation_runs", "study_runs"):
        for row in rows_of(table):
            if (row["stage"], row["quantity"], row["step"]) == ("comparison", "pass_at_k", row["num_steps"]):
                key = table, row["contestant"], row["at"]
                runs.setdefault(key, {})[row["seed"]] = row["value"]

    def gaps(name: str, k: float) -> list[str]:
        own, other = runs["ablation_runs", "plain", k], runs["study_runs", name, k]
        return [short(own[seed] - other[seed], signed=True) for seed in (100, 101, 102)]

    assert "pass@8 {}, {} and {} over plain RL at 4e-4 (pass@1 {}, {}, {})".format(
        *gaps("plain", 8), *gaps("plain", 1)
    ) in words  # fmt: skip
    assert "{}, {} and {} over DS, {}, {} and {} against the bonus".format(
        *gaps("ds", 8), *gaps("entropy bonus", 8)
    ) in words  # fmt: skip
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
