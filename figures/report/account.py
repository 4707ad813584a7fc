"""Sections about the runs: what this machine ran, what differs, what was not run; and a card for each run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sharpening.figures.report.blocks import Cell, Section, Table, link, told
from sharpening.figures.report.keys import UNTUNED, Keyed, Row, Run, best, named, of_tuned
from sharpening.figures.report.ledger import ledger_run
from sharpening.figures.tables.store import what_of

LAST_DIGITS = 1e-6  # relative: what lies below is rounding


@dataclass(frozen=True)
class Difference:
    """What differs, how, and the run that says so, if it can be read."""

    what: Keyed | str
    how: Keyed | Markup | str
    run: Run | None

    def __str__(self) -> str:
        """A line of text."""
        return f"{_text(self.what)}: {_text(self.how)}{f' ({self.run.path})' if self.run else ''}"


def _text(said: Keyed | Markup | str) -> str:
    if isinstance(said, Keyed):
        return said.text
    return said.striptags() if isinstance(said, Markup) else said  # text that is none of ours may hold a "<"


@dataclass(frozen=True)
class Card:
    """What is told of a run at the end of the page: where it lies, what it is, and how to make it again."""

    run: Run
    what: str
    again: str
    config: str
    started: Keyed
    seconds: Keyed
    commit: str


def cards(runs: Sequence[Run]) -> list[Card]:
    """A card for each run, in the order of layers and names."""
    return [
        Card(
            run,
            run.what or what_of(run.config, run.layer),
            run.again or f"sharpening results show {run.id}",
            json.dumps(run.config, sort_keys=True, indent=1, ensure_ascii=False),
            run.provenance("started"),
            run.provenance("seconds"),
            str(run.made.get("commit", "unknown"))[:12] + " with changes" * (run.made.get("is_dirty") is True),
        )
        for run in sorted(runs, key=lambda run: (run.layer, run.id))
    ]


def ran(runs: Sequence[Run], pieces: Sequence[Run]) -> Section:
    """What lies in the user's own store: when it was made, and how long it took."""
    section = Section("ran", "What this machine ran")
    own = [run for run in runs if run.is_own]
    if not own:
        section.say("Nothing yet: numbers below are of committed runs, whose dates are at the end of the page.")
        section.lack("anything in your store", "sharpening all --preset smoke")
        return section
    rows: list[list[Cell]] = []
    for run in sorted(own, key=lambda run: (str(run.made.get("started")), run.id)):
        what = what_of(run.config, run.layer)
        rows.append([what, run.provenance("started"), run.provenance("seconds"), link(run)])
    machines = dict.fromkeys(str(run.made.get("platform", "unknown")) for run in own)
    pythons = dict.fromkeys(str(run.made.get("versions", {}).get("python", "unknown")) for run in own)
    section.say("On {}, Python {}.", ", ".join(machines), ", ".join(pythons))
    if pieces:
        section.say("Beside them there are stored pieces of sweeps, which these runs are made of.")
    section.tables.append(Table(told("Runs in your store."), ["what", "started (UTC)", "seconds", "run"], rows))
    return section


def differs(runs: Sequence[Run], twins: Mapping[str, Run], broken: Sequence[tuple[str, str]]) -> Section:
    """What failed, what differs from a prediction, publication or committed run or is not decided, what is broken."""
    section = Section("differs", "What differs")
    found = differences(runs, twins, broken)
    if not found:
        section.say("Nothing that is stored differs from a prediction, a publication, or a committed run.")
        return section
    rows: list[list[Cell]] = [[one.what, one.how, link(one.run) if one.run else "-"] for one in found]
    section.tables.append(Table(told("What differs."), ["what", "how", "run"], rows))
    return section


def differences(runs: Sequence[Run], twins: Mapping[str, Run], broken: Sequence[tuple[str, str]]) -> list[Difference]:
    """All of them; `twins` are committed runs by their ids, `broken` are runs that are left out, and why."""
    found: list[Difference] = []
    studies = [best(of_tuned(runs), command="study", table="predictions")]
    studies += [best(runs, command="study", table="predictions", preset=preset) for preset in UNTUNED]
    for run, label, state in (
        (ledger_run(runs), "id", "fails"),
        (best(runs, command="bandits", table="findings"), "label", "differs"),
        (best(runs, command="bandits", table="external"), "quantity", "differs"),
        *((study, "prediction", state) for study in studies for state in ("differs", "not enough data")),
    ):
        column = "verdict" if run and run.config.get("table") == "predictions" else "status"
        places = run.where(**{column: state}) if run else []
        found += [Difference(run.cell(one, label), run.cell(one, column), run) for one in places if run]
    for public in filter(None, (named(runs, name) for name in ("rates_public", "rates_training"))):
        place = public.place(part="all", law="common", quantity="behind")
        if public.rows[place]["low"] > 0:
            said = told("predicts held-out problems worse than the best law, by {} nats", public.estimate(place))
            found.append(Difference("one common shift in log-odds (claim A2.2)", said, public))
    for own in (run for run in runs if run.is_own and run.id in twins):
        if how := compared(own.rows, twins[own.id].rows):
            found.append(Difference(f"your run of {twins[own.id].name or own.id}", how, own))
    return [*found, *(Difference(path, why, None) for path, why in broken)]


def compared(own: Sequence[Row], committed: Sequence[Row]) -> str:
    """How the rows of a run differ from those of the committed run of the same configuration; empty if they do not."""
    if repr(own) == repr(committed):
        return ""
    if len(own) != len(committed) or list(own[0]) != list(committed[0]):
        return "other rows or columns than the committed run"
    pairs = list(zip(own, committed, strict=True))
    others = sum(repr(mine) != repr(theirs) for mine, theirs in pairs)
    numbers = {name: [row[name] for row in committed if isinstance(row[name], float)] for name in committed[0]}
    size = {name: max(map(abs, filter(math.isfinite, values)), default=0.0) for name, values in numbers.items()}
    why = ", in the last digits, as on another processor" if all(_is_close(*pair, size) for pair in pairs) else ""
    return f"{others:,} of {len(own):,} rows other than in the committed run{why}"


def _is_close(own: Row, committed: Row, size: Mapping[str, float]) -> bool:
    """Whether two rows differ in the last digits of numbers alone, by the size of what their columns hold."""
    for name, theirs in committed.items():
        if repr(mine := own[name]) != repr(theirs):
            if not (isinstance(mine, float) and isinstance(theirs, float)):
                return False
            if not abs(mine - theirs) <= LAST_DIGITS * size[name]:
                return False
    return True


def not_run(sections: Sequence[Section]) -> Section:
    """Everything that a section lacks."""
    section = Section("not-run", "What was not run")
    section.say(
        "Nothing was trained here at 1 to 7 billion weights, on a GPU, or on a mathematics benchmark; sampling with "
        "vLLM was not tried. The public models were trained by others with plain RL: nothing is known here of DS at "
        "their size."
    )
    lacking = [(one.title, *each) for one in sections for each in one.missing]
    if lacking:
        rows: list[list[Cell]] = [
            [title, what, Markup("<code>{}</code>").format(command)] for title, what, command in lacking
        ]
        section.tables.append(
            Table(told("Sections that lack runs."), ["section", "not run", "the command that runs it"], rows)
        )
    return section
