"""One training run: from a configuration to TRL's trainer with a method, its data, verifier, callbacks and checks.

Checkpoints are TRL's own, taken between batches of completions. A run goes on from the last one that counts, see
`llm.training.checkpoints`, with the same completions, updates and weights as a run that was never stopped. What is
looked at on the way, held-out problems and the first completions, draws from streams of its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from transformers import TrainerState
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config
from transformers.trainer_callback import PrinterCallback
from trl import GRPOTrainer

from sharpening.llm.sampling import adapters, evaluate, models
from sharpening.llm.tasks import Task
from sharpening.llm.training import arguments, callbacks, checkpoints, trainer
from sharpening.llm.training.configs import RunConfig
from sharpening.llm.training.problems import Problems
from sharpening.llm.training.shared_prompts import SharedPrompts


class Saving(GRPOTrainer):  # type: ignore[misc]
    """TRL's trainer, whose failure to write a checkpoint is one line."""

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        with checkpoints.writing(Path(self.args.output_dir)):
            super()._save_checkpoint(*args, **kwargs)


class SavingShared(Saving, SharedPrompts):
    """The same, which reads each prompt once for its completions."""


def dataset(task: Task, tokenizer: Any) -> Dataset:
    """The prompts as TRL reads them, with the place of each."""
    prompts = [models.text_or_messages(tokenizer, one) for one in task.prompts]
    return Dataset.from_list([{"prompt": prompt, "place": place} for place, prompt in enumerate(prompts)])


def reward_functions(
    task: Task, format_credit: float, answers: dict[str, str], ends: Collection[int]
) -> list[Callable[..., list[float | None]]]:
    """The verifier, named `correct`, and a function that gives credit for form, if there is any.

    The verifier leaves in `answers` what it took as the answer of each text: the texts of its last call. A completion
    ended if its last token is one of `ends`; else it was cut off.
    """

    def ended(completion_ids: list[list[int]]) -> list[bool]:
        return [bool(ids) and ids[-1] in ends for ids in completion_ids]

    def correct(
        completions: list[Any], completion_ids: list[list[int]], place: list[int], **_: Any
    ) -> list[float | None]:
        texts = [trainer.text_of(one) for one in completions]
        marks = task.marks(place, texts, ended(completion_ids))
        answers.clear()
        answers.update((text, mark.answer or text) for text, mark in zip(texts, marks, strict=True))
        return [None if np.isnan(mark.correct) else mark.correct for mark in marks]

    def well_formed(
        completions: list[Any], completion_ids: list[list[int]], place: list[int], **_: Any
    ) -> list[float | None]:
        marks = task.marks(place, [trainer.text_of(one) for one in completions], ended(completion_ids))
        return [format_credit * mark.well_formed for mark in marks]

    return [correct, well_formed] if format_credit else [correct]


def make_trainer(
    config: RunConfig, model: str, problems: Problems, folder: Path, show: callbacks.Show | None = None
) -> Any:
    """TRL's trainer with the method, float32 weights to train, and the callbacks that save, evaluate and stop.

    `show` is called with rows of the first completions.
    """
    lm = models.load(model, dtype=config.base_dtype, device="cpu")
    first, lora = lm.model, None
    if config.adapter:
        from peft import PeftModel

        first = PeftModel.from_pretrained(lm.model, config.adapter, is_trainable=True)
    if config.lora_rank:
        lora = adapters.lora(config.lora_rank)
    answers: dict[str, str] = {}
    trained = trainer.with_method(
        SavingShared if config.share_prompts else Saving,
        config.method,
        config.parameters,
        correct="correct",
        answer=lambda text: answers.get(text.strip(), text.strip()),
    )(
        model=first,
        reward_funcs=reward_functions(
            problems.train, config.format_credit, answers, set(lm.model.generation_config.eos_token_id)
        ),
        args=arguments.grpo_config(config, folder),
        train_dataset=dataset(problems.train, lm.tokenizer),
        processing_class=lm.tokenizer,
        peft_config=lora,
    )
    trained.create_model_card = lambda *_, **__: None  # TRL's would name neither the method nor the model
    trained.remove_callback(PrinterCallback)
    trained.add_callback(callbacks.Checksums(trained.accelerator))
    trained.add_callback(callbacks.Stopper(trained.accelerator, config.updates_of_a_batch))
    if show is not None:
        trained.add_callback(callbacks.FirstCompletions(trained, problems.train, config, show))
    if problems.held_out is not None:
        trained.add_callback(callbacks.Evaluation(trained, problems.held_out, config))
    return trained


