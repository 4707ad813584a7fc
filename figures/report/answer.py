"""The answer, a paragraph a question: does RL sharpen, does DS prevent it, what does; in words that rows decide."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from sharpening.figures.drawing.studies import AGAIN
from sharpening.figures.report.blocks import NOT_RUN, Section, direction, link, told
from sharpening.figures.report.keys import Keyed, Run, best, named

PLAIN, DS, OURS = "plain_rl", "ds", "rarity_maxrl"
TUNED, CENTRED = "plain", "ds centred"  # names of contestants that are tuned
NAMES = {
    CENTRED: "DS with its bonus centred",
    TUNED: "plain RL",
    AGAIN: "plain RL by the rule of the others",
    DS: "DS",
    OURS: "rarity MaxRL",
}
ALIKE = 0.01  # numbers of answers that differ by less are called the same
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOVED = ("rose", "fell", "did not clearly move")


def answer(runs: Sequence[Run]) -> Section:
    """The first section of the page."""
    section = Section("answer", "The answer")
    parts = (
        ("Does RL sharpen a language model?", [_public(runs), _transformer(runs)]),
        ("Does differential smoothing (DS) prevent it?", [_smoothed(runs), _study(runs)]),
        ("Why does it?", [_biases(runs), _shared(runs)]),
        ("What does?", [_rivals(runs), _others(runs), _limits(runs)]),
    )
    for question, found in parts:
        known = Markup(" ").join(one for one in found if one)
        section.paragraphs.append(told("<strong>{}</strong> {}", question, known or f"{NOT_RUN}."))
    return section


def _biases(runs: Sequence[Run]) -> Markup | None:
    """Selection and reinforcement of a rare correct answer beside a likely one, in the smallest and largest groups."""
    run = best(runs, command="figures", figure="two_biases")
    if run is None:
        return None
    sizes = [row["group_size"] for row in run.rows]
    parts = []
    for size in (min(sizes), max(sizes)):
        places = [
            run.place(group_size=size, quantity=quantity, answer=answer)
            for quantity in ("drawn", "gain")
            for answer in ("rare", "likely")
        ]
        parts.append(
            told(
                "in groups of {} the rare one is drawn with a chance of {}, the likely one of {}, and where they are "
                "drawn they gain {} and {}",
                run.cell(places[0], "group_size"),
                *(run.cell(place, "predicted") for place in places),
            )
        )
    first = run.place(group_size=sizes[0], quantity="drawn", answer="rare")
    other = run.place(group_size=sizes[0], quantity="drawn", answer="likely")
    return told(
        "Plain RL pays all correct answers alike, but likely ones are drawn more often (selection bias) and gain more "
        "where they are drawn (reinforcement bias). Of two with probabilities {} and {}, {}. The product of both is "
        "the ratio of the probabilities at every group size (claim C1.4): larger groups do not help ({}).",
        run.cell(first, "probability"),
        run.cell(other, "probability"),
        Markup("; ").join(parts),
        link(run),
    )


def _shared(runs: Sequence[Run]) -> Markup | None:
    """How many times as much the small transformer sharpens as single prompts would, beside the gradients' region."""
    run = best(runs, command="study", table="predictions", preset="full")
    places = run.where(claim="F1") if run else []
    if not run or not places:
        return None
    return told(
        "A transformer shares its parameters between problems, and sharpening carries over better than correctness: "
        "plain RL sharpened it {} [{}, {}] times as much as it would each problem alone; gradients before it say {} "
        "to {} (claim F1, {}).",
        *(run.cell(places[0], name) for name in ("value", "low", "high", "at_least", "at_most")),
        link(run),
    )


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
    """The audit of a small transformer before RL, after plain RL and after DS."""
    audits = [run for run in runs if run.config.get("command") == "audit" and run.config.get("task") != "lists"]
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


def _of_study(runs: Sequence[Run]) -> tuple[Run, Run] | None:
    """Outcomes and summary of the study at full size."""
    outcomes, summary = (best(runs, command="study", table=table, preset="full") for table in ("outcomes", "summary"))
    return (outcomes, summary) if outcomes and summary else None


def _study(runs: Sequence[Run]) -> Markup | None:
    """The outcome of the study at full size: DS, tuned, against plain RL, tuned."""
    found = _of_study(runs)
    places = found[0].where(contestant=DS, against=TUNED) if found else []
    if not found or not places:
        return None
    outcomes, summary = found
    pairs = summary.place(contestant=DS, against=TUNED, quantity="pass_at_k", at=64.0)
    return told(
        "DS against plain RL, both tuned, {} pairs of runs: {} by the rule fixed before, {} ({}).",
        summary.cell(pairs, "num_runs"),
        outcomes.cell(places[0], "outcome"),
        _differences(summary, DS, TUNED),
        link(summary),
    )


