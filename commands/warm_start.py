"""`warm-start`: a small language model of one's own, taught Countdown from scratch."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError
from tqdm import tqdm

import store
from commands import files, language_models
from commands.options import NonEmpty, Options

if TYPE_CHECKING:
    from llm.models import LanguageModel

PRESETS: Mapping[str, Mapping[str, Any]] = {  # seconds on two cores in the description below
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


class WarmStartOptions(Options):
    """Train a small language model on Countdown, so that there is a base policy to audit and to train on."""

    preset: Literal["smoke", "laptop"] = Field("laptop", description="smoke or laptop, see README")
    set: tuple[NonEmpty, ...] = Field(
        (), description="fields of the configuration, e.g. steps=200 problems.num_numbers=3"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of weights, problems and batches")
    folder: NonEmpty | None = Field(
        None, description="also copy the model to this folder, new or with that model in it"
    )
    out: NonEmpty = Field("results", description="folder of the result store")


def warm_start(options: WarmStartOptions) -> int:
    """Trains the model, or finds it in the store; prints where it is and how it did."""
    language_models.need_torch()
    config = _configuration(options)
    files.refuse_as_folder("out", options.out)
    if options.folder is not None:
        files.refuse_as_folder("folder", options.folder)
    run = Path(options.out) / "llm" / store.run_id("llm", config)
    if store.verify_run(run):
        run = _trained(config, options.out)
    model = run / "model"
    for row in store.read_rows(run / "rows.csv")[-1:]:
        print(f"loss {row['loss']:.3f} nats a token after {row['step']} steps")
    if options.folder is not None:
        _copy(model, Path(options.folder))
    print(f"model: {options.folder or model}")
    return 0


def _copy(model: Path, folder: Path) -> None:
    """The model's files in the folder, which must be new or hold the same ones."""
    if not folder.exists():
        shutil.copytree(model, folder)
    differing = [
        path.name
        for path in model.iterdir()
        if not (folder / path.name).is_file() or (folder / path.name).read_bytes() != path.read_bytes()
    ]
    if differing:
        raise ValueError(f"--folder: {str(folder)!r}: another {differing[0]} is there: want a new folder")


def _configuration(options: WarmStartOptions) -> dict[str, Any]:
    """The stored configuration: the preset with what --set says, checked."""
    from llm.tiny import WarmStart

    merged = {**PRESETS[options.preset], "seed": options.seed}
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
        return {"command": "warm-start", **WarmStart(**merged).model_dump(mode="json")}
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "problems"
        raise ValueError(f"--set: {field}: {first['input']!r}: {first['msg'].removeprefix('Value error, ')}") from None


def _trained(config: dict[str, Any], out: str) -> Path:
    from llm import tiny

    clock = store.Clock()
    settings = tiny.WarmStart(**{key: value for key, value in config.items() if key != "command"})
    lm = tiny.make_model(settings)
    rows = []
    with tqdm(total=settings.steps, unit=" steps", disable=None, leave=False) as bar:
        for row in tiny.train(lm, settings):
            bar.update(int(row["step"]) - bar.n)
            rows.append(row)
    return store.write_run("llm", config, rows, clock=clock, artefacts=_files(lm), root=out)


def _files(lm: LanguageModel) -> dict[str, bytes]:
    """The files that save_pretrained writes, as artefacts."""
    with tempfile.TemporaryDirectory() as folder:
        lm.model.save_pretrained(folder)
        lm.tokenizer.save_pretrained(folder)
        return {f"model/{path.name}": path.read_bytes() for path in sorted(Path(folder).iterdir())}


COMMAND = (WarmStartOptions, warm_start)
