"""The answer in one paragraph: does RL sharpen, does DS prevent it, what does. The words follow from the rows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sharpening.figures.report.blocks import NOT_RUN, Section, direction, link, told
from sharpening.figures.report.keys import Run, best, named

PLAIN, DS, OURS = "plain_rl", "ds", "rarity_maxrl"
MOVED = ("rose", "fell", "did not clearly move")


def answer(runs: Sequence[Run]) -> Section:
    """The first section of the page."""
    section = Section("answer", "The answer")
    parts = (
        ("Does RL sharpen a language model?", [_public(runs), _transformer(runs)]),
        ("Does differential smoothing (DS) prevent it?", [_smoothed(runs)]),
        ("What does?", [_others(runs), _limits(runs)]),
    )
    sentences = []
    for question, found in parts:
        known = [one for one in found if one]
        sentences.append(told("<strong>{}</strong> {}", question, Markup(" ").join(known) or f"{NOT_RUN}."))
    section.paragraphs.append(Markup(" ").join(sentences))
    return section


def _public(runs: Sequence[Run]) -> Markup | None:
    """Of a public model before and after RL: pass@1, and pass@k at the largest k."""
    run = named(runs, "deepscaler")
    if run is None:
        return None
    changes = run.where(quantity="pass_at_k_difference")
    words, estimates, sizes = [], [], []
    for place in (changes[0], changes[-1]):
        row = run.rows[place]
        words.append(direction(row["band_low"], row["band_high"], *MOVED))
        ends = (run.place(quantity="pass_at_k", file=row[name], base="", k=row["k"]) for name in ("base", "file"))
        estimates.append([run.cell(end, "value") for end in ends])
        sizes.append(run.cell(place, "k"))
    verdict = {
        ("rose", "fell"): "Yes, by its samples",
        ("rose", "rose"): "Not by these samples",
    }.get((words[0], words[1]), "Not resolved by these samples")
    return told(
        "{}: in a public 1.5B model RL changed pass@{}, which {} from {} to {}, and pass@{}, "
        "which {} from {} to {} ({}).",
        verdict,
        sizes[0],
        words[0],
        *estimates[0],
        sizes[1],
        words[1],
        *estimates[1],
        link(run),
    )


def audit_of_both(runs: Sequence[Run]) -> Run | None:
    """The audit of a model before RL, after plain RL and after DS."""
    audits = [run for run in runs if run.config.get("command") == "audit"]
    return best(run for run in audits if {PLAIN, DS} <= set(run.config.get("models", {})))


def _transformer(runs: Sequence[Run]) -> Markup | None:
    """Of a small transformer, exactly: what plain RL did to the ratio of two correct answers."""
    run = audit_of_both(runs)
    if run is None:
        return None
    place = run.place(model=PLAIN, quantity="sharpening_slope")
    row = run.rows[place]
    did = direction(row["low"], row["high"], "widened", "narrowed", "did not clearly change")
    return told(
        "In a small transformer, whose correct answers can all be listed, plain RL {} every nat between two correct "
        "answers of a problem, by {} ({}).",
        did,
        run.estimate(place),
        link(run),
    )


def _smoothed(runs: Sequence[Run]) -> Markup | None:
    """The same after DS, beside plain RL."""
    run = audit_of_both(runs)
    if run is None:
        return None
    places = [run.place(model=model, quantity="sharpening_slope") for model in (PLAIN, DS)]
    plain, ds = (run.rows[place] for place in places)
    if ds["low"] > 0 and ds["high"] < plain["low"]:
        verdict = "It weakens it and does not prevent it"
    elif ds["low"] > 0:
        verdict = "Not here, and whether it weakens it is not resolved"
    elif ds["high"] < 0:
        verdict = "Yes, here: it does the opposite"
    else:
        verdict = "Here no sharpening is left that could be told from none"
    last = run.where(model=DS, quantity="pass_at_k_difference")
    at_1, at_most = last[0], last[-1]
    return told(
        "{}: there DS moved each nat by {}, plain RL by {}; it changed pass@{} by {} and pass@{} by {}.",
        verdict,
        run.estimate(places[1]),
        run.estimate(places[0]),
        run.cell(at_1, "at"),
        run.estimate(at_1, sign="+"),
        run.cell(at_most, "at"),
        run.estimate(at_most, sign="+"),
    )


def _others(runs: Sequence[Run]) -> Markup | None:
    """Of exact steps at random policies: how often each method still drives two correct answers apart."""
    run = best(runs, command="bandits", table="motion")
    if run is None:
        return None
    plain, strongest = (run.place(method="dr_grpo"), run.where(method=OURS)[-1])
    ds = next(place for place in run.where(method=DS) if run.rows[place]["strength"] == run.rows[strongest]["strength"])
    least = min(row["sharpens"] for row in run.rows)
    verdict = "Nothing that was tried does so everywhere" if least > 0 else "Some methods do so in all that was tried"
    return told(
        "{}: at {} random policies one exact step of plain RL drove two correct answers apart in a share of {} of "
        "them, of DS at strength {} in {}, of our rarity MaxRL at that strength in {} ({}).",
        verdict,
        run.cell(plain, "num_policies"),
        run.cell(plain, "sharpens"),
        run.cell(ds, "strength"),
        run.cell(ds, "sharpens"),
        run.cell(strongest, "sharpens"),
        link(run),
    )


def _limits(runs: Sequence[Run]) -> Markup | None:
    """Of tuned methods on fresh seeds: on how many prompts ours keeps more answers than DS."""
    run = best(runs, command="bandits", table="tuned_matched")
    if run is None:
        return None
    prompts = list(dict.fromkeys(row["instance"] for row in run.rows))
    won = [prompt for prompt in prompts if _kept(run, OURS, prompt) > _kept(run, DS, prompt)]
    words = "on each of" if len(won) == len(prompts) else "on most of" if 2 * len(won) > len(prompts) else "on few of"
    example = won[0] if won else prompts[0]
    return told(
        "In tables of answers, every method tuned, rarity MaxRL kept more correct answers than DS {} {} prompts, for "
        "example {} to {} on the one with {} ({}). These are tables, not language models.",
        words,
        run.distinct("instance"),
        *(run.mean("answers_at_99", stage="fresh", contestant=who, instance=example) for who in (OURS, DS)),
        example,
        link(run),
    )


def _kept(run: Run, contestant: str, prompt: str) -> float:
    return run.mean_value("answers_at_99", stage="fresh", contestant=contestant, instance=prompt)
