"""Runs of a committed study, drawn by lot, made again: are their rows the same to the last bit?

    PYTHONPATH=. python -m benchmarks.study_again abc63a01ddeb [--number 3] [--seed 0]

In a clone, on the kind of processor that the study was made on: on another one a run is another, as with another seed.
Runs of tuning, of the comparison and of the other methods are drawn, but for the first ones of `--preset full`, which
were made on another kind than all later ones. Exit status 1 where a row differs.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from sharpening.commands import study, warm_start
from sharpening.commands.results import described
from sharpening.llm.studies import protocol, runs, stages
from sharpening.llm.studies.protocol import Candidate
from sharpening.storage import store

STORE = "results/reference"
LABELS = ("stage", "contestant", "strength", "learning_rate", "warm_start", "seed")
FIRST_MADE = {  # contestants of the full study by stage, from its first warm start
    "tuning": ("plain", "plain gentler", "ds", "rarity_maxrl"),
    "comparison": ("plain", "rarity_maxrl"),
    "others": (),
}
Key = tuple[Any, ...]


def is_first_made(key: Key) -> bool:
    """Whether a run of the full study is one of the first, all but one of which another kind of processor made."""
    stage, contestant, _, _, warm_start, _ = key
    return contestant in FIRST_MADE[stage] and warm_start == 0


def task_of(made: stages.Runs, key: Key) -> runs.StudyRun:
    """The run with these labels."""
    stage, contestant, strength, rate, _, seed = key
    if stage == "others":
        return next(one.task for one in made.others(rate) if (one.contestant, one.task.seed) == (contestant, seed))
    one = next(each for each in made.protocol.contestants if each.name == contestant)
    candidate = Candidate(strength, rate)
    if stage == "tuning":
        return next(made.tuning(one, [candidate], [seed])).task
    return made.comparison([(one, candidate)])[seed - stages.FIRST_FRESH].task


def main() -> int:
    """Draws, trains, compares; 1 if a row differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="id of the study's table of runs")
    parser.add_argument("--number", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of the lot")
    given = parser.parse_args()
    path = Path(STORE) / "llm" / given.run
    config = described(path)["config"]
    plan = protocol.PROTOCOLS[config["preset"]]
    found: dict[Key, list[dict[str, Any]]] = {}
    rows = [row for row in store.read_rows(path / "rows.csv") if row["stage"] != "setting"]
    for key, own in itertools.groupby(rows, lambda row: tuple(row[name] for name in LABELS)):
        found[key] = [{name: row[name] for name in ("quantity", "step", "at", "value")} for row in own]
    model_of = {
        seed: str(warm_start.model_of(plan.preset, STORE, seed=seed, stores=(STORE,))) for seed in plan.warm_starts
    }
    made = stages.Runs(plan, {int(seed): name for seed, name in config["weights"].items()})
    keys = [key for key in found if config["preset"] != "full" or not is_first_made(key)]
    print(f"{given.number} of {len(keys)} runs; the first {len(found) - len(keys)} are left out")
    num_other = 0
    for place in np.random.default_rng(given.seed).choice(len(keys), given.number, replace=False).tolist():
        with tempfile.TemporaryDirectory() as adapters:
            again = study.rows_of(model_of, Path(adapters), task_of(made, keys[place]))
        is_same = [{**row, "at": float(row["at"])} for row in again] == found[keys[place]]
        num_other += not is_same
        print(f"{'same' if is_same else 'OTHER'}: {dict(zip(LABELS, keys[place], strict=True))}", flush=True)
    return int(num_other > 0)


if __name__ == "__main__":
    sys.exit(main())
