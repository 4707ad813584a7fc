"""`warm-start`: a small language model of one's own, taught Countdown from scratch, or a pretrained one, taught it."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError
from tqdm import tqdm

from sharpening.commands import language_models
from sharpening.commands.options import NonEmpty, Options
from sharpening.storage import files, store

if TYPE_CHECKING:
    from sharpening.llm.sampling.models import LanguageModel

PRESETS: Mapping[str, Mapping[str, Any]] = {  # laptop: the defaults of sharpening.llm.training.warm_start
    "smoke": {
        "width": 64,
        "layers": 2,
        "steps": 300,
        "batch": 192,
        "pool": 1_200,
        "learning_rate": 5e-3,
        "problems": {"num_numbers": 3, "largest_number": 10, "operators": "+-*", "min_target": 1, "max_target": 40},
    },
    "laptop": {
        "problems": {"num_numbers": 4, "largest_number": 10, "operators": "+-*", "min_target": 1, "max_target": 60},
    },
}
TAUGHT: Mapping[str, Any] = PRESETS["smoke"]["problems"]  # what a pretrained model is taught, if not said otherwise
SECONDS = 30.0  # between two lines about how far it is, where there is no terminal


class WarmStartOptions(Options):
    """Train a small or a pretrained language model on Countdown: a base policy to audit and to train on."""

    preset: Literal["smoke", "laptop"] = Field(
        "laptop", description="smoke (3 numbers, seconds) or laptop (4 numbers, minutes), from scratch"
    )
    model: NonEmpty | None = Field(
        None, description="folder or hub name of a pretrained model to teach instead; goes on where it stopped"
    )
    text_format: Literal["compact", "chat"] = Field(
        "compact", alias="format", description="with --model: compact (postfix) or chat (infix, with its template)"
    )
    set: tuple[NonEmpty, ...] = Field(
        (), description="changes, NAME=VALUE such as steps=200 skew=0 problems.num_numbers=3; with --model lora_rank=8"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, problems and batches")
    folder: NonEmpty | None = Field(
        None, description="also put the model into this folder, a new one or one that has this model"
    )
    out: NonEmpty = Field("results", description="folder of the result store")


def warm_start(options: WarmStartOptions) -> int:
    """Trains the model, or finds it in the store; prints where it is and how it did."""
    files.refuse_as_folder("out", options.out)
    if options.folder is not None:
        files.refuse_as_folder("folder", options.folder)
    language_models.need_torch()
    _refuse_what_means_nothing(options)
    config = _configuration(options)
    run = Path(options.out) / "llm" / store.run_id("llm", config)
    is_stored = not store.verify_run(run)
    if options.folder is not None:
        _refuse_other_model(Path(options.folder), run / "model" if is_stored else None)
    if not is_stored:
        run = _trained(config, options.out) if options.model is None else _taught(options.model, config, options.out)
    model = run / "model"
    for row in store.read_rows(run / "rows.csv")[-1:]:
        print(f"loss {row['loss']:.3f} nats a token after {row['step']} steps")
    if options.folder is not None:
        store.make_folder(options.folder)
        for path in model.iterdir():
            store.write_bytes_atomically(Path(options.folder) / path.name, path.read_bytes())
    print(f"model: {options.folder or model}")
    return 0


def model_of(preset: Literal["smoke", "laptop"], out: str, *, seed: int = 0, stores: Sequence[str] = ()) -> Path:
    """The folder of a preset's model, trained first if neither the store nor one of the others has it."""
    config = _configuration(WarmStartOptions(preset=preset, seed=seed, out=out))
    for root in (out, *stores):
        run = Path(root) / "llm" / store.run_id("llm", config)
        if not store.verify_run(run):
            return run / "model"
    return _trained(config, out) / "model"


def _refuse_other_model(folder: Path, model: Path | None) -> None:
    """Before the work: refuses a folder that has files of another model, or of any if this one is still to be made."""
    for path in sorted(folder.iterdir()) if folder.exists() else ():
        mine = model and model / path.name
        if not (mine and path.is_file() and mine.is_file() and path.read_bytes() == mine.read_bytes()):
            raise ValueError(f"--folder: {str(folder)!r}: another {path.name} is there: want a new folder")


def _refuse_what_means_nothing(options: WarmStartOptions) -> None:
    if options.model is not None:
        language_models.refuse_beside(options, "--model", ("preset",))
    elif "text_format" in options.model_fields_set:
        raise ValueError("--format: it means nothing without --model: want both")


