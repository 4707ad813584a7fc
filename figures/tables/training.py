"""What `llm` prints and stores of a run: its log as tidy rows, a summary, the plan. Strings from rows, no files."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sharpening.figures.tables.theory import table

Row = Mapping[str, Any]
TIMES = ("train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time")
DROPPED = ("step", "epoch", "total_flos", "train_loss")
NOT_STORED = ("method/wrong_share",)  # for `live` alone: stored runs of before have no such rows
SHOWN = {
    "method/correct": "correct",
    "method/unscorable": "could not be scored",
    "reward": "reward",
    "entropy": "entropy a token",
    "completions/mean_length": "tokens",
    "method/shaped_advantage": "mean |advantage|",
    "method/bonus_ratio": "mean |term| over mean |advantage without it|",
    "frac_reward_zero_std": "uniform groups",
    "kl": "KL to the first policy",
}
OFTEN_0 = ("method/bonus_ratio", "method/unscorable")  # then they are left out
HELD_OUT = "held_out/"
DIVERSITY = f"{HELD_OUT}solution_diversity"


def _is_time(name: str) -> bool:
    return name in TIMES or name.startswith("profiling/")


def rows(history: Iterable[Row], *, is_live: bool = False) -> list[dict[str, Any]]:
    """The log as rows of step, quantity and value, without times, which differ from run to run.

    Rows of a run that goes on (`is_live`) also have what is not stored.
    """
    dropped = DROPPED if is_live else DROPPED + NOT_STORED
    return [
        {"step": entry["step"], "quantity": name, "value": float(value)}
        for entry in history
        for name, value in sorted(entry.items())  # a resumed run has its first entries in this order
        if name not in dropped and not _is_time(name) and isinstance(value, int | float)
    ]


def timing_rows(history: Iterable[Row]) -> list[dict[str, Any]]:
    """The times in the log, in seconds."""
    found = [
        {"step": entry["step"], "quantity": name, "value": float(value)}
        for entry in history
        for name, value in entry.items()
        if _is_time(name)
    ]
    return found or [{"step": 0, "quantity": "none", "value": 0.0}]


def summary(found: Sequence[Row]) -> str:
    """The first and the last known value of what matters, with their steps; what is 0 throughout may be left out."""
    body = []
    curve = dict.fromkeys(row["quantity"] for row in found if row["quantity"].startswith(f"{HELD_OUT}pass@"))
    held_out = {name: name.replace(HELD_OUT, "held-out ") for name in sorted(curve, key=_k)}
    for quantity, label in {**SHOWN, **held_out, DIVERSITY: "held-out effective correct answers"}.items():
        mine = [row for row in found if row["quantity"] == quantity and not math.isnan(row["value"])]
        if mine and (quantity not in OFTEN_0 or any(row["value"] for row in mine)):
            first, last = mine[0], mine[-1]
            body.append([label, first["step"], first["value"], last["step"], last["value"]])
    return table(["", "step", "value", "step", "value"], body)


def _k(quantity: str) -> int:
    return int(quantity.rpartition("@")[2])


def memory(parts: Mapping[str, int]) -> str:
    """The parts of an estimate of memory, in GiB; parts of less than a hundredth are left out."""
    return ", ".join(f"{name} {size / 2**30:.2f}" for name, size in parts.items() if size >= 2**30 / 100)


def plan(sizes: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """What a run will take, from `llm.training.preflight` and the configuration."""
    batches = config["steps"] // (config["mini_batches"] * config["updates_per_batch"])
    completions = config["group_size"] * config["prompts_per_step"] * batches
    gib = {name: f"{sizes[name] / 2**30:.2f} GiB" for name in ("memory", "memory_there", "disk", "disk_there")}
    tried = f"{sizes['num_solutions']} known solutions" if sizes["num_solutions"] else "an empty completion only"
    return "\n".join(
        [
            f"{sizes['num_weights']:,} weights, {sizes['num_trained']:,} of them trained, master weights in float32",
            f"{sizes['num_prompts']:,} prompts of at most {sizes['longest_prompt']} tokens; {completions:,} "
            f"completions of at most {config['max_tokens']} tokens in {config['steps']} updates",
            f"memory: about {gib['memory']} in each process (rough), there are {gib['memory_there']}",
            f"  {memory(sizes['parts'])}",
            f"disk: about {gib['disk']}, there are {gib['disk_there']}",
            f"checked: the model's files, its tokenizer on a prompt, the verifier on {tried}",
        ]
    )


def published_plan(model: str, sizes: tuple[int, int], plans: Sequence[Row], config: Mapping[str, Any]) -> str:
    """What a run takes on numbers of GPUs, from published sizes: nothing of it was opened or run."""
    body = [
        [
            row["gpus"],
            f"{row['peak'] / 2**30:.0f}",
            "yes" if row["fits"] else "no",
            f"{row['sampling_seconds']:.0f}",
            f"{row['update_seconds']:.0f}",
            f"{(row['sampling_seconds'] + row['update_seconds']) * config['steps'] / 3600:.0f}",
        ]
        for row in plans
    ]
    names = [
        "GPUs",
        "GiB in each",
        "fits 80 GB",
        "sampling, s a step",
        "update, s a step",
        f"hours, {config['steps']} steps",
    ]
    parts = [f"on {row['gpus']}, GiB in each: {memory(row['parts'])}" for row in plans]
    return "\n".join(
        [
            f"{model}: {sizes[0]:,} weights by its published sizes, {sizes[1]:,} of them trained",
            "NOT RUN: neither model nor problems were opened; arithmetic for H100 GPUs that share the weights (FSDP2)",
            table(names, body),
            *parts,
        ]
    )


def sources(values: Mapping[str, tuple[Any, str]]) -> str:
    """Where each value of a named configuration comes from."""
    return "\n".join(
        ["WHERE THE VALUES COME FROM", *(f"  {name}: {value}: {why}" for name, (value, why) in values.items())]
    )


def completions(found: Sequence[Row]) -> str:
    """What the model writes before anything is trained."""
    verdicts = {True: "correct", False: "wrong", None: "could not be scored"}
    lines = [f"  {row['problem']}: {row['completion'][:80]!r}: {verdicts[row['correct']]}" for row in found]
    return "\n".join(["BEFORE TRAINING, A COMPLETION OF EACH OF THE FIRST PROMPTS", *lines])


def listing(named: Mapping[str, Mapping[str, Any]], not_tried: Sequence[str]) -> str:
    """The named configurations, a line each."""
    lines = []
    for name, fields in named.items():
        what = fields.get("model") or f"warm start {fields['warm_start']}"
        note = " (not tried here)" if name in not_tried else ""
        lines.append(f"{name:<24} {what}, {fields.get('method', 'ds')}{note}")
    return "\n".join(lines)
