"""What `samples` prints: the verdict, the numbers, and what they do not show. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, isfinite, log10
from typing import Any

from sharpening.figures.drawing.samples import file_names, has_band, labels
from sharpening.figures.drawing.theory import select
from sharpening.figures.tables import verdicts
from sharpening.figures.tables.text import cell, notes, number, paragraph, section, spread, table

Row = Mapping[str, Any]
Labels = Mapping[str, str]
MOST_PROBLEMS = 1_000_000  # above this "how many problems it would take" is not said
LONGEST_FILE = 40  # characters of a file's name in its table
COUNTS = {
    "problems": "num_problems",
    "samples": "num_samples",
    "seeds": "num_seeds",
    "never solved": "num_never_solved",
}
BAND = "  band"  # the label of a line
PROVEN = (
    "All three from the band. First loss: the first k at which fewer problems are solved lies there, if it is at any. "
    "Sure gain, loss: the most by which pass@k is surely higher or lower, and the k of that."
)
HILL = {"distinct": 0, "exp of entropy": 1, "inverse Simpson": 2}  # the orders of the Hill numbers


def report(
    rows: Sequence[Row],
    ks: Sequence[int],
    warnings: Sequence[str],
    found: Sequence[Row],
    *,
    width: int,
    is_every_k_shown: bool = False,
) -> str:
    """The verdicts, the tables, the warnings, and what all this does not show, as wide as that.

    Where the k's do not fit side by side some are left out, unless every one is to be shown.
    """
    label = labels(file_names(rows))
    told = verdict_sentences(rows, found)
    if found:
        told.append(verdicts.meanings(found, told))
    rests_on = {one[end]["k"] for one in verdicts.with_mitigations(found) for end in ("small", "large")}
    shown = ks if is_every_k_shown else spread(ks, (*label.values(), BAND), width, rests_on)
    sections = [
        section("VERDICT", notes(told, width), width),
        _files_section(rows, label, width),
        *_curves(rows, label, "pass_at_k", "PASS@K, unbiased", "pass@{}", shown, width),
        *_answers(rows, label, width),
    ]
    if len(label) > 1:
        sections += [_where_section(rows, label, found, width), _problems_section(rows, label, width)]
    marked = [paragraph(warning, width, first="  - ", later="    ") for warning in warnings]
    sections.append(section("WARNINGS", marked, width))
    sections.append(section("WHAT THIS DOES NOT SHOW", notes(limits(rows, found), width), width))
    return "\n\n".join(sections) + "\n"


def _files_section(rows: Sequence[Row], label: Labels, width: int) -> str:
    body = []
    for name, short in label.items():
        count = {row["quantity"]: row["value"] for row in select(rows, file=name, base="", k=0)}
        file = name if len(name) <= LONGEST_FILE else f"...{name[3 - LONGEST_FILE :]}"
        body.append([short, file, *(f"{count[quantity]:.0f}" for quantity in COUNTS.values())])
    return section("SAMPLES", [table(["", "file", *COUNTS], body, width)], width)


def _curves(
    rows: Sequence[Row], label: Labels, quantity: str, heading: str, column: str, ks: Sequence[int], width: int
) -> list[str]:
    """A quantity of each file at these k, and its changes from the first."""
    base, *others = label
    header = ["", *(column.format(k) for k in ks)]
    body = [
        [short, *(cell(select(rows, file=name, base="", quantity=quantity, k=k)) for k in ks)]
        for name, short in label.items()
    ]
    sections = [section(f"{heading} [95% interval over problems]", [table(header, body, width)], width)]
    if others:
        where = {"base": base, "quantity": f"{quantity}_difference"}
        body = []
        for name in others:
            found = [select(rows, file=name, k=k, **where) for k in ks]
            body.append([label[name], *(cell(one, "+") for one in found)])
            if any(map(has_band, found)):
                body.append([BAND, *map(_band_cell, found)])
        heading = f"CHANGE OF {heading.split(',')[0]} from {label[base]}, on the problems of both"
        heading += "; band: 95% for all k at once" if any(line[0] == BAND for line in body) else ""
        sections.append(section(heading, [table(header, body, width)], width))
    return sections


def _band_cell(rows: Sequence[Row]) -> str:
    """The bounds of the one row that there is that hold at all k at once; else a dash."""
    if not rows:
        return "-"
    low, high = (number(rows[0][f"band_{end}"], "+") for end in ("low", "high"))
    return f"[{low}, {high}]"


def _answers(rows: Sequence[Row], label: Labels, width: int) -> list[str]:
    """maj@k and Hill numbers with their changes, if a file has answers."""
    ks = list(dict.fromkeys(row["k"] for row in rows if row["quantity"] == "maj_at_k"))
    if not ks:
        return []
    heading = "MAJ@K, how often the most frequent of k answers is correct"
    sections = _curves(rows, label, "maj_at_k", heading, "maj@{}", spread(ks, label.values(), width), width)
    base, *others = label
    lines = [(short, {"file": name, "base": ""}, "hill_number_{}", "") for name, short in label.items()]
    changed = "hill_number_{}_difference"
    lines += [(f"{label[name]}, change", {"file": name, "base": base}, changed, "+") for name in others]
    body = [
        [text, *(cell(select(rows, quantity=quantity.format(order), **where), sign) for order in HILL.values())]
        for text, where, quantity, sign in lines
    ]
    heading = "CORRECT ANSWERS OF A PROBLEM that are alive, counted in three ways (Hill numbers of order 0, 1, 2)"
    return [*sections, section(heading, [table(["", *HILL], body, width)], width)]


def _where_section(rows: Sequence[Row], label: Labels, found: Sequence[Row], width: int) -> str:
    base = next(iter(label))
    header = ["", "better at k", "worse at k", "curves cross at k", "better on a problem"]
    proven: list[list[str]] = []
    body = []
    for verdict in found:
        name = verdict["model"]
        ks = [row["k"] for row in select(rows, file=name, base=base, quantity="pass_at_k_difference")]
        resolved = (runs(verdict[side], ks) for side in ("better_at", "worse_at"))
        improvement = cell(select(rows, file=name, base=base, quantity="improvement"))
        body.append([label[name], *resolved, _crossing(rows, name, base, ks[-1]), improvement])
        proven += _proven(rows, label[name], name, base, ks[-1])
    what = "band" if verdict["is_simultaneous"] else "interval"
    told = (
        f"Better, worse: all k at which the {what} of the change from {label[base]} is on one side of 0. Better on a "
        "problem: the chance of a larger share of correct samples on a problem drawn at random, ties half."
    )
    tables = [table(header, body, width), *notes([told], width)]
    if proven:
        tables += ["", table(["", "first loss at k", "sure gain", "sure loss"], proven, width), *notes([PROVEN], width)]
    return section("WHERE IT CHANGED", tables, width)


def _proven(rows: Sequence[Row], label: str, name: str, base: str, largest: int) -> list[list[str]]:
    """A line of what the band proves, if there is one."""
    where = {"file": name, "base": base}
    found = [select(rows, quantity=quantity, **where) for quantity in ("first_loss_k", "sure_gain", "sure_loss")]
    if not all(found):
        return []
    (first,), *sure = found
    low, high = (f"{end:.0f}" if isfinite(end) else f"> {largest}" for end in (first["low"], first["high"]))
    loss = f"in [{low}, {high}]" if isfinite(first["low"]) else f"none to {largest}"
    return [[label, loss, *(f"{number(row['value'])} at {row['k']}" if row["k"] else "none" for (row,) in sure)]]


def runs(chosen: Sequence[int], ks: Sequence[int]) -> str:
    """The chosen k's in words, neighbours among all of them as one run.

    >>> runs([1, 4, 8, 64], [1, 2, 4, 8, 64])
    '1, 4 to 64'
    """
    ends: list[list[int]] = []
    for before, k in zip([0, *ks], ks, strict=False):
        if k in chosen and before in chosen:
            ends[-1][1] = k
        elif k in chosen:
            ends.append([k, k])
    return ", ".join(f"{first} to {last}" if last > first else str(first) for first, last in ends) or "none"


def _crossing(rows: Sequence[Row], name: str, base: str, largest: int) -> str:
    (row,) = select(rows, file=name, base=base, quantity="crossing_k")
    value = f"{row['value']:.0f}" if isfinite(row["value"]) else f"none to {largest}"
    if not row["has_interval"]:
        return value
    low, high = (f"{end:.0f}" if isfinite(end) else f"> {largest}" for end in (row["low"], row["high"]))
    return f"{value} [{low}, {high}]" if low != high or isfinite(row["low"]) else value


def _problems_section(rows: Sequence[Row], label: Labels, width: int) -> str:
    base, *others = label
    header = ["", "kept", "lost (chance)", "gained (chance)", "neither", "share kept", "share new"]
    body = []
    for name in others:
        count = {row["quantity"]: row["value"] for row in select(rows, file=name, base=base, k=0)}
        changed = [f"{count[f'num_{what}']:.0f} ({count[f'num_{what}_by_chance']:.1f})" for what in ("lost", "gained")]
        shares = [
            cell(select(rows, file=name, base=base, quantity=quantity))
            for quantity in ("support_retention", "discovery")
        ]
        kept, neither = (f"{count[f'num_{what}']:.0f}" for what in ("kept", "solved_by_neither"))
        body.append([label[name], kept, *changed, neither, *shares])
    threshold = max(row["value"] for row in select(rows, base=base, quantity="detection_threshold"))
    told = (
        f"Of the problems that {label[base]} solved in at least one sample a model kept those that it solved too and "
        "lost the others; it gained those that it alone solved. In brackets: how many chance alone would show if both "
        f"had the same rate at every problem. Lost says, at 95%, that a rate is below {threshold:.2%}, not that it is "
        "0. Share kept: kept/(kept + lost), elsewhere called SRR; share new: gained/(kept + gained), NDR."
    )
    return section("PROBLEMS SOLVED AT LEAST ONCE", [table(header, body, width), *notes([told], width)], width)


def pass_at_k_markdown(rows: Sequence[Row], ks: Sequence[int]) -> str:
    """pass@k of each file, and what was lost and gained against the first, as a Markdown table."""
    base, *others = file_names(rows)
    header = ["file", *(f"pass@{k}" for k in ks), "kept", "lost", "by chance", "gained"]
    lines = [header, ["---"] * len(header)]
    for name in (base, *others):
        cells = [_plain(select(rows, file=name, quantity="pass_at_k", k=k)) for k in ks]
        where = {"file": name, "base": base}
        counts = [_plain(select(rows, quantity=f"num_{what}", **where), ".0f") for what in ("kept", "lost", "gained")]
        counts.insert(2, _plain(select(rows, quantity="num_lost_by_chance", **where), ".1f"))
        lines.append([f"`{name}`", *cells, *counts])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _plain(rows: Sequence[Row], form: str = ".3f") -> str:
    if not rows:
        return "-"
    (row,) = rows
    value = f"{row['value']:{form}}"
    return f"{value} [{row['low']:{form}}, {row['high']:{form}}]" if row["has_interval"] else value


def verdict_sentences(rows: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """The verdict on each file against the first, or what one file alone says."""
    label = labels(file_names(rows))
    if found:
        return verdicts.sentences(found, label)
    ((name, short),) = label.items()
    curve = select(rows, file=name, quantity="pass_at_k")
    within = f" and pass@{curve[-1]['k']} {cell(curve[-1:])}" if len(curve) > 1 else ""
    return [
        f"{short} has pass@1 {cell(curve[:1])}{within}. One file cannot show whether training sharpened: give the "
        "samples of the model before training as the first file."
    ]


def limits(rows: Sequence[Row], found: Sequence[Row]) -> list[str]:
    """What the samples leave open, and how many problems it would take where nothing is resolved."""
    label = labels(file_names(rows))
    if not found:
        count = {row["quantity"]: row["value"] for row in select(rows, k=0)}
        return [
            f"{count['num_never_solved']:.0f} of {count['num_problems']:.0f} problems were solved by no sample: with "
            f"n = {count['least_samples_per_problem']:.0f} that says, at 95%, that the rate is below "
            f"{count['detection_threshold']:.2%}, not that it is 0."
        ]
    told = [_power(rows, one["model"], one["base"], label) for one in found]
    largest = max(row["k"] for row in select(rows, quantity="pass_at_k_difference"))
    seeds = [int(row["value"]) for row in select(rows, quantity="num_seeds")]
    of_runs = (
        "what another training run would do, each file being one"
        if max(seeds) == 1
        else f"more than {', '.join(map(str, seeds))} seeds can say of other runs"
    )
    told.append(
        f"Anything above k = {largest}; {of_runs}; whether all were sampled at the same temperature and length, which "
        "a comparison needs; and the cause. Intervals are 95% for each k on its own, over problems like these."
    )
    return [text for text in told if text]


def _power(rows: Sequence[Row], name: str, base: str, label: Labels) -> str:
    """How small a change these problems resolve, and how many problems and samples the one seen takes.

    At the largest k at which the samples tell their own noise from what differs between problems, else at k = 1.
    """
    of_pair = select(rows, file=name, base=base)
    noises = {row["k"]: row["value"] for row in select(of_pair, quantity="sampling_noise_share")}
    k = max(noises, default=1)
    resolvable = select(of_pair, quantity="resolvable_change", k=k)
    if not resolvable:
        return ""
    (change,) = select(of_pair, quantity="pass_at_k_difference", k=k)
    num_problems = int(select(of_pair, quantity="num_common_problems")[0]["value"])
    counts = select(rows, quantity="least_samples_per_problem")
    n = min(row["value"] for row in counts if row["file"] in (name, base))
    size, seen = resolvable[0]["value"], abs(change["value"])
    told = (
        f"{label[name]}: {num_problems} problems with {n:.0f} sample{'s' * (n > 1)} of each resolve a change of about "
        f"{number(size)} at k = {k} four times in five"
    )
    needed = ceil(num_problems * (size / seen) ** 2) if seen else MOST_PROBLEMS + 1
    if needed > MOST_PROBLEMS:
        return f"{told}."
    told += f"; one of the size seen there, {number(seen)}, takes about {_rounded(needed)} such problems"
    if k in noises:
        told += f", and with any number of samples no fewer than {_rounded(needed * (1 - noises[k]))}"
    return f"{told}."


def _rounded(count: float) -> str:
    """A number of problems in two digits, at least 2.

    >>> _rounded(1467.2), _rounded(34.4), _rounded(0.3)
    ('1500', '34', '2')
    """
    return f"{max(2, round(count, 1 - int(log10(max(count, 1))))):.0f}"
