"""`predict`: what RL does to a table of answers."""

from __future__ import annotations

import io
import sys
from pathlib import Path

from pydantic import Field

from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.figures import render
from sharpening.figures.drawing import theory as theory_figures
from sharpening.figures.tables import theory as tables
from sharpening.samples import answers
from sharpening.samples import files as sample_files
from sharpening.samples.answers import AnswerTable
from sharpening.samples.formats.fields import Fields
from sharpening.storage import files, store
from sharpening.theory.rows import prediction

OF_SAMPLES = ("problem", "metric", "threshold")


class PredictOptions(Options):
    """Predict what RL does to your model's answers to one prompt."""

    base: NonEmpty | None = Field(
        None,
        json_schema_extra=OPTIONAL_WORD,
        description="CSV with the columns answer, correct, and probability or count; - is standard input",
    )
    samples: NonEmpty | None = Field(
        None, description="instead of BASE: verified samples, as evaluate and other tools write them, to be counted"
    )
    problem: NonEmpty | None = Field(None, description="the problem of --samples whose answers are counted")
    metric: NonEmpty | None = Field(None, description="field of --samples that says which are correct")
    threshold: float | None = Field(
        None, allow_inf_nan=False, description="score from which on a sample of --samples is correct"
    )
    beta: tuple[float, ...] = Field((0.3, 1.0), description="KL strengths of the optima")
    details: bool = Field(False, description="also optima under a KL term, dominance, a global term, and selection")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the predictions as JSON to this file")
    formats: tuple[Format, ...] = FORMATS
    width: float | None = WIDTH
    out: NonEmpty = Field("results", description="folder of the result store")


def predict(options: PredictOptions) -> int:
    """Reads an answer table, predicts, prints, and stores rows and figure."""
    for strength in options.beta:
        if not 1e-3 <= strength <= 1e6:
            raise ValueError(f"--beta: {strength!r}: want KL strengths from 0.001 to 1e6")
        if options.beta.count(strength) > 1:
            raise ValueError(f"--beta: {strength!r}: given twice: want distinct KL strengths")
    clock = store.Clock()
    path = _path(options)
    table, sha256 = _answers(options, path)
    files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    rows = list(prediction.predict(table.problem, options.beta))
    told = (rows, files.shortened(table.likeliest_correct), table.num_samples, table.num_singletons)
    config = {
        "command": "predict",
        "file": path.name,
        "sha256": sha256,
        "beta": list(options.beta),
        **{name: given for name in OF_SAMPLES if (given := getattr(options, name)) is not None},
    }
    caption = theory_figures.prediction_caption(path.name, options.beta, store.run_id("theory", config))
    drawn = render.render(
        "prediction",
        lambda: theory_figures.draw_prediction(rows),
        caption,
        formats=options.formats,
        width=options.width,
    )
    artefacts = {**drawn, "report.txt": tables.prediction_report(*told, STABLE_WIDTH).encode()}
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), files.json_text({"config": config, "rows": rows}))
    run = store.write_run("theory", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(tables.prediction_report(*told, printed_width(), is_long=options.details))
    if not options.details:
        print(f"report: {run / 'report.txt'}: also optima under a KL term, dominance, selection (here: --details)")
    print(f"rows:   {run / 'rows.csv'}\n{figure_line(run, 'prediction', options.formats)}")
    if options.json_file is not None:
        print(f"json:   {options.json_file}")
    return 0


def _path(options: PredictOptions) -> Path:
    """The file that is read; raises ValueError unless exactly one is named."""
    if (options.base is None) == (options.samples is None):
        fault = "missing" if options.base is None else f"{options.base!r}"
        raise ValueError(f"BASE: {fault}: want a CSV of answers, or --samples FILE instead")
    for name in OF_SAMPLES if options.samples is None else ():
        if (given := getattr(options, name)) is not None:
            raise ValueError(f"--{name}: {given!r}: it means nothing without --samples")
    return Path(str(options.base or options.samples))


def _answers(options: PredictOptions, path: Path) -> tuple[AnswerTable, str]:
    """The answers and the SHA-256 of the file that they come from."""
    if options.samples is None:
        text, sha256 = files.read(path)
        return answers.read_answers(io.StringIO(text, newline=""), files.named(path)), sha256
    fields = Fields(metric=options.metric, threshold=options.threshold)
    table, notes, sha256 = sample_files.answers_of(path, options.samples, options.problem, fields)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return table, sha256


COMMAND = (PredictOptions, predict)