def _rivals(runs: Sequence[Run]) -> Markup | None:
    """The outcome of every other contestant of the study against DS, and whether any keeps the first model's pass@8."""
    found = _of_study(runs)
    if not found:
        return None
    outcomes, summary = found
    ranks = ("wins", "undecided", "loses")
    places = sorted(outcomes.where(against=DS), key=lambda place: ranks.index(str(outcomes.rows[place]["outcome"])))
    parts = []
    for place in places:
        name = str(outcomes.rows[place]["contestant"])
        pairs = summary.place(contestant=name, against=DS, quantity="pass_at_k", at=64.0)
        parts.append(
            told(
                "{} {}, {} ({} pairs)",
                NAMES.get(name, name),
                outcomes.cell(place, "outcome"),
                _differences(summary, name, DS),
                summary.cell(pairs, "num_runs"),
            )
        )
    base = summary.where(quantity="pass_at_k", at=8.0, against="before")
    tuned = {TUNED, *(row["contestant"] for row in outcomes.rows)}
    after = summary.where(quantity="pass_at_k", at=8.0, against="")
    after = [place for place in after if summary.rows[place]["contestant"] in tuned]
    sentences: list[Markup] = []
    if base and after:
        most = max(after, key=lambda place: float(summary.rows[place]["value"]))
        is_kept = summary.rows[most]["value"] >= summary.rows[base[0]]["value"]
        sentences.append(
            told(
                "In that study {} the pass@8 that the model had before, {}: the most is {}, of {}.",
                "some keep" if is_kept else "none keeps",
                summary.cell(base[0], "value"),
                summary.cell(most, "value"),
                NAMES.get(str(summary.rows[most]["contestant"]), str(summary.rows[most]["contestant"])),
            )
        )
    if parts:
        sentences.append(told("Against DS, all tuned: {}.", Markup("; ").join(parts)))
    return told("{} ({})", Markup(" ").join(sentences), link(summary)) if sentences else None


def _differences(summary: Run, one: str, other: str) -> Markup:
    """The paired differences of pass@1, 8 and 64."""
    places = [summary.place(contestant=one, against=other, quantity="pass_at_k", at=at) for at in (1.0, 8.0, 64.0)]
    return told("pass@1 {}, pass@8 {}, pass@64 {}", *(summary.estimate(place, sign="+") for place in places))


def _others(runs: Sequence[Run]) -> Markup | None:
    """Of exact steps at random policies: how often each method still drives two correct answers apart."""
    run = best(runs, command="bandits", table="motion")
    if run is None:
        return None
    plain, strongest = (run.place(method="dr_grpo"), run.where(method=OURS)[-1])
    ds = next(place for place in run.where(method=DS) if run.rows[place]["strength"] == run.rows[strongest]["strength"])
    least = min(row["sharpens"] for row in run.rows)
    verdict = (
        "None of plain RL, DS and rarity MaxRL prevents it at every policy"
        if least > 0
        else "Some prevent it at every policy tried"
    )
    return told(
        "{}: of {} random policies one exact step drove two correct answers apart in a share of {} by plain RL, {} by "
        "DS at strength {}, {} by our rarity MaxRL (correct samples share their reward by rarity) at that strength "
        "({}). In exact expectation a method with unbounded advantages prevents it (claim F2.2), with noise that grows "
        "as answers get rare; no bounded one does and everywhere learns as fast as plain RL (claim G4).",
        verdict,
        run.cell(plain, "num_policies"),
        run.cell(plain, "sharpens"),
        run.cell(ds, "sharpens"),
        run.cell(ds, "strength"),
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
        "(least on the one with {}: {} against {}; most on {}: {} against {}), and DS with its bonus centred within "
        "the group's correct samples kept at least as many as rarity MaxRL on {} ({}). These are tables, not "
        "language models.",
        NUMBERS[len(won)],
        run.distinct("instance"),
        *(value for end in ends for value in end),
        NUMBERS[len(centred)],
        link(run),
    )


def _kept(run: Run, contestant: str, prompt: str) -> float:
    return run.mean_value("answers_at_99", stage="fresh", contestant=contestant, instance=prompt)
