"""Seconds a step of a method in TRL's trainer, beside TRL's plain GRPOTrainer in the same process.

    python -m benchmarks.llm [--rounds 40] [--model F | --width 256 --layers 6] [--completions 64]
        [--tokens 24] [--case 1] [--bfloat16] [--lora-rank 8]

All train a model with random weights, or that of a folder, on Countdown, with the same options and completions of one
length, and take turns: two steps each, in an order that changes from round to round. `plain again` is a second
GRPOTrainer: how far its ratio is from 1 is the noise. `shared` is the method with `share_prompts`, `loop` plain RL by
hand in some lines of torch, with one update a batch. Cases: (1) terms of a completion alone, made inside
the loss, over four micro-batches; (2) terms over the group, made inside it, in one micro-batch; (3) terms over the
group over four micro-batches, which takes a pass of its own; (4) two updates, where TRL computes log-probabilities
outside the loss.

A step lasts from the end of the one before to its own end; times are CPU seconds of the process, on one thread, where
not called wall. Shares of a step are of CPU time; `update` is loss, backward pass and optimizer.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import queue
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from sharpening.llm.countdown import problems as countdown
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import adapters, models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import callbacks, run, trainer, warm_start
from sharpening.llm.training.shared_prompts import SharedPrompts

Times = dict[str, float]  # seconds by section of a step, and by the clock on the wall
SECTIONS = {
    "rollout": "_generate",
    "scoring": "_calculate_rewards",
    "log-probs": "_get_per_token_logps_and_entropies",
    "update": "",
    "rest": "_prepare_inputs",
}


class Case(NamedTuple):
    """A method and how it trains."""

    method: str
    num_updates: int
    accumulation: int


CASES = (Case("ds", 1, 4), Case("ds_reward", 1, 1), Case("ds_reward", 1, 4), Case("ds", 2, 1))
GROUP_SIZE = 8
STEPS_AT_ONCE = 2  # one batch of completions in the second case
NUM_PROMPTS = 64
SETTINGS = countdown.Settings(num_numbers=4, largest_number=50, max_target=100, operators="+-*/")


class Runner:
    """A trainer in a thread of its own that makes steps when asked, and says how long their sections took."""

    def __init__(self, trained: Any, pool: ThreadPoolExecutor) -> None:
        """Makes the first steps, which are not measured."""
        self._trained = trained
        self._asked: queue.Queue[int] = queue.Queue()
        self._answered: queue.Queue[list[Times]] = queue.Queue()
        self._made: list[Times] = []
        self._wanted = STEPS_AT_ONCE
        self._start()
        for section, method in SECTIONS.items():
            if method:
                self._time(method, section)
        trained.remove_callback(PrinterCallback)
        trained.add_callback(callbacks.on_step(self._end_step))
        self._end = pool.submit(self._train)
        self._end.add_done_callback(lambda _: self._answered.put([]))
        self._answer()

    def steps(self) -> list[Times]:
        """The times of the next steps."""
        self._asked.put(STEPS_AT_ONCE)
        return self._answer()

    def stop(self) -> None:
        """Ends the training."""
        self._asked.put(0)
        self._end.result()

    def _answer(self) -> list[Times]:
        answer = self._answered.get()
        if self._end.done():
            self._end.result()
        return answer

    def _train(self) -> None:
        torch.set_num_threads(1)
        self._trained.train()

    def _start(self) -> None:
        self._times = dict.fromkeys(SECTIONS, 0.0)
        self._section, self._since, self._wall = "rest", time.process_time(), time.perf_counter()

    def _enter(self, section: str) -> None:
        now = time.process_time()
        self._times[self._section] += now - self._since
        self._section, self._since = section, now

    def _time(self, method: str, section: str) -> None:
        """Counts what a method of the trainer does as a section; what it does inside a loss stays with the update."""
        inner: Callable[..., Any] = getattr(self._trained, method)

        @functools.wraps(inner)
        def outer(*args: Any, **given: Any) -> Any:
            before = self._section
            if before == "update":
                return inner(*args, **given)
            self._enter(section)
            found = inner(*args, **given)
            self._enter("update" if section == "rest" else before)
            return found

        setattr(self._trained, method, outer)

    def _end_step(self, _: int) -> None:
        self._enter("rest")
        self._made.append({**self._times, "wall": time.perf_counter() - self._wall})
        if len(self._made) == self._wanted:
            self._answered.put(self._made)
            self._made, self._wanted = [], self._asked.get()
            self._trained.control.should_training_stop = not self._wanted
        self._start()


def opened(given: argparse.Namespace) -> LanguageModel:
    """The model of the folder, or one with random weights of the size asked for."""
    if given.model:
        return models.load(given.model, device="cpu")
    return warm_start.make_model(warm_start.WarmStart(width=given.width, layers=given.layers, problems=SETTINGS))


class Loop:
    """REINFORCE less the group's mean, by hand: what a step takes without a trainer."""

    def __init__(self, given: argparse.Namespace) -> None:
        """Takes the options of the benchmark."""
        self._lm, self._task, self._given, self._place = opened(given), opened_task(), given, 0
        self._model = adapters.added(self._lm.model, given.lora_rank, 0) if given.lora_rank else self._lm.model
        weights = [one for one in self._model.parameters() if one.requires_grad]
        self._optimizer = torch.optim.AdamW(weights, lr=1e-6)
        self.steps()

    def steps(self) -> list[Times]:
        """The times of the next steps."""
        return [self._step() for _ in range(STEPS_AT_ONCE)]

    def stop(self) -> None:
        """Nothing goes on between steps."""

    def _step(self) -> Times:
        size, number = self._given.tokens, self._given.completions // GROUP_SIZE
        wall, ticks = time.perf_counter(), [time.process_time()]
        asked = [(self._place + one) % NUM_PROMPTS for one in range(number) for _ in range(GROUP_SIZE)]
        self._place += number
        inputs = self._lm.tokenizer(
            [self._task.prompts[place].text for place in asked], return_tensors="pt", padding=True, padding_side="left"
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=self._given.bfloat16):
            with torch.no_grad():
                ids: Any = self._model.generate(
                    input_ids=inputs["input_ids"],
                    attention_mask=inputs["attention_mask"],
                    min_new_tokens=size,
                    max_new_tokens=size,
                )
            ticks.append(time.process_time())
            texts = self._lm.tokenizer.batch_decode(ids[:, -size:], skip_special_tokens=True)
            marks = self._task.marks(asked, texts, [True] * len(asked))
            correct = torch.tensor([mark.correct for mark in marks]).view(-1, GROUP_SIZE)
            advantage = (correct - correct.mean(1, keepdim=True)).view(-1, 1)
            ticks.append(time.process_time())
            mask = torch.cat([inputs["attention_mask"], torch.ones(len(asked), size, dtype=torch.long)], dim=1)
            logits = self._model(input_ids=ids, attention_mask=mask, logits_to_keep=size + 1).logits[:, :-1]
            log_prob = logits.float().log_softmax(-1).gather(2, ids[:, -size:, None])[..., 0]
            loss = -(advantage * log_prob).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        ticks.append(time.process_time())
        rollout, scoring, update = np.diff(ticks).tolist()
        none = dict.fromkeys(SECTIONS, 0.0)
        return none | {"rollout": rollout, "scoring": scoring, "update": update, "wall": time.perf_counter() - wall}


