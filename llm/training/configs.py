"""Configurations of a training run: one typed model, YAML in and out, and the named ones.

A configuration says everything that determines a run but the user's files and the number of processes. Every one of
them keeps float32 master weights: with `dtype: bfloat16` the forward and backward passes are in bfloat16 and weights,
moments and updates in float32, since updates of RL are smaller than what bfloat16 weights can hold. Weights that
adapters leave as they are may be held in bfloat16 (`base_dtype`).
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from sharpening.llm.training import published
from sharpening.theory.methods import calls

Value = int | float | str
WORDS = MappingProxyType({"true": True, "false": False, "null": None})  # as flags give them
CAME_LATER = (
    "held_out",
    "lenient",
    "adapter",
    "merge_adapters",
    "base_dtype",
    "trl",
    "mini_batches",
    "system_prompt",
    "chat_template",
    "share_prompts",
)  # a run without them keeps the name it had before
ONLY_WITH: Mapping[str, tuple[str, ...]] = MappingProxyType(  # fields that have no effect with other tasks
    {
        "problems": ("countdown", "math", "own"),
        "countdown": ("countdown",),
        "text_format": ("countdown",),
        "problem_column": ("math", "own"),
        "answer_column": ("math", "own"),
        "held_out": ("math", "own"),
        "solution_column": ("own",),
    }
)


class RunConfig(BaseModel):
    """One training run: a model, its problems and their verifier, a method, and how long."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str = Field("", description="folder of a model, or a hub name; empty for a warm start")
    warm_start: Literal["", "smoke", "laptop"] = Field("", description="preset of warm-start, instead of a model")
    method: str = Field("ds", description="id of a method, a preset of ds, or FILE.py:FUNCTION")
    parameters: dict[str, Value] = Field(default_factory=dict, description="parameters of the method")
    task: Literal["countdown", "lists", "math", "own"] = Field(
        "countdown", description="countdown, lists (countries, states, months), or math and own, which need problems"
    )
    problems: str = Field("", description="file of problems; drawn Countdown problems if empty")
    countdown: dict[str, Value] = Field(
        default_factory=dict, description="kind of drawn problems, over the model's own"
    )
    num_problems: int = Field(
        2_000, ge=1, description="number of drawn problems; if not given, fewer where fewer exist"
    )
    text_format: Literal["compact", "chat"] = Field("compact", description="format of Countdown")
    problem_column: str = Field("problem", description="math: column with the problem; own: with the prompt")
    answer_column: str = Field("answer", description="math and own: column with the answer")
    solution_column: str = Field("", description="own: column with a correct completion, where one is known; or empty")
    verifier: str = Field("", description="own: FILE.py:FUNCTION of completion and answer: True, False or None")
    lenient: bool = Field(False, description="math: an answer needs no box; else it is a closed box")
    system_prompt: str = Field("", description="system message before the messages of every prompt")
    chat_template: dict[str, bool | Value | None] = Field(
        default_factory=dict, description="arguments of the tokenizer's chat template, e.g. enable_thinking"
    )
    format_credit: float = Field(0.0, ge=0, description="reward of a well-formed completion")
    group_size: int = Field(8, ge=2, le=100_000, description="completions of a prompt")
    prompts_per_step: int = Field(32, ge=1, description="prompts of a step, over all processes")
    mini_batches: int = Field(1, ge=1, description="parts of a step's completions, with an update each")
    updates_per_batch: int = Field(1, ge=1, le=64, description="updates with each batch of completions, or part of it")
    micro_batch: int = Field(32, ge=1, description="completions in one forward pass of a process")
    steps: int = Field(200, ge=1, description="updates")
    learning_rate: float = Field(1e-6, gt=0, lt=1, description="of AdamW, constant after the rise")
    rise: int = Field(0, ge=0, description="updates in which the learning rate rises")
    temperature: float = Field(1.0, gt=0, le=100, description="of sampling, and of every log-probability")
    max_tokens: int = Field(16, ge=1, description="most tokens of a completion")
    kl_strength: float = Field(0.0, ge=0, description="weight of KL(policy || first policy), TRL's beta")
    loss: Literal["dr_grpo", "grpo", "dapo", "bnpo"] = Field("dr_grpo", description="how TRL averages over tokens")
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the passes; trained weights are float32")
    lora_rank: int = Field(0, ge=0, le=1024, description="rank of LoRA adapters; 0 trains all weights")
    adapter: str = Field("", description="folder of adapters to start from, which are trained on, without lora_rank")
    base_dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="of the frozen weights under adapters; bfloat16 halves them, with dtype bfloat16"
    )
    merge_adapters: bool = Field(True, description="save the model with its adapters in its weights; else them alone")
    gradient_checkpointing: bool = Field(False, description="less memory, a third more time")
    share_prompts: bool = Field(False, description="read a prompt once for all its completions, in one process")
    vllm: bool = Field(False, description="sample with vLLM in the same process (not tried here)")
    save_every: int = Field(50, ge=1, description="updates between checkpoints")
    evaluate_every: int = Field(50, ge=1, description="updates between evaluations")
    held_out: str = Field("", description="math and own: file of held-out problems, with the columns of problems")
    evaluation_problems: int = Field(
        50, ge=0, description="held-out problems of an evaluation: drawn for Countdown, the first of held_out; 0: none"
    )
    evaluation_samples: int = Field(16, ge=1, description="samples a problem, where the exact audit does not apply")
    trl: dict[str, bool | Value | None] = Field(
        default_factory=dict, description="other options of TRL's GRPOConfig, e.g. max_grad_norm"
    )
    log_to: Literal["none", "tensorboard", "wandb", "trackio"] = Field("none", description="also log there")
    seed: int = Field(0, ge=0, lt=2**32, description="seed of the run")

    @field_validator("parameters", "countdown", mode="before")
    @classmethod
    def _with_numbers(cls, values: object) -> object:
        """Words of numbers as numbers: YAML takes 1e-3 for a word, and so do flags."""
        return {name: _number(value) for name, value in values.items()} if isinstance(values, dict) else values

    @field_validator("trl", "chat_template", mode="before")
    @classmethod
    def _with_words(cls, values: object) -> object:
        """The same, and true, false and null, which flags give as words."""
        if not isinstance(values, dict):
            return values
        return {
            name: WORDS[value] if isinstance(value, str) and value in WORDS else _number(value)
            for name, value in values.items()
        }

    @model_validator(mode="after")
    def _fits(self) -> RunConfig:
        if bool(self.model) == bool(self.warm_start):
            raise ValueError(f"model: {self.model!r}, warm_start: {self.warm_start!r}: want one of them")
        if self.task in ("math", "own") and not self.problems:
            raise ValueError(f"problems: '': want a file of problems for task {self.task}")
        self._refuse_what_means_nothing()
        if self.lenient and self.task != "math":
            raise ValueError(f"lenient: {self.lenient}: want false with task {self.task}")
        if bool(self.verifier) != (self.task == "own"):
            raise ValueError(f"verifier: {self.verifier!r}: want FILE.py:FUNCTION with task own, and only there")
        if self.adapter and self.lora_rank:
            raise ValueError(f"lora_rank: {self.lora_rank}: want 0 with adapter, which has a rank")
        if not (self.merge_adapters or self.adapter or self.lora_rank):
            raise ValueError("merge_adapters: False: want lora_rank or adapter, or true")
        if self.base_dtype == "bfloat16" and not ((self.adapter or self.lora_rank) and self.dtype == "bfloat16"):
            raise ValueError("base_dtype: 'bfloat16': want lora_rank or adapter, and dtype bfloat16, or float32")
        if self.share_prompts and (self.gradient_checkpointing or self.vllm):
            raise ValueError("share_prompts: True: want gradient_checkpointing and vllm false, or share_prompts false")
        if self.rise > self.steps:
            raise ValueError(f"rise: {self.rise}: want at most steps, {self.steps}: learning_rate is never reached")
        self._refuse_what_cannot_be_divided()
        chosen = calls.resolve(self.method)
        values = calls.parameter_values(chosen, self.parameters)
        if self.kl_strength and chosen.no_kl and calls.level_of(chosen, values) != "group":
            raise ValueError(f"kl_strength: {self.kl_strength}: {self.method}: {chosen.no_kl}: want 0")
        least = calls.least_group_size(chosen, values)
        if self.group_size < least:
            raise ValueError(f"group_size: {self.group_size}: {self.method} wants {least} or more")
        return self

    def identity(self) -> dict[str, Any]:
        """The fields that name a run, as JSON has them."""
        defaults = RunConfig.model_construct()  # those of `trl` are none
        fields = self.model_dump(mode="json")
        return {
            name: value for name, value in fields.items() if name not in CAME_LATER or value != getattr(defaults, name)
        }

    @property
    def updates_of_a_batch(self) -> int:
        """Updates from one drawing of completions to the next."""
        return self.mini_batches * self.updates_per_batch

    def _refuse_what_cannot_be_divided(self) -> None:
        """Raises ValueError where completions or updates do not come out even."""
        what, completions = "group_size times prompts_per_step", self.group_size * self.prompts_per_step
        if completions % self.mini_batches:
            raise ValueError(f"mini_batches: {self.mini_batches}: want a divisor of {what}, {completions}")
        if self.mini_batches > 1:
            what, completions = f"{what} over mini_batches", completions // self.mini_batches
        if completions % self.micro_batch:
            raise ValueError(f"micro_batch: {self.micro_batch}: want a divisor of {what}, {completions}")
        if self.save_every % self.updates_of_a_batch or self.steps % self.updates_of_a_batch:
            named, times = f"updates_per_batch: {self.updates_per_batch}", ""
            if self.mini_batches > 1:
                named, times = f"mini_batches: {self.mini_batches}", ", times updates_per_batch,"
            raise ValueError(
                f"{named}: want{times} a divisor of steps and save_every: checkpoints lie between batches of "
                "completions"
            )

    def _refuse_what_means_nothing(self) -> None:
        """Raises ValueError for a field that is set and has no effect beside the others."""
        for name, tasks in ONLY_WITH.items():
            value = getattr(self, name)
            if self.task not in tasks and value != RunConfig.model_fields[name].get_default(call_default_factory=True):
                others = ", ".join(tasks)
                raise ValueError(f"{name}: {value!r}: it means nothing with task {self.task}, only with {others}")
        if self.held_out and not self.evaluation_problems:
            raise ValueError("evaluation_problems: 0: want 1 or more with held_out, or no held_out")