def _configuration(options: WarmStartOptions) -> dict[str, Any]:
    """The stored configuration: the preset, or what a pretrained model is taught, with what --set says, checked."""
    from sharpening.llm.countdown.problems import Settings
    from sharpening.llm.sampling import models
    from sharpening.llm.training.teaching import Teaching
    from sharpening.llm.training.warm_start import WarmStart

    kind: type[WarmStart] | type[Teaching] = WarmStart
    about: dict[str, Any] = {"command": "warm-start"}
    merged: dict[str, Any] = {**PRESETS[options.preset], "seed": options.seed}
    if options.model is not None:
        kind, about["model"] = Teaching, models.identity(options.model)
        merged = {"problems": TAUGHT, "text_format": options.text_format, "seed": options.seed}
    merged["problems"] = dict(merged["problems"])
    for text in options.set:
        name, equals, value = text.partition("=")
        head, _, tail = name.partition(".")
        if not equals:
            raise ValueError(f"--set: {text!r}: want NAME=VALUE, e.g. steps=200")
        if head == "problems" and tail:
            merged["problems"][tail] = value
        else:
            merged[name] = value
    try:
        return {**about, **kind(**merged).model_dump(mode="json")}
    except ValidationError as error:
        first = error.errors()[0]
        name, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
        if first["type"] == "value_error":  # about several fields: the message names them
            raise ValueError(f"--set: {'problems.' * (name == 'problems')}{message}") from None
        known = kind.model_fields if len(first["loc"]) == 1 else Settings.model_fields
        wanted = f": want one of {', '.join(known)}" if first["type"] == "extra_forbidden" else ""
        raise ValueError(f"--set: {name}: {first['input']!r}: {message}{wanted}") from None


def _trained(config: dict[str, Any], out: str) -> Path:
    from sharpening.llm.training import warm_start as tiny

    clock = store.Clock()
    settings = tiny.WarmStart(**{key: value for key, value in config.items() if key != "command"})
    lm = tiny.make_model(settings)
    rows = []
    with tqdm(total=settings.steps, unit=" steps", disable=None, leave=False) as bar:
        for row in tiny.train(lm, settings):
            bar.update(int(row["step"]) - bar.n)
            rows.append(row)
    return store.write_run("llm", config, rows, clock=clock, artefacts=_files(lm), root=out)


def _taught(name: str, config: dict[str, Any], out: str) -> Path:
    """Teaches a pretrained model, from the last checkpoint of a run that was stopped; the checkpoints then go."""
    from sharpening.llm.sampling import models
    from sharpening.llm.training import folder_lock, teaching

    clock = store.Clock()
    settings = teaching.Teaching(**{key: value for key, value in config.items() if key not in ("command", "model")})
    if settings.dtype == "bfloat16" and not models.has_bfloat16():
        print("note: dtype=bfloat16: this processor does not have it: float32 is faster here", file=sys.stderr)
    folder = Path(out) / "llm" / f".teaching-{store.run_id('llm', config)}"
    store.make_folder(folder)
    with folder_lock.alone_in(folder), tqdm(total=settings.steps, unit=" steps", disable=None, leave=False) as bar:
        lm = models.load(name)
        model = teaching.prepared(lm, settings)
        rows, said = [], time.monotonic()
        for row in teaching.train(lm, model, settings, folder):
            bar.update(int(row["step"]) - bar.n)
            bar.set_postfix_str(f"loss {row['loss']:.3f}")
            rows.append(row)
            if not sys.stderr.isatty() and time.monotonic() - said >= SECONDS:
                said = time.monotonic()
                print(f"step {row['step']} of {settings.steps}: loss {row['loss']:.3f} nats a token", flush=True)
        made = lm._replace(model=teaching.finished(model, settings))
        run = store.write_run("llm", config, rows, clock=clock, artefacts=_files(made), root=out)
        shutil.rmtree(folder)
    return run


def _files(lm: LanguageModel) -> dict[str, bytes]:
    """The files that save_pretrained writes, as artefacts."""
    with tempfile.TemporaryDirectory() as folder:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
        for path in Path(folder).glob("README.md"):  # peft's, of a hub's model
            path.unlink()
        return {f"model/{path.name}": path.read_bytes() for path in sorted(Path(folder).iterdir())}


COMMAND = (WarmStartOptions, warm_start)
