"""TRL trainers on a tiny random model for tests: rewards read off the tokens, completions replayed, the loss recorded.

Modules that import this are skipped where TRL is not installed. Verifier and credit are functions of a completion's
tokens alone, so that a test can say what every completion earned.
"""

import functools
import gc
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.trainer_callback import PrinterCallback

from sharpening.llm.countdown import problems
from sharpening.llm.sampling.models import LanguageModel
from sharpening.llm.training import trainer, warm_start

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
trl = pytest.importorskip("trl")
datasets = pytest.importorskip("datasets")
torch.set_num_threads(1)

SETTINGS = problems.Settings(num_numbers=3, largest_number=6, max_target=20, operators="+-*")
CONFIG = warm_start.WarmStart(architecture="qwen3", width=32, layers=1, problems=SETTINGS, pool=20, steps=1, batch=1)
PROMPTS = [f"numbers {numbers} target {place}" for place, numbers in enumerate(["1 2 3", "4 2", "5 6 1", "3 3 2", "6"])]
GROUP_SIZE, MOST_TOKENS, TEMPERATURE = 8, 5, 1.3

QUIET = [  # what transformers says of its own options
    pytest.mark.filterwarnings("ignore:.*pin_memory.*"),
    pytest.mark.filterwarnings("ignore:`gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:the term of .* times as large as the advantage:UserWarning"),  # tests exaggerate
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
]


@functools.cache
def language_model() -> LanguageModel:
    """A model whose token probabilities differ by orders of magnitude; not to be changed."""
    lm = warm_start.make_model(CONFIG)
    with torch.no_grad():
        for weights in lm.model.parameters():
            weights *= 3
    return lm


def correct(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    """1 where the sum of the tokens is even, None where it is a multiple of 7."""
    return [None if sum(ids) % 7 == 0 else float(sum(ids) % 2 == 0) for ids in completion_ids]


def always_scored(completion_ids: list[list[int]], **_: Any) -> list[float]:
    """1 where the sum of the tokens is even."""
    return [float(sum(ids) % 2 == 0) for ids in completion_ids]


def credit(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
    """A quarter for each token but the first, None for one token."""
    return [0.25 * (len(ids) - 1) if len(ids) > 1 else None for ids in completion_ids]


class Recorded(trl.GRPOTrainer):  # type: ignore[misc, name-defined]
    """GRPOTrainer that can be told what it generates, and keeps what enters its loss."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.replay: list[list[int]] | None = None
        self.seen: list[dict[str, torch.Tensor]] = []
        self.used: list[torch.Tensor] = []  # the advantages, as a method may have changed them inside
        super().__init__(*args, **kwargs)

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        if self.replay is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        first = self.accelerator.process_index * len(prompt_ids)
        return self.replay[first : first + len(prompt_ids)], None

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        self.seen.append({name: values.clone() for name, values in inputs.items()})
        loss = super()._compute_loss(model, inputs)
        self.used.append(inputs["advantages"])
        return loss


def make(
    method: str | None,
    folder: Path,
    parameters: dict[str, Any] | None = None,
    *,
    base: type = Recorded,
    model: Any = None,
    functions: list[Any] | None = None,
    replay: list[list[int]] | None = None,
    **options: Any,
) -> Any:
    """A trainer of the method, or plain for None, whose verifier is the first of the functions."""
    functions = functions or [always_scored]
    arguments = {
        **dict(per_device_train_batch_size=16, num_generations=GROUP_SIZE, max_completion_length=MOST_TOKENS),
        **dict(max_steps=1, learning_rate=1e-2, lr_scheduler_type="constant", temperature=TEMPERATURE, seed=3),
        **dict(use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", save_strategy="no"),
        **dict(logging_steps=1, disable_tqdm=True, output_dir=str(folder), top_k=0),
        **(trainer.grpo_options(method, parameters or {}) if method else {}),
    }
    to_trainer = {name: options.pop(name) for name in ("peft_config", "processing_class") if name in options}
    answer = {"answer": options.pop("answer")} if "answer" in options else {}
    if method:
        base = trainer.with_method(base, method, parameters or {}, correct=functions[0].__name__, **answer)
    made = base(
        model=model or fresh_model(),
        reward_funcs=list(functions),
        args=trl.GRPOConfig(**(arguments | options)),
        train_dataset=datasets.Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        **({"processing_class": language_model().tokenizer} | to_trainer),
    )
    made.remove_callback(PrinterCallback)
    if replay is not None:
        made.replay = replay
    return made


def fresh_model() -> Any:
    """A copy of the model's weights."""
    made = warm_start.make_model(CONFIG).model
    made.load_state_dict(language_model().model.state_dict())
    return made


def weights(made: Any) -> torch.Tensor:
    """All weights, one after the other."""
    return torch.cat([values.detach().flatten() for values in made.model.parameters()])


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """A row of what transformers logged, with NaN for None, which it writes in the place of NaN."""
    return {name: float("nan") if value is None else value for name, value in row.items()}


gc.freeze()  # every trainer asks for a full collection: it need not walk through all that TRL has imported
