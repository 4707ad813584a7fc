"""`llm`: train a language model by a method, and keep what it did."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pydantic import Field
from tqdm import tqdm

from sharpening.commands import language_models, warm_start
from sharpening.commands.options import OPTIONAL_WORD, NonEmpty, Options
from sharpening.figures.tables import training as training_tables
from sharpening.llm.training import configs, published
from sharpening.llm.training.configs import RunConfig
from sharpening.storage import files, store
from sharpening.theory.methods import user_functions

if TYPE_CHECKING:
    from sharpening.llm.training.problems import Problems

Row = dict[str, Any]
RUN_FILE = "run.json"  # in the folder of a run: what names it
SECONDS = 30.0  # between two lines about how far a run is, where there is no terminal


class LlmOptions(Options):
    """Train a language model with any method through TRL; goes on from its last checkpoint where it stopped."""

    config: NonEmpty | None = Field(
        None, description="name of a configuration, see --list, or a YAML file", json_schema_extra=OPTIONAL_WORD
    )
    method: NonEmpty | None = Field(None, description="another method than the configuration's, at its own parameters")
    set: tuple[NonEmpty, ...] = Field((), description="fields, e.g. steps=50 parameters.gamma_correct=0.05")
    seed: int | None = Field(None, ge=0, lt=2**32, description="another seed than the configuration's")
    folder: NonEmpty | None = Field(None, description="folder of checkpoints and model (default: runs/ID)")
    dry_run: bool = Field(
        False, description="check everything, print the plan and the configuration; trains no more than a warm start"
    )
    list_only: bool = Field(False, alias="list", description="print the named configurations and stop")
    out: NonEmpty = Field("results", description="folder of the result store")


def llm(options: LlmOptions) -> int:
    """Checks, trains or goes on, stores rows; 130 or 143 after a signal, with a checkpoint to go on from."""
    if options.list_only or options.config is None:
        if not options.list_only:
            raise ValueError(f"CONFIG: want a YAML file or one of {', '.join(configs.CONFIGS)}")
        print(training_tables.listing(configs.CONFIGS, configs.NOT_TRIED))
        return 0
    config = configs.named_or_read(options.config, _changes(options))
    files.refuse_as_folder("out", options.out)
    files.refuse_as_folder("folder", options.folder or ".")
    language_models.need_torch()
    need_trl()
    from sharpening.llm.sampling import models
    from sharpening.llm.training import preflight, problems

    if options.dry_run and (said := _published_plan(options.config, config)):
        _print(f"{said}\n\n{configs.as_yaml(config)}", end="")
        return 0
    clock = store.Clock()
    model = str(warm_start.model_of(config.warm_start, options.out)) if config.warm_start else config.model
    models.require_model(model)
    if config.adapter:
        preflight.num_adapter_weights(config.adapter)
    identity: dict[str, Any] = {"command": "llm", "files": _files(config)}
    if config.model:
        identity["weights"] = models.identity(model)
    identity |= {"num_processes": int(os.environ.get("WORLD_SIZE", "1")), **config.identity()}
    if config.task == "math":
        identity["lenient"] = config.lenient  # also where it is false: mathematics is marked in another way since
    run = Path(options.out) / "llm" / store.run_id("llm", identity)
    folder = Path(options.folder or Path("runs") / run.name)
    if not store.verify_run(run) and not options.dry_run:
        if (folder / "model").is_dir():
            _print("note: this run is stored: nothing was trained", to=sys.stderr)
            _print(_closing(store.read_rows(run / "rows.csv"), run, folder))
            return 0
        _print(f"note: this run is stored, but {folder / 'model'} is not there: it is trained again", to=sys.stderr)
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(problems.opened(config, model))
        if found.num_left_out:
            _print(f"note: {found.num_left_out} problems belong to held-out splits: left out", to=sys.stderr)
        plan = preflight.check(config, model, found.train, found.known(), folder)
        if options.dry_run:
            sizes = {**plan._asdict(), "parts": plan.parts._asdict()}
            _print(f"{training_tables.plan(sizes, config.model_dump())}\n\n{configs.as_yaml(config)}", end="")
            return 0
        stack.enter_context(warnings.catch_warnings())  # what shows them is changed
        return _train(config, model, found, folder, identity, clock, options.out, stack)


def _published_plan(name: str, config: RunConfig) -> str:
    """The plan of a model that is known by its published sizes, where there is no GPU to run it on; else empty."""
    import torch

    from sharpening.llm.training import plans

    if config.model not in published.ARCHITECTURES or config.adapter or torch.cuda.is_available():
        return ""
    num_weights, num_trained, found = plans.of_published(config)
    rows = [{**plan._asdict(), "parts": plan.parts._asdict(), "peak": plan.parts.peak} for plan in found]
    said = [training_tables.published_plan(config.model, (num_weights, num_trained), rows, config.model_dump())]
    if name in published.PRESETS:
        said.append(training_tables.sources(published.PRESETS[name]))
    return "\n\n".join(said)


def _print(text: str, *, end: str = "\n", to: TextIO | None = None) -> None:
    """Prints in one of the processes that torchrun started."""
    if _is_first_process():
        print(text, end=end, file=to, flush=True)


def _show_completions(rows: list[Row]) -> None:
    with tqdm.external_write_mode():
        _print(training_tables.completions(rows))


def _is_first_process() -> bool:
    return os.environ.get("RANK", "0") == "0"


def _files(config: RunConfig) -> dict[str, str]:
    """What stands for the user's files in a stored configuration: their SHA-256."""
    names = {"problems": config.problems, "held_out": config.held_out, "verifier": config.verifier.rpartition(":")[0]}
    if user_functions.is_file_spec(config.method):
        names["method"] = config.method.rpartition(":")[0]
    if config.adapter:
        names["adapter"] = f"{config.adapter}/adapter_model.safetensors"
    return {what: files.sha256(Path(name)) for what, name in names.items() if name}


