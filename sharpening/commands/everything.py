"""`all`: every layer in order, each by its own command, then the report of what they stored.

A step is not run again if the store has every run of it, whole, of today's code, made by the same command after what it
reads was last changed. A step that fails does not stop the others.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import Field

import sharpening
from sharpening.bandits import experiments
from sharpening.bandits.experiments.surveys import Survey
from sharpening.commands import report, results
from sharpening.commands.figures import FIGURES
from sharpening.commands.options import NonEmpty, Options
from sharpening.figures.report import account
from sharpening.storage import files, store

CLONE = Path(sharpening.__file__).parents[1]
ANSWERS, BANDIT, PUBLIC = "examples/countdown_answers.csv", "examples/bandit.json", "examples/public"
COUNTS = (f"{PUBLIC}/deepscaler_1.5b_base.csv", f"{PUBLIC}/deepscaler_1.5b_rl.csv")
TRAINING_RATES = f"{PUBLIC}/training_rates_qwen2.5_math_1.5b_grpo.csv.gz"
CURVES = f"{PUBLIC}/pass_at_k_qwen2.5_simplerl.csv"


@dataclass(frozen=True)
class Step:
    """A command with its words; what it reads and leaves beside the store, and the tables or figures it stores."""

    words: tuple[str, ...]
    reads: tuple[str, ...] = ()
    leaves: tuple[str, ...] = ()
    stores: tuple[str, ...] = ("",)
    needs_torch: bool = False


def _trained(preset: str, name: str, *words: str) -> Step:
    """A training of the preset's model in a folder of that name."""
    folder = f"runs/{name}"
    return Step(
        ("llm", preset, *words, "--folder", folder), (f"models/{preset}",), (f"{folder}/model",), needs_torch=True
    )


def _audited(preset: str, *names: str) -> Step:
    """The audit of the preset's model and of those trained from it."""
    folders = (f"models/{preset}", *(f"runs/{name}/model" for name in names))
    return Step(("audit", "--model", *folders), folders, needs_torch=True)


def _bandits(preset: str) -> Step:
    surveys = (entry.id for entry in experiments.select(()) if isinstance(entry, Survey))
    return Step(("bandits", "--preset", preset), stores=("findings", *surveys))


def _taught(preset: str) -> Step:
    folder = f"models/{preset}"
    return Step(("warm-start", "--preset", preset, "--folder", folder), leaves=(folder,), needs_torch=True)


def _studied(preset: str) -> Step:
    stores = ("runs", "summary", "outcomes", "predictions")
    return Step(("study", "--preset", preset), stores=stores, needs_torch=True)


THEORY = (
    Step(("check",)),
    Step(("predict", ANSWERS), (ANSWERS,)),
    Step(("check-shaper", "--all")),
    Step(("simulate", BANDIT), (BANDIT,), ("simulation/summary.json",), stores=()),
    Step(("figures",), stores=tuple(FIGURES)),
)
PUBLIC_MODELS = (
    Step(("samples", *COUNTS), COUNTS),
    Step(("rates", *COUNTS, "--part", "source"), COUNTS),
    Step(("rates", "--training", TRAINING_RATES), (TRAINING_RATES,)),
    Step(("rates", "--curves", CURVES), (CURVES,)),
)
LAPTOP = (
    _taught("laptop"),
    _trained("laptop", "plain_rl", "--method", "dr_grpo"),
    _trained("laptop", "ds"),
    _audited("laptop", "plain_rl", "ds"),
)
SEEDS = tuple(
    _trained("laptop", f"{name}_{seed}", *method, "--seed", str(seed))
    for seed in (1, 2)
    for name, method in (("plain_rl", ("--method", "dr_grpo")), ("ds", ()))
)
PRESETS: Mapping[str, tuple[Step, ...]] = {
    "smoke": (
        *THEORY,
        _bandits("smoke"),
        _taught("smoke"),
        _trained("smoke", "smoke_grpo", "--method", "grpo"),
        _trained("smoke", "smoke_ds", "--method", "ds", "--set", "parameters.gamma_correct=0.1"),
        _audited("smoke", "smoke_grpo", "smoke_ds"),
        _studied("smoke"),
    ),
    "laptop": (*THEORY, _bandits("laptop"), *PUBLIC_MODELS, *LAPTOP),
    "full": (*THEORY, _bandits("full"), *PUBLIC_MODELS, *LAPTOP, *SEEDS, _studied("full")),
}


