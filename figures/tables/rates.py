"""What `rates` prints: which law moved the success rates, and what it implies. Strings from rows, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

from sharpening.figures.drawing.theory import select
from sharpening.figures.tables.text import cell, notes, number, section, table

Row = Mapping[str, Any]
WHOLE = "all"
LEVEL = 0.05
LIMITS = (
    "The laws are of plain RL. Where a model was trained in another way they describe it, and say nothing of DS.",
    "The methods' laws are for one speed on all problems and a constant concentration of answers. A speed that differs "
    "between problems can imitate any law, so only the common form can be rejected by counts.",
    "A law says how rates moved, not why. Problems of one benchmark differ in more than their rate. Log-odds are not "
    "rates: where the spread is wide the mean rate can rise while the typical problem becomes harder.",
)


def one(rows: Sequence[Row], quantity: str, law: str = "", part: str = WHOLE, k: int = 0) -> Row:
    """The row of a quantity."""
    (row,) = select(rows, part=part, law=law, quantity=quantity, k=k)
    return row


def laws_of(rows: Sequence[Row], part: str = WHOLE) -> list[str]:
    """The laws that were fitted, in their order."""
    return list(dict.fromkeys(row["law"] for row in rows if row["part"] == part and row["law"]))


def chosen_law(rows: Sequence[Row]) -> str:
    """The law that the held-out problems chose."""
    return next(str(row["law"]) for row in select(rows, quantity="is_chosen") if row["value"])


def rate(log_odds: float) -> str:
    """A success rate in percent."""
    return f"{100 / (1 + exp(-log_odds)):.2g}%"


def chance(p: float) -> str:
    """A p-value, as exact as is of use.

    >>> chance(0.034), chance(3e-12)
    ('p = 0.03', 'p < 1e-6')
    """
    return "p < 1e-6" if p < 1e-6 else f"p = {p:.1g}"


def verdict_sentences(rows: Sequence[Row], words: Mapping[str, str]) -> list[str]:
    """What happened in a sentence, how sure the law is, and what it does to pass@k."""
    name = chosen_law(rows)
    told = [_moved(rows, name, words)]
    others = [law for law in laws_of(rows) if law != name]
    rejected = [law for law in others if one(rows, "misfit_p", law)["value"] < LEVEL]
    own = one(rows, "misfit_p", name)["value"]
    fits = (
        "is not rejected" if own >= LEVEL else f"is itself rejected ({chance(own)}): it is the nearest of those tried"
    )
    is_best = one(rows, "held_out", name)["value"] == max(row["value"] for row in select(rows, quantity="held_out"))
    rank = "best" if is_best else "as well as the best, within a standard error and with fewer parameters,"
    told.append(
        f"Of {len(others) + 1} laws this one predicts held-out problems {rank} and {fits}; of the {len(others)} others "
        f"{len(rejected)} are rejected at 5%."
    )
    if name != "common":
        behind, p = one(rows, "behind", "common"), one(rows, "misfit_p", "common")["value"]
        told.append(
            f"The same shift for every problem predicts worse, by {cell([behind])} nats a problem ({chance(p)})."
        )
    told.append(_spread(rows, name))
    told.append(_loss(rows, name))
    return told


def _moved(rows: Sequence[Row], name: str, words: Mapping[str, str]) -> str:
    if name == "affine":
        shift, slope = (one(rows, f"parameter {which}", name) for which in ("shift", "slope"))
        start = f"Log-odds of success moved by {cell([shift])} at a rate of 1/2, and by {cell([slope])} "
        if slope["low"] > 0:
            still = -shift["value"] / slope["value"]
            is_in_reach = 1 / (1 + exp(-still)) > 1 / one(rows, "least_samples")["value"]
            ends = (
                f" By this line the typical problem solved less often than {rate(still)} lost." if is_in_reach else ""
            )
            return f"{start}more for every unit of log-odds before: rarely solved problems gained least.{ends}"
        return f"{start}for every unit of log-odds before."
    mean = one(rows, "mean_shift", name)
    return f"Log-odds of success moved by {cell([mean])} on average, by the law: {words[name]}."


def _spread(rows: Sequence[Row], name: str) -> str:
    spread = one(rows, "spread", name)
    if spread["low"] == 0:
        most = spread["high"]
        return f"Problems of the same rate moved alike: a spread of 0 is not rejected, of more than {most:.2f} is."
    return f"Problems of the same rate moved differently: their true shifts have standard deviation {cell([spread])}."


def _loss(rows: Sequence[Row], name: str) -> str:
    k = max(row["k"] for row in select(rows, part=WHOLE, law="", quantity="observed_difference"))
    seen = one(rows, "observed_difference", k=k)
    implied, plain, never = (
        one(rows, f"implied_{which}", name, k=k)["value"] for which in ("difference", "without_spread", "never_solved")
    )
    law, alike, unseen, others = (number(value, "+") for value in (implied, plain, never, implied - never))
    return (
        f"pass@{k} changed by {cell([seen], '+')}; the fitted law gives {law}, without its spread {alike}. Of "
        f"the law's change problems of which no sample was correct before make {unseen} (their true rates need not be "
        f"0), the others {others}."
    )


def report(
    rows: Sequence[Row], words: Mapping[str, str], claims: Mapping[str, str], ks: Sequence[int], width: int
) -> str:
    """The verdict, the laws, pass@k, the parts, and what all this does not show."""
    facts = {row["quantity"]: row["value"] for row in select(rows, part=WHOLE, law="", k=0)}
    told = (
        f"{facts['num_problems']:.0f} problems, at least {facts['least_samples']:.0f} samples of each; never "
        f"solved: {facts['num_never_solved_before']:.0f} before, {facts['num_never_solved_after']:.0f} after."
    )
    sections = [
        section("VERDICT", notes([*verdict_sentences(rows, words), told], width), width),
        _laws(rows, claims, words, width),
        _pass_at_k(rows, ks, width),
        *_parts(rows, width),
        *_training(rows, width),
        section("WHAT THIS DOES NOT SHOW", notes(LIMITS, width), width),
    ]
    return "\n\n".join(sections) + "\n"


def _laws(rows: Sequence[Row], claims: Mapping[str, str], words: Mapping[str, str], width: int) -> str:
    body = []
    for law in sorted(laws_of(rows), key=lambda law: -one(rows, "held_out", law)["value"]):
        behind = one(rows, "behind", law)
        is_chosen = bool(one(rows, "is_chosen", law)["value"])
        body.append(
            [
                law,
                claims[law] or "-",
                cell([one(rows, "mean_shift", law)]),
                cell([one(rows, "spread", law)]),
                "chosen" if is_chosen else cell([behind]),
                chance(one(rows, "misfit_p", law)["value"]).removeprefix("p ").removeprefix("= "),
            ]
        )
    header = ["law", "claim", "mean shift", "spread", "behind, nats a problem", "p"]
    meanings = [f"{law}: {words[law]}." for law in laws_of(rows)]
    columns = (
        "Mean shift and spread are of log-odds. Behind: how much less log-probability a law gives to held-out problems "
        "than the chosen one. p: small where two more functions of the log-odds make a law fit better than by chance."
    )
    return section(
        "LAWS [95% interval]", [table(header, body, width), "", *notes([columns, " ".join(meanings)], width)], width
    )


def _pass_at_k(rows: Sequence[Row], ks: Sequence[int], width: int) -> str:
    name = chosen_law(rows)
    header = ["k", "seen", f"implied by {name}", "without its spread", "from never solved", "implied by common"]
    body = [
        [
            str(k),
            cell([one(rows, "observed_difference", k=k)], "+"),
            *(
                number(one(rows, f"implied_{which}", name, k=k)["value"], "+")
                for which in ("difference", "without_spread", "never_solved")
            ),
            number(one(rows, "implied_difference", "common", k=k)["value"], "+"),
        ]
        for k in ks
    ]
    return section("CHANGE OF PASS@K [95% interval over problems]", [table(header, body, width)], width)


def _parts(rows: Sequence[Row], width: int) -> list[str]:
    parts = [part for part in dict.fromkeys(row["part"] for row in rows) if part not in (WHOLE, "training")]
    if not parts:
        return []
    name, body = chosen_law(rows), []
    parameters = [row["quantity"] for row in rows if row["law"] == name and row["part"] == WHOLE]
    shown = [quantity for quantity in parameters if quantity.startswith("parameter ")]
    for part in parts:
        few = name not in laws_of(rows, part)
        estimates = (
            ["-"] * (len(shown) + 1)
            if few
            else [cell([one(rows, quantity, name, part)]) for quantity in (*shown, "spread")]
        )
        body.append([part, f"{one(rows, 'num_problems', part=part)['value']:.0f}", *estimates])
    header = ["part", "problems", *(quantity.removeprefix("parameter ") for quantity in shown), "spread"]
    return [section(f"PARTS under {name}; too few problems: -", [table(header, body, width)], width)]


def _training(rows: Sequence[Row], width: int) -> list[str]:
    found = [row for row in rows if row["part"] == "training"]
    if not found:
        return []
    best = max((row for row in found if row["quantity"] == "log_likelihood"), key=lambda row: row["value"])
    gains = {row["law"]: row["value"] for row in found if row["quantity"] == "log_likelihood"}
    single = gains["one curve"]
    num = one(rows, "num_problems", part="training")["value"]
    end = max(row["k"] for row in found)
    last = {row["quantity"]: row["value"] for row in found if row["law"] == best["law"] and row["k"] == end}
    better = "; ".join(f"{law}: {gain - single:+.0f}" for law, gain in gains.items() if law != "one curve")
    text = [
        f"Log-likelihood of {num:.0f} problems beside that of one curve for all of them, in nats: {better}.",
        f"By the last window the shift is {last['curve']:+.2f}, the line {last['line']:+.2f} for every unit of "
        f"log-odds before, the spread {last['spread']:.2f}, and {100 * last['share_down']:.0f}% of the problems are "
        "below where they began.",
    ]
    ks = sorted({row["k"] for row in found if row["quantity"] == "curve"})
    header = ["last visit", "one curve", "curve", "line", "spread", "problems below their start"]
    body = []
    for k in ks:
        of = {row["quantity"]: row["value"] for row in found if row["law"] == best["law"] and row["k"] == k}
        alone = one(rows, "curve", "one curve", "training", k)
        body.append(
            [
                str(k),
                cell([alone]),
                *(f"{of[name]:+.2f}" for name in ("curve", "line", "spread")),
                f"{100 * of['share_down']:.0f}%",
            ]
        )
    title = f"TRAINING: one curve alone, then {best['law']}"
    return [section(title, [*notes(text, width), "", table(header, body, width)], width)]
