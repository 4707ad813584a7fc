"""How fast the bandit simulator is, beside plain references in the same file and run.

python -m benchmarks.bandits [--figure FOLDER] [--quick]: from the root of the clone; some minutes on a quiet machine.

Times are CPU seconds of one thread. Reference and simulator take turns, round by round; a time is the mean of the
rounds' medians. The references are also the oracles of tests/test_drawing.py.
"""

from __future__ import annotations

import argparse
import gc
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sharpening.bandits import simulator
from sharpening.bandits.rollouts import Setup
from sharpening.bandits.specification import Specification
from sharpening.bandits.state import initial_state
from sharpening.figures import render
from sharpening.figures.drawing import benchmarks as benchmark_figures
from sharpening.storage.store import write_run
from sharpening.theory import policies
from sharpening.theory.methods import calls
from sharpening.theory.policies import Floats

Row = dict[str, Any]
Times = dict[str, list[list[float]]]  # seconds: who, rounds, calls
FAR_APART = 10**7
BATCHED: dict[str, Any] = {
    "instance": "solutions",
    "instance_parameters": {"num_correct": 8, "num_wrong": 12},
    "method": "grpo",
    "group_size": 8,
    "learning_rate": 0.05,
    "record_every": FAR_APART,
}
LARGE: dict[str, Any] = {
    "instance": "categorical_128k",
    "method": "dr_grpo",
    "optimizer": "adam",
    "learning_rate": 1e-2,
    "num_runs": 2,
    "record_every": FAR_APART,
}


@dataclass
class Plain:
    """One run of a single prompt in plain NumPy: fresh arrays, dense updates, a search over all cumulative sums."""

    setup: Setup
    logits: Floats = field(init=False)
    first: Floats = field(init=False)
    second: Floats = field(init=False)
    num_updates: int = 0

    def __post_init__(self) -> None:
        """Start at the base policy."""
        self.logits = self.setup.bandit.base_log_policy
        self.first = self.second = np.zeros_like(self.logits)

    def step(self, uniforms: Floats | None, drawn: Any = None) -> None:
        """One group and one update: arms from uniforms (group_size,), or those given."""
        log_policy = policies.log_softmax(self.logits)
        policy, num_arms = np.exp(log_policy), log_policy.size
        arms = drawn
        if uniforms is not None:
            cumulative = np.cumsum(policy)
            found = np.searchsorted(cumulative, uniforms * cumulative[-1], side="right")
            arms = np.minimum(found, num_arms - 1)
        advantage = self.advantage(log_policy, arms)
        pushed = np.bincount(arms, weights=advantage, minlength=num_arms)
        climb = (pushed - policy * pushed.sum()) / arms.size
        self.num_updates += 1
        if self.setup.optimizer == "sgd":
            self.logits = self.logits + self.setup.learning_rate * climb
            return
        self.first = 0.9 * self.first + 0.1 * climb
        self.second = 0.999 * self.second + 0.001 * climb**2
        unbiased = self.first / (1 - 0.9**self.num_updates)
        scale = np.sqrt(self.second / (1 - 0.999**self.num_updates)) + 1e-8
        self.logits = self.logits + self.setup.learning_rate * unbiased / scale

    def advantage(self, log_policy: Floats, arms: Any) -> Floats:
        """Through the table of methods, as the simulator's."""
        correct = self.setup.bandit.problem.correct[arms]
        inputs = {"reward": correct, "correct": correct}
        for name in calls.needs(self.setup.method, self.setup.parameters):
            if name == "log_prob":
                inputs[name] = log_policy[arms]
        grouped = {name: values[None, :] for name, values in inputs.items()}
        return np.array(calls.group_advantages(self.setup.method, grouped, self.setup.parameters)[0])


def plain_runs(specification: Specification, runs: Sequence[int]) -> Floats:
    """The log-policies at the end of the runs, one run and one step after the other.

    Shapes:   returns (num_runs, num_arms), nats.
    """
    setup, ends = simulator.setup_of(specification), []
    for stream in simulator.run_streams(specification.seed, runs):
        plain = Plain(setup)
        for _ in range(specification.num_steps):
            plain.step(stream.random(specification.group_size))
        ends.append(policies.log_softmax(plain.logits))
    return np.stack(ends)


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def batched(is_quick: bool) -> Iterator[Row]:
    """256 runs x 20 arms x group 8 x 3,000 steps; the plain loop makes 2 runs of 300 steps and is scaled."""
    num_steps = 300 if is_quick else 3000
    specification = Specification(**BATCHED, num_runs=256, num_steps=num_steps)
    short = specification.model_copy(update={"num_steps": 300})
    times: Times = {"simulator": [], "plain": []}
    for _ in range(3 if is_quick else 5):
        times["simulator"].append([seconds(lambda: list(simulator.run(specification)))])
        times["plain"].append([seconds(lambda: plain_runs(short, [0, 1])) * 128 * num_steps / 300])
    yield _row("256 runs, 20 arms, group 8", num_steps, times)


def large(group_size: int, num_rounds: int, steps: tuple[int, int], is_tied: bool = True) -> Iterator[Row]:
    """A run of `categorical_128k` with Adam, from the start on: milliseconds a step, in turns with the plain step."""
    specification = Specification(**LARGE, group_size=group_size, num_steps=1)
    setup = simulator.setup_of(specification)
    tied = simulator.ties_of(setup) if is_tied else None
    state, plain = initial_state(setup.bandit.base_log_policy, 1, tied), Plain(setup)
    rng = np.random.default_rng(0)
    times: Times = {"simulator": [], "plain": []}

    def once(uniforms: Floats, who: str) -> float:
        if who == "plain":
            return seconds(lambda: plain.step(uniforms))
        return seconds(lambda: simulator.advance(state, setup, uniforms[None, :]))

    for _ in range(num_rounds):
        for who, num_steps in zip(times, steps, strict=True):
            times[who].append([once(rng.random(group_size), who) for _ in range(num_steps)])
    name = f"categorical_128k, group {group_size:,}" + ("" if is_tied else ", ties not used")
    yield _row(name, num_rounds * steps[0], times)


