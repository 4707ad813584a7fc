"""One run of a study: the small model trained by a method, and its exact audit on held-out problems.

The audit lists every answer, so a run's numbers have no sampling noise: what is left is the noise of training and of
which problems are held out. Problems of the audit are the same for all runs of a stage and of one warm start.

Rows: `quantity`, `step` (updates made), `at` (k of pass@k, the number of problems of a slope, nats of a curve, a single
problem's place, the size of a group, else 0) and `value`. Step 0 is the model before training.
"""

from __future__ import annotations

import functools
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, SerializeAsAny

from sharpening.llm.audit import exact
from sharpening.llm.audit.exact import Audited
from sharpening.llm.countdown import formats
from sharpening.llm.countdown import problems as countdown
from sharpening.llm.sampling import evaluate, models
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.studies.protocol import Adapted, Detailed, Setting, Varied
from sharpening.llm.tasks import Mark, Task
from sharpening.llm.training import callbacks, configs, problems, run
from sharpening.samples import sharpening
from sharpening.theory import estimators, policies

Row = dict[str, Any]
Measure = tuple[str, float, float]
KS = (1, 8, 64, 256)
THREADS = 1  # of torch in every run: more change the last digits
MAX_TOKENS = 10  # of an answer: four numbers, three operators, the end, and two to go wrong
ON_THE_WAY = 50  # problems of the audits during training
WITH_WRONG = 100  # problems of which wrong answers are listed too, before training
COUNTED = (0.02, 0.5)  # probabilities of answers whose presence in a group is counted
MISTAKES_STREAM = 19  # of a run's seed
HELD_OUT_STREAM = 18  # of the seed of held-out problems: no training run draws from it


class StudyRun(BaseModel):
    """One run; with the weights of its warm start it determines the rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str] = "study-run"

    warm_start: int  # seed of the model before training
    weights: str  # what names that model's files
    method: str
    parameters: Mapping[str, float | int | str] = {}
    learning_rate: float
    setting: SerializeAsAny[Setting]
    seed: int
    split: Literal["validation", "test"] = "validation"
    num_problems: int = 100
    problem_seed: int = 0
    every: int = 0  # updates between audits on the way; 0: none

    def config(self, model: str) -> configs.RunConfig:
        """The training run, as `llm` takes it."""
        completions = self.setting.prompts_per_step * self.setting.group_size
        more: dict[str, Any] = {"max_tokens": MAX_TOKENS}
        if isinstance(self.setting, Varied):
            more["temperature"] = self.setting.temperature
        elif isinstance(self.setting, Adapted):
            more = {"max_tokens": self.setting.max_tokens, "lora_rank": self.setting.lora_rank}
            more |= {"dtype": "bfloat16", "share_prompts": True}
        return configs.RunConfig(
            model=model,
            method=self.method,
            parameters=dict(self.parameters),
            num_problems=self.setting.pool,
            group_size=self.setting.group_size,
            prompts_per_step=self.setting.prompts_per_step,
            micro_batch=completions,
            steps=self.setting.steps,
            rise=self.setting.rise,
            learning_rate=self.learning_rate,
            save_every=self.setting.steps,
            evaluation_problems=0,
            trl={"lr_scheduler_type": self.setting.schedule},
            seed=self.seed,
            **more,
        )

    @property
    def name(self) -> str:
        """Of the run's adapters: method, parameters, seed."""
        return "-".join(map(str, (self.method, *self.parameters.values(), self.seed)))


def rows_of(
    task: StudyRun, model_of: Mapping[int, str], keep: Callable[[Any], object] = lambda trained: None
) -> list[Row]:
    """Trains and audits; `model_of` has the folder of every warm start's model, `keep` is given adapters' trainer."""
    torch.set_num_threads(THREADS)
    model = model_of[task.warm_start]
    config = task.config(model)
    asked = held_out(model, task.split, task.num_problems, task.problem_seed)
    first = before(model, asked)
    num_whole = task.setting.num_with_wrong if isinstance(task.setting, Adapted) else WITH_WRONG
    whole = with_wrong(model, asked[:num_whole]) if task.split == "test" else ()
    rows: list[Row] = [{"quantity": "rollouts", "step": 0, "at": 0.0, "value": float(task.setting.num_completions)}]
    rows += _rows(0, measures(first))
    rows += _rows(0, gaps(whole)) + _rows(0, correct_entropy(whole and first))
    if whole:
        rows += _rows(0, presence(models.load(model, device="cpu"), whole, task.setting.group_size, task.seed))
    alone = whole if isinstance(task.setting, Detailed) else ()
    rows += _rows(0, of_problems(alone))
    part = first[:ON_THE_WAY] if task.every else ()
    rows += _path(0, part, part)
    with tempfile.TemporaryDirectory() as folder, problems.opened(config, model) as found:
        if isinstance(task.setting, Varied):
            found = found._replace(train=Mistaken(found.train, task.setting, task.seed))
        trained = run.make_trainer(config, model, found, Path(folder))

        def look(step: int) -> None:
            if part and (step % task.every == 0 or step == task.setting.steps):
                rows.extend(_path(step, part, _now(trained, part)))

        trained.add_callback(callbacks.on_step(look))
        run.run(trained, config, None)
        if isinstance(task.setting, Adapted):  # audits are in float32, before and after
            trained.accelerator.unwrap_model(trained.model, keep_fp32_wrapper=False)
            keep(trained)
        last = _now(trained, first)
    rows += _rows(task.setting.steps, measures(last)) + _rows(task.setting.steps, slopes(first, last))
    rows += _rows(task.setting.steps, correct_entropy(whole and last))
    rows += _rows(task.setting.steps, moved_problems(alone, last))
    return rows + _rows(task.setting.steps, against_plain(whole, last))


