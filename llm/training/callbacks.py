"""What looks on while TRL trains: checkpoints that count, an end at a signal, held-out problems, how far it is."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback

from sharpening.llm.audit import exact
from sharpening.llm.countdown.task import CountdownTask
from sharpening.llm.sampling import evaluate, scoring
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.tasks import Task
from sharpening.llm.training import checkpoints
from sharpening.llm.training.configs import RunConfig
from sharpening.theory import estimators

Row = dict[str, float]
Placed = tuple[int, Any]
Show = Callable[[list[evaluate.Row]], object]
SAMPLE_SHOWN = 4  # completions that are shown before the first step
SAID = {"reward": "reward", "held_out/pass@1": "held-out pass@1"}


def on_step(called: Callable[[int], object]) -> TrainerCallback:
    """A callback that calls a function with the number of updates made."""

    class OnStep(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            called(state.global_step)

    return OnStep()


class Record(TrainerCallback):
    """Hands on what is logged, as it comes; of a resumed run first what its checkpoint has."""

    def __init__(self, add: Callable[[list[dict[str, Any]]], object]) -> None:
        """Takes a function of the entries that are new."""
        self.add, self.num_known = add, 0

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called after an entry was made."""
        new, self.num_known = state.log_history[self.num_known :], len(state.log_history)
        self.add(new)


class Progress(TrainerCallback):
    """Says now and then how far a run is: step, reward, held-out pass@1, and the time that is left."""

    def __init__(self, say: Callable[[str], object], *, seconds: float = 30, clock: Callable[[], float]) -> None:
        """Takes what says a line, the least time between two lines, and a clock in seconds."""
        self.say, self.seconds, self.clock = say, seconds, clock
        self.known: Row = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Starts to count."""
        self.began = self.said = self.clock()
        self.first = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Row, **_: Any) -> None:
        """Says a line where the last one is old enough."""
        self.known |= {name: logs[name] for name in SAID if name in logs}
        num_made, now = state.global_step - self.first, self.clock()
        if not num_made or now - self.said < self.seconds:
            return
        self.said = now
        numbers = "".join(f", {label} {self.known[name]:.3f}" for name, label in SAID.items() if name in self.known)
        left = (state.max_steps - state.global_step) * (now - self.began) / num_made
        minutes = f"{left / 60:.0f} min" if left >= 90 else f"{left:.0f} s"
        self.say(f"step {state.global_step} of {state.max_steps}{numbers}, about {minutes} left")


class Checksums(TrainerCallback):
    """Makes a checkpoint count when every process has written its files."""

    def __init__(self, accelerator: Any) -> None:
        """Takes the trainer's accelerator."""
        self.accelerator = accelerator

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Called by transformers after the checkpoint."""
        self.accelerator.wait_for_everyone()
        if state.is_world_process_zero:
            try:
                checkpoints.complete(Path(args.output_dir) / f"{checkpoints.PREFIX}{state.global_step}")
            except OSError as error:
                with checkpoints.writing(Path(args.output_dir)):
                    raise error


class Stopper(TrainerCallback):
    """On Ctrl-C or SIGTERM: a checkpoint at the next boundary between batches of completions, and the end.

    A second signal is not waited with: it does what it did before training. Under torchrun it changes nothing: torchrun
    sends on a signal that the processes may have had already, and ends them itself when they take too long.
    """

    def __init__(self, accelerator: Any, num_updates: int) -> None:
        """Takes the trainer's accelerator and the number of updates between boundaries."""
        self.accelerator = accelerator
        self.num_updates = num_updates
        self.received = 0

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Notes the first signal, and then does what was done before."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def note(number: int, _: Any) -> None:
            self.received = number
            if "TORCHELASTIC_RUN_ID" not in os.environ:
                restore()

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            restore()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Saves and stops once any process was asked to."""
        if state.global_step % self.num_updates:
            return
        received = torch.tensor([self.received], device=self.accelerator.device)
        if found := int(self.accelerator.gather(received).max()):
            self.received = found  # and else it stays: a signal may have come since it was read
            control.should_save = control.should_training_stop = True


class FirstCompletions(TrainerCallback):
    """A completion of each of the first prompts, marked, before the first update."""

    def __init__(
        self, trained: Any, task: Task, config: RunConfig, show: Callable[[list[evaluate.Row]], object]
    ) -> None:
        """Takes the trainer whose model is looked at, and what shows the rows."""
        self.trained, self.task, self.config, self.show = trained, task, config, show

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before the first step; the model is where it will be trained by now."""
        if state.global_step:
            return
        first = evaluate.Settings(
            n=1,
            temperature=self.config.temperature,
            max_tokens=self.config.max_tokens,
            slice_size=SAMPLE_SHOWN,
            seed=self.config.seed,
        )
        with looking(self.trained) as lm:  # every process: it may take all of them
            sampler = evaluate.transformers_sampler(lm, scores=False)
            events = evaluate.evaluate(sampler, lm.tokenizer, self.task, first)
            self.show(next(event.rows for event in events if isinstance(event, evaluate.Done)))