def _row(name: str, num_steps: int, times: Times) -> Row:
    """Milliseconds: the mean over rounds of their medians, and the least of all."""
    typical = {who: float(np.mean([np.median(times_of) for times_of in rounds])) * 1e3 for who, rounds in times.items()}
    least = {who: min(map(min, rounds)) * 1e3 for who, rounds in times.items()}
    return {
        "benchmark": name,
        "num_steps": num_steps,
        **{f"{who}_ms": value for who, value in typical.items()},
        **{f"{who}_least_ms": value for who, value in least.items()},
        "ratio": typical["plain"] / typical["simulator"],
    }


def floor_ms() -> float:
    """One exponential and one more pass over 128,000 numbers, in place, milliseconds."""
    logits, weights = np.linspace(-10, 0, 128_000), np.empty(128_000)

    def passes() -> None:
        np.exp(logits, out=weights)
        np.add(logits, weights, out=weights)

    return float(np.median([seconds(passes) for _ in range(200)])) * 1e3


def peak_mb(group_size: int, num_steps: int = 20) -> float:
    """The most memory that a run of `categorical_128k` holds, megabytes."""
    specification = Specification(**LARGE, group_size=group_size, num_steps=num_steps)
    gc.collect()
    tracemalloc.start()
    list(simulator.run(specification, [0]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def growth(is_quick: bool) -> Iterator[Row]:
    """Milliseconds a step against the number of arms (group 256), and against the group size (100,000 arms)."""
    most_arms, most_draws = (4, 3) if is_quick else (6, 5)
    sizes = [(10**power, 256) for power in range(2, most_arms + 1)]
    sizes += [(100_000, draws) for draws in (2, 8, 32, *(10**power for power in range(2, most_draws + 1)))]
    for place, (num_arms, group_size) in enumerate(sizes):
        over = "arms" if place <= most_arms - 2 else "group size"
        for who, shape in (("tied", "categorical_128k"), ("untied", "solutions"), ("plain", "solutions")):
            ms = _step_ms(who == "plain", _growing(shape, num_arms, group_size))
            yield {"over": over, "num_arms": num_arms, "group_size": group_size, "who": who, "ms": ms}


def _growing(instance: str, num_arms: int, group_size: int) -> Specification:
    few = num_arms // 10
    parameters = {"num_correct": few, "num_wrong": num_arms - few}
    if instance == "categorical_128k":
        parameters = {"num_arms": num_arms, "num_correct": few}
    changed = {"instance": instance, "instance_parameters": parameters, "group_size": group_size, "num_steps": 1}
    return Specification.model_validate({**LARGE, **changed})


def _step_ms(is_plain: bool, specification: Specification) -> float:
    """The median of 20 steps after 5, fewer where they are slow."""
    setup = simulator.setup_of(specification)
    rng = np.random.default_rng(0)
    plain = Plain(setup)
    state = initial_state(setup.bandit.base_log_policy, 1, simulator.ties_of(setup))
    times: list[float] = []
    while len(times) < 25 and (len(times) < 8 or sum(times) < 2):
        uniforms = rng.random(specification.group_size)
        work = (lambda u=uniforms: plain.step(u)) if is_plain else None
        times.append(seconds(work or (lambda u=uniforms: simulator.advance(state, setup, u[None, :]))))
    return float(np.median(times[5:])) * 1e3


def main() -> None:
    """Measures, prints and, if asked, stores rows and figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--figure", help="results folder that gets the rows and the figure of the growth")
    parser.add_argument("--quick", action="store_true", help="fewer steps and sizes: a look, not a measurement")
    options = parser.parse_args()
    np.empty(simulator.DRAWN_AT_ONCE)  # the C library keeps freed memory after this, as in a run after its first draws
    rounds = 2 if options.quick else 10
    rows = [
        *batched(options.quick),
        *large(256, rounds, (100, 15)),
        *large(256, rounds // 2, (20, 15), is_tied=False),
        *large(131_072, rounds // 2, (10, 5)),
    ]
    for row in rows:
        print(
            f"{row['benchmark']:50} plain {row['plain_ms']:10.2f} ms (least {row['plain_least_ms']:.2f})  "
            f"simulator {row['simulator_ms']:8.2f} ms (least {row['simulator_least_ms']:.2f})  ratio {row['ratio']:.1f}"
        )
    floor = floor_ms()
    times = rows[1]["simulator_ms"] / floor
    print(f"one exp and one pass over 128,000 arms: {floor:.2f} ms; a step at group 256 takes {times:.1f} times that")
    print(f"peak memory of a run: {peak_mb(256):.0f} MB at group 256, {peak_mb(131_072):.0f} MB at group 131,072")
    grown = list(growth(options.quick))
    for row in grown:
        size = f"{row['num_arms']:9,} arms, group {row['group_size']:7,}"
        print(f"{row['over']:10} {size}  {row['who']:6} {row['ms']:9.3f} ms")
    if options.figure:
        caption = benchmark_figures.GROWTH_CAPTION
        files = render.render("growth", lambda: benchmark_figures.draw_growth(grown), caption)
        config = {"command": "benchmark", "name": "growth", "quick": options.quick}
        run = write_run("bandits", config, grown, artefacts=files, root=Path(options.figure), overwrite=True)
        print(f"rows and figure: {run}")


if __name__ == "__main__":
    main()
