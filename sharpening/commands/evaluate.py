"""`evaluate`: samples of a language model on a task, as `samples` and `audit --samples` read them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from tqdm import tqdm

from sharpening.commands import language_models
from sharpening.commands.language_models import ModelOptions
from sharpening.commands.options import NonEmpty
from sharpening.figures.tables import evaluation as evaluation_tables
from sharpening.llm import own_task
from sharpening.llm.lists import task as lists
from sharpening.llm.mathematics import problems as math_problems
from sharpening.llm.mathematics.problems import Columns, MathTask
from sharpening.llm.mathematics.scorer import MathScorer
from sharpening.llm.own_task import LimitedVerifier, OwnTask
from sharpening.storage import files, store
from sharpening.storage.journal import Journal

if TYPE_CHECKING:
    from sharpening.llm.countdown.task import CountdownTask
    from sharpening.llm.sampling.evaluate import Sampler, Settings

    AnyTask = CountdownTask | MathTask | OwnTask | lists.ListTask

ABOUT = {  # the options that belong to some of the tasks only
    "countdown": ("split", "set", "problem_seed", "text_format"),
    "lists": ("split",),
    "math": ("preset", "problem_column", "answer_column", "id_column", "lenient"),
    "own": ("problem_column", "answer_column", "solution_column", "verifier", "verifier_seconds"),
}
MAX_TOKENS, COMPACT_MAX_TOKENS = 1024, 16  # the latter of names, too
TRIED = 16  # most tokens of the completion that a dry run draws
NUM_SOLUTIONS = 20  # most known solutions that the verifier has to accept before a run
FIELDS = 2  # of the samples: raise it when a field comes, or a stored run without it would be taken for the new one


class EvaluateOptions(ModelOptions):
    """Sample a language model on a task, verify, and write the samples; goes on where it stopped."""

    task: Literal["countdown", "lists", "math", "own"] = Field(
        "countdown", description="countdown, lists (name a country in Africa; a month with 31 days), math or own"
    )
    preset: NonEmpty | None = Field(
        None,
        description="math: where and under which columns a published set is, not tried here: "
        f"{', '.join(math_problems.PRESETS)}; with --problems its columns only",
    )
    problem_column: NonEmpty | None = Field(
        None,
        description="math: column with the problem, own: with the prompt; without it problem, or as the preset says",
    )
    answer_column: NonEmpty | None = Field(
        None, description="math and own: column with the answer; without it answer, or as the preset says"
    )
    solution_column: NonEmpty | None = Field(
        None, description="own: column with a correct completion, where one is known: the verifier has to accept some"
    )
    verifier: NonEmpty | None = Field(
        None, description="own: FILE.py:FUNCTION of completion and answer: True, False or None"
    )
    verifier_seconds: float = Field(
        own_task.SECONDS, gt=0, allow_inf_nan=False, description="own: limit of time of the verifier for a completion"
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
        description=f"most tokens of a completion; without it {MAX_TOKENS}, for lists and compact Countdown "
        f"{COMPACT_MAX_TOKENS}",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the samples")
    slice_size: int = Field(8, ge=1, description="problems that are drawn, and after a stop drawn again, together")
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="transformers, or vllm where it is installed (not tried here)"
    )
    dry_run: bool = Field(
        False, description="show the problems, columns and settings found, draw and score one completion, keep nothing"
    )
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
    if options.task == "countdown":
        language_models.need_torch()  # the model's folder says for what problems it was made
    clock = store.Clock()
    task, about = OPENED[options.task](options)
    if options.dry_run:
        print(evaluation_tables.plan(about, len(task.prompts), drawing))
    language_models.need_torch()
    from sharpening.llm.sampling import models
    from sharpening.llm.sampling.evaluate import Settings

    settings = Settings(**drawing)
    if options.dry_run:
        print(_tried(options, task, settings))
        return 0
    config: dict[str, Any] = {"command": "evaluate", "model": models.identity(options.folders[0]), "fields": FIELDS}
    config |= {"dtype": options.dtype, "engine": options.engine, "task": about, **settings.model_dump(mode="json")}
    run = Path(options.out) / "llm" / store.run_id("llm", config)
    if store.verify_run(run):
        _sample(options, task, settings, config, clock)
    if options.samples is not None:
        store.write_bytes_atomically(Path(options.samples), (run / "samples.jsonl").read_bytes())
    print(evaluation_tables.summary(store.read_rows(run / "rows.csv")))
    print(f"samples: {options.samples or run / 'samples.jsonl'}\nrows:    {run / 'rows.csv'}")
    return 0


def _refuse(options: EvaluateOptions) -> None:
    if len(options.folders) != 1:
        raise ValueError(f"--model: given {len(options.folders)}: want 1, as a word or after the flag")
    others = {name: None for names in ABOUT.values() for name in names if name not in ABOUT[options.task]}
    language_models.refuse_beside(options, f"--task {options.task}", others)
    if options.task == "lists":
        language_models.refuse_beside(options, "--task lists", ("problems",))
    if options.task == "math" and options.problems is None and options.preset is None:
        raise ValueError("--task: 'math': which problems? want --problems FILE, or --preset")
    if options.task == "own" and (options.problems is None or options.verifier is None):
        raise ValueError("--task: 'own': want --problems FILE and --verifier FILE.py:FUNCTION")
    if options.preset is not None and options.preset not in math_problems.PRESETS:
        raise ValueError(f"--preset: {options.preset!r}: want one of {', '.join(math_problems.PRESETS)}")
    for source in (options.problems, (options.verifier or "").rpartition(":")[0]):
        files.refuse_as_file("samples", options.samples, Path(source) if source else None)
    files.refuse_as_folder("out", options.out)


def _max_tokens(options: EvaluateOptions) -> int:
    is_short = options.task == "lists" or (options.task == "countdown" and options.text_format == "compact")
    return COMPACT_MAX_TOKENS if is_short else MAX_TOKENS


def _sample(
    options: EvaluateOptions,
    task: AnyTask,
    settings: Settings,
    config: dict[str, Any],
    clock: store.Clock,
) -> None:
    """Stores all samples: those in the journal of a run that was stopped, and the rest, slice by slice."""
    from sharpening.llm.sampling import evaluate as sampling

    with contextlib.ExitStack() as stack:
        _open(task, stack)
        tokenizer, sampler = _engine(options)
        language_models.note_doubts(options.folders[0], tokenizer, task.prompts, settings.max_tokens)
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


def _open(task: AnyTask, stack: contextlib.ExitStack) -> None:
    """Makes ready what marks completions, and tries it."""
    if isinstance(task, MathTask):
        math_problems.check_gold(task.problems, stack.enter_context(task.scorer))
    elif isinstance(task, OwnTask):
        if isinstance(task.verifier, LimitedVerifier):
            stack.enter_context(task.verifier)
        task.check_solutions(NUM_SOLUTIONS)


def _tried(options: EvaluateOptions, task: AnyTask, settings: Settings) -> str:
    """One completion of the first problem, drawn, scored and marked: a run would do the same."""
    from sharpening.llm.sampling import evaluate as sampling

    with contextlib.ExitStack() as stack:
        _open(task, stack)
        tokenizer, sampler = _engine(options)
        language_models.note_doubts(options.folders[0], tokenizer, task.prompts, settings.max_tokens)
        one = settings.model_copy(update={"n": 1, "slice_size": 1, "max_tokens": min(settings.max_tokens, TRIED)})
        events = sampling.evaluate(sampler, tokenizer, task, one)
        rows = next(event.rows for event in events if isinstance(event, sampling.Done))
    return evaluation_tables.tried(rows[0])


def _engine(options: EvaluateOptions) -> tuple[Any, Sampler]:
    """The tokenizer, and what draws completions."""
    from sharpening.llm.sampling.evaluate import transformers_sampler

    if options.engine == "vllm":
        from sharpening.llm.sampling import engines, models

        return models.load_tokenizer(options.folders[0]), engines.vllm_sampler(options.folders[0], options.dtype)
    lm = language_models.opened(options.folders[0], options)
    return lm.tokenizer, transformers_sampler(lm)


def _countdown(options: EvaluateOptions) -> tuple[CountdownTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration."""
    from sharpening.llm.countdown.task import CountdownTask
    from sharpening.llm.sampling import models

    chosen, operators, about = language_models.countdown_problems(options, models.settings_of(options.folders[0]))
    task = CountdownTask(chosen, operators=operators, text_format=options.text_format)
    return task, {"task": "countdown", "format": options.text_format, **about}