class Evaluation(TrainerCallback):
    """Held-out pass@k before the first step, every so many, and after the last: exact where the audit applies."""

    def __init__(self, trained: Any, task: Task, config: RunConfig) -> None:
        """Takes the trainer whose model is looked at."""
        self.trained, self.task, self.config = trained, task, config

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Forgets the look after what was the last step when the run had fewer."""
        last = state.global_step
        if last % self.config.evaluate_every and last < state.max_steps:
            state.log_history = [
                row
                for row in state.log_history
                if row["step"] != last or not any(name.startswith("held_out/") for name in row)
            ]

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Before the first step."""
        if state.global_step == 0:
            self._look(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """At the interval."""
        if state.global_step % self.config.evaluate_every == 0 or state.global_step == state.max_steps:
            self._look(args, state, control)

    def _look(self, args: Any, state: Any, control: Any) -> None:
        accelerator = self.trained.accelerator
        is_divided = self.trained.is_fsdp_enabled or self.trained.is_deepspeed_enabled
        share = evaluate.Share(accelerator.process_index, accelerator.num_processes, is_divided)
        with looking(self.trained) as lm:
            values = held_out(lm, self.task, self.config, share)
        found = {f"held_out/{name}": value for name, value in values.items()}
        state.log_history.append({"step": state.global_step, **found})
        logs_step = control.should_log  # on_log takes it back, and the step's own numbers are still to come
        self.trained.callback_handler.on_log(args, state, control, dict(found))  # W&B and the like
        control.should_log = logs_step


@contextlib.contextmanager
def looking(trained: Any) -> Iterator[LanguageModel]:
    """The model of a trainer in evaluation mode, where and as it is trained, and as it was afterwards."""
    model = trained.accelerator.unwrap_model(trained.model)
    was_training = model.training
    try:
        yield LanguageModel(model.eval(), trained.processing_class, trained.accelerator.device)
    finally:
        model.train(was_training)


def held_out(lm: LanguageModel, task: Task, config: RunConfig, share: evaluate.Share = evaluate.ALONE) -> Row:
    """Mean pass@k on held-out problems: exact for Countdown in whole words, from samples otherwise.

    Problems are shared among processes; a divided model is audited by all of them, problem by problem.
    """
    if isinstance(task, CountdownTask) and task.text_format == "compact" and exact.is_word_level(lm.tokenizer):
        first, step = (0, 1) if share.in_step else (share.rank, share.num_processes)
        mine = [
            (place, exact.problem_row(exact.audit(lm, one, operators=task.operators, temperature=config.temperature)))
            for place, one in list(enumerate(task.problems))[first::step]
        ]
        rows = [row for _, row in (mine if share.in_step else _of_all(mine))]
        correctness = np.array([row["correctness"] for row in rows])
        found = {f"pass@{k}": float(estimators.exact_pass_at_k(correctness, k).mean()) for k in (1, 8, 64)}
        return found | {"solution_diversity": float(np.nanmean([row["hill_1"] for row in rows]))}
    counts = evaluate.problem_rows(_sampled(lm, task, config, share))
    found = {}
    for k in sorted({1, 8, config.evaluation_samples}):
        if values := [float(estimators.pass_at_k(row["n"], row["c"], k)) for row in counts if row["n"] >= k]:
            found[f"pass@{k}"] = float(np.mean(values))
    return found


def _sampled(lm: LanguageModel, task: Task, config: RunConfig, share: evaluate.Share) -> list[evaluate.Row]:
    """Samples of all held-out problems, of which every process drew some: the same ones, however many share them.

    Processes that go in step draw one slice each at a time, and for nothing where others have more to draw.
    """
    settings = evaluate.Settings(
        n=config.evaluation_samples, temperature=config.temperature, max_tokens=config.max_tokens, seed=config.seed
    )
    if share.in_step and not scoring.repeats_cache(lm):
        share = evaluate.ALONE  # batches of these models depend on the prompts: all processes draw all
    sampler = evaluate.transformers_sampler(lm, scores=False)
    events = evaluate.evaluate(sampler, lm.tokenizer, task, settings, share=share)
    done = (event for event in events if isinstance(event, evaluate.Done))
    mine: list[tuple[int, list[evaluate.Row]]] = []
    num_slices = evaluate.num_slices(len(task.prompts), settings)
    for begin in range(0, num_slices, share.num_processes):
        event = next(done, None)
        if event is not None:
            mine.append((event.slice, event.rows))
        if share.in_step:  # the first slice of a round has as many calls as any
            most, made = (_num_calls(settings, len(task.prompts), one) for one in (begin, begin + share.rank))
            evaluate.draw_nothing(lm, most - made)
    return [row for _, rows in (mine if share.num_processes == 1 else _of_all(mine)) for row in rows]


def _num_calls(settings: evaluate.Settings, num_problems: int, index: int) -> int:
    """How often `generate` is called for a slice; 0 for one that does not exist."""
    problems = min(settings.slice_size, num_problems - index * settings.slice_size)
    return max(0, -(-problems * settings.n // settings.batch))


def _of_all(mine: list[Placed]) -> list[Placed]:
    """What all processes have, in the order of its places."""
    everywhere: list[Placed] = gather_object(mine)
    return sorted(everywhere, key=lambda pair: pair[0])
