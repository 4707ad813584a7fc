"""The command line of the toolkit: `python paper_repro.py COMMAND --help`.

Every command validates its options with a pydantic model before it works, writes through `store.py` only, prints one
line for bad input and exits with status 2, and exits with status 1 if a claim fails.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import math
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

from joblib import Parallel, delayed
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from tqdm import tqdm

import store
from bandits import analysis
from bandits.specification import Specification
from figures import render, tables, theory_figures
from theory import answers, claims, diagnosis, method_table, methods, prediction
from theory.claims import ledger

BAD_INPUT = 2
LONGEST_SHOWN = 80  # characters of an answer in the report
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Options(BaseModel):
    """Options of a command: one definition for flags, validation and the stored configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckOptions(Options):
    """Check every claim of the ledger on this machine, one line a claim."""

    only: tuple[str, ...] = Field((), description="claims to check, e.g. A1 B2.1; all if not given")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the random instances")
    jobs: int = Field(min(2, os.cpu_count() or 1), ge=1, le=256, description="processes")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the results as a JSON list to this file")
    latex: NonEmpty | None = Field(None, description="write the ledger as a LaTeX table to this file")
    markdown: NonEmpty | None = Field(None, description="write the ledger as a Markdown table to this file")
    explain: NonEmpty | None = Field(None, description="print a claim's hypotheses, derivation and how to break it")


class PredictOptions(Options):
    """Predict what RL does to your model's answers to one prompt."""

    base: NonEmpty = Field(description="CSV with the columns answer, correct, and probability or count")
    beta: tuple[float, ...] = Field((0.3, 1.0), description="KL strengths of the optima")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the predictions as JSON to this file")
    out: NonEmpty = Field("results", description="folder of the result store")


class CheckShaperOptions(Options):
    """Say what a method does to correct answers, likely and rare: a verdict per property, by enumeration of groups."""

    method: NonEmpty = Field(description="a method id, a preset of ds, FILE.py:FUNCTION, or all")
    set: tuple[NonEmpty, ...] = Field((), description="parameters of the method, e.g. gamma_correct=0.3")
    group_size: int = Field(8, ge=2, le=16, description="completions per group; every group is enumerated")
    kl_strength: float = Field(0.0, ge=0, le=1e3, description="strength of a KL term to the base policy")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the verdicts as JSON to this file")


class SimulateOptions(Options):
    """Simulate a bandit of your own, with the theory's prediction beside every number there is one for."""

    spec: NonEmpty = Field(description="JSON specification of the bandit, the method and the run")
    out: NonEmpty = Field("results/simulation", description="folder that gets rows.csv and summary.json")


def check(options: CheckOptions) -> int:
    """Runs the claims and prints one line each; 1 if any fails."""
    if options.explain is not None:
        if len(options.model_fields_set) > 1:
            raise ValueError(f"--explain: {options.explain!r}: want no other option beside it")
        print(explanation(options.explain))
        return 0
    ids = [claim.id for claim in _selected("only", options.only)]
    for flag, name in (("json", options.json_file), ("latex", options.latex), ("markdown", options.markdown)):
        _refuse_as_file(flag, name)
    print(tables.OUTCOME_HEADER)
    outcomes = []
    for outcome in _outcomes(ids, options.seed, options.jobs):
        outcomes.append(outcome)
        print(tables.result_line(outcome), flush=True)
    failed = [outcome["id"] for outcome in outcomes if outcome["status"] == "fails"]
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} claims hold" + "".join(f"; {id} fails" for id in failed))
    for path, text in (
        (options.json_file, _json([{key: outcome[key] for key in JSON_KEYS} for outcome in outcomes])),
        (options.latex, tables.claims_latex(outcomes)),
        (options.markdown, tables.claims_markdown(outcomes)),
    ):
        if path is not None:
            store.write_text_atomically(Path(path), text)
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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[0-9]+ tasks (which|have)", UserWarning)  # after `| head`
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
    return "\n\n".join(
        tables.claim_explanation(dataclasses.asdict(claim)) for claim in _selected("explain", (claim_id,))
    )


def _selected(flag: str, ids: tuple[str, ...]) -> tuple[ledger.Claim, ...]:
    try:
        return claims.select(ids)
    except ValueError as error:
        raise ValueError(f"--{flag}{str(error).removeprefix('only')}") from None