def _number(value: object) -> object:
    if isinstance(value, str):
        for kind in (int, float):
            with contextlib.suppress(ValueError):
                return kind(value)
    return value


CONFIGS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "smoke": {
            "warm_start": "smoke",
            "method": "ds",
            "parameters": {"gamma_correct": 0.1},
            "num_problems": 400,
            "group_size": 8,
            "prompts_per_step": 16,
            "micro_batch": 128,
            "steps": 20,
            "learning_rate": 2e-4,
            "max_tokens": 8,
            "save_every": 10,
            "evaluate_every": 10,
        },
        "laptop": {
            "warm_start": "laptop",
            "method": "ds",
            "parameters": {"gamma_correct": 0.1},
            "num_problems": 5_000,
            "group_size": 16,
            "prompts_per_step": 16,
            "micro_batch": 256,
            "steps": 150,
            "learning_rate": 2e-4,
            "max_tokens": 10,
        },
        **{name: published.values(name) for name in published.PRESETS},
    }
)
NOT_TRIED = tuple(published.PRESETS)  # here: they need GPUs and a hub


def named_or_read(spec: str, changes: Mapping[str, Any]) -> RunConfig:
    """The configuration of a name or of a YAML file, with changes; one line names the field that is wrong.

    Changes of a field that holds names and values keep its other names; another method has parameters of its own.

    >>> named_or_read("smoke", {"method": "grpo", "parameters": {}}).method
    'grpo'
    """
    if spec in CONFIGS:
        given: dict[str, Any] = dict(CONFIGS[spec])
    elif spec.endswith((".yaml", ".yml")):
        given = _read(Path(spec))
    else:
        raise ValueError(f"CONFIG: {spec!r}: want a YAML file or one of {', '.join(CONFIGS)}")
    if "method" in changes:
        given.pop("parameters", None)
    for name, value in changes.items():
        there = given.get(name)
        given[name] = {**there, **value} if isinstance(there, dict) and isinstance(value, dict) else value
    for name in given:
        if name not in RunConfig.model_fields:
            raise ValueError(f"{spec}: {_unknown(name, given)}")
    try:
        return RunConfig(**given)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        shown = f"{field}: {first['input']!r}: " if field else ""
        raise ValueError(f"{spec}: {shown}{first['msg'].removeprefix('Value error, ')}") from None


