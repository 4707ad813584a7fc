"""What `preview` prints: the rollouts, what each method does to them, how strong to make it, and advice in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sharpening.figures.tables.text import notes, section, table

Row = Mapping[str, Any]
FAINT, LOUD = 0.03, 1.0  # ratios below which a bonus is hardly there, and above which it outweighs the advantage
START = 0.1  # the ratio that the advice begins with
DROWNED = 3.0  # ratio from which on the reward hardly counts
FAMILIAR = ("ds_paper", "ds_token", "ds_sequence", "ds_reward", "ds_maxrl")


def report(
    facts: Row, effects: Sequence[Row], left_out: Mapping[str, str], width: int, *, is_asked_for: bool = False
) -> str:
    """All sections; `facts` are those of the rollouts, `effects` one row a method, `left_out` id -> reason.

    Methods that were asked for get advice each, else the first that has both reductions, or the first of all.
    """
    sections = [_rollouts_section(facts, width), _effect_section(effects, width)]
    scaled = [effect for effect in effects if effect["scalings"]]
    if scaled:
        sections.append(_strength_section(scaled, width))
    if scaled or is_asked_for:
        advised = effects if is_asked_for else [_example(scaled)]
        each = [list(_advice(facts, effect)) for effect in advised]
        lines = each[0] if len(each) == 1 else [" ".join(sentences) for sentences in each]
        sections.append(section("ADVICE", notes([*_level(facts), *lines, *_familiar(scaled)], width), width))
    if left_out:
        sections.append(section("LEFT OUT", notes(_grouped(left_out), width), width))
    return "\n\n".join(sections) + "\n"


def _grouped(left_out: Mapping[str, str]) -> Iterator[str]:
    """One line for each reason, with the methods that share it."""
    reasons: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        reasons.setdefault(reason.removeprefix(name), []).append(name)
    for reason, names in reasons.items():
        words = reason.replace(" needs ", " need ", 1) if len(names) > 1 else reason
        yield f"{', '.join(names)}{words}"


def _number(value: float | None) -> str:
    """Two significant digits, three from 100 on; a dash for what is undefined."""
    if value is None or math.isnan(value):
        return "-"
    size = abs(value)
    return f"{value:.0f}" if size >= 10 else f"{value:.2g}" if size >= 0.001 or size == 0 else f"{value:.1e}"


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1%}"


def _rollouts_section(facts: Row, width: int) -> str:
    sizes = ", ".join(f"{count} groups of {size}" for size, count in facts["group_sizes"].items())
    unscorable = f", {facts['num_unscorable']} of them unscorable" if facts["num_unscorable"] else ""
    told = [
        f"{facts['file']}: {facts['num_completions']} completions{unscorable}, {sizes}; "
        f"{facts['correctness']:.1%} correct.",
        f"Groups all correct: {facts['num_all_correct']}, all wrong: {facts['num_all_wrong']}. There a group "
        "baseline leaves nothing, and a term acts alone.",
    ]
    if list(facts["reward"]) == [facts["correct"]]:
        told.append(f"The reward is the field {facts['correct']!r}.")
    for key, words, unit in (
        ("num_tokens", "length", " tokens"),
        ("log_prob", "log_prob of an answer", " nats"),
        ("mean_token_log_prob", "the same per token", " nats"),
    ):
        if key in facts:
            found = facts[key]
            spread = facts.get(f"spread_{key}", math.nan)
            told.append(
                f"{words}: mean {_number(found['mean'])}{unit}, 5% to 95% {_number(found['low'])} to "
                f"{_number(found['high'])}"
                + ("" if math.isnan(spread) else f"; +- {_number(spread)} among a prompt's correct answers")
                + "."
            )
    return section("ROLLOUTS", notes(told, width), width)


def _setting(effect: Row) -> str:
    names: dict[float, list[str]] = {}
    for name, value in effect["strengths"].items():
        names.setdefault(value, []).append(name)
    values = " ".join(f"{'='.join(equal)}={value:.3g}" for value, equal in names.items())
    return f"{values} {effect['reduction']}".strip() or "-"


def _effect_section(effects: Sequence[Row], width: int) -> str:
    columns = ("method", "setting", "mean |A|", "ratio", "wrong above", "uniform", "long right", "long wrong")
    body = [
        [
            effect["method"],
            _setting(effect),
            _number(effect["mean_advantage"]),
            _number(effect["ratio"]),
            _percent(effect["wrong_above_correct"]),
            _percent(effect["uniform_share"]),
            *(_number(effect[key]) for key in ("length_correct", "length_wrong")),
        ]
        for effect in effects
    ]
    told = (
        "ratio: mean size of the method's term (the bonus) over that of its advantage A without the term; a dash: it "
        "has none.",
        "wrong above: pairs of a wrong and a correct answer to one prompt where the wrong one is paid more.",
        "uniform: share of the signal, sum |A|, in groups all correct or all wrong; DAPO's filter drops those groups.",
        "long right, long wrong: correlation of A with length among a prompt's correct (wrong) answers, 1 if the "
        "longer get more; a dash: lengths or advantages do not differ there, or the file has no lengths.",
    )
    return section("WHAT EACH METHOD DOES", [table(columns, body, width), *notes(told, width)], width)


def _strength_section(effects: Sequence[Row], width: int) -> str:
    ratios = list(effects[0]["scalings"][0]["strengths"])
    body = []
    for effect in effects:
        for scaling in effect["scalings"]:
            mark = " *" if scaling["reduction"] == effect["reduction"] != "" else ""
            name = next(iter(effect["strengths"]))
            at = [_number(found[name]) if found else "never" for found in scaling["strengths"].values()]
            reduction = f"{scaling['reduction'] or '-'}{mark}"
            body.append(
                [effect["method"], name, reduction, _number(scaling["ratio"]), *at, _percent(scaling["distinguishing"])]
            )
    columns = ("method", "strength", "reduction", "ratio now", *(f"for {ratio:g}" for ratio in ratios), "tells apart")
    told = (
        "The strength at which the ratio is .1, .3, 1; other strengths of the method in proportion. *: its own "
        "reduction. never: no strength was found that does.",
        "tells apart: share of the bonus of correct answers that differs within a prompt; the rest pays all of them "
        "alike, as a larger reward would.",
    )
    return section("HOW STRONG", [table(columns, body, width), *notes(told, width)], width)


def _example(effects: Sequence[Row]) -> Row:
    """The method that advice is about where none was asked for."""
    both = [effect for effect in effects if len(effect["scalings"]) > 1]
    named = [effect for effect in both if effect["method"] == "ds"]
    return (named or both or list(effects))[0]


def _level(facts: Row) -> Iterator[str]:
    if "log_prob" in facts:
        yield f"An answer has a log_prob of {_number(facts['log_prob']['mean'])} nats on average."


def _advice(facts: Row, effect: Row) -> Iterator[str]:
    """Sentences about one method."""
    if not effect["scalings"]:
        yield f"{effect['method']}: it has no term, so there is no strength to choose."
        return
    what = f"{effect['method']} with {_setting(effect)}: "
    if math.isnan(effect["ratio"]):
        yield f"{what}without the term every advantage is 0, so there is nothing to compare the bonus with."
        return
    yield f"{what}the bonus is {_number(effect['ratio'])} times the advantage, so {_verdict(effect['ratio'])}."
    name = next(iter(effect["strengths"]))
    found = {scaling["reduction"]: scaling["strengths"][START] for scaling in effect["scalings"]}
    starts = {reduction: strengths[name] for reduction, strengths in found.items() if strengths}
    choices = [f"{name} {_number(value)}" + (f" with reduction {key}" if key else "") for key, value in starts.items()]
    if choices:
        yield f"To start, a bonus of a tenth of the advantage: {', or '.join(choices)}."
    else:
        yield "No strength makes the bonus a tenth of the advantage here."
    if len(choices) > 1:
        yield from _comparison(facts, effect, starts["mean"] / starts["sum"])


def _verdict(ratio: float) -> str:
    if ratio < FAINT:
        return "it is hardly there"
    if ratio <= LOUD:
        return "both count"
    return "the reward hardly counts" if ratio >= DROWNED else "it outweighs the reward"


def _comparison(facts: Row, effect: Row, factor: float) -> Iterator[str]:
    shares = {scaling["reduction"]: scaling["distinguishing"] for scaling in effect["scalings"]}
    yield (
        f"Mean divides the log_prob by the number of tokens, {_number(facts['num_tokens']['mean'])} on average, so it "
        f"needs {_number(factor)} times the strength of sum: scale it with the length of the answers (claim E6)."
    )
    if math.isclose(shares["sum"], shares["mean"]):
        told = f"Of the bonus {_percent(shares['sum'])} tells a prompt's correct answers apart"
    else:
        told = (
            f"The same ratio is not the same smoothing: {_percent(shares['sum'])} of the bonus tells a prompt's "
            f"correct answers apart under sum, {_percent(shares['mean'])} under mean"
        )
    if min(shares.values()) < 1 - FAINT:
        yield f"{told}; the rest pays all of them alike, and centre=correct_only drops it (claim E3)."
    if facts["num_tokens"]["low"] < facts["num_tokens"]["high"]:
        yield (
            "Lengths differ: sum pays long correct answers more for their length; mean pays answers of equal log_prob "
            "per token alike, however long they are (claim E6)."
        )


def _familiar(effects: Sequence[Row]) -> Iterator[str]:
    found = [effect for effect in effects if effect["method"] in FAMILIAR]
    if found:
        listed = ", ".join(f"{effect['method']} {_number(effect['ratio'])}" for effect in found)
        yield f"Which ratio is best is not known to us. The settings found in practice would have here: {listed}."