def predict(options: PredictOptions) -> int:
    """Reads an answer table, predicts, prints, and stores rows and figure."""
    for strength in options.beta:
        if not 1e-3 <= strength <= 1e6:
            raise ValueError(f"--beta: {strength!r}: want KL strengths from 0.001 to 1e6")
        if options.beta.count(strength) > 1:
            raise ValueError(f"--beta: {strength!r}: given twice: want distinct KL strengths")
    clock = store.Clock()
    path = Path(options.base)
    text, sha256 = _read(path)
    table = answers.read_answers(io.StringIO(text, newline=""), path.name)
    _refuse_as_file("json", options.json_file, path)
    _refuse_as_folder("out", options.out)
    rows = list(prediction.predict(table.problem, options.beta))
    report = tables.prediction_report(
        rows, _shortened(table.likeliest_correct), table.num_samples, table.num_singletons
    )
    config = {
        "command": "predict",
        "file": path.name,
        "sha256": sha256,
        "beta": list(options.beta),
    }
    caption = theory_figures.prediction_caption(path.name, options.beta, store.run_id("theory", config))
    artefacts = dict(render.render("prediction", lambda: theory_figures.draw_prediction(rows), caption))
    artefacts["report.txt"] = report.encode()
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), _json({"config": config, "rows": rows}))
    run = store.write_run("theory", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(report)
    print(f"rows:   {run / 'rows.csv'}\nfigure: {run / 'prediction.png'} (and .pdf, caption in prediction.txt)")
    return 0


def check_shaper(options: CheckShaperOptions) -> int:
    """Diagnoses one method, or every group-level one, and prints its verdicts."""
    _refuse_as_file("json", options.json_file)
    if options.method == "all" and options.set:
        raise ValueError(f"--set: {options.set[0]!r}: want no parameters beside the method 'all'")
    ids = [name for name in method_table.METHODS if method_table.METHODS[name].level == "group"]
    diagnoses = {}
    for name in tqdm(ids if options.method == "all" else [options.method], disable=None, leave=False):
        diagnoses[name] = _diagnosed(name, options)
        print(tables.diagnosis_report(name, diagnoses[name].headline, diagnosis.report_lines(diagnoses[name])))
    if options.json_file is not None:
        found = {name: diagnosis.as_data(verdicts) for name, verdicts in diagnoses.items()}
        store.write_text_atomically(Path(options.json_file), _json(found))
    return 0


def _diagnosed(name: str, options: CheckShaperOptions) -> diagnosis.Diagnosis:
    method = methods.resolve(name)
    given = dict(_assigned(text, method) for text in options.set)
    allowed: tuple[method_table.Level, ...] = ("group",)
    methods.refuse_level(method, allowed, "check-shaper", given)
    for caveat in methods.caveats(method, given, kl_strength=options.kl_strength):
        print(f"note: {caveat}", file=sys.stderr)
    values = methods.parameter_values(method, given)
    return diagnosis.diagnose(method.advantage, values, group_size=options.group_size, kl_strength=options.kl_strength)


def _assigned(text: str, method: method_table.Method) -> tuple[str, int | float | str]:
    """The name and value in NAME=VALUE: a number where it reads as one and the default is no word."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ValueError(f"--set: {text!r}: want NAME=VALUE, e.g. gamma_correct=0.3")
    default = method.parameters[name].default if name in method.parameters else ""
    if isinstance(default, str) or default is None:
        return name, value
    try:
        return name, int(value) if isinstance(default, int) else float(value)
    except ValueError:
        raise ValueError(f"--set: {text!r}: want a number after {name}=") from None


def simulate(options: SimulateOptions) -> int:
    """Reads a specification, simulates, prints the last record, and writes rows and summary."""
    specification = _specification(Path(options.spec))
    _refuse_as_folder("out", options.out)
    for caveat in methods.caveats(methods.resolve(specification.method), specification.parameters):
        print(f"note: {caveat}", file=sys.stderr)
    rows = list(tqdm(analysis.simulate(specification), unit=" rows", disable=None, leave=False))
    summary = {**analysis.summary(specification, rows), "specification": specification.model_dump(mode="json")}
    folder = Path(options.out)
    store.make_folder(folder)
    store.write_text_atomically(folder / "rows.csv", store.rows_to_csv(rows))
    store.write_text_atomically(folder / "summary.json", _json(summary))
    print(tables.simulation_report(rows, specification.num_runs))
    print(f"rows:    {folder / 'rows.csv'}\nsummary: {folder / 'summary.json'}")
    return 0


def _specification(path: Path) -> Specification:
    """The specification in a JSON file; one line names the field that is wrong."""
    text, _ = _read(path)
    try:
        return Specification.model_validate(json.loads(text))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} line {error.lineno}: it is not JSON: {error.msg}") from None
    except RecursionError:
        raise ValueError(f"{path}: it is nested too deeply for a specification") from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        shown = f"{field}: {_shortened(repr(first['input']))}: " if field else ""
        raise ValueError(f"{path}: {shown}{reason}") from None


def _read(path: Path) -> tuple[str, str]:
    """The text of a file, without the byte order mark that spreadsheets write, and the SHA-256 of its bytes."""
    try:
        data = path.read_bytes()
        return data.decode("utf-8-sig"), hashlib.sha256(data).hexdigest()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{path} line {line}: it is not UTF-8 text ({error.reason}): save it as UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None


def _shortened(answer: str) -> str:
    return answer if len(answer) <= LONGEST_SHOWN else answer[: LONGEST_SHOWN - 3] + "..."


def _refuse_as_file(flag: str, name: str | None, source: Path | None = None) -> None:
    """Before the work: refuses a file that cannot be written, or that is what the command reads."""
    if name is None:
        return
    path = Path(name)
    if path.is_dir() or not path.parent.is_dir():
        fault = "is a folder" if path.is_dir() else f"{str(path.parent)!r} is not a folder"
        raise ValueError(f"--{flag}: {name!r}: {fault}: want the name of a file in a folder that exists")
    if source and path.is_file() and path.samefile(source):
        raise ValueError(f"--{flag}: {name!r}: this is the input: want the name of another file")


def _refuse_as_folder(flag: str, name: str) -> None:
    nearest = next(path for path in (Path(name), *Path(name).absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise ValueError(f"--{flag}: {name!r}: {str(nearest)!r} is not a folder: want a folder, there or to be made")


def _json(data: Any) -> str:
    """Standard JSON, which has no infinity and no NaN: they become null."""
    return json.dumps(_finite(data), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


COMMANDS: dict[str, tuple[type[Options], Callable[[Any], int]]] = {
    "check": (CheckOptions, check),
    "predict": (PredictOptions, predict),
    "check-shaper": (CheckShaperOptions, check_shaper),
    "simulate": (SimulateOptions, simulate),
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        one_line = message.replace("\n", "\\n")
        self.exit(BAD_INPUT, f"{self.prog}: {one_line}\n")


def build_parser() -> Parser:
    """The parser of all commands; flags come from the option models, values are checked by them."""
    parser = Parser(prog="paper_repro.py", description=(__doc__ or "").split("\n", maxsplit=1)[0], allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="|".join(COMMANDS))
    for name, (model, _) in COMMANDS.items():
        summary = (model.__doc__ or "").strip()
        required = "".join(f" {key.upper()}" for key, field in model.model_fields.items() if field.is_required())
        usage = f"%(prog)s{required} [options]"  # BASE first: a list such as --beta would swallow it
        command = commands.add_parser(name, help=summary, description=summary, usage=usage, allow_abbrev=False)
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
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # answers in any script, also on an ASCII terminal
    status = BAD_INPUT
    try:
        status = command(model(**given))
        print(end="", flush=True)
        return status
    except ValidationError as error:
        message = _invalid(model, error)
    except (ValueError, store.StoreError) as error:
        message = str(error)
    except OSError as error:
        if error.filename is None:  # it is about the standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's end fails on it too
        if isinstance(error, BrokenPipeError):  # the reader has seen enough, as `| head` has
            return 128 + signal.SIGPIPE
        status, message = BAD_INPUT, f"{error.filename or 'standard output'}: {error.strerror or error}"
    except KeyboardInterrupt:
        status, message = 128 + signal.SIGINT, "interrupted"
    print("paper_repro.py:", message.replace("\n", "\\n"), file=sys.stderr)
    return status


def _invalid(model: type[Options], error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    is_required = any(name == key and field.is_required() for key, field in model.model_fields.items())
    flag = name.upper() if is_required else f"--{name.replace('_', '-')}"
    return f"{flag}: {first['input']!r}: {first['msg']}"


if __name__ == "__main__":
    sys.exit(main())
