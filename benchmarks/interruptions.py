"""Kills sweeps at random moments, resumes them, and compares every row with an undisturbed sweep.

python benchmarks/interruptions.py [NUM_KILLS]: from the root of the clone; 50 kills take some minutes.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
WORDS = ["bandits", "--only", "reinforcement_bias", "universality", "natural_gradient", "--preset", "laptop"]
EARLIEST = 1.0  # seconds; before that only imports are interrupted


def contents(root: Path) -> dict[str, bytes]:
    """The bytes of all rows and configurations under a root, by path."""
    names = ("rows.csv", "config.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.*")) if path.name in names}


def start(out: Path) -> subprocess.Popen[bytes]:
    """The sweep, in a process group of its own."""
    command = [sys.executable, str(ROOT / "paper_repro.py"), *WORDS, "--jobs", "2", "--out", str(out)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def killed_round(out: Path, longest: float, rng: np.random.Generator, most: int) -> int:
    """Starts the sweep again and again, killing it at random moments, until it ends by itself; returns the kills."""
    for num_kills in range(most + 1):
        process = start(out)
        moment = rng.uniform(EARLIEST, longest) if num_kills < most else None
        try:
            if process.wait(moment) == 0:
                return num_kills
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    raise RuntimeError("the sweep failed without being killed")


def main() -> int:
    """Prints how many kills there were and how many sweeps came out with other bytes; 1 if any did."""
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    rng = np.random.default_rng(0)
    num_kills = num_rounds = num_different = 0
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        start(Path(folder) / "whole").wait()
        longest = time.monotonic() - begun
        whole = contents(Path(folder) / "whole")
        while num_kills < wanted:
            out = Path(folder) / f"round{num_rounds}"
            num_kills += killed_round(out, longest, rng, wanted - num_kills)
            num_rounds += 1
            num_different += contents(out) != whole
            print(f"{num_kills} kills, {num_rounds} sweeps finished, {num_different} with other rows", flush=True)
    return 1 if num_different else 0


if __name__ == "__main__":
    sys.exit(main())
