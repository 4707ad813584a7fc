"""`evaluate`: samples of a language model on a task, as `samples` and `audit --samples` read them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from tqdm import tqdm

from sharpening.commands import language_models
from sharpening.commands.language_models import ModelOptions
from sharpening.commands.options import NonEmpty
from sharpening.figures.tables import evaluation as evaluation_tables
from sharpening.llm.mathematics import problems as math_problems
from sharpening.llm.mathematics.problems import Columns, MathTask
from sharpening.llm.mathematics.scorer import MathScorer
from sharpening.storage import files, store
from sharpening.storage.journal import Journal

if TYPE_CHECKING:
    from sharpening.llm.countdown.task import CountdownTask
    from sharpening.llm.sampling.evaluate import Sampler, Settings

ABOUT_COUNTDOWN = ("split", "set", "problem_seed", "text_format")
ABOUT_MATH = ("preset", "problem_column", "answer_column", "id_column", "lenient")
MAX_TOKENS, COMPACT_MAX_TOKENS = 1024, 16
FIELDS = "2"  # of the samples: raise it when a field comes, or a stored run without it would be taken for the new one


class EvaluateOptions(ModelOptions):
    """Sample a language model on Countdown or mathematics, verify, and write the samples; goes on where it stopped."""

    model: NonEmpty = Field(description="folder of a model that save_pretrained wrote, or a hub name")
    task: Literal["countdown", "math"] = Field("countdown", description="countdown or math")
    preset: NonEmpty | None = Field(
        None,
        description="math: where and under which columns a published set is, not tried here: "
        f"{', '.join(math_problems.PRESETS)}; with --problems its columns only",
    )
    problem_column: NonEmpty | None = Field(
        None, description="math: column with the problem; without it problem, or as the preset says"
    )
    answer_column: NonEmpty | None = Field(
        None, description="math: column with the final answer; without it answer, or as the preset says"
    )
    id_column: NonEmpty | None = Field(
        None, description="math: column with the id; without it the number of the row, or as the preset says"
    )
    lenient: bool = Field(
        False,
        description="math: an answer needs no box; else it is a closed box in a completion that ended",
    )
    n: int = Field(64, ge=1, le=100_000, description="samples a problem")
    max_tokens: int | None = Field(
        None,
        ge=1,
        description=f"most tokens of a completion; without it {MAX_TOKENS}, for compact Countdown {COMPACT_MAX_TOKENS}",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the samples")
    slice_size: int = Field(8, ge=1, description="problems that are drawn, and after a stop drawn again, together")
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="transformers, or vllm where it is installed (not tried here)"
    )
    dry_run: bool = Field(False, description="show the problems, columns and settings found, and sample nothing")
    samples: NonEmpty | None = Field(None, description="also write the samples, JSON lines, to this file")


def evaluate(options: EvaluateOptions) -> int:
    """Opens problems and model, samples slice by slice, stores samples and a row a problem, prints a summary."""
    _refuse(options)
    drawing: dict[str, Any] = {
        "n": options.n,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens or _max_tokens(options),
        "batch": options.batch,
        "slice_size": options.slice_size,
        "seed": options.seed,
    }
    if not (options.task == "math" and options.dry_run):
        language_models.need_torch()
    clock = store.Clock()
    task, about = _math(options) if options.task == "math" else _countdown(options)
    if options.dry_run:
        print(evaluation_tables.plan(about, len(task.prompts), drawing))
        return 0
    from sharpening.llm.sampling import models
    from sharpening.llm.sampling.evaluate import Settings

    settings = Settings(**drawing)
    identity = models.identity(options.model)
    config: dict[str, Any] = {
        "command": "evaluate",
        "model": identity,
        "dtype": options.dtype,
        "engine": options.engine,
    }
    config |= {"task": about, "fields": FIELDS, **settings.model_dump(mode="json")}
    run = Path(options.out) / "llm" / store.run_id("llm", config)
    if store.verify_run(run):
        _sample(options, task, settings, config, clock)
    if options.samples is not None:
        store.write_bytes_atomically(Path(options.samples), (run / "samples.jsonl").read_bytes())
    print(evaluation_tables.summary(store.read_rows(run / "rows.csv")))
    print(f"samples: {options.samples or run / 'samples.jsonl'}\nrows:    {run / 'rows.csv'}")
    return 0


def _refuse(options: EvaluateOptions) -> None:
    is_math = options.task == "math"
    language_models.refuse_beside(options, f"--task {options.task}", ABOUT_COUNTDOWN if is_math else ABOUT_MATH)
    if is_math and options.problems is None and options.preset is None:
        raise ValueError("--task: 'math': which problems? want --problems FILE, or --preset")
    if options.preset is not None and options.preset not in math_problems.PRESETS:
        raise ValueError(f"--preset: {options.preset!r}: want one of {', '.join(math_problems.PRESETS)}")
    files.refuse_as_file("samples", options.samples, Path(options.problems) if options.problems else None)
    files.refuse_as_folder("out", options.out)


def _max_tokens(options: EvaluateOptions) -> int:
    is_compact = options.task == "countdown" and options.text_format == "compact"
    return COMPACT_MAX_TOKENS if is_compact else MAX_TOKENS


def _sample(
    options: EvaluateOptions,
    task: CountdownTask | MathTask,
    settings: Settings,
    config: dict[str, Any],
    clock: store.Clock,
) -> None:
    """Stores all samples: those in the journal of a run that was stopped, and the rest, slice by slice."""
    from sharpening.llm.sampling import evaluate as sampling

    with contextlib.ExitStack() as stack:
        if isinstance(task, MathTask):
            scorer = stack.enter_context(task.scorer)
            math_problems.check_gold(task.problems, scorer)
        tokenizer, sampler = _engine(options)
        language_models.note_doubts(options.model, tokenizer, task.prompts, settings.max_tokens)
        journal = stack.enter_context(Journal(options.out, "llm", config))
        so_far = [(entry["slice"], entry["batch"], "rows" in entry) for entry in journal.entries]
        num_done, total = sum(done for *_, done in so_far), sampling.num_slices(len(task.prompts), settings)
        if so_far:
            print(f"note: {num_done} of {total} slices are there already", file=sys.stderr)
        bar = stack.enter_context(tqdm(total=total, initial=num_done, unit=" slices", disable=None, leave=False))
        for event in sampling.evaluate(sampler, tokenizer, task, settings, so_far=so_far):
            journal.add(event._asdict())
            if isinstance(event, sampling.Halved):
                print(f"note: memory ran out: from here on {event.batch} completions at once", file=sys.stderr)
            else:
                bar.update()
        rows = [row for entry in journal.entries for row in entry.get("rows", ())]
        artefacts = {"samples.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}
        counts = sampling.problem_rows(rows, is_lenient=options.lenient)
        store.write_run("llm", config, counts, clock=clock, artefacts=artefacts, root=options.out)
        journal.remove()


def _engine(options: EvaluateOptions) -> tuple[Any, Sampler]:
    """The tokenizer, and what draws completions."""
    from sharpening.llm.sampling.evaluate import transformers_sampler

    if options.engine == "vllm":
        from sharpening.llm.sampling import engines, models

        return models.load_tokenizer(options.model), engines.vllm_sampler(options.model, options.dtype)
    lm = language_models.opened(options.model, options)
    return lm.tokenizer, transformers_sampler(lm)


def _countdown(options: EvaluateOptions) -> tuple[CountdownTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration."""
    from sharpening.llm.countdown.task import CountdownTask
    from sharpening.llm.sampling import models

    chosen, operators, about = language_models.countdown_problems(options, models.settings_of(options.model))
    task = CountdownTask(chosen, operators=operators, text_format=options.text_format)
    return task, {"task": "countdown", "format": options.text_format, **about}


def _math(options: EvaluateOptions) -> tuple[MathTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration; a dry run prints columns and checks the answers."""
    preset = math_problems.PRESETS[options.preset] if options.preset else None
    given = {"problem": options.problem_column, "answer": options.answer_column, "id": options.id_column}
    columns = dataclasses.replace(
        preset.columns if preset else Columns(), **{what: name for what, name in given.items() if name is not None}
    )
    if options.problems is not None:
        if options.dry_run:
            print(evaluation_tables.columns_report(math_problems.expected_and_found(columns, Path(options.problems))))
        problems = math_problems.load(Path(options.problems), columns)
    else:
        assert preset is not None
        if options.dry_run:
            print(evaluation_tables.preset_report(preset.hub_name, preset.config, preset.split, columns.named()))
        problems = math_problems.load_hub(dataclasses.replace(preset, columns=columns))
    task = MathTask(problems[: options.limit], MathScorer(is_lenient=options.lenient))
    if options.dry_run:
        with task.scorer:
            math_problems.check_gold(task.problems, task.scorer)
    return task, {"task": "math", "problems": language_models.digest(task.problems), "lenient": options.lenient}


COMMAND = (EvaluateOptions, evaluate)