def opened_task() -> CountdownTask:
    """Countdown problems, the same for all."""
    problems = countdown.distinct(SETTINGS, np.random.default_rng(0), NUM_PROMPTS)
    return CountdownTask(problems, operators=SETTINGS.operators)


def make_trainer(case: Case, given: argparse.Namespace, folder: str, name: str) -> Any:
    """A trainer of the case's method, which may share prompts, or TRL's own; options and model are the same."""
    lm, task = opened(given), opened_task()
    options = GRPOConfig(
        output_dir=folder,
        per_device_train_batch_size=given.completions // case.accumulation,
        gradient_accumulation_steps=case.accumulation,
        num_generations=GROUP_SIZE,
        num_iterations=case.num_updates,
        max_completion_length=given.tokens,
        generation_kwargs={"min_new_tokens": given.tokens},
        max_steps=10**6,  # more than are asked for
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        top_k=0,
        bf16=given.bfloat16,
        gradient_checkpointing=False,
        use_cpu=True,
        save_strategy="no",
        logging_steps=1,
        report_to="none",
        disable_tqdm=True,
        **trainer.grpo_options(case.method),
    )
    base = SharedPrompts if name == "shared" else GRPOTrainer
    if not name.startswith("plain"):
        base = trainer.with_method(base, case.method)
    return base(
        model=lm.model,
        reward_funcs=run.reward_functions(task, 0.0, {}, set(lm.model.generation_config.eos_token_id)),
        args=options,
        train_dataset=run.dataset(task, lm.tokenizer),
        processing_class=lm.tokenizer,
        peft_config=adapters.lora(given.lora_rank) if given.lora_rank else None,
    )


