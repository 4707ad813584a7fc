"""Time of `samples` on public counts of 1,060 problems x 128, beside passk-inference, which answers the same question.

    python benchmarks/passk_inference.py [--rounds 9]

Each is a command in an environment of its own, with its defaults and no figure, in turns; the other package is
installed into a temporary one. Medians of seconds and of the ratios of the rounds, by the clock and by the processor.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FILES = [ROOT / "examples" / "public" / f"deepscaler_1.5b_{name}.csv" for name in ("base", "rl")]


def commands(folder: Path) -> dict[str, list[str]]:
    """Both commands, after the other package and its files are in the folder."""
    subprocess.run([sys.executable, "-m", "venv", folder / "environment"], check=True)
    python = str(folder / "environment" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "passk-inference==0.3.1"], check=True)
    for path in FILES:
        with path.open(newline="") as stream:
            lines = [{"id": row["problem"], "n": int(row["n"]), "c": int(row["c"])} for row in csv.DictReader(stream)]
        (folder / f"{path.stem}.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    base, other = (str(folder / f"{path.stem}.jsonl") for path in FILES)
    ours = [sys.executable, str(ROOT / "paper_repro.py"), "samples", *map(str, FILES), "--no-figure"]
    return {
        "passk-inference": [python, "-m", "passk_inference", "--base", base, "--rl", other],
        "samples": [*ours, "--out", str(folder / "results")],
    }


def seconds(command: Sequence[str]) -> tuple[float, float]:
    """By the clock, and by the processor."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        both = commands(Path(folder))
        for command in both.values():
            seconds(command)  # compiles and fills caches
        found = np.array([[seconds(command) for command in both.values()] for _ in range(rounds)])
    for name, (clock, processor) in zip(both, np.median(found, axis=0), strict=True):
        print(f"{name:<16}{clock:7.2f} s by the clock{processor:7.2f} s by the processor")
    ratio = found[:, 1] / found[:, 0]
    ends = zip(np.median(ratio, axis=0), ratio.min(axis=0), ratio.max(axis=0), strict=True)
    clock, processor = (f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in ends)
    print(f"ratio: {clock} by the clock, {processor} by the processor; {rounds} rounds")


if __name__ == "__main__":
    main()
