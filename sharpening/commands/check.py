"""`check`: every claim of the ledger."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from joblib import Parallel, delayed
from pydantic import Field

from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import printed_width
from sharpening.figures.tables import theory as tables
from sharpening.storage import files, store
from sharpening.theory import claims
from sharpening.theory.claims import ledger


class CheckOptions(Options):
    """Check every claim of the ledger on this machine, one line a claim."""

    only: tuple[str, ...] = Field((), description="claims to check, e.g. A1 B2.1; all if not given")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the random instances")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=256, description="processes")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the results as a JSON list to this file")
    latex: NonEmpty | None = Field(None, description="write the ledger as a LaTeX table to this file")
    markdown: NonEmpty | None = Field(None, description="write the ledger as a Markdown table to this file")
    out: NonEmpty | None = Field(None, description="keep the results in this result store, where report reads them")
    explain: NonEmpty | None = Field(None, description="print a claim's hypotheses, derivation and how to break it")


def check(options: CheckOptions) -> int:
    """Runs the claims and prints one line each; 1 if any fails."""
    if options.explain is not None:
        if len(options.model_fields_set) > 1:
            raise ValueError(f"--explain: {options.explain!r}: want no other option beside it")
        print(explanation(options.explain))
        return 0
    ids = [claim.id for claim in _selected("only", options.only)]
    for flag, name in (("json", options.json_file), ("latex", options.latex), ("markdown", options.markdown)):
        files.refuse_as_file(flag, name)
    if options.out is not None:
        files.refuse_as_folder("out", options.out)
    clock = store.Clock()
    print(tables.OUTCOME_HEADER)
    outcomes = []
    for outcome in _outcomes(ids, options.seed, options.jobs):
        outcomes.append(outcome)
        print(tables.result_line(outcome, printed_width() if sys.stdout.isatty() else None), flush=True)
    failed = [outcome["id"] for outcome in outcomes if outcome["status"] == "fails"]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} claims hold" + "".join(f"; {id} fails" for id in failed))
    for flag, name, text in (
        ("json", options.json_file, _as_json(outcomes)),
        ("latex", options.latex, tables.claims_latex(outcomes)),
        ("markdown", options.markdown, tables.claims_markdown(outcomes)),
    ):
        if name is not None:
            write_named(flag, name, text)
    if options.out is not None:
        rows = [{key: outcome[key] for key in STORED_KEYS} for outcome in outcomes]
        run = store.write_run("theory", identity(options), rows, clock=clock, root=options.out, overwrite=True)
        print(f"rows:   {run / 'rows.csv'}")
    return 1 if failed else 0


def identity(options: CheckOptions) -> dict[str, Any]:
    """What determines the stored results: which claims, in which form, and the seed."""
    chosen = [(claim.id, claim.statement, claim.latex, claim.tolerance) for claim in _selected("only", options.only)]
    ledger_sha256 = hashlib.sha256(repr(chosen).encode()).hexdigest()
    return {"command": "check", "only": list(options.only), "seed": options.seed, "claims_sha256": ledger_sha256}


def _as_json(outcomes: Sequence[dict[str, Any]]) -> str:
    return files.json_text([{key: outcome[key] for key in JSON_KEYS} for outcome in outcomes])


JSON_KEYS = (
    "id",
    "statement",
    "source",
    "kind",
    "status",
    "instances",
    "worst_margin",
    "tolerance",
    "seconds",
)

STORED_KEYS = (*JSON_KEYS[:-1], "latex", "hypotheses")  # seconds differ from run to run


def _outcomes(ids: Sequence[str], seed: int, jobs: int) -> Iterator[dict[str, Any]]:
    """Results in the order of the ids, as they come in."""
    work = (delayed(outcome_of)(claim_id, seed) for claim_id in ids)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ tasks (which|have)", UserWarning)  # after `| head`
        yield from Parallel(n_jobs=min(jobs, len(ids)), return_as="generator")(work)


def outcome_of(claim_id: str, seed: int) -> dict[str, Any]:
    """The result of one claim as plain data, so that it can come from another process."""
    claim = next(claim for claim in claims.CLAIMS if claim.id == claim_id)
    outcome = ledger.run(claim, seed)
    keys = ("id", "statement", "latex", "hypotheses", "source", "kind", "tolerance")
    fixed = {key: getattr(claim, key) for key in keys}
    measured = {key: getattr(outcome, key) for key in ("instances", "worst_margin", "observed", "seconds")}
    return {**fixed, **measured, "status": "holds" if outcome.holds else "fails"}


def explanation(claim_id: str) -> str:
    """Everything the ledger knows of a claim and its parts."""
    return "\n\n".join(
        tables.claim_explanation(dataclasses.asdict(claim), printed_width())
        for claim in _selected("explain", (claim_id,))
    )


def _selected(flag: str, ids: tuple[str, ...]) -> tuple[ledger.Claim, ...]:
    try:
        return claims.select(ids)
    except ValueError as error:
        raise ValueError(f"--{flag}{str(error).removeprefix('only')}") from None


COMMAND = (CheckOptions, check)