def _unknown(name: str, given: Mapping[str, Any]) -> str:
    """What to say of a field that does not exist: where it belongs, what it resembles, or which there are."""
    said = f"{name}: {given[name]!r}: there is no such field: "
    with contextlib.suppress(ValueError):  # the method may not exist either
        method = calls.resolve(str(given.get("method", RunConfig.model_fields["method"].default)))
        if name in method.parameters:
            return f"{said}it is a parameter of {method.id}: want parameters.{name}"
    near = " or ".join(difflib.get_close_matches(name, RunConfig.model_fields))
    return f"{said}{f'did you mean {near}? ' if near else ''}want one of {', '.join(RunConfig.model_fields)}"


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        _refuse_repeated(path, yaml.compose(text, Loader=yaml.SafeLoader))
        found = yaml.safe_load(text)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: it is not YAML: {str(error).splitlines()[0]}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ValueError(f"{path}: line {mark.line + 1}: it is not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: it is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise ValueError(f"{path}: want fields and values, as `llm smoke --dry-run` prints them")
    return found


def _refuse_repeated(path: Path, node: Any) -> None:
    """Raises ValueError for a name that is given twice in the same place, of which YAML would keep the last."""
    for key, value in node.value if node is not None and node.id == "mapping" else ():
        first = next(other for other, _ in node.value if other.value == key.value)
        if first is not key:
            lines = f"lines {first.start_mark.line + 1} and {key.start_mark.line + 1}"
            raise ValueError(f"{path}: {lines}: {key.value} is given twice: want it once")
        _refuse_repeated(path, value)


def as_yaml(config: RunConfig) -> str:
    """The whole configuration, every field with what it says, as YAML that `named_or_read` reads back."""
    import yaml

    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=10**6)
    found = [(line, RunConfig.model_fields.get(line.partition(":")[0])) for line in text.splitlines()]
    return "".join(f"{line}  # {field.description}\n" if field else f"{line}\n" for line, field in found)
