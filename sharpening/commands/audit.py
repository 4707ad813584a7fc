"""`audit`: the exact distribution of language models over all answers, and whether training sharpened it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from zlib import crc32

import numpy as np
from pydantic import Field
from tqdm import tqdm

from sharpening.commands import audit_tasks, language_models, transfer
from sharpening.commands.drawing import FIGURE_FORMATS, WIDTH, Format, figure_line
from sharpening.commands.named_files import write_named
from sharpening.commands.options import NonEmpty
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.commands.transfer import TransferOptions
from sharpening.figures import render
from sharpening.figures.drawing import audit as audit_figures
from sharpening.figures.tables import audit as audit_tables
from sharpening.figures.tables import doubts
from sharpening.samples import verdict
from sharpening.storage import files, store

if TYPE_CHECKING:
    from sharpening.llm.audit.exact import Audited
    from sharpening.llm.audit.samples import Samples

Row = dict[str, Any]
SCHEMA_VERSION = 1
MOST_MODELS = 5
ABOUT_COUNTDOWN = ("problems", "split", "set", "problem_seed", "text_format")
DEFAULT_KS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class AuditOptions(TransferOptions):
    """List and score every answer of small models exactly, or samples under any two models: did training sharpen?"""

    task: Literal["countdown", "lists"] = Field(
        "countdown", description="countdown, or lists (name a country in Africa)"
    )
    samples: NonEmpty | None = Field(
        None, description="verified samples of the first model, JSON lines as evaluate writes them, to score under all"
    )
    check: NonEmpty | None = Field(
        None,
        description="samples of the one model, as evaluate writes them, to hold against the exact audit: exit status 1 "
        "if they differ",
    )
    k: tuple[int, ...] = Field(DEFAULT_KS, description="k of pass@k")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the resampling")
    json_file: NonEmpty | None = Field(None, alias="json", description="write rows and reading as JSON to this file")
    figure_format: tuple[Format, ...] = FIGURE_FORMATS
    width: float | None = WIDTH


def drawn(
    _: Mapping[str, Any], rows: Sequence[Row], __: str, formats: Sequence[str], width: float | None
) -> dict[str, bytes]:
    """The figure of a stored audit, whose caption stays as it is."""
    return {name: data for name, data in _figure(rows, "", formats, width).items() if not name.endswith(".txt")}


def _figure(rows: Sequence[Row], caption: str, formats: Sequence[str], width: float | None) -> Mapping[str, bytes]:
    return render.render("audit", lambda: audit_figures.draw_audit(rows), caption, formats=formats, width=width)


def audit(options: AuditOptions) -> int:
    """Scores answers or samples under every model, prints what follows, and stores rows, report and figure."""
    _refuse(options)
    language_models.need_torch()
    clock = store.Clock()
    names = _names(options.folders)
    rows, about, config, artefacts, between = (_by_samples if options.samples else _exact)(options, names)
    config = {
        "command": "audit",
        **config,
        "temperature": options.temperature,
        "dtype": options.dtype,
        "seed": options.seed,
    }
    by_slope = bool(options.samples) or audit_figures.is_lower_bound(rows)
    quantity = verdict.SLOPE if by_slope else verdict.PASS_AT_K
    found = verdict.verdicts(rows, quantity, verdict.OF_AUDIT, base=names[0], between=between)
    verdicts = [asdict(one) for one in found]
    told = audit_tables.verdict_sentences(rows, verdicts)

    def report(width: int) -> str:
        is_every_k_shown = "k" in options.model_fields_set
        heading = f"{about}, temperature {options.temperature:g}"
        body = audit_tables.report(rows, heading, verdicts, width=width, is_every_k_shown=is_every_k_shown)
        return "\n\n".join([*doubts.of_audit(rows), body])

    caption = audit_figures.audit_caption(rows, told if verdicts else (), about, store.run_id("llm", config))
    artefacts |= _figure(rows, caption, options.figure_format, options.width)
    artefacts["report.txt"] = report(STABLE_WIDTH).encode()
    run = store.write_run("llm", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(report(printed_width()))
    print(f"rows:   {run / 'rows.csv'}\n{figure_line(run, 'audit', options.figure_format)}")
    if options.json_file is not None:
        data = {
            "schema_version": SCHEMA_VERSION,
            "config": config,
            "verdicts": verdicts,
            "reading": [*told, *audit_tables.reading(rows, verdicts)],
            "rows": rows,
        }
        write_named("json", options.json_file, files.json_text(data))
    return int(any(row["quantity"] == "check_agrees" and not row["value"] for row in rows))


Between = Callable[[str, str], Iterable[Row]]
Found = tuple[list[Row], str, dict[str, Any], dict[str, bytes], Between]  # rows, what of, configuration, artefacts


def _exact(options: AuditOptions, names: Sequence[str]) -> Found:
    from sharpening.llm.audit import rows as audit_rows
    from sharpening.llm.sampling import models

    made_for = models.settings_of(options.folders[0])
    asked = audit_tasks.OPENED[options.task](options, made_for)
    ks = sorted(set(options.k))
    check = _read_check(options)
    training = transfer.training(options, made_for, asked.problems)
    scored: dict[str, list[Audited]] = {}
    for name, folder in zip(names, options.folders, strict=True):
        lm = language_models.opened(folder, options)
        language_models.note_doubts(folder, lm.tokenizer, asked.prompts, 0)
        bar = tqdm(asked.problems, unit=" problems", desc=name, disable=None, leave=False)
        scored[name] = [asked.audit(lm, problem) for problem in bar]
        asked.refuse(folder, lm, scored[name])
        texts = [asked.texts(lm, one) for one in scored[name]]
    problem_rows = audit_rows.problem_rows(scored)
    rows = list(audit_rows.summary_rows(scored, problem_rows, ks, rng=_rng(options)))
    config: dict[str, Any] = {"models": _identities(options, names)}
    if training is not None:
        rows += transfer.rows(options, asked.operators, scored, training, _rng(options))
        config["transfer"] = training.about
    if check is not None:
        samples, config["check"] = check
        rows += _check_rows(names[0], scored[names[0]], texts, samples, asked.spellings)
    artefacts = {"problems.csv": store.rows_to_csv(problem_rows).encode()}
    if answers := list(audit_rows.answer_rows(scored, texts)):
        artefacts["answers.csv"] = store.rows_to_csv(answers).encode()
    is_exact = all(mine[0].is_exact for mine in scored.values())
    what = f"{len(asked.problems)} {asked.noun}" + ("" if is_exact else ", lower bounds")

    def between(other: str, name: str) -> Iterable[Row]:
        return audit_rows.rows_between(scored, problem_rows, ks, other, name, rng=_rng(options))

    return rows, what, {**config, **asked.about, "k": ks}, artefacts, between


def _read_check(options: AuditOptions) -> tuple[Samples, str] | None:
    """The samples to hold against the audit, and the SHA-256 of their file."""
    if options.check is None:
        return None
    from sharpening.llm.audit import samples as audit_samples

    path = Path(options.check)
    text, sha256 = files.read(path)
    return audit_samples.read(text, options.check), sha256


def _check_rows(
    name: str,
    scored: Sequence[Audited],
    texts: Sequence[Sequence[str]],
    samples: Samples,
    spellings: Callable[[str], Sequence[str]],
) -> list[Row]:
    from sharpening.llm.audit import check as audit_check

    found = audit_check.compare(scored, texts, samples, spellings=spellings)
    values = {"z": found.z, "p_value": found.p_value, **found._asdict()}
    plain = {
        "model": name,
        "at": 0.0,
        "low": np.nan,
        "high": np.nan,
        "has_interval": False,
        "num_problems": len(scored),
    }
    rows = [{**plain, "quantity": f"check_{key}", "value": float(value)} for key, value in values.items()]
    return [*rows, {**plain, "quantity": "check_agrees", "value": float(found.agrees)}]


def _by_samples(options: AuditOptions, names: Sequence[str]) -> Found:
    from sharpening.llm.audit import samples as audit_samples

    path = Path(str(options.samples))
    text, sha256 = files.read(path)
    samples = audit_samples.read(text, str(path), options.limit)
    scores = {}
    for name, folder in zip(names, options.folders, strict=True):
        lm = language_models.opened(folder, options)
        bar = tqdm(total=samples.num_problems, unit=" problems", desc=name, disable=None, leave=False)
        scores[name] = audit_samples.score(
            lm, samples, temperature=options.temperature, batch=options.batch, on_problem=bar.update
        )
        bar.close()
    matched = audit_samples.matched(samples, scores)
    for warning in audit_samples.warnings_about(matched, names[0]):
        print(f"note: {warning}", file=sys.stderr)
    rows = list(audit_samples.rows(matched.samples, matched.scores, rng=_rng(options)))
    rows += [audit_samples.left_out_row(matched, name) for name in names[1:]]
    config = {
        "models": _identities(options, names),
        "samples": sha256,
        "limit": options.limit,
    }

    def between(other: str, name: str) -> Iterable[Row]:
        return [audit_samples.row_between(matched.samples, matched.scores, other, name)]

    return rows, f"the samples in {path.name}", config, {}, between


def _identities(options: AuditOptions, names: Sequence[str]) -> dict[str, Any]:
    from sharpening.llm.sampling import models

    return {name: models.identity(folder) for name, folder in zip(names, options.folders, strict=True)}


def _rng(options: AuditOptions) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([options.seed, crc32(b"audit")]))


def _refuse(options: AuditOptions) -> None:
    least = 2 if options.samples else 1
    if not least <= len(options.folders) <= MOST_MODELS:
        raise ValueError(
            f"--model: given {len(options.folders)}: want {least} to {MOST_MODELS}{' with --samples' * (least > 1)}, "
            "the first before training"
        )
    for name in options.folders:
        if options.folders.count(name) > 1:
            raise ValueError(f"--model: {name!r}: given twice: want distinct models")
    if options.check is not None and (options.samples or len(options.folders) > 1):
        raise ValueError(f"--check: {options.check!r}: want one --model, and no --samples beside it")
    for k in options.k:
        if not 1 <= k <= 10**9:
            raise ValueError(f"--k: {k}: want an integer from 1 to 1e9")
    if options.samples is not None:
        language_models.refuse_beside(options, "--samples", ("task", *ABOUT_COUNTDOWN, *transfer.ALL, "k"))
    if options.task == "lists":
        others = [name for name in ABOUT_COUNTDOWN if name != "split"]
        language_models.refuse_beside(options, "--task lists", (*others, *transfer.ALL))
    source = options.samples or options.check
    files.refuse_as_file("json", options.json_file, Path(source) if source else None)
    files.refuse_as_folder("out", options.out)


def _names(folders: Sequence[str]) -> list[str]:
    """Short names of the models: the last part of a path that is not `model`; the paths where two have the same."""
    paths = [Path(folder) for folder in folders]
    names = [(path.parent.name if path.name == "model" else path.name) or str(path) for path in paths]
    return names if len(set(names)) == len(names) else list(folders)


COMMAND = (AuditOptions, audit)
