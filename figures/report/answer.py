"""The answer in one paragraph: does RL sharpen, does DS prevent it, what does. The words follow from the rows."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sharpening.figures.report.blocks import NOT_RUN, Section, direction, link, told
from sharpening.figures.report.keys import Keyed, Run, best, named

PLAIN, DS, OURS = "plain_rl", "ds", "rarity_maxrl"
TUNED, GENTLER, CENTRED = "plain", "plain gentler", "ds centred"  # names of contestants that are tuned
ALIKE = 0.01  # numbers of answers that differ by less are called the same
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOVED = ("rose", "fell", "did not clearly move")


def answer(runs: Sequence[Run]) -> Section:
    """The first section of the page."""
    section = Section("answer", "The answer")
    parts = (
        ("Does RL sharpen a language model?", [_public(runs), _transformer(runs)]),
        ("Does differential smoothing (DS) prevent it?", [_smoothed(runs), _study(runs)]),
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
    """Of a small transformer, exactly: pass@k and answers alive before and after plain RL, and the slope."""
    run = audit_of_both(runs)
    if run is None:
        return None
    place = run.place(model=PLAIN, quantity="sharpening_slope")
    row = run.rows[place]
    did = direction(row["low"], row["high"], "more", "less", "about as much")
    return told(
        "In a small transformer, whose correct answers can all be listed, plain RL moved {}; for each nat that a "
        "correct answer of a problem started likelier than another it gained {} nats, so the likelier gained {} ({}).",
        _moved(run, PLAIN),
        run.estimate(place),
        did,
        link(run),
    )


def _moved(run: Run, model: str) -> Markup:
    """What a model's pass@k and answers alive were before training, and are after it."""
    first = str(run.rows[0]["model"])
    parts = []
    for at in (1.0, 8.0, 64.0):
        ends = [run.where(model=name, quantity="pass_at_k", at=at) for name in (first, model)]
        if all(ends):
            parts.append(told("pass@{} from {} to {}", run.cell(ends[0][0], "at"), *_values(run, ends)))
    ends = [run.where(model=name, quantity="hill_1") for name in (first, model)]
    if all(ends):
        parts.append(told("correct answers alive (exp of their entropy) from {} to {}", *_values(run, ends)))
    return Markup(", ").join(parts)


def _values(run: Run, places: Sequence[Sequence[int]]) -> list[Keyed]:
    return [run.cell(place[0], "value") for place in places]


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
    return told(
        "{}: there DS, at one strength, moved {}; its slope is {}, plain RL's {}.",
        verdict,
        _moved(run, DS),
        run.estimate(places[1]),
        run.estimate(places[0]),
    )


def _study(runs: Sequence[Run]) -> Markup | None:
    """The outcomes of the study at full size: DS, tuned, against plain RL, tuned; and plain RL at a gentler setting."""
    outcomes = best(runs, command="study", table="outcomes", preset="full")
    summary = best(runs, command="study", table="summary", preset="full")
    if outcomes is None or summary is None:
        return None
    found = []
    for one, other, names in ((DS, TUNED, ("DS", "plain RL")), (GENTLER, DS, ("plain RL at a gentler setting", "DS"))):
        for place in outcomes.where(contestant=one, against=other):
            changes = [
                summary.place(contestant=one, against=other, quantity="pass_at_k", at=at) for at in (1.0, 8.0, 64.0)
            ]
            found.append(
                told(
                    "{} against {}, both tuned, {} pairs of runs: {} by the rule fixed before, pass@1 {}, pass@8 {}, "
                    "pass@64 {}.",
                    *names,
                    summary.cell(changes[0], "num_runs"),
                    outcomes.cell(place, "outcome"),
                    *(summary.estimate(change, sign="+") for change in changes),
                )
            )
    return Markup(" ").join([*found, told("({})", link(summary))]) if found else None


def _others(runs: Sequence[Run]) -> Markup | None:
    """Of exact steps at random policies: how often each method still drives two correct answers apart."""
    run = best(runs, command="bandits", table="motion")
    if run is None:
        return None
    plain, strongest = (run.place(method="dr_grpo"), run.where(method=OURS)[-1])
    ds = next(place for place in run.where(method=DS) if run.rows[place]["strength"] == run.rows[strongest]["strength"])
    least = min(row["sharpens"] for row in run.rows)
    verdict = "No method here does so at every policy" if least > 0 else "Some methods do so at every policy tried"
    return told(
        "{}: at {} random policies one exact step of plain RL drove two correct answers apart in a share of {} of "
        "them, of DS at strength {} in {}, of our rarity MaxRL (correct samples share their reward by rarity) at that "
        "strength in {} ({}). In exact expectation one of unbounded advantages does (claim F2.2), with noise that "
        "grows as answers get rare.",
        verdict,
        run.cell(plain, "num_policies"),
        run.cell(plain, "sharpens"),
        run.cell(ds, "strength"),
        run.cell(ds, "sharpens"),
        run.cell(strongest, "sharpens"),
        link(run),
    )


def _limits(runs: Sequence[Run]) -> Markup | None:
    """Of tuned methods on fresh seeds: on how many prompts ours keeps more answers than DS, DS centred than ours."""
    run = best(runs, command="bandits", table="tuned_matched")
    if run is None:
        return None
    prompts = list(dict.fromkeys(row["instance"] for row in run.rows))
    ahead = {prompt: _kept(run, OURS, prompt) - _kept(run, DS, prompt) for prompt in prompts}
    won = [prompt for prompt in prompts if ahead[prompt] > 0]
    least, most = min(prompts, key=ahead.__getitem__), max(prompts, key=ahead.__getitem__)
    centred = [prompt for prompt in prompts if _kept(run, CENTRED, prompt) >= _kept(run, OURS, prompt) - ALIKE]
    ends = (
        (prompt, *(run.mean("answers_at_99", stage="fresh", contestant=who, instance=prompt) for who in (OURS, DS)))
        for prompt in (least, most)
    )
    return told(
        "In tables of answers, every method tuned, rarity MaxRL kept more correct answers than DS on {} of {} prompts "
        "(from {}: {} to {}, up to {}: {} to {}), and DS with its bonus centred within the group's correct samples "
        "kept at least as many as rarity MaxRL on {} ({}). These are tables: in a language model neither was shown to "
        "do so.",
        NUMBERS[len(won)],
        run.distinct("instance"),
        *(value for end in ends for value in end),
        NUMBERS[len(centred)],
        link(run),
    )


def _kept(run: Run, contestant: str, prompt: str) -> float:
    return run.mean_value("answers_at_99", stage="fresh", contestant=contestant, instance=prompt)