def need_trl() -> None:
    """Refuses to start without TRL, and keeps it quiet."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    try:
        import datasets
        import trl  # noqa: F401
    except ModuleNotFoundError as error:
        raise ValueError(f"this needs {error.name}: want `pip install '.[llm]'` first") from None
    datasets.disable_progress_bars()
    # TRL says this of every completion that a verifier could not score
    is_news = "All reward functions returned None"
    logging.getLogger("trl.trainer.grpo_trainer").addFilter(lambda record: is_news not in str(record.msg))
    # transformers says this of what TRL sets and calls
    warnings.filterwarnings("ignore", ".*gradient_checkpointing(_enable|_disable)?` is deprecated", FutureWarning)


def _changes(options: LlmOptions) -> dict[str, Any]:
    """What the options change in a configuration."""
    changes: dict[str, Any] = {}
    if options.method is not None:
        changes["method"] = options.method
    if options.seed is not None:
        changes["seed"] = options.seed
    for text in options.set:
        name, equals, value = text.partition("=")
        head, _, tail = name.partition(".")
        if not equals or not head:
            raise ValueError(f"--set: {text!r}: want FIELD=VALUE, e.g. steps=50 or parameters.gamma_correct=0.05")
        if tail:
            changes.setdefault(head, {})
            changes[head][tail] = value
        else:
            changes[name] = value
    return changes


def _train(
    config: RunConfig,
    model: str,
    problems: Problems,
    folder: Path,
    identity: dict[str, Any],
    clock: store.Clock,
    out: str,
    stack: contextlib.ExitStack,
) -> int:
    """Trains to the end, or to a signal; stores the rows of a run that came to its end."""
    from sharpening.llm.training import callbacks, checkpoints, folder_lock
    from sharpening.llm.training import run as train

    last, faults = checkpoints.last(folder)
    _refuse_other_run(folder, identity, checkpoints.step_of(last) if last else 0)
    for fault in faults:
        _print(f"note: {folder}: {fault}", to=sys.stderr)
    warnings.showwarning = _shown_as_note(warnings.showwarning)
    trained = train.make_trainer(config, model, problems, folder, _show_completions)
    store.make_folder(folder)
    if _is_first_process():
        stack.enter_context(folder_lock.alone_in(folder))
        store.write_text_atomically(folder / RUN_FILE, json.dumps(identity, indent=1))
        text = f"# run {store.run_id('llm', identity)}\n{configs.as_yaml(config)}"
        store.write_text_atomically(folder / "config.yaml", text)
        trained.add_callback(callbacks.Record(_rows_file(folder / "rows.csv")))
        if not sys.stderr.isatty():
            say = functools.partial(_print, to=sys.stderr)
            trained.add_callback(callbacks.Progress(say, seconds=SECONDS, clock=time.monotonic))
    if last is not None:
        _print(f"note: goes on from {last}", to=sys.stderr)
    if trained.source.kind != "none":
        _print(f"log-probabilities of the sampling policy: {trained.source.line}\n")
    hidden = None if _is_first_process() else True  # None: unless it is a terminal
    with tqdm(total=config.steps, unit=" steps", disable=hidden, leave=False) as bar:
        trained.add_callback(callbacks.on_step(lambda step: bar.update(step - bar.n)))
        try:
            train.run(trained, config, last)
        finally:
            step, rows = trained.state.global_step, training_tables.rows(trained.state.log_history)
            if rows and step < config.steps:
                _print(f"{training_tables.summary(rows)}\n\nrows:  {folder / 'rows.csv'}")
    if received := train.signal_of(trained):
        said = f"sharpening: stopped after {step} of {config.steps} steps: the same command goes on from there"
        _print(said, to=sys.stderr)
        return 128 + received
    train.save(trained, folder / "model", merges=config.merge_adapters)
    if _is_first_process():
        timing = store.rows_to_csv(training_tables.timing_rows(trained.state.log_history))
        artefacts = {"config.yaml": text.encode(), "timing.csv": timing.encode()}
        run = store.write_run("llm", identity, rows, clock=clock, artefacts=artefacts, root=out)
        _print(_closing(rows, run, folder))
    return 0


def _shown_as_note(show: Callable[..., None]) -> Callable[..., None]:
    """What shows warnings about a method as notes, and others as before."""

    def shown(message: Any, category: Any, *rest: Any) -> None:
        if category.__name__ == "MethodWarning":
            _print(f"note: {message}", to=sys.stderr)
        else:
            show(message, category, *rest)

    return shown


def _refuse_other_run(folder: Path, identity: dict[str, Any], num_made: int) -> None:
    """Raises ValueError, naming what differs, where the folder has another run.

    Only steps may be others, and only where the learning rate does not depend on how many are to come.
    """
    where, path = f"--folder: {str(folder)!r}", folder / RUN_FILE
    if not path.exists():
        if _is_first_process() and folder.exists() and any(folder.iterdir()):
            raise ValueError(f"{where}: it has files that are not of a run: want a new or empty folder")
        return
    there, here = (_flat(one) for one in (json.loads(path.read_text(encoding="utf-8")), identity))
    free = {"steps"} if here.get("trl.lr_scheduler_type", "constant").startswith("constant") else set()
    differing = [name for name in {**there, **here} if name not in free and there.get(name) != here.get(name)]
    if differing:
        name = differing[0]
        is_file = name.startswith(("files.", "weights."))
        how = "has changed" if is_file else f"is {there.get(name)!r} there and {here.get(name)!r} here"
        more = f", as {len(differing) - 1} more" if differing[1:] else ""
        raise ValueError(f"{where}: another run is there: {name} {how}{more}: want a new folder")
    if here["steps"] < num_made:
        raise ValueError(f"steps: {here['steps']}: {folder} has made {num_made}: want as many or more, or a new folder")


def _flat(identity: dict[str, Any]) -> dict[str, Any]:
    """The fields with those of their fields, as in parameters.gamma_correct."""
    found: dict[str, Any] = {}
    for name, value in identity.items():
        found |= {f"{name}.{key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return found


def _rows_file(path: Path) -> Callable[[list[Row]], None]:
    """What writes the rows of log entries as they come; the first call begins the file."""
    begun = False

    def add(entries: list[Row]) -> None:
        nonlocal begun
        if rows := training_tables.rows(entries, is_live=True):
            text = store.rows_to_csv(rows)
            with path.open("a" if begun else "w", encoding="utf-8", newline="") as stream:
                stream.write(text.partition("\n")[2] if begun else text)
            begun = True

    return add


def _closing(rows: list[Row], run: Path, folder: Path) -> str:
    return f"{training_tables.summary(rows)}\n\nrows:  {run / 'rows.csv'}\nmodel: {folder / 'model'}"


COMMAND = (LlmOptions, llm)