def measured(case: Case, given: argparse.Namespace) -> tuple[dict[str, list[Times]], list[float]]:
    """The mean times of a step, of each trainer in each round, and the machine's load in each round."""
    names = [case.method, "shared", "plain", "plain again", "loop"]
    found: dict[str, list[Times]] = {name: [] for name in names}
    loads: list[float] = []
    runners: dict[str, Runner | Loop] = {}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        pool = stack.enter_context(ThreadPoolExecutor(len(names)))
        for name in names:
            is_loop = name == "loop"
            runners[name] = Loop(given) if is_loop else Runner(make_trainer(case, given, folder, name), pool)
            stack.callback(runners[name].stop)
        for number in range(given.rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                steps = runners[name].steps()
                found[name].append({key: float(np.mean([step[key] for step in steps])) for key in steps[0]})
            loads.append(os.getloadavg()[0])
    return found, loads


def table(found: dict[str, list[Times]]) -> str:
    """Medians over rounds of times and shares, and smallest, median and largest ratio to plain, one trainer a line."""
    parts = "".join(f"{name:>10}" for name in SECTIONS)
    ratios = "  least median   most" * 2
    lines = [
        f"{'seconds a step':>27}  {'shares of CPU time, %':50}  {'ratio of CPU time':20}  of wall time",
        f"{'CPU':>20}{'wall':>7}  {parts}{ratios}",
    ]
    cpu = {name: np.array([[row[part] for part in SECTIONS] for row in rows]) for name, rows in found.items()}
    wall = {name: np.array([row["wall"] for row in rows]) for name, rows in found.items()}
    for name in found:
        total = cpu[name].sum(axis=1)
        shares = 100 * cpu[name].mean(axis=0) / total.mean()
        line = f"{name:12}{np.median(total):8.3f}{np.median(wall[name]):7.3f}  "
        line += "".join(f"{share:10.1f}" for share in shares)
        if name != "plain":
            for ratio in (total / cpu["plain"].sum(axis=1), wall[name] / wall["plain"]):
                line += "".join(f"{value:7.3f}" for value in (ratio.min(), np.median(ratio), ratio.max()))
        lines.append(line)
    return "\n".join(lines)


def main() -> None:
    """Measures the cases and prints a table of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each trainer in each case")
    parser.add_argument("--case", type=int, choices=range(1, len(CASES) + 1), help="one case; else all of them")
    parser.add_argument("--model", default="", help="folder of a model, instead of one with random weights")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument(
        "--completions", type=int, default=64, help=f"completions a step, a multiple of {4 * GROUP_SIZE}"
    )
    parser.add_argument("--tokens", type=int, default=24, help="tokens of every completion")
    parser.add_argument("--bfloat16", action="store_true", help="passes in bfloat16")
    parser.add_argument("--lora-rank", type=int, default=0, help="train adapters of this rank; 0: all weights")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")  # transformers' on its own options; what a method says of itself
    torch.set_num_threads(1)
    lm, what = opened(given), given.model or f"{given.layers} layers of {given.width}"
    print(
        f"{lm.model.num_parameters() / 1e6:.1f}M parameters ({what}, "
        f"{len(lm.tokenizer)} tokens), {given.completions} completions of {given.tokens} tokens a batch, groups of "
        f"{GROUP_SIZE}, {'bfloat16' if given.bfloat16 else 'float32'}, "
        f"{f'LoRA of rank {given.lora_rank}' if given.lora_rank else 'all weights'}, {os.cpu_count()} CPUs, one thread"
    )
    for number, case in enumerate(CASES, 1):
        if given.case not in (None, number):
            continue
        found, loads = measured(case, given)
        print(
            f"\n({number}) {case.method}, {case.num_updates} updates a batch, {case.accumulation} micro-batches: ",
            end="",
        )
        print(f"{given.rounds} rounds of {STEPS_AT_ONCE} steps; ", end="")
        print(f"load {min(loads):.1f} to {max(loads):.1f}\n{table(found)}", flush=True)


if __name__ == "__main__":
    main()
