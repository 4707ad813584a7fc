"""`samples`: what samples of one model show, or of several on the same problems."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from sharpening.commands.drawing import FIGURE_FORMATS, WIDTH, Format, figure_line
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.figures import render
from sharpening.figures.drawing import samples as sample_figures
from sharpening.figures.tables import samples as sample_tables
from sharpening.samples import comparison, verdict
from sharpening.samples import files as sample_files
from sharpening.samples.formats.fields import Fields
from sharpening.samples.tally import Samples
from sharpening.storage import files, store

SCHEMA_VERSION = 1
FormatName = Literal[
    "own",
    "human_eval",
    "lm_eval",
    "trl",
    "verl",
    "qwen_math",
    "evalplus",
    "livecodebench",
    "limo",
    "lighteval",
    "inspect",
    "nemo_skills",
]


class SamplesOptions(Options):
    """Say what verified samples show: pass@k with intervals, and, of several models, whether one collapsed."""

    files: tuple[NonEmpty, ...] = Field(
        description="sample files, one a model (a folder, or files joined as A+B, is one model, too); the first is the "
        "one before training"
    )
    file_format: FormatName | None = Field(
        None, alias="format", description=f"{', '.join(get_args(FormatName))}; recognised if not given"
    )
    problem: NonEmpty | None = Field(None, description="field that names the problem")
    metric: NonEmpty | None = Field(
        None, description="field that says which samples are correct (lm_eval: METRIC,FILTER; evalplus: base or plus)"
    )
    answer: NonEmpty | None = Field(None, description="field with the final answer, for maj@k and Hill numbers")
    threshold: float | None = Field(
        None, allow_inf_nan=False, description="score from which on a sample is correct; without it 0 or 1"
    )
    k: tuple[int, ...] = Field((), description="k to print (default: powers of two, and n)")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the resampling")
    no_figure: bool = Field(False, description="draw no figure")
    json_file: NonEmpty | None = Field(None, alias="json", description="write rows, warnings and reading as JSON")
    figure_format: tuple[Format, ...] = FIGURE_FORMATS
    width: float | None = WIDTH
    out: NonEmpty = Field("results", description="folder of the result store")


def samples(options: SamplesOptions) -> int:
    """Reads the files, compares, prints, and stores rows, report and figure."""
    clock = store.Clock()
    if len(options.files) > (most := len(sample_figures.LOOKS_OF_FILES)):
        count = len(options.files)
        raise ValueError(f"FILES: {count} files: want at most {most} (files of one model are joined by +)")
    for path in (path for word in options.files for path in sample_files.paths_of(word).values()):
        files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    fields = Fields(options.metric, options.answer, options.threshold, options.problem)
    read = sample_files.read_models(options.files, options.file_format, fields)
    tables = [table for table, _ in read]
    shown = _shown_ks(options.k, tables)
    rows = comparison.rows(tables, options.k, seed=options.seed)
    warnings = comparison.warnings_about(tables)
    verdicts = [asdict(one) for one in _verdicts(tables, rows, options)]
    told = sample_tables.verdict_sentences(rows, verdicts)

    def report(width: int) -> str:
        return sample_tables.report(rows, shown, warnings, verdicts, width=width, is_every_k_shown=bool(options.k))

    config = {
        "command": "samples",
        "files": [{"file": table.name, "sha256": sha256} for table, sha256 in read],
        "format": options.file_format,
        "metric": options.metric,
        "answer": options.answer,
        "threshold": options.threshold,
        "k": list(options.k),
        "seed": options.seed,
        **({"problem": options.problem} if options.problem else {}),
    }
    caption = sample_figures.pass_at_k_caption(rows, told if verdicts else (), store.run_id("samples", config))
    artefacts = {"report.txt": report(STABLE_WIDTH).encode()}
    if not options.no_figure:
        artefacts |= render.render(
            "pass_at_k",
            lambda: sample_figures.draw_pass_at_k(rows),
            caption,
            formats=options.figure_format,
            width=options.width,
        )
    if options.json_file is not None:
        found = {
            "schema_version": SCHEMA_VERSION,
            "config": config,
            "warnings": warnings,
            "verdicts": verdicts,
            "reading": [*told, *sample_tables.limits(rows, verdicts)],
            "rows": rows,
        }
        store.write_text_atomically(Path(options.json_file), files.json_text(found))
    run = store.write_run("samples", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(report(printed_width()))
    print(f"rows:   {run / 'rows.csv'}")
    if not options.no_figure:
        print(figure_line(run, "pass_at_k", options.figure_format))
    if options.json_file is not None:
        print(f"json:   {options.json_file}")
    return 0


def _verdicts(tables: list[Samples], rows: list[comparison.Row], options: SamplesOptions) -> list[verdict.Verdict]:
    """One on every file but the first; files that lost are compared with the others as `samples OTHER FILE` does."""
    table_of = {table.name: table for table in tables}

    def between(other: str, name: str) -> Iterable[comparison.Row]:
        base, table = table_of[other], table_of[name]
        if set(base.problems).isdisjoint(table.problems):
            return ()
        return comparison.rows_between(base, table, options.k, seed=options.seed)

    return verdict.verdicts(rows, verdict.PASS_AT_K, verdict.OF_SAMPLES, base=tables[0].name, between=between)


def _shown_ks(given: tuple[int, ...], tables: list[Samples]) -> list[int]:
    """The k to print, refused above the least number of samples."""
    least = min(tables, key=lambda table: table.largest_k)
    for k in given:
        if not 1 <= k <= least.largest_k:
            raise ValueError(
                f"--k: {k}: want 1 to {least.largest_k}, the fewest samples that {least.name} has of a problem"
            )
        if given.count(k) > 1:
            raise ValueError(f"--k: {k}: given twice: want distinct numbers")
    return sorted(given) or comparison.vote_sizes(least.largest_k)


COMMAND = (SamplesOptions, samples)
