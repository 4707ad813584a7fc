"""Text of a result store: the list of runs, one run, what is damaged."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

Run = Mapping[str, Any]
HASH = re.compile(r"[0-9a-f]{40,}")
TOLD = (  # of a configuration, in this order, in the list
    *("figure", "table", "only", "file", "problem", "files", "models", "model", "architecture", "method"),
    *("parameters", "preset", "steps", "n", "temperature", "beta", "seed"),
)
BARE = ("figure", "table", "file", "files", "models", "method", "parameters")  # said without their names


def listed(runs: Sequence[Run], width: int, *, is_long: bool = False) -> str:
    """One line a run: id, start, seconds, commit, and what it is; what is no run of today's code says so first.

    The pieces of sweeps, runs that other runs are made of, are one line for each layer unless `is_long`.
    """
    if not runs:
        return "no runs"
    lines = [f"{'id':<12}  {'started (UTC)':<16}  {'seconds':>8}  {'commit':<8}  what"]
    pieces: dict[str, list[Run]] = {}
    for run in runs:
        is_piece = "task" in run["config"] and "command" not in run["config"]
        if is_piece and run["state"] == "ok" and not is_long:
            pieces.setdefault(run["layer"], []).append(run)
        else:
            state = "" if run["state"] == "ok" else f"{run['state'].upper()}: "
            what = state + what_of(run["config"], run["layer"])
            lines.append(_line(run["id"], run["started"], _seconds([run]), _commit(run), what, width))
    lines += [_group(mine, width) for mine in pieces.values()]
    return "\n".join(lines)


def _group(runs: Sequence[Run], width: int) -> str:
    kinds = Counter(PurePath(str(run["config"]["task"])).name for run in runs)
    told = ", ".join(f"{kind} {count}" for kind, count in kinds.items())
    what = f"{len(runs)} pieces of sweeps (--pieces): {told}"
    commits = {_commit(run) for run in runs}
    commit = commits.pop() if len(commits) == 1 else "several"
    return _line("...", min(run["started"] for run in runs), _seconds(runs), commit, what, width)


def _line(name: str, started: str, seconds: str, commit: str, what: str, width: int) -> str:
    line = f"{name:<12}  {started[:16].replace('T', ' '):<16}  {seconds:>8}  {commit:<8}  {what}"
    return line if len(line) <= width else line[: width - 3] + "..."


def _seconds(runs: Sequence[Run]) -> str:
    known = [run["seconds"] for run in runs if run["seconds"] is not None]
    return f"{sum(known):.1f}" if known else "-"


def _commit(run: Run) -> str:
    return f"{run['commit'][:7]}{'+' if run['is_dirty'] is True else ''}"


def what_of(config: Mapping[str, Any], layer: str) -> str:
    """A run in words: its command, and what of its configuration tells it from others.

    >>> what_of({"command": "predict", "file": "a.csv", "sha256": "0", "beta": [0.3, 1.0]}, "theory")
    'predict a.csv, beta 0.3 1.0'
    """
    command = str(config.get("command") or config.get("task") or layer)
    told = [(key, _words(config[key])) for key in TOLD if key in config]
    parts = [words if key in BARE else f"{key} {words}" for key, words in told if words]
    return f"{command} {', '.join(parts)}".strip()


def _words(value: Any) -> str:
    """A value of a configuration in a few words; a list of files by their names, a hash by its first characters."""
    if isinstance(value, dict):
        is_named = all(isinstance(each, int | float) for each in value.values())
        return " ".join(f"{key}={each}" if is_named else str(key) for key, each in value.items())
    if isinstance(value, list):
        return " ".join(_words(each.get("file", "") if isinstance(each, dict) else each) for each in value)
    text = "" if value is None else str(value)
    return text[:7] if HASH.fullmatch(text) else text


def shown(run: Run) -> str:
    """Everything about a run."""
    lines = [f"{name}: {run[name]}" for name in ("path", "layer", "state", "started", "seconds", "commit", "is_dirty")]
    lines += [f"problem: {problem}" for problem in run["problems"]]
    lines += [f"files: {', '.join(run['files'])}", "config:", json.dumps(run["config"], sort_keys=True, indent=1)]
    return "\n".join(lines)


def verified(runs: Sequence[Run]) -> str:
    """One line for each problem, and how many runs are whole."""
    lines = [f"{run['path']}: {problem}" for run in runs for problem in run["problems"]]
    whole = sum(not run["problems"] for run in runs)
    return "\n".join([*lines, f"{whole} of {len(runs)} runs are whole"])


def cleaned(removed: Sequence[str]) -> str:
    """What was removed, a line each, and how many."""
    return "\n".join([*removed, f"{len(removed)} folders removed"])