class Mistaken:
    """A task whose verifier errs by chance, completion by completion."""

    def __init__(self, task: Task, setting: Varied, seed: int) -> None:
        """Takes the task and the chances of both errors."""
        self.task, self.setting = task, setting
        self.prompts = task.prompts
        self.rng = np.random.default_rng([seed, MISTAKES_STREAM])

    def marks(self, places: Sequence[int], completions: Sequence[str], is_finished: Sequence[bool]) -> list[Mark]:
        """The marks of the task, some of them turned round."""
        marks = self.task.marks(places, completions, is_finished)
        draws = self.rng.random(len(marks))
        chances = {0.0: self.setting.false_positives, 1.0: self.setting.false_negatives}
        return [
            mark._replace(correct=1 - mark.correct) if draw < chances.get(mark.correct, 0.0) else mark
            for mark, draw in zip(marks, draws, strict=True)
        ]


def _path(step: int, first: Sequence[Audited], last: Sequence[Audited]) -> list[Row]:
    """Rows of a look on the way, whose problems are fewer."""
    if not first:
        return []
    found = [*measures(last), *(slopes(first, last) if step else ())]
    return _rows(step, ((f"path_{quantity}", at, value) for quantity, at, value in found))


def _now(trained: Any, first: Sequence[Audited]) -> list[Audited]:
    with callbacks.looking(trained) as lm:
        if first[0].is_exact:
            return exact.rescored(lm, first, operators=_operators(lm))
        return [exact.audit(lm, one.problem, operators=_operators(lm), only_correct=True) for one in first]


@functools.lru_cache(maxsize=8)
def held_out(model: str, split: str, number: int, seed: int) -> tuple[countdown.Problem, ...]:
    """Problems of the model's own kind, of one split, drawn with a seed that no training run has."""
    settings = countdown.Settings(**{**models.settings_of(model), "split": split})
    rng = np.random.default_rng([seed, HELD_OUT_STREAM])
    return tuple(countdown.distinct(settings, rng, number, name="num_problems"))


@functools.lru_cache(maxsize=8)
def before(model: str, asked: tuple[countdown.Problem, ...]) -> Sequence[Audited]:
    """The audits of a model before training, correct answers alone."""
    lm = models.load(model, device="cpu")
    return [exact.audit(lm, one, operators=_operators(lm), only_correct=True) for one in asked]


@functools.lru_cache(maxsize=8)
def with_wrong(model: str, asked: tuple[countdown.Problem, ...]) -> Sequence[Audited]:
    """The same with the wrong answers."""
    lm = models.load(model, device="cpu")
    return [exact.audit(lm, one, operators=_operators(lm)) for one in asked]


def _operators(lm: LanguageModel) -> str:
    return str(lm.model.config.countdown["operators"])


def measures(audits: Sequence[Audited]) -> Iterator[Measure]:
    """What a model is judged by: quantity, k of pass@k or 0, value.

    `effective_answers` is exp of the entropy over a problem's correct answers, the mean over problems.
    """
    found = [exact.problem_row(one) for one in audits]
    correctness = np.array([row["correctness"] for row in found])
    for k in KS:
        yield "pass_at_k", k, float(np.mean(estimators.exact_pass_at_k(correctness, k)))
    yield "effective_answers", 0, float(np.nanmean([row["hill_1"] for row in found]))


def slopes(first: Sequence[Audited], last: Sequence[Audited]) -> Iterator[Measure]:
    """The sharpening slope: nats that a correct answer gained per nat that it started likelier than others."""
    yield "slope", len(first), _slope(exact.gains(first, last))