def run(trained: Any, config: RunConfig, last: Path | None) -> None:
    """Trains from the start or from a checkpoint, to the end or to a signal; a run that is at its end is only opened.

    Raises ValueError where memory runs out.
    """
    if last is not None and checkpoints.step_of(last) >= config.steps:
        # stopped between its last checkpoint and what comes after: one more call of train would make one more step
        trained._load_from_checkpoint(str(last))
        trained.state = TrainerState.load_from_json(str(last / "trainer_state.json"))
        return
    try:
        with _stopper(trained).listening():
            trained.train(resume_from_checkpoint=str(last) if last else None)
    except RuntimeError as error:
        if not evaluate.is_out_of_memory(error):
            raise
        raise ValueError(
            f"micro_batch: {config.micro_batch}: memory ran out: want fewer; or, if it ran out while sampling, fewer "
            "prompts_per_step or max_tokens"
        ) from None


def save(trained: Any, folder: Path, *, merges: bool = True) -> None:
    """The model and its tokenizer as `save_pretrained` writes them, adapters merged into the weights or alone.

    Every process has to call this: those of a divided model give their parts.
    """
    is_only_opened = trained.is_deepspeed_enabled and trained.deepspeed is None  # divided when training starts
    if not hasattr(trained.model, "merge_and_unload"):
        if not is_only_opened:
            trained.save_model(str(folder))
        elif trained.accelerator.is_main_process:
            trained.model.save_pretrained(folder)
    else:
        model = trained.accelerator.unwrap_model(trained.model)
        state = None
        if trained.is_fsdp_enabled or (trained.is_deepspeed_enabled and not is_only_opened):
            state = trained.accelerator.get_state_dict(trained.model_wrapped)  # of DeepSpeed the engine
        with _undivided(trained):
            if trained.accelerator.is_main_process and merges:
                (model if state is None else _whole(model, state)).merge_and_unload().save_pretrained(folder)
            elif trained.accelerator.is_main_process:
                model.save_pretrained(folder, selected_adapters=["default"], state_dict=state)
    if trained.accelerator.is_main_process:
        trained.processing_class.save_pretrained(folder)
    trained.accelerator.wait_for_everyone()


@contextlib.contextmanager
def _undivided(trained: Any) -> Iterator[None]:
    """Has transformers make whole models in this process alone: with ZeRO-3 it would wait for the others."""
    if not trained.is_deepspeed_enabled:
        yield
        return
    unset_hf_deepspeed_config()
    try:
        yield
    finally:
        set_hf_deepspeed_config(trained.accelerator.state.deepspeed_plugin.hf_ds_config)


def _whole(model: Any, state: dict[str, torch.Tensor]) -> Any:
    """A model with adapters like a divided one, with the weights that were gathered."""
    from peft import get_peft_model

    base = model.get_base_model()
    with torch.device("meta"):
        made = type(base)._from_config(base.config)
        made.generation_config = base.generation_config
        whole = get_peft_model(made, model.peft_config["default"])
    whole.load_state_dict(state, strict=False, assign=True)
    made.tie_weights()
    return whole


def signal_of(trained: Any) -> int:
    """The signal that stopped a run, or 0."""
    return _stopper(trained).received


def _stopper(trained: Any) -> callbacks.Stopper:
    return next(one for one in trained.callback_handler.callbacks if isinstance(one, callbacks.Stopper))
