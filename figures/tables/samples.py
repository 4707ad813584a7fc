"""What `samples` prints: tables of the rows, and in words what they do and do not show. Strings from rows, no files."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from math import ceil, isfinite
from typing import Any

from sharpening.figures.drawing.samples import file_names
from sharpening.figures.drawing.theory import select
from sharpening.figures.tables.theory import table

Row = Mapping[str, Any]
WIDTH = 116
MOST_PROBLEMS = 100_000  # above this "how many problems it would take" is not said
SIGN_WORDS = {1: "better", -1: "worse"}
PATTERNS = {
    (1, -1): "This is the pattern of sharpening: a single sample is right more often, and many samples solve fewer "
    "problems",
    (-1, 1): "This is the opposite of sharpening: a single sample is right less often, and many samples solve more "
    "problems",
    (1, 1): "No loss at large k comes with the gain, so these samples show no collapse up to there",
    (-1, -1): "It loses at both ends, which is a weaker model and not the pattern of sharpening",
}


def report(rows: Sequence[Row], ks: Sequence[int], warnings: Sequence[str], paragraphs: Sequence[str]) -> str:
    """Tables of files and differences, the warnings, and the reading."""
    names = file_names(rows)
    sections = [_files_section(rows, names, ks)]
    if len(names) > 1:
        sections.append(_differences_section(rows, names, ks))
    sections.append("\n".join(["WARNINGS", *(_wrapped(warning, "  - ", "    ") for warning in warnings)]))
    sections += [_wrapped(paragraph, "", "") for paragraph in ("WHAT THIS SHOWS, AND WHAT NOT", *paragraphs)]
    return "\n\n".join(sections) + "\n"


def _wrapped(text: str, first: str, later: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=later, break_long_words=False)


def _cell(row: Row | None, form: str = ".3f") -> str:
    if row is None:
        return "-"
    value = f"{row['value']:{form}}"
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]" if row["has_interval"] else value


def _found(rows: Sequence[Row], **where: Any) -> Row | None:
    return next(iter(select(rows, **where)), None)


def _files_section(rows: Sequence[Row], names: Sequence[str], ks: Sequence[int]) -> str:
    body = []
    for label, quantity in (
        ("problems", "num_problems"),
        ("samples", "num_samples"),
        ("seeds", "num_seeds"),
        ("never solved", "num_never_solved"),
    ):
        body.append([label, *(_cell(_found(rows, file=name, quantity=quantity, base=""), ".0f") for name in names)])
    for k in ks:
        label = f"pass@{k}" + (" = avg@k" if k == 1 else "")
        body.append([label, *(_cell(_found(rows, file=name, quantity="pass_at_k", k=k)) for name in names)])
    body += _answer_lines(rows, names, "", base="")
    return "\n".join(["SAMPLES: unbiased estimates [95% bootstrap interval over problems]", table(["", *names], body)])


def pass_at_k_markdown(rows: Sequence[Row], ks: Sequence[int]) -> str:
    """pass@k of each file, and what was lost and gained against the first, as a Markdown table."""
    base, *others = file_names(rows)
    header = ["file", *(f"pass@{k}" for k in ks), "kept", "lost", "by chance", "gained"]
    lines = [header, ["---"] * len(header)]
    for name in (base, *others):
        cells = [_cell(_found(rows, file=name, quantity="pass_at_k", k=k)) for k in ks]
        where = {"file": name, "base": base}
        counts = [_cell(_found(rows, quantity=f"num_{what}", **where), ".0f") for what in ("kept", "lost", "gained")]
        counts.insert(2, _cell(_found(rows, quantity="num_lost_by_chance", **where), ".1f"))
        lines.append([f"`{name}`", *cells, *counts])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _answer_lines(rows: Sequence[Row], names: Sequence[str], ending: str, **where: Any) -> list[list[str]]:
    """maj@k and Hill numbers, of the files that have answers."""
    lines = []
    for k in dict.fromkeys(row["k"] for row in rows if row["quantity"] == f"maj_at_k{ending}"):
        cells = [
            _cell(_found(rows, file=name, quantity=f"maj_at_k{ending}", k=k, **where), SIGNED[ending]) for name in names
        ]
        lines.append([f"maj@{k}", *cells])
    for order, label in ((0, "distinct correct answers"), (1, "Hill number 1"), (2, "Hill number 2")):
        quantity = f"hill_number_{order}{ending}"
        cells = [_cell(_found(rows, file=name, quantity=quantity, **where), SIGNED[ending]) for name in names]
        if set(cells) != {"-"}:
            lines.append([label, *cells])
    return lines


SIGNED = {"": ".3f", "_difference": "+.3f"}


def _differences_section(rows: Sequence[Row], names: Sequence[str], ks: Sequence[int]) -> str:
    base, *others = names

    def line(label: str, quantity: str, form: str, **where: Any) -> list[str]:
        return [
            label,
            *(_cell(_found(rows, file=name, base=base, quantity=quantity, **where), form) for name in others),
        ]

    body = [line("common problems", "num_common_problems", ".0f")]
    body += [line(f"pass@{k}", "pass_at_k_difference", "+.3f", k=k) for k in ks]
    body += _answer_lines(rows, others, "_difference", base=base)
    body.append(["crossing at k", *(_crossing(rows, name, base) for name in others)])
    body.append(line("P(improvement)", "improvement", ".3f"))
    for label in ("kept", "lost", "gained", "solved by neither"):
        body.append(line(label, f"num_{label.replace(' ', '_')}", ".0f"))
    for label in ("lost", "gained"):
        body.append(line(f"{label} by chance", f"num_{label}_by_chance", ".1f"))
    body.append(line("SRR, kept/(kept+lost)", "support_retention", ".3f"))
    body.append(line("NDR, gained/(kept+gained)", "discovery", ".3f"))
    heading = f"DIFFERENCES to {base} on common problems, paired [95% bootstrap interval over problems]"
    return "\n".join([heading, table(["", *others], body)])


def _crossing(rows: Sequence[Row], name: str, base: str) -> str:
    row = select(rows, file=name, base=base, quantity="crossing_k")[0]
    largest = _ends(rows, name, base)[1]["k"]
    value = f"{row['value']:.0f}" if isfinite(row["value"]) else f"none up to {largest}"
    if not row["has_interval"]:
        return value
    low, high = (f"{end:.0f}" if isfinite(end) else f"> {largest}" for end in (row["low"], row["high"]))
    return f"{value} [{low}, {high}]"


def _ends(rows: Sequence[Row], name: str, base: str) -> tuple[Row, Row]:
    """The differences at k = 1 and at the largest k."""
    found = select(rows, file=name, base=base, quantity="pass_at_k_difference")
    return found[0], found[-1]


def _sign(row: Row) -> int:
    """1 or -1 where the interval is above or below 0, 0 where it is not resolved."""
    if not row["has_interval"]:
        return 0
    return 1 if row["low"] > 0 else -1 if row["high"] < 0 else 0


def reading(rows: Sequence[Row]) -> list[str]:
    """A paragraph for each file against the first, or for the only one: what is shown and what is not."""
    base, *others = file_names(rows)
    return [_pair_paragraph(rows, name, base) for name in others] or [_file_paragraph(rows, base)]


def _file_paragraph(rows: Sequence[Row], name: str) -> str:
    count = {row["quantity"]: row["value"] for row in select(rows, file=name, k=0)}
    found = select(rows, file=name, quantity="pass_at_k")
    n = int(count["least_samples_per_problem"])
    sentences = [
        f"{name} solves {_cell(found[0])} of its problems with one sample"
        + (f" and {_cell(found[-1])} within {n}." if n > 1 else "."),
        f"{count['num_never_solved']:.0f} of {count['num_problems']:.0f} problems were solved by no sample: with n = "
        f"{n} that says, at 95%, that the rate is below {count['detection_threshold']:.2%}, not that it is 0.",
        "One file cannot show a collapse: give the samples of the model before training as the first file.",
    ]
    return " ".join(sentences)


def _pair_paragraph(rows: Sequence[Row], name: str, base: str) -> str:
    first, last = _ends(rows, name, base)
    count = {row["quantity"]: row["value"] for row in select(rows, file=name, base=base, k=0)}
    sentences = [_verdict(first, last, name, base)]
    if first["has_interval"]:
        in_between = _in_between(rows, name, base)
        if not in_between and (_sign(first), _sign(last)) in PATTERNS and last["k"] > 1:
            sentences.append(PATTERNS[_sign(first), _sign(last)] + ".")
        sentences += [in_between, _crossing_sentence(rows, name, base)]
        if (_sign(first), _sign(last)) == (0, 0):
            sentences.append(_reach(first, int(count["num_common_problems"])))
        improvement = _cell(_found(rows, file=name, base=base, quantity="improvement"))
        sentences.append(
            f"On a problem drawn at random {name} has the larger share of correct samples with probability "
            f"{improvement}, ties half."
        )
    sentences += [_support_sentence(count, name, base), _not_shown(rows, name, base, last["k"])]
    return " ".join(sentence for sentence in sentences if sentence)


def _verdict(first: Row, last: Row, name: str, base: str) -> str:
    """What the two ends of the curve show; a difference is not resolved where its interval holds 0."""
    at_first, at_last = (f"at k = {row['k']} ({_cell(row, '+.3f')})" for row in (first, last))
    start, end = _sign(first), _sign(last)
    unresolved = f"no difference between {name} and {base} is resolved"
    if not first["has_interval"]:
        return f"One problem in common gives no interval: {at_first} and {at_last} say nothing about other problems."
    if last["k"] == 1:
        opening = (
            f"{name} is {SIGN_WORDS[start]} than {base} {at_first}"
            if start
            else f"At k = 1 {unresolved} {at_first[9:]}"
        )
        return f"{opening}. With n = 1 nothing is known of larger k: a collapse is neither shown nor excluded."
    if start and end:
        link = "and also" if start == end else "and"
        ends = f"{SIGN_WORDS[start]} than {base} {at_first} {link} {SIGN_WORDS[end]} {at_last}"
        return f"{name} is {ends}."
    if start:
        return (
            f"{name} is {SIGN_WORDS[start]} than {base} {at_first}; {at_last} the difference is not resolved: a loss "
            f"of up to {max(0.0, -last['low']):.3f} and a gain of up to {max(0.0, last['high']):.3f} there fit these "
            "samples, so a collapse at large k is neither shown nor excluded."
        )
    if end:
        half = "a gain" if end < 0 else "a loss"
        return (
            f"{name} is {SIGN_WORDS[end]} than {base} {at_last}; {at_first} the difference is not resolved, so {half} "
            f"there, the other half of the pattern of {'sharpening' if end < 0 else 'its opposite'}, is not shown."
        )
    return (
        f"{unresolved[0].upper()}{unresolved[1:]} {at_first} or {at_last}. That does not show that the two are equal: "
        "every difference inside these intervals fits the samples."
    )


def _in_between(rows: Sequence[Row], name: str, base: str) -> str:
    """Where a difference is resolved between the ends that they do not show."""
    found = select(rows, file=name, base=base, quantity="pass_at_k_difference")
    shown = {0, _sign(found[0]), _sign(found[-1])}
    ks: dict[int, list[int]] = {}
    for row in found:
        ks.setdefault(_sign(row), []).append(row["k"])
    parts = [
        f"{SIGN_WORDS[sign]} for some k from {min(at)} to {max(at)}" for sign, at in ks.items() if sign not in shown
    ]
    return f"In between it is resolved to be {' and '.join(parts)}." if parts else ""


def _crossing_sentence(rows: Sequence[Row], name: str, base: str) -> str:
    """Where the curves cross, if the side on which they begin is resolved."""
    if not _sign(_ends(rows, name, base)[0]):
        return ""
    row = select(rows, file=name, base=base, quantity="crossing_k")[0]
    share = select(rows, file=name, base=base, quantity="crossing_share")[0]["value"]
    if isfinite(row["value"]):
        return f"The estimated curves cross at k = {_crossing(rows, name, base)}."
    return (
        f"The estimated curves do not cross up to k = {_ends(rows, name, base)[1]['k']} ({share:.0%} of resamples do)."
    )


def _reach(first: Row, num_problems: int) -> str:
    """How small a difference could have been resolved, and how many problems the one seen would take."""
    half = (first["high"] - first["low"]) / 2
    sentence = f"These {num_problems} problems could resolve a difference of about {half:.3f} at k = 1"
    needed = ceil(num_problems * (half / first["value"]) ** 2) if first["value"] else MOST_PROBLEMS + 1
    return sentence + ("." if needed > MOST_PROBLEMS else f"; one of the size seen there would take about {needed}.")


def _support_sentence(count: Mapping[str, float], name: str, base: str) -> str:
    kept, lost, gained = (int(count[f"num_{what}"]) for what in ("kept", "lost", "gained"))
    return (
        f"Of the {kept + lost} problems that {base} solved at least once, {name} kept {kept} and lost {lost}; it "
        f"gained {gained}. A problem solved at rate p is seen with probability 1 - (1 - p)^n, so at 95% 'lost' says "
        f"that the rate is below {count['detection_threshold']:.2%}, not that it is 0; with equal rates everywhere "
        f"chance alone would show about {count['num_lost_by_chance']:.1f} lost and "
        f"{count['num_gained_by_chance']:.1f} gained."
    )


def _not_shown(rows: Sequence[Row], name: str, base: str, largest_k: int) -> str:
    seeds = [int(select(rows, file=file, base="", quantity="num_seeds")[0]["value"]) for file in (base, name)]
    runs = (
        "what another training run would do (each file is one)"
        if max(seeds) == 1
        else f"more than {seeds[0]} and {seeds[1]} seeds can say of other runs"
    )
    return (
        f"Not shown: anything above k = {largest_k}; {runs}; whether both were sampled at the same temperature and "
        "length, which a comparison needs; and the cause. Intervals are 95% for each k on its own, over problems like "
        "these."
    )
