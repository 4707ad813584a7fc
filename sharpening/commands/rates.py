"""`rates`: how training moved the success rates of problems, by their rate before."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from sharpening.commands import drawing
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.commands.terminal import STABLE_WIDTH, printed_width
from sharpening.figures import render
from sharpening.figures.drawing import rate_curves as curve_figures
from sharpening.figures.drawing import rates as rate_figures
from sharpening.figures.tables import rate_curves as curve_tables
from sharpening.figures.tables import rates as rate_tables
from sharpening.samples import comparison, lines
from sharpening.samples import files as sample_files
from sharpening.samples.formats import own
from sharpening.samples.formats.fields import Fields, name_of
from sharpening.samples.rates import curve_file, curve_rows, laws, training
from sharpening.samples.rates import rows as rate_rows
from sharpening.storage import files, store

MOST_PARTS = 20
PROBLEMS = (*own.PROBLEMS, "id")  # fields that name one, if --problem is not given


class RatesOptions(Options):
    """Say how training moved the success rate of every problem, by its rate before, and which law of theory fits."""

    files: tuple[NonEmpty, ...] = Field(
        (),
        json_schema_extra=OPTIONAL_WORD,
        description="sample files before and after training, in any format that samples reads",
    )
    training: NonEmpty | None = Field(None, description="file of counts during training: problem, visit, n, c")
    curves: NonEmpty | None = Field(
        None, description="file of pass@k curves before and after, alone: set, model, k, ..."
    )
    problem: NonEmpty | None = Field(None, description="field that names the problem")
    metric: NonEmpty | None = Field(None, description="field that says which samples are correct, as in samples")
    threshold: float | None = Field(None, allow_inf_nan=False, description="score from which on a sample is correct")
    part: NonEmpty | None = Field(None, description="field of the file before that says which part a problem is of")
    group_size: int = Field(laws.GROUP_SIZE, ge=4, le=256, description="samples of a prompt in a group, in training")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the folds and of the resampling")
    json_file: NonEmpty | None = Field(None, alias="json", description="write the rows as JSON to this file")
    out: NonEmpty = Field("results", description="folder of the result store")
    formats: tuple[drawing.Format, ...] = drawing.FORMATS
    width: float | None = drawing.WIDTH


def rates(options: RatesOptions) -> int:
    """Reads the counts, fits every law, prints, and stores rows, report and figure."""
    clock = store.Clock()
    if options.curves:
        return _rates_of_curves(options, clock)
    if len(options.files) not in (0, 2) or not (options.files or options.training):
        raise ValueError(
            f"FILES: {len(options.files)} files: want two, before and after training, or --training or --curves"
        )
    if options.part and not options.files:
        raise ValueError(f"--part: {options.part!r}: want two FILES, of which the first has this field")
    paths = [path for word in options.files for path in sample_files.paths_of(word).values()]
    for path in [*paths, *([Path(options.training)] if options.training else [])]:
        files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    fields = Fields(metric=options.metric, threshold=options.threshold, problem=options.problem)
    read = sample_files.read_models(options.files, fields=fields)
    tables = [table for table, _ in read]
    digests = [{"file": table.name, "sha256": sha256} for table, sha256 in read]
    num_draws, windows = None, None
    if options.training:
        windows, sha256 = training.read(Path(options.training), options.training)
        digests.append({"file": Path(options.training).name, "sha256": sha256})
    if windows is not None and not tables:
        tables = list(rate_rows.samples_of_training(windows))
        num_draws = training.draws_of_a_problem(windows)
    parts = _parts(options, tables[0].problems) if options.part else {}
    rows = rate_rows.rows(
        tables[0], tables[1], parts, group_size=options.group_size, num_draws=num_draws, seed=options.seed
    )
    if windows is not None:
        rows += rate_rows.training_rows(windows, seed=options.seed)
    known = laws.all_laws(options.group_size, num_draws)
    words, claims = ({law.name: told for law, told in zip(known, texts, strict=True)} for texts in _texts(known))
    ks = comparison.vote_sizes(max(row["k"] for row in rows if row["quantity"] == "observed_difference"))

    def report(width: int) -> str:
        return rate_tables.report(rows, words, claims, ks, width)

    config = {
        "command": "rates",
        "files": digests,
        "problem": options.problem,
        "part": options.part,
        "group_size": options.group_size,
        "seed": options.seed,
        **{name: given for name in ("metric", "threshold") if (given := getattr(options, name)) is not None},
    }
    names = [table.name for table in tables]
    caption = rate_figures.rates_caption(rows, words, names, store.run_id("samples", config))
    drawn = render.render(
        "rates", lambda: rate_figures.draw_rates(rows), caption, formats=options.formats, width=options.width
    )
    artefacts = dict(drawn) | {"report.txt": report(STABLE_WIDTH).encode()}
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), files.json_text({"config": config, "rows": rows}))
    run = store.write_run("samples", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(report(printed_width()))
    print(f"rows:   {run / 'rows.csv'}\n{drawing.figure_line(run, 'rates', options.formats)}")
    return 0


def _rates_of_curves(options: RatesOptions, clock: store.Clock) -> int:
    """Every law on curves of pass@k."""
    path = Path(str(options.curves))
    for flag, value in (
        ("FILES", options.files),
        ("--training", options.training),
        ("--part", options.part),
        ("--problem", options.problem),
        ("--metric", options.metric),
        ("--threshold", options.threshold is not None),
        ("--seed", "seed" in options.model_fields_set),
    ):
        if value:
            raise ValueError(f"--curves: {str(path)!r}: want it without {flag}")
    files.refuse_as_file("json", options.json_file, path)
    files.refuse_as_folder("out", options.out)
    sets, sha256 = curve_file.read(path, str(path))
    rows = curve_rows.rows(sets, group_size=options.group_size)
    words = {law.name: law.words for law in laws.all_laws(options.group_size)}
    config = {
        "command": "rates",
        "kind": "curves",
        "files": [{"file": path.name, "sha256": sha256}],
        "group_size": options.group_size,
    }
    caption = curve_figures.curves_caption(rows, words, store.run_id("samples", config))
    drawn = render.render(
        "rates", lambda: curve_figures.draw_curves(rows), caption, formats=options.formats, width=options.width
    )
    artefacts = dict(drawn) | {"report.txt": curve_tables.report(rows, words, STABLE_WIDTH).encode()}
    if options.json_file is not None:
        store.write_text_atomically(Path(options.json_file), files.json_text({"config": config, "rows": rows}))
    run = store.write_run("samples", config, rows, clock=clock, artefacts=artefacts, root=options.out, overwrite=True)
    print(curve_tables.report(rows, words, printed_width()))
    print(f"rows:   {run / 'rows.csv'}\n{drawing.figure_line(run, 'rates', options.formats)}")
    return 0


def _texts(known: tuple[laws.Law, ...]) -> tuple[list[str], list[str]]:
    return [law.words for law in known], [law.claim for law in known]


def _parts(options: RatesOptions, problems: tuple[str, ...]) -> dict[str, list[str]]:
    """The problems of every value of a field of the file before."""
    word, field, name = options.files[0], str(options.part), options.problem or ""
    found: dict[str, dict[str, None]] = {}
    for label, path in sample_files.paths_of(word).items():
        with lines.opened(path, label) as source:
            for row in source.table().rows:
                if field not in row.fields:
                    raise row.fault(f"field {field!r} is missing: want the field that --part names in every row")
                name = name or next((one for one in PROBLEMS if one in row.fields), PROBLEMS[0])
                problem = name_of(row, name) if name in row.fields else ""
                found.setdefault(str(row.fields[field]), {})[problem] = None
    if not any(set(inside) & set(problems) for inside in found.values()):
        raise ValueError(
            f"--part: {field!r}: {word} names no problem by {name!r}: want --problem with the field that does"
        )
    if len(found) > MOST_PARTS:
        raise ValueError(f"--part: {field!r} has {len(found)} values: want at most {MOST_PARTS}")
    return {part: list(inside) for part, inside in sorted(found.items())}


COMMAND = (RatesOptions, rates)