def _own(options: EvaluateOptions) -> tuple[OwnTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration."""
    spec = str(options.verifier)
    verifier = own_task.load_verifier(spec, options.verifier_seconds)
    columns = (options.problem_column or "problem", options.answer_column or "answer")
    path = Path(str(options.problems))
    task = own_task.load(path, *columns, verifier, solution_column=options.solution_column or "").first(options.limit)
    file, _, name = spec.rpartition(":")
    about = {"verifier": files.read(Path(file))[1], "function": name, "verifier_seconds": options.verifier_seconds}
    problems = [[prompt.text, answer] for prompt, answer in zip(task.prompts, task.answers, strict=True)]
    return task, {"task": "own", "problems": language_models.digest(problems), **about}


def _lists(options: EvaluateOptions) -> tuple[lists.ListTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration."""
    asked = language_models.questions(options)
    told = [[one.text, list(one.listed), sorted(one.correct)] for one in asked]
    return lists.ListTask(asked), {"task": "lists", "problems": language_models.digest(told)}


def _math(options: EvaluateOptions) -> tuple[MathTask, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration; a dry run prints columns."""
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
    return task, {"task": "math", "problems": language_models.digest(task.problems), "lenient": options.lenient}


OPENED: dict[str, Callable[[EvaluateOptions], tuple[AnyTask, dict[str, Any]]]] = {
    "countdown": _countdown,
    "lists": _lists,
    "math": _math,
    "own": _own,
}
COMMAND = (EvaluateOptions, evaluate)