class AllOptions(Options):
    """Run every layer in order, go on where one fails, and end with the report; what is stored is not run again."""

    preset: Literal["smoke", "laptop", "full"] = Field(
        "laptop", description="how much to compute: smoke (minutes), laptop (hours) or full (a day)"
    )
    core: bool = Field(False, description="only what needs no torch, and no report")
    to: NonEmpty = Field("report.html", description="the HTML file to write")
    out: NonEmpty = Field("results", description="folder of the result store")


def everything(options: AllOptions) -> int:
    """Runs what is not stored, says how each step ended, what differs, and where the report is; 1 if one failed."""
    for name in (ANSWERS, BANDIT, *COUNTS):
        if not Path(name).is_file():
            raise ValueError(f"all: {name} is not there: want to be called in the folder of a clone")
    files.refuse_as_folder("out", options.out)
    files.refuse_as_file("to", options.to)
    lines, failed = [], 0
    for step in PRESETS[options.preset]:
        if options.core and step.needs_torch:
            continue
        words = _words(step, options.out)
        started = time.monotonic()
        status = None if _is_stored(step, words, options.out) else _run(words)
        state = {None: "stored", 0: "ran"}.get(status, f"FAILED ({status})")
        failed += status not in (None, 0)
        lines.append(f"  {state:<11} {time.monotonic() - started:>6.0f} s  {' '.join(words)}")
    if not options.core:
        failed += _run(("report", "--to", options.to, "--out", options.out)) != 0
        lines += _differences(options)
    print("\n".join([f"\nALL, preset {options.preset}", *lines]))
    print(f"{failed} failed" if failed else "nothing failed")
    if not options.core:
        print(f"report: {options.to}")
    return 1 if failed else 0


def _words(step: Step, out: str) -> tuple[str, ...]:
    """The words of a step with the store that it writes to; a simulation is a folder beside the runs."""
    return (*step.words, "--out", f"{out}/simulation" if step.words[0] == "simulate" else out)


def _run(words: Sequence[str]) -> int:
    """Runs a command as a user does, in a process of its own; returns its exit status."""
    print(f"\n$ sharpening {' '.join(words)}", flush=True)
    paths = [str(CLONE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen([sys.executable, "-m", "sharpening", *words], env=environment) as process:
        try:
            return process.wait()
        finally:
            process.terminate()  # after Ctrl-C; one that has ended does not notice


def _is_stored(step: Step, words: Sequence[str], out: str) -> bool:
    """Whether all that a step makes is there, made by this command after the files that it reads."""
    left = [Path(out) / name if name.startswith("simulation/") else Path(name) for name in step.leaves]
    if not all(path.exists() for path in left):
        return False
    changed = max((_changed(Path(name)) for name in step.reads), default=0.0)
    if not step.stores:
        return min(map(_changed, left)) >= changed
    started: dict[str, float] = {}
    for path in store.list_runs(out):
        told = results.described(path)
        if told["state"] == "ok" and told["arguments"] == list(words):
            name = str(told["config"].get("table", told["config"].get("figure", "")))
            started[name] = datetime.fromisoformat(told["started"]).timestamp() + 1  # whole seconds were written
    return all(started.get(name, 0.0) > changed for name in step.stores)


def _changed(path: Path) -> float:
    """When a file, or the newest of a folder, was changed; infinity if it is not there."""
    times = [one.stat().st_mtime for one in (path.rglob("*") if path.is_dir() else [path]) if one.is_file()]
    return max(times, default=float("inf"))


def _differences(options: AllOptions) -> list[str]:
    """What differs, a line each, as the report has it."""
    found = account.differences(*report.both(options.out, report.REFERENCE))
    return [f"  differs: {one}" for one in found] or ["  nothing differs"]


COMMAND = (AllOptions, everything)
