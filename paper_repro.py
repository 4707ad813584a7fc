"""The command line of the toolkit: `python paper_repro.py COMMAND --help`.

Every command validates its options with a pydantic model before it works, writes through `store.py` only, prints one
line for bad input and exits with status 2, and exits with status 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from joblib import Parallel, delayed
from pydantic import BaseModel, ConfigDict, Field, ValidationError

import store
from figures import render, tables, theory_figures
from theory import answers, claims, prediction
from theory.claims import ledger

BAD_INPUT = 2


class Options(BaseModel):
    """Options of a command: one definition for flags, validation and the stored configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckOptions(Options):
    """Check every claim of the ledger on this machine, one line a claim."""

    only: tuple[str, ...] = Field((), description="claims to check, e.g. A1 B2.1; all if not given")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the random instances")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=256, description="processes")
    json_file: str | None = Field(None, alias="json", description="write the results as a JSON list to this file")
    latex: str | None = Field(None, description="write the ledger as a LaTeX table to this file")
    markdown: str | None = Field(None, description="write the ledger as a Markdown table to this file")
    explain: str | None = Field(None, description="print a claim's hypotheses, derivation and how to break it")


class PredictOptions(Options):
    """Predict what RL does to your model's answers to one prompt."""

    base: str = Field(description="CSV with the columns answer, correct, and probability or count")
    beta: tuple[float, ...] = Field((0.3, 1.0), description="KL strengths of the optima")
    json_file: str | None = Field(None, alias="json", description="write the predictions as JSON to this file")
    out: str = Field("results", description="folder of the result store")


def check(options: CheckOptions) -> int:
    """Runs the claims and prints one line each; 1 if any fails."""
    if options.explain is not None:
        print(explanation(options.explain))
        return 0
    ids = [claim.id for claim in claims.select(options.only)]
    print(tables.OUTCOME_HEADER)
    outcomes = []
    for outcome in _outcomes(ids, options.seed, options.jobs):
        outcomes.append(outcome)
        print(tables.result_line(outcome), flush=True)
    for path, text in (
        (options.json_file, _json([{key: outcome[key] for key in JSON_KEYS} for outcome in outcomes])),
        (options.latex, tables.claims_latex(outcomes)),
        (options.markdown, tables.claims_markdown(outcomes)),
    ):
        if path is not None:
            store.write_text_atomically(Path(path), text)
    failed = [outcome["id"] for outcome in outcomes if outcome["status"] == "fails"]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} claims hold" + "".join(f"; {id} fails" for id in failed))
    return 1 if failed else 0


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


def _outcomes(ids: Sequence[str], seed: int, jobs: int) -> Iterator[dict[str, Any]]:
    """Results in the order of the ids, as they come in."""
    work = (delayed(outcome_of)(claim_id, seed) for claim_id in ids)
    yield from Parallel(n_jobs=min(jobs, len(ids)), return_as="generator")(work)


def outcome_of(claim_id: str, seed: int) -> dict[str, Any]:
    """The result of one claim as plain data, so that it can come from another process."""
    claim = next(claim for claim in claims.CLAIMS if claim.id == claim_id)
    outcome = ledger.run(claim, seed)
    fixed = {key: getattr(claim, key) for key in ("id", "statement", "latex", "source", "kind", "tolerance")}
    measured = {key: getattr(outcome, key) for key in ("instances", "worst_margin", "observed", "seconds")}
    return {**fixed, **measured, "status": "holds" if outcome.holds else "fails"}


def explanation(claim_id: str) -> str:
    """Everything the ledger knows of a claim and its parts."""
    return "\n\n".join(_explain_one(claim) for claim in claims.select((claim_id,)))


def _explain_one(claim: ledger.Claim) -> str:
    def paragraph(name: str, text: str) -> str:
        return textwrap.fill(text, 110, initial_indent=f"  {name:<11} ", subsequent_indent=" " * 14)

    mutant = claim.mutant
    module, function = claim.formula.split(":")
    return "\n".join(
        [
            f"{claim.id}  {claim.statement}",
            paragraph("formula", f"${claim.latex}$"),
            paragraph("hypotheses", claim.hypotheses),
            paragraph("source", claim.source),
            paragraph("check", f"{claim.kind}, tolerance {claim.tolerance:g}"),
            paragraph("derivation", claim.derivation),
            paragraph("lives in", f"{module.replace('.', '/')}.py, {function}"),
            paragraph("break it", f"there, replace `{mutant.original}` by `{mutant.mutated}`: the check must fail"),
        ]
    )


