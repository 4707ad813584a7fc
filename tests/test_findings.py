"""Every number that the pages state of a committed run is in that run."""

from __future__ import annotations

import csv
import json
import re
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from sharpening.bandits.experiments import contests
from sharpening.storage import store
from sharpening.theory import claims
from sharpening.theory.methods.table import METHODS
from tests import pages
from tests.pages import PAGES, ROOT, rows_of, text

FINDINGS = text("docs/findings.md")
WORDS = " ".join(FINDINGS.split())
SMALL_LEAD, LEAD = 0.015, 0.01  # what the page calls a small lead, and what the others' leads are within
PICTURES = [(page, name) for page in PAGES for name in re.findall(r"\((\S*results/reference/\S+\.png)\)", text(page))]
EVERYWHERE = " ".join(" ".join(text(page).split()) for page in PAGES)


def short(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A number as the pages print it: without the zero before the point."""
    return (
        f"{value:{'+' if signed else ''}.{digits}f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:.{digits}f}"
    )


@pytest.mark.parametrize(("page", "name"), PICTURES)
def test_a_picture_comes_from_a_whole_run_of_a_clean_tree(page: str, name: str) -> None:
    run = (PAGES[page].parent / name).resolve().parent
    assert store.verify_run(run) == []
    assert json.loads((run / "provenance.json").read_text(encoding="utf-8"))["is_dirty"] is False


def test_every_run_that_a_page_names_is_committed() -> None:
    named = set(re.findall(r"\b[0-9a-f]{12}\b", EVERYWHERE))
    assert named
    assert named <= set(pages.RUNS)


@pytest.mark.parametrize("run", ["names_audit", "names_audit_train"])
def test_the_tables_of_the_pretrained_model_are_those_of_their_audits(run: str) -> None:
    page = text("docs/pretrained.md")
    rows = {(row["model"], row["quantity"], row["at"]): row for row in rows_of(run)}
    shown = [("pass_at_k", 1.0), ("pass_at_k", 8.0), ("pass_at_k", 32.0), ("entropy_correct", 0.0), ("hill_1", 0.0)]
    for model, words in (("before", "before"), ("plain_rl", "plain RL"), ("ds", "DS .3")):
        cells = [rows.get((model, *key)) for key in [*shown, ("sharpening_slope", 0.0)]]
        ends = [one and f"{short(one['value'])} [{short(one['low'])}, {short(one['high'])}]" for one in cells]
        assert f"| {words} | {' | '.join(end or '' for end in ends)}".rstrip() in page.replace("-0.", "-.")


def paired(run: str, quantity: str, model: str, other: str) -> tuple[float, float, float, int]:
    """The mean over questions of a model's value less another's, its 95% interval, and on how many it is above 0."""
    with (pages.run_of(run) / "problems.csv").open(newline="") as stream:
        values = {(row["model"], row["problem"]): float(row[quantity]) for row in csv.DictReader(stream)}
    gaps = np.array([values[model, one] - values[other, one] for one in sorted({name for _, name in values})])
    reach = float(student.isf(0.025, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return float(gaps.mean()), float(gaps.mean() - reach), float(gaps.mean() + reach), int((gaps > 0).sum())


def test_what_is_said_of_the_pretrained_model() -> None:
    """Paired differences over questions, worked out here."""
    page = " ".join(text("docs/pretrained.md").split())
    alive, low, high, number = paired("names_audit", "hill_1", "ds", "plain_rl")
    assert number == 9
    assert f"on 9 of the 10, {short(alive, 2)} more in the mean [{short(low, 2)}, {short(high, 2)}]" in page
    alive, low, high, number = paired("names_audit_second", "hill_1", "ds", "plain_rl")
    assert f"{short(alive)} [{short(low)}, {short(high)}], more on {number} questions of 10" in page
    for row in rows_of("names_audit_second"):
        if (row["quantity"], row["at"]) in (("pass_at_k", 1), ("sharpening_slope", 0)):
            ends = f"[{short(row['low'])}, {short(row['high'])}]"
            assert f"{short(row['value'])} {ends}" in page
    entropy, low, high, _ = paired("names_audit", "entropy_correct", "ds", "plain_rl")
    assert f"the difference is {short(entropy, signed=True)} [{short(low)}, {short(high)}]" in page
    falls = [paired("names_audit_train", "entropy_correct", "before", model) for model in ("plain_rl", "ds")]
    told = [f"{short(fall)} [{short(low)}, {short(high)}]" for fall, low, high, _ in falls]
    assert f"by {told[0]} under plain RL and by {told[1]} under DS" in page
    higher, low, high, _ = paired("names_audit_train", "correctness", "ds", "plain_rl")
    assert f"whose pass@1 is {short(higher)} [{short(low)}, {short(high)}] higher" in page
    with (pages.run_of("names_audit") / "problems.csv").open(newline="") as stream:
        month = {
            row["model"]: row["correctness"] for row in csv.DictReader(stream) if row["problem"] == "month with 31"
        }
    shown = [short(float(month[model])) for model in ("before", "plain_rl", "ds")]
    assert f"({shown[0]} to {shown[1]} and {shown[2]})" in page


def test_what_is_said_of_the_public_model() -> None:
    """The verdict's numbers, wherever a page states them."""
    rows = rows_of("deepscaler")
    rates = {(row["file"], row["k"]): row["value"] for row in rows if row["quantity"] == "pass_at_k"}
    base, after = "deepscaler_1.5b_base.csv", "deepscaler_1.5b_rl.csv"
    for k, change in ((1, "raised|{} before and {} after"), (128, "lowered|{} before and {} after")):
        values = [short(rates[file, k]) for file in (base, after)]
        assert change.split("|")[1].format(*values) in " ".join(text("README.md").split())
        assert f"{change.split('|')[0]} pass@{k} " in WORDS
        assert f"from {values[0]} to {values[1]}" in WORDS
    found = {row["quantity"]: row for row in rows if row["base"] == base and row["k"] in (0, 128)}
    last = found["pass_at_k_difference"]
    for page in ("README.md", "docs/samples.md", "docs/architecture.md"):
        stated = f"{short(last['value'])} [{short(last['band_low'])}, {short(last['band_high'])}]"
        assert stated in " ".join(text(page).split())
    first = found["first_loss_k"]
    begins = f"loss begins at a k in [{first['low']:.0f}, {first['high']:.0f}]"
    assert EVERYWHERE.count(begins) == EVERYWHERE.count("loss begins at a k in") == 3
    changes = [row for row in rows if row["quantity"] == "pass_at_k_difference"]
    better = [row["k"] for row in changes if row["band_low"] > 0]
    worse = [row["k"] for row in changes if row["band_high"] < 0]
    assert f"better at k = {better[0]} to {better[-1]}, worse at {worse[0]} to {worse[-1]}, and" in EVERYWHERE
    assert (len(better), len(worse)) == (better[-1] - better[0] + 1, worse[-1] - worse[0] + 1)
    (size,) = (row["value"] for row in rows if row["quantity"] == "resolvable_change" and row["k"] == 64)
    needed = 1060 * (size / changes[63]["value"]) ** 2
    assert f"one of its size four times in five takes about {round(needed, -2):,.0f}." in EVERYWHERE
    kept, lost, gained = (found[f"num_{what}"]["value"] for what in ("kept", "lost", "gained"))
    assert f"Of {kept + lost:.0f} problems that the base solved {kept:.0f} are kept and {lost:.0f} lost" in EVERYWHERE
    assert (
        f"Of {kept + lost:.0f} problems that the first model solved at least once, {lost:.0f} were lost" in EVERYWHERE
    )
    chance = found["num_lost_by_chance"]["value"]
    assert f"chance alone would lose {chance:.1f}. It gained {gained:.0f}." in EVERYWHERE
    assert f"chance alone would have lost about {chance:.0f}." in EVERYWHERE


def test_what_is_said_of_three_small_models() -> None:
    """Each difference with its interval is in one of the two runs, as printed there."""
    page = text("docs/samples.md")
    words = page[page.index("GRPO collapsed: ") : page.index("## What it does not show")]
    known = {
        tuple(
            f"{abs(value):.3f}"[1:] for value in (row["value"], *sorted(map(abs, (row["band_low"], row["band_high"]))))
        )
        for row in (*rows_of("three_models"), *rows_of("grpo_and_ds"))
        if row["quantity"] == "pass_at_k_difference"
    }
    stated = re.findall(r"[+-]?(\.\d{3})[^\[.]*\[-?(\.\d{3}), -?(\.\d{3})\]", words.replace("\n", " "))
    assert len(stated) == 6
    for value, *ends in stated:
        assert (value, *sorted(ends)) in known


def single(variant: str, instance: str) -> list[dict[str, Any]]:
    """The ends of a method on one of the single prompts, a row a strength."""
    return [row for row in rows_of("frontier_single") if (row["variant"], row["instance"]) == (variant, instance)]


def num_covered(these: str, by: str, instance: str) -> int:
    """Of one method's ends, those at which an end of the other is at least as correct and as diverse."""
    return sum(
        any(a["correctness"] <= b["correctness"] and a["other"] <= b["other"] for b in single(by, instance))
        for a in single(these, instance)
    )


def listed(numbers: list[int], last: str = "and") -> str:
    return f"{', '.join(map(str, numbers[:-1]))} {last} {numbers[-1]}"


def test_what_is_said_of_single_prompts() -> None:
    instances = list(dict.fromkeys(row["instance"] for row in rows_of("frontier_single")))
    assert len(instances) == 4
    for variant, counts in (("ds on both sides", {2, 3, 5, 10}), ("entropy bonus", {0})):
        assert {sum(row["is_above"] for row in single(variant, one)) for one in instances} == counts
    both = "ds on both sides"
    by_ips, both_by_ips, ips_by, ips_by_both = (
        listed([num_covered(*pair, one) for one in instances])
        for pair in (("ds", "ips"), (both, "ips"), ("ips", "ds"), ("ips", both))
    )
    assert (
        f"as diverse as plain DS at {by_ips} of DS's 12 strengths, and as DS on both sides at {both_by_ips}." in WORDS
    )
    assert f"plain DS covers {ips_by} of IPS's 12 strengths, and DS on both sides {ips_by_both}." in WORDS
    ends = {
        (v, f"{row['strength']:.3g}"): row
        for v in ("ds", "entropy bonus", "unlikeliness")
        for row in single(v, "many_solutions")
    }
    ds, bonus, ranks, other = (
        ends[key] for key in (("ds", "0.658"), ("entropy bonus", "0.285"), ("unlikeliness", "0.433"), ("ds", "0.433"))
    )
    assert f"{ranks['other']:.1f}" == f"{max(row['other'] for row in ends.values()):.1f}" == "32.0"
    path = [row["correctness"] for row in sorted(single("ds", "many_solutions"), key=lambda row: row["strength"])]
    assert min(path) == path[5]
    for stated in (
        f"ends at Q = {short(ds['correctness'])} with {ds['other']:.1f} of them alive, the bonus with as many at "
        f"{short(bonus['correctness'])}; plain RL stopped at that correctness has {ds['other'] / ds['gain']:.1f}.",
        f"keeps all of them at Q = {short(ranks['correctness'])}, where DS keeps {other['other']:.1f} at "
        f"{short(other['correctness'])}.",
        f"Q falls from {short(path[0])} to {short(path[5])} at strengths .05 to .08 before it rises again to "
        f"{short(path[-1])} at 1.",
    ):
        assert stated in WORDS
    assert short(path[4]) == short(path[5])


def test_what_is_said_of_single_prompts_with_everyone_tuned() -> None:
    """On how many of the five DS has more answers at Q = .99 than a rival, and fewer, beyond the intervals."""
    found = contests.standings(rows_of("tuned_single"))
    measure = "answers_at_99"
    counts = {}
    for name in ("plain", "entropy bonus", "ips", "unlikeliness", "ds centred"):
        gaps = [one["over_ds"][measure] for one in found if one["contestant"] == name]
        assert len(gaps) == 5
        counts[name] = sum(mean + half < 0 for mean, half in gaps), sum(mean - half > 0 for mean, half in gaps)
    assert counts == {
        "plain": (5, 0),
        "entropy bonus": (5, 0),
        "ips": (2, 2),
        "unlikeliness": (1, 3),
        "ds centred": (0, 5),
    }
    ds, bonus = (
        [one["means"][measure] for one in found if one["contestant"] == name] for name in ("ds", "entropy bonus")
    )
    kept = [b / a for a, b in zip(ds, bonus, strict=True)]
    assert f"with {100 * min(kept):.0f} to {100 * max(kept):.0f}% of DS's answers" in WORDS
    assert "DS keeps more correct answers than plain RL and than an entropy bonus on all five." in EVERYWHERE


def test_what_is_said_of_the_phase_diagram() -> None:
    cells = rows_of("phase_diagram")
    won = [row["winner"] for row in cells]
    assert won.count("entropy bonus") == 0
    others = [row for row in cells if row["winner"] in ("entropy penalty", "unlikeliness")]
    assert {row["num_correct"] for row in others} == {1}
    assert max(row["lead"] for row in others) < LEAD
    leads = {row["lead"]: row["base_correctness"] for row in cells if row["winner"] == "ds"}
    assert leads[max(leads)] == min(row["base_correctness"] for row in cells)
    assert f"{len(won)} combinations of m" in WORDS
    assert (
        f"It leads in {won.count('ds')} of {len(won)}, most clearly from a weak base: by up to {short(max(leads), 2)}"
        in WORDS
    )
    few = sum(lead < SMALL_LEAD for lead in leads)
    assert f"In {few} of its {won.count('ds')} the lead is less than {short(SMALL_LEAD)}." in WORDS


def test_what_is_said_of_shared_strategies() -> None:
    shared = rows_of("frontier_shared")
    ends = {(row["variant"], f"{row['strength']:g}"): row for row in shared if row["measure"] == "pass_at_k:64"}
    both, plain, weak, strong = (
        ends[key] for key in (("ds on both sides", "1"), ("vanilla", "1"), ("ds", "0.01"), ("ds", "1"))
    )
    at_8 = [row for row in shared if row["measure"] == "pass_at_k:8"]
    best = {row["variant"]: row for row in sorted(at_8, key=lambda row: row["gain"])}
    assert sorted(best, key=lambda name: best[name]["gain"])[-2:] == ["ips", "pkpo"]
    pkpo, ips, ds = ((short(best[name]["gain"], 2), short(best[name]["correctness"])) for name in ("pkpo", "ips", "ds"))
    for name in ("ips", "ds"):
        assert best[name]["strength"] == max(row["strength"] for row in at_8 if row["variant"] == name)
    assert not any(row["is_above"] for row in shared)
    for stated in (
        f"with both at 1 pass@64 ends at {short(both['other'])}, below plain RL's {short(plain['other'])}.",
        f"PKPO has at best {pkpo[0]} times its pass@8 (at pass@1 {pkpo[1]}), IPS {ips[0]} ({ips[1]}) and "
        f"DS {ds[0]} ({ds[1]}).",
        f"from {short(weak['other'])} at strength .01 to {short(strong['other'])} at 1; pass@1 falls from "
        f"{short(weak['correctness'])} to {short(strong['correctness'])} on the way.",
    ):
        assert stated in WORDS
    assert f"ends at pass@64 = {short(both['other'])}, below plain RL's {short(plain['other'])}." in EVERYWHERE


def test_what_is_said_of_experiments_and_publications() -> None:
    findings = rows_of("findings")
    assert (len(findings), {row["status"] for row in findings}) == (389, {"agrees"})
    assert len({row["experiment"] for row in findings}) == 21
    table = [row["status"] for row in rows_of("external")]
    assert [table.count(word) for word in ("agrees", "differs", "not comparable")] == [69, 1, 15]
    for words in (
        "21 experiments",
        "Of 85 published numbers of others' simulations 69 came out again, 1 did not, and 15",
    ):
        assert words in EVERYWHERE


def test_what_is_said_of_one_table_of_answers() -> None:
    """The table on the page of predict is generated; the sentences take their numbers from it."""
    lines = pages.parts("docs/predict.md")["prediction"].splitlines()
    table = {
        cells[1].strip(): [cell.split()[0] for cell in cells[2:-1] if cell.split()]
        for cells in (line.split("|") for line in lines)
    }
    plain, ds, weak, bonus = (table[name] for name in ("vanilla", "DS 1", "DS 0.1", "entropy bonus 0.1"))
    assert f"At Q = .95 plain RL has {plain[2]} correct answers alive, DS at 1 has {ds[2]}." in WORDS
    assert f"{weak[1]} at Q = .9, where an entropy bonus of .1 has {bonus[1]}," in WORDS


def test_what_is_said_of_trained_models() -> None:
    """Every number of the table of seeds, of the slopes and of the samples against the audit, from the runs named."""
    table = re.findall(r"^\| (\d) \| (.+) \| `(\w+)`, `(\w+)` \|$", FINDINGS, flags=re.MULTILINE)
    assert [row[0] for row in table] == ["0", "1", "2"]
    for seed, cells, *runs in table:
        assert runs == [pages.run_of(f"laptop_{name}_{seed}").name for name in ("plain", "ds")]
        rows = [rows_of(f"laptop_{name}_{seed}") for name in ("plain", "ds")]
        found = []
        for name, digits in (("pass@1", 3), ("pass@8", 3), ("pass@64", 3), ("solution_diversity", 1)):
            mine = [[row["value"] for row in run if row["quantity"] == f"held_out/{name}"] for run in rows]
            assert mine[0][0] == mine[1][0]
            before, plain, ds = mine[0][0], mine[0][-1], mine[1][-1]
            found.append(", ".join(short(value, digits) for value in (before, plain, ds)))
            assert name not in ("pass@8", "pass@64") or plain < ds < before
        assert cells == " | ".join(found)
    slopes = {(row["model"], row["quantity"]): row for row in rows_of("laptop_audit")}
    for model, words in (("plain_rl", "by 1.03 [.94, 1.12]"), ("ds", "DS by .47 [.41, .53]")):
        row = slopes[model, "sharpening_slope"]
        assert (
            words.split(" by ")[-1].removeprefix("by ")
            == f"{short(row['value'], 2)} [{short(row['low'], 2)}, {short(row['high'], 2)}]"
        )
        assert words in WORDS
    expected = [slopes[name, "expected_slope"]["value"] for name in ("plain_rl", "ds")]
    assert f"same correctness, {short(expected[0], 2)} and {short(expected[1], 2)}" in WORDS
    for name, z in (("audit_check", "+0.30"), ("audit_check_rejected", "+10.09")):
        checked = {row["quantity"]: row["value"] for row in rows_of(name)}
        expected, error = checked["check_expected"], checked["check_standard_error"]
        line = (
            f"(`{pages.run_of(name).name}`) | {expected:,.1f} +- {error:.1f} | {checked['check_observed']:,.0f} | {z} |"
        )
        assert line in text("docs/audit.md")
        assert f"{checked['check_z']:+.2f}" == z


def test_what_the_first_page_counts() -> None:
    assert f"Each of {len(claims.CLAIMS)} claims" in EVERYWHERE
    assert f"There are {len(METHODS)} methods" in EVERYWHERE
    versions = re.findall(r"TRL (?:to )?(\d\.\d+)", text("README.md") + text("docs/train.md"))
    pinned = re.search(r'"trl>=([\d.]+),<', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pinned is not None
    assert set(versions) == {pinned[1]}
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    (bibtex,) = pages.blocks("README.md", "bibtex")
    for name in re.findall(r"family-names: (\w+)", cited):
        assert name in bibtex
    for found in re.findall(r'^(?:title|version): "?(.+?)"?$', cited, flags=re.MULTILINE):
        assert found in bibtex


def test_what_is_said_of_the_pretrained_model_that_was_taught() -> None:
    """Predictions and differences of its study and of its audit, in the words of its page and of the findings."""
    page, findings = (" ".join(text(f"docs/{name}.md").split()) for name in ("pretrained", "findings"))

    def told(row: dict[str, Any], places: int = 3, *, signed: bool = False, sign: int = 1) -> str:
        ends = sorted(sign * float(row[end]) for end in ("low", "high"))
        value = short(sign * float(row["value"]), places, signed=signed)
        return f"{value} [{short(ends[0], places)}, {short(ends[1], places)}]"

    of = {row["claim"]: row for row in rows_of("pretrained_predictions")}
    assert {claim for claim, row in of.items() if row["verdict"] != "agrees"} == {"E3"}  # of B6 the last is at .3
    assert f"plain RL's at .3, by {told(of['B6'])}; at .1 it is not resolved" in page
    assert f"slope is {told(of['B1'])} (B1)" in page
    assert f"DS at .3 has {told(of['A3'], sign=-1)} less (A3)" in page
    short_of = f"is {short(of['B1']['value'], 2)} after plain RL, and lower by {told(of['A3'], 2, sign=-1)} after DS"
    assert short_of in " ".join(text("README.md").split())
    assert f"pass@64 fell by {told(of['D2'], sign=-1)} while its pass@1 rose (D2)" in page
    apart = {
        (row["contestant"], row["against"], row["quantity"], row["at"]): row for row in rows_of("pretrained_summary")
    }
    slopes = [apart[name, "plain", "slope", 10.0] for name in ("ds .1", "rarity_maxrl")]
    assert f"DS at .1 {told(slopes[0], sign=-1)} less, `rarity_maxrl` {told(slopes[1], sign=-1)} less;" in page
    on_all = [short(-apart[name, "plain", "slope", 60.0]["value"]) for name in ("ds", "ds .1", "rarity_maxrl")]
    assert "over all 60 problems {}, {} and {}, resolved".format(*on_all) in page
    assert f"(E3) is not resolved, {told(of['E3'], sign=-1)}" in page
    ds, rarity = (
        {k: apart[name, "plain", "pass_at_k", k] for k in (1.0, 8.0, 64.0)} for name in ("ds", "rarity_maxrl")
    )
    shown = [told(row, signed=True) for row in (ds[8.0], ds[64.0], ds[1.0])]
    assert "pass@8 {}, pass@64 {} and pass@1 {}: undecided".format(*shown) in page
    shown = [told(row, signed=True) for row in (rarity[8.0], rarity[64.0], rarity[1.0])]
    assert "pass@8 {} and pass@64 {} for pass@1 {}, so undecided".format(*shown) in page
    alive = [apart[name, "plain", "effective_answers", 0.0] for name in ("ds .1", "ds", "rarity_maxrl")]
    shown = [told(row, signed=True) for row in alive]
    assert "{} under DS at .1, {} at .3, {} under `rarity_maxrl`".format(*shown) in page
    (plain,) = (
        row
        for row in rows_of("by_size")
        if (row["model"], row["method"], row["k"]) == ("135 million, Countdown", "plain", 256)
    )
    assert f"by {told(plain, sign=-1)} under plain RL" in findings
    matched = apart["ds", "plain", "matched_slope", 10.0]
    assert f"while DS has {told(matched, 2, sign=-1)} less of it" in findings
    audited = {(row["model"], row["quantity"], float(row["at"])): row for row in rows_of("taught_audit")}
    for model in ("taught_plain", "taught_ds"):
        assert f"{told(audited[model, 'sharpening_slope', 0.0])}" in page
        assert f"{told(audited[model, 'pass_at_k_difference', 1.0])}" in page