def against_plain(whole: Sequence[Audited], last: Sequence[Audited]) -> Iterator[Measure]:
    """Slope and curve on problems whose wrong answers are known, and those of plain RL had it moved each on its own.

    Plain RL lowers no problem's correctness: where it fell there is no such thing, and these problems are left out of
    both, `left_out` says which share; `slope` alone has all. The curve is the gain of correct answers, less their
    problem's mean, at their start, less the problem's mean.
    """
    if whole and (expected := exact.expected_gains(whole, last[: len(whole)])) is not None:
        correct = [exact.correct_part(one) for one in whole]
        kept = np.unique(expected.problem).tolist()
        yield "slope", len(whole), _slope(exact.gains(correct, last[: len(whole)]))
        yield "left_out", len(whole), 1 - len(kept) / sum(len(one.log_prob) > 0 for one in correct)
        found = exact.gains([correct[place] for place in kept], [last[place] for place in kept])
        for name, gains in (("matched_", found), ("expected_", expected)):
            yield f"{name}slope", len(whole), _slope(gains)
            for row in sharpening.curve_rows(gains):
                yield f"{name}relative_gain", float(row["at"]), float(row["value"])


def gaps(whole: Sequence[Audited]) -> Iterator[Measure]:
    """S_C - S_W of claims A4 and B11: by its sign a global entropy term raises or lowers correctness."""
    if whole:
        found = [exact.problem_row(one) for one in whole]
        yield (
            "surprisal_gap",
            len(whole),
            float(np.nanmean([row["surprisal_correct"] - row["surprisal_wrong"] for row in found])),
        )


def correct_entropy(audits: Sequence[Audited]) -> Iterator[Measure]:
    """H_C of claim B6: -sum of p log p over a problem's correct answers, not normalised, the mean over problems."""
    if audits:
        inside = [one.log_prob[one.correct == 1] for one in audits]
        yield "correct_entropy", 0, float(np.mean([policies.entropy(log_prob) for log_prob in inside]))


def of_problems(whole: Sequence[Audited]) -> Iterator[Measure]:
    """Of every problem with correct and wrong answers, by its place: log-odds of correctness, S_C - S_W, and H(p_C)."""
    for place, one in enumerate(whole):
        if (table := exact.as_table(one)) is not None:
            row = exact.problem_row(one)
            yield "problem_logit", place, policies.logit_correctness(table.base_log_policy, table.correct)
            yield "problem_gap", place, row["surprisal_correct"] - row["surprisal_wrong"]
            yield "problem_entropy", place, row["entropy_correct"]


def moved_problems(whole: Sequence[Audited], last: Sequence[Audited]) -> Iterator[Measure]:
    """After training, by place: the log-odds, and sharpening slope and its weight where correct answers are unequal."""
    for place, one in enumerate(last[: len(whole)]):
        if (table := exact.as_table(one)) is not None:
            yield "problem_logit", place, policies.logit_correctness(table.base_log_policy, table.correct)
    if whole:
        found = exact.gains([exact.correct_part(one) for one in whole], last[: len(whole)])
        problem, above, below = sharpening.slope_parts(found)
        for place in np.unique(problem).tolist():
            weight = float(below[problem == place].sum())
            yield "problem_slope", place, float(above[problem == place].sum()) / weight
            yield "problem_weight", place, weight


def presence(lm: LanguageModel, audits: Sequence[Audited], group_size: int, seed: int) -> Iterator[Measure]:
    """Selection bias, claim C1: the share of correct answers that are drawn in a group, one group a problem.

    Counted are those of a probability p within `COUNTED`. Beside it the mean of 1 - (1 - p)^G, and of p G, at most 1,
    which would be right if no answer came twice. Nothing for answers that have several spellings.
    """
    if not audits[0].is_exact:
        return
    prompts = [formats.prompt(one.problem, "compact", _operators(lm)) for one in audits]
    ids = [models.prompt_ids(lm.tokenizer, prompt) for prompt in prompts]
    settings = evaluate.Settings(n=group_size, max_tokens=MAX_TOKENS)
    drawn = evaluate.transformers_sampler(lm, scores=False)(ids, settings, settings.batch, seed)
    found = []
    for one, group in zip(audits, drawn, strict=True):
        texts = {completion.tokens for completion in group}
        for tokens, log_prob, correct in zip(one.tokens, one.log_prob, one.correct, strict=True):
            if correct == 1 and COUNTED[0] <= (p := float(np.exp(log_prob))) <= COUNTED[1]:
                chance = float(estimators.exact_pass_at_k(p, group_size))
                found.append((tuple(tokens) in texts, chance, min(1.0, p * group_size)))
    if found:
        names = ("present", "expected_present", "proportional_present")
        yield from zip(names, itertools.repeat(group_size), np.mean(found, axis=0).tolist())


def _slope(correct: sharpening.Gains) -> float:
    return float(sharpening.slope_row(correct)["value"])


def _rows(step: int, found: Iterable[Measure]) -> list[Row]:
    return [{"quantity": quantity, "step": step, "at": float(at), "value": value} for quantity, at, value in found]