def predict(options: PredictOptions) -> int:
    """Reads an answer table, predicts, prints, and stores rows and figure."""
    for strength in options.beta:
        if not 1e-3 <= strength <= 1e6:
            raise ValueError(f"beta: {strength!r}: want KL strengths from 0.001 to 1e6")
    clock = store.Clock()
    path = Path(options.base)
    content = _read(path)
    table = answers.read_answers(content.splitlines(keepends=True), path.name)
    rows = list(prediction.predict(table.problem, options.beta))
    report = tables.prediction_report(rows, table.likeliest_correct, table.num_samples, table.num_singletons)
    config = {
        "command": "predict",
        "file": path.name,
        "sha256": hashlib.sha256(content.encode()).hexdigest(),
        "beta": list(options.beta),
    }
    caption = prediction_caption(path.name, options.beta, store.run_id("theory", config))
    artefacts = dict(render.render("prediction", lambda: theory_figures.draw_prediction(rows), caption))
    artefacts["report.txt"] = report.encode()
    run = store.write_run("theory", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), _json({"config": config, "rows": rows}))
    print(report)
    print(f"rows:   {run / 'rows.csv'}\nfigure: {run / 'prediction.png'} (and .pdf, caption in prediction.txt)")
    return 0


def prediction_caption(name: str, kl_strengths: Sequence[float], run: str) -> str:
    """The caption of the figure of `predict`."""
    return (
        f"Exact predictions for the answer distribution in {name}; run {run}; no sampling, so no intervals. "
        "(a) Solution diversity against correctness along the exact softmax flow without KL (B1-B3, B6, B7); "
        "markers at t = 0, .1, 1, 10, ..., 1e5 updates x learning rate; number = strength. "
        f"(b) KL-regularised optima at KL strength {max(kl_strengths):g} as the strength grows from .03 to 3 times "
        "it, sampling reference (A3). (c) Correctness of each entropy bonus and of DS with the same diversity at the "
        "same KL to the base (A7); grey: the literal reward gap of 1 is not enough. (d) Probability that a group of G "
        "samples holds a given correct answer, and that it has a signal but misses the tail (C1, C2). Asks, as "
        "summarised, whether differential smoothing keeps diversity where plain RL and global terms lose it or "
        "correctness (arXiv 2511.19942)."
    )


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: byte {error.start} is not UTF-8 text: {error.reason}") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def _json(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


COMMANDS: dict[str, tuple[type[Options], Callable[[Any], int]]] = {
    "check": (CheckOptions, check),
    "predict": (PredictOptions, predict),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}\n")


def build_parser() -> Parser:
    """The parser of all commands; flags come from the option models, values are checked by them."""
    parser = Parser(prog="paper_repro.py", description=(__doc__ or "").split("\n", maxsplit=1)[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (model, _) in COMMANDS.items():
        summary = (model.__doc__ or "").strip()
        command = commands.add_parser(name, help=summary, description=summary, allow_abbrev=False)
        for field_name, field in model.model_fields.items():
            flag = field.alias or field_name
            is_list = "tuple" in str(field.annotation)
            default = "" if field.is_required() or not field.default else f" (default: {_shown(field.default)})"
            command.add_argument(
                flag if field.is_required() else f"--{flag.replace('_', '-')}",
                nargs="+" if is_list else None,
                help=f"{field.description}{default}".replace("%", "%%"),
                default=argparse.SUPPRESS,
                metavar=flag.upper(),
            )
    return parser


def _shown(default: Any) -> str:
    return " ".join(map(str, default)) if isinstance(default, tuple) else str(default)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    given = vars(build_parser().parse_args(arguments))
    model, command = COMMANDS[given.pop("command")]
    try:
        return command(model(**given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        print(f"paper_repro.py: {where}: {first['input']!r}: {first['msg']}", file=sys.stderr)
    except (ValueError, store.StoreError) as error:
        print(f"paper_repro.py: {error}", file=sys.stderr)
    return BAD_INPUT


if __name__ == "__main__":
    sys.exit(main())
