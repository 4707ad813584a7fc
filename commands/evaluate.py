"""`evaluate`: samples of a language model on a task, as `samples` and `audit --samples` read them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from tqdm import tqdm

import store
from commands import files, language_models
from commands.journal import Journal
from commands.language_models import ModelOptions
from commands.options import NonEmpty
from figures import evaluation_tables

if TYPE_CHECKING:
    from llm.evaluate import Sampler, Settings
    from llm.tasks import Task


class EvaluateOptions(ModelOptions):
    """Sample a language model on Countdown or mathematics, verify, and write the samples; goes on where it stopped."""

    model: NonEmpty = Field(description="folder of a model that save_pretrained wrote, or a hub name")
    task: Literal["countdown", "math"] = Field("countdown", description="countdown or math")
    preset: NonEmpty | None = Field(None, description="a published set of mathematics problems, see README")
    problem_column: NonEmpty = Field("problem", description="math: column with the problem")
    answer_column: NonEmpty = Field("answer", description="math: column with the answer")
    id_column: NonEmpty | None = Field(None, description="math: column with the id; the row's number if not given")
    n: int = Field(64, ge=1, le=100_000, description="samples a problem")
    max_tokens: int | None = Field(None, ge=1, description="most tokens of a completion: compact 16, else 1024")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the samples")
    slice_size: int = Field(8, ge=1, description="problems that are drawn, and resumed, together")
    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="transformers, or vllm (not tried here)"
    )
    dry_run: bool = Field(False, description="print the problems and columns found, and sample nothing")
    samples: NonEmpty | None = Field(None, description="also write the samples, JSON lines, to this file")


def evaluate(options: EvaluateOptions) -> int:
    """Opens problems and model, samples slice by slice, stores samples and a row a problem, prints a summary."""
    files.refuse_as_file("samples", options.samples)
    files.refuse_as_folder("out", options.out)
    if options.task == "math" and options.dry_run:
        raise ValueError("x")
        return 0
    language_models.need_torch()
    from llm import models
    from llm.evaluate import Settings

    clock = store.Clock()
    task, about = _task(options)
    settings = Settings(
        n=options.n,
        temperature=options.temperature,
        max_tokens=options.max_tokens
        or (16 if (options.task, options.text_format) == ("countdown", "compact") else 1024),
        batch=options.batch,
        slice_size=options.slice_size,
        seed=options.seed,
    )
    if options.dry_run:
        print(evaluation_tables.plan(about, len(task.prompts), settings.model_dump()))
        return 0
    config = {
        "command": "evaluate",
        "model": models.identity(options.model),
        "dtype": options.dtype,
        "engine": options.engine,
        "task": about,
        **settings.model_dump(mode="json"),
    }
    run = Path(options.out) / "llm" / store.run_id("llm", config)
    if store.verify_run(run):
        rows = _sampled(options, task, settings, config)
        from llm.evaluate import problem_rows

        lines = "".join(json.dumps(row) + "\n" for row in rows)
        artefacts = {"samples.jsonl": lines.encode()}
        run = store.write_run("llm", config, problem_rows(rows), clock=clock, artefacts=artefacts, root=options.out)
    if options.samples is not None:
        store.write_bytes_atomically(Path(options.samples), (run / "samples.jsonl").read_bytes())
    print(evaluation_tables.summary(store.read_rows(run / "rows.csv")))
    print(f"samples: {options.samples or run / 'samples.jsonl'}\nrows:    {run / 'rows.csv'}")
    return 0


def _sampled(options: EvaluateOptions, task: Task, settings: Settings, config: dict[str, Any]) -> list[dict[str, Any]]:
    """All samples: those in the journal, and the rest, slice by slice."""
    from llm import evaluate as sampling

    with Journal(options.out, "llm", config) as journal:
        so_far = [(entry["slice"], entry["batch"], "rows" in entry) for entry in journal.entries]
        total = sampling.num_slices(len(task.prompts), settings)
        if so_far:
            print(f"note: {sum(done for *_, done in so_far)} of {total} slices are there already", file=sys.stderr)
        tokenizer, sampler = _engine(options)
        bar = tqdm(total=total, initial=sum(done for *_, done in so_far), unit=" slices", disable=None, leave=False)
        for event in sampling.evaluate(sampler, tokenizer, task, settings, so_far=so_far):
            journal.add(event._asdict())
            if isinstance(event, sampling.Halved):
                print(f"note: memory ran out: from here on {event.batch} completions at once", file=sys.stderr)
            else:
                bar.update()
        bar.close()
        rows = [row for entry in journal.entries for row in entry.get("rows", ())]
        journal.remove()
    return rows


def _engine(options: EvaluateOptions) -> tuple[Any, Sampler]:
    """The tokenizer, and what draws completions."""
    from llm.evaluate import transformers_sampler

    if options.engine == "vllm":
        from llm import models, vllm_engine

        return models.load_tokenizer(options.model), vllm_engine.vllm_sampler(options.model, options.dtype)
    lm = language_models.opened(options.model, options)
    return lm.tokenizer, transformers_sampler(lm)


def _task(options: EvaluateOptions) -> tuple[Task, dict[str, Any]]:
    """The task, and what stands for it in a stored configuration."""
    from llm import models
    from llm.countdown_task import CountdownTask

    chosen, operators, about = language_models.countdown_problems(options, models.settings_of(options.model))
    task = CountdownTask(chosen, operators=operators, text_format=options.text_format)
    return task, {"task": "countdown", "format": options.text_format, **about}


COMMAND = (EvaluateOptions, evaluate)
