"""`predict`: what RL does to a table of answers."""

from __future__ import annotations

import io
from pathlib import Path

from pydantic import Field

from sharpening.commands.drawing import FORMATS, WIDTH, Format, figure_line
from sharpening.commands.options import NonEmpty, Options
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.figures import render
from sharpening.figures.drawing import theory as theory_figures
from sharpening.figures.tables import theory as tables
from sharpening.samples import answers
from sharpening.storage import files, store
from sharpening.theory.rows import prediction


class PredictOptions(Options):
    """Predict what RL does to your model's answers to one prompt."""

    base: NonEmpty = Field(description="CSV with the columns answer, correct, and probability or count")
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
    path = Path(options.base)
    text, sha256 = files.read(path)
    table = answers.read_answers(io.StringIO(text, newline=""), options.base)
    files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    rows = list(prediction.predict(table.problem, options.beta))
    told = (rows, files.shortened(table.likeliest_correct), table.num_samples, table.num_singletons)
    config = {
        "command": "predict",
        "file": path.name,
        "sha256": sha256,
        "beta": list(options.beta),
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
        print(f"json: {options.json_file}")
    return 0


COMMAND = (PredictOptions, predict)
